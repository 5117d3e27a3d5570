"""``dbm-gmx evaluate``: evaluate atomistic trajectories, beside a reference if there is one."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from dbm_gmx.commands.arguments import (
    Commands,
    add_cluster,
    add_ensemble,
    add_mapping,
    add_matching,
    add_preprocessor,
    add_process,
    add_rules,
    add_times,
    conditions_of,
    count,
    crew_of,
    group,
    limits_of,
    record_of,
    told_as_well,
)
from dbm_gmx.errors import ExitCode
from dbm_gmx.options import EvaluateInputs


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "evaluate",
        help="evaluate atomistic trajectories: hard rules, distributions, energies, beside a reference",
        description="Write a report on atomistic trajectories: hard rules, distributions, energies, "
        "structure, beside a reference or what the force field's terms make.",
    )
    add = group(command, "input").add_argument
    add("-p", "--topology", type=Path, required=True, metavar="FILE", help="Topology of the atoms (.top).")
    add(
        "-f",
        "--trajectories",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="Trajectories of the atoms that are evaluated: .xtc, .trr, .gro or .pdb.",
    )
    add(
        "--labels",
        nargs="+",
        default=[],
        metavar="NAME",
        help="Names of the trajectories in the report. Default: those of the files.",
    )
    add(
        "-r",
        "--reference",
        type=Path,
        metavar="FILE",
        help="Trajectory of atoms to compare with; or a structure that shows the right chirality.",
    )
    add(
        "--cg",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="Beads that the atoms were made for: a .tpr, or a .gro or .pdb with -cp; and after it their "
        "trajectory. It needs -m.",
    )
    add(
        "-cp",
        "--cg-topology",
        type=Path,
        metavar="FILE",
        help="Topology of the beads (.top or .itp), needed where --cg has no .tpr.",
    )
    add_mapping(command)
    add_matching(command)
    add_times(command)
    add_preprocessor(command)
    add_ensemble(command)
    add_rules(command)
    add = group(command, "output").add_argument
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="Folder of the report: index.html, scores.json, data, worst. Default: report.",
    )
    add("--json", action="store_true", help="Print the scores as JSON. A report is written only with -o.")
    for part, called in (("conformations", "conformational space"), ("classifier", "classifier's test")):
        add(
            f"--no-{part}",
            action="append_const",
            const=part,
            default=[],
            dest="left_out",
            help=f"Leave out the {called}, which takes time and needs a reference.",
        )
    add(
        "--seed",
        type=count(0),
        default=1,
        help="Random seed of errors, floor, clusters and classifier. Default: %(default)s.",
    )
    add_cluster(command)
    add_process(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Evaluate, write the report and print its summary; returns the exit code."""
    from dbm_gmx.evaluation.evaluation import SLOW, evaluate
    from dbm_gmx.evaluation.report import check_folder, scores_text, summary, write_report
    from dbm_gmx.files.includes import source_files
    from dbm_gmx.files.provenance import Provenance, Started, plain_provenance
    from dbm_gmx.parallel import set_threads

    started = Started()
    threads = options.threads or len(os.sched_getaffinity(0))
    set_threads(1)  # frames are what is worked on side by side
    folder = options.output if options.output or options.json else Path("report")
    if folder is not None:
        check_folder(folder)
    conditions, told = conditions_of(options)
    inputs = record_of(options, EvaluateInputs)
    with crew_of(options) as crew:
        evaluation = evaluate(
            replace(told_as_well(inputs, told), limits=limits_of(options)),
            conditions=conditions,
            slow=tuple(part for part in SLOW if part not in options.left_out),
            seed=options.seed,
            workers=crew or threads,
            quiet=options.quiet or options.json,
        )
    named = [inputs.topology, *inputs.trajectories, *inputs.mappings, inputs.reference, *inputs.cg]
    named += source_files(inputs.cg_topology, inputs.include) if inputs.cg_topology else []
    read = [path for path in named if path is not None and path.is_file()]
    settings = {"ensemble": conditions, "seed": options.seed, "left out": options.left_out}
    settings |= {key: getattr(inputs, key) for key in ("begin", "end", "dt", "defines", "labels")}
    made = plain_provenance(Provenance("evaluate", read, settings, started=started))
    page = None if folder is None else write_report(evaluation, folder, made)
    if options.json:
        print(scores_text(evaluation, made), end="")
    elif not options.quiet:
        print(summary(evaluation, page))
    for words in evaluation.words:
        print(f"dbm-gmx: error: {words} (--allow RULE if that may be)", file=sys.stderr)
    return ExitCode.FLAWED if evaluation.broken else ExitCode.DONE

"""The command line: parses, and calls one function."""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from dbm_gmx import __version__
from dbm_gmx.errors import InputError
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.options import (
    ASSUMED,
    BONDS,
    MODEL,
    REFINEMENTS,
    STARTS,
    AtomInputs,
    Conditions,
    EvaluateInputs,
    Inputs,
    RelaxSettings,
    Settings,
)

if TYPE_CHECKING:
    from dbm_gmx.commands.hand_off import HandOff
    from dbm_gmx.gromacs.relaxation import Relaxation


class Parser(argparse.ArgumentParser):
    """A parser that ends with exit code 1, as for any other bad input."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how it would be right."""
        self.print_usage(sys.stderr)
        self.exit(1, f"dbm-gmx: error: {message}\n")


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="dbm-gmx", description="Put the atoms back into coarse-grained GROMACS simulations.")
    parser.add_argument("--version", action="version", version=f"dbm-gmx {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", parser_class=Parser)
    _add_backmap(commands)
    _add_map(commands)
    _add_relax(commands)
    _add_evaluate(commands)
    _add_train(commands)
    commands.add_parser(
        "models",
        help="list the models there are",
        description="List the models that ship: what each knows and how it scores.",
    ).set_defaults(quiet=False, verbose=False)
    check = commands.add_parser(
        "check",
        help="validate the input without converting",
        description="Validate all input: names, counts, order, mapping, boxes, positions, force field.",
    )
    _add_inputs(check)
    _add_conditions(check)
    _add_method(check)
    _add_model(check)
    plan = commands.add_parser(
        "plan",
        help="print the order in which atoms are placed",
        description="Print the order in which beads and atoms are placed.",
    )
    _add_inputs(plan)
    speed = commands.add_parser(
        "benchmark",
        help="measure speed and memory on this machine",
        description="Time one frame, several, and a larger box: one pass of the network (one orientation, no "
        "sweeps), and the exact refinement.",
    )
    _add_inputs(speed)
    _add_conditions(speed)
    _add_model(speed)
    speed.add_argument("--sweeps", type=_count(0), help="of the exact refinement (as many as it needs)")
    speed.add_argument(
        "--box", type=_count(1), default=2, help="larger box: so many along each vector (%(default)s)"
    )
    speed.add_argument("--frames", type=_count(1), default=10, help="frames at once (%(default)s)")
    for command in (check, plan, speed):
        command.add_argument("-v", "--verbose", action="store_true", help="say more")
        command.set_defaults(quiet=False)
    return parser


def _add_backmap(commands: Any) -> None:
    backmap = commands.add_parser(
        "backmap",
        help="turn a coarse-grained trajectory into an atomistic one",
        description="Turn a coarse-grained trajectory into an atomistic one.",
    )
    settings = Settings()
    _add_inputs(backmap)
    _add_conditions(backmap)
    _add_method(backmap)
    _add_model(backmap)
    add = backmap.add_argument
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="atoms: .xtc, .trr, .gro or .pdb")
    add("-c", "--first", type=Path, metavar="FILE", help="first frame as .gro")
    add(
        "--sweeps",
        type=_count(0),
        help="refinement sweeps (4 for gibbs; for exact as many as it needs to converge)",
    )
    add(
        "--samples",
        type=_count(1),
        default=settings.samples,
        help="independent reconstructions of each frame, in FILE_1, FILE_2, ... (%(default)s)",
    )
    add("--allow-flips", action="store_true", help="exit code 0 even if stereocentres are wrong")
    add(
        "--orientations",
        type=_count(1),
        default=settings.orientations,
        help="orientations the network tries for a bead whose energy is out of line (%(default)s)",
    )
    add(
        "--bonds",
        choices=BONDS,
        default=settings.bonds,
        help="of atoms the network places, fixed: those that the constraints hold have their length; "
        "network: as it makes them (%(default)s)",
    )
    add("--seed", type=_count(0), default=settings.seed, help="of the random numbers (%(default)s)")
    add(
        "--batch",
        type=_count(1),
        default=settings.batch,
        help="atoms given to the network at once; takes memory, does not change the result (%(default)s)",
    )
    add("--device", help="cpu, cuda, cuda:1, mps, ... (the fastest there is)")
    add(
        "--relax",
        type=Path,
        nargs="?",
        const=RELAXED,
        metavar="FILE",
        help="relax the atoms with GROMACS then, in FILE (aa_relaxed.xtc for aa.xtc)",
    )
    add("--workdir", type=Path, metavar="FOLDER", help="leave a folder from which GROMACS goes on: run.sh")
    _add_relaxing(backmap)
    _add_process(backmap)


def _add_process(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--threads", type=_count(1), help="CPU threads (all cores)")
    add("-q", "--quiet", action="store_true", help="print errors only")
    add("-v", "--verbose", action="store_true", help="say more")


def _add_map(commands: Any) -> None:
    command = commands.add_parser(
        "map",
        help="turn an atomistic trajectory into a coarse-grained one",
        description="Turn an atomistic trajectory into a coarse-grained one, molecules whole.",
    )
    _add_atoms(command)
    add = command.add_argument
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="beads: .xtc, .trr, .gro or .pdb")
    add("-c", "--first", type=Path, metavar="FILE", help="first frame as .gro")
    add("-q", "--quiet", action="store_true", help="print errors only")
    add("-v", "--verbose", action="store_true", help="say more")


def _add_relax(commands: Any) -> None:
    command = commands.add_parser(
        "relax",
        help="minimise and run atoms with GROMACS, their centres held to the beads",
        description="Minimise each frame and run it for a moment with GROMACS, the mapped centres held.",
    )
    _add_atoms(command)
    add = command.add_argument
    add("--beads", type=Path, metavar="FILE", help="hold the centres there (where they are in -f)")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="atoms: .xtc, .trr, .gro or .pdb")
    _add_conditions(command)
    _add_relaxing(command)
    add("--seed", type=_count(0), default=RelaxSettings.seed, help="of the random numbers (%(default)s)")
    _add_process(command)


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser(
        "evaluate",
        help="see what you got: distributions, energies, hard rules, beside a reference if there is one",
        description="Write a report on atomistic trajectories: hard rules, distributions, energies, "
        "structure, beside a reference or what the force field's terms make.",
    )
    add = command.add_argument
    add("-p", "--topology", type=Path, required=True, metavar="FILE", help="atoms: .top")
    add(
        "-f",
        "--trajectories",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="atoms to evaluate: .xtc, .trr, .gro, .pdb",
    )
    add("--labels", nargs="+", default=[], metavar="NAME", help="what these are called (their file names)")
    add(
        "-r",
        "--reference",
        type=Path,
        metavar="FILE",
        help="atoms to compare with, or one molecule that defines the stereocentres",
    )
    add(
        "--cg", type=Path, nargs=2, metavar=("TPR", "XTC"), help="the beads the atoms were made for; needs -m"
    )
    _add_mapping(command)
    _add_times(command)
    _add_preprocessor(command)
    _add_ensemble(command)
    add("-o", "--output", type=Path, metavar="FOLDER", help="index.html, scores.json, data, worst (report)")
    add("--json", action="store_true", help="print the scores as JSON; no report, unless -o is given too")
    add(
        "--no-conformations",
        action="store_false",
        dest="conformational",
        help="leave out the conformational space, which takes longest",
    )
    add("--seed", type=_count(0), default=1, help="of errors, floor and clusters (%(default)s)")
    _add_process(command)


def _add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train a model",
        description="Train a model, or go on where the last run with the same output folder has stopped. "
        "Several processes: torchrun --nproc-per-node N -m dbm_gmx train FILE",
    )
    add = command.add_argument
    add("settings", type=Path, metavar="FILE", help="training file (.toml), see share/recipes/train")
    add("-o", "--output", type=Path, metavar="FOLDER", help="of checkpoint, log and model (that of FILE)")
    add("--from", dest="start", metavar="MODEL", help="begin with this model, by name or path (as in FILE)")
    add("--seed", type=_count(0), help="of the random numbers (that of FILE)")
    add("--max-time", type=_positive("time in h"), metavar="H", help="stop after so many hours")
    _add_process(command)


def _add_relaxing(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    settings = RelaxSettings()
    add("--em-mdp", type=Path, metavar="FILE", help="minimisation (200 steps of steepest descent)")
    add("--nvt-mdp", type=Path, metavar="FILE", help="dynamics (1 ps of 1 fs steps)")
    add(
        "--no-restraints",
        action="store_false",
        dest="restrain",
        help="let the mapped centres go in GROMACS",
    )
    add("--gmx", metavar="PATH", help="GROMACS (gmx, gmx_mpi or gmx_d, the first there is)")
    add(
        "-j",
        "--jobs",
        type=_count(1),
        default=settings.jobs,
        help="frames GROMACS works on at a time (%(default)s)",
    )
    add(
        "--timeout",
        type=_positive("time in s"),
        default=settings.timeout,
        metavar="S",
        help="longest time of each command of GROMACS (%(default)g)",
    )
    add(
        "--maxwarn",
        type=_count(0),
        default=settings.maxwarn,
        help="warnings of gmx grompp that are let pass (%(default)s)",
    )


def _add_inputs(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "-s",
        "--structure",
        type=Path,
        required=True,
        metavar="FILE",
        help="beads: .tpr, or .gro/.pdb with -cp",
    )
    add(
        "-f",
        "--trajectory",
        type=Path,
        metavar="FILE",
        help="beads: .xtc, .trr, .gro, .pdb (the frame in -s)",
    )
    add("-cp", "--cg-topology", type=Path, metavar="FILE", help="beads: .top or .itp, where -s is no .tpr")
    add("-p", "--topology", type=Path, metavar="FILE", help="atoms: .top (the library of molecules)")
    _add_mapping(command)
    add(
        "--owners",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="which bead each atom is rebuilt with (owners.txt beside the mapping; else from the weights)",
    )
    add(
        "-r",
        "--reference",
        type=Path,
        metavar="FILE",
        help="conformer that defines the stereocentres: .gro, .pdb",
    )
    _add_times(command)
    _add_preprocessor(command)


def _add_atoms(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("-s", "--structure", type=Path, metavar="FILE", help="atoms: .tpr, or .gro/.pdb with -p")
    add(
        "-f",
        "--trajectory",
        type=Path,
        metavar="FILE",
        help="atoms: .xtc, .trr, .gro, .pdb (the frame in -s)",
    )
    add("-p", "--topology", type=Path, metavar="FILE", help="atoms: .top (the molecules in -s)")
    _add_mapping(command)
    _add_times(command)
    _add_preprocessor(command)


def _add_mapping(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "-m",
        "--mapping",
        type=Path,
        nargs="+",
        default=[],
        dest="mappings",
        metavar="FILE",
        help="VOTCA .xml or deepBackmap .map files, or folders of them (the library of molecules)",
    )


def _add_times(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("-b", "--begin", type=_picoseconds, metavar="PS", help="first time")
    add("-e", "--end", type=_picoseconds, metavar="PS", help="last time")
    add("-dt", type=_step, metavar="PS", help="only frames at multiples of this time")


def _add_preprocessor(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("-D", "--define", action="append", default=[], dest="defines", metavar="NAME", help="as in an .mdp")
    add("-I", "--include", action="append", type=Path, default=[], metavar="FOLDER", help="for #include")


def _add_conditions(command: argparse.ArgumentParser) -> None:
    _add_ensemble(command)
    command.add_argument(
        "--spread",
        type=_positive("length in nm"),
        default=Conditions().spread,
        metavar="NM",
        help="how far mapped atoms may be off the beads, standard deviation (%(default)s)",
    )


def _add_ensemble(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "-t",
        "--temperature",
        type=_positive("temperature in K"),
        metavar="K",
        help="(that of --mdp, else 300)",
    )
    add("--mdp", type=Path, metavar="FILE", help="run parameters: temperature, cut-offs, constraints, define")
    add(
        "--cutoff",
        type=_positive("length in nm"),
        metavar="NM",
        help="of Lennard-Jones and electrostatics (those of --mdp, else 1)",
    )


def _add_method(command: argparse.ArgumentParser) -> None:
    settings = Settings()
    command.add_argument(
        "--refine",
        choices=REFINEMENTS,
        default=settings.refine,
        help="exact: sample the force field's distribution; gibbs: sweeps of the network (%(default)s)",
    )
    command.add_argument(
        "--start",
        choices=STARTS,
        help="where the atoms come from first (growth in the force field for exact, else the network)",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=MODEL, help="name or path of a model (%(default)s)")
    command.add_argument("--channels", type=Path, metavar="FILE", help="channel file (.toml) for the model")


def _count(least: int) -> Any:
    def count(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return count


def _positive(what: str) -> Any:
    def positive(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what} above 0")
        return value

    return positive


def _picoseconds(text: str) -> float:
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in ps")
    return time


def _step(text: str) -> float:
    step = _picoseconds(text)
    if step < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is negative; frames are taken forward in time")
    return step


Record = TypeVar("Record", Inputs, AtomInputs, EvaluateInputs, Settings, RelaxSettings)


def record_from(options: argparse.Namespace, moltype: type[Record]) -> Record:
    """A record of those options that it has fields for; a command need not have all."""
    chosen: dict[str, Any] = {}
    for key in moltype.__dataclass_fields__:
        if hasattr(options, key):
            value = getattr(options, key)
            chosen[key] = tuple(value) if isinstance(value, list) else value
    return moltype(**chosen)


def inputs_from(options: argparse.Namespace) -> Inputs:
    """The input files among the options."""
    return record_from(options, Inputs)


def with_conditions(options: argparse.Namespace) -> tuple[Inputs, Conditions]:
    """The input files and the ensemble; options go before what the ``.mdp`` says.

    What the ``.mdp`` defines is defined in the topology too.
    """
    conditions, defines = conditions_from(options)
    inputs = inputs_from(options)
    return replace(inputs, defines=(*defines, *inputs.defines)), replace(conditions, spread=options.spread)


def conditions_from(options: argparse.Namespace) -> tuple[Conditions, tuple[str, ...]]:
    """The ensemble among the options, and what the ``.mdp`` defines for the topology."""
    conditions = Conditions(source=ASSUMED)
    defines: tuple[str, ...] = ()
    if options.mdp is not None:
        conditions, defines = read_mdp(options.mdp)
    if options.temperature is not None:
        conditions = replace(conditions, temperature=options.temperature, source="-t")
    if options.cutoff is not None:
        conditions = replace(conditions, rvdw=options.cutoff, rcoulomb=options.cutoff)
    return conditions, defines


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings among the options; a command need not have all."""
    return record_from(options, Settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = build_parser().parse_args(arguments)
    level = logging.ERROR if options.quiet else logging.INFO if options.verbose else logging.WARNING
    _log(level)
    # threads that wait must not burn the cores of others; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # a batch system ends a job with SIGTERM: keep the finished frames then, as after Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        return COMMANDS[options.command](options)
    except InputError as error:
        print(f"dbm-gmx: error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("dbm-gmx: interrupted; the frames finished so far are kept", file=sys.stderr)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _log(level: int) -> None:
    """Show our own messages only, not those of the libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("dbm-gmx: %(message)s"))
    ours = logging.getLogger("dbm_gmx")
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(level)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def run_backmap(options: argparse.Namespace) -> int:
    """``dbm-gmx backmap``."""
    from dbm_gmx.commands.backmap import backmap
    from dbm_gmx.parallel import set_threads

    if options.threads:
        set_threads(options.threads)
    inputs, conditions = with_conditions(options)
    wanted = _hand_off_from(options)
    report = backmap(
        inputs,
        options.output,
        first_frame=options.first,
        model=options.model,
        channels=options.channels,
        settings=settings_from(options),
        conditions=conditions,
        device=options.device,
        quiet=options.quiet,
    )
    if not options.quiet:
        print(report.text())
    if wanted is not None:
        from dbm_gmx.commands.hand_off import hand_off

        samples, quiet = options.samples, options.quiet
        done = hand_off(inputs, options.output, wanted, samples=samples, quiet=quiet)
        failed = sum(_said(options, relaxation) for relaxation in done)
        if failed:
            return 1
    wrong, undefined = report.stereo.wrong, report.stereo.undefined
    if (wrong or undefined) and not options.allow_flips:
        print(
            f"dbm-gmx: error: all frames are written, but stereocentres are wrong ({wrong}) or undefined "
            f"({undefined}); --allow-flips if that may be",
            file=sys.stderr,
        )
        return FLIPPED
    return 0


FLIPPED = 2
"""Exit code of ``dbm-gmx backmap`` if stereocentres are not as they should be."""


RELAXED = Path()
"""Stands for a name that follows from that of the output."""


def _hand_off_from(options: argparse.Namespace) -> HandOff | None:
    """What is to follow, checked before anything is done."""
    if options.relax is None and options.workdir is None:
        return None
    from dbm_gmx.commands.hand_off import HandOff, check_hand_off

    relaxed = options.relax
    if relaxed == RELAXED:
        relaxed = options.output.with_stem(f"{options.output.stem}_relaxed")
    settings = record_from(options, RelaxSettings)
    return check_hand_off(HandOff(relaxed, options.workdir, settings), options.output)


def _said(options: argparse.Namespace, relaxation: Relaxation) -> bool:
    """Print what there is to say; returns whether frames failed."""
    if not options.quiet:
        print(relaxation.text())
    if relaxation.failures:
        print(
            f"dbm-gmx: error: not relaxed: {relaxation.missing()}; the others are written, and the next "
            "try will begin with them",
            file=sys.stderr,
        )
    return bool(relaxation.failures)


def run_map(options: argparse.Namespace) -> int:
    """``dbm-gmx map``."""
    from dbm_gmx.commands.map import map_trajectory

    mapped = map_trajectory(record_from(options, AtomInputs), options.output, first_frame=options.first)
    if not options.quiet:
        print(mapped.text())
    return 0


def run_relax(options: argparse.Namespace) -> int:
    """``dbm-gmx relax``."""
    from dbm_gmx.gromacs.relax import relax

    relaxation = relax(
        record_from(options, AtomInputs),
        options.output,
        beads=options.beads,
        settings=record_from(options, RelaxSettings),
        quiet=options.quiet,
    )
    return int(_said(options, relaxation))


def run_evaluate(options: argparse.Namespace) -> int:
    """``dbm-gmx evaluate``."""
    from dbm_gmx.evaluate.evaluation import evaluate
    from dbm_gmx.evaluate.report import check_folder, scores_text, summary, write_report
    from dbm_gmx.parallel import set_threads

    threads = options.threads or len(os.sched_getaffinity(0))
    set_threads(1)  # frames are what is worked on side by side
    folder = options.output if options.output or options.json else Path("report")
    if folder is not None:
        check_folder(folder)
    conditions, defines = conditions_from(options)
    inputs = record_from(options, EvaluateInputs)
    evaluation = evaluate(
        replace(inputs, defines=(*defines, *inputs.defines)),
        conditions=conditions,
        conformational=options.conformational,
        seed=options.seed,
        threads=threads,
        quiet=options.quiet or options.json,
    )
    page = None if folder is None else write_report(evaluation, folder)
    if options.json:
        print(scores_text(evaluation), end="")
    elif not options.quiet:
        print(summary(evaluation, page))
    if evaluation.broken:
        said = "; ".join(f"{label}: {', '.join(rules)}" for label, rules in evaluation.broken.items())
        print(f"dbm-gmx: error: hard rules are broken ({said})", file=sys.stderr)
        return BROKEN
    return 0


BROKEN = 2
"""Exit code of ``dbm-gmx evaluate`` if a hard rule is broken."""


def run_check(options: argparse.Namespace) -> int:
    """``dbm-gmx check``."""
    from dbm_gmx.commands.check import check

    inputs, conditions = with_conditions(options)
    lines = check(
        inputs,
        model=options.model,
        channels=options.channels,
        settings=settings_from(options),
        conditions=conditions,
    )
    print("\n".join(lines))
    return 0


def run_plan(options: argparse.Namespace) -> int:
    """``dbm-gmx plan``."""
    from dbm_gmx.files.system import read_inputs
    from dbm_gmx.network.build_order import describe, make_build_order

    system, *_ = read_inputs(inputs_from(options))
    moltypes = {match.moltype.name: match for match in system.matches}
    print(
        "\n\n".join(
            describe(make_build_order(m.moltype, m.mapping), m.moltype, m.mapping) for m in moltypes.values()
        )
    )
    return 0


def run_train(options: argparse.Namespace) -> int:
    """``dbm-gmx train``."""
    from dbm_gmx.parallel import set_threads
    from dbm_gmx.train.loop import train
    from dbm_gmx.train.settings import read_settings

    if options.threads:
        set_threads(options.threads)
    given = {key: getattr(options, key) for key in ("output", "start", "seed")}
    settings = replace(
        read_settings(options.settings), **{key: v for key, v in given.items() if v is not None}
    )
    trained = train(settings, max_hours=options.max_time, quiet=options.quiet)
    if not options.quiet and trained.first:
        print(trained.text())
    return 0


def run_models(options: argparse.Namespace) -> int:
    """``dbm-gmx models``."""
    from dbm_gmx.network.model import describe_models

    print("\n\n".join(describe_models()))
    return 0


def run_benchmark(options: argparse.Namespace) -> int:
    """``dbm-gmx benchmark``."""
    from dbm_gmx.commands.benchmark import benchmark

    inputs, conditions = with_conditions(options)
    lines = benchmark(
        inputs,
        model=options.model,
        channels=options.channels,
        conditions=conditions,
        sweeps=options.sweeps,
        box=options.box,
        frames=options.frames,
    )
    for line in lines:
        print(line, flush=True)
    return 0


COMMANDS = {
    "backmap": run_backmap,
    "map": run_map,
    "relax": run_relax,
    "evaluate": run_evaluate,
    "check": run_check,
    "plan": run_plan,
    "benchmark": run_benchmark,
    "train": run_train,
    "models": run_models,
}

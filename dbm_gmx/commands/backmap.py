"""``dbm-gmx backmap``: turn a coarse-grained trajectory into an atomistic one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbm_gmx.commands.arguments import (
    Commands,
    add_chirality,
    add_cluster,
    add_conditions,
    add_inputs,
    add_method,
    add_model,
    add_part,
    add_process,
    add_relaxing,
    add_restart,
    add_rules,
    add_times,
    add_tolerance,
    auto,
    count,
    crew_of,
    exit_code,
    group,
    inputs_and_method,
    limits_of,
    record_of,
)
from dbm_gmx.commands.relax import relaxed_words, say
from dbm_gmx.errors import ExitCode, InputError
from dbm_gmx.options import Outputs, RelaxSettings, Settings

if TYPE_CHECKING:
    from dbm_gmx.backmapping.hand_off import HandOff
    from dbm_gmx.gromacs.relaxation import Relaxation

RELAXED = Path()
"""Stands for a name that follows from that of the output."""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "backmap",
        help="turn a coarse-grained trajectory into an atomistic one",
        description="Turn a coarse-grained trajectory into an atomistic one.",
    )
    add_inputs(command)
    add_chirality(command)
    add_times(command)
    add_conditions(command)
    add_method(command)
    add_model(command)
    add = group(command, "output").add_argument
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="Trajectory of the atoms that is written: .xtc, .trr, .gro or .pdb.",
    )
    add("-c", "--first", type=Path, metavar="FILE", help="Write the first frame as a .gro, too.")
    add(
        "-or",
        "--conformer",
        type=Path,
        metavar="FILE",
        help="Write a frame (.gro) that gives later runs the same chirality, as their -r. Default: not "
        "written; with --tacticity aa_chirality.gro, for -o aa.xtc.",
    )
    _add_settings(command)
    add_restart(command)
    add = group(command, "GROMACS").add_argument
    add(
        "--relax",
        type=Path,
        nargs="?",
        const=RELAXED,
        metavar="FILE",
        help="Relax the atoms with GROMACS, and write them to FILE. Default: aa_relaxed.xtc, for -o aa.xtc.",
    )
    add(
        "--workdir",
        type=Path,
        metavar="FOLDER",
        help="Write a folder with all that GROMACS needs to go on. Its run.sh runs it.",
    )
    add_relaxing(command)
    add_cluster(command)
    add_part(command)
    add_process(command)
    command.set_defaults(run=run)


def _add_settings(command: ArgumentParser) -> None:
    add, of_network = group(command, "method").add_argument, group(command, "network").add_argument
    add(
        "--sweeps",
        type=count(0),
        help="Number of refinement sweeps. Default: 4 for gibbs; for exact as many as are needed to "
        "converge.",
    )
    add(
        "--annealing",
        type=auto(count(0)),
        metavar="STEPS",
        help="Number of annealing steps of each frame. 'auto' tries it on one frame, and doubles it until "
        "the energy falls no further. Default: auto.",
    )
    add(
        "--windows",
        type=auto(count(0)),
        metavar="SWEEPS",
        help="Number of sweeps in which short stretches of molecules are annealed one by one. 'auto' finds "
        "it on one frame, too. Default: auto.",
    )
    add_tolerance(command)
    add(
        "--no-check",
        dest="check",
        action="store_false",
        help="Do not test convergence. No frame is made a second time from other random numbers.",
    )
    add(
        "--memory",
        type=Path,
        dest="memory_file",
        metavar="FILE",
        help="Memory of frames that are already sampled: a .npz, or the name of one that ships. It is read "
        "if it exists, else written.",
    )
    add(
        "--no-memory",
        dest="memory",
        action="store_false",
        help="Sample every frame in full. Nothing is recalled from other frames.",
    )
    add(
        "--follow",
        action="store_true",
        help="Begin each frame with the atoms of the frame before it, so that no atom jumps between frames "
        "that are a few ps apart. Frames are then made one after the other.",
    )
    group(command, "output").add_argument(
        "--samples",
        type=count(1),
        default=Settings.samples,
        help="Number of independent reconstructions of each frame. They are in FILE_1, FILE_2, ... Default: "
        "%(default)s.",
    )
    add_rules(command, of_beads=True)
    group(command, "rules").add_argument(
        "--allow-flips",
        action="store_true",
        help="Stereocentres may be wrong or undecided: the same as --allow stereo.",
    )
    of_network(
        "--orientations",
        type=count(1),
        default=Settings.orientations,
        help="Number of draws of the network for each bead in a sweep. With --unguided, at most so many for "
        "a bead whose energy is an outlier. Default: %(default)s.",
    )
    of_network(
        "--unguided",
        dest="guided",
        action="store_false",
        help="Take the draws of the network as they are. They are not guided by force field and beads.",
    )
    add("--seed", type=count(0), default=Settings.seed, help="Random seed. Default: %(default)s.")
    of_network(
        "--batch",
        type=count(1),
        default=Settings.batch,
        help="Number of environments that the network evaluates at once. More take more memory. The result "
        "does not change. Default: %(default)s.",
    )
    of_network("--device", help="Where the network runs: cpu, cuda, cuda:1, mps, ... Default: the fastest.")


def run(options: Namespace) -> int:
    """Rebuild the atoms, relax them if that is wanted, print the summaries; returns the exit code."""
    from dbm_gmx.backmapping.backmap import backmap
    from dbm_gmx.files.join import part_path
    from dbm_gmx.files.record import forget_run
    from dbm_gmx.parallel import set_threads

    if options.threads:
        set_threads(options.threads)
    inputs, method = inputs_and_method(options)
    method = replace(method, device=options.device)
    wanted = _hand_off(options)
    conformer = options.conformer
    if conformer is None and inputs.tacticity is not None:
        conformer = options.output.with_name(f"{options.output.stem}_chirality.gro")
    target = part_path(options.output, options.part)
    first, conformer = (path and part_path(path, options.part) for path in (options.first, conformer))
    outputs = Outputs(target, first, conformer, options.restart, wanted is not None)
    relaxations: list[Relaxation] = []
    with crew_of(options) as crew:
        done = backmap(inputs, outputs, method, crew=crew, quiet=options.quiet)
        if not options.quiet:
            print(done.report.text())
        if wanted is not None:
            from dbm_gmx.backmapping.hand_off import hand_off

            relaxations = hand_off(inputs, done, replace(wanted, crew=crew), quiet=options.quiet)
    if sum(say(relaxation, quiet=options.quiet) for relaxation in relaxations):
        return ExitCode.FAILED  # the next try begins with what there is
    if wanted is not None:
        forget_run(target)
    broken = [done.report.judgement.words(method.limits.allowed), *map(relaxed_words, relaxations)]
    return exit_code(*broken)


def _hand_off(options: Namespace) -> HandOff | None:
    """What is to follow, checked before anything is done."""
    if options.relax is None and options.workdir is None:
        return None
    if options.part is not None:
        raise InputError("a part (--part) is not relaxed: join the parts, then dbm-gmx relax (--part)")
    from dbm_gmx.backmapping.hand_off import HandOff, check_hand_off

    relaxed = options.relax
    if relaxed == RELAXED:
        relaxed = options.output.with_stem(f"{options.output.stem}_relaxed")
    settings = replace(record_of(options, RelaxSettings), limits=limits_of(options))
    return check_hand_off(HandOff(relaxed, options.workdir, settings), options.output)

"""``dbm-gmx relax``: relax atoms with GROMACS, their mapped centres restrained to the beads."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbm_gmx.commands.arguments import (
    Commands,
    add_atoms,
    add_cluster,
    add_conditions,
    add_part,
    add_process,
    add_relaxing,
    add_restart,
    add_rules,
    count,
    crew_of,
    exit_code,
    group,
    limits_of,
    record_of,
)
from dbm_gmx.errors import ExitCode
from dbm_gmx.options import AtomInputs, RelaxSettings

if TYPE_CHECKING:
    from dbm_gmx.gromacs.relaxation import Relaxation


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "relax",
        help="relax atoms with GROMACS, their mapped centres restrained to the beads",
        description="Minimise each frame and run it for a moment with GROMACS, the mapped centres "
        "restrained.",
    )
    add_atoms(command)
    group(command, "input").add_argument(
        "--beads",
        type=Path,
        metavar="FILE",
        help="Trajectory of the beads that the mapped centres are restrained to. Default: their positions "
        "in -f.",
    )
    output = group(command, "output")
    output.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="Trajectory of the relaxed atoms that is written: .xtc, .trr, .gro or .pdb.",
    )
    add_conditions(command)
    add_relaxing(command)
    add_restart(command)
    add_rules(command)
    group(command, "GROMACS").add_argument(
        "--seed", type=count(0), default=RelaxSettings.seed, help="Random seed. Default: %(default)s."
    )
    add_cluster(command)
    add_part(command)
    add_process(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Relax the trajectory and print the summary; returns the exit code."""
    from dbm_gmx.files.join import part_path
    from dbm_gmx.gromacs.relax import relax

    with crew_of(options) as crew:
        relaxation = relax(
            record_of(options, AtomInputs),
            part_path(options.output, options.part),
            beads=options.beads,
            settings=replace(record_of(options, RelaxSettings), limits=limits_of(options)),
            crew=crew,
            quiet=options.quiet,
        )
    if say(relaxation, quiet=options.quiet):
        return ExitCode.FAILED
    return exit_code(relaxed_words(relaxation))


def relaxed_words(relaxation: Relaxation) -> str:
    """Which rules the relaxed atoms break; nothing if they hold."""
    words = relaxation.judgement.words(relaxation.limits.allowed)
    return f"after relaxation {words}" if words else ""


def say(relaxation: Relaxation, *, quiet: bool) -> bool:
    """Print what there is to say; returns whether frames failed."""
    if not quiet:
        print(relaxation.text())
    if relaxation.failures:
        print(
            f"dbm-gmx: error: not relaxed: {relaxation.missing()}; the others are written, and the next "
            "try will begin with them",
            file=sys.stderr,
        )
    return bool(relaxation.failures)

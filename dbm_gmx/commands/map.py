"""``dbm-gmx map``: turn an atomistic trajectory into a coarse-grained one."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from dbm_gmx.commands.arguments import Commands, add_atoms, add_quiet, record_of
from dbm_gmx.errors import ExitCode
from dbm_gmx.options import AtomInputs


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "map",
        help="turn an atomistic trajectory into a coarse-grained one",
        description="Turn an atomistic trajectory into a coarse-grained one, molecules whole.",
    )
    add_atoms(command)
    add = command.add_argument
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="beads: .xtc, .trr, .gro or .pdb")
    add("-c", "--first", type=Path, metavar="FILE", help="first frame as .gro")
    add_quiet(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Map the trajectory and print the summary; returns the exit code."""
    from dbm_gmx.backmapping.forward import map_trajectory

    inputs, quiet = record_of(options, AtomInputs), options.quiet
    mapped = map_trajectory(inputs, options.output, first_frame=options.first, quiet=quiet)
    if not options.quiet:
        print(mapped.text())
    return ExitCode.DONE

"""``dbm-gmx join``: put parts of a run together."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from dbm_gmx.commands.arguments import Commands, add_quiet
from dbm_gmx.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "join",
        help="put the parts of a run (--part) together",
        description="Put the parts of a run (--part) together, and check that none is missing, there twice "
        "or made of something else. The outcome has the same bytes as a run of all frames.",
    )
    add = command.add_argument
    add("parts", type=Path, nargs="+", metavar="FILE", help="Parts of a run, each with its .json beside it.")
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="File of all frames that is written, of the same kind as the parts.",
    )
    add_quiet(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Join the parts and say what was done; returns the exit code."""
    from dbm_gmx.files.join import join_parts

    joined = join_parts(options.parts, options.output)
    if not options.quiet:
        print(joined.text())
    if joined.broken:
        print(f"dbm-gmx: error: in parts of it {', and '.join(joined.broken)}", file=sys.stderr)
        return ExitCode.FLAWED
    return ExitCode.DONE

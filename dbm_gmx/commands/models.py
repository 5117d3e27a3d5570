"""``dbm-gmx models``: list the models there are."""

from __future__ import annotations

from argparse import Namespace

from dbm_gmx.commands.arguments import Commands
from dbm_gmx.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Add the command, which has no options."""
    command = commands.add_parser(
        "models",
        help="list the models that ship",
        description="List the models that ship: what each knows and how it scores.",
    )
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print what is known of each; returns the exit code."""
    from dbm_gmx.network.model import describe_models

    print("\n\n".join(describe_models()))
    return ExitCode.DONE

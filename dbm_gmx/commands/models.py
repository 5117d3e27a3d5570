"""``dbm-gmx models``: list the models there are, or say what is known of some."""

from __future__ import annotations

from argparse import Namespace

from dbm_gmx.commands.arguments import Commands
from dbm_gmx.errors import ExitCode, printable


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "models",
        help="list the models that ship",
        description="List the models that ship, or those that are given: what each knows and how it scores.",
    )
    command.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="Name of a model that ships, or a model file (.pt). Default: all that ship.",
    )
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print what is known of each; returns the exit code."""
    from dbm_gmx.network.model import describe_models

    print(printable("\n\n".join(describe_models(names=options.models))))
    return ExitCode.DONE

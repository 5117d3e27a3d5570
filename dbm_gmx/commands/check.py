"""``dbm-gmx check``: validate the input without converting."""

from __future__ import annotations

from argparse import Namespace

from dbm_gmx.commands.arguments import (
    Commands,
    add_conditions,
    add_inputs,
    add_method,
    add_model,
    add_verbose,
    inputs_and_method,
)
from dbm_gmx.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "check",
        help="validate the input without converting",
        description="Validate all input: names, counts, order, mapping, boxes, positions, force field.",
    )
    add_inputs(command)
    add_conditions(command)
    add_method(command)
    add_model(command)
    add_verbose(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print what was found; returns the exit code."""
    from dbm_gmx.backmapping.check import check

    print("\n".join(check(*inputs_and_method(options))))
    return ExitCode.DONE

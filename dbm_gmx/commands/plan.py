"""``dbm-gmx plan``: print the order in which the network places atoms."""

from __future__ import annotations

from argparse import Namespace

from dbm_gmx.commands.arguments import Commands, add_inputs, add_verbose, record_of
from dbm_gmx.errors import ExitCode
from dbm_gmx.options import Inputs


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "plan",
        help="print the order in which the network places atoms",
        description="Print the order in which the network places beads and atoms.",
    )
    add_inputs(command)
    add_verbose(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print the order for each molecule type; returns the exit code."""
    from dbm_gmx.files.system import read_inputs
    from dbm_gmx.network.build_order import describe, make_build_order

    system, frames = read_inputs(record_of(options, Inputs))
    iter(frames)  # a trajectory that cannot be read is refused here too
    matches = {match.moltype.name: match for match in system.matches}
    orders = [
        describe(make_build_order(m.moltype, m.mapping), m.moltype, m.mapping) for m in matches.values()
    ]
    print("\n\n".join(orders))
    return ExitCode.DONE

"""Options that would do nothing beside the others: refused, as whoever gives them expects something.

What only says how the work is done (threads, device, batch), or asks for what is the case anyway
(``--no-memory``), is let pass.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection
from dataclasses import dataclass

from dbm_gmx.commands.arguments import record_of
from dbm_gmx.errors import InputError
from dbm_gmx.options import Settings


@dataclass(frozen=True)
class Idle:
    """Options that do nothing in some cases.

    Attributes
    ----------
    commands, keys
        Commands that have them, and where their values are.
    case
        Whether the other options make it such a case.
    words
        What the case is.
    """

    commands: Collection[str]
    keys: Collection[str]
    case: Callable[[Namespace], bool]
    words: str


def _grows_nothing(options: Namespace) -> bool:
    return not record_of(options, Settings).uses_sampler


def _without_network(options: Namespace) -> bool:
    return not record_of(options, Settings).uses_network


IDLE = (
    Idle(
        ("backmap",),
        ("jobs", "timeout", "maxwarn", "restrain"),
        lambda o: o.relax is None,
        "without --relax",
    ),
    Idle(
        ("backmap",),
        ("em_mdp", "nvt_mdp", "gmx"),
        lambda o: o.relax is None and o.workdir is None,
        "without --relax or --workdir",
    ),
    Idle(
        ("backmap",),
        ("model", "channels", "guided"),
        _without_network,
        "without the network: --refine gibbs or --start network",
    ),
    Idle(
        ("backmap",),
        ("annealing", "offers"),
        _grows_nothing,
        "without the force field: --refine exact or --start growth",
    ),
    Idle(("backmap",), ("windows",), lambda o: o.refine != "exact", "without --refine exact"),
    Idle(
        ("backmap",),
        ("tolerance",),
        lambda o: o.refine != "exact" or o.sweeps is not None,
        "where convergence is not tested: with --sweeps, or without --refine exact",
    ),
    Idle(
        ("check",),
        ("refine", "start", "model", "channels", "tacticity"),
        lambda o: o.converged is not None,
        "with --converged, which samples exactly and takes chirality from -r or from the atoms",
    ),
    Idle(("check",), ("frames", "tolerance", "seed"), lambda o: o.converged is None, "without --converged"),
    Idle(
        ("relax",),
        ("mdp",),
        lambda o: o.em_mdp is not None and o.nvt_mdp is not None,
        "where both --em-mdp and --nvt-mdp are given: each is used as it is",
    ),
    Idle(
        ("evaluate",),
        ("aliases", "only", "leave_out", "index"),
        lambda o: not o.cg,
        "without beads (--cg)",
    ),
    Idle(
        ("map",),
        ("temperature",),
        lambda o: o.bead_topology is None,
        "without a topology of the beads (-op)",
    ),
    Idle(("map init",), ("cg_topology",), lambda o: o.structure is None, "without a structure (-s)"),
    Idle(
        ("backmap", "check", "plan", "benchmark"),
        ("defines", "include"),
        lambda o: o.topology is None and o.cg_topology is None,
        "without a .top (-p or -cp)",
    ),
    Idle(
        ("map", "relax", "view"),
        ("defines", "include"),
        lambda o: o.topology is None,
        "without a .top (-p)",
    ),
)


def check_idle(options: Namespace, parser: ArgumentParser) -> None:
    """Refuse options that would do nothing.

    Parameters
    ----------
    options
        As ``parser`` has read them.
    parser
        Of the command; an option is taken as given where its value is not the default.

    Raises
    ------
    InputError
        Naming the first of them, and why.
    """
    for idle in IDLE:
        if options.command not in idle.commands or not idle.case(options):
            continue
        for action in parser._actions:
            if action.dest in idle.keys and getattr(options, action.dest) != action.default:
                raise InputError(f"{action.option_strings[-1]} has no effect {idle.words}")

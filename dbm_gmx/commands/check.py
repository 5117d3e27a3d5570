"""``dbm-gmx check``: validate the input without converting."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from dbm_gmx.commands.arguments import (
    Commands,
    add_chirality,
    add_conditions,
    add_inputs,
    add_method,
    add_model,
    add_times,
    add_tolerance,
    add_verbose,
    count,
    group,
    inputs_and_method,
    record_of,
)
from dbm_gmx.errors import ExitCode
from dbm_gmx.options import ConvergenceCheck, Settings


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "check",
        help="validate the input without converting",
        description="Validate all input: names, counts, order, mapping, boxes, positions, force field. Or, "
        "with --converged, say whether atoms are at equilibrium given their beads.",
    )
    add_inputs(command)
    add_chirality(command)
    add_times(command)
    add_conditions(command)
    add_method(command)
    add_model(command)
    add = group(command, "equilibrium").add_argument
    add(
        "--converged",
        type=Path,
        metavar="FILE",
        help="Trajectory of atoms, whoever made them. Their energies are compared with those of an "
        "independent reconstruction on the beads of -f; without -f, on beads that are mapped from these "
        "atoms.",
    )
    add(
        "--frames",
        type=count(1),
        default=ConvergenceCheck.frames,
        help="Number of frames that --converged rebuilds, evenly spread. Default: %(default)s.",
    )
    add_tolerance(command)
    add(
        "--seed",
        type=count(0),
        default=Settings.seed,
        help="Random seed of --converged. Default: %(default)s.",
    )
    add("--threads", type=count(1), help="Number of CPU threads of --converged. Default: all cores.")
    add_verbose(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print what was found; returns the exit code."""
    if options.converged is not None:
        return _check_converged(options)
    from dbm_gmx.backmapping.check import check

    lines = check(*inputs_and_method(options))
    print("\n".join([*lines, verdict(lines)]))
    return ExitCode.DONE


def verdict(lines: Sequence[str]) -> str:
    """The last line: input that cannot be used was an error before."""
    warnings = sum(line.startswith("warning:") for line in lines)
    if not warnings:
        return "verdict: ready for backmap"
    return (
        f"verdict: ready for backmap, but read the {'warning' if warnings == 1 else f'{warnings} warnings'}"
    )


def _check_converged(options: Namespace) -> int:
    """Print energies beside those of an independent reconstruction; returns the exit code."""
    from dbm_gmx.backmapping.converged import check_converged

    threads = options.threads or len(os.sched_getaffinity(0))
    inputs, method = inputs_and_method(options)
    wanted = record_of(options, ConvergenceCheck)
    found = check_converged(inputs, method, options.converged, wanted, threads=threads)
    print(found.text())
    return ExitCode.DONE if found.converged else ExitCode.FLAWED

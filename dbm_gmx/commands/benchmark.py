"""``dbm-gmx benchmark``: measure speed and memory on this machine."""

from __future__ import annotations

from argparse import Namespace

from dbm_gmx.commands.arguments import (
    Commands,
    add_conditions,
    add_inputs,
    add_model,
    add_times,
    add_verbose,
    count,
    inputs_and_method,
    record_of,
)
from dbm_gmx.errors import ExitCode
from dbm_gmx.options import RelaxSettings


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "benchmark",
        help="measure speed and memory on this machine",
        description="Time one frame, several, and a larger box: one pass of the network (one orientation, no "
        "sweeps), and the exact sampler. Then CPU time by stage, and what a frame costs in steps of "
        "molecular dynamics of its atoms, where GROMACS is found.",
    )
    add_inputs(command)
    add_times(command)
    add_conditions(command)
    add_model(command)
    add = command.add_argument
    add(
        "--sweeps",
        type=count(0),
        help="Number of sweeps of the exact sampler. Default: as many as are needed.",
    )
    add(
        "--box",
        type=count(1),
        default=2,
        help="The larger box is this number of boxes along each vector. Default: %(default)s.",
    )
    add("--frames", type=count(1), default=10, help="Number of frames at once. Default: %(default)s.")
    add("--threads", type=count(1), help="Number of CPU threads. Default: all cores.")
    add("--gmx", metavar="PATH", help="Program of GROMACS. Default: the first of gmx, gmx_mpi and gmx_d.")
    add_verbose(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print the measurements as they come; returns the exit code."""
    from dbm_gmx.backmapping.benchmark import benchmark
    from dbm_gmx.parallel import set_threads

    if options.threads:
        set_threads(options.threads)
    lines = benchmark(
        *inputs_and_method(options),
        box=options.box,
        frames=options.frames,
        gromacs=record_of(options, RelaxSettings),
    )
    for line in lines:
        print(line, flush=True)
    return ExitCode.DONE

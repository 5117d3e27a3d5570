"""``dbm-gmx train``: train a model."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from dbm_gmx.commands.arguments import Commands, add_process, count, positive
from dbm_gmx.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "train",
        help="train a model",
        description="Train a model, or go on where the last run with the same output folder has stopped. "
        "Several processes: torchrun --nproc-per-node N -m dbm_gmx train FILE",
    )
    add = command.add_argument
    add("settings", type=Path, metavar="FILE", help="training file (.toml), see share/recipes/train")
    add("-o", "--output", type=Path, metavar="FOLDER", help="for checkpoint, log and model (that of FILE)")
    add("--from", dest="start", metavar="MODEL", help="begin with this model, by name or path (as in FILE)")
    add("--seed", type=count(0), help="random seed (that of FILE)")
    add("--max-time", type=positive("time in h"), metavar="H", help="stop after so many hours")
    add_process(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Train and print the summary; returns the exit code."""
    from dbm_gmx.parallel import set_threads
    from dbm_gmx.train.loop import train
    from dbm_gmx.train.settings import read_settings

    if options.threads:
        set_threads(options.threads)
    given = {key: getattr(options, key) for key in ("output", "start", "seed")}
    given = {key: value for key, value in given.items() if value is not None}
    settings = replace(read_settings(options.settings), **given)
    trained = train(settings, max_hours=options.max_time, quiet=options.quiet)
    if not options.quiet and trained.first:
        print(trained.text())
    return ExitCode.DONE

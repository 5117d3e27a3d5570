"""``dbm-gmx train``: train a model."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from dbm_gmx.commands.arguments import Commands, add_process, count, positive
from dbm_gmx.errors import ExitCode, InputError


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "train",
        help="train a model, or make a memory",
        description="Train a model, or go on where the last run with the same output folder has stopped. "
        "With a section [memory] in FILE a memory for dbm-gmx backmap --memory is made of the frames. "
        "Several processes: torchrun --nproc-per-node N -m dbm_gmx train FILE",
    )
    add = command.add_argument
    add("settings", type=Path, metavar="FILE", help="Training file (.toml), as those in share/recipes/train.")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="Folder for checkpoint, log and model. Default: that of FILE.",
    )
    add(
        "--from",
        dest="start",
        metavar="MODEL",
        help="Name or file of the model to begin with. Default: as FILE says.",
    )
    add("--seed", type=count(0), help="Random seed. Default: that of FILE.")
    add("--max-time", type=positive("a time in h"), metavar="H", help="Stop after so many hours.")
    add(
        "--restart",
        action="store_true",
        help="Begin anew. Without it the last run with the same folder goes on.",
    )
    add_process(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Train and print the summary; returns the exit code."""
    from dbm_gmx.network.model import best_device, load_model
    from dbm_gmx.parallel import set_threads
    from dbm_gmx.train.loop import train
    from dbm_gmx.train.memory import make_memory
    from dbm_gmx.train.settings import read_settings

    if options.threads:
        set_threads(options.threads)
    given = {key: getattr(options, key) for key in ("output", "start", "seed")}
    given = {key: value for key, value in given.items() if value is not None}
    settings = replace(read_settings(options.settings), **given)
    if not settings.steps and (options.max_time is not None or options.start is not None):
        raise InputError("no steps of training: --from and --max-time have no effect", path=options.settings)
    if settings.start:
        load_model(settings.start)  # before a memory is made
    if settings.steps and settings.run.device != "auto":
        best_device(settings.run.device)
    if settings.memory is not None and int(os.environ.get("RANK", "0")) == 0:
        made = make_memory(settings, restart=options.restart)
        if not options.quiet:
            print(made.text())
    if not settings.steps:
        return ExitCode.DONE
    trained = train(settings, max_hours=options.max_time, restart=options.restart, quiet=options.quiet)
    if not options.quiet and trained.first:
        print(trained.text())
    return ExitCode.FAILED if trained.interrupted else ExitCode.DONE

"""Train the six models of the paper's table, with several seeds each if wanted, on one machine.

    six.py OUT [--from sps transferred] [--data FOLDER] [--seeds none=3 p1=3] [--only NAME...] [--jobs 1]

First the two warm starts (polystyrene; octane and cumene), then from each of them the three priors.  With
``--from MODEL MODEL`` the priors begin with these two models, by path or name, and nothing is warmed up: the
seeds then share their start.  ``--data`` is a folder as ``share/reference``, which has ``topol.top``,
``aa.xtc`` and ``mapping.xml`` in each of ``sps``, ``octane`` and ``cumene``.

``--jobs N`` of them run at the same time (all): several processes share one graphics card, for a network this
small does not fill it.  Everything of a training is on the device; ``--widen N`` makes batches N times as
large and steps N times as few.  What has not ended after ``--minutes`` stops cleanly, and the same command
goes on.  ``OUT`` gets a folder for each training, named ``KIND-PRIOR`` and from the second seed on
``KIND-PRIOR-SEED``, and ``six.json``: steps, wall time, speed and scores of each.

``--width N`` and ``--frames N`` are for trials.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dbm_gmx.train.loop import train
from dbm_gmx.train.settings import SystemSettings, TrainSettings, read_settings

HERE = Path(__file__).parent
KINDS, PRIORS = ("sps", "transferred"), ("none", "p1", "p2")
WARM_PART = 0.7
"""Of the time, for the warm starts."""


def main() -> None:
    """Train, and write what it took."""
    given = arguments()
    begin = time.monotonic()
    found = []
    if not given.start:
        found += side_by_side([warm_start(kind, given) for kind in KINDS], WARM_PART * given.minutes, given)
    left = given.minutes - (time.monotonic() - begin) / 60
    found += side_by_side(wanted(given), left, given)
    report = {"minutes": (time.monotonic() - begin) / 60, "trainings": found}
    (given.out / "six.json").write_text(json.dumps(report, indent=1))
    for one in found:
        print(
            f"{one['name']:20s} {one['step']} of {one['steps']} steps in {one['seconds']:.0f} s",
            one["stopped"],
        )


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="Train the six models of the table.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--from", dest="start", nargs=2, metavar="MODEL", help="in place of the warm starts")
    parser.add_argument("--data", type=Path, help="folder of sps, octane and cumene")
    parser.add_argument("--held-out", type=int, help="last frames of each system that are not trained on")
    parser.add_argument("--frames", type=int, default=0, help="first frames of each system to use; 0: all")
    parser.add_argument(
        "--seeds", nargs="+", default=[], metavar="NAME=N", help="KIND-PRIOR with more seeds than one"
    )
    parser.add_argument("--only", nargs="+", help="KIND-PRIOR or KIND-PRIOR-SEED, these alone")
    parser.add_argument("--jobs", type=int, help="trainings at the same time")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--widen", type=int, default=4, help="batches so many times as large, steps as few")
    parser.add_argument("--steps", type=int, nargs=2, help="of the warm start and of the adversarial phase")
    parser.add_argument("--width", type=int, help="of the networks")
    return parser.parse_args(words)


def wanted(given: argparse.Namespace) -> list[TrainSettings]:
    """All trainings with a prior, or those asked for."""
    seeds = {name: int(count) for name, _, count in (text.partition("=") for text in given.seeds)}
    every = [
        with_prior(kind, prior, seed, given)
        for kind in KINDS
        for prior in PRIORS
        for seed in range(1, seeds.get(f"{kind}-{prior}", 1) + 1)
    ]
    names = [one.name for one in every]
    if unknown := sorted({*(given.only or ()), *seeds} - set(names)):
        raise SystemExit(f"no training {', '.join(unknown)}; there are {', '.join(names)}")
    return [one for one in every if not given.only or one.name in given.only]


def warm_start(kind: str, given: argparse.Namespace) -> TrainSettings:
    """The warm start of a kind of data."""
    whole = common(kind, given)
    return replace(whole, output=given.out / f"{kind}-warm", adversarial=replace(whole.adversarial, steps=0))


def with_prior(kind: str, prior: str, seed: int, given: argparse.Namespace) -> TrainSettings:
    """The adversarial phase with a prior, from the warm start or the model given for it."""
    whole = common(kind, given)
    name = f"{kind}-{prior}" + (f"-{seed}" if seed > 1 else "")
    warm = str(given.out / f"{kind}-warm" / f"{kind}.pt")
    return replace(
        whole,
        name=name,
        seed=seed,
        output=given.out / name,
        start=given.start[KINDS.index(kind)] if given.start else warm,
        warm=replace(whole.warm, steps=0),
        prior=replace(whole.prior, kind=prior),
    )


def common(kind: str, given: argparse.Namespace) -> TrainSettings:
    """The recipe of a kind of data, as the command line has it."""
    read = read_settings(HERE / f"{kind}.toml")
    warm, adversarial = given.steps or (read.warm.steps, read.adversarial.steps)
    fewer = max(1, given.widen)
    settings = replace(
        read,
        system=tuple(frames_of(system, given) for system in read.system),
        warm=replace(read.warm, steps=-(-warm // fewer), batch=read.warm.batch * fewer),
        adversarial=replace(
            read.adversarial, steps=-(-adversarial // fewer), batch=read.adversarial.batch * fewer
        ),
        run=replace(read.run, device=given.device),
    )
    if given.width:
        settings = replace(
            settings,
            network=replace(settings.network, width=given.width, blocks=1),
            critic=replace(settings.critic, width=given.width, blocks=1),
        )
    return settings


def frames_of(system: SystemSettings, given: argparse.Namespace) -> SystemSettings:
    """The same system of another folder, with other frames held out."""
    folder = system.topology.parent
    if given.data:
        folder = given.data / folder.name
    return replace(
        system,
        topology=folder / system.topology.name,
        trajectory=folder / system.trajectory.name,
        mapping=tuple(folder / path.name for path in system.mapping),
        held_out=system.held_out if given.held_out is None else given.held_out,
        frames=given.frames,
    )


def side_by_side(
    trainings: Sequence[TrainSettings], minutes: float, given: argparse.Namespace
) -> list[dict[str, Any]]:
    """Run some trainings at the same time, each in a process of its own."""
    end = time.time() + 60 * max(minutes, 0.1)
    context = multiprocessing.get_context("spawn")  # a forked process cannot use a card
    with ProcessPoolExecutor(given.jobs or len(trainings), mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(one_training, [(settings, end) for settings in trainings]))


def one_training(job: tuple[TrainSettings, float]) -> dict[str, Any]:
    """Run a training until a point in time (s since 1970), and say what it came to."""
    settings, end = job
    done = train(settings, max_hours=max(end - time.time(), 0.0) / 3600)
    lines = [json.loads(line) for line in (settings.output / "log.jsonl").read_text().splitlines()]
    speed = [line["steps_per_second"] for line in lines if "steps_per_second" in line]
    values = {key: value for key, value in asdict(done).items() if key not in ("path", "first")}
    return {"name": settings.name, **values, "steps_per_second": speed[-1:], "processors": os.cpu_count()}


if __name__ == "__main__":
    main()

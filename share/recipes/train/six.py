"""Train the six models of the paper's table, side by side, on one machine with a graphics card or without.

    six.py OUT [--minutes 10] [--device cuda] [--widen 4]

First the two warm starts (polystyrene; octane and cumene) at the same time, then from each of them the three
priors, all six at the same time.  Several processes share one card: a network this small does not fill it.
Everything of a training is on the device; ``--widen N`` makes batches N times as large and steps N times as
few.  What has not ended after ``--minutes`` stops cleanly, and the same command goes on.  ``OUT`` gets a
folder for each training, and ``six.json``: steps, wall time, speed and scores of each.

``--steps WARM ADVERSARIAL``, ``--width N`` and ``--system TOP XTC MAPPING`` are for trials.
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
    parser = argparse.ArgumentParser(description="Train the six models of the table side by side.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--widen", type=int, default=4, help="batches so many times as large, steps as few")
    parser.add_argument("--steps", type=int, nargs=2, help="of the warm start and of the adversarial phase")
    parser.add_argument("--width", type=int, help="of the networks")
    parser.add_argument("--system", type=Path, nargs=3, help="topology, trajectory and mapping of both kinds")
    given = parser.parse_args()
    begin = time.monotonic()
    warm = [warm_start(kind, given) for kind in KINDS]
    found = side_by_side(warm, WARM_PART * given.minutes)
    left = given.minutes - (time.monotonic() - begin) / 60
    rest = [with_prior(kind, prior, given) for kind in KINDS for prior in PRIORS]
    found += side_by_side(rest, left)
    report = {"minutes": (time.monotonic() - begin) / 60, "trainings": found}
    (given.out / "six.json").write_text(json.dumps(report, indent=1))
    for one in found:
        print(
            f"{one['name']:20s} {one['step']} of {one['steps']} steps in {one['seconds']:.0f} s",
            one["stopped"],
        )


def warm_start(kind: str, given: argparse.Namespace) -> TrainSettings:
    """The warm start of a kind of data."""
    whole = common(f"{kind}-none", given)
    return replace(
        whole,
        name=kind,
        output=given.out / f"{kind}-warm",
        adversarial=replace(whole.adversarial, steps=0),
        run=replace(whole.run, evaluate=0, calibrate=False),
    )


def with_prior(kind: str, prior: str, given: argparse.Namespace) -> TrainSettings:
    """The adversarial phase with a prior, from the warm start."""
    whole = common(f"{kind}-{prior}", given)
    return replace(
        whole,
        output=given.out / whole.name,
        start=str(given.out / f"{kind}-warm" / f"{kind}.pt"),
        warm=replace(whole.warm, steps=0),
        run=replace(whole.run, evaluate=0, calibrate=given.steps is None),
    )


def common(recipe: str, given: argparse.Namespace) -> TrainSettings:
    """The recipe of this name, as the command line has it."""
    read = read_settings(HERE / f"{recipe}.toml")
    warm, adversarial = given.steps or (read.warm.steps, read.adversarial.steps)
    fewer = max(1, given.widen)
    settings = replace(
        read,
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
    if given.system:
        topology, trajectory, mapping = given.system
        system = SystemSettings(topology, trajectory, (mapping,), frames=2)
        settings = replace(settings, system=(system,))
    return settings


def side_by_side(trainings: Sequence[TrainSettings], minutes: float) -> list[dict[str, Any]]:
    """Run some trainings at the same time, each in a process of its own."""
    context = multiprocessing.get_context("spawn")  # a forked process cannot use a card
    jobs = [(settings, max(minutes, 0.1) / 60) for settings in trainings]
    with ProcessPoolExecutor(len(jobs), mp_context=context) as pool:
        return list(pool.map(one_training, jobs))


def one_training(job: tuple[TrainSettings, float]) -> dict[str, Any]:
    """Run a training, and say what it came to."""
    settings, hours = job
    done = train(settings, max_hours=hours)
    lines = [json.loads(line) for line in (settings.output / "log.jsonl").read_text().splitlines()]
    speed = [line["steps_per_second"] for line in lines if "steps_per_second" in line]
    values = {key: value for key, value in asdict(done).items() if key not in ("path", "first")}
    return {"name": settings.name, **values, "steps_per_second": speed[-1:], "processors": os.cpu_count()}


if __name__ == "__main__":
    main()

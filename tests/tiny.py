"""A training of a tiny network, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import dbm_gmx.train.loop as loop
from dbm_gmx.files.share import share_path
from dbm_gmx.network.generator import Shape
from dbm_gmx.train.settings import (
    AdversarialSettings,
    CriticSettings,
    PriorSettings,
    RunSettings,
    SystemSettings,
    TrainSettings,
    WarmSettings,
)

OCTANE = share_path("examples", "octane")


def tiny_settings(output: Path, **changes: Any) -> TrainSettings:
    """Four steps of each phase on a frame of octane, all losses switched on, nothing held out."""
    system = SystemSettings(
        topology=OCTANE / "topol.top",
        trajectory=OCTANE / "aa.xtc",
        mapping=(OCTANE / "mapping.xml",),
        temperature=350.0,
        frames=1,
        held_out=0,
    )
    settings = TrainSettings(
        output=output,
        system=(system,),
        network=Shape(width=8, blocks=1, noise=4),
        critic=CriticSettings(width=8, blocks=1),
        warm=WarmSettings(steps=4, batch=16, draws=2),
        adversarial=AdversarialSettings(steps=4, batch=6, critic_steps=2, supervised=0.5),
        prior=PriorSettings("p2", ramp=0.0),
        run=RunSettings(log=2, evaluate=0, sweeps=0, calibrate=False),
    )
    return replace(settings, **changes)


def train_and_keep(folder: Path) -> None:
    """Train as one of several processes, and write what this one has in the end."""
    make, kept = loop.make_training_state, []

    def keep(*given: Any) -> Any:
        kept.append((make(*given), given[2].rank))
        return kept[-1][0]

    with patch.object(loop, "make_training_state", keep):
        loop.train(tiny_settings(folder / "out"))
    ((state, rank),) = kept
    networks = {name: getattr(state, name).state_dict() for name in ("generator", "critic")}
    torch.save({**networks, "rng": state.rng.get_state()}, folder / f"rank{rank}.pt")

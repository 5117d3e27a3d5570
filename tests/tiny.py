"""A training of a tiny network, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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

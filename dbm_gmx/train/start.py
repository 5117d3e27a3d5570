"""The model a training begins with: from nothing, or from another one with channels added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from dbm_gmx.network.channels import Channels
from dbm_gmx.network.model import Model, load_model
from dbm_gmx.train.settings import TrainSettings


def first_model(settings: TrainSettings, channels: Channels) -> Model:
    """The model to begin with: ``settings.start`` widened to ``channels``, or one without weights."""
    if not settings.start:
        return Model(settings.grid, channels, settings.network, {})
    known = load_model(settings.start)
    return widen(known, merged(known.channels, channels))


def merged(known: Channels, wanted: Channels) -> Channels:
    """The known channels, and after them in each group those for what has no known one."""

    def group(name: str, *, named: bool) -> dict[str, Sequence[str]]:
        """Channels of a group; those of atoms and beads are named after what they contain."""
        old, new = getattr(known, name), getattr(wanted, name)
        patterns = [tuple(p) for p in old.values()]

        def covered(key: str, wanted: Sequence[str]) -> bool:
            matched = named and any(fnmatchcase(key, p) for some in patterns for p in some)
            return key in old or tuple(wanted) in patterns or matched

        return dict(old) | {key: values for key, values in new.items() if not covered(key, values)}

    return Channels(
        atoms=group("atoms", named=True),
        bonded=group("bonded", named=False),
        lennard_jones=group("lennard_jones", named=False),
        beads=group("beads", named=True),
        current=group("current", named=False),
        neighbours=group("neighbours", named=False),
        classes={**wanted.classes, **known.classes},
        bond_counts=known.bond_counts,
    )


CHANNELLED = ("fold.weight", "condition.0.weight")
"""Weights of the generator whose second dimension begins with the channels."""


def widen(model: Model, channels: Channels) -> Model:
    """The model with more channels; the new ones are silent at first, so that it does what it did."""
    names, old = channels.names, model.channels.names
    columns = torch.tensor([old.index(name) if name in old else -1 for name in names])

    def widened(weight: Tensor) -> Tensor:
        """Input channels of a layer, which come first in its second dimension, by name."""
        rest = weight[:, len(old) :]
        chosen = torch.where(
            (columns >= 0).reshape(-1, *[1] * (weight.ndim - 2)), weight[:, columns.clamp(min=0)], 0.0
        )
        return torch.cat([chosen, rest], 1)

    state: Mapping[str, Tensor] = {
        key: widened(value) if key in CHANNELLED else value for key, value in model.state.items()
    }
    return replace(model, channels=channels, state=state)

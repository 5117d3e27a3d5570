"""Whether a model is used for what it was trained for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import hydrogens
from dbm_gmx.network.channels import bead_types_of, classes_of, matching, without_count
from dbm_gmx.network.model import Model, bad_scores
from dbm_gmx.options import ASSUMED, Conditions

COOLER, HOTTER = 0.8, 1.25
"""Times the lowest and the highest temperature of the training, between which a model is used."""


def doubts(model: Model, system: System, conditions: Conditions) -> list[str]:
    """Say what speaks against a model for a system: temperature, atoms, resolution, scores in its file.

    Atom classes and bead types that it does not know are refused elsewhere.
    """
    return [
        *_temperature(model, conditions),
        *_classes(model, system),
        *_resolution(model, system),
        *_scores(model),
    ]


def guided_only(model: Model) -> bool:
    """Whether a model has learnt heavy atoms alone, see :class:`~dbm_gmx.train.settings.TrainSettings`."""
    return bool(model.provenance.get("settings", {}).get("guided", False))


def _temperature(model: Model, conditions: Conditions) -> list[str]:
    known = [one["temperature"] for one in model.provenance.get("systems", []) if one.get("temperature")]
    if not known or conditions.source == ASSUMED:
        return []
    if COOLER * min(known) <= conditions.temperature <= HOTTER * max(known):
        return []
    trained = " and ".join(f"{t:g}" for t in dict.fromkeys(known))
    return [f"trained at {trained} K, used at {conditions.temperature:g} K"]


def _classes(model: Model, system: System) -> list[str]:
    known = set(model.provenance.get("classes", []))
    unseen = sorted(atom_classes_of(system, model) - known) if known else []
    return [
        f"atom class {name}: not in its training, drawn as {', '.join(matching(model.channels.atoms, name))}"
        for name in unseen
    ]


def atom_classes_of(system: System, model: Model) -> set[str]:
    """Atom classes of a system."""
    names = {c for some in classes_of(system, model.channels).values() for c in some}
    return {without_count(name) for name in names}


def _resolution(model: Model, system: System) -> list[str]:
    known: Mapping[str, tuple[int, int]] = model.provenance.get("resolution", {})
    channel = {bead: matching(model.channels.beads, bead) for bead in {*known, *bead_types_of(system)}}
    found = []
    for bead, (low, high) in resolution(system).items():
        # to the network, beads are alike that share a channel, whatever their types
        alike = [known[other] for other in known if channel[other] == channel[bead]]
        least = min((least for least, _ in alike), default=low)
        most = max((most for _, most in alike), default=high)
        if not least <= low <= high <= most:
            trained, used = f"{least} to {most} heavy atoms", f"{low} to {high}"
            found.append(f"bead type {bead}: trained with {trained}, used with {used}")
    return found


def _scores(model: Model) -> list[str]:
    return [f"scores of frames held out of its training are bad: {words}" for words in bad_scores(model)]


def resolution(system: System) -> dict[str, tuple[int, int]]:
    """The fewest and the most heavy atoms that beads of each type own."""
    counts: dict[str, list[int]] = {}
    for match in system.matches:
        heavy = match.mapping.owner[~hydrogens(match.moltype) & (match.moltype.masses > 0)]
        owned = np.bincount(heavy, minlength=len(match.mapping.names))
        for bead, count in zip(match.mapping.types, owned.tolist(), strict=True):
            counts.setdefault(bead, []).append(count)
    return {bead: (min(found), max(found)) for bead, found in sorted(counts.items())}

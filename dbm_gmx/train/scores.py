"""Free generation of held-out frames: all atoms from beads alone, as a user would get them.

Losses look at atoms whose surroundings are those of the data; what errors add up to shows here only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dbm_gmx.energy import FORMS
from dbm_gmx.environment import make_scene
from dbm_gmx.model import Model, best_dtype, build_generator, network_generator
from dbm_gmx.options import Settings
from dbm_gmx.quality import bad_contacts, count_stereo, deviation, infer_handedness
from dbm_gmx.reconstruct import reconstruct
from dbm_gmx.system import System, system_layout
from dbm_gmx.topology import FloatArray
from dbm_gmx.train.frames import Pair, TrainingSystem

RANGES = {
    "bond": (0.05, 0.35, 150),
    "angle": (60.0, 180.0, 120),
    "dihedral": (-180.0, 180.0, 120),
    "improper": (-180.0, 180.0, 120),
}
"""Bins of the histograms: from, to (nm, degrees), how many."""

MEASURES = {
    "bond": FORMS["bonds", 1].measure,
    "angle": FORMS["angles", 1].measure,
    "dihedral": FORMS["dihedrals", 1].measure,
    "improper": FORMS["dihedrals", 1].measure,
}


def generate_frames(
    model: Model, system: TrainingSystem, *, frames: int, sweeps: int, seed: int
) -> list[np.ndarray]:
    """Atoms (n, 3) of the first held-out frames, each generated on its own."""
    layout, table = system_layout(system.system, model.channels)
    cpu = torch.device("cpu")
    generate = network_generator(build_generator(model), table, model.grid, device=cpu, dtype=best_dtype(cpu))
    return [
        reconstruct(
            make_scene(layout, [pair.beads.numpy()], [pair.box], grid=model.grid),
            [pair.index],
            generate=generate,
            noise=model.shape.noise,
            grid=model.grid,
            settings=Settings(refine="gibbs", sweeps=sweeps, seed=seed),
        ).numpy()
        for pair in system.held_out[:frames]
    ]


def score_frames(system: System, made: Sequence[np.ndarray], data: Sequence[Pair]) -> dict[str, float]:
    """Compare generated frames (n, 3) with those of the data.

    Returns
    -------
    ``bond``, ``angle``, ``dihedral``, ``improper``: Jensen-Shannon divergence (base 2) of the
    distributions, mean over the kinds of terms; ``contacts``: bad ones in a frame; ``flipped``: part of
    the stereocentres; ``beads``: nm (rms), mapped atoms to their beads.
    """
    found = {part: _divergence(system, made, data, part) for part in MEASURES}
    scores = {part: float(np.mean(values)) for part, values in found.items() if values}
    contacts, flipped, square = [], [], []
    for atoms, pair in zip(made, data, strict=False):
        contacts.append(len(bad_contacts(system, atoms, pair.box)))
        hands = infer_handedness(system, pair.atoms.numpy(), {})
        stereo = count_stereo(system, atoms, hands)
        centres = stereo.right + stereo.wrong + stereo.undefined
        flipped.append((stereo.wrong + stereo.undefined) / max(1, centres))
        square.append(np.square(deviation(system, atoms, pair.beads.numpy(), pair.box)).mean())
    return scores | {
        "contacts": float(np.mean(contacts)),
        "flipped": float(np.mean(flipped)),
        "beads": float(np.sqrt(np.mean(square))),
    }


def _divergence(system: System, made: Sequence[np.ndarray], data: Sequence[Pair], part: str) -> list[float]:
    """Divergence for each kind of term: bonds, angles or dihedrals between the same types of atoms."""
    theirs, ours = (
        [_values(system, torch.as_tensor(atoms).double(), part) for atoms in frames]
        for frames in (made, [pair.atoms for pair in data[: len(made)]])
    )
    result = []
    for key in ours[0]:
        first, second = (np.concatenate([frame[key] for frame in frames]) for frames in (ours, theirs))
        low, high, bins = RANGES[part]
        result.append(jensen_shannon(*(_histogram(v, low, high, bins) for v in (first, second))))
    return result


def _histogram(values: FloatArray, low: float, high: float, bins: int) -> FloatArray:
    inside = np.clip(values, low, high - 1e-9)
    return np.histogram(inside, bins, (low, high))[0].astype(np.float64)


def jensen_shannon(p: FloatArray, q: FloatArray) -> float:
    """Jensen-Shannon divergence of two histograms, base 2: 0 for the same, 1 for disjoint ones."""
    p, q = p / p.sum(), q / q.sum()
    mean = (p + q) / 2

    def from_mean(a: FloatArray) -> float:
        some = a > 0
        return float((a[some] * np.log2(a[some] / mean[some])).sum())

    return (from_mean(p) + from_mean(q)) / 2


def _values(system: System, atoms: torch.Tensor, part: str) -> dict[tuple[str, ...], FloatArray]:
    """Lengths (nm) or angles (degrees) of the terms of one part, by the types of their atoms."""
    found: dict[tuple[str, ...], list[FloatArray]] = {}
    for match in system.matches:
        n = match.kind.n_atoms
        rows = atoms[match.first_atom : match.first_atom + match.count * n].reshape(-1, n, 3)
        types = np.array(match.kind.attribute("type"), str)
        for terms in match.kind.terms:
            if _part(terms.directive, terms.function) != part:
                continue
            (values,) = MEASURES[part](rows[:, torch.as_tensor(terms.atoms)])
            values = values if part == "bond" else torch.rad2deg(values)
            names = [min(tuple(t), tuple(t[::-1])) for t in types[terms.atoms].tolist()]
            for key in dict.fromkeys(names):
                chosen = [k for k, name in enumerate(names) if name == key]
                found.setdefault(key, []).append(values[:, chosen].flatten().numpy())
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _part(directive: str, function: int) -> str:
    """Where a term belongs among the scores; nowhere: the empty text."""
    if directive == "dihedrals":
        return "improper" if function in (2, 4) else "dihedral"
    return {"bonds": "bond", "constraints": "bond", "angles": "angle"}.get(directive, "")


def score(
    model: Model, systems: Sequence[TrainingSystem], *, frames: int, sweeps: int, seed: int
) -> dict[str, dict[str, float]]:
    """Scores of free generation on the held-out frames of each system that has some."""
    result = {}
    for system in systems:
        if system.held_out:
            made = generate_frames(model, system, frames=frames, sweeps=sweeps, seed=seed)
            result[system.name] = score_frames(system.system, made, system.held_out)
    return result


def overall(scores: dict[str, dict[str, float]]) -> float:
    """One number to compare models of one training by: mean divergence, and the part of flipped centres."""
    parts = [values[part] for values in scores.values() for part in (*RANGES, "flipped") if part in values]
    return float(np.mean(parts)) if parts else float("inf")

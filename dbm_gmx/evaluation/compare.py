"""How far frames are from those of the reference, with error bars and the floor of sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.evaluation.distributions import divergences, histogram, jensen_shannon, mean_divergences
from dbm_gmx.evaluation.measure import Measured
from dbm_gmx.forcefield.equilibrium import EnergyDifference, compare_energies, with_sums

Frames = Sequence[Measured]
Scores = dict[tuple[str, str], float]

REFERENCE = "reference"
"""Label of the reference among those of the candidates."""

METRICS = {
    "bond": "Jensen-Shannon divergence",
    "angle": "Jensen-Shannon divergence",
    "dihedral": "Jensen-Shannon divergence",
    "improper": "Jensen-Shannon divergence",
    "Lennard-Jones": "Wasserstein distance / spread of the reference",
    "Lennard-Jones, divergence": "Jensen-Shannon divergence",
    "g(r)": "mean absolute difference",
    "energy": "difference of the means, kJ/mol per molecule",
    "shape": "Wasserstein distance / spread of the reference",
    "racemo dyads": "difference of the fractions",
}
"""What the numbers of a group of scores are; divergences are to base 2, from 0 (the same) to 1 (disjoint)."""

RESAMPLES = 100
"""Times frames are drawn anew for the error bars."""

SPLITS = 20
"""Ways the reference is taken in two for the floor."""

FARTHEST = 10.0
"""Spreads of the reference that a single value counts as being off, at most."""

BEYOND = 0.02
"""Difference of an energy, kT per atom, up to which it is none."""

PAIRS = 4
"""Frames at the same times from which on energies are compared frame by frame."""


@dataclass(frozen=True)
class Score:
    """A distance from the reference.

    Attributes
    ----------
    value
        See :data:`METRICS`.
    error
        Standard deviation when frames are drawn anew (bootstrap); not a number for a single frame.
    floor
        The same between disjoint parts of the reference; not a number where it has a single frame.
    """

    value: float
    error: float
    floor: float


def compare(reference: Frames, candidate: Frames) -> Scores:
    """All distances between the frames of a candidate and those of the reference.

    Returns
    -------
    By group (one of :data:`METRICS`) and name; ``mean`` is that over the classes of a group.
    """
    found = divergences([f.terms for f in reference], [f.terms for f in candidate])
    scores: Scores = dict(found)
    scores |= {(part, "mean"): value for part, value in mean_divergences(found).items()}
    for name in reference[0].lennard_jones:
        ours, theirs = (
            np.concatenate([f.lennard_jones[name] for f in frames]) for frames in (reference, candidate)
        )
        scores["Lennard-Jones", name] = wasserstein(ours, theirs)
        bins = energy_range(ours)
        scores["Lennard-Jones, divergence", name] = float(
            jensen_shannon(*(histogram(values, *bins) for values in (ours, theirs)))
        )
    for name in reference[0].pairs:
        ours, theirs = (np.mean([f.pairs[name] for f in frames], axis=0) for frames in (reference, candidate))
        scores["g(r)", name] = float(np.abs(ours - theirs).mean())
    for name in reference[0].energies:
        ours, theirs = (np.array([f.energies[name] for f in frames]) for frames in (reference, candidate))
        scores["energy", name] = float(theirs.mean() - ours.mean()) / len(reference[0].radius)
    for name in ("radius", "ends"):
        ours, theirs = (
            np.concatenate([getattr(f, name) for f in frames]) for frames in (reference, candidate)
        )
        scores["shape", name] = wasserstein(ours, theirs)
    if len(reference[0].racemo):
        ours, theirs = (np.concatenate([f.racemo for f in frames]) for frames in (reference, candidate))
        scores["racemo dyads", "all"] = float(theirs.mean() - ours.mean())
    return scores


def wasserstein(reference: FloatArray, candidate: FloatArray) -> float:
    """Distance of two distributions in standard deviations of the first, see :data:`FARTHEST`."""
    wide = max(float(reference.std()), 1e-9)
    ours, theirs = (np.linspace(0, 1, len(values)) for values in (reference, candidate))
    other = np.interp(ours, theirs, np.sort(candidate))
    return float(np.abs(np.sort(reference) - other).clip(0, FARTHEST * wide).mean() / wide)


def energy_range(reference: FloatArray) -> tuple[float, float, int]:
    """Bins for energies of molecules: from below to far above those of the reference."""
    low, high = np.percentile(reference, [0.1, 99.9])
    wide = max(float(high - low), 1e-6)
    return float(low) - 2 * wide, float(high) + 4 * wide, 140


def scored(reference: Frames, candidate: Frames, *, seed: int) -> dict[tuple[str, str], Score]:
    """Compare, with error bars."""
    values, errors = compare(reference, candidate), _errors(reference, candidate, seed)
    floors = floor(reference, len(candidate), seed=seed)
    nothing = float("nan")
    return {key: Score(v, errors.get(key, nothing), floors.get(key, nothing)) for key, v in values.items()}


def _errors(reference: Frames, candidate: Frames, seed: int) -> Scores:
    """Standard deviation of each score over frames drawn with replacement."""
    if min(len(reference), len(candidate)) < 2:
        return {}
    rng = np.random.default_rng([seed, 1])

    def drawn(frames: Frames) -> Frames:
        return [frames[i] for i in rng.integers(len(frames), size=len(frames))]

    return _over([compare(drawn(reference), drawn(candidate)) for _ in range(RESAMPLES)], np.std)


def floor_frames(reference: int, candidate: int) -> tuple[int, int]:
    """How many frames of the reference are compared with how many others for the floor.

    As many as the candidate has with the rest, or halves where that is more than half of them.
    """
    part = min(candidate, reference // 2)
    return reference - part, part


def floor(reference: Frames, candidate: int, *, seed: int) -> Scores:
    """Mean distance between disjoint parts of the reference, see :func:`floor_frames`."""
    rest, part = floor_frames(len(reference), candidate)
    if not part:
        return {}
    rng, found = np.random.default_rng([seed, 2]), []
    for _ in range(SPLITS):
        order = rng.permutation(len(reference))
        found.append(compare(*([reference[i] for i in rows] for rows in (order[:rest], order[rest:]))))
    return _over([{key: abs(v) for key, v in scores.items()} for scores in found], np.mean)


def energy_difference(reference: Frames, candidate: Frames, *, atoms: int, kt: float) -> EnergyDifference:
    """Energies of a candidate less those of the reference, with standard errors over frames.

    Where the reference has all times of the candidate, and these are :data:`PAIRS` or more, frames of the
    same time are compared: what the same beads give both takes no part in the error then.  A single frame has
    the scatter of the frames of the reference.
    """
    by_time = {round(frame.time, 3): frame for frame in reference}
    same = [by_time[time] for time in (round(f.time, 3) for f in candidate) if time in by_time]
    paired = len(same) == len(candidate) >= PAIRS
    names = tuple(reference[0].moving)
    first, second = (
        np.array([[frame.moving[name] for name in names] for frame in frames])
        for frames in (candidate, same if paired else reference)
    )
    found = compare_energies(first, second, names, atoms=atoms, kt=kt, paired=paired)
    if len(first) > 1 or len(second) < 2:
        return found
    scatter = with_sums(second, names).std(axis=0, ddof=1) / (kt * atoms)
    error = scatter * np.sqrt(1 + 1 / len(second))
    return replace(found, error=error, degrees=len(second) - 1.0)


def _over(found: Sequence[Scores], how: Callable[[list[float]], np.floating[Any]]) -> Scores:
    return {key: float(how([scores[key] for scores in found])) for key in found[0]}

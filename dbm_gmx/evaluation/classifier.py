"""Can a classifier tell the frames of a candidate from those of the reference?  A test of two samples.

Gradient-boosted trees see local environments of heavy atoms (:mod:`~dbm_gmx.evaluation.environments`) of some
frames and say of those of other frames where they are from.  The area under the receiver operating
characteristic (AUC) is the probability that an environment of the candidate looks more like the candidate
than one of the reference does: 0.5 where nothing tells them apart, 1 where each atom does (Lopez-Paz and
Oquab, "Revisiting classifier two-sample tests", ICLR 2017).

Frames are never split, and those that follow each other are left out together, as they are much alike.

Needs the extra ``report`` (scikit-learn).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score, roc_curve
from threadpoolctl import threadpool_limits

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.evaluation.environments import environments, find_sites, groups

FEWEST = 4
"""Frames of either side from which on there is a number."""

MOST_FRAMES = 20
"""Frames of a trajectory that are looked at, spread over it evenly."""

HALVINGS = 6
"""Ways the reference is taken in two for the floor."""

FOLDS = 5
"""Parts of the frames that are left out in turn."""

ROWS = 12_000
"""Environments of either side, of all frames together, about."""

TREES, LEAVES, RATE = 100, 31, 0.1
"""Size of the classifier: trees, leaves of each, and how much each counts."""

POINTS = 51
"""Points of a curve."""


@dataclass(frozen=True, eq=False)
class Told:
    """How well two sets of frames are told apart.

    Attributes
    ----------
    auc, error
        Mean over the parts left out, and its standard error.
    importance, importance_error
        By group of numbers (:func:`~dbm_gmx.evaluation.environments.groups`): how much lower the AUC is when
        these numbers are exchanged at random among atoms of the same type, and the standard error of that.
    curve
        (:data:`POINTS`,) part of the second set that is taken for such, where as large a part of the first as
        the points from 0 to 1 say is taken for the second.
    frames
        Looked at in the first and in the second set.
    """

    auc: float
    error: float
    importance: Mapping[str, float]
    importance_error: Mapping[str, float]
    curve: FloatArray
    frames: tuple[int, int]


@dataclass(frozen=True, eq=False)
class TwoSamples:
    """The test of all candidates.

    Attributes
    ----------
    told
        By label of the candidate; those with too few frames are not in it.
    floor
        Between frames of the reference and others of it, see :func:`halvings`; ``None`` where it has too few.
    atoms
        Heavy atoms of a frame that were looked at.
    notes
        What the reader should know.
    """

    told: Mapping[str, Told]
    floor: Told | None
    atoms: int
    notes: tuple[str, ...]


def two_samples(
    topology: Topology,
    constraints: str,
    reference: Sequence[Frame],
    candidates: Mapping[str, Sequence[Frame]],
    *,
    seed: int,
) -> TwoSamples:
    """Test candidates against a reference.

    Parameters
    ----------
    constraints
        Bonds of fixed length, as in an ``.mdp``.
    reference, candidates
        Whole molecules; candidates by label.

    Returns
    -------
    A candidate with frames at times that the reference has too is compared with just these frames: where both
    are of the same beads, slow differences between other beads tell nothing then.
    """
    sites = find_sites(topology, constraints, ROWS // FEWEST, np.random.default_rng([seed, 3]))
    if not len(sites.atoms):
        return TwoSamples({}, None, 0, ("no classifier: there are no heavy atoms",))
    rows: dict[int, Float32Array] = {}

    def seen(some: Sequence[Frame]) -> list[Float32Array]:
        for frame in some:
            if id(frame) not in rows:
                rows[id(frame)] = environments(sites, frame)
        return [rows[id(frame)] for frame in some]

    told, notes = {}, []
    for label, given in candidates.items():
        some = spread(given)
        beside = at_times_of(reference, some)
        if min(len(some), len(beside)) < FEWEST:
            notes.append(
                f"no classifier for {label}: it needs {FEWEST} frames or more of candidate and reference; "
                f"there are {len(given)} and {len(reference)}"
            )
            continue
        told[label] = tell_apart(seen(beside), seen(some), seed=seed)
    floor = None
    if told and len(reference) >= 2 * FEWEST:
        floor = _floor(seen(spread(reference)), seed)
        told = {label: _no_better_than(floor, one) for label, one in told.items()}
    elif told:
        notes.append(
            f"no floor of the classifier: it needs {2 * FEWEST} frames of the reference; it would be near 0.5"
        )
    return TwoSamples(told, floor, len(sites.atoms), tuple(notes))


def spread(frames: Sequence[Frame]) -> list[Frame]:
    """At most :data:`MOST_FRAMES` of the frames, evenly spread."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int))
    return [frames[k] for k in chosen.tolist()]


def at_times_of(reference: Sequence[Frame], candidate: Sequence[Frame]) -> list[Frame]:
    """The reference's frames at the times of a candidate's, or evenly spread ones where a time is missing."""
    by_time = {round(frame.time, 3): frame for frame in reference}
    found = [by_time.get(round(frame.time, 3)) for frame in candidate]
    same = [frame for frame in found if frame is not None]
    return same if len(same) == len(candidate) else spread(reference)


def halvings(frames: int, rng: np.random.Generator) -> list[tuple[IntArray, IntArray]]:
    """Ways to take a series of frames in two, one half as early as the other: one of each two neighbours.

    Returns
    -------
    Up to :data:`HALVINGS`, all different.
    """
    pairs = frames // 2
    ways = rng.permutation(2 ** min(pairs - 1, 20))[:HALVINGS]
    swapped = (ways[:, None] >> np.arange(pairs)) & 1
    early = 2 * np.arange(pairs)
    return [(early + swap, early + 1 - swap) for swap in swapped]


def _floor(frames: Sequence[Float32Array], seed: int) -> Told:
    """The mean over halves of the reference; the error is that of a single comparison."""
    found = [
        tell_apart(*([frames[k] for k in half] for half in way), seed=seed)
        for way in halvings(len(frames), np.random.default_rng([seed, 6]))
    ]
    auc = np.array([one.auc for one in found])
    return Told(
        float(auc.mean()),
        float(auc.std(ddof=1)),
        {name: float(np.mean([one.importance[name] for one in found])) for name in groups()},
        {name: float(np.std([one.importance[name] for one in found], ddof=1)) for name in groups()},
        np.mean([one.curve for one in found], axis=0),
        found[0].frames,
    )


# --- the classifier ------------------------------------------------------------------------------------


def tell_apart(first: Sequence[Float32Array], second: Sequence[Float32Array], *, seed: int) -> Told:
    """How well a classifier tells frames from others, in frames it has not seen.

    Parameters
    ----------
    first, second
        Environments of each frame, in the order of time.
    """
    # several threads on busy cores wait for each other longer than they work
    with threadpool_limits(1, user_api="openmp"):
        return _cross_validated((first, second), seed)


def _cross_validated(given: Sequence[Sequence[Float32Array]], seed: int) -> Told:
    """Train on all frames but a part in turn, and judge that part."""
    sets = _thinned(given, np.random.default_rng([seed, 4]))
    folds = min(FOLDS, *map(len, sets))
    parts = [np.array_split(np.arange(len(frames)), folds) for frames in sets]
    found = []
    for k in range(folds):
        out = [part[k] for part in parts]
        rest = [np.concatenate(part[:k] + part[k + 1 :]) for part in parts]
        rows = _labelled(sets, rest)
        columns = _columns(rows)
        trained = _train(rows, columns, seed)
        rng = np.random.default_rng([seed, 5, k])
        found.append(_judge(trained, _labelled(sets, out), columns, rng))
    auc, error = _mean([one.auc for one in found])
    lost = {name: _mean([one.importance[name] for one in found]) for name in groups()}
    return Told(
        auc,
        error,
        {name: mean for name, (mean, _) in lost.items()},
        {name: error for name, (_, error) in lost.items()},
        np.mean([one.curve for one in found], axis=0),
        (len(given[0]), len(given[1])),
    )


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean over parts left out, and its error (Nadeau and Bengio, Mach. Learn. 52, 239, 2003).

    Classifiers that share most of the frames they were trained with share their luck.
    """
    parts = len(values)
    return float(np.mean(values)), float(np.std(values, ddof=1) * np.sqrt(1 / parts + 1 / (parts - 1)))


def _no_better_than(floor: Told, one: Told) -> Told:
    """The error is at least what halves of the reference scatter by, less for more frames."""
    least = floor.error * np.sqrt(sum(floor.frames) / sum(one.frames))
    return replace(one, error=max(one.error, float(least)))


Rows = tuple[Float32Array, IntArray]
"""Environments (k, columns), and which of them (k,) are of the second set: 1, else 0."""


def _thinned(sets: Sequence[Sequence[Float32Array]], rng: np.random.Generator) -> list[list[Float32Array]]:
    """Fewer sites, the same in all frames, where all would be more than :data:`ROWS` a set."""
    frames = max(map(len, sets))
    sites = rng.permutation(len(sets[0][0]))[: max(1, ROWS // frames)]
    return [[frame[sites] for frame in frames] for frames in sets]


def _columns(rows: Rows) -> IntArray:
    """Columns that hold something in any row, as trees need; the first one is the kind of atom."""
    return np.flatnonzero(np.isfinite(rows[0]).any(axis=0))


def _labelled(sets: Sequence[Sequence[Float32Array]], which: Sequence[IntArray]) -> Rows:
    """The environments of some frames of each set."""
    parts = [np.concatenate([frames[k] for k in some]) for frames, some in zip(sets, which, strict=True)]
    return np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])


def _train(rows: Rows, columns: IntArray, seed: int) -> HistGradientBoostingClassifier:
    """Train on environments."""
    # to stop early it would be judged by atoms of the frames it has seen
    trees = HistGradientBoostingClassifier(
        learning_rate=RATE,
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        categorical_features=[0],
        early_stopping=False,
        random_state=seed,
    )
    return trees.fit(rows[0][:, columns], rows[1])


@dataclass(frozen=True, eq=False)
class _Judged:
    """What a trained classifier makes of frames it has not seen: AUC, importance by group, curve."""

    auc: float
    importance: Mapping[str, float]
    curve: FloatArray


def _judge(
    trained: HistGradientBoostingClassifier, rows: Rows, columns: IntArray, rng: np.random.Generator
) -> _Judged:
    """Say where environments are from, also with each group of numbers exchanged among atoms of a kind."""
    values, label = rows

    def guess(some: Float32Array) -> FloatArray:
        return np.asarray(trained.predict_proba(some[:, columns])[:, 1], np.float64)

    guessed = guess(values)
    auc = float(roc_auc_score(label, guessed))
    order = _exchange(values[:, 0], rng)
    lost = {}
    for name, group in groups().items():
        mixed = values.copy()
        mixed[:, group] = values[order, group]
        lost[name] = auc - float(roc_auc_score(label, guess(mixed)))
    false, true, _ = roc_curve(label, guessed)
    return _Judged(auc, lost, np.interp(np.linspace(0, 1, POINTS), false, true))


def _exchange(kind: Float32Array, rng: np.random.Generator) -> IntArray:
    """A random order of rows in which each is in the place of one of its kind."""
    order = np.arange(len(kind))
    for one in np.unique(kind):
        rows = np.flatnonzero(kind == one)
        order[rows] = rng.permutation(rows)
    return order

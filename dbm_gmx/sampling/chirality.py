"""States of stereo elements inferred from the beads where no input defines them, and how sure that is.

:mod:`~dbm_gmx.sampling.evidence` gives the energies of all patterns of states.  They are minima of molecules
without neighbours, one conformer each, so that differences are larger than what they are worth.  On
molecules whose states were known (polystyrene with one and two beads a monomer, polypropylene with one) a
state that was better by x kT was wrong as often as a difference in free energy of a quarter to a third of x;
:data:`WORTH` is the smaller one.  Frames of one trajectory resemble each other: n of them count as the square
root of n.  The same holds for copies, if all of a molecule type are alike.  Whether they are is a hypothesis
of its own, beside the one that they have nothing to do with each other.  Of very many copies some are looked
at first: where these are alike beyond doubt, so are all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, SignArray
from dbm_gmx.chemistry.stereo import chirality_of
from dbm_gmx.sampling.evidence import Clusters, Tables, add_frame, make_clusters, make_tables
from dbm_gmx.sampling.growth import Grower, Molecules
from dbm_gmx.sampling.random_numbers import Stream, Use

DECIDED = 3.0
"""kT: a state that is better by less is undecided."""

WORTH = 0.25
"""Free energy that a difference between minima stands for."""


SOME = 64
"""Copies that are looked at first, where there are more than twice as many.

That one in seven is another molecule escapes so many with a probability of less than 10^-4.
"""

CERTAIN = 0.99
"""Probability with which these are all alike, above which they stand for the others."""


@dataclass(frozen=True, eq=False)
class Inferred:
    """States of the stereo elements of the molecules of a type.

    Attributes
    ----------
    states
        (copies, c) 1 or -1: given, or inferred, or where undecided the most likely ones.
    confidence
        (copies, c) kT by which the state is better than the other; infinite where it is given.
    odds
        What is known of whole patterns; nothing where all states are given.
    """

    states: SignArray
    confidence: FloatArray
    odds: Odds | None = None

    @property
    def undecided(self) -> BoolArray:
        """(copies, c) elements that the beads do not decide."""
        return np.asarray(self.confidence < DECIDED)


def infer_from_beads(grower: Grower, molecules: Molecules, stream: Stream) -> Molecules:
    """Give every stereo element a state by the beads of one frame, however unsure.

    Parameters
    ----------
    grower
        Of the molecule type.
    molecules
        Their states are 0 where they are not given.
    stream
        Random numbers of the frame.

    Returns
    -------
    The molecules, their states 1 or -1.
    """
    if np.all(molecules.chirality != 0):
        return molecules
    return replace(molecules, chirality=infer_states(grower, [molecules], stream).states)


def infer_states(grower: Grower, frames: Sequence[Molecules], stream: Stream) -> Inferred:
    """Infer states that are not given, of the same molecules in several frames.

    The first frame is used for all molecules, the others where those before leave a state undecided.

    Parameters
    ----------
    grower
        Of the molecule type.
    frames
        One at least; states are those of the first, 0 where they are not given.
    stream
        Random numbers.
    """
    first = frames[0]
    given = first.chirality
    if np.all(given != 0):
        return Inferred(given, np.full(given.shape, np.inf))
    if len(given) > 2 * SOME and (given == given[0]).all():
        rows = stream.of(Use.INFERENCE, first.run).generator.choice(len(given), SOME, replace=False)
        found = _infer_all(grower, [frame.some(np.sort(rows)) for frame in frames], stream)
        if _stands_for_all(found):
            states, least = found.states[0], found.confidence.min(axis=0)
            return Inferred(np.tile(states, (len(given), 1)), np.tile(least, (len(given), 1)))
    return _infer_all(grower, frames, stream)


def _stands_for_all(found: Inferred) -> bool:
    """Whether some copies leave no doubt of any others."""
    if found.odds is None or found.undecided.any() or (found.states != found.states[0]).any():
        return False
    return found.odds.alike() > CERTAIN


def _infer_all(grower: Grower, frames: Sequence[Molecules], stream: Stream) -> Inferred:
    """Infer states as :func:`infer_states` does, with a search for each copy."""
    first = frames[0]
    given = first.chirality
    unknown = np.flatnonzero((given == 0).any(axis=0)).tolist()
    clusters = make_clusters(grower, unknown)
    tables = make_tables(clusters, len(given))
    odds = Odds(clusters, tables, given)
    doubt = given == 0
    for number, frame in enumerate(frames):
        asked = np.stack([doubt[:, list(group)].any(axis=1) for group in clusters.groups], axis=1)
        some = replace(frame, chirality=given)
        add_frame(grower, clusters, tables, asked, some, stream.of(Use.INFERENCE, first.run, number))
        found, confidence = odds.states()
        doubt = confidence < DECIDED
        if not doubt.any():
            break
    states = odds.pattern(np.where(doubt, 0, found))
    return Inferred(*_possible(grower, given, states, confidence), odds)


def _possible(
    grower: Grower, given: SignArray, states: SignArray, confidence: FloatArray
) -> tuple[SignArray, FloatArray]:
    """States that fragments can have, as in bicyclic ones not all can be together, and their confidence.

    Where no structure has them, those of the structure that is likeliest; what is changed is undecided.
    """
    states, confidence = states.copy(), confidence.copy()
    for slot, piece in zip(grower.cutter.slots, grower.pieces, strict=True):
        within = slot.within
        for pattern in np.unique(states[:, within], axis=0) if len(within) > 1 else ():
            if grower.pools.has(piece, tuple(pattern.tolist())):
                continue
            for copy in np.flatnonzero((states[:, within] == pattern).all(axis=1)):
                known = given[copy, within]
                seen = chirality_of(grower.pools(piece, tuple(known.tolist())), piece.centres)
                sure = np.where(known != 0, 0.0, confidence[copy, within])
                best = seen[((seen == pattern) @ (sure + 1e-3) - 1e3 * (seen == 0).any(axis=1)).argmax()]
                confidence[copy, within[best != pattern]] = 0.0
                states[copy, within] = best
    return states, confidence


# --- odds of whole patterns --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Logs:
    """Logarithms of what groups and shared elements contribute to the weight of a pattern.

    Attributes
    ----------
    groups, shared
        (copies, 2**m) and (copies, 2).
    """

    groups: list[FloatArray]
    shared: list[FloatArray]


@dataclass(frozen=True, eq=False)
class Odds:
    """What the beads say of the patterns of states of some molecules.

    Attributes
    ----------
    clusters, tables
        Which elements, and energies of their patterns.
    given
        (copies, c) states, 0 where they are not given.
    """

    clusters: Clusters
    tables: Tables
    given: SignArray

    def states(self) -> tuple[SignArray, FloatArray]:
        """The better state of each element (copies, c), and by how many kT; infinite where it is given.

        All searches must say the same; the least of what they say counts.
        """
        logs = [self._logs(view) for view in range(len(self.tables.groups[0].energy))]
        alike = self.alike()
        views = []
        for one in logs:
            apart = _log_odds(self.clusters, one, self.given.shape)
            views.append(_mixed(apart, _log_odds(self.clusters, _pooled(one), self.given.shape), alike))
        best = views[-1]
        sign = np.where(best < 0, -1, 1)
        least = np.maximum(np.min([sign * view for view in views], axis=0), 0.0)
        known = self.given != 0
        states = np.where(known, self.given, sign).astype(np.int8)
        return states, np.where(known, np.inf, least)

    def pattern(self, fixed: SignArray, rng: np.random.Generator | None = None) -> SignArray:
        """Choose the states of all elements together.

        Parameters
        ----------
        fixed
            (copies, c) states, 0 where they are free.
        rng
            Draw patterns with the odds that the beads give them; without it take likely ones.

        Returns
        -------
        (copies, c).
        """
        logs = self._logs(-1, fixed)
        if rng is None and self.alike() > 0.5:
            pooled = _pooled(self._logs(-1))
            logs = _held(self.clusters, _repeated(pooled, len(fixed)), fixed)
        forward = _forward(logs)
        states = fixed.copy()
        after = np.zeros(0)
        for group, table in zip(reversed(self.clusters.groups), reversed(forward), strict=True):
            bits, weight = np.arange(table.shape[1]), table.copy()
            if len(after):
                weight[(bits >> (len(group) - 1) & 1)[None] != after[:, None]] = -np.inf
            if rng is not None:
                weight += rng.gumbel(size=weight.shape)
            chosen = weight.argmax(axis=1)
            for j, element in enumerate(group):
                states[:, element] = np.where(chosen >> j & 1, -1, 1)
            after = chosen & 1
        return np.where(fixed == 0, states, fixed).astype(np.int8)

    def weight(self, states: SignArray) -> FloatArray:
        """(copies,) logarithm of the weight of whole patterns (copies, c)."""
        logs = self._logs(-1)
        total = np.zeros(len(states))
        rows = np.arange(len(states))
        for group, table in zip(self.clusters.groups, logs.groups, strict=True):
            total += table[rows, ((states[:, list(group)] < 0) << np.arange(len(group))).sum(axis=1)]
        for element, table in zip(self.clusters.shared, logs.shared, strict=True):
            total -= table[rows, (states[:, element] < 0).astype(np.int64)]
        return total

    def alike(self) -> float:
        """Probability that all copies have one pattern, where before this was as likely as independence."""
        copies, logs = len(self.given), self._logs(-1)
        together = Logs(
            [table.sum(axis=0, keepdims=True) for table in logs.groups],
            [table.sum(axis=0, keepdims=True) for table in logs.shared],
        )
        one, each = (np.logaddexp.reduce(_forward(part)[-1], axis=1) for part in (together, logs))
        if copies == 1 or not np.isfinite(one[0]):
            return 0.0
        unknown = self.given == 0
        fewer = unknown.sum() - unknown.all(axis=0).sum()
        gain = (one[0] - each.sum() + np.log(2.0) * fewer) / np.sqrt(copies)
        return float(1.0 / (1.0 + np.exp(-np.clip(gain, -50.0, 50.0))))

    def _logs(self, view: int, fixed: SignArray | None = None) -> Logs:
        groups, shared = (
            [-WORTH / np.sqrt(np.maximum(table.frames, 1))[:, None] * table.energy[view] for table in part]
            for part in (self.tables.groups, self.tables.shared)
        )
        logs = Logs(groups, shared)
        return _held(self.clusters, logs, self.given if fixed is None else fixed)


def _held(clusters: Clusters, logs: Logs, fixed: SignArray) -> Logs:
    """Leave no weight to patterns that contradict fixed states (copies, c)."""
    groups = []
    for group, table in zip(clusters.groups, logs.groups, strict=True):
        bits, held = np.arange(table.shape[1]), table.copy()
        for j, element in enumerate(group):
            states = np.where(bits >> j & 1, -1, 1)
            held[fixed[:, [element]] * states[None] < 0] = -np.inf
        groups.append(held)
    return Logs(groups, logs.shared)


def _pooled(logs: Logs) -> Logs:
    """All copies as one, which is alike in all of them; it counts as the square root of their number."""
    copies = len(logs.groups[0])
    groups, shared = (
        [table.sum(axis=0, keepdims=True) / np.sqrt(copies) for table in part]
        for part in (logs.groups, logs.shared)
    )
    return Logs(groups, shared)


def _repeated(logs: Logs, copies: int) -> Logs:
    groups, shared = ([table.repeat(copies, axis=0) for table in part] for part in (logs.groups, logs.shared))
    return Logs(groups, shared)


def _mixed(apart: FloatArray, together: FloatArray, alike: float) -> FloatArray:
    """Log odds of 1 against -1 of two hypotheses, the second with a probability."""
    if alike == 0.0:
        return apart
    if alike == 1.0:
        return together
    first, second = np.log1p(-alike), np.log(alike)
    plus = np.logaddexp(first - np.logaddexp(0.0, -apart), second - np.logaddexp(0.0, -together))
    minus = np.logaddexp(first - np.logaddexp(0.0, apart), second - np.logaddexp(0.0, together))
    return np.asarray(plus - minus)


def _last(table: FloatArray) -> FloatArray:
    """(copies, 2) weight of the states of the last element of a group, from its patterns."""
    return np.asarray(np.logaddexp.reduce(table.reshape(len(table), 2, -1), axis=2))


def _first(table: FloatArray) -> FloatArray:
    """(copies, 2) the same of the first element."""
    return np.asarray(np.logaddexp.reduce(table.reshape(len(table), -1, 2), axis=1))


def _forward(logs: Logs) -> list[FloatArray]:
    """Patterns of each group with the weight of all groups before it."""
    found = [logs.groups[0]]
    for table, shared in zip(logs.groups[1:], logs.shared, strict=True):
        message = _last(found[-1]) - shared
        found.append(table + message[:, np.arange(table.shape[1]) & 1])
    return found


def _log_odds(clusters: Clusters, logs: Logs, shape: tuple[int, ...]) -> FloatArray:
    """Log odds of 1 against -1 (copies, c) of every element, by sums over all patterns; 0 of others."""
    forward = _forward(logs)
    found = np.zeros((len(logs.groups[0]), shape[1]))
    message = np.zeros((len(found), 2))
    for number in range(len(forward) - 1, -1, -1):
        group, table = clusters.groups[number], forward[number]
        bits = np.arange(table.shape[1])
        behind = message[:, bits >> (len(group) - 1) & 1]
        weight = table + behind
        for j, element in enumerate(group):
            ones = np.logaddexp.reduce(weight[:, bits >> j & 1 == 0], axis=1)
            found[:, element] = ones - np.logaddexp.reduce(weight[:, bits >> j & 1 == 1], axis=1)
        if number:
            message = _first(logs.groups[number] + behind) - logs.shared[number - 1]
    return found

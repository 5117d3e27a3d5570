"""What the beads say of the states of stereo elements: energies of all patterns of neighbouring ones.

Elements without a state are taken three at a time along the molecule.  The stretch about three of them is
cut out, with all beads it touches, and annealed in each of the eight patterns of their states; what two
neighbouring stretches share, about the element they share, is annealed in its two states.  Patterns are gone
through one inversion at a time, there and back, so that each comes from a low conformer of the one before.
Where several elements are in one fragment, each pattern is begun from conformers that have it instead, and
annealed gently: a cage does not follow inversions one at a time, its mirror image would seem strained, and
heat makes of its rings what no short annealing mends.
What a pattern costs without beads says nothing of whether the molecule has it: molecules are what they were
made to be, and not at equilibrium with their stereoisomers.  It is taken off, so that strain is left.
All of that is done twice, each time from the beginning: what two passes do not agree on is no evidence.

The energy of a whole pattern is the sum over the threes less that over the shared ones (cluster variation
method: Kikuchi, Phys. Rev. 81, 988, 1951).  Probabilities of single states follow by exact sums.  Among what
is summed are flips of a whole end of a chain, which a search one element at a time does not find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.fragments import fragment_graph, homes
from dbm_gmx.chemistry.periodic import beside
from dbm_gmx.chemistry.stereo import invert
from dbm_gmx.sampling.annealing import Copies, Schedule, Task, anneal
from dbm_gmx.sampling.growth import (
    GROWTH,
    Grower,
    Molecules,
    around,
    can_be,
    penalty_of,
    place_fragments,
    take,
)
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.windows import Group, cut_out

TOGETHER = 3
"""Elements whose patterns are compared."""

PASSES = 2
"""Independent searches."""

STARTS = 3
"""Conformers a search begins with, at random; the lowest is gone on with."""

GENTLE = GROWTH._replace(steps=0, descent=400), Schedule(100, 300, hot=4.0, loose=0.03, weak=0.3)
"""How fragments with several elements are annealed, each time from another conformer; and the lowest
conformers of each pattern without beads, one after the other.

What stops a search is what it finds of the true pattern above the minimum next to the true atoms.  With heat
as of growth that was 2 to 90 kT in quinine, artemisinin, cholesterol and glucose; it is less than 1 kT."""

OTHERS = 3
"""Elements in the window of a cage that are in no pattern and unknown are given all states, so many of them
at most: the pool of conformers of all states has few of most."""

FEW = 4
"""Copies, the lowest in a pattern, that are annealed without beads."""

MADE = 15.0
"""kT: a pattern that costs as much more than another without beads may be what a molecule was made to be.

Axial for equatorial, cis for trans rings cost up to ten; what bridges of cages do not allow costs fifty."""

MOST = 40.0
"""kT: what a pattern costs in a frame counts up to this, so that one failed search is no veto."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Neighbouring stereo elements of a molecule type, and the windows they are annealed in.

    Attributes
    ----------
    groups
        Up to three elements each, in their order along the molecule.  The last element of a group is the
        first of the next one.
    windows
        One for each group, then one for each element that two groups share.  Nothing outside acts.
    """

    groups: tuple[tuple[int, ...], ...]
    windows: tuple[Group, ...]

    @property
    def shared(self) -> tuple[int, ...]:
        """Elements that two groups share."""
        return tuple(group[0] for group in self.groups[1:])


def make_clusters(grower: Grower, unknown: Sequence[int]) -> Clusters:
    """Group elements of a molecule type, one at least, whose states are not known."""
    order = sorted(unknown, key=lambda k: (grower.middles[k], k))
    step = TOGETHER - 1
    groups = tuple(tuple(order[k : k + TOGETHER]) for k in range(0, max(1, len(order) - 1), step))
    joined, molecule = fragment_graph(grower.fragments), grower.molecule
    by_bead, by_atom = molecule.weights.tocsr(), molecule.weights.tocsc()
    home = homes(molecule.moltype, grower.fragments)
    stretches = []
    for group in groups:
        near = np.unique(np.concatenate([around(joined, grower.middles[element]) for element in group]))
        atoms = np.concatenate([grower.fragments[k].own for k in near])
        beads = np.unique(by_atom[:, atoms].indices)
        stretches.append(np.union1d(near, home[by_bead[beads].indices]))
    between = [np.intersect1d(a, b) for a, b in pairwise(stretches)]
    return Clusters(groups, tuple(cut_out(grower.cutter, window) for window in (*stretches, *between)))


# --- energies of patterns ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Table:
    """Energies of the patterns of a group, or of a shared element, of some molecules.

    Bit j of the number of a pattern is set where element j of the group has the state -1.

    Attributes
    ----------
    energy
        (views, copies, 2**m) kT above the lowest, added up over frames; the views are the passes one by one,
        and the lowest of them.
    frames
        (copies,) how many frames these are sums of.
    """

    energy: FloatArray
    frames: IntArray


@dataclass(frozen=True, eq=False)
class Tables:
    """Energies of the patterns of groups and of shared elements; they grow frame by frame."""

    groups: tuple[Table, ...]
    shared: tuple[Table, ...]


def make_tables(clusters: Clusters, copies: int) -> Tables:
    """Tables of no frame yet."""

    def empty(elements: int) -> Table:
        return Table(np.zeros((PASSES + 1, copies, 2**elements)), np.zeros(copies, np.int64))

    return Tables(
        tuple(empty(len(group)) for group in clusters.groups), tuple(empty(1) for _ in clusters.shared)
    )


def add_frame(
    grower: Grower,
    clusters: Clusters,
    tables: Tables,
    asked: BoolArray,
    molecules: Molecules,
    stream: Stream,
) -> None:
    """Add the energies of patterns given the beads of one frame; the tables change.

    Parameters
    ----------
    grower, clusters
        Of the molecule type.
    asked
        (copies, groups) where more is to be known.
    molecules
        Elements that are in no group have their states.
    stream
        Random numbers.
    """
    between = asked[:, 1:] | asked[:, :-1]
    wanted = np.concatenate([asked, between], axis=1)
    elements = (*clusters.groups, *((k,) for k in clusters.shared))
    for number, (group, table) in enumerate(zip(elements, (*tables.groups, *tables.shared), strict=True)):
        rows = np.flatnonzero(wanted[:, number])
        if not len(rows):
            continue
        what, some = _Search(clusters.windows[number], group), molecules.some(rows)
        passes = [_search(grower, what, some, stream.of(number, n)) for n in range(PASSES)]
        free = np.min([one.free for one in passes], axis=0)
        made = np.minimum(free - free.min(axis=1, keepdims=True), MADE)
        table.energy[:, rows] += _views([one.energy - made for one in passes])
        table.frames[rows] += 1


def _views(passes: list[FloatArray]) -> FloatArray:
    """(passes + 1, copies, patterns) energies of each search and the lowest ones, above those of the best."""
    views = np.array([*passes, np.min(passes, axis=0)])
    return np.asarray(np.minimum(views - views.min(axis=-1, keepdims=True), MOST))


@dataclass(frozen=True)
class _Search:
    """The window, and the elements whose patterns are gone through."""

    window: Group
    group: tuple[int, ...]


class _Strain(NamedTuple):
    """(copies, 2**m) lowest energies of a window in each pattern, on its beads and without any, kT."""

    energy: FloatArray
    free: FloatArray


class _Trial(NamedTuple):
    """Windows where they begin, the pattern they are to have, and how they are annealed."""

    copies: Copies
    pattern: int
    schedule: Schedule


def _search(grower: Grower, what: _Search, molecules: Molecules, stream: Stream) -> _Strain:
    """Search the lowest conformers of a window in each pattern."""
    order = [i ^ (i >> 1) for i in range(2 ** len(what.group))]  # Gray: neighbours differ in one element
    nowhere = np.broadcast_to(0.0, (len(molecules), grower.molecule.moltype.n_atoms, 3))
    first, atoms = take(what.window, molecules, nowhere), what.window.atoms[0]
    best = np.full((len(order), len(molecules)), np.inf)
    kept = np.zeros((len(order), *first.positions.shape))
    either = replace(molecules, chirality=molecules.chirality.copy())
    either.chirality[:, list(what.group)] = 0
    for start in range(STARTS):
        copies = first._replace(positions=first.positions.copy())
        place_fragments(grower, what.window, either, copies, stream.of(0, start).generator)
        _improve(grower, what, _Trial(copies, order[0], GROWTH), (best, kept), stream.of(1, start))
    if _is_caged(what):
        for number, (pattern, one) in enumerate(_every(what, order, either)):
            if not can_be(grower, what.window, one.chirality):
                continue
            for k, schedule in enumerate(GENTLE):
                copies = first._replace(positions=first.positions.copy())
                place_fragments(grower, what.window, one, copies, stream.of(3, number, k).generator)
                trial = _Trial(copies, pattern, schedule)
                _improve(grower, what, trial, (best, kept), stream.of(4, number, k))
    else:
        way = [*order[1:], order[0], *reversed(order)]
        for step, (before, pattern) in enumerate(zip([order[0], *way], way, strict=False)):
            copies = first._replace(positions=kept[before].copy())
            for j, element in enumerate(what.group):
                if (before ^ pattern) >> j & 1:
                    arm = grower.arms[element]
                    _invert(copies, np.where(arm < 0, arm, np.searchsorted(atoms, arm)))
            trial = _Trial(copies, pattern, GROWTH)
            _improve(grower, what, trial, (best, kept), stream.of(2, step))
    return _Strain(best.T, _without_beads(grower, what, first, (best, kept), stream.of(5)))


def _without_beads(
    grower: Grower, what: _Search, first: Copies, found: tuple[FloatArray, FloatArray], stream: Stream
) -> FloatArray:
    """(copies, 2**m) lowest energies of patterns of a window that no beads hold, kT.

    Copies share what they find, if elements that are in none of the patterns are in the same states.
    """
    (best, kept), free = found, np.empty_like(found[0])
    others = ~np.isin(what.window.centres[0], what.group)
    _, which = np.unique(first.chirality[:, others], axis=0, return_inverse=True)
    for kind in range(which.max() + 1):
        rows = np.flatnonzero(which.reshape(-1) == kind)
        for pattern, energy in enumerate(best):
            lowest = rows[energy[rows].argsort(kind="stable")[:FEW]]
            if not np.isfinite(energy[lowest]).all():  # no structure has this pattern
                free[pattern, rows] = np.inf
                continue
            copies = first._replace(beads=first.beads[:, :0], positions=kept[pattern]).some(lowest)
            trials, one = (_Trial(copies, pattern, way) for way in GENTLE), stream.of(kind, pattern)
            lows = [_annealed(grower, what, trial, one.of(n)).min() for n, trial in enumerate(trials)]
            free[pattern, rows] = min(energy[lowest[0]], *lows)
    return free.T


def _invert(copies: Copies, arm: IntArray) -> None:
    """Invert an element of windows (in place), each atom where it is nearest to where it was."""
    if copies.lattice is None:
        invert(copies.positions, arm)
        return
    rows = arm[arm >= 0]
    before = copies.positions[:, rows]
    copies.positions[:, rows] = beside(before, before[:, :1], copies.lattice)
    invert(copies.positions, arm)
    copies.positions[:, rows] = beside(copies.positions[:, rows], before, copies.lattice)


def _is_caged(what: _Search) -> bool:
    """Whether a fragment of the window has several elements: inverted one by one, its rings are strained."""
    return any(spots.within.shape[-1] > 1 for spots in what.window.spots)


def _every(what: _Search, order: Sequence[int], either: Molecules) -> Iterator[tuple[int, Molecules]]:
    """Patterns of a group, each with all states of :data:`OTHERS`."""
    within = what.window.centres[0]
    unknown = within[(either.chirality[:, within] == 0).any(axis=0) & ~np.isin(within, what.group)][:OTHERS]
    for pattern in order:
        for others in range(2 ** len(unknown)):
            states = either.chirality.copy()
            states[:, list(what.group)] = _signs(pattern, len(what.group))
            given = states[:, unknown]
            states[:, unknown] = np.where(given == 0, _signs(others, len(unknown)), given)
            yield pattern, replace(either, chirality=states)


def _signs(pattern: int, count: int) -> IntArray:
    """(count,) states of the elements of a group in a pattern."""
    return np.array([-1 if pattern >> j & 1 else 1 for j in range(count)], np.int64)


def _annealed(grower: Grower, what: _Search, trial: _Trial, stream: Stream) -> FloatArray:
    """Anneal windows in a pattern (in place); their energies (copies,), kT."""
    (copies, pattern, schedule), window = trial, what.window
    for element, sign in zip(what.group, _signs(pattern, len(what.group)), strict=True):
        copies.chirality[:, window.centres[0] == element] = sign
    energy = anneal(window.arrays, Task(schedule, stream.key), copies, grower.team)
    return (energy + penalty_of(window, copies)) / grower.hamiltonian.kt


def _improve(
    grower: Grower,
    what: _Search,
    trial: _Trial,
    found: tuple[FloatArray, FloatArray],
    stream: Stream,
) -> None:
    """Anneal windows in a pattern; keep energies and atoms of the copies that come out lower than before."""
    energy, (best, kept) = _annealed(grower, what, trial, stream), found
    better = energy < best[trial.pattern]
    best[trial.pattern][better] = energy[better]
    kept[trial.pattern][better] = trial.copies.positions[better]

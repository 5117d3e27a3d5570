"""What the beads say of the states of stereo elements: energies of all patterns of neighbouring ones.

Elements without a state are taken three at a time along the molecule.  The stretch about three of them is
cut out, with all beads it touches, and annealed in each of the eight patterns of their states; what two
neighbouring stretches share, about the element they share, is annealed in its two states.  Patterns are gone
through one inversion at a time, there and back, so that each comes from a low conformer of the one before.
Where several elements are in one fragment, each pattern is begun from conformers that have it, too: a cage
does not follow inversions one at a time, and its mirror image would seem strained.
All of that is done twice, each time from the beginning: what two passes do not agree on is no evidence.

The energy of a whole pattern is the sum over the threes less that over the shared ones (cluster variation
method: Kikuchi, Phys. Rev. 81, 988, 1951).  Probabilities of single states follow by exact sums.  Among what
is summed are flips of a whole end of a chain, which a search one element at a time does not find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.fragments import fragment_graph, homes
from dbm_gmx.chemistry.periodic import beside
from dbm_gmx.chemistry.stereo import invert
from dbm_gmx.sampling.annealing import Copies, Task, anneal
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
        table.energy[:, rows] += _views(passes)
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


def _search(grower: Grower, what: _Search, molecules: Molecules, stream: Stream) -> FloatArray:
    """(copies, 2**m) lowest energies of a window in each pattern, kT."""
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
        _improve(grower, what, (copies, order[0]), (best, kept), stream.of(1, start))
    if _coupled(what):
        for pattern in order:
            one = replace(molecules, chirality=molecules.chirality.copy())
            one.chirality[:, list(what.group)] = _signs(pattern, len(what.group))
            copies = first._replace(positions=first.positions.copy())
            if can_be(grower, what.window, one.chirality):
                place_fragments(grower, what.window, one, copies, stream.of(3, pattern).generator)
                _improve(grower, what, (copies, pattern), (best, kept), stream.of(4, pattern))
    way = [*order[1:], order[0], *reversed(order)]
    for step, (before, pattern) in enumerate(zip([order[0], *way], way, strict=False)):
        copies = first._replace(positions=kept[before].copy())
        for j, element in enumerate(what.group):
            if (before ^ pattern) >> j & 1:
                arm = grower.arms[element]
                _invert(copies, np.where(arm < 0, arm, np.searchsorted(atoms, arm)))
        _improve(grower, what, (copies, pattern), (best, kept), stream.of(2, step))
    return best.T


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


def _coupled(what: _Search) -> bool:
    """Whether several of the elements are in one fragment: inverted one by one, rings of it are strained."""
    return any(
        len(set(within) & set(what.group)) > 1
        for spots in what.window.spots
        for within in spots.within.reshape(spots.number.size, -1).tolist()
    )


def _signs(pattern: int, count: int) -> IntArray:
    """(count,) states of the elements of a group in a pattern."""
    return np.array([-1 if pattern >> j & 1 else 1 for j in range(count)], np.int64)


def _improve(
    grower: Grower,
    what: _Search,
    trial: tuple[Copies, int],
    found: tuple[FloatArray, FloatArray],
    stream: Stream,
) -> None:
    """Anneal a window in a pattern; keep energies and atoms of the copies that come out lower than before."""
    (copies, pattern), window = trial, what.window
    best, kept = found
    for element, sign in zip(what.group, _signs(pattern, len(what.group)), strict=True):
        copies.chirality[:, window.centres[0] == element] = sign
    energy = anneal(window.arrays, Task(GROWTH, stream.key), copies, grower.team)
    energy = (energy + penalty_of(window, copies)) / grower.hamiltonian.kt
    better = energy < best[pattern]
    best[pattern][better] = energy[better]
    kept[pattern][better] = copies.positions[better]

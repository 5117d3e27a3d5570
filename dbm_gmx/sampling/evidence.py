"""What the beads say of the states of stereo elements: energies of all patterns of neighbouring ones.

Elements without a state are taken three at a time along the molecule.  The stretch about three of them is
cut out, with all beads it touches, and annealed in each of the eight patterns of their states; what two
neighbouring stretches share, about the element they share, is annealed in its two states.  Patterns are gone
through one inversion at a time, there and back, so that each comes from a low conformer of the one before.
All of that is done twice, each time from the beginning: what two passes do not agree on is no evidence.

The energy of a whole pattern is the sum over the threes less that over the shared ones (cluster variation
method: Kikuchi, Phys. Rev. 81, 988, 1951).  Probabilities of single states follow by exact sums.  Among what
is summed are flips of a whole end of a chain, which a search one element at a time does not find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.stereo import chirality_of, invert
from dbm_gmx.sampling.annealing import Task, WindowArrays, anneal, make_window_arrays, window_atoms
from dbm_gmx.sampling.growth import (
    GROWTH,
    RADIUS,
    WRONG,
    Grower,
    Molecules,
    fragment_tree,
    own_atoms,
    place_fragments,
)
from dbm_gmx.sampling.random_numbers import Stream

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
    arrays
        A window for each group, then one for each element that two groups share.  Nothing outside acts.
    """

    groups: tuple[tuple[int, ...], ...]
    arrays: WindowArrays

    @property
    def shared(self) -> tuple[int, ...]:
        """Elements that two groups share."""
        return tuple(group[0] for group in self.groups[1:])


def make_clusters(grower: Grower, unknown: Sequence[int]) -> Clusters:
    """Group elements of a molecule type, one at least, whose states are not known."""
    order = sorted(unknown, key=lambda k: (grower.middles[k], k))
    step = TOGETHER - 1
    groups = tuple(tuple(order[k : k + TOGETHER]) for k in range(0, max(1, len(order) - 1), step))
    tree, molecule = fragment_tree(grower.fragments), grower.molecule
    by_bead, by_atom = molecule.weights.tocsr(), molecule.weights.tocsc()
    around = []
    for group in groups:
        near = {k for element in group for k in nx.ego_graph(tree, grower.middles[element], RADIUS)}
        atoms = own_atoms(grower.fragments, sorted(near))
        beads = np.unique(by_atom[:, atoms].indices)
        around.append(np.union1d(atoms, by_bead[beads].indices))
    between = [np.intersect1d(a, b) for a, b in pairwise(around)]
    windows = [*around, *between]
    arrays = make_window_arrays(
        molecule.terms, grower.arrays.centres, by_bead, grower.hamiltonian.kt, windows
    )
    return Clusters(groups, _cut_out(arrays, len(windows), molecule.moltype.n_atoms))


def _cut_out(arrays: WindowArrays, windows: int, n_atoms: int) -> WindowArrays:
    """Leave in windows only the terms, elements and beads whose atoms are all inside."""
    inside = np.zeros(n_atoms, bool)
    parts: list[list[IntArray]] = [[], [], []]
    for number in range(windows):
        inside[:] = False
        inside[window_atoms(arrays, number)] = True
        terms = _of(arrays.term_start, arrays.term, number)
        centres = _of(arrays.centre_start, arrays.centre, number)
        sites = _of(arrays.site_start, arrays.site, number)
        parts[0].append(terms[(inside[arrays.atoms[terms]] | (arrays.atoms[terms] < 0)).all(axis=1)])
        rows = arrays.centres[centres]
        parts[1].append(centres[(inside[rows] | (rows < 0)).all(axis=1)])
        whole = [inside[_of(arrays.weighed_start, arrays.weighed, b)].all() for b in sites]
        parts[2].append(sites[np.array(whole, bool)])
    starts = [np.cumsum([0, *map(len, rows)]) for rows in parts]
    flat = [np.concatenate(rows) for rows in parts]
    return arrays._replace(
        term_start=starts[0],
        term=flat[0],
        centre_start=starts[1],
        centre=flat[1],
        site_start=starts[2],
        site=flat[2],
    )


def _of(start: IntArray, rows: IntArray, number: int) -> IntArray:
    return rows[start[number] : start[number + 1]]


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
        what, some = _Search(number, group), molecules.some(rows)
        passes = [_search(grower, clusters.arrays, what, some, stream.of(number, n)) for n in range(PASSES)]
        table.energy[:, rows] += _views(passes)
        table.frames[rows] += 1


def _views(passes: list[FloatArray]) -> FloatArray:
    """(passes + 1, copies, patterns) energies of each search and the lowest ones, above those of the best."""
    views = np.array([*passes, np.min(passes, axis=0)])
    return np.asarray(np.minimum(views - views.min(axis=-1, keepdims=True), MOST))


@dataclass(frozen=True)
class _Search:
    """The window, and the elements whose patterns are gone through."""

    window: int
    group: tuple[int, ...]


def _search(
    grower: Grower, arrays: WindowArrays, what: _Search, molecules: Molecules, stream: Stream
) -> FloatArray:
    """(copies, 2**m) lowest energies of a window in each pattern, kT."""
    order = [i ^ (i >> 1) for i in range(2 ** len(what.group))]  # Gray: neighbours differ in one element
    free = window_atoms(arrays, what.window)
    best = np.full((len(order), len(molecules)), np.inf)
    kept = np.zeros((len(order), len(molecules), len(free), 3))
    group = list(what.group)
    for start in range(STARTS):
        positions = np.zeros((len(molecules), grower.molecule.moltype.n_atoms, 3))
        either = replace(molecules, chirality=molecules.chirality.copy())
        either.chirality[:, group] = 0
        place_fragments(grower, either, positions, free, stream.of(0, start).generator)
        _improve(grower, arrays, what, (either, positions, order[0]), (best, kept), stream.of(1, start))
    way = [*order[1:], order[0], *reversed(order)]
    for step, (before, pattern) in enumerate(zip([order[0], *way], way, strict=False)):
        positions = np.zeros((len(molecules), grower.molecule.moltype.n_atoms, 3))
        positions[:, free] = kept[before]
        for j, element in enumerate(group):
            if (before ^ pattern) >> j & 1:
                invert(positions, grower.arms[element])
        _improve(grower, arrays, what, (either, positions, pattern), (best, kept), stream.of(2, step))
    return best.T


def _improve(
    grower: Grower,
    arrays: WindowArrays,
    what: _Search,
    trial: tuple[Molecules, FloatArray, int],
    found: tuple[FloatArray, FloatArray],
    stream: Stream,
) -> None:
    """Anneal a window in a pattern; keep energies and atoms of the copies that come out lower than before."""
    molecules, positions, pattern = trial
    (best, kept), kt = found, grower.hamiltonian.kt
    states = molecules.chirality.copy()
    for j, element in enumerate(what.group):
        states[:, element] = -1 if pattern >> j & 1 else 1
    copies = replace(molecules, chirality=states).at(positions)
    energy = anneal(arrays, Task(what.window, GROWTH, stream.key), copies, grower.team)
    inside = _of(arrays.centre_start, arrays.centre, what.window)
    got, wanted = chirality_of(positions, arrays.centres[inside]), states[:, inside]
    wrong = (got == 0) | ((wanted != 0) & (got != wanted))
    energy = (energy + WRONG * wrong.sum(axis=1)) / kt
    better = energy < best[pattern]
    best[pattern][better] = energy[better]
    kept[pattern][better] = positions[better][:, window_atoms(arrays, what.window)]

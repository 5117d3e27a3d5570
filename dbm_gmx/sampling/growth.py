"""Growth: every molecule put on its beads by itself.

Fragments are put where the beads want them, as conformers of the right chirality turned towards their
neighbours, and joined by simulated annealing (:mod:`~dbm_gmx.sampling.annealing`).  Then one window of the
molecule after the other is grown anew while the rest stands still, several that are alike side by side
(:mod:`~dbm_gmx.sampling.windows`); what comes out replaces what was there with the probability its energy
says.  Molecules do not see each other here; but conformers can be offered for exchange
(:mod:`~dbm_gmx.sampling.candidates`).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import networkx as nx
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial.transform import Rotation

from dbm_gmx.chemistry.array_types import FloatArray, IntArray, SignArray
from dbm_gmx.chemistry.fragments import Fragment, fragment_graph, homes, make_fragments
from dbm_gmx.chemistry.periodic import beside, minimum_image
from dbm_gmx.chemistry.stereo import are_bonds, chirality_of, stereo_elements
from dbm_gmx.chemistry.topology import chemical_graph
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.chemistry.virtual_sites import real_graph
from dbm_gmx.chemistry.winding import longer_ways
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, MoleculeHamiltonian
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.annealing import Copies, Schedule, Task, anneal, window_energies
from dbm_gmx.sampling.conformers import ConformerPools, Piece, make_piece, piece_atoms
from dbm_gmx.sampling.random_numbers import Stream, Use
from dbm_gmx.sampling.rotations import best_rotations
from dbm_gmx.sampling.windows import Cutter, Group, Spots, make_cutter, make_groups

CONFORMERS = 64
"""Of each fragment and chirality."""

TRIES = 6
"""Times a molecule is grown, if it does not come out well."""

GROWTH = Schedule(steps=60, descent=120, hot=16.0, loose=0.06, weak=0.1)
"""Short: long annealing finds the low conformers no more often; but what is compared must have come down."""

NEAR = 40
"""Steps down for what was sampled, which is not far from a minimum."""

MOST = 16
"""Times a window is grown anew, at most."""

ENOUGH = 21
"""Growth of a window stops when trials - 21 x improvements >= 21."""

DISTINCT = 2.0
"""Difference in energy that tells one conformer of a window from another, kT."""

RADIUS, WIDER = 3, 5
"""Fragments of a window are so many bonds from the one in its middle: at first, and once more if that pays.

Where a wrong conformer does not end within its window, none that fits is found.  Chains of atactic
polypropylene came out 2 kT above those of the simulation they were mapped from, some of them 18 kT; with
wider windows 3 kT below, and none above 7.  Polystyrene gains nothing."""

ONE_IN, PAYS = 4, 0.1
"""Wider windows are tried on one molecule in so many, and grown in all where each gains so much, kT."""

SHORT = 10
"""Molecules of so many fragments are one window, which is grown anew only when conformers are offered."""

STRAINED = 8.0
"""Molecules whose energy exceeds the median by so many spreads are grown again."""

WRONG = 1e6
"""Penalty on a stereo element in the wrong state or without one, kJ/mol."""

WHOLE, REACH = 48, 16
"""Most fragments of a stretch, and bonds that it reaches from its middle, if the molecule has more."""

TIE, LONE = 0.1, 0.02
"""Where fragments are put: weights of neighbouring ones close together, and of one at its own bead."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where fragments are put, as a linear function of the beads: the least squares of several wishes.

    Attributes
    ----------
    wishes, normal
        (fragments, beads) and (fragments, fragments) normal equations: what is wanted, and what it is to be
        divided by.
    factors
        The latter, factorised.
    """

    wishes: sp.csr_matrix
    normal: sp.csc_matrix
    factors: SuperLU

    def __call__(self, beads: FloatArray) -> FloatArray:
        """Middles (copies, fragments, 3) of the fragments on beads (copies, beads, 3), nm."""
        copies, count = beads.shape[:2]
        wanted = self.wishes @ beads.transpose(1, 0, 2).reshape(count, -1)
        return np.asarray(self.factors.solve(wanted)).reshape(-1, copies, 3).transpose(1, 0, 2)

    def __reduce__(self) -> tuple[Any, ...]:
        """Factors are made anew in another process."""
        return factorised, (self.wishes, self.normal)


def factorised(wishes: sp.csr_matrix, normal: sp.csc_matrix) -> Layout:
    """The layout of normal equations."""
    return Layout(wishes, normal, splu(normal, permc_spec="MMD_AT_PLUS_A"))


class Footing(NamedTuple):
    """Beads that are made of the atoms of one fragment alone.

    Attributes
    ----------
    beads
        (b,) of the molecule.
    weights
        (b, m) of the atoms of the fragment's piece in each.
    """

    beads: IntArray
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class Grower:
    """All that is prepared to grow molecules of one type.

    Attributes
    ----------
    hamiltonian, molecule
        What it was made for.
    fragments
        Of the molecule type.
    layout
        Where fragments are put.
    footing
        Of each fragment the beads that it has to itself, if these are several.
    cutter
        Cuts windows out of the molecule.
    whole
        One window that holds all of the molecule.
    groups, wider
        Windows that are grown anew, and larger ones after them; of a short molecule the whole, and none.
    middles
        The fragment each stereo element is in.
    arms
        Each stereo element and what moves when it is inverted, see :func:`~dbm_gmx.chemistry.stereo.invert`.
    pieces
        Of each fragment, for its conformers.
    pools
        Conformers drawn so far, shared by all molecule types.
    skeleton
        Atoms with several bonds; the others follow them.
    team
        Threads.
    """

    hamiltonian: Hamiltonian
    molecule: MoleculeHamiltonian
    fragments: tuple[Fragment, ...]
    layout: Layout
    footing: tuple[Footing | None, ...]
    cutter: Cutter
    whole: Group
    groups: tuple[Group, ...]
    wider: tuple[Group, ...]
    middles: tuple[int, ...]
    arms: tuple[IntArray, ...]
    pieces: tuple[Piece, ...]
    pools: ConformerPools
    skeleton: IntArray
    team: Team

    @property
    def short(self) -> bool:
        """Whether one window holds all of the molecule."""
        return len(self.fragments) <= SHORT

    @cached_property
    def offered(self) -> tuple[Group, ...]:
        """Wide windows for which many conformers are offered, with the pairs within them."""
        return _regrown(self.cutter, fragment_graph(self.fragments), WIDER, paired=True)

    @cached_property
    def stretches(self) -> tuple[Group, ...]:
        """The widest windows, for which conformers are bred, with the pairs within them."""
        return make_groups(self.cutter, long_windows(fragment_graph(self.fragments)), paired=True)


@dataclass(frozen=True, eq=False)
class Molecules:
    """Molecules of one type, some or all of a run.

    Attributes
    ----------
    beads
        (copies, beads, 3) nm, whole.
    chirality
        (copies, c) of :func:`~dbm_gmx.chemistry.stereo.stereo_elements`: 1, -1, or 0 where
        it is inferred from the beads.
    number
        (copies,) tells their random numbers apart.
    run
        Tells the random numbers of this run from those of others, also of the same type: its first atom.
    lattice
        Where molecules are bonded to images of their own.
    """

    beads: FloatArray
    chirality: SignArray
    number: IntArray
    run: int
    lattice: Lattice | None = None

    def __len__(self) -> int:
        return len(self.beads)

    def some(self, rows: Any) -> Molecules:
        """Some of them."""
        return replace(self, beads=self.beads[rows], chirality=self.chirality[rows], number=self.number[rows])


@dataclass(frozen=True, eq=False)
class Grown:
    """Molecules as they were grown.

    Attributes
    ----------
    positions
        (copies, n, 3) nm.
    energy
        (copies,) of terms and beads, kJ/mol.
    again
        How many were grown more than once.
    """

    positions: FloatArray
    energy: FloatArray
    again: int


# --- what is prepared --------------------------------------------------------------------------------


def make_grower(
    hamiltonian: Hamiltonian, molecule: MoleculeHamiltonian, pools: ConformerPools, team: Team
) -> Grower:
    """Prepare growth of a molecule type."""
    fragments, centres = make_fragments(molecule.moltype), stereo_elements(molecule.moltype)
    moltype = molecule.moltype
    pieces = tuple(make_piece(hamiltonian, molecule, piece_atoms(moltype, part)) for part in fragments)
    cutter = make_cutter(hamiltonian, molecule, fragments, pieces)
    joined = fragment_graph(fragments)
    is_short = len(joined) <= SHORT
    whole = make_groups(cutter, [np.arange(len(fragments))])
    home = homes(moltype, fragments).tolist()
    bonds = are_bonds(centres)
    middles = [home[int(c[1] if bond else c[0])] for c, bond in zip(centres, bonds, strict=True)]
    graph, weights = chemical_graph(moltype), sp.csc_matrix(molecule.weights)
    return Grower(
        hamiltonian,
        molecule,
        fragments,
        make_layout(molecule, fragments),
        tuple(_footing(weights, piece_atoms(moltype, part)) for part in fragments),
        cutter,
        whole[0],
        whole if is_short else _regrown(cutter, joined, RADIUS),
        () if is_short else _regrown(cutter, joined, WIDER),
        tuple(middles),
        tuple(
            _turned(graph, row) if bond else _smallest_last(graph, row)
            for row, bond in zip(centres, bonds, strict=True)
        ),
        pieces,
        pools,
        np.array([i for i, bonds in real_graph(moltype).degree if bonds > 1], np.int64),
        team,
    )


def _footing(weights: sp.csc_matrix, atoms: IntArray) -> Footing | None:
    """The beads of which all weight is on some atoms; ``None`` if these are less than two."""
    inside = weights[:, atoms].tocoo()
    beads, rows = np.unique(inside.row, return_inverse=True)
    shares = np.zeros((len(beads), len(atoms)))
    shares[rows, inside.col] = inside.data
    whole = shares.sum(axis=1) > 1.0 - 1e-6
    return Footing(beads[whole], shares[whole]) if whole.sum() > 1 else None


def _smallest_last(graph: nx.Graph, centre: IntArray) -> IntArray:
    """Order the neighbours of a stereocentre by the bonds they have; a hidden hydrogen is dropped."""
    arms = sorted((int(i) for i in centre[1:] if i >= 0), key=lambda i: -graph.degree(i))
    return np.array([centre[0], *arms], np.int64)


def _regrown(cutter: Cutter, joined: nx.Graph, radius: int, *, paired: bool = False) -> tuple[Group, ...]:
    """Windows of so many bonds to either side that have every bond between fragments well inside one."""
    return make_groups(cutter, [around(joined, k, radius) for k in middles_of(joined)], paired=paired)


def around(joined: nx.Graph, fragment: int, radius: int = RADIUS) -> IntArray:
    """Fragments of the window about one."""
    return np.array(sorted(nx.single_source_shortest_path_length(joined, fragment, cutoff=radius)), np.int64)


def long_windows(joined: nx.Graph) -> list[IntArray]:
    """All fragments, if they are not too many; else stretches that have each of them well inside one."""
    if len(joined) <= WHOLE:
        return [np.arange(len(joined))]
    end = list(nx.single_source_shortest_path_length(joined, 0))[-1]
    along = nx.single_source_shortest_path_length(joined, end)
    left, windows = dict(along), list[IntArray]()
    while left:
        first = next(iter(left))
        radius = _widest(joined, first)
        near = nx.single_source_shortest_path_length(joined, first, cutoff=radius // 2)
        middle = max(near, key=along.__getitem__)
        window = around(joined, middle, _widest(joined, middle))
        if first not in window:  # where it branches much
            window = around(joined, first, radius)
        windows.append(window)
        inside = set(window.tolist())
        outside = {k for i in inside for k in joined[i]} - inside
        edge = nx.multi_source_dijkstra_path_length(joined, outside, cutoff=radius // 2) if outside else {}
        left = {k: d for k, d in left.items() if k != first and (k not in inside or k in edge)}
    return windows


def _widest(joined: nx.Graph, fragment: int) -> int:
    """How many bonds the longest stretch about a fragment reaches, one at least."""
    reached: list[int] = list(nx.single_source_shortest_path_length(joined, fragment, cutoff=REACH).values())
    return max(1, reached[-1] if len(reached) <= WHOLE else reached[WHOLE] - 1)


def _turned(graph: nx.Graph, row: IntArray) -> IntArray:
    """A bond and what is turned about it: the groups at its lighter end, each an atom and its leaves."""
    ways = list[set[int]]()
    for near, far in (row[1:3].tolist(), row[2:0:-1].tolist()):
        groups = [i for i in graph[far] if i != near]
        ways.append({*groups, *(leaf for i in groups for leaf in graph[i] if graph.degree(leaf) == 1)})
    lighter = ways[0] if len(ways[0]) <= len(ways[1]) else ways[1]
    return np.array([*row.tolist(), *sorted(lighter)], np.int64)


def middles_of(joined: nx.Graph) -> list[int]:
    """Few fragments that have every bond between fragments well inside their windows.

    Each is the one that most bonds to it are still missing of, the first of several.
    """
    missing = {k: set(joined[k]) for k in joined}
    heap = [(-len(others), k) for k, others in missing.items() if others]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap:
        count, best = heapq.heappop(heap)
        if len(missing[best]) < -count:  # fewer than it was put in with
            if missing[best]:
                heapq.heappush(heap, (-len(missing[best]), best))
            continue
        chosen.append(best)
        for other in missing.pop(best):
            missing[other].discard(best)
        missing[best] = set()
    return chosen or list(joined)


def make_layout(molecule: MoleculeHamiltonian, fragments: tuple[Fragment, ...]) -> Layout:
    """Least squares: mapped centres on the beads, and neighbouring fragments not far from each other."""
    one, (shares, pairs, mean) = sp.identity(len(fragments), format="csr"), _wanted(molecule, fragments)
    ties = one[pairs[:, 0]] - one[pairs[:, 1]]
    normal = shares.T @ shares + TIE**2 * (ties.T @ ties) + LONE**2 * one
    wishes = shares.T + LONE**2 * mean
    return factorised(wishes.tocsr(), normal.tocsc())


def _wanted(
    molecule: MoleculeHamiltonian, fragments: tuple[Fragment, ...]
) -> tuple[sp.csr_matrix, IntArray, sp.csr_matrix]:
    """Shares of fragments in beads, pairs (p, 2) of neighbouring fragments, shares of beads in fragments."""
    n_beads, n_atoms = molecule.weights.shape
    home, count = homes(molecule.moltype, fragments), len(fragments)
    belongs = sp.csr_matrix((np.ones(n_atoms), (np.arange(n_atoms), home)), shape=(n_atoms, count))
    shares = molecule.weights @ belongs
    pairs = np.array(fragment_graph(fragments).edges, np.int64).reshape(-1, 2)
    owner = sp.csr_matrix(
        (np.ones(n_atoms), (home, molecule.mapping.owner)), shape=(count, n_beads), dtype=np.float64
    )
    return shares, pairs, sp.diags(1.0 / np.bincount(home, minlength=count)) @ owner


def _wound_middles(grower: Grower, molecules: Molecules, lattice: Lattice) -> FloatArray:
    """(copies, fragments, 3) nm of :func:`make_layout`, each fragment where the bead of its first atom is.

    What it has to do with a bead or a fragment in another image is as far off as that image.
    """
    molecule, beads = grower.molecule, molecules.beads
    shares, pairs, mean = _wanted(molecule, grower.fragments)
    place = molecule.mapping.owner[[part.centre[0] for part in grower.fragments]]
    wanted = np.asarray(grower.layout.wishes @ beads.transpose(1, 0, 2).reshape(beads.shape[1], -1))
    wanted = wanted.reshape(len(place), len(beads), 3)

    def steps(here: IntArray, there: IntArray) -> FloatArray:
        """(k, copies, 3) from the image of one bead to that of another, nm; there and back the same."""
        apart = beads[:, np.maximum(here, there)] - beads[:, np.minimum(here, there)]
        step = np.asarray((apart - minimum_image(apart, lattice.cell)).transpose(1, 0, 2))
        return np.where((here < there)[:, None, None], step, -step)

    part = shares.tocoo()
    off = np.zeros((beads.shape[1], len(beads), 3))
    np.add.at(off, part.row, part.data[:, None, None] * steps(place[part.col], part.row))
    wanted -= np.asarray(shares.T @ off.reshape(len(off), -1)).reshape(wanted.shape)
    own = mean.tocoo()
    np.add.at(wanted, own.row, -(LONE**2) * own.data[:, None, None] * steps(place[own.row], own.col))
    apart = steps(place[pairs[:, 0]], place[pairs[:, 1]])
    home = homes(molecule.moltype, grower.fragments)
    for i, j, more in longer_ways(molecule.mapping, molecule.moltype, beads, lattice.cell):
        apart[(pairs == home[[i, j]]).all(axis=1)] -= more
        apart[(pairs == home[[j, i]]).all(axis=1)] += more
    np.add.at(wanted, pairs[:, 0], -(TIE**2) * apart)
    np.add.at(wanted, pairs[:, 1], TIE**2 * apart)
    found = np.asarray(grower.layout.factors.solve(wanted.reshape(len(place), -1)))
    return found.reshape(len(place), len(beads), 3).transpose(1, 0, 2)


# --- growth ------------------------------------------------------------------------------------------


def grow(grower: Grower, molecules: Molecules, stream: Stream) -> Grown:
    """Grow molecules onto their beads.

    Parameters
    ----------
    grower
        Of the molecule type.
    molecules
        Every stereo element has its state, see :func:`~dbm_gmx.sampling.chirality.infer_states`.
    stream
        Random numbers of the frame.

    Returns
    -------
    The best of several tries of each molecule; the states are right.
    """
    copies = len(molecules)
    best, energy = np.zeros((copies, grower.molecule.moltype.n_atoms, 3)), np.full(copies, np.inf)
    waiting, again = np.arange(copies), 0
    for attempt in range(TRIES):
        one = stream.of(Use.PLACEMENT, molecules.run, attempt)
        positions, found = grow_once(grower, molecules.some(waiting), one)
        better = found < energy[waiting]
        best[waiting[better]], energy[waiting[better]] = positions[better], found[better]
        middle = np.median(energy)
        spread = max(1.5 * float(np.median(np.abs(energy - middle))), 5 * grower.hamiltonian.kt)
        waiting = np.flatnonzero(energy > middle + STRAINED * spread)
        if not len(waiting) or grower.short:
            break
        again = again or len(waiting)
    return Grown(best, energy, again)


def grow_once(grower: Grower, molecules: Molecules, stream: Stream) -> tuple[FloatArray, FloatArray]:
    """Grow molecules with the random numbers of a stream: positions, energies."""
    positions = np.zeros((len(molecules), grower.molecule.moltype.n_atoms, 3))
    copies = take(grower.whole, molecules, positions)
    energy = grow_window(grower, grower.whole, molecules, copies, stream.of(0))
    put(grower.whole, copies, positions)
    if grower.short:
        return positions, energy
    for number, group in enumerate(grower.groups):
        _grow_group(grower, group, molecules, positions, stream.of(1 + number))
    _grow_wider(grower, molecules, positions, stream)
    return positions, energy_of(grower.whole, take(grower.whole, molecules, positions))


def _grow_wider(grower: Grower, molecules: Molecules, positions: FloatArray, stream: Stream) -> None:
    """Grow wider windows of some molecules, and of all others where that is worth it (in place)."""
    first, number = np.arange(0, len(molecules), ONE_IN), 1 + len(grower.groups)
    gained = _regrow(grower, molecules, positions, first, stream.of(number))
    others, windows = np.setdiff1d(np.arange(len(molecules)), first), sum(map(len, grower.wider))
    if len(others) and gained > PAYS * windows * grower.hamiltonian.kt:
        _regrow(grower, molecules, positions, others, stream.of(number + 1))


def _regrow(
    grower: Grower, molecules: Molecules, positions: FloatArray, rows: IntArray, stream: Stream
) -> float:
    """Grow wider windows of these molecules (in place); the mean energy that they gain, kJ/mol."""
    some, made, gained = molecules.some(rows), positions[rows], 0.0
    for number, group in enumerate(grower.wider):
        gained += _grow_group(grower, group, some, made, stream.of(number))
    positions[rows] = made
    return gained / len(rows)


def take(group: Group, molecules: Molecules, positions: FloatArray, rows: IntArray | None = None) -> Copies:
    """The windows of a group of molecules, or some of them, at (copies, n, 3) positions, which are copied.

    They count as copies of one window, those of one molecule one after the other.
    """
    number = molecules.number if rows is None else molecules.number[rows]
    return Copies(
        _picked(molecules.beads, rows, group.beads),
        _picked(molecules.chirality, rows, group.centres).astype(np.float64),
        _picked(positions, rows, group.atoms),
        (number[:, None] * len(group) + np.arange(len(group))).reshape(-1),
        molecules.lattice,
    )


def _picked(values: Any, rows: IntArray | None, columns: IntArray) -> Any:
    """What the windows (w, k) of some molecules have of (copies, n, ...) values: (copies w, k, ...)."""
    found = values[:, columns] if rows is None else values[rows[:, None, None], columns]
    count, size = len(found) * len(columns), columns.shape[1]
    return np.ascontiguousarray(found.reshape(count, size, *values.shape[2:]))


def put(group: Group, copies: Copies, positions: FloatArray) -> None:
    """Put what moved in the windows of molecules (copies, n, 3) in place."""
    free = group.free
    positions[:, free] = copies.positions[:, group.arrays.free].reshape(-1, *free.shape, 3)


def _grow_group(
    grower: Grower, group: Group, molecules: Molecules, positions: FloatArray, stream: Stream
) -> float:
    """Grow windows of all molecules anew until hardly a trial finds a better conformer (in place).

    Trials know nothing of the conformer there is, so none is out of reach.

    Returns
    -------
    The energy that all have gained, kJ/mol.
    """
    kt, quiet = grower.hamiltonian.kt, 0  # trials - ENOUGH x improvements
    copies = take(group, molecules, positions)
    energy = energy_of(group, copies)
    before = energy.sum()
    for attempt in range(MOST):
        one, trial = stream.of(attempt), copies._replace(positions=copies.positions.copy())
        cost = grow_window(grower, group, molecules, trial, one)
        rise = cost - energy
        taken = one.of(1).generator.random(len(rise)) < np.exp(-np.maximum(rise, 0.0) / kt)
        copies.positions[taken], energy[taken] = trial.positions[taken], cost[taken]
        quiet = max(0, quiet + len(rise) - ENOUGH * int((rise < -DISTINCT * kt).sum()))
        if quiet >= min(ENOUGH, MOST * len(rise)):
            break
    put(group, copies, positions)
    return float(before - energy.sum())


def grow_window(
    grower: Grower,
    group: Group,
    molecules: Molecules,
    copies: Copies,
    stream: Stream,
    rows: IntArray | None = None,
    schedule: Schedule | None = None,
) -> FloatArray:
    """Grow windows from nothing (in place); their energies (copies,), infinite but for ``rows`` if given."""
    place_fragments(grower, group, molecules, copies, stream.of(0).generator)
    if rows is None:
        return anneal_window(grower, group, copies, stream, schedule)
    some, energy = copies.some(rows), np.full(len(copies.positions), np.inf)
    energy[rows] = anneal_window(grower, group, some, stream, schedule)
    copies.positions[rows] = some.positions
    return energy


def anneal_window(
    grower: Grower, group: Group, copies: Copies, stream: Stream, schedule: Schedule | None = None
) -> FloatArray:
    """Anneal windows (in place); their energies (copies,)."""
    task = Task(schedule or GROWTH, stream.of(Use.ANNEALING).key, group.pairs)
    energy = anneal(group.arrays, task, copies, grower.team)
    return energy + penalty_of(group, copies)


def energy_of(group: Group, copies: Copies) -> FloatArray:
    """Energy (copies,) of windows and penalty of the chirality, kJ/mol."""
    return window_energies(group.arrays, copies, group.pairs) + penalty_of(group, copies)


def penalty_of(group: Group, copies: Copies) -> FloatArray:
    """Penalty (copies,) on stereo elements in no state or the wrong one, kJ/mol."""
    got = chirality_of(copies.positions, group.arrays.centres, copies.lattice)
    wrong = ((copies.chirality != 0) & (got != copies.chirality)) | (got == 0)
    return np.asarray(WRONG * wrong.sum(axis=1), np.float64)


def mend(grower: Grower, molecules: Molecules, positions: FloatArray, stream: Stream) -> None:
    """Bring molecules (copies, n, 3) nearer to a minimum, stereo elements to the state wanted (in place)."""
    copies, _ = bring_down(grower, molecules, positions, stream)
    put(grower.whole, copies, positions)


def bring_down(
    grower: Grower, molecules: Molecules, positions: FloatArray, stream: Stream
) -> tuple[Copies, FloatArray]:
    """Molecules near a minimum, each by itself, and their energies (copies,)."""
    copies = take(grower.whole, molecules, positions)
    return copies, anneal_window(grower, grower.whole, copies, stream, GROWTH._replace(steps=0, descent=NEAR))


# --- fragments put near their beads ------------------------------------------------------------------


_MIDDLES: WeakKeyDictionary[Molecules, FloatArray] = WeakKeyDictionary()


def fragment_middles(grower: Grower, molecules: Molecules) -> FloatArray:
    """(copies, fragments, 3) nm where fragments are put; worked out once for the same molecules."""
    found = _MIDDLES.get(molecules)
    if found is None:
        lattice = molecules.lattice
        found = (
            grower.layout(molecules.beads) if lattice is None else _wound_middles(grower, molecules, lattice)
        )
        _MIDDLES[molecules] = found
    return found


def place_fragments(
    grower: Grower, group: Group, molecules: Molecules, copies: Copies, rng: np.random.Generator
) -> None:
    """Put conformers of the fragments of windows near their beads, turned towards their neighbours.

    Changes the positions of ``copies`` in place.  A stereo element of state 0 has either.
    """
    middles, positions, free = fragment_middles(grower, molecules), copies.positions, group.arrays.free
    lattice = molecules.lattice
    for spots in group.spots:
        shapes = _conformers(grower, spots, molecules.chirality, rng)
        shapes = shapes - shapes[:, spots.centre].mean(axis=1, keepdims=True)
        shapes = np.einsum("cij,caj->cai", _random_rotations(len(shapes), rng), shapes)
        here = middles[:, spots.number]
        if len(spots.shell):
            towards = middles[:, spots.beyond] - here[..., None, :]
            if lattice is not None:
                towards = minimum_image(towards, lattice.cell)
            towards = towards.reshape(-1, len(spots.shell), 3)
            towards = towards + 1e-3 * rng.normal(size=towards.shape)
            shapes = np.einsum("cij,caj->cai", _turn_onto(shapes[:, spots.shell], towards), shapes)
        placed = (here.reshape(-1, 1, 3) + shapes).reshape(*here.shape[:-1], -1, 3)
        for at, number in np.ndenumerate(spots.number):
            footing = grower.footing[number]
            if footing is not None:
                one = (slice(None), *at)
                beads = molecules.beads[:, footing.beads]
                if lattice is not None:
                    beads = beside(beads, here[one][:, None], lattice)
                placed[one] = _stand_on(placed[one], footing.weights, beads)
        placed = placed[..., spots.mine, :]
        positions[:, spots.own] = placed.reshape(len(positions), *spots.own.shape, 3)
    positions[:, free] += 0.005 * rng.normal(size=(len(positions), len(free), 3))
    if lattice is not None:
        owners = _picked(molecules.beads, None, grower.molecule.mapping.owner[group.free])
        positions[:, free] = beside(positions[:, free], owners, lattice)


def _conformers(grower: Grower, spots: Spots, chirality: SignArray, rng: np.random.Generator) -> FloatArray:
    """A conformer for each of the fragments of each copy, of the copy's chirality: (fragments, m, 3)."""
    piece = grower.pieces[spots.number[0, 0]]
    count, held = len(chirality) * spots.number.size, spots.within.shape[-1]
    inside = chirality[:, spots.within].reshape(count, held)
    patterns, which = np.unique(inside, axis=0, return_inverse=True)
    found = np.empty((len(inside), len(spots.mine), 3))
    for k, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == k)
        pool = grower.pools(piece, tuple(pattern.tolist()))
        found[rows] = pool[rng.integers(len(pool), size=len(rows))]
    return found


def can_be(grower: Grower, group: Group, chirality: SignArray) -> bool:
    """Whether the fragments of windows have conformers with the states (copies, c) of the molecules."""
    for spots in group.spots:
        piece, inside = grower.pieces[spots.number[0, 0]], chirality[:, spots.within]
        for pattern in np.unique(inside.reshape(len(chirality) * spots.number.size, -1), axis=0):
            if not grower.pools.has(piece, tuple(pattern.tolist())):
                return False
    return True


def _random_rotations(count: int, rng: np.random.Generator) -> FloatArray:
    """(count, 3, 3), all orientations equally likely."""
    return np.asarray(Rotation.from_quat(rng.normal(size=(count, 4))).as_matrix(), np.float64)


def _stand_on(shapes: FloatArray, weights: FloatArray, beads: FloatArray) -> FloatArray:
    """Shapes (c, m, 3) moved and turned so that their weighted centres (b, m) are closest to beads (c, b, 3).

    Two beads leave a turn about the line between them, which stays as it is.
    """
    centres = weights @ shapes
    here, there = centres.mean(axis=1, keepdims=True), beads.mean(axis=1, keepdims=True)
    products = np.einsum("cbi,cbj->cij", centres - here, beads - there)
    turns = best_rotations(products + 1e-6 * np.eye(3))  # as little as beads ask for
    return np.asarray(there + np.einsum("cij,caj->cai", turns, shapes - here), np.float64)


def _turn_onto(points: FloatArray, directions: FloatArray) -> FloatArray:
    """Rotations (c, 3, 3) that bring points (c, k, 3) closest to directions."""
    unit = directions / np.linalg.norm(directions, axis=2, keepdims=True)
    return best_rotations(np.einsum("cki,ckj->cij", points, unit))

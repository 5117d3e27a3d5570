"""Growth: every molecule put on its beads by itself.

Fragments are put where the beads want them, as conformers of the right chirality turned towards their
neighbours, and joined by simulated annealing (:mod:`~dbm_gmx.sampling.annealing`).  Then one window of the
molecule after the other is grown anew while the rest stands still; what comes out replaces what was there
with the probability its energy says.  Molecules do not see each other here; but conformers can be offered for
exchange (:mod:`~dbm_gmx.sampling.conformer_exchange`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from scipy.spatial.transform import Rotation

from dbm_gmx.chemistry.array_types import FloatArray, IntArray, SignArray
from dbm_gmx.chemistry.fragments import Fragment, make_fragments
from dbm_gmx.chemistry.stereo import are_bonds, chirality_of, stereo_elements
from dbm_gmx.chemistry.topology import chemical_graph
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, MoleculeHamiltonian
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.annealing import (
    Copies,
    Schedule,
    Task,
    WindowArrays,
    anneal,
    make_window_arrays,
    window_atoms,
    window_energies,
)
from dbm_gmx.sampling.conformers import ConformerPools, Piece, make_piece
from dbm_gmx.sampling.random_numbers import Stream, Use

CONFORMERS = 64
"""Of each fragment and chirality."""

TRIES = 6
"""Times a molecule is grown, if it does not come out well."""

GROWTH = Schedule(steps=60, descent=120, hot=16.0, loose=0.06, weak=0.1)
"""Short: long annealing finds the low conformers no more often; but what is compared must have come down."""

MOST = 16
"""Times a window is grown anew, at most."""

ENOUGH = 21
"""Growth of a window stops when trials - 21 x improvements >= 21."""

DISTINCT = 2.0
"""Difference in energy that tells one conformer of a window from another, kT."""

RADIUS = 3
"""Fragments of a window are so many bonds from the one in its middle."""

SHORT = 10
"""Molecules of so many fragments are one window, which is grown anew only when conformers are offered."""

STRAINED = 8.0
"""Molecules whose energy exceeds the median by so many spreads are grown again."""

WRONG = 1e6
"""Penalty on a stereo element in the wrong state or without one, kJ/mol."""

SAME = 0.05
"""Atoms of one conformer are less far apart, nm."""

OFFERED = 48, 1
"""Conformers offered of a molecule that is one window, and of each window of one that is not."""

TIE, LONE = 0.1, 0.02
"""Where fragments are put: weights of neighbouring ones close together, and of one at its own bead."""


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
        (fragments, beads): where fragments are put, as a linear function of the beads.
    arrays
        For the annealing; the first window is all of the molecule.
    windows
        How many more there are to be grown anew.
    middles
        The fragment each stereo element is in.
    arms
        Each stereo element and what moves when it is inverted, see :func:`~dbm_gmx.chemistry.stereo.invert`.
    pieces
        Of each fragment, for its conformers.
    pools
        Conformers drawn so far, shared by all molecule types.
    within
        Stereo elements whose atoms each fragment holds.
    skeleton
        Atoms with several bonds; the others follow them.
    team
        Threads.
    """

    hamiltonian: Hamiltonian
    molecule: MoleculeHamiltonian
    fragments: tuple[Fragment, ...]
    layout: FloatArray
    arrays: WindowArrays
    windows: int
    middles: tuple[int, ...]
    arms: tuple[IntArray, ...]
    pieces: tuple[Piece, ...]
    pools: ConformerPools
    within: tuple[tuple[int, ...], ...]
    skeleton: IntArray
    team: Team

    @property
    def short(self) -> bool:
        """Whether one window holds all of the molecule."""
        return len(self.fragments) <= SHORT


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
    """

    beads: FloatArray
    chirality: SignArray
    number: IntArray
    run: int

    def __len__(self) -> int:
        return len(self.beads)

    def some(self, rows: Any) -> Molecules:
        """Some of them."""
        return Molecules(self.beads[rows], self.chirality[rows], self.number[rows], self.run)

    def at(self, positions: FloatArray) -> Copies:
        """With (copies, n, 3) positions, for the annealing."""
        chirality = self.chirality.astype(np.float64)
        return Copies(np.ascontiguousarray(self.beads), chirality, positions, self.number)


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


@dataclass(frozen=True, eq=False)
class Candidates:
    """Conformers that molecules may have, each for itself.

    Attributes
    ----------
    arrays, window
        Where the terms of the atoms in question are.
    molecules
        Whose they are.
    free
        (a,) atoms whose places are offered.
    conformers, energy
        (copies, k, a, 3) nm, the present one first, and (copies, k) kJ/mol; infinite for duplicates, so that
        frequent finds are not over-weighted.
    """

    arrays: WindowArrays
    window: int
    molecules: Molecules
    free: IntArray
    conformers: FloatArray
    energy: FloatArray


# --- what is prepared --------------------------------------------------------------------------------


def make_grower(
    hamiltonian: Hamiltonian, molecule: MoleculeHamiltonian, pools: ConformerPools, team: Team
) -> Grower:
    """Prepare growth of a molecule type."""
    fragments, centres = make_fragments(molecule.moltype), stereo_elements(molecule.moltype)
    tree = fragment_tree(fragments)
    around = [own_atoms(fragments, nx.ego_graph(tree, k, RADIUS)) for k in tree]
    whole = np.arange(molecule.moltype.n_atoms)
    windows = [around[k] for k in _middles(tree)] if len(tree) > SHORT else [whole]
    home = {int(i): k for k, f in enumerate(fragments) for i in f.own}
    bonds = are_bonds(centres)
    middles = [home[int(c[1] if bond else c[0])] for c, bond in zip(centres, bonds, strict=True)]
    weights, every = molecule.weights.tocsr(), [whole, *windows]
    graph = chemical_graph(molecule.moltype)
    return Grower(
        hamiltonian,
        molecule,
        fragments,
        _layout(molecule, fragments),
        make_window_arrays(molecule.terms, centres, weights, hamiltonian.kt, every),
        len(windows),
        tuple(middles),
        tuple(
            _turned(graph, row) if bond else _smallest_last(graph, row)
            for row, bond in zip(centres, bonds, strict=True)
        ),
        tuple(make_piece(hamiltonian, molecule, fragment.atoms) for fragment in fragments),
        pools,
        tuple(
            tuple(k for k, c in enumerate(centres) if np.isin(c[c >= 0], f.atoms).all()) for f in fragments
        ),
        np.array([i for i, bonds in graph.degree if bonds > 1], np.int64),
        team,
    )


def fragment_tree(fragments: tuple[Fragment, ...]) -> nx.Graph:
    """Fragments by number, joined as they are in the molecule."""
    tree = nx.Graph()
    tree.add_nodes_from(range(len(fragments)))
    tree.add_edges_from((k, f.parent) for k, f in enumerate(fragments) if f.parent >= 0)
    return tree


def _smallest_last(graph: nx.Graph, centre: IntArray) -> IntArray:
    """Order the neighbours of a stereocentre by the bonds they have; a hidden hydrogen is dropped."""
    arms = sorted((int(i) for i in centre[1:] if i >= 0), key=lambda i: -graph.degree(i))
    return np.array([centre[0], *arms], np.int64)


def _turned(graph: nx.Graph, row: IntArray) -> IntArray:
    """A bond and what is turned about it: the groups at its lighter end, each an atom and its leaves."""
    ways = list[set[int]]()
    for near, far in (row[1:3].tolist(), row[2:0:-1].tolist()):
        groups = [i for i in graph[far] if i != near]
        ways.append({*groups, *(leaf for i in groups for leaf in graph[i] if graph.degree(leaf) == 1)})
    lighter = ways[0] if len(ways[0]) <= len(ways[1]) else ways[1]
    return np.array([*row.tolist(), *sorted(lighter)], np.int64)


def own_atoms(fragments: tuple[Fragment, ...], chosen: Any) -> IntArray:
    """Atoms owned by fragments."""
    return np.sort(np.concatenate([fragments[k].own for k in chosen]))


def _middles(tree: nx.Graph) -> list[int]:
    """Few fragments that have every bond between fragments well inside their windows."""
    covers = {k: {frozenset(e) for e in nx.ego_graph(tree, k, 1).edges} for k in tree}
    chosen: list[int] = []
    missing = {frozenset(e) for e in tree.edges}
    while missing:
        best = max(tree, key=lambda k: len(covers[k] & missing))
        chosen.append(best)
        missing -= covers[best]
    return chosen or list(tree)


def _layout(molecule: MoleculeHamiltonian, fragments: tuple[Fragment, ...]) -> FloatArray:
    """Least squares: mapped centres on the beads, and neighbouring fragments not far from each other."""
    weights = molecule.weights.toarray()
    shares = np.stack([weights[:, f.own].sum(axis=1) for f in fragments], axis=1)
    one = np.eye(len(fragments))
    ties = [one[k] - one[f.parent] for k, f in enumerate(fragments) if f.parent >= 0]
    rows = np.concatenate([shares, TIE * np.array(ties).reshape(-1, len(fragments)), LONE * one])
    owner = np.stack([np.bincount(molecule.mapping.owner[f.own], minlength=len(weights)) for f in fragments])
    home = owner / owner.sum(axis=1, keepdims=True)
    wanted = np.concatenate([np.eye(len(weights)), np.zeros((len(ties), len(weights))), LONE * home])
    return np.asarray(np.linalg.lstsq(rows, wanted, rcond=None)[0], np.float64)


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
    _trial(grower, 0, molecules, positions, stream.of(0))
    if not grower.short:
        for window in range(1, 1 + grower.windows):
            _grow_window(grower, window, molecules, positions, stream)
    return positions, energy_of(grower, 0, molecules, positions)


def _grow_window(
    grower: Grower, window: int, molecules: Molecules, positions: FloatArray, stream: Stream
) -> None:
    """Grow a window of all molecules anew until hardly a trial finds a better conformer (in place).

    Trials know nothing of the conformer there is, so none is out of reach.
    """
    kt, quiet = grower.hamiltonian.kt, 0  # trials - ENOUGH x improvements
    energy = energy_of(grower, window, molecules, positions)
    for attempt in range(MOST):
        one, trial = stream.of(window, attempt), positions.copy()
        cost = _trial(grower, window, molecules, trial, one)
        rise = cost - energy
        taken = one.of(1).generator.random(len(rise)) < np.exp(-np.maximum(rise, 0.0) / kt)
        positions[taken], energy[taken] = trial[taken], cost[taken]
        quiet = max(0, quiet + len(rise) - ENOUGH * int((rise < -DISTINCT * kt).sum()))
        if quiet >= min(ENOUGH, MOST * len(rise)):
            break


def _trial(
    grower: Grower, window: int, molecules: Molecules, positions: FloatArray, stream: Stream
) -> FloatArray:
    """Grow a window from nothing (in place); its energies (copies,)."""
    place_fragments(grower, molecules, positions, window_atoms(grower.arrays, window), stream.of(0).generator)
    return anneal_window(grower, window, molecules, positions, stream)


def anneal_window(
    grower: Grower, window: int, molecules: Molecules, positions: FloatArray, stream: Stream
) -> FloatArray:
    """Anneal a window (in place); its energies (copies,)."""
    copies = molecules.at(positions)
    task = Task(window, GROWTH, stream.of(Use.ANNEALING).key)
    energy = anneal(grower.arrays, task, copies, grower.team)
    return energy + _penalty(grower, molecules, positions)


def energy_of(grower: Grower, window: int, molecules: Molecules, positions: FloatArray) -> FloatArray:
    """Energy (copies,) of a window and penalty of the chirality, kJ/mol."""
    energy = window_energies(grower.arrays, window, molecules.at(positions))
    return energy + _penalty(grower, molecules, positions)


def _penalty(grower: Grower, molecules: Molecules, positions: FloatArray) -> FloatArray:
    """Penalty (copies,) on stereo elements in no state or the wrong one, kJ/mol."""
    got = chirality_of(positions, grower.arrays.centres)
    wrong = ((molecules.chirality != 0) & (got != molecules.chirality)) | (got == 0)
    return np.asarray(WRONG * wrong.sum(axis=1), np.float64)


# --- what is offered for exchange --------------------------------------------------------------------


def find_candidates(
    grower: Grower, window: int, molecules: Molecules, positions: FloatArray, stream: Stream
) -> Candidates:
    """Conformers that a window of each molecule might have, the present one first.

    Parameters
    ----------
    grower, molecules, stream
        As for :func:`grow`.
    window
        From 1.
    positions
        (copies, n, 3) nm, as grown.
    """
    free = window_atoms(grower.arrays, window)
    inner = np.isin(free, grower.skeleton)
    conformers, energies = [positions[:, free]], [energy_of(grower, window, molecules, positions)]
    for attempt in range(OFFERED[0] if grower.short else OFFERED[1]):
        trial = positions.copy()
        one = stream.of(Use.CANDIDATES, molecules.run, window, attempt)
        energy = _trial(grower, window, molecules, trial, one)
        found = trial[:, free]
        for other, known in zip(conformers, energies, strict=True):
            apart = np.linalg.norm(found[:, inner] - other[:, inner], axis=2).max(axis=1, initial=0.0)
            energy = np.where((apart < SAME) & (known < np.inf), np.inf, energy)
        conformers.append(found)
        energies.append(energy)
    return Candidates(
        grower.arrays, window, molecules, free, np.stack(conformers, axis=1), np.stack(energies, axis=1)
    )


# --- fragments put near their beads ------------------------------------------------------------------


def place_fragments(
    grower: Grower, molecules: Molecules, positions: FloatArray, free: IntArray, rng: np.random.Generator
) -> None:
    """Put conformers of the fragments that ``free`` holds near their beads, turned towards their neighbours.

    Changes ``positions`` (copies, n, 3) in place.  A stereo element of state 0 has either.
    """
    copies = len(molecules)
    middles = np.einsum("fb,cbd->cfd", grower.layout, molecules.beads)
    home = {int(i): k for k, f in enumerate(grower.fragments) for i in f.own}
    for number in sorted({home[int(i)] for i in free}):
        fragment = grower.fragments[number]
        atoms = fragment.atoms
        shapes = _conformers(grower, number, molecules.chirality, rng)
        centre = np.isin(atoms, fragment.centre)
        shapes = shapes - shapes[:, centre].mean(axis=1, keepdims=True)
        shapes = np.einsum("cij,caj->cai", _random_rotations(copies, rng), shapes)
        shell = np.flatnonzero(np.isin(atoms, fragment.shell))
        if len(shell):
            towards = middles[:, [home[int(atoms[s])] for s in shell]] - middles[:, number, None]
            towards = towards + 1e-3 * rng.normal(size=towards.shape)
            shapes = np.einsum("cij,caj->cai", _turn_onto(shapes[:, shell], towards), shapes)
        own = np.isin(atoms, fragment.own)
        positions[:, atoms[own]] = middles[:, number, None] + shapes[:, own]
    positions[:, free] += 0.005 * rng.normal(size=(copies, len(free), 3))


def _conformers(grower: Grower, number: int, chirality: SignArray, rng: np.random.Generator) -> FloatArray:
    """A conformer of one fragment for each copy, of the copy's chirality: (copies, m, 3)."""
    atoms, piece = grower.fragments[number].atoms, grower.pieces[number]
    inside = list(grower.within[number])
    patterns, which = np.unique(chirality[:, inside], axis=0, return_inverse=True)
    found = np.empty((len(chirality), len(atoms), 3))
    for k, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == k)
        pool = grower.pools(piece, tuple(pattern.tolist()))
        found[rows] = pool[rng.integers(len(pool), size=len(rows))]
    return found


def _random_rotations(count: int, rng: np.random.Generator) -> FloatArray:
    """(count, 3, 3), all orientations equally likely."""
    return np.asarray(Rotation.from_quat(rng.normal(size=(count, 4))).as_matrix(), np.float64)


def _turn_onto(points: FloatArray, directions: FloatArray) -> FloatArray:
    """Rotations (c, 3, 3) that bring points (c, k, 3) closest to directions (Kabsch 1976)."""
    unit = directions / np.linalg.norm(directions, axis=2, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("cki,ckj->cij", points, unit))
    turned = np.einsum("cji,ckj->cik", vt, u)
    flip = np.ones((len(points), 3))
    flip[:, 2] = np.sign(np.linalg.det(turned))
    return np.asarray(np.einsum("cji,cj,ckj->cik", vt, flip, u), np.float64)

"""Atoms to begin with: every molecule folded onto its beads by itself.

Fragments are put where the beads want them, as conformers of the right hands turned towards their
neighbours, and joined by simulated annealing (:mod:`~dbm_gmx.sampling.annealing`).  Then one part of the
molecule after the other is folded anew while the rest stands still; what comes out replaces what was there
with the probability its energy says.  Molecules do not see each other here; but the shapes found can be
offered to who lets them choose (:mod:`~dbm_gmx.sampling.conformer_exchange`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import networkx as nx
import numpy as np
from scipy.spatial.transform import Rotation

from dbm_gmx.chemistry.array_types import FloatArray, IntArray, SignArray
from dbm_gmx.chemistry.fragments import Fragment, make_fragments
from dbm_gmx.chemistry.stereo import chirality_of, stereocentres
from dbm_gmx.chemistry.topology import chemical_graph
from dbm_gmx.forcefield.hamiltonian import MoleculeHamiltonian, Hamiltonian
from dbm_gmx.sampling.annealing import Schedule, Script, anneal, make_script, window_energies
from dbm_gmx.sampling.conformers import Piece, draw_conformers, make_piece

CONFORMERS = 64
"""Of each fragment and hand."""

TRIES = 6
"""Times a molecule is folded, if it does not come out well."""

FOLDING = Schedule(steps=60, descent=120, hot=16.0, loose=0.06, soft=0.1)
"""Short, for long annealing finds the low shapes no more often; but what is compared must have come down."""

MOST = 16
"""Times a window is annealed anew, at most."""

ENOUGH = 21
"""Trials of all copies together that a better shape is worth: with fewer of these, a window is left."""

DISTINCT = 2.0
"""Difference in energy that tells one shape of a window from another, kT."""

RADIUS = 3
"""Fragments of a window are so many bonds from the one in its middle."""

SHORT = 10
"""Molecules of so many fragments are one window, which is folded anew only when shapes are offered."""

STRAINED = 8.0
"""Molecules whose energy exceeds the median by so many spreads are folded again."""


@dataclass(frozen=True, eq=False)
class Folder:
    """All that is prepared to fold molecules of one type.

    Attributes
    ----------
    target, molecule
        What it was made for.
    fragments
        Of the molecule type.
    layout
        (fragments, beads): where fragments are put, as a linear function of the beads.
    script
        For the dynamics; the first window is all of the molecule.
    windows
        How many more there are to be mended.
    turns
        Stereocentres to be turned together, and the window to do it in.
    inverted
        Each stereocentre and its neighbours, the smallest branch last.
    pieces
        Of each fragment, for its conformers.
    pools
        Conformers drawn so far, by piece and hands.
    within
        Stereocentres whose atoms each fragment holds.
    skeleton
        Atoms with several bonds; the others follow them.
    seed
        Of the conformers.
    drawing
        Held by who draws conformers.
    """

    target: Hamiltonian
    molecule: MoleculeHamiltonian
    fragments: tuple[Fragment, ...]
    layout: FloatArray
    script: Script
    windows: int
    turns: tuple[tuple[tuple[int, ...], int], ...]
    inverted: tuple[IntArray, ...]
    pieces: tuple[Piece, ...]
    pools: dict[tuple[Any, ...], FloatArray]
    within: tuple[tuple[int, ...], ...]
    skeleton: IntArray
    seed: int
    drawing: Lock = field(default_factory=Lock)

    @property
    def short(self) -> bool:
        """Whether one window holds all of the molecule."""
        return len(self.fragments) <= SHORT


@dataclass(frozen=True, eq=False)
class Folded:
    """Molecules as they were folded.

    Attributes
    ----------
    positions
        (copies, n, 3) nm.
    energy
        (copies,) of terms and beads, kJ/mol.
    again
        How many were folded more than once.
    """

    positions: FloatArray
    energy: FloatArray
    again: int


@dataclass(frozen=True, eq=False)
class Offer:
    """Shapes that molecules may have, each for itself.

    Attributes
    ----------
    script, window
        Where the terms of the atoms in question are.
    beads, hands
        (copies, beads, 3) nm and (copies, c), of the molecules.
    free
        (a,) atoms whose places are offered.
    shapes, cost
        (copies, k, a, 3) nm, the present one first, and (copies, k) energy, kJ/mol; infinite for a shape
        that was found before: what is found often need not be likely.
    """

    script: Script
    window: int
    beads: FloatArray
    chirality: SignArray
    free: IntArray
    shapes: FloatArray
    cost: FloatArray


def make_folder(target: Hamiltonian, molecule: MoleculeHamiltonian, *, seed: int = 1) -> Folder:
    """Prepare folding of a molecule type."""
    fragments = make_fragments(molecule.moltype)
    tree = nx.Graph()
    tree.add_nodes_from(range(len(fragments)))
    tree.add_edges_from((k, f.parent) for k, f in enumerate(fragments) if f.parent >= 0)
    around = [_own(fragments, nx.ego_graph(tree, k, RADIUS)) for k in tree]
    whole = np.arange(molecule.moltype.n_atoms)
    mended = [around[k] for k in _middles(tree)] if len(tree) > SHORT else [whole]
    home = {int(i): k for k, f in enumerate(fragments) for i in f.own}
    middles = [home[int(c[0])] for c in stereocentres(molecule.moltype)]
    turned = [(k,) for k in range(len(middles))] + [(k, k + 1) for k in range(len(middles) - 1)]
    unions = [np.unique(np.concatenate([around[middles[k]] for k in ks])) for ks in turned]
    script = make_script(molecule, [whole, *mended, *unions])
    first = 1 + len(mended)
    return Folder(
        target,
        molecule,
        fragments,
        _layout(molecule, fragments),
        script,
        len(mended),
        tuple((ks, first + n) for n, ks in enumerate(turned)),
        tuple(_smallest_last(molecule, row) for row in stereocentres(molecule.moltype)),
        tuple(make_piece(target, molecule, fragment.atoms) for fragment in fragments),
        {},
        tuple(
            tuple(
                k for k, c in enumerate(stereocentres(molecule.moltype)) if np.isin(c[c >= 0], f.atoms).all()
            )
            for f in fragments
        ),
        np.array([i for i, bonds in chemical_graph(molecule.moltype).degree if bonds > 1], np.int64),
        seed,
    )


def _smallest_last(molecule: MoleculeHamiltonian, centre: IntArray) -> IntArray:
    """Order the neighbours of a stereocentre by the bonds they have, and drop the hidden hydrogen's place."""
    graph = chemical_graph(molecule.moltype)
    arms = sorted((int(i) for i in centre[1:] if i >= 0), key=lambda i: -graph.degree(i))
    return np.array([centre[0], *arms], np.int64)


def _own(fragments: tuple[Fragment, ...], chosen: Any) -> IntArray:
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
    ties = [
        np.eye(len(fragments))[k] - np.eye(len(fragments))[f.parent]
        for k, f in enumerate(fragments)
        if f.parent >= 0
    ]
    rows = np.concatenate(
        [shares, TIE * np.array(ties).reshape(-1, len(fragments)), LONE * np.eye(len(fragments))]
    )
    owner = np.stack([np.bincount(molecule.mapping.owner[f.own], minlength=len(weights)) for f in fragments])
    home = owner / owner.sum(axis=1, keepdims=True)
    wanted = np.concatenate([np.eye(len(weights)), np.zeros((len(ties), len(weights))), LONE * home])
    return np.asarray(np.linalg.lstsq(rows, wanted, rcond=None)[0], np.float64)


TIE = 0.1
LONE = 0.02


def fold(
    folder: Folder, beads: FloatArray, chirality: SignArray, *, seed: int, frame: int, sample: int
) -> Folded:
    """Fold molecules onto their beads.

    Parameters
    ----------
    folder
        Of the molecule type.
    beads
        (copies, beads, 3) nm, whole.
    chirality
        (copies, c) of :func:`~dbm_gmx.chemistry.stereo.stereocentres`: 1, -1, or 0 to let the beads decide.
    seed, frame, sample
        Name the random numbers.

    Returns
    -------
    The best of several tries of each molecule; prescribed hands are right.
    """
    chirality = infer_chirality_from_beads(folder, beads, chirality, seed=seed, frame=frame, sample=sample)
    copies = len(beads)
    best, energy = np.zeros((copies, folder.molecule.moltype.n_atoms, 3)), np.full(copies, np.inf)
    waiting, again = np.arange(copies), 0
    for attempt in range(TRIES):
        name = (seed, frame * 65536 + sample, attempt)
        positions, found = _fold_once(folder, beads[waiting], chirality[waiting], waiting, name)
        better = found < energy[waiting]
        best[waiting[better]], energy[waiting[better]] = positions[better], found[better]
        middle = np.median(energy)
        spread = max(1.5 * float(np.median(np.abs(energy - middle))), 5 * folder.target.kt)
        waiting = np.flatnonzero(energy > middle + STRAINED * spread)
        if not len(waiting) or folder.short:
            break
        again = again or len(waiting)
    return Folded(best, energy, again)


def _fold_once(
    folder: Folder, beads: FloatArray, chirality: SignArray, number: IntArray, name: tuple[int, int, int]
) -> tuple[FloatArray, FloatArray]:
    """Fold molecules with the random numbers of ``number`` and ``name``: positions, energies."""
    rng = np.random.default_rng([*name, *folder.molecule.moltype.name.encode()])
    positions = np.zeros((len(beads), folder.molecule.moltype.n_atoms, 3))
    _arrange(folder, beads, chirality, positions, _free(folder, 0), rng)
    anneal(folder.script, 0, FOLDING, folder.target.kt, beads, chirality, positions, number, name)
    if not folder.short:
        for window in range(1, 1 + folder.windows):
            _mend_all(folder, window, beads, chirality, positions, number, name, rng)
    return positions, _cost(folder, 0, beads, chirality, positions)


def _mend_all(
    folder: Folder,
    window: int,
    beads: FloatArray,
    chirality: SignArray,
    positions: FloatArray,
    number: IntArray,
    name: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """Fold a window of all molecules anew until hardly a trial finds a better shape (in place).

    Trials know nothing of the shape there is, so none is out of reach.
    """
    kt, quiet = folder.target.kt, 0  # trials less those that a better shape is worth
    energy = _cost(folder, window, beads, chirality, positions)
    for attempt in range(MOST):
        where = (*name[:2], name[2] + MENDED * (1 + attempt * folder.windows + window))
        trial, cost = _trial(folder, window, beads, chirality, positions, number, where, rng)
        rise = cost - energy
        taken = rng.random(len(rise)) < np.exp(-np.maximum(rise, 0.0) / kt)
        positions[taken], energy[taken] = trial[taken], cost[taken]
        quiet = max(0, quiet + len(rise) - ENOUGH * int((rise < -DISTINCT * kt).sum()))
        if quiet >= min(ENOUGH, MOST * len(rise)):
            break


def offer(
    folder: Folder,
    window: int,
    beads: FloatArray,
    chirality: SignArray,
    positions: FloatArray,
    *,
    seed: int,
    frame: int,
    sample: int,
    count: int,
) -> Offer:
    """Shapes that a window of each molecule might have, the present one first.

    Parameters
    ----------
    folder, window, beads, hands, seed, frame, sample
        As for :func:`fold`; windows count from 1.
    positions
        (copies, n, 3) nm, folded.
    count
        Shapes to look for.
    """
    free = _free(folder, window)
    inner = np.isin(free, folder.skeleton)
    name = (seed, frame * 65536 + sample, OFFERED + window)
    rng = np.random.default_rng([*name, *folder.molecule.moltype.name.encode()])
    copies = np.arange(len(beads))
    shapes, cost = [positions[:, free]], [_cost(folder, window, beads, chirality, positions)]
    for attempt in range(count):
        where = (*name[:2], name[2] + MENDED * attempt)
        trial, energy = _trial(folder, window, beads, chirality, positions, copies, where, rng)
        shape = trial[:, free]
        for other, known in zip(shapes, cost, strict=True):
            apart = np.linalg.norm(shape[:, inner] - other[:, inner], axis=2).max(axis=1, initial=0.0)
            energy = np.where((apart < SAME) & (known < np.inf), np.inf, energy)
        shapes.append(shape)
        cost.append(energy)
    return Offer(
        folder.script, window, beads, chirality, free, np.stack(shapes, axis=1), np.stack(cost, axis=1)
    )


def _trial(
    folder: Folder,
    window: int,
    beads: FloatArray,
    chirality: SignArray,
    positions: FloatArray,
    number: IntArray,
    name: tuple[int, int, int],
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Molecules with a window folded from nothing, and what it costs."""
    trial, free = positions.copy(), _free(folder, window)
    _arrange(folder, beads, chirality, trial, free, rng)
    return trial, _try(folder, window, beads, chirality, trial, number, name)


def _free(folder: Folder, window: int) -> IntArray:
    """Atoms of a window."""
    script = folder.script
    return np.asarray(script.free[script.free_start[window] : script.free_start[window + 1]])


def _try(
    folder: Folder,
    window: int,
    beads: FloatArray,
    chirality: SignArray,
    positions: FloatArray,
    number: IntArray,
    name: tuple[int, int, int],
) -> FloatArray:
    """Anneal a window (in place); what it costs then."""
    energy = anneal(
        folder.script, window, FOLDING, folder.target.kt, beads, chirality, positions, number, name
    )
    return energy + _penalty(folder, chirality, positions)


def _cost(
    folder: Folder, window: int, beads: FloatArray, chirality: SignArray, positions: FloatArray
) -> FloatArray:
    """Energy (copies,) of a window and penalty of the hands, kJ/mol."""
    energy = window_energies(folder.script, window, folder.target.kt, positions, beads)
    return energy + _penalty(folder, chirality, positions)


def _penalty(folder: Folder, chirality: SignArray, positions: FloatArray) -> FloatArray:
    """Penalty (copies,) on stereocentres that are flat or of the wrong hand, kJ/mol."""
    got = chirality_of(positions, folder.script.centres)
    wrong = ((chirality != 0) & (got != chirality)).sum(axis=1) + (got == 0).sum(axis=1)
    return np.asarray(WRONG * wrong, np.float64)


WRONG = 1e6  # kJ/mol, for each hand that came out wrong
SAME = 0.05  # nm, atoms of one shape are less far apart
OFFERED = 1 << 21
MENDED = 1 << 24  # sets these random numbers apart


def infer_chirality_from_beads(
    folder: Folder, beads: FloatArray, chirality: SignArray, *, seed: int, frame: int, sample: int
) -> SignArray:
    """Hands of stereocentres, where they are not given: those with which a molecule fits its beads best.

    Windows about one stereocentre after the other, and about two neighbours, are annealed as they are and
    turned; what lowers the energy is kept, until nothing does.  What most copies of a molecule have counts
    as a prior: copies are rarely made with different hands.

    Parameters
    ----------
    folder, beads, hands, seed, frame, sample
        As for :func:`fold`.

    Returns
    -------
    (copies, c) 1 or -1.
    """
    if np.all(chirality != 0):
        return chirality
    rng = np.random.default_rng([seed, frame, sample, INFERRING])
    best = np.where(chirality == 0, rng.choice(np.array([-1, 1], np.int8), size=chirality.shape), chirality)
    everyone = np.arange(len(beads))
    positions, _ = _fold_once(folder, beads, best, everyone, (seed, frame, INFERRING))
    attempt = INFERRING
    doubtful = np.ones((len(beads), len(folder.turns)), bool)
    for _ in range(SEARCHED):
        for k, (centres, window) in enumerate(folder.turns):
            rows = np.flatnonzero((chirality[:, list(centres)] == 0).all(axis=1) & doubtful[:, k])
            if not len(rows):
                continue
            attempt += 2
            name = (seed, frame * 65536 + sample, attempt)
            gain = _turn(folder, list(centres), window, beads, best, positions, rows, name)
            doubtful[rows, k] = np.abs(gain) < DOUBTFUL * folder.target.kt
            # what was turned changes the case of all that share atoms with it
            near = np.array([_near(centres, others) and m != k for m, (others, _) in enumerate(folder.turns)])
            doubtful[rows[gain > 0]] |= near
        if not doubtful.any():
            break
    return best


def _near(centres: tuple[int, ...], others: tuple[int, ...]) -> bool:
    return min(abs(i - j) for i in centres for j in others) <= 1


def _turn(
    folder: Folder,
    centres: list[int],
    window: int,
    beads: FloatArray,
    chirality: SignArray,
    positions: FloatArray,
    rows: IntArray,
    name: tuple[int, int, int],
) -> FloatArray:
    """Turn stereocentres of some molecules where that lowers the energy; by how much it did or would."""
    kt = folder.target.kt
    old, new = chirality[rows], chirality[rows]
    new[:, centres] *= -1
    kept, turned = positions[rows], positions[rows]
    for k in centres:
        _invert(turned, folder.inverted[k])
    energy = _search(folder, window, beads[rows], old, kept, rows, name)
    gain = energy - _search(folder, window, beads[rows], new, turned, rows, (*name[:2], name[2] + 1))
    for k in centres:
        same = (chirality[:, k] == old[:, k][:, None]).sum(axis=1)
        gain += kt * np.log((len(chirality) - same + 1.0) / same)
    flipped = gain > 0
    positions[rows] = np.where(flipped[:, None, None], turned, kept)
    chirality[rows[flipped]] = new[flipped]
    return np.asarray(gain, np.float64)


def _search(
    folder: Folder,
    window: int,
    beads: FloatArray,
    chirality: SignArray,
    positions: FloatArray,
    number: IntArray,
    name: tuple[int, int, int],
) -> FloatArray:
    """Anneal a window several times; the lowest energies, whose ``positions`` stay."""
    energy, first = _cost(folder, window, beads, chirality, positions), positions.copy()
    for attempt in range(SEARCHES):
        trial, where = first.copy(), (*name[:2], name[2] + MENDED * attempt)
        found = _try(folder, window, beads, chirality, trial, number, where)
        better = found < energy
        energy[better], positions[better] = found[better], trial[better]
    return energy


def _invert(positions: FloatArray, centre: IntArray) -> None:
    """Give a stereocentre (row of atoms) the other hand, in place.

    Three neighbours stay; the centre and the fourth go to the other side of their plane.
    """
    a, b, c = (positions[:, i] for i in centre[1:4])
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for i in centre[[0, *range(4, len(centre))]]:
        height = ((positions[:, i] - a) * normal).sum(axis=1, keepdims=True)
        positions[:, i] -= 2 * height * normal


INFERRING = 1 << 20  # sets these random numbers apart
SEARCHED = 5  # rounds, at most
DOUBTFUL = 6.0  # kT, what is surer than this is not asked again
SEARCHES = 2  # times a window is annealed for the lowest energy


def _arrange(
    folder: Folder,
    beads: FloatArray,
    chirality: SignArray,
    positions: FloatArray,
    free: IntArray,
    rng: np.random.Generator,
) -> None:
    """Put conformers of the fragments that ``free`` holds near their beads, turned towards their neighbours.

    Changes ``positions`` (copies, n, 3) in place.
    """
    copies = len(beads)
    middles = np.einsum("fb,cbd->cfd", folder.layout, beads)
    home = {int(i): k for k, f in enumerate(folder.fragments) for i in f.own}
    for number in sorted({home[int(i)] for i in free}):
        fragment = folder.fragments[number]
        atoms = fragment.atoms
        shapes = _shapes(folder, number, chirality, rng)
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


def _shapes(folder: Folder, number: int, chirality: SignArray, rng: np.random.Generator) -> FloatArray:
    """A conformer of one fragment for each copy, of the copy's hands: (copies, m, 3)."""
    atoms, piece = folder.fragments[number].atoms, folder.pieces[number]
    inside = list(folder.within[number])
    patterns, which = np.unique(chirality[:, inside], axis=0, return_inverse=True)
    found = np.empty((len(chirality), len(atoms), 3))
    for k, pattern in enumerate(patterns):
        key = (piece.key, tuple(pattern.tolist()))
        with folder.drawing:  # frames side by side share the pools
            if key not in folder.pools:
                folder.pools[key] = draw_conformers(
                    piece, tuple(pattern.tolist()), kt=folder.target.kt, count=CONFORMERS, seed=folder.seed
                )
        rows = np.flatnonzero(which.reshape(-1) == k)
        found[rows] = folder.pools[key][rng.integers(CONFORMERS, size=len(rows))]
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

"""Atoms to begin with: every molecule folded onto its beads by itself.

Fragments are put where the beads want them, as conformers of the right hands turned towards their
neighbours, and joined by Langevin dynamics that is cooled to the temperature while bonds, angles and the
springs to the beads grow stiff (simulated annealing, as structures are found from measured distances: Nilges,
Clore, Gronenborn, FEBS Lett. 229, 317, 1988).  Molecules do not see each other; the sweeps pack them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from dbm_gmx.conformers import Piece, draw_conformers, make_piece
from dbm_gmx.forces import term_force, upright
from dbm_gmx.fragments import Fragment, make_fragments
from dbm_gmx.frame import FloatArray, IntArray
from dbm_gmx.kernels import compiled, gaussian, seeded, term_energy
from dbm_gmx.quality import handedness, stereocentres
from dbm_gmx.target import DISTANCE, QUARTIC, MoleculeTarget, Target

SignArray = NDArray[np.int8]

CONFORMERS = 64
"""Of each fragment and hand."""

TRIES = 6
"""Times a molecule is folded, if it does not come out well."""

STEPS = 800
TIME_STEP = 0.002  # ps
FRICTION = 15.0  # ps^-1
MASS = 12.0  # amu, of all atoms: only positions matter
HOT = 4.0  # times the temperature, in the beginning
LOOSE = 0.06  # nm, spread of the mapped centres in the beginning
TIGHT = 0.006  # nm, at the end
LONGEST_STEP = 0.01  # nm
STRAINED = 8.0
"""Molecules whose energy exceeds the median by so many spreads are folded again."""


class Script(NamedTuple):
    """What the compiled dynamics reads of a molecule type.

    Attributes
    ----------
    form, atoms, parameters
        Terms, see :class:`~dbm_gmx.target.Force`.
    centres
        (c, 5) see :func:`~dbm_gmx.quality.stereocentres`.
    bead_start, weighed, weight
        Atoms of each bead and their weights.
    """

    form: Any
    atoms: Any
    parameters: Any
    centres: Any
    bead_start: Any
    weighed: Any
    weight: Any


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
        For the dynamics.
    pieces
        Of each fragment, for its conformers.
    pools
        Conformers drawn so far, by piece and hands.
    seed
        Of the conformers.
    """

    target: Target
    molecule: MoleculeTarget
    fragments: tuple[Fragment, ...]
    layout: FloatArray
    script: Script
    pieces: tuple[Piece, ...]
    pools: dict[tuple[Any, ...], FloatArray]
    seed: int


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


def make_folder(target: Target, molecule: MoleculeTarget, *, seed: int = 1) -> Folder:
    """Prepare folding of a molecule type."""
    fragments = make_fragments(molecule.kind)
    centres = stereocentres(molecule.kind)
    force = molecule.force
    weights = molecule.weights.tocsr()
    script = Script(
        force.form,
        force.atoms,
        force.parameters,
        centres,
        weights.indptr.astype(np.int64),
        weights.indices.astype(np.int64),
        weights.data.astype(np.float64),
    )
    pieces = tuple(make_piece(target, molecule, fragment.atoms) for fragment in fragments)
    return Folder(target, molecule, fragments, _layout(molecule, fragments), script, pieces, {}, seed)


def _layout(molecule: MoleculeTarget, fragments: tuple[Fragment, ...]) -> FloatArray:
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
    folder: Folder, beads: FloatArray, hands: SignArray, *, seed: int, frame: int, sample: int
) -> Folded:
    """Fold molecules onto their beads.

    Parameters
    ----------
    folder
        Of the molecule type.
    beads
        (copies, beads, 3) nm, whole.
    hands
        (copies, c) for :func:`~dbm_gmx.quality.stereocentres`: 1 or -1, or 0 to let the beads decide.
    seed, frame, sample
        Name the random numbers.

    Returns
    -------
    The best of several tries of each molecule; prescribed hands are right.
    """
    hands = infer_hands(folder, beads, hands, seed=seed, frame=frame, sample=sample)
    copies = len(beads)
    best, energy = np.zeros((copies, folder.molecule.kind.n_atoms, 3)), np.full(copies, np.inf)
    waiting, again = np.arange(copies), 0
    for attempt in range(TRIES):
        name = (seed, frame * 65536 + sample, attempt)
        positions, found = _fold_once(folder, beads[waiting], hands[waiting], waiting, name, cold=1.0)
        better = found < energy[waiting]
        best[waiting[better]], energy[waiting[better]] = positions[better], found[better]
        middle = np.median(energy)
        spread = max(1.5 * float(np.median(np.abs(energy - middle))), 5 * folder.target.kt)
        waiting = np.flatnonzero(energy > middle + STRAINED * spread)
        if not len(waiting):
            break
        again = again or len(waiting)
    return Folded(best, energy, again)


def _fold_once(
    folder: Folder,
    beads: FloatArray,
    hands: SignArray,
    number: IntArray,
    name: tuple[int, int, int],
    *,
    cold: float,
) -> tuple[FloatArray, FloatArray]:
    """Fold molecules with the random numbers of ``number`` and ``name``: positions, energies."""
    dice = np.random.default_rng([*name, *folder.molecule.kind.name.encode()])
    positions = _arrange(folder, beads, hands, dice)
    energy = np.empty(len(beads))
    wanted = np.ascontiguousarray(hands, np.float64)
    stream = np.array(name, np.int64)
    _anneal_all(folder.script, folder.target.kt, cold, beads, wanted, positions, number, stream, energy)
    got = handedness(positions, folder.script.centres)
    wrong = ((hands != 0) & (got != hands)).sum(axis=1) + (got == 0).sum(axis=1)
    return positions, energy + WRONG * wrong


def infer_hands(
    folder: Folder, beads: FloatArray, hands: SignArray, *, seed: int, frame: int, sample: int
) -> SignArray:
    """Hands of stereocentres, where they are not given: those with which a molecule fits its beads best.

    Molecules are folded and cooled to almost no temperature, with one hand after the other turned; what
    lowers the energy is kept, until nothing does.

    Parameters
    ----------
    folder, beads, hands, seed, frame, sample
        As for :func:`fold`.

    Returns
    -------
    (copies, c) 1 or -1.
    """
    if np.all(hands != 0):
        return hands
    dice = np.random.default_rng([seed, frame, sample, INFERRING])
    best = np.where(hands == 0, dice.choice(np.array([-1, 1], np.int8), size=hands.shape), hands)
    everyone = np.arange(len(beads))
    _, energy = _fold_once(folder, beads, best, everyone, (seed, frame, INFERRING), cold=COLD)
    attempt = INFERRING
    for _ in range(ROUNDS):
        changed = False
        for turned in _turns(hands.shape[1]):
            open_ = np.flatnonzero((hands[:, turned] == 0).all(axis=1))
            trial = best[open_]
            trial[:, turned] *= -1
            attempt += 1
            _, found = _fold_once(folder, beads[open_], trial, open_, (seed, frame, attempt), cold=COLD)
            better = found < energy[open_]
            best[open_[better]], energy[open_[better]] = trial[better], found[better]
            changed |= bool(better.any())
        if not changed:
            break
    return best


def _turns(centres: int) -> list[list[int]]:
    """Centres turned together: each alone, then neighbours in pairs."""
    return [[k] for k in range(centres)] + [[k, k + 1] for k in range(centres - 1)]


INFERRING = 1 << 20  # sets these random numbers apart
COLD = 0.02  # times the temperature
ROUNDS = 3


WRONG = 1e6  # kJ/mol, for each hand that came out wrong


def _arrange(folder: Folder, beads: FloatArray, hands: SignArray, dice: np.random.Generator) -> FloatArray:
    """Put conformers of all fragments near their beads, turned towards their neighbours: (copies, n, 3)."""
    copies = len(beads)
    middles = np.einsum("fb,cbd->cfd", folder.layout, beads)
    positions = np.zeros((copies, folder.molecule.kind.n_atoms, 3))
    home = {int(i): k for k, f in enumerate(folder.fragments) for i in f.own}
    for number, fragment in enumerate(folder.fragments):
        atoms = fragment.atoms
        shapes = _shapes(folder, number, hands, dice)
        centre = np.isin(atoms, fragment.centre)
        shapes = shapes - shapes[:, centre].mean(axis=1, keepdims=True)
        shapes = np.einsum("cij,caj->cai", _random_rotations(copies, dice), shapes)
        shell = np.flatnonzero(np.isin(atoms, fragment.shell))
        if len(shell):
            towards = middles[:, [home[int(atoms[s])] for s in shell]] - middles[:, number, None]
            towards = towards + 1e-3 * dice.normal(size=towards.shape)
            shapes = np.einsum("cij,caj->cai", _turn_onto(shapes[:, shell], towards), shapes)
        own = np.isin(atoms, fragment.own)
        positions[:, atoms[own]] = middles[:, number, None] + shapes[:, own]
    return positions + 0.005 * dice.normal(size=positions.shape)


def _shapes(folder: Folder, number: int, hands: SignArray, dice: np.random.Generator) -> FloatArray:
    """A conformer of one fragment for each copy, of the copy's hands: (copies, m, 3)."""
    atoms, piece = folder.fragments[number].atoms, folder.pieces[number]
    centres = stereocentres(folder.molecule.kind)
    inside = [k for k, c in enumerate(centres) if np.isin(c[c >= 0], atoms).all()]
    patterns, which = np.unique(hands[:, inside], axis=0, return_inverse=True)
    found = np.empty((len(hands), len(atoms), 3))
    for k, pattern in enumerate(patterns):
        key = (piece.key, tuple(pattern.tolist()))
        if key not in folder.pools:
            folder.pools[key] = draw_conformers(
                piece, tuple(pattern.tolist()), kt=folder.target.kt, count=CONFORMERS, seed=folder.seed
            )
        rows = np.flatnonzero(which.reshape(-1) == k)
        found[rows] = folder.pools[key][dice.integers(CONFORMERS, size=len(rows))]
    return found


def _random_rotations(count: int, dice: np.random.Generator) -> FloatArray:
    """(count, 3, 3), all orientations equally likely."""
    q, r = np.linalg.qr(dice.normal(size=(count, 3, 3)))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    q[np.linalg.det(q) < 0] *= -1
    return np.asarray(q, np.float64)


def _turn_onto(points: FloatArray, directions: FloatArray) -> FloatArray:
    """Rotations (c, 3, 3) that bring points (c, k, 3) closest to directions (Kabsch 1976)."""
    unit = directions / np.linalg.norm(directions, axis=2, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("cki,ckj->cij", points, unit))
    turned = np.einsum("cji,ckj->cik", vt, u)
    flip = np.ones((len(points), 3))
    flip[:, 2] = np.sign(np.linalg.det(turned))
    return np.asarray(np.einsum("cji,cj,ckj->cik", vt, flip, u), np.float64)


# --- dynamics --------------------------------------------------------------------------------------


@compiled()
def _forces(script: Any, x: Any, beads: Any, hands: Any, grown: float, stiffness: float, force: Any) -> None:
    """Forces of terms, hands and beads; ``grown`` from 0 to 1 how far the annealing has got."""
    force[:] = 0.0
    bend = min(1.0, 0.1 + 1.4 * grown)
    for t in range(len(script.form)):
        scale = 1.0 if script.form[t] in (DISTANCE, QUARTIC) else bend
        i, j, k, m = script.atoms[t, 0], script.atoms[t, 1], script.atoms[t, 2], script.atoms[t, 3]
        term_force(script.form[t], script.parameters[t], scale, x, i, j, k, m, force)
    for c in range(len(script.centres)):
        if hands[c] != 0.0:
            upright(x, script.centres[c], hands[c], force)
    for b in range(len(beads)):
        for d in range(3):
            off = -beads[b, d]
            for q in range(script.bead_start[b], script.bead_start[b + 1]):
                off += script.weight[q] * x[script.weighed[q], d]
            for q in range(script.bead_start[b], script.bead_start[b + 1]):
                force[script.weighed[q], d] -= stiffness * script.weight[q] * off


@compiled()
def _anneal(script: Any, kt: float, cold: float, beads: Any, hands: Any, x: Any, dice: Any) -> float:
    """Langevin dynamics of one molecule from hot and loose to ``cold`` times kT; its energy then."""
    n = len(x)
    velocity, force = np.zeros((n, 3)), np.zeros((n, 3))
    kept = math.exp(-FRICTION * TIME_STEP)
    for step in range(STEPS):
        grown = step / STEPS
        heat = kt * (HOT + (cold - HOT) * min(1.0, 1.4 * grown))
        spread = LOOSE * (TIGHT / LOOSE) ** min(1.0, 1.4 * grown)
        _forces(script, x, beads, hands, grown, kt / spread**2, force)
        kick = math.sqrt((1.0 - kept * kept) * heat / MASS)
        for i in range(n):
            for d in range(3):
                v = kept * (velocity[i, d] + TIME_STEP * force[i, d] / MASS) + kick * gaussian(dice)
                limit = LONGEST_STEP / TIME_STEP
                v = max(-limit, min(limit, v))
                velocity[i, d] = v
                x[i, d] += TIME_STEP * v
    energy = 0.0
    for t in range(len(script.form)):
        i, j, k, m = script.atoms[t, 0], script.atoms[t, 1], script.atoms[t, 2], script.atoms[t, 3]
        if script.form[t] not in (DISTANCE, QUARTIC):
            energy += term_energy(script.form[t], script.parameters[t], x, i, j, max(k, 0), max(m, 0))
    for b in range(len(beads)):
        for d in range(3):
            off = -beads[b, d]
            for q in range(script.bead_start[b], script.bead_start[b + 1]):
                off += script.weight[q] * x[script.weighed[q], d]
            energy += 0.5 * kt / TIGHT**2 * off * off
    return energy


@compiled(parallel=True)
def _anneal_all(
    script: Any,
    kt: float,
    cold: float,
    beads: Any,
    hands: Any,
    positions: Any,
    number: Any,
    name: Any,
    energy: Any,
) -> None:
    """Anneal molecules (copies, n, 3) in place; ``number`` and ``name`` tell their random numbers apart."""
    for copy in nb.prange(len(positions)):
        dice = np.empty(1, np.uint64)
        seeded(dice, name[0], name[1], name[2], number[copy])
        energy[copy] = _anneal(script, kt, cold, beads[copy], hands[copy], positions[copy], dice)


__all__ = ["Folded", "Folder", "IntArray", "fold", "make_folder"]

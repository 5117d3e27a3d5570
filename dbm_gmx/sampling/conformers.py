"""Inner conformers: shapes a piece of a molecule takes by itself at the temperature.

A piece is a fragment with its shell: what :mod:`~dbm_gmx.growth` places at once.  Its conformers are drawn
from the Boltzmann distribution of the terms and pairs that lie wholly inside, by Metropolis walks that
start from minimised structures of the right chirality.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import networkx as nx
import numpy as np
from scipy.optimize import minimize

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.stereo import FLAT, stereocentres
from dbm_gmx.chemistry.topology import chemical_graph
from dbm_gmx.compiled import compiled
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.hamiltonian import MoleculeHamiltonian, Hamiltonian
from dbm_gmx.forcefield.terms import term_energy
from dbm_gmx.sampling.random_numbers import gaussian, seeded, uniform
from dbm_gmx.sampling.rotations import turn_matrix

STARTS = 12
"""Minimised structures; as many again for every stereocentre."""

WALKERS = 64
SETTLE = 120  # passes over all atoms before the first conformer is taken
THIN = 25  # passes between two conformers of a walk
HEAT = 3.0  # kT above the lowest minimum at which a start is a tenth as likely to be walked from

ROUGH = 0.04  # nm, noise on the starting structures
STEP = 1e-6  # nm, of the numerical gradient
HELD = 0.7  # normalised volume of a stereocentre below which the minimisation pushes
PUSH = 5000.0  # kJ/mol


@dataclass(frozen=True, eq=False)
class Piece:
    """Some atoms of a molecule type and the force field among them; rows count within the piece.

    Attributes
    ----------
    names
        For messages.
    form, atoms, parameters
        Terms, see :class:`~dbm_gmx.forcefield.terms.Force`.
    pairs, pair_parameters
        (p, 2) and (p, 3): ``c6, c12, qq`` of the pairs that interact; no cut-offs.
    bonds
        (b, 2).
    centres
        (c, 5) stereocentres, see :func:`~dbm_gmx.chemistry.stereo.stereocentres`.
    """

    names: tuple[str, ...]
    form: IntArray
    atoms: IntArray
    parameters: FloatArray
    pairs: IntArray
    pair_parameters: FloatArray
    bonds: IntArray
    centres: IntArray

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for pieces with the same conformers."""
        arrays = (self.form, self.atoms, self.parameters, self.pairs, self.pair_parameters)
        return (len(self.names), *(a.tobytes() for a in (*arrays, self.bonds, self.centres)))


def make_piece(target: Hamiltonian, molecule: MoleculeHamiltonian, atoms: IntArray) -> Piece:
    """Take atoms (m,) in increasing order out of a molecule type."""
    row = {int(atom): k for k, atom in enumerate(atoms)}
    graph, terms_of, centre_of = _index(molecule)
    terms = sorted({t for i in row for t in terms_of[i]})
    inside = np.array([t for t in terms if _within(molecule.terms.atoms[t], row)], np.int64)
    centres = [[row.get(int(j), -1) for j in centre_of[i]] for i in row if _within(centre_of.get(i), row)]
    pairs = [(i, j) for i in row for j in row if i < j]
    parameters = pair_parameters(target, molecule, pairs)
    acting = np.any(parameters, axis=1)
    return Piece(
        tuple(molecule.moltype.names[i] for i in row),
        molecule.terms.form[inside],
        np.array(
            [[row.get(i, -1) for i in term] for term in molecule.terms.atoms[inside].tolist()], np.int64
        ).reshape(-1, 4),
        molecule.terms.parameters[inside],
        np.array([(row[i], row[j]) for i, j in pairs], np.int64).reshape(-1, 2)[acting],
        parameters[acting],
        np.array(
            sorted((row[i], row[j]) for i in row for j in graph[i] if i < j and j in row), np.int64
        ).reshape(-1, 2),
        np.array(centres, np.int64).reshape(-1, 5),
    )


def _within(atoms: IntArray | None, row: dict[int, int]) -> bool:
    return atoms is not None and all(int(i) in row for i in atoms if i >= 0)


@lru_cache(maxsize=8)
def _index(molecule: MoleculeHamiltonian) -> tuple[nx.Graph, list[list[int]], dict[int, IntArray]]:
    """Graph, terms of each atom, and stereocentres by atom."""
    terms: list[list[int]] = [[] for _ in range(molecule.moltype.n_atoms)]
    for t, atoms in enumerate(molecule.terms.atoms.tolist()):
        for i in atoms:
            if i >= 0:
                terms[i].append(t)
    return chemical_graph(molecule.moltype), terms, {int(c[0]): c for c in stereocentres(molecule.moltype)}


def pair_parameters(target: Hamiltonian, molecule: MoleculeHamiltonian, pairs: list[tuple[int, int]]) -> FloatArray:
    """(p, 3) ``c6, c12, qq`` of pairs i < j of a molecule, all that acts between them; 0 if excluded."""
    special = _specials(molecule)
    found = np.zeros((len(pairs), 3))
    for number, (i, j) in enumerate(pairs):
        c6, c12, qq, _, usual = special.get((i, j), (0.0, 0.0, 0.0, 0.0, 1.0))
        types = molecule.types[i], molecule.types[j]
        charges = molecule.charges[i] * molecule.charges[j]
        found[number] = c6 + usual * target.c6[types], c12 + usual * target.c12[types], qq + usual * charges
    return found


@lru_cache(maxsize=8)
def _specials(molecule: MoleculeHamiltonian) -> dict[tuple[int, ...], FloatArray]:
    pairs = map(tuple, molecule.special.tolist())
    return dict(zip(pairs, molecule.special_parameters, strict=True))


def draw_conformers(
    piece: Piece, chirality: tuple[int, ...], *, kt: float, count: int, seed: int = 1
) -> FloatArray:
    """Draw conformers.

    Parameters
    ----------
    piece
        The atoms and their force field.
    chirality
        1 or -1 for each stereocentre, 0 where both are wanted as the force field has them.
    kt
        kJ/mol.
    count
        How many.
    seed
        Of the random numbers.

    Returns
    -------
    (count, m, 3) nm, in no particular place.

    Raises
    ------
    InputError
        If there is no structure with these hands.
    """
    m = len(piece.names)
    if m == 1:
        return np.zeros((count, 1, 3))
    arrays = _arrays(piece)
    rng = np.random.default_rng(seed)
    minima, energies = _minima(piece, arrays, np.array(chirality, np.int64), rng)
    odds = np.exp(-(energies - energies.min()) * np.log(10) / (HEAT * kt))
    first = minima[rng.choice(len(minima), WALKERS, p=odds / odds.sum())]
    each = -(-count // WALKERS)
    found = np.zeros((WALKERS, each, m, 3))
    _walk(first, arrays, np.array(chirality, np.int64), kt, seed, found)
    return found.transpose(1, 0, 2, 3).reshape(-1, m, 3)[:count]


Arrays = tuple[Any, ...]


def _arrays(piece: Piece) -> Arrays:
    """What the compiled functions take: terms and pairs by atom, the neighbour of atoms with one bond."""
    m = len(piece.names)
    rows = [np.flatnonzero((piece.atoms == i).any(axis=1)) for i in range(m)]
    start = np.cumsum([0, *map(len, rows)])
    c6, c12, qq = np.zeros((3, m, m))
    for (i, j), values in zip(piece.pairs, piece.pair_parameters, strict=True):
        for a, b in ((i, j), (j, i)):
            c6[a, b], c12[a, b], qq[a, b] = values
    partner = np.full(m, -1, np.int64)
    degree = np.bincount(piece.bonds.reshape(-1), minlength=m)
    for i, j in piece.bonds:
        for a, b in ((i, j), (j, i)):
            if degree[a] == 1:
                partner[a] = b
    terms = np.concatenate([np.zeros(0, np.int64), *rows])
    return piece.form, piece.atoms, piece.parameters, start, terms, c6, c12, qq, partner, piece.centres


def _minima(
    piece: Piece, arrays: Arrays, chirality: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Structures (k, m, 3) of the right hands and their energies (k,)."""
    m = len(piece.names)
    outline = _outline(piece)
    found, energies = [], []
    for _ in range(STARTS * (1 + len(chirality))):
        x = outline + rng.normal(scale=ROUGH, size=(m, 3))
        for push in (PUSH, 0.0) if np.any(chirality) else (0.0,):
            result = minimize(_objective, x.reshape(-1), (arrays, chirality, push), "L-BFGS-B", jac=True)
            x = result.x.reshape(m, 3)
        if _all_right(x, piece.centres, chirality):
            found.append(x)
            energies.append(float(result.fun))
    if not found:
        raise InputError(
            f"no structure of the atoms {' '.join(piece.names)} has the chirality {chirality.tolist()}"
        )
    # without prescribed hands every structure is as good as its mirror image, if the force field says so
    if not np.all(chirality) and len(chirality):
        for x in [-x for x in found]:
            if _all_right(x, piece.centres, chirality):
                found.append(x)
                energies.append(_objective(x.reshape(-1), arrays, chirality, 0.0)[0])
    return np.array(found), np.array(energies)


def _outline(piece: Piece) -> FloatArray:
    """(m, 3) points whose distances resemble those along the bonds (classical scaling)."""
    m = len(piece.names)
    graph = nx.Graph()
    graph.add_nodes_from(range(m))
    graph.add_edges_from(piece.bonds.tolist())
    apart = np.full((m, m), float(m))
    for i, lengths in nx.all_pairs_shortest_path_length(graph):
        for j, steps in lengths.items():
            apart[i, j] = steps
    distances = 0.15 * apart**0.8  # a chain of bonds is not straight
    centring = np.eye(m) - 1 / m
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    points = np.zeros((m, 3))
    points[:, : min(3, m)] = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :3]
    return points


def _objective(x: FloatArray, arrays: Arrays, chirality: IntArray, push: float) -> tuple[float, FloatArray]:
    """Energy and gradient."""
    gradient = np.zeros((len(x) // 3, 3))
    energy = _energy_and_gradient(x.reshape(-1, 3).copy(), arrays, chirality, push, gradient)
    return energy, gradient.reshape(-1)


@compiled()
def _volume(x: Any, centre: Any) -> float:
    """Normalised volume about a stereocentre, see :func:`~dbm_gmx.chemistry.stereo.chirality_of`."""
    arms = np.zeros((4, 3))
    many = 4 if centre[4] >= 0 else 3
    for k in range(many):
        norm = 0.0
        for d in range(3):
            arms[k, d] = x[centre[k + 1], d] - x[centre[0], d]
            norm += arms[k, d] ** 2
        for d in range(3):
            arms[k, d] /= np.sqrt(norm)
    total = 0.0
    for k in range(4):  # the one left out
        if many == 3 and k < 3:
            continue
        i, j = (1 if k == 0 else 0), (1 if k > 1 else 2)
        m = 2 if k == 3 else 3
        volume = (
            (arms[i, 1] * arms[j, 2] - arms[i, 2] * arms[j, 1]) * arms[m, 0]
            + (arms[i, 2] * arms[j, 0] - arms[i, 0] * arms[j, 2]) * arms[m, 1]
            + (arms[i, 0] * arms[j, 1] - arms[i, 1] * arms[j, 0]) * arms[m, 2]
        )
        total += volume if k % 2 else -volume
    return total / (4.0 if many == 4 else 1.0)


@compiled()
def _all_right(x: Any, centres: Any, chirality: Any) -> bool:
    right = True
    for k in range(len(chirality)):
        right &= chirality[k] == 0 or chirality[k] * _volume(x, centres[k]) > 0.05
    return right


@compiled()
def _atom_energy(i: int, x: Any, arrays: Any) -> float:
    """Energy of the terms and pairs of an atom."""
    form, atoms, parameters, start, terms, c6, c12, qq, _, _ = arrays
    energy = 0.0
    for n in range(start[i], start[i + 1]):
        t = terms[n]
        energy += term_energy(form[t], parameters[t], x, atoms[t, 0], atoms[t, 1], atoms[t, 2], atoms[t, 3])
    for j in range(len(x)):
        if c12[i, j] != 0.0 or qq[i, j] != 0.0 or c6[i, j] != 0.0:
            square = 0.0
            for d in range(3):
                square += (x[i, d] - x[j, d]) ** 2
            inverse = 1.0 / max(square, 1e-3)  # finite where two atoms coincide
            six = inverse * inverse * inverse
            energy += c12[i, j] * six * six - c6[i, j] * six + qq[i, j] * np.sqrt(inverse)
    return energy


@compiled()
def _strain(x: Any, centre: Any, sign: int, push: float) -> float:
    """Penalty on a stereocentre that is flat or has the wrong hand."""
    if sign == 0 or push == 0.0:
        return 0.0
    short = max(0.0, HELD - sign * _volume(x, centre))
    return push * short * short


@compiled()
def _strain_of_atom(i: int, x: Any, centres: Any, chirality: Any, push: float) -> float:
    """Penalty on the stereocentres an atom is part of."""
    total = 0.0
    for k in range(len(chirality)):
        for n in range(5):
            if centres[k, n] == i:
                total += _strain(x, centres[k], chirality[k], push)
    return total


@compiled()
def _energy_and_gradient(x: Any, arrays: Any, chirality: Any, push: float, gradient: Any) -> float:
    form, atoms, parameters = arrays[0], arrays[1], arrays[2]
    c6, c12, qq, centres = arrays[5], arrays[6], arrays[7], arrays[9]
    for i in range(len(x)):
        for d in range(3):
            here = x[i, d]
            x[i, d] = here + STEP
            above = _atom_energy(i, x, arrays) + _strain_of_atom(i, x, centres, chirality, push)
            x[i, d] = here - STEP
            below = _atom_energy(i, x, arrays) + _strain_of_atom(i, x, centres, chirality, push)
            x[i, d] = here
            gradient[i, d] = (above - below) / (2.0 * STEP)
    energy = 0.0
    for t in range(len(form)):
        energy += term_energy(form[t], parameters[t], x, atoms[t, 0], atoms[t, 1], atoms[t, 2], atoms[t, 3])
    for i in range(len(x)):
        for j in range(i):
            square = 0.0
            for d in range(3):
                square += (x[i, d] - x[j, d]) ** 2
            inverse = 1.0 / max(square, 1e-3)
            six = inverse * inverse * inverse
            energy += c12[i, j] * six * six - c6[i, j] * six + qq[i, j] * np.sqrt(inverse)
    for k in range(len(chirality)):
        energy += _strain(x, centres[k], chirality[k], push)
    return energy


@compiled()
def _turn_about(x: Any, i: int, pivot: int, angle: float, rng: Any, matrix: Any) -> None:
    """Turn atom i about another, by some angle about an axis of any direction."""
    turn_matrix(gaussian(rng), gaussian(rng), gaussian(rng), angle, matrix)
    ax, ay, az = x[i, 0] - x[pivot, 0], x[i, 1] - x[pivot, 1], x[i, 2] - x[pivot, 2]
    for d in range(3):
        x[i, d] = x[pivot, d] + matrix[d, 0] * ax + matrix[d, 1] * ay + matrix[d, 2] * az


@compiled()
def _allowed(i: int, x: Any, old: Any, centres: Any, chirality: Any) -> bool:
    """Whether no stereocentre of atom i has come nearer to losing its hand than is usual."""
    for k in range(len(chirality)):
        if chirality[k] == 0:
            continue
        for n in range(5):
            if centres[k, n] == i:
                volume = chirality[k] * _volume(x, centres[k])
                if volume < FLAT:
                    here = x[i].copy()
                    x[i] = old
                    before = chirality[k] * _volume(x, centres[k])
                    x[i] = here
                    if volume < before:
                        return False
    return True


@compiled()
def _walk(first: Any, arrays: Any, chirality: Any, kt: float, seed: int, found: Any) -> None:
    """Metropolis walks from ``first`` (walkers, m, 3) into ``found`` (walkers, each, m, 3)."""
    partner, centres = arrays[8], arrays[9]
    walkers, each, m = found.shape[0], found.shape[1], found.shape[2]
    rng = np.zeros(1, np.uint64)
    matrix = np.zeros((3, 3))
    old = np.zeros(3)
    width = np.zeros((m, 2))  # of shifts (nm) and turns (radians) of each atom, fitted while settling
    width[:, 0], width[:, 1] = 0.004, 0.1
    for w in range(walkers):
        seeded(rng, seed, w, 0, 0)
        x = first[w].copy()
        for sweep in range(SETTLE + (each - 1) * THIN + 1):
            for i in range(m):
                turns = partner[i] >= 0 and uniform(rng) < 0.7
                kind = 1 if turns else 0
                old[:] = x[i]
                before = _atom_energy(i, x, arrays)
                if turns:
                    _turn_about(x, i, partner[i], width[i, 1] * gaussian(rng), rng, matrix)
                else:
                    for d in range(3):
                        x[i, d] += width[i, 0] * gaussian(rng)
                change = _atom_energy(i, x, arrays) - before
                taken = uniform(rng) < np.exp(-change / kt) and _allowed(i, x, old, centres, chirality)
                if not taken:
                    x[i] = old
                if sweep < SETTLE:
                    width[i, kind] *= 1.03 if taken else 0.98
            late = sweep - SETTLE
            if late >= 0 and late % THIN == 0:
                found[w, late // THIN] = x

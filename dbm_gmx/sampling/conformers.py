"""Conformers of fragments: shapes a piece of a molecule takes by itself at the temperature.

A piece is a fragment with its shell and the virtual sites that these make: what
:mod:`~dbm_gmx.sampling.growth` places at once.  Its conformers are
drawn from the Boltzmann distribution of the terms and pairs that lie wholly inside, by Metropolis walks that
start from minimised structures of the right chirality.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.fragments import Fragment
from dbm_gmx.chemistry.stereo import FLAT, stereo_elements, stereo_volume
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph
from dbm_gmx.chemistry.virtual_sites import (
    NO_SITES,
    VirtualSites,
    inner_sites,
    made_of,
    place_sites,
    some_sites,
    virtual_sites,
)
from dbm_gmx.compiled import compiled
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, MoleculeHamiltonian
from dbm_gmx.forcefield.nonbonded import clamped, inverse_distance, inverse_sixth, lennard_jones
from dbm_gmx.forcefield.terms import (
    ATOMS,
    BondedTerms,
    chosen_terms,
    sum_of_terms,
    term_energy,
    term_parameters,
    term_rows,
)
from dbm_gmx.sampling.annealing import (
    Contents,
    Window,
    WindowArrays,
    descend,
    energy_among,
    make_window_arrays,
)
from dbm_gmx.sampling.kept import keep, key_of, read_kept
from dbm_gmx.sampling.random_numbers import Stream, Use, gaussian, seeded, uniform
from dbm_gmx.sampling.rotations import turn_matrix
from dbm_gmx.sampling.surroundings import Surroundings, of_pairs

STARTS = 12
"""Minimised structures; as many again for every stereo element."""

DESCENT = 400
"""Steps to a minimum, at most."""

WALKERS = 64
SETTLING = 120
"""Passes over all atoms before the first conformer is taken."""

THIN = 25
"""Passes between two conformers of a walk."""

HEAT = 3.0
"""kT above the lowest minimum at which a start is a tenth as likely to be walked from."""

KEPT = 16
"""Atoms of a piece from which on its conformers are kept on disk; those of smaller ones are soon drawn."""

ROUGH = 0.04
"""Noise on the starting structures, nm."""

RIGHT = 0.05
"""Volume of a stereo element from which on its state counts as given."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Some atoms of a molecule type and the force field among them; rows count within the piece.

    Attributes
    ----------
    names
        For messages.
    terms
        Terms inside.
    pairs, pair_parameters
        (p, 2) and (p, 3): ``c6, c12, qq`` of the pairs that interact; no cut-offs.
    bonds
        (b, 2).
    centres
        (c, 5) stereo elements, see :func:`~dbm_gmx.chemistry.stereo.stereo_elements`.
    virtual
        Virtual sites.
    """

    names: tuple[str, ...]
    terms: BondedTerms
    pairs: IntArray
    pair_parameters: FloatArray
    bonds: IntArray
    centres: IntArray
    virtual: VirtualSites = NO_SITES

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for pieces with the same conformers."""
        of = self.terms
        terms = (of.form, of.atoms, of.parameters, of.tables)
        arrays = (*terms, self.pairs, self.pair_parameters, self.bonds, self.centres, *self.virtual)
        return (len(self.names), *(a.tobytes() for a in arrays))


def piece_atoms(moltype: MoleculeType, fragment: Fragment) -> IntArray:
    """(m,) atoms of the piece of a fragment, in the order of the molecule."""
    sites = virtual_sites(moltype)
    return np.union1d(fragment.atoms, sites.virtual[inner_sites(sites, fragment.atoms)])


def make_piece(hamiltonian: Hamiltonian, molecule: MoleculeHamiltonian, atoms: IntArray) -> Piece:
    """Take atoms (m,) in increasing order out of a molecule type."""
    row = {int(atom): k for k, atom in enumerate(atoms)}
    names, graph, terms_of, elements_of = _index(molecule)
    touching = sorted({t for i in row for t in terms_of[i]})
    inside = np.array([t for t in touching if _within(molecule.terms.atoms[t].tolist(), row)], np.int64)
    elements = stereo_elements(molecule.moltype)[sorted(k for i in row for k in elements_of.get(i, ()))]
    centres = [[row[i] if i >= 0 else i for i in e] for e in elements.tolist() if _within(e, row)]
    pairs = np.array([(i, j) for i in row for j in row if i < j], np.int64).reshape(-1, 2)
    parameters = pair_parameters(hamiltonian, molecule, pairs)
    acting = np.any(parameters, axis=1)
    rows = [[row.get(i, -1) for i in term] for term in molecule.terms.atoms[inside].tolist()]
    sites = virtual_sites(molecule.moltype)
    built = inner_sites(sites, atoms)
    links = [(made_of(sites, v)[0], sites.virtual[v]) for v in built]
    pairs_of = [(i, j) for i in row for j in graph[i] if i < j and j in row] + links
    bonds = sorted({(row[min(pair)], row[max(pair)]) for pair in pairs_of})
    return Piece(
        tuple(names[i] for i in row),
        chosen_terms(molecule.terms, inside, np.array(rows, np.int64).reshape(-1, ATOMS)),
        np.array([(row[i], row[j]) for i, j in pairs.tolist()], np.int64).reshape(-1, 2)[acting],
        parameters[acting],
        np.array(bonds, np.int64).reshape(-1, 2),
        np.array(centres, np.int64).reshape(-1, 5),
        some_sites(sites, built, atoms),
    )


def _within(atoms: list[int], row: dict[int, int]) -> bool:
    return all(i in row for i in atoms if i >= 0)


@lru_cache(maxsize=8)
def _index(
    molecule: MoleculeHamiltonian,
) -> tuple[list[str], nx.Graph, list[list[int]], dict[int, list[int]]]:
    """Names, graph, terms of each atom, and stereo elements by their first atom."""
    terms: list[list[int]] = [[] for _ in range(molecule.moltype.n_atoms)]
    for t, atoms in enumerate(molecule.terms.atoms.tolist()):
        for i in atoms:
            if i >= 0:
                terms[i].append(t)
    elements: dict[int, list[int]] = {}
    for number, first in enumerate(stereo_elements(molecule.moltype)[:, 0].tolist()):
        elements.setdefault(first, []).append(number)
    return molecule.moltype.names, chemical_graph(molecule.moltype), terms, elements


def pair_parameters(hamiltonian: Hamiltonian, molecule: MoleculeHamiltonian, pairs: IntArray) -> FloatArray:
    """(p, 3) ``c6, c12, qq`` of pairs (p, 2) i < j of a molecule, all that acts there; 0 if excluded."""
    (i, j), number = molecule.types[pairs].T, len(molecule.types)
    qq = molecule.charges[pairs].prod(axis=1)
    found = np.stack([hamiltonian.c6[i, j], hamiltonian.c12[i, j], qq], axis=1)
    known, order = _specials(molecule)
    wanted = pairs @ [number, 1]
    row = np.searchsorted(known, wanted, side="right") - 1
    special = np.flatnonzero((row >= 0) & (known[row] == wanted)) if len(known) else row[:0]
    own = molecule.special_parameters[order[row[special]]]
    found[special] = own[:, :3] + own[:, 4:] * found[special]
    return found


@lru_cache(maxsize=8)
def _specials(molecule: MoleculeHamiltonian) -> tuple[IntArray, IntArray]:
    """Numbers of the special pairs i < j of n atoms, i n + j, in increasing order, and their rows."""
    numbers = np.asarray(molecule.special @ [len(molecule.types), 1], np.int64)
    order = np.argsort(numbers, kind="stable")
    return numbers[order], order


class ConformerPools:
    """Conformers of pieces, drawn when they are first asked for; several threads may ask.

    What is drawn follows from the piece and the seed alone, not from who asks first.  Conformers of large
    pieces are kept on disk for other runs (:mod:`~dbm_gmx.sampling.kept`).

    Parameters
    ----------
    kt
        kJ/mol.
    count
        Conformers of each piece and chirality.
    seed
        Of the random numbers.
    """

    def __init__(self, kt: float, count: int, seed: int):
        self.kt, self.count, self.stream = kt, count, Stream((seed, Use.CONFORMERS))
        self._pools: dict[tuple[object, ...], FloatArray] = {}
        self._absent: set[tuple[object, ...]] = set()
        self._drawing = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """What was drawn goes along to another process."""
        return _pools_of, (self.kt, self.count, self.stream.path[0], dict(self._pools))

    def __call__(self, piece: Piece, chirality: tuple[int, ...]) -> FloatArray:
        """Conformers (count, m, 3) of a piece, see :func:`draw_conformers`."""
        key = (piece.key, chirality)
        with self._drawing:
            if key not in self._pools:
                self._pools[key] = self._drawn(piece, chirality)
            return self._pools[key]

    def has(self, piece: Piece, chirality: tuple[int, ...]) -> bool:
        """Whether there are conformers of a piece with some states."""
        key = (piece.key, chirality)
        if key not in self._absent:
            try:
                self(piece, chirality)
            except InputError:
                self._absent.add(key)
        return key not in self._absent

    def _drawn(self, piece: Piece, chirality: tuple[int, ...]) -> FloatArray:
        """Conformers of a piece, of a large one those that another run has drawn, if it has."""
        if len(piece.names) < KEPT:
            return draw_conformers(piece, chirality, self.kt, self.count, self.stream)
        shape = self.count, len(piece.names), 3
        name = key_of((piece.key, chirality, self.kt, self.count, self.stream.path))
        found = read_kept(name, shape)
        if found is None:
            found = draw_conformers(piece, chirality, self.kt, self.count, self.stream)
            keep(name, found)
        return found


def _pools_of(
    kt: float, count: int, seed: int, drawn: dict[tuple[object, ...], FloatArray]
) -> ConformerPools:
    pools = ConformerPools(kt, count, seed)
    pools._pools.update(drawn)
    return pools


def draw_conformers(
    piece: Piece, chirality: tuple[int, ...], kt: float, count: int, stream: Stream
) -> FloatArray:
    """Draw conformers.

    Parameters
    ----------
    piece
        The atoms and their force field.
    chirality
        1 or -1 for each stereo element, 0 where both are wanted as the force field has them.
    kt
        kJ/mol.
    count
        How many.
    stream
        Random numbers.

    Returns
    -------
    (count, m, 3) nm, in no particular place.

    Raises
    ------
    InputError
        If there is no structure with this chirality.
    """
    m = len(piece.names)
    if m == 1:
        return np.zeros((count, 1, 3))
    rng = stream.generator
    minima, energies = _minima(piece, np.array(chirality, np.int64), kt, rng)
    odds = np.exp(-(energies - energies.min()) * np.log(10) / (HEAT * kt))
    first = minima[rng.choice(len(minima), WALKERS, p=odds / odds.sum())]
    found = np.zeros((WALKERS, -(-count // WALKERS), m, 3))
    _walk(first, _piece_arrays(piece, chirality, kt), stream.key, found)
    return found.transpose(1, 0, 2, 3).reshape(-1, m, 3)[:count]


# --- minima ------------------------------------------------------------------------------------------


def _minima(
    piece: Piece, chirality: IntArray, kt: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Structures (k, m, 3) of the right chirality and their energies (k,)."""
    m = len(piece.names)
    inside = Contents(piece.terms, piece.centres, sp.csr_matrix((0, m)), virtual=piece.virtual)
    arrays = make_window_arrays(inside, np.arange(m), kt)
    pairs, outline = of_pairs(np.arange(m), piece.pairs, piece.pair_parameters), _outline(piece)
    held, let = chirality.astype(np.float64), np.zeros(len(chirality))
    # of a cage, several rings that share bonds, no noise makes the mirror image, which beads tell from it and
    # stereo elements may ask for
    cage = len(piece.bonds) > m
    found, energies = [], []
    for number in range(STARTS * (1 + len(chirality))):
        x = outline * (-1 if cage and number % 2 else 1) + rng.normal(scale=ROUGH, size=(m, 3))
        if held.any():
            _to_minimum(arrays, pairs, held, x)
        energy = _to_minimum(arrays, pairs, let, x)
        if _all_right(x, piece.centres, chirality):
            found.append(x)
            energies.append(energy)
    if not found:
        raise InputError(
            f"no structure of the atoms {' '.join(piece.names)} has the chirality {chirality.tolist()}"
        )
    # without prescribed chirality every structure is as good as its mirror image, if the force field says so
    if not np.all(chirality) and len(chirality):
        for x in [-x for x in found]:
            place_sites(x, piece.virtual)
            if _all_right(x, piece.centres, chirality):
                found.append(x)
                energies.append(_energy(arrays, pairs, let, x))
    return np.array(found), np.array(energies)


@compiled(makes_arrays=True)
def _to_minimum(arrays: WindowArrays, pairs: Surroundings, chirality: Any, x: Any) -> float:
    """Bring a piece to a minimum, in place; its energy, kJ/mol."""
    descend(arrays, Window(np.zeros((0, 3)), chirality, None), DESCENT, pairs, x)
    return _energy(arrays, pairs, chirality, x)


@compiled(makes_arrays=True)
def _energy(arrays: WindowArrays, pairs: Surroundings, chirality: Any, x: Any) -> float:
    """Energy of a piece, without what holds its chirality, kJ/mol."""
    return energy_among(arrays, pairs, Window(np.zeros((0, 3)), chirality, None), x)


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
    for i, j in piece.pairs.tolist():  # two bonds apart only where they are opposite to each other
        if apart[i, j] == 2:
            apart[i, j] = apart[j, i] = 3
    distances = 0.15 * apart**0.8  # a chain of bonds is not straight
    centring = np.eye(m) - 1 / m
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    points = np.zeros((m, 3))
    points[:, : min(3, m)] = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :3]
    return points


@compiled()
def _all_right(x: Any, centres: Any, chirality: Any) -> bool:
    right = True
    for k in range(len(chirality)):
        right &= chirality[k] == 0 or chirality[k] * stereo_volume(x, centres[k]) > RIGHT
    return right


# --- walks -------------------------------------------------------------------------------------------


class PieceArrays(NamedTuple):
    """A piece for the walks.

    Attributes
    ----------
    kt
        kJ/mol.
    form, atoms, parameters, tables
        Terms.
    start, terms
        Terms of each atom.
    c6, c12, qq
        (m, m) of the pairs that interact.
    partner
        (m,) the neighbour of atoms with one bond, else -1.
    centres, chirality
        (c, 5), (c,) stereo elements and what is wanted of them.
    virtual
        Virtual sites; where there are any, the energy of a change is that of the whole piece.
    driven
        (d,) atoms that are none.
    """

    kt: float
    form: Any
    atoms: Any
    parameters: Any
    tables: Any
    start: Any
    terms: Any
    c6: Any
    c12: Any
    qq: Any
    partner: Any
    centres: Any
    chirality: Any
    virtual: Any
    driven: Any


def _piece_arrays(piece: Piece, chirality: tuple[int, ...], kt: float) -> PieceArrays:
    m = len(piece.names)
    rows = [np.flatnonzero((piece.terms.atoms == i).any(axis=1)) for i in range(m)]
    coefficients = np.zeros((3, m, m))
    i, j = piece.pairs.T
    coefficients[:, i, j] = coefficients[:, j, i] = piece.pair_parameters.T
    partner = np.full(m, -1, np.int64)
    degree = np.bincount(piece.bonds.reshape(-1), minlength=m)
    for a, b in [*piece.bonds.tolist(), *piece.bonds[:, ::-1].tolist()]:
        if degree[a] == 1:
            partner[a] = b
    return PieceArrays(
        kt,
        piece.terms.form,
        piece.terms.atoms,
        piece.terms.parameters,
        piece.terms.tables,
        np.cumsum([0, *map(len, rows)]),
        np.concatenate([np.zeros(0, np.int64), *rows]),
        coefficients[0],
        coefficients[1],
        coefficients[2],
        partner,
        piece.centres,
        np.array(chirality, np.int64),
        piece.virtual,
        np.setdiff1d(np.arange(m), piece.virtual.virtual),
    )


@compiled()
def _whole_energy(x: Any, piece: Any) -> float:
    """Energy of all terms and pairs."""
    energy = sum_of_terms(piece, (0, len(piece.form), 0), x)
    for i in range(len(x)):
        energy += 0.5 * _pairs_energy(i, x, piece)
    return energy


@compiled()
def _atom_energy(i: int, x: Any, piece: Any) -> float:
    """Energy of the terms and pairs of an atom, or of all where virtual sites follow it."""
    if len(piece.virtual.virtual):
        return _whole_energy(x, piece)
    energy = 0.0
    for n in range(piece.start[i], piece.start[i + 1]):
        t = piece.terms[n]
        rows = term_rows(piece.atoms, t, 0)
        energy += term_energy(piece.form[t], term_parameters(piece.parameters, t), piece.tables, x, rows)
    return energy + _pairs_energy(i, x, piece)


@compiled(forceinline=True)
def _pairs_energy(i: int, x: Any, piece: Any) -> float:
    """Energy of the pairs of an atom."""
    energy = 0.0
    for j in range(len(x)):
        c6, c12, qq = piece.c6[i, j], piece.c12[i, j], piece.qq[i, j]
        if c12 != 0.0 or qq != 0.0 or c6 != 0.0:
            dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
            near = clamped(dx * dx + dy * dy + dz * dz)
            energy += lennard_jones(inverse_sixth(near, 0.0), c6, c12) + qq * inverse_distance(near)
    return energy


@compiled()
def _turn_about(x: Any, i: int, pivot: int, angle: float, rng: Any, matrix: Any) -> None:
    """Turn atom i about another, by some angle about an axis of any direction."""
    turn_matrix(gaussian(rng), gaussian(rng), gaussian(rng), angle, matrix)
    ax, ay, az = x[i, 0] - x[pivot, 0], x[i, 1] - x[pivot, 1], x[i, 2] - x[pivot, 2]
    for d in range(3):
        x[i, d] = x[pivot, d] + matrix[d, 0] * ax + matrix[d, 1] * ay + matrix[d, 2] * az


@compiled(forceinline=True)
def _put(x: Any, i: int, place: Any) -> None:
    """Put atom i to a place; a loop, as numba compiles three seconds for a slice."""
    for d in range(3):
        x[i, d] = place[d]


@compiled(makes_arrays=True)
def _allowed(i: int, x: Any, old: Any, piece: Any) -> bool:
    """Whether no stereo element of atom i has come nearer to losing its state than is usual."""
    for k in range(len(piece.chirality)):
        sign, centre = piece.chirality[k], piece.centres[k]
        if sign == 0:
            continue
        for n in range(5):
            if centre[n] == i:
                volume = sign * stereo_volume(x, centre)
                if volume < FLAT:
                    here = x[i].copy()
                    _put(x, i, old)
                    before = sign * stereo_volume(x, centre)
                    _put(x, i, here)
                    if volume < before:
                        return False
    return True


@compiled()
def _walk(first: Any, piece: Any, key: Any, found: Any) -> None:
    """Metropolis walks from ``first`` (walkers, m, 3) into ``found`` (walkers, each, m, 3)."""
    walkers, each, m = found.shape[0], found.shape[1], found.shape[2]
    rng = np.zeros(1, np.uint64)
    matrix = np.zeros((3, 3))
    old = np.zeros(3)
    width = np.zeros((m, 2))  # of shifts (nm) and turns (radians) of each atom, fitted while settling
    width[:, 0], width[:, 1] = 0.004, 0.1
    for w in range(walkers):
        seeded(rng, key, w)
        x = first[w].copy()
        for sweep in range(SETTLING + (each - 1) * THIN + 1):
            for i in piece.driven:
                turns = piece.partner[i] >= 0 and uniform(rng) < 0.7
                way = 1 if turns else 0
                for d in range(3):
                    old[d] = x[i, d]
                before = _atom_energy(i, x, piece)
                if turns:
                    _turn_about(x, i, piece.partner[i], width[i, 1] * gaussian(rng), rng, matrix)
                else:
                    for d in range(3):
                        x[i, d] += width[i, 0] * gaussian(rng)
                place_sites(x, piece.virtual)
                change = _atom_energy(i, x, piece) - before
                taken = uniform(rng) < np.exp(-change / piece.kt) and _allowed(i, x, old, piece)
                if not taken:
                    _put(x, i, old)
                    place_sites(x, piece.virtual)
                if sweep < SETTLING:
                    width[i, way] *= 1.03 if taken else 0.98
            late = sweep - SETTLING
            if late >= 0 and late % THIN == 0:
                for i in range(m):
                    for d in range(3):
                        found[w, late // THIN, i, d] = x[i, d]

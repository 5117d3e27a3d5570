"""What a :class:`~dbm_gmx.network.guide.Guide` has of the molecule types of a system."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple

import networkx as nx
import numpy as np
import scipy.sparse as sp
import torch

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.mapping import Mapping, Match
from dbm_gmx.chemistry.stereo import (
    Chirality,
    are_bonds,
    chirality_of_copies,
    stereo_elements,
    triple_products,
)
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import (
    MoleculeType,
    NonBonded,
    Terms,
    atom_types,
    excluded_pairs,
    hydrogens,
)
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.energy import term_energies
from dbm_gmx.forcefield.terms import energy_terms
from dbm_gmx.network.guide import Guide
from dbm_gmx.network.guide_steps import LONGEST_STEP, WIDEST
from dbm_gmx.options import Conditions

RIGID = 0.004
"""nm, width of bonds of fixed length while atoms are placed one after the other."""
FLAT = math.radians(20)
"""Torsions and impropers that stay so near to 0 or 180 degrees at the temperature make a group flat."""
RING = 7
"""Atoms of the largest ring in which flat torsions are cis."""
TETRAHEDRAL = 0.77
"""Volume of three regular bonds, over the product of their lengths."""

Pairs = dict[tuple[int, int], tuple[float, float]]
"""Atoms (i < j) to their distance and its standard deviation, nm."""

Quad = tuple[tuple[int, int, int, int], float]
"""Four atoms and a volume, nm^3."""


class Share(NamedTuple):
    """An atom and a bead; see :class:`~dbm_gmx.network.guide.Guide`."""

    bead: int
    share: float
    radius: float
    members: list[int]
    weights: list[float]


class MoleculeTables(NamedTuple):
    """Lists of one molecule type, an entry for each atom; other atoms are offsets.

    Attributes
    ----------
    distances
        Atom, distance, its standard deviation and whether it is a bond.
    flat
        Three atoms, and the standard deviation of the volume.
    centres
        Beads.
    excluded
        Atoms that it does not repel, itself among them.
    quads
        Of the molecule: each stereocentre with three of its neighbours, and the volume if regular.
    torsions
        Of the molecule: see :func:`torsions`.
    """

    distances: list[list[tuple[float, ...]]]
    flat: list[list[tuple[float, ...]]]
    centres: list[list[Share]]
    excluded: list[list[int]]
    quads: list[Quad]
    torsions: list[tuple[tuple[int, int, int, int], FloatArray]]


def make_guide(system: System, conditions: Conditions, chirality: Chirality) -> Guide:
    """What the force field and the beads say of the atoms of a system.

    Raises
    ------
    ValueError
        If the topology has no non-bonded parameters.
    """
    nonbonded = system.topology.nonbonded
    if nonbonded is None:
        raise ValueError("a topology without non-bonded parameters has no energy")
    kt = GAS * conditions.temperature
    matches = {match.moltype.name: match for match in system.matches}
    tables = {
        name: _tables(match.moltype, match.mapping, conditions.constraints, kt)
        for name, match in matches.items()
    }
    distances = _padded([row for table in tables.values() for row in table.distances], 4)
    flat = _padded([row for table in tables.values() for row in table.flat], 4)
    turn, curves = _torsions_by_atom(matches, tables)
    hand = _hands_by_atom(system, chirality, {name: table.quads for name, table in tables.items()})
    sigma, strength = _repulsion(nonbonded, kt)
    side = _sides_by_atom(system, chirality)
    first = [
        np.repeat(m.first_bead + len(m.mapping.names) * np.arange(m.count), m.moltype.n_atoms)
        for m in system.matches
    ]
    carried = _offsets([row for match in matches.values() for row in _carried(match.moltype)])
    parent = [offset for match in matches.values() for offset in _parents(match.moltype)]
    bead, share, radius, members, weights = _centres(
        [row for table in tables.values() for row in table.centres]
    )
    return Guide(
        step=distances[..., 0].astype(np.int64),
        distance=distances[..., 1].copy(),
        stiffness=_inverse(distances[..., 2]),
        bond=distances[..., 3].astype(np.int64),
        flat=flat[..., :3].astype(np.int64),
        flat_stiffness=_inverse(flat[..., 3]),
        turn=turn[..., :3].astype(np.int64),
        curve=turn[..., 3].astype(np.int64),
        inner=turn[..., 4].astype(np.int64),
        curves=curves[:, 0].copy(),
        floors=curves[:, 1].copy(),
        hand=hand[..., :3].astype(np.int64),
        least=hand[..., 3].copy(),
        side=side[..., :3].astype(np.int64),
        sense=side[..., 3].copy(),
        bead=bead,
        share=share,
        radius=radius,
        members=members,
        weights=weights,
        carried=carried,
        parent=np.array(parent, np.int64),
        first_bead=np.concatenate(first),
        excluded=_offsets([row for table in tables.values() for row in table.excluded]),
        types=np.asarray(atom_types(system.topology), np.int64),
        sigma=sigma,
        strength=strength,
        softness=float(conditions.width),
        reach=float(WIDEST * sigma.max(initial=0.0) + LONGEST_STEP),
    )


def _tables(moltype: MoleculeType, mapping: Mapping, constraints: str, kt: float) -> MoleculeTables:
    pairs = known_distances(moltype, constraints, kt)
    groups = flat_groups(moltype, pairs, kt)
    pairs |= flat_distances(moltype, pairs, [quad for quad, _ in groups])
    excluded: list[list[int]] = [[0] for _ in range(moltype.n_atoms)]
    for i, j in excluded_pairs(moltype).tolist():
        excluded[i].append(j - i)
        excluded[j].append(i - j)
    return MoleculeTables(
        _by_atom(moltype, pairs),
        _planes_by_atom(moltype, groups),
        list(_centres_by_atom(moltype, mapping, pairs)),
        excluded,
        list(_quads(moltype, pairs)),
        torsions(moltype, pairs, kt),
    )


def _repulsion(nonbonded: NonBonded, kt: float) -> tuple[FloatArray, FloatArray]:
    """Sigma (nm) of pairs of types, and the square root of 8 epsilon / kT; 0 where they do not repel."""
    c6, c12 = nonbonded.c6, nonbonded.c12
    there = (c6 > 0) & (c12 > 0)
    c6, c12 = np.where(there, c6, 1.0), np.where(there, c12, 1.0)
    sigma, strength = (c12 / c6) ** (1 / 6), np.sqrt(2 * c6**2 / c12 / kt)
    return np.where(there, sigma, 0.0), np.where(there, strength, 0.0)


def _torsions_by_atom(
    matches: dict[str, Match], tables: dict[str, MoleculeTables]
) -> tuple[FloatArray, FloatArray]:
    """(rows, t, 5) three atoms of a torsion with each; the curve, and whether it is an inner one."""
    rows: list[list[tuple[float, ...]]] = []
    curves: dict[bytes, int] = {}
    values: list[FloatArray] = []
    for name, table in tables.items():
        own: list[list[tuple[float, ...]]] = [[] for _ in range(matches[name].moltype.n_atoms)]
        for quad, curve in table.torsions:
            key = curve.tobytes()
            if key not in curves:
                curves[key] = len(values)
                values.append(curve)
            # a torsion read backwards is the same angle
            for i, j, k, m in (quad, quad[::-1]):
                own[i].append((j - i, k - i, m - i, curves[key], 0))
                own[j].append((i - j, k - j, m - j, curves[key], 1))
        rows += own
    return _padded(rows, 5), np.array(values or [np.zeros((2, len(TURN)))])


def _centres(
    rows: Sequence[Sequence[Share]],
) -> tuple[IntArray, FloatArray, FloatArray, IntArray, FloatArray]:
    """Beads, shares, radii, members and weights of a :class:`~dbm_gmx.network.guide.Guide`."""
    beads = max(1, *map(len, rows))
    most = max([1, *(len(entry.members) for row in rows for entry in row)])
    bead, members = np.full((len(rows), beads), -1), np.zeros((len(rows), beads, most), np.int64)
    share, radius = np.zeros((len(rows), beads)), np.full((len(rows), beads), -1.0)
    weights = np.zeros((len(rows), beads, most))
    for a, row in enumerate(rows):
        for k, entry in enumerate(row):
            bead[a, k], share[a, k], radius[a, k] = entry.bead, entry.share, entry.radius
            members[a, k, : len(entry.members)] = entry.members
            weights[a, k, : len(entry.members)] = entry.weights
    return bead, share, radius, members, weights


def _inverse(values: FloatArray) -> FloatArray:
    """1 over what is above 0, and 0."""
    return np.where(values > 0, 1 / np.where(values > 0, values, 1.0), 0.0)


def _carried(moltype: MoleculeType) -> list[list[int]]:
    """Hydrogens on each heavy atom, as offsets."""
    light, graph = hydrogens(moltype), moltype.graph
    return [[j - i for j in graph[i] if light[j]] if not light[i] else [] for i in range(moltype.n_atoms)]


def _parents(moltype: MoleculeType) -> list[int]:
    """What each hydrogen is on, as an offset; 0 for heavy atoms."""
    light, graph = hydrogens(moltype), moltype.graph
    return [next((j - i for j in graph[i]), 0) if light[i] else 0 for i in range(moltype.n_atoms)]


def _offsets(rows: Sequence[Sequence[int]]) -> IntArray:
    """(rows, k) padded with 0."""
    return _padded([[(j,) for j in row] for row in rows], 1)[..., 0].astype(np.int64)


def _padded(rows: Sequence[Sequence[Sequence[float]]], columns: int) -> FloatArray:
    width = max(1, *map(len, rows))
    made = np.zeros((len(rows), width, columns))
    for a, row in enumerate(rows):
        if row:
            made[a, : len(row)] = row
    return made


def known_distances(moltype: MoleculeType, constraints: str, kt: float) -> Pairs:
    """Bonds, and the ends of angles: mean and standard deviation of each term alone at the temperature."""
    fixed, lengths = fixed_bonds(moltype, constraints)
    pairs: Pairs = {}
    every = energy_terms(moltype)
    memory: dict[tuple[object, ...], tuple[float, float]] = {}
    x = np.linspace(0.05, 0.4, 1401)
    for terms in every:
        if terms.directive != "bonds":
            continue
        for (i, j), parameters in zip(terms.atoms.tolist(), terms.parameters, strict=True):
            key = (terms.function, *parameters.tolist())
            if key not in memory:
                points = np.zeros((len(x), 2, 3))
                points[:, 1, 0] = x
                memory[key] = _moments(x, _energies(terms, parameters, points), x**2, kt)
            pairs[min(i, j), max(i, j)] = memory[key]
    for (i, j), length in zip(fixed.tolist(), lengths.tolist(), strict=True):
        pairs[i, j] = (length, RIGID)
    bonds = dict(pairs)
    theta = np.radians(np.linspace(40, 180, 561))
    for terms in every:
        if terms.directive != "angles":
            continue
        for (i, j, k), parameters in zip(terms.atoms.tolist(), terms.parameters, strict=True):
            a, b = bonds.get((min(i, j), max(i, j))), bonds.get((min(j, k), max(j, k)))
            ends = min(i, k), max(i, k)
            if a is None or b is None or ends in bonds:
                continue
            key = (terms.function, *parameters.tolist(), a, b)
            if key not in memory:
                points = np.zeros((len(theta), 3, 3))
                points[:, 0, 0] = a[0]
                points[:, 2, 0], points[:, 2, 1] = b[0] * np.cos(theta), b[0] * np.sin(theta)
                apart = np.linalg.norm(points[:, 2] - points[:, 0], axis=1)
                mean, sd = _moments(apart, _energies(terms, parameters, points), np.sin(theta), kt)
                memory[key] = (mean, math.hypot(sd, 0.7 * a[1], 0.7 * b[1]))
            pairs[ends] = memory[key]
    return pairs


def _energies(terms: Terms, parameters: FloatArray, points: FloatArray) -> FloatArray:
    """Energies (g,) of one term whose atoms are at ``points`` (g, m, 3)."""
    one = Terms(terms.directive, terms.function, np.arange(points.shape[1])[None], parameters[None])
    return term_energies(one, torch.from_numpy(points)).numpy()[:, 0]


def _moments(x: FloatArray, energy: FloatArray, states: FloatArray, kt: float) -> tuple[float, float]:
    """Mean and standard deviation of ``x``."""
    weight = np.exp((energy.min() - energy) / kt) * states
    weight /= weight.sum()
    mean = float(weight @ x)
    return mean, max(math.sqrt(float(weight @ (x - mean) ** 2)), RIGID)


def flat_groups(moltype: MoleculeType, pairs: Pairs, kt: float) -> list[Quad]:
    """Four atoms that dihedrals or impropers hold in a plane, and the standard deviation of their volume."""
    found: list[Quad] = []
    for (i, j, k, m), energy in _curves(moltype).items():
        spread = _spread_about_flat(energy, kt)
        heights = _height(pairs, i, j, k), _height(pairs, m, j, k)
        if spread < FLAT and all(heights):
            axis = pairs[min(j, k), max(j, k)][0]
            found.append(((i, j, k, m), axis * heights[0] * heights[1] * math.sin(spread)))
    return found


TURN = np.radians(np.arange(-180.0, 180.0, 1.0))
"""Dihedral angles at which torsions are tabulated."""


def _curves(moltype: MoleculeType) -> dict[tuple[int, int, int, int], FloatArray]:
    """Energies of all dihedrals on the same four atoms, kJ/mol, at the angles :data:`TURN`."""
    points = np.zeros((len(TURN), 4, 3))
    points[:, 0] = [1, 0, 0]
    points[:, 2] = [0, 0, 1]
    points[:, 3] = np.stack([np.cos(TURN), np.sin(TURN), np.ones_like(TURN)], 1)
    memory: dict[tuple[object, ...], FloatArray] = {}
    curves: dict[tuple[int, int, int, int], FloatArray] = {}
    for terms in energy_terms(moltype):
        if terms.directive == "dihedrals":
            for (i, j, k, m), parameters in zip(terms.atoms.tolist(), terms.parameters, strict=True):
                key = (terms.function, *parameters.tolist())
                if key not in memory:
                    memory[key] = _energies(terms, parameters, points)
                quad = min((i, j, k, m), (m, k, j, i))
                curves[quad] = curves.get(quad, np.zeros_like(TURN)) + memory[key]
    return curves


def _spread_about_flat(energy: FloatArray, kt: float) -> float:
    """How far a torsion is off 0 or 180 degrees, rms, radian."""
    folded = np.remainder(TURN + np.pi / 2, np.pi) - np.pi / 2
    weight = np.exp((energy.min() - energy) / kt)
    return math.sqrt(float(weight @ folded**2 / weight.sum()))


def torsions(
    moltype: MoleculeType, pairs: Pairs, kt: float
) -> list[tuple[tuple[int, int, int, int], FloatArray]]:
    """Torsions that turn, and the square roots of twice their energy over kT.

    The root of a curve has the sign of its slope, and is 0 in each of the minima: a torsion is held in
    the basin where it is, as wide as it should be.  With it go the pairs that are its ends.
    """
    ends: dict[tuple[int, int], list[tuple[Terms, FloatArray]]] = defaultdict(list)
    for terms in energy_terms(moltype):
        if terms.directive == "pairs":
            for (i, j), parameters in zip(terms.atoms.tolist(), terms.parameters, strict=True):
                ends[min(i, j), max(i, j)].append((terms, parameters))
    found, memory = [], {}
    for (i, j, k, m), energy in _curves(moltype).items():
        spans = [(min(p), max(p)) for p in ((i, j), (j, k), (k, m), (i, k), (j, m))]
        bonded = all(moltype.graph.has_edge(*p) for p in spans[:3])
        if not bonded or _spread_about_flat(energy, kt) < FLAT or any(p not in pairs for p in spans):
            continue
        sides = tuple(pairs[p][0] for p in spans)
        members = ends.get((min(i, m), max(i, m)), [])
        key = (energy.tobytes(), sides, tuple((t.function, *p.tolist()) for t, p in members))
        if key not in memory:
            points = np.zeros((len(TURN), 2, 3))
            points[:, 1, 0] = _apart(sides)
            memory[key] = _root(energy + sum(_energies(t, p, points) for t, p in members), kt)
        found.append(((i, j, k, m), memory[key]))
    return found


def _apart(sides: tuple[float, ...]) -> FloatArray:
    """Distances of the ends of a torsion (nm) at :data:`TURN`; sides i-j, j-k, k-m, i-k, j-m."""
    left, axis, right, over, under = sides
    x = (left**2 + axis**2 - over**2) / (2 * axis)
    z = axis - (right**2 + axis**2 - under**2) / (2 * axis)
    a, b = math.sqrt(max(left**2 - x**2, 0.0)), math.sqrt(max(right**2 - (axis - z) ** 2, 0.0))
    return np.asarray(np.sqrt((x - z) ** 2 + a**2 + b**2 - 2 * a * b * np.cos(TURN)))


def _root(energy: FloatArray, kt: float) -> FloatArray:
    """Signed square root of a periodic curve above the floor of each basin; (2, g) with these floors, kT."""
    slope = np.roll(energy, -1) - np.roll(energy, 1)
    here = np.arange(len(energy))
    near = np.stack([here - 1, here, here + 1]) % len(energy)
    lower = near[np.argmin(energy[near], axis=0), here]
    for _ in range(len(energy).bit_length()):  # twice as far down each time, at last to the bottom
        lower = lower[lower]
    floor, down = energy[lower], np.sign(slope)
    root = down * np.sqrt(2 * np.maximum(energy - floor, 0) / kt)
    return np.stack([root, (floor - energy.min()) / kt])


def flat_distances(moltype: MoleculeType, pairs: Pairs, quads: Sequence[tuple[int, int, int, int]]) -> Pairs:
    """Ends of flat torsions within a ring."""
    graph = moltype.graph
    found: Pairs = {}
    for quad in quads:
        i, j, k, m = quad
        ends = min(i, m), max(i, m)
        if not all(graph.has_edge(*e) for e in ((i, j), (j, k), (k, m))) or ends in pairs:
            continue
        if _ring_closes(graph, quad):
            axis, left, right = (pairs[min(p), max(p)][0] for p in ((j, k), (i, j), (k, m)))
            far = pairs[min(i, k), max(i, k)][0], pairs[min(j, m), max(j, m)][0]
            x = (
                (left**2 + axis**2 - far[0] ** 2) / (2 * axis),
                axis - (right**2 + axis**2 - far[1] ** 2) / (2 * axis),
            )
            y = math.sqrt(max(left**2 - x[0] ** 2, 0)), math.sqrt(max(right**2 - (axis - x[1]) ** 2, 0))
            found[ends] = (math.hypot(x[0] - x[1], y[0] - y[1]), 0.01)
    return found


def _ring_closes(graph: nx.Graph, quad: tuple[int, int, int, int]) -> bool:
    """Whether the ends of a torsion are joined by a short way round."""
    i, j, k, m = quad
    seen, front = {i, j, k}, [i]
    for _ in range(RING - 3):
        front = [b for a in front for b in graph[a] if b not in seen]
        seen.update(front)
        if m in front:
            return True
    return False


def _height(pairs: Pairs, top: int, left: int, right: int) -> float:
    """Height of a triangle above the side ``left``-``right``, nm; 0 where a side is not guide."""
    sides = [pairs.get((min(p), max(p))) for p in ((left, right), (top, left), (top, right))]
    if any(side is None for side in sides):
        return 0.0
    a, b, c = (side[0] for side in sides if side is not None)
    s = (a + b + c) / 2
    return 2 * math.sqrt(max(s * (s - a) * (s - b) * (s - c), 0.0)) / a


def _by_atom(moltype: MoleculeType, pairs: Pairs) -> list[list[tuple[float, ...]]]:
    rows: list[list[tuple[float, ...]]] = [[] for _ in range(moltype.n_atoms)]
    for (i, j), (mean, sd) in pairs.items():
        bond = moltype.graph.has_edge(i, j)
        rows[i].append((j - i, mean, sd, bond))
        rows[j].append((i - j, mean, sd, bond))
    return rows


def _first(quad: Sequence[int]) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Each of four atoms and the others, in the order in which the volume keeps its sign."""
    p0, p1, p2, p3 = quad
    yield p0, (p1, p2, p3)
    yield p1, (p0, p3, p2)
    yield p2, (p3, p0, p1)
    yield p3, (p2, p1, p0)


def _planes_by_atom(moltype: MoleculeType, groups: Sequence[Quad]) -> list[list[tuple[float, ...]]]:
    rows: list[list[tuple[float, ...]]] = [[] for _ in range(moltype.n_atoms)]
    for quad, sd in groups:
        for atom, others in _first(quad):
            rows[atom].append((*(o - atom for o in others), sd))
    return rows


def _centres_by_atom(moltype: MoleculeType, mapping: Mapping, pairs: Pairs) -> Iterator[list[Share]]:
    """Of each heavy atom the beads it has weight in or is bonded to; the beads' atoms and their weights."""
    light = hydrogens(moltype)
    weights = sp.csr_matrix(mapping.weights, dtype=np.float64)
    weights = sp.csr_matrix(sp.diags(1 / np.asarray(weights.sum(1))[:, 0]) @ weights)
    carrier = np.arange(moltype.n_atoms)
    for i in np.flatnonzero(light).tolist():
        carrier[i] = next((j for j in moltype.graph[i] if not light[j]), i)
    n = moltype.n_atoms
    shares = weights @ sp.csr_matrix((np.ones(n), (np.arange(n), carrier)), shape=(n, n))
    shares.sum_duplicates()
    beads = [_members(weights, bead) for bead in range(weights.shape[0])]
    lumped = [_members(shares, bead) for bead in range(weights.shape[0])]
    owned = [dict(zip(*members, strict=True)) for members in lumped]
    of_atom = sp.csc_matrix(shares)
    for atom in range(moltype.n_atoms):
        own = of_atom.indices[of_atom.indptr[atom] : of_atom.indptr[atom + 1]].tolist()
        around = {int(mapping.owner[j]) for j in (atom, *moltype.graph[atom])}
        entries = []
        for bead in sorted(around.union(own)) if not light[atom] else ():
            members, each = beads[bead]
            radius = _radius(atom, lumped[bead][0], np.array(lumped[bead][1]), pairs)
            offsets = [m - atom for m in members]
            entries.append(Share(bead, owned[bead].get(atom, 0.0), radius, offsets, each))
        yield entries


def _members(weights: sp.csr_matrix, bead: int) -> tuple[list[int], list[float]]:
    """Atoms of a bead and their weights."""
    span = slice(weights.indptr[bead], weights.indptr[bead + 1])
    return weights.indices[span].tolist(), weights.data[span].tolist()


def _radius(atom: int, members: list[int], weights: FloatArray, pairs: Pairs) -> float:
    """How far an atom is from the centre of some, nm; -1 where not all distances are known."""

    def square(i: int, j: int) -> float:
        return 0.0 if i == j else pairs[min(i, j), max(i, j)][0] ** 2

    if not members:
        return -1.0
    try:
        table = np.array([[square(i, j) for j in members] for i in members])
    except KeyError:
        return -1.0
    near = [k for k, j in enumerate(members) if j == atom or (min(atom, j), max(atom, j)) in pairs]
    own = np.array([square(atom, members[k]) for k in near])
    if len(near) == len(members):
        return math.sqrt(max(float(weights @ own - weights @ table @ weights / 2), 0.0))
    return _distance_from_plane_figure(table, near, own, weights)


def _distance_from_plane_figure(
    table: FloatArray, near: list[int], own: FloatArray, weights: FloatArray
) -> float:
    """Distance of a point in the plane of a flat group from its centre; -1 if the group is not flat.

    Parameters
    ----------
    table
        (m, m) squared distances within the group.
    near, own
        (k,) members whose distance from the point is known, and its square.
    weights
        (m,) of the members, that add up to 1.
    """
    m = len(table)
    if len(near) < 3 or m < 4:
        return -1.0
    middle = np.eye(m) - 1 / m
    values, vectors = np.linalg.eigh(-middle @ table @ middle / 2)
    if values[-3] > 0.1 * values[-2]:
        return -1.0
    places = vectors[:, -2:] * np.sqrt(values[-2:])
    # |x - p|^2 = own: linear after subtraction of the first
    p = places[near]
    left, right = 2 * (p[1:] - p[0]), (p[1:] ** 2).sum(1) - (p[0] ** 2).sum() - own[1:] + own[0]
    x, *_, singular = np.linalg.lstsq(left, right, rcond=None)
    if singular[-1] < 0.05:
        return -1.0
    return float(np.linalg.norm(x - weights @ places))


def _quads(moltype: MoleculeType, pairs: Pairs) -> Iterator[Quad]:
    """Each stereocentre with each three of its neighbours, and their volume if regular."""
    elements = stereo_elements(moltype)
    for element in elements[~are_bonds(elements)].tolist():
        ends = [e for e in element[1:] if e >= 0]
        for three in combinations(range(len(ends)), 3):
            quad = (element[0], *(ends[k] for k in three))
            sides = [pairs.get((min(quad[0], e), max(quad[0], e)), (0.15, 0))[0] for e in quad[1:]]
            yield quad, TETRAHEDRAL * float(np.prod(sides))


def _hands_by_atom(system: System, chirality: Chirality, quads: dict[str, list[Quad]]) -> FloatArray:
    """(atoms, h, 4) three atoms that make a positive volume with each (0: none), and the volume."""
    found: list[list[tuple[float, ...]]] = [[] for _ in range(system.n_atoms)]
    for match, expected in zip(system.matches, chirality_of_copies(system, chirality), strict=True):
        elements = stereo_elements(match.moltype)
        centres = ~are_bonds(elements)
        state = dict(zip(elements[centres, 0].tolist(), expected[:, centres].T.tolist(), strict=True))
        signs = _orientations(elements[centres], quads[match.moltype.name])
        for (quad, volume), sign in zip(quads[match.moltype.name], signs, strict=True):
            turned = (quad[0], quad[2], quad[1], quad[3])
            for first, wanted in zip(match.first_atoms.tolist(), state[quad[0]], strict=True):
                if wanted:
                    for atom, others in _first(quad if wanted * sign > 0 else turned):
                        found[first + atom].append((*(o - atom for o in others), volume))
    return _padded(found, 4)


def _sides_by_atom(system: System, chirality: Chirality) -> FloatArray:
    """(atoms, s, 4) three atoms of a bond that does not turn (0: none), and 1 for cis or -1 for trans.

    Of each atom beside one end with each beside the other.
    """
    found: list[list[tuple[float, ...]]] = [[] for _ in range(system.n_atoms)]
    for match, expected in zip(system.matches, chirality_of_copies(system, chirality), strict=True):
        elements, graph = stereo_elements(match.moltype), match.moltype.graph
        for n in np.flatnonzero(are_bonds(elements)).tolist():
            i, j, k, m = elements[n, :4].tolist()
            for a, b in product(set(graph[j]) - {k}, set(graph[k]) - {j}):
                sign = 1 if (a == i) == (b == m) else -1
                for first, state in zip(match.first_atoms.tolist(), expected[:, n].tolist(), strict=True):
                    if state:
                        found[first + a].append((j - a, k - a, b - a, sign * state))
                        found[first + b].append((k - b, j - b, a - b, sign * state))
    return _padded(found, 4)


def _orientations(elements: np.ndarray, quads: Sequence[Quad]) -> list[int]:
    """Sign of the volume of each four atoms where the element has the state 1."""
    ends = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float64)
    signs, k = [], 0
    for element in elements.tolist():
        there = [e for e in element[1:] if e >= 0]
        places = {e: ends[n] for n, e in enumerate(element[1:]) if e >= 0}
        points = np.zeros((5, 3))
        points[1:] = ends
        known = np.array([e >= 0 for e in element[1:]])
        state = np.sign(triple_products(points[None], known[None])[0])
        for _ in combinations(there, 3):
            quad = quads[k][0]
            vectors = [places[e] for e in quad[1:]]
            signs.append(int(state * np.sign(np.linalg.det(np.array(vectors)))))
            k += 1
    return signs

"""Stereo elements: stereocentres and bonds that do not turn, their state, and the state that is expected.

A row of five numbers stands for either: a centre and its four neighbours, or the four atoms of a dihedral and
:data:`~dbm_gmx.chemistry.stereo_bonds.BOND`.  The state of a centre is its chirality, 1 or -1; that of a bond
is 1 for cis and -1 for trans.  0 is no state.  Everything that heeds chirality heeds both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dbm_gmx.chemistry.amino_acids import usual_chirality
from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray, Positions, SignArray
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.nucleotides import usual_sugars
from dbm_gmx.chemistry.stereo_bonds import (
    BOND,
    BondKind,
    are_nominal,
    flat_bonds,
    kinds_of_bonds,
    usual_state,
)
from dbm_gmx.chemistry.system import System, copies_of_runs
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, own_masses, read_only
from dbm_gmx.chemistry.vectors import Lattice, arm, in_lattice
from dbm_gmx.compiled import compiled

Chirality = Mapping[str, SignArray]
"""By molecule type 1, -1, or 0 (unknown) for each element: (copies, c), or (1, c) for all copies."""

FLAT = 0.4
"""Mean triple product of unit vectors up to which there is no tetrahedron.

An ideal one has 0.77.  In a melt at 568 K the mean over the four choices of three neighbours spreads
by 0.01 and a single one by 0.07, so that no atom of a simulation gets here by itself; a centre with
one neighbour turned to the wrong side, which relaxation may mend either way, has 0.38.
"""

BETWEEN = math.cos(math.radians(75.0))
"""Cosine of a dihedral up to which a bond is neither cis nor trans.

Amides and double bonds stay within 40 degrees of a plane; of the esters of a melt at 550 K (barrier
50 kJ/mol) one in ten thousand is more than 60 degrees off it, and one in a hundred thousand more than 75.
"""

PYRAMIDAL = frozenset({"P", "S", "As", "Se"})
"""Elements that with three neighbours are the top of a pyramid and stay so (sulphoxides, phosphines).

They turn inside out above 100 kJ/mol (Rauk, Allen, Mislow, Angew. Chem. Int. Ed. 9, 400, 1970); nitrogen
does so all the time.
"""

STIFF = 60.0
"""kJ/mol: a bond with a higher barrier does not turn, whatever it is.

At 300 K it does so within 5 milliseconds, at 550 K within 50 ns (transition state theory).  Conjugated single
bonds and simple biaryls have less than 40, amides 65 to 95, double bonds more than 70.  Carbonates with 48 to
54 turned within 40 ps at 550 K, one in five of them cis: both states are to be sampled.
"""

LOOSE = 25.0
"""kJ/mol: double bonds, amides and esters turn, and united-atom CH turn inside out, if the force field gives
them a lower barrier than this."""


@lru_cache(maxsize=64)
def stereocentres(moltype: MoleculeType) -> IntArray:
    """Tetrahedral atoms with four different neighbours, and those that make rings cis or trans.

    Different are neighbours that no refinement of the molecular graph by elements, masses and bonds
    can take for each other, however far one must look.  In a ring with alike halves (1,4-substituted
    cyclohexane) two alike neighbours count as different if another atom of the ring is such a one: the two
    chiralities together are cis or trans.  They count as different, too, if they begin branches with
    stereocentres, which may differ in their chirality: the middle of a vinyl polymer of an odd number of
    units with alike ends (pseudoasymmetric).

    Returns
    -------
    (c, 5) the centre and its neighbours in the order of the file, read only.  For a united-atom CH the
    last is -1: its hydrogen is no atom of the topology.  So it is for :data:`PYRAMIDAL` atoms.  One that the
    force field does not hold (:func:`turning_ch`) is none.
    """
    graph, colour = chemical_graph(moltype), _colours(moltype)
    tetrahedral = [i for i in range(moltype.n_atoms) if _arms(moltype, i) == 4]
    centres = {i for i in tetrahedral if len({int(colour[j]) for j in graph[i]}) == graph.degree(i)}
    centres |= set(_ring_centres(moltype))
    pairs = {i: alike for i, alike in _alike(moltype).items() if i not in centres} if centres else {}
    centres |= {i for i, alike in pairs.items() if _with_centres(moltype, i, alike, centres)}
    rows = [[i, *sorted(graph[i]), -1][:5] for i in tetrahedral if i in centres]
    return read_only(np.array(rows, np.int64).reshape(-1, 5))


def _with_centres(moltype: MoleculeType, i: int, alike: set[int], centres: set[int]) -> bool:
    """Whether the alike neighbours of an atom begin branches with stereocentres, or share a ring with two."""
    graph, colour = chemical_graph(moltype), _colours(moltype)
    if any(graph.degree(j) == 1 for j in alike):
        return False
    for ring in _rings_of(moltype).get(i, ()):
        if alike <= ring:
            return max(Counter(int(colour[j]) for j in (ring & centres) - {i}).values(), default=0) > 1
    return any(j in centres for j in _branch(moltype, min(alike), i))


def _branch(moltype: MoleculeType, first: int, i: int) -> Iterator[int]:
    """Atoms that a path from an atom leads to without passing another."""
    graph = chemical_graph(moltype)
    seen, waiting = {i, first}, [first]
    for j in waiting:  # grows while it is gone through
        yield j
        waiting += [k for k in graph[j] if k not in seen]
        seen.update(graph[j])


@lru_cache(maxsize=64)
def _between_equals(moltype: MoleculeType) -> set[int]:
    """Centres between two alike branches that are known to have the same chirality (cardiolipin)."""
    known = known_states(moltype)[: len(stereocentres(moltype))]
    known = np.where(known == 0, usual_states(moltype)[: len(known)], known)
    states = dict(zip(stereocentres(moltype)[:, 0].tolist(), known.tolist(), strict=True))
    found: set[int] = set()
    for i in _alike(moltype).keys() & states.keys():
        first, second = (_hands(moltype, states, _branch(moltype, j, i)) for j in _alike(moltype)[i])
        if first and first == second:
            found.add(i)
    return found


def _hands(
    moltype: MoleculeType, states: Mapping[int, int], branch: Iterator[int]
) -> dict[int, set[int]] | None:
    """Chirality of the centres of a branch by class, in an order of neighbours that alike branches share."""
    colour, rows = _colours(moltype), dict(zip(states, stereocentres(moltype).tolist(), strict=True))
    found: dict[int, set[int]] = {}
    for j in branch:
        if j in states:
            order = [int(colour[k]) if k >= 0 else -1 for k in rows[j][1:]]
            if states[j] == 0 or len(set(order)) < len(order):
                return None
            crossed = sum(a > b for n, a in enumerate(order) for b in order[n + 1 :])
            found.setdefault(int(colour[j]), set()).add(states[j] * (-1) ** crossed)
    return found if all(len(signs) == 1 for signs in found.values()) else None


@lru_cache(maxsize=64)
def _rings(moltype: MoleculeType) -> tuple[set[int], ...]:
    """Rings, those that share a bond as one."""
    return tuple(ring for ring in nx.biconnected_components(chemical_graph(moltype)) if len(ring) > 2)


@lru_cache(maxsize=64)
def _rings_of(moltype: MoleculeType) -> dict[int, list[set[int]]]:
    """Those of each atom of a ring."""
    found: dict[int, list[set[int]]] = {}
    for ring in _rings(moltype):
        for i in ring:
            found.setdefault(i, []).append(ring)
    return found


def _arms(moltype: MoleculeType, i: int) -> int:
    """Number of neighbours, the hidden hydrogen of a united-atom CH and a pair of electrons too."""
    count = int(chemical_graph(moltype).degree(i))
    hidden = is_united_ch(moltype, i) and moltype.inversions.get(i, math.inf) > LOOSE
    hidden = hidden or moltype.graph.nodes[i]["element"] in PYRAMIDAL
    return count + (count == 3 and hidden)


@lru_cache(maxsize=64)
def _alike(moltype: MoleculeType) -> dict[int, set[int]]:
    """Tetrahedral atoms of whose neighbours two are alike, and no others, and which two."""
    graph, colour = chemical_graph(moltype), _colours(moltype)
    found: dict[int, set[int]] = {}
    for i in graph:
        values, counts = np.unique(colour[list(graph[i])], return_counts=True)
        if _arms(moltype, i) == 4 and len(values) == graph.degree(i) - 1:
            found[i] = {j for j in graph[i] if colour[j] == values[counts == 2][0]}
    return found


@lru_cache(maxsize=64)
def _ring_centres(moltype: MoleculeType) -> dict[int, int]:
    """Atoms that make rings with alike halves cis or trans, and for each the first one of its ring system."""
    alike = _alike(moltype)
    found: dict[int, int] = {}
    for ring in _rings(moltype) if alike else ():
        members = sorted(i for i in ring if i in alike and alike[i] <= ring)
        found |= dict.fromkeys(members, members[0]) if len(members) > 1 else {}
    return found


@lru_cache(maxsize=64)
def stereo_bonds(moltype: MoleculeType) -> IntArray:
    """(b, 5) bonds that do not turn, see :func:`~dbm_gmx.chemistry.stereo_bonds.flat_bonds`; read only.

    They are known from the graph (double bonds, amides, esters, unless the force field lets them turn) or
    from the barrier that the force field gives them.
    """
    rows = flat_bonds(moltype)
    kinds = kinds_of_bonds(moltype, rows)
    held = [_is_held(moltype, row, kind) for row, kind in zip(rows, kinds, strict=True)]
    return read_only(rows[np.array(held, bool)])


def _is_held(moltype: MoleculeType, row: IntArray, kind: BondKind) -> bool:
    barrier = moltype.barriers.get((int(row[1]), int(row[2])))
    if barrier is None:
        return kind is not BondKind.OTHER
    return barrier.height > (STIFF if kind is BondKind.OTHER else LOOSE)


@lru_cache(maxsize=64)
def stereo_elements(moltype: MoleculeType) -> IntArray:
    """(c, 5) all stereo elements, read only: the stereocentres, then the bonds."""
    return read_only(np.concatenate([stereocentres(moltype), stereo_bonds(moltype)]))


@lru_cache(maxsize=64)
def nominal_elements(moltype: MoleculeType, mapping: BeadMapping | None = None) -> BoolArray:
    """(c,) stereo elements whose two states are the same molecule, with the numbers of alike atoms exchanged.

    They keep the state they are given; where none is given any will do, and none is judged.  In a ring with
    alike halves that is the first centre: the others are cis or trans to it.  So is a centre between alike
    branches that are known to have the same chirality.  Atoms in different beads, or with different weights,
    are not alike.
    """
    bonds, first = stereo_bonds(moltype), _ring_centres(moltype)
    centres = stereocentres(moltype)[:, 0].tolist()
    nominal = np.zeros(0, bool)
    if len(bonds):
        nominal = are_nominal(moltype, bonds, _colours(moltype, mapping), centres, beads=mapping is not None)
    equal = _between_equals(moltype)
    return np.concatenate([np.array([first.get(i) == i or i in equal for i in centres], bool), nominal])


def are_bonds(elements: IntArray) -> BoolArray:
    """(...) which stereo elements (..., 5) are bonds."""
    return np.asarray(elements[..., 4] == BOND)


def is_united_ch(moltype: MoleculeType, i: int) -> bool:
    """Whether an atom is a carbon with a hydrogen that is no atom of its own."""
    return bool(moltype.graph.nodes[i]["element"] == "C" and 12.6 < _masses(moltype)[i] < 13.5)


def turning_ch(moltype: MoleculeType) -> list[int]:
    """United-atom CH that would be stereocentres, did angles and impropers not let them turn inside out."""
    return sorted({*stereocentres(replace(moltype, inversions={}))[:, 0]} - {*stereocentres(moltype)[:, 0]})


@lru_cache(maxsize=64)
def _masses(moltype: MoleculeType) -> list[float]:
    return [float(mass) for mass in own_masses(moltype.graph)]


@lru_cache(maxsize=64)
def _colours(moltype: MoleculeType, mapping: BeadMapping | None = None) -> IntArray:
    """(n,) equal numbers for atoms that are alike, to beads too, refined until nothing changes; read only.

    Atoms of one colour are parted by how many neighbours they have in a class, class after class
    (Weisfeiler-Lehman).  Of what is parted the largest need not be looked at again, which makes the work
    n log n (Cardon and Crochemore, Theor. Comput. Sci. 19, 85, 1982); passes over all atoms would be as many
    as a chain is long.
    """
    graph, nodes = chemical_graph(moltype), moltype.graph.nodes
    labels = [
        f"{nodes[i]['element'] or nodes[i]['type']} {nodes[i]['mass']:.0f}" for i in range(moltype.n_atoms)
    ]
    if mapping is not None:
        shares: list[list[tuple[int, float]]] = [[] for _ in labels]
        table = mapping.weights.tocoo()
        for bead, i, weight in zip(table.row, table.col, table.data, strict=True):
            shares[i].append((int(bead), round(float(weight), 4)))
        labels = [f"{label} {mapping.owner[i]} {sorted(shares[i])}" for i, label in enumerate(labels)]
    colour = np.unique(labels, return_inverse=True)[1].tolist()
    classes: list[set[int]] = [set() for _ in set(colour)]
    for i, number in enumerate(colour):
        classes[number].add(i)
    waiting = set(range(len(classes)))
    while waiting:
        counts = Counter(j for i in classes[waiting.pop()] for j in graph[i])
        touched: dict[int, dict[int, set[int]]] = {}
        for j, count in counts.items():
            touched.setdefault(colour[j], {}).setdefault(count, set()).add(j)
        for number, parts in touched.items():
            rest = classes[number]
            rest.difference_update(*parts.values())  # in place: in time of what is taken out
            classes[number], *others = sorted([rest, *parts.values()], key=len, reverse=True)
            for part in filter(None, others):
                waiting.add(len(classes))
                for i in part:
                    colour[i] = len(classes)
                classes.append(part)
    return read_only(np.array(colour, np.int64))


@compiled(fastmath={"arcp", "contract", "nsz", "reassoc"})  # an unknown position stays not a number
def stereo_volume(positions: FloatArray, centre: IntArray) -> float:
    """Signed volume of a stereocentre; of a bond the cosine of its dihedral, to a scale of its own.

    On that scale :data:`FLAT` is the limit for bonds too.

    The volume is the mean triple product of unit vectors to three of the neighbours.

    The four choices of three arms are the four faces of one tetrahedron: with the tips u1 to u4 of the unit
    vectors, u1u2u3 - u1u2u4 + u1u3u4 - u2u3u4 is the determinant of u1 - u4, u2 - u4, u3 - u4.  A missing arm
    of length zero leaves the one product of the others, with its sign.

    Parameters
    ----------
    positions
        (n, 3) nm.
    centre
        (5,) rows of the centre and its neighbours, -1 for a neighbour that is missing; or of a bond.

    Returns
    -------
    0.77 and -0.77 for ideal tetrahedra, 1.5 and -1.5 for cis and trans (:func:`chirality_of`);
    not a number where fewer than three neighbours are there.
    """
    if centre[4] == BOND:
        return FLAT / BETWEEN * dihedral_cosine(positions, (centre[0], centre[1], centre[2], centre[3]))
    arms = 0
    for k in range(1, 5):
        arms += centre[k] >= 0
    if arms < 3:
        return np.nan
    ax, ay, az = _unit_arm(positions, centre[0], centre[1])
    bx, by, bz = _unit_arm(positions, centre[0], centre[2])
    cx, cy, cz = _unit_arm(positions, centre[0], centre[3])
    dx, dy, dz = _unit_arm(positions, centre[0], centre[4])
    ax, ay, az = ax - dx, ay - dy, az - dz
    bx, by, bz = bx - dx, by - dy, bz - dz
    cx, cy, cz = cx - dx, cy - dy, cz - dz
    total = (ay * bz - az * by) * cx + (az * bx - ax * bz) * cy + (ax * by - ay * bx) * cz
    return total / 4.0 if arms == 4 else total


@compiled()
def dihedral_cosine(x: FloatArray, rows: tuple[int, int, int, int]) -> float:
    """Cosine of the dihedral of four rows of positions (n, 3); 0 where three of them lie on a line."""
    i, j, k, m = rows
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = arm(x, i, j), arm(x, j, k), arm(x, k, m)
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    mx, my, mz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    norm = math.sqrt((nx * nx + ny * ny + nz * nz) * (mx * mx + my * my + mz * mz))
    return (nx * mx + ny * my + nz * mz) / norm if norm > 0.0 else 0.0


@compiled(fastmath={"arcp", "contract", "nsz", "reassoc"}, forceinline=True)
def _unit_arm(positions: FloatArray, centre: int, end: int) -> tuple[float, float, float]:
    """Unit vector between two rows, zero where there is no end."""
    if end < 0:
        return 0.0, 0.0, 0.0
    x, y, z = arm(positions, centre, end)
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


@compiled()
def _stereo_volumes(positions: FloatArray, centres: IntArray, lattice: Any, volumes: FloatArray) -> None:
    """Fill (copies, c) volumes of the stereo elements (c, 5) of molecules (copies, n, 3)."""
    for copy in range(len(positions)):
        for k in range(len(centres)):
            volumes[copy, k] = stereo_volume(in_lattice(positions[copy], lattice), centres[k])


def stereo_volumes(atoms: Positions, centres: IntArray, lattice: Lattice | None = None) -> FloatArray:
    """(copies, c) :func:`stereo_volume` of the elements (c, 5) of molecules (copies, n, 3)."""
    volumes = np.empty((len(atoms), len(centres)))
    # one type of array, one compiled function: a copy of the rows can be written to, stereocentres cannot
    _stereo_volumes(np.ascontiguousarray(atoms, np.float64), np.array(centres, np.int64), lattice, volumes)
    return volumes


def chirality_of(atoms: Positions, centres: IntArray, lattice: Lattice | None = None) -> SignArray:
    """State of each stereo element.

    Parameters
    ----------
    atoms
        (copies, n, 3) nm, whole molecules of one type.
    centres
        (c, 5), see :func:`stereo_elements`.
    lattice
        Where molecules are bonded to images of their own.

    Returns
    -------
    (copies, c): 1 where the first three neighbours, seen from the centre, make a right-handed
    system, -1 where a left-handed one, 0 where the four make no tetrahedron (:data:`FLAT`).  For bonds 1
    where they are cis, -1 where trans, 0 where neither (:data:`BETWEEN`).
    """
    volumes = stereo_volumes(atoms, centres, lattice)
    return (volumes > FLAT).astype(np.int8) - (volumes < -FLAT).astype(np.int8)


def triple_products(points: FloatArray, known: BoolArray, bonds: BoolArray | None = None) -> FloatArray:
    """:func:`stereo_volume` of elements of which some atoms may be unknown.

    Parameters
    ----------
    points
        (..., 5, 3) centres and their neighbours, or the four atoms of a bond and anything.
    known
        (..., 4) which atoms after the first are there.
    bonds
        (...) which elements are bonds; none if not given.

    Returns
    -------
    (...); not a number where fewer than three are known.
    """
    shape = points.shape[:-2]
    there = np.broadcast_to(known, (*shape, 4)).reshape(-1, 4)
    turning = np.broadcast_to(False if bonds is None else bonds, shape).reshape(-1)
    rows = np.arange(5 * len(there)).reshape(-1, 5)
    rows[:, 1:][~there] = -1
    rows[turning, 4] = np.where(there[turning, :3].all(axis=1), BOND, -1)
    return stereo_volumes(points.reshape(1, -1, 3), rows).reshape(shape)


def invert(positions: Positions, rows: IntArray) -> None:
    """Mirror stereocentres through the plane of three of their neighbours, or turn a bond over, in place.

    Bonds to the three keep their lengths.  Several centres are inverted at once; of bonds one.

    Parameters
    ----------
    positions
        (..., n, 3) nm.
    rows
        (4 + k,) or (c, 4 + k): the stereocentre, the three neighbours that stay, and what moves with the
        centre; -1 for what is not there.  Of a bond (5 + k,): its row, and what is turned about it.
    """
    if rows.ndim == 1 and len(rows) > 4 and rows[4] == BOND:
        _turn_over(positions, rows)
        return
    table = np.atleast_2d(rows)
    a, b, c = (positions[..., table[:, k], :] for k in (1, 2, 3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    for k in (0, *range(4, table.shape[1])):
        real = table[:, k] >= 0
        moved, plane = table[real, k], normal[..., real, :]
        height = ((positions[..., moved, :] - a[..., real, :]) * plane).sum(axis=-1, keepdims=True)
        positions[..., moved, :] -= 2 * height * plane


def _turn_over(positions: Positions, rows: IntArray) -> None:
    """Turn atoms about a bond by 180 degrees, in place; arguments as for :func:`invert`."""
    pivot = positions[..., rows[1], :][..., None, :]
    axis = positions[..., rows[2], :][..., None, :] - pivot
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    arm = positions[..., rows[5:], :] - pivot
    positions[..., rows[5:], :] = pivot + 2 * (arm * axis).sum(axis=-1, keepdims=True) * axis - arm


def known_states(moltype: MoleculeType) -> SignArray:
    """(c,) state of each stereo element as far as the force field holds it, else 0."""
    barriers = [moltype.barriers.get((j, k)) for _, j, k, *_ in stereo_bonds(moltype).tolist()]
    states = [0 if barrier is None else barrier.state for barrier in barriers]
    return np.concatenate([improper_chirality(moltype), np.array(states, np.int8)])


def stated_states(moltype: MoleculeType, statements: Sequence[tuple[str, tuple[int, ...]]]) -> SignArray:
    """(c,) state of each stereo element as a mapping file says it, else 0.

    Parameters
    ----------
    moltype
        The molecule type.
    statements
        ``chiral`` with rows of A, the centre, C, D and E: seen from A these three go round counter-clockwise;
        ``cis`` or ``trans`` with the rows of the four atoms of a dihedral.
    """
    elements = stereo_elements(moltype)
    signs = np.zeros(len(elements), np.int8)
    for k, element in enumerate(elements.tolist()):
        for kind, atoms in statements:
            one = _stated_bond if element[4] == BOND else _stated_centre
            signs[k] = one(element, kind, atoms) or signs[k]
    return signs


def _stated_centre(element: Sequence[int], kind: str, atoms: tuple[int, ...]) -> int:
    """State of a centre; 0 if the statement is not about it."""
    if kind != "chiral" or atoms[1] != element[0]:
        return 0
    seen_from, _, *others = atoms
    neighbours = list(element[1:])
    order = [*others, seen_from]
    if sorted(order) != sorted(neighbours):
        return 0
    # counter-clockwise as seen from the fourth is clockwise, left-handed, as seen from the centre outwards
    parity = np.linalg.det(np.eye(4)[[neighbours.index(j) for j in order]])
    return -1 if parity > 0 else 1


def _stated_bond(element: Sequence[int], kind: str, atoms: tuple[int, ...]) -> int:
    """State of a bond; 0 if the statement is not about it."""
    first, j, k, last, _ = element
    if kind not in ("cis", "trans") or {atoms[1], atoms[2]} != {j, k}:
        return 0
    ends = (atoms[0], atoms[3]) if atoms[1] == j else (atoms[3], atoms[0])
    # the other neighbour of a flat atom lies on the other side
    sign = (1 if ends[0] == first else -1) * (1 if ends[1] == last else -1)
    return sign * (1 if kind == "cis" else -1)


@lru_cache(maxsize=64)
def usual_states(moltype: MoleculeType) -> SignArray:
    """(c,) state that an element nearly always has, else 0.

    Trans peptide bonds, Z esters and acids, L amino acids, D-ribose in nucleotides.
    """
    centres = stereocentres(moltype)
    known = usual_sugars(moltype, centres) | usual_chirality(moltype, centres)
    usual = [known.get(row, 0) for row in range(len(centres))]
    usual += [usual_state(moltype, row) for row in stereo_bonds(moltype)]
    states = np.array(usual, np.int8)
    states.setflags(write=False)
    return states


def improper_chirality(moltype: MoleculeType) -> SignArray:
    """Chirality of each stereocentre as far as the force field holds it.

    A harmonic improper about a centre (dihedral type 2, centre first, as in united-atom force
    fields) has a minimum of about 35 degrees for one chirality and of -35 degrees for the other.

    Returns
    -------
    (c,) in the order of :func:`stereocentres`, 0 where no improper says.
    """
    centres = stereocentres(moltype).tolist()
    row = {centre: k for k, (centre, *_) in enumerate(centres)}
    signs = np.zeros(len(centres), np.int8)
    for terms in moltype.terms:
        if (terms.directive, terms.function) != ("dihedrals", 2):
            continue
        for (centre, *ends), angle in zip(terms.atoms.tolist(), terms.parameters[:, 0], strict=True):
            neighbours = centres[row[centre]][1:] if centre in row else []
            if set(ends) <= set(neighbours) and 10 < abs(angle) < 80:
                order = [neighbours.index(j) for j in ends]
                parity = np.linalg.det(np.eye(4)[[*order, 6 - sum(order)]])
                signs[row[centre]] = np.sign(angle * parity)
    return signs


def infer_chirality(
    system: System, atoms: Positions, expected: Chirality, lattice: Lattice | None = None
) -> dict[str, SignArray]:
    """Expected states, and where none is known that of whole atoms (n, 3).

    Returns
    -------
    By molecule type (copies, c); 0 where these atoms have none either, and where none is expected of an
    element that has two states in name only (:func:`nominal_elements`).
    """
    parts: dict[str, list[SignArray]] = {}
    for match, copies in copies_of_runs(system):
        moltype = match.moltype
        found = chirality_of(match.molecules(atoms), stereo_elements(moltype), lattice)
        wanted = _of_copies(expected, moltype, copies, found.shape)
        told = (wanted == 0) & ~nominal_elements(moltype, match.mapping)
        parts.setdefault(moltype.name, []).append(np.where(told, found, wanted))
    return {name: np.concatenate(chirality) for name, chirality in parts.items()}


def _of_copies(
    chirality: Chirality, moltype: MoleculeType, copies: slice, shape: tuple[int, ...]
) -> NDArray[np.int8]:
    """(copies, c) chirality of some molecules of a type."""
    signs = chirality.get(moltype.name, np.zeros((1, 1), np.int8))
    return np.broadcast_to(signs if len(signs) == 1 else signs[copies], shape)


def chirality_of_copies(system: System, chirality: Chirality) -> list[SignArray]:
    """(copies, c) expected states of each run of molecules of a type; 0 where none is expected."""
    return [
        np.array(
            _of_copies(chirality, match.moltype, copies, (match.count, len(stereo_elements(match.moltype))))
        )
        for match, copies in copies_of_runs(system)
    ]


def element_rows(match: Match) -> IntArray:
    """(copies, c, 5) stereo elements as rows of the system; negative numbers stay as they are."""
    elements = stereo_elements(match.moltype)
    return np.where(elements < 0, elements, elements + match.first_atoms[:, None, None])


class Source(IntEnum):
    """Where the state of a stereo element is from.

    Attributes
    ----------
    GIVEN
        An input, the library, the topology; or what is usual.
    INFERRED
        The beads.
    ASSIGNED
        The tacticity that was asked for.
    UNDECIDED
        Nothing: one of two states that the beads do not tell apart, kept in all frames.
    """

    GIVEN = 0
    INFERRED = 1
    ASSIGNED = 2
    UNDECIDED = 3


@dataclass(frozen=True, eq=False)
class Assignment:
    """The states of all stereo elements, and where they are from.

    Attributes
    ----------
    states
        By molecule type (copies, c): 1, -1, or 0 where nothing at all is known.
    sources
        By molecule type (copies, c) of :class:`Source`.
    confidence
        By molecule type (copies, c) kT by which what was inferred is better than the other state, else
        infinite.
    """

    states: Chirality
    sources: Mapping[str, IntArray]
    confidence: Mapping[str, FloatArray]

    def weakest(self, moltypes: Mapping[str, MoleculeType], *, bonds: bool = False) -> float:
        """The least confidence of the stereocentres, or bonds, that were inferred, kT."""
        least = math.inf
        for name, source in self.sources.items():
            chosen = (source == Source.INFERRED) & (are_bonds(stereo_elements(moltypes[name])) == bonds)
            least = min(least, float(self.confidence[name][chosen].min(initial=np.inf)))
        return least


@dataclass(frozen=True)
class Stereo:
    """How many stereocentres, or bonds that do not turn, are as they should be.

    Attributes
    ----------
    right, wrong
        Of the expected and of the opposite state.
    undefined
        A state is expected, but there is none: no tetrahedron, neither cis nor trans.
    unknown
        Which state is right is not known.
    inferred
        Of the state that the beads or the first frame have said, because none is known beforehand.
    assigned, undecided
        Of a state that follows from the tacticity asked for, or from nothing.
    """

    right: int = 0
    wrong: int = 0
    undefined: int = 0
    unknown: int = 0
    inferred: int = 0
    assigned: int = 0
    undecided: int = 0

    def __add__(self, other: Stereo) -> Stereo:
        return Stereo(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def text(self, weakest: float = math.inf) -> str:
        """Say it in a line; ``weakest`` is the least confidence of what was inferred, kT."""
        total = sum(astuple(self))
        if not total:
            return "none"
        how = f" (weakest by {weakest:.1f} kT)" if weakest < math.inf else ""
        good = {
            "right": self.right,
            f"inferred from the beads{how}": self.inferred,
            "as the tacticity says": self.assigned,
        }
        parts = [f"{count} of {total} {name}" for name, count in good.items() if count]
        parts = parts or [f"0 of {total} right"]
        bad = {"wrong": self.wrong, "undefined": self.undefined, "undecided": self.undecided}
        parts += [f"{count} {name}" for name, count in bad.items() if count]
        if self.unknown:
            parts.append(f"{self.unknown} not judged: no conformer (-r) says what is right")
        return ", ".join(parts)


def count_stereo(
    system: System,
    atoms: Positions,
    expected: Chirality,
    *,
    inferred: Chirality | None = None,
    sources: Mapping[str, IntArray] | None = None,
    bonds: bool = False,
    lattice: Lattice | None = None,
) -> Stereo:
    """Compare the stereocentres, or bonds, of whole atoms (n, 3) with what is expected.

    Parameters
    ----------
    expected
        See :func:`~dbm_gmx.files.conformers.reference_chirality`.
    inferred
        See :func:`infer_chirality`; used where no state is expected.
    sources
        By molecule type (copies, c) of :class:`Source`, where the states in ``inferred`` are from.
    bonds
        Count bonds instead of stereocentres.
    lattice
        As for :func:`chirality_of`.
    """
    total = Stereo()
    for match, copies in copies_of_runs(system):
        moltype = match.moltype
        elements = stereo_elements(moltype)
        found = chirality_of(match.molecules(atoms), elements, lattice)
        known = wanted = _of_copies(expected, moltype, copies, found.shape)
        nominal = nominal_elements(moltype, match.mapping)
        counted = (are_bonds(elements) == bonds) & ((known != 0) | ~nominal)
        if inferred is not None:
            wanted = _of_copies(inferred, moltype, copies, found.shape)
        source = np.where(known != 0, Source.GIVEN, Source.INFERRED)
        if sources is not None:
            source = np.where(known != 0, Source.GIVEN, sources[moltype.name][copies])
        found, wanted, source = found[counted], wanted[counted], source[counted]
        same, other = (wanted != 0) & (found == wanted), (wanted != 0) & (found == -wanted)
        # where even inferring found none there is none yet
        flat = (found == 0) & ((wanted != 0) | (inferred is not None))
        total += Stereo(
            right=int((same & (source == Source.GIVEN)).sum()),
            wrong=int(other.sum()),
            undefined=int(flat.sum()),
            unknown=int(((wanted == 0) & ~flat).sum()),
            inferred=int((same & (source == Source.INFERRED)).sum()),
            assigned=int((same & (source == Source.ASSIGNED)).sum()),
            undecided=int((same & (source == Source.UNDECIDED)).sum()),
        )
    return total


def wrong_elements(
    system: System, atoms: Positions, expected: Chirality, lattice: Lattice | None = None
) -> tuple[IntArray, IntArray]:
    """(w, 5) stereo elements of whole atoms (n, 3) in the wrong state, and (f, 5) those without any.

    Parameters
    ----------
    expected
        See :func:`~dbm_gmx.files.conformers.reference_chirality`; elements without an expected state
        are left out.
    """
    wrong, flat = [np.zeros((0, 5), np.int64)], [np.zeros((0, 5), np.int64)]
    for match, wanted in zip(system.matches, chirality_of_copies(system, expected), strict=True):
        found = chirality_of(match.molecules(atoms), stereo_elements(match.moltype), lattice)
        rows = element_rows(match)
        wrong.append(rows[(wanted != 0) & (found == -wanted)])
        flat.append(rows[(wanted != 0) & (found == 0)])
    return np.concatenate(wrong), np.concatenate(flat)

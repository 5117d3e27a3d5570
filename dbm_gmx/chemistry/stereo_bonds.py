"""Bonds that may not turn, from the molecular graph: double bonds, amides, esters and others."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, IntArray
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, hydrogens, own_masses

BOND = -2
"""Marks the row of a bond, where that of a stereocentre has its last neighbour."""

SMALL_RING = 7
"""Members of a ring up to which its bonds have one state only."""

MEDIUM_RING = 10
"""Members of a ring up to which an amide or an ester in it may well be cis."""

CARBON, NITROGEN, HYDROGEN = 12.011, 14.007, 1.008
"""amu."""

WANTING = {("C", 3), ("N", 2), ("O", 1), ("S", 1)}
"""Elements and bonds of atoms that need a double bond."""


class BondKind(Enum):
    """Why a bond does not turn."""

    DOUBLE = "double bonds"
    AMIDE = "amides"
    ESTER = "esters"
    OTHER = "other bonds"


class _Atoms(NamedTuple):
    """What is asked of atoms: graph, elements, masses, which are hydrogens, number of bonds."""

    graph: nx.Graph
    elements: list[str]
    masses: list[float]
    light: list[bool]
    bonds: list[int]


@lru_cache(maxsize=8)
def _atoms(moltype: MoleculeType) -> _Atoms:
    graph, elements, masses = chemical_graph(moltype), moltype.elements, own_masses(moltype.graph).tolist()
    bonds = [graph.degree(i) + _hidden(elements[i], masses[i]) for i in range(moltype.n_atoms)]
    return _Atoms(graph, elements, masses, hydrogens(moltype).tolist(), bonds)


def _hidden(element: str, mass: float) -> int:
    """Hydrogens in a united atom, by its mass."""
    alone = {"C": CARBON, "N": NITROGEN}.get(element)
    return 0 if alone is None or math.isnan(mass) else max(0, round((mass - alone) / HYDROGEN))


def flat_bonds(moltype: MoleculeType) -> IntArray:
    """Bonds with two planar states, whether they turn or not.

    Both ends are flat (at most three bonds) and have another neighbour; a bond of a ring of up to
    :data:`SMALL_RING` members has one state only.

    Returns
    -------
    (b, 5) rows i, j, k, l, :data:`BOND`: the bond j-k, and of each end the group that its state is told by.
    """
    atoms, rows = _atoms(moltype), []
    for j, k in sorted((min(edge), max(edge)) for edge in atoms.graph.edges):
        if atoms.light[j] or atoms.light[k] or not (_flat(atoms, j) and _flat(atoms, k)):
            continue
        if not in_small_ring(atoms.graph, j, k):
            rows.append([_group(atoms, j, k), j, k, _group(atoms, k, j), BOND])
    return np.array(rows, np.int64).reshape(-1, 5)


def are_nominal(
    moltype: MoleculeType, rows: IntArray, colour: IntArray, centres: Collection[int], *, beads: bool
) -> BoolArray:
    """(b,) bonds whose two states are one molecule, and differ in the numbers of two groups only.

    As of =CH2, =C(CH3)2 and -NH2: none of the states is better, but no simulation goes from one to the other.
    So it is of larger groups, as N-phenyl or N(C2H5)2, if their beads do not tell them apart.

    Parameters
    ----------
    rows
        (b, 5) all bonds that do not turn, see :func:`flat_bonds`.
    colour
        (n,) equal numbers for atoms that are alike.
    centres
        Stereocentres.
    beads
        Whether these are also alike to the beads; else groups of more than one heavy atom are not exchanged.
    """
    atoms, others, ends = _atoms(moltype), frozenset(centres), [row[1:3] for row in rows.tolist()]
    partners: dict[int, set[int]] = {}
    for j, k in ends:
        partners.setdefault(j, set()).add(k)

    def is_one(at: int, other: int) -> bool:
        """Whether half a turn of this end changes nothing."""
        firsts = [i for i in atoms.graph[at] if i != other]
        if len(firsts) != 2 or colour[firsts[0]] != colour[firsts[1]]:
            return False
        if not beads and any(_heavy(atoms, i) > 1 for i in firsts):
            return False
        groups = _exchanged(atoms, colour, at, (firsts[0], firsts[1]))
        within = any(not groups.isdisjoint(partners.get(i, ())) for i in groups)
        return bool(groups) and groups.isdisjoint(others) and not within

    return np.array([is_one(j, k) or is_one(k, j) for j, k in ends], bool)


def _exchanged(atoms: _Atoms, colour: IntArray, at: int, firsts: tuple[int, int]) -> set[int]:
    """Atoms of two groups that half a turn exchanges; none where it gives the mirror image.

    Parameters
    ----------
    at
        The atom that turns.
    firsts
        The first atoms of the groups, alike.  Both may be one ring, and what they share is on the axis.
    """
    sides, edges, shared = [{i} for i in firsts], [{i} for i in firsts], {at}
    while any(edges):
        edges = [{n for i in edge for n in atoms.graph[i]} - shared - sides[0] - sides[1] for edge in edges]
        shared |= edges[0] & edges[1]
        edges = [edge - shared for edge in edges]
        sides = [side | edge for side, edge in zip(sides, edges, strict=True)]
    both = sides[0] | sides[1]
    for i in shared - {at}:
        outside = [int(colour[n]) for n in atoms.graph[i] if n not in both]
        outside += [-1] * (atoms.bonds[i] - atoms.graph.degree(i))  # hidden hydrogens
        if len(set(outside)) == 2:
            return set()
    return both


def _heavy(atoms: _Atoms, i: int) -> int:
    """Number of heavy neighbours."""
    return sum(not atoms.light[n] for n in atoms.graph[i])


def _flat(atoms: _Atoms, i: int) -> bool:
    return atoms.bonds[i] <= 3 and atoms.graph.degree(i) >= 2 and not _straight(atoms, i)


def _straight(atoms: _Atoms, i: int) -> bool:
    """Whether the bonds of an atom are in a line: triple bonds, and the middle of azides and diazo groups."""
    if atoms.bonds[i] != 2 or atoms.elements[i] not in ("C", "N"):
        return False
    return atoms.elements[i] == "C" or any(
        atoms.elements[n] in ("C", "N") and atoms.bonds[n] == 1 for n in atoms.graph[i]
    )


def _group(atoms: _Atoms, j: int, k: int) -> int:
    """The neighbour of j that the state of a bond j-k is told by.

    Heavy before light, and the oxygen of a carbonyl last of those: a peptide bond is told by CA-C-N-CA.
    """

    def rank(i: int) -> tuple[bool, bool, int, float, int]:
        return atoms.light[i], _terminal_oxygen(atoms, i), -_heavy(atoms, i), -atoms.masses[i], i

    return min((int(i) for i in atoms.graph[j] if i != k), key=rank)


def _terminal_oxygen(atoms: _Atoms, i: int) -> bool:
    return atoms.elements[i] in ("O", "S") and atoms.graph.degree(i) == 1


def in_small_ring(graph: nx.Graph, j: int, k: int, members: int = SMALL_RING) -> bool:
    """Whether a bond is in a ring of up to so many members."""
    seen, edge = {j}, [j]
    for _ in range(members - 1):
        edge = [n for i in edge for n in graph[i] if n not in seen and {i, n} != {j, k}]
        if k in edge:
            return True
        seen.update(edge)
    return False


# --- kinds -------------------------------------------------------------------------------------------


def kinds_of_bonds(moltype: MoleculeType, rows: IntArray) -> list[BondKind]:
    """What the graph says about bonds (b, 5): a kind that does not turn, or ``OTHER``."""
    atoms, found = _atoms(moltype), []
    double = _double_bonds(atoms) if len(rows) else set()
    for _, j, k, _, _ in rows.tolist():
        ways = [(j, k), (k, j)]
        if frozenset((j, k)) in double:
            found.append(BondKind.DOUBLE)
        elif any(_is_amide(atoms, a, b) for a, b in ways):
            found.append(BondKind.AMIDE)
        elif any(_is_ester(atoms, a, b) for a, b in ways):
            found.append(BondKind.ESTER)
        else:
            found.append(BondKind.OTHER)
    return found


def _double_bonds(atoms: _Atoms) -> set[frozenset[int]]:
    """Bonds that are double in whatever way the double bonds are drawn; those of aromatic rings are not.

    An atom that needs a double bond and has one neighbour that needs one too shares it with that one.
    """
    wanting = {i for i in atoms.graph if (atoms.elements[i], atoms.bonds[i]) in WANTING} - _aromatic(atoms)
    links = {i: {j for j in atoms.graph[i] if j in wanting} for i in wanting}
    ends = sorted(i for i in links if len(links[i]) == 1)
    found: set[frozenset[int]] = set()
    while ends:
        i = ends.pop()
        if len(links[i]) != 1:
            continue
        (j,) = links[i]
        found.add(frozenset((i, j)))
        for n in (i, j):
            for other in links[n]:
                links[other].discard(n)
                ends += [other] if len(links[other]) == 1 else []
            links[n] = set()
    return found


def _aromatic(atoms: _Atoms) -> set[int]:
    """Atoms of rings of up to :data:`SMALL_RING` members, all of them flat."""
    part = atoms.graph.subgraph(i for i in atoms.graph if atoms.bonds[i] <= 3)
    found: set[int] = set()
    for block in nx.biconnected_components(part):
        if len(block) > 4:
            found |= {i for i in block if any(in_small_ring(part, i, j) for j in part[i] if j in block)}
    return found


def _carbonyl(atoms: _Atoms, i: int) -> int:
    """The oxygen (or sulphur) of a carbonyl carbon, -1 if it is none."""
    if atoms.elements[i] != "C" or atoms.bonds[i] != 3:
        return -1
    return next((j for j in sorted(atoms.graph[i]) if _terminal_oxygen(atoms, j)), -1)


def _is_amide(atoms: _Atoms, carbon: int, nitrogen: int) -> bool:
    here = atoms.elements[nitrogen] == "N" and atoms.bonds[nitrogen] == 3
    return here and _carbonyl(atoms, carbon) >= 0


def _is_ester(atoms: _Atoms, carbon: int, oxygen: int) -> bool:
    """Whether the bond is that of an ester; acids, anhydrides and carbonates turn more easily."""
    graph, elements = atoms.graph, atoms.elements
    if elements[oxygen] != "O" or graph.degree(oxygen) != 2 or _carbonyl(atoms, carbon) < 0:
        return False
    (other,) = set(graph[oxygen]) - {carbon}
    single = [i for i in graph[carbon] if elements[i] == "O" and graph.degree(i) > 1]
    return elements[other] == "C" and _carbonyl(atoms, other) < 0 and len(single) == 1


def _is_acid(atoms: _Atoms, carbon: int, oxygen: int) -> bool:
    """Whether the bond is that of a carboxylic acid, from its carbon to its OH."""
    others = set(atoms.graph[oxygen]) - {carbon}
    return (
        atoms.elements[oxygen] == "O"
        and _carbonyl(atoms, carbon) >= 0
        and any(atoms.light[i] for i in others)
    )


def _is_mixed(atoms: _Atoms, carbon: int, nitrogen: int) -> bool:
    """Whether an amide is of a thiourea or a thiocarbamate: both states are common there."""
    sulphur = _carbonyl(atoms, carbon)
    others = set(atoms.graph[carbon]) - {nitrogen, sulphur}
    return atoms.elements[sulphur] == "S" and any(atoms.elements[i] in ("N", "O", "S") for i in others)


def usual_state(moltype: MoleculeType, row: IntArray) -> int:
    """The state that a bond nearly always has: 1 (cis), -1 (trans) of a row, 0 where none is usual.

    In secondary amides, esters and acids the oxygen of the carbonyl is on the side of the group on nitrogen
    or oxygen, so that a peptide bond is trans and an ester is Z.  The bond to nitrogen of thioureas and
    thiocarbamates is either: crystals of some have N-H beside S (Vallejos et al., Polyhedron 28, 937, 2009).
    So are all of these in rings of up to :data:`MEDIUM_RING` members.
    """
    atoms, (i, j, k, m) = _atoms(moltype), row[:4].tolist()
    if in_small_ring(atoms.graph, j, k, MEDIUM_RING):
        return 0
    for near, carbon, other in ((i, j, k), (m, k, j)):
        groups = set(atoms.graph[other]) - {carbon}
        secondary = len(groups) == 2 and sum(atoms.light[n] for n in groups) == 1
        oxygen = _is_ester(atoms, carbon, other) or _is_acid(atoms, carbon, other)
        if oxygen or (secondary and _is_amide(atoms, carbon, other) and not _is_mixed(atoms, carbon, other)):
            return 1 if near == _carbonyl(atoms, carbon) else -1
    return 0


def preference(moltype: MoleculeType, row: IntArray) -> float:
    """What the usual state of a bond is better by at least, kJ/mol.

    5 for amides of carbonic and formic acid (carbamates, ureas, formamides), 20 for esters, acids and all
    other secondary amides: of peptides without proline one in two thousand is cis.
    """
    atoms, (j, k) = _atoms(moltype), row[1:3].tolist()
    carbon, other = (j, k) if _carbonyl(atoms, j) >= 0 else (k, j)
    beside = set(atoms.graph[carbon]) - {other, _carbonyl(atoms, carbon)}
    weak = atoms.elements[other] == "N" and all(atoms.elements[i] != "C" for i in beside)
    return 5.0 if weak else 20.0


# --- what is not held --------------------------------------------------------------------------------


def axial_bonds(moltype: MoleculeType) -> Iterator[tuple[str, int, int]]:
    """Yield what may hold axial chirality, and two of its atoms: crowded biaryls and allenes."""
    atoms = _atoms(moltype)
    graph, elements, flat = atoms.graph, atoms.elements, _aromatic(atoms)
    for j, k in sorted((min(edge), max(edge)) for edge in graph.edges):
        if j in flat and k in flat and not in_small_ring(graph, j, k):
            beside = [(n, a) for a, b in ((j, k), (k, j)) for n in graph[a] if n != b]
            if sum(_crowded(atoms, n, a) for n, a in beside) >= 3:
                yield "biaryl", j, k
    for i in range(moltype.n_atoms):
        near = sorted(n for n in graph[i] if elements[n] == "C" and atoms.bonds[n] == 3)
        straight = elements[i] == "C" and atoms.bonds[i] == 2 and len(near) == 2
        if straight and not in_small_ring(graph, i, near[0]):  # else the bare edge of a sheet of carbon
            yield "allene", near[0], near[1]


def _crowded(atoms: _Atoms, beside: int, end: int) -> bool:
    """Whether an atom beside the bond of a biaryl has a heavy group besides its two in the ring."""
    return sum(not atoms.light[n] for n in atoms.graph[beside] if n != end) > 1

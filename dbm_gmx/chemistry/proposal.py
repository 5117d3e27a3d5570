"""Proposals of a mapping: ways to cut a molecule into parts that are joined as its beads are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.heavy import heavy_graph
from dbm_gmx.chemistry.residues import residues_of
from dbm_gmx.chemistry.topology import MoleculeType

Cut = tuple[frozenset[int], ...]
"""Rows of the heavy atoms of each bead."""

MASS = 0.6
"""amu: masses of beads and of their atoms that differ by less are the same; in files they are rounded."""

WORK = 500_000
"""Atoms of all parts that are looked at, at most: large parts take longer."""

MOST_CUTS = 300
"""Ways that are looked at, at most."""

MOST_BEADS = 300
"""Of a molecule, or of a stretch without residues in common."""

ANCHORS = {"PO4": "P", "NC3": "N", "NH3": "N"}
"""Elements that beads of lipids have by their names (Martini)."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What is proposed for one molecule type.

    Attributes
    ----------
    moltype, beads
        The molecule, and what its beads are (names, types, bonds).
    cuts
        Ways that are equally good, alike ones once; a proposal if it is one.
    reasons
        What it follows from, or why there is none.
    alike
        Ways that are the same by the symmetry of the molecule, of the one.
    """

    moltype: MoleculeType
    beads: MoleculeType
    cuts: tuple[Cut, ...]
    reasons: tuple[str, ...]
    alike: int = 1


class TooManyError(Exception):
    """There are more ways than can be looked at."""


@dataclass
class _Search:
    """A search for cuts.

    ``order`` are the beads and from which earlier one each is reached (-1 for the first); ``allowed`` the
    rows that each may have; ``needed`` those that it must have one of; ``masses`` of the beads, or none;
    ``sizes`` the least and the largest number of atoms of a bead where masses say nothing.
    """

    heavy: nx.Graph
    beads: nx.Graph
    order: Sequence[tuple[int, int]]
    allowed: Sequence[frozenset[int]]
    needed: Sequence[frozenset[int]]
    masses: Sequence[float] | None
    sizes: tuple[int, int]
    work: int = field(default=0)

    def mass(self, rows: Iterable[int]) -> float:
        """Of some rows."""
        return float(sum(self.heavy.nodes[i]["mass"] for i in rows))


def propose(moltype: MoleculeType, beads: MoleculeType) -> Proposal:
    """Propose a mapping of a molecule to its beads.

    Parts of the molecule are looked for that are joined by bonds as the beads are.  Where residues of both
    have the same names, a bead has atoms of its residue only.  Where the masses of the beads add up to that
    of the molecule, each part has the mass of its bead; else parts are as equal as can be in numbers of heavy
    atoms.
    """
    heavy = heavy_graph(moltype)
    graph = nx.Graph()
    graph.add_nodes_from(range(beads.n_atoms))
    graph.add_edges_from(beads.bonds.tolist())
    reasons: list[str] = []

    def none(why: str) -> Proposal:
        return Proposal(moltype, beads, (), (*reasons, why))

    if beads.n_atoms == 1:
        return Proposal(moltype, beads, ((frozenset(heavy),),), ("one bead has all atoms",))
    if not nx.is_connected(graph) or not nx.is_connected(heavy):
        return none("its beads, or its atoms, are not all joined by bonds")
    if len(heavy) < beads.n_atoms:
        return none(f"{beads.n_atoms} beads, but {len(heavy)} atoms that are no hydrogens")
    allowed, said = _allowed(moltype, beads, heavy)
    reasons += [said] if said else []
    masses, said = _masses(moltype, beads)
    reasons.append(said)
    if beads.n_atoms > MOST_BEADS and not any(len(rows) < len(heavy) for rows in allowed):
        return none(f"more than {MOST_BEADS} beads, and no residues of the same names")
    search = _Search(heavy, graph, _order(graph), allowed, _needed(moltype, beads, allowed), masses, (1, 1))
    try:
        cuts = _cuts(search)
    except TooManyError:
        return none(
            "there are too many ways to cut it: give CGSmiles (--smiles), or a mapping of its residues"
        )
    if not cuts:
        return none("no cut of its bonds gives parts that are joined as the beads are" + _shared(masses))
    best = _best(cuts) if masses is None else cuts
    classes = _classes(best, heavy)
    first = tuple(min(group, key=in_order) for group in classes)
    return Proposal(moltype, beads, tuple(sorted(first, key=in_order)), tuple(reasons), len(classes[0]))


def _shared(masses: object) -> str:
    return " and have their masses: do beads share atoms? Say so with --smiles ([!])" if masses else ""


def in_order(cut: Cut) -> list[float]:
    """Mean row of each bead: small where beads are in the order of the atoms."""
    return [float(np.mean(list(rows))) for rows in cut]


def _allowed(moltype: MoleculeType, beads: MoleculeType, heavy: nx.Graph) -> tuple[list[frozenset[int]], str]:
    """Rows that each bead may have: those of its residue, where residues have the same names."""
    atoms, groups = residues_of(moltype), residues_of(beads)
    names = [residue.name for residue in atoms], [residue.name for residue in groups]
    if (
        len(atoms) == 1
        or len(atoms) != len(groups)
        or any(a[:3] != b[:3] for a, b in zip(*names, strict=True))
    ):
        return [frozenset(heavy)] * beads.n_atoms, ""
    number = {row: k for k, residue in enumerate(groups) for row in residue.rows}
    inside = [frozenset(row for row in residue.rows if row in heavy) for residue in atoms]
    return [inside[number[bead]] for bead in range(beads.n_atoms)], f"{len(atoms)} residues of the same names"


def _needed(
    moltype: MoleculeType, beads: MoleculeType, allowed: Sequence[frozenset[int]]
) -> list[frozenset[int]]:
    """Rows of which each bead must have one: an atom of its name, or of the element it is known for."""
    found = []
    for name, rows in zip(beads.names, allowed, strict=True):
        same = frozenset(row for row in rows if moltype.names[row] == name)
        element = ANCHORS.get(name)
        known = frozenset(row for row in rows if moltype.graph.nodes[row]["element"] == element)
        found.append(same if len(same) == 1 else known if element else frozenset())
    return found


def _masses(moltype: MoleculeType, beads: MoleculeType) -> tuple[list[float] | None, str]:
    """Masses of the beads, where they are those of their atoms."""
    masses, total = beads.masses.tolist(), float(moltype.masses.sum())
    if abs(sum(masses) - total) <= MASS * max(1.0, beads.n_atoms**0.5):
        return masses, f"masses of the beads add up to that of the molecule ({total:.1f} amu)"
    text = (
        f"masses of the beads ({sum(masses):.1f} amu) are not those of the atoms ({total:.1f}), so not used"
    )
    return None, text


def _order(beads: nx.Graph) -> list[tuple[int, int]]:
    """Beads breadth-first from one at an end, and the earlier one that each is bonded to."""
    start = min(beads, key=lambda bead: (beads.degree(bead), bead))
    return [(start, -1), *((child, parent) for parent, child in nx.dfs_edges(beads, start))]


def _cuts(search: _Search) -> list[Cut]:
    """All cuts, up to :data:`MOST_CUTS`; without masses those of the narrowest range of sizes there are."""
    mean = len(search.heavy) / search.beads.number_of_nodes()
    ranges = [(1, len(search.heavy))]
    if search.masses is None:
        ranges = [(max(1, int(mean) - k), int(np.ceil(mean)) + k) for k in range(3)]
    for sizes in ranges:
        search.sizes = sizes
        found = []
        for parts in _extended(search, {}, 0):
            found.append(tuple(parts[bead] for bead in range(len(parts))))
            if len(found) > MOST_CUTS:
                raise TooManyError
        if found:
            return found
    return []


def _extended(
    search: _Search, parts: dict[int, frozenset[int]], at: int
) -> Iterator[dict[int, frozenset[int]]]:
    """Yield all ways to give atoms to the beads from number ``at`` of the order on."""
    if at == len(search.order):
        yield dict(parts)
        return
    bead, parent = search.order[at]
    taken = {row for rows in parts.values() for row in rows}
    for rows in _parts(search, bead, parts.get(parent), taken):
        parts[bead] = rows
        if _can_go_on(search, parts, taken | rows):
            yield from _extended(search, parts, at + 1)
        del parts[bead]


def _parts(
    search: _Search, bead: int, parent: frozenset[int] | None, taken: set[int]
) -> Iterator[frozenset[int]]:
    """Yield connected parts that may be a bead: next to its parent, of its mass."""
    free = search.allowed[bead] - taken
    starts = free if parent is None else {j for i in parent for j in search.heavy[i]} & free
    seen: set[frozenset[int]] = set()
    waiting = [frozenset([row]) for row in sorted(starts)]
    while waiting:
        rows = waiting.pop()
        if rows in seen:
            continue
        seen.add(rows)
        search.work += len(rows)
        if search.work > WORK:
            raise TooManyError
        more, enough = _fits(search, bead, rows)
        if enough and (not search.needed[bead] or rows & search.needed[bead]):
            yield rows
        if more:
            around = {j for i in rows for j in search.heavy[i]} & free - rows
            waiting += [rows | {row} for row in around]


def _fits(search: _Search, bead: int, rows: frozenset[int]) -> tuple[bool, bool]:
    """Whether a part may still grow, and whether it is large enough."""
    if search.masses is None:
        least, most = search.sizes
        return len(rows) < most, least <= len(rows) <= most
    missing = search.masses[bead] - search.mass(rows)
    return missing > MASS, abs(missing) <= MASS


def _can_go_on(search: _Search, parts: Mapping[int, frozenset[int]], taken: set[int]) -> bool:
    """Whether parts are joined as their beads are, and what is left falls apart as the other beads do."""
    owner = {row: bead for bead, rows in parts.items() for row in rows}
    joined = {
        (owner[i], owner[j])
        for i, j in search.heavy.edges(taken)
        if i in owner and j in owner and owner[i] != owner[j]
    }
    joined |= {(j, i) for i, j in joined}
    wanted = {(i, j) for i, j in search.beads.edges(parts) if i in parts and j in parts}
    if joined != wanted | {(j, i) for i, j in wanted}:
        return False
    atoms = list(nx.connected_components(search.heavy.subgraph(set(search.heavy) - taken)))
    beads = list(nx.connected_components(search.beads.subgraph(set(search.beads) - set(parts))))
    if len(atoms) != len(beads):
        return False
    if search.masses is None:
        least, most = search.sizes
        sizes = sorted(map(len, atoms)), sorted(map(len, beads))
        return (
            all(b * least <= a <= b * most for a, b in zip(*sizes, strict=True)) if len(atoms) == 1 else True
        )
    masses = search.masses
    left = sorted(search.mass(part) for part in atoms)
    wanted_masses = sorted(sum(masses[bead] for bead in part) for part in beads)
    room = [MASS * max(1.0, len(part) ** 0.5) * 2 for part in beads]
    return all(abs(a - b) <= max(room) for a, b in zip(left, wanted_masses, strict=True))


def _best(cuts: Sequence[Cut]) -> list[Cut]:
    """Those whose parts are most equal in size."""
    score = [sum(len(rows) ** 2 for rows in cut) for cut in cuts]
    return [cut for cut, value in zip(cuts, score, strict=True) if value == min(score)]


def _classes(cuts: Sequence[Cut], heavy: nx.Graph) -> list[list[Cut]]:
    """Put those together that the symmetry of the molecule makes the same."""
    classes: list[tuple[nx.Graph, list[Cut]]] = []
    for cut in cuts:
        graph = heavy.copy()
        for bead, rows in enumerate(cut):
            for row in rows:
                graph.nodes[row]["bead"] = bead
        for other, group in classes:
            if nx.is_isomorphic(graph, other, node_match=_same):
                group.append(cut)
                break
        else:
            classes.append((graph, [cut]))
    return [group for _, group in classes]


def _same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    alike = all(one[key] == two[key] for key in ("element", "hydrogens", "bead"))
    return alike and abs(one["mass"] - two["mass"]) < MASS

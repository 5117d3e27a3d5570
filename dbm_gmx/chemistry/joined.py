"""Molecules with interactions between them (``[ intermolecular_interactions ]``), as one molecule.

Everything that samples and judges works on molecules.  Those that are held to each other, and what stands
between them in the list of molecules, become one molecule with those interactions among its terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, groupby, pairwise

import networkx as nx
import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.mapping import Mapping, Match
from dbm_gmx.chemistry.topology import (
    HELD,
    Barrier,
    MoleculeType,
    Terms,
    Topology,
    blocks,
    excluded_pairs,
)
from dbm_gmx.errors import InputError

MOST_ATOMS = 20_000
"""In a molecule that is made of several."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Equal molecules that follow each other.

    Attributes
    ----------
    run, count
        Number of the run (a line of ``[ molecules ]``) they are of, and how many.
    joined
        They become one molecule with the pieces that follow and have the same number here; -1: they do not.
    """

    run: int
    count: int
    joined: int = -1


def join_topology(topology: Topology) -> Topology:
    """The topology with molecules that are held to each other as one molecule, and nothing between molecules.

    Raises
    ------
    InputError
        If that would be a molecule of more than :data:`MOST_ATOMS` atoms.
    """
    if not topology.intermolecular:
        return topology
    types = [moltype for moltype, *_ in blocks(topology)]
    found = [_moltype(parts, types, topology) for parts in _parts(topology)]
    names = _named([moltype for moltype, _ in found], topology)
    moltypes = dict(topology.molecule_types)
    for name, (moltype, _) in zip(names, found, strict=True):
        moltypes[name] = replace(moltype, name=name)
    molecules = tuple(zip(names, (copies for _, copies in found), strict=True))
    return replace(topology, molecule_types=moltypes, molecules=molecules, intermolecular=())


def join_matches(
    topology: Topology, joined: Topology, matches: Sequence[Match]
) -> tuple[dict[str, Mapping], tuple[Match, ...]]:
    """Mappings of the molecules of :func:`join_topology`, and its runs.

    Parameters
    ----------
    topology, joined
        Before and after.
    matches
        Of the topology before, one for each of its lines of molecules or for several equal ones.
    """
    of = {match.moltype.name: match.mapping for match in matches}
    names = [moltype.name for moltype, *_ in blocks(topology)]
    mappings: dict[str, Mapping] = {}
    for (name, _), parts in zip(joined.molecules, _parts(topology), strict=True):
        copies = [of[names[p.run]] for p in parts for _ in range(p.count if p.joined >= 0 else 1)]
        mappings[name] = unite_mappings(copies, name) if parts[0].joined >= 0 else copies[0]
    found, bead, atom = [], 0, 0
    for name, group in groupby(joined.molecules, key=lambda m: m[0]):
        moltype, mapping = joined.molecule_types[name], mappings[name]
        molecules = sum(n for _, n in group)
        found.append(Match(moltype, mapping, molecules, first_bead=bead, first_atom=atom))
        bead, atom = bead + molecules * len(mapping.names), atom + molecules * moltype.n_atoms
    return mappings, tuple(found)


# --- which molecules -----------------------------------------------------------------------------------


def _parts(topology: Topology) -> list[list[Piece]]:
    """Pieces of the list of molecules in order, those that become one molecule together."""
    starts, sizes, counts = _runs(topology)
    before = np.cumsum([0, *counts])
    spans: list[list[int]] = []
    for low, high in sorted(_spans(topology.intermolecular, starts, sizes, before)):
        if spans and low <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], high)
        else:
            spans.append([low, high])
    cuts = sorted({*before.tolist(), *(x for low, high in spans for x in (low, high + 1))})
    pieces = []
    for low, high in pairwise(cuts):
        run = int(np.searchsorted(before, low, side="right")) - 1
        inside = [k for k, (first, last) in enumerate(spans) if first <= low <= last]
        pieces.append(Piece(run, high - low, inside[0] if inside else -1))
    return [list(group) for _, group in groupby(pieces, key=lambda p: p.joined if p.joined >= 0 else id(p))]


def _runs(topology: Topology) -> tuple[IntArray, IntArray, list[int]]:
    """First atom, atoms in a molecule, and molecules of each run."""
    every = list(blocks(topology))
    starts: IntArray = np.array([first for _, first, _ in every], np.int64)
    sizes: IntArray = np.array([moltype.n_atoms for moltype, *_ in every], np.int64)
    return starts, sizes, [copies for *_, copies in every]


def _spans(
    terms: Iterable[Terms], starts: IntArray, sizes: IntArray, before: IntArray
) -> Iterator[tuple[int, int]]:
    """First and last molecule of each term."""
    for group in terms:
        run = np.searchsorted(starts, group.atoms, side="right") - 1
        molecule = before[run] + (group.atoms - starts[run]) // sizes[run]
        yield from zip(molecule.min(axis=1).tolist(), molecule.max(axis=1).tolist(), strict=True)


# --- one molecule of several ---------------------------------------------------------------------------


def _moltype(parts: list[Piece], types: list[MoleculeType], topology: Topology) -> tuple[MoleculeType, int]:
    """The molecule type of some pieces, and how many molecules they are."""
    if parts[0].joined < 0:
        return types[parts[0].run], parts[0].count
    copies = [types[p.run] for p in parts for _ in range(p.count)]
    starts = np.cumsum([0, *(moltype.n_atoms for moltype in copies)])
    size = int(starts[-1])
    if size > MOST_ATOMS:
        raise InputError(
            f"[ intermolecular_interactions ] hold molecules together that are {len(copies)} molecules apart "
            f"({size} atoms; {MOST_ATOMS} are possible): list them next to each other in [ molecules ]",
            path=topology.path,
        )
    first = _first_atom(parts[0], topology)
    between = [_within(group, first, size) for group in topology.intermolecular]
    name = "+".join([copies[0].name, *(["..."] if len(copies) > 2 else []), copies[-1].name])
    one = unite(copies, name)
    part = np.searchsorted(starts, np.arange(size), side="right")
    for group in between:
        for i, j in ((row[k], row[k + 1]) for row in group.atoms.tolist() for k in range(len(row) - 1)):
            if part[i] != part[j]:
                one.graph.add_edge(i, j, kind=HELD)
    return replace(one, terms=_together([*one.terms, *(group for group in between if len(group.atoms))])), 1


def unite(copies: Sequence[MoleculeType], name: str) -> MoleculeType:
    """Several molecules as one molecule type: nothing is between them but what is not excluded."""
    starts = np.cumsum([0, *(moltype.n_atoms for moltype in copies)])
    excluded = [excluded_pairs(m) + s for m, s in zip(copies, starts, strict=False)]
    barriers: dict[tuple[int, int], Barrier] = {}
    inversions: dict[int, float] = {}
    stated: list[tuple[str, tuple[int, ...]]] = []
    for moltype, start in zip(copies, starts.tolist(), strict=False):
        barriers |= {(i + start, j + start): b for (i, j), b in moltype.barriers.items()}
        inversions |= {i + start: height for i, height in moltype.inversions.items()}
        stated += [(kind, tuple(i + start * (i >= 0) for i in atoms)) for kind, atoms in moltype.stated]
    own = [replace(t, atoms=t.atoms + s) for m, s in zip(copies, starts, strict=False) for t in m.terms]
    graph = nx.disjoint_union_all([_in_order(moltype.graph) for moltype in copies])
    return MoleculeType(
        name, 0, graph, _together(own), np.concatenate(excluded), barriers, inversions, tuple(stated)
    )


def _first_atom(piece: Piece, topology: Topology) -> int:
    """Row of the first atom of a piece that begins what is joined."""
    parts = [p for group in _parts(topology) for p in group]
    at = next(k for k, p in enumerate(parts) if p.joined == piece.joined)
    starts, sizes, _ = _runs(topology)
    run = parts[at].run
    molecules = sum(p.count for p in parts[:at] if p.run == run)
    return int(starts[run] + molecules * sizes[run])


def _within(group: Terms, first: int, size: int) -> Terms:
    """Those terms that are among some atoms of the system."""
    inside = ((group.atoms >= first) & (group.atoms < first + size)).all(axis=1)
    return replace(group, atoms=group.atoms[inside] - first, parameters=group.parameters[inside])


def _in_order(graph: nx.Graph) -> nx.Graph:
    """The graph with its nodes in the order of their numbers."""
    ordered = nx.Graph()
    ordered.add_nodes_from(sorted(graph.nodes(data=True)))
    ordered.add_edges_from(graph.edges(data=True))
    return ordered


def _together(terms: Iterable[Terms]) -> tuple[Terms, ...]:
    """Terms of one directive, function and shape as one group."""
    groups: dict[tuple[object, ...], list[Terms]] = {}
    for t in terms:
        groups.setdefault((t.directive, t.function, t.atoms.shape[1], t.parameters.shape[1]), []).append(t)
    return tuple(
        replace(
            group[0],
            atoms=np.concatenate([t.atoms for t in group]),
            parameters=np.concatenate([t.parameters for t in group]),
        )
        for group in groups.values()
    )


def _named(moltypes: list[MoleculeType], topology: Topology) -> list[str]:
    """Names that are different for different molecules; those of several get a number where needed."""
    given: dict[tuple[str, bytes], str] = {}
    old, taken = set(topology.molecule_types.values()), set(topology.molecule_types)
    for moltype in moltypes:
        key = moltype.name, _digest(moltype)
        if moltype not in old and key not in given:
            numbered = (f"{moltype.name}#{k}" for k in count(2))
            given[key] = next(name for name in chain([moltype.name], numbered) if name not in taken)
            taken.add(given[key])
    return [m.name if m in old else given[m.name, _digest(m)] for m in moltypes]


def _digest(moltype: MoleculeType) -> bytes:
    """Equal for molecules that are the same but for their name."""
    return b"".join(
        x for t in moltype.terms for x in (t.directive.encode(), t.atoms.tobytes(), t.parameters.tobytes())
    )


def unite_mappings(copies: Sequence[Mapping], name: str) -> Mapping:
    """One mapping of several molecules."""
    before = np.cumsum([0, *(len(m.names) for m in copies)])
    owner = [np.where(m.owner < 0, -1, m.owner + s) for m, s in zip(copies, before, strict=False)]
    align = [np.where(m.align < 0, -1, m.align + s) for m, s in zip(copies, before, strict=False)]
    classes = [m.classes for m in copies if m.classes is not None]
    return Mapping(
        name,
        tuple(n for m in copies for n in m.names),
        tuple(t for m in copies for t in m.types),
        sp.csr_matrix(sp.block_diag([m.weights for m in copies])),
        np.concatenate(owner),
        np.concatenate(align),
        np.concatenate([m.multiplicity for m in copies]),
        tuple(c for part in classes for c in part) if len(classes) == len(copies) else None,
    )

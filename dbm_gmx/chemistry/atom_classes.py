"""Atom classes from the molecular graph: the same for every force field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import networkx as nx

from dbm_gmx.chemistry.topology import MoleculeType, hydrogens
from dbm_gmx.errors import InputError

CARBON = 12.011  # amu
HIDDEN = 1.0079  # amu a hydrogen adds to a united atom
AROMATIC = range(5, 8)  # members of a ring


def atom_classes(moltype: MoleculeType, overrides: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Class of every atom, from the molecular graph.

    An atom is its element and number of bonded neighbours, with ``a`` in an aromatic and ``r`` in
    another ring: ``C4``, ``C3a``, ``O2r``.  A united atom carries its hydrogens: ``CH2_2``.  A
    hydrogen is named by what it sits on: ``H@C4``, with the class of that atom where it is overridden.

    Parameters
    ----------
    moltype
        Molecule type; elements must be known.
    overrides
        Force-field type -> class.

    Raises
    ------
    InputError
        Listing atoms whose element is unknown and which no override names.
    """
    graph, named = moltype.graph, dict(overrides or {})
    lost = [i for i, a in graph.nodes(data=True) if not a["element"] and a["type"] not in named]
    if lost:
        atoms = ", ".join(
            f"{i + 1} {graph.nodes[i]['name']} (type {graph.nodes[i]['type']})" for i in lost[:8]
        )
        raise InputError(
            f"molecule {moltype.name}: no element for atom {atoms}{' ...' if len(lost) > 8 else ''}; give an "
            "atomic number in [ atomtypes ], or the class of its type in section [classes] of a channel file"
        )
    ring, aromatic = _ring_members(graph)
    light = hydrogens(moltype)

    def heavy(i: int) -> str:
        atom, hidden = graph.nodes[i], _hidden(graph, i)
        if atom["type"] in named:
            return named[atom["type"]]
        united = f"H{hidden}_" if hidden else ""
        return (
            f"{atom['element']}{united}{graph.degree(i)}{'a' if i in aromatic else 'r' if i in ring else ''}"
        )

    def name(i: int) -> str:
        if not light[i] or graph.nodes[i]["type"] in named:
            return heavy(i)
        return "H@" + "".join(sorted(heavy(j) for j in graph.neighbors(i)))

    return tuple(name(i) for i in range(moltype.n_atoms))


def _ring_members(graph: nx.Graph) -> tuple[set[int], set[int]]:
    """Atoms in a ring, and those of them in an aromatic one."""
    rings = list(_rings(graph))
    ring = {i for cycle in rings for i in cycle}
    return ring, {i for cycle in rings if _aromatic(graph, cycle) for i in cycle}


def _rings(graph: nx.Graph) -> Iterator[list[int]]:
    """The shortest ring through every bond in one; a cycle basis takes minutes for a polymer of phenyls."""
    for block in nx.biconnected_components(graph):
        if len(block) > 2:
            part = nx.Graph(graph.subgraph(block))
            for i, j in list(part.edges):
                part.remove_edge(i, j)
                yield nx.bidirectional_shortest_path(part, i, j)
                part.add_edge(i, j)


def _aromatic(graph: nx.Graph, cycle: Sequence[int]) -> bool:
    """Whether a ring can be planar: each of its carbons has three neighbours, no other atom more."""
    carbons = [i for i in cycle if graph.nodes[i]["element"] == "C"]
    flat = all(graph.degree(i) + _hidden(graph, i) == 3 for i in carbons)
    return len(cycle) in AROMATIC and bool(carbons) and flat and all(graph.degree(i) <= 3 for i in cycle)


def _hidden(graph: nx.Graph, i: int) -> int:
    """Hydrogens in a united atom, by its mass; 0 for any other."""
    atom = graph.nodes[i]
    return max(0, round((atom["mass"] - CARBON) / HIDDEN)) if atom["element"] == "C" else 0


def class_names(moltype: MoleculeType) -> list[str]:
    """Classes of the atoms from the molecular graph, or their types where elements are unknown."""
    try:
        return list(atom_classes(moltype))
    except InputError:
        return [str(t) for t in moltype.attribute("type")]

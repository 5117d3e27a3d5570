"""The shape of whole molecules: radius of gyration, ends, tacticity."""

from __future__ import annotations

from functools import lru_cache

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, heavy_atoms
from dbm_gmx.evaluate.pairs import class_names


def radius_of_gyration(moltype: MoleculeType, atoms: FloatArray) -> FloatArray:
    """(copies,) root mean square distance of the mass from its centre, nm, of molecules (copies, n, 3)."""
    weights = moltype.masses / moltype.masses.sum()
    centred = atoms - np.einsum("i,cix->cx", weights, atoms)[:, None]
    return np.asarray(np.sqrt(np.einsum("i,cix,cix->c", weights, centred, centred)))


def end_to_end(moltype: MoleculeType, atoms: FloatArray) -> FloatArray:
    """(copies,) distance of the ends of the chain, nm, of molecules (copies, n, 3)."""
    path = chain(moltype)
    return np.asarray(np.linalg.norm(atoms[:, path[-1]] - atoms[:, path[0]], axis=-1))


@lru_cache(maxsize=64)
def chain(moltype: MoleculeType) -> tuple[int, ...]:
    """The longest path of heavy atoms outside rings; through rings where there are no others.

    Of several equally long the one that comes first in the file, its end with the lower number first.
    """
    graph = chemical_graph(moltype)
    heavy = set(np.flatnonzero(heavy_atoms(moltype)).tolist()) or set(graph)
    rings = {i for block in nx.biconnected_components(graph) if len(block) > 2 for i in block}
    outside = graph.subgraph(heavy - rings or heavy)
    part = graph.subgraph(max(nx.connected_components(outside), key=len))
    first = _farthest(part, min(part))
    path = nx.shortest_path(part, first, _farthest(part, first))
    return tuple(path if path[0] <= path[-1] else path[::-1])


def _farthest(graph: nx.Graph, start: int) -> int:
    lengths = nx.single_source_shortest_path_length(graph, start)
    return int(min(lengths, key=lambda i: (-lengths[i], i)))


@lru_cache(maxsize=64)
def dyad_centres(moltype: MoleculeType) -> IntArray:
    """(c, 4) atoms along the chain that can be meso or racemo to each other.

    Each with the one before and the one after it on the chain and the heavier of its two other
    neighbours, which are of different classes.
    """
    graph, path = chemical_graph(moltype), chain(moltype)
    classes, rows = class_names(moltype), []
    for before, centre, after in zip(path, path[1:], path[2:], strict=False):
        sides = sorted(set(graph[centre]) - {before, after}, key=lambda i: (-moltype.masses[i], i))
        if len(sides) == 2 and classes[sides[0]] != classes[sides[1]]:
            rows.append((centre, before, after, sides[0]))
    return np.array(rows, np.int64).reshape(-1, 4)


def racemo(moltype: MoleculeType, atoms: FloatArray) -> FloatArray:
    """(copies, dyads) whether neighbouring centres along the chain are racemo (1) or meso (0).

    Seen along the chain, the four neighbours of two centres of a meso dyad turn the same way: the
    mirror between them turns the way round and the direction of the chain.
    """
    centres = dyad_centres(moltype)
    arms = atoms[:, centres[:, 1:]] - atoms[:, centres[:, :1]]
    turns = np.sign((np.cross(arms[:, :, 0], arms[:, :, 1]) * arms[:, :, 2]).sum(-1))
    return np.asarray(turns[:, 1:] != turns[:, :-1], np.float64)

"""Tacticity: the chain of a molecule, and which neighbouring centres along it are meso or racemo."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray, SignArray
from dbm_gmx.chemistry.atom_classes import class_names
from dbm_gmx.chemistry.stereo import are_bonds, stereo_elements
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, heavy_atoms


@lru_cache(maxsize=64)
def chain(moltype: MoleculeType) -> tuple[int, ...]:
    """The longest path of heavy atoms outside rings; through rings where there are no others.

    Of several equally long the one that comes first in the file, its end with the lower number first.  An end
    that is a side group of the other units (esters, nitriles are longer than a methyl) is not gone through.
    """
    graph = chemical_graph(moltype)
    heavy = set(np.flatnonzero(heavy_atoms(moltype)).tolist()) or set(graph)
    rings = {i for block in nx.biconnected_components(graph) if len(block) > 2 for i in block}
    outside = graph.subgraph(heavy - rings or heavy)
    part = graph.subgraph(max(nx.connected_components(outside), key=len))
    first = _farthest(part, min(part))
    path = nx.shortest_path(part, first, _farthest(part, first))
    for _ in range(2):
        path = _without_side_group(moltype, path, part)[::-1]
    return tuple(path if path[0] <= path[-1] else path[::-1])


def _without_side_group(moltype: MoleculeType, path: list[int], part: nx.Graph) -> list[int]:
    """A path whose beginning is no side group, as the second unit has it, but goes on with the chain."""
    classes, sides = class_names(moltype), _sides(moltype, path)
    if len(sides) < 2:
        return path
    (k, own), (_, usual) = sides[0], sides[1]
    if own not in part or classes[own] == classes[usual] or classes[path[k - 1]] != classes[usual]:
        return path
    branch = part.subgraph(nx.node_connected_component(part.subgraph(set(part) - {path[k]}), own))
    return [*nx.shortest_path(branch, _farthest(branch, own), own), *path[k:]]


def _sides(moltype: MoleculeType, path: Sequence[int]) -> list[tuple[int, int]]:
    """Places on a path of atoms with two other neighbours of different classes, and the heavier of these."""
    graph, classes, found = chemical_graph(moltype), class_names(moltype), []
    for k, (before, centre, after) in enumerate(zip(path, path[1:], path[2:], strict=False), 1):
        sides = sorted(set(graph[centre]) - {before, after}, key=lambda i: (-moltype.masses[i], i))
        if len(sides) == 2 and classes[sides[0]] != classes[sides[1]]:
            found.append((k, sides[0]))
    return found


def _farthest(graph: nx.Graph, start: int) -> int:
    lengths = nx.single_source_shortest_path_length(graph, start)
    return int(min(lengths, key=lambda i: (-lengths[i], i)))


@lru_cache(maxsize=64)
def dyad_centres(moltype: MoleculeType) -> IntArray:
    """(c, 4) atoms along the chain that can be meso or racemo to each other.

    Each with the one before and the one after it on the chain and the heavier of its two other
    neighbours, which are of different classes.
    """
    path = chain(moltype)
    rows = [(path[k], path[k - 1], path[k + 1], side) for k, side in _sides(moltype, path)]
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


# --- tacticity that is asked for ---------------------------------------------------------------------


@lru_cache(maxsize=64)
def stretches(moltype: MoleculeType) -> tuple[IntArray, ...]:
    """Stretches of two or more neighbouring stereocentres along the chain that are of the same constitution.

    Returns
    -------
    (k, 2) of each stretch: rows of :func:`~dbm_gmx.chemistry.stereo.stereo_elements`, and 1 or -1, which
    times the chirality is the way the neighbours turn, as in :func:`racemo`.
    """
    elements = stereo_elements(moltype)
    centres = {int(row[0]): k for k, row in enumerate(elements) if not are_bonds(row)}
    path, classes = chain(moltype), class_names(moltype)
    found: list[list[tuple[int, int]]] = []
    last: tuple[str, ...] = ()
    for before, centre, after in zip(path, path[1:], path[2:], strict=False):
        if centre not in centres:
            continue
        arms = elements[centres[centre], 1:].tolist()
        side = min(
            (i for i in arms if i >= 0 and i not in (before, after)), key=lambda i: (-moltype.masses[i], i)
        )
        order = [arms.index(i) for i in (before, after, side)]
        parity = round(np.linalg.det(np.eye(4)[[*order, 6 - sum(order)]]))
        kind = (classes[centre], classes[side])
        if kind != last:
            found.append([])
        found[-1].append((centres[centre], parity))
        last = kind
    return tuple(np.array(rows, np.int64) for rows in found if len(rows) > 1)


def continued(stretch: IntArray, states: SignArray, *, racemo: bool, first: SignArray) -> SignArray:
    """Give the centres of a stretch that have no chirality one that makes every dyad meso, or racemo.

    Parameters
    ----------
    stretch
        (k, 2) see :func:`stretches`.
    states
        (copies, c) 1, -1, or 0 where there is none.
    racemo
        What the dyads are to be.
    first
        (copies,) way the neighbours of the first centre turn, 1 or -1, where no centre has a chirality.

    Returns
    -------
    (copies, c).  A centre follows the last one before it that had a chirality, else the next one after it.
    """
    rows, factors = stretch[:, 0], stretch[:, 1] * (-1 if racemo else 1) ** np.arange(len(stretch))
    alike = states[:, rows] * factors  # equal for all centres, if the stretch is as asked
    for k in range(1, len(rows)):
        alike[:, k] = np.where(alike[:, k] == 0, alike[:, k - 1], alike[:, k])
    for k in range(len(rows) - 2, -1, -1):
        alike[:, k] = np.where(alike[:, k] == 0, alike[:, k + 1], alike[:, k])
    alike = np.where(alike == 0, first[:, None], alike)
    filled = states.copy()
    filled[:, rows] = alike * factors
    return filled

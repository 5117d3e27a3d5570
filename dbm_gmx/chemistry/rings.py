"""Rings that a bond goes through, which no molecule can get into or out of."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.periodic import beside, make_images, pairs_with
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType, chemical_bonds, chemical_graph
from dbm_gmx.chemistry.vectors import Lattice

LARGEST = 8
"""Atoms of the largest ring that is looked at; larger ones let chains through."""


AT_ONCE = 20_000
"""Rings that are looked at together: all of a large frame take gigabytes."""


@lru_cache(maxsize=64)
def rings_of(moltype: MoleculeType) -> tuple[IntArray, ...]:
    """Rings of a molecule type: by size, (r, size) rows in the order around the ring."""
    found: dict[frozenset[int], list[int]] = {}
    graph = chemical_graph(moltype)
    for component in nx.biconnected_components(graph):  # a bond outside of these is in no ring
        part = graph.subgraph(component)
        for i, j in part.edges if len(component) > 2 else ():
            for ring in _smallest_rings(part, i, j):
                found.setdefault(frozenset(ring), ring)
    rings = list(found.values())
    return tuple(
        np.array([r for r in rings if len(r) == size], np.int64) for size in sorted(set(map(len, rings)))
    )


def _smallest_rings(graph: nx.Graph, i: int, j: int) -> list[list[int]]:
    """The smallest rings with a bond, up to :data:`LARGEST`; a search of the whole graph takes too long."""
    near = nx.Graph(nx.ego_graph(graph, i, radius=LARGEST // 2))
    near.remove_edge(i, j)
    if not nx.has_path(near, i, j):
        return []
    rings = [list(path) for path in nx.all_shortest_paths(near, i, j)]
    return [ring for ring in rings if len(ring) <= LARGEST]


def pierced_rings(
    system: System,
    atoms: Float32Array | FloatArray,
    box: FloatArray,
    lattice: Lattice | None = None,
) -> list[tuple[int, ...]]:
    """Find bonds that go through the area of a ring.

    Parameters
    ----------
    atoms
        (n, 3) nm, molecules whole.
    box
        (3, 3) nm.
    lattice
        Where molecules are bonded to images of their own.

    Returns
    -------
    Rows of atoms: the two of the bond, then those of the ring.
    """
    places = np.asarray(atoms, np.float64)
    bonds = _everywhere(system, lambda moltype: (chemical_bonds(moltype),))
    if not bonds:
        return []
    ends, found = bonds[0], []
    lines = _together(places[ends], lattice)
    middle = lines.mean(axis=1)
    half = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).max(initial=0.0) / 2
    for ring in _everywhere(system, rings_of):
        corners = _together(places[ring], lattice)
        centre = corners.mean(axis=1)
        reach = np.linalg.norm(corners - centre[:, None], axis=-1).max() + half
        # a broken molecule is none of this function's business
        images = make_images(middle, box, min(reach, 0.5))
        for start in range(0, len(ring), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            pairs = pairs_with(images, centre[some])
            shared = (ring[some][pairs.i][:, :, None] == ends[pairs.j][:, None, :]).any((1, 2))
            pairs = pairs.select(~shared)
            here = centre[some][pairs.i]
            moved = lines[pairs.j] + (pairs.shift() - here)[:, None]
            hit = pairs.select(_through(corners[some][pairs.i] - here[:, None], moved))
            found += [(*ends[j], *ring[some][i]) for i, j in zip(hit.i, hit.j, strict=True)]
    return [tuple(int(i) for i in row) for row in found]


def _together(places: FloatArray, lattice: Lattice | None) -> FloatArray:
    """Places (r, k, 3) in the images beside the first of each."""
    return places if lattice is None else beside(places, places[:, :1], lattice)


def _through(corners: FloatArray, ends: FloatArray) -> np.ndarray:
    """(k,) whether the segments (k, 2, 3) cross the triangles from the origin to the sides (k, m, 3).

    Moeller and Trumbore, J. Graphics Tools 2, 21 (1997).
    """
    a, b = corners, np.roll(corners, -1, axis=1)
    start, along = ends[:, :1], (ends[:, 1] - ends[:, 0])[:, None]
    normal = np.cross(along, b)
    scale = (a * normal).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = (start * normal).sum(-1) / scale
        other = np.cross(start, a)
        v = (along * other).sum(-1) / scale
        t = (b * other).sum(-1) / scale
        inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0) & (t <= 1)
    return np.asarray(inside.any(axis=1))


def _everywhere(system: System, rows_of: Callable[[MoleculeType], tuple[IntArray, ...]]) -> list[IntArray]:
    """Rows of a molecule type in all its copies, those of the same length together."""
    found: dict[int, list[IntArray]] = {}
    for match in system.matches:
        first = match.first_atoms[:, None, None]
        for rows in rows_of(match.moltype):
            if len(rows):
                found.setdefault(rows.shape[1], []).append((rows + first).reshape(-1, rows.shape[1]))
    return [np.concatenate(parts) for parts in found.values()]

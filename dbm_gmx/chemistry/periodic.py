"""Periodic geometry: images, whole molecules, pairs within a distance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from dbm_gmx.chemistry.array_types import (
    BoolArray,
    Float32Array,
    FloatArray,
    Floats,
    Int32Array,
    IntArray,
    Positions,
)
from dbm_gmx.chemistry.frame import Frame, box_volume
from dbm_gmx.chemistry.topology import Topology, blocks
from dbm_gmx.chemistry.vectors import Lattice, make_lattice
from dbm_gmx.errors import InputError


def reduced_cell(box: FloatArray) -> FloatArray:
    """Return the shortest vectors that span the lattice of ``box`` (Minkowski reduction).

    Each vector is shortened by the others until none gets shorter.  In three dimensions adding
    each of the others once with either sign is all that has to be tried (Nguyen and Stehle, ACM
    Trans. Algorithms 5, 46, 2009).
    """
    cell = np.array(box, np.float64)
    signs = np.array(list(product((-1, 0, 1), repeat=2)), np.float64)
    shortened = True
    while shortened:
        shortened = False
        for i, others in enumerate(([1, 2], [0, 2], [0, 1])):
            options = cell[i] + signs @ cell[others]
            lengths = np.linalg.norm(options, axis=1)
            if lengths.min() < (1 - 1e-9) * np.linalg.norm(cell[i]):
                cell[i] = options[lengths.argmin()]
                shortened = True
    return cell


def minimum_image(vectors: Floats, box: FloatArray) -> Floats:
    """Return the shortest periodic image of each vector, in any triclinic box.

    In the reduced cell the nearest image is at most one cell away from the rounded one; vectors
    within half the shortest lattice vector are nearest already and skip that search.

    Parameters
    ----------
    vectors
        (..., 3) nm.
    box
        (3, 3) nm, however skewed.

    Returns
    -------
    Shape and type of ``vectors``.
    """
    cell = reduced_cell(box)
    flat = np.asarray(vectors, np.float64).reshape(-1, 3)
    flat = flat - np.round(flat @ np.linalg.inv(cell)) @ cell
    far = np.flatnonzero((flat * flat).sum(axis=1) > np.linalg.norm(cell, axis=1).min() ** 2 / 4)
    start, nearest = flat[far], flat[far]
    for offset in product((-1, 0, 1), repeat=3):
        image = start + np.array(offset) @ cell
        closer = (image * image).sum(axis=1) < (nearest * nearest).sum(axis=1)
        nearest[closer] = image[closer]
    flat[far] = nearest
    return flat.reshape(np.shape(vectors)).astype(vectors.dtype)


def lattice_of(frame: Frame) -> Lattice | None:
    """What says which images of two atoms of a molecule are meant; nothing where all molecules are whole."""
    return make_lattice(reduced_cell(frame.box.astype(np.float64))) if frame.winds else None


def arms_of(molecules: Positions, pairs: IntArray, lattice: Lattice | None) -> Positions:
    """(copies, k, 3) nm from the first to the second atom of pairs (k, 2) of molecules (copies, n, 3)."""
    arms: Positions = molecules[:, pairs[:, 1]] - molecules[:, pairs[:, 0]]
    if lattice is None:
        return arms
    return minimum_image(np.asarray(arms, np.float64), lattice.cell)


def beside(places: Floats, others: FloatArray | Float32Array, lattice: Lattice) -> Floats:
    """Images of places (..., 3) that are nearest to others, nm."""
    apart = np.asarray(places, np.float64) - others
    return (places + (minimum_image(apart, lattice.cell) - apart)).astype(places.dtype)


def make_whole(positions: Floats, box: FloatArray, bonds: IntArray) -> Floats:
    """Undo the breaking of molecules across the box; the first atom of each stays where it is.

    Parameters
    ----------
    positions
        (copies, n, 3) nm, all copies of one molecule type.
    box
        (3, 3) nm.
    bonds
        (k, 2) rows.  Parts that no bond connects follow the first by the nearest image of their
        first atom.

    Returns
    -------
    (copies, n, 3) of the type of ``positions``; bonds along a spanning tree are shortest images.
    """
    parent = _parents(positions.shape[1], bonds)
    raw = np.asarray(positions, np.float64)
    step = raw - raw[:, parent]
    moved = minimum_image(step, box) - step
    # Each round adds what the ancestor has gathered and jumps to that one's ancestor, so a chain
    # of n atoms takes log2(n) rounds.
    while parent.any():
        moved = moved + moved[:, parent]
        parent = parent[parent]
    return (raw + moved).astype(positions.dtype)


def through_the_box(whole: Positions, box: FloatArray, bonds: IntArray) -> BoolArray:
    """(copies, k) which bonds (k, 2) are to an image of the molecule.

    Parameters
    ----------
    whole
        (copies, n, 3) nm, of :func:`make_whole`: only a bond that closes a circle can go to another image.
    box, bonds
        As there.
    """
    i, j = np.asarray(bonds, np.int64).reshape(-1, 2).T
    parent, found = _parents(whole.shape[1], bonds), np.zeros((len(whole), len(i)), bool)
    closing = (parent[i] != j) & (parent[j] != i)
    if not closing.any() or not box.any():
        return found
    apart = np.asarray(whole[:, j[closing]] - whole[:, i[closing]], np.float64)
    off = np.linalg.norm(apart - minimum_image(apart, box), axis=-1)
    found[:, closing] = off >= 0.1 * np.linalg.norm(reduced_cell(box), axis=1).min()
    return found


def together(
    molecules: Positions, atoms: IntArray, box: FloatArray, bonds: IntArray, name: str
) -> FloatArray:
    """(copies, k, 3) nm the atoms of a bead of this name, whole about the first of them.

    Raises
    ------
    InputError
        If they are bonded to images of their own: then they have no centre.
    """
    inside = np.isin(bonds, atoms).all(axis=1)
    order = np.argsort(atoms)
    rows = order[np.searchsorted(atoms[order], bonds[inside])]
    whole = make_whole(molecules[:, atoms].astype(np.float64), box, rows)
    if through_the_box(whole, box, rows).any():
        raise InputError(
            f"the atoms of bead {name} are bonded to their own periodic images, so that they have no centre; "
            "such a molecule needs two beads at least along each way through the box"
        )
    return whole


def whole_molecules(topology: Topology, frame: Frame) -> Frame:
    """A frame of atoms with all molecules whole; the first atom of each stays where it is."""
    parts, winds = [], False
    for moltype, first, count in blocks(topology):
        rows = frame.positions[first : first + count * moltype.n_atoms].reshape(count, -1, 3)
        whole = make_whole(rows, frame.box, moltype.bonds)
        winds |= not frame.free and bool(through_the_box(whole, frame.box, moltype.bonds).any())
        parts.append(whole.reshape(-1, 3))
    return replace(frame, positions=np.concatenate(parts), winds=winds)


def _parents(n: int, bonds: IntArray) -> IntArray:
    """Return (n,) the parent of each atom in a spanning tree from atom 0, its own parent."""
    return _tree(n, np.asarray(bonds, np.int64).tobytes())


@lru_cache(maxsize=64)
def _tree(n: int, bonds: bytes) -> IntArray:
    """Found once for a molecule type, not for each frame."""
    pairs = np.frombuffer(bonds, np.int64).reshape(-1, 2)
    ones = np.ones(len(pairs), np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    _, part = connected_components(graph, directed=False)
    first = np.unique(part, return_index=True)[1]
    joints = coo_matrix((np.ones(len(first), np.int8), (np.zeros_like(first), first)), shape=(n, n))
    _, parents = breadth_first_order(graph + joints.tocsr(), 0, directed=False)
    parents[0] = 0
    found = np.asarray(parents, np.int64)
    found.flags.writeable = False
    return found


class Pairs(NamedTuple):
    """Pairs of points and others, periodic images among them.

    Attributes
    ----------
    i, j
        (p,) rows of the points and of the others.
    cells
        (p, 3) vectors of ``cell`` to add to the given position of j, whole numbers.
    distances
        (p,) nm.
    cell
        (3, 3) nm, the reduced cell of the box; zeros without a box.
    """

    i: Int32Array
    j: Int32Array
    cells: Int32Array
    distances: FloatArray
    cell: FloatArray

    def select(self, which: BoolArray | IntArray) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.i[which], self.j[which], self.cells[which], self.distances[which], self.cell)

    def shift(self) -> FloatArray:
        """(p, 3) nm: ``|others[j] + shift - points[i]|`` is the distance."""
        return np.asarray(self.cells @ self.cell)


def neighbour_pairs(points: Positions, others: Positions, box: FloatArray, cutoff: float) -> Pairs:
    """Find all pairs within ``cutoff``, counting every periodic image.

    Right also in a box smaller than twice the cut-off, where a pair occurs several times and a
    point sees images of itself; MDAnalysis' ``capped_distance`` is not, so the images are made here and
    searched with SciPy's k-d tree.  Positions may lie outside the cell.

    Parameters
    ----------
    points, others
        (m, 3) and (k, 3) nm.
    box
        (3, 3) nm, however skewed; all zeros: no box, no images.
    cutoff
        nm.

    Returns
    -------
    Pairs in the order of the search tree.  If ``points`` are ``others``, each pair is listed in both
    directions, and each point with itself.
    """
    return pairs_with(make_images(others, box, cutoff), points)


class Images(NamedTuple):
    """Points with their periodic images around the cell, in a search tree.

    Attributes
    ----------
    tree
        Of the images, (p, 3) nm.
    source, offset
        (p,) row of the point each is of, and (p, 3) cells added to its given position.
    cell, cutoff
        (3, 3) nm, reduced, and how far one can look from inside it, nm.
    """

    tree: cKDTree
    source: Int32Array
    offset: Int32Array
    cell: FloatArray
    cutoff: float


def make_images(points: Positions, box: FloatArray, cutoff: float) -> Images:
    """Put points (k, 3) and their images in a tree; see :func:`neighbour_pairs`."""
    cell = reduced_cell(box)
    source, offset, images = _images(points, cell, cutoff)
    return Images(cKDTree(images), source, offset, cell, cutoff)


def pairs_with(images: Images, points: Positions) -> Pairs:
    """Find all pairs of points (m, 3) with images that are made once for many points."""
    inside, home = _wrap(points, images.cell)
    found = cKDTree(inside).sparse_distance_matrix(images.tree, images.cutoff, output_type="ndarray")
    i, image = found["i"].astype(np.int32), found["j"].astype(np.int32)
    distances = found["v"].copy()
    del found  # three times the memory of what is kept of it
    return Pairs(i, images.source[image], images.offset[image] + home[i], distances, images.cell)


def pairs_in_parts(
    points: Positions, box: FloatArray, cutoff: float, step: int
) -> Iterator[tuple[slice, Pairs]]:
    """Yield the pairs of some points after the others with those that were not asked before.

    A tree of all points is made again only where a third of it was asked, so that the time grows as the
    number of points.

    Yields
    ------
    Rows of up to ``step`` points, and their pairs with themselves, both ways round and with all images, and
    with the points that follow; rows of both are those of ``points``.
    """
    images, base = make_images(points, box, cutoff), 0
    for start in range(0, max(1, len(points)), step):
        if 3 * (start - base) > len(points) - base:
            images, base = make_images(points[start:], box, cutoff), start
        rows = slice(start, min(start + step, len(points)))
        found = pairs_with(images, points[rows])
        if base < start:
            found = found.select(found.j >= start - base)
        one, other = np.int32(start), np.int32(base)
        yield rows, Pairs(found.i + one, found.j + other, found.cells, found.distances, found.cell)


def _wrap(points: Positions, cell: FloatArray) -> tuple[FloatArray, Int32Array]:
    """Return positions inside the cell and the whole numbers of cells taken off."""
    positions = np.asarray(points, np.float64)
    if not cell.any():
        return positions, np.zeros(positions.shape, np.int32)
    home = np.floor(positions @ np.linalg.inv(cell))
    return positions - home @ cell, home.astype(np.int32)


def _images(points: Positions, cell: FloatArray, cutoff: float) -> tuple[Int32Array, Int32Array, FloatArray]:
    """List the images of points in the cell and up to ``cutoff`` outside it.

    Returns
    -------
    source, offset, positions
        (p,) row of the point, (p, 3) cells added to its given position, (p, 3) nm.
    """
    inside, home = _wrap(points, cell)
    if not cell.any():
        return np.arange(len(inside), dtype=np.int32), home, inside
    inverse = np.linalg.inv(cell)
    # The distance between two faces of the cell is 1 / |column of the inverse|.
    margin = cutoff * np.linalg.norm(inverse, axis=0) + 1e-9
    fraction = inside @ inverse
    source, cells = np.arange(len(inside), dtype=np.int32), np.zeros((len(inside), 3), np.int32)
    for axis in (2, 1, 0):
        reach = int(np.ceil(margin[axis]))
        parts = []
        for step in range(-reach, reach + 1):
            image = fraction[source, axis] + step
            near = np.flatnonzero((image >= -margin[axis]) & (image <= 1 + margin[axis]))
            parts.append((source[near], cells[near] + step * np.eye(3, dtype=np.int32)[axis]))
        source, cells = (np.concatenate(part) for part in zip(*parts, strict=True))
    return source, cells - home[source], inside[source] + cells @ cell


AT_ONCE = 1_000_000
"""Pairs that are looked for together, about.

One takes some 50 bytes meanwhile, and those between two atoms of a part are found twice.
"""


def close_pairs(frame: Frame, cutoff: float) -> tuple[IntArray, FloatArray]:
    """All pairs of atoms closer than ``cutoff``, in any box (without one, where it is all zeros).

    Returns
    -------
    (k, 2) rows i < j, in no particular order, and (k,) distances of the nearest images, nm.

    Raises
    ------
    InputError
        If the cut-off exceeds half of the shortest lattice vector.
    """
    pairs, distances = zip(*close_pairs_in_parts(frame, cutoff), strict=True)
    return np.concatenate(pairs), np.concatenate(distances)


def close_pairs_in_parts(frame: Frame, cutoff: float) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield what :func:`close_pairs` finds in parts of about :data:`AT_ONCE` pairs, for less memory."""
    shortest = float(np.linalg.norm(reduced_cell(frame.box), axis=1).min())
    if cutoff > shortest / 2 and frame.box.any():
        raise InputError(
            f"the cut-off {cutoff:g} nm exceeds half of the shortest box vector, {shortest:g} nm"
        )
    for _, found in pairs_in_parts(frame.positions, frame.box, cutoff, _rows_of_a_part(frame, cutoff)):
        once = (found.i < found.j) & (found.distances < cutoff)
        yield np.stack((found.i[once], found.j[once]), axis=1).astype(np.int64), found.distances[once]


def _rows_of_a_part(frame: Frame, cutoff: float) -> int:
    """Atoms with :data:`AT_ONCE` neighbours in all at the density of the frame; all without a box."""
    atoms = max(1, len(frame.positions))
    if not frame.box.any():
        return atoms
    around = 1 + atoms * 4 / 3 * math.pi * cutoff**3 / box_volume(frame.box)
    return max(1, int(AT_ONCE / around))

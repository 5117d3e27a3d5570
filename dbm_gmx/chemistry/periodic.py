"""Periodic geometry: images, whole molecules, pairs within a distance."""

from __future__ import annotations

import itertools
from itertools import product

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, Floats, Int32Array, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import Topology, blocks
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


def whole_molecules(topology: Topology, frame: Frame) -> Float32Array:
    """(n, 3) atoms with all molecules whole; the first atom of each stays where it is."""
    parts = []
    for moltype, first, count in blocks(topology):
        rows = frame.positions[first : first + count * moltype.n_atoms]
        parts.append(make_whole(rows.reshape(count, -1, 3), frame.box, moltype.bonds).reshape(-1, 3))
    return np.concatenate(parts)


def _parents(n: int, bonds: IntArray) -> IntArray:
    """Return (n,) the parent of each atom in a spanning tree from atom 0, its own parent."""
    pairs = np.asarray(bonds, np.int64).reshape(-1, 2)
    ones = np.ones(len(pairs), np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    _, part = connected_components(graph, directed=False)
    first = np.unique(part, return_index=True)[1]
    joints = coo_matrix((np.ones(len(first), np.int8), (np.zeros_like(first), first)), shape=(n, n))
    _, parents = breadth_first_order(graph + joints.tocsr(), 0, directed=False)
    parents[0] = 0
    return np.asarray(parents, np.int64)


def neighbour_pairs(
    points: Floats, others: Floats, box: FloatArray, cutoff: float, *, same: bool = False
) -> tuple[Int32Array, Int32Array, Float32Array]:
    """Find all pairs within ``cutoff``, counting every periodic image.

    Right also in a box smaller than twice the cutoff, where a pair occurs several times and a
    point sees images of itself.  Positions may lie outside the cell.

    Parameters
    ----------
    points, others
        (m, 3) and (k, 3) nm.
    box
        (3, 3) nm, however skewed.
    cutoff
        nm.
    same
        ``points`` are ``others``: leave out each point with itself.

    Returns
    -------
    i, j, shift
        (p,), (p,), (p, 3) nm: ``|others[j] + shift - points[i]| <= cutoff`` with ``shift`` a lattice
        vector.  Both directions of a pair are listed; the order is that of the search tree.
    """
    cell = reduced_cell(box)
    inside, home = _wrap(points, cell)
    source, offset, images = _images(others, cell, cutoff)
    found = cKDTree(inside).sparse_distance_matrix(cKDTree(images), cutoff, output_type="ndarray")
    i, image = found["i"].astype(np.int32), found["j"].astype(np.int32)
    del found
    if same:
        itself = (offset == -home[source]).all(axis=1)
        keep = ~(itself[image] & (source[image] == i))
        i, image = i[keep], image[keep]
    shift = (offset @ cell).astype(np.float32)[image]
    shift += (home @ cell).astype(np.float32)[i]
    return i, source[image], shift


def _wrap(points: Floats, cell: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return positions inside the cell and the whole numbers of cells taken off."""
    positions = np.asarray(points, np.float64)
    home = np.floor(positions @ np.linalg.inv(cell))
    return positions - home @ cell, home


def _images(points: Floats, cell: FloatArray, cutoff: float) -> tuple[Int32Array, FloatArray, FloatArray]:
    """List the images of points in the cell and up to ``cutoff`` outside it.

    Returns
    -------
    source, offset, positions
        (p,) row of the point, (p, 3) cells added to its given position, (p, 3) nm.
    """
    inside, home = _wrap(points, cell)
    inverse = np.linalg.inv(cell)
    fraction = inside @ inverse
    # The distance between two faces of the cell is 1 / |column of the inverse|.
    margin = cutoff * np.linalg.norm(inverse, axis=0) + 1e-9
    reach = [range(-int(r), int(r) + 1) for r in np.ceil(margin)]
    rows, offsets = [], []
    for cells in product(*reach):
        image = fraction + cells
        row = np.flatnonzero(((image >= -margin) & (image <= 1 + margin)).all(axis=1))
        rows.append(row.astype(np.int32))
        offsets.append(cells - home[row])
    source, offset = np.concatenate(rows), np.concatenate(offsets)
    return source, offset, inside[source] + (offset + home[source]) @ cell


def close_pairs(frame: Frame, cutoff: float) -> tuple[IntArray, FloatArray]:
    """All pairs of atoms closer than ``cutoff``, in any box (without one, where it is all zeros).

    Returns
    -------
    (k, 2) rows i < j, in no particular order, and (k,) distances, nm.

    Raises
    ------
    InputError
        If the cut-off exceeds half of the shortest lattice vector.
    """
    if not frame.box.any():
        inside = frame.positions.astype(np.float64)
        images, image_of = np.zeros((0, 3)), np.zeros(0, np.int64)
    else:
        inside, images, image_of = _with_images(frame, cutoff)
    tree = cKDTree(inside)
    near = tree.query_pairs(cutoff, output_type="ndarray")
    across = tree.sparse_distance_matrix(cKDTree(images), cutoff, output_type="ndarray")
    distances = np.linalg.norm(inside[near[:, 0]] - inside[near[:, 1]], axis=1)
    other = np.stack((across["i"], image_of[across["j"]]), axis=1)
    pairs = np.concatenate((near.astype(np.int64), np.sort(other, axis=1)))
    lengths = np.concatenate((distances, across["v"]))
    within = lengths < cutoff
    return pairs[within], lengths[within]


def _with_images(frame: Frame, cutoff: float) -> tuple[FloatArray, FloatArray, IntArray]:
    """Wrap the atoms into the box; their images near it, of each opposite two one; whose images these are."""
    inverse = np.linalg.inv(frame.box)
    margin = cutoff * np.linalg.norm(inverse, axis=0)  # the cut-off in units of the box's heights
    reach = [range(-n, n + 1) for n in np.ceil(margin).astype(int)]
    shifts = [shift for shift in itertools.product(*reach) if shift > (0, 0, 0)]
    shortest = np.linalg.norm(np.array(shifts) @ frame.box, axis=1).min()
    if cutoff > shortest / 2:
        raise InputError(
            f"the cut-off {cutoff:g} nm exceeds half of the shortest box vector, {shortest:g} nm"
        )
    scaled = frame.positions @ inverse
    scaled -= np.floor(scaled)
    near = [((scaled + s > -margin) & (scaled + s < 1 + margin)).all(1).nonzero()[0] for s in shifts]
    images = np.concatenate([scaled[rows] + s for rows, s in zip(near, shifts, strict=True)])
    return scaled @ frame.box, images @ frame.box, np.concatenate(near)

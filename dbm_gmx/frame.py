"""One configuration, and the geometry of its periodic box."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
from MDAnalysis.lib.mdamath import triclinic_box, triclinic_vectors
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from dbm_gmx.errors import InputError
from dbm_gmx.topology import Topology, blocks

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Floats = TypeVar("Floats", FloatArray, Float32Array)


@dataclass(frozen=True, eq=False)
class Frame:
    """Positions of all atoms or all beads at one time.

    Attributes
    ----------
    positions
        (n, 3) nm, float32.
    box
        (3, 3) nm, rows are the box vectors a, b, c in GROMACS' lower triangular form.
    time
        ps.
    step
        MD step, 0 where the file has none.
    index
        Number of the frame in its file, from 0: with the seed it decides the random numbers.
    """

    positions: Float32Array
    box: FloatArray
    time: float = 0.0
    step: int = 0
    index: int = 0


def dimensions(box: FloatArray) -> FloatArray:
    """Return lengths (nm) and angles (degrees) ``[a, b, c, alpha, beta, gamma]`` of a (3, 3) box."""
    return np.asarray(triclinic_box(*box), np.float64)


def box_vectors(sizes: ArrayLike) -> FloatArray:
    """Return the (3, 3) lower triangular box of ``[a, b, c, alpha, beta, gamma]`` (nm, degrees).

    Sizes that make no cell give a box of zeros.
    """
    return np.asarray(triclinic_vectors(sizes, dtype=np.float64), np.float64)


def box_volume(box: FloatArray) -> float:
    """Volume of the cell, nm^3."""
    return float(abs(np.linalg.det(box)))


def check_frame(frame: Frame, path: str | Path | None = None) -> None:
    """Refuse a frame whose box or positions cannot be used.

    Raises
    ------
    InputError
        The box is missing, flat or not lower triangular, or a position is not a finite number.
    """
    where = f"frame {frame.index} (t = {frame.time:g} ps)"
    problem = _box_problem(frame.box)
    if problem:
        raise InputError(f"{where}: {problem}; a periodic box in GROMACS' form is needed", path=path)
    bad = np.flatnonzero(~np.isfinite(frame.positions).all(axis=1))
    if bad.size:
        found = " ".join(f"{x:g}" for x in frame.positions[bad[0]])
        raise InputError(
            f"{where}: the position of atom {bad[0] + 1} is {found} ({bad.size} such atoms in all)", path=path
        )


def _box_problem(box: FloatArray) -> str:
    """Say what is wrong with a box, ``""`` if nothing is."""
    if not np.isfinite(box).all():
        return "the box is not finite"
    if not box.any():
        return "there is no box (all zero)"
    lengths = np.linalg.norm(box, axis=1)
    if box_volume(box) <= 1e-6 * np.prod(lengths) or (np.diag(box) <= 0).any():
        return f"the box has no volume ({_numbers(np.diag(box))} nm on its diagonal)"
    if (np.abs(box[np.triu_indices(3, 1)]) > 1e-5 * lengths.max()).any():
        return f"the box is not lower triangular ({_numbers(box.ravel())})"
    return ""


def _numbers(values: FloatArray) -> str:
    """Join numbers for a message."""
    return " ".join(f"{x:g}" for x in values)


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
    for kind, first, count in blocks(topology):
        rows = frame.positions[first : first + count * kind.n_atoms]
        parts.append(make_whole(rows.reshape(count, -1, 3), frame.box, kind.bonds).reshape(-1, 3))
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

"""The neighbour list of a frame: which beads are near each other, compiled.

Where an atom can be is bounded by a sphere about the bead that owns it.  Beads never move, so those whose
spheres are within reach of each other are listed once for a frame, and all that looks for neighbours begins
there.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.periodic import reduced_cell
from dbm_gmx.compiled import compiled

CELL = 0.6  # width of the cells beads are sorted into, nm


class NeighbourList(NamedTuple):
    """Beads of one frame, and which of them are near each other.

    Attributes
    ----------
    beads, radius
        (m, 3), (m,) nm: beads, and how far from them their atoms may be.
    cell
        (3, 3) nm, reduced.
    reach
        How far apart the spheres of listed beads are at most, nm.
    near_start, near, shift
        (m + 1,) ranges of each bead in (p,) beads, itself and images among them, and (p, 3) whole cells to
        add to their given positions.
    """

    beads: Any
    radius: Any
    cell: Any
    reach: float
    near_start: Any
    near: Any
    shift: Any


class Cells(NamedTuple):
    """Beads sorted into cells of the box.

    Attributes
    ----------
    cell, inverse, counts
        (3, 3) the box and its inverse, (3,) number of cells along each vector.
    home, inside
        (m, 3) periods by which each bead lies outside the box, and (m, 3) nm where it is inside.
    start, order
        Ranges of each cell in (m,) beads.
    """

    cell: Any
    inverse: Any
    counts: Any
    home: Any
    inside: Any
    start: Any
    order: Any


def make_neighbours(beads: FloatArray, radius: FloatArray, box: FloatArray, reach: float) -> NeighbourList:
    """List the beads of a frame that are near each other.

    Parameters
    ----------
    beads, radius
        (m, 3), (m,) nm.
    box
        (3, 3) nm.
    reach
        How far apart the spheres of two listed beads may be, nm.
    """
    cell = np.ascontiguousarray(reduced_cell(box))
    beads = np.ascontiguousarray(beads, np.float64)
    cells, widest = _sort(beads, cell), float(radius.max(initial=0.0))
    start = np.zeros(len(beads) + 1, np.int64)
    none = np.empty(0, np.int32), np.empty((0, 3), np.int16)
    _list_near(cells, beads, radius, widest, reach, start, *none)
    near, shift = np.empty(start[-1], np.int32), np.empty((start[-1], 3), np.int16)
    _list_near(cells, beads, radius, widest, reach, start, near, shift)
    return NeighbourList(beads, radius, cell, reach, start, near, shift)


def _sort(beads: FloatArray, cell: FloatArray) -> Cells:
    """Sort beads into cells."""
    inverse = np.ascontiguousarray(np.linalg.inv(cell))
    counts = np.maximum(1, (1 / np.linalg.norm(inverse, axis=0) / CELL).astype(np.int64))
    scaled = beads @ inverse
    home = np.floor(scaled).astype(np.int64)
    part = np.minimum(((scaled - home) * counts).astype(np.int64), counts - 1)
    number = (part[:, 0] * counts[1] + part[:, 1]) * counts[2] + part[:, 2]
    order = np.argsort(number, kind="stable")
    start = np.searchsorted(number[order], np.arange(counts.prod() + 1))
    return Cells(cell, inverse, counts, home, beads - home @ cell, start, order)


@compiled(forceinline=True)
def image(neighbours: Any, shift: Any) -> Any:
    """What is to be added to the given positions of an image, nm."""
    a, b, c, cell = shift[0], shift[1], shift[2], neighbours.cell
    return (
        a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0],
        a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1],
        a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2],
    )


@compiled(forceinline=True)
def within(neighbours: Any, bead: int, other: int, sx: float, sy: float, sz: float, reach: float) -> bool:
    """Whether the sphere of a bead and that of another's image are within ``reach``."""
    dx = neighbours.beads[other, 0] + sx - neighbours.beads[bead, 0]
    dy = neighbours.beads[other, 1] + sy - neighbours.beads[bead, 1]
    dz = neighbours.beads[other, 2] + sz - neighbours.beads[bead, 2]
    far = neighbours.radius[bead] + neighbours.radius[other] + reach
    return dx * dx + dy * dy + dz * dz < far * far


@compiled(forceinline=True)
def at_home(shift: Any) -> bool:
    """Whether an image is no other than what it is of."""
    return shift[0] == 0 and shift[1] == 0 and shift[2] == 0


@compiled()
def near_any(neighbours: Any, beads: Any) -> Any:
    """Rows of ``neighbours.near`` with all that is near one of some beads of a molecule, each image once."""
    space, n = 0, 0
    for bead in beads:
        space += neighbours.near_start[bead + 1] - neighbours.near_start[bead]
    rows = np.empty(space, np.int64)
    for b in range(len(beads)):
        for q in range(neighbours.near_start[beads[b]], neighbours.near_start[beads[b] + 1]):
            before = False  # it is near one that was looked at
            if b > 0:
                sx, sy, sz = image(neighbours, neighbours.shift[q])
                for earlier in range(b):
                    before |= within(
                        neighbours, beads[earlier], neighbours.near[q], sx, sy, sz, neighbours.reach
                    )
            if not before:
                rows[n] = q
                n += 1
    return rows[:n]


@compiled()
def _list_near(
    cells: Any, beads: Any, radius: Any, widest: float, reach: float, start: Any, near: Any, shift: Any
) -> None:
    """Count the beads near each one into ``start``, or list them where there is room."""
    found, periods, k = np.empty(1024, np.int64), np.empty((1024, 3), np.int64), 0
    for bead in range(len(beads)):
        distance = radius[bead] + widest + reach
        n = _around(cells, bead, distance, found, periods)
        if n > len(found):
            found, periods = np.empty(2 * n, np.int64), np.empty((2 * n, 3), np.int64)
            n = _around(cells, bead, distance, found, periods)
        for q in range(n):
            other, square = found[q], 0.0
            for d in range(3):
                across = beads[other, d] - beads[bead, d]
                for e in range(3):
                    across += periods[q, e] * cells.cell[e, d]
                square += across * across
            if square < (radius[bead] + radius[other] + reach) ** 2:
                if k < len(near):
                    near[k] = other
                    for d in range(3):
                        shift[k, d] = periods[q, d]
                k += 1
        start[bead + 1] = k


@compiled()
def _around(cells: Any, bead: int, distance: float, found: Any, periods: Any) -> int:
    """Beads and their images within ``distance`` of a bead, itself too; how many there are.

    Fills ``found`` (beads) and ``periods`` (whole cells to add to the image's given position) as far as
    they reach.
    """
    counts, cell, inverse = cells.counts, cells.cell, cells.inverse
    span = np.empty(3, np.int64)
    at = np.empty(3, np.int64)
    x, y, z = cells.inside[bead, 0], cells.inside[bead, 1], cells.inside[bead, 2]
    for d in range(3):
        height = 1.0 / math.sqrt(inverse[0, d] ** 2 + inverse[1, d] ** 2 + inverse[2, d] ** 2)
        span[d] = math.ceil(distance / (height / counts[d]))
        at[d] = min(
            int((x * inverse[0, d] + y * inverse[1, d] + z * inverse[2, d]) * counts[d]), counts[d] - 1
        )
    n = 0
    limit = distance * distance
    for i in range(at[0] - span[0], at[0] + span[0] + 1):
        a = i // counts[0]
        for j in range(at[1] - span[1], at[1] + span[1] + 1):
            b = j // counts[1]
            for k in range(at[2] - span[2], at[2] + span[2] + 1):
                c = k // counts[2]
                number = ((i - a * counts[0]) * counts[1] + j - b * counts[1]) * counts[2] + k - c * counts[2]
                if cells.start[number] == cells.start[number + 1]:
                    continue
                sx = a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0] - x
                sy = a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1] - y
                sz = a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2] - z
                for q in range(cells.start[number], cells.start[number + 1]):
                    other = cells.order[q]
                    dx = cells.inside[other, 0] + sx
                    dy = cells.inside[other, 1] + sy
                    dz = cells.inside[other, 2] + sz
                    if dx * dx + dy * dy + dz * dz < limit:
                        if n < len(found):
                            found[n] = other
                            periods[n, 0] = a + cells.home[bead, 0] - cells.home[other, 0]
                            periods[n, 1] = b + cells.home[bead, 1] - cells.home[other, 1]
                            periods[n, 2] = c + cells.home[bead, 2] - cells.home[other, 2]
                        n += 1
    return n

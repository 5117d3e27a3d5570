"""The neighbour list of a frame: which beads are near each other.

Where an atom can be is bounded by a sphere about the bead that owns it.  Beads never move, so those whose
spheres are within reach of each other are listed once for a frame, and all that looks for neighbours begins
there.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.periodic import make_images, pairs_with, reduced_cell
from dbm_gmx.compiled import compiled

AT_ONCE = 5_000
"""Beads whose neighbours are looked for together: bounds the memory of large boxes."""


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
    beads = np.ascontiguousarray(beads, np.float64)
    images = make_images(beads, box, float(2 * radius.max() + reach))
    counts = np.zeros(len(beads), np.int64)
    near, shift = _Growing(np.empty(0, np.int32)), _Growing(np.empty((0, 3), np.int16))
    for first in range(0, len(beads), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        pairs = pairs_with(images, beads[rows])
        pairs = pairs.select(pairs.distances < radius[pairs.i + first] + radius[pairs.j] + reach)
        pairs = pairs.select(np.argsort(pairs.i, kind="stable"))
        counts[rows] = np.bincount(pairs.i, minlength=len(beads[rows]))
        near.add(pairs.j)
        shift.add(pairs.cells)
    start = np.concatenate([[0], np.cumsum(counts)])
    cell = np.ascontiguousarray(reduced_cell(box))
    return NeighbourList(beads, radius, cell, reach, start, near.values, shift.values)


class _Growing:
    """An array to which rows are added in place: parts put together at the end would all be there twice."""

    def __init__(self, values: Any):
        self.values = values

    def add(self, rows: Any) -> None:
        before = len(self.values)
        self.values.resize((before + len(rows), *self.values.shape[1:]), refcheck=False)
        self.values[before:] = rows


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
def within(neighbours: Any, bead: int, other: int, shift: Any, reach: float) -> bool:
    """Whether the spheres of a bead and of another's image, moved by ``shift`` (nm), are within reach."""
    dx = neighbours.beads[other, 0] + shift[0] - neighbours.beads[bead, 0]
    dy = neighbours.beads[other, 1] + shift[1] - neighbours.beads[bead, 1]
    dz = neighbours.beads[other, 2] + shift[2] - neighbours.beads[bead, 2]
    far = neighbours.radius[bead] + neighbours.radius[other] + reach
    return dx * dx + dy * dy + dz * dz < far * far


@compiled(forceinline=True)
def at_home(shift: Any) -> bool:
    """Whether an image is no other than what it is of."""
    return shift[0] == 0 and shift[1] == 0 and shift[2] == 0


@compiled(makes_arrays=True)
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
                moved = image(neighbours, neighbours.shift[q])
                for earlier in range(b):
                    before |= within(neighbours, beads[earlier], neighbours.near[q], moved, neighbours.reach)
            if not before:
                rows[n] = q
                n += 1
    return rows[:n]

"""Vectors of three numbers in compiled code, as tuples, and which image of an atom is meant."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.compiled import compiled


class Lattice(NamedTuple):
    """A box whose images are all the same to the molecules in it.

    Attributes
    ----------
    cell, inverse
        (3, 3) nm, reduced, and its inverse.
    safe
        Square of a length: where the rounding of a vector leaves it shorter, no other image is nearer, nm^2.
    steps
        (26, 3) nm from a cell to those around it.
    """

    cell: Any
    inverse: Any
    safe: float
    steps: Any


class Wound(NamedTuple):
    """Positions of molecules that may be bonded to images of their own.

    In place of the positions themselves, for all that asks for vectors between atoms with :func:`arm`.

    Attributes
    ----------
    positions
        (n, 3) nm.
    lattice
        The box.
    """

    positions: Any
    lattice: Lattice


def make_lattice(cell: FloatArray) -> Lattice:
    """The lattice of a reduced cell (3, 3), nm."""
    inverse = np.ascontiguousarray(np.linalg.inv(cell))
    height = 1.0 / np.linalg.norm(inverse, axis=0).max()
    steps = np.array([step for step in product((-1.0, 0.0, 1.0), repeat=3) if any(step)]) @ cell
    return Lattice(np.ascontiguousarray(cell), inverse, float(height**2 / 4), steps)


def in_lattice(positions: Any, lattice: Lattice | None) -> Any:
    """Positions for :func:`arm`: the nearest image of each atom counts, where there is a lattice.

    Compiled code decides by the types, and does nothing where there is none.
    """
    return positions if lattice is None else Wound(positions, lattice)


@overload(in_lattice, inline="always", strict=False)
def _in_lattice(positions: Any, lattice: Any) -> Any:
    if lattice is None or isinstance(lattice, types.NoneType):
        return lambda positions, lattice: positions
    return lambda positions, lattice: Wound(positions, lattice)


@compiled()
def nearest(lattice: Any, x: float, y: float, z: float) -> Any:
    """The shortest image of a vector, nm."""
    cell, inverse = lattice.cell, lattice.inverse
    a = math.floor(x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0] + 0.5)
    b = math.floor(x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1] + 0.5)
    c = math.floor(x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2] + 0.5)
    x -= a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
    y -= a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
    z -= a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
    r2 = x * x + y * y + z * z
    if r2 < lattice.safe:
        return x, y, z
    best = -1
    for k in range(len(lattice.steps)):
        u, v, w = x + lattice.steps[k, 0], y + lattice.steps[k, 1], z + lattice.steps[k, 2]
        if u * u + v * v + w * w < r2:
            best, r2 = k, u * u + v * v + w * w
    if best >= 0:
        x, y, z = x + lattice.steps[best, 0], y + lattice.steps[best, 1], z + lattice.steps[best, 2]
    return x, y, z


@compiled()
def step_to(lattice: Any, here: Any, there: Any) -> Any:
    """What brings a place (3,) to the image that is nearest to another one, nm."""
    x, y, z = there[0] - here[0], there[1] - here[1], there[2] - here[2]
    u, v, w = nearest(lattice, x, y, z)
    return u - x, v - y, w - z


def arm(x: Any, i: int, j: int) -> Any:
    """Vector from atom i to atom j of positions (n, 3), or of :class:`Wound` ones to its nearest image."""
    if isinstance(x, Wound):
        p = x.positions
        return nearest(x.lattice, p[j, 0] - p[i, 0], p[j, 1] - p[i, 1], p[j, 2] - p[i, 2])
    return x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]


@compiled()
def _wound_arm(x: Any, i: int, j: int) -> Any:
    p = x.positions
    return nearest(x.lattice, p[j, 0] - p[i, 0], p[j, 1] - p[i, 1], p[j, 2] - p[i, 2])


@overload(arm, inline="always", strict=False)
def _arm(x: Any, i: Any, j: Any) -> Any:
    if isinstance(x, types.BaseNamedTuple):
        return lambda x, i, j: _wound_arm(x, i, j)
    return lambda x, i, j: (x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2])


@compiled(forceinline=True)
def dot(a: Any, b: Any) -> float:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled(forceinline=True)
def cross(a: Any, b: Any) -> Any:
    """Vector product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]

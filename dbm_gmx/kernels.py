"""Compiled arithmetic of the sampler: random numbers, rotations, energies of terms.

Everything here runs inside loops over atoms; what it means is said where it is called.  Lengths in
nm, energies in kJ/mol, angles in radians.  Random numbers come from a counter that the caller seeds
with what the numbers are for, so that a result does not depend on the number of threads.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba as nb
import numpy as np

from dbm_gmx.target import ANGLE, COSINE, DISTANCE, HARMONIC, PERIODIC, QUARTIC

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Compile a function, once for this machine; threads of other work go on while it runs."""
    defaults = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": True}
    return cast(Callable[[Function], Function], nb.njit(**{**defaults, **options}))


# --- random numbers (splitmix64: Steele, Lea, Flood, OOPSLA 2014) -----------------------------------

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


@compiled(inline="always")
def scramble(x: np.uint64) -> np.uint64:
    """Mix the bits of a number."""
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


@compiled()
def seeded(dice: Any, a: int, b: int, c: int, d: int) -> None:
    """Begin a stream ``dice`` (1,) uint64 that belongs to four whole numbers."""
    state = scramble(np.uint64(a) + GOLDEN)
    state = scramble(state ^ (np.uint64(b) + GOLDEN))
    state = scramble(state ^ (np.uint64(c) + GOLDEN))
    dice[0] = scramble(state ^ (np.uint64(d) + GOLDEN))


@compiled(inline="always")
def uniform(dice: Any) -> float:
    """A number in [0, 1)."""
    dice[0] += GOLDEN
    return float(scramble(dice[0]) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled(forceinline=True)
def gaussian(dice: Any) -> float:
    """A number of mean 0 and variance 1 (Box and Muller)."""
    u, v = 1.0 - uniform(dice), uniform(dice)
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


# --- rotations -------------------------------------------------------------------------------------


@compiled()
def turn_matrix(x: float, y: float, z: float, angle: float, matrix: Any) -> None:
    """Rotation about an axis of any length (Rodrigues) into ``matrix`` (3, 3)."""
    norm = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / norm, y / norm, z / norm
    c, s = math.cos(angle), math.sin(angle)
    t = 1.0 - c
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = t * x * x + c, t * x * y - s * z, t * x * z + s * y
    matrix[1, 0], matrix[1, 1], matrix[1, 2] = t * x * y + s * z, t * y * y + c, t * y * z - s * x
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = t * x * z - s * y, t * y * z + s * x, t * z * z + c


@compiled()
def random_matrix(dice: Any, matrix: Any) -> None:
    """A rotation, all equally likely, into ``matrix`` (3, 3): a uniform unit quaternion."""
    u, v, w = uniform(dice), 2.0 * math.pi * uniform(dice), 2.0 * math.pi * uniform(dice)
    a, b = math.sqrt(1.0 - u), math.sqrt(u)
    # the quaternion (b cos w, a sin v, a cos v, b sin w) as axis and angle
    x, y, z, q = a * math.sin(v), a * math.cos(v), b * math.sin(w), b * math.cos(w)
    sine = math.sqrt(x * x + y * y + z * z)
    turn_matrix(x, y, z, 2.0 * math.atan2(sine, q), matrix)


# --- terms -----------------------------------------------------------------------------------------


@compiled(forceinline=True)
def term_energy(form: int, p: Any, positions: Any, i: int, j: int, k: int, m: int) -> float:
    """Energy of a term in a form of :class:`~dbm_gmx.target.Force`; rows of ``positions``."""
    ax = positions[j, 0] - positions[i, 0]
    ay = positions[j, 1] - positions[i, 1]
    az = positions[j, 2] - positions[i, 2]
    if form == DISTANCE:
        stretch = math.sqrt(ax * ax + ay * ay + az * az) - p[0]
        return 0.5 * p[1] * stretch * stretch
    if form == QUARTIC:
        stretch = ax * ax + ay * ay + az * az - p[0] * p[0]
        return 0.25 * p[1] * stretch * stretch
    bx = positions[k, 0] - positions[j, 0]
    by = positions[k, 1] - positions[j, 1]
    bz = positions[k, 2] - positions[j, 2]
    if form in (ANGLE, COSINE):
        dot = -(ax * bx + ay * by + az * bz)
        if form == COSINE:
            aa, bb = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz
            off = dot / math.sqrt(aa * bb) - p[0]
            return 0.5 * p[1] * off * off
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        off = math.atan2(math.sqrt(nx * nx + ny * ny + nz * nz), dot) - p[0]
        return 0.5 * p[1] * off * off
    cx = positions[m, 0] - positions[k, 0]
    cy = positions[m, 1] - positions[k, 1]
    cz = positions[m, 2] - positions[k, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    mx, my, mz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    cosine = nx * mx + ny * my + nz * mz
    sine = math.sqrt(bx * bx + by * by + bz * bz) * (ax * mx + ay * my + az * mz)
    if form == PERIODIC:
        return p[1] * (1.0 + math.cos(p[2] * math.atan2(sine, cosine) - p[0]))
    if form == HARMONIC:
        off = math.atan2(sine, cosine) - p[0]
        off -= 2.0 * math.pi * math.floor(off / (2.0 * math.pi) + 0.5)
        return 0.5 * p[1] * off * off
    norm = math.sqrt(sine * sine + cosine * cosine)
    c = -cosine / norm if norm > 0.0 else -1.0
    return p[0] + c * (p[1] + c * (p[2] + c * (p[3] + c * (p[4] + c * p[5]))))

"""Rotation matrices; those of moves are compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.compiled import compiled
from dbm_gmx.sampling.random_numbers import uniform

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
def random_matrix(rng: Any, matrix: Any) -> None:
    """A rotation, all equally likely, into ``matrix`` (3, 3): a uniform unit quaternion."""
    u, v, w = uniform(rng), 2.0 * math.pi * uniform(rng), 2.0 * math.pi * uniform(rng)
    a, b = math.sqrt(1.0 - u), math.sqrt(u)
    # the quaternion (b cos w, a sin v, a cos v, b sin w) as axis and angle
    x, y, z, q = a * math.sin(v), a * math.cos(v), b * math.sin(w), b * math.cos(w)
    sine = math.sqrt(x * x + y * y + z * z)
    turn_matrix(x, y, z, 2.0 * math.atan2(sine, q), matrix)


def best_rotations(products: FloatArray) -> FloatArray:
    """Rotations (..., 3, 3) that bring points closest to others (Kabsch, Acta Cryst. A 32, 922, 1976).

    Parameters
    ----------
    products
        (..., 3, 3) sums over the points, of each component of a point with each of where it should be.
    """
    u, _, vt = np.linalg.svd(products)
    turned = np.einsum("...ji,...kj->...ik", vt, u)
    flip = np.ones(products.shape[:-1])
    flip[..., 2] = np.sign(np.linalg.det(turned))
    return np.asarray(np.einsum("...ji,...j,...kj->...ik", vt, flip, u), np.float64)

"""Vectors of three numbers in compiled code, as tuples."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any

from dbm_gmx.compiled import compiled


@compiled(forceinline=True)
def arm(x: Any, i: int, j: int) -> Any:
    """Vector from atom i to atom j."""
    return x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]


@compiled(forceinline=True)
def dot(a: Any, b: Any) -> float:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled(forceinline=True)
def cross(a: Any, b: Any) -> Any:
    """Vector product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]

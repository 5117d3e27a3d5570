"""Bonds that keep their lengths in dynamics: positions, velocities and the metric, compiled.

All atoms that move have the same mass.  Rows of bonds (b, 2) are those of (n, 3) positions; from row ``free``
on atoms stand still.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

import numpy as np

from dbm_gmx.compiled import compiled

EXACT = 1e-6
"""Relative error of the square of a bond's length."""

FURTHER = 1.2
"""Times the way to its length that a bond is brought at once: what the next ones undo, in half the rounds."""

DEPENDENT = 1e30
"""In place of the logarithm of a determinant that is none.  Compiled code assumes that there are no NaNs."""

LEAST = 1e-9
"""Square of a diagonal element of the factor, below which a bond depends on those before it."""

ROUNDS = 200
"""In which bonds must have come to their lengths."""


@compiled(makes_arrays=True)
def squared_lengths(x: Any, bonds: Any) -> Any:
    """(b,) nm^2."""
    square = np.zeros(len(bonds))
    for b in range(len(bonds)):
        for d in range(3):
            square[b] += (x[bonds[b, 0], d] - x[bonds[b, 1], d]) ** 2
    return square


@compiled(makes_arrays=True)
def tie(x: Any, before: Any, bonds: Any, square: Any, free: int) -> bool:
    """Bring bonds to their lengths along the directions they had (Andersen, J. Comput. Phys. 52, 24, 1983).

    Parameters
    ----------
    x, before
        (n, 3) nm after and before a step; ``x`` changes.
    bonds, square, free
        Bonds, their squared lengths, nm^2, and how many atoms move.

    Returns
    -------
    Whether that could be done: not where a step has more than doubled the square of a length.
    """
    along, share = np.empty((len(bonds), 3)), np.empty((len(bonds), 2))
    for b in range(len(bonds)):
        i, j = bonds[b, 0], bonds[b, 1]
        for d in range(3):
            along[b, d] = before[i, d] - before[j, d]
        share[b, 0], share[b, 1] = (1.0 if i < free else 0.0), (1.0 if j < free else 0.0)
    for _ in range(ROUNDS):
        worst = 0.0
        for b in range(len(bonds)):
            i, j = bonds[b, 0], bonds[b, 1]
            dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
            ex, ey, ez = along[b, 0], along[b, 1], along[b, 2]
            off = square[b] - dx * dx - dy * dy - dz * dz
            if abs(off) > square[b]:  # before numbers are no longer finite
                return False
            worst = max(worst, abs(off) / square[b])
            first, second = share[b, 0], share[b, 1]
            push = 0.5 * FURTHER * off / ((first + second) * (dx * ex + dy * ey + dz * ez))
            first, second = first * push, second * push
            x[i, 0] += first * ex
            x[i, 1] += first * ey
            x[i, 2] += first * ez
            x[j, 0] -= second * ex
            x[j, 1] -= second * ey
            x[j, 2] -= second * ez
        if worst < EXACT:
            return True
    return False


@compiled()
def factor_metric(x: Any, bonds: Any, free: int, units: Any, factor: Any) -> float:
    """Cholesky factor of the metric of the bonds, and the logarithm of its determinant.

    The metric is ``J J^T``, J the gradients of the lengths by the atoms that move.  Dynamics with fixed
    lengths has a density of positions that is the root of its determinant times that of free atoms of these
    lengths (Fixman, Proc. Natl. Acad. Sci. 71, 3050, 1974).

    Parameters
    ----------
    x, bonds, free
        As for :func:`tie`.
    units, factor
        (b, 3) becomes the directions of the bonds, (b, b) the factor, in its lower half.

    Returns
    -------
    :data:`DEPENDENT` where bonds depend on each other.
    """
    logarithm = 0.0
    for b in range(len(bonds)):
        i, j, r2 = bonds[b, 0], bonds[b, 1], 0.0
        for d in range(3):
            units[b, d] = x[i, d] - x[j, d]
            r2 += units[b, d] ** 2
        for d in range(3):
            units[b, d] /= math.sqrt(r2)
        for c in range(b + 1):
            common = 0.0
            for s in range(2):
                for t in range(2):
                    if bonds[b, s] < free and bonds[b, s] == bonds[c, t]:
                        common += 1.0 if s == t else -1.0
            value = 0.0
            if common != 0.0:
                for d in range(3):
                    value += common * units[b, d] * units[c, d]
            for k in range(c):
                value -= factor[b, k] * factor[c, k]
            if c < b:
                factor[b, c] = value / factor[c, c]
            elif value < LEAST:
                return DEPENDENT
            else:
                factor[b, b] = math.sqrt(value)
                logarithm += math.log(value)
    return logarithm


@compiled(makes_arrays=True)
def straighten(velocity: Any, bonds: Any, free: int, units: Any, factor: Any) -> None:
    """Take from velocities (free, 3) what would change the bonds; see :func:`factor_metric`."""
    bonds_count = len(bonds)
    rate = np.zeros(bonds_count)
    for b in range(bonds_count):
        i, j = bonds[b, 0], bonds[b, 1]
        for d in range(3):
            if i < free:
                rate[b] += units[b, d] * velocity[i, d]
            if j < free:
                rate[b] -= units[b, d] * velocity[j, d]
        for k in range(b):
            rate[b] -= factor[b, k] * rate[k]
        rate[b] /= factor[b, b]
    for b in range(bonds_count - 1, -1, -1):
        for k in range(b + 1, bonds_count):
            rate[b] -= factor[k, b] * rate[k]
        rate[b] /= factor[b, b]
    for b in range(bonds_count):
        i, j = bonds[b, 0], bonds[b, 1]
        for d in range(3):
            if i < free:
                velocity[i, d] -= rate[b] * units[b, d]
            if j < free:
                velocity[j, d] += rate[b] * units[b, d]

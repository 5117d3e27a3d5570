"""Energies given by tables: cubic along one coordinate, bicubic on a grid of two dihedrals.

Reference: GROMACS manual, "Tabulated bonded interaction functions" and "Dihedral correction maps (CMAP)".
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.compiled import compiled

HERMITE = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1]], np.float64)
"""From values and slopes at 0 and 1 (f0, f1, f0', f1') to the coefficients of a cubic."""


# --- coefficients ----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def periodic_slopes(n: int) -> FloatArray:
    """(n, n) matrix that gives the slopes at n points around a circle, a step apart, from the values there.

    The spline goes round twice and is straight at its ends, half a turn from what is used of it (grompp).
    """
    twice = np.tile(np.eye(n), (2, 1))
    half = n // 2
    rolled = np.roll(twice, -(n - half), axis=0)
    spline = CubicSpline(np.arange(2 * n), rolled, bc_type="natural")
    return np.asarray(spline(np.arange(half, half + n), 1), np.float64)


def grid_corners(grid: FloatArray) -> FloatArray:
    """(n, n, 4, 4) values and slopes at the corners of each cell of a periodic grid (n, n).

    Rows are value and value one step on in the first coordinate, then the slopes along it there; columns the
    same of the second coordinate.  A step is the unit of length.
    """
    d = periodic_slopes(len(grid))
    along, across, both = d @ grid, grid @ d.T, d @ grid @ d.T
    corners = np.empty((*grid.shape, 4, 4))
    for row, column in np.ndindex(4, 4):
        of = ((grid, across), (along, both))[row // 2][column // 2]
        corners[..., row, column] = np.roll(of, (-(row % 2), -(column % 2)), axis=(0, 1))
    return corners


def grid_coefficients(grid: FloatArray) -> FloatArray:
    """(n, n, 4, 4) c_ab of each cell, whose energy is the sum of c_ab t^a u^b, with t and u from 0 to 1."""
    return np.asarray(HERMITE @ grid_corners(grid) @ HERMITE.T, np.float64)


def table_coefficients(values: FloatArray, slopes: FloatArray) -> FloatArray:
    """(n - 1, 4) coefficients of the cubics between n points, a step apart, with these slopes."""
    ends = np.stack([values[:-1], values[1:], slopes[:-1], slopes[1:]], axis=1)
    return np.asarray(ends @ HERMITE.T, np.float64)


# --- look-up ---------------------------------------------------------------------------------------


@compiled()
def table_energy(p: Any, tables: Any, x: float) -> Any:
    """Energy and slope of a table at a coordinate; beyond its ends it goes straight on.

    Parameters
    ----------
    p
        Where the table begins, how many cubics it has, how many in a unit of the coordinate, force constant.
    tables
        (w,) coefficients of all tables.
    x
        The coordinate, from where the table begins.
    """
    place = x * p[2]
    k = min(max(math.floor(place), 0), int(p[1]) - 1)
    t, begin = min(max(place - k, 0.0), 1.0), int(p[0]) + 4 * k
    c1, c2, c3 = tables[begin + 1], tables[begin + 2], tables[begin + 3]
    slope = c1 + t * (2.0 * c2 + t * 3.0 * c3)
    energy = tables[begin] + t * (c1 + t * (c2 + t * c3)) + slope * (place - k - t)
    return p[3] * energy, p[3] * p[2] * slope


@compiled()
def grid_energy(p: Any, tables: Any, phi: float, psi: float) -> Any:
    """Energy of a grid at two dihedrals in [-pi, pi], kJ/mol, and its slopes along both.

    ``p``: where the grid begins in ``tables`` and how many points it has along each dihedral, from -pi on.
    """
    n = int(p[1])
    step = 2.0 * math.pi / n
    t, u = (phi + math.pi) / step, (psi + math.pi) / step
    i, j = min(max(int(t), 0), n - 1), min(max(int(u), 0), n - 1)
    t, u = t - i, u - j
    energy = along = across = 0.0
    for row in range(3, -1, -1):
        begin = int(p[0]) + 16 * (n * i + j) + 4 * row
        c0, c1, c2, c3 = tables[begin], tables[begin + 1], tables[begin + 2], tables[begin + 3]
        along = along * t + energy
        energy = energy * t + c0 + u * (c1 + u * (c2 + u * c3))
        across = across * t + c1 + u * (2.0 * c2 + u * 3.0 * c3)
    return energy, along / step, across / step

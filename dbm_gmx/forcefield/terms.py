"""Bonded terms in the few forms that GROMACS' own are written in, their energies and forces, compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.topology import Terms
from dbm_gmx.compiled import compiled
from dbm_gmx.errors import InputError

DISTANCE, QUARTIC, ANGLE, COSINE, PERIODIC, HARMONIC, POLYNOMIAL = range(7)
"""Functional forms, see :func:`canonical`."""


PARAMETERS = 6  # of a term, at most


@dataclass(frozen=True, eq=False)
class Force:
    """Terms in the few forms the sampler knows: arrays over t terms.

    Attributes
    ----------
    form, atoms, parameters
        (t,), (t, 4) rows of the molecule, -1 where a term has fewer, (t, 6) in kJ/mol, nm and radians:

        =============  ==============================  ===================================
        DISTANCE       r0, k                           k (r - r0)^2 / 2
        QUARTIC        r0, k                           k (r^2 - r0^2)^2 / 4
        ANGLE          theta0, k                       k (theta - theta0)^2 / 2
        COSINE         cos theta0, k                   k (cos theta - cos theta0)^2 / 2
        PERIODIC       phi0, k, n                      k (1 + cos(n phi - phi0))
        HARMONIC       xi0, k                          k (xi - xi0)^2 / 2, the short way round
        POLYNOMIAL     c0 ... c5                       sum c_n (-cos phi)^n
        =============  ==============================  ===================================
    """

    form: IntArray
    atoms: IntArray
    parameters: FloatArray


def canonical(terms: Iterable[Terms]) -> Force:
    """Write terms in the sampler's forms; those of several parts (Urey-Bradley) become several."""
    form, atoms, parameters = [], [], []
    for group in terms:
        for number, rows, values in _forms(group):
            form.append(np.full(len(rows), number))
            atoms.append(np.pad(rows, ((0, 0), (0, 4 - rows.shape[1])), constant_values=-1))
            parameters.append(np.pad(values, ((0, 0), (0, PARAMETERS - values.shape[1]))))
    return Force(
        np.concatenate([np.zeros(0, np.int64), *form]),
        np.concatenate([np.zeros((0, 4), np.int64), *atoms]),
        np.concatenate([np.zeros((0, PARAMETERS)), *parameters]),
    )


def _forms(terms: Terms) -> list[tuple[int, IntArray, FloatArray]]:
    key, atoms, p = (terms.directive, terms.function), terms.atoms, terms.parameters.astype(np.float64)
    if key in (("bonds", 1), ("bonds", 6)):
        return [(DISTANCE, atoms, p[:, :2])]
    if key == ("bonds", 2):
        return [(QUARTIC, atoms, p[:, :2])]
    if key == ("angles", 1):
        return [(ANGLE, atoms, _radians(p[:, :2]))]
    if key == ("angles", 2):
        return [(COSINE, atoms, np.stack([np.cos(np.radians(p[:, 0])), p[:, 1]], axis=1))]
    if key == ("angles", 5):
        return [(ANGLE, atoms, _radians(p[:, :2])), (DISTANCE, atoms[:, ::2], p[:, 2:4])]
    if key in (("dihedrals", 1), ("dihedrals", 4), ("dihedrals", 9)):
        return [(PERIODIC, atoms, _radians(p[:, :3]))]
    if key == ("dihedrals", 2):
        return [(HARMONIC, atoms, _radians(p[:, :2]))]
    if key == ("dihedrals", 3):
        return [(POLYNOMIAL, atoms, p[:, :6])]
    if key == ("dihedrals", 5):
        f1, f2, f3, f4 = p[:, :4].T
        zero = np.zeros_like(f1)
        c = [f2 + (f1 + f3) / 2, (3 * f3 - f1) / 2, 4 * f4 - f2, -2 * f3, -4 * f4, zero]
        return [(POLYNOMIAL, atoms, np.stack(c, axis=1))]
    raise InputError(f"[ {key[0]} ] of function type {key[1]} are not supported by the exact refinement")


def _radians(parameters: FloatArray) -> FloatArray:
    """Turn the first column from degrees to radians."""
    return np.concatenate([np.radians(parameters[:, :1]), parameters[:, 1:]], axis=1)


# --- terms -----------------------------------------------------------------------------------------


@compiled(forceinline=True)
def term_energy(form: int, p: Any, positions: Any, i: int, j: int, k: int, m: int) -> float:
    """Energy of a term in a form of :class:`~dbm_gmx.forcefield.terms.Force`; rows of ``positions``."""
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


STIFFEST = 2e5  # kJ/mol nm^-2, of bonds


@compiled(forceinline=True)
def add_force(force: Any, i: int, x: float, y: float, z: float) -> None:
    """Add to the force on an atom."""
    force[i, 0] += x
    force[i, 1] += y
    force[i, 2] += z


@compiled(forceinline=True)
def term_force(form: int, p: Any, scale: float, x: Any, i: int, j: int, k: int, m: int, force: Any) -> None:
    """Add the force of a term; bonds no stiffer than :data:`STIFFEST`."""
    ax, ay, az = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
    if form in (DISTANCE, QUARTIC):
        r = math.sqrt(ax * ax + ay * ay + az * az) + 1e-9
        stiffness = p[1] if form == DISTANCE else 2.0 * p[1] * p[0] * p[0]
        pull = scale * min(stiffness, STIFFEST) * (r - p[0]) / r
        add_force(force, i, pull * ax, pull * ay, pull * az)
        add_force(force, j, -pull * ax, -pull * ay, -pull * az)
        return
    bx, by, bz = x[k, 0] - x[j, 0], x[k, 1] - x[j, 1], x[k, 2] - x[j, 2]
    if form in (ANGLE, COSINE):
        aa, bb = ax * ax + ay * ay + az * az + 1e-9, bx * bx + by * by + bz * bz + 1e-9
        norm = math.sqrt(aa * bb)
        cosine = max(-1.0, min(1.0, -(ax * bx + ay * by + az * bz) / norm))
        slope = p[1] * (cosine - p[0])
        if form == ANGLE:
            slope = -p[1] * (math.acos(cosine) - p[0]) / math.sqrt(max(1.0 - cosine * cosine, 0.01))
        slope *= scale
        # cosine = (r_i - r_j).(r_k - r_j) / norm
        ix, iy, iz = bx / norm + cosine * ax / aa, by / norm + cosine * ay / aa, bz / norm + cosine * az / aa
        kx, ky, kz = (
            -ax / norm - cosine * bx / bb,
            -ay / norm - cosine * by / bb,
            -az / norm - cosine * bz / bb,
        )
        add_force(force, i, -slope * ix, -slope * iy, -slope * iz)
        add_force(force, k, -slope * kx, -slope * ky, -slope * kz)
        add_force(force, j, slope * (ix + kx), slope * (iy + ky), slope * (iz + kz))
        return
    cx, cy, cz = x[m, 0] - x[k, 0], x[m, 1] - x[k, 1], x[m, 2] - x[k, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    mx, my, mz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    length = math.sqrt(bx * bx + by * by + bz * bz) + 1e-9
    nn = max(nx * nx + ny * ny + nz * nz, 1e-5)
    mm = max(mx * mx + my * my + mz * mz, 1e-5)
    phi = math.atan2(length * (ax * mx + ay * my + az * mz), nx * mx + ny * my + nz * mz)
    if form == PERIODIC:
        slope = -p[1] * p[2] * math.sin(p[2] * phi - p[0])
    elif form == HARMONIC:
        off = phi - p[0]
        slope = p[1] * (off - 2.0 * math.pi * math.floor(off / (2.0 * math.pi) + 0.5))
    else:
        c = -math.cos(phi)
        slope = math.sin(phi) * (
            p[1] + c * (2.0 * p[2] + c * (3.0 * p[3] + c * (4.0 * p[4] + c * 5.0 * p[5])))
        )
    slope *= scale
    # Blondel and Karplus, J. Comput. Chem. 17, 1132, 1996
    gi, gm = -slope * length / nn, slope * length / mm
    ab, cb = (
        (ax * bx + ay * by + az * bz) / (length * length),
        (cx * bx + cy * by + cz * bz) / (length * length),
    )
    ix, iy, iz = gi * nx, gi * ny, gi * nz
    lx, ly, lz = gm * mx, gm * my, gm * mz
    sx, sy, sz = -ab * ix + cb * lx, -ab * iy + cb * ly, -ab * iz + cb * lz
    add_force(force, i, -ix, -iy, -iz)
    add_force(force, m, -lx, -ly, -lz)
    add_force(force, j, ix - sx, iy - sy, iz - sz)
    add_force(force, k, lx + sx, ly + sy, lz + sz)

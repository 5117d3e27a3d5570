"""Forces of the force field's terms, for the dynamics that lead to the first atoms.

The sampler itself needs energies only.  Stiff bonds are softened here, so that time steps can be long:
what comes out is a start, not a sample.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

from dbm_gmx.kernels import compiled
from dbm_gmx.target import ANGLE, COSINE, DISTANCE, HARMONIC, PERIODIC, QUARTIC

STIFFEST = 2e5  # kJ/mol nm^-2, of bonds
UPRIGHT = 400.0  # kJ/mol, holds the hand of a stereocentre
CLOSEST = 0.01  # nm^2, squares of distances are no smaller
VOLUME = 0.77  # of unit vectors to three neighbours of a tetrahedral atom


@compiled(forceinline=True)
def _add(force: Any, i: int, x: float, y: float, z: float) -> None:
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
        _add(force, i, pull * ax, pull * ay, pull * az)
        _add(force, j, -pull * ax, -pull * ay, -pull * az)
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
        _add(force, i, -slope * ix, -slope * iy, -slope * iz)
        _add(force, k, -slope * kx, -slope * ky, -slope * kz)
        _add(force, j, slope * (ix + kx), slope * (iy + ky), slope * (iz + kz))
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
    _add(force, i, -ix, -iy, -iz)
    _add(force, m, -lx, -ly, -lz)
    _add(force, j, ix - sx, iy - sy, iz - sz)
    _add(force, k, lx + sx, ly + sy, lz + sz)


@compiled()
def upright(x: Any, centre: Any, hand: float, force: Any) -> None:
    """Add the force that gives a stereocentre its hand: on the triple product of three arms."""
    c, i, j, k = centre[0], centre[1], centre[2], centre[3]
    ax, ay, az = x[i, 0] - x[c, 0], x[i, 1] - x[c, 1], x[i, 2] - x[c, 2]
    bx, by, bz = x[j, 0] - x[c, 0], x[j, 1] - x[c, 1], x[j, 2] - x[c, 2]
    dx, dy, dz = x[k, 0] - x[c, 0], x[k, 1] - x[c, 1], x[k, 2] - x[c, 2]
    la = math.sqrt(ax * ax + ay * ay + az * az) + 1e-9
    lb = math.sqrt(bx * bx + by * by + bz * bz) + 1e-9
    ld = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    norm = la * lb * ld
    px, py, pz = by * dz - bz * dy, bz * dx - bx * dz, bx * dy - by * dx
    qx, qy, qz = dy * az - dz * ay, dz * ax - dx * az, dx * ay - dy * ax
    rx, ry, rz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    lack = VOLUME - hand * (ax * px + ay * py + az * pz) / norm
    if lack <= 0.0:
        return
    push = UPRIGHT * lack * hand / norm
    _add(force, i, push * px, push * py, push * pz)
    _add(force, j, push * qx, push * qy, push * qz)
    _add(force, k, push * rx, push * ry, push * rz)
    _add(force, c, -push * (px + qx + rx), -push * (py + qy + ry), -push * (pz + qz + rz))


@compiled(forceinline=True)
def special_pair(tables: Any, p: Any, i: int, j: int) -> Any:
    """c6, c12 and qq of a special pair ``p``, see :class:`~dbm_gmx.target.MoleculeTarget`."""
    usual, a, b = p[4] > 0.0, tables.type[i], tables.type[j]
    c6 = p[0] + (tables.c6[a, b] if usual else 0.0)
    c12 = p[1] + (tables.c12[a, b] if usual else 0.0)
    qq = p[2] + (tables.charge[i] * tables.charge[j] if usual else 0.0)
    return c6, c12, qq


@compiled(forceinline=True)
def pair_force(c6: float, c12: float, qq: float, r2: float, soft: float) -> Any:
    """Force over distance, and energy, of a pair of one molecule, without cut-off."""
    if soft > 0.0 and (c6 <= 0.0 or c12 <= 0.0):
        return 0.0, 0.0
    square = max(r2, CLOSEST)
    quartic = square * square
    i6 = 1.0 / (quartic * square + (soft * c12 / c6 if soft > 0.0 else 0.0))
    push, energy = 6.0 * quartic * i6 * i6 * (2.0 * c12 * i6 - c6), (c12 * i6 - c6) * i6
    if qq != 0.0 and soft == 0.0:
        energy += qq / math.sqrt(square)
        push += qq / (math.sqrt(square) * square)
    return push, energy

"""Restraints: what holds the chirality of a stereocentre, compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.terms import add_force

CHIRALITY_STIFFNESS = 400.0  # kJ/mol, holds the hand of a stereocentre


VOLUME = 0.77  # of unit vectors to three neighbours of a tetrahedral atom


@compiled()
def restrain_chirality(x: Any, centre: Any, sign: float, force: Any) -> None:
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
    lack = VOLUME - sign * (ax * px + ay * py + az * pz) / norm
    if lack <= 0.0:
        return
    push = CHIRALITY_STIFFNESS * lack * sign / norm
    add_force(force, i, push * px, push * py, push * pz)
    add_force(force, j, push * qx, push * qy, push * qz)
    add_force(force, k, push * rx, push * ry, push * rz)
    add_force(force, c, -push * (px + qx + rx), -push * (py + qy + ry), -push * (pz + qz + rz))

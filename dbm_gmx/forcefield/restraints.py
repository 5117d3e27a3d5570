"""Restraints: mapped centres on their beads, stereo elements in their state; compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

from dbm_gmx.chemistry.stereo import BETWEEN, FLAT, stereo_volume
from dbm_gmx.chemistry.stereo_bonds import BOND
from dbm_gmx.chemistry.vectors import arm
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.terms import add_force, add_torque, dihedral_of

CHIRALITY_STIFFNESS = 1000.0
"""Of the chirality restraint, kJ/mol."""

TETRAHEDRAL = 0.7
"""Volume of a stereocentre above which nothing restrains it; that of an ideal one is 0.77.

A bond is free up to 63 degrees from its plane.
"""

COSINE = FLAT / BETWEEN
"""Volume of a bond over the cosine of its dihedral."""


# --- beads -----------------------------------------------------------------------------------------


@compiled(forceinline=True)
def bead_offset(sites: Any, site: int, x: Any, first: int, bead: Any) -> Any:
    """How far a mapped centre is from its bead, nm, along the three axes.

    Parameters
    ----------
    sites
        Record with ``weighed_start``, ``weighed``, ``weight``: atoms of each bead of a molecule and their
        weights.
    site
        Which bead.
    x, first
        (n, 3) nm, and the row of the molecule's first atom.
    bead
        (3,) where the bead is.
    """
    dx, dy, dz = -bead[0], -bead[1], -bead[2]
    for q in range(sites.weighed_start[site], sites.weighed_start[site + 1]):
        i = first + sites.weighed[q]
        dx += sites.weight[q] * x[i, 0]
        dy += sites.weight[q] * x[i, 1]
        dz += sites.weight[q] * x[i, 2]
    return dx, dy, dz


@compiled(forceinline=True)
def add_bead_restraint(sites: Any, site: int, first: int, offset: Any, stiffness: float, force: Any) -> None:
    """Add the forces that pull a mapped centre onto its bead; ``offset`` as of :func:`bead_offset`."""
    for q in range(sites.weighed_start[site], sites.weighed_start[site + 1]):
        pull = -stiffness * sites.weight[q]
        add_force(force, first + sites.weighed[q], pull * offset[0], pull * offset[1], pull * offset[2])


# --- chirality -------------------------------------------------------------------------------------


@compiled(forceinline=True)
def chirality_lack(volume: float, sign: float) -> float:
    """How much of the volume an element lacks for a state of 1 or -1; 0 where it has enough."""
    return max(0.0, TETRAHEDRAL - sign * volume)


@compiled()
def chirality_energy(x: Any, centre: Any, sign: float) -> float:
    """Energy of the chirality restraint, kJ/mol; arguments as for :func:`add_chirality_restraint`."""
    lack = chirality_lack(stereo_volume(x, centre), sign)
    return 0.5 * CHIRALITY_STIFFNESS * lack * lack


@compiled()
def add_chirality_restraint(x: Any, centre: Any, sign: float, force: Any) -> None:
    """Add the force that gives a stereocentre its chirality, or a bond its state.

    The volume is that of :func:`~dbm_gmx.chemistry.stereo.stereo_volume`: for unit vectors u to all four
    neighbours a quarter of (u0 - u3, u1 - u3, u2 - u3), a triple product.

    Parameters
    ----------
    x, force
        (n, 3) nm, see :func:`~dbm_gmx.chemistry.vectors.in_lattice`, and kJ/mol nm^-1.
    centre
        (5,) rows: the centre and its neighbours, -1 for the last one where it has no place; or of a bond.
    sign
        1 or -1.
    """
    if centre[4] == BOND:
        _add_bond_restraint(x, centre, sign, force)
        return
    c, i, j, k, m = centre[0], centre[1], centre[2], centre[3], centre[4]
    ax, ay, az, a = _arm(x, i, c)
    bx, by, bz, b = _arm(x, j, c)
    dx, dy, dz, d = _arm(x, k, c)
    ex = ey = ez = 0.0
    e = part = 1.0
    if m >= 0:
        ex, ey, ez, e = _arm(x, m, c)
        part = 0.25
    px, py, pz = ax - ex, ay - ey, az - ez
    qx, qy, qz = bx - ex, by - ey, bz - ez
    rx, ry, rz = dx - ex, dy - ey, dz - ez
    # gradients by the unit vectors: products of the other two
    gx, gy, gz = qy * rz - qz * ry, qz * rx - qx * rz, qx * ry - qy * rx
    hx, hy, hz = ry * pz - rz * py, rz * px - rx * pz, rx * py - ry * px
    kx, ky, kz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
    lack = chirality_lack(part * (px * gx + py * gy + pz * gz), sign)
    if lack == 0.0:
        return
    push = CHIRALITY_STIFFNESS * lack * sign * part
    _turn(force, i, c, push / a, (ax, ay, az), (gx, gy, gz))
    _turn(force, j, c, push / b, (bx, by, bz), (hx, hy, hz))
    _turn(force, k, c, push / d, (dx, dy, dz), (kx, ky, kz))
    if m >= 0:
        _turn(force, m, c, -push / e, (ex, ey, ez), (gx + hx + kx, gy + hy + ky, gz + hz + kz))


@compiled()
def _add_bond_restraint(x: Any, bond: Any, sign: float, force: Any) -> None:
    """Add the force of ``k (TETRAHEDRAL - sign COSINE cos phi)^2 / 2``."""
    if chirality_lack(stereo_volume(x, bond), sign) == 0.0:
        return
    i, j, k, m = bond[0], bond[1], bond[2], bond[3]
    arms = arm(x, i, j), arm(x, j, k), arm(x, k, m)
    cosine, sine = dihedral_of(*arms)
    norm = max(math.sqrt(cosine * cosine + sine * sine), 1e-30)
    slope = sign * COSINE
    pull = CHIRALITY_STIFFNESS * (TETRAHEDRAL - slope * cosine / norm) * slope * sine / norm
    add_torque((i, j, k, m), arms, pull, force)


@compiled(forceinline=True)
def _arm(x: Any, i: int, c: int) -> Any:
    """Unit vector from one atom to another, and the distance."""
    ax, ay, az = arm(x, c, i)
    length = math.sqrt(ax * ax + ay * ay + az * az) + 1e-9
    return ax / length, ay / length, az / length, length


@compiled(forceinline=True)
def _turn(force: Any, i: int, c: int, push: float, u: Any, g: Any) -> None:
    """Add a force along the part of g that turns the arm u from c to i."""
    (ux, uy, uz), (gx, gy, gz) = u, g
    along = ux * gx + uy * gy + uz * gz
    fx, fy, fz = push * (gx - along * ux), push * (gy - along * uy), push * (gz - along * uz)
    add_force(force, i, fx, fy, fz)
    add_force(force, c, -fx, -fy, -fz)

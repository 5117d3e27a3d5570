"""Surroundings of a part of a molecule that moves: pairs with atoms that stand still, and of its own.

For the way to a minimum: pairs are listed once, within :data:`CUTOFF` and a margin, and cores can be soft.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.compiled import compiled, plain
from dbm_gmx.forcefield.nonbonded import (
    acts_at_all,
    clamped,
    coulomb,
    coulomb_force,
    inverse_distance,
    inverse_sixth,
    lennard_jones,
    lennard_jones_force,
    pair_energy_and_force,
    single,
    special_pair,
    usual_pair,
    zero_quadrupole,
)
from dbm_gmx.forcefield.terms import add_force

CUTOFF = 0.6
"""nm, at which pairs are cut off while molecules are packed and brought to their minima."""

MARGIN = 0.08
"""nm, that distances change by after pairs were listed."""

BEYOND = plain(single)(zero_quadrupole(CUTOFF).beyond)  # compiled, it would return Python floats
"""What stands for the charges beyond it, so that energy and force end there.

Cut off in the field of a longer cut-off, water at equilibrium came out .35 kT per atom too high.  In double
precision it makes loops over pairs three times as long."""


class Surroundings(NamedTuple):
    """Pairs of atoms that move with what is around, and with atoms of the same molecule.

    Attributes
    ----------
    origin
        (3,) nm, of ``place``.
    start
        (m + 1,) where the neighbours of each atom that moves begin.
    place, c6, c12, core, qq
        (3, p) nm and (p,) coefficients with each, float32; ``core`` is sigma^6, c12 / c6.
    charged
        Whether any of ``qq`` is not zero.
    pair, inner
        (q, 2) atoms of the molecule and (q, 3) their c6, c12 and qq.
    """

    origin: Any
    start: Any
    place: Any
    c6: Any
    c12: Any
    core: Any
    qq: Any
    charged: bool
    pair: Any
    inner: Any


def of_pairs(pair: Any, inner: Any) -> Surroundings:
    """A molecule in the vacuum of which these pairs count, see :class:`Surroundings`."""
    none = np.zeros(0, np.float32)
    start, place = np.zeros(1, np.int64), np.zeros((3, 0), np.float32)
    return Surroundings(np.zeros(3), start, place, none, none, none, none, False, pair, inner)


NOTHING = of_pairs(np.zeros((0, 2), np.int64), np.zeros((0, 3)))
"""Of a molecule in the vacuum whose terms are all that counts."""


@compiled(forceinline=True)
def acts(surroundings: Any) -> bool:
    """Whether there is any pair."""
    return len(surroundings.c6) > 0 or len(surroundings.pair) > 0


@compiled(makes_arrays=True)
def make_surroundings(arrays: Any, inside: Any, atoms: Any, x: Any, around: Any) -> Surroundings:
    """List the pairs of the atoms of a window that move, with its others and with the atoms ``around``.

    Parameters
    ----------
    arrays
        Of the system.
    inside
        The window, see :class:`~dbm_gmx.sampling.annealing.WindowArrays`.
    atoms, x
        (n,) and (n, 3) atoms of the system that the window moves or sees, and where they are, nm.
    around
        (a, 4) x, y, z and the atom of the system.
    """
    free, limit = inside.free, (CUTOFF + MARGIN) ** 2
    origin = x[free[0]].copy()
    start = np.zeros(len(free) + 1, np.int64)
    for q in range(len(free)):
        start[q + 1] = start[q]
        for j in range(len(around)):
            start[q + 1] += _square(around[j], x[free[q]]) < limit
    size = start[-1]
    place = np.empty((3, size), np.float32)
    c6, c12 = np.empty(size, np.float32), np.empty(size, np.float32)
    core, qq = np.empty(size, np.float32), np.empty(size, np.float32)
    k, charged = 0, False
    for q in range(len(free)):
        own, charge = arrays.type[atoms[free[q]]], arrays.charge[atoms[free[q]]]
        for j in range(len(around)):
            if _square(around[j], x[free[q]]) < limit:
                other = int(around[j, 3])
                for d in range(3):
                    place[d, k] = around[j, d] - origin[d]
                c6[k], c12[k] = arrays.c6[own, arrays.type[other]], arrays.c12[own, arrays.type[other]]
                core[k] = c12[k] / c6[k] if c6[k] > 0.0 else 0.0
                qq[k] = charge * arrays.charge[other]
                charged |= qq[k] != 0.0
                k += 1
    pair, inner = _inner_pairs(arrays, inside, atoms, x, limit)
    return Surroundings(origin, start, place, c6, c12, core, qq, charged, pair, inner)


@compiled(forceinline=True)
def _square(a: Any, b: Any) -> float:
    dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return dx * dx + dy * dy + dz * dz


@compiled(forceinline=True, makes_arrays=True)
def _inner_pairs(arrays: Any, inside: Any, atoms: Any, x: Any, limit: float) -> Any:
    """Pairs within a window of which one moves, and their coefficients."""
    molecule, free = arrays.molecule[atoms[0]], inside.free
    moves = np.zeros(len(x), np.bool_)
    for i in free:
        moves[i] = True
    # partners count within the molecule
    first = arrays.first_atom[molecule]
    begin = arrays.atom_start[arrays.moltype[molecule]] - first
    most = len(inside.pair) + len(free) * len(x)
    pair, inner = np.empty((most, 2), np.int64), np.empty((most, 3))
    k = 0
    for s in range(len(inside.pair)):
        i, j = inside.pair[s, 0], inside.pair[s, 1]
        if not acts_at_all(inside.pair_parameters[s]):
            continue
        pair[k, 0], pair[k, 1] = i, j
        inner[k, 0], inner[k, 1], inner[k, 2] = special_pair(
            inside.pair_parameters[s],
            usual_pair(arrays.type, arrays.charge, arrays.c6, arrays.c12, atoms[i], atoms[j]),
        )
        k += 1
    for i in free:
        a = atoms[i]
        for j in range(len(x)):
            if (moves[j] and j < i) or _square(x[i], x[j]) >= limit:
                continue
            b, partner = atoms[j], False
            for s in range(arrays.partner_start[begin + a], arrays.partner_start[begin + a + 1]):
                partner |= arrays.partner[s] == b - first
            if partner:
                continue
            pair[k, 0], pair[k, 1] = i, j
            inner[k, 0] = arrays.c6[arrays.type[a], arrays.type[b]]
            inner[k, 1] = arrays.c12[arrays.type[a], arrays.type[b]]
            inner[k, 2] = arrays.charge[a] * arrays.charge[b]
            k += 1
    return pair[:k], inner[:k]


@compiled()
def add_surroundings(surroundings: Any, free: Any, x: Any, soft: float, force: Any) -> float:
    """Energy of the pairs, kJ/mol; adds their forces (n, 3).

    Cores are those of r^6 + ``soft`` sigma^6, and have no charge.  Charges are cut off as by a reaction
    field of a conductor.
    """
    total = 0.0
    for q in range(len(surroundings.start) - 1):
        i = free[q]
        px = np.float32(x[i, 0] - surroundings.origin[0])
        py = np.float32(x[i, 1] - surroundings.origin[1])
        pz = np.float32(x[i, 2] - surroundings.origin[2])
        fx, fy, fz, energy = _dispersion(surroundings, q, px, py, pz, np.float32(soft))
        if surroundings.charged and soft == 0.0:
            gx, gy, gz, more = _charges(surroundings, q, px, py, pz)
            fx, fy, fz, energy = fx + gx, fy + gy, fz + gz, energy + more
        add_force(force, i, fx, fy, fz)
        total += energy
    for k in range(len(surroundings.pair)):
        i, j = surroundings.pair[k, 0], surroundings.pair[k, 1]
        dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
        r2, of = dx * dx + dy * dy + dz * dz, surroundings.inner
        energy, push = pair_energy_and_force(of[k, 0], of[k, 1], of[k, 2], r2, soft)
        total += energy
        add_force(force, i, push * dx, push * dy, push * dz)
        add_force(force, j, -push * dx, -push * dy, -push * dz)
    return total


@compiled()
def _dispersion(surroundings: Any, q: int, x: Any, y: Any, z: Any, soft: Any) -> Any:
    """Lennard-Jones force on one atom by its neighbours, and the energy."""
    fx = fy = fz = energy = np.float32(0.0)
    limit = np.float32(CUTOFF * CUTOFF)
    begin, end, place = surroundings.start[q], surroundings.start[q + 1], surroundings.place
    # slices: of a range of rows compilers do not know that they follow each other
    ax, ay, az = place[0, begin:end], place[1, begin:end], place[2, begin:end]
    c6, c12, core = surroundings.c6[begin:end], surroundings.c12[begin:end], surroundings.core[begin:end]
    for j in range(len(c6)):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        i6 = inverse_sixth(near, soft * core[j])
        inside = np.float32(1.0) if r2 < limit else np.float32(0.0)
        energy += inside * lennard_jones(i6, c6[j], c12[j])
        push = inside * lennard_jones_force(near, i6, c6[j], c12[j])
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz, energy


@compiled()
def _charges(surroundings: Any, q: int, x: Any, y: Any, z: Any) -> Any:
    """Electrostatic force on one atom by its neighbours, and the energy."""
    fx = fy = fz = energy = np.float32(0.0)
    limit = np.float32(CUTOFF * CUTOFF)
    begin, end, place = surroundings.start[q], surroundings.start[q + 1], surroundings.place
    ax, ay, az = place[0, begin:end], place[1, begin:end], place[2, begin:end]
    charge = surroundings.qq[begin:end]
    for j in range(len(charge)):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        inverse = inverse_distance(near)
        qq = charge[j] if r2 < limit else np.float32(0.0)
        energy += qq * coulomb(inverse, near, BEYOND)
        push = qq * coulomb_force(inverse, near, BEYOND)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz, energy

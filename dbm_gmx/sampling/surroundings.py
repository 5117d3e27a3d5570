"""What a molecule feels of the atoms around it and of its own, beyond its bonded terms, compiled.

For the way to a minimum: neighbours stand still, lists are made once, and cores can be soft.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.nonbonded import CLOSEST, pair_force, special_pair

REACH = 0.6  # nm, at which pairs are cut off
SKIN = 0.08  # nm, that distances change by after pairs were listed


class Field(NamedTuple):
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


NOTHING = Field(
    np.zeros(3),
    np.zeros(0, np.int64),
    np.zeros((3, 0), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    False,
    np.zeros((0, 2), np.int64),
    np.zeros((0, 3)),
)
"""Of a molecule in the vacuum whose terms are all that counts."""


@compiled()
def make_field(tables: Any, molecule: int, free: Any, x: Any, around: Any, n: int) -> Field:
    """List the pairs of the atoms ``free`` of a molecule at ``x`` with the first n rows ``around``.

    Rows are x, y, z and the atom of the system.
    """
    begin, limit = tables.begin[molecule], (REACH + SKIN) ** 2
    origin = x[free[0]].copy()
    start = np.zeros(len(free) + 1, np.int64)
    for q in range(len(free)):
        start[q + 1] = start[q]
        for j in range(n):
            start[q + 1] += _square(around[j], x[free[q]]) < limit
    size = start[-1]
    place = np.empty((3, size), np.float32)
    c6, c12 = np.empty(size, np.float32), np.empty(size, np.float32)
    core, qq = np.empty(size, np.float32), np.empty(size, np.float32)
    k, charged = 0, False
    for q in range(len(free)):
        atom = begin + free[q]
        kind, charge = tables.type[atom], tables.charge[atom]
        for j in range(n):
            if _square(around[j], x[free[q]]) < limit:
                other = int(around[j, 3])
                for d in range(3):
                    place[d, k] = around[j, d] - origin[d]
                c6[k], c12[k] = tables.c6[kind, tables.type[other]], tables.c12[kind, tables.type[other]]
                core[k] = c12[k] / c6[k] if c6[k] > 0.0 else 0.0
                qq[k] = charge * tables.charge[other]
                charged |= qq[k] != 0.0
                k += 1
    pair, inner = _inner_pairs(tables, molecule, free, x, limit)
    return Field(origin, start, place, c6, c12, core, qq, charged, pair, inner)


@compiled(forceinline=True)
def _square(a: Any, b: Any) -> float:
    dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    return dx * dx + dy * dy + dz * dz


@compiled()
def _inner_pairs(tables: Any, molecule: int, free: Any, x: Any, limit: float) -> Any:
    """Pairs within a molecule of which one moves, and their coefficients."""
    begin, sort = tables.begin[molecule], tables.sort_of[molecule]
    moves = np.zeros(len(x), np.bool_)
    for i in free:
        moves[i] = True
    mass = tables.mass_start[sort]
    special = tables.special_start[sort + 1] - tables.special_start[sort]
    room = special + len(free) * len(x)
    pair, inner = np.empty((room, 2), np.int64), np.empty((room, 3))
    k = 0
    for s in range(tables.special_start[sort], tables.special_start[sort + 1]):
        i, j, p = tables.special[s, 0], tables.special[s, 1], tables.special_parameters[s]
        if not (moves[i] or moves[j]) or (p[0] == 0.0 and p[1] == 0.0 and p[2] == 0.0 and p[4] == 0.0):
            continue
        pair[k, 0], pair[k, 1] = i, j
        inner[k, 0], inner[k, 1], inner[k, 2] = special_pair(tables, p, begin + i, begin + j)
        k += 1
    for i in free:
        for j in range(len(x)):
            if (moves[j] and j < i) or _square(x[i], x[j]) >= limit:
                continue
            partner = False
            for s in range(tables.partner_start[mass + i], tables.partner_start[mass + i + 1]):
                partner |= tables.partner[s] == j
            if partner:
                continue
            a, b = begin + i, begin + j
            pair[k, 0], pair[k, 1] = i, j
            inner[k, 0] = tables.c6[tables.type[a], tables.type[b]]
            inner[k, 1] = tables.c12[tables.type[a], tables.type[b]]
            inner[k, 2] = tables.charge[a] * tables.charge[b]
            k += 1
    return pair[:k], inner[:k]


@compiled()
def feel(field: Field, free: Any, x: Any, soft: float, force: Any) -> float:
    """Energy of the pairs, kJ/mol; adds their forces.

    Cores are those of r^6 + ``soft`` sigma^6, and have no charge.  Charges are cut off as by a reaction
    field of a conductor.
    """
    total = 0.0
    for q in range(len(field.start) - 1):
        i = free[q]
        px = np.float32(x[i, 0] - field.origin[0])
        py = np.float32(x[i, 1] - field.origin[1])
        pz = np.float32(x[i, 2] - field.origin[2])
        begin, end = field.start[q], field.start[q + 1]
        fx, fy, fz, energy = _dispersion(
            px, py, pz, field.place, field.c6, field.c12, field.core, begin, end, np.float32(soft)
        )
        if field.charged and soft == 0.0:
            gx, gy, gz, more = _charges(px, py, pz, field.place, field.qq, begin, end)
            fx, fy, fz, energy = fx + gx, fy + gy, fz + gz, energy + more
        force[i, 0] += fx
        force[i, 1] += fy
        force[i, 2] += fz
        total += energy
    for k in range(len(field.pair)):
        i, j = field.pair[k, 0], field.pair[k, 1]
        dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
        push, energy = pair_force(
            field.inner[k, 0], field.inner[k, 1], field.inner[k, 2], dx * dx + dy * dy + dz * dz, soft
        )
        total += energy
        for d, along in enumerate((dx, dy, dz)):
            force[i, d] += push * along
            force[j, d] -= push * along
    return total


@compiled()
def _dispersion(
    x: Any, y: Any, z: Any, place: Any, c6: Any, c12: Any, core: Any, begin: int, end: int, soft: Any
) -> Any:
    """Lennard-Jones force on one place by its neighbours, and the energy."""
    fx = fy = fz = energy = np.float32(0.0)
    one, two, six = np.float32(1.0), np.float32(2.0), np.float32(6.0)
    limit, closest = np.float32(REACH * REACH), np.float32(CLOSEST)
    ax, ay, az = place[0], place[1], place[2]
    for j in range(begin, end):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        square = max(r2, closest)
        quartic = square * square
        i6 = one / (quartic * square + soft * core[j])
        inside = i6 if r2 < limit else np.float32(0.0)
        energy += inside * (c12[j] * i6 - c6[j])
        push = six * quartic * i6 * inside * (two * c12[j] * i6 - c6[j])
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz, energy


@compiled()
def _charges(x: Any, y: Any, z: Any, place: Any, qq: Any, begin: int, end: int) -> Any:
    """Electrostatic force on one place by its neighbours, and the energy."""
    fx = fy = fz = energy = np.float32(0.0)
    one, two, zero = np.float32(1.0), np.float32(2.0), np.float32(0.0)
    limit, closest = np.float32(REACH * REACH), np.float32(CLOSEST)
    k_rf, c_rf = np.float32(0.5 / REACH**3), np.float32(1.5 / REACH)
    ax, ay, az = place[0], place[1], place[2]
    for j in range(begin, end):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        square = max(r2, closest)
        root = one / np.sqrt(square)
        charge = qq[j] if r2 < limit else zero
        energy += charge * (root + k_rf * square - c_rf)
        push = charge * (root / square - two * k_rf)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz, energy

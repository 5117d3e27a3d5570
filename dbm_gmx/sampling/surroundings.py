"""Surroundings of a part of a molecule that moves: pairs with atoms that stand still, and of its own.

For the way to a minimum: pairs are listed once, within :data:`CUTOFF` and a margin, and cores can be soft.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.compiled import compiled, plain
from dbm_gmx.forcefield.nonbonded import (
    ONE,
    Beyond,
    acts_at_all,
    charged_pair_force,
    clamped,
    coulomb,
    inverse_distance,
    inverse_sixth,
    lennard_jones,
    lennard_jones_force,
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


VECTOR = 16
"""Columns of pairs within a molecule come in so many: the numbers in the widest registers there are."""

LIMIT = np.float32(CUTOFF * CUTOFF)
"""Square of the cut-off, nm^2."""

FAR = np.float32(1e30)
"""Square of a distance, nm^2, that no two atoms are apart."""

NOTHING_BEYOND = Beyond(np.float32(0.0), np.float32(0.0), np.float32(0.0))
"""Pairs without a cut-off."""


class Own(NamedTuple):
    """Pairs of atoms that move with atoms of the same molecule, each with each, without a cut-off.

    Attributes
    ----------
    column
        (p,) rows of the atoms pairs are with: those that stand still, then those that move, either filled up
        to whole vectors.
    still
        How many columns those have that stand still.
    c6, c12, core, qq
        (free, p) float32 coefficients, 0 of two that do not act on each other.
    charged
        Whether any of ``qq`` is not zero.
    """

    column: Any
    still: int
    c6: Any
    c12: Any
    core: Any
    qq: Any
    charged: bool


class Surroundings(NamedTuple):
    """Pairs of atoms that move with what is around, and with atoms of the same molecule.

    Attributes
    ----------
    origin
        (3,) nm, of ``place``.
    start
        (m + 1,) where the neighbours of each atom that moves begin, filled up to whole vectors.
    place, c6, c12, core, qq
        (3, p) nm and (p,) coefficients with each, float32; ``core`` is sigma^6, c12 / c6.
    charged
        Whether any of ``qq`` is not zero.
    own
        Pairs within the molecule.
    """

    origin: Any
    start: Any
    place: Any
    c6: Any
    c12: Any
    core: Any
    qq: Any
    charged: bool
    own: Any


@compiled(makes_arrays=True)
def _columns(free: Any, count: int) -> tuple[Any, int, Any]:
    """Columns for pairs of some atoms with all of ``count``, how many stand still, and each atom's column."""
    moves, of = np.zeros(count, np.bool_), np.empty(count, np.int64)
    for i in free:
        moves[i] = True
    still = -(-(count - len(free)) // VECTOR) * VECTOR
    column, k = np.zeros(still - (-len(free) // VECTOR) * VECTOR, np.int64), 0
    for i in range(count):
        if not moves[i]:
            column[k], of[i] = i, k
            k += 1
    for q in range(len(free)):
        column[still + q], of[free[q]] = free[q], still + q
    return column, still, of


def of_pairs(free: IntArray, pair: IntArray, coefficients: FloatArray) -> Surroundings:
    """A molecule in the vacuum of which these pairs count.

    Parameters
    ----------
    free
        Atoms that move.
    pair, coefficients
        (q, 2) atoms of the molecule and (q, 3) their c6, c12 and qq.
    """
    column, still, of = _columns(free, 1 + int(max(free.max(initial=-1), pair.max(initial=-1))))
    own = np.zeros((3, len(free), len(column)), np.float32)
    for i, j in (pair.T, pair.T[::-1]):
        moves = of[i] >= still
        own[:, of[i[moves]] - still, of[j[moves]]] = coefficients[moves].T
    c6, c12, qq = own
    core = np.divide(c12, c6, out=np.zeros_like(c6), where=c6 > 0.0)
    none = np.zeros(0, np.float32)
    start, place = np.zeros(1, np.int64), np.zeros((3, 0), np.float32)
    own_pairs = Own(column, still, c6, c12, core, qq, bool(qq.any()))
    return Surroundings(np.zeros(3), start, place, none, none, none, none, False, own_pairs)


NOTHING = of_pairs(np.zeros(0, np.int64), np.zeros((0, 2), np.int64), np.zeros((0, 3)))
"""Of a molecule in the vacuum whose terms are all that counts."""


@compiled(forceinline=True)
def acts(surroundings: Any) -> bool:
    """Whether there is any pair."""
    return len(surroundings.c6) > 0 or len(surroundings.own.column) > 0


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
    free, origin = inside.free, x[inside.free[0]].copy()
    near = _listed(free, x, around, origin)
    start = np.zeros(len(free) + 1, np.int64)
    for q in range(len(free)):
        count = 0
        for j in range(len(around)):
            count += near[q, j]
        start[q + 1] = start[q] - (-count // VECTOR) * VECTOR
    # what fills up the last vector of an atom acts on nothing
    place = np.zeros((3, start[-1]), np.float32)
    c6, c12 = np.zeros(start[-1], np.float32), np.zeros(start[-1], np.float32)
    core, qq = np.zeros(start[-1], np.float32), np.zeros(start[-1], np.float32)
    charged = False
    for q in range(len(free)):
        own, charge, k = arrays.type[atoms[free[q]]], arrays.charge[atoms[free[q]]], start[q]
        for j in range(len(around)):
            if near[q, j]:
                other = int(around[j, 3])
                for d in range(3):
                    place[d, k] = around[j, d] - origin[d]
                c6[k], c12[k] = arrays.c6[own, arrays.type[other]], arrays.c12[own, arrays.type[other]]
                core[k] = c12[k] / c6[k] if c6[k] > 0.0 else 0.0
                qq[k] = charge * arrays.charge[other]
                charged |= qq[k] != 0.0
                k += 1
    own = _own_pairs(arrays, inside, atoms)
    return Surroundings(origin, start, place, c6, c12, core, qq, charged, own)


@compiled(makes_arrays=True)
def _listed(free: Any, x: Any, around: Any, origin: Any) -> Any:
    """(free, a) bytes, 1 where an atom that moves and one around are near enough to be listed."""
    there = np.empty((3, len(around)), np.float32)
    for j in range(len(around)):
        for d in range(3):
            there[d, j] = around[j, d] - origin[d]
    near, limit = np.empty((len(free), len(around)), np.uint8), np.float32((CUTOFF + MARGIN) ** 2)
    ax, ay, az = there[0], there[1], there[2]
    for q in range(len(free)):
        (x0, y0, z0), row = _from(x, free[q], origin), near[q]
        for j in range(len(around)):
            dx, dy, dz = x0 - ax[j], y0 - ay[j], z0 - az[j]
            row[j] = dx * dx + dy * dy + dz * dz < limit
    return near


@compiled(forceinline=True, makes_arrays=True)
def _own_pairs(arrays: Any, inside: Any, atoms: Any) -> Own:
    """Pairs within a window of which one moves, and their coefficients."""
    molecule, free = arrays.molecule[atoms[0]], inside.free
    # partners count within the molecule
    first = arrays.first_atom[molecule]
    begin = arrays.atom_start[arrays.moltype[molecule]] - first
    column, still, of = _columns(free, len(atoms))
    c6, c12 = np.zeros((len(free), len(column)), np.float32), np.zeros((len(free), len(column)), np.float32)
    core, qq = np.zeros((len(free), len(column)), np.float32), np.zeros((len(free), len(column)), np.float32)
    for q in range(len(free)):
        a = atoms[free[q]]
        for j in range(len(atoms)):
            b, partner = atoms[j], atoms[j] == a
            for s in range(arrays.partner_start[begin + a], arrays.partner_start[begin + a + 1]):
                partner |= arrays.partner[s] == b - first
            if not partner:
                c6[q, of[j]] = arrays.c6[arrays.type[a], arrays.type[b]]
                c12[q, of[j]] = arrays.c12[arrays.type[a], arrays.type[b]]
                qq[q, of[j]] = arrays.charge[a] * arrays.charge[b]
    for s in range(len(inside.pair)):
        i, j = inside.pair[s, 0], inside.pair[s, 1]
        if not acts_at_all(inside.pair_parameters[s]):
            continue
        usual = usual_pair(arrays.type, arrays.charge, arrays.c6, arrays.c12, atoms[i], atoms[j])
        special = special_pair(inside.pair_parameters[s], usual)
        for row, other in ((of[i] - still, of[j]), (of[j] - still, of[i])):
            if row >= 0:
                c6[row, other], c12[row, other], qq[row, other] = special
    charged = False
    for q in range(len(free)):
        for k in range(len(column)):
            core[q, k] = c12[q, k] / c6[q, k] if c6[q, k] > 0.0 else 0.0
            charged |= qq[q, k] != 0.0
    return Own(column, still, c6, c12, core, qq, charged)


@compiled(makes_arrays=True)
def make_space(surroundings: Surroundings) -> Any:
    """Space for :func:`add_surroundings` to work in: (3, p) float32."""
    return np.empty((3, len(surroundings.own.column)), np.float32)


@compiled()
def add_surroundings(surroundings: Any, free: Any, x: Any, soft: float, space: Any, force: Any) -> None:
    """Add the forces of the pairs on the atoms that move to those on all (n, 3), kJ/mol nm^-1.

    Cores are those of r^6 + ``soft`` sigma^6, and have no charge.  Charges are cut off as by a reaction
    field of a conductor.  ``space`` is that of :func:`make_space`.
    """
    around, own, share = surroundings, surroundings.own, np.float32(soft)
    for q in range(len(around.start) - 1):
        i, begin, end = free[q], around.start[q], around.start[q + 1]
        # row by row: of place[:, begin:end] the compiler does not know that rows have no gaps
        at, there = (
            _from(x, i, around.origin),
            (around.place[0, begin:end], around.place[1, begin:end], around.place[2, begin:end]),
        )
        c6, c12 = around.c6[begin:end], around.c12[begin:end]
        if around.charged and soft == 0.0:
            push = pair_push(at, there, (c6, c12, around.qq[begin:end]), ONE, LIMIT, BEYOND)
        else:
            push = _core_push(at, there, (c6, c12, around.core[begin:end]), LIMIT, share)
        add_force(force, i, push[0], push[1], push[2])
    if len(own.column) == 0:
        return
    _gather(own, free, x, space)
    for q in range(len(free)):
        at = space[0, own.still + q], space[1, own.still + q], space[2, own.still + q]
        if own.charged and soft == 0.0:
            push = pair_push(at, space, (own.c6[q], own.c12[q], own.qq[q]), ONE, FAR, NOTHING_BEYOND)
        else:
            push = _core_push(at, space, (own.c6[q], own.c12[q], own.core[q]), FAR, share)
        add_force(force, free[q], push[0], push[1], push[2])


@compiled()
def surroundings_energy(surroundings: Any, free: Any, x: Any, soft: float, space: Any) -> float:
    """Energy of the pairs, kJ/mol; arguments as for :func:`add_surroundings`."""
    total, around, own, share = 0.0, surroundings, surroundings.own, np.float32(soft)
    for q in range(len(around.start) - 1):
        begin, end = around.start[q], around.start[q + 1]
        at, there = (
            _from(x, free[q], around.origin),
            (around.place[0, begin:end], around.place[1, begin:end], around.place[2, begin:end]),
        )
        of = around.c6[begin:end], around.c12[begin:end], around.core[begin:end], around.qq[begin:end]
        total += _pair_energy(at, there, of, LIMIT, BEYOND, share)
    if len(own.column) == 0:
        return total
    _gather(own, free, x, space)
    for q in range(len(free)):
        at = space[0, own.still + q], space[1, own.still + q], space[2, own.still + q]
        # of two that move each has the other
        for begin, end, part in ((0, own.still, 1.0), (own.still, len(own.column), 0.5)):
            there = space[0, begin:end], space[1, begin:end], space[2, begin:end]
            of = own.c6[q, begin:end], own.c12[q, begin:end], own.core[q, begin:end], own.qq[q, begin:end]
            total += part * _pair_energy(at, there, of, FAR, NOTHING_BEYOND, share)
    return total


@compiled(forceinline=True)
def _from(x: Any, i: int, origin: Any) -> Any:
    """Where an atom is, from the origin."""
    return (
        np.float32(x[i, 0] - origin[0]),
        np.float32(x[i, 1] - origin[1]),
        np.float32(x[i, 2] - origin[2]),
    )


@compiled(forceinline=True)
def _gather(own: Any, free: Any, x: Any, space: Any) -> None:
    """Put the atoms of the molecule into their columns, from the first one that moves."""
    for k in range(len(own.column)):
        for d in range(3):
            space[d, k] = x[own.column[k], d] - x[free[0], d]


@compiled()
def _core_push(at: Any, there: Any, of: Any, limit: Any, soft: Any) -> Any:
    """Lennard-Jones force on an atom by others; arguments as for :func:`pair_push`, but for the cores."""
    (x, y, z), (c6, c12, core) = at, of
    fx = fy = fz = np.float32(0.0)
    ax, ay, az = there[0], there[1], there[2]
    for j in range(len(c6)):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        push = lennard_jones_force(near, inverse_sixth(near, soft * core[j]), c6[j], c12[j])
        push = push if r2 < limit else np.float32(0.0)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz


@compiled()
def pair_push(at: Any, there: Any, of: Any, charge: Any, limit: Any, beyond: Any) -> Any:
    """Force on an atom by others, kJ/mol nm^-1; in one loop, in which distances are worked out once.

    Parameters
    ----------
    at, there
        x, y, z of the atom, and (3, p) of others, nm, single precision.
    of
        (p,) c6, c12 and charges of each.
    charge
        Of the atom; 1 where products of charges are given.
    limit, beyond
        Square of the cut-off, and what is beyond it.
    """
    (x, y, z), (c6, c12, charges) = at, of
    fx = fy = fz = np.float32(0.0)
    ax, ay, az = there[0], there[1], there[2]
    for j in range(len(c6)):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        push = charged_pair_force(clamped(r2), c6[j], c12[j], charge * charges[j], beyond)
        push = push if r2 < limit else np.float32(0.0)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz


@compiled()
def _pair_energy(at: Any, there: Any, of: Any, limit: Any, beyond: Any, soft: Any) -> Any:
    """Energy of an atom with others, kJ/mol; arguments as for :func:`pair_push`, with the cores."""
    (x, y, z), (c6, c12, core, qq) = at, of
    energy, charged = np.float32(0.0), np.float32(1.0) if soft == 0.0 else np.float32(0.0)
    ax, ay, az = there[0], there[1], there[2]
    for j in range(len(c6)):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        pair = lennard_jones(inverse_sixth(near, soft * core[j]), c6[j], c12[j])
        pair += charged * qq[j] * coulomb(inverse_distance(near), near, beyond)
        energy += pair if r2 < limit else np.float32(0.0)
    return energy

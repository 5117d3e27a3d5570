"""Shapes of molecules chosen among their neighbours, compiled.

Beads that allow several shapes of a molecule leave the choice to its energy and to the molecules around
it.  Of the shapes each one was offered one is drawn, molecule after molecule, with the probability that
its energy has among the shapes the others have just then (Gibbs sampling).  Shapes are stiff here:
a contact costs no more than what moving a little apart would, hence the bounds on the energies of pairs.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

import numpy as np

from dbm_gmx.frame import FloatArray, IntArray
from dbm_gmx.kernels import compiled, seeded, uniform
from dbm_gmx.sweep import Place, beads_around
from dbm_gmx.tables import Numbers, Tables

REACH = 0.6  # nm, within which neighbours count
BOUND = 2.0  # kT, the most a pair of atoms can cost or gain
ROUNDS = 5  # times every molecule chooses


@compiled()
def _neighbours(place: Any, tables: Any, first: int, owners: Any, found: Any, shift: Any, around: Any) -> int:
    """Atoms of other molecules near those that the beads ``owners`` own.

    Fills ``around`` with rows of x, y, z and the atom.  Returns how many there are, or minus the number of
    beads if these do not fit.
    """
    molecule, cell = tables.molecule[first], place.cell
    home = owners[0]
    extent = 0.0
    for bead in owners:
        dx = place.beads[bead, 0] - place.beads[home, 0]
        dy = place.beads[bead, 1] - place.beads[home, 1]
        dz = place.beads[bead, 2] - place.beads[home, 2]
        extent = max(extent, math.sqrt(dx * dx + dy * dy + dz * dz) + place.radius[bead])
    n = beads_around(place, home, extent + place.widest + REACH, found, shift)
    if n > len(found):
        return -n
    k = 0
    for q in range(n):
        begin, end = tables.holder_start[found[q]], tables.holder_start[found[q] + 1]
        if begin == end or tables.molecule[tables.holder[begin]] == molecule:
            continue
        a, b, c = shift[q, 0], shift[q, 1], shift[q, 2]
        sx = a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
        sy = a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
        sz = a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
        near = False
        for bead in owners:
            dx = place.beads[found[q], 0] + sx - place.beads[bead, 0]
            dy = place.beads[found[q], 1] + sy - place.beads[bead, 1]
            dz = place.beads[found[q], 2] + sz - place.beads[bead, 2]
            far = place.radius[bead] + place.radius[found[q]] + REACH
            near |= dx * dx + dy * dy + dz * dz < far * far
        if not near:
            continue
        for r in range(begin, end):
            atom = tables.holder[r]
            if k < len(around):
                around[k, 0] = place.positions[atom, 0] + sx
                around[k, 1] = place.positions[atom, 1] + sy
                around[k, 2] = place.positions[atom, 2] + sz
                around[k, 3] = atom
            k += 1
    return k


@compiled()
def _pairs(tables: Any, numbers: Any, atoms: Any, shape: Any, around: Any, n: int) -> float:
    """Energy of ``atoms`` at ``shape`` with those around, pair by pair within bounds, kJ/mol."""
    total, bound = 0.0, BOUND * numbers.kt
    for q in range(len(atoms)):
        kind, charge = tables.type[atoms[q]], tables.charge[atoms[q]]
        for j in range(n):
            dx, dy, dz = around[j, 0] - shape[q, 0], around[j, 1] - shape[q, 1], around[j, 2] - shape[q, 2]
            r2 = dx * dx + dy * dy + dz * dz
            if r2 >= REACH * REACH:
                continue
            other = int(around[j, 3])
            i6 = 1.0 / max(r2, 1e-3) ** 3
            energy = (tables.c12[kind, tables.type[other]] * i6 - tables.c6[kind, tables.type[other]]) * i6
            if numbers.charged:
                qq = charge * tables.charge[other]
                energy += qq * (1.0 / math.sqrt(max(r2, 1e-3)) + numbers.k_rf * r2 - numbers.c_rf)
            total += min(max(energy, -bound), bound)
    return total


@compiled()
def _choose(
    place: Any,
    tables: Any,
    numbers: Any,
    firsts: Any,
    owned: Any,
    free: Any,
    shapes: Any,
    cost: Any,
    name: Any,
) -> None:
    copies, offered = cost.shape
    found, shift = np.empty(512, np.int64), np.empty((512, 3), np.int64)
    around = np.empty((2048, 4))
    weight, dice = np.empty(offered), np.empty(1, np.uint64)
    for turn in range(ROUNDS):
        for copy in range(copies):
            atoms, owners = firsts[copy] + free, owned[copy]
            n = _neighbours(place, tables, firsts[copy], owners, found, shift, around)
            if n < 0:
                found, shift = np.empty(-2 * n, np.int64), np.empty((-2 * n, 3), np.int64)
                n = _neighbours(place, tables, firsts[copy], owners, found, shift, around)
            if n > len(around):
                around = np.empty((2 * n, 4))
                n = _neighbours(place, tables, firsts[copy], owners, found, shift, around)
            for k in range(offered):
                weight[k] = cost[copy, k]
                if cost[copy, k] < np.inf:
                    weight[k] += _pairs(tables, numbers, atoms, shapes[copy, k], around, n)
            lowest, total = weight.min(), 0.0
            for k in range(offered):
                weight[k] = math.exp((lowest - weight[k]) / numbers.kt)
                total += weight[k]
            seeded(dice, name[0], name[1], name[2] + turn, firsts[copy])
            left, k = uniform(dice) * total - weight[0], 0
            while left >= 0.0 and k + 1 < offered:
                k += 1
                left -= weight[k]
            for q in range(len(atoms)):
                for d in range(3):
                    place.positions[atoms[q], d] = shapes[copy, k, q, d]


def choose(
    place: Place,
    tables: Tables,
    numbers: Numbers,
    firsts: IntArray,
    owners: IntArray,
    free: IntArray,
    shapes: FloatArray,
    cost: FloatArray,
    name: tuple[int, int, int],
) -> None:
    """Give molecules of one type the shapes they have among each other; ``place.positions`` change.

    Parameters
    ----------
    place, tables, numbers
        The frame with all its molecules, and the system.
    firsts, owners
        (copies,) first atom of each molecule; (copies, m) beads that own its atoms ``free``.
    free
        (a,) atoms, within a molecule, whose places are offered.
    shapes, cost
        (copies, k, a, 3) nm and (copies, k) kJ/mol: what each may be, and its energy alone; infinite for
        what is not to be chosen.
    name
        Tells the random numbers from others.
    """
    _choose(place, tables, numbers, firsts, owners, free, shapes, cost, np.array(name, np.int64))

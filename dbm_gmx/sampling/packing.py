"""Folded molecules packed together: a short Langevin dynamics of the whole frame.

Cores are soft at first, so that molecules get out of each other, and become those of the force field;
then the system moves at its temperature.  It takes collective motions that single moves need hundreds of
sweeps for.  What it leaves is near the target, not exact: that is for the sweeps.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba as nb
import numpy as np

from dbm_gmx.compiled import compiled, serial_and_parallel
from dbm_gmx.forcefield.nonbonded import pair_force, special_pair
from dbm_gmx.forcefield.restraints import restrain_chirality
from dbm_gmx.forcefield.terms import term_force
from dbm_gmx.sampling.neighbours import at_home, image, within
from dbm_gmx.sampling.random_numbers import gaussian, seeded

STEPS = 500
TIME_STEP = 0.006  # ps
EVERY = 2
"""Steps from one look at the other atoms to the next, which counts for all of them (Tuckerman, Berne,
Martyna, J. Chem. Phys. 97, 1990, 1992); within bonds, angles and beads every step."""
FRICTION = 2.0  # ps^-1
MASS = 12.0  # amu, of all atoms: only positions matter
HOT = 1.6
"""Times the temperature at the beginning; it is that of the target after half of the steps."""
SOFT, HARD = 0.5, 0.003
"""Soft cores, see :class:`~dbm_gmx.sampling.arrays.Numbers`: in the beginning and when they are dropped."""
SOFTENED = 0.3  # of the steps
CUTOFF = 0.6  # nm, at most
SKIN = 0.08  # nm
RENEWED = 20  # steps between two lists of neighbours
LONGEST_STEP = 0.02  # nm


def settle(
    place: Any,
    tables: Any,
    numbers: Any,
    chirality: Any,
    centres: Any,
    name: tuple[int, int],
    *,
    steps: int = STEPS,
    together: bool = True,
) -> None:
    """Move the atoms of a frame (``place.positions``, in place) by Langevin dynamics.

    Parameters
    ----------
    place, tables, numbers
        The frame and the system, see :mod:`~dbm_gmx.sampling.sweep`.
    chirality, centres
        (k,) hands to hold, (k, 5) stereocentres, atoms of the system.
    name
        Tells the random numbers from those of other frames.
    steps
        How many.
    together
        On all threads, or on the one that calls, with the same result.
    """
    n = len(place.positions)
    cutoff = min(numbers.reach, CUTOFF)
    velocity, force = np.zeros((n, 3)), np.zeros((n, 3))
    forces = _forces_together if together else _forces_alone
    list_all = _list_together if together else _list_alone
    lists, wanted = make_lists(place, tables, 0), np.asarray(chirality, np.float64)
    for step in range(steps):
        if step % RENEWED == 0:
            list_all(place, tables, cutoff + SKIN, lists)
            if lists.size.max() > lists.other.shape[1]:
                lists = make_lists(place, tables, int(1.2 * lists.size.max()) + 16)
                list_all(place, tables, cutoff + SKIN, lists)
        done = step / (SOFTENED * steps)
        soft = SOFT * (HARD / SOFT) ** done if done < 1.0 else 0.0
        heat = max(1.0, HOT + (1.0 - HOT) * 2.0 * step / steps)
        weight = EVERY if step % EVERY == 0 else 0
        forces(place, tables, numbers, cutoff, soft, weight, lists, force)
        _upright_all(place.positions, centres, wanted, force)
        _step(place.positions, velocity, force, numbers.kt * heat, np.array([*name, step], np.int64))


class Lists(NamedTuple):
    """Neighbours of the atoms of each bead, sorted by type.

    Attributes
    ----------
    size
        (m,) of each bead, also where there is no room for all.
    other, row
        (m, room) atoms, and the rows of ``place.near`` that tell their images.
    begin
        (m, types + 1) where each type begins.
    skipped, hidden
        (n,) and (n, most) rows of ``other`` that do not act on an atom as others do.
    """

    size: Any
    other: Any
    row: Any
    begin: Any
    skipped: Any
    hidden: Any


def make_lists(place: Any, tables: Any, room: int) -> Lists:
    """Empty lists with so much room."""
    beads, most = len(place.beads), int(np.diff(tables.partner_start).max(initial=1))
    return Lists(
        np.zeros(beads, np.int64),
        np.empty((beads, room), np.int32),
        np.empty((beads, room), np.int32),
        np.zeros((beads, len(tables.c6) + 1), np.int64),
        np.zeros(len(place.positions), np.int64),
        np.empty((len(place.positions), most), np.int32),
    )


def _list_all(place: Any, tables: Any, reach: float, lists: Any) -> None:
    for bead in nb.prange(len(place.beads)):
        _list(place, tables, bead, reach, lists)


@compiled()
def _list(place: Any, tables: Any, bead: int, reach: float, lists: Any) -> None:
    """List the atoms within reach of those of a bead, and count them; their own are among them."""
    begin, end = tables.holder_start[bead], tables.holder_start[bead + 1]
    if begin == end:
        return
    positions, counts = place.positions, lists.begin[bead]
    counts[:] = 0
    size, room = 0, lists.other.shape[1]
    atom, row = np.empty(room, np.int32), np.empty(room, np.int32)
    for q in range(place.near_start[bead], place.near_start[bead + 1]):
        other = place.near[q]
        sx, sy, sz = image(place, place.shift[q])
        if not within(place, bead, other, sx, sy, sz, reach):
            continue
        for t in range(tables.holder_start[other], tables.holder_start[other + 1]):
            j, near = tables.holder[t], False
            x, y, z = positions[j, 0] + sx, positions[j, 1] + sy, positions[j, 2] + sz
            for r in range(begin, end):
                i = tables.holder[r]
                dx, dy, dz = x - positions[i, 0], y - positions[i, 1], z - positions[i, 2]
                if dx * dx + dy * dy + dz * dz < reach * reach:
                    near = True
                    break
            if near:
                if size < room:
                    atom[size], row[size] = j, q
                counts[tables.type[j] + 1] += 1
                size += 1
    lists.size[bead] = size
    if size > room:
        return
    for k in range(1, len(counts)):
        counts[k] += counts[k - 1]
    free = counts[:-1].copy()
    for q in range(size):
        slot = free[tables.type[atom[q]]]
        lists.other[bead, slot], lists.row[bead, slot] = atom[q], row[q]
        free[tables.type[atom[q]]] += 1
    _hide(place, tables, bead, size, lists)


@compiled(forceinline=True)
def _hide(place: Any, tables: Any, bead: int, size: int, lists: Any) -> None:
    """Note which of a bead's list are special partners of its atoms, or themselves."""
    begin, end = tables.holder_start[bead], tables.holder_start[bead + 1]
    molecule = tables.molecule[tables.holder[begin]]
    first, mass = tables.begin[molecule], tables.mass_start[tables.sort_of[molecule]]
    for r in range(begin, end):
        lists.skipped[tables.holder[r]] = 0
    for q in range(size):
        j = lists.other[bead, q]
        if tables.molecule[j] != molecule or not at_home(place.shift[lists.row[bead, q]]):
            continue
        for r in range(begin, end):
            i = tables.holder[r]
            for s in range(
                tables.partner_start[mass + i - first], tables.partner_start[mass + i - first + 1]
            ):
                if tables.partner[s] == j - first:
                    lists.hidden[i, lists.skipped[i]] = q
                    lists.skipped[i] += 1
                    break


_list_alone, _list_together = serial_and_parallel(_list_all)


@compiled()
def _pushes(
    x: Any, y: Any, z: Any, around: Any, begin: int, end: int, limit: Any, c6: Any, c12: Any, core: Any
) -> Any:
    """Lennard-Jones force on one place by atoms of one type; ``core`` softens."""
    fx = fy = fz = np.float32(0.0)
    ax, ay, az = around[0], around[1], around[2]
    for j in range(begin, end):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        square = max(r2, np.float32(0.01))
        quartic = square * square
        i6 = np.float32(1.0) / (quartic * square + core)
        push = quartic * i6 * i6 * (c12 * i6 - c6)
        push = push if r2 < limit else np.float32(0.0)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz


@compiled()
def _tugs(x: Any, y: Any, z: Any, around: Any, n: int, limit: Any, k_rf: Any) -> Any:
    """Force on a unit charge by the charges around it."""
    fx = fy = fz = np.float32(0.0)
    ax, ay, az, charge = around[0], around[1], around[2], around[3]
    for j in range(n):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        square = max(r2, np.float32(0.01))
        push = charge[j] * (np.float32(1.0) / (np.sqrt(square) * square) - np.float32(2.0) * k_rf)
        push = push if r2 < limit else np.float32(0.0)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz


AWAY = np.float32(1e4)  # nm: where an atom does not act


@compiled()
def _bead_forces(
    place: Any,
    tables: Any,
    numbers: Any,
    bead: int,
    cutoff: float,
    soft: float,
    weight: int,
    lists: Any,
    force: Any,
) -> None:
    """Forces on the atoms of a bead by all but their special partners, ``weight`` times."""
    positions, centre, n = place.positions, place.beads[bead], lists.size[bead]
    around = np.empty((4, n), np.float32)
    for q in range(n):
        j = lists.other[bead, q]
        sx, sy, sz = image(place, place.shift[lists.row[bead, q]])
        around[0, q] = positions[j, 0] + sx - centre[0]
        around[1, q] = positions[j, 1] + sy - centre[1]
        around[2, q] = positions[j, 2] + sz - centre[2]
        around[3, q] = tables.charge[j]
    limit, k_rf = np.float32(cutoff * cutoff), np.float32(numbers.k_rf)
    kept = np.empty(lists.hidden.shape[1], np.float32)
    for r in range(tables.holder_start[bead], tables.holder_start[bead + 1]):
        i = tables.holder[r]
        x = np.float32(positions[i, 0] - centre[0])
        y = np.float32(positions[i, 1] - centre[1])
        z = np.float32(positions[i, 2] - centre[2])
        for q in range(lists.skipped[i]):
            kept[q] = around[0, lists.hidden[i, q]]
            around[0, lists.hidden[i, q]] = AWAY
        fx = fy = fz = np.float32(0.0)
        for kind in range(len(tables.c6)):
            c6, c12 = tables.c6[tables.type[i], kind], tables.c12[tables.type[i], kind]
            begin, end = lists.begin[bead, kind], lists.begin[bead, kind + 1]
            if begin == end or (soft > 0.0 and (c6 <= 0.0 or c12 <= 0.0)):
                continue
            core = np.float32(soft * c12 / c6 if soft > 0.0 else 0.0)
            gx, gy, gz = _pushes(
                x, y, z, around, begin, end, limit, np.float32(6.0 * c6), np.float32(12.0 * c12), core
            )
            fx, fy, fz = fx + gx, fy + gy, fz + gz
        if numbers.charged and soft == 0.0 and tables.charge[i] != 0.0:
            gx, gy, gz = _tugs(x, y, z, around, n, limit, k_rf)
            charge = np.float32(tables.charge[i])
            fx, fy, fz = fx + charge * gx, fy + charge * gy, fz + charge * gz
        for q in range(lists.skipped[i]):
            around[0, lists.hidden[i, q]] = kept[q]
        force[i, 0], force[i, 1], force[i, 2] = weight * fx, weight * fy, weight * fz


def _forces(
    place: Any,
    tables: Any,
    numbers: Any,
    cutoff: float,
    soft: float,
    weight: int,
    lists: Any,
    force: Any,
) -> None:
    """Forces on all atoms, those between beads' atoms ``weight`` times."""
    if weight == 0:
        force[:] = 0.0
    else:
        for bead in nb.prange(len(place.beads)):
            _bead_forces(place, tables, numbers, bead, cutoff, soft, weight, lists, force)
    for molecule in nb.prange(len(tables.begin)):
        _molecule_forces(place, tables, numbers, molecule, soft, force)


@compiled()
def _molecule_forces(place: Any, tables: Any, numbers: Any, molecule: int, soft: float, force: Any) -> None:
    """Add the forces of terms, special pairs and beads of a molecule."""
    x, sort, first = place.positions, tables.sort_of[molecule], tables.begin[molecule]
    for t in range(tables.force_start[sort], tables.force_start[sort + 1]):
        i, j = first + tables.atoms[t, 0], first + tables.atoms[t, 1]
        k, m = first + max(tables.atoms[t, 2], 0), first + max(tables.atoms[t, 3], 0)
        term_force(tables.form[t], tables.parameters[t], 1.0, x, i, j, k, m, force)
    for s in range(tables.special_start[sort], tables.special_start[sort + 1]):
        p = tables.special_parameters[s]
        if p[0] == 0.0 and p[1] == 0.0 and p[2] == 0.0 and p[4] == 0.0:
            continue
        i, j = first + tables.special[s, 0], first + tables.special[s, 1]
        dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
        c6, c12, qq = special_pair(tables, p, i, j)
        push, _ = pair_force(c6, c12, qq, dx * dx + dy * dy + dz * dz, soft)
        for d, along in enumerate((dx, dy, dz)):
            force[i, d] += push * along
            force[j, d] -= push * along
    bead = tables.molecule_bead[molecule]
    for b in range(tables.site_start[sort], tables.site_start[sort + 1]):
        for d in range(3):
            off = -place.beads[bead + b - tables.site_start[sort], d]
            for q in range(tables.weighed_start[b], tables.weighed_start[b + 1]):
                off += tables.weight[q] * x[first + tables.weighed[q], d]
            place.off[bead + b - tables.site_start[sort], d] = off
            for q in range(tables.weighed_start[b], tables.weighed_start[b + 1]):
                force[first + tables.weighed[q], d] -= numbers.stiffness * tables.weight[q] * off


@compiled()
def _upright_all(x: Any, centres: Any, chirality: Any, force: Any) -> None:
    """Add the forces that give stereocentres their hands."""
    for c in range(len(chirality)):
        restrain_chirality(x, centres[c], chirality[c], force)


_forces_alone, _forces_together = serial_and_parallel(_forces)


@compiled()
def _step(x: Any, velocity: Any, force: Any, kt: float, name: Any) -> None:
    """One step of Langevin dynamics."""
    kept = math.exp(-FRICTION * TIME_STEP)
    kick, limit = math.sqrt((1.0 - kept * kept) * kt / MASS), LONGEST_STEP / TIME_STEP
    rng = np.empty(1, np.uint64)
    seeded(rng, name[0], name[1], name[2], 0)
    for i in range(len(x)):
        for d in range(3):
            v = kept * (velocity[i, d] + TIME_STEP * force[i, d] / MASS) + kick * gaussian(rng)
            v = max(-limit, min(limit, v))
            velocity[i, d] = v
            x[i, d] += TIME_STEP * v

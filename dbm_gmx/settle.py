"""Folded molecules packed together: a short Langevin dynamics of the whole frame.

Cores are soft at first, so that molecules get out of each other, and become those of the force field;
then the system moves at its temperature.  It takes collective motions that single moves need hundreds of
sweeps for.  What it leaves is near the target, not exact: that is for the sweeps.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

from dbm_gmx.forces import term_force, upright
from dbm_gmx.frame import FloatArray
from dbm_gmx.kernels import compiled, gaussian, seeded
from dbm_gmx.sweep import beads_around

STEPS = 1000
TIME_STEP = 0.004  # ps
FRICTION = 6.0  # ps^-1
MASS = 12.0  # amu, of all atoms: only positions matter
HOT = 1.6
"""Times the temperature at the beginning; it is that of the target after half of the steps."""
SOFT, HARD = 0.5, 0.003
"""Soft cores, see :class:`~dbm_gmx.tables.Numbers`: in the beginning and when they are dropped."""
SOFTENED = 0.4  # of the steps
CUTOFF = 0.6  # nm, at most
SKIN = 0.08  # nm
RENEWED = 20  # steps between two lists of neighbours
LONGEST_STEP = 0.01  # nm
IMAGES = 9  # periods to either side that an image's number can tell


def settle(
    place: Any,
    tables: Any,
    numbers: Any,
    hands: Any,
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
        The frame and the system, see :mod:`~dbm_gmx.sweep`.
    hands, centres
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
    images = image_vectors(place.cell)
    velocity, force = np.zeros((n, 3)), np.zeros((n, 3))
    forces = _forces_together if together else _forces_alone
    lists = _lists_together if together else _lists_alone
    counts, room = np.zeros(n, np.int64), 0
    other, image = np.empty((n, 0), np.int32), np.empty((n, 0), np.int16)
    for step in range(steps):
        if step % RENEWED == 0:
            lists(place, tables, cutoff + SKIN, counts, other, image)
            if counts.max() > room:
                room = int(1.3 * counts.max()) + 8
                other, image = np.empty((n, room), np.int32), np.empty((n, room), np.int16)
                lists(place, tables, cutoff + SKIN, counts, other, image)
        done = step / (SOFTENED * steps)
        soft = SOFT * (HARD / SOFT) ** done if done < 1.0 else 0.0
        heat = max(1.0, HOT + (1.0 - HOT) * 2.0 * step / steps)
        forces(place, tables, numbers, cutoff, soft, counts, other, image, images, force)
        for c in range(len(hands)):
            upright(place.positions, centres[c], float(hands[c]), force)
        _step(place.positions, velocity, force, numbers.kt * heat, np.array([*name, step], np.int64))


def image_vectors(cell: FloatArray) -> FloatArray:
    """Lattice vectors by the number of an image, see :func:`_number`."""
    along = np.arange(-IMAGES, IMAGES + 1)
    steps = np.stack(np.meshgrid(along, along, along, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(steps @ cell, np.float64)


@compiled(forceinline=True)
def _number(a: int, b: int, c: int) -> int:
    """Number of an image; one so far away that it has none gets -1."""
    if max(abs(a), abs(b), abs(c)) > IMAGES:
        return -1
    side = 2 * IMAGES + 1
    return ((a + IMAGES) * side + b + IMAGES) * side + c + IMAGES


def _lists(place: Any, tables: Any, reach: float, counts: Any, other: Any, image: Any) -> None:
    for bead in nb.prange(len(place.beads)):
        _list(place, tables, bead, reach, counts, other, image)


@compiled()
def _list(place: Any, tables: Any, bead: int, reach: float, counts: Any, other: Any, image: Any) -> None:
    """List the neighbours of the atoms of a bead, as far as there is room, and count them.

    Special partners are left out.
    """
    begin, end = tables.holder_start[bead], tables.holder_start[bead + 1]
    if begin == end:
        return
    found, shift = np.empty(2048, np.int64), np.empty((2048, 3), np.int64)
    distance = place.radius[bead] + place.widest + reach
    n = beads_around(place, bead, distance, found, shift)
    if n > len(found):
        found, shift = np.empty(n, np.int64), np.empty((n, 3), np.int64)
        n = beads_around(place, bead, distance, found, shift)
    molecule = tables.molecule[tables.holder[begin]]
    first, mass = tables.begin[molecule], tables.mass_start[tables.sort_of[molecule]]
    cell, positions = place.cell, place.positions
    for r in range(begin, end):
        counts[tables.holder[r]] = 0
    for q in range(n):
        far = place.radius[bead] + place.radius[found[q]] + reach
        a, b, c = shift[q, 0], shift[q, 1], shift[q, 2]
        sx = a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
        sy = a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
        sz = a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
        dx = place.beads[found[q], 0] + sx - place.beads[bead, 0]
        dy = place.beads[found[q], 1] + sy - place.beads[bead, 1]
        dz = place.beads[found[q], 2] + sz - place.beads[bead, 2]
        if dx * dx + dy * dy + dz * dz > far * far:
            continue
        number, same = _number(a, b, c), a == 0 and b == 0 and c == 0
        for r in range(begin, end):
            i = tables.holder[r]
            partner, last = tables.partner_start[mass + i - first], tables.partner_start[mass + i - first + 1]
            for t in range(tables.holder_start[found[q]], tables.holder_start[found[q] + 1]):
                j = tables.holder[t]
                dx = positions[j, 0] + sx - positions[i, 0]
                dy = positions[j, 1] + sy - positions[i, 1]
                dz = positions[j, 2] + sz - positions[i, 2]
                if dx * dx + dy * dy + dz * dz > reach * reach:
                    continue
                if same and tables.molecule[j] == molecule:
                    special = False
                    for s in range(partner, last):
                        special |= tables.partner[s] == j - first
                    if special:
                        continue
                if number < 0:
                    continue
                if counts[i] < other.shape[1]:
                    other[i, counts[i]] = j
                    image[i, counts[i]] = number
                counts[i] += 1


_lists_alone = compiled()(_lists)
_lists_together = compiled(parallel=True)(_lists)


@compiled(forceinline=True)
def _push(c6: float, c12: float, qq: float, r2: float, soft: float, k_rf: float) -> float:
    """Force of a pair over its distance; ``soft`` cores have no charge."""
    if soft > 0.0:
        if c12 <= 0.0 or c6 <= 0.0:
            return 0.0
        r4 = r2 * r2
        i6 = 1.0 / (r4 * r2 + soft * c12 / c6)
        return 6.0 * r4 * i6 * i6 * (2.0 * c12 * i6 - c6)
    inverse = 1.0 / max(r2, 0.01)
    i6 = inverse * inverse * inverse
    push = (12.0 * c12 * i6 - 6.0 * c6) * i6 * inverse
    if qq != 0.0:
        push += qq * (math.sqrt(inverse) * inverse - 2.0 * k_rf)
    return push


def _forces(
    place: Any,
    tables: Any,
    numbers: Any,
    cutoff: float,
    soft: float,
    counts: Any,
    other: Any,
    image: Any,
    images: Any,
    force: Any,
) -> None:
    x = place.positions
    for i in nb.prange(len(x)):
        fx = fy = fz = 0.0
        for q in range(counts[i]):
            j, shift = other[i, q], image[i, q]
            dx = x[i, 0] - x[j, 0] - images[shift, 0]
            dy = x[i, 1] - x[j, 1] - images[shift, 1]
            dz = x[i, 2] - x[j, 2] - images[shift, 2]
            r2 = dx * dx + dy * dy + dz * dz
            if r2 < cutoff * cutoff:
                a, b = tables.type[i], tables.type[j]
                qq = tables.charge[i] * tables.charge[j]
                push = _push(tables.c6[a, b], tables.c12[a, b], qq, r2, soft, numbers.k_rf)
                fx += push * dx
                fy += push * dy
                fz += push * dz
        force[i, 0], force[i, 1], force[i, 2] = fx, fy, fz
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
        a, b, usual = tables.type[i], tables.type[j], p[4] > 0.0
        dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
        c6 = p[0] + (tables.c6[a, b] if usual else 0.0)
        c12 = p[1] + (tables.c12[a, b] if usual else 0.0)
        qq = p[2] + (tables.charge[i] * tables.charge[j] if usual else 0.0)
        push = _push(c6, c12, qq, dx * dx + dy * dy + dz * dz, soft, 0.0)
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


_forces_alone = compiled()(_forces)
_forces_together = compiled(parallel=True)(_forces)


@compiled()
def _step(x: Any, velocity: Any, force: Any, kt: float, name: Any) -> None:
    """One step of Langevin dynamics."""
    kept = math.exp(-FRICTION * TIME_STEP)
    kick, limit = math.sqrt((1.0 - kept * kept) * kt / MASS), LONGEST_STEP / TIME_STEP
    dice = np.empty(1, np.uint64)
    seeded(dice, name[0], name[1], name[2], 0)
    for i in range(len(x)):
        for d in range(3):
            v = kept * (velocity[i, d] + TIME_STEP * force[i, d] / MASS) + kick * gaussian(dice)
            v = max(-limit, min(limit, v))
            velocity[i, d] = v
            x[i, d] += TIME_STEP * v

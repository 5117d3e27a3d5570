"""Steps of single atoms to where a guide allows them; compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.vectors import cross, dot
from dbm_gmx.compiled import compiled

LONGEST_STEP = 0.05
"""nm, of one round."""
OVERLAP = 0.7
"""Of sigma: nearer atoms repel as if they were so far apart."""
HAND = 0.5
"""Part of the least volume, of the three bonds at a stereocentre, that it must have."""
RADIUS = 0.01
"""nm, width of the distance from the centre of a bead, in growth."""
WRONG_SIDE = 30.0
"""kT of an atom on the wrong side of a bond that does not turn."""
LOOSE = 0.05
"""nm, how far atoms that are missing may be from where they are taken to be."""
STEEPEST = 0.5
"""Of the root of a torsion in one degree; more is the way to another basin."""
REACH = 0.4
"""nm an atom may be away from the bead that owns it and still be found as a neighbour."""
WIDEST = 2 ** (1 / 6)
"""Of sigma: atoms further apart do not repel."""
MOST = 4096
"""Atoms that may be near a heavy atom and its hydrogens."""
KICK = 0.7
"""Of a hydrogen's first place from the direction away from all other neighbours, in bonds."""

ALL_KNOWN = 2**40
"""A rank above all others: every atom is known."""


class Around(NamedTuple):
    """What the steps need to know of a scene, see :class:`~dbm_gmx.network.environment.Scene`.

    Attributes
    ----------
    first_bead
        (n,) first bead of the atom's molecule.
    member_start, heavy_end, members
        Atoms of bead b, ``members[member_start[b]:member_start[b + 1]]`` in the order of growth; from
        ``heavy_end[b]`` on hydrogens.
    """

    owner: Any
    molecule: Any
    hydrogen: Any
    rank: Any
    row: Any
    first_bead: Any
    beads: Any
    link_start: Any
    link_bead: Any
    link_shift: Any
    member_start: Any
    heavy_end: Any
    members: Any


class How(NamedTuple):
    """How atoms step.

    Attributes
    ----------
    known_below
        Atoms of lower growth rank are there.
    redraw
        Whether atoms of the same bead that are placed later are taken not to be there.
    trust
        nm, how far an atom may be from where it is drawn; 0 where energies alone are asked for.
    rounds
        Of Gauss and Newton's method.
    width
        Factor of all widths; atoms that overlap repel as ever.
    passes
        In which the atoms of a bead follow the guide without noise, before two states of it are compared.
    """

    known_below: int
    redraw: bool
    trust: float
    rounds: int
    width: float
    passes: int = 0


class Work(NamedTuple):
    """Memory of the steps: of the normal equations (10,), and of atoms nearby (:data:`MOST`, 6)."""

    sums: Any
    near: Any


@compiled(forceinline=True)
def _at(x: Any, i: int) -> Any:
    return float(x[i, 0]), float(x[i, 1]), float(x[i, 2])


@compiled(forceinline=True)
def _minus(a: Any, b: Any) -> Any:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@compiled(forceinline=True)
def _add(sums: Any, residual: float, gradient: Any, share: float) -> None:
    """Count a square: normal equations, and its part of the energy in kT."""
    sums[0] += gradient[0] * gradient[0]
    sums[1] += gradient[0] * gradient[1]
    sums[2] += gradient[0] * gradient[2]
    sums[3] += gradient[1] * gradient[1]
    sums[4] += gradient[1] * gradient[2]
    sums[5] += gradient[2] * gradient[2]
    for k in range(3):
        sums[6 + k] += gradient[k] * residual
    sums[9] += share * residual * residual / 2


@compiled(forceinline=True)
def _there(around: Any, atom: int, other: int, how: Any) -> bool:
    """Whether another atom has been placed."""
    if around.rank[other] >= how.known_below:
        return False
    if not how.redraw or around.owner[other] != around.owner[atom]:
        return True
    if around.hydrogen[other] != around.hydrogen[atom]:
        return around.hydrogen[atom]  # hydrogens are placed last
    return around.rank[other] < around.rank[atom]


@compiled(forceinline=True)
def _known(around: Any, atom: int, other: int, how: Any) -> bool:
    """Whether another atom of the molecule says where this one is: hydrogens follow heavy atoms."""
    return (not around.hydrogen[other] or around.hydrogen[atom]) and _there(around, atom, other, how)


@compiled(forceinline=True)
def _three(around: Any, atom: int, steps: Any, how: Any) -> Any:
    """The three other atoms of a term, and whether there is one and all of them are known."""
    i, j, m = atom + steps[0], atom + steps[1], atom + steps[2]
    known = i != atom and _known(around, atom, i, how) and _known(around, atom, j, how)
    return i, j, m, known and _known(around, atom, m, how)


@compiled(forceinline=True)
def _share(around: Any, atom: int, others: Any, how: Any) -> float:
    """Part of a term that each atom of a bead has which counts it; asked for energies only."""
    count, bead = 1, around.owner[atom]
    if how.trust == 0:
        for other in others:
            # heavy atoms do not know hydrogens
            count += around.owner[other] == bead and around.hydrogen[other] == around.hydrogen[atom]
    return 1 / count if count > 1 else 1.0


@compiled(forceinline=True)
def _distances(guide: Any, around: Any, x: Any, atom: int, how: Any, noise: Any, p: Any, sums: Any) -> None:
    row, soft = around.row[atom], 1 / how.width
    for k in range(guide.step.shape[1]):
        step = guide.step[row, k]
        if step == 0 or not _known(around, atom, atom + step, how):
            continue
        vector = _minus(p, _at(x, atom + step))
        distance = max(1e-3, math.sqrt(dot(vector, vector)))
        weight = guide.stiffness[row, k]
        residual = (weight * (distance - guide.distance[row, k]) - noise[k]) * soft
        c = weight * soft / distance
        share = _share(around, atom, (atom + step,), how)
        _add(sums, residual, (c * vector[0], c * vector[1], c * vector[2]), share)


@compiled(forceinline=True)
def _volumes(guide: Any, around: Any, x: Any, atom: int, how: Any, noise: Any, p: Any, sums: Any) -> None:
    """Flat groups, and stereocentres."""
    row, first, soft = around.row[atom], guide.step.shape[1], 1 / how.width
    for k in range(guide.flat.shape[1]):
        i, j, m, known = _three(around, atom, guide.flat[row, k], how)
        if not known:
            continue
        volume, normal = _volume(x, i, j, m, p)
        weight = soft * guide.flat_stiffness[row, k]
        residual = weight * volume - soft * noise[first + k]
        share = _share(around, atom, (i, j, m), how)
        _add(sums, residual, (-weight * normal[0], -weight * normal[1], -weight * normal[2]), share)
    one = atom % len(guide.hand)
    for k in range(guide.hand.shape[1]):
        i, j, m, known = _three(around, atom, guide.hand[one, k], how)
        if not known:
            continue
        volume, normal = _volume(x, i, j, m, p)
        least = guide.least[one, k]
        if volume < HAND * least:
            weight = soft / (0.1 * least)
            share = _share(around, atom, (i, j, m), how)
            gradient = (-weight * normal[0], -weight * normal[1], -weight * normal[2])
            _add(sums, weight * (volume - HAND * least), gradient, share)


@compiled(forceinline=True)
def _sides(guide: Any, around: Any, x: Any, atom: int, how: Any, p: Any, sums: Any) -> None:
    """Bonds that do not turn; of no slope: an atom gets to the other side by its draw only."""
    one = atom % len(guide.side)
    for k in range(guide.side.shape[1]):
        near, far, other, known = _three(around, atom, guide.side[one, k], how)
        if known:
            across, _ = _across(_at(x, near), _at(x, far), _at(x, other), p)
            if across * guide.sense[one, k] < 0:
                sums[9] += WRONG_SIDE * _share(around, atom, (near, far, other), how)


@compiled(forceinline=True)
def _across(near: Any, far: Any, other: Any, p: Any) -> Any:
    """Whether a place beside one end of a bond is cis to an atom at its far end, by the sign.

    Returns
    -------
    The product of both parts that are across the bond, and that of ``p``.
    """
    axis, one, two = _minus(far, near), _minus(p, near), _minus(other, far)
    square = max(1e-6, dot(axis, axis))
    a, b = dot(one, axis) / square, dot(two, axis) / square
    left = (one[0] - a * axis[0], one[1] - a * axis[1], one[2] - a * axis[2])
    right = (two[0] - b * axis[0], two[1] - b * axis[1], two[2] - b * axis[2])
    return dot(left, right), left


@compiled(forceinline=True)
def _on_its_side(guide: Any, around: Any, x: Any, atom: int, how: Any, p: Any) -> Any:
    """A place that is drawn, turned over where it is on the wrong side of a bond that does not turn."""
    one = atom % len(guide.side)
    for k in range(guide.side.shape[1]):
        near, far, other, known = _three(around, atom, guide.side[one, k], how)
        if known:
            across, part = _across(_at(x, near), _at(x, far), _at(x, other), p)
            if across * guide.sense[one, k] < 0:
                return p[0] - 2 * part[0], p[1] - 2 * part[1], p[2] - 2 * part[2]
    return p


@compiled(forceinline=True)
def _volume(x: Any, i: int, j: int, m: int, p: Any) -> Any:
    """Volume of three atoms about a place, and the normal of the three, twice their area long."""
    a = _at(x, i)
    normal = cross(_minus(_at(x, j), a), _minus(_at(x, m), a))
    return dot(_minus(a, p), normal), normal


@compiled(forceinline=True)
def _torsions(guide: Any, around: Any, x: Any, atom: int, how: Any, noise: Any, p: Any, sums: Any) -> None:
    row, soft = around.row[atom], 1 / how.width
    first = guide.step.shape[1] + guide.flat.shape[1]
    for k in range(guide.turn.shape[1]):
        i, j, m, known = _three(around, atom, guide.turn[row, k], how)
        if not known:
            continue
        inner = guide.inner[row, k]
        a, b, c = _at(x, i), _at(x, j), _at(x, m)
        end, start = (a, p) if inner else (p, a)
        one, axis, two = _minus(start, end), _minus(b, start), _minus(c, b)
        left, right = cross(one, axis), cross(axis, two)
        square = max(1e-6, dot(axis, axis))
        length = math.sqrt(square)
        angle = math.atan2(length * dot(one, right), dot(left, right))
        of_end = -length / max(1e-8, dot(left, left))
        if inner:
            before, after = dot(one, axis) / square, dot(two, axis) / square
            other = length / max(1e-8, dot(right, right))
            u, v = -(1 + before) * of_end, after * other
            gradient = (
                u * left[0] + v * right[0],
                u * left[1] + v * right[1],
                u * left[2] + v * right[2],
            )
        else:
            gradient = (of_end * left[0], of_end * left[1], of_end * left[2])
        value, slope, floor = _look_up(guide, guide.curve[row, k], angle)
        share, slope = _share(around, atom, (i, j, m), how), soft * slope
        residual = soft * (value - noise[first + k])
        _add(sums, residual, (slope * gradient[0], slope * gradient[1], slope * gradient[2]), share)
        sums[9] += share * floor * soft**2


@compiled(forceinline=True)
def _look_up(guide: Any, curve: int, angle: float) -> Any:
    """Value and slope (per radian) of a curve at an angle, and the energy of the basin's floor."""
    bins = guide.curves.shape[1]
    place = (angle * (bins / (2 * math.pi)) + bins / 2) % bins
    low = min(int(place), bins - 1)
    start, end = guide.curves[curve, low], guide.curves[curve, (low + 1) % bins]
    rise = end - start if abs(end - start) < STEEPEST else 0.0  # no slope from basin to basin
    return start + rise * (place - low), rise * (bins / (2 * math.pi)), guide.floors[curve, low]


@compiled(forceinline=True)
def _centres(guide: Any, around: Any, x: Any, atom: int, how: Any, noise: Any, p: Any, sums: Any) -> None:
    """The mapped centres of the beads that a heavy atom has weight in, and how far it is from centres.

    Where all atoms are there, a centre moves with the atom and the hydrogens on it.  In growth atoms that are
    missing are taken to be where this one is, and the centre is held as loosely as that is uncertain.
    """
    row, bead, soft = around.row[atom], around.owner[atom], 1 / how.width
    first = guide.step.shape[1] + guide.flat.shape[1] + guide.turn.shape[1]
    for k in range(guide.bead.shape[1]):
        if guide.bead[row, k] < 0:
            continue
        target = _at(around.beads, around.first_bead[atom] + guide.bead[row, k])
        cx, cy, cz, own, absent, within = 0.0, 0.0, 0.0, 0.0, 0.0, 1
        for n in range(guide.members.shape[2]):
            weight, step = guide.weights[row, k, n], guide.members[row, k, n]
            if weight == 0:
                continue
            if step == 0:
                own += weight
            elif _there(around, atom, atom + step, how):
                other = _at(x, atom + step)
                cx, cy, cz = cx + weight * other[0], cy + weight * other[1], cz + weight * other[2]
                if how.trust == 0:  # energies: each heavy atom of the bead has a part
                    within += around.owner[atom + step] == bead and not around.hydrogen[atom + step]
            else:
                absent += weight
        growing = how.known_below < ALL_KNOWN or absent > 0
        share = guide.share[row, k]
        total = own + absent if growing else share
        if not growing:
            here = _at(x, atom)
            rest = own - share
            cx, cy, cz = cx + rest * here[0], cy + rest * here[1], cz + rest * here[2]
        vector = _minus(p, target)
        if share > 0:
            weight = soft / math.sqrt((absent * LOOSE) ** 2 + guide.softness**2)
            c = (cx + total * p[0], cy + total * p[1], cz + total * p[2])
            for d in range(3):
                residual = weight * (c[d] - target[d]) - soft * noise[first + 3 * k + d]
                slope = weight * total
                gradient = (slope * (d == 0), slope * (d == 1), slope * (d == 2))
                _add(sums, residual, gradient, 1 / within)
        if growing and guide.radius[row, k] >= 0:
            distance = max(1e-3, math.sqrt(dot(vector, vector)))
            weight = soft / RADIUS
            slope = weight / distance
            gradient = (slope * vector[0], slope * vector[1], slope * vector[2])
            _add(sums, weight * (distance - guide.radius[row, k]), gradient, 0.0)


@compiled(forceinline=True)
def _find_near(
    guide: Any, around: Any, x: Any, atom: int, how: Any, p: Any, offset: Any, near: Any, count: int
) -> int:
    """List the atoms that may come to overlap with one that is at ``p`` and ``offset`` from what moves.

    Rows are the place of the other less the offset, the square of sigma, strength, and 1/2 for those of the
    same bead.
    """
    row, types = around.row[atom], len(guide.types)
    kind = guide.types[atom % types]
    here = (p[0] + offset[0], p[1] + offset[1], p[2] + offset[2])
    reach = (guide.reach + REACH) ** 2
    bead = around.owner[atom]
    for link in range(around.link_start[bead], around.link_start[bead + 1]):
        other_bead, shift = around.link_bead[link], _at(around.link_shift, link)
        place = _at(around.beads, other_bead)
        towards = (
            place[0] + shift[0] - here[0],
            place[1] + shift[1] - here[1],
            place[2] + shift[2] - here[2],
        )
        if dot(towards, towards) > reach:
            continue
        for k in range(around.member_start[other_bead], around.member_start[other_bead + 1]):
            other = around.members[k]
            vector = (
                x[other, 0] + shift[0] - here[0],
                x[other, 1] + shift[1] - here[1],
                x[other, 2] + shift[2] - here[2],
            )
            square = dot(vector, vector)
            if square > guide.reach**2 or not _there(around, atom, other, how):
                continue
            other_kind = guide.types[other % types]
            strength = guide.strength[kind, other_kind]
            if strength == 0 or square > (WIDEST * guide.sigma[kind, other_kind] + LONGEST_STEP) ** 2:
                continue
            apart = True
            if around.molecule[other] == around.molecule[atom]:
                for e in range(guide.excluded.shape[1]):
                    apart = apart and other - atom != guide.excluded[row, e]
            if apart and count < len(near):
                for d in range(3):
                    near[count, d] = here[d] + vector[d] - offset[d]
                near[count, 3] = guide.sigma[kind, other_kind] ** 2
                near[count, 4] = strength
                near[count, 5] = 1.0 if other_bead != bead else 0.5
                count += 1
    return count


@compiled(forceinline=True)
def _overlaps(near: Any, count: int, p: Any, sums: Any) -> None:
    """The repulsion of Lennard-Jones: 4 epsilon ((sigma / r)^6 - 1/2)^2, a square as it is."""
    xx, xy, xz, yy, yz, zz, fx, fy, fz, energy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(count):
        dx, dy, dz = p[0] - near[k, 0], p[1] - near[k, 1], p[2] - near[k, 2]
        sigma, strength = near[k, 3], near[k, 4]
        square = dx * dx + dy * dy + dz * dz
        if square > WIDEST * WIDEST * sigma:  # the squares of both
            continue
        inverse = 1 / max(square, OVERLAP * OVERLAP * sigma)
        ratio = sigma * inverse
        sixth = ratio * ratio * ratio
        value, c = strength * (sixth - 0.5), -6 * strength * sixth * inverse
        if square < OVERLAP * OVERLAP * sigma:  # on in a straight line
            distance, least = max(1e-3, math.sqrt(square)), OVERLAP * math.sqrt(sigma)
            value += c * least * (distance - least)
            c *= least / distance
        gx, gy, gz = c * dx, c * dy, c * dz
        xx, xy, xz = xx + gx * gx, xy + gx * gy, xz + gx * gz
        yy, yz, zz = yy + gy * gy, yz + gy * gz, zz + gz * gz
        fx, fy, fz = fx + gx * value, fy + gy * value, fz + gz * value
        energy += near[k, 5] * value * value
    for k, term in enumerate((xx, xy, xz, yy, yz, zz, fx, fy, fz, energy / 2)):
        sums[k] += term


@compiled(forceinline=True)
def _squares(
    guide: Any, around: Any, x: Any, atom: int, how: Any, noise: Any, p: Any, count: int, memory: Any
) -> None:
    """All squares of an atom at ``p``, in place."""
    sums = memory.sums
    for k in range(len(sums)):
        sums[k] = 0.0
    _distances(guide, around, x, atom, how, noise, p, sums)
    _volumes(guide, around, x, atom, how, noise, p, sums)
    _torsions(guide, around, x, atom, how, noise, p, sums)
    _sides(guide, around, x, atom, how, p, sums)
    if not around.hydrogen[atom]:
        _centres(guide, around, x, atom, how, noise, p, sums)
    _overlaps(memory.near, count, p, sums)


@compiled(forceinline=True)
def _near_all(guide: Any, around: Any, x: Any, atom: int, how: Any, p: Any, near: Any) -> int:
    """List what is near an atom, and near the hydrogens that go with it where all atoms are there."""
    count = _find_near(guide, around, x, atom, how, p, (0.0, 0.0, 0.0), near, 0)
    if how.known_below >= ALL_KNOWN and not how.redraw and not around.hydrogen[atom]:
        here, row = _at(x, atom), around.row[atom]
        for k in range(guide.carried.shape[1]):
            step = guide.carried[row, k]
            if step:
                offset = _minus(_at(x, atom + step), here)
                count = _find_near(guide, around, x, atom + step, how, p, offset, near, count)
    return count


@compiled()
def step_of(guide: Any, around: Any, x: Any, atom: int, how: Any, noise: Any, drawn: Any, memory: Any) -> Any:
    """Where an atom goes that is drawn at ``drawn``."""
    sums, own = memory.sums, 1 / how.trust**2
    count = _near_all(guide, around, x, atom, how, drawn, memory.near)
    p = drawn
    for _ in range(how.rounds):
        _squares(guide, around, x, atom, how, noise, p, count, memory)
        off = _minus(p, drawn)
        right = (
            -sums[6] - own * off[0],
            -sums[7] - own * off[1],
            -sums[8] - own * off[2],
        )
        # columns of a symmetric matrix
        a = (sums[0] + own, sums[1], sums[2])
        b = (sums[1], sums[3] + own, sums[4])
        c = (sums[2], sums[4], sums[5] + own)
        bc = cross(b, c)
        volume = dot(a, bc)
        move = (dot(right, bc) / volume, dot(a, cross(right, c)) / volume, dot(a, cross(b, right)) / volume)
        scale = min(1.0, LONGEST_STEP / max(1e-12, math.sqrt(dot(move, move))))
        p = (p[0] + scale * move[0], p[1] + scale * move[1], p[2] + scale * move[2])
    return p


@compiled()
def follow_all(
    guide: Any, around: Any, x: Any, atoms: Any, how: Any, noise: Any, drawn: Any, memory: Any
) -> None:
    """Move what is drawn (b, 3) of some atoms, in place; all know the same others."""
    for k in range(len(atoms)):
        p = _on_its_side(guide, around, x, atoms[k], how, _at(drawn, k))
        p = step_of(guide, around, x, atoms[k], how, noise[k], p, memory)
        for d in range(3):
            drawn[k, d] = p[d]


@compiled()
def settle_all(guide: Any, around: Any, x: Any, atoms: Any, how: Any, noise: Any, memory: Any) -> None:
    """Let atoms follow the guide from where they are, one after the other."""
    for k in range(len(atoms)):
        atom = atoms[k]
        here = _at(x, atom)
        p = step_of(guide, around, x, atom, how, noise[k], here, memory)
        for d in range(3):
            step = p[d] - here[d]
            x[atom, d] = p[d]
            if not around.hydrogen[atom]:
                for n in range(guide.carried.shape[1]):
                    other = guide.carried[around.row[atom], n]
                    if other:
                        x[atom + other, d] += step


@compiled()
def begin_hydrogens(guide: Any, around: Any, x: Any, atoms: Any, how: Any, noise: Any, memory: Any) -> None:
    """Place hydrogens anew: away from the other neighbours, then where the guide allows them."""
    for k in range(len(atoms)):
        atom = atoms[k]
        parent = atom + guide.parent[around.row[atom]]
        here = _at(x, parent)
        away, length = (0.0, 0.0, 0.0), 0.1
        for n in range(guide.step.shape[1]):
            step = guide.step[around.row[parent], n]
            if step == 0 or not guide.bond[around.row[parent], n]:
                continue
            if parent + step == atom:
                length = guide.distance[around.row[parent], n]
            elif _there(around, atom, parent + step, how):
                vector = _minus(here, _at(x, parent + step))
                size = max(1e-3, math.sqrt(dot(vector, vector)))
                away = (away[0] + vector[0] / size, away[1] + vector[1] / size, away[2] + vector[2] / size)
        last = noise.shape[1] - 3
        away = (
            away[0] + KICK * noise[k, last],
            away[1] + KICK * noise[k, last + 1],
            away[2] + KICK * noise[k, last + 2],
        )
        size = length / max(1e-3, math.sqrt(dot(away, away)))
        drawn = (here[0] + size * away[0], here[1] + size * away[1], here[2] + size * away[2])
        p = step_of(guide, around, x, atom, how, noise[k], drawn, memory)
        for d in range(3):
            x[atom, d] = p[d]


@compiled()
def energy_of(guide: Any, around: Any, x: Any, members: Any, how: Any, quiet: Any, memory: Any) -> float:
    """Energy of the atoms of a bead in all squares, in kT; terms with several of them count once."""
    total, counted = 0.0, How(how.known_below, how.redraw, 0.0, 0, how.width, 0)
    for atom in members:
        here = _at(x, atom)
        count = _find_near(guide, around, x, atom, how, here, (0.0, 0.0, 0.0), memory.near, 0)
        _squares(guide, around, x, atom, counted, quiet, here, count, memory)
        total += memory.sums[9]
    return total


@compiled(makes_arrays=True)
def choose_all(
    guide: Any, around: Any, x: Any, other: Any, beads: Any, how: Any, noise: Any, chance: Any, memory: Any
) -> int:
    """Take for each bead the state in ``x`` or that in ``other``, by the energies of both, in place.

    Both are compared without thermal noise, after atoms of the bead have followed the guide.
    """
    quiet = np.zeros_like(noise[0])
    taken, at = 0, 0
    for k in range(len(beads)):
        start, end = around.member_start[beads[k]], around.member_start[beads[k] + 1]
        members = around.members[start:end]
        heavy = around.heavy_end[beads[k]] - start
        old = np.empty((len(members), 3))
        for n in range(len(members)):
            for d in range(3):
                old[n, d] = x[members[n], d]
        before = _relaxed(guide, around, x, members, how, quiet, memory)
        for n in range(heavy):
            for d in range(3):
                x[members[n], d] = other[members[n], d]
        placing = How(how.known_below, True, how.trust, how.rounds, how.width, how.passes)
        count = len(members) - heavy
        begin_hydrogens(guide, around, x, members[heavy:], placing, noise[at : at + count], memory)
        at += count
        after = _relaxed(guide, around, x, members, how, quiet, memory)
        if chance[k] * (1 + math.exp(min(after - before, 700.0))) < 1:
            taken += 1
        else:
            for n in range(len(members)):
                for d in range(3):
                    x[members[n], d] = old[n, d]
    return taken


@compiled(makes_arrays=True)
def _relaxed(guide: Any, around: Any, x: Any, members: Any, how: Any, quiet: Any, memory: Any) -> float:
    noise = np.zeros((len(members), len(quiet)))
    for _ in range(how.passes):
        settle_all(guide, around, x, members, how, noise, memory)
    return energy_of(guide, around, x, members, how, quiet, memory)

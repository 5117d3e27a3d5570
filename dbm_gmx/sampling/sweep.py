"""Sweeps: the Markov chain that leaves the target unchanged, compiled.

A *visit* gathers the atoms around a block once and tries its moves.  Blocks whose beads' spheres
(:mod:`~dbm_gmx.sampling.neighbours`) are further apart than the cut-off do not see each other, have the same
*colour*, and are visited side by side.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba as nb
import numpy as np

from dbm_gmx.compiled import compiled, serial_and_parallel
from dbm_gmx.forcefield.terms import term_energy
from dbm_gmx.sampling.moves import SHIFT, SPIN, SWING, TURN
from dbm_gmx.sampling.neighbours import at_home, image, near_any
from dbm_gmx.sampling.random_numbers import gaussian, seeded, uniform
from dbm_gmx.sampling.rotations import random_matrix, turn_matrix

CLOSEST = np.float32(1e-4)  # nm^2: closer than 0.01 nm the energy no longer grows


class Sight(NamedTuple):
    """What a block sees in a visit.

    Attributes
    ----------
    centre
        (3,) nm.
    around, n
        (5, k) float32 x, y, z relative to the centre, charge and type of the first n atoms.
    c6, c12
        (types of the block, n) coefficients with each.
    """

    centre: Any
    around: Any
    n: int
    c6: Any
    c12: Any


class Scratch(NamedTuple):
    """Room to work in a visit: positions (atoms, 3), displacements of beads (beads, 3), a rotation."""

    old: Any
    new: Any
    off: Any
    new_off: Any
    matrix: Any
    pivot: Any


# --- neighbours ------------------------------------------------------------------------------------


@compiled(forceinline=True)
def _extent(place: Any, tables: Any, block: int, first_bead: int) -> float:
    """Radius about a block's first bead that holds the spheres of all its beads."""
    home = first_bead + tables.bead[tables.bead_start[block]]
    widest = 0.0
    for q in range(tables.bead_start[block], tables.bead_start[block + 1]):
        own = first_bead + tables.bead[q]
        dx = place.beads[own, 0] - place.beads[home, 0]
        dy = place.beads[own, 1] - place.beads[home, 1]
        dz = place.beads[own, 2] - place.beads[home, 2]
        widest = max(widest, math.sqrt(dx * dx + dy * dy + dz * dz) + place.radius[own])
    return widest


@compiled()
def _gather(
    place: Any, tables: Any, one: int, centre: Any, radius: float, reach: float, rows: Any, around: Any
) -> int:
    """Collect the atoms of beads that a block can see, relative to ``centre``; how many there are.

    Left out are its own atoms and those of its list of special partners.  Fills ``around`` (5, k): x, y, z,
    charge, type.
    """
    block, first_atom = tables.instance[one], tables.atom[one]
    own, own_end = tables.own_start[block], tables.own_start[block + 1]
    special, special_end = tables.near_start[block], tables.near_start[block + 1]
    molecule = tables.molecule[first_atom + tables.own[own]]
    limit, positions = (radius + reach) ** 2, place.positions
    k = 0
    for q in rows:
        sx, sy, sz = image(place, place.shift[q])
        sx, sy, sz = sx - centre[0], sy - centre[1], sz - centre[2]
        first, last = tables.holder_start[place.near[q]], tables.holder_start[place.near[q] + 1]
        same = at_home(place.shift[q])
        related = first < last and tables.molecule[tables.holder[first]] == molecule
        for r in range(first, last):
            atom = tables.holder[r]
            x, y, z = positions[atom, 0] + sx, positions[atom, 1] + sy, positions[atom, 2] + sz
            # written in any case: whether it is kept no processor can guess
            around[0, k], around[1, k], around[2, k] = x, y, z
            around[3, k] = tables.charge[atom]
            around[4, k] = tables.type[atom]
            kept = x * x + y * y + z * z < limit
            if related:
                row = atom - first_atom
                for s in range(own, own_end):
                    kept &= tables.own[s] != row
                if same:
                    for s in range(special, special_end):
                        kept &= tables.near[s] != row
            k += kept
    return k


# --- energies --------------------------------------------------------------------------------------


@compiled()
def _lennard_jones(
    x: Any, y: Any, z: Any, around: Any, n: int, c6: Any, c12: Any, limit: Any, s6: Any, s12: Any
) -> Any:
    """Lennard-Jones energy of one atom with those around it."""
    total = np.float32(0.0)
    ax, ay, az = around[0], around[1], around[2]
    for j in range(n):
        dx, dy, dz = ax[j] - x, ay[j] - y, az[j] - z
        r2 = dx * dx + dy * dy + dz * dz
        inverse = np.float32(1.0) / max(r2, CLOSEST)
        i6 = inverse * inverse * inverse
        energy = c12[j] * (i6 * i6 - s12) - c6[j] * (i6 - s6)
        total += energy if r2 < limit else np.float32(0.0)
    return total


@compiled()
def _coulomb(x: Any, y: Any, z: Any, around: Any, n: int, limit: Any, k_rf: Any, c_rf: Any) -> Any:
    """Potential at one place due to the charges around it."""
    total = np.float32(0.0)
    ax, ay, az, charge = around[0], around[1], around[2], around[3]
    for j in range(n):
        dx, dy, dz = ax[j] - x, ay[j] - y, az[j] - z
        r2 = max(dx * dx + dy * dy + dz * dz, CLOSEST)
        energy = charge[j] * (np.float32(1.0) / np.sqrt(r2) + k_rf * r2 - c_rf)
        total += energy if r2 < limit else np.float32(0.0)
    return total


@compiled()
def pair_energy(numbers: Any, p: Any, c6: float, c12: float, qq: float, r2: float) -> float:
    """Energy of a special pair ``p`` (:class:`~dbm_gmx.forcefield.hamiltonian.MoleculeTarget`)."""
    r2 = max(r2, 1e-4)
    i6 = 1.0 / (r2 * r2 * r2)
    energy = (p[1] * i6 - p[0]) * i6 + p[2] / math.sqrt(r2)
    if r2 < numbers.coulomb2:
        energy += p[3] * (numbers.k_rf * r2 - numbers.c_rf)
    if p[4] > 0.0:
        if r2 < numbers.lj2:
            energy += c12 * (i6 * i6 - numbers.shift12) - c6 * (i6 - numbers.shift6)
        if r2 < numbers.coulomb2:
            energy += qq * (1.0 / math.sqrt(r2) + numbers.k_rf * r2 - numbers.c_rf)
    return energy


@compiled(forceinline=True)
def _term(tables: Any, t: int, positions: Any, first: int) -> float:
    """Energy of a term of the molecule that begins with atom ``first``."""
    return term_energy(
        tables.form[t],
        tables.parameters[t],
        positions,
        first + tables.atoms[t, 0],
        first + tables.atoms[t, 1],
        first + max(tables.atoms[t, 2], 0),
        first + max(tables.atoms[t, 3], 0),
    )


@compiled(forceinline=True)
def _inner(place: Any, tables: Any, numbers: Any, one: int, move: int) -> float:
    """Energy of terms and special pairs that a move changes."""
    first_atom, positions = tables.atom[one], place.positions
    total = 0.0
    for q in range(tables.term_start[move], tables.term_start[move + 1]):
        t = tables.term[q]
        total += _term(tables, t, positions, first_atom)
    for q in range(tables.pair_start[move], tables.pair_start[move + 1]):
        i, j = first_atom + tables.pair[q, 0], first_atom + tables.pair[q, 1]
        dx = positions[i, 0] - positions[j, 0]
        dy = positions[i, 1] - positions[j, 1]
        dz = positions[i, 2] - positions[j, 2]
        ti, tj = tables.type[i], tables.type[j]
        total += pair_energy(
            numbers,
            tables.pair_parameters[q],
            tables.c6[ti, tj],
            tables.c12[ti, tj],
            tables.charge[i] * tables.charge[j],
            dx * dx + dy * dy + dz * dz,
        )
    return total


@compiled(forceinline=True)
def _outer(place: Any, tables: Any, numbers: Any, one: int, move: int, sight: Any) -> float:
    """Energy of the atoms of a move with all that the block sees."""
    first_atom, positions = tables.atom[one], place.positions
    centre, around, n = sight.centre, sight.around, sight.n
    limit, s6, s12 = np.float32(numbers.lj2), np.float32(numbers.shift6), np.float32(numbers.shift12)
    coulomb2, k_rf, c_rf = np.float32(numbers.coulomb2), np.float32(numbers.k_rf), np.float32(numbers.c_rf)
    total = 0.0
    for q in range(tables.moved_start[move], tables.moved_start[move + 1]):
        atom = first_atom + tables.moved[q]
        x = np.float32(positions[atom, 0] - centre[0])
        y = np.float32(positions[atom, 1] - centre[1])
        z = np.float32(positions[atom, 2] - centre[2])
        slot = tables.slot[q]
        c6, c12 = sight.c6[slot], sight.c12[slot]
        total += _lennard_jones(x, y, z, around, n, c6, c12, limit, s6, s12)
        if numbers.charged and tables.charge[atom] != 0.0:
            total += tables.charge[atom] * _coulomb(x, y, z, around, n, coulomb2, k_rf, c_rf)
    return total


@compiled(forceinline=True)
def _pull(place: Any, tables: Any, numbers: Any, one: int, move: int, old: Any, off: Any) -> float:
    """Energy of the beads a move displaces, whose new distances go into ``off``; ``old`` atoms."""
    first_atom, first_bead = tables.atom[one], tables.bead_of[one]
    begin, end = tables.moved_start[move], tables.moved_start[move + 1]
    share = tables.share_start[move]
    total = 0.0
    for q in range(tables.weigh_start[move], tables.weigh_start[move + 1]):
        row = q - tables.weigh_start[move]
        bead = first_bead + tables.weigh[q]
        for d in range(3):
            value = place.off[bead, d]
            for r in range(begin, end):
                value += tables.share[share + r - begin] * (
                    place.positions[first_atom + tables.moved[r], d] - old[r - begin, d]
                )
            off[row, d] = value
            total += value * value
        share += end - begin
    return 0.5 * numbers.stiffness * total


@compiled(forceinline=True)
def _inside(place: Any, tables: Any, one: int, move: int) -> bool:
    """Whether the atoms of a move are in the spheres of their beads."""
    first_atom, first_bead = tables.atom[one], tables.bead_of[one]
    for q in range(tables.moved_start[move], tables.moved_start[move + 1]):
        atom, bead = first_atom + tables.moved[q], first_bead + tables.owner[q]
        far = 0.0
        for d in range(3):
            far += (place.positions[atom, d] - place.beads[bead, d]) ** 2
        if far > place.radius[bead] ** 2:
            return False
    return True


# --- moving atoms ----------------------------------------------------------------------------------


@compiled(forceinline=True)
def _rotate(place: Any, tables: Any, one: int, move: int, room: Any) -> None:
    """Put the atoms of a move where their old positions get by the rotation about the pivot."""
    first_atom, begin = tables.atom[one], tables.moved_start[move]
    matrix, pivot, old = room.matrix, room.pivot, room.old
    for q in range(begin, tables.moved_start[move + 1]):
        x, y, z = old[q - begin, 0] - pivot[0], old[q - begin, 1] - pivot[1], old[q - begin, 2] - pivot[2]
        atom = first_atom + tables.moved[q]
        for d in range(3):
            place.positions[atom, d] = pivot[d] + matrix[d, 0] * x + matrix[d, 1] * y + matrix[d, 2] * z


@compiled(forceinline=True)
def _copy(place: Any, tables: Any, one: int, move: int, into: Any) -> None:
    """Copy the positions of the atoms of a move."""
    first_atom, begin = tables.atom[one], tables.moved_start[move]
    for q in range(begin, tables.moved_start[move + 1]):
        for d in range(3):
            into[q - begin, d] = place.positions[first_atom + tables.moved[q], d]


@compiled(forceinline=True)
def _put(place: Any, tables: Any, one: int, move: int, positions: Any) -> None:
    """Put the atoms of a move to positions."""
    first_atom, begin = tables.atom[one], tables.moved_start[move]
    for q in range(begin, tables.moved_start[move + 1]):
        for d in range(3):
            place.positions[first_atom + tables.moved[q], d] = positions[q - begin, d]


@compiled(forceinline=True)
def _displace(place: Any, tables: Any, one: int, move: int, off: Any) -> None:
    """Note the new displacements of the beads of a move."""
    first_bead = tables.bead_of[one]
    for q in range(tables.weigh_start[move], tables.weigh_start[move + 1]):
        for d in range(3):
            place.off[first_bead + tables.weigh[q], d] = off[q - tables.weigh_start[move], d]


@compiled(forceinline=True)
def _axis(place: Any, tables: Any, one: int, move: int, room: Any) -> Any:
    """Set the pivot to the second atom of a move's axis; the axis, nm."""
    a, b = tables.atom[one] + tables.first[move], tables.atom[one] + tables.second[move]
    for d in range(3):
        room.pivot[d] = place.positions[b, d]
    return (
        place.positions[b, 0] - place.positions[a, 0],
        place.positions[b, 1] - place.positions[a, 1],
        place.positions[b, 2] - place.positions[a, 2],
    )


@compiled(forceinline=True)
def _step(place: Any, tables: Any, one: int, move: int, size: float, rng: Any, room: Any) -> None:
    """Move the atoms of a small move from their old positions."""
    if tables.move_type[move] == SHIFT:
        x, y, z = size * gaussian(rng), size * gaussian(rng), size * gaussian(rng)
        begin = tables.moved_start[move]
        for q in range(begin, tables.moved_start[move + 1]):
            atom = tables.atom[one] + tables.moved[q]
            place.positions[atom, 0] = room.old[q - begin, 0] + x
            place.positions[atom, 1] = room.old[q - begin, 1] + y
            place.positions[atom, 2] = room.old[q - begin, 2] + z
        return
    x, y, z = _axis(place, tables, one, move, room)
    angle = size * gaussian(rng)
    if tables.move_type[move] == SWING:
        # a rotation vector of three Gaussian components
        x, y, z = gaussian(rng), gaussian(rng), gaussian(rng)
        angle = size * math.sqrt(x * x + y * y + z * z)
    turn_matrix(x, y, z, angle, room.matrix)
    _rotate(place, tables, one, move, room)


# --- a visit ---------------------------------------------------------------------------------------


@compiled()
def _look(place: Any, tables: Any, numbers: Any, one: int) -> Any:
    """All that a block sees."""
    # a sphere that no move can change: about a bead, around all places the atoms may be at
    block, first_bead = tables.instance[one], tables.bead_of[one]
    begin = tables.bead_start[block]
    centre = place.beads[first_bead + tables.bead[begin]]
    radius = _extent(place, tables, block, first_bead)
    rows, atoms = near_any(place, first_bead + tables.bead[begin : tables.bead_start[block + 1]]), 0
    for q in rows:
        atoms += tables.holder_start[place.near[q] + 1] - tables.holder_start[place.near[q]]
    around = np.empty((5, atoms + 1), np.float32)
    n = _gather(place, tables, one, centre, radius, numbers.reach, rows, around)
    sorts = tables.sort_start[block + 1] - tables.sort_start[block]
    c6, c12 = np.empty((sorts, n), np.float32), np.empty((sorts, n), np.float32)
    for s in range(sorts):
        kind = tables.sort[tables.sort_start[block] + s]
        for j in range(n):
            other = int(around[4, j])
            c6[s, j], c12[s, j] = tables.c6[kind, other], tables.c12[kind, other]
    return Sight(centre, around, n, c6, c12)


@compiled()
def visit(
    place: Any,
    tables: Any,
    numbers: Any,
    one: int,
    steps: Any,
    candidates: int,
    rng: Any,
    gained: Any,
    tried: Any,
) -> None:
    """Try all moves of an instance.

    Parameters
    ----------
    steps
        (moves,) sizes of the small moves, radians or nm; 0 switches a move off.
    candidates
        Of ``TURN`` and ``SPIN``, at least.
    dice
        Stream of random numbers.
    gained
        (2,) the change of the potential and of the beads' energy is added here, kJ/mol.
    tried
        (moves of the block, 3): tries, acceptances and effective candidates are added here.
    """
    block = tables.instance[one]
    first_move, last_move = tables.move_start[block], tables.move_start[block + 1]
    sight = _look(place, tables, numbers, one)
    atoms = beads = 1
    for move in range(first_move, last_move):
        atoms = max(atoms, tables.moved_start[move + 1] - tables.moved_start[move])
        beads = max(beads, tables.weigh_start[move + 1] - tables.weigh_start[move])
    room = Scratch(
        np.empty((atoms, 3)),
        np.empty((atoms, 3)),
        np.empty((beads, 3)),
        np.empty((beads, 3)),
        np.empty((3, 3)),
        np.empty(3),
    )
    for move in range(first_move, last_move):
        if steps[move] == 0.0:
            continue
        counts = tried[move - first_move]
        _copy(place, tables, one, move, room.old)
        if tables.move_type[move] in (TURN, SPIN):
            _choose(place, tables, numbers, one, move, candidates, rng, sight, room, gained, counts)
        else:
            _walk(place, tables, numbers, one, move, steps[move], rng, sight, room, gained, counts)


@compiled()
def _walk(
    place: Any,
    tables: Any,
    numbers: Any,
    one: int,
    move: int,
    size: float,
    rng: Any,
    sight: Any,
    room: Any,
    gained: Any,
    counts: Any,
) -> None:
    """Metropolis steps in two stages: what is cheap first, then the surroundings.

    Both stages accept with the ratio of their own part of the density, which together leaves the target
    unchanged (Christen and Fox, J. Comput. Graph. Stat. 14, 795, 2005) and spares most of the work of
    steps that the bonds refuse.
    """
    inner = _inner(place, tables, numbers, one, move)
    pull = _pull(place, tables, numbers, one, move, room.old, room.off)
    outer, known = 0.0, False
    for _ in range(tables.repeat[move]):
        _step(place, tables, one, move, size, rng, room)
        counts[0] += 1.0
        first, second = uniform(rng), uniform(rng)
        accepted = False
        if _inside(place, tables, one, move):
            trial_pull = _pull(place, tables, numbers, one, move, room.old, room.off)
            trial_inner = _inner(place, tables, numbers, one, move)
            rise = trial_inner + trial_pull - inner - pull
            if first < math.exp(min(0.0, -rise / numbers.kt)):
                trial_outer = _outer(place, tables, numbers, one, move, sight)
                if not known:
                    _copy(place, tables, one, move, room.new)
                    _put(place, tables, one, move, room.old)
                    outer, known = _outer(place, tables, numbers, one, move, sight), True
                    _put(place, tables, one, move, room.new)
                accepted = second < math.exp(min(0.0, (outer - trial_outer) / numbers.kt))
        if accepted:
            gained[0] += trial_inner + trial_outer - inner - outer
            gained[1] += trial_pull - pull
            inner, outer, pull = trial_inner, trial_outer, trial_pull
            _displace(place, tables, one, move, room.off)
            _copy(place, tables, one, move, room.old)
            counts[1] += 1.0
        else:
            _put(place, tables, one, move, room.old)


HOPELESS = 60.0
"""Candidates whose bonds and beads alone are worth so many kT less than the present state's are dropped
(weight 1e-26)."""


@compiled()
def _choose(
    place: Any,
    tables: Any,
    numbers: Any,
    one: int,
    move: int,
    candidates: int,
    rng: Any,
    sight: Any,
    room: Any,
    gained: Any,
    counts: Any,
) -> None:
    """Choose among rotations of the atoms of a move with the probability of the target.

    Angles are those of a cyclic group, or rotations are drawn at random: from each candidate the others
    are as likely to be proposed as from the present state, so that weights are the target density alone.
    The choice is made on the way: each candidate replaces the one kept with its share of the weight so far.
    """
    count = candidates + int(uniform(rng) * 8.0)
    x = y = z = 0.0
    if tables.move_type[move] == TURN:
        x, y, z = _axis(place, tables, one, move, room)
    else:
        _middle(tables, move, room)
    inner = _inner(place, tables, numbers, one, move)
    pull = _pull(place, tables, numbers, one, move, room.old, room.off)
    outer = _outer(place, tables, numbers, one, move, sight)
    room.new[:] = room.old
    kept, kept_pull, chosen = inner + outer, pull, 0
    low, weight, square = kept + pull, 1.0, 1.0
    for k in range(1, count):
        if tables.move_type[move] == TURN:
            turn_matrix(x, y, z, 2.0 * math.pi * k / count, room.matrix)
        else:
            random_matrix(rng, room.matrix)
        _rotate(place, tables, one, move, room)
        drawn = uniform(rng)
        if not _inside(place, tables, one, move):
            continue
        trial_pull = _pull(place, tables, numbers, one, move, room.old, room.off)
        trial = _inner(place, tables, numbers, one, move)
        if trial + trial_pull - inner - pull > HOPELESS * numbers.kt:
            continue
        trial += _outer(place, tables, numbers, one, move, sight)
        rise = (trial + trial_pull - low) / numbers.kt
        if rise < 0.0:
            weight, square, low = weight * math.exp(rise), square * math.exp(2.0 * rise), trial + trial_pull
            rise = 0.0
        share = math.exp(-rise)
        weight += share
        square += share * share
        if drawn * weight < share:
            kept, kept_pull, chosen = trial, trial_pull, k
            _copy(place, tables, one, move, room.new)
            room.new_off[:] = room.off
    counts[0] += 1.0
    counts[2] += weight * weight / square
    _put(place, tables, one, move, room.new)
    if chosen:
        counts[1] += 1.0
        gained[0] += kept - inner - outer
        gained[1] += kept_pull - pull
        _displace(place, tables, one, move, room.new_off)


@compiled(forceinline=True)
def _middle(tables: Any, move: int, room: Any) -> None:
    """Set the pivot to the centre of the moved atoms, as their one bead weighs them or all alike."""
    size = tables.moved_start[move + 1] - tables.moved_start[move]
    single = tables.weigh_start[move + 1] - tables.weigh_start[move] == 1
    share = tables.share_start[move]
    total = 0.0
    room.pivot[:] = 0.0
    for q in range(size):
        weight = tables.share[share + q] if single else 1.0
        total += weight
        for d in range(3):
            room.pivot[d] += weight * room.old[q, d]
    for d in range(3):
        room.pivot[d] /= total


# --- sweeps ----------------------------------------------------------------------------------------


def _sweep(
    place: Any,
    tables: Any,
    numbers: Any,
    colour_start: Any,
    order: Any,
    steps: Any,
    candidates: int,
    stream: Any,
    gained: Any,
    tried: Any,
) -> None:
    for c in range(len(colour_start) - 1):
        for q in nb.prange(colour_start[c], colour_start[c + 1]):
            one = order[q]
            every = tables.every[tables.instance[one]]
            if (stream[2] + one) % every == 0:
                rng = np.empty(1, np.uint64)
                seeded(rng, stream[0], stream[1], stream[2], one)
                visit(place, tables, numbers, one, steps, candidates, rng, gained[one], tried[one])


sweep_alone, sweep_together = serial_and_parallel(_sweep)
"""One sweep, on one thread and on all, with the same result; arguments as for :func:`visit`, by instance.

``stream`` (3,) are numbers that name the chain and the sweep, for the random numbers.
"""


# --- energies of everything ------------------------------------------------------------------------


@compiled()
def full_energy(place: Any, tables: Any, numbers: Any) -> Any:
    """Potential energy of a frame.

    Returns
    -------
    (3,) kJ/mol: terms and springs, special pairs, all other pairs within the cut-off.
    """
    total = np.zeros(3)
    positions = place.positions
    for molecule in range(len(tables.begin)):
        sort, first = tables.sort_of[molecule], tables.begin[molecule]
        for t in range(tables.force_start[sort], tables.force_start[sort + 1]):
            total[0] += _term(tables, t, positions, first)
        for s in range(tables.special_start[sort], tables.special_start[sort + 1]):
            i, j = first + tables.special[s, 0], first + tables.special[s, 1]
            r2 = 0.0
            for d in range(3):
                r2 += (positions[i, d] - positions[j, d]) ** 2
            ti, tj = tables.type[i], tables.type[j]
            qq = tables.charge[i] * tables.charge[j]
            total[1] += pair_energy(
                numbers, tables.special_parameters[s], tables.c6[ti, tj], tables.c12[ti, tj], qq, r2
            )
    for bead in range(len(place.beads)):
        if tables.holder_start[bead] == tables.holder_start[bead + 1]:
            continue
        total[2] += 0.5 * _bead_energy(place, tables, numbers, bead)
    return total


@compiled()
def _bead_energy(place: Any, tables: Any, numbers: Any, bead: int) -> float:
    """Energy of the atoms a bead owns with all that are not special to them, within the cut-offs."""
    positions, centre, radius = place.positions, place.beads[bead], place.radius[bead]
    begin, end, size = place.near_start[bead], place.near_start[bead + 1], 0
    for q in range(begin, end):
        size += tables.holder_start[place.near[q] + 1] - tables.holder_start[place.near[q]]
    around, kind = np.empty((4, size), np.float32), np.empty(size, np.int64)
    molecule = tables.molecule[tables.holder[tables.holder_start[bead]]]
    first, sort = tables.begin[molecule], tables.sort_of[molecule]
    mass = tables.mass_start[sort]
    # where the atoms of the same molecule are in the list
    place_of = np.full(tables.mass_start[sort + 1] - mass, -1, np.int64)
    limit, k = (radius + numbers.reach) ** 2, 0
    for q in range(begin, end):
        sx, sy, sz = image(place, place.shift[q])
        sx, sy, sz = sx - centre[0], sy - centre[1], sz - centre[2]
        same = at_home(place.shift[q])
        for r in range(tables.holder_start[place.near[q]], tables.holder_start[place.near[q] + 1]):
            j = tables.holder[r]
            x, y, z = positions[j, 0] + sx, positions[j, 1] + sy, positions[j, 2] + sz
            if x * x + y * y + z * z < limit:
                around[0, k], around[1, k], around[2, k], around[3, k] = x, y, z, tables.charge[j]
                kind[k] = tables.type[j]
                if same and tables.molecule[j] == molecule:
                    place_of[j - first] = k
                k += 1
    lj2, s6, s12 = np.float32(numbers.lj2), np.float32(numbers.shift6), np.float32(numbers.shift12)
    coulomb2, k_rf, c_rf = np.float32(numbers.coulomb2), np.float32(numbers.k_rf), np.float32(numbers.c_rf)
    c6, c12, charge = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.float32)
    total = 0.0
    for r in range(tables.holder_start[bead], tables.holder_start[bead + 1]):
        i = tables.holder[r]
        for j in range(k):
            c6[j], c12[j] = tables.c6[tables.type[i], kind[j]], tables.c12[tables.type[i], kind[j]]
            charge[j] = around[3, j]
        for t in range(tables.partner_start[mass + i - first], tables.partner_start[mass + i - first + 1]):
            j = place_of[tables.partner[t]]
            if j >= 0:
                c6[j] = c12[j] = around[3, j] = 0.0
        x = np.float32(positions[i, 0] - centre[0])
        y = np.float32(positions[i, 1] - centre[1])
        z = np.float32(positions[i, 2] - centre[2])
        total += _lennard_jones(x, y, z, around, k, c6, c12, lj2, s6, s12)
        if tables.charge[i] != 0.0:
            total += tables.charge[i] * _coulomb(x, y, z, around, k, coulomb2, k_rf, c_rf)
        around[3, :k] = charge
    return total

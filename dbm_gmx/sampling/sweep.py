"""Sweeps: the Markov chain that leaves the Boltzmann distribution unchanged, compiled.

An *update* gathers the atoms around a block once and tries its moves.  Blocks whose beads' spheres
(:mod:`~dbm_gmx.sampling.neighbours`) are further apart than the cut-off do not see each other, have the same
colour, and are updated side by side.

The distribution is that of the isomer at hand: a move that would turn over a bond that does not turn
(:func:`~dbm_gmx.chemistry.stereo.stereo_bonds`) has no weight.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.stereo import dihedral_cosine
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.nonbonded import special_energy, usual_pair
from dbm_gmx.forcefield.terms import term_energy, term_rows
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.arrays import Configuration
from dbm_gmx.sampling.energy import charge_energy, dispersion_energy
from dbm_gmx.sampling.moves import GIBBS_TORSION, PIVOT, RIGID_ROTATION, TRANSLATION
from dbm_gmx.sampling.neighbours import at_home, image, near_any
from dbm_gmx.sampling.random_numbers import Stream, gaussian, seeded, uniform
from dbm_gmx.sampling.rotations import random_matrix, turn_matrix

CANDIDATES = 24
"""Rotations a ``GIBBS_TORSION`` or ``RIGID_ROTATION`` chooses from, at least."""

HOPELESS = 60.0
"""Candidates whose bonds and beads alone are worth so many kT less than the present state's are dropped
(weight 1e-26)."""


class SweepArrays(NamedTuple):
    """What moves change and see, see :class:`~dbm_gmx.sampling.arrays.Arrays`."""

    constants: Any
    type: Any
    charge: Any
    molecule: Any
    c6: Any
    c12: Any
    owned_start: Any
    owned: Any
    form: Any
    atoms: Any
    parameters: Any
    own_start: Any
    own: Any
    own_special_start: Any
    own_special: Any
    own_type_start: Any
    own_type: Any
    own_bead_start: Any
    own_bead: Any
    every: Any
    move_start: Any
    move_type: Any
    first: Any
    second: Any
    repeat: Any
    moved_start: Any
    moved: Any
    slot: Any
    owner: Any
    changed_start: Any
    changed: Any
    pair_start: Any
    pair: Any
    pair_parameters: Any
    shifted_start: Any
    shifted: Any
    share_start: Any
    share: Any
    held_start: Any
    held: Any
    instance_block: Any
    instance_atom: Any
    instance_bead: Any


class Progress(NamedTuple):
    """What a chain knows of its moves.

    Attributes
    ----------
    steps
        (moves,) sizes of the small moves, radians or nm; 0 switches a move off.
    gained
        (instances, 2) the change of the potential and of the beads' energy in a sweep, kJ/mol.
    tried
        (instances, most moves of a block, 3): tries, acceptances and effective candidates.
    """

    steps: Any
    gained: Any
    tried: Any


class Colours(NamedTuple):
    """Ranges of instances of each colour, and the instances in that order."""

    start: Any
    order: Any


class BlockSurroundings(NamedTuple):
    """What a block sees in an update.

    Attributes
    ----------
    centre
        (3,) nm.
    around, charge
        (3, n) float32 x, y, z relative to the centre, and (n,) charge of the atoms.
    c6, c12
        (types of the block, n) coefficients with each.
    """

    centre: Any
    around: Any
    charge: Any
    c6: Any
    c12: Any


class Instance(NamedTuple):
    """A block of one molecule: its number, first atom and first bead."""

    block: int
    first_atom: int
    first_bead: int


class Workspace(NamedTuple):
    """What an update works with.

    Attributes
    ----------
    old, new
        (atoms, 3) positions before and after a move.
    offsets, new_offsets
        (beads, 3) of the beads a move displaces.
    matrix, pivot
        (3, 3), (3,) of a rotation.
    rng
        Random numbers.
    steps, gained, tried
        Sizes of all moves, and those of the instance, see :class:`Progress`.
    """

    old: Any
    new: Any
    offsets: Any
    new_offsets: Any
    matrix: Any
    pivot: Any
    rng: Any
    steps: Any
    gained: Any
    tried: Any


# --- what a block sees -------------------------------------------------------------------------------


@compiled(forceinline=True)
def _extent(place: Any, arrays: Any, block: int, first_bead: int) -> float:
    """Radius about a block's first bead that holds the spheres of all its beads."""
    home = first_bead + arrays.own_bead[arrays.own_bead_start[block]]
    widest = 0.0
    for q in range(arrays.own_bead_start[block], arrays.own_bead_start[block + 1]):
        own = first_bead + arrays.own_bead[q]
        dx = place.beads[own, 0] - place.beads[home, 0]
        dy = place.beads[own, 1] - place.beads[home, 1]
        dz = place.beads[own, 2] - place.beads[home, 2]
        widest = max(widest, math.sqrt(dx * dx + dy * dy + dz * dz) + place.radius[own])
    return widest


@compiled(forceinline=True)
def _gather(place: Any, arrays: Any, at: Any, limit: float, rows: Any) -> Any:
    """Atoms of beads that a block can see, within a distance (its square ``limit``) of its first bead.

    Left out are its own atoms and their special partners.

    Returns
    -------
    (4, n) float32 x, y, z relative to the bead and charge, and (n,) types.
    """
    block, first_atom = at.block, at.first_atom
    centre = place.beads[at.first_bead + arrays.own_bead[arrays.own_bead_start[block]]]
    own, own_end = arrays.own_start[block], arrays.own_start[block + 1]
    special, special_end = arrays.own_special_start[block], arrays.own_special_start[block + 1]
    molecule = arrays.molecule[first_atom + arrays.own[own]]
    positions, most = place.positions, 0
    for q in rows:
        most += arrays.owned_start[place.near[q] + 1] - arrays.owned_start[place.near[q]]
    around, types = np.empty((4, most + 1), np.float32), np.empty(most + 1, np.int64)
    k = 0
    for q in rows:
        sx, sy, sz = image(place, place.shift[q])
        sx, sy, sz = sx - centre[0], sy - centre[1], sz - centre[2]
        first, last = arrays.owned_start[place.near[q]], arrays.owned_start[place.near[q] + 1]
        same = at_home(place.shift[q])
        related = first < last and arrays.molecule[arrays.owned[first]] == molecule
        for r in range(first, last):
            atom = arrays.owned[r]
            x, y, z = positions[atom, 0] + sx, positions[atom, 1] + sy, positions[atom, 2] + sz
            # written in any case: whether it is kept no processor can guess
            around[0, k], around[1, k], around[2, k], around[3, k] = x, y, z, arrays.charge[atom]
            types[k] = arrays.type[atom]
            kept = x * x + y * y + z * z < limit
            if related:
                row = atom - first_atom
                for s in range(own, own_end):
                    kept &= arrays.own[s] != row
                if same:
                    for s in range(special, special_end):
                        kept &= arrays.own_special[s] != row
            k += kept
    return around[:, :k].copy(), types[:k]  # without gaps, for loops over many at once


@compiled()
def look_around(place: Any, arrays: Any, at: Any) -> BlockSurroundings:
    """All that a block sees."""
    # a sphere that no move can change: about a bead, around all places the atoms may be at
    block, first_bead = at.block, at.first_bead
    begin, end = arrays.own_bead_start[block], arrays.own_bead_start[block + 1]
    radius = _extent(place, arrays, block, first_bead) + arrays.constants.reach
    rows = near_any(place, first_bead + arrays.own_bead[begin:end])
    around, types = _gather(place, arrays, at, radius * radius, rows)
    n, first_type = len(types), arrays.own_type_start[block]
    count = arrays.own_type_start[block + 1] - first_type
    c6, c12 = np.empty((count, n), np.float32), np.empty((count, n), np.float32)
    for s in range(count):
        own = arrays.own_type[first_type + s]
        for j in range(n):
            c6[s, j], c12[s, j] = arrays.c6[own, types[j]], arrays.c12[own, types[j]]
    return BlockSurroundings(place.beads[first_bead + arrays.own_bead[begin]], around[:3], around[3], c6, c12)


# --- energies of a move ------------------------------------------------------------------------------


@compiled(forceinline=True)
def _inner_energy(positions: Any, arrays: Any, first: int, move: int) -> float:
    """Energy of terms and special pairs that a move changes."""
    total = 0.0
    for q in range(arrays.changed_start[move], arrays.changed_start[move + 1]):
        t = arrays.changed[q]
        total += term_energy(
            arrays.form[t], arrays.parameters[t], positions, term_rows(arrays.atoms, t, first)
        )
    for q in range(arrays.pair_start[move], arrays.pair_start[move + 1]):
        i, j = first + arrays.pair[q, 0], first + arrays.pair[q, 1]
        dx = positions[i, 0] - positions[j, 0]
        dy = positions[i, 1] - positions[j, 1]
        dz = positions[i, 2] - positions[j, 2]
        r2 = dx * dx + dy * dy + dz * dz
        usual = usual_pair(arrays.type, arrays.charge, arrays.c6, arrays.c12, i, j)
        total += special_energy(arrays.constants, arrays.pair_parameters[q], usual, r2)
    return total


@compiled(forceinline=True)
def _outer_energy(positions: Any, arrays: Any, first: int, move: int, surroundings: Any) -> float:
    """Energy of the atoms of a move with all that the block sees."""
    centre = surroundings.centre
    total = 0.0
    for q in range(arrays.moved_start[move], arrays.moved_start[move + 1]):
        atom, slot = first + arrays.moved[q], arrays.slot[q]
        x = np.float32(positions[atom, 0] - centre[0])
        y = np.float32(positions[atom, 1] - centre[1])
        z = np.float32(positions[atom, 2] - centre[2])
        c6, c12 = surroundings.c6[slot], surroundings.c12[slot]
        total += dispersion_energy((x, y, z), surroundings.around, c6, c12, arrays.constants)
        charge = arrays.charge[atom]
        if arrays.constants.charged and charge != 0.0:
            total += charge * charge_energy(
                (x, y, z), surroundings.around, surroundings.charge, arrays.constants
            )
    return total


@compiled(forceinline=True)
def _bead_energy(place: Any, arrays: Any, at: Any, move: int, workspace: Any) -> float:
    """Energy of the beads a move displaces, whose new offsets go into the workspace."""
    old, begin, end = workspace.old, arrays.moved_start[move], arrays.moved_start[move + 1]
    share = arrays.share_start[move]
    total = 0.0
    for q in range(arrays.shifted_start[move], arrays.shifted_start[move + 1]):
        row = q - arrays.shifted_start[move]
        bead = at.first_bead + arrays.shifted[q]
        for d in range(3):
            value = place.offsets[bead, d]
            for r in range(begin, end):
                value += arrays.share[share + r - begin] * (
                    place.positions[at.first_atom + arrays.moved[r], d] - old[r - begin, d]
                )
            workspace.offsets[row, d] = value
            total += value * value
        share += end - begin
    return 0.5 * arrays.constants.stiffness * total


@compiled(forceinline=True)
def _inside(place: Any, arrays: Any, at: Any, move: int) -> bool:
    """Whether the atoms of a move are in the spheres of their beads."""
    for q in range(arrays.moved_start[move], arrays.moved_start[move + 1]):
        atom, bead = at.first_atom + arrays.moved[q], at.first_bead + arrays.owner[q]
        far = 0.0
        for d in range(3):
            far += (place.positions[atom, d] - place.beads[bead, d]) ** 2
        if far > place.radius[bead] ** 2:
            return False
    return True


@compiled(forceinline=True)
def _states(positions: Any, arrays: Any, first: int, move: int) -> int:
    """The states of the bonds that a move must not turn over, a bit for each."""
    states = 0
    for q in range(arrays.held_start[move], arrays.held_start[move + 1]):
        i, j, k, m = arrays.held[q, 0], arrays.held[q, 1], arrays.held[q, 2], arrays.held[q, 3]
        cosine = dihedral_cosine(positions, (first + i, first + j, first + k, first + m))
        states = 2 * states + (1 if cosine > 0.0 else 0)
    return states


# --- moving atoms ------------------------------------------------------------------------------------


@compiled(forceinline=True)
def _rotate(positions: Any, arrays: Any, first: int, move: int, workspace: Any) -> None:
    """Put the atoms of a move where their old positions get by the rotation about the pivot."""
    matrix, pivot, old = workspace.matrix, workspace.pivot, workspace.old
    begin = arrays.moved_start[move]
    for q in range(begin, arrays.moved_start[move + 1]):
        x, y, z = old[q - begin, 0] - pivot[0], old[q - begin, 1] - pivot[1], old[q - begin, 2] - pivot[2]
        atom = first + arrays.moved[q]
        for d in range(3):
            positions[atom, d] = pivot[d] + matrix[d, 0] * x + matrix[d, 1] * y + matrix[d, 2] * z


@compiled(forceinline=True)
def _copy(positions: Any, arrays: Any, first: int, move: int, into: Any) -> None:
    """Copy the positions of the atoms of a move."""
    begin = arrays.moved_start[move]
    for q in range(begin, arrays.moved_start[move + 1]):
        for d in range(3):
            into[q - begin, d] = positions[first + arrays.moved[q], d]


@compiled(forceinline=True)
def _put(positions: Any, arrays: Any, first: int, move: int, places: Any) -> None:
    """Put the atoms of a move to places."""
    begin = arrays.moved_start[move]
    for q in range(begin, arrays.moved_start[move + 1]):
        for d in range(3):
            positions[first + arrays.moved[q], d] = places[q - begin, d]


@compiled(forceinline=True)
def _displace(offsets: Any, arrays: Any, first: int, move: int, new: Any) -> None:
    """Note the new offsets of the beads of a move."""
    begin = arrays.shifted_start[move]
    for q in range(begin, arrays.shifted_start[move + 1]):
        for d in range(3):
            offsets[first + arrays.shifted[q], d] = new[q - begin, d]


@compiled(forceinline=True)
def _axis(positions: Any, arrays: Any, first: int, move: int, pivot: Any) -> Any:
    """Set the pivot to the second atom of a move's axis; the axis, nm."""
    a, b = first + arrays.first[move], first + arrays.second[move]
    for d in range(3):
        pivot[d] = positions[b, d]
    return (
        positions[b, 0] - positions[a, 0],
        positions[b, 1] - positions[a, 1],
        positions[b, 2] - positions[a, 2],
    )


@compiled(forceinline=True)
def _middle(arrays: Any, move: int, workspace: Any) -> None:
    """Set the pivot to the centre of the moved atoms, as their one bead weighs them or all alike."""
    pivot = workspace.pivot
    size = arrays.moved_start[move + 1] - arrays.moved_start[move]
    single = arrays.shifted_start[move + 1] - arrays.shifted_start[move] == 1
    share = arrays.share_start[move]
    total = 0.0
    for d in range(3):
        pivot[d] = 0.0
    for q in range(size):
        weight = arrays.share[share + q] if single else 1.0
        total += weight
        for d in range(3):
            pivot[d] += weight * workspace.old[q, d]
    for d in range(3):
        pivot[d] /= total


@compiled(forceinline=True)
def _step(positions: Any, arrays: Any, first: int, move: int, workspace: Any) -> None:
    """Move the atoms of a small move from their old positions."""
    rng, size = workspace.rng, workspace.steps[move]
    if arrays.move_type[move] == TRANSLATION:
        x, y, z = size * gaussian(rng), size * gaussian(rng), size * gaussian(rng)
        begin = arrays.moved_start[move]
        for q in range(begin, arrays.moved_start[move + 1]):
            atom = first + arrays.moved[q]
            positions[atom, 0] = workspace.old[q - begin, 0] + x
            positions[atom, 1] = workspace.old[q - begin, 1] + y
            positions[atom, 2] = workspace.old[q - begin, 2] + z
        return
    x, y, z = _axis(positions, arrays, first, move, workspace.pivot)
    angle = size * gaussian(rng)
    if arrays.move_type[move] == PIVOT:
        # a rotation vector of three Gaussian components
        x, y, z = gaussian(rng), gaussian(rng), gaussian(rng)
        angle = size * math.sqrt(x * x + y * y + z * z)
    turn_matrix(x, y, z, angle, workspace.matrix)
    _rotate(positions, arrays, first, move, workspace)


# --- an update ---------------------------------------------------------------------------------------


@compiled(forceinline=True)
def _workspace(arrays: Any, block: int, rng: Any, progress: Any, one: int) -> Workspace:
    """Space for the largest move of a block."""
    atoms = beads = 1
    for move in range(arrays.move_start[block], arrays.move_start[block + 1]):
        atoms = max(atoms, arrays.moved_start[move + 1] - arrays.moved_start[move])
        beads = max(beads, arrays.shifted_start[move + 1] - arrays.shifted_start[move])
    return Workspace(
        np.empty((atoms, 3)),
        np.empty((atoms, 3)),
        np.empty((beads, 3)),
        np.empty((beads, 3)),
        np.empty((3, 3)),
        np.empty(3),
        rng,
        progress.steps,
        progress.gained[one],
        progress.tried[one],
    )


@compiled()
def update(place: Any, arrays: Any, one: int, progress: Any, rng: Any) -> None:
    """Try all moves of an instance.

    Parameters
    ----------
    place
        Positions and offsets change.
    progress
        Read and written for this instance, see :class:`Progress`.
    rng
        Stream of random numbers.
    """
    at = Instance(arrays.instance_block[one], arrays.instance_atom[one], arrays.instance_bead[one])
    surroundings = look_around(place, arrays, at)
    workspace = _workspace(arrays, at.block, rng, progress, one)
    for move in range(arrays.move_start[at.block], arrays.move_start[at.block + 1]):
        if progress.steps[move] == 0.0:
            continue
        _copy(place.positions, arrays, at.first_atom, move, workspace.old)
        if arrays.move_type[move] in (GIBBS_TORSION, RIGID_ROTATION):
            _choose(place, arrays, at, move, surroundings, workspace)
        else:
            _walk(place, arrays, at, move, surroundings, workspace)


@compiled()
def _walk(place: Any, arrays: Any, at: Any, move: int, surroundings: Any, workspace: Any) -> None:
    """Metropolis steps in two stages: what is cheap first, then the surroundings.

    Both stages accept with the ratio of their own part of the density, which together leaves the distribution
    unchanged (Christen and Fox, J. Comput. Graph. Stat. 14, 795, 2005) and spares most of the work of
    steps that the bonds refuse.
    """
    positions = place.positions
    kt, rng = arrays.constants.kt, workspace.rng
    tried = workspace.tried[move - arrays.move_start[at.block]]
    inner = _inner_energy(positions, arrays, at.first_atom, move)
    bead = _bead_energy(place, arrays, at, move, workspace)
    outer, known = 0.0, False
    states = _states(positions, arrays, at.first_atom, move)
    for _ in range(arrays.repeat[move]):
        _step(positions, arrays, at.first_atom, move, workspace)
        tried[0] += 1.0
        first, second = uniform(rng), uniform(rng)
        accepted = False
        if _inside(place, arrays, at, move) and _states(positions, arrays, at.first_atom, move) == states:
            trial_bead = _bead_energy(place, arrays, at, move, workspace)
            trial_inner = _inner_energy(positions, arrays, at.first_atom, move)
            rise = trial_inner + trial_bead - inner - bead
            if first < math.exp(min(0.0, -rise / kt)):
                trial_outer = _outer_energy(positions, arrays, at.first_atom, move, surroundings)
                if not known:
                    _copy(positions, arrays, at.first_atom, move, workspace.new)
                    _put(positions, arrays, at.first_atom, move, workspace.old)
                    outer, known = _outer_energy(positions, arrays, at.first_atom, move, surroundings), True
                    _put(positions, arrays, at.first_atom, move, workspace.new)
                accepted = second < math.exp(min(0.0, (outer - trial_outer) / kt))
        if accepted:
            workspace.gained[0] += trial_inner + trial_outer - inner - outer
            workspace.gained[1] += trial_bead - bead
            inner, outer, bead = trial_inner, trial_outer, trial_bead
            _displace(place.offsets, arrays, at.first_bead, move, workspace.offsets)
            _copy(positions, arrays, at.first_atom, move, workspace.old)
            tried[1] += 1.0
        else:
            _put(positions, arrays, at.first_atom, move, workspace.old)


@compiled()
def _choose(place: Any, arrays: Any, at: Any, move: int, surroundings: Any, workspace: Any) -> None:
    """Choose among rotations of the atoms of a move with the probability of the Boltzmann distribution.

    Angles are those of a cyclic group, or rotations are drawn at random: from each candidate the others
    are as likely to be proposed as from the present state, so that weights are the density alone.
    The choice is made on the way: each candidate replaces the one kept with its share of the weight so far.
    """
    positions = place.positions
    kt, rng, torsion = arrays.constants.kt, workspace.rng, arrays.move_type[move] == GIBBS_TORSION
    tried = workspace.tried[move - arrays.move_start[at.block]]
    count = CANDIDATES + int(uniform(rng) * 8.0)
    x = y = z = 0.0
    if torsion:
        x, y, z = _axis(positions, arrays, at.first_atom, move, workspace.pivot)
    else:
        _middle(arrays, move, workspace)
    inner = _inner_energy(positions, arrays, at.first_atom, move)
    bead = _bead_energy(place, arrays, at, move, workspace)
    outer = _outer_energy(positions, arrays, at.first_atom, move, surroundings)
    _copy(positions, arrays, at.first_atom, move, workspace.new)
    kept, kept_bead, chosen = inner + outer, bead, 0
    low, weight, square = kept + bead, 1.0, 1.0
    states = _states(positions, arrays, at.first_atom, move)
    for k in range(1, count):
        if torsion:
            turn_matrix(x, y, z, 2.0 * math.pi * k / count, workspace.matrix)
        else:
            random_matrix(rng, workspace.matrix)
        _rotate(positions, arrays, at.first_atom, move, workspace)
        drawn = uniform(rng)
        if not _inside(place, arrays, at, move) or _states(positions, arrays, at.first_atom, move) != states:
            continue
        trial_bead = _bead_energy(place, arrays, at, move, workspace)
        trial = _inner_energy(positions, arrays, at.first_atom, move)
        if trial + trial_bead - inner - bead > HOPELESS * kt:
            continue
        trial += _outer_energy(positions, arrays, at.first_atom, move, surroundings)
        rise = (trial + trial_bead - low) / kt
        if rise < 0.0:
            weight, square, low = weight * math.exp(rise), square * math.exp(2.0 * rise), trial + trial_bead
            rise = 0.0
        share = math.exp(-rise)
        weight += share
        square += share * share
        if drawn * weight < share:
            kept, kept_bead, chosen = trial, trial_bead, k
            _copy(positions, arrays, at.first_atom, move, workspace.new)
            for row in range(len(workspace.offsets)):
                for d in range(3):
                    workspace.new_offsets[row, d] = workspace.offsets[row, d]
    tried[0] += 1.0
    tried[2] += weight * weight / square
    _put(positions, arrays, at.first_atom, move, workspace.new)
    if chosen:
        tried[1] += 1.0
        workspace.gained[0] += kept - inner - outer
        workspace.gained[1] += kept_bead - bead
        _displace(place.offsets, arrays, at.first_bead, move, workspace.new_offsets)


# --- a sweep -----------------------------------------------------------------------------------------


LEAST = 4
"""Updates that are worth a thread."""


class Turn(NamedTuple):
    """Which updates: of these blocks of one colour, with random numbers of ``key``, in sweep ``number``."""

    blocks: Any
    key: Any
    number: int


@compiled()
def _update_some(place: Any, arrays: Any, progress: Any, turn: Any, first: int, step: int) -> None:
    """Update every ``step``-th block that is due, from the ``first`` one on."""
    rng = np.empty(1, np.uint64)
    for q in range(first, len(turn.blocks), step):
        one = turn.blocks[q]
        if (turn.number + one) % arrays.every[arrays.instance_block[one]] == 0:
            seeded(rng, turn.key, one)
            update(place, arrays, one, progress, rng)


def sweep(conf: Configuration, colours: Colours, progress: Progress, stream: Stream, team: Team) -> None:
    """Update all blocks that are due, those of a colour side by side; ``conf`` and ``progress`` change."""
    place, arrays, key = conf.place, conf.arrays.part(SweepArrays), stream.key
    for blocks in np.split(colours.order, colours.start[1:-1]):
        turn = Turn(blocks, key, stream.path[-1])
        team.share(partial(_update_some, place, arrays, progress, turn), len(blocks), least=LEAST)

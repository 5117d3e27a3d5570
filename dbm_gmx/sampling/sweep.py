"""Sweeps: the Markov chain that leaves the Boltzmann distribution unchanged, compiled.

An *update* gathers the atoms around a block once and tries its moves.  Blocks whose beads' spheres
(:mod:`~dbm_gmx.sampling.neighbours`) are further apart than the cut-off do not see each other, have the same
colour, and are updated side by side.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.compiled import compiled, inner
from dbm_gmx.forcefield.nonbonded import special_energy
from dbm_gmx.forcefield.terms import term_energy
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


@inner(forceinline=True)
def _extent(neighbours: Any, blocks: Any, block: int, first_bead: int) -> float:
    """Radius about a block's first bead that holds the spheres of all its beads."""
    home = first_bead + blocks.bead[blocks.bead_start[block]]
    widest = 0.0
    for q in range(blocks.bead_start[block], blocks.bead_start[block + 1]):
        own = first_bead + blocks.bead[q]
        dx = neighbours.beads[own, 0] - neighbours.beads[home, 0]
        dy = neighbours.beads[own, 1] - neighbours.beads[home, 1]
        dz = neighbours.beads[own, 2] - neighbours.beads[home, 2]
        widest = max(widest, math.sqrt(dx * dx + dy * dy + dz * dz) + neighbours.radius[own])
    return widest


@inner(forceinline=True)
def _gather(conf: Any, one: int, limit: float, rows: Any) -> Any:
    """Atoms of beads that a block can see, within a distance (its square ``limit``) of its first bead.

    Left out are its own atoms and their special partners.

    Returns
    -------
    (4, n) float32 x, y, z relative to the bead and charge, and (n,) types.
    """
    neighbours, arrays = conf.neighbours, conf.arrays
    blocks, instances, beads, atoms = arrays.blocks, arrays.instances, arrays.beads, arrays.atoms
    block, first_atom = instances.block[one], instances.first_atom[one]
    centre = neighbours.beads[instances.first_bead[one] + blocks.bead[blocks.bead_start[block]]]
    own, own_end = blocks.own_start[block], blocks.own_start[block + 1]
    special, special_end = blocks.special_start[block], blocks.special_start[block + 1]
    molecule = atoms.molecule[first_atom + blocks.own[own]]
    positions, most = conf.positions, 0
    for q in rows:
        most += beads.owned_start[neighbours.near[q] + 1] - beads.owned_start[neighbours.near[q]]
    around, types = np.empty((4, most + 1), np.float32), np.empty(most + 1, np.int64)
    k = 0
    for q in rows:
        sx, sy, sz = image(neighbours, neighbours.shift[q])
        sx, sy, sz = sx - centre[0], sy - centre[1], sz - centre[2]
        first, last = beads.owned_start[neighbours.near[q]], beads.owned_start[neighbours.near[q] + 1]
        same = at_home(neighbours.shift[q])
        related = first < last and atoms.molecule[beads.owned[first]] == molecule
        for r in range(first, last):
            atom = beads.owned[r]
            x, y, z = positions[atom, 0] + sx, positions[atom, 1] + sy, positions[atom, 2] + sz
            # written in any case: whether it is kept no processor can guess
            around[0, k], around[1, k], around[2, k], around[3, k] = x, y, z, atoms.charge[atom]
            types[k] = atoms.type[atom]
            kept = x * x + y * y + z * z < limit
            if related:
                row = atom - first_atom
                for s in range(own, own_end):
                    kept &= blocks.own[s] != row
                if same:
                    for s in range(special, special_end):
                        kept &= blocks.special[s] != row
            k += kept
    return around[:, :k].copy(), types[:k]  # without gaps, for loops over many at once


@inner(forceinline=True)
def look_around(conf: Any, one: int) -> BlockSurroundings:
    """All that a block sees."""
    neighbours, arrays = conf.neighbours, conf.arrays
    # a sphere that no move can change: about a bead, around all places the atoms may be at
    blocks, instances, atoms = arrays.blocks, arrays.instances, arrays.atoms
    block, first_bead = instances.block[one], instances.first_bead[one]
    begin, end = blocks.bead_start[block], blocks.bead_start[block + 1]
    radius = _extent(neighbours, blocks, block, first_bead) + arrays.constants.reach
    rows = near_any(neighbours, first_bead + blocks.bead[begin:end])
    around, types = _gather(conf, one, radius * radius, rows)
    n, first_type = len(types), blocks.type_start[block]
    count = blocks.type_start[block + 1] - first_type
    c6, c12 = np.empty((count, n), np.float32), np.empty((count, n), np.float32)
    for s in range(count):
        own = blocks.type[first_type + s]
        for j in range(n):
            c6[s, j], c12[s, j] = atoms.c6[own, types[j]], atoms.c12[own, types[j]]
    return BlockSurroundings(
        neighbours.beads[first_bead + blocks.bead[begin]], around[:3], around[3], c6, c12
    )


# --- energies of a move ------------------------------------------------------------------------------


@inner(forceinline=True)
def _inner_energy(conf: Any, one: int, move: int) -> float:
    """Energy of terms and special pairs that a move changes."""
    arrays = conf.arrays
    moves, moltypes, atoms = arrays.moves, arrays.moltypes, arrays.atoms
    first_atom, positions = arrays.instances.first_atom[one], conf.positions
    total = 0.0
    for q in range(moves.term_start[move], moves.term_start[move + 1]):
        t = moves.term[q]
        total += term_energy(
            moltypes.form[t], moltypes.parameters[t], positions, moltypes.atoms[t], first_atom
        )
    for q in range(moves.pair_start[move], moves.pair_start[move + 1]):
        i, j = first_atom + moves.pair[q, 0], first_atom + moves.pair[q, 1]
        dx = positions[i, 0] - positions[j, 0]
        dy = positions[i, 1] - positions[j, 1]
        dz = positions[i, 2] - positions[j, 2]
        r2 = dx * dx + dy * dy + dz * dz
        total += special_energy(arrays.constants, atoms, moves.pair_parameters[q], i, j, r2)
    return total


@inner(forceinline=True)
def _outer_energy(conf: Any, one: int, move: int, surroundings: Any) -> float:
    """Energy of the atoms of a move with all that the block sees."""
    arrays = conf.arrays
    moves, constants = arrays.moves, arrays.constants
    first_atom, positions, centre = arrays.instances.first_atom[one], conf.positions, surroundings.centre
    total = 0.0
    for q in range(moves.moved_start[move], moves.moved_start[move + 1]):
        atom, slot = first_atom + moves.moved[q], moves.slot[q]
        x = np.float32(positions[atom, 0] - centre[0])
        y = np.float32(positions[atom, 1] - centre[1])
        z = np.float32(positions[atom, 2] - centre[2])
        c6, c12 = surroundings.c6[slot], surroundings.c12[slot]
        total += dispersion_energy(x, y, z, surroundings.around, c6, c12, constants)
        charge = arrays.atoms.charge[atom]
        if constants.charged and charge != 0.0:
            total += charge * charge_energy(x, y, z, surroundings.around, surroundings.charge, constants)
    return total


@inner(forceinline=True)
def _bead_energy(conf: Any, one: int, move: int, workspace: Any) -> float:
    """Energy of the beads a move displaces, whose new offsets go into the workspace."""
    arrays = conf.arrays
    moves, old, offsets = arrays.moves, workspace.old, workspace.offsets
    first_atom, first_bead = arrays.instances.first_atom[one], arrays.instances.first_bead[one]
    begin, end = moves.moved_start[move], moves.moved_start[move + 1]
    share = moves.share_start[move]
    total = 0.0
    for q in range(moves.bead_start[move], moves.bead_start[move + 1]):
        row = q - moves.bead_start[move]
        bead = first_bead + moves.bead[q]
        for d in range(3):
            value = conf.offsets[bead, d]
            for r in range(begin, end):
                value += moves.share[share + r - begin] * (
                    conf.positions[first_atom + moves.moved[r], d] - old[r - begin, d]
                )
            offsets[row, d] = value
            total += value * value
        share += end - begin
    return 0.5 * arrays.constants.stiffness * total


@inner(forceinline=True)
def _inside(conf: Any, one: int, move: int) -> bool:
    """Whether the atoms of a move are in the spheres of their beads."""
    neighbours, arrays = conf.neighbours, conf.arrays
    moves, first_bead = arrays.moves, arrays.instances.first_bead[one]
    first_atom = arrays.instances.first_atom[one]
    for q in range(moves.moved_start[move], moves.moved_start[move + 1]):
        atom, bead = first_atom + moves.moved[q], first_bead + moves.owner[q]
        far = 0.0
        for d in range(3):
            far += (conf.positions[atom, d] - neighbours.beads[bead, d]) ** 2
        if far > neighbours.radius[bead] ** 2:
            return False
    return True


# --- moving atoms ------------------------------------------------------------------------------------


@inner(forceinline=True)
def _rotate(conf: Any, one: int, move: int, workspace: Any) -> None:
    """Put the atoms of a move where their old positions get by the rotation about the pivot."""
    arrays = conf.arrays
    moves, first_atom = arrays.moves, arrays.instances.first_atom[one]
    matrix, pivot, old = workspace.matrix, workspace.pivot, workspace.old
    begin = moves.moved_start[move]
    for q in range(begin, moves.moved_start[move + 1]):
        x, y, z = old[q - begin, 0] - pivot[0], old[q - begin, 1] - pivot[1], old[q - begin, 2] - pivot[2]
        atom = first_atom + moves.moved[q]
        for d in range(3):
            conf.positions[atom, d] = pivot[d] + matrix[d, 0] * x + matrix[d, 1] * y + matrix[d, 2] * z


@inner(forceinline=True)
def _copy(conf: Any, one: int, move: int, into: Any) -> None:
    """Copy the positions of the atoms of a move."""
    arrays = conf.arrays
    first_atom, begin = arrays.instances.first_atom[one], arrays.moves.moved_start[move]
    for q in range(begin, arrays.moves.moved_start[move + 1]):
        for d in range(3):
            into[q - begin, d] = conf.positions[first_atom + arrays.moves.moved[q], d]


@inner(forceinline=True)
def _put(conf: Any, one: int, move: int, positions: Any) -> None:
    """Put the atoms of a move to positions."""
    arrays = conf.arrays
    first_atom, begin = arrays.instances.first_atom[one], arrays.moves.moved_start[move]
    for q in range(begin, arrays.moves.moved_start[move + 1]):
        for d in range(3):
            conf.positions[first_atom + arrays.moves.moved[q], d] = positions[q - begin, d]


@inner(forceinline=True)
def _displace(conf: Any, one: int, move: int, offsets: Any) -> None:
    """Note the new offsets of the beads of a move."""
    arrays = conf.arrays
    first_bead, begin = arrays.instances.first_bead[one], arrays.moves.bead_start[move]
    for q in range(begin, arrays.moves.bead_start[move + 1]):
        for d in range(3):
            conf.offsets[first_bead + arrays.moves.bead[q], d] = offsets[q - begin, d]


@inner(forceinline=True)
def _axis(conf: Any, one: int, move: int, workspace: Any) -> Any:
    """Set the pivot to the second atom of a move's axis; the axis, nm."""
    arrays = conf.arrays
    first_atom, x = arrays.instances.first_atom[one], conf.positions
    a, b = first_atom + arrays.moves.first[move], first_atom + arrays.moves.second[move]
    for d in range(3):
        workspace.pivot[d] = x[b, d]
    return x[b, 0] - x[a, 0], x[b, 1] - x[a, 1], x[b, 2] - x[a, 2]


@inner(forceinline=True)
def _middle(arrays: Any, move: int, workspace: Any) -> None:
    """Set the pivot to the centre of the moved atoms, as their one bead weighs them or all alike."""
    moves, pivot = arrays.moves, workspace.pivot
    size = moves.moved_start[move + 1] - moves.moved_start[move]
    single = moves.bead_start[move + 1] - moves.bead_start[move] == 1
    share = moves.share_start[move]
    total = 0.0
    pivot[:] = 0.0
    for q in range(size):
        weight = moves.share[share + q] if single else 1.0
        total += weight
        for d in range(3):
            pivot[d] += weight * workspace.old[q, d]
    for d in range(3):
        pivot[d] /= total


@inner(forceinline=True)
def _step(conf: Any, one: int, move: int, size: float, workspace: Any) -> None:
    """Move the atoms of a small move from their old positions."""
    arrays = conf.arrays
    moves, rng = arrays.moves, workspace.rng
    if moves.move_type[move] == TRANSLATION:
        x, y, z = size * gaussian(rng), size * gaussian(rng), size * gaussian(rng)
        begin = moves.moved_start[move]
        for q in range(begin, moves.moved_start[move + 1]):
            atom = arrays.instances.first_atom[one] + moves.moved[q]
            conf.positions[atom, 0] = workspace.old[q - begin, 0] + x
            conf.positions[atom, 1] = workspace.old[q - begin, 1] + y
            conf.positions[atom, 2] = workspace.old[q - begin, 2] + z
        return
    x, y, z = _axis(conf, one, move, workspace)
    angle = size * gaussian(rng)
    if moves.move_type[move] == PIVOT:
        # a rotation vector of three Gaussian components
        x, y, z = gaussian(rng), gaussian(rng), gaussian(rng)
        angle = size * math.sqrt(x * x + y * y + z * z)
    turn_matrix(x, y, z, angle, workspace.matrix)
    _rotate(conf, one, move, workspace)


# --- an update ---------------------------------------------------------------------------------------


@inner(forceinline=True)
def _workspace(arrays: Any, block: int, rng: Any, progress: Any, one: int) -> Workspace:
    """Space for the largest move of a block."""
    moves, atoms, beads = arrays.moves, 1, 1
    for move in range(arrays.blocks.move_start[block], arrays.blocks.move_start[block + 1]):
        atoms = max(atoms, moves.moved_start[move + 1] - moves.moved_start[move])
        beads = max(beads, moves.bead_start[move + 1] - moves.bead_start[move])
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


@inner(forceinline=True)
def update(conf: Any, one: int, progress: Any, rng: Any) -> None:
    """Try all moves of an instance.

    Parameters
    ----------
    state
        Changed in place.
    progress
        Read and written for this instance, see :class:`Progress`.
    rng
        Stream of random numbers.
    """
    arrays = conf.arrays
    block = arrays.instances.block[one]
    first_move, last_move = arrays.blocks.move_start[block], arrays.blocks.move_start[block + 1]
    surroundings = look_around(conf, one)
    workspace = _workspace(arrays, block, rng, progress, one)
    for move in range(first_move, last_move):
        if progress.steps[move] == 0.0:
            continue
        _copy(conf, one, move, workspace.old)
        if arrays.moves.move_type[move] in (GIBBS_TORSION, RIGID_ROTATION):
            _choose(conf, one, move, surroundings, workspace)
        else:
            _walk(conf, one, move, surroundings, workspace)


@inner(forceinline=True)
def _walk(conf: Any, one: int, move: int, surroundings: Any, workspace: Any) -> None:
    """Metropolis steps in two stages: what is cheap first, then the surroundings.

    Both stages accept with the ratio of their own part of the density, which together leaves the distribution
    unchanged (Christen and Fox, J. Comput. Graph. Stat. 14, 795, 2005) and spares most of the work of
    steps that the bonds refuse.
    """
    arrays = conf.arrays
    kt, rng = arrays.constants.kt, workspace.rng
    tried = workspace.tried[move - arrays.blocks.move_start[arrays.instances.block[one]]]
    inner = _inner_energy(conf, one, move)
    bead = _bead_energy(conf, one, move, workspace)
    outer, known = 0.0, False
    for _ in range(arrays.moves.repeat[move]):
        _step(conf, one, move, workspace.steps[move], workspace)
        tried[0] += 1.0
        first, second = uniform(rng), uniform(rng)
        accepted = False
        if _inside(conf, one, move):
            trial_bead = _bead_energy(conf, one, move, workspace)
            trial_inner = _inner_energy(conf, one, move)
            rise = trial_inner + trial_bead - inner - bead
            if first < math.exp(min(0.0, -rise / kt)):
                trial_outer = _outer_energy(conf, one, move, surroundings)
                if not known:
                    _copy(conf, one, move, workspace.new)
                    _put(conf, one, move, workspace.old)
                    outer, known = _outer_energy(conf, one, move, surroundings), True
                    _put(conf, one, move, workspace.new)
                accepted = second < math.exp(min(0.0, (outer - trial_outer) / kt))
        if accepted:
            workspace.gained[0] += trial_inner + trial_outer - inner - outer
            workspace.gained[1] += trial_bead - bead
            inner, outer, bead = trial_inner, trial_outer, trial_bead
            _displace(conf, one, move, workspace.offsets)
            _copy(conf, one, move, workspace.old)
            tried[1] += 1.0
        else:
            _put(conf, one, move, workspace.old)


@inner(forceinline=True)
def _choose(conf: Any, one: int, move: int, surroundings: Any, workspace: Any) -> None:
    """Choose among rotations of the atoms of a move with the probability of the Boltzmann distribution.

    Angles are those of a cyclic group, or rotations are drawn at random: from each candidate the others
    are as likely to be proposed as from the present state, so that weights are the density alone.
    The choice is made on the way: each candidate replaces the one kept with its share of the weight so far.
    """
    arrays = conf.arrays
    kt, rng, torsion = arrays.constants.kt, workspace.rng, arrays.moves.move_type[move] == GIBBS_TORSION
    tried = workspace.tried[move - arrays.blocks.move_start[arrays.instances.block[one]]]
    count = CANDIDATES + int(uniform(rng) * 8.0)
    x = y = z = 0.0
    if torsion:
        x, y, z = _axis(conf, one, move, workspace)
    else:
        _middle(arrays, move, workspace)
    inner = _inner_energy(conf, one, move)
    bead = _bead_energy(conf, one, move, workspace)
    outer = _outer_energy(conf, one, move, surroundings)
    workspace.new[:] = workspace.old
    kept, kept_bead, chosen = inner + outer, bead, 0
    low, weight, square = kept + bead, 1.0, 1.0
    for k in range(1, count):
        if torsion:
            turn_matrix(x, y, z, 2.0 * math.pi * k / count, workspace.matrix)
        else:
            random_matrix(rng, workspace.matrix)
        _rotate(conf, one, move, workspace)
        drawn = uniform(rng)
        if not _inside(conf, one, move):
            continue
        trial_bead = _bead_energy(conf, one, move, workspace)
        trial = _inner_energy(conf, one, move)
        if trial + trial_bead - inner - bead > HOPELESS * kt:
            continue
        trial += _outer_energy(conf, one, move, surroundings)
        rise = (trial + trial_bead - low) / kt
        if rise < 0.0:
            weight, square, low = weight * math.exp(rise), square * math.exp(2.0 * rise), trial + trial_bead
            rise = 0.0
        share = math.exp(-rise)
        weight += share
        square += share * share
        if drawn * weight < share:
            kept, kept_bead, chosen = trial, trial_bead, k
            _copy(conf, one, move, workspace.new)
            workspace.new_offsets[:] = workspace.offsets
    tried[0] += 1.0
    tried[2] += weight * weight / square
    _put(conf, one, move, workspace.new)
    if chosen:
        tried[1] += 1.0
        workspace.gained[0] += kept - inner - outer
        workspace.gained[1] += kept_bead - bead
        _displace(conf, one, move, workspace.new_offsets)


# --- a sweep -----------------------------------------------------------------------------------------


LEAST = 4
"""Updates that are worth a thread."""


class Turn(NamedTuple):
    """Which updates: of one colour, with the random numbers of ``key``, in sweep ``number``."""

    key: Any
    number: int
    colour: int


@compiled()
def _update_colour(conf: Any, colours: Any, progress: Any, turn: Any, first: int, step: int) -> None:
    """Update every ``step``-th block of a colour that is due, from the ``first`` one on."""
    arrays, rng = conf.arrays, np.empty(1, np.uint64)
    begin, end = colours.start[turn.colour], colours.start[turn.colour + 1]
    for q in range(begin + first, end, step):
        one = colours.order[q]
        if (turn.number + one) % arrays.blocks.every[arrays.instances.block[one]] == 0:
            seeded(rng, turn.key, one)
            update(conf, one, progress, rng)


def sweep(conf: Configuration, colours: Colours, progress: Progress, stream: Stream, team: Team) -> None:
    """Update all blocks that are due, those of a colour side by side; ``conf`` and ``progress`` change."""
    key, number = stream.key, stream.path[-1]
    for colour, count in enumerate(np.diff(colours.start).tolist()):
        turn = Turn(key, number, colour)
        team.share(partial(_update_colour, conf, colours, progress, turn), count, least=LEAST)

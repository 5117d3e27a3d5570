"""Sweeps: the Markov chain that leaves the Boltzmann distribution unchanged, compiled.

An *update* gathers the atoms around a bead once and tries the moves of all blocks there, a *cluster*.
Clusters whose beads' spheres (:mod:`~dbm_gmx.sampling.neighbours`) are further apart than the cut-off do not
see each other, have the same colour, and are updated side by side.

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

from dbm_gmx.chemistry.vectors import arm, in_lattice, step_to
from dbm_gmx.compiled import compiled
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.arrays import Configuration
from dbm_gmx.sampling.moves import ANNEALING, GIBBS_TORSION, PIVOT, RIGID_ROTATION, TRANSLATION
from dbm_gmx.sampling.random_numbers import Stream, seeded, symmetric, uniform
from dbm_gmx.sampling.rotations import random_matrix, turn_matrix
from dbm_gmx.sampling.together import brought_together, make_room, put_back
from dbm_gmx.sampling.updates import (
    Instance,
    Progress,
    SweepArrays,
    Workspace,
    bead_energy,
    copy_moved,
    displace,
    inner_energy,
    inside,
    outer_energy,
    place_built,
    put_moved,
    states_of,
)
from dbm_gmx.sampling.views import hide, look_around, show
from dbm_gmx.sampling.window_annealing import anneal_window

CANDIDATES = 16
"""Rotations a ``GIBBS_TORSION`` or ``RIGID_ROTATION`` chooses from, at least."""

HOPELESS = 60.0
"""Candidates whose bonds and beads alone are worth so many kT less than the present state's are dropped
(weight 1e-26)."""

CLASH = 160.0
"""Energy, kT, of some atoms of a candidate with those around, from which on its other atoms are not looked
at: what they gain is far less."""


class Colours(NamedTuple):
    """Ranges of instances of each colour, and the instances in that order."""

    start: Any
    order: Any


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
def _axis(place: Any, arrays: Any, first: int, move: int, pivot: Any) -> Any:
    """Set the pivot to the second atom of a move's axis, where it is near what turns; the axis, nm."""
    a, b = first + arrays.first[move], first + arrays.second[move]
    for d in range(3):
        pivot[d] = place.positions[b, d]
    _move_beside(place.positions, first + arrays.moved[arrays.moved_start[move]], pivot, place.lattice)
    return arm(in_lattice(place.positions, place.lattice), a, b)


@compiled(forceinline=True)
def _move_beside(positions: Any, atom: int, here: Any, lattice: Any) -> None:
    """Move a place to the image nearest to an atom, where there is a lattice."""
    if lattice is None:
        return
    step = step_to(lattice, positions[atom], here)
    for d in range(3):
        here[d] += step[d]


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
def _step(place: Any, arrays: Any, first: int, move: int, workspace: Any) -> None:
    """Move the atoms of a small move from their old positions."""
    positions, rng, size = place.positions, workspace.rng, workspace.steps[move]
    if arrays.move_type[move] == TRANSLATION:
        x, y, z = size * symmetric(rng), size * symmetric(rng), size * symmetric(rng)
        begin = arrays.moved_start[move]
        for q in range(begin, arrays.moved_start[move + 1]):
            atom = first + arrays.moved[q]
            positions[atom, 0] = workspace.old[q - begin, 0] + x
            positions[atom, 1] = workspace.old[q - begin, 1] + y
            positions[atom, 2] = workspace.old[q - begin, 2] + z
        return
    x, y, z = _axis(place, arrays, first, move, workspace.pivot)
    angle = size * symmetric(rng)
    if arrays.move_type[move] == PIVOT:
        # a rotation vector of three symmetric components
        x, y, z = symmetric(rng), symmetric(rng), symmetric(rng)
        angle = size * math.sqrt(x * x + y * y + z * z)
    turn_matrix(x, y, z, angle, workspace.matrix)
    _rotate(positions, arrays, first, move, workspace)


@compiled(forceinline=True)
def _turns_whole(arrays: Any, at: Any, move: int, workspace: Any, place: Any, lattice: Any) -> bool:
    """Whether what a move turns stays what it is, in the lattice: that a rotation leaves as it is.

    Where a molecule is bonded to images of its own, atoms that are far apart may see images of each other,
    which are not turned with them.
    """
    if lattice is None or arrays.move_type[move] in (TRANSLATION, ANNEALING):
        return True
    pivot = workspace.pivot
    if arrays.move_type[move] == RIGID_ROTATION:
        _middle(arrays, move, workspace)
    else:
        _axis(place, arrays, at.first_atom, move, pivot)
    room = 0.5 * (2.0 * math.sqrt(lattice.safe) - arrays.constants.reach)
    for q in range(arrays.moved_start[move + 1] - arrays.moved_start[move]):
        r2 = 0.0
        for d in range(3):
            r2 += (workspace.old[q, d] - pivot[d]) ** 2
        if r2 > room * room:
            return False
    return True


# --- an update ---------------------------------------------------------------------------------------


@compiled(forceinline=True, makes_arrays=True)
def _workspace(arrays: Any, cluster: int, rng: Any, progress: Any, one: int) -> Workspace:
    """Space for the largest move of a cluster."""
    atoms = beads = 1
    first_block, end_block = arrays.block_start[cluster], arrays.block_start[cluster + 1]
    for move in range(arrays.move_start[first_block], arrays.move_start[end_block]):
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
        progress.tried[progress.tried_start[one] :],
        arrays.move_start[first_block],
    )


@compiled(forceinline=True)
def _is_due(arrays: Any, block: int, steps: Any, number: int) -> bool:
    """Whether a block has its turn, and any of its moves is not switched off."""
    on = False
    for move in range(arrays.move_start[block], arrays.move_start[block + 1]):
        on |= steps[move] != 0.0
    return on and number % arrays.every[block] == 0


@compiled(forceinline=True, makes_arrays=True)
def _beads_of_due(arrays: Any, at: Any, steps: Any, number: int) -> Any:
    """Beads that own atoms of the blocks that have their turn, that of their centres first; none if none."""
    first, last = arrays.cluster_bead_start[at.cluster], arrays.cluster_bead_start[at.cluster + 1]
    beads, count = np.empty(last - first, np.int64), 0
    for block in range(arrays.block_start[at.cluster], arrays.block_start[at.cluster + 1]):
        if not _is_due(arrays, block, steps, number):
            continue
        for q in range(arrays.own_bead_start[block], arrays.own_bead_start[block + 1]):
            bead, there = at.first_bead + arrays.own_bead[q], False
            for k in range(count):
                there |= beads[k] == bead
            if not there:
                beads[count] = bead
                count += 1
    return beads[:count]


@compiled(makes_arrays=True)
def update(place: Any, arrays: Any, one: int, progress: Any, rng: Any, number: int, room: Any) -> None:
    """Try all moves of those blocks of an instance that have their turn.

    Parameters
    ----------
    place
        Positions and offsets change.
    progress
        Read and written for this instance, see :class:`Progress`.
    rng
        Stream of random numbers.
    number
        Of the turn.
    room
        See :func:`~dbm_gmx.sampling.together.make_room`.
    """
    at = Instance(arrays.instance_cluster[one], arrays.instance_atom[one], arrays.instance_bead[one])
    beads = _beads_of_due(arrays, at, progress.steps, number)
    if not len(beads):
        return
    view = look_around(place, arrays, at, beads)
    place = brought_together(place, arrays, at, view, room)
    workspace = _workspace(arrays, at.cluster, rng, progress, one)
    for block in range(arrays.block_start[at.cluster], arrays.block_start[at.cluster + 1]):
        if not _is_due(arrays, block, progress.steps, number):
            continue
        show(place, arrays, at, block, view)
        for move in range(arrays.move_start[block], arrays.move_start[block + 1]):
            if progress.steps[move] == 0.0:
                continue
            copy_moved(place.positions, arrays, at.first_atom, move, workspace.old)
            if not _turns_whole(arrays, at, move, workspace, place, place.lattice):
                continue
            if arrays.move_type[move] in (GIBBS_TORSION, RIGID_ROTATION):
                _choose(place, arrays, at, move, view, workspace)
            elif arrays.move_type[move] == ANNEALING:
                anneal_window(place, arrays, at, move, view, workspace)
            else:
                _walk(place, arrays, at, move, view, workspace)
        hide(arrays, at, block, view)
    put_back(arrays, at, room)


@compiled()
def _walk(place: Any, arrays: Any, at: Any, move: int, view: Any, workspace: Any) -> None:
    """Metropolis steps in two stages: what is cheap first, then the surroundings.

    Both stages accept with the ratio of their own part of the density, which together leaves the distribution
    unchanged (Christen and Fox, J. Comput. Graph. Stat. 14, 795, 2005) and spares most of the work of
    steps that the bonds refuse.
    """
    positions, bonded = place.positions, in_lattice(place.positions, place.lattice)
    kt, rng = arrays.constants.kt, workspace.rng
    tried = workspace.tried[move - workspace.first_move]
    inner = inner_energy(bonded, arrays, at.first_atom, move)
    bead = bead_energy(place, arrays, at, move, workspace)
    outer, known = 0.0, False
    states = states_of(bonded, arrays, at.first_atom, move)
    for _ in range(arrays.repeat[move]):
        _step(place, arrays, at.first_atom, move, workspace)
        place_built(positions, arrays, at.first_atom, move)
        tried[0] += 1.0
        first, second = uniform(rng), uniform(rng)
        accepted = False
        if inside(place, arrays, at, move) and states_of(bonded, arrays, at.first_atom, move) == states:
            trial_bead = bead_energy(place, arrays, at, move, workspace)
            trial_inner = inner_energy(bonded, arrays, at.first_atom, move)
            rise = trial_inner + trial_bead - inner - bead
            if first < math.exp(min(0.0, -rise / kt)):
                trial_outer = outer_energy(positions, arrays, at.first_atom, move, view)
                if not known:
                    copy_moved(positions, arrays, at.first_atom, move, workspace.new)
                    put_moved(positions, arrays, at.first_atom, move, workspace.old)
                    outer, known = outer_energy(positions, arrays, at.first_atom, move, view), True
                    put_moved(positions, arrays, at.first_atom, move, workspace.new)
                accepted = second < math.exp(min(0.0, (outer - trial_outer) / kt))
        if accepted:
            workspace.gained[0] += trial_inner + trial_outer - inner - outer
            workspace.gained[1] += trial_bead - bead
            inner, outer, bead = trial_inner, trial_outer, trial_bead
            displace(place.offsets, arrays, at.first_bead, move, workspace.offsets)
            copy_moved(positions, arrays, at.first_atom, move, workspace.old)
            tried[1] += 1.0
        else:
            put_moved(positions, arrays, at.first_atom, move, workspace.old)


@compiled()
def _choose(place: Any, arrays: Any, at: Any, move: int, view: Any, workspace: Any) -> None:
    """Choose among rotations of the atoms of a move with the probability of the Boltzmann distribution.

    Angles are those of a cyclic group, or rotations are drawn at random: from each candidate the others
    are as likely to be proposed as from the present state, so that weights are the density alone.
    The choice is made on the way: each candidate replaces the one kept with its share of the weight so far.
    """
    positions, bonded = place.positions, in_lattice(place.positions, place.lattice)
    kt, rng, torsion = arrays.constants.kt, workspace.rng, arrays.move_type[move] == GIBBS_TORSION
    tried = workspace.tried[move - workspace.first_move]
    count = CANDIDATES + int(uniform(rng) * 4.0)
    x = y = z = 0.0
    if torsion:
        x, y, z = _axis(place, arrays, at.first_atom, move, workspace.pivot)
    else:
        _middle(arrays, move, workspace)
    inner = inner_energy(bonded, arrays, at.first_atom, move)
    bead = bead_energy(place, arrays, at, move, workspace)
    outer = outer_energy(positions, arrays, at.first_atom, move, view)
    copy_moved(positions, arrays, at.first_atom, move, workspace.new)
    kept, kept_bead, chosen = inner + outer, bead, 0
    low, weight, square = kept + bead, 1.0, 1.0
    states = states_of(bonded, arrays, at.first_atom, move)
    for k in range(1, count):
        if torsion:
            turn_matrix(x, y, z, 2.0 * math.pi * k / count, workspace.matrix)
        else:
            random_matrix(rng, workspace.matrix)
        _rotate(positions, arrays, at.first_atom, move, workspace)
        place_built(positions, arrays, at.first_atom, move)
        drawn = uniform(rng)
        if not inside(place, arrays, at, move) or states_of(bonded, arrays, at.first_atom, move) != states:
            continue
        trial_bead = bead_energy(place, arrays, at, move, workspace)
        trial = inner_energy(bonded, arrays, at.first_atom, move)
        if trial + trial_bead - inner - bead > HOPELESS * kt:
            continue
        ceiling = low - trial - trial_bead + CLASH * kt
        trial += outer_energy(positions, arrays, at.first_atom, move, view, ceiling)
        rise = (trial + trial_bead - low) / kt
        if rise < 0.0:
            weight, square, low = weight * math.exp(rise), square * math.exp(2.0 * rise), trial + trial_bead
            rise = 0.0
        share = math.exp(-rise)
        weight += share
        square += share * share
        if drawn * weight < share:
            kept, kept_bead, chosen = trial, trial_bead, k
            copy_moved(positions, arrays, at.first_atom, move, workspace.new)
            for row in range(len(workspace.offsets)):
                for d in range(3):
                    workspace.new_offsets[row, d] = workspace.offsets[row, d]
    tried[0] += 1.0
    tried[2] += weight * weight / square
    put_moved(positions, arrays, at.first_atom, move, workspace.new)
    if chosen:
        tried[1] += 1.0
        workspace.gained[0] += kept - inner - outer
        workspace.gained[1] += kept_bead - bead
        displace(place.offsets, arrays, at.first_bead, move, workspace.new_offsets)


# --- a sweep -----------------------------------------------------------------------------------------


LEAST = 2
"""Updates that are worth a thread."""


class Turn(NamedTuple):
    """Which updates: of these clusters of one colour, with random numbers of ``key``, in turn ``number``.

    The number is that of the sweep and of the colour: blocks that do not have their turn in every sweep have
    it together with those of their colour, so that threads find enough to do.
    """

    clusters: Any
    key: Any
    number: int


@compiled(makes_arrays=True)
def _update_some(place: Any, arrays: Any, progress: Any, turn: Any, first: int, step: int) -> None:
    """Update every ``step``-th cluster, from the ``first`` one on."""
    rng, room = np.empty(1, np.uint64), make_room(place, place.lattice)
    for q in range(first, len(turn.clusters), step):
        one = turn.clusters[q]
        seeded(rng, turn.key, one)
        update(place, arrays, one, progress, rng, turn.number, room)


@compiled()
def _update_all(place: Any, arrays: Any, progress: Any, colours: Any, key: Any, number: int) -> None:
    """Update all clusters, colour by colour."""
    for colour in range(len(colours.start) - 1):
        clusters = colours.order[colours.start[colour] : colours.start[colour + 1]]
        _update_some(place, arrays, progress, Turn(clusters, key, number + colour), 0, 1)


def sweep(conf: Configuration, colours: Colours, progress: Progress, stream: Stream, team: Team) -> None:
    """Update all clusters, those of a colour side by side; ``conf`` and ``progress`` change."""
    place, arrays, key, number = conf.place, conf.arrays.part(SweepArrays), stream.key, stream.path[-1]
    if team.size == 1:  # the same, but for the way from here and back for each colour
        _update_all(place, arrays, progress, colours, key, number)
        return
    for colour, clusters in enumerate(np.split(colours.order, colours.start[1:-1])):
        turn = Turn(clusters, key, number + colour)
        team.share(partial(_update_some, place, arrays, progress, turn), len(clusters), least=LEAST)

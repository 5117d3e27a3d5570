"""What an update of a block sees, and what a move of it is worth; compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.stereo import dihedral_cosine
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.nonbonded import special_energy, usual_pair
from dbm_gmx.forcefield.terms import term_energy, term_rows
from dbm_gmx.sampling.energy import charge_energy, dispersion_energy
from dbm_gmx.sampling.neighbours import at_home, image, near_any


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
    stiffness: Any
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
    tied_start: Any
    tied: Any
    centre_start: Any
    centre: Any
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
    tried_start, tried
        (instances,) where the moves of each begin in (k, 3): tries, acceptances and effective candidates.
    """

    steps: Any
    gained: Any
    tried_start: Any
    tried: Any


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
def inner_energy(positions: Any, arrays: Any, first: int, move: int) -> float:
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
def outer_energy(positions: Any, arrays: Any, first: int, move: int, surroundings: Any) -> float:
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
def bead_energy(place: Any, arrays: Any, at: Any, move: int, workspace: Any) -> float:
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
            total += arrays.stiffness[bead] * value * value
        share += end - begin
    return 0.5 * total


@compiled(forceinline=True)
def inside(place: Any, arrays: Any, at: Any, move: int) -> bool:
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
def states_of(positions: Any, arrays: Any, first: int, move: int) -> int:
    """The states of the bonds that a move must not turn over, a bit for each."""
    states = 0
    for q in range(arrays.held_start[move], arrays.held_start[move + 1]):
        i, j, k, m = arrays.held[q, 0], arrays.held[q, 1], arrays.held[q, 2], arrays.held[q, 3]
        cosine = dihedral_cosine(positions, (first + i, first + j, first + k, first + m))
        states = 2 * states + (1 if cosine > 0.0 else 0)
    return states


# --- atoms of a move --------------------------------------------------------------------------------


@compiled(forceinline=True)
def copy_moved(positions: Any, arrays: Any, first: int, move: int, into: Any) -> None:
    """Copy the positions of the atoms of a move."""
    begin = arrays.moved_start[move]
    for q in range(begin, arrays.moved_start[move + 1]):
        for d in range(3):
            into[q - begin, d] = positions[first + arrays.moved[q], d]


@compiled(forceinline=True)
def put_moved(positions: Any, arrays: Any, first: int, move: int, places: Any) -> None:
    """Put the atoms of a move to places."""
    begin = arrays.moved_start[move]
    for q in range(begin, arrays.moved_start[move + 1]):
        for d in range(3):
            positions[first + arrays.moved[q], d] = places[q - begin, d]


@compiled(forceinline=True)
def displace(offsets: Any, arrays: Any, first: int, move: int, new: Any) -> None:
    """Note the new offsets of the beads of a move."""
    begin = arrays.shifted_start[move]
    for q in range(begin, arrays.shifted_start[move + 1]):
        for d in range(3):
            offsets[first + arrays.shifted[q], d] = new[q - begin, d]

"""What a move of a block is worth; compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.stereo import dihedral_cosine
from dbm_gmx.chemistry.vectors import arm, dot
from dbm_gmx.chemistry.virtual_sites import place_site
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.nonbonded import pair_parameters, special_energy, usual_pair
from dbm_gmx.forcefield.terms import term_energy, term_parameters, term_rows
from dbm_gmx.sampling.energy import pair_energy
from dbm_gmx.sampling.views import within_reach


class SweepArrays(NamedTuple):
    """What moves change and see, see :class:`~dbm_gmx.sampling.arrays.Arrays`."""

    constants: Any
    type: Any
    charge: Any
    molecule: Any
    bead: Any
    c6: Any
    c12: Any
    owned_start: Any
    owned: Any
    stiffness: Any
    form: Any
    atoms: Any
    parameters: Any
    tables: Any
    block_start: Any
    known_start: Any
    known: Any
    mobile: Any
    cluster_type_start: Any
    cluster_type: Any
    cluster_bead_start: Any
    cluster_bead: Any
    own_start: Any
    own: Any
    own_special_start: Any
    own_special: Any
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
    built_start: Any
    built: Any
    virtual: Any
    virtual_form: Any
    virtual_parameters: Any
    made_start: Any
    made_of: Any
    made_weight: Any
    instance_cluster: Any
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


class Instance(NamedTuple):
    """A cluster of blocks of one molecule: its number, first atom and first bead."""

    cluster: int
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
    first_move
        Of the cluster.
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
    first_move: int


# --- energies of a move ------------------------------------------------------------------------------


@compiled(forceinline=True)
def inner_energy(bonded: Any, arrays: Any, first: int, move: int) -> float:
    """Energy of terms and special pairs that a move changes, of positions as :func:`arm` takes them."""
    total = 0.0
    # a record's arrays are taken out of it once: in a loop that takes longer than a term
    form, parameters, tables, atoms = arrays.form, arrays.parameters, arrays.tables, arrays.atoms
    changed = arrays.changed
    for q in range(arrays.changed_start[move], arrays.changed_start[move + 1]):
        t = changed[q]
        rows = term_rows(atoms, t, first)
        total += term_energy(form[t], term_parameters(parameters, t), tables, bonded, rows)
    pair, special, constants = arrays.pair, arrays.pair_parameters, arrays.constants
    types, charge, c6, c12 = arrays.type, arrays.charge, arrays.c6, arrays.c12
    for q in range(arrays.pair_start[move], arrays.pair_start[move + 1]):
        i, j = first + pair[q, 0], first + pair[q, 1]
        apart = arm(bonded, j, i)
        r2 = dot(apart, apart)
        usual = usual_pair(types, charge, c6, c12, i, j)
        total += special_energy(constants, pair_parameters(special, q), usual, r2)
    return total


@compiled(forceinline=True)
def outer_energy(
    positions: Any, arrays: Any, first: int, move: int, view: Any, ceiling: float = math.inf
) -> float:
    """Energy of the atoms of a move with all that the block sees; atom by atom until above a ceiling."""
    centre = view.centre
    total = 0.0
    for q in range(arrays.moved_start[move], arrays.moved_start[move + 1]):
        atom, slot = first + arrays.moved[q], arrays.slot[q]
        x = np.float32(positions[atom, 0] - centre[0])
        y = np.float32(positions[atom, 1] - centre[1])
        z = np.float32(positions[atom, 2] - centre[2])
        coefficients = view.c6[slot], view.c12[slot], view.charge
        count = within_reach(view, x, y, z)
        total += pair_energy(
            (x, y, z), arrays.charge[atom], view.around, coefficients, count, arrays.constants
        )
        if total > ceiling:
            break
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
def states_of(bonded: Any, arrays: Any, first: int, move: int) -> int:
    """The states of the bonds that a move must not turn over, a bit for each."""
    states = 0
    for q in range(arrays.held_start[move], arrays.held_start[move + 1]):
        i, j, k, m = arrays.held[q, 0], arrays.held[q, 1], arrays.held[q, 2], arrays.held[q, 3]
        cosine = dihedral_cosine(bonded, (first + i, first + j, first + k, first + m))
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
def place_built(positions: Any, arrays: Any, first: int, move: int) -> None:
    """Put the virtual sites in place that a move does not take along as they are."""
    for q in range(arrays.built_start[move], arrays.built_start[move + 1]):
        place_site(positions, arrays, arrays.built[q], first)


@compiled(forceinline=True)
def displace(offsets: Any, arrays: Any, first: int, move: int, new: Any) -> None:
    """Note the new offsets of the beads of a move."""
    begin = arrays.shifted_start[move]
    for q in range(begin, arrays.shifted_start[move + 1]):
        for d in range(3):
            offsets[first + arrays.shifted[q], d] = new[q - begin, d]

"""The atoms of a cluster brought together, where its molecule is bonded to images of its own; compiled.

Moves turn and shift atoms about each other.  They work on a copy of the positions in which the atoms a
cluster has to do with are those next to its bead.  Which images these are the beads say, which do not move:
so the way there and back changes no distribution.  Energies of bonds and of pairs within a molecule are in
any case those of nearest images.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.vectors import step_to
from dbm_gmx.compiled import compiled
from dbm_gmx.sampling.arrays import Place


class Room(NamedTuple):
    """Copies of all positions and beads, of which a cluster uses its own.

    Attributes
    ----------
    shared
        The positions that are copied.
    positions, beads
        (n, 3), (m, 3) nm.
    step
        (n, 3) nm, by how much the copies are moved.
    """

    shared: Any
    positions: Any
    beads: Any
    step: Any


@compiled(makes_arrays=True)
def make_room(place: Any, lattice: Any) -> Any:
    """Room for clusters, one after the other; ``None`` where there is no lattice and no need of it."""
    if lattice is None:
        return None
    empty = np.empty_like(place.positions)
    return Room(place.positions, empty, np.empty_like(place.beads), np.empty_like(place.positions))


@compiled(makes_arrays=True, forceinline=True)
def brought_together(place: Any, arrays: Any, at: Any, view: Any, room: Any) -> Any:
    """The place with the atoms of a cluster next to its bead; its view is made to fit."""
    if room is None:
        return place
    where, first = (place, arrays.bead, view.centre, room), at.first_atom
    begin_known, end_known = arrays.known_start[at.cluster], arrays.known_start[at.cluster + 1]
    _fetch(where, first, arrays.known[begin_known:end_known])
    begin = arrays.move_start[arrays.block_start[at.cluster]]
    end = arrays.move_start[arrays.block_start[at.cluster + 1]]
    _fetch(where, first, arrays.first[begin:end])
    _fetch(where, first, arrays.second[begin:end])
    for t in arrays.changed[arrays.changed_start[begin] : arrays.changed_start[end]]:
        _fetch(where, first, arrays.atoms[t])
    for q in range(arrays.pair_start[begin], arrays.pair_start[end]):
        _fetch(where, first, arrays.pair[q])
    for q in range(arrays.tied_start[begin], arrays.tied_start[end]):
        _fetch(where, first, arrays.tied[q])
    for q in range(arrays.held_start[begin], arrays.held_start[end]):
        _fetch(where, first, arrays.held[q])
    for q in range(arrays.centre_start[begin], arrays.centre_start[end]):
        _fetch(where, first, arrays.centre[q])
    for v in arrays.built[arrays.built_start[begin] : arrays.built_start[end]]:
        _fetch(where, first, arrays.made_of[arrays.made_start[v] : arrays.made_start[v + 1]])
    for q in range(arrays.cluster_bead_start[at.cluster], arrays.cluster_bead_start[at.cluster + 1]):
        bead = at.first_bead + arrays.cluster_bead[q]
        step = step_to(place.lattice, view.centre, place.beads[bead])
        for d in range(3):
            room.beads[bead, d] = place.beads[bead, d] + step[d]
    for e in range(len(view.moving)):
        atom = first + arrays.known[begin_known + view.moving[e]]
        for d in range(3):
            view.shift[e, d] -= room.step[atom, d]
    return Place(
        room.positions,
        place.offsets,
        room.beads,
        place.radius,
        place.cell,
        place.reach,
        place.near_start,
        place.near,
        place.shift,
        place.lattice,
    )


@compiled()
def _fetch(where: Any, first: int, atoms: Any) -> None:
    """Copy atoms of a molecule to where their beads are nearest to a centre; numbers below 0 are none."""
    place, bead, centre, room = where
    for number in atoms:
        if number < 0:
            continue
        atom = first + number
        step = step_to(place.lattice, centre, place.beads[bead[atom]])
        for d in range(3):
            room.step[atom, d] = step[d]
            room.positions[atom, d] = place.positions[atom, d] + step[d]


@compiled(forceinline=True)
def put_back(arrays: Any, at: Any, room: Any) -> None:
    """Move the atoms of a cluster in the positions that all share."""
    if room is None:
        return
    for k in range(arrays.known_start[at.cluster], arrays.known_start[at.cluster + 1]):
        if arrays.mobile[k]:
            atom = at.first_atom + arrays.known[k]
            for d in range(3):
                room.shared[atom, d] = room.positions[atom, d] - room.step[atom, d]

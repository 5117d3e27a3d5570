"""What the blocks of a cluster see: the atoms around a bead, the nearest first; compiled.

Atoms are gathered once for all blocks of a cluster.  Those that its blocks move stand in front and are
brought up to date for each block; all others follow in shells about the bead, so that an atom near the bead
looks at those only that it can reach.  What a block does not see (its own atoms, and their special partners,
which are counted with its moves) has coefficients of 0 as long as the block is at work.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.vectors import step_to
from dbm_gmx.compiled import compiled
from dbm_gmx.sampling.neighbours import at_home, image, near_any, within

SHELLS, THICK = 24, 0.05
"""Shells beyond the cut-off from the bead, and their thickness, nm; the last one has no end."""

ROUNDED = 1e-4
"""nm that single precision may be off."""

SEEN, PARTNER, OWN = range(3)
"""What a block sees, what it does not see where it is, and what it does not see in any image."""


class View(NamedTuple):
    """What the blocks of a cluster see.

    Attributes
    ----------
    centre
        (3,) nm, the bead.
    around, charge
        (3, n) float32 x, y, z relative to the centre, and (n,) charge of the atoms.
    c6, c12
        (types of the cluster, n) coefficients with each.
    end
        (shells,) how many atoms are in this shell or before it.
    moving, shift
        (m,) places in ``known`` of the first atoms, which the blocks move, and (m, 3) nm of their images;
        with a lattice, where special partners can be near in several images, of all that are known.
    listed
        (known,) where other special partners are among the atoms, or -1.
    hidden
        (known,) what the block at work does not see.
    """

    centre: Any
    around: Any
    charge: Any
    c6: Any
    c12: Any
    end: Any
    moving: Any
    shift: Any
    listed: Any
    hidden: Any


@compiled(forceinline=True)
def _place_among(known: Any, row: int) -> int:
    """Place of a row among sorted ones, or -1."""
    low, high = 0, len(known)
    while low < high:
        middle = (low + high) // 2
        if known[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low if low < len(known) and known[low] == row else -1


@compiled(makes_arrays=True)
def look_around(place: Any, arrays: Any, at: Any, beads: Any) -> View:
    """All that blocks see whose atoms are those of some beads, the first one in the middle.

    Returns
    -------
    A view in which nothing is shown yet of what the blocks move, see :func:`show`.
    """
    steps = steps_of(place, beads, place.lattice)
    centre, limit = place.beads[beads[0]], np.float32(_limit(place, arrays, beads, steps))
    rows, moved = _rows_near(place, beads, steps)
    first_known, end_known = arrays.known_start[at.cluster], arrays.known_start[at.cluster + 1]
    known, mobile = arrays.known[first_known:end_known], arrays.mobile[first_known:end_known]
    molecule, first_atom = arrays.molecule[at.first_atom], at.first_atom
    most = 1
    for q in rows:
        most += arrays.owned_start[place.near[q] + 1] - arrays.owned_start[place.near[q]]
    loose, types, shell = np.empty((4, most), np.float32), np.empty(most, np.int32), np.empty(most, np.int32)
    moving, shift, listed = np.empty(most, np.int64), np.empty((most, 3)), np.full(len(known), -1, np.int64)
    end, m, k = np.zeros(SHELLS, np.int64), 0, 0
    inside, thin = np.float32(arrays.constants.reach + ROUNDED - THICK), np.float32(1.0 / THICK)
    for number in range(len(rows)):
        q = rows[number]
        ox, oy, oz = _shift_of(place, q, moved, number)
        sx, sy, sz = ox - centre[0], oy - centre[1], oz - centre[2]
        first, last = arrays.owned_start[place.near[q]], arrays.owned_start[place.near[q] + 1]
        related = first < last and arrays.molecule[arrays.owned[first]] == molecule
        same = at_home(place.shift[q])
        for r in range(first, last):
            atom = arrays.owned[r]
            x = np.float32(place.positions[atom, 0] + sx)
            y = np.float32(place.positions[atom, 1] + sy)
            z = np.float32(place.positions[atom, 2] + sz)
            far = x * x + y * y + z * z
            # written in any case: whether it is kept no processor can guess
            loose[0, k], loose[1, k], loose[2, k], loose[3, k] = x, y, z, arrays.charge[atom]
            types[k] = arrays.type[atom]
            shell[k] = min(max(int((np.sqrt(far) - inside) * thin), 0), SHELLS - 1)
            kept = far < limit
            if related:
                found = _place_among(known, atom - first_atom)
                if found >= 0 and (mobile[found] or place.lattice is not None):
                    moving[m] = found
                    kept &= False
                    shift[m, 0], shift[m, 1], shift[m, 2] = ox, oy, oz
                    m += 1
                elif found >= 0 and same and kept:
                    listed[found] = k
            end[shell[k]] += kept
            k += int(kept)
    around, charge, c6, c12 = _sorted(arrays, at, loose, types[:k], shell, end, m, listed)
    hidden = np.full(len(known), SEEN, np.int8)
    return View(centre, around, charge, c6, c12, end, moving[:m], shift[:m], listed, hidden)


@compiled(makes_arrays=True)
def steps_of(place: Any, beads: Any, lattice: Any) -> Any:
    """(beads, 3) nm that bring beads to the images next to the first one; ``None`` without a lattice."""
    if lattice is None:
        return None
    steps = np.empty((len(beads), 3))
    for b in range(len(beads)):
        steps[b, 0], steps[b, 1], steps[b, 2] = step_to(lattice, place.beads[beads[0]], place.beads[beads[b]])
    return steps


@compiled(makes_arrays=True)
def _rows_near(place: Any, beads: Any, steps: Any) -> Any:
    """Rows of ``place.near`` with all that is near one of some beads, and what they are moved by with it.

    Of beads that are brought together, see :func:`steps_of`, the same image can be near several.
    """
    if steps is None:
        return near_any(place, beads), None
    space, n = 0, 0
    for bead in beads:
        space += place.near_start[bead + 1] - place.near_start[bead]
    rows, moved = np.empty(space, np.int64), np.empty((space, 3))
    for b in range(len(beads)):
        for q in range(place.near_start[beads[b]], place.near_start[beads[b] + 1]):
            x, y, z = image(place, place.shift[q])
            x, y, z = x + steps[b, 0], y + steps[b, 1], z + steps[b, 2]
            before = False
            for earlier in range(b):
                from_it = x - steps[earlier, 0], y - steps[earlier, 1], z - steps[earlier, 2]
                before |= within(place, beads[earlier], place.near[q], from_it, place.reach)
            if not before:
                rows[n] = q
                moved[n, 0], moved[n, 1], moved[n, 2] = steps[b, 0], steps[b, 1], steps[b, 2]
                n += 1
    return rows[:n], moved[:n]


@compiled(forceinline=True)
def _shift_of(place: Any, row: int, moved: Any, number: int) -> Any:
    """What is to be added to the given positions of an image, nm."""
    x, y, z = image(place, place.shift[row])
    if moved is None:
        return x, y, z
    return x + moved[number, 0], y + moved[number, 1], z + moved[number, 2]


@compiled(forceinline=True)
def _limit(place: Any, arrays: Any, beads: Any, steps: Any) -> float:
    """Square of the radius about the first bead that holds all that atoms of the beads can reach, nm^2."""
    # a sphere that no move can change: around all places the atoms may be at
    widest = 0.0
    for b in range(len(beads)):
        own = beads[b]
        dx = place.beads[own, 0] - place.beads[beads[0], 0]
        dy = place.beads[own, 1] - place.beads[beads[0], 1]
        dz = place.beads[own, 2] - place.beads[beads[0], 2]
        if steps is not None:
            dx, dy, dz = dx + steps[b, 0], dy + steps[b, 1], dz + steps[b, 2]
        widest = max(widest, math.sqrt(dx * dx + dy * dy + dz * dz) + place.radius[own])
    return (widest + arrays.constants.reach) ** 2


@compiled(forceinline=True, makes_arrays=True)
def _sorted(
    arrays: Any, at: Any, loose: Any, types: Any, shell: Any, end: Any, first: int, listed: Any
) -> Any:
    """Atoms by shell behind the ``first``, with their coefficients; ``end``, ``listed`` change with them."""
    following, total = np.empty(SHELLS, np.int64), first
    for s in range(SHELLS):
        following[s] = total
        total += end[s]
        end[s] = total
    begin = arrays.cluster_type_start[at.cluster]
    count = arrays.cluster_type_start[at.cluster + 1] - begin
    around, charge = np.empty((3, total), np.float32), np.empty(total, np.float32)
    c6, c12 = np.empty((count, total), np.float32), np.empty((count, total), np.float32)
    target, kind = np.empty(len(types), np.int64), np.empty(total, np.int32)
    for k in range(len(types)):
        to = following[shell[k]]
        following[shell[k]] = to + 1
        target[k], kind[to] = to, types[k]
        around[0, to], around[1, to], around[2, to], charge[to] = (
            loose[0, k],
            loose[1, k],
            loose[2, k],
            loose[3, k],
        )
    for s in range(count):
        own = arrays.cluster_type[begin + s]
        for to in range(first, total):
            c6[s, to], c12[s, to] = arrays.c6[own, kind[to]], arrays.c12[own, kind[to]]
    for p in range(len(listed)):
        if listed[p] >= 0:
            listed[p] = target[listed[p]]
    return around, charge, c6, c12


@compiled()
def show(place: Any, arrays: Any, at: Any, block: int, view: View) -> None:
    """Show a view to a block: what it does not see is hidden, what other blocks have moved is moved."""
    first_known = arrays.known_start[at.cluster]
    for q in range(arrays.own_special_start[block], arrays.own_special_start[block + 1]):
        place_of = arrays.own_special[q]
        view.hidden[place_of] = PARTNER
        if view.listed[place_of] >= 0:
            _set(arrays, at, view, view.listed[place_of], -1)
    for q in range(arrays.own_start[block], arrays.own_start[block + 1]):
        view.hidden[arrays.own[q]] = OWN
    for e in range(len(view.moving)):
        known = view.moving[e]
        atom = at.first_atom + arrays.known[first_known + known]
        home = view.shift[e, 0] == 0.0 and view.shift[e, 1] == 0.0 and view.shift[e, 2] == 0.0
        if place.lattice is not None:  # of all images one is within reach, and that is the special partner
            home = True
        seen = view.hidden[known] == SEEN or (view.hidden[known] == PARTNER and not home)
        _set(arrays, at, view, e, atom if seen else -1)
        for d in range(3):
            view.around[d, e] = place.positions[atom, d] + view.shift[e, d] - view.centre[d]


@compiled()
def hide(arrays: Any, at: Any, block: int, view: View) -> None:
    """Take back what a block was shown, for the next one."""
    first_known = arrays.known_start[at.cluster]
    for q in range(arrays.own_special_start[block], arrays.own_special_start[block + 1]):
        known = arrays.own_special[q]
        view.hidden[known] = SEEN
        if view.listed[known] >= 0:
            _set(arrays, at, view, view.listed[known], at.first_atom + arrays.known[first_known + known])
    for q in range(arrays.own_start[block], arrays.own_start[block + 1]):
        view.hidden[arrays.own[q]] = SEEN


@compiled(forceinline=True)
def _set(arrays: Any, at: Any, view: View, entry: int, atom: int) -> None:
    """Let an entry act as an atom does, or not at all (-1)."""
    begin = arrays.cluster_type_start[at.cluster]
    view.charge[entry] = arrays.charge[atom] if atom >= 0 else 0.0
    for s in range(len(view.c6)):
        own = arrays.cluster_type[begin + s]
        view.c6[s, entry] = arrays.c6[own, arrays.type[atom]] if atom >= 0 else 0.0
        view.c12[s, entry] = arrays.c12[own, arrays.type[atom]] if atom >= 0 else 0.0


@compiled(forceinline=True)
def within_reach(view: View, x: Any, y: Any, z: Any) -> int:
    """How many of the first atoms of a view hold all that an atom there can reach."""
    shell = int(math.sqrt(x * x + y * y + z * z) / THICK) + 1
    return view.end[min(shell, SHELLS - 1)]

"""Colours: things of one colour do not see each other and are changed side by side, compiled.

What sees what is said by the beads of each: it sees all beads that are near its own.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.compiled import compiled

WORD = 64
"""Colours in a word."""


class Owners(NamedTuple):
    """The beads of what is coloured.

    Attributes
    ----------
    start, bead
        Ranges of beads within a molecule, of each sort of thing.
    sort, first_bead
        (instances,) of which sort each is, and the first bead of its molecule.
    """

    start: Any
    bead: Any
    sort: Any
    first_bead: Any


@compiled(makes_arrays=True)
def colour_instances(neighbours: Any, owners: Any, late: Any) -> Any:
    """Colours of all instances: those of one colour do not see each other.

    Parameters
    ----------
    neighbours
        The frame.
    owners
        See :class:`Owners`.
    late
        (sorts,) those that have colours of their own, after all others: of what takes so long that threads
        would wait for each other.

    Returns
    -------
    (instances,) colours from 0, the smallest that is free, instance by instance.
    """
    colour = np.full(len(owners.sort), -1, np.int64)
    # of each bead, a bit for each colour near it
    taken = np.zeros((len(neighbours.near_start) - 1, 1), np.uint64)
    taken = _colour_some(neighbours, owners, late, False, colour, taken)
    _colour_some(neighbours, owners, late, True, colour, taken)
    return colour


@compiled(makes_arrays=True)
def _colour_some(neighbours: Any, owners: Any, late: Any, which: bool, colour: Any, taken: Any) -> Any:
    """Colour the late ones or all others; returns what is taken near each bead."""
    first = colour.max() + 1 if len(colour) else 0
    for one in range(len(colour)):
        sort = owners.sort[one]
        if late[sort] == which:
            own = owners.bead[owners.start[sort] : owners.start[sort + 1]]
            colour[one], taken = _colour_one(neighbours, own, owners.first_bead[one], first, taken)
    return taken


@compiled(forceinline=True, makes_arrays=True)
def _colour_one(neighbours: Any, beads: Any, first_bead: int, first: int, taken: Any) -> Any:
    """The smallest colour from ``first`` on that is free near beads of a molecule; then it is taken there."""
    free = _free_colour(taken, beads, first_bead, first)
    if free >= WORD * taken.shape[1]:
        wider = np.zeros((len(taken), 2 * taken.shape[1]), np.uint64)
        wider[:, : taken.shape[1]] = taken
        taken = wider
    bit = np.uint64(1) << np.uint64(free % WORD)
    for own in beads:
        bead = first_bead + own
        for q in range(neighbours.near_start[bead], neighbours.near_start[bead + 1]):
            taken[neighbours.near[q], free // WORD] |= bit
    return free, taken


@compiled(forceinline=True)
def _free_colour(taken: Any, beads: Any, first_bead: int, first: int) -> int:
    for word in range(first // WORD, taken.shape[1]):
        near = np.uint64(0)
        for bead in beads:
            near |= taken[first_bead + bead, word]
        for k in range(WORD):
            if WORD * word + k >= first and not (near >> np.uint64(k)) & np.uint64(1):
                return WORD * word + k
    return max(first, WORD * taken.shape[1])


def colour_order(colour: IntArray) -> tuple[IntArray, IntArray]:
    """Ranges of instances of each colour, and the instances in that order."""
    order = np.argsort(colour, kind="stable")
    return np.searchsorted(colour[order], np.arange(colour.max(initial=-1) + 2)), order

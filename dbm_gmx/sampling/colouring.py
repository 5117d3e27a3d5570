"""Colours: things of one colour do not see each other and are changed side by side, compiled.

What sees what is said by the beads of each: it sees all beads that are near its own.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.compiled import compiled

WORD = 64
"""Colours in a word."""


@compiled()
def colour_blocks(neighbours: Any, blocks: Any, instances: Any, windows: Any) -> Any:
    """Colours of all instances: those of one colour do not see each other.

    Parameters
    ----------
    neighbours, blocks, instances
        The frame and what is updated.
    windows
        (blocks,) those that anneal a window.  They have colours of their own, after all others: they take so
        long that threads would wait for each other.

    Returns
    -------
    (instances,) colours from 0, the smallest that is free, instance by instance.
    """
    colour = np.full(len(instances.instance_block), -1, np.int64)
    # of each bead, a bit for each colour near it
    taken = np.zeros((len(neighbours.near_start) - 1, 16), np.uint64)
    taken = _colour_some(neighbours, blocks, instances, windows, False, (colour, taken))
    _colour_some(neighbours, blocks, instances, windows, True, (colour, taken))
    return colour


@compiled()
def _colour_some(neighbours: Any, blocks: Any, instances: Any, windows: Any, which: bool, known: Any) -> Any:
    """Colour the windows or all others; returns what is taken near each bead."""
    colour, taken = known
    first = colour.max() + 1 if len(colour) else 0
    for one in range(len(colour)):
        block, first_bead = instances.instance_block[one], instances.instance_bead[one]
        if windows[block] == which:
            own = blocks.own_bead[blocks.own_bead_start[block] : blocks.own_bead_start[block + 1]]
            colour[one], taken = _colour_one(neighbours, own, first_bead, first, taken)
    return taken


@compiled()
def colour_windows(neighbours: Any, start: Any, beads: Any) -> Any:
    """Colours (k,) of windows with beads in ranges ``start`` (k + 1,), as for :func:`colour_blocks`."""
    colour = np.empty(len(start) - 1, np.int64)
    taken = np.zeros((len(neighbours.near_start) - 1, 1), np.uint64)
    for one in range(len(colour)):
        own = beads[start[one] : start[one + 1]]
        colour[one], taken = _colour_one(neighbours, own, 0, 0, taken)
    return colour


@compiled(forceinline=True)
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

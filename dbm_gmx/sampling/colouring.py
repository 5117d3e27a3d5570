"""Colours of blocks: those of one colour do not see each other and are updated side by side, compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.compiled import compiled


@compiled()
def colour_blocks(neighbours: Any, blocks: Any, instances: Any, bead_blocks: Any, windows: Any) -> Any:
    """Colours of all instances: those of one colour do not see each other.

    Parameters
    ----------
    neighbours, blocks, instances
        The frame and what is updated.
    bead_blocks
        Instances that move atoms of each bead, see :func:`~dbm_gmx.sampling.arrays.blocks_of_beads`.
    windows
        (blocks,) those that anneal a window.  They have colours of their own, after all others: they take so
        long that threads would wait for each other.

    Returns
    -------
    (instances,) colours from 0, the smallest that is free, instance by instance.
    """
    colour = np.full(len(instances.instance_block), -1, np.int64)
    _colour_some(neighbours, blocks, instances, bead_blocks, windows, False, colour)
    _colour_some(neighbours, blocks, instances, bead_blocks, windows, True, colour)
    return colour


@compiled()
def _colour_some(
    neighbours: Any, blocks: Any, instances: Any, bead_blocks: Any, windows: Any, which: bool, colour: Any
) -> None:
    """Colour the windows or all others."""
    (start, listed), first = bead_blocks, colour.max() + 1 if len(colour) else 0
    used = np.full(1024, -1, np.int64)
    for one in range(len(colour)):
        block, first_bead = instances.instance_block[one], instances.instance_bead[one]
        if windows[block] != which:
            continue
        for b in range(blocks.own_bead_start[block], blocks.own_bead_start[block + 1]):
            bead = first_bead + blocks.own_bead[b]
            for q in range(neighbours.near_start[bead], neighbours.near_start[bead + 1]):
                other = neighbours.near[q]
                for r in range(start[other], start[other + 1]):
                    taken = colour[listed[r]]
                    if taken >= 0:
                        if taken >= len(used):
                            longer = np.full(2 * taken, -1, np.int64)
                            longer[: len(used)] = used
                            used = longer
                        used[taken] = one
        free = first
        while free < len(used) and used[free] == one:
            free += 1
        colour[one] = free


def colour_order(colour: IntArray) -> tuple[IntArray, IntArray]:
    """Ranges of instances of each colour, and the instances in that order."""
    order = np.argsort(colour, kind="stable")
    return np.searchsorted(colour[order], np.arange(colour.max(initial=-1) + 2)), order

"""Colours of blocks: those of one colour do not see each other and are updated side by side, compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.compiled import compiled


@compiled()
def colour_blocks(
    neighbours: Any, blocks: Any, instances: Any, bead_blocks_start: Any, bead_blocks: Any
) -> Any:
    """Colours of all instances: those of one colour do not see each other.

    Parameters
    ----------
    neighbours, blocks, instances
        The frame and what is updated.
    bead_blocks_start, bead_blocks
        Instances that move atoms of each bead, see :func:`~dbm_gmx.sampling.arrays.blocks_of_beads`.

    Returns
    -------
    (instances,) colours from 0, the smallest that is free, instance by instance.
    """
    count = len(instances.instance_block)
    colour = np.full(count, -1, np.int64)
    used = np.full(1024, -1, np.int64)
    for one in range(count):
        block, first_bead = instances.instance_block[one], instances.instance_bead[one]
        for b in range(blocks.own_bead_start[block], blocks.own_bead_start[block + 1]):
            bead = first_bead + blocks.own_bead[b]
            for q in range(neighbours.near_start[bead], neighbours.near_start[bead + 1]):
                other = neighbours.near[q]
                for r in range(bead_blocks_start[other], bead_blocks_start[other + 1]):
                    taken = colour[bead_blocks[r]]
                    if taken >= 0:
                        if taken >= len(used):
                            longer = np.full(2 * taken, -1, np.int64)
                            longer[: len(used)] = used
                            used = longer
                        used[taken] = one
        free = 0
        while free < len(used) and used[free] == one:
            free += 1
        colour[one] = free
    return colour


def colour_order(colour: IntArray) -> tuple[IntArray, IntArray]:
    """Ranges of instances of each colour, and the instances in that order."""
    order = np.argsort(colour, kind="stable")
    return np.searchsorted(colour[order], np.arange(colour.max(initial=-1) + 2)), order

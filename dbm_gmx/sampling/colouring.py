"""Blocks that can be updated side by side, compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.compiled import compiled
from dbm_gmx.sampling.arrays import Tables


@compiled()
def colour_blocks(place: Any, tables: Any, bead_blocks_start: Any, bead_blocks: Any) -> Any:
    """Colours of all instances: those of one colour do not see each other.

    Parameters
    ----------
    bead_blocks_start, bead_blocks
        Instances that move atoms of each bead.

    Returns
    -------
    (instances,) colours from 0, the smallest that is free, instance by instance.
    """
    count = len(tables.instance)
    colour = np.full(count, -1, np.int64)
    used = np.full(1024, -1, np.int64)
    for one in range(count):
        block, first_bead = tables.instance[one], tables.bead_of[one]
        for b in range(tables.bead_start[block], tables.bead_start[block + 1]):
            bead = first_bead + tables.bead[b]
            for q in range(place.near_start[bead], place.near_start[bead + 1]):
                other = place.near[q]
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


def blocks_of_beads(tables: Tables, n_beads: int) -> tuple[IntArray, IntArray]:
    """Ranges of instances that move atoms of each bead, and the instances in that order."""
    counts = np.diff(tables.bead_start)[tables.instance]
    owner = np.repeat(np.arange(len(tables.instance)), counts)
    begin = np.repeat(tables.bead_start[tables.instance] - np.cumsum(counts) + counts, counts)
    beads = tables.bead_of[owner] + tables.bead[begin + np.arange(counts.sum())]
    order = np.argsort(beads, kind="stable")
    return np.searchsorted(beads[order], np.arange(n_beads + 1)), owner[order]

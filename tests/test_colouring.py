"""Clusters of blocks that are updated side by side see nothing of each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from exact import MIXED, mixture, start
from systems import Example

from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.options import Conditions


@pytest.mark.parametrize("system_of", ["octane", "mixture", "flat"])
def test_clusters_of_a_colour_do_not_meet(octane: Example, system_of: str) -> None:
    # brute force: no atom of one within the cut-off of where any atom of the other can be, in any image
    box = MIXED * 1.7
    if system_of == "octane":
        made, atoms, box = octane.system, octane.atoms.astype(np.float64), octane.box
    elif system_of == "flat":
        box = np.diag([7.0, 0.9, 0.8])
        made, atoms = mixture(box)
    else:
        made, atoms = mixture(box)
    conditions = Conditions(rvdw=0.5, rcoulomb=0.4, spread=0.003)
    chain = start(made, conditions, atoms, box)
    arrays, neighbours = chain.conf.arrays, chain.conf.neighbours
    clusters, blocks, moves, instances = arrays.clusters, arrays.blocks, arrays.moves, arrays.instances
    starts, order = chain.colours
    assert sorted(order) == list(range(len(instances.instance_cluster)))
    assert len(starts) - 1 < len(order)  # some are independent
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = shifts @ neighbours.cell
    apart = neighbours.beads[:, None] - neighbours.beads
    shortest = np.full(apart.shape[:2], np.inf)
    home = minimum_image(apart, box)
    for image in images:
        np.minimum(shortest, np.linalg.norm(home + image, axis=-1), out=shortest)
    gap = shortest - neighbours.radius[:, None] - neighbours.radius
    reach = arrays.constants.reach
    checked = 0
    for first, last in pairwise(starts):
        group = order[first:last]
        spheres, written = [], []
        for one in group:
            cluster, first_bead = instances.instance_cluster[one], instances.instance_bead[one]
            first_block, end_block = clusters.block_start[cluster : cluster + 2]
            owned = blocks.own_bead[blocks.own_bead_start[first_block] : blocks.own_bead_start[end_block]]
            spheres.append(first_bead + np.unique(owned))
            own = range(blocks.move_start[first_block], blocks.move_start[end_block])
            weighed = [moves.shifted[moves.shifted_start[m] : moves.shifted_start[m + 1]] for m in own]
            written.append(set((first_bead + np.concatenate(weighed)).tolist()))
        for a in range(len(group)):
            for b in range(a):
                assert gap[np.ix_(spheres[a], spheres[b])].min() >= reach
                assert not written[a] & written[b]
                checked += 1
    assert checked > 3

"""Colours of clusters of blocks, compiled.

Those of one colour do not see each other and are updated side by side.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.compiled import compiled


@compiled()
def colour_clusters(neighbours: Any, clusters: Any, instances: Any, bead_clusters: Any, windows: Any) -> Any:
    """Colours of all instances: those of one colour do not see each other.

    Parameters
    ----------
    neighbours, clusters, instances
        The frame and what is updated.
    bead_clusters
        Instances that move atoms of each bead, see :func:`~dbm_gmx.sampling.arrays.clusters_of_beads`.
    windows
        (clusters,) those that anneal a window.  They have colours of their own, after all others: they take
        so long that threads would wait for each other.

    Returns
    -------
    (instances,) colours from 0, the smallest that is free, instance by instance.
    """
    colour = np.full(len(instances.instance_cluster), -1, np.int64)
    _colour_some(neighbours, clusters, instances, bead_clusters, windows, False, colour)
    _colour_some(neighbours, clusters, instances, bead_clusters, windows, True, colour)
    return colour


@compiled()
def _colour_some(
    neighbours: Any, clusters: Any, instances: Any, bead_clusters: Any, windows: Any, which: bool, colour: Any
) -> None:
    """Colour the windows or all others."""
    (start, listed), first = bead_clusters, colour.max() + 1 if len(colour) else 0
    used = np.full(1024, -1, np.int64)
    for one in range(len(colour)):
        cluster, first_bead = instances.instance_cluster[one], instances.instance_bead[one]
        if windows[cluster] != which:
            continue
        for b in range(clusters.cluster_bead_start[cluster], clusters.cluster_bead_start[cluster + 1]):
            bead = first_bead + clusters.cluster_bead[b]
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

"""Nucleosides in a molecular graph, and the chirality of their sugars in DNA and RNA.

A sugar is known by its bonds, whatever its atoms and residues are called: a ring of four carbons and an
oxygen, a nitrogen (of the base) on one carbon beside that oxygen, and on the other a carbon (5') with oxygen.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbm_gmx.chemistry.amino_acids import Order, states_in_order
from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, hydrogens


def usual_sugars(moltype: MoleculeType, centres: IntArray) -> dict[int, int]:
    """The chirality that centres of nucleosides usually have: beta-D-ribose, or its deoxy form.

    Parameters
    ----------
    centres
        (c, 5) see :func:`~dbm_gmx.chemistry.stereo.stereocentres`.

    Returns
    -------
    1 or -1 by row of ``centres``; rows of other centres are left out.
    """
    return states_in_order(centres, _right_handed(moltype))


def _right_handed(moltype: MoleculeType) -> Iterator[tuple[int, Order]]:
    """Each centre of a sugar with three neighbours in right-handed order, seen from it."""
    graph, elements, light = chemical_graph(moltype), moltype.elements, hydrogens(moltype)

    def outside(ring: tuple[int, ...], i: int) -> list[int]:
        return [j for j in graph[i] if not light[j] and j not in ring]

    for ring in _rings(moltype):
        oxygen, first, second, third, fourth = ring
        base, tail = outside(ring, first), outside(ring, fourth)
        if [elements[i] for i in base] != ["N"] or [elements[i] for i in tail] != ["C"]:
            continue
        if not any(elements[i] == "O" for i in graph[tail[0]]):
            continue
        yield first, (oxygen, second, base[0])
        yield fourth, (oxygen, tail[0], third)
        for centre, before, after in ((second, third, first), (third, fourth, second)):
            on = outside(ring, centre)
            if [elements[i] for i in on] == ["O"]:
                yield centre, (before, after, on[0])


def _rings(moltype: MoleculeType) -> Iterator[tuple[int, int, int, int, int]]:
    """Rings of an oxygen and four carbons, in both directions."""
    graph, elements = chemical_graph(moltype), moltype.elements
    for oxygen in (i for i in graph if elements[i] == "O" and graph.degree(i) == 2):
        for first, fourth in (tuple(graph[oxygen]), tuple(graph[oxygen])[::-1]):
            for second in graph[first]:
                for third in set(graph[second]) & set(graph[fourth]):
                    ring = (oxygen, first, second, third, fourth)
                    if len(set(ring)) == len(ring) and all(elements[i] == "C" for i in ring[1:]):
                        yield ring

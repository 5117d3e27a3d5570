"""Spheres about the beads: how far from its bead an atom can be."""

from __future__ import annotations

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.virtual_sites import VirtualSites, made_of, reach_of_site, real_graph, virtual_sites
from dbm_gmx.forcefield.forms import CUBIC, DISTANCE, FENE, MORSE, QUARTIC
from dbm_gmx.forcefield.hamiltonian import MoleculeHamiltonian
from dbm_gmx.sampling.arrays import Arrays

UNKNOWN_BOND = 0.2
"""Length of a bond to which the topology gives none, nm."""

DISJOINT = 1.0
"""Distance between parts of a molecule that no bond joins, nm."""

FARTHEST = 5.0
"""Path along the bonds that is looked for, nm: keeps the work on long chains in bounds."""

NEAR = 0.8
"""Path that is looked for first, nm: few beads have atoms that are further apart."""

SLACK = 0.03
"""Added to each radius, nm, besides five widths of the bead restraint."""


def bond_lengths(molecule: MoleculeHamiltonian) -> tuple[IntArray, FloatArray]:
    """Bonds (b, 2) of atoms and their lengths (b,), nm; :data:`UNKNOWN_BOND` where the topology has none."""
    terms = molecule.terms
    known = {
        frozenset((int(i), int(j))): float(p[0])
        for form, (i, j, *_), p in zip(terms.form, terms.atoms, terms.parameters, strict=True)
        if form in (DISTANCE, QUARTIC, MORSE, CUBIC, FENE)  # FENE: the longest
    }
    bonds = [(int(i), int(j)) for i, j in real_graph(molecule.moltype).edges]
    lengths = [known.get(frozenset(bond), UNKNOWN_BOND) for bond in bonds]
    return np.array(bonds, np.int64).reshape(-1, 2), np.array(lengths, np.float64)


def reach_of_beads(molecule: MoleculeHamiltonian) -> FloatArray:
    """How far from each bead the atoms it owns can be.

    The mean distance to the atoms that make the mapped centre, along the bonds between them at full length,
    is never less than the distance to the centre itself.

    Returns
    -------
    (beads,) nm.
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(molecule.moltype.n_atoms))
    for (i, j), length in zip(*(values.tolist() for values in bond_lengths(molecule)), strict=True):
        graph.add_edge(i, j, length=length)
    _add_sites(graph, virtual_sites(molecule.moltype))
    weights, owner = molecule.weights.tocsr(), molecule.mapping.owner
    slack = 5 * molecule.width + SLACK
    reach = slack.copy()
    for atom in range(molecule.moltype.n_atoms):
        share = weights[owner[atom]]
        paths = _paths(graph, atom, NEAR)
        if not paths.keys() >= set(share.indices.tolist()):
            paths = _paths(graph, atom, FARTHEST)
        mean = sum(
            part * paths.get(int(i), DISJOINT) for i, part in zip(share.indices, share.data, strict=True)
        )
        reach[owner[atom]] = max(reach[owner[atom]], mean + slack[owner[atom]])
    return reach


def _add_sites(graph: nx.Graph, sites: VirtualSites) -> None:
    """Join virtual sites to the first of their atoms, as far as they can be from it."""
    for v, site in enumerate(sites.virtual.tolist()):
        first = int(made_of(sites, v)[0])
        paths = _paths(graph, first, FARTHEST)
        apart = np.array([paths.get(int(i), DISJOINT) for i in made_of(sites, v)])
        graph.add_edge(first, site, length=reach_of_site(sites, v, apart))


def _paths(graph: nx.Graph, atom: int, cutoff: float) -> dict[int, float]:
    """Lengths of the paths from an atom to all within a distance along the bonds, nm."""
    found: dict[int, float] = nx.single_source_dijkstra_path_length(
        graph, atom, cutoff=cutoff, weight="length"
    )
    return found


def widened(radius: FloatArray, arrays: Arrays, positions: FloatArray, beads: FloatArray) -> FloatArray:
    """(m,) radii, wider where a bead has an atom further away, nm; positions (n, 3), beads (m, 3)."""
    wider = radius.copy()
    owner = arrays.atoms.bead
    far = np.linalg.norm(positions - beads[owner], axis=1)
    np.maximum.at(wider, owner, np.where(far > radius[owner], far * 1.05, 0.0))
    return wider

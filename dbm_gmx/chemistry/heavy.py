"""The molecular graph without hydrogens, which go with the atoms they are on."""

from __future__ import annotations

from collections import Counter

import networkx as nx

from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, is_stand_in, own_masses


def heavy_graph(moltype: MoleculeType) -> nx.Graph:
    """Atoms of a molecule type but hydrogens.

    Returns
    -------
    A graph of rows in the order of the file, nodes with ``element``, ``hydrogens`` (how many are atoms of
    their own), ``mass`` (amu, with that of the hydrogens) and ``residue`` (its number, from 0).
    """
    graph, nodes = chemical_graph(moltype), moltype.graph.nodes
    heavy, masses = nx.Graph(), own_masses(moltype.graph).tolist()
    number, last = -1, None
    for i in graph:
        residue = nodes[i]["resid"], nodes[i]["resname"]
        number, last = number + (residue != last), residue
        element, mass = nodes[i]["element"], masses[i]
        alone = element == "H" and not any(nodes[j]["element"] != "H" for j in graph[i])
        unknown = element == "" and mass > 2 and not is_stand_in(moltype.graph, i)
        if element not in ("H", "") or unknown or alone:
            on = [j for j in graph[i] if nodes[j]["element"] == "H"]
            mass += sum(masses[j] for j in on)
            heavy.add_node(i, element=element, hydrogens=len(on), mass=mass, residue=number)
    heavy.add_edges_from((i, j) for i, j in graph.edges if i in heavy and j in heavy)
    return heavy


def is_united(heavy: nx.Graph) -> bool:
    """Whether there are carbons whose hydrogens are no atoms, or no hydrogens at all."""
    carbons = [data for _, data in heavy.nodes(data=True) if data["element"] == "C" and not data["hydrogens"]]
    return any(data["mass"] > 12.5 for data in carbons)


def signature(heavy: nx.Graph) -> Counter[tuple[str, int]]:
    """Elements and numbers of neighbours: those of the same molecule are the same."""
    return Counter((heavy.nodes[i]["element"], heavy.degree(i)) for i in heavy)

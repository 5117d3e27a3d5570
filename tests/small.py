"""Small molecules of atoms and of beads, and systems of them."""

from __future__ import annotations

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import MoleculeType, Topology

MASS = {"C": 12.011, "H": 1.008, "O": 15.999, "N": 14.007, "P": 30.974, "S": 32.06}


def moltype(name: str, residues: list[tuple[str, list[str]]]) -> MoleculeType:
    """A molecule whose atoms are bonded one after the other."""
    graph = nx.Graph()
    for number, (resname, atoms) in enumerate(residues, 1):
        for atom in atoms:
            element = atom.lstrip("0123456789")[0]
            data = {"name": atom, "type": element, "element": element, "mass": MASS[element], "charge": 0.0}
            graph.add_node(len(graph), **data, resid=number, resname=resname)
    graph.add_edges_from(zip(range(len(graph) - 1), range(1, len(graph)), strict=True), kind="bond")
    return MoleculeType(name, 3, graph)


def water(name: str) -> MoleculeType:
    return moltype(name, [(name, ["OW", "HW1", "HW2"])])


def ion(name: str, element: str = "N") -> MoleculeType:
    graph = nx.Graph()
    data = {"name": name, "type": name, "element": element, "mass": 23.0, "charge": 1.0}
    graph.add_node(0, **data, resid=1, resname=name)
    return MoleculeType(name, 1, graph)


def beads(name: str, names: list[str]) -> MoleculeType:
    graph = nx.Graph()
    for i, bead in enumerate(names):
        data = {"name": bead, "type": bead, "element": "", "mass": 72.0, "charge": 0.0}
        graph.add_node(i, **data, resid=1, resname=name)
    return MoleculeType(name, 1, graph)


def topology(*molecules: tuple[MoleculeType, int]) -> Topology:
    return Topology({m.name: m for m, _ in molecules}, tuple((m.name, count) for m, count in molecules))


ALKANES = topology((moltype("ALK", [("ALK", ["C1"] + ["H"] * 25)]), 4))
"""Something to write; of the size of octane."""


def moving(number: int) -> Frame:
    """A frame of it, with atoms anywhere."""
    rng = np.random.default_rng(number)
    positions = rng.uniform(0, 3, (ALKANES.n_atoms, 3)).astype(np.float32)
    return Frame(positions, np.diag([3.0, 3.0, 3.0]), time=2.0 * number, step=number, index=number)


TIP4P_WATER = """[ moleculetype ]
SOL 1
[ atoms ]
1 OW 1 SOL OW  1  0.0     15.9994
2 HW 1 SOL HW1 1  0.5564   1.008
3 HW 1 SOL HW2 1  0.5564   1.008
4 MW 1 SOL MW  1 -1.1128   0.0
[ constraints ]
1 2 1 0.09572
1 3 1 0.09572
2 3 1 0.15139
[ virtual_sites3 ]
4 1 2 3 1 0.13193828 0.13193828
[ exclusions ]
1 2 3 4
2 1 3 4
3 1 2 4
4 1 2 3
"""
"""A molecule type whose fourth site has the charge of the oxygen."""

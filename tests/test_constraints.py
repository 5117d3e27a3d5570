"""Which bonds have a fixed length."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dbm_gmx.chemistry.topology import MoleculeType, Terms
from dbm_gmx.forcefield.constraints import fixed_bonds, shake


def methanol() -> MoleculeType:
    """Heavy: carbon with two hydrogens and a deuterium, oxygen with one deuterium more."""
    graph = nx.Graph()
    for i, (element, mass) in enumerate(
        [("C", 12.011), ("O", 15.999), ("H", 1.008), ("H", 1.008), ("D", 2.014), ("D", 2.014)]
    ):
        graph.add_node(i, name=f"{element}{i}", type=element, element=element, mass=mass, charge=0.0)
    atoms = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 5]])
    graph.add_edges_from(atoms.tolist(), kind="bond")
    parameters = np.array([[0.143, 3e5], [0.109, 3e5], [0.109, 3e5], [0.109, 3e5], [0.095, 4e5]])
    return MoleculeType("MOH", 3, graph, (Terms("bonds", 1, atoms, parameters),))


@pytest.mark.parametrize(
    ("constraints", "held"),
    [
        ("none", []),
        ("h-bonds", [(0, 2), (0, 3), (0, 4), (1, 5)]),
        ("all-bonds", [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]),
    ],
)
def test_deuterium_is_a_hydrogen(constraints: str, held: list[tuple[int, int]]) -> None:
    pairs, lengths = fixed_bonds(methanol(), constraints)
    assert [tuple(p) for p in pairs.tolist()] == held
    expected = {(0, 1): 0.143, (1, 5): 0.095}
    assert lengths.tolist() == [expected.get(p, 0.109) for p in held]


def test_shake_gives_bonds_their_length_and_keeps_the_centre_of_mass() -> None:
    """A hydrogen goes most of the way to its carbon: the forces of a constraint are equal and opposite."""
    rng = np.random.default_rng(3)
    mass, bonds = np.array([12.011, 1.008, 1.008, 15.999]), np.array([[0, 1], [2, 0], [0, 3]])
    length = np.array([0.109, 0.109, 0.143])
    positions = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.12, 0], [0, 0, 0.15]]) + rng.normal(0, 0.01, (4, 3))
    before, centre = positions.copy(), mass @ positions
    shake(positions, bonds, length, mass, 1e-8, 200)
    ends = positions[bonds]
    np.testing.assert_allclose(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1), length, rtol=1e-7)
    np.testing.assert_allclose(mass @ positions, centre, atol=1e-9)
    assert np.abs(positions - before).max() > 0.001

"""Which bonds have a fixed length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import systems

from dbm_gmx.chemistry.interactions import INTERACTIONS
from dbm_gmx.chemistry.topology import MoleculeType, Terms
from dbm_gmx.errors import InputError
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield.constraints import fixed_bonds, h_bond_notes, shake, without_bonds
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import CONSTRAINTS, Conditions


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
        ("h-bonds", [(0, 2), (0, 3)]),
        ("all-bonds", [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]),
    ],
)
def test_hydrogens_of_constraints_are_those_by_name(constraints: str, held: list[tuple[int, int]]) -> None:
    """GROMACS asks for a name with H: D4 and D5 are hydrogens, but their bonds vibrate."""
    pairs, lengths = fixed_bonds(methanol(), constraints)
    assert [tuple(p) for p in pairs.tolist()] == held
    expected = {(0, 1): 0.143, (1, 5): 0.095}
    assert lengths.tolist() == [expected.get(p, 0.109) for p in held]


def test_names_that_do_not_say_the_element_are_said() -> None:
    """Both kinds: hydrogens of another name, and names with H of other elements."""
    moltype = methanol()
    (note,) = h_bond_notes(moltype)
    assert "2 bonds are not fixed, the first C0-D4" in note
    moltype.graph.nodes[0]["name"] = "HC"  # its bonds to O and D4, D5 beside
    said = h_bond_notes(moltype)
    assert "1 bonds are not fixed, the first O1-D5" in said[0]
    assert "1 bonds are fixed, the first HC-O1" in said[1]
    for i in range(6):
        moltype.graph.nodes[i]["name"] = f"{moltype.elements[i]}{i}".replace("D", "H")
    assert h_bond_notes(moltype) == ()


@pytest.mark.parametrize("function", [5, 6, 7, 8, 9, 10])
@pytest.mark.parametrize("constraints", CONSTRAINTS)
def test_only_some_forms_of_bonds_can_be_fixed(function: int, constraints: str) -> None:
    """What is harmonic without being a chemical bond (6), and forms without one length, stay as they are."""
    moltype, count = methanol(), INTERACTIONS["bonds"][function].parameters
    other = Terms("bonds", function, np.array([[2, 5]]), np.full((1, count), 0.3))
    both = replace(moltype, terms=(*moltype.terms, other))
    pairs, _ = fixed_bonds(both, constraints)
    assert pairs.tolist() == fixed_bonds(moltype, constraints)[0].tolist()
    assert without_bonds(other, np.array([[2, 5]])) is other


@pytest.mark.parametrize("function", [1, 2, 3, 4])
def test_forms_of_chemical_bonds_are_fixed_at_their_length(function: int) -> None:
    moltype, count = methanol(), INTERACTIONS["bonds"][function].parameters
    terms = Terms("bonds", function, moltype.terms[0].atoms, np.full((5, count), 0.2))
    made = replace(moltype, terms=(terms,))
    pairs, lengths = fixed_bonds(made, "all-bonds")
    assert len(pairs) == 5
    assert lengths.tolist() == [0.2] * 5
    assert not len(without_bonds(terms, pairs).atoms)


@pytest.mark.parametrize("function", [1, 2])
def test_two_lengths_of_one_pair_are_refused(function: int) -> None:
    moltype = methanol()
    again = Terms("constraints", function, np.array([[1, 0]]), np.array([[0.15]]))
    both = replace(moltype, terms=(*moltype.terms, again))
    assert fixed_bonds(both, "h-bonds")[0].tolist() == [[0, 1], [0, 2], [0, 3]]
    with pytest.raises(InputError, match=r"MOH: atoms 1 \(C0\) and 2 \(O1\) .* 0.143 and 0.15 nm"):
        fixed_bonds(both, "all-bonds")


@pytest.mark.parametrize(("function", "length"), [("5", False), ("6 0.15 1000", True), ("1 0.15 1000", True)])
def test_a_chemical_bond_without_a_length_is_refused(function: str, length: bool, tmp_path: Path) -> None:
    """Where a bond of type 5 is all there is, nothing would hold its atoms together."""
    (tmp_path / "x.top").write_text(
        "[ defaults ]\n1 2 yes 0.5 0.8\n[ atomtypes ]\nCT 6 12.011 0.0 A 0.3 0.4\n[ moleculetype ]\nM 3\n"
        "[ atoms ]\n1 CT 1 M C1 1\n2 CT 1 M C2 2\n3 CT 1 M C3 3\n[ bonds ]\n1 2 1 0.15 1000\n2 3 5\n"
        f"2 3 {function}\n[ system ]\nx\n[ molecules ]\nM 1\n"
    )
    topology = read_topology(tmp_path / "x.top")
    moltype = topology.molecule_types["M"]
    made = systems.system((moltype, systems.mapping(moltype, [0, 0, 0], "A"), 1))
    made = replace(made, topology=topology)
    if length:
        assert len(make_hamiltonian(made, Conditions(constraints="none")).molecules["M"].special) == 3
        return
    with pytest.raises(InputError, match=r"nothing says the length of the bond 2-3 \(C2-C3"):
        make_hamiltonian(made, Conditions())


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

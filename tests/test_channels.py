"""Atom classes from the graph, channel files, feature vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from scaling import exponent
from systems import alkane, chain, mapping, molecule, ring, system

from dbm_gmx.chemistry.atom_classes import atom_classes
from dbm_gmx.chemistry.topology import MoleculeType, chemical_bonds, chemical_graph, heavy_atoms
from dbm_gmx.errors import InputError
from dbm_gmx.network.channels import (
    Channels,
    channels_from_plain,
    classes_of,
    default_channels,
    feature_table,
    read_channels,
)


def benzene_with(*more: str, bonds: list[tuple[int, int]], hydrogens: list[int]) -> MoleculeType:
    """A benzene ring of the first six atoms and what hangs on it."""
    return molecule(["C"] * 6 + list(more), ring(6) + bonds, hydrogens)


TOLUENE = benzene_with("C", bonds=[(0, 6)], hydrogens=[0, 1, 1, 1, 1, 1, 3])
CUMENE = benzene_with("C", "C", "C", bonds=[(0, 6), (6, 7), (6, 8)], hydrogens=[0, 1, 1, 1, 1, 1, 1, 3, 3])
NAPHTHALENE = molecule(["C"] * 10, [*ring(10), (0, 5)], [0, 1, 1, 1, 1, 0, 1, 1, 1, 1])
# the middle ring of fluorene has a CH2, those at its sides are aromatic
FLUORENE = molecule(["C"] * 13, [*ring(13), (1, 6), (7, 12)], [2, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0])


@pytest.mark.parametrize(
    ("moltype", "expected"),
    [
        (alkane(8), ["C4"] * 8),
        (TOLUENE, ["C3a"] * 6 + ["C4"]),
        (CUMENE, ["C3a"] * 6 + ["C4"] * 3),
        (NAPHTHALENE, ["C3a"] * 10),
        (FLUORENE, ["C4r"] + ["C3a"] * 12),
        (molecule(["C"] * 6, ring(6), [2] * 6), ["C4r"] * 6),
        (molecule(["C", "O", "C"], chain(3), [3, 0, 3]), ["C4", "O2", "C4"]),
        (molecule(["C", "O"], chain(2), [3, 1]), ["C4", "O2"]),
        (molecule(["C", "O"], chain(2), [2, 0]), ["C3", "O1"]),
        (molecule(["O"], [], [2]), ["O2"]),
        (molecule(["O"] + ["C"] * 4, ring(5), [0, 2, 2, 2, 2]), ["O2r"] + ["C4r"] * 4),
    ],
    ids=lambda value: value.name if isinstance(value, MoleculeType) else "-".join(value),
)
def test_classes_of_heavy_atoms_are_element_neighbours_and_ring(moltype, expected):
    assert list(atom_classes(moltype)[: len(expected)]) == expected


@pytest.mark.parametrize(
    ("hetero", "hydrogens", "expected"),
    [("N", 1, "N3a"), ("O", 0, "O2a"), ("S", 0, "S2a"), ("C", 2, "C4r")],
    ids=["pyrrole", "furan", "thiophene", "cyclopentadiene"],
)
def test_five_rings_are_aromatic_when_every_member_can_be_flat(hetero, hydrogens, expected):
    classes = atom_classes(molecule([hetero] + ["C"] * 4, ring(5), [hydrogens, 1, 1, 1, 1]))
    assert classes[:5] == (expected, *["C3" + expected[-1]] * 4)


def test_rings_of_more_than_seven_or_fewer_than_five_are_not_aromatic():
    assert set(atom_classes(molecule(["C"] * 8, ring(8), [1] * 8))[:8]) == {"C3r"}
    assert set(atom_classes(molecule(["C"] * 3, ring(3), [1] * 3))[:3]) == {"C3r"}
    assert set(atom_classes(molecule(["C"] * 7, ring(7), [1] * 7))[:7]) == {"C3a"}


def test_carbons_of_two_neighbours_make_no_aromatic_ring():
    assert set(atom_classes(molecule(["C"] * 6, ring(6)))) == {"C2r"}


def test_united_atoms_carry_their_hydrogens():
    butane = molecule(["C"] * 4, chain(4), [3, 2, 2, 3], united=True)
    assert atom_classes(butane) == ("CH3_1", "CH2_2", "CH2_2", "CH3_1")
    methanol = molecule(["C", "O"], chain(2), [3, 0], united=True)
    assert atom_classes(methanol) == ("CH3_1", "O1")


def test_united_rings_are_aromatic_by_the_hydrogens_they_hide():
    # as many bonds in the ring; what tells them apart is the hydrogens in the masses
    toluene = molecule(["C"] * 7, [*ring(6), (0, 6)], [0, 1, 1, 1, 1, 1, 3], united=True)
    cyclic = molecule(["C"] * 7, [*ring(6), (0, 6)], [1, 2, 2, 2, 2, 2, 3], united=True)
    assert atom_classes(toluene) == ("C3a", *["CH1_2a"] * 5, "CH3_1")
    assert atom_classes(cyclic) == ("CH1_3r", *["CH2_2r"] * 5, "CH3_1")


def test_hydrogens_are_named_by_what_they_sit_on():
    def hydrogens(moltype: MoleculeType) -> list[str]:
        return [c for c, e in zip(atom_classes(moltype), moltype.elements, strict=True) if e == "H"]

    assert hydrogens(TOLUENE) == ["H@C3a"] * 5 + ["H@C4"] * 3
    assert hydrogens(molecule(["C", "O"], chain(2), [3, 1])) == ["H@C4"] * 3 + ["H@O2"]
    assert hydrogens(molecule(["C", "N"], chain(2), [3, 2])) == ["H@C4"] * 3 + ["H@N3"] * 2
    assert hydrogens(molecule(["H", "H"], chain(2))) == ["H@H1"] * 2


def test_deuterium_is_named_as_hydrogen_is():
    heavy_methanol = molecule(["C", "O"], chain(2), [3, 1])
    expected = atom_classes(heavy_methanol)
    for i in range(2, 6):
        heavy_methanol.graph.nodes[i].update(element="D", mass=2.014)
    assert atom_classes(heavy_methanol) == expected
    assert heavy_atoms(heavy_methanol).tolist() == [True, True, *[False] * 4]


def test_a_site_without_mass_is_neither_a_hydrogen_by_name_nor_heavy():
    moltype = molecule(["C", "O"], chain(2), [3, 1])
    moltype.graph.nodes[5].update(element="", mass=0.0, type="MW")
    assert atom_classes(moltype, {"MW": "site"})[5] == "site"
    assert heavy_atoms(moltype).tolist() == [True, True, *[False] * 4]


def test_the_chemical_graph_is_made_once_and_cannot_be_changed():
    moltype = molecule(["C", "O"], chain(2), [3, 0])
    moltype.graph.add_node(5, element="", mass=0.0)
    moltype.graph.add_edge(5, 0, kind="virtual")
    graph = chemical_graph(moltype)
    assert graph is chemical_graph(moltype)
    assert list(graph) == list(range(6))
    assert not graph[5]
    assert chemical_bonds(moltype).tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]
    with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
        graph.remove_node(5)
    with pytest.raises(ValueError, match="read-only"):
        chemical_bonds(moltype)[0] = 1


def test_classes_do_not_depend_on_the_order_of_atoms_or_on_other_parts():
    moltype, rng = FLUORENE, np.random.default_rng(0)
    new = [int(i) for i in rng.permutation(moltype.n_atoms)]
    graph = nx.Graph()
    for i in np.argsort(new).tolist():
        graph.add_node(new[i], **moltype.graph.nodes[i])
    graph.add_edges_from((new[i], new[j]) for i, j in moltype.graph.edges)
    graph.add_node(moltype.n_atoms, **{**moltype.graph.nodes[0], "element": "N"})  # bound to nothing
    classes = atom_classes(MoleculeType("MIX", 3, graph))
    assert [classes[new[i]] for i in range(moltype.n_atoms)] == list(atom_classes(moltype))
    assert classes[-1] == "N0"


def polystyrene(units: int) -> MoleculeType:
    monomer = [(0, 1), (1, 2), *((i + 2, j + 2) for i, j in ring(6))]
    bonds = [(8 * m + i, 8 * m + j) for m in range(units) for i, j in [*monomer, (1, 8)]][:-1]
    return molecule(["C"] * 8 * units, bonds, [2, 1, 0, 1, 1, 1, 1, 1] * units)


def test_time_for_the_classes_of_a_polymer_goes_with_its_length():
    """A basis of all its cycles would take the third power of the length."""
    chains = {units: polystyrene(units) for units in (25, 100, 400)}
    assert exponent(lambda units: atom_classes(chains[units]), 25, 400) < 1.7
    classes = atom_classes(chains[100])
    assert classes.count("C3a") == 600
    assert classes.count("H@C3a") == 500


def test_unknown_elements_are_listed_and_can_be_named_by_type():
    moltype = molecule(["C", "O", "C"], chain(3), [3, 0, 3])
    for i in (0, 2):
        moltype.graph.nodes[i].update(element="", type="XQ")
    with pytest.raises(InputError, match=r"MOL.*1 C1 \(type XQ\), 3 C3 \(type XQ\).*\[classes\]"):
        atom_classes(moltype)
    classes = atom_classes(moltype, {"XQ": "C4"})
    assert classes == ("C4", "O2", "C4", *["H@C4"] * 6)


def test_overrides_are_by_type_and_go_before_the_graph():
    moltype = molecule(["C", "O"], chain(2), [3, 1])
    assert atom_classes(moltype, {"OT": "hydroxyl"})[1::4] == ("hydroxyl", "H@hydroxyl")
    assert set(atom_classes(moltype, {"HT": "proton"})) == {"C4", "O2", "proton"}


CHANNELS = """
[atoms]
carbon = ["C*"]
aromatic = ["*a"]
hydrogen = ["H@*"]

[bonded]
close = ["bond", "angle"]

[lennard_jones]
all = ["*"]

[beads]
A = ["A", "A?"]

[classes]
opls_135 = "C4"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "channels.toml"
    path.write_text(text)
    return path


def test_channel_files_are_read_and_written_as_plain_types(tmp_path):
    channels = read_channels(written(tmp_path, CHANNELS))
    names = ("atom:carbon", "atom:aromatic", "atom:hydrogen", "bonded:close", "lj:all", "bead:A")
    assert channels.names == names
    assert channels.width == 6
    assert channels.classes == {"opls_135": "C4"}
    assert channels_from_plain(channels.plain()) == channels
    automatic = default_channels(["C4", "H@C4"], ["A", "B"])
    assert channels_from_plain(automatic.plain()) == automatic


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[beads]",
            "[bead]",
            "unknown section bead; possible are atoms, bonded, lennard_jones, beads, current, neighbours, "
            "classes",
        ),
        ('"angle"]', '"pair"]', "unknown bonded role pair; possible are bond, angle, dihedral"),
        ('["C*"]', '"C*"', r"\[atoms\] carbon = 'C\*'; it takes a list of names"),
        ('["bond", "angle"]', "3", r"\[bonded\] close = 3; it takes a list of names"),
        ('"C4"', '["C4"]', r"\[classes\] opls_135 = \['C4'\]; it takes the name of a class"),
        ("[atoms]", "beads = 3\n[atoms]", "not a channel file"),
        ("[atoms]", "atoms", "not a channel file"),
    ],
)
def test_channel_files_with_mistakes_are_refused(tmp_path, old, new, message):
    path = written(tmp_path, CHANNELS.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        read_channels(path)
    assert caught.value.path == path


def test_a_section_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"beads is a section, \[beads\], not 3"):
        channels_from_plain({"beads": 3})


def test_files_that_are_no_channel_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_channels(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is a text in UTF-16"):
        read_channels(binary)


def vector(channels: Channels, row: np.ndarray) -> dict[str, float]:
    return {name: float(x) for name, x in zip(channels.names, row, strict=True) if x}


def test_patterns_put_several_classes_on_a_channel_and_a_class_on_several(tmp_path):
    channels = read_channels(written(tmp_path, CHANNELS))
    table = feature_table(channels, ["C4", "C3a", "H@C4"], ["A", "A2"])
    rows = dict(zip(table.classes, table.features, strict=False))
    assert vector(channels, rows["C4"]) == {"atom:carbon": 1, "lj:all": 1}
    assert vector(channels, rows["C3a"]) == {"atom:carbon": 1, "atom:aromatic": 1, "lj:all": 1}
    beads = table.features[table.bead_row :]
    assert [vector(channels, row) for row in beads] == [{"bead:A": 1}] * 4  # no channel for the current one


def test_the_current_bead_is_shown_once_more():
    table = feature_table(channels := default_channels(["C4"], ["A", "B"]), ["C4"], ["A", "B"])
    beads = [vector(channels, row) for row in table.features[table.bead_row :]]
    assert beads[:2] == [{"bead:A": 1}, {"bead:B": 1}]
    assert beads[2:] == [{"bead:A": 1, "current:bead": 1}, {"bead:B": 1, "current:bead": 1}]
    assert table.current_row == table.bead_row + 2


def test_heavy_neighbours_tell_ends_from_branches_where_channels_ask_for_them():
    """A class that has no channel of its own stays unknown."""
    isobutane = molecule(["C"] * 4, [(0, 1), (1, 2), (1, 3)], [3, 1, 3, 3])
    made = system((isobutane, mapping(isobutane, [0, 0, 0, 0], "A"), 1))
    plain = default_channels(["C4", "H@C4"], ["A"])
    asked = replace(plain, neighbours={"end": ["1"], "branch": ["3", "4"]})
    assert classes_of(made, plain) == {"MOL": ("C4",) * 4 + ("H@C4",) * 10}
    (classes,) = classes_of(made, asked).values()
    table = feature_table(asked, classes, ["A"])
    rows = [vector(asked, table.features[table.classes.index(c)]) for c in classes[:5]]
    carbon = {"atom:C4": 1, "lj:heavy": 1}
    branch = carbon | {"neighbours:branch": 1}
    end = carbon | {"neighbours:end": 1}
    assert rows == [end, branch, end, end, {"atom:H@C4": 1, "lj:hydrogen": 1}]
    with pytest.raises(InputError, match="no channel for atom class C4; it knows the atom classes H"):
        feature_table(replace(asked, atoms={"H": ["H*"]}), classes, ["A"])


def test_bonded_rows_show_the_role_and_take_excluded_lennard_jones_away():
    channels = default_channels(["C4", "H@C4"], ["A"])
    table = feature_table(channels, ["H@C4", "C4", "C4"], ["A"])
    assert table.classes == ("C4", "H@C4")
    rows = [vector(channels, row) for row in table.features[table.bonded_row : table.bead_row]]
    expected = []
    for role in ({"bonded:bond": 1}, {"bonded:angle": 1}, {"bonded:dihedral": 1}, {}):
        expected += [role, role, role | {"lj:heavy": -1}, role | {"lj:hydrogen": -1}]
    assert rows == expected


def test_names_with_wild_cards_stand_for_themselves():
    channels = default_channels(["C*", "CB", "N?"], ["[A]", "B"])
    table = feature_table(channels, ["C*", "CB", "N?"], ["[A]", "B"])
    assert [vector(channels, row) for row in table.features[:3]] == [
        {f"atom:{c}": 1, "lj:heavy": 1} for c in ("C*", "CB", "N?")
    ]


def test_everything_without_a_channel_is_listed_at_once():
    channels = default_channels(["C4"], ["A"])
    with pytest.raises(InputError) as caught:
        feature_table(channels, ["C4", "S2", "C3a"], ["A", "B"])
    for part in ("atom class C3a, atom class S2, bead type B", "atom classes C4", "bead types A"):
        assert part in caught.value.message


def test_every_element_but_hydrogen_is_heavy():
    channels = default_channels(["C4", "H@C4", "Cl1", "H_arom"], [])
    table = feature_table(channels, ["C4", "H@C4", "Cl1", "H_arom"], [])
    rows = dict(zip(table.classes, table.features, strict=False))
    shown = {c: [n for n in vector(channels, row) if n.startswith("lj:")] for c, row in rows.items()}
    assert shown == {c: ["lj:hydrogen" if c[0] == "H" else "lj:heavy"] for c in table.classes}

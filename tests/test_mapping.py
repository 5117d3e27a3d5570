"""Mappings: files, owners, alignment, positions, and the comparison of both resolutions."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from dbm_gmx.chemistry.mapping import (
    Mapping,
    bead_graph,
    default_alignment,
    derive_owners,
    map_positions,
)
from dbm_gmx.chemistry.matching import match_beads
from dbm_gmx.chemistry.periodic import make_whole, minimum_image
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.dbm_map import read_map
from dbm_gmx.files.mapping_writer import votca_text
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.owners import read_owners
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.votca import read_votca

MASS = {"C": 12.0, "H": 1.0, "O": 16.0}


def molecule(name="MOL", atoms="C1 H1 C2 C3", bonds=((0, 1), (0, 2), (2, 3)), *, resids=None, resname="MOL"):
    graph = nx.Graph()
    for i, atom in enumerate(atoms.split()):
        resid = 1 if resids is None else resids[i]
        element = atom[0]
        graph.add_node(
            i,
            name=atom,
            type=element,
            element=element,
            mass=MASS[element],
            charge=0.0,
            resid=resid,
            resname=resname,
        )
    graph.add_edges_from(bonds, kind="bond")
    return MoleculeType(name, 3, graph)


def topology(*moltypes, counts=None):
    counts = counts or [1] * len(moltypes)
    return Topology(
        {k.name: k for k in moltypes}, tuple((k.name, n) for k, n in zip(moltypes, counts, strict=True))
    )


def xml(beads, *, name="MOL", ident="MOL"):
    """``beads``: (name, type, atoms, weights); every bead has a map of its own."""
    rows = "\n".join(
        f"<cg_bead><name>{n}</name><type>{t}</type><mapping>M{i}</mapping>\n<beads>{a}</beads></cg_bead>"
        for i, (n, t, a, _) in enumerate(beads)
    )
    maps = "\n".join(f"<map><name>M{i}</name><weights>{b[3]}</weights></map>" for i, b in enumerate(beads))
    return (
        f"<cg_molecule><name>{name}</name><ident>{ident}</ident>\n<topology><cg_beads>\n{rows}\n</cg_beads>"
        f"</topology>\n<maps>\n{maps}\n</maps></cg_molecule>\n"
    )


TWO = [
    ("A1", "A", "1:MOL:C1 1:MOL:H1 1:MOL:C2", "12 1 6"),
    ("A2", "A", "1:MOL:C2 1:MOL:C3", "6 12"),
]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_weights_are_normalised_per_bead(tmp_path):
    path = write(tmp_path / "m.xml", xml(TWO))
    mapping = read_mappings([path], topology(molecule()))["MOL"]
    expected = [[12 / 19, 1 / 19, 6 / 19, 0], [0, 0, 6 / 18, 12 / 18]]
    np.testing.assert_allclose(mapping.weights.toarray(), expected)
    assert mapping.names == ("A1", "A2")
    assert mapping.types == ("A", "A")
    assert mapping.cg_molecule == ""


def test_cg_name_may_differ_from_ident(tmp_path):
    path = write(tmp_path / "m.xml", xml(TWO, name="MOLCG"))
    mapping = read_mappings([path], topology(molecule()))["MOL"]
    assert mapping.cg_molecule == "MOLCG"


def test_without_ident_the_name_is_taken(tmp_path):
    path = write(tmp_path / "m.xml", xml(TWO, ident=""))
    assert list(read_mappings([path], topology(molecule()))) == ["MOL"]


@pytest.mark.parametrize("resids", [[1, 1, 2, 2], [7, 7, 8, 8]])
def test_residues_count_from_one_whatever_the_topology_says(tmp_path, resids):
    moltype = molecule(atoms="C1 H1 C1 H1", resids=resids)
    beads = [("A", "A", "1:MOL:C1 1:MOL:H1", "12 1"), ("B", "B", "2:MOL:C1 2:MOL:H1", "12 1")]
    mapping = read_mappings([write(tmp_path / "m.xml", xml(beads))], topology(moltype))["MOL"]
    assert mapping.owner.tolist() == [0, 0, 1, 1]


def test_one_reading_of_residue_numbers_for_all_atoms(tmp_path):
    # As counts, 2 would be the second residue; only as the file's numbers are both 2 and 3 there.
    moltype = molecule(atoms="C1 H1 C1 H1", resids=[2, 2, 3, 3])
    beads = [("A", "A", "2:MOL:C1 2:MOL:H1", "12 1"), ("B", "B", "3:MOL:C1 3:MOL:H1", "12 1")]
    mapping = read_mappings([write(tmp_path / "m.xml", xml(beads))], topology(moltype))["MOL"]
    assert mapping.owner.tolist() == [0, 0, 1, 1]


def test_other_residue_numbers_only_where_unambiguous(tmp_path):
    renumbered = [(n, t, a.replace("1:MOL", "5:MOL"), w) for n, t, a, w in TWO]
    path = write(tmp_path / "m.xml", xml(renumbered))
    assert read_mappings([path], topology(molecule()))["MOL"].owner.tolist() == [0, 0, 0, 1]
    twice = molecule(atoms="C1 H1 C2 C3 C1 H1 C2 C3", resids=[1] * 4 + [2] * 4)
    with pytest.raises(InputError, match="5:MOL:C1"):
        read_mappings([path], topology(twice))


def test_atoms_that_share_names_have_numbers(tmp_path):
    """As propanol among the files of GROMACS: what is written is read again."""
    moltype = molecule(atoms="C H C C")
    beads = [("A1", "A", "1 2 3", "12 1 12"), ("A2", "A", "4", "12")]
    path = write(tmp_path / "m.xml", xml(beads))
    mapping = read_mappings([path], topology(moltype))["MOL"]
    assert mapping.owner.tolist() == [0, 0, 0, 1]
    again = write(tmp_path / "again.xml", votca_text(mapping, moltype))
    np.testing.assert_allclose(
        read_mappings([again], topology(moltype))["MOL"].weights.toarray(),
        mapping.weights.toarray(),
        atol=1e-6,
    )
    names = [("A1", "A", "1:MOL:C 1:MOL:H", "12 1"), ("A2", "A", "1:MOL:C", "12")]
    with pytest.raises(InputError, match="3 atoms; give numbers of atoms, 1 to 4"):
        read_mappings([write(tmp_path / "m.xml", xml(names))], topology(moltype))


def test_numbers_of_atoms_are_no_names_where_names_are_found(tmp_path):
    moltype = molecule()
    for i, name in enumerate("4321"):
        moltype.graph.nodes[i]["name"] = name
    path = write(tmp_path / "m.xml", xml([("A", "A", "4 3", "12 1"), ("B", "B", "2 1", "12 12")]))
    assert read_mappings([path], topology(moltype))["MOL"].owner.tolist() == [0, 0, 1, 1]


def test_atoms_of_two_residues_are_never_one_atom(tmp_path):
    beads = [("A", "A", "4:MOL:C1 4:MOL:H1 4:MOL:C2", "12 1 12"), ("B", "B", "5:MOL:C1 5:MOL:C3", "12 12")]
    with pytest.raises(InputError, match="5:MOL:C1"):
        read_mappings([write(tmp_path / "m.xml", xml(beads))], topology(molecule()))


@pytest.mark.parametrize(
    "weights", ["12 nan 6", "nan 1 6", "12 1 nan", "12 inf 6", "12 1 1e400", "12 -1e31 6"]
)
def test_weights_that_are_no_finite_numbers_are_refused(tmp_path, weights):
    """Whichever it is: the largest of numbers and none depends on their order."""
    beads = [("A1", "A", "1:MOL:C1 1:MOL:H1 1:MOL:C2", weights), *TWO[1:]]
    with pytest.raises(InputError, match="weights that do not add up to a finite number"):
        read_mappings([write(tmp_path / "m.xml", xml(beads))], topology(molecule()))


def test_everything_wrong_is_said_at_once(tmp_path):
    beads = [
        ("A1", "A", "1:MOL:C1 1:MOL:CX", "12 1"),
        ("A1", "A", "1:MOL:C2 1:MOL:C3", "12"),
        ("A3", "A", "1:MOL:C3 1:MOL:C3", "6 -6"),
    ]
    text = xml(beads).replace("<mapping>M0<", "<mapping>M9<")
    path = write(tmp_path / "m.xml", text)
    with pytest.raises(InputError) as error:
        read_mappings([path], topology(molecule()))
    said = str(error.value)
    for part in (
        "1:MOL:CX",
        "no map 'M9'",
        "1 weights for 2 atoms",
        "A1 is there already",
        "listed 2 times",
        "add up",
    ):
        assert part in said
    assert f"{path}:3" in said  # the line of the first bead
    assert error.value.path == path


def test_broken_xml_names_the_line(tmp_path):
    path = write(tmp_path / "m.xml", "<cg_molecule>\n<name>MOL\n</cg_molecule>")
    with pytest.raises(InputError) as error:
        read_votca(path)
    assert error.value.line == 3


def test_mapping_of_another_molecule_is_named(tmp_path):
    path = write(tmp_path / "m.xml", xml(TWO, name="ELSE", ident="OTHER"))
    with pytest.raises(InputError, match="no mapping of MOL; found those of OTHER/ELSE"):
        read_mappings([path], topology(molecule(atoms="C1 H1 C2 O3")))


def test_folder_with_other_xml(tmp_path):
    write(tmp_path / "settings.xml", "<cg><inverse/></cg>")
    write(tmp_path / "m.xml", xml(TWO))
    assert list(read_mappings([tmp_path], topology(molecule()))) == ["MOL"]
    with pytest.raises(InputError, match="cg_molecule"):
        read_mappings([tmp_path / "settings.xml"], topology(molecule()))


def test_two_mappings_of_one_molecule_are_refused(tmp_path):
    write(tmp_path / "a.xml", xml(TWO))
    write(tmp_path / "b.xml", xml(TWO))
    with pytest.raises(InputError, match=r"already, in .*a\.xml"):
        read_mappings([tmp_path], topology(molecule()))


def test_each_chain_of_a_melt_has_the_mapping_of_its_atoms(tmp_path, caplog):
    path = write(tmp_path / "m.xml", xml(TWO))
    write(tmp_path / "owners.txt", "A1 : 1 2\nA2 : 3 4\n")
    chains = topology(molecule(), molecule("MOL_2"), molecule("MOL_3"))
    with caplog.at_level(logging.INFO):
        mappings = read_mappings([path], chains)
    assert sorted(mappings) == ["MOL", "MOL_2", "MOL_3"]
    assert [mappings[name].molecule for name in ("MOL", "MOL_2")] == ["MOL", "MOL_2"]
    assert mappings["MOL_3"].owner.tolist() == [0, 0, 1, 1]
    assert "MOL_3: its atoms are those of the mapping in" in caplog.text
    other = molecule("MOL_2", "C1 H1 C2 O3")
    assert sorted(read_mappings([path], topology(molecule(), other))) == ["MOL"]


def test_a_mapping_of_no_molecule_type_is_of_the_one_with_its_atoms(tmp_path):
    path = write(tmp_path / "m.xml", xml(TWO, name="HEX", ident="Protein"))
    mappings = read_mappings([path], topology(molecule(), molecule("TWO", "C1 H1 C2 O3")))
    assert (sorted(mappings), mappings["MOL"].cg_molecule) == (["MOL"], "HEX")


def test_beads_of_another_number_have_a_mapping_of_their_own(tmp_path):
    write(tmp_path / "a.xml", xml(TWO, name="fine"))
    write(tmp_path / "b.xml", xml(TWO, name="rough"))
    mappings = read_mappings([tmp_path], topology(molecule()))
    assert [(m.molecule, m.cg_molecule) for m in mappings.values()] == [("MOL", "fine"), ("MOL", "rough")]


@pytest.mark.parametrize("ident", ["2 SOL", "SOL"])
def test_a_mapping_of_several_molecules(tmp_path, ident):
    water = molecule("SOL", "OW HW1", [(0, 1)], resname="SOL")
    beads = [("W", "W", "1:SOL:OW 1:SOL:HW1 2:SOL:OW 2:SOL:HW1", "16 1 16 1")]
    path = write(tmp_path / "w.xml", xml(beads, name="W", ident=ident))
    ((name, mapping),) = read_mappings([path], topology(water)).items()
    assert (name, mapping.molecule, mapping.parts, mapping.cg_molecule) == (
        "2 SOL",
        "2 SOL",
        (("SOL", 2),),
        "W",
    )
    np.testing.assert_allclose(mapping.weights.toarray(), np.array([[16, 1, 16, 1]]) / 34)


# --- owners -----------------------------------------------------------------------------------


def chain(n, element="C"):
    return molecule(
        atoms=" ".join(f"{element}{i}" for i in range(n)), bonds=[(i, i + 1) for i in range(n - 1)]
    )


def weights(rows, n):
    matrix = np.zeros((len(rows), n))
    for row, entries in enumerate(rows):
        for atom, weight in entries.items():
            matrix[row, atom] = weight
    return sp.csr_matrix(matrix / matrix.sum(axis=1, keepdims=True))


def test_shared_atom_is_a_tie_for_the_first_bead_however_heavy_the_beads():
    w = weights([{0: 12, 1: 12, 2: 6}, {2: 6, 3: 12}], 4)
    assert derive_owners(w, chain(4).graph).tolist() == [0, 0, 0, 1]


def test_one_atom_bead_keeps_its_atom():
    w = weights([{0: 12, 1: 6}, {1: 1}, {1: 6, 2: 12}], 3)
    assert derive_owners(w, chain(3).graph).tolist() == [0, 1, 2]


def test_shares_do_not_depend_on_hydrogens():
    moltype = molecule(atoms="C1 H1 C2 H2 C3", bonds=[(0, 1), (0, 2), (2, 3), (2, 4)])
    w = weights([{4: 12, 2: 6}, {0: 12, 1: 1, 2: 6, 3: 0.5}], 5)
    assert derive_owners(w, moltype.graph).tolist() == [1, 1, 0, 1, 0]


def test_weightless_atoms_go_to_the_nearest_ties_to_the_first_bead():
    w = weights([{0: 1}, {4: 1}], 7)
    assert derive_owners(w, chain(7).graph).tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_atom_without_weight_or_bond_is_an_error(tmp_path):
    moltype = molecule(atoms="C1 H1 C2 C3 O1")
    with pytest.raises(InputError, match=r"5 \(O1\)"):
        read_mappings([write(tmp_path / "m.xml", xml(TWO))], topology(moltype))


def test_an_owners_file_without_owners_is_refused(tmp_path):
    with pytest.raises(InputError, match="names no owners"):
        read_owners(write(tmp_path / "owners.txt", "; bead : atoms\n"))


def test_owners_file_beside_is_picked_up_and_a_given_one_wins(tmp_path):
    path = write(tmp_path / "m.xml", xml(TWO))
    write(tmp_path / "owners.txt", "; comment\nA1 : 1 2\nA2: 3 4 ; rest\n")
    top = topology(molecule())
    assert read_mappings([path], top)["MOL"].owner.tolist() == [0, 0, 1, 1]
    (tmp_path / "sub").mkdir()
    given = write(tmp_path / "sub" / "mine", "[ MOL ]\nA1 : 1\nA2 : 2 3 4\n")
    assert read_mappings([path], top, owners=[given])["MOL"].owner.tolist() == [0, 1, 1, 1]


def test_owners_of_several_molecules_need_headers(tmp_path):
    write(tmp_path / "a.xml", xml(TWO))
    write(tmp_path / "b.xml", xml(TWO, name="TWO", ident="TWO"))
    write(tmp_path / "owners.txt", "A1 : 1 2\nA2 : 3 4\n")
    top = topology(molecule(), molecule("TWO"))
    with pytest.raises(InputError, match=r"for which of MOL, TWO"):
        read_mappings([tmp_path], top)
    write(tmp_path / "owners.txt", "[ TWO ]\nA1 : 1 2\nA2 : 3 4\n")
    mappings = read_mappings([tmp_path], top)
    assert mappings["MOL"].owner.tolist() == [0, 0, 0, 1]
    assert mappings["TWO"].owner.tolist() == [0, 0, 1, 1]


def test_wrong_owners_are_all_listed(tmp_path):
    path = write(tmp_path / "m.xml", xml(TWO))
    write(tmp_path / "owners.txt", "A1 : 1 2\nA2 : 2 9\nA7 : 4\n")
    with pytest.raises(InputError) as error:
        read_mappings([path], topology(molecule()))
    for part in (
        "no bead A7",
        "atom 2 belongs to bead A1 and to bead A2",
        "atom 9 of",
        "without a bead: 3 4",
    ):
        assert part in str(error.value)


def test_owners_line_errors(tmp_path):
    with pytest.raises(InputError) as error:
        read_owners(write(tmp_path / "o", "A1 : 1 2\nA2 3 0\n"))
    assert error.value.line == 2


# --- deepBackmap .map ---------------------------------------------------------------------------

MAP = """[map]
1 C  1  A   extra
2 HX 1\tA
3 C  1  A ; comment
4 C  2  B
[/map]
[align]
;bead fixpoint
1 2
2 0
[/align]
[ mult ]
2 4
"""


def test_map_gives_owners_centre_of_mass_alignment_and_multiplicity(tmp_path):
    path = write(tmp_path / "MOL.map", MAP)
    mapping = read_mappings([path], topology(molecule()))["MOL"]
    np.testing.assert_allclose(mapping.weights.toarray(), [[12 / 25, 1 / 25, 12 / 25, 0], [0, 0, 0, 1]])
    assert mapping.owner.tolist() == [0, 0, 0, 1]
    assert mapping.names == ("A1", "B1")
    assert mapping.align.tolist() == [1, -1]
    assert mapping.multiplicity.tolist() == [1, 4]
    assert mapping.classes == ("C", "HX", "C", "C")


def test_xml_gives_weights_and_map_the_rest(tmp_path):
    write(tmp_path / "MOL.map", MAP.replace("3 C  1  A", "3 C  2  B"))
    write(tmp_path / "m.xml", xml(TWO))
    mapping = read_mappings([tmp_path], topology(molecule()))["MOL"]
    assert mapping.weights[0, 2] == pytest.approx(6 / 19)
    assert mapping.owner.tolist() == [0, 0, 1, 1]
    assert mapping.names == ("A1", "A2")


def test_owners_of_a_map_win_over_a_file_beside_but_not_over_a_given_one(tmp_path):
    write(tmp_path / "MOL.map", MAP)
    write(tmp_path / "m.xml", xml(TWO))
    beside = write(tmp_path / "owners.txt", "A1 : 1\nA2 : 2 3 4\n")
    top = topology(molecule())
    assert read_mappings([tmp_path], top)["MOL"].owner.tolist() == [0, 0, 0, 1]
    assert read_mappings([tmp_path], top, owners=[beside])["MOL"].owner.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("4 C  2  B", "3 C  2  B", ":5: atom 3 is listed twice"),
        ("4 C  2  B", "4 C  2", ":5: .map. needs atom"),
        ("4 C  2  B", "4 C5 C 2 B", ":5: .map. needs atom, .* found '4 C5 C 2 B': 'C' is not a whole number"),
        ("4 C  2  B", "x C  2  B", "whole number"),
        ("4 C  2  B", "4 C  3  B", "beads without an atom: 2"),
        ("2 HX 1", "2 HX 2", "bead 2 has type A above and B here"),
        ("4 C  2  B", "", r"without a line in .map.: 4 \(C3\)"),
        ("4 C  2  B", "4 C  2  B\n5 C 2 B", "atoms 5, but MOL has 4"),
        ("[ mult ]", "[ much ]", "unknown section"),
        ("2 4", "3 4", "names beads which"),
        ("1 2", "1 1", "aligned to itself"),
    ],
)
def test_map_errors(tmp_path, old, new, said):
    path = write(tmp_path / "MOL.map", MAP.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        read_mappings([path], topology(molecule()))


def test_map_keeps_reading_after_an_error(tmp_path):
    raw = read_map(write(tmp_path / "MOL.map", "[map]\nx C 1 A\n1 C 1 A\n1 C 1 A\n"))
    assert [p.line for p in raw.problems] == [2, 4]


def test_a_header_beside_does_not_override_a_map(tmp_path):
    write(tmp_path / "MOL.map", MAP)
    write(tmp_path / "b.xml", xml(TWO, name="TWO", ident="TWO"))
    write(tmp_path / "owners.txt", "[ MOL ]\nA1 : 1\nB1 : 2 3 4\n[ TWO ]\nA1 : 1\nA2 : 2 3 4\n")
    mappings = read_mappings([tmp_path], topology(molecule(), molecule("TWO")))
    assert mappings["MOL"].owner.tolist() == [0, 0, 0, 1]
    assert mappings["TWO"].owner.tolist() == [0, 1, 1, 1]


# --- bead graph, alignment, positions ------------------------------------------------------------


def plain(moltype, owner):
    owner = np.array(owner)
    n = owner.max() + 1
    w = sp.csr_matrix((np.ones(owner.size), (owner, np.arange(owner.size))), shape=(n, owner.size))
    w = sp.csr_matrix(sp.diags(1 / np.asarray(w.sum(axis=1)).ravel()) @ w)
    names = tuple(f"B{i + 1}" for i in range(n))
    align = default_alignment(w, owner, moltype.graph)
    return Mapping(moltype.name, names, names, w, owner, align, np.ones(n, np.int64))


def test_beads_are_joined_by_bonds_or_shared_atoms():
    moltype = chain(6)
    mapping = plain(moltype, [0, 0, 1, 1, 2, 2])
    assert sorted(bead_graph(mapping, moltype).edges) == [(0, 1), (1, 2)]
    shared = mapping.weights.tolil()
    shared[2, 0] = 0.5
    assert sorted(bead_graph(replace(mapping, weights=shared.tocsr()), moltype).edges) == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]


def test_alignment_points_to_the_parent():
    moltype = molecule(atoms="C1 C2 C3 C4 C5 O1", bonds=[(0, 1), (1, 2), (1, 3), (3, 4)])
    assert plain(moltype, range(6)).align.tolist() == [1, 0, 1, 1, 3, -1]


def test_positions_are_weighted_sums_over_any_leading_axes():
    rng = np.random.default_rng(1)
    mapping = plain(chain(6), [0, 0, 1, 1, 2, 2])
    x = rng.normal(size=(4, 3, 6, 3)).astype(np.float32)
    y = map_positions(mapping, x)
    assert y.shape == (4, 3, 3, 3)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y[2, 1, 2], x[2, 1, 4:].astype(float).mean(axis=0))
    np.testing.assert_allclose(map_positions(mapping, x[0, 0]), y[0, 0])


# --- both resolutions ----------------------------------------------------------------------------


def beads_of(name, n, *, names=None):
    moltype = molecule(name, atoms=" ".join(["C"] * n), bonds=[])
    for i, bead in enumerate(names or [f"B{i + 1}" for i in range(n)]):
        moltype.graph.nodes[i]["name"] = bead
    return moltype


def pair():
    one, two = chain(6), molecule("TWO")
    mappings = {"MOL": plain(one, [0, 0, 1, 1, 2, 2]), "TWO": plain(two, [0, 0, 1, 1])}
    return one, two, mappings


def test_runs_are_merged_and_located():
    one, two, mappings = pair()
    aa = Topology({"MOL": one, "TWO": two}, (("MOL", 2), ("MOL", 1), ("TWO", 0), ("TWO", 4)))
    cg = Topology({"MOL": beads_of("MOL", 3), "TWO": beads_of("TWO", 2)}, (("MOL", 3), ("TWO", 4)))
    found = match_beads(cg, aa, mappings).matches
    assert [(m.moltype.name, m.count, m.first_bead, m.first_atom) for m in found] == [
        ("MOL", 3, 0, 0),
        ("TWO", 4, 9, 18),
    ]


def test_cg_molecule_under_another_name():
    one, _, mappings = pair()
    mappings["MOL"] = replace(mappings["MOL"], cg_molecule="POLY")
    found = match_beads(topology(beads_of("POLY", 3)), topology(one), mappings).matches
    assert found[0].moltype is one


def test_bead_names_may_differ_but_are_told_once(caplog):
    one, _, mappings = pair()
    cg = topology(beads_of("MOL", 3, names=["S1", "B2", "S3"]), counts=[5])
    with caplog.at_level(logging.WARNING):
        match_beads(cg, topology(one, counts=[5]), mappings)
    assert len(caplog.records) == 1
    assert "the mapping of MOL: bead 1 is 'B1', in the CG topology 'S1' (2 of 3 names differ)" in caplog.text


def test_all_that_does_not_fit_is_listed():
    one, two, mappings = pair()
    del mappings["TWO"]
    water = molecule("SOL")
    aa = topology(one, two, water, counts=[2, 3, 100])
    cg = topology(beads_of("MOL", 4), beads_of("TWO", 2), beads_of("ION", 1), counts=[2, 3, 7])
    with pytest.raises(InputError) as error:
        match_beads(cg, aa, mappings)
    for part in (
        "MOL: 4 beads in the CG topology, 3",
        "TWO: no mapping",
        "ION (7): this molecule type is not in the atomistic topology (MOL, TWO",
        "SOL (100): atoms with neither beads nor a mapping",
    ):
        assert part in str(error.value)


def test_counts_and_order_must_be_equal():
    one, two, mappings = pair()
    cg_one, cg_two = beads_of("MOL", 3), beads_of("TWO", 2)
    with pytest.raises(InputError, match="MOL: 3 molecules of beads, 2 of atoms"):
        match_beads(topology(cg_one, counts=[3]), topology(one, counts=[2]), mappings)
    with pytest.raises(InputError, match="different order"):
        match_beads(topology(cg_two, cg_one), topology(one, two), mappings)


# --- the reference systems -----------------------------------------------------------------------

SYSTEMS = [("sps", "PS1"), ("octane", "L49C"), ("cumene", "G065")]


def real(reference, system):
    folder = reference / system
    aa = read_topology(folder / "topol.top")
    return aa, read_topology(folder / "cg.top"), read_mappings([folder], aa), folder


@pytest.mark.parametrize(("system", "name"), SYSTEMS)
def test_mapped_atoms_are_the_published_beads(reference, system, name):
    mda = pytest.importorskip("MDAnalysis")
    aa, cg, mappings, folder = real(reference, system)
    (match,) = match_beads(cg, aa, mappings).matches
    atoms, beads = (
        mda.coordinates.XTC.XTCReader(str(folder / f), convert_units=False, refresh_offsets=False)
        for f in ("aa.xtc", "cg.xtc")
    )
    for a, b in zip(atoms[:3], beads[:3], strict=True):
        box = a.triclinic_dimensions.astype(float)
        x = make_whole(a.positions.astype(float).reshape(match.count, -1, 3), box, match.moltype.bonds)
        d = minimum_image(map_positions(match.mapping, x) - b.positions.reshape(match.count, -1, 3), box)
        assert np.abs(d).max() < 0.0011  # both files are rounded to 0.001 nm


@pytest.mark.parametrize(("system", "name"), SYSTEMS)
def test_published_owners_are_read(reference, system, name):
    _, _, mappings, folder = real(reference, system)
    table = read_owners(folder / "owners.txt")[""]
    owner = mappings[name].owner
    for bead, bead_name in enumerate(mappings[name].names):
        assert np.flatnonzero(owner == bead).tolist() == sorted(table[bead_name])


@pytest.mark.parametrize(
    ("system", "name", "moved"),
    [("sps", "PS1", {"C5", "H4"}), ("octane", "L49C", {"C7", "H22", "H23"}), ("cumene", "G065", set())],
)
def test_derived_owners_differ_from_the_papers_only_at_a_chain_end(reference, system, name, moved):
    aa, _, mappings, _ = real(reference, system)
    mapping, moltype = mappings[name], aa.molecule_types[name]
    differ = np.flatnonzero(derive_owners(mapping.weights, moltype.graph) != mapping.owner)
    assert {moltype.names[i] for i in differ} == moved


# --- index files ------------------------------------------------------------------------------------

GROUPS = "; beads\n[ A ]\n 1 2\n 3\n[ B ]\n 3 4 4\n"


def test_groups_of_an_index_file_are_beads(tmp_path, caplog):
    """Centres of mass; an atom of two groups counts in full in both, as for ``gmx traj -com``."""
    path = write(tmp_path / "cg_map.ndx", GROUPS)
    found = read_mappings([path], topology(molecule()))["MOL"]
    assert (found.names, found.owner.tolist()) == (("A", "B"), [0, 0, 0, 1])
    masses = molecule().masses
    for bead, rows in enumerate(([0, 1, 2], [2, 3])):
        expected = np.zeros(4)
        expected[rows] = masses[rows] / masses[rows].sum()
        assert np.allclose(found.weights.toarray()[bead], expected)


def test_an_index_file_is_of_the_molecule_it_is_called_as_or_of_the_only_one_it_fits(tmp_path):
    two = molecule(), molecule("ABC", resname="ABC")
    with pytest.raises(InputError, match="fits MOL and ABC: name it as one of these"):
        read_mappings([write(tmp_path / "cg.ndx", GROUPS)], topology(*two))
    for name in ("ABC.ndx", "ABC_cgbuilder.ndx"):
        assert list(read_mappings([write(tmp_path / name, GROUPS)], topology(*two))) == ["ABC"]
    larger = molecule("BIG", "C1 H1 C2 C3 C4", ((0, 1), (0, 2), (2, 3), (3, 4)))
    assert list(read_mappings([tmp_path / "cg.ndx"], topology(molecule(), larger))) == ["MOL"]
    with pytest.raises(InputError, match=r"has a mapping already, in .*ABC\.ndx"):
        read_mappings([tmp_path / "ABC.ndx", tmp_path / "ABC_cgbuilder.ndx"], topology(*two))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ System ]\n1 2 3 4\n[ A ]\n1 2\n", r"\[ System \] holds all atoms of \[ A \]"),
        ("[ A ]\n1 2 3 4\n[ B ]\n", r"\[ B \] is empty"),
        ("[ A ]\n1 2 3 4\n[ B ]\n5\n", "all 4 atoms of MOL but hydrogens, and no others"),
        ("[ A ]\n1 2\n[ B ]\n3\n", "all 4 atoms of MOL but hydrogens, and no others"),
    ],
)
def test_other_index_files_are_no_mapping(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_mappings([write(tmp_path / "MOL.ndx", text)], topology(molecule()))


def test_hydrogens_may_be_left_out_of_an_index_file(tmp_path):
    found = read_mappings([write(tmp_path / "x.ndx", "[ A ]\n1\n[ B ]\n3 4\n")], topology(molecule()))["MOL"]
    assert found.owner.tolist() == [0, 0, 1, 1]


def test_an_index_file_in_a_folder_of_mappings_is_left_alone(tmp_path):
    """A folder of a run may hold one of another purpose."""
    write(tmp_path / "MOL.ndx", GROUPS)
    with pytest.raises(InputError, match="no mapping in this folder"):
        read_mappings([tmp_path], topology(molecule()))

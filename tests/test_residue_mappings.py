"""Mappings of residues and of fragments, as other programs write them: read by content, applied by name."""

from __future__ import annotations

import logging
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.stereo import stated_states, stereo_elements
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import given_chirality
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.sections import Kind, kind_or_name

MASS = {"C": 12.011, "H": 1.008, "O": 15.999, "N": 14.007, "X": 12.0}

ALANINE = ["N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3", "C", "O"]
BONDS = [(0, 1), (0, 2), (2, 3), (2, 4), (4, 5), (4, 6), (4, 7), (2, 8), (8, 9)]

ALA_MAP = """; comment
[ molecule ]
ALA
[ martini ]
BB SC1
[ mapping ]
charmm27 charmm36
[ atoms ]
 1 N BB
 2 HN BB
 3 CA BB
 4 HA !BB
 5 CB SC1 SC1 BB
 6 HB1 SC1
 7 HB2 SC1
 8 HB3 SC1
 9 C BB
10 O BB
[ out ]
CA N C
[ chiral ]
HA CA N CB C ; L
[ chiral ]
CB CA N C
"""


def moltype(residues, links, name="CHAIN"):
    """A molecule of residues (name, atoms, bonds), linked by pairs of rows."""
    graph = nx.Graph()
    for number, (resname, atoms, bonds) in enumerate(residues, 1):
        first = len(graph)
        for atom in atoms:
            element = atom.lstrip("0123456789")[0]
            data = {"name": atom, "type": element, "element": element, "mass": MASS[element], "charge": 0.0}
            graph.add_node(len(graph), **data, resid=number, resname=resname)
        graph.add_edges_from(((first + i, first + j) for i, j in bonds), kind="bond")
    graph.add_edges_from(links, kind="bond")
    return MoleculeType(name, 3, graph)


def peptide(*names):
    """Alanines one after the other under any names; with H1, H2, H3 in front and an OXT at the end."""
    first, last = ["N", "H1", "H2", "H3", *ALANINE[2:]], [*ALANINE, "OXT"]
    residues = []
    for k, name in enumerate(names):
        if k == 0:
            bonds = [(0, 1), (0, 2), (0, 3), (0, 4)] + [(i + 2, j + 2) for i, j in BONDS[2:]]
            residues.append((name, first, bonds))
        else:
            end = k == len(names) - 1
            residues.append((name, last if end else ALANINE, BONDS + ([(8, 10)] if end else [])))
    links = [(12 + 10 * k - 2, 12 + 10 * k) for k in range(len(names) - 1)]
    return moltype(residues, links)


def topology(*moltypes):
    return Topology({m.name: m for m in moltypes}, tuple((m.name, 1) for m in moltypes))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def read(path, *moltypes):
    return read_mappings([path], topology(*moltypes))[moltypes[0].name]


def test_backward_weights_are_parts_of_masses(tmp_path):
    mapping = read(write(tmp_path / "ala.any", ALA_MAP), moltype([("ALA", ALANINE, BONDS)], []))
    assert mapping.names == ("BB", "SC1")
    shared, whole = 12.011 / 3, 14.007 + 1.008 + 2 * 12.011 + 15.999  # a third of CB; HA does not count
    assert mapping.weights[0, 4] == pytest.approx(shared / (whole + shared))
    assert mapping.weights[0, 3] == 0
    assert mapping.weights[1, 4] == pytest.approx(2 * shared / (2 * shared + 3 * 1.008))
    assert mapping.owner.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]


def test_a_protein_is_mapped_residue_by_residue_and_its_ends_fall_back(tmp_path, caplog):
    path = write(tmp_path / "ala.map", ALA_MAP)
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        mapping = read(path, peptide("NALA", "ALA", "CALA"))
    assert mapping.names == ("BB", "SC1") * 3
    assert "NALA is mapped as ALA" in caplog.text
    assert "OXT" in caplog.text
    assert mapping.owner[:4].tolist() == [0] * 4  # N and its three hydrogens
    assert (mapping.weights[0, 1:4].toarray() > 0).all()  # which count, as HN would
    assert mapping.owner[-1] == 4
    assert mapping.weights[4, 32] == pytest.approx(mapping.weights[4, 31])  # OXT as O


def test_states_of_protonation_and_caps(tmp_path, caplog):
    text = ALA_MAP.replace("ALA\n", "HIS\n", 1)
    capped = moltype(
        [
            ("ACE", ["CH3", "C", "O"], [(0, 1), (1, 2)]),
            ("HSD", ALANINE, BONDS),
            ("NME", ["N", "C"], [(0, 1)]),
        ],
        [(1, 3), (11, 13)],
    )
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        mapping = read(write(tmp_path / "a", text), capped)
    assert mapping.names == ("BB", "SC1")
    assert mapping.owner[[0, 1, 2, 13, 14]].tolist() == [0] * 5
    assert mapping.weights[:, [0, 1, 2, 13, 14]].nnz == 0
    assert "ACE has no mapping" in caplog.text


@pytest.mark.parametrize("weight", ["inf", "nan", "1e400", "-1", "1_0", "1e31"])
def test_weights_of_vermouth_are_numbers(tmp_path, weight):
    text = (
        "[ molecule ]\nALA\n[ from ]\nx\n[ to ]\ny\n[ from blocks ]\nALA\n[ to blocks ]\nALA\n[ mapping ]\n"
    )
    path = write(tmp_path / "a.mapping", text + f"N BB 1\nCA BB 2\nC BB {weight}\n")
    with pytest.raises(InputError, match=rf":14: .* perhaps a weight; found 'C BB {weight}'"):
        read(path, moltype([("ALA", ALANINE, BONDS)], []))


NAMELESS = """[ to ]
martini

[ martini ]
B0 B1

[ atoms ]
1\tN\tB0
2\tCA\tB0\tB1
3\tCB\tB1
4\tHA\tB0
"""
"""As CGBuilder writes it: it does not say of which residue."""


def test_a_mapping_without_a_name_is_of_the_residue_that_has_its_atoms(tmp_path, caplog):
    path = write(tmp_path / "cgbuilder.map", NAMELESS)
    assert kind_or_name(path) is Kind.BACKWARD
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        mapping = read(path, moltype([("LIG", ALANINE, BONDS)], []))
    assert mapping.names == ("B0", "B1")
    assert mapping.owner.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
    assert mapping.weights[1, 2] == pytest.approx(0.5 / 1.5)
    assert "residue LIG has the atoms of" in caplog.text
    without = [name.replace("HA", "HB") for name in ALANINE]
    with pytest.raises(InputError, match="no mapping of CHAIN"):
        read(path, moltype([("LIG", without, BONDS)], []))


def test_of_mappings_without_a_name_that_is_taken_whose_file_is_called_as_the_residue(tmp_path):
    write(tmp_path / "AAA_cgbuilder.map", NAMELESS)
    write(tmp_path / "LIG_cgbuilder.map", NAMELESS.replace("CA\tB0\tB1", "CA\tB1"))
    mapping = read(tmp_path, moltype([("LIG", ALANINE, BONDS)], []))
    assert mapping.owner[2] == 1
    with pytest.raises(InputError, match="several mappings fit equally well"):
        read(tmp_path, moltype([("OTH", ALANINE, BONDS)], []))


def test_a_mapping_with_a_name_goes_before_one_without(tmp_path):
    write(tmp_path / "a.map", NAMELESS)
    write(tmp_path / "b.map", ALA_MAP)
    assert read(tmp_path, moltype([("ALA", ALANINE, BONDS)], [])).names == ("BB", "SC1")


def test_a_residue_without_a_mapping_is_named(tmp_path):
    with pytest.raises(InputError, match="no mapping of residues TRP; there are those of ALA"):
        read(write(tmp_path / "a", ALA_MAP), peptide("ALA", "TRP", "ALA"))
    with pytest.raises(InputError, match=r"no mapping of CHAIN \(residues GLY, TRP\); found those of .*ALA"):
        read(write(tmp_path / "a", ALA_MAP), peptide("GLY", "TRP", "GLY"))


def test_a_mapping_for_other_names_is_refused(tmp_path):
    other = moltype(
        [("ALA", ["N", "X", "CX", "HX", "CY", "HY"], [(0, 1), (0, 2), (2, 3), (2, 4), (4, 5)])], []
    )
    with pytest.raises(InputError, match=r"has 10 atoms, 1 of them.*bead SC1 would have none"):
        read(write(tmp_path / "a", ALA_MAP), other)


def test_of_mappings_for_several_force_fields_that_with_most_atoms_is_taken(tmp_path):
    write(tmp_path / "a.map", ALA_MAP.replace("CB SC1 SC1 BB", "CX SC1").replace("HB", "HX"))
    write(tmp_path / "b.map", ALA_MAP)
    write(tmp_path / "settings.xml", "<cg/>")
    assert read(tmp_path, peptide("ALA", "ALA")).weights[1, 6] > 0
    write(tmp_path / "c.map", ALA_MAP.replace("CB SC1 SC1 BB", "CB SC1"))
    with pytest.raises(InputError, match=r"fit equally well and differ; give one of .*b\.map:2, .*c\.map:2"):
        read(tmp_path, peptide("ALA", "ALA"))
    # another residue says which force field it is
    write(
        tmp_path / "c.map", ALA_MAP.replace("CB SC1 SC1 BB", "CB SC1").replace("charmm27 charmm36", "amber")
    )
    write(tmp_path / "d.map", ALA_MAP.replace("ALA\n", "GLX\n", 1).replace("charmm27 charmm36", "amber"))
    assert read(tmp_path, peptide("ALA", "GLX", "ALA")).weights[0, 6] == 0


def test_repeat_units(tmp_path):
    unit = ("PEO", ["C1", "O1", "C2"], [(0, 1), (1, 2)])
    chain = moltype([unit] * 5, [(3 * k + 2, 3 * k + 3) for k in range(4)])
    mapping = read(write(tmp_path / "p.map", "[ PEO ]\nEO EOtype C1 O1 C2\n"), chain)
    assert mapping.names == ("EO",) * 5
    assert mapping.types == ("EOtype",) * 5
    np.testing.assert_allclose(mapping.weights.toarray(), np.kron(np.eye(5), np.full((1, 3), 1 / 3)))


VERMOUTH = """[ macros ]
backbone BB
[ block ]
[ from ]
charmm
[ to ]
martini3001
[ from blocks ]
ALA ALA
[ to blocks ]
DI
[ mapping ]
ALA1:N $backbone
1:CA $backbone 2
ALA2:CA SC1
2:CB SC1 0.5
[ modification ]
[ from blocks ]
N-ter
[ mapping ]
nonsense
"""


def test_vermouth_maps_several_residues_together_with_weights(tmp_path):
    mapping = read(write(tmp_path / "m.mapping", VERMOUTH), peptide("ALA", "ALA"))
    assert mapping.names == ("BB", "SC1")
    assert mapping.weights[0, 4] / mapping.weights[0, 0] == pytest.approx(2 * 12.011 / 14.007)
    assert mapping.weights[1, 16] / mapping.weights[1, 14] == pytest.approx(0.5)


def test_vermouth_maps_what_is_in_its_blocks_whatever_the_molecule_is_called(tmp_path):
    text = (
        "[ molecule ]\nPEPTIDE\n[ from blocks ]\nALA\n[ to blocks ]\nALA\n[ mapping ]\nN BB\nCA BB\nCB SC1\n"
    )
    mapping = read(write(tmp_path / "m.mapping", text), moltype([("ALA", ALANINE, BONDS)], []))
    assert mapping.names == ("BB", "SC1")


def pdb(*lines):
    return "".join(
        f"ATOM  {k:>5} {name:<4} {residue:<4}    1      {0:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00\n"
        if residue
        else f"[ {name} ]\n"
        for k, (name, residue) in enumerate(lines, 1)
    )


def test_fragments_of_cg2at_are_centres_of_mass_and_memback_of_geometry(tmp_path):
    atoms = [("N", "ALA"), ("CA", "ALA"), ("C", "ALA"), ("O", "ALA")]
    path = write(tmp_path / "ALA.pdb", pdb(("BB", ""), *atoms, ("SC1", ""), ("CB", "ALA"), ("HB1", "ALA")))
    single = moltype([("ALA", ALANINE, BONDS)], [])
    mapping = read(path, single)
    assert mapping.weights[1, 4] == pytest.approx(12.011 / 15.035)
    # HB2 and HB3 are not named, but hang on the same atom as one that counts, as further hydrogens
    assert mapping.owner.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
    memback = "RESI ALA\n[ BB ]\nN CA C O\n[ SC1 ]\nCB HB1\nHB2 HB3\n[ chiral ]\nHA CA N CB C\n"
    mapping = read(write(tmp_path / "map.dat", memback), single)
    assert mapping.weights[1, 4] == pytest.approx(1 / 4)
    assert stated_states(single, mapping.stereo).tolist() == [-1]


def test_chirality_of_a_mapping_is_that_of_l_alanine(tmp_path):
    single = moltype([("ALA", ALANINE, BONDS)], [])
    mapping = read(write(tmp_path / "a", ALA_MAP), single)
    assert stereo_elements(single)[:, 0].tolist() == [2]
    # seen from H the groups CO, R, N of an L amino acid go round clockwise
    x = np.zeros((10, 3))
    x[3] = [0, 0, 1.0]
    for row, angle in ((8, 90), (4, -30), (0, 210)):
        x[row] = [np.cos(np.radians(angle)), np.sin(np.radians(angle)), -0.3]
    rows = stereo_elements(single)[0]
    u1, u2, u3 = x[rows[1:4]] / np.linalg.norm(x[rows[1:4]], axis=1)[:, None]
    expected = int(np.sign(u1 @ np.cross(u2, u3)))
    assert stated_states(single, mapping.stereo).tolist() == [expected]
    system = System(topology(single), {"CHAIN": mapping}, (Match(single, mapping, 1, 0, 0),))
    assert given_chirality(system)["CHAIN"].tolist() == [[expected]]
    mirrored = read(write(tmp_path / "d", ALA_MAP.replace("HA CA N CB C", "HA CA N C CB")), single)
    assert stated_states(single, mirrored.stereo).tolist() == [-expected]


def test_cis_and_trans_of_a_mapping(tmp_path):
    butene = moltype(
        [("BUT", ["C1", "C2", "H2", "C3", "H3", "C4"], [(0, 1), (1, 2), (1, 3), (3, 4), (3, 5)])], []
    )
    graph = butene.graph
    graph.nodes[0]["mass"] = graph.nodes[5]["mass"] = 15.035
    text = "[ molecule ]\nBUT\n[ atoms ]\n1 C1 A\n2 C2 A\n4 C3 B\n6 C4 B\n[ {} ]\n{}\n"
    row = stereo_elements(butene)
    assert len(row) == 1
    for kind, atoms, cis in (
        ("cis", "C1 C2 C3 C4", 1),
        ("trans", "C4 C3 C2 C1", -1),
        ("trans", "C1 C2 C3 H3", 1),
    ):
        mapping = read(write(tmp_path / "b", text.format(kind, atoms)), butene)
        ends = {int(row[0, 0]), int(row[0, 3])}
        sign = 1 if ends in ({0, 5}, {2, 4}) else -1
        assert stated_states(butene, mapping.stereo).tolist() == [cis * sign]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ moleculetype ]\nA 3\n[ atoms ]\n1 C 1 A C 1\n", "a topology"),
        ("<cg><inverse/></cg>", "VOTCA settings"),
        ("<?xml version='1.0'?>\n<ForceField></ForceField>", "OpenMM"),
        ("title\n1\n    1ALA      N    1   0.126   1.624   1.679\n 1 1 1\n", r"a structure \(.gro\)"),
        ("ATOM      1  N   ALA     1       0.000   0.000   0.000\n", r"\.pdb\) without headers"),
        ("dt = 0.002\nnsteps = 10 ; long\n", "run parameters"),
        ("[ MOL ]\nA1 : 1 2\n", "--owners"),
        ("A1 : 1 2\n", "--owners"),
        ("[ SOL ]\nA1 A2\n", "a list of bonds"),
        ("\n\n", "empty"),
        ("some words\n", "without sections"),
    ],
)
def test_what_is_no_mapping_is_named(tmp_path, text, said):
    path = write(tmp_path / "x.map", text)
    with pytest.raises(InputError, match=said):
        read_mappings([path], topology(peptide("ALA", "ALA")))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ALA_MAP, Kind.BACKWARD),
        (VERMOUTH, Kind.VERMOUTH),
        ("[map]\n1 C 1 A\n[/map]\n", Kind.DEEPBACKMAP),
        ("[ SOL ]\nW P4 OW HW1 HW2\n", Kind.PYCGTOOL),
        ("{[#A][#B]}.{#A=CC[$],#B=[$]CO}\n", Kind.CGSMILES),
        ("[ A ]\n1 2 3\n[ B ]\n 4 5 6\n", Kind.INDEX),
    ],
)
def test_the_suffix_makes_no_difference(tmp_path, text, kind):
    assert kind_or_name(write(tmp_path / "x.txt", text)) is kind


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (" 5 CB SC1 SC1 BB", " 5 CB SC1 !SC1", ":13: atom CB is in bead SC1 with and without"),
        (" 5 CB SC1 SC1 BB", " 5 CA SC1", ":13: atom CA has a line already"),
        (" 5 CB SC1 SC1 BB", " CB SC1", ":13: .*needs a number"),
        ("BB SC1\n", "BB\n", "bead SC1 is not in . martini ., which has BB"),
        ("BB SC1\n", "BB SC1 SC2\n", "ALA: bead SC2 has no atoms"),
        ("ALA\n", "ALA\nGLY\n", "second name of ALA"),
    ],
)
def test_wrong_lines_are_named(tmp_path, old, new, said):
    with pytest.raises(InputError, match=said):
        read(write(tmp_path / "a", ALA_MAP.replace(old, new, 1)), peptide("ALA", "ALA"))


def test_two_names_for_all_that_is_wrong_in_lists_of_atoms(tmp_path):
    with pytest.raises(InputError, match="atom C1 is in bead A already"):
        read(write(tmp_path / "a", "[ PEO ]\nA T C1 C1\n"), peptide("ALA", "ALA"))
    with pytest.raises(InputError, match=":2: PEO: a line has a bead, its type and atoms"):
        read(write(tmp_path / "a", "[ PEO ]\nA T 0.5\nB T C1 C2\n"), peptide("ALA", "ALA"))


# --- CGSmiles ---------------------------------------------------------------------------------------


def glyme():
    """CH3-O-CH2-CH2-O-CH3, hydrogens after their carbons."""
    atoms = [
        "C1",
        "H11",
        "H12",
        "H13",
        "O1",
        "C2",
        "H21",
        "H22",
        "C3",
        "H31",
        "H32",
        "O2",
        "C4",
        "H41",
        "H42",
        "H43",
    ]
    bonds = [(0, 1), (0, 2), (0, 3), (0, 4), (4, 5), (5, 6), (5, 7), (5, 8), (8, 9), (8, 10), (8, 11)]
    return moltype([("GLY", atoms, [*bonds, (11, 12), (12, 13), (12, 14), (12, 15)])], [], name="GLYME")


def test_cgsmiles_are_found_by_the_graph(tmp_path, caplog):
    pytest.importorskip("cgsmiles")
    path = write(tmp_path / "glyme.txt", "; dimethoxyethane\nanything {[#A][#B]}.{#A=COC[$],#B=[$]COC}\n")
    mapping = read(path, glyme())
    assert mapping.names == ("A", "B")
    assert mapping.owner.tolist() == [0] * 8 + [1] * 8
    assert mapping.weights[0].sum() == pytest.approx(1)
    assert mapping.weights[0, 4] == pytest.approx(15.999 / (2 * 12.011 + 15.999 + 5 * 1.008))
    said = r"no mapping of GLYME; found those of A-B of C5H12O \(.*, line 1; GLYME is C4H10O2\)"
    with pytest.raises(InputError, match=said):
        read(write(path, "{[#A][#B]}.{#A=COC[$],#B=[$]CCC}"), glyme())
    with pytest.raises(InputError, match=r"cannot be read as CGSmiles.*with every bead in the second part"):
        read(write(path, "{[#A][#B]}.{#A=COC[$]}"), glyme())


def test_cgsmiles_with_several_ways_say_so(tmp_path, caplog):
    pytest.importorskip("cgsmiles")
    path = write(tmp_path / "glyme", "{[#A][#B]}.{#A=CO[$],#B=[$]CCOC}")
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        mapping = read(path, glyme())
    assert "in 2 ways" in caplog.text
    assert mapping.owner[0] == 0  # the first bead has the first atoms

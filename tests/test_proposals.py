"""Mappings that are proposed (``map init``), pictures of them, and topologies of mapped beads."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from mixed import run_words

from dbm_gmx.chemistry.proposal import propose
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.share import share_path
from dbm_gmx.files.structure import read_cg_system
from dbm_gmx.files.top import read_topology

OCTANE = share_path("examples", "octane")
MASS = {"C": 12.011, "O": 15.999, "H": 1.008, "N": 14.007}


def atoms(text, bonds=None, *, hydrogens=None, resids=None, resname="MOL"):
    """A molecule of heavy atoms by element, a chain if not told otherwise, filled up with hydrogens."""
    graph = nx.Graph()
    elements = text.split()
    bonds = [(i, i + 1) for i in range(len(elements) - 1)] if bonds is None else bonds
    names = [f"{element}{i + 1}" for i, element in enumerate(elements)]
    degree = nx.Graph(bonds).degree
    valence = {"C": 4, "N": 3, "O": 2}
    for i, element in enumerate(elements):
        add(graph, names[i], element, MASS[element], resids[i] if resids else 1, resname)
    graph.add_edges_from(bonds, kind="bond")
    for i, element in enumerate(elements):
        for _ in range(valence[element] - degree[i] if hydrogens is None else hydrogens[i]):
            add(graph, f"H{len(graph)}", "H", MASS["H"], resids[i] if resids else 1, resname)
            graph.add_edge(i, len(graph) - 1, kind="bond")
    return MoleculeType("MOL", 3, graph)


def add(graph, name, element, mass, resid, resname):
    data = {"name": name, "type": element, "element": element, "mass": mass, "charge": 0.0}
    graph.add_node(len(graph), **data, resid=resid, resname=resname)


def beads(masses, bonds=None, *, names=None, resname="MOL"):
    graph = nx.Graph()
    for i, mass in enumerate(masses):
        add(graph, names[i] if names else f"B{i + 1}", "", mass, i + 1, resname)
    graph.add_edges_from(
        [(i, i + 1) for i in range(len(masses) - 1)] if bonds is None else bonds, kind="bond"
    )
    return MoleculeType("MOL", 1, graph)


def rows(cut):
    return [sorted(part) for part in cut]


def test_masses_say_where_a_chain_is_cut():
    # CH3-O-CH2 and CH2-CH2-OH weigh the same: which bead is which, nothing says
    found = propose(atoms("C O C C C O"), beads([45.06, 45.06]))
    assert [rows(cut) for cut in found.cuts] == [[[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]]
    found = propose(atoms("C O C C C O"), beads([44.05, 46.07]))
    assert found.cuts == ()
    assert "have their masses" in found.reasons[-1]


@pytest.mark.parametrize("turned", [False, True])
def test_different_masses_leave_one_way(turned):
    masses, expected = [15.035 + 15.999, 2 * 14.027 + 15.035], [[0, 1], [2, 3, 4]]
    if turned:
        masses, expected = masses[::-1], expected[::-1]
    found = propose(atoms("C O C C C"), beads(masses))
    assert [rows(cut) for cut in found.cuts] == [expected]
    assert found.alike == 1
    assert "add up" in found.reasons[0]


def test_ways_that_are_alike_by_symmetry_are_one_in_the_order_of_the_atoms():
    found = propose(atoms("C C C C C C"), beads([43.089, 43.089]))
    assert [rows(cut) for cut in found.cuts] == [[[0, 1, 2], [3, 4, 5]]]
    assert found.alike == 2


def test_several_ways_that_differ_are_all_there():
    # of five carbons two beads of unknown mass may have two and three, or three and two
    found = propose(atoms("C C C C O"), beads([72.0, 72.0]))
    assert len(found.cuts) == 4
    assert "not those of the atoms" in found.reasons[0]


def test_rings_and_branches():
    # toluene: CH3-C | CH CH | CH CH | CH, beads in a triangle with a tail
    ring = [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 1), (0, 1)]
    molecule = atoms("C C C C C C C", ring, hydrogens=[3, 0, 1, 1, 1, 1, 1])
    tail, pair = 15.035 + 12.011, 2 * 13.019
    found = propose(molecule, beads([tail, pair, pair, 13.019], [(0, 1), (0, 2), (1, 3), (2, 3)]))
    assert len(found.cuts) == 1
    assert rows(found.cuts[0])[0] == [0, 1]
    assert rows(found.cuts[0])[3] == [4]
    assert found.alike == 2
    # no cut joins these beads in a chain
    chain = propose(molecule, beads([tail, pair, pair, 13.019]))
    assert chain.cuts == ()
    assert "no cut" in chain.reasons[-1]


def test_residues_and_names_of_beads_decide():
    molecule = atoms("C O C C O C", hydrogens=[0] * 6, resids=[1, 1, 1, 2, 2, 2])
    found = propose(molecule, beads([72.0, 72.0]))
    assert [rows(cut) for cut in found.cuts] == [[[0, 1, 2], [3, 4, 5]]]
    assert "2 residues of the same names" in found.reasons
    assert len(propose(molecule, beads([72.0, 72.0], resname="ELSE")).cuts) == 1  # symmetric anyway
    named = propose(atoms("C C C C O C"), beads([72.0, 72.0], names=["O5", "X"]))
    assert [rows(cut) for cut in named.cuts] == [[[3, 4, 5], [0, 1, 2]]]


def test_long_chains_and_hopeless_cases_end():
    n = 40
    molecule = atoms("C O C " * n)
    end, middle = 45.061, 44.053
    found = propose(molecule, beads([end, *[middle] * (n - 2), end]))
    assert len(found.cuts) == 1
    assert rows(found.cuts[0])[30] == [90, 91, 92]
    assert "too many ways" in propose(atoms("C " * 49), beads([72.0] * 14)).reasons[-1]
    assert "are no hydrogens" in propose(atoms("C O"), beads([10.0] * 3)).reasons[-1]
    apart = beads([10.0, 20.0], [])
    assert "joined" in propose(molecule, apart).reasons[-1]


# --- the command -------------------------------------------------------------------------------------


def test_the_command_writes_a_mapping_that_is_the_known_one(tmp_path: Path):
    folder = tmp_path / "mapping"
    given = ["-p", OCTANE / "topol.top", "-s", OCTANE / "cg.tpr", "-o", folder]
    result = run_words("map", "init", *given)
    assert result.code == 0
    assert "alike by symmetry" in result.out
    top = read_topology(OCTANE / "topol.top")
    ours = read_mappings([folder], top)["OCT"]
    known = read_mappings([OCTANE / "mapping.xml"], top)["OCT"]
    assert ours.names == known.names
    assert ours.owner.tolist() == known.owner.tolist()
    picture = ElementTree.parse(folder / "OCT.svg").getroot()
    titles = [t.text for t in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 1 + 8
    assert "C1 (1): A1" in titles
    assert run_words("map", "init", *given).code == 0
    assert (folder / "#OCT.xml.1#").is_file()


def test_where_several_are_equally_good_none_is_written(tmp_path: Path):
    atoms_of = "\n".join(
        f"{i} CT 1 MOL {n} {i} 0 {m}"
        for i, (n, m) in enumerate([("C1", 15.035), ("C2", 14.027), ("C3", 14.027), ("O4", 17.007)], 1)
    )
    (tmp_path / "topol.top").write_text(
        "[ defaults ]\n1 1 no 1 1\n[ atomtypes ]\nCT 6 12.011 0 A 0 0\nB 0 72 0 A 0 0\n"
        f"[ moleculetype ]\nMOL 3\n[ atoms ]\n{atoms_of}\n[ bonds ]\n"
        "1 2 1 0.15 1000\n2 3 1 0.15 1000\n3 4 1 0.15 1000\n"
        "[ system ]\nx\n[ molecules ]\nMOL 1\n"
    )
    (tmp_path / "cg.top").write_text(
        "[ defaults ]\n1 1 no 1 1\n[ atomtypes ]\nB 0 72 0 A 0 0\n[ moleculetype ]\nMOL 1\n[ atoms ]\n"
        "1 B 1 MOL X 1 0 72\n2 B 1 MOL Y 2 0 72\n[ bonds ]\n1 2 1 0.3 1000\n"
        "[ system ]\nx\n[ molecules ]\nMOL 1\n"
    )
    (tmp_path / "cg.gro").write_text(
        "x\n2\n    1MOL      X    1   0.100   0.100   0.100\n"
        "    1MOL      Y    2   0.400   0.100   0.100\n 2 2 2\n"
    )
    given = ["-p", tmp_path / "topol.top", "-s", tmp_path / "cg.gro", "-cp", tmp_path / "cg.top"]
    result = run_words("map", "init", *given, "-o", tmp_path / "out")
    assert result.code == 1
    assert "2 ways are equally good" in result.err
    assert "1 (in the order of the atoms): X: C1 C2, Y: C3 O4" in result.err
    assert not (tmp_path / "out").exists()
    assert run_words("map", "init", *given, "-o", tmp_path / "out", "--choose", "MOL=2").code == 0
    found = read_mappings([tmp_path / "out"], read_topology(tmp_path / "topol.top"))["MOL"]
    assert found.owner.tolist() == [1, 1, 0, 0]
    assert "there are 2 ways, not 3" in run_words("map", "init", *given, "--choose", "MOL=3").err
    unknown = run_words("map", "init", *given, "--choose", "MOLE=1").err
    assert "--choose: no molecule type MOLE; known: MOL" in unknown
    assert "nothing says what the beads are" in run_words("map", "init", "-p", tmp_path / "topol.top").err
    assert "no output" in run_words("map", "-s", tmp_path / "cg.gro").err


def test_cgsmiles_with_shared_atoms_need_owners(tmp_path: Path):
    pytest.importorskip("cgsmiles")
    smiles = "OCT {[#A][#B]}.{#A=CCCC[!],#B=[!]CCCCC}"
    given = ["-p", OCTANE / "topol.top", "-o", tmp_path / "out"]
    assert run_words("map", "init", *given, "--smiles", smiles).code == 0
    found = read_mappings([tmp_path / "out"], read_topology(OCTANE / "topol.top"))["OCT"]
    shared = np.flatnonzero((found.weights.toarray() > 0).sum(axis=0) == 2)
    assert found.owner[shared].tolist() == [0] * len(shared) != []
    wrong = run_words("map", "init", *given, "--smiles", "{[#A][#B]}.{#A=CCC[$],#B=[$]CCO}")
    assert wrong.code == 1
    assert "other atoms or bonds than OCT" in wrong.err
    (tmp_path / "octane.cgs").write_text(f"; two beads\n{smiles}\n")
    assert run_words("map", "init", *given, "--smiles", tmp_path / "octane.cgs").code == 0
    again = read_mappings([tmp_path / "out"], read_topology(OCTANE / "topol.top"))["OCT"]
    assert again.owner.tolist() == found.owner.tolist()
    neither = run_words("map", "init", *given, "--smiles", "octane")
    assert neither.code == 1
    assert "'octane': neither CGSmiles, {...}.{...}, nor a file of these" in neither.err


def test_a_topology_of_beads_has_the_bonds_and_angles_of_the_frames(tmp_path: Path):
    given = ["-p", OCTANE / "topol.top", "-f", OCTANE / "aa.xtc", "-m", OCTANE / "mapping.xml", "-e", 300]
    result = run_words("map", *given, "-o", tmp_path / "cg.gro", "-op", tmp_path / "cg.top", "-t", 350, "-q")
    assert result.code == 0, result.err
    topology, frame = read_cg_system(tmp_path / "cg.gro", tmp_path / "cg.top")
    moltype = topology.molecule_types["OCT"]
    x = frame.positions.reshape(-1, 4, 3)
    terms = {term.directive: term for term in moltype.terms}
    lengths = np.linalg.norm(np.diff(x, axis=1), axis=-1)
    assert terms["bonds"].atoms.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert len(terms["angles"].atoms) == 2
    text = (tmp_path / "cg.top").read_text()
    assert text.count(" +- ") == 5
    b0, k = terms["bonds"].parameters[0, :2]
    assert b0 == pytest.approx(lengths[:, 0].mean(), abs=0.01)
    assert k == pytest.approx(0.008314462 * 350 / lengths[:, 0].std() ** 2, rel=0.3)

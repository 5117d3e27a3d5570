"""Mappings that ship: what they say of atoms, and which molecules they are taken for."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import beads, ion, moltype, topology, water

from dbm_gmx.chemistry.mapping import derive_owners
from dbm_gmx.chemistry.residues import FAMILIES, ResidueMapping, map_residues, residues_of
from dbm_gmx.chemistry.stereo import stated_states, stereo_elements
from dbm_gmx.chemistry.system import System, make_system
from dbm_gmx.chemistry.topology import MoleculeType, Terms, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.mappings import read_residue_mappings
from dbm_gmx.files.share import share_path
from dbm_gmx.files.shipped import WATERS_OF_BEADS, find_set, mapping_sets, with_shipped
from dbm_gmx.files.system import read_system
from dbm_gmx.options import Matching, MoleculeFiles

SETS = ("martini2", "martini3", "martini-lipids", "martini-amber-lipids")


def shipped(name: str) -> list[ResidueMapping]:
    return read_residue_mappings(share_path("molecules", f"{name}.map"))


def residue(name: str, set_name: str = "martini3") -> ResidueMapping:
    return next(one for one in [*shipped(set_name), *shipped("martini-lipids")] if one.name == name)


def lipid(name: str, resname: str = "") -> MoleculeType:
    """Heavy atoms of a lipid of the sets."""
    mapping = residue(resname or name)
    return moltype(name, [(resname or name, [atom for _, atom in mapping.atoms])])


def beads_of(name: str) -> MoleculeType:
    """Beads as a set has them."""
    return beads(name, [bead.name for bead in residue(name).beads])


def matched(cg: Topology, aa: Topology, matching: Matching | None = None) -> System:
    found = with_shipped(cg, aa, {}, matching or Matching())
    return make_system(aa, found.mappings, cg, found.matching)


# --- what is in the files ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_each_atom_is_in_one_bead_and_each_bead_has_atoms(name: str) -> None:
    for mapping in shipped(name):
        atoms = [atom for bead in mapping.beads for atom in bead.atoms]
        assert max(Counter(atoms).values()) == 1, mapping.name
        assert all(bead.atoms for bead in mapping.beads)
        assert len({bead.name for bead in mapping.beads}) == len(mapping.beads)


TAILS = {"L": (12, 0), "M": (14, 0), "P": (16, 0), "O": (18, 1)}
"""Carbons and double bonds."""


def test_lipids_have_all_carbons_of_their_tails() -> None:
    known = {"DL": "LL", "DM": "MM", "DP": "PP", "PO": "OP", "DO": "OO"}
    for mapping in shipped("martini-lipids"):
        tails = known[mapping.name[:2]]
        atoms = {atom for _, atom in mapping.atoms}
        for first, tail in zip("23", tails, strict=True):
            carbons, _ = TAILS[tail]
            assert {f"C{first}{k}" for k in range(1, carbons + 1)} <= atoms
            assert f"C{first}{carbons + 1}" not in atoms
        cis = [stated for stated in mapping.stereo if stated.kind == "cis"]
        assert len(cis) == tails.count("O")


def rtp_residues(path: Path) -> dict[str, list[str]]:
    """Atoms of the residues of a database of GROMACS."""
    found: dict[str, list[str]] = {}
    name = section = ""
    for line in path.read_text().splitlines():
        text = line.partition(";")[0].strip()
        if header := re.match(r"\[\s*(\S+)\s*\]", text):
            section = header[1]
            if section not in ("atoms", "bonds", "angles", "dihedrals", "impropers", "exclusions", "cmap"):
                name = section
        elif text and section == "atoms":
            found.setdefault(name, []).append(text.split()[0])
    return found


FORCE_FIELDS = ("amber99sb-ildn", "charmm27", "gromos54a7", "oplsaa")


@pytest.mark.skipif(shutil.which("gmx") is None, reason="needs the residue databases of GROMACS")
@pytest.mark.parametrize("force_field", FORCE_FIELDS)
def test_amino_acids_in_all_states_have_the_atoms_of_gromacs(force_field: str) -> None:
    folder = Path(shutil.which("gmx") or "").resolve().parents[1] / "share" / "gromacs" / "top"
    path = folder / f"{force_field}.ff" / "aminoacids.rtp"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    of = {alias: family[0] for family in FAMILIES for alias in family}
    three = {mapping.name for mapping in shipped("martini3") if len(mapping.name) == 3}
    found = set()
    for name, atoms in rtp_residues(path).items():
        if of.get(name, name) not in three:
            continue
        found.add(of.get(name, name))
        for set_name in ("martini2", "martini3"):
            mapped = map_residues(moltype("X", [(name, atoms)]), shipped(set_name))
            assert mapped is not None
            assert mapped.problems == ()
            assert not [note for note in mapped.notes if "not there" in note or "does not name" in note], name
            weighed = np.asarray((mapped.weights != 0).sum(axis=0)).ravel()
            heavy = [not atom.lstrip("0123456789").startswith("H") for atom in atoms]
            assert (weighed[heavy] == 1).all(), name
    assert len(found) == 20


@pytest.mark.parametrize(("name", "statements"), [("POPC", 2), ("CHOL", 8), ("DOPE", 3), ("POPS", 3)])
def test_what_is_said_of_stereo_is_about_atoms_that_are_there(name: str, statements: int) -> None:
    mapping = residue(name)
    assert len(mapping.stereo) == statements
    atoms = {atom for _, atom in mapping.atoms}
    for stated in mapping.stereo:
        assert set(stated.atoms) <= atoms | {a for a in stated.atoms if a.startswith("H")}


GLYCEROL = {
    "C2": ["HS", "O21", "C1", "C3"],
    "O21": ["C21"],
    "C1": ["HA", "HB", "O11"],
    "C3": ["HX", "HY", "O31"],
    "O31": ["C31"],
    "O11": ["P"],
}


@pytest.mark.parametrize("hydrogen", ["HS", "H201"])
def test_lipids_are_r_at_the_middle_of_glycerol_whatever_its_hydrogen_is_called(hydrogen: str) -> None:
    names = list(dict.fromkeys([*GLYCEROL, *(a for near in GLYCEROL.values() for a in near)]))
    graph = moltype("X", [("POPC", names)]).graph
    graph.remove_edges_from([*graph.edges])
    graph.add_edges_from(
        ((names.index(a), names.index(b)) for a, near in GLYCEROL.items() for b in near), kind="bond"
    )
    graph.nodes[names.index("HS")]["name"] = hydrogen
    single = MoleculeType("X", 3, graph)
    mapping = replace(residue("POPC"), beads=(residue("POPC").beads[2],))
    mapped = map_residues(single, [mapping])
    assert mapped is not None
    (element,) = stereo_elements(single).tolist()
    # R: seen with the hydrogen behind, O21, C1 (with the phosphate) and C3 go round clockwise
    at = {names.index("HS"): np.array([0, 0, -1.0])}
    for name, angle in (("O21", 90), ("C1", -30), ("C3", 210)):
        at[names.index(name)] = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0.3])
    u = [at[row] / np.linalg.norm(at[row]) for row in element[1:4]]
    expected = int(np.sign(u[0] @ np.cross(u[1], u[2])))
    assert stated_states(single, mapped.stereo).tolist() == [expected]


SERINE = {"C12": ["H12A", "N", "C11", "C13"], "N": ["HN1"], "C11": ["O12"], "C13": ["O13A", "O13B"]}


@pytest.mark.parametrize("name", ["POPS", "DOPS"])
def test_serine_of_lipids_is_l(name: str) -> None:
    names = list(dict.fromkeys([*SERINE, *(a for near in SERINE.values() for a in near)]))
    graph = moltype("X", [(name, names)]).graph
    graph.remove_edges_from([*graph.edges])
    graph.add_edges_from(
        ((names.index(a), names.index(b)) for a, near in SERINE.items() for b in near), kind="bond"
    )
    single = MoleculeType("X", 3, graph)
    mapping = replace(residue(name), beads=(residue(name).beads[0],))
    mapped = map_residues(single, [mapping])
    assert mapped is not None
    (element,) = stereo_elements(single).tolist()
    # L: seen with the hydrogen in front, CO (C13), R (C11) and N go round clockwise
    at = {names.index("H12A"): np.array([0, 0, 1.0])}
    for atom, angle in (("C13", 90), ("C11", -30), ("N", 210)):
        at[names.index(atom)] = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), -0.3])
    u = [at[row] / np.linalg.norm(at[row]) for row in element[1:4]]
    assert stated_states(single, mapped.stereo).tolist() == [int(np.sign(u[0] @ np.cross(u[1], u[2])))]


AMBER = {"L": "LAL", "M": "MY", "P": "PA", "O": "OL"}
"""Tails of Lipid21 by those of :data:`TAILS`."""


def test_lipids_of_amber_are_those_of_charmm_in_three_residues() -> None:
    known = {"DL": "LL", "DM": "MM", "DP": "PP", "PO": "OP", "DO": "OO"}
    charmm = {mapping.name: mapping for mapping in reversed(shipped("martini-lipids"))}
    made = {mapping.residues: mapping for mapping in shipped("martini-amber-lipids")}
    assert len(made) == len(charmm)
    for name, there in charmm.items():
        second, first = (AMBER[tail] for tail in known[name[:2]])
        head = name[2:].replace("PG", "PGR")
        here = made[first, head, second]
        assert [(b.name, len(b.atoms)) for b in here.beads] == [(b.name, len(b.atoms)) for b in there.beads]
        assert Counter(s.kind for s in here.stereo) == Counter(s.kind for s in there.stereo)
        # tail A is on the middle of glycerol
        assert {part for b in here.beads if b.name.endswith("A") for part, _ in b.atoms} == {2}


def test_stereo_of_a_lipid_in_three_residues() -> None:
    head = ["C11", "C1", "C2", "HX", "C3", "O21", "O31", "C21"]
    tail = [f"C1{k}" for k in range(2, 19)]
    names = [("PA", ["C12"]), ("PE", head), ("OL", tail)]
    single = moltype("X", names)
    mapping = next(m for m in shipped("martini-amber-lipids") if m.residues == ("PA", "PE", "OL"))
    beads = tuple(b for b in mapping.beads if b.name in ("GL1", "C1A", "D2A", "C3A", "C4A"))
    mapped = map_residues(single, [replace(mapping, beads=beads)])
    assert mapped is not None
    assert mapped.problems == ()
    said = [(kind, [single.names[row] for row in rows]) for kind, rows in mapped.stereo]
    assert said == [
        ("chiral", ["HX", "C2", "O21", "C3", "C1"]),
        ("cis", ["C18", "C19", "C110", "C111"]),
    ]
    assert min(mapped.stereo[1][1]) > len(head)  # of the third residue


def test_other_mappings_of_lipids_get_the_stereo_that_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """As those of CG2AT and PyCGTOOL, which say nothing of it."""
    cg, aa = topology((beads_of("POPE"), 1)), topology((lipid("POPE"), 1))
    graph = aa.molecule_types["POPE"].graph
    rows = {data["name"]: row for row, data in graph.nodes(data=True)}
    for atom in ("C1", "O21", "C3"):  # the middle of glycerol, and its hydrogen
        graph.add_edge(rows["C2"], rows[atom], kind="bond")
    data = {**graph.nodes[0], "name": "HS", "element": "H", "mass": 1.008}
    graph.add_node(len(graph), **data)
    graph.add_edge(rows["C2"], len(graph) - 1, kind="bond")
    silent = replace(matched(cg, aa).mappings["POPE"], stereo=())
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        found = with_shipped(cg, aa, {"POPE": silent}, Matching())
    assert {kind for kind, _ in found.mappings["POPE"].stereo} == {"chiral", "cis"}
    assert "POPE: 1 stereocentres or double bonds that its mapping does not define are as in" in caplog.text
    assert found.paths == (share_path("molecules", "martini-lipids.map"),)
    other = moltype("POPE", [("POPE", ["C1", "C2", "C3"])])
    assert (
        with_shipped(cg, topology((other, 1)), {"POPE": replace(silent, molecule="POPE")}, Matching()).paths
        == ()
    )


# --- which molecules they are taken for ----------------------------------------------------------------


def test_a_bilayer_needs_no_mapping(caplog: pytest.LogCaptureFixture) -> None:
    cg = topology(
        (beads_of("POPC"), 2),
        (beads_of("CHOL"), 1),
        (beads("W", ["W"]), 3),
        (ion("NA+"), 1),
    )
    aa = topology((lipid("POPC"), 2), (lipid("CHL1", "CHOL"), 1), (water("TIP3"), 12), (ion("SOD"), 1))
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        system = matched(cg, aa)
    assert [match.moltype.name for match in system.matches] == ["POPC", "CHL1", "4 TIP3", "SOD"]
    assert system.mappings["POPC"].names == tuple(cg.molecule_types["POPC"].names)
    assert "POPC: mapping of martini-lipids that ships" in caplog.text
    assert "beads of water: W = 4 TIP3" in caplog.text
    for name in ("POPC", "CHL1"):
        weights = system.mappings[name].weights
        assert (derive_owners(weights, aa.molecule_types[name].graph) >= 0).all()


def test_several_that_fit_and_differ_are_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.map").write_text(
        share_path("molecules", "martini-lipids.map").read_text().replace(" C22\n", "\n").replace("C22 ", "")
    )
    monkeypatch.setenv("DBM_GMX_LIB", str(tmp_path))
    cg, aa = topology((beads_of("POPE"), 1)), topology((lipid("POPE"), 1))
    with pytest.raises(InputError, match=r"POPE: several .*differ \(mine, martini-lipids\)\. .*-m mine"):
        matched(cg, aa)
    assert find_set(Path("martini2")) == share_path("molecules", "martini2.map")
    assert find_set(Path("martini9")) == Path("martini9")


def test_names_of_beads_tell_martini_2_and_3_apart() -> None:
    sequence = ["ALA", "TRP", "HSD"]
    atoms = [
        (name, ["N", "HN", *(a for bead in residue(known).beads for _, a in bead.atoms if a != "N")])
        for name, known in zip(sequence, ["ALA", "TRP", "HIS"], strict=True)
    ]
    for name, count in (("martini2", 10), ("martini3", 12)):
        names = [bead.name for known in ("ALA", "TRP", "HIS") for bead in residue(known, name).beads]
        assert len(names) == count
        system = matched(topology((beads("Protein", names), 1)), topology((moltype("Chain_A", atoms), 1)))
        assert system.mappings["Chain_A"].names == tuple(names)
        assert system.mappings["Chain_A"].cg_molecule == "Protein"


@pytest.mark.parametrize("go", [0, 1])
def test_virtual_sites_of_tryptophan_have_atoms_and_those_of_go_models_have_none(go: int) -> None:
    chain = [(name, [a for bead in residue(name).beads for _, a in bead.atoms]) for name in ("TRP", "ALA")]
    names = [bead.name for known in ("TRP", "ALA") for bead in residue(known).beads]
    cg = beads("cob", names + ["CA"] * go)
    rows = [[3, 2, 4], [len(names), 0, 1]][: 1 + go]  # SC3, and the site of a Go model at a backbone
    cg = replace(cg, terms=(Terms("virtual_sitesn", 1, np.array(rows), np.full((len(rows), 2), 0.5)),))
    made = matched(topology((cg, 1)), topology((moltype("Protein", chain), 1)))
    assert made.mappings["Protein"].names == tuple(names)


def test_chains_that_are_one_molecule_of_beads() -> None:
    names = [bead.name for known in ("ALA", "TRP") for bead in residue(known).beads]
    chain = [(name, [a for bead in residue(name).beads for _, a in bead.atoms]) for name in ("ALA", "TRP")]
    cg = topology((beads("molecule_0", names * 2), 1))
    aa = topology((moltype("Chain_A", chain), 1), (moltype("Chain_B", chain), 1))
    assert [match.moltype.name for match in matched(cg, aa).matches] == ["Chain_A", "Chain_B"]


def test_other_beads_than_any_set_has_are_said(caplog: pytest.LogCaptureFixture) -> None:
    cg = topology((beads("POPC", ["HEAD", "TAIL"]), 1))
    with caplog.at_level(logging.INFO, "dbm_gmx"), pytest.raises(InputError, match="POPC: no mapping"):
        matched(cg, topology((lipid("POPC"), 1)))
    assert "the mapping of martini-lipids that ships has beads NC3 PO4" in caplog.text


@pytest.mark.parametrize(("waters", "each"), [(4, "4 SOL"), (1, "SOL")])
def test_beads_of_water_are_as_many_molecules_as_there_are(waters: int, each: str) -> None:
    system = matched(topology((beads("W", ["W"]), 5)), topology((water("SOL"), 5 * waters)))
    assert [match.moltype.name for match in system.matches] == [each]
    with pytest.raises(InputError, match="20 molecules SOL are needed, 4 a bead; 7 are there"):
        matched(topology((beads("W", ["W"]), 5)), topology((water("SOL"), 7)))


def test_water_of_two_kinds_of_beads_and_polarizable_water() -> None:
    assert WATERS_OF_BEADS["WF"] == 4
    cg = topology((beads("W", ["W"]), 2), (beads("WF", ["WF"]), 1))
    assert [m.count for m in matched(cg, topology((water("SOL"), 12))).matches] == [2, 1]
    polarizable = beads("PW", ["W", "WP", "WM"])
    polarizable.graph.nodes[1]["charge"], polarizable.graph.nodes[2]["charge"] = 0.46, -0.46
    (match,) = matched(topology((polarizable, 2)), topology((water("SOL"), 8))).matches
    assert match.mapping.names == ("W",)


def test_an_alias_goes_before_what_is_usual() -> None:
    cg, aa = topology((beads("W", ["W"]), 2)), topology((water("SOL"), 6))
    system = matched(cg, aa, Matching(aliases=(("W", "3 SOL"),)))
    assert [match.moltype.name for match in system.matches] == ["3 SOL"]


def test_own_sets_go_before_those_that_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "martini3.map").write_text("RESI LIG\n[ B ]\nC1 C2\n")
    monkeypatch.setenv("DBM_GMX_LIB", str(tmp_path))
    assert tmp_path / "martini3.map" in mapping_sets()
    assert share_path("molecules", "martini3.map") not in mapping_sets()
    system = matched(
        topology((beads("LIG", ["B"]), 1)), topology((moltype("LIG", [("LIG", ["C1", "C2"])]), 1))
    )
    assert residues_of(system.matches[0].moltype)[0].name == "LIG"


@pytest.mark.skipif(shutil.which("gmx") is None, reason="the topology of the atoms is made by GROMACS")
def test_the_bilayer_of_the_recipe_needs_no_mapping(tmp_path: Path) -> None:
    recipe = share_path("recipes", "martini", "bilayer.py")
    subprocess.run([sys.executable, recipe, tmp_path, "--lipids", "18"], check=True)
    gmx = ["gmx", "-quiet", "grompp", "-f", "em.mdp", "-c", "start.gro", "-p", "cg.top", "-o", "cg.tpr"]
    subprocess.run(gmx, cwd=tmp_path, check=True, capture_output=True)
    system, _ = read_system(tmp_path / "cg.tpr", MoleculeFiles(topology=tmp_path / "topol.top"))
    assert [match.moltype.name for match in system.matches] == ["POPC", "4 SOL", "NA", "CL"]
    lipid = system.matches[0]
    states = stated_states(lipid.moltype, lipid.mapping.stereo)
    assert np.count_nonzero(states) == 2  # the middle of glycerol, and the double bond
    assert system.n_atoms == 18 * 134 + 18 * 8 * 12 + 4

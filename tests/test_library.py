"""The library of molecules: where entries are found and how they become one system."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.library import find_molecules, library_folders, load_library
from dbm_gmx.files.share import share_path

TOP = """[ defaults ]
1 {rule} no 1.0 1.0
[ atomtypes ]
{types}
[ moleculetype ]
{name} 3
[ atoms ]
1 {type} 1 {name} C1 1 0.0 12.0
2 {type} 1 {name} C2 1 0.0 12.0
[ bonds ]
1 2 1 0.15 1000
[ system ]
one
[ molecules ]
{name} 1
"""
XML = """<cg_molecule><name>{name}</name><ident>{name}</ident><topology><cg_beads>
<cg_bead><name>B</name><type>B</type><mapping>B</mapping><beads>1:{name}:C1 1:{name}:C2</beads></cg_bead>
</cg_beads></topology><maps><map><name>B</name><weights>1 1</weights></map></maps></cg_molecule>"""


def entry(folder, name, *, type_="CX", types=None, rule=2, mapped=True):
    path = folder / name
    path.mkdir(parents=True)
    types = types or f"{type_} 6 12.0 0.0 A 0.3 0.5"
    (path / "topol.top").write_text(TOP.format(name=name, type=type_, types=types, rule=rule))
    if mapped:
        (path / "mapping.xml").write_text(XML.format(name=name))
    return path


def cg(*molecules):
    graph = nx.Graph()
    graph.add_node(0, name="B", type="B", element="", mass=24.0, charge=0.0, resid=1, resname="X")
    return Topology({name: MoleculeType(name, 1, graph) for name, _ in molecules}, molecules)


def test_share_is_that_of_the_checkout():
    assert share_path("molecules", "X").parts[-3:] == ("share", "molecules", "X")


def test_search_order(tmp_path, monkeypatch):
    here, lib, other = (tmp_path / n for n in ("here", "lib", "other"))
    here.mkdir()
    entry(lib, "ONE")
    entry(other, "ONE")
    entry(other, "TWO")
    monkeypatch.chdir(here)
    monkeypatch.setenv("DBM_GMX_LIB", f"{lib}:{other}")
    assert library_folders()[:3] == [here, lib, other]
    assert library_folders()[-1] == share_path("molecules")
    assert find_molecules(["ONE", "TWO"]) == {"ONE": lib / "ONE", "TWO": other / "TWO"}
    mine = entry(here, "ONE")
    assert find_molecules(["ONE"]) == {"ONE": mine}


def test_missing_ones_are_all_listed_with_what_to_do(tmp_path):
    entry(tmp_path, "ONE")
    entry(tmp_path, "BARE", mapped=False)
    with pytest.raises(InputError) as error:
        find_molecules(["ONE", "TWO", "BARE"], search=[tmp_path])
    for part in ("TWO, BARE", str(tmp_path), "-p topol.top -m mapping.xml", "DBM_GMX_LIB"):
        assert part in str(error.value)
    assert "ONE," not in str(error.value)


def test_map_instead_of_xml(tmp_path):
    path = entry(tmp_path, "ONE", mapped=False)
    (path / "ONE.map").write_text("[map]\n1 C 1 B\n2 C 1 B\n[/map]\n")
    _, mappings = load_library(cg(("ONE", 1)), search=[tmp_path])
    assert mappings["ONE"].owner.tolist() == [0, 0]


def test_entries_become_one_system_in_the_order_of_the_beads(tmp_path):
    entry(tmp_path, "ONE")
    entry(tmp_path, "TWO", type_="CY", types="CY 6 12.0 0.0 A 0.4 0.2\nCX 6 12.0 0.0 A 0.3 0.9")
    system, mappings = load_library(cg(("TWO", 3), ("ONE", 2), ("TWO", 1)), search=[tmp_path])
    assert system.molecules == (("TWO", 3), ("ONE", 2), ("TWO", 1))
    assert set(system.molecule_types) == set(mappings) == {"ONE", "TWO"}
    assert system.n_atoms == 12
    # The conflicting CX of TWO is not used there; the pair of both follows Lorentz-Berthelot.
    pair = system.nonbonded
    i, j = pair.types.index("CX"), pair.types.index("CY")
    sigma, epsilon = 0.35, np.sqrt(0.5 * 0.2)
    assert pair.c6[i, j] == pytest.approx(4 * epsilon * sigma**6)
    assert pair.c12[j, i] == pytest.approx(4 * epsilon * sigma**12)
    assert pair.c6[i, i] == pytest.approx(4 * 0.5 * 0.3**6)


def test_geometric_rule(tmp_path):
    entry(tmp_path, "ONE", rule=1, types="CX 6 12.0 0.0 A 0.004 4e-6")
    entry(tmp_path, "TWO", rule=1, type_="CY", types="CY 6 12.0 0.0 A 0.001 1e-6")
    system, _ = load_library(cg(("ONE", 1), ("TWO", 1)), search=[tmp_path])
    assert system.nonbonded.c6[0, 1] == pytest.approx(0.002)
    assert system.nonbonded.c12[0, 1] == pytest.approx(2e-6)


def test_same_type_with_other_parameters_is_refused(tmp_path):
    one = entry(tmp_path, "ONE")
    two = entry(tmp_path, "TWO", types="CX 6 12.0 0.0 A 0.3 0.6")
    with pytest.raises(InputError, match="C6 of atom types CX and CX") as error:
        load_library(cg(("ONE", 1), ("TWO", 1)), search=[tmp_path])
    assert str(one) in str(error.value)
    assert str(two) in str(error.value)


def test_other_defaults_are_refused(tmp_path):
    one = entry(tmp_path, "ONE", rule=2)
    two = entry(tmp_path, "TWO", rule=3, type_="CY")
    with pytest.raises(InputError, match="defaults") as error:
        load_library(cg(("ONE", 1), ("TWO", 1)), search=[tmp_path])
    assert str(one) in str(error.value)
    assert str(two) in str(error.value)


def test_entry_must_define_its_molecule(tmp_path):
    entry(tmp_path, "ONE").rename(tmp_path / "ELSE")
    with pytest.raises(InputError, match="ONE, not ELSE"):
        load_library(cg(("ELSE", 1)), search=[tmp_path])

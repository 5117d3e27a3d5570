"""Virtual sites without parameters, as of ``gmx pdb2gmx -vsite``: where bonds and angles say."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.fragments import make_fragments
from dbm_gmx.chemistry.heavy import heavy_graph
from dbm_gmx.chemistry.stereo import stereocentres
from dbm_gmx.chemistry.topology import MoleculeType, heavy_atoms, is_stand_in, own_masses
from dbm_gmx.chemistry.virtual_sites import place_in_molecules, real_graph
from dbm_gmx.errors import InputError
from dbm_gmx.files.top import read_topology

# An amide, an isopropyl and a methyl group, as pdb2gmx writes them: name, type, mass, place (nm).
STEM, ANGLE = 0.15, 110.0
"""nm and degrees: of the methyl group."""

TOP = """
[ defaults ]
1 2 yes 0.5 0.5
[ atomtypes ]
C 6 12.011 0 A 0.3 0.3
N 7 14.007 0 A 0.3 0.3
H 1 1.008 0 A 0.1 0.1
MCH3 0 0 0 A 0 0
[ moleculetype ]
MOL 3
[ atoms ]
1 C    1 MOL C   1 0 12.011
2 N    1 MOL N   1 0 15.015
3 H    1 MOL H   1 0 0
4 C    1 MOL CA  1 0 13.019
5 H    1 MOL HA  1 0 0
6 MCH3 1 MOL MCB1 1 0 7.5175
7 MCH3 1 MOL MCB2 1 0 7.5175
8 C    1 MOL CB  1 0 0
9 H    1 MOL HB1 1 0 0
10 H   1 MOL HB2 1 0 0
11 H   1 MOL HB3 1 0 0
12 C   1 MOL CG  1 0 14.027
13 H   1 MOL HG1 1 0 0
14 H   1 MOL HG2 1 0 0
15 C   1 MOL CD  1 0 12.011
[ bonds ]
1 2 1 0.135 3e5
2 3 1 0.101 3e5
2 4 1 0.145 3e5
4 5 1 0.109 3e5
4 8 1 0.150 3e5
8 9 1 0.109 3e5
8 10 1 0.109 3e5
8 11 1 0.109 3e5
4 12 1 0.153 3e5
12 13 1 0.109 3e5
12 14 1 0.109 3e5
12 15 1 0.152 3e5
[ constraints ]
4 6 2 0.165
4 7 2 0.165
6 7 2 0.080
[ angles ]
1 2 3 1 119 400
3 2 4 1 118 400
1 2 4 1 123 400
2 4 5 1 109 400
5 4 8 1 109 400
5 4 12 1 108 400
2 4 8 1 111 400
2 4 12 1 110 400
8 4 12 1 112 400
4 8 9 1 110 400
4 8 10 1 110 400
4 8 11 1 110 400
4 12 13 1 109 400
4 12 14 1 109 400
13 12 15 1 110 400
14 12 15 1 110 400
4 12 15 1 113 400
[ virtual_sites3 ]
3 2 1 4 2
8 4 6 7 1
9 4 6 7 1
10 4 6 7 4
11 4 6 7 -4
13 12 4 15 4
14 12 4 15 -4
[ virtual_sites4 ]
5 4 2 8 12 2
[ system ]
x
[ molecules ]
MOL 1
"""


@pytest.fixture
def moltype(tmp_path: Path) -> MoleculeType:
    (tmp_path / "topol.top").write_text(TOP)
    return read_topology(tmp_path / "topol.top").molecule_types["MOL"]


def angle(x: FloatArray, i: int, j: int, k: int) -> float:
    u, v = x[i - 1] - x[j - 1], x[k - 1] - x[j - 1]
    return math.degrees(math.acos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))


def corner(angle: float, length: float) -> FloatArray:
    """A point so far from the origin, at this angle to the x axis."""
    return length * np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle)), 0.0])


def test_sites_have_the_lengths_and_angles_of_the_force_field(moltype: MoleculeType) -> None:
    x = np.zeros((15, 3))
    x[0], x[3] = corner(0, 0.135), corner(123, 0.145)  # about N
    place_in_molecules(moltype, x[None])
    assert np.linalg.norm(x[2] - x[1]) == pytest.approx(0.101)
    assert angle(x, 1, 2, 3) + angle(x, 3, 2, 4) + angle(x, 1, 2, 4) == pytest.approx(360)
    x[11], x[3], x[14] = 0.0, corner(0, 0.153), corner(113, 0.152)  # about CG
    place_in_molecules(moltype, x[None])
    hydrogens = (13, 14)
    assert [np.linalg.norm(x[i - 1] - x[11]) for i in hydrogens] == pytest.approx([0.109] * 2)
    assert [angle(x, 4, 12, i) for i in hydrogens] == pytest.approx([109] * 2)
    assert [angle(x, i, 12, 15) for i in hydrogens] == pytest.approx([110] * 2)
    assert x[12, 2] == pytest.approx(-x[13, 2])
    assert abs(x[12, 2]) > 0.08


def test_a_group_on_two_masses_is_a_methyl_group(moltype: MoleculeType) -> None:
    x = np.zeros((15, 3))
    x[5], x[6] = (math.sqrt(0.165**2 - 0.04**2), 0.04, 0.0), (math.sqrt(0.165**2 - 0.04**2), -0.04, 0.0)
    place_in_molecules(moltype, x[None])
    np.testing.assert_allclose(x[7], [0.15, 0.0, 0.0], atol=1e-12)
    hydrogens = (9, 10, 11)
    assert [np.linalg.norm(x[i - 1] - x[7]) for i in hydrogens] == pytest.approx([0.109] * 3)
    assert [angle(x, 4, 8, i) for i in hydrogens] == pytest.approx([110] * 3)
    apart = [angle(x, i, 8, j) for i, j in ((9, 10), (10, 11), (9, 11))]
    assert apart == pytest.approx([apart[0]] * 3)


def test_masses_that_stand_for_a_group_are_part_of_the_molecule(moltype: MoleculeType) -> None:
    graph = real_graph(moltype)
    assert nx.is_connected(graph)
    assert sorted(graph[5]) == [3, 6]  # as a ring of three they keep their shape
    assert any({3, 5, 6} <= set(fragment.own.tolist()) for fragment in make_fragments(moltype))


@pytest.mark.parametrize(
    "line",
    [
        "[ virtual_sites3 ]\n3 2 1 12 2\n",  # no angle
        "[ virtual_sites3 ]\n3 2 1 4 1\n",  # not made from angles
        "[ virtual_sites4 ]\n5 4 2 8 15 2\n[ virtual_sites3 ]\n",
    ],
)
def test_parameters_that_do_not_follow_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "topol.top").write_text(re.sub(r"\[ virtual_sites3 \]\n.*?\n", line, TOP, count=1))
    with pytest.raises(InputError, match=r"topol.top:\d+: .*none follow from the bonds"):
        read_topology(tmp_path / "topol.top")


def test_parameters_as_grompp_finds_them(gmx: str, tmp_path: Path, moltype: MoleculeType) -> None:
    (tmp_path / "x.mdp").write_text("integrator = md\n")
    lines = ["x", "15", *(f"    1MOL  {i:5d}{i:5d}{0.1 * i:8.3f}{0.1:8.3f}{0.1:8.3f}" for i in range(1, 16))]
    (tmp_path / "x.gro").write_text("\n".join([*lines, "5 5 5"]) + "\n")
    options = ["-f", "x.mdp", "-c", "x.gro", "-p", "topol.top", "-o", "x.tpr", "-maxwarn", "9"]
    subprocess.run([gmx, "grompp", *options], cwd=tmp_path, check=True, capture_output=True)
    dump = subprocess.run(
        [gmx, "dump", "-s", "x.tpr"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    types = {
        number: [float(text) for text in re.findall(r"=\s*([-+.\de]+)", rest)]
        for number, rest in re.findall(r"functype\[(\d+)\]=VSITE\w+, (.*)", dump)
    }
    theirs = {
        tuple(map(int, atoms.split())): types[number]
        for number, atoms in re.findall(r"type=(\d+) \(VSITE\w+\)\s+([\d ]+)", dump)
    }
    ours = {
        tuple(row): values
        for terms in moltype.terms
        if terms.directive.startswith("virtual")
        for row, values in zip(terms.atoms.tolist(), terms.parameters.tolist(), strict=True)
    }
    assert ours.keys() == theirs.keys()
    for row, values in ours.items():
        assert values == pytest.approx(theirs[row], rel=1e-4, abs=1e-5)


def test_atoms_count_as_if_their_masses_were_their_own(moltype: MoleculeType) -> None:
    """CA has four neighbours and is no united atom; beads are the same as without sites."""
    found = own_masses(moltype.graph)
    np.testing.assert_allclose(found[[1, 2, 3, 7, 11]], [14.007, 1.008, 12.011, 12.011, 12.011], atol=1e-3)
    assert found[0] == 12.011
    assert stereocentres(moltype)[:, 0].tolist() == [3]
    assert [is_stand_in(moltype.graph, i) for i in (5, 6, 7)] == [True, True, False]
    assert heavy_atoms(moltype)[7]
    assert 5 not in heavy_graph(moltype)

"""Run input files: what is a chemical bond and what is not."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from dbm_gmx.chemistry.topology import excluded_pairs
from dbm_gmx.errors import InputError
from dbm_gmx.files import tpr
from dbm_gmx.files.structure import read_cg_system, read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.tpr import read_tpr

TOP = """
[ defaults ]
1 2 no 1 1
[ atomtypes ]
P  72 0 A 0.47 2.0
V   0 0 V 0 0
OW 8 15.9994 0 A 0.3166 0.65
HW 1 1.008   0 A 0 0
[ moleculetype ]
MART 1
[ atoms ]
1 P 5 RNG R1 1  0.5 72
2 P 5 RNG R2 2 -0.5 72
3 P 6 TAL T1 3  0   36
4 P 6 TAL T2 4  0   72
5 V 6 TAL VS 5  0    0
6 V 6 TAL VN 6  0    0
[ bonds ]
2 3 1 0.3 1000
1 4 6 0.5 500
2 4 10 0.3 0.4 0.5 500
[ constraints ]
1 2 1 0.27
3 4 2 0.30
[ virtual_sites2 ]
5 2 3 1 0.5
[ virtual_sitesn ]
6 1 3 4 1
[ moleculetype ]
SOL 2
[ atoms ]
1 OW 1 SOL OW  1 -0.82 15.9994
2 HW 1 SOL HW1 2  0.41 1.008
3 HW 1 SOL HW2 3  0.41 1.008
[ settles ]
1 1 0.1 0.16330
[ exclusions ]
1 2 3
2 1 3
3 1 2
[ system ]
x
[ molecules ]
SOL 2
MART 1
SOL 1
SOL 2
"""


def made(gmx, folder, top, atoms, box, mdp=""):
    """A .tpr of atoms in a row, (residue, name) each, all with the number 1 of a residue."""
    (folder / "x.top").write_text(top)
    (folder / "x.mdp").write_text("integrator = md\n" + mdp)
    lines = [
        f"{1:5d}{res:<5}{name:>5}{i + 1:5d}{0.1 * i:8.3f}{1:8.3f}{2:8.3f}\n"
        for i, (res, name) in enumerate(atoms)
    ]
    (folder / "x.gro").write_text(f"x\n{len(atoms)}\n" + "".join(lines) + box + "\n")
    command = [gmx, "grompp", "-f", "x.mdp", "-c", "x.gro", "-p", "x.top", "-o", "x.tpr", "-maxwarn", "9"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "x.tpr"


@pytest.fixture(scope="session")
def small_tpr(gmx, tmp_path_factory):
    """Constraints, virtual sites, settles and bonds of all sorts."""
    water = [("SOL", name) for name in ("OW", "HW1", "HW2")]
    bead = [("RNG", "R1"), ("RNG", "R2"), ("TAL", "T1"), ("TAL", "T2"), ("TAL", "VS"), ("TAL", "VN")]
    cut_offs = "rlist = 1\nrcoulomb = 1\nrvdw = 1\n"
    atoms = water * 2 + bead + water * 3
    return made(gmx, tmp_path_factory.mktemp("tpr"), TOP, atoms, "4 4 4 0 0 1 0 1 1", cut_offs)


def moltypes(molecule):
    return {(min(i, j), max(i, j)): moltype for i, j, moltype in molecule.graph.edges(data="kind")}


def test_every_sort_of_edge(small_tpr):
    topology, _ = read_tpr(small_tpr)
    assert moltypes(topology.molecule_types["MART"]) == {
        (0, 1): "constraint",
        (1, 2): "bond",
        (1, 4): "virtual",
        (2, 5): "virtual",
    }
    assert moltypes(topology.molecule_types["SOL"]) == {(0, 1): "settle", (0, 2): "settle"}


def test_molecules_atoms_and_box(small_tpr):
    topology, frame = read_tpr(small_tpr)
    assert topology.molecules == (("SOL", 2), ("MART", 1), ("SOL", 3))
    molecule = topology.molecule_types["MART"]
    assert molecule.graph.nodes[2] == {
        "name": "T1",
        "type": "P",
        "element": "",
        "mass": 36.0,
        "charge": 0.0,
        "resid": 6,
        "resname": "TAL",
    }
    assert molecule.charges[0] == 0.5
    assert topology.molecule_types["SOL"].elements == ["O", "H", "H"]
    np.testing.assert_allclose(frame.box, [[4, 0, 0], [1, 4, 0], [1, 1, 4]], rtol=1e-6)
    np.testing.assert_allclose(frame.positions, read_structure(small_tpr.with_suffix(".gro")).positions)


LIGAND = """
[ defaults ]
1 2 yes 0.5 0.8333
[ atomtypes ]
c3 c3 0 0 A 0.34 0.46
hc hc 0 0 A 0.26 0.07
oh oh 0 0 A 0.30 0.71
ho ho 0 0 A 0.10 0.02
[ moleculetype ]
LIG 3
[ atoms ]
1 c3 1 LIG C1 1 0 5.963
2 hc 1 LIG H1 1 0 3.024
3 hc 1 LIG H2 1 0 3.024
4 hc 1 LIG H3 1 0 3.024
5 oh 1 LIG O1 1 0 13.983
6 ho 1 LIG HO 1 0 3.024
[ bonds ]
1 2 1 0.109 2e5
1 3 1 0.109 2e5
1 4 1 0.109 2e5
1 5 1 0.142 2e5
5 6 1 0.096 3e5
[ moleculetype ]
PLN 3
[ atoms ]
1 oh 1 PLN O1 1 0 15.999
2 ho 1 PLN HO 1 0 1.008
[ bonds ]
1 2 1 0.096 3e5
[ system ]
x
[ molecules ]
LIG 1
PLN 1
"""
"""Atom types as acpype writes them: without atomic numbers; the first molecule with repartitioned masses."""


def test_elements_follow_from_masses_and_names_where_there_are_no_numbers(gmx, tmp_path):
    names = [("LIG", n) for n in ("C1", "H1", "H2", "H3", "O1", "HO")] + [("PLN", "O1"), ("PLN", "HO")]
    types = read_tpr(made(gmx, tmp_path, LIGAND, names, "4 4 4"))[0].molecule_types
    assert list(types["LIG"].elements) == ["C", "H", "H", "H", "O", "H"]
    assert list(types["PLN"].elements) == ["O", "H"]
    assert list(types["LIG"].elements) == list(
        read_topology(tmp_path / "x.top").molecule_types["LIG"].elements
    )


def test_a_line_of_no_molecules_as_gromacs_4_kept_it(small_tpr, monkeypatch):
    blocks, header = tpr.utils.do_molblock, tpr.utils.read_tpxheader
    monkeypatch.setattr(tpr.utils, "read_tpxheader", lambda data: header(data)._replace(natoms=12))

    def without_last(data):
        block = blocks(data)
        return block._replace(molb_nmol=0) if block.molb_nmol == 3 else block

    monkeypatch.setattr(tpr.utils, "do_molblock", without_last)
    assert tpr._read_system(small_tpr.read_bytes()).molecules == (("SOL", 2), ("MART", 1))


def test_exclusions_are_complete(small_tpr):
    topology, _ = read_tpr(small_tpr)
    assert excluded_pairs(topology.molecule_types["SOL"]).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert [1, 2] in excluded_pairs(topology.molecule_types["MART"]).tolist()


def test_tabulated_interactions_are_no_bonds(reference):
    topology, frame = read_cg_system(reference / "sps" / "cg.tpr")
    chain = topology.molecule_types["PS1"]
    assert topology.molecules == (("PS1", 36),)
    np.testing.assert_array_equal(chain.bonds, [(i, i + 1) for i in range(19)])
    np.testing.assert_allclose(frame.box, read_structure(reference / "sps" / "cg.gro").box, atol=1e-5)
    assert len(frame.positions) == topology.n_atoms == 720


@pytest.mark.parametrize("keep", [0, 10, 300, 0.5, 0.999])
def test_truncated_files_are_refused(reference, tmp_path, keep):
    content = (reference / "octane" / "cg.tpr").read_bytes()
    path = tmp_path / "cut.tpr"
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(InputError, match=r"cut\.tpr: file is truncated or not a run input file"):
        read_tpr(path)


def test_garbage_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "bad.tpr"
    path.write_bytes(np.random.default_rng(0).bytes(4000))
    with pytest.raises(InputError, match="truncated or not a run input file"):
        read_tpr(path)
    path.write_text("; a topology by another name\n" * 50)
    with pytest.raises(InputError, match="truncated or not a run input file"):
        read_tpr(path)
    with pytest.raises(InputError, match="no such file"):
        read_tpr(tmp_path / "none.tpr")


def test_a_structure_alone_is_not_enough(tmp_path):
    with pytest.raises(InputError, match=r"give a \.tpr"):
        read_cg_system(tmp_path / "cg.gro")


def test_structure_with_topology(reference, tmp_path):
    pytest.importorskip("dbm_gmx.files.top")
    folder = reference / "sps"
    topology, frame = read_cg_system(folder / "cg.gro", folder / "cg.top")
    assert topology.n_atoms == len(frame.positions) == 720
    assert len(topology.molecule_types["PS1"].bonds) == 19
    with pytest.raises(InputError, match="860 beads, but 720"):
        read_cg_system(reference / "octane" / "cg.gro", folder / "cg.top")

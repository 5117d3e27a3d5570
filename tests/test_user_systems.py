"""Systems as users have them, through ``backmap`` from file to file with the real sampler, in few sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import small
from mixed import Options, Result, command
from test_energy import rerun

from dbm_gmx.chemistry.topology import blocks
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import read_frames

FAST: Options = {"--sweeps": 4, "--annealing": 0, "--windows": 0, "--no-check": None, "--threads": 1}

HEAD = """
[ defaults ]
1 1 no 1 1
[ atomtypes ]
C  6 14.0 0 A 0.008 2e-5
S 16 32.0 0 A 0.008 2e-5
P 15 31.0 0 A 0.008 2e-5
F  9 19.0 0 A 0.002 2e-6
O  8 16.0 0 A 0.002 2e-6
OW 8 16.0 0 A 0.00307 3.0e-6
HW 1  1.0 0 A 0 0
MW 0  0.0 0 A 0 0
"""


def chain(name: str, carbons: int, more: str = "") -> str:
    """A molecule type of united carbons with the bond lengths and angles of an alkane."""
    lines = ["[ moleculetype ]", f"{name} 3", "[ atoms ]"]
    lines += [f"{i} C 1 {name} C{i} {i} 0 14.0" for i in range(1, carbons + 1)]
    lines += ["[ bonds ]", *(f"{i} {i + 1} 1 0.153 300000" for i in range(1, carbons))]
    lines += ["[ angles ]", *(f"{i} {i + 1} {i + 2} 1 114 520" for i in range(1, carbons - 1))]
    return "\n".join([*lines, more, ""])


@dataclass(frozen=True)
class Files:
    """A folder with ``topol.top``, ``cg.top``, ``cg.gro`` and ``map.map``, a mapping of residues."""

    folder: Path

    def write(self, moltypes: str, molecules: str, more: str = "") -> None:
        """Write the topology of the atoms."""
        text = f"{HEAD}{moltypes}\n[ system ]\nx\n[ molecules ]\n{molecules}\n{more}\n"
        (self.folder / "topol.top").write_text(text)

    def write_beads(self, beads: dict[str, str], molecules: str, places: np.ndarray) -> None:
        """Write topology and positions (n, 3) of beads, which are bonded one after the other, and a mapping.

        ``beads`` are lines ``name atoms ...`` for each molecule type.
        """
        mapping, lines = "", "[ defaults ]\n1 1 no 1 1\n[ atomtypes ]\nB 0 40 0 A 0 0\n"
        for name, text in beads.items():
            found = [line.split() for line in text.splitlines()]
            mapping += f"[ {name} ]\n" + "".join(f"{b} B {' '.join(atoms)}\n" for b, *atoms in found)
            lines += f"[ moleculetype ]\n{name} 1\n[ atoms ]\n"
            lines += "".join(f"{i} B 1 {name} {b} {i} 0 40\n" for i, (b, *_) in enumerate(found, 1))
            lines += "[ bonds ]\n" + "".join(f"{i} {i + 1} 1 0.3 1000\n" for i in range(1, len(found)))
        (self.folder / "map.map").write_text(mapping)
        (self.folder / "cg.top").write_text(f"{lines}[ system ]\nx\n[ molecules ]\n{molecules}\n")
        names = [
            (number, moltype.name, bead)
            for number, moltype in enumerate(
                (m for m, _, n in blocks(read_topology(self.folder / "cg.top")) for _ in range(n)), 1
            )
            for bead in moltype.names
        ]
        rows = [
            f"{number:5d}{name:5s}{bead:>5s}{i:5d}" + "".join(f"{v:8.3f}" for v in x)
            for i, ((number, name, bead), x) in enumerate(zip(names, places, strict=True), 1)
        ]
        (self.folder / "cg.gro").write_text("\n".join(["x", str(len(rows)), *rows, "3.0 3.0 3.0"]) + "\n")

    def command(self, more: Options | None = None) -> Result:
        """Run the command."""
        given: Options = {"-s": "cg.gro", "-cp": "cg.top", "-p": "topol.top", "-m": "map.map"}
        given = {key: self.folder / str(name) for key, name in given.items()} | FAST | (more or {})
        output = {"-o": self.folder / "aa.trr", "-c": self.folder / "aa.gro"}
        return command("backmap", {**given, "-t": 300, **output})

    def run(self, more: Options | None = None, rows: int = 0) -> tuple[Result, np.ndarray]:
        """Run the command; what it said and (n, 3) atoms, so many or those of ``topol.top``."""
        result = self.command(more)
        n_atoms = rows or read_topology(self.folder / "topol.top").n_atoms
        frame = next(read_frames(self.folder / "aa.trr", n_atoms=n_atoms))
        return result, np.array(frame.positions, np.float64)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def apart(atoms: np.ndarray, i: int, j: int) -> float:
    return float(np.linalg.norm(atoms[i] - atoms[j]))


# --- water of four sites whose shape is three constraints, beside a polymer --------------------------


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Result, np.ndarray, np.ndarray]:
    """Two butanes and water: files, what was said, atoms, and beads."""
    files = Files(tmp_path_factory.mktemp("solution"))
    files.write(chain("BUT", 4) + small.TIP4P_WATER, "BUT 2\nSOL 12")
    axis = np.array([0.6, 1.4, 2.2])
    water = np.stack(np.meshgrid(axis, axis, axis[:2], indexing="ij"), axis=-1).reshape(-1, 3)[:12]
    butane = np.array([[0.5, 0.5, 2.6], [0.75, 0.5, 2.6], [1.5, 1.5, 2.6], [1.75, 1.5, 2.6]])
    beads = np.concatenate([butane, water])
    files.write_beads({"BUT": "A1 C1 C2\nA2 C3 C4", "SOL": "W OW"}, "BUT 2\nSOL 12", beads)
    return files, *files.run(), beads


def test_water_of_four_sites_by_constraints(
    solution: tuple[Files, Result, np.ndarray, np.ndarray],
) -> None:
    _, result, atoms, beads = solution
    assert result.code == 0, result.out + result.err
    o, h, k, m = np.moveaxis(atoms[8:].reshape(-1, 4, 3), 1, 0)
    np.testing.assert_allclose(m, o + 0.13193828 * (h - o) + 0.13193828 * (k - o), atol=1e-6)
    for a, b, length in ((o, h, 0.09572), (o, k, 0.09572), (h, k, 0.15139)):
        np.testing.assert_allclose(np.linalg.norm(a - b, axis=1), length, atol=2e-6)
    assert np.linalg.norm(o - beads[4:], axis=1).max() < 0.02


def test_gromacs_takes_water_of_four_sites(
    gmx: str, tmp_path: Path, solution: tuple[Files, Result, np.ndarray, np.ndarray]
) -> None:
    """It puts the sites where they are: the energy does not change."""
    files = solution[0]
    top, gro = files.folder / "topol.top", files.folder / "aa.gro"
    coulomb = "coulombtype = Reaction-Field\nepsilon_rf = 0\nrcoulomb = 1.0\nrvdw = 1.0\n"
    found = rerun(gmx, tmp_path, top=top, gro=gro, names=["Potential", "LJ (SR)"], coulomb=coulomb)
    assert np.isfinite(found["Potential"])
    assert found["LJ (SR)"] < 50.0  # nothing is in contact


# --- springs that are no bonds -----------------------------------------------------------------------

SIX = "A1 C1 C2\nA2 C3 C4\nA3 C5 C6"
PLACES = np.array([[1.0, 1.5, 1.5], [1.25, 1.5, 1.5], [1.5, 1.5, 1.5]])


@pytest.mark.parametrize("constraints", ["", "constraints = all-bonds"])
def test_a_spring_between_the_ends_is_no_bond_of_fixed_length(files: Files, constraints: str) -> None:
    """A weak one of function 6, which is 0.3 nm long at rest; the beads hold the ends 0.6 nm apart."""
    files.write(chain("HEX", 6, "[ bonds ]\n1 6 6 0.3 100"), "HEX 1")
    files.write_beads({"HEX": SIX}, "HEX 1", PLACES)
    (files.folder / "run.mdp").write_text(f"ref-t = 300\n{constraints}\n")
    result, atoms = files.run({"--mdp": files.folder / "run.mdp"})
    assert result.code == 0, result.out + result.err
    for i in range(5):  # they are held, whether the .mdp asks for it or says nothing
        assert apart(atoms, i, i + 1) == pytest.approx(0.153, abs=2e-6)
    assert 0.5 < apart(atoms, 0, 5) < 0.7


@pytest.mark.parametrize("length", [0.36, 0.5])
def test_the_distance_of_two_molecules_that_are_held_together(files: Files, length: float) -> None:
    """A stiff spring: the molecules turn on their beads until it has its length, whatever that is."""
    between = f"[ intermolecular_interactions ]\n[ bonds ]\n2 3 6 {length} 20000"
    files.write(chain("ETH", 2), "ETH 2", between)
    files.write_beads({"ETH": "A C1 C2"}, "ETH 2", np.array([[1.2, 1.5, 1.5], [1.65, 1.5, 1.5]]))
    result, atoms = files.run()
    assert result.code == 0, result.out + result.err
    assert apart(atoms, 1, 2) == pytest.approx(length, abs=5 * (2.494 / 20000) ** 0.5)


# --- chirality of -r ---------------------------------------------------------------------------------

GROUPS = {
    "S": (("CA", "O", "CB", "CC"), [[0.12, 0.12, 0], [-0.1, 0.1, 0.06], [0, -0.1, 0.15], [0, 0, 0.27]]),
    "P": (("CA", "O", "CB", "CC", "F"), [[0.12, 0.12, 0.06], [-0.1, 0.1, 0], [0, -0.1, 0.15], [0, 0, 0.27]]),
}
"""What is around a sulphur and a phosphorus, and where; the last carbon is on the one before."""


def chiral(element: str) -> tuple[str, list[str], np.ndarray]:
    """A chiral sulphoxide or phosphinic fluoride: molecule type, names of atoms, and atoms (n, 3)."""
    groups, places = GROUPS[element]
    names = [element, *groups]
    x = np.array([[0, 0, 0], *places, [0.02, -0.12, -0.1]])[: len(names)]
    bonds = [(1, 2), (1, 3), (1, 4), (4, 5), *([(1, 6)] if element == "P" else [])]
    lines = ["[ moleculetype ]", "CHI 3", "[ atoms ]"]
    lines += [f"{i} {n[0]} 1 CHI {n} {i} 0 {20 + i}" for i, n in enumerate(names, 1)]
    lines += ["[ bonds ]"]
    lines += [f"{i} {j} 1 {np.linalg.norm(x[i - 1] - x[j - 1]):.4f} 200000" for i, j in bonds]
    lines += ["[ angles ]"]
    ends = [j for i, j in bonds if i == 1]
    for i, k in [*((i, k) for i in ends for k in ends if i < k), (1, 5)]:
        middle = 4 if k == 5 else 1
        u, v = x[i - 1] - x[middle - 1], x[k - 1] - x[middle - 1]
        angle = np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))
        lines.append(f"{i} {middle} {k} 1 {angle:.1f} 500")
    return "\n".join([*lines, ""]), names, x


def hand(x: np.ndarray) -> int:
    """Of the first atom, from the three that follow it."""
    return int(np.sign(np.linalg.det(x[1:4] - x[0])))


def write_gro(path: Path, molecules: list[tuple[str, list[str], np.ndarray]]) -> Path:
    """Write molecules: residue, names, atoms."""
    rows = [
        f"{k:5d}{residue:5s}{name:>5s}{0:5d}" + "".join(f"{v:8.3f}" for v in place)
        for k, (residue, names, x) in enumerate(molecules, 1)
        for name, place in zip(names, x, strict=True)
    ]
    path.write_text("\n".join(["x", str(len(rows)), *rows, "3.0 3.0 3.0"]) + "\n")
    return path


@pytest.fixture(params=["S", "P"])
def molecules(request: pytest.FixtureRequest, files: Files) -> tuple[Files, list[str], np.ndarray]:
    """Two chiral molecules and water of which beads say nothing: files, names of atoms, atoms of one."""
    moltype, names, x = chiral(request.param)
    files.write(moltype + small.TIP4P_WATER, "CHI 2\nSOL 1")
    beads = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.72], [1.5, 1.5, 0.5], [1.5, 1.5, 0.72], [2, 0.5, 2]])
    head = " ".join(n for n in names if n not in ("CB", "CC"))
    files.write_beads({"CHI": f"A1 {head}\nA2 CB CC", "SOL": "W OW"}, "CHI 2\nSOL 1", beads)
    return files, names, x


def test_sulphur_and_phosphorus_have_the_hands_of_the_conformer(
    molecules: tuple[Files, list[str], np.ndarray],
) -> None:
    """One conformer stands for all molecules of its type; without it nothing says how they are."""
    files, names, x = molecules
    n = len(names)
    for sign in (1, -1):
        turned = x * [1, 1, sign]
        given = write_gro(files.folder / "r.gro", [("CHI", names, turned)])
        result, atoms = files.run({"-r": given})
        assert result.code == 0, result.out + result.err
        assert "2 of 2 right" in result.out
        assert [hand(atoms[:n]), hand(atoms[n : 2 * n])] == [hand(turned)] * 2
    result, _ = files.run()
    assert result.code == 2
    assert "0 of 2 right, 2 undecided" in result.out


def test_a_conformer_of_the_whole_system_where_molecules_are_left_out(
    molecules: tuple[Files, list[str], np.ndarray],
) -> None:
    """Water of it is not rebuilt; or it has only the molecules that are; or not all of these."""
    files, names, x = molecules
    one, other = ("CHI", names, x + 1.0), ("CHI", names, x * [1, 1, -1] + 1.0)
    water = ("SOL", ["OW", "HW1", "HW2", "MW"], 0.1 * np.arange(12).reshape(4, 3))
    whole = write_gro(files.folder / "whole.gro", [one, other, water])
    some = write_gro(files.folder / "some.gro", [one, other])
    n = len(names)
    for given, more, rows in ((whole, {"--leave-out": "SOL"}, 2 * n), (some, {}, 2 * n + 4)):
        options: Options = {"-r": given, **more}
        result, atoms = files.run(options, rows=rows)
        assert result.code == 0, result.out + result.err
        assert [hand(atoms[:n]), hand(atoms[n : 2 * n])] == [hand(x), -hand(x)]
    given = write_gro(files.folder / "one.gro", [one, water])
    result = files.command({"-r": given})
    assert result.code == 1
    assert "1 molecules CHI among them; needed are all 2 of the system or one in a file of its own" in (
        result.err
    )

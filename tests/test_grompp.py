"""What grompp makes of the same files: constraints, exclusions, pairs, Lennard-Jones, cut-offs, atom by atom.

Run parameters and topologies are those that ship, some made here, and those of more systems where there are
any (``DBM_GMX_SYSTEMS``: a folder of folders with ``topol.top`` and ``run.mdp``).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks, excluded_pairs
from dbm_gmx.files.mdp import mdp_entries, read_mdp
from dbm_gmx.files.share import share_path
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.forcefield.constraints import fixed_bonds, without_bonds
from dbm_gmx.options import CONSTRAINTS, Conditions

HERE = Path(__file__).resolve().parent
MORE = Path(os.environ.get("DBM_GMX_SYSTEMS", HERE.parent.parent / "shared" / "systems"))

SHIPPED = [share_path("reference", name) for name in ("aps", "cumene", "octane", "sps")]
SYSTEMS = [*SHIPPED, *sorted(p.parent for p in MORE.glob("*/topol.top"))]

Pair = tuple[int, int]


@dataclass(frozen=True)
class Compiled:
    """A ``.tpr`` as ``gmx dump`` tells it."""

    text: str

    @cached_property
    def types(self) -> dict[int, tuple[str, dict[str, float]]]:
        """Kind of interaction and its parameters, by number."""
        found = re.findall(r"functype\[(\d+)\]=(\w+)((?:(?!functype).)*)", self.text)
        return {int(number): (kind, _values(rest)) for number, kind, rest in found}

    @cached_property
    def molecules(self) -> dict[str, str]:
        """The text of each molecule type."""
        parts = re.split(r"^ *moltype \(\d+\):$", self.text, flags=re.MULTILINE)[1:]
        named = (part.split("\ngrp[")[0] for part in parts)
        return {re.search(r'name="(.*)"', part)[1]: part for part in named}  # type: ignore[index]

    def rows(self, molecule: str, *kinds: str) -> Iterator[tuple[tuple[int, ...], dict[str, float]]]:
        """Atoms and parameters of interactions."""
        for number, kind, atoms in re.findall(
            r"^ *\d+ type=(\d+) \((\w+)\) +(.*)$", self.molecules[molecule], re.MULTILINE
        ):
            if kind in kinds:
                yield tuple(map(int, atoms.split())), self.types[int(number)][1]

    def value(self, key: str) -> str:
        """One of the run parameters."""
        return re.search(rf"^ *{key}:? *=? *(\S+)$", self.text, re.MULTILINE)[1]  # type: ignore[index]


def _values(text: str) -> dict[str, float]:
    pairs = re.findall(r"(\w+) ?= ?([-+.\de]+)", text)
    return {key: float(value) for key, value in pairs}


def grompp(top: Path, mdp: str, folder: Path) -> tuple[Compiled, Topology, Conditions]:
    """A .tpr of one molecule of each kind, and what we read of the same files.

    Positions make no difference to it, as long as what is excluded is near: atoms stand on a tight lattice.
    """
    (folder / "run.mdp").write_text(mdp)
    text, listed = re.split(r"(?m)(?<=^\[ molecules \]\n)", top.read_text())
    names = dict.fromkeys(line.split()[0] for line in listed.splitlines() if line.split(";")[0].split())
    here = folder / "topol.top"
    here.write_text(text + "".join(f"{name} 1\n" for name in names))
    conditions, told = read_mdp(folder / "run.mdp")
    topology = read_topology(here, defines=told.defines, include=[top.parent])
    side = int(np.ceil(topology.n_atoms ** (1 / 3)))
    at = np.stack(np.unravel_index(np.arange(topology.n_atoms), (side,) * 3), axis=1) * 0.02
    box = np.eye(3) * 4.0
    with open_writer(folder / "conf.gro", topology) as writer:
        writer.write(Frame(at.astype(np.float32), box))
    (folder / "run.mdp").write_text(f"{mdp}\ninclude = -I{top.parent}\n")
    command = [
        "gmx",
        "-quiet",
        "grompp",
        "-f",
        "run.mdp",
        "-c",
        "conf.gro",
        "-p",
        "topol.top",
        "-o",
        "run.tpr",
    ]
    done = subprocess.run(
        [*command, "-maxwarn", "9"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "non-matching atom names" not in done.stderr
    dumped = subprocess.run(
        ["gmx", "-quiet", "dump", "-s", "run.tpr"], cwd=folder, capture_output=True, text=True, check=True
    )
    return Compiled(dumped.stdout), topology, conditions


def ordered(atoms: tuple[int, ...]) -> Pair:
    return min(atoms), max(atoms)


def assert_same(ours: dict[Pair, tuple[float, ...]], theirs: dict[Pair, tuple[float, ...]]) -> None:
    assert sorted(ours) == sorted(theirs)
    for pair, values in ours.items():
        np.testing.assert_allclose(values, theirs[pair], rtol=2e-6, err_msg=str(pair))


def compare_constraints(compiled: Compiled, moltype: MoleculeType, constraints: str) -> None:
    name = moltype.name
    theirs = {ordered(atoms): (values["dA"],) for atoms, values in compiled.rows(name, "CONSTR", "CONSTRNC")}
    for (o, h, other), values in compiled.rows(name, "SETTLE"):
        theirs |= {ordered(p): (values["doh"],) for p in ((o, h), (o, other))}
        theirs[ordered((h, other))] = (values["dhh"],)
    pairs, lengths = fixed_bonds(moltype, constraints)
    ours = {ordered(p): (length,) for p, length in zip(pairs.tolist(), lengths.tolist(), strict=True)}
    assert_same(ours, theirs)
    kinds = ("BONDS", "G96BONDS", "MORSE", "CUBICBONDS", "HARMONIC", "FENEBONDS", "TABBONDS", "TABBONDSNC")
    left = sorted(ordered(atoms) for atoms, _ in compiled.rows(name, *kinds, "RESTRAINTPOT"))
    free = [without_bonds(t, pairs).atoms for t in moltype.terms if t.directive == "bonds"]
    assert sorted(ordered(tuple(row)) for rows in free for row in rows.tolist()) == left


def compare_exclusions(compiled: Compiled, moltype: MoleculeType) -> None:
    lists = re.findall(r"excls\[(\d+)\]\[num=\d+\]=\{([^}]*)\}", compiled.molecules[moltype.name])
    theirs = {ordered((int(i), int(j))) for i, others in lists for j in others.split(",") if int(j) != int(i)}
    assert set(map(tuple, excluded_pairs(moltype).tolist())) == theirs


def compare_pairs(compiled: Compiled, moltype: MoleculeType) -> None:
    rows = compiled.rows(moltype.name, "LJ14")
    theirs = {ordered(atoms): (values["c6A"], values["c12A"]) for atoms, values in rows}
    for atoms, v in compiled.rows(moltype.name, "LJC14_Q"):
        theirs[ordered(atoms)] = v["fqq"], v["qi"], v["qj"], v["c6"], v["c12"]
    ours = {}
    for terms in moltype.terms:
        if terms.directive == "pairs":
            for row, values in zip(terms.atoms.tolist(), terms.parameters.tolist(), strict=True):
                ours[ordered(tuple(row))] = tuple(values)
    assert_same(ours, theirs)


def compare_atoms(compiled: Compiled, moltype: MoleculeType, topology: Topology) -> None:
    """Masses, charges and Lennard-Jones between all atoms of a molecule."""
    text = compiled.molecules[moltype.name]
    atoms = re.findall(r"atom\[ *\d+\]=\{type= *(\d+), .*m= *(\S+), q= *(\S+), mB", text)
    np.testing.assert_allclose(moltype.masses, [float(m) for _, m, _ in atoms], rtol=5e-6)
    np.testing.assert_allclose(moltype.charges, [float(q) for *_, q in atoms], rtol=5e-6, atol=1e-9)
    lj, count = topology.nonbonded, int(compiled.value("atnr"))
    assert lj is not None
    rows = [lj.types.index(str(name)) for name in moltype.attribute("type")]
    kinds = {(int(theirs[0]), ours) for theirs, ours in zip(atoms, rows, strict=True)}
    for one, i in kinds:
        for other, j in kinds:
            _, values = compiled.types[one * count + other]
            np.testing.assert_allclose(
                [lj.c6[i, j], lj.c12[i, j]], [values["c6"], values["c12"]], rtol=3e-6, err_msg=f"{i} {j}"
            )


def compare_cutoffs(compiled: Compiled, conditions: Conditions) -> None:
    found = [float(compiled.value(key)) for key in ("rvdw", "rcoulomb", "epsilon-r")]
    assert found == [conditions.rvdw, conditions.rcoulomb, conditions.epsilon_r]
    switched = compiled.value("vdw-modifier") == "Force-switch" or compiled.value("vdw-type") == "Shift"
    start = float(compiled.value("rvdw-switch")) if switched else None
    assert conditions.rvdw_switch == start
    kind = compiled.value("coulombtype")
    assert (conditions.epsilon_rf is None) == (kind == "PME")
    if kind == "Reaction-Field":
        epsilon = float(compiled.value("epsilon-rf"))
        assert conditions.epsilon_rf == (0.0 if np.isinf(epsilon) else epsilon)
    if conditions.source == "run.mdp":
        assert float(compiled.value("ref-t")) == pytest.approx(conditions.temperature)


def compare(compiled: Compiled, topology: Topology, conditions: Conditions) -> None:
    compare_cutoffs(compiled, conditions)
    for moltype, _, _ in blocks(topology):
        compare_constraints(compiled, moltype, conditions.constraints)
        compare_exclusions(compiled, moltype)
        compare_pairs(compiled, moltype)
        compare_atoms(compiled, moltype, topology)


def cases() -> Iterator[object]:
    """Every system with every choice of constraints; what is large, with all but one in the long tests."""
    for folder in SYSTEMS:
        for constraints in CONSTRAINTS:
            marks = [pytest.mark.long] if folder not in SHIPPED and constraints != "h-bonds" else []
            yield pytest.param(folder, constraints, id=f"{folder.name}-{constraints}", marks=marks)


@pytest.mark.parametrize(("folder", "constraints"), list(cases()))
def test_systems_are_what_grompp_makes_of_them(
    gmx: str, folder: Path, constraints: str, tmp_path: Path
) -> None:
    entries = {key: entry.text for key, entry in mdp_entries(folder / "run.mdp").items()}
    mdp = "\n".join(f"{key} = {text}" for key, text in (entries | {"constraints": constraints}).items())
    compare(*grompp(folder / "topol.top", mdp, tmp_path))


BONDS = {
    1: "0.15 1000",
    2: "0.16 1000",
    3: "0.17 300 20",
    4: "0.18 1000 100",
    5: "",
    6: "0.15 1000",
    7: "0.15 1000",
    8: "0 1000",
    9: "0 1000",
    10: "0.1 0.2 0.3 1000",
}


def every_form(names: tuple[str, str]) -> str:
    """A topology with a pair of atoms for every form of a bond or constraint, and water."""
    kinds = [("bonds", k, text) for k, text in BONDS.items()]
    kinds += [("constraints", k, "0.19") for k in (1, 2)]
    atoms, sections = [], {"bonds": "", "constraints": ""}
    for number, (directive, function, text) in enumerate(kinds):
        first = 2 * number + 1
        atoms += [f"{first + k} CT 1 M {name}{number} {first + k}" for k, name in enumerate(names)]
        sections[directive] += f"{first} {first + 1} {function} {text}\n"
    text = "".join(f"[ {directive} ]\n{lines}" for directive, lines in sections.items())
    return (
        "[ defaults ]\n1 2 yes 0.5 0.8\n[ atomtypes ]\nCT 6 12.011 0.0 A 0.3 0.4\nHC 1 1.008 0.1 A 0.2 0.1\n"
        "OW 8 15.999 -0.2 A 0.31 0.5\n[ nonbond_params ]\nHC CT 1 0.2 0.7\n[ pairtypes ]\nHC CT 1 0.22 0.3\n"
        "[ moleculetype ]\nM 3\n[ atoms ]\n" + "\n".join(atoms) + f"\n{text}"
        "[ moleculetype ]\nSOL 2\n[ atoms ]\n1 OW 1 SOL OW 1\n2 HC 1 SOL HW1 1\n3 HC 1 SOL HW2 1\n"
        "#ifdef FLEXIBLE\n[ bonds ]\n1 2 1 0.1 3e5\n1 3 1 0.1 3e5\n#else\n[ settles ]\n1 1 0.1 0.163\n"
        "#endif\n[ exclusions ]\n1 2 3\n2 3\n"
        "[ moleculetype ]\nCHAIN 2\n[ atoms ]\n1 CT 1 CH C1 1\n2 CT 1 CH C2 1\n3 CT 1 CH C3 1\n"
        "4 HC 1 CH H4 1\n5 CT 1 CH C5 1\n[ bonds ]\n1 2 1 0.15 1000\n2 3 6 0.15 1000\n"
        "1 3 6 0.5 100\n4 5 8 0 1000\n"
        "[ constraints ]\n2 4 2 0.15\n3 4 1 0.11\n[ pairs ]\n1 4 1\n1 5 1\n2 5 2 0.5 0.1 0.2 0.3 0.4\n"
        "[ system ]\nx\n[ molecules ]\nM 1\nSOL 1\nCHAIN 1\n"
    )


@pytest.mark.parametrize("flexible", [False, True])
@pytest.mark.parametrize("constraints", CONSTRAINTS)
@pytest.mark.parametrize("names", [("C", "H"), ("D", "1H"), ("h", "C")], ids="-".join)
def test_every_form_is_what_grompp_makes_of_it(
    gmx: str, names: tuple[str, str], constraints: str, flexible: bool, tmp_path: Path
) -> None:
    """Which of them become constraints, which exclude; names decide which atom is a hydrogen."""
    (tmp_path / "made").mkdir()
    top = tmp_path / "made" / "every.top"
    top.write_text(every_form(names))
    mdp = f"constraints = {constraints}\nrvdw = 1.1\nrcoulomb = 1.1\n" + "define = -DFLEXIBLE\n" * flexible
    compare(*grompp(top, mdp, tmp_path))


@pytest.mark.parametrize(
    "mdp",
    [
        "coulombtype = Reaction-Field\nepsilon-rf = 61\nepsilon-r = 2\n",
        "coulombtype = Reaction-Field\nepsilon-rf = 0\nvdw-modifier = Force-switch\nrvdw-switch = 0.8\n",
        "coulomb-type = Reaction-Field\nepsilonrf = 61\nr-vdw = 1\nvd_wtype = Shift\nRvdwSwitch = 0.7\n",
        "coulombtype = PME\nrvdw = 0.9\nrcoulomb = 0.9\nvdw-modifier = None\n",
        "tcoupl = v-rescale\ntc-grps = System\ntau-t = 1\nref-t = 333\nintegrator = md\n",
        "coulombtype = Cut-off\nvdwtype = Cut-off\nvdw-modifier = Potential-shift\n",
    ],
)
def test_cut_offs_are_those_of_grompp(gmx: str, mdp: str, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    top = tmp_path / "made" / "every.top"
    top.write_text(every_form(("C", "H")))
    compare(*grompp(top, f"constraints = none\n{mdp}", tmp_path))

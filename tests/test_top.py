"""The preprocessor, the reader of .top and .itp, and the hand-over to ParmEd."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import parmed
import pytest
from scaling import exponent

from dbm_gmx.backmapping.rebuilder import say_left_out
from dbm_gmx.chemistry.topology import MoleculeType, Terms, Topology, excluded_pairs
from dbm_gmx.errors import InputError
from dbm_gmx.files.bonded_tables import read_table
from dbm_gmx.files.elements import element_of
from dbm_gmx.files.parmed import to_parmed
from dbm_gmx.files.preprocess import active_lines
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield.terms import energy_terms
from dbm_gmx.logs import NOTICE

DEFAULTS = "[ defaults ]\n1 2 yes 0.5 0.8\n"
TYPES = "[ atomtypes ]\nCT 6 12.011 0.0 A 0.3 0.4\nHC 1 1.008 0.1 A 0.2 0.1\n"
FOUR = (
    "[ moleculetype ]\nM 3\n[ atoms ]\n1 CT 1 M C1 1\n2 CT 1 M C2 1\n3 HC 1 M H3 1\n4 HC 1 M H4 1 -0.5 2.0\n"
)
SYSTEM = "[ system ]\ntest\n[ molecules ]\nM 2\n"


def read(folder: Path, text: str, **options: object) -> Topology:
    path = folder / "topol.top"
    path.write_text(text)
    return read_topology(path, **options)  # type: ignore[arg-type]


def molecule(folder: Path, terms: str, *, types: str = "", head: str = DEFAULTS + TYPES) -> MoleculeType:
    return read(folder, head + types + FOUR + terms + SYSTEM).molecule_types["M"]


def only(moltype: MoleculeType) -> Terms:
    (term,) = moltype.terms
    return term


# --- preprocessor ---------------------------------------------------------------------------------


def texts(path: Path, *defines: str) -> list[str]:
    return [line.text for line in active_lines(path, defines)]


def test_macros_conditions_comments_and_continuation(tmp_path: Path) -> None:
    path = tmp_path / "a.top"
    path.write_text(
        "#define gb_2 0.1 gk ; a comment\n#define gk 5e3\n1 2 gb_2 ; bond\ngb_21 xgb_2\n"
        "#ifdef OUTER\nouter\n#ifndef INNER\nnot inner\n#else\ninner\n#endif\n#else\nneither\n#ifdef INNER\n"
        "never\n#endif\n#endif\n#undef gk\n3 \\\n4 gk\n"
    )
    assert texts(path) == ["1 2 0.1 5e3", "gb_21 xgb_2", "neither", "3  4 gk"]
    assert texts(path, "OUTER")[2:-1] == ["outer", "not inner"]
    assert texts(path, "OUTER", "INNER=1")[2:-1] == ["outer", "inner"]
    assert [line.number for line in active_lines(path)] == [3, 4, 13, 19]


def test_includes_are_looked_for_like_gromacs_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lib, more, sub = tmp_path / "lib" / "x.ff", tmp_path / "more", tmp_path / "sub"
    for folder in (lib, more, sub):
        folder.mkdir(parents=True)
    (lib / "force.itp").write_text('#include "near.itp"\n')
    (lib / "near.itp").write_text("near\n")
    (more / "extra.itp").write_text("extra\n")
    (sub / "one.itp").write_text('#include "two.itp"\n#include <beside.itp>\n')
    (sub / "two.itp").write_text("two\n")
    (tmp_path / "beside.itp").write_text("\nbeside top\n")
    top = tmp_path / "a.top"
    top.write_text('#include "x.ff/force.itp"\n#include "sub/one.itp"\n#include "extra.itp"\n')
    monkeypatch.setenv("GMXLIB", f"{tmp_path / 'nowhere'}:{lib.parent}")
    lines = list(active_lines(top, include=[more]))
    assert [line.text for line in lines] == ["near", "two", "beside top", "extra"]
    assert [(line.path.name, line.number) for line in lines][2] == ("beside.itp", 2)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('ok\n\n#include "gone.itp"\n', 3, r"'gone.itp' not found; looked in .*share/gromacs/top"),
        ('#include "a.top"\n', 1, "includes itself"),
        ("x\n#ifdef A\n#ifdef B\n#endif\n", 2, "#ifdef A.*without an #endif"),
        ("#else\n", 1, "without #ifdef"),
        ("#ifdef A\n#else\n#else\n#endif\n", 3, "second #else"),
        ("#if A\n", 1, "#if is not known"),
        ("#pragma once\n", 1, "unknown preprocessor command"),
        ("#define a b\n#define b a\na\n", 3, "contains itself"),
    ],
)
def test_preprocessor_errors_say_where(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "a.top"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        list(active_lines(path))
    assert (error.value.path, error.value.line) == (path, line)


def test_inactive_lines_are_not_even_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.top"
    path.write_text('#ifdef NO\n#include "gone.itp"\n#pragma\n#define b 2\n#endif\nb\n')
    assert texts(path) == ["b"]


# --- atoms and force field ------------------------------------------------------------------------


@pytest.mark.parametrize("optional", ["", "CT", "6", "CT 6"])
def test_atom_type_layouts(tmp_path: Path, optional: str) -> None:
    types = f"[ atomtypes ]\nopls_135 {optional} 12.011 -0.18 A 0.35 0.28\n"
    bonded = "CT" if "CT" in optional else "opls_135"
    bonds = f"[ bondtypes ]\n{bonded} {bonded} 1 0.1529 224262.4\n"
    atoms = "[ moleculetype ]\nM 3\n[ atoms ]\n1 opls_135 7B ETH C1 1\n2 opls_135 8 ETH C2 1 0.5 14.0\n"
    top = read(tmp_path, DEFAULTS + types + bonds + atoms + "[ bonds ]\n1 2 1\n" + SYSTEM)
    moltype = top.molecule_types["M"]
    assert only(moltype).parameters.tolist() == [[0.1529, 224262.4]]
    assert moltype.graph.nodes[0] == {
        **{"name": "C1", "type": "opls_135", "element": "C", "mass": 12.011, "charge": -0.18},
        **{"resid": 7, "resname": "ETH"},
    }
    assert (moltype.masses[1], moltype.charges[1], top.n_atoms) == (14.0, 0.5, 4)


@pytest.mark.parametrize(
    ("number", "mass", "names", "symbol"),
    [
        (6, 14.027, ("CH2",), "C"),
        (0, 1.008, ("1HB",), "H"),
        (0, 35.45, ("CL",), "Cl"),
        (0, 15.035, ("CH3",), "C"),
        (0, 15.999, ("OW",), "O"),
        (0, 28.054, ("A1", "A"), ""),
        (0, 0.0, ("MW",), ""),
        (-1, 72.0, ("C1",), ""),
    ],
)
def test_element(number: int, mass: float, names: tuple[str, ...], symbol: str) -> None:
    assert element_of(number, mass, names=names) == symbol


@pytest.mark.parametrize("heavy", [1.008, 2.0, 3.024, 4.032])
def test_elements_where_hydrogens_have_taken_mass_and_types_have_no_number(
    tmp_path: Path, heavy: float
) -> None:
    """Methylamide as acpype writes it; a bead called H that is as heavy is none."""
    taken = heavy - 1.008
    types = "".join(f"{t} {t} 0.0 0.0 A 0.3 0.4\n" for t in ("c3", "n", "hn", "h1", "P"))
    own = [
        ("c3", "C1", 12.01 - 3 * taken),
        ("n", "N1", 14.01 - taken),
        ("hn", "HN1", heavy),
        *(("h1", f"HE{k}", heavy) for k in (1, 2, 3)),
        ("P", "H", 36.0),
        ("P", "H4", 2.0),
        ("P", "A1", 36.0),
    ]
    atoms = "".join(f"{i} {t} 1 M {n} 1 0 {m}\n" for i, (t, n, m) in enumerate(own, 1))
    bonds = "".join(
        f"{i} {j} 1 0.1 1000\n" for i, j in ((1, 2), (2, 3), (1, 4), (1, 5), (1, 6), (7, 8), (8, 9))
    )
    head = f"{DEFAULTS}[ atomtypes ]\n{types}[ moleculetype ]\nM 3\n[ atoms ]\n{atoms}[ bonds ]\n{bonds}"
    moltype = read(tmp_path, head + SYSTEM).molecule_types["M"]
    assert list(moltype.elements) == ["C", "N", *"HHHH", "", "", ""]


def test_combination_rules_and_overrides(tmp_path: Path) -> None:
    def matrices(rule: int, types: str, override: str = "") -> tuple[list[float], list[float]]:
        head = f"[ defaults ]\n1 {rule}\n[ atomtypes ]\n{types}{override}"
        lj = read(tmp_path, head + FOUR + SYSTEM).nonbonded
        assert lj is not None
        assert lj.rule == rule
        return [*lj.c6[0], lj.c6[1, 1]], [*lj.c12[0], lj.c12[1, 1]]

    def lj(sigma: float, epsilon: float) -> tuple[float, float]:
        return 4 * epsilon * sigma**6, 4 * epsilon * sigma**12

    direct = "CT 12 0 A 4e-3 9e-6\nHC 1 0 A 1e-3 1e-6\n"
    assert np.allclose(matrices(1, direct), [[4e-3, 2e-3, 1e-3], [9e-6, 3e-6, 1e-6]])
    sized = "CT 12 0 A 0.4 0.9\nHC 1 0 A 0.1 0.4\n"
    arithmetic = np.transpose([lj(0.4, 0.9), lj(0.25, 0.6), lj(0.1, 0.4)])
    assert np.allclose(matrices(2, sized), arithmetic)
    geometric = np.transpose([lj(0.4, 0.9), lj(0.2, 0.6), lj(0.1, 0.4)])
    assert np.allclose(matrices(3, sized), geometric)
    override = "[ nonbond_params ]\nHC CT 1 0.3 0.5\n"
    arithmetic[:, 1] = lj(0.3, 0.5)
    assert np.allclose(matrices(2, sized, override), arithmetic)
    assert np.allclose(matrices(1, direct, override), [[4e-3, 0.3, 1e-3], [9e-6, 0.5, 1e-6]])


def test_pairs_are_c6_and_c12_wherever_they_come_from(tmp_path: Path) -> None:
    def lj(sigma: float, epsilon: float) -> list[float]:
        return [4 * epsilon * sigma**6, 4 * epsilon * sigma**12]

    pairs = "[ pairs ]\n1 4\n3 2 1\n1 2 1\n3 4 1 0.3 0.7\n"
    types = "[ pairtypes ]\nCT CT 1 0.25 0.6\n[ nonbond_params ]\nHC CT 1 0.3 0.5\n"
    term = only(molecule(tmp_path, pairs, types=types))
    assert (term.directive, term.function) == ("pairs", 1)
    # generated pairs are fudgeLJ times the (overridden) Lennard-Jones parameters
    assert np.allclose(term.parameters, [lj(0.3, 0.25), lj(0.3, 0.25), lj(0.25, 0.6), lj(0.3, 0.7)], atol=0)
    explicit = only(molecule(tmp_path, "[ pairs ]\n1 4 2 0.8 0.1 0.2 0.3 0.7\n"))
    assert np.allclose(explicit.parameters, [[0.8, 0.1, 0.2, *lj(0.3, 0.7)]], atol=0)
    head = DEFAULTS.replace("yes", "no") + TYPES
    with pytest.raises(InputError, match=r"pairs.*1 \(C1\), 4 \(H4\)"):
        molecule(tmp_path, "[ pairs ]\n1 4 1\n", head=head)


def test_bonded_types_match_in_both_directions(tmp_path: Path) -> None:
    types = (
        "[ bondtypes ]\nHC CT 1 0.109 3000\nCT CT 1 0.153 2000\nCT HC 1 0.109 3000\nCT CT 2 0.15 7e6\n"
        "[ angletypes ]\nHC CT CT 5 110 300 0.22 900\n[ constrainttypes ]\nCT HC 1 0.11\n"
    )
    terms = "[ bonds ]\n1 2\n2 3 1\n1 2 2\n[ angles ]\n1 2 3 5\n[ constraints ]\n3 1 1\n"
    moltype = molecule(tmp_path, terms, types=types)
    found = {(t.directive, t.function): t.parameters.tolist() for t in moltype.terms}
    assert found == {
        ("bonds", 1): [[0.153, 2000], [0.109, 3000]],
        ("bonds", 2): [[0.15, 7e6]],
        ("angles", 5): [[110, 300, 0.22, 900]],
        ("constraints", 1): [[0.11]],
    }


ONCE = {
    "atomtypes": "CT 6 12.011 0.0 A 0.3 0.41",
    "bondtypes": "CT HC 1 0.109 3000\nHC CT 1 0.109 3001",
    "constrainttypes": "CT HC 1 0.11\nCT HC 1 0.12",
    "angletypes": "HC CT CT 5 110 300 0.22 900\nCT CT HC 5 110 300 0.22 901",
    "dihedraltypes": "HC CT CT HC 3 1 2 3 4 5 6\nHC CT CT HC 3 1 2 3 4 5 7",
    "pairtypes": "CT HC 1 0.3 0.1\nHC CT 1 0.3 0.2",
    "nonbond_params": "CT HC 1 0.3 0.1\nHC CT 1 0.2 0.1",
}


@pytest.mark.parametrize("directive", ONCE)
def test_a_type_with_two_values_is_refused_with_both_lines(tmp_path: Path, directive: str) -> None:
    """GROMACS stops there with a warning; the same values again say nothing new (it stops at atom types)."""
    first, *others = ONCE[directive].splitlines()
    lines = [first, *others] if others else [TYPES.splitlines()[1], first]
    head = DEFAULTS + (TYPES if others else TYPES.splitlines()[0] + "\n" + TYPES.splitlines()[2] + "\n")
    number = (head + f"[ {directive} ]\n").count("\n") + 1
    text = head + f"[ {directive} ]\n" + "\n".join(lines) + "\n" + FOUR + SYSTEM
    with pytest.raises(InputError, match=rf"defined again with other values, .*top:{number}, ") as error:
        read(tmp_path, text)
    assert error.value.line == number + 1
    assert read(tmp_path, text.replace(lines[1], lines[0])).n_atoms == 8


def test_dihedral_types(tmp_path: Path) -> None:
    types = (
        "[ dihedraltypes ]\nX CT CT X 9 0 1 1\nX CT CT X 9 180 2 2\nX CT CT HC 9 0 3 3\nX X CT HC 9 0 4 4\n"
        "HC X CT HC 9 0 5 5\nHC HC CT CT 2 35 300\nHC CT 2 10 50\nX CT HC HC 4 180 7 2\nCT CT 3 1 2 3 4 5 6\n"
    )
    dihedrals = (
        "[ dihedrals ]\n3 1 2 4 9\n4 2 1 3 9\n3 4 1 2 2\n3 1 4 2 2\n1 2 3 4 4\n3 1 2 4 3\n"
        "1 2 3 4 1 180 5 2 180 6 2\n1 2 3 4 5 1 2 3 4\n"
    )
    moltype = molecule(tmp_path, dihedrals, types=types)
    found = {t.function: t.parameters.tolist() for t in moltype.terms}
    assert found == {
        9: [[0, 3, 3], [0, 3, 3]],  # fewest wildcards, then the first in the file
        2: [[35, 300], [10, 50]],  # two types of function 2 are the outer ones
        4: [[180, 7, 2]],
        3: [[1, 2, 3, 4, 5, 6]],
        1: [[180, 5, 2]],  # state A of six numbers
        5: [[1, 2, 3, 4, 0]],
    }
    wild = types[: types.index("X CT CT HC")]
    several = only(molecule(tmp_path, "[ dihedrals ]\n4 1 2 3 9\n", types=wild))
    assert several.parameters.tolist() == [[0, 1, 1], [180, 2, 2]]
    assert several.atoms.tolist() == [[3, 0, 1, 2]] * 2


# --- molecule types -------------------------------------------------------------------------------


def test_edges_are_what_gromacs_calls_chemical_bonds(tmp_path: Path) -> None:
    bonds = (
        "[ bonds ]\n1 2 8 0 1.0\n1 3 9 1 1.0\n2 4 6 0.1 100\n2 3 5\n[ constraints ]\n3 4 1 0.1\n1 4 2 0.1\n"
    )
    moltype = molecule(tmp_path, bonds)
    edges = {(*sorted(e[:2]), e[2]) for e in moltype.graph.edges(data="kind")}
    assert edges == {(0, 1, "bond"), (1, 2, "bond"), (2, 3, "constraint")}
    assert [(t.directive, t.function) for t in moltype.terms] == [
        *(("bonds", 8), ("bonds", 9), ("bonds", 6), ("constraints", 1), ("constraints", 2))
    ]


def test_water_with_settles_virtual_site_and_exclusions(tmp_path: Path) -> None:
    water = (
        "#ifdef FLEXIBLE\n[ bonds ]\n1 2 1 0.1 5000\n#else\n[ settles ]\n1 1 0.0957 0.1514\n#endif\n"
        "[ dummies3 ]\n4 1 2 3 1 0.128 0.128\n[ exclusions ]\n1 2 3 4\n2 1 3 4\n3 1 2 4\n"
        "[ position_restraints ]\n1 1 1000 1000 1000\n"
    )
    moltype = molecule(tmp_path, water)
    settle, site = moltype.terms
    assert settle.atoms.tolist() == [[0, 1, 2]]
    assert settle.parameters.tolist() == [[0.0957, 0.1514]]
    assert (site.directive, site.function, site.atoms.tolist()) == ("virtual_sites3", 1, [[3, 0, 1, 2]])
    assert {(*sorted(e[:2]), e[2]) for e in moltype.graph.edges(data="kind")} == {
        *((0, 1, "settle"), (0, 2, "settle"), (0, 3, "virtual"))
    }
    assert moltype.exclusions.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    flexible = read(tmp_path, DEFAULTS + TYPES + FOUR + water + SYSTEM, defines=["FLEXIBLE"])
    assert flexible.molecule_types["M"].bonds.tolist() == [[0, 1], [0, 3]]


def test_virtual_sitesn_hold_normalised_weights(tmp_path: Path) -> None:
    sites = "[ virtual_sitesn ]\n4 1 1 2\n4 2 1 3\n4 3 1 1.0 2 3.0\n"
    moltype = molecule(tmp_path, sites)
    weights = [row for t in moltype.terms for row in t.parameters.tolist()]
    assert np.allclose(weights, [[0.5, 0.5], [12.011 / 13.019, 1.008 / 13.019], [0.25, 0.75]])
    assert [t.function for t in moltype.terms] == [1, 2, 3]


def test_molecules_keep_order_repeats_and_drop_zero(tmp_path: Path) -> None:
    other = FOUR.replace("\nM 3", "\nN 2")
    system = "[ system ]\nx\n[ molecules ]\nm 2\nN 0\nN 1\nM 3\n"
    top = read(tmp_path, DEFAULTS + TYPES + FOUR + other + system)
    assert top.molecules == (("M", 2), ("N", 1), ("M", 3))
    assert top.n_atoms == 24


PARTS = {
    "d": DEFAULTS,
    "t": TYPES,
    "b": "[ bondtypes ]\nCT CT 1 0.15 1000\n",
    "M": "[ moleculetype ]\nM 3\n",
    "a": FOUR[FOUR.index("[ atoms ]") :],
    "r": "[ bonds ]\n1 2 1 0.15 1000\n",
    "x": "[ exclusions ]\n1 2\n",
    "N": "[ moleculetype ]\nN 3\n",
    "p": "[ position_restraints ]\n4 1 9 9 9\n",
    "q": "[ position_restraints ]\n5 1 9 9 9\n",
    "s": "[ system ]\ntest\n",
    "m": "[ molecules ]\nM 1\nN 1\n",
}


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("dtbMarNarsm", ""),
        ("dtbMarsNarm", ""),  # a molecule type may follow the name of the system
        ("dtbMarNxarsm", ""),
        ("dtbMarpNarsm", ""),
        ("dtbMarqNarsm", "18: atom 5 in [ position_restraints ]: there are 1 to 4"),
        ("dtbMparNarsm", "10: [ position_restraints ] must stand after [ atoms ]"),
        ("tdbMarNarsm", "1: [ atomtypes ] must stand after [ defaults ]"),
        ("dbtMarNarsm", "3: [ bondtypes ] must stand after [ atomtypes ]"),
        ("dtMabrNarsm", "13: [ bondtypes ] must stand before the first [ moleculetype ]"),
        ("dtMrabNarsm", "8: [ bonds ] must stand after [ atoms ]"),
        ("dtbMarNrasm", "19: [ bonds ] must stand after [ atoms ]"),
        ("sdtbMarNarm", "1: [ system ] must stand after [ moleculetype ]"),
        ("dtbMarNarms", "26: [ molecules ] must stand after [ system ]"),
        ("dtbMarsmNar", "23: 'N' must be defined before [ molecules ]"),
    ],
)
def test_directives_are_in_an_order_that_grompp_takes(tmp_path: Path, order: str, message: str) -> None:
    text = "".join(PARTS[part] for part in order)
    if message:
        with pytest.raises(InputError, match=re.escape(message)):
            read(tmp_path, text)
    else:
        read(tmp_path, text)
    if gmx := shutil.which("gmx"):
        (tmp_path / "run.mdp").write_text("rcoulomb = 0.9\nrvdw = 0.9\n")
        atoms = "".join(f"    1M       X1{k:5}{k / 10:8.3f}{0:8.3f}{0:8.3f}\n" for k in range(8))
        (tmp_path / "conf.gro").write_text(f"x\n8\n{atoms}3 3 3\n")
        words = [
            "grompp",
            "-maxwarn",
            "9",
            "-f",
            "run.mdp",
            "-c",
            "conf.gro",
            "-r",
            "conf.gro",
            "-p",
            "topol.top",
        ]
        done = subprocess.run([gmx, *words], cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode != 0) is bool(message), done.stderr


def test_file_with_molecule_types_only(tmp_path: Path) -> None:
    path = tmp_path / "m.itp"
    path.write_text(FOUR + "[ bonds ]\n1 2 1\n2 3 1 0.1 1000\n")
    top = read_topology(path)
    moltype = top.molecule_types["M"]
    assert (top.molecules, top.nonbonded, moltype.bonds.tolist()) == ((), None, [[0, 1], [1, 2]])
    assert [t.parameters.shape for t in moltype.terms] == [(1, 0), (1, 2)]
    assert np.isnan(moltype.masses[0])
    assert moltype.masses[3] == 2.0


@pytest.mark.parametrize(
    ("terms", "line", "message"),
    [
        ("[ bonds ]\n1 2 1\n", 2, r"bonds.*function 1.*1 \(C1\), 2 \(C2\).*CT CT.*bondtypes"),
        ("[ bonds ]\n1 2 1 0.1\n", 2, "found 1 parameters, expected 2"),
        ("[ bonds ]\n1 2 2 gb_99\n", 2, "expected 2|gb_99"),
        ("[ bonds ]\n1 2 2 0.1 gk\n", 2, "'gk' is no number.*macro"),
        ("[ bonds ]\n1 9 1 0.1 5\n", 2, "outside 1-4"),
        ("[ bonds ]\n1 1 1 0.1 5\n", 2, "twice"),
        ("[ bonds ]\n1 2 1 gb_27\n", 2, r"'gb_27' is no number \(a macro without its #define\?\)"),
        ("[ bonds ]\n1 2 77\n", 2, "77.*supported: 1, 2"),
        ("[ emap ]\n", 1, r"\[ emap \] is not supported; supported: .*bonds"),
        ("[ cmaptypes ]\nCT CT CT CT CT 1 2 3 1 2 3 4 5 6\n", 2, "2 x 3; supported: 1, as many rows"),
        ("[ cmaptypes ]\nCT CT CT CT CT 1 2 2 1 2 3\n", 2, "found 3 energies, expected 2 x 2"),
        ("[ pairs ]\n1 4 2\n", 2, "no parameters"),
        ("[ moleculetype ]\nN 3\n[ atoms ]\n1 QQ 1 M A 1\n", 4, "'QQ'.*known: CT, HC"),
        ("[ moleculetype ]\nN 3\n[ atoms ]\n2 CT 1 M A 1\n", 4, "expected 1"),
        ("[ moleculetype ]\nM 3\n[ atoms ]\n1 CT 1 M A 1\n", 2, "defined twice"),
        ("[ dihedraltypes ]\nX CT CT X 9 0 1 1\nX X X X 9 0 1 1\nX CT CT X 9 0 2 2\n", 4, "again with"),
        ("[ system ]\nx\n[ molecules ]\nQ 1\n", 4, "'Q'; known: M"),
    ],
)
def test_errors_name_line_and_choices(tmp_path: Path, terms: str, line: int, message: str) -> None:
    field = terms.split()[1].endswith("types")
    before, after = DEFAULTS + TYPES, SYSTEM
    before, after = (before, FOUR + after) if field else (before + FOUR, after)
    with pytest.raises(InputError, match=re.compile(message, re.DOTALL)) as error:
        read(tmp_path, before + terms + after)
    assert error.value.line == before.count("\n") + line


FIVE = FOUR + "5 CT 1 M C5 1\n"
MAPS = "[ cmaptypes ]\nCT CT HC HC CT 1 2 2\\\n1 2\\\n3 4\nCT CT HC HC CT 1 2 2 9 9 9 9\n"


def test_correction_maps_are_looked_up_in_one_direction_and_the_first_counts(tmp_path: Path) -> None:
    text = DEFAULTS + TYPES + MAPS + FIVE + "[ cmap ]\n1 2 3 4 5 1\n" + SYSTEM
    found = only(read(tmp_path, text).molecule_types["M"])
    assert (found.directive, found.atoms.tolist()) == ("cmap", [[0, 1, 2, 3, 4]])
    assert found.parameters.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    with pytest.raises(InputError, match=r"no parameters for \[ cmap \].*nor in \[ cmaptypes"):
        read(tmp_path, text.replace("CT CT HC HC CT", "CT HC HC CT CT"))


def test_constants_that_are_negative_in_charmm27_are_read(tmp_path: Path) -> None:
    """Of the distance of Urey and Bradley, and of an improper."""
    found = molecule(tmp_path, "[ angles ]\n1 2 3 5 140 125 0.28 -33472\n[ dihedrals ]\n1 2 3 4 2 0 -41.84\n")
    assert [t.parameters.tolist() for t in found.terms] == [[[140, 125, 0.28, -33472]], [[0, -41.84]]]


@pytest.mark.parametrize("product", ["K*0.8", "K * 0.8", "500*K"])
def test_of_a_product_the_first_number_counts(tmp_path: Path, product: str) -> None:
    """As for grompp; elastic networks of martinize.py (Martini 2) are written so."""
    define = "#define K 500.0\n"
    found = molecule(tmp_path, f"[ bonds ]\n1 2 6 0.7 {product}\n", head=define + DEFAULTS + TYPES)
    assert only(found).parameters.tolist() == [[0.7, 500]]
    with pytest.raises(InputError, match="found 1 parameters, expected 2"):
        molecule(tmp_path, f"[ bonds ]\n1 2 6 {product} 0.7\n", head=define + DEFAULTS + TYPES)


def test_restraints_of_angles_are_read_and_those_to_places_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where atoms are sampled, it is said in any case; not of those that an ``.mdp`` switches on."""
    more = "[ dihedral_restraints ]\n1 2 3 4 1 90 10 5\n[ angle_restraints ]\n1 2 3 4 1 90 5 2\n"
    more += "[ distance_restraints ]\n1 2 1 0 1 0.1 0.2 0.3 1\n[ position_restraints ]\n1 1 100 100 100\n"
    text = DEFAULTS + TYPES + FOUR + more + SYSTEM
    topology = read(tmp_path, text)
    found = topology.molecule_types["M"]
    assert topology.left_out == ("position_restraints",)
    assert read(tmp_path, text.replace("1 1 100 100 100", "")).left_out == ()
    with caplog.at_level(NOTICE, logger="dbm_gmx"):
        say_left_out(topology)
        say_left_out(replace(topology, left_out=()))
    assert [(t.directive, t.parameters.tolist()) for t in found.terms] == [
        ("dihedral_restraints", [[90.0, 10.0, 5.0]]),
        ("angle_restraints", [[90.0, 5.0, 2.0]]),
    ]
    said = ": [ position_restraints ]: not sampled, but part of a run with this topology"
    assert [r.message.removeprefix(str(topology.path)) for r in caplog.records] == [said]


def test_tables_are_looked_for_beside_the_topology(tmp_path: Path) -> None:
    line = "[ bonds ]\n1 2 8 3 200\n"
    assert only(molecule(tmp_path, line)).parameters.tolist() == [[3.0, 200.0]]
    with pytest.raises(InputError, match=r"table_b3\.xvg beside the topology"):
        energy_terms(molecule(tmp_path, line))
    table = tmp_path / "table_b3.xvg"
    table.write_text("# a table\n0 5 1\n0.1 4 -2\n0.2 3 0\n")
    found = only(molecule(tmp_path, line)).parameters
    np.testing.assert_allclose(found, [[0.1, 200, 5, 4, 3, -1, 2, 0]])
    table.write_text("0 5 0\n0.1 4 0\n0.25 3 0\n")
    with pytest.raises(InputError, match="evenly spaced"):
        molecule(tmp_path, line)


def test_a_table_without_slopes_gets_those_of_its_energies(tmp_path: Path) -> None:
    table = tmp_path / "table_a0.xvg"
    x = np.linspace(0, 180, 7)
    np.savetxt(table, np.stack([x, x**2, 0 * x], axis=1))
    step, *values = read_table(table, "a")
    assert step == pytest.approx(np.pi / 6)
    slopes = np.array(values[7:]) * np.pi / 180
    np.testing.assert_allclose(slopes[1:-1], 2 * x[1:-1])
    table.write_text("0 1 1\n90 2 2\n")
    with pytest.raises(InputError, match="from 0 to 90; a table_a goes from 0 to 180"):
        read_table(table, "a")


def test_interactions_between_molecules_number_the_atoms_of_the_system(tmp_path: Path) -> None:
    between = "[ intermolecular_interactions ]\n[ bonds ]\n2 7 6 0.4 100\n"
    found = read(tmp_path, DEFAULTS + TYPES + FOUR + SYSTEM + between)
    (terms,) = found.intermolecular
    restraints = "[ distance_restraints ]\n2 7 1 0 1 0.3 0.4 0.5 1\n"  # switched on by an .mdp, and left out
    also = read(tmp_path, DEFAULTS + TYPES + FOUR + SYSTEM + between + restraints)
    assert [t.directive for t in also.intermolecular] == ["bonds"]
    assert (terms.directive, terms.function, terms.atoms.tolist()) == ("bonds", 6, [[1, 6]])
    assert terms.parameters.tolist() == [[0.4, 100.0]]
    assert not found.molecule_types["M"].terms
    for wrong, message in (
        ("[ bonds ]\n2 9 6 0.4 100\n", "outside 1-8"),
        ("[ bonds ]\n2 7 6\n", "must stand in the line"),
        ("[ settles ]\n1 1 0.1 0.1\n", r"\[ settles \] after .* is not supported"),
        ("2 7 6 0.4 100\n", "right below"),
    ):
        text = DEFAULTS + TYPES + FOUR + SYSTEM + "[ intermolecular_interactions ]\n" + wrong
        with pytest.raises(InputError, match=message):
            read(tmp_path, text)


def test_buckingham_and_missing_defaults_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nbfunc 2"):
        read(tmp_path, "[ defaults ]\n2 1\n" + TYPES + FOUR + SYSTEM)
    with pytest.raises(InputError, match="without"):
        read(tmp_path, TYPES + FOUR + SYSTEM)
    with pytest.raises(InputError, match="no such file"):
        read_topology(tmp_path / "gone.top")


def long_molecule(n: int) -> str:
    atoms = "".join(f"{i} CT 1 M C 1 0.0 12.011\n" for i in range(1, n + 1))
    bonds = "".join(f"{i} {i + 1} 1\n" for i in range(1, n))
    angles = "".join(f"{i} {i + 1} {i + 2} 1 109.5 400\n" for i in range(1, n - 1))
    types = "[ bondtypes ]\nCT CT 1 0.153 2e5\n"
    body = f"[ moleculetype ]\nM 3\n[ atoms ]\n{atoms}[ bonds ]\n{bonds}[ angles ]\n{angles}"
    return DEFAULTS + TYPES + types + body + SYSTEM


def test_time_to_read_a_molecule_goes_with_its_size(tmp_path: Path) -> None:
    texts = {n: long_molecule(n) for n in (1_000, 20_000)}
    assert exponent(lambda n: read(tmp_path, texts[n]), 1_000, 20_000) < 1.5
    assert read(tmp_path, texts[20_000]).n_atoms == 40_000


# --- against others -------------------------------------------------------------------------------

CHAIN = (
    "[ bondtypes ]\nCT CT 1 0.153 2e5\nCT HC 1 0.109 3e5\n"
    "[ angletypes ]\nCT CT HC 1 110 300\n"
    "[ dihedraltypes ]\nX CT CT X 3 1 2 3 4 5 0\n"
)
BUTANE_LIKE = (
    "[ bonds ]\n1 2 1\n1 3 1\n2 4 1\n[ angles ]\n2 1 3 1\n1 2 4 1\n"
    "[ dihedrals ]\n3 1 2 4 3\n3 1 2 4 1 180 5 2\n[ dihedrals ]\n1 2 3 4 2 35 300\n[ pairs ]\n3 4 1\n"
)


def test_parmed_structure_is_the_one_parmed_reads(tmp_path: Path) -> None:
    types = TYPES.replace("1.008 0.1", "1.008 0.0")  # ParmEd takes no charges from atom types
    mine = to_parmed(read(tmp_path, DEFAULTS + types + CHAIN + FOUR + BUTANE_LIKE + SYSTEM))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = parmed.gromacs.GromacsTopologyFile(str(tmp_path / "topol.top"))
    for name in ("bonds", "angles", "dihedrals", "impropers", "rb_torsions"):
        ours, others = getattr(mine, name), getattr(theirs, name)
        assert len(ours) == len(others) > 0, name
        for a, b in zip(ours, others, strict=True):
            assert a.type == b.type, name
            assert [a.atom1.idx, a.atom2.idx] == [b.atom1.idx, b.atom2.idx]
    for a, b in zip(mine.atoms, theirs.atoms, strict=True):
        for name in ("name", "type", "atomic_number", "mass", "charge", "sigma", "epsilon"):
            assert getattr(a, name) == pytest.approx(getattr(b, name)), name
        assert a.residue.idx == b.residue.idx


def test_forms_parmed_lacks_have_no_type(tmp_path: Path) -> None:
    terms = "[ bonds ]\n1 2 2 0.15 7e6\n1 3 8 0 1\n[ angles ]\n1 2 3 2 110 500\n1 2 4 5 110 500 0.2 900\n"
    structure = to_parmed(read(tmp_path, DEFAULTS + TYPES + FOUR + terms + SYSTEM))
    assert [b.type for b in structure.bonds] == [None] * 4
    assert [a.type is None for a in structure.angles] == [True, False] * 2
    ends = [(u.type.req, u.type.k) for u in structure.urey_bradleys]
    assert ends == [(2.0, pytest.approx(450 / 418.4))] * 2


@pytest.mark.parametrize(
    ("system", "n", "edges", "angles"),
    [("sps", 5832, 171, 300), ("octane", 5590, 25, 48), ("cumene", 5565, 21, 36)],
)
def test_reference_systems(reference: Path, system: str, n: int, edges: int, angles: int) -> None:
    top = read_topology(reference / system / "topol.top")
    ((moltype, _),) = [(top.molecule_types[name], count) for name, count in top.molecules]
    assert (top.n_atoms, len(moltype.bonds)) == (n, edges)
    assert sum(len(t.atoms) for t in moltype.terms if t.directive == "angles") == angles
    assert set(moltype.elements) == {"C", "H"}
    assert sum(moltype.charges) == pytest.approx(0, abs=1e-6)


def test_reference_coarse_grained(reference: Path) -> None:
    moltype = read_topology(reference / "sps" / "cg.top").molecule_types["PS1"]
    assert moltype.bonds.tolist() == [[i, i + 1] for i in range(19)]  # the 1-5 terms are no bonds
    assert set(moltype.elements) == {""}


ETHANE = """#include "oplsaa.ff/forcefield.itp"
[ moleculetype ]
ETH 3
[ atoms ]
1 opls_135 1 ETH C1 1
2 opls_135 1 ETH C2 1
3 opls_140 1 ETH H1 1
4 opls_140 1 ETH H2 1
[ bonds ]
1 2
1 3 1
2 4 1
[ angles ]
3 1 2 1
[ dihedrals ]
3 1 2 4 3
3 1 2 4 1 improper_Z_CA_X_Y
[ pairs ]
3 4 1
#include "oplsaa.ff/tip4p.itp"
[ system ]
x
[ molecules ]
ETH 1
SOL 1
"""


def test_same_parameters_as_grompp(tmp_path: Path, gmx: str) -> None:
    top = read(tmp_path, ETHANE)
    points = "".join(f"    1SOL    OW{i:5d}{i % 2:8.3f}{i / 2:8.3f}{i / 4:8.3f}\n" for i in range(1, 9))
    (tmp_path / "conf.gro").write_text(f"x\n    8\n{points}   5.0 5.0 5.0\n")
    (tmp_path / "md.mdp").write_text("integrator = md\n")
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True, "timeout": 300}
    files = ["-f", "md.mdp", "-c", "conf.gro", "-p", "topol.top", "-o", "a.tpr", "-maxwarn", "9"]
    subprocess.run([gmx, "grompp", *files], **run)  # type: ignore[call-overload]
    dump = subprocess.run([gmx, "dump", "-s", "a.tpr"], **run).stdout  # type: ignore[call-overload]

    def dumped(name: str) -> list[list[float]]:
        found = re.findall(rf"functype\[\d+\]={name}, (.*)", dump)
        return [[float(x) for x in re.findall(r"= *([-+.\de]+)", text)] for text in found]

    terms = {(t.directive, t.function): t.parameters for t in top.molecule_types["ETH"].terms}
    water = {t.directive: t.parameters for t in top.molecule_types["SOL"].terms}
    assert np.allclose(terms["bonds", 1][:2], [row[:2] for row in dumped("BONDS")], rtol=1e-5)
    assert np.allclose(terms["angles", 1], [row[:2] for row in dumped("ANGLES")])
    assert np.allclose(terms["dihedrals", 3], [row[:6] for row in dumped("RBDIHS")])
    assert np.allclose(terms["dihedrals", 1], [[row[0], row[1], row[4]] for row in dumped("PDIHS")])
    assert np.allclose(terms["pairs", 1], [row[:2] for row in dumped("LJ14")], rtol=1e-5, atol=0)
    assert np.allclose(water["settles"], dumped("SETTLE"))
    assert np.allclose(water["virtual_sites3"], dumped("VSITE3"))
    moltypes = ["opls_135", "opls_140", "opls_113", "opls_114", "opls_115"]
    lj = top.nonbonded
    assert lj is not None
    rows = [lj.types.index(name) for name in moltypes]
    ours = np.stack([lj.c6[np.ix_(rows, rows)], lj.c12[np.ix_(rows, rows)]], axis=-1).reshape(-1, 2)
    assert np.allclose(ours, dumped("LJ_SR"), rtol=1e-5, atol=0)
    exclusions = {len(excluded_pairs(moltype)) for moltype in top.molecule_types.values()}
    assert exclusions == {6}

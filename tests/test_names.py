"""Names in files held against the topology: what is refused, and what is only said."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import MDAnalysis as mda
import numpy as np
import pytest

from dbm_gmx.backmapping.forward import map_trajectory
from dbm_gmx.backmapping.universe import match_universe
from dbm_gmx.chemistry.names import Named, check_names
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.cli import main
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import given_chirality
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.share import share_path
from dbm_gmx.files.structure import names_of, read_cg_system, read_structure
from dbm_gmx.files.system import read_inputs, read_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.options import AtomInputs, Inputs, MoleculeFiles

OCTANE = share_path("reference", "octane")

HEAD = (
    "[ defaults ]\n1 2 yes 0.5 0.8\n[ atomtypes ]\nCT 6 12.011 0.0 A 0.3 0.4\nHC 1 1.008 0.0 A 0.2 0.1\n"
    "OH 8 15.999 0.0 A 0.3 0.4\n"
)
ETHANOL = (
    "[ moleculetype ]\nEOH 3\n[ atoms ]\n1 CT 1 EOH C1 1\n2 CT 1 EOH C2 2\n3 OH 1 EOH O3 3\n"
    "4 HC 1 EOH HA1 4\n5 HC 1 EOH HA2 5\n"
)
WATER = "[ moleculetype ]\nSOL 3\n[ atoms ]\n1 OH 1 SOL OW 1\n2 HC 1 SOL HW1LONG 2\n"


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    path = tmp_path / "aa.top"
    path.write_text(HEAD + ETHANOL + WATER + "[ system ]\nx\n[ molecules ]\nEOH 2\nSOL 1\n")
    return read_topology(path)


RIGHT = ["C1", "C2", "O3", "HA1", "HA2"] * 2 + ["OW", "HW1LONG"]


def changed(**names: str) -> list[str]:
    found = list(RIGHT)
    for number, name in names.items():
        found[int(number[1:]) - 1] = name
    return found


def test_names_that_agree_are_not_mentioned(topology: Topology, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        check_names(topology, Named(RIGHT, "x.gro"))
        check_names(topology, Named(changed(n12="HW1LO"), "x.gro", width=5))  # all that a .gro has room for
        check_names(topology, Named(changed(n12="HW1L"), "x.pdb", width=4))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("found", "first"),
    [
        (changed(n6="C2", n7="C1"), "atom 6 is 'C2', in aa.top 'C1' (2 of 12 names differ)"),
        # renamed besides
        (changed(n1="CX", n6="C2", n7="C1"), "atom 6 is 'C2', in aa.top 'C1' (3 of 12 names differ)"),
        (changed(n2="O3", n3="HA1", n4="C2"), "atom 2 is 'O3', in aa.top 'C2' (3 of 12 names differ)"),
        # written in another way, and in another order
        (changed(n4="2HA", n5="1HA"), "atom 4 is '2HA', in aa.top 'HA1' (2 of 12 names differ)"),
        # the molecules
        (["OW", "HW1LONG", *RIGHT[:10]], "atom 1 is 'OW', in aa.top 'C1' (12 of 12 names differ)"),
        # one atom of a molecule in place of one of another
        (changed(n3="OW", n11="O3"), "atom 3 is 'OW', in aa.top 'O3' (2 of 12 names differ)"),
    ],
)
def test_another_order_is_refused(topology: Topology, found: list[str], first: str) -> None:
    with pytest.raises(InputError) as error:
        check_names(topology, Named(found, "x.gro"))
    said = str(error.value).removesuffix("; --reorder puts them in its order")
    assert said == f"x.gro: another order than in aa.top: {first}"


@pytest.mark.parametrize(
    ("found", "first"),
    [
        (changed(n4="1HA", n9="1HA"), "atom 4 is '1HA', in aa.top 'HA1' (2 of 12 names differ)"),
        # a name of a neighbour that has another one itself
        (changed(n4="HA2", n5="HA3"), "atom 4 is 'HA2', in aa.top 'HA1' (2 of 12 names differ)"),
        (changed(n1="CA", n12="HW1"), "atom 1 is 'CA', in aa.top 'C1' (2 of 12 names differ)"),
        (changed(n1="c1"), "atom 1 is 'c1', in aa.top 'C1' (1 of 12 names differ)"),
        (changed(n1="X7"), "atom 1 is 'X7', in aa.top 'C1' (1 of 12 names differ)"),
    ],
)
def test_other_names_are_said(
    topology: Topology, found: list[str], first: str, caplog: pytest.LogCaptureFixture
) -> None:
    check_names(topology, Named(found, "x.gro"))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"x.gro: {first}; atoms are taken in order, as of aa.top"


@pytest.mark.parametrize(("number", "name"), [("n1", "N1"), ("n3", "2HO"), ("n4", "CA")])
def test_another_element_is_refused(topology: Topology, number: str, name: str) -> None:
    with pytest.raises(InputError, match=rf"another element than in aa.top: atom {number[1:]} is '{name}'"):
        check_names(topology, Named(changed(**{number: name}), "x.gro"))


def test_another_number_is_refused(topology: Topology) -> None:
    with pytest.raises(InputError, match=r"x.gro: 11 atoms, 12 are expected"):
        check_names(topology, Named(RIGHT[1:], "x.gro"))


# --- wherever files are read -------------------------------------------------------------------------


def swapped(source: Path, target: Path, one: int = 0, other: int = 1) -> Path:
    """A .gro with two of its atoms in each other's place."""
    lines = source.read_text().splitlines(keepends=True)
    lines[2 + one], lines[2 + other] = lines[2 + other], lines[2 + one]
    target.write_text("".join(lines))
    return target


def as_pdb(source: Path, target: Path) -> Path:
    """The same frame as GROMACS writes it in the other format."""
    frame = read_structure(source)
    names = names_of(source).names
    atoms = [
        f"ATOM  {i % 10**5:5d} {name:^4s} OCT  {i // 4 % 10**4:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00\n"
        for i, (name, (x, y, z)) in enumerate(zip(names, frame.positions.tolist(), strict=True), 1)
    ]
    target.write_text(
        f"CRYST1{40:9.3f}{40:9.3f}{40:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} P 1\n{''.join(atoms)}END\n"
    )
    return target


@pytest.mark.parametrize("suffix", [".gro", ".pdb"])
def test_beads_in_another_order_are_refused(tmp_path: Path, suffix: str) -> None:
    path = swapped(OCTANE / "cg.gro", tmp_path / "cg.gro")
    if suffix == ".pdb":
        path = as_pdb(path, tmp_path / "cg.pdb")
    said = rf"cg{suffix}: another order than in cg.top: bead 1 is 'A2', in cg.top 'A1' \(2 of 480"
    with pytest.raises(InputError, match=said):
        read_cg_system(path, OCTANE / "cg.top")
    structure = Inputs(OCTANE / "cg.tpr", path)
    with pytest.raises(InputError, match=rf"cg{suffix}: another order than in .*: bead 1 is 'A2'"):
        iter(read_inputs(structure)[1])


def test_beads_of_a_topology_in_another_order_than_those_of_the_run(tmp_path: Path) -> None:
    """A .tpr goes with ``-cp`` as a .gro does; and the mapping has an order of its own."""
    text = (OCTANE / "cg.top").read_text()
    lines = text.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.split()[4:5] == ["A1"])
    lines[first] = lines[first].replace("A1", "A2")
    lines[first + 1] = lines[first + 1].replace("A2", "A1")
    (tmp_path / "cg.top").write_text("".join(lines))
    with pytest.raises(InputError, match=r"cg.tpr: another order than in cg.top: bead 1 is 'A1'"):
        read_cg_system(OCTANE / "cg.tpr", tmp_path / "cg.top")
    gro = swapped(OCTANE / "cg.gro", tmp_path / "cg.gro")
    for k in range(1, 120):
        swapped(gro, gro, 4 * k, 4 * k + 1)
    files = MoleculeFiles(OCTANE / "topol.top", [OCTANE / "mapping.xml"])
    with pytest.raises(
        InputError, match=r"the mapping of OCT: another order than in the CG topology: bead 1"
    ):
        read_system(gro, files, cg_topology=tmp_path / "cg.top")


def test_atoms_in_another_order_are_refused(tmp_path: Path) -> None:
    gro = swapped(OCTANE / "aa.gro", tmp_path / "aa.gro", 26, 30)
    top, mapping = OCTANE / "topol.top", (OCTANE / "mapping.xml",)
    said = "aa.gro: another order than in topol.top: atom 27 is"
    for inputs in (AtomInputs(gro, top, mappings=mapping), AtomInputs(None, top, gro, mapping)):
        with pytest.raises(InputError, match=said):
            map_trajectory(inputs, tmp_path / "cg.xtc")
    assert not (tmp_path / "cg.xtc").exists()
    system, _ = read_system(OCTANE / "cg.tpr", MoleculeFiles(top, mapping))
    with pytest.raises(InputError, match=said):
        given_chirality(system, gro)
    evaluated = ["evaluate", "-p", str(top), "-f", str(OCTANE / "aa.xtc"), "-r", str(gro), "-o"]
    assert main([*evaluated, str(tmp_path / "report")]) == 1


def test_a_conformer_of_one_molecule_in_another_order(tmp_path: Path) -> None:
    system, _ = read_system(OCTANE / "cg.tpr", MoleculeFiles(OCTANE / "topol.top", [OCTANE / "mapping.xml"]))
    lines = swapped(OCTANE / "aa.gro", tmp_path / "aa.gro").read_text().splitlines()
    one = tmp_path / "one.gro"
    one.write_text("\n".join(["one", "26", *lines[2:28], lines[-1], ""]))
    with pytest.raises(InputError, match=r"one.gro: another order than in OCT: atom 1 is"):
        given_chirality(system, conformers={"OCT": one})


def test_a_universe_that_knows_names_only(tmp_path: Path) -> None:
    path = swapped(OCTANE / "cg.gro", tmp_path / "cg.gro")
    files = MoleculeFiles(OCTANE / "topol.top", [OCTANE / "mapping.xml"])
    with pytest.raises(InputError, match=r"the Universe: another order than in the mapping: bead 1 is 'A2'"):
        match_universe(mda.Universe(str(path)).atoms, files)


def test_columns_that_begin_early(tmp_path: Path) -> None:
    """Files of other programs: the first point in column 24; GROMACS reads them by the distance of points."""
    lines = (OCTANE / "cg.gro").read_text().splitlines()
    early = [line[:15] + line[16:] for line in lines[2:-1]]
    path = tmp_path / "cg.gro"
    path.write_text("\n".join([*lines[:2], *early, lines[-1], ""]))
    _, wanted = read_cg_system(OCTANE / "cg.gro", OCTANE / "cg.top")
    _, found = read_cg_system(path, OCTANE / "cg.top")
    np.testing.assert_array_equal(found.positions, wanted.positions)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "    1OCT     A1   11234.567   2.451   1.045",
            "do not begin in column 21",
        ),  # its first digit is lost
        ("    1OCT     A1     1   1.999   2.451   1.045", "do not begin in column 21"),
        ("    1OCT     A1    1", "do not begin in column 21"),
        ("    1OCT     A1    1   1.999   2.451", "damaged"),
    ],
)
def test_columns_that_would_lose_digits_are_refused(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "x.gro"
    path.write_text(f"x\n1\n{line}\n 5 5 5\n")
    with pytest.raises(InputError, match=said):
        read_cg_system(path, OCTANE / "cg.top")


def test_a_line_with_longer_numbers_is_refused(tmp_path: Path) -> None:
    """The 100,000th atom of some programs, or a position beyond its column, shifts what follows."""
    good = "    1OCT     A1    1   1.999   2.451   1.045\n"
    path = tmp_path / "x.gro"
    for bad in (
        "    1OCT     A1100000   1.999   2.451   1.045\n",
        "    1OCT     A1    1   1.999123.4567   1.045\n",
        "    1OCT     A1    1   1.999   2.451 nan\n",
    ):
        path.write_text(f"x\n2\n{good}{bad} 5 5 5\n")
        with pytest.raises(InputError, match=r"damaged.*atom 2 do not begin|position of atom 2 is .* nan"):
            read_structure(path)
    path.write_text(f"x\n2\n{good}    1OCT     A1   1   1.999   2.451   1.045\n 5 5 5\n")
    assert read_structure(path).positions.tolist() == [pytest.approx([1.999, 2.451, 1.045])] * 2


def test_columns_are_bytes_whatever_the_encoding(tmp_path: Path) -> None:
    for title in ("J. Müller, 1 Å".encode("latin-1"), "J. Müller, 1 Å".encode(), bytes(range(128, 256))):
        path = tmp_path / "x.gro"
        path.write_bytes(title + b"\n1\n    1M\xc3\xbc     A1    1   1.999   2.451   1.045\n 5 5 5\n")
        assert read_structure(path).positions[0].tolist() == pytest.approx([1.999, 2.451, 1.045])
    atom = b"ATOM      1  C1\xe9 MOL     1      10.000  20.000  30.000  1.00  0.00\n"
    path = tmp_path / "x.pdb"
    path.write_bytes(b"REMARK \xff\nCRYST1   50.000   50.000   50.000  90.00  90.00  90.00\n" + atom)
    assert read_structure(path).positions[0].tolist() == pytest.approx([1, 2, 3])
    path.write_bytes(path.read_bytes() + atom.replace(b"ATOM      1", b"ATOM  100000"))
    with pytest.raises(InputError, match="atom 2 do not begin in column 31"):
        read_structure(path)


def test_numbers_beyond_the_columns_are_not_written(tmp_path: Path) -> None:
    topology = read_topology(OCTANE / "cg.top")
    _, frame = read_cg_system(OCTANE / "cg.gro", OCTANE / "cg.top")
    for suffix, largest in ((".gro", 9999.99), (".pdb", 999.99)):
        positions = frame.positions.copy()
        positions[3, 1], positions[4, 2] = largest, -largest / 11
        with open_writer(tmp_path / f"a{suffix}", topology) as writer:
            writer.write(replace(frame, positions=positions))
        found = read_structure(tmp_path / f"a{suffix}").positions
        np.testing.assert_allclose(found, positions, atol=1e-3)
        for value in (largest * 1.01, -largest / 9.9):
            positions[3, 1] = value
            with (
                pytest.raises(InputError, match=rf"{suffix} has no room for .* \(atom 4 at"),
                open_writer(tmp_path / f"b{suffix}", topology) as writer,
            ):
                writer.write(replace(frame, positions=positions))
    with open_writer(tmp_path / "b.trr", topology) as writer:
        writer.write(replace(frame, positions=positions))


def test_a_mapping_in_latin_1(tmp_path: Path) -> None:
    text = (OCTANE / "mapping.xml").read_text()
    path = tmp_path / "m.xml"
    path.write_bytes(text.replace("<cg_molecule>", "<cg_molecule><!-- J. M\xfcller -->").encode("latin-1"))
    assert list(read_mappings([path], read_topology(OCTANE / "topol.top"))) == ["OCT"]


def test_the_preprocessor_holds_for_beads_as_for_atoms(tmp_path: Path) -> None:
    """Folders and names as for ``-p``; and a file of one molecule type, without ``[ molecules ]``."""
    text = (OCTANE / "cg.top").read_text()
    head, tail = text.split("[ system ]")
    (tmp_path / "ff").mkdir()
    (tmp_path / "ff" / "oct.itp").write_text(head)
    (tmp_path / "cg.top").write_text(f'#ifdef LONG\n#include "oct.itp"\n#endif\n[ system ]{tail}')
    told = {"defines": ("LONG",), "include": (tmp_path / "ff",)}
    topology, _ = read_cg_system(OCTANE / "cg.gro", tmp_path / "cg.top", **told)
    assert topology.molecules == (("OCT", 120),)
    with pytest.raises(InputError, match=r"unknown molecule type 'OCT'"):
        read_cg_system(OCTANE / "cg.gro", tmp_path / "cg.top", include=(tmp_path / "ff",))
    alone, _ = read_cg_system(OCTANE / "cg.gro", tmp_path / "ff" / "oct.itp")
    assert alone.molecules == (("OCT", 120),)

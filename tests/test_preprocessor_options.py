"""``-D``, ``-I`` and ``include`` of an ``.mdp`` from the command line: they hold for beads and for atoms."""

from __future__ import annotations

import re
from pathlib import Path

import mixed
import pytest
from mixed import Mixture, command

from dbm_gmx.files.top import read_topology


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mixture:
    mixed.fake_sampler(monkeypatch)
    return mixed.mixture(tmp_path / "in", n=1)


def moved_to_folder(files: Mixture, name: str) -> Path:
    """All of a topology up to its system is in ``elsewhere/part.itp``; returns that folder."""
    path, folder = files.folder / name, files.folder / "elsewhere"
    head, system, rest = path.read_text().partition("[ system ]")
    folder.mkdir(exist_ok=True)
    (folder / "part.itp").write_text(head)
    path.write_text(f'#include "part.itp"\n{system}{rest}')
    return folder


def test_an_include_of_the_beads_is_looked_for_in_the_folders_of_the_command_line(files: Mixture) -> None:
    folder = moved_to_folder(files, "cg.top")
    missing = command("check", {**files.inputs, "-t": 300})
    assert missing.code == 1
    assert "cg.top:1: included file 'part.itp' not found" in missing.err
    found = command("check", {**files.inputs, "-t": 300, "-I": folder})
    assert (found.code, "24 beads" in found.out) == (0, True), found.err


def test_a_condition_in_the_topology_of_the_beads_is_that_of_the_command_line(files: Mixture) -> None:
    text = (files.folder / "cg.top").read_text()
    last = next(line for line in text.splitlines() if line.split()[4:5] == ["A4"])
    files.edit("cg.top", last, f"#ifdef LONG\n{last}\n#endif")
    short = command("check", {**files.inputs, "-t": 300})
    assert short.code == 1
    long = command("check", {**files.inputs, "-t": 300, "-D": "LONG"})
    assert long.code == 0, long.err


def test_the_beads_may_be_a_molecule_type_alone(files: Mixture) -> None:
    """``-cp x.itp``: how many there are is what the structure holds."""
    one = mixed.mixture(files.folder / "one", n=1, molecules=(("OCT", 3),))
    _, _, text = (one.folder / "cg.top").read_text().partition("[ moleculetype ]")
    (one.folder / "beads.itp").write_text("[ moleculetype ]" + text.partition("[ moleculetype ]")[0])
    result = command("check", {**one.inputs, "-cp": one.folder / "beads.itp", "-t": 300})
    assert result.code == 0, result.err
    assert "molecule OCT: 3 times" in result.out


def test_folders_of_the_mdp_are_those_of_the_atoms(files: Mixture) -> None:
    """``include = -Ielsewhere`` is seen from where the command is given, as grompp sees it."""
    folder = moved_to_folder(files, "topol.top")
    (files.folder / "run.mdp").write_text("ref-t = 300\nrvdw = 0.9\nrcoulomb = 0.9\n")
    options = {**files.inputs, "--mdp": files.folder / "run.mdp"}
    missing = command("check", options)
    assert missing.code == 1
    assert "topol.top:1: included file 'part.itp' not found" in missing.err
    with (files.folder / "run.mdp").open("a") as mdp:
        mdp.write(f"include = -I{folder}\n")
    assert command("check", options).code == 0


def test_a_mapping_by_another_name_is_taken_where_there_is_one_way(files: Mixture, tmp_path: Path) -> None:
    """VOTCA never compares its ``<name>`` with anything: one type of beads, one of atoms, three names."""
    one = mixed.mixture(files.folder / "one", n=1, molecules=(("OCT", 3),))
    one.edit("OCT.xml", "<name>OCT</name>", "<name>HEX</name>")
    path = one.folder / "cg.top"
    path.write_text(re.sub(r"(?m)^(\s*)OCT(\s+\d+\s*)$", r"\1octane\2", path.read_text()))
    options = {**one.inputs, "-m": one.folder / "OCT.xml"}
    del options["--owners"]
    result = command(
        "backmap",
        {**options, "-t": 300, "--allow": "all", "-o": tmp_path / "aa.gro"},
    )
    assert result.code == 0, result.err
    assert "octane" in result.err + result.out
    assert read_topology(one.folder / "topol.top").n_atoms == int(
        (tmp_path / "aa.gro").read_text().split("\n")[1]
    )

"""Parts of systems from file to file: solvent, beads of several molecules, other orders, no box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mixed
import numpy as np
import pytest
from mixed import ATOMS, BEADS, WATER, Mixture, command

from dbm_gmx.errors import InputError
from dbm_gmx.files.structure import names_of, read_structure
from dbm_gmx.files.system import read_atoms, read_inputs
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.options import AtomInputs, Inputs

WATERS = 3
"""Beads of water, behind those of the mixture."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mixture:
    """The mixture with water: beads W behind those of the others in ``cg.gro``, not in ``cg.xtc``."""
    mixed.fake_sampler(monkeypatch)
    files = mixed.mixture(tmp_path / "in", n=2)
    files.edit("cg.top", "\n[ system ]", "\n[ moleculetype ]\nW 1\n[ atoms ]\n1 A 1 W W 1 0 72\n\n[ system ]")
    (files.folder / "cg.top").open("a").write(f"W {WATERS}\n")
    files.edit("topol.top", "\n[ system ]", WATER + "\n[ system ]")
    frame, cg = files.frames[0], read_topology(files.folder / "cg.top")
    water = np.diag(frame.box) * np.random.default_rng(1).random((WATERS, 3))
    with open_writer(files.folder / "cg.gro", cg) as writer:
        writer.write(replace(frame, positions=np.concatenate([frame.positions, water]).astype(np.float32)))
    return files


def beads_of(files: Mixture, **given: object) -> tuple[list[tuple[str, int]], list[np.ndarray]]:
    """Molecules that are rebuilt, and their beads in each frame."""
    paths = {key: files.folder / name for key, name in FILES.items()}
    mappings = (files.folder / "OCT.xml", files.folder / "OCX.xml")
    owners = (files.folder / "owners.txt",)
    system, frames = read_inputs(Inputs(**{**paths, "mappings": mappings, "owners": owners, **given}))
    return list(system.written.molecules), [frame.positions for frame in frames]


FILES = {"structure": "cg.gro", "cg_topology": "cg.top", "trajectory": "cg.xtc", "topology": "topol.top"}


def test_a_trajectory_without_the_solvent_is_of_the_first_beads(files: Mixture) -> None:
    molecules, beads = beads_of(files)
    assert molecules == list(mixed.MOLECULES)
    np.testing.assert_allclose(beads[1], files.frames[1].positions, atol=0.0006)
    with open_writer(files.folder / "short.gro", files.cg) as writer:
        writer.write(files.frames[0])
    text = (files.folder / "short.gro").read_text().splitlines()
    del text[-3:-1]
    (files.folder / "short.gro").write_text("\n".join([text[0], str(len(text) - 3), *text[2:]]) + "\n")
    result = command("check", {**files.inputs, "-f": files.folder / "short.gro"})
    assert result.code == 1
    assert "holds a part of molecule 6 (OCT): only whole molecules can be taken" in result.err


def test_or_of_a_group_of_an_index_file(files: Mixture) -> None:
    size = 3 * BEADS
    rows = np.arange(2 * BEADS, 2 * BEADS + size)[::-1]  # the molecules OCX, from the last to the first bead
    (files.folder / "i.ndx").write_text(
        f"[ System ]\n{' '.join(map(str, range(1, 28)))}\n[ chains ]\n{' '.join(map(str, rows + 1))}\n"
    )
    mixture = files.cg
    part = replace(mixture, molecules=(("OCX", 3),))
    short = [replace(frame, positions=frame.positions[rows]) for frame in files.frames]
    path = mixed.write_beads(files.folder / "chains.xtc", part, short)
    files.edit("topol.top", "OCT 2\nOCX 3\nOCT 1", "OCX 3")
    molecules, beads = beads_of(files, trajectory=path, index=files.folder / "i.ndx")
    assert molecules == [("OCX", 3)]
    np.testing.assert_allclose(beads[1], files.frames[1].positions[2 * BEADS : 2 * BEADS + size], atol=0.0006)
    (files.folder / "i.ndx").write_text("[ W ]\n25 26 27\n")
    result = command("check", {**files.inputs, "-f": path, "-n": files.folder / "i.ndx"})
    assert "no group has 12 beads" in result.err


def test_only_some_molecules_and_their_topology(files: Mixture, tmp_path: Path) -> None:
    (files.folder / "topol.top").open("a").write(f"SOL {4 * WATERS}\n")
    result = command(
        "backmap", {**files.inputs, "-o": tmp_path / "aa.gro", "--only": "OCX", "-t": 300, "--allow": "all"}
    )
    assert result.code == 0, result.err
    written = read_topology(tmp_path / "aa.top")
    assert written.molecules == (("OCX", 3),)
    frame = next(read_frames(tmp_path / "aa.gro", n_atoms=written.n_atoms))
    assert list(names_of(tmp_path / "aa.gro").names) == written.molecule_types["OCX"].names * 3
    # every atom within 0.2 nm of the beads of its own molecule
    beads = files.frames[0].positions[2 * BEADS : 5 * BEADS].reshape(3, BEADS, 3)
    atoms = frame.positions.reshape(3, ATOMS, 3)
    apart = np.linalg.norm(atoms[:, :, None] - beads[:, None], axis=-1).min(axis=2)
    assert apart.max() < 0.2


def test_the_topology_of_some_molecules_does_not_replace_the_one_that_is_read(files: Mixture) -> None:
    path = files.folder / "topol.top"
    before = path.read_bytes()
    result = command(
        "backmap", {**files.inputs, "-o": files.folder / "topol.gro", "--only": "OCX", "-t": 300}
    )
    assert result.code == 1
    assert "topol.top: is read, and a topology of the atoms would be written here" in result.err
    assert path.read_bytes() == before
    assert not (files.folder / "topol.gro").exists()


def test_beads_of_several_molecules(files: Mixture, tmp_path: Path) -> None:
    (files.folder / "topol.top").open("a").write(f"SOL {4 * WATERS}\n")
    options = {**files.inputs, "-t": 300, "--allow": "all", "-o": tmp_path / "aa.gro", "--alias": "W=4 SOL"}
    del options["-f"]
    result = command("backmap", options)
    assert result.code == 0, result.err
    assert not (tmp_path / "aa.top").exists()  # the molecules are those of topol.top
    text = (tmp_path / "aa.gro").read_text().splitlines()[2:-1]
    waters = [line for line in text if line[5:8] == "SOL"]
    assert len(waters) == 3 * 4 * WATERS
    assert len({line[:5] for line in waters}) == 4 * WATERS  # each is a residue of its own
    frame = next(read_frames(tmp_path / "aa.gro", n_atoms=len(text)))
    beads = read_structure(files.folder / "cg.gro").positions[-WATERS:]
    apart = frame.positions[-3 * 4 * WATERS :].reshape(WATERS, -1, 3) - beads[:, None]
    assert np.abs(apart).max() < 0.11


def test_beads_that_all_stand_for_molecules_need_no_mapping(files: Mixture) -> None:
    (files.folder / "topol.top").open("a").write(f"SOL {4 * WATERS}\n")
    options = {**files.inputs, "-t": 300, "--only": "W"}
    del options["-m"], options["--owners"], options["-f"]
    result = command("check", options)
    assert "beads of water: W = 4 SOL" in result.err
    assert result.code == 0, result.err
    assert f"molecule 4 SOL: {WATERS} times, 12 atoms" in result.out


def test_reorder_puts_beads_of_a_structure_in_the_order_of_the_topology(files: Mixture) -> None:
    files.edit("cg.top", f"W {WATERS}\n", "")
    swap = np.arange(files.cg.n_atoms).reshape(-1, BEADS)[:, [2, 0, 1, 3]].ravel()
    lines = (files.folder / "cg.gro").read_text().splitlines()
    head, atoms, box = lines[0], lines[2 : 2 + len(swap)], lines[-1]
    text = "\n".join([head, str(len(swap)), *(atoms[i] for i in swap), box]) + "\n"
    (files.folder / "cg.gro").write_text(text)
    short = [replace(frame, positions=frame.positions[swap]) for frame in files.frames]
    mixed.write_beads(files.folder / "cg.xtc", files.cg, short)
    result = command("check", files.inputs)
    assert "another order than in cg.top: bead 1 is 'A3', in cg.top 'A1'" in result.err
    assert "--reorder" in result.err
    _, beads = beads_of(files, reorder=True)
    np.testing.assert_allclose(beads[1], files.frames[1].positions, atol=0.0006)


def test_reorder_puts_atoms_in_the_order_of_the_topology(files: Mixture) -> None:
    path, topology = mixed.write_atoms(files), mixed.atoms_topology(files)
    first = next(read_frames(path, n_atoms=topology.n_atoms))
    with open_writer(files.folder / "aa.gro", topology) as writer:
        writer.write(first)
    head, count, *atoms, box = (files.folder / "aa.gro").read_text().splitlines()
    swap = np.arange(topology.n_atoms).reshape(-1, ATOMS)[:, ::-1].ravel()
    (files.folder / "bb.gro").write_text("\n".join([head, count, *(atoms[i] for i in swap), box]) + "\n")
    inputs = AtomInputs(files.folder / "bb.gro", files.folder / "topol.top")
    with pytest.raises(
        InputError, match=r"another order than in topol\.top.*--reorder puts them in its order"
    ):
        read_atoms(inputs)
    _, frames, _ = read_atoms(replace(inputs, reorder=True))
    np.testing.assert_allclose(next(frames).positions, first.positions, atol=0.0006)
    with open_writer(files.folder / "bb.xtc", topology) as writer:  # in the order of the structure
        writer.write(replace(first, positions=first.positions[swap]))
    _, frames, _ = read_atoms(replace(inputs, reorder=True, trajectory=files.folder / "bb.xtc"))
    np.testing.assert_allclose(next(frames).positions, first.positions, atol=0.0006)


def test_without_a_box_nothing_is_periodic(files: Mixture, tmp_path: Path) -> None:
    path = files.folder / "cg.gro"
    path.write_text("\n".join([*path.read_text().splitlines()[:-1], "  0.0 0.0 0.0"]) + "\n")
    options = {**files.inputs, "-t": 300, "--allow": "all", "--leave-out": "W", "-o": tmp_path / "aa.gro"}
    del options["-f"]
    checked = command("check", {key: options[key] for key in options if key not in ("-o", "--allow")})
    assert "none with a box, all finite" in checked.out
    assert "cg.gro: there is no box; nothing is periodic" in checked.err
    assert command("backmap", options).code == 0
    assert (tmp_path / "aa.gro").read_text().splitlines()[-1].split() == ["0.00000"] * 3
    # a molecule that is broken across a box that is lost
    lines = path.read_text().splitlines()
    lines[2] = f"{lines[2][:20]}{float(lines[2][20:28]) + 3:8.3f}{lines[2][28:]}"
    path.write_text("\n".join(lines) + "\n")
    result = command("backmap", {**options, "-o": tmp_path / "bb.gro"})
    assert result.code == 1
    assert "without a box molecules must be whole" in result.err

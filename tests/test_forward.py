"""Forward mapping: the beads of whole molecules, from any file that says what the atoms are."""

from __future__ import annotations

from pathlib import Path

import mixed
import numpy as np
import pytest
from mixed import Mixture, command, listing
from scaling import seconds

from dbm_gmx.backmapping.forward import map_trajectory
from dbm_gmx.chemistry.mapping import mapped_molecules
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.system import map_frame
from dbm_gmx.files.share import share_path
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.system import mappings_of, read_atoms
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.options import AtomInputs

OCTANE = share_path("examples", "octane")


@pytest.fixture
def files(tmp_path: Path) -> Mixture:
    files = mixed.mixture(tmp_path / "in")
    mixed.write_atoms(files)
    return files


def apart(found: Path, expected: Path, n_beads: int) -> float:
    """Largest distance along an axis, nearest image, of frames of the same time and box."""
    largest = 0.0
    pairs = zip(*(read_frames(p, n_atoms=n_beads) for p in (found, expected)), strict=True)
    for one, other in pairs:
        assert one.time == other.time
        np.testing.assert_allclose(one.box, other.box, atol=1e-5)
        largest = max(largest, np.abs(minimum_image(one.positions - other.positions, one.box)).max())
    return largest


@pytest.mark.parametrize(("name", "rounding"), [("octane", 6e-4), ("cumene", 6e-4), ("sps", 1.2e-3)])
def test_published_beads_are_reproduced(name: str, rounding: float, reference: Path, tmp_path: Path) -> None:
    """To the rounding of both trajectories, whose vectors of the sPS box are rounded as well."""
    folder = reference / name
    mapping = (folder / "mapping.xml",)
    inputs = AtomInputs(folder / "aa.tpr", trajectory=folder / "aa.xtc", mappings=mapping)
    mapped = map_trajectory(inputs, tmp_path / "cg.trr")
    assert apart(tmp_path / "cg.trr", folder / "cg.xtc", mapped.beads) < rounding
    top = AtomInputs(topology=folder / "topol.top", trajectory=folder / "aa.xtc", mappings=mapping)
    map_trajectory(top, tmp_path / "top.trr")
    assert (tmp_path / "top.trr").read_bytes() == (tmp_path / "cg.trr").read_bytes()


def test_mapping_takes_little_longer_than_reading() -> None:
    """Seven times as long, where a loop over molecules or atoms takes hundreds of times."""
    folder = share_path("reference", "sps")
    inputs = AtomInputs(
        topology=folder / "topol.top", trajectory=folder / "aa.xtc", mappings=(folder / "mapping.xml",)
    )
    atoms, frames, _ = read_atoms(inputs)
    matches, kept = mapped_molecules(atoms, mappings_of(atoms, inputs.mappings)), list(frames)
    reading = seconds(lambda: list(read_frames(folder / "aa.xtc", n_atoms=atoms.n_atoms)))
    assert seconds(lambda: [map_frame(matches, frame) for frame in kept]) < 40 * reading


def test_the_example_is_mapped_from_the_command_line(tmp_path: Path) -> None:
    options = {"-s": OCTANE / "aa.gro", "-p": OCTANE / "topol.top", "-f": OCTANE / "aa.xtc"}
    options |= {"-m": OCTANE / "mapping.xml", "-o": tmp_path / "cg.xtc", "-c": tmp_path / "cg.gro"}
    result = command("map", options)
    assert (result.code, result.err) == (0, "")
    assert "frames         10 in " in result.out
    assert "beads          320 of 2080 atoms" in result.out
    assert apart(tmp_path / "cg.xtc", OCTANE / "cg.xtc", 320) < 0.0011
    lines = (tmp_path / "cg.gro").read_text().splitlines()
    assert lines[1].split() == ["320"]
    assert [line[:20] for line in lines[2:7]] == [
        *(f"    1OCT     A{i}    {i}" for i in (1, 2, 3, 4)),
        "    2OCT     A1    5",
    ]


def test_a_tpr_and_the_library_are_enough(gmx: str, tmp_path: Path) -> None:
    mixed.make_tpr(gmx, tmp_path)
    files = {"-s": tmp_path / "aa.tpr", "-f": OCTANE / "aa.xtc", "-o": tmp_path / "cg.xtc"}
    assert command("map", {**files, "-b": 200, "-e": 300, "-dt": 100}).code == 0
    frames = list(read_frames(tmp_path / "cg.xtc", n_atoms=320))
    assert [frame.time for frame in frames] == [200, 300]
    assert apart_of_times(frames, OCTANE / "cg.xtc") < 0.0011
    assert command("map", {"-s": files["-s"], "-o": tmp_path / "one.gro"}).code == 0
    first = next(read_frames(OCTANE / "cg.xtc", n_atoms=320))
    one = read_structure(tmp_path / "one.gro")
    assert np.abs(minimum_image(one.positions - first.positions, first.box)).max() < 0.0015


def apart_of_times(frames: list, expected: Path) -> float:
    other = {frame.time: frame for frame in read_frames(expected, n_atoms=320)}
    off = [minimum_image(f.positions - other[f.time].positions, f.box) for f in frames]
    return float(np.abs(off).max())


def test_broken_molecules_of_two_types_in_a_skewed_box_come_out_whole(files: Mixture, tmp_path: Path) -> None:
    """Atoms scattered over images; types in the order of the topology, bead by bead as in the input."""
    frames = list(read_frames(files.folder / "aa.trr", n_atoms=156))
    random = np.random.default_rng(3)
    topology = mixed.atoms_topology(files)
    with open_writer(files.folder / "broken.trr", topology) as writer:
        for frame in frames:
            images = random.integers(-2, 3, (156, 3)) @ frame.box
            frame.positions[:] += images.astype(np.float32)
            writer.write(frame)
    mappings = [files.folder / "OCX.xml", files.folder / "OCT.xml"]
    options = {"-p": files.folder / "topol.top", "-f": files.folder / "broken.trr", "-m": mappings}
    assert command("map", {**options, "-o": tmp_path / "cg.trr", "-c": tmp_path / "cg.gro"}).code == 0
    assert apart(tmp_path / "cg.trr", files.folder / "cg.xtc", 24) < 0.0011
    for frame in read_frames(tmp_path / "cg.trr", n_atoms=24):
        steps = np.diff(frame.positions.reshape(-1, 4, 3), axis=1)
        assert np.linalg.norm(steps, axis=-1).max() < 0.35
    names = [line[5:10].strip() for line in (tmp_path / "cg.gro").read_text().splitlines()[2:26]]
    assert names == ["OCT"] * 8 + ["OCX"] * 12 + ["OCT"] * 4


def test_molecules_without_a_mapping_are_left_out_and_named(files: Mixture, tmp_path: Path) -> None:
    options = {"-p": files.folder / "topol.top", "-f": files.folder / "aa.trr", "-o": tmp_path / "cg.trr"}
    result = command("map", {**options, "-m": files.folder / "OCX.xml"})
    assert result.code == 0
    assert "left out       OCT: no mapping" in result.out
    found = [frame.positions for frame in read_frames(tmp_path / "cg.trr", n_atoms=12)]
    expected = [frame.positions[8:20] for frame in files.frames]
    box = files.frames[0].box
    assert np.abs(minimum_image(np.array(found) - np.array(expected), box)[[0, 2]]).max() < 0.0011


def test_ions_need_no_mapping_and_have_a_bead_each(tmp_path: Path) -> None:
    """So that the beads have what their atoms are to have; they were left out."""
    (tmp_path / "topol.top").write_text(
        "[ defaults ]\n1 2\n[ atomtypes ]\nC 6 12.011 0 A .3 .3\nNA 11 22.99 0 A .3 .3\n"
        "[ moleculetype ]\nTWO 3\n[ atoms ]\n1 C 1 TWO C1 1 -.5\n2 C 1 TWO C2 2 -.5\n"
        "[ bonds ]\n1 2 1 .15 1e5\n"
        "[ moleculetype ]\nNA 1\n[ atoms ]\n1 NA 1 NA NA 1 1\n[ system ]\nx\n[ molecules ]\nTWO 1\nNA 2\n"
    )
    atoms = [("TWO", "C1", 1.0), ("TWO", "C2", 1.15), ("NA", "NA", 2.0), ("NA", "NA", 0.5)]
    rows = [
        f"{k + 1:5d}{residue:<5s}{name:>5s}{k + 1:5d}{x:8.3f}{1:8.3f}{1:8.3f}"
        for k, (residue, name, x) in enumerate(atoms)
    ]
    (tmp_path / "aa.gro").write_text("\n".join(["x", "4", *rows, "3 3 3"]) + "\n")
    (tmp_path / "two.map").write_text("[ molecule ]\nTWO\n[ atoms ]\n1 C1 A\n2 C2 A\n")
    options = {"-s": tmp_path / "aa.gro", "-p": tmp_path / "topol.top", "-m": tmp_path / "two.map"}
    result = command("map", {**options, "-o": tmp_path / "cg.gro", "-op": tmp_path / "cg.top"})
    assert result.code == 0
    assert "left out" not in result.out
    beads = read_structure(tmp_path / "cg.gro")
    np.testing.assert_allclose(beads.positions[:, 0], [1.075, 2.0, 0.5], atol=1e-3)
    assert "NA 2" in " ".join((tmp_path / "cg.top").read_text().split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing says what the atoms are: give a topology (-p) or a .tpr (-s)"),
        ({"-p": "topol.top"}, "no frames: give a trajectory (-f) or a structure (-s)"),
        ({"-s": "cg.gro"}, "nothing says what the atoms are"),
        ({"-s": "cg.gro", "-p": "topol.top"}, "cg.gro: 24 atoms, but 156 in "),
        ({"-p": "topol.top", "-f": "cg.xtc"}, "cg.xtc: frame 0 has 24 atoms, 156 are expected"),
        ({"-p": "topol.top", "-f": "aa.trr", "-c": "x.pdb"}, "the first frame (-c) is written as .gro only"),
        ({"-p": "topol.top", "-f": "aa.trr", "-b": 99}, "has no frame from 99 ps"),
    ],
)
def test_wrong_input_is_refused(
    options: dict[str, object], said: str, *, files: Mixture, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    paths = {key: files.folder / value if isinstance(value, str) else value for key, value in options.items()}
    mappings = [files.folder / "OCT.xml", files.folder / "OCX.xml"]
    result = command("map", {**paths, "-m": mappings, "-o": tmp_path / "out" / "cg.xtc"})
    assert result.code == 1
    assert said in result.err
    assert listing(tmp_path / "out") == []

"""Backmapping as a user runs it: what is in the files it writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import mixed
import numpy as np
import pytest
import torch
from MDAnalysis.lib.formats.libmdaxdr import XTCFile
from mixed import Mixture, Result, command, entry, labels, listing
from oracle import example

import dbm_gmx.backmap as job
from dbm_gmx.files.structure import read_cg_system
from dbm_gmx.files.trajectory import Writer, read_frames
from dbm_gmx.frame import Frame

N_ATOMS = mixed.ATOMS * sum(count for _, count in mixed.MOLECULES)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed.tiny_model(tmp_path_factory.mktemp("model") / "tiny.pt")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    return mixed.mixture(tmp_path_factory.mktemp("mixture"), n=7)


@pytest.fixture
def backmap(model: Path, files: Mixture, tmp_path: Path):
    """Run the command on the mixture into the folder of the test; must succeed."""

    def run(output: str, **options: object) -> Result:
        named = {f"--{key}" if len(key) > 2 else f"-{key}": value for key, value in options.items()}
        result = command("backmap", {**files.options, "--model": model, "-o": tmp_path / output, **named})
        assert result.code == 0, result.err
        return result

    return run


def read(path: Path) -> list[Frame]:
    return list(read_frames(path, n_atoms=N_ATOMS))


def gro_labels(path: Path, n: int) -> list[tuple[str, str]]:
    lines = path.read_text().splitlines()[2 : 2 + n]
    return [(line[5:10].strip(), line[10:15].strip()) for line in lines]


def test_atoms_are_those_of_the_topology_in_its_order(backmap, tmp_path: Path) -> None:
    backmap("aa.gro", e=0)
    kinds = {name: labels(entry(name, "topol.top")) for name in ("OCT", "OCX")}
    expected = list(chain.from_iterable(kinds[name] * count for name, count in mixed.MOLECULES))
    assert len(expected) == N_ATOMS
    assert gro_labels(tmp_path / "aa.gro", N_ATOMS) == expected
    lines = (tmp_path / "aa.gro").read_text().splitlines()
    assert int(lines[1]) == N_ATOMS
    assert len(lines) == N_ATOMS + 3
    assert [int(line[:5]) for line in lines[2:-1:26]] == [1, 2, 3, 4, 5, 6]


def test_a_tpr_alone_gives_its_own_frame_with_the_library(model: Path, tmp_path: Path) -> None:
    options = {"-s": example() / "cg.tpr", "-o": tmp_path / "aa.gro", "--sweeps": 1, "--model": model}
    result = command("backmap", options)
    assert result.code == 0, result.err
    assert listing(tmp_path) == ["aa.gro"]
    frames = list(read_frames(tmp_path / "aa.gro", n_atoms=2080))
    assert len(frames) == 1
    assert gro_labels(tmp_path / "aa.gro", 2080) == labels(entry("OCT", "topol.top")) * 80
    _, beads = read_cg_system(example() / "cg.tpr")
    np.testing.assert_allclose(frames[0].box, beads.box, atol=1e-4)
    ends = frames[0].positions.reshape(80, 26, 3)[:, 0] - beads.positions.reshape(80, 4, 3)[:, 0]
    assert np.linalg.norm(ends, axis=1).max() < 0.6 * 3**0.5  # C1 is on the grid about the first bead


@pytest.mark.parametrize("kind", [".xtc", ".trr", ".gro", ".pdb"])
def test_box_time_and_step_of_each_frame_are_kept(backmap, files: Mixture, tmp_path: Path, kind: str) -> None:
    beads = files.frames[:3]
    source = mixed.write_beads(tmp_path / f"cg{kind}", files.cg, beads)
    backmap(f"aa{kind}", f=source)
    frames = read(tmp_path / f"aa{kind}")
    assert [(f.time, f.step) for f in frames] == [(0, 0), (10, 5000), (20, 10000)]
    for frame, bead in zip(frames, beads, strict=True):
        np.testing.assert_allclose(frame.box, bead.box, atol=1e-3)


def test_xtc_as_others_read_it(backmap, files: Mixture, tmp_path: Path) -> None:
    backmap("aa.xtc", e=10)
    with XTCFile(str(tmp_path / "aa.xtc")) as stream:
        frames = list(stream)
    assert [(f.time, f.step) for f in frames] == [(0, 0), (10, 5000)]
    assert all(f.x.shape == (N_ATOMS, 3) for f in frames)
    np.testing.assert_allclose(frames[1].box, files.frames[1].box, atol=1e-5)


def test_frames_taken_are_those_of_a_run_of_all(backmap, tmp_path: Path) -> None:
    backmap("all.trr")
    backmap("some.trr", b=20, e=50, dt=20)
    every, some = read(tmp_path / "all.trr"), read(tmp_path / "some.trr")
    assert [f.time for f in every] == [0, 10, 20, 30, 40, 50, 60]
    assert [f.time for f in some] == [20, 40]
    for frame in some:
        same = next(f for f in every if f.time == frame.time)
        np.testing.assert_allclose(frame.positions, same.positions, atol=1e-4)


def test_existing_output_is_backed_up(backmap, tmp_path: Path) -> None:
    for name in ("aa.xtc", "one.gro"):
        (tmp_path / name).write_text("mine")
    backmap("aa.xtc", e=0, c=tmp_path / "one.gro")
    backmap("aa.xtc", e=10)
    assert listing(tmp_path) == ["#aa.xtc.1#", "#aa.xtc.2#", "#one.gro.1#", "aa.xtc", "one.gro"]
    assert (tmp_path / "#aa.xtc.1#").read_text() == (tmp_path / "#one.gro.1#").read_text() == "mine"
    with XTCFile(str(tmp_path / "#aa.xtc.2#")) as one, XTCFile(str(tmp_path / "aa.xtc")) as two:
        assert (len(one), len(two)) == (1, 2)


def test_first_frame(backmap, tmp_path: Path) -> None:
    backmap("aa.trr", b=10, e=20, c=tmp_path / "one.gro")
    frames, one = read(tmp_path / "aa.trr"), read(tmp_path / "one.gro")
    assert (len(frames), len(one)) == (2, 1)
    assert one[0].time == frames[0].time == 10
    np.testing.assert_allclose(one[0].positions, frames[0].positions, atol=6e-4)


def test_seed_and_batch(backmap, tmp_path: Path) -> None:
    backmap("a.xtc", e=0, seed=5, sweeps=1)
    backmap("b.xtc", e=0, seed=5, sweeps=1)
    backmap("c.xtc", e=0, seed=5, sweeps=1, batch=7)
    backmap("d.xtc", e=0, seed=6, sweeps=1)
    assert (tmp_path / "a.xtc").read_bytes() == (tmp_path / "b.xtc").read_bytes()
    a, c, d = (read(tmp_path / f"{name}.xtc")[0].positions for name in "acd")
    np.testing.assert_allclose(c, a, atol=1.1e-3)  # the last digit of an .xtc may be rounded otherwise
    assert np.abs(d - a).max() > 0.01


def test_orientations_and_threads(backmap, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        backmap("one.trr", e=0)
        backmap("two.trr", e=0, orientations=2, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    one, two = read(tmp_path / "one.trr"), read(tmp_path / "two.trr")
    assert np.isfinite(two[0].positions).all()
    assert np.abs(two[0].positions - one[0].positions).max() > 0.01


def test_molecules_of_the_working_folder_and_of_the_library_variable(
    files: Mixture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "library" / "OCX"
    place.mkdir(parents=True)
    for name in ("topol.top", "mapping.xml", "owners.txt"):
        (place / name).write_text(entry("OCX", name))
    options = {key: files.options[key] for key in ("-s", "-cp", "--sweeps")} | {"--model": model}
    monkeypatch.delenv("DBM_GMX_LIB", raising=False)
    monkeypatch.chdir(tmp_path)
    result = command("backmap", {**options, "-o": tmp_path / "none.gro"})
    assert result.code == 1
    assert "not in the library of molecules: OCX." in result.err
    monkeypatch.setenv("DBM_GMX_LIB", f"/nowhere:{tmp_path / 'library'}")
    assert command("backmap", {**options, "-o": tmp_path / "aa.gro"}).code == 0
    monkeypatch.delenv("DBM_GMX_LIB")
    monkeypatch.chdir(tmp_path / "library")
    assert command("backmap", {**options, "-o": tmp_path / "bb.gro"}).code == 0
    assert listing(tmp_path) == ["aa.gro", "bb.gro", "library"]
    names = labels(entry("OCX", "topol.top"))
    assert gro_labels(tmp_path / "aa.gro", N_ATOMS)[52:78] == names
    assert gro_labels(tmp_path / "bb.gro", N_ATOMS)[52:78] == names


def test_what_is_said_at_the_end(backmap) -> None:
    lines = backmap("aa.xtc", e=20).out.splitlines()
    assert [line[:15].strip() for line in lines] == [
        *("frames", "bad contacts", "stereocentres", "beads", "longest bond")
    ]
    assert lines[0].split()[1] == "3"
    assert lines[0].endswith(" a minute")
    assert "nm (rms) from the input" in lines[3]


def test_quiet(backmap) -> None:
    result = backmap("aa.xtc", e=0, q=None)
    assert (result.out, result.err) == ("", "")


def test_channel_file_in_place_of_the_models(backmap, files: Mixture, model: Path, tmp_path: Path) -> None:
    chosen = job.read_model(model).channels
    sections = chosen.plain()
    sections["atoms"] = dict(zip(sections["atoms"], reversed(sections["atoms"].values()), strict=True))
    text = "".join(
        f"[{section}]\n" + "".join(f"{key!r} = {value!r}\n" for key, value in group.items())
        for section, group in sections.items()
    )
    (tmp_path / "channels.toml").write_text(text)
    backmap("own.trr", e=0)
    backmap("other.trr", e=0, channels=tmp_path / "channels.toml")
    own, other = read(tmp_path / "own.trr"), read(tmp_path / "other.trr")
    assert np.abs(own[0].positions - other[0].positions).max() > 1e-3


def counted(frames: Iterator[Frame], pulled: list[int]) -> Iterator[Frame]:
    for frame in frames:
        pulled.append(frame.index)
        yield frame


def test_no_more_frames_are_held_than_are_worked_on(
    backmap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two frames in hand, frame k is written when at most the next multiple of two was read."""
    pulled: list[int] = []
    ahead: list[int] = []
    write = Writer.write

    def watched(writer: Writer, frame: Frame) -> None:
        ahead.append(len(pulled))
        write(writer, frame)

    monkeypatch.setattr(job, "read_frames", lambda *a, **k: counted(read_frames(*a, **k), pulled))
    monkeypatch.setattr(Writer, "write", watched)
    monkeypatch.setattr(job, "IN_HAND", 2 * N_ATOMS + 1)
    backmap("aa.xtc")
    assert ahead == [2, 2, 4, 4, 6, 6, 7]


def test_frames_in_hand_do_not_change_the_answer(
    backmap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backmap("together.trr")
    monkeypatch.setattr(job, "IN_HAND", 1)
    backmap("alone.trr")
    for a, b in zip(read(tmp_path / "together.trr"), read(tmp_path / "alone.trr"), strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-4)


def test_a_batch_ends_where_the_input_does(files: Mixture) -> None:
    frames = [replace(files.frames[0], index=k) for k in range(5)]
    sizes = [len(batch) for batch in job._batches(iter(frames), 2)]
    assert sizes == [2, 2, 1]
    assert list(job._batches(islice(frames, 0), 2)) == []

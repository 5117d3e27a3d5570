"""Backmapping as a user runs it: what is in the files it writes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import mixed
import numpy as np
import pytest
import torch
from MDAnalysis.lib.formats.libmdaxdr import XTCFile
from mixed import Mixture, Result, command, entry, labels, listing
from oracle import example
from test_quality import BOX, several, star, system_of

import dbm_gmx.backmapping.network_stage as network_stage
import dbm_gmx.backmapping.rebuilder as job
from dbm_gmx.backmapping.rebuilder import Rebuilder
from dbm_gmx.backmapping.summary import Report, Tally
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.rules import judge, stereo_values
from dbm_gmx.chemistry.stereo import Chirality, Stereo
from dbm_gmx.errors import InputError
from dbm_gmx.files.structure import read_cg_system
from dbm_gmx.files.trajectory import Writer, read_frames
from dbm_gmx.network.model import read_model
from dbm_gmx.options import Limits, Settings
from dbm_gmx.parallel import side_by_side
from dbm_gmx.sampling.chain import Convergence

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
        given = {**files.options, "--model": model, "-o": tmp_path / output, "--allow": "all"}
        result = command("backmap", {**given, **named})  # a model of random weights breaks every rule
        assert result.code == 0, result.err
        return result

    return run


def test_times_without_frames_are_said_before_any_trial(
    files: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials before the first frame may take hours."""
    monkeypatch.setattr("dbm_gmx.backmapping.backmap.rebuilder_of", lambda *_: pytest.fail("a trial"))
    result = command("backmap", {**files.options, "-t": 300, "-b": 100, "-o": tmp_path / "aa.xtc"})
    assert result.code == 1
    assert "has no frame from 100 ps" in result.err


def read(path: Path) -> list[Frame]:
    return list(read_frames(path, n_atoms=N_ATOMS))


def gro_labels(path: Path, n: int) -> list[tuple[str, str]]:
    lines = path.read_text().splitlines()[2 : 2 + n]
    return [(line[5:10].strip(), line[10:15].strip()) for line in lines]


def test_atoms_are_those_of_the_topology_in_its_order(backmap, tmp_path: Path) -> None:
    backmap("aa.gro", e=0)
    moltypes = {name: labels(entry(name, "topol.top")) for name in ("OCT", "OCX")}
    expected = list(chain.from_iterable(moltypes[name] * count for name, count in mixed.MOLECULES))
    assert len(expected) == N_ATOMS
    assert gro_labels(tmp_path / "aa.gro", N_ATOMS) == expected
    lines = (tmp_path / "aa.gro").read_text().splitlines()
    assert int(lines[1]) == N_ATOMS
    assert len(lines) == N_ATOMS + 3
    assert [int(line[:5]) for line in lines[2:-1:26]] == [1, 2, 3, 4, 5, 6]


def test_a_tpr_alone_gives_its_own_frame_with_the_library(model: Path, tmp_path: Path) -> None:
    options = {"-s": example() / "cg.tpr", "-o": tmp_path / "aa.gro", "--refine": "gibbs", "--model": model}
    options |= {"--sweeps": 0, "--allow": "all"}
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


@pytest.mark.parametrize("moltype", [".xtc", ".trr", ".gro", ".pdb"])
def test_box_time_and_step_of_each_frame_are_kept(
    backmap, files: Mixture, tmp_path: Path, moltype: str
) -> None:
    beads = files.frames[:3]
    source = mixed.write_beads(tmp_path / f"cg{moltype}", files.cg, beads)
    backmap(f"aa{moltype}", f=source)
    frames = read(tmp_path / f"aa{moltype}")
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
        backmap("one.trr", e=0, unguided=None)
        backmap("two.trr", e=0, unguided=None, orientations=2, threads=1)
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
    options = {key: files.options[key] for key in ("-s", "-cp", "--refine", "--sweeps")} | {"--model": model}
    monkeypatch.delenv("DBM_GMX_LIB", raising=False)
    monkeypatch.chdir(tmp_path)
    result = command("backmap", {**options, "-o": tmp_path / "none.gro", "--allow": "all"})
    assert result.code == 1
    assert "not in the library of molecules: OCX." in result.err
    monkeypatch.setenv("DBM_GMX_LIB", f"/nowhere:{tmp_path / 'library'}")
    assert command("backmap", {**options, "-o": tmp_path / "aa.gro", "--allow": "all"}).code == 0
    monkeypatch.delenv("DBM_GMX_LIB")
    monkeypatch.chdir(tmp_path / "library")
    assert command("backmap", {**options, "-o": tmp_path / "bb.gro", "--allow": "all"}).code == 0
    assert listing(tmp_path) == ["aa.gro", "bb.gro", "library"]
    names = labels(entry("OCX", "topol.top"))
    assert gro_labels(tmp_path / "aa.gro", N_ATOMS)[52:78] == names
    assert gro_labels(tmp_path / "bb.gro", N_ATOMS)[52:78] == names


def test_what_is_said_at_the_end(backmap) -> None:
    lines = backmap("aa.xtc", e=20).out.splitlines()
    assert [line[:15].strip() for line in lines] == [
        *("frames", "stages", "bad contacts", "stereocentres", "beads", "longest bond", "rules")
    ]
    assert lines[0].split()[1] == "3"
    assert lines[0].endswith(" a minute")
    assert re.fullmatch(r"stages         network \d+(\.\d+)? s a frame", lines[1])
    assert "nm (rms) from the input" in lines[4]


def test_quiet(backmap) -> None:
    result = backmap("aa.xtc", e=0, q=None)
    assert (result.out, result.err) == ("", "")


def test_channel_file_in_place_of_the_models(backmap, files: Mixture, model: Path, tmp_path: Path) -> None:
    chosen = read_model(model).channels
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


def count_frames_read(monkeypatch: pytest.MonkeyPatch, pulled: list[int]) -> None:
    def counting(*files: Path, **options: object) -> Iterator[Frame]:
        return counted(read_frames(*files, **options), pulled)

    monkeypatch.setattr("dbm_gmx.files.system.read_frames", counting)


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

    count_frames_read(monkeypatch, pulled)
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


# --- the sampler -----------------------------------------------------------------------------------


@pytest.fixture
def exact(files: Mixture, tmp_path: Path):
    """Run the command with the defaults; rules may be broken, as they are."""

    def run(output: str, *, judged: bool = False, **options: object) -> Result:
        named = {f"--{key.replace('_', '-')}" if len(key) > 2 else f"-{key}": v for key, v in options.items()}
        lenient = {} if judged else {"--allow": "all"}
        return command("backmap", {**files.inputs, "-o": tmp_path / output, **lenient, **named})

    return run


def test_the_default_is_the_sampler_without_a_model(
    exact, files: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mixed.fake_sampler(monkeypatch)
    monkeypatch.setattr(network_stage, "read_model", None)
    result = exact("aa.trr", e=20, t=313, sweeps=9, seed=4, spread=0.002)
    assert (result.code, result.err) == (0, "")
    (sampler,) = made
    assert sampler.calls == [(0, 0, False), (1, 0, False), (2, 0, False)]
    assert (sampler.settings.refine, sampler.settings.sweeps, sampler.settings.seed) == ("exact", 9, 4)
    conditions = sampler.conditions
    assert (conditions.temperature, conditions.source, conditions.spread) == (313.0, "-t", 0.002)
    frames = read(tmp_path / "aa.trr")
    assert [f.time for f in frames] == [0, 10, 20]
    again = mixed.FakeSampler(sampler.system, conditions, sampler.settings, {})
    whole = job.with_whole_beads(sampler.system, files.frames[2])
    np.testing.assert_allclose(frames[2].positions, again(whole)[0], atol=2e-3)  # beads of an .xtc


def test_without_a_temperature_300_k_and_a_warning(exact, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixed.fake_sampler(monkeypatch)
    result = exact("aa.xtc", e=0)
    assert made[0].conditions.temperature == 300
    assert result.err == "dbm-gmx: no temperature is given (-t, or ref-t in --mdp): 300 K assumed\n"
    assert "exact at 300 K (assumed)" in result.out


def test_conditions_of_the_mdp_and_options_before_it(
    exact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mixed.fake_sampler(monkeypatch)
    (tmp_path / "run.mdp").write_text("ref-t = 453\nrvdw = 0.9\nrcoulomb = 1.1\nconstraints = h-bonds\n")
    plain = exact("aa.xtc", e=0, mdp=tmp_path / "run.mdp")
    # the hydrogens of one of its molecules have names that GROMACS does not know as such
    assert plain.err == (
        "dbm-gmx: OCX: constraints = h-bonds goes by names that begin with H, as in GROMACS: 18 bonds are "
        "not fixed, the first K1-L11\n"
    )
    assert "exact at 453 K (run.mdp)" in plain.out
    assert "exact at 300 K (-t)" in exact("aa.xtc", e=0, mdp=tmp_path / "run.mdp", t=300, cutoff=1.4).out
    one, two = (sampler.conditions for sampler in made)
    assert (one.rvdw, one.rcoulomb, one.constraints) == (0.9, 1.1, "h-bonds")
    assert (two.rvdw, two.rcoulomb, two.constraints) == (1.4, 1.4, "h-bonds")


def test_a_force_field_that_cannot_be_sampled_is_refused_before_anything_is_written(
    exact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.fake_sampler(monkeypatch, refused="no way")
    result = exact("aa.xtc", t=300)
    assert (result.code, result.out, result.err) == (1, "", "dbm-gmx: error: no way\n")
    assert listing(tmp_path) == []


def test_samples_are_files_of_their_own(exact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed.fake_sampler(monkeypatch)
    result = exact("aa.trr", e=20, t=300, samples=2, c=tmp_path / "one.gro")
    assert result.code == 0
    assert result.out.splitlines()[0].split()[:2] == ["frames", "6"]
    assert listing(tmp_path) == ["aa_1.trr", "aa_2.trr", "one_1.gro", "one_2.gro"]
    first, second = read(tmp_path / "aa_1.trr"), read(tmp_path / "aa_2.trr")
    assert [f.time for f in first] == [f.time for f in second] == [0, 10, 20]
    assert np.abs(first[1].positions - second[1].positions).max() > 0.01
    for k, frames in enumerate((first, second), 1):
        np.testing.assert_allclose(
            read(tmp_path / f"one_{k}.gro")[0].positions, frames[0].positions, atol=6e-4
        )
    exact("single.trr", e=20, t=300)
    np.testing.assert_array_equal(read(tmp_path / "single.trr")[2].positions, first[2].positions)


def test_samples_of_the_network(backmap, tmp_path: Path) -> None:
    backmap("aa.trr", e=10, samples=2)
    backmap("single.trr", e=10)
    first, second, single = (read(tmp_path / f"{name}.trr") for name in ("aa_1", "aa_2", "single"))
    for a, b, c in zip(first, second, single, strict=True):
        np.testing.assert_allclose(a.positions, c.positions, atol=1e-4)
        assert np.abs(a.positions - b.positions).max() > 0.01


@pytest.mark.parametrize(
    ("refine", "start", "calls", "network"),
    [
        ("none", None, None, True),
        ("gibbs", None, None, True),
        ("none", "growth", False, False),
        ("gibbs", "growth", False, True),
        ("exact", "network", True, True),
    ],
)
def test_every_start_with_every_refinement(
    refine: str,
    start: str | None,
    calls: bool | None,
    network: bool,
    *,
    files: Mixture,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sampler is called with atoms or without, or not at all; the model is read or not."""
    made, loaded = mixed.fake_sampler(monkeypatch), []
    monkeypatch.setattr(
        network_stage, "read_model", lambda *given: loaded.append(given) or read_model(*given)
    )
    options = {**files.inputs, "--refine": refine, "-o": tmp_path / "aa.trr", "-e": 10, "-t": 300}
    options |= {"--allow": "all"} | ({"--start": start} if start else {})
    options |= {"--model": model} if network else {}
    result = command("backmap", options)
    assert (result.code, result.err) == (0, "")
    assert [sampler.calls for sampler in made] == ([] if calls is None else [[(0, 0, calls), (1, 0, calls)]])
    assert bool(loaded) == network
    assert len(read(tmp_path / "aa.trr")) == 2


def test_gibbs_sweeps_begin_with_what_was_grown(
    files: Mixture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.fake_sampler(monkeypatch)
    options = {**files.options, "--start": "growth", "-e": 10, "-t": 300}
    known = {"--model": model}
    for name, more in (("none", {"--refine": "none"}), ("zero", known), ("one", {**known, "--sweeps": 1})):
        assert (
            command("backmap", {**options, **more, "-o": tmp_path / f"{name}.trr", "--allow": "all"}).code
            == 0
        )
    none, zero, one = (read(tmp_path / f"{name}.trr")[1].positions for name in ("none", "zero", "one"))
    np.testing.assert_array_equal(zero, none)
    assert np.abs(one - zero).max() > 0.01


def note_workers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list that will hold the number of frames sampled at a time, where these are several."""
    noted: list[int] = []

    def noting(work, jobs, workers: int, **more):
        noted.append(workers)
        return side_by_side(work, jobs, workers, **more)

    monkeypatch.setattr(job, "side_by_side", noting)
    return noted


def test_frames_side_by_side_do_not_change_the_answer(
    exact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three at a time, of which later ones are done sooner; never more are read than are worked on."""
    pulled: list[int] = []
    ahead: list[int] = []
    write, call, running = Writer.write, mixed.FakeSampler.__call__, set()
    most = []

    def watched(writer: Writer, frame: Frame) -> None:
        ahead.append(len(pulled) - writer.frames)
        write(writer, frame)

    def slow(sampler, beads: Frame, **more):
        running.add(beads.index)
        time.sleep(0.03 * (3 - beads.index % 3))
        most.append(len(running))
        running.discard(beads.index)
        return call(sampler, beads, **more)

    made, workers = mixed.fake_sampler(monkeypatch), note_workers(monkeypatch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    exact("one.trr", t=300)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(mixed.FakeSampler, "__call__", slow)
    count_frames_read(monkeypatch, pulled)
    monkeypatch.setattr(Writer, "write", watched)
    exact("three.trr", t=300, spread=0.003, annealing=0)  # else one is looked at before all
    assert workers == [3]
    assert [sampler.threads for sampler in made] == [1, 1]
    assert 1 < max(most) <= 3
    assert max(ahead) <= 3
    one, three = read(tmp_path / "one.trr"), read(tmp_path / "three.trr")
    assert [f.time for f in three] == [0, 10, 20, 30, 40, 50, 60]
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)


def test_large_systems_and_few_frames_use_all_threads_for_one(exact, monkeypatch: pytest.MonkeyPatch) -> None:
    made, workers = mixed.fake_sampler(monkeypatch), note_workers(monkeypatch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    exact("aa.xtc", t=300)  # seven frames
    assert workers == []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    exact("aa.xtc", t=300)
    assert workers == [4]
    monkeypatch.setattr(job, "SMALL", N_ATOMS)
    exact("aa.xtc", t=300)
    assert workers == [4]
    assert [sampler.threads for sampler in made] == [8, 1, 4]


class Forgetful:
    """Workers who fail at the first job, and never say what became of those that are cancelled."""

    count = 3

    @contextmanager
    def hired(self, work: object, abandon: object) -> Iterator[Callable[[int], Future[int]]]:
        def submit(k: int) -> Future[int]:
            future: Future[int] = Future()
            if k == 0:
                future.set_exception(InputError("no"))
            return future

        yield submit


def test_side_by_side_nobody_waits_for_a_job_that_is_cancelled() -> None:
    def run() -> None:
        with pytest.raises(InputError, match="no"):
            list(side_by_side(lambda k: k, iter(range(3)), Forgetful()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_side_by_side_the_jobs_before_a_damaged_one_are_done_first() -> None:
    def jobs(n: int) -> Iterator[int]:
        yield from range(n)
        raise InputError("damaged")

    for workers in (1, 2, 5):
        found: list[int] = []
        with pytest.raises(InputError, match="damaged"):
            found.extend(side_by_side(lambda k: k * k, jobs(3), workers))
        assert found == [0, 1, 4]


def refuse_two(k: int) -> int:
    if k == 2:
        raise InputError("no two")
    return k


@pytest.mark.parametrize("workers", [1, 3])
def test_nothing_comes_after_a_job_that_fails(workers: int) -> None:
    found: list[int] = []
    with pytest.raises(InputError, match="no two"):
        found.extend(side_by_side(refuse_two, iter(range(9)), workers))
    assert found == [0, 1]


def test_what_is_said_of_the_sampler(exact, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed.fake_sampler(monkeypatch, unsettled=(1, 2))
    lines = exact("aa.xtc", e=20, t=568).out.splitlines()
    assert lines[1:3] == [
        "refinement     exact at 568 K (-t), 11 sweeps a frame, 2 of 3 NOT STATIONARY (at 10, 20 ps), "
        "3 molecules grown more than once",
        "accepted       turn 25 %, shift 50 %",
    ]
    growth = exact("aa.xtc", e=20, t=568, refine="none", start="growth").out.splitlines()
    assert growth[1] == "growth         at 568 K (-t), 3 molecules grown more than once"


def test_seconds_of_the_stages_of_network_and_sampler(
    files: Mixture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the sampler beside the network's, whichever comes first."""
    mixed.fake_sampler(monkeypatch)
    call = mixed.FakeSampler.__call__

    def timed(sampler, beads: Frame, **more):
        positions, convergence = call(sampler, beads, **more)
        return positions, replace(convergence, seconds={"growth": 12.0, "packing": 0.25 * beads.index})

    monkeypatch.setattr(mixed.FakeSampler, "__call__", timed)
    options = {**files.inputs, "-o": tmp_path / "aa.trr", "-e": 20, "-t": 300, "--no-check": None}
    sampler, network = "growth 12 s, packing 0.2 s", r"network \d+(\.\d+)? s"
    for refine, start, stages in (
        ("exact", "growth", sampler),
        ("exact", "network", f"{network}, {sampler}"),
        ("gibbs", "growth", f"{sampler}, {network}"),
    ):
        given = {**options, "--refine": refine, "--start": start, "--allow": "all"}
        result = command("backmap", given | ({"--model": model} if network in stages else {}))
        (line,) = (line for line in result.out.splitlines() if line.startswith("stages"))
        assert re.fullmatch(f"stages         {stages} a frame", line)


# --- stereocentres ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mirror:
    """In place of the real sampler: gives the frames it is told, and notes the chirality it is asked for."""

    frames: list[np.ndarray]
    chirality: Chirality
    asked: list[dict[str, list[list[int]]]] = field(default_factory=list)

    def __call__(self, beads: Frame, *, start=None, near=False, sample: int = 0):
        self.asked.append({name: chirality.tolist() for name, chirality in self.chirality.items()})
        return self.frames[beads.index].astype(np.float32), Convergence(True, np.zeros(1))


def test_all_frames_are_asked_for_the_same_and_the_first_is_what_the_others_are_compared_with() -> None:
    system = system_of((star(), 3))
    beads = [Frame(np.zeros((3, 3), np.float32), BOX, index=k) for k in range(2)]
    known = {"CHI": np.array([[0], [-1], [0]], np.int8)}
    sampler = Mirror([several([1, 0, -1]), several([1, 1, 1])], known)
    asked = sampler.asked
    mapper = Rebuilder(system, Settings(check=False), sampler=sampler, chirality=known)
    tally = Tally(system, known)
    for one in mapper(beads):
        tally.add(one.atoms, one.beads, one.refinement)
    assert asked == [{"CHI": [[0], [-1], [0]]}] * 2
    assert tally.report().stereo == Stereo(right=1, wrong=1, undefined=1, inferred=3)


@pytest.mark.parametrize(
    ("stereo", "code"),
    [
        (Stereo(right=3), 0),
        (Stereo(right=1, inferred=2), 0),
        (Stereo(wrong=1), 2),
        (Stereo(right=2, undefined=1), 2),
        (Stereo(undecided=1), 2),
    ],
)
@pytest.mark.parametrize("field", ["stereo", "bonds"])
def test_exit_code_of_wrong_stereocentres_and_bonds(
    exact, field: str, stereo: Stereo, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.fake_sampler(monkeypatch)
    both = {"stereo": Stereo(), "bonds": Stereo(), field: stereo}
    judged = judge(stereo_values(both["stereo"], both["bonds"]), 10.0, Limits())

    report = Report((0,), judged=judged, **both)
    monkeypatch.setattr("dbm_gmx.backmapping.summary.judge_frame", lambda *_: report)
    one = partial(exact, "aa.xtc", judged=True, e=0, t=300)
    result = one()
    assert result.code == code
    wrong, flat = ("flipped", "undefined") if field == "stereo" else ("turned", "twisted")
    for rule, count in ((wrong, stereo.wrong), (flat, stereo.undefined), ("undecided", stereo.undecided)):
        assert (f"{rule} in 1 of 1 frames (at 10 ps)" in result.err) == bool(count)
    assert stereo.text() in result.out
    for more in ({"allow_flips": None}, {"allow": "stereo"}, {"allow": f"{wrong} {flat} undecided".split()}):
        allowed = one(**more)
        assert (allowed.code, allowed.err) == (0, "")
        assert stereo.text() in allowed.out
    assert one(allow="contacts").code == code
    quiet = one(q=None)
    assert (quiet.code, quiet.out) == (code, "")

"""Frames relaxed with GROMACS: the files it is given, what it does wrong, what is done again."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mixed
import numpy as np
import pytest
from fake import calls_of, fake_gmx, runs_of
from mixed import Mixture, Result, command, listing, words

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import mapped_molecules
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.system import map_frame
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.errors import InputError
from dbm_gmx.files.system import mappings_of
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.gromacs.finished import keep, recall
from dbm_gmx.gromacs.log import last_energies
from dbm_gmx.gromacs.relax import Atoms, make_protocol, prepare
from dbm_gmx.gromacs.relax_frame import gromacs_box
from dbm_gmx.options import RelaxSettings

N_ATOMS = 156
ROOT = Path(__file__).resolve().parent.parent
SHORT_EM = "integrator = steep\nnsteps = 20\ncutoff-scheme = Verlet\ncoulombtype = Reaction-Field\n"
SHORT_NVT = (
    "integrator = sd\ndt = 0.001\nnsteps = 100\ntc-grps = System\ntau-t = 0.1\nref-t = 350\ngen-vel = yes\n"
    "gen-temp = 350\ncutoff-scheme = Verlet\ncoulombtype = Reaction-Field\n"
)


@pytest.fixture
def files(tmp_path: Path) -> Mixture:
    files = mixed.mixture(tmp_path / "in")
    mixed.write_atoms(files)
    (files.folder / "em.mdp").write_text(SHORT_EM)
    (files.folder / "nvt.mdp").write_text(SHORT_NVT)
    return files


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def options(files: Mixture, out: Path, gmx: str | Path) -> mixed.Options:
    mappings = [files.folder / "OCT.xml", files.folder / "OCX.xml"]
    given = {"-p": files.folder / "topol.top", "-f": files.folder / "aa.trr", "-m": mappings, "-t": 350}
    return {**given, "--gmx": gmx, "--threads": 1, "-o": out / "relaxed.trr"}


def relaxed(files: Mixture, out: Path, gmx: str | Path, **more: object) -> Result:
    return command("relax", {**options(files, out, gmx), **{f"--{k}": v for k, v in more.items()}})


def frames_of(path: Path) -> list[Frame]:
    return list(read_frames(path, n_atoms=N_ATOMS))


def has_frames(path: Path, count: int) -> bool:
    """Whether so many frames can be read from a file that is being written."""
    with suppress(InputError, FileNotFoundError):
        return len(frames_of(path)) == count
    return False


# --- with GROMACS ----------------------------------------------------------------------------------


def test_centres_stay_on_the_beads_and_atoms_do_not(gmx: str, files: Mixture, out: Path) -> None:
    """Two molecule types, the second box skewed; box, time, step, wholeness and place are kept."""
    short = {"em-mdp": files.folder / "em.mdp", "nvt-mdp": files.folder / "nvt.mdp"}
    result = relaxed(files, out, gmx, beads=files.folder / "cg.xtc", **short)
    assert (result.code, result.err) == (0, "")
    assert re.search(r"gromacs        \d{4}\S* \(/", result.out)
    assert "relaxed        3 frames in " in result.out
    assert listing(out) == ["relaxed.trr"]
    topology = mixed.atoms_topology(files)
    mappings = mappings_of(topology, (files.folder / "OCT.xml", files.folder / "OCX.xml"))
    matches = mapped_molecules(topology, mappings)
    before, after = frames_of(files.folder / "aa.trr"), frames_of(out / "relaxed.trr")
    for old, new, beads in zip(before, after, files.frames, strict=True):
        assert (old.time, old.step) == (new.time, new.step)
        np.testing.assert_array_equal(old.box, new.box)
        off = minimum_image(map_frame(matches, new).positions - beads.positions, new.box)
        assert 0.001 < np.sqrt((off**2).sum(axis=1).mean()) < 0.008  # 3 pm along each axis are asked for
        moved = np.linalg.norm(new.positions - old.positions, axis=1)
        assert 0.01 < np.sqrt((moved**2).mean()) < 0.1
        bonds = topology.molecule_types["OCT"].bonds
        rows = new.positions.reshape(-1, 26, 3)
        assert np.linalg.norm(rows[:, bonds[:, 0]] - rows[:, bonds[:, 1]], axis=-1).max() < 0.2


def test_tables_of_bonds_go_to_mdrun(gmx: str, files: Mixture, out: Path) -> None:
    mixed.with_table(files)
    short = {"em-mdp": files.folder / "em.mdp", "nvt-mdp": files.folder / "nvt.mdp"}
    result = relaxed(files, out, gmx, beads=files.folder / "cg.xtc", **short)
    assert (result.code, result.err) == (0, "")
    assert len(frames_of(out / "relaxed.trr")) == 3


def test_without_restraints_they_leave(gmx: str, files: Mixture, out: Path) -> None:
    (files.folder / "nvt.mdp").write_text(SHORT_NVT.replace("100", "300"))
    short = {"em-mdp": files.folder / "em.mdp", "nvt-mdp": files.folder / "nvt.mdp"}
    result = relaxed(files, out, gmx, **{"no-restraints": None, "end": 0}, **short)
    assert (result.code, result.err) == (0, "")
    after = re.search(r"before, ([\d.]+) nm after", result.out)
    assert after
    assert float(after[1]) > 0.015


def test_what_gromacs_refuses_is_said(gmx: str, files: Mixture, out: Path) -> None:
    (files.folder / "em.mdp").write_text(SHORT_EM + "wizardry = yes\n")
    result = relaxed(files, out, gmx, **{"em-mdp": files.folder / "em.mdp", "end": 0})
    assert result.code == 1
    assert "frame 0 (t = 0 ps): " in result.err
    assert "frame_0: gmx grompp ended with exit code 1:" in result.err
    assert "wizardry" in result.err
    assert "no frame could be relaxed: 1 failed" in result.err
    assert listing(out) == ["relaxed.trr.work"]
    assert "wizardry" in (out / "relaxed.trr.work" / "frame_0" / "em.mdp").read_text()


def test_map_backmap_relax(gmx: str, files: Mixture, out: Path) -> None:
    """The loop of a multi-scale study on a few molecules, each step from the files of the one before."""
    mappings = [files.folder / "OCT.xml", files.folder / "OCX.xml"]
    top = {"-p": files.folder / "topol.top", "-m": mappings}
    atoms = {"-f": files.folder / "aa.trr", "-e": 10}
    assert command("map", {**top, **atoms, "-o": out / "cg.xtc", "-c": out / "cg.gro"}).code == 0
    beads = {"-s": out / "cg.gro", "-cp": files.folder / "cg.top", "-f": out / "cg.xtc"}
    short = {"--em-mdp": files.folder / "em.mdp", "--nvt-mdp": files.folder / "nvt.mdp"}
    more = {"-t": 350, "--sweeps": 3, "--threads": 1, "--relax": None, "--gmx": gmx, "-o": out / "aa.xtc"}
    result = command("backmap", {**beads, **top, **short, **more})
    assert result.code == 0, result.err
    assert "relaxed        2 frames in " in result.out
    assert listing(out) == ["aa.xtc", "aa_relaxed.xtc", "cg.gro", "cg.xtc"]
    back = command("map", {**top, "-f": out / "aa_relaxed.xtc", "-o": out / "again.xtc"})
    assert back.code == 0
    pairs = zip(*(read_frames(out / f, n_atoms=24) for f in ("cg.xtc", "again.xtc")), strict=True)
    for one, other in pairs:
        off = minimum_image(one.positions - other.positions, one.box)
        assert np.sqrt((off**2).sum(axis=1).mean()) < 0.008


def test_samples_are_relaxed_one_by_one(
    files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a file of its own, at the beads of the input; the folder has the first frame of the first."""
    mixed.fake_sampler(monkeypatch)
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=FAILS)
    more = {"--samples": 2, "--relax": out / "r.trr", "--workdir": out / "run", "--gmx": program, "-t": 300}
    more["--allow"] = "all"  # what stands in for the sampler puts atoms anywhere near
    result = command("backmap", {**files.inputs, **more, "-o": out / "aa.trr"})
    assert (result.code, result.err) == (0, "")
    assert listing(out) == ["aa_1.trr", "aa_2.trr", "r_1.trr", "r_2.trr", "run"]
    for k in (1, 2):
        pairs = zip(frames_of(out / f"aa_{k}.trr"), frames_of(out / f"r_{k}.trr"), strict=True)
        assert all(np.abs(a.positions - b.positions).max() < 0.001 for a, b in pairs)
    found = re.findall(r"beads +([\d.]+) nm \(rms\) from the (\w+)", result.out)
    assert found[1][1] == "mapped"
    assert found[1][0] != "0.0000"
    conf = frames_of(out / "run" / "conf.gro")[0]
    assert np.abs(conf.positions - frames_of(out / "r_1.trr")[0].positions).max() < 0.001
    monkeypatch.setenv("SPOIL", "yes")
    result = command("backmap", {**files.inputs, **more, "-o": out / "aa.trr"})
    assert result.code == 1
    assert result.err.count("error: not relaxed: frame 1 (t = 10 ps)") == 2


def test_one_file_for_both(files: Mixture, out: Path, tmp_path: Path) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx")
    options = {**files.options, "-o": out / "aa.xtc", "--relax": out / "aa.xtc", "--gmx": program}
    result = command("backmap", options)
    assert (result.code, listing(out)) == (1, [])
    assert "the same file for the atoms (-o) and the relaxed ones (--relax)" in result.err


# --- with one that is not there or of another kind -------------------------------------------------


def test_gmx_that_is_missing(files: Mixture, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = relaxed(files, out, "/nowhere/gmx")
    assert (result.code, listing(out)) == (1, [])
    assert "GROMACS is not found: no /nowhere/gmx" in result.err
    monkeypatch.setenv("PATH", str(out))
    given = options(files, out, "")
    del given["--gmx"]
    result = command("relax", given)
    assert (result.code, listing(out)) == (1, [])
    assert "no gmx, gmx_mpi, gmx_d, gmx_mpi_d on the PATH; name it with --gmx PATH" in result.err
    backmap = {**files.options, "-o": out / "aa.xtc", "--relax": None}
    result = command("backmap", backmap)
    assert (result.code, listing(out)) == (1, []), "refused before the atoms are rebuilt"


def test_another_program(files: Mixture, out: Path) -> None:
    result = relaxed(files, out, shutil.which("true") or "true")
    assert (result.code, listing(out)) == (1, [])
    assert "is no GROMACS that runs" in result.err


@pytest.mark.parametrize("name", ["gmx", "gmx_mpi", "gmx_d"])
def test_it_is_found_by_any_of_its_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_gmx(tmp_path / "bin" / name, version="2029.7-plain")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    gmx = prepare(RelaxSettings(temperature=300)).gmx
    assert gmx.text() == f"2029.7-plain ({program})"


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ({"mpi": "thread_mpi"}, "-ntmpi 1 -ntomp 2"),
        ({"mpi": "MPI"}, "-ntomp 2"),
        ({"mpi": "MPI (CUDA-aware)", "openmp": "disabled"}, ""),
        ({"mpi": "thread_mpi", "openmp": "disabled"}, "-ntmpi 1"),
    ],
)
def test_no_thread_options_that_a_build_refuses(
    build: dict[str, str], expected: str, *, files: Mixture, out: Path, tmp_path: Path
) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx_mpi", **build)
    result = relaxed(files, out, program, threads=2)
    assert (result.code, result.err) == (0, "")
    found = {line.partition("-reprod")[2].strip() for line in calls_of(program) if " mdrun " in line}
    assert found == {expected}


# --- with one that fails ---------------------------------------------------------------------------


FAILS = """if [ "$here" = frame_1 ] && [ -n "$SPOIL" ]; then
    for i in $(seq 30); do echo "line $i"; done; exit 3; fi"""


def test_a_frame_that_fails_is_named_and_kept_and_done_again(
    files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=FAILS)
    monkeypatch.setenv("SPOIL", "yes")
    result = relaxed(files, out, program, jobs=2)
    assert result.code == 1
    folder = out / "relaxed.trr.work" / "frame_1"
    assert (
        f"error: frame 1 (t = 10 ps): {folder}: gmx mdrun ended with exit code 3:\n  | line 19\n"
        in result.err
    )
    assert "  | line 30\n" in result.err
    assert "line 18\n" not in result.err
    assert "not relaxed: frame 1 (t = 10 ps)" in result.err
    assert "relaxed        2 frames in " in result.out
    assert "1 FAILED" in result.out
    assert [frame.time for frame in frames_of(out / "relaxed.trr")] == [0, 20]
    assert {"em.mdp", "em.top", "start.gro", "mdrun.out"} <= set(listing(folder))
    assert "line 1\n" in (folder / "mdrun.out").read_text()
    monkeypatch.delenv("SPOIL")
    before = len(runs_of(program))
    result = relaxed(files, out, program)
    assert (result.code, result.err) == (0, "")
    assert "relaxed        3 frames in " in result.out
    assert ", 2 of them by an earlier run" in result.out
    assert runs_of(program)[before:] == ["frame_1", "frame_1"]
    assert [frame.time for frame in frames_of(out / "relaxed.trr")] == [0, 10, 20]
    assert listing(out) == ["#relaxed.trr.1#", "relaxed.trr"]


def test_one_that_hangs_is_ended_with_its_children(files: Mixture, out: Path, tmp_path: Path) -> None:
    hang = f'if [ "$here" = frame_0 ]; then sleep 1234 & echo $! > {tmp_path}/child; echo started; wait; fi'
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=hang)
    begin = time.monotonic()
    result = relaxed(files, out, program, timeout=1.5)
    assert time.monotonic() - begin < 600  # it sleeps for longer
    assert result.code == 1
    assert "gmx mdrun did not end within 1.5 s (--timeout):\n  | started\n" in result.err
    assert [frame.time for frame in frames_of(out / "relaxed.trr")] == [10, 20]
    assert not alive(int((tmp_path / "child").read_text()))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to look does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("exit 0", "gmx mdrun left no result that can be used: "),
        (
            "sed 's/0\\.[0-9]*/  nan/' start.gro > $2.gro; exit 0",
            "gmx mdrun left no result that can be used: ",
        ),
        ("cp start.gro $2.gro; echo nothing > $2.log; exit 0", "holds no energies"),
        ("kill -9 $$", "gmx mdrun was ended by signal 9:\n  | (no output)"),
    ],
)
def test_a_run_without_a_result_has_failed(
    spoil: str, said: str, *, files: Mixture, out: Path, tmp_path: Path
) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=f"if [ $2 = nvt ]; then {spoil}; fi")
    result = relaxed(files, out, program, end=0)
    assert (result.code, listing(out)) == (1, ["relaxed.trr.work"])
    assert said in result.err
    assert "Traceback" not in result.err


# --- ended on the way ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_after_a_kill_finished_frames_are_not_run_again(
    how: signal.Signals, files: Mixture, out: Path, tmp_path: Path
) -> None:
    """In the end the same file as without the kill, no frame lost or doubled."""
    hang = (
        f'if [ "$here" = frame_2 ] && [ ! -e {tmp_path}/go ]; then echo $$ > {tmp_path}/pid; sleep 1234; fi'
    )
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=hang)
    arguments = ["relax", *words(options(files, out, program))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dbm_gmx", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    part = out / "relaxed.part.trr"
    while not has_frames(part, 2):  # the one before is judged after it is written
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    _, err = process.communicate(timeout=300)
    mdrun = int((tmp_path / "pid").read_text())
    if how == signal.SIGTERM:
        kept = f"dbm-gmx: {out}/relaxed.part.trr: 2 frames kept; the same command goes on"
        assert err.splitlines()[-2:] == [kept, "dbm-gmx: interrupted (SIGTERM)"]
        assert process.returncode == 1
        assert not alive(mdrun)
    else:
        os.killpg(mdrun, signal.SIGKILL)
    assert len(frames_of(out / "relaxed.part.trr")) == 2
    assert {"frame_0.npz", "frame_1.npz", "frame_2"} <= set(listing(out / "relaxed.trr.work"))
    (tmp_path / "go").touch()
    before = len(runs_of(program))
    result = relaxed(files, out, program)
    assert (result.code, listing(out)) == (0, ["relaxed.trr"])
    assert runs_of(program)[before:] == ["frame_2", "frame_2"]
    (tmp_path / "whole").mkdir()
    assert relaxed(files, tmp_path / "whole", program).code == 0
    assert (out / "relaxed.trr").read_bytes() == (tmp_path / "whole" / "relaxed.trr").read_bytes()


@pytest.mark.parametrize("theirs", ["relaxed.trr.work/notes.txt", "relaxed.trr.work/frame_1/thesis.tex"])
def test_files_of_somebody_else_stay(theirs: str, files: Mixture, out: Path, tmp_path: Path) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx")
    path = out / theirs
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    result = relaxed(files, out, program)
    assert result.code == 1
    assert f"{out}/relaxed.trr.work: holds files of somebody else" in result.err
    assert (path.read_text(), listing(out)) == ("precious", ["relaxed.trr.work"])


def test_a_file_put_into_our_folder_stays(
    files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=FAILS)
    monkeypatch.setenv("SPOIL", "yes")
    assert relaxed(files, out, program).code == 1
    (out / "relaxed.trr.work" / "notes.txt").write_text("precious")
    monkeypatch.delenv("SPOIL")
    assert relaxed(files, out, program).code == 0
    assert listing(out / "relaxed.trr.work") == [".dbm-gmx", "notes.txt"]


def left_unfinished(files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Relax all frames, and end before the output is in its place; returns the program."""
    program = fake_gmx(tmp_path / "bin" / "gmx")
    with monkeypatch.context() as patch:
        patch.setattr("dbm_gmx.gromacs.relaxation.RelaxTally.report", ended)
        patch.setattr("dbm_gmx.gromacs.relax.clear_folder", ended)
        assert relaxed(files, out, program).code == 1
    return program


def test_an_unfinished_relaxation_of_something_else_is_refused(
    files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = left_unfinished(files, out, tmp_path, monkeypatch)
    assert listing(out) == ["relaxed.part.jsonl", "relaxed.part.trr", "relaxed.trr.work"]
    result = relaxed(files, out, program, seed=3)
    assert result.code == 1
    assert "relaxed.part.jsonl: an unfinished run of something else: seed 1, now 3." in result.err
    before = len(runs_of(program))
    assert "3 of them by an earlier run" in relaxed(files, out, program).out
    assert len(runs_of(program)) == before
    assert listing(out) == ["relaxed.trr"]


def test_a_relaxation_goes_on_to_another_end(
    files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames after it that are finished stay for a longer run."""
    program = left_unfinished(files, out, tmp_path, monkeypatch)
    before = len(runs_of(program))
    assert "2 of them by an earlier run" in relaxed(files, out, program, end=files.frames[1].time).out
    assert listing(out / "relaxed.trr.work") == [".dbm-gmx", "frame_2.npz"]
    assert "1 of them by an earlier run" in relaxed(files, out, program, begin=files.frames[2].time).out
    assert len(runs_of(program)) == before
    assert not (out / "relaxed.trr.work").exists()


def ended(*_: object) -> None:
    raise KeyboardInterrupt


def test_results_of_something_else_are_not_taken(
    files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=FAILS)
    monkeypatch.setenv("SPOIL", "yes")
    assert relaxed(files, out, program).code == 1
    monkeypatch.delenv("SPOIL")
    before = len(runs_of(program))
    assert relaxed(files, out, program, spread=0.002).code == 0
    assert len(runs_of(program)) - before == 6


# --- what it is given ------------------------------------------------------------------------------


def given_files(files: Mixture, out: Path, tmp_path: Path, **more: object) -> Path:
    """The folder of a frame, kept as it fails in the end."""
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun="if [ $2 = nvt ]; then exit 1; fi")
    assert relaxed(files, out, program, end=0, **more).code == 1
    return out / "relaxed.trr.work" / "frame_0"


def test_the_users_force_field_and_temperature(files: Mixture, out: Path, tmp_path: Path) -> None:
    mdp = files.folder / "run.mdp"
    mdp.write_text(
        "Coulombtype = PME\nrvdw = 1.1\nRCOULOMB=1.1\nnsteps = 7\nref_t = 200 200\ndefine = -DSTIFF\n"
        "constraints = h-bonds ; ours\nDispCorr = Ener\n"
    )
    files.edit("topol.top", "[ system ]", "#ifdef STIFF\n[ exclusions ]\n1 2\n#endif\n[ system ]")
    folder = given_files(files, out, tmp_path, mdp=mdp)
    for name in ("em", "nvt"):
        values = dict(
            re.findall(r"^([\w-]+) *= *(.*?)(?: *;.*)?$", (folder / f"{name}.mdp").read_text(), re.M)
        )
        assert (values["coulombtype"], values["rvdw"], values["rcoulomb"]) == ("PME", "1.1", "1.1")
        assert (values["constraints"], values["dispcorr"]) == ("h-bonds", "Ener")
        assert values["nsteps"] == {"em": "200", "nvt": "1000"}[name]
        assert "exclusions" in (folder / f"{name}.top").read_text()
    assert (values["ref-t"], values["gen-temp"], values["dt"]) == ("350", "350", "0.001")
    assert values["gen-seed"] == values["ld-seed"] == "1"


@pytest.mark.parametrize("option", ["mdp", "em-mdp", "nvt-mdp"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rvdw = nan", "rvdw: expected a number, found 'nan'"),
        ("rvdw = -0.9", "rvdw: expected a number above 0, found '-0.9'"),
        ("rvdw = 1e30", "rvdw: expected 1e-06 to 1e+06, found '1e30'"),
        ("rcoulomb = inf", "rcoulomb: expected a number, found 'inf'"),
        ("rcoulomb = 0", "rcoulomb: expected a number above 0, found '0'"),
        ("dt = nan", "dt: expected a number, found 'nan'"),
        ("dt = -0.001", "dt: expected a number above 0, found '-0.001'"),
        ("ref_t = 300 nan", "ref-t: expected a number, found '300 nan'"),
        ("ref-t = 300 -300", "ref-t: expected a number from 0, found '300 -300'"),
        ("rlist = -1", "rlist: expected a number from 0, found '-1'"),
    ],
)
def test_numbers_of_a_run_that_are_none(
    option: str, text: str, said: str, files: Mixture, out: Path, tmp_path: Path
) -> None:
    mdp = files.folder / "wrong.mdp"
    mdp.write_text(f"; mine\nconstraints = none\n{text}\n")
    given = {**options(files, out, tmp_path / "no_gmx"), f"--{option}": mdp, "-t": 300}
    result = command("relax", given)
    assert (result.code, f"{mdp}:3: {said}" in result.err, listing(out)) == (1, True, []), result.err


def test_files_in_place_of_those_that_ship(files: Mixture, out: Path, tmp_path: Path) -> None:
    (files.folder / "nvt.mdp").write_text(SHORT_NVT.replace("350", "120"))
    mine = {"em-mdp": files.folder / "em.mdp", "nvt-mdp": files.folder / "nvt.mdp"}
    folder = given_files(files, out, tmp_path, cutoff=0.8, **mine)
    em, nvt = ((folder / f"{name}.mdp").read_text() for name in ("em", "nvt"))
    assert em.startswith(SHORT_EM)
    assert "ref-t                   = 350\n" in nvt
    assert all("rvdw                    = 0.8\n" in text for text in (em, nvt))


@pytest.mark.parametrize(("spread", "expected"), [(None, {0.003, 0.05}), (0.01, {0.01})])
def test_each_centre_is_held_no_more_closely_than_it_was_made(
    files: Mixture, tmp_path: Path, spread: float | None, expected: set[float]
) -> None:
    """Water that was freed leaves what stands in it where it is."""
    topology = mixed.atoms_topology(files)
    mappings = mappings_of(topology, (files.folder / "OCT.xml", files.folder / "OCX.xml"))
    widths = {name: np.full(len(one.names), 0.003) for name, one in mappings.items()}
    widths["OCX"][-1] = 0.05
    settings = RelaxSettings(gmx=str(fake_gmx(tmp_path / "bin" / "gmx")), temperature=350.0, spread=spread)
    atoms = Atoms(topology, [], mappings, widths=widths)
    top = make_protocol(atoms, prepare(settings), settings).tops["nvt"]
    held = re.findall(r"^\d+ 1 (\S+) \1 \1$", top, re.MULTILINE)
    assert len(held) == sum(map(len, widths.values()))
    assert {round(math.sqrt(GAS * 350.0 / float(k)), 5) for k in held} == expected
    if spread is None:
        assert np.argmin([float(k) for k in held]) == len(held) - 1
        assert sum(float(k) < float(held[0]) for k in held) == 1


def test_sites_are_at_the_beads_with_the_weights_of_the_mapping(
    files: Mixture, out: Path, tmp_path: Path
) -> None:
    folder = given_files(files, out, tmp_path, beads=files.folder / "cg.xtc", spread=0.002)
    top = (folder / "nvt.top").read_text()
    assert top.count("[ virtual_sitesn ]") == 2
    first = re.search(r"\[ virtual_sitesn \]\n(\d+) 3 (.*)\n", top)
    assert first
    assert first[1] == "27"
    weights = first[2].split()[1::2]
    assert sum(map(float, weights)) == pytest.approx(1)
    stiffness = 8.31446e-3 * 350 / 0.002**2
    assert f"27 1 {stiffness:.6g} {stiffness:.6g} {stiffness:.6g}\n" in top
    frame = next(read_frames(folder / "start.gro", n_atoms=6 * 30))
    sites = frame.positions.reshape(6, 30, 3)[:, 26:].reshape(-1, 3)
    off = minimum_image(sites - files.frames[0].positions, frame.box)
    assert np.abs(off).max() < 0.0011


def test_beads_of_other_times(files: Mixture, out: Path, tmp_path: Path) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx")
    mixed.write_beads(files.folder / "late.xtc", files.cg, files.frames[1:])
    result = relaxed(files, out, program, beads=files.folder / "late.xtc")
    assert (result.code, listing(out)) == (1, [])
    assert "beads for the atoms of 0 ps are needed, found those of 10 ps" in result.err


def test_a_mapping_is_needed_unless_nothing_is_held(files: Mixture, out: Path, tmp_path: Path) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx")
    given = options(files, out, program)
    del given["-m"]
    result = command("relax", given)
    assert result.code == 1
    assert "centres are held by a mapping (-m), or not (--no-restraints): not in the library" in result.err
    result = command("relax", {**given, "--no-restraints": None})
    assert result.code == 0
    assert "beads" not in result.out


def test_topology_and_temperature_that_are_missing(files: Mixture, out: Path, tmp_path: Path) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx")
    given = options(files, out, program)
    del given["-t"]
    assert "no temperature is given (-t, or ref-t in --mdp)" in command("relax", given).err
    del given["-p"]
    result = command("relax", given)
    assert result.code == 1
    assert "grompp needs the topology of the atoms: give a .top (-p)" in result.err


def test_a_strongly_skewed_box_as_gromacs_wants_it() -> None:
    box = np.array([[2.0, 0, 0], [-3.3, 2.5, 0], [4.1, -6.0, 1.8]])
    found = gromacs_box(box)
    whole = found @ np.linalg.inv(box)
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-9)
    assert abs(np.linalg.det(whole)) == pytest.approx(1)
    assert abs(found[1, 0]) <= 1.0
    assert abs(found[2, 0]) <= 1.0
    assert abs(found[2, 1]) <= 1.25


def test_last_energies_of_a_log(tmp_path: Path) -> None:
    row = "{:>15}{:>15}{:>15}\n".format
    step = "   Energies (kJ/mol)\n" + row("Bond", "Position Rest.", "Coulomb (SR)")
    first = step + row("1.0e+00", "2.0e+00", "-3.0e+00") + f"{'Potential':>15}\n{'nan':>15}\n\n"
    last = step + row("4.5e+00", "1.0e+01", "-3.5e+00") + f"{'Potential':>15}\n{'-6.00000e+01':>15}\n\n"
    average = "\t<====  A V E R A G E S  ====>\n\n" + first
    (tmp_path / "a.log").write_text(f"Step\n{first}Step\n{last}{average}")
    found = last_energies(tmp_path / "a.log")
    assert found == {"Bond": 4.5, "Position Rest.": 10.0, "Coulomb (SR)": -3.5, "Potential": -60.0}


def test_nothing_is_written_where_the_output_may_not_be(files: Mixture, tmp_path: Path) -> None:
    program = fake_gmx(tmp_path / "bin" / "gmx")
    result = relaxed(files, tmp_path / "nowhere", program)
    assert result.code == 1
    assert "nowhere/relaxed.trr: there is no folder" in result.err
    assert runs_of(program) == []


def test_molecules_come_back_whole_and_in_place(files: Mixture, out: Path, tmp_path: Path) -> None:
    """GROMACS may leave atoms in any image."""
    moved = tmp_path / "move.py"
    moved.write_text(
        "lines = open('start.gro').read().splitlines()\n"
        "size = float(lines[-1].split()[0])\n"
        "for i in range(2, len(lines) - 1, 3):\n"
        "    line = lines[i]\n"
        "    lines[i] = f'{line[:20]}{float(line[20:28]) + 2 * size:8.3f}{line[28:]}'\n"
        "open('start.gro', 'w').write('\\n'.join([*lines, '']))\n"
    )
    program = fake_gmx(tmp_path / "bin" / "gmx", mdrun=f"if [ $2 = nvt ]; then {sys.executable} {moved}; fi")
    result = relaxed(files, out, program)
    assert (result.code, result.err) == (0, "")
    for old, new in zip(frames_of(files.folder / "aa.trr"), frames_of(out / "relaxed.trr"), strict=True):
        assert np.abs(old.positions - new.positions).max() < 0.002


def test_a_damaged_finished_frame_is_done_again(tmp_path: Path) -> None:
    """Whatever bit of it is flipped: numpy and zipfile raise many errors."""
    names = ("positions", "potential")
    keep(tmp_path, 0, "mine", positions=np.ones((3, 3), np.float32), potential=1.5)
    path = tmp_path / "frame_0.npz"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 5):
        path.write_bytes(whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :])
        found = recall(tmp_path, 0, "mine", names)
        assert found is None or ((found["positions"] == 1).all() and found["potential"] == 1.5)
    path.write_bytes(whole)
    assert recall(tmp_path, 0, "mine", names) is not None
    assert recall(tmp_path, 0, "other", names) is None

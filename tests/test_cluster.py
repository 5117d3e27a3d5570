"""Frames on the workers of a Dask cluster: the same bytes, also where a worker is lost."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mixed
import numpy as np
import pytest
from fake import fake_gmx, runs_of
from mixed import Mixture, command
from work import Heavy, KillOnce, is_frame_three, kill_always, refuse_four, square

pytest.importorskip("distributed", reason="Dask is not installed (pip install 'dbm-gmx[cluster]')")

import dbm_gmx.backmapping.rebuilder as job
from dbm_gmx import cluster
from dbm_gmx.backmapping.backmap import backmap
from dbm_gmx.cluster import Crew, open_crew
from dbm_gmx.errors import InputError
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.options import Inputs, Method, Settings
from dbm_gmx.parallel import side_by_side

ROOT = Path(__file__).resolve().parent.parent
N_ATOMS = mixed.ATOMS * sum(count for _, count in mixed.MOLECULES)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with open_crew(None, 2) as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    return mixed.mixture(tmp_path_factory.mktemp("mixture"), n=7)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed.tiny_model(tmp_path_factory.mktemp("model") / "tiny.pt")


@dataclass(frozen=True)
class Sabotaged:
    """A crew of which one is killed."""

    crew: Crew
    marker: Path
    is_it: Callable[[Any], bool]

    @property
    def count(self) -> int:
        return self.crew.count

    def hired(self, work: Callable[[Any], Any], abandon: Callable[[], None]) -> Any:
        return self.crew.hired(KillOnce(work, self.marker, self.is_it), abandon)


def test_results_come_in_order(crew: Crew) -> None:
    """That a lost job is done again is asked of frames, below."""
    assert list(side_by_side(square, iter(range(20)), crew, ahead=3)) == [k * k for k in range(20)]


def test_results_come_in_order_where_a_later_one_is_there_first() -> None:
    late, early = threading.Event(), threading.Event()

    def work(k: int) -> int:
        if k == 1:
            late.wait(10)
        if k == 2:
            early.set()
        return k

    results = side_by_side(work, iter(range(4)), 2, ahead=2)
    assert next(results) == 0
    assert early.wait(10)
    time.sleep(0.05)  # until the job counts as done, too
    threading.Timer(0.1, late.set).start()
    assert list(results) == [1, 2, 3]


def test_what_jobs_share_is_sent_once_to_each_worker(crew: Crew, tmp_path: Path) -> None:
    workers = set(side_by_side(Heavy(tmp_path), iter(range(30)), crew, ahead=3))
    unpacked = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    here = [pid for pid in unpacked if int(pid) != os.getpid()]  # the scheduler of a local cluster is here
    assert set(map(str, workers)) <= set(here)
    assert len(here) == len(set(here)) <= 2


def test_no_more_jobs_are_taken_than_the_workers_need(crew: Crew) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for k in range(50):
            taken.append(k)
            yield k

    work = side_by_side(square, jobs(), crew, ahead=2)
    for number, _ in enumerate(work):
        assert len(taken) <= number + 2 * 2 + 1
    assert len(taken) == 50


def test_an_error_of_a_job_comes_back_after_those_before_it(crew: Crew) -> None:
    found: list[int] = []
    with pytest.raises(InputError, match="here: no four"):
        found.extend(side_by_side(refuse_four, iter(range(9)), crew, ahead=3))
    assert found == [0, 1, 2, 3]


def test_a_job_that_kills_every_worker_ends_in_an_error(crew: Crew) -> None:
    scheduler = crew._client.cluster.scheduler
    allowed, scheduler.allowed_failures = scheduler.allowed_failures, 0
    try:
        with pytest.raises(InputError, match="workers were lost again and again"):
            list(side_by_side(kill_always, iter(range(4)), crew))
    finally:
        scheduler.allowed_failures = allowed


def test_workers_of_another_version_are_refused(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "versions", lambda: (("dbm-gmx", "0.0.0 (other)"),))
    with pytest.raises(InputError, match=r"has dbm-gmx .*, this process 0.0.0 \(other\)"):
        list(side_by_side(square, iter(range(2)), crew))


@pytest.mark.parametrize("refine", ["gibbs", pytest.param("growth", marks=pytest.mark.long)])
def test_backmap_with_a_worker_killed_gives_the_same_bytes(
    crew: Crew,
    files: Mixture,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refine: str,
) -> None:
    for name in ("IN_HAND", "TOGETHER"):
        monkeypatch.setattr(job, name, 1)  # each frame alone
    inputs = inputs_of(files)
    settings = Settings(refine="gibbs", sweeps=1) if refine == "gibbs" else Settings("none", "growth")
    method = Method(settings, model=model)
    one = backmap(inputs, tmp_path / "one.xtc", method)
    sabotaged = Sabotaged(crew, tmp_path / "killed", is_frame_three)
    two = backmap(inputs, tmp_path / "two.xtc", method, crew=sabotaged)
    assert (tmp_path / "killed").exists()
    assert (tmp_path / "one.xtc").read_bytes() == (tmp_path / "two.xtc").read_bytes()
    assert replace(two.report, seconds=0.0, refinement=one.report.refinement) == replace(
        one.report, seconds=0.0
    )


def test_small_frames_are_sent_together(crew: Crew, files: Mixture, model: Path, tmp_path: Path) -> None:
    """As many as the network has in hand: how it rounds depends on that."""
    method = Method(Settings(refine="gibbs", sweeps=0), model=model)
    backmap(inputs_of(files), tmp_path / "one.trr", method)
    backmap(inputs_of(files), tmp_path / "two.trr", method, crew=crew)
    assert (tmp_path / "one.trr").read_bytes() == (tmp_path / "two.trr").read_bytes()


def inputs_of(files: Mixture) -> Inputs:
    names = {key: files.folder / name for key, name in mixed.FILES.items()}
    return Inputs(
        names["-s"],
        names["-f"],
        cg_topology=names["-cp"],
        topology=names["-p"],
        mappings=(files.folder / "OCT.xml", files.folder / "OCX.xml"),
        owners=(names["--owners"],),
    )


# --- the command -----------------------------------------------------------------------------------


# what a shell starts in the background ignores Ctrl-C, and so would this process
SLOW = (
    "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "import dbm_gmx.backmapping.rebuilder as job; from dbm_gmx.cli import main; "
    "from dbm_gmx.files.output import PartFile; job.IN_HAND = job.TOGETHER = 1; append = PartFile.append; "
    "PartFile.append = lambda part, data: (time.sleep(0.05), append(part, data))[1]; sys.exit(main())"
)


def test_ctrl_c_ends_workers_too_and_frames_are_kept(files: Mixture, tmp_path: Path) -> None:
    """Of a terminal, as Ctrl-C: all processes get it. It is said where to look; no process is left."""
    many = [replace(files.frames[k % 7], time=float(k), index=k) for k in range(200)]
    mixed.write_beads(tmp_path / "many.xtc", files.cg, many)
    given = {**files.inputs, "-f": tmp_path / "many.xtc", "--refine": "none", "--start": "growth", "-t": 300}
    given |= {"--threads": 1, "--allow": "all", "-o": tmp_path / "out" / "aa.xtc", "--dask": None}
    (tmp_path / "out").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "backmap", *mixed.words(given)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    part, deadline = tmp_path / "out" / "aa.part.xtc", time.monotonic() + 300
    while not part.exists() or part.stat().st_size < 5000:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    sent = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    assert time.monotonic() - sent < 20  # 1.2 s on a machine that is not busy
    # what they say ends when no worker is left: one that compiles ends after that
    said = process.communicate(timeout=300)[1].splitlines()
    assert process.returncode == 1
    kept = len(list(read_frames(part, n_atoms=N_ATOMS)))
    assert 1 < kept < 200
    assert "1 worker, dashboard http://127.0.0.1:" in said[0]
    words_of_it = f"dbm-gmx: {part}: {kept} frames kept; the same command goes on"
    assert said[-2:] == [words_of_it, "dbm-gmx: interrupted (SIGINT)"]


def test_ctrl_c_reaches_no_worker(crew: Crew) -> None:
    """Also while it is loaded, where it would show a traceback: it is blocked from the first step on."""
    blocked = crew._client.run(lambda: signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
    assert list(blocked.values()) == [True, True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


SCRIPT = """
from dbm_gmx.cluster import open_crew
print("begun")
with open_crew(None, 1) as crew:
    print(crew.count, "__file__" in globals())
print("__file__" in globals())
"""


def test_a_script_is_run_once(tmp_path: Path) -> None:
    """Also where it does not ask whether it is the main one: workers ran it from its beginning."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split("\n") == ["begun", "1 False", "True", ""], done.stderr
    assert done.returncode == 0


def no_scheduler_files(folder: Path) -> Iterator[Path]:
    for number, text in enumerate(("{bad", "{}", "[]", "", '{"address": 5}', '{"address": "here"}', "\xff")):
        path = folder / f"{number}.json"
        path.write_text(text, encoding="latin1")
        yield path


def test_an_address_where_nobody_answers(
    files: Mixture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    monkeypatch.setattr(cluster, "WAITS", (0.0,))
    options = {**files.options, "--model": model, "-o": tmp_path / "aa.xtc"}
    for where, said in (
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at tcp://127.0.0.1:1"),
        (tmp_path / "none.json", "no such scheduler file"),
        *((path, f"{path}: is no scheduler file of Dask") for path in no_scheduler_files(files.folder)),
    ):
        result = command("backmap", {**options, "--dask": where})
        assert result.code == 1
        assert said in result.err
        assert mixed.listing(tmp_path) == []


def test_without_dask_the_extra_is_named(
    files: Mixture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "dbm_gmx.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    options = {**files.options, "--model": model, "-o": tmp_path / "aa.xtc"}
    result = command("backmap", {**options, "--dask": None})
    assert result.code == 1
    assert "pip install 'dbm-gmx[cluster]'" in result.err
    assert "--part" in result.err


def test_evaluation_is_the_same(crew: Crew, tmp_path: Path) -> None:
    from dbm_gmx.evaluation.evaluation import evaluate
    from dbm_gmx.evaluation.tables import plain_scores
    from dbm_gmx.files.share import share_path
    from dbm_gmx.options import EvaluateInputs

    folder = share_path("examples", "octane")
    inputs = EvaluateInputs(folder / "topol.top", (folder / "aa.xtc",), end=200.0)
    here, there = (evaluate(inputs, slow=(), workers=who) for who in (1, crew))
    assert plain_scores(here) == plain_scores(there)
    for one, other in zip(here.candidates[0].measured, there.candidates[0].measured, strict=True):
        assert one.energies == other.energies
        for key in one.terms:
            np.testing.assert_array_equal(one.terms[key], other.terms[key])


def test_relaxed_frames_are_the_same(crew: Crew, tmp_path: Path) -> None:
    """With a stand-in for GROMACS, which both sides call for every frame."""
    from dbm_gmx.files.share import share_path
    from dbm_gmx.gromacs.relax import relax
    from dbm_gmx.options import AtomInputs, RelaxSettings

    folder = share_path("examples", "octane")
    inputs = AtomInputs(None, folder / "topol.top", folder / "aa.xtc", end=200.0)
    gmx = fake_gmx(tmp_path / "bin" / "gmx")
    settings = RelaxSettings(temperature=350.0, restrain=False, threads=1, gmx=str(gmx))
    relax(inputs, tmp_path / "one.xtc", settings=settings)
    here = len(runs_of(gmx))
    done = relax(inputs, tmp_path / "two.xtc", settings=settings, crew=crew)
    assert done.frames == 2
    assert len(runs_of(gmx)) == 2 * here > 0
    assert (tmp_path / "one.xtc").read_bytes() == (tmp_path / "two.xtc").read_bytes()
    assert not (tmp_path / "two.xtc.work").exists()


# --- batch systems ---------------------------------------------------------------------------------


@pytest.mark.long
def test_the_script_for_slurm_works(
    files: Mixture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an ``sbatch`` that runs the job here: the scripts are those that Slurm would get."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    log = tmp_path / "jobs"
    # as Slurm does, it keeps the script, which is removed once it has been submitted
    fake(
        programs / "sbatch",
        f'cp "${{!#}}" {log}.$$; bash {log}.$$ >{log}.out 2>&1 & echo "Submitted batch job $!"',
    )
    fake(programs / "scancel", "kill $@ 2>/dev/null; true")
    fake(programs / "dbm-gmx", f'exec {sys.executable} -m dbm_gmx "$@"')
    places = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    words = [str(ROOT / "share" / "recipes" / "cluster" / "slurm.py"), "--jobs", "2", "--", "backmap"]
    options = {**files.options, "--model": model, "-o": tmp_path / "aa.xtc", "--allow": "all"}
    for key, value in options.items():
        words += [key, *map(str, value if isinstance(value, list) else [value])]
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | places,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scripts = [path.read_text() for path in tmp_path.glob("jobs.[0-9]*")]
    assert scripts
    assert all("#SBATCH --cpus-per-task=1" in text for text in scripts)
    assert (tmp_path / "aa.xtc").exists()


def fake(path: Path, text: str) -> None:
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)

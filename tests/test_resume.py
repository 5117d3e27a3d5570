"""Runs that are ended: what they leave, and that the same command goes on to the same bytes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import mixed
import numpy as np
import pytest
from mixed import Mixture, Options, Result, command, fake_sampler, listing, words

import dbm_gmx.files.record as record
from dbm_gmx.chemistry.array_types import SignArray
from dbm_gmx.errors import InputError
from dbm_gmx.files.output import PartFile
from dbm_gmx.files.trajectory import SUFFIXES, read_frames
from dbm_gmx.plain import plain, restored

ROOT = Path(__file__).parents[1]
N_ATOMS = mixed.ATOMS * sum(count for _, count in mixed.MOLECULES)
FRAMES = 5
UNSETTLED = (1,)
TIMES = re.compile(r" in [\d.]+ s, .*")


@pytest.fixture(scope="module")
def kept_files(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    """What nobody changes."""
    return mixed.mixture(tmp_path_factory.mktemp("kept") / "in", n=FRAMES)


@pytest.fixture
def files(kept_files: Mixture, tmp_path: Path) -> Mixture:
    """A copy that may be changed."""
    return replace(kept_files, folder=Path(shutil.copytree(kept_files.folder, tmp_path / "in")))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def options(files: Mixture, folder: Path, suffix: str = ".xtc", **more: object) -> Options:
    """Everything that can be written."""
    given = {**files.inputs, "-o": folder / f"aa{suffix}", "-c": folder / "one.gro", "-or": folder / "or.gro"}
    return {**given, "-t": 300, "--allow": "all", **{f"--{key}": value for key, value in more.items()}}


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for what says when and where it was made."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not re.search(r"\.json(\.\d+#)?$", path.name)
    }


Unbroken = Callable[..., tuple[dict[str, bytes], Result]]


@pytest.fixture(scope="module")
def whole(kept_files: Mixture, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    """Unbroken runs, each made once: all files, and what was said."""

    @cache
    def run(suffix: str = ".xtc", samples: int = 1) -> tuple[dict[str, bytes], Result]:
        folder = tmp_path_factory.mktemp("whole")
        with pytest.MonkeyPatch.context() as patch:
            fake_sampler(patch, unsettled=UNSETTLED)
            result = command("backmap", options(kept_files, folder, suffix, samples=samples))
        assert result.code == 0
        return contents(folder), result

    return run


def break_off(monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException | None = None) -> None:
    """Have the next run ended after so many frames in all files: by an error, or in the middle of one."""
    append, calls = PartFile._append, iter(range(1000))

    def broken(part: PartFile, data: bytes) -> None:
        if part.path.suffix != ".jsonl" and next(calls) == after:
            monkeypatch.setattr(PartFile, "_append", append)
            if error is not None:
                raise error
            os.pwrite(part.descriptor, data[: len(data) // 2], part.size)
            raise KilledError
        append(part, data)

    monkeypatch.setattr(PartFile, "_append", broken)


class KilledError(BaseException):
    """Nothing is done any more; see :func:`killed`."""


def killed(arguments: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command that ends as after SIGKILL: files stay as they are at that moment."""
    with monkeypatch.context() as patch:
        patch.setattr("dbm_gmx.files.output._close", lambda opened, *, done: os.close(opened.descriptor))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KilledError):
            command("backmap", arguments)


def said(result: Result) -> list[str]:
    """The summary without its times, and errors; whoever comes first compiles, and says so."""
    lines = TIMES.sub("", result.out + result.err).splitlines()
    return [line for line in lines if not line.startswith(("stages", "CPU")) and "compiling" not in line]


# --- the same bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "samples", "suffix"),
    [
        *((after, 1, ".xtc") for after in (0, 1, 2, 3, 6)),
        *((after, 2, ".xtc") for after in (0, 2, 4, 5, 10)),
        *((5, 2, suffix) for suffix in SUFFIXES if suffix != ".xtc"),
    ],
)
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    after: int,
    samples: int,
    suffix: str,
    *,
    files: Mixture,
    out: Path,
    whole: Unbroken,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed within a frame, which is half in its file."""
    expected, unbroken = whole(suffix, samples)
    made = fake_sampler(monkeypatch, unsettled=UNSETTLED)
    given = options(files, out, suffix, samples=samples)
    break_off(monkeypatch, after)
    killed(given, monkeypatch)
    done = (out / "aa.part.jsonl").read_text().count("\n") - 1
    result = command("backmap", given)
    assert result.code == 0
    assert contents(out) == expected
    assert said(result) == said(unbroken)
    assert len(made[-1].calls) == samples * (FRAMES - done // samples)


@pytest.mark.parametrize(
    "error", [MemoryError(), ZeroDivisionError(), KeyboardInterrupt(), InputError("bad")]
)
def test_no_exception_loses_finished_frames(
    error: BaseException, files: Mixture, out: Path, whole: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = whole()
    fake_sampler(monkeypatch, unsettled=UNSETTLED)
    break_off(monkeypatch, 4, error)  # -c, -or and the first frame, then two
    try:
        result = command("backmap", options(files, out))
        assert f"{out}/aa.part.xtc: 2 frames kept; the same command goes on\n" in result.err
        assert result.code == 1
    except (MemoryError, ZeroDivisionError) as found:
        assert found is error  # noqa: PT017
    assert listing(out) == ["aa.part.jsonl", "aa.part.xtc", "one.part.gro", "or.part.gro"]
    assert len(list(read_frames(out / "aa.part.xtc", n_atoms=N_ATOMS))) == 2
    assert command("backmap", options(files, out)).code == 0
    assert contents(out) == expected


def test_all_frames_were_there_and_some_files_had_their_names(
    files: Mixture, out: Path, whole: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the very end; the last frame is made again, for the summary."""
    expected, unbroken = whole(samples=2)
    made = fake_sampler(monkeypatch, unsettled=UNSETTLED)
    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "stays", True, raising=False)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        assert command("backmap", options(files, out, samples=2)).code == 0
    for lock in out.glob("*.lock"):
        lock.unlink()
    (out / "aa_1.xtc").rename(out / "aa_1.part.xtc")
    assert (out / "aa.part.jsonl").exists()
    result = command("backmap", options(files, out, samples=2))
    assert (contents(out), said(result)) == (expected, said(unbroken))
    assert len(made[-1].calls) == 2


@pytest.mark.parametrize("harm", ["a byte of a frame", "a byte of the record", "half a line", "a short file"])
def test_only_what_is_as_it_was_written_is_believed(
    harm: str, files: Mixture, out: Path, whole: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = whole()
    made = fake_sampler(monkeypatch, unsettled=UNSETTLED)
    break_off(monkeypatch, 6)
    killed(options(files, out), monkeypatch)
    frames, lines = out / "aa.part.xtc", out / "aa.part.jsonl"
    data, text = bytearray(frames.read_bytes()), lines.read_text().splitlines(keepends=True)
    assert len(text) == 5
    if harm == "a byte of a frame":
        data[json.loads(text[2])["ends"][0] - 9] ^= 1
        frames.write_bytes(data)
    elif harm == "a short file":
        frames.write_bytes(data[: json.loads(text[3])["ends"][0] - 1])
    elif harm == "half a line":
        lines.write_text("".join(text)[:-20])
    else:
        text[2] = text[2].replace('"digests":["', '"digests":["0')
        lines.write_text("".join(text))
    assert command("backmap", options(files, out)).code == 0
    assert contents(out) == expected
    kept = {"a byte of a frame": 1, "a byte of the record": 1, "half a line": 3, "a short file": 2}[harm]
    assert len(made[-1].calls) == FRAMES - kept


@pytest.mark.parametrize("samples", [1, 2])
def test_a_frame_that_is_spoilt_while_the_run_goes_on_is_made_again(
    files: Mixture, whole: Unbroken, out: Path, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    """The frame after it is in the file as well by then."""
    name = "aa.part.xtc" if samples == 1 else "aa_2.part.xtc"
    expected, _ = whole(samples=samples)
    made = fake_sampler(monkeypatch)
    add = record.Record.add

    def spoil(self: record.Record, line: record.Line) -> None:
        add(self, line)
        if line.frame == 3:
            with (out / name).open("r+b") as stream:
                stream.seek(200)
                stream.write(b"rubbish")

    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "add", spoil)
        result = command("backmap", options(files, out, samples=samples))
    assert result.code == 1
    assert f"{name}: cannot be finished: it is not as it was written" in result.err
    assert not (out / "aa.xtc").exists()
    assert command("backmap", options(files, out, samples=samples)).code == 0
    assert contents(out) == expected
    assert 0 < len(made[-1].calls) <= FRAMES * samples


def test_the_box_of_a_frame_is_wrong(files: Mixture, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sampler(monkeypatch)
    last = replace(files.frames[2], box=np.zeros((3, 3)))
    mixed.write_beads(files.folder / "cg.xtc", files.cg, [*files.frames[:2], last])
    result = command("backmap", options(files, out))
    assert result.code == 1
    assert "aa.part.xtc: 2 frames kept" in result.err
    assert "cg.xtc: frame 2 (t = 20 ps): there is no box" in result.err
    assert len(list(read_frames(out / "aa.part.xtc", n_atoms=N_ATOMS))) == 2


# --- something else --------------------------------------------------------------------------------


def other_frames(files: Mixture, given: Options) -> None:
    path = files.folder / "cg.xtc"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")


def other_topology(files: Mixture, given: Options) -> None:
    files.edit("topol.top", "mixture", "Mixture")


def other_seed(files: Mixture, given: Options) -> None:
    given["--seed"] = 7


def other_temperature(files: Mixture, given: Options) -> None:
    given["-t"] = 310


def other_times(files: Mixture, given: Options) -> None:
    given["-b"] = 1


def other_version(files: Mixture, given: Options) -> None:
    pytest.MonkeyPatch().setattr(record, "__version__", "99")


def test_a_record_is_of_one_run_at_a_time(files: Mixture, out: Path) -> None:
    """The records of aa.xtc and aa.trr have the same name."""
    job = record.Job("backmap", [files.folder / "cg.xtc"], {})
    with record.open_record(out / "aa.xtc", [out / "aa.xtc"], job) as first:
        for restart in (False, True):
            with (
                pytest.raises(InputError, match=r"aa\.part\.jsonl: .*process \d+"),
                record.open_record(out / "aa.trr", [out / "aa.trr"], job, restart=restart),
            ):
                pass
        assert first.path.exists()
        assert not (out / "aa.trr").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_frames, "cg.xtc has changed"),
        (other_topology, "topol.top has changed"),
        (other_seed, "seed 1, now 7"),
        (other_temperature, "temperature 300.0, now 310.0"),
        (other_times, "begin none, now 1.0"),
    ],
)
def test_a_run_of_something_else_is_refused(
    change: Callable[[Mixture, Options], None],
    named: str,
    *,
    files: Mixture,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_sampler(monkeypatch)
    given = options(files, out)
    break_off(monkeypatch, 5, KeyboardInterrupt())
    assert command("backmap", given).code == 1
    before = contents(out)
    change(files, given)
    result = command("backmap", given)
    assert result.code == 1
    assert f"{out}/aa.part.jsonl: an unfinished run of something else: " in result.err
    assert f"{named}. Give what was given before" in result.err
    assert contents(out) == before
    assert command("backmap", {**given, "--restart": None}).code == 0
    left = {f"#{name}.1#": data for name, data in before.items()}
    assert left.items() <= contents(out).items()
    assert {"aa.xtc", "one.gro", "or.gro"} | set(left) == set(listing(out))


@pytest.mark.parametrize("follow", [False, True])
def test_a_run_goes_on_to_another_end(
    follow: bool, files: Mixture, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames do not depend on it; to fewer frames than there are already it does not go."""
    made = fake_sampler(monkeypatch)
    times, more = [frame.time for frame in files.frames], {"follow": None} if follow else {}
    given = {**options(files, out, **more), "-e": times[3]}
    (tmp_path / "whole").mkdir()
    assert command("backmap", {**options(files, tmp_path / "whole", **more), "-e": times[3]}).code == 0
    break_off(monkeypatch, 5, KeyboardInterrupt())  # after -c, -or and three frames
    assert command("backmap", {**given, "-e": times[4]}).code == 1
    before = contents(out)
    result = command("backmap", {**given, "-e": times[1]})
    assert result.code == 1
    assert "3 frames are done, and only 2 are taken: give a later -e" in result.err
    assert contents(out) == before
    assert command("backmap", given).code == 0
    assert len(made[-1].calls) == 1
    assert contents(out) == contents(tmp_path / "whole")
    assert json.loads((out / "aa.xtc.json").read_text())["settings"]["end"] == times[3]


def test_a_run_in_which_something_else_was_decided_is_refused(
    files: Mixture, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether frames are recalled is decided by their number."""
    fake_sampler(monkeypatch)
    break_off(monkeypatch, 5, KeyboardInterrupt())
    assert command("backmap", options(files, out)).code == 1
    before = contents(out)
    monkeypatch.setattr("dbm_gmx.backmapping.backmap.digest_of", lambda ready: "other")
    result = command("backmap", {**options(files, out), "-e": files.frames[3].time})
    assert result.code == 1
    assert "something else was decided before the first frame, as for another number of frames" in result.err
    assert contents(out) == before


@pytest.mark.parametrize("suffix", [".xtc", ".trr"])
def test_after_damage_frames_before_it_are_of_use(
    suffix: str, files: Mixture, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time that the error names as the end, the run goes on with what it has."""
    made = fake_sampler(monkeypatch)
    path = files.folder / f"damaged{suffix}"
    mixed.write_beads(path, files.cg, files.frames)
    path.write_bytes(path.read_bytes()[:-20])
    given = {**options(files, out), "-f": path}
    result = command("backmap", given)
    assert result.code == 1
    kept = re.search(r"(\d+) frames kept; the same command goes on", result.err)
    named = re.search(r"-e ([\d.]+)", result.err)
    assert kept is not None
    assert named is not None
    assert (int(kept[1]), float(named[1])) == (FRAMES - 1, files.frames[-2].time)
    assert command("backmap", {**given, "-e": float(named[1])}).code == 0
    assert len(made[-1].calls) == 1  # one is always made, for the summary
    assert len(list(read_frames(out / "aa.xtc", n_atoms=N_ATOMS))) == FRAMES - 1


def test_a_run_goes_on_in_another_folder(
    files: Mixture, tmp_path: Path, out: Path, whole: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were moved are the same files."""
    expected, _ = whole()
    fake_sampler(monkeypatch, unsettled=UNSETTLED)
    break_off(monkeypatch, 5, KeyboardInterrupt())
    assert command("backmap", options(files, out)).code == 1
    (tmp_path / "there").mkdir()
    moved = replace(files, folder=files.folder.rename(tmp_path / "there" / "in"))
    to = out.rename(tmp_path / "there" / "out")
    assert command("backmap", options(moved, to)).code == 0
    assert contents(to) == expected


@pytest.mark.parametrize("text", ["", "nonsense\n", '{"format": "dbm_gmx run 99"}\n'])
def test_a_file_of_that_name_that_is_no_record(
    text: str, files: Mixture, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    (out / "aa.part.jsonl").write_text(text)
    result = command("backmap", options(files, out))
    assert (result.code, listing(out)) == (1, ["aa.part.jsonl"])
    assert "aa.part.jsonl: is no record of a run" in result.err


def test_the_file_in_the_making_is_no_input(files: Mixture, out: Path) -> None:
    source = (files.folder / "cg.xtc").rename(out / "aa.part.xtc")
    before = source.read_bytes()
    result = command("backmap", {**options(files, out), "-f": source})
    assert (result.code, listing(out)) == (1, ["aa.part.xtc"])
    assert "aa.part.xtc: is the name of the output in the making" in result.err
    assert source.read_bytes() == before


# --- real processes --------------------------------------------------------------------------------


SLOW = (
    "import sys, time; import dbm_gmx.backmapping.rebuilder as job; "
    "from dbm_gmx.files.output import PartFile; from dbm_gmx.cli import main; "
    "job.IN_HAND = 1; append = PartFile.append; "
    "PartFile.append = lambda part, data: (time.sleep(0.02), append(part, data))[1]; sys.exit(main())"
)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)
MANY = 20
"""Frames of real runs."""


@dataclass(frozen=True)
class Real:
    """A run with a network of random weights, and what is in its folder when nothing ends it."""

    files: Mixture
    model: Path
    expected: dict[str, bytes]

    def options(self, folder: Path) -> Options:
        """All that can be written but the conformer."""
        given = {**self.files.options, "--model": self.model, "--allow": "all"}
        return {**given, "-o": folder / "aa.xtc", "-c": folder / "one.gro"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Many frames, and what an unbroken run makes of them."""
    files, folder = (
        mixed.mixture(tmp_path_factory.mktemp("real") / "in", n=FRAMES),
        tmp_path_factory.mktemp("o"),
    )
    many = [replace(files.frames[k % FRAMES], time=float(k), index=k) for k in range(MANY)]
    mixed.write_beads(files.folder / "cg.xtc", files.cg, many)
    made = Real(files, mixed.tiny_model(tmp_path_factory.mktemp("model") / "tiny.pt"), {})
    assert command("backmap", made.options(folder)).code == 0
    return replace(made, expected=contents(folder))


def start(given: Options) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def listens() -> None:
        for number in SIGNALS[1:]:
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-c", SLOW, "backmap", *words(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=listens,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_real_run_that_was_ended_goes_on_to_the_same_bytes(
    number: signal.Signals, real: Real, out: Path
) -> None:
    given = real.options(out)
    process = start(given)
    part, deadline = out / "aa.part.xtc", time.monotonic() + 600
    while not part.exists() or part.stat().st_size < 3000:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.Random(number).uniform(0, 0.1))
    sent = time.monotonic()
    process.send_signal(number)
    lines = process.communicate(timeout=60)[1].splitlines()
    assert time.monotonic() - sent < 30  # 2 s on a machine that is not busy
    kept = (out / "aa.part.jsonl").read_text().count("\n") - 1
    if number != signal.SIGKILL:
        readable = len(list(read_frames(part, n_atoms=N_ATOMS)))
        assert readable - kept in (0, 1)  # one more if it was ended before the record had it
        words_of_it = f"dbm-gmx: {part}: {readable} frames kept; the same command goes on"
        assert lines[-2:] == [words_of_it, f"dbm-gmx: interrupted ({number.name})"]
        assert process.returncode == 1
    assert 1 < kept < MANY
    assert command("backmap", given).code == 0
    assert contents(out) == real.expected


def test_arrays_come_back_where_the_type_of_arrays_is_an_alias() -> None:
    """As ``NDArray`` is from NumPy 2.5 on."""
    alias = types.GenericAlias(types.SimpleNamespace(__value__=np.ndarray), (np.int8,))  # type: ignore[arg-type]
    signs = np.array([[1, -1, 0]], np.int8)
    for kind in (alias, SignArray):
        back = restored(kind, plain(signs))
        assert back.dtype == np.int8
        assert np.array_equal(back, signs)
    (back,) = restored(Mapping[str, SignArray], plain({"SPS": signs})).values()
    assert np.array_equal(back, signs)

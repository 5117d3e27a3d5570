"""Writers on disks that fail, locks, and folders of our own."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small import ALKANES as SYSTEM
from small import moving as frame

from dbm_gmx.errors import InputError
from dbm_gmx.files import locks, output
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import MARK, atomic_write, own_folder, remove_own
from dbm_gmx.files.trajectory import SUFFIXES, open_writer, read_frames

ROOT = Path(__file__).parents[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def count(path: Path) -> int:
    return len(list(read_frames(path, n_atoms=SYSTEM.n_atoms))) if path.exists() else 0


def write_two(path: Path, between: Callable[[], None]) -> None:
    """Write two frames, and do something between them."""
    with open_writer(path, SYSTEM) as writer:
        writer.write(frame(0))
        between()
        writer.write(frame(1))


# --- disks that fail -------------------------------------------------------------------------------


def fails_at(k: int, code: int) -> Callable[..., Any]:
    """Wrap a function of the system so that every k-th call of it fails."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        calls = iter(range(1, 1000))

        def call(*arguments: Any) -> Any:
            if next(calls) % k == 0:
                raise OSError(code, os.strerror(code))
            return function(*arguments)

        return call

    return wrap


def half_fails_at(k: int, code: int) -> Callable[..., Any]:
    """As :func:`fails_at`, for ``pwrite``: half of the bytes are written before."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        whole = fails_at(k, code)(function)

        def call(descriptor: int, data: memoryview, at: int) -> int:
            try:
                return int(whole(descriptor, data, at))
            except OSError:
                function(descriptor, data[: len(data) // 2], at)
                raise

        return call

    return wrap


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("function", ["pwrite", "half a pwrite", "pread", "fsync", "ftruncate"])
def test_whatever_fails_all_finished_frames_can_be_read(
    function: str, k: int, suffix: str, *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    monkeypatch.setattr(output, "SYNC", 0.0)
    try:
        with open_writer(tmp_path / f"x{suffix}", SYSTEM) as writer, monkeypatch.context() as patch:
            name = function.split()[-1]
            fails = half_fails_at if function.startswith("half") else fails_at
            patch.setattr(os, name, fails(k, errno.ENOSPC)(getattr(os, name)))
            for number in range(8):
                writer.write(frame(number))
                written = number + 1
    except InputError as error:
        assert "No space left on device" in str(error)  # noqa: PT017
        assert not (tmp_path / f"x{suffix}").exists()
        found = count(tmp_path / f"x.part{suffix}")
        assert found - written in (0, 1)  # one more where only the way to the disk failed
    else:
        assert function == "ftruncate"  # nobody needed it
        assert count(tmp_path / f"x{suffix}") == written == 8


def test_a_disk_that_loses_what_it_has_taken_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def lies(descriptor: int, data: memoryview, at: int) -> int:
        real(descriptor, data if at < 1000 else bytes(len(data)), at)
        return len(data)

    monkeypatch.setattr(os, "pwrite", lies)
    written: list[int] = []

    def run() -> None:
        with open_writer(tmp_path / "x.xtc", SYSTEM) as writer:
            for number in range(8):
                writer.write(frame(number))
                written.append(number)

    with pytest.raises(InputError, match="not what is read back"):
        run()
    assert count(tmp_path / "x.part.xtc") == len(written) > 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_is_an_error_at_that_frame(suffix: str, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the last write is cut short."""
    script = f"""
import resource, sys
from pathlib import Path
sys.path[:0] = [{str(ROOT / "tests")!r}]
from small import ALKANES, moving
from dbm_gmx.files.trajectory import open_writer
resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))
with open_writer({str(tmp_path / ("x" + suffix))!r}, ALKANES) as writer:
    for number in range(100):
        writer.write(moving(number))
        print(number + 1)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "cannot be written: File too large" in done.stderr.splitlines()[-1]
    assert 1 <= count(tmp_path / f"x.part{suffix}") == len(done.stdout.splitlines()) < 20


@pytest.mark.parametrize("harm", ["folder", "file", "other"])
def test_an_output_that_goes_away_is_said(
    harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def spoil() -> None:
        if harm == "folder":
            folder.rename(tmp_path / "moved")
        else:
            (folder / "x.part.xtc").unlink()
        if harm == "other":
            (folder / "x.part.xtc").write_text("precious")

    with pytest.raises(InputError, match=r"x\.part\.xtc: .*moved or removed by somebody else"):
        write_two(folder / "x.xtc", spoil)
    assert caplog.messages == [
        f"{folder}/x.part.xtc: has been moved or removed by somebody else, with 1 frame"
    ]
    if harm == "folder":
        assert count(tmp_path / "moved" / "x.part.xtc") == 1
    if harm == "other":
        assert (folder / "x.part.xtc").read_text() == "precious"


@pytest.mark.parametrize("harm", ["cut", "a byte", "more"])
def test_an_output_that_is_changed_meanwhile_is_not_finished(harm: str, tmp_path: Path) -> None:
    part = tmp_path / "x.part.xtc"

    def spoil() -> None:
        data = part.read_bytes()
        if harm == "cut":
            os.truncate(part, 0)
        elif harm == "a byte":
            part.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
        else:
            with part.open("ab") as stream:
                stream.write(b"more" * 1000)

    with pytest.raises(InputError, match=r"x\.part\.xtc: cannot be finished: it is not as it was written"):
        write_two(tmp_path / "x.xtc", spoil)
    assert not (tmp_path / "x.xtc").exists()


def test_a_small_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.top"
    path.write_text("older")

    def write(text: str, *, over: bool = False) -> None:
        with atomic_write(path, over=over) as part:
            part.write_text(text)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails_at(1, errno.ENOSPC)(os.fsync))
        with pytest.raises(InputError, match=r"x\.top: cannot be written: No space"):
            write("newer")
    assert names(tmp_path) == ["x.top"]
    write("newer")
    write("newest", over=True)
    assert (path.read_text(), names(tmp_path)) == ("newest", ["#x.top.1#", "x.top"])


@pytest.mark.parametrize("over", [False, True])
def test_a_killed_process_leaves_a_small_file_under_a_known_name(over: bool, tmp_path: Path) -> None:
    """``kill -9`` while it is written: nothing hidden, the older one stays, the next run is not held up."""
    path = tmp_path / "x.top"
    path.write_text("older")
    if (child := os.fork()) == 0:
        with atomic_write(path, over=over) as part:
            part.write_text("half of it")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert names(tmp_path) == ["x.part.top", "x.top"]
    assert path.read_text() == "older"
    with atomic_write(path, over=over) as part:
        part.write_text("whole")
    # what may be somebody else's is moved away, what is ours is gone
    assert names(tmp_path) == (["x.top"] if over else ["#x.part.top.1#", "#x.top.1#", "x.top"])
    assert path.read_text() == "whole"


def test_two_processes_may_write_a_small_file_at_once(tmp_path: Path) -> None:
    path, children = tmp_path / "x.top", []
    texts = [str(k) * 50_000 for k in range(4)]
    for text in texts:
        if (child := os.fork()) == 0:
            with atomic_write(path) as part:
                part.write_text(text)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert sorted(one.read_text() for one in tmp_path.iterdir()) == texts  # all whole, three of them backups


def test_a_small_file_that_another_process_does_not_finish_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PATIENCE", 0.1)
    path = tmp_path / "x.top"
    with atomic_write(path) as part:
        part.write_text("mine")
        with pytest.raises(InputError, match=r"x\.part\.top: another run writes it"), atomic_write(path):
            pass
    assert path.read_text() == "mine"
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"x\.top: cannot be written"), atomic_write(path):
        pass
    assert not (tmp_path / "elsewhere").exists()


# --- locks -----------------------------------------------------------------------------------------


HOLDS = "from dbm_gmx.files.locks import locked; import sys, time\nwith locked(sys.argv[1]):\n" + (
    "    print('held', flush=True)\n    time.sleep(600)"
)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes ``x.xtc``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, tmp_path / "x.xtc"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def take(path: Path) -> None:
    with locked(path):
        pass


def test_a_second_run_is_refused_and_told_of_the_first(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    said = f"x.xtc: another run writes it: process {holder.pid} on {socket.gethostname()}, since 20"
    with pytest.raises(InputError, match=said), open_writer(tmp_path / "x.xtc", SYSTEM):
        pass
    take(tmp_path / "y.xtc")
    assert names(tmp_path) == ["x.xtc.lock"]


def test_the_lock_of_a_process_that_was_killed_is_taken_over(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()
    assert names(tmp_path) == ["x.xtc.lock"]
    take(tmp_path / "x.xtc")
    assert names(tmp_path) == []


def test_nothing_stays_of_a_lock_and_a_folder_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", fails_at(1, errno.ENOSPC)(os.pwrite))
    with pytest.raises(InputError, match="x: cannot be written: No space"):
        take(tmp_path / "x")

    def full(path: Path, _: str) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="work: cannot be made a work folder: No space"):
        own_folder(tmp_path / "work")
    assert names(tmp_path) == []


def test_one_process_does_not_write_twice_either(tmp_path: Path) -> None:
    with locked(tmp_path / "x"), pytest.raises(InputError, match=f"process {os.getpid()} on "):
        take(tmp_path / "x")
    take(tmp_path / "x")


def test_a_lock_of_another_machine_is_said_with_what_to_remove(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(json.dumps({"host": "node17", "process": 4711, "since": "2026-01-02 03:04:05"}))
    with pytest.raises(InputError, match=r"process 4711 on node17, since 2026-01-02.*remove .*x\.lock"):
        take(tmp_path / "x")
    lock.unlink()
    take(tmp_path / "x")


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"host": 3}'])
def test_a_lock_that_says_nothing_and_is_not_held_is_taken_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text(text)
    take(tmp_path / "x")


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the process that the lock names is looked for."""

    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", none)
    take(tmp_path / "x")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process, refused in ((os.getppid(), True), (ended.pid, False)):
        said = {"host": socket.gethostname(), "process": process, "since": "today"}
        (tmp_path / "x.lock").write_text(json.dumps(said))
        if refused:
            with pytest.raises(InputError, match="another run may be writing it"):
                take(tmp_path / "x")
        else:
            take(tmp_path / "x")


# --- folders ---------------------------------------------------------------------------------------


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="theirs: holds files of somebody else"):
        own_folder(theirs)
    remove_own(theirs)
    assert names(theirs) == ["thesis.tex"]
    (theirs / MARK).write_text("another marker")
    with pytest.raises(InputError, match="somebody else"):
        own_folder(theirs)


def test_a_folder_of_our_own_is_used_again_and_removed(tmp_path: Path) -> None:
    ours = own_folder(tmp_path / "new" / "ours")
    (ours / "x").touch()
    assert own_folder(ours) == ours
    remove_own(ours)
    assert names(tmp_path / "new") == []

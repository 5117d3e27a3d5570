"""Compiled code: never stale, never the wrong version, and kept where nobody else can write."""

from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest

import dbm_gmx
from dbm_gmx import compiled
from dbm_gmx.chemistry.vectors import in_lattice
from dbm_gmx.parallel import Team

PACKAGE = Path(dbm_gmx.__file__).parent
MESSAGE = "compiling for this machine"
NO_FOLDER = "no folder to keep compiled code in"
SHOWN = "from dbm_gmx.logs import speaking; said = speaking(quiet={quiet}, verbose=False); said.__enter__()\n"

CALLS = (
    SHOWN.format(quiet=False)
    + """
import numpy as np
from dbm_gmx.sampling import random_numbers
from dbm_gmx.sampling.rotations import random_matrix
rng, matrix = np.array([5], np.uint64), np.zeros((3, 3))
random_matrix(rng, matrix)
print(repr(matrix.tolist()))
"""
)
"""Calls a function whose callees are in another file."""

LONG = (
    SHOWN.format(quiet=False)
    + """
import threading, time
import numpy as np
from dbm_gmx.sampling import long
long.work(np.zeros(10))
values = np.zeros(10_000_000)
thread = threading.Thread(target=long.work, args=(values,))
turns = 0
thread.start()
while thread.is_alive():
    time.sleep(0.001)
    turns += 1
print(turns)
"""
)
"""Counts how often one thread gets its turn while another runs compiled code."""

WORK = '''
"""A function that takes a while."""

import numpy as np

from dbm_gmx.compiled import compiled


@compiled()
def work(values):
    for k in range(len(values)):
        values[k] = np.sin(k) + np.cos(k)
'''


def environment(**changed: str | Path) -> dict[str, str]:
    """The environment without what says where compiled code is kept, but for what is given."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR")}
    return {**kept, **{k: str(v) for k, v in changed.items()}}


def run(code: str, *arguments: str, **changed: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, the package in ``PYTHONPATH``."""
    changed = {"PYTHONPATH": PACKAGE.parent, **changed}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(**changed),
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done


@dataclass(frozen=True)
class Kept:
    """What a process that compiled has said, and the folder with what it has kept."""

    folder: Path
    stdout: str
    stderr: str

    def copied(self, folder: Path) -> Path:
        """The folder, copied to another place."""
        return Path(shutil.copytree(self.folder, folder))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    done = run(CALLS, NUMBA_CACHE_DIR=folder)
    return Kept(folder, done.stdout, done.stderr)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "copy" / "dbm_gmx", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


# --- what is kept is used, and never stale ---------------------------------------------------------


def test_compiling_is_said_once_and_not_when_all_is_kept(kept: Kept) -> None:
    again = run(CALLS, NUMBA_CACHE_DIR=kept.folder)
    assert kept.stderr.count(f"dbm-gmx: {MESSAGE}") == 1
    assert MESSAGE not in again.stderr
    assert again.stdout == kept.stdout


def test_quiet_does_not_say_it_and_threads_say_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = CALLS.replace(SHOWN.format(quiet=False), SHOWN.format(quiet=True))
    assert MESSAGE not in run(quiet, NUMBA_CACHE_DIR=tmp_path).stderr
    compiled._say_once.cache_clear()
    functions = [compiled.compiled()(eval(f"lambda x: x + {k}")) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda f: f(1.0), functions)) == [1.0, 2.0, 3.0, 4.0]
    assert [record.message for record in caplog.records if MESSAGE in record.message] == [
        "compiling for this machine: the first run takes a minute or two longer"
    ]


def test_a_change_of_a_callee_in_another_file_is_seen(kept: Kept, tmp_path: Path, copy: Path) -> None:
    places = {"NUMBA_CACHE_DIR": kept.copied(tmp_path / "kept"), "PYTHONPATH": copy}
    changed = copy / "dbm_gmx" / "sampling" / "random_numbers.py"
    text = changed.read_text()
    assert "(1.0 / 9007199254740992.0)" in text
    changed.write_text(text.replace("(1.0 / 9007199254740992.0)", "(0.5 / 9007199254740992.0)"))
    after = run(CALLS, **places)
    assert after.stdout != kept.stdout
    assert MESSAGE in after.stderr
    changed.write_text(text)
    back = run(CALLS, **places)  # what was kept for the old source is still there, wherever the source is
    assert back.stdout == kept.stdout
    assert MESSAGE not in back.stderr


def test_the_key_knows_all_that_compiled_code_is_made_of() -> None:
    """Modules with compiled code, and all they import from the package, directly or not."""
    files = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in PACKAGE.rglob("*.py")}
    imported = {name: imports(path) & set(files) for name, path in files.items()}
    waiting = [name for name, path in files.items() if "dbm_gmx.compiled.compiled" in imports(path)]
    assert len(waiting) > 5
    missing, seen = set(), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if files[name] not in compiled.key_files():
            missing.add(name)
        waiting += [other for other in imported[name] if other not in seen]
    assert missing == set()


def imports(path: Path) -> set[str]:
    """Modules that a file takes something from when it is loaded."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_a_damaged_file_is_compiled_again(kept: Kept, tmp_path: Path) -> None:
    folder = kept.copied(tmp_path / "kept")
    for path in folder.rglob("*.nbc"):
        path.write_bytes(path.read_bytes()[:100])
    second = run(CALLS, NUMBA_CACHE_DIR=folder)
    assert second.stdout == kept.stdout
    assert MESSAGE in second.stderr
    assert MESSAGE not in run(CALLS, NUMBA_CACHE_DIR=folder).stderr


def test_processes_side_by_side_leave_whole_files(kept: Kept, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        outputs = set(pool.map(lambda _: run(CALLS, NUMBA_CACHE_DIR=tmp_path).stdout, range(2)))
    assert outputs == {kept.stdout}
    last = run(CALLS, NUMBA_CACHE_DIR=tmp_path)
    assert last.stdout == kept.stdout
    assert MESSAGE not in last.stderr
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".nbc"}


# --- options and threads ---------------------------------------------------------------------------


def test_functions_compiled_with_other_options_are_kept_apart() -> None:
    from dbm_gmx.sampling.rotations import random_matrix

    options = random_matrix.outer.targetoptions
    names = [
        compiled.FunctionFiles(random_matrix.py_func, chosen)._path((numba.float64,), Target)
        for chosen in (options, {**options, "parallel": True}, {**options, "fastmath": False}, options)
    ]
    assert names[0] == names[3]
    assert len(set(names)) == 3


class Target:
    """What numba compiles for."""

    @staticmethod
    def magic_tuple() -> tuple[str, ...]:
        return ("x86_64",)


def test_other_threads_go_on_while_compiled_code_runs(tmp_path: Path, copy: Path) -> None:
    """Compiled just now, and read from disk."""
    (copy / "dbm_gmx" / "sampling" / "long.py").write_text(WORK)
    places = {"NUMBA_CACHE_DIR": tmp_path / "kept", "PYTHONPATH": copy}
    first, second = (run(LONG, **places) for _ in range(2))
    assert MESSAGE in first.stderr
    assert MESSAGE not in second.stderr
    assert int(first.stdout) > 5
    assert int(second.stdout) > 5


def test_two_threads_share_a_loop_at_the_same_time() -> None:
    met, done = threading.Barrier(2, timeout=300), []

    def work(first: int, step: int) -> None:
        met.wait()  # passed by two at once only
        done.extend(range(first, 10, step))

    Team(2).share(work, 10)
    assert sorted(done) == list(range(10))


# --- where -----------------------------------------------------------------------------------------


Places = Callable[..., Path | None]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Places:
    """Look for the folder with what the environment says, and nothing else; it must not be complained of."""

    def look(**given: Path) -> Path | None:
        lost = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "", "TMPDIR": "/proc/nowhere"}
        for name, where in {**lost, **given}.items():
            monkeypatch.setenv(name, str(where))
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(given.get("NUMBA_CACHE_DIR", "")))
        folder: Path | None = compiled.cache_folder.__wrapped__()
        assert not caplog.records
        return folder

    return look


@pytest.mark.parametrize(
    ("name", "where"), [("NUMBA_CACHE_DIR", ""), ("XDG_CACHE_HOME", ""), ("HOME", ".cache"), ("TMPDIR", "")]
)
def test_it_is_kept_where_the_user_can_write_and_nobody_else(
    found: Places, tmp_path: Path, name: str, where: str
) -> None:
    folder = found(**{name: tmp_path})
    assert folder is not None
    assert folder.parent.parent == tmp_path / where
    for one in (folder, folder.parent):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700


def test_numbas_own_variable_comes_first(kept: Kept, found: Places, tmp_path: Path) -> None:
    folder = found(NUMBA_CACHE_DIR=tmp_path / "n", XDG_CACHE_HOME=tmp_path / "x", HOME=tmp_path)
    assert folder is not None
    assert folder.is_relative_to(tmp_path / "n")
    assert not (tmp_path / "x").exists()
    assert list(kept.folder.rglob("*.nbc"))  # numba has read it


def test_without_any_folder_it_works_with_one_warning(kept: Kept) -> None:
    done = run(CALLS, HOME="/proc/nowhere", TMPDIR="/proc/nowhere", XDG_CACHE_HOME="/proc/nowhere")
    assert done.stderr.count(NO_FOLDER) == 1
    assert done.stdout == kept.stdout


def test_a_folder_that_can_no_longer_be_written_to_stops_nothing(kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    remove = "import shutil; from dbm_gmx import compiled; compiled.cache_folder(); "
    remove += f"shutil.rmtree({str(folder)!r})"
    gone = CALLS.replace("rng, matrix =", f"{remove}\nrng, matrix =")
    done = run(gone, NUMBA_CACHE_DIR=folder)
    assert not folder.exists()
    assert done.stdout == kept.stdout


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "dbm_gmx"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match="others can write"):
        compiled._private(folder)


def test_a_folder_that_others_can_replace_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="in place of"):
        compiled._private(tmp_path / "dbm_gmx")
    tmp_path.chmod(0o1777)
    assert compiled._private(tmp_path / "dbm_gmx").is_dir()


def test_a_link_and_a_folder_of_somebody_else_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError, match="own"):
        compiled._private(tmp_path / "link")
    compiled._private(tmp_path / "real")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="own"):
        compiled._private(tmp_path / "real")


def test_a_refused_folder_is_passed_over(found: Places, tmp_path: Path) -> None:
    (tmp_path / "n" / "dbm_gmx").mkdir(parents=True)
    (tmp_path / "n" / "dbm_gmx").chmod(0o777)
    folder = found(NUMBA_CACHE_DIR=tmp_path / "n", XDG_CACHE_HOME=tmp_path / "x")
    assert folder is not None
    assert folder.is_relative_to(tmp_path / "x")
    assert list((tmp_path / "n" / "dbm_gmx").iterdir()) == []


# --- called from Python, and not -------------------------------------------------------------------


def test_functions_of_other_files_are_compiled_and_not_kept(tmp_path: Path) -> None:
    twice = compiled.compiled()(eval("lambda x: 2.0 * x"))
    assert twice(2.0) == 4.0
    assert twice.outer._cache.cache_path is None


def test_a_function_can_be_called_from_both_sides() -> None:
    inner = compiled.compiled()(eval("lambda x: x + 1.0"))
    outer = compiled.compiled()(eval("lambda x: inner(x) * 2.0", {"inner": inner}))
    assert outer(1.0) == 4.0
    assert inner(1.0) == 2.0
    assert outer(2.0) == 6.0


@pytest.mark.parametrize(
    ("inner", "outer"),
    [("lambda x: x + 1.0", "lambda x: inner(x)"), ("lambda x: (x[0], x[1:])", "lambda x: inner(x)[0]")],
)
def test_who_gets_arrays_without_saying_so_does_not_compile(inner: str, outer: str) -> None:
    """It would lose them, or hand out what its caller frees."""
    array = np.arange(3.0)
    makes = compiled.compiled(makes_arrays=True)(eval(inner))
    gets = compiled.compiled()(eval(outer, {"inner": makes}))
    calls = compiled.compiled(makes_arrays=True)(eval("lambda x: gets(x)", {"gets": gets}))
    with pytest.raises((TypeError, numba.TypingError), match=r"returns arrays|returning of array"):
        calls.outer.compile((numba.typeof(array),))
    says = compiled.compiled(makes_arrays=True)(eval(outer, {"inner": makes}))
    calls = compiled.compiled(makes_arrays=True)(eval("lambda x: says(x)", {"says": says}))
    assert np.sum(calls(array)) > -1.0


def test_who_makes_arrays_has_none_written_out() -> None:
    """It would give back what is in use: windows of every system were refused by that."""
    gets = eval("lambda x: in_lattice(x, None)[0]", {"in_lattice": in_lattice})
    array = numba.typeof(np.ones(3))
    for makes, said in ((False, None), (True, "cannot have others written out")):
        inner = compiled.compiled(makes_arrays=makes)(gets)
        calls = compiled.compiled(makes_arrays=True)(eval("lambda x: inner(x)", {"inner": inner}))
        if said is None:
            calls.outer.compile((array,))
            continue
        with pytest.raises((TypeError, numba.TypingError), match=said):
            calls.outer.compile((array,))


def test_records_of_arrays_that_are_there_may_be_made() -> None:
    """Only what is new, or goes out, is counted."""
    sums = compiled.compiled()(eval("lambda x: x.first[0] + x.second[1]"))
    makes = compiled.compiled()(eval("lambda x: sums(Pair(x, x[1:]))", {"sums": sums, "Pair": Pair}))
    calls = compiled.compiled(makes_arrays=True)(eval("lambda x: makes(x)", {"makes": makes}))
    array = np.arange(3.0)
    before = sys.getrefcount(array)
    assert calls(array) == 2.0
    assert sys.getrefcount(array) == before


class Pair(NamedTuple):
    """Two arrays."""

    first: np.ndarray
    second: np.ndarray

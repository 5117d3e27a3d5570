"""Signals end a command in seconds, wherever it is, and what is finished is in the files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from test_output import count, names

from dbm_gmx.interrupts import SIGNALS

ROOT = Path(__file__).parents[1]

# a loop in compiled code that lets other threads run and heeds no signal: what the sampler's loops are like
BUSY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2 * 10**9)"
WAYS = {
    "python": "while True: time.sleep(0.01)",
    "compiled": BUSY,
    "thread": f"with ThreadPoolExecutor(1) as pool: pool.submit(lambda: {BUSY}).result()",
    "lock": "threading.Lock().acquire() and (lock := threading.Lock()).acquire() and lock.acquire()",
    "dropped": "lost = type('Lost', (), {'__del__': lambda _: time.sleep(600)})(); del lost; time.sleep(600)",
    "swallowed": "while True:\n            try: time.sleep(600)\n            except BaseException: pass",
}
SCRIPT = """
import hashlib, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
sys.path[:0] = [{tests!r}]
import dbm_gmx.cli as cli
import dbm_gmx.commands.backmap as backmap
from dbm_gmx.files.trajectory import open_writer
from small import ALKANES, moving

def work(options):
    with open_writer(options.output, ALKANES) as writer:
        writer.write(moving(0))
        writer.write(moving(1))
        print("ready", flush=True)
        {way}

backmap.run = work
sys.exit(cli.main())
"""


def start(folder: Path, way: str, ignored: Sequence[signal.Signals] = ()) -> subprocess.Popen[str]:
    """A process that has written two frames and is busy or waits now."""
    script = SCRIPT.format(tests=str(ROOT / "tests"), way=WAYS[way])

    def listens() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", script, "backmap", "-s", "x", "-o", folder / "aa.xtc"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=listens,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


@pytest.mark.parametrize(
    ("way", "number"),
    [
        *((way, signal.SIGTERM) for way in WAYS),
        *(("compiled", number) for number in SIGNALS if number != signal.SIGTERM),
    ],
)
def test_a_signal_ends_a_command_wherever_it_is(way: str, number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, way)
    begin = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert time.monotonic() - begin < 20  # 1 s; more on a busy machine
    said = f"dbm-gmx: {tmp_path}/aa.part.xtc: 2 frames kept\ndbm-gmx: interrupted ({number.name})\n"
    assert (process.returncode, err) == (1, said)
    assert names(tmp_path) == ["aa.part.xtc"]
    assert count(tmp_path / "aa.part.xtc") == 2


LOADING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "dbm_gmx.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from dbm_gmx.__main__ import main
sys.exit(main())
"""


def test_ctrl_c_while_the_program_is_loaded_shows_no_traceback() -> None:
    listens = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell starts with & does not
    done = subprocess.run(
        [sys.executable, "-c", LOADING, "--version"],
        preexec_fn=listens,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    process = start(tmp_path, "python", ignored=[signal.SIGHUP, signal.SIGINT])
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGTERM)
    assert "interrupted (SIGTERM)" in process.communicate(timeout=300)[1]


def test_a_frame_that_is_half_written_is_taken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends while the main thread writes, here to a disk that does not answer."""
    stuck = f"os.pwrite = lambda fd, data, at: (real(fd, data[:99], at), print('half', flush=True), {BUSY})"
    monkeypatch.setitem(WAYS, "writing", f"import os; real = os.pwrite; {stuck}; writer.write(moving(2))")
    process, part = start(tmp_path, "writing"), tmp_path / "aa.part.xtc"
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert count(part) == 2

"""A process that runs the command on one input after the other: what kills it kills no test.

A line in is a job as JSON (``arguments`` of the command, or ``read``: a reader and a file; ``folder``), a
line out what became of it.  See ``test_fuzz.py``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST = 2 * 2**30
"""Bytes that an input may take on top of what the process has when it starts."""


def readers() -> dict[str, Callable[[Path], Any]]:
    """Readers of files that no cheap command reads."""
    from dbm_gmx.network.channels import read_channels
    from dbm_gmx.network.model import load_model
    from dbm_gmx.sampling.memory_file import read_memory
    from dbm_gmx.train.settings import read_settings

    return {
        "memory": read_memory,
        "model": load_model,
        "channels": read_channels,
        "settings": read_settings,
    }


def do(job: dict[str, Any]) -> int:
    """Do a job; returns the exit code of the command."""
    from dbm_gmx.cli import main
    from dbm_gmx.errors import ExitCode, InputError

    if "arguments" in job:
        try:
            return int(main(job["arguments"]))
        except SystemExit as error:
            return int(error.code or 0) if not isinstance(error.code, str) else 1
    reader, name = job["read"]
    try:
        readers()[reader](Path(name))
    except InputError as error:
        print(f"dbm-gmx: error: {error}", file=sys.stderr)
        return ExitCode.FAILED
    return ExitCode.DONE


def limit() -> None:
    """Take no more memory than an input may have."""
    status = Path("/proc/self/status").read_text()
    now = int(next(line for line in status.splitlines() if line.startswith("VmData")).split()[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (now + MOST, now + MOST))


def answer(job: dict[str, Any], said: Path) -> dict[str, Any]:
    """Do a job, its output in a file; returns exit code, output and the traceback if there was one."""
    os.chdir(job["folder"])
    trace, begin = "", time.process_time()
    with said.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    try:
        code = do(job)
    except BaseException:
        code, trace = -1, traceback.format_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return {
        "code": code,
        "output": said.read_bytes().decode("utf-8", "replace"),
        "traceback": trace,
        "seconds": time.process_time() - begin,
    }


def work() -> None:
    """Do jobs until there are no more."""
    replies = os.fdopen(os.dup(1), "w")
    said = Path(sys.argv[1])
    readers()
    limit()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), said)), file=replies, flush=True)


if __name__ == "__main__":
    work()

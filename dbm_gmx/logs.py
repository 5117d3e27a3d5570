"""What a command says: on the terminal, and in the file of ``--log``."""

from __future__ import annotations

import logging
import platform
import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dbm_gmx import __version__
from dbm_gmx.errors import InputError, printable

OURS = "dbm_gmx"

NOTICE = 25
"""Level of what is said unless a run is quiet: no warning, but worth a line."""


class _Printable(logging.Formatter):
    """Writes out control characters that are in names of files."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(super().format(record))


class _Copied:
    """A stream of the terminal that is copied to a file; not so a bar, which draws over itself."""

    def __init__(self, stream: TextIO, file: TextIO):
        self._stream, self._file = stream, file

    def write(self, text: str) -> int:
        if "\r" not in text:
            self._file.write(text)
            self._file.flush()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def speaking(*, quiet: bool, verbose: bool, log: Path | None = None) -> Iterator[None]:
    """Show our own messages only, not those of the libraries; keep all of them in a file if one is given.

    Parameters
    ----------
    quiet, verbose
        Errors only; more than usual.
    log
        Text is added to it: runs that go on with one another have one log.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    shown = logging.StreamHandler()
    shown.setFormatter(_Printable("dbm-gmx: %(message)s"))
    shown.setLevel(logging.ERROR if quiet else logging.INFO if verbose else NOTICE)
    ours = logging.getLogger(OURS)
    ours.handlers, ours.propagate = [shown], False
    ours.setLevel(shown.level)
    if log is None:
        yield
        return
    try:
        file = log.open("a", encoding="utf-8", errors="backslashreplace")  # names of files may be any bytes
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=log) from error
    with file:
        kept = logging.StreamHandler(file)
        kept.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
        ours.addHandler(kept)
        ours.setLevel(logging.INFO)
        print(*_head(), sep="\n", file=file, flush=True)
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Copied(sys.stdout, file), _Copied(sys.stderr, file)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            ours.handlers = [shown]
            print(f"{time.strftime('%F %T')} end", file=file)


def check_ours(log: Path) -> None:
    """Refuse to add to a file that is there and is no log of ours: it may be an input that no option names.

    Raises
    ------
    InputError
        It is none, or cannot be read.
    """
    try:
        with log.open("rb") as file:
            head = file.read(_SAMPLE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=log) from error
    if head and not re.match(rb"[^\n]* on [^\n]*\ndbm-gmx [^\n]*, python ", head):
        raise InputError("is no log of dbm-gmx; give --log another name", path=log)


_SAMPLE = 4096


def _head() -> list[str]:
    """What a log begins with."""
    return [
        f"{time.strftime('%F %T %z')} on {socket.gethostname()}, {platform.platform()}",
        f"dbm-gmx {__version__}, python {platform.python_version()}",
        f"$ {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}",
    ]

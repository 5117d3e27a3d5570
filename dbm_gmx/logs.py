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
from contextlib import contextmanager, suppress
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


class _Log:
    """The file of a log.  A run does not end because it can be written no more: that is said once.

    Parameters
    ----------
    path
        Text is added to it.
    head
        What it begins with.

    Raises
    ------
    InputError
        This cannot be written.
    """

    def __init__(self, path: Path, head: str):
        self._path, self._lost = path, False
        try:
            self._file = path.open("ab", buffering=0)
            self._add(head)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path=path) from error

    def _add(self, text: str) -> None:
        left = text.encode(errors="backslashreplace")  # names of files may be any bytes
        while left:
            left = left[self._file.write(left) :]

    def write(self, text: str) -> None:
        """Add text, as far as that can be done."""
        if self._lost:
            return
        try:
            self._add(text)
        except OSError as error:
            self._lost = True
            logging.getLogger(OURS).warning("%s: is kept no further: %s", self._path, error.strerror)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Say when it ended."""
        self.write(f"{time.strftime('%F %T')} end\n")
        with suppress(OSError):
            self._file.close()


class _Copied:
    """A stream of the terminal that is copied to a file; not so a bar, which draws over itself."""

    def __init__(self, stream: TextIO, file: _Log):
        self._stream, self._file = stream, file

    def write(self, text: str) -> int:
        if "\r" not in text:
            self._file.write(text)
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
    file = _Log(log, "".join(f"{line}\n" for line in _head()))
    kept = logging.StreamHandler(file)
    kept.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
    ours.addHandler(kept)
    ours.setLevel(logging.INFO)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Copied(sys.stdout, file), _Copied(sys.stderr, file)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        ours.handlers = [shown]
        file.close()


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

"""Errors a user can mend, and the exit codes."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class InputError(Exception):
    """Something the user gave cannot be used.

    Parameters
    ----------
    message
        What was found and what would have been possible.
    path, line
        Where: the file, and its 1-based line.
    """

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None):
        self.message = message
        self.path = path
        self.line = line
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + message)


class ExitCode(IntEnum):
    """How a command has ended.

    Attributes
    ----------
    DONE
        All went well.
    FAILED
        The input cannot be used, the run was interrupted, or something could not be done.
    FLAWED
        All is written, but the atoms break a rule: wrong stereocentres, or a hard rule of the evaluation.
    """

    DONE = 0
    FAILED = 1
    FLAWED = 2

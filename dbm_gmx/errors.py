"""Errors a user can mend, and the exit codes."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


def printable(text: str, *, keep: str = "\n") -> str:
    """Text as a terminal may get it: control characters are written out, lines of any length cut.

    Names and lines of a damaged file end up in messages.
    """
    shown = "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)
    lines = (line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..." for line in shown.split("\n"))
    return "\n".join(lines)


_LONGEST = 2000
"""Characters of a line of a message."""


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
        super().__init__(printable(where, keep="") + printable(message))


def in_short(error: InputError) -> str:
    """The first problems of an error whose cause is known."""
    lines = str(error).splitlines()
    return "\n".join([*lines[:3], *["  ..."] * (len(lines) > 3)])


class OtherAtomsError(InputError):
    """A frame has another number of atoms than is expected.

    Parameters
    ----------
    message, path
        As for :class:`InputError`.
    found
        Atoms.
    """

    def __init__(self, message: str, *, path: str | Path | None = None, found: int = 0):
        self.found = found
        super().__init__(message, path=path)

    @classmethod
    def of_frame(cls, index: int, found: int, expected: int, path: str | Path) -> OtherAtomsError:
        """Say it of a frame of a file."""
        return cls(f"frame {index} has {found} atoms, {expected} are expected", path=path, found=found)


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

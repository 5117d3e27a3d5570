"""Errors a user can mend."""

from __future__ import annotations

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

"""Files appear whole or not at all, and nothing is overwritten."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dbm_gmx.errors import InputError


def backup(path: str | Path) -> Path | None:
    """Move an existing file out of the way, as GROMACS does.

    Returns
    -------
    Where it went, ``#name.1#`` or the next free number; ``None`` if there was no such file.
    """
    path = Path(path)
    if not path.exists():
        return None
    free = next(p for p in (path.with_name(f"#{path.name}.{i}#") for i in count(1)) if not p.exists())
    path.rename(free)
    return free


@dataclass
class Part:
    """A file being written under a name of its own.

    Attributes
    ----------
    path
        The hidden file next to the final one.
    keep
        Give it its final name even if an exception ends the writing.
    """

    path: Path
    keep: bool = False


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Part]:
    """Write a file that gets its final name only when it is complete.

    An older file of that name is backed up.  On an exception nothing is left, unless the writer
    has said ``keep``.

    Raises
    ------
    InputError
        Nothing can be written there; raised at once, before any work.
    """
    path = Path(path)
    part = Part(path.with_name(f".{path.name}.part-{secrets.token_hex(4)}"))
    if path.is_dir():
        raise InputError("is a folder, the name of a file is needed", path=path)
    try:
        part.path.open("xb").close()
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from error
    try:
        yield part
        part.keep = True
    finally:
        if part.keep:
            backup(path)
            part.path.rename(path)
        else:
            part.path.unlink(missing_ok=True)

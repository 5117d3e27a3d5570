"""Finished frames, kept in a folder until all are there, so that a job can be resumed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbm_gmx.files.output import MARK, atomic_write, is_own, own_folder, remove_own

_OURS = re.compile(r"frame_(\d+)((\.part)?\.npz)?")
"""Names in the folder that are ours."""


def keep(folder: Path, index: int, fingerprint: str, **arrays: NDArray[Any] | float) -> None:
    """Keep the result of a frame; it is there as a whole or not at all."""
    with atomic_write(_path(folder, index), over=True) as part, part.open("wb") as stream:
        np.savez(stream, fingerprint=np.array(fingerprint), **arrays)  # type: ignore[arg-type]


def recall(
    folder: Path, index: int, fingerprint: str, names: Collection[str]
) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of these names of a frame, ``None`` where one is damaged, or of something else."""
    try:
        with np.load(_path(folder, index)) as stored:
            found = {key: stored[key] for key in ("fingerprint", *names)}
    except Exception:  # numpy and zipfile raise many types for a damaged archive
        return None
    return found if str(found.pop("fingerprint")) == fingerprint else None


def _path(folder: Path, index: int) -> Path:
    return folder / f"frame_{index}.npz"


def frame_folder(folder: Path, index: int) -> Path:
    """Where a frame is worked on."""
    return folder / f"frame_{index}"


def clear_folder(folder: Path, last: int | None = None) -> None:
    """Remove what is ours in a folder of ours, and the folder if nothing else is in it.

    Parameters
    ----------
    last
        Number of a frame: those after it stay, as they are of a longer run that was ended.
    """
    if not is_own(folder):
        return
    for path in folder.iterdir():
        found = _OURS.fullmatch(path.name)
        if found is None or (last is not None and int(found[1]) > last):
            continue
        if is_own(path):
            remove_own(path)
        elif path.is_file():
            path.unlink()
    _drop_empty(folder)


@contextmanager
def work_folder(folder: Path) -> Iterator[None]:
    """Make the folder, and remove it again if nothing is in it in the end."""
    own_folder(folder)
    try:
        yield
    finally:
        _drop_empty(folder)


def _drop_empty(folder: Path) -> None:
    if is_own(folder) and [path.name for path in folder.iterdir()] == [MARK]:
        remove_own(folder)

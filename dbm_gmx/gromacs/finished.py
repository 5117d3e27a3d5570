"""Finished frames, kept in a folder until all are there, so that a job can be resumed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray


def keep(folder: Path, index: int, fingerprint: str, **arrays: NDArray[Any] | float) -> None:
    """Keep the result of a frame; it is there as a whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".part-{secrets.token_hex(4)}"
    with part.open("wb") as stream:
        np.savez(stream, fingerprint=np.array(fingerprint), **arrays)  # type: ignore[arg-type]
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(_path(folder, index))


def recall(folder: Path, index: int, fingerprint: str) -> dict[str, NDArray[Any]] | None:
    """Return the result of a frame, ``None`` if there is none or one of something else."""
    try:
        with np.load(_path(folder, index)) as stored:
            found = {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    return found if str(found.pop("fingerprint", "")) == fingerprint else None


def _path(folder: Path, index: int) -> Path:
    return folder / f"frame_{index}.npz"

"""Arrays that take long to work out, kept on disk beside the compiled code for other runs.

The folder is that of one version of the source (:func:`~dbm_gmx.compiled.cache_folder`), so that nothing old
is ever taken.  Where nothing can be written nothing is kept, and what is found damaged is worked out anew: no
result depends on it.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.compiled import cache_folder
from dbm_gmx.errors import InputError
from dbm_gmx.files.output import atomic_write

log = logging.getLogger(__name__)


def key_of(what: tuple[object, ...]) -> str:
    """A digest of all that an array follows from: numbers, texts and bytes, nested as they like."""
    return hashlib.sha256(repr(what).encode()).hexdigest()[:24]


def _path(name: str) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / f"conformers-{name}.npy"


def read_kept(name: str, shape: tuple[int, ...]) -> FloatArray | None:
    """The array kept under a name; ``None`` if there is none of this shape, or numbers are missing."""
    path = _path(name)
    if path is None:
        return None
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        if not isinstance(error, FileNotFoundError):
            log.info("%s cannot be read: %s", path, error)
        return None
    right = found.shape == shape and found.dtype == np.float64 and np.isfinite(found).all()
    return found if right else None


def keep(name: str, values: FloatArray) -> None:
    """Keep an array; that it cannot be kept is no reason to stop."""
    path = _path(name)
    if path is None:
        return
    try:
        with atomic_write(path, over=True) as whole, whole.open("wb") as file:
            np.save(file, values)
    except InputError as error:
        log.info("conformers cannot be kept: %s", error)

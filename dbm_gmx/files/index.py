"""Index files (.ndx): groups of atoms or beads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.errors import InputError
from dbm_gmx.files.text import read_text


def read_index(path: str | Path, n_atoms: int) -> dict[str, IntArray]:
    """Read an index file (GROMACS manual, "ndx").

    Parameters
    ----------
    n_atoms
        Of the system: a larger number is an error.

    Returns
    -------
    Rows from 0 by name of the group, in the order of the file; of two groups of one name the first.

    Raises
    ------
    InputError
        With the line, if it is no index file.
    """
    path = Path(path)
    groups: dict[str, list[int]] = {}
    current: list[int] | None = None
    for number, line in enumerate(read_text(path).split("\n"), 1):
        text = line.partition(";")[0].strip()
        if text.startswith("["):
            name = text.strip("[] \t")
            current = [] if name in groups else groups.setdefault(name, [])
        elif text:
            for word in text.split():
                if current is None or not word.isdecimal() or len(word) > 10 or not 1 <= int(word) <= n_atoms:
                    raise InputError(
                        f"{word[:20]!r} is no number from 1 to {n_atoms} in a group: not an index file of "
                        "this system",
                        path=path,
                        line=number,
                    )
                current.append(int(word) - 1)
    return {name: np.array(rows, np.int64) for name, rows in groups.items()}

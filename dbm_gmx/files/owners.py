"""Owners files: which bead each atom is rebuilt with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbm_gmx.errors import InputError
from dbm_gmx.files.text import read_text

Owners = dict[str, tuple[int, ...]]


def read_owners(path: str | Path) -> dict[str, Owners]:
    """Read an owners file.

    A line holds a bead's name, a colon and 1-based atom numbers of the molecule; ``;`` starts a
    comment.  A line ``[ NAME ]`` says which molecule type the lines below it are about; it is
    needed only where a file, or the folder it lies in, is about several::

        [ L49C ]
        A1 : 1 2 3 4 5 6 7    ; CH3-CH2

    Returns
    -------
    For each molecule type (``""`` before any header) the 0-based atoms of each bead.

    Raises
    ------
    InputError
        With the line, if it is no such line or names a bead twice; or there is none.
    """
    path = Path(path)
    tables: dict[str, Owners] = {}
    molecule = ""
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines, 1):
        text = line.partition(";")[0].strip()
        if text.startswith("["):
            molecule = text.strip("[] \t")
        elif text:
            bead, atoms = _owned(text, path=path, line=number)
            table = tables.setdefault(molecule, {})
            if bead in table:
                raise InputError(
                    f"bead {bead} has a line already; give all its atoms on one", path=path, line=number
                )
            table[bead] = atoms
    if not tables:
        raise InputError("names no owners: a line is 'bead : atom numbers' (from 1)", path=path)
    return tables


def _owned(text: str, *, path: Path, line: int) -> tuple[str, tuple[int, ...]]:
    bead, colon, numbers = text.rpartition(":")
    atoms = numbers.split()
    if not colon or not bead.strip() or not all(_is_number(n) for n in atoms):
        raise InputError(f"{text[:100]!r} is not 'bead : atom numbers' (from 1)", path=path, line=line)
    return bead.strip(), tuple(int(n) - 1 for n in atoms)


def _is_number(word: str) -> bool:
    """Whether it is the number of an atom; longer ones are none of any system."""
    return word.isdecimal() and len(word) < 11 and int(word) > 0


def owner_array(
    table: Mapping[str, Sequence[int]], names: Sequence[str], *, n_atoms: int
) -> tuple[NDArray[np.int64], list[str]]:
    """Turn an owners table into an array.

    Returns
    -------
    (n_atoms,) bead of each atom, -1 where there is none, and everything wrong with the table:
    unknown beads, atoms beyond the molecule, atoms of two beads, atoms of none.
    """
    owner = np.full(n_atoms, -1, np.int64)
    wrong = []
    bead_of = {name: i for i, name in enumerate(names)}
    for bead, atoms in table.items():
        if bead not in bead_of:
            wrong.append(f"no bead {bead} in the mapping, which has {' '.join(names)}")
            continue
        for atom in atoms:
            if atom >= n_atoms:
                wrong.append(f"bead {bead}: atom {atom + 1} of a molecule with {n_atoms} atoms")
            elif owner[atom] >= 0:
                wrong.append(f"atom {atom + 1} belongs to bead {names[owner[atom]]} and to bead {bead}")
            else:
                owner[atom] = bead_of[bead]
    if (owner < 0).any():
        wrong.append(f"atoms without a bead: {' '.join(str(i + 1) for i in np.flatnonzero(owner < 0))}")
    return owner, wrong

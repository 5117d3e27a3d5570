"""Residues, names and elements as a structure (``.gro``, ``.pdb``) has them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray

COLUMNS = {
    ".gro": (slice(10, 15), slice(5, 10), slice(0, 5)),
    ".pdb": (slice(12, 16), slice(17, 21), slice(21, 27)),
}
"""Of the name of an atom, and of name and number of its residue."""


@dataclass(frozen=True, eq=False)
class Residues:
    """Which residue each atom or bead is of.

    Attributes
    ----------
    names
        (n,) of atoms or beads.
    residues
        (n,) names of residues.
    rows
        (n,) which residue, from 0: a new one begins where name or number changes.
    """

    names: list[str]
    residues: list[str]
    rows: IntArray

    @property
    def count(self) -> int:
        """How many residues."""
        return int(self.rows[-1]) + 1 if len(self.rows) else 0

    @property
    def elements(self) -> list[str]:
        """(n,) elements that the names begin with."""
        return [element_in(name, residue) for name, residue in zip(self.names, self.residues, strict=True)]

    def label(self, row: int) -> str:
        """What an atom is called: name, and its residue."""
        return f"{self.names[row]} of {self.residues[row]} {int(self.rows[row]) + 1}"


TWO_LETTERS = ("CL", "BR", "NA", "MG", "ZN", "FE", "SI")
"""Elements whose names have two letters; calcium (CA) is taken for a carbon, unless it is a residue alone."""


def element_in(name: str, residue: str = "") -> str:
    """The element a name begins with; an ion is called as its residue."""
    letters = name.lstrip("0123456789").upper()
    if letters[:2] in TWO_LETTERS and (letters[:2] != "NA" or residue.upper().startswith("NA")):
        return letters[:2].capitalize()
    if letters == residue.upper() == "CA":
        return "Ca"
    return letters[:1] or "X"


def read_residues(path: Path) -> Residues:
    """Read the residues of the first frame of a structure; damage is found where positions are read."""
    name, residue, number = COLUMNS[path.suffix]
    with path.open(encoding="latin-1") as stream:
        if path.suffix == ".gro":
            stream.readline()
            lines = list(islice(stream, int(stream.readline())))
        else:
            lines = []
            for line in stream:
                if line.startswith(("ATOM", "HETATM")):
                    lines.append(line)
                elif line.startswith("END") and lines:
                    break
    keys = [(line[residue], line[number]) for line in lines]
    changed = [0, *(int(one != other) for one, other in pairwise(keys))]
    names, residues = ([line[part].strip() for line in lines] for part in (name, residue))
    return Residues(names, residues, np.cumsum(changed, dtype=np.int64))

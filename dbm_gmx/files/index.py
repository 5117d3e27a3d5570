"""Index files (.ndx): groups of atoms or beads; as a mapping, the atoms of each bead of a molecule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.errors import InputError
from dbm_gmx.files.text import read_text

_MOST = 2**31 - 1  # atoms that GROMACS can number


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
    found: dict[str, IntArray] = {}
    for name, rows in _groups(Path(path), n_atoms):
        found.setdefault(name, rows)
    return found


def _groups(path: Path, n_atoms: int) -> Iterator[tuple[str, IntArray]]:
    """Yield the groups of an index file, with rows from 0."""
    groups: list[tuple[str, list[int]]] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        text = line.partition(";")[0].strip()
        if text.startswith("["):
            groups.append((text.strip("[] \t"), []))
        elif text:
            for word in text.split():
                if not groups or not word.isdecimal() or len(word) > 10 or not 1 <= int(word) <= n_atoms:
                    raise InputError(
                        f"{word[:20]!r} is no number from 1 to {n_atoms} in a group: not an index file of "
                        "this system",
                        path=path,
                        line=number,
                    )
                groups[-1][1].append(int(word) - 1)
    return ((name, np.array(rows, np.int64)) for name, rows in groups)


@dataclass(frozen=True, eq=False)
class IndexMapping:
    """An index file with the atoms of one molecule, a group for each bead.

    Attributes
    ----------
    path
        The file.
    beads
        Names of the beads, in order.
    rows
        Atoms of each, from 0.
    """

    path: Path
    beads: tuple[str, ...]
    rows: tuple[IntArray, ...]

    @property
    def atoms(self) -> set[int]:
        """All atoms of beads."""
        return {int(row) for rows in self.rows for row in rows}

    def fits(self, moltype: MoleculeType) -> bool:
        """Whether all its atoms are there, and all atoms that are heavy have a bead."""
        nodes = moltype.graph.nodes
        heavy = {i for i in nodes if nodes[i]["element"] != "H" and nodes[i]["mass"] > 0}
        return heavy <= self.atoms <= set(nodes)


def read_index_mapping(path: str | Path) -> list[IndexMapping]:
    """Read an index file whose groups are beads, as Martini's tutorials, CGBuilder and Swarm-CG have it.

    Raises
    ------
    InputError
        If a group is empty, or within another: then groups are others than beads.
    """
    path = Path(path)
    groups = list(_groups(path, _MOST))
    holders: dict[int, set[int]] = {}
    for i, (_, rows) in enumerate(groups):
        for row in rows.tolist():
            holders.setdefault(row, set()).add(i)
    for i, (name, rows) in enumerate(groups):
        if not rows.size:
            raise InputError(f"the group [ {name} ] is empty: no bead", path=path)
        for outer in set.intersection(*(holders[row] for row in rows.tolist())) - {i}:
            raise InputError(
                f"the group [ {groups[outer][0]} ] holds all atoms of [ {name} ]: an index file is a mapping "
                "if its groups are the beads of one molecule",
                path=path,
            )
    return [IndexMapping(path, tuple(name for name, _ in groups), tuple(rows for _, rows in groups))]


def index_weights(raw: IndexMapping, moltype: MoleculeType) -> sp.csr_matrix:
    """Return (beads, atoms) weights of the centres of mass of the groups, as ``gmx traj -com`` finds them.

    An atom of several groups counts in full in each.  Groups without any mass count all atoms alike.
    """
    weights = sp.lil_matrix((len(raw.beads), moltype.n_atoms))
    for bead, rows in enumerate(raw.rows):
        unique = np.unique(rows)
        masses = moltype.masses[unique] if moltype.masses[unique].sum() > 0 else np.ones(unique.size)
        weights[bead, unique] = masses / masses.sum()
    return weights.tocsr()

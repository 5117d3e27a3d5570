"""Names of atoms or beads in a file held against those of a topology, one by one, as grompp does.

grompp says how many names differ, and goes on by number.  Here the names also tell whether the *order* is
another one, in which every atom would be taken for one of its neighbours.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.topology import MoleculeType, Topology, each_molecule
from dbm_gmx.errors import InputError

log = logging.getLogger(__name__)

ONE_LETTER = frozenset("CFHNOPS")
"""Elements that the first letter of a name tells."""


@dataclass(frozen=True)
class Named:
    """Names as they stand in a file.

    Attributes
    ----------
    names
        In order.
    source
        The file, for messages; what it is called where it is none.
    width
        Characters that a name has room for there; ``None`` where there is no limit.
    what
        ``atoms`` or ``beads``.
    """

    names: Sequence[str]
    source: Path | str
    width: int | None = None
    what: str = "atoms"


@dataclass(frozen=True)
class _Difference:
    """Names that are not those of a topology.

    Attributes
    ----------
    found, wanted
        In the file, and in the topology.
    rows
        Where they differ, sorted.
    source, what, against
        Of the file, and what it is held against.
    """

    found: Sequence[str]
    wanted: Sequence[str]
    rows: Sequence[int]
    source: Path | str
    what: str
    against: str

    def first(self, row: int) -> str:
        """Say which differ, that of ``row`` by name."""
        return (
            f"{self.what[:-1]} {row + 1} is {self.found[row]!r}, in {self.against} {self.wanted[row]!r} "
            f"({len(self.rows)} of {len(self.found)} names differ)"
        )

    def error(self, text: str) -> InputError:
        """Return an error that names the file."""
        return InputError(text, path=self.source)


def check_names(topology: Topology, named: Named, against: str | None = None) -> None:
    """Compare the names in a file with those of a topology.

    Names that merely differ are warned of, the first one named.  A name cut off at the width of its column
    does not differ.

    Parameters
    ----------
    topology
        What the atoms are.
    named
        As many names as ``topology`` has atoms.
    against
        What the topology is called; its file if not given.

    Raises
    ------
    InputError
        The same names in another order, within a molecule or in the whole system, or a name that tells
        another element.
    """
    wanted = [name for moltype, _ in each_molecule(topology) for name in moltype.names]
    rows = _differing(named, wanted)
    if not len(rows):
        return
    against = against or (topology.path.name if topology.path else "the topology")
    found = _Difference(named.names, wanted, rows.tolist(), named.source, named.what, against)
    if sorted(named.names[i] for i in rows) == sorted(wanted[i] for i in rows):
        hint = "" if system_order(topology, named) is None else "; --reorder puts them in its order"
        raise found.error(f"another order than in {against}: {found.first(found.rows[0])}{hint}")
    for moltype, start in each_molecule(topology):
        _check_molecule(moltype, start, found)
    log.warning(
        "%s: %s; %s are taken in order, as of %s",
        named.source,
        found.first(found.rows[0]),
        named.what,
        found.against,
    )


def check_molecule_names(moltype: MoleculeType, named: Named, against: str | None = None) -> None:
    """As :func:`check_names`, for one molecule."""
    check_names(Topology({moltype.name: moltype}, ((moltype.name, 1),)), named, against or moltype.name)


def order_of(found: Sequence[str], wanted: Sequence[str]) -> IntArray | None:
    """Where the names that are wanted are among those found, if these are the same in another order.

    Returns
    -------
    (n,) rows: ``found[rows[i]]`` is ``wanted[i]``; ``None`` if the order is the same, or names differ, or one
    is there twice.
    """
    if list(found) == list(wanted) or len(set(found)) < len(found) or set(found) != set(wanted):
        return None
    row = {name: i for i, name in enumerate(found)}
    return np.array([row[name] for name in wanted], np.int64)


def system_order(topology: Topology, named: Named) -> IntArray | None:
    """Where the atoms of a topology are in a file that has those of a molecule in another order.

    Parameters
    ----------
    topology
        What the atoms are.
    named
        As many names as ``topology`` has atoms.

    Returns
    -------
    (n,) rows of the file, in the order of the topology; ``None`` if that is the same.  Molecules whose names
    are others stay as they are.
    """
    if len(named.names) != topology.n_atoms:
        return None
    rows: IntArray = np.arange(topology.n_atoms)
    known: dict[tuple[MoleculeType, tuple[str, ...]], IntArray | None] = {}
    for moltype, start in each_molecule(topology):
        found = tuple(named.names[start : start + moltype.n_atoms])
        if (moltype, found) not in known:
            known[moltype, found] = order_of(found, [name[: named.width] for name in moltype.names])
        order = known[moltype, found]
        if order is not None:
            rows[start : start + moltype.n_atoms] = start + order
    return None if (rows == np.arange(len(rows))).all() else rows


def _differing(named: Named, wanted: Sequence[str]) -> IntArray:
    """Rows at which names differ."""
    if len(named.names) != len(wanted):
        raise InputError(
            f"{len(named.names)} {named.what}, {len(wanted)} are expected",
            path=named.source,
        )
    pairs = enumerate(zip(named.names, wanted, strict=True))
    return np.array([i for i, (a, b) in pairs if a != b and a != b[: named.width]], np.int64)


def _check_molecule(moltype: MoleculeType, start: int, found: _Difference) -> None:
    """Refuse another order within a molecule, and names of other elements."""
    low, high = np.searchsorted(found.rows, (start, start + moltype.n_atoms))
    rows = found.rows[low:high]
    if not rows:
        return
    swapped = _swapped([(i, _plain(found.found[i]), _plain(found.wanted[i])) for i in rows])
    if swapped is not None:
        raise found.error(f"another order than in {found.against}: {found.first(swapped)}")
    for i in rows:
        element = moltype.graph.nodes[i - start].get("element", "")
        name = _plain(found.found[i])[:1]
        known = {element, name} <= ONE_LETTER and _plain(found.wanted[i])[:1] == element
        if known and name != element:
            raise found.error(f"another element than in {found.against}: {found.first(i)}")


def _swapped(differing: Sequence[tuple[int, str, str]]) -> int | None:
    """Return the first of some rows at which names went round in a circle.

    An atom that is renamed has a name that is wanted nowhere, or that of another one which is renamed too
    (HB2 and HB3 for HB1 and HB2).  Where A stands for B, B for C and C for A the order is another one.
    """
    graph = nx.DiGraph([(found, wanted) for _, found, wanted in differing if found != wanted])
    circles = [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1]
    return next((i for i, found, wanted in differing if any({found, wanted} <= c for c in circles)), None)


def _plain(name: str) -> str:
    """A name in capitals, digits in front moved to the end (1HB is HB1)."""
    letters = name.lstrip("0123456789")
    return (letters + name[: len(name) - len(letters)]).upper()

"""Elements of atoms that have no atomic number: by mass and name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from string import digits

import networkx as nx
import numpy as np
from MDAnalysis.guesser.tables import Z2SYMB

from dbm_gmx.chemistry.topology import HYDROGEN_MASS, element_mass

HEAVIEST_HYDROGEN = 4.1
"""amu, of hydrogens that have taken mass from the atoms they are bonded to."""


def element_of(number: int, mass: float, *, names: Iterable[str] = ()) -> str:
    """Return the symbol of an element, ``""`` where it is not known.

    Parameters
    ----------
    number
        Atomic number, 0 or negative if unknown.
    mass
        amu; the element within 0.3 amu is taken if one of ``names`` begins with its symbol (a
        coarse-grained bead ``A`` of 28.05 amu is no silicon).  Up to 16 amu a name with C is a
        carbon with its hydrogens (united atom).
    names
        Name and types of the atom.
    """
    if number in Z2SYMB:
        return str(Z2SYMB[number])
    letters = [name.lstrip("0123456789").lower() for name in names]
    for symbol in _near(mass):
        if any(name.startswith(symbol.lower()) for name in letters):
            return symbol
    united = 12.5 < mass < 16.1 and any(name.startswith("c") for name in letters)
    return "C" if united else ""


@cache
def _near(mass: float) -> tuple[str, ...]:
    """Return the elements within 0.3 amu, the nearest first."""
    known = {s: element_mass(s, np.inf) for s in Z2SYMB.values()}
    near = {s: abs(m - mass) for s, m in known.items() if abs(m - mass) < 0.3}
    return tuple(sorted(near, key=near.__getitem__))


def set_repartitioned(graph: nx.Graph, names: Sequence[Iterable[str]]) -> None:
    """Find elements by mass where hydrogens have taken mass from what they are bonded to (in place).

    Without atomic numbers neither these hydrogens nor the lighter atoms have the mass of their elements.

    Parameters
    ----------
    graph
        A molecule type, its atoms with ``element`` and ``mass``.
    names
        (n,) name and types of each atom.
    """
    taken: dict[int, float] = {}
    for i, node in graph.nodes.items():
        light = HYDROGEN_MASS < node["mass"] < HEAVIEST_HYDROGEN and node["element"] in ("", "He")
        called = any(name.lstrip(digits).lower().startswith("h") for name in names[i])
        if light and called and len(graph.adj[i]) == 1:
            (partner,) = graph.adj[i]
            taken[partner] = taken.get(partner, 0.0) + node["mass"] - element_mass("H", np.nan)
            node["element"] = "H"
    for i, more in taken.items():
        node = graph.nodes[i]
        if not node["element"]:
            node["element"] = element_of(0, node["mass"] + more, names=names[i])

"""The table of interaction types of GROMACS: how each is written, and what it makes of the atoms.

Reference: GROMACS manual, "Topology file", table of interaction types; which bonds can become constraints is
what grompp does (function types 1 to 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.topology import Terms


@dataclass(frozen=True, slots=True)
class Interaction:
    """How an interaction of one directive and function type is written.

    Attributes
    ----------
    atoms, parameters
        Their number in a line; parameters of state A only.
    edge
        What edges it makes in the molecule graph, ``""`` for none: ``bond``, ``constraint``, ``settle``
        or ``virtual``.
    angles
        So many of the first parameters are angles, in degrees.
    convertible
        A bond that ``constraints`` of an ``.mdp`` can turn into one of fixed length; that is its first
        parameter.
    ranges
        Least and largest value of the first parameters; others may have any.
    """

    atoms: int
    parameters: int
    edge: str = ""
    angles: int = 0
    convertible: bool = False
    ranges: tuple[tuple[float, float], ...] = ()


LENGTH = (0.0, 1000.0)
"""nm."""

FIXED = (1e-6, 1000.0)
"""Of a constraint, nm."""

STRENGTH = (0.0, inf)
"""What has no lowest energy if it is negative."""

_ANGLE = ((0.0, 180.0), STRENGTH)
_PHASE = ((-720.0, 720.0),)
_PERIODIC = (*_PHASE, (-inf, inf), (-100.0, 100.0))
_SPRING = (LENGTH, STRENGTH)

INTERACTIONS: Mapping[str, Mapping[int, Interaction]] = {
    "bonds": {
        1: Interaction(2, 2, "bond", convertible=True, ranges=_SPRING),
        2: Interaction(2, 2, "bond", convertible=True, ranges=_SPRING),
        3: Interaction(2, 3, "bond", convertible=True, ranges=_SPRING),
        4: Interaction(2, 3, "bond", convertible=True, ranges=_SPRING),
        5: Interaction(2, 0, "bond"),
        6: Interaction(2, 2, ranges=_SPRING),
        7: Interaction(2, 2, "bond", ranges=_SPRING),
        8: Interaction(2, 2, "bond"),
        9: Interaction(2, 2),
        10: Interaction(2, 4, ranges=(LENGTH, LENGTH, LENGTH, STRENGTH)),
    },
    "constraints": {
        1: Interaction(2, 1, "constraint", ranges=(FIXED,)),
        2: Interaction(2, 1, ranges=(FIXED,)),
    },
    "settles": {1: Interaction(1, 2, "settle", ranges=(FIXED, FIXED))},
    "pairs": {1: Interaction(2, 2), 2: Interaction(2, 5)},
    "angles": {
        1: Interaction(3, 2, angles=1, ranges=_ANGLE),
        2: Interaction(3, 2, angles=1, ranges=_ANGLE),
        3: Interaction(3, 3, ranges=(LENGTH, LENGTH)),
        4: Interaction(3, 4, ranges=(LENGTH, LENGTH, LENGTH)),
        5: Interaction(3, 4, angles=1, ranges=(*_ANGLE, LENGTH)),  # CHARMM has a negative Urey-Bradley term
        6: Interaction(3, 6, angles=1, ranges=_ANGLE[:1]),
        8: Interaction(3, 2),
        10: Interaction(3, 2, angles=1, ranges=_ANGLE),
    },
    "dihedrals": {
        1: Interaction(4, 3, angles=1, ranges=_PERIODIC),
        2: Interaction(4, 2, angles=1, ranges=_PHASE),  # CHARMM has negative ones
        3: Interaction(4, 6),
        4: Interaction(4, 3, angles=1, ranges=_PERIODIC),
        5: Interaction(4, 4),
        8: Interaction(4, 2),
        9: Interaction(4, 3, angles=1, ranges=_PERIODIC),
        10: Interaction(4, 2, angles=1, ranges=(*_PHASE, STRENGTH)),
        11: Interaction(4, 6),
    },
    "cmap": {1: Interaction(5, 0)},
    "dihedral_restraints": {1: Interaction(4, 3, angles=2)},
    "angle_restraints": {1: Interaction(4, 3, angles=1)},
    "virtual_sites1": {1: Interaction(2, 0, "virtual")},
    "virtual_sites2": {1: Interaction(3, 1, "virtual"), 2: Interaction(3, 1, "virtual")},
    "virtual_sites3": {
        1: Interaction(4, 2, "virtual"),
        2: Interaction(4, 2, "virtual"),
        3: Interaction(4, 2, "virtual", angles=1),
        4: Interaction(4, 3, "virtual"),
    },
    "virtual_sites4": {2: Interaction(5, 3, "virtual")},
    "virtual_sitesn": {n: Interaction(2, 0, "virtual") for n in (1, 2, 3)},
}
"""By directive and function type, what the program can read."""


def atoms_of(directive: str) -> int:
    """Atoms in a line of a directive, the same for all of its function types."""
    return next(iter(INTERACTIONS[directive].values())).atoms


def is_convertible(terms: Terms) -> bool:
    """Whether ``constraints`` of an ``.mdp`` can fix the lengths of these bonds."""
    return terms.directive == "bonds" and INTERACTIONS["bonds"][terms.function].convertible


def in_radians(terms: Terms) -> FloatArray:
    """(k, p) parameters of terms, angles in radians."""
    parameters = terms.parameters.astype(np.float64)
    angles = INTERACTIONS[terms.directive][terms.function].angles
    parameters[:, :angles] = np.radians(parameters[:, :angles])
    return parameters

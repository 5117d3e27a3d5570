"""Parameters of virtual sites that a topology leaves to ``grompp``: from bonds, constraints and angles.

``gmx pdb2gmx -vsite`` writes such sites.  Where lengths and angles are those of the force field, each site
is in one place; the parameters follow from it (GROMACS manual, "Virtual interaction sites" and "Removing
fastest degrees of freedom").  Which masses stand for a group is what grompp 2022 goes by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, degrees, pi, sin, sqrt
from typing import NamedTuple

STAND_INS = ("MNH", "MCH3")
"""Beginnings of the types of two masses that stand for a group as NH3 or CH3, which comes after them."""


class Geometry(NamedTuple):
    """What bonds and angles say of a molecule type.

    Attributes
    ----------
    lengths
        Of bonds and constraints, nm, by both atoms.
    angles
        In radians, by the atom in the middle and both others.
    types
        Atom types by row.
    """

    lengths: Mapping[frozenset[int], float]
    angles: Mapping[tuple[int, frozenset[int]], float]
    types: Sequence[str]

    def length(self, i: int, j: int) -> float:
        """Distance of two atoms, nm."""
        return self.lengths[frozenset((i, j))]

    def angle(self, i: int, j: int, k: int) -> float:
        """Angle at j, radians."""
        return self.angles[j, frozenset((i, k))]


def site_parameters(
    kind: tuple[str, int], atoms: Sequence[int], geometry: Geometry, *, swapped: bool
) -> tuple[float, ...]:
    """Parameters of a site as they would stand in its line, angles in degrees.

    Parameters
    ----------
    kind
        Directive and function type.
    atoms
        The site and what it is made of.
    geometry
        Of its molecule type.
    swapped
        On the other side of its plane: the function type is negative.

    Raises
    ------
    KeyError
        If a length or an angle is not given.
    ValueError
        If none follow for this function type, or there is no such geometry.
    """
    site, i, *others = atoms
    sign = -1.0 if swapped else 1.0
    if kind in (("virtual_sites3", 1), ("virtual_sites3", 4)) and any(
        all(geometry.types[j].upper().startswith(name) for j in others) for name in STAND_INS
    ):
        along, up, out = _in_group(site, i, others, geometry, flat=kind[1] == 1)
        values = (along + up) / 2, (along - up) / 2
        return values if kind[1] == 1 else (*values, sign * out)
    if kind == ("virtual_sites3", 2):
        heights = [geometry.length(i, j) * sin(geometry.angle(site, i, j)) for j in others]
        return heights[0] / sum(heights), -geometry.length(site, i)
    if kind == ("virtual_sites3", 3):
        angle = geometry.angle(site, i, others[0])
        return degrees(2 * pi - angle if swapped else angle), geometry.length(site, i)
    if kind == ("virtual_sites3", 4):
        a, b, c = _beside_two(site, i, others, geometry)
        return a, b, sign * c
    if kind == ("virtual_sites4", 2):
        heights = [geometry.length(i, j) * cos(geometry.angle(site, i, j)) for j in others]
        return heights[0] / heights[1], heights[0] / heights[2], geometry.length(site, i)
    raise ValueError


def _in_group(
    site: int, i: int, masses: Sequence[int], geometry: Geometry, *, flat: bool
) -> tuple[float, float, float]:
    """Where a site of a group is, in units of the middle and the half distance of two masses.

    The first atom of the group is on the line from ``i`` through the middle of the masses.  Three others are
    around this line, the one in the plane of the masses beside the first.
    """
    j, k = masses
    centre = max(masses) + 1
    if geometry.length(i, j) != geometry.length(i, k):
        raise ValueError
    half = geometry.length(j, k) / 2
    middle = sqrt(geometry.length(i, j) ** 2 - half**2)
    stem = geometry.length(i, centre)
    if site == centre:
        return stem / middle, 0.0, 0.0
    length, angle = geometry.length(centre, site), geometry.angle(i, centre, site)
    along, away = (stem - length * cos(angle)) / middle, length * sin(angle)
    if flat:
        return along, away / half, 0.0
    # the other two are 60 degrees from the opposite side; i j x i k is 2 middle half long
    return along, -away * sin(pi / 6) / half, away * cos(pi / 6) / (2 * middle * half)


def _beside_two(site: int, i: int, others: Sequence[int], geometry: Geometry) -> tuple[float, float, float]:
    """Parts of r_ij, r_ik and their vector product in the way from i to a site."""
    j, k = others
    cosine = cos(geometry.angle(j, i, k))
    square = 1 - cosine**2
    length = geometry.length(site, i)
    first, second = (length * cos(geometry.angle(site, i, o)) for o in others)
    along, across = (first - second * cosine) / square, (second - first * cosine) / square
    rest = length**2 - along * first - across * second
    lengths = geometry.length(i, j), geometry.length(i, k)
    return (
        along / lengths[0],
        across / lengths[1],
        -sqrt(rest) / (lengths[0] * lengths[1] * sqrt(square)),
    )

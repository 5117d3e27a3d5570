"""The functional forms of bonded terms: energy and slope of each, compiled.

A form is a function of a distance, an angle or a dihedral (GROMACS manual, "Bonded interactions"); those of
several coordinates are in :mod:`~dbm_gmx.forcefield.terms`.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.tables import table_energy

DISTANCE, QUARTIC, MORSE, CUBIC, FENE, RANGE, TABLED_DISTANCE = range(7)
ANGLE, COSINE, ANGLE_POLYNOMIAL, RESTRICTED_ANGLE, TABLED_ANGLE = range(10, 15)
PERIODIC, HARMONIC, POLYNOMIAL, RESTRICTED_DIHEDRAL, FLAT_DIHEDRAL, TABLED_DIHEDRAL = range(20, 26)
PRODUCT, BETWEEN, BENT_TORSION, MAP = range(30, 34)
"""Functional forms, see :class:`~dbm_gmx.forcefield.terms.BondedTerms`."""

FORMS = {
    number: name
    for first, names in (
        (DISTANCE, "distance quartic morse cubic fene range tabled-distance"),
        (ANGLE, "angle cosine angle-polynomial restricted-angle tabled-angle"),
        (PERIODIC, "periodic harmonic polynomial restricted-dihedral flat-dihedral tabled-dihedral"),
        (PRODUCT, "product between bent-torsion map"),
    )
    for number, name in enumerate(names.split(), first)
}
"""Their names."""

ANGLES, DIHEDRALS, OTHERS = 10, 20, 30
"""Where the forms of an angle, of a dihedral, and of several coordinates begin."""

STRETCHED = 0.998
"""Square of the longest FENE bond over that at which its energy is infinite; from there on it goes straight
on, for a move that stretches a bond too far to be refused."""

LEAST_SINE = 1e-4
"""Sine below which a restricted angle or dihedral is as far from its own as it gets."""


@compiled(forceinline=True)
def distance_form(form: int, p: Any, tables: Any, r2: float) -> Any:
    """Energy of a distance, kJ/mol, and dE/dr over r, kJ/mol nm^-2; ``r2`` its square."""
    if form == QUARTIC:
        stretch = r2 - p[0] * p[0]
        return 0.25 * p[1] * stretch * stretch, p[1] * stretch
    if form != DISTANCE:
        return _rare_distance(form, p, tables, r2)
    r = math.sqrt(r2)
    stretch = r - p[0]
    return 0.5 * p[1] * stretch * stretch, p[1] * stretch / max(r, 1e-9)


@compiled()
def _rare_distance(form: int, p: Any, tables: Any, r2: float) -> Any:
    r = max(math.sqrt(r2), 1e-9)
    stretch = r - p[0]
    if form == MORSE:
        left = math.exp(min(-p[2] * stretch, 50.0))
        return p[1] * (1.0 - left) ** 2, 2.0 * p[1] * p[2] * left * (1.0 - left) / r
    if form == CUBIC:
        return p[1] * stretch**2 * (1.0 + p[2] * stretch), p[1] * stretch * (2.0 + 3.0 * p[2] * stretch) / r
    if form == FENE:
        part = r2 / (p[0] * p[0])
        room = 1.0 - min(part, STRETCHED)
        return 0.5 * p[1] * p[0] ** 2 * (max(part - STRETCHED, 0.0) / room - math.log(room)), p[1] / room
    if form == RANGE:
        if r < p[0]:
            return 0.5 * p[3] * stretch**2, p[3] * stretch / r
        beyond = max(r - p[1], 0.0)
        near = min(beyond, p[2] - p[1])
        return p[3] * near * (beyond - 0.5 * near), p[3] * near / r
    energy, slope = table_energy(p, tables, r)
    return energy, slope / r


@compiled(forceinline=True)
def angle_form(form: int, p: Any, tables: Any, cosine: float, sine: float) -> Any:
    """Energy of an angle in [0, pi], kJ/mol, and dE/dtheta; cosine and sine to the same scale."""
    if form == COSINE:
        norm = math.sqrt(cosine * cosine + sine * sine)
        off = cosine / norm - p[0]
        return 0.5 * p[1] * off * off, -p[1] * off * sine / norm
    if form != ANGLE:
        return _rare_angle(form, p, tables, cosine, sine)
    off = math.atan2(sine, cosine) - p[0]
    return 0.5 * p[1] * off * off, p[1] * off


@compiled()
def _rare_angle(form: int, p: Any, tables: Any, cosine: float, sine: float) -> Any:
    if form == RESTRICTED_ANGLE:
        return _restricted(p, cosine, sine)
    theta = math.atan2(sine, cosine)
    if form == TABLED_ANGLE:
        return table_energy(p, tables, theta)
    off = theta - p[0]
    energy = p[1] + off * (p[2] + off * (p[3] + off * (p[4] + off * p[5])))
    return energy, p[2] + off * (2.0 * p[3] + off * (3.0 * p[4] + off * 4.0 * p[5]))


@compiled()
def _restricted(p: Any, cosine: float, sine: float) -> Any:
    """Energy and slope of k (cos x - cos x0)^2 / (2 sin^2 x)."""
    norm = max(math.sqrt(cosine * cosine + sine * sine), 1e-12)
    c, s = cosine / norm, math.copysign(max(abs(sine) / norm, LEAST_SINE), sine)
    off = c - p[0]
    return 0.5 * p[1] * (off / s) ** 2, -p[1] * off * (1.0 - c * p[0]) / s**3


@compiled(forceinline=True)
def dihedral_form(form: int, p: Any, tables: Any, cosine: float, sine: float) -> Any:
    """Energy of a dihedral (trans is pi), kJ/mol, and dE/dphi; cosine and sine to the same scale."""
    if form == HARMONIC:
        off = short_way(math.atan2(sine, cosine) - p[0])
        return 0.5 * p[1] * off * off, p[1] * off
    if form != POLYNOMIAL and form != PERIODIC:
        return _rare_dihedral(form, p, tables, cosine, sine)
    norm = math.sqrt(sine * sine + cosine * cosine)
    c = -cosine / norm if norm > 0.0 else -1.0
    s = sine / norm if norm > 0.0 else 0.0
    if form == PERIODIC:
        turned, across = 1.0, 0.0  # cosine and sine of n phi
        for _ in range(int(p[2])):
            turned, across = -turned * c - across * s, turned * s - across * c
        return p[1] * (1.0 + turned * p[3] + across * p[4]), p[1] * p[2] * (turned * p[4] - across * p[3])
    energy = p[0] + c * (p[1] + c * (p[2] + c * (p[3] + c * (p[4] + c * p[5]))))
    return energy, s * (p[1] + c * (2.0 * p[2] + c * (3.0 * p[3] + c * (4.0 * p[4] + c * 5.0 * p[5]))))


@compiled()
def _rare_dihedral(form: int, p: Any, tables: Any, cosine: float, sine: float) -> Any:
    if form == RESTRICTED_DIHEDRAL:
        return _restricted(p, cosine, sine)
    phi = math.atan2(sine, cosine)
    if form == TABLED_DIHEDRAL:
        return table_energy(p, tables, phi + math.pi)
    off = short_way(phi - p[0])
    beyond = math.copysign(max(abs(off) - p[1], 0.0), off)
    return 0.5 * p[2] * beyond * beyond, p[2] * beyond


@compiled(forceinline=True)
def short_way(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return angle - 2.0 * math.pi * math.floor(angle / (2.0 * math.pi) + 0.5)

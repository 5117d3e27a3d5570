"""Bonded terms in the few forms that GROMACS' own are written in, each with its force beside its energy.

The forms are functions of a distance, an angle or a dihedral (GROMACS manual, "Bonded interactions"); one
compiled function each gives the energy and its slope, of which :func:`term_energy` and :func:`add_term` make
energies and forces of atoms.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.interactions import in_radians
from dbm_gmx.chemistry.topology import MoleculeType, Terms
from dbm_gmx.compiled import compiled
from dbm_gmx.errors import InputError

DISTANCE, QUARTIC, ANGLE, COSINE, PERIODIC, HARMONIC, POLYNOMIAL = range(7)
"""Functional forms, see :class:`BondedTerms`."""

PARAMETERS = 6
"""Of a term, at most."""

STIFFEST = 2e5
"""Force constant of a bond while molecules are grown and packed, at most: long time steps, kJ/mol nm^-2."""

STRAIGHT = 1e-3
"""Sine of an angle below which the force on it no longer grows: in a straight line it has no direction."""


@dataclass(frozen=True, eq=False)
class BondedTerms:
    """Terms in the few forms that are computed: arrays over t terms.

    Attributes
    ----------
    form, atoms, parameters
        (t,), (t, 4) rows of the molecule, -1 where a term has fewer, (t, 6) in kJ/mol, nm and radians:

        =============  ==============================  ===================================
        DISTANCE       r0, k                           k (r - r0)^2 / 2
        QUARTIC        r0, k                           k (r^2 - r0^2)^2 / 4
        ANGLE          theta0, k                       k (theta - theta0)^2 / 2
        COSINE         cos theta0, k                   k (cos theta - cos theta0)^2 / 2
        PERIODIC       phi0, k, n                      k (1 + cos(n phi - phi0))
        HARMONIC       xi0, k                          k (xi - xi0)^2 / 2, the short way round
        POLYNOMIAL     c0 ... c5                       sum c_n (-cos phi)^n
        =============  ==============================  ===================================
    """

    form: IntArray
    atoms: IntArray
    parameters: FloatArray


def canonical(terms: Iterable[Terms]) -> BondedTerms:
    """Write terms in the forms of :class:`BondedTerms`; those of several parts (Urey-Bradley) become several.

    Raises
    ------
    InputError
        If a function type is not supported.
    """
    form, atoms, parameters = [], [], []
    for group in terms:
        check_supported(group)
        write = CANONICAL[group.directive, group.function]
        for number, rows, values in write(group.atoms, in_radians(group)):
            form.append(np.full(len(rows), number))
            atoms.append(np.pad(rows, ((0, 0), (0, 4 - rows.shape[1])), constant_values=-1))
            parameters.append(np.pad(values, ((0, 0), (0, PARAMETERS - values.shape[1]))))
    return BondedTerms(
        np.concatenate([np.zeros(0, np.int64), *form]),
        np.concatenate([np.zeros((0, 4), np.int64), *atoms]),
        np.concatenate([np.zeros((0, PARAMETERS)), *parameters]),
    )


Written = list[tuple[int, IntArray, FloatArray]]


def _as(form: int, count: int) -> Callable[[IntArray, FloatArray], Written]:
    """The first parameters as they are."""
    return lambda atoms, p: [(form, atoms, p[:, :count])]


def _cosine(atoms: IntArray, p: FloatArray) -> Written:
    return [(COSINE, atoms, np.stack([np.cos(p[:, 0]), p[:, 1]], axis=1))]


def _urey_bradley(atoms: IntArray, p: FloatArray) -> Written:
    return [(ANGLE, atoms, p[:, :2]), (DISTANCE, atoms[:, ::2], p[:, 2:4])]


def _fourier(atoms: IntArray, p: FloatArray) -> Written:
    """The four coefficients of OPLS as a polynomial (GROMACS manual, "Fourier dihedral")."""
    f1, f2, f3, f4 = p[:, :4].T
    zero = np.zeros_like(f1)
    c = [f2 + (f1 + f3) / 2, (3 * f3 - f1) / 2, 4 * f4 - f2, -2 * f3, -4 * f4, zero]
    return [(POLYNOMIAL, atoms, np.stack(c, axis=1))]


CANONICAL: Mapping[tuple[str, int], Callable[[IntArray, FloatArray], Written]] = {
    ("bonds", 1): _as(DISTANCE, 2),
    ("bonds", 2): _as(QUARTIC, 2),
    ("bonds", 6): _as(DISTANCE, 2),
    ("angles", 1): _as(ANGLE, 2),
    ("angles", 2): _cosine,
    ("angles", 5): _urey_bradley,
    ("dihedrals", 1): _as(PERIODIC, 3),
    ("dihedrals", 2): _as(HARMONIC, 2),
    ("dihedrals", 3): _as(POLYNOMIAL, 6),
    ("dihedrals", 4): _as(PERIODIC, 3),
    ("dihedrals", 5): _fourier,
    ("dihedrals", 9): _as(PERIODIC, 3),
}
"""How each directive and function type is written in the canonical forms; angles are in radians here."""

PAIRS = frozenset({("pairs", 1), ("pairs", 2)})

WITHOUT_ENERGY = frozenset({("bonds", 5), ("constraints", 1), ("constraints", 2), ("settles", 1)})
"""What shapes a molecule and holds no energy; virtual sites (``virtual_sites*``) too."""


def check_supported(terms: Terms) -> None:
    """Refuse a function type that has no canonical form.

    Raises
    ------
    InputError
        Naming it, and those that are supported.
    """
    key = (terms.directive, terms.function)
    if key not in CANONICAL and key not in PAIRS:
        known = ", ".join(f"{name} {function}" for name, function in sorted([*CANONICAL, *PAIRS]))
        raise InputError(f"[ {key[0]} ] of function type {key[1]} are not supported; supported are {known}")


def energy_terms(
    moltype: MoleculeType, *, fudge_qq: float = 1.0, epsilon_r: float = 1.0
) -> tuple[Terms, ...]:
    """All terms of a molecule type that hold energy.

    Pairs are split: their Lennard-Jones part stays ``pairs`` of function 1, their Coulomb part
    becomes ``coulomb14`` with the one parameter ``fudge_qq q_i q_j / epsilon_r`` (e^2).

    Raises
    ------
    InputError
        If there is a function type that is not supported.
    """
    found: list[Terms] = []
    for terms in moltype.terms:
        if (terms.directive, terms.function) in WITHOUT_ENERGY or terms.directive.startswith("virtual_sites"):
            continue
        check_supported(terms)
        if terms.directive == "pairs":
            found += _split_pairs(terms, moltype.charges, fudge_qq, epsilon_r)
        else:
            found.append(terms)
    return tuple(found)


def _split_pairs(terms: Terms, charges: FloatArray, fudge_qq: float, epsilon_r: float) -> list[Terms]:
    own = terms.function == 2  # such pairs have a factor and charges of their own
    qq = terms.parameters[:, :3].prod(1) if own else fudge_qq * charges[terms.atoms].prod(1)
    return [
        Terms("pairs", 1, terms.atoms, terms.parameters[:, -2:]),
        Terms("coulomb14", 1, terms.atoms, qq[:, None] / epsilon_r),
    ]


def soften(terms: BondedTerms) -> BondedTerms:
    """The same terms with bonds no stiffer than :data:`STIFFEST`, for the dynamics of growth and packing.

    A quartic bond becomes the harmonic one of the same curvature.
    """
    form, parameters = terms.form.copy(), terms.parameters.copy()
    quartic = form == QUARTIC
    parameters[quartic, 1] *= 2.0 * parameters[quartic, 0] ** 2
    form[quartic] = DISTANCE
    bonds = form == DISTANCE
    parameters[bonds, 1] = np.minimum(parameters[bonds, 1], STIFFEST)
    return BondedTerms(form, terms.atoms, parameters)


# --- forms: energy and slope -----------------------------------------------------------------------


@compiled(forceinline=True)
def distance_form(form: int, p: Any, r2: float) -> Any:
    """Energy of a distance, kJ/mol, and dE/dr over r, kJ/mol nm^-2; ``r2`` its square."""
    if form == QUARTIC:
        stretch = r2 - p[0] * p[0]
        return 0.25 * p[1] * stretch * stretch, p[1] * stretch
    r = math.sqrt(r2)
    stretch = r - p[0]
    return 0.5 * p[1] * stretch * stretch, p[1] * stretch / max(r, 1e-9)


@compiled(forceinline=True)
def angle_form(form: int, p: Any, cosine: float, sine: float) -> Any:
    """Energy of an angle in [0, pi], kJ/mol, and dE/dtheta; cosine and sine to the same scale."""
    if form == COSINE:
        norm = math.sqrt(cosine * cosine + sine * sine)
        off = cosine / norm - p[0]
        return 0.5 * p[1] * off * off, -p[1] * off * sine / norm
    off = math.atan2(sine, cosine) - p[0]
    return 0.5 * p[1] * off * off, p[1] * off


@compiled(forceinline=True)
def dihedral_form(form: int, p: Any, cosine: float, sine: float) -> Any:
    """Energy of a dihedral (trans is pi), kJ/mol, and dE/dphi; cosine and sine to the same scale."""
    if form == PERIODIC:
        argument = p[2] * math.atan2(sine, cosine) - p[0]
        return p[1] * (1.0 + math.cos(argument)), -p[1] * p[2] * math.sin(argument)
    if form == HARMONIC:
        off = math.atan2(sine, cosine) - p[0]
        off -= 2.0 * math.pi * math.floor(off / (2.0 * math.pi) + 0.5)
        return 0.5 * p[1] * off * off, p[1] * off
    norm = math.sqrt(sine * sine + cosine * cosine)
    c = -cosine / norm if norm > 0.0 else -1.0
    s = sine / norm if norm > 0.0 else 0.0
    energy = p[0] + c * (p[1] + c * (p[2] + c * (p[3] + c * (p[4] + c * p[5]))))
    return energy, s * (p[1] + c * (2.0 * p[2] + c * (3.0 * p[3] + c * (4.0 * p[4] + c * 5.0 * p[5]))))


# --- terms: energies and forces of atoms -----------------------------------------------------------


@compiled(forceinline=True)
def term_rows(atoms: Any, t: int, first: int) -> Any:
    """Rows of the four atoms (any, where it has fewer) of term t of the molecule that begins at ``first``."""
    return first + atoms[t, 0], first + atoms[t, 1], first + max(atoms[t, 2], 0), first + max(atoms[t, 3], 0)


@compiled(forceinline=True)
def term_energy(form: int, p: Any, positions: Any, rows: Any) -> float:
    """Energy of a term, kJ/mol.

    Parameters
    ----------
    form, p
        The form and its parameters, see :class:`BondedTerms`.
    positions
        (n, 3) nm, molecules whole.
    rows
        Its atoms, see :func:`term_rows`.
    """
    i, j, k, m = rows
    ax = positions[j, 0] - positions[i, 0]
    ay = positions[j, 1] - positions[i, 1]
    az = positions[j, 2] - positions[i, 2]
    if form in (DISTANCE, QUARTIC):
        return distance_form(form, p, ax * ax + ay * ay + az * az)[0]
    bx = positions[k, 0] - positions[j, 0]
    by = positions[k, 1] - positions[j, 1]
    bz = positions[k, 2] - positions[j, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    if form in (ANGLE, COSINE):
        return angle_form(form, p, -(ax * bx + ay * by + az * bz), math.sqrt(nx * nx + ny * ny + nz * nz))[0]
    cx = positions[m, 0] - positions[k, 0]
    cy = positions[m, 1] - positions[k, 1]
    cz = positions[m, 2] - positions[k, 2]
    mx, my, mz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    sine = math.sqrt(bx * bx + by * by + bz * bz) * (ax * mx + ay * my + az * mz)
    return dihedral_form(form, p, nx * mx + ny * my + nz * mz, sine)[0]


@compiled(forceinline=True)
def add_force(force: Any, i: int, x: float, y: float, z: float) -> None:
    """Add to the force on an atom."""
    force[i, 0] += x
    force[i, 1] += y
    force[i, 2] += z


@compiled(forceinline=True)
def add_term(form: int, p: Any, x: Any, rows: Any, scale: float, force: Any) -> None:
    """Add the force of a term, times ``scale``, to those on its atoms (n, 3), kJ/mol nm^-1.

    Other parameters as for :func:`term_energy`.
    """
    i, j, k, m = rows
    ax, ay, az = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
    aa = ax * ax + ay * ay + az * az
    if form in (DISTANCE, QUARTIC):
        pull = scale * distance_form(form, p, aa)[1]
        add_force(force, i, pull * ax, pull * ay, pull * az)
        add_force(force, j, -pull * ax, -pull * ay, -pull * az)
        return
    bx, by, bz = x[k, 0] - x[j, 0], x[k, 1] - x[j, 1], x[k, 2] - x[j, 2]
    aa, bb = aa + 1e-12, bx * bx + by * by + bz * bz + 1e-12
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    nn = nx * nx + ny * ny + nz * nz
    if form in (ANGLE, COSINE):
        norm = math.sqrt(aa * bb)
        cosine, sine = -(ax * bx + ay * by + az * bz) / norm, math.sqrt(nn) / norm
        # the gradient of theta is that of its cosine = (r_i - r_j).(r_k - r_j) / norm over minus its sine
        slope = -scale * angle_form(form, p, cosine, sine)[1] / max(sine, STRAIGHT)
        ix, iy, iz = bx / norm + cosine * ax / aa, by / norm + cosine * ay / aa, bz / norm + cosine * az / aa
        kx, ky, kz = ax / norm + cosine * bx / bb, ay / norm + cosine * by / bb, az / norm + cosine * bz / bb
        add_force(force, i, -slope * ix, -slope * iy, -slope * iz)
        add_force(force, k, slope * kx, slope * ky, slope * kz)
        add_force(force, j, slope * (ix - kx), slope * (iy - ky), slope * (iz - kz))
        return
    cx, cy, cz = x[m, 0] - x[k, 0], x[m, 1] - x[k, 1], x[m, 2] - x[k, 2]
    mx, my, mz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    length = math.sqrt(bb)
    cosine, sine = nx * mx + ny * my + nz * mz, length * (ax * mx + ay * my + az * mz)
    # where three atoms lie on a line the force is that of an angle a little off it
    nn = max(nn, STRAIGHT * aa * bb)
    mm = max(mx * mx + my * my + mz * mz, STRAIGHT * bb * (cx * cx + cy * cy + cz * cz) + 1e-15)
    slope = scale * dihedral_form(form, p, cosine, sine)[1]
    # Blondel and Karplus, J. Comput. Chem. 17, 1132, 1996
    gi, gm = -slope * length / nn, slope * length / mm
    ab, cb = (ax * bx + ay * by + az * bz) / bb, (cx * bx + cy * by + cz * bz) / bb
    ix, iy, iz = gi * nx, gi * ny, gi * nz
    lx, ly, lz = gm * mx, gm * my, gm * mz
    sx, sy, sz = -ab * ix + cb * lx, -ab * iy + cb * ly, -ab * iz + cb * lz
    add_force(force, i, -ix, -iy, -iz)
    add_force(force, m, -lx, -ly, -lz)
    add_force(force, j, ix - sx, iy - sy, iz - sz)
    add_force(force, k, lx + sx, ly + sy, lz + sz)

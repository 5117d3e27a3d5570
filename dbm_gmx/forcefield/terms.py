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
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.polynomial import chebyshev

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.interactions import in_radians
from dbm_gmx.chemistry.topology import MoleculeType, Terms
from dbm_gmx.chemistry.vectors import Wound, arm, cross, dot
from dbm_gmx.compiled import compiled
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield import lanes
from dbm_gmx.forcefield.forms import (
    ANGLE,
    ANGLE_POLYNOMIAL,
    ANGLES,
    BENT_TORSION,
    BETWEEN,
    COSINE,
    CUBIC,
    DIHEDRALS,
    DISTANCE,
    FENE,
    FLAT_DIHEDRAL,
    HARMONIC,
    MAP,
    MORSE,
    OTHERS,
    PERIODIC,
    POLYNOMIAL,
    PRODUCT,
    QUARTIC,
    RANGE,
    RESTRICTED_ANGLE,
    RESTRICTED_DIHEDRAL,
    TABLED_ANGLE,
    TABLED_DIHEDRAL,
    TABLED_DISTANCE,
    angle_form,
    dihedral_form,
    distance_form,
)
from dbm_gmx.forcefield.lanes import STRAIGHT
from dbm_gmx.forcefield.tables import grid_coefficients, grid_energy, table_coefficients

ATOMS, PARAMETERS = 5, 6
"""Of a term, at most."""

EVEN = 1e-9
"""Sine of a phase below which a cosine is even in its dihedral."""

STIFFEST = 2e5
"""Force constant of a bond while molecules are grown and packed, at most: long time steps, kJ/mol nm^-2."""


@dataclass(frozen=True, eq=False)
class BondedTerms:
    """Terms in the few forms that are computed: arrays over t terms.

    Attributes
    ----------
    form, atoms, parameters
        (t,), (t, 5) rows of the molecule, -1 where a term has fewer, (t, 6) in kJ/mol, nm and radians:

        ===================  ==============================  ===========================================
        DISTANCE             r0, k                           k (r - r0)^2 / 2
        QUARTIC              r0, k                           k (r^2 - r0^2)^2 / 4
        MORSE                r0, D, beta                     D (1 - exp(-beta (r - r0)))^2
        CUBIC                r0, k, c                        k (r - r0)^2 (1 + c (r - r0))
        FENE                 r1, k                           -k r1^2 log(1 - r^2 / r1^2) / 2
        RANGE                low, up1, up2, k                harmonic below low, from up1 on; linear from up2
        ANGLE                theta0, k                       k (theta - theta0)^2 / 2
        COSINE               cos theta0, k                   k (cos theta - cos theta0)^2 / 2
        ANGLE_POLYNOMIAL     theta0, c0 ... c4               sum c_n (theta - theta0)^n
        RESTRICTED_ANGLE     cos theta0, k                   k (cos theta - cos theta0)^2 / (2 sin^2 theta)
        PERIODIC             phi0, k, n, cos, sin phi0       k (1 + cos(n phi - phi0)), n >= 0
        HARMONIC             xi0, k                          k (xi - xi0)^2 / 2, the short way round
        POLYNOMIAL           c0 ... c5                       sum c_n (-cos phi)^n
        RESTRICTED_DIHEDRAL  cos phi0, k                     k (cos phi - cos phi0)^2 / (2 sin^2 phi)
        FLAT_DIHEDRAL        phi0, d, k                      harmonic beyond phi0 +- d
        TABLED_...           begin, cubics, density, k       k times what the table says
        PRODUCT              k, r1, r2                       k (r_ij - r1) (r_kl - r2)
        BETWEEN              phi0, k, n                      k (1 - cos(n (phi - phi0))), between ij and kl
        BENT_TORSION         k, a0 ... a4                    k (sin theta sin theta')^3 sum a_n cos^n phi
        MAP                  begin, n                        a grid of the dihedrals ijkl and jklm
        ===================  ==============================  ===========================================

    tables
        (w,) coefficients of tables and grids, see :mod:`~dbm_gmx.forcefield.tables`.
    """

    form: IntArray
    atoms: IntArray
    parameters: FloatArray
    tables: FloatArray = field(default_factory=lambda: np.zeros(0))


TABLED = (TABLED_DISTANCE, TABLED_ANGLE, TABLED_DIHEDRAL, MAP)
"""Forms whose first parameter says where their table begins."""


WITH_CONSTANT = (DISTANCE, QUARTIC, ANGLE, COSINE, RESTRICTED_ANGLE, PERIODIC, HARMONIC, RESTRICTED_DIHEDRAL)
"""Forms whose energy goes with their second parameter."""


def moved_tables(terms: BondedTerms, by: int) -> BondedTerms:
    """The same terms, with the tables beginning so much later."""
    parameters = terms.parameters.copy()
    parameters[np.isin(terms.form, TABLED), 0] += by
    return replace(terms, parameters=parameters)


def chosen_terms(terms: BondedTerms, chosen: IntArray, atoms: IntArray) -> BondedTerms:
    """Some of the terms, with other rows (k, 5) for their atoms, and tables where they need them."""
    form = terms.form[chosen]
    tables = terms.tables if np.isin(form, TABLED).any() else np.zeros(0)
    return BondedTerms(form, atoms, terms.parameters[chosen], tables)


class _Tables:
    """Tables, each kept once."""

    def __init__(self) -> None:
        self.parts: list[FloatArray] = []
        self.begin: dict[bytes, int] = {}
        self.size = 0

    def add(self, key: FloatArray, make: Callable[..., FloatArray], *arguments: FloatArray) -> int:
        """Where a table begins; it is made if it is not there."""
        name = key.tobytes()
        if name not in self.begin:
            self.begin[name] = self.size
            self.parts.append(make(*arguments).reshape(-1))
            self.size += len(self.parts[-1])
        return self.begin[name]

    def values(self, form: int, values: FloatArray) -> FloatArray:
        """Parameters (k, p) of terms whose tables are among them, written as of :class:`BondedTerms`."""
        if form == MAP:
            n = math.isqrt(values.shape[1])
            begin = [self.add(grid, grid_coefficients, grid.reshape(n, n)) for grid in values]
            return np.stack([begin, np.full(len(begin), n)], axis=1).astype(np.float64)
        found = []
        for step, k, *points in values:
            energy, slope = np.array(points).reshape(2, -1)
            place = self.add(np.array([step, *points]), table_coefficients, energy, slope * step)
            found.append([place, len(energy) - 1, 1.0 / step, k])
        return np.array(found, np.float64).reshape(-1, 4)


def canonical(terms: Iterable[Terms]) -> BondedTerms:
    """Write terms in the forms of :class:`BondedTerms`; those of several parts (Urey-Bradley) become several.

    Raises
    ------
    InputError
        If a function type is not supported.
    """
    form, atoms, parameters, tables = [], [], [], _Tables()
    for group in terms:
        check_supported(group)
        write = CANONICAL[group.directive, group.function]
        for number, rows, values in write(group.atoms, in_radians(group)):
            written = tables.values(number, values) if number in TABLED else values
            form.append(np.full(len(rows), number))
            atoms.append(np.pad(rows, ((0, 0), (0, ATOMS - rows.shape[1])), constant_values=-1))
            parameters.append(np.pad(written, ((0, 0), (0, PARAMETERS - written.shape[1]))))
    return BondedTerms(
        np.concatenate([np.zeros(0, np.int64), *form]),
        np.concatenate([np.zeros((0, ATOMS), np.int64), *atoms]),
        np.concatenate([np.zeros((0, PARAMETERS)), *parameters]),
        np.concatenate([np.zeros(0), *tables.parts]),
    )


def fewer_terms(terms: BondedTerms) -> BondedTerms:
    """The same energy in fewer terms.

    Force fields write a dihedral as a sum of cosines, each a term.  They become one polynomial, which needs
    the geometry once; phases other than 0 and 180 degrees stay as they are.  Springs and cosines without a
    force constant are left out: most Urey-Bradley terms of CHARMM.
    """
    n = terms.parameters[:, 2]
    even = np.abs(np.sin(terms.parameters[:, 0])) < EVEN
    series = np.where((terms.form == POLYNOMIAL)[:, None], terms.parameters, 0.0)
    joined = terms.form == POLYNOMIAL
    for multiplicity in range(PARAMETERS):
        which = (terms.form == PERIODIC) & even & (n == multiplicity)
        # cos(n phi) is the polynomial of Chebyshev of cos(phi), hence (-1)^n times that of -cos(phi)
        cosines = chebyshev.cheb2poly([0.0] * multiplicity + [(-1.0) ** multiplicity])
        phase, k = terms.parameters[which, :2].T
        series[which, : multiplicity + 1] = (k * np.cos(phase))[:, None] * cosines
        series[which, 0] += k
        joined |= which
    atoms = terms.atoms[joined]
    back = atoms[:, 0] > atoms[:, 3]
    atoms[back, :4] = atoms[back, 3::-1]
    atoms, place = np.unique(atoms, axis=0, return_inverse=True)
    sums = np.zeros((len(atoms), PARAMETERS))
    np.add.at(sums, place.reshape(-1), series[joined])
    acts = sums.any(axis=1)
    without = np.isin(terms.form, WITH_CONSTANT) & (terms.parameters[:, 1] == 0.0)
    others = ~joined & ~without
    return BondedTerms(
        np.concatenate([terms.form[others], np.full(acts.sum(), POLYNOMIAL)]),
        np.concatenate([terms.atoms[others], atoms[acts]]),
        np.concatenate([terms.parameters[others], sums[acts]]),
        terms.tables,
    )


Written = list[tuple[int, IntArray, FloatArray]]


def _as(form: int, count: int | None = None) -> Callable[[IntArray, FloatArray], Written]:
    """The first parameters as they are."""
    return lambda atoms, p: [(form, atoms, p[:, :count])]


def _cosine_of(form: int) -> Callable[[IntArray, FloatArray], Written]:
    """An angle and a force constant, of the first its cosine."""
    return lambda atoms, p: [(form, atoms, np.stack([np.cos(p[:, 0]), p[:, 1]], axis=1))]


def _periodic(atoms: IntArray, p: FloatArray) -> Written:
    """With a multiplicity that is not negative, and what the phase needs at every evaluation."""
    sign = np.where(p[:, 2] < 0.0, -1.0, 1.0)
    phase = sign * p[:, 0]
    columns = (phase, p[:, 1], sign * p[:, 2], np.cos(phase), np.sin(phase))
    return [(PERIODIC, atoms, np.stack(columns, axis=1))]


def _urey_bradley(atoms: IntArray, p: FloatArray) -> Written:
    return [(ANGLE, atoms, p[:, :2]), (DISTANCE, atoms[:, ::2], p[:, 2:4])]


def _cross_bonds(atoms: IntArray, p: FloatArray) -> Written:
    """Two bonds with one atom in common."""
    return [(PRODUCT, atoms[:, [0, 1, 2, 1]], p[:, [2, 0, 1]])]


def _cross_angle(atoms: IntArray, p: FloatArray) -> Written:
    """The distance of the ends with either bond."""
    return [
        (PRODUCT, atoms[:, [0, 2, 0, 1]], p[:, [3, 2, 0]]),
        (PRODUCT, atoms[:, [0, 2, 2, 1]], p[:, [3, 2, 1]]),
    ]


def _fourier(atoms: IntArray, p: FloatArray) -> Written:
    """The four coefficients of OPLS as a polynomial (GROMACS manual, "Fourier dihedral")."""
    f1, f2, f3, f4 = p[:, :4].T
    zero = np.zeros_like(f1)
    c = [f2 + (f1 + f3) / 2, (3 * f3 - f1) / 2, 4 * f4 - f2, -2 * f3, -4 * f4, zero]
    return [(POLYNOMIAL, atoms, np.stack(c, axis=1))]


CANONICAL: Mapping[tuple[str, int], Callable[[IntArray, FloatArray], Written]] = {
    ("bonds", 1): _as(DISTANCE, 2),
    ("bonds", 2): _as(QUARTIC, 2),
    ("bonds", 3): _as(MORSE, 3),
    ("bonds", 4): _as(CUBIC, 3),
    ("bonds", 6): _as(DISTANCE, 2),
    ("bonds", 7): _as(FENE, 2),
    ("bonds", 8): _as(TABLED_DISTANCE),
    ("bonds", 9): _as(TABLED_DISTANCE),
    ("bonds", 10): _as(RANGE, 4),
    ("angles", 1): _as(ANGLE, 2),
    ("angles", 2): _cosine_of(COSINE),
    ("angles", 3): _cross_bonds,
    ("angles", 4): _cross_angle,
    ("angles", 5): _urey_bradley,
    ("angles", 6): _as(ANGLE_POLYNOMIAL, 6),
    ("angles", 8): _as(TABLED_ANGLE),
    ("angles", 10): _cosine_of(RESTRICTED_ANGLE),
    ("dihedrals", 1): _periodic,
    ("dihedrals", 2): _as(HARMONIC, 2),
    ("dihedrals", 3): _as(POLYNOMIAL, 6),
    ("dihedrals", 4): _periodic,
    ("dihedrals", 5): _fourier,
    ("dihedrals", 8): _as(TABLED_DIHEDRAL),
    ("dihedrals", 9): _periodic,
    ("dihedrals", 10): _cosine_of(RESTRICTED_DIHEDRAL),
    ("dihedrals", 11): _as(BENT_TORSION, 6),
    ("dihedral_restraints", 1): _as(FLAT_DIHEDRAL, 3),
    ("angle_restraints", 1): _as(BETWEEN, 3),
    ("cmap", 1): _as(MAP),
}
"""How each directive and function type is written in the canonical forms; angles are in radians here."""

ENERGY_NAMES: Mapping[tuple[str, int], str] = {
    ("bonds", 1): "Bond",
    ("bonds", 2): "G96Bond",
    ("bonds", 3): "Morse",
    ("bonds", 4): "Cubic Bonds",
    ("bonds", 6): "Harmonic Pot.",
    ("bonds", 7): "FENE Bonds",
    ("bonds", 8): "Tab. Bonds",
    ("bonds", 9): "Tab. Bonds NC",
    ("bonds", 10): "Restraint Pot.",
    ("angles", 1): "Angle",
    ("angles", 2): "G96Angle",
    ("angles", 3): "Bond-Cross",
    ("angles", 4): "BA-Cross",
    ("angles", 5): "U-B",
    ("angles", 6): "Quartic Angles",
    ("angles", 8): "Tab. Angles",
    ("angles", 10): "Restr. Angles",
    ("dihedrals", 1): "Proper Dih.",
    ("dihedrals", 2): "Improper Dih.",
    ("dihedrals", 3): "Ryckaert-Bell.",
    ("dihedrals", 4): "Per. Imp. Dih.",
    ("dihedrals", 5): "Fourier Dih.",
    ("dihedrals", 8): "Tab. Dih.",
    ("dihedrals", 9): "Proper Dih.",
    ("dihedrals", 10): "Restr. Dih.",
    ("dihedrals", 11): "CBT Dih.",
    ("dihedral_restraints", 1): "Dih. Rest.",
    ("angle_restraints", 1): "Angle Rest.",
    ("cmap", 1): "CMAP Dih.",
    ("pairs", 1): "LJ-14",
    ("pairs", 2): "LJC-14 q",
    ("coulomb14", 1): "Coulomb-14",
}
"""Names of the energies in ``gmx energy``; ``coulomb14`` is made of ``pairs`` by :func:`energy_terms`."""

STIFF = frozenset(name for (what, _), name in ENERGY_NAMES.items() if what in ("bonds", "angles"))
"""Energies of bonds and angles: the fastest to be at equilibrium, and most of what energies scatter by."""

FROM_FILES = {("bonds", 8), ("bonds", 9), ("angles", 8), ("dihedrals", 8)}
"""Terms whose energies are in a file; they hold its step (nm or radians), k, its energies and its slopes."""

LEAST_TABLE = 6

PAIRS = frozenset({("pairs", 1), ("pairs", 2)})

WITHOUT_ENERGY = frozenset({("bonds", 5), ("constraints", 1), ("constraints", 2), ("settles", 1)})
"""What shapes a molecule and holds no energy; virtual sites (``virtual_sites*``) too."""


def energy_name(terms: Terms) -> str:
    """Name of the energy of terms in ``gmx energy``."""
    return ENERGY_NAMES[terms.directive, terms.function]


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
    if key in FROM_FILES and terms.parameters.shape[1] < LEAST_TABLE:
        number = int(terms.parameters[0, 0]) if terms.parameters.size else 0
        raise InputError(
            f"[ {key[0]} ] of function type {key[1]} need table {number}: the file "
            f"table_{key[0][0]}{number}.xvg beside the topology"
        )


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

    Bonds of other forms become the harmonic one of the same curvature at their minimum.
    """
    form, parameters = terms.form.copy(), terms.parameters.copy()
    r0, k, third = parameters[:, 0].copy(), parameters[:, 1].copy(), parameters[:, 2].copy()
    curvature = {QUARTIC: 2.0 * k * r0**2, MORSE: 2.0 * k * third**2, CUBIC: 2.0 * k, FENE: k}
    for other, stiffness in curvature.items():
        which = form == other
        parameters[which, 1] = stiffness[which]
        parameters[which, 0] *= other != FENE
        form[which] = DISTANCE
    bonds = form == DISTANCE
    parameters[bonds, 1] = np.minimum(parameters[bonds, 1], STIFFEST)
    return BondedTerms(form, terms.atoms, parameters, terms.tables)


# --- terms: energies and forces of atoms -----------------------------------------------------------


@compiled(forceinline=True)
def term_rows(atoms: Any, t: int, first: int) -> Any:
    """Rows of the five atoms (any, where it has fewer) of term t of the molecule that begins at ``first``."""
    return (
        first + atoms[t, 0],
        first + atoms[t, 1],
        first + max(atoms[t, 2], 0),
        first + max(atoms[t, 3], 0),
        first + max(atoms[t, 4], 0),
    )


@compiled(forceinline=True)
def term_parameters(parameters: Any, t: int) -> Any:
    """The parameters of term t as a tuple, which costs nothing: a row of an array is an object of its own."""
    return (
        parameters[t, 0],
        parameters[t, 1],
        parameters[t, 2],
        parameters[t, 3],
        parameters[t, 4],
        parameters[t, 5],
    )


@compiled(forceinline=True)
def angle_of(a: Any, b: Any) -> Any:
    """Cosine and sine, to the same scale, of the angle at which the arm a comes in and b leaves."""
    n = cross(a, b)
    return -dot(a, b), math.sqrt(dot(n, n))


@compiled(forceinline=True)
def dihedral_of(a: Any, b: Any, c: Any) -> Any:
    """Cosine and sine, to the same scale, of the dihedral of three arms."""
    m = cross(b, c)
    return dot(cross(a, b), m), math.sqrt(dot(b, b)) * dot(a, m)


@compiled(forceinline=True)
def term_energy(form: int, p: Any, tables: Any, positions: Any, rows: Any) -> float:
    """Energy of a term, kJ/mol.

    Parameters
    ----------
    form, p, tables
        The form, its parameters (see :func:`term_parameters`) and the tables of all.
    positions
        (n, 3) nm, molecules whole; or as :func:`~dbm_gmx.chemistry.vectors.in_lattice` makes them.
    rows
        Its atoms, see :func:`term_rows`.
    """
    a = arm(positions, rows[0], rows[1])
    if form < ANGLES:
        return distance_form(form, p, tables, dot(a, a))[0]
    b = arm(positions, rows[1], rows[2])
    if form < DIHEDRALS:
        cosine, sine = angle_of(a, b)
        return angle_form(form, p, tables, cosine, sine)[0]
    if form >= OTHERS:
        return _other_energy(form, p, tables, positions, rows)
    cosine, sine = dihedral_of(a, b, arm(positions, rows[2], rows[3]))
    return dihedral_form(form, p, tables, cosine, sine)[0]


@compiled(forceinline=True)
def add_force(force: Any, i: int, x: float, y: float, z: float) -> None:
    """Add to the force on an atom."""
    force[i, 0] += x
    force[i, 1] += y
    force[i, 2] += z


@compiled(forceinline=True)
def add_term(form: int, p: Any, tables: Any, x: Any, rows: Any, scale: float, force: Any) -> None:
    """Add the force of a term, times ``scale``, to those on its atoms (n, 3), kJ/mol nm^-1.

    Other parameters as for :func:`term_energy`.
    """
    a = arm(x, rows[0], rows[1])
    if form < ANGLES:
        _add_pull(rows[0], rows[1], a, scale * distance_form(form, p, tables, dot(a, a))[1], force)
        return
    b = arm(x, rows[1], rows[2])
    if form < DIHEDRALS:
        cosine, sine = angle_of(a, b)
        norm = math.sqrt((dot(a, a) + 1e-12) * (dot(b, b) + 1e-12))
        slope = angle_form(form, p, tables, cosine / norm, sine / norm)[1]
        _add_bend((rows[0], rows[1], rows[2]), a, b, scale * slope, force)
        return
    if form >= OTHERS:
        _other_term(form, p, tables, x, rows, scale, force)
        return
    c = arm(x, rows[2], rows[3])
    cosine, sine = dihedral_of(a, b, c)
    slope = dihedral_form(form, p, tables, cosine, sine)[1]
    add_torque((rows[0], rows[1], rows[2], rows[3]), (a, b, c), scale * slope, force)


@compiled(forceinline=True)
def _add_pull(i: int, j: int, a: Any, pull: float, force: Any) -> None:
    """Add the forces along the arm of a pair: the slope of an energy over the distance."""
    add_force(force, i, pull * a[0], pull * a[1], pull * a[2])
    add_force(force, j, -pull * a[0], -pull * a[1], -pull * a[2])


@compiled(forceinline=True)
def _add_bend(rows: Any, a: Any, b: Any, slope: float, force: Any) -> None:
    """Add the forces of three atoms, the arms between them, and the slope of an energy by their angle."""
    i, j, k = rows
    aa, bb = dot(a, a) + 1e-12, dot(b, b) + 1e-12
    norm = math.sqrt(aa * bb)
    cosine, sine = angle_of(a, b)
    cosine, sine = cosine / norm, sine / norm
    # the gradient of theta is that of its cosine = (r_i - r_j).(r_k - r_j) / norm over minus its sine
    slope = -slope / max(sine, STRAIGHT)
    (ax, ay, az), (bx, by, bz) = a, b
    ix, iy, iz = bx / norm + cosine * ax / aa, by / norm + cosine * ay / aa, bz / norm + cosine * az / aa
    kx, ky, kz = ax / norm + cosine * bx / bb, ay / norm + cosine * by / bb, az / norm + cosine * bz / bb
    add_force(force, i, -slope * ix, -slope * iy, -slope * iz)
    add_force(force, k, slope * kx, slope * ky, slope * kz)
    add_force(force, j, slope * (ix - kx), slope * (iy - ky), slope * (iz - kz))


@compiled(forceinline=True)
def add_torque(rows: Any, arms: Any, slope: float, force: Any) -> None:
    """Add the forces of four atoms, the arms between them, and the slope of an energy by their dihedral."""
    (i, j, k, m), (a, b, c) = rows, arms
    n, w = cross(a, b), cross(b, c)
    aa, bb = dot(a, a) + 1e-12, dot(b, b) + 1e-12
    length = math.sqrt(bb)
    # where three atoms lie on a line the force is that of an angle a little off it
    nn = max(dot(n, n), STRAIGHT * aa * bb)
    ww = max(dot(w, w), STRAIGHT * bb * dot(c, c) + 1e-15)
    # Blondel and Karplus, J. Comput. Chem. 17, 1132, 1996
    gi, gm = -slope * length / nn, slope * length / ww
    ab, cb = dot(a, b) / bb, dot(c, b) / bb
    ix, iy, iz = gi * n[0], gi * n[1], gi * n[2]
    lx, ly, lz = gm * w[0], gm * w[1], gm * w[2]
    sx, sy, sz = -ab * ix + cb * lx, -ab * iy + cb * ly, -ab * iz + cb * lz
    add_force(force, i, -ix, -iy, -iz)
    add_force(force, m, -lx, -ly, -lz)
    add_force(force, j, ix - sx, iy - sy, iz - sz)
    add_force(force, k, lx + sx, ly + sy, lz + sz)


@compiled(makes_arrays=True)
def add_terms(terms: Any, which: Any, x: Any, weak: float, force: Any) -> None:
    """Add the forces of terms to those on atoms (n, 3), kJ/mol nm^-1.

    Terms of one form that follow each other are worked out side by side.

    Parameters
    ----------
    terms
        A record with the arrays of :class:`BondedTerms`.  They are taken out of it once: in a loop that would
        take longer than most terms.
    which
        The first term, the end of them, and where their molecule begins.
    x
        (n, 3) nm, molecules whole.
    weak
        Share of all but bonds that acts.
    """
    form, parameters, tables, atoms = terms.form, terms.parameters, terms.tables, terms.atoms
    begin, end, first = which
    space = np.ones(lanes.SPACE if end - begin >= lanes.FEW else 0)
    while begin < end:
        stop, one = begin + 1, form[begin]
        while stop < min(begin + lanes.LANES, end) and form[stop] == one:
            stop += 1
        share = 1.0 if one == DISTANCE else weak
        if stop - begin >= lanes.FEW and one in lanes.FORMS:
            lanes.add_group((one, atoms, parameters), (begin, stop, first), x, share, space, force)
        else:
            for t in range(begin, stop):
                rows = term_rows(atoms, t, first)
                add_term(one, term_parameters(parameters, t), tables, x, rows, share, force)
        begin = stop


@compiled()
def sum_of_terms(terms: Any, which: Any, x: Any) -> float:
    """Energy of terms, kJ/mol; parameters as for :func:`add_terms`."""
    form, parameters, tables, atoms = terms.form, terms.parameters, terms.tables, terms.atoms
    (begin, end, first), total = which, 0.0
    for t in range(begin, end):
        total += term_energy(form[t], term_parameters(parameters, t), tables, x, term_rows(atoms, t, first))
    return total


# --- terms of several coordinates --------------------------------------------------------------------


@compiled()
def _other_term(form: int, p: Any, tables: Any, x: Any, rows: Any, scale: float, force: Any) -> float:
    """Energy of a term of several coordinates; adds its force times ``scale`` unless that is 0."""
    if form == MAP:
        return _map_term(p, tables, x, rows, scale, force)
    if form == BENT_TORSION:
        return _bent_torsion(p, x, rows, scale, force)
    if form == PRODUCT:
        return _product_term(p, x, rows, scale, force)
    return _between_term(p, x, rows, scale, force)


def _other_energy(form: int, p: Any, tables: Any, x: Any, rows: Any) -> float:
    """Energy of a term of several coordinates; its forces, of which there are none, would be an array."""
    return _other_term(form, p, tables, x, rows, 0.0, x.positions if isinstance(x, Wound) else x)


@overload(_other_energy, inline="always", strict=False)
def _(form: Any, p: Any, tables: Any, x: Any, rows: Any) -> Any:
    if isinstance(x, types.BaseNamedTuple):
        return lambda form, p, tables, x, rows: _other_term(form, p, tables, x, rows, 0.0, x.positions)
    return lambda form, p, tables, x, rows: _other_term(form, p, tables, x, rows, 0.0, x)


@compiled()
def _map_term(p: Any, tables: Any, x: Any, rows: Any, scale: float, force: Any) -> float:
    i, j, k, m, n = rows
    a, b, c, d = arm(x, i, j), arm(x, j, k), arm(x, k, m), arm(x, m, n)
    cosine, sine = dihedral_of(a, b, c)
    cosine_on, sine_on = dihedral_of(b, c, d)
    found = grid_energy(p, tables, math.atan2(sine, cosine), math.atan2(sine_on, cosine_on))
    if scale != 0.0:
        add_torque((i, j, k, m), (a, b, c), scale * found[1], force)
        add_torque((j, k, m, n), (b, c, d), scale * found[2], force)
    return found[0]


@compiled()
def _bent_torsion(p: Any, x: Any, rows: Any, scale: float, force: Any) -> float:
    i, j, k, m, _ = rows
    a, b, c = arm(x, i, j), arm(x, j, k), arm(x, k, m)
    aa, bb, cc = dot(a, a) + 1e-12, dot(b, b) + 1e-12, dot(c, c) + 1e-12
    ends = math.sqrt(aa * bb), math.sqrt(bb * cc)
    (c1, s1), (c2, s2), (c3, s3) = angle_of(a, b), angle_of(b, c), dihedral_of(a, b, c)
    c1, s1, c2, s2 = c1 / ends[0], s1 / ends[0], c2 / ends[1], s2 / ends[1]
    norm = max(math.sqrt(c3 * c3 + s3 * s3), 1e-30)
    c3, s3 = c3 / norm, s3 / norm
    series = p[1] + c3 * (p[2] + c3 * (p[3] + c3 * (p[4] + c3 * p[5])))
    slope = p[2] + c3 * (2.0 * p[3] + c3 * (3.0 * p[4] + c3 * 4.0 * p[5]))
    bent = p[0] * (s1 * s2) ** 3
    if scale != 0.0:
        add_torque((i, j, k, m), (a, b, c), -scale * bent * slope * s3, force)
        _add_bend((i, j, k), a, b, scale * 3.0 * p[0] * series * s1**2 * s2**3 * c1, force)
        _add_bend((j, k, m), b, c, scale * 3.0 * p[0] * series * s1**3 * s2**2 * c2, force)
    return bent * series


@compiled()
def _product_term(p: Any, x: Any, rows: Any, scale: float, force: Any) -> float:
    i, j, k, m, _ = rows
    a, b = arm(x, i, j), arm(x, k, m)
    r, s = max(math.sqrt(dot(a, a)), 1e-9), max(math.sqrt(dot(b, b)), 1e-9)
    if scale != 0.0:
        _add_pull(i, j, a, scale * p[0] * (s - p[2]) / r, force)
        _add_pull(k, m, b, scale * p[0] * (r - p[1]) / s, force)
    return p[0] * (r - p[1]) * (s - p[2])


@compiled()
def _between_term(p: Any, x: Any, rows: Any, scale: float, force: Any) -> float:
    i, j, k, m, _ = rows
    a, b = arm(x, i, j), arm(x, k, m)
    aa, bb = dot(a, a) + 1e-12, dot(b, b) + 1e-12
    norm = math.sqrt(aa * bb)
    n = cross(a, b)
    cosine, sine = dot(a, b) / norm, math.sqrt(dot(n, n)) / norm
    argument = p[2] * (math.atan2(sine, cosine) - p[0])
    if scale != 0.0:
        slope = -scale * p[1] * p[2] * math.sin(argument) / max(sine, STRAIGHT)
        for d in range(3):
            one, other = (
                slope * (b[d] / norm - cosine * a[d] / aa),
                slope * (a[d] / norm - cosine * b[d] / bb),
            )
            force[i, d] += one
            force[j, d] -= one
            force[k, d] += other
            force[m, d] -= other
    return p[1] * (1.0 - math.cos(argument))

"""Every force is the slope of its energy, and every energy is the one that is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from exact import MIXED, energy_of, mixture, start, window

from dbm_gmx.chemistry.stereo import chirality_of
from dbm_gmx.chemistry.stereo_bonds import BOND
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.chemistry.topology import NonBonded, Terms, atom_charges, atom_types, is_excluded
from dbm_gmx.chemistry.units import ELECTRIC, GAS
from dbm_gmx.forcefield.forms import (
    ANGLE,
    ANGLE_POLYNOMIAL,
    BENT_TORSION,
    BETWEEN,
    COSINE,
    CUBIC,
    DISTANCE,
    FENE,
    FLAT_DIHEDRAL,
    HARMONIC,
    MAP,
    MORSE,
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
)
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.forcefield.lanes import arc
from dbm_gmx.forcefield.nonbonded import (
    LongRange,
    coulomb,
    coulomb_force,
    inverse_distance,
    inverse_sixth,
    lennard_jones,
    lennard_jones_force,
    pair_energy_and_force,
    reaction_field,
    zero_quadrupole,
)
from dbm_gmx.forcefield.restraints import (
    add_bead_restraint,
    add_chirality_restraint,
    bead_offset,
    chirality_energy,
)
from dbm_gmx.forcefield.tables import grid_coefficients, table_coefficients
from dbm_gmx.forcefield.terms import (
    STIFFEST,
    BondedTerms,
    add_term,
    add_terms,
    canonical,
    soften,
    term_rows,
)
from dbm_gmx.options import Conditions
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.arrays import Configuration, SiteArrays, make_arrays
from dbm_gmx.sampling.conformer_exchange import ExchangeArrays
from dbm_gmx.sampling.packing import Cores, PackingArrays, _add_chirality, _renewed, _some_forces, make_lists
from dbm_gmx.sampling.surroundings import (
    CUTOFF,
    MARGIN,
    add_surroundings,
    make_space,
    make_surroundings,
    surroundings_energy,
)

Energy = Callable[[np.ndarray], float]


def slopes(energy: Energy, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """(n, 3) minus the derivatives of an energy, by central differences."""
    found = np.zeros_like(x)
    for i, d in np.ndindex(*x.shape):
        moved = x.copy()
        moved[i, d] = x[i, d] + step
        above = energy(moved)
        moved[i, d] = x[i, d] - step
        found[i, d] = (energy(moved) - above) / (2 * step)
    return found


def agree(force: np.ndarray, expected: np.ndarray, precision: float) -> None:
    """Forces agree to a part of the largest one, which is not zero."""
    largest = np.abs(expected).max()
    assert largest > 1e-3
    assert np.abs(force - expected).max() < precision * largest


# --- bonded terms ------------------------------------------------------------------------------------

BONDED = {
    "distance": (DISTANCE, 2, (0.15, 2e5)),
    "quartic": (QUARTIC, 2, (0.15, 5e6)),
    "Morse": (MORSE, 2, (0.15, 400.0, 12.0)),
    "cubic": (CUBIC, 2, (0.15, 2e5, -3.0)),
    "FENE": (FENE, 2, (0.9, 3e3)),
    "FENE, too long": (FENE, 2, (0.06, 3e3)),
    "range": (RANGE, 2, (0.12, 0.1201, 0.25, 2e3)),
    "tabled distance": (TABLED_DISTANCE, 2, (3.0, 5.0, 20.0, 1.3)),
    "angle": (ANGLE, 3, (1.9, 400.0)),
    "angle polynomial": (ANGLE_POLYNOMIAL, 3, (1.9, 3.0, -20.0, 400.0, -90.0, 50.0)),
    "restricted angle": (RESTRICTED_ANGLE, 3, (-0.3, 50.0)),
    "tabled angle": (TABLED_ANGLE, 3, (3.0, 5.0, 1.6, 1.3)),
    "cosine": (COSINE, 3, (-0.33, 500.0)),
    "periodic": (PERIODIC, 4, (0.6, 5.0, 3.0, np.cos(0.6), np.sin(0.6))),
    "harmonic": (HARMONIC, 4, (-0.6, 80.0)),
    "harmonic, at trans": (HARMONIC, 4, (3.1, 80.0)),
    "polynomial": (POLYNOMIAL, 4, (9.28, 12.16, -13.12, -3.06, 26.24, -31.5)),
    "restricted dihedral": (RESTRICTED_DIHEDRAL, 4, (-0.3, 50.0)),
    "flat dihedral": (FLAT_DIHEDRAL, 4, (3.0, 0.02, 80.0)),
    "tabled dihedral": (TABLED_DIHEDRAL, 4, (3.0, 5.0, 0.8, 1.3)),
    "product": (PRODUCT, 4, (2e4, 0.15, 0.2)),
    "between": (BETWEEN, 4, (0.6, 50.0, 2.0)),
    "bent torsion": (BENT_TORSION, 4, (3.0, 5.0, -4.0, 3.0, 2.0, -1.0)),
    "map": (MAP, 5, (23.0, 6.0)),
}


WAVES = np.random.default_rng(9)
TABLES = np.concatenate(
    [
        WAVES.normal(size=3),
        table_coefficients(WAVES.normal(size=6), WAVES.normal(size=6)).ravel(),
        grid_coefficients(WAVES.normal(size=(6, 6))).ravel(),
    ]
)
"""A table of five cubics that begins at 3, and a grid of 6 x 6 that begins at 23."""


def written(
    forms: Sequence[int], parameters: Sequence[np.ndarray], atoms: Sequence[Sequence[int]]
) -> BondedTerms:
    """Terms of these atoms."""
    rows = [[*map(int, row), *[-1] * (5 - len(row))] for row in atoms]
    return BondedTerms(np.array(forms), np.array(rows), np.array(parameters), TABLES)


def push(
    terms: BondedTerms, t: int, x: np.ndarray, force: np.ndarray, *, first: int = 0, scale: float = 1.0
) -> None:
    """Add the force of a term."""
    rows = term_rows(terms.atoms, t, first)
    add_term(int(terms.form[t]), terms.parameters[t], terms.tables, x, rows, scale, force)


def bent(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, 3) atoms of a term, nm, no three in a straight line."""
    while True:
        x = rng.normal(size=(size, 3)) * 0.12
        arms = np.diff(x, axis=0)
        lengths = np.linalg.norm(arms, axis=1)
        sines = np.linalg.norm(np.cross(arms[1:], arms[:-1]), axis=1) / (lengths[1:] * lengths[:-1])
        if lengths.min() > 0.05 and (sines > 0.2).all():
            return x


@pytest.mark.parametrize(("form", "size", "values"), BONDED.values(), ids=BONDED.keys())
def test_bonded_forces_are_slopes(form: int, size: int, values: tuple[float, ...]) -> None:
    rng, parameters = np.random.default_rng(1), np.zeros(6)
    parameters[: len(values)] = values
    first, scale = 2, 0.7
    for _ in range(30):
        x = np.concatenate([rng.normal(size=(first, 3)), bent(size, rng)])
        order = rng.permutation(size)  # which row is which atom of the term
        x[first + order] = x[first:].copy()
        # the second of two terms; what is there already stays
        terms, force = written([form] * 2, [parameters[::-1], parameters], [[0], order]), np.full_like(x, 0.5)
        push(terms, 1, x, force, first=first, scale=scale)
        expected = slopes(lambda y: scale * energy_of(terms, 1, y, first), x)  # noqa: B023
        agree(force - 0.5, expected, 1e-6)
        assert not (force[:first] - 0.5).any()


def test_a_harmonic_dihedral_is_pulled_the_short_way_round() -> None:
    """From 170 to -170 degrees it is 20, not 340: the force turns the dihedral up."""
    phi = np.radians(170.0)
    x = np.array([[0.1, 0, 0], [0, 0, 0], [0, 0, 0.15], [0.1 * np.cos(phi), 0.1 * np.sin(phi), 0.15]])
    parameters, force = np.array([np.radians(-170.0), 80.0, 0, 0, 0, 0]), np.zeros((4, 3))
    push(written([HARMONIC], [parameters], [range(4)]), 0, x, force)
    up = np.array([-np.sin(phi), np.cos(phi), 0.0])
    assert force[3] @ up == pytest.approx(80.0 * np.radians(20.0) / 0.1, rel=1e-9)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 6])
def test_any_multiplicity(n: int) -> None:
    """The energy is k (1 + cos(n phi - phi0)), also where n is negative, as written."""
    phase, k = 25.0, 4.0
    terms = canonical([Terms("dihedrals", 9, np.arange(4)[None], np.array([[phase, k, n]], float))])
    for phi in np.radians([-170.0, -60.0, 0.0, 10.0, 90.0, 180.0]):
        x = np.array([[0.0, 1, 0], [0, 0, 0], [1, 0, 0], [1, np.cos(phi), np.sin(phi)]]) * 0.15
        expected = k * (1 + np.cos(n * phi - np.radians(phase)))
        assert energy_of(terms, 0, x) == pytest.approx(expected, abs=1e-9)


LINE = np.arange(4)[:, None] * np.array([0.1, 0.0, 0.0])


RUNS = ["distance", "angle", "cosine", "harmonic", "polynomial", "distance angle FENE harmonic polynomial"]


@pytest.mark.parametrize(
    ("names", "count"), [(names.split(), 37) for names in RUNS] + [([RUNS[-1].split()[1]], 3)]
)
def test_many_terms_are_as_they_are_one_by_one(names: list[str], count: int) -> None:
    """In runs of one form, whole groups and what is left of them, a straight line among them."""
    rng = np.random.default_rng(count)
    forms, sizes, values = zip(*(BONDED[name] for name in names for _ in range(count)), strict=True)
    parameters = [np.array([*given, *[0.0] * (6 - len(given))]) for given in values]
    atoms = [np.arange(4 * k, 4 * k + size) for k, size in enumerate(sizes)]
    x = np.concatenate([np.zeros((2, 3)), *(bent(4, rng) for _ in sizes)])
    x[2:6] = LINE
    terms, weak = written(forms, parameters, atoms), 0.3
    x = np.concatenate([x, np.zeros((5, 3))])
    force, expected = np.full_like(x, 0.5), np.full_like(x, 0.5)
    record = TermArrays(terms.form, terms.atoms, terms.parameters, terms.tables)
    add_terms(record, (1, len(forms) - 1, 2), x, weak, force)
    for t in range(1, len(forms) - 1):
        push(terms, t, x, expected, first=2, scale=1.0 if forms[t] == DISTANCE else weak)
    agree(force - 0.5, expected - 0.5, 1e-8)


class TermArrays(NamedTuple):
    """What :func:`add_terms` takes."""

    form: np.ndarray
    atoms: np.ndarray
    parameters: np.ndarray
    tables: np.ndarray


@pytest.mark.parametrize("turn", [np.pi, 3.0, 1.58, 1.56, 0.8, 0.7, 1e-6, 0.0])
def test_an_arc_is_that_of_its_sine_and_cosine(turn: float) -> None:
    for scale in (1.0, 1e-7, 1e7):
        assert arc(scale * np.sin(turn), scale * np.cos(turn)) == pytest.approx(turn, abs=1e-9)


@pytest.mark.parametrize("form", [ANGLE, COSINE, PERIODIC, HARMONIC, POLYNOMIAL])
def test_forces_in_a_straight_line_are_numbers(form: int) -> None:
    parameters, force = np.array([1.0, 100.0, 3.0, 1.0, 1.0, 1.0]), np.zeros((4, 3))
    size = 3 if form in (ANGLE, COSINE) else 4
    push(written([form], [parameters], [range(size)]), 0, LINE, force)
    assert np.isfinite(force).all()


def test_soft_bonds_keep_length_and_curvature_and_nothing_else_changes() -> None:
    form = np.array([DISTANCE, DISTANCE, QUARTIC, ANGLE])
    parameters = np.zeros((4, 6))
    parameters[:, :2] = [(0.15, 1e5), (0.11, 7e5), (0.15, 2e6), (1.9, 4e5)]
    soft = soften(BondedTerms(form, np.zeros((4, 5), np.int64), parameters))
    assert soft.form.tolist() == [DISTANCE, DISTANCE, DISTANCE, ANGLE]
    assert (soft.parameters[[0, 3]] == parameters[[0, 3]]).all()
    assert soft.parameters[1, :2].tolist() == [0.11, STIFFEST]

    def stretched(form: int, parameters: np.ndarray, by: float) -> float:
        x = np.array([[0.0, 0, 0], [0.15 + by, 0, 0]])
        return energy_of(written([form], [parameters], [(0, 1)]), 0, x)

    curvature = [
        (stretched(f, p, 1e-5) + stretched(f, p, -1e-5) - 2 * stretched(f, p, 0.0)) / 1e-10
        for f, p in ((QUARTIC, parameters[2]), (DISTANCE, soft.parameters[2]))
    ]
    assert curvature[0] == pytest.approx(curvature[1], rel=1e-5)


@pytest.mark.parametrize(
    ("form", "values", "shortest"),
    [(MORSE, (0.15, 40.0, 12.0), 0.15), (CUBIC, (0.15, 4e3, -3.0), 0.15), (FENE, (0.3, 900.0), 0.0)],
)
def test_other_bonds_are_harmonic_while_molecules_are_packed(
    form: int, values: tuple[float, ...], shortest: float
) -> None:
    parameters = np.zeros((1, 6))
    parameters[0, : len(values)] = values
    hard = BondedTerms(np.array([form]), np.array([[0, 1, -1, -1, -1]]), parameters)
    soft = soften(hard)
    assert soft.form.tolist() == [DISTANCE]
    for terms, precision in ((hard, 1e-3), (soft, 1e-6)):
        energies = [
            energy_of(terms, 0, np.array([[0.0, 0, 0], [shortest + by, 0, 0]])) for by in (0, 2e-5, 4e-5)
        ]
        assert energies[0] == pytest.approx(0.0, abs=1e-12)
        curvature = np.diff(energies, 2)[0] / 4e-10
        assert curvature == pytest.approx(soft.parameters[0, 1], rel=precision)


# --- restraints --------------------------------------------------------------------------------------


def volume(x: np.ndarray, centre: np.ndarray) -> float:
    """Triple product of the unit vectors to three neighbours, or a quarter of that of the differences."""
    unit = x[centre[1:][centre[1:] >= 0]] - x[centre[0]]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    if len(unit) == 3:
        return float(np.linalg.det(unit))
    return float(0.25 * np.linalg.det(unit[:3] - unit[3]))


CENTRES = {"four neighbours": np.array([2, 0, 4, 1, 3]), "three neighbours": np.array([1, 0, 3, 2, -1])}
TETRAHEDRON = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.15 / np.sqrt(3)
centres = pytest.mark.parametrize("centre", CENTRES.values(), ids=CENTRES.keys())
signs = pytest.mark.parametrize("sign", [1.0, -1.0])


def ideal(centre: np.ndarray) -> np.ndarray:
    """(5, 3) a tetrahedron about the centre, and its chirality is 1."""
    x = np.full((5, 3), 0.7)
    rows = centre[1:][centre[1:] >= 0]
    x[rows] += TETRAHEDRON[: len(rows)]
    if chirality_of(x[None], centre[None])[0, 0] < 0:
        x[rows[[0, 1]]] = x[rows[[1, 0]]]
    return x


@centres
@signs
def test_chirality_forces_are_slopes_of_what_is_meant(centre: np.ndarray, sign: float) -> None:
    def meant(x: np.ndarray) -> float:
        return 0.5 * 1000.0 * max(0.0, 0.7 - sign * volume(x, centre)) ** 2

    rng, used = np.random.default_rng(2), 0
    for _ in range(40):
        x = ideal(centre) * [1, 1, rng.choice([-1.0, 1.0])] + rng.normal(scale=0.04, size=(5, 3))
        assert chirality_energy(x, centre, sign) == pytest.approx(meant(x), rel=1e-6, abs=1e-9)
        if meant(x) < 1.0:
            continue
        force, used = np.zeros((5, 3)), used + 1
        add_chirality_restraint(x, centre, sign, force)
        agree(force, slopes(meant, x), 1e-6)
        agree(force, slopes(lambda y: chirality_energy(y, centre, sign), x), 1e-6)
    assert used > 15


@centres
@signs
def test_nothing_acts_on_a_stereocentre_that_is_right(centre: np.ndarray, sign: float) -> None:
    x, force = ideal(centre), np.zeros((5, 3))
    if sign < 0:
        x[:, 2] *= -1
    assert sign * volume(x, centre) > 0.7
    assert chirality_of(x[None], centre[None])[0, 0] == sign
    add_chirality_restraint(x, centre, sign, force)
    assert not force.any()
    assert chirality_energy(x, centre, sign) == 0


@centres
@signs
def test_a_stereocentre_that_is_wrong_is_turned_the_right_way(centre: np.ndarray, sign: float) -> None:
    """Downhill from a flat one, and from the mirror image but for a little noise."""
    rng = np.random.default_rng(3)
    for flat in (0.05, -1.0):
        x = ideal(centre)
        x[:, 2] = (x[:, 2] - 0.7) * flat * sign + 0.7
        x += rng.normal(scale=0.02, size=x.shape)
        before = sign * volume(x, centre)
        assert before < 0.6
        for step in range(6000):
            force = np.zeros((5, 3))
            add_chirality_restraint(x, centre, sign, force)
            if not force.any():
                break
            x += 2e-6 * force
            if step == 0:
                assert sign * volume(x, centre) > before
        assert chirality_of(x[None], centre[None])[0, 0] == sign
        assert sign * volume(x, centre) > 0.65


BOND_ROW = np.array([3, 1, 0, 4, BOND])


def dihedral_of(x: np.ndarray) -> float:
    """Of the atoms of the bond, radians."""
    a, b, c = np.diff(x[BOND_ROW[:4]], axis=0)
    n, m = np.cross(a, b), np.cross(b, c)
    return float(np.arctan2(np.linalg.norm(b) * (a @ m), n @ m))


@signs
def test_forces_on_a_bond_are_slopes_of_what_is_meant(sign: float) -> None:
    """A parabola in cos phi where that lacks something of cos 63 degrees; nothing else."""

    def meant(x: np.ndarray) -> float:
        cosine = 0.4 / np.cos(np.radians(75)) * np.cos(dihedral_of(x))
        return float(0.5 * 1000.0 * max(0.0, 0.7 - sign * cosine) ** 2)

    rng, free, used = np.random.default_rng(8), 0, 0
    for _ in range(100):
        x = rng.normal(scale=0.1, size=(5, 3))
        assert chirality_energy(x, BOND_ROW, sign) == pytest.approx(meant(x), rel=1e-6, abs=1e-9)
        force = np.zeros((5, 3))
        add_chirality_restraint(x, BOND_ROW, sign, force)
        if meant(x) < 1.0:
            free += not force.any()
            continue
        used += 1
        agree(force, slopes(meant, x), 1e-4)
    assert used > 40
    assert free > 8


@signs
def test_a_bond_that_is_wrong_is_turned_the_right_way(sign: float) -> None:
    x = np.array([[0.0, 0, 0], [0.14, 0, 0], [1, 1, 1], [0.19, -sign * 0.13, 0.004], [-0.05, 0.13, 0]])
    assert chirality_of(x[None], BOND_ROW[None])[0, 0] == -sign
    for _ in range(20000):
        force = np.zeros((5, 3))
        add_chirality_restraint(x, BOND_ROW, sign, force)
        if not force.any():
            break
        x += 1e-7 * force
    assert sign * np.cos(dihedral_of(x)) > 0.45


def test_packing_adds_the_chirality_of_those_that_have_one() -> None:
    rows = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, -1]])
    x = np.random.default_rng(4).normal(size=(9, 3))
    expected, force = np.zeros((9, 3)), np.zeros((9, 3))
    add_chirality_restraint(x, rows[1], -1.0, expected)
    _add_chirality(x, None, rows, np.array([0.0, -1.0]), force)
    assert (force == expected).all()


def test_bead_restraints_are_slopes() -> None:
    """Two beads of a molecule that begins at row 2; weights are not those of equal atoms."""
    rng = np.random.default_rng(5)
    weights = sp.csr_matrix(np.array([[0.2, 0.8, 0.0, 0.0], [0.0, 0.5, 0.1, 0.4]]))
    sites = SiteArrays(
        np.array([0, 2]), weights.indptr.astype(np.int64), weights.indices.astype(np.int64), weights.data
    )
    x, beads, stiffness, first = rng.normal(size=(6, 3)), rng.normal(size=(2, 3)), 3e3, 2
    for site in range(2):

        def energy(y: np.ndarray) -> float:
            return float(0.5 * stiffness * ((weights @ y[first:] - beads)[site] ** 2).sum())  # noqa: B023

        offset, force = bead_offset(sites, site, x, first, beads[site]), np.zeros((6, 3))
        np.testing.assert_allclose(offset, (weights @ x[first:] - beads)[site], rtol=1e-12)
        add_bead_restraint(sites, site, first, offset, stiffness, force)
        agree(force, slopes(energy, x, 1e-4), 1e-6)


# --- pairs -------------------------------------------------------------------------------------------

C6, C12, QQ = 2.3e-3, 2.7e-6, -40.0  # two carbons; charges of opposite sign, kJ/mol nm
DISTANCES = np.array([0.12, 0.2, 0.3, 0.33, 0.5, 0.9])


def slope(energy: Callable[[float], float], r: float) -> float:
    """Minus the derivative by a distance, over it."""
    return (energy(r - 1e-6) - energy(r + 1e-6)) / 2e-6 / r


@pytest.mark.parametrize("soft", [0.0, 0.003, 0.5])
def test_lennard_jones_force_is_the_slope(soft: float) -> None:
    core = soft * C12 / C6

    def meant(r: float) -> float:
        return C12 / (r**6 + core) ** 2 - C6 / (r**6 + core)

    for r in DISTANCES.tolist():
        i6 = inverse_sixth(r * r, core)
        assert lennard_jones(i6, C6, C12) == pytest.approx(meant(r), rel=1e-9)
        assert lennard_jones_force(r * r, i6, C6, C12) == pytest.approx(slope(meant, r), rel=1e-5)


@pytest.mark.parametrize("epsilon_rf", [None, 0.0, 5.0])
def test_coulomb_force_is_the_slope(epsilon_rf: float | None) -> None:
    field = reaction_field(1.0, epsilon_r=2.0, epsilon_rf=epsilon_rf)
    ratio = {None: 0.0, 0.0: 0.5, 5.0: 0.25}[epsilon_rf]  # (5 - 2) / (2 * 5 + 2)

    def meant(r: float) -> float:
        return 1 / r + ratio * r * r - (1 + ratio if epsilon_rf is not None else 0.0)

    for r in DISTANCES.tolist():
        inverse = inverse_distance(r * r)
        assert coulomb(inverse, r * r, field.beyond) == pytest.approx(meant(r), rel=1e-9)
        assert coulomb_force(inverse, r * r, field.beyond) == pytest.approx(slope(meant, r), rel=1e-6)


def test_zero_quadrupole_ends_smoothly_and_its_force_is_the_slope() -> None:
    """Energy, force and the slope of the force are 0 at the cut-off, and only there."""
    cutoff, eps = 0.9, 1e-3
    beyond = zero_quadrupole(cutoff).beyond

    def energy(r: float) -> float:
        return float(coulomb(1 / r, r * r, beyond))

    for r in (0.2, 0.5, 0.8):
        found = coulomb_force(1 / r, r * r, beyond) * r
        assert found == pytest.approx(-(energy(r + eps) - energy(r - eps)) / (2 * eps), rel=1e-4)
    # (1 - x^2)^3 times 5 / 16 and more: of the third order in the distance to the cut-off
    for short in (0.01, 0.02):
        assert energy(cutoff - short) == pytest.approx(2.5 / cutoff * (short / cutoff) ** 3, rel=0.05)


@pytest.mark.parametrize("soft", [0.0, 0.003, 0.5])
def test_force_of_a_pair_is_the_slope(soft: float) -> None:
    """Charges act where cores are hard."""

    def meant(r: float) -> float:
        i6 = 1 / (r**6 + soft * C12 / C6)
        return C12 * i6**2 - C6 * i6 + (QQ / r if soft == 0.0 else 0.0)

    for r in DISTANCES.tolist():
        energy, force = pair_energy_and_force(C6, C12, QQ, r * r, soft)
        assert energy == pytest.approx(meant(r), rel=1e-9)
        assert force == pytest.approx(slope(meant, r), rel=1e-5)


def test_a_pair_without_a_core_does_not_act_while_cores_are_soft() -> None:
    assert pair_energy_and_force(0.0, C12, QQ, 0.04, 0.1) == (0.0, 0.0)
    assert pair_energy_and_force(C6, 0.0, QQ, 0.04, 0.1) == (0.0, 0.0)
    assert pair_energy_and_force(0.0, 0.0, QQ, 0.04, 0.0)[0] == pytest.approx(QQ / 0.2)


# --- a whole frame -----------------------------------------------------------------------------------


class Slow:
    """Energies of a frame by the topology alone, with arrays over all pairs and images.

    Parameters
    ----------
    made, x, box
        The system, and where its atoms are: pairs within the cut-off are those of this frame.
    cutoff, soft, form
        As of :class:`~dbm_gmx.sampling.packing.Cores`, and the electrostatics.
    """

    def __init__(
        self, made: System, x: np.ndarray, box: np.ndarray, *, cutoff: float, soft: float, form: LongRange
    ):
        self.soft, (_, self.k2, self.k4) = soft, form.beyond
        topology, n = made.topology, made.n_atoms
        table = topology.nonbonded
        assert table is not None
        types, charges = atom_types(topology), atom_charges(topology)
        self.c6, self.c12 = (m[types[:, None], types] for m in (table.c6, table.c12))
        self.qq = ELECTRIC * charges[:, None] * charges
        # pairs of a molecule with terms of their own, and those that are excluded
        self.own, special = own_pairs(made, table), np.eye(n, dtype=bool)
        pairs = np.stack(np.triu_indices(n, 1), axis=1)
        excluded = pairs[is_excluded(topology, pairs)]
        special[excluded[:, 0], excluded[:, 1]] = special[excluded[:, 1], excluded[:, 0]] = True
        for i, j, *_ in self.own:
            special[i, j] = special[j, i] = True
        listed = set(map(tuple, excluded.tolist()))
        self.usual = [(i, j) for i, j, *_ in self.own if (i, j) not in listed]
        grid = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        self.pairs = []
        for shift in grid:
            r = np.linalg.norm(x[None] + shift @ box - x[:, None], axis=-1)
            near = r < cutoff
            if not shift.any():
                near &= ~special
            i, j = np.nonzero(near)
            self.pairs.append((i, j, np.tile(shift @ box, (len(i), 1))))
        self.pairs = [tuple(np.concatenate(rows) for rows in zip(*self.pairs, strict=True))]

    def lennard_jones(self, r: np.ndarray, c6: np.ndarray, c12: np.ndarray) -> np.ndarray:
        """Pairs of no coefficients have no energy."""
        core = self.soft * np.divide(c12, c6, out=np.zeros_like(c12), where=c6 > 0)
        acts = ((c6 > 0) & (c12 > 0)) | (self.soft == 0.0)
        return np.where(acts, c12 / (r**6 + core) ** 2 - c6 / (r**6 + core), 0.0)

    def others(self, x: np.ndarray) -> float:
        """All pairs but the special ones within the cut-off, without a shift."""
        ((i, j, shift),) = self.pairs
        r = np.linalg.norm(x[j] + shift - x[i], axis=1)
        energy = self.lennard_jones(r, self.c6[i, j], self.c12[i, j])
        if self.soft == 0.0:
            energy = energy + self.qq[i, j] * (1 / r + self.k2 * r**2 + self.k4 * r**4)
        return float(0.5 * energy.sum())

    def special(self, x: np.ndarray) -> float:
        """1-4 pairs, with the usual interaction where they are not excluded; no cut-off, no field."""
        total = 0.0
        for i, j, c6, c12, qq in self.own:
            if (i, j) in self.usual:
                c6, c12, qq = c6 + self.c6[i, j], c12 + self.c12[i, j], qq + self.qq[i, j]
            r = np.linalg.norm(x[i] - x[j])
            total += float(self.lennard_jones(r, np.array(c6), np.array(c12)))
            total += qq / r if self.soft == 0.0 else 0.0
        return total


def own_pairs(made: System, table: NonBonded) -> list[tuple[int, int, float, float, float]]:
    """Atoms, c6, c12 and charges of the ``pairs`` of all molecules."""
    found = []
    for m in made.matches:
        for terms in m.moltype.terms:
            if terms.directive != "pairs":
                continue
            for copy in range(m.count):
                first = m.first_atom + copy * m.moltype.n_atoms
                for (i, j), (c6, c12) in zip(terms.atoms.tolist(), terms.parameters.tolist(), strict=True):
                    qq = ELECTRIC * table.fudge_qq * m.moltype.charges[i] * m.moltype.charges[j]
                    found.append((first + min(i, j), first + max(i, j), c6, c12, qq))
    return found


def inner(made: System, conditions: Conditions, x: np.ndarray, weak: float) -> float:
    """Energy of the terms, bonds soft, and the others weak."""
    hamiltonian, total = make_hamiltonian(made, conditions), 0.0
    for m in made.matches:
        soft = soften(hamiltonian.molecules[m.moltype.name].terms)
        share = np.where(soft.form == DISTANCE, 1.0, weak)
        for first in m.first_atoms.tolist():
            total += sum(share[t] * energy_of(soft, t, x, first) for t in range(len(share)))
    return total


def of_beads(made: System, conditions: Conditions, beads: np.ndarray, x: np.ndarray) -> float:
    """Energy of the bead restraints."""
    off = mapped_beads(made, x) - beads
    return 0.5 * GAS * conditions.temperature / conditions.width**2 * float((off**2).sum())


PACKED = Conditions(500.0, rvdw=0.7, rcoulomb=0.65, spread=0.03, constraints="all-bonds")


def packing_forces(conf: Configuration, cores: Cores, team: Team) -> np.ndarray:
    """(n, 3) kJ/mol nm^-1; offsets of ``conf`` change."""
    place, arrays = conf.place, conf.arrays.part(PackingArrays, soft=True)
    lists = _renewed(place, arrays, make_lists(arrays, 0), cores.cutoff + MARGIN, team)
    force = np.full(conf.positions.shape, 7.0)  # all of it is written anew
    _some_forces(place, arrays, (cores, lists), force, 0, 1)
    return force


def placed(seed: int) -> tuple[System, np.ndarray]:
    """A charged mixture, molecules whole but some far outside the box."""
    made, atoms = mixture(MIXED, seed=seed)
    atoms = atoms.copy()
    for m in made.matches:
        atoms[m.first_atom : m.first_atom + m.moltype.n_atoms] += [1, -1, 2] @ MIXED
    return made, atoms


@pytest.mark.parametrize(("soft", "weak"), [(0.0, 1.0), (0.1, 1.0), (0.0, 0.3)])
@pytest.mark.parametrize("seed", [1, 2])
def test_packing_forces_are_slopes_of_the_energy_of_the_frame(soft: float, weak: float, seed: int) -> None:
    made, atoms = placed(seed)
    beads = mapped_beads(made, atoms) + np.random.default_rng(seed).normal(scale=0.01, size=(made.n_beads, 3))
    conf = start(made, PACKED, atoms, MIXED, beads=beads).conf
    cutoff = 0.55
    slow = Slow(made, atoms, MIXED, cutoff=cutoff, soft=soft, form=zero_quadrupole(PACKED.rcoulomb))
    # in parts: what is far would be lost beside the bonds
    parts = slopes(slow.others, atoms, 1e-5), slopes(slow.special, atoms, 1e-5)
    bonds = slopes(lambda x: inner(made, PACKED, x, weak), atoms, 1e-6)
    bonds += slopes(lambda x: of_beads(made, PACKED, beads, x), atoms, 1e-6)
    conf.offsets[:] = 0.0
    found = packing_forces(conf, Cores(cutoff, soft, weak), Team())
    np.testing.assert_allclose(conf.offsets, mapped_beads(made, atoms) - beads, atol=1e-12)
    assert all(np.abs(part).max() > 1.0 for part in parts)
    agree(found, sum(parts) + bonds, 1e-6)


def test_packing_forces_see_images_of_an_atom_itself() -> None:
    """In a box narrower than the cut-off."""
    box = np.diag([2.5, 1.0, 0.5])
    made, atoms = mixture(box)
    conf = start(made, PACKED, atoms, box).conf
    slow = Slow(made, atoms, box, cutoff=0.55, soft=0.0, form=zero_quadrupole(PACKED.rcoulomb))
    ((i, j, _),) = slow.pairs
    assert (i == j).any()
    found = packing_forces(conf, Cores(0.55, 0.0, 1.0), Team())
    bonds = slopes(lambda x: inner(made, PACKED, x, 1.0), atoms, 1e-6)
    bonds += slopes(lambda x: of_beads(made, PACKED, conf.neighbours.beads, x), atoms, 1e-6)
    agree(found - bonds, slopes(slow.others, atoms, 1e-5) + slopes(slow.special, atoms, 1e-5), 3e-6)


# --- surroundings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [0.0, 0.1])
def test_forces_of_surroundings_are_slopes(soft: float) -> None:
    """Some atoms of a molecule move among all others of a charged mixture, and of the molecule itself."""
    made, atoms = placed(1)
    hamiltonian = make_hamiltonian(made, PACKED)
    moltype, free = made.matches[0].moltype, np.array([1, 3, 4, 5])
    arrays, size = make_arrays(hamiltonian), moltype.n_atoms
    inside = window(hamiltonian, moltype.name, free)
    slow = Slow(made, atoms, MIXED, cutoff=CUTOFF, soft=soft, form=reaction_field(CUTOFF, epsilon_rf=0.0))
    ((i, j, shift),) = slow.pairs
    # others act within the cut-off, where their charges end; those of the molecule beyond it, too
    seen = np.isin(i, free) & (j >= size)
    mine = [(a, b) for a in range(size) for b in range(a) if a in free or b in free]
    special = {(max(a, b), min(a, b)): (c6, c12, qq) for a, b, c6, c12, qq in slow.own if max(a, b) < size}
    pairs = np.stack(np.triu_indices(size, 1), axis=1)
    excluded = {(b, a) for a, b in pairs[is_excluded(made.topology, pairs)].tolist()}

    def energy(y: np.ndarray) -> float:
        x = np.concatenate([y, atoms[size:]])
        r = np.linalg.norm(x[j[seen]] + shift[seen] - x[i[seen]], axis=1)
        total = slow.lennard_jones(r, slow.c6[i, j][seen], slow.c12[i, j][seen]).sum()
        if soft == 0.0:
            field = 1 / r + (-15 + 10 * (r / CUTOFF) ** 2 - 3 * (r / CUTOFF) ** 4) / (8 * CUTOFF)
            total += (slow.qq[i, j][seen] * field).sum()
        for a, b in mine:
            c6, c12, qq = special.get((a, b), (0.0, 0.0, 0.0))
            if (a, b) not in excluded:
                c6, c12, qq = c6 + slow.c6[a, b], c12 + slow.c12[a, b], qq + slow.qq[a, b]
            r = np.linalg.norm(x[a] - x[b])
            total += slow.lennard_jones(r, np.array(c6), np.array(c12))
            total += qq / r if soft == 0.0 else 0.0
        return float(total)

    rows = np.unique(np.column_stack([j[seen], shift[seen]]), axis=0)
    around = np.column_stack([atoms[rows[:, 0].astype(int)] + rows[:, 1:], rows[:, 0]])
    molecule = atoms[:size].copy()
    surroundings = make_surroundings(arrays.part(ExchangeArrays), inside, np.arange(size), molecule, around)
    force = np.zeros((size, 3))
    space = make_space(surroundings)
    add_surroundings(surroundings, free, molecule, soft, space, force)
    found = surroundings_energy(surroundings, free, molecule, soft, space)
    assert found == pytest.approx(energy(molecule), rel=1e-5)
    agree(force[free], slopes(energy, molecule, 1e-5)[free], 3e-6)

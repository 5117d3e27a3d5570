"""Pairs on the way to a minimum: energies by hand, forces as their slopes."""

import numpy as np
import pytest
from exact import beads_of, molecule, system, window

from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import Conditions
from dbm_gmx.sampling.arrays import make_arrays
from dbm_gmx.sampling.conformer_exchange import ExchangeArrays
from dbm_gmx.sampling.surroundings import (
    CUTOFF,
    Surroundings,
    add_surroundings,
    make_space,
    make_surroundings,
    surroundings_energy,
)

SIGMA, EPSILON, CHARGE = 0.3, 0.8, 0.4
FREE = np.array([0, 4])
X = np.array([[0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.15, 0.15, 0.0], [0.30, 0.15, 0.05], [0.30, 0.30, 0.1]])


def around(charge: float) -> tuple[Surroundings, np.ndarray]:
    """A chain of five and two other atoms, one of them out of reach; its first and last atoms move."""
    sites = [("A", 12.0, charge)] * 5
    bonds = [("bonds", 1, (i, i + 1), (0.15, 1e5)) for i in range(4)]
    chain, atom = molecule("M", sites, bonds), molecule("N", [("A", 40.0, -charge)], [])
    parts = [(chain, beads_of(chain, [0] * 5), 1), (atom, beads_of(atom, [0]), 2)]
    hamiltonian = make_hamiltonian(system(parts, {"A": (SIGMA, EPSILON)}), Conditions(temperature=300.0))
    arrays = make_arrays(hamiltonian).part(ExchangeArrays)
    rows = np.array([[0.05, -0.31, 0.1, 5], [0.0, -1.2, 0.0, 6]])
    inside = window(hamiltonian, "M", FREE)
    return make_surroundings(arrays, inside, np.arange(5), X, rows), rows


def energy(surroundings: Surroundings, x: np.ndarray, soft: float) -> float:
    return float(surroundings_energy(surroundings, FREE, x, soft, make_space(surroundings)))


@pytest.mark.parametrize("charge", [0.0, CHARGE])
def test_energy_is_that_of_pairs_that_are_no_special_partners(charge: float) -> None:
    surroundings, rows = around(charge)
    expected = 0.0
    # of the chain only the ends are four bonds apart; three bonds and less are excluded
    for one, other, product in ((X[0], X[4], 1.0), (X[0], rows[0, :3], -1.0), (X[4], rows[0, :3], -1.0)):
        r = float(np.linalg.norm(one - other))
        expected += 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6) * (r < CUTOFF or product > 0)
        # without charge, dipole and quadrupole within the cut-off (Fukuda 2013)
        beyond = (-15 + 10 * (r / CUTOFF) ** 2 - 3 * (r / CUTOFF) ** 4) / (8 * CUTOFF)
        shifted = 1 / r if product > 0 else (1 / r + beyond) * (r < CUTOFF)
        expected += ELECTRIC * product * charge**2 * shifted
    assert energy(surroundings, X, 0.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("soft", [0.0, 0.2])
def test_forces_are_the_slopes_of_the_energy(soft: float) -> None:
    surroundings, _ = around(CHARGE)
    force = np.zeros_like(X)
    add_surroundings(surroundings, FREE, X, soft, make_space(surroundings), force)
    for atom in (0, 4):
        for d in range(3):
            step = np.zeros_like(X)
            step[atom, d] = 1e-3
            slope = (energy(surroundings, X + step, soft) - energy(surroundings, X - step, soft)) / 2e-3
            assert force[atom, d] == pytest.approx(-slope, rel=2e-3, abs=0.05)


def test_soft_cores_let_atoms_through() -> None:
    surroundings, rows = around(0.0)
    x = X.copy()
    x[0] = rows[0, :3] + 0.05
    assert energy(surroundings, x, 0.0) > 1e4 > 100 > energy(surroundings, x, 0.3)

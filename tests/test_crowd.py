"""Shapes are drawn with the probability of their energies, alone and among neighbours."""

import numpy as np
import pytest
from exact import beads_of, lattice, molecule, system

from dbm_gmx.crowd import BOUND, choose
from dbm_gmx.options import Conditions
from dbm_gmx.sweep import make_place
from dbm_gmx.tables import make_numbers, make_tables
from dbm_gmx.target import make_target

SIGMA, TRIES = 0.3, 4000


def populations(costs: list[float], distances: list[float], epsilon: float = 1.0) -> np.ndarray:
    """How often an atom is put at each distance (nm) from another; costs and epsilon in kT."""
    conditions = Conditions(temperature=300.0)
    atom = molecule("A", [("A", 40.0, 0.0)], [])
    kt = make_target(system([(atom, beads_of(atom, [0]), 2)], {"A": (SIGMA, 1.0)}), conditions).kt
    pair = system([(atom, beads_of(atom, [0]), 2)], {"A": (SIGMA, epsilon * kt)})
    target = make_target(pair, conditions)
    tables, numbers = make_tables(target), make_numbers(target)
    _, box = lattice(1, 4.0)
    # the neighbour is seen through the walls of the box
    beads = np.array([[0.1, 2.0, 2.0], [3.9, 2.0, 2.0]])
    shapes = np.stack([[d - 0.1, 2.0, 2.0] for d in distances])
    place = make_place(beads.copy(), np.zeros((2, 3)), beads, np.full(2, 0.6), box)
    counts = np.zeros(len(costs))
    for attempt in range(TRIES):
        one = np.zeros(1, np.int64)
        offered = shapes[None, :, None], kt * np.array([costs])
        choose(place, tables, numbers, one, one[None], one, *offered, (1, attempt, 0))
        counts[np.abs(place.positions[0] - shapes).max(axis=1).argmin()] += 1
    return counts / TRIES


def error(p: np.ndarray) -> float:
    return 4 * float(np.sqrt(p * (1 - p) / TRIES).max())


def test_alone_the_energy_of_a_shape_decides():
    expected = np.exp([0.0, -1.0, -2.0]) / np.exp([0.0, -1.0, -2.0]).sum()
    found = populations([0.0, 1.0, 2.0], [0.7, 0.8, 0.9])
    assert found == pytest.approx(expected, abs=error(expected))


def test_a_shape_that_was_found_before_is_never_chosen():
    assert populations([0.0, np.inf], [0.7, 0.8])[1] == 0


def test_a_good_contact_is_preferred():
    """At the minimum of the Lennard-Jones energy, -1 kT, against out of reach."""
    expected = np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum()
    found = populations([0.0, 0.0], [2 ** (1 / 6) * SIGMA, 0.8])
    assert found == pytest.approx(expected, abs=error(expected))


def test_an_overlap_costs_no_more_than_its_bound():
    expected = np.exp([-BOUND, 0.0]) / np.exp([-BOUND, 0.0]).sum()
    found = populations([0.0, 0.0], [0.1, 0.8])
    assert found == pytest.approx(expected, abs=error(expected))

"""The table of interaction types against the energies that are computed from it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from dbm_gmx.chemistry.interactions import INTERACTIONS, atoms_of, in_radians
from dbm_gmx.chemistry.topology import Terms
from dbm_gmx.forcefield.energy import FORMS, term_energies

COMPUTED = [key for key in FORMS if key[0] in INTERACTIONS and key[0] != "pairs"]
ANY_NUMBER = {("dihedrals", 3), ("dihedrals", 11), ("angles", 6), ("cmap", 1)}
TABLED = {("bonds", 8), ("bonds", 9), ("angles", 8), ("dihedrals", 8)}
SINES = {("dihedrals", 11)}


def test_all_functions_of_a_directive_have_the_same_number_of_atoms():
    for directive, functions in INTERACTIONS.items():
        assert {form.atoms for form in functions.values()} == {atoms_of(directive)}


@pytest.mark.parametrize("key", COMPUTED)
def test_energies_take_the_parameters_of_the_table(key):
    interaction = INTERACTIONS[key[0]][key[1]]
    measured = len(FORMS[key].measure(torch.rand(1, interaction.atoms, 3)))
    arguments = inspect.signature(FORMS[key].potential).parameters.values()
    if any(a.kind is a.VAR_POSITIONAL for a in arguments):  # a polynomial of any order
        assert key in ANY_NUMBER | TABLED
        return
    needed = [a for a in arguments if a.default is a.empty]
    assert len(needed) - measured == interaction.parameters


@pytest.mark.parametrize("key", [key for key in COMPUTED if key not in TABLED | SINES | {("cmap", 1)}])
def test_angles_of_the_table_are_those_that_an_energy_compares_in_degrees(key):
    """The energy is stationary by its first parameter where that is the angle of the atoms, if it is one."""
    interaction = INTERACTIONS[key[0]][key[1]]
    points = torch.from_numpy(np.random.default_rng(1).normal(size=(interaction.atoms, 3)))
    coordinate = FORMS[key].measure(points[None])[0]
    angle = torch.rad2deg(coordinate.acos() if key == ("angles", 2) else coordinate)
    parameters = np.random.default_rng(2).uniform(1, 3, (2, interaction.parameters))
    parameters[1] = parameters[0]
    times = parameters[0, 2] if key[1] in (1, 4, 9) and key[0] == "dihedrals" else 1.0
    if key == ("angles", 6):
        parameters[:, 2] = 0.0  # the slope at the angle itself
    parameters[:, 0] = float(angle) * times + np.array([-1e-4, 1e-4])
    rows = np.arange(interaction.atoms)[None]
    low, high = (float(term_energies(Terms(*key, rows, p[None]), points)) for p in parameters)
    assert (abs(high - low) / 2e-4 < 1e-6) == bool(interaction.angles)


def test_radians_are_of_the_angles_only():
    rows, parameters = np.zeros((2, 3), np.int64), np.array([[180.0, 2.0, 0.3, 4.0], [90.0, 1.0, 0.2, 3.0]])
    found = in_radians(Terms("angles", 5, rows, parameters))
    np.testing.assert_allclose(found, [[np.pi, 2.0, 0.3, 4.0], [np.pi / 2, 1.0, 0.2, 3.0]])
    assert parameters[0, 0] == 180.0
    lengths = in_radians(Terms("bonds", 1, rows[:, :2], parameters[:, :2]))
    np.testing.assert_array_equal(lengths, parameters[:, :2])

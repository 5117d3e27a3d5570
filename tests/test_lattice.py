"""Electrostatics of the periodic lattice, against constants of crystals, sums over images and GROMACS."""

from __future__ import annotations

import numpy as np
import pytest

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.forcefield.lattice import lattice_excess
from dbm_gmx.forcefield.nonbonded import LongRange, reaction_field, zero_quadrupole

FORMS = [zero_quadrupole(0.9), reaction_field(0.7, epsilon_rf=0.0), reaction_field(0.8, epsilon_rf=None)]


def by_form(charges: np.ndarray, frame: Frame, form: LongRange) -> float:
    """Energy of all pairs and images within the cut-off, and of charges with their own, kJ/mol."""
    c0, c2, c4 = form.beyond
    total = 0.5 * c0 * (charges**2).sum()
    cells = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3) @ frame.box
    x = frame.positions.astype(np.float64)
    for cell in cells:
        r = np.linalg.norm(x[None] + cell - x[:, None], axis=-1)
        near = (r < form.cutoff) & (r > 0)
        unit = np.where(near, 1 / np.where(near, r, 1) + c0 + c2 * r**2 + c4 * r**4, 0.0)
        total += 0.5 * charges @ unit @ charges
    return float(ELECTRIC / form.epsilon_r * total)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("crystal", "madelung"), [("NaCl", 1.747564595), ("CsCl", 1.762674773)])
def test_madelung_constants(crystal: str, madelung: float, form: LongRange) -> None:
    """By ions of unit charge; the box is a lattice of 3 x 3 x 3 or 4 x 4 x 4 cells, shifted off the mesh."""
    side = 0.56
    if crystal == "NaCl":
        places = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), -1).reshape(-1, 3) * side / 2
        charges, nearest, box = (-1.0) ** (places / side * 2).round().sum(1), side / 2, 3 * side
    else:
        cells = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * side
        places = np.concatenate([cells, cells + side / 2])
        charges, nearest, box = np.repeat([1.0, -1.0], len(cells)), side * np.sqrt(3) / 2, 4 * side
    frame = Frame((places + np.array([0.013, 0.027, 0.031])).astype(np.float32), np.eye(3) * box)
    found = by_form(charges, frame, form) - lattice_excess(charges, frame, form)
    assert found == pytest.approx(-ELECTRIC * madelung / nearest * len(charges) / 2, rel=2e-5)


def cloud(seed: int = 1) -> tuple[np.ndarray, Frame]:
    """Charges, none in all, anywhere in a skewed box and outside it."""
    rng = np.random.default_rng(seed)
    box = np.array([[2.1, 0, 0], [0.4, 1.9, 0], [-0.6, 0.7, 2.3]])
    charges = rng.normal(size=60)
    places = rng.uniform(-1, 2, size=(60, 3)) @ box
    return charges - charges.mean(), Frame(places.astype(np.float32), box)


def test_energy_does_not_depend_on_form_and_cutoff() -> None:
    """Of a skewed box narrower than two cut-offs, whole or moved."""
    charges, frame = cloud()
    moved = Frame((frame.positions + np.float32([0.3, 5.0, -0.2])).astype(np.float32), frame.box)
    forms = [*FORMS, zero_quadrupole(1.4)]
    found = [
        by_form(charges, f, form) - lattice_excess(charges, f, form) for form in forms for f in (frame, moved)
    ]
    assert np.ptp(found) < 1e-5 * ELECTRIC * (charges**2).sum() / 0.3


def test_permittivity_divides_and_a_net_charge_has_a_background() -> None:
    charges, frame = cloud()
    whole = lattice_excess(charges, frame, zero_quadrupole(0.9))
    assert lattice_excess(charges, frame, zero_quadrupole(0.9, epsilon_r=4.0)) == pytest.approx(whole / 4)
    # a charge on a cubic lattice: -2.837297 q^2 / 2 L
    one = Frame(np.full((1, 3), 0.1, np.float32), np.eye(3) * 2.0)
    form = zero_quadrupole(0.9)
    found = by_form(np.array([3.0]), one, form) - lattice_excess(np.array([3.0]), one, form)
    assert found == pytest.approx(-ELECTRIC * 9 * 2.837297 / (2 * 2.0), rel=1e-5)

"""What is defined twice, for tensors and compiled, is the same: each form over random configurations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import energy_of

from dbm_gmx.chemistry.topology import Terms
from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.forcefield import energy, nonbonded
from dbm_gmx.forcefield.terms import CANONICAL, PAIRS, canonical

COUNT = 200
ATOMS = {"bonds": 2, "angles": 3, "cmap": 5}
ANY_ANGLE, ANY_SIGN = (-180.0, 180.0), (-30.0, 30.0)
RANGES = {
    ("bonds", 1): ((0.1, 0.3), (1e2, 1e6)),
    ("bonds", 2): ((0.1, 0.3), (1e4, 1e7)),
    ("bonds", 3): ((0.1, 0.3), (1e2, 1e3), (1.0, 20.0)),
    ("bonds", 4): ((0.1, 0.3), (1e3, 1e5), (-5.0, 5.0)),
    ("bonds", 6): ((0.1, 0.5), (1e2, 1e4)),
    ("bonds", 7): ((0.2, 0.6), (1e2, 1e4)),
    ("bonds", 8): ((0.02, 0.05), (0.5, 2.0), *[(-30.0, 30.0)] * 12, *[(-200.0, 200.0)] * 12),
    ("bonds", 9): ((0.02, 0.05), (0.5, 2.0), *[(-30.0, 30.0)] * 12, *[(-200.0, 200.0)] * 12),
    ("bonds", 10): ((0.1, 0.2), (0.2, 0.25), (0.25, 0.4), (1e2, 1e4)),
    ("angles", 1): ((60.0, 180.0), (10.0, 1e3)),
    ("angles", 2): ((60.0, 180.0), (10.0, 1e3)),
    ("angles", 3): ((0.1, 0.3), (0.1, 0.3), (1e3, 1e5)),
    ("angles", 4): ((0.1, 0.3), (0.1, 0.3), (0.1, 0.3), (1e3, 1e5)),
    ("angles", 5): ((60.0, 180.0), (10.0, 1e3), (0.1, 0.3), (1e3, 1e5)),
    ("angles", 6): ((60.0, 180.0), *[(-100.0, 100.0)] * 5),
    ("angles", 8): ((np.pi / 9,) * 2, (0.5, 2.0), *[(-30.0, 30.0)] * 20),
    ("angles", 10): ((60.0, 180.0), (10.0, 1e3)),
    ("dihedrals", 1): (ANY_ANGLE, ANY_SIGN, (0, 7)),
    ("dihedrals", 2): (ANY_ANGLE, (10.0, 500.0)),
    ("dihedrals", 3): (ANY_SIGN,) * 6,
    ("dihedrals", 4): (ANY_ANGLE, ANY_SIGN, (0, 7)),
    ("dihedrals", 5): (ANY_SIGN,) * 5,
    ("dihedrals", 8): ((np.pi / 9,) * 2, (0.5, 2.0), *[(-30.0, 30.0)] * 38),
    ("dihedrals", 9): (ANY_ANGLE, ANY_SIGN, (0, 7)),
    ("dihedrals", 10): (ANY_ANGLE, (10.0, 500.0)),
    ("dihedrals", 11): ((10.0, 50.0), *[ANY_SIGN] * 5),
    ("dihedral_restraints", 1): (ANY_ANGLE, (5.0, 60.0), (10.0, 500.0)),
    ("angle_restraints", 1): (ANY_ANGLE, (10.0, 500.0), (0, 7)),
    ("cmap", 1): (ANY_SIGN,) * 144,
}
"""From where parameters of each form are drawn, in the units of a topology file; (0, 7): whole numbers."""


def random_terms(key: tuple[str, int], rng: np.random.Generator) -> Terms:
    """Terms of one form on random ones of nine atoms."""
    rows = np.array([rng.permutation(9)[: ATOMS.get(key[0], 4)] for _ in range(COUNT)])
    values = [
        rng.integers(*r, COUNT).astype(float) if r == (0, 7) else rng.uniform(*r, COUNT) for r in RANGES[key]
    ]
    return Terms(*key, rows, np.stack(values, axis=1))


def test_every_form_is_here() -> None:
    assert set(RANGES) == set(CANONICAL)
    assert set(energy.FORMS) == set(CANONICAL) | PAIRS | {("coulomb14", 1)}


@pytest.mark.parametrize("key", CANONICAL, ids=lambda key: f"{key[0]}{key[1]}")
def test_energies_of_terms(key: tuple[str, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        terms, x = random_terms(key, rng), rng.normal(size=(9, 3)) * 0.15
        written, found = canonical([terms]), np.zeros(COUNT)
        assert len(written.form) % COUNT == 0  # all first parts, then all second ones
        for t in range(len(written.form)):
            found[t % COUNT] += energy_of(written, t, x)
        expected = energy.term_energies(terms, torch.as_tensor(x)).numpy()
        assert expected.std() > 1.0
        # polynomials and cosines add up terms of either sign
        scale = np.maximum(np.abs(expected), np.abs(terms.parameters).max(axis=1))
        assert (np.abs(found - expected) < 1e-9 * scale).all()


def distances(rng: np.random.Generator) -> np.ndarray:
    """(COUNT,) nm, none below the closest."""
    found = rng.uniform(nonbonded.CLOSEST * 1.001, 1.5, COUNT)
    assert (found < 0.1).any()
    return found


def test_energies_of_lennard_jones() -> None:
    rng = np.random.default_rng(2)
    r, c6, c12 = distances(rng), rng.uniform(0, 5e-3, COUNT), rng.uniform(0, 5e-6, COUNT)
    found = [
        nonbonded.lennard_jones(nonbonded.inverse_sixth(nonbonded.clamped(x * x), 0.0), a, b)
        for x, a, b in zip(r, c6, c12, strict=True)
    ]
    expected = energy.lennard_jones(*map(torch.as_tensor, (r, c6, c12))).numpy()
    scale = c12 / r**12 + c6 / r**6
    assert (np.abs(found - expected) < 1e-9 * scale).all()
    np.testing.assert_allclose(expected, c12 / r**12 - c6 / r**6, atol=0, rtol=1e-6)


@pytest.mark.parametrize(
    "field",
    [
        nonbonded.reaction_field(1.2, epsilon_rf=None),
        nonbonded.reaction_field(1.2, epsilon_rf=5.0),
        nonbonded.zero_quadrupole(1.2),
    ],
)
def test_energies_of_charges(field: nonbonded.LongRange) -> None:
    rng = np.random.default_rng(3)
    r, qq = distances(rng), rng.uniform(-1, 1, COUNT)
    found, without = (
        np.array(
            [
                ELECTRIC * q * nonbonded.coulomb(acts / x, x * x, field.beyond)
                for x, q in zip(r, qq, strict=True)
            ]
        )
        for acts in (1.0, 0.0)
    )
    tensors = torch.as_tensor(r), torch.as_tensor(qq), field.beyond
    scale = ELECTRIC * np.abs(qq) / r
    assert (np.abs(found - energy.coulomb(*tensors).numpy()) < 1e-9 * scale).all()
    assert (np.abs(without - energy.field_energy(*tensors).numpy()) < 1e-9 * scale).all()


def test_pairs_that_are_too_close_have_the_energy_of_the_closest() -> None:
    """Bounds are kept in single precision by one of the two."""
    for r in (0.0, 0.01, nonbonded.CLOSEST):
        near = nonbonded.clamped(r * r)
        compiled = nonbonded.lennard_jones(nonbonded.inverse_sixth(near, 0.0), 2e-3, 3e-6)
        expected = 3e-6 / nonbonded.CLOSEST**12 - 2e-3 / nonbonded.CLOSEST**6
        one = torch.tensor([r], dtype=torch.float64)
        assert compiled == pytest.approx(expected, rel=1e-6)
        assert energy.lennard_jones(one, 2e-3, 3e-6).item() == pytest.approx(expected, rel=1e-6)
        charged = ELECTRIC * 0.1 / nonbonded.CLOSEST
        assert ELECTRIC * 0.1 * nonbonded.inverse_distance(near) == pytest.approx(charged, rel=1e-6)
        assert energy.coulomb(one, torch.tensor(0.1)).item() == pytest.approx(charged, rel=1e-6)

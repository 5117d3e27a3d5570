"""Energies compared term by term: means, errors, verdicts, and the parts of a frame that errors come from."""

from __future__ import annotations

from dataclasses import replace

import exact
import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System
from dbm_gmx.forcefield.block_energies import SIZE, atom_blocks, block_energies
from dbm_gmx.forcefield.constraints import fixed_bonds, free_topology
from dbm_gmx.forcefield.energy import bonded_energies, nonbonded_energies, own_field_energy
from dbm_gmx.forcefield.equilibrium import SLOW, TOTAL, compare_energies
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.options import Conditions

NAMES = ("Angle", "LJ (SR)")
FREE = Conditions(temperature=300.0, rvdw=0.6, rcoulomb=0.7, constraints="none")


def test_differences_by_hand() -> None:
    first, second = np.array([[8.0, 2.0], [12.0, 4.0], [10.0, 6.0]]), np.array([[5.0, 1.0], [7.0, 1.0]])
    found = compare_energies(first, second, NAMES, atoms=10, kt=2.0, paired=False)
    assert found.names == (*NAMES, SLOW, TOTAL)
    np.testing.assert_allclose(found.first, [0.5, 0.2, 0.2, 0.7])
    np.testing.assert_allclose(found.difference, [0.2, 0.15, 0.15, 0.35])
    # variances of the means: 4/3, 4/3 (twice: no angle is slow) and 4 of the total; 1, 0, 0 and 1
    np.testing.assert_allclose(found.error, np.sqrt([4 / 3 + 1, 4 / 3, 4 / 3, 4 + 1]) / 20)
    assert found.row(TOTAL) == (pytest.approx(0.35), pytest.approx(float(found.error[-1])))


def test_what_paired_samples_share_is_no_error() -> None:
    rng = np.random.default_rng(1)
    beads, own = rng.normal(0, 50, (40, 2)), rng.normal(0, 1, (2, 40, 2))
    one, other = beads + own[0] + [3.0, 0.0], beads + own[1]
    paired, loose = (compare_energies(one, other, NAMES, atoms=1, kt=1.0, paired=p) for p in (True, False))
    np.testing.assert_allclose(paired.difference, loose.difference)
    assert paired.error[0] == pytest.approx(np.sqrt(2 / 40), rel=0.3)
    assert loose.error[0] > 20 * paired.error[0]
    assert paired.beyond(0.02).tolist() == [True, False, False, True]
    assert not paired.beyond(4.0).any()  # larger than what matters it must be, too
    assert not loose.beyond(0.02).any()


@pytest.mark.parametrize(("size", "paired"), [(4, True), (4, False), (30, False)])
def test_chance_is_called_a_difference_as_often_as_two_errors_say(size: int, paired: bool) -> None:
    """Where few samples say what the error is, too: 4.6 % of comparisons of the same with the same."""
    rng = np.random.default_rng(2)
    tries, found = 3000, 0
    for _ in range(tries):
        one, other = rng.normal(0, 1, (2, size, 1))
        found += int(compare_energies(one, other, ("LJ",), atoms=1, kt=1.0, paired=paired).beyond(0.0)[0])
    # Welch's degrees of freedom are a little too few for samples as small
    assert 0.030 < found / tries < 0.057


def test_what_torsions_show_is_not_lost_in_the_scatter_of_angles() -> None:
    """A melt of nylon-6, .05 kT per atom too high in torsions and pairs."""
    rng = np.random.default_rng(5)
    angles, torsions, pairs = rng.normal(0, [[0.3], [0.05], [0.05]], (3, 60))
    one = np.stack([angles, torsions + 0.04, pairs + 0.01], axis=1)
    names = ("U-B", "Ryckaert-Bell.", "LJ (SR)")
    found = compare_energies(one, np.zeros((60, 3)), names, atoms=1000, kt=0.001, paired=True)
    assert found.sums_beyond(0.03) == (SLOW,)
    assert found.reach()[-2] < 0.3 * found.reach()[-1]
    less = compare_energies(one, one * 0 + [0.0, 0.03, 0.0], names, atoms=1000, kt=0.001, paired=True)
    assert less.sums_beyond(0.03) == ()


def test_degrees_of_freedom_are_those_of_welch() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(0, 1, (5, 1)), rng.normal(0, 3, (9, 1))
    found = compare_energies(one, other, ("LJ",), atoms=1, kt=1.0, paired=False)
    assert found.degrees == pytest.approx(ttest_ind(one[:, 0], other[:, 0], equal_var=False).df)


def test_many_looks_need_more() -> None:
    rng = np.random.default_rng(4)
    one = rng.normal(0, 1, (50, 2))
    found = compare_energies(one, np.zeros((50, 2)), NAMES, atoms=1, kt=1.0, paired=True)
    assert (found.reach(10) > 1.3 * found.reach()).all()


def test_a_single_sample_says_no_error_and_no_verdict() -> None:
    one = np.array([[10.0, 2.0]])
    for other in (np.zeros((1, 2)), np.zeros((5, 2))):
        found = compare_energies(one, other, NAMES, atoms=1, kt=1.0, paired=len(other) == 1)
        assert np.isnan(found.error).all()
        assert not found.beyond(0.02).any()
    with pytest.raises(ValueError, match="compared"):
        compare_energies(one, np.zeros((2, 2)), NAMES, atoms=1, kt=1.0, paired=True)


# --- parts of a frame --------------------------------------------------------------------------------


def mixed() -> tuple[System, Frame]:
    made, atoms = exact.mixture(exact.MIXED)
    return made, Frame(atoms.astype(np.float32), exact.MIXED)


@pytest.mark.parametrize("constraints", ["none", "all-bonds"])
def test_blocks_add_up_to_the_energies_of_the_frame(constraints: str) -> None:
    made, frame = mixed()
    conditions = replace(FREE, rvdw=0.6, rcoulomb=0.6, constraints=constraints)
    found = block_energies(made, frame, conditions)
    atoms = torch.from_numpy(frame.positions.astype(np.float64))
    wanted = {k: float(v) for k, v in bonded_energies(made.topology, atoms).items()}
    if constraints == "all-bonds":
        del wanted["Bond"]  # all that is fixed is rounding
    field = long_range(conditions)
    wanted |= {k: float(v) for k, v in nonbonded_energies(made.topology, frame, field).items()}
    wanted["Coulomb (SR)"] -= float(own_field_energy(made.topology, field))
    assert set(found.names) == set(wanted)
    for name, values in zip(found.names, found.values.T, strict=True):
        assert values.sum() == pytest.approx(wanted[name], rel=1e-6)


def test_a_pair_belongs_to_one_block() -> None:
    """Halves of it in two blocks would make blocks that depend on each other."""
    ion = exact.molecule("ION", [("A", 23.0, 0.4)], [])
    made = exact.system([(ion, exact.beads_of(ion, [0]), 2 * SIZE)], exact.CHARGED)
    positions, box = exact.lattice(2 * SIZE, 2.0)
    positions[SIZE] = positions[0] + [0.35, 0.0, 0.0]
    found = block_energies(made, Frame(positions.astype(np.float32), box), FREE)
    assert found.values.shape[0] == 2
    assert (np.abs(found.values) > 1e-3).sum(axis=0).tolist() == [1, 1]


def test_all_pairs_of_two_polar_molecules_belong_to_one_block() -> None:
    """Shared out, the energies of water scatter by ten times as much as they differ."""
    atoms, bonds = [("A", 16.0, 0.8), ("A", 16.0, -0.8)], [("bonds", 1, (0, 1), (0.1, 1e4))]
    duo = exact.molecule("DUO", atoms, bonds)
    made = exact.system([(duo, exact.beads_of(duo, [0, 0]), SIZE)], exact.CHARGED)
    positions, box = exact.lattice(SIZE, 2.0)
    both = positions[:, None] + [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]
    apart = block_energies(made, Frame(both.reshape(-1, 3).astype(np.float32), box), FREE)
    both[SIZE // 2] = both[0] + [0.0, 0.35, 0.1]
    near = block_energies(made, Frame(both.reshape(-1, 3).astype(np.float32), box), FREE)
    assert near.values.shape[0] == 2
    changed = np.abs(near.values - apart.values)[:, near.names.index("Coulomb (SR)")]
    assert sorted(changed > 1e-3) == [False, True]


def test_blocks_are_of_about_one_size() -> None:
    small = exact.molecule("DUO", [("O", 16.0, 0.0), ("H", 2.0, 0.0)], [("bonds", 1, (0, 1), (0.1, 1e4))])
    n = 5 * SIZE
    long = exact.molecule(
        "LNG",
        [("C", 12.0, 0.0)] * n,
        [("bonds", 1, (i, i + 1), (0.15, 1e4)) for i in range(n - 1)],
    )
    parts = [
        (long, exact.beads_of(long, [i // 3 for i in range(n)]), 2),
        (small, exact.beads_of(small, [0, 0]), 60),
    ]
    block = atom_blocks(exact.system(parts, exact.CHARGED))
    assert np.bincount(block).tolist() == [SIZE] * 12
    assert block[: 2 * n].tolist() == np.repeat(np.arange(10), SIZE).tolist()


def test_only_bonds_that_are_fixed_are_left_out() -> None:
    made, _ = mixed()
    fork = made.topology.molecule_types["FRK"]
    for constraints, left in (("none", 5), ("h-bonds", 4), ("all-bonds", 0)):
        free = free_topology(made.topology, constraints).molecule_types["FRK"]
        bonds = [t for t in free.terms if t.directive == "bonds"]
        assert sum(len(t.atoms) for t in bonds) == left
        assert len(fork.bonds) - len(fixed_bonds(fork, constraints)[0]) == left
        assert len(free.terms) - len(bonds) == len(fork.terms) - 1


def test_two_samples_that_agree_by_chance_show_nothing() -> None:
    """Two halves of a chain of 162 atoms, both .05 kT per atom higher: that is how much so few scatter."""
    values = np.array([[0.049], [0.051]]) * 81.0
    found = compare_energies(values, 0.0 * values, ("Ryckaert-Bell.",), atoms=81, kt=1.0, paired=True)
    assert found.sums_beyond(0.03) == ()
    # the same of so many atoms is no chance
    found = compare_energies(100 * values, 0 * values, ("Ryckaert-Bell.",), atoms=8100, kt=1.0, paired=True)
    assert SLOW in found.sums_beyond(0.03)

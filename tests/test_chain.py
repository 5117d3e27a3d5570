"""The chain of one frame: what it adds up, what it does not depend on, and when it has settled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cut import cut
from exact import (
    CHARGED,
    CONTACT,
    MIXED,
    beads_of,
    fork,
    lattice,
    mixture,
    molecule,
    moves_of,
    only,
    potential,
    pull,
    start,
    sweeps,
    system,
)
from systems import Example

from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.files.share import share_path
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.hamiltonian import BOND_SPREAD
from dbm_gmx.options import Conditions
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.chain import Chain, convergence, is_stationary
from dbm_gmx.sampling.energy import full_energy, total_energy
from dbm_gmx.sampling.moves import GIBBS_TORSION, PIVOT, RIGID_ROTATION, TORSION_STEP, TRANSLATION
from dbm_gmx.sampling.sweep import LEAST


def check_books(chain: Chain, made: System, conditions: Conditions, box: np.ndarray) -> None:
    """What the chain has added up is what its positions give."""
    conf = chain.conf
    positions, beads = conf.positions, conf.neighbours.beads
    np.testing.assert_allclose(conf.offsets, mapped_beads(made, positions) - beads, atol=1e-10)
    energy = full_energy(conf).sum()
    energy += pull(made, conditions, positions, beads)
    assert total_energy(conf) == pytest.approx(energy, rel=1e-12)
    scale = np.abs(np.diff(chain.energies)).sum() + abs(energy)
    assert abs(chain.energy - energy) < 2e-6 * scale + 1e-9
    # springs of bonds of fixed length are left out of what is looked at
    springs = 0.0
    for match in made.matches:
        bonds, length = fixed_bonds(match.moltype, conditions.constraints)
        x = match.molecules(positions)
        stretch = np.linalg.norm(x[:, bonds[:, 0]] - x[:, bonds[:, 1]], axis=2) - length
        springs += 0.5 * conf.arrays.constants.kt * ((stretch / BOND_SPREAD) ** 2).sum()
    assert chain.energies[-1] == pytest.approx(chain.energy - springs, abs=1e-6)
    other = potential(made, conditions, positions, box).sum() + pull(made, conditions, positions, beads)
    assert energy == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("constraints", ["none", "all-bonds"])
def test_energy_is_tracked_in_octane(octane: Example, constraints: str) -> None:
    conditions = Conditions(350.0, rvdw=0.9, rcoulomb=0.9, constraints=constraints)
    chain = start(octane.system, conditions, octane.atoms.astype(np.float64), octane.box)
    sweeps(chain, 10)
    check_books(chain, octane.system, conditions, octane.box)
    moved = np.linalg.norm(chain.conf.positions - octane.atoms, axis=1)
    assert (moved > 0).all()


def test_energy_is_tracked_in_polystyrene(tmp_path: Path) -> None:
    # of a longer molecule a cluster of blocks moves a part, and some partners of it stand still
    made = cut(share_path("reference", "sps"), tmp_path / "sps", "SPS", 2)
    atoms, conditions = made.atoms[0], Conditions(568.0, rvdw=0.9, rcoulomb=0.9, constraints="none")
    chain = start(made.system, conditions, atoms.positions.astype(np.float64), atoms.box)
    clusters, listed = chain.conf.arrays.clusters, ~chain.conf.arrays.clusters.mobile
    assert len(clusters.mobile) > listed.sum() > 0
    sweeps(chain, 10)
    check_books(chain, made.system, conditions, atoms.box)


@pytest.mark.parametrize("move_type", [None, GIBBS_TORSION, RIGID_ROTATION, TORSION_STEP, PIVOT, TRANSLATION])
def test_energy_is_tracked_in_a_mixture(move_type: int | None) -> None:
    # each kind of move alone, so that one does not hide behind another
    conditions = Conditions(500.0, rvdw=0.6, rcoulomb=0.55, spread=0.03)
    for seed in range(3):
        made, atoms = mixture(MIXED, seed=seed)
        chain = start(made, conditions, atoms, MIXED)
        if move_type is not None:
            only(chain, moves_of(chain, move_type))
        sweeps(chain, 40)
        assert (chain.conf.positions != atoms).any()
        check_books(chain, made, conditions, MIXED)


def test_beads_may_be_wrapped_and_the_origin_anywhere() -> None:
    conditions = Conditions(500.0, rvdw=0.6, rcoulomb=0.6, spread=0.03)
    made, atoms = mixture(MIXED)
    rng = np.random.default_rng(4)
    moved = atoms.copy()
    for m in made.matches:
        for k in range(m.count):
            moved[m.first_atom + k * m.moltype.n_atoms :][: m.moltype.n_atoms] += (
                rng.integers(-2, 3, 3) @ MIXED
            )
    moved += [0.5, -0.3, 0.8]
    chains = [start(made, conditions, x, MIXED) for x in (atoms, moved)]
    assert chains[1].energies[0] == pytest.approx(chains[0].energies[0], rel=1e-6)
    for chain in chains:
        only(chain, moves_of(chain, PIVOT))
        sweeps(chain, 1)
        check_books(chain, made, conditions, MIXED)


@pytest.mark.parametrize("system_of", ["octane", "mixture", "far apart"])
def test_threads_do_not_matter(octane: Example, system_of: str) -> None:
    found = []
    for team in (Team(), Team(2)):
        if system_of == "octane":
            made, atoms, box = octane.system, octane.atoms.astype(np.float64), octane.box
        elif system_of == "mixture":
            (made, atoms), box = mixture(MIXED * 1.5), MIXED * 1.5
        else:  # all of one colour
            points, box = lattice(27, 2.5)
            moltype, one = fork(), mixture(MIXED)[1][:6]
            made = system([(moltype, beads_of(moltype, [0, 0, 1, 2, 0, 2]), 27)], CHARGED)
            atoms = (points[:, None] + one).reshape(-1, 3)
        chain = start(made, Conditions(350.0, rvdw=0.6, rcoulomb=0.6), atoms, box)
        # some are of one colour, and enough for two threads
        assert np.diff(chain.colours.start).max() >= 2 * LEAST
        sweeps(chain, 4, copy=5, team=team)
        found.append((chain.conf.positions, chain.conf.offsets, chain.energies))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_parts_of_a_molecule_in_one_bead_spin_about_themselves() -> None:
    """Two diatomics that one bead holds: each turns to any direction, wherever the box has its origin."""
    moltype = molecule(
        "TWO",
        [("A", 10.0, 0.0), ("B", 6.0, 0.0), ("A", 9.0, 0.0), ("B", 5.0, 0.0)],
        [("constraints", 1, (0, 1), (0.12,)), ("constraints", 1, (2, 3), (0.12,))],
        exclusions=[(i, j) for i in range(4) for j in range(i)],
    )
    conditions = Conditions(spread=0.05, rvdw=0.3, rcoulomb=0.3)
    made = system([(moltype, beads_of(moltype, [0, 0, 0, 0]), 27)], CONTACT)
    one = np.array([[0, 0, 0], [0.12, 0, 0], [0, 0.2, 0], [0.12, 0.2, 0]])
    points, box = lattice(27, 2.0)
    accepted = []
    for origin in (0.0, 30.0):
        atoms = (points[:, None] + one).reshape(-1, 3) + origin
        chain = start(made, conditions, atoms, box)
        moves = moves_of(chain, RIGID_ROTATION)
        only(chain, moves)
        sweeps(chain, 20)
        check_books(chain, made, conditions, box)
        x = chain.conf.positions.reshape(-1, 2, 2, 3)
        masses = np.array([[10.0, 6.0], [9.0, 5.0]])[..., None]
        centres = (x * masses).sum(2) / masses.sum(1)
        before = (atoms.reshape(-1, 2, 2, 3) * masses).sum(2) / masses.sum(1)
        np.testing.assert_allclose(centres, before, atol=1e-9)
        accepted.append(convergence(chain).acceptance["rigid rotation"])
    assert accepted[0] > 0.8
    assert accepted[1] == pytest.approx(accepted[0], abs=0.1)  # a thousand tries each; six standard errors


def test_a_drift_is_seen_beyond_noise_and_beyond_what_matters() -> None:
    noise = np.random.default_rng(1).normal(size=200)
    rising = noise + 0.1 * np.arange(200)
    assert is_stationary(noise)
    assert not is_stationary(rising)
    between = 0.1 * 50  # the halves of the second half
    assert is_stationary(rising, 1.1 * between)
    assert not is_stationary(rising, 0.9 * between)

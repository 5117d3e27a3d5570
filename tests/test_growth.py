"""Molecules grown on beads find the conformers that the beads allow."""

from dataclasses import dataclass

import numpy as np
import pytest
from systems import Example

from dbm_gmx.chemistry.system import mapped_beads
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import Conditions
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.annealing import Schedule, Task, anneal
from dbm_gmx.sampling.conformers import ConformerPools
from dbm_gmx.sampling.growth import (
    CONFORMERS,
    Candidates,
    Grower,
    Molecules,
    find_candidates,
    grow,
    make_grower,
)
from dbm_gmx.sampling.random_numbers import frame_stream

MOLECULES = 40


STREAM = frame_stream(1, 0, 0)


@dataclass
class Liquid:
    """Octane on beads that equilibrated molecules gave them, and what these cost at their minima (kT)."""

    grower: Grower
    molecules: Molecules
    cost: np.ndarray

    def candidates(self, count: int) -> Candidates:
        """What the one window of each molecule is offered besides what it was grown to."""
        start = grow(self.grower, self.molecules, STREAM).positions
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dbm_gmx.sampling.growth.OFFERED", (count, count))
            return find_candidates(self.grower, 1, self.molecules, start, STREAM)


@pytest.fixture(scope="module")
def liquid(octane: Example) -> Liquid:
    match = octane.system.matches[0]
    hamiltonian = make_hamiltonian(octane.system, Conditions(temperature=350.0))
    kt, molecule = hamiltonian.kt, hamiltonian.molecules[match.moltype.name]
    grower = make_grower(hamiltonian, molecule, ConformerPools(kt, CONFORMERS, 1), Team())
    beads = mapped_beads(octane.system, octane.atoms).reshape(match.count, -1, 3)[:MOLECULES]
    molecules = Molecules(beads.astype(np.float64), np.zeros((MOLECULES, 0), np.int8), np.arange(MOLECULES))
    atoms = octane.atoms.astype(float).reshape(match.count, -1, 3)[:MOLECULES]
    down = Task(0, Schedule(0, 500, 1.0, 0.06, 0.1), STREAM.key)
    cost = anneal(grower.arrays, down, molecules.at(atoms), grower.team)
    return Liquid(grower, molecules, cost / kt)


def test_grown_molecules_are_on_their_beads_in_one_piece(liquid: Liquid) -> None:
    found = grow(liquid.grower, liquid.molecules, STREAM)
    molecule = liquid.grower.molecule
    centres = np.einsum("ba,cad->cbd", molecule.weights.toarray(), found.positions)
    assert np.sqrt(((centres - liquid.molecules.beads) ** 2).sum(-1).mean()) < 0.02
    i, j = molecule.fixed.T
    lengths = np.linalg.norm(found.positions[:, i] - found.positions[:, j], axis=-1)
    assert np.abs(lengths - molecule.length).max() < 0.03


def test_conformers_as_low_as_those_of_equilibrium_are_among_the_offered(liquid: Liquid) -> None:
    energy = liquid.candidates(24).energy
    excess = energy / liquid.grower.hamiltonian.kt - liquid.cost[:, None]
    assert (excess.min(axis=1) < 2).mean() > 0.8
    # where one trial alone often ends higher
    assert (excess[:, 0] < 2).mean() < 0.6


def test_what_was_found_before_is_not_offered_again(liquid: Liquid) -> None:
    found = liquid.candidates(12)
    inner = np.isin(found.free, liquid.grower.skeleton)
    for molecule, energies in zip(found.conformers[:, :, inner], found.energy, strict=True):
        offered = molecule[np.isfinite(energies)]
        apart = np.linalg.norm(offered[:, None] - offered[None], axis=-1).max(axis=-1)
        assert (apart[~np.eye(len(offered), dtype=bool)] >= 0.05).all()
    assert np.isinf(found.energy).any()
    assert np.isfinite(found.energy[:, 0]).all()

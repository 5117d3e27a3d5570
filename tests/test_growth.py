"""Molecules folded onto beads find the shapes that the beads allow."""

from dataclasses import dataclass

import numpy as np
import pytest
from systems import Example

from dbm_gmx.chemistry.system import mapped_beads
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import Conditions
from dbm_gmx.sampling.annealing import Schedule, anneal
from dbm_gmx.sampling.growth import Folder, fold, make_folder, offer

MOLECULES = 40


@dataclass
class Liquid:
    """Octane on beads that equilibrated molecules gave them, and what these cost at their minima (kT)."""

    folder: Folder
    beads: np.ndarray
    chirality: np.ndarray
    cost: np.ndarray


@pytest.fixture(scope="module")
def liquid(octane: Example) -> Liquid:
    match = octane.system.matches[0]
    target = make_hamiltonian(octane.system, Conditions(temperature=350.0))
    folder = make_folder(target, target.molecules[match.moltype.name])
    beads = mapped_beads(octane.system, octane.atoms).reshape(match.count, -1, 3)[:MOLECULES]
    chirality = np.zeros((MOLECULES, 0), np.int8)
    atoms = octane.atoms.astype(float).reshape(match.count, -1, 3)[:MOLECULES]
    down, number = Schedule(0, 500, 1.0, 0.06, 0.1), np.arange(MOLECULES)
    cost = anneal(folder.script, 0, down, target.kt, beads, chirality, atoms, number, (1, 1, 1))
    return Liquid(folder, beads, chirality, cost / target.kt)


def names(sample: int) -> dict[str, int]:
    return {"seed": 1, "frame": 0, "sample": sample}


def test_folded_molecules_are_on_their_beads_in_one_piece(liquid: Liquid) -> None:
    found = fold(liquid.folder, liquid.beads, liquid.chirality, **names(0))
    molecule = liquid.folder.molecule
    centres = np.einsum("ba,cad->cbd", molecule.weights.toarray(), found.positions)
    assert np.sqrt(((centres - liquid.beads) ** 2).sum(-1).mean()) < 0.02
    i, j = molecule.fixed.T
    lengths = np.linalg.norm(found.positions[:, i] - found.positions[:, j], axis=-1)
    assert np.abs(lengths - molecule.length).max() < 0.03


def test_shapes_as_low_as_those_of_equilibrium_are_among_the_offered(liquid: Liquid) -> None:
    start = fold(liquid.folder, liquid.beads, liquid.chirality, **names(0)).positions
    cost = offer(liquid.folder, 1, liquid.beads, liquid.chirality, start, **names(0), count=24).cost
    excess = cost / liquid.folder.target.kt - liquid.cost[:, None]
    assert (excess.min(axis=1) < 2).mean() > 0.8
    # where one trial alone often ends higher
    assert (excess[:, 0] < 2).mean() < 0.6


def test_what_was_found_before_is_not_offered_again(liquid: Liquid) -> None:
    start = fold(liquid.folder, liquid.beads, liquid.chirality, **names(0)).positions
    found = offer(liquid.folder, 1, liquid.beads, liquid.chirality, start, **names(0), count=12)
    inner = np.isin(found.free, liquid.folder.skeleton)
    for molecule, energies in zip(found.shapes[:, :, inner], found.cost, strict=True):
        offered = molecule[np.isfinite(energies)]
        apart = np.linalg.norm(offered[:, None] - offered[None], axis=-1).max(axis=-1)
        assert (apart[~np.eye(len(offered), dtype=bool)] >= 0.05).all()
    assert np.isinf(found.cost).any()
    assert np.isfinite(found.cost[:, 0]).all()

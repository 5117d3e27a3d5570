"""Energies of single beads against the energies of whole systems."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
import torch
from oracle import example, untrained

from dbm_gmx.chemistry.stereo import chirality_of, infer_chirality, stereocentres, triple_products
from dbm_gmx.chemistry.system import System, mapped_beads, whole_atoms
from dbm_gmx.chemistry.topology import excluded_pairs
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.energy import bonded_energies, lennard_jones
from dbm_gmx.network.arrays import NetworkArrays, make_network_arrays
from dbm_gmx.network.environment import Scene, make_scene
from dbm_gmx.network.guide_steps import ALL_KNOWN
from dbm_gmx.network.scoring import WRONG, Scorer, make_scorer
from dbm_gmx.network.voxels import Grid
from dbm_gmx.options import MoleculeFiles


def test_a_bead_has_the_energy_of_its_terms_and_neighbours() -> None:
    """Moving one hydrogen changes the energy of its bead by as much as the system's energy changes."""
    folder = example()
    system, _ = read_system(folder / "cg.tpr", MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"]))
    frame = next(islice(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms), 1))
    atoms = whole_atoms(system, frame).astype(np.float32)
    # the cut-off counts from the bead: wide enough, and a lonely molecule, so that both have the same pairs
    grid = Grid(cutoff=2.0)
    arrays, _ = make_network_arrays(system, untrained(system).channels)
    far = np.repeat(np.arange(80), 26)[:, None] * np.array([5.0, 0, 0])
    atoms = (atoms + far).astype(np.float32)
    box = np.eye(3) * 500
    scene = make_scene(arrays, [mapped_beads(system, atoms)], [box], grid=grid, replicas=2)
    scene.positions[:] = torch.from_numpy(atoms)
    hydrogen = int(arrays.hydrogen.nonzero()[20])
    scene.positions[1, hydrogen] += torch.tensor([0.01, -0.02, 0.015])
    bead = arrays.owner[hydrogen][None]
    placed = ((arrays.owner == bead) & arrays.hydrogen).nonzero()[:, 0]
    scorer = make_scorer(system, arrays, grid=grid, batch=100)
    scores = [scorer.energies(scene, bead, placed, ALL_KNOWN, copy).sum() for copy in range(2)]

    def energy(positions: torch.Tensor) -> float:
        bonded = bonded_energies(system.topology, positions.double())
        total = sum(float(e) for name, e in bonded.items() if name != "Coulomb-14")
        first = hydrogen // 26 * 26
        moltype = system.matches[0].moltype
        excluded = {tuple(p) for p in excluded_pairs(moltype).tolist()}
        types = {name: k for k, name in enumerate(system.topology.nonbonded.types)}
        row = [types[str(t)] for t in moltype.attribute("type")]
        for i in range(26):
            for j in range(i + 1, 26):
                if (i, j) not in excluded:
                    r = (positions[first + i] - positions[first + j]).norm().double()
                    c6, c12 = (
                        m[row[i], row[j]]
                        for m in (system.topology.nonbonded.c6, system.topology.nonbonded.c12)
                    )
                    total += float(lennard_jones(r, c6, c12))
        return total

    def coulomb14(positions: torch.Tensor) -> float:
        return float(bonded_energies(system.topology, positions.double())["Coulomb-14"])

    wanted = energy(scene.positions[1]) - energy(scene.positions[0])
    wanted += coulomb14(scene.positions[1]) - coulomb14(scene.positions[0])
    assert abs(wanted) > 5
    np.testing.assert_allclose(float(scores[1] - scores[0]), wanted, rtol=2e-3)


@dataclass(frozen=True)
class Mirrored:
    """Chains of polystyrene, the second of them the mirror image of what it should be."""

    system: System
    arrays: NetworkArrays
    scene: Scene
    scorer: Scorer
    centres: torch.Tensor

    @property
    def chirality(self) -> np.ndarray:
        """(chains, centres), 1 where the chirality is the right one and -1 where it is the other."""
        chains = self.system.matches[0].molecules(self.scene.positions[0].numpy())
        return chirality_of(chains, self.centres.numpy()) * self.right

    @property
    def right(self) -> np.ndarray:
        return self.scorer.signs.reshape(-1, len(self.centres)).numpy()


@pytest.fixture
def mirrored() -> Mirrored:
    folder = share_path("reference", "sps")
    system, _ = read_system(folder / "cg.tpr", MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"]))
    frame = next(iter(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms)))
    atoms = whole_atoms(system, frame).astype(np.float32)
    chirality = infer_chirality(system, atoms, {})
    moltype, n = system.matches[0].moltype, system.matches[0].moltype.n_atoms
    atoms[n : 2 * n, 0] *= -1
    arrays, _ = make_network_arrays(system, untrained(system).channels)
    scene = make_scene(arrays, [mapped_beads(system, atoms)], [frame.box], grid=Grid())
    scene.positions[0] = torch.from_numpy(atoms)
    scorer = make_scorer(system, arrays, grid=Grid(), batch=1024, chirality=chirality)
    return Mirrored(system, arrays, scene, scorer, torch.tensor(stereocentres(moltype)))


def test_beads_of_wrong_stereocentres_are_out_of_line(mirrored: Mirrored) -> None:
    """The mirror image of a chain is wrong at every centre, in every bead that has an atom of it."""
    arrays, centres = mirrored.arrays, mirrored.centres
    moltype, n = mirrored.system.matches[0].moltype, mirrored.system.matches[0].moltype.n_atoms
    assert len(centres) == 9
    expected = torch.bincount(arrays.owner[n + centres.flatten()], minlength=arrays.n_beads) * WRONG
    for hydrogen in (False, True):
        placed = (arrays.hydrogen == hydrogen).nonzero()[:, 0]
        beads = torch.arange(arrays.n_beads)
        found = mirrored.scorer.energies(mirrored.scene, beads, placed, ALL_KNOWN, 0)[:, 2]
        torch.testing.assert_close(found, expected.float())
    atoms = mirrored.scene.positions[0].numpy()
    points = atoms[centres].astype(np.float64)
    heavy = np.array([[moltype.elements[i] != "H" for i in row] for row in centres[:, 1:].tolist()])
    assert (heavy.sum(1) == 3).all()
    signs = chirality_of(atoms[None, :n], centres.numpy())[0]
    for known in (heavy, np.ones_like(heavy)):  # three arms say what four do
        assert np.array_equal(np.sign(triple_products(points, known)), signs)
    assert np.isnan(triple_products(points, heavy & (np.arange(4) > 1))).all()


def test_wrong_stereocentres_are_inverted(mirrored: Mirrored) -> None:
    """Only those that are wrong, with their hydrogens; bonds to the three others keep their lengths."""
    scene, centres = mirrored.scene, mirrored.centres
    n = mirrored.system.matches[0].moltype.n_atoms
    before = scene.positions[0].clone()
    assert (mirrored.chirality[1] == -1).all()
    mirrored.scorer.invert_wrong(
        scene, int(mirrored.arrays.growth_rank.min()) + 1
    )  # neighbours are not yet there
    torch.testing.assert_close(scene.positions[0], before)
    mirrored.scorer.invert_wrong(scene, ALL_KNOWN)
    after = scene.positions[0]
    assert (mirrored.chirality == 1).all()
    rows = n + centres
    hydrogens = rows[mirrored.arrays.hydrogen[rows]]
    moved = ((after - before).norm(dim=1) > 1e-6).nonzero()[:, 0]
    assert set(moved.tolist()) == set(rows[:, 0].tolist()) | set(hydrogens.tolist())
    for neighbours in rows[:, 1:].T:
        length = [(x[rows[:, 0]] - x[neighbours]).norm(dim=1) for x in (before, after)]
        torch.testing.assert_close(*length, atol=1e-6, rtol=0)

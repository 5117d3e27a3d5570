"""Bonds of fixed length: the atoms placed keep them, and move no further than needed."""

from __future__ import annotations

import numpy as np
import pytest
import systems
import torch
from systems import Example

from dbm_gmx.chemistry.system import whole_atoms
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.network.bond_lengths import constrain, find_fixed_bonds, hold
from dbm_gmx.network.environment import make_targets
from dbm_gmx.network.guide_steps import ALL_KNOWN
from dbm_gmx.options import MoleculeFiles


@pytest.fixture(scope="module")
def cumene() -> Example:
    """Return the shipped liquid of cumene: rings, and a carbon with three carbons around it."""
    folder = share_path("reference", "cumene")
    files = MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"], [folder / "owners.txt"])
    system, _ = read_system(folder / "cg.tpr", files)
    frame = next(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms))
    return systems.example(system, whole_atoms(system, frame), frame.box)


def lengths(example: Example, atoms: torch.Tensor) -> torch.Tensor:
    """Lengths of all bonds of the first molecule, nm."""
    i, j = np.array(example.system.matches[0].moltype.graph.edges).T
    return (atoms[i] - atoms[j]).norm(dim=1)


def wanted(example: Example) -> torch.Tensor:
    moltype = example.system.matches[0].moltype
    known = {
        frozenset(pair): float(p[0])
        for terms in moltype.terms
        if terms.directive == "bonds"
        for pair, p in zip(terms.atoms.tolist(), terms.parameters, strict=True)
    }
    return torch.tensor([known[frozenset(edge)] for edge in moltype.graph.edges])


def test_atoms_placed_one_after_the_other_come_near_the_bonds_of_the_topology(octane: Example) -> None:
    bonds, scene, arrays = find_fixed_bonds(octane.system, "all-bonds"), octane.scene(), octane.arrays
    truth, rng = scene.positions[0].clone(), torch.Generator().manual_seed(1)
    drawn = truth + 0.02 * torch.randn(truth.shape, generator=rng)
    scene.positions[0] = drawn
    assert float((lengths(octane, drawn) - wanted(octane)).abs().max()) > 0.01
    for rank in arrays.growth_rank.unique().tolist():
        atom = (arrays.growth_rank == rank).nonzero()[:, 0]
        placed = hold(bonds, scene, make_targets(atom, rank), drawn[atom])
        assert float((placed - drawn[atom]).norm(dim=1).max()) < 0.15
        scene.positions[0, atom] = placed
    torch.testing.assert_close(lengths(octane, scene.positions[0]), wanted(octane), atol=3e-3, rtol=0)


def test_places_that_are_no_numbers_stay_so(octane: Example) -> None:
    """A model may put atoms there: that is refused where frames are written, not in linear algebra."""
    bonds, scene, arrays = find_fixed_bonds(octane.system, "all-bonds"), octane.scene(), octane.arrays
    atom = (arrays.growth_rank == 1).nonzero()[:, 0]
    nowhere = torch.full((len(atom), 3), torch.nan)
    assert hold(bonds, scene, make_targets(atom, 1), nowhere).isnan().all()


def test_constrained_bonds_have_the_lengths_of_the_topology(cumene: Example) -> None:
    """Of every molecule of every frame; what is missing is shared by mass: no centre of mass moves."""
    bonds, n = find_fixed_bonds(cumene.system, "all-bonds"), cumene.system.n_atoms
    rng = torch.Generator().manual_seed(1)
    drawn = cumene.scene().positions[0] + 0.01 * torch.randn(2, n, 3, generator=rng)
    found = constrain(bonds, drawn)
    for match in cumene.system.matches:
        pairs, length = fixed_bonds(match.moltype, "all-bonds")
        mass = torch.from_numpy(np.asarray(match.moltype.masses)).float()
        for before, after in zip(drawn, found, strict=True):
            first, last = match.molecules(before), match.molecules(after)
            distance = (last[:, pairs[:, 0]] - last[:, pairs[:, 1]]).norm(dim=2)
            expected = torch.from_numpy(length).float().expand_as(distance)
            torch.testing.assert_close(distance, expected, atol=5e-6, rtol=0)
            moved = (last - first) * mass[:, None]
            torch.testing.assert_close(
                moved.sum(1) / mass.sum(), torch.zeros_like(moved[:, 0]), atol=1e-6, rtol=0
            )
            assert 0.002 < float((last - first).square().sum(-1).mean().sqrt()) < 0.02


def test_the_neighbours_alone_do_not_place_a_branch(cumene: Example) -> None:
    """An atom with three heavy neighbours stays; one with two gives way."""
    bonds, scene, arrays = find_fixed_bonds(cumene.system, "all-bonds"), cumene.scene(), cumene.arrays
    moltype = cumene.system.matches[0].moltype
    heavy = {
        i: sum(not arrays.hydrogen[j] for j in moltype.graph[i])
        for i in moltype.graph
        if not arrays.hydrogen[i]
    }
    branch = next(i for i, k in heavy.items() if k == 3 and moltype.graph.degree(i) == 4)
    middle = next(i for i, k in heavy.items() if k == 2)
    atom = torch.tensor([branch, middle])
    drawn = scene.positions[0][atom] + 0.01
    placed = hold(bonds, scene, make_targets(atom, ALL_KNOWN), drawn)
    moved = (placed - drawn).norm(dim=1)
    assert float(moved[0]) == 0
    assert float(moved[1]) > 1e-3


def test_atoms_move_along_their_bonds(octane: Example) -> None:
    """An atom with one bond keeps its direction, one of two bonds the plane and the side."""
    bonds, scene, arrays = find_fixed_bonds(octane.system, "all-bonds"), octane.scene(), octane.arrays
    graph = octane.system.matches[0].moltype.graph
    hydrogen = next(i for i in graph if graph.degree(i) == 1)
    parent = next(iter(graph[hydrogen]))
    middle = next(i for i in graph if sum(not arrays.hydrogen[j] for j in graph[i]) == 2)
    before, after = (j for j in graph[middle] if not arrays.hydrogen[j])
    x = scene.positions[0]
    drawn = torch.stack([x[parent] + 1.3 * (x[hydrogen] - x[parent]), x[middle]])
    placed = hold(bonds, scene, make_targets(torch.tensor([hydrogen, middle]), ALL_KNOWN), drawn)
    way = torch.nn.functional.normalize(torch.stack([x[hydrogen], placed[0]]) - x[parent], dim=1)
    assert float(way[0] @ way[1]) == pytest.approx(1.0, abs=1e-5)
    normal = torch.linalg.cross(x[before] - x[middle], x[after] - x[middle])
    assert float((placed[1] - x[middle]) @ normal) == pytest.approx(0.0, abs=1e-6)
    for j in (before, after):
        assert float((placed[1] - x[j]).norm()) == pytest.approx(float(bonds.length[middle].max()), abs=1e-4)


def test_only_bonds_that_the_constraints_hold_are_kept(octane: Example) -> None:
    scene, targets = octane.scene(), make_targets(torch.arange(octane.arrays.n_atoms), ALL_KNOWN)
    drawn = scene.positions[0] + 0.01
    free = hold(find_fixed_bonds(octane.system, "none"), scene, targets, drawn)
    torch.testing.assert_close(free, drawn, atol=1e-6, rtol=0)
    some = hold(find_fixed_bonds(octane.system, "h-bonds"), scene, targets, drawn)
    moved = (some - drawn).norm(dim=1) > 1e-5
    assert torch.equal(moved, octane.arrays.hydrogen & moved)
    assert moved.any()

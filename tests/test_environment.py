"""Environments: against a slow reference, and what they must not depend on."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from systems import Example, alkane, example, mapping, molecule, scattered, system

from dbm_gmx.chemistry.atom_classes import atom_classes
from dbm_gmx.chemistry.topology import MoleculeType, Terms
from dbm_gmx.network.build_order import make_build_order
from dbm_gmx.network.channels import ROLES
from dbm_gmx.network.environment import (
    Environment,
    Scene,
    Targets,
    densities,
    local_frames,
    make_environment,
    make_scene,
)
from dbm_gmx.network.guide_steps import ALL_KNOWN
from dbm_gmx.network.voxels import Grid, collapse, density_of

GRID = Grid()


def environment_of(
    scene: Scene,
    atom: torch.Tensor,
    *,
    growing: bool,
    azimuth: float = 0.3,
    replica: int = 0,
    grid: Grid = GRID,
) -> Environment:
    """What surrounds atoms of one of the copies."""
    known_below = scene.arrays.growth_rank[atom] if growing else torch.full_like(atom, ALL_KNOWN)
    targets = Targets(atom, known_below, torch.full_like(atom, replica))
    return make_environment(scene, targets, azimuth + 0.01 * atom, grid)  # its own, whatever the batch


def densities_of(
    example: Example, atom: torch.Tensor, *, growing: bool, scene: Scene | None = None
) -> torch.Tensor:
    """Densities around some atoms."""
    return densities(environment_of(scene or example.scene(), atom, growing=growing), example.features, GRID)


class Slow:
    """The definition, a loop over everything: particle by particle and image by image, double precision."""

    def __init__(self, example: Example, images: int):
        self.example, self.columns = example, {n: k for k, n in enumerate(example.channels.names)}
        cells = np.array(list(product(range(-images, images + 1), repeat=3)))
        self.image = cells.any(axis=1)
        self.atoms, self.beads = (
            points + (cells @ example.box)[:, None] for points in (example.atoms, example.beads)
        )
        self.molecule, self.row, self.moltype, self.rank, self.bead, self.bead_type = [], [], [], [], [], []
        for match in example.system.matches:
            ranks = self.ranks(make_build_order(match.moltype, match.mapping))
            for _ in range(match.count):
                self.bead += [len(self.bead_type) + b for b in match.mapping.owner.tolist()]
                self.bead_type += match.mapping.types
                self.molecule += [max(self.molecule, default=-1) + 1] * match.moltype.n_atoms
                self.row += range(match.moltype.n_atoms)
                self.moltype += [match.moltype] * match.moltype.n_atoms
                self.rank += [ranks[i] for i in range(match.moltype.n_atoms)]
        moltypes = {k.name: k for k in self.moltype}
        self.classes = {name: atom_classes(k) for name, k in moltypes.items()}
        self.bonds = {name: dict(nx.all_pairs_shortest_path_length(k.graph)) for name, k in moltypes.items()}

    @staticmethod
    def ranks(plan) -> dict[int, tuple[int, int, int]]:
        """Phase (heavy, hydrogen), stage and place within the bead."""
        found = {}
        for phase, (stages, atoms) in enumerate(((plan.growth, plan.heavy), (plan.colours, plan.hydrogen))):
            for stage, beads in enumerate(stages):
                for bead in beads:
                    found |= {int(a): (phase, stage, k) for k, a in enumerate(atoms[bead])}
        return found

    def hydrogen(self, i: int) -> bool:
        return self.moltype[i].elements[self.row[i]] == "H"

    def visible(self, i: int, j: int, *, image: bool, growing: bool) -> bool:
        if growing and self.rank[j] >= self.rank[i]:
            return False
        if image or self.molecule[i] != self.molecule[j]:
            return True
        return i != j and not (self.hydrogen(j) and not self.hydrogen(i))

    def channels(self, i: int, j: int, *, image: bool) -> list[str]:
        """Channels of the current atom i on which atom j shows."""
        moltype, a, b = self.moltype[j], self.row[i], self.row[j]
        shown = [f"atom:{self.classes[moltype.name][b]}"]
        together = self.molecule[i] == self.molecule[j] and not image
        apart = self.bonds[moltype.name][a].get(b, 99) if together else 99
        if apart <= 3:
            shown.append(f"bonded:{ROLES[apart - 1]}")
        if apart > 3:
            shown.append("lj:hydrogen" if self.hydrogen(j) else "lj:heavy")
        return shown

    def density(self, i: int, rotation: np.ndarray, *, growing: bool) -> np.ndarray:
        edges = np.linspace(-GRID.edge / 2, GRID.edge / 2, GRID.size + 1)
        axis = (edges[1:] + edges[:-1]) / 2
        voxels = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
        centre = self.example.beads[self.bead[i]]
        result = np.zeros((len(self.columns), GRID.size, GRID.size, GRID.size))

        def add(vector: np.ndarray, names: list[str]) -> None:
            distance = ((voxels - rotation @ vector) ** 2).sum(-1)
            result[[self.columns[n] for n in names]] += np.exp(-distance / 0.02)

        away = self.atoms - centre
        for n, j in np.argwhere((away**2).sum(-1) < 0.7**2):
            if self.visible(i, j, image=self.image[n], growing=growing):
                add(away[n, j], self.channels(i, j, image=self.image[n]))
        away = self.beads - centre
        for n, b in np.argwhere((away**2).sum(-1) < 0.7**2):
            own = int(b == self.bead[i] and not self.image[n])
            add(away[n, b], [f"bead:{self.bead_type[b]}", *["current:bead"] * own])
        return result


@pytest.mark.parametrize("growing", [True, False], ids=["growth", "sweep"])
@pytest.mark.parametrize(("name", "images", "count"), [("octane", 2, 16), ("tiny", 6, 40)])
def test_densities_are_those_of_the_definition(request, name, images, count, growing):
    example = request.getfixturevalue(name)
    slow = Slow(example, images)
    atom = torch.randperm(example.arrays.n_atoms, generator=torch.Generator().manual_seed(3))[:count]
    environment = environment_of(example.scene(), atom, growing=growing)
    found = densities(environment, example.features, GRID).numpy()
    for k, i in enumerate(atom.tolist()):
        expected = slow.density(i, environment.rotation[k].numpy().astype(float), growing=growing)
        assert np.abs(found[k] - expected).max() < 1e-5 * max(1, expected.max()), f"atom {i + 1}"


def test_growth_ranks_follow_the_plan_across_molecule_types(tiny):
    slow, rank = Slow(tiny, 0), tiny.arrays.growth_rank.tolist()
    for i, j in product(range(len(rank)), repeat=2):
        assert (rank[i] < rank[j]) == (slow.rank[i] < slow.rank[j])


def test_an_atom_knows_its_own_images_but_not_itself(tiny):
    atom = torch.arange(tiny.arrays.n_atoms)
    environment = environment_of(tiny.scene(), atom, growing=False)
    own = environment.neighbour == atom[:, None]
    assert own.any()
    distance = torch.linalg.vector_norm(
        environment.positions - _local(environment, tiny.atoms[atom])[:, None], dim=2
    )
    assert float(distance[own].min()) == pytest.approx(0.65, abs=1e-5)  # the shortest lattice vector


def _local(environment: Environment, positions: np.ndarray) -> torch.Tensor:
    away = torch.from_numpy(positions).float() - environment.centre
    return (environment.rotation @ away[..., None])[..., 0]


def test_known_atoms_are_listed_with_their_places(octane):
    atom = torch.arange(0, octane.arrays.n_atoms, 97)
    environment = environment_of(octane.scene(), atom, growing=False)
    assert torch.equal(environment.atom, atom)
    assert torch.equal(environment.atom_class, octane.arrays.atom_class[atom])
    away = torch.linalg.vector_norm(environment.positions, dim=2)
    assert float(away[environment.weights > 0].max()) < GRID.cutoff
    assert set(environment.weights.unique().tolist()) == {0.0, 1.0}
    inverse = np.linalg.inv(octane.box)
    for k in range(len(atom)):
        listed = environment.neighbour[k] >= 0
        back = environment.positions[k, listed] @ environment.rotation[k] + environment.centre[k]
        off = (back.numpy() - octane.atoms[environment.neighbour[k, listed]]) @ inverse
        assert np.abs(off - np.round(off)).max() < 1e-5
        classes = octane.arrays.atom_class[environment.neighbour[k, listed]]
        # a row of the feature table names the class, whether as a neighbour or once more as a bonded one
        rows, table = environment.rows[k, listed], octane.table
        bonded = rows >= table.bonded_row
        assert bonded.any()
        assert torch.equal(torch.where(bonded, (rows - table.bonded_row) % len(table.classes), rows), classes)


def alone(
    moltype: MoleculeType, owner: list[int], types: str, *, seed: int = 0, bond_counts: bool = True
) -> Example:
    """One molecule in a large box."""
    parts = system((moltype, mapping(moltype, owner, types), 1))
    box = np.diag([5.0, 5.0, 5.0])
    atoms = scattered(parts, box, np.random.default_rng(seed))
    return example(parts, atoms, box, bond_counts=bond_counts)


def lennard_jones(example: Example) -> float:
    """What the Lennard-Jones channels show at most, to any atom."""
    columns = [k for k, n in enumerate(example.channels.names) if n.startswith("lj:")]
    return float(
        densities_of(example, torch.arange(example.arrays.n_atoms), growing=False)[:, columns].abs().max()
    )


def force_fields() -> list[MoleculeType]:
    """Cumene as different force fields have it: exclusions by bonds, by name, pairs."""
    bonds = [(0, 1), (1, 2), (1, 3), (3, 8), *((i, i + 1) for i in range(3, 8))]
    one, two, three = (
        molecule(["C"] * 9, bonds, [3, 1, 3, 0, 1, 1, 1, 1, 1], nrexcl=nrexcl, exclusions=named)
        for nrexcl, named in ((3, ()), (2, ((3, 6), (0, 6))), (3, ()))
    )
    pairs = Terms("pairs", 1, np.array([[0, 4], [2, 8]]), np.array([[1e-3, 1e-6], [1e-3, 1e-6]]))
    return [one, two, replace(three, terms=(pairs,))]


def test_a_molecule_has_the_same_environment_under_every_force_field():
    def seen(moltype: MoleculeType, *, bond_counts: bool) -> torch.Tensor:
        made = alone(moltype, [0, 0, 1, 1, 1, 1, 1, 1, 1], "AB", bond_counts=bond_counts)
        return densities_of(made, torch.arange(made.arrays.n_atoms), growing=False)

    first, second, third = (seen(moltype, bond_counts=True) for moltype in force_fields())
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    # where no more than three bonds are excluded, older models see the same
    old, other, _ = (seen(moltype, bond_counts=False) for moltype in force_fields())
    assert torch.equal(first, old)
    assert not torch.allclose(first, other)


def test_models_of_before_see_what_the_topology_excludes():
    def united(n: int, nrexcl: int, *more: tuple[int, int]) -> Example:
        moltype = molecule(["C"] * n, [(i, i + 1) for i in range(n - 1)], nrexcl=nrexcl, exclusions=more)
        return alone(moltype, [0] * n, "A", bond_counts=False)

    assert lennard_jones(united(4, 3)) < 1e-6  # all of them within three bonds
    assert lennard_jones(united(4, 2)) > 0.1  # the ends interact
    assert lennard_jones(united(5, 3)) > 0.1
    assert lennard_jones(united(5, 3, (0, 4))) < 1e-6  # excluded by name, four bonds apart
    assert lennard_jones(united(4, 2, (0, 3))) < 1e-6


def test_atoms_four_bonds_away_have_no_role(octane):
    moltype = alkane(5)
    five = alone(moltype, [0] * 5, "A")
    table, chosen = five.table, environment_of(five.scene(), torch.tensor([0]), growing=False)
    role = (chosen.rows - table.bonded_row) // (2 * len(table.classes))
    bonded = (chosen.rows >= table.bonded_row) & (chosen.rows < table.bead_row) & (chosen.weights > 0)
    assert role[bonded].tolist() == [0, 1, 2]  # and none of its hydrogens


# local frames


def lined_up(points: list[list[float]]) -> Example:
    """A chain of methylene beads at given places, one atom each."""
    n = len(points)
    moltype = molecule(["C"] * n, [(i, i + 1) for i in range(n - 1)])
    parts = system((moltype, mapping(moltype, list(range(n)), "A" * n), 1))
    return example(parts, np.array(points), np.diag([6.0, 6.0, 6.0]))


def frames(example: Example, azimuth: torch.Tensor | None = None, **moved) -> torch.Tensor:
    bead = torch.arange(example.arrays.n_beads)
    turn = torch.zeros(len(bead)) if azimuth is None else azimuth
    return local_frames(example.scene(**moved), bead, turn)


def assert_proper(rotation: torch.Tensor) -> None:
    one = torch.eye(3).expand_as(rotation)
    assert torch.allclose(rotation @ rotation.transpose(1, 2), one, atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(len(rotation)), atol=1e-5)


def test_frames_are_rotations_with_z_towards_the_alignment_bead(octane):
    azimuth = torch.linspace(-7, 7, octane.arrays.n_beads)
    rotation = frames(octane, azimuth)
    assert_proper(rotation)
    beads = torch.from_numpy(octane.beads).float()
    towards = (rotation @ (beads[octane.arrays.align] - beads)[..., None])[..., 0]
    assert torch.allclose(towards[:, :2], torch.zeros(len(beads), 2), atol=1e-5)
    assert float(towards[:, 2].min()) > 0.1


def test_second_bead_is_near_and_lies_in_the_xz_plane(octane):
    arrays, rotation = octane.arrays, frames(octane)
    bead = torch.arange(arrays.n_beads)
    assert (arrays.second >= 0).all()
    assert ((arrays.second != bead) & (arrays.second != arrays.align)).all()
    assert torch.equal(arrays.second // 4, bead // 4)  # four beads a molecule
    beads = torch.from_numpy(octane.beads).float()
    second = (rotation @ (beads[arrays.second] - beads)[..., None])[..., 0]
    assert float(second[:, 1].abs().max()) < 1e-5
    assert float(second[:, 0].min()) > 0


def test_second_bead_is_the_nearest_along_the_bonds():
    arrays = lined_up([[1.0 + 0.1 * i, 2, 3] for i in range(5)]).arrays
    assert arrays.align.tolist() == [1, 0, 1, 2, 3]
    assert arrays.second.tolist() == [2, 2, 3, 4, 2]


def test_azimuth_turns_about_z(octane):
    azimuth = torch.rand(octane.arrays.n_beads, generator=torch.Generator().manual_seed(1)) * 7
    turn = frames(octane, azimuth) @ frames(octane).transpose(1, 2)
    expected = Rotation.from_euler("z", -azimuth.numpy()[:, None]).as_matrix()
    assert np.abs(turn.numpy() - expected).max() < 1e-4  # three beads nearly in line lose digits


def test_frames_turn_with_the_system(octane, tiny):
    turn = Rotation.random(random_state=5).as_matrix()
    before, after = frames(octane), frames(octane, atoms=octane.atoms @ turn.T, box=octane.box @ turn.T)
    assert np.abs(after.numpy() @ turn - before.numpy()).max() < 1e-4


def test_a_turned_system_has_the_same_densities(octane):
    turn = Rotation.random(random_state=6).as_matrix()
    atom = torch.arange(5, octane.arrays.n_atoms, 131)
    turned = octane.scene(atoms=octane.atoms @ turn.T, box=octane.box @ turn.T)
    for growing in (True, False):
        expected = densities_of(octane, atom, growing=growing)
        assert torch.allclose(densities_of(octane, atom, growing=growing, scene=turned), expected, atol=1e-4)


@pytest.mark.parametrize(
    "points",
    [
        [[1.0, 2, 3]],
        [[1.0, 2, 3], [1, 2, 3.2]],
        [[1.0, 2, 3], [1.2, 2, 3]],
        [[1.0, 2, 3], [1.1, 2.1, 3.1], [1.2, 2.2, 3.2]],
        [[1.0, 2, 3], [1, 2, 3.2], [1, 2, 3.4], [1, 2, 3.6]],
        [[1.0, 2, 3], [1, 2, 3], [1, 2, 3]],
    ],
    ids=["single", "pair along z", "pair along x", "line", "line along z", "one point"],
)
def test_frames_exist_where_beads_are_missing_or_in_line(points):
    chosen = lined_up(points)
    rotation = frames(chosen)
    assert_proper(rotation)
    towards = chosen.beads[chosen.arrays.align] - chosen.beads
    for b, z in enumerate(towards):
        if chosen.arrays.align[b] >= 0 and z.any():
            assert rotation[b, 2].numpy() == pytest.approx(z / np.linalg.norm(z), abs=1e-5)


def test_single_beads_have_no_alignment_and_pairs_no_second_bead():
    assert lined_up([[1.0, 2, 3]]).arrays.align.tolist() == [-1]
    pair = lined_up([[1.0, 2, 3], [1.2, 2, 3]]).arrays
    assert (pair.align.tolist(), pair.second.tolist()) == ([1, 0], [-1, -1])


# what a result must not depend on


def vectors(count: int, box: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2, 3, (count, 3)) @ box


@pytest.mark.parametrize("name", ["octane", "tiny"])
@pytest.mark.parametrize("growing", [True, False], ids=["growth", "sweep"])
def test_origin_and_wrapping_do_not_matter(request, name, growing):
    example = request.getfixturevalue(name)
    atom = torch.arange(0, example.arrays.n_atoms, max(1, example.arrays.n_atoms // 40))
    expected = densities_of(example, atom, growing=growing)
    molecules = example.arrays.molecule.numpy()
    shifted = example.atoms + np.array([3.3, -1.7, 0.9])
    wrapped = example.atoms + vectors(molecules.max() + 1, example.box, 4)[molecules]
    for atoms in (shifted, wrapped):
        again = densities_of(example, atom, growing=growing, scene=example.scene(atoms=atoms))
        off = (again - expected).abs()
        assert float(off.mean()) < 1e-5
        assert float(off.max()) < 1e-3  # single precision, and three beads nearly in line


def test_another_basis_of_the_same_lattice_shows_the_same(tiny):
    atom = torch.arange(tiny.arrays.n_atoms)
    basis = np.array([[1, 0, 0], [-1, 1, 0], [2, -1, 1]]) @ tiny.box
    again = densities_of(tiny, atom, growing=False, scene=tiny.scene(box=basis))
    assert torch.allclose(again, densities_of(tiny, atom, growing=False), atol=1e-4)


def test_order_and_size_of_a_batch_do_not_matter(octane):
    rng = torch.Generator().manual_seed(2)
    atom = torch.randperm(octane.arrays.n_atoms, generator=rng)[:40]
    scene = octane.scene()
    for growing in (True, False):
        expected = densities_of(octane, atom, growing=growing, scene=scene)
        order = torch.randperm(40, generator=rng)
        permuted = densities_of(octane, atom[order], growing=growing, scene=scene)
        assert torch.allclose(permuted, expected[order], atol=1e-5)
        parts = [densities_of(octane, part, growing=growing, scene=scene) for part in atom.split(7)]
        assert torch.allclose(torch.cat(parts), expected, atol=1e-5)


def test_frames_of_one_scene_do_not_know_each_other(tiny):
    n = tiny.arrays.n_atoms
    other = tiny.atoms + 0.02 * np.random.default_rng(0).normal(size=tiny.atoms.shape)
    scenes = [tiny.scene(), tiny.scene(atoms=other, box=1.1 * tiny.box)]
    both = make_scene(tiny.arrays, [s.beads.numpy() for s in scenes], [tiny.box, 1.1 * tiny.box], grid=GRID)
    both.positions[0] = torch.cat([s.positions[0] for s in scenes])
    for growing in (True, False):
        together = environment_of(both, torch.arange(2 * n), growing=growing)
        azimuths = [0.01 * f * n for f in range(2)]
        for f, scene in enumerate(scenes):
            one = environment_of(scene, torch.arange(n), growing=growing, azimuth=0.3 + azimuths[f])
            expected = densities(one, tiny.features, GRID)
            found = densities(together, tiny.features, GRID)[f * n : (f + 1) * n]
            assert torch.allclose(found, expected, atol=1e-4)


def test_replicas_are_read_one_at_a_time(tiny):
    scene = make_scene(tiny.arrays, [tiny.beads], [tiny.box], grid=GRID, replicas=2)
    moved = tiny.atoms + 0.02
    scene.positions[0], scene.positions[1] = (torch.from_numpy(a).float() for a in (tiny.atoms, moved))
    atom = torch.arange(6)
    for replica, atoms in enumerate((tiny.atoms, moved)):
        single = make_scene(tiny.arrays, [tiny.beads], [tiny.box], grid=GRID)
        single.positions[0] = torch.from_numpy(atoms).float()
        found = environment_of(scene, atom, growing=False, replica=replica)
        assert torch.allclose(
            densities(found, tiny.features, GRID),
            densities_of(tiny, atom, growing=False, scene=single),
            atol=1e-5,
        )


def test_atoms_not_placed_yet_do_not_matter_in_growth(octane):
    growth = octane.arrays.growth_rank
    ranks = growth.unique()
    atom = torch.nonzero(growth == ranks[len(ranks) // 2])[:20, 0]
    expected = densities_of(octane, atom, growing=True)
    scene = octane.scene()
    later = growth >= growth[atom[0]]
    assert float((densities_of(octane, atom, growing=False) - expected).abs().max()) > 0.1
    scene.positions[0, later] += 0.1 * torch.randn(
        int(later.sum()), 3, generator=torch.Generator().manual_seed(4)
    )
    assert torch.allclose(densities_of(octane, atom, growing=True, scene=scene), expected, atol=1e-6)


def test_only_what_lies_within_the_cutoff_has_an_entry(octane):
    atom = torch.arange(0, octane.arrays.n_atoms, 211)
    near, far = (replace(GRID, cutoff=c) for c in (0.4, 0.7))
    counts = []
    for grid in (near, far):
        environment = environment_of(octane.scene(grid=grid), atom, growing=False, grid=grid)
        distance = torch.linalg.vector_norm(environment.positions, dim=2)[environment.weights > 0]
        assert float(distance.max()) < grid.cutoff
        counts.append(len(distance))
    assert counts[0] < counts[1] / 2


# positions and densities


def inside(count: int, reach: float) -> torch.Tensor:
    rng = torch.Generator().manual_seed(8)
    return (2 * torch.rand(count, 3, generator=rng, dtype=torch.float64) - 1) * reach


def test_a_density_collapses_to_the_position_it_came_from():
    points = inside(500, 0.3)
    assert float((collapse(density_of(points, GRID), GRID) - points).abs().max()) < 3e-4


@pytest.mark.parametrize(("reach", "error"), [(0.4, 0.004), (0.5, 0.027)])
def test_walls_of_the_grid_draw_positions_inwards(reach, error):
    for axis, sign in product(range(3), (-1, 1)):
        point = torch.zeros(1, 3, dtype=torch.float64)
        point[0, axis] = sign * reach
        found = collapse(density_of(point, GRID), GRID)
        assert sign * float((point - found)[0, axis]) == pytest.approx(error, rel=0.1)
        found[0, axis] = 0
        assert float(found.abs().max()) < 1e-9  # the other two are not touched


def test_densities_have_the_published_width_on_a_grid_of_voxel_centres():
    axis = GRID.axis().double()
    assert axis.tolist() == pytest.approx([-0.525, -0.375, -0.225, -0.075, 0.075, 0.225, 0.375, 0.525])
    point = torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64)
    density = density_of(point, GRID)
    off = (axis[2] - 0.1) ** 2 + (axis[5] + 0.2) ** 2 + (axis[4] - 0.05) ** 2
    assert float(density[2, 5, 4]) == pytest.approx(float(torch.exp(-off / 0.02)))
    assert density.shape == (8, 8, 8)


def test_a_position_can_be_learned_through_its_density():
    points = inside(5, 0.25).requires_grad_()
    logits = density_of(points, GRID).log().detach().requires_grad_()
    position = collapse(logits.flatten(1).softmax(1).reshape(logits.shape), GRID)
    assert torch.autograd.gradcheck(
        lambda x: collapse(x.flatten(1).softmax(1).reshape(x.shape), replace(GRID, size=2, edge=0.3)),
        torch.randn(2, 2, 2, 2, dtype=torch.float64, requires_grad=True),
    )
    (gradient,) = torch.autograd.grad(position[:, 0].sum(), logits)
    flow = gradient.sum((2, 3))  # more density at larger x moves it there
    assert (flow[:, -3:] > 0).all()
    assert (flow[:, :3] < 0).all()
    (through,) = torch.autograd.grad(collapse(density_of(points, GRID), GRID).sum(), points)
    assert torch.allclose(through, torch.ones_like(through), atol=0.02)

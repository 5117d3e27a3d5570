"""What the force field and the beads say of the place of an atom, and draws that follow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import systems
import torch
from systems import Example

from dbm_gmx.chemistry.stereo import chirality_of, stereo_elements
from dbm_gmx.chemistry.system import mapped_beads, whole_atoms, with_counts
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.network import guide as module
from dbm_gmx.network.centring import centre, make_centrings
from dbm_gmx.network.environment import ALL_KNOWN, Scene, Targets, make_targets
from dbm_gmx.network.guide import Guide, find_near, follow
from dbm_gmx.network.guide_tables import flat_groups, known_distances, make_guide
from dbm_gmx.network.voxels import Grid
from dbm_gmx.options import Conditions, MoleculeFiles

KELVIN = 350.0
KT = GAS * KELVIN


def liquid(name: str, count: int) -> Example:
    """Some molecules of a reference system that ships."""
    folder = share_path("reference", name)
    files = MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"], [folder / "owners.txt"])
    system, _ = read_system(folder / "cg.tpr", files)
    frame = next(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms))
    atoms, few = whole_atoms(system, frame), with_counts(system, [count])
    return systems.example(few, atoms[: few.n_atoms], frame.box)


@pytest.fixture(scope="module")
def cumene() -> Example:
    return liquid("cumene", 40)


@pytest.fixture(scope="module")
def polystyrene() -> Example:
    return liquid("sps", 2)


def states(example: Example) -> np.ndarray:
    """(copies, c) of the stereo elements."""
    match = example.system.matches[0]
    return chirality_of(match.molecules(example.atoms), stereo_elements(match.moltype))


def guide_of(example: Example, constraints: str = "all-bonds") -> Guide:
    conditions = Conditions(temperature=KELVIN, constraints=constraints)
    known = {example.system.matches[0].moltype.name: states(example)}
    return make_guide(example.system, conditions, known, grid=Grid())


def quiet(guide: Guide, atom: torch.Tensor) -> torch.Tensor:
    """No noise."""
    return torch.zeros(len(atom), guide.noise)


def squares(guide: Guide, scene: Scene, targets: Targets) -> dict[str, module.Part]:
    noise = quiet(guide, targets.atom)
    return {
        "distances": module._distances(guide, scene, targets, noise),
        "flat": module._flat_groups(guide, scene, targets, noise),
        "torsions": module._torsions(guide, scene, targets, noise),
        "hands": module._hands(guide, scene, targets),
        "centres": module._centres(guide, scene, targets, noise),
        "overlaps": module._overlaps(guide, scene, targets, None),
    }


@pytest.mark.parametrize("known_below", [ALL_KNOWN, 0], ids=["sweep", "growth"])
def test_gradients_are_those_of_the_residuals(polystyrene: Example, known_below: int) -> None:
    guide, scene = guide_of(polystyrene), polystyrene.scene()
    rank = int(polystyrene.arrays.growth_rank.sort().values[200])
    atom = (polystyrene.arrays.growth_rank == rank).nonzero()[:, 0]
    atom = torch.arange(scene.arrays.n_atoms) if known_below else atom
    targets = make_targets(atom, known_below or rank)
    generator = torch.Generator().manual_seed(2)
    position = scene.positions[0, atom] + 0.05 * torch.randn(len(atom), 3, generator=generator)
    step = 1e-4 * torch.randn(len(atom), 3, generator=generator)
    for name, part in squares(guide, scene, targets).items():
        before, after = part(position - step / 2), part(position + step / 2)
        change = (part(position).gradient * step[:, None]).sum(2)
        found = after.residual - before.residual
        off = (found - change).abs() > 0.02 * found.abs() + 0.01
        assert off.float().mean() < 1e-3, name  # but for steps over an edge


def test_true_atoms_are_where_they_are_said_to_be(polystyrene: Example) -> None:
    guide, scene = guide_of(polystyrene), polystyrene.scene()
    targets = make_targets(torch.arange(scene.arrays.n_atoms), ALL_KNOWN)
    for name, part in squares(guide, scene, targets).items():
        residual = part(scene.positions[0]).residual
        present = residual[residual != 0]
        # in units of what is thermal; bonds are fixed here, and atoms of the data are at 568 K
        assert not len(present) or float(present.square().mean().sqrt()) < 2, name
    assert not squares(guide, scene, targets)["hands"](scene.positions[0]).residual.any()


def test_distances_are_those_of_bonds_and_angles(cumene: Example) -> None:
    moltype = cumene.system.matches[0].moltype
    loose, fixed = (known_distances(moltype, c, KT) for c in ("none", "all-bonds"))
    bonds = {tuple(sorted(e)) for e in moltype.graph.edges}
    truth = torch.from_numpy(cumene.system.matches[0].molecules(cumene.atoms)).double()
    for pair, (mean, width) in loose.items():
        found = (truth[:, pair[0]] - truth[:, pair[1]]).norm(dim=1)
        assert abs(float(found.mean()) - mean) < 0.01
        assert 0.4 < width / float(found.std()) < 2.5
        assert fixed[pair][1] <= width
    assert len(loose) == len(bonds) + 36  # and the ends of all angles


def test_rings_are_flat_and_chains_are_not(cumene: Example, octane: Example) -> None:
    moltype = cumene.system.matches[0].moltype
    groups = flat_groups(moltype, known_distances(moltype, "none", KT), KT)
    ring = {i for i in range(moltype.n_atoms) if octane is not None and _aromatic(cumene, i)}
    members = {i for quad, _ in groups for i in quad}
    assert ring <= members
    for (i, j, k, m), _ in groups:  # the axis of a flat torsion is in the ring
        assert {j, k} & ring, (i, j, k, m)
    chain = octane.system.matches[0].moltype
    assert not flat_groups(chain, known_distances(chain, "none", KT), KT)


def _aromatic(example: Example, atom: int) -> bool:
    name = example.table.classes[int(example.arrays.atom_class[atom])]
    return name.endswith("a")


def test_atoms_off_their_place_come_back(cumene: Example) -> None:
    guide, scene = guide_of(cumene), cumene.scene()
    truth = scene.positions[0].clone()
    atom = torch.arange(0, scene.arrays.n_atoms, 7)
    away = 0.04 * torch.randn(len(atom), 3, generator=torch.Generator().manual_seed(4))
    targets = make_targets(atom, ALL_KNOWN)
    found = follow(guide, scene, targets, truth[atom] + away, quiet(guide, atom))
    heavy = ~scene.arrays.hydrogen[atom]
    assert float((found - truth[atom])[heavy].norm(dim=1).median()) < 0.012
    assert float((found - truth[atom]).norm(dim=1).median()) < 0.3 * float(away.norm(dim=1).median())


def test_what_nothing_holds_stays_where_the_network_drew_it(cumene: Example) -> None:
    guide, scene = guide_of(cumene), cumene.scene()
    atom = torch.tensor([0])
    far = scene.beads[scene.arrays.owner[atom]] + torch.tensor([[0.0, 0.0, 40.0]])
    alone = replace(guide, step=guide.step * 0, flat=guide.flat * 0, turn=guide.turn * 0)
    alone = replace(alone, centres=alone.centres._replace(share=alone.centres.share * 0))
    assert torch.allclose(follow(alone, scene, make_targets(atom, ALL_KNOWN), far, quiet(guide, atom)), far)


def test_draws_are_as_wide_as_the_force_field_says(cumene: Example) -> None:
    """A hydrogen of the ring: its bond is flexible here, and nothing else is so stiff along it."""
    guide, scene = guide_of(cumene, constraints="none"), cumene.scene()
    hydrogen = int(scene.arrays.hydrogen.nonzero()[0, 0])
    step, mean, width = (v[scene.arrays.row[hydrogen], 0] for v in (guide.step, guide.distance, guide.width))
    atom = torch.full((2000,), hydrogen)
    noise = torch.randn(len(atom), guide.noise, generator=torch.Generator().manual_seed(5))
    here = scene.positions[0, atom]
    drawn = follow(guide, scene, make_targets(atom, ALL_KNOWN), here, noise)
    length = (drawn - scene.positions[0, hydrogen + step]).norm(dim=1)
    assert float(length.mean()) == pytest.approx(float(mean), abs=0.003)
    assert float(length.std()) == pytest.approx(float(width), rel=0.25)


def test_a_wrong_hand_is_put_right(polystyrene: Example) -> None:
    guide, scene = guide_of(polystyrene), polystyrene.scene()
    match = polystyrene.system.matches[0]
    elements = stereo_elements(match.moltype)
    centres = torch.from_numpy(elements[:, 0].copy())
    ends = scene.positions[0, torch.from_numpy(elements[:, 1:4].copy())]
    # the centre mirrored at the plane of three of its neighbours
    normal = torch.linalg.cross(ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 0])
    normal = normal / normal.norm(dim=1, keepdim=True)
    here = scene.positions[0, centres]
    mirrored = here - 2 * ((here - ends[:, 0]) * normal).sum(1, keepdim=True) * normal
    wrong = scene.positions[0].clone()
    wrong[centres] = mirrored
    expected = states(polystyrene)[0]

    def now(atoms: torch.Tensor) -> np.ndarray:
        return chirality_of(match.molecules(atoms.numpy()), elements)[0]

    assert (now(wrong) != expected).all()
    placed = follow(guide, scene, make_targets(centres, ALL_KNOWN), mirrored, quiet(guide, centres))
    wrong[centres] = placed
    assert (now(wrong) == expected).all()


def test_a_centre_is_pushed_off_the_plane_of_its_heavy_neighbours(polystyrene: Example) -> None:
    """Before it is on the wrong side of them: they are all that is known when it is placed."""
    guide, scene = guide_of(polystyrene), polystyrene.scene()
    moltype = polystyrene.system.matches[0].moltype
    elements = stereo_elements(moltype)
    centres = torch.from_numpy(elements[:, 0].copy())
    heavy = [[j for j in around if moltype.elements[j] != "H"] for around in elements[:, 1:].tolist()]
    ends, here = scene.positions[0, torch.tensor(heavy)], scene.positions[0, centres]
    normal = torch.linalg.cross(ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 0])
    normal = normal / normal.norm(dim=1, keepdim=True)
    height = ((here - ends[:, 0]) * normal).sum(1, keepdim=True) * normal
    push = squares(guide, scene, make_targets(centres, ALL_KNOWN))["hands"]
    for share, pushed in ((-1.0, True), (0.0, True), (0.2, True), (0.8, False)):
        residual = push(here + (share - 1.0) * height).residual
        assert bool((residual.abs().max(dim=1).values > 0.5).all()) is pushed, share


def test_overlapping_atoms_are_pushed_apart(cumene: Example) -> None:
    guide, scene = guide_of(cumene), cumene.scene()
    others = scene.arrays.molecule > 0
    apart = (scene.positions[0] - scene.positions[0, 0]).norm(dim=1)
    stranger = int(torch.where(others, apart, torch.inf).argmin())
    alone = replace(guide, step=guide.step * 0, flat=guide.flat * 0, turn=guide.turn * 0)
    alone = replace(alone, centres=alone.centres._replace(share=alone.centres.share * 0))
    here = scene.positions[0, [stranger]]
    here = here + 0.15 * (scene.positions[0, [0]] - here) / apart[stranger]
    atom = torch.tensor([0])
    for near in (None, find_near(guide, scene)):
        placed = follow(alone, scene, make_targets(atom, ALL_KNOWN), here, quiet(guide, atom), near=near)
        assert float((placed - scene.positions[0, stranger]).norm()) > 0.2


def test_near_atoms_are_all_that_repel(cumene: Example) -> None:
    guide, scene = guide_of(cumene), cumene.scene()
    targets = make_targets(torch.arange(scene.arrays.n_atoms), ALL_KNOWN)
    near = find_near(guide, scene)
    full = module._overlaps(guide, scene, targets, None)(scene.positions[0]).residual
    short = module._overlaps(guide, scene, targets, near)(scene.positions[0]).residual
    assert near.other.shape[1] < full.shape[1]
    # their squares add up to the same
    torch.testing.assert_close(full.square().sum(1), short.square().sum(1), atol=1e-3, rtol=1e-3)


def test_centring_puts_mapped_atoms_on_their_beads(polystyrene: Example) -> None:
    system = polystyrene.system
    rng = np.random.default_rng(6)
    atoms = polystyrene.atoms + 0.02 * rng.standard_normal(polystyrene.atoms.shape)
    beads = mapped_beads(system, polystyrene.atoms)
    found = centre(
        make_centrings(system), torch.from_numpy(atoms)[None], torch.from_numpy(np.asarray(beads))[None]
    )[0].numpy()
    assert np.abs(mapped_beads(system, atoms) - beads).max() > 0.005
    assert np.abs(mapped_beads(system, found) - beads).max() < 1e-4
    assert np.abs(found - atoms).max() < 3 * np.abs(mapped_beads(system, atoms) - beads).max()


def test_atoms_without_weight_go_with_their_neighbours() -> None:
    moltype = systems.molecule(["C", "C"], [(0, 1)], [3, 3])
    mapping = systems.mapping(moltype, [0, 0], "A")
    weights = mapping.weights.tolil()
    weights[0, 2:] = 0  # hydrogens
    mapping = replace(mapping, weights=weights.tocsr())
    system = systems.system((moltype, mapping, 1))
    atoms = torch.zeros(1, moltype.n_atoms, 3)
    moved = centre(make_centrings(system), atoms, torch.full((1, 1, 3), 0.1))
    torch.testing.assert_close(moved, torch.full_like(atoms, 0.1), atol=1e-5, rtol=0)

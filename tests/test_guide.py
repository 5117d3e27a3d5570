"""What the force field and the beads say of the place of an atom, and draws that follow it."""

from __future__ import annotations

from collections.abc import Sequence
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
from dbm_gmx.forcefield.energy import term_energies
from dbm_gmx.forcefield.terms import energy_terms
from dbm_gmx.network.centring import centre, make_centrings
from dbm_gmx.network.environment import Scene
from dbm_gmx.network.guide import Guide, Guiding, growing, make_guiding, redrawing, staying
from dbm_gmx.network.guide_steps import How, _near_all, _squares, energy_of
from dbm_gmx.network.guide_tables import (
    TURN,
    _root,
    _sides_by_atom,
    flat_groups,
    known_distances,
    make_guide,
)
from dbm_gmx.network.placement import LAST_SETTLING, schedule
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
    return make_guide(example.system, conditions, known)


def guiding_of(example: Example, constraints: str = "all-bonds") -> tuple[Guiding, Scene]:
    scene = example.scene()
    return make_guiding(guide_of(example, constraints), scene), scene


def quiet(guiding: Guiding, atom: torch.Tensor) -> torch.Tensor:
    """No noise."""
    return torch.zeros(len(atom), guiding.noise)


def alone(guiding: Guiding) -> Guiding:
    """Nothing but repulsion is known."""
    guide = guiding.guide
    nothing = {key: getattr(guide, key) * 0 for key in ("step", "flat", "turn")}
    return replace(guiding, guide=guide._replace(**nothing, bead=np.full_like(guide.bead, -1)))


def energies(guiding: Guiding, x: torch.Tensor, beads: Sequence[int]) -> np.ndarray:
    """KT of some beads."""
    around, how = guiding.around, staying()
    members = [around.members[around.member_start[b] : around.member_start[b + 1]] for b in beads]
    noise = np.zeros(guiding.noise)
    fixed = (guiding.guide, around, x.numpy())
    return np.array([energy_of(*fixed, some, how, noise, guiding.memory) for some in members])


@pytest.mark.long  # compiles all squares for Python
@pytest.mark.parametrize("growth", [False, True], ids=["sweep", "growth"])
def test_gradients_are_those_of_the_energy(polystyrene: Example, growth: bool) -> None:
    guiding, scene = guiding_of(polystyrene)
    rank = int(polystyrene.arrays.growth_rank.sort().values[200])
    every = torch.arange(scene.arrays.n_atoms)
    atoms = every[polystyrene.arrays.growth_rank == rank] if growth else every
    how = growing(rank) if growth else staying()
    how = how._replace(trust=0.01)
    x, noise, memory = scene.positions[0].numpy(), np.zeros(guiding.noise), guiding.memory
    rng = np.random.default_rng(2)
    off = 0
    for atom in atoms.tolist():
        here = x[atom] + 0.02 * rng.standard_normal(3)
        step = 1e-4 * rng.standard_normal(3)
        fixed = (guiding.guide, guiding.around, x, atom, how)
        count = _near_all.outer(*fixed, tuple(here), memory.near)
        memory.near[:count, 5] = 1  # pairs within a bead count in full for the atom
        found = []
        for side in (-0.5, 0.5, 0.0):
            _squares.outer(*fixed, noise, tuple(here + side * step), count, memory)
            found.append((memory.sums[9], memory.sums[6:9] @ step))
        change, slope = found[1][0] - found[0][0], found[2][1]
        off += abs(change - slope) > 0.02 * abs(change) + 0.01
    assert off < 0.01 * len(atoms) + 1  # but for steps over an edge, and radii, which are no energy


def test_true_atoms_have_energies_of_a_few_kt(polystyrene: Example) -> None:
    guiding, scene = guiding_of(polystyrene)
    true = energies(guiding, scene.positions[0], range(scene.arrays.n_beads))
    squares = 40  # at least, of the atoms of a bead
    # bonds are fixed here, and atoms of the data are at another temperature
    assert np.median(true) < 2 * squares
    rng = torch.Generator().manual_seed(1)
    moved = scene.positions[0] + 0.02 * torch.randn(scene.positions[0].shape, generator=rng)
    assert np.median(energies(guiding, moved, range(scene.arrays.n_beads))) > 3 * np.median(true)


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


def test_roots_of_torsions_are_above_the_floor_of_their_basin() -> None:
    """Three minima at -180, -60 and 60 degrees, of which one is deeper; and of a torsion without energy."""
    energy = 5.0 * (1 + np.cos(3 * TURN)) + 2.0 * (1 + np.cos(TURN))
    (root, floor), bottom = _root(energy, KT), energy.min()
    for middle, lowest in ((-np.pi, 0.0), (np.radians(-60), None), (np.radians(60), None)):
        within = np.abs(np.remainder(TURN - middle + np.pi, 2 * np.pi) - np.pi) < np.radians(50)
        wanted = energy[within].min() if lowest is None else bottom
        np.testing.assert_allclose(floor[within] * KT, wanted - bottom, atol=1e-9)
        np.testing.assert_allclose(root[within] ** 2 * KT / 2, energy[within] - wanted, atol=1e-9)
    assert (np.sign(root) * np.sign(np.gradient(energy)) >= 0).mean() > 0.95
    assert not _root(np.zeros_like(TURN), KT).any()


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
    guiding, scene = guiding_of(cumene)
    truth = scene.positions[0].clone()
    atom = torch.arange(0, scene.arrays.n_atoms, 7)
    away = 0.04 * torch.randn(len(atom), 3, generator=torch.Generator().manual_seed(4))
    found = guiding.follow(truth, atom, truth[atom] + away, quiet(guiding, atom), redrawing_nothing())
    heavy = ~scene.arrays.hydrogen[atom]
    assert float((found - truth[atom])[heavy].norm(dim=1).median()) < 0.012
    assert float((found - truth[atom]).norm(dim=1).median()) < 0.3 * float(away.norm(dim=1).median())


def redrawing_nothing() -> How:
    """All other atoms are there, and the draw counts as one of the network."""
    return redrawing()._replace(redraw=False)


def test_what_nothing_holds_stays_where_the_network_drew_it(cumene: Example) -> None:
    guiding, scene = guiding_of(cumene)
    atom = torch.tensor([0])
    far = scene.beads[scene.arrays.owner[atom]] + torch.tensor([[0.0, 0.0, 40.0]])
    found = alone(guiding).follow(
        scene.positions[0], atom, far.clone(), quiet(guiding, atom), redrawing_nothing()
    )
    assert torch.allclose(found, far)


def test_draws_are_as_wide_as_the_force_field_says(cumene: Example) -> None:
    """A hydrogen of the ring: its bond is flexible here, and nothing else is so stiff along it."""
    guiding, scene = guiding_of(cumene, constraints="none")
    guide = guiding.guide
    hydrogen = int(scene.arrays.hydrogen.nonzero()[0, 0])
    row = int(scene.arrays.row[hydrogen])
    step, mean, width = int(guide.step[row, 0]), guide.distance[row, 0], 1 / guide.stiffness[row, 0]
    atom = torch.full((2000,), hydrogen)
    noise = torch.randn(len(atom), guiding.noise, generator=torch.Generator().manual_seed(5))
    here = scene.positions[0, atom]
    drawn = guiding.follow(scene.positions[0], atom, here, noise, redrawing_nothing())
    length = (drawn - scene.positions[0, hydrogen + step]).norm(dim=1)
    assert float(length.mean()) == pytest.approx(float(mean), abs=0.003)
    assert float(length.std()) == pytest.approx(float(width), rel=0.25)


def test_a_wrong_hand_is_put_right(polystyrene: Example) -> None:
    guiding, scene = guiding_of(polystyrene)
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
    placed = guiding.follow(wrong, centres, mirrored, quiet(guiding, centres), redrawing_nothing())
    wrong[centres] = placed
    assert (now(wrong) == expected).all()


def test_a_wrong_hand_has_the_higher_energy(polystyrene: Example) -> None:
    """Of a centre in the plane of its heavy neighbours as well: they are all that is known at first."""
    guiding, scene = guiding_of(polystyrene)
    moltype = polystyrene.system.matches[0].moltype
    centre, *around = stereo_elements(moltype)[3].tolist()
    heavy = [j for j in around if j >= 0 and moltype.elements[j] != "H"]
    ends, here = scene.positions[0, heavy], scene.positions[0, centre]
    normal = torch.linalg.cross(ends[1] - ends[0], ends[2] - ends[0])
    height = ((here - ends[0]) @ normal) * normal / normal.square().sum()
    bead = [int(scene.arrays.owner[centre])]
    blind = replace(guiding, guide=guiding.guide._replace(hand=guiding.guide.hand * 0))
    for share, wrong in ((-1.0, True), (0.0, True), (0.2, True), (0.8, False)):
        moved = scene.positions[0].clone()
        moved[centre] = here + (share - 1.0) * height
        costs = energies(guiding, moved, bead)[0] - energies(blind, moved, bead)[0]
        assert bool(costs > 0.1) is wrong, share


def test_overlapping_atoms_are_pushed_apart(cumene: Example) -> None:
    guiding, scene = guiding_of(cumene)
    others = scene.arrays.molecule > 0
    apart = (scene.positions[0] - scene.positions[0, 0]).norm(dim=1)
    stranger = int(torch.where(others, apart, torch.inf).argmin())
    here = scene.positions[0, [stranger]]
    here = here + 0.15 * (scene.positions[0, [0]] - here) / apart[stranger]
    atom = torch.tensor([0])
    placed = alone(guiding).follow(scene.positions[0], atom, here, quiet(guiding, atom), redrawing_nothing())
    assert float((placed - scene.positions[0, stranger]).norm()) > 0.2


def test_hydrogens_are_placed_where_bonds_and_angles_say(cumene: Example) -> None:
    guiding, scene = guiding_of(cumene)
    x, light = scene.positions[0], scene.arrays.hydrogen.nonzero()[:, 0]
    light = light[torch.argsort(scene.arrays.growth_rank[light], stable=True)]
    truth = x[light].clone()
    x[light] = 50.0  # not there yet
    noise = quiet(guiding, light)
    noise[:, -3:] = torch.randn(len(light), 3, generator=torch.Generator().manual_seed(6))
    for rank in torch.unique(scene.arrays.growth_rank[light]).tolist():
        now = scene.arrays.growth_rank[light] == rank
        guiding.begin(x, light[now], noise[now], growing(rank))
    moltype = cumene.system.matches[0].moltype
    parents = [next(iter(moltype.graph[i % moltype.n_atoms])) for i in light.tolist()]
    ring = torch.tensor([_aromatic(cumene, parent) for parent in parents])
    assert float((x[light] - truth)[ring].norm(dim=1).median()) < 0.02
    i, j = np.array(moltype.graph.edges).T
    molecules = cumene.system.matches[0].molecules(x.numpy())
    lengths = np.linalg.norm(molecules[:, i] - molecules[:, j], axis=2)
    assert np.abs(lengths - np.median(lengths, 0)).max() < 0.02


def test_of_two_states_the_better_is_taken_and_either_of_equal_ones(cumene: Example) -> None:
    guiding, scene = guiding_of(cumene)
    beads = torch.arange(0, scene.arrays.n_beads, 3)
    noise = torch.randn(guiding.hydrogens(beads), guiding.noise, generator=torch.Generator().manual_seed(7))
    chance = torch.rand(len(beads), generator=torch.Generator().manual_seed(8)), noise
    truth, torn = scene.positions[0].clone(), scene.positions[0].clone()
    heavy = ~scene.arrays.hydrogen & torch.isin(scene.arrays.owner, beads)
    torn[heavy] += 0.3 * torch.randn(int(heavy.sum()), 3, generator=torch.Generator().manual_seed(9))
    pairs = {"worse": (truth, torn), "better": (torn, truth), "same": (truth, truth)}
    taken = {}
    for name, (now, other) in pairs.items():
        x = now.clone()
        taken[name] = guiding.choose(x, other, beads, chance, staying()) / len(beads)
        if name == "worse":
            assert float((x != now).any(1).float().mean()) < 0.2
    assert taken["worse"] < 0.15 < 0.2 < taken["same"] < 0.6 < 0.85 < taken["better"], taken


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


def test_the_last_passes_heat_angles_by_less_than_a_half() -> None:
    """From the true atoms of an alkane.  With steps of .03 nm it is two thirds."""
    octane = liquid("octane", 40)
    guiding, scene = guiding_of(octane, constraints="none")
    rng = torch.Generator().manual_seed(6)
    before = heat(octane, scene.positions[0])
    order = schedule(scene.arrays.sweep_rank)
    for stay in LAST_SETTLING:
        for stage in order:
            for _, atoms in stage:
                noise = torch.randn(len(atoms), guiding.noise, generator=rng)
                guiding.settle(scene.positions[0], atoms, noise, staying(stay=stay))
    assert 0.9 * before < heat(octane, scene.positions[0]) < 1.45 * before


def heat(example: Example, x: torch.Tensor) -> float:
    """Mean energy of an angle, kT."""
    match = example.system.matches[0]
    atoms = match.molecules(x.double().numpy())
    terms = [t for t in energy_terms(match.moltype) if t.directive == "angles"]
    return float(np.mean([term_energies(t, torch.from_numpy(atoms)).numpy() for t in terms]) / KT)


def test_a_draw_on_the_wrong_side_of_a_bond_that_does_not_turn_is_turned_over(cumene: Example) -> None:
    guiding, scene = guiding_of(cumene)
    x = scene.positions[0]
    here, near, far, other = 8, 6, 2, 0
    axis = (x[far] - x[near]) / (x[far] - x[near]).norm()

    def across(p: torch.Tensor, end: int) -> torch.Tensor:
        return (p - x[end]) - ((p - x[end]) @ axis) * axis

    sense = float(torch.sign(across(x[here], near) @ across(x[other], far)))
    side, sign = np.zeros((len(guiding.guide.hand), 1, 3), np.int64), np.zeros((len(guiding.guide.hand), 1))
    side[here, 0] = near - here, far - here, other - here
    atom, found, energy = torch.tensor([here]), {}, {}
    for wanted in (sense, -sense):
        sign[here] = wanted
        one = alone(replace(guiding, guide=guiding.guide._replace(side=side, sense=sign)))
        nowhere = one.guide._replace(strength=one.guide.strength * 0)
        one = replace(one, guide=nowhere)
        found[wanted] = one.follow(x, atom, x[atom].clone(), quiet(one, atom), redrawing_nothing())[0]
        energy[wanted] = energies(one, x, [int(scene.arrays.owner[here])])[0]
    torch.testing.assert_close(found[sense], x[here])
    torch.testing.assert_close(found[-sense], x[here] - 2 * across(x[here], near))
    assert energy[-sense] - energy[sense] > 5


def test_both_atoms_beside_an_end_of_a_double_bond_are_told_their_side() -> None:
    butene = systems.molecule(["C"] * 4, systems.chain(4), [3, 1, 1, 3])
    made = systems.system((butene, systems.mapping(butene, [0] * 4, "A"), 2))
    found = _sides_by_atom(made, {"MOL": np.array([[1], [-1]], np.int8)})
    told = {
        (int(a + f[0]), int(a + f[2]), int(a)): f[3] for a, rows in enumerate(found) for f in rows if f[0]
    }
    one, (left,), (right,) = butene.n_atoms, *([h for h in butene.graph[i] if h > 3] for i in (1, 2))
    assert {key: told[key] for key in [(1, 3, 0), (1, right, 0), (2, 0, 3), (2, left, 3)]} == {
        (1, 3, 0): 1,
        (1, right, 0): -1,
        (2, 0, 3): 1,
        (2, left, 3): -1,
    }
    assert told[one + 1, one + 3, one] == -1  # the second molecule is trans

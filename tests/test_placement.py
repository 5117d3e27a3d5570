"""The whole pipeline with a generator that knows the answer, and its invariances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from cut import cut
from oracle import Oracle, example, untrained

from dbm_gmx.backmapping.network_stage import Task, make_network_stage
from dbm_gmx.backmapping.rebuilder import Rebuilder
from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.system import System, whole_atoms
from dbm_gmx.chemistry.topology import hydrogens
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.network.arrays import make_network_arrays
from dbm_gmx.network.bond_lengths import find_fixed_bonds
from dbm_gmx.network.environment import Environment, Scene, make_scene
from dbm_gmx.network.placement import Generate, Network, Placer, reconstruct, schedule, usual_limits
from dbm_gmx.network.random_numbers import make_random_numbers
from dbm_gmx.network.voxels import Grid, collapse, density_of
from dbm_gmx.options import Conditions, MoleculeFiles, Settings

FREE = Conditions(constraints="none")  # bonds as the network makes them
PICOMETRE = 0.001
GRID_ERROR = 0.0005  # nm, of collapsing a density within 0.3 nm of the bead


def gibbs(sweeps: int, **more: int) -> Settings:
    """Growth and sweeps of the network alone."""
    return Settings(refine="gibbs", start="network", sweeps=sweeps, guided=False, **more)


def load(folder: Path, frames: int | None = None) -> tuple[System, list[Frame], list[Frame]]:
    """A system with its CG and atomistic frames."""
    system, _ = read_system(folder / "cg.tpr", MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"]))
    beads = read_frames(folder / "cg.xtc", n_atoms=system.n_beads)
    atoms = read_frames(folder / "aa.xtc", n_atoms=system.n_atoms)
    return system, list(islice(beads, frames)), list(islice(atoms, frames))


def rebuilt(
    system: System, beads: list[Frame], atoms: list[Frame], settings: Settings | None = None
) -> tuple[list[Frame], Oracle]:
    """Frames from the oracle."""
    model = untrained(system)
    oracle = Oracle(system, beads, atoms, grid=model.grid)
    mapper = Rebuilder(system, settings or gibbs(0), model, conditions=FREE)
    return [one.atoms for one in mapper(iter(beads), generate=oracle)], oracle


def placer_of(system: System, beads: Frame, generate: Generate, settings: Settings) -> Placer:
    """A placer of one frame with a generator made up."""
    arrays, _ = make_network_arrays(system, untrained(system).channels)
    replicas = min(2, settings.orientations)
    scene = make_scene(
        arrays, [with_whole_beads(system, beads).positions], [beads.box], grid=Grid(), replicas=replicas
    )
    return Placer(
        scene, Network(generate, Grid(), noise=1), make_random_numbers([0], seed=settings.seed), settings
    )


def check(system: System, result: list[Frame], beads: list[Frame], atoms: list[Frame]) -> None:
    """Atoms in the right place, molecules whole, box and time kept."""
    assert len(result) == len(beads)
    for new, cg, old in zip(result, beads, atoms, strict=True):
        off = minimum_image((new.positions - old.positions).astype(np.float64), old.box)
        assert np.linalg.norm(off, axis=1).max() < PICOMETRE + GRID_ERROR
        np.testing.assert_array_equal(new.box, cg.box)
        assert (new.time, new.step) == (cg.time, cg.step)
        for match in system.matches:
            moltype = match.moltype
            rows = new.positions[match.first_atom :][: match.count * moltype.n_atoms].reshape(
                -1, moltype.n_atoms, 3
            )
            bonds = rows[:, moltype.bonds[:, 0]] - rows[:, moltype.bonds[:, 1]]
            assert np.linalg.norm(bonds, axis=2).max() < 0.2


@pytest.mark.parametrize("name", ["sps", "octane", "cumene"])
def test_oracle_reproduces_the_reference_systems(reference: Path, name: str) -> None:
    system, beads, atoms = load(reference / name, 1)
    result, _ = rebuilt(system, beads, atoms)
    check(system, result, beads, atoms)


@pytest.fixture(scope="module")
def octane() -> tuple[System, list[Frame], list[Frame]]:
    return load(example(), 3)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[System, list[Frame], list[Frame]]:
    """Eight of its molecules."""
    made = cut(example(), tmp_path_factory.mktemp("few") / "octane", "OCT", 8, frames=2)
    return made.system, made.beads, made.atoms


def test_oracle_reproduces_the_example(octane: tuple[System, list[Frame], list[Frame]]) -> None:
    system, beads, atoms = octane
    result, _ = rebuilt(system, beads, atoms, gibbs(1))
    check(system, result, beads, atoms)


def test_guided_draws_are_near_those_of_the_network_and_bonds_have_their_lengths(
    octane: tuple[System, list[Frame], list[Frame]],
) -> None:
    """True places, off by far more than a bond is wide: alone they are torn, and guided they are not."""
    system, beads, atoms = octane
    oracle = Oracle(system, beads[:1], atoms[:1], grid=Grid())

    def blurred(environment: Environment, noise: torch.Tensor) -> torch.Tensor:
        place = collapse(oracle(environment, noise), Grid())
        return density_of(place + 0.03 * noise[:, :3], Grid())

    off, stretch = {}, {}
    for guided in (False, True):
        task = Task(system, replace(gibbs(2), guided=guided), FREE, {})
        stage = make_network_stage(task, untrained(system), blurred)
        made = stage([Rebuilt(with_whole_beads(system, beads[0]))])[0]
        away = minimum_image((made - atoms[0].positions).astype(np.float64), atoms[0].box)
        heavy = ~np.tile(hydrogens(system.matches[0].moltype), system.matches[0].count)
        off[guided] = float(
            np.sqrt((away[heavy] ** 2).sum(1).mean())
        )  # hydrogens of a carbon may change places
        rows = system.matches[0].molecules(made)
        true = system.matches[0].molecules(whole_atoms(system, atoms[0]))
        i, j = np.array(system.matches[0].moltype.graph.edges).T
        lengths = [np.linalg.norm(r[:, i] - r[:, j], axis=2) for r in (rows, true)]
        stretch[guided] = float(np.abs(lengths[0] - lengths[1].mean(0)).mean())
    assert off[True] < 0.85 * off[False]
    assert stretch[True] < 0.006 < 0.02 < stretch[False]


def moved(frame: Frame, move: Callable[[np.ndarray], np.ndarray], box: np.ndarray | None = None) -> Frame:
    """A frame with other positions, and another box where one is given."""
    positions = move(frame.positions.astype(np.float64)).astype(np.float32)
    return replace(frame, positions=positions, box=frame.box if box is None else box)


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("case", ["shift", "wrap", "lattice"])
def test_oracle_does_not_mind_how_the_box_is_written(
    octane: tuple[System, list[Frame], list[Frame]], reference_or_none: Path | None, case: str, skewed: bool
) -> None:
    if skewed and reference_or_none is None:
        pytest.skip("no reference data with a skewed box")
    system, beads, atoms = load(reference_or_none / "sps", 1) if skewed and reference_or_none else octane
    beads, atoms = beads[:1], atoms[:1]
    rng = np.random.default_rng(3)
    box = beads[0].box
    if case == "shift":
        by = rng.normal(size=3)
        beads, atoms = ([moved(f, lambda x: x + by) for f in fs] for fs in (beads, atoms))
    elif case == "wrap":  # every bead and atom in a cell of its own choice
        beads, atoms = (
            [moved(f, lambda x: x + rng.integers(-2, 3, size=x.shape) @ box) for f in fs]
            for fs in (beads, atoms)
        )
    else:  # the same lattice, other vectors: b -> b + a, which GROMACS would call the same box
        other = box.copy()
        other[1] += box[0]
        beads, atoms = ([moved(f, lambda x: x, other) for f in fs] for fs in (beads, atoms))
    result, _ = rebuilt(system, beads, atoms)
    check(system, result, beads, atoms)


def test_oracle_in_a_rotated_system(octane: tuple[System, list[Frame], list[Frame]]) -> None:
    system, beads, atoms = octane
    # a cubic box turned by 90 degrees about z is the same box: x -> y, y -> -x
    edge = beads[0].box[0, 0]
    assert np.allclose(beads[0].box, np.eye(3) * edge, atol=1e-5)
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    beads, atoms = ([moved(f, lambda x: x @ turn) for f in fs[:1]] for fs in (beads, atoms))
    result, _ = rebuilt(system, beads, atoms)
    check(system, result, beads, atoms)


@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_oracle_with_any_batch_size(few: tuple[System, list[Frame], list[Frame]], batch: int) -> None:
    system, beads, atoms = few
    result, oracle = rebuilt(system, beads[:1], atoms[:1], gibbs(0, batch=batch))
    check(system, result, beads[:1], atoms[:1])
    assert max(oracle.calls) <= batch
    assert sum(oracle.calls) == system.n_atoms


def network_result(
    system: System, beads: list[Frame], *, guided: bool = False, **settings: int
) -> list[np.ndarray]:
    chosen = replace(gibbs(**{"sweeps": 0, **settings}), guided=guided)
    mapper = Rebuilder(system, chosen, untrained(system), conditions=FREE)
    return [one.atoms.positions for one in mapper(iter(beads))]


@pytest.mark.parametrize("guided", [False, True])
def test_same_seed_same_answer(few: tuple[System, list[Frame], list[Frame]], *, guided: bool) -> None:
    system, beads, _ = few
    together = network_result(system, beads[:2], guided=guided, sweeps=1, batch=64)
    again = network_result(system, beads[:1], guided=guided, sweeps=1, batch=64)
    less = network_result(system, beads[:1], guided=guided, sweeps=1, batch=5)
    alone = network_result(system, beads[1:2], guided=guided, sweeps=1, batch=64)
    other = network_result(system, beads[1:2], guided=guided, sweeps=1, seed=2)
    np.testing.assert_array_equal(together[0], again[0])
    np.testing.assert_allclose(together[0], less[0], atol=1e-4)
    np.testing.assert_allclose(together[1], alone[0], atol=1e-4)
    assert np.abs(together[1] - other[0]).max() > 0.001


def test_a_rotated_system_gives_rotated_atoms(octane: tuple[System, list[Frame], list[Frame]]) -> None:
    system, beads, _ = octane
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    plain = network_result(system, beads[:1], sweeps=0)[0]
    turned = network_result(system, [moved(beads[0], lambda x: x @ turn)], sweeps=0)[0]
    np.testing.assert_allclose(turned, plain @ turn, atol=2e-3)


def test_every_atom_is_placed_once_a_pass_and_hydrogens_last(
    octane: tuple[System, list[Frame], list[Frame]],
) -> None:
    system, _, _ = octane
    arrays, _ = make_network_arrays(system, untrained(system).channels)
    for rank in (arrays.growth_rank, arrays.sweep_rank):
        steps = [atoms for stage in schedule(rank) for _, atoms in stage]
        placed = torch.cat(steps)
        assert sorted(placed.tolist()) == list(range(system.n_atoms))
        light = arrays.hydrogen[placed]
        assert not light[: int((~light).sum())].any()


def test_beads_out_of_line_are_tried_again(octane: tuple[System, list[Frame], list[Frame]]) -> None:
    """A generator that is wrong at first, for one bead in ten; a scorer that tells it, and nothing else."""
    system, beads, atoms = octane
    oracle = Oracle(system, beads[:1], atoms[:1], grid=Grid())
    truth = torch.from_numpy(oracle.truth(0)).float()
    arrays, _ = make_network_arrays(system, untrained(system).channels)
    wrong = torch.arange(arrays.n_beads) % 10 == 3
    count = torch.zeros(system.n_atoms, dtype=torch.long)

    def at_first_wrong(environment: Environment, noise: torch.Tensor) -> torch.Tensor:
        atom = environment.atom
        late = ~wrong[arrays.owner[atom]] | (count[atom] >= 2)
        count[atom] += 1
        right = oracle(environment, noise)
        return torch.where(late[:, None, None, None], right, torch.roll(right, 1, 1))

    class Distance:
        """Takes the place of a scorer."""

        def energies(
            self, scene: Scene, beads: torch.Tensor, atoms: torch.Tensor, known_below: int, replica: int = 0
        ) -> torch.Tensor:
            off = (scene.positions[replica, atoms] - truth[atoms]).norm(dim=1)
            spread = (torch.arange(arrays.n_beads) % 3 > 0).float()  # what is no reason to try again
            total = torch.zeros(arrays.n_beads).index_add_(0, arrays.owner[atoms], 1000 * off * (off > 0.02))
            return (total + spread)[beads, None]

        def invert_wrong(self, scene: Scene, known_below: int) -> None:
            pass

    def result(orientations: int) -> torch.Tensor:
        count[:] = 0
        placer = placer_of(system, beads[0], at_first_wrong, gibbs(0, orientations=orientations, batch=10**6))
        return reconstruct(replace(placer, scorer=Distance()))

    assert (result(2) - truth).norm(dim=1).max() > 0.1
    assert (result(3) - truth).norm(dim=1).max() < PICOMETRE
    expected = torch.where(wrong[arrays.owner], 3, 1)
    torch.testing.assert_close(count, expected)  # the others are drawn once
    assert (result(8) - truth).norm(dim=1).max() < PICOMETRE
    torch.testing.assert_close(count, expected)  # and nobody is drawn longer than necessary


def test_what_is_usual_is_said_by_the_lower_half() -> None:
    energies = torch.linspace(-10, 10, 101)[:, None]
    moltype = torch.zeros(101, dtype=torch.long)
    assert float(usual_limits(energies, moltype)[0]) == pytest.approx(5.0, abs=0.01)
    raised = torch.where(energies > 2, energies + 1e6, energies)  # overlaps, and one that is no number
    raised[-1] = torch.nan
    assert float(usual_limits(raised, moltype)[0]) == pytest.approx(5.0, abs=0.01)
    both = usual_limits(torch.cat([energies, 3 * energies]), torch.cat([moltype, moltype + 1]))
    assert both[[0, -1], 0].tolist() == pytest.approx([5.0, 15.0], abs=0.01)
    few = usual_limits(energies[:5], moltype[:5])
    assert few.unique().tolist() == [20.0]


def test_bonds_have_their_length_after_the_last_sweep(
    octane: tuple[System, list[Frame], list[Frame]],
) -> None:
    """A generator that is some hundredths of an Angstrom off; growth alone leaves that as it is."""
    system, beads, atoms = octane
    oracle = Oracle(system, beads[:1], atoms[:1], grid=Grid())
    arrays, _ = make_network_arrays(system, untrained(system).channels)
    rng = torch.Generator().manual_seed(4)

    def blurred(environment: Environment, noise: torch.Tensor) -> torch.Tensor:
        there = collapse(oracle(environment, noise), Grid())
        return density_of(there + 0.005 * torch.randn(there.shape, generator=rng), Grid())

    bonds = find_fixed_bonds(system, "all-bonds")
    partner, wanted = torch.arange(system.n_atoms)[:, None] + bonds.step[arrays.row], bonds.length[arrays.row]
    off = []
    for sweeps in (0, 1):
        placer = placer_of(system, beads[0], blurred, gibbs(sweeps))
        result = reconstruct(replace(placer, bonds=bonds))
        length = (result[partner] - result[:, None]).norm(dim=2)
        off.append(((length - wanted) * (wanted > 0)).abs().max())
    assert off[0] > 0.01
    assert off[1] < 5e-6


def test_heavy_atoms_and_hydrogens_have_noise_of_their_own_width(
    octane: tuple[System, list[Frame], list[Frame]],
) -> None:
    system, beads, atoms = octane
    oracle = Oracle(system, beads[:1], atoms[:1], grid=Grid())
    arrays, _ = make_network_arrays(system, untrained(system).channels)
    seen: dict[bool, list[torch.Tensor]] = {False: [], True: []}

    def listening(environment: Environment, noise: torch.Tensor) -> torch.Tensor:
        (hydrogen,) = arrays.hydrogen[environment.atom].unique().tolist()
        seen[hydrogen].append(noise)
        return oracle(environment, noise)

    placer = placer_of(system, beads[0], listening, gibbs(1))
    reconstruct(replace(placer, network=Network(listening, Grid(), noise=16, amplitude=(0.5, 0.8))))
    for hydrogen, width in ((False, 0.5), (True, 0.8)):
        assert float(torch.cat(seen[hydrogen]).std()) == pytest.approx(width, rel=0.02)


def test_random_numbers_of_a_frame_do_not_depend_on_its_company() -> None:
    both, one = make_random_numbers([3, 8], seed=5), make_random_numbers([8], seed=5)
    torch.testing.assert_close(both.normal(8, 4)[4:], one.normal(4, 4))
    torch.testing.assert_close(both.angle(6)[3:], one.angle(3))
    torch.testing.assert_close(both.spawn().angle(4)[2:], one.spawn().angle(2))
    assert not torch.equal(one.spawn().angle(2), one.spawn().angle(2))
    other, again = make_random_numbers([8], seed=6), make_random_numbers([8], seed=5)
    assert not torch.equal(other.normal(4, 4), again.normal(4, 4))


def test_random_numbers_of_samples_are_their_own() -> None:
    """The first sample has the numbers of a run without others."""
    both, first = make_random_numbers([8, 8], [0, 1], seed=5), make_random_numbers([8], seed=5)
    numbers = both.normal(8, 4)
    torch.testing.assert_close(numbers[:4], first.normal(4, 4))
    assert not torch.equal(numbers[4:], numbers[:4])


def test_atoms_given_are_swept_instead_of_grown(octane: tuple[System, list[Frame], list[Frame]]) -> None:
    """Without a sweep they stay; with one the oracle corrects them all, and nothing is grown."""
    system, beads, atoms = octane
    oracle = Oracle(system, beads[:1], atoms[:1], grid=Grid())
    truth = torch.from_numpy(oracle.truth(0)).float()
    start = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for sweeps in (0, 1):
        result = reconstruct(placer_of(system, beads[0], oracle, gibbs(sweeps)), start=start)
        found.append(result)
        assert sum(oracle.calls) == sweeps * system.n_atoms
    torch.testing.assert_close(found[0], start)
    assert (found[1] - truth).norm(dim=1).max() < PICOMETRE + GRID_ERROR

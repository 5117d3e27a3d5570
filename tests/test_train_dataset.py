"""Environments of a dataset are those of its frames; energies of sequences are those of the force field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from systems import Example

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.errors import InputError
from dbm_gmx.files.share import share_path
from dbm_gmx.network.environment import Targets, densities, make_environment, make_targets
from dbm_gmx.network.guide_steps import ALL_KNOWN
from dbm_gmx.network.scoring import make_scorer
from dbm_gmx.network.voxels import Grid, collapse, density_of
from dbm_gmx.train.batches import Batch, blur, draw_atoms, draw_batch, local_position, look_up
from dbm_gmx.train.dataset import GROWTH, REDRAW, SWEEP, Dataset, make_dataset
from dbm_gmx.train.frames import TrainingSystem, channels_for, make_pair, read_training_system
from dbm_gmx.train.rollout import energies, roll_out, true_positions
from dbm_gmx.train.settings import SystemSettings

GRID = Grid(size=12, edge=1.8)  # no particle near its walls, which would cut densities


@pytest.fixture(scope="module")
def dataset(octane: Example) -> Dataset:
    """Two frames of the liquid: the same one, the second time pulled apart by a tenth."""
    frame = Frame(octane.atoms.astype(np.float32), octane.box)
    wide = Frame(frame.positions * np.float32(1.1), octane.box * 1.1)
    pairs = tuple(make_pair(octane.system, f, index=i) for i, f in enumerate((frame, wide)))
    system = TrainingSystem(octane.system, pairs, ())
    return make_dataset([system], octane.channels, grid=GRID)


def both_modes(dataset: Dataset, *, azimuth: float) -> Batch:
    """Sequences of the second frame, from a molecule in the middle, in either mode."""
    first = len(dataset.weight) // 2
    sequence = torch.arange(first + 80, first + 120).repeat(2)
    mode = torch.tensor([GROWTH, SWEEP]).repeat_interleave(40)
    length = dataset.sequences.start.diff()[sequence]
    order = torch.argsort(length, descending=True, stable=True)
    return Batch(sequence[order], mode[order], torch.full((80,), azimuth))


def scene_of_second(octane: Example):  # type: ignore[no-untyped-def]
    return octane.scene(atoms=(octane.atoms * np.float32(1.1)).astype(np.float32), box=octane.box * 1.1)


def test_true_places_give_the_environments_of_the_scene(octane: Example, dataset: Dataset) -> None:
    batch, scene = both_modes(dataset, azimuth=0.7), scene_of_second(octane)
    rolled = roll_out(dataset, batch, octane.features, true_positions(dataset))
    assert len(rolled.atom) == int(dataset.sequences.start.diff()[batch.sequence].sum())
    atom = rolled.atom - octane.arrays.n_atoms
    mode = batch.mode[rolled.sample]
    known_below = torch.where(mode == GROWTH, octane.arrays.growth_rank[atom], ALL_KNOWN)
    targets = Targets(atom, known_below, torch.zeros_like(atom))
    found = make_environment(scene, targets, torch.full((len(atom),), 0.7), GRID)
    torch.testing.assert_close(
        rolled.environment, densities(found, octane.features, GRID), atol=1e-3, rtol=1e-3
    )
    there = (found.rotation @ (scene.positions[0, atom] - found.centre)[..., None])[..., 0]
    torch.testing.assert_close(
        local_position(dataset, rolled.atom, torch.full((len(atom),), 0.7)), there, atol=1e-5, rtol=0
    )
    assert float(rolled.moved.abs().max()) == 0.0


def test_a_bead_drawn_anew_does_not_know_its_later_atoms(octane: Example, dataset: Dataset) -> None:
    """Of the stage; all others it knows, in training as in a sweep."""
    batch, scene = both_modes(dataset, azimuth=0.7), scene_of_second(octane)
    redrawn_batch = replace(batch, mode=torch.full_like(batch.mode, REDRAW))
    rolled = roll_out(dataset, redrawn_batch, octane.features, true_positions(dataset))
    atom = rolled.atom - octane.arrays.n_atoms
    redrawn, everything = (
        make_environment(
            scene, make_targets(atom, ALL_KNOWN, redraw=redraw), torch.full((len(atom),), 0.7), GRID
        )
        for redraw in (True, False)
    )
    expected = [densities(found, octane.features, GRID) for found in (redrawn, everything)]
    torch.testing.assert_close(rolled.environment, expected[0], atol=1e-3, rtol=1e-3)
    slot = dataset.slot[rolled.atom]
    last = slot + 1 == dataset.sequences.start.diff()[dataset.sequence[rolled.atom]]
    torch.testing.assert_close(expected[0][last], expected[1][last])
    missing = (everything.weights.sum(1) - redrawn.weights.sum(1))[~last]
    assert (missing >= 2).all()  # as a neighbour and as a bonded one


def test_later_atoms_know_earlier_ones_where_they_were_placed(octane: Example, dataset: Dataset) -> None:
    """A generator that is 0.03 nm off in z shifts the environments of later atoms by just that."""
    batch = both_modes(dataset, azimuth=0.0)
    off = torch.tensor([0.0, 0.0, 0.03])

    def place(
        environment: torch.Tensor, label: torch.Tensor, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        density = density_of(truth + off, GRID)
        return density, collapse(density, GRID)

    rolled = roll_out(dataset, batch, octane.features, place)
    second = rolled.steps[1]
    plain = look_up(
        dataset,
        second.environment.atom,
        mode=batch.mode[: len(second.pair)],
        azimuth=batch.azimuth[: len(second.pair)],
    )
    moved = second.environment.positions - plain.environment.positions
    source = second.environment.neighbour
    first_of = dataset.sequences.items[dataset.sequences.start[batch.sequence[: len(source)]]]
    is_first = source == first_of[:, None]
    assert int(is_first.sum()) > len(source)  # as a neighbour and as a bonded one
    torch.testing.assert_close(
        moved[is_first][:, 2], torch.full_like(moved[is_first][:, 2], 0.03), atol=3e-3, rtol=0
    )
    assert float(moved[~is_first].abs().max()) == 0.0


def atoms_of(dataset: Dataset, sequence: torch.Tensor) -> torch.Tensor:
    return dataset.sequences.items[dataset.sequences.start[sequence] : dataset.sequences.start[sequence + 1]]


def test_energies_are_those_of_the_scorer(octane: Example, dataset: Dataset) -> None:
    batch, scene = both_modes(dataset, azimuth=1.1), scene_of_second(octane)
    found = energies(
        dataset, batch, roll_out(dataset, batch, octane.features, true_positions(dataset)), ceiling=1e9
    )
    scorer = make_scorer(octane.system, octane.arrays, grid=GRID, batch=512)
    known = tuple(t for t in scorer.tables if not t.name.startswith("coulomb14"))  # not in the prior
    scorer = replace(scorer, tables=known)
    # in growth the scorer knows a whole stage, so atoms of other molecules that are later here
    tables = tuple(t for t in known if not t.name.startswith("pairs"))
    bonded = replace(scorer, tables=tables, grid=Grid(cutoff=1e-3))
    redrawn_batch = replace(batch, mode=torch.where(batch.mode == SWEEP, REDRAW, batch.mode))
    rolled = roll_out(dataset, redrawn_batch, octane.features, true_positions(dataset))
    for part, energy in energies(dataset, redrawn_batch, rolled, ceiling=1e9).items():
        torch.testing.assert_close(energy, found[part], atol=0.02, rtol=1e-3)
    for k in range(0, 80, 3):
        atoms = atoms_of(dataset, batch.sequence[k]) - octane.arrays.n_atoms
        bead = octane.arrays.owner[atoms[:1]]
        if batch.mode[k] == SWEEP:
            expected = scorer.energies(scene, bead, atoms, ALL_KNOWN)
            energy = sum(part[k] for part in found.values())
        else:
            expected = bonded.energies(scene, bead, atoms, int(octane.arrays.growth_rank[atoms].max()) + 1)
            energy = sum(found[part][k] for part in ("bond", "angle", "dihedral"))
        assert float(energy) == pytest.approx(float(expected.sum()), rel=1e-3, abs=0.02)


def test_batches_follow_weights_and_modes(dataset: Dataset) -> None:
    rng = torch.Generator().manual_seed(3)
    batch = draw_batch(dataset, 4000, sweeps=0.25, rng=rng)
    length = dataset.sequences.start.diff()[batch.sequence]
    assert (length.diff() <= 0).all()
    for mode, part in ((GROWTH, 0.75), (SWEEP, 0.125), (REDRAW, 0.125)):
        assert float((batch.mode == mode).float().mean()) == pytest.approx(part, abs=0.03)
    assert float(batch.azimuth.min()) < 0.1
    assert float(batch.azimuth.max()) > 6.1
    atom, *_ = draw_atoms(dataset, 3000, rng=rng)
    assert set(dataset.slot[atom].unique().tolist()) == set(dataset.slot.unique().tolist())


def test_multiplicity_of_beads_and_share_of_systems_are_weights(octane: Example) -> None:
    mapping = octane.system.mappings["OCT"]
    heavier = replace(mapping, multiplicity=np.array([1, 3, 1, 1]))
    matches = tuple(replace(m, mapping=heavier) for m in octane.system.matches)
    system = replace(octane.system, matches=matches)
    pair = make_pair(system, Frame(octane.atoms.astype(np.float32), octane.box))
    both = [TrainingSystem(system, (pair,), (), share) for share in (1.0, 2.0)]
    dataset = make_dataset(both, octane.channels, grid=GRID)
    n = len(dataset.weight) // 2
    assert float(dataset.weight[n:].sum()) == pytest.approx(2 / 3)
    weight = dataset.weight[:n].reshape(-1, 4, 2)  # molecules, beads, heavy atoms and hydrogens
    assert torch.allclose(weight[:, 1], 3 * weight[:, 0])
    assert torch.allclose(weight[:, 2], weight[:, 0])


def test_frames_are_read_mapped_and_held_out() -> None:
    folder = share_path("examples", "octane")
    files = {
        "topology": folder / "topol.top",
        "trajectory": folder / "aa.xtc",
        "mapping": (folder / "mapping.xml",),
    }
    mapped = read_training_system(SystemSettings(**files, frames=3, held_out=1))
    assert (len(mapped.train), len(mapped.held_out)) == (2, 1)
    given = read_training_system(SystemSettings(**files, beads=folder / "cg.xtc", frames=3, held_out=1))
    # the beads that ship are those of the atoms, rounded to 0.001 nm
    torch.testing.assert_close(given.train[1].beads, mapped.train[1].beads, atol=2e-3, rtol=0)
    assert not torch.equal(given.train[1].beads, mapped.train[1].beads)
    with pytest.raises(InputError, match="3 frames, of which 3 are held out: none to train on"):
        read_training_system(SystemSettings(**files, frames=3, held_out=3))
    assert channels_for([mapped.system]).width == 2 + 3 + 2 + 1 + 1


def test_blurred_beads_leave_the_distances_between_atoms(octane: Example, dataset: Dataset) -> None:
    """Atoms move together, by up to the width; the current bead stays in the middle."""
    rng = torch.Generator().manual_seed(3)
    atom, mode, azimuth = draw_atoms(dataset, 400, rng=rng)
    before = look_up(dataset, atom, mode=mode, azimuth=azimuth).environment
    truth = local_position(dataset, atom, azimuth)
    (one, other), moved = blur((before, before), truth, dataset.table, width=0.06, rng=rng)
    torch.testing.assert_close(one.positions, other.positions)
    is_atom = before.neighbour >= 0
    distance = (truth[:, None] - before.positions).norm(dim=2)[is_atom]
    after = (moved[:, None] - one.positions).norm(dim=2)[is_atom]
    torch.testing.assert_close(distance, after, atol=1e-5, rtol=0)
    current = before.rows >= dataset.table.current_row
    assert int(current.sum()) == 400
    assert float(one.positions[current].abs().max()) == 0
    bead = (before.rows >= dataset.table.bead_row) & ~current
    way = (one.positions - before.positions)[bead].square().mean().sqrt()
    assert float(way) == pytest.approx(0.06 / 3**0.5, rel=0.1)  # of widths that are uniform below
    assert 0.03 < float((moved - truth).square().mean().sqrt()) < 0.06


def test_with_a_guide_only_heavy_atoms_are_learnt_and_none_as_in_a_sweep(octane: Example) -> None:
    """Hydrogens are the guide's, and a sweep draws beads as if their atoms were not there."""
    pair = make_pair(octane.system, Frame(octane.atoms.astype(np.float32), octane.box))
    system = TrainingSystem(octane.system, (pair,), ())
    guided, full = (make_dataset([system], octane.channels, grid=GRID, guided=g) for g in (True, False))
    atom, mode, azimuth = draw_atoms(guided, 400, rng=torch.Generator().manual_seed(3))
    assert not octane.arrays.hydrogen[atom].any()
    assert set(mode.tolist()) == {GROWTH, REDRAW}
    assert float((mode == REDRAW).float().mean()) == pytest.approx(2 / 3, abs=0.08)
    found, wanted = (look_up(d, atom, mode=mode, azimuth=azimuth).environment for d in (guided, full))
    torch.testing.assert_close(found.positions, wanted.positions)
    count = guided.entry_start.diff()
    assert not count[octane.arrays.hydrogen.repeat(2)].any()

"""What a corpus holds is what a scene shows, and energies of sequences are those of the force field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from systems import Example

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.errors import InputError
from dbm_gmx.files.share import share_path
from dbm_gmx.network.environment import ALL_KNOWN, densities, surround
from dbm_gmx.network.scoring import Judge
from dbm_gmx.network.voxels import Grid, collapse, density_of
from dbm_gmx.train.batches import Batch, blur, draw_atoms, draw_batch, local_place, look
from dbm_gmx.train.dataset import ANEW, GROWTH, SWEEP, Corpus, make_corpus
from dbm_gmx.train.frames import TrainingSystem, channels_for, make_pair, read_training_system
from dbm_gmx.train.rollout import energies, roll_out, true_place
from dbm_gmx.train.settings import SystemSettings

GRID = Grid(size=12, edge=1.8)  # no particle near its walls, which would cut densities


@pytest.fixture(scope="module")
def corpus(octane: Example) -> Corpus:
    """Two frames of the liquid: the same one, the second time pulled apart by a tenth."""
    frame = Frame(octane.atoms.astype(np.float32), octane.box)
    wide = Frame(frame.positions * np.float32(1.1), octane.box * 1.1)
    pairs = tuple(make_pair(octane.system, f, index=i) for i, f in enumerate((frame, wide)))
    system = TrainingSystem(octane.system, pairs, ())
    return make_corpus([system], octane.channels, grid=GRID)


def both_modes(corpus: Corpus, *, azimuth: float) -> Batch:
    """Sequences of the second frame, from a molecule in the middle, in either mode."""
    first = len(corpus.weight) // 2
    sequence = torch.arange(first + 80, first + 120).repeat(2)
    mode = torch.tensor([GROWTH, SWEEP]).repeat_interleave(40)
    length = corpus.sequences.start.diff()[sequence]
    order = torch.argsort(length, descending=True, stable=True)
    return Batch(sequence[order], mode[order], torch.full((80,), azimuth))


def scene_of_second(octane: Example):  # type: ignore[no-untyped-def]
    return octane.scene(atoms=(octane.atoms * np.float32(1.1)).astype(np.float32), box=octane.box * 1.1)


def test_true_places_give_the_environments_of_the_scene(octane: Example, corpus: Corpus) -> None:
    batch, scene = both_modes(corpus, azimuth=0.7), scene_of_second(octane)
    rolled = roll_out(corpus, batch, octane.features, true_place(corpus))
    assert len(rolled.atom) == int(corpus.sequences.start.diff()[batch.sequence].sum())
    atom = rolled.atom - octane.arrays.n_atoms
    mode = batch.mode[rolled.sample]
    seen = surround(
        scene,
        atom,
        now=torch.where(mode == GROWTH, octane.arrays.growth_rank[atom], ALL_KNOWN),
        azimuth=torch.full((len(atom),), 0.7),
        replica=torch.zeros_like(atom),
        grid=GRID,
    )
    torch.testing.assert_close(
        rolled.environment, densities(seen, octane.features, GRID), atol=1e-3, rtol=1e-3
    )
    there = (seen.rotation @ (scene.positions[0, atom] - seen.centre)[..., None])[..., 0]
    torch.testing.assert_close(
        local_place(corpus, rolled.atom, torch.full((len(atom),), 0.7)), there, atol=1e-5, rtol=0
    )
    assert float(rolled.moved.abs().max()) == 0.0


def test_a_bead_drawn_anew_does_not_see_what_is_to_come(octane: Example, corpus: Corpus) -> None:
    """Of its own atoms of the stage; all others it sees, in training as in a sweep."""
    batch, scene = both_modes(corpus, azimuth=0.7), scene_of_second(octane)
    anew = replace(batch, mode=torch.full_like(batch.mode, ANEW))
    rolled = roll_out(corpus, anew, octane.features, true_place(corpus))
    atom = rolled.atom - octane.arrays.n_atoms
    common = {
        "now": torch.full_like(atom, ALL_KNOWN),
        "azimuth": torch.full((len(atom),), 0.7),
        "replica": torch.zeros_like(atom),
        "grid": GRID,
    }
    seen, everything = (surround(scene, atom, anew=hide, **common) for hide in (True, False))
    shown = [densities(view, octane.features, GRID) for view in (seen, everything)]
    torch.testing.assert_close(rolled.environment, shown[0], atol=1e-3, rtol=1e-3)
    slot = corpus.slot[rolled.atom]
    last = slot + 1 == corpus.sequences.start.diff()[corpus.sequence[rolled.atom]]
    torch.testing.assert_close(shown[0][last], shown[1][last])
    missing = (everything.weights.sum(1) - seen.weights.sum(1))[~last]
    assert (missing >= 2).all()  # as a neighbour and as a bonded one


def test_later_atoms_see_earlier_ones_where_they_were_placed(octane: Example, corpus: Corpus) -> None:
    """A generator that is 0.03 nm off in z shifts what later atoms see by just that."""
    batch = both_modes(corpus, azimuth=0.0)
    off = torch.tensor([0.0, 0.0, 0.03])

    def place(
        environment: torch.Tensor, label: torch.Tensor, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        density = density_of(truth + off, GRID)
        return density, collapse(density, GRID)

    rolled = roll_out(corpus, batch, octane.features, place)
    second = rolled.views[1]
    plain = look(
        corpus,
        second.environment.atom,
        mode=batch.mode[: len(second.pair)],
        azimuth=batch.azimuth[: len(second.pair)],
    )
    moved = second.environment.positions - plain.environment.positions
    source = second.source
    first_of = corpus.sequences.items[corpus.sequences.start[batch.sequence[: len(source)]]]
    is_first = source == first_of[:, None]
    assert int(is_first.sum()) > len(source)  # as a neighbour and as a bonded one
    torch.testing.assert_close(
        moved[is_first][:, 2], torch.full_like(moved[is_first][:, 2], 0.03), atol=3e-3, rtol=0
    )
    assert float(moved[~is_first].abs().max()) == 0.0


def atoms_of(corpus: Corpus, sequence: torch.Tensor) -> torch.Tensor:
    return corpus.sequences.items[corpus.sequences.start[sequence] : corpus.sequences.start[sequence + 1]]


def test_energies_are_those_of_the_judge(octane: Example, corpus: Corpus) -> None:
    batch, scene = both_modes(corpus, azimuth=1.1), scene_of_second(octane)
    found = energies(corpus, batch, roll_out(corpus, batch, octane.features, true_place(corpus)), ceiling=1e9)
    judge = Judge(octane.system, octane.arrays, grid=GRID, batch=512)
    known = [t for t in judge.tables if not t.name.startswith("coulomb14")]  # not in the prior
    judge.tables = known
    # in growth the judge looks back at a whole stage, so at atoms of other molecules that are later here
    bonded = Judge(octane.system, octane.arrays, grid=Grid(cutoff=1e-3), batch=512)
    bonded.tables = [t for t in known if not t.name.startswith("pairs")]
    anew = replace(batch, mode=torch.where(batch.mode == SWEEP, ANEW, batch.mode))
    rolled = roll_out(corpus, anew, octane.features, true_place(corpus))
    for part, energy in energies(corpus, anew, rolled, ceiling=1e9).items():
        torch.testing.assert_close(energy, found[part], atol=0.02, rtol=1e-3)
    for k in range(0, 80, 3):
        atoms = atoms_of(corpus, batch.sequence[k]) - octane.arrays.n_atoms
        bead = octane.arrays.owner[atoms[:1]]
        if batch.mode[k] == SWEEP:
            expected = judge(scene, bead, atoms, ALL_KNOWN, 0)
            energy = sum(part[k] for part in found.values())
        else:
            expected = bonded(scene, bead, atoms, int(octane.arrays.growth_rank[atoms].max()) + 1, 0)
            energy = sum(found[part][k] for part in ("bond", "angle", "dihedral"))
        assert float(energy) == pytest.approx(float(expected.sum()), rel=1e-3, abs=0.02)


def test_batches_follow_weights_and_modes(corpus: Corpus) -> None:
    rng = torch.Generator().manual_seed(3)
    batch = draw_batch(corpus, 4000, sweeps=0.25, rng=rng)
    length = corpus.sequences.start.diff()[batch.sequence]
    assert (length.diff() <= 0).all()
    for mode, part in ((GROWTH, 0.75), (SWEEP, 0.125), (ANEW, 0.125)):
        assert float((batch.mode == mode).float().mean()) == pytest.approx(part, abs=0.03)
    assert float(batch.azimuth.min()) < 0.1
    assert float(batch.azimuth.max()) > 6.1
    atom, *_ = draw_atoms(corpus, 3000, rng=rng)
    assert set(corpus.slot[atom].unique().tolist()) == set(corpus.slot.unique().tolist())


def test_multiplicity_of_beads_and_share_of_systems_are_weights(octane: Example) -> None:
    mapping = octane.system.mappings["OCT"]
    heavier = replace(mapping, multiplicity=np.array([1, 3, 1, 1]))
    matches = tuple(replace(m, mapping=heavier) for m in octane.system.matches)
    system = replace(octane.system, matches=matches)
    pair = make_pair(system, Frame(octane.atoms.astype(np.float32), octane.box))
    both = [TrainingSystem(system, (pair,), (), share) for share in (1.0, 2.0)]
    corpus = make_corpus(both, octane.channels, grid=GRID)
    n = len(corpus.weight) // 2
    assert float(corpus.weight[n:].sum()) == pytest.approx(2 / 3)
    weight = corpus.weight[:n].reshape(-1, 4, 2)  # molecules, beads, heavy atoms and hydrogens
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


def test_blurred_beads_leave_the_distances_between_atoms(octane: Example, corpus: Corpus) -> None:
    """Atoms move together, by up to the width; the current bead stays in the middle."""
    rng = torch.Generator().manual_seed(3)
    atom, mode, azimuth = draw_atoms(corpus, 400, rng=rng)
    seen = look(corpus, atom, mode=mode, azimuth=azimuth).environment
    truth = local_place(corpus, atom, azimuth)
    (one, other), moved = blur((seen, seen), truth, corpus.table, width=0.06, rng=rng)
    torch.testing.assert_close(one.positions, other.positions)
    is_atom = seen.neighbour >= 0
    before = (truth[:, None] - seen.positions).norm(dim=2)[is_atom]
    after = (moved[:, None] - one.positions).norm(dim=2)[is_atom]
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)
    current = seen.rows >= corpus.table.current_row
    assert int(current.sum()) == 400
    assert float(one.positions[current].abs().max()) == 0
    bead = (seen.rows >= corpus.table.bead_row) & ~current
    way = (one.positions - seen.positions)[bead].square().mean().sqrt()
    assert float(way) == pytest.approx(0.06 / 3**0.5, rel=0.1)  # of widths that are uniform below
    assert 0.03 < float((moved - truth).square().mean().sqrt()) < 0.06

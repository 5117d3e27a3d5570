"""A memory of fragments: what is recalled on beads that lie alike, and whether that is worth it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cut import Cut, cut, let_full_frames_end_lower, search_less
from scipy.spatial.transform import Rotation

import dbm_gmx.sampling.memory as memory_module
from dbm_gmx.backmapping.backmap import backmap
from dbm_gmx.backmapping.independent import annealed_longer
from dbm_gmx.backmapping.ready import Ready, make_ready
from dbm_gmx.backmapping.rebuilder import Rebuilt, make_rebuilder
from dbm_gmx.backmapping.summary import Tally, Told
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import bead_graph
from dbm_gmx.chemistry.stereo import chirality_of, stereo_elements, stereocentres
from dbm_gmx.files.share import share_path
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.options import Conditions, Method, Settings
from dbm_gmx.sampling.chain import advance, start_chain
from dbm_gmx.sampling.energy import bead_energy, total_energy
from dbm_gmx.sampling.growth import Molecules, mend
from dbm_gmx.sampling.memory import (
    BROAD,
    SHARP,
    Candidates,
    Memory,
    Site,
    Wanted,
    _drawn_together,
    make_sites,
    recall,
    remember,
)
from dbm_gmx.sampling.packing import make_schedule
from dbm_gmx.sampling.random_numbers import Stream, frame_stream
from dbm_gmx.sampling.recollection import (
    EVERY,
    FEWEST,
    FILLED,
    SWEEPS,
    _enough,
    _ladder,
    _Recalled,
    make_recollection,
)
from dbm_gmx.sampling.sampler import (
    MANY,
    ONE_OF,
    Effort,
    Sampler,
    _grow_all,
    _usable,
    configure,
    make_sampler,
    pack_frame,
)

pytestmark = pytest.mark.usefixtures("less_search")

WARM = Conditions(350.0, constraints="none", rvdw=0.9, rcoulomb=0.9, spread=0.003)
FRAMES, COPIES = 9, 12
SETTINGS = Settings(annealing=0, check=False, tolerance=0.3)


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Frames of a few molecules of octane."""
    folder = tmp_path_factory.mktemp("liquid")
    return cut(share_path("examples", "octane"), folder / "octane", "OCT", COPIES, frames=FRAMES)


@pytest.fixture(scope="module")
def polymer(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Four decamers of polystyrene."""
    folder = tmp_path_factory.mktemp("polymer")
    return cut(share_path("reference", "sps"), folder / "sps", "SPS", 4)


def remembered(made: Cut, *frames: int) -> Memory:
    found: Memory = {}
    for k in frames:
        found = remember(made.system, made.atoms[k].positions, made.beads[k], found, Stream((1, k)))
    return found


def wanted(made: Cut, beads: np.ndarray, states: np.ndarray | None = None, frame: int = 99) -> Wanted:
    match = made.system.matches[0]
    shape = (match.count, len(match.mapping.names), 3)
    count = len(stereo_elements(match.moltype))
    none = np.zeros((match.count, count), np.int8)
    return Wanted(match, beads.astype(np.float64).reshape(shape), none if states is None else states, frame)


def off(atoms: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Root mean square distance of each molecule, nm."""
    return np.sqrt(((atoms - known.reshape(atoms.shape)) ** 2).sum(axis=2).mean(axis=1))


# --- within a frame --------------------------------------------------------------------------------


def test_of_many_molecules_few_are_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # and the frame ends as low as where all are; molecules that do not come out well are grown after all
    search_less(monkeypatch)
    made = cut(share_path("reference", "sps"), tmp_path / "sps", "SPS", MANY)
    match, beads, ends, counts = made.system.matches[0], made.beads[0], [], []
    states = chirality_of(match.molecules(made.atoms[0].positions), stereo_elements(match.moltype))
    for memory in (True, False):
        settings = Settings(memory=memory)
        sampler = make_sampler(made.system, WARM, settings, {match.moltype.name: states})
        positions, _, _, grown = _grow_all(sampler, beads, None, frame_stream(1, 0, 0))
        counts.append(sum(len(rows) for _, rows, _ in grown))
        molecules = Molecules(
            match.beads(beads.positions).astype(np.float64),
            states,
            np.arange(MANY),
            0,
        )
        assert _usable(sampler.growers["SPS"], molecules, match.molecules(positions)).all()
        conf = configure(sampler, positions, beads)
        conf = pack_frame(sampler, conf, beads, frame_stream(1, 0, 0), make_schedule(0))
        chain = start_chain(configure(sampler, positions, beads, conf.neighbours))
        for _ in range(8):
            advance(chain, frame_stream(1, 0, 0), sampler.team)
        ends.append(float(np.mean(chain.energies[-4:])) / (sampler.hamiltonian.kt * made.system.n_atoms))
    assert MANY // ONE_OF <= counts[0] < MANY // 2
    assert counts[1] == MANY
    assert ends[0] < ends[1] + 0.06  # three errors of so few atoms


# --- recalling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["liquid", "polymer"])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_turned_and_mirrored_beads_recall_their_atoms(
    what: str, mirror: float, request: pytest.FixtureRequest
) -> None:
    made: Cut = request.getfixturevalue(what)
    known, rng = remembered(made, 0), np.random.default_rng(3)
    turn = mirror * Rotation.random(random_state=4).as_matrix().T
    shift = rng.normal(size=3)
    beads, atoms = (frame.positions @ turn + shift for frame in (made.beads[0], made.atoms[0]))
    states = mirror * chirality_of(
        made.system.matches[0].molecules(made.atoms[0].positions),
        stereo_elements(made.system.matches[0].moltype),
    )
    found, misfit = recall(known, wanted(made, beads, states.astype(np.int8)), Stream((1,)))
    assert np.median(misfit[0]) < 1e-4
    assert np.median(off(found[0], atoms)) < 2e-3
    assert np.median(off(-found[0], atoms)) > 0.05


def test_a_frame_never_recalls_itself(liquid: Cut) -> None:
    beads = liquid.beads[0]
    _, misfit = recall(
        remembered(liquid, 0), wanted(liquid, beads.positions, frame=beads.index), Stream((1,))
    )
    assert np.isinf(misfit).all()
    others, misfit = recall(
        remembered(liquid, 0, 1), wanted(liquid, beads.positions, frame=beads.index), Stream((1,))
    )
    assert np.isfinite(misfit).all()
    assert misfit.min() > 0.0
    assert (off(others[0], liquid.atoms[0].positions) < 1e-4).sum() == 0


def test_more_memory_fits_better(liquid: Cut) -> None:
    beads = liquid.beads[-1].positions
    few, many = (
        recall(remembered(liquid, *range(n)), wanted(liquid, beads), Stream((1,)))[1].mean() for n in (1, 8)
    )
    print(f"misfit {few:.4f} nm of one frame, {many:.4f} nm of eight")
    assert many < 0.8 * few


def test_stereocentres_are_those_asked_for(polymer: Cut) -> None:
    """All that beads say is where they are; what was remembered is of either hand, by its mirror images."""
    match, rng = polymer.system.matches[0], np.random.default_rng(5)
    known = remembered(polymer, 0)
    true = chirality_of(match.molecules(polymer.atoms[0].positions), stereo_elements(match.moltype))
    beads = polymer.beads[0].positions + rng.normal(scale=0.01, size=polymer.beads[0].positions.shape)
    centres = len(stereocentres(match.moltype))
    assert centres
    for states in (true, -true):
        found, misfit = recall(known, wanted(polymer, beads, states), Stream((1,)))
        got = chirality_of(found[0], stereo_elements(match.moltype))
        right = (got == states)[np.isfinite(misfit[0]).all(axis=1)]
        assert right.size
        assert right.mean() > 0.9


def test_what_was_never_seen_is_not_recalled(liquid: Cut, polymer: Cut) -> None:
    _, misfit = recall(remembered(liquid, 0), wanted(polymer, polymer.beads[0].positions), Stream((1,)))
    assert np.isinf(misfit).all()


def test_no_more_is_remembered_than_there_is_space(liquid: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MOST", 30)
    known = remembered(liquid, 0, 1, 2)
    assert {len(fragments) for fragments in known.values()} == {30}
    some = next(iter(known.values()))
    assert len(np.unique(some.frame)) > 1  # of any frame, not of the first or the last


def test_large_systems_are_recalled_in_parts(liquid: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    known, beads = remembered(liquid, 0, 1), liquid.beads[2].positions
    at_once, _ = recall(known, wanted(liquid, beads), Stream((1,)))
    monkeypatch.setattr(memory_module, "AT_ONCE", 1)
    in_parts, _ = recall(known, wanted(liquid, beads), Stream((1,)))
    centres = np.stack([x.reshape(COPIES, -1, 3).mean(axis=1) for x in (at_once[0], in_parts[0])])
    assert np.abs(centres[0] - centres[1]).max() < 0.05


# --- neighbours that agree -------------------------------------------------------------------------


def test_candidates_of_neighbours_agree(liquid: Cut) -> None:
    """Two conformations that beads do not tell apart: all of one or all of the other, each as often."""
    match = liquid.system.matches[0]
    sites, copies = make_sites(match.moltype, match.mapping), 4000
    shapes = np.random.default_rng(1).normal(scale=0.1, size=(2, match.moltype.n_atoms, 3))

    def of(site: Site) -> Candidates:
        atoms = np.broadcast_to(shapes[:, site.atoms], (copies, 2, len(site.atoms), 3))
        return Candidates(np.array(atoms), np.zeros((copies, 2)))

    graph, rng = bead_graph(match.mapping, match.moltype), np.random.default_rng(2)
    candidates = {k: of(site) for k, site in enumerate(sites)}
    (chosen,) = _drawn_together(graph, sites, candidates, rng, 1, SHARP)
    assert (chosen == chosen[0]).all()
    assert abs(chosen[0].mean() - 0.5) < 4 * 0.5 / copies**0.5
    # and what a bead says of itself counts for all
    lonely = replace(candidates[3], misfit=np.tile([0.0, SHARP.unlike * np.sqrt(2 * np.log(3))], (copies, 1)))
    (chosen,) = _drawn_together(graph, sites, {**candidates, 3: lonely}, rng, 1, SHARP)
    assert abs(chosen[0].mean() - 0.25) < 4 * 0.44 / copies**0.5


def test_broad_draws_differ(liquid: Cut) -> None:
    known, beads = remembered(liquid, 0, 1, 2), wanted(liquid, liquid.beads[3].positions)

    def spread(breadth: memory_module.Breadth) -> float:
        found, _ = recall(known, beads, Stream((1,)), draws=8, breadth=breadth)
        return float(found.std(axis=0).mean())

    assert spread(BROAD) > 1.5 * spread(SHARP)


def test_a_molecule_in_the_wrong_state_is_mended(polymer: Cut) -> None:
    match = polymer.system.matches[0]
    right, elements = match.molecules(polymer.atoms[0].positions), stereo_elements(match.moltype)
    wanted, beads = chirality_of(right, elements), match.beads(polymer.beads[0].positions).astype(np.float64)
    sampler = make_sampler(polymer.system, WARM, Settings(), {match.moltype.name: wanted})
    molecules = Molecules(beads, wanted, np.arange(match.count), 0)
    wrong = right.astype(np.float64)
    # two neighbours of a carbon in each other's place
    first, second = elements[3, 1:3]
    wrong[:, [first, second]] = wrong[:, [second, first]]
    assert (chirality_of(wrong, elements) != wanted).any(axis=1).all()
    mend(sampler.growers[match.moltype.name], molecules, wrong, Stream((1,)))
    assert (chirality_of(wrong, elements) == wanted).all()


# --- whether it is worth it ------------------------------------------------------------------------


def test_as_many_sweeps_as_the_energy_takes() -> None:
    falling = np.concatenate([np.linspace(0.1, 0.0, FEWEST + EVERY), np.zeros(SWEEPS - FEWEST - EVERY)])
    assert _enough(np.zeros(SWEEPS), 0.015) == FEWEST
    assert FEWEST < _enough(falling, 0.015) <= FEWEST + 2 * EVERY
    assert _enough(falling, 0.06) < _enough(falling, 0.015) <= _enough(falling, 0.001)


@pytest.fixture(scope="module")
def timed(liquid: Cut) -> tuple[Ready, float]:
    """Few molecules remember little: more is allowed than usual.  And the CPU time of it all."""
    method = Method(SETTINGS, WARM)
    mapper = make_rebuilder(liquid.system, method, frames=FRAMES)
    begin = time.process_time()
    ready = make_ready(mapper, lambda n: liquid.beads[:n], frames=FRAMES)
    return ready, time.process_time() - begin


@pytest.fixture(scope="module")
def ready(timed: tuple[Ready, float]) -> Ready:
    """All that was open is settled."""
    return timed[0]


@pytest.fixture(scope="module")
def made(liquid: Cut, ready: Ready) -> list[Rebuilt]:
    """All frames."""
    return list(ready.mapper(liquid.beads))


def test_recalled_frames_are_as_low_as_is_said(liquid: Cut, ready: Ready, made: list[Rebuilt]) -> None:
    """The first frames in full, the others recalled."""
    assert ready.remembered is not None
    assert ready.remembered.how is not None, ready.remembered.line()
    assert [one.refinement.recalled for one in made] == [0] * 4 + [1] * (FRAMES - 4)
    full = make_sampler(liquid.system, WARM, Settings(annealing=0), {})
    kt = full.hamiltonian.kt * liquid.system.n_atoms
    apart = []
    for beads, one in zip(liquid.beads[4:7], made[4:7], strict=True):
        recalled, usual = one.positions, full(beads)[0]
        assert recalled is not None
        energies = [energy_of(full, x, beads) for x in (recalled, usual)]
        apart.append((energies[0] - energies[1]) / kt)
    error = np.std(apart, ddof=1) / len(apart) ** 0.5
    print(f"recalled less full: {np.mean(apart):+.3f} +- {error:.3f} kT per atom")
    # what is said is a mean of few frames itself
    error *= (1 + len(apart) / FILLED) ** 0.5
    assert np.mean(apart) < ready.remembered.excess + 0.03 + 2 * error
    assert np.mean(apart) < 0.15


def energy_of(sampler: Sampler, positions: np.ndarray, beads: Frame) -> float:
    """kJ/mol."""
    return float(total_energy(configure(sampler, positions.astype(np.float64), beads)))


def test_frames_do_not_depend_on_each_other(liquid: Cut, ready: Ready, made: list[Rebuilt]) -> None:
    """Alone, after others, and beside another."""
    (alone,) = ready.mapper(liquid.beads[6:7])
    beside = list(replace(ready.mapper, workers=2)(liquid.beads[5:7]))
    np.testing.assert_array_equal(alone.positions, made[6].positions)
    np.testing.assert_array_equal(beside[1].positions, made[6].positions)


def test_samples_of_a_recalled_frame_differ(liquid: Cut, ready: Ready) -> None:
    """Also of a frame that is remembered: it does not recall itself."""
    sampler = ready.mapper.sampler
    assert sampler is not None
    first, second = (sampler(liquid.beads[0], sample=k)[0] for k in (1, 2))
    known, _ = ready.mapper.done[0]
    for a, b in ((first, second), (first, known)):
        assert np.median(off(a.reshape(COPIES, -1, 3), b)) > 0.01


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cut, Sampler]:
    """Three frames of four molecules, and what samples them."""
    found = cut(
        share_path("examples", "octane"), tmp_path_factory.mktemp("few") / "octane", "OCT", 4, frames=3
    )
    return found, make_sampler(found.system, WARM, Settings(annealing=0, seed=2), {})


def test_frames_that_would_end_higher_are_not_recalled(
    few: tuple[Cut, Sampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_full_frames_end_lower(monkeypatch, 0.3)
    after, found = make_recollection(few[1], few[0].beads)
    print(found.line())
    assert found.how is None
    assert after.recollection is None
    assert "not used" in found.line()
    assert 0.1 < found.excess < 0.5


def test_bonds_and_angles_are_not_compared(few: tuple[Cut, Sampler], monkeypatch: pytest.MonkeyPatch) -> None:
    """They scatter most, and know nothing of what is caught: if all terms were like them, no excess."""
    monkeypatch.setattr(
        "dbm_gmx.sampling.chain.stiff_energy", lambda conf: total_energy(conf) - bead_energy(conf)
    )
    _, found = make_recollection(few[1], few[0].beads)
    assert found.excess == pytest.approx(0.0, abs=1e-3)


def test_recalled_frames_are_offered_conformers_where_that_brings_them_down(
    few: tuple[Cut, Sampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many rounds as it takes, and at most half of those of frames in full."""
    asked = list[range]()

    def recalled(_sampler: object, _memory: object, beads: Frame, *_: object) -> Iterator[_Recalled]:
        """By themselves all frames but the first are low enough at once."""
        ends = (0.03 if beads.index == 0 else 0.01), 0.0, 0.0
        return (  # and no beads are too unlike those remembered
            _Recalled(1.0, (n, 0), end, np.zeros(SWEEPS)) for n, end in zip((0, 1, 2), ends, strict=True)
        )

    monkeypatch.setattr("dbm_gmx.sampling.recollection._recalled", recalled)
    made, sampler = few
    after, found = make_recollection(replace(sampler, effort=Effort(offers=4)), made.beads)
    assert found.how is not None
    assert (found.how.offers, found.how.windows) == (1, 0)
    assert f"are recalled, with 1 round of offers, {FEWEST} sweeps" in found.line()
    monkeypatch.setattr("dbm_gmx.sampling.sampler.offer", lambda *given: asked.append(given[3]))
    assert after(replace(made.beads[0], index=9))[1].recalled
    assert asked == [range(1)]


def test_what_recalled_frames_are_tried_with() -> None:
    assert _ladder(Effort()) == [(0, 0)]
    assert _ladder(Effort(offers=8)) == [(0, 0), (1, 0), (2, 0), (4, 0)]
    assert _ladder(Effort(offers=2, windows=128)) == [(0, 0), (1, 0), (1, 32), (1, 64)]


def test_a_frame_unlike_those_remembered_is_made_anew(liquid: Cut, ready: Ready) -> None:
    sampler = ready.mapper.sampler
    assert sampler is not None
    assert sampler.recollection is not None
    strict = replace(sampler, recollection=replace(sampler.recollection, misfit=1e-6))
    positions, convergence = strict(liquid.beads[5])
    anew, _ = replace(sampler, recollection=None)(liquid.beads[5])
    assert not convergence.recalled
    np.testing.assert_array_equal(positions, anew)


def test_independent_starts_recall_nothing(ready: Ready) -> None:
    assert ready.mapper.sampler is not None
    assert annealed_longer(ready.mapper.sampler).recollection is None


@pytest.mark.parametrize("number", [0, 6])
def test_a_frame_is_made_again_as_it_was(
    liquid: Cut, ready: Ready, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """In full, if it is one of those that are remembered."""
    found: list[np.ndarray] = []
    monkeypatch.setattr(
        "dbm_gmx.backmapping.rebuilder.begin_until_clear", lambda *given: found.append(given[3](5)) or ()
    )
    sampler = ready.mapper.sampler
    assert sampler is not None
    ready.mapper._sample(sampler, Rebuilt(liquid.beads[number], 0, checked=True))
    if number in ready.mapper.done:
        sampler = replace(sampler, recollection=None)
    np.testing.assert_array_equal(found[0], sampler(liquid.beads[number], sample=5)[0])


def test_the_summary_says_what_was_recalled(liquid: Cut, ready: Ready, made: list[Rebuilt]) -> None:
    told = Told(assigned=ready.assigned, remembered=ready.remembered, once={"memory": 12.0})
    tally = Tally(liquid.system, {}, told)
    for one in made:
        tally.add(one.atoms, one.beads, one.refinement)
    said = tally.report().text()
    assert f"{FRAMES - 4} recalled" in said
    assert "memory         of 4 frames" in said
    labels = [line[:14].strip() for line in said.splitlines() if line.startswith("CPU")]
    assert labels == ["CPU in full", "CPU recalled", "CPU once"]


def test_frames_in_full_are_no_part_of_what_trials_cost(timed: tuple[Ready, float]) -> None:
    """They are counted as the frames they are."""
    ready, spent = timed
    frames = sum(sum(convergence.cpu.values()) for _, convergence in ready.mapper.done.values())
    assert frames > 0.1 * spent
    assert frames + sum(ready.once.values()) == pytest.approx(spent, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "frames"),
    [
        (replace(SETTINGS, memory=False), FRAMES),
        (replace(SETTINGS, sweeps=3), FRAMES),
        (SETTINGS, FRAMES // 2),
        (SETTINGS, None),
    ],
)
def test_nothing_is_remembered_where_that_is_not_wanted_or_does_not_pay(
    liquid: Cut, settings: Settings, frames: int | None
) -> None:
    mapper = make_rebuilder(liquid.system, Method(settings, WARM), frames=frames)
    found = make_ready(mapper, lambda n: liquid.beads[:n], frames=frames)
    assert found.remembered is None
    assert not found.mapper.done


def test_the_command_recalls_frames(
    liquid: Cut, ready: Ready, made: list[Rebuilt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From file to file; the frames sampled in full, before the first one, are written as they were."""
    monkeypatch.setattr("dbm_gmx.backmapping.run.make_ready", lambda *_, **__: ready)
    done = backmap(liquid.inputs, tmp_path / "aa.trr", Method(SETTINGS, WARM))
    frames = list(read_frames(tmp_path / "aa.trr", n_atoms=liquid.system.n_atoms))
    assert done.report.refinement.recalled == FRAMES - FILLED
    for frame, one in zip(frames, made, strict=True):
        np.testing.assert_allclose(frame.positions, one.positions, atol=1e-6)

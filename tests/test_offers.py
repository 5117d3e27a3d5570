"""Rounds in which long molecules are offered conformers: what is offered to whom, and how many rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cut import Cut, search_less, states_of

import dbm_gmx.sampling.preparation as preparation
import dbm_gmx.sampling.sampler as samplers
from dbm_gmx.backmapping.independent import annealed_longer
from dbm_gmx.chemistry.stereo import chirality_of, stereo_elements
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.candidates import IN_A_ROUND, Candidates
from dbm_gmx.sampling.growth import Grower
from dbm_gmx.sampling.packing import make_schedule
from dbm_gmx.sampling.preparation import Preparation, prepare
from dbm_gmx.sampling.random_numbers import Stream, frame_stream
from dbm_gmx.sampling.sampler import (
    ASKED,
    Effort,
    Sampler,
    configure,
    make_sampler,
    offer,
)

WARM = Conditions(568.0, constraints="none", rvdw=0.9, rcoulomb=0.9, spread=0.003)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """How good what is offered is asked elsewhere."""
    search_less(monkeypatch)


def sampler_of(made: Cut, **more: int) -> Sampler:
    return make_sampler(made.system, WARM, Settings(sweeps=0, **more), states_of(made))


# --- a round -----------------------------------------------------------------------------------------


def test_windows_of_all_long_molecules_are_offered_new_conformers_in_each_round(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in the first of four rounds, in the others those that had a choice in it."""
    sampler, seen = sampler_of(polymer), list[tuple[int, int, Any]]()
    rows, choosy = list[np.ndarray | None](), list[np.ndarray]()
    found, exchanged = samplers.find_candidates, samplers.exchange_conformers

    def offered(
        grower: Grower,
        group: Any,
        count: int,
        molecules: Any,
        positions: Any,
        stream: Stream,
        only: np.ndarray | None,
    ) -> Candidates:
        seen.append((len(molecules), count, stream.path))
        rows.append(only)
        assert any(group is one for one in grower.offered)
        return found(grower, group, 1, molecules, positions, stream, only)

    def chosen(conf: Any, candidates: Candidates, *others: Any, **more: Any) -> np.ndarray:
        choosy.append(exchanged(conf, candidates, *others, **more))
        assert (candidates.energy[choosy[-1], 1] < np.inf).all()
        if rows[-1] is not None:
            assert np.isin(choosy[-1], rows[-1]).all()
        return choosy[-1]

    monkeypatch.setattr(samplers, "find_candidates", offered)
    monkeypatch.setattr(samplers, "exchange_conformers", chosen)
    conf = configure(sampler, polymer.atoms[0].positions.astype(np.float64), polymer.beads[0])
    offer(sampler, conf, polymer.beads[0], range(ASKED + 1), frame_stream(1, 0, 0))
    groups = len(sampler.growers["SPS"].offered)
    assert len(seen) == (ASKED + 1) * groups
    assert {(molecules, count) for molecules, count, _ in seen} == {(2, IN_A_ROUND)}
    assert len({path for _, _, path in seen}) == len(seen)
    assert all(one is None for one in [*rows[:groups], *rows[-groups:]])
    assert 0 < sum(map(len, choosy[:groups])) < sum(map(len, sampler.growers["SPS"].offered)) * 2
    for number in range(groups, ASKED * groups):
        assert np.array_equal(rows[number], choosy[number % groups])


def test_conformers_are_chosen_and_stereocentres_stay(polymer: Cut) -> None:
    """A frame that is at equilibrium is a start like any other; and who asks for none gets none."""
    sampler, beads = sampler_of(polymer), polymer.beads[0]
    atoms = polymer.atoms[0].positions.astype(np.float64)
    conf = configure(sampler, atoms.copy(), beads)
    offer(sampler, conf, beads, range(0), frame_stream(1, 0, 0))
    assert np.array_equal(conf.positions, atoms)
    offer(sampler, conf, beads, range(1), frame_stream(1, 0, 0))
    moved = np.linalg.norm(conf.positions - atoms, axis=1)
    assert (moved > 0.1).mean() > 0.02
    match = polymer.system.matches[0]
    found = chirality_of(match.molecules(conf.positions), stereo_elements(match.moltype))
    assert np.array_equal(found, states_of(polymer)["SPS"])
    # mapped atoms are where their beads are
    conf = configure(sampler, conf.positions, beads)
    assert np.linalg.norm(conf.offsets, axis=1).max() < 0.02


def test_a_frame_is_offered_what_it_asks_for(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, packed, pack = list[range](), list[Any](), samplers.pack_frame

    def packing(*given: Any) -> Any:
        packed.append(given[4])
        return pack(*given)

    monkeypatch.setattr(samplers, "offer", lambda *given, **_: asked.append(given[3]))
    monkeypatch.setattr(samplers, "pack_frame", packing)
    _, how = sampler_of(polymer, offers=3)(polymer.beads[0])
    assert asked == [range(3)]
    assert "offers" in how.cpu
    # who chose did so among neighbours that stood still: they move for longer then
    sampler_of(polymer, offers=0)(polymer.beads[0])
    assert packed == [make_schedule(0, offered=True), make_schedule(0)]
    # one that begins near where it should be needs none
    near = sampler_of(polymer, offers=3)
    near(polymer.beads[0], start=polymer.atoms[0].positions, near=True)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("effort", "more"),
    [
        (Effort(2, 500, 8), (4, 1000, 16)),
        (Effort(2, 0, 8), (4, 0, 16)),  # short annealing would lose what offers have found
        (Effort(), (0, 1000, 0)),
        (Effort(32, 0, 256), (32, 0, 256)),  # never more than is tried
    ],
)
def test_an_independent_start_has_more_of_all(
    polymer: Cut, effort: Effort, more: tuple[int, int, int]
) -> None:
    assert annealed_longer(replace(sampler_of(polymer), effort=effort)).effort == more


# --- how many ----------------------------------------------------------------------------------------


def tried(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch, energies: Sequence[float], **more: int
) -> tuple[Sampler, Preparation, list[range], list[int]]:
    """What is prepared where trials have these energies, one after the other.

    Returns
    -------
    The rounds that were made, too, and the rounds after which each trial was packed.
    """
    made, packed, falling = list[range](), list[int](), iter(energies)

    def trial(sampler: Sampler, *_: object) -> SimpleNamespace:
        packed.append(sampler.effort.offers)
        return SimpleNamespace(energy=next(falling), strain={})

    def after(_: Sampler, __: object, starts: Any, rounds: range, ___: Stream) -> Any:
        made.append(rounds)
        return starts

    monkeypatch.setattr(preparation, "_try", trial)
    monkeypatch.setattr(preparation, "_after_offers", after)
    monkeypatch.setattr(preparation, "_grown", lambda *_, **__: [np.zeros((polymer.system.n_atoms, 3))])
    monkeypatch.setattr(preparation, "_scatter", lambda _: 0.01)
    monkeypatch.setattr(preparation, "_climb", lambda *given: (dict.fromkeys((0, 4000), given[-1]), 0.0))
    monkeypatch.setattr(preparation, "_confirmed", lambda *given: (given[-1], 0))
    monkeypatch.setattr(preparation, "_with_windows", lambda *given: dict.fromkeys((0, 32, 64), given[-1]))
    ready, found = prepare(sampler_of(polymer, **more), polymer.beads[0])
    return ready, found, made, packed


@pytest.mark.parametrize(
    ("energies", "rounds", "most"),
    [
        ([1.0, 1.1], 0, 2),
        ([1.0, 0.8, 0.8, 0.8, 0.8], 8, 8),  # caught for certain: other frames may need more than this one
        ([1.0, 0.8, 0.7, 0.7, 0.7], 8, 8),
        ([1.0, 0.9, 0.8, 0.7, 0.7], 8, 16),  # conformers are bred for eight: these are enough
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.6], 16, 32),  # sixteen still gain
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5], 32, 32),
        ([1.0, 0.99, 1.0, 1.0], 0, 2),  # chance: other starts show nothing
        ([1.0, 0.99, 1.0, 0.96, 0.98], 4, 4),  # they show a gain; twice as many as are enough for this one
    ],
)
def test_there_are_twice_as_many_rounds_as_are_enough_or_what_is_bred(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch, energies: list[float], rounds: int, most: int
) -> None:
    ready, found, made, packed = tried(polymer, monkeypatch, energies)
    assert ready.effort == found.effort == (rounds, 0, 0)
    assert max(found.offered) == most
    # as frames are after so many rounds
    assert packed == [
        0,
        2,
        *((0, 2) if energies[1] == 0.99 else ()),
        *(n for n in (4, 8, 16, 32) if n <= most),
    ]
    # rounds go on where those before them have ended; but what is bred is bred from the first one on
    said = [range(2)] * (2 if energies[1] == 0.99 else 1)
    assert made == said + [
        r for r in (range(2, 4), range(8), range(8, 16), range(16, 32)) if 2 < r.stop <= most
    ]


def test_what_more_rounds_would_gain_is_said(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found, *_ = tried(polymer, monkeypatch, [1.0, 0.9, 0.85, 0.8, 0.7, 0.65])
    assert found.left == pytest.approx(0.075)  # half of what has been gained since conformers are bred
    assert "after 32 rounds of offers" in found.lines(0.03)[0]
    assert "TOO FEW" in found.lines(0.03)[0]
    bred = replace(found, offered={0: 1.0, 2: 0.9, 4: 0.88, 8: 0.8, 16: 0.79}, effort=Effort(16))
    assert bred.left == pytest.approx(0.005)
    assert replace(found, offered={0: 1.0, 2: 0.9, 4: 0.9, 8: 0.9}, effort=Effort(8)).left == 0
    enough = replace(found, offered={0: 1.0, 2: 0.9, 4: 0.895}, effort=Effort(4))
    assert enough.left == pytest.approx(0.0025)
    assert "TOO FEW" not in enough.lines(0.03)[0]
    # also where nothing else was tried, as the user gives the rest
    alone = Preparation({}, {}, Effort(4, 500, 8), offered={0: 1.0, 2: 0.9, 4: 0.86})
    assert alone.left == pytest.approx(0.02)
    assert "500 steps and 8 sweeps with windows, after 4 rounds of offers" in alone.lines(0.03)[0]
    # windows that come after them have the last word
    later = replace(found, swept={0: 0.65, 32: 0.5, 64: 0.5, 128: 0.5}, effort=Effort(32, 0, 64))
    assert later.left == 0


@pytest.mark.parametrize(("anew", "different"), [(True, 4), (False, 1)])
def test_each_repeat_of_a_small_frame_is_grown_anew(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch, anew: bool, different: int
) -> None:
    """What growth of one is spared may catch another; large frames have many molecules."""
    where = sampler_of(polymer), polymer.beads[0], frame_stream(1, 0, 0)
    starts = preparation._grown(*where, anew=anew)
    assert len(starts) == 4
    assert len({start.tobytes() for start in starts}) == different
    monkeypatch.setattr(preparation, "ATOMS", polymer.system.n_atoms)
    assert len(preparation._grown(*where, anew=anew)) == 1


def test_rounds_that_are_given_are_made_and_not_tried(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, found, made, _ = tried(polymer, monkeypatch, [1.0, 0.9], offers=3)
    assert ready.effort.offers == found.effort.offers == 3
    assert made == [range(3)]
    assert not found.offered
    ready, found, made, _ = tried(polymer, monkeypatch, [1.0, 0.9], offers=0)
    assert ready.effort.offers == 0
    assert not made


def test_nobody_in_a_hurry_is_made_to_wait(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants no annealing wants no trials either."""
    ready, _, made, _ = tried(polymer, monkeypatch, [1.0], annealing=0)
    assert ready.effort == (0, 0, 0)
    assert not made

"""What is found out on a frame before all others: widths of the bead restraints, annealing, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, pairwise
from types import SimpleNamespace

import exact
import numpy as np
import pytest
from cut import Cut, cut, energies, equilibrated

from dbm_gmx.backmapping.independent import Twin, begin_until_clear, compare_twins, is_begun_anew
from dbm_gmx.backmapping.summary import Refinement, Report
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.files.share import share_path
from dbm_gmx.forcefield.block_energies import block_energies
from dbm_gmx.forcefield.equilibrium import SCATTER
from dbm_gmx.forcefield.nonbonded import coulomb, coulomb_force
from dbm_gmx.forcefield.terms import STIFF
from dbm_gmx.options import NARROW, Conditions, Settings
from dbm_gmx.sampling.chain import advance, start_chain
from dbm_gmx.sampling.packing import (
    APART,
    CUTOFF,
    HOT,
    LAST,
    LONGER,
    MELTED,
    SETTLED,
    TIGHT,
    WEAK,
    _packing_arrays,
    make_schedule,
)
from dbm_gmx.sampling.preparation import (
    WINDOWS_AHEAD,
    WINDOWS_GAIN,
    Preparation,
    _climb,
    _confirmed,
    _enough,
    _freed,
    _loosened,
    _strain_of,
    _Trial,
    _try,
    _windows,
    prepare,
)
from dbm_gmx.sampling.random_numbers import frame_stream, preparation_stream
from dbm_gmx.sampling.sampler import Effort, Sampler, configure, make_sampler, pack_frame

pytestmark = pytest.mark.usefixtures("less_search")

WARM = Conditions(350.0, constraints="none", rvdw=0.9, rcoulomb=0.9)

COOL = Conditions(300.0, constraints="all-bonds", rvdw=0.6, rcoulomb=0.6)


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Twelve molecules of octane."""
    return cut(share_path("examples", "octane"), tmp_path_factory.mktemp("liquid") / "octane", "OCT", 12)


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of few atoms is tried once: nothing here asks how sure its energy is."""
    monkeypatch.setattr("dbm_gmx.sampling.preparation.REPEATS", 1)


def sampler_of(made: Cut, conditions: Conditions = WARM, **more: int) -> Sampler:
    return make_sampler(made.system, conditions, Settings(**more), {})


# --- annealing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [False, True])
@pytest.mark.parametrize("steps", [0, 7, 1000])
def test_a_schedule_ends_at_the_temperature_with_all_forces(steps: int, offered: bool) -> None:
    schedule = make_schedule(steps, offered=offered)
    last = schedule[-1]
    assert (last.heat, last.weak, last.soft, last.width) == ((1.0, 1.0), (1.0, 1.0), (0.0, 0.0), 1.0)
    assert last.fine
    assert schedule[-2].steps >= (900 if offered else 100)
    annealed = [stretch for stretch in schedule if stretch.width == TIGHT]
    assert sum(stretch.steps for stretch in annealed) == (steps + MELTED if steps else 0)
    assert steps == 0 or sum(s.steps for s in schedule) == (
        APART + MELTED + steps + (LONGER if offered else LAST) + SETTLED
    )
    for before, after in pairwise(annealed):  # cooled without jumps
        assert before.heat[1] == pytest.approx(after.heat[0])
        assert before.weak[1] == pytest.approx(after.weak[0])
        assert before.heat[1] >= after.heat[1]
    if steps:
        assert (annealed[0].heat[0], annealed[0].weak[0]) == (HOT, WEAK)
        assert annealed[-1].heat[1] == annealed[-1].weak[1] == pytest.approx(1.0)


@pytest.mark.parametrize("cutoff", [0.5, 0.9])
def test_charges_end_where_packing_cuts_them_off(cutoff: float) -> None:
    """Whatever the cut-off of the simulation and the field beyond it."""
    ion = exact.molecule("ION", [("A", 23.0, 1.0)], [])
    made = exact.system([(ion, exact.beads_of(ion, [0]), 2)], exact.CHARGED)
    conditions = replace(WARM, rvdw=cutoff, rcoulomb=cutoff, epsilon_rf=0.0)
    beyond = _packing_arrays(
        make_sampler(made, conditions, Settings(), {}).arrays, soft=True
    ).constants.beyond
    last = min(cutoff, CUTOFF)
    assert coulomb(1.0 / last, last**2, beyond) == pytest.approx(0.0, abs=1e-6)
    assert coulomb_force(1.0 / last, last**2, beyond) == pytest.approx(0.0, abs=1e-4)


def four_to_a_bead() -> System:
    """Beads of four argon atoms each, and of butane."""
    four = exact.molecule("FOUR", [("A", 40.0, 0.0)] * 4, [])
    terms = [("bonds", 1, (i, i + 1), (0.15, 1e5)) for i in range(3)]
    butane = exact.molecule("BUT", [("A", 14.0, 0.0)] * 4, terms)
    parts = [
        (four, exact.beads_of(four, [0] * 4), 6),
        (butane, exact.beads_of(butane, [0, 0, 1, 1]), 2),
    ]
    return exact.system(parts, exact.CHARGED)


def test_atoms_that_nothing_joins_do_not_leave_their_bead() -> None:
    """Their neighbours are looked for near the bead."""
    made = four_to_a_bead()
    sampler = make_sampler(made, WARM, Settings(annealing=3000), {})
    beads, box = exact.lattice(made.n_beads, 8.0)
    frame = Frame(beads.astype(np.float32), box)
    owner = sampler.arrays.atoms.bead
    x = beads[owner] + np.random.default_rng(1).normal(0.0, 0.2, (made.n_atoms, 3))
    conf = configure(sampler, x, frame)
    pack_frame(sampler, conf, frame, frame_stream(1, 0, 0), sampler.effort.schedule)
    apart = np.linalg.norm(x - beads[owner], axis=1)
    print(f"{apart[:24].max():.3f} nm of {sampler.radius[0]:.3f}")
    assert 0.5 * sampler.radius[0] < apart[:24].max() < sampler.radius[0]


def turned(made: Cut, sampler: Sampler) -> tuple[float, float]:
    """Share of the torsions of the chains that packing turns by more than 60 degrees, and energy after it."""
    moltype, x = made.system.matches[0].moltype, equilibrated(made)[0].astype(np.float64)
    carbons = [i for i, element in enumerate(moltype.elements) if element == "C"]
    chain = [carbons[0]]
    while len(chain) < len(carbons):
        chain.append(next(j for j in moltype.graph[chain[-1]] if j in carbons and j not in chain))

    def torsions(positions: np.ndarray) -> np.ndarray:
        bonds = np.diff(positions.reshape(-1, moltype.n_atoms, 3)[:, chain], axis=1)
        normals = np.cross(bonds[:, :-1], bonds[:, 1:])
        y = (normals[:, :-1] * bonds[:, 2:]).sum(axis=2) * np.linalg.norm(bonds[:, 1:-1], axis=2)
        return np.degrees(np.arctan2(y, (normals[:, :-1] * normals[:, 1:]).sum(axis=2)))

    before = torsions(x)
    conf = configure(sampler, x, made.beads[0])
    pack_frame(sampler, conf, made.beads[0], frame_stream(1, 0, 0), sampler.effort.schedule)
    apart = np.abs((torsions(x) - before + 180) % 360 - 180)
    return float((apart > 60).mean()), float(energies(made, x[None].astype(np.float32), WARM)[0])


def test_annealing_turns_torsions_that_packing_leaves(liquid: Cut) -> None:
    plain, usual = turned(liquid, replace(sampler_of(liquid), effort=Effort()))
    annealed, energy = turned(liquid, replace(sampler_of(liquid), effort=Effort(annealing=1000)))
    print(
        f"{plain:.0%} turned without annealing, {annealed:.0%} with it; {usual:.2f}, {energy:.2f} kT an atom"
    )
    assert annealed > 0.03
    assert annealed > 2 * plain
    # and leaves nothing hot
    assert abs(energy - usual) < 0.5


@pytest.mark.parametrize(
    ("energies", "steps"),
    [
        ({0: 1.0, 1000: 1.001, 2000: 0.999, 4000: 0.998}, 0),
        # short annealing that is no better than growth alone says nothing of a longer one
        ({0: 1.0, 1000: 1.001, 2000: 0.999, 4000: 0.9, 8000: 0.9, 16000: 0.9}, 4000),
        ({0: 1.0, 4000: 0.999}, 0),
        ({0: 1.0, 4000: 0.9}, 4000),
        ({0: 1.0, 1000: 0.9, 2000: 0.89, 4000: 0.891}, 1000),
        ({0: 1.0, 1000: 0.9, 2000: 0.85, 4000: 0.80}, 4000),
        # a rung that gains nothing by chance is not the end
        ({0: 1.0, 1000: 1.0, 2000: 0.9, 4000: 0.9, 8000: 0.9}, 2000),
    ],
)
def test_annealing_is_long_enough_where_longer_gains_nothing(energies: dict[int, float], steps: int) -> None:
    assert _enough(energies, 0.03) == steps


@pytest.mark.parametrize(
    ("energies", "tried"),
    [
        ({1000: 1.0, 2000: 1.0, 4000: 0.99, 8000: 0.9}, [0, 4000]),
        ({1000: 0.9, 2000: 0.9, 4000: 0.9, 8000: 0.8}, [0, 1000, 2000, 4000]),
        ({1000: 1.0, 2000: 0.9, 4000: 0.85, 8000: 0.8}, [0, 1000, 2000, 4000, 8000]),
    ],
)
def test_no_more_is_tried_than_it_takes(
    liquid: Cut, monkeypatch: pytest.MonkeyPatch, energies: dict[int, float], tried: list[int]
) -> None:
    def trial(sampler: Sampler, *_: object) -> SimpleNamespace:
        return SimpleNamespace(energy=energies[sampler.effort.annealing], variance=np.nan)

    monkeypatch.setattr("dbm_gmx.sampling.preparation._try", trial)
    sampler, starts = replace(sampler_of(liquid), effort=Effort()), [np.zeros((5832, 3))]
    found, error = _climb(sampler, liquid.beads[0], starts, preparation_stream(1), 1.0)
    assert error == 0.0
    assert list(found) == tried
    assert found == {0: 1.0} | {steps: energies[steps] for steps in tried if steps}


@pytest.mark.parametrize(("gain", "again", "steps"), [(0.2, 0.0, 2000), (0.02, 0.0, 0), (0.02, 0.02, 2000)])
def test_a_small_gain_must_be_seen_twice(
    liquid: Cut, monkeypatch: pytest.MonkeyPatch, gain: float, again: float, steps: int
) -> None:
    tried = list[int]()

    def trial(sampler: Sampler, *_: object) -> SimpleNamespace:
        tried.append(sampler.effort.annealing)
        return SimpleNamespace(energy=1.0 - (again if sampler.effort.annealing else 0.0))

    monkeypatch.setattr("dbm_gmx.sampling.preparation._try", trial)
    sampler = replace(sampler_of(liquid), effort=Effort())
    energies = {0: 1.0, 1000: 1.0, 2000: 1.0 - gain, 4000: 1.0 - gain, 8000: 1.0 - gain}
    starts = [np.zeros((5832, 3))]
    found, chosen = _confirmed(sampler, liquid.beads[0], starts, preparation_stream(1), energies)
    assert chosen == steps
    assert bool(tried) == (gain < 0.1)
    said = Preparation({}, {}, Effort(0, chosen), found)
    assert said.left < 0.015
    assert not said.exhausted


@pytest.mark.parametrize(("apart", "steps"), [(0.01, 1000), (0.05, 8000)])
def test_trials_that_differ_by_chance_do_not_say_how_much_is_enough(
    liquid: Cut, monkeypatch: pytest.MonkeyPatch, apart: float, steps: int
) -> None:
    """Annealing gains for certain; whether 1,000 or 8,000 steps are better, repeats do not tell."""
    energies = {0: 1.0, 1000: 0.8, 2000: 0.79, 4000: 0.79}

    def trial(sampler: Sampler, *_: object) -> SimpleNamespace:
        energy = energies[sampler.effort.annealing]
        return SimpleNamespace(energy=energy, strain={}, variance=apart**2 / 2.0)

    monkeypatch.setattr("dbm_gmx.sampling.preparation._try", trial)
    narrow = replace(WARM, spread=0.003)
    sampler = make_sampler(liquid.system, narrow, Settings(offers=0, windows=0), {})
    ready, found = prepare(sampler, liquid.beads[0])
    assert ready.effort == found.effort == Effort(annealing=steps)
    assert found.scatter >= apart


def test_what_longer_annealing_would_gain_is_said() -> None:
    short = Preparation({}, {}, Effort(0, 4000), {0: 1.0, 1000: 0.9, 2000: 0.85, 4000: 0.80})
    assert short.left == pytest.approx(0.05)  # half of what two doublings have gained
    assert "4000 steps" in short.lines(0.03)[0]
    assert "TOO FEW" in short.lines(0.03)[0]
    # water: slower and slower, but never at its end
    slow = Preparation(
        {}, {}, Effort(0, 8000), {0: 15.70, 1000: 15.65, 2000: 15.61, 4000: 15.57, 8000: 15.54}
    )
    assert slow.left == pytest.approx(0.055)
    assert "TOO FEW" in slow.lines(0.03)[0]
    report = Report(contacts=(0,), refinement=Refinement("at 300 K", 1, 16), prepared=slow)
    assert not report.converged
    assert report.convergence().startswith("NOT CONVERGED")
    assert "annealing too short" in report.text()
    # of so few atoms this may be chance
    assert "TOO FEW" not in replace(slow, scatter=0.04).lines(0.03)[0]
    assert "TOO FEW" in replace(slow, scatter=0.02).lines(0.03)[0]
    enough = Preparation({}, {}, Effort(0, 1000), {0: 1.0, 1000: 0.9, 2000: 0.89, 4000: 0.891})
    assert enough.left == pytest.approx(0.01)
    assert "TOO FEW" not in enough.lines(0.03)[0]


# --- windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energies", "sweeps"),
    [
        ({0: 1.0, 32: 0.995, 64: 0.995}, 0),
        ({0: 1.0, 32: 0.99}, 32),  # slow at first is not nothing
        ({0: 1.0, 32: 0.99, 64: 0.97, 128: 0.965, 256: 0.965}, 64),
        ({0: 1.0, 32: 0.9, 64: 0.89}, 64),  # one that gains nothing may be chance
        ({0: 1.0, 32: 0.9, 64: 0.9, 128: 0.86}, 128),
        ({0: 1.0, 32: 0.9, 64: 0.895, 128: 0.895}, 32),
        ({0: 1.0, 32: 0.9, 64: 0.89, 128: 0.89, 256: 0.89}, 64),
        ({0: 1.0, 32: 0.9, 64: 0.8, 128: 0.7, 256: 0.6}, 256),
    ],
)
def test_windows_are_annealed_as_long_as_they_gain(energies: dict[int, float], sweeps: int) -> None:
    assert _enough(energies, 0.03, WINDOWS_AHEAD, WINDOWS_GAIN) == sweeps


def test_what_more_sweeps_with_windows_would_gain_is_said() -> None:
    trials = {0: 1.0, 1000: 0.9, 2000: 0.85}
    enough = Preparation({}, {}, Effort(0, 2000, 64), trials, {0: 0.85, 32: 0.8, 64: 0.75, 128: 0.742})
    assert enough.left == pytest.approx(0.008)  # whatever annealing alone would still gain
    assert "2000 steps and 64 sweeps with windows" in enough.lines(0.03)[0]
    assert "TOO FEW" not in enough.lines(0.03)[0]
    short = Preparation({}, {}, Effort(0, 2000, 128), trials, {0: 0.85, 32: 0.8, 64: 0.75, 128: 0.70})
    assert short.left == pytest.approx(0.05)
    assert "TOO FEW" in short.lines(0.03)[0]
    # more than were tried, see CAUGHT
    most = Preparation({}, {}, Effort(0, 2000, 128), trials, {0: 0.85, 32: 0.85, 64: 0.846})
    assert most.left == pytest.approx(0.002)
    assert most.exhausted


@pytest.mark.parametrize(
    ("swept", "effort", "sweeps"),
    [
        ({0: 1.0, 32: 0.995, 64: 0.995}, Effort(), 0),
        ({0: 1.0, 32: 0.995, 64: 0.995}, Effort(annealing=1000), 256),  # annealing was needed
        ({0: 1.0, 32: 0.995, 64: 0.995}, Effort(offers=2), 0),  # offers were, and windows do not help
        ({0: 1.0, 32: 0.98, 64: 0.98, 128: 0.98}, Effort(offers=2), 256),  # as they do here
        (
            {0: 1.0, 32: 0.98, 64: 0.98, 128: 0.98},
            Effort(offers=8),
            32,
        ),  # bred: little is left to turn
        ({0: 1.0, 32: 0.96, 64: 0.96, 128: 0.96}, Effort(), 32),  # a gain that may be chance
        ({0: 1.0, 32: 0.86, 64: 0.86, 128: 0.86}, Effort(), 256),  # one that is not
        ({0: 1.0, 32: 0.9, 64: 0.8, 128: 0.7, 256: 0.6}, Effort(annealing=1000), 256),
    ],
)
def test_conformations_that_are_caught_have_windows(
    swept: dict[int, float], effort: Effort, sweeps: int
) -> None:
    """However little more of them gain on one frame, which says little of others."""
    assert _windows(swept, 0.03, effort, 1300) == sweeps


def test_torsions_and_pairs_are_all_but_bonds_and_angles(liquid: Cut) -> None:
    """They change as the energies by name do; those leave out what charges have with fields of their own."""
    sampler, beads = sampler_of(liquid), liquid.beads[0]
    chain = start_chain(configure(sampler, liquid.atoms[0].positions.astype(np.float64), beads))
    unit, found = sampler.hamiltonian.kt * liquid.system.n_atoms, []
    for number in range(3):
        atoms = replace(beads, positions=chain.conf.positions)
        by_name = block_energies(liquid.system, atoms, WARM)
        slow = sum(by_name.values[:, k].sum() for k, name in enumerate(by_name.names) if name not in STIFF)
        found.append((chain.slow_energy, slow / unit))
        advance(chain, frame_stream(1, 0, number), sampler.team)
    changes = np.diff(found, axis=0)
    assert np.abs(changes).max() > 1e-2
    np.testing.assert_allclose(changes[:, 0], changes[:, 1], atol=2e-4)  # pairs are in single precision


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of few sweeps: what they end at is not asked here."""
    monkeypatch.setattr("dbm_gmx.sampling.preparation.SWEEPS", 4)
    monkeypatch.setattr("dbm_gmx.sampling.preparation.SWEPT", (2, 4, 8, 16))
    monkeypatch.setattr("dbm_gmx.sampling.preparation.CAUGHT", 16)


@pytest.mark.usefixtures("short")
def test_windows_are_tried_where_frames_are_annealed(liquid: Cut) -> None:
    ready, found = prepare(sampler_of(liquid, annealing=200), liquid.beads[0])
    assert ready.effort == found.effort
    assert ready.effort.annealing == 200
    assert next(iter(found.swept)) == 0
    assert ready.effort.windows == 16


@pytest.mark.usefixtures("short")
def test_windows_are_not_tried_where_annealing_gains_nothing(liquid: Cut) -> None:
    ready, found = prepare(sampler_of(liquid, annealing=0), liquid.beads[0])
    assert not found.swept
    assert ready.effort.windows == found.effort.windows == 0
    # but annealed where they are asked for
    ready, found = prepare(sampler_of(liquid, annealing=0, windows=8), liquid.beads[0])
    assert ready.effort.windows == found.effort.windows == 8


@pytest.mark.usefixtures("short")
def test_what_is_known_is_not_tried(liquid: Cut) -> None:
    """But what the user gives is kept, and widths are fitted before anything is believed."""
    asked = []

    def known(sampler: Sampler) -> tuple[Effort, str]:
        asked.append(sampler)
        return Effort(1, 2000, 32), "octane.npz"

    ready, found = prepare(sampler_of(liquid), liquid.beads[0], known)
    assert ready.effort == found.effort == Effort(1, 2000, 32)
    assert not found.energies
    assert not found.swept
    assert found.strain
    said = "2000 steps and 32 sweeps with windows, after 1 round of offers, as found for octane.npz"
    assert found.lines(0.03) == [f"annealing      {said}"]
    assert not found.is_short(0.03)
    moved = liquid.beads[0].positions + np.random.default_rng(1).normal(
        scale=0.03, size=(len(asked[0].radius), 3)
    )
    ready, _ = prepare(
        sampler_of(liquid, annealing=500), replace(liquid.beads[0], positions=moved.astype(np.float32)), known
    )
    assert ready.effort == Effort(1, 500, 32)
    assert (asked[1].radius > asked[0].radius).all()


# --- widths ----------------------------------------------------------------------------------------


def test_beads_mapped_from_atoms_are_held_narrowly(liquid: Cut) -> None:
    ready, found = prepare(sampler_of(liquid, annealing=0), liquid.beads[0])
    assert all(strain.width == NARROW for strain in found.strain.values())
    assert not found.lines(0.03)
    np.testing.assert_array_equal(ready.radius, sampler_of(liquid).radius)


@pytest.mark.parametrize(("ratio", "loosened"), [(1.33, False), (1.5, True)])
def test_few_beads_that_are_off_by_chance_are_held_narrowly(
    liquid: Cut, monkeypatch: pytest.MonkeyPatch, ratio: float, loosened: bool
) -> None:
    """Four dozen beads of a type scatter by .12 about 1."""
    sampler, beads = sampler_of(liquid, annealing=0), liquid.beads[0]
    narrow = _try(sampler, beads, [liquid.atoms[0].positions.astype(np.float64)], preparation_stream(1))
    first = next(iter(narrow.strain))
    found = replace(narrow, strain=narrow.strain | {first: replace(narrow.strain[first], ratio=ratio)})
    monkeypatch.setattr("dbm_gmx.sampling.preparation._try", lambda *_: narrow)
    held, _ = _loosened(sampler, beads, [beads.positions], preparation_stream(1), found)
    assert (held is not sampler) is loosened


def test_beads_off_the_atoms_are_held_as_loosely_as_they_are_off(liquid: Cut) -> None:
    """Beads moved at random by 0.03 nm along each axis; the width found is about that."""
    rng, beads = np.random.default_rng(1), liquid.beads[0]
    moved = beads.positions + rng.normal(scale=0.03, size=beads.positions.shape)
    ready, found = prepare(
        sampler_of(liquid, annealing=0), replace(beads, positions=moved.astype(np.float32))
    )
    for types, strain in found.strain.items():
        assert 0.01 < strain.width < 0.06, types
        assert found.narrow[types].ratio > 1.5
        assert strain.ratio < found.narrow[types].ratio
    assert "beads held" in found.lines(0.03)[0]
    assert all(f"(strain {s.ratio:.1f})" in found.lines(0.03)[0] for s in found.narrow.values())
    assert (ready.radius > sampler_of(liquid).radius).all()
    widths = np.sqrt(ready.hamiltonian.kt / ready.arrays.beads.stiffness)
    assert set(np.round(widths, 9)) == {round(s.width, 9) for s in found.strain.values()}


def equal_balls() -> tuple[System, Conditions]:
    """Pairs of argon-like atoms, a bead each: what their places leave open costs nothing."""
    pair = exact.molecule("PAIR", [("A", 40.0, 0.0)] * 2, [("constraints", 1, (0, 1), (0.1,))])
    made = exact.system([(pair, exact.beads_of(pair, [0, 0]), 64)], {"A": (0.3, 0.5)})
    return made, replace(COOL, temperature=250.0)


def water() -> tuple[System, Conditions]:
    """SPC/E, a bead each."""
    sites = [("O", 15.999, -0.8476), ("H", 1.008, 0.4238), ("H", 1.008, 0.4238)]
    lengths = {(0, 1): 0.1, (0, 2): 0.1, (1, 2): 0.1633}
    one = exact.molecule("SOL", sites, [("constraints", 1, pair, (b,)) for pair, b in lengths.items()])
    made = exact.system([(one, exact.beads_of(one, [0, 0, 0]), 64)], {"O": (0.3166, 0.650), "H": (0.1, 0.0)})
    return made, COOL


def frame_of(made: System, conditions: Conditions) -> Frame:
    """Beads of a liquid that is made on a lattice of beads which hardly hold it."""
    loose = make_sampler(made, replace(conditions, spread=0.1), Settings(annealing=1000), {})
    places, box = exact.lattice(made.n_beads, 0.3107)
    frame = Frame(places.astype(np.float32), box.astype(np.float32))
    atoms, _ = replace(loose, settings=replace(loose.settings, sweeps=8))(frame)
    return replace(frame, positions=mapped_beads(made, atoms).astype(np.float32))


def test_water_that_is_caught_in_its_places_is_freed() -> None:
    """One network of hydrogen bonds has the energy of the liquid where nothing may move; others else."""
    made, conditions = water()
    beads = frame_of(made, conditions)
    ready, found = prepare(make_sampler(made, conditions, Settings(annealing=500, windows=0), {}), beads)
    print(found.lines(0.03))
    ((types, gain),) = found.freed.items()
    assert types == ("SOL", "B1")
    assert gain > 0.06
    assert found.strain[types].width >= 0.025
    widths = np.sqrt(ready.hamiltonian.kt / ready.arrays.beads.stiffness)
    assert np.allclose(widths, found.strain[types].width)
    assert [line[:21] for line in found.lines(0.03)] == ["beads freed    B1 0.0"]
    # not where nothing is to be annealed
    quick = make_sampler(made, conditions, Settings(annealing=0, windows=0), {})
    assert not prepare(quick, beads)[1].freed


def test_molecules_that_are_not_caught_stay_in_their_places() -> None:
    made, conditions = equal_balls()
    sampler = make_sampler(made, conditions, Settings(annealing=500, windows=0), {})
    assert not prepare(sampler, frame_of(made, conditions))[1].freed


@pytest.mark.parametrize(("most", "freed"), [(4, True), (3, False)])
def test_molecules_of_few_beads_are_freed_where_that_lowers_the_energy(
    liquid: Cut, monkeypatch: pytest.MonkeyPatch, most: int, freed: bool
) -> None:
    """As alcohols are; octane has four.  Those of more are annealed, and offered conformers."""
    sampler, stream, falling = sampler_of(liquid, WARM), preparation_stream(1), count(start=0, step=-1)
    strain = _strain_of(sampler, np.ones(sampler.system.n_beads))
    for name, value in (("_try", lambda *_: _Trial(float(next(falling)), strain)), ("FREED_BEADS", most)):
        monkeypatch.setattr(f"dbm_gmx.sampling.preparation.{name}", value)
    start = [liquid.atoms[0].positions.astype(np.float64)]
    found, _, _ = _freed(sampler, liquid.beads[0], start, stream, _Trial(1.0, strain))
    assert set(found) == (set(strain) if freed else set())


def test_a_width_that_is_given_is_kept(liquid: Cut) -> None:
    sampler = sampler_of(liquid, replace(WARM, spread=0.004), annealing=0, windows=0)
    ready, found = prepare(sampler, liquid.beads[0])
    assert ready is sampler
    assert not found.strain


# --- independent starts ----------------------------------------------------------------------------


def twin(higher: float) -> Twin:
    """Fifty blocks of 60 atoms, whose energy is higher by so many kJ/mol an atom than that of the other."""
    rng = np.random.default_rng(1)
    made = rng.normal(scale=5.0, size=(50, 2))
    given = made + rng.normal(scale=5.0, size=(50, 2)) + [60 * higher, 0.0]
    return Twin(("Angle", "LJ (SR)"), given, made, True)


@pytest.mark.parametrize(("higher", "converged"), [(0.0, True), (0.5, False), (-0.5, False)])
def test_a_frame_unlike_an_independent_start_did_not_converge(higher: float, converged: bool) -> None:
    twins = (twin(higher),)
    against = compare_twins(twins, atoms=3000, kt=2.5)
    assert against.row("total")[0] == pytest.approx(higher / 2.5, abs=0.05)
    report = Report(contacts=(0,), refinement=Refinement("at 300 K", 1, 16, twins=twins), against=against)
    assert report.converged is converged
    assert ("NOT CONVERGED" in report.convergence()) is not converged
    assert "1 independent start" in report.text()


def look_again(monkeypatch: pytest.MonkeyPatch, twins: Sequence[Twin], seen: list[float]) -> tuple[Twin, ...]:
    """What is compared of a frame of 3,000 atoms with these independent starts; ``seen`` are the frames."""
    starts = iter(twins)

    def begin(_sampler: object, atoms: Frame, *_: object) -> Twin:
        seen.append(float(atoms.positions[0, 0]))
        return next(starts)

    monkeypatch.setattr("dbm_gmx.backmapping.independent.begin_anew", begin)
    sampler = SimpleNamespace(hamiltonian=SimpleNamespace(kt=2.5))
    frame = Frame(np.zeros((3000, 3), np.float32), None)
    return begin_until_clear(
        sampler, frame, frame, lambda number: np.full((3000, 3), number, np.float32), tolerance=0.03
    )


def test_a_frame_in_doubt_is_made_and_compared_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    assert len(look_again(monkeypatch, [twin(0.0)], seen)) == 1
    assert seen == [0.0]
    assert len(look_again(monkeypatch, [twin(0.5), twin(0.0)], seen)) == 2
    assert seen[1] == 0.0
    assert seen[2] > 10_000  # another one of the same beads, of a number that no user asks for


def test_chance_seldom_says_not_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one frame at equilibrium: a second look leaves less than half of the false alarms."""
    rng, off, runs, looks = np.random.default_rng(2), np.zeros(2, int), 2000, 0

    def drawn() -> Twin:
        return Twin(("Angle", "LJ (SR)"), *rng.normal(scale=100.0, size=(2, 50, 2)), True)

    for _ in range(runs):
        found = look_again(monkeypatch, [drawn(), drawn()], [])
        looks += len(found)
        ends = (compare_twins(twins, atoms=3000, kt=2.5) for twins in (found[:1], found))
        off += [bool(end.sums_beyond(0.03)) for end in ends]
    assert off[0] > 0.025 * runs
    assert off[1] < 0.6 * off[0]
    assert looks < 1.12 * runs


@pytest.mark.parametrize(("atoms", "frames"), [(100, 3), (2000, 3), (3000, 3), (4000, 2), (10_000, 1)])
def test_small_frames_are_compared_until_their_mean_can_show_the_tolerance(atoms: int, frames: int) -> None:
    early = [n for n in range(10) if is_begun_anew(n, atoms, 0.03)]
    assert early == list(range(0, 2 * frames, 2))
    shown = 2 * SCATTER * (2 / (atoms * frames)) ** 0.5
    assert shown < 0.03 or frames == 3
    assert [n for n in range(10, 2000) if is_begun_anew(n, atoms, 0.03)] == [10, 100, 1000]


def test_what_a_comparison_cannot_show_is_said() -> None:
    given, made = (np.random.default_rng(seed).normal(scale=2000.0, size=(8, 1)) for seed in (1, 2))
    against = compare_twins((Twin(("LJ (SR)",), given, made, True),), atoms=48000, kt=2.5)
    assert against.reach(2)[-2] > 0.03
    report = Report(contacts=(0,), refinement=Refinement("at 300 K", 1, 16), against=against)
    assert f"cannot show less than {against.reach(2)[-2]:.2f}" in report.convergence()
    sure = Twin(("LJ (SR)",), given, given + 0.001 * made, True)
    sharp = replace(report, against=compare_twins((sure,), atoms=48000, kt=2.5))
    assert "cannot show" not in sharp.convergence()


def test_a_frame_that_was_not_compared_is_not_said_to_be_converged() -> None:
    report = Report(contacts=(0,), refinement=Refinement("at 300 K", 1, 16))
    assert report.convergence() == "not compared with an independent start"
    assert "not compared" in report.text()


@pytest.mark.usefixtures("short")
def test_windows_are_tried_also_where_annealing_gains_nothing(
    liquid: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chains that turn easily annealing finds no more than growth does, and windows do."""
    falling = iter([1.0, 0.9, 0.8, 0.8, 0.8])
    monkeypatch.setattr("dbm_gmx.sampling.preparation._climb", lambda *_: ({0: 1.0, 1000: 1.0}, 0.0))
    monkeypatch.setattr("dbm_gmx.sampling.preparation._confirmed", lambda *_: ({0: 1.0, 1000: 1.0}, 0))
    monkeypatch.setattr("dbm_gmx.sampling.preparation._after_windows", lambda *_: next(falling))
    ready, found = prepare(sampler_of(liquid, annealing=None), liquid.beads[0])
    assert ready.effort == found.effort
    assert ready.effort.annealing == 0
    assert ready.effort.windows > 0

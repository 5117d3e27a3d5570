"""The sampler as a whole: random numbers, threads and lists of neighbours of the frames it makes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cut import Cut, cut, search_less
from exact import CHARGED, beads_of, fork, lattice, mixture, start, sweeps, system
from systems import Example

import dbm_gmx.sampling.sampler as stages
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.stereo import chirality_of, stereocentres
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.files.share import share_path
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.random_numbers import Stream, Use
from dbm_gmx.sampling.sampler import Sampler, make_sampler

CONDITIONS = Conditions(350.0)


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Six molecules of octane."""
    folder = tmp_path_factory.mktemp("liquid")
    return cut(share_path("examples", "octane"), folder / "octane", "OCT", 6)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """How good the atoms are is asked elsewhere."""
    search_less(monkeypatch)


def make(made: Cut, *, sweeps: int = 3, threads: int = 1) -> Sampler:
    """A sampler to which nothing says the chirality."""
    return make_sampler(made.system, CONDITIONS, Settings(sweeps=sweeps), {}, threads=threads)


def nothing(*_: object, **__: object) -> None:
    """A stage that is left out."""


# --- random numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["liquid", "polymer"])
def test_no_stream_is_used_twice(
    what: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In samples and frames; conformers of fragments follow from the seed alone."""
    made: Cut = request.getfixturevalue(what)
    used: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for name in ("generator", "key"):
        original = getattr(Stream, name).fget

        def noted(stream: Stream, name: str = name, original: Callable[..., Any] = original) -> Any:
            used[name, stream.path] += 1
            return original(stream)

        monkeypatch.setattr(Stream, name, property(noted))
    # the frame of beads is the same: only the names tell the numbers apart
    sampler, frame = make(made), made.beads[0]
    names = {(1, 0, 0), (1, 1, 0)} | ({(1, 0, 1), (1, 1, 1)} if what == "liquid" else set())
    for _, index, sample in sorted(names):
        sampler(replace(frame, index=index), sample=sample)
    of_frames = {one: count for one, count in used.items() if len(one[1]) > 2}
    assert set(of_frames.values()) == {1}
    paths = [path for _, path in of_frames]
    assert len(set(paths)) == len(paths)  # no name for both
    assert {path[:3] for path in paths} == names
    uses = {Use(path[3]) for path in paths}
    expected = {Use.PLACEMENT, Use.CANDIDATES, Use.EXCHANGE, Use.PACKING, Use.SWEEPS}
    assert uses == (expected | {Use.INFERENCE} if what == "polymer" else expected)
    assert {path for _, path in used if len(path) == 2} == {(1, Use.CONFORMERS)}
    keys = [int(Stream(path).key) for path in paths]
    assert len(set(keys)) == len(keys)


def test_samples_and_frames_differ_and_repeat(liquid: Cut) -> None:
    one, other = make(liquid), make(liquid)
    frame = liquid.beads[0]
    names = [(frame, 0), (frame, 1), (replace(frame, index=1), 0)]
    found = [one(beads, sample=sample)[0] for beads, sample in names]
    again = [other(beads, sample=sample)[0] for beads, sample in reversed(names)][::-1]
    for k, (x, y) in enumerate(zip(found, again, strict=True)):
        np.testing.assert_array_equal(x, y)
        assert all((x != z).any(axis=1).all() for z in found[:k])


def test_runs_of_one_molecule_type_have_random_numbers_of_their_own(
    octane: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs on the very same beads, which do not see each other as they grow: they must not grow alike."""
    for stage in ("exchange_conformers", "pack"):
        monkeypatch.setattr(stages, stage, nothing)
    match = octane.system.matches[0]
    topology = Topology(
        octane.system.topology.molecule_types, (("OCT", 2), ("OCT", 2)), octane.system.topology.nonbonded
    )
    second = Match(match.moltype, match.mapping, 2, first_bead=8, first_atom=52)
    first = replace(match, count=2)
    both = System(topology, octane.system.mappings, (first, second))
    beads = octane.beads[:8].astype(np.float64)
    frame = Frame(np.concatenate([beads, beads]), np.eye(3) * 6.0)
    settings = Settings(refine="none")
    atoms = make_sampler(both, CONDITIONS, settings, {})(frame)[0].reshape(4, 26, 3)
    apart = np.linalg.norm(atoms[2:] - atoms[:2], axis=-1)
    assert (apart.max(axis=1) > 0.02).all()


# --- threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["liquid", "polymer"])
def test_threads_do_not_change_a_frame(what: str, request: pytest.FixtureRequest) -> None:
    made: Cut = request.getfixturevalue(what)
    (one, chain), (two, other) = (make(made, threads=threads)(made.beads[0]) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(chain.energies, other.energies)
    assert chain.acceptance == other.acceptance


def test_two_threads_share_every_stage(liquid: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each does about half of the work of growth, exchange, packing and sweeps, by its processor time."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor: two threads cannot be told from one")
    spent: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    share = Team.share

    def noted(team: Team, work: Any, count: int, *, least: int = 1) -> None:
        def timed(first: int, step: int) -> None:
            begin = time.thread_time()
            work(first, step)
            spent[work.func.__name__][threading.get_ident()] += time.thread_time() - begin

        share(team, timed, count, least=least)

    monkeypatch.setattr(Team, "share", noted)
    _, found = make(liquid, sweeps=0, threads=2)(liquid.beads[0])
    assert set(found.cpu) == set(found.seconds)
    assert sum(found.cpu.values()) > sum(sum(seconds.values()) for seconds in spent.values())
    shared = {"_anneal_some", "_bounded_some", "_relax_some", "_list_some", "_some_forces"}
    assert set(spent) == shared
    del spent["_bounded_some"]  # of molecules that see each other: one after the other
    check_shares(spent)
    # molecules that see each other are of many colours: here is one for 64 that do not
    spent.clear()
    points, box = lattice(64, 2.5)
    moltype, one = fork(), mixture(np.eye(3) * 1.5)[1][:6]
    made = system([(moltype, beads_of(moltype, [0, 0, 1, 2, 0, 2]), 64)], CHARGED)
    chain = start(made, CONDITIONS, (points[:, None] + one).reshape(-1, 3), box)
    sweeps(chain, 50, team=Team(2))
    assert set(spent) == {"_update_some"}
    check_shares(spent)


def check_shares(spent: dict[str, dict[int, float]]) -> None:
    """The caller and one other thread have both worked."""
    for name, seconds in spent.items():
        assert len(seconds) == 2, name
        assert threading.get_ident() in seconds, name
        assert min(seconds.values()) > 0.15 * sum(seconds.values()), (name, dict(seconds))


# --- neighbours ------------------------------------------------------------------------------------


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the lists of neighbours that are made, in the order they are."""
    made, make_neighbours = [], stages.make_neighbours

    def noted(*given: Any) -> Any:
        made.append(make_neighbours(*given))
        return made[-1]

    monkeypatch.setattr(stages, "make_neighbours", noted)
    return made


def test_beads_that_are_near_each_other_are_listed_once_a_frame(liquid: Cut, lists: list[Any]) -> None:
    sampler = make(liquid)
    for frame in range(3):
        sampler(replace(liquid.beads[0], index=frame))
        assert len(lists) == frame + 1
        np.testing.assert_array_equal(lists[-1].radius, sampler.radius)


def test_an_atom_far_from_its_bead_makes_a_new_list(
    polymer: Cut, lists: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler, beads = make(polymer, sweeps=0), polymer.beads[0]
    pack, atom = stages.pack, 5
    bead = sampler.arrays.atoms.bead[atom]

    def thrown(conf: Any, *given: Any) -> None:
        pack(conf, *given)
        conf.positions[atom] += [0.0, 0.0, 1.5]

    monkeypatch.setattr(stages, "pack", thrown)
    monkeypatch.setattr(stages, "shake_all", nothing)
    atoms, _ = sampler(beads, start=polymer.atoms[0].positions)
    assert len(lists) == 2
    far = np.linalg.norm(atoms[atom] - beads.positions[bead])
    others = np.arange(len(sampler.radius)) != bead
    np.testing.assert_array_equal(lists[0].radius, sampler.radius)
    np.testing.assert_array_equal(lists[1].radius[others], sampler.radius[others])
    assert lists[1].radius[bead] > far > sampler.radius[bead]
    # which is now near more
    counts = [np.diff(one.near_start) for one in lists]
    assert counts[1][bead] > counts[0][bead]


# --- molecules to begin with -----------------------------------------------------------------------


def test_molecules_that_cannot_be_used_are_grown_anew(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """One torn, one far from its beads, one of the wrong chirality; the others stay where they are."""
    for stage in ("exchange_conformers", "pack", "shake_all"):
        monkeypatch.setattr(stages, stage, nothing)
    match = polymer.system.matches[0]
    good = polymer.atoms[0].positions.astype(np.float64)
    centres = stereocentres(match.moltype)
    wanted = chirality_of(match.molecules(good), centres)
    settings, name = Settings(refine="none"), match.moltype.name
    sampler = make_sampler(polymer.system, CONDITIONS, settings, {name: wanted})
    last = slice(match.moltype.n_atoms, None)
    torn, far, mirrored = good.copy(), good.copy(), good.copy()
    torn[-1] += [0.1, 0.0, 0.0]
    far[last] += [0.4, 0.0, 0.0]
    middle = mirrored[last].mean(axis=0)
    mirrored[last] = (mirrored[last] - middle) * [1, 1, -1] + middle
    kept, convergence = sampler(polymer.beads[0], start=good.astype(np.float32))
    np.testing.assert_array_equal(kept, good.astype(np.float32))
    assert convergence.refused == 0
    for bad in (torn, far, mirrored):
        atoms, convergence = sampler(polymer.beads[0], start=bad.astype(np.float32))
        assert convergence.refused == 1
        np.testing.assert_array_equal(atoms[: last.start], good[: last.start].astype(np.float32))
        assert (np.abs(atoms[last] - bad[last]).max(axis=1) > 1e-3).mean() > 0.9
        assert (chirality_of(match.molecules(atoms), centres) == wanted).all()

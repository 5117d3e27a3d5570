"""Conformers of long stretches are bred: what is crossed, what comes of it, and when."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from cut import Cut, search_less, states_of

import dbm_gmx.sampling.candidates as candidates
import dbm_gmx.sampling.preparation as preparation
import dbm_gmx.sampling.recombination as recombination
import dbm_gmx.sampling.sampler as samplers
from dbm_gmx.chemistry.fragments import fragment_graph
from dbm_gmx.chemistry.stereo import chirality_of, stereo_elements
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.candidates import SAME, Candidates
from dbm_gmx.sampling.growth import REACH, WHOLE, energy_of, long_windows
from dbm_gmx.sampling.random_numbers import Use, frame_stream
from dbm_gmx.sampling.recombination import breed, parts_of
from dbm_gmx.sampling.sampler import ASKED, BREEDING, Sampler, _runs, configure, make_sampler, offer

WARM = Conditions(568.0, constraints="none", rvdw=0.9, rcoulomb=0.9, spread=0.003)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few conformers are enough to see what is done with them."""
    for name, number in (("GROWN", 8), ("CROSSED", 40), ("ON", 40), ("KEPT", 6)):
        monkeypatch.setattr(recombination, name, number)


def sampler_of(made: Cut, **more: int) -> Sampler:
    return make_sampler(made.system, WARM, Settings(sweeps=0, **more), states_of(made))


def bred(sampler: Sampler, made: Cut) -> Candidates:
    """From the atoms, whose conformers are low."""
    match, grower, molecules = next(_runs(sampler, made.beads[0]))
    atoms = match.molecules(made.atoms[0].positions.astype(np.float64))
    return breed(grower, grower.stretches[0], molecules, atoms, frame_stream(1, 0, 0))


# --- what is bred ------------------------------------------------------------------------------------


def test_what_is_bred_is_lower_than_what_was_grown(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same are grown both times."""
    sampler = sampler_of(polymer)
    kt = sampler.hamiltonian.kt
    crossed = bred(sampler, polymer).energy / kt
    monkeypatch.setattr(recombination, "CROSSED", 0)
    grown = bred(sampler, polymer).energy / kt
    assert np.array_equal(crossed[:, 0], grown[:, 0])  # the present one
    assert (crossed[:, 1:].min(axis=1) < grown[:, 1:].min(axis=1) - 1.0).all()
    assert (np.median(crossed[:, 1:], axis=1) < np.median(grown[:, 1:], axis=1) - 4.0).all()


def test_children_have_parts_of_two_conformers(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else, before they are brought to a minimum."""
    sampler, grown = sampler_of(polymer), candidates.grow_window
    match, grower, _ = next(_runs(sampler, polymer.beads[0]))
    free = grower.stretches[0].free[0]
    pool = [match.molecules(polymer.atoms[0].positions.astype(np.float64))[:, free]]
    children = list[np.ndarray]()

    def growing(*given: Any, **more: Any) -> np.ndarray:
        energy = grown(*given, **more)
        pool.append(given[3].positions[:, given[1].arrays.free].copy())
        return energy

    def born(_: Any, __: Any, copies: Any, *more: Any) -> np.ndarray:
        children.append(copies.positions[:, grower.stretches[0].arrays.free].copy())
        return np.full(len(copies.positions), np.inf)

    monkeypatch.setattr(candidates, "grow_window", growing)
    monkeypatch.setattr(recombination, "anneal_window", born)
    bred(sampler, polymer)
    assert len(children) == recombination.CROSSED
    for child in children:
        same = (child[:, None] == np.stack(pool, axis=1)).all(axis=3)
        assert same.any(axis=1).all()
        assert not same.all(axis=2).any()


def test_what_is_bred_is_on_its_beads_in_its_states_and_differs(polymer: Cut) -> None:
    sampler = sampler_of(polymer)
    match, grower, molecules = next(_runs(sampler, polymer.beads[0]))
    found = bred(sampler, polymer)
    assert found.conformers.shape[:2] == (2, 7)
    for k in range(found.conformers.shape[1]):
        atoms = found.copies.positions.copy()
        atoms[:, found.group.arrays.free] = found.conformers[:, k]
        centres = np.einsum("ba,cad->cbd", grower.molecule.weights.toarray(), atoms)
        assert np.linalg.norm(centres - molecules.beads, axis=2).max() < 0.02
        assert np.array_equal(chirality_of(atoms, stereo_elements(match.moltype)), molecules.chirality)
        energy, known = energy_of(found.group, found.copies._replace(positions=atoms)), found.energy[:, k]
        np.testing.assert_allclose(energy[known < np.inf], known[known < np.inf], rtol=1e-5)
    inner = np.isin(found.group.atoms[0, found.group.arrays.free], grower.skeleton)
    for energy, conformers in zip(found.energy, found.conformers[:, :, inner], strict=True):
        once = conformers[energy < np.inf]
        apart = np.linalg.norm(once[:, None] - once[None], axis=3).max(axis=2)
        assert (apart[~np.eye(len(once), dtype=bool)] >= SAME).all()


def test_a_conformer_that_was_lost_stands_in_nobodys_way(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose energy is not a number counts as the highest."""
    sampler, grown = sampler_of(polymer), candidates.grow_window

    def growing(*given: Any, **more: Any) -> np.ndarray:
        energy = grown(*given, **more)
        return np.full_like(energy, np.nan) if given[4].path[-1] == 0 else energy

    monkeypatch.setattr(candidates, "grow_window", growing)
    crossed = bred(sampler, polymer).energy
    monkeypatch.setattr(recombination, "CROSSED", 0)
    lost = bred(sampler, polymer).energy
    assert (crossed[:, 1:].min(axis=1) < lost[:, 1:].min(axis=1) - sampler.hamiltonian.kt).all()


def test_what_was_bred_is_bred_on(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is grown then; and the present conformer is the first again."""
    monkeypatch.setattr(recombination, "CROSSED", 0)
    sampler, stream = sampler_of(polymer), frame_stream(2, 0, 0)
    first, kt = bred(sampler, polymer), sampler.hamiltonian.kt
    match, grower, molecules = next(_runs(sampler, polymer.beads[0]))
    atoms = match.molecules(polymer.atoms[0].positions.astype(np.float64) + 0.003)
    monkeypatch.setattr(candidates, "grow_window", None)
    on = breed(grower, grower.stretches[0], molecules, atoms, stream, first.stored())
    np.testing.assert_array_equal(on.conformers[:, 0], atoms[:, grower.stretches[0].free[0]])
    monkeypatch.setattr(recombination, "ON", 0)
    same = breed(grower, grower.stretches[0], molecules, atoms, stream, first.stored())
    one, two, three = (np.sort(found.energy[:, 1:], axis=1) / kt for found in (first, same, on))
    assert (two[:, :3] < one[:, :3] + 0.1).all()  # the way down goes on
    assert (three[:, 0] <= two[:, 0]).all()
    assert (three[:, 0] < two[:, 0] - 0.5).any()


def test_parts_hang_together(polymer: Cut) -> None:
    """By one bond at first, or by two: the middles of chains, arcs of rings."""
    grower = sampler_of(polymer).growers["SPS"]
    group, joined = grower.stretches[0], fragment_graph(grower.fragments)
    free = group.free[0]
    home = {int(i): k for k, part in enumerate(grower.fragments) for i in part.own}
    for bonds, parts in enumerate(parts_of(grower, group), start=1):
        assert len(parts)
        for part in parts:
            inside = {home[int(i)] for i in free[part]}
            assert nx.is_connected(joined.subgraph(inside))
            assert 2 <= len(inside) <= len(joined) - 2
            assert part.sum() == sum(len(grower.fragments[k].own) for k in inside)
            assert len(list(nx.edge_boundary(joined, inside))) == bonds
    assert {frozenset(part) for part in recombination._cut(nx.cycle_graph(6), [(0, 1), (3, 4)])} == {
        frozenset({1, 2, 3}),
        frozenset({4, 5, 0}),
    }
    assert recombination._cut(nx.cycle_graph(6), [(0, 1)]) == set()


def test_what_has_no_parts_is_grown_and_not_crossed(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """As several molecules of water that one bead stands for."""
    monkeypatch.setattr(recombination, "fragment_graph", lambda parts: nx.empty_graph(len(parts)))
    sampler = sampler_of(polymer)
    assert parts_of(sampler.growers["SPS"], sampler.growers["SPS"].stretches[0]) == ()
    assert np.isfinite(bred(sampler, polymer).energy[:, 1:].min(axis=1)).all()


@pytest.mark.parametrize("joined", [nx.path_graph(400), nx.path_graph(WHOLE + 1), nx.cycle_graph(90)])
def test_every_fragment_of_a_chain_is_well_inside_a_stretch(joined: nx.Graph) -> None:
    inside = set[int]()
    for window in long_windows(joined):
        outside = set(joined) - set(window.tolist())
        edge = nx.multi_source_dijkstra_path_length(joined, outside, cutoff=REACH // 2)
        inside |= set(window.tolist()) - set(edge)
    assert inside == set(joined)


@pytest.mark.parametrize("joined", [nx.balanced_tree(2, 8), nx.star_graph(100), nx.balanced_tree(7, 3)])
def test_stretches_of_what_branches_are_small(joined: nx.Graph) -> None:
    windows = long_windows(joined)
    assert set().union(*(set(window.tolist()) for window in windows)) == set(joined)
    for window in windows:
        assert len(window) <= max(WHOLE, 1 + max(joined.degree(int(k)) for k in window))
    assert long_windows(nx.path_graph(WHOLE))[0].tolist() == list(range(WHOLE))


def test_long_chains_are_cut_in_linear_number() -> None:
    assert len(long_windows(nx.path_graph(4000))) < 4000 / REACH


# --- when --------------------------------------------------------------------------------------------


def offered_in(
    sampler: Sampler, made: Cut, monkeypatch: pytest.MonkeyPatch, rounds: range, **more: bool
) -> list[tuple[int, ...]]:
    """Random numbers of what was bred."""
    return [path for path, _ in bred_in(sampler, made, monkeypatch, rounds, **more)]


def bred_in(
    sampler: Sampler, made: Cut, monkeypatch: pytest.MonkeyPatch, rounds: range, **more: bool
) -> list[tuple[tuple[int, ...], Candidates | None]]:
    """Random numbers of what was bred, and what it was bred from."""
    seen, kept = list[tuple[tuple[int, ...], Candidates | None]](), samplers.breed

    def recorded(*given: Any) -> Candidates:
        seen.append((given[4].path, given[5]))
        return kept(*given)

    monkeypatch.setattr(samplers, "breed", recorded)
    monkeypatch.setattr(recombination, "CROSSED", 0)
    monkeypatch.setattr(samplers, "_exchange_all", lambda *_, **__: {})
    conf = configure(sampler, made.atoms[0].positions.astype(np.float64), made.beads[0])
    offer(sampler, conf, made.beads[0], rounds, frame_stream(1, 0, 0), **more)
    return seen


def test_conformers_are_bred_before_all_windows_are_asked(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = sampler_of(polymer)
    assert not offered_in(sampler, polymer, monkeypatch, range(ASKED + 1))
    seen = offered_in(sampler, polymer, monkeypatch, range(ASKED + 1), bred=True)
    at = [path[path.index(Use.STRETCHES) + 1] for path in seen]
    assert at == [0, ASKED]
    assert len(set(seen)) == len(seen)


def test_each_part_of_a_run_is_bred_on(polymer: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "AT_ONCE", 1)
    seen = bred_in(sampler_of(polymer), polymer, monkeypatch, range(ASKED + 1), bred=True)
    assert [before is None for _, before in seen] == [True, True, False, False]
    beads = [before.copies.beads for _, before in seen[2:] if before is not None]
    centres = next(_runs(sampler_of(polymer), polymer.beads[0]))[2].beads
    np.testing.assert_array_equal(np.concatenate(beads), centres)


def test_of_many_molecules_some_are_bred_after_the_others(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So memory does not grow with the frame."""
    monkeypatch.setattr(samplers, "AT_ONCE", 1)
    seen = offered_in(sampler_of(polymer), polymer, monkeypatch, range(1), bred=True)
    assert len(seen) == len(set(seen)) == 2


@pytest.mark.parametrize(("rounds", "breeds"), [(BREEDING - 1, False), (BREEDING, True)])
def test_conformers_are_bred_where_there_are_many_rounds(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch, rounds: int, breeds: bool
) -> None:
    """In frames and in trials alike."""
    asked = list[tuple[range, bool]]()

    def made(*given: Any, bred: bool) -> None:
        asked.append((given[3], bred))

    for module in (samplers, preparation):
        monkeypatch.setattr(module, "offer", made)
    sampler, beads = sampler_of(polymer, offers=rounds), polymer.beads[0]
    sampler(beads)
    start = [np.asarray(polymer.atoms[0].positions, np.float64)]
    preparation._after_offers(sampler, beads, start, range(4, rounds), frame_stream(1, 0, 0))
    assert asked == [(range(rounds), breeds), (range(4, rounds), breeds)]


def test_stereocentres_stay_where_molecules_take_what_was_bred(
    polymer: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_less(monkeypatch)
    sampler, beads = sampler_of(polymer), polymer.beads[0]
    atoms = polymer.atoms[0].positions.astype(np.float64)
    conf = configure(sampler, atoms + 0.05 * np.random.default_rng(1).normal(size=atoms.shape), beads)
    samplers._exchange_stretches(
        sampler,
        conf,
        [(match, molecules) for match, _, molecules in _runs(sampler, beads)],
        {},
        frame_stream(1, 0, 0),
    )
    match = polymer.system.matches[0]
    found = chirality_of(match.molecules(conf.positions), stereo_elements(match.moltype))
    assert np.array_equal(found, sampler.chirality["SPS"])
    # torn apart before, each at a minimum on its beads now
    assert np.linalg.norm(configure(sampler, conf.positions, beads).offsets, axis=1).max() < 0.02

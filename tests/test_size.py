"""The cost of a frame goes with its size: what looks at all of it does so once, and in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scaling import exponent

import dbm_gmx.chemistry.periodic as periodic
import dbm_gmx.forcefield.lattice as lattice
import dbm_gmx.sampling.neighbours as neighbours
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import close_pairs, neighbour_pairs, pairs_in_parts
from dbm_gmx.forcefield.nonbonded import zero_quadrupole
from dbm_gmx.sampling.colouring import Owners, colour_instances
from dbm_gmx.sampling.neighbours import NeighbourList, make_neighbours

DENSITY = 60.0  # nm^-3


def cloud(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Points anywhere in a long box of one density, and the box."""
    box = np.diag([2.5, 2.5, n / DENSITY / 2.5**2])
    return np.random.default_rng(seed).uniform(0, 1, (n, 3)) @ box, box


def test_parts_find_each_pair_as_a_search_of_all_does() -> None:
    points, box = cloud(900)
    whole = neighbour_pairs(points, points, box, 0.5)
    found = {(i, j, *c): d for i, j, c, d in zip(*map(listed, whole[:4]), strict=True)}
    seen = set()
    for rows, part in pairs_in_parts(points, box, 0.5, 100):
        for i, j, cells, distance in zip(*map(listed, part[:4]), strict=True):
            assert rows.start <= i < rows.stop
            assert distance == pytest.approx(found[(i, j, *cells)])
            assert (i, j, *cells) not in seen
            seen.add((i, j, *cells))
            if j >= rows.stop:  # the other way round is not found again
                seen.add((j, i, *(-k for k in cells)))
    assert seen == set(found)


def listed(values: np.ndarray) -> list[object]:
    return [tuple(v) if isinstance(v, list) else v for v in values.tolist()]


def test_few_trees_are_made_however_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of all that is left for each part would be as many trees as there are parts."""
    points, box = cloud(6000)
    made, tree = list[int](), periodic.cKDTree

    def counted(values: np.ndarray) -> object:
        made.append(len(values))
        return tree(values)

    monkeypatch.setattr(periodic, "cKDTree", counted)
    for _ in pairs_in_parts(points, box, 0.3, 100):
        pass
    assert sum(made) < 9 * len(points)  # images in the walls among them
    made.clear()
    monkeypatch.setattr(neighbours, "AT_ONCE", 100)
    make_neighbours(points, np.full(len(points), 0.1), box, 0.1)
    assert sum(made) < 3 * len(points)


def test_time_of_searches_grows_as_the_points() -> None:
    clouds = {n: cloud(n) for n in (4_000, 32_000)}
    radius = {n: np.full(n, 0.1) for n in clouds}

    def contacts(n: int) -> object:
        return close_pairs(Frame(clouds[n][0].astype(np.float32), clouds[n][1]), 0.25)

    def near_beads(n: int) -> object:
        return make_neighbours(clouds[n][0], radius[n], clouds[n][1], 0.2)

    for work in (contacts, near_beads):
        assert exponent(work, 4_000, 32_000) < 1.4


def test_lattice_energy_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In many parts, none of which goes through the whole mesh."""
    monkeypatch.setattr(lattice, "AT_ONCE", 100)
    rng, clouds = np.random.default_rng(2), {n: cloud(n) for n in (2_000, 16_000)}
    charges = {n: rng.choice([-0.1, 0.1], n) for n in clouds}

    def energy(n: int) -> float:
        points, box = clouds[n]
        return lattice.lattice_excess(charges[n], Frame(points.astype(np.float32), box), zero_quadrupole(0.5))

    assert exponent(energy, 2_000, 16_000) < 1.4


def test_neighbours_are_never_twice_in_memory() -> None:
    points, box = cloud(20_000)
    tracemalloc.start()
    found = make_neighbours(points, np.full(len(points), 0.15), box, 0.35)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    listed = found.near.nbytes + found.shift.nbytes
    assert most < 1.6 * listed + 60e6  # of one part of the search


def line(n: int) -> NeighbourList:
    """Beads in a row, each near two on either side."""
    near = [[j for j in range(i - 2, i + 3) if 0 <= j < n] for i in range(n)]
    start = np.concatenate([[0], np.cumsum([len(one) for one in near])])
    # of the types that the package makes: nothing is compiled for others
    shift, near_to = np.zeros((0, 3), np.int16), np.concatenate(near).astype(np.int32)
    return NeighbourList(np.zeros((n, 3)), np.zeros(n), np.eye(3), 0.0, start, near_to, shift)


def test_windows_get_the_smallest_colour_that_is_free() -> None:
    """Of two beads each: four windows in a row see each other at most."""
    none = np.zeros(50, np.int64)
    owners = Owners(2 * np.arange(51), np.arange(100), np.arange(50), none)
    colour = colour_instances(line(100), owners, none != 0)
    for one, other in [(a, b) for a in range(50) for b in range(a)]:
        if 2 * one - (2 * other + 1) <= 2:
            assert colour[one] != colour[other]
    assert colour.max() == 1


@pytest.mark.parametrize("copies", [1, 40])
def test_colours_of_blocks_are_those_of_a_search_through_all(copies: int) -> None:
    """Also where there are more of them than bits in a word."""
    beads = 60
    near = line(beads)
    first_beads = np.repeat(np.tile(np.arange(beads - 1), copies), 3)
    sort = np.tile([0, 1, 2], (beads - 1) * copies)
    owners = Owners(np.array([0, 1, 3, 5]), np.array([0, 0, 1, 1, 0]), sort, first_beads)
    late = np.array([False, False, True])
    found = colour_instances(near, owners, late)
    own = [
        owners.bead[owners.start[b] : owners.start[b + 1]] + first
        for b, first in zip(sort, first_beads, strict=True)
    ]
    expected = np.full(len(own), -1)
    on_bead: list[set[int]] = [set() for _ in range(beads)]
    for which in (False, True):
        first = expected.max() + 1
        for one in np.flatnonzero(late[sort] == which):
            around = [near.near[near.near_start[b] : near.near_start[b + 1]] for b in own[one]]
            taken = set().union(*(on_bead[int(j)] for j in np.concatenate(around)))
            expected[one] = next(k for k in range(first, len(own) + 1) if k not in taken)
            for b in own[one]:
                on_bead[b].add(int(expected[one]))
    assert found.tolist() == expected.tolist()
    assert (found.max() > 64) == (copies > 1)

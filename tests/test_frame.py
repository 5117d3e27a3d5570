"""Periodic geometry against brute force, and on the reference systems."""

from __future__ import annotations

from itertools import product

import MDAnalysis as mda
import numpy as np
import pytest

from dbm_gmx.chemistry.frame import Frame, box_vectors, box_volume, check_frame, dimensions
from dbm_gmx.chemistry.periodic import (
    close_pairs,
    close_pairs_in_parts,
    make_whole,
    minimum_image,
    neighbour_pairs,
    reduced_cell,
    through_the_box,
)
from dbm_gmx.chemistry.topology import blocks
from dbm_gmx.errors import InputError
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.files.trajectory import read_frames

CELLS = np.array(list(product(range(-2, 3), repeat=3)))


def skewed_box(rng, low=2.0, high=4.0, skew=0.9):
    """Lower triangular box whose shear may exceed what GROMACS allows."""
    box = np.diag(rng.uniform(low, high, 3))
    box[1, 0], box[2, 0], box[2, 1] = rng.uniform(-skew, skew, 3) * [box[0, 0], box[0, 0], box[1, 1]]
    return box


def test_minimum_image_in_skewed_boxes():
    rng = np.random.default_rng(1)
    cells = np.array(list(product(range(-6, 7), repeat=3)))
    for _ in range(20):
        box = skewed_box(rng, skew=2.5)
        vectors = rng.uniform(-1, 1, (50, 3)) @ box
        found = minimum_image(vectors, box)
        brute = np.linalg.norm(vectors[:, None] + cells @ box, axis=-1).min(axis=1)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), brute, atol=1e-12)
        cells_moved = (found - vectors) @ np.linalg.inv(box)
        np.testing.assert_allclose(cells_moved, np.round(cells_moved), atol=1e-9)


def test_minimum_image_keeps_shape_and_type():
    vectors = np.full((2, 5, 3), 2.75, np.float32)
    found = minimum_image(vectors, np.diag([3.0, 3.0, 3.0]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.full((2, 5, 3), -0.25))


@pytest.mark.parametrize("cutoff", [0.6, 1.9])
@pytest.mark.parametrize("same", [True, False])
def test_neighbour_pairs_against_brute_force(cutoff, same):
    """Of points with themselves, each point at no distance of itself is among them."""
    rng = np.random.default_rng(7)
    for _ in range(4):
        box = skewed_box(rng, 1.8, 2.6, skew=0.6)
        points = rng.uniform(0, 1, (20, 3)) @ box
        others = points if same else rng.uniform(0, 1, (15, 3)) @ box
        gaps = others[None, :, None] + CELLS @ box - points[:, None, None]
        near = np.linalg.norm(gaps, axis=-1) <= cutoff
        expected = {(i, j, *CELLS[c]) for i, j, c in zip(*near.nonzero(), strict=True)}
        pairs = neighbour_pairs(points, others, box, cutoff)
        i, j, shift = pairs.i, pairs.j, pairs.shift()
        cells = np.round(shift @ np.linalg.inv(box)).astype(int)
        np.testing.assert_allclose(cells @ box, shift, atol=1e-12)
        assert len(i) == len(expected)
        assert set(zip(i, j, *cells.T, strict=True)) == expected
        assert near[range(20), range(20), 62].all() if same else True
        gaps = others[j] + shift - points[i]
        np.testing.assert_allclose(np.linalg.norm(gaps, axis=1), pairs.distances, atol=1e-12)


def test_neighbour_pairs_refer_to_the_given_coordinates():
    """Points outside the cell: the same distances, shifts that fit."""
    rng = np.random.default_rng(3)
    box = skewed_box(rng)
    points, others = (rng.uniform(0, 1, (40, 3)) @ box for _ in range(2))
    moved = others + rng.integers(-3, 4, (40, 3)) @ box
    pairs = neighbour_pairs(points, others, box, 1.0)
    again = neighbour_pairs(points, moved, box, 1.0)
    gaps = np.linalg.norm(moved[again.j] + again.shift() - points[again.i], axis=1)
    assert gaps.max() <= 1.0 + 1e-12
    before = np.linalg.norm(others[pairs.j] + pairs.shift() - points[pairs.i], axis=1)
    np.testing.assert_allclose(np.sort(gaps), np.sort(before), atol=1e-12)


def test_self_images_in_a_small_box():
    pairs = neighbour_pairs(np.zeros((1, 3)), np.zeros((1, 3)), np.eye(3), 1.01)
    assert len(pairs.i) == 7
    assert set(pairs.i) == set(pairs.j) == {0}
    images = pairs.select(pairs.cells.any(axis=1))
    np.testing.assert_allclose(np.linalg.norm(images.shift(), axis=1), [1.0] * 6)


def test_pairs_without_a_box_have_no_images():
    points = np.array([[0, 0, 0], [0, 0, 0.3], [5, 0, 0]], np.float32)
    pairs = neighbour_pairs(points, points, np.zeros((3, 3)), 0.4)
    assert set(zip(pairs.i.tolist(), pairs.j.tolist(), strict=True)) == {
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (2, 2),
    }
    assert not pairs.cells.any()
    assert not pairs.shift().any()
    found, distances = close_pairs(Frame(points, np.zeros((3, 3))), 0.4)
    assert found.tolist() == [[0, 1]]
    np.testing.assert_allclose(distances, [0.3], rtol=1e-6)


@pytest.mark.parametrize("at_once", [60, 10**6])
def test_close_pairs_are_each_pair_once(at_once, monkeypatch):
    monkeypatch.setattr("dbm_gmx.chemistry.periodic.AT_ONCE", at_once)
    rng = np.random.default_rng(11)
    box = skewed_box(rng, skew=0.6)
    inside = rng.uniform(0, 1, (40, 3)) @ box
    points = inside + rng.integers(-3, 4, (40, 3)) @ box
    gaps = points[None, :] - points[:, None]
    between = np.linalg.norm(minimum_image(gaps, box), axis=-1)
    expected = [(i, j) for i, j in np.argwhere(between < 0.9).tolist() if i < j]
    frame = Frame(points.astype(np.float32), box)
    parts = list(close_pairs_in_parts(frame, 0.9))
    assert (len(parts) > 3) == (at_once == 60)
    found, distances = close_pairs(frame, 0.9)
    assert sorted(map(tuple, found.tolist())) == expected
    np.testing.assert_allclose(distances, between[found[:, 0], found[:, 1]], atol=1e-5)


def test_a_cutoff_beyond_half_the_box_is_refused():
    frame = Frame(np.zeros((2, 3), np.float32), np.array([[2.0, 0, 0], [0, 3, 0], [0.9, 1.4, 0.5]]))
    shortest = np.linalg.norm(reduced_cell(frame.box), axis=1).min()
    with pytest.raises(InputError, match=rf"cut-off 0.96 nm exceeds half of the .* {shortest:g} nm"):
        close_pairs(frame, 0.96)


def test_make_whole_restores_broken_chains():
    rng = np.random.default_rng(5)
    box = skewed_box(rng, skew=1.5)
    steps = rng.normal(size=(6, 30, 3))
    whole = np.cumsum(0.3 * steps / np.linalg.norm(steps, axis=-1, keepdims=True), axis=1)
    broken = whole + rng.integers(-1, 2, (6, 30, 3)) @ box
    bonds = np.array([(i, i + 1) for i in range(29)])
    found = make_whole(broken, box, bonds)
    np.testing.assert_allclose(found - found[:, :1], whole - whole[:, :1], atol=1e-9)
    np.testing.assert_array_equal(found[:, 0], broken[:, 0])


def test_make_whole_joins_parts_without_bonds():
    box = np.diag([3.0, 3.0, 3.0])
    positions = np.array([[[0.1, 1, 1], [2.9, 1, 1], [2.8, 1, 1], [0.05, 1, 1]]])
    found = make_whole(positions, box, np.array([(2, 3)]))
    np.testing.assert_allclose(found[0, :, 0], [0.1, -0.1, -0.2, 0.05])
    assert make_whole(positions[:, :1], box, np.zeros((0, 2), int)).shape == (1, 1, 3)


@pytest.mark.parametrize("name", ["sps", "octane", "cumene"])
def test_reference_molecules_become_whole(reference, name):
    topology, _ = read_tpr(reference / name / "aa.tpr")
    [(moltype, _, copies)] = blocks(topology)
    rng = np.random.default_rng(0)
    first, second = moltype.bonds.T
    for frame in read_frames(reference / name / "aa.xtc", n_atoms=topology.n_atoms):
        broken = frame.positions + (rng.integers(-1, 2, frame.positions.shape) @ frame.box).astype(np.float32)
        whole = make_whole(broken.reshape(copies, -1, 3), frame.box, moltype.bonds)
        assert np.linalg.norm(whole[:, first] - whole[:, second], axis=-1).max() < 0.2


def test_same_as_mdanalysis_unwrap(reference):
    topology, frame = read_tpr(reference / "sps" / "aa.tpr")
    [(moltype, _, copies)] = blocks(topology)
    universe = mda.Universe(str(reference / "sps" / "aa.tpr"))
    expected = universe.atoms.unwrap(compound="fragments").reshape(copies, -1, 3) / 10
    found = make_whole(frame.positions.reshape(copies, -1, 3), frame.box, moltype.bonds)
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], atol=1e-4)


def test_dimensions_and_back():
    box = skewed_box(np.random.default_rng(2))
    np.testing.assert_allclose(box_vectors(dimensions(box)), box, atol=1e-5)
    np.testing.assert_allclose(dimensions(np.diag([1.0, 2.0, 3.0])), [1, 2, 3, 90, 90, 90])
    assert box_volume(box) == pytest.approx(box[0, 0] * box[1, 1] * box[2, 2])


@pytest.mark.parametrize(
    ("box", "says"),
    [
        (np.zeros((3, 3)), "no box"),
        (np.diag([1.0, 2.0, 0.0]), "no volume"),
        (np.diag([1.0, np.nan, 1.0]), "not finite"),
        (np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]]), "lower triangular"),
    ],
)
def test_useless_boxes_are_refused(box, says):
    with pytest.raises(InputError, match=rf"frame 4 \(t = 2.5 ps\).*{says}"):
        check_frame(Frame(np.zeros((2, 3), np.float32), box, time=2.5, index=4))


def test_the_first_position_that_is_no_number_is_named():
    positions = np.zeros((5, 3), np.float32)
    positions[2:4, 1] = np.nan, np.inf
    with pytest.raises(InputError, match=r"x\.gro: frame 0 .*atom 3 is 0 nan 0 \(2 such"):
        check_frame(Frame(positions, np.eye(3)), "x.gro")


RING = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]])


def ring_and_line(box: np.ndarray, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Five beads in a circle, and in a line along the first box vector whose ends are neighbours."""
    angle = 2 * np.pi * np.arange(5) / 5
    circle = 0.4 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    line = np.arange(5)[:, None] / 5 * box[0]
    inverse = np.linalg.inv(box)

    def broken(x: np.ndarray) -> np.ndarray:
        fraction = (x + shift) @ inverse
        return (fraction - np.floor(fraction)) @ box

    return broken(circle), broken(line)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.9])
def test_bonds_to_the_own_image_are_found(shift: float) -> None:
    """A ring across the box has none of them; a chain that is not closed has none, however long."""
    box = skewed_box(np.random.default_rng(4))
    ring, line = ring_and_line(box, shift)
    whole = make_whole(np.stack([ring, ring]), box, RING)
    assert not through_the_box(whole, box, RING).any()
    assert not through_the_box(make_whole(line[None], box, RING[:-1]), box, RING[:-1]).any()
    assert not through_the_box(make_whole(line[None], box, RING), np.zeros((3, 3)), RING).any()
    both = make_whole(np.stack([ring, line]), box, RING)
    assert through_the_box(both, box, RING).sum(axis=1).tolist() == [0, 1]

"""Beads near each other, against a look at every image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dbm_gmx.chemistry.periodic import reduced_cell
from dbm_gmx.sampling.neighbours import make_neighbours

BOXES = {
    "cube": np.diag([2.3, 2.3, 2.3]),
    "flat": np.diag([3.1, 0.8, 1.0]),
    "triclinic": np.array([[2.0, 0.0, 0.0], [0.9, 1.7, 0.0], [-0.7, 0.8, 1.5]]),
}
REACH = 0.55


@pytest.mark.parametrize("name", BOXES)
def test_all_images_within_reach_are_listed_once(name: str) -> None:
    rng, box = np.random.default_rng(5), BOXES[name]
    # some lie outside the box, as molecules that are whole do
    beads = rng.uniform(-1.5, 2.5, (23, 3)) @ box
    radius = rng.uniform(0.0, 0.25, 23)
    found = make_neighbours(beads, radius, box, REACH)
    cell = reduced_cell(box)
    listed = [
        (bead, int(other), *map(int, shift))
        for bead in range(23)
        for other, shift in zip(
            found.near[found.near_start[bead] : found.near_start[bead + 1]],
            found.shift[found.near_start[bead] : found.near_start[bead + 1]],
            strict=True,
        )
    ]
    shifts = np.array(list(itertools.product(range(-8, 9), repeat=3)))
    expected = set()
    for bead, other in itertools.product(range(23), repeat=2):
        apart = np.linalg.norm(beads[other] + shifts @ cell - beads[bead], axis=1)
        near = apart < radius[bead] + radius[other] + REACH
        expected |= {(bead, other, *row) for row in shifts[near].tolist()}
    assert len(listed) == len(set(listed))
    assert set(listed) == expected
    if name == "flat":  # a bead sees images of itself
        assert any(bead == other and any(shift) for bead, other, *shift in expected)

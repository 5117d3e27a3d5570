"""A tiny network learns one frame of the example."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from oracle import example

from dbm_gmx.channels import default_channels
from dbm_gmx.environment import densities
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.generator import Generator, Shape
from dbm_gmx.grid import Grid
from dbm_gmx.model import load_model
from dbm_gmx.system import bead_types_of, classes_of, read_system, system_layout
from dbm_gmx.training import (
    Recipe,
    Sample,
    draw_environments,
    join,
    losses,
    make_sample,
    partner_distances,
    train,
)


@pytest.fixture(scope="module")
def data() -> tuple[Sample, object, object]:
    system, _ = read_system(example() / "cg.tpr")
    channels = default_channels(
        [c for v in classes_of(system).values() for c in v], sorted(bead_types_of(system))
    )
    layout, table = system_layout(system, channels)
    frame = next(iter(read_frames(example() / "aa.xtc", n_atoms=system.n_atoms)))
    return make_sample(system, layout, frame, grid=Grid()), channels, table


def test_the_truth_is_where_the_local_frame_says(data) -> None:  # type: ignore[no-untyped-def]
    sample, _, table = data
    dice = torch.Generator().manual_seed(1)
    seen, local = draw_environments(sample, 200, grid=Grid(), jitter=0.0, dice=dice)
    back = (local[:, None] @ seen.rotation)[:, 0] + seen.centre
    torch.testing.assert_close(back, sample.truth[seen.atom], atol=1e-4, rtol=0)
    # bonded neighbours of the true position are a bond length away, those of the centre of a bead are not
    distance, near, next_near = partner_distances(seen, local, table)
    assert near.sum() > 100
    assert next_near.sum() > 100
    assert distance[near > 0].max() < 0.18
    assert distance[next_near > 0].max() < 0.29


def test_losses_of_a_perfect_and_of_a_displaced_generator(data) -> None:  # type: ignore[no-untyped-def]
    """A generator that puts a density 0.05 nm off costs (0.05 / place)^2 more than one that does not."""
    sample, _, table = data
    grid, recipe = Grid(), Recipe(draws=2, place=0.02)
    dice = torch.Generator().manual_seed(1)
    seen, truth = draw_environments(sample, 50, grid=grid, jitter=0.0, dice=dice)

    class Fixed(torch.nn.Module):
        shape = Shape(noise=1)

        def __init__(self, off: float):
            super().__init__()
            self.off = torch.tensor([off, 0.0, 0.0])

        def forward(self, environment, label, noise):  # type: ignore[no-untyped-def]
            from dbm_gmx.grid import density_of

            blob = density_of(truth + self.off, grid)
            blob = blob / blob.sum((1, 2, 3), keepdim=True)
            return blob.repeat(recipe.draws, 1, 1, 1)

    features = torch.from_numpy(table.features)
    parts = [
        losses(Fixed(off), seen, truth, table=table, features=features, grid=grid, recipe=recipe, dice=dice)
        for off in (0.0, 0.05)
    ]
    assert all(abs(float(value)) < 1e-3 for value in parts[0].values())
    assert float(parts[1]["place"]) == pytest.approx((0.05 / 0.02) ** 2, rel=0.02)
    # Kullback-Leibler divergence of two Gaussians: d^2 / (2 sigma^2), here 0.125
    assert float(parts[1]["shape"]) == pytest.approx(recipe.shape * 0.125, rel=0.05)
    assert float(parts[1]["bond"]) > 1


def test_a_tiny_network_learns(data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    sample, channels, table = data
    shape = Shape(width=16, blocks=1, noise=4)
    recipe = Recipe(steps=250, batch=24, draws=2, rate=5e-3, jitter=0.0, average=0.9)
    grid = Grid()
    output = tmp_path / "tiny.pt"
    model = train([[sample]], table=table, channels=channels, output=output, shape=shape, recipe=recipe)
    network = Generator(channels.width, shape)
    features = torch.from_numpy(table.features)

    def score() -> dict[str, float]:
        dice = torch.Generator().manual_seed(9)
        seen, truth = draw_environments(sample, 300, grid=grid, jitter=0.0, dice=dice)
        parts = losses(
            network, seen, truth, table=table, features=features, grid=grid, recipe=recipe, dice=dice
        )
        return {key: float(value.detach()) for key, value in parts.items()}

    before = score()
    network.load_state_dict(dict(model.state))
    after = score()
    assert after["place"] < 0.85 * before["place"]
    assert after["bond"] < 0.2 * before["bond"]
    assert after["angle"] < 0.6 * before["angle"]
    assert load_model(output).provenance["steps"] == model.provenance["steps"]


def test_joined_batches_keep_every_sample(data) -> None:  # type: ignore[no-untyped-def]
    sample, _, table = data
    dice = torch.Generator().manual_seed(1)
    parts = [draw_environments(sample, n, grid=Grid(), jitter=0.0, dice=dice) for n in (5, 9)]
    seen, truth = join(parts)
    features = torch.from_numpy(table.features)
    apart = torch.cat([densities(s, features, Grid()) for s, _ in parts])
    torch.testing.assert_close(densities(seen, features, Grid()), apart, atol=1e-4, rtol=0)
    assert len(truth) == 14

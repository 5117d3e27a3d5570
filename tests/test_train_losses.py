"""Every loss against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dbm_gmx.network.channels import default_channels, feature_table
from dbm_gmx.network.environment import Environment
from dbm_gmx.network.voxels import Grid, density_of
from dbm_gmx.train.critic import Critic, critic_operations
from dbm_gmx.train.losses import (
    SupervisedBatch,
    Widths,
    closest_distance,
    critic_loss,
    energy_score,
    generator_loss,
    gradient_penalty,
    prior_loss,
    prior_weights,
    soften,
    supervised_losses,
    unit_density,
)
from dbm_gmx.train.settings import CriticSettings, PriorSettings, WarmSettings
from dbm_gmx.train.state import critic_density, warm_rate


def test_wasserstein_losses() -> None:
    real, made = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2.0, 0.0, 1.0])
    assert float(critic_loss(real, made)) == pytest.approx(1.0 - 3.0)
    assert float(generator_loss(made)) == pytest.approx(-1.0)


def pairs(batch: int, *, u: float, density: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((batch, 1, 1, 1, 1), u), torch.full((batch, 1, 1, 1), density)


def test_gradient_penalty_of_a_linear_critic() -> None:
    """C = 3 u + 4 gamma has a gradient of norm 5 everywhere: (5 - 1)^2."""

    def critic(u: torch.Tensor, label: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
        return 3 * u.flatten(1).sum(1) + 4 * density.flatten(1).sum(1)

    label, mix = torch.zeros(6, 1), torch.rand(6)
    penalty = gradient_penalty(critic, pairs(6, u=0.0, density=1.0), pairs(6, u=2.0, density=5.0), label, mix)
    assert float(penalty) == pytest.approx(16.0, rel=1e-5)


def test_gradient_penalty_is_taken_between_data_and_generated() -> None:
    """C = gamma^2 has the gradient 2 gamma; gamma is 1 in the data, 5 generated, and a quarter data is 4."""
    factor = torch.tensor(1.0, requires_grad=True)

    def critic(u: torch.Tensor, label: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
        return factor * density.square().flatten(1).sum(1) + 0 * u.flatten(1).sum(1)

    mix = torch.tensor([1.0, 0.0, 0.25])
    penalty = gradient_penalty(
        critic, pairs(3, u=0.0, density=1.0), pairs(3, u=0.0, density=5.0), torch.zeros(3, 1), mix
    )
    assert float(penalty.detach()) == pytest.approx(
        ((2 - 1) ** 2 + (10 - 1) ** 2 + (8 - 1) ** 2) / 3, rel=1e-4
    )
    penalty.backward()  # differentiable by the critic's weights: mean of 2 (n f - 1) n
    assert float(factor.grad) == pytest.approx((2 * 2 + 18 * 10 + 14 * 8) / 3, rel=1e-4)


def test_priors() -> None:
    made = {"bond": torch.tensor([10.0, 20.0]), "lennard_jones": torch.tensor([-5.0, 1.0])}
    data = {"bond": torch.tensor([12.0, 12.0]), "lennard_jones": torch.tensor([-7.0, -7.0])}
    weights = {"bond": 0.1, "lennard_jones": 2.0}
    # mean of 1 - 10 and 2 + 2; mean of 0.2 + 4 and 0.8 + 16
    assert float(prior_loss("p1", made, data, weights)) == pytest.approx(-2.5)
    assert float(prior_loss("p2", made, data, weights)) == pytest.approx(10.5)


def test_prior_weights_rise_in_increments() -> None:
    settings = PriorSettings("p1", bonded=0.004, lennard_jones=0.04, ramp=0.5)
    found = [prior_weights(settings, done, increments=4) for done in (0.0, 0.12, 0.125, 0.3, 0.5, 1.0)]
    assert [w["lennard_jones"] for w in found] == pytest.approx([0, 0, 0.01, 0.02, 0.04, 0.04])
    assert [w["angle"] for w in found] == pytest.approx([0, 0, 0.001, 0.002, 0.004, 0.004])
    assert prior_weights(PriorSettings(ramp=0.0), 0.0)["bond"] == pytest.approx(0.004)


def test_high_energies_count_with_their_logarithm() -> None:
    energy = torch.tensor([-3.0, 50.0, 100.0 * math.e, 1e12], requires_grad=True)
    soft = soften(energy, 100.0)
    assert soft.tolist() == pytest.approx([-3.0, 50.0, 200.0, 100 * (1 + math.log(1e10))])
    soft.sum().backward()
    assert energy.grad.tolist() == pytest.approx([1.0, 1.0, 1 / math.e, 1e-10])


@pytest.mark.parametrize("measure", [torch.abs, lambda x: x.abs() ** 1.5, lambda x: x.square().log1p()])
def test_the_energy_score_is_lowest_for_draws_that_are_spread_as_the_data(
    measure: Callable[..., Any],
) -> None:
    """By hand for two draws; in the mean for normal data of width 1, of which E|x - y| is 2 / sqrt(pi)."""
    by_hand = energy_score(torch.tensor([0.1, 0.5]), torch.tensor([[0.0, 0.4], [0.4, 0.0]]))
    assert float(by_hand) == pytest.approx(0.3 - 0.4 / 2)
    assert float(energy_score(torch.tensor([0.2]), torch.zeros(1, 1))) == pytest.approx(0.2)
    rng = torch.Generator().manual_seed(1)
    data, draws = torch.randn(200_000, generator=rng), torch.randn(3, 200_000, generator=rng)

    def score(width: float) -> float:
        x = width * draws
        return float(energy_score(measure(x - data), measure(x[:, None] - x[None])).mean())

    if measure is torch.abs:
        assert score(1.0) == pytest.approx(1 / math.sqrt(math.pi), abs=0.01)
    assert score(1.0) < min(score(0.6), score(1.5))


def test_supervised_losses() -> None:
    """An atom bonded to one at the centre and two bonds from one at (0, 0.2, 0); draws are off along x.

    It belongs at (0.1, 0, 0); draws put it at 0.12 and at 0.16.  A third atom at (0.3, 0, 0), three bonds
    away, is too close below 0.19.
    """
    grid = Grid(size=16, edge=1.6)
    table = feature_table(default_channels(["C4"], ["A"]), ["C4"], ["A"])
    bond, angle, dihedral = (table.bonded_row + 2 * role for role in (0, 1, 2))
    environment = Environment(
        atom=torch.tensor([0]),
        atom_class=torch.tensor([0]),
        centre=torch.zeros(1, 3),
        rotation=torch.eye(3)[None],
        positions=torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.2, 0.0], [0.3, 0.0, 0.0]]]),
        rows=torch.tensor([[bond, angle, dihedral]]),
        weights=torch.ones(1, 3),
        neighbour=torch.full((1, 3), -1),
    )
    truth = torch.tensor([[0.1, 0.0, 0.0]])
    drawn = unit_density(torch.tensor([[[0.12, 0.0, 0.0]], [[0.16, 0.0, 0.0]]]), grid)
    widths = Widths(place=0.01, bond=0.005, angle=0.02, dihedral=0.04, shape=0.5, contact=0.01)

    def losses(around: Environment, draws: torch.Tensor) -> dict[str, torch.Tensor]:
        batch = SupervisedBatch(around, environment, truth, closest=torch.tensor([[0.0, 0.0, 0.19]]))
        return supervised_losses(draws, batch, table, grid, widths)

    found = losses(environment, drawn)
    # 0.02 and 0.06 from the data, and 0.04 between the draws
    assert float(found["place"]) == pytest.approx((2**1.5 + 6**1.5) / 2 - 4**1.5 / 2, rel=1e-3)

    def logs(one: float, other: float, between: float) -> float:
        first, second, half = (math.log1p(x**2) for x in (one, other, between))
        return (first + second) / 2 - half / 2

    assert float(found["bond"]) == pytest.approx(logs(4, 12, 8), rel=1e-3)
    assert float(found["dihedral"]) == pytest.approx(logs(0.5, 1.5, 1), rel=1e-3)
    near, far, right = (math.hypot(0.2, x) / 0.02 for x in (0.12, 0.16, 0.1))
    assert float(found["angle"]) == pytest.approx(logs(near - right, far - right, far - near), rel=1e-2)
    # 0.18 and 0.14 away where 0.19 is wanted
    assert float(found["contact"]) == pytest.approx((1 + 25) / 2, rel=1e-3)
    # a draw that looks like a particle costs nothing wherever it is; two halves 0.2 nm apart do
    assert float(found["shape"]) == pytest.approx(0.0, abs=1e-4)
    halves = unit_density(torch.tensor([[[0.0, 0.0, 0.0]], [[0.2, 0.0, 0.0]]]), grid).mean(0, keepdim=True)
    assert float(losses(environment, halves)["shape"]) > 0.02
    # the bonded atom is 0.05 to the left: the bond still wants its 0.1, here it has 0.17 and 0.21
    shifted = environment.positions - torch.tensor([[[0.05, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    moved = losses(replace(environment, positions=shifted), drawn)
    assert float(moved["bond"]) == pytest.approx(logs(14, 22, 8), rel=1e-3)
    assert float(moved["place"]) == pytest.approx(float(found["place"]), rel=1e-3)


def test_what_is_too_close() -> None:
    """The lowest energy of 4 e ((s / r)^12 - (s / r)^6) is at 2^(1/6) s; no Lennard-Jones, no distance."""
    s6 = 0.3**6
    found = closest_distance(torch.tensor([4 * s6, 0.0]), torch.tensor([4 * s6 * s6, 0.0]))
    assert found.tolist() == pytest.approx([0.8 * 2 ** (1 / 6) * 0.3, 0.0], rel=1e-4)


def test_the_warm_rate_rises_and_falls() -> None:
    rates = [warm_rate(WarmSettings(steps=300, rate=1.0), step) for step in range(300)]
    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates.index(max(rates)) in (9, 10)  # a thirtieth
    assert rates[149] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 1e-3


def test_the_critic_gets_densities_of_peak_one() -> None:
    grid = Grid()
    place = torch.tensor([[0.05, -0.1, 0.02]])
    blob = density_of(place, grid)
    assert torch.allclose(critic_density(unit_density(place, grid), grid), blob, rtol=0.02, atol=1e-3)
    # two halves at 0.1 nm on either side are not one particle in the middle
    sides = [unit_density(place + torch.tensor([[x, 0.0, 0.0]]), grid) for x in (-0.1, 0.1)]
    halves = (sides[0] + sides[1]) / 2
    assert not torch.allclose(critic_density(halves, grid), blob, atol=0.1)


@pytest.mark.parametrize("spectral", [True, False])
def test_spectral_normalisation_can_be_switched(spectral: bool) -> None:
    torch.manual_seed(1)
    critic = Critic(5, CriticSettings(width=8, blocks=1, spectral=spectral))
    inputs = torch.rand(2, 5, 8, 8, 8), torch.rand(2, 5), torch.rand(2, 8, 8, 8)
    for _ in range(60):  # power iteration, one step each time
        critic(*inputs)
    layers = [critic.fold, critic.label, critic.out, critic.blocks[0].first, critic.blocks[0].second]
    largest = [float(torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2)) for m in layers]
    assert (largest == pytest.approx([1.0] * 5, abs=0.02)) == spectral
    with torch.no_grad():
        assert critic(*inputs).shape == (2,)


def test_operations_of_the_critic() -> None:
    """By hand: 64 voxels; fold 3 x 8 inputs to 4, a block twice 27 x 4 inputs to 4."""
    settings = CriticSettings(width=4, blocks=1)
    assert critic_operations(2, settings, 8) == 2 * 64 * (24 * 4 + 2 * 27 * 4 * 4)

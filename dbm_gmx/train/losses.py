"""The losses, as functions of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import floor

import torch
from torch import Tensor

from dbm_gmx.network.channels import ROLES, FeatureTable
from dbm_gmx.network.environment import Environment
from dbm_gmx.network.voxels import Grid, collapse, density_of
from dbm_gmx.train.settings import PriorSettings

# --- adversarial -------------------------------------------------------------------------------------


def critic_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Wasserstein loss of the critic, from its scores (b,): E[C(u, G(u, z))] - E[C(u, gamma)]."""
    return generated.mean() - real.mean()


def generator_loss(generated: Tensor) -> Tensor:
    """Adversarial loss of the generator, from the critic's scores (b,): -E[C(u, G(u, z))]."""
    return -generated.mean()


def gradient_penalty(
    critic: Callable[[Tensor, Tensor, Tensor], Tensor],
    real: tuple[Tensor, Tensor],
    generated: tuple[Tensor, Tensor],
    label: Tensor,
    mix: Tensor,
) -> Tensor:
    """E[(|grad C| - 1)^2] on the lines between pairs (u, gamma) and (u, G(u, z)).

    Parameters
    ----------
    critic
        Environment, label and density to scores.
    real, generated
        Environments (b, channels, s, s, s) and densities (b, s, s, s).
    label
        (b, channels).
    mix
        (b,) in 0 to 1, part of the data in each mixture.
    """
    points = [
        torch.lerp(g.detach(), r.detach(), mix.reshape(-1, *[1] * (r.ndim - 1))).requires_grad_()
        for r, g in zip(real, generated, strict=True)
    ]
    score = critic(points[0], label, points[1])
    gradients = torch.autograd.grad(score.sum(), points, create_graph=True)
    squares = torch.stack([g.float().flatten(1).square().sum(1) for g in gradients]).sum(0)
    return ((squares + 1e-12).sqrt() - 1).square().mean()


# --- prior -------------------------------------------------------------------------------------------


def prior_loss(
    prior: str, generated: Mapping[str, Tensor], reference: Mapping[str, Tensor], weights: Mapping[str, float]
) -> Tensor:
    """The physical prior p of the paper.

    Parameters
    ----------
    prior
        ``p1``, energy minimising: sum_t lambda_t e_t(generated); ``p2``, energy matching:
        sum_t lambda_t abs(e_t(generated) - e_t(reference)).
    generated, reference
        By interaction type t, (b,) kJ/mol.
    weights
        lambda_t, mol/kJ.
    """
    parts = [
        weights[t] * (energy if prior == "p1" else (energy - reference[t]).abs())
        for t, energy in generated.items()
    ]
    return torch.stack(parts).sum(0).mean()


INCREMENTS = 10  # in which the weights of the prior rise


def prior_weights(settings: PriorSettings, done: float, *, increments: int = INCREMENTS) -> dict[str, float]:
    """lambda_t when this part of the adversarial steps is done: up in equal increments, then constant."""
    rise = min(1.0, done / settings.ramp) if settings.ramp else 1.0
    step = floor(rise * increments + 1e-9) / increments
    bonded = dict.fromkeys(("bond", "angle", "dihedral"), step * settings.bonded)
    return bonded | {"lennard_jones": step * settings.lennard_jones}


CEILING = 100.0  # kJ/mol above which the energy of a term or pair counts with its logarithm only


def soften(energy: Tensor, ceiling: float) -> Tensor:
    """Energies as they are up to ``ceiling`` c, above it c (1 + log(e / c)): same slope, no overflow."""
    return torch.where(energy > ceiling, ceiling * (1 + (energy.clamp(min=ceiling) / ceiling).log()), energy)


CLOSE = 0.8  # of the distance of lowest Lennard-Jones energy

# --- supervised --------------------------------------------------------------------------------------


def unit_density(positions: Tensor, grid: Grid) -> Tensor:
    """(..., s, s, s) densities of particles at (..., 3) nm, sum 1 as those of the generator."""
    density = density_of(positions, grid)
    return density / density.sum((-3, -2, -1), keepdim=True)


POWER = 1.5  # of distances: with 1 what is far off comes near more slowly; 2 would fit the mean only


def energy_score(off: Tensor, apart: Tensor) -> Tensor:
    """Energy score of several draws, the lower the better.

    Its mean is lowest where draws are distributed as the data; draws that are all in the middle of the data
    score worse (Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359, 2007, section 5).

    Parameters
    ----------
    off
        (draws, ...) how far each draw is off the data, in a negative definite measure: a power of the
        distance below the second, or log(1 + square).
    apart
        (draws, draws, ...) how far they are from each other, in the same measure.

    Returns
    -------
    (...), the mean of the one less half of the mean of the other, a draw and itself left out.
    """
    draws = len(off)
    return off.mean(0) - apart.sum((0, 1)) / max(1, 2 * draws * (draws - 1))


def lengths(vectors: Tensor) -> Tensor:
    """(...) of (..., 3), differentiable at 0."""
    return vectors.square().sum(-1).clamp(min=1e-10).sqrt()


def partners(environment: Environment, table: FeatureTable) -> Tensor:
    """(roles, b, k) 1 for entries one, two and three bonds away."""
    role = (environment.rows - table.bonded_row) // (2 * len(table.classes))
    bonded = (environment.rows >= table.bonded_row) & (environment.rows < table.bead_row)
    return torch.stack([environment.weights * (bonded & (role == r)) for r in range(len(ROLES))])


@dataclass(frozen=True, eq=False)
class SupervisedBatch:
    """Atoms (b) of a supervised step.

    Attributes
    ----------
    environment, data
        Environments with entries that may be displaced, and the same where the data have them: the distances
        of the data are to be kept also to what is displaced.
    truth
        (b, 3) nm, where the data have the atoms in their local frames.
    closest
        (b, k) nm, distance to each entry below which an atom is too close, unless it is so in the data.
    """

    environment: Environment
    data: Environment
    truth: Tensor
    closest: Tensor


@dataclass(frozen=True)
class Widths:
    """Errors that cost about as much as one another.

    Attributes
    ----------
    place
        nm, error of the position that costs 1.
    bond, angle, dihedral
        nm, errors of the distances to atoms one, two and three bonds away that cost log 2; larger ones cost
        little more.  So an atom follows neighbours that are a little off, and ignores those far off.
    contact
        nm, how much too close to an atom not bonded costs 1.
    shape
        Weight of the divergence between the generated density and that of a particle.
    """

    place: float = 0.015
    bond: float = 0.005
    angle: float = 0.01
    dihedral: float = 0.02
    contact: float = 0.02
    shape: float = 0.3


WIDTHS = Widths()
GUIDED = Widths(bond=0.015, angle=0.02, dihedral=0.03)
"""Where a guide brings atoms to the distances of the force field: the network says where, not how far."""


def supervised_losses(
    drawn: Tensor, batch: SupervisedBatch, table: FeatureTable, grid: Grid, widths: Widths = WIDTHS
) -> dict[str, Tensor]:
    """Parts of the loss of the warm start.

    Parameters
    ----------
    drawn
        (draws, b, s, s, s) generated densities.
    """
    positions, truth, environment = collapse(drawn, grid), batch.truth, batch.environment
    off_truth, apart = (
        lengths(p) / widths.place for p in (positions - truth, positions[:, None] - positions)
    )
    found = lengths(positions[..., None, :] - environment.positions)
    wanted = lengths(truth[:, None] - batch.data.positions)
    off, between = (found - wanted).square(), (found[:, None] - found[None]).square()
    bonded = {
        role: (energy_score((off / width**2).log1p(), (between / width**2).log1p()) * weight).sum(-1).mean()
        for role, weight, width in zip(
            ROLES,
            partners(environment, table),
            (widths.bond, widths.angle, widths.dihedral),
            strict=True,
        )
    }
    # one draw says what the density of a particle is like, wherever it is
    target = unit_density(positions[0].detach(), grid).flatten(1).clamp(min=1e-9).log()
    divergence = (target.exp() * (target - drawn[0].flatten(1).clamp(min=1e-9).log())).sum(1)
    overlap = (torch.minimum(batch.closest, wanted) - found).clamp(min=0).square()
    return {
        "place": energy_score(off_truth**POWER, apart**POWER).mean(),
        "shape": widths.shape * divergence.mean(),
        **bonded,
        "contact": (overlap.sum(-1) / widths.contact**2).mean(),
    }


def closest_distance(c6: Tensor, c12: Tensor) -> Tensor:
    """Distance (nm) below which a pair of these Lennard-Jones parameters counts as too close; 0 for none."""
    minimum = (2 * c12 / c6.clamp(min=1e-12)) ** (1 / 6)
    return torch.where(c6 > 0, CLOSE * minimum, 0.0)

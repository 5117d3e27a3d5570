"""How the provisional model is made: the best of several draws learns.

For each atom the generator draws a few positions from different random vectors; only the one
closest to the data is pulled towards it, so that several possible places can all be learned
(implicit maximum likelihood, Li and Malik, arXiv:1809.09087).  Every draw, near or not, has to keep
the distances to the atoms one and two bonds away, which hardly depend on the place chosen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path

import torch
from torch import Tensor

from dbm_gmx.channels import Channels, FeatureTable
from dbm_gmx.environment import EVERYTHING, Environment, Scene, densities, make_scene, surround
from dbm_gmx.frame import Frame
from dbm_gmx.generator import Generator, Shape
from dbm_gmx.grid import Grid, collapse, density_of
from dbm_gmx.layout import Layout
from dbm_gmx.model import Model, save_model
from dbm_gmx.system import System, mapped_beads, whole_atoms

WARM = 30  # the learning rate rises in the first thirtieth of the time


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes
    ----------
    hours, steps
        Wall time, or number of steps (0: any), after which the learning rate has come down to zero;
        whichever is reached first.
    batch, draws
        Atoms per step and positions drawn for each.
    rate
        Largest learning rate (Adam).
    jitter
        nm, largest displacement (one sigma) of the atoms seen; makes the generator forgiving to
        its own errors.
    bond, angle
        nm, errors in the distance to atoms one and two bonds away that cost as much as one
        ``place`` of the position itself.
    place
        nm.
    shape
        Weight of the cross entropy between generated and true density.
    average
        Decay of the running average of the weights that is kept.
    seed
        Of all random numbers.
    """

    hours: float = 1.0
    steps: int = 0
    batch: int = 96
    draws: int = 3
    rate: float = 1.5e-3
    jitter: float = 0.012
    bond: float = 0.01
    angle: float = 0.02
    place: float = 0.03
    shape: float = 0.3
    average: float = 0.999
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Sample:
    """A scene with the true atoms in place."""

    scene: Scene
    truth: Tensor


def make_sample(system: System, layout: Layout, frame: Frame, *, grid: Grid) -> Sample:
    """A training sample from an atomistic frame; beads are mapped from its atoms."""
    atoms = whole_atoms(system, frame)
    beads = mapped_beads(system, atoms)
    scene = make_scene(layout, [beads], [frame.box], grid=grid)
    truth = torch.from_numpy(atoms).float()
    scene.positions[0] = truth
    return Sample(scene, truth)


def draw_environments(
    sample: Sample, count: int, *, grid: Grid, jitter: float, dice: torch.Generator
) -> tuple[Environment, Tensor]:
    """Environments of random atoms, half of them as in growth and half as in sweeps, and true positions."""
    scene = sample.scene
    scale = jitter * torch.rand(1, generator=dice)
    scene.positions[0] = sample.truth + scale * torch.randn(sample.truth.shape, generator=dice)
    atom = torch.randint(len(sample.truth), (count,), generator=dice)
    growing = torch.rand(count, generator=dice) < 0.5
    seen = surround(
        scene,
        atom,
        now=torch.where(growing, scene.layout.growth[atom], EVERYTHING),
        azimuth=2 * torch.pi * torch.rand(count, generator=dice),
        replica=torch.zeros_like(atom),
        grid=grid,
    )
    local = (seen.rotation @ (sample.truth[atom] - seen.centre)[..., None])[..., 0]
    return seen, local


def partner_distances(
    environment: Environment, positions: Tensor, table: FeatureTable
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances to everything seen, and which of it is one and which two bonds away.

    Parameters
    ----------
    positions
        (..., b, 3) nm, local.

    Returns
    -------
    (..., b, k) nm, (b, k) and (b, k) weights.
    """
    role = (environment.rows - table.bonded_row) // (2 * len(table.classes))
    bonded = (environment.rows >= table.bonded_row) & (environment.rows < table.bead_row)
    distance = (positions[..., None, :] - environment.positions).square().sum(-1).clamp(min=1e-6).sqrt()
    near, next_near = (environment.weights * (bonded & (role == r)) for r in (0, 1))
    return distance, near, next_near


def losses(
    network: Generator, environment: Environment, truth: Tensor, *, table: FeatureTable, features: Tensor,
    grid: Grid, recipe: Recipe, dice: torch.Generator,
) -> dict[str, Tensor]:  # fmt: skip
    """The parts of the loss for one batch; ``truth`` (b, 3) nm in the local frames."""
    batch = len(truth)
    noise = torch.randn(recipe.draws * batch, network.shape.noise, generator=dice)
    seen = densities(environment, features, grid).contiguous(memory_format=torch.channels_last_3d)
    label = features[environment.atom_class]
    with torch.autocast("cpu", torch.bfloat16):
        drawn = network(
            seen.repeat(recipe.draws, 1, 1, 1, 1), label.repeat(recipe.draws, 1), noise
        ).unflatten(0, (recipe.draws, batch))
    positions = collapse(drawn, grid)
    off = (positions - truth).square().sum(-1)
    best = off.detach().argmin(0)
    row = torch.arange(batch)
    target = density_of(truth, grid).flatten(1)
    target = target / target.sum(1, keepdim=True)
    cross = -(target * drawn[best, row].flatten(1).clamp(min=1e-9).log()).sum(1)
    entropy = -(target * target.clamp(min=1e-9).log()).sum(1)
    found, near, next_near = partner_distances(environment, positions, table)
    wanted, *_ = partner_distances(environment, truth, table)
    strain = (found - wanted).square()
    return {
        "place": (off[best, row] / recipe.place**2).mean(),
        "shape": recipe.shape * (cross - entropy).mean(),
        "bond": ((strain * near).sum(-1) / recipe.bond**2).mean(),
        "angle": ((strain * next_near).sum(-1) / recipe.angle**2).mean(),
    }


def batches(
    samples: Sequence[Sequence[Sample]], recipe: Recipe, *, grid: Grid, dice: torch.Generator
) -> Iterator[list[tuple[Environment, Tensor]]]:
    """Endless batches with an equal share of every system."""
    share = recipe.batch // len(samples)
    while True:
        batch = []
        for system in samples:
            sample = system[int(torch.randint(len(system), (1,), generator=dice))]
            batch.append(draw_environments(sample, share, grid=grid, jitter=recipe.jitter, dice=dice))
        yield batch


def join(parts: Sequence[tuple[Environment, Tensor]]) -> tuple[Environment, Tensor]:
    """One batch of several, padded to the longest."""
    longest = max(seen.rows.shape[1] for seen, _ in parts)

    def padded(name: str) -> Tensor:
        values = [getattr(seen, name) for seen, _ in parts]
        if values[0].ndim > 1 and name != "rotation" and name != "centre":
            values = [
                torch.cat([v, v.new_zeros(v.shape[0], longest - v.shape[1], *v.shape[2:])], 1) for v in values
            ]
        return torch.cat(values)

    names = ("atom", "atom_class", "centre", "rotation", "positions", "rows", "weights", "neighbour")
    return Environment(**{name: padded(name) for name in names}), torch.cat([truth for _, truth in parts])


def train(
    samples: Sequence[Sequence[Sample]],
    *,
    table: FeatureTable,
    channels: Channels,
    output: Path,
    grid: Grid | None = None,
    shape: Shape | None = None,
    recipe: Recipe | None = None,
    start: Model | None = None,
) -> Model:
    """Train a generator on the frames of several systems, from the weights of ``start`` if given.

    Writes ``output`` every few minutes, and a line of JSON with the losses to ``output.jsonl``.
    """
    grid, shape, recipe = grid or Grid(), shape or Shape(), recipe or Recipe()
    torch.manual_seed(recipe.seed)
    dice = torch.Generator().manual_seed(recipe.seed)
    network = Generator(channels.width, shape).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    features = torch.from_numpy(table.features)
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate, betas=(0.9, 0.98))
    if start is not None:
        network.load_state_dict(dict(start.state))
    average = {key: value.detach().clone() for key, value in network.state_dict().items()}
    begin, step, saved = time.monotonic(), 0, 0.0
    sums: dict[str, float] = {}
    for batch in batches(samples, recipe, grid=grid, dice=dice):
        hours = (time.monotonic() - begin) / 3600
        done = max(hours / recipe.hours, step / recipe.steps if recipe.steps else 0.0)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1.0, WARM * done) * (1 + cos(pi * done)) / 2
        parts = losses(
            network, *join(batch), table=table, features=features, grid=grid, recipe=recipe, dice=dice
        )
        optimiser.zero_grad()
        sum(parts.values()).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        for key, value in network.state_dict().items():
            average[key].lerp_(value, 1 - min(recipe.average, (1 + step) / (10 + step)))
        step += 1
        sums = {key: sums.get(key, 0.0) + float(value.detach()) for key, value in parts.items()}
        if step % 200 == 0:
            means = {key: total / 200 for key, total in sums.items()}
            line = {"step": step, "hours": round(hours, 4)} | means
            with output.with_suffix(".jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            sums = {}
        if hours - saved > 0.05:
            saved = hours
            save_model(
                Model(grid, channels, shape, average, {"recipe": asdict(recipe), "steps": step}), output
            )
    model = Model(grid, channels, shape, average, {"recipe": asdict(recipe), "steps": step})
    save_model(model, output)
    return model

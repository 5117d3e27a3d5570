"""The state of a training, and one step of each phase.

Random numbers: the weights begin from the seed.  Each process has a stream of its own, begun from seed and
rank, for batches, displacements, random vectors and mixtures.  :func:`draw_spread` has one of each step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from dbm_gmx.network.environment import densities
from dbm_gmx.network.generator import Generator
from dbm_gmx.network.model import Model, best_device, best_dtype
from dbm_gmx.network.voxels import Grid, collapse, density_of
from dbm_gmx.train.batches import BatchEnvironment, blur, draw_atoms, draw_batch, local_position, look_up
from dbm_gmx.train.critic import Critic
from dbm_gmx.train.dataset import Dataset, moved_to
from dbm_gmx.train.distributed import Processes, average_gradients
from dbm_gmx.train.losses import (
    GUIDED,
    WIDTHS,
    SupervisedBatch,
    closest_distance,
    critic_loss,
    generator_loss,
    gradient_penalty,
    prior_loss,
    prior_weights,
    supervised_losses,
)
from dbm_gmx.train.rollout import PlaceAtoms, energies, roll_out, true_positions
from dbm_gmx.train.settings import TrainSettings, WarmSettings

RISE = 30  # the learning rate of the warm start rises in the first thirtieth of its steps
STEEPEST = 5.0  # norm to which gradients are cut
BETAS = (0.0, 0.9)  # of Adam in the adversarial phase, those of the method's authors
POOL = 4096  # displacements drawn for neighbours, which share them


@dataclass(eq=False)
class TrainingState:
    """All that changes in a training.

    Attributes
    ----------
    generator, critic
        Networks.
    average
        Running average of the generator's weights, the model in the end.
    warm_optimiser, adversarial_optimiser, critic_optimiser
        Of the generator in either phase, and of the critic.
    rng
        Random numbers of this process.
    step, seconds
        Steps done, and the wall time they took.
    """

    generator: Generator
    critic: Critic
    average: dict[str, Tensor]
    warm_optimiser: torch.optim.Optimizer
    adversarial_optimiser: torch.optim.Optimizer
    critic_optimiser: torch.optim.Optimizer
    rng: torch.Generator
    step: int = 0
    seconds: float = 0.0


def make_training_state(settings: TrainSettings, model: Model, processes: Processes) -> TrainingState:
    """The state in the beginning: the generator has the weights of a model, the critic random ones."""
    torch.manual_seed(settings.seed)
    channels, device = model.channels.width, device_of(settings, processes)
    generator = Generator(channels, model.shape)
    if model.state:
        generator.load_state_dict(dict(model.state))
    critic = Critic(channels, settings.critic)
    for network in (generator, critic):
        move: Callable[..., object] = network.to  # torch before 2.14 does not declare this one
        move(device=device, memory_format=torch.channels_last_3d)
    adversarial = settings.adversarial
    return TrainingState(
        generator=generator,
        critic=critic,
        average={key: value.detach().clone() for key, value in generator.state_dict().items()},
        warm_optimiser=torch.optim.Adam(generator.parameters(), lr=settings.warm.rate, betas=(0.9, 0.98)),
        adversarial_optimiser=torch.optim.Adam(
            generator.parameters(), lr=adversarial.generator_rate, betas=BETAS
        ),
        critic_optimiser=torch.optim.Adam(critic.parameters(), lr=adversarial.critic_rate, betas=BETAS),
        rng=torch.Generator().manual_seed(1_000_003 * settings.seed + processes.rank),
    )


PARTS = {
    "generator": "generator",
    "critic": "critic",
    "warm": "warm_optimiser",
    "adversarial": "adversarial_optimiser",
    "judging": "critic_optimiser",
}
"""Name in the checkpoint -> attribute, of what has a state dictionary."""


def saved_state(state: TrainingState) -> dict[str, Any]:
    """The state as tensors and plain types, without the random numbers."""
    parts = {name: getattr(state, attribute).state_dict() for name, attribute in PARTS.items()}
    return parts | {"average": state.average, "step": state.step, "seconds": state.seconds}


def restore(state: TrainingState, saved: dict[str, Any], rng: Tensor) -> None:
    """Bring back a state that was saved."""
    for name, attribute in PARTS.items():
        getattr(state, attribute).load_state_dict(saved[name])
    state.average = {key: value.to(state.average[key]) for key, value in saved["average"].items()}
    state.step, state.seconds = saved["step"], saved["seconds"]
    state.rng.set_state(rng)


@dataclass(frozen=True, eq=False)
class Context:
    """What does not change: data, settings, processes.

    Attributes
    ----------
    dataset, features
        The data, and the feature table as a tensor.
    settings, processes
        The training file; the processes.
    dtype, device
        Precision of the networks, and where they and the data are.
    """

    dataset: Dataset
    features: Tensor
    settings: TrainSettings
    processes: Processes
    dtype: torch.dtype
    device: torch.device

    @property
    def autocast(self) -> AbstractContextManager[object]:
        """Compute in the precision of the networks."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)


def make_context(dataset: Dataset, settings: TrainSettings, processes: Processes) -> Context:
    """Put together what the steps need."""
    chosen = {"bf16": torch.bfloat16, "float32": torch.float32}
    device = device_of(settings, processes)
    dtype = chosen.get(settings.run.precision, best_dtype(device))
    features = torch.from_numpy(dataset.table.features).to(device)
    return Context(moved_to(dataset, device), features, settings, processes, dtype, device)


def device_of(settings: TrainSettings, processes: Processes) -> torch.device:
    """Where a process trains; several on one machine share out its graphics cards.

    Raises
    ------
    InputError
        If there is no such device.
    """
    device = best_device(None if settings.run.device == "auto" else settings.run.device)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", processes.local % torch.cuda.device_count())
    return device


Step = Callable[[TrainingState, Context], dict[str, float]]


def take_step(state: TrainingState, context: Context) -> dict[str, float]:
    """One step of the phase it is time for; returns the parts of the loss."""
    phase: Step = warm_step if state.step < context.settings.warm.steps else adversarial_step
    parts = phase(state, context)
    keep = min(context.settings.run.average, (1 + state.step) / (10 + state.step))
    for key, value in state.generator.state_dict().items():
        state.average[key].lerp_(value, 1 - keep)
    state.step += 1
    return parts


def warm_rate(settings: WarmSettings, step: int) -> float:
    """Learning rate of the warm start: up quickly, then down to zero as a cosine."""
    done = (step + 0.5) / settings.steps
    return settings.rate * min(1.0, RISE * done) * (1 + cos(pi * done)) / 2


def warm_step(state: TrainingState, context: Context) -> dict[str, float]:
    """A supervised step, see :class:`~dbm_gmx.train.settings.WarmSettings`."""
    parts = supervise(state, context)
    for parameters in state.warm_optimiser.param_groups:
        parameters["lr"] = warm_rate(context.settings.warm, state.step)
    _descend(torch.stack(list(parts.values())).sum(), state.generator, state.warm_optimiser, context)
    return {key: float(value.detach()) for key, value in parts.items()}


def supervise(state: TrainingState, context: Context) -> dict[str, Tensor]:
    """Parts of the supervised loss on a fresh batch."""
    dataset, features = context.dataset, context.features
    batch = supervised_batch(state, context)
    density = densities(batch.environment, features, dataset.grid)
    label, draws = features[batch.environment.atom_class], context.settings.warm.draws
    noise = torch.randn(draws * len(label), state.generator.shape.noise, generator=state.rng).to(label)
    with context.autocast:
        drawn = state.generator(
            density.contiguous(memory_format=torch.channels_last_3d).repeat(draws, 1, 1, 1, 1),
            label.repeat(draws, 1),
            noise,
        )
    drawn = drawn.unflatten(0, (draws, len(label)))
    widths = GUIDED if dataset.guided else WIDTHS
    return supervised_losses(drawn, batch, dataset.table, dataset.grid, widths)


def supervised_batch(state: TrainingState, context: Context) -> SupervisedBatch:
    """Draw atoms, and displace what is around them."""
    settings, dataset, rng = context.settings.warm, context.dataset, state.rng
    atom, mode, azimuth = draw_atoms(dataset, context.processes.share(settings.batch), rng=rng)
    scale = settings.jitter * torch.rand(1, generator=rng).square()
    pool = (scale * torch.randn(POOL, 3, generator=rng)).to(context.device)
    displaced = look_up(
        dataset, atom, mode=mode, azimuth=azimuth, displace=lambda _, source: pool[source % POOL]
    )
    data = look_up(dataset, atom, mode=mode, azimuth=azimuth).environment
    environment, truth = displaced.environment, local_position(dataset, atom, azimuth)
    closest = too_close(dataset, displaced)
    if settings.blur:
        both = (environment, data)
        (environment, data), truth = blur(both, truth, dataset.table, width=settings.blur, rng=rng)
    return SupervisedBatch(environment, data, truth, closest)


def too_close(dataset: Dataset, batch: BatchEnvironment) -> Tensor:
    """(b, k) nm, distance to each entry below which an atom is too close; 0 where no Lennard-Jones acts."""
    atom, source = batch.environment.atom, batch.environment.neighbour.clamp(min=0)
    types = dataset.lj_type[atom][:, None], dataset.lj_type[source]
    return torch.where(batch.pair, closest_distance(dataset.c6[types], dataset.c12[types]), 0.0)


def adversarial_step(state: TrainingState, context: Context) -> dict[str, float]:
    """Some steps of the critic and one of the generator (paper, eqs. for L_C and L_G)."""
    settings = context.settings
    found: dict[str, float] = {}
    for _ in range(settings.adversarial.critic_steps):
        found = critic_step(state, context)
    return found | generator_step(state, context)


def generated_positions(state: TrainingState, context: Context) -> PlaceAtoms:
    """The generator, with fresh noise for each atom."""

    def place(environment: Tensor, label: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(label), state.generator.shape.noise, generator=state.rng).to(label)
        ordered = environment.contiguous(memory_format=torch.channels_last_3d)
        with context.autocast:
            density: Tensor = state.generator(ordered, label, noise)
        return density, collapse(density, context.dataset.grid)

    return place


def critic_density(density: Tensor, grid: Grid) -> Tensor:
    """Densities (b, s, s, s) of sum 1 as the critic gets them: peaks about 1, as those of the environment."""
    # the sum over the grid of one particle's density of peak 1
    volume: Tensor = density_of(density.new_zeros(3), grid).sum()
    return density * volume


def critic_step(state: TrainingState, context: Context) -> dict[str, float]:
    """One step of the critic."""
    settings, dataset, rng = context.settings, context.dataset, state.rng
    count = context.processes.share(settings.adversarial.batch)
    batch = draw_batch(dataset, count, sweeps=settings.adversarial.sweeps, rng=rng)
    with torch.no_grad():
        rolled = roll_out(dataset, batch, context.features, generated_positions(state, context))
        data = roll_out(dataset, batch, context.features, true_positions(dataset))
        real, made = ((r.environment, critic_density(r.density, dataset.grid)) for r in (data, rolled))
    with context.autocast:
        both = [torch.cat(pair) for pair in zip(real, made, strict=True)]
        scores = state.critic(both[0], rolled.label.repeat(2, 1), both[1])
        parts = {"critic": critic_loss(*scores.chunk(2))}
        if settings.critic.penalty:
            mix = torch.rand(len(rolled.label), generator=rng).to(context.device)
            penalty = gradient_penalty(state.critic, real, made, rolled.label, mix)
            parts["penalty"] = settings.critic.penalty * penalty
    _descend(torch.stack(list(parts.values())).sum(), state.critic, state.critic_optimiser, context)
    return {key: float(value.detach()) for key, value in parts.items()}


def generator_step(state: TrainingState, context: Context) -> dict[str, float]:
    """One step of the generator."""
    settings, dataset = context.settings, context.dataset
    count = context.processes.share(settings.adversarial.batch)
    batch = draw_batch(dataset, count, sweeps=settings.adversarial.sweeps, rng=state.rng)
    rolled = roll_out(dataset, batch, context.features, generated_positions(state, context))
    state.critic.requires_grad_(False)
    with context.autocast:
        density = critic_density(rolled.density, dataset.grid)
        scores = state.critic(rolled.environment, rolled.label, density)
    state.critic.requires_grad_(True)
    parts = {"generator": generator_loss(scores)}
    if settings.prior.kind != "none":
        made = energies(dataset, batch, rolled)
        with torch.no_grad():
            data = roll_out(dataset, batch, context.features, true_positions(dataset))
            reference = energies(dataset, batch, data)
        weights = prior_weights(settings.prior, adversarial_part(state.step, settings))
        parts["prior"] = prior_loss(settings.prior.kind, made, reference, weights)
    if settings.adversarial.supervised:
        supervised = torch.stack(list(supervise(state, context).values())).sum()
        parts["supervised"] = settings.adversarial.supervised * supervised
    _descend(torch.stack(list(parts.values())).sum(), state.generator, state.adversarial_optimiser, context)
    off = rolled.moved.detach().square().sum(-1)
    error = {"off": float(off[off > 0].mean().sqrt())}
    return {key: float(value.detach()) for key, value in parts.items()} | error


def adversarial_part(step: int, settings: TrainSettings) -> float:
    """Part of the adversarial steps that is done."""
    return max(0, step - settings.warm.steps) / max(1, settings.adversarial.steps)


def _descend(loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer, context: Context) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    average_gradients(network.parameters(), context.processes)
    torch.nn.utils.clip_grad_norm_(network.parameters(), STEEPEST)
    optimiser.step()


@torch.no_grad()
def draw_spread(state: TrainingState, context: Context, *, count: int = 64) -> float:
    """How far two draws for the same atom are apart, nm (rms); near zero the generator has collapsed.

    Has its own random numbers, so that measuring does not change the training.
    """
    dataset, rng = context.dataset, torch.Generator().manual_seed(state.step)
    atom, mode, azimuth = draw_atoms(dataset, count, rng=rng)
    environment = look_up(dataset, atom, mode=mode, azimuth=azimuth).environment
    density = densities(environment, context.features, dataset.grid)
    label = context.features[environment.atom_class]
    density, label = density.repeat(2, 1, 1, 1, 1), label.repeat(2, 1)
    noise = torch.randn(len(label), state.generator.shape.noise, generator=rng).to(label)
    first, second = collapse(state.generator(density, label, noise), dataset.grid).chunk(2)
    return float((first - second).square().sum(1).mean().sqrt())

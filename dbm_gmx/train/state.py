"""What changes while a model is trained, and one step of each phase."""

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
from dbm_gmx.network.model import Model, best_dtype
from dbm_gmx.network.voxels import Grid, collapse, density_of
from dbm_gmx.train.batches import View, blur, draw_atoms, draw_batch, local_place, look
from dbm_gmx.train.critic import Critic
from dbm_gmx.train.dataset import Corpus
from dbm_gmx.train.distributed import Group, average_gradients
from dbm_gmx.train.losses import (
    closest_distance,
    critic_loss,
    generator_loss,
    gradient_penalty,
    prior_loss,
    prior_weights,
    supervised_losses,
)
from dbm_gmx.train.rollout import Place, energies, roll_out, true_place
from dbm_gmx.train.settings import TrainSettings, WarmSettings

RISE = 30  # the learning rate of the warm start rises in the first thirtieth of its steps
STEEPEST = 5.0  # norm to which the gradients of the generator are cut
KEPT = (0.0, 0.9)  # betas of Adam in the adversarial phase, those of the method's authors
POOL = 4096  # displacements drawn for the atoms seen; atoms share them


@dataclass(eq=False)
class Learner:
    """All that a checkpoint has to hold.

    Attributes
    ----------
    generator, critic
        Networks.
    average
        Running average of the generator's weights, the model in the end.
    warm, adversarial, judging
        Optimisers of the generator in either phase, and of the critic.
    dice
        Source of all random numbers of this process.
    step, seconds
        Steps done, and the wall time they took.
    """

    generator: Generator
    critic: Critic
    average: dict[str, Tensor]
    warm: torch.optim.Optimizer
    adversarial: torch.optim.Optimizer
    judging: torch.optim.Optimizer
    rng: torch.Generator
    step: int = 0
    seconds: float = 0.0


def make_learner(settings: TrainSettings, model: Model, group: Group) -> Learner:
    """A learner that begins with the weights of a model; the critic begins from nothing."""
    torch.manual_seed(settings.seed)
    channels = model.channels.width
    generator = Generator(channels, model.shape)
    if model.state:
        generator.load_state_dict(dict(model.state))
    critic = Critic(channels, settings.critic)
    for network in (generator, critic):
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    adversarial = settings.adversarial
    return Learner(
        generator=generator,
        critic=critic,
        average={key: value.detach().clone() for key, value in generator.state_dict().items()},
        warm=torch.optim.Adam(generator.parameters(), lr=settings.warm.rate, betas=(0.9, 0.98)),
        adversarial=torch.optim.Adam(generator.parameters(), lr=adversarial.generator_rate, betas=KEPT),
        judging=torch.optim.Adam(critic.parameters(), lr=adversarial.critic_rate, betas=KEPT),
        rng=torch.Generator().manual_seed(1_000_003 * settings.seed + group.rank),
    )


PARTS = ("generator", "critic", "warm", "adversarial", "judging")


def learner_state(learner: Learner) -> dict[str, Any]:
    """A learner as tensors and plain types, its dice left out."""
    parts = {name: getattr(learner, name).state_dict() for name in PARTS}
    return parts | {"average": learner.average, "step": learner.step, "seconds": learner.seconds}


def restore(learner: Learner, state: dict[str, Any], rng: Tensor) -> None:
    """Bring a learner to the state it was saved in."""
    for name in PARTS:
        getattr(learner, name).load_state_dict(state[name])
    learner.average = state["average"]
    learner.step, learner.seconds = state["step"], state["seconds"]
    learner.rng.set_state(rng)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What does not change: data, settings, processes.

    Attributes
    ----------
    corpus, features
        Data, and the feature table as a tensor.
    settings, group
        Settings; processes.
    dtype
        Precision of the networks.
    """

    corpus: Corpus
    features: Tensor
    settings: TrainSettings
    group: Group
    dtype: torch.dtype

    @property
    def fast(self) -> AbstractContextManager[Any]:
        """Compute in the precision of the networks."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16)


def make_lesson(corpus: Corpus, settings: TrainSettings, group: Group) -> Lesson:
    """Put together what the steps need."""
    chosen = {"bf16": torch.bfloat16, "float32": torch.float32}
    dtype = chosen.get(settings.run.precision, best_dtype(torch.device("cpu")))
    return Lesson(corpus, torch.from_numpy(corpus.table.features), settings, group, dtype)


Step = Callable[[Learner, Lesson], dict[str, float]]


def take_step(learner: Learner, lesson: Lesson) -> dict[str, float]:
    """One step of the phase it is time for; returns the parts of the loss."""
    phase: Step = warm_step if learner.step < lesson.settings.warm.steps else adversarial_step
    parts = phase(learner, lesson)
    keep = min(lesson.settings.run.average, (1 + learner.step) / (10 + learner.step))
    for key, value in learner.generator.state_dict().items():
        learner.average[key].lerp_(value, 1 - keep)
    learner.step += 1
    return parts


def warm_rate(settings: WarmSettings, step: int) -> float:
    """Learning rate of the warm start: up quickly, then down to zero as a cosine."""
    done = (step + 0.5) / settings.steps
    return settings.rate * min(1.0, RISE * done) * (1 + cos(pi * done)) / 2


def warm_step(learner: Learner, lesson: Lesson) -> dict[str, float]:
    """Several draws are to be spread as the data are, see :class:`~dbm_gmx.train.settings.WarmSettings`."""
    parts = supervise(learner, lesson)
    for group in learner.warm.param_groups:
        group["lr"] = warm_rate(lesson.settings.warm, learner.step)
    _descend(torch.stack(list(parts.values())).sum(), learner.generator, learner.warm, lesson)
    return {key: float(value.detach()) for key, value in parts.items()}


def supervise(learner: Learner, lesson: Lesson) -> dict[str, Tensor]:
    """Parts of the supervised loss on a fresh batch."""
    settings, corpus, rng = lesson.settings.warm, lesson.corpus, learner.rng
    atom, mode, azimuth = draw_atoms(corpus, lesson.group.share(settings.batch), rng=rng)
    scale = settings.jitter * torch.rand(1, generator=rng).square()
    pool = scale * torch.randn(POOL, 3, generator=rng)
    view = look(corpus, atom, mode=mode, azimuth=azimuth, displace=lambda _, source: pool[source % POOL])
    data = look(corpus, atom, mode=mode, azimuth=azimuth).environment
    environment, truth = view.environment, local_place(corpus, atom, azimuth)
    if settings.blur:
        both = (environment, data)
        (environment, data), truth = blur(both, truth, corpus.table, width=settings.blur, rng=rng)
    seen = densities(environment, lesson.features, corpus.grid)
    label, draws = lesson.features[environment.atom_class], settings.draws
    noise = torch.randn(draws * len(atom), learner.generator.shape.noise, generator=rng)
    with lesson.fast:
        drawn = learner.generator(
            seen.contiguous(memory_format=torch.channels_last_3d).repeat(draws, 1, 1, 1, 1),
            label.repeat(draws, 1),
            noise,
        )
    return supervised_losses(
        drawn.unflatten(0, (draws, len(atom))),
        environment,
        truth,
        data=data,
        closest=too_close(corpus, view),
        table=corpus.table,
        grid=corpus.grid,
        settings=settings,
    )


def too_close(corpus: Corpus, view: View) -> Tensor:
    """(b, k) nm, distance to each entry below which an atom is too close; 0 where no Lennard-Jones acts."""
    kinds = corpus.kind[view.environment.atom][:, None], corpus.kind[view.source.clamp(min=0)]
    return torch.where(view.pair, closest_distance(corpus.c6[kinds], corpus.c12[kinds]), 0.0)


def adversarial_step(learner: Learner, lesson: Lesson) -> dict[str, float]:
    """Some steps of the critic and one of the generator (paper, eqs. for L_C and L_G)."""
    settings = lesson.settings
    found: dict[str, float] = {}
    for _ in range(settings.adversarial.critic_steps):
        found = judge_step(learner, lesson)
    return found | generate_step(learner, lesson)


def generating(learner: Learner, lesson: Lesson) -> Place:
    """The generator, with fresh noise for each atom."""

    def place(environment: Tensor, label: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(label), learner.generator.shape.noise, generator=learner.rng)
        seen = environment.contiguous(memory_format=torch.channels_last_3d)
        with lesson.fast:
            density: Tensor = learner.generator(seen, label, noise)
        return density, collapse(density, lesson.corpus.grid)

    return place


def shown(density: Tensor, grid: Grid, *, judges: str) -> Tensor:
    """What the critic sees of densities (b, s, s, s) of sum 1: peaks about 1, as all else it sees."""
    if judges == "place":
        return density_of(collapse(density, grid), grid)
    # the sum over the grid of one particle's density of peak 1
    volume: Tensor = density_of(torch.zeros(3), grid).sum()
    return density * volume


def judge_step(learner: Learner, lesson: Lesson) -> dict[str, float]:
    """One step of the critic."""
    settings, corpus, rng = lesson.settings, lesson.corpus, learner.rng
    count = lesson.group.share(settings.adversarial.batch)
    batch = draw_batch(corpus, count, sweeps=settings.adversarial.sweeps, rng=rng)
    with torch.no_grad():
        rolled = roll_out(corpus, batch, lesson.features, generating(learner, lesson))
        data = roll_out(corpus, batch, lesson.features, true_place(corpus))
        judges = settings.critic.judges
        real, made = ((r.environment, shown(r.density, corpus.grid, judges=judges)) for r in (data, rolled))
    with lesson.fast:
        both = [torch.cat(pair) for pair in zip(real, made, strict=True)]
        scores = learner.critic(both[0], rolled.label.repeat(2, 1), both[1])
        parts = {"critic": critic_loss(*scores.chunk(2))}
        if settings.critic.penalty:
            mix = torch.rand(len(rolled.label), generator=rng)
            penalty = gradient_penalty(learner.critic, real, made, rolled.label, mix)
            parts["penalty"] = settings.critic.penalty * penalty
    _descend(torch.stack(list(parts.values())).sum(), learner.critic, learner.judging, lesson)
    return {key: float(value.detach()) for key, value in parts.items()}


def generate_step(learner: Learner, lesson: Lesson) -> dict[str, float]:
    """One step of the generator."""
    settings, corpus = lesson.settings, lesson.corpus
    count = lesson.group.share(settings.adversarial.batch)
    batch = draw_batch(corpus, count, sweeps=settings.adversarial.sweeps, rng=learner.rng)
    rolled = roll_out(corpus, batch, lesson.features, generating(learner, lesson))
    learner.critic.requires_grad_(False)
    with lesson.fast:
        density = shown(rolled.density, corpus.grid, judges=settings.critic.judges)
        scores = learner.critic(rolled.environment, rolled.label, density)
    learner.critic.requires_grad_(True)
    parts = {"generator": generator_loss(scores)}
    if settings.prior.kind != "none":
        ceiling = settings.prior.ceiling
        made = energies(corpus, batch, rolled, ceiling=ceiling)
        with torch.no_grad():
            data = roll_out(corpus, batch, lesson.features, true_place(corpus))
            reference = energies(corpus, batch, data, ceiling=ceiling)
        weights = prior_weights(settings.prior, adversarial_part(learner.step, settings))
        parts["prior"] = prior_loss(settings.prior.kind, made, reference, weights)
    if settings.adversarial.supervised:
        supervised = torch.stack(list(supervise(learner, lesson).values())).sum()
        parts["supervised"] = settings.adversarial.supervised * supervised
    _descend(torch.stack(list(parts.values())).sum(), learner.generator, learner.adversarial, lesson)
    off = rolled.moved.detach().square().sum(-1)
    error = {"off": float(off[off > 0].mean().sqrt())}
    return {key: float(value.detach()) for key, value in parts.items()} | error


def adversarial_part(step: int, settings: TrainSettings) -> float:
    """Part of the adversarial steps that is done."""
    return max(0, step - settings.warm.steps) / max(1, settings.adversarial.steps)


def _descend(loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer, lesson: Lesson) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    average_gradients(network.parameters(), lesson.group)
    torch.nn.utils.clip_grad_norm_(network.parameters(), STEEPEST)
    optimiser.step()


@torch.no_grad()
def spread(learner: Learner, lesson: Lesson, *, count: int = 64) -> float:
    """How far two draws for the same atom are apart, nm (rms); near zero the generator has collapsed.

    Draws its own random numbers, so that looking does not change the training.
    """
    corpus, rng = lesson.corpus, torch.Generator().manual_seed(learner.step)
    atom, mode, azimuth = draw_atoms(corpus, count, rng=rng)
    view = look(corpus, atom, mode=mode, azimuth=azimuth)
    seen = densities(view.environment, lesson.features, corpus.grid)
    label = lesson.features[view.environment.atom_class]
    seen, label = seen.repeat(2, 1, 1, 1, 1), label.repeat(2, 1)
    noise = torch.randn(len(label), learner.generator.shape.noise, generator=rng)
    first, second = collapse(learner.generator(seen, label, noise), corpus.grid).chunk(2)
    return float((first - second).square().sum(1).mean().sqrt())

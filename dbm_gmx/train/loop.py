"""``dbm-gmx train``: from a training file to a model.

settings -read-> frames -gather-> corpus -warm start-> -adversarial steps-> model, scored on held-out frames
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import dbm_gmx
from dbm_gmx.channels import read_channels
from dbm_gmx.errors import InputError
from dbm_gmx.generator import operations
from dbm_gmx.model import Model, save_model
from dbm_gmx.train.corpus import Corpus, make_corpus
from dbm_gmx.train.critic import critic_operations
from dbm_gmx.train.frames import TrainingSystem, channels_for, read_training_system
from dbm_gmx.train.group import Group, any_of, from_all, joined
from dbm_gmx.train.learner import (
    Learner,
    Lesson,
    learner_state,
    make_learner,
    make_lesson,
    restore,
    spread,
    take_step,
)
from dbm_gmx.train.scores import overall, score
from dbm_gmx.train.settings import TrainSettings, plain, read_settings
from dbm_gmx.train.start import first_model
from dbm_gmx.train.watch import Journal, Stop, check_finite, peak, stopping, worries, worse

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
FORMAT = "dbm_gmx checkpoint 1"
FREE = ("run", "output", "name")
"""Settings that may differ when a training goes on: they change nothing in what is learnt."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes
    ----------
    path
        The model file.
    step, steps
        Done, and planned.
    seconds
        Of all runs together.
    stopped
        Why before the end; empty: it is finished.
    scores
        Of free generation, by system.
    speaks
        Whether this process is the one that says so.
    """

    path: Path
    step: int
    steps: int
    seconds: float
    stopped: str
    scores: Mapping[str, Mapping[str, float]]
    speaks: bool = True

    def text(self) -> str:
        """Say it to the user."""
        lines = [f"model          {self.path}", f"steps          {self.step} of {self.steps}"]
        lines += [f"time           {self.seconds / 60:.1f} min"]
        for system, values in self.scores.items():
            said = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
            lines.append(f"held out       {system}: {said}")
        if self.stopped:
            lines.append(f"stopped        {self.stopped}; the same command goes on")
        return "\n".join(lines)


def train(settings: TrainSettings | Path, *, max_hours: float | None = None, quiet: bool = True) -> Trained:
    """Train a model, or go on where the last run in the same folder has stopped.

    Parameters
    ----------
    settings
        Or the training file.
    max_hours
        After which this run stops; the next one goes on.
    quiet
        Show no progress.

    Raises
    ------
    InputError
        If any input cannot be used, or the loss is no number any more.
    """
    settings = settings if isinstance(settings, TrainSettings) else read_settings(settings)
    with joined() as group, stopping(max_hours) as stop:
        systems = [read_training_system(s, order=settings.order) for s in settings.system]
        given = None if settings.channels is None else read_channels(settings.channels)
        model = first_model(settings, channels_for([s.system for s in systems], given))
        corpus = make_corpus(systems, model.channels, grid=model.grid)
        lesson = make_lesson(corpus, settings, group)
        learner = make_learner(settings, model, group)
        settings.output.mkdir(parents=True, exist_ok=True)
        course = Course(
            settings, systems, model, lesson, group, Journal(settings.output if group.first else None)
        )
        course.resume(learner)
        return course.run(learner, stop, quiet=quiet)


class Course:
    """A training under way: what :func:`train` has put together, and where results go.

    Parameters
    ----------
    settings, systems, model, lesson, group, journal
        What is learnt and how; the model the training began with; processes; log.
    """

    def __init__(
        self,
        settings: TrainSettings,
        systems: list[TrainingSystem],
        model: Model,
        lesson: Lesson,
        group: Group,
        journal: Journal,
    ):
        self.settings, self.systems, self.model = settings, systems, model
        self.lesson, self.group, self.journal = lesson, group, journal
        self.scores: dict[str, dict[str, float]] = {}
        self.scored = -1
        self.widest = 0.0
        self.best = float("inf")
        self.sums: dict[str, float] = {}
        self.noted = 0
        self.path = settings.output / f"{settings.name}.pt"
        self.checkpoint = settings.output / CHECKPOINT

    def run(self, learner: Learner, stop: Stop, *, quiet: bool) -> Trained:
        """Take all steps that are left, or as many as there is time for."""
        settings, run = self.settings, self.settings.run
        self.journal.write("start", learner.step, self.profile())
        begin, done, saved = time.monotonic(), learner.seconds, time.monotonic()
        stopped, logged, logged_step = "", begin, learner.step
        silent = quiet or not self.group.first
        with tqdm(total=settings.steps, initial=learner.step, unit="step", disable=silent) as progress:
            while learner.step < settings.steps:
                if any_of(stop.wanted, self.group):
                    stopped = stop.reason if stop.wanted else "another process was told to stop"
                    break
                parts = take_step(learner, self.lesson)
                check_finite(parts, learner.step)
                self.sums = {key: self.sums.get(key, 0.0) + value for key, value in parts.items()}
                now = time.monotonic()
                learner.seconds = done + now - begin
                progress.update()
                if learner.step % run.log == 0 or learner.step == settings.warm.steps:
                    rate = (learner.step - logged_step) / (now - logged)
                    self.note(learner, rate)
                    logged, logged_step = now, learner.step
                if run.evaluate and learner.step % run.evaluate == 0:
                    self.evaluate(learner)
                    logged += time.monotonic() - now  # not time of the steps
                if any_of(now - saved > 60 * run.checkpoint, self.group):
                    self.save(learner)
                    saved = now
        if not stopped and self.scored != learner.step:
            self.evaluate(learner)
        self.save(learner)
        self.journal.write(
            "stop" if stopped else "done", learner.step, {"seconds": learner.seconds, "reason": stopped}
        )
        return Trained(
            self.path,
            learner.step,
            settings.steps,
            learner.seconds,
            stopped,
            self.scores,
            self.group.first,
        )

    def profile(self) -> dict[str, Any]:
        """What the network costs and what this process could reach."""
        cost = operations_per_sample(self.settings, self.model)
        return {
            "processes": self.group.size,
            "threads": torch.get_num_threads(),
            "precision": str(self.lesson.dtype).removeprefix("torch."),
            "peak_gflops": peak(self.lesson.dtype) if self.group.first else 0.0,
            "mflop_per_sample": {phase: value / 1e6 for phase, value in cost.items()},
            "atoms": self.lesson.corpus.n_atoms,
            "sequences": len(self.lesson.corpus.weight),
        }

    def note(self, learner: Learner, rate: float) -> None:
        """Write a line of means since the last one, with warnings where they look wrong."""
        settings = self.settings
        warm = learner.step <= settings.warm.steps
        since = learner.step - self.noted
        means = {key: value / since for key, value in self.sums.items()}
        self.sums, self.noted = {}, learner.step
        means["spread"] = spread(learner, self.lesson)
        phase, batch = ("warm", settings.warm.batch) if warm else ("adversarial", settings.adversarial.batch)
        atoms = batch if warm else batch * mean_length(self.lesson.corpus)
        cost = operations_per_sample(settings, self.model)[phase]
        speed = {
            "steps_per_second": rate,
            "gflops": rate * atoms / self.group.size * cost / 1e9,
            "hours": learner.seconds / 3600,
            "hours_left": (settings.steps - learner.step) / rate / 3600,
        }
        found = worries(means, widest=self.widest)
        self.widest = max(self.widest, means["spread"])
        for worry in found if self.group.first else []:
            log.warning("step %d: %s", learner.step, worry)
        warnings = {"warnings": found} if found else {}
        self.journal.write(phase, learner.step, means | speed | warnings)

    def evaluate(self, learner: Learner) -> None:
        """Generate held-out frames freely, score them, keep the model if it is the best so far."""
        self.scored = learner.step
        if not self.group.first:
            return
        run = self.settings.run
        model = self.finished(learner)
        self.scores = score(
            model, self.systems, frames=run.evaluate_frames, sweeps=run.sweeps, seed=self.settings.seed
        )
        now = overall(self.scores)
        found = worse(now, self.best)
        for worry in found:
            log.warning("step %d: %s", learner.step, worry)
        self.journal.write("scores", learner.step, dict(self.scores) | {"overall": now, "warnings": found})
        if now < self.best:
            self.best = now
            save_model(self.finished(learner), self.path.with_stem(f"{self.path.stem}_best"))

    def finished(self, learner: Learner) -> Model:
        """The model as it is now, with where it comes from."""
        settings = plain(self.settings)
        return replace(
            self.model,
            state=learner.average,
            provenance={
                "version": dbm_gmx.__version__,
                "settings": settings,
                "start": dict(self.model.provenance),
                "steps": learner.step,
                "hours": round(learner.seconds / 3600, 3),
                "systems": [
                    {
                        "name": s.name,
                        "frames": len(s.train),
                        "held_out": len(s.held_out),
                        "temperature": t.temperature,
                    }
                    for s, t in zip(self.systems, self.settings.system, strict=True)
                ],
                "scores": self.scores,
            },
        )

    def save(self, learner: Learner) -> None:
        """Write the checkpoint and the model; a run that is killed meanwhile leaves the last ones."""
        dice = from_all(learner.dice.get_state(), self.group)
        if not self.group.first:
            return
        state = {
            "format": FORMAT,
            "settings": plain(self.settings),
            "learner": learner_state(learner),
            "dice": dice,
            "sums": self.sums,
            "noted": self.noted,
            "scores": self.scores,
            "best": self.best,
            "widest": self.widest,
        }
        fresh = self.checkpoint.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.checkpoint)
        save_model(self.finished(learner), self.path)

    def resume(self, learner: Learner) -> None:
        """Bring the learner to where the last run in this folder has stopped, if there was one.

        Raises
        ------
        InputError
            If that was another training.
        """
        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        if state.get("format") != FORMAT:
            raise InputError(f"no checkpoint of this version ({FORMAT})", path=self.checkpoint)
        differ = sorted(_differences(state["settings"], plain(self.settings)))
        if differ:
            raise InputError(
                f"a checkpoint of a training with other settings: {', '.join(differ)}; "
                "give another output folder, or the same settings",
                path=self.checkpoint,
            )
        if len(state["dice"]) != self.group.size:
            raise InputError(
                f"a checkpoint of {len(state['dice'])} processes, these are {self.group.size}",
                path=self.checkpoint,
            )
        restore(learner, state["learner"], state["dice"][self.group.rank])
        self.sums, self.noted = state["sums"], state["noted"]
        self.scores, self.best, self.widest = state["scores"], state["best"], state["widest"]


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Names of the settings that differ and may not."""
    for key in a:
        if not prefix and key in FREE:
            continue
        if isinstance(a[key], Mapping) and isinstance(b.get(key), Mapping):
            yield from _differences(a[key], b[key], f"{prefix}{key}.")
        elif a[key] != b.get(key):
            yield f"{prefix}{key}"


def mean_length(corpus: Corpus) -> float:
    """Atoms of a sequence, in the mean over batches."""
    return float((corpus.weight * corpus.sequences.start.diff()).sum())


BACKWARD = 2
"""A backward pass costs as much as so many forward ones."""


def operations_per_sample(settings: TrainSettings, model: Model) -> dict[str, float]:
    """Floating-point operations of the convolutions for each atom a step learns from, by phase.

    A warm step draws each atom several times, forward and backward.  An adversarial one, for each step
    of the critic: places the atom, judges it and the data's forward and backward, and for the penalty
    differentiates a third time (forward, backward, and backward through both); and one step of
    the generator: both networks forward and backward.
    """
    channels, size = model.channels.width, model.grid.size
    make, judge = operations(channels, model.shape, size), critic_operations(channels, settings.critic, size)
    both = 1 + BACKWARD
    penalty = both * both * judge * (settings.critic.penalty > 0)
    critic = make + 2 * both * judge + penalty
    adversarial = settings.adversarial.critic_steps * critic + both * (make + judge)
    return {"warm": settings.warm.draws * both * make, "adversarial": adversarial}

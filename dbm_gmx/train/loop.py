"""``dbm-gmx train``: from a training file to a model.

settings -read-> frames -gather-> corpus -warm start-> -adversarial steps-> model, scored on held-out frames
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import dbm_gmx
from dbm_gmx.network.channels import read_channels
from dbm_gmx.network.generator import operations
from dbm_gmx.network.model import Model, save_model
from dbm_gmx.train.checkpoint import Progress, resume, save_checkpoint
from dbm_gmx.train.critic import critic_operations
from dbm_gmx.train.dataset import make_corpus
from dbm_gmx.train.distributed import Group, any_of, joined
from dbm_gmx.train.frames import TrainingSystem, channels_for, read_training_system
from dbm_gmx.train.monitor import Journal, Stop, check_finite, peak, stopping, worries, worse
from dbm_gmx.train.scores import calibrated, overall, score
from dbm_gmx.train.settings import TrainSettings, plain, read_settings
from dbm_gmx.train.start import first_model
from dbm_gmx.train.state import Learner, Lesson, make_learner, make_lesson, spread, take_step

log = logging.getLogger(__name__)


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


@dataclass(frozen=True, eq=False)
class Course:
    """A training as it was put together; none of it changes.

    Attributes
    ----------
    settings, group
        What is learnt and how; the processes.
    systems, lesson
        Frames, and what the steps need.
    model
        The model the training begins with.
    journal
        The log.
    """

    settings: TrainSettings
    group: Group
    systems: Sequence[TrainingSystem]
    lesson: Lesson
    model: Model
    journal: Journal

    @property
    def path(self) -> Path:
        """Of the model."""
        return self.settings.output / f"{self.settings.name}.pt"


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
        systems = [read_training_system(s) for s in settings.system]
        given = None if settings.channels is None else read_channels(settings.channels)
        model = first_model(settings, channels_for([s.system for s in systems], given))
        lesson = make_lesson(make_corpus(systems, model.channels, grid=model.grid), settings, group)
        learner = make_learner(settings, model, group)
        settings.output.mkdir(parents=True, exist_ok=True)
        progress = resume(learner, settings, group)
        journal = Journal(settings.output if group.first else None)
        course = Course(settings, group, systems, lesson, model, journal)
        journal.write("start", learner.step, profile(course))
        stopped = take_steps(course, learner, progress, stop, quiet=quiet or not group.first)
        if not stopped and progress.scored != learner.step:
            calibrate(course, learner, progress)
            evaluate(course, learner, progress)
        save(course, learner, progress)
        ending = {"seconds": learner.seconds, "reason": stopped}
        journal.write("stop" if stopped else "done", learner.step, ending)
    return Trained(
        course.path, learner.step, settings.steps, learner.seconds, stopped, progress.scores, group.first
    )


def take_steps(course: Course, learner: Learner, progress: Progress, stop: Stop, *, quiet: bool) -> str:
    """Take all steps that are left, or as many as there is time for; returns why it stopped early."""
    settings, run, group = course.settings, course.settings.run, course.group
    begin = saved = logged = time.monotonic()
    done, logged_step = learner.seconds, learner.step
    with tqdm(total=settings.steps, initial=learner.step, unit="step", disable=quiet) as bar:
        while learner.step < settings.steps:
            if any_of(stop.wanted, group):
                return stop.reason if stop.wanted else "another process was told to stop"
            parts = take_step(learner, course.lesson)
            check_finite(parts, learner.step)
            progress.sums = {key: progress.sums.get(key, 0.0) + value for key, value in parts.items()}
            now = time.monotonic()
            learner.seconds = done + now - begin
            bar.update()
            if learner.step % run.log == 0 or learner.step == settings.warm.steps:
                note(course, learner, progress, rate=(learner.step - logged_step) / (now - logged))
                logged, logged_step = now, learner.step
            if run.evaluate and learner.step % run.evaluate == 0 and learner.step < settings.steps:
                evaluate(course, learner, progress)
                logged += time.monotonic() - now  # not time of the steps
            if any_of(now - saved > 60 * run.checkpoint, group):
                save(course, learner, progress)
                saved = now
    return ""


def save(course: Course, learner: Learner, progress: Progress) -> None:
    """Write the checkpoint and the model."""
    save_checkpoint(learner, progress, course.settings, course.group)
    if course.group.first:
        save_model(finished(course, learner, progress), course.path)


def note(course: Course, learner: Learner, progress: Progress, *, rate: float) -> None:
    """Write a line of means since the last one, with warnings where they look wrong.

    Parameters
    ----------
    rate
        Steps per second.
    """
    means = {key: value / (learner.step - progress.noted) for key, value in progress.sums.items()}
    progress.sums, progress.noted = {}, learner.step
    means["spread"] = spread(learner, course.lesson)
    found = worries(means, widest=progress.widest)
    progress.widest = max(progress.widest, means["spread"])
    _warn(found, learner, course.group)
    phase = "warm" if learner.step <= course.settings.warm.steps else "adversarial"
    left = (course.settings.steps - learner.step) / rate / 3600
    times = {"steps_per_second": rate, "hours": learner.seconds / 3600, "hours_left": left}
    speed = {"gflops": rate * operations_per_step(course)[phase] / 1e9}
    warnings = {"warnings": found} if found else {}
    course.journal.write(phase, learner.step, means | times | speed | warnings)


def calibrate(course: Course, learner: Learner, progress: Progress) -> None:
    """Find the amplitude of the random vector in the end."""
    run, seed = course.settings.run, course.settings.seed
    if run.calibrate and course.group.first:
        model = calibrated(finished(course, learner, progress), course.systems, sweeps=run.sweeps, seed=seed)
        progress.amplitude = model.amplitude
        heavy, hydrogens = model.amplitude
        course.journal.write("amplitude", learner.step, {"heavy": heavy, "hydrogens": hydrogens})


def evaluate(course: Course, learner: Learner, progress: Progress) -> None:
    """Generate held-out frames freely, score them, keep the model if it is the best so far."""
    progress.scored = learner.step
    if not course.group.first:
        return
    settings, model = course.settings, finished(course, learner, progress)
    progress.scores = score(
        model,
        course.systems,
        frames=settings.run.evaluate_frames,
        sweeps=settings.run.sweeps,
        seed=settings.seed,
    )
    now = overall(progress.scores)
    found = worse(now, progress.best)
    _warn(found, learner, course.group)
    course.journal.write("scores", learner.step, progress.scores | {"overall": now, "warnings": found})
    if now < progress.best:
        progress.best = now
        save_model(finished(course, learner, progress), course.path.with_stem(f"{course.path.stem}_best"))


def _warn(found: Sequence[str], learner: Learner, group: Group) -> None:
    for worry in found if group.first else ():
        log.warning("step %d: %s", learner.step, worry)


def finished(course: Course, learner: Learner, progress: Progress) -> Model:
    """The model as it is now, with where it comes from."""
    settings = plain(course.settings)
    systems = [
        {"name": s.name, "frames": len(s.train), "held_out": len(s.held_out), "temperature": t.temperature}
        for s, t in zip(course.systems, course.settings.system, strict=True)
    ]
    provenance = {
        "version": dbm_gmx.__version__,
        "settings": {key: value for key, value in settings.items() if key not in FILES},
        "start": dict(course.model.provenance),
        "steps": learner.step,
        "hours": round(learner.seconds / 3600, 3),
        "systems": systems,
        "scores": progress.scores,
    }
    return replace(course.model, state=learner.average, provenance=provenance, amplitude=progress.amplitude)


FILES = ("output", "system", "start", "channels")
"""Settings that name files on the machine of the training; a model goes elsewhere."""

# --- cost ----------------------------------------------------------------------------------------------

BACKWARD = 2
"""A backward pass costs as much as so many forward ones."""


def profile(course: Course) -> dict[str, Any]:
    """What a step costs and what this process could reach."""
    cost = operations_per_sample(course.settings, course.model)
    return {
        "processes": course.group.size,
        "threads": torch.get_num_threads(),
        "precision": str(course.lesson.dtype).removeprefix("torch."),
        "peak_gflops": peak(course.lesson.dtype) if course.group.first else 0.0,
        "mflop_per_sample": {phase: value / 1e6 for phase, value in cost.items()},
        "atoms": course.lesson.corpus.n_atoms,
        "sequences": len(course.lesson.corpus.weight),
    }


def operations_per_step(course: Course) -> dict[str, float]:
    """Floating-point operations of the convolutions of a step in each process, by phase."""
    settings, corpus = course.settings, course.lesson.corpus
    length = float((corpus.weight * corpus.sequences.start.diff()).sum())
    atoms = {
        "warm": course.group.share(settings.warm.batch),
        "adversarial": course.group.share(settings.adversarial.batch) * length,
    }
    cost = operations_per_sample(settings, course.model)
    total = {phase: count * cost[phase] for phase, count in atoms.items()}
    if settings.adversarial.supervised:
        total["adversarial"] += total["warm"]
    return total


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

"""``dbm-gmx train``: from a training file to a model.

settings -> frames -> dataset -> warm start -> adversarial steps -> model, scored on held-out frames
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import dbm_gmx
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import backup, check_not_read, description_of, make_folder
from dbm_gmx.files.provenance import Provenance, Started, described, write_provenance
from dbm_gmx.network.channels import read_channels
from dbm_gmx.network.generator import operations
from dbm_gmx.network.model import Model, find_model, save_model
from dbm_gmx.network.suitable import atom_classes_of, resolution
from dbm_gmx.train.checkpoint import (
    NAME,
    Progress,
    bring_back,
    resume,
    save_checkpoint,
    save_snapshot,
    snapshot,
)
from dbm_gmx.train.critic import critic_operations
from dbm_gmx.train.dataset import make_dataset
from dbm_gmx.train.distributed import Processes, any_of, join_processes
from dbm_gmx.train.frames import TrainingSystem, channels_for, read_training_system
from dbm_gmx.train.monitor import (
    LOG,
    PROMPT,
    AbandonedError,
    EventLog,
    Stop,
    check_finite,
    make_event_log,
    peak_gflops,
    score_warnings,
    stopping,
    warnings_of,
)
from dbm_gmx.train.scores import Generation, calibrated, overall, score
from dbm_gmx.train.settings import TrainSettings, check_settings, plain, read_settings
from dbm_gmx.train.start import first_model
from dbm_gmx.train.state import (
    Context,
    TrainingState,
    draw_spread,
    make_context,
    make_training_state,
    take_step,
)

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
    first
        Whether this process is the one that writes messages.
    """

    path: Path
    step: int
    steps: int
    seconds: float
    stopped: str
    scores: Mapping[str, Mapping[str, float]]
    first: bool = True

    @property
    def interrupted(self) -> bool:
        """Whether a signal has ended it."""
        return self.stopped in signal.Signals.__members__

    def text(self) -> str:
        """The summary for the user."""
        lines = [f"model          {self.path}", f"steps          {self.step} of {self.steps}"]
        lines += [f"time           {self.seconds / 60:.1f} min"]
        for system, values in self.scores.items():
            said = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
            lines.append(f"held out       {system}: {said}")
        if self.stopped:
            lines.append(f"stopped        {self.stopped}; the same command goes on")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Training:
    """What does not change in a training.

    Attributes
    ----------
    settings, processes
        The training file; the processes.
    systems, context
        Frames, and what the steps need.
    model
        The model the training begins with.
    events
        The log.
    """

    settings: TrainSettings
    processes: Processes
    systems: Sequence[TrainingSystem]
    context: Context
    model: Model
    events: EventLog

    @property
    def path(self) -> Path:
        """Of the model file."""
        return models_of(self.settings)[0]


def models_of(settings: TrainSettings) -> tuple[Path, Path]:
    """Files of the model, and of the best one so far."""
    path = settings.output / f"{settings.name}.pt"
    return path, path.with_stem(f"{path.stem}_best")


def train(
    settings: TrainSettings | Path,
    *,
    max_hours: float | None = None,
    restart: bool = False,
    quiet: bool = True,
) -> Trained:
    """Train a model, or go on where the last run in the same folder has stopped.

    Parameters
    ----------
    settings
        Or the training file.
    max_hours
        After which this run stops; the next one goes on.
    restart
        Begin anew; the checkpoint of an earlier run is backed up.
    quiet
        Show no progress.

    Raises
    ------
    InputError
        If any input cannot be used, another run has the folder, or the loss is no number any more.
    """
    settings = settings if isinstance(settings, TrainSettings) else read_settings(settings)
    check_settings(settings)
    if settings.start:
        for path in models_of(settings):
            check_not_read(path, [find_model(settings.start)], "the model that is made")
    started = Started()
    end = math.inf if max_hours is None else time.monotonic() + 3600 * max_hours
    with join_processes() as processes, _folder(settings.output, processes):
        systems = [read_training_system(s) for s in settings.system]
        given = None if settings.channels is None else read_channels(settings.channels)
        model = first_model(settings, channels_for([s.system for s in systems], given))
        dataset = make_dataset(systems, model.channels, grid=model.grid, guided=settings.guided)
        context = make_context(dataset, settings, processes)
        state = make_training_state(settings, model, processes)
        if restart and processes.first:
            backup(settings.output / NAME)
        any_of(False, processes)  # nobody reads it before
        begins = not (settings.output / NAME).is_file()
        progress = resume(state, settings, processes, model.amplitude)
        if processes.first and begins:
            put_aside(settings)
        events = make_event_log(settings.output if processes.first else None)
        training = Training(settings, processes, systems, context, model, events)
        events.write("start", state.step, profile(training))
        with stopping(end) as stop:
            stopped = take_steps(training, state, progress, stop, quiet=quiet or not processes.first)
            save(training, state, progress)
        if not stopped and progress.scored != state.step:  # takes long; all steps are saved by now
            calibrate(training, state, progress)
            evaluate(training, state, progress)
            save(training, state, progress)
        ending = {"seconds": state.seconds, "reason": stopped}
        events.write("stop" if stopped else "done", state.step, ending)
    trained = Trained(
        training.path, state.step, settings.steps, state.seconds, stopped, progress.scores, processes.first
    )
    if processes.first:
        given, text = described(settings), trained.text()
        made = Provenance("train", progress.files, given, summary=trained, text=text, started=started)
        write_provenance([training.path], made, over=True)
    return trained


@contextmanager
def _folder(folder: Path, processes: Processes) -> Iterator[None]:
    """Have the output folder for this training alone."""
    if not processes.first:
        yield
        return
    fresh = not folder.exists()
    make_folder(folder)
    try:
        with locked(folder / NAME):
            yield
    finally:
        if fresh:
            with suppress(OSError):
                folder.rmdir()  # nothing came of it


def put_aside(settings: TrainSettings) -> None:
    """Back up what another training, or somebody else, has in the folder under our names."""
    model, best = models_of(settings)
    for path in (model, description_of(model), best, settings.output / LOG):
        backup(path)


def take_steps(
    training: Training, state: TrainingState, progress: Progress, stop: Stop, *, quiet: bool
) -> str:
    """Take all steps that are left, or as many as there is time for; returns why it stopped early."""
    settings, run, processes = training.settings, training.settings.run, training.processes
    begin = saved = logged = time.monotonic()
    done, logged_step, slow = state.seconds, state.step, True
    with tqdm(total=settings.steps, initial=state.step, unit="step", disable=quiet) as bar:
        while state.step < settings.steps:
            if any_of(stop.wanted, processes):
                return stop.reason if stop.wanted else "another process was told to stop"
            due = is_due(run.evaluate, state.step, progress.scored)
            begun, before = time.monotonic(), None
            slow = slow or state.step == settings.warm.steps  # the first of its kind
            if (slow or due) and processes.size == 1:  # others would wait for this one
                before = snapshot(state, progress)
            rescue = None if before is None else partial(save_snapshot, before, settings)
            try:
                with stop.giving_up(rescue):
                    if due:
                        evaluate(training, state, progress)
                        logged += time.monotonic() - begun  # not time of the steps
                        continue
                    parts = take_step(state, training.context)
            except AbandonedError:
                stop.over()
                bring_back(state, progress, before)
                return stop.reason
            slow = time.monotonic() - begun > PROMPT
            check_finite(parts, state.step)
            progress.sums = {key: progress.sums.get(key, 0.0) + value for key, value in parts.items()}
            now = time.monotonic()
            state.seconds = done + now - begin
            bar.update()
            if state.step % run.log == 0 or state.step == settings.warm.steps:
                log_means(training, state, progress, rate=(state.step - logged_step) / (now - logged))
                logged, logged_step = now, state.step
            if any_of(now - saved > 60 * run.checkpoint, processes):
                save(training, state, progress)
                saved = now
    return ""


def is_due(every: int, step: int, scored: int) -> bool:
    """Whether the model is to be scored before the next step."""
    return bool(every) and step > 0 and step % every == 0 and scored != step


def save(training: Training, state: TrainingState, progress: Progress) -> None:
    """Write the checkpoint and the model."""
    save_checkpoint(state, progress, training.settings, training.processes)
    if training.processes.first:
        save_model(finished(training, state, progress), training.path, over=True)


def log_means(training: Training, state: TrainingState, progress: Progress, *, rate: float) -> None:
    """Write a line of means since the last one, with warnings.

    Parameters
    ----------
    rate
        Steps per second.
    """
    means = {key: value / (state.step - progress.noted) for key, value in progress.sums.items()}
    progress.sums, progress.noted = {}, state.step
    means["spread"] = draw_spread(state, training.context)
    found = warnings_of(means, widest=progress.widest)
    progress.widest = max(progress.widest, means["spread"])
    _warn(found, state, training.processes)
    phase = "warm" if state.step <= training.settings.warm.steps else "adversarial"
    left = (training.settings.steps - state.step) / rate / 3600
    times = {"steps_per_second": rate, "hours": state.seconds / 3600, "hours_left": left}
    speed = {"gflops": rate * operations_per_step(training)[phase] / 1e9}
    warnings = {"warnings": found} if found else {}
    training.events.write(phase, state.step, means | times | speed | warnings)


def calibrate(training: Training, state: TrainingState, progress: Progress) -> None:
    """Find the amplitude of the random vector, in the end."""
    if training.settings.run.calibrate and training.processes.first:
        model = calibrated(finished(training, state, progress), training.systems, generation(training))
        progress.amplitude = model.amplitude
        heavy, hydrogens = model.amplitude
        training.events.write("amplitude", state.step, {"heavy": heavy, "hydrogens": hydrogens})


def generation(training: Training) -> Generation:
    """How frames are generated freely, to be scored."""
    settings = training.settings
    return Generation(settings.run.sweeps, settings.seed, training.context.device, settings.guided)


def evaluate(training: Training, state: TrainingState, progress: Progress) -> None:
    """Generate held-out frames freely, score them, keep the model if it is the best so far."""
    progress.scored = state.step
    if not training.processes.first:
        return
    model = finished(training, state, progress)
    progress.scores = score(model, training.systems, generation(training))
    now = overall(progress.scores)
    found = score_warnings(now, progress.best)
    _warn(found, state, training.processes)
    training.events.write("scores", state.step, progress.scores | {"overall": now, "warnings": found})
    if now < progress.best:
        progress.best = now
        save_model(finished(training, state, progress), models_of(training.settings)[1], over=True)


def _warn(warnings: Sequence[str], state: TrainingState, processes: Processes) -> None:
    for warning in warnings if processes.first else ():
        log.warning("step %d: %s", state.step, warning)


def finished(training: Training, state: TrainingState, progress: Progress) -> Model:
    """The model as it is now, with where it comes from."""
    settings = plain(training.settings)
    systems = [
        {"name": s.name, "frames": len(s.train), "held_out": len(s.held_out), "temperature": t.temperature}
        for s, t in zip(training.systems, training.settings.system, strict=True)
    ]
    provenance = {
        "version": dbm_gmx.__version__,
        "settings": {key: value for key, value in settings.items() if key not in FILES},
        "start": dict(training.model.provenance),
        "steps": state.step,
        "hours": round(state.seconds / 3600, 3),
        "systems": systems,
        "scores": progress.scores,
        "resolution": _resolution(training),
        "classes": sorted(
            {c for one in training.systems for c in atom_classes_of(one.system, training.model)}
        ),
    }
    weights = {key: value.cpu() for key, value in state.average.items()}
    return replace(training.model, state=weights, provenance=provenance, amplitude=progress.amplitude)


def _resolution(training: Training) -> dict[str, list[int]]:
    """Heavy atoms of beads of each type in all systems."""
    found: dict[str, list[int]] = {}
    for one in training.systems:
        for bead, counts in resolution(one.system).items():
            found[bead] = [min(*counts, *found.get(bead, counts)), max(*counts, *found.get(bead, counts))]
    return found


FILES = ("output", "system", "start", "channels")
"""Settings that name files on the machine of the training; a model goes elsewhere."""

# --- cost ----------------------------------------------------------------------------------------------

BACKWARD = 2
"""A backward pass costs as much as so many forward ones."""


def profile(training: Training) -> dict[str, Any]:
    """What a step costs and what this process could reach."""
    cost = operations_per_sample(training.settings, training.model)
    return {
        "processes": training.processes.size,
        "threads": torch.get_num_threads(),
        "device": str(training.context.device),
        "precision": str(training.context.dtype).removeprefix("torch."),
        "peak_gflops": peak_gflops(training.context.dtype, training.context.device)
        if training.processes.first
        else 0.0,
        "mflop_per_sample": {phase: value / 1e6 for phase, value in cost.items()},
        "atoms": training.context.dataset.n_atoms,
        "sequences": len(training.context.dataset.weight),
    }


def operations_per_step(training: Training) -> dict[str, float]:
    """Floating-point operations of the convolutions of a step in each process, by phase."""
    settings, dataset = training.settings, training.context.dataset
    length = float((dataset.weight * dataset.sequences.start.diff()).sum())
    atoms = {
        "warm": training.processes.share(settings.warm.batch),
        "adversarial": training.processes.share(settings.adversarial.batch) * length,
    }
    cost = operations_per_sample(settings, training.model)
    total = {phase: count * cost[phase] for phase, count in atoms.items()}
    if settings.adversarial.supervised:
        total["adversarial"] += total["warm"]
    return total


def operations_per_sample(settings: TrainSettings, model: Model) -> dict[str, float]:
    """Floating-point operations of the convolutions for each atom a step learns from, by phase.

    A warm step draws each atom several times, forward and backward.  An adversarial one, for each step
    of the critic: places the atom, scores it and the data's forward and backward, and for the penalty
    differentiates a third time (forward, backward, and backward through both); and one step of
    the generator: both networks forward and backward.
    """
    channels, size = model.channels.width, model.grid.size
    generator = operations(channels, model.shape, size)
    critic = critic_operations(channels, settings.critic, size)
    both = 1 + BACKWARD
    penalty = both * both * critic * (settings.critic.penalty > 0)
    critic_step = generator + 2 * both * critic + penalty
    adversarial = settings.adversarial.critic_steps * critic_step + both * (generator + critic)
    return {"warm": settings.warm.draws * both * generator, "adversarial": adversarial}

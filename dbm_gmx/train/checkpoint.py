"""Checkpoints: all that changes in a training, so that it goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from dbm_gmx.errors import InputError
from dbm_gmx.files.includes import source_files
from dbm_gmx.files.output import atomic_write
from dbm_gmx.files.record import FileFacts, changed_files, facts_of
from dbm_gmx.network.model import CHECKPOINT, find_model, sealed, unsealed
from dbm_gmx.train.distributed import Processes, from_all
from dbm_gmx.train.settings import TrainSettings, plain
from dbm_gmx.train.state import TrainingState, restore, saved_state

NAME = "checkpoint.pt"
FORMAT = f"{CHECKPOINT} 2"
FREE = ("run", "output", "name")
"""Settings that may differ when a training goes on: they change nothing in what is learnt."""


@dataclass
class Progress:
    """How far a training has come.

    Attributes
    ----------
    sums, noted
        Parts of the loss added up since the last line of the log, and the step of that line.
    scores, scored
        Scores of free generation by system, and their step.
    best
        Lowest overall score so far.
    widest
        nm, largest distance between draws for the same atom so far.
    amplitude
        Of the random vector, see :class:`~dbm_gmx.network.model.Model`.
    files
        What the frames come from.
    """

    sums: dict[str, float] = field(default_factory=dict)
    noted: int = 0
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    scored: int = -1
    best: float = float("inf")
    widest: float = 0.0
    amplitude: tuple[float, float] = (1.0, 1.0)
    files: tuple[FileFacts, ...] = ()


def files_of_training(settings: TrainSettings) -> list[Path]:
    """All files that a training comes from."""
    found = files_of_systems(settings)
    found += [] if settings.channels is None else [settings.channels]
    return found + ([find_model(settings.start)] if settings.start else [])


def files_of_systems(settings: TrainSettings) -> list[Path]:
    """All files that the frames of a training come from."""
    found: list[Path] = []
    for system in settings.system:
        found += [*source_files(system.topology), system.trajectory, *system.mapping, *system.owners]
        found += [path for path in (system.beads, system.mdp) if path is not None]
    return [path for path in dict.fromkeys(found) if path.is_file()]


def save_checkpoint(
    state: TrainingState, progress: Progress, settings: TrainSettings, processes: Processes
) -> None:
    """Write the checkpoint; a run that is killed meanwhile leaves the last one."""
    rng = from_all(state.rng.get_state(), processes)
    if processes.first:
        _write(saved_state(state), rng, progress, settings)


def _write(
    learner: Mapping[str, Any], rng: Sequence[torch.Tensor], progress: Progress, settings: TrainSettings
) -> None:
    saved = {
        "format": FORMAT,
        "settings": plain(settings),
        "files": [asdict(facts) for facts in progress.files],
        "learner": learner,
        "dice": rng,
        "progress": {key: value for key, value in asdict(progress).items() if key != "files"},
    }
    content = BytesIO()
    torch.save(saved, content)
    with atomic_write(settings.output / NAME, over=True) as part:
        part.write_bytes(sealed(content.getvalue()))


Snapshot = tuple[dict[str, Any], torch.Tensor, Progress]
"""A state, its random numbers, and how far it had come."""


def snapshot(state: TrainingState, progress: Progress) -> Snapshot:
    """All that changes in a training, copied."""
    return deepcopy(saved_state(state)), state.rng.get_state(), deepcopy(progress)


def save_snapshot(before: Snapshot, settings: TrainSettings) -> None:
    """Write the checkpoint of a state that was kept, of the only process."""
    learner, rng, progress = before
    _write(learner, [rng], progress, settings)


def bring_back(state: TrainingState, progress: Progress, before: Snapshot | None) -> None:
    """Bring a state to where it was, if that was kept."""
    if before is not None:
        saved, rng, then = before
        restore(state, saved, rng)
        for name, value in vars(then).items():
            setattr(progress, name, value)


def resume(
    state: TrainingState, settings: TrainSettings, processes: Processes, amplitude: tuple[float, float]
) -> Progress:
    """Bring a state to where the last run in the output folder stopped, if there was one.

    Parameters
    ----------
    amplitude
        Of the model the training begins with.

    Raises
    ------
    InputError
        If that was another training.
    """
    path = settings.output / NAME
    if not path.is_file():
        return Progress(amplitude=amplitude, files=tuple(map(facts_of, files_of_training(settings))))
    saved = _read(path)
    differ = sorted(_differences(saved["settings"], plain(settings)))
    if differ:
        raise InputError(
            f"a checkpoint of a training with other settings: {', '.join(differ)}; "
            "give another output folder, the same settings, or --restart to begin anew",
            path=path,
        )
    known = [FileFacts(**facts) for facts in saved["files"]]
    files = tuple(facts_of(name, known) for name in files_of_training(settings))
    if changed := list(changed_files(known, files)):
        raise InputError(
            f"a checkpoint of a training on other files: {'; '.join(changed)}; "
            "give another output folder, the same files, or --restart to begin anew",
            path=path,
        )
    count = len(saved["dice"])
    if count != processes.size:
        raise InputError(f"a checkpoint of {count} processes, these are {processes.size}", path=path)
    try:
        restore(state, saved["learner"], saved["dice"][processes.rank])
    except RuntimeError as error:  # the channel file or the model to begin with is not what it was
        raise InputError(
            "a checkpoint of a network of another size; give another output folder, or the same channels "
            "and the same start",
            path=path,
        ) from error
    return Progress(**saved["progress"], files=files)


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(BytesIO(unsealed(path, "checkpoint")), weights_only=True)
    except InputError as error:
        raise InputError(f"{error.message}; remove it to begin anew", path=path) from error
    except Exception as error:  # torch raises many types for a file that is none of its own
        raise InputError("not a checkpoint; remove it to begin anew", path=path) from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise InputError(f"no checkpoint of this version ({FORMAT})", path=path)
    return saved


def _differences(saved: Mapping[str, Any], settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Names of the settings that differ and may not; keys that are no settings any more are passed over."""
    for key, value in settings.items():
        before = saved.get(key)
        if not prefix and key in FREE:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _differences(before, value, f"{prefix}{key}.")
        elif value != before:
            yield f"{prefix}{key}"

"""How a training is followed: log, progress, warnings, and when to stop."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from dbm_gmx.errors import InputError

log = logging.getLogger(__name__)

COLLAPSED = 0.1  # of the widest spread so far
AHEAD = 100.0  # scores of the critic; with gradients of norm one they differ by far less
WORSE = 2.0  # times the best score so far


class Stop:
    """Whether to stop: a signal has come, or the time is up.

    Parameters
    ----------
    hours
        From now; ``None``: any time.
    """

    def __init__(self, hours: float | None = None):
        self.end = math.inf if hours is None else time.monotonic() + 3600 * hours
        self.signal = 0

    @property
    def wanted(self) -> bool:
        """Whether it is time to stop."""
        return bool(self.signal) or time.monotonic() > self.end

    @property
    def reason(self) -> str:
        """Why."""
        return signal.Signals(self.signal).name if self.signal else "the time is up"


@contextmanager
def stopping(hours: float | None = None) -> Iterator[Stop]:
    """Let SIGINT and SIGTERM ask for a stop instead of ending the process; a second one ends it."""
    stop = Stop(hours)

    def heard(number: int, frame: FrameType | None) -> None:
        if stop.signal:
            raise KeyboardInterrupt
        stop.signal = number

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Journal:
    """The log of a training: a line of JSON for each event, and TensorBoard where it is installed.

    Parameters
    ----------
    folder
        Where ``log.jsonl`` and ``events`` are; ``None``: nothing is written.
    """

    def __init__(self, folder: Path | None):
        self.path = None if folder is None else folder / "log.jsonl"
        self.board: Any = None
        if folder is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self.board = SummaryWriter(folder / "events")

    def write(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Note an event; numbers in (nested) values are curves for TensorBoard."""
        if self.path is None:
            return
        line = {"event": event, "step": step} | {k: _rounded(v) for k, v in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            for name, value in _curves(values, event):
                self.board.add_scalar(name, value, step)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(v) for key, v in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _curves(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _curves(value, f"{name}/{key}")
        elif isinstance(value, float):
            yield f"{name}/{key}", value


def check_finite(parts: Mapping[str, float], step: int) -> None:
    """Stop a training whose loss is no number any more, while the last checkpoint is still good.

    Raises
    ------
    InputError
        Naming the parts.
    """
    lost = [name for name, value in parts.items() if not math.isfinite(value)]
    if lost:
        raise InputError(
            f"step {step}: the loss ({', '.join(lost)}) is no number any more; the last checkpoint is kept. "
            "Go on from it with lower rates or prior weights, or precision = 'float32'"
        )


def worries(means: Mapping[str, float], *, widest: float) -> list[str]:
    """What in a line of the log (means over its steps) looks as if the training goes wrong.

    Parameters
    ----------
    widest
        nm, largest spread between draws for the same atom so far.
    """
    found = []
    if means.get("spread", math.inf) < COLLAPSED * widest:
        found.append(
            f"two draws for the same atom are {means['spread']:.1e} nm apart, which were {widest:.1e} nm: "
            "the generator has collapsed"
        )
    if abs(means.get("critic", 0.0)) > AHEAD:
        found.append(
            f"the critic's scores differ by {abs(means['critic']):.3g}: it is far ahead of the generator"
        )
    return found


def worse(now: float, best: float) -> list[str]:
    """Say if the score of free generation is far worse than the best so far."""
    if now > WORSE * best:
        return [f"free generation scores {now:.3g}, the best so far was {best:.3g}"]
    return []


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of this process in the multiplication of large matrices: what convolutions could reach."""
    a = torch.ones(1024, 1024, dtype=dtype)
    _ = a @ a
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        _ = a @ a
        times.append(time.perf_counter() - begin)
    return 2 * 1024**3 / min(times) / 1e9

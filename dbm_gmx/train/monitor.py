"""The log of a training, its warnings, and when to stop."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any, Protocol

import torch

from dbm_gmx.errors import InputError
from dbm_gmx.files.text import check_file
from dbm_gmx.interrupts import SIGNALS, doing_last

log = logging.getLogger(__name__)

COLLAPSED = 0.1  # of the largest distance between draws so far
AHEAD = 100.0  # scores of the critic; with gradients of norm one they differ by far less
PATIENCE = 10.0  # s; batch systems kill what goes on for half a minute
PROMPT = 1.0  # s; what takes longer is given up for a signal
LOG = "log.jsonl"
WORSE = 2.0  # times the best score so far


class AbandonedError(BaseException):
    """What was in hand when a signal came is given up."""


@dataclass
class Stop:
    """Whether to stop: a signal has come, or the time is up.

    Attributes
    ----------
    end
        s, of the monotonic clock.
    signal
        Number of the signal that has come; 0: none.
    rescue
        Saves what was before that which is in hand and given up for a signal; none: it is finished.
    lock
        Held by whoever saves.
    """

    end: float = math.inf
    signal: int = 0
    rescue: Callable[[], None] | None = None
    lock: Lock = field(default_factory=Lock)

    @property
    def wanted(self) -> bool:
        """Whether it is time to stop."""
        return bool(self.signal) or time.monotonic() > self.end

    @property
    def reason(self) -> str:
        """Why."""
        return signal.Signals(self.signal).name if self.signal else "the time is up"

    @contextmanager
    def giving_up(self, rescue: Callable[[], None] | None) -> Iterator[None]:
        """Have a signal raise :class:`AbandonedError` at once, if what was before can be saved.

        Where this thread does not hear of it, as in a long operation of PyTorch, another one saves.
        """
        self.rescue = rescue
        try:
            yield
        finally:
            self.over()

    def over(self) -> None:
        """Nothing is in hand any more; if another thread is saving, it ends the process."""
        with self.lock:
            self.rescue = None

    def last(self) -> list[str]:
        """Save on another thread, before the process is ended; or let this be done by the main thread."""
        with self.lock:
            if self.rescue is not None:
                self.rescue()
                return ["saved as it was before this step; the same command goes on"]
        time.sleep(PATIENCE)  # the process has ended by then
        return []


@contextmanager
def stopping(end: float = math.inf) -> Iterator[Stop]:
    """Let signals ask for a stop instead of ending the process; a second one ends it.

    The step in hand is finished, or given up if it takes long, and the training saved.  If that takes longer
    than :data:`PATIENCE` the last checkpoint stands.

    Parameters
    ----------
    end
        s of the monotonic clock, when the time is up.
    """
    stop = Stop(end)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.signal:
            raise KeyboardInterrupt
        stop.signal = number
        waits = stop.rescue is None
        log.error("%s: stops %s", stop.reason, "after this step" if waits else "and gives up this step")
        if not waits:
            raise AbandonedError

    numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        with doing_last(stop.last):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Board(Protocol):
    """What draws curves: the writer of TensorBoard."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Add a point to a curve."""


@dataclass
class EventLog:
    """The log of a training: a line of JSON for each event, and TensorBoard where it is installed.

    Attributes
    ----------
    path
        Of the lines; ``None``: nothing is written.
    board
        Gets the same numbers as curves.
    """

    path: Path | None = None
    board: Board | None = None

    def write(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Write an event; numbers in (nested) values are curves for TensorBoard."""
        if self.path is None:
            return
        line = {"event": event, "step": step} | {k: _rounded(v) for k, v in values.items()}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path=self.path) from error
        if self.board is not None:
            for name, value in _curves(values, event):
                self.board.add_scalar(name, value, step)


def make_event_log(folder: Path | None) -> EventLog:
    """Log to ``log.jsonl`` and ``events`` in a folder; to nowhere without one."""
    if folder is None:
        return EventLog()
    path = folder / LOG
    if os.path.lexists(path):
        check_file(path)  # a pipe would be waited for
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return EventLog(path)
    return EventLog(path, SummaryWriter(folder / "events"))


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


def warnings_of(means: Mapping[str, float], *, widest: float) -> list[str]:
    """Warnings for a line of the log (means over its steps).

    Parameters
    ----------
    widest
        nm, largest distance between draws for the same atom so far.
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


def score_warnings(now: float, best: float) -> list[str]:
    """A warning if the score of free generation is far worse than the best so far."""
    if now > WORSE * best:
        return [f"free generation scores {now:.3g}, the best so far was {best:.3g}"]
    return []


def peak_gflops(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of this process in the multiplication of large matrices: what convolutions could reach."""
    n = 1024 if device.type == "cpu" else 8192  # large enough to keep it busy
    a = torch.ones(n, n, dtype=dtype, device=device)
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        float((a @ a)[0, 0])  # waits until it is there
        times.append(time.perf_counter() - begin)
    return 2 * n**3 / min(times) / 1e9

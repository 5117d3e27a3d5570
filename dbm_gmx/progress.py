"""How far a run is: a bar where there is a terminal, a line a minute where there is none.

Before the first frame a clock runs beside the name of what is being done.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from tqdm import tqdm

from dbm_gmx.logs import NOTICE

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two lines where there is no terminal."""

TICK = 0.5
"""Seconds between two looks at the clock."""

BAR = "{n_fmt}/{total_fmt} frames |{bar}| {postfix} {elapsed}<{remaining}"

SET_UP, FIRST = "set-up", "first frame"
"""What is being done where nothing else is said, before :meth:`Progress.expect` and after it."""

_stages: list[str] = []
"""What is being done before the first frame, the last of them now."""


@contextmanager
def under_way(what: str) -> Iterator[None]:
    """Say, while the block lasts, what is being done before the first frame."""
    _stages.append(what)
    try:
        yield
    finally:
        _stages.remove(what)


def memory() -> float:
    """Memory this process has now, GB; the most it has had, where that is not known."""
    try:
        with open("/proc/self/statm") as stream:  # noqa: PTH123 (read often)
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def span(seconds: float) -> str:
    """A time in words: ``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


class Progress:
    """Frames of a run as they are done; a context.

    Parameters
    ----------
    total
        How many there will be, where that is known.
    quiet
        Say nothing.
    label
        What the frames are of.
    bar
        Whether there is a bar; where there is a terminal if not given.
    clock
        s, for tests.
    """

    def __init__(
        self,
        total: int | None = None,
        *,
        quiet: bool = False,
        label: str = "",
        bar: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._label = f"{label}: " if label else ""
        self.total, self.done, self.quiet = total, 0, quiet
        self._kept, self._before = 0, SET_UP
        self._clock, self._begin, self._first = clock, clock(), 0.0
        self._said = self._begin
        self._ended = threading.Event()
        self._ticking = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._with_bar = sys.stderr.isatty() if bar is None else bar
        self._bar: Any = None

    def __enter__(self) -> Progress:
        """Begin: the clock runs."""
        self._begin = self._said = self._clock()
        if not self.quiet:
            if self._with_bar:
                self._bar = tqdm(total=self.total, unit="frame", bar_format=self._label + BAR)
            self._ticking.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._ended.set()
        if self._ticking.ident is not None:
            self._ticking.join()
        if self._bar is not None:
            self._bar.close()

    def expect(self, total: int | None) -> None:
        """Say that set-up is over, and how many frames there will be, where that is known."""
        self.total, self._before = total, FIRST
        if self._bar is not None:
            self._bar.total = total
            self._bar.refresh()

    def known(self) -> None:
        """Count a frame that an earlier run has left: it says nothing of the speed."""
        self.done += 1
        self._kept += 1
        if self._bar is not None:
            self._bar.update()

    def update(self) -> None:
        """Count a frame."""
        if self.done == self._kept:
            self._first = self._clock()
        self.done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{60 * self._rate():.3g} frames/min", refresh=False)
            self._bar.update()

    def _rate(self) -> float:
        """Frames a second: since the first one, which set-up and compilation are a part of."""
        made = self.done - self._kept
        begin = self._first if made > 1 else self._begin
        return (made - (made > 1)) / max(self._clock() - begin, 1e-9)

    def line(self) -> str:
        """How far it is."""
        now = self._clock()
        if self.done == self._kept:
            what = _stages[-1] if _stages else self._before
            return f"{self._label}{what}, {span(now - self._begin)}, {memory():.2f} GB"
        rate = self._rate()
        total = "" if self.total is None else f" of {self.total}"
        left = "" if self.total is None else f", {span((self.total - self.done) / rate)} left"
        return f"{self._label}{self.done}{total} frames, {60 * rate:.3g} a minute{left}, {memory():.2f} GB"

    def tick(self) -> None:
        """Look at the clock: turn the bar's, say a line if it is time."""
        now = self._clock()
        if self._bar is not None:
            if self.done == self._kept:
                what = _stages[-1] if _stages else self._before
                self._bar.set_postfix_str(what, refresh=False)
            self._bar.refresh()
        if now - self._said >= EVERY:
            self._said = now
            if self._bar is None:
                log.log(NOTICE, "%s", self.line())
            else:
                log.info("%s", self.line())

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            self.tick()

"""Signals that end a run: answered within two seconds, wherever the program is.

Python runs its handlers on the main thread only, and between two of its own steps: never within a compiled
loop.  So a second thread waits for signals too.  It gives the main thread a moment to end in order.
Then it ends the process.  This loses nothing: what is finished is in the files by then, as after SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from threading import Event, Thread, Timer
from types import FrameType
from typing import NoReturn

from dbm_gmx.errors import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)
"""Ctrl-C; a batch system that wants its machine back; a terminal that closes; a limit of CPU time."""

GRACE = 1.0
"""s that the main thread has to end in order."""

_last: list[Callable[[], list[str]]] = []


class Interrupted(KeyboardInterrupt):
    """A signal has come.

    Parameters
    ----------
    number
        Of the signal.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)


def do_last(action: Callable[[], list[str]]) -> None:
    """Have something done before the process is ended in the middle of its work.

    Parameters
    ----------
    action
        Quick, and safe on any thread; returns lines for the user.
    """
    _last.append(action)


@contextmanager
def doing_last(action: Callable[[], list[str]]) -> Iterator[None]:
    """Have something done as by :func:`do_last`, for as long as this block lasts."""
    _last.append(action)
    try:
        yield
    finally:
        _last.remove(action)


@contextmanager
def answering(*, at_once: bool) -> Iterator[None]:
    """Raise :class:`Interrupted` on the main thread when a signal comes.

    Signals that are ignored stay so: that is what ``nohup`` asks for, and a shell that starts a job
    with ``&``.

    Parameters
    ----------
    at_once
        End the process where the main thread has not ended in time.
    """
    numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    came: list[int] = []
    over = Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:  # what ends in order is not disturbed
            raise Interrupted(number)

    def on_lost(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, Interrupted):
            hook(lost)
        elif came:  # where Python drops exceptions, as in a callback of a compiler: once more
            Timer(0.05, once_more, [came.pop()]).start()

    def once_more(number: int) -> None:
        if not over.is_set():
            signal.raise_signal(number)

    before = {number: signal.signal(number, on_signal) for number in numbers}
    hook, sys.unraisablehook = sys.unraisablehook, on_lost
    try:
        with _watching(frozenset(numbers)) if at_once else nullcontext():
            yield
    finally:
        over.set()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watching(numbers: frozenset[int]) -> Iterator[None]:
    """Wait for a signal on a thread of its own."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ended = Event()
    Thread(target=_watch, args=(reader, numbers, ended), daemon=True).start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(writer)  # the thread reads the end


def _watch(reader: int, numbers: frozenset[int], ended: Event) -> None:
    while came := os.read(reader, 1):
        if came[0] in numbers and not ended.wait(GRACE):
            _leave(came[0])
    os.close(reader)


def _leave(number: int) -> NoReturn:
    """End the process from whatever thread this is."""
    said: list[str] = []
    for action in reversed(_last):
        with suppress(Exception):
            said += action()
    end_now([*said, f"interrupted ({signal.Signals(number).name})"])


def end_now(said: list[str]) -> NoReturn:
    """Say something and end, without waiting for threads that are at work."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, "".join(f"dbm-gmx: {line}\n" for line in said).encode(errors="replace"))
    os._exit(ExitCode.FAILED)

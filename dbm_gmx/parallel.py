"""Jobs on several threads, their results in order."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from dbm_gmx.errors import InputError

Job = TypeVar("Job")


Result = TypeVar("Result")


def _nothing() -> None:
    pass


class Workers(Protocol):
    """Who does jobs: threads of this process, or processes elsewhere (:mod:`dbm_gmx.cluster`)."""

    @property
    def count(self) -> int:
        """Jobs they do at a time."""

    def hired(
        self, work: Callable[[Any], Any], abandon: Callable[[], None]
    ) -> AbstractContextManager[Callable[[Any], Future[Any]]]:
        """Have them ready for this work.

        Parameters
        ----------
        work
            What is done with a job.  To other processes it is sent once, with all that it holds.
        abandon
            Ends, where it is called, jobs that run there.

        Returns
        -------
        A context with what a job is handed to.
        """


@dataclass(frozen=True)
class Threads:
    """So many threads of this process."""

    count: int

    @contextmanager
    def hired(
        self, work: Callable[[Any], Any], abandon: Callable[[], None]
    ) -> Iterator[Callable[[Any], Future[Any]]]:
        """See :class:`Workers`."""
        with ThreadPoolExecutor(self.count) as pool:
            yield lambda job: pool.submit(work, job)


def side_by_side(
    work: Callable[[Job], Result],
    jobs: Iterator[Job],
    workers: int | Workers,
    *,
    ahead: int = 1,
    abandon: Callable[[], None] = _nothing,
) -> Generator[Result, None, None]:
    """Yield results in the order of the jobs.

    The jobs before a damaged one are done before the error it raises.

    Parameters
    ----------
    work
        What is done with a job, by one of the workers.
    jobs
        Taken when there is room for them.
    workers
        Who does it; a number is one of threads.
    ahead
        Jobs for each worker that are started or wait, so that a slow one does not hold up the others.
    abandon
        Called again and again when nobody wants the results any more, until the jobs that run have ended.
    """
    pending: deque[Future[Result]] = deque()
    damage: InputError | None = None
    crew = Threads(workers) if isinstance(workers, int) else workers
    with crew.hired(work, abandon) as submit:
        try:
            while True:
                try:
                    room = max(0, ahead * crew.count - len(pending))
                    pending.extend(submit(job) for job in islice(jobs, room))
                except InputError as error:  # those before it are finished first
                    damage, jobs = error, iter(())
                if not pending:
                    break
                result = pending[0].result()  # still pending, should we be interrupted here
                pending.popleft()
                yield result
        finally:
            # one that is cancelled may never be said to be done: those of Dask are not, if they end meanwhile
            running = [future for future in pending if not future.cancel()]
            while wait(running, timeout=0.1).not_done:
                abandon()
    if damage is not None:
        raise damage


class _Help(threading.local):
    """CPU time that others have spent for this thread, s."""

    seconds = 0.0


_help = _Help()


def cpu_time() -> float:
    """CPU time of this thread, and of what other threads of a :class:`Team` have done for it, s.

    Differences mean something, as those of :func:`time.thread_time`.
    """
    return time.thread_time() + _help.seconds


def _timed(work: Callable[[int, int], None], first: int, step: int) -> float:
    """Do a part of the work; the CPU time it takes, s."""
    begin = cpu_time()
    work(first, step)
    return cpu_time() - begin


class Team:
    """Threads that share the loops of one frame; made of compiled functions that let others run.

    Parameters
    ----------
    size
        How many, the one that calls among them.
    """

    def __init__(self, size: int = 1):
        self.size = size
        self._others = ThreadPoolExecutor(size - 1) if size > 1 else None

    def share(self, work: Callable[[int, int], None], count: int, *, least: int = 1) -> None:
        """Do ``work(first, step)`` for each thread: items ``first``, ``first + step`` and so on of ``count``.

        Parameters
        ----------
        least
            Items that are worth a thread.
        """
        members = max(1, min(self.size, count // least))
        if members == 1 or self._others is None:
            work(0, 1)
            return
        pending = [self._others.submit(_timed, work, k, members) for k in range(1, members)]
        work(0, members)
        for future in pending:
            _help.seconds += future.result()


_chosen: list[int] = []
"""Number of threads that torch is to use once it is loaded."""


def set_threads(count: int) -> None:
    """Use so many threads in the sampler and in the network; torch is not loaded for that."""
    _chosen[:] = [count]
    pass_on_threads()


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Use so many threads while the block lasts, as many as before where nothing is said."""
    if count is None:
        yield
        return
    before, usual = list(_chosen), thread_count()
    set_threads(count)
    try:
        yield
    finally:
        _chosen[:] = before
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(usual)


def pass_on_threads() -> None:
    """Have torch, where it is loaded by now, use as many threads as were chosen before."""
    if _chosen and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(_chosen.pop())


def thread_count() -> int:
    """Threads to use: those chosen, else as many as torch does: one on each processor there is for us."""
    if _chosen:
        return _chosen[0]
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    usual = os.environ.get("OMP_NUM_THREADS", "")
    return int(usual) if usual.isdecimal() and int(usual) else len(os.sched_getaffinity(0))

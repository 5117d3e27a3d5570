"""Jobs on several threads, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from dbm_gmx.errors import InputError

Job = TypeVar("Job")


Result = TypeVar("Result")


def _nothing() -> None:
    pass


def side_by_side(
    work: Callable[[Job], Result],
    jobs: Iterator[Job],
    workers: int,
    *,
    ahead: int = 1,
    prepare: Callable[[], None] = _nothing,
    abandon: Callable[[], None] = _nothing,
) -> Generator[Result, None, None]:
    """Yield results in the order of the jobs.

    The jobs before a damaged one are done before the error it raises.

    Parameters
    ----------
    work
        What is done with a job, on one of the threads.
    jobs
        Taken when there is room for them.
    workers
        Threads.
    ahead
        Jobs for each thread that are started or wait, so that a slow one does not hold up the others.
    prepare
        Called once on each thread.
    abandon
        Called again and again when nobody wants the results any more, until the jobs that run have ended.
    """
    pending: deque[Future[Result]] = deque()
    damage: InputError | None = None
    with ThreadPoolExecutor(workers, initializer=prepare) as pool:
        try:
            while True:
                try:
                    pending.extend(
                        pool.submit(work, job) for job in islice(jobs, ahead * workers - len(pending))
                    )
                except InputError as error:  # those before it are finished first
                    damage, jobs = error, iter(())
                if not pending:
                    break
                result = pending[0].result()  # still pending, should we be interrupted here
                pending.popleft()
                yield result
        finally:
            for future in pending:
                future.cancel()
            while wait(pending, timeout=0.1).not_done:
                abandon()
    if damage is not None:
        raise damage


def set_threads(count: int) -> None:
    """Use so many threads in the network and the sampler, of the latter no more than there are cores."""
    import numba  # both take seconds, which jobs without network and sampler need not wait
    import torch

    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    torch.set_num_threads(count)  # after numba, which sets the number of OpenMP's threads when it starts

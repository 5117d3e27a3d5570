"""Work on other processes, of this machine or of a cluster, through Dask.

What all jobs share is sent to each worker once, and to those that join later.  Jobs of a worker that is lost
are done again by others.  Loaded only where it is asked for: Dask is an extra, ``dbm-gmx[cluster]``.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
import numba
import numpy as np
from distributed import Client, KilledWorker, LocalCluster, Security, WorkerPlugin, get_worker

from dbm_gmx import __version__
from dbm_gmx.compiled import key
from dbm_gmx.errors import InputError
from dbm_gmx.interrupts import do_last
from dbm_gmx.logs import NOTICE

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds a scheduler has to answer."""

WAITS = (0.1, 0.3, 1.0, 0.0)
"""Seconds after each look at a scheduler file that has no address yet."""

AGAIN = 5.0
"""Seconds after which workers are counted again."""

Versions = tuple[tuple[str, str], ...]


def versions() -> Versions:
    """What has to be the same for the same results."""
    return (
        ("dbm-gmx", f"{__version__} ({key()[:8]})"),
        ("python", ".".join(platform.python_version_tuple()[:2])),
        ("numpy", np.__version__),
        ("numba", numba.__version__),
    )


class Crew:
    """Workers of a Dask cluster.

    Parameters
    ----------
    client
        Connected to the scheduler.
    """

    def __init__(self, client: Any):
        self._client = client
        self._counted, self._count = -AGAIN, 1

    @property
    def count(self) -> int:
        """Threads of all workers there are now; 1 as long as there is none."""
        if time.monotonic() - self._counted > AGAIN:
            self._count = max(1, sum(self._client.nthreads().values()))
            self._counted = time.monotonic()
        return self._count

    @contextmanager
    def hired(
        self, work: Callable[[Any], Any], abandon: Callable[[], None]
    ) -> Iterator[Callable[[Any], Future[Any]]]:
        """See :class:`~dbm_gmx.parallel.Workers`."""
        name = f"dbm-gmx-{uuid4().hex}"
        self._client.register_plugin(SharedWork(work, abandon, versions()), name)
        executor = self._client.get_executor(pure=False)

        def submit(job: Any) -> Future[Any]:
            future: Future[Any] = executor.submit(_do, name, job)
            return future

        try:
            yield submit
        except KilledWorker as error:
            last = error.last_worker.address
            raise InputError(
                f"workers were lost again and again over the same frame, the last one {last}; for lack of "
                "memory, as a rule: give each worker more"
            ) from error
        finally:
            with suppress(Exception):  # whatever ends the run, a scheduler that is gone is not worth a word
                self._client.unregister_worker_plugin(name)


class SharedWork(WorkerPlugin):  # type: ignore[misc]
    """What each worker is sent once.

    Parameters
    ----------
    work, abandon
        What is done with a job, and what ends the jobs that run.
    made_by
        Versions of who has sent it.
    """

    def __init__(self, work: Callable[[Any], Any], abandon: Callable[[], None], made_by: Versions):
        self.work, self.abandon, self.made_by = work, abandon, made_by

    def setup(self, worker: Any) -> None:
        """Refuse a worker whose results would not be the same."""
        here = dict(versions())
        for name, wanted in self.made_by:
            if here[name] != wanted:
                raise InputError(f"worker {worker.address} has {name} {here[name]}, this process {wanted}")

    def teardown(self, worker: Any) -> None:
        """End what still runs."""
        self.abandon()


class LeftAlone(WorkerPlugin):  # type: ignore[misc]
    """A worker that does not heed Ctrl-C, which all processes of a terminal get: who started it ends it."""

    name = "left-alone"

    def setup(self, worker: Any) -> None:
        """Ignore the signal; without it a worker that waits would say where it was."""
        with suppress(ValueError):  # not on the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(name: str, job: Any) -> Any:
    """Do a job on a worker."""
    return get_worker().plugins[name].work(job)


# --- clusters --------------------------------------------------------------------------------------


@contextmanager
def open_crew(where: str | None, count: int) -> Iterator[Crew]:
    """Start a cluster of processes of this machine, or connect to one that runs.

    Parameters
    ----------
    where
        An address as ``tcp://host:8786``, or the scheduler file of a cluster; ``None`` for processes of this
        machine.
    count
        Processes of a cluster of this machine, each with one thread.

    Raises
    ------
    InputError
        If no scheduler answers.
    """
    with ExitStack() as stack:
        client = stack.enter_context(_client(where, count, stack))
        found = len(client.nthreads())
        log.log(
            NOTICE,
            "Dask: %s, %s worker%s%s",
            client.scheduler.address,
            found or "no",
            "s"[: found != 1],
            f", dashboard {client.dashboard_link}" if client.dashboard_link else "",
        )
        yield Crew(client)


def _client(where: str | None, count: int, stack: ExitStack) -> Any:
    """A client of the cluster; one that is started here ends with ``stack``."""
    if where is None:
        # a busy machine starts processes slowly; theirs is no network that could be down
        stack.enter_context(dask.config.set({"distributed.comm.timeouts.connect": "300s"}))
        stack.enter_context(_script_left_alone())
        do_last(_end_processes)
        try:
            cluster = _local(count)
        except BaseException:
            _end_processes()
            raise
        client = Client(stack.enter_context(cluster))
        client.register_plugin(LeftAlone())
        client.wait_for_workers(count)
        return client
    try:
        return Client(where if "://" in where else _address(Path(where)), timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {where}: {error}") from error


def _address(path: Path) -> str:
    """The address in a scheduler file, which may just be being written.

    Raises
    ------
    InputError
        There is no such file, or it is none of a scheduler.
    """
    if not path.is_file():
        raise InputError("no such scheduler file; --dask takes nothing, tcp://HOST:PORT or a file", path=path)
    for wait in WAITS:
        with suppress(ValueError, LookupError, TypeError):
            address = json.loads(path.read_text())["address"]
            if isinstance(address, str) and "://" in address:
                return address
        time.sleep(wait)
    raise InputError("is no scheduler file of Dask: it says no address", path=path)


LEAKED = "ignore:resource_tracker:UserWarning"
"""What Python says of semaphores when a run with processes is ended by a signal; it removes them."""


def _ignore_semaphores() -> None:
    """Tell Python's own processes, which inherit it, not to warn of them."""
    said = os.environ.get("PYTHONWARNINGS", "")
    if LEAKED not in said:
        os.environ["PYTHONWARNINGS"] = f"{said},{LEAKED}".strip(",")


@contextmanager
def _script_left_alone() -> Iterator[None]:
    """Start processes that do not run the script of a user who has called us once more.

    A process of Python's begins by loading that script, unless it has no file, as in a notebook.  What is
    sent to workers needs nothing of it.
    """
    known = vars(sys.modules["__main__"])
    before: dict[str, Any] = {name: known[name] for name in ("__file__", "__spec__") if name in known}
    known.pop("__file__", None)
    known["__spec__"] = None
    try:
        yield
    finally:
        known.update(before)


def _end_processes() -> list[str]:
    """End workers at once: those that are still being loaded would show a traceback when we are gone."""
    for process in multiprocessing.active_children():
        process.kill()
    return []


@contextmanager
def _keyboard_left_out() -> Iterator[None]:
    """Start threads and processes that Ctrl-C does not reach: it goes to all processes of a terminal.

    Those that are still being loaded would show a traceback.
    """
    resource_tracker.ensure_running()  # else it is started meanwhile, and lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _local(count: int) -> Any:
    """Processes of this machine; others who use it cannot talk to them where keys can be made."""
    _ignore_semaphores()
    keys = Security.temporary() if find_spec("cryptography") else None
    with _keyboard_left_out():
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # a worker that Dask ends for its memory would be lost again and again
            security=keys,
            local_directory=os.environ.get("DASK_TEMPORARY_DIRECTORY"),
            silence_logs=logging.CRITICAL,  # what ends the run is said once
        )

"""How long the stages of a job take."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dbm_gmx.parallel import cpu_time

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Clock:
    """Times of the stages of one job, added up as they come.

    Attributes
    ----------
    wall, cpu
        By stage, s.  CPU time is that of the thread that works on the job and of its
        :class:`~dbm_gmx.parallel.Team`, so that jobs side by side are told apart.
    """

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note the time a stage takes, and log it."""
        wall, cpu = time.perf_counter(), cpu_time()
        yield
        wall, cpu = time.perf_counter() - wall, cpu_time() - cpu
        self.wall[name] = self.wall.get(name, 0.0) + wall
        self.cpu[name] = self.cpu.get(name, 0.0) + cpu
        log.info("%s: %.2f s, %.2f s of CPU time", name, wall, cpu)

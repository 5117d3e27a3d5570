"""Work that tests give to other processes, which import nothing else of the tests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbm_gmx.errors import InputError


@dataclass(frozen=True)
class KillOnce:
    """Work whose worker is killed in the middle of a job, the first time."""

    work: Callable[[Any], Any]
    marker: Path
    is_it: Callable[[Any], bool]

    def __call__(self, one: Any) -> Any:
        if self.is_it(one) and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(one)


def square(k: int) -> int:
    time.sleep(0.02 * (3 - k % 3))
    return k * k


def is_frame_three(batch: list[Any]) -> bool:
    return batch[0].beads.index == 3


def refuse_four(k: int) -> int:
    if k == 4:
        raise InputError("no four", path="here")
    return k


def kill_always(k: int) -> int:
    if k == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return k


@dataclass(frozen=True)
class Heavy:
    """Work that notes each time it is unpacked."""

    folder: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()

    def __call__(self, k: int) -> int:
        return os.getpid()

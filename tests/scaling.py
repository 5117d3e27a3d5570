"""How the cost of something grows with its size: the same on any machine, busy or not."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def seconds(work: Callable[[], object], *, tries: int = 3) -> float:
    """Time of this process, the least of several tries."""
    found = []
    for _ in range(tries):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def exponent(work: Callable[[int], object], small: int, large: int) -> float:
    """The power of the size that the time goes with: 1 for what is linear, 2 for what looks at all pairs."""
    first, second = (seconds(lambda n=n: work(n)) for n in (small, large))
    return float(np.log(second / first) / np.log(large / small))

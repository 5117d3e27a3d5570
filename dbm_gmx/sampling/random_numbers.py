"""Random numbers of the compiled code."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

import numpy as np

from dbm_gmx.compiled import compiled

# --- random numbers (splitmix64: Steele, Lea, Flood, OOPSLA 2014) -----------------------------------

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


FIRST = np.uint64(0xBF58476D1CE4E5B9)


SECOND = np.uint64(0x94D049BB133111EB)


@compiled(inline="always")
def scramble(x: np.uint64) -> np.uint64:
    """Mix the bits of a number."""
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


@compiled()
def seeded(rng: Any, a: int, b: int, c: int, d: int) -> None:
    """Begin a stream ``dice`` (1,) uint64 that belongs to four whole numbers."""
    state = scramble(np.uint64(a) + GOLDEN)
    state = scramble(state ^ (np.uint64(b) + GOLDEN))
    state = scramble(state ^ (np.uint64(c) + GOLDEN))
    rng[0] = scramble(state ^ (np.uint64(d) + GOLDEN))


@compiled(inline="always")
def uniform(rng: Any) -> float:
    """A number in [0, 1)."""
    rng[0] += GOLDEN
    return float(scramble(rng[0]) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled(forceinline=True)
def gaussian(rng: Any) -> float:
    """A number of mean 0 and variance 1 (Box and Muller)."""
    u, v = 1.0 - uniform(rng), uniform(rng)
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)

"""Random numbers: every stream has a name, and this is where names are made.

A stream is named by the seed, the frame, the sample, what the numbers are for (:class:`Use`), and the numbers
of what they are used on.  The same name gives the same numbers on any number of threads; two names never
share a stream.  Compiled code counts (splitmix64: Steele, Lea, Flood, OOPSLA 2014) from a state that follows
from the name, Python code uses numpy's generator.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from dbm_gmx.compiled import compiled, plain

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


class Use(IntEnum):
    """What random numbers are for.

    ===============  ================================================================
    CONFORMERS       conformers of fragments: of the seed alone, the same in all frames
    PLACEMENT        fragments put near their beads, by run of molecules, attempt, window
    ANNEALING        the dynamics that follows, by the same and the copy
    CHIRALITY        states of stereo elements that the beads do not decide, by run of molecules
    INFERENCE        what is annealed to infer states, by run, frame, window, pass and step
    CANDIDATES       conformers offered for exchange, by the same as PLACEMENT
    EXCHANGE         the choice among them
    PACKING          the dynamics of the frame, by the step
    SWEEPS           the moves, by sweep and block
    MEMORY           what is recalled, by attempt and run of molecules; and what is forgotten
    OFFERS           as CANDIDATES and EXCHANGE, of rounds in which all choose, by the round
    STRETCHES        conformers that are bred before such a round and the choice among them, by round and run
    ===============  ================================================================
    """

    CONFORMERS = 0
    PLACEMENT = 1
    ANNEALING = 2
    CHIRALITY = 3
    INFERENCE = 4
    CANDIDATES = 5
    EXCHANGE = 6
    PACKING = 7
    SWEEPS = 8
    MEMORY = 9
    OFFERS = 10
    STRETCHES = 11


@dataclass(frozen=True)
class Stream:
    """The name of a stream of random numbers.

    Attributes
    ----------
    path
        Whole numbers that are not negative.
    """

    path: tuple[int, ...]

    def of(self, *numbers: int) -> Stream:
        """A stream within this one."""
        return Stream((*self.path, *map(int, numbers)))

    @property
    def generator(self) -> np.random.Generator:
        """Its numbers, for Python code."""
        return np.random.default_rng([len(self.path), *self.path])

    @property
    def key(self) -> np.uint64:
        """Its numbers, for compiled code: see :func:`seeded`."""
        state = np.uint64(len(self.path))
        with np.errstate(over="ignore"):
            for number in self.path:
                state = plain(scramble)(state ^ (np.uint64(number) + GOLDEN))
        return state


BEFORE = 2**62
"""In place of the number of a frame: what is done before the first one."""


def preparation_stream(seed: int) -> Stream:
    """Random numbers of what is done once for all frames."""
    return Stream((seed, BEFORE, 0))


def frame_stream(seed: int, frame: int, sample: int) -> Stream:
    """Random numbers of one sample of one frame."""
    return Stream((seed, frame, sample))


@compiled(inline="always")
def scramble(x: np.uint64) -> np.uint64:
    """Mix the bits of a number."""
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


@compiled(forceinline=True)
def seeded(rng: Any, key: np.uint64, number: int) -> None:
    """Begin the stream ``rng`` (1,) uint64 that belongs to a key (:attr:`Stream.key`) and a whole number."""
    rng[0] = scramble(scramble(key ^ (np.uint64(number) + GOLDEN)))


@compiled(inline="always")
def uniform(rng: Any) -> float:
    """A number in [0, 1)."""
    rng[0] += GOLDEN
    return float(scramble(rng[0]) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled(inline="always")
def symmetric(rng: Any) -> float:
    """A number of mean 0 and variance 1 that is as likely as its negative (even between two bounds).

    All that a small step must be; a Gaussian takes ten times as long.
    """
    return math.sqrt(12.0) * (uniform(rng) - 0.5)


@compiled(forceinline=True)
def gaussian(rng: Any) -> float:
    """A number of mean 0 and variance 1 (Box and Muller)."""
    u, v = 1.0 - uniform(rng), uniform(rng)
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)

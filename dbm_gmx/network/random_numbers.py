"""Random numbers of the network: which stream is used for what.

Every independent repeat (sample) of a frame has a stream of its own, begun from (seed, frame, sample).  It
gives the azimuths and the random vectors of all atoms, in the order of the stages.  Beads that are drawn
again take theirs from a second stream, which one number of the first begins for each stage: so the first does
not depend on how many beads are drawn again.  No stream depends on the other frames of a batch.
(The streams of a training: :mod:`dbm_gmx.train.state`.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RandomNumbers:
    """Random numbers of some frames; drawing changes the state of the streams.

    Attributes
    ----------
    streams
        One for each frame.
    """

    streams: tuple[torch.Generator, ...]

    def spawn(self) -> RandomNumbers:
        """New streams, begun by a number of each of these."""
        return _begun([int(torch.randint(2**62, (1,), generator=stream)) for stream in self.streams])

    def normal(self, rows: int, columns: int) -> Tensor:
        """(rows, columns) standard normal, an equal share of the rows for each frame."""
        return self._each(torch.randn, rows, columns)

    def angle(self, rows: int) -> Tensor:
        """(rows,) uniform in 0 to 2 pi, an equal share for each frame."""
        return 2 * pi * self.uniform(rows)

    def uniform(self, rows: int) -> Tensor:
        """(rows,) uniform in 0 to 1, an equal share for each frame."""
        return self._each(torch.rand, rows, 1)[:, 0]

    def _each(self, draw: Callable[..., Tensor], rows: int, columns: int) -> Tensor:
        share = rows // len(self.streams)
        return torch.cat([draw(share, columns, generator=stream) for stream in self.streams])


def make_random_numbers(
    frames: Sequence[int], samples: Sequence[int] | None = None, *, seed: int
) -> RandomNumbers:
    """Streams of frames, by their indices.

    Parameters
    ----------
    samples
        Number of the independent repeat of each frame; 0 if not given.
    """
    names = zip(frames, samples or [0] * len(frames), strict=True)
    states = [np.random.SeedSequence([seed, *name]).generate_state(1, np.uint64)[0] for name in names]
    return _begun([int(state >> np.uint64(1)) for state in states])


def _begun(seeds: Sequence[int]) -> RandomNumbers:
    return RandomNumbers(tuple(torch.Generator().manual_seed(seed) for seed in seeds))

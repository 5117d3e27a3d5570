"""Whether frames are made of what is remembered of others, and what they then take: found out on a few.

The first frames are sampled in full.  Each is recalled as well, from the others, and its energy of torsions
and pairs compared.  Where that ends no higher, all other frames are recalled, in as many sweeps as it took.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.clock import Clock
from dbm_gmx.forcefield.equilibrium import SLOW_SCATTER, scatter_of
from dbm_gmx.sampling.arrays import Configuration
from dbm_gmx.sampling.chain import Convergence, advance, start_chain, sweep_windows
from dbm_gmx.sampling.memory import Fragments, Memory, Recollection, remember
from dbm_gmx.sampling.preparation import ROUNDS, SWEPT
from dbm_gmx.sampling.random_numbers import Stream, Use, preparation_stream
from dbm_gmx.sampling.sampler import (
    Effort,
    Sampler,
    configure,
    offer,
    place_recalled,
    recall_frame,
    start_recalled,
)

log = logging.getLogger(__name__)

FILLED = 4
"""Frames that are remembered, and say what recalling is worth."""

WORTH = 8
"""Frames of a run from which on a memory may pay."""

STARTED, WORTH_STARTED = 2, 5
"""The same where a memory of another run is there: frames that say what recalling is worth, and of a run."""

SWEEPS, FEWEST, EVERY = 32, 14, 2
"""Sweeps of a trial, and how many a recalled frame takes at least; means are taken over so many.

Four frames scatter by what eight sweeps leave: polystyrene of OPLS-AA ended .010 kT per atom above
independent starts after eight, .005 after fourteen (torsions and pairs, six runs of four frames)."""

SPARED = 2
"""Recalled frames have one of so many of the rounds of offers and sweeps with windows of others at most, or
are not worth it."""

UNUSUAL = 2.0
"""Times the misfit of the frames tried: beads of a frame with more are too unlike those remembered."""

Done = Mapping[int, tuple[Float32Array, Convergence]]
"""Frames by index, as a sampler returns them."""


@dataclass(frozen=True, eq=False)
class Remembered:
    """What came of sampling a few frames in full.

    Attributes
    ----------
    done
        These frames.
    excess
        Torsions and pairs of recalled frames above those of the same ones sampled in full, kT per atom.
    misfit
        nm, of their beads.
    how
        The others are made, if they are to be recalled.
    memory
        Of these frames, and of those it began with.
    file
        What the memory began with, in words.
    """

    done: Done
    excess: float
    misfit: float
    how: Recollection | None = None
    memory: Memory = field(default_factory=dict)
    file: str = ""

    def line(self) -> str:
        """Say it."""
        how = self.how
        if how is None:
            return (
                f"not used: torsions and pairs of recalled frames end {self.excess:+.3f} kT per atom above "
                f"those of frames sampled in full (misfit {self.misfit:.3f} nm)"
            )
        before = f"{how.offers} round{'s' if how.offers > 1 else ''} of offers, " if how.offers else ""
        before += f"{how.windows} sweeps with windows and " if how.windows else ""
        source = " and ".join(filter(None, [self.file, f"{len(self.done)} frames" if self.done else ""]))
        return (
            f"of {source} (misfit {self.misfit:.3f} nm): {'others' if self.done else 'frames'} are recalled, "
            f"with {before}{how.sweeps} sweeps, and their torsions and pairs end {self.excess:+.3f} kT per "
            "atom above those of frames sampled in full"
        )


def make_recollection(
    sampler: Sampler, frames: Sequence[Frame], before: Memory | None = None
) -> tuple[Sampler, Remembered]:
    """Sample a few frames in full, and see whether others can be made of them.

    Parameters
    ----------
    sampler
        Without a recollection.
    frames
        Whole beads of two frames at least.
    before
        What is remembered of another run: then the first frame is recalled as well.

    Returns
    -------
    A sampler that recalls frames if that is worth it, and what was found out.
    """
    stream = preparation_stream(sampler.settings.seed).of(Use.MEMORY)
    done = dict[int, tuple[Float32Array, Convergence]]()
    memory = dict[str, Fragments](before or {})
    for number, beads in enumerate(frames):
        done[beads.index] = positions, _ = sampler(beads)
        memory |= remember(sampler.system, positions, beads, memory, stream.of(0, number))
    trials = [  # of the others: a frame never recalls itself
        _recalled(sampler, memory, beads, done[beads.index], stream.of(1, number))
        for number, beads in enumerate(frames)
    ]
    enough = 0.5 * sampler.settings.tolerance
    far = sampler.settings.tolerance + scatter_of(sampler.system.n_atoms, SLOW_SCATTER)
    first = list[_Recalled]()
    for one in trials[0]:
        first.append(one)
        if one.excess < enough:
            break
    if any(sampler.effort) and first[-1].excess > far:
        # offers and windows take long, and the mean of all would not be low enough
        return sampler, Remembered(done, first[-1].excess, first[-1].misfit, memory=memory)
    for all_of_them in zip(chain(first, trials[0]), *trials[1:], strict=True):
        misfit = float(np.mean([one.misfit for one in all_of_them]))
        excess = float(np.mean([one.excess for one in all_of_them]))
        log.info("%s", " ".join(["recalled:", *map(str, all_of_them)]))
        if excess < enough and np.isfinite(misfit):
            sweeps = _enough(np.mean([one.energies for one in all_of_them], axis=0), enough)
            steps = done[frames[-1].index][1].steps
            offers, windows = all_of_them[0].tried
            how = Recollection(memory, offers, windows, sweeps, UNUSUAL * misfit, steps)
            return replace(sampler, recollection=how), Remembered(done, excess, misfit, how, memory)
    return sampler, Remembered(done, excess, misfit, memory=memory)


class _Recalled(NamedTuple):
    """A frame recalled, with some offers and windows.

    Attributes
    ----------
    misfit
        nm.
    tried
        Rounds of offers and sweeps with windows.
    excess
        Torsions and pairs above those of the frame sampled in full, kT per atom.
    energies
        Of the sweeps that followed, kT per atom.
    """

    misfit: float
    tried: tuple[int, int]
    excess: float
    energies: FloatArray

    def __str__(self) -> str:
        offers, windows = self.tried
        return f"{self.excess:+.4f} kT per atom ({offers} offers, {windows} windows)"


def _recalled(
    sampler: Sampler,
    memory: Memory,
    beads: Frame,
    full: tuple[Float32Array, Convergence],
    stream: Stream,
) -> Iterator[_Recalled]:
    """Recall a frame, and follow its energy with ever more offers and windows, half of what others have."""
    atoms, steps = full[0], full[1].steps
    known = _follow(
        sampler, configure(sampler, atoms.astype(np.float64), beads), steps, stream.of(Use.SWEEPS)
    )
    found, done = recall_frame(sampler, memory, beads, stream), 0
    conf, _ = place_recalled(sampler, beads, found, stream, Clock())
    for offers, windows in _ladder(sampler.effort):
        if not windows:
            offer(sampler, conf, beads, range(done, offers), stream)
            done = offers
            here = configure(sampler, conf.positions.copy(), beads, conf.neighbours)
            begun = start_recalled(sampler, steps, here, beads, stream, found.complete, offers)
        sweep_windows(begun, windows, stream, sampler.team)
        # from there on as a frame of the run, while that chain itself goes on to more windows
        there = configure(sampler, begun.conf.positions.copy(), beads, begun.conf.neighbours)
        swept = _follow(sampler, there, steps, stream.of(windows))
        yield _Recalled(found.misfit, (offers, windows), swept.slow - known.slow, swept.energies)


def _ladder(effort: Effort) -> list[tuple[int, int]]:
    """Rounds of offers and sweeps with windows that recalled frames are tried with, one after the other."""
    offers = [0, *(n for n in (1, *ROUNDS) if SPARED * n <= effort.offers)]
    windows = [n for n in SWEPT if SPARED * n <= effort.windows]
    return [*((n, 0) for n in offers), *((offers[-1], n) for n in windows)]


class _Followed(NamedTuple):
    """Sweeps of a trial: torsions and pairs in the last half, energies (sweeps,) of all; kT per atom."""

    slow: float
    energies: FloatArray


def _follow(sampler: Sampler, conf: Configuration, steps: FloatArray, stream: Stream) -> _Followed:
    """Sweep a frame, which changes."""
    chain, slow = start_chain(conf, steps), list[float]()
    for number in range(SWEEPS):
        advance(chain, stream, sampler.team)
        if number >= SWEEPS // 2:
            slow.append(chain.slow_energy)
    unit = sampler.hamiltonian.kt * sampler.system.n_atoms
    return _Followed(float(np.mean(slow)), np.array(chain.energies[-SWEEPS:]) / unit)


def _enough(series: FloatArray, tolerance: float) -> int:
    """Sweeps after which the energy (sweeps,) is where it ends: within a tolerance, or within its noise."""
    first, last = np.split(series.reshape(-1, EVERY).mean(axis=1), 2)
    off = np.flatnonzero(np.abs(first - last.mean()) > max(tolerance, 2.0 * last.std(ddof=1)))
    return max(FEWEST, EVERY * (int(off[-1]) + 2)) if len(off) else FEWEST

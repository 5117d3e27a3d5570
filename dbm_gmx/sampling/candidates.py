"""What molecules, or windows of them, are offered for exchange: conformers that each may have, by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.sampling.annealing import Copies, Schedule
from dbm_gmx.sampling.growth import Grower, Molecules, bring_down, energy_of, grow_window, take
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.windows import Group

SAME = 0.05
"""Atoms of one conformer are less far apart, nm."""

OFFERED, IN_A_ROUND = (48, 1), 8
"""Conformers offered of a molecule that is one window, and of each window of one that is not; and of each
wide window in a round of offers."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Conformers that molecules may have, each for itself.

    Attributes
    ----------
    group
        The windows in question.
    copies
        These windows of the molecules as they are, the windows of one molecule one after the other.
    conformers, energy
        (copies, k, a, 3) nm of the atoms that move, the present one first, and (copies, k) kJ/mol; infinite
        for duplicates, so that frequent finds are not over-weighted.
    """

    group: Group
    copies: Copies
    conformers: FloatArray
    energy: FloatArray

    def some(self, rows: IntArray) -> Candidates:
        """Some of the copies."""
        return Candidates(self.group, self.copies.some(rows), self.conformers[rows], self.energy[rows])

    def stored(self) -> Candidates:
        """The same in half of the memory, in single precision."""
        return replace(self, conformers=self.conformers.astype(np.float32))


def find_candidates(
    grower: Grower,
    group: Group,
    count: int,
    molecules: Molecules,
    positions: FloatArray,
    stream: Stream,
    rows: IntArray | None = None,
) -> Candidates:
    """Conformers that the windows of a group might have, the present one first.

    Parameters
    ----------
    grower, molecules
        As for :func:`grow`.
    group, count
        The windows, and how many conformers each is offered.
    positions
        (copies, n, 3) nm, as grown.
    stream
        Random numbers of the group.
    rows
        Windows that are offered any, the windows of one molecule one after the other; else all are.
    """
    copies = take(group, molecules, positions)
    return distinct(grower, group, copies, *grow_many(grower, group, count, molecules, copies, stream, rows))


def grow_many(
    grower: Grower,
    group: Group,
    count: int,
    molecules: Molecules,
    copies: Copies,
    stream: Stream,
    rows: IntArray | None = None,
    schedule: Schedule | None = None,
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Conformers (copies, a, 3) and energies (copies,) of windows: the present ones, and so many grown."""
    conformers, energies = [copies.positions[:, group.arrays.free]], [energy_of(group, copies)]
    for attempt in range(count):
        trial = copies._replace(positions=copies.positions.copy())
        energies.append(grow_window(grower, group, molecules, trial, stream.of(attempt), rows, schedule))
        conformers.append(trial.positions[:, group.arrays.free])
    return conformers, energies


def distinct(
    grower: Grower,
    group: Group,
    copies: Copies,
    conformers: Sequence[FloatArray],
    energies: Sequence[FloatArray],
) -> Candidates:
    """Candidates of k conformers (copies, a, 3) and energies (copies,), each of which counts once."""
    inner, once = np.isin(group.atoms[0, group.arrays.free], grower.skeleton), list[FloatArray]()
    for number, (found, energy) in enumerate(zip(conformers, energies, strict=True)):
        for other, known in zip(conformers[:number], once, strict=True):
            apart = np.linalg.norm(found[:, inner] - other[:, inner], axis=2).max(axis=1, initial=0.0)
            energy = np.where((apart < SAME) & (known < np.inf), np.inf, energy)
        once.append(energy)
    return Candidates(group, copies, np.stack(conformers, axis=1), np.stack(once, axis=1))


def as_candidates(grower: Grower, molecules: Molecules, offered: FloatArray, stream: Stream) -> Candidates:
    """Conformers (k, copies, n, 3) from elsewhere, nm, of molecules that are one window, at their minima."""
    group, conformers, energies = grower.whole, list[FloatArray](), list[FloatArray]()
    for positions in offered:
        copies, energy = bring_down(grower, molecules, positions, stream)
        energies.append(energy)
        conformers.append(copies.positions[:, group.arrays.free])
    return distinct(grower, group, copies, conformers, energies)

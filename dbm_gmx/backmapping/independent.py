"""Frames beside an independent start of the same beads: whether they are at equilibrium.

That the energy of one chain no longer changes proves nothing: it may be caught.  A second one is begun anew,
with other random numbers and more of all that is done to a frame.  Both have the same energy, term by term,
if both are at equilibrium.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.forcefield.block_energies import block_energies
from dbm_gmx.forcefield.equilibrium import ERRORS, EnergyDifference, compare_energies, scatter_of
from dbm_gmx.sampling.preparation import ROUNDS, SWEPT
from dbm_gmx.sampling.sampler import Effort, Sampler

CHECKED = frozenset([0, *(10**k for k in range(1, 10))])
"""Numbers of the frames of a run that are begun anew, however large they are."""

MOST = 3
"""Frames that are begun anew early in a run, at most: where windows are needed, one costs twice a frame."""

SAMPLE = 1 << 20
"""Number of the sample that is drawn: a reconstruction to be checked has none of so high a number."""

LONGER, LEAST = 2, 1000
"""Times the rounds of offers, the steps of annealing and the sweeps with windows (of rounds and sweeps never
more than are tried of a frame), and so many of the steps at least where there are no offers.

Short annealing loses some of what offers have found: torsions and pairs of united-atom C32 were
-.001 +- .009 kT per atom from the atoms, and independent starts, annealed in 1,000 steps after their offers,
ended .087 +- .025 above these."""


def is_begun_anew(number: int, atoms: int, tolerance: float) -> bool:
    """Whether a frame is compared with an independent start; frames count from 0.

    The energies of one small frame scatter by more than the tolerance.  So every second of the first frames
    is taken until their mean can show it, or there are :data:`MOST`.
    """
    needed = min(MOST, math.ceil((ERRORS * scatter_of(atoms) / max(tolerance, 1e-6)) ** 2))
    return number in CHECKED or (number % 2 == 0 and number < 2 * needed)


class Twin(NamedTuple):
    """A frame and an independent reconstruction of it.

    Attributes
    ----------
    names
        Terms of the energy.
    given, made
        (blocks, k) kJ/mol, of the frame and of its reconstruction.
    settled
        Whether the chain of the reconstruction was stationary at the end.
    """

    names: tuple[str, ...]
    given: FloatArray
    made: FloatArray
    settled: bool


def begin_anew(sampler: Sampler, atoms: Frame, beads: Frame, sample: int = SAMPLE) -> Twin:
    """Rebuild a frame from its beads alone, and work out the energies of both.

    Parameters
    ----------
    sampler
        That of the run.
    atoms, beads
        The frame.
    sample
        Number of the sample that is drawn, for its random numbers.

    Raises
    ------
    InputError
        If a cut-off exceeds half of the shortest lattice vector.
    """
    system, conditions = sampler.system, sampler.hamiltonian.conditions
    given = block_energies(system, atoms, conditions)
    positions, convergence = annealed_longer(sampler)(beads, sample=sample)
    made = block_energies(system, replace(atoms, positions=positions), conditions)
    return Twin(given.names, given.values, made.values, convergence.converged)


def begin_until_clear(
    sampler: Sampler, atoms: Frame, beads: Frame, again: Callable[[int], Float32Array], tolerance: float
) -> tuple[Twin, ...]:
    """Begin a frame anew; where energies seem to differ, make the frame once more, and begin that anew too.

    Energies of two starts at equilibrium differ by chance beyond the limit of :meth:`sums_beyond
    <dbm_gmx.forcefield.equilibrium.EnergyDifference.sums_beyond>` in four runs of a hundred.  With a
    second look at frames that are in doubt these are 1.6, for 7 % more starts, and a true difference is seen
    more often.

    Parameters
    ----------
    sampler, atoms, beads
        As for :func:`begin_anew`.
    again
        Gives positions (n, 3) nm of the frame, made as it was, by the number of a sample.
    tolerance
        kT per atom: a difference that counts as none.

    Raises
    ------
    InputError
        As :func:`begin_anew`.
    """
    first = begin_anew(sampler, atoms, beads)
    against = compare_twins([first], atoms=len(atoms.positions), kt=sampler.hamiltonian.kt)
    if not against.sums_beyond(tolerance, looks=1):
        return (first,)
    made = replace(atoms, positions=again(SAMPLE + 1))
    return first, begin_anew(sampler, made, beads, SAMPLE + 2)


def annealed_longer(sampler: Sampler) -> Sampler:
    """The same without a memory, with more of all that is done to a frame; annealed, if nothing is."""
    offers, annealing, windows = sampler.effort
    swept = max(windows, min(LONGER * windows, SWEPT[-1]))
    rounds = max(offers, min(LONGER * offers, ROUNDS[-1]))
    effort = Effort(rounds, max(0 if offers else LEAST, LONGER * annealing), swept)
    return replace(sampler, effort=effort, recollection=None)


def compare_twins(twins: Sequence[Twin], *, atoms: int, kt: float) -> EnergyDifference:
    """Energies of frames less those of independent starts.

    Parameters
    ----------
    twins
        One at least.
    atoms
        In a frame.
    kt
        Thermal energy, kJ/mol.
    """
    given, made = (np.concatenate([getattr(twin, name) for twin in twins]) for name in ("given", "made"))
    mean = atoms * len(twins) / len(given)
    return compare_energies(given, made, twins[0].names, atoms=mean, kt=kt, paired=True)

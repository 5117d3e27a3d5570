"""Two sets of configurations compared by their energies, term by term, with errors.

This is what `at equilibrium` means in this package: no term of the energy differs by more than chance allows.
``evaluate`` compares atoms with a reference, a test for convergence compares two independent starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import harmonic_mean

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray
from dbm_gmx.forcefield.terms import STIFF

TOTAL, SLOW = "total", "torsions and pairs"
"""Names of the sum of all terms, and of that of all but bonds and angles.

What is caught is a torsion, or a neighbour.  Bonds and angles know little of it, and scatter twice as much as
all the rest: without them a comparison shows differences half as large."""

SUMS = (TOTAL, SLOW)
"""Both, the first to be said first."""

ERRORS = 2.0
"""Errors beyond which a difference is no chance."""

SCATTER, SLOW_SCATTER = 0.9, 0.4
"""Energies of independent samples of n atoms scatter by so many kT per atom over the root of n: the total
(seen in polystyrene; the heat capacity of a harmonic system gives 1.2), and torsions and pairs (nylon-6)."""


def scatter_of(atoms: float, scatter: float = SCATTER) -> float:
    """Error of the difference of two independent energies of so many atoms, kT per atom."""
    return float(scatter * (2.0 / atoms) ** 0.5)


@dataclass(frozen=True, eq=False)
class EnergyDifference:
    """Energies of one set of configurations less those of another, kT per atom.

    Attributes
    ----------
    names
        (k,) terms, and at last the two of :data:`SUMS`.
    first, second
        (k,) means of the two sets.
    difference, error
        (k,) first less second, and its standard error; not a number where a set has a single sample.
    degrees
        Degrees of freedom of the error.
    least
        (k,) errors that so many atoms have at least: two or three samples may agree by chance.
    """

    names: tuple[str, ...]
    first: FloatArray
    second: FloatArray
    difference: FloatArray
    error: FloatArray
    degrees: float
    least: FloatArray

    def reach(self, looks: int = 1) -> FloatArray:
        """(k,) differences up to which chance explains all.

        That is :data:`ERRORS` errors, more where few samples say what the error is (Student's t), and where
        so many ``looks`` at different terms give chance as many occasions (Bonferroni).
        """
        if not self.degrees > 0:
            return np.full(len(self.names), np.nan)
        chance = ndtr(-ERRORS) / looks
        found, known = self.error * -stdtrit(self.degrees, chance), self.least * -ndtri(chance)
        return np.asarray(np.maximum(found, known), np.float64)

    def beyond(self, limit: float, looks: int = 1) -> BoolArray:
        """(k,) differences larger than ``limit``, kT per atom, that chance does not explain."""
        size = np.abs(self.difference)
        return np.asarray((size > limit) & (size > self.reach(looks)), np.bool_)

    def sums_beyond(self, limit: float, looks: int = len(SUMS)) -> tuple[str, ...]:
        """Which of the two sums differ by more than ``limit``, kT per atom, and by more than chance.

        With a single look chance is what it is for one of them.
        """
        off = self.beyond(limit, looks)
        return tuple(name for name in SUMS if off[self.names.index(name)])

    @property
    def shown(self) -> float:
        """The smallest difference in torsions and pairs that is no chance, kT per atom."""
        return float(self.reach(len(SUMS))[self.names.index(SLOW)])

    def row(self, name: str) -> tuple[float, float]:
        """Difference and error of a term, kT per atom."""
        k = self.names.index(name)
        return float(self.difference[k]), float(self.error[k])


def compare_energies(
    first: FloatArray, second: FloatArray, names: Sequence[str], *, atoms: float, kt: float, paired: bool
) -> EnergyDifference:
    """Compare two sets of energies.

    Parameters
    ----------
    first, second
        (a, k) and (b, k) kJ/mol of k terms in independent samples: frames, molecules, or parts of them.
    names
        (k,) terms.
    atoms
        Atoms of a sample, the mean where they differ.
    kt
        Thermal energy, kJ/mol.
    paired
        Whether row i of both is of the same beads: then differences are taken row by row, and what both
        have in common adds nothing to the error.

    Raises
    ------
    ValueError
        If a set is empty, or paired sets differ in size.
    """
    one, other = (with_sums(values, names) / (kt * atoms) for values in (first, second))
    if not len(one) or not len(other) or (paired and len(one) != len(other)):
        raise ValueError(f"{len(one)} samples cannot be compared with {len(other)}")
    means = one.mean(axis=0), other.mean(axis=0)
    if paired:
        error, degrees = _standard_error(one - other), len(one) - 1.0
    else:
        both = _standard_error(one), _standard_error(other)
        error, degrees = np.hypot(*both), _welch(both, (len(one), len(other)))
    least = np.zeros(len(error))  # of single terms nothing is known
    sampled = atoms * harmonic_mean((len(one), len(other)))
    least[-2:] = scatter_of(sampled, SLOW_SCATTER), scatter_of(sampled)
    return EnergyDifference((*names, SLOW, TOTAL), *means, means[0] - means[1], error, degrees, least)


def with_sums(values: FloatArray, names: Sequence[str]) -> FloatArray:
    """(n, k + 2) with the sums :data:`SLOW` and :data:`TOTAL` of the terms (n, k) as the last columns."""
    energies = np.asarray(values, np.float64)
    slow = [name not in STIFF for name in names]
    return np.column_stack([energies, energies[:, slow].sum(axis=1), energies.sum(axis=1)])


def _standard_error(values: FloatArray) -> FloatArray:
    """(k,) of the means of (n, k); not a number for a single row."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1], np.nan)
    return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(n), np.float64)


def _welch(errors: tuple[FloatArray, FloatArray], sizes: tuple[int, int]) -> float:
    """Degrees of freedom of the error of the total between two samples (Welch, Biometrika 34, 28, 1947)."""
    if min(sizes) < 2:
        return 0.0
    squares = [float(error[-1]) ** 2 for error in errors]
    down = sum(square**2 / (size - 1) for square, size in zip(squares, sizes, strict=True))
    return sum(squares) ** 2 / down if down > 0 else float(sum(sizes) - 2)

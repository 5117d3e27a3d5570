"""Distributions of bonds, angles and dihedrals per class of interaction, and how far two are apart.

A class is a kind of term between the same atom types (Figs 2 and 3 of the paper, Table S1): all angles
C-C-H, whatever their parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.special import rel_entr

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.energy import FORMS, harmonic_angle, points_of
from dbm_gmx.options import Conditions

RANGES = {
    "bond": (0.05, 0.35, 150),
    "angle": (60.0, 180.0, 120),
    "dihedral": (-180.0, 180.0, 120),
    "improper": (-180.0, 180.0, 120),
}
"""Bins of the histograms: from, to (nm, degrees), how many; what lies outside goes to the last ones."""

UNITS = {"bond": "nm", "angle": "degrees", "dihedral": "degrees", "improper": "degrees"}

MEASURES = {
    "bond": FORMS["bonds", 1].measure,
    "angle": FORMS["angles", 1].measure,
    "dihedral": FORMS["dihedrals", 1].measure,
    "improper": FORMS["dihedrals", 1].measure,
}

TermClass = tuple[str, str]
"""Part (one of :data:`RANGES`) and atom types joined by ``-``."""

Potential = tuple[tuple[str, int, tuple[float, ...]], ...]
"""All terms between the same atoms: directive, function, parameters."""


@dataclass(frozen=True, eq=False)
class Members:
    """Terms of one class in a molecule type.

    Attributes
    ----------
    atoms
        (k, m) rows, each interaction once however many terms it has.
    potentials
        Their force field, and how many interactions have it.
    """

    atoms: IntArray
    potentials: dict[Potential, int]


@lru_cache(maxsize=64)
def term_classes(moltype: MoleculeType) -> dict[TermClass, Members]:
    """Terms of a molecule type by their classes, in the order of the file."""
    types = [str(t) for t in moltype.attribute("type")]
    found: dict[TermClass, dict[tuple[int, ...], list[tuple[str, int, tuple[float, ...]]]]] = {}
    for terms in moltype.terms:
        part = part_of(terms.directive, terms.function)
        if not part:
            continue
        for atoms, parameters in zip(terms.atoms.tolist(), terms.parameters.tolist(), strict=True):
            names = [types[i] for i in atoms]
            row = tuple(atoms if names <= names[::-1] else atoms[::-1])
            key = part, "-".join(min(names, names[::-1]))
            term = (terms.directive, terms.function, tuple(parameters))
            found.setdefault(key, {}).setdefault(row, []).append(term)
    return {key: _members(rows) for key, rows in found.items()}


def _members(rows: dict[tuple[int, ...], list[tuple[str, int, tuple[float, ...]]]]) -> Members:
    potentials: dict[Potential, int] = {}
    for terms in rows.values():
        potentials[tuple(terms)] = potentials.get(tuple(terms), 0) + 1
    return Members(np.array(list(rows), np.int64), potentials)


def part_of(directive: str, function: int) -> str:
    """Where a term belongs among the distributions; nowhere: the empty text."""
    if directive == "dihedrals":
        return "improper" if function in (2, 4) else "dihedral"
    return {"bonds": "bond", "constraints": "bond", "angles": "angle"}.get(directive, "")


def term_values(
    system: System, atoms: torch.Tensor, lattice: Lattice | None = None
) -> dict[TermClass, FloatArray]:
    """Lengths (nm) and angles (degrees) of all terms of a frame, by class.

    Parameters
    ----------
    system
        The system.
    atoms
        (n, 3) nm, molecules whole.
    lattice
        Where molecules are bonded to images of their own.

    Returns
    -------
    (k,) each.  Impropers are without sign, which depends on the order of the atoms; mirror images
    are counted as stereocentres instead.
    """
    found: dict[TermClass, list[FloatArray]] = {}
    for match in system.matches:
        rows = match.molecules(atoms)
        for key, members in term_classes(match.moltype).items():
            (values,) = MEASURES[key[0]](points_of(rows, members.atoms, lattice))
            values = values if key[0] == "bond" else torch.rad2deg(values)
            values = values.abs() if key[0] == "improper" else values
            found.setdefault(key, []).append(values.flatten().numpy())
    return {key: np.concatenate(parts) for key, parts in found.items()}


def edges(part: str) -> FloatArray:
    """Edges of the bins of a part (:data:`RANGES`)."""
    low, high, bins = RANGES[part]
    return np.linspace(low, high, bins + 1)


def histogram(values: FloatArray, low: float, high: float, bins: int) -> FloatArray:
    """(bins,) counts; what lies outside goes to the first or last bin."""
    inside = np.clip(values, low, high - 1e-9 * (high - low))
    return np.histogram(inside, bins, (low, high))[0].astype(np.float64)


def term_histograms(values: dict[TermClass, FloatArray]) -> dict[TermClass, FloatArray]:
    """Histograms of :func:`term_values`."""
    return {key: histogram(v, *RANGES[key[0]]) for key, v in values.items()}


def jensen_shannon(p: FloatArray, q: FloatArray) -> FloatArray:
    """Jensen-Shannon divergence of histograms (..., k), base 2: 0 for the same, 1 for disjoint ones."""
    p, q = (counts / counts.sum(axis=-1, keepdims=True) for counts in (p, q))
    mean = (p + q) / 2
    apart = np.where(mean > 0.0, rel_entr(p, mean) + rel_entr(q, mean), 0.0)  # half of the least number is 0
    return np.maximum(np.asarray(apart.sum(axis=-1) / np.log(2), np.float64) / 2, 0)


def divergences(
    one: Sequence[dict[TermClass, FloatArray]], other: Sequence[dict[TermClass, FloatArray]]
) -> dict[TermClass, float]:
    """Divergence of each class between the histograms of some frames and those of some others."""
    sums = [{key: sum(frame[key] for frame in frames) for key in frames[0]} for frames in (one, other)]
    return {key: float(jensen_shannon(np.asarray(p), np.asarray(sums[1][key]))) for key, p in sums[0].items()}


def mean_divergences(found: dict[TermClass, float]) -> dict[str, float]:
    """Mean over the classes of each part."""
    parts = dict.fromkeys(part for part, _ in found)
    return {p: float(np.mean([v for (part, _), v in found.items() if part == p])) for p in parts}


# --- what the terms alone would make of it -----------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Expected:
    """The distribution of a class if each of its terms were alone.

    Attributes
    ----------
    weights
        (bins,) adding up to one.
    mean, spread
        nm or degrees; of dihedrals they say little.
    """

    weights: FloatArray
    mean: float
    spread: float

    def of_well(self, part: str, value: float, width: float) -> tuple[float, float]:
        """Mean and spread of the well that values are in, or of all of it if they are wider than one.

        A periodic improper has several wells of the same depth, and a molecule is in one of them.
        """
        if width > 0.5 * self.spread:
            return self.mean, self.spread
        steps = np.diff(edges(part))
        centres = edges(part)[:-1] + steps / 2
        apart = np.where(self.weights > 1e-6 * self.weights.max(), np.abs(centres - value), np.inf)
        first = int(apart.argmin())
        for step in (-1, 1):  # uphill
            while 0 <= first + step < len(centres) and self.weights[first + step] > self.weights[first]:
                first += step
        last = first
        while first > 0 and self.weights[first - 1] <= self.weights[first]:
            first -= 1
        while last < len(centres) - 1 and self.weights[last + 1] <= self.weights[last]:
            last += 1
        x, weights = centres[first : last + 1], self.weights[first : last + 1]
        mean = float(np.average(x, weights=weights))
        return mean, float(np.sqrt(np.average((x - mean) ** 2, weights=weights)))


OF_SEVERAL = {("angles", 3), ("angles", 4), ("dihedrals", 11)}
"""Terms of several lengths and angles."""

FINE = 20
"""Points in a bin on which the Boltzmann factor is taken."""


def expected_distributions(system: System, conditions: Conditions) -> dict[TermClass, Expected]:
    """Boltzmann distributions of the terms alone at the temperature of the conditions, by class.

    The density of states goes with r^2 for a bond and with sin(theta) for an angle.  Bonds that the
    conditions or the topology constrain are at their length.
    """
    kt = GAS * conditions.temperature
    potentials: dict[TermClass, dict[Potential, int]] = {}
    for match in system.matches:
        for key, members in term_classes(match.moltype).items():
            counts = potentials.setdefault(key, {})
            fixed = key[0] == "bond" and _are_fixed(match.moltype, members, conditions.constraints)
            for potential, count in members.potentials.items():
                held = tuple(("constraints", 1, term[2]) for term in potential) if fixed else potential
                counts[held] = counts.get(held, 0) + count * match.count
    return {key: _expected(key[0], counts, kt) for key, counts in potentials.items()}


def _are_fixed(moltype: MoleculeType, members: Members, constraints: str) -> bool:
    """Whether bonds of a class keep their length (``constraints`` of an ``.mdp``)."""
    held, _ = fixed_bonds(moltype, constraints)
    return bool((held == np.sort(members.atoms[0])).all(axis=1).any())


def _expected(part: str, potentials: dict[Potential, int], kt: float) -> Expected:
    low, high, bins = RANGES[part]
    x = low + (np.arange(bins * FINE) + 0.5) * (high - low) / (bins * FINE)
    total = np.zeros_like(x)
    for potential, count in potentials.items():
        total += count * _boltzmann(part, potential, x, kt)
    shown = np.abs(x) if part == "improper" else x
    total /= total.sum()
    mean = float(total @ shown)
    weights = np.histogram(shown, bins, (low, high), weights=total)[0]
    return Expected(weights, mean, float(np.sqrt(total @ (shown - mean) ** 2)))


def _boltzmann(part: str, potential: Potential, x: FloatArray, kt: float) -> FloatArray:
    """(k,) Boltzmann weights, adding up to one, of a length (nm) or an angle (degrees)."""
    if all(directive == "constraints" for directive, *_ in potential):
        return np.asarray(np.eye(len(x))[np.abs(x - potential[0][2][0]).argmin()])
    value = torch.from_numpy(x if part == "bond" else np.radians(x))
    energy = sum((_energy(term, value) for term in potential), torch.zeros_like(value)).numpy()
    factor = np.exp((energy.min() - energy) / kt)
    states = {"bond": x**2, "angle": np.sin(np.radians(x))}.get(part, np.ones_like(x))
    return np.asarray(factor * states / (factor * states).sum())


def _energy(term: tuple[str, int, tuple[float, ...]], value: torch.Tensor) -> torch.Tensor:
    """Energy of a term by its length or angle (radians)."""
    directive, function, parameters = term
    given = [torch.tensor(p, dtype=value.dtype) for p in parameters]
    if (directive, function) == ("angles", 5):  # without the distance of the ends
        return harmonic_angle(value, *given[:2])
    if (directive, function) not in FORMS or (directive, function) in OF_SEVERAL:
        return torch.zeros_like(value)
    if (directive, function) == ("angles", 2):
        value = value.cos()
    elif (directive, function) == ("dihedrals", 8):
        value = value + math.pi
    return FORMS[directive, function].potential(value, *given)

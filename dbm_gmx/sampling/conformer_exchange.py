"""Shapes of molecules chosen among their neighbours, compiled.

Beads that allow several shapes of a molecule leave the choice to its energy and to the molecules around
it.  Of the shapes each one was offered one is drawn, molecule after molecule, with the probability that
its energy has among the shapes the others have just then (Gibbs sampling).  First shapes are taken as they
are, with bounds on the energies of pairs, for a contact costs no more than what moving a little apart
would.  Then each one is brought to its minimum there, neighbours standing still: the energies compared
are those of inherent structures (Stillinger and Weber, Phys. Rev. A 25, 978, 1982).  Who was offered one
shape only stays as it is.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.compiled import compiled, serial_and_parallel
from dbm_gmx.sampling.annealing import descend, window_energy
from dbm_gmx.sampling.arrays import Numbers, Tables
from dbm_gmx.sampling.growth import Offer
from dbm_gmx.sampling.neighbours import Place, image, near_any
from dbm_gmx.sampling.surroundings import REACH, SKIN, feel, make_field

WORTH = 6.0  # kT above the lowest, of shapes that are tried
STEPS = 60  # to the minimum
NEAR, BOUND = 0.6, 2.0  # nm, kT: how far pairs count for shapes as they are, and the most one does
ROUNDS = 5, 2  # times every molecule chooses: among shapes as they are, and brought to their minima


@compiled()
def _neighbours(place: Any, tables: Any, first: int, owners: Any, low: Any, high: Any, around: Any) -> int:
    """Atoms of other molecules near those that the beads ``owners`` own, between two corners.

    Fills ``around`` with rows of x, y, z and the atom, as far as it reaches.  Returns how many there are.
    """
    molecule, k = tables.molecule[first], 0
    for q in near_any(place, owners):
        begin, end = tables.holder_start[place.near[q]], tables.holder_start[place.near[q] + 1]
        if begin == end or tables.molecule[tables.holder[begin]] == molecule:
            continue
        sx, sy, sz = image(place, place.shift[q])
        for r in range(begin, end):
            atom = tables.holder[r]
            x = place.positions[atom, 0] + sx
            y = place.positions[atom, 1] + sy
            z = place.positions[atom, 2] + sz
            if x < low[0] or y < low[1] or z < low[2] or x > high[0] or y > high[1] or z > high[2]:
                continue
            if k < len(around):
                around[k, 0], around[k, 1], around[k, 2], around[k, 3] = x, y, z, atom
            k += 1
    return k


@compiled()
def _pairs(tables: Any, numbers: Any, atoms: Any, shape: Any, around: Any, n: int) -> float:
    """Energy of ``atoms`` at ``shape`` with those around, pair by pair within bounds, kJ/mol."""
    total, bound = 0.0, BOUND * numbers.kt
    for q in range(len(atoms)):
        kind, charge = tables.type[atoms[q]], tables.charge[atoms[q]]
        for j in range(n):
            dx, dy, dz = around[j, 0] - shape[q, 0], around[j, 1] - shape[q, 1], around[j, 2] - shape[q, 2]
            r2 = dx * dx + dy * dy + dz * dz
            if r2 >= NEAR * NEAR:
                continue
            other = int(around[j, 3])
            i6 = 1.0 / max(r2, 1e-3) ** 3
            energy = (tables.c12[kind, tables.type[other]] * i6 - tables.c6[kind, tables.type[other]]) * i6
            if numbers.charged:
                qq = charge * tables.charge[other]
                energy += qq * (1.0 / math.sqrt(max(r2, 1e-3)) + numbers.k_rf * r2 - numbers.c_rf)
            total += min(max(energy, -bound), bound)
    return total


@compiled()
def _bounded(
    tables: Any, numbers: Any, first: int, free: Any, around: Any, n: int, shapes: Any, energy: Any
) -> None:
    """Add the bounded energies of shapes with the n atoms around to their own."""
    for k in range(len(shapes)):
        energy[k] += _pairs(tables, numbers, first + free, shapes[k], around, n)


def _relax(
    tables: Any,
    script: Any,
    window: int,
    kt: float,
    molecule: int,
    beads: Any,
    chirality: Any,
    free: Any,
    x: Any,
    around: Any,
    n: int,
    shapes: Any,
    energy: Any,
) -> None:
    """Bring shapes of a molecule to their minima among the n atoms around, in place."""
    for k in nb.prange(len(shapes)):
        y, unused = x.copy(), np.zeros((len(x), 3))
        for q in range(len(free)):
            y[free[q]] = shapes[k, q]
        field = make_field(tables, molecule, free, y, around, n)
        descend(script, window, STEPS, kt, beads, chirality, field, y)
        energy[k] = window_energy(script, window, kt, y, beads) + feel(field, free, y, 0.0, unused)
        for q in range(len(free)):
            shapes[k, q] = y[free[q]]


_relax_alone, _relax_together = serial_and_parallel(_relax)


def choose(
    place: Place,
    tables: Tables,
    numbers: Numbers,
    firsts: IntArray,
    owners: IntArray,
    offer: Offer,
    name: tuple[int, ...],
    *,
    together: bool = True,
) -> None:
    """Give molecules of one type the shapes they have among each other; ``place.positions`` change.

    Parameters
    ----------
    place, tables, numbers
        The frame with all its molecules, and the system.
    firsts, owners
        (copies,) first atom of each molecule; (copies, m) beads that own the atoms in question.
    offer
        What each may be.
    name
        Tells the random numbers from others.
    together
        On all threads, or on the one that calls, with the same result.
    """
    rng = np.random.default_rng(name)
    relax, chirality = _relax_together if together else _relax_alone, offer.chirality.astype(np.float64)
    around = np.empty((2048, 4))
    tried = offer.cost < offer.cost.min(axis=1, keepdims=True) + WORTH * numbers.kt
    choosy = np.flatnonzero(tried.sum(axis=1) > 1)
    for turn in range(sum(ROUNDS)):
        for copy in choosy:
            first = firsts[copy]
            shapes = offer.shapes[copy, tried[copy]]
            corners = shapes.min(axis=(0, 1)) - REACH - SKIN, shapes.max(axis=(0, 1)) + REACH + SKIN
            n = _neighbours(place, tables, first, owners[copy], *corners, around)
            if n > len(around):
                around = np.empty((2 * n, 4))
                n = _neighbours(place, tables, first, owners[copy], *corners, around)
            energy = offer.cost[copy, tried[copy]]
            molecule = tables.molecule[first]
            end = tables.begin[molecule + 1] if molecule + 1 < len(tables.begin) else len(place.positions)
            x = place.positions[first:end]
            if turn < ROUNDS[0]:
                _bounded(tables, numbers, first, offer.free, around, n, shapes, energy)
            else:
                relax(
                    tables, offer.script, offer.window, numbers.kt, molecule, offer.beads[copy],
                    chirality[copy], offer.free, x, around, n, shapes, energy,
                )  # fmt: skip
            weight = np.exp((np.nanmin(energy) - energy) / numbers.kt)
            weight[np.isnan(weight)] = 0.0  # lost on the way down
            x[offer.free] = shapes[rng.choice(len(weight), p=weight / weight.sum())]

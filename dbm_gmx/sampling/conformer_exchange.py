"""Conformer exchange: molecules choose their conformers among each other, compiled.

Beads that allow several conformers of a molecule, or of a window of it, leave the choice to its energy and to
what is around it.  Of the candidates each was offered one is drawn, with the probability that its energy has
among the conformers the others have just then (Gibbs sampling).  Windows that do not see each other choose at
the same time, colour by colour (:mod:`~dbm_gmx.sampling.colouring`).  First candidates are
taken as they are, with bounds on the energies of pairs, for a contact costs no more than what moving a little
apart would.  Then each one is brought to its minimum there, neighbours standing still: the energies compared
are those of inherent structures (Stillinger and Weber, Phys. Rev. A 25, 978, 1982).  Who was offered nothing
that is worth a try stays as it is.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.nonbonded import clamped, coulomb, inverse_distance, inverse_sixth, lennard_jones
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.annealing import Window, descend, energy_among
from dbm_gmx.sampling.arrays import Configuration, Place
from dbm_gmx.sampling.candidates import Candidates
from dbm_gmx.sampling.colouring import Owners, colour_instances, colour_order
from dbm_gmx.sampling.neighbours import image, near_any
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.surroundings import BEYOND, CUTOFF, MARGIN, make_surroundings

WORTH = 6.0
"""kT above the lowest, of candidates that are tried; the present one always is."""

STEPS = 60
"""To the minimum, at most."""

BOUND = 2.0
"""Most energy of a pair that counts, kT, while candidates are taken as they are."""

FAR = 1e9
"""nm: further than any atom.  Compiled code takes infinity for impossible."""

ROUNDS = 5, 2
"""Times every molecule chooses: among candidates as they are, and brought to their minima."""


class ExchangeArrays(NamedTuple):
    """What energies are worked out from, see :class:`~dbm_gmx.sampling.arrays.Arrays`."""

    constants: Any
    type: Any
    charge: Any
    molecule: Any
    bead: Any
    c6: Any
    c12: Any
    owned_start: Any
    owned: Any
    moltype: Any
    first_atom: Any
    atom_start: Any
    partner_start: Any
    partner: Any


class Choice(NamedTuple):
    """Windows and what they may choose from.

    Attributes
    ----------
    atoms, free
        (copies, n) atoms of the system that each moves or sees, and which of the n move.
    owner_start, owner
        Beads of the system that own the atoms that move, of each window.
    conformers, energy
        (copies, k, a, 3) nm of the atoms that move, and (copies, k) kJ/mol.
    tried
        (copies, k) which are worth a try.
    """

    atoms: Any
    free: Any
    owner_start: Any
    owner: Any
    conformers: Any
    energy: Any
    tried: Any


@compiled(makes_arrays=True)
def _neighbours(place: Any, arrays: Any, owners: Any, own: Any, low: Any, high: Any) -> Any:
    """(a, 4) x, y, z and atom of those near the beads ``owners``, between two corners, but for ``own``.

    Parameters
    ----------
    own
        (n,) atoms of the window, in increasing order; none of their images count.
    """
    positions, rows, most = place.positions, near_any(place, owners), 0
    molecule = arrays.molecule[own[0]]
    for q in rows:
        most += arrays.owned_start[place.near[q] + 1] - arrays.owned_start[place.near[q]]
    around, k = np.empty((most, 4)), 0
    for q in rows:
        begin, end = arrays.owned_start[place.near[q]], arrays.owned_start[place.near[q] + 1]
        if begin == end:
            continue
        related = arrays.molecule[arrays.owned[begin]] == molecule
        sx, sy, sz = image(place, place.shift[q])
        for r in range(begin, end):
            atom = arrays.owned[r]
            x, y, z = positions[atom, 0] + sx, positions[atom, 1] + sy, positions[atom, 2] + sz
            if x < low[0] or y < low[1] or z < low[2] or x > high[0] or y > high[1] or z > high[2]:
                continue
            if related and own[min(np.searchsorted(own, atom), len(own) - 1)] == atom:
                continue
            around[k, 0], around[k, 1], around[k, 2], around[k, 3] = x, y, z, atom
            k += 1
    return around[:k].copy()


@compiled()
def _bounded_energy(arrays: Any, atoms: Any, conformer: Any, around: Any) -> float:
    """Energy of ``atoms`` at a conformer with those around, pair by pair within bounds, kJ/mol."""
    total, bound = 0.0, BOUND * arrays.constants.kt
    for q in range(len(atoms)):
        own, charge = arrays.type[atoms[q]], arrays.charge[atoms[q]]
        for j in range(len(around)):
            dx = around[j, 0] - conformer[q, 0]
            dy = around[j, 1] - conformer[q, 1]
            dz = around[j, 2] - conformer[q, 2]
            r2 = dx * dx + dy * dy + dz * dz
            if r2 >= CUTOFF * CUTOFF:
                continue
            other, near = int(around[j, 3]), clamped(r2)
            c6, c12 = arrays.c6[own, arrays.type[other]], arrays.c12[own, arrays.type[other]]
            energy = lennard_jones(inverse_sixth(near, 0.0), c6, c12)
            if arrays.constants.charged:
                unit = coulomb(inverse_distance(near), r2, BEYOND)
                energy += charge * arrays.charge[other] * unit
            total += min(max(energy, -bound), bound)
    return total


@compiled(makes_arrays=True)
def _seen_by(place: Any, arrays: Any, choice: Any, copy: int) -> Any:
    """What is around a window wherever its candidates are, see :func:`_neighbours`.

    All that the window knows of its molecule is left out, moving or not: terms and pairs have it already.
    """
    low, high = np.full(3, FAR), np.full(3, -FAR)
    for k in range(choice.tried.shape[1]):
        if choice.tried[copy, k]:
            for q in range(choice.conformers.shape[2]):
                for d in range(3):
                    low[d] = min(low[d], choice.conformers[copy, k, q, d] - CUTOFF - MARGIN)
                    high[d] = max(high[d], choice.conformers[copy, k, q, d] + CUTOFF + MARGIN)
    owners = choice.owner[choice.owner_start[copy] : choice.owner_start[copy + 1]]
    return _neighbours(place, arrays, owners, choice.atoms[copy], low, high)


@compiled(makes_arrays=True)
def _bounded_some(
    place: Any, arrays: Any, choice: Any, copies: Any, energy: Any, first: int, step: int
) -> None:
    """Bounded energies (copies, k) of the candidates of every ``step``-th of some copies as they are."""
    for row in range(first, len(copies), step):
        copy = copies[row]
        around, own = _seen_by(place, arrays, choice, copy), choice.atoms[copy][choice.free]
        for k in range(choice.tried.shape[1]):
            if choice.tried[copy, k]:
                found = _bounded_energy(arrays, own, choice.conformers[copy, k], around)
                energy[row, k] = choice.energy[copy, k] + found


class Relaxed(NamedTuple):
    """Where candidates come down to: (copies, k, a, 3) nm, and (copies, k) kJ/mol."""

    conformers: Any
    energy: Any


@compiled(makes_arrays=True)
def _relax_some(
    place: Any, arrays: Any, choice: Any, inside: Any, trials: Any, relaxed: Any, first: int, step: int
) -> None:
    """Bring every ``step``-th of the trials to its minimum among the atoms around.

    Parameters
    ----------
    inside
        The window, see :class:`~dbm_gmx.sampling.annealing.WindowArrays`.
    trials
        (t, 3) row of ``relaxed``, copy and candidate; and beads and states of all copies.
    """
    which, beads, chirality = trials
    free = inside.free
    for trial in range(first, len(which), step):
        row, copy, k = which[trial]
        own, y = choice.atoms[copy], np.empty((choice.atoms.shape[1], 3))
        for q in range(len(own)):
            for d in range(3):
                y[q, d] = place.positions[own[q], d]
        for q in range(len(free)):
            for d in range(3):
                y[free[q], d] = choice.conformers[copy, k, q, d]
        window, around = Window(beads[copy], chirality[copy], None), _seen_by(place, arrays, choice, copy)
        surroundings = make_surroundings(arrays, inside, own, y, around)
        descend(inside, window, STEPS, surroundings, y)
        relaxed.energy[row, k] = energy_among(inside, surroundings, window, y)
        for q in range(len(free)):
            for d in range(3):
                relaxed.conformers[row, k, q, d] = y[free[q], d]


def exchange_conformers(
    conf: Configuration,
    candidates: Candidates,
    first_atoms: IntArray,
    stream: Stream,
    team: Team,
    rounds: tuple[int, int] = ROUNDS,
) -> IntArray:
    """Give windows of molecules the conformers they have among each other; ``conf.positions`` change.

    Parameters
    ----------
    conf
        The frame with all its molecules, and the system.
    candidates
        What each window may be.
    first_atoms
        (molecules,) first atom of each molecule.
    stream
        Random numbers.
    team
        Threads; the result does not depend on them.
    rounds
        Times every molecule chooses, as for :data:`ROUNDS`.

    Returns
    -------
    Rows of the candidates of windows that had a choice.
    """
    place, arrays = conf.place, conf.arrays.part(ExchangeArrays)
    choice = _make_choice(arrays, candidates, first_atoms)
    start, order = _colours(conf, choice)
    atoms, kt = choice.atoms[:, choice.free], arrays.constants.kt
    for turn in range(sum(rounds)):
        chance = stream.of(turn).generator.random(len(choice.energy))
        for copies in np.split(order, start[1:-1]):
            if turn < rounds[0]:
                energy = np.full((len(copies), choice.energy.shape[1]), np.inf)
                team.share(partial(_bounded_some, place, arrays, choice, copies, energy), len(copies))
                conformers, rows = choice.conformers, copies
            else:
                conformers, energy = _relax(place, arrays, choice, candidates, copies, team)
                rows = np.arange(len(copies))
            drawn = _drawn(energy / kt, chance[copies])
            conf.positions[atoms[copies]] = conformers[rows, drawn]
    return np.sort(order)


def _make_choice(arrays: ExchangeArrays, candidates: Candidates, first_atoms: IntArray) -> Choice:
    group, energy = candidates.group, candidates.energy
    tried = energy < energy.min(axis=1, keepdims=True) + WORTH * arrays.constants.kt
    tried[:, 0] |= tried[:, 1:].any(axis=1)  # alone it may be strained by what it has around it
    atoms = (first_atoms[:, None, None] + group.atoms).reshape(-1, group.atoms.shape[1])
    free = group.arrays.free
    owners = np.sort(arrays.bead[atoms[:, free]], axis=1)
    once = np.ones(owners.shape, bool)
    once[:, 1:] = owners[:, 1:] != owners[:, :-1]
    start = np.concatenate([[0], np.cumsum(once.sum(axis=1))])
    conformers = np.ascontiguousarray(candidates.conformers)  # one type of array, compiled once
    return Choice(atoms, free, start, owners[once], conformers, energy, tried)


def _colours(conf: Configuration, choice: Choice) -> tuple[IntArray, IntArray]:
    """Ranges of each colour, and the windows that have a choice in that order."""
    choosy = np.flatnonzero(choice.tried[:, 1:].any(axis=1))
    counts = np.diff(choice.owner_start)
    beads = choice.owner[np.repeat(np.isin(np.arange(len(counts)), choosy), counts)]
    start = np.concatenate([[0], np.cumsum(counts[choosy])])
    each, none = np.arange(len(choosy)), np.zeros(len(choosy), np.int64)
    colour = colour_instances(conf.neighbours, Owners(start, beads, each, none), none != 0)
    begin, order = colour_order(colour)
    return begin, choosy[order]


def _relax(
    place: Place, arrays: ExchangeArrays, choice: Choice, candidates: Candidates, copies: IntArray, team: Team
) -> Relaxed:
    """What the candidates of some copies come down to, infinite in energy those that are not tried."""
    rows, number = np.nonzero(choice.tried[copies])
    which = np.stack([rows, copies[rows], number], axis=1)
    shape = len(copies), *choice.conformers.shape[1:]
    relaxed = Relaxed(np.zeros(shape), np.full(shape[:2], np.inf))
    trials = which, candidates.copies.beads, candidates.copies.chirality
    relax = partial(_relax_some, place, arrays, choice, candidates.group.arrays, trials, relaxed)
    team.share(relax, len(which))
    return relaxed


def _drawn(energies: FloatArray, chance: FloatArray) -> IntArray:
    """Draw one of each row by its Boltzmann weight; one that was lost on the way down is none.

    Parameters
    ----------
    energies
        (rows, k) kT.
    chance
        (rows,) random numbers.
    """
    weight = np.nan_to_num(np.exp(np.nanmin(energies, axis=1, keepdims=True) - energies), nan=0.0)
    total = np.cumsum(weight, axis=1)
    found = (chance[:, None] * total[:, -1:] >= total).sum(axis=1)
    return np.asarray(np.minimum(found, energies.shape[1] - 1), np.int64)

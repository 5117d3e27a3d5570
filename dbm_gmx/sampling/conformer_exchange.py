"""Conformer exchange: molecules choose their conformers among each other, compiled.

Beads that allow several conformers of a molecule, or of a window of it, leave the choice to its energy and to
what is around it.  Of the candidates each was offered one is drawn, one after the other, with the probability
that its energy has among the conformers the others have just then (Gibbs sampling).  First candidates are
taken as they are, with bounds on the energies of pairs, for a contact costs no more than what moving a little
apart would.  Then each one is brought to its minimum there, neighbours standing still: the energies compared
are those of inherent structures (Stillinger and Weber, Phys. Rev. A 25, 978, 1982).  Who was offered one
candidate only stays as it is.
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
from dbm_gmx.sampling.annealing import Window, descend, window_energy
from dbm_gmx.sampling.arrays import Configuration
from dbm_gmx.sampling.growth import Candidates
from dbm_gmx.sampling.neighbours import image, near_any
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.surroundings import CUTOFF, MARGIN, add_surroundings, make_surroundings

WORTH = 6.0
"""kT above the lowest, of candidates that are tried."""

STEPS = 60
"""To the minimum, at most."""

BOUND = 2.0
"""Most energy of a pair that counts, kT, while candidates are taken as they are."""

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


class Trials(NamedTuple):
    """Candidates of one window: (k, a, 3) nm and (k,) kJ/mol."""

    conformers: Any
    energy: Any


@compiled()
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
                unit = coulomb(inverse_distance(near), r2, arrays.constants.beyond)
                energy += charge * arrays.charge[other] * unit
            total += min(max(energy, -bound), bound)
    return total


@compiled()
def _add_bounded(arrays: Any, atoms: Any, around: Any, trials: Any) -> None:
    """Add the bounded energies of candidates with the atoms around to their own."""
    for k in range(len(trials.conformers)):
        trials.energy[k] += _bounded_energy(arrays, atoms, trials.conformers[k], around)


class Relaxing(NamedTuple):
    """A window: its atoms, their (n, 3) positions, the atoms around them, and its candidates."""

    atoms: Any
    positions: Any
    around: Any
    trials: Trials


@compiled()
def _relax(arrays: Any, inside: Any, window: Any, held: Any, first: int, step: int) -> None:
    """Bring every ``step``-th candidate to its minimum among the atoms around, in place."""
    conformers, energies, free = held.trials.conformers, held.trials.energy, inside.free
    for k in range(first, len(conformers), step):
        y, force = held.positions.copy(), np.zeros(held.positions.shape)
        for q in range(len(free)):
            for d in range(3):
                y[free[q], d] = conformers[k, q, d]
        surroundings = make_surroundings(arrays, inside, held.atoms, y, held.around)
        descend(inside, window, STEPS, surroundings, y)
        energies[k] = window_energy(inside, window, y)
        energies[k] += add_surroundings(surroundings, free, y, 0.0, force)
        for q in range(len(free)):
            for d in range(3):
                conformers[k, q, d] = y[free[q], d]


def exchange_conformers(
    conf: Configuration,
    candidates: Candidates,
    first_atoms: IntArray,
    stream: Stream,
    team: Team,
    rounds: tuple[int, int] = ROUNDS,
) -> None:
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
    """
    place, arrays = conf.place, conf.arrays.part(ExchangeArrays)
    rng, group, copies = stream.generator, candidates.group, candidates.copies
    energies, free = candidates.energy, group.arrays.free
    tried = energies < energies.min(axis=1, keepdims=True) + WORTH * arrays.constants.kt
    choosy = np.flatnonzero(tried.sum(axis=1) > 1)
    atoms = (first_atoms[:, None, None] + group.atoms).reshape(-1, group.atoms.shape[1])
    for turn in range(sum(rounds)):
        for copy in choosy:
            own = atoms[copy]
            trials = Trials(candidates.conformers[copy, tried[copy]], energies[copy, tried[copy]])
            around = _neighbours(place, arrays, _owners(arrays, own[free]), own, *_corners(trials.conformers))
            if turn < rounds[0]:
                _add_bounded(arrays, own[free], around, trials)
            else:
                window = Window(copies.beads[copy], copies.chirality[copy])
                held = Relaxing(own, conf.positions[own], around, trials)
                relax = partial(_relax, arrays, group.arrays, window, held)
                team.share(relax, len(trials.energy))
            drawn = _drawn(trials.energy / arrays.constants.kt, rng)
            conf.positions[own[free]] = trials.conformers[drawn]


def _owners(arrays: ExchangeArrays, atoms: IntArray) -> IntArray:
    """Beads of the system that own some atoms."""
    return np.unique(arrays.bead[atoms])


def _corners(conformers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two corners of the space within reach of any of the conformers."""
    margin = CUTOFF + MARGIN
    return conformers.min(axis=(0, 1)) - margin, conformers.max(axis=(0, 1)) + margin


def _drawn(energies: FloatArray, rng: np.random.Generator) -> int:
    """Draw one by its Boltzmann weight, energies in kT; one that was lost on the way down is none."""
    weight = np.exp(np.nanmin(energies) - energies)
    weight[np.isnan(weight)] = 0.0
    return int(rng.choice(len(weight), p=weight / weight.sum()))

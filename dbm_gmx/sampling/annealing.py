"""Simulated annealing of windows of molecules on their beads, compiled.

A *window* is the part of a molecule that moves while the rest stands still.  Langevin dynamics is cooled and
bonds, angles and the restraints to the beads grow stiff, as structures are found from measured distances
(Nilges, Clore, Gronenborn, FEBS Lett. 229, 317, 1988); then the window goes down to its minimum, so that
energies can be compared.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.restraints import add_bead_restraint, add_chirality_restraint, bead_offset
from dbm_gmx.forcefield.terms import DISTANCE, BondedTerms, add_term, soften, term_energy, term_rows
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.langevin import Integrator, Motion, langevin_step
from dbm_gmx.sampling.minimise import make_memory, remember, take_step
from dbm_gmx.sampling.random_numbers import seeded
from dbm_gmx.sampling.surroundings import NOTHING, acts, add_surroundings

INTEGRATOR = Integrator(time_step=0.002, friction=15.0, longest=0.01)
TIGHT = 0.006
"""Width of the bead restraints at the end, nm."""

COLD = 0.2
"""Times the temperature, at the end of the dynamics."""

SOFT = 0.3
"""Of sigma^6, cores in the beginning of the way to the minimum."""

DOWN = 0.002
"""kJ/mol: with less than this to gain, the minimum is reached."""


class Schedule(NamedTuple):
    """How to anneal.

    Attributes
    ----------
    steps, descent
        Of dynamics, and at most on the way to the minimum.
    hot
        Times the temperature in the beginning.
    loose
        Width of the bead restraints in the beginning, nm.
    weak
        Share of angles and dihedrals that acts in the beginning.
    """

    steps: int
    descent: int
    hot: float
    loose: float
    weak: float


class WindowArrays(NamedTuple):
    """A molecule type and its windows.

    Attributes
    ----------
    kt
        kJ/mol.
    form, atoms, parameters
        Terms with soft bonds, see :func:`~dbm_gmx.forcefield.terms.soften`.
    centres
        (c, 5) see :func:`~dbm_gmx.chemistry.stereo.stereo_elements`.
    weighed_start, weighed, weight
        Atoms of each bead and their weights.
    free_start, free, term_start, term, centre_start, centre, site_start, site
        Of each window the atoms that move, and the terms, stereo elements and beads they change.
    """

    kt: float
    form: Any
    atoms: Any
    parameters: Any
    centres: Any
    weighed_start: Any
    weighed: Any
    weight: Any
    free_start: Any
    free: Any
    term_start: Any
    term: Any
    centre_start: Any
    centre: Any
    site_start: Any
    site: Any


class Window(NamedTuple):
    """A window of one molecule.

    Attributes
    ----------
    number
        Which of the windows of its molecule type.
    beads
        (beads, 3) nm, of the molecule.
    chirality
        (c,) 1 or -1, 0 where nothing holds a stereo element.
    """

    number: int
    beads: Any
    chirality: Any


class Copies(NamedTuple):
    """Molecules of one type.

    Attributes
    ----------
    beads
        (copies, beads, 3) nm.
    chirality
        (copies, c) float64: 1 or -1, 0 where nothing holds a stereo element.
    positions
        (copies, n, 3) nm, changed in place.
    number
        (copies,) tells their random numbers apart.
    """

    beads: Any
    chirality: Any
    positions: Any
    number: Any


def make_window_arrays(
    terms: BondedTerms, centres: IntArray, weights: sp.csr_matrix, kt: float, windows: Sequence[IntArray]
) -> WindowArrays:
    """Arrays of a molecule type with such terms, stereo elements and beads; windows are lists of atoms."""
    soft, n_atoms = soften(terms), weights.shape[1]
    parts: list[list[IntArray]] = [[], [], [], []]
    for free in windows:
        touched = np.zeros(n_atoms, bool)
        touched[free] = True
        parts[0].append(free)
        parts[1].append(np.flatnonzero(_touches(terms.atoms, touched)))
        parts[2].append(np.flatnonzero(_touches(centres, touched)))
        parts[3].append(np.flatnonzero(weights @ touched > 0))
    ranges = [
        (np.cumsum([0, *map(len, rows)]), np.concatenate([np.zeros(0, np.int64), *rows])) for rows in parts
    ]
    return WindowArrays(
        kt,
        soft.form,
        soft.atoms,
        soft.parameters,
        np.array(centres, np.int64),
        weights.indptr.astype(np.int64),
        weights.indices.astype(np.int64),
        weights.data.astype(np.float64),
        *(array for pair in ranges for array in pair),
    )


def _touches(rows: IntArray, touched: BoolArray) -> BoolArray:
    """Rows of atoms (-1 for none) in which one is touched."""
    return np.asarray((touched[np.maximum(rows, 0)] & (rows >= 0)).any(axis=1))


def window_atoms(arrays: WindowArrays, number: int) -> IntArray:
    """Atoms of a window."""
    return np.asarray(arrays.free[arrays.free_start[number] : arrays.free_start[number + 1]])


# --- energies and forces of a window -----------------------------------------------------------------


@compiled(forceinline=True)
def _forces(arrays: Any, window: Any, x: Any, weak: float, stiffness: float, force: Any) -> None:
    """Forces of terms, chirality and beads on the atoms of a window (and some others)."""
    number = window.number
    force[:] = 0.0
    for n in range(arrays.term_start[number], arrays.term_start[number + 1]):
        t = arrays.term[n]
        scale = 1.0 if arrays.form[t] == DISTANCE else weak
        add_term(arrays.form[t], arrays.parameters[t], x, term_rows(arrays.atoms, t, 0), scale, force)
    for n in range(arrays.centre_start[number], arrays.centre_start[number + 1]):
        c = arrays.centre[n]
        if window.chirality[c] != 0.0:
            add_chirality_restraint(x, arrays.centres[c], window.chirality[c], force)
    for n in range(arrays.site_start[number], arrays.site_start[number + 1]):
        b = arrays.site[n]
        offset = bead_offset(arrays, b, x, 0, window.beads[b])
        add_bead_restraint(arrays, b, 0, offset, stiffness, force)


@compiled()
def window_energy(arrays: Any, window: Any, x: Any) -> float:
    """Energy of the terms and beads of a window, kJ/mol."""
    number, energy = window.number, 0.0
    for n in range(arrays.term_start[number], arrays.term_start[number + 1]):
        t = arrays.term[n]
        energy += term_energy(arrays.form[t], arrays.parameters[t], x, term_rows(arrays.atoms, t, 0))
    for n in range(arrays.site_start[number], arrays.site_start[number + 1]):
        dx, dy, dz = bead_offset(arrays, arrays.site[n], x, 0, window.beads[arrays.site[n]])
        energy += 0.5 * arrays.kt / TIGHT**2 * (dx * dx + dy * dy + dz * dz)
    return energy


# --- the way down ------------------------------------------------------------------------------------


@compiled()
def descend(arrays: Any, window: Any, steps: int, surroundings: Any, x: Any) -> None:
    """Bring the atoms of a window to the minimum among their surroundings, in at most so many steps.

    Cores of the surroundings are soft in the first half.
    """
    number = window.number
    free = arrays.free[arrays.free_start[number] : arrays.free_start[number + 1]]
    memory, force = make_memory(3 * len(free)), np.zeros((len(x), 3))
    for n in range(steps):
        soft = SOFT * max(0.0, 1.0 - 2.0 * n / steps) if acts(surroundings) else 0.0
        _forces(arrays, window, x, 1.0, arrays.kt / TIGHT**2, force)
        add_surroundings(surroundings, free, x, soft, force)
        remember(memory, free, force, n > 0)
        if not take_step(memory, free, x, DOWN if soft == 0.0 else 0.0):
            return


@compiled()
def _anneal(arrays: Any, window: Any, schedule: Any, x: Any, rng: Any) -> None:
    """Langevin dynamics of the atoms of a window, hot and loose to cold and stiff."""
    number = window.number
    motion = Motion(x, np.zeros((len(x), 3)), np.zeros((len(x), 3)))
    free = arrays.free[arrays.free_start[number] : arrays.free_start[number + 1]]
    for step in range(schedule.steps):
        done = step / schedule.steps
        width = schedule.loose * (TIGHT / schedule.loose) ** done
        weak = schedule.weak + (1.0 - schedule.weak) * done
        _forces(arrays, window, x, weak, arrays.kt / width**2, motion.force)
        heat = arrays.kt * (schedule.hot + (COLD - schedule.hot) * done)
        langevin_step(motion, free, heat, INTEGRATOR, rng)


class Task(NamedTuple):
    """Which window to anneal, how, with which random numbers, and among what."""

    number: int
    schedule: Any
    key: Any
    surroundings: Any = NOTHING


@compiled()
def _anneal_some(arrays: Any, task: Any, copies: Any, energy: Any, first: int, step: int) -> None:
    """Anneal a window of every ``step``-th molecule."""
    rng = np.empty(1, np.uint64)
    for copy in range(first, len(copies.positions), step):
        seeded(rng, task.key, copies.number[copy])
        window = Window(task.number, copies.beads[copy], copies.chirality[copy])
        _anneal(arrays, window, task.schedule, copies.positions[copy], rng)
        descend(arrays, window, task.schedule.descent, task.surroundings, copies.positions[copy])
        energy[copy] = window_energy(arrays, window, copies.positions[copy])


def anneal(arrays: WindowArrays, task: Task, copies: Copies, team: Team) -> FloatArray:
    """Anneal a window of many molecules; their positions change.

    Returns
    -------
    (copies,) energies of the window, kJ/mol.
    """
    energy = np.empty(len(copies.positions))
    team.share(partial(_anneal_some, arrays, task, copies, energy), len(energy))
    return energy


@compiled()
def _energies(arrays: Any, number: int, copies: Any, energy: Any) -> None:
    for copy in range(len(copies.positions)):
        window = Window(number, copies.beads[copy], copies.chirality[copy])
        energy[copy] = window_energy(arrays, window, copies.positions[copy])


def window_energies(arrays: WindowArrays, number: int, copies: Copies) -> FloatArray:
    """(copies,) energies of a window of many molecules, kJ/mol."""
    energy = np.empty(len(copies.positions))
    _energies(arrays, number, copies, energy)
    return energy

"""Simulated annealing of single molecules on their beads, whole or in part, compiled.

Langevin dynamics is cooled while bonds, angles and the springs to the beads grow stiff, as structures are
found from measured distances (Nilges, Clore, Gronenborn, FEBS Lett. 229, 317, 1988).  A *window* is the part
of a molecule that moves while the rest stands still.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numba as nb
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.stereo import stereocentres
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.hamiltonian import MoleculeTarget
from dbm_gmx.forcefield.restraints import restrain_chirality
from dbm_gmx.forcefield.terms import DISTANCE, QUARTIC, STIFFEST, term_energy, term_force
from dbm_gmx.sampling.random_numbers import gaussian, seeded
from dbm_gmx.sampling.surroundings import NOTHING, Field, feel

TIME_STEP = 0.002  # ps
FRICTION = 15.0  # ps^-1
MASS = 12.0  # amu, of all atoms: only positions matter
TIGHT = 0.006  # nm, spread of the mapped centres at the end
COLD = 0.2  # times the temperature, at the end of the dynamics
LONGEST_STEP = 0.01  # nm
SOFTEST = 1e-6  # nm^2 mol/kJ, to begin the way to the minimum with
SOFT = 0.3  # of sigma^6, cores in the beginning of the way
DOWN = 0.002  # kJ/mol: with less than this to gain, the minimum is reached
MEMORY = 6  # steps that the way to the minimum is planned from


class Schedule(NamedTuple):
    """How to anneal.

    Attributes
    ----------
    steps, descent
        Of dynamics, and of what follows: the way to the minimum, so that energies can be compared.
    hot
        Times the temperature in the beginning.
    loose
        Spread of the mapped centres in the beginning, nm.
    soft
        Share of angles and dihedrals that acts in the beginning.
    """

    steps: int
    descent: int
    hot: float
    loose: float
    soft: float


class Script(NamedTuple):
    """What the dynamics reads of a molecule type.

    Attributes
    ----------
    form, atoms, parameters
        Terms, see :class:`~dbm_gmx.forcefield.terms.Force`.
    centres
        (c, 5) see :func:`~dbm_gmx.chemistry.stereo.stereocentres`.
    bead_start, weighed, weight
        Atoms of each bead and their weights.
    free_start, free, term_start, term, hand_start, hand, site_start, site
        Of each window the atoms that move, and the terms, stereocentres and beads they change.
    """

    form: Any
    atoms: Any
    parameters: Any
    centres: Any
    bead_start: Any
    weighed: Any
    weight: Any
    free_start: Any
    free: Any
    term_start: Any
    term: Any
    hand_start: Any
    hand: Any
    site_start: Any
    site: Any


def make_script(molecule: MoleculeTarget, windows: Sequence[IntArray]) -> Script:
    """Arrays of a molecule type whose ``windows`` are given by their atoms."""
    force, centres = molecule.force, stereocentres(molecule.moltype)
    weights = molecule.weights.tocsr()
    kinds: list[list[IntArray]] = [[], [], [], []]
    for free in windows:
        touched = np.isin(np.arange(molecule.moltype.n_atoms), free)
        kinds[0].append(free)
        kinds[1].append(np.flatnonzero(_touches(force.atoms, touched)))
        kinds[2].append(np.flatnonzero(_touches(centres, touched)))
        kinds[3].append(np.flatnonzero(weights @ touched > 0))
    ranges = [
        (np.cumsum([0, *map(len, rows)]), np.concatenate([np.zeros(0, np.int64), *rows])) for rows in kinds
    ]
    return Script(
        force.form,
        force.atoms,
        force.parameters,
        centres,
        weights.indptr.astype(np.int64),
        weights.indices.astype(np.int64),
        weights.data.astype(np.float64),
        *(array for pair in ranges for array in pair),
    )


def _touches(rows: IntArray, touched: Any) -> Any:
    """Rows of atoms (-1 for none) in which one is touched."""
    return (touched[np.maximum(rows, 0)] & (rows >= 0)).any(axis=1)


@compiled()
def _off(script: Any, bead: int, d: int, x: Any, beads: Any) -> float:
    """How far a mapped centre is from its bead along an axis."""
    off = -beads[bead, d]
    for q in range(script.bead_start[bead], script.bead_start[bead + 1]):
        off += script.weight[q] * x[script.weighed[q], d]
    return off


@compiled()
def _forces(
    script: Any, window: int, x: Any, beads: Any, chirality: Any, bend: float, stiffness: float, force: Any
) -> None:
    """Forces of terms, hands and beads on the atoms of a window (and some others)."""
    force[:] = 0.0
    for n in range(script.term_start[window], script.term_start[window + 1]):
        t = script.term[n]
        scale = 1.0 if script.form[t] in (DISTANCE, QUARTIC) else bend
        i, j, k, m = script.atoms[t, 0], script.atoms[t, 1], script.atoms[t, 2], script.atoms[t, 3]
        term_force(script.form[t], script.parameters[t], scale, x, i, j, k, m, force)
    for n in range(script.hand_start[window], script.hand_start[window + 1]):
        c = script.hand[n]
        if chirality[c] != 0.0:
            restrain_chirality(x, script.centres[c], chirality[c], force)
    for n in range(script.site_start[window], script.site_start[window + 1]):
        b = script.site[n]
        for d in range(3):
            pull = stiffness * _off(script, b, d, x, beads)
            for q in range(script.bead_start[b], script.bead_start[b + 1]):
                force[script.weighed[q], d] -= pull * script.weight[q]


@compiled()
def window_energy(script: Any, window: int, kt: float, x: Any, beads: Any) -> float:
    """Energy of the terms and beads of a window, bonds as soft as in the dynamics, kJ/mol."""
    energy = 0.0
    for n in range(script.term_start[window], script.term_start[window + 1]):
        t = script.term[n]
        i, j, k, m = script.atoms[t, 0], script.atoms[t, 1], script.atoms[t, 2], script.atoms[t, 3]
        value = term_energy(script.form[t], script.parameters[t], x, i, j, max(k, 0), max(m, 0))
        if script.form[t] == DISTANCE:
            value *= min(1.0, STIFFEST / script.parameters[t, 1])
        elif script.form[t] == QUARTIC:
            value *= min(1.0, STIFFEST / (2.0 * script.parameters[t, 1] * script.parameters[t, 0] ** 2))
        energy += value
    for n in range(script.site_start[window], script.site_start[window + 1]):
        for d in range(3):
            off = _off(script, script.site[n], d, x, beads)
            energy += 0.5 * kt / TIGHT**2 * off * off
    return energy


@compiled()
def _anneal(
    script: Any, window: int, schedule: Any, kt: float, beads: Any, chirality: Any, x: Any, rng: Any
) -> None:
    """Langevin dynamics of the atoms of a window, hot and loose to cold and stiff."""
    n = len(x)
    velocity, force = np.zeros((n, 3)), np.zeros((n, 3))
    kept = math.exp(-FRICTION * TIME_STEP)
    limit = LONGEST_STEP / TIME_STEP
    for step in range(schedule.steps):
        done = step / schedule.steps
        heat = kt * (schedule.hot + (COLD - schedule.hot) * done)
        spread = schedule.loose * (TIGHT / schedule.loose) ** done
        bend = schedule.soft + (1.0 - schedule.soft) * done
        _forces(script, window, x, beads, chirality, bend, kt / spread**2, force)
        kick = math.sqrt((1.0 - kept * kept) * heat / MASS)
        for q in range(script.free_start[window], script.free_start[window + 1]):
            i = script.free[q]
            for d in range(3):
                v = kept * (velocity[i, d] + TIME_STEP * force[i, d] / MASS) + kick * gaussian(rng)
                v = max(-limit, min(limit, v))
                velocity[i, d] = v
                x[i, d] += TIME_STEP * v


@compiled(forceinline=True)
def _dot(a: Any, i: int, b: Any, j: int) -> float:
    """Product of a row of one array and a row of another."""
    total = 0.0
    for q in range(a.shape[1]):
        total += a[i, q] * b[j, q]
    return total


@compiled(forceinline=True)
def _add(step: Any, share: float, rows: Any, row: int) -> None:
    """Add a share of a row."""
    for q in range(len(step)):
        step[q] += share * rows[row, q]


@compiled()
def descend(
    script: Any, window: int, steps: int, kt: float, beads: Any, chirality: Any, field: Field, x: Any
) -> None:
    """Go down to the minimum (limited-memory BFGS: Liu, Nocedal, Math. Program. 45, 503, 1989).

    The cores of the ``field`` are soft in the first half of the steps.
    """
    begin, end = script.free_start[window], script.free_start[window + 1]
    free, force = script.free[begin:end], np.zeros((len(x), 3))
    n = 3 * len(free)
    moved, turned = np.zeros((MEMORY, n)), np.zeros((MEMORY, n))
    curvature, share = np.zeros(MEMORY), np.zeros(MEMORY)
    slope, before, way = np.zeros(n), np.zeros(n), np.zeros((1, n))
    step = way[0]
    known, scale = 0, SOFTEST
    for number in range(steps):
        _forces(script, window, x, beads, chirality, 1.0, kt / TIGHT**2, force)
        feel(field, free, x, SOFT * max(0.0, 1.0 - 2.0 * number / steps), force)
        for q in range(n):
            before[q] = slope[q]
            slope[q] = -force[free[q // 3], q % 3]
        if number > 0:
            row = known % MEMORY
            for q in range(n):
                moved[row, q], turned[row, q] = step[q], slope[q] - before[q]
            along, squared = _dot(moved, row, turned, row), _dot(turned, row, turned, row)
            if along > 1e-12 * squared and along > 0.0:
                curvature[row], scale = along, along / squared
                known += 1
            else:  # curved upwards: what is remembered is of no use here
                known, scale = 0, SOFTEST
        way[0] = slope
        first = max(0, known - MEMORY)
        for k in range(known - 1, first - 1, -1):
            row = k % MEMORY
            share[row] = _dot(moved, row, way, 0) / curvature[row]
            _add(step, -share[row], turned, row)
        for q in range(n):
            step[q] *= scale
        for k in range(first, known):
            row = k % MEMORY
            _add(step, share[row] - _dot(turned, row, way, 0) / curvature[row], moved, row)
        gain = longest = 0.0
        for q in range(n):
            gain += slope[q] * step[q]
            longest = max(longest, abs(step[q]))
        if longest == 0.0 or (gain < DOWN and (2 * number > steps or len(field.start) == 0)):
            return
        shorter = -min(1.0, LONGEST_STEP / longest)
        for q in range(n):
            step[q] *= shorter
            x[free[q // 3], q % 3] += step[q]


@compiled(parallel=True)
def _anneal_all(
    script: Any,
    window: int,
    schedule: Any,
    kt: float,
    beads: Any,
    chirality: Any,
    field: Field,
    positions: Any,
    number: Any,
    name: Any,
    energy: Any,
) -> None:
    for copy in nb.prange(len(positions)):
        rng = np.empty(1, np.uint64)
        seeded(rng, name[0], name[1], name[2], number[copy])
        _anneal(script, window, schedule, kt, beads[copy], chirality[copy], positions[copy], rng)
        descend(script, window, schedule.descent, kt, beads[copy], chirality[copy], field, positions[copy])
        energy[copy] = window_energy(script, window, kt, positions[copy], beads[copy])


def anneal(
    script: Script,
    window: int,
    schedule: Schedule,
    kt: float,
    beads: FloatArray,
    chirality: Any,
    positions: FloatArray,
    number: IntArray,
    name: tuple[int, int, int],
) -> FloatArray:
    """Anneal a window of many molecules.

    Parameters
    ----------
    script, window, schedule
        The molecule type, which part of it, and how.
    kt
        kJ/mol.
    beads
        (copies, beads, 3) nm.
    chirality
        (copies, c) 1 or -1, 0 where nothing holds a stereocentre.
    positions
        (copies, n, 3) nm, changed in place.
    number, name
        (copies,) and three numbers tell their random numbers apart.

    Returns
    -------
    (copies,) energies of the window, kJ/mol.
    """
    energy = np.empty(len(positions))
    wanted = np.ascontiguousarray(chirality, np.float64)
    stream = np.array(name, np.int64)
    _anneal_all(script, window, schedule, kt, beads, wanted, NOTHING, positions, number, stream, energy)
    return energy


@compiled()
def _energies(script: Any, window: int, kt: float, positions: Any, beads: Any, energy: Any) -> None:
    for copy in range(len(positions)):
        energy[copy] = window_energy(script, window, kt, positions[copy], beads[copy])


def window_energies(
    script: Script, window: int, kt: float, positions: FloatArray, beads: FloatArray
) -> FloatArray:
    """Energies (copies,) of a window of molecules (copies, n, 3) on beads (copies, beads, 3), kJ/mol."""
    energy = np.empty(len(positions))
    _energies(script, window, kt, positions, beads, energy)
    return energy

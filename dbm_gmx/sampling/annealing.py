"""Simulated annealing of windows of molecules on their beads, compiled.

A *window* is the part of a molecule that moves while the rest stands still.  Langevin dynamics is cooled and
bonds, angles and the restraints to the beads grow stiff, as structures are found from measured distances
(Nilges, Clore, Gronenborn, FEBS Lett. 229, 317, 1988); then the window goes down to its minimum, so that
energies can be compared.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.vectors import in_lattice
from dbm_gmx.chemistry.virtual_sites import NO_SITES, VirtualSites, place_sites, spread_sites
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.restraints import add_bead_restraint, add_chirality_restraint, bead_offset
from dbm_gmx.forcefield.terms import BondedTerms, add_terms, soften, sum_of_terms
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.langevin import Integrator, Motion, langevin_step
from dbm_gmx.sampling.minimise import make_memory, remember, take_step
from dbm_gmx.sampling.random_numbers import seeded
from dbm_gmx.sampling.surroundings import (
    NOTHING,
    Surroundings,
    acts,
    add_surroundings,
    make_space,
    surroundings_energy,
)

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


class Contents(NamedTuple):
    """What acts on the atoms of a window; rows count within the atoms it moves or sees.

    Attributes
    ----------
    terms
        Of the force field.
    centres
        (c, 5) see :func:`~dbm_gmx.chemistry.stereo.stereocentres`.
    weights
        (beads, atoms) of the mapped centres.
    pair, pair_parameters
        Special pairs, see :class:`~dbm_gmx.forcefield.hamiltonian.MoleculeHamiltonian`.
    virtual
        Virtual sites.
    """

    terms: BondedTerms
    centres: IntArray
    weights: sp.csr_matrix
    pair: IntArray = np.zeros((0, 2), np.int64)
    pair_parameters: FloatArray = np.zeros((0, 5))
    virtual: VirtualSites = NO_SITES


class WindowArrays(NamedTuple):
    """A window: atoms that move and those they see; rows count within these.

    Attributes
    ----------
    kt
        kJ/mol.
    free, driven
        Atoms that move, and those of them that are no virtual sites.
    form, atoms, parameters, tables
        Terms with soft bonds, see :func:`~dbm_gmx.forcefield.terms.soften`.
    centres
        (c, 5) see :func:`~dbm_gmx.chemistry.stereo.stereo_elements`.
    weighed_start, weighed, weight
        Atoms of each bead and their weights.
    virtual, virtual_form, virtual_parameters, made_start, made_of, made_weight
        Virtual sites that move, see :class:`~dbm_gmx.chemistry.virtual_sites.VirtualSites`.
    pair, pair_parameters
        Special pairs, which the annealing leaves out.
    """

    kt: float
    free: Any
    driven: Any
    form: Any
    atoms: Any
    parameters: Any
    tables: Any
    centres: Any
    weighed_start: Any
    weighed: Any
    weight: Any
    virtual: Any
    virtual_form: Any
    virtual_parameters: Any
    made_start: Any
    made_of: Any
    made_weight: Any
    pair: Any
    pair_parameters: Any


class Window(NamedTuple):
    """Where a window is to be.

    Attributes
    ----------
    beads
        (beads, 3) nm, that it sees.
    chirality
        (c,) 1 or -1, 0 where nothing holds a stereo element.
    lattice
        Where molecules are bonded to images of their own, else ``None``.
    """

    beads: Any
    chirality: Any
    lattice: Any = None


class Copies(NamedTuple):
    """Windows that are alike.

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
    lattice
        As in :class:`Window`.
    """

    beads: Any
    chirality: Any
    positions: Any
    number: Any
    lattice: Any = None

    def some(self, rows: Any) -> Copies:
        """Some of them."""
        beads, chirality, positions, number, lattice = self
        return Copies(beads[rows], chirality[rows], positions[rows], number[rows], lattice)


def make_window_arrays(contents: Contents, free: IntArray, kt: float) -> WindowArrays:
    """Arrays of a window whose atoms ``free`` move."""
    soft, weights = soften(contents.terms), contents.weights
    return WindowArrays(
        kt,
        np.array(free, np.int64),
        np.setdiff1d(free, contents.virtual.virtual).astype(np.int64),
        soft.form,
        soft.atoms,
        soft.parameters,
        soft.tables,
        np.array(contents.centres, np.int64),
        weights.indptr.astype(np.int64),
        weights.indices.astype(np.int64),
        weights.data.astype(np.float64),
        *contents.virtual,
        contents.pair,
        contents.pair_parameters,
    )


# --- energies and forces of a window -----------------------------------------------------------------


@compiled(forceinline=True)
def _forces(arrays: Any, window: Any, x: Any, weak: float, stiffness: float, force: Any) -> None:
    """Forces of terms, chirality and beads on the atoms of a window (and some others)."""
    force[:] = 0.0
    bonded = in_lattice(x, window.lattice)
    add_terms(arrays, (0, len(arrays.form), 0), bonded, weak, force)
    for c in range(len(arrays.centres)):
        if window.chirality[c] != 0.0:
            add_chirality_restraint(bonded, arrays.centres[c], window.chirality[c], force)
    for b in range(len(window.beads)):
        offset = bead_offset(arrays, b, x, 0, window.beads[b])
        add_bead_restraint(arrays, b, 0, offset, stiffness, force)


@compiled(makes_arrays=True)
def energy_among(arrays: Any, surroundings: Any, window: Any, x: Any) -> float:
    """Energy of the terms and beads of a window and of its pairs, see :class:`Surroundings`, kJ/mol."""
    energy = window_energy(arrays, window, x)
    if acts(surroundings):
        energy += surroundings_energy(surroundings, arrays.free, x, 0.0, make_space(surroundings))
    return energy


@compiled()
def window_energy(arrays: Any, window: Any, x: Any) -> float:
    """Energy of the terms and beads of a window, kJ/mol."""
    energy = sum_of_terms(arrays, (0, len(arrays.form), 0), in_lattice(x, window.lattice))
    for b in range(len(window.beads)):
        dx, dy, dz = bead_offset(arrays, b, x, 0, window.beads[b])
        energy += 0.5 * arrays.kt / TIGHT**2 * (dx * dx + dy * dy + dz * dz)
    return energy


# --- the way down ------------------------------------------------------------------------------------


@compiled(makes_arrays=True)
def descend(arrays: Any, window: Any, steps: int, surroundings: Any, x: Any) -> None:
    """Bring the atoms of a window to the minimum among their surroundings, in at most so many steps.

    Cores of the surroundings are soft in the first half.
    """
    free, driven = arrays.free, arrays.driven
    memory, force = make_memory(3 * len(driven)), np.zeros((len(x), 3))
    space = make_space(surroundings)
    for n in range(steps):
        soft = SOFT * max(0.0, 1.0 - 2.0 * n / steps) if acts(surroundings) else 0.0
        place_sites(x, arrays)
        _forces(arrays, window, x, 1.0, arrays.kt / TIGHT**2, force)
        add_surroundings(surroundings, free, x, soft, space, force)
        spread_sites(x, arrays, force)
        remember(memory, driven, force, n > 0)
        if not take_step(memory, driven, x, DOWN if soft == 0.0 else 0.0):
            return
    place_sites(x, arrays)


@compiled(makes_arrays=True)
def _anneal(arrays: Any, window: Any, schedule: Any, x: Any, rng: Any) -> None:
    """Langevin dynamics of the atoms of a window, hot and loose to cold and stiff."""
    motion = Motion(x, np.zeros((len(x), 3)), np.zeros((len(x), 3)))
    for step in range(schedule.steps):
        done = step / schedule.steps
        width = schedule.loose * (TIGHT / schedule.loose) ** done
        weak = schedule.weak + (1.0 - schedule.weak) * done
        place_sites(x, arrays)
        _forces(arrays, window, x, weak, arrays.kt / width**2, motion.force)
        spread_sites(x, arrays, motion.force)
        heat = arrays.kt * (schedule.hot + (COLD - schedule.hot) * done)
        langevin_step(motion, arrays.driven, heat, INTEGRATOR, rng)


class Task(NamedTuple):
    """How to anneal a window, with which random numbers, and among what."""

    schedule: Any
    key: Any
    surroundings: Any = NOTHING


@compiled(makes_arrays=True)
def _anneal_some(arrays: Any, task: Any, copies: Any, energy: Any, first: int, step: int) -> None:
    """Anneal every ``step``-th copy of a window."""
    rng = np.empty(1, np.uint64)
    for copy in range(first, len(copies.positions), step):
        seeded(rng, task.key, copies.number[copy])
        window = Window(copies.beads[copy], copies.chirality[copy], copies.lattice)
        _anneal(arrays, window, task.schedule, copies.positions[copy], rng)
        descend(arrays, window, task.schedule.descent, task.surroundings, copies.positions[copy])
        energy[copy] = energy_among(arrays, task.surroundings, window, copies.positions[copy])


def anneal(arrays: WindowArrays, task: Task, copies: Copies, team: Team) -> FloatArray:
    """Anneal many copies of a window; their positions change.

    Returns
    -------
    (copies,) energies of the window, kJ/mol.
    """
    energy = np.empty(len(copies.positions))
    team.share(partial(_anneal_some, arrays, task, copies, energy), len(energy))
    return energy


@compiled(makes_arrays=True)
def _energies(arrays: Any, pairs: Any, copies: Any, energy: Any) -> None:
    for copy in range(len(copies.positions)):
        window = Window(copies.beads[copy], copies.chirality[copy], copies.lattice)
        energy[copy] = energy_among(arrays, pairs, window, copies.positions[copy])


def window_energies(arrays: WindowArrays, copies: Copies, pairs: Surroundings = NOTHING) -> FloatArray:
    """(copies,) energies of many copies of a window and its pairs, kJ/mol."""
    energy = np.empty(len(copies.positions))
    _energies(arrays, pairs, copies, energy)
    return energy

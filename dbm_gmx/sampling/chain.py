"""The Markov chain of one frame: sweeps until the energy is stationary, step sizes learned on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.forcefield.constraints import squared_stretch
from dbm_gmx.forcefield.hamiltonian import BOND_SPREAD
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.arrays import Arrays, Configuration
from dbm_gmx.sampling.colouring import Owners, colour_instances, colour_order
from dbm_gmx.sampling.energy import bead_energy, stiff_energy, total_energy
from dbm_gmx.sampling.moves import (
    ANNEALING,
    GIBBS_TORSION,
    MOVE_NAMES,
    PIVOT,
    RIGID_ROTATION,
    TORSION_STEP,
    TRANSLATION,
)
from dbm_gmx.sampling.random_numbers import Stream, Use
from dbm_gmx.sampling.sweep import Colours, sweep
from dbm_gmx.sampling.updates import Progress

LEARNING = 8
"""Sweeps in which the sizes of the small moves are learned; what comes after has them fixed."""

SHORTEST = 2 * LEARNING
"""Sweeps that say whether the energy is stationary, at least."""

DRIFT = 0.001
"""Change of the energy, kT per atom, that counts as none: so little is seen in very large systems only."""

FIRST_STEP = {
    GIBBS_TORSION: 1.0,
    RIGID_ROTATION: 1.0,
    TORSION_STEP: 0.1,
    PIVOT: 0.06,
    TRANSLATION: 0.0025,
    ANNEALING: 0.0,
}
"""Sizes of moves to begin with, radians or nm; of the two that choose, any; of windows, 0 or 1, see
:func:`sweep_windows`."""

OVERLAP = 1e5
"""Change of the energy in one sweep, kJ/mol, after which it is worked out anew."""

ACCEPTED = 0.4
"""Acceptance the sizes are learned for."""


@dataclass(frozen=True, eq=False)
class Convergence:
    """What the Markov chain of one frame did.

    Attributes
    ----------
    converged
        Whether the energy was stationary at the end.
    energies
        (sweeps + 1,) see :class:`Chain`.
    acceptance
        Fraction of accepted moves by name of the move.
    effective
        Mean effective number of candidates by name of the move, where it has several.
    regrown
        Molecules that had to be grown more than once.
    refused
        Molecules of the start that were grown instead: of the wrong chirality, torn, or off their beads.
    seconds, cpu
        Wall time and CPU time by stage.
    steps
        (moves,) sizes of the small moves at the end, radians or nm.
    recalled
        Whether the frame began from a memory.
    """

    converged: bool
    energies: FloatArray
    acceptance: Mapping[str, float] = field(default_factory=dict)
    effective: Mapping[str, float] = field(default_factory=dict)
    regrown: int = 0
    refused: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    cpu: Mapping[str, float] = field(default_factory=dict)
    steps: FloatArray = field(default_factory=lambda: np.zeros(0))
    recalled: bool = False


@dataclass(eq=False)
class Chain:
    """The Markov chain of one frame.

    Attributes
    ----------
    conf
        The configuration, which sweeps change.
    colours
        Clusters that are updated side by side.
    progress
        Sizes and counts of the moves.
    energy
        Of atoms and beads, kJ/mol.
    energies
        After each sweep so far, the start first, without the springs of bonds of fixed length: these begin
        without energy and are slow to take up theirs, which is no energy of the force field.
    learns
        Whether the sizes of the moves are still to be learned.
    """

    conf: Configuration
    colours: Colours
    progress: Progress
    energy: float
    energies: list[float]
    learns: bool = True

    @property
    def sweeps(self) -> int:
        """Sweeps done."""
        return len(self.energies) - 1

    @property
    def slow_energy(self) -> float:
        """Of torsions and pairs, kT per atom: what conformations are worth, without the scatter of bonds."""
        slow = self.energy - bead_energy(self.conf) - stiff_energy(self.conf)
        return slow / (float(self.conf.arrays.constants.kt) * len(self.conf.positions))

    @property
    def drift(self) -> float:
        """Change of the energy that does not matter, kJ/mol."""
        return DRIFT * float(self.conf.arrays.constants.kt) * len(self.conf.positions)


def start_chain(conf: Configuration, steps: FloatArray | None = None) -> Chain:
    """Begin a chain.

    Parameters
    ----------
    conf
        The configuration to begin with, which sweeps change.
    steps
        (moves,) sizes of the small moves, where they are known and no longer learned.
    """
    arrays = conf.arrays
    windows = arrays.moves.move_type[_first_moves(arrays)[:-1]] == ANNEALING
    beads, instances = arrays.clusters, arrays.instances
    owners = Owners(
        beads.cluster_bead_start, beads.cluster_bead, instances.instance_cluster, instances.instance_bead
    )
    colour = colour_instances(conf.neighbours, owners, windows)
    first = np.array([FIRST_STEP[move_type] for move_type in arrays.moves.move_type.tolist()])
    progress = _no_progress(arrays, first if steps is None else steps.copy())
    energy = total_energy(conf)
    energies = [energy - _spring_energy(conf)]
    return Chain(conf, Colours(*colour_order(colour)), progress, energy, energies, steps is None)


def _no_progress(arrays: Arrays, steps: FloatArray) -> Progress:
    """Nothing tried yet, with these sizes of the moves."""
    cluster = arrays.instances.instance_cluster
    ends = np.cumsum(np.diff(_first_moves(arrays))[cluster])
    start = np.concatenate([np.zeros(1, np.int64), ends])
    return Progress(steps, np.zeros((len(cluster), 2)), start[:-1], np.zeros((start[-1], 3)))


def _first_moves(arrays: Arrays) -> IntArray:
    """(clusters + 1,) where the moves of each cluster begin."""
    return np.asarray(arrays.blocks.move_start[arrays.clusters.block_start], np.int64)


def _spring_energy(conf: Configuration) -> float:
    """Of the springs of bonds of fixed length, kJ/mol."""
    arrays = conf.arrays
    square = float(squared_stretch(conf.positions, arrays.molecules, arrays.bonds, conf.lattice))
    return 0.5 * arrays.constants.kt / BOND_SPREAD**2 * square


def sweep_windows(chain: Chain, sweeps: int, stream: Stream, team: Team) -> None:
    """Sweep until there were so many sweeps, with windows annealed in them."""
    windows = chain.conf.arrays.moves.move_type == ANNEALING
    chain.progress.steps[windows] = 1.0
    while chain.sweeps < sweeps:
        advance(chain, stream, team)
    chain.progress.steps[windows] = 0.0


def advance(chain: Chain, stream: Stream, team: Team) -> None:
    """Sweep once: the configuration, the energies and the counts of the chain change."""
    number = chain.sweeps + 1
    chain.progress.gained[:] = 0.0
    sweep(chain.conf, chain.colours, chain.progress, stream.of(Use.SWEEPS, number), team)
    gain = float(chain.progress.gained.sum())
    # overlaps of the start are too large for their differences to add up
    chain.energy = total_energy(chain.conf) if abs(gain) > OVERLAP else chain.energy + gain
    chain.energies.append(chain.energy - _spring_energy(chain.conf))
    if chain.learns and number <= LEARNING and number % 2 == 0:
        _learn(chain)


def _counts(arrays: Arrays, progress: Progress) -> FloatArray:
    """(moves, 3) tries, acceptances and effective candidates so far."""
    cluster, first = arrays.instances.instance_cluster, _first_moves(arrays)
    before = first[cluster] - progress.tried_start
    numbers = np.repeat(before, np.diff(first)[cluster]) + np.arange(len(progress.tried))
    columns = [np.bincount(numbers, column, minlength=len(progress.steps)) for column in progress.tried.T]
    return np.stack(columns, axis=1)


def _learn(chain: Chain) -> None:
    """Fit the sizes of the small moves to the acceptance so far, and count anew."""
    arrays, steps = chain.conf.arrays, chain.progress.steps
    counts, move_type = _counts(arrays, chain.progress), arrays.moves.move_type
    fit = np.isin(move_type, (TORSION_STEP, PIVOT, TRANSLATION)) & (counts[:, 0] > 0)
    rate = counts[fit, 1] / counts[fit, 0]
    steps[fit] *= np.clip(np.sqrt((rate + 0.02) / ACCEPTED), 0.5, 1.5)
    # a rotation by more than this is no small one
    turns = fit & (move_type != TRANSLATION)
    steps[turns] = np.minimum(steps[turns], 1.0)
    chain.progress.tried[:] = 0.0


def is_settled(chain: Chain) -> bool:
    """Whether the energy no longer drifts; looked at every eighth sweep."""
    if chain.sweeps < SHORTEST or chain.sweeps % 8:
        return False
    return is_stationary(np.array(chain.energies), chain.drift)


def convergence(chain: Chain) -> Convergence:
    """What is to be said of a chain."""
    counts = _counts(chain.conf.arrays, chain.progress)
    acceptance, effective = {}, {}
    for move_type, name in enumerate(MOVE_NAMES):
        tries, accepted, candidates = counts[chain.conf.arrays.moves.move_type == move_type].sum(axis=0)
        if tries:
            acceptance[name] = float(accepted / tries)
            if move_type in (GIBBS_TORSION, RIGID_ROTATION):
                effective[name] = float(candidates / tries)
    energies = np.array(chain.energies)
    settled, steps = is_stationary(energies, chain.drift), chain.progress.steps
    return Convergence(settled, energies, acceptance, effective, steps=steps)


def is_stationary(energies: FloatArray, drift: float = 0.0) -> bool:
    """Whether the halves of the second half of a series have the same mean.

    Within twice the error that the autocorrelation of the energy allows for, or within ``drift``.
    """
    series = energies[len(energies) // 2 :]
    if len(series) < LEARNING:
        return False
    first, second = np.array_split(series, 2)
    error = np.hypot(_error_of_mean(first), _error_of_mean(second))
    return bool(abs(second.mean() - first.mean()) < max(2 * error, drift))


def _error_of_mean(series: FloatArray) -> float:
    """Standard error of a correlated series: that of uncorrelated blocks of growing length, the largest."""
    errors = []
    length = 1
    while len(series) // length >= 4:
        blocks = series[: len(series) // length * length].reshape(-1, length).mean(axis=1)
        errors.append(blocks.std(ddof=1) / np.sqrt(len(blocks)))
        length *= 2
    return float(max(errors))

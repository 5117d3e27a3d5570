"""Everything that is measured in one frame, small enough to keep for every frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import lattice_of
from dbm_gmx.chemistry.rules import Fault, Judgement, judge_atoms
from dbm_gmx.chemistry.stereo import Chirality
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.tacticity import racemo
from dbm_gmx.evaluation.distributions import TermClass, term_histograms, term_values
from dbm_gmx.evaluation.pairs import measure_pairs
from dbm_gmx.evaluation.shape import end_to_end, radius_of_gyration
from dbm_gmx.forcefield.constraints import free_topology
from dbm_gmx.forcefield.energy import bonded_energies
from dbm_gmx.options import Conditions, Limits


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured in a frame.

    Attributes
    ----------
    time
        ps.
    terms
        Histograms of bonds, angles and dihedrals by class, see :mod:`dbm_gmx.evaluation.distributions`.
    moments
        By class: number, sum and sum of squares of the values (nm, degrees).
    lennard_jones
        (molecules,) kJ/mol, of ``all`` atoms and of the heavy ones.
    energies
        kJ/mol of the frame by their name in ``gmx energy``, with their sum ``Potential``.
    pairs
        g(r) of the heavy atoms and of pairs of classes, see :mod:`dbm_gmx.evaluation.pairs`.
    radius, ends
        (molecules,) radius of gyration and distance of the chain's ends, nm.
    racemo
        (dyads,) 1 for a racemo, 0 for a meso dyad.
    faults
        What is wrong, one by one, see :mod:`dbm_gmx.chemistry.rules`.
    deviation
        (beads,) nm from the beads of the same time; none where there are no such.
    moving
        As ``energies``, but without bonds of fixed length and without the sum: rounding is all there is in
        these bonds.
    """

    time: float
    terms: dict[TermClass, FloatArray]
    moments: dict[TermClass, FloatArray]
    lennard_jones: dict[str, FloatArray]
    energies: dict[str, float]
    pairs: dict[str, FloatArray]
    radius: FloatArray
    ends: FloatArray
    racemo: FloatArray
    faults: tuple[Fault, ...] = ()
    deviation: FloatArray = field(default_factory=lambda: np.zeros(0))
    moving: dict[str, float] = field(default_factory=dict)
    judged: Judgement = field(default_factory=Judgement)


@dataclass(frozen=True, eq=False)
class Aims:
    """What frames are judged by.

    Attributes
    ----------
    chirality
        Of the stereocentres and bonds, see :func:`~dbm_gmx.files.conformers.reference_chirality`.
    limits
        Thresholds of the rules.
    """

    chirality: Chirality
    limits: Limits = field(default_factory=Limits)


def measure(
    system: System,
    frame: Frame,
    conditions: Conditions,
    aims: Aims,
    *,
    beads: Frame | None = None,
) -> Measured:
    """Measure a frame of whole molecules.

    Parameters
    ----------
    aims
        What it is judged by.
    beads
        The beads of the same time.
    """
    atoms = torch.from_numpy(frame.positions.astype(np.float64))
    lattice = lattice_of(frame)
    values = term_values(system, atoms, lattice)
    pairs = measure_pairs(system, frame, conditions)
    energies = {
        name: float(e) for name, e in bonded_energies(system.topology, atoms, lattice=lattice).items()
    }
    energies |= pairs.energies
    free = free_topology(system.topology, conditions.constraints)
    moving = {name: float(e) for name, e in bonded_energies(free, atoms, lattice=lattice).items()}
    moving |= pairs.energies
    shapes = _shapes(system, atoms.numpy())
    found = judge_atoms(system, frame, aims.chirality, beads=beads, limits=aims.limits)
    return Measured(
        frame.time,
        term_histograms(values),
        {key: np.array([len(v), v.sum(), v @ v]) for key, v in values.items()},
        pairs.lennard_jones,
        energies | {"Potential": sum(energies.values())},
        pairs.distributions,
        *shapes,
        found.faults,
        found.deviation,
        moving,
        found.judgement,
    )


def _shapes(system: System, atoms: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Radius of gyration, distance of the ends, and dyads of all molecules."""
    parts = []
    for match in system.matches:
        measures = (radius_of_gyration, end_to_end, racemo)
        parts.append([of(match.moltype, match.molecules(atoms)).ravel() for of in measures])
    radius, ends, dyads = (np.concatenate(part) for part in zip(*parts, strict=True))
    return radius, ends, dyads

"""Everything that is measured in one frame, small enough to keep for every frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Chirality
from dbm_gmx.chemistry.system import System, deviation
from dbm_gmx.chemistry.tacticity import racemo
from dbm_gmx.evaluate.distributions import TermClass, term_histograms, term_values
from dbm_gmx.evaluate.pairs import measure_pairs
from dbm_gmx.evaluate.rules import Fault, faults
from dbm_gmx.evaluate.shape import end_to_end, radius_of_gyration
from dbm_gmx.forcefield.energy import bonded_energies
from dbm_gmx.options import Conditions


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured in a frame.

    Attributes
    ----------
    time
        ps.
    terms
        Histograms of bonds, angles and dihedrals by class, see :mod:`dbm_gmx.evaluate.distributions`.
    moments
        By class: number, sum and sum of squares of the values (nm, degrees).
    lennard_jones
        (molecules,) kJ/mol, of ``all`` atoms and of the heavy ones.
    energies
        kJ/mol of the frame by their name in ``gmx energy``, with their sum ``Potential``.
    pairs
        g(r) of the heavy atoms and of pairs of classes, see :mod:`dbm_gmx.evaluate.pairs`.
    radius, ends
        (molecules,) radius of gyration and distance of the chain's ends, nm.
    racemo
        (dyads,) 1 for a racemo, 0 for a meso dyad.
    faults
        Broken hard rules.
    deviation
        (beads,) nm from the beads of the same time; none where there are no such.
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


def measure(
    system: System,
    frame: Frame,
    conditions: Conditions,
    *,
    chirality: Chirality,
    beads: Frame | None = None,
) -> Measured:
    """Measure a frame of whole molecules.

    Parameters
    ----------
    chirality
        Of the stereocentres, see :func:`~dbm_gmx.files.conformers.reference_chirality`.
    beads
        The beads of the same time.
    """
    atoms = torch.from_numpy(frame.positions.astype(np.float64))
    values = term_values(system, atoms)
    pairs = measure_pairs(system, frame, conditions)
    energies = {name: float(e) for name, e in bonded_energies(system.topology, atoms).items()}
    energies |= pairs.energies
    shapes = _shapes(system, atoms.numpy())
    return Measured(
        frame.time,
        term_histograms(values),
        {key: np.array([len(v), v.sum(), v @ v]) for key, v in values.items()},
        pairs.lennard_jones,
        energies | {"Potential": sum(energies.values())},
        pairs.distributions,
        *shapes,
        faults(system, frame, chirality),
        np.zeros(0)
        if beads is None
        else deviation(system, atoms.numpy(), beads.positions.astype(np.float64), frame.box),
    )


def _shapes(system: System, atoms: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Radius of gyration, distance of the ends, and dyads of all molecules."""
    parts = []
    for match in system.matches:
        measures = (radius_of_gyration, end_to_end, racemo)
        parts.append([of(match.moltype, match.molecules(atoms)).ravel() for of in measures])
    radius, ends, dyads = (np.concatenate(part) for part in zip(*parts, strict=True))
    return radius, ends, dyads

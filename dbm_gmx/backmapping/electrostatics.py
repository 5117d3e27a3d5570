"""What electrostatics within a cut-off are worth, where the simulation will have the whole lattice."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import atom_charges
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.forcefield.lattice import is_empty, lattice_excess
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.options import Conditions

log = logging.getLogger(__name__)

LARGE = 0.03
"""kT per atom, above which a longer cut-off is advised."""


@dataclass(frozen=True)
class Electrostatics:
    """Energy of one frame by the form within the cut-off, less that of the lattice.

    Attributes
    ----------
    cutoff
        nm.
    excess
        kT per atom, see :func:`~dbm_gmx.forcefield.lattice.lattice_excess`.
    """

    cutoff: float
    excess: float

    @property
    def is_large(self) -> bool:
        """Whether there is something to be done."""
        return abs(self.excess) > LARGE

    def text(self) -> str:
        """Say it."""
        said = f"zero-quadrupole form within {self.cutoff:g} nm for PME: {self.excess:+.3f} kT per atom"
        return f"{said}, LARGE (a longer rcoulomb is nearer)" if self.is_large else said


def measure_electrostatics(system: System, atoms: Frame, conditions: Conditions) -> Electrostatics | None:
    """Compare the two in a frame of atoms.

    ``None`` where there is nothing to compare: no charges, a reaction field in the simulation too, or a box
    that is all but empty.
    """
    charges = atom_charges(system.topology)
    if conditions.epsilon_rf is not None or not charges.any():
        return None
    if is_empty(atoms, conditions.rcoulomb):
        log.info("electrostatics are not compared with those of PME: the box is all but empty")
        return None
    kt = GAS * conditions.temperature * len(charges)
    excess = lattice_excess(charges, atoms, long_range(conditions))
    return Electrostatics(conditions.rcoulomb, excess / kt)

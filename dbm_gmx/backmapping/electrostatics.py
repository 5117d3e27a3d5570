"""What electrostatics within a cut-off are worth, where the simulation will have the whole lattice."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import atom_charges
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.forcefield.lattice import lattice_excess
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.options import Conditions

log = logging.getLogger(__name__)

LARGE = 0.03
"""kT per atom, above which a warning is given."""


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

    def text(self) -> str:
        """Say it."""
        return f"zero-quadrupole form within {self.cutoff:g} nm for PME: {self.excess:+.3f} kT per atom"


def measure_electrostatics(system: System, atoms: Frame, conditions: Conditions) -> Electrostatics | None:
    """Compare the two in a frame of atoms, and warn where they are far apart.

    ``None`` where there is nothing to compare: no charges, or a reaction field in the simulation too.
    """
    charges = atom_charges(system.topology)
    if conditions.epsilon_rf is not None or not charges.any():
        return None
    kt = GAS * conditions.temperature * len(charges)
    found = Electrostatics(conditions.rcoulomb, lattice_excess(charges, atoms, long_range(conditions)) / kt)
    if abs(found.excess) > LARGE:
        log.warning(
            "electrostatics: %s; with a longer cut-off (rcoulomb, --cutoff) they are nearer", found.text()
        )
    return found

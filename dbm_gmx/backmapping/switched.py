"""What Lennard-Jones with a shifted potential is worth, where the simulation switches the potential."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import pairs_in_parts
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import atom_types, is_excluded, nonbonded_parameters
from dbm_gmx.options import Conditions

AT_ONCE = 4000
"""Atoms whose pairs are looked for together, for less memory."""


@dataclass(frozen=True)
class Switched:
    """Energies of the Lennard-Jones of a frame, kJ/mol per mol of atoms.

    Attributes
    ----------
    start, cutoff
        Where the simulation begins to switch, and the cut-off, nm.
    energy
        With the potential shifted, as it is sampled.
    excess
        This less that with the potential switched.
    """

    start: float
    cutoff: float
    energy: float
    excess: float

    def text(self) -> str:
        """Say it."""
        share = 100 * abs(self.excess / self.energy) if self.energy else 0.0
        return (
            f"Lennard-Jones shifted at {self.cutoff:g} nm for one switched from {self.start:g} nm: "
            f"{self.excess:+.3f} kJ/mol per mol of atoms, {share:.1f} % of it, in the last frame"
        )


def measure_switched(system: System, atoms: Frame, conditions: Conditions) -> Switched | None:
    """Compare the two in a frame of atoms; ``None`` where the simulation switches no potential."""
    start, cutoff = conditions.potential_switch, conditions.rvdw
    if start is None or system.topology.nonbonded is None:
        return None
    parameters, types = nonbonded_parameters(system.topology), atom_types(system.topology)
    sampled = excess = 0.0
    for rows, found in pairs_in_parts(atoms.positions, atoms.box, cutoff, AT_ONCE):
        pairs = found.select((found.distances > 0) & (found.distances < cutoff))
        both = np.sort(np.stack([pairs.i, pairs.j], axis=1).astype(np.int64), axis=1)
        here: BoolArray = ~np.asarray(pairs.cells.any(axis=1))
        here[here] = is_excluded(system.topology, both[here])
        pairs = pairs.select(~here)
        c6, c12 = (table[types[pairs.i], types[pairs.j]] for table in (parameters.c6, parameters.c12))
        # those of two atoms of a part are found both ways round
        weight = np.where(pairs.j < rows.stop, 0.5, 1.0)
        whole = _lennard_jones(pairs.distances, c6, c12)
        shifted = whole - _lennard_jones(np.full_like(whole, cutoff), c6, c12)
        sampled += float(weight @ shifted)
        excess += float(weight @ (shifted - whole * switch(pairs.distances, start, cutoff)))
    return Switched(start, cutoff, sampled / system.n_atoms, excess / system.n_atoms)


def switch(distances: FloatArray, start: float, cutoff: float) -> FloatArray:
    """Factor of the potential: from 1 at ``start`` to 0 at the cut-off (GROMACS manual, potential-switch)."""
    x = np.clip((distances - start) / (cutoff - start), 0.0, 1.0)
    factor: FloatArray = 1 - x**3 * (10 - 15 * x + 6 * x * x)
    return factor


def _lennard_jones(distances: FloatArray, c6: FloatArray, c12: FloatArray) -> FloatArray:
    sixth: FloatArray = distances**-6.0
    return sixth * (c12 * sixth - c6)

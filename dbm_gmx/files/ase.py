"""Atoms as those of ASE.  Loaded only where it is asked for: ASE is an extra, ``dbm-gmx[ase]``."""

from __future__ import annotations

import ase
import numpy as np

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import MoleculeType, Topology, atom_charges, each_molecule, residue_numbers
from dbm_gmx.chemistry.units import ANGSTROM
from dbm_gmx.errors import InputError


def to_ase(topology: Topology, frame: Frame) -> ase.Atoms:
    """Return a frame as atoms of ASE.

    Parameters
    ----------
    topology
        What the atoms are.
    frame
        Where they are.

    Returns
    -------
    Symbols (``X`` where there is no element), positions and cell in angstrom, masses, charges, and arrays
    ``names``, ``types``, ``residuenames`` and ``residuenumbers``.

    Raises
    ------
    InputError
        If they are of different sizes.
    """
    if len(frame.positions) != topology.n_atoms:
        raise InputError(f"{len(frame.positions)} positions for {topology.n_atoms} atoms")
    moltypes = [moltype for moltype, _ in each_molecule(topology)]
    masses = np.concatenate([np.zeros(0), *(moltype.masses for moltype in moltypes)])
    atoms = ase.Atoms(
        [str(one) or "X" for one in _all(moltypes, "element")],
        positions=frame.positions.astype(np.float64) / ANGSTROM,
        cell=None if frame.free else frame.box / ANGSTROM,
        pbc=not frame.free,
        masses=masses,
        charges=atom_charges(topology),
    )
    for name, key in (("names", "name"), ("types", "type"), ("residuenames", "resname")):
        atoms.new_array(name, np.array([str(one) for one in _all(moltypes, key)]))
    atoms.new_array("residuenumbers", np.fromiter(residue_numbers(topology), np.int64))
    return atoms


def _all(moltypes: list[MoleculeType], key: str) -> list[object]:
    return [value for moltype in moltypes for value in moltype.attribute(key)]

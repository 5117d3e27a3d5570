"""Bonds that are cis where nearly all of their kind are trans: as many as chance makes are no fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp

import numpy as np
from scipy.stats import binom

from dbm_gmx.chemistry.array_types import Positions, SignArray
from dbm_gmx.chemistry.stereo import (
    Chirality,
    are_bonds,
    chirality_of,
    stereo_elements,
    usual_states,
)
from dbm_gmx.chemistry.stereo_bonds import preference
from dbm_gmx.chemistry.system import System, copies_of_runs
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.chemistry.vectors import Lattice

RARE = 0.01
"""How likely so many unusual bonds must be, that these are taken as they are."""


def unusual_bonds(
    system: System, atoms: Positions, known: Chirality, temperature: float, lattice: Lattice | None = None
) -> tuple[dict[str, SignArray], tuple[str, ...]]:
    """States of bonds that are not the usual ones, where as many are by themselves.

    Amides, esters and acids that nothing defines are expected to be trans and Z
    (:func:`~dbm_gmx.chemistry.stereo.usual_states`).  Of the molecules of a simulation some are not, by their
    preference (:func:`~dbm_gmx.chemistry.stereo_bonds.preference`), and no simulation turns them.  More of
    them than chance makes (:data:`RARE`) are a fault.

    Parameters
    ----------
    atoms
        (n, 3) nm, molecules whole.
    known
        States that something defines; not those that are only usual.
    temperature
        K.

    Returns
    -------
    By molecule type (copies, c) states of these bonds, 0 for all other elements; and what is to be said.
    """
    found, notes = dict[str, SignArray](), list[str]()
    for name, signs in _against_usual(system, atoms, known, lattice).items():
        moltype = system.topology.molecule_types[name]
        taken = np.zeros_like(signs)
        for rows in _alike(moltype):
            odd, total = int((signs[:, rows] < 0).sum()), int((signs[:, rows] != 0).sum())
            share = 1.0 / (
                1.0 + exp(preference(moltype, stereo_elements(moltype)[rows[0]]) / (GAS * temperature))
            )
            if odd and float(binom.sf(odd - 1, total, share)) > RARE:
                taken[:, rows] = np.where(signs[:, rows] < 0, -usual_states(moltype)[rows], 0)
                bonds = "amide, ester or acid bonds"
                notes.append(
                    f"{name}: {odd} of {total} {bonds} are not as usual (trans, Z); so few are no fault, and "
                    "they are taken as they are. -r says what is right"
                )
        if taken.any():
            found[name] = taken
    return found, tuple(notes)


def _against_usual(
    system: System, atoms: Positions, known: Chirality, lattice: Lattice | None
) -> Mapping[str, SignArray]:
    """By molecule type (copies, c) 1 for bonds that are as usual, -1 for the others, 0 for what is known."""
    parts: dict[str, list[SignArray]] = {}
    for match, copies in copies_of_runs(system):
        elements, usual = stereo_elements(match.moltype), usual_states(match.moltype)
        states = chirality_of(match.molecules(atoms), elements, lattice)
        given = known[match.moltype.name]
        unknown = (given if len(given) == 1 else given[copies]) == 0
        judged = unknown & are_bonds(elements)
        parts.setdefault(match.moltype.name, []).append(np.where(judged, states * usual, 0).astype(np.int8))
    return {name: np.concatenate(signs) for name, signs in parts.items()}


def _alike(moltype: MoleculeType) -> Iterator[list[int]]:
    """Bonds with a usual state, together those that prefer it as much."""
    elements = stereo_elements(moltype)
    rows = np.flatnonzero(are_bonds(elements) & (usual_states(moltype) != 0)).tolist()
    worth = {row: preference(moltype, elements[row]) for row in rows}
    for better in sorted(set(worth.values())):
        yield [row for row in rows if worth[row] == better]

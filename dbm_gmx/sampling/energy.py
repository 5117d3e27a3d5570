"""The potential energy of a frame, compiled: terms, special pairs, all other pairs within the cut-offs."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.nonbonded import (
    clamped,
    coulomb,
    inverse_distance,
    inverse_sixth,
    lennard_jones,
    special_energy,
)
from dbm_gmx.forcefield.terms import term_energy
from dbm_gmx.sampling.arrays import Configuration
from dbm_gmx.sampling.neighbours import at_home, image

NO_CORE = np.float32(0.0)


class EnergyArrays(NamedTuple):
    """What the energy is worked out from, see :class:`~dbm_gmx.sampling.arrays.Arrays`."""

    constants: Any
    atoms: Any
    beads: Any
    molecules: Any
    terms: Any
    special: Any
    partners: Any


def total_energy(conf: Configuration) -> float:
    """Energy of atoms and beads, kJ/mol."""
    arrays = conf.arrays
    restraints = 0.5 * arrays.constants.stiffness * float((conf.offsets**2).sum())
    return float(full_energy(conf._replace(arrays=conf.arrays.part(EnergyArrays))).sum()) + restraints


@compiled()
def full_energy(conf: Any) -> Any:
    """Potential energy of a frame.

    Returns
    -------
    (3,) kJ/mol: terms and springs, special pairs, all other pairs within the cut-off.
    """
    neighbours, arrays = conf.neighbours, conf.arrays
    total = np.zeros(3)
    positions, terms, special = conf.positions, arrays.terms, arrays.special
    for molecule in range(len(arrays.molecules.first_atom)):
        moltype, first = arrays.molecules.moltype[molecule], arrays.molecules.first_atom[molecule]
        for t in range(terms.start[moltype], terms.start[moltype + 1]):
            total[0] += term_energy(terms, t, positions, first)
        for s in range(special.start[moltype], special.start[moltype + 1]):
            i, j = first + special.pair[s, 0], first + special.pair[s, 1]
            r2 = 0.0
            for d in range(3):
                r2 += (positions[i, d] - positions[j, d]) ** 2
            total[1] += special_energy(arrays.constants, arrays.atoms, special.parameters, s, (i, j), r2)
    for bead in range(len(neighbours.beads)):
        if arrays.beads.owned_start[bead] < arrays.beads.owned_start[bead + 1]:
            total[2] += 0.5 * _bead_energy(conf, bead)
    return total


@compiled()
def _bead_energy(conf: Any, bead: int) -> float:
    """Energy of the atoms a bead owns with all that are not special to them, within the cut-offs."""
    neighbours, arrays = conf.neighbours, conf.arrays
    positions, atoms, constants = conf.positions, arrays.atoms, arrays.constants
    owned, owned_start, partners = arrays.beads.owned, arrays.beads.owned_start, arrays.partners
    centre, limit = neighbours.beads[bead], (neighbours.radius[bead] + constants.reach) ** 2
    begin, end, size = neighbours.near_start[bead], neighbours.near_start[bead + 1], 0
    for q in range(begin, end):
        size += owned_start[neighbours.near[q] + 1] - owned_start[neighbours.near[q]]
    around, types = np.empty((4, size), np.float32), np.empty(size, np.int64)
    molecule = atoms.molecule[owned[owned_start[bead]]]
    first, moltype = arrays.molecules.first_atom[molecule], arrays.molecules.moltype[molecule]
    before = partners.atom_start[moltype]
    # where the atoms of the same molecule are in the list
    listed = np.full(partners.atom_start[moltype + 1] - before, -1, np.int64)
    k = 0
    for q in range(begin, end):
        sx, sy, sz = image(neighbours, neighbours.shift[q])
        sx, sy, sz = sx - centre[0], sy - centre[1], sz - centre[2]
        same = at_home(neighbours.shift[q])
        for r in range(owned_start[neighbours.near[q]], owned_start[neighbours.near[q] + 1]):
            j = owned[r]
            x, y, z = positions[j, 0] + sx, positions[j, 1] + sy, positions[j, 2] + sz
            if x * x + y * y + z * z < limit:
                around[0, k], around[1, k], around[2, k], around[3, k] = x, y, z, atoms.charge[j]
                types[k] = atoms.type[j]
                if same and atoms.molecule[j] == molecule:
                    listed[j - first] = k
                k += 1
    around = around[:, :k].copy()  # without gaps, for loops over many at once
    c6, c12, charge = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.float32)
    total = 0.0
    for r in range(owned_start[bead], owned_start[bead + 1]):
        i = owned[r]
        for j in range(k):
            c6[j], c12[j] = atoms.c6[atoms.type[i], types[j]], atoms.c12[atoms.type[i], types[j]]
            charge[j] = around[3, j]
        for t in range(partners.start[before + i - first], partners.start[before + i - first + 1]):
            j = listed[partners.partner[t]]
            if j >= 0:
                c6[j] = c12[j] = charge[j] = 0.0
        x = np.float32(positions[i, 0] - centre[0])
        y = np.float32(positions[i, 1] - centre[1])
        z = np.float32(positions[i, 2] - centre[2])
        total += dispersion_energy(x, y, z, around, c6, c12, constants)
        if atoms.charge[i] != 0.0:
            total += atoms.charge[i] * charge_energy(x, y, z, around, charge, constants)
    return total


@compiled()
def dispersion_energy(x: Any, y: Any, z: Any, around: Any, c6: Any, c12: Any, constants: Any) -> Any:
    """Lennard-Jones energy of an atom at x, y, z with those around it, shifted to zero at the cut-off.

    Parameters
    ----------
    around
        (3 or more, k) float32 x, y, z.
    c6, c12
        (k,) float32 with each.
    """
    total = np.float32(0.0)
    limit, shift6 = np.float32(constants.lj2), np.float32(constants.shift6)
    ax, ay, az = around[0], around[1], around[2]
    for j in range(len(c6)):
        dx, dy, dz = ax[j] - x, ay[j] - y, az[j] - z
        r2 = dx * dx + dy * dy + dz * dz
        i6 = inverse_sixth(clamped(r2), NO_CORE)
        energy = lennard_jones(i6, c6[j], c12[j], shift6)
        total += energy if r2 < limit else np.float32(0.0)
    return total


@compiled()
def charge_energy(x: Any, y: Any, z: Any, around: Any, charge: Any, constants: Any) -> Any:
    """Potential at x, y, z due to the charges around; arguments as for :func:`dispersion_energy`."""
    total = np.float32(0.0)
    limit = np.float32(constants.coulomb2)
    k_rf, c_rf = np.float32(constants.k_rf), np.float32(constants.c_rf)
    ax, ay, az = around[0], around[1], around[2]
    for j in range(len(charge)):
        dx, dy, dz = ax[j] - x, ay[j] - y, az[j] - z
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        energy = charge[j] * coulomb(inverse_distance(near), near, k_rf, c_rf)
        total += energy if r2 < limit else np.float32(0.0)
    return total

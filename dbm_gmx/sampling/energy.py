"""The potential energy of a frame, compiled: terms, special pairs, all other pairs within the cut-offs."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.vectors import arm, dot, in_lattice
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.forms import DIHEDRALS, PRODUCT
from dbm_gmx.forcefield.nonbonded import (
    clamped,
    coulomb,
    inverse_distance,
    inverse_sixth,
    lennard_jones,
    single,
    single_tail,
    special_energy,
    switched_lennard_jones,
    usual_pair,
)
from dbm_gmx.forcefield.terms import sum_of_terms, term_energy, term_parameters, term_rows
from dbm_gmx.sampling.arrays import Configuration
from dbm_gmx.sampling.neighbours import at_home, image

NO_CORE = np.float32(0.0)


class EnergyArrays(NamedTuple):
    """What the energy is worked out from, see :class:`~dbm_gmx.sampling.arrays.Arrays`."""

    constants: Any
    type: Any
    charge: Any
    molecule: Any
    c6: Any
    c12: Any
    owned_start: Any
    owned: Any
    moltype: Any
    first_atom: Any
    term_start: Any
    form: Any
    atoms: Any
    parameters: Any
    tables: Any
    special_start: Any
    special: Any
    special_parameters: Any
    atom_start: Any
    partner_start: Any
    partner: Any


def total_energy(conf: Configuration) -> float:
    """Energy of atoms and beads, kJ/mol."""
    return float(full_energy(conf).sum()) + bead_energy(conf)


def bead_energy(conf: Configuration) -> float:
    """Energy of the bead restraints, kJ/mol."""
    return float(0.5 * conf.arrays.beads.stiffness @ (conf.offsets**2).sum(axis=1))


def stiff_energy(conf: Configuration) -> float:
    """Energy of bonds, angles and springs, kJ/mol."""
    return float(_stiff_energy(conf.place, conf.arrays.part(EnergyArrays)))


@compiled()
def _stiff_energy(place: Any, arrays: Any) -> float:
    total, tables, x = 0.0, arrays.tables, in_lattice(place.positions, place.lattice)
    for molecule in range(len(arrays.first_atom)):
        moltype, first = arrays.moltype[molecule], arrays.first_atom[molecule]
        for t in range(arrays.term_start[moltype], arrays.term_start[moltype + 1]):
            form = arrays.form[t]
            if form < DIHEDRALS or form == PRODUCT:
                rows, parameters = term_rows(arrays.atoms, t, first), term_parameters(arrays.parameters, t)
                total += term_energy(form, parameters, tables, x, rows)
    return total


def full_energy(conf: Configuration) -> FloatArray:
    """Potential energy of a frame.

    Returns
    -------
    (3,) kJ/mol: terms and springs, special pairs, all other pairs within the cut-off.
    """
    return np.asarray(_full_energy(conf.place, conf.arrays.part(EnergyArrays)), np.float64)


@compiled(makes_arrays=True)
def _full_energy(place: Any, arrays: Any) -> Any:
    total = np.zeros(3)
    for molecule in range(len(arrays.first_atom)):
        _add_inner(place, arrays, molecule, total)
    listed = np.full(arrays.atom_start[-1], -1, np.int64)  # of the atoms of one molecule, none as yet
    for bead in range(len(place.beads)):
        if arrays.owned_start[bead] < arrays.owned_start[bead + 1]:
            total[2] += 0.5 * _bead_energy(place, arrays, bead, listed)
    return total


@compiled()
def _add_inner(place: Any, arrays: Any, molecule: int, total: Any) -> None:
    """Add the energies of the terms and of the special pairs of a molecule."""
    x = in_lattice(place.positions, place.lattice)
    moltype, first = arrays.moltype[molecule], arrays.first_atom[molecule]
    terms = arrays.term_start[moltype], arrays.term_start[moltype + 1], first
    total[0] += sum_of_terms(arrays, terms, x)
    for s in range(arrays.special_start[moltype], arrays.special_start[moltype + 1]):
        i, j = first + arrays.special[s, 0], first + arrays.special[s, 1]
        usual = usual_pair(arrays.type, arrays.charge, arrays.c6, arrays.c12, i, j)
        apart = arm(x, j, i)
        r2 = dot(apart, apart)
        total[1] += special_energy(arrays.constants, arrays.special_parameters[s], usual, r2)


@compiled(makes_arrays=True)
def _bead_energy(place: Any, arrays: Any, bead: int, listed: Any) -> float:
    """Energy of the atoms a bead owns with all that are not special to them, within the cut-offs.

    ``listed`` says where the atoms of the same molecule are among those around; it is left as it was, -1.
    """
    positions, centre, limit = (
        place.positions,
        place.beads[bead],
        (place.radius[bead] + arrays.constants.reach) ** 2,
    )
    begin, end, size = place.near_start[bead], place.near_start[bead + 1], 0
    for q in range(begin, end):
        size += arrays.owned_start[place.near[q] + 1] - arrays.owned_start[place.near[q]]
    around, types = np.empty((4, size), np.float32), np.empty(size, np.int64)
    # the image before of an atom of the molecule, -1 if there is none; one is all there is without a lattice
    other = np.empty(size if place.lattice is not None else 0, np.int64)
    molecule = arrays.molecule[arrays.owned[arrays.owned_start[bead]]]
    first, moltype = arrays.first_atom[molecule], arrays.moltype[molecule]
    before = arrays.atom_start[moltype]
    k = 0
    for q in range(begin, end):
        sx, sy, sz = image(place, place.shift[q])
        sx, sy, sz = sx - centre[0], sy - centre[1], sz - centre[2]
        near_home = at_home(place.shift[q]) or place.lattice is not None
        for r in range(arrays.owned_start[place.near[q]], arrays.owned_start[place.near[q] + 1]):
            j = arrays.owned[r]
            x, y, z = positions[j, 0] + sx, positions[j, 1] + sy, positions[j, 2] + sz
            if x * x + y * y + z * z < limit:
                around[0, k], around[1, k], around[2, k], around[3, k] = x, y, z, arrays.charge[j]
                types[k] = arrays.type[j]
                if near_home and arrays.molecule[j] == molecule:
                    if place.lattice is not None:
                        other[k] = listed[j - first]
                    listed[j - first] = k
                k += 1
    around = around[:, :k].copy()  # without gaps, for loops over many at once
    c6, c12, charge = np.empty(k, np.float32), np.empty(k, np.float32), np.empty(k, np.float32)
    total = 0.0
    for r in range(arrays.owned_start[bead], arrays.owned_start[bead + 1]):
        i = arrays.owned[r]
        for j in range(k):
            c6[j], c12[j] = arrays.c6[arrays.type[i], types[j]], arrays.c12[arrays.type[i], types[j]]
            charge[j] = around[3, j]
        row = before + i - first
        for t in range(arrays.partner_start[row], arrays.partner_start[row + 1]):
            j = listed[arrays.partner[t]]
            while j >= 0:
                c6[j] = c12[j] = charge[j] = 0.0
                j = other[j] if place.lattice is not None else -1
        x = np.float32(positions[i, 0] - centre[0])
        y = np.float32(positions[i, 1] - centre[1])
        z = np.float32(positions[i, 2] - centre[2])
        own = arrays.charge[i]
        total += pair_energy((x, y, z), own, around, (c6, c12, charge), k, arrays.constants)
    for q in range(begin, end):
        for r in range(arrays.owned_start[place.near[q]], arrays.owned_start[place.near[q] + 1]):
            if arrays.molecule[arrays.owned[r]] == molecule:
                listed[arrays.owned[r] - first] = -1
    return total


@compiled(forceinline=True)
def pair_energy(at: Any, charge: Any, around: Any, coefficients: Any, count: int, constants: Any) -> Any:
    """Energy of an atom with those around it, within the cut-offs.

    Parameters
    ----------
    at, charge
        Where it is: x, y, z, and its charge.
    around
        (3, k) float32 x, y, z.
    coefficients
        ``c6, c12, charge`` (k,) float32 with each, and of each.
    count
        How many of these count, the first ones.
    """
    # a loop of its own for each form: roots take time, and so does it to hand over all constants
    c6, c12, charges = coefficients
    if constants.tail.switched:
        energy = _switched_energy(at, around, (c6, c12), count, constants)
    else:
        cutoff = np.float32(constants.lj2), np.float32(constants.tail.shift6)
        energy = _shifted_energy(at, around, (c6, c12), count, cutoff)
    total = float(energy)
    if constants.charged and charge != 0.0:
        ends = np.float32(constants.coulomb2), single(constants.beyond)
        total += charge * _charge_energy(at, around, charges, count, ends)
    return total


@compiled()
def _shifted_energy(at: Any, around: Any, coefficients: Any, count: int, cutoff: Any) -> Any:
    total, (x, y, z), (c6, c12), (limit, shift6) = np.float32(0.0), at, coefficients, cutoff
    ax, ay, az = around[0], around[1], around[2]
    for j in range(count):
        dx, dy, dz = ax[j] - x, ay[j] - y, az[j] - z
        r2 = dx * dx + dy * dy + dz * dz
        i6 = inverse_sixth(clamped(r2), NO_CORE)
        energy = lennard_jones(i6, c6[j], c12[j], shift6)
        total += energy if r2 < limit else np.float32(0.0)
    return total


@compiled()
def _switched_energy(at: Any, around: Any, coefficients: Any, count: int, constants: Any) -> Any:
    """Lennard-Jones energy where the force is switched; arguments as for :func:`pair_energy`."""
    total, (x, y, z), (c6, c12) = np.float32(0.0), at, coefficients
    limit, tail = np.float32(constants.lj2), single_tail(constants.tail)
    ax, ay, az = around[0], around[1], around[2]
    for j in range(count):
        dx, dy, dz = ax[j] - x, ay[j] - y, az[j] - z
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        energy = switched_lennard_jones(near, inverse_sixth(near, NO_CORE), c6[j], c12[j], tail)
        total += energy if r2 < limit else np.float32(0.0)
    return total


@compiled()
def _charge_energy(at: Any, around: Any, charge: Any, count: int, cutoff: Any) -> Any:
    total, (x, y, z), (limit, beyond) = np.float32(0.0), at, cutoff
    ax, ay, az = around[0], around[1], around[2]
    for j in range(count):
        dx, dy, dz = ax[j] - x, ay[j] - y, az[j] - z
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        energy = charge[j] * coulomb(inverse_distance(near), near, beyond)
        total += energy if r2 < limit else np.float32(0.0)
    return total

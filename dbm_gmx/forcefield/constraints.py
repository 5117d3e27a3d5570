"""Bonds of fixed length: which there are, and how they get it."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.interactions import is_convertible
from dbm_gmx.chemistry.topology import HELD, MoleculeType, Terms, Topology, hydrogens
from dbm_gmx.chemistry.vectors import arm, dot, in_lattice
from dbm_gmx.chemistry.virtual_sites import virtual_sites
from dbm_gmx.compiled import compiled
from dbm_gmx.errors import InputError
from dbm_gmx.options import CONSTRAINTS


def fixed_bonds(moltype: MoleculeType, constraints: str) -> tuple[IntArray, FloatArray]:
    """Bonds of fixed length: those that grompp makes constraints.

    Parameters
    ----------
    moltype
        The molecule type.
    constraints
        As in an ``.mdp``: ``none``, ``h-bonds`` (an atom's *name* begins with H), ``all-bonds``.  Only the
        function types 1 to 4 of bonds can be fixed.  ``[ constraints ]`` and ``[ settles ]`` of the
        topology hold with all of them.

    Returns
    -------
    (c, 2) atoms and (c,) lengths, nm.  Virtual sites have none.

    Raises
    ------
    InputError
        If ``constraints`` is something else, or two different lengths are fixed for one pair of atoms.
    """
    if constraints not in CONSTRAINTS:
        raise InputError(f"constraints = {constraints!r}; supported are {', '.join(CONSTRAINTS)}")
    sites = virtual_sites(moltype).virtual
    found: dict[tuple[int, int], float] = {}
    for terms in moltype.terms:
        pairs, values = _fixed(moltype, terms, constraints)
        real = ~np.isin(pairs, sites).any(axis=1)
        for pair, length in zip(np.sort(pairs[real], axis=1).tolist(), values[real].tolist(), strict=True):
            i, j = pair
            if not math.isclose(found.setdefault((i, j), length), length, rel_tol=1e-6):
                raise InputError(
                    f"molecule type {moltype.name}: atoms {i + 1} ({moltype.names[i]}) and {j + 1} "
                    f"({moltype.names[j]}) are to be both {found[i, j]:g} and {length:g} nm apart"
                )
    ordered = sorted(found)
    return np.array(ordered, np.int64).reshape(-1, 2), np.array([found[p] for p in ordered], np.float64)


def _fixed(moltype: MoleculeType, terms: Terms, constraints: str) -> tuple[IntArray, FloatArray]:
    """Pairs (c, 2) of fixed distance among some terms, and their distances (c,), nm."""
    pairs, values = terms.atoms, terms.parameters
    if terms.directive == "settles":
        pairs = np.concatenate([pairs[:, :2], pairs[:, ::2], pairs[:, 1:]])
        return pairs, np.concatenate([values[:, 0], values[:, 0], values[:, 1]])
    if terms.directive == "constraints":
        return pairs, values[:, 0]
    chosen: BoolArray = np.full(len(pairs), constraints == "all-bonds" and is_convertible(terms))
    if constraints == "h-bonds" and is_convertible(terms):
        chosen = np.asarray(named_h(moltype)[pairs].any(axis=1))
    # those between molecules are never constrained
    chosen &= np.array([moltype.graph.get_edge_data(*p[:2], {}).get("kind") != HELD for p in pairs], bool)
    return pairs[chosen, :2], values[chosen, 0] if chosen.any() else np.zeros(0)


def named_h(moltype: MoleculeType) -> BoolArray:
    """(n,) which atoms grompp takes for hydrogens: those of a name with H or h in front."""
    return np.array([name.startswith(("H", "h")) for name in moltype.names], bool)


def h_bond_notes(moltype: MoleculeType) -> tuple[str, ...]:
    """What is to be said of ``constraints = h-bonds`` where names and elements do not say the same."""
    by_name, by_element = named_h(moltype), hydrogens(moltype) & (moltype.masses > 0)
    bonds = [t.atoms for t in moltype.terms if is_convertible(t)]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *bonds])
    fixed, meant = by_name[pairs].any(axis=1), by_element[pairs].any(axis=1)
    notes = []
    for which, how in ((meant & ~fixed, "are not fixed"), (fixed & ~meant, "are fixed")):
        if which.any():
            i, j = pairs[which][0].tolist()
            notes.append(
                f"{moltype.name}: constraints = h-bonds goes by names that begin with H, as in GROMACS: "
                f"{int(which.sum())} bonds {how}, the first {moltype.names[i]}-{moltype.names[j]}"
            )
    return tuple(notes)


def without_bonds(terms: Terms, fixed: IntArray) -> Terms:
    """Leave out bonds whose length is fixed, (c, 2) as of :func:`fixed_bonds`; other terms stay."""
    if not is_convertible(terms):
        return terms
    held = {(int(min(p)), int(max(p))) for p in fixed}
    keep = np.array([(int(min(p)), int(max(p))) not in held for p in terms.atoms], bool)
    return Terms(terms.directive, terms.function, terms.atoms[keep], terms.parameters[keep])


@lru_cache(maxsize=8)
def free_topology(topology: Topology, constraints: str) -> Topology:
    """The topology without the energies of bonds of fixed length, of which rounding is all there is."""
    moltypes = {}
    for name, moltype in topology.molecule_types.items():
        fixed, _ = fixed_bonds(moltype, constraints)
        terms = [without_bonds(t, fixed) for t in moltype.terms]
        moltypes[name] = replace(moltype, terms=tuple(t for t in terms if len(t.atoms)))
    return replace(topology, molecule_types=moltypes)


# --- projection ------------------------------------------------------------------------------------


@compiled()
def shake(
    positions: Any,
    bonds: Any,
    length: Any,
    mass: Any,
    tolerance: float = 1e-6,
    rounds: int = 500,
    lattice: Any = None,
) -> None:
    """Put bonds of fixed length to that length, moving atoms as little as their masses ask (in place).

    Bonds are gone through in turn until all are within the relative ``tolerance`` (Ryckaert, Ciccotti,
    Berendsen, J. Comput. Phys. 23, 327, 1977).

    Parameters
    ----------
    positions, mass
        (n, 3) nm and (n,) of the atoms of one molecule.
    bonds, length
        (c, 2) and (c,) nm.
    lattice
        See :func:`shake_all`.
    """
    bonded = in_lattice(positions, lattice)
    for _ in range(rounds):
        worst = 0.0
        for f in range(len(bonds)):
            i, j = bonds[f, 0], bonds[f, 1]
            x, y, z = arm(bonded, i, j)
            stretch = 1.0 - length[f] / math.sqrt(x * x + y * y + z * z)
            worst = max(worst, abs(stretch))
            share = mass[j] / (mass[i] + mass[j])
            mine, other = stretch * share, stretch * (1.0 - share)
            positions[i, 0] += mine * x
            positions[i, 1] += mine * y
            positions[i, 2] += mine * z
            positions[j, 0] -= other * x
            positions[j, 1] -= other * y
            positions[j, 2] -= other * z
        if worst < tolerance:
            break


@compiled()
def squared_stretch(positions: Any, molecules: Any, bonds: Any, lattice: Any = None) -> float:
    """Sum of the squares by which bonds of fixed length are off that length, nm^2; see :func:`shake_all`."""
    total, bonded = 0.0, in_lattice(positions, lattice)
    for molecule in range(len(molecules.first_atom)):
        moltype, first = molecules.moltype[molecule], molecules.first_atom[molecule]
        for b in range(bonds.bond_start[moltype], bonds.bond_start[moltype + 1]):
            apart = arm(bonded, first + bonds.bond[b, 1], first + bonds.bond[b, 0])
            total += (math.sqrt(dot(apart, apart)) - bonds.length[b]) ** 2
    return total


@compiled()
def shake_all(positions: Any, molecules: Any, bonds: Any, lattice: Any = None) -> None:
    """Put the bonds of fixed length of all molecules of a system to that length (in place).

    Parameters
    ----------
    positions
        (n, 3) nm.
    molecules, bonds
        See :class:`~dbm_gmx.sampling.arrays.MoleculeArrays` and ``BondArrays``.
    lattice
        Where molecules are bonded to images of their own.
    """
    for molecule in range(len(molecules.first_atom)):
        moltype, first = molecules.moltype[molecule], molecules.first_atom[molecule]
        mass = bonds.mass[bonds.atom_start[moltype] : bonds.atom_start[moltype + 1]]
        begin, end = bonds.bond_start[moltype], bonds.bond_start[moltype + 1]
        rows = positions[first : first + len(mass)]
        shake(rows, bonds.bond[begin:end], bonds.length[begin:end], mass, 1e-6, 500, lattice)

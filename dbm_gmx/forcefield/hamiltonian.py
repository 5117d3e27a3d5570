"""The Hamiltonian: the distribution the atoms are to have, given the beads.

The logarithm of the target density is ``-U(r) / kT - sum over beads |M(r) - R|^2 / (2 s^2)``: U the
energy of the user's force field, M(r) the mapped centres, R the beads, s their spread.  Bonds of fixed
length are springs of width :data:`BOND_SPREAD`; what is written is projected onto their lengths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import (
    MoleculeType,
    NonBonded,
    Terms,
    atom_types,
    chemical_graph,
    excluded_pairs,
)
from dbm_gmx.chemistry.units import ELECTRIC, GAS
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.constraints import fixed_bonds, without_bonds
from dbm_gmx.forcefield.nonbonded import LongRange, long_range
from dbm_gmx.forcefield.terms import BondedTerms, canonical, energy_terms, fewer_terms
from dbm_gmx.options import Conditions

CROWDED = 5
"""Neighbours of an atom from which on some angles between them may be left out of a force field."""

APART = 0.2**12
"""kJ/mol nm^12 of a repulsion that keeps atoms from one place: 0.004 kJ/mol at 0.32 nm, 4000 at 0.1 nm."""

BOND_SPREAD = 0.002
"""Standard deviation of a fixed bond's length while it is sampled, nm."""


@dataclass(frozen=True, eq=False)
class MoleculeHamiltonian:
    """One molecule type.

    Attributes
    ----------
    moltype, mapping
        The molecule type and its beads.
    terms
        Bonded terms, springs for bonds of fixed length among them.
    fixed, length
        (c, 2), (c,) nm: bonds of fixed length.
    types, charges
        (n,) rows of the non-bonded parameters; charges times the square root of the electric constant
        over the permittivity, so that a product of two over a distance is an energy.
    special, special_parameters
        (p, 2) i < j and (p, 5): pairs of the same molecule that do not interact as others do, with
        ``c6, c12, qq`` of their own interaction, which has no cut-off, ``qq`` of what
        is beyond the cut-off on excluded pairs, and 1 where the usual interaction comes on top.
    weights
        (beads, n) of the mapped centres.
    width
        (beads,) of the bead restraints, nm.
    """

    moltype: MoleculeType
    mapping: Mapping
    terms: BondedTerms
    fixed: IntArray
    length: FloatArray
    types: IntArray
    charges: FloatArray
    special: IntArray
    special_parameters: FloatArray
    weights: sp.csr_matrix
    width: FloatArray


@dataclass(frozen=True, eq=False)
class Hamiltonian:
    """The whole system.

    Attributes
    ----------
    system, conditions
        What it was made from.
    molecules
        By molecule type.
    c6, c12
        (t, t) Lennard-Jones coefficients of pairs of types.
    field
        The electrostatics.
    charged
        Whether there are charges at all.
    """

    system: System
    conditions: Conditions
    molecules: dict[str, MoleculeHamiltonian]
    c6: FloatArray
    c12: FloatArray
    field: LongRange
    charged: bool

    @property
    def kt(self) -> float:
        """Thermal energy, kJ/mol."""
        return GAS * self.conditions.temperature


def make_hamiltonian(system: System, conditions: Conditions) -> Hamiltonian:
    """Collect what the sampler needs of a system.

    Raises
    ------
    InputError
        If the force field has a functional form, a virtual site or a missing parameter that cannot
        be sampled.
    """
    nonbonded = system.topology.nonbonded
    if nonbonded is None:
        raise InputError("no non-bonded parameters ([ defaults ], [ atomtypes ])", path=system.topology.path)
    types = atom_types(system.topology)
    molecules: dict[str, MoleculeHamiltonian] = {}
    for match in system.matches:
        rows = types[match.first_atom : match.first_atom + match.moltype.n_atoms]
        if match.moltype.name not in molecules:
            molecules[match.moltype.name] = _molecule(
                match.moltype, match.mapping, rows, nonbonded, conditions
            )
    charged = any(np.any(m.charges) for m in molecules.values())
    field = long_range(conditions)
    return Hamiltonian(system, conditions, molecules, nonbonded.c6, nonbonded.c12, field, charged)


def simplified(hamiltonian: Hamiltonian) -> Hamiltonian:
    """The same energies in fewer terms and fewer types of atoms, those of the system that differ.

    The force fields of GROMACS have hundreds of types, and the dynamics goes through all there are.
    """
    given = hamiltonian.molecules
    used = np.unique(np.concatenate([molecule.types for molecule in given.values()]))
    c6, c12 = (values[np.ix_(used, used)] for values in (hamiltonian.c6, hamiltonian.c12))
    table = np.concatenate([c6, c12], axis=1)
    _, kept, alike = np.unique(table, axis=0, return_index=True, return_inverse=True)
    types = {name: alike.reshape(-1)[np.searchsorted(used, m.types)] for name, m in given.items()}
    molecules = {
        name: replace(molecule, types=types[name], terms=fewer_terms(molecule.terms))
        for name, molecule in given.items()
    }
    grid = np.ix_(kept, kept)
    return replace(hamiltonian, molecules=molecules, c6=c6[grid], c12=c12[grid])


def _molecule(
    moltype: MoleculeType, mapping: Mapping, types: IntArray, nonbonded: NonBonded, conditions: Conditions
) -> MoleculeHamiltonian:
    _check_lengths(moltype)
    kt = GAS * conditions.temperature
    terms = energy_terms(moltype, fudge_qq=nonbonded.fudge_qq, epsilon_r=conditions.epsilon_r)
    fixed, length = fixed_bonds(moltype, conditions.constraints)
    bonded = [without_bonds(t, fixed) for t in terms if t.directive not in ("pairs", "coulomb14")]
    springs = Terms("bonds", 1, fixed, np.stack([length, np.full(len(length), kt / BOND_SPREAD**2)], axis=1))
    charges = moltype.charges * np.sqrt(ELECTRIC / conditions.epsilon_r)
    special, parameters = _special_pairs(moltype, terms, charges)
    return MoleculeHamiltonian(
        moltype,
        mapping,
        canonical([*bonded, springs]),
        fixed,
        length,
        types,
        charges,
        special,
        parameters,
        sp.csr_matrix(mapping.weights),
        np.full(mapping.weights.shape[0], conditions.width),
    )


def _check_lengths(moltype: MoleculeType) -> None:
    """Refuse a chemical bond of which nothing says the length (``[ bonds ]`` of type 5 only)."""
    known = {
        (min(row[0], row[1]), max(row[0], row[1]))
        for terms in moltype.terms
        if terms.directive in ("bonds", "constraints") and terms.parameters.shape[1]
        for row in terms.atoms.tolist()
    }
    edges = [(min(i, j), max(i, j)) for i, j, how in moltype.graph.edges(data="kind") if how == "bond"]
    unknown = sorted(set(edges) - known)
    if unknown:
        i, j = unknown[0]
        raise InputError(
            f"molecule type {moltype.name}: nothing says the length of the bond {i + 1}-{j + 1} "
            f"({moltype.names[i]}-{moltype.names[j]}; [ bonds ] of type 5); the exact refinement needs one"
        )


def _opposite(moltype: MoleculeType) -> list[tuple[int, int]]:
    """Pairs around one centre that only their other neighbours keep apart, as opposite F in PF6.

    With angles of 90 degrees to all others, and no angle between the two, the energy is the same where both
    are in one place.  Dynamics never gets there, but what is grown does.
    """
    rows = [row for group in moltype.terms if group.directive == "angles" for row in group.atoms.tolist()]
    named = {(min(row[0], row[2]), max(row[0], row[2])) for row in rows}
    held = {(row[1], end) for row in rows for end in (row[0], row[2])}
    graph = chemical_graph(moltype)
    return [
        (i, j)
        for centre in graph
        if graph.degree(centre) >= CROWDED
        for i, j in combinations(sorted(graph[centre]), 2)
        if (i, j) not in named and (centre, i) in held and (centre, j) in held
    ]


def _special_pairs(
    moltype: MoleculeType, terms: Iterable[Terms], charges: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Excluded pairs and pairs with an interaction of their own, see :class:`MoleculeHamiltonian`."""
    found: dict[tuple[int, int], FloatArray] = {}

    def entry(i: int, j: int) -> FloatArray:
        return found.setdefault((min(i, j), max(i, j)), np.array([0.0, 0.0, 0.0, 0.0, 1.0]))

    for i, j in excluded_pairs(moltype).tolist():
        entry(i, j)[3:] = charges[i] * charges[j], 0.0
    for pair in _opposite(moltype):
        if pair in found:
            found[pair][1] += APART
    for group in terms:
        for (i, j), values in zip(group.atoms[:, :2].tolist(), group.parameters, strict=True):
            if group.directive == "pairs":
                entry(i, j)[:2] += values[:2]
            elif group.directive == "coulomb14":
                entry(i, j)[2] += ELECTRIC * values[0]
    ordered = sorted(found)
    return (
        np.array(ordered, np.int64).reshape(-1, 2),
        np.array([found[pair] for pair in ordered], np.float64).reshape(-1, 5),
    )

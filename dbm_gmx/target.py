"""The distribution the atoms are to have, as arrays a compiled sampler reads.

The logarithm of the target density is ``-U(r) / kT - sum over beads |M(r) - R|^2 / (2 s^2)``: U the
energy of the user's force field, M(r) the mapped centres, R the beads, s their spread.  Bonds of fixed
length are springs of width :data:`BOND_SPREAD`; what is written is projected onto their lengths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from dbm_gmx.energy import ELECTRIC, atom_types, energy_terms, reaction_field
from dbm_gmx.errors import InputError
from dbm_gmx.frame import FloatArray, IntArray
from dbm_gmx.mapping import Mapping
from dbm_gmx.options import CONSTRAINTS, Conditions
from dbm_gmx.plan import HYDROGEN_MASS
from dbm_gmx.system import System
from dbm_gmx.topology import MoleculeType, NonBonded, Terms, excluded_pairs

GAS = 0.00831446261815324
"""Gas constant, kJ/mol K."""

BOND_SPREAD = 0.002
"""Standard deviation of a fixed bond's length while it is sampled, nm."""

DISTANCE, QUARTIC, ANGLE, COSINE, PERIODIC, HARMONIC, POLYNOMIAL = range(7)
"""Functional forms, see :func:`canonical`."""

PARAMETERS = 6  # of a term, at most


@dataclass(frozen=True, eq=False)
class Force:
    """Terms in the few forms the sampler knows: arrays over t terms.

    Attributes
    ----------
    form, atoms, parameters
        (t,), (t, 4) rows of the molecule, -1 where a term has fewer, (t, 6) in kJ/mol, nm and radians:

        =============  ==============================  ===================================
        DISTANCE       r0, k                           k (r - r0)^2 / 2
        QUARTIC        r0, k                           k (r^2 - r0^2)^2 / 4
        ANGLE          theta0, k                       k (theta - theta0)^2 / 2
        COSINE         cos theta0, k                   k (cos theta - cos theta0)^2 / 2
        PERIODIC       phi0, k, n                      k (1 + cos(n phi - phi0))
        HARMONIC       xi0, k                          k (xi - xi0)^2 / 2, the short way round
        POLYNOMIAL     c0 ... c5                       sum c_n (-cos phi)^n
        =============  ==============================  ===================================
    """

    form: IntArray
    atoms: IntArray
    parameters: FloatArray


@dataclass(frozen=True, eq=False)
class MoleculeTarget:
    """One molecule type.

    Attributes
    ----------
    kind, mapping
        The molecule type and its beads.
    force
        Bonded terms, springs for bonds of fixed length among them.
    fixed, length
        (c, 2), (c,) nm: bonds of fixed length.
    types, charges
        (n,) rows of the non-bonded parameters; charges times the square root of the electric constant
        over the permittivity, so that a product of two over a distance is an energy.
    special, special_parameters
        (p, 2) i < j and (p, 5): pairs of the same molecule that do not interact as others do, with
        ``c6, c12, qq`` of their own interaction, which has no cut-off, ``qq`` of the reaction field
        on excluded pairs, and 1 where the usual interaction comes on top.
    weights
        (beads, n) of the mapped centres.
    """

    kind: MoleculeType
    mapping: Mapping
    force: Force
    fixed: IntArray
    length: FloatArray
    types: IntArray
    charges: FloatArray
    special: IntArray
    special_parameters: FloatArray
    weights: sp.csr_matrix


@dataclass(frozen=True, eq=False)
class Target:
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
        ``k_rf, c_rf`` of the reaction field.
    charged
        Whether there are charges at all.
    """

    system: System
    conditions: Conditions
    molecules: dict[str, MoleculeTarget]
    c6: FloatArray
    c12: FloatArray
    field: tuple[float, float]
    charged: bool

    @property
    def kt(self) -> float:
        """Thermal energy, kJ/mol."""
        return GAS * self.conditions.temperature


def make_target(system: System, conditions: Conditions) -> Target:
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
    molecules: dict[str, MoleculeTarget] = {}
    for match in system.matches:
        rows = types[match.first_atom : match.first_atom + match.kind.n_atoms]
        if match.kind.name not in molecules:
            molecules[match.kind.name] = _molecule(match.kind, match.mapping, rows, nonbonded, conditions)
    field = reaction_field(
        conditions.rcoulomb, epsilon_r=conditions.epsilon_r, epsilon_rf=conditions.epsilon_rf
    )
    charged = any(np.any(m.charges) for m in molecules.values())
    return Target(system, conditions, molecules, nonbonded.c6, nonbonded.c12, field, charged)


def _molecule(
    kind: MoleculeType, mapping: Mapping, types: IntArray, nonbonded: NonBonded, conditions: Conditions
) -> MoleculeTarget:
    if any(how == "virtual" for *_, how in kind.graph.edges(data="kind")):
        raise InputError(
            f"molecule type {kind.name} has virtual sites, which the exact refinement cannot treat yet; "
            "possible are --refine gibbs and none"
        )
    if any((t.directive, t.function) == ("bonds", NO_LENGTH) for t in kind.terms):
        raise InputError(
            f"molecule type {kind.name} has [ bonds ] of type 5, which have no length; the exact refinement "
            "needs one"
        )
    kt = GAS * conditions.temperature
    terms = energy_terms(kind, fudge_qq=nonbonded.fudge_qq, epsilon_r=conditions.epsilon_r)
    fixed, length = fixed_bonds(kind, conditions.constraints)
    held = {(int(min(p)), int(max(p))) for p in fixed}
    bonded = [_without(t, held) for t in terms if t.directive not in ("pairs", "coulomb14")]
    springs = Terms("bonds", 1, fixed, np.stack([length, np.full(len(length), kt / BOND_SPREAD**2)], axis=1))
    charges = kind.charges * np.sqrt(ELECTRIC / conditions.epsilon_r)
    special, parameters = _special_pairs(kind, terms, charges)
    return MoleculeTarget(
        kind,
        mapping,
        canonical([*bonded, springs]),
        fixed,
        length,
        types,
        charges,
        special,
        parameters,
        sp.csr_matrix(mapping.weights),
    )


def fixed_bonds(kind: MoleculeType, constraints: str) -> tuple[IntArray, FloatArray]:
    """Bonds of fixed length.

    Parameters
    ----------
    kind
        The molecule type.
    constraints
        As in an ``.mdp``: ``none``, ``h-bonds``, ``all-bonds``; ``[ constraints ]`` and
        ``[ settles ]`` of the topology hold with all of them.

    Returns
    -------
    (c, 2) atoms and (c,) lengths, nm.

    Raises
    ------
    InputError
        If ``constraints`` is something else.
    """
    if constraints not in CONSTRAINTS:
        raise InputError(f"constraints = {constraints!r}; supported are {', '.join(CONSTRAINTS)}")
    hydrogen = np.array(
        [e == "H" or (not e and m < HYDROGEN_MASS) for e, m in zip(kind.elements, kind.masses, strict=True)]
    )
    found: dict[tuple[int, int], float] = {}
    for terms in kind.terms:
        pairs, values = terms.atoms, terms.parameters
        if terms.directive == "bonds" and terms.function != NO_LENGTH:
            every = constraints == "all-bonds"
            chosen = hydrogen[pairs].any(axis=1) if constraints == "h-bonds" else np.full(len(pairs), every)
            pairs, values = pairs[chosen], values[chosen]
        elif terms.directive == "settles":
            pairs = np.concatenate([pairs[:, :2], pairs[:, ::2], pairs[:, 1:]])
            values = np.concatenate([values[:, :1], values[:, :1], values[:, 1:2]])
        elif terms.directive != "constraints":
            continue
        found |= {
            (int(min(p)), int(max(p))): float(length) for p, length in zip(pairs, values[:, 0], strict=True)
        }
    ordered = sorted(found)
    return np.array(ordered, np.int64).reshape(-1, 2), np.array([found[p] for p in ordered], np.float64)


NO_LENGTH = 5  # function type of bonds that are a link and nothing else


def _without(terms: Terms, held: set[tuple[int, int]]) -> Terms:
    """Leave out bonds whose length is fixed."""
    if terms.directive != "bonds":
        return terms
    keep = np.array([(int(min(p)), int(max(p))) not in held for p in terms.atoms], bool)
    return Terms(terms.directive, terms.function, terms.atoms[keep], terms.parameters[keep])


def canonical(terms: Iterable[Terms]) -> Force:
    """Write terms in the sampler's forms; those of several parts (Urey-Bradley) become several."""
    form, atoms, parameters = [], [], []
    for group in terms:
        for number, rows, values in _forms(group):
            form.append(np.full(len(rows), number))
            atoms.append(np.pad(rows, ((0, 0), (0, 4 - rows.shape[1])), constant_values=-1))
            parameters.append(np.pad(values, ((0, 0), (0, PARAMETERS - values.shape[1]))))
    return Force(
        np.concatenate([np.zeros(0, np.int64), *form]),
        np.concatenate([np.zeros((0, 4), np.int64), *atoms]),
        np.concatenate([np.zeros((0, PARAMETERS)), *parameters]),
    )


def _forms(terms: Terms) -> list[tuple[int, IntArray, FloatArray]]:
    key, atoms, p = (terms.directive, terms.function), terms.atoms, terms.parameters.astype(np.float64)
    if key in (("bonds", 1), ("bonds", 6)):
        return [(DISTANCE, atoms, p[:, :2])]
    if key == ("bonds", 2):
        return [(QUARTIC, atoms, p[:, :2])]
    if key == ("angles", 1):
        return [(ANGLE, atoms, _radians(p[:, :2]))]
    if key == ("angles", 2):
        return [(COSINE, atoms, np.stack([np.cos(np.radians(p[:, 0])), p[:, 1]], axis=1))]
    if key == ("angles", 5):
        return [(ANGLE, atoms, _radians(p[:, :2])), (DISTANCE, atoms[:, ::2], p[:, 2:4])]
    if key in (("dihedrals", 1), ("dihedrals", 4), ("dihedrals", 9)):
        return [(PERIODIC, atoms, _radians(p[:, :3]))]
    if key == ("dihedrals", 2):
        return [(HARMONIC, atoms, _radians(p[:, :2]))]
    if key == ("dihedrals", 3):
        return [(POLYNOMIAL, atoms, p[:, :6])]
    if key == ("dihedrals", 5):
        f1, f2, f3, f4 = p[:, :4].T
        zero = np.zeros_like(f1)
        c = [f2 + (f1 + f3) / 2, (3 * f3 - f1) / 2, 4 * f4 - f2, -2 * f3, -4 * f4, zero]
        return [(POLYNOMIAL, atoms, np.stack(c, axis=1))]
    raise InputError(f"[ {key[0]} ] of function type {key[1]} are not supported by the exact refinement")


def _radians(parameters: FloatArray) -> FloatArray:
    """Turn the first column from degrees to radians."""
    return np.concatenate([np.radians(parameters[:, :1]), parameters[:, 1:]], axis=1)


def _special_pairs(
    kind: MoleculeType, terms: Iterable[Terms], charges: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Excluded pairs and pairs with an interaction of their own, see :class:`MoleculeTarget`."""
    found: dict[tuple[int, int], FloatArray] = {}

    def entry(i: int, j: int) -> FloatArray:
        return found.setdefault((min(i, j), max(i, j)), np.array([0.0, 0.0, 0.0, 0.0, 1.0]))

    for i, j in excluded_pairs(kind).tolist():
        entry(i, j)[3:] = charges[i] * charges[j], 0.0
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

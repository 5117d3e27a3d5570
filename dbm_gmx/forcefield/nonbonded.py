"""Non-bonded pairs: Lennard-Jones and Coulomb with a reaction field, each with its force beside its energy.

The one definition of them: compiled where the sampler works, and as plain Python functions
(:func:`~dbm_gmx.compiled.plain`) on tensors.  Whole numbers are written in single precision, so that a
result has the precision of its arguments.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.compiled import compiled

CLOSEST = 0.05
"""Distance, nm, below which a pair counts as this far apart: energies and forces stay numbers.

No pair of a simulation gets there: the energy of two carbons is 10^9 kJ/mol.
"""

CLOSEST2 = np.float32(CLOSEST**2)
ZERO, ONE, TWO, SIX = np.float32(0), np.float32(1), np.float32(2), np.float32(6)


class ReactionField(NamedTuple):
    """The cut-off of electrostatics, and the dielectric beyond it (GROMACS manual, "Reaction field").

    Attributes
    ----------
    cutoff
        nm.
    epsilon_r
        Relative permittivity within the cut-off.
    k_rf, c_rf
        nm^-3 and nm^-1; both 0 for a plain cut-off.
    """

    cutoff: float
    epsilon_r: float
    k_rf: float
    c_rf: float


def reaction_field(cutoff: float, *, epsilon_r: float = 1.0, epsilon_rf: float | None) -> ReactionField:
    """The reaction field beyond ``cutoff`` (nm).

    Parameters
    ----------
    epsilon_r, epsilon_rf
        Relative permittivity within and beyond the cut-off; as in GROMACS, ``epsilon_rf = 0`` is
        infinity.  With ``None`` there is no field: the plain cut-off.
    """
    if epsilon_rf is None:
        return ReactionField(cutoff, epsilon_r, 0.0, 0.0)
    conducting = epsilon_rf == 0 or math.isinf(epsilon_rf)
    ratio = 0.5 if conducting else (epsilon_rf - epsilon_r) / (2 * epsilon_rf + epsilon_r)
    k_rf = ratio / cutoff**3
    return ReactionField(cutoff, epsilon_r, k_rf, 1 / cutoff + k_rf * cutoff**2)


@compiled(forceinline=True)
def clamped(r2: Any) -> Any:
    """Square of a distance, nm^2, not below that of :data:`CLOSEST`."""
    return max(r2, CLOSEST2)


@compiled(forceinline=True)
def inverse_sixth(r2: Any, core: Any) -> Any:
    """1 / (r^6 + core), nm^-6; ``core`` (a part of sigma^6) makes the atoms soft (Beutler et al. 1994)."""
    return ONE / (r2 * r2 * r2 + core)


@compiled(forceinline=True)
def lennard_jones(i6: Any, c6: Any, c12: Any, shift6: Any = ZERO) -> Any:
    """Energy of a pair, kJ/mol: c12 / r^12 - c6 / r^6, less the same at the cut-off.

    Parameters
    ----------
    i6
        See :func:`inverse_sixth`.
    shift6
        r^-6 at the cut-off; 0 where the energy is not shifted.
    """
    return (c12 * (i6 + shift6) - c6) * (i6 - shift6)


@compiled(forceinline=True)
def lennard_jones_force(r2: Any, i6: Any, c6: Any, c12: Any) -> Any:
    """Force over distance of a pair, kJ/mol nm^-2; arguments as for :func:`lennard_jones`."""
    return SIX * r2 * r2 * i6 * i6 * (TWO * c12 * i6 - c6)


@compiled(forceinline=True)
def inverse_distance(r2: Any) -> Any:
    """1 / r, nm^-1."""
    return ONE / np.sqrt(r2)


@compiled(forceinline=True)
def coulomb(inverse: Any, r2: Any, k_rf: Any, c_rf: Any) -> Any:
    """Energy of two unit charges, nm^-1 (times the electric conversion factor kJ/mol).

    Parameters
    ----------
    inverse, r2
        1 / r and r^2; with 0 in place of 1 / r it is the energy in the reaction field alone, which acts on
        excluded pairs as well.
    k_rf, c_rf
        See :func:`reaction_field`.
    """
    return inverse + k_rf * r2 - c_rf


@compiled(forceinline=True)
def coulomb_force(inverse: Any, r2: Any, k_rf: Any) -> Any:
    """Force over distance of two unit charges, nm^-3; arguments as for :func:`coulomb`."""
    return inverse / r2 - TWO * k_rf


# --- pairs of one molecule that do not interact as all others do -------------------------------------


@compiled(forceinline=True)
def usual_pair(types: Any, charges: Any, c6: Any, c12: Any, i: int, j: int) -> Any:
    """``c6, c12, qq`` of two atoms by their types and charges."""
    return c6[types[i], types[j]], c12[types[i], types[j]], charges[i] * charges[j]


@compiled(forceinline=True)
def acts_at_all(p: Any) -> bool:
    """Whether more than the reaction field acts in a special pair; ``p`` as for :func:`special_energy`."""
    return p[0] != 0.0 or p[1] != 0.0 or p[2] != 0.0 or p[4] != 0.0


@compiled(forceinline=True)
def special_pair(p: Any, usual: Any) -> Any:
    """All of ``c6, c12, qq`` that acts in a special pair, without any cut-off; see :func:`special_energy`."""
    share = 1.0 if p[4] > 0.0 else 0.0
    return p[0] + share * usual[0], p[1] + share * usual[1], p[2] + share * usual[2]


@compiled(forceinline=True)
def special_energy(constants: Any, p: Any, usual: Any, r2: float) -> float:
    """Energy of a special pair, kJ/mol.

    Its own interaction has no cut-off, the usual one has.  The reaction field acts on excluded pairs too, as
    in GROMACS.

    Parameters
    ----------
    constants
        Of the Hamiltonian, see :class:`~dbm_gmx.sampling.arrays.Constants`.
    p
        (5,) see :class:`~dbm_gmx.forcefield.hamiltonian.MoleculeHamiltonian`.
    usual
        See :func:`usual_pair`.
    r2
        Square of the distance, nm^2.
    """
    near = clamped(r2)
    i6, inverse = inverse_sixth(near, 0.0), inverse_distance(near)
    energy = lennard_jones(i6, p[0], p[1]) + p[2] * inverse
    if r2 < constants.coulomb2:
        energy += p[3] * coulomb(0.0, r2, constants.k_rf, constants.c_rf)
    if p[4] > 0.0:
        if r2 < constants.lj2:
            energy += lennard_jones(i6, usual[0], usual[1], constants.shift6)
        if r2 < constants.coulomb2:
            energy += usual[2] * coulomb(inverse, r2, constants.k_rf, constants.c_rf)
    return energy


@compiled(forceinline=True)
def pair_energy_and_force(c6: float, c12: float, qq: float, r2: float, soft: float) -> Any:
    """Energy and force over distance of a pair without a cut-off; soft cores have no charge.

    Parameters
    ----------
    soft
        Part of sigma^6 that is added to r^6; a pair without a core does not act then.
    """
    if soft > 0.0 and (c6 <= 0.0 or c12 <= 0.0):
        return 0.0, 0.0
    near = clamped(r2)
    i6 = inverse_sixth(near, soft * c12 / c6 if soft > 0.0 else 0.0)
    energy, push = lennard_jones(i6, c6, c12), lennard_jones_force(near, i6, c6, c12)
    if qq != 0.0 and soft == 0.0:
        inverse = inverse_distance(near)
        energy += qq * inverse
        push += qq * coulomb_force(inverse, near, 0.0)
    return energy, push

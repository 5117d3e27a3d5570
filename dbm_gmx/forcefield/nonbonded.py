"""Non-bonded pairs: Lennard-Jones, and Coulomb with what is beyond its cut-off; each with its force.

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
from dbm_gmx.options import Conditions

CLOSEST = 0.05
"""Distance, nm, below which a pair counts as this far apart: energies and forces stay numbers.

No pair of a simulation gets there: the energy of two carbons is 10^9 kJ/mol.
"""

CLOSEST2 = np.float32(CLOSEST**2)
ZERO, ONE, TWO, SIX = np.float32(0), np.float32(1), np.float32(2), np.float32(6)


class Beyond(NamedTuple):
    """What stands for all charges beyond the cut-off: ``c0 + c2 r^2 + c4 r^4`` beside 1 / r, nm^-1."""

    c0: Any
    c2: Any
    c4: Any


class LongRange(NamedTuple):
    """The electrostatics of charges within a cut-off.

    Attributes
    ----------
    cutoff
        nm.
    epsilon_r
        Relative permittivity within the cut-off.
    beyond
        What stands for the rest; all 0 for a plain cut-off.
    """

    cutoff: float
    epsilon_r: float
    beyond: Beyond


def reaction_field(cutoff: float, *, epsilon_r: float = 1.0, epsilon_rf: float | None) -> LongRange:
    """A dielectric beyond ``cutoff`` (nm): the reaction field of the GROMACS manual.

    Parameters
    ----------
    epsilon_r, epsilon_rf
        Relative permittivity within and beyond the cut-off; as in GROMACS, ``epsilon_rf = 0`` is
        infinity.  With ``None`` there is no field: the plain cut-off.
    """
    if epsilon_rf is None:
        return LongRange(cutoff, epsilon_r, Beyond(0.0, 0.0, 0.0))
    conducting = epsilon_rf == 0 or math.isinf(epsilon_rf)
    ratio = 0.5 if conducting else (epsilon_rf - epsilon_r) / (2 * epsilon_rf + epsilon_r)
    return LongRange(cutoff, epsilon_r, Beyond(-(1 + ratio) / cutoff, ratio / cutoff**3, 0.0))


def zero_quadrupole(cutoff: float, *, epsilon_r: float = 1.0) -> LongRange:
    """What stands for the sum over the periodic lattice (particle mesh Ewald) within ``cutoff`` (nm).

    What is within the cut-off is taken to have no charge, dipole and quadrupole: energy, force and its slope
    vanish at the cut-off (Fukuda, J. Chem. Phys. 139, 174107 (2013), without damping).  The same without the
    quadrupole is the reaction field of a conductor.  Of water and salt in water the forces on molecules
    are two to four times nearer to those of the lattice sum than with it, of neutral polymers as near.
    """
    return LongRange(cutoff, epsilon_r, Beyond(-1.875 / cutoff, 1.25 / cutoff**3, -0.375 / cutoff**5))


def long_range(conditions: Conditions) -> LongRange:
    """The electrostatics of an ensemble."""
    if conditions.epsilon_rf is None:
        return zero_quadrupole(conditions.rcoulomb, epsilon_r=conditions.epsilon_r)
    return reaction_field(
        conditions.rcoulomb, epsilon_r=conditions.epsilon_r, epsilon_rf=conditions.epsilon_rf
    )


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


class Tail(NamedTuple):
    """What is taken off 1 / r^6 and 1 / r^12 so that they end at the cut-off of Lennard-Jones.

    Attributes
    ----------
    switched
        Whether there is more than a shift of the potential.
    shift6, shift12
        nm^-6 and nm^-12, at all distances.
    start
        nm, beyond which ``t^3 (a + b t)`` comes on top, t the distance from there.
    a6, b6, a12, b12
        For either; nm^-9 and nm^-10, nm^-15 and nm^-16.
    """

    switched: bool
    shift6: Any
    shift12: Any
    start: Any
    a6: Any
    b6: Any
    a12: Any
    b12: Any


def lennard_jones_tail(cutoff: float, switch: float | None) -> Tail:
    """Lennard-Jones that ends at ``cutoff`` (nm): its potential shifted, or its force switched.

    The switch is that of GROMACS from the distance ``switch`` on (manual, "Modified non-bonded
    interactions").
    """
    if switch is None:
        return Tail(False, cutoff**-6, cutoff**-12, cutoff, 0.0, 0.0, 0.0, 0.0)
    width, ends = cutoff - switch, []
    for p in (6, 12):
        a = -p * ((p + 4) * cutoff - (p + 1) * switch) / (cutoff ** (p + 2) * width**2) / 3
        b = p * ((p + 3) * cutoff - (p + 1) * switch) / (cutoff ** (p + 2) * width**3) / 4
        ends.append((cutoff**-p - width**3 * (a + b * width), a, b))
    (shift6, a6, b6), (shift12, a12, b12) = ends
    return Tail(True, shift6, shift12, switch, a6, b6, a12, b12)


@compiled(forceinline=True)
def single_tail(tail: Any) -> Any:
    """:class:`Tail` in the single precision of long loops."""
    return Tail(
        tail.switched,
        np.float32(tail.shift6),
        np.float32(tail.shift12),
        np.float32(tail.start),
        np.float32(tail.a6),
        np.float32(tail.b6),
        np.float32(tail.a12),
        np.float32(tail.b12),
    )


@compiled(forceinline=True)
def switched_lennard_jones(r2: Any, i6: Any, c6: Any, c12: Any, tail: Any) -> Any:
    """Energy of a pair within the cut-off, kJ/mol; as :func:`lennard_jones` where no force is switched."""
    t = max(np.sqrt(r2) - tail.start, ZERO)
    t3 = t * t * t
    repulsion = i6 * i6 - tail.shift12 - t3 * (tail.a12 + t * tail.b12)
    return c12 * repulsion - c6 * (i6 - tail.shift6 - t3 * (tail.a6 + t * tail.b6))


@compiled(forceinline=True)
def lennard_jones_force(r2: Any, i6: Any, c6: Any, c12: Any) -> Any:
    """Force over distance of a pair, kJ/mol nm^-2; arguments as for :func:`lennard_jones`."""
    return SIX * r2 * r2 * i6 * i6 * (TWO * c12 * i6 - c6)


@compiled(forceinline=True)
def inverse_distance(r2: Any) -> Any:
    """1 / r, nm^-1."""
    return ONE / np.sqrt(r2)


@compiled(forceinline=True)
def single(beyond: Any) -> Any:
    """:class:`Beyond` in the single precision of long loops."""
    return Beyond(np.float32(beyond.c0), np.float32(beyond.c2), np.float32(beyond.c4))


@compiled(forceinline=True)
def coulomb(inverse: Any, r2: Any, beyond: Any) -> Any:
    """Energy of two unit charges, nm^-1 (times the electric conversion factor kJ/mol).

    Parameters
    ----------
    inverse, r2
        1 / r and r^2; with 0 in place of 1 / r it is the energy with what is beyond the cut-off alone, which
        acts on excluded pairs as well.
    beyond
        See :class:`Beyond`.
    """
    return inverse + (beyond.c0 + r2 * (beyond.c2 + r2 * beyond.c4))


@compiled(forceinline=True)
def coulomb_force(inverse: Any, r2: Any, beyond: Any) -> Any:
    """Force over distance of two unit charges, nm^-3; arguments as for :func:`coulomb`."""
    return inverse / r2 - TWO * (beyond.c2 + TWO * r2 * beyond.c4)


@compiled(forceinline=True)
def charged_pair_force(r2: Any, c6: Any, c12: Any, qq: Any, beyond: Any) -> Any:
    """Force over distance of two atoms, kJ/mol nm^-2: :func:`lennard_jones_force` and :func:`coulomb_force`.

    It takes one division and one root, which are what long loops take their time for.
    """
    inverse2 = ONE / r2
    inverse, i6 = np.sqrt(inverse2), inverse2 * inverse2 * inverse2
    push = SIX * inverse2 * i6 * (TWO * c12 * i6 - c6)
    return push + qq * (inverse * inverse2 - TWO * (beyond.c2 + TWO * r2 * beyond.c4))


# --- pairs of one molecule that do not interact as all others do -------------------------------------


@compiled(forceinline=True)
def usual_pair(types: Any, charges: Any, c6: Any, c12: Any, i: int, j: int) -> Any:
    """``c6, c12, qq`` of two atoms by their types and charges."""
    return c6[types[i], types[j]], c12[types[i], types[j]], charges[i] * charges[j]


@compiled(forceinline=True)
def pair_parameters(parameters: Any, q: int) -> Any:
    """Those of special pair q as a tuple: a row of an array is an object of its own, which takes its time."""
    return parameters[q, 0], parameters[q, 1], parameters[q, 2], parameters[q, 3], parameters[q, 4]


@compiled(forceinline=True)
def acts_at_all(p: Any) -> bool:
    """Whether a special pair is more than excluded; ``p`` as for :func:`special_energy`."""
    return p[0] != 0.0 or p[1] != 0.0 or p[2] != 0.0 or p[4] != 0.0


@compiled(forceinline=True)
def special_pair(p: Any, usual: Any) -> Any:
    """All of ``c6, c12, qq`` that acts in a special pair, without any cut-off; see :func:`special_energy`."""
    share = 1.0 if p[4] > 0.0 else 0.0
    return p[0] + share * usual[0], p[1] + share * usual[1], p[2] + share * usual[2]


@compiled(forceinline=True)
def special_energy(constants: Any, p: Any, usual: Any, r2: float) -> float:
    """Energy of a special pair, kJ/mol.

    Its own interaction has no cut-off, the usual one has.  What is beyond the cut-off acts on excluded pairs
    too, as in GROMACS.

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
        energy += p[3] * coulomb(0.0, r2, constants.beyond)
    if p[4] > 0.0:
        if r2 < constants.lj2:
            energy += switched_lennard_jones(r2, i6, usual[0], usual[1], constants.tail)
        if r2 < constants.coulomb2:
            energy += usual[2] * coulomb(inverse, r2, constants.beyond)
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
        push += qq * inverse / near
    return energy, push

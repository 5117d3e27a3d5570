"""The force field's energies, on torch tensors.

Every functional form is a function of internal coordinates and of the parameters of its line in the
topology file, in the order and units of the GROMACS manual; :data:`FORMS` says which form belongs
to which directive and function type.  The core is :func:`term_energies`: positions ``(..., n, 3)``
of *whole* molecules and one :class:`~dbm_gmx.chemistry.topology.Terms` give energies ``(..., k)``, whatever
the leading dimensions are: copies of a molecule, frames, proposals, samples of a batch.
Lengths are in nm, energies in kJ/mol, measured angles in radians, angles among the parameters in degrees.

The sampler has compiled functions of its own (:mod:`~dbm_gmx.forcefield.terms`): it works out one term at a
time, some ten million in a second.  Training needs gradients of batches on any device, evaluation the forms
as the manual has them; both are here.  A test holds the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import close_pairs
from dbm_gmx.chemistry.topology import (
    Terms,
    Topology,
    atom_charges,
    atom_types,
    blocks,
    is_excluded,
    nonbonded_parameters,
)
from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.compiled import plain
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield import nonbonded
from dbm_gmx.forcefield.nonbonded import CLOSEST, Beyond, LongRange, inverse_sixth
from dbm_gmx.forcefield.terms import check_supported, energy_terms

NOTHING = Beyond(0.0, 0.0, 0.0)
"""Beyond a cut-off."""

# --- geometry of vectors that are already free of the periodic box ---------------------------------


def _collinear(a: Tensor, b: Tensor, normal: Tensor) -> Tensor:
    """Whether ``normal = a x b`` is lost in rounding."""
    floor = torch.finfo(a.dtype).eps * a.square().sum(-1) * b.square().sum(-1)
    return torch.le(normal.square().sum(-1), floor)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between two vectors.

    Parameters
    ----------
    a, b
        (..., 3); for the angle i-j-k they point from j to i and from j to k.

    Returns
    -------
    (...) radians in [0, pi].  The gradient is finite everywhere, and zero where the vectors are
    exactly (anti)parallel, as no direction is better than another there.
    """
    sine = torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1)
    return torch.atan2(sine, (a * b).sum(-1))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two vectors (..., 3): (...)."""
    length = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return torch.div((a * b).sum(-1), length.clamp_min(torch.finfo(a.dtype).tiny))


def dihedral(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Dihedral angle of four points, by the IUPAC convention (trans is pi).

    Parameters
    ----------
    a, b, c
        (..., 3) the vectors from i to j, j to k and k to l.

    Returns
    -------
    (...) radians in [-pi, pi].  Where three points lie on a line there is no dihedral: the result
    and its gradient are 0 there, as in GROMACS.
    """
    left, right = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
    sine = torch.linalg.vector_norm(b, dim=-1) * (a * right).sum(-1)
    lost = _collinear(a, b, left) | _collinear(b, c, right)
    return torch.atan2(sine.masked_fill(lost, 0.0), (left * right).sum(-1).masked_fill(lost, 1.0))


# --- internal coordinates of the points of a term: (..., m, 3) to a tuple of (...) -----------------


def _distance(points: Tensor) -> tuple[Tensor, ...]:
    return (torch.linalg.vector_norm(points[..., 1, :] - points[..., 0, :], dim=-1),)


def _arms(points: Tensor) -> tuple[Tensor, Tensor]:
    i, j, k = points.unbind(-2)
    return i - j, k - j


def _angle(points: Tensor) -> tuple[Tensor, ...]:
    return (angle(*_arms(points)),)


def _cosine(points: Tensor) -> tuple[Tensor, ...]:
    return (cosine(*_arms(points)),)


def _angle_and_ends(points: Tensor) -> tuple[Tensor, ...]:
    return *_angle(points), *_distance(points[..., ::2, :])


def _dihedral(points: Tensor) -> tuple[Tensor, ...]:
    return (dihedral(*points.diff(dim=-2).unbind(-2)),)


# --- functional forms (GROMACS manual, "Bonded interactions" and "Non-bonded interactions") ---------


def harmonic(x: Tensor, x0: Tensor, k: Tensor) -> Tensor:
    """Harmonic potential of a bond length: k (x - x0)^2 / 2."""
    return 0.5 * k * (x - x0) ** 2


def quartic_bond(b: Tensor, b0: Tensor, k: Tensor) -> Tensor:
    """GROMOS-96 bond: k (b^2 - b0^2)^2 / 4, k in kJ/mol nm^-4."""
    return 0.25 * k * (b**2 - b0**2) ** 2


def harmonic_angle(theta: Tensor, theta0: Tensor, k: Tensor) -> Tensor:
    """Harmonic angle: k (theta - theta0)^2 / 2, k in kJ/mol rad^-2."""
    return harmonic(theta, torch.deg2rad(theta0), k)


def cosine_angle(cos_theta: Tensor, theta0: Tensor, k: Tensor) -> Tensor:
    """GROMOS-96 angle: k (cos theta - cos theta0)^2 / 2."""
    return harmonic(cos_theta, torch.cos(torch.deg2rad(theta0)), k)


def urey_bradley(theta: Tensor, r13: Tensor, theta0: Tensor, k: Tensor, r0: Tensor, k_ub: Tensor) -> Tensor:
    """Urey-Bradley: a harmonic angle and a harmonic distance of its ends."""
    return harmonic_angle(theta, theta0, k) + harmonic(r13, r0, k_ub)


def periodic(phi: Tensor, phase: Tensor, k: Tensor, n: Tensor) -> Tensor:
    """Periodic dihedral: k (1 + cos(n phi - phase))."""
    return k * (1 + torch.cos(n * phi - torch.deg2rad(phase)))


def harmonic_dihedral(xi: Tensor, xi0: Tensor, k: Tensor) -> Tensor:
    """Harmonic improper: k (xi - xi0)^2 / 2, the difference taken the short way round the circle."""
    difference = xi - torch.deg2rad(xi0)
    return 0.5 * k * torch.remainder(difference + math.pi, 2 * math.pi).sub(math.pi) ** 2


def ryckaert_bellemans(phi: Tensor, *c: Tensor) -> Tensor:
    """Ryckaert-Bellemans: sum_n c_n cos^n psi, psi = phi - 180 degrees (0 is trans)."""
    cos_psi = -torch.cos(phi)
    value = torch.zeros_like(cos_psi)
    for coefficient in reversed(c):
        value = value * cos_psi + coefficient
    return value


def fourier(phi: Tensor, f1: Tensor, f2: Tensor, f3: Tensor, f4: Tensor, _f5: Tensor | None = None) -> Tensor:
    """OPLS Fourier dihedral: half of f1 (1+cos phi) + f2 (1-cos 2phi) + f3 (1+cos 3phi) + f4 (1-cos 4phi).

    The fifth parameter in the manual's table has no part in it.
    """
    odd = f1 * (1 + torch.cos(phi)) + f3 * (1 + torch.cos(3 * phi))
    even = f2 * (1 - torch.cos(2 * phi)) + f4 * (1 - torch.cos(4 * phi))
    return 0.5 * (odd + even)


def lennard_jones(r: Tensor, c6: Tensor, c12: Tensor) -> Tensor:
    """Lennard-Jones: c12 / r^12 - c6 / r^6, of distances not below the closest."""
    i6 = plain(inverse_sixth)(r.clamp(min=CLOSEST).square(), 0.0)
    return cast(Tensor, plain(nonbonded.lennard_jones)(i6, c6, c12))


def coulomb(r: Tensor, qq: Tensor, beyond: Beyond = NOTHING) -> Tensor:
    """Coulomb energy of a product of charges ``qq`` (e^2), with what is beyond a cut-off or nothing."""
    unit = plain(nonbonded.coulomb)(1 / r.clamp(min=CLOSEST), r.square(), beyond)
    return cast(Tensor, ELECTRIC * qq * unit)


def field_energy(r: Tensor, qq: Tensor, beyond: Beyond) -> Tensor:
    """Energy of an excluded pair, with what is beyond the cut-off alone."""
    return cast(Tensor, ELECTRIC * qq * plain(nonbonded.coulomb)(0.0, r.square(), beyond))


def charged_pair(r: Tensor, fudge_qq: Tensor, q_i: Tensor, q_j: Tensor, c6: Tensor, c12: Tensor) -> Tensor:
    """Pair with charges of its own: Lennard-Jones and scaled Coulomb energy together."""
    return lennard_jones(r, c6, c12) + coulomb(r, fudge_qq * q_i * q_j)


@dataclass(frozen=True)
class Form:
    """How the energy of a term is worked out.

    Attributes
    ----------
    energy
        Name of the energy in ``gmx energy``.
    measure
        Points (..., k, m, 3) to internal coordinates, each (..., k).
    potential
        Internal coordinates, then the parameters (each (k,)), to energies (..., k).
    """

    energy: str
    measure: Callable[[Tensor], tuple[Tensor, ...]]
    potential: Callable[..., Tensor]


_PROPER = Form("Proper Dih.", _dihedral, periodic)


FORMS: Mapping[tuple[str, int], Form] = {
    ("bonds", 1): Form("Bond", _distance, harmonic),
    ("bonds", 2): Form("G96Bond", _distance, quartic_bond),
    ("bonds", 6): Form("Harmonic Pot.", _distance, harmonic),
    ("angles", 1): Form("Angle", _angle, harmonic_angle),
    ("angles", 2): Form("G96Angle", _cosine, cosine_angle),
    ("angles", 5): Form("U-B", _angle_and_ends, urey_bradley),
    ("dihedrals", 1): _PROPER,
    ("dihedrals", 2): Form("Improper Dih.", _dihedral, harmonic_dihedral),
    ("dihedrals", 3): Form("Ryckaert-Bell.", _dihedral, ryckaert_bellemans),
    ("dihedrals", 4): Form("Per. Imp. Dih.", _dihedral, periodic),
    ("dihedrals", 5): Form("Fourier Dih.", _dihedral, fourier),
    ("dihedrals", 9): _PROPER,
    ("pairs", 1): Form("LJ-14", _distance, lennard_jones),
    ("pairs", 2): Form("LJC-14 q", _distance, charged_pair),
    ("coulomb14", 1): Form("Coulomb-14", _distance, coulomb),
}
"""The supported forms by directive and function type.

``coulomb14`` is no directive of a file: :func:`energy_terms` makes it from ``pairs``.
"""


def form_of(terms: Terms) -> Form:
    """Look up the functional form of ``terms``.

    Raises
    ------
    InputError
        If the function type is not supported.
    """
    key = (terms.directive, terms.function)
    if key not in FORMS:
        check_supported(terms)
    return FORMS[key]


# --- bonded energies -------------------------------------------------------------------------------


def term_energies(terms: Terms, positions: Tensor) -> Tensor:
    """Energy of each of ``terms``.

    Parameters
    ----------
    terms
        k terms of a molecule type.
    positions
        (..., n, 3) nm, whole molecules of that type.

    Returns
    -------
    (..., k) kJ/mol, in the floating point type of ``positions`` and differentiable by them.

    Raises
    ------
    InputError
        If the function type is not supported.
    """
    form = form_of(terms)
    points = positions[..., torch.as_tensor(terms.atoms, device=positions.device), :]
    return form.potential(*form.measure(points), *_like(positions, terms.parameters).unbind(-1))


def _like(positions: Tensor, values: FloatArray) -> Tensor:
    return torch.as_tensor(values, dtype=positions.dtype, device=positions.device)


def bonded_energies(topology: Topology, positions: Tensor, *, epsilon_r: float = 1.0) -> dict[str, Tensor]:
    """Bonded energies of a whole system, 1-4 pairs included.

    Parameters
    ----------
    topology
        The system.
    positions
        (..., n, 3) nm, molecules whole.
    epsilon_r
        Relative permittivity of the Coulomb-14 energies.

    Returns
    -------
    Energies (...) kJ/mol by their name in ``gmx energy``, those that occur.

    Raises
    ------
    InputError
        If the number of atoms differs, or a function type is not supported.
    """
    _check_size(topology, positions.shape[-2])
    fudge_qq = 1.0 if topology.nonbonded is None else topology.nonbonded.fudge_qq
    totals: dict[str, Tensor] = {}
    for moltype, first, count in blocks(topology):
        rows = positions[..., first : first + count * moltype.n_atoms, :]
        block = rows.reshape(*rows.shape[:-2], count, moltype.n_atoms, 3)
        for terms in energy_terms(moltype, fudge_qq=fudge_qq, epsilon_r=epsilon_r):
            name, energy = form_of(terms).energy, term_energies(terms, block).sum((-2, -1))
            totals[name] = totals[name] + energy if name in totals else energy
    return totals


def _check_size(topology: Topology, n_atoms: int) -> None:
    if n_atoms != topology.n_atoms:
        raise InputError(
            f"{n_atoms} positions, where the topology has {topology.n_atoms} atoms", path=topology.path
        )


def pair_energies(topology: Topology, pairs: IntArray, distances: Tensor) -> Tensor:
    """Lennard-Jones energies of atom pairs.

    Parameters
    ----------
    topology
        The system.
    pairs
        (k, 2) rows of atoms.
    distances
        (..., k) nm.

    Returns
    -------
    (..., k) kJ/mol.

    Raises
    ------
    InputError
        If the topology holds no parameters for the atoms.
    """
    i, j = atom_types(topology)[pairs.T]
    parameters = nonbonded_parameters(topology)
    return lennard_jones(
        distances, _like(distances, parameters.c6[i, j]), _like(distances, parameters.c12[i, j])
    )


def nonbonded_energies(topology: Topology, frame: Frame, field: LongRange) -> dict[str, Tensor]:
    """Non-bonded energies of a frame: no potential shift, no dispersion correction.

    Parameters
    ----------
    topology, frame
        The system; molecules may be broken across the box.
    field
        The cut-off of both interactions, and what is beyond it.

    Returns
    -------
    ``LJ (SR)`` and ``Coulomb (SR)``, kJ/mol, float64.  What is beyond the cut-off acts on excluded
    pairs within it and on each atom itself too, as in GROMACS.

    Raises
    ------
    InputError
        If topology and frame do not fit, or the cut-off exceeds half of the shortest lattice vector.
    """
    _check_size(topology, len(frame.positions))
    close, lengths = close_pairs(frame, field.cutoff)
    excluded = is_excluded(topology, close)
    return {
        "LJ (SR)": pair_energies(topology, close[~excluded], torch.as_tensor(lengths[~excluded])).sum(),
        "Coulomb (SR)": coulomb_energy(topology, close, lengths, excluded, field)
        + own_field_energy(topology, field),
    }


def coulomb_energy(
    topology: Topology, pairs: IntArray, distances: FloatArray, excluded: BoolArray, field: LongRange
) -> Tensor:
    """Coulomb energy of pairs of a frame, kJ/mol: the sum of :func:`coulomb_energies`."""
    return coulomb_energies(topology, pairs, distances, excluded, field).sum()


def coulomb_energies(
    topology: Topology, pairs: IntArray, distances: FloatArray, excluded: BoolArray, field: LongRange
) -> Tensor:
    """(k,) Coulomb energies of pairs of a frame, kJ/mol, within the cut-off.

    Parameters
    ----------
    pairs, distances, excluded
        (k, 2), (k,) nm and (k,): pairs, of which those beyond the cut-off have none, and which of them
        are excluded: on these only what is beyond the cut-off acts.
    """
    r = torch.as_tensor(distances)
    qq = torch.as_tensor(atom_charges(topology)[pairs].prod(1) / field.epsilon_r)
    energy = torch.where(
        torch.as_tensor(excluded), field_energy(r, qq, field.beyond), coulomb(r, qq, field.beyond)
    )
    return energy.where(r < field.cutoff, 0.0)


def own_field_energy(topology: Topology, field: LongRange) -> Tensor:
    """Energy of all atoms with images of their own, kJ/mol: half an excluded pair at distance 0."""
    charges = atom_charges(topology)
    qq = torch.as_tensor(charges @ charges / field.epsilon_r)
    return 0.5 * field_energy(torch.zeros(1).double(), qq, field.beyond).sum()

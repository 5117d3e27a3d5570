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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
from torch import Tensor

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import close_pairs, minimum_image
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
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.compiled import plain
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield import nonbonded
from dbm_gmx.forcefield.forms import LEAST_SINE, STRETCHED
from dbm_gmx.forcefield.nonbonded import CLOSEST, Beyond, LongRange, inverse_sixth
from dbm_gmx.forcefield.tables import periodic_slopes
from dbm_gmx.forcefield.terms import check_supported, energy_name, energy_terms

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


def _bonds_and_ends(points: Tensor) -> tuple[Tensor, ...]:
    first, second = _arms(points)
    length = torch.linalg.vector_norm
    return length(first, dim=-1), length(second, dim=-1), length(first - second, dim=-1)


def _dihedral(points: Tensor) -> tuple[Tensor, ...]:
    return (dihedral(*points.diff(dim=-2).unbind(-2)),)


def _dihedral_from_minus_pi(points: Tensor) -> tuple[Tensor, ...]:
    return (_dihedral(points)[0] + math.pi,)


def _dihedral_and_sines(points: Tensor) -> tuple[Tensor, ...]:
    a, b, c = points.diff(dim=-2).unbind(-2)
    return dihedral(a, b, c), angle(a, b).sin(), angle(b, c).sin()


def _between(points: Tensor) -> tuple[Tensor, ...]:
    first, _, second = points.diff(dim=-2).unbind(-2)
    return (angle(first, second),)


def _dihedrals(points: Tensor) -> tuple[Tensor, ...]:
    return *_dihedral(points[..., :4, :]), *_dihedral(points[..., 1:, :])


# --- functional forms (GROMACS manual, "Bonded interactions" and "Non-bonded interactions") ---------


def harmonic(x: Tensor, x0: Tensor, k: Tensor) -> Tensor:
    """Harmonic potential of a bond length: k (x - x0)^2 / 2."""
    return 0.5 * k * (x - x0) ** 2


def quartic_bond(b: Tensor, b0: Tensor, k: Tensor) -> Tensor:
    """GROMOS-96 bond: k (b^2 - b0^2)^2 / 4, k in kJ/mol nm^-4."""
    return 0.25 * k * (b**2 - b0**2) ** 2


def morse(b: Tensor, b0: Tensor, depth: Tensor, beta: Tensor) -> Tensor:
    """Morse bond: D (1 - exp(-beta (b - b0)))^2."""
    return depth * (1 - torch.exp(-beta * (b - b0))) ** 2


def cubic_bond(b: Tensor, b0: Tensor, k: Tensor, cubic: Tensor) -> Tensor:
    """Cubic bond: k (b - b0)^2 + k c (b - b0)^3."""
    return k * (b - b0) ** 2 * (1 + cubic * (b - b0))


def fene(b: Tensor, longest: Tensor, k: Tensor) -> Tensor:
    """FENE bond: -k bm^2 log(1 - b^2 / bm^2) / 2; just short of bm it goes straight on, as in the sampler."""
    part = (b / longest) ** 2
    room = 1 - part.clamp(max=STRETCHED)
    return 0.5 * k * longest**2 * ((part - STRETCHED).clamp(min=0) / room - room.log())


def restraint(b: Tensor, low: Tensor, up: Tensor, far: Tensor, k: Tensor) -> Tensor:
    """Distance restraint: harmonic below ``low`` and from ``up`` on, linear from ``far`` on."""
    beyond = (b - up).clamp(min=0)
    near = torch.minimum(beyond, far - up)
    return k * (0.5 * (b - low).clamp(max=0) ** 2 + near * (beyond - 0.5 * near))


def cross_bonds(b: Tensor, c: Tensor, _ends: Tensor, b0: Tensor, c0: Tensor, k: Tensor) -> Tensor:
    """Cross term of two bonds: k (b - b0) (c - c0)."""
    return k * (b - b0) * (c - c0)


def cross_angle(b: Tensor, c: Tensor, r: Tensor, b0: Tensor, c0: Tensor, r0: Tensor, k: Tensor) -> Tensor:
    """Cross term of two bonds with their angle: k (r - r0) (b - b0 + c - c0), r the distance of the ends."""
    return k * (r - r0) * (b - b0 + c - c0)


def angle_polynomial(theta: Tensor, theta0: Tensor, *c: Tensor) -> Tensor:
    """Quartic angle: sum_n c_n (theta - theta0)^n, n up to 4."""
    return polynomial(theta - torch.deg2rad(theta0), c)


def restricted(x: Tensor, x0: Tensor, k: Tensor) -> Tensor:
    """Restricted angle or dihedral: k (cos x - cos x0)^2 / (2 sin^2 x)."""
    return 0.5 * k * ((x.cos() - torch.deg2rad(x0).cos()) / x.sin().abs().clamp(min=LEAST_SINE)) ** 2


def dihedral_restraint(phi: Tensor, phi0: Tensor, free: Tensor, k: Tensor) -> Tensor:
    """Dihedral restraint: harmonic where phi is further than ``free`` from phi0."""
    off = torch.remainder(phi - torch.deg2rad(phi0) + math.pi, 2 * math.pi) - math.pi
    return 0.5 * k * (off.abs() - torch.deg2rad(free)).clamp(min=0) ** 2


def angle_restraint(phi: Tensor, phi0: Tensor, k: Tensor, n: Tensor) -> Tensor:
    """Restraint of the angle between two pairs of atoms: k (1 - cos(n (phi - phi0)))."""
    return k * (1 - torch.cos(n * (phi - torch.deg2rad(phi0))))


def bent_torsion(phi: Tensor, sine: Tensor, other: Tensor, k: Tensor, *a: Tensor) -> Tensor:
    """Combined bending and torsion: k sin^3 theta1 sin^3 theta2 sum_n a_n cos^n phi."""
    return k * (sine * other) ** 3 * polynomial(phi.cos(), a)


def polynomial(x: Tensor, c: Sequence[Tensor]) -> Tensor:
    """sum_n c_n x^n."""
    value = torch.zeros_like(x)
    for coefficient in reversed(c):
        value = value * x + coefficient
    return value


def tabled(x: Tensor, step: Tensor, k: Tensor, *points: Tensor) -> Tensor:
    """Energy from a table: k times energies, followed by slopes, ``step`` apart, from 0 on."""
    energy, slope = torch.stack(points, -1).chunk(2, -1)
    n = energy.shape[-1]
    where = x / step
    cell = where.detach().floor().long().clamp(0, n - 2)
    t = (where - cell).clamp(0, 1)
    ends = torch.stack([_picked(energy, cell), _picked(energy, cell + 1)], -1)
    slopes = torch.stack([_picked(slope, cell), _picked(slope, cell + 1)], -1) * step[..., None]
    beyond = where - cell - t
    on = torch.where(beyond > 0, slopes[..., 1], slopes[..., 0]) * beyond
    return k * ((_hermite(t) * torch.cat([ends, slopes], -1)).sum(-1) + on)


def _picked(values: Tensor, index: Tensor) -> Tensor:
    """Of (k, n) values those at (..., k) places of the last axis."""
    return values.expand(*index.shape, values.shape[-1]).gather(-1, index[..., None])[..., 0]


def _hermite(t: Tensor) -> Tensor:
    """(..., 4) shares of values and slopes at 0 and 1 (f0, f1, f0', f1')."""
    end = t**2 * (3 - 2 * t)
    return torch.stack([1 - end, end, t * (1 - t) ** 2, t**2 * (t - 1)], -1)


def correction_map(phi: Tensor, psi: Tensor, *grid: Tensor) -> Tensor:
    """Dihedral correction map: bicubic on a grid that begins at -180 degrees."""
    n = math.isqrt(len(grid))
    d = torch.as_tensor(periodic_slopes(n), dtype=phi.dtype, device=phi.device)
    values = torch.stack(grid, -1).reshape(-1, n, n)
    along = d @ values
    places = [(x + math.pi) * n / (2 * math.pi) for x in (phi, psi)]
    cells = [place.detach().floor().long() for place in places]
    basis, other = (_hermite(place - cell) for place, cell in zip(places, cells, strict=True))
    energy = torch.zeros_like(phi)
    for row, column in product(range(4), range(4)):
        of = ((values, values @ d.T), (along, along @ d.T))[row // 2][column // 2].flatten(-2)
        index = (cells[0] + row % 2) % n * n + (cells[1] + column % 2) % n
        energy = energy + basis[..., row] * other[..., column] * _picked(of, index)
    return energy


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
    return polynomial(-torch.cos(phi), c)


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


Measure = Callable[[Tensor], tuple[Tensor, ...]]
Potential = Callable[..., Tensor]


@dataclass(frozen=True)
class Form:
    """How the energy of a term is worked out.

    Attributes
    ----------
    measure
        Points (..., k, m, 3) to internal coordinates, each (..., k).
    potential
        Internal coordinates, then the parameters (each (k,)), to energies (..., k).
    """

    measure: Measure
    potential: Potential


FORMS: Mapping[tuple[str, int], Form] = {
    ("bonds", 1): Form(_distance, harmonic),
    ("bonds", 2): Form(_distance, quartic_bond),
    ("bonds", 3): Form(_distance, morse),
    ("bonds", 4): Form(_distance, cubic_bond),
    ("bonds", 6): Form(_distance, harmonic),
    ("bonds", 7): Form(_distance, fene),
    ("bonds", 8): Form(_distance, tabled),
    ("bonds", 9): Form(_distance, tabled),
    ("bonds", 10): Form(_distance, restraint),
    ("angles", 1): Form(_angle, harmonic_angle),
    ("angles", 2): Form(_cosine, cosine_angle),
    ("angles", 3): Form(_bonds_and_ends, cross_bonds),
    ("angles", 4): Form(_bonds_and_ends, cross_angle),
    ("angles", 5): Form(_angle_and_ends, urey_bradley),
    ("angles", 6): Form(_angle, angle_polynomial),
    ("angles", 8): Form(_angle, tabled),
    ("angles", 10): Form(_angle, restricted),
    ("dihedrals", 1): Form(_dihedral, periodic),
    ("dihedrals", 2): Form(_dihedral, harmonic_dihedral),
    ("dihedrals", 3): Form(_dihedral, ryckaert_bellemans),
    ("dihedrals", 4): Form(_dihedral, periodic),
    ("dihedrals", 5): Form(_dihedral, fourier),
    ("dihedrals", 8): Form(_dihedral_from_minus_pi, tabled),
    ("dihedrals", 9): Form(_dihedral, periodic),
    ("dihedrals", 10): Form(_dihedral, restricted),
    ("dihedrals", 11): Form(_dihedral_and_sines, bent_torsion),
    ("dihedral_restraints", 1): Form(_dihedral, dihedral_restraint),
    ("angle_restraints", 1): Form(_between, angle_restraint),
    ("cmap", 1): Form(_dihedrals, correction_map),
    ("pairs", 1): Form(_distance, lennard_jones),
    ("pairs", 2): Form(_distance, charged_pair),
    ("coulomb14", 1): Form(_distance, coulomb),
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


def term_energies(terms: Terms, positions: Tensor, lattice: Lattice | None = None) -> Tensor:
    """Energy of each of ``terms``.

    Parameters
    ----------
    terms
        k terms of a molecule type.
    positions
        (..., n, 3) nm, whole molecules of that type.
    lattice
        Where molecules are bonded to images of their own.

    Returns
    -------
    (..., k) kJ/mol, in the floating point type of ``positions`` and differentiable by them.

    Raises
    ------
    InputError
        If the function type is not supported.
    """
    form = form_of(terms)
    points = points_of(positions, terms.atoms, lattice)
    return form.potential(*form.measure(points), *_like(positions, terms.parameters).unbind(-1))


def points_of(positions: Tensor, rows: IntArray, lattice: Lattice | None) -> Tensor:
    """(..., k, m, 3) nm the atoms (k, m) of terms; with a lattice in the images beside the first of each."""
    points = positions[..., torch.as_tensor(rows, device=positions.device), :]
    if lattice is None:
        return points
    apart = (points - points[..., :1, :]).detach().cpu().numpy()
    return points + torch.as_tensor(minimum_image(apart, lattice.cell) - apart, device=positions.device)


def _like(positions: Tensor, values: FloatArray) -> Tensor:
    return torch.as_tensor(values, dtype=positions.dtype, device=positions.device)


def bonded_energies(
    topology: Topology, positions: Tensor, *, epsilon_r: float = 1.0, lattice: Lattice | None = None
) -> dict[str, Tensor]:
    """Bonded energies of a whole system, 1-4 pairs included.

    Parameters
    ----------
    topology
        The system.
    positions
        (..., n, 3) nm, molecules whole.
    epsilon_r
        Relative permittivity of the Coulomb-14 energies.
    lattice
        Where molecules are bonded to images of their own.

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
            name, energy = energy_name(terms), term_energies(terms, block, lattice).sum((-2, -1))
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

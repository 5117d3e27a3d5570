"""Electrostatics of the whole periodic lattice, and how far the sampled form is from it in a frame.

The sum over the lattice is that of Ewald, its smooth part on a mesh (smooth particle mesh Ewald: Essmann et
al., J. Chem. Phys. 103, 8577 (1995)), so that the time grows as the number of atoms.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import next_fast_len, rfftn
from scipy.interpolate import BSpline
from scipy.special import erf

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame, box_volume
from dbm_gmx.chemistry.periodic import pairs_in_parts
from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.compiled import plain
from dbm_gmx.forcefield.nonbonded import LongRange, coulomb

ORDER = 6
"""Of the splines: a charge is spread over so many points of the mesh in each direction."""

SPACING = 0.25
"""Of the mesh, widths of the Gaussian charges (1 / alpha): an energy is right to a millionth or so."""

NARROW = 3.5
"""Cut-off over the width of the Gaussian charges: beyond the cut-off 10^-6 of an interaction is left."""

POINTS, EMPTY = 2**24, 300.0
"""Points of a mesh that are no trouble, and so many for each atom: more are those of a box that is empty, but
for a few atoms.  A liquid has about 30 for each."""

AT_ONCE = 4000
"""Atoms whose pairs are looked for together, for less memory."""


def lattice_excess(charges: FloatArray, frame: Frame, form: LongRange) -> float:
    """Electrostatic energy of a frame by ``form``, less that of the periodic lattice, kJ/mol.

    Both leave out the same pairs, and both count the energy of a charge with images of its own, as GROMACS
    does.  A net charge of the lattice has a uniform background, and the surroundings conduct.  No constant is
    taken off: in frames of dynamics with the lattice sum both agree to 0.01 kT per atom.  Frames sampled with
    the form have what it favours wrongly, so that the difference is lower there: between the means in frames
    of either it is the relative entropy of the two distributions (both ways, times kT).

    Parameters
    ----------
    charges
        (n,) e.
    """
    alpha = NARROW / form.cutoff
    total = charges @ charges * (form.beyond.c0 / 2 + alpha / math.sqrt(math.pi))
    for rows, found in pairs_in_parts(frame.positions, frame.box, form.cutoff, AT_ONCE):
        apart = (found.distances > 0) & (found.distances < form.cutoff)
        r, i, j = found.distances[apart], found.i[apart], found.j[apart]
        # 1 / r of the one and erfc(alpha r) / r of the other, 0 and -erf / r where they are excluded
        unit = plain(coulomb)(0.0, r * r, form.beyond) + erf(alpha * r) / r
        # those of two atoms of a part are found both ways round
        total += (np.where(j < rows.stop, 0.5, 1.0) * charges[i] * charges[j]) @ unit
    total -= _mesh_energy(charges, frame, alpha)
    return ELECTRIC / form.epsilon_r * float(total)


def is_empty(frame: Frame, cutoff: float) -> bool:
    """Whether the box of a frame is so large for its atoms that a mesh for it takes too much memory."""
    least = np.linalg.norm(frame.box, axis=1) * NARROW / cutoff / SPACING
    return bool(np.maximum(2 * ORDER, least).prod() > max(POINTS, EMPTY * len(frame.positions)))


def _mesh_energy(charges: FloatArray, frame: Frame, alpha: float) -> float:
    """Energy of Gaussian charges of width 1 / ``alpha`` (nm^-1) on a lattice and their own, e^2/nm."""
    lengths = np.linalg.norm(frame.box, axis=1)
    least = [max(2 * ORDER, math.ceil(length * alpha / SPACING)) for length in lengths]
    mesh = [next_fast_len(points, real=True) for points in least]
    density = rfftn(_spread(charges, frame, np.array(mesh)), overwrite_x=True)
    strength = _normalisation(mesh[1])[:, None] * _normalisation(mesh[2])[: mesh[2] // 2 + 1]
    numbers = np.fft.fftfreq(mesh[1], 1 / mesh[1]), np.arange(mesh[2] // 2 + 1)
    second, third = np.meshgrid(*numbers, indexing="ij")
    # half of the waves stand for their opposites too
    twice = np.full(mesh[2] // 2 + 1, 2.0)
    twice[0] = 1.0
    if mesh[2] % 2 == 0:
        twice[-1] = 1.0
    energy, inverse = 0.0, 2 * np.pi * np.linalg.inv(frame.box).T
    layers = np.fft.fftfreq(mesh[0], 1 / mesh[0]), _normalisation(mesh[0])
    for number, first, weight in zip(range(mesh[0]), *layers, strict=True):  # one by one, for less memory
        waves = np.stack([np.full_like(second, first), second, third], axis=-1)
        k2 = ((waves @ inverse) ** 2).sum(-1)
        k2[k2 == 0.0] = np.inf
        part = np.abs(density[number]) ** 2 * strength * twice * np.exp(-k2 / (4 * alpha**2)) / k2
        energy += weight * float(part.sum())
    volume = box_volume(frame.box)
    background = math.pi * charges.sum() ** 2 / (2 * volume * alpha**2)
    return float(2 * math.pi * energy / volume - background)


def _spread(charges: FloatArray, frame: Frame, mesh: IntArray) -> FloatArray:
    """Charges on the points of a mesh."""
    spline, points = _spline(), np.arange(ORDER)
    density = np.zeros(int(mesh.prod()))
    for first in range(0, len(charges), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        at = frame.positions[rows].astype(np.float64) @ np.linalg.inv(frame.box) * mesh
        base = np.floor(at)
        weight = spline((at - base)[:, :, None] + points)  # (n, 3, order)
        point = (base.astype(np.int64)[:, :, None] - points) % mesh[:, None]
        place = (point[:, 0, :, None, None] * mesh[1] + point[:, 1, None, :, None]) * mesh[2]
        place = place + point[:, 2, None, None, :]
        share = weight[:, 0, :, None, None] * weight[:, 1, None, :, None] * weight[:, 2, None, None, :]
        share *= charges[rows, None, None, None]
        np.add.at(density, place.ravel(), share.ravel())
    return density.reshape(mesh)


def _spline() -> BSpline:
    """The cardinal spline, 0 at 0 and at :data:`ORDER`."""
    return BSpline.basis_element(np.arange(ORDER + 1), extrapolate=False)


def _normalisation(points: int) -> FloatArray:
    """(points,) what makes a wave on the mesh, squared, one of the charges."""
    values = np.zeros(points)
    values[: ORDER - 1] = _spline()(np.arange(1, ORDER))
    return 1 / np.abs(np.fft.fft(values)) ** 2

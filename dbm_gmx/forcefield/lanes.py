"""Forces of many bonded terms of one form side by side, in the vector registers of the processor; compiled.

Terms are worked out in groups of :data:`LANES`.  Their arms and parameters are gathered into columns, every
step is a loop over these columns, in which the compiler takes several at a time, and the forces are handed
out to the atoms at last.  Terms take about half of the time that they take one by one, most of it to gather.

The functions are those of :mod:`~dbm_gmx.forcefield.forms`, of which the forms in :data:`FORMS` are here.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from dbm_gmx.chemistry.vectors import arm, cross, dot
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.forms import (
    ANGLE,
    ANGLES,
    COSINE,
    DIHEDRALS,
    DISTANCE,
    HARMONIC,
    POLYNOMIAL,
    short_way,
)

FORMS = (DISTANCE, ANGLE, COSINE, HARMONIC, POLYNOMIAL)
"""Forms that are worked out here; others are rare."""

LANES, FEW = 16, 4
"""Terms in a group, and how many are worth one."""

ARM, PARAMETER, COS, SIN, SLOPE, PUSH = (row * LANES for row in (0, 9, 15, 16, 17, 18))
"""Where columns of the workspace begin: three arms, six parameters, cosine, sine, the slope of the energy by
the distance, the angle or the dihedral, and the forces on four atoms."""

SPACE = 30 * LANES
"""Numbers in the workspace."""

STRAIGHT = 1e-3
"""Sine of an angle below which the force on it no longer grows: in a straight line it has no direction."""


def _arc_series() -> tuple[float, ...]:
    """Coefficients of atan(t) / t in the square of t, for t up to 1: right to 1e-10."""

    def part(square: Any) -> Any:
        return np.arctan(np.sqrt(square)) / np.sqrt(square)

    found = Chebyshev.interpolate(part, 12, [1e-12, 1.0])
    return tuple(found.convert(kind=Polynomial).coef.tolist())


ARC = _arc_series()


@compiled(forceinline=True)
def arc(sine: float, cosine: float) -> float:
    """The angle, in [0, pi], of a cosine and a sine >= 0 to the same scale, without a branch."""
    across = abs(cosine)
    steep = sine > across
    t = min(sine, across) / max(max(sine, across), 1e-30)
    u = t * t
    high = ARC[8] + u * (ARC[9] + u * (ARC[10] + u * (ARC[11] + u * ARC[12])))
    middle = ARC[4] + u * (ARC[5] + u * (ARC[6] + u * (ARC[7] + u * high)))
    angle = t * (ARC[0] + u * (ARC[1] + u * (ARC[2] + u * (ARC[3] + u * middle))))
    angle = 0.5 * math.pi - angle if steep else angle
    return math.pi - angle if cosine < 0.0 else angle


# --- a group of terms ----------------------------------------------------------------------------------


@compiled()
def add_group(terms: Any, which: Any, x: Any, scale: float, space: Any, force: Any) -> None:
    """Add the forces of terms of one form, times ``scale``, to those on atoms (n, 3), kJ/mol nm^-1.

    Parameters
    ----------
    terms
        Their form, (t, 5) atoms and (t, 6) parameters, see :class:`~dbm_gmx.forcefield.terms.BondedTerms`.
    which
        The first term, the end of them, at most :data:`LANES` later, and where their molecule begins.
    x
        (n, 3) nm, molecules whole, or as :func:`~dbm_gmx.chemistry.vectors.in_lattice` makes them.
    space
        (:data:`SPACE`,) whose numbers are finite.
    """
    form = terms[0]
    if form < ANGLES:
        _gather(terms, which, x, 2, 2, space)
        _pull(space)
        _hand_out(terms, which, scale, 2, space, force)
    elif form < DIHEDRALS:
        _gather(terms, which, x, 3, 2, space)
        _angles(space)
        _angle_slopes(space, form == COSINE)
        _bend(space)
        _hand_out(terms, which, scale, 3, space, force)
    else:
        _gather(terms, which, x, 4, 6, space)
        _dihedrals(space)
        _dihedral_slopes(space, form == HARMONIC)
        _turn(space)
        _hand_out(terms, which, scale, 4, space, force)


@compiled(forceinline=True)
def _gather(terms: Any, which: Any, x: Any, size: int, values: int, space: Any) -> None:
    """Arms and parameters of terms of so many atoms and parameters."""
    (_, atoms, parameters), (begin, end, first) = terms, which
    for lane in range(end - begin):
        t = begin + lane
        for k in range(size - 1):
            place = ARM + 3 * k * LANES + lane
            a, b, c = arm(x, first + atoms[t, k], first + atoms[t, k + 1])
            space[place], space[place + LANES], space[place + 2 * LANES] = a, b, c
        for k in range(values):
            space[PARAMETER + k * LANES + lane] = parameters[t, k]


@compiled(forceinline=True)
def _hand_out(terms: Any, which: Any, scale: float, size: int, space: Any, force: Any) -> None:
    """Add the forces to those on the atoms."""
    (_, atoms, _), (begin, end, first) = terms, which
    for lane in range(end - begin):
        for k in range(size):
            i = first + atoms[begin + lane, k]
            for d in range(3):
                force[i, d] += scale * space[PUSH + (3 * k + d) * LANES + lane]


@compiled(forceinline=True)
def _arm(space: Any, k: int, lane: int) -> Any:
    """The arm from atom k of a term to the next."""
    place = ARM + 3 * k * LANES + lane
    return space[place], space[place + LANES], space[place + 2 * LANES]


@compiled(forceinline=True)
def _three_arms(space: Any, lane: int) -> Any:
    """The arms of a dihedral, and the normals of the planes of its first and last three atoms."""
    a, b, c = _arm(space, 0, lane), _arm(space, 1, lane), _arm(space, 2, lane)
    return a, b, c, cross(a, b), cross(b, c)


@compiled(forceinline=True)
def _push(space: Any, k: int, lane: int, x: float, y: float, z: float) -> None:
    """The force on atom k of a term."""
    place = PUSH + 3 * k * LANES + lane
    space[place], space[place + LANES], space[place + 2 * LANES] = x, y, z


@compiled()
def _pull(space: Any) -> None:
    """Forces of harmonic distances."""
    for lane in range(LANES):
        a = _arm(space, 0, lane)
        r = max(math.sqrt(dot(a, a)), 1e-9)
        pull = space[PARAMETER + LANES + lane] * (r - space[PARAMETER + lane]) / r
        _push(space, 0, lane, pull * a[0], pull * a[1], pull * a[2])
        _push(space, 1, lane, -pull * a[0], -pull * a[1], -pull * a[2])


@compiled()
def _angles(space: Any) -> None:
    """Cosines and sines of angles."""
    for lane in range(LANES):
        a, b = _arm(space, 0, lane), _arm(space, 1, lane)
        n = cross(a, b)
        scale = 1.0 / math.sqrt((dot(a, a) + 1e-12) * (dot(b, b) + 1e-12))
        space[COS + lane] = -scale * dot(a, b)
        space[SIN + lane] = scale * math.sqrt(dot(n, n))


@compiled()
def _angle_slopes(space: Any, of_cosine: bool) -> None:
    """Slopes of energies that are harmonic in the angle, or in its cosine."""
    for lane in range(LANES):
        cosine, sine = space[COS + lane], space[SIN + lane]
        own, k = space[PARAMETER + lane], space[PARAMETER + LANES + lane]
        space[SLOPE + lane] = -k * (cosine - own) * sine if of_cosine else k * (arc(sine, cosine) - own)


@compiled()
def _bend(space: Any) -> None:
    """Forces by the slopes of angles."""
    for lane in range(LANES):
        a, b = _arm(space, 0, lane), _arm(space, 1, lane)
        aa, bb = dot(a, a) + 1e-12, dot(b, b) + 1e-12
        # the gradient of theta is that of its cosine = (r_i - r_j).(r_k - r_j) / norm over minus its sine
        slope, cosine = -space[SLOPE + lane] / max(space[SIN + lane], STRAIGHT), space[COS + lane]
        both, one, other = slope / math.sqrt(aa * bb), slope * cosine / aa, slope * cosine / bb
        ix, iy, iz = both * b[0] + one * a[0], both * b[1] + one * a[1], both * b[2] + one * a[2]
        kx, ky, kz = both * a[0] + other * b[0], both * a[1] + other * b[1], both * a[2] + other * b[2]
        _push(space, 0, lane, -ix, -iy, -iz)
        _push(space, 1, lane, ix - kx, iy - ky, iz - kz)
        _push(space, 2, lane, kx, ky, kz)


@compiled()
def _dihedrals(space: Any) -> None:
    """Cosines and sines of dihedrals; where three atoms lie on a line, of 180 degrees."""
    for lane in range(LANES):
        a, b, _, n, w = _three_arms(space, lane)
        cosine, sine = dot(n, w), math.sqrt(dot(b, b)) * dot(a, w)
        norm = cosine * cosine + sine * sine
        scale = 1.0 / math.sqrt(max(norm, 1e-60))
        space[COS + lane] = scale * cosine if norm > 1e-60 else 1.0
        space[SIN + lane] = scale * sine


@compiled()
def _dihedral_slopes(space: Any, harmonic: bool) -> None:
    """Slopes of energies that are harmonic in the dihedral, or a polynomial of minus its cosine."""
    for lane in range(LANES):
        cosine, sine = space[COS + lane], space[SIN + lane]
        first, second = space[PARAMETER + lane], space[PARAMETER + LANES + lane]
        if harmonic:
            phi = math.copysign(arc(abs(sine), cosine), sine)
            space[SLOPE + lane] = second * short_way(phi - first)
        else:
            third, fourth = space[PARAMETER + 2 * LANES + lane], space[PARAMETER + 3 * LANES + lane]
            fifth, sixth = space[PARAMETER + 4 * LANES + lane], space[PARAMETER + 5 * LANES + lane]
            c = -cosine
            series = 2.0 * third + c * (3.0 * fourth + c * (4.0 * fifth + c * 5.0 * sixth))
            space[SLOPE + lane] = sine * (second + c * series)


@compiled()
def _turn(space: Any) -> None:
    """Forces by the slopes of dihedrals (Blondel and Karplus, J. Comput. Chem. 17, 1132, 1996)."""
    for lane in range(LANES):
        a, b, c, n, w = _three_arms(space, lane)
        bb, slope = dot(b, b), space[SLOPE + lane] * math.sqrt(dot(b, b))
        # where three atoms lie on a line the force is that of an angle a little off it
        one = -slope / max(dot(n, n), STRAIGHT * dot(a, a) * bb)
        other = slope / max(dot(w, w), STRAIGHT * bb * dot(c, c) + 1e-15)
        ab, cb = dot(a, b) / bb, dot(c, b) / bb
        ix, iy, iz = one * n[0], one * n[1], one * n[2]
        lx, ly, lz = other * w[0], other * w[1], other * w[2]
        sx, sy, sz = cb * lx - ab * ix, cb * ly - ab * iy, cb * lz - ab * iz
        _push(space, 0, lane, -ix, -iy, -iz)
        _push(space, 1, lane, ix - sx, iy - sy, iz - sz)
        _push(space, 2, lane, lx + sx, ly + sy, lz + sz)
        _push(space, 3, lane, -lx, -ly, -lz)

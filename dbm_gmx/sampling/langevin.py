"""Langevin dynamics, for growth and packing: one step, compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

from dbm_gmx.compiled import compiled
from dbm_gmx.sampling.random_numbers import uniform

MASS = 12.0
"""amu, of all atoms: only positions matter."""


class Integrator(NamedTuple):
    """How steps are taken.

    Attributes
    ----------
    time_step
        ps.
    friction
        ps^-1.
    longest
        Longest step of an atom along an axis, nm: atoms that overlap must not fly away.
    """

    time_step: float
    friction: float
    longest: float


class Motion(NamedTuple):
    """Atoms that move: (n, 3) positions, nm, velocities, nm/ps, and forces, kJ/mol nm^-1."""

    positions: Any
    velocity: Any
    force: Any


@compiled()
def langevin_step(motion: Any, atoms: Any, kt: float, integrator: Any, rng: Any) -> None:
    """Move some atoms by one step at a temperature, ``kt`` in kJ/mol; positions and velocities change."""
    x, velocity, force = motion.positions, motion.velocity, motion.force
    dt = integrator.time_step
    kept = math.exp(-integrator.friction * dt)
    # noise of any shape does that has this mean and variance (Duenweg, Paul, Int. J. Mod. Phys. C 2, 817,
    # 1991)
    kick, limit = math.sqrt(12.0 * (1.0 - kept * kept) * kt / MASS), integrator.longest / dt
    for i in atoms:
        for d in range(3):
            v = kept * (velocity[i, d] + dt * force[i, d] / MASS) + kick * (uniform(rng) - 0.5)
            v = max(-limit, min(limit, v))
            velocity[i, d] = v
            x[i, d] += dt * v

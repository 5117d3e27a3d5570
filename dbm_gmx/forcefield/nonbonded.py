"""Non-bonded pairs: Lennard-Jones, Coulomb with a reaction field, special pairs."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any

from dbm_gmx.compiled import compiled

# --- non-bonded energies ---------------------------------------------------------------------------


def reaction_field(cutoff: float, *, epsilon_r: float, epsilon_rf: float | None) -> tuple[float, float]:
    """Constants of the reaction field beyond ``cutoff`` (GROMACS manual, same title).

    Parameters
    ----------
    cutoff
        nm.
    epsilon_r, epsilon_rf
        Relative permittivity within and beyond the cut-off; as in GROMACS, ``epsilon_rf = 0`` is
        infinity.  With ``None`` there is no field: the plain cut-off.

    Returns
    -------
    k_rf (nm^-3) and c_rf (nm^-1).
    """
    if epsilon_rf is None:
        return 0.0, 0.0
    conducting = epsilon_rf == 0 or math.isinf(epsilon_rf)
    ratio = 0.5 if conducting else (epsilon_rf - epsilon_r) / (2 * epsilon_rf + epsilon_r)
    k_rf = ratio / cutoff**3
    return k_rf, 1 / cutoff + k_rf * cutoff**2


CLOSEST = 0.01  # nm^2, squares of distances are no smaller


@compiled(forceinline=True)
def special_pair(tables: Any, p: Any, i: int, j: int) -> Any:
    """c6, c12 and qq of a special pair ``p``, see :class:`~dbm_gmx.forcefield.hamiltonian.MoleculeTarget`."""
    usual, a, b = p[4] > 0.0, tables.type[i], tables.type[j]
    c6 = p[0] + (tables.c6[a, b] if usual else 0.0)
    c12 = p[1] + (tables.c12[a, b] if usual else 0.0)
    qq = p[2] + (tables.charge[i] * tables.charge[j] if usual else 0.0)
    return c6, c12, qq


@compiled(forceinline=True)
def pair_force(c6: float, c12: float, qq: float, r2: float, soft: float) -> Any:
    """Force over distance, and energy, of a pair of one molecule, without cut-off."""
    if soft > 0.0 and (c6 <= 0.0 or c12 <= 0.0):
        return 0.0, 0.0
    square = max(r2, CLOSEST)
    quartic = square * square
    i6 = 1.0 / (quartic * square + (soft * c12 / c6 if soft > 0.0 else 0.0))
    push, energy = 6.0 * quartic * i6 * i6 * (2.0 * c12 * i6 - c6), (c12 * i6 - c6) * i6
    if qq != 0.0 and soft == 0.0:
        energy += qq / math.sqrt(square)
        push += qq / (math.sqrt(square) * square)
    return push, energy

"""Constants in GROMACS' units: nm, ps, kJ/mol, amu, e."""

from __future__ import annotations

ELECTRIC = 138.935458
"""Electric conversion factor 1/(4 pi epsilon_0), kJ/mol nm e^-2."""

GAS = 0.00831446261815324
"""Gas constant, kJ/mol K."""


ANGSTROM = 0.1
"""nm."""


KCAL = 4.184
"""kJ."""

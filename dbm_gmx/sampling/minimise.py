"""The way down to a minimum: limited-memory BFGS (Liu, Nocedal, Math. Program. 45, 503, 1989), compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.compiled import compiled

MEMORY = 6
"""Steps that the next one is planned from."""

SOFTEST = 1e-6
"""Inverse curvature to begin with, nm^2 mol/kJ."""

LONGEST_STEP = 0.01
"""nm, of an atom along an axis."""


class Memory(NamedTuple):
    """The last steps.

    Attributes
    ----------
    moved, turned
        (:data:`MEMORY`, n) steps, and how the slope changed in each.
    curvature, share
        (:data:`MEMORY`,) of each step, and room to work.
    known
        (1,) steps remembered so far.
    scale
        (1,) inverse curvature.
    slope, before, step
        (n,) now and before, and the step that was taken; (1, n).
    """

    moved: Any
    turned: Any
    curvature: Any
    share: Any
    known: Any
    scale: Any
    slope: Any
    before: Any
    step: Any


@compiled(makes_arrays=True)
def make_memory(n: int) -> Memory:
    """Nothing is known of a function of n variables."""
    return Memory(
        np.zeros((MEMORY, n)),
        np.zeros((MEMORY, n)),
        np.zeros(MEMORY),
        np.zeros(MEMORY),
        np.zeros(1, np.int64),
        np.full(1, SOFTEST),
        np.zeros(n),
        np.zeros(n),
        np.zeros((1, n)),
    )


@compiled(forceinline=True)
def _dot(a: Any, i: int, b: Any, j: int) -> float:
    """Product of a row of one array and a row of another."""
    total = 0.0
    for q in range(a.shape[1]):
        total += a[i, q] * b[j, q]
    return total


@compiled(forceinline=True)
def _add(step: Any, share: float, rows: Any, row: int) -> None:
    """Add a share of a row to the step."""
    for q in range(step.shape[1]):
        step[0, q] += share * rows[row, q]


@compiled(forceinline=True)
def remember(memory: Any, atoms: Any, force: Any, moved: bool) -> None:
    """Note the forces (n, 3) on the atoms that move, and what the last step did to them, if they moved."""
    for k in range(len(atoms)):
        for d in range(3):
            memory.before[3 * k + d] = memory.slope[3 * k + d]
            memory.slope[3 * k + d] = -force[atoms[k], d]
    if not moved:
        return
    row = memory.known[0] % MEMORY
    for q in range(len(memory.slope)):
        memory.moved[row, q] = memory.step[0, q]
        memory.turned[row, q] = memory.slope[q] - memory.before[q]
    along = _dot(memory.moved, row, memory.turned, row)
    squared = _dot(memory.turned, row, memory.turned, row)
    if along > 1e-12 * squared and along > 0.0:
        memory.curvature[row], memory.scale[0] = along, along / squared
        memory.known[0] += 1
    else:  # curved upwards: what is remembered is of no use here
        memory.known[0], memory.scale[0] = 0, SOFTEST


@compiled(forceinline=True)
def take_step(memory: Any, atoms: Any, x: Any, least: float) -> bool:
    """Move atoms of ``x`` (n, 3) a step down; whether more than ``least``, kJ/mol, could be gained."""
    step, known = memory.step, memory.known[0]
    for q in range(len(memory.slope)):
        step[0, q] = memory.slope[q]
    first = max(0, known - MEMORY)
    for k in range(known - 1, first - 1, -1):
        row = k % MEMORY
        memory.share[row] = _dot(memory.moved, row, step, 0) / memory.curvature[row]
        _add(step, -memory.share[row], memory.turned, row)
    for q in range(len(memory.slope)):
        step[0, q] *= memory.scale[0]
    for k in range(first, known):
        row = k % MEMORY
        correction = memory.share[row] - _dot(memory.turned, row, step, 0) / memory.curvature[row]
        _add(step, correction, memory.moved, row)
    gain = longest = 0.0
    for q in range(len(memory.slope)):
        gain += memory.slope[q] * step[0, q]
        longest = max(longest, abs(step[0, q]))
    if longest == 0.0 or gain < least:
        return False
    shorter = -min(1.0, LONGEST_STEP / longest)
    for k in range(len(atoms)):
        for d in range(3):
            step[0, 3 * k + d] *= shorter
            x[atoms[k], d] += step[0, 3 * k + d]
    return True

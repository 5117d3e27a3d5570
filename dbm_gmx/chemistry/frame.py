"""One configuration, and the geometry of its periodic box."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from MDAnalysis.lib.mdamath import triclinic_box, triclinic_vectors
from numpy.typing import ArrayLike

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray
from dbm_gmx.errors import InputError


@dataclass(frozen=True, eq=False)
class Frame:
    """Positions of all atoms or all beads at one time.

    Attributes
    ----------
    positions
        (n, 3) nm, float32.
    box
        (3, 3) nm, rows are the box vectors a, b, c in GROMACS' lower triangular form.
    time
        ps.
    step
        MD step, 0 where the file has none.
    index
        Number of the frame in its file, from 0: with the seed it decides the random numbers.
    free
        Whether its file has no box: nothing is periodic, and ``box`` is so large that no image is near.
    winds
        Whether molecules are bonded to images of their own, through the box; see
        :mod:`~dbm_gmx.chemistry.winding`.
    """

    positions: Float32Array
    box: FloatArray
    time: float = 0.0
    step: int = 0
    index: int = 0
    free: bool = False
    winds: bool = False


def dimensions(box: FloatArray) -> FloatArray:
    """Return lengths (nm) and angles (degrees) ``[a, b, c, alpha, beta, gamma]`` of a (3, 3) box."""
    return np.asarray(triclinic_box(*box), np.float64)


def box_vectors(sizes: ArrayLike) -> FloatArray:
    """Return the (3, 3) lower triangular box of ``[a, b, c, alpha, beta, gamma]`` (nm, degrees).

    Sizes that make no cell give a box of zeros.
    """
    return np.asarray(triclinic_vectors(sizes, dtype=np.float64), np.float64)


def box_volume(box: FloatArray) -> float:
    """Volume of the cell, nm^3."""
    return float(abs(np.linalg.det(box)))


LONGEST = 10_000.0
"""What a box vector or a coordinate is at most, nm.

Positions are in single precision, which does not tell 0.001 nm further away.
"""

SHORTEST = 0.1
"""What a box vector is at least, nm: the length of a bond."""

MOST_SKEWED = 4.0
"""How far a box vector leans at most, in lengths of the one it leans along; GROMACS makes it half of one."""


LATEST = 1e30
"""Time of a frame, ps: single precision holds it."""

ROOM = 10.0
"""From what is without a box to its nearest image, nm: more than a cut-off and what atoms add to beads."""


def with_room(frame: Frame) -> Frame:
    """A frame that has no box in one so large that it is not periodic; other frames as they are."""
    if frame.box.any():
        return frame
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.ptp(frame.positions.astype(np.float64), axis=0)
    size = np.where(size < LONGEST, size, 0.0)  # positions that cannot be used are refused later
    return replace(frame, box=np.diag(np.ceil(size + ROOM)), free=True)


def check_frame(frame: Frame, path: str | Path | None = None) -> None:
    """Refuse a frame whose box or positions cannot be used.

    Raises
    ------
    InputError
        The box is missing, flat, too large or small or not lower triangular, or a position is not a finite
        number or too far away; or the time is none.
    """
    problem = box_problem(frame.box)
    if problem:
        where = f"frame {frame.index} (t = {frame.time:g} ps)"
        raise InputError(f"{where}: {problem}; a periodic box in GROMACS' form is needed", path=path)
    check_time(frame, path)
    check_positions(frame, path)


def check_positions(frame: Frame, path: str | Path | None = None) -> None:
    """Refuse a frame, which may have no box, whose numbers are not finite or too far away."""
    where = f"frame {frame.index} (t = {frame.time:g} ps)"
    if not np.isfinite(frame.box).all():
        raise InputError(f"{where}: the box is not finite", path=path)
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~(np.abs(frame.positions) <= LONGEST).all(axis=1))
    if bad.size:
        found = " ".join(f"{x:g}" for x in frame.positions[bad[0]])
        raise InputError(
            f"{where}: the position of atom {bad[0] + 1} is {found} ({bad.size} such atoms in all); "
            f"finite numbers up to {LONGEST:g} nm are needed",
            path=path,
        )


def check_time(frame: Frame, path: str | Path | None = None) -> None:
    """Refuse a time that is not finite, or would not be in a file: these have single precision."""
    if not abs(frame.time) <= LATEST:
        raise InputError(f"frame {frame.index}: its time is {frame.time} ps", path=path)


def box_problem(box: FloatArray) -> str:
    """Say what is wrong with a box, ``""`` if nothing is."""
    if not np.isfinite(box).all():
        return "the box is not finite"
    if not box.any():
        return "there is no box (all zero)"
    lengths = np.linalg.norm(box, axis=1)
    if lengths.max() > LONGEST:
        return f"the box is too large ({_numbers(lengths)} nm, at most {LONGEST:g})"
    if box_volume(box) <= 1e-6 * np.prod(lengths) or (np.diag(box) <= 0).any():
        return f"the box has no volume ({_numbers(np.diag(box))} nm on its diagonal)"
    if (np.abs(box[np.triu_indices(3, 1)]) > 1e-5 * lengths.max()).any():
        return f"the box is not lower triangular ({_numbers(box.ravel())})"
    if np.diag(box).min() < SHORTEST:
        return f"the box is too small ({_numbers(np.diag(box))} nm on its diagonal, at least {SHORTEST:g})"
    lean = np.abs(box[[1, 2, 2], [0, 0, 1]]) / np.diag(box)[[0, 0, 1]]
    if lean.max() > MOST_SKEWED:
        return f"the box is too skewed ({_numbers(box.ravel())})"
    return ""


def _numbers(values: FloatArray) -> str:
    """Join numbers for a message."""
    return " ".join(f"{x:g}" for x in values)

"""One configuration, and the geometry of its periodic box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]


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
    """

    positions: Float32Array
    box: FloatArray
    time: float = 0.0
    step: int = 0
    index: int = 0

"""Names of the array types used in signatures."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
SignArray = NDArray[np.int8]
FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
Positions = FloatArray | Float32Array
Floats = TypeVar("Floats", FloatArray, Float32Array)

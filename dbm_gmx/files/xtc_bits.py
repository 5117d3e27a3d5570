"""The compressed positions of an .xtc, decoded so that no damaged frame leads out of an array; compiled.

The format is that of Frans van Hoesel (1995), ``xdr3dfcoord`` in GROMACS' ``src/gromacs/fileio/libxdrf.cpp``:
whole numbers of 1/precision nm between a least and a largest one.  An atom is written in full, and may be
followed by up to eight that lie near the one before each; how near is a row of :data:`SIZES`.

The libraries that read it (those of MDAnalysis, MDTraj and chemfiles) trust the bits: one that is flipped can
lead out of their arrays, and end the process.  Here each step is checked.  A sound frame takes exactly its
bytes, and has all atoms between the two bounds, so that much damage is seen, too.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from dbm_gmx.compiled import compiled

SIZES = np.array(
    [0] * 9
    + [8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 101, 128, 161, 203, 256, 322, 406, 512, 645, 812, 1024]
    + [1290, 1625, 2048, 2580, 3250, 4096, 5060, 6501, 8192, 10321, 13003, 16384, 20642, 26007, 32768]
    + [41285, 52015, 65536, 82570, 104031, 131072, 165140, 208063, 262144, 330280, 416127, 524287, 660561]
    + [832255, 1048576, 1321122, 1664510, 2097152, 2642245, 3329021, 4194304, 5284491, 6658042, 8388607]
    + [10568983, 13316085, 16777216],
    np.int64,
)
"""How far apart neighbouring atoms may be, by the number of bits that three such distances take."""

FIRST = 9
"""The first row of :data:`SIZES` in use."""

LARGEST = 0xFFFFFF
"""Bounds further apart than this are not multiplied: each of the three numbers has bits of its own."""

PADDING = 2
"""Bytes after the last one that may be looked at."""

SOUND, SHORT, LONG, ATOMS, TABLE, BOUNDS = range(6)

FAULTS = {
    SHORT: "its positions end too early",
    LONG: "its positions end before its bytes do",
    ATOMS: "it holds more atoms than it says",
    TABLE: "a step between atoms is none of the format",
    BOUNDS: "an atom is outside of the bounds it gives",
}
"""What can be wrong."""


@compiled()
def _bits(stream: Any, at: int, n_bits: int) -> int:
    """The number in some bits, the highest first."""
    value = np.int64(0)
    for k in range(at, at + n_bits):
        value = (value << 1) | ((np.int64(stream[k >> 3]) >> (7 - (k & 7))) & 1)
    return int(value)


@compiled()
def _three(stream: Any, at: int, n_bits: int, size_1: int, size_2: int) -> Any:
    """Three numbers that were multiplied together, the lowest byte first; all but the first have a size."""
    low, high = np.int64(0), np.int64(0)
    byte, turn = at >> 3, 8 - (at & 7)
    n_bytes = n_bits >> 3
    for k in range(n_bytes):
        value = (((np.int64(stream[byte]) << 8) | np.int64(stream[byte + 1])) >> turn) & 255
        if k < 7:
            low |= value << (8 * k)
        else:
            high |= value << (8 * (k - 7))
        byte += 1
    rest = n_bits & 7
    if rest > 0:
        value = ((((np.int64(stream[byte]) << 8) | np.int64(stream[byte + 1])) >> turn) & 255) >> (8 - rest)
        if n_bytes < 7:
            low |= value << (8 * n_bytes)
        else:
            high |= value << (8 * (n_bytes - 7))
    if high == 0:
        third, low = low % size_2, low // size_2
    else:  # more than 56 bits: long division, 28 bits at a time
        upper, lower = low >> 28, low & 0xFFFFFFF
        upper |= (high % size_2) << 28
        lower |= (upper % size_2) << 28
        third = lower % size_2
        low = ((high // size_2) << 56) + ((upper // size_2) << 28) + lower // size_2
    return low // size_1, low % size_1, third


@compiled(makes_arrays=True)
def decode_positions(stream: Any, n_bits: int, bounds: Any, small: int, scale: Any, positions: Any) -> int:
    """Decode the positions of a frame.

    Parameters
    ----------
    stream
        (bytes + :data:`PADDING`,) uint8.
    n_bits
        Of the stream without its padding.
    bounds
        (4, 3) int64: least and largest position, how many there are, and bits of each; where the three are
        multiplied, all bits are in the first column.
    small
        Row of :data:`SIZES` to begin with.
    scale
        float32, nm: positions are multiplied with it.
    positions
        (n, 3) float32, filled.

    Returns
    -------
    :data:`SOUND`, or what is wrong (:data:`FAULTS`).
    """
    n, at, i, run = len(positions), 0, 0, 0
    least_x, least_y, least_z = bounds[0, 0], bounds[0, 1], bounds[0, 2]
    most_x, most_y, most_z = bounds[1, 0], bounds[1, 1], bounds[1, 2]
    together, full = bounds[3, 1] == 0, bounds[3].sum()
    while i < n:
        if at + full + 1 > n_bits:
            return SHORT
        if together:
            x, y, z = _three(stream, at, full, bounds[2, 1], bounds[2, 2])
        else:
            x = _bits(stream, at, bounds[3, 0])
            y = _bits(stream, at + bounds[3, 0], bounds[3, 1])
            z = _bits(stream, at + bounds[3, 0] + bounds[3, 1], bounds[3, 2])
        at += full
        x, y, z = x + least_x, y + least_y, z + least_z
        if x > most_x or y > most_y or z > most_z or x < least_x or y < least_y or z < least_z:
            return BOUNDS
        changed = _bits(stream, at, 1)
        at += 1
        step = 0
        if changed == 1:
            if at + 5 > n_bits:
                return SHORT
            run = _bits(stream, at, 5)
            at += 5
            step = run % 3 - 1
            run = run // 3
        if i + 1 + run > n:
            return ATOMS
        size, middle = 0, 0
        if run > 0:
            if small < FIRST or small >= len(SIZES):  # where none follows, the row is not used
                return TABLE
            if at + run * small > n_bits:
                return SHORT
            size, middle = SIZES[small], SIZES[small] // 2
        # the first that follows stands before the one in full: better for the water
        here = i + 1 if run > 0 else i
        positions[here, 0] = np.float32(x) * scale
        positions[here, 1] = np.float32(y) * scale
        positions[here, 2] = np.float32(z) * scale
        for k in range(run):
            dx, dy, dz = _three(stream, at, small, size, size)
            at += small
            x, y, z = x + dx - middle, y + dy - middle, z + dz - middle
            if x > most_x or y > most_y or z > most_z or x < least_x or y < least_y or z < least_z:
                return BOUNDS
            here = i if k == 0 else i + 1 + k
            positions[here, 0] = np.float32(x) * scale
            positions[here, 1] = np.float32(y) * scale
            positions[here, 2] = np.float32(z) * scale
        i += 1 + run
        small += step
    return SOUND if n_bits - at < 8 else LONG

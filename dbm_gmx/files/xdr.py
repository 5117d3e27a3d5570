"""Frames of .xtc and .trr, read so that a damaged file is an error and nothing worse.

The layouts are those of ``xtcio.cpp`` and ``trrio.cpp`` in GROMACS' ``src/gromacs/fileio``.  Every size is
compared with the others and with the length of the file before memory is taken.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import isfinite
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.errors import InputError, OtherAtomsError
from dbm_gmx.files.text import what_it_is
from dbm_gmx.files.xtc_bits import FAULTS, LARGEST, PADDING, decode_positions

_XTC, _XTC_WIDE = 1995, 2023
"""First number of a frame; the second one where sizes take 64 bits (GROMACS 2024 and later)."""

_UNCOMPRESSED = 9
"""Frames of so many atoms are written as they are."""

_TRR, _TRR_VERSION = 1993, b"GMX_trn_file"


class _DamagedError(Exception):
    """A frame is damaged; says why."""


class _EndsError(Exception):
    """The file ends within a frame."""


@dataclass(frozen=True)
class _Source:
    """An open file and its length when it was opened."""

    stream: BinaryIO
    size: int

    def take(self, n_bytes: int) -> bytes:
        """Read so many bytes, none of them missing."""
        if n_bytes > self.left:
            raise _EndsError
        return self.stream.read(n_bytes)

    def leave_out(self, n_bytes: int) -> None:
        """Go on after so many bytes, none of them missing."""
        if n_bytes > self.left:
            raise _EndsError
        self.stream.seek(n_bytes, os.SEEK_CUR)

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return self.size - self.stream.tell()


class _Head(NamedTuple):
    """What stands before the positions.

    Attributes
    ----------
    n_atoms, step, time, box
        Of the frame.
    body, rest
        Bytes that the positions are read from, and those that follow them in the frame.
    positions
        Makes positions (n, 3) of the body, nm; ``None`` of a frame without.
    has_positions
        Whether it has.
    """

    n_atoms: int
    step: int
    time: float
    box: FloatArray
    body: int
    rest: int
    positions: Callable[[bytes], Float32Array | None]
    has_positions: bool = True


def xdr_frames(path: Path, n_atoms: int | None = None, *, skip: int = 0) -> Iterator[Frame]:
    """Yield the frames of a .xtc or .trr that have positions.

    Parameters
    ----------
    path
        The file.
    n_atoms
        How many atoms a frame must have; other frames are refused before their positions are read.
    skip
        Bytes of earlier frames, which are not read.

    Raises
    ------
    InputError
        A damaged frame or one that is cut off, after those before it; another number of atoms.
    """
    read_head = _READERS[path.suffix]
    last = None
    with path.open("rb") as stream:
        stream.seek(skip)
        source = _Source(stream, os.fstat(stream.fileno()).st_size)
        for index in count():
            try:
                if source.left <= 0:
                    return
                head = read_head(source)
                if n_atoms is not None and head.n_atoms != n_atoms:
                    raise OtherAtomsError.of_frame(index, head.n_atoms, n_atoms, path)
                positions = head.positions(source.take(head.body))
                source.leave_out(head.rest)
            except _DamagedError as error:
                raise _damaged(path, index, last, str(error)) from error
            except (_EndsError, OSError) as error:
                raise _damaged(path, index, last, "") from error
            last = head.time
            if positions is not None:
                yield Frame(positions, head.box, time=head.time, step=head.step, index=index)


def xdr_times(path: Path) -> Iterator[float]:
    """Yield the times, ps, of the frames of a .xtc or .trr that have positions, up to a damaged one."""
    read_head = _READERS[path.suffix]
    try:
        with path.open("rb") as stream:
            source = _Source(stream, os.fstat(stream.fileno()).st_size)
            while source.left > 0:
                head = read_head(source)
                source.leave_out(head.body + head.rest)
                if head.has_positions:
                    yield head.time
    except (_DamagedError, _EndsError, OSError):
        return


def _damaged(path: Path, index: int, last: float | None, why: str) -> InputError:
    """Say where a trajectory is damaged and what is left."""
    if last is None:
        kind = what_it_is(path)
        other = kind if f" {path.suffix} " not in kind else ""
        found = f": it is {other}" if other else f" ({why})" if why else ""
        return InputError(f"is no {path.suffix} file, or damaged in its first frame{found}", path=path)
    found = f" ({why})" if why else ""
    good = f"last good frame at {last:.10g} ps (-e {last:.10g} ends there)"
    return InputError(f"is cut off or damaged in frame {index}{found}; {good}", path=path)


def _time(value: float) -> float:
    """Return the shortest decimal number of the same single: 0.3 ps, not 0.30000001192."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if not isfinite(single):
        raise _DamagedError(f"its time is {value:g} ps")
    return float(str(single))


# --- .xtc ------------------------------------------------------------------------------------------

_XTC_HEAD = struct.Struct(">iiif9fi")
_XTC_BOUNDS = struct.Struct(">f7i")


def _xtc_head(source: _Source) -> _Head:
    """Read what stands before the positions of a .xtc, and how long these are."""
    magic, n_atoms, step, time, *box, again = _XTC_HEAD.unpack(source.take(_XTC_HEAD.size))
    if magic not in (_XTC, _XTC_WIDE):
        raise _DamagedError(f"it begins with {magic}, not with {_XTC}")
    if n_atoms < 1 or again != n_atoms:
        raise _DamagedError(f"it is of {n_atoms} atoms, and of {again}")
    head = _Head(n_atoms, step, _time(time), _cell(box), 12 * n_atoms, 0, _plain)
    if n_atoms <= _UNCOMPRESSED:
        return head
    precision, *numbers = _XTC_BOUNDS.unpack(source.take(_XTC_BOUNDS.size))
    n_bytes = int.from_bytes(source.take(4 if magic == _XTC else 8), "big", signed=True)
    if not (isfinite(precision) and precision > 0):
        raise _DamagedError(f"its precision is {precision:g}")
    if n_atoms > 4 * n_bytes:  # an atom takes two bits at least
        raise _DamagedError(f"it has {n_bytes} bytes for {n_atoms} atoms")
    positions = partial(_decompressed, n_atoms, n_bytes, precision, numbers)
    return head._replace(body=n_bytes + -n_bytes % 4, positions=positions)


def _plain(body: bytes) -> Float32Array:
    """(n, 3) single numbers that are not compressed."""
    return np.frombuffer(body, ">f4").reshape(-1, 3).astype(np.float32)


def _decompressed(
    n_atoms: int, n_bytes: int, precision: float, numbers: Sequence[int], body: bytes
) -> Float32Array:
    """(n, 3) positions from their bits; ``numbers`` are their bounds and the first step between atoms."""
    least, most, small = numbers[:3], numbers[3:6], numbers[6]
    sizes = [b - a + 1 for a, b in zip(least, most, strict=True)]
    if min(sizes) < 1:
        raise _DamagedError("its bounds are no box")
    bits = [(sizes[0] * sizes[1] * sizes[2]).bit_length(), 0, 0]
    if max(sizes) > LARGEST:
        bits = [size.bit_length() for size in sizes]
    bounds = np.array([least, most, sizes, bits], np.int64)
    stream = np.frombuffer(body[:n_bytes] + bytes(PADDING), np.uint8)
    positions = np.empty((n_atoms, 3), np.float32)
    found = decode_positions(stream, 8 * n_bytes, bounds, small, np.float32(1 / precision), positions)
    if found in FAULTS:
        raise _DamagedError(FAULTS[found])
    return positions


# --- .trr ------------------------------------------------------------------------------------------

_TRR_HEAD = struct.Struct(f">iii{len(_TRR_VERSION)}s13i")


def _trr_head(source: _Source) -> _Head:
    """Read what stands before the positions of a .trr, and how long all its parts are."""
    magic, length, again, version, *sizes = _TRR_HEAD.unpack(source.take(_TRR_HEAD.size))
    if (magic, length, again, version) != (_TRR, len(_TRR_VERSION) + 1, len(_TRR_VERSION), _TRR_VERSION):
        raise _DamagedError(f"it begins with {magic}, not with {_TRR} and {_TRR_VERSION.decode()}")
    ir, energies, box, virial, pressure, top, symbols, x, v, f, n_atoms, step, _ = sizes
    if n_atoms < 1:
        raise _DamagedError(f"it is of {n_atoms} atoms")
    width = _width(box, (x, v, f), n_atoms)
    parts = [(box, 9), (virial, 9), (pressure, 9), (x, 3 * n_atoms), (v, 3 * n_atoms), (f, 3 * n_atoms)]
    odd = [size for size, numbers in parts if size not in (0, width * numbers)]
    odd += [size for size in (ir, energies, top, symbols) if size]
    if odd:
        raise _DamagedError(f"a part of it has {odd[0]} bytes, with {n_atoms} atoms")
    number = ">f4" if width == 4 else ">f8"
    time, _ = np.frombuffer(source.take(2 * width), number).tolist()
    cell = np.frombuffer(source.take(box), number) if box else np.zeros(9)
    positions = partial(_trr_positions, virial + pressure, number)
    return _Head(n_atoms, step, _time(time), _cell(cell), virial + pressure + x, v + f, positions, x > 0)


def _width(box: int, parts: Sequence[int], n_atoms: int) -> int:
    """Bytes of a number of a .trr, from the size of its box or of what it holds of each atom."""
    largest = max(parts)
    width = box // 9 if box else largest // (3 * n_atoms)
    if width not in (4, 8):
        raise _DamagedError(f"its numbers have {width} bytes")
    return width


def _trr_positions(before: int, number: str, body: bytes) -> Float32Array | None:
    """(n, 3) positions after so many bytes of other things."""
    if len(body) == before:
        return None
    with np.errstate(over="ignore"):  # a number no single can hold is refused as infinite
        return np.frombuffer(body, number, offset=before).reshape(-1, 3).astype(np.float32)


def _cell(numbers: ArrayLike) -> FloatArray:
    """(3, 3) box."""
    return np.array(numbers, np.float64).reshape(3, 3)


_READERS: dict[str, Callable[[_Source], _Head]] = {".xtc": _xtc_head, ".trr": _trr_head}

"""Times of the frames of a trajectory, without reading positions: how many frames a run will have."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

from dbm_gmx.files.structure import structure_frames
from dbm_gmx.files.trajectory import taken

QUICK = 4 * 2**30
"""Bytes: larger trajectories are not walked through only to say how far a run is."""

#: Of a .trr (GROMACS, ``trrio``): magic number, length of the version, the version as XDR text, ten sizes of
#: which the third is that of the box and the eighth that of positions, then atoms, step, nre.
_TRR = struct.Struct(">3i12s13i")


def count_taken(
    path: str | Path,
    *,
    begin: float | None = None,
    end: float | None = None,
    dt: float | None = None,
    whatever_it_takes: bool = False,
) -> int | None:
    """Count the frames that are taken of a trajectory; those up to a damaged one.

    Parameters
    ----------
    begin, end, dt
        As for :func:`~dbm_gmx.files.trajectory.read_frames`.
    whatever_it_takes
        Also where that is not quick: of a large file, of ``.gro`` and ``.pdb``.

    Returns
    -------
    ``None`` where it would not be quick.
    """
    path = Path(path)
    if not whatever_it_takes and (path.suffix not in _HEADS or path.stat().st_size > QUICK):
        return None
    return sum(1 for _ in taken(_times(path), begin=begin, end=end, dt=dt))


def _times(path: Path) -> Iterator[float]:
    """Times of the frames with positions, ps."""
    if path.suffix not in _HEADS:
        yield from (frame.time for frame in structure_frames(path))
        return
    kind, head = _HEADS[path.suffix]
    try:
        with kind(str(path)) as stream:
            places = stream.offsets
    except OSError:
        return
    with path.open("rb") as file:
        for place in places.tolist():
            file.seek(place)
            try:
                time = head(file)
            except struct.error:
                return
            if time is not None:
                yield float(str(np.float32(time)))


def _xtc_time(file: BinaryIO) -> float:
    """Magic number, atoms, step, time."""
    time: float = struct.unpack(">3if", file.read(16))[3]
    return time


def _trr_time(file: BinaryIO) -> float | None:
    """``None`` for a frame without positions."""
    found = _TRR.unpack(file.read(_TRR.size))
    sizes, atoms = found[4:14], found[14]
    double = max(sizes[2] // 9, sizes[7] // max(1, 3 * atoms)) == 8
    time: float = struct.unpack(">d" if double else ">f", file.read(8 if double else 4))[0]
    return time if sizes[7] else None


_HEADS: dict[str, tuple[Any, Any]] = {".xtc": (XTCFile, _xtc_time), ".trr": (TRRFile, _trr_time)}

"""Times of the frames of a trajectory, without reading positions: how many frames a run will have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dbm_gmx.files.structure import structure_frames
from dbm_gmx.files.trajectory import taken
from dbm_gmx.files.xdr import xdr_times

_QUICK = (".xtc", ".trr")
"""Formats that say how long a frame is."""

QUICK = 4 * 2**30
"""Bytes: larger trajectories are not walked through only to say how far a run is."""


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
    if not whatever_it_takes and (path.suffix not in _QUICK or path.stat().st_size > QUICK):
        return None
    return sum(1 for _ in taken(_times(path), begin=begin, end=end, dt=dt))


def _times(path: Path) -> Iterator[float]:
    """Times of the frames with positions, ps."""
    if path.suffix in _QUICK:
        return xdr_times(path)
    return (frame.time for frame in structure_frames(path))

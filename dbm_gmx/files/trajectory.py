"""Frames in and out: .xtc, .trr, .gro and .pdb, one at a time.

Compressed trajectories are read by :mod:`~dbm_gmx.files.xdr`, since a damaged one kills the process in other
readers, and written by the plain file objects of MDAnalysis, whose writer would renumber the steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.frame import Frame, check_frame, check_time, dimensions, with_room
from dbm_gmx.chemistry.topology import Topology, each_molecule, residue_numbers
from dbm_gmx.errors import InputError, OtherAtomsError
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import PartFile, open_part
from dbm_gmx.files.structure import structure_frames
from dbm_gmx.files.text import check_file
from dbm_gmx.files.xdr import xdr_frames
from dbm_gmx.options import SHORTEST_STEP

SUFFIXES = (".xtc", ".trr", ".gro", ".pdb")


def read_frames(
    path: str | Path,
    *,
    n_atoms: int,
    begin: float | None = None,
    end: float | None = None,
    dt: float | None = None,
) -> Iterator[Frame]:
    """Read the frames of a trajectory as ``gmx trjconv`` selects them.

    Parameters
    ----------
    path
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``; read once from front to back.
    n_atoms
        The number of atoms (beads) that is expected.  Where the first frame has no box, none needs one.
    begin, end
        First and last time, ps, both included.
    dt
        Only frames at a multiple of this time, ps, after the first frame used; 0: all.

    Raises
    ------
    InputError
        At once: another kind of file, an empty one, another number of atoms.  In the course of
        reading: a damaged frame, a file cut off (after its whole frames), no frame at these times.
    """
    path = Path(path)
    if dt is not None and not (dt == 0 or SHORTEST_STEP <= dt < inf):
        raise InputError(
            f"frames every {dt:g} ps: 0 or a time from {SHORTEST_STEP:g} ps is needed", path=path
        )
    return _select(_opened(path, n_atoms), path, n_atoms=n_atoms, begin=begin, end=end, dt=dt)


def read_frame_at(path: Path, start: int, *, n_atoms: int) -> Frame:
    """Read the frame that begins at a byte of a trajectory, and nothing before it.

    Raises
    ------
    InputError
        As :func:`read_frames`.
    """
    frames = _opened(path, n_atoms, start)
    return next(_select(frames, path, n_atoms=n_atoms, begin=None, end=None, dt=None))


def _opened(path: Path, n_atoms: int, skip: int = 0) -> Iterator[Frame]:
    """The frames, of which the first is there and has so many atoms."""
    frames = _all_frames(path, n_atoms, skip)
    first = next(frames, None)
    if first is None:
        raise InputError("holds no frame with positions", path=path)
    _check_count(first, n_atoms, path)
    return chain([first], frames)


def count_atoms(path: str | Path) -> int:
    """How many atoms (beads) the first frame has.

    Raises
    ------
    InputError
        As :func:`read_frames`.
    """
    first = next(_all_frames(Path(path), None), None)
    if first is None:
        raise InputError("holds no frame with positions", path=path)
    return len(first.positions)


def _all_frames(path: Path, n_atoms: int | None, skip: int = 0) -> Iterator[Frame]:
    """Yield every frame of a file of a known kind; other numbers of atoms may be refused at once."""
    check_suffix(path)
    check_file(path)
    if path.stat().st_size == 0:
        raise InputError("is empty", path=path)
    if path.suffix in (".gro", ".pdb"):
        return structure_frames(path, skip=skip)
    return xdr_frames(path, n_atoms, skip=skip)


def check_suffix(path: Path) -> None:
    """Refuse kinds of files that are not known."""
    if path.suffix not in SUFFIXES:
        found = path.suffix or "a name without suffix"
        raise InputError(f"{found} is no known trajectory, possible are {', '.join(SUFFIXES)}", path=path)


def _check_count(frame: Frame, n_atoms: int, path: Path) -> None:
    """Refuse a frame of another system."""
    found = len(frame.positions)
    if found != n_atoms:
        raise OtherAtomsError.of_frame(frame.index, found, n_atoms, path)


def _select(
    frames: Iterator[Frame],
    path: Path,
    *,
    n_atoms: int,
    begin: float | None,
    end: float | None,
    dt: float | None,
) -> Iterator[Frame]:
    """Yield checked frames between two times, every ``dt``."""
    first = next(frames)
    none, seen, current, free = True, list[float](), list[Frame](), not first.box.any()
    frames = chain([first], frames)  # a later frame without a box is damaged if the first one has a box

    def times() -> Iterator[float]:
        for frame in _up_to(end, frames):
            check_time(frame, path)
            seen[1:], current[:] = [frame.time], [frame]
            yield frame.time

    for _ in taken(times(), begin=begin, end=end, dt=dt):
        none, frame = False, current[0]
        frame = with_room(frame) if free else frame
        _check_count(frame, n_atoms, path)
        check_frame(frame, path)
        yield frame
    if none:
        wanted = [f"{word} {time:g} ps" for word, time in (("from", begin), ("to", end)) if time is not None]
        found = f"{seen[0]:g} to {seen[-1]:g} ps"
        raise InputError(f"has no frame {' '.join(wanted)}; those read are at {found}", path=path)


def _up_to(end: float | None, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield frames; a damaged one is the end where the one before it has the last time that is asked for."""
    is_last = False
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except InputError:
            if is_last:
                return
            raise
        is_last = end is not None and frame.time >= end - _slack(end)
        yield frame


def taken(
    times: Iterator[float], *, begin: float | None, end: float | None, dt: float | None
) -> Iterator[float]:
    """Yield those of some times, ps, that lie between two others, every ``dt`` after the first of them."""
    start: float | None = None
    for time in times:
        slack = _slack(time)
        if begin is not None and time < begin - slack:
            continue
        if end is not None and time > end + slack:
            break
        start = time if start is None else start
        if _is_multiple(time, start, dt):
            yield time


def _slack(time: float) -> float:
    """Return the rounding of a time kept in single precision, as GROMACS allows for it."""
    return 2 * float(np.finfo(np.float32).eps) * abs(time)


def _is_multiple(time: float, start: float, dt: float | None) -> bool:
    """Tell whether ``time`` lies a whole number of ``dt`` after ``start``."""
    if not dt:
        return True
    return abs(time - start - dt * round((time - start) / dt)) <= _slack(time)


class Encode(Protocol):
    """Turns frames into what a file of some format holds of them."""

    def __call__(self, frame: Frame, number: int) -> bytes:
        """Return the bytes of a frame; ``number`` counts those of a file from 1."""


class Writer:
    """Writes frames, each as a whole or not at all.

    Parameters
    ----------
    part
        The file.
    encode
        Its format.
    n_atoms
        Of a frame.
    """

    def __init__(self, part: PartFile, encode: Encode, n_atoms: int):
        self.part = part
        self._encode = encode
        self._n_atoms = n_atoms

    @property
    def frames(self) -> int:
        """Number of frames in the file."""
        return self.part.frames

    def write(self, frame: Frame) -> None:
        """Append a frame; its ``index`` is not written.

        Raises
        ------
        InputError
            The disk is full or the file system refuses for another reason.
        """
        if len(frame.positions) != self._n_atoms:
            raise ValueError(f"{len(frame.positions)} positions for {self._n_atoms} atoms")
        if frame.free:
            frame = replace(frame, box=np.zeros((3, 3)))
        try:
            data = self._encode(frame, self.frames + 1)
        except OSError as error:
            why = f"frame at {frame.time:g} ps could not be written: {error.strerror or error}"
            raise InputError(why, path=self.part.part) from error
        self.part.append(data)


@contextmanager
def open_writer(
    path: str | Path, topology: Topology, *, title: str = "dbm-gmx", resumes: bool | None = False
) -> Iterator[Writer]:
    """Open a trajectory or structure for writing.

    It is written as ``aa.part.xtc``.  It becomes ``aa.xtc``, and an older one is backed up, when the block
    ends.  If it ends in an error, ``aa.part.xtc`` stays, with all frames written so far.

    Parameters
    ----------
    path
        ``.xtc`` (0.001 nm), ``.trr``, ``.gro`` or ``.pdb``.
    topology
        Names, residues and their order.
    title
        First line of .gro and .pdb.
    resumes
        Whether the same command goes on with a file that is left unfinished, as the user is told; ``None``
        to tell nothing.

    Raises
    ------
    InputError
        Another kind of file, one that another run writes, a folder that cannot be written to; at once.
    """
    path = Path(path)
    check_suffix(path)
    with locked(path), open_part(path, resumes=resumes) as part:
        yield make_writer(part, topology, title=title)
        part.check()


def make_writer(part: PartFile, topology: Topology, *, title: str = "dbm-gmx") -> Writer:
    """Write frames to a file in the making, in the format that its name asks for."""
    title = "".join(c if c.isprintable() else " " for c in title)  # of one line
    encoders: dict[str, Callable[[], Encode]] = {
        ".xtc": lambda: _encode_xtc,
        ".trr": lambda: _encode_trr,
        ".gro": lambda: _GroText(topology, title),
        ".pdb": lambda: _PdbText(topology, title),
    }
    return Writer(part, encoders[part.path.suffix](), topology.n_atoms)


def _encode_xtc(frame: Frame, number: int) -> bytes:
    with _memory() as (path, descriptor):
        with XTCFile(path, "w") as stream:
            stream.write(frame.positions, frame.box, _step(frame), frame.time, 1000.0)
        return _all_bytes(descriptor)


def _encode_trr(frame: Frame, number: int) -> bytes:
    with _memory() as (path, descriptor):
        with TRRFile(path, "w") as stream:
            n_atoms = len(frame.positions)
            stream.write(frame.positions, None, None, frame.box, _step(frame), frame.time, 0.0, n_atoms)
        return _all_bytes(descriptor)


def _step(frame: Frame) -> int:
    return (frame.step + 2**31) % 2**32 - 2**31  # both formats keep 32 bits


@contextmanager
def _memory() -> Iterator[tuple[str, int]]:
    """A file in memory: the library that encodes frames does not tell when a disk is full."""
    descriptor = os.memfd_create("frame")
    try:
        yield f"/proc/self/fd/{descriptor}", descriptor
    finally:
        os.close(descriptor)


def _all_bytes(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


LOWEST, HIGHEST = -999.9994, 9999.9994
"""What eight characters hold with three decimals."""


class _Text:
    """A text format: all but the coordinates is the same in every frame, so it is laid out once."""

    suffix = ""

    def __init__(self, topology: Topology, title: str):
        self._title = title
        self._atoms = "".join(self._lines(topology))

    def _lines(self, topology: Topology) -> Iterator[str]:
        """Yield a line per atom with three fields for its coordinates."""
        raise NotImplementedError

    def _text(self, frame: Frame, number: int) -> str:
        """Return a whole frame."""
        raise NotImplementedError

    def __call__(self, frame: Frame, number: int) -> bytes:
        return self._text(frame, number).encode()

    def _check(self, columns: FloatArray, frame: Frame, unit: str) -> None:
        """Refuse numbers that are longer than their columns, of which a part would be read back only.

        Parameters
        ----------
        columns
            Numbers that get eight characters, three of them decimals.
        unit
            Theirs.
        """
        if columns.size and not (columns.min() > LOWEST and columns.max() < HIGHEST):
            row = int(np.flatnonzero(~((columns > LOWEST) & (columns < HIGHEST)))[0])
            raise InputError(
                f"{self.suffix} has no room for {columns.ravel()[row]:.3f} {unit} (atom {row // 3 + 1} at "
                f"{frame.time:g} ps), only for {LOWEST:.3f} to {HIGHEST:.3f}; write .xtc or .trr"
            )


class _GroText(_Text):
    """A .gro, with several frames one after the other (GROMACS manual, "gro")."""

    suffix = ".gro"

    def _lines(self, topology: Topology) -> Iterator[str]:
        for number, (resid, node) in enumerate(_numbered_atoms(topology), 1):
            label = f"{resid % 100000:5d}{node['resname']:<5.5}{node['name']:>5.5}{number % 100000:5d}"
            yield label.replace("%", "%%") + "%8.3f%8.3f%8.3f\n"

    def _text(self, frame: Frame, number: int) -> str:
        b = frame.box
        box = [b[0, 0], b[1, 1], b[2, 2]]
        off = [b[0, 1], b[0, 2], b[1, 0], b[1, 2], b[2, 0], b[2, 1]]
        box += off if any(off) else []
        self._check(np.asarray(frame.positions, np.float64), frame, "nm")
        head = f"{self._title} t= {frame.time:9.5f} step= {frame.step}\n{len(frame.positions):5d}\n"
        atoms = self._atoms % tuple(frame.positions.ravel().tolist())
        return head + atoms + "".join(f" {x:9.5f}" for x in box) + "\n"


class _PdbText(_Text):
    """A .pdb with a model per frame (wwPDB format 3.3)."""

    suffix = ".pdb"

    def _lines(self, topology: Topology) -> Iterator[str]:
        for number, (resid, node) in enumerate(_numbered_atoms(topology), 1):
            name = f"{node['name']:<4.4}" if len(node["name"]) > 3 else f" {node['name']:<3}"
            label = f"ATOM  {number % 100000:5d} {name} {node['resname']:<4.4} {resid % 10000:4d}    "
            tail = f"  1.00  0.00          {node['element']:>2}\n"
            yield label.replace("%", "%%") + "%8.3f%8.3f%8.3f" + tail

    def _text(self, frame: Frame, number: int) -> str:
        size = dimensions(frame.box)
        lengths = "".join(f"{10 * x:9.3f}" for x in size[:3])
        angles = "".join(f"{x:7.2f}" for x in size[3:])
        head = f"TITLE     {self._title} t= {frame.time:9.5f} step= {frame.step}\n"
        head += f"CRYST1{lengths}{angles} P 1           1\n" if frame.box.any() else ""
        head += f"MODEL {number:8d}\n"
        angstrom = 10 * frame.positions.astype(np.float64)
        self._check(angstrom, frame, "A")
        self._check(np.asarray(size[:3], np.float64), frame, "nm, a vector of the box")
        return head + self._atoms % tuple(angstrom.ravel().tolist()) + "TER\nENDMDL\n"


def _numbered_atoms(topology: Topology) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield residue number and node of every atom."""
    nodes = (moltype.graph.nodes[i] for moltype, _ in each_molecule(topology) for i in range(moltype.n_atoms))
    return zip(residue_numbers(topology), nodes, strict=True)

"""Structure files (.gro, .pdb), and the two ways to give a coarse-grained system."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame, box_vectors, check_frame, with_room
from dbm_gmx.chemistry.names import Named, check_names, system_order
from dbm_gmx.chemistry.topology import Topology, each_molecule, has_elements
from dbm_gmx.errors import InputError
from dbm_gmx.files.text import as_number, check_text
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.logs import NOTICE

log = logging.getLogger(__name__)

#: Column, from 0, of the first decimal point of a .gro.
_POINT = 24

#: Files are read byte by byte, as GROMACS does, whatever the encoding of titles: columns are bytes.
_BYTES = "latin-1"

#: Where the nine numbers of a .gro box line belong (GROMACS manual, "gro"): xx yy zz xy xz yx yz zx zy.
_BOX_ORDER = [0, 4, 8, 1, 2, 3, 5, 6, 7]


def read_cg_system(
    path: str | Path,
    top: str | Path | None = None,
    *,
    defines: Sequence[str] = (),
    include: Sequence[str | Path] = (),
    reorder: bool = False,
) -> tuple[Topology, Frame]:
    """Read what the beads are and where they are.

    Parameters
    ----------
    path
        A ``.tpr``, which holds both, or a ``.gro`` or ``.pdb``.
    top
        The coarse-grained ``.top`` (or the ``.itp`` of the only molecule type); needed with a structure file,
        and used instead of the topology in a ``.tpr``.
    defines, include
        For the preprocessor of ``top``.
    reorder
        Whether beads that are in another order than in ``top`` are put in its order.

    Raises
    ------
    InputError
        No topology, no box, or numbers or orders of beads that differ.
    """
    path = Path(path)
    if path.suffix == ".tpr":
        topology, frame = read_tpr(path)
    elif top is not None:
        frame = read_structure(path)
    else:
        raise InputError("a structure says nothing of bonds: give a .tpr, or its .top as well", path=path)
    if top is not None:
        topology = read_cg_topology(top, len(frame.positions), path, defines=defines, include=include)
        order = compare_names(topology, path, "beads", reorder=reorder)
        frame = frame if order is None else replace(frame, positions=frame.positions[order])
    return topology, frame


def read_cg_topology(
    top: str | Path,
    n_beads: int,
    source: Path | None = None,
    *,
    defines: Sequence[str] = (),
    include: Sequence[str | Path] = (),
) -> Topology:
    """Read what so many beads are.

    Parameters
    ----------
    top
        Coarse-grained ``.top``, or ``.itp`` of the only molecule type.
    source
        File of the beads.
    defines, include
        For the preprocessor.

    Raises
    ------
    InputError
        It cannot be read, or is of another number of beads.
    """
    from dbm_gmx.files.top import read_topology

    topology = read_topology(Path(top), defines=defines, include=include)
    topology = topology if topology.molecules else _of_one_kind(topology, n_beads)
    if topology.n_atoms != n_beads:
        atoms = any(has_elements(m, "H") for m in topology.molecule_types.values())
        hint = f"; {top} is a topology of atoms (-p), not of beads (-cp)" if atoms else ""
        raise InputError(f"{n_beads} beads, but {topology.n_atoms} in {top}{hint}", path=source)
    return topology


def _of_one_kind(topology: Topology, n_beads: int) -> Topology:
    """The system of a file that has a molecule type, but no ``[ molecules ]``."""
    if len(topology.molecule_types) != 1:
        raise InputError(
            f"has no [ molecules ], and {len(topology.molecule_types)} molecule types: how many there are of "
            "each is not known; give a .top",
            path=topology.path,
        )
    ((name, moltype),) = topology.molecule_types.items()
    count, rest = divmod(n_beads, moltype.n_atoms)
    if rest or not count:
        raise InputError(
            f"{n_beads} beads are no whole number of {name} ({moltype.n_atoms} beads each)",
            path=topology.path,
        )
    return replace(topology, molecules=((name, count),))


#: Where names stand in the lines of atoms.
_NAMES = {".gro": slice(10, 15), ".pdb": slice(12, 16)}


def names_of(path: str | Path, what: str = "atoms") -> Named:
    """Return the names in the first frame of a ``.gro`` or ``.pdb``, or in a ``.tpr``; :class:`Named`."""
    path = Path(path)
    if path.suffix == ".tpr":
        topology, _ = read_tpr(path)
        names = [name for moltype, _ in each_molecule(topology) for name in moltype.names]
        return Named(names, path, what=what)
    column = _NAMES[path.suffix]
    with path.open(encoding=_BYTES) as stream:
        if path.suffix == ".gro":
            stream.readline()
            lines = list(islice(stream, int(stream.readline())))
        else:
            lines = _pdb_atoms(stream)
    names = [_decoded(line[column].strip()) for line in lines]
    return Named(names, path, column.stop - column.start, what)


def _decoded(name: str) -> str:
    """A name as :func:`~dbm_gmx.files.text.read_text` has it in a topology."""
    return name if name.isascii() else name.encode(_BYTES).decode("utf-8", "replace")


def _pdb_atoms(stream: TextIO) -> list[str]:
    """Lines of the atoms of the first model."""
    atoms: list[str] = []
    for line in stream:
        if line.startswith(("ATOM", "HETATM")):
            atoms.append(line)
        elif line.startswith("END") and atoms:
            break
    return atoms


def compare_names(
    topology: Topology, path: str | Path, what: str = "atoms", *, reorder: bool = False
) -> IntArray | None:
    """Compare the names in a ``.gro``, ``.pdb`` or ``.tpr`` with those of a topology; nothing of other files.

    Returns
    -------
    (n,) rows of the file in the order of the topology, if ``reorder`` and its molecules are in another one.

    Raises
    ------
    InputError
        See :func:`~dbm_gmx.chemistry.names.check_names`.
    """
    if Path(path).suffix not in (*_NAMES, ".tpr"):
        return None
    named = names_of(path, what)
    order = system_order(topology, named) if reorder else None
    if order is not None:
        log.log(NOTICE, "%s: %s are put in the order of the topology", path, what)
        named = replace(named, names=[named.names[i] for i in order])
    check_names(topology, named)
    return order


def in_order(frames: Iterator[Frame], order: IntArray | None) -> Iterator[Frame]:
    """Frames with the atoms of these rows (n,), in their order; as they are if ``None``."""
    if order is None:
        return frames
    return (replace(frame, positions=frame.positions[order]) for frame in frames)


def read_structure(path: str | Path) -> Frame:
    """Read the first frame of a ``.gro`` or ``.pdb``.

    Raises
    ------
    InputError
        Another kind of file, or a damaged one.
    """
    frame = with_room(next(structure_frames(path)))
    check_frame(frame, path)
    return frame


def structure_frames(path: str | Path, *, skip: int = 0) -> Iterator[Frame]:
    """Yield all frames of a ``.gro`` or ``.pdb``, unchecked; ``skip`` bytes of earlier ones are not read.

    Raises
    ------
    InputError
        As :func:`read_structure`; when the frame in question is reached.
    """
    path = Path(path)
    readers = {".gro": _gro_frame, ".pdb": _pdb_frame}
    if path.suffix not in readers:
        raise InputError(f"a structure is .gro or .pdb, not {path.suffix or 'without suffix'}", path=path)
    check_text(path)
    index, cell = 0, None
    try:
        with path.open(encoding=_BYTES) as stream:
            stream.seek(skip)
            while frame := readers[path.suffix](stream):
                if path.suffix == ".pdb" and not frame.box.any():
                    cell = _common_cell(path) if cell is None else cell
                    frame = replace(frame, box=cell)
                yield replace(frame, index=index)
                index += 1
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    except ValueError as error:
        raise InputError(f"frame {index} is damaged or cut off: {error}", path=path) from error
    if index == 0:
        raise InputError("is empty: no atoms found", path=path)


def _gro_frame(stream: TextIO) -> Frame | None:
    """Read one frame of a .gro, ``None`` at the end."""
    title = stream.readline()
    number = stream.readline().strip()
    if not number and not title.strip():
        return None
    if not number.isdecimal():
        raise ValueError(f"its second line should be the number of atoms, found {number[:40]!r}")
    n_atoms = int(number)
    lines = list(islice(stream, n_atoms))
    if len(lines) < n_atoms or n_atoms < 1:
        raise ValueError(f"{len(lines)} of {n_atoms} atoms found")
    # The number of decimals is free: the distance between the points is the width of a column.
    # GROMACS writes the first one into the 25th column, but reads others too.
    point = lines[0].find(".", 20)
    width = lines[0].find(".", point + 1) - point if point >= 0 else 0
    if not 0 <= point <= _POINT or lines[0][20 + point - _POINT : 20].strip():
        raise ValueError(f"positions do not begin in column 21: {lines[0].rstrip()!r}")
    positions = _columns([line.rstrip("\n").ljust(20 + 3 * width) for line in lines], first=20, width=width)
    time, step = _time_step(title)
    return Frame(positions.astype(np.float32), _gro_box(stream.readline()), time=time, step=step)


def _columns(lines: list[str], *, first: int, width: int) -> FloatArray:
    """Read three numbers of fixed width from each line: (n, 3)."""
    text = "".join([line[first : first + 3 * width] for line in lines])
    if width < 1 or len(text) != 3 * width * len(lines):
        raise ValueError("a line of an atom is too short")
    characters = text.encode("ascii", "replace")
    _check_points(lines, np.frombuffer(characters, np.uint8).reshape(len(lines), 3, width), first)
    return np.frombuffer(characters, dtype=f"S{width}").astype(np.float64).reshape(-1, 3)


def _check_points(lines: list[str], fields: NDArray[np.uint8], first: int) -> None:
    """Refuse numbers that are not where their columns are, of which digits would be lost or mixed up.

    That is so where a number has one digit more than its column, or one in front has (the 100,000th atom).

    Parameters
    ----------
    lines
        Of the atoms.
    fields
        (n, 3, width) characters of the coordinates.
    first
        Column of the first.
    """
    points = fields == ord(".")
    places = points.argmax(axis=2)
    lower = fields | 32
    words = ((lower >= ord("a")) & (lower <= ord("z"))).any(axis=2)
    places[words & ~points.any(axis=2)] = places[0, 0]  # nan and the like have no point, and are told as such
    wrong = (points.sum(axis=2) > 1).any(axis=1) | (places != places[:, :1]).any(axis=1)
    wrong |= places[:, 0] > places[0, 0]  # further left there is only room that is not used
    early = np.flatnonzero(~wrong & (places[:, 0] < _POINT - 20))
    for row in early:
        begin = first - (_POINT - 20 - int(places[row, 0]))
        wrong[row] |= bool(lines[row][begin:first].strip())
    if wrong.any():
        first_wrong = int(wrong.argmax())
        raise ValueError(
            f"positions of atom {first_wrong + 1} do not begin in column {first + 1}, or are too large for "
            f"their columns: {lines[first_wrong].rstrip()!r}"
        )


def _gro_box(line: str) -> FloatArray:
    """Read the last line of a .gro frame: three or nine numbers."""
    numbers = [as_number(word) for word in line.split()]
    if len(numbers) not in (3, 9):
        raise ValueError(f"a box has 3 or 9 numbers, found {line.strip()!r}")
    box = np.zeros(9)
    box[_BOX_ORDER[: len(numbers)]] = numbers
    return box.reshape(3, 3)


def _pdb_frame(stream: TextIO) -> Frame | None:
    """Read one model of a .pdb, ``None`` at the end."""
    atoms: list[str] = []
    box, time, step = np.zeros((3, 3)), 0.0, 0
    for line in stream:
        if line.startswith(("ATOM", "HETATM")):
            atoms.append(line)
        elif line.startswith("TITLE"):
            time, step = _time_step(line)
        elif line.startswith("CRYST1"):
            box = _pdb_box(line)
        elif line.startswith("END") and atoms:
            break
    if not atoms:
        return None
    return Frame(_pdb_positions(atoms), box, time=time, step=step)


def _common_cell(path: Path) -> FloatArray:
    """Return the box of all models of a .pdb with one CRYST1 record, before the first of several models.

    So the format means it (wwPDB 3.3); others write one before each model, and then there is none for all.
    """
    with path.open(encoding=_BYTES) as stream:
        first = _pdb_frame(stream)
        if first is None or not first.box.any():
            return np.zeros((3, 3))
        second = _pdb_frame(stream)
        return np.zeros((3, 3)) if second is None or second.box.any() else first.box


def _pdb_positions(atoms: list[str]) -> Float32Array:
    """(n, 3) nm from the lines of atoms."""
    return np.asarray(_columns(atoms, first=30, width=8) / 10, np.float32)


def _pdb_box(line: str) -> FloatArray:
    """Read a CRYST1 record; the 1 A cube written where there is no crystal counts as no box."""
    lengths = [as_number(line[i : i + 9]) for i in (6, 15, 24)]
    angles = [as_number(line[i : i + 7]) for i in (33, 40, 47)]
    if lengths == [1.0, 1.0, 1.0]:
        return np.zeros((3, 3))
    return box_vectors([*(x / 10 for x in lengths), *angles])


def _time_step(title: str) -> tuple[float, int]:
    """Read ``t= 1.0 step= 500`` as GROMACS adds it to titles."""
    time = re.search(r"\bt=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)", title, re.ASCII | re.IGNORECASE)
    step = re.search(r"\bstep=\s*(-?\d{1,18})\b", title, re.ASCII)
    return float(time[1]) if time else 0.0, int(step[1]) if step else 0

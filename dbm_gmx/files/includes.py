"""A topology with its includes, copied so that it needs nothing outside its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from dbm_gmx.errors import InputError
from dbm_gmx.files.output import atomic_write
from dbm_gmx.files.preprocess import include_folders
from dbm_gmx.files.text import check_file

INCLUDED = "include"
"""Folder of the copies beside the topology: there no file has the name of one of ours, or of GROMACS."""

BYTES = "latin-1"
"""Copies are the same byte by byte, whatever the encoding of a file: each byte is a letter here."""

_INCLUDE = re.compile(r"""(\s*#\s*include\s+)["<]([^">]+)[">](.*)""", re.DOTALL)


def copy_topology(
    path: str | Path, folder: str | Path, *, include: Sequence[str | Path] = (), name: str = "topol.top"
) -> list[Path]:
    """Copy a ``.top`` and what it includes; its conditions (``#ifdef``) stay as they are.

    Parameters
    ----------
    path
        The topology.
    folder
        Where to; an existing file is backed up.
    include
        More folders to look for ``#include``.
    name
        Of the copy.  An included file keeps its relative path within :data:`INCLUDED`, where it has one.

    Returns
    -------
    All copies, the topology first.  An include that is not found, as may be in a condition that is not
    fulfilled, stays as it was.
    """
    top, folder = Path(path), Path(folder)
    folders = include_folders(top, include)
    places = {top.resolve(): PurePosixPath(name)}
    waiting = [top]
    while waiting:
        source = waiting.pop()
        place = places[source.resolve()]
        text = "".join(_lines(source, place, places=places, folders=folders, waiting=waiting))
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as part:
            part.write_bytes(text.encode(BYTES))
    return [folder / place for place in places.values()]


def source_files(path: str | Path, include: Sequence[str | Path] = ()) -> list[Path]:
    """A ``.top`` and all files it includes, whatever its conditions (``#ifdef``) say."""
    top = Path(path)
    check_file(top)
    folders = include_folders(top, include)
    found, waiting = {top.resolve(): top}, [top]
    while waiting:
        source = waiting.pop()
        with source.open(encoding="utf-8", errors="surrogateescape") as lines:
            names = [match[2] for line in lines if (match := _INCLUDE.match(line))]
        for inside in (_find(name, (source.parent, *folders)) for name in names):
            if inside and inside.resolve() not in found:
                found[inside.resolve()] = inside
                waiting.append(inside)
    return list(found.values())


def _lines(
    source: Path,
    place: PurePosixPath,
    *,
    places: dict[Path, PurePosixPath],
    folders: Sequence[Path],
    waiting: list[Path],
) -> Iterator[str]:
    """Yield the lines of a file, its includes naming the copies; files not met before join those waiting."""
    try:
        text = source.read_bytes().decode(BYTES)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=source) from error
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        match = _INCLUDE.match(line)
        wanted = "" if match is None else os.fsdecode(match[2].encode(BYTES))
        found = match and _find(wanted, (source.parent, *folders))
        if not match or not found:
            yield line
            continue
        if found.resolve() not in places:
            beside = place.parent if (source.parent / wanted).is_file() else PurePosixPath()
            places[found.resolve()] = _free(wanted, beside, set(places.values()))
            waiting.append(found)
        there = os.path.relpath(places[found.resolve()], place.parent)
        yield f'{match[1]}"{os.fsencode(there).decode(BYTES)}"{match[3]}'


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _free(name: str, beside: PurePosixPath, taken: set[PurePosixPath]) -> PurePosixPath:
    """Return where a copy goes: its path within the folder of includes, else its name, numbered if taken."""
    below = beside.relative_to(INCLUDED) if beside.is_relative_to(INCLUDED) else PurePosixPath()
    wanted = PurePosixPath(os.path.normpath(below / name))
    if wanted.is_absolute() or ".." in wanted.parts:
        wanted = PurePosixPath(wanted.name)
    wanted = INCLUDED / wanted
    place, number = wanted, 1
    while place in taken:
        number += 1
        place = wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}")
    return place

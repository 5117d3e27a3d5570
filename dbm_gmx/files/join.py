"""Parts of a run (``--part``) put together: the same bytes as of a run of all frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dbm_gmx.errors import InputError
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import atomic_write, description_of
from dbm_gmx.files.provenance import (
    Provenance,
    Started,
    read_provenance,
    write_provenance,
)
from dbm_gmx.files.record import facts_of
from dbm_gmx.files.text import check_file

CHUNK = 2**24
"""Bytes that are copied at a time."""

SHOWN = 20
"""Parts that are missing of which the number is named."""

_DESCRIBED = {
    **dict.fromkeys(("output", "settings", "findings", "summary", "versions", "run"), dict),
    **dict.fromkeys(("inputs", "text", "broken"), list),
    **dict.fromkeys(("command", "command_line"), str),
}
"""What must be known of a part, and what it is."""

_MODEL = re.compile(rb"^MODEL +\d+ *$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """A part of a run.

    Attributes
    ----------
    path
        Its file.
    number, of
        Which part it is, from 1, and how many there are.
    made
        How it was made, see :mod:`~dbm_gmx.files.provenance`.
    """

    path: Path
    number: int
    of: int
    made: Mapping[str, Any]


@dataclass(frozen=True)
class Joined:
    """What was put together.

    Attributes
    ----------
    output
        The file.
    parts
        In their order.
    broken
        Rules that are broken in one of them.
    """

    output: Path
    parts: tuple[Part, ...]
    broken: tuple[str, ...]

    def text(self) -> str:
        """Say it to the user."""
        frames = [part.made.get("summary", {}).get("frames") for part in self.parts]
        said = f", {sum(frames)} frames" if all(isinstance(count, int) for count in frames) else ""
        return f"joined         {len(self.parts)} parts{said}: {self.output}"


def part_path(path: Path, part: tuple[int, int] | None) -> Path:
    """Name of a part of an output: ``aa_part03.xtc`` of ten parts of ``aa.xtc``."""
    if part is None:
        return path
    number, of = part
    return path.with_name(f"{path.stem}_part{number:0{len(str(of))}d}{path.suffix}")


def join_parts(paths: Sequence[Path], output: Path) -> Joined:
    """Put the parts of a run together; an older output is backed up.

    Parameters
    ----------
    paths
        All parts, in any order, each with its ``.json`` beside it.
    output
        Of the same kind.

    Raises
    ------
    InputError
        One is missing, there twice, not as it was written, or made of other inputs or with other settings.
    """
    started = Started()
    parts = sorted((_read_part(path) for path in paths), key=lambda part: part.number)
    _check(parts, output)
    with locked(output), atomic_write(output) as whole, whole.open("wb") as stream:
        for piece in _pieces(parts, output.suffix):
            stream.write(piece)
    broken = tuple(dict.fromkeys(rule for part in parts for rule in part.made["broken"]))
    write_provenance([output], _provenance(parts, broken, started))
    return Joined(output, tuple(parts), broken)


def _read_part(path: Path) -> Part:
    """Read how a part was made, and see that it is whole."""
    check_file(path)
    made = read_provenance(path)
    found = made.get("part")
    if not isinstance(found, dict) or not all(isinstance(found.get(key), int) for key in ("number", "of")):
        raise InputError("is no part of a run (--part)", path=path)
    if not 1 <= found["number"] <= found["of"]:
        raise InputError(f"there is no part {found['number']} of {found['of']}", path=description_of(path))
    wrong = [key for key, kind in _DESCRIBED.items() if not isinstance(made.get(key), kind)]
    files = [] if wrong else made["inputs"]
    if not all(isinstance(file, dict) and {"path", "sha256"} <= file.keys() for file in files):
        wrong = ["inputs"]
    if not wrong and not all(isinstance(rule, str) for rule in made["broken"]):
        wrong = ["broken"]
    if wrong:
        text = f"does not say how {path.name} was made: {wrong[0]} is missing or damaged"
        raise InputError(text, path=description_of(path))
    if facts_of(path).sha256 != made["output"].get("sha256"):
        raise InputError("is not as it was written: damaged, or changed since", path=path)
    return Part(path, found["number"], found["of"], made)


def _check(parts: Sequence[Part], output: Path) -> None:
    """Refuse parts that do not make a whole."""
    first = parts[0]
    for part in parts:
        if part.path.suffix != output.suffix:
            raise InputError(f"parts are put together as they are: into {part.path.suffix}", path=output)
        if part.path.resolve() == output.resolve():
            raise InputError("the same file for a part and the whole (-o)", path=output)
        differ = _differences(first, part)
        if differ:
            raise InputError(
                f"is no part of the same run as {first.path}: {'; '.join(differ)}", path=part.path
            )
    numbers = [part.number for part in parts]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        same = ", ".join(str(part.path) for part in parts if part.number == twice[0])
        raise InputError(f"part {twice[0]}/{first.of} is there twice: {same}")
    if first.of > len(numbers):
        missing = (str(number) for number in range(1, first.of + 1) if number not in numbers)
        more = ", ..." if first.of - len(numbers) > SHOWN else ""
        raise InputError(f"parts {', '.join(islice(missing, SHOWN))}{more} of {first.of} are missing")


def _differences(one: Part, other: Part) -> list[str]:
    """In what two parts were made differently."""
    found = []
    if one.of != other.of:
        found.append(f"of {other.of} parts, not {one.of}")
    for key, words in (("command", "command"), ("settings", "settings")):
        found += _unlike(words, one.made.get(key), other.made.get(key))
    found += _unlike("dbm-gmx", _version(one), _version(other))
    found += _unlike("decided before the first frame", _decided(one), _decided(other))
    inputs, others = (sorted(file["sha256"] for file in part.made["inputs"]) for part in (one, other))
    if inputs != others:
        names = [file["path"] for file in other.made["inputs"] if file["sha256"] not in inputs]
        found.append(f"other inputs ({', '.join(names) or 'fewer'})")
    return found


def _version(part: Part) -> Any:
    return part.made.get("versions", {}).get("dbm-gmx")


def _decided(part: Part) -> Any:
    return part.made.get("findings", {}).get("decided")


def _unlike(words: str, one: Any, other: Any) -> list[str]:
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
        return [f"{key} {other.get(key)}, not {one.get(key)}" for key in keys]
    return [f"{words} {other}, not {one}"]


def _pieces(parts: Sequence[Part], suffix: str) -> Iterator[bytes]:
    """Yield the bytes of all parts; models of a ``.pdb`` are counted through."""
    models = 0
    for part in parts:
        with part.path.open("rb") as stream:
            if suffix != ".pdb":
                while piece := stream.read(CHUNK):
                    yield piece
                continue
            for line in stream:
                if _MODEL.match(line):
                    models += 1
                    line = f"MODEL {models:8d}\n".encode()
                yield line


def _provenance(parts: Sequence[Part], broken: Sequence[str], started: Started) -> Provenance:
    """Of the whole: what the parts have in common, and each by itself."""
    first = parts[0].made
    own = ("output", "summary", "text", "broken", "run", "command_line")
    return Provenance(
        f"join of {first['command']}",
        [part.path for part in parts],
        first["settings"],
        first["findings"],
        {"parts": [{key: part.made[key] for key in own} for part in parts], "of": first["inputs"]},
        broken=broken,
        started=started,
    )

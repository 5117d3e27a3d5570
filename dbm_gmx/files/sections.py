"""Text files of sections ``[ name ]``: their lines, and what kind of mapping or other file they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from dbm_gmx.errors import InputError
from dbm_gmx.files.input_errors import Problem
from dbm_gmx.files.text import read_text

Entry = TypeVar("Entry")

_HEADER = re.compile(r"\[\s*([^\]]*?)\s*\]\s*$")


@dataclass(frozen=True)
class SectionLine:
    """A line that is not empty, without its comment.

    Attributes
    ----------
    number
        From 1.
    section
        Name in the last header, ``""`` before the first.
    text
        Of the line; ``""`` for the header itself.
    """

    number: int
    section: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its words; none for a header."""
        return self.text.split()


def section_lines(text: str, comments: str = ";") -> Iterator[SectionLine]:
    """Yield headers and lines; what follows one of the characters ``comments`` is left out."""
    section = ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = re.split(f"[{re.escape(comments)}]", raw, maxsplit=1)[0].strip()
        if header := _HEADER.match(line):
            section = header[1]
            yield SectionLine(number, section, "")
        elif line:
            yield SectionLine(number, section, line)


def entries_of(
    path: Path,
    lines: Iterable[SectionLine],
    begin: Callable[[SectionLine], Entry | None],
    take: Callable[[Entry, SectionLine], str],
    first: str = "",
) -> tuple[list[Entry], list[Problem]]:
    """Gather the lines of a file into entries.

    Parameters
    ----------
    path
        The file, for messages.
    lines
        Of it.
    begin
        Makes the entry that begins with a line, if one does.
    take
        Takes a line into the last entry; returns what is wrong with it.
    first
        What a line may not stand before; not given where such lines mean nothing.
    """
    entries: list[Entry] = []
    problems: list[Problem] = []
    for line in lines:
        if (begun := begin(line)) is not None:
            entries.append(begun)
        elif line.text:
            orphan = f"{line.text!r} stands before the first {first}" if first else ""
            if text := take(entries[-1], line) if entries else orphan:
                problems.append(Problem(text, path, line.number))
    return entries, problems


class Kind(Enum):
    """Kinds of mapping files, by what is in them."""

    VOTCA = "VOTCA .xml"
    DEEPBACKMAP = "deepBackmap .map"
    BACKWARD = "Backward or martinize2 .map"
    VERMOUTH = "vermouth .mapping"
    PYCGTOOL = "PyCGTOOL .map"
    FRAGMENTS = "CG2AT fragments"
    MEMBACK = "MemBack map"
    CGSMILES = "CGSmiles"
    INDEX = "index file (.ndx) of beads"


KINDS = ", ".join(kind.value for kind in Kind)
"""All that a mapping can be, for messages."""

_LARGEST = 64_000_000  # bytes of a mapping file
_TOPOLOGY = {"moleculetype", "atomtypes", "defaults", "system", "molecules", "bonds", "nonbond_params"}
_RANDOM = re.compile(r"^\s*\d+\S*\s+\S+.*\.\d+\s+-?\d+\.\d+\s+-?\d+\.\d+")


def kind_of(path: Path) -> Kind:
    """Say what kind of mapping a file is, by its content and not by its name.

    Raises
    ------
    InputError
        If it is none: with what it is, where that can be told.
    """
    found = kind_or_name(path)
    if isinstance(found, Kind):
        return found
    raise InputError(f"is {found}, no mapping; a mapping is {KINDS}", path=path)


def kind_or_name(path: Path) -> Kind | str:
    """As :func:`kind_of`; for what is no mapping, what it is."""
    if path.is_file() and path.stat().st_size > _LARGEST:
        return f"a file of {path.stat().st_size / 1e6:.0f} MB"
    text = read_text(path)
    if not text.strip():
        return "empty"
    if text.lstrip().startswith("<"):
        return _kind_of_xml(text)
    if re.search(r"\{\s*\[\s*#", text) or re.search(r"\{\s*#\S+=", text):
        return Kind.CGSMILES
    if found := _structure(text):
        return found
    return _by_sections(list(section_lines(text, ";#")), path)


def _kind_of_xml(text: str) -> Kind | str:
    if "<cg_molecule" in text:
        return Kind.VOTCA
    root = re.search(r"<\s*([A-Za-z_][\w.-]*)", re.sub(r"<[?!].*?>", "", text, flags=re.DOTALL))
    name = root[1] if root else "?"
    known = {"cg": "VOTCA settings", "topology": "a VOTCA topology", "ForceField": "an OpenMM force field"}
    return f"XML that begins with <{name}> and has no <cg_molecule> ({known.get(name, 'of something else')})"


def _structure(text: str) -> Kind | str | None:
    """Tell coordinates: ``.pdb`` with or without headers of beads, ``.gro``."""
    lines = text.split("\n")
    if any(line.startswith(("ATOM", "HETATM")) for line in lines):
        headed = any(_HEADER.match(line.strip()) for line in lines)
        return Kind.FRAGMENTS if headed else "a structure (.pdb) without headers [ BEAD ]"
    if len(lines) > 2 and lines[1].strip().isdecimal() and _RANDOM.match(lines[2]):
        return "a structure (.gro)"
    return None


def _by_sections(lines: list[SectionLine], path: Path) -> Kind | str:
    names = {line.section.lower().strip("/ ") for line in lines if not line.text}
    inside = [line for line in lines if line.text]
    first = {line.text.split()[0] for line in inside}
    if inside and all(word.isdecimal() for line in inside for word in line.words):
        return Kind.INDEX
    if any(text.startswith("RESI") and len(text.split()) == 2 for text in (x.text for x in inside)):
        return Kind.MEMBACK
    if names and names <= {"map", "align", "mult"}:
        return Kind.DEEPBACKMAP
    if names & {"from blocks", "to blocks"} or ({"block", "modification"} & names and "mapping" in names):
        return Kind.VERMOUTH
    if {"atoms", "martini"} <= names or ("molecule" in names and names & {"atoms", "martini", "mapping"}):
        return Kind.BACKWARD
    if names & _TOPOLOGY or any(word in ("#include", "#define") for word in first):
        return "a topology (.top or .itp)"
    if not names:
        return _without_sections([line.text for line in inside])
    if all(":" in line.text for line in inside):
        return "an owners file (give it with --owners)"
    if "map" in names:
        return Kind.DEEPBACKMAP
    if path.suffix == ".bnd" or not any(len(line.words) > 2 for line in inside):
        return "a list of bonds (.bnd of PyCGTOOL?)"
    return Kind.PYCGTOOL


def _without_sections(lines: list[str]) -> str:
    if all("=" in line for line in lines):
        return "run parameters (.mdp)"
    if all(":" in line for line in lines):
        return "an owners file (give it with --owners)"
    return "a text without sections [ NAME ]"

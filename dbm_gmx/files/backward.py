"""Mappings of Backward and of martinize2 (``.map``), and of vermouth (``.mapping``): residues by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dbm_gmx.chemistry.residues import NAMELESS, AtomName, ResidueBead, ResidueMapping, StatedStereo
from dbm_gmx.files.input_errors import Problem, refuse
from dbm_gmx.files.sections import SectionLine, entries_of, section_lines
from dbm_gmx.files.text import HIGHEST, as_number, read_text

NULL = "!"
"""In front of the name of a bead (martinize2): the atom belongs to it, and has no weight in its position."""


@dataclass
class _Entry:
    """One ``[ molecule ]``, or one ``[ block ]`` or ``[ modification ]``, as written."""

    line: int
    modified: bool = False
    residues: list[str] = field(default_factory=list)
    beads: list[str] = field(default_factory=list)
    atoms: dict[AtomName, dict[str, float]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    stereo: list[StatedStereo] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    named: str = ""


def read_backward(path: Path) -> list[ResidueMapping]:
    """Read the ``[ molecule ]`` sections of a Backward or martinize2 ``.map``.

    A line of ``[ atoms ]`` has a number, the name of the atom, and its beads.  An atom of several beads
    counts in each as often as that is named, in parts of its mass; a bead with ``!`` in front has it without
    weight.
    ``[ martini ]`` gives the order of the beads.  ``[ chiral ]`` lines of five atoms, ``[ cis ]`` and
    ``[ trans ]`` say how stereocentres and bonds are.  Other sections say how Backward places atoms; they are
    not needed.  A file without ``[ molecule ]``, as CGBuilder writes it, is one mapping of a residue that is
    told by its atoms (:data:`~dbm_gmx.chemistry.residues.NAMELESS`).

    Raises
    ------
    InputError
        With all lines that cannot be read.

    Notes
    -----
    Wassenaar et al., J. Chem. Theory Comput. 10, 676 (2014); vermouth, ``map_input.py`` (weights).
    """
    lines = list(section_lines(read_text(path)))
    if all(line.section.lower() != "molecule" for line in lines):
        entry = _Entry(1, residues=[NAMELESS])
        said = [(line, _backward_line(entry, line)) for line in lines if line.text]
        return _finished([entry], path, [Problem(text, path, line.number) for line, text in said if text])
    entries, problems = entries_of(path, lines, _molecule, _backward_line)
    return _finished(entries, path, problems)


def _molecule(line: SectionLine) -> _Entry | None:
    return _Entry(line.number) if line.section.lower() == "molecule" and not line.text else None


def _backward_line(entry: _Entry, line: SectionLine) -> str:
    """Take a line in; returns what is wrong with it."""
    words, section = line.words, line.section.lower()
    if section == "molecule":
        if entry.residues:
            return f"a second name of {entry.residues[0]}: {line.text!r}"
        entry.residues = words[:1]
    elif section == "martini":
        entry.beads += words
    elif section == "atoms":
        if len(words) < 2 or not words[0].isdecimal():
            return f"[ atoms ] needs a number, an atom and its beads; found {line.text!r}"
        return _add_atom(entry, (0, words[1]), words[2:], line.number)
    elif section in ("from", "mapping"):
        entry.origins += words
    elif section in ("chiral", "cis", "trans"):
        entry.stereo += stated_stereo(section, words)
    return ""


def stated_stereo(section: str, words: Sequence[str]) -> list[StatedStereo]:
    """What a line says of a state; lines of four atoms in ``[ chiral ]`` say where to put one at first."""
    length = 5 if section == "chiral" else 4
    return [StatedStereo(section, tuple(words))] if len(words) == length else []


def _add_atom(entry: _Entry, atom: AtomName, beads: Sequence[str], number: int) -> str:
    if atom in entry.atoms:
        return f"atom {atom[1]} has a line already"
    listed = Counter(bead.removeprefix(NULL) for bead in beads)
    if mixed := {b[1:] for b in beads if b.startswith(NULL)} & {b for b in beads if not b.startswith(NULL)}:
        return f"atom {atom[1]} is in bead {', '.join(sorted(mixed))} with and without a weight ({NULL})"
    counts = {bead: 0 if NULL + bead in beads else count for bead, count in listed.items()}
    total = max(1, sum(counts.values()))
    entry.atoms[atom] = {bead: count / total for bead, count in counts.items()}
    for bead in listed:
        entry.lines.setdefault(bead, number)
    return ""


def _finished(entries: Sequence[_Entry], path: Path, problems: list[Problem]) -> list[ResidueMapping]:
    found = []
    for entry in entries:
        if not entry.residues:
            problems.append(Problem("a mapping without a name", path, entry.line))
            continue
        name = "-".join(entry.residues)
        weights = _weights(entry)
        order = entry.beads or list(weights)
        for bead in dict.fromkeys([*order, *weights]):
            if bead not in order:
                known = " ".join(order)
                text = f"{name}: bead {bead} is not in [ martini ], which has {known}"
                problems.append(Problem(text, path, entry.lines[bead]))
            elif bead not in weights:
                problems.append(Problem(f"{name}: bead {bead} has no atoms", path, entry.line))
        if not order:
            problems.append(Problem(f"{name}: no beads", path, entry.line))
        beads = tuple(ResidueBead(bead, bead, weights.get(bead, {})) for bead in dict.fromkeys(order))
        residues = tuple(entry.residues)
        stereo, origins = tuple(entry.stereo), frozenset(entry.origins)
        found.append(ResidueMapping(path, entry.line, residues, beads, stereo=stereo, origins=origins))
    refuse(problems)
    return found


def _weights(entry: _Entry) -> dict[str, dict[AtomName, float]]:
    """Weight of each atom in each bead."""
    weights: dict[str, dict[AtomName, float]] = {}
    for atom, beads in entry.atoms.items():
        for bead, weight in beads.items():
            weights.setdefault(bead, {})[atom] = weight
    return weights


# --- .mapping --------------------------------------------------------------------------------------


def read_vermouth(path: Path) -> tuple[list[ResidueMapping], list[str]]:
    """Read the ``[ block ]`` sections of a vermouth ``.mapping``.

    A line of ``[ mapping ]`` has an atom, a bead and, if it is not 1, a weight.  Either may have the residue
    in front (``1:CA``, ``ALA1:CA``, ``ALA#1:CA``), as several residues may be mapped together
    (``[ from blocks ]``).
    ``[ chiral ]``, ``[ cis ]`` and ``[ trans ]`` are as in a Backward map, with the number of the residue in
    front of an atom (``2:C2``; the first one if there is none).
    ``$NAME`` stands for what ``[ macros ]`` says.  ``[ modification ]`` sections are about the ends of chains
    and changed residues; their atoms are those a residue has besides.

    Returns
    -------
    The mappings, and the names of the modifications, which are left out.

    Raises
    ------
    InputError
        With all lines that cannot be read.
    """
    entries, problems = entries_of(path, _expanded(section_lines(read_text(path))), _block, _vermouth_line)
    names = [name for entry in entries if entry.modified for name in entry.residues]
    return _finished([entry for entry in entries if not entry.modified], path, problems), names


def _expanded(lines: Iterable[SectionLine]) -> Iterator[SectionLine]:
    """Lines with what the macros stand for, without those that define them."""
    macros: dict[str, str] = {}
    for line in lines:
        text = line.text
        if text and line.section.lower() == "macros":
            words = text.split(None, 1)
            macros[words[0]] = words[-1].strip('"')
            continue
        for name in sorted(macros, key=len, reverse=True):
            text = text.replace(f"${name}", macros[name])
        yield SectionLine(line.number, line.section, text)


def _block(line: SectionLine) -> _Entry | None:
    section = line.section.lower()
    begins = section in ("block", "modification", "molecule") and not line.text
    return _Entry(line.number, section == "modification") if begins else None


def _vermouth_line(entry: _Entry, line: SectionLine) -> str:
    words, section = line.words, line.section.lower()
    if section in ("from blocks", "block", "molecule"):
        if entry.named != section:  # [ from blocks ] goes before a name under [ molecule ]
            entry.named, entry.residues = section, []
        entry.residues += [word.partition("#")[0] for word in words]
    elif section == "from":
        entry.origins += words
    elif section == "mapping":
        wrong = _vermouth_atom(entry, words, line.number)
        return "" if entry.modified else wrong
    elif section in ("chiral", "cis", "trans"):
        entry.stereo += stated_stereo(section, words)
    return ""


def _vermouth_atom(entry: _Entry, words: Sequence[str], number: int) -> str:
    try:
        weight = as_number(words[2]) if len(words) > 2 else 1.0
    except ValueError:
        weight = -1.0
    if len(words) < 2 or not 0 <= weight <= HIGHEST:
        return f"[ mapping ] needs an atom, a bead and perhaps a weight; found {' '.join(words)!r}"
    atom, bead = _identifier(entry, words[0]), words[1]
    if atom is None:
        return f"{words[0]!r} names a residue that is not in [ from blocks ] ({' '.join(entry.residues)})"
    name = bead.rpartition(":")[2].removeprefix(NULL)
    entry.atoms.setdefault(atom, {})[name] = weight
    entry.lines.setdefault(name, number)
    return ""


def _identifier(entry: _Entry, text: str) -> AtomName | None:
    """Which residue an atom is of, and its name."""
    residue, colon, name = text.rpartition(":")
    if not colon:
        return 0, name
    for part in _candidates(entry, residue):
        return part, name
    return None


def _candidates(entry: _Entry, residue: str) -> Iterator[int]:
    """Residues of ``[ from blocks ]`` that a prefix may mean: ``1``, ``ALA``, ``ALA1``, ``ALA#1``."""
    for part, name in enumerate(entry.residues):
        if residue in (str(part + 1), f"{name}{part + 1}", f"{name}#{part + 1}", name):
            yield part

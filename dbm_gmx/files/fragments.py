"""Mappings as lists of atoms below a bead: PyCGTOOL ``.map``, CG2AT fragments, MemBack maps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dbm_gmx.chemistry.residues import AtomName, ResidueBead, ResidueMapping, StatedStereo
from dbm_gmx.files.backward import stated_stereo
from dbm_gmx.files.input_errors import Problem, refuse
from dbm_gmx.files.sections import SectionLine, entries_of, section_lines
from dbm_gmx.files.text import as_number, read_text

VIRTUAL = "@v"
"""First word of a line of PyCGTOOL for a bead in the middle of others."""


@dataclass
class _Entry:
    """A residue as written."""

    name: str
    line: int
    beads: dict[str, dict[AtomName, float]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    stereo: list[StatedStereo] = field(default_factory=list)

    def add(self, bead: str, atoms: Iterable[str], kind: str = "") -> str:
        """Add atoms to a bead; returns what is wrong."""
        known = {atom for part in self.beads.values() for atom in part}
        for name in atoms:
            if (0, name) in self.beads.get(bead, {}):
                return f"{self.name}: atom {name} is in bead {bead} already"
            self.beads.setdefault(bead, {})[0, name] = 1.0
        self.types.setdefault(bead, kind or bead)
        shared = known & set(self.beads.get(bead, {}))
        for atom in shared:  # an atom of several beads counts half, or less, in each
            parts = [part for part in self.beads.values() if atom in part]
            for part in parts:
                part[atom] = 1.0 / len(parts)
        return ""


def _finished(
    entries: Sequence[_Entry], path: Path, problems: Sequence[Problem], *, by_mass: bool
) -> list[ResidueMapping]:
    empty = [Problem(f"{e.name}: no beads with atoms", path, e.line) for e in entries if not e.beads]
    refuse([*problems, *empty])
    return [
        ResidueMapping(
            path,
            entry.line,
            (entry.name,),
            tuple(ResidueBead(bead, entry.types[bead], atoms) for bead, atoms in entry.beads.items()),
            by_mass,
            tuple(entry.stereo),
        )
        for entry in entries
    ]


# --- PyCGTOOL ---------------------------------------------------------------------------------------


def read_pycgtool(path: Path) -> list[ResidueMapping]:
    """Read a PyCGTOOL ``.map``: ``[ RESIDUE ]``, then lines of a bead, its type, perhaps a charge, and atoms.

    Beads are centres of geometry, as is the default of PyCGTOOL (``map_center``).  Beads in the middle of
    others (``@v``) have no atoms of their own and are left out, as virtual sites among the beads are.

    Raises
    ------
    InputError
        With all lines that cannot be read.
    """
    lines = section_lines(read_text(path))
    entries, problems = entries_of(path, lines, _residue, _pycgtool_line, "[ RESIDUE ]")
    return _finished(entries, path, problems, by_mass=False)


def _residue(line: SectionLine) -> _Entry | None:
    return None if line.text else _Entry(line.section, line.number)


def _pycgtool_line(entry: _Entry, line: SectionLine) -> str:
    words = line.words
    virtual = words[0].lower() == VIRTUAL
    bead, kind, *atoms = [*words[virtual:], "", ""][: max(2, len(words) - virtual)]
    if atoms and _is_number(atoms[0]):
        atoms = atoms[1:]  # a charge
    if not atoms:
        return f"{entry.name}: a line has a bead, its type and atoms; found {line.text!r}"
    if bead in entry.beads:
        return f"{entry.name}: bead {bead} has a line already"
    return "" if virtual else entry.add(bead, atoms, kind)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(as_number(word))
    except ValueError:
        return False


# --- CG2AT ------------------------------------------------------------------------------------------


def read_fragments(path: Path) -> list[ResidueMapping]:
    """Read a CG2AT fragment file: lines of atoms as in a ``.pdb``, below the ``[ BEAD ]`` they belong to.

    Beads are centres of mass.  The residue is that of the atoms.  Where it is another for each bead
    (``[ TIP3P ]`` with several molecules) the file is one of solvent, which is refused.

    Raises
    ------
    InputError
        With all lines that cannot be read.
    """
    entries: dict[str, _Entry] = {}
    problems: list[Problem] = []
    bead = ""
    for line in _pdb_lines(path):
        if not line.text:
            bead = line.section
            continue
        name, residue = line.text[12:16].strip(), line.text[17:21].strip()
        if not name or not residue or not bead:
            text = "an atom without a name, a residue or a [ BEAD ] before it"
            problems.append(Problem(text, path, line.number))
            continue
        entry = entries.setdefault(residue, _Entry(residue, line.number))
        if wrong := entry.add(bead, [name]):
            problems.append(Problem(f"{wrong} (several molecules in a bead are not read)", path, line.number))
    return _finished(list(entries.values()), path, problems, by_mass=True)


def _pdb_lines(path: Path) -> Iterable[SectionLine]:
    """Headers and lines of atoms, the latter with their columns."""
    section = ""
    for number, raw in enumerate(read_text(path).split("\n"), 1):
        text = raw.strip()
        if text.startswith("[") and text.endswith("]"):
            section = text.strip("[] \t")
            yield SectionLine(number, section, "")
        elif raw.startswith(("ATOM", "HETATM")):
            yield SectionLine(number, section, raw)


# --- MemBack ----------------------------------------------------------------------------------------


def read_memback(path: Path) -> list[ResidueMapping]:
    """Read a MemBack map: ``RESI NAME``, ``[ BEAD ]`` and names of atoms, ``[ chiral ]``, ``[ cis ]``.

    Beads are centres of geometry.

    Raises
    ------
    InputError
        With all lines that cannot be read.
    """
    lines = section_lines(read_text(path), ";#")
    entries, problems = entries_of(path, lines, _named, _memback_line, "RESI")
    return _finished(entries, path, problems, by_mass=False)


def _named(line: SectionLine) -> _Entry | None:
    words = line.words
    return _Entry(words[1], line.number) if words[:1] == ["RESI"] and len(words) == 2 else None


def _memback_line(entry: _Entry, line: SectionLine) -> str:
    words, section = line.words, line.section.lower()
    if section in ("chiral", "cis", "trans"):
        entry.stereo += stated_stereo(section, words)
    elif section != "dihedral":
        return entry.add(line.section, words)
    return ""

"""deepBackmap ``.map`` files: owners, alignment and multiplicity of the beads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.files.input_errors import Problem
from dbm_gmx.files.text import read_text


@dataclass
class DbmMap:
    """A ``.map`` file as written, with 0-based rows.

    Attributes
    ----------
    path
        The file; its stem is the name of the molecule type.
    atoms
        Atom -> (class, bead).
    types
        Bead -> type.
    align, multiplicity
        Bead -> bead (-1: none), bead -> number; beads may be missing.
    problems
        What is wrong with the file by itself.
    """

    path: Path
    atoms: dict[int, tuple[str, int]] = field(default_factory=dict)
    types: dict[int, str] = field(default_factory=dict)
    align: dict[int, int] = field(default_factory=dict)
    multiplicity: dict[int, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def molecule(self) -> str:
        """Name of the molecule type."""
        return self.path.stem


def read_map(path: str | Path) -> DbmMap:
    """Read a deepBackmap ``.map`` file.

    Sections ``[map]`` (atom, atom class, bead, bead type), ``[align]`` (bead, bead it is aligned to,
    0 for none) and ``[mult]`` (bead, multiplicity), closed by ``[/map]`` or the next one.  Numbers
    count from 1, ``;`` starts a comment, further columns are ignored.

    A ``.map`` says which bead owns an atom and knows no weights; the position of a bead is then the
    centre of mass of the atoms it owns, unless a VOTCA file gives the weights of the molecule.

    Raises
    ------
    InputError
        If the file cannot be read.  What is wrong inside is in ``problems``, with lines.
    """
    path = Path(path)
    lines = read_text(path).split("\n")
    raw = DbmMap(path)
    section = ""
    for number, line in enumerate(lines, 1):
        text = line.partition(";")[0].strip()
        try:
            if text.startswith("["):
                section = _section(text)
            elif text:
                _add(raw, section, text.split())
        except ValueError as error:
            raw.problems.append(Problem(str(error), path, number))
    _check_beads(raw)
    return raw


def _section(text: str) -> str:
    name = text.strip("[] \t")
    if name.lstrip("/").strip() not in _ROWS:
        raise ValueError(f"unknown section {text}; there are [map], [align], [mult]")
    return "" if name.startswith("/") else name


def _add(raw: DbmMap, section: str, words: list[str]) -> None:
    if section not in _ROWS:
        raise ValueError("a line outside of [map], [align] and [mult]")
    columns, add = _ROWS[section]
    try:
        add(raw, words)
    except (IndexError, _NumberError) as error:
        why = f": {error}" if isinstance(error, _NumberError) else ""
        raise ValueError(f"[{section}] needs {columns}; found {' '.join(words)[:60]!r}{why}") from None


class _NumberError(ValueError):
    """A word in a column of numbers."""


def _number(word: str, *, least: int = 1) -> int:
    """Return a 1-based number of the file as a 0-based row."""
    if not word.removeprefix("-").isdecimal() or len(word) > 10 or int(word) < least:
        raise _NumberError(f"{word[:20]!r} is not a whole number from {least}")
    return int(word) - 1


def _add_atom(raw: DbmMap, words: list[str]) -> None:
    atom, moltype, bead, type_ = _number(words[0]), words[1], _number(words[2]), words[3]
    if atom in raw.atoms:
        raise ValueError(f"atom {atom + 1} is listed twice; it can be rebuilt with one bead only")
    if raw.types.setdefault(bead, type_) != type_:
        raise ValueError(f"bead {bead + 1} has type {raw.types[bead]} above and {type_} here")
    raw.atoms[atom] = (moltype, bead)


def _add_align(raw: DbmMap, words: list[str]) -> None:
    bead, towards = _number(words[0]), _number(words[1], least=0)
    if bead == towards:
        raise ValueError(f"bead {bead + 1} is aligned to itself")
    if raw.align.setdefault(bead, towards) != towards:
        raise ValueError(f"bead {bead + 1} is aligned twice")


def _add_multiplicity(raw: DbmMap, words: list[str]) -> None:
    bead = _number(words[0])
    times = _number(words[1], least=0) + 1
    if raw.multiplicity.setdefault(bead, times) != times:
        raise ValueError(f"bead {bead + 1} has two multiplicities")


_NAMED = 100
"""Beads that are named in one message, at most."""

_ROWS: dict[str, tuple[str, Callable[[DbmMap, list[str]], None]]] = {
    "map": ("atom, atom class, bead, bead type", _add_atom),
    "align": ("bead, bead it is aligned to", _add_align),
    "mult": ("bead, multiplicity", _add_multiplicity),
}


def _check_beads(raw: DbmMap) -> None:
    def wrong(text: str) -> None:
        raw.problems.append(Problem(text, raw.path))

    if not raw.atoms:
        wrong("no atoms: a [map] section is needed")
    n_gaps = max(raw.types, default=-1) + 1 - len(raw.types)
    gaps = list(islice((b for b in count() if b not in raw.types), min(n_gaps, _NAMED)))
    if gaps:
        more = " ..." if n_gaps > _NAMED else ""
        wrong(f"beads without an atom: {' '.join(str(b + 1) for b in gaps)}{more}")
    named = {*raw.align, *(b for b in raw.align.values() if b >= 0), *raw.multiplicity}
    unknown = sorted(b for b in named - set(raw.types) if b not in gaps)
    if unknown:
        wrong(f"[align] or [mult] names beads which [map] does not: {' '.join(str(b + 1) for b in unknown)}")


def map_owners(raw: DbmMap, moltype: MoleculeType) -> tuple[IntArray, tuple[str, ...], list[Problem]]:
    """Compare a ``.map`` with its molecule type.

    Returns
    -------
    (atoms,) owner bead (-1: none), the classes of the atoms, and what does not fit.
    """
    owner = np.full(moltype.n_atoms, -1, np.int64)
    classes = [""] * moltype.n_atoms
    beyond = sorted(a + 1 for a in raw.atoms if a >= moltype.n_atoms)
    for atom, (name, bead) in raw.atoms.items():
        if atom < moltype.n_atoms:
            owner[atom], classes[atom] = bead, name
    problems = []
    if beyond:
        text = f"atoms {' '.join(map(str, beyond))}, but {moltype.name} has {moltype.n_atoms} atoms"
        problems.append(Problem(text, raw.path))
    lost = [f"{i + 1} ({moltype.names[i]})" for i in np.flatnonzero(owner < 0)]
    if lost:
        problems.append(
            Problem(f"atoms of {moltype.name} without a line in [map]: {', '.join(lost)}", raw.path)
        )
    return owner, tuple(classes), problems


def mass_weights(owner: IntArray, masses: FloatArray, *, n_beads: int) -> sp.csr_matrix:
    """Return (beads, atoms) weights of the centres of mass of the owned atoms.

    Atoms of a bead without any mass count equally.
    """
    total = np.bincount(owner, weights=masses, minlength=n_beads)
    masses = np.where(total[owner] > 0, masses, 1.0)
    total = np.bincount(owner, weights=masses, minlength=n_beads)
    entries = (masses / total[owner], (owner, np.arange(owner.size)))
    return sp.csr_matrix(entries, shape=(n_beads, owner.size))


def bead_names(raw: DbmMap) -> tuple[str, ...]:
    """Return a name for each bead: its type and a running number of that type (A1, B1, A2, ...)."""
    names: list[str] = []
    count: dict[str, int] = {}
    for bead in sorted(raw.types):
        type_ = raw.types[bead]
        count[type_] = count.get(type_, 0) + 1
        names.append(f"{type_}{'_' * type_[-1].isdigit()}{count[type_]}")
    return tuple(names)

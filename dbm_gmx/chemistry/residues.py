"""Mappings of residues: which atoms of a residue make its beads, applied to molecules residue by residue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import networkx as nx
import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.mapping import spread_owners
from dbm_gmx.chemistry.topology import MoleculeType, own_masses

AtomName = tuple[int, str]
"""Which residue of a mapping, from 0, and the name of an atom in it."""


@dataclass(frozen=True)
class ResidueBead:
    """A bead of a residue.

    Attributes
    ----------
    name, type
        Of the bead.
    atoms
        Its atoms and their weights, before masses; 0 for an atom that belongs to the bead, but does not count
        in its position.
    """

    name: str
    type: str
    atoms: Mapping[AtomName, float]


@dataclass(frozen=True)
class StatedStereo:
    """What a mapping says of a stereocentre or of a bond.

    Attributes
    ----------
    kind
        ``chiral``, ``cis`` or ``trans``.
    atoms
        The four atoms of a dihedral; or A, the centre, C, D and E: seen from A, the three others go round
        counter-clockwise in this order.  Perhaps with the number of their residue in front (``2:C2``).
    """

    kind: str
    atoms: tuple[str, ...]


@dataclass(frozen=True)
class ResidueMapping:
    """The mapping of one residue, or of some that follow one another.

    Attributes
    ----------
    path, line
        Where it stands.
    residues
        Names of the residues; nearly always one.
    beads
        In order.
    by_mass
        Whether weights are multiplied with masses: centres of mass, else centres of geometry.
    stereo
        What it says of stereocentres and bonds.
    origins
        Names of the atomistic force fields that it is for, where it says so.
    """

    path: Path
    line: int
    residues: tuple[str, ...]
    beads: tuple[ResidueBead, ...]
    by_mass: bool = True
    stereo: tuple[StatedStereo, ...] = ()
    origins: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What it is called."""
        return "-".join(self.residues)

    @property
    def atoms(self) -> dict[AtomName, None]:
        """All atoms that it names, in order."""
        return {atom: None for bead in self.beads for atom in bead.atoms}

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, eq=False)
class MappedResidues:
    """Beads of a molecule type, put together from those of its residues.

    Attributes
    ----------
    names, types
        Of the beads, residue after residue.
    weights
        (beads, atoms) rows add up to 1.
    owner
        (atoms,) the bead each atom is rebuilt with; -1 for atoms that are bonded to none.
    stereo
        Kind and rows of atoms, for what is said of stereocentres and bonds.
    used
        The mappings.
    notes
        What was not as the mappings say, and what was made of it.
    problems
        What does not fit; nothing else is to be used then.
    """

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    weights: sp.csr_matrix = field(default_factory=lambda: sp.csr_matrix((0, 0)))
    owner: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    stereo: tuple[tuple[str, tuple[int, ...]], ...] = ()
    used: tuple[ResidueMapping, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


NAMELESS = ""
"""Name of the residue of a mapping that does not say what it is of."""

WATER = (
    *("SOL", "HOH", "WAT", "H2O", "TIP3", "TIP3P", "TP3M", "TIPS3P", "TIP4", "TIP4P", "TIP4PEW", "TIP5P"),
    *("SPC", "SPCE", "OPC", "OPC3", "HO4", "HO5"),
)
"""Names of water in force fields."""

ION_FAMILIES = (
    ("NA+", "NA", "SOD"),
    ("CL-", "CL", "CLA"),
    ("K+", "K", "POT"),
    ("CA2+", "CA+", "CA", "CAL"),
    ("MG2+", "MG"),
    ("LI+", "LI", "LIT"),
)
"""Names of ions of one atom in force fields, in capitals."""

FAMILIES = (
    ("HIS", "HSD", "HSE", "HID", "HIE", "HSP", "HIP", "HISD", "HISE", "HISH", "HISA", "HISB", "HIS1", "HIS2"),
    ("ASP", "ASPH", "ASPP", "ASH"),
    ("GLU", "GLUH", "GLUP", "GLH"),
    ("LYS", "LYSH", "LSN", "LYN"),
    ("CYS", "CYSH", "CYS1", "CYS2", "CYX", "CYM"),
    ("ARG", "ARGN"),
    ("CHOL", "CHL1", "CHL", "CLR"),
    WATER,
    *ION_FAMILIES,
)
"""Names of one residue in its states of protonation and in different force fields."""

CAPS = ("ACE", "NME", "NMA", "NAC", "NH2", "CT2", "CT3", "FOR", "NHE")
"""Groups at the ends of proteins that have no bead of their own where no mapping gives them one."""

ENOUGH = 0.5
"""Part of the atoms of a mapping that must be found in a residue, of each of its beads at least one."""

_NAMED = 8  # names in one message, at most


@dataclass(frozen=True)
class Residue:
    """Atoms of a molecule that follow one another and have the same number and name of residue."""

    name: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class _Place:
    """A mapping where it was found to fit: its residues of the molecule, and a row for each of its atoms."""

    mapping: ResidueMapping
    residues: tuple[Residue, ...]
    rows: Mapping[AtomName, int]
    note: str = ""
    rivals: bool = False

    @property
    def missing(self) -> list[AtomName]:
        """Atoms of the mapping that are not there."""
        return [atom for atom in self.mapping.atoms if atom not in self.rows]

    @property
    def extra(self) -> list[int]:
        """Atoms of the residues that the mapping does not name."""
        named = set(self.rows.values())
        return [row for residue in self.residues for row in residue.rows if row not in named]

    @property
    def fits(self) -> bool:
        """Whether enough atoms are there."""
        each = all(any(atom in self.rows for atom in bead.atoms) for bead in self.mapping.beads)
        return each and len(self.rows) >= ENOUGH * len(self.mapping.atoms)

    @property
    def quality(self) -> tuple[bool, int, int]:
        """Order of mappings that might be meant: the largest is the best."""
        return self.fits, -len(self.missing), -len(self.extra)


def residues_of(moltype: MoleculeType) -> list[Residue]:
    """Residues of a molecule type, in order."""
    nodes = moltype.graph.nodes
    groups = groupby(range(moltype.n_atoms), key=lambda i: (nodes[i]["resid"], nodes[i]["resname"]))
    return [Residue(str(name), tuple(rows)) for (_, name), rows in groups]


def map_residues(moltype: MoleculeType, mappings: Sequence[ResidueMapping]) -> MappedResidues | None:
    """Put the beads of a molecule together from mappings of its residues.

    A residue is mapped by its name; else by another name of the same residue (:data:`FAMILIES`); else, at an
    end of the molecule, by a name that has one letter less; and a molecule of one residue by its own name.
    A mapping without a name (:data:`NAMELESS`) is for residues with all of its atoms and no other mapping.
    Of several mappings of a residue that with most of its atoms is taken.  Atoms of the mapping that are not
    there are left out.  Others go to the bead of the nearest atom along the bonds.  They count in its
    position if they end at an atom where the mapping has another of their element that counts (further
    hydrogens and oxygens of termini).

    Returns
    -------
    The beads, or what does not fit; ``None`` if no residue has a mapping.
    """
    table: dict[str, list[ResidueMapping]] = {}
    for mapping in mappings:
        table.setdefault(mapping.residues[0], []).append(mapping)
    chain = _Chain(moltype, residues_of(moltype), table)
    places, lost, problems = _places(chain)
    if problems:  # among mappings for several force fields that fit, those of the force field of the others
        sure = [place.mapping.origins for place in places if not place.rivals]
        votes = Counter(origin for origins in sure for origin in origins)
        places, lost, problems = _places(replace(chain, votes=votes))
    caps = [residue for residue in lost if residue.name in CAPS and places]
    unknown = dict.fromkeys(residue.name for residue in lost if residue not in caps)
    if not places and not problems:
        return None
    if unknown and not problems:
        known = ", ".join(dict.fromkeys(mapping.name for mapping in mappings))
        problems.append(
            f"{moltype.name}: no mapping of residues {_some(unknown)}; there are those of {known}"
        )
    if problems:
        return MappedResidues(problems=tuple(dict.fromkeys(problems)))
    return _assembled(moltype, places, caps)


@dataclass(frozen=True, eq=False)
class _Chain:
    """A molecule whose residues are looked up in a table of mappings by the name of their first residue.

    ``votes`` count the residues that are mapped for a force field for sure.
    """

    moltype: MoleculeType
    residues: Sequence[Residue]
    table: Mapping[str, Sequence[ResidueMapping]]
    votes: Mapping[str, int] = field(default_factory=dict)


def residue_stereo(
    moltype: MoleculeType, mappings: Sequence[ResidueMapping]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What mappings say of the stereo elements of residues that have their names and their atoms."""
    with_stereo = [mapping for mapping in mappings if mapping.stereo and len(mapping.residues) == 1]
    for residue in residues_of(moltype):
        names = {residue.name, *(n for f in FAMILIES if residue.name.upper() in f for n in f)}
        for mapping in with_stereo:
            place = _located(mapping, (residue,), moltype)
            if mapping.name in names and not place.missing:
                yield from _stated(place, moltype)


def _places(chain: _Chain) -> tuple[list[_Place], list[Residue], list[str]]:
    """Mappings along a chain, residues without one, and what does not fit."""
    places: list[_Place] = []
    lost: list[Residue] = []
    problems: list[str] = []
    at = 0
    while at < len(chain.residues):
        found, wrong = _place(chain, at)
        problems += [wrong] if wrong else []
        if found is not None:
            places.append(found)
        else:
            lost.append(chain.residues[at])
        at += len(found.residues) if found is not None else 1
    return places, lost, problems


def _place(chain: _Chain, at: int) -> tuple[_Place | None, str]:
    """Find the mapping of the residue ``at``, and of those after it that belong to it; and what is wrong."""
    residues, name = chain.residues, chain.residues[at].name
    for alias in _names(chain, at):
        found = [
            _located(mapping, residues[at : at + len(mapping.residues)], chain.moltype)
            for mapping in chain.table.get(alias, ())
            if [r.name for r in residues[at + 1 : at + len(mapping.residues)]] == list(mapping.residues[1:])
        ]
        found = [place for place in found if alias != NAMELESS or not place.missing]
        if not found:
            continue

        def rank(place: _Place) -> tuple[bool, int, int, int]:
            votes = max((chain.votes.get(o, 0) for o in place.mapping.origins), default=0)
            return *place.quality, votes + _called(place.mapping, name)

        best = max(found, key=rank)
        if not best.fits:
            return best, _misfit(best, name)
        rivals = [p for p in found if rank(p) == rank(best) and _beads(p) != _beads(best)]
        if rivals:
            text = ", ".join(place.mapping.where for place in [best, *rivals])
            wrong = f"residue {name}: several mappings fit equally well and differ; give one of {text}"
            return replace(best, rivals=True), wrong
        told = f"is mapped as {alias}" if alias else f"has the atoms of {best.mapping.path}"
        return replace(best, note="" if alias == name else f"residue {name} {told}"), ""
    return None, ""


def _called(mapping: ResidueMapping, name: str) -> bool:
    """Whether the file of a mapping without a name is called as a residue (``TOL_cgbuilder.map``)."""
    return mapping.name == NAMELESS and mapping.path.name.upper().startswith(name.upper())


def _beads(place: _Place) -> object:
    """What a place makes: beads with rows and weights."""
    return [
        (b.name, sorted((place.rows[a], w) for a, w in b.atoms.items() if a in place.rows))
        for b in place.mapping.beads
    ]


def _names(chain: _Chain, at: int) -> Iterator[str]:
    """Names under which the mapping of a residue may stand, its own first."""
    residues, name = chain.residues, chain.residues[at].name
    yield name
    if len(residues) == 1:
        yield chain.moltype.name
    for family in FAMILIES:
        if name.upper() in family:
            yield from family
    if at in (0, len(residues) - 1) and len(residues) > 1 and len(name) > 1:
        for shorter in (name[1:], name[:-1]):
            yield shorter
            yield from (alias for family in FAMILIES if shorter.upper() in family for alias in family)
    yield from (other for other in chain.table if other.upper() == name.upper())
    yield NAMELESS


def _located(mapping: ResidueMapping, residues: Sequence[Residue], moltype: MoleculeType) -> _Place:
    """Find the atoms of a mapping by name; as if digits in front were at the end, in capitals."""
    rows: dict[AtomName, int] = {}
    for part, residue in enumerate(residues):
        names = [str(moltype.graph.nodes[row]["name"]) for row in residue.rows]
        exact = _unique(zip(names, residue.rows, strict=True))
        plain = _unique(zip(map(_plain, names), residue.rows, strict=True))
        wanted = [atom for atom in mapping.atoms if atom[0] == part]
        rows |= {atom: exact[atom[1]] for atom in wanted if atom[1] in exact}
        taken = set(rows.values())
        for atom in wanted:
            row = plain.get(_plain(atom[1]))
            if atom not in rows and row is not None and row not in taken:
                rows[atom] = row
                taken.add(row)
    return _Place(mapping, tuple(residues), rows)


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    listed = list(pairs)
    count = Counter(name for name, _ in listed)
    return {name: row for name, row in listed if count[name] == 1}


def _plain(name: str) -> str:
    """A name in capitals, digits in front moved to the end (1HB is HB1)."""
    letters = name.lstrip("0123456789")
    return (letters + name[: len(name) - len(letters)]).upper()


def _misfit(place: _Place, name: str) -> str:
    """Say why a mapping does not fit its residue."""
    empty = [b.name for b in place.mapping.beads if not any(atom in place.rows for atom in b.atoms)]
    found, total = len(place.rows), len(place.mapping.atoms)
    text = (
        f"residue {name}: the mapping in {place.mapping.where} has {total} atoms, {found} of them are there"
    )
    text += f"; bead {', '.join(empty)} would have none" if empty else ""
    missing = _some(atom for _, atom in place.missing)
    return f"{text}. Not in the topology: {missing or 'none'}. A mapping for another force field?"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")


def _assembled(moltype: MoleculeType, places: Sequence[_Place], caps: Sequence[Residue]) -> MappedResidues:
    owner = np.full(moltype.n_atoms, -1, np.int64)
    rows: list[dict[int, float]] = []
    first = 0
    stereo: list[tuple[str, tuple[int, ...]]] = []
    masses = own_masses(moltype.graph)
    for place in places:
        parts = [
            {place.rows[a]: w for a, w in bead.atoms.items() if a in place.rows}
            for bead in place.mapping.beads
        ]
        _own(owner, parts, first)
        inside = moltype.graph.subgraph(row for residue in place.residues for row in residue.rows)
        spread_owners(owner, inside)
        _count_extras(place, parts, owner, first, moltype.graph)
        stereo += _stated(place, moltype)
        rows += [_weighed(part, masses, by_mass=place.mapping.by_mass) for part in parts]
        first += len(parts)
    spread_owners(owner, moltype.graph)
    weights = sp.lil_matrix((len(rows), moltype.n_atoms))
    for bead, part in enumerate(rows):
        for row, weight in part.items():
            weights[bead, row] = weight
    beads = [bead for place in places for bead in place.mapping.beads]
    return MappedResidues(
        tuple(bead.name for bead in beads),
        tuple(bead.type for bead in beads),
        weights.tocsr(),
        owner,
        tuple(stereo),
        tuple({id(place.mapping): place.mapping for place in places}.values()),
        tuple(_notes(moltype, places, caps)),
    )


def _own(owner: IntArray, parts: Sequence[Mapping[int, float]], first: int) -> None:
    """Give each atom to the bead in which it has the largest weight, ties to the first (in place)."""
    best: dict[int, float] = {}
    for bead, part in enumerate(parts, first):
        for row, weight in part.items():
            if weight > best.get(row, -1.0):
                owner[row], best[row] = bead, weight


def _count_extras(
    place: _Place, parts: Sequence[dict[int, float]], owner: IntArray, first: int, graph: nx.Graph
) -> None:
    """Let atoms that a mapping does not name count as others of their element there do (in place)."""
    for row in place.extra:
        bead = int(owner[row]) - first
        if not 0 <= bead < len(parts) or graph.degree(row) != 1:
            continue
        element, centre = graph.nodes[row]["element"], next(iter(graph[row]))
        alike = [j for j in graph[centre] if j != row and graph.nodes[j]["element"] == element]
        counted = [parts[bead][j] for j in alike if parts[bead].get(j, 0.0) > 0]
        gone = [w for a, w in place.mapping.beads[bead].atoms.items() if a not in place.rows and w > 0]
        lost = [a for _, a in place.missing if _plain(a)[:1] == element and gone]
        if element and centre in parts[bead] and (counted or lost):
            parts[bead][row] = counted[0] if counted else max(gone)


def _weighed(part: Mapping[int, float], masses: FloatArray, *, by_mass: bool) -> dict[int, float]:
    """Weights of a bead that add up to 1; where only weightless atoms are there they count equally."""
    counted = {row: w * (float(masses[row]) if by_mass else 1.0) for row, w in part.items()}
    counted = {row: w for row, w in counted.items() if w > 0} or dict.fromkeys(part, 1.0)
    total = sum(counted.values())
    return {row: w / total for row, w in counted.items()}


def _stated(place: _Place, moltype: MoleculeType) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Statements on stereo elements whose atoms are there, whether they belong to a bead or not."""
    inside = {(part, moltype.names[row]): row for part, r in enumerate(place.residues) for row in r.rows}
    inside |= place.rows
    for stated in place.mapping.stereo:
        rows = [inside.get(_atom_name(name), -1) for name in stated.atoms]
        if stated.kind == "chiral" and rows.count(-1) == 1 and rows[1] >= 0:
            # a hydrogen of another name
            left = [row for row in moltype.graph[rows[1]] if row not in rows]
            rows[rows.index(-1)] = left[0] if len(left) == 1 else -1
        if min(rows) >= 0:
            yield stated.kind, tuple(rows)


def _atom_name(text: str) -> AtomName:
    """An atom of a residue (``2:C2``), of the first one if no number is in front."""
    part, _, name = text.rpartition(":")
    return (int(part) - 1, name) if part.isdecimal() else (0, text)


def _notes(moltype: MoleculeType, places: Sequence[_Place], caps: Sequence[Residue]) -> Iterator[str]:
    """Say what was not as the mappings say, equal things once; of hydrogens that there are more or less."""
    said: Counter[str] = Counter()
    hydrogens = 0
    for place in places:
        name = "-".join(residue.name for residue in place.residues)
        if place.note:
            said[place.note] += 1
        heavy = [row for row in place.extra if moltype.graph.nodes[row]["element"] != "H"]
        missing = [name for _, name in place.missing if not _plain(name).startswith("H")]
        hydrogens += len(place.extra) - len(heavy) if len(missing) < len(place.missing) else 0
        if heavy:
            extra = _some(moltype.names[row] for row in heavy)
            said[f"{name}: {extra}, which the mapping does not name, go to the beads they are bonded to"] += 1
        if missing:
            said[f"{name}: {_some(missing)} of the mapping are not there, left out"] += 1
    if hydrogens:
        said[
            f"{hydrogens} hydrogens with names that the mapping does not have go with the atoms they are on"
        ] += 1
    for text, count in said.items():
        yield f"{moltype.name}: {text}" + (f" ({count} times)" if count > 1 else "")
    for residue in caps:
        yield f"{moltype.name}: {residue.name} has no mapping and no bead; its atoms go to the next residue"

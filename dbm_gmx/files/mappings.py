"""From mapping and owners files to :class:`~dbm_gmx.chemistry.mapping.Mapping`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.heavy import heavy_graph
from dbm_gmx.chemistry.mapping import Mapping, default_alignment, derive_owners
from dbm_gmx.chemistry.residues import MappedResidues, ResidueMapping, map_residues
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.chemistry.units_of_beads import Parts, name_of_parts, parse_parts, unite_parts
from dbm_gmx.errors import InputError
from dbm_gmx.files.backward import read_backward, read_vermouth
from dbm_gmx.files.dbm_map import DbmMap, bead_names, map_owners, mass_weights, read_map
from dbm_gmx.files.fragments import read_fragments, read_memback, read_pycgtool
from dbm_gmx.files.index import IndexMapping, index_weights, read_index_mapping
from dbm_gmx.files.input_errors import Problem, refuse
from dbm_gmx.files.owners import Owners, owner_array, read_owners
from dbm_gmx.files.python_mapping import FORMS, is_smiles, mappings_of_python
from dbm_gmx.files.sections import KINDS, Kind, kind_of, kind_or_name
from dbm_gmx.files.smiles import FoundSmiles, SmilesMapping, composition, find_smiles, read_smiles
from dbm_gmx.files.text import check_file, what_it_is
from dbm_gmx.files.votca import VotcaMolecule, read_votca, residue_names, residues_in, votca_weights
from dbm_gmx.logs import NOTICE

log = logging.getLogger(__name__)
OWNERS = "owners.txt"


Given = str | Path | MappingABC[str, Any]
"""A file or a folder, or a mapping made in Python (:mod:`~dbm_gmx.files.python_mapping`)."""

Raw = VotcaMolecule | DbmMap | ResidueMapping | SmilesMapping | IndexMapping
"""What a file says of a molecule, or of a residue."""

SUFFIXES = (".xml", ".map", ".mapping", ".pdb", ".cgsmiles", ".cgs", ".smi", ".dat", ".txt")
"""Of files that are looked at in a folder."""


@dataclass
class Source:
    """All that the files say about one molecule type."""

    votca: VotcaMolecule | None = None
    map: DbmMap | None = None
    residues: MappedResidues | None = None
    smiles: tuple[SmilesMapping, FoundSmiles] | None = None
    index: IndexMapping | None = None
    owners: Owners | None = None
    owners_path: Path = field(default_factory=Path)
    parts: Parts = ()

    def moltype(self, topology: Topology) -> MoleculeType:
        """What it is a mapping of; several molecules are one."""
        ((name, count), *more) = self.parts
        one = not more and count == 1
        return topology.molecule_types[name] if one else unite_parts(self.parts, topology.molecule_types)

    @property
    def paths(self) -> list[Path]:
        """The mapping files."""
        found = [raw.path for raw in (self.votca, self.map, self.index) if raw is not None]
        found += [self.smiles[0].path] if self.smiles else []
        return found + ([mapping.path for mapping in self.residues.used] if self.residues else [])


def read_mappings(
    paths: Iterable[Given], topology: Topology, *, owners: Iterable[str | Path] = ()
) -> dict[str, Mapping]:
    """Read the mappings of the molecule types of a topology.

    What a file is follows from its content (:class:`~dbm_gmx.files.sections.Kind`).  A VOTCA file gives
    weights, a deepBackmap ``.map`` owners, alignment and multiplicity; a molecule may have both.  Files of
    Backward, martinize2, vermouth, PyCGTOOL, CG2AT and MemBack map residues, of which molecules are put
    together (:func:`~dbm_gmx.chemistry.residues.map_residues`); not those that have a mapping of their own.
    CGSmiles are found by the graph of a molecule, the molecule of an index file by its name or as the only
    one that has its atoms.  Owners are, in this order: those of the files in ``owners``, of the ``.map``, of
    an ``owners.txt`` lying beside the mapping file, derived
    (:func:`~dbm_gmx.chemistry.mapping.derive_owners`).

    Parameters
    ----------
    paths
        Mapping files, folders of them, or mappings made in Python.
    topology
        The atomistic system; a mapping belongs to the molecule type of its ``<ident>``, else of its
        ``<name>``, or of the stem of the ``.map``.  Those of other molecules are left out.
    owners
        Owners files (:func:`~dbm_gmx.files.owners.read_owners`).

    Returns
    -------
    Mappings by name of the molecule type.

    Raises
    ------
    InputError
        Listing everything wrong in all the files.
    """
    sources = _collect(paths, topology)
    _add_owners(sources, [Path(p) for p in owners])
    _lend(sources, topology)
    problems: list[Problem] = []
    mappings = {}
    for name, source in sources.items():
        moltype = source.moltype(topology)
        mapping = _build(source, moltype, problems=problems)
        if mapping is not None:
            mappings[name] = mapping
    refuse(problems)
    return mappings


def _collect(paths: Iterable[Given], topology: Topology) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    others: list[str] = []
    strange: list[VotcaMolecule] = []
    cg_names: dict[str, set[str]] = {}
    every = _read_all(paths)
    for raw in every:
        if not isinstance(raw, VotcaMolecule | DbmMap):
            continue
        names = [raw.molecule] if isinstance(raw, DbmMap) else [n for n in (raw.ident, raw.name) if n]
        parts = next((found for n in names if (found := _parts(raw, n, topology))), ())
        if not names and len(topology.molecule_types) == 1:
            parts = tuple((only, 1) for only in topology.molecule_types)
        if not parts and isinstance(raw, VotcaMolecule):
            strange.append(raw)
            continue
        if not parts:
            how = ", by the name of the file" if isinstance(raw, DbmMap) else ""
            others.append(f"{'/'.join(names) or 'without a name'} ({raw.path}{how})")
            continue
        name = name_of_parts(parts)
        of_beads = raw.name if isinstance(raw, VotcaMolecule) else ""
        if of_beads and of_beads not in cg_names.setdefault(name, {of_beads}):
            cg_names[name].add(of_beads)
            name = f"{name} ({of_beads})"  # another molecule type of beads with the same atoms
        source = sources.setdefault(name, Source(parts=parts))
        earlier = source.map if isinstance(raw, DbmMap) else source.votca
        if earlier is not None:
            raise InputError(f"{name} has a mapping already, in {earlier.path}", path=raw.path)
        if isinstance(raw, DbmMap):
            source.map = raw
        else:
            source.votca = raw
    strange = _find_by_atoms(sources, strange, topology)
    for raw in strange:
        others.append(f"{'/'.join(n for n in (raw.ident, raw.name) if n) or 'without a name'} ({raw.path})")
    others += _add_smiles(sources, [raw for raw in every if isinstance(raw, SmilesMapping)], topology)
    others += _add_index(sources, [raw for raw in every if isinstance(raw, IndexMapping)], topology)
    others += _add_residues(sources, [raw for raw in every if isinstance(raw, ResidueMapping)], topology)
    if others and not sources:
        residues = any(isinstance(raw, ResidueMapping) for raw in every)
        known = ", ".join(f"{n}{_residues_of(m) * residues}" for n, m in topology.molecule_types.items())
        known = known or "any molecule, as the topology defines none"
        raise InputError(f"no mapping of {known}; found those of {', '.join(others)}", path=topology.path)
    if others:
        log.info("mappings of other molecules left out: %s", ", ".join(others))
    return sources


def _residues_of(moltype: MoleculeType) -> str:
    """The first residues of a molecule type, to be said behind its name."""
    names = list(dict.fromkeys(map(str, moltype.attribute("resname"))))
    return f" (residues {', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"


def _find_by_atoms(
    sources: dict[str, Source], strange: Sequence[VotcaMolecule], topology: Topology
) -> list[VotcaMolecule]:
    """Give mappings of other molecule types to those that have all their atoms; returns the rest."""
    used = list[VotcaMolecule]()
    for name in _without_mapping(sources, topology):
        moltype = topology.molecule_types[name]
        fits = [raw for raw in strange if not raw.problems and not votca_weights(raw, moltype)[1]]
        if len(fits) == 1:
            sources[name] = Source(votca=fits[0], parts=((name, 1),))
            used += fits
            _say_found(name, sources[name])
    return [raw for raw in strange if raw not in used]


def _lend(sources: dict[str, Source], topology: Topology) -> None:
    """Give molecule types the mapping of one with the same atoms: each chain of a melt may be a type."""
    types = topology.molecule_types
    atoms = {name: _atom_names(types[name]) for name in sources if name in types}
    for name in _without_mapping(sources, topology):
        alike = [other for other in atoms if atoms[other] == _atom_names(types[name])]
        if len(alike) == 1:
            sources[name] = replace(sources[alike[0]], parts=((name, 1),))
            _say_found(name, sources[name])


def _without_mapping(sources: dict[str, Source], topology: Topology) -> list[str]:
    """Molecule types of the system that have no mapping yet."""
    return [
        name for name in dict.fromkeys(n for n, count in topology.molecules if count) if name not in sources
    ]


def _say_found(name: str, source: Source) -> None:
    log.log(NOTICE, "%s: its atoms are those of the mapping in %s", name, source.paths[0])


def _atom_names(moltype: MoleculeType) -> list[tuple[object, object]]:
    return list(zip(moltype.attribute("resname"), moltype.names, strict=True))


def _parts(raw: VotcaMolecule | DbmMap, name: str, topology: Topology) -> Parts:
    """The molecules that a mapping of this name is of; none if they are not in the topology."""
    types = topology.molecule_types
    if name not in types:
        try:
            parts = parse_parts(name)
        except InputError:
            return ()
        return parts if all(part in types for part, _ in parts) else ()
    if isinstance(raw, VotcaMolecule):
        residues = residue_names(raw)
        single = {str(m.graph.nodes[0]["resname"]): n for n, m in types.items() if residues_in(m) == 1}
        single |= {str(types[name].graph.nodes[0]["resname"]): name} if residues_in(types[name]) == 1 else {}
        if len(residues) > residues_in(types[name]) == 1 and set(residues) <= set(single):
            # residues of a molecule that has one only: of several molecules
            return tuple((single[n], len(list(same))) for n, same in groupby(residues))
    return ((name, 1),)


def _add_smiles(sources: dict[str, Source], found: Sequence[SmilesMapping], topology: Topology) -> list[str]:
    """Find the molecules of CGSmiles; returns those that are not there."""
    others = []
    for raw in found:
        named = [m for n, m in topology.molecule_types.items() if n == raw.name]
        without = [m for n, m in topology.molecule_types.items() if n not in sources]
        laid = {
            moltype.name: there
            for moltype in named or without
            if moltype.name not in sources and (there := find_smiles(raw, moltype)) is not None
        }
        if not laid:
            others.append(_said_of_smiles(raw, (named or without)[:3]))
        for name, there in laid.items():
            sources[name] = Source(smiles=(raw, there), parts=((name, 1),))
            if there.ways > 1:
                log.log(
                    NOTICE,
                    "%s: the beads of its CGSmiles can lie in %d ways, alike by symmetry; taken is that in "
                    "the order of the atoms",
                    name,
                    there.ways,
                )
    return others


def _said_of_smiles(raw: SmilesMapping, instead: Sequence[MoleculeType]) -> str:
    """Where CGSmiles stand and what of, beside molecules that it could have been."""
    what = f"{raw.name or '-'.join(raw.beads[:5])} of {composition(raw.heavy)} ({raw.path}, line {raw.line}"
    return f"{'; '.join([what, *(f'{m.name} is {composition(heavy_graph(m))}' for m in instead)])})"


def _add_index(sources: dict[str, Source], found: Sequence[IndexMapping], topology: Topology) -> list[str]:
    """Find the molecule of each index file, by its name, else as the only one it fits; returns the others."""
    others = []
    for raw in found:
        stem = raw.path.stem
        named = [name for name in (stem, stem.partition("_")[0]) if name in topology.molecule_types]
        fits = [n for n in _without_mapping(sources, topology) if raw.fits(topology.molecule_types[n])]
        names = named[:1] or fits
        if len(names) > 1:
            raise InputError(f"fits {' and '.join(names)}: name it as one of these (NAME.ndx)", path=raw.path)
        if not names:
            others.append(f"{stem} ({raw.path}, {len(raw.beads)} beads of atoms up to {max(raw.atoms) + 1})")
        for name in names:
            n_atoms = topology.molecule_types[name].n_atoms
            if name in sources:
                raise InputError(f"{name} has a mapping already, in {sources[name].paths[0]}", path=raw.path)
            if not raw.fits(topology.molecule_types[name]):
                need = f"its groups must hold all {n_atoms} atoms of {name} but hydrogens, and no others"
                raise InputError(need, path=raw.path)
            sources[name] = Source(index=raw, parts=((name, 1),))
            if not named:
                _say_found(name, sources[name])
    return others


def _add_residues(
    sources: dict[str, Source], found: Sequence[ResidueMapping], topology: Topology
) -> list[str]:
    """Put molecules together from mappings of their residues; returns mappings that were not used."""
    if not found:
        return []
    problems = []
    used: set[int] = set()
    counted = {name for name, count in topology.molecules if count} or set(topology.molecule_types)
    for name, moltype in topology.molecule_types.items():
        mapped = map_residues(moltype, found) if name not in sources and name in counted else None
        if mapped is None:
            continue
        problems += [Problem(text, found[0].path) for text in mapped.problems]
        sources[name] = Source(residues=mapped, parts=((name, 1),))
        used |= {id(mapping) for mapping in mapped.used}
        for note in mapped.notes:
            log.log(NOTICE, "%s", note)
    refuse(problems)
    left = dict.fromkeys(raw.name for raw in found if id(raw) not in used)
    return [f"residues {', '.join(left)}"] if left else []


def _read_all(paths: Iterable[Given]) -> list[Raw]:
    found: list[Raw] = []
    for given in paths:
        if isinstance(given, MappingABC) or (isinstance(given, str) and is_smiles(given)):
            found += mappings_of_python(given)
            continue
        if not isinstance(given, str | Path):
            raise InputError(f"mapping: found {given!r:.80}; {FORMS}")
        path = Path(given)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.name[0] not in ".#")
            inside = [raw for file in files for raw in _read_one(file, lenient=True)]
            if not inside:
                raise InputError(f"no mapping in this folder; a mapping is {KINDS}", path=path)
            found += inside
        else:
            found += _read_one(path)
    return found


def read_residue_mappings(path: Path) -> list[ResidueMapping]:
    """Read the mappings of residues in a file; it may have others.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    return [raw for raw in _read_one(path) if isinstance(raw, ResidueMapping)]


def _read_one(path: Path, *, lenient: bool = False) -> Sequence[Raw]:
    """Read a file; in a folder, leave out what is of another purpose (VOTCA's settings)."""
    check_file(path)
    if lenient and what_it_is(path):
        return []
    kind = kind_or_name(path) if lenient else kind_of(path)
    if isinstance(kind, str) or (lenient and kind is Kind.PYCGTOOL and path.suffix != ".map"):
        return []
    return _READERS[kind](path)


def _read_vermouth(path: Path) -> list[ResidueMapping]:
    found, modifications = read_vermouth(path)
    if modifications:
        log.info("%s: modifications of residues are left out: %s", path, ", ".join(modifications))
    return found


_READERS: dict[Kind, Callable[[Path], Sequence[Raw]]] = {
    Kind.VOTCA: read_votca,
    Kind.DEEPBACKMAP: lambda path: [read_map(path)],
    Kind.BACKWARD: read_backward,
    Kind.VERMOUTH: _read_vermouth,
    Kind.PYCGTOOL: read_pycgtool,
    Kind.FRAGMENTS: read_fragments,
    Kind.MEMBACK: read_memback,
    Kind.CGSMILES: read_smiles,
    Kind.INDEX: read_index_mapping,
}


def _add_owners(sources: dict[str, Source], given: list[Path]) -> None:
    beside = {p.parent / OWNERS for s in sources.values() if s.map is None for p in s.paths}
    for path in [*sorted(p for p in beside if p.is_file()), *given]:
        inside = {n: s for n, s in sources.items() if path.parent in {p.parent for p in s.paths}}
        scope = sources if path in given and not inside else inside
        for molecule, table in read_owners(path).items():
            if not molecule and len(scope) != 1:
                text = f"for which of {', '.join(scope) or 'no molecules'}? Write a line [ NAME ] before each"
                raise InputError(text, path=path)
            name = molecule or next(iter(scope))
            if name not in sources and path in given:
                raise InputError(f"[ {name} ] has no mapping; there are {', '.join(sources)}", path=path)
            if name in sources and (path in given or sources[name].map is None):
                sources[name].owners, sources[name].owners_path = table, path


def _build(source: Source, moltype: MoleculeType, *, problems: list[Problem]) -> Mapping | None:
    """Put a mapping together; what is wrong is added to ``problems``, then there is no mapping."""
    before = len(problems)
    names, types = _beads(source)
    owner, classes = _given_owners(source, moltype, names, problems=problems)
    weights = None
    if source.residues is not None:
        weights = source.residues.weights
    elif source.smiles is not None:
        weights = source.smiles[1].weights
    elif source.index is not None:
        weights = index_weights(source.index, moltype)
    if source.votca is not None:
        weights, wrong = votca_weights(source.votca, moltype)
        problems += [*source.votca.problems, *wrong]
    if len(problems) > before:
        return None
    if weights is None and source.map is not None:
        by_map = map_owners(source.map, moltype)[0]
        weights = mass_weights(by_map, moltype.masses, n_beads=len(names))
    assert weights is not None, "a source has a file"
    if owner is None:
        owner = _own_owners(source, weights, moltype)
        lost = [f"{i + 1} ({moltype.names[i]})" for i in np.flatnonzero(owner < 0)]
        if lost:
            text = f"atoms of {moltype.name} in no bead and not bonded to one: {', '.join(lost)}"
            problems.append(Problem(text, source.paths[0]))
            return None
    align, multiplicity = _orientation(source, weights, owner, moltype)
    cg_name = source.votca.name if source.votca and source.votca.name != moltype.name else ""
    stereo = source.residues.stereo if source.residues else ()
    parts = source.parts if sum(count for _, count in source.parts) > 1 else ()
    beads = names, types, weights, owner, align, multiplicity, classes
    return Mapping(moltype.name, *beads, cg_name, parts, stereo)


def _own_owners(source: Source, weights: sp.csr_matrix, moltype: MoleculeType) -> IntArray:
    """(atoms,) owners where no file gives them."""
    if source.residues is not None:
        return source.residues.owner
    if source.smiles is not None:
        return source.smiles[1].owner
    return derive_owners(weights, moltype.graph)


def _beads(source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if source.votca is not None:
        beads = source.votca.beads
        return tuple(b.name for b in beads), tuple(b.type for b in beads)
    if source.residues is not None:
        return source.residues.names, source.residues.types
    if source.smiles is not None:
        return source.smiles[0].beads, source.smiles[0].beads
    if source.index is not None:
        return source.index.beads, source.index.beads
    assert source.map is not None
    return bead_names(source.map), tuple(source.map.types[b] for b in sorted(source.map.types))


def _given_owners(
    source: Source, moltype: MoleculeType, names: tuple[str, ...], *, problems: list[Problem]
) -> tuple[IntArray | None, tuple[str, ...] | None]:
    owner, classes = None, None
    if source.map is not None:
        owner, classes, wrong = map_owners(source.map, moltype)
        problems += [*source.map.problems, *wrong]
        if len(source.map.types) != len(names):
            text = f"{len(source.map.types)} beads, but {len(names)} in {source.paths[0]}"
            problems.append(Problem(text, source.map.path))
    if source.owners is not None and len(set(names)) < len(names):
        text = f"names of beads of {moltype.name} occur more than once, so that none is named by {names[0]}"
        problems.append(Problem(text, source.owners_path))
    elif source.owners is not None:
        owner, texts = owner_array(source.owners, names, n_atoms=moltype.n_atoms)
        problems += [Problem(text, source.owners_path) for text in texts]
    return owner, classes


def _orientation(
    source: Source, weights: sp.csr_matrix, owner: IntArray, moltype: MoleculeType
) -> tuple[IntArray, IntArray]:
    align = default_alignment(weights, owner, moltype.graph)
    multiplicity = np.ones(weights.shape[0], np.int64)
    if source.map is not None:
        for bead, towards in source.map.align.items():
            align[bead] = towards
        for bead, times in source.map.multiplicity.items():
            multiplicity[bead] = times
    return align, multiplicity

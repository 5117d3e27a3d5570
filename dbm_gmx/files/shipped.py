"""Mappings that ship, for molecules that are given none: found by names of residues, atoms and beads."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.residues import (
    ION_FAMILIES,
    WATER,
    MappedResidues,
    ResidueMapping,
    map_residues,
    residue_stereo,
)
from dbm_gmx.chemistry.sides import real_beads
from dbm_gmx.chemistry.stereo import stated_states
from dbm_gmx.chemistry.topology import MoleculeType, Topology, molecule_counts
from dbm_gmx.chemistry.units_of_beads import parse_parts
from dbm_gmx.errors import InputError
from dbm_gmx.files.library import library_folders
from dbm_gmx.files.mappings import read_mappings, read_residue_mappings
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import Matching

log = logging.getLogger(__name__)

WATERS_OF_BEADS = {"W": 4, "WF": 4, "PW": 4, "SW": 3, "TW": 2}
"""Molecules of water in a bead, by molecule types of Martini."""


@dataclass(frozen=True)
class Shipped:
    """What was found for molecules without a mapping.

    Attributes
    ----------
    mappings
        Those that were given, and those that ship.
    matching
        What a user says of it, with aliases of water and ions.
    paths
        The files that mappings were taken from.
    """

    mappings: dict[str, BeadMapping]
    matching: Matching
    paths: tuple[Path, ...] = ()


def mapping_sets() -> list[Path]:
    """Files of mappings in the library of molecules, by their names; not those of the working directory."""
    folders = [folder for folder in library_folders() if folder != Path.cwd()]
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.map"), key=lambda path: path.stem) if folder.is_dir() else []:
            found.setdefault(path.stem, path)
    return list(found.values())


def find_set(path: Path) -> Path:
    """The file of a set of mappings that ships, by its name; any other path as it is."""
    if path.exists() or path.parent != Path() or path.suffix:
        return path
    return next((one for one in mapping_sets() if one.stem == path.name), path)


def with_shipped(
    cg: Topology, aa: Topology, mappings: Mapping[str, BeadMapping], matching: Matching
) -> Shipped:
    """Find mappings of molecules that have none, and what beads of water and ions stand for.

    A mapping that ships is taken for a molecule type if all its residues are in it, and if its beads have the
    names of a molecule type of beads.  Of several files the first one, if they say the same of the atoms.

    Parameters
    ----------
    cg, aa
        Beads and atoms.
    mappings
        Those that were given.
    matching
        What a user says of it.

    Raises
    ------
    InputError
        If several mappings fit equally well and differ.
    """
    aliases = (*matching.aliases, *_usual_aliases(cg, aa, mappings, matching))
    found = Shipped(dict(mappings), replace(matching, aliases=aliases))
    beads = [cg.molecule_types[name] for name in _counts(cg) if name not in matching.leave_out]
    for name in _without(aa, found):
        choice = _choose(aa.molecule_types[name], beads)
        if choice is None:
            continue
        path, bead_type = choice
        part = replace(aa, molecule_types={name: aa.molecule_types[name]}, molecules=((name, 1),))
        read = read_mappings([path], part)[name]
        log.log(NOTICE, "%s: mapping of %s that ships (%s)", name, path.stem, path)
        said = "" if bead_type in ("", name) else bead_type
        found.mappings[name] = replace(read, cg_molecule=said)
        found = replace(found, paths=tuple(dict.fromkeys([*found.paths, path])))
    return _with_stereo(aa, found)


def _with_stereo(aa: Topology, found: Shipped) -> Shipped:
    """Add what is known of stereocentres and double bonds that a mapping says nothing of."""
    known = [(path, _residues(path, path.stat().st_mtime_ns)) for path in mapping_sets()]
    mappings, paths = dict(found.mappings), [*found.paths]
    for name, mapping in found.mappings.items():
        moltype = aa.molecule_types.get(mapping.molecule)
        for path, residues in known if moltype is not None and not mapping.parts else ():
            assert moltype is not None
            more = tuple(residue_stereo(moltype, residues))
            own = stated_states(moltype, mapping.stereo)
            new = int(np.count_nonzero((own == 0) & (stated_states(moltype, more) != 0)))
            if new:
                mappings[name] = mapping = replace(mapping, stereo=(*more, *mapping.stereo))
                text = "%s: %d stereocentres or double bonds that its mapping does not define are as in %s"
                log.log(NOTICE, text, name, new, path)
                paths.append(path)
    return replace(found, mappings=mappings, paths=tuple(dict.fromkeys(paths)))


def _counts(topology: Topology) -> dict[str, int]:
    """Molecules of each type that are there."""
    return {name: count for name, count in molecule_counts(topology).items() if count}


def _without(aa: Topology, found: Shipped) -> list[str]:
    """Molecule types that need a mapping and have none."""
    mapped = {mapping.molecule for mapping in found.mappings.values() if not mapping.parts}
    mapped |= {part for mapping in found.mappings.values() for part, _ in mapping.parts}
    mapped |= {part for _, text in found.matching.aliases for part, _ in parse_parts(text)}
    return [
        name
        for name in _counts(aa)
        if name not in mapped and name not in found.matching.leave_out and aa.molecule_types[name].n_atoms > 1
    ]


# --- a mapping for a molecule --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fit:
    """A file that maps a molecule, and the molecule type of beads that it gives."""

    path: Path
    bead_type: str
    mapped: MappedResidues

    @property
    def atoms(self) -> object:
        """Which atoms make which beads."""
        return [sorted(row.indices.tolist()) for row in self.mapped.weights]


def _choose(moltype: MoleculeType, beads: Sequence[MoleculeType]) -> tuple[Path, str] | None:
    """The file that maps a molecule to beads that there are, and their molecule type."""
    fits, other = [], {}
    for path in mapping_sets():
        mapped = map_residues(moltype, _residues(path, path.stat().st_mtime_ns))
        if mapped is None or mapped.problems:
            continue
        here = [_Fit(path, cg.name, mapped) for cg in beads if _fits(cg, mapped.names)]
        fits += here
        if not here:
            other[path.stem] = mapped.names
    if not fits:
        for stem, names in other.items():
            text = "%s: the mapping of %s that ships has beads %s; there are no molecules of these beads"
            log.log(NOTICE, text, moltype.name, stem, _some(names))
        return None
    chosen = next((fit for fit in fits if fit.bead_type == moltype.name), fits[0])
    if any(fit.atoms != chosen.atoms for fit in fits):
        stems = ", ".join(dict.fromkeys(fit.path.stem for fit in fits))
        raise InputError(
            f"{moltype.name}: several mappings that ship have these beads, and differ ({stems}). "
            f"Say which: -m {chosen.path.stem}"
        )
    types = {fit.bead_type for fit in fits if fit.path == chosen.path}
    names = chosen.mapped.names
    whole = [
        cg
        for cg in beads
        if cg.name == chosen.bead_type and names in (_names(cg, frozenset(names)), _names(cg, ()))
    ]
    return chosen.path, chosen.bead_type if whole and len(types) == 1 else ""


def _some(names: Sequence[str]) -> str:
    return " ".join(names[:12]) + (" ..." if len(names) > 12 else "")


@lru_cache(maxsize=64)
def _residues(path: Path, _: int) -> tuple[ResidueMapping, ...]:
    """Mappings of a file; read again when it has changed."""
    return tuple(read_residue_mappings(path))


def _names(cg: MoleculeType, known: Collection[str]) -> tuple[str, ...]:
    """Names of the beads that have atoms; so have virtual sites with ``known`` names (SC3 of tryptophan)."""
    real = real_beads(cg)
    return tuple(name for name, here in zip(cg.names, real, strict=True) if here or name in known)


def _fits(cg: MoleculeType, names: tuple[str, ...]) -> bool:
    """Whether the beads of one are those of the other, or a part of them: chains may be merged."""
    ways = {_names(cg, frozenset(names)), _names(cg, ())}
    return any(mine and (_inside(names, mine) or (len(mine) > 1 and _inside(mine, names))) for mine in ways)


def _inside(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    """Whether names follow one another somewhere among others."""
    n = len(part)
    return any(whole[k : k + n] == part for k in range(len(whole) - n + 1))


# --- water and ions ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Left:
    """Molecules that no alias is about: how many there are of each type."""

    beads: Mapping[str, int]
    atoms: Mapping[str, int]


def _usual_aliases(
    cg: Topology, aa: Topology, mappings: Mapping[str, BeadMapping], matching: Matching
) -> Iterator[tuple[str, str]]:
    """What beads of water and ions stand for, as ``--alias`` says it."""
    gone = {name for name, _ in matching.aliases} | set(matching.leave_out)
    gone |= {part for _, text in matching.aliases for part, _ in parse_parts(text)}
    beads = {n: c for n, c in _counts(cg).items() if n not in gone and n in (matching.only or (n,))}
    atoms = {n: c for n, c in _counts(aa).items() if n not in gone}
    if matching.solvate:  # water and ions are listed later
        atoms = {**dict.fromkeys((n for n in aa.molecule_types if n not in gone), 0), **atoms}
    left = _Left(beads, atoms)
    yield from _ions(aa, left)
    yield from _water(cg, aa, left, {m.cg_molecule or m.molecule: bool(m.parts) for m in mappings.values()})


def _ions(aa: Topology, left: _Left) -> Iterator[tuple[str, str]]:
    """Ions of one atom under another name of the same ion."""
    for name in left.beads:
        for family in ION_FAMILIES:
            if name.upper() in family and name not in left.atoms:
                there = [n for n in left.atoms if n.upper() in family and aa.molecule_types[n].n_atoms == 1]
                if len(there) == 1:
                    yield name, there[0]


def _water(cg: Topology, aa: Topology, left: _Left, mapped: Mapping[str, bool]) -> Iterator[tuple[str, str]]:
    """Beads of several molecules of water, or of one if there are as many.

    Parameters
    ----------
    left
        Molecules that no alias is about.
    mapped
        Molecule types of beads that a mapping says are water; whether several molecules.
    """
    there = [n for n in left.atoms if n.upper() in WATER and aa.molecule_types[n].n_atoms > 1]
    there = [n for n in there if left.atoms[n]] or there
    waters = {
        name: WATERS_OF_BEADS.get(name, 1)
        for name in left.beads
        if name in WATERS_OF_BEADS or (name.upper() in WATER and cg.molecule_types[name].n_atoms == 1)
    }
    if len(there) != 1 or not waters or any(mapped.get(name, False) for name in waters):
        return
    name = there[0]
    beads, atoms = sum(left.beads[n] for n in waters), left.atoms[name]
    needed = sum(left.beads[n] * each for n, each in waters.items())
    if atoms != needed and not mapped.keys().isdisjoint(waters):
        return
    aliases = {n: name if atoms == beads or each == 1 else f"{each} {name}" for n, each in waters.items()}
    log.log(NOTICE, "beads of water: %s", ", ".join(f"{n} = {text}" for n, text in aliases.items()))
    yield from aliases.items()

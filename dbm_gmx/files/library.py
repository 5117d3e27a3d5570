"""The library of molecules: topologies and mappings looked up by molecule type."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.topology import MoleculeType, NonBonded, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.share import share_path
from dbm_gmx.files.top import read_topology

VARIABLE = "DBM_GMX_LIB"


def library_folders() -> list[Path]:
    """Return the folders searched: working directory, ``$DBM_GMX_LIB`` (colon separated), the package's."""
    given = [Path(p) for p in os.environ.get(VARIABLE, "").split(os.pathsep) if p]
    return [Path.cwd(), *given, share_path("molecules")]


def find_molecules(names: Iterable[str], *, search: Sequence[Path] | None = None) -> dict[str, Path]:
    """Find the library entries of molecule types.

    An entry is a folder ``NAME/`` with ``topol.top``, complete in itself and defining molecule type
    NAME, and ``mapping.xml`` or ``NAME.map``; ``owners.txt`` and ``conf.gro`` may lie beside them.

    Parameters
    ----------
    names
        Of the molecule types.
    search
        Folders in which entries are looked for, the first find counts; :func:`library_folders`
        if not given.

    Raises
    ------
    InputError
        Listing all that were not found, where they were looked for and what to do.
    """
    folders = library_folders() if search is None else [Path(p) for p in search]
    wanted = list(dict.fromkeys(names))
    found = {n: next((f / n for f in folders if _is_entry(f / n)), None) for n in wanted}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        looked = ", ".join(f"{f}/{missing[0]}" for f in folders)
        raise InputError(
            f"not in the library of molecules: {', '.join(missing)}. Looked for folders with topol.top and "
            f"mapping.xml (or NAME.map) at {looked}. Set {VARIABLE} to a folder of such folders, or give "
            "the files: dbm-gmx backmap ... -p topol.top -m mapping.xml"
        )
    return {name: path for name, path in found.items() if path is not None}


def _is_entry(path: Path) -> bool:
    mapped = (path / "mapping.xml").is_file() or (path / f"{path.name}.map").is_file()
    return mapped and (path / "topol.top").is_file()


def load_library(
    cg: Topology, *, search: Sequence[Path] | None = None
) -> tuple[Topology, dict[str, Mapping]]:
    """Return the atomistic topology and the mappings of a CG system from the library.

    Parameters
    ----------
    cg
        Its ``molecules`` name the entries and give the order and the counts.
    search
        As in :func:`find_molecules`.

    Raises
    ------
    InputError
        If a molecule is not found, or if entries do not go together: their ``[ defaults ]`` and the
        parameters of atom types of the same name must agree.
    """
    names = list(dict.fromkeys(name for name, count in cg.molecules if count))
    moltypes: dict[str, MoleculeType] = {}
    mappings: dict[str, Mapping] = {}
    parts: list[tuple[Path, NonBonded]] = []
    for name, folder in find_molecules(names, search=search).items():
        entry = _read_entry(folder / "topol.top", name)
        moltypes[name] = entry.molecule_types[name]
        mappings |= read_mappings([folder], entry)
        parts.append((folder, _used(entry, folder)))
    molecules = tuple((name, count) for name, count in cg.molecules if count)
    return Topology(moltypes, molecules, _merge(parts) if parts else None), mappings


def library_conformers(topology: Topology) -> dict[str, Path]:
    """Return the ``conf.gro`` of the molecule types of a system read from the library, where there is one."""
    folders = find_molecules(topology.molecule_types)
    return {name: folder / "conf.gro" for name, folder in folders.items() if (folder / "conf.gro").is_file()}


def _read_entry(path: Path, name: str) -> Topology:
    entry = read_topology(path)
    if name not in entry.molecule_types:
        raise InputError(
            f"defines {', '.join(entry.molecule_types) or 'no molecule type'}, not {name} as the folder says",
            path=path,
        )
    return Topology({name: entry.molecule_types[name]}, ((name, 1),), entry.nonbonded, path)


def _used(entry: Topology, folder: Path) -> NonBonded:
    """Keep the atom types that occur: what an entry does not use cannot be in conflict."""
    full = entry.nonbonded
    if full is None:
        raise InputError(
            "no [ defaults ] and [ atomtypes ]; an entry must be complete", path=folder / "topol.top"
        )
    types = {str(t) for moltype in entry.molecule_types.values() for t in moltype.attribute("type")}
    rows = [i for i, name in enumerate(full.types) if name in types]
    grid = np.ix_(rows, rows)
    return _like(full, tuple(full.types[i] for i in rows), full.c6[grid], full.c12[grid])


def _like(model: NonBonded, types: tuple[str, ...], c6: FloatArray, c12: FloatArray) -> NonBonded:
    return NonBonded(types, c6, c12, model.rule, model.generate_pairs, model.fudge_lj, model.fudge_qq)


def _merge(parts: Sequence[tuple[Path, NonBonded]]) -> NonBonded:
    """Join the parameters of all entries; pairs of types that no entry has follow the combination rule."""
    for one, two in combinations(parts, 2):
        _agree(one, two)
    types = tuple(dict.fromkeys(t for _, part in parts for t in part.types))
    c6, c12 = np.zeros((2, len(types), len(types)))
    known = np.zeros((len(types), len(types)), bool)
    for _, part in parts:
        rows = [types.index(t) for t in part.types]
        grid = np.ix_(rows, rows)
        c6[grid], c12[grid], known[grid] = part.c6, part.c12, True
    model = parts[0][1]
    by_rule = _combined(np.diag(c6), np.diag(c12), rule=model.rule)
    return _like(model, types, np.where(known, c6, by_rule[0]), np.where(known, c12, by_rule[1]))


def _agree(one: tuple[Path, NonBonded], two: tuple[Path, NonBonded]) -> None:
    (path_a, a), (path_b, b) = one, two
    defaults = [(n.rule, n.generate_pairs, n.fudge_lj, n.fudge_qq) for n in (a, b)]
    if defaults[0] != defaults[1]:
        text = f"[ defaults ] {defaults[1]} differ from {defaults[0]} of {path_a}; they cannot be one system"
        raise InputError(text, path=path_b)
    common = [t for t in a.types if t in b.types]
    rows_a, rows_b = ([n.types.index(t) for t in common] for n in (a, b))
    for name, first, second in (("C6", a.c6, b.c6), ("C12", a.c12, b.c12)):
        same = np.isclose(first[np.ix_(rows_a, rows_a)], second[np.ix_(rows_b, rows_b)], rtol=1e-6, atol=0)
        if not same.all():
            i, j = np.argwhere(~same)[0]
            raise InputError(
                f"{name} of atom types {common[i]} and {common[j]} is {second[rows_b[i], rows_b[j]]:g}, in "
                f"{path_a} {first[rows_a[i], rows_a[j]]:g}; rename the types of one",
                path=path_b,
            )


def _combined(c6: FloatArray, c12: FloatArray, *, rule: int) -> tuple[FloatArray, FloatArray]:
    """Return (t, t) C6 and C12 by combination rule (GROMACS manual, "Non-bonded interactions")."""
    if rule != 2:  # rules 1 and 3 are the same geometric means once written in C6 and C12
        return np.sqrt(np.outer(c6, c6)), np.sqrt(np.outer(c12, c12))
    some = (c6 > 0) & (c12 > 0)
    safe6, safe12 = np.where(some, c6, 1.0), np.where(some, c12, 1.0)
    sigma = (safe12 / safe6) ** (1 / 6)
    epsilon = np.where(some, safe6**2 / (4 * safe12), 0.0)
    mean6 = (0.5 * (sigma[:, None] + sigma)) ** 6
    depth = 4 * np.sqrt(np.outer(epsilon, epsilon))
    return depth * mean6, depth * mean6**2

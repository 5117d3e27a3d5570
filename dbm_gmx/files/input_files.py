"""All files that a command reads: what a record of its run is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.files.includes import source_files
from dbm_gmx.files.library import find_molecules
from dbm_gmx.files.mappings import OWNERS
from dbm_gmx.options import AtomInputs, Inputs


def files_of_beads(inputs: Inputs, topology: Topology) -> list[Path]:
    """Files that say what is to be rebuilt.

    Parameters
    ----------
    topology
        Of the atoms: its molecules are looked up in the library if no files are given.
    """
    given = [inputs.structure, inputs.trajectory, inputs.reference]
    if isinstance(inputs.tacticity, Path):
        given.append(inputs.tacticity)
    given.append(inputs.index)
    found = [path for path in given if path is not None]
    for top in (inputs.cg_topology, inputs.topology):
        found += [] if top is None else source_files(top, inputs.include)
    mappings = list(inputs.mappings)
    if inputs.molecules.none_given:
        mappings += find_molecules(name for name, _ in topology.molecules).values()
    return [*found, *_mapping_files(mappings), *inputs.owners]


def files_of_atoms(inputs: AtomInputs, more: Sequence[Path | None] = ()) -> list[Path]:
    """Files that say what the atoms and their mapped centres are."""
    found = [path for path in (inputs.structure, inputs.trajectory, *more) if path is not None]
    found += [] if inputs.topology is None else source_files(inputs.topology, inputs.include)
    return [*found, *_mapping_files(inputs.mappings)]


def _mapping_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield mapping files, those in folders, and what lies beside them."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.is_file() and one.suffix != ".md")
            continue
        yield path
        if (beside := path.parent / OWNERS).is_file():
            yield beside

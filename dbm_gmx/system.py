"""The system to be rebuilt: its beads matched with its atoms, and the plan for each molecule type."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dbm_gmx.channels import Channels, FeatureTable, atom_classes, feature_table
from dbm_gmx.errors import InputError
from dbm_gmx.files.library import library_conformers, load_library
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.structure import read_cg_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.frame import Float32Array, FloatArray, Frame, make_whole, whole_molecules
from dbm_gmx.layout import Layout, make_layout
from dbm_gmx.mapping import Mapping as BeadMapping
from dbm_gmx.mapping import Match, bead_graph, map_positions, match_beads
from dbm_gmx.plan import Plan, make_plan
from dbm_gmx.topology import Topology

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class System:
    """All that is known of a system besides positions.

    Attributes
    ----------
    topology
        Atomistic.
    mappings, plans
        By molecule type.
    matches
        Runs of equal molecules in the order of both systems.
    conformers
        By molecule type: a file with one molecule whose stereocentres are as they should be.
    """

    topology: Topology
    mappings: Mapping[str, BeadMapping]
    plans: Mapping[str, Plan]
    matches: tuple[Match, ...]
    conformers: Mapping[str, Path] = field(default_factory=dict)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.topology.n_atoms

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return sum(match.count * len(match.mapping.names) for match in self.matches)


def read_system(
    structure: str | Path,
    *,
    cg_topology: str | Path | None = None,
    topology: str | Path | None = None,
    mappings: Sequence[str | Path] = (),
    owners: Sequence[str | Path] = (),
    order: str = "depth-first",
    defines: Sequence[str] = (),
    include: Sequence[str | Path] = (),
) -> tuple[System, Frame]:
    """Read beads, atoms and mappings, and match them.

    Parameters
    ----------
    structure
        CG ``.tpr``, or ``.gro``/``.pdb`` with ``cg_topology``.
    topology, mappings
        Atomistic ``.top`` and mapping files; both from the library of molecules if neither is given.
    owners
        Owners files.
    order
        Order of placing, see :func:`~dbm_gmx.plan.make_plan`.
    defines, include
        For the preprocessor of the ``.top``, as in an ``.mdp`` (``-D`` names and folders).

    Returns
    -------
    The system, and the beads' positions in ``structure``.

    Raises
    ------
    InputError
        If files cannot be read or do not go together.
    """
    cg, frame = read_cg_system(structure, cg_topology)
    conformers: dict[str, Path] = {}
    if topology is None and not mappings:
        atomistic, found = load_library(cg)
        conformers = library_conformers(atomistic)
    elif topology is not None and mappings:
        atomistic = read_topology(topology, defines=defines, include=include)
        found = read_mappings(mappings, atomistic, owners=owners)
    else:
        missing, given = ("topology (-p)", "mapping") if topology is None else ("mapping (-m)", "topology")
        raise InputError(
            f"a {given} without a {missing}: give both, or neither to use the library of molecules"
        )
    return replace(make_system(atomistic, found, cg, order=order), conformers=conformers), frame


def make_system(
    topology: Topology, mappings: Mapping[str, BeadMapping], cg: Topology, *, order: str = "depth-first"
) -> System:
    """Match atoms and beads and plan the reconstruction."""
    matches = match_beads(cg, topology, mappings)
    plans = {m.kind.name: make_plan(m.kind, m.mapping, order=order) for m in matches}
    _compare_bonds(cg, matches)
    return System(topology, mappings, plans, matches)


def _compare_bonds(cg: Topology, matches: Sequence[Match]) -> None:
    """Say where the CG bonds are not those that follow from the atoms; the latter are used."""
    for match in {m.kind.name: m for m in matches}.values():
        name = match.mapping.cg_molecule or match.kind.name
        if name not in cg.molecule_types:
            continue
        theirs = {tuple(b) for b in cg.molecule_types[name].bonds.tolist()}
        ours = {(min(e), max(e)) for e in bead_graph(match.mapping, match.kind).edges}
        if theirs and theirs != ours:
            differ = ", ".join(f"{i + 1}-{j + 1}" for i, j in sorted(theirs ^ ours)[:5])
            log.info(
                "%s: CG bonds are taken from the mapped atoms, not from the CG topology (%s)", name, differ
            )


def classes_of(system: System, channels: Channels | None = None) -> dict[str, tuple[str, ...]]:
    """Atom classes by molecule type: those of the mapping file, else of the molecular graph."""
    overrides = channels.classes if channels else {}
    return {
        m.kind.name: m.mapping.classes or atom_classes(m.kind, overrides)
        for m in {m.kind.name: m for m in system.matches}.values()
    }


def bead_types_of(system: System) -> set[str]:
    """Bead types that occur."""
    return {bead for match in system.matches for bead in match.mapping.types}


def system_layout(system: System, channels: Channels) -> tuple[Layout, FeatureTable]:
    """The arrays of one frame, and the features of what occurs in the system.

    Raises
    ------
    InputError
        If the channels do not show an atom class or bead type of the system.
    """
    classes = classes_of(system, channels)
    table = feature_table(channels, [c for cs in classes.values() for c in cs], sorted(bead_types_of(system)))
    return make_layout(system.matches, system.plans, classes, table=table), table


def whole_beads(system: System, frame: Frame) -> Float32Array:
    """(m, 3) beads with all molecules whole; the first bead of each stays where it is."""
    parts = []
    for match in system.matches:
        n = len(match.mapping.names)
        rows = frame.positions[match.first_bead : match.first_bead + match.count * n]
        edges = np.array(bead_graph(match.mapping, match.kind).edges, np.int64).reshape(-1, 2)
        parts.append(make_whole(rows.reshape(-1, n, 3), frame.box, edges).reshape(-1, 3))
    return np.concatenate(parts)


def whole_atoms(system: System, frame: Frame) -> Float32Array:
    """(n, 3) atoms with all molecules whole."""
    return whole_molecules(system.topology, frame)


def mapped_beads(system: System, atoms: FloatArray | Float32Array) -> FloatArray:
    """(m, 3) beads of whole atoms (n, 3), as the mapping weighs them."""
    parts = []
    for match in system.matches:
        parts.append(map_positions(match.mapping, match.molecules(atoms)).reshape(-1, 3))
    return np.concatenate(parts)

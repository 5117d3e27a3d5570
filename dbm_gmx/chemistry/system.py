"""The system to be rebuilt: its beads matched with its atoms."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, Positions
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.joined import join_matches, join_topology
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import (
    Match,
    bead_graph,
    check_owners,
    default_alignment,
    map_positions,
    mapped_molecules,
    match_beads,
)
from dbm_gmx.chemistry.periodic import make_whole, minimum_image, refuse_periodic, whole_molecules
from dbm_gmx.chemistry.topology import HELD, MoleculeType, Topology, blocks, chemical_bonds
from dbm_gmx.chemistry.virtual_sites import place_in_molecules

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class System:
    """All that is known of a system besides positions.

    Attributes
    ----------
    topology
        Atomistic.
    mappings
        By molecule type.
    matches
        Runs of equal molecules in the order of both systems.
    conformers
        By molecule type: a file with one molecule whose stereocentres are as they should be.
    """

    topology: Topology
    mappings: Mapping[str, BeadMapping]
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


def make_system(topology: Topology, mappings: Mapping[str, BeadMapping], cg: Topology) -> System:
    """Match atoms and beads.

    Raises
    ------
    InputError
        If they do not fit, if a bead owns no atom or an atom has no owner.
    """
    matches = match_beads(cg, topology, mappings)
    check_owners(matches)
    _compare_bonds(cg, matches)
    joined = join_topology(topology)
    if joined is not topology:
        held, matches = join_matches(topology, joined, matches)
        mappings = {**mappings, **held}
        log.info("molecules with interactions between them are treated as one: %s", _joined_names(joined))
    return System(joined, mappings, matches)


def _joined_names(topology: Topology) -> str:
    """Molecule types that are made of several molecules, and how many atoms they have."""
    held = [
        moltype
        for moltype in {moltype.name: moltype for moltype, *_ in blocks(topology)}.values()
        if any(how == HELD for *_, how in moltype.graph.edges(data="kind"))
    ]
    return ", ".join(f"{moltype.name} ({moltype.n_atoms} atoms)" for moltype in held)


def atomistic_system(topology: Topology, mappings: Mapping[str, BeadMapping]) -> System:
    """A system of atoms, of which no beads are known but those of the mappings."""
    chosen = {
        name: mappings.get(name) or _one_bead(moltype) for name, moltype in topology.molecule_types.items()
    }
    return System(topology, chosen, mapped_molecules(topology, chosen))


def _one_bead(moltype: MoleculeType) -> BeadMapping:
    """A whole molecule as a bead, at its centre of mass."""
    weights = sp.csr_matrix(moltype.masses[None] / moltype.masses.sum())
    owner = np.zeros(moltype.n_atoms, np.int64)
    align = default_alignment(weights, owner, moltype.graph)
    return BeadMapping(
        moltype.name, (moltype.name,), (moltype.name,), weights, owner, align, np.ones(1, np.int64)
    )


def with_counts(system: System, counts: Sequence[int]) -> System:
    """The system with so many molecules in each of its runs; runs of none are left out."""
    matches, bead, atom = [], 0, 0
    for match, count in zip(system.matches, counts, strict=True):
        if count:
            matches.append(Match(match.moltype, match.mapping, count, first_bead=bead, first_atom=atom))
            bead += count * len(match.mapping.names)
            atom += count * match.moltype.n_atoms
    topology = replace(
        system.topology, molecules=tuple((match.moltype.name, match.count) for match in matches)
    )
    return replace(system, topology=topology, matches=tuple(matches))


def _compare_bonds(cg: Topology, matches: Sequence[Match]) -> None:
    """Say where the CG bonds are not those that follow from the atoms; the latter are used."""
    for match in {m.moltype.name: m for m in matches}.values():
        name = match.mapping.cg_molecule or match.moltype.name
        if name not in cg.molecule_types:
            continue
        theirs = {tuple(b) for b in cg.molecule_types[name].bonds.tolist()}
        ours = {(min(e), max(e)) for e in bead_graph(match.mapping, match.moltype).edges}
        if theirs and theirs != ours:
            differ = ", ".join(f"{i + 1}-{j + 1}" for i, j in sorted(theirs ^ ours)[:5])
            log.info(
                "%s: CG bonds are taken from the mapped atoms, not from the CG topology (%s)", name, differ
            )


def whole_beads(system: System, frame: Frame) -> Float32Array:
    """(m, 3) beads with all molecules whole; the first bead of each stays where it is.

    Raises
    ------
    InputError
        If a molecule is bonded to an image of its own.
    """
    parts = []
    for match in system.matches:
        edges = np.array(bead_graph(match.mapping, match.moltype).edges, np.int64).reshape(-1, 2)
        whole = make_whole(match.beads(frame.positions), frame.box, edges)
        refuse_periodic(whole, frame.box, edges, f"{match.moltype.name} (beads)")
        parts.append(whole.reshape(-1, 3))
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


def place_virtual_sites(system: System, atoms: FloatArray) -> None:
    """Put the virtual sites of whole molecules (n, 3) where their atoms say (in place)."""
    for match in system.matches:
        place_in_molecules(match.moltype, match.molecules(atoms))


def map_frame(matches: tuple[Match, ...], frame: Frame) -> Float32Array:
    """Map a frame.

    Returns
    -------
    (m, 3) beads, nm, of molecules made whole about their first atom.

    Raises
    ------
    InputError
        If a molecule is bonded to an image of its own.
    """
    parts = []
    for match in matches:
        whole = make_whole(match.molecules(frame.positions), frame.box, match.moltype.bonds)
        refuse_periodic(whole, frame.box, match.moltype.bonds, match.moltype.name)
        parts.append(map_positions(match.mapping, whole).reshape(-1, 3))
    return np.concatenate(parts).astype(np.float32)


def copies_of_runs(system: System) -> Iterator[tuple[Match, slice]]:
    """Yield each run of molecules and which of the copies of its type these are."""
    copies: dict[str, int] = {}
    for match in system.matches:
        before = copies.get(match.moltype.name, 0)
        copies[match.moltype.name] = before + match.count
        yield match, slice(before, before + match.count)


def runs_of_molecules(system: System, atoms: Positions) -> Iterator[tuple[MoleculeType, slice, Positions]]:
    """Yield molecule type, which of its copies these are, and atoms (count, n, 3) of each run."""
    for match, copies in copies_of_runs(system):
        yield match.moltype, copies, match.molecules(atoms)


def deviation(system: System, atoms: Positions, beads: Positions, box: FloatArray) -> FloatArray:
    """Return (m,) distances, nm, between the mapped atoms (n, 3) and the beads (m, 3) they were made for.

    Atoms must be whole; each distance is that to the nearest image.
    """
    apart = mapped_beads(system, np.asarray(atoms, np.float64)) - beads
    return np.asarray(np.linalg.norm(minimum_image(apart, box), axis=1), np.float64)


def longest_bond(system: System, atoms: Positions) -> float:
    """Return the length of the longest chemical bond of whole atoms (n, 3), nm; 0 if there is none."""
    longest = 0.0
    for moltype, _, rows in runs_of_molecules(system, atoms):
        i, j = chemical_bonds(moltype).T
        lengths = np.linalg.norm(rows[:, j] - rows[:, i], axis=-1)
        longest = max(longest, float(lengths.max(initial=0.0)))
    return longest

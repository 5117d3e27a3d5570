"""The system to be rebuilt: its beads matched with its atoms."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, IntArray, Positions
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.joined import join_matches, join_topology
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import (
    Match,
    bead_graph,
    centre_mapping,
    check_owners,
    map_positions,
    mapped_molecules,
)
from dbm_gmx.chemistry.matching import match_beads
from dbm_gmx.chemistry.periodic import (
    arms_of,
    make_whole,
    minimum_image,
    through_the_box,
    together,
    whole_molecules,
)
from dbm_gmx.chemistry.sides import Alike
from dbm_gmx.chemistry.solvate import Solvent
from dbm_gmx.chemistry.topology import HELD, MoleculeType, Topology, blocks, chemical_bonds
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.chemistry.virtual_sites import place_in_molecules
from dbm_gmx.options import Matching

log = logging.getLogger(__name__)

DIGITS = 1000.0
"""Steps to a nm of positions in files."""


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
    beads
        (m,) rows of the beads among those of the coarse-grained system; all of them if ``None``.
    listed
        The same atoms as molecules of a ``.top``, where some of ``topology`` are several of these.
    shipped
        Files that ship with the package and that mappings are from.
    solvent
        What is put in besides the molecules that have beads.
    """

    topology: Topology
    mappings: Mapping[str, BeadMapping]
    matches: tuple[Match, ...]
    conformers: Mapping[str, Path] = field(default_factory=dict)
    beads: IntArray | None = None
    listed: Topology | None = None
    shipped: tuple[Path, ...] = ()
    solvent: Solvent | None = None

    def __repr__(self) -> str:
        """Molecules, atoms and beads."""
        runs = ", ".join(f"{match.count} {match.moltype.name}" for match in self.matches)
        return f"<System of {runs}: {self.n_atoms} atoms, {self.n_beads} beads>"

    @property
    def written(self) -> Topology:
        """The molecules as files list them."""
        return self.listed or self.topology

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.topology.n_atoms

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return sum(match.count * len(match.mapping.names) for match in self.matches)


def make_system(
    topology: Topology,
    mappings: Mapping[str, BeadMapping],
    cg: Topology,
    matching: Matching | None = None,
) -> System:
    """Match atoms and beads; see :func:`~dbm_gmx.chemistry.matching.match_beads`.

    Raises
    ------
    InputError
        If they do not fit, if a bead owns no atom or an atom has no owner.
    """
    found = match_beads(cg, topology, mappings, matching)
    check_owners(found.matches)
    _compare_bonds(cg, found.alike)
    system = System(
        found.topology,
        {**mappings, **found.mappings},
        found.matches,
        beads=None if np.array_equal(found.beads, np.arange(cg.n_atoms)) else found.beads,
        listed=found.written,
    )
    joined = join_topology(system.topology)
    if joined is system.topology:
        return system
    held, matches = join_matches(system.topology, joined, system.matches)
    log.info("molecules with interactions between them are treated as one: %s", _joined_names(joined))
    return replace(system, topology=joined, mappings={**system.mappings, **held}, matches=matches)


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
        name: mappings.get(name) or centre_mapping(moltype)
        for name, moltype in topology.molecule_types.items()
    }
    return System(topology, chosen, mapped_molecules(topology, chosen))


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
    return replace(system, topology=topology, matches=tuple(matches), beads=None, listed=None)


def _compare_bonds(cg: Topology, pairs: Sequence[Alike]) -> None:
    """Say where the CG bonds are not those that follow from the atoms; the latter are used."""
    for alike in {(a.bead_types, a.moltype.name): a for a in pairs if a.whole}.values():
        (name,) = alike.bead_types
        if cg.molecule_types[name].n_atoms != len(alike.mapping.names):
            continue
        theirs = {tuple(b) for b in cg.molecule_types[name].bonds.tolist()}
        order = alike.beads[0] - alike.beads[0].min()
        graph = bead_graph(alike.mapping, alike.moltype)
        ours = {tuple(sorted((int(order[i]), int(order[j])))) for i, j in graph.edges}
        if theirs and theirs != ours:
            differ = ", ".join(f"{i + 1}-{j + 1}" for i, j in sorted(theirs ^ ours)[:5])
            log.info(
                "%s: CG bonds are taken from the mapped atoms, not from the CG topology (%s)", name, differ
            )


def whole_atoms(system: System, frame: Frame) -> Float32Array:
    """(n, 3) atoms with all molecules whole."""
    return whole_molecules(system.topology, frame).positions


def as_in_files(positions: Float32Array) -> Float32Array:
    """Positions to a thousandth of a nm, which every kind of file holds."""
    return np.asarray(np.rint(positions.astype(np.float64) * DIGITS) / DIGITS, np.float32)


def carried_along(system: System, atoms: Frame, before: Frame, now: Frame) -> Float32Array:
    """Atoms (n, 3) of a frame, nm, each moved as the bead that owns it, between two frames of whole beads.

    What comes out is the same whether they are as :func:`as_in_files` gives them or were read from a file.
    """
    positions = as_in_files(atoms.positions).astype(np.float64)
    for match in system.matches:
        moved = match.beads(now.positions).astype(np.float64) - match.beads(before.positions)
        match.molecules(positions)[:] += moved[:, match.mapping.owner]
    return positions.astype(np.float32)


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


def map_frame(matches: tuple[Match, ...], frame: Frame) -> Frame:
    """Map a frame.

    Returns
    -------
    The beads, of molecules made whole about their first atom; or, where these are bonded to images of
    their own, of atoms that are whole for each bead.
    """
    parts, winds = [], False
    for match in matches:
        whole = make_whole(match.molecules(frame.positions), frame.box, match.moltype.bonds)
        if frame.free or not through_the_box(whole, frame.box, match.moltype.bonds).any():
            parts.append(map_positions(match.mapping, whole).reshape(-1, 3))
            continue
        winds = True
        weights, bonds = match.mapping.weights.tocsr(), match.moltype.bonds
        beads = np.empty((match.count, weights.shape[0], 3))
        for bead, (begin, end) in enumerate(pairwise(weights.indptr.tolist())):
            atoms = weights.indices[begin:end]
            rows = together(whole, atoms, frame.box, bonds, match.mapping.names[bead])
            beads[:, bead] = weights.data[begin:end] @ rows
        parts.append(beads.reshape(-1, 3))
    positions = np.concatenate([np.zeros((0, 3)), *parts]).astype(np.float32)
    return replace(frame, positions=positions, winds=winds)


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


def longest_bond(system: System, atoms: Positions, lattice: Lattice | None = None) -> float:
    """Return the length of the longest chemical bond of whole atoms (n, 3), nm; 0 if there is none."""
    longest = 0.0
    for moltype, _, rows in runs_of_molecules(system, atoms):
        lengths = np.linalg.norm(arms_of(rows, chemical_bonds(moltype), lattice), axis=-1)
        longest = max(longest, float(lengths.max(initial=0.0)))
    return longest

"""Which atoms make a bead, and which bead each atom is rebuilt with."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import networkx as nx
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks, own_masses
from dbm_gmx.errors import InputError

TIE = 0.01  # shares this close are a tie: masses in mapping files are rounded


@dataclass(frozen=True, eq=False)
class Mapping:
    """The mapping of one molecule type.

    Weights and owners are two different things: a bead's site may take weight from atoms that
    belong to another bead, and an atom may have no weight at all.

    Attributes
    ----------
    molecule
        Name of the molecule type.
    names, types
        Of the beads, in the order of the CG molecule.
    weights
        (beads, atoms) sparse matrix, rows add up to 1: a bead's position is ``weights @ positions``.
    owner
        (atoms,) the bead each atom is rebuilt with.
    align
        (beads,) the bead towards which the local z axis of each bead points; -1 where there is none.
    multiplicity
        (beads,) how often a bead's sample counts in training.
    classes
        Atom classes where the mapping file gives them (deepBackmap ``.map``), else ``None``.
    cg_molecule
        Name of the molecule type in the CG topology where it differs from ``molecule``, else ``""``.
    parts
        Molecule types, and how many of each, where ``molecule`` is several that the beads stand for.
    stereo
        What the mapping file says of stereocentres and bonds: ``chiral``, ``cis`` or ``trans``, and rows of
        atoms (:func:`~dbm_gmx.chemistry.stereo.stated_states`).
    """

    molecule: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    weights: sp.csr_matrix
    owner: IntArray
    align: IntArray
    multiplicity: IntArray
    classes: tuple[str, ...] | None = None
    cg_molecule: str = ""
    parts: tuple[tuple[str, int], ...] = ()
    stereo: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, eq=False)
class Match:
    """A run of equal molecules in the CG and in the atomistic system.

    Attributes
    ----------
    moltype, mapping
        The atomistic molecule type and its mapping.
    count
        Number of molecules.
    first_bead, first_atom
        Rows at which the run starts in each system.
    """

    moltype: MoleculeType
    mapping: Mapping
    count: int
    first_bead: int
    first_atom: int

    @property
    def first_atoms(self) -> IntArray:
        """(count,) row of the first atom of each molecule."""
        return self.first_atom + self.moltype.n_atoms * np.arange(self.count)

    def molecules(self, atoms: Array) -> Array:
        """Of the atoms (n, 3) of the system those of the run, (count, atoms, 3); an array of any library."""
        every: Any = atoms
        n = self.moltype.n_atoms
        found: Array = every[self.first_atom : self.first_atom + self.count * n].reshape(-1, n, 3)
        return found

    def beads(self, positions: Array) -> Array:
        """Of the beads (m, 3) of the system those of the run, (count, beads, 3)."""
        every: Any = positions
        n = len(self.mapping.names)
        found: Array = every[self.first_bead : self.first_bead + self.count * n].reshape(-1, n, 3)
        return found


Array = TypeVar("Array")


def derive_owners(weights: sp.csr_matrix, graph: nx.Graph) -> IntArray:
    """Say which bead each atom is rebuilt with, where no file does.

    An atom goes to the bead in which it has the largest share, ties to the first bead; an atom of
    no weight to the bead of the nearest atom with one along the bonds, ties again to the first.
    A share is weight per mass compared with the largest of that bead: 1/2 for an atom that gives
    half of its mass to a bead which has others whole, 1 for the atom of a one-atom bead.  It does
    not depend on how a bead's weights are scaled.

    Parameters
    ----------
    weights
        (beads, atoms).
    graph
        Of the molecule type, nodes with ``mass`` and ``element``.

    Returns
    -------
    (atoms,) beads; -1 for atoms that no bond connects to an atom with weight.
    """
    n_atoms = weights.shape[1]
    masses = own_masses(graph)
    entries = sp.coo_matrix(abs(weights))
    share = entries.data / np.where(masses > 0, masses, 1.0)[entries.col]
    largest = np.zeros(weights.shape[0])
    np.maximum.at(largest, entries.row, share)
    owner = np.full(n_atoms, -1, np.int64)
    best = np.zeros(n_atoms)
    for bead, atom, part in sorted(zip(entries.row, entries.col, share / largest[entries.row], strict=True)):
        if part > best[atom] * (1 + TIE):
            owner[atom], best[atom] = bead, part
    spread_owners(owner, graph)
    return owner


def spread_owners(owner: IntArray, graph: nx.Graph) -> None:
    """Give atoms without a bead (-1) that of the nearest with one, shell by shell along the bonds (in place).

    Parameters
    ----------
    owner
        (atoms,) beads.
    graph
        Of the molecule, or of some of its atoms: others are not looked at.
    """
    shell = [int(i) for i in graph if owner[i] >= 0]
    while shell:
        offers: dict[int, int] = {}
        for i in shell:
            for j in graph[i]:
                if owner[j] < 0:
                    offers[j] = min(offers.get(j, int(owner[i])), int(owner[i]))
        for j, bead in offers.items():
            owner[j] = bead
        shell = list(offers)


def atoms_of_beads(mapping: Mapping, moltype: MoleculeType) -> IntArray:
    """(beads,) the atom that is where a bead is, the only one in it but hydrogens; -1 where there is none."""
    entries, found = mapping.weights.tocoo(), np.full(len(mapping.names), -1, np.int64)
    heavy = np.array([element != "H" for element in moltype.attribute("element")], bool)
    kept = heavy[entries.col] & (entries.data != 0)
    beads = entries.row[kept]
    found[beads] = entries.col[kept]
    found[np.bincount(beads, minlength=len(found)) != 1] = -1
    return found


def bead_graph(mapping: Mapping, moltype: MoleculeType) -> nx.Graph:
    """Return the graph of beads: joined by a bond between atoms they own, or by a shared atom.

    Nodes and neighbours are in the order of the beads.
    """
    return _bead_graph(mapping.weights, mapping.owner, moltype.graph)


def _bead_graph(weights: sp.csr_matrix, owner: IntArray, graph: nx.Graph) -> nx.Graph:
    edges = {(int(owner[i]), int(owner[j])) for i, j in graph.edges}
    by_atom = sp.csc_matrix(weights)
    for atom in np.flatnonzero(np.diff(by_atom.indptr) > 1):
        sharing = by_atom.indices[by_atom.indptr[atom] : by_atom.indptr[atom + 1]]
        edges.update(combinations(sorted(int(b) for b in sharing), 2))
    beads = nx.Graph()
    beads.add_nodes_from(range(weights.shape[0]))
    beads.add_edges_from(sorted({(min(e), max(e)) for e in edges if e[0] != e[1] and min(e) >= 0}))
    return beads


def default_alignment(weights: sp.csr_matrix, owner: IntArray, graph: nx.Graph) -> IntArray:
    """Return the bead each bead is aligned to where no file says so.

    Returns
    -------
    (beads,) the bonded bead that comes before it, breadth-first from the first bead; for a first
    bead its first neighbour; -1 for a bead without neighbours.
    """
    beads = _bead_graph(weights, owner, graph)
    align = np.full(weights.shape[0], -1, np.int64)
    seen: set[int] = set()
    for root in beads:
        if root in seen:
            continue
        seen |= {root}
        align[root] = next(iter(beads[root]), -1)
        for parent, child in nx.bfs_edges(beads, root):
            align[child] = parent
            seen.add(child)
    return align


def centre_mapping(moltype: MoleculeType, *, name: str = "") -> Mapping:
    """A whole molecule as one bead, at its centre of mass, with the name of the molecule or another one."""
    weights = sp.csr_matrix(moltype.masses[None] / moltype.masses.sum())
    owner = np.zeros(moltype.n_atoms, np.int64)
    align = default_alignment(weights, owner, moltype.graph)
    bead = (name or moltype.name,)
    return Mapping(moltype.name, bead, bead, weights, owner, align, np.ones(1, np.int64))


def map_positions(mapping: Mapping, positions: ArrayLike) -> FloatArray:
    """Return the beads of whole molecules.

    Parameters
    ----------
    mapping
        Of the molecule type.
    positions
        (..., atoms, 3) nm; molecules not broken across the box.

    Returns
    -------
    (..., beads, 3) nm.
    """
    atoms = np.moveaxis(np.asarray(positions, np.float64), -2, 0)
    beads = mapping.weights @ atoms.reshape(atoms.shape[0], -1)
    return np.moveaxis(beads.reshape(-1, *atoms.shape[1:]), 0, -2)


def mapped_molecules(topology: Topology, mappings: MappingABC[str, Mapping]) -> tuple[Match, ...]:
    """Return the runs of molecules that have a mapping, in the order of the topology.

    Raises
    ------
    InputError
        There is none.
    """
    found = []
    bead = 0
    for moltype, atom, count in blocks(topology):
        if moltype.name in mappings:
            found.append(Match(moltype, mappings[moltype.name], count, first_bead=bead, first_atom=atom))
            bead += count * len(mappings[moltype.name].names)
    if not found:
        raise InputError("no molecule has a mapping", path=topology.path)
    return tuple(found)


def bead_topology(matches: tuple[Match, ...]) -> Topology:
    """Return the beads as a system: each molecule one residue, as VOTCA writes it."""
    moltypes = {match.moltype.name: _bead_molecule(match.mapping) for match in matches}
    molecules = tuple((moltypes[match.moltype.name].name, match.count) for match in matches)
    return Topology({moltype.name: moltype for moltype in moltypes.values()}, molecules)


def _bead_molecule(mapping: Mapping) -> MoleculeType:
    name = mapping.cg_molecule or mapping.molecule
    graph = nx.Graph()
    for i, (bead, moltype) in enumerate(zip(mapping.names, mapping.types, strict=True)):
        graph.add_node(i, name=bead, type=moltype, element="", mass=0.0, charge=0.0, resid=1, resname=name)
    return MoleculeType(name, 0, graph)


def check_owners(matches: Iterable[Match]) -> None:
    """Refuse mappings in which a bead owns no atom or an atom has no owner.

    Raises
    ------
    InputError
        Naming all of them.
    """
    for match in {m.moltype.name: m for m in matches}.values():
        _check_owners(match.moltype, match.mapping)


def _check_owners(moltype: MoleculeType, mapping: Mapping) -> None:
    n_beads = len(mapping.names)
    if mapping.owner.size != moltype.n_atoms:
        raise InputError(
            f"{moltype.name} has {moltype.n_atoms} atoms, its mapping owners for {mapping.owner.size}"
        )
    lost = np.flatnonzero((mapping.owner < 0) | (mapping.owner >= n_beads))
    empty = np.setdiff1d(np.arange(n_beads), mapping.owner)
    wrong = []
    if lost.size:
        names = ", ".join(f"{i + 1} ({moltype.names[i]})" for i in lost)
        wrong.append(f"atoms without a bead to be rebuilt with: {names}")
    if empty.size:
        names = ", ".join(mapping.names[i] for i in empty)
        wrong.append(f"beads which own no atoms: {names}; an owners file can give them some")
    if wrong:
        raise InputError(f"{moltype.name}: " + "; ".join(wrong))

"""What a system is made of: molecule graphs with the terms of their force field.

Atomistic and coarse-grained systems use the same records; a node of a molecule graph is an atom
in the one and a bead in the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import networkx as nx
import numpy as np
from MDAnalysis.guesser.tables import masses as MASSES  # keyed by C, but CL

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.errors import InputError

HEAVIEST, MOST_CHARGED = 1e7, 1e4
"""What the mass (amu) and the charge (e) of an atom or a bead are at most."""


@dataclass(frozen=True, eq=False)
class Terms:
    """Interactions of one directive and function type within one molecule type.

    Attributes
    ----------
    directive
        ``bonds``, ``angles``, ``dihedrals``, ``pairs``, ...: the GROMACS name.
    function
        GROMACS function type (reference manual, table of interaction types).
    atoms
        (k, m) rows of the molecule's graph, 0-based.
    parameters
        (k, p) in the order and units of that table (state A).  Pairs always hold
        ``c6, c12`` in kJ/mol nm^6 and nm^12, whatever the combination rule.  A dihedral with
        several entries (function 9) takes several rows.
    """

    directive: str
    function: int
    atoms: IntArray
    parameters: FloatArray


@dataclass(frozen=True, slots=True)
class Barrier:
    """What the force field says about turning a bond.

    Attributes
    ----------
    height
        From the lower of the two planar states over the lower barrier, kJ/mol.
    state
        1 (cis) or -1 (trans) where the force field has one of them only, else 0.
    """

    height: float
    state: int


@dataclass(frozen=True, eq=False)
class MoleculeType:
    """One ``[ moleculetype ]``.

    Attributes
    ----------
    name
        As in the file.
    nrexcl
        Bonds across which non-bonded interactions are excluded.
    graph
        Node i is the i-th line of ``[ atoms ]`` with ``name``, ``type``, ``element`` (symbol, or
        ``""``), ``mass`` (amu), ``charge`` (e), ``resid``, ``resname``.  Edges are chemical bonds
        with ``kind``: ``bond``, ``constraint``, ``settle``, or what is no chemical bond: ``virtual`` (a
        virtual site and its first constructing atom), ``strut`` (a constraint that alone holds what virtual
        sites are made of), ``held`` (two molecules that are one here, see
        :mod:`~dbm_gmx.chemistry.joined`).
    terms
        The bonded interactions, one entry per directive and function.
    exclusions
        (k, 2) explicit ``[ exclusions ]``, i < j; see :func:`excluded_pairs` for all of them.
    barriers
        Of bonds (i < j) with two planar states; of those without a dihedral nothing is known.
    inversions
        Of united-atom CH: what turning one inside out takes, kJ/mol; of those without three angles nothing
        is known.
    stated
        What restraints of dihedrals say of stereocentres and bonds, see
        :func:`~dbm_gmx.chemistry.stereo.stated_states`.
    """

    name: str
    nrexcl: int
    graph: nx.Graph
    terms: tuple[Terms, ...] = ()
    exclusions: IntArray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    barriers: Mapping[tuple[int, int], Barrier] = field(default_factory=dict)
    inversions: Mapping[int, float] = field(default_factory=dict)
    stated: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def n_atoms(self) -> int:
        """Number of nodes."""
        return int(self.graph.number_of_nodes())

    def attribute(self, key: str) -> list[object]:
        """Node attribute ``key`` of all atoms in file order."""
        return [self.graph.nodes[i][key] for i in range(self.n_atoms)]

    @property
    def names(self) -> list[str]:
        """Atom names in file order."""
        return [str(n) for n in self.attribute("name")]

    @property
    def masses(self) -> FloatArray:
        """(n,) masses, amu."""
        return np.array(self.attribute("mass"), np.float64)

    @property
    def charges(self) -> FloatArray:
        """(n,) charges, e."""
        return np.array(self.attribute("charge"), np.float64)

    @property
    def elements(self) -> list[str]:
        """Element symbols in file order, ``""`` where unknown."""
        return [str(e) for e in self.attribute("element")]

    @property
    def bonds(self) -> IntArray:
        """(k, 2) edges, i < j, sorted."""
        edges = sorted((min(e), max(e)) for e in self.graph.edges)
        return np.array(edges, np.int64).reshape(-1, 2)


HELD = "held"

STRUT = "strut"

LINKS = ("virtual", HELD, STRUT)
"""Kinds of edges that are no chemical bonds."""


def own_masses(graph: nx.Graph) -> FloatArray:
    """(n,) masses of the atoms of a molecule, amu, as if each had its own.

    An atom that is a virtual site has given its mass to others: it and those it is bonded to have the masses
    of their elements here.

    Parameters
    ----------
    graph
        As that of a :class:`MoleculeType`.
    """
    nodes, bonds = graph.nodes, chemical_bonds_of(graph)
    masses = np.array([nodes[i]["mass"] for i in nodes], np.float64)
    given = {i for i in nodes if nodes[i].get("element") and masses[i] == 0}
    for i in given.union(*({i, j} for i, j in bonds if {i, j} & given)) if given else ():
        element = nodes[i]["element"]
        masses[i] = element_mass(element, masses[i])
    return masses


def element_mass(element: str, unknown: float) -> float:
    """Mass of an element, amu, or what is said of one that is not known."""
    return float(MASSES.get(element, MASSES.get(element.upper(), unknown)))


def is_stand_in(graph: nx.Graph, i: int) -> bool:
    """Whether a particle is no atom, but a mass that others of its molecule are made of."""
    return not graph.nodes[i]["element"] and any(edge["kind"] == STRUT for edge in graph.adj[i].values())


HYDROGEN_MASS = 1.5
"""amu; below it an atom of unknown element is a hydrogen."""


def hydrogens(moltype: MoleculeType) -> BoolArray:
    """(n,) which atoms are hydrogens or deuterium: by element, else by mass (massless sites too)."""
    pairs = zip(moltype.elements, moltype.masses, strict=True)
    return np.array([e in ("H", "D") or (not e and mass < HYDROGEN_MASS) for e, mass in pairs], bool)


def heavy_atoms(moltype: MoleculeType) -> BoolArray:
    """(n,) which atoms are neither hydrogens nor sites that are no atoms."""
    known = np.array([bool(element) for element in moltype.elements], bool)
    return np.asarray(~hydrogens(moltype) & ((moltype.masses > 0) | known))


@dataclass(frozen=True, eq=False)
class NonBonded:
    """Non-bonded parameters, ready to use: combination rules and overrides are applied.

    Attributes
    ----------
    types
        Names of the atom types.
    c6, c12
        (t, t) Lennard-Jones coefficients of every pair of types, kJ/mol nm^6 and kJ/mol nm^12.
    rule
        Combination rule of the file (1, 2, 3).
    generate_pairs, fudge_lj, fudge_qq
        The rest of ``[ defaults ]``.
    """

    types: tuple[str, ...]
    c6: FloatArray
    c12: FloatArray
    rule: int
    generate_pairs: bool
    fudge_lj: float
    fudge_qq: float


@dataclass(frozen=True, eq=False)
class Topology:
    """A system: molecule types and how often each occurs, in order.

    Attributes
    ----------
    molecule_types
        By name.
    molecules
        ``(name, count)`` as in ``[ molecules ]``.
    nonbonded
        ``None`` where the file does not say (the CG side from a structure file).
    path
        The file it was read from, for messages.
    intermolecular
        Interactions between molecules; their rows are those of the system.
    left_out
        Directives of the file whose interactions are in none of these, but in every run with it.
    relisted
        Whether ``molecules`` are others than in the file, or in another order.
    """

    molecule_types: Mapping[str, MoleculeType]
    molecules: tuple[tuple[str, int], ...]
    nonbonded: NonBonded | None = None
    path: Path | None = None
    intermolecular: tuple[Terms, ...] = ()
    left_out: tuple[str, ...] = ()
    relisted: bool = False

    @property
    def n_atoms(self) -> int:
        """Number of atoms (or beads) of the system."""
        return sum(count * moltype.n_atoms for moltype, _, count in blocks(self))


def blocks(topology: Topology) -> Iterator[tuple[MoleculeType, int, int]]:
    """Yield ``(molecule type, first atom, number of molecules)`` for each line of ``[ molecules ]``."""
    first = 0
    for name, count in topology.molecules:
        moltype = topology.molecule_types[name]
        yield moltype, first, count
        first += count * moltype.n_atoms


def each_molecule(topology: Topology) -> Iterator[tuple[MoleculeType, int]]:
    """Yield ``(molecule type, first atom)`` for each molecule."""
    for moltype, first, count in blocks(topology):
        for number in range(count):
            yield moltype, first + number * moltype.n_atoms


def molecule_counts(topology: Topology) -> dict[str, int]:
    """Molecules of each type that ``[ molecules ]`` names, in its order; 0 where it says so."""
    found: dict[str, int] = {}
    for name, count in topology.molecules:
        found[name] = found.get(name, 0) + count
    return found


def residue_numbers(topology: Topology) -> Iterator[int]:
    """Yield the residue number of each atom, as GROMACS has it.

    Molecules of a single residue are counted through, after the largest number in the molecules
    of several, which keep theirs (``gmx_mtop_t``, ``maxResiduesPerMoleculeToTriggerRenumber`` = 1).
    """
    given = {
        moltype.name: [int(str(n)) for n in moltype.attribute("resid")] for moltype, *_ in blocks(topology)
    }
    several = [max(numbers) for numbers in given.values() if len(set(numbers)) > 1]
    number = max(several, default=0)
    for moltype, _ in each_molecule(topology):
        single = len(set(given[moltype.name])) == 1
        number += single
        yield from [number] * moltype.n_atoms if single else given[moltype.name]


def has_elements(moltype: MoleculeType, *elements: str) -> bool:
    """Whether a molecule has atoms of these elements; of any if none is named."""
    found = {str(element) for element in moltype.attribute("element")} - {""}
    return bool(found & set(elements)) if elements else bool(found)


def read_only(array: IntArray) -> IntArray:
    """Forbid changes to an array that is made once and given to many."""
    array.setflags(write=False)
    return array


@lru_cache(maxsize=64)
def chemical_graph(moltype: MoleculeType) -> nx.Graph:
    """The molecular graph, its chemical bonds only, nodes in the order of the file.

    Made once for a molecule type; it is frozen and has no attributes.
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(moltype.n_atoms))
    graph.add_edges_from(chemical_bonds_of(moltype.graph))
    return nx.freeze(graph)


def chemical_bonds_of(graph: nx.Graph) -> list[tuple[int, int]]:
    """Edges of the graph of a molecule type that are chemical bonds."""
    return [(i, j) for i, j, how in graph.edges(data="kind") if how not in LINKS]


@lru_cache(maxsize=64)
def chemical_bonds(moltype: MoleculeType) -> IntArray:
    """(k, 2) edges of the :func:`chemical_graph`; read only."""
    return read_only(np.array(list(chemical_graph(moltype).edges), np.int64).reshape(-1, 2))


@lru_cache(maxsize=64)
def excluded_pairs(moltype: MoleculeType) -> IntArray:
    """All excluded pairs of a molecule type.

    Returns
    -------
    (k, 2) with i < j, sorted, read only: the explicit ones and those within ``nrexcl`` chemical bonds
    (GROMACS manual, "Exclusions"; virtual sites are no chemical bond there).
    """
    pairs = {(int(min(p)), int(max(p))) for p in moltype.exclusions}
    pairs |= set(map(tuple, pairs_within(moltype, moltype.nrexcl).tolist()))
    return read_only(np.array(sorted(pairs), np.int64).reshape(-1, 2))


def pairs_within(moltype: MoleculeType, bonds: int) -> IntArray:
    """(k, 2) pairs i < j of a molecule type that are at most so many chemical bonds apart, sorted."""
    graph = chemical_graph(moltype)
    reach = {i: nx.single_source_shortest_path_length(graph, i, cutoff=bonds) for i in graph}
    pairs = sorted((i, j) for i in graph for j in reach[i] if i < j)
    return np.array(pairs, np.int64).reshape(-1, 2)


def is_excluded(topology: Topology, pairs: IntArray) -> BoolArray:
    """Which of the system's atom pairs (k, 2), i < j, are excluded from non-bonded interactions: (k,)."""
    molecule, keys = _exclusions(topology)
    i, j = pairs.T
    excluded: BoolArray = molecule[i] == molecule[j]
    asked = (i * topology.n_atoms + j)[excluded]
    excluded[excluded] = keys[np.searchsorted(keys, asked)] == asked
    return excluded


@lru_cache(maxsize=8)
def _exclusions(topology: Topology) -> tuple[IntArray, IntArray]:
    """(n,) number of each atom's molecule, and all excluded pairs i < j as numbers ``i n + j``, sorted.

    The last number is none of a pair, but larger than all of them.
    """
    n, molecules = topology.n_atoms, 0
    keys, molecule = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for moltype, first, count in blocks(topology):
        starts = first + moltype.n_atoms * np.arange(count)
        i, j = (starts[:, None, None] + excluded_pairs(moltype)).reshape(-1, 2).T
        keys.append(i * n + j)
        molecule.append(molecules + np.arange(count).repeat(moltype.n_atoms))
        molecules += count
    return np.concatenate(molecule), np.concatenate([*keys, [n * n]])


def atom_types(topology: Topology) -> IntArray:
    """Row of each atom's type in ``topology.nonbonded``: (n,).

    Raises
    ------
    InputError
        If the topology holds no non-bonded parameters, or an atom's type is not among them.
    """
    rows = {name: row for row, name in enumerate(nonbonded_parameters(topology).types)}
    found = []
    for moltype, _, count in blocks(topology):
        names = [str(name) for name in moltype.attribute("type")]
        unknown = sorted(set(names) - set(rows))
        if unknown:
            raise InputError(
                f"molecule type {moltype.name} has atoms of type {unknown[0]}; there are {', '.join(rows)}",
                path=topology.path,
            )
        found.append(np.tile(np.array([rows[name] for name in names], np.int64), count))
    return np.concatenate([np.zeros(0, np.int64), *found])


def nonbonded_parameters(topology: Topology) -> NonBonded:
    """The non-bonded parameters, which must be there."""
    if topology.nonbonded is None:
        raise InputError("no non-bonded parameters ([ defaults ], [ atomtypes ])", path=topology.path)
    return topology.nonbonded


def atom_charges(topology: Topology) -> FloatArray:
    """Charges of all atoms of the system, e: (n,)."""
    return np.concatenate(
        [np.zeros(0), *(np.tile(moltype.charges, count) for moltype, _, count in blocks(topology))]
    )

"""A system as arrays for the compiled code: atoms, molecules, the force field, blocks and moves.

Ranges (``x_start``) say where the entries of a thing begin, with one more at the end.  Rows are those of the
system where nothing else is said; within a molecule type, a block or a move they count within a molecule.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.fragments import make_fragments
from dbm_gmx.chemistry.stereo import stereo_bonds, stereocentres
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.chemistry.virtual_sites import virtual_sites
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, MoleculeHamiltonian
from dbm_gmx.forcefield.nonbonded import Beyond, Tail, lennard_jones_tail
from dbm_gmx.forcefield.terms import ATOMS, PARAMETERS, moved_tables, soften
from dbm_gmx.sampling.moves import ANNEALING, TRANSLATION, Block, Move, make_blocks
from dbm_gmx.sampling.neighbours import NeighbourList

Part = TypeVar("Part")


class Constants(NamedTuple):
    """Numbers of the Hamiltonian.

    Attributes
    ----------
    kt
        kJ/mol.
    lj2, coulomb2, reach
        Squares of the cut-offs, and the larger cut-off, nm.
    tail
        How Lennard-Jones ends at its cut-off.
    beyond
        What stands for the charges beyond their cut-off.
    charged
        Whether there are charges.
    """

    kt: float
    lj2: float
    coulomb2: float
    reach: float
    tail: Tail
    beyond: Beyond
    charged: bool


class AtomArrays(NamedTuple):
    """All atoms.

    Attributes
    ----------
    type, charge, molecule, bead
        (n,) atom type, charge (see :class:`~dbm_gmx.forcefield.hamiltonian.MoleculeHamiltonian`), molecule,
        and the bead that owns the atom.
    c6, c12
        (t, t) Lennard-Jones coefficients of pairs of atom types.
    """

    type: Any
    charge: Any
    molecule: Any
    bead: Any
    c6: Any
    c12: Any


class BeadArrays(NamedTuple):
    """All beads.

    Attributes
    ----------
    owned_start, owned
        Atoms owned by each bead: ``owned[owned_start[b]:owned_start[b + 1]]``.
    stiffness
        (m,) kT / s^2 of the restraint of width s, kJ/mol nm^-2.
    """

    owned_start: Any
    owned: Any
    stiffness: Any


class MoleculeArrays(NamedTuple):
    """(molecules,) molecule type, first atom and first bead of each molecule."""

    moltype: Any
    first_atom: Any
    first_bead: Any


class TermArrays(NamedTuple):
    """Terms of each molecule type, see :class:`~dbm_gmx.forcefield.terms.BondedTerms`; tables are of all."""

    term_start: Any
    form: Any
    atoms: Any
    parameters: Any
    tables: Any


class SpecialArrays(NamedTuple):
    """Special pairs of each type, see :class:`~dbm_gmx.forcefield.hamiltonian.MoleculeHamiltonian`."""

    special_start: Any
    special: Any
    special_parameters: Any


class PartnerArrays(NamedTuple):
    """Special partners of each atom of a molecule type, itself among them.

    Attributes
    ----------
    atom_start
        Where the atoms of each molecule type begin in arrays over the atoms of all types.
    partner_start, partner
        Of each of these atoms.
    """

    atom_start: Any
    partner_start: Any
    partner: Any


class BondArrays(NamedTuple):
    """Bonds of fixed length of each molecule type: (b, 2) atoms, nm; and of its atoms the masses, amu."""

    bond_start: Any
    bond: Any
    length: Any
    atom_start: Any
    mass: Any


class SiteArrays(NamedTuple):
    """Beads of each molecule type, the atoms of each and their weights."""

    site_start: Any
    weighed_start: Any
    weighed: Any
    weight: Any


class VirtualArrays(NamedTuple):
    """Virtual sites of each molecule type, see :class:`~dbm_gmx.chemistry.virtual_sites.VirtualSites`."""

    virtual_start: Any
    virtual: Any
    virtual_form: Any
    virtual_parameters: Any
    made_start: Any
    made_of: Any
    made_weight: Any


class BlockArrays(NamedTuple):
    """Blocks of all molecule types, see :class:`~dbm_gmx.sampling.moves.Block`.

    Attributes
    ----------
    own_start, own
        Atoms of each block, as places among those its cluster knows.
    own_special_start, own_special
        Atoms of the molecule, not of the block, that are special partners of some of it; the same.
    own_bead_start, own_bead
        Beads that own atoms of a block; the first owns its centre.
    every
        Updated in one of so many sweeps.
    move_start
        Moves of each block.
    """

    own_start: Any
    own: Any
    own_special_start: Any
    own_special: Any
    own_bead_start: Any
    own_bead: Any
    every: Any
    move_start: Any


class ClusterArrays(NamedTuple):
    """Clusters of all molecule types: blocks whose centres one bead owns, and windows one by one.

    Blocks of a cluster are updated one after the other, with the atoms around gathered once.

    Attributes
    ----------
    block_start
        Blocks of each cluster.
    known_start, known, mobile
        Rows of the atoms of its blocks and of their special partners, sorted; whether they are of a block.
    cluster_type_start, cluster_type
        Atom types in its blocks.
    cluster_bead_start, cluster_bead
        Beads that own atoms of its blocks; the first owns their centres.
    """

    block_start: Any
    known_start: Any
    known: Any
    mobile: Any
    cluster_type_start: Any
    cluster_type: Any
    cluster_bead_start: Any
    cluster_bead: Any


class MoveArrays(NamedTuple):
    """Moves of all blocks, see :class:`~dbm_gmx.sampling.moves.Move`.

    Attributes
    ----------
    move_type, first, second, repeat
        Of each move; ``first, second`` are its axis.
    moved_start, moved, slot, owner
        Atoms of each move, the place of their type among those of the cluster, and their bead.
    changed_start, changed
        Terms a move changes.
    pair_start, pair, pair_parameters
        Special pairs (moved, other) that a move changes.
    shifted_start, shifted, share_start, share
        Beads whose centre a move changes, and the weights of its atoms (all atoms, bead by bead).
    held_start, held
        Dihedrals (h, 4) of bonds that a move changes and must not turn over.
    tied_start, tied, centre_start, centre
        Of windows: bonds (b, 2) whose length is kept, and stereocentres (c, 5).
    built_start, built
        Virtual sites that a move puts in place anew, by number; those of windows are the last of ``moved``.
    """

    move_type: Any
    first: Any
    second: Any
    repeat: Any
    moved_start: Any
    moved: Any
    slot: Any
    owner: Any
    changed_start: Any
    changed: Any
    pair_start: Any
    pair: Any
    pair_parameters: Any
    shifted_start: Any
    shifted: Any
    share_start: Any
    share: Any
    held_start: Any
    held: Any
    tied_start: Any
    tied: Any
    centre_start: Any
    centre: Any
    built_start: Any
    built: Any


class InstanceArrays(NamedTuple):
    """(instances,) cluster, first atom and first bead of each cluster of each molecule."""

    instance_cluster: Any
    instance_atom: Any
    instance_bead: Any


class Arrays(NamedTuple):
    """All that does not change from frame to frame.

    Attributes
    ----------
    terms, soft_terms
        Those of the force field, and the same with softer bonds (:func:`~dbm_gmx.forcefield.terms.soften`).
    """

    constants: Constants
    atoms: AtomArrays
    beads: BeadArrays
    molecules: MoleculeArrays
    terms: TermArrays
    soft_terms: TermArrays
    special: SpecialArrays
    partners: PartnerArrays
    bonds: BondArrays
    sites: SiteArrays
    virtual: VirtualArrays
    clusters: ClusterArrays
    blocks: BlockArrays
    moves: MoveArrays
    instances: InstanceArrays

    def part(self, record: type[Part], *, soft: bool = False) -> Part:
        """Those arrays that a record has fields for, whatever group they are in; ``soft`` terms if wanted.

        Compiled functions get flat records of what they need: the more they are given, the longer they
        compile, and a record within a record is counted, array by array, whenever it is looked at.
        """
        groups = self._asdict()
        terms = groups.pop("soft_terms")
        if soft:
            groups["terms"] = terms
        every = {name: values for group in groups.values() for name, values in group._asdict().items()}
        every["constants"] = self.constants
        return record(*(every[name] for name in record._fields))  # type: ignore[attr-defined]


class Place(NamedTuple):
    """A configuration for compiled functions (:class:`Configuration`), with the fields of its neighbours."""

    positions: Any
    offsets: Any
    beads: Any
    radius: Any
    cell: Any
    reach: float
    near_start: Any
    near: Any
    shift: Any
    lattice: Any


class Configuration(NamedTuple):
    """One configuration of the system: what the stages and sweeps work on.

    Attributes
    ----------
    positions
        (n, 3) nm, molecules whole; changed in place.
    offsets
        (m, 3) mapped centres minus beads, nm; changed with the positions.
    neighbours
        The beads and which of them are near each other.
    arrays
        The system.
    lattice
        The box, where molecules are bonded to images of their own: of two atoms of a molecule the nearest
        images count, and each atom is where its bead is.  Else ``None``.
    """

    positions: Any
    offsets: Any
    neighbours: NeighbourList
    arrays: Arrays
    lattice: Lattice | None = None

    @property
    def place(self) -> Place:
        """The same for compiled functions."""
        return Place(self.positions, self.offsets, *self.neighbours, self.lattice)


def make_constants(hamiltonian: Hamiltonian) -> Constants:
    """Numbers of a Hamiltonian."""
    c = hamiltonian.conditions
    return Constants(
        kt=hamiltonian.kt,
        lj2=c.rvdw**2,
        coulomb2=c.rcoulomb**2,
        reach=max(c.rvdw, c.rcoulomb) if hamiltonian.charged else c.rvdw,
        tail=lennard_jones_tail(c.rvdw, c.rvdw_switch),
        beyond=hamiltonian.field.beyond,
        charged=hamiltonian.charged,
    )


def bead_values(system: System, values: Mapping[str, FloatArray]) -> FloatArray:
    """(m,) of all beads, from those (beads,) of each molecule type."""
    return np.concatenate([np.tile(values[match.moltype.name], match.count) for match in system.matches])


def bead_stiffness(hamiltonian: Hamiltonian) -> FloatArray:
    """(m,) kT / s^2 of the restraints of width s, kJ/mol nm^-2."""
    widths = {name: molecule.width for name, molecule in hamiltonian.molecules.items()}
    return hamiltonian.kt / bead_values(hamiltonian.system, widths) ** 2


class _Lists:
    """Lists that grow, with the places where each entry begins."""

    def __init__(self) -> None:
        self.starts: dict[str, list[int]] = {}
        self.values: dict[str, list[Any]] = {}
        self.rows: dict[str, array[Any]] = {}

    def add(self, name: str, values: Sequence[Any]) -> None:
        self.values.setdefault(name, []).extend(values)
        self.starts.setdefault(name, [0]).append(len(self.values[name]))

    def add_rows(self, name: str, values: FloatArray | IntArray) -> None:
        """Add the rows of an array, of which there are many: lists of them would take ten times the space."""
        kept = self.rows.setdefault(name, array("d" if values.dtype.kind == "f" else "q"))
        kept.frombytes(values.tobytes())
        starts = self.starts.setdefault(name, [0])
        starts.append(starts[-1] + len(values))

    def length(self, name: str) -> int:
        return len(self.values.get(name, []))

    def count(self, name: str) -> int:
        return len(self.starts.get(name, [0])) - 1

    def start(self, name: str) -> IntArray:
        return np.array(self.starts.get(name, [0]), np.int64)

    def array(self, name: str, dtype: Any = np.int64, width: int | None = None) -> Any:
        if name in self.rows:
            found = np.frombuffer(self.rows[name], dtype)
        else:
            found = np.array(self.values.get(name, []), dtype)
        return found if width is None else found.reshape(-1, width)


def make_arrays(hamiltonian: Hamiltonian) -> Arrays:
    """Arrays of a system."""
    lists = _Lists()
    clusters: dict[str, IntArray] = {}
    for name, molecule in hamiltonian.molecules.items():
        _add_moltype(lists, molecule)
        before = lists.count("known")
        _add_blocks(lists, molecule)
        clusters[name] = np.arange(before, lists.count("known"))
    atoms, beads, molecules, instances = _system_arrays(hamiltonian, clusters)
    return Arrays(
        make_constants(hamiltonian),
        atoms,
        beads,
        molecules,
        _term_arrays(lists, "form", "parameters"),
        _term_arrays(lists, "soft_form", "soft_parameters"),
        _special_arrays(lists),
        PartnerArrays(lists.start("mass"), lists.start("partner"), lists.array("partner")),
        _bond_arrays(lists),
        _site_arrays(lists),
        _virtual_arrays(lists),
        _cluster_arrays(lists),
        _block_arrays(lists),
        _move_arrays(lists),
        instances,
    )


def _system_arrays(
    hamiltonian: Hamiltonian, clusters: dict[str, IntArray]
) -> tuple[AtomArrays, BeadArrays, MoleculeArrays, InstanceArrays]:
    """Arrays over what there is many times; ``clusters`` of each molecule type."""
    order = {name: number for number, name in enumerate(hamiltonian.molecules)}
    types, charges, owner, size = [], [], [], []
    moltypes, first_atoms, first_beads = [], [], []
    cluster, cluster_atom, cluster_bead = [], [], []
    for match in hamiltonian.system.matches:
        name, count, copies = match.moltype.name, match.count, np.arange(match.count)
        molecule, own = hamiltonian.molecules[name], clusters[name]
        first_atom = match.first_atom + match.moltype.n_atoms * copies
        first_bead = match.first_bead + len(match.mapping.names) * copies
        types.append(np.tile(molecule.types, count))
        charges.append(np.tile(molecule.charges, count))
        owner.append((first_bead[:, None] + match.mapping.owner).reshape(-1))
        size.append(np.full(count, match.moltype.n_atoms))
        moltypes.append(np.full(count, order[name]))
        first_atoms.append(first_atom)
        first_beads.append(first_bead)
        cluster.append(np.tile(own, count))
        cluster_atom.append(np.repeat(first_atom, len(own)))
        cluster_bead.append(np.repeat(first_bead, len(own)))
    owners = np.concatenate(owner)
    owned = np.argsort(owners, kind="stable")
    sizes = np.concatenate(size)
    molecule_of = np.repeat(np.arange(len(sizes)), sizes)
    atoms = np.concatenate(types), np.concatenate(charges), molecule_of, owners
    return (
        AtomArrays(*atoms, hamiltonian.c6, hamiltonian.c12),
        BeadArrays(
            np.searchsorted(owners[owned], np.arange(hamiltonian.system.n_beads + 1)),
            owned,
            bead_stiffness(hamiltonian),
        ),
        MoleculeArrays(*map(np.concatenate, (moltypes, first_atoms, first_beads))),
        InstanceArrays(*map(np.concatenate, (cluster, cluster_atom, cluster_bead))),
    )


def _term_arrays(lists: _Lists, form: str, parameters: str) -> TermArrays:
    values, atoms = lists.array(parameters, np.float64, PARAMETERS), lists.array("atoms", width=ATOMS)
    return TermArrays(
        lists.start("form"), lists.array(form), atoms, values, lists.array("tables", np.float64)
    )


def _special_arrays(lists: _Lists) -> SpecialArrays:
    parameters = lists.array("special_parameters", np.float64, 5)
    return SpecialArrays(lists.start("special"), lists.array("special", width=2), parameters)


def _bond_arrays(lists: _Lists) -> BondArrays:
    mass = lists.start("mass"), lists.array("mass", np.float64)
    length = lists.array("length", np.float64)
    return BondArrays(lists.start("fixed"), lists.array("fixed", width=2), length, *mass)


def _site_arrays(lists: _Lists) -> SiteArrays:
    weighed = lists.start("weighed"), lists.array("weighed"), lists.array("weight", np.float64)
    return SiteArrays(lists.start("site"), *weighed)


def _virtual_arrays(lists: _Lists) -> VirtualArrays:
    return VirtualArrays(
        lists.start("virtual"),
        lists.array("virtual"),
        lists.array("virtual_form"),
        lists.array("virtual_parameters", np.float64, 3),
        lists.start("made_of"),
        lists.array("made_of"),
        lists.array("made_weight", np.float64),
    )


def _cluster_arrays(lists: _Lists) -> ClusterArrays:
    return ClusterArrays(
        block_start=lists.start("block"),
        known_start=lists.start("known"),
        known=lists.array("known"),
        mobile=lists.array("mobile", np.bool_),
        cluster_type_start=lists.start("type"),
        cluster_type=lists.array("type"),
        cluster_bead_start=lists.start("cluster_bead"),
        cluster_bead=lists.array("cluster_bead"),
    )


def _block_arrays(lists: _Lists) -> BlockArrays:
    return BlockArrays(
        own_start=lists.start("own"),
        own=lists.array("own"),
        own_special_start=lists.start("block_special"),
        own_special=lists.array("block_special"),
        own_bead_start=lists.start("block_bead"),
        own_bead=lists.array("block_bead"),
        every=lists.array("every"),
        move_start=lists.start("move_type"),
    )


def _move_arrays(lists: _Lists) -> MoveArrays:
    return MoveArrays(
        move_type=lists.array("move_type"),
        first=lists.array("first"),
        second=lists.array("second"),
        repeat=lists.array("repeat"),
        moved_start=lists.start("moved"),
        moved=lists.array("moved"),
        slot=lists.array("slot"),
        owner=lists.array("owner"),
        changed_start=lists.start("term"),
        changed=lists.array("term"),
        pair_start=lists.start("pair"),
        pair=lists.array("pair", width=2),
        pair_parameters=lists.array("pair_parameters", np.float64, 5),
        shifted_start=lists.start("move_bead"),
        shifted=lists.array("move_bead"),
        share_start=lists.start("share"),
        share=lists.array("share", np.float64),
        held_start=lists.start("held"),
        held=lists.array("held", width=4),
        tied_start=lists.start("tied"),
        tied=lists.array("tied", width=2),
        centre_start=lists.start("centre"),
        centre=lists.array("centre", width=5),
        built_start=lists.start("built"),
        built=lists.array("built"),
    )


def _add_moltype(lists: _Lists, molecule: MoleculeHamiltonian) -> None:
    terms = moved_tables(molecule.terms, lists.length("tables"))
    soft = soften(terms)
    lists.add("form", terms.form.tolist())
    lists.add("atoms", terms.atoms.tolist())
    lists.add("parameters", terms.parameters.tolist())
    lists.add("tables", terms.tables.tolist())
    lists.add("soft_form", soft.form.tolist())
    lists.add("soft_parameters", soft.parameters.tolist())
    lists.add("special", molecule.special.tolist())
    lists.add("special_parameters", molecule.special_parameters.tolist())
    lists.add("fixed", molecule.fixed.tolist())
    lists.add("length", molecule.length.tolist())
    lists.add("mass", molecule.moltype.masses.tolist())
    lists.add("site", range(molecule.weights.shape[0]))
    weights = molecule.weights.tocsr()
    for begin, end in pairwise(weights.indptr.tolist()):
        lists.add("weighed", weights.indices[begin:end].tolist())
        lists.add("weight", weights.data[begin:end].tolist())
    for i, found in enumerate(_partners(molecule)):
        lists.add("partner", [i, *sorted(found)])
    sites = virtual_sites(molecule.moltype)
    lists.add("virtual", sites.virtual.tolist())
    lists.add("virtual_form", sites.virtual_form.tolist())
    lists.add("virtual_parameters", sites.virtual_parameters.tolist())
    for begin, end in pairwise(sites.made_start.tolist()):
        lists.add("made_of", sites.made_of[begin:end].tolist())
        lists.add("made_weight", sites.made_weight[begin:end].tolist())


def _partners(molecule: MoleculeHamiltonian) -> list[set[int]]:
    """Special partners of each atom."""
    partners: list[set[int]] = [set() for _ in range(molecule.moltype.n_atoms)]
    for i, j in molecule.special.tolist():
        partners[i].add(j)
        partners[j].add(i)
    return partners


_ByAtom = dict[int, list[tuple[int, ...]]]
"""Rows of a table by the atoms in them."""


def _by_atom(table: IntArray) -> _ByAtom:
    found: _ByAtom = {}
    for row in table.tolist():
        for i in row:
            found.setdefault(i, []).append(tuple(row))
    return found


def _touched(table: _ByAtom, atoms: list[int]) -> list[tuple[int, ...]]:
    """Rows that any of some atoms is in."""
    return sorted({row for i in atoms for row in table.get(i, ())})


def _side_by_side(bonds: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Bonds in groups in which none have an atom in common.

    What brings them to their lengths one by one needs fewer rounds then, and can go on without waiting.
    """
    groups: list[tuple[set[int], list[tuple[int, ...]]]] = []
    for bond in bonds:
        free = next((group for group in groups if group[0].isdisjoint(bond)), None)
        if free is None:
            groups.append((set(bond), [bond]))
        else:
            free[0].update(bond)
            free[1].append(bond)
    return [bond for _, group in groups for bond in group]


class _SpecialPairs(NamedTuple):
    """Special pairs of a molecule type, either way round.

    Attributes
    ----------
    atoms
        In the molecule type.
    keys
        (k,) increasing, ``i atoms + j``.
    parameters
        (k, 5); all zeros where a pair does not act.
    """

    atoms: int
    keys: IntArray
    parameters: FloatArray

    def among(self, moved: IntArray, others: IntArray, which: BoolArray) -> tuple[IntArray, FloatArray]:
        """Those that act of the pairs (m, o) of some atoms, as others do or not: (p, 2) and (p, 5)."""
        one, other = np.nonzero(which)
        pairs = np.stack([moved[one], others[other]], axis=1)
        wanted = pairs @ [self.atoms, 1]
        place = np.searchsorted(self.keys, wanted)
        found = self.keys[np.minimum(place, len(self.keys) - 1)] == wanted if len(self.keys) else place < 0
        parameters = np.tile(PLAIN, (len(pairs), 1))
        parameters[found] = self.parameters[place[found]]
        acts = parameters.any(axis=1)
        return pairs[acts], parameters[acts]


def _special_pairs(molecule: MoleculeHamiltonian) -> _SpecialPairs:
    n = molecule.moltype.n_atoms
    keys = np.concatenate([molecule.special @ [n, 1], molecule.special @ [1, n]])
    order = np.argsort(keys, kind="stable")
    return _SpecialPairs(n, keys[order], np.concatenate([molecule.special_parameters] * 2)[order])


class _Interactions(NamedTuple):
    """What of a molecule type the moves look up.

    Attributes
    ----------
    molecule, first_term, first_site
        Its Hamiltonian, and the numbers of its first term and of its first virtual site.
    special
        The special pairs, to look them up.
    terms, terms_of
        Atoms of each term, terms of each atom.
    bonds_of, centres_of, ties_of
        Dihedrals of the bonds that do not turn, stereocentres and bonds, by atom.
    weights_of
        Of each atom its weight in each bead.
    """

    molecule: MoleculeHamiltonian
    first_term: int
    first_site: int
    special: _SpecialPairs
    terms: list[list[int]]
    terms_of: list[list[int]]
    bonds_of: _ByAtom
    centres_of: _ByAtom
    ties_of: _ByAtom
    weights_of: list[dict[int, float]]


def _add_blocks(lists: _Lists, molecule: MoleculeHamiltonian) -> None:
    """Add blocks and moves of a molecule type whose terms were added last."""
    special = _special_pairs(molecule)
    terms = [[i for i in atoms if i >= 0] for atoms in molecule.terms.atoms.tolist()]
    terms_of: list[list[int]] = [[] for _ in range(molecule.moltype.n_atoms)]
    for number, atoms in enumerate(terms):
        for i in atoms:
            terms_of[i].append(number)
    sites = virtual_sites(molecule.moltype).virtual
    ties: IntArray = np.unique(
        np.sort(np.concatenate([molecule.moltype.bonds, molecule.fixed]), axis=1), axis=0
    )
    ties = ties[~np.isin(ties, sites).any(axis=1)]
    bonds_of = _by_atom(stereo_bonds(molecule.moltype)[:, :4])
    centres_of, ties_of = _by_atom(stereocentres(molecule.moltype)), _by_atom(ties)
    weights_of: list[dict[int, float]] = [{} for _ in range(molecule.moltype.n_atoms)]
    weights = molecule.weights.tocoo()
    for bead, atom, weight in zip(
        weights.row.tolist(), weights.col.tolist(), weights.data.tolist(), strict=True
    ):
        weights_of[atom][bead] = weight
    first = lists.length("form") - len(molecule.terms.form), lists.length("virtual") - len(sites)
    known = _Interactions(
        molecule, *first, special, terms, terms_of, bonds_of, centres_of, ties_of, weights_of
    )
    partners = _partners(molecule)
    fragments = make_fragments(molecule.moltype)
    blocks = make_blocks(molecule.moltype, fragments, len(molecule.mapping.names), molecule.fixed)
    for cluster in _clusters(blocks, molecule.mapping.owner):
        _add_cluster(lists, known, cluster, partners)


def _clusters(blocks: Sequence[Block], owner: IntArray) -> Iterable[list[Block]]:
    """Blocks whose centres one bead owns; windows, which take long and are few, one by one."""
    found: dict[tuple[int, int], list[Block]] = {}
    for number, block in enumerate(blocks):
        alone = number if any(move.move_type == ANNEALING for move in block.moves) else -1
        found.setdefault((alone, int(owner[block.centre])), []).append(block)
    return found.values()


def _add_cluster(
    lists: _Lists, interactions: _Interactions, cluster: Sequence[Block], partners: Sequence[set[int]]
) -> None:
    """Add a cluster with its blocks and moves; ``partners`` of each atom."""
    molecule, owner = interactions.molecule, interactions.molecule.mapping.owner
    atoms = [block.atoms.tolist() for block in cluster]
    special = [sorted(set().union(*(partners[i] for i in own)) - set(own)) for own in atoms]
    mobile = set().union(*atoms)
    known = sorted(mobile.union(*special))
    types = sorted({int(molecule.types[i]) for i in mobile})
    home = int(owner[cluster[0].centre])
    lists.add("block", [*cluster])
    lists.add("known", known)
    lists.add("mobile", [i in mobile for i in known])
    lists.add("type", types)
    lists.add("cluster_bead", [home, *sorted({int(owner[i]) for i in mobile} - {home})])
    for block, own, partner in zip(cluster, atoms, special, strict=True):
        lists.add("own", np.searchsorted(known, own).tolist())
        lists.add("block_special", np.searchsorted(known, partner).tolist())
        lists.add("block_bead", [home, *sorted({int(owner[i]) for i in own} - {home})])
        lists.add("every", [block.every])
        lists.add("move_type", [move.move_type for move in block.moves])
        for move in block.moves:
            _add_move(lists, interactions, move, types, [*own, *partner])


def _add_move(lists: _Lists, known: _Interactions, move: Move, types: list[int], partners: list[int]) -> None:
    """Add a move of a cluster of atoms of these types; special pairs are with these partners."""
    molecule, moved = known.molecule, move.atoms.tolist()
    own, window = set(moved), move.move_type == ANNEALING
    # distances among these do not change
    built = virtual_sites(molecule.moltype).virtual[move.built]
    rigid = set[int]() if window else own - set(built.tolist())
    if move.move_type not in (TRANSLATION, ANNEALING):
        rigid = rigid | {i for i in move.axis if i >= 0}
    touched = sorted({t for i in moved for t in known.terms_of[i]})
    changed = [t for t in touched if not rigid.issuperset(known.terms[t])]
    near = _touched(known.bonds_of, moved)
    others = np.array(partners, np.int64)
    # those among themselves count once
    apart = np.array([j not in own for j in partners])[None] | (others[None] > move.atoms[:, None])
    loose = np.array([j not in rigid for j in partners])[None] | np.isin(move.atoms, built)[:, None]
    pairs, parameters = known.special.among(move.atoms, others, apart & loose)
    beads = sorted({bead for i in moved for bead, weight in known.weights_of[i].items() if weight != 0.0})
    lists.add("first", [move.axis[0]])
    lists.add("second", [move.axis[1]])
    lists.add("repeat", [move.repeat])
    lists.add("moved", moved)
    lists.add("slot", [types.index(int(molecule.types[i])) for i in moved])
    lists.add("owner", molecule.mapping.owner[moved].tolist())
    lists.add("term", [known.first_term + t for t in changed])
    lists.add("held", [row for row in near if not rigid.issuperset(row)])
    lists.add("tied", _side_by_side(_touched(known.ties_of, moved)) if window else [])
    lists.add("centre", _touched(known.centres_of, moved) if window else [])
    lists.add("built", [known.first_site + v for v in move.built.tolist()])
    lists.add_rows("pair", pairs)
    lists.add_rows("pair_parameters", parameters)
    lists.add("move_bead", beads)
    lists.add("share", [known.weights_of[i].get(bead, 0.0) for bead in beads for i in moved])


PLAIN = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
"""Parameters of a pair that interacts as all others do."""

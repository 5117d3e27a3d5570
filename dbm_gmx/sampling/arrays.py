"""Blocks, moves and the force field as flat arrays for the compiled sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.fragments import make_fragments
from dbm_gmx.forcefield.hamiltonian import MoleculeHamiltonian, Hamiltonian
from dbm_gmx.sampling.moves import SHIFT, Block, Move, make_blocks


class Tables(NamedTuple):
    """What does not change from frame to frame.

    Ranges (``x_start``) say where the entries of a block or move begin, with one more at the end.
    Atoms and beads of blocks and moves count within a molecule; an instance is a block of one molecule.

    Attributes
    ----------
    form, atoms, parameters
        Terms of all molecule types, see :class:`~dbm_gmx.forcefield.terms.Force`.
    own_start, own
        Atoms of each block.
    near_start, near
        Atoms of the molecule, not of the block, that do not interact with all of the block as others do.
    sort_start, sort
        Atom types in each block.
    bead_start, bead
        Beads that own atoms of a block; the first owns its centre.
    centre, every
        Of each block, see :class:`~dbm_gmx.sampling.moves.Block`.
    move_start
        Moves of each block.
    move_type, first, second, repeat
        Of each move; ``first, second`` are its axis.
    moved_start, moved, slot, owner
        Atoms of each move, the place of their type in ``sort`` and their bead.
    term_start, term
        Terms a move changes.
    pair_start, pair, pair_parameters
        Pairs (moved, other) within the molecule that a move changes and that do not interact as others do.
    weigh_start, weigh, share_start, share
        Beads whose centre a move changes, and the weights of its atoms (all atoms, bead by bead).
    instance, atom, bead_of
        Block, first atom and first bead of each instance.
    type, charge
        (n,) of all atoms.
    holder_start, holder
        Atoms owned by each bead of the system.
    c6, c12
        (t, t) of pairs of types.
    sort_of, begin
        Type and first atom of each molecule.
    force_start, special_start, special, special_parameters
        Terms of each molecule type; its special pairs, see
        :class:`~dbm_gmx.forcefield.hamiltonian.MoleculeHamiltonian`.
    fixed_start, fixed, length, mass_start, mass
        Bonds of fixed length of each molecule type, and the masses of its atoms.
    partner_start, partner
        Of each atom of a molecule type: itself and those with which it is a special pair.
    molecule, molecule_bead
        (n,) molecule of each atom; first bead of each molecule.
    site_start, weighed_start, weighed, weight
        Beads of each molecule type, the atoms of each and their weights.
    """

    form: Any
    atoms: Any
    parameters: Any
    own_start: Any
    own: Any
    near_start: Any
    near: Any
    sort_start: Any
    sort: Any
    bead_start: Any
    bead: Any
    centre: Any
    every: Any
    move_start: Any
    move_type: Any
    first: Any
    second: Any
    repeat: Any
    moved_start: Any
    moved: Any
    slot: Any
    owner: Any
    term_start: Any
    term: Any
    pair_start: Any
    pair: Any
    pair_parameters: Any
    weigh_start: Any
    weigh: Any
    share_start: Any
    share: Any
    instance: Any
    atom: Any
    bead_of: Any
    type: Any
    charge: Any
    holder_start: Any
    holder: Any
    c6: Any
    c12: Any
    sort_of: Any
    begin: Any
    force_start: Any
    special_start: Any
    special: Any
    special_parameters: Any
    fixed_start: Any
    fixed: Any
    length: Any
    mass_start: Any
    mass: Any
    partner_start: Any
    partner: Any
    molecule: Any
    molecule_bead: Any
    site_start: Any
    weighed_start: Any
    weighed: Any
    weight: Any


class Numbers(NamedTuple):
    """Constants of the target for the sweeps.

    Attributes
    ----------
    kt, stiffness
        kJ/mol; kT / s^2 of the beads, kJ/mol nm^-2.
    lj2, coulomb2, reach
        Squares of the cut-offs, and the larger cut-off, nm.
    shift6, shift12
        r^-6 and r^-12 at the cut-off.
    k_rf, c_rf
        Reaction field.
    charged
        Whether there are charges.
    """

    kt: float
    stiffness: float
    lj2: float
    coulomb2: float
    reach: float
    shift6: float
    shift12: float
    k_rf: float
    c_rf: float
    charged: bool


def make_numbers(target: Hamiltonian) -> Numbers:
    """Constants of a target."""
    c = target.conditions
    k_rf, c_rf = target.field
    return Numbers(
        target.kt,
        target.kt / c.spread**2,
        c.rvdw**2,
        c.rcoulomb**2,
        max(c.rvdw, c.rcoulomb) if target.charged else c.rvdw,
        c.rvdw**-6,
        c.rvdw**-12,
        k_rf,
        c_rf,
        target.charged,
    )


class _Lists:
    """Lists that grow, with the places where each entry begins."""

    def __init__(self) -> None:
        self.starts: dict[str, list[int]] = {}
        self.values: dict[str, list[Any]] = {}

    def add(self, name: str, values: Sequence[Any]) -> None:
        self.values.setdefault(name, []).extend(values)
        self.starts.setdefault(name, [0]).append(len(self.values[name]))

    def start(self, name: str) -> IntArray:
        return np.array(self.starts.get(name, [0]), np.int64)

    def array(self, name: str, dtype: Any = np.int64, width: int | None = None) -> Any:
        found = np.array(self.values.get(name, []), dtype)
        return found if width is None else found.reshape(-1, width)


def make_tables(target: Hamiltonian) -> Tables:
    """Arrays of a system."""
    lists = _Lists()
    first_block: dict[str, int] = {}
    blocks: dict[str, tuple[Block, ...]] = {}
    for name, molecule in target.molecules.items():
        first_block[name] = len(lists.values.get("centre", []))
        blocks[name] = make_blocks(
            molecule.moltype, make_fragments(molecule.moltype), len(molecule.mapping.names), molecule.fixed
        )
        _add_molecule(lists, molecule, blocks[name])
    order = {name: number for number, name in enumerate(target.molecules)}
    instance, atom, bead, types, charges, owner = [], [], [], [], [], []
    sort_of, begin, size, first_beads = [], [], [], []
    for match in target.system.matches:
        molecule = target.molecules[match.moltype.name]
        n, m = match.moltype.n_atoms, len(match.mapping.names)
        count, many = match.count, len(blocks[match.moltype.name])
        copies = np.arange(count)
        instance.append(np.tile(first_block[match.moltype.name] + np.arange(many), count))
        atom.append(np.repeat(match.first_atom + n * copies, many))
        bead.append(np.repeat(match.first_bead + m * copies, many))
        types.append(np.tile(molecule.types, count))
        charges.append(np.tile(molecule.charges, count))
        sort_of.append(np.full(count, order[match.moltype.name]))
        begin.append(match.first_atom + n * copies)
        size.append(np.full(count, n))
        first_beads.append(match.first_bead + m * copies)
        owner.append((match.first_bead + m * copies[:, None] + match.mapping.owner).reshape(-1))
    owners = np.concatenate(owner)
    holder = np.argsort(owners, kind="stable")
    return Tables(
        form=lists.array("form"),
        atoms=lists.array("terms", width=4),
        parameters=lists.array("parameters", np.float64, 6),
        own_start=lists.start("own"),
        own=lists.array("own"),
        near_start=lists.start("near"),
        near=lists.array("near"),
        sort_start=lists.start("sort"),
        sort=lists.array("sort"),
        bead_start=lists.start("bead"),
        bead=lists.array("bead"),
        centre=lists.array("centre"),
        every=lists.array("every"),
        move_start=lists.start("move_type"),
        move_type=lists.array("move_type"),
        first=lists.array("first"),
        second=lists.array("second"),
        repeat=lists.array("repeat"),
        moved_start=lists.start("moved"),
        moved=lists.array("moved"),
        slot=lists.array("slot"),
        owner=lists.array("owner"),
        term_start=lists.start("term"),
        term=lists.array("term"),
        pair_start=lists.start("pair"),
        pair=lists.array("pair", width=2),
        pair_parameters=lists.array("pair_parameters", np.float64, 5),
        weigh_start=lists.start("weigh"),
        weigh=lists.array("weigh"),
        share_start=lists.start("share"),
        share=lists.array("share", np.float64),
        instance=np.concatenate(instance),
        atom=np.concatenate(atom),
        bead_of=np.concatenate(bead),
        type=np.concatenate(types),
        charge=np.concatenate(charges),
        holder_start=np.searchsorted(owners[holder], np.arange(target.system.n_beads + 1)),
        holder=holder,
        c6=target.c6,
        c12=target.c12,
        sort_of=np.concatenate(sort_of),
        begin=np.concatenate(begin),
        force_start=lists.start("form"),
        special_start=lists.start("special"),
        special=lists.array("special", width=2),
        special_parameters=lists.array("special_parameters", np.float64, 5),
        fixed_start=lists.start("fixed"),
        fixed=lists.array("fixed", width=2),
        length=lists.array("length", np.float64),
        mass_start=lists.start("mass"),
        mass=lists.array("mass", np.float64),
        partner_start=lists.start("partner"),
        partner=lists.array("partner"),
        molecule_bead=np.concatenate(first_beads),
        site_start=lists.start("site"),
        weighed_start=lists.start("weighed"),
        weighed=lists.array("weighed"),
        weight=lists.array("weight", np.float64),
        molecule=np.repeat(np.arange(sum(map(len, begin))), np.concatenate(size)),
    )


def _add_molecule(lists: _Lists, molecule: MoleculeHamiltonian, blocks: tuple[Block, ...]) -> None:
    first_term = len(lists.values.get("form", []))
    lists.add("form", molecule.terms.form.tolist())
    lists.add("terms", molecule.terms.atoms.tolist())
    lists.add("parameters", molecule.terms.parameters.tolist())
    lists.add("special", molecule.special.tolist())
    lists.add("special_parameters", molecule.special_parameters.tolist())
    lists.add("fixed", molecule.fixed.tolist())
    lists.add("length", molecule.length.tolist())
    lists.add("mass", molecule.moltype.masses.tolist())
    lists.add("site", range(molecule.weights.shape[0]))
    for row in molecule.weights.tocsr():
        lists.add("weighed", row.indices.tolist())
        lists.add("weight", row.data.tolist())
    special = {
        (int(i), int(j)): p for (i, j), p in zip(molecule.special, molecule.special_parameters, strict=True)
    }
    special |= {(j, i): p for (i, j), p in special.items()}
    partners: list[set[int]] = [set() for _ in range(molecule.moltype.n_atoms)]
    terms_of: list[set[int]] = [set() for _ in range(molecule.moltype.n_atoms)]
    for i, j in special:
        partners[i].add(j)
    for i, found in enumerate(partners):
        lists.add("partner", [i, *sorted(found)])
    for number, atoms in enumerate(molecule.terms.atoms.tolist()):
        for i in atoms:
            if i >= 0:
                terms_of[i].add(number)
    for block in blocks:
        own = block.atoms.tolist()
        near = sorted(set().union(*(partners[i] for i in own)) - set(own))
        sort = sorted({int(molecule.types[i]) for i in own})
        home = int(molecule.mapping.owner[block.centre])
        beads = [home, *sorted({int(molecule.mapping.owner[i]) for i in own} - {home})]
        for name, values in (("own", own), ("near", near), ("sort", sort), ("bead", beads)):
            lists.add(name, values)
        lists.add("centre", [block.centre])
        lists.add("every", [block.every])
        lists.add("move_type", [move.move_type for move in block.moves])
        for move in block.moves:
            _add_move(lists, molecule, move, own, near, sort, special, terms_of, first_term)


def _add_move(
    lists: _Lists,
    molecule: MoleculeHamiltonian,
    move: Move,
    own: list[int],
    near: list[int],
    sort: list[int],
    special: dict[tuple[int, int], Any],
    terms_of: list[set[int]],
    first_term: int,
) -> None:
    moved = move.atoms.tolist()
    # distances among these do not change
    rigid = set(moved) | ({i for i in move.axis if i >= 0} if move.move_type != SHIFT else set())
    touched = sorted(set().union(*(terms_of[i] for i in moved)))
    changed = [
        t for t in touched if not rigid.issuperset(molecule.terms.atoms[t][molecule.terms.atoms[t] >= 0])
    ]
    pairs, parameters = [], []
    for i in moved:
        for j in (*own, *near):
            if j in rigid:
                continue
            values = special.get((i, j), PLAIN)
            if np.any(values):
                pairs.append((i, j))
                parameters.append(values)
    weights = molecule.weights[:, moved].toarray()
    beads = np.flatnonzero(np.any(weights, axis=1))
    lists.add("first", [move.axis[0]])
    lists.add("second", [move.axis[1]])
    lists.add("repeat", [move.repeat])
    lists.add("moved", moved)
    lists.add("slot", [sort.index(int(molecule.types[i])) for i in moved])
    lists.add("owner", molecule.mapping.owner[moved].tolist())
    lists.add("term", [first_term + t for t in changed])
    lists.add("pair", pairs)
    lists.add("pair_parameters", parameters)
    lists.add("weigh", beads.tolist())
    lists.add("share", weights[beads].reshape(-1).tolist())


PLAIN = np.array([0.0, 0.0, 0.0, 0.0, 1.0])  # a pair that interacts as all others do

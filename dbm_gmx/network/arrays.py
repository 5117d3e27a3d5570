"""What the network needs to know of a system and no frame changes, as arrays over its atoms and beads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.mapping import Match, bead_graph
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType, excluded_pairs
from dbm_gmx.network.build_order import BuildOrder, make_build_order
from dbm_gmx.network.channels import ROLES, Channels, FeatureTable, bead_types_of, classes_of, feature_table


@dataclass(frozen=True, eq=False)
class NetworkArrays:
    """Arrays over atoms (n) and beads (m); atoms and beads in file order.

    Attributes
    ----------
    owner, molecule, atom_class, hydrogen
        (n,) owning bead, molecule, row of the feature table, whether it is a hydrogen.
    growth_rank, sweep_rank
        (n,) atoms of one rank are placed together.  In growth an atom knows those of lower growth rank; in
        a sweep it knows all others.
    row
        (n,) row of the atom among the atoms of one molecule of each type, in the order of the types.
    partners, partner_row
        (rows, p) atoms within three bonds or excluded, as offsets from the atom itself (0: none), and their
        rows of the feature table.
    align, second
        (m,) beads that fix the local frame: z points to ``align``, ``second`` lies in the xz plane;
        -1 where there is none.
    bead_row, current_row
        (m,) rows of the feature table: of a bead among others, and of the one that owns the current atom.
    owned_start, owned
        (m + 1,), (n,) atoms of bead b: ``owned[owned_start[b]:owned_start[b + 1]]``.
    """

    owner: Tensor
    molecule: Tensor
    atom_class: Tensor
    hydrogen: Tensor
    growth_rank: Tensor
    sweep_rank: Tensor
    row: Tensor
    partners: Tensor
    partner_row: Tensor
    align: Tensor
    second: Tensor
    bead_row: Tensor
    current_row: Tensor
    owned_start: Tensor
    owned: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.owner)

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.align)


def make_network_arrays(
    system: System, channels: Channels, *, table: FeatureTable | None = None
) -> tuple[NetworkArrays, FeatureTable]:
    """The arrays of one frame of a system, and the feature table.

    Parameters
    ----------
    table
        Of several systems; that of this system's atom classes and bead types if not given.

    Raises
    ------
    InputError
        If no channel has an atom class or bead type of the system.
    """
    classes = classes_of(system, channels)
    if table is None:
        atom_classes = [c for names in classes.values() for c in names]
        table = feature_table(channels, atom_classes, sorted(bead_types_of(system)))
    orders = {m.moltype.name: make_build_order(m.moltype, m.mapping) for m in system.matches}
    stages = max(len(o.growth) for o in orders.values()), max(len(o.colours) for o in orders.values())
    molecules = {
        match.moltype.name: _molecule_arrays(
            match, orders[match.moltype.name], classes[match.moltype.name], table=table, stages=stages
        )
        for match in system.matches
    }
    return _system_arrays(system.matches, molecules), table


Arrays = dict[str, np.ndarray]
"""Arrays of a single molecule, keyed as in :class:`NetworkArrays`."""


def _system_arrays(matches: Sequence[Match], molecules: Mapping[str, Arrays]) -> NetworkArrays:
    """Arrays of a system from those of one molecule of each type."""
    partners, partner_row = _stacked(list(molecules.values()))
    first = dict(zip(molecules, np.cumsum([0] + [len(a["owner"]) for a in molecules.values()]), strict=False))
    parts = [_tile(molecules[match.moltype.name], match) for match in matches]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    rows = [np.tile(first[m.moltype.name] + np.arange(m.moltype.n_atoms), m.count) for m in matches]
    sizes = [np.full(m.count, m.moltype.n_atoms) for m in matches]
    joined |= {
        "owned_start": np.append(joined["owned_start"], len(joined["owned"])),
        "row": np.concatenate(rows),
        "molecule": np.repeat(np.arange(sum(m.count for m in matches)), np.concatenate(sizes)),
        "partners": partners,
        "partner_row": partner_row,
    }
    return NetworkArrays(**{key: torch.from_numpy(values) for key, values in joined.items()})


def _stacked(molecules: Sequence[Arrays]) -> tuple[np.ndarray, ...]:
    """Partners of all molecule types, one after the other, padded to the same width."""
    width = max(arrays["partners"].shape[1] for arrays in molecules)
    return tuple(
        np.concatenate([np.pad(a[key], ((0, 0), (0, width - a[key].shape[1]))) for a in molecules])
        for key in ("partners", "partner_row")
    )


def _tile(arrays: Arrays, match: Match) -> Arrays:
    """Arrays of all copies of a molecule, atoms and beads numbered through the system."""
    atom = match.first_atoms
    bead = match.first_bead + len(match.mapping.names) * np.arange(match.count)
    step = {"owner": bead, "align": bead, "second": bead, "owned": atom, "owned_start": atom}

    def tiled(key: str, values: np.ndarray) -> np.ndarray:
        copies = np.broadcast_to(values, (match.count, len(values)))
        if key in step:
            copies = np.where(copies < 0, -1, copies + step[key][:, None])
        return copies.reshape(-1)

    return {key: tiled(key, values) for key, values in arrays.items() if values.ndim == 1}


def _molecule_arrays(
    match: Match, order: BuildOrder, classes: Sequence[str], *, table: FeatureTable, stages: tuple[int, int]
) -> Arrays:
    """Arrays of a single molecule; ``stages`` of growth and of colours, the most of any molecule type."""
    moltype, mapping = match.moltype, match.mapping
    number = {name: k for k, name in enumerate(table.classes)}
    bead_type = np.array([table.bead_types.index(name) for name in mapping.types])
    atom_class = np.array([number[c] for c in classes])
    partners, partner_row = _partners(moltype, atom_class, table)
    by_bead = np.argsort(mapping.owner, kind="stable")
    hydrogen = np.zeros(moltype.n_atoms, bool)
    hydrogen[np.concatenate([np.zeros(0, np.int64), *order.hydrogen])] = True
    return {
        "owner": mapping.owner,
        "atom_class": atom_class,
        "hydrogen": hydrogen,
        "growth_rank": _ranks(order, order.growth, stages[0]),
        "sweep_rank": _ranks(order, order.colours, stages[1]),
        "partners": partners,
        "partner_row": partner_row,
        "align": mapping.align,
        "second": _second_beads(bead_graph(mapping, moltype), mapping.align),
        "bead_row": table.bead_row + bead_type,
        "current_row": table.current_row + bead_type,
        "owned_start": np.searchsorted(mapping.owner[by_bead], np.arange(len(mapping.names))),
        "owned": by_bead,
    }


def _ranks(order: BuildOrder, heavy_stages: Sequence[np.ndarray], stages: int) -> np.ndarray:
    """(n,) rank of every atom: heavy atoms by the given stages, then hydrogens by colours.

    Ranks of different molecule types are comparable: stage s of one is stage s of all.
    """
    rank = np.zeros(sum(map(len, order.heavy)) + sum(map(len, order.hydrogen)), np.int64)
    for phase, stages_of_beads in enumerate((heavy_stages, order.colours)):
        atoms_of = order.hydrogen if phase else order.heavy
        for s, beads in enumerate(stages_of_beads):
            for b in beads:
                rank[atoms_of[b]] = (phase * stages + s) * MOST_ATOMS + np.arange(len(atoms_of[b]))
    return rank


MOST_ATOMS = 2**20  # of one bead: ranks set aside for a stage


def _partners(
    moltype: MoleculeType, atom_class: np.ndarray, table: FeatureTable
) -> tuple[np.ndarray, np.ndarray]:
    """Atoms within three bonds of each atom, or that are not non-bonded, and their feature rows."""
    near = {
        i: nx.single_source_shortest_path_length(moltype.graph, i, cutoff=len(ROLES)) for i in moltype.graph
    }
    if table.bond_counts:
        excluded = nx.Graph((i, j) for i, reach in near.items() for j in reach)
    else:
        excluded = nx.Graph(excluded_pairs(moltype).tolist())
        excluded.add_nodes_from(moltype.graph)
    found: list[list[tuple[int, int]]] = []
    for i in range(moltype.n_atoms):
        reach = dict.fromkeys(excluded[i], len(ROLES) + 1) | near[i]
        found.append(
            [
                (j, _bonded_row(table, bonds - 1, j in excluded[i], int(atom_class[j])))
                for j, bonds in sorted(reach.items())
                if bonds
            ]
        )
    width = max(1, *map(len, found))
    partners, rows = np.zeros((2, len(found), width), np.int64)
    for i, entries in enumerate(found):
        for k, (j, row) in enumerate(entries):
            partners[i, k], rows[i, k] = j - i, row
    return partners, rows


def _bonded_row(table: FeatureTable, role: int, excluded: bool, atom_class: int) -> int:
    return table.bonded_row + (2 * role + excluded) * len(table.classes) + atom_class


def _second_beads(graph: nx.Graph, align: np.ndarray) -> np.ndarray:
    """(m,) a bead near each bead that is neither itself nor its alignment bead, -1 if there is none."""
    second = np.full(len(align), -1)
    for b, a in enumerate(align):
        if a >= 0:
            near = nx.single_source_shortest_path_length(graph, b, cutoff=3)
            others = sorted((bonds, j) for j, bonds in near.items() if j not in (b, a))
            second[b] = others[0][1] if others else -1
    return second


def repeat_frames(arrays: NetworkArrays, frames: int) -> NetworkArrays:
    """Arrays of several frames, one after the other, from those of one."""
    n, m = arrays.n_atoms, arrays.n_beads
    molecules = int(arrays.molecule.max()) + 1
    step = {"owner": m, "align": m, "second": m, "molecule": molecules, "owned": n}

    def tiled(key: str) -> Tensor:
        values: Tensor = getattr(arrays, key)
        if key in ("partners", "partner_row"):
            return values
        if key == "owned_start":
            starts = [values[:-1] + f * n for f in range(frames)]
            return torch.cat([*starts, torch.tensor([frames * n])])
        shift = step.get(key, 0)
        return torch.cat(
            [torch.where(values < 0, -1, values + f * shift) if shift else values for f in range(frames)]
        )

    return arrays if frames == 1 else NetworkArrays(**{f.name: tiled(f.name) for f in fields(NetworkArrays)})

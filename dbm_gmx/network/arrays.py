"""All that stays the same from frame to frame, as arrays over the atoms and beads of a system."""

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
from dbm_gmx.network.build_order import Plan, make_plan
from dbm_gmx.network.channels import ROLES, Channels, FeatureTable, bead_types_of, classes_of, feature_table


@dataclass(frozen=True, eq=False)
class Layout:
    """Arrays over atoms (n) and beads (m); atoms and beads in file order.

    Attributes
    ----------
    owner, molecule, atom_class, hydrogen
        (n,) owning bead, molecule, row of the feature table, whether it is a hydrogen.
    growth, sweep
        (n,) ranks: atoms of one rank are placed together.  In growth an atom sees those of lower
        rank; in a sweep it sees all others.
    row
        (n,) row of the atom among the atoms of one molecule of each type, in the order of the types.
    partners, partner_row
        (rows, p) where the atoms within three bonds or excluded are, counted from the atom itself
        (0: none), and their rows of the feature table.
    align, second
        (m,) beads that fix the local frame: z points to ``align``, ``second`` lies in the xz plane;
        -1 where there is none.
    bead_row, current_row
        (m,) rows of the feature table: of a bead among others, and of the one that owns the current atom.
    own_start, own
        (m + 1,), (n,) atoms of bead b: ``own[own_start[b]:own_start[b + 1]]``.
    """

    owner: Tensor
    molecule: Tensor
    atom_class: Tensor
    hydrogen: Tensor
    growth: Tensor
    sweep: Tensor
    row: Tensor
    partners: Tensor
    partner_row: Tensor
    align: Tensor
    second: Tensor
    bead_row: Tensor
    current_row: Tensor
    own_start: Tensor
    own: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.owner)

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.align)


def make_layout(
    matches: Sequence[Match],
    plans: Mapping[str, Plan],
    classes: Mapping[str, Sequence[str]],
    *,
    table: FeatureTable,
) -> Layout:
    """Arrays of one frame of a system; plans and atom classes by molecule type."""
    used = [plans[match.moltype.name] for match in matches]
    stages = max(len(plan.growth) for plan in used), max(len(plan.colours) for plan in used)
    moltypes = {
        match.moltype.name: _kind_arrays(
            match, plans[match.moltype.name], classes[match.moltype.name], table=table, stages=stages
        )
        for match in matches
    }
    partners, partner_row = _stacked([moltypes[name] for name in moltypes])
    first = dict(zip(moltypes, np.cumsum([0] + [len(k["owner"]) for k in moltypes.values()]), strict=False))
    parts = [_tile(moltypes[match.moltype.name], match) for match in matches]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    rows = [np.tile(first[m.moltype.name] + np.arange(m.moltype.n_atoms), m.count) for m in matches]
    molecules = [np.full(m.count, m.moltype.n_atoms) for m in matches]
    joined |= {
        "own_start": np.append(joined["own_start"], len(joined["own"])),
        "row": np.concatenate(rows),
        "molecule": np.repeat(np.arange(sum(m.count for m in matches)), np.concatenate(molecules)),
        "partners": partners,
        "partner_row": partner_row,
    }
    return Layout(**{key: torch.from_numpy(values) for key, values in joined.items()})


def _stacked(moltypes: Sequence[dict[str, np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Partners of all molecule types, one after the other, padded to the same width."""
    width = max(moltype["partners"].shape[1] for moltype in moltypes)
    return tuple(
        np.concatenate([np.pad(k[key], ((0, 0), (0, width - k[key].shape[1]))) for k in moltypes])
        for key in ("partners", "partner_row")
    )


def _tile(arrays: dict[str, np.ndarray], match: Match) -> dict[str, np.ndarray]:
    """Arrays of all copies of a molecule type from those of one, rows counted through the system."""
    atom = match.first_atoms
    bead = match.first_bead + len(match.mapping.names) * np.arange(match.count)
    step = {"owner": bead, "align": bead, "second": bead, "own": atom, "own_start": atom}

    def tiled(key: str, values: np.ndarray) -> np.ndarray:
        copies = np.broadcast_to(values, (match.count, len(values)))
        if key in step:
            copies = np.where(copies < 0, -1, copies + step[key][:, None])
        return copies.reshape(-1)

    return {key: tiled(key, values) for key, values in arrays.items() if values.ndim == 1}


def _kind_arrays(
    match: Match, plan: Plan, classes: Sequence[str], *, table: FeatureTable, stages: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Arrays of a single molecule, keyed as in :class:`Layout`."""
    moltype, mapping = match.moltype, match.mapping
    number = {name: k for k, name in enumerate(table.classes)}
    bead_type = np.array([table.bead_types.index(name) for name in mapping.types])
    atom_class = np.array([number[c] for c in classes])
    partners, partner_row = _partners(moltype, atom_class, table)
    order = np.argsort(mapping.owner, kind="stable")
    hydrogen = np.zeros(moltype.n_atoms, bool)
    hydrogen[np.concatenate([np.zeros(0, np.int64), *plan.hydrogen])] = True
    return {
        "owner": mapping.owner,
        "atom_class": atom_class,
        "hydrogen": hydrogen,
        "growth": _ranks(plan, plan.growth, stages[0]),
        "sweep": _ranks(plan, plan.colours, stages[1]),
        "partners": partners,
        "partner_row": partner_row,
        "align": mapping.align,
        "second": _second_beads(bead_graph(mapping, moltype), mapping.align),
        "bead_row": table.bead_row + bead_type,
        "current_row": table.current_row + bead_type,
        "own_start": np.searchsorted(mapping.owner[order], np.arange(len(mapping.names))),
        "own": order,
    }


def _ranks(plan: Plan, heavy_stages: Sequence[np.ndarray], stages: int) -> np.ndarray:
    """(n,) rank of every atom: heavy atoms by the given stages, then hydrogens by colours.

    Ranks of different molecule types are comparable: stage s of one is stage s of all.
    """
    rank = np.zeros(sum(map(len, plan.heavy)) + sum(map(len, plan.hydrogen)), np.int64)
    for phase, groups in enumerate((heavy_stages, plan.colours)):
        atoms_of = plan.hydrogen if phase else plan.heavy
        for s, beads in enumerate(groups):
            for b in beads:
                rank[atoms_of[b]] = (phase * stages + s) * MOST_ATOMS + np.arange(len(atoms_of[b]))
    return rank


MOST_ATOMS = 2**20  # of one bead: ranks set aside for a stage


def _partners(
    moltype: MoleculeType, atom_class: np.ndarray, table: FeatureTable
) -> tuple[np.ndarray, np.ndarray]:
    """Atoms within three bonds of each atom or excluded from it, and the rows of the feature table."""
    excluded = nx.Graph(excluded_pairs(moltype).tolist())
    excluded.add_nodes_from(moltype.graph)
    found: list[list[tuple[int, int]]] = []
    for i in range(moltype.n_atoms):
        reach = dict.fromkeys(excluded[i], len(ROLES) + 1)
        reach |= nx.single_source_shortest_path_length(moltype.graph, i, cutoff=len(ROLES))
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


def repeat(layout: Layout, frames: int) -> Layout:
    """Return the layout of several frames, one after the other."""
    n, m = layout.n_atoms, layout.n_beads
    molecules = int(layout.molecule.max()) + 1
    step = {"owner": m, "align": m, "second": m, "molecule": molecules, "own": n}

    def tiled(key: str) -> Tensor:
        values: Tensor = getattr(layout, key)
        if key in ("partners", "partner_row"):
            return values
        if key == "own_start":
            starts = [values[:-1] + f * n for f in range(frames)]
            return torch.cat([*starts, torch.tensor([frames * n])])
        shift = step.get(key, 0)
        return torch.cat(
            [torch.where(values < 0, -1, values + f * shift) if shift else values for f in range(frames)]
        )

    return layout if frames == 1 else Layout(**{f.name: tiled(f.name) for f in fields(Layout)})


def system_layout(
    system: System, channels: Channels, *, table: FeatureTable | None = None
) -> tuple[Layout, FeatureTable]:
    """The arrays of one frame, and the features of what occurs in the system, or in several (``table``).

    Raises
    ------
    InputError
        If the channels do not show an atom class or bead type of the system.
    """
    classes = classes_of(system, channels)
    if table is None:
        atom_classes = [c for names in classes.values() for c in names]
        table = feature_table(channels, atom_classes, sorted(bead_types_of(system)))
    plans = {m.moltype.name: make_plan(m.moltype, m.mapping) for m in system.matches}
    return make_layout(system.matches, plans, classes, table=table), table

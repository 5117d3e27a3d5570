"""The local environment of a heavy atom as a row of numbers, for a classifier.

A row holds the kind of the atom, the torsions that follow each other along the chain there, bonds, angles,
and the sorted distances to the nearest atoms beyond three bonds, of its own molecule or of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import networkx as nx
import numpy as np
import torch

from dbm_gmx.chemistry.array_types import BoolArray, Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import lattice_of, neighbour_pairs
from dbm_gmx.chemistry.topology import (
    MoleculeType,
    Topology,
    blocks,
    chemical_graph,
    heavy_atoms,
    hydrogens,
    is_excluded,
)
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.evaluation.distributions import MEASURES
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.energy import points_of

ABOUT = 3
"""Bonds of an atom about which torsions are looked at; the next bond along the chain adds one to each."""

TORSIONS, BONDS, ANGLES = 2 * ABOUT, 4, 6
"""Torsions, bonds and angles of an atom that are looked at, at most."""

HEAVY, LIGHT = 12, 4
"""Nearest heavy atoms and nearest hydrogens whose distances are looked at."""

REACH = 0.7
"""Distance up to which neighbours are looked for, nm."""

APART = 3
"""Bonds up to which atoms are no neighbours: torsions, angles and bonds say where these are."""

KINDS = 250
"""Types of atoms that are told apart; rarer ones are one kind.  A classifier knows no more than 255."""

COLUMNS = {"kind": 1, "torsions": 2 * TORSIONS, "bonds": BONDS, "angles": ANGLES, "neighbours": HEAVY + LIGHT}
"""Columns of a row, in their order; a torsion has two, its sine and its cosine."""


def groups() -> dict[str, slice]:
    """Columns of a row by what they are, without that of the kind of atom."""
    ends = zip(COLUMNS, np.cumsum(list(COLUMNS.values())).tolist(), strict=True)
    return {name: slice(end - COLUMNS[name], end) for name, end in ends if name != "kind"}


@dataclass(frozen=True, eq=False)
class Sites:
    """The heavy atoms of a system that are looked at, the same in all frames.

    Attributes
    ----------
    topology
        The system; what it excludes are pairs up to :data:`APART` bonds from each other.
    heavy, hydrogen
        (n,) which atoms of the system are heavy, and which are hydrogens.
    atoms, kind
        (s,) rows of the system, and numbers of their types, the most frequent first.
    torsions, bonds, angles
        (s, :data:`TORSIONS`, 4), (s, :data:`BONDS`, 2) and (s, :data:`ANGLES`, 3) rows of the system, -1
        where there are fewer.
    """

    topology: Topology
    heavy: BoolArray
    hydrogen: BoolArray
    atoms: IntArray
    kind: IntArray
    torsions: IntArray
    bonds: IntArray
    angles: IntArray


def find_sites(topology: Topology, constraints: str, most: int, rng: np.random.Generator) -> Sites:
    """Choose up to so many heavy atoms of a system at random, and find what the graph has around them.

    Bonds and angles that constraints fix are left out: they would only tell files of one precision from those
    of another.
    """
    heavy = _of_all(topology, heavy_atoms)
    every = np.flatnonzero(heavy)
    atoms = np.sort(rng.choice(every, min(most, len(every)), replace=False))
    found: dict[str, list[IntArray]] = {name: [] for name in ("torsions", "bonds", "angles")}
    local = {name: _around(moltype, constraints) for name, moltype in topology.molecule_types.items()}
    for moltype, first, count in blocks(topology):
        chosen = atoms[(atoms >= first) & (atoms < first + count * moltype.n_atoms)]
        inside = (chosen - first) % moltype.n_atoms
        for name, rows in local[moltype.name].items():
            here = rows[inside]
            found[name].append(np.where(here < 0, -1, here + (chosen - inside)[:, None, None]))
    return Sites(
        _wider(topology),
        heavy,
        _of_all(topology, hydrogens),
        atoms,
        _kinds(topology)[atoms],
        **{name: np.concatenate(parts) for name, parts in found.items()},
    )


def _of_all(topology: Topology, of: Callable[[MoleculeType], BoolArray]) -> BoolArray:
    """(n,) what is true of the atoms of all molecules."""
    return np.concatenate([np.tile(of(moltype), count) for moltype, _, count in blocks(topology)])


def _wider(topology: Topology) -> Topology:
    """The same molecules, of which all pairs up to :data:`APART` bonds are excluded, and no others."""
    none = np.zeros((0, 2), np.int64)
    moltypes = {
        name: replace(moltype, nrexcl=APART, exclusions=none)
        for name, moltype in topology.molecule_types.items()
    }
    return replace(topology, molecule_types=moltypes)


def _kinds(topology: Topology) -> IntArray:
    """(n,) numbers of the types of all atoms, the most frequent first."""
    names = [str(t) for moltype, _, count in blocks(topology) for t in moltype.attribute("type") * count]
    _, row, members = np.unique(names, return_inverse=True, return_counts=True)
    rank = np.empty(len(members), np.int64)
    rank[np.argsort(-members, kind="stable")] = np.arange(len(members))
    return np.minimum(rank[row], KINDS)


# --- in the graph of a molecule type -------------------------------------------------------------------


def _around(moltype: MoleculeType, constraints: str) -> dict[str, IntArray]:
    """Torsions, bonds and angles at each atom of a molecule type, see :class:`Sites`."""
    solid, near = heavy_atoms(moltype), _neighbours(moltype)
    held = {frozenset(pair) for pair in fixed_bonds(moltype, constraints)[0].tolist()}
    torsions = np.full((moltype.n_atoms, TORSIONS, 4), -1)
    bonds, angles = np.full((moltype.n_atoms, BONDS, 2), -1), np.full((moltype.n_atoms, ANGLES, 3), -1)
    for i in np.flatnonzero(solid).tolist():
        for place, torsion in _torsions(near, solid, i):
            torsions[i, place] = torsion
        free = [(i, j) for j in near[i] if frozenset((i, j)) not in held]
        wide = [(j, i, k) for j, k in combinations(near[i], 2) if not _is_held(held, j, i, k)]
        bonds[i, : len(free)] = np.reshape(free[:BONDS], (-1, 2))
        angles[i, : len(wide)] = np.reshape(wide[:ANGLES], (-1, 3))
    return {"torsions": torsions, "bonds": bonds, "angles": angles}


def _neighbours(moltype: MoleculeType) -> list[list[int]]:
    """Bonded atoms of each: heavy ones first, among these those whose bond can turn, then as in the file."""
    graph, solid = chemical_graph(moltype), heavy_atoms(moltype)
    turning = {frozenset(edge) for edge in nx.bridges(graph)}

    def ordered(i: int) -> list[int]:
        return sorted(graph[i], key=lambda j: (not solid[j], frozenset((i, j)) not in turning, j))

    return [ordered(i) for i in range(moltype.n_atoms)]


def _is_held(held: set[frozenset[int]], i: int, j: int, k: int) -> bool:
    """Whether an angle has its three distances fixed."""
    return {frozenset((i, j)), frozenset((j, k)), frozenset((i, k))} <= held


def _torsions(near: Sequence[Sequence[int]], solid: BoolArray, i: int) -> Iterator[tuple[int, list[int]]]:
    """Yield torsions about bonds of an atom and about the next bonds along the chain, with their places."""

    def onward(at: int, back: int) -> int | None:
        """The neighbour that a chain goes on to: a heavy one, or the only hydrogen."""
        others = [j for j in near[at] if j != back]
        light = [j for j in others if not solid[j]]
        return next((j for j in others if solid[j]), light[0] if len(light) == 1 else None)

    for place, j in enumerate([j for j in near[i] if solid[j]][:ABOUT]):
        before, after = onward(i, j), onward(j, i)
        if after is None:
            continue
        if before is not None:
            yield place, [before, i, j, after]
        last = onward(after, j)
        if last is not None:
            yield place + ABOUT, [i, j, after, last]


# --- in a frame ----------------------------------------------------------------------------------------


def environments(sites: Sites, frame: Frame) -> Float32Array:
    """Environments of the sites of a frame of whole molecules.

    Returns
    -------
    (s, sum of :data:`COLUMNS`) the kind, then radians or nm as :func:`groups` names them; not a number where
    there is none.
    """
    positions = torch.from_numpy(frame.positions.astype(np.float64))
    lattice = lattice_of(frame)
    turns = _values(sites.torsions, positions, "dihedral", lattice)
    return np.concatenate(
        [
            sites.kind[:, None],
            np.stack((np.sin(turns), np.cos(turns)), axis=2).reshape(len(turns), -1),
            _values(sites.bonds, positions, "bond", lattice),
            _values(sites.angles, positions, "angle", lattice),
            _nearest(sites, frame, sites.heavy, HEAVY),
            _nearest(sites, frame, sites.hydrogen, LIGHT),
        ],
        axis=1,
    ).astype(np.float32)


def _values(rows: IntArray, positions: torch.Tensor, part: str, lattice: Lattice | None) -> FloatArray:
    """(s, k) lengths or angles of rows (s, k, m), not a number where a row is none."""
    there = rows[..., 0] >= 0
    found = np.full(there.shape, np.nan)
    (values,) = MEASURES[part](points_of(positions, rows[there], lattice))
    found[there] = values.numpy()
    return found


def _nearest(sites: Sites, frame: Frame, among: BoolArray, count: int) -> FloatArray:
    """(s, count) sorted distances to the nearest of some atoms, nm."""
    others = np.flatnonzero(among)
    pairs = neighbour_pairs(frame.positions[sites.atoms], frame.positions[others], frame.box, REACH)
    rows = np.stack((sites.atoms[pairs.i], others[pairs.j]), axis=1)
    apart = ~is_excluded(sites.topology, np.sort(rows, axis=1)) & (rows[:, 0] != rows[:, 1])
    site, distance = pairs.i[apart], pairs.distances[apart]
    order = np.lexsort((distance, site))
    site, distance = site[order], distance[order]
    place = np.arange(len(site)) - np.searchsorted(site, site)
    found = np.full((len(sites.atoms), count), np.nan)
    kept = place < count
    found[site[kept], place[kept]] = distance[kept]
    return found

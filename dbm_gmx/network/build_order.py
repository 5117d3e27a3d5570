"""The order in which the beads of a molecule type and their atoms are placed.

Heavy atoms of all beads come before the hydrogens of any (the paper's implementation details).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import bead_graph
from dbm_gmx.chemistry.topology import MoleculeType, hydrogens


@dataclass(frozen=True, eq=False)
class BuildOrder:
    """The order of placing of one molecule type.

    Attributes
    ----------
    molecule
        Name of the molecule type.
    beads
        (m,) beads in the order of placing.
    heavy, hydrogen
        For each bead (not step) its heavy atoms and its hydrogens, in order; every atom of the
        molecule occurs once.
    growth
        Stages of placing the heavy atoms: beads of one stage are placed side by side and are never
        within two bonds of each other.
    colours
        Stages for hydrogens and sweeps: every bead once, again never within two bonds.
    """

    molecule: str
    beads: IntArray
    heavy: tuple[IntArray, ...]
    hydrogen: tuple[IntArray, ...]
    growth: tuple[IntArray, ...]
    colours: tuple[IntArray, ...]


def make_build_order(moltype: MoleculeType, mapping: BeadMapping, *, segment: int = 64) -> BuildOrder:
    """Work out the order of a molecule type.

    Beads are walked along their bonds from the first one, atoms within a bead along theirs from
    those bonded to an atom placed before.  Parts of a bead joined only through another bead start
    on their own.

    Parameters
    ----------
    moltype, mapping
        The molecule type and its beads.
    segment
        A molecule of more beads is cut into pieces of the order, of at most so many beads, which
        grow side by side.
    """
    beads = bead_graph(mapping, moltype)
    near = _within_two_bonds(beads)
    sequence = list(_walk(beads, beads))
    growth = _growth(sequence, near, segment=segment)
    colours = _colours(near)
    owned = _owned(mapping)
    light = hydrogens(moltype)
    rank: dict[int, int] = {}
    atoms = []
    for stages, wanted in ((growth, ~light), (colours, light)):
        parts = [atoms[wanted[atoms]] for atoms in owned]
        atoms.append(_atom_orders(moltype.graph, parts, stages, rank=rank))
    return BuildOrder(moltype.name, np.array(sequence, np.int64), atoms[0], atoms[1], growth, colours)


def _owned(mapping: BeadMapping) -> list[IntArray]:
    """Return the atoms of each bead, ascending."""
    by_bead = np.argsort(mapping.owner, kind="stable")
    ends = np.cumsum(np.bincount(mapping.owner, minlength=len(mapping.names)))
    return np.split(by_bead, ends[:-1])


def _walk(graph: Mapping[int, Iterable[int]], starts: Iterable[int]) -> Iterator[int]:
    """Yield nodes of a graph depth first; each start not reached yet begins another tree.

    Parameters
    ----------
    graph
        Node -> neighbours, in the order in which they are to be visited.
    starts
        Nodes in order of preference; must reach all of them.
    """
    seen: set[int] = set()
    for start in starts:
        frontier = [start]
        while frontier:
            node = frontier.pop()
            if node in seen:
                continue
            seen.add(node)
            yield node
            fresh = [n for n in graph[node] if n not in seen]
            frontier += fresh[::-1]


def _within_two_bonds(beads: nx.Graph) -> nx.Graph:
    """Return the square of the bead graph."""
    near = nx.Graph()
    near.add_nodes_from(beads)
    near.add_edges_from(beads.edges)
    near.add_edges_from((i, k) for i in beads for j in beads[i] for k in beads[j] if i < k)
    return near


def _growth(sequence: Sequence[int], near: nx.Graph, *, segment: int) -> tuple[IntArray, ...]:
    """Cut a sequence into nearly equal segments; stage s holds the s-th bead of each."""
    pieces = np.array_split(np.array(sequence, np.int64), max(1, math.ceil(len(sequence) / segment)))
    stages = ([int(p[s]) for p in pieces if s < p.size] for s in range(pieces[0].size))
    return tuple(np.array(part, np.int64) for stage in stages for part in _apart(stage, near))


def _apart(stage: Sequence[int], near: nx.Graph) -> list[list[int]]:
    """Split a stage so that no two of its beads are near each other: branched molecules need it."""
    parts: list[list[int]] = []
    for bead in stage:
        free = next((p for p in parts if near[bead].keys().isdisjoint(p)), None)
        if free is None:
            parts.append([bead])
        else:
            free.append(bead)
    return parts


def _colours(near: nx.Graph) -> tuple[IntArray, ...]:
    colour = nx.greedy_color(near, strategy="largest_first")
    stages: list[list[int]] = [[] for _ in range(max(colour.values(), default=-1) + 1)]
    for bead in sorted(colour):
        stages[colour[bead]].append(bead)
    return tuple(np.array(stage, np.int64) for stage in stages)


def _atom_orders(
    graph: nx.Graph,
    parts: Sequence[IntArray],
    stages: Sequence[IntArray],
    *,
    rank: dict[int, int],
) -> tuple[IntArray, ...]:
    """Order the given atoms of each bead, stage by stage.

    Parameters
    ----------
    graph
        Of the molecule type.
    parts
        The atoms in question of each bead.
    stages
        Beads placed side by side; atoms of one stage do not know each other.
    rank
        Atom -> its index in the sequence, of atoms placed before; those ordered here are added.
    """
    orders = [np.zeros(0, np.int64)] * len(parts)
    for stage in stages:
        for bead in map(int, stage):
            orders[bead] = _atom_order(graph, parts[bead], rank=rank)
        for atom in np.concatenate([orders[bead] for bead in stage]):
            rank[int(atom)] = len(rank)
    return tuple(orders)


def _atom_order(graph: nx.Graph, atoms: IntArray, *, rank: Mapping[int, int]) -> IntArray:
    """Walk the atoms of a bead, first from those bonded to what was placed earliest.

    Massless sites come last: they are built from the others.
    """
    inside = {int(a) for a in atoms}
    neighbours = {a: sorted(n for n in graph[a] if n in inside) for a in sorted(inside)}
    never = len(graph)

    def preference(atom: int) -> tuple[int, int]:
        return min((rank[n] for n in graph[atom] if n in rank), default=never), atom

    walk = list(_walk(neighbours, sorted(inside, key=preference)))
    walk.sort(key=lambda a: graph.nodes[a]["mass"] == 0)
    return np.array(walk, np.int64)


def describe(order: BuildOrder, moltype: MoleculeType, mapping: BeadMapping) -> str:
    """The order as a table: step, growth stage, colour, bead, its atoms (numbers from 1)."""
    stage = {int(bead): s for s, beads in enumerate(order.growth, 1) for bead in beads}
    colour = {int(bead): c for c, beads in enumerate(order.colours, 1) for bead in beads}
    n_heavy = sum(a.size for a in order.heavy)
    lines = [
        f"{order.molecule}: {order.beads.size} beads, {n_heavy} heavy atoms in {len(order.growth)} stages, "
        f"then {moltype.n_atoms - n_heavy} hydrogens in {len(order.colours)}",
        f"{'step':>5} {'stage':>5} {'colour':>6}  {'bead':<8} atoms | hydrogens",
    ]
    for step, bead in enumerate(map(int, order.beads), 1):
        heavy, light = (
            " ".join(f"{a + 1}:{moltype.names[a]}" for a in group[bead])
            for group in (order.heavy, order.hydrogen)
        )
        where = f"{step:>5} {stage[bead]:>5} {colour[bead]:>6}  {mapping.names[bead]:<8}"
        lines.append(f"{where} {heavy or '-'} | {light or '-'}")
    return "\n".join(lines)

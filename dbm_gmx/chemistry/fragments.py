"""Pieces of a molecule that move together: rings and branch points, joined by rotatable bonds.

Taken from the molecular graph alone.  A fragment's *centre* is a system of small rings or one atom with
several bonds, and the atoms with a single bond belong to the fragment of the atom that holds them.  Virtual
sites are in none: they follow the atoms they are made of.

Rings of more than :data:`~dbm_gmx.chemistry.stereo_bonds.SMALL_RING` members are not rigid: they are made of
several fragments.  Fragments are a tree all the same: each large ring is opened at a bond.  Of those that
would do it is the one whose atoms are the farthest apart in the file (a disulfide, or that between the ends
of a chain).  That orders the fragments, no more: fragments on either side of an opened bond are neighbours
like others, and the force field closes the ring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.stereo_bonds import in_small_ring
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.virtual_sites import made_of, real_graph, virtual_sites


@dataclass(frozen=True, eq=False)
class Fragment:
    """One node of the tree.

    Attributes
    ----------
    centre
        Atoms of the ring system, or the one atom.
    own
        The centre and the atoms with a single bond on it; every atom but virtual sites is owned once.
    shell
        Atoms of other fragments bonded to the centre.
    parent
        Number of the fragment it hangs on, -1 for a root.
    joint
        The bond to the parent: its atom, our atom; (-1, -1) for a root.
    children
        Numbers of the fragments that hang on this one, the smallest branch first.
    closings
        Numbers of the fragments it is bonded to where a ring is opened.
    in_ring
        Whether the bond to the parent is one of a large ring: what hangs on it cannot turn by itself.
    """

    centre: IntArray
    own: IntArray
    shell: IntArray
    parent: int
    joint: tuple[int, int]
    children: tuple[int, ...]
    closings: tuple[int, ...] = ()
    in_ring: bool = False

    @property
    def atoms(self) -> IntArray:
        """Own atoms and shell, in the order of the molecule."""
        return np.union1d(self.own, self.shell)


def make_fragments(moltype: MoleculeType) -> tuple[Fragment, ...]:
    """Cut a molecule type into fragments.

    Returns
    -------
    Parents before children, depth first, small branches before large ones, so that what is
    placed in this order closes side groups before it goes on along the chain.  Each connected part of
    the molecule has a root of its own: a fragment at one of its ends.
    """
    graph = real_graph(moltype)
    home = _centres(graph)
    centres: list[list[int]] = [[] for _ in range(max(home.values(), default=-1) + 1)]
    for atom in range(moltype.n_atoms):
        if atom in home:
            centres[home[atom]].append(atom)
    own = [_with_leaves(graph, home, centre) for centre in centres]
    joined = _joined(graph, home, len(centres))
    tree = nx.minimum_spanning_tree(joined, weight="apart")
    bridges = {frozenset(pair) for pair in nx.bridges(joined)}
    ordered: list[tuple[int, int]] = [step for root in _roots(tree) for step in _walk(tree, root)]
    number = {old: new for new, (old, _) in enumerate(ordered)}
    fragments = []
    for old, parent in ordered:
        bond = tree.edges[old, parent]["bonds"][0] if parent >= 0 else {}
        kin = sorted(number[other] for other in tree[old] if other != parent)
        shell = {bond[other] for other in joined[old] for bond in joined.edges[old, other]["bonds"]}
        closings = sorted(number[other] for other in joined[old] if other not in tree[old])
        turns = frozenset((old, parent)) in bridges and len(tree.edges[old, parent]["bonds"]) == 1
        fragments.append(
            Fragment(
                np.array(centres[old], np.int64),
                np.array(sorted(own[old]), np.int64),
                np.array(sorted(shell), np.int64),
                number.get(parent, -1),
                (bond[parent], bond[old]) if bond else (-1, -1),
                tuple(kin),
                tuple(closings),
                parent >= 0 and not turns,
            )
        )
    return tuple(fragments)


def _joined(graph: nx.Graph, home: dict[int, int], count: int) -> nx.Graph:
    """Centres by number, joined by bonds: the atom of each, and how far these are apart in the file."""
    joined = nx.Graph()
    joined.add_nodes_from(range(count))
    for i, j in graph.edges:
        if i in home and j in home and home[i] != home[j]:
            ends = home[i], home[j]
            if not joined.has_edge(*ends):
                joined.add_edge(*ends, bonds=[], apart=abs(i - j))
            joined.edges[ends]["bonds"].append({home[i]: i, home[j]: j})
    return joined


def fragment_graph(fragments: Sequence[Fragment]) -> nx.Graph:
    """Fragments by number, joined as they are in the molecule."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(fragments)))
    graph.add_edges_from((k, f.parent) for k, f in enumerate(fragments) if f.parent >= 0)
    graph.add_edges_from((k, other) for k, f in enumerate(fragments) for other in f.closings)
    return graph


def homes(moltype: MoleculeType, fragments: Sequence[Fragment]) -> IntArray:
    """(n,) number of the fragment that owns each atom; of a virtual site that of its first atom."""
    home = np.empty(moltype.n_atoms, np.int64)
    for number, fragment in enumerate(fragments):
        home[fragment.own] = number
    sites = virtual_sites(moltype)
    for v, site in enumerate(sites.virtual):
        home[site] = home[made_of(sites, v)[0]]
    return home


def _centres(graph: nx.Graph) -> dict[int, int]:
    """Number of the centre each atom is in; atoms with one bond are in none, unless they are all there is."""
    home: dict[int, int] = {}
    systems = nx.Graph()
    for ring in nx.biconnected_components(graph):
        if len(ring) > 2:
            systems.add_edges_from(edge for edge in graph.subgraph(ring).edges if in_small_ring(graph, *edge))
    groups = [sorted(group) for group in nx.connected_components(systems)]
    taken = set(systems)
    groups += [[i] for i in graph if i not in taken and graph.degree(i) > 1]
    for part in nx.connected_components(graph):
        if not any(i in taken or graph.degree(i) > 1 for i in part):
            groups.append([min(part)])
    for number, group in enumerate(sorted(groups)):
        home |= dict.fromkeys(group, number)
    return home


def _with_leaves(graph: nx.Graph, home: dict[int, int], centre: list[int]) -> set[int]:
    return set(centre) | {j for i in centre for j in graph[i] if j not in home}


def _roots(tree: nx.Graph) -> Iterator[int]:
    """One end of each connected part: the first fragment of the longest path through it."""
    for part in nx.connected_components(tree):
        far = _farthest(tree, min(part))
        yield min(far, _farthest(tree, far))


def _farthest(tree: nx.Graph, start: int) -> int:
    lengths: dict[int, int] = nx.single_source_shortest_path_length(tree, start)
    return max(lengths, key=lambda node: (lengths[node], -node))


def _walk(tree: nx.Graph, root: int) -> list[tuple[int, int]]:
    """(fragment, parent) depth first, the smaller branches first."""
    parent = {child: up for up, child in nx.bfs_edges(tree, root)}
    size = dict.fromkeys([root, *parent], 1)
    for node in reversed(list(parent)):
        size[parent[node]] += size[node]
    steps, stack = [], [root]
    while stack:
        node = stack.pop()
        steps.append((node, parent.get(node, -1)))
        below = [j for j in tree[node] if j != parent.get(node)]
        stack += sorted(below, key=lambda j: (size[j], j), reverse=True)
    return steps


def branch(fragments: tuple[Fragment, ...], top: int) -> IntArray:
    """Own atoms of a fragment and of everything that hangs on it."""
    found, stack = [], [top]
    while stack:
        fragment = fragments[stack.pop()]
        found.append(fragment.own)
        stack += fragment.children
    return np.sort(np.concatenate(found))


def branch_sizes(fragments: tuple[Fragment, ...]) -> list[int]:
    """How many atoms each fragment and everything that hangs on it have, see :func:`branch`."""
    sizes = [len(fragment.own) for fragment in fragments]
    for number in reversed(range(len(fragments))):  # parents come before children
        if fragments[number].parent >= 0:
            sizes[fragments[number].parent] += sizes[number]
    return sizes

"""Pieces of a molecule that move together: rings and branch points, joined by rotatable bonds.

Taken from the molecular graph alone.  The molecule is a tree of fragments; a fragment's *centre* is a
system of rings or one atom with several bonds, and the atoms with a single bond belong to the
fragment of the atom that holds them.  Virtual sites are in none: they follow the atoms they are made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
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
    """

    centre: IntArray
    own: IntArray
    shell: IntArray
    parent: int
    joint: tuple[int, int]
    children: tuple[int, ...]

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
    tree = nx.Graph()
    tree.add_nodes_from(range(len(centres)))
    for i, j in graph.edges:
        if i in home and j in home and home[i] != home[j]:
            tree.add_edge(home[i], home[j], bond={home[i]: i, home[j]: j})
    ordered: list[tuple[int, int]] = [step for root in _roots(tree) for step in _walk(tree, root)]
    number = {old: new for new, (old, _) in enumerate(ordered)}
    fragments = []
    for old, parent in ordered:
        bond = tree.edges[old, parent]["bond"] if parent >= 0 else {}
        kin = sorted(number[other] for other in tree[old] if other != parent)
        shell = {tree.edges[old, other]["bond"][other] for other in tree[old]}
        fragments.append(
            Fragment(
                np.array(centres[old], np.int64),
                np.array(sorted(own[old]), np.int64),
                np.array(sorted(shell), np.int64),
                number.get(parent, -1),
                (bond[parent], bond[old]) if bond else (-1, -1),
                tuple(kin),
            )
        )
    return tuple(fragments)


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
            nx.add_path(systems, sorted(ring))
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

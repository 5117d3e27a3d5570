"""The order of placing: complete, connected where it can be, independent stages."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from scaling import exponent

from dbm_gmx.chemistry.mapping import Mapping, Match, bead_graph, check_owners
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.errors import InputError
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.top import read_topology
from dbm_gmx.network.build_order import describe, make_build_order


def molecule(graph: nx.Graph, *, hydrogens=()):
    named = nx.Graph()
    for i in range(graph.number_of_nodes()):
        light = i in hydrogens
        named.add_node(
            i, name=f"X{i}", type="X", element="H" if light else "C", mass=1.0 if light else 12.0, charge=0.0
        )
    named.add_edges_from(graph.edges, kind="bond")
    return MoleculeType("MOL", 3, named)


def beads(owner):
    owner = np.asarray(owner, np.int64)
    n = int(owner.max()) + 1
    names = tuple(f"B{i + 1}" for i in range(n))
    w = sp.csr_matrix((np.ones(owner.size), (owner, np.arange(owner.size))), shape=(n, owner.size))
    return Mapping("MOL", names, names, w, owner, np.full(n, -1), np.ones(n, np.int64))


def grown(order):
    """Yield what is placed side by side: ``(known atoms, bead, its atoms)``."""
    known: set[int] = set()
    for stages, group in ((order.growth, order.heavy), (order.colours, order.hydrogen)):
        for stage in stages:
            for bead in stage:
                yield set(known), int(bead), [int(a) for a in group[bead]]
            known |= {int(a) for bead in stage for a in group[bead]}


def check(moltype, mapping, order):
    """Assert what every order must hold."""
    n_beads = len(mapping.names)
    assert sorted(order.beads) == list(range(n_beads))
    for stages in (order.growth, order.colours):
        assert sorted(int(b) for s in stages for b in s) == list(range(n_beads))
    placed = [int(a) for group in (order.heavy, order.hydrogen) for part in group for a in part]
    assert sorted(placed) == list(range(moltype.n_atoms))
    for bead in range(n_beads):
        both = np.concatenate([order.heavy[bead], order.hydrogen[bead]])
        assert (mapping.owner[both] == bead).all()
    check_connected(moltype, order)
    check_independent(bead_graph(mapping, moltype), order)


def check_connected(moltype, order):
    """An atom without a placed neighbour begins a part of its bead that nothing placed touches."""
    for known, _, atoms in grown(order):
        inside = moltype.graph.subgraph(atoms)
        for k, atom in enumerate(atoms):
            if any(n in known or n in atoms[:k] for n in moltype.graph[atom]):
                continue
            part = nx.node_connected_component(inside, atom)
            assert not part & set(atoms[:k])
            assert not any(n in known for a in part for n in moltype.graph[a])


def check_independent(graph, order):
    for stages in (order.growth, order.colours):
        for stage in stages:
            for bead in stage[: 5 if len(stage) > 50 else None]:
                near = nx.single_source_shortest_path_length(graph, int(bead), cutoff=2)
                assert set(near) & {int(b) for b in stage} == {int(bead)}


def random_tree(n, seed):
    rng = np.random.default_rng(seed)
    return nx.Graph([(int(rng.integers(i)), i) for i in range(1, n)])


def patches(graph, n, seed):
    """Cut a graph into beads, nearest of ``n`` random atoms."""
    cells = nx.voronoi_cells(graph, [int(i) for i in np.random.default_rng(seed).permutation(len(graph))[:n]])
    owner = np.zeros(len(graph), np.int64)
    for bead, atoms in enumerate(cells[c] for c in sorted(k for k in cells if k != "unreachable")):
        owner[list(atoms)] = bead
    return owner


@pytest.mark.parametrize("seed", range(8))
def test_random_trees(seed):
    graph = random_tree(60, seed)
    leaves = {i for i in graph if graph.degree[i] == 1}
    moltype, mapping = molecule(graph, hydrogens=leaves), beads(patches(graph, 12, seed))
    check(moltype, mapping, make_build_order(moltype, mapping))
    check(moltype, mapping, make_build_order(moltype, mapping, segment=3))


@pytest.mark.parametrize("seed", range(4))
def test_beads_whose_atoms_are_scattered(seed):
    graph = random_tree(40, seed)
    owner = np.random.default_rng(seed).integers(0, 6, size=40)
    owner[:6] = np.arange(6)
    moltype, mapping = molecule(graph, hydrogens=range(0, 40, 3)), beads(owner)
    check(moltype, mapping, make_build_order(moltype, mapping, segment=4))


@pytest.mark.parametrize(
    "graph",
    [nx.cycle_graph(24), nx.circular_ladder_graph(12), nx.hexagonal_lattice_graph(3, 3), nx.star_graph(30)],
    ids=["ring", "ladder", "fused", "star"],
)
def test_rings_across_beads(graph):
    graph = nx.convert_node_labels_to_integers(graph)
    for seed in range(3):
        moltype, mapping = molecule(graph), beads(patches(graph, 7, seed))
        check(moltype, mapping, make_build_order(moltype, mapping))
    single = beads(range(len(graph)))
    check(moltype, single, make_build_order(moltype, single, segment=5))


def test_parts_of_a_bead_joined_only_through_another_are_kept():
    moltype, mapping = molecule(nx.path_graph(7)), beads([0, 0, 1, 1, 1, 0, 0])
    order = make_build_order(moltype, mapping)
    assert order.heavy[0].tolist() == [0, 1, 5, 6]
    assert order.heavy[1].tolist() == [2, 3, 4]
    # With the other bead first the second part grows from where it is bonded.
    mapping = beads([1, 1, 0, 0, 0, 1, 1])
    assert make_build_order(moltype, mapping).heavy[1].tolist() == [1, 0, 5, 6]


def test_several_fragments_and_single_atoms():
    graph = nx.disjoint_union(nx.path_graph(4), nx.cycle_graph(5))
    moltype, mapping = molecule(graph), beads(range(9))
    check(moltype, mapping, make_build_order(moltype, mapping))


def test_depth_first():
    #  0 - 1 - 2 ;  0 - 3 - 4
    moltype = molecule(nx.Graph([(0, 1), (1, 2), (0, 3), (3, 4)]))
    one, many = beads([0] * 5), beads(range(5))
    assert make_build_order(moltype, one).heavy[0].tolist() == [0, 1, 2, 3, 4]
    assert make_build_order(moltype, many).beads.tolist() == [0, 1, 2, 3, 4]


def test_hydrogens_come_after_all_heavy_atoms_by_mass_where_elements_are_unknown():
    moltype, mapping = molecule(nx.path_graph(4), hydrogens=[0, 3]), beads([0, 0, 1, 1])
    for i in range(4):
        moltype.graph.nodes[i]["element"] = ""
    order = make_build_order(moltype, mapping)
    assert [a.tolist() for a in order.heavy] == [[1], [2]]
    assert [a.tolist() for a in order.hydrogen] == [[0], [3]]


def test_massless_sites_come_last():
    moltype, mapping = molecule(nx.Graph([(0, 1), (0, 2), (0, 3)]), hydrogens=[1, 2, 3]), beads([0] * 4)
    moltype.graph.nodes[1].update(element="", mass=0.0)
    assert make_build_order(moltype, mapping).hydrogen[0].tolist() == [2, 3, 1]


def test_long_chain_grows_in_segments():
    n = 10_000
    chains = {k: (molecule(nx.path_graph(k)), beads(range(k))) for k in (n // 10, n)}
    assert exponent(lambda k: make_build_order(*chains[k]), n // 10, n) < 1.8
    moltype, mapping = chains[n]
    order = make_build_order(moltype, mapping)
    assert len(order.growth) <= 64
    assert len(order.colours) == 3
    assert order.growth[0].size == -(-n // 64)
    check_independent(bead_graph(mapping, moltype), order)


def test_small_molecules_grow_bead_by_bead():
    moltype, mapping = molecule(nx.path_graph(64)), beads(range(64))
    order = make_build_order(moltype, mapping)
    assert [s.tolist() for s in order.growth] == [[b] for b in order.beads]


def test_beads_without_atoms_and_atoms_without_beads_are_named():
    moltype, mapping = molecule(nx.path_graph(4)), beads([0, 0, 2, 2])
    with pytest.raises(InputError, match="own no atoms: B2"):
        check_owners([Match(moltype, mapping, 1, first_bead=0, first_atom=0)])
    lost = replace(mapping, owner=np.array([0, -1, 1, 2]))
    with pytest.raises(InputError, match=r"2 \(X1\)"):
        check_owners([Match(moltype, lost, 1, first_bead=0, first_atom=0)])


def test_describe_lists_every_atom():
    moltype, mapping = molecule(nx.path_graph(4), hydrogens=[3]), beads([0, 0, 1, 1])
    text = describe(make_build_order(moltype, mapping), moltype, mapping)
    assert "2 beads, 3 heavy atoms" in text
    assert all(f"{i + 1}:X{i}" in text for i in range(4))


@pytest.mark.parametrize(
    ("system", "n_stages", "name"), [("sps", 20, "PS1"), ("octane", 4, "L49C"), ("cumene", 3, "G065")]
)
def test_reference_systems(reference, system, n_stages, name):
    aa = read_topology(reference / system / "topol.top")
    moltype, mapping = aa.molecule_types[name], read_mappings([reference / system], aa)[name]
    order = make_build_order(moltype, mapping)
    check(moltype, mapping, order)
    assert len(order.growth) == n_stages
    assert {moltype.elements[a] for part in order.hydrogen for a in part} == {"H"}

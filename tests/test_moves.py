"""Fragments and moves of the exact refinement, from molecular graphs of every kind."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from systems import alkane, chain, molecule, ring

from dbm_gmx.chemistry.fragments import branch, fragment_graph, make_fragments
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph
from dbm_gmx.sampling.moves import (
    ANNEALING,
    GIBBS_TORSION,
    LARGEST,
    MOVE_NAMES,
    PIVOT,
    RIGID_ROTATION,
    SELDOM,
    TORSION_STEP,
    TRANSLATION,
    WHOLE,
    WIDEST,
    WINDOW,
    Block,
    Move,
    make_blocks,
)

POLYMER = 12


def polystyrene() -> MoleculeType:
    """A chain of phenyl groups on every second carbon."""
    bonds, hydrogens = chain(2 * POLYMER), []
    for i in range(2 * POLYMER):
        hydrogens.append((1 if i % 2 else 2) + (i in (0, 2 * POLYMER - 1)))
    for k in range(POLYMER):
        first = 2 * POLYMER + 6 * k
        bonds += [(2 * k + 1, first), *[(first + i, first + j) for i, j in ring(6)]]
        hydrogens += [0, 1, 1, 1, 1, 1]
    return molecule(["C"] * len(hydrogens), bonds, hydrogens, name="PS")


def step(first: int, count: int) -> list[tuple[int, int]]:
    """A chain of atoms from one on."""
    return [(first + i, first + j) for i, j in chain(count)]


CUMENE = [(0, 1), (1, 2), (1, 3), (3, 8), *chain(9)[3:]]
NAPHTHALENE = [*ring(10), (0, 5)]
SPIRO = [*ring(5), *[(0 if i == 0 else i + 4, 0 if j == 0 else j + 4) for i, j in ring(5)]]

CROWN = molecule("CCO" * 6, ring(18), [2, 2, 0] * 6)
LINKED = molecule(["C"] * 14, [*chain(12), (1, 12), (12, 13), (13, 10)])  # a chain with a link across
CAGE = molecule(  # two atoms joined by three chains
    ["C"] * 17, [b for k in range(3) for b in ((0, 2 + 5 * k), *step(2 + 5 * k, 5), (6 + 5 * k, 1))]
)
PHANE = molecule(
    ["C"] * 16, [*ring(6), *step(6, 6), (11, 6), (0, 12), (12, 13), (13, 6), (3, 14), (14, 15), (15, 9)]
)
TWICE = molecule(
    ["C"] * 12, [*ring(6), *step(6, 6), (11, 6), (0, 6), (3, 9)]
)  # two rings joined by two bonds

MOLECULES = {
    "octane": alkane(8),
    "cumene": molecule(["C"] * 9, CUMENE, [3, 1, 3, 0, 1, 1, 1, 1, 1]),
    "naphthalene": molecule(["C"] * 10, NAPHTHALENE, [0, 1, 1, 1, 1, 0, 1, 1, 1, 1]),
    "biphenyl": molecule(["C"] * 12, [*ring(6), (0, 6), *[(i + 6, j + 6) for i, j in ring(6)]]),
    "spiro": molecule(["C"] * 9, SPIRO, [0] + [2] * 8),
    "united": molecule(["C"] * 6, chain(6), united=True),
    "united pair": molecule(["C"] * 2, chain(2), united=True),
    "neopentane": molecule(["C"] * 5, [(0, i) for i in range(1, 5)], [0, 3, 3, 3, 3]),
    "water": molecule(["O"], [], [2]),
    "ion": molecule(["S"], []),
    "two parts": molecule(["C", "C", "C", "S", "O"], [(0, 1), (1, 2)], [3, 2, 3, 0, 1]),
    "polystyrene": polystyrene(),
    "crown": CROWN,
    "linked": LINKED,
    "cage": CAGE,
    "phane": PHANE,
    "twice": TWICE,
    "large ring": molecule(["C"] * 40, ring(40), [2] * 40),
}
ALL = pytest.mark.parametrize("moltype", MOLECULES.values(), ids=MOLECULES.keys())


@ALL
def test_fragments_are_a_tree(moltype: MoleculeType) -> None:
    fragments, graph = make_fragments(moltype), chemical_graph(moltype)
    owned = np.concatenate([f.own for f in fragments])
    assert sorted(owned) == list(range(moltype.n_atoms))  # every atom once
    home = {int(i): number for number, f in enumerate(fragments) for i in f.own}
    roots = [number for number, f in enumerate(fragments) if f.parent < 0]
    assert len(roots) == nx.number_connected_components(graph)
    for number, fragment in enumerate(fragments):
        centre, own = set(fragment.centre.tolist()), set(fragment.own.tolist())
        assert centre <= own
        assert all(graph.degree(i) == 1 for i in own - centre if len(own) > 1 or graph.degree(i))
        assert nx.is_connected(graph.subgraph(own))
        outside = {j for i in own for j in graph[i]} - own
        assert set(fragment.shell.tolist()) == outside
        assert [home[i] for i in fragment.joint if i >= 0] == [fragment.parent, number][
            : 2 * (fragment.parent >= 0)
        ]
        if fragment.parent >= 0:
            assert fragment.parent < number  # parents first
            assert graph.has_edge(*fragment.joint)
            assert number in fragments[fragment.parent].children
        assert all(fragments[child].parent == number for child in fragment.children)
        sizes = [len(branch(fragments, child)) for child in fragment.children]
        assert sizes == sorted(sizes)  # small branches first
        assert sum(sizes) + len(own) == len(branch(fragments, number))
    assert sum(len(branch(fragments, root)) for root in roots) == moltype.n_atoms


def centres(name: str) -> list[list[int]]:
    return sorted(f.centre.tolist() for f in make_fragments(MOLECULES[name]))


def test_fragments_by_hand() -> None:
    assert centres("octane") == [[i] for i in range(8)]
    assert centres("cumene") == [[0], [1], [2], [3, 4, 5, 6, 7, 8]]
    assert centres("naphthalene") == [list(range(10))]
    assert centres("biphenyl") == [list(range(6)), list(range(6, 12))]  # joined by a bond that turns
    assert centres("spiro") == [list(range(9))]  # two rings that share an atom are one system
    assert centres("united") == [[1], [2], [3], [4]]  # ends have one bond
    assert centres("united pair") == [[0]]
    assert centres("water") == [[0]]
    assert centres("ion") == [[0]]
    assert len(make_fragments(MOLECULES["two parts"])) == 5  # three of propane
    methyls = [f for f in make_fragments(MOLECULES["cumene"]) if f.centre.tolist() == [0]]
    assert methyls[0].own.tolist() == [0, 9, 10, 11]
    assert methyls[0].shell.tolist() == [1]


def test_large_rings_are_no_fragments() -> None:
    assert centres("crown") == [[i] for i in range(18)]
    assert centres("linked") == [[i] for i in range(1, 14) if i != 11]  # ends have one bond
    assert centres("cage") == [[i] for i in range(17)]
    assert centres("phane") == [list(range(6)), list(range(6, 12)), *[[i] for i in range(12, 16)]]
    assert centres("twice") == [list(range(6)), list(range(6, 12))]
    for size in range(3, 12):
        rings = make_fragments(molecule(["C"] * size, ring(size), [2] * size))
        assert len(rings) == (1 if size <= 7 else size)


def test_a_ring_is_opened_at_one_bond_which_is_heeded_all_the_same() -> None:
    for name, count in {"crown": 1, "linked": 1, "cage": 2, "phane": 1, "large ring": 1, "octane": 0}.items():
        fragments = make_fragments(MOLECULES[name])
        opened = {frozenset((k, other)) for k, f in enumerate(fragments) for other in f.closings}
        assert len(opened) == count, name
        joined = fragment_graph(fragments)
        in_rings = {frozenset((k, f.parent)) for k, f in enumerate(fragments) if f.in_ring} | opened
        assert in_rings == {frozenset(edge) for edge in joined.edges} - {
            frozenset(e) for e in nx.bridges(joined)
        }
    (both,) = make_fragments(MOLECULES["twice"])[1:]
    assert both.in_ring
    assert not both.closings
    assert len(both.shell) == 2
    # a disulfide, not the chain that it links
    linked = molecule("CCCSSCCCCCC", [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), *step(5, 6), (10, 0)])
    far = [f for f in make_fragments(linked) if f.closings]
    assert sorted(int(i) for f in far for i in f.centre) == [0, 10]


def test_the_order_of_the_atoms_does_not_matter() -> None:
    for name, moltype in MOLECULES.items():
        new = np.random.default_rng(1).permutation(moltype.n_atoms)
        graph = nx.Graph()
        graph.add_nodes_from(
            (int(new[i]), data) for i, data in sorted(moltype.graph.nodes(data=True), key=lambda x: new[x[0]])
        )
        graph.add_edges_from(
            (int(new[i]), int(new[j]), data) for i, j, data in moltype.graph.edges(data=True)
        )
        other = MoleculeType(moltype.name, moltype.nrexcl, graph)
        ours = sorted(sorted(new[f.own].tolist()) for f in make_fragments(moltype))
        theirs = sorted(f.own.tolist() for f in make_fragments(other))
        if name != "united pair":  # its two atoms are alike, and the first is the centre
            assert ours == theirs, name


@ALL
@pytest.mark.parametrize("beads", [1, 2])
def test_moves(moltype: MoleculeType, beads: int) -> None:
    graph = chemical_graph(moltype)
    blocks = make_blocks(moltype, make_fragments(moltype), beads)
    moves = [(block, move) for block in blocks for move in block.moves]
    for block, move in moves:
        moved = set(move.atoms.tolist())
        assert move.atoms.tolist() == sorted(moved)
        assert moved
        assert move.repeat >= 1
        assert block.every >= 1
        check_axis(graph, block, move)
    shifted = {int(i) for _, m in moves if m.move_type == TRANSLATION for i in m.atoms}
    assert shifted == set(range(moltype.n_atoms))  # everything can go everywhere
    # and bonds that hold more than one atom can stretch
    shifts = [set(m.atoms.tolist()) for _, m in moves if m.move_type == TRANSLATION]
    for i, j in graph.edges:
        assert min(graph.degree(i), graph.degree(j)) == 1 or any(
            len({i, j} & moved) == 1 for moved in shifts
        ), (i, j)
    # any atom that hangs on another can change its direction alone or with what it carries
    swung = {int(i) for _, m in moves if m.move_type == PIVOT for i in m.atoms}
    assert swung >= {i for i in graph if graph.degree(i) == 1}
    spun = [m for _, m in moves if m.move_type == RIGID_ROTATION]
    small = [part for part in nx.connected_components(graph) if 1 < len(part) <= WHOLE]
    assert sorted(m.atoms.tolist() for m in spun) == (sorted(map(sorted, small)) if beads == 1 else [])
    # an acyclic bond with something to turn on both sides can be turned about, where an end is small
    for i, j in nx.bridges(graph):
        cut = graph.copy()
        cut.remove_edge(i, j)
        sides = [nx.node_connected_component(cut, a) - {a} for a in (i, j)]
        if all(sides) and min(map(len, sides)) < LARGEST:
            turned = [
                set(m.atoms.tolist())
                for _, m in moves
                if m.move_type == GIBBS_TORSION and set(m.axis) == {i, j}
            ]
            assert any(side in turned for side in sides), (i, j)
            assert any(m.move_type == TORSION_STEP and set(m.axis) == {i, j} for _, m in moves)


def check_axis(graph: nx.Graph, block: Block, move: Move) -> None:
    """A move changes no bond but those that a shift of small parts has to."""
    moved, axis = set(move.atoms.tolist()), set(move.axis)
    cut = {(i, j) for i in moved for j in graph[i] if j not in moved}
    if move.move_type in (GIBBS_TORSION, TORSION_STEP):
        assert len(axis) == 2
        assert not axis & moved
        assert {j for _, j in cut} <= axis
        assert block.centre in axis  # it stays where it is
    elif move.move_type == PIVOT:
        assert len(axis) == 1
        assert -1 not in axis
        assert {j for _, j in cut} <= axis
    else:
        assert axis == {-1}
        if move.move_type == RIGID_ROTATION:
            assert not cut


@ALL
def test_bonds_keep_their_length(moltype: MoleculeType) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(moltype.n_atoms, 3))
    for block in make_blocks(moltype, make_fragments(moltype), 1):
        for move in block.moves:
            if move.move_type in (TRANSLATION, RIGID_ROTATION, ANNEALING):
                continue
            a, b = x[move.axis[0]], x[move.axis[1]]
            n = rng.normal(size=3) if move.move_type == PIVOT else b - a
            n /= np.linalg.norm(n)
            angle = 0.7
            y, v = x.copy(), x[move.atoms] - b
            y[move.atoms] = b + v * np.cos(angle) + np.cross(n, v) * np.sin(angle)
            y[move.atoms] += np.outer(v @ n, n) * (1 - np.cos(angle))
            for i, j in moltype.graph.edges:
                before, after = np.linalg.norm(x[i] - x[j]), np.linalg.norm(y[i] - y[j])
                assert after == pytest.approx(before, rel=1e-9), (MOVE_NAMES[move.move_type], i, j)
            assert np.abs(y[move.atoms] - x[move.atoms]).max(initial=0) > 1e-3


@ALL
def test_windows_are_stretches_of_fragments(moltype: MoleculeType) -> None:
    fragments = make_fragments(moltype)
    windows = [b for b in make_blocks(moltype, fragments, 2) for m in b.moves if m.move_type == ANNEALING]
    graph, covered = chemical_graph(moltype), set[int]()
    for block in windows:
        (move,), own = block.moves, set(block.atoms.tolist())
        inside = [f for f in fragments if own.issuperset(f.own.tolist())]
        assert own == {int(i) for f in inside for i in f.own}
        assert 1 < len(inside) <= WINDOW
        assert len(move.atoms) <= WIDEST
        assert nx.is_connected(graph.subgraph(own))
        assert block.every == SELDOM
        covered |= own
    # whatever is joined to something small enough is in one
    small = [f for f in fragments if f.parent >= 0 and len(f.own) + len(fragments[f.parent].own) <= WIDEST]
    assert covered >= {int(i) for f in small for i in f.own}


def test_large_parts_are_not_moved_as_a_whole() -> None:
    blocks = make_blocks(MOLECULES["polystyrene"], make_fragments(MOLECULES["polystyrene"]), 12)
    sizes = {
        move_type: max(len(m.atoms) for b in blocks for m in b.moves if m.move_type == move_type)
        for move_type in (GIBBS_TORSION, TORSION_STEP)
    }
    assert all(size <= LARGEST for size in sizes.values())
    assert max(len(m.atoms) for b in blocks for m in b.moves if m.move_type != ANNEALING) < WHOLE

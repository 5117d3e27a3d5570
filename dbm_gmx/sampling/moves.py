"""What the sampler moves: blocks of atoms and the moves tried on them, from the molecular graph.

All but the last are rotations or shifts of some atoms while the rest of the molecule stands still, and
none prefers a direction, so that a choice among several of them needs the target density only:

==================  ====================================================================================
``GIBBS_TORSION``   about an axis of two atoms; chosen among evenly spaced angles, the present one included
``RIGID_ROTATION``  a whole molecule about its centre; chosen among random rotations and the present one
``TORSION_STEP``    as ``GIBBS_TORSION``, by one small random angle: plain Metropolis
``PIVOT``           about an atom, by a small rotation about a random axis: keeps the bond to that atom
``TRANSLATION``     by a small vector
``ANNEALING``       neighbouring fragments by dynamics, see :mod:`~dbm_gmx.sampling.window_annealing`
==================  ====================================================================================

The first two are iterated sampling-importance-resampling with the uniform distribution on the orbit of
the rotation as proposal.  Conformations of a stretch that its beads hold change by the last one only.

Virtual sites move with the atoms they are made of.  Where a move takes all of these along they keep their
place among them, else they are put in place anew.  They are no degrees of freedom: proposals are those of the
atoms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.fragments import Fragment, branch, branch_sizes, fragment_graph
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.virtual_sites import (
    VirtualSites,
    made_of,
    real_graph,
    touched_sites,
    virtual_sites,
)

GIBBS_TORSION, RIGID_ROTATION, TORSION_STEP, PIVOT, TRANSLATION, ANNEALING = range(6)
MOVE_NAMES = ("Gibbs torsion", "rigid rotation", "torsion step", "pivot", "translation", "window annealing")

LARGEST = 24
"""Atoms of a side branch up to which it is turned as a whole."""

WHOLE = 40
"""Atoms of a molecule up to which it is moved as a whole."""

WINDOW = 10
"""Fragments of a window: polyethers and paraffins change conformation in stretches of three to seven bonds,
and the more there is in a window, the seldomer it is accepted."""

WIDEST = 48
"""Atoms of a window."""

SELDOM = 8
"""A window is tried in one of so many sweeps: it takes as long as all other moves of its atoms together."""


@dataclass(frozen=True, eq=False)
class Move:
    """One move.

    Attributes
    ----------
    move_type
        See the table above.
    atoms
        What moves: atoms, then virtual sites.
    axis
        Two atoms (``GIBBS_TORSION``, ``TORSION_STEP``), one atom twice (``PIVOT``), or -1.
    repeat
        How often it is tried in an update.
    built
        Numbers of the virtual sites that are put in place anew; of windows all that move.
    """

    move_type: int
    atoms: IntArray
    axis: tuple[int, int] = (-1, -1)
    repeat: int = 1
    built: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Block:
    """Atoms updated together.

    Attributes
    ----------
    centre
        An atom that large moves leave where it is, or nearly.
    moves
        In the order they are tried.
    every
        Updated in one of so many sweeps.
    """

    centre: int
    moves: tuple[Move, ...]
    every: int = 1

    @property
    def atoms(self) -> IntArray:
        """All atoms that any of its moves moves."""
        return np.unique(np.concatenate([move.atoms for move in self.moves]))


def make_blocks(
    moltype: MoleculeType, fragments: tuple[Fragment, ...], beads: int, fixed: IntArray | None = None
) -> tuple[Block, ...]:
    """Blocks of a molecule type; together they can move every atom everywhere.

    Parameters
    ----------
    moltype, fragments
        The molecule type, cut by :func:`~dbm_gmx.chemistry.fragments.make_fragments`.
    beads
        How many it has.
    fixed
        (k, 2) bonds of fixed length; all if not given.
    """
    graph = real_graph(moltype)
    held = {frozenset(pair) for pair in (moltype.bonds if fixed is None else fixed).tolist()}
    found = [_fragment_block(graph, fragment, held) for fragment in fragments]
    found += _branches(graph, fragments)
    found += _crankshafts(graph, fragments)
    found += _wholes(graph, fragments, turning=beads == 1)
    found += _windows(fragments)
    sites = virtual_sites(moltype)
    return tuple(_with_sites(block, sites) for block in found) if len(sites.virtual) else tuple(found)


def _with_sites(block: Block, sites: VirtualSites) -> Block:
    return replace(block, moves=tuple(_move_with_sites(move, sites) for move in block.moves))


def _move_with_sites(move: Move, sites: VirtualSites) -> Move:
    """The move with all sites that its atoms make."""
    touched, along = touched_sites(sites, move.atoms), set(move.atoms.tolist())
    if move.move_type != TRANSLATION:
        along |= set(move.axis)  # what lies on the axis stays where it is
    built = []
    for v in touched.tolist():
        if move.move_type != ANNEALING and along.issuperset(made_of(sites, v).tolist()):
            along.add(int(sites.virtual[v]))
        else:
            built.append(v)
    atoms = np.concatenate([move.atoms, sites.virtual[touched]])
    return replace(move, atoms=atoms, built=np.array(built, np.int64))


def _rows(atoms: Iterable[int]) -> IntArray:
    return np.array(sorted(atoms), np.int64)


def _fragment_block(graph: nx.Graph, fragment: Fragment, held: set[frozenset[int]]) -> Block:
    """A fragment about its one bond to the rest, and the atoms within it one by one."""
    own, centre = set(fragment.own.tolist()), fragment.centre.tolist()
    first, moves = centre[0], []
    if len(fragment.shell) == 1:
        outside = int(fragment.shell[0])
        first = next(i for i in centre if graph.has_edge(i, outside))
        rest = _rows(own - {first})
        if len(rest):
            moves += [
                Move(GIBBS_TORSION, rest, (outside, first)),
                Move(TORSION_STEP, rest, (outside, first), 2),
                Move(PIVOT, rest, (first, first), 1),
            ]
            moves.append(Move(PIVOT, fragment.own, (outside, outside), 1))
    for atom in centre:
        leaves = sorted(own & set(graph[atom]) - set(centre))
        moves.append(Move(TRANSLATION, _rows([atom, *leaves]), repeat=2))
        moves += [Move(PIVOT, _rows([leaf]), (atom, atom), 2) for leaf in leaves]
        moves += [Move(TRANSLATION, _rows([j]), repeat=2) for j in leaves if frozenset((atom, j)) not in held]
    return Block(first, tuple(moves))


def _branches(graph: nx.Graph, fragments: tuple[Fragment, ...]) -> Iterator[Block]:
    """Small ends of a molecule, of several fragments, about the bond that holds them."""
    sizes = branch_sizes(fragments)
    part_of = {i: part for part in map(_rows, nx.connected_components(graph)) for i in part.tolist()}
    for number, fragment in enumerate(fragments):
        if fragment.parent < 0 or fragment.in_ring:
            continue
        outer, inner = fragment.joint
        part = part_of[inner]
        # put together only where there is little of it
        if len(fragment.own) < sizes[number] <= LARGEST:
            below = branch(fragments, number)
            yield from _about(below[below != inner], (outer, inner), inner)
        if len(fragments[fragment.parent].own) < len(part) - sizes[number] <= LARGEST:
            above = np.setdiff1d(part, branch(fragments, number))
            yield from _about(above[above != outer], (inner, outer), outer)


def _crankshafts(graph: nx.Graph, fragments: tuple[Fragment, ...]) -> Iterator[Block]:
    """One or two neighbouring fragments about the axis of the atoms on either side."""
    for number, fragment in enumerate(fragments):
        if len(fragment.centre) == 1:
            for ends in combinations(fragment.shell.tolist(), 2):
                yield from _crankshaft(graph, fragment.own, ends)
        joined = [fragments[k] for k in (*fragment.children, *fragment.closings) if k > number]
        for other in joined if len(fragments[number].centre) == 1 else []:
            if len(other.centre) > 1:
                continue
            for i in fragment.shell.tolist():
                for j in other.shell.tolist():
                    if i not in other.own and j not in fragment.own:
                        yield from _crankshaft(graph, np.concatenate([fragment.own, other.own]), (i, j))


def _crankshaft(graph: nx.Graph, own: IntArray, ends: tuple[int, int]) -> Iterator[Block]:
    """The fragments and what hangs on them, where that is little."""
    moved, stack = {int(own[0])}, [int(own[0])]
    while stack and len(moved) <= LARGEST:  # never the whole of a long chain
        fresh = set(graph[stack.pop()]) - moved - set(ends)
        moved |= fresh
        stack += fresh
    if len(moved) <= LARGEST:
        yield from _about(_rows(moved), ends, ends[0])


def _about(atoms: IntArray, axis: tuple[int, int], centre: int) -> Iterator[Block]:
    """Both ways to turn several fragments; a large turn is seldom accepted, and tried less often."""
    yield Block(centre, (Move(TORSION_STEP, atoms, axis, 2),), every=2)
    yield Block(centre, (Move(GIBBS_TORSION, atoms, axis),), every=8)


def _wholes(graph: nx.Graph, fragments: tuple[Fragment, ...], *, turning: bool) -> Iterator[Block]:
    """Small molecules as a whole; to any orientation where a single bead leaves them all."""
    for fragment in fragments:
        if fragment.parent >= 0:
            continue
        part = nx.node_connected_component(graph, int(fragment.centre[0]))
        if len(part) <= WHOLE:
            atoms, first = _rows(part), int(fragment.centre[0])
            moves = [Move(TRANSLATION, atoms, repeat=2)]
            if len(part) > 1:
                moves += [
                    Move(PIVOT, atoms, (first, first), 2),
                    *([Move(RIGID_ROTATION, atoms)] if turning else []),
                ]
            yield Block(first, tuple(moves))


def _windows(fragments: tuple[Fragment, ...]) -> Iterator[Block]:
    """Each fragment with those nearest to it along the bonds."""
    joined = fragment_graph(fragments)
    found: dict[tuple[int, ...], int] = {}
    for number in range(len(fragments)):
        chosen = _nearest(joined, fragments, number)
        if len(chosen) > 1:
            found.setdefault(tuple(sorted(chosen)), number)
    for window, number in found.items():
        atoms = _rows(np.concatenate([fragments[k].own for k in window]).tolist())
        yield Block(int(fragments[number].centre[0]), (Move(ANNEALING, atoms),), every=SELDOM)


def _nearest(joined: nx.Graph, fragments: tuple[Fragment, ...], number: int) -> list[int]:
    """A fragment and those nearest to it, as many as make a window."""
    chosen, size = [number], len(fragments[number].own)
    for _, other in nx.bfs_edges(joined, number):
        size += len(fragments[other].own)
        if len(chosen) == WINDOW or size > WIDEST:
            break
        chosen.append(other)
    return chosen

"""What the sampler moves: blocks of atoms and the moves tried on them, from the molecular graph.

Every move is a rotation or a shift of some atoms while the rest of the molecule stands still, and
none prefers a direction, so that a choice among several of them needs the target density only:

=========  =====================================================================================
``TURN``   about an axis of two atoms; chosen among evenly spaced angles, the present one included
``SPIN``   a whole molecule about its centre; chosen among random rotations and the present one
``TWIST``  as ``TURN``, by one small random angle: plain Metropolis
``SWING``  about an atom, by a small rotation about a random axis: keeps the bond to that atom
``SHIFT``  by a small vector
=========  =====================================================================================

The first two are iterated sampling-importance-resampling with the uniform distribution on the orbit of
the rotation as proposal.  Inner conformers change through small moves of single atoms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.fragments import Fragment, branch
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph

TURN, SPIN, TWIST, SWING, SHIFT = range(5)
KINDS = ("turn", "spin", "twist", "swing", "shift")

LARGEST = 24
"""Atoms of a side branch up to which it is turned as a whole."""

WHOLE = 40
"""Atoms of a molecule up to which it is moved as a whole."""


@dataclass(frozen=True, eq=False)
class Move:
    """One move.

    Attributes
    ----------
    move_type
        See the table above.
    atoms
        What moves.
    axis
        Two atoms (``TURN``, ``TWIST``), one atom twice (``SWING``), or -1.
    repeat
        How often it is tried in a visit.
    """

    move_type: int
    atoms: IntArray
    axis: tuple[int, int] = (-1, -1)
    repeat: int = 1


@dataclass(frozen=True, eq=False)
class Block:
    """Atoms visited together.

    Attributes
    ----------
    centre
        An atom that large moves leave where it is, or nearly.
    moves
        In the order they are tried.
    every
        Visited in one of so many sweeps.
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
    graph = chemical_graph(moltype)
    held = {frozenset(pair) for pair in (moltype.bonds if fixed is None else fixed).tolist()}
    found = [_fragment_block(graph, fragment, held) for fragment in fragments]
    found += _branches(moltype.n_atoms, fragments)
    found += _crankshafts(graph, fragments)
    found += _wholes(graph, fragments, turning=beads == 1)
    return tuple(found)


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
                Move(TURN, rest, (outside, first)),
                Move(TWIST, rest, (outside, first), 2),
                Move(SWING, rest, (first, first), 1),
            ]
            moves.append(Move(SWING, fragment.own, (outside, outside), 1))
    for atom in centre:
        leaves = sorted(own & set(graph[atom]) - set(centre))
        moves.append(Move(SHIFT, _rows([atom, *leaves]), repeat=2))
        moves += [Move(SWING, _rows([leaf]), (atom, atom), 2) for leaf in leaves]
        moves += [Move(SHIFT, _rows([j]), repeat=2) for j in leaves if frozenset((atom, j)) not in held]
    return Block(first, tuple(moves))


def _branches(n_atoms: int, fragments: tuple[Fragment, ...]) -> Iterator[Block]:
    """Small ends of a molecule, of several fragments, about the bond that holds them."""
    everything = set(range(n_atoms))
    for number, fragment in enumerate(fragments):
        if fragment.parent < 0:
            continue
        outer, inner = fragment.joint
        below = set(branch(fragments, number).tolist())
        ends = [(below, outer, inner, len(fragment.own))]
        ends.append((everything - below, inner, outer, len(fragments[fragment.parent].own)))
        for atoms, fixed, first, alone in ends:
            if alone < len(atoms) <= LARGEST:
                yield from _about(_rows(atoms - {first}), (fixed, first), first)


def _crankshafts(graph: nx.Graph, fragments: tuple[Fragment, ...]) -> Iterator[Block]:
    """One or two neighbouring fragments about the axis of the atoms on either side."""
    for number, fragment in enumerate(fragments):
        if len(fragment.centre) == 1:
            for ends in combinations(fragment.shell.tolist(), 2):
                yield from _crankshaft(graph, fragment.own, ends)
        joined = [fragments[child] for child in fragment.children]
        for other in joined if len(fragments[number].centre) == 1 else []:
            if len(other.centre) > 1:
                continue
            for i in fragment.shell.tolist():
                for j in other.shell.tolist():
                    if i not in other.own and j not in fragment.own:
                        yield from _crankshaft(graph, np.concatenate([fragment.own, other.own]), (i, j))


def _crankshaft(graph: nx.Graph, own: IntArray, ends: tuple[int, int]) -> Iterator[Block]:
    """The fragments and what hangs on them, where that is little."""
    kept = graph.copy()
    kept.remove_nodes_from(ends)
    moved = nx.node_connected_component(kept, int(own[0]))
    if len(moved) <= LARGEST and not any(i in moved for i in ends):
        yield from _about(_rows(moved), ends, ends[0])


def _about(atoms: IntArray, axis: tuple[int, int], centre: int) -> Iterator[Block]:
    """Both ways to turn several fragments; a large turn is seldom accepted, and tried less often."""
    yield Block(centre, (Move(TWIST, atoms, axis, 2),), every=2)
    yield Block(centre, (Move(TURN, atoms, axis),), every=8)


def _wholes(graph: nx.Graph, fragments: tuple[Fragment, ...], *, turning: bool) -> Iterator[Block]:
    """Small molecules as a whole; to any orientation where a single bead leaves them all."""
    for fragment in fragments:
        if fragment.parent >= 0:
            continue
        part = nx.node_connected_component(graph, int(fragment.centre[0]))
        if len(part) <= WHOLE:
            atoms, first = _rows(part), int(fragment.centre[0])
            moves = [Move(SHIFT, atoms, repeat=2)]
            if len(part) > 1:
                moves += [Move(SWING, atoms, (first, first), 2), *([Move(SPIN, atoms)] if turning else [])]
            yield Block(first, tuple(moves))

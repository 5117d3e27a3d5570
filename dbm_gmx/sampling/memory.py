"""A memory of fragments: what atoms have been like on beads that lay alike.

Of frames already sampled each bead is remembered with the beads around it and the atoms of itself and of
its neighbours.  On a new frame those remembered whose beads lie most alike are superposed, as they are or as
their mirror images.  Of these candidates each bead of a molecule gets one, drawn together with those of its
neighbours: what two candidates say of the atoms of both beads must agree (a hidden Markov tree, sampled
from the leaves and back).  What is recalled is a start and no more: packing and sweeps follow, and the
distribution they lead to does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from scipy.spatial import KDTree

from dbm_gmx.chemistry.array_types import BoolArray, Float32Array, FloatArray, IntArray, SignArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import Match, bead_graph
from dbm_gmx.chemistry.stereo import are_bonds, chirality_of, stereo_elements
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.virtual_sites import place_in_molecules
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.rotations import best_rotations

NEAR, SEEN = 1, 2
"""Bonds between beads: as far atoms are remembered, and as far beads are looked at."""

FURTHER = 0.3
"""Weight of beads in the superposition that are more than :data:`NEAR` away."""


class Breadth(NamedTuple):
    """How much a draw differs from the most alike.

    Attributes
    ----------
    looked_at, choice
        How many of the most alike by distances are superposed, and how many of these a bead may choose from.
    unlike, apart
        nm: misfit of beads, and of atoms that two candidates both have, that make one e times less likely.
    asked
        Share of what is remembered that is asked, another one each time: else what is missing there, or is
        there by chance, would be the same in all samples of a frame.
    """

    looked_at: int
    choice: int
    unlike: float
    apart: float
    asked: float


SHARP, BROAD = Breadth(24, 8, 0.01, 0.01, 1.0), Breadth(96, 48, 0.2, 0.06, 0.3)
"""For a molecule that is recalled once, and for one that is offered many to choose from by their energy."""

MOST = 20_000
"""Fragments remembered of one kind."""

SAME = 0.002
"""nm: beads that are each so near to those of a fragment are those it was made on, as a file rounds them."""

AT_ONCE = 2_000_000
"""Places of atoms that are worked on at once, of all candidates."""


@dataclass(frozen=True, eq=False)
class Site:
    """A bead of a molecule type with what is around it.

    Attributes
    ----------
    kind
        Equal for sites with the same chemistry around them.
    beads
        (e,) of the molecule: the bead, its neighbours, theirs.
    weights
        (e,) in the superposition.
    atoms
        (a,) of the molecule, those of the bead and of its neighbours; increasing within a bead.
    own
        (a,) which of these are the bead's.
    elements
        (c,) stereo elements wholly among the atoms.
    """

    kind: str
    beads: IntArray
    weights: FloatArray
    atoms: IntArray
    own: BoolArray
    elements: IntArray


@dataclass(frozen=True, eq=False)
class Fragments:
    """Fragments of one kind.

    Attributes
    ----------
    beads, atoms
        (m, e, 3), (m, a, 3) nm from the bead.
    states
        (m, c) of the stereo elements.
    frame
        (m,) index of the frame each is of, which never recalls itself; -1 for one of another run, which the
        same beads do not recall either (:data:`SAME`).
    """

    beads: Float32Array
    atoms: Float32Array
    states: SignArray
    frame: IntArray

    def __len__(self) -> int:
        return len(self.beads)

    def some(self, rows: IntArray) -> Fragments:
        """Some of them."""
        return Fragments(self.beads[rows], self.atoms[rows], self.states[rows], self.frame[rows])


Memory = Mapping[str, Fragments]
"""By kind of site."""


@dataclass(frozen=True, eq=False)
class Recollection:
    """How frames are made of what is remembered.

    Attributes
    ----------
    memory
        See :func:`remember`.
    offers, windows, sweeps
        Rounds of offers, sweeps with windows, and after them without, that a frame takes from there.
    misfit
        nm: a frame whose beads are further from those remembered is not recalled.
    steps
        (moves,) sizes of the moves.
    """

    memory: Memory
    offers: int
    windows: int
    sweeps: int
    misfit: float
    steps: FloatArray


# --- sites -------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def make_sites(moltype: MoleculeType, mapping: BeadMapping) -> tuple[Site, ...]:
    """All beads of a molecule type with what is around them."""
    graph, chemistry = bead_graph(mapping, moltype), moltype.graph
    owned: list[list[int]] = [[] for _ in mapping.names]
    for atom, bead in enumerate(mapping.owner.tolist()):
        if bead >= 0:
            owned[bead].append(atom)
    elements = [sorted(i for i in row if i >= 0) for row in stereo_elements(moltype).tolist()]
    of_atom: dict[int, list[int]] = {}
    for number, row in enumerate(elements):
        for i in row:
            of_atom.setdefault(i, []).append(number)
    return tuple(
        _make_site(bead, graph, chemistry, owned, elements, of_atom, mapping.types) for bead in graph
    )


def _make_site(
    bead: int,
    graph: nx.Graph,
    chemistry: nx.Graph,
    owned: Sequence[Sequence[int]],
    elements: Sequence[Sequence[int]],
    of_atom: Mapping[int, Sequence[int]],
    types: Sequence[str],
) -> Site:
    depth = nx.single_source_shortest_path_length(graph, bead, cutoff=SEEN)
    beads = sorted(depth, key=lambda b: (depth[b], b))
    atoms = [i for b in beads if depth[b] <= NEAR for i in owned[b]]
    seen = [i for b in beads for i in owned[b]]
    row = {i: k for k, i in enumerate(seen)}
    inside = set(atoms)
    whole = sorted({e for i in atoms for e in of_atom.get(i, ()) if inside.issuperset(elements[e])})
    place = {b: k for k, b in enumerate(beads)}
    kind = repr(
        (
            [
                (types[b], depth[b], len(owned[b]), sorted(place[n] for n in graph[b] if n in place))
                for b in beads
            ],
            [_said_of(chemistry.nodes[i]) for i in seen],
            sorted((row[i], row[j]) for i in seen for j in chemistry[i] if row[i] < row.get(j, -1)),
            [[row[i] for i in elements[e]] for e in whole],
        )
    )
    weights = np.array([1.0 if depth[b] <= NEAR else FURTHER for b in beads])
    own = np.isin(atoms, owned[bead])
    return Site(kind, np.array(beads), weights, np.array(atoms, np.int64), own, np.array(whole, np.int64))


def _said_of(atom: Mapping[str, object]) -> tuple[object, ...]:
    return atom["type"], round(float(atom["charge"]), 4), round(float(atom["mass"]), 2)  # type: ignore[arg-type]


# --- remembering -------------------------------------------------------------------------------------


def remember(system: System, positions: Float32Array, beads: Frame, before: Memory, stream: Stream) -> Memory:
    """A memory that holds the fragments of a frame as well.

    Parameters
    ----------
    system
        The system.
    positions
        (n, 3) nm whole molecules.
    beads
        Whole beads.
    before
        What is remembered already.
    stream
        Random numbers, for what is forgotten where it is too much.
    """
    memory = dict(before)
    for number, match in enumerate(system.matches):
        atoms, centres = match.molecules(positions), match.beads(beads.positions).astype(np.float64)
        memory = remember_molecules(match, (atoms, centres, beads.index), memory, stream.of(number))
    return memory


def remember_molecules(
    match: Match, seen: tuple[FloatArray | Float32Array, FloatArray, int], before: Memory, stream: Stream
) -> dict[str, Fragments]:
    """A memory that holds the fragments of some molecules of a run as well.

    Parameters
    ----------
    match
        The run.
    seen
        (copies, n, 3) and (copies, beads, 3) nm of these molecules, and the index of the frame, see
        :class:`Fragments`.
    before, stream
        As for :func:`remember`.
    """
    (atoms, centres, frame), found = seen, dict[str, list[Fragments]]()
    states = chirality_of(atoms, stereo_elements(match.moltype))
    for site in make_sites(match.moltype, match.mapping):
        origin = centres[:, site.beads[:1]]
        fragments = Fragments(
            (centres[:, site.beads] - origin).astype(np.float32),
            (atoms[:, site.atoms] - origin).astype(np.float32),
            states[:, site.elements],
            np.full(len(atoms), frame),
        )
        found.setdefault(site.kind, [before[site.kind]] if site.kind in before else []).append(fragments)
    rng = stream.generator
    return {**before, **{kind: _some(_joined(parts), rng) for kind, parts in found.items()}}


def _joined(parts: Sequence[Fragments]) -> Fragments:
    return Fragments(
        np.concatenate([part.beads for part in parts]),
        np.concatenate([part.atoms for part in parts]),
        np.concatenate([part.states for part in parts]),
        np.concatenate([part.frame for part in parts]),
    )


def _some(all_of: Fragments, rng: np.random.Generator) -> Fragments:
    """Forget what is too much, any of it."""
    if len(all_of) <= MOST:
        return all_of
    return all_of.some(np.sort(rng.choice(len(all_of), MOST, replace=False)))


# --- recalling ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Candidates:
    """What beads of one site may be like, in several molecules.

    Attributes
    ----------
    atoms
        (copies, k, a, 3) nm.
    misfit
        (copies, k) nm, of the beads; infinite where there is nothing.
    """

    atoms: FloatArray
    misfit: FloatArray


@dataclass(frozen=True, eq=False)
class Wanted:
    """Molecules of one run for which atoms are wanted.

    Attributes
    ----------
    match
        The run.
    beads, states
        (copies, beads, 3) nm and (copies, c) of some of its molecules; 0 for any state.
    frame
        Index of the frame.
    """

    match: Match
    beads: FloatArray
    states: SignArray
    frame: int

    def __len__(self) -> int:
        return len(self.beads)

    def some(self, rows: Any) -> Wanted:
        """Some of them."""
        return Wanted(self.match, self.beads[rows], self.states[rows], self.frame)


def recall(
    memory: Memory, wanted: Wanted, stream: Stream, *, draws: int = 1, breadth: Breadth = SHARP
) -> tuple[FloatArray, FloatArray]:
    """Atoms for molecules.

    Returns
    -------
    (draws, copies, n, 3) nm, and (draws, copies, beads) the misfit of each bead with what was remembered, nm;
    infinite, and atoms anywhere, where nothing was.
    """
    match = wanted.match
    sites = make_sites(match.moltype, match.mapping)
    atoms = np.zeros((draws, len(wanted), match.moltype.n_atoms, 3))
    misfit = np.full((draws, len(wanted), len(sites)), np.inf)
    if any(site.kind not in memory for site in sites):
        return atoms, misfit
    each = breadth.choice * sum(len(site.atoms) for site in sites)
    size = max(1, AT_ONCE // each)
    for number, first in enumerate(range(0, len(wanted), size)):
        rows = slice(first, first + size)
        rng = stream.of(number).generator
        atoms[:, rows], misfit[:, rows] = _recall_some(memory, sites, wanted.some(rows), rng, draws, breadth)
    return atoms, misfit


def _recall_some(
    memory: Memory,
    sites: Sequence[Site],
    wanted: Wanted,
    rng: np.random.Generator,
    draws: int,
    breadth: Breadth,
) -> tuple[FloatArray, FloatArray]:
    elements, moltype = stereo_elements(wanted.match.moltype), wanted.match.moltype
    by_kind: dict[str, list[int]] = {}
    for number, site in enumerate(sites):
        by_kind.setdefault(site.kind, []).append(number)
    candidates = dict[int, Candidates]()
    for kind, numbers in by_kind.items():
        like, known = sites[numbers[0]], memory[kind]
        eligible = (known.frame != wanted.frame) & (rng.random(len(known)) < breadth.asked)
        known = known.some(np.flatnonzero(eligible))
        beads = np.concatenate([wanted.beads[:, sites[k].beads] for k in numbers])
        states = np.concatenate([wanted.states[:, sites[k].elements] for k in numbers])
        asked = Asked(beads, states, like.weights, are_bonds(elements[like.elements]))
        found = _most_alike(known, asked, rng, breadth)
        parts = zip(np.split(found.atoms, len(numbers)), np.split(found.misfit, len(numbers)), strict=True)
        candidates |= {k: Candidates(*part) for k, part in zip(numbers, parts, strict=True)}
    graph, rows = bead_graph(wanted.match.mapping, moltype), np.arange(len(wanted))
    atoms = np.zeros((draws, len(wanted), moltype.n_atoms, 3))
    misfit = np.empty((draws, len(wanted), len(sites)))
    for draw, chosen in enumerate(_drawn_together(graph, sites, candidates, rng, draws, breadth)):
        for k, site in enumerate(sites):
            atoms[draw][:, site.atoms[site.own]] = candidates[k].atoms[rows, chosen[k]][:, site.own]
            misfit[draw, :, k] = candidates[k].misfit[rows, chosen[k]]
        place_in_molecules(moltype, atoms[draw])
    return atoms, misfit


@dataclass(frozen=True, eq=False)
class Asked:
    """Sites of one kind for which something alike is looked for.

    Attributes
    ----------
    beads, states
        (q, e, 3) nm and (q, c), 0 for any state.
    weights
        (e,) of the beads.
    bonds
        (c,) which stereo elements have the same state in a mirror.
    """

    beads: FloatArray
    states: SignArray
    weights: FloatArray
    bonds: BoolArray


def _most_alike(known: Fragments, asked: Asked, rng: np.random.Generator, breadth: Breadth) -> Candidates:
    """Those remembered whose beads lie most alike, in the states that are asked for."""
    count, size, most = len(asked.beads), known.atoms.shape[1], breadth.choice
    atoms, misfit = np.zeros((count, most, size, 3)), np.full((count, most), np.inf)
    if not len(known):
        return Candidates(atoms, misfit)
    shape = _distances(known.beads, asked.weights)
    mirrored = np.where(asked.bonds, known.states, -known.states)
    patterns, which = np.unique(asked.states, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == k)
        fits = [np.flatnonzero(_agree(have, pattern)) for have in (known.states, mirrored)]
        entry = np.concatenate(fits)
        sign = np.repeat([1.0, -1.0], [len(fit) for fit in fits])
        if not len(entry):
            continue
        beads = asked.beads[rows]
        near = _nearest(shape[entry], _distances(beads, asked.weights), breadth.looked_at, rng)
        moves, off = _superposed(known, entry[near], sign[near], asked.weights, beads)
        off = np.where(_are_same(known.beads[entry[near]], beads), np.inf, off)
        order = np.argsort(off, axis=1)[:, : breadth.choice]
        best = np.take_along_axis(near, order, axis=1)
        most = best.shape[1]
        shapes = known.atoms[entry[best]] * sign[best][..., None, None]
        matrix, shift = (
            np.take_along_axis(t, order.reshape(*order.shape, *(1,) * (t.ndim - 2)), 1) for t in moves
        )
        atoms[rows, :most] = np.einsum("qkij,qkaj->qkai", matrix, shapes) + shift[:, :, None]
        misfit[rows, :most] = np.take_along_axis(off, order, axis=1)
    return Candidates(atoms, misfit)


def _are_same(known: Float32Array, asked: FloatArray) -> BoolArray:
    """(q, k) whether fragments (q, k, e, 3) were made on the very beads (q, e, 3) that ask, in any frame.

    A sample of these beads that recalled itself, or its mirror image, would be the old sample once more.  A
    bead alone tells nothing: all are the same there.
    """
    apart = np.abs(known - (asked - asked[:, :1])[:, None]).max(axis=(2, 3))
    return np.asarray((apart < SAME) & (known.shape[2] > 1), np.bool_)


def _agree(states: SignArray, pattern: SignArray) -> BoolArray:
    return np.asarray(((pattern == 0) | (states == pattern)).all(axis=1), np.bool_)


def _distances(beads: FloatArray | Float32Array, weights: FloatArray) -> FloatArray:
    """(m, pairs) nm, of all pairs of beads (m, e, 3), times the root of both weights."""
    i, j = np.triu_indices(beads.shape[1], 1)
    apart = np.linalg.norm(beads[:, i] - beads[:, j], axis=2)
    return np.asarray(apart * np.sqrt(weights[i] * weights[j]), np.float64)


def _nearest(shape: FloatArray, asked: FloatArray, most: int, rng: np.random.Generator) -> IntArray:
    """(q, k) rows of ``shape`` (m, pairs) most alike to each of ``asked`` (q, pairs); any if none tells."""
    most = min(most, len(shape))
    if shape.shape[1] == 0:
        return rng.integers(len(shape), size=(len(asked), most))
    _, rows = KDTree(shape).query(asked, k=most)
    return np.asarray(rows, np.int64).reshape(len(asked), most)


def _superposed(
    known: Fragments, entry: IntArray, sign: FloatArray, weights: FloatArray, asked: FloatArray
) -> tuple[tuple[FloatArray, FloatArray], FloatArray]:
    """Rotations (q, k, 3, 3) and shifts (q, k, 3) of remembered beads onto those asked for; misfits (q, k).

    They are those of the weighted least squares.
    """
    share = weights / weights.sum()
    have = known.beads[entry].astype(np.float64) * sign[..., None, None]
    mine, theirs = np.einsum("e,qkei->qki", share, have), np.einsum("e,qei->qi", share, asked)
    have, want = have - mine[:, :, None], asked - theirs[:, None]
    matrix = best_rotations(np.einsum("e,qkei,qej->qkij", share, have, want))
    apart = np.einsum("qkij,qkej->qkei", matrix, have) - want[:, None]
    off = np.sqrt(np.einsum("e,qkei,qkei->qk", share, apart, apart))
    return (matrix, theirs[:, None] - np.einsum("qkij,qkj->qki", matrix, mine)), off


def _drawn_together(
    graph: nx.Graph,
    sites: Sequence[Site],
    candidates: Mapping[int, Candidates],
    rng: np.random.Generator,
    draws: int,
    breadth: Breadth,
) -> Iterator[IntArray]:
    """Draw one candidate for each bead (beads, copies) so that those of neighbours agree, several times.

    Where beads make a ring one bond of it is left out.
    """
    odds = {k: -0.5 * (one.misfit / breadth.unlike) ** 2 for k, one in candidates.items()}
    roots, above, bound = [min(part) for part in nx.connected_components(graph)], dict[int, int](), {}
    for root in roots:
        found = {child: parent for parent, child in nx.bfs_edges(graph, root)}
        for k in found:
            bound[k] = _agreement(sites, candidates, found[k], k) / breadth.apart**2
        for k in reversed(found):
            both = bound[k] + odds[k][:, None]
            highest = both.max(axis=2, keepdims=True)
            highest = np.where(np.isfinite(highest), highest, 0.0)
            with np.errstate(divide="ignore"):
                message = highest[..., 0] + np.log(np.exp(both - highest).sum(axis=2))
            odds[found[k]] = odds[found[k]] + message
        above |= found
    copies = len(odds[0])
    rows = np.arange(copies)
    for _ in range(draws):
        chosen = np.zeros((len(sites), copies), np.int64)
        for root in roots:
            chosen[root] = _drawn(odds[root], rng)
        for k, parent in above.items():
            chosen[k] = _drawn(odds[k] + bound[k][rows, chosen[parent]], rng)
        yield chosen


def _agreement(
    sites: Sequence[Site], candidates: Mapping[int, Candidates], above: int, below: int
) -> FloatArray:
    """(copies, k, k) mean square distance, less than 0, of atoms that candidates of two beads both have."""
    both = np.intersect1d(sites[above].atoms[sites[above].own], sites[below].atoms)
    both = np.union1d(both, np.intersect1d(sites[below].atoms[sites[below].own], sites[above].atoms))
    first, second = (candidates[k].atoms[:, :, _rows_in(sites[k].atoms, both)] for k in (above, below))
    middle = first.mean(axis=1, keepdims=True)  # near all of them, so that little cancels
    first, second = (x.reshape(*x.shape[:2], -1) for x in (first - middle, second - middle))
    square = (first**2).sum(axis=2)[:, :, None] + (second**2).sum(axis=2)[:, None]
    square -= 2.0 * first @ second.transpose(0, 2, 1)
    return np.asarray(-np.maximum(square, 0.0) / max(len(both), 1), np.float64)


def _rows_in(atoms: IntArray, some: IntArray) -> IntArray:
    order = np.argsort(atoms)
    return np.asarray(order[np.searchsorted(atoms, some, sorter=order)], np.int64)


def _drawn(odds: FloatArray, rng: np.random.Generator) -> IntArray:
    """(copies,) draw by logarithms of odds (copies, k)."""
    highest = odds.max(axis=1, keepdims=True)
    weight = np.exp(odds - np.where(np.isfinite(highest), highest, 0.0))
    total = np.cumsum(weight, axis=1)
    return np.asarray((rng.random((len(odds), 1)) * total[:, -1:] > total).sum(axis=1), np.int64).clip(
        0, odds.shape[1] - 1
    )

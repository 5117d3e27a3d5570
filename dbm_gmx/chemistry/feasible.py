"""Whether atoms can be put on beads at all: what can be known of a frame before any is placed.

The mapped centre of a bead is a weighted mean of its atoms.  No two atoms are further apart than the bonds
between them are long, so that no two centres are further apart than the weighted mean of these paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame, box_volume
from dbm_gmx.chemistry.mapping import Mapping, Match, atoms_of_beads, bead_graph
from dbm_gmx.chemistry.periodic import arms_of, lattice_of, neighbour_pairs, reduced_cell
from dbm_gmx.chemistry.rules import LOOSEST, UNKNOWN, bond_lengths
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph
from dbm_gmx.errors import InputError

STRETCH, SLACK = 1.1, 2 * LOOSEST
"""Two beads may be so many times as far apart as their atoms reach, and so much further, nm, as both centres
may be off by the width of the loosest restraint: a frame with beads that are further apart cannot have atoms.
Between one and the other there are some only if bonds are stretched or the restraints are loose.  Bonds of
beads are soft: with 1,250 kJ/mol/nm^2, as in Martini, one in 10^8 is .26 nm too long.  Beads of eleven
simulations were at most .88 times as far apart as their atoms reach."""

CROWD, CLOSE = 4, 0.1
"""So many beads within this distance, nm, of one of them are too many; fewer are said."""

DENSEST, DENSE = 250.0, 150.0
"""Atoms in a nm^3: more than anywhere in condensed matter, and more than in any liquid or crystal of organic
molecules (polyethylene has 130)."""

NEAR = 0.5
"""nm along bonds, in which the atoms of the next bead are looked for first."""

SMALLEST = 0.5
"""nm: shortest box vector with which contacts can be counted."""


@dataclass(frozen=True)
class Problem:
    """Something about a frame of beads.

    Attributes
    ----------
    kind
        What it is about.
    words
        What, with beads and distances.
    fatal
        Whether no atoms can be put there.
    """

    kind: str
    words: str
    fatal: bool


NO_BOX = "; without a box molecules must be whole: if they are not, give the file the box of the simulation"


def problems_of(system: System, frame: Frame, cutoff: float) -> list[Problem]:
    """What speaks against putting atoms on a frame of beads.

    Parameters
    ----------
    frame
        Molecules whole, see :func:`~dbm_gmx.chemistry.winding.with_whole_beads`.
    cutoff
        nm.
    """
    return [
        *_box(system, frame, cutoff),
        *_far(system, frame),
        *_single(system, frame),
        *_crowded(system, frame),
    ]


def impossible(frame: Frame, problems: list[Problem], path: Path | None, hint: str = "") -> InputError | None:
    """The error that no atoms can be put on a frame of beads, where one of the problems is fatal.

    Parameters
    ----------
    path
        Its file.
    hint
        What can be done about it.
    """
    for problem in problems:
        if problem.fatal:
            where = f"frame {frame.index} (t = {frame.time:g} ps)"
            return InputError(f"{where}: no atoms can be put there: {problem.words}{hint}", path=path)
    return None


def _box(system: System, frame: Frame, cutoff: float) -> list[Problem]:
    shortest = float(np.linalg.norm(reduced_cell(frame.box), axis=1).min())
    atoms = sum(m.count * int((m.moltype.masses > 0).sum()) for m in system.matches)
    density = atoms / box_volume(frame.box)
    said = []
    if density > DENSE:
        fatal = density > DENSEST
        limit = DENSEST if fatal else DENSE
        words = (
            f"{atoms} atoms in {box_volume(frame.box):.3g} nm^3, {density:.0f} in each: at most {limit:g} fit"
        )
        said.append(Problem("box", words, fatal))
    if shortest < SMALLEST:
        words = f"a box vector of {shortest:.3g} nm; at least {SMALLEST:g} are needed"
        said.append(Problem("box", words, fatal=True))
    elif shortest < 2 * cutoff:
        words = (
            f"a box vector of {shortest:.3g} nm is shorter than two cut-offs of {cutoff:g} nm: atoms see "
            "images of themselves, and GROMACS does not run with it"
        )
        if frame.winds:
            words += "; of molecules that are bonded to their own images each pair acts once"
        said.append(Problem("vector", words, fatal=frame.winds))
    return said


# --- bonded beads ------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def reaches(mapping: Mapping, moltype: MoleculeType) -> tuple[IntArray, FloatArray]:
    """(k, 2) neighbouring beads of a molecule, and (k,) how far apart their mapped centres can be, nm."""
    lengths, graph = bond_lengths(moltype), nx.Graph()
    graph.add_nodes_from(chemical_graph(moltype))
    graph.add_weighted_edges_from(
        (i, j, float(lengths[min(i, j), max(i, j)])) for i, j in chemical_graph(moltype).edges
    )
    pairs = np.array(sorted(tuple(sorted(e)) for e in bead_graph(mapping, moltype).edges), np.int64)
    found = [_reach(mapping, graph, int(one), int(other)) for one, other in pairs.reshape(-1, 2)]
    return pairs.reshape(-1, 2), np.array(found, np.float64)


def _reach(mapping: Mapping, graph: nx.Graph, one: int, other: int) -> float:
    """Mean length of the paths between the atoms of two beads; infinite where there is none."""
    mine, theirs = mapping.weights[[one]].tocoo(), mapping.weights[[other]].tocoo()
    mean = 0.0
    for atom, weight in zip(mine.col.tolist(), mine.data.tolist(), strict=True):
        paths = _paths(graph, atom, set(theirs.col.tolist()))
        for end, share in zip(theirs.col.tolist(), theirs.data.tolist(), strict=True):
            mean += abs(weight * share) * paths.get(end, np.inf)
    return mean


def _paths(graph: nx.Graph, atom: int, wanted: set[int]) -> dict[int, float]:
    """Lengths of the paths from an atom to those wanted, nm, without a search of the whole molecule."""
    reach, size = NEAR, 0
    while True:
        lengths: dict[int, float] = nx.single_source_dijkstra_path_length(graph, atom, cutoff=reach)
        if wanted <= lengths.keys() or len(lengths) == size:
            return lengths
        reach, size = 2 * reach, len(lengths)


def _far(system: System, frame: Frame) -> list[Problem]:
    """Bonded beads further apart than the atoms between them reach."""
    beads, said = frame.positions.astype(np.float64), list[Problem]()
    for match in system.matches:
        pairs, reach = reaches(match.mapping, match.moltype)
        if not len(pairs):
            continue
        places = match.beads(beads)
        apart = np.linalg.norm(arms_of(places, pairs, lattice_of(frame)), axis=-1)
        atoms = (atoms_of_beads(match.mapping, match.moltype)[pairs] >= 0).all(axis=1)
        usual = np.where(atoms, STRETCH, 1) * reach + 1e-3  # written to .001 nm; bonds of atoms vibrate
        for limit, fatal in ((STRETCH * reach + SLACK, True), (usual, False)):
            copies, bonds = np.nonzero(apart > limit)
            if not len(copies):
                continue
            worst = int(np.argmax(apart[copies, bonds] / limit[bonds]))
            copy, bond = int(copies[worst]), int(bonds[worst])
            names = " and ".join(_bead(match, copy, int(place)) for place in pairs[bond])
            words = (
                f"{names} are {apart[copy, bond]:.3g} nm apart; the bonds between their atoms reach "
                f"{reach[bond]:.3g} nm ({len(copies)} such pairs)"
            ) + (NO_BOX if frame.free else "")
            said.append(Problem("bonded beads", words, fatal))
            break
    return said


def _bead(match: Match, copy: int, place: int) -> str:
    """A bead for people."""
    row = match.first_bead + copy * len(match.mapping.names) + place
    return f"bead {row + 1} ({match.mapping.names[place]} of {match.moltype.name} {copy + 1})"


# --- rings of one bead -------------------------------------------------------------------------------


def _single(system: System, frame: Frame) -> list[Problem]:
    """Molecules of one bead with a ring as long as the box, which the bead does not tell from a chain.

    That chain would be bonded to its own image, and its bead could be anywhere along it.
    """
    shortest, said = float(np.linalg.norm(reduced_cell(frame.box), axis=1).min()), list[Problem]()
    for match in system.matches:
        if frame.free or len(match.mapping.names) > 1 or UNKNOWN * match.moltype.n_atoms < shortest:
            continue
        longest = max(bond_lengths(match.moltype).values(), default=0.0)
        rings = nx.minimum_cycle_basis(nx.Graph(chemical_graph(match.moltype)))
        size = max(map(len, rings), default=0)
        if size * longest > shortest:
            words = (
                f"{match.moltype.name} has one bead and a ring of {size} atoms, as long as the box: it is "
                "taken for a ring; a chain bonded to its own images needs two beads"
            )
            said.append(Problem("ring", words, fatal=False))
    return said


# --- overlapping beads -------------------------------------------------------------------------------


def _crowded(system: System, frame: Frame) -> list[Problem]:
    """Beads that lie upon each other."""
    pairs = neighbour_pairs(frame.positions, frame.positions, frame.box, CLOSE)
    pairs = pairs.select((pairs.i != pairs.j) | pairs.cells.any(axis=1))
    if not len(pairs.i):
        return []
    around = 1 + np.bincount(pairs.i, minlength=len(frame.positions))
    worst = int(np.argmax(around))
    closest = int(np.argmin(np.where(pairs.i == worst, pairs.distances, np.inf)))
    names = " and ".join(_named(system, int(bead)) for bead in (worst, pairs.j[closest]))
    words = (
        f"{names} are {pairs.distances[closest]:.3g} nm apart; {around[worst]} beads are within {CLOSE:g} nm "
        f"({int((around > 1).sum())} beads have others so near)"
    )
    return [Problem("overlapping beads", words, fatal=int(around[worst]) >= CROWD)]


def _named(system: System, bead: int) -> str:
    for match in system.matches:
        copy, place = divmod(bead - match.first_bead, len(match.mapping.names))
        if 0 <= copy < match.count:
            return _bead(match, copy, place)
    raise IndexError(bead)

"""Molecules that are bonded to images of their own, through the box: infinite chains, sheets and networks.

Each of their atoms is beside its bead, and the beads are whole along a tree of bonds: those that close
a circle through the box are long.  What looks at two atoms of such a molecule takes the nearest image
(:class:`~dbm_gmx.chemistry.vectors.Lattice`): where box vectors are two cut-offs long no other one acts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.feasible import SLACK, STRETCH, reaches
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping, Match, bead_graph
from dbm_gmx.chemistry.periodic import (
    make_whole,
    minimum_image,
    reduced_cell,
    through_the_box,
    together,
)
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph
from dbm_gmx.chemistry.vectors import make_lattice
from dbm_gmx.chemistry.virtual_sites import made_of, virtual_sites
from dbm_gmx.errors import InputError

MIDDLE = 1.5
"""A bead in the middle of two images of its neighbour is at most so many times as far from one of them."""


# --- beads -------------------------------------------------------------------------------------------


def with_whole_beads(system: System, frame: Frame) -> Frame:
    """A frame of beads with all molecules whole; the first bead of each stays where it is.

    Raises
    ------
    InputError
        If a molecule is bonded to images of its own whose atoms cannot be put there.
    """
    parts, winds = [], False
    for match in system.matches:
        edges = _bead_bonds(match.mapping, match.moltype)
        whole = make_whole(match.beads(frame.positions), frame.box, edges)
        through = through_the_box(whole, frame.box, edges).any()
        if not frame.free and (through or _in_the_middle(match, whole, frame.box)):
            winds = True
            _check(match.mapping, match.moltype)
        parts.append(whole.reshape(-1, 3))
    return replace(frame, positions=np.concatenate(parts), winds=winds)


@lru_cache(maxsize=64)
def _bead_bonds(mapping: Mapping, moltype: MoleculeType) -> IntArray:
    return np.array(bead_graph(mapping, moltype).edges, np.int64).reshape(-1, 2)


@lru_cache(maxsize=64)
def _links(mapping: Mapping, moltype: MoleculeType) -> tuple[IntArray, ...]:
    """(n, 2) atoms of the bonds between each two of :func:`_bead_bonds`, from the bead that is first."""
    found = defaultdict[tuple[int, int], list[tuple[int, int]]](list)
    for bond in sorted(map(sorted, chemical_graph(moltype).edges)):
        (one, i), (other, j) = sorted((int(mapping.owner[atom]), atom) for atom in bond)
        found[one, other].append((i, j))
    return tuple(np.array(found[min(pair), max(pair)]) for pair in _bead_bonds(mapping, moltype).tolist())


def _ways(
    mapping: Mapping, moltype: MoleculeType, beads: FloatArray | Float32Array, box: FloatArray
) -> Iterator[tuple[int, BoolArray, FloatArray]]:
    """Neighbouring beads that may be bonded both ways round, as those of a chain of two beads are.

    A longer one is bonded to images that are not nearest to each other.  One of two beads is not: each bead
    lies in the middle between two images of the other, while in a ring these are on the same side.

    Yields
    ------
    Which of :func:`_bead_bonds`, (copies,) whether it is so, and (copies, 3) nm from the nearest image to the
    one on the other side.
    """
    links = _links(mapping, moltype)
    if all(len(link) < 2 for link in links):
        return
    pairs, reach = reaches(mapping, moltype)
    far = {tuple(pair): value for pair, value in zip(pairs.tolist(), reach.tolist(), strict=True)}
    steps = np.array(make_lattice(reduced_cell(box.astype(np.float64))).steps)
    for number, pair in enumerate(_bead_bonds(mapping, moltype).tolist()):
        if len(links[number]) < 2:
            continue
        one, other = min(pair), max(pair)
        apart = minimum_image(beads[:, other].astype(np.float64) - beads[:, one], box)
        images = np.linalg.norm(apart[:, None] + steps, axis=-1)
        image, near = images.min(axis=-1), np.linalg.norm(apart, axis=-1)
        limit = STRETCH * far[one, other] + SLACK
        yield number, (image < limit) & (image < MIDDLE * near), steps[images.argmin(axis=-1)]


def _in_the_middle(match: Match, whole: Float32Array, box: FloatArray) -> bool:
    """Whether neighbouring beads are bonded both ways round.

    Raises
    ------
    InputError
        If there is no saying which bond goes which way.
    """
    found, names = False, match.mapping.names
    for number, both, _ in _ways(match.mapping, match.moltype, whole, box):
        if both.any() and len(_links(match.mapping, match.moltype)[number]) > 2:
            one, other = _bead_bonds(match.mapping, match.moltype)[number]
            raise InputError(
                f"{match.moltype.name} is bonded to its own periodic images, and beads {names[one]} and "
                f"{names[other]} by more than two bonds both ways round: not supported; three beads are"
            )
        found |= bool(both.any())
    return found


def longer_ways(
    mapping: Mapping, moltype: MoleculeType, beads: FloatArray, box: FloatArray
) -> Iterator[tuple[int, int, FloatArray]]:
    """Bonds that are not between the nearest images of their beads, of chains of two beads.

    Nothing says which of the two bonds between these beads it is: that of the later atoms is taken.

    Parameters
    ----------
    beads, box
        (copies, m, 3) and (3, 3) nm.

    Yields
    ------
    Its atoms, and (copies, 3) nm from the nearest image of the bead of the second one to the other side,
    0 in copies that are rings.
    """
    for number, both, steps in _ways(mapping, moltype, beads, box):
        i, j = _links(mapping, moltype)[number][-1].tolist()
        yield i, j, np.where(both[:, None], steps, 0.0)


def _check(mapping: Mapping, moltype: MoleculeType) -> None:
    """Refuse molecules that are bonded to images of their own where atoms are not beside one bead.

    Raises
    ------
    InputError
        Saying which.
    """
    shared = np.flatnonzero(np.diff(mapping.weights.tocsc().indptr) > 1)
    whose = f"{moltype.name} is bonded to its own periodic images, and"
    if len(shared):
        raise InputError(
            f"{whose} atom {shared[0] + 1} ({moltype.names[shared[0]]}) is part of several beads: not "
            "supported; each atom of such a molecule must be part of one bead"
        )
    sites = virtual_sites(moltype)
    for v, site in enumerate(sites.virtual.tolist()):
        if len(set(mapping.owner[[site, *made_of(sites, v)]].tolist())) > 1:
            raise InputError(
                f"{whose} the virtual site {site + 1} ({moltype.names[site]}) is made of atoms of several "
                "beads: not supported; give all of them to one bead (--owners)"
            )


# --- atoms -------------------------------------------------------------------------------------------


def with_whole_atoms(system: System, frame: Frame) -> Frame:
    """A frame of atoms with all molecules whole; of those bonded to images of their own each bead is.

    A molecule that is one bead, as where there are no beads, is whole but for the bonds that close it.
    """
    parts, winds = [], False
    for match in system.matches:
        whole = make_whole(match.molecules(frame.positions), frame.box, match.moltype.bonds)
        if not frame.free and through_the_box(whole, frame.box, match.moltype.bonds).any():
            winds = True
            whole = _beads_whole(match, whole, frame.box) if len(match.mapping.names) > 1 else whole
        parts.append(whole.reshape(-1, 3))
    return replace(frame, positions=np.concatenate(parts), winds=winds)


def _beads_whole(match: Match, whole: Float32Array, box: FloatArray) -> Float32Array:
    """Molecules (copies, n, 3) of which the atoms of each bead are together, and beads beside each other."""
    mapping, found = match.mapping, whole.copy()
    owned = [np.flatnonzero(mapping.owner == bead) for bead in range(len(mapping.names))]
    for name, atoms in zip(mapping.names, owned, strict=True):
        found[:, atoms] = together(whole, atoms, box, match.moltype.bonds, name)
    middles = np.stack([found[:, atoms].mean(axis=1) for atoms in owned], axis=1)
    moved = make_whole(middles, box, _bead_bonds(mapping, match.moltype)) - middles
    return np.asarray(found + moved[:, mapping.owner], np.float32)

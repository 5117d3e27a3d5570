"""Stereocentres: which there are, their chirality, and what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import lru_cache

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dbm_gmx.chemistry.array_types import FloatArray, IntArray, Positions, SignArray
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.system import System, copies_of_runs, runs_of_molecules
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph

Chirality = Mapping[str, SignArray]


# --- stereocentres ---------------------------------------------------------------------------------

FLAT = 0.4
"""Mean triple product of unit vectors up to which there is no tetrahedron.

An ideal one has 0.77.  In a melt at 568 K the mean over the four choices of three neighbours spreads
by 0.01 and a single one by 0.07, so that no atom of a simulation gets here by itself; a centre with
one neighbour turned to the wrong side, which relaxation may mend either way, has 0.38.
"""


@lru_cache(maxsize=64)
def stereocentres(moltype: MoleculeType) -> IntArray:
    """Tetrahedral atoms with four topologically different neighbours.

    Different are neighbours that no refinement of the molecular graph by elements, masses and bonds
    can take for each other, however far one must look.  Centres whose neighbours differ only in their
    own chirality (meso forms, 1,4-substituted rings) and pyramidal sulphur are not found.

    Returns
    -------
    (c, 5) the centre and its neighbours in the order of the file.  For a united-atom CH the last is -1:
    the hydrogen it carries, which has no place of its own.
    """
    graph, colour = chemical_graph(moltype), _colours(moltype)
    rows = []
    for centre in range(moltype.n_atoms):
        others = sorted(graph[centre])
        hidden = len(others) == 3 and _is_united_ch(moltype, centre)
        if len(others) + hidden == 4 and len({int(colour[j]) for j in others}) == len(others):
            rows.append([centre, *others, -1][:5])
    found = np.array(rows, np.int64).reshape(-1, 5)
    found.setflags(write=False)
    return found


def _is_united_ch(moltype: MoleculeType, i: int) -> bool:
    atom = moltype.graph.nodes[i]
    return bool(atom["element"] == "C" and 12.6 < atom["mass"] < 13.5)


def _colours(moltype: MoleculeType) -> IntArray:
    """(n,) equal numbers for atoms that are alike, refined until nothing changes (Weisfeiler-Lehman).

    A colour and the multiset of the neighbours' colours are told by sums of random 64-bit numbers.
    """
    graph, nodes = chemical_graph(moltype), moltype.graph.nodes
    labels = [
        f"{nodes[i]['element'] or nodes[i]['type']} {nodes[i]['mass']:.0f}" for i in range(moltype.n_atoms)
    ]
    values, colour = np.unique(labels, return_inverse=True)
    adjacency = nx.to_scipy_sparse_array(graph, nodelist=range(moltype.n_atoms), dtype=np.int64, format="csr")
    random, count = np.random.default_rng(0), 0
    while count < len(values):
        count = len(values)
        own, near = random.integers(np.iinfo(np.int64).max, size=(2, count))
        values, colour = np.unique(own[colour] + adjacency @ near[colour], return_inverse=True)
    return np.asarray(colour, np.int64)


def chirality_of(atoms: Positions, centres: IntArray) -> SignArray:
    """Hand of each centre.

    Parameters
    ----------
    atoms
        (copies, n, 3) nm, whole molecules of one type.
    centres
        (c, 5), see :func:`stereocentres`.

    Returns
    -------
    (copies, c): 1 where the first three neighbours, seen from the centre, make a right-handed
    system, -1 where a left-handed one, 0 where the four make no tetrahedron (:data:`FLAT`).
    """
    volumes = triple_products(np.asarray(atoms, np.float64)[:, centres], centres[:, 1:] >= 0)
    return np.where(volumes > FLAT, 1, np.where(volumes < -FLAT, -1, 0)).astype(np.int8)


def triple_products(points: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Mean triple product of unit vectors from centres to any three of their neighbours, signed as a hand.

    Parameters
    ----------
    points
        (..., 5, 3) centres and their neighbours.
    known
        (..., 4) which neighbours are there.

    Returns
    -------
    (...); not a number where fewer than three are known.
    """
    arms = points[..., 1:, :] - points[..., :1, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        arms = arms / np.linalg.norm(arms, axis=-1, keepdims=True)
        without = np.stack([(-1) ** (k + 1) * _triple(np.delete(arms, k, axis=-2)) for k in range(4)])
        there = np.stack([np.delete(known, k, axis=-1).all(axis=-1) for k in range(4)])
        there = there.reshape(*there.shape[:1], *[1] * (without.ndim - there.ndim), *there.shape[1:])
        return np.asarray(np.where(there, without, 0.0).sum(axis=0) / there.sum(axis=0))


def _triple(arms: FloatArray) -> FloatArray:
    """Triple product of vectors (..., 3, 3): (...)."""
    a, b, c = np.moveaxis(arms, -2, 0)
    return np.asarray((np.cross(a, b) * c).sum(axis=-1), np.float64)


def improper_chirality(moltype: MoleculeType) -> SignArray:
    """Hand of each stereocentre as far as the force field holds it.

    A harmonic improper about a centre (dihedral type 2, centre first, as in united-atom force
    fields) has a minimum of about 35 degrees for one hand and of -35 degrees for the other.

    Returns
    -------
    (c,) in the order of :func:`stereocentres`, 0 where no improper says.
    """
    centres = stereocentres(moltype).tolist()
    row = {centre: k for k, (centre, *_) in enumerate(centres)}
    signs = np.zeros(len(centres), np.int8)
    for terms in moltype.terms:
        if (terms.directive, terms.function) != ("dihedrals", 2):
            continue
        for (centre, *ends), angle in zip(terms.atoms.tolist(), terms.parameters[:, 0], strict=True):
            neighbours = centres[row[centre]][1:] if centre in row else []
            if set(ends) <= set(neighbours) and 10 < abs(angle) < 80:
                order = [neighbours.index(j) for j in ends]
                parity = np.linalg.det(np.eye(4)[[*order, 6 - sum(order)]])
                signs[row[centre]] = np.sign(angle * parity)
    return signs


def infer_chirality(system: System, atoms: Positions, expected: Chirality) -> dict[str, SignArray]:
    """Expected hands, and where nothing is known those of whole atoms (n, 3).

    Returns
    -------
    By molecule type (copies, c); 0 where these atoms make no tetrahedron either.
    """
    parts: dict[str, list[SignArray]] = {}
    for moltype, copies, rows in runs_of_molecules(system, atoms):
        found = chirality_of(rows, stereocentres(moltype))
        wanted = _of_copies(expected, moltype, copies, found.shape)
        parts.setdefault(moltype.name, []).append(np.where(wanted == 0, found, wanted))
    return {name: np.concatenate(chirality) for name, chirality in parts.items()}


def _of_copies(
    chirality: Chirality, moltype: MoleculeType, copies: slice, shape: tuple[int, ...]
) -> NDArray[np.int8]:
    """(copies, c) hands of some molecules of a type."""
    signs = chirality.get(moltype.name, np.zeros((1, 1), np.int8))
    return np.broadcast_to(signs if len(signs) == 1 else signs[copies], shape)


def chirality_of_copies(system: System, chirality: Chirality) -> list[SignArray]:
    """(copies, c) expected hands of each run of molecules of a type; 0 where none is expected."""
    return [
        np.array(
            _of_copies(chirality, match.moltype, copies, (match.count, len(stereocentres(match.moltype))))
        )
        for match, copies in copies_of_runs(system)
    ]


def centre_rows(match: Match) -> IntArray:
    """(copies, c, 5) stereocentres and their neighbours as rows of the system; -1 for what has no place."""
    centres = stereocentres(match.moltype)
    return np.where(centres < 0, -1, centres + match.first_atoms[:, None, None])


@dataclass(frozen=True)
class Stereo:
    """How many stereocentres are as they should be.

    Attributes
    ----------
    right, wrong
        Of the expected and of the other hand.
    undefined
        A hand is expected, but the neighbours make no tetrahedron.
    unknown
        It is not known which hand is right.
    inferred
        Of the hand of the first frame, as nothing says which is right.
    """

    right: int = 0
    wrong: int = 0
    undefined: int = 0
    unknown: int = 0
    inferred: int = 0

    def __add__(self, other: Stereo) -> Stereo:
        return Stereo(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def text(self) -> str:
        """Say it in a line."""
        total = sum(astuple(self))
        if not total:
            return "none"
        good = {"right": self.right, "inferred from the beads": self.inferred}
        parts = [f"{count} of {total} {name}" for name, count in good.items() if count]
        parts = parts or [f"0 of {total} right"]
        bad = {"wrong": self.wrong, "undefined": self.undefined}
        parts += [f"{count} {name}" for name, count in bad.items() if count]
        if self.unknown:
            parts.append(f"{self.unknown} not judged as no conformer (-r) says which hand is right")
        return ", ".join(parts)


def count_stereo(
    system: System, atoms: Positions, expected: Chirality, *, inferred: Chirality | None = None
) -> Stereo:
    """Compare the stereocentres of whole atoms (n, 3) with what is expected.

    Parameters
    ----------
    expected
        See :func:`reference_chirality`.
    inferred
        See :func:`infer_chirality`; judges those of which nothing is known.
    """
    total = Stereo()
    for moltype, copies, rows in runs_of_molecules(system, atoms):
        found = chirality_of(rows, stereocentres(moltype))
        known = _of_copies(expected, moltype, copies, found.shape)
        wanted = known if inferred is None else _of_copies(inferred, moltype, copies, found.shape)
        same, other = (wanted != 0) & (found == wanted), (wanted != 0) & (found == -wanted)
        # where even inferring found no tetrahedron there is none yet
        flat = (found == 0) & ((wanted != 0) | (inferred is not None))
        total += Stereo(
            right=int((same & (known != 0)).sum()),
            wrong=int(other.sum()),
            undefined=int(flat.sum()),
            unknown=int(((wanted == 0) & ~flat).sum()),
            inferred=int((same & (known == 0)).sum()),
        )
    return total


def wrong_centres(system: System, atoms: Positions, expected: Chirality) -> tuple[IntArray, IntArray]:
    """Rows of the stereocentres of whole atoms (n, 3) that have the other hand, and of those that have none.

    Parameters
    ----------
    expected
        See :func:`reference_chirality`; centres of which nothing is known are passed over.
    """
    wrong, flat = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for match, wanted in zip(system.matches, chirality_of_copies(system, expected), strict=True):
        found = chirality_of(match.molecules(atoms), stereocentres(match.moltype))
        places = centre_rows(match)[:, :, 0]
        wrong.append(places[(wanted != 0) & (found == -wanted)])
        flat.append(places[(wanted != 0) & (found == 0)])
    return np.concatenate(wrong), np.concatenate(flat)

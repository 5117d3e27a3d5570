"""Stereocentres: which atoms they are, their volume and chirality, and the chirality that is expected."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dbm_gmx.chemistry.array_types import FloatArray, IntArray, Positions, SignArray
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.system import System, copies_of_runs, runs_of_molecules
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, read_only
from dbm_gmx.compiled import compiled

Chirality = Mapping[str, SignArray]
"""By molecule type 1, -1 or 0 (unknown) for each stereocentre: (copies, c), or (1, c) for all copies."""

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
    (c, 5) the centre and its neighbours in the order of the file, read only.  For a united-atom CH the
    last is -1: its hydrogen is no atom of the topology.
    """
    graph, colour = chemical_graph(moltype), _colours(moltype)
    rows = []
    for centre in range(moltype.n_atoms):
        others = sorted(graph[centre])
        hidden = len(others) == 3 and _is_united_ch(moltype, centre)
        if len(others) + hidden == 4 and len({int(colour[j]) for j in others}) == len(others):
            rows.append([centre, *others, -1][:5])
    return read_only(np.array(rows, np.int64).reshape(-1, 5))


def _is_united_ch(moltype: MoleculeType, i: int) -> bool:
    atom = moltype.graph.nodes[i]
    return bool(atom["element"] == "C" and 12.6 < atom["mass"] < 13.5)


def _colours(moltype: MoleculeType) -> IntArray:
    """(n,) equal numbers for atoms that are alike, refined until nothing changes (Weisfeiler-Lehman).

    Only what is near an atom whose number changed is looked at again, and the largest part of a class keeps
    its number (Hopcroft 1971): what is learned at the ends of a chain goes through it once.
    """
    graph, nodes = chemical_graph(moltype), moltype.graph.nodes
    labels = [
        f"{nodes[i]['element'] or nodes[i]['type']} {nodes[i]['mass']:.0f}" for i in range(moltype.n_atoms)
    ]
    colour = np.unique(labels, return_inverse=True)[1].tolist()
    members: dict[int, set[int]] = defaultdict(set)
    for i, own in enumerate(colour):
        members[own].add(i)
    changed = set(graph)
    while changed:
        near: dict[int, dict[tuple[int, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
        for i in sorted({j for k in changed for j in graph[k]}):
            near[colour[i]][tuple(sorted(colour[j] for j in graph[i]))].append(i)
        changed = set()
        for own, parts in near.items():
            # near the rest of the class nothing changed: it is one more part
            *smaller, largest = sorted(parts.values(), key=len)
            rest = len(members[own]) - sum(map(len, parts.values()))
            if rest >= len(largest):
                smaller.append(largest)
            for part in smaller:
                changed |= _split(part, own, colour, members)
            if 0 < rest < len(largest):
                changed |= _split(members[own].difference(largest), own, colour, members)
    return np.array(colour, np.int64)


def _split(part: Collection[int], own: int, colour: list[int], members: dict[int, set[int]]) -> set[int]:
    """Give part of a class a number of its own."""
    found, new = set(part), len(members)
    members[own] -= found
    members[new] = found
    for i in found:
        colour[i] = new
    return found


@compiled(fastmath={"arcp", "contract", "nsz", "reassoc"})  # an unknown position stays not a number
def stereo_volume(positions: FloatArray, centre: IntArray) -> float:
    """Signed volume of a stereocentre: the mean triple product of unit vectors to three of its neighbours.

    The four choices of three arms are the four faces of one tetrahedron: with the tips u1 to u4 of the unit
    vectors, u1u2u3 - u1u2u4 + u1u3u4 - u2u3u4 is the determinant of u1 - u4, u2 - u4, u3 - u4.  A missing arm
    of length zero leaves the one product of the others, with its sign.

    Parameters
    ----------
    positions
        (n, 3) nm.
    centre
        (5,) rows of the centre and its neighbours, -1 for a neighbour that is missing.

    Returns
    -------
    0.77 and -0.77 for ideal tetrahedra, see :func:`chirality_of` for the sign; not a number where
    fewer than three neighbours are there.
    """
    arms = 0
    for k in range(1, 5):
        arms += centre[k] >= 0
    if arms < 3:
        return np.nan
    ax, ay, az = _unit_arm(positions, centre[0], centre[1])
    bx, by, bz = _unit_arm(positions, centre[0], centre[2])
    cx, cy, cz = _unit_arm(positions, centre[0], centre[3])
    dx, dy, dz = _unit_arm(positions, centre[0], centre[4])
    ax, ay, az = ax - dx, ay - dy, az - dz
    bx, by, bz = bx - dx, by - dy, bz - dz
    cx, cy, cz = cx - dx, cy - dy, cz - dz
    total = (ay * bz - az * by) * cx + (az * bx - ax * bz) * cy + (ax * by - ay * bx) * cz
    return total / 4.0 if arms == 4 else total


@compiled(fastmath={"arcp", "contract", "nsz", "reassoc"}, forceinline=True)
def _unit_arm(positions: FloatArray, centre: int, end: int) -> tuple[float, float, float]:
    """Unit vector between two rows, zero where there is no end."""
    if end < 0:
        return 0.0, 0.0, 0.0
    x = positions[end, 0] - positions[centre, 0]
    y = positions[end, 1] - positions[centre, 1]
    z = positions[end, 2] - positions[centre, 2]
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


@compiled()
def _stereo_volumes(positions: FloatArray, centres: IntArray, volumes: FloatArray) -> None:
    """Fill (copies, c) volumes of the stereocentres (c, 5) of molecules (copies, n, 3)."""
    for copy in range(len(positions)):
        for k in range(len(centres)):
            volumes[copy, k] = stereo_volume(positions[copy], centres[k])


def stereo_volumes(atoms: Positions, centres: IntArray) -> FloatArray:
    """(copies, c) :func:`stereo_volume` of the centres (c, 5) of molecules (copies, n, 3)."""
    volumes = np.empty((len(atoms), len(centres)))
    # one type of array, one compiled function: a copy of the rows can be written to, stereocentres cannot
    _stereo_volumes(np.ascontiguousarray(atoms, np.float64), np.array(centres, np.int64), volumes)
    return volumes


def chirality_of(atoms: Positions, centres: IntArray) -> SignArray:
    """Chirality of each centre.

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
    volumes = stereo_volumes(atoms, centres)
    return (volumes > FLAT).astype(np.int8) - (volumes < -FLAT).astype(np.int8)


def triple_products(points: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """:func:`stereo_volume` of centres of which some neighbours may be unknown.

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
    shape = points.shape[:-2]
    there = np.broadcast_to(known, (*shape, 4)).reshape(-1, 4)
    rows = np.arange(5 * len(there)).reshape(-1, 5)
    rows[:, 1:][~there] = -1
    return stereo_volumes(points.reshape(1, -1, 3), rows).reshape(shape)


def invert(positions: Positions, rows: IntArray) -> None:
    """Mirror stereocentres through the plane of three of their neighbours, in place.

    Bonds to the three keep their lengths.  Several centres are inverted at once.

    Parameters
    ----------
    positions
        (..., n, 3) nm.
    rows
        (4 + k,) or (c, 4 + k): the stereocentre, the three neighbours that stay, and what moves with the
        centre; -1 for what is not there.
    """
    table = np.atleast_2d(rows)
    a, b, c = (positions[..., table[:, k], :] for k in (1, 2, 3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    for k in (0, *range(4, table.shape[1])):
        real = table[:, k] >= 0
        moved, plane = table[real, k], normal[..., real, :]
        height = ((positions[..., moved, :] - a[..., real, :]) * plane).sum(axis=-1, keepdims=True)
        positions[..., moved, :] -= 2 * height * plane


def improper_chirality(moltype: MoleculeType) -> SignArray:
    """Chirality of each stereocentre as far as the force field holds it.

    A harmonic improper about a centre (dihedral type 2, centre first, as in united-atom force
    fields) has a minimum of about 35 degrees for one chirality and of -35 degrees for the other.

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
    """Expected chirality, and where none is known that of whole atoms (n, 3).

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
    """(copies, c) chirality of some molecules of a type."""
    signs = chirality.get(moltype.name, np.zeros((1, 1), np.int8))
    return np.broadcast_to(signs if len(signs) == 1 else signs[copies], shape)


def chirality_of_copies(system: System, chirality: Chirality) -> list[SignArray]:
    """(copies, c) expected chirality of each run of molecules of a type; 0 where none is expected."""
    return [
        np.array(
            _of_copies(chirality, match.moltype, copies, (match.count, len(stereocentres(match.moltype))))
        )
        for match, copies in copies_of_runs(system)
    ]


def centre_rows(match: Match) -> IntArray:
    """(copies, c, 5) stereocentres and their neighbours as rows of the system; -1 for a missing neighbour."""
    centres = stereocentres(match.moltype)
    return np.where(centres < 0, -1, centres + match.first_atoms[:, None, None])


@dataclass(frozen=True)
class Stereo:
    """How many stereocentres are as they should be.

    Attributes
    ----------
    right, wrong
        Of the expected and of the opposite chirality.
    undefined
        A chirality is expected, but the neighbours make no tetrahedron.
    unknown
        Which chirality is right is not known.
    inferred
        Of the chirality of the first frame, because none is known beforehand.
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
            parts.append(f"{self.unknown} not judged: no conformer (-r) says which chirality is right")
        return ", ".join(parts)


def count_stereo(
    system: System, atoms: Positions, expected: Chirality, *, inferred: Chirality | None = None
) -> Stereo:
    """Compare the stereocentres of whole atoms (n, 3) with what is expected.

    Parameters
    ----------
    expected
        See :func:`~dbm_gmx.files.conformers.reference_chirality`.
    inferred
        See :func:`infer_chirality`; used where no chirality is expected.
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
    """Rows of the stereocentres of whole atoms (n, 3) of the wrong chirality, and of those without any.

    Parameters
    ----------
    expected
        See :func:`~dbm_gmx.files.conformers.reference_chirality`; centres without an expected chirality
        are left out.
    """
    wrong, flat = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for match, wanted in zip(system.matches, chirality_of_copies(system, expected), strict=True):
        found = chirality_of(match.molecules(atoms), stereocentres(match.moltype))
        places = centre_rows(match)[:, :, 0]
        wrong.append(places[(wanted != 0) & (found == -wanted)])
        flat.append(places[(wanted != 0) & (found == 0)])
    return np.concatenate(wrong), np.concatenate(flat)

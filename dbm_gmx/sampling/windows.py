"""Windows of a molecule: what moves in each, what that sees, and which are alike.

A window is cut out with all that it sees, so that work on it does not grow with the molecule.  Windows that
are alike, as along a polymer, and do not see each other make a *group*: they are grown side by side, as the
copies of a molecule are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import BoolArray, IntArray
from dbm_gmx.chemistry.fragments import Fragment, homes
from dbm_gmx.chemistry.stereo import stereo_elements
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.virtual_sites import inner_sites, made_of, some_sites, touched_sites, virtual_sites
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, MoleculeHamiltonian
from dbm_gmx.forcefield.terms import chosen_terms
from dbm_gmx.sampling.annealing import Contents, WindowArrays, make_window_arrays
from dbm_gmx.sampling.conformers import Piece, pair_parameters, piece_atoms
from dbm_gmx.sampling.surroundings import NOTHING, Surroundings, of_pairs

SCREENED = 4.0
"""Of the energy of two charges within a window one part in so many counts: what is around screens them.

Without any charges but those of atoms three bonds apart, in full, as before, O-C-C-O of glycerol is hardly
ever gauche, which hydrogen bonds make up for: monoolein ended .143 +- .017 kT per atom too high in torsions
and pairs, .064 +- .008 with these.  Polyethers and nylon-6 end as they did."""


class Spots(NamedTuple):
    """Fragments of a group that are alike, m in each window.

    Attributes
    ----------
    number
        (windows, m) of the fragments.
    own
        (m, k) the atoms they own; rows count within the window.
    mine, centre, shell
        Which atoms of the fragment these are, which are its centre, and where its shell is.
    beyond
        (windows, m, shell) fragments that the atoms of the shell belong to.
    within
        (windows, m, q) stereo elements all of whose atoms the fragment holds.
    """

    number: IntArray
    own: IntArray
    mine: BoolArray
    centre: BoolArray
    shell: IntArray
    beyond: IntArray
    within: IntArray


@dataclass(frozen=True, eq=False)
class Group:
    """Windows that are alike and do not see each other.

    Attributes
    ----------
    arrays
        Of each of them.
    atoms, beads, centres
        (windows, ...) atoms, beads and stereo elements of the molecule that each moves or sees.
    spots
        The fragments that move.
    pairs
        Pairs within each, of which one moves: special ones, and the Lennard-Jones part of all others, whose
        charges are screened by neighbours that are not there.
    """

    arrays: WindowArrays
    atoms: IntArray
    beads: IntArray
    centres: IntArray
    spots: tuple[Spots, ...]
    pairs: Surroundings = NOTHING

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def free(self) -> IntArray:
        """(windows, a) atoms of the molecule that each moves."""
        return np.asarray(self.atoms[:, self.arrays.free])


class _Touching:
    """Rows of a table (k, m) of atoms, -1 and less for none, that hold given atoms."""

    def __init__(self, table: IntArray, n_atoms: int):
        rows = np.repeat(np.arange(len(table)), table.shape[1])[table.reshape(-1) >= 0]
        atoms = table[table >= 0]
        order = np.argsort(atoms, kind="stable")
        self.rows, self.start = rows[order], np.searchsorted(atoms[order], np.arange(n_atoms + 1))

    def __call__(self, atoms: IntArray) -> IntArray:
        return np.unique(self.rows[_ranges(self.start, atoms)])


def _ranges(start: IntArray, which: IntArray) -> IntArray:
    """Numbers in some of the ranges that ``start`` bounds, one range after the other."""
    counts = start[which + 1] - start[which]
    return np.repeat(start[which] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


@dataclass(frozen=True, eq=False)
class _Slot:
    """A fragment, to be put in place: see :class:`Spots`; ``sort`` is equal where fragments are alike."""

    own: IntArray
    mine: BoolArray
    centre: BoolArray
    shell: IntArray
    beyond: IntArray
    within: IntArray
    sort: tuple[object, ...]


@dataclass(frozen=True, eq=False)
class Cutter:
    """Cuts windows out of a molecule type; made by :func:`make_cutter`."""

    hamiltonian: Hamiltonian
    molecule: MoleculeHamiltonian
    centres: IntArray
    terms_of: _Touching
    centres_of: _Touching
    beads_of: _Touching
    pairs_of: _Touching
    slots: tuple[_Slot, ...]


def make_cutter(
    hamiltonian: Hamiltonian,
    molecule: MoleculeHamiltonian,
    fragments: Sequence[Fragment],
    pieces: Sequence[Piece],
) -> Cutter:
    """Look up what the windows of a molecule type need."""
    n, centres = molecule.moltype.n_atoms, np.array(stereo_elements(molecule.moltype))
    weights = molecule.weights.tocoo()
    share = np.full((weights.shape[0], int(np.bincount(weights.row).max(initial=0))), -1, np.int64)
    share[weights.row, _counted(weights.row)] = weights.col
    centres_of = _Touching(centres, n)
    return Cutter(
        hamiltonian,
        molecule,
        centres,
        _Touching(molecule.terms.atoms, n),
        centres_of,
        _Touching(share, n),
        _Touching(molecule.special, n),
        tuple(_slots(molecule.moltype, (fragments, pieces), centres, centres_of)),
    )


def _counted(rows: IntArray) -> IntArray:
    """How many of the same number came before each."""
    order = np.argsort(rows, kind="stable")
    found = np.empty(len(rows), np.int64)
    found[order] = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
    return found


def _slots(
    moltype: MoleculeType,
    parts: tuple[Sequence[Fragment], Sequence[Piece]],
    centres: IntArray,
    centres_of: _Touching,
) -> Iterable[_Slot]:
    home = homes(moltype, parts[0])
    for fragment, piece in zip(*parts, strict=True):
        atoms = piece_atoms(moltype, fragment)
        mine, centre = np.isin(atoms, fragment.own), np.isin(atoms, fragment.centre)
        shell = np.flatnonzero(np.isin(atoms, fragment.shell))
        beyond = home[atoms[shell]]
        touched = centres_of(atoms)
        inside = (np.isin(centres[touched], atoms) | (centres[touched] < 0)).all(axis=1)
        sort = piece.key, mine.tobytes(), centre.tobytes(), int(inside.sum())
        yield _Slot(fragment.own, mine, centre, shell, beyond, touched[inside], sort)


class _Cut(NamedTuple):
    """A window with its atoms, beads, stereo elements and fragments; ``sort`` is equal where it is alike."""

    arrays: WindowArrays
    atoms: IntArray
    beads: IntArray
    centres: IntArray
    spots: tuple[Spots, ...]
    pairs: Surroundings
    sort: tuple[object, ...]


def _cut(cutter: Cutter, fragments: IntArray, *, alone: bool = False, paired: bool = False) -> _Cut:
    """Cut out the window of some fragments.

    ``alone`` with what acts among its atoms only, ``paired`` with their pairs.
    """
    molecule = cutter.molecule
    real = np.sort(np.concatenate([cutter.slots[k].own for k in fragments]))
    sites = virtual_sites(molecule.moltype)
    built = inner_sites(sites, real) if alone else touched_sites(sites, real)
    free = np.union1d(real, sites.virtual[built])
    terms, centres, beads, pairs = (
        touching(free) for touching in (cutter.terms_of, cutter.centres_of, cutter.beads_of, cutter.pairs_of)
    )
    weights = molecule.weights
    if alone:
        terms, centres, pairs = (
            found[(np.isin(table[found], free) | (table[found] < 0)).all(axis=1)]
            for found, table in (
                (terms, molecule.terms.atoms),
                (centres, cutter.centres),
                (pairs, molecule.special),
            )
        )
        ends = weights.indptr
        whole = [np.isin(weights.indices[ends[b] : ends[b + 1]], free).all() for b in beads]
        beads = beads[np.array(whole, bool)]
    rows = molecule.terms.atoms[terms], cutter.centres[centres], molecule.special[pairs]
    shares = _ranges(weights.indptr.astype(np.int64), beads)
    weighed, counts = weights.indices[shares], weights.indptr[beads + 1] - weights.indptr[beads]
    makers = [made_of(sites, v) for v in built]
    atoms = np.unique(np.concatenate([free, *(table.reshape(-1) for table in rows), weighed, *makers]))
    atoms = atoms[atoms >= 0]
    inside = sp.csr_matrix(
        (weights.data[shares], np.searchsorted(atoms, weighed), np.cumsum([0, *counts])),
        shape=(len(beads), len(atoms)),
    )
    local = [np.where(table < 0, table, np.searchsorted(atoms, table)) for table in rows]
    bonded = chosen_terms(molecule.terms, terms, local[0])
    virtual = some_sites(sites, built, atoms)
    contents = Contents(bonded, local[1], inside, local[2], molecule.special_parameters[pairs], virtual)
    arrays = make_window_arrays(contents, np.searchsorted(atoms, free), cutter.hamiltonian.kt)
    inner = _pairs(cutter, atoms, arrays.free) if paired else NOTHING
    spots, sort = _spots(cutter, fragments, atoms)
    key = (*sort, *(np.asarray(array).tobytes() for array in (*arrays, *inner.own)))
    return _Cut(arrays, atoms, beads, centres, spots, inner, key)


def _pairs(cutter: Cutter, atoms: IntArray, free: IntArray) -> Surroundings:
    """Pairs among the atoms of a window of which one is ``free``, see :class:`Group`."""
    moves = np.isin(np.arange(len(atoms)), free)
    i, j = (grid.reshape(-1) for grid in np.meshgrid(free, np.arange(len(atoms)), indexing="ij"))
    once = ~moves[j] | (j > i)
    rows = np.stack([i[once], j[once]], axis=1)
    inner = pair_parameters(cutter.hamiltonian, cutter.molecule, np.sort(atoms[rows], axis=1))
    inner[:, 2] /= SCREENED
    acts = inner.any(axis=1)
    return of_pairs(free, rows[acts], inner[acts])


def _spots(
    cutter: Cutter, fragments: IntArray, atoms: IntArray
) -> tuple[tuple[Spots, ...], tuple[object, ...]]:
    """Fragments of one window by what they are like, and what tells them from those of other windows."""
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number in fragments.tolist():
        alike[cutter.slots[number].sort].append(number)
    found = []
    for numbers in alike.values():
        slots = [cutter.slots[number] for number in numbers]
        own = np.searchsorted(atoms, np.stack([slot.own for slot in slots]))
        beyond, within = (np.stack([getattr(slot, name) for slot in slots]) for name in ("beyond", "within"))
        one = slots[0]
        found.append(
            Spots(np.array(numbers)[None], own, one.mine, one.centre, one.shell, beyond[None], within[None])
        )
    return tuple(found), (*alike, *(spots.own.tobytes() for spots in found))


def make_groups(cutter: Cutter, windows: Iterable[IntArray], *, paired: bool = False) -> tuple[Group, ...]:
    """Cut out windows, each a list of fragments, and put together those that can be grown side by side.

    Windows are in one group if they are alike, and what one moves another neither moves nor sees.
    """
    groups: dict[tuple[object, ...], list[list[_Cut]]] = defaultdict(list)
    moved: dict[tuple[object, ...], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    seen: dict[tuple[object, ...], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for fragments in windows:
        cut = _cut(cutter, fragments, paired=paired)
        free, atoms = cut.atoms[cut.arrays.free].tolist(), cut.atoms.tolist()
        alike, moving, seeing = groups[cut.sort], moved[cut.sort], seen[cut.sort]
        taken = set().union(*(moving[i] for i in atoms), *(seeing[i] for i in free))
        number = next(k for k in range(len(alike) + 1) if k not in taken)
        if number == len(alike):
            alike.append([])
        alike[number].append(cut)
        for i in free:
            moving[i].add(number)
        for i in atoms:
            seeing[i].add(number)
    return tuple(_together(cuts) for alike in groups.values() for cuts in alike)


def _together(cuts: list[_Cut]) -> Group:
    spots = [
        one[0]._replace(
            number=np.concatenate([spot.number for spot in one]),
            beyond=np.concatenate([spot.beyond for spot in one]),
            within=np.concatenate([spot.within for spot in one]),
        )
        for one in zip(*(cut.spots for cut in cuts), strict=True)
    ]
    atoms, beads, centres = (
        np.stack([getattr(cut, name) for cut in cuts]) for name in ("atoms", "beads", "centres")
    )
    return Group(cuts[0].arrays, atoms, beads, centres, tuple(spots), cuts[0].pairs)


def cut_out(cutter: Cutter, fragments: IntArray) -> Group:
    """One window in which nothing outside acts."""
    return _together([_cut(cutter, fragments, alone=True)])

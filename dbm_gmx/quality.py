"""What can be said about a reconstructed frame at once, without a simulation and without a reference.

Atoms too close, stereocentres of the wrong hand, beads that are not where the input has them, bonds
that are too long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dbm_gmx.energy import close_pairs
from dbm_gmx.errors import InputError
from dbm_gmx.files.structure import structure_frames
from dbm_gmx.frame import Float32Array, FloatArray, Frame, make_whole, minimum_image
from dbm_gmx.mapping import Match
from dbm_gmx.system import System, mapped_beads
from dbm_gmx.topology import IntArray, MoleculeType, excluded_pairs

SignArray = NDArray[np.int8]
Positions = FloatArray | Float32Array
Handedness = Mapping[str, SignArray]
Conformer = Frame | str | Path

# --- contacts --------------------------------------------------------------------------------------

HYDROGEN, HEAVY, POLAR_HYDROGEN, POLAR, VIRTUAL = range(5)
POLAR_ELEMENTS = frozenset({"N", "O", "F", "S"})

LIMITS = np.array(
    [
        [0.15, 0.18, 0.15, 0.18, 0.0],
        [0.18, 0.25, 0.18, 0.25, 0.0],
        [0.15, 0.18, 0.15, 0.14, 0.0],
        [0.18, 0.25, 0.14, 0.22, 0.0],
        [0.00, 0.00, 0.00, 0.00, 0.0],
    ]
)
"""Closest distances that are no bad contact, nm, by the sorts of the two atoms.

Hydrogen bonds and shells of ions have shorter ones, which no well made liquid goes below; a virtual
site is no atom and touches nothing.
"""


def bad_contacts(system: System, atoms: Positions, box: FloatArray) -> IntArray:
    """Pairs of atoms more than three bonds apart that are closer than atoms get.

    Parameters
    ----------
    system
        The system.
    atoms
        (n, 3) nm, wherever in space.
    box
        (3, 3) nm, however skewed.

    Returns
    -------
    (k, 2) rows i < j, in order, each pair once; closer than 0.15 (two hydrogens), 0.18 (one) or
    0.25 nm (none), less where a hydrogen bond is possible, see :data:`LIMITS`.

    Raises
    ------
    InputError
        If the shortest lattice vector is less than twice the largest of these limits.
    """
    frame = Frame(np.asarray(atoms, np.float32), box)
    pairs, distances = close_pairs(frame, float(LIMITS.max()))
    sorts = np.concatenate([np.tile(_sorts(m.kind), m.count) for m in system.matches])
    pairs = pairs[distances < LIMITS[sorts[pairs[:, 0]], sorts[pairs[:, 1]]]]
    pairs = pairs[~_bonded_nearby(system, pairs)]
    return np.unique(pairs, axis=0)


@lru_cache(maxsize=64)
def _sorts(kind: MoleculeType) -> IntArray:
    """(n,) the row of each atom in the table of limits."""
    graph, elements = _chemical(kind), kind.elements

    def sort(i: int) -> int:
        bonded = {elements[j] for j in graph[i]}
        if kind.graph.nodes[i]["mass"] == 0:
            return VIRTUAL
        if elements[i] == "H":
            return POLAR_HYDROGEN if bonded & POLAR_ELEMENTS else HYDROGEN
        return POLAR if elements[i] in POLAR_ELEMENTS or not bonded else HEAVY

    return np.array([sort(i) for i in range(kind.n_atoms)], np.int64)


def _bonded_nearby(system: System, pairs: IntArray) -> NDArray[np.bool_]:
    """(k,) which of the pairs i < j are within three bonds."""
    nearby = np.zeros(len(pairs), np.bool_)
    for match in system.matches:
        n, first = match.kind.n_atoms, match.first_atom
        rows = np.flatnonzero((pairs[:, 0] >= first) & (pairs[:, 1] < first + match.count * n))
        copy, atom = np.divmod(pairs[rows] - first, n)
        listed = np.isin(atom @ [n, 1], _within_three_bonds(match.kind))
        nearby[rows] = listed & (copy[:, 0] == copy[:, 1])
    return nearby


@lru_cache(maxsize=64)
def _within_three_bonds(kind: MoleculeType) -> IntArray:
    """(k,) pairs i < j of a molecule as numbers ``i n + j``."""
    nothing = np.zeros((0, 2), np.int64)
    pairs = excluded_pairs(replace(kind, nrexcl=3, exclusions=nothing))
    return np.asarray(pairs @ [kind.n_atoms, 1], np.int64)


def _chemical(kind: MoleculeType) -> nx.Graph:
    """Return the graph without the links of virtual sites."""
    chemical = nx.Graph()
    chemical.add_nodes_from(kind.graph)
    chemical.add_edges_from((i, j) for i, j, how in kind.graph.edges(data="kind") if how != "virtual")
    return chemical


# --- stereocentres ---------------------------------------------------------------------------------

FLAT = 0.4
"""Mean triple product of unit vectors up to which there is no tetrahedron.

An ideal one has 0.77.  In a melt at 568 K the mean over the four choices of three neighbours spreads
by 0.01 and a single one by 0.07, so that no atom of a simulation gets here by itself; a centre with
one neighbour turned to the wrong side, which relaxation may mend either way, has 0.38.
"""


@lru_cache(maxsize=64)
def stereocentres(kind: MoleculeType) -> IntArray:
    """Tetrahedral atoms with four topologically different neighbours.

    Different are neighbours that no refinement of the molecular graph by elements, masses and bonds
    can take for each other, however far one must look.  Centres whose neighbours differ only in their
    own handedness (meso forms, 1,4-substituted rings) and pyramidal sulphur are not found.

    Returns
    -------
    (c, 5) the centre and its neighbours in the order of the file.  For a united-atom CH the last is -1:
    the hydrogen it carries, which has no place of its own.
    """
    graph, colour = _chemical(kind), _colours(kind)
    rows = []
    for centre in range(kind.n_atoms):
        others = sorted(graph[centre])
        hidden = len(others) == 3 and _is_united_ch(kind, centre)
        if len(others) + hidden == 4 and len({int(colour[j]) for j in others}) == len(others):
            rows.append([centre, *others, -1][:5])
    found = np.array(rows, np.int64).reshape(-1, 5)
    found.setflags(write=False)
    return found


def _is_united_ch(kind: MoleculeType, i: int) -> bool:
    atom = kind.graph.nodes[i]
    return bool(atom["element"] == "C" and 12.6 < atom["mass"] < 13.5)


def _colours(kind: MoleculeType) -> IntArray:
    """(n,) equal numbers for atoms that are alike, refined until nothing changes (Weisfeiler-Lehman).

    A colour and the multiset of the neighbours' colours are told by sums of random 64-bit numbers.
    """
    graph, nodes = _chemical(kind), kind.graph.nodes
    labels = [
        f"{nodes[i]['element'] or nodes[i]['type']} {nodes[i]['mass']:.0f}" for i in range(kind.n_atoms)
    ]
    values, colour = np.unique(labels, return_inverse=True)
    adjacency = nx.to_scipy_sparse_array(graph, nodelist=range(kind.n_atoms), dtype=np.int64, format="csr")
    random, count = np.random.default_rng(0), 0
    while count < len(values):
        count = len(values)
        own, near = random.integers(np.iinfo(np.int64).max, size=(2, count))
        values, colour = np.unique(own[colour] + adjacency @ near[colour], return_inverse=True)
    return np.asarray(colour, np.int64)


def handedness(atoms: Positions, centres: IntArray) -> SignArray:
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


def improper_handedness(kind: MoleculeType) -> SignArray:
    """Hand of each stereocentre as far as the force field holds it.

    A harmonic improper about a centre (dihedral type 2, centre first, as in united-atom force
    fields) has a minimum of about 35 degrees for one hand and of -35 degrees for the other.

    Returns
    -------
    (c,) in the order of :func:`stereocentres`, 0 where no improper says.
    """
    centres = stereocentres(kind).tolist()
    row = {centre: k for k, (centre, *_) in enumerate(centres)}
    signs = np.zeros(len(centres), np.int8)
    for terms in kind.terms:
        if (terms.directive, terms.function) != ("dihedrals", 2):
            continue
        for (centre, *ends), angle in zip(terms.atoms.tolist(), terms.parameters[:, 0], strict=True):
            neighbours = centres[row[centre]][1:] if centre in row else []
            if set(ends) <= set(neighbours) and 10 < abs(angle) < 80:
                order = [neighbours.index(j) for j in ends]
                parity = np.linalg.det(np.eye(4)[[*order, 6 - sum(order)]])
                signs[row[centre]] = np.sign(angle * parity)
    return signs


# --- what is expected ------------------------------------------------------------------------------


def expected_handedness(
    system: System,
    reference: Conformer | None = None,
    *,
    conformers: Mapping[str, Conformer] | None = None,
) -> dict[str, SignArray]:
    """Hands the stereocentres should have.

    Parameters
    ----------
    system
        The system.
    reference
        Frame, or ``.gro`` or ``.pdb``: the whole system, or one molecule that stands for all of its type.
    conformers
        One molecule each, by molecule type; what ``reference`` says goes before.

    Returns
    -------
    By molecule type (copies, c), or (1, c) where all copies are alike; 0 where nothing is known: no
    structure is given and no improper of the force field says (:func:`improper_handedness`).

    Raises
    ------
    InputError
        If a structure cannot be read or has a number of atoms that fits nothing.
    """
    kinds = {match.kind.name: match.kind for match in system.matches}
    expected = {name: improper_handedness(kind)[None] for name, kind in kinds.items()}
    found: dict[str, SignArray] = {}
    for name, conformer in (conformers or {}).items():
        if name in kinds:
            frame, path = _open(conformer)
            found |= _hands_of_molecule(frame, [kinds[name]], path)
    if reference is not None:
        frame, path = _open(reference)
        whole = len(frame.positions) == system.n_atoms
        found |= _hands_of_system(system, frame) if whole else _hands_of_one(system, frame, path)
    return expected | {name: np.where(hands == 0, expected[name], hands) for name, hands in found.items()}


def _open(conformer: Conformer) -> tuple[Frame, Path | None]:
    """Return the frame, unchecked as a single molecule needs no box, and where it is from."""
    if isinstance(conformer, Frame):
        return conformer, None
    return next(structure_frames(conformer)), Path(conformer)


def _hands_of_system(system: System, frame: Frame) -> dict[str, SignArray]:
    parts: dict[str, list[SignArray]] = {}
    for kind, _, rows in _molecules(system, frame.positions):
        parts.setdefault(kind.name, []).append(_hands(kind, rows, frame.box))
    return {name: np.concatenate(hands) for name, hands in parts.items()}


def _hands_of_one(system: System, frame: Frame, path: Path | None) -> dict[str, SignArray]:
    """Take the frame for one molecule; its type must be clear."""
    kinds = list({match.kind.name: match.kind for match in system.matches}.values())
    fits = [kind for kind in kinds if kind.n_atoms == len(frame.positions)]
    chiral = [kind for kind in fits if len(stereocentres(kind))]
    if len(chiral) > 1:
        names = ", ".join(kind.name for kind in chiral)
        raise InputError(
            f"{len(frame.positions)} atoms are a molecule of any of {names}; give a structure of the whole "
            f"system ({system.n_atoms} atoms)",
            path=path,
        )
    if not fits:
        raise InputError(_no_fit(frame, kinds, whole=system.n_atoms), path=path)
    return _hands_of_molecule(frame, chiral, path)


def _hands_of_molecule(frame: Frame, kinds: list[MoleculeType], path: Path | None) -> dict[str, SignArray]:
    wrong = [kind for kind in kinds if kind.n_atoms != len(frame.positions)]
    if wrong:
        raise InputError(_no_fit(frame, wrong), path=path)
    return {kind.name: _hands(kind, frame.positions[None], frame.box) for kind in kinds}


def _no_fit(frame: Frame, kinds: list[MoleculeType], *, whole: int | None = None) -> str:
    possible = [f"one {kind.name} ({kind.n_atoms})" for kind in kinds]
    possible += [] if whole is None else [f"the whole system ({whole})"]
    return f"{len(frame.positions)} atoms, needed are those of {' or '.join(possible)}"


def _hands(kind: MoleculeType, rows: Positions, box: FloatArray) -> SignArray:
    """Hands in molecules (copies, n, 3) that may be broken, unless the box is none.

    A PDB file that is no crystal has a cell of 0.1 nm.
    """
    if np.diag(box).min() > 2 * LIMITS.max():
        rows = make_whole(np.asarray(rows, np.float64), box, kind.bonds)
    return handedness(rows, stereocentres(kind))


def _runs(system: System) -> Iterator[tuple[Match, slice]]:
    """Yield each run of molecules and which of the copies of its type these are."""
    copies: dict[str, int] = {}
    for match in system.matches:
        before = copies.get(match.kind.name, 0)
        copies[match.kind.name] = before + match.count
        yield match, slice(before, before + match.count)


def _molecules(system: System, atoms: Positions) -> Iterator[tuple[MoleculeType, slice, Positions]]:
    """Yield molecule type, which of its copies these are, and atoms (count, n, 3) of each run."""
    for match, copies in _runs(system):
        yield match.kind, copies, match.molecules(atoms)


def infer_handedness(system: System, atoms: Positions, expected: Handedness) -> dict[str, SignArray]:
    """Expected hands, and where nothing is known those of whole atoms (n, 3).

    Returns
    -------
    By molecule type (copies, c); 0 where these atoms make no tetrahedron either.
    """
    parts: dict[str, list[SignArray]] = {}
    for kind, copies, rows in _molecules(system, atoms):
        found = handedness(rows, stereocentres(kind))
        wanted = _of_copies(expected, kind, copies, found.shape)
        parts.setdefault(kind.name, []).append(np.where(wanted == 0, found, wanted))
    return {name: np.concatenate(hands) for name, hands in parts.items()}


def _of_copies(
    hands: Handedness, kind: MoleculeType, copies: slice, shape: tuple[int, ...]
) -> NDArray[np.int8]:
    """(copies, c) hands of some molecules of a type."""
    signs = hands.get(kind.name, np.zeros((1, 1), np.int8))
    return np.broadcast_to(signs if len(signs) == 1 else signs[copies], shape)


def hands_of_copies(system: System, hands: Handedness) -> list[SignArray]:
    """(copies, c) expected hands of each run of molecules of a type; 0 where none is expected."""
    return [
        np.array(_of_copies(hands, match.kind, copies, (match.count, len(stereocentres(match.kind)))))
        for match, copies in _runs(system)
    ]


def centre_rows(match: Match) -> IntArray:
    """(copies, c, 5) stereocentres and their neighbours as rows of the system; -1 for what has no place."""
    centres = stereocentres(match.kind)
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
    system: System, atoms: Positions, expected: Handedness, *, inferred: Handedness | None = None
) -> Stereo:
    """Compare the stereocentres of whole atoms (n, 3) with what is expected.

    Parameters
    ----------
    expected
        See :func:`expected_handedness`.
    inferred
        See :func:`infer_handedness`; judges those of which nothing is known.
    """
    total = Stereo()
    for kind, copies, rows in _molecules(system, atoms):
        found = handedness(rows, stereocentres(kind))
        known = _of_copies(expected, kind, copies, found.shape)
        wanted = known if inferred is None else _of_copies(inferred, kind, copies, found.shape)
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


def wrong_centres(system: System, atoms: Positions, expected: Handedness) -> tuple[IntArray, IntArray]:
    """Rows of the stereocentres of whole atoms (n, 3) that have the other hand, and of those that have none.

    Parameters
    ----------
    expected
        See :func:`expected_handedness`; centres of which nothing is known are passed over.
    """
    wrong, flat = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for match, wanted in zip(system.matches, hands_of_copies(system, expected), strict=True):
        found = handedness(match.molecules(atoms), stereocentres(match.kind))
        places = centre_rows(match)[:, :, 0]
        wrong.append(places[(wanted != 0) & (found == -wanted)])
        flat.append(places[(wanted != 0) & (found == 0)])
    return np.concatenate(wrong), np.concatenate(flat)


# --- beads and bonds -------------------------------------------------------------------------------


def deviation(system: System, atoms: Positions, beads: Positions, box: FloatArray) -> FloatArray:
    """Return (m,) distances, nm, between the mapped atoms (n, 3) and the beads (m, 3) they were made for.

    Atoms must be whole; each distance is that to the nearest image.
    """
    apart = mapped_beads(system, np.asarray(atoms, np.float64)) - beads
    return np.asarray(np.linalg.norm(minimum_image(apart, box), axis=1), np.float64)


def longest_bond(system: System, atoms: Positions) -> float:
    """Return the length of the longest chemical bond of whole atoms (n, 3), nm; 0 if there is none."""
    longest = 0.0
    for kind, _, rows in _molecules(system, atoms):
        i, j = _bonds(kind).T
        lengths = np.linalg.norm(rows[:, j] - rows[:, i], axis=-1)
        longest = max(longest, float(lengths.max(initial=0.0)))
    return longest


@lru_cache(maxsize=64)
def _bonds(kind: MoleculeType) -> IntArray:
    return np.array(list(_chemical(kind).edges), np.int64).reshape(-1, 2)


# --- all of it -------------------------------------------------------------------------------------

SHOWN = 5
"""Times of frames that are named, at most."""


@dataclass(frozen=True)
class Refinement:
    """What is to be said of the sampling of the force field; those of several frames add up.

    Attributes
    ----------
    thermostat
        The temperature and who says it; nothing where the force field was not used.
    frames, sweeps
        Frames refined, and the sweeps this took in all.
    unsettled
        Times of the frames that did not converge, ps.
    acceptance
        By kind of move: the sum over frames of the fraction accepted, and how many frames these are.
    regrown
        Molecules that had to be grown more than once.
    """

    thermostat: str = ""
    frames: int = 0
    sweeps: int = 0
    unsettled: tuple[float, ...] = ()
    acceptance: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    regrown: int = 0

    def __add__(self, other: Refinement) -> Refinement:
        acceptance = dict(self.acceptance)
        for kind, (fraction, frames) in other.acceptance.items():
            before = acceptance.get(kind, (0.0, 0))
            acceptance[kind] = before[0] + fraction, before[1] + frames
        return Refinement(
            self.thermostat or other.thermostat,
            self.frames + other.frames,
            self.sweeps + other.sweeps,
            self.unsettled + other.unsettled,
            acceptance,
            self.regrown + other.regrown,
        )

    def lines(self) -> list[str]:
        """Say it in up to two lines."""
        if not self.thermostat:
            return []
        grown = [f"{self.regrown} molecules grown more than once"] if self.regrown else []
        if not self.frames:
            return ["growth         " + ", ".join([f"at {self.thermostat}", *grown])]
        parts = [f"exact at {self.thermostat}", f"{self.sweeps / self.frames:.3g} sweeps a frame"]
        said = [f"refinement     {', '.join([*parts, self.settled(), *grown])}"]
        moves = [f"{kind} {100 * total / n:.0f} %" for kind, (total, n) in self.acceptance.items()]
        return [*said, f"accepted       {', '.join(moves)}"] if moves else said

    def settled(self) -> str:
        """Which frames did not converge."""
        if not self.unsettled:
            return "all converged"
        times = ", ".join(f"{time:g}" for time in self.unsettled[:SHOWN])
        more = ", ..." if len(self.unsettled) > SHOWN else ""
        return f"{len(self.unsettled)} of {self.frames} NOT CONVERGED (at {times}{more} ps)"


@dataclass(frozen=True)
class Report:
    """What was found in the frames of a run; reports of parts add up.

    Attributes
    ----------
    contacts
        Number of bad contacts in each frame.
    stereo
        Stereocentres of all frames.
    deviations, square_deviation, worst_deviation
        Number of bead positions, the sum of their squared distances from the input (nm^2), and the
        largest distance (nm).
    longest_bond
        nm.
    seconds
        Wall time, 0 if not measured.
    refinement
        What the sampler did.
    """

    contacts: tuple[int, ...] = ()
    stereo: Stereo = field(default_factory=Stereo)
    deviations: int = 0
    square_deviation: float = 0.0
    worst_deviation: float = 0.0
    longest_bond: float = 0.0
    seconds: float = 0.0
    refinement: Refinement = field(default_factory=Refinement)

    def __add__(self, other: Report) -> Report:
        return Report(
            self.contacts + other.contacts,
            self.stereo + other.stereo,
            self.deviations + other.deviations,
            self.square_deviation + other.square_deviation,
            max(self.worst_deviation, other.worst_deviation),
            max(self.longest_bond, other.longest_bond),
            self.seconds + other.seconds,
            self.refinement + other.refinement,
        )

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.contacts)

    @property
    def rms_deviation(self) -> float:
        """Root mean square distance of the mapped atoms from the input beads, nm."""
        return float((self.square_deviation / max(1, self.deviations)) ** 0.5)

    def text(self) -> str:
        """Say it in a few lines, for the end of a run."""
        if not self.frames:
            return "frames         none"
        speed = ""
        if self.seconds > 0:
            speed = f" in {self.seconds:.1f} s, {60 * self.frames / self.seconds:.3g} a minute"
        mean = sum(self.contacts) / self.frames
        return "\n".join(
            [
                f"frames         {self.frames}{speed}",
                *self.refinement.lines(),
                f"bad contacts   {mean:.3g} a frame, at most {max(self.contacts)}",
                f"stereocentres  {self.stereo.text()}",
                f"beads          {self.rms_deviation:.4f} nm (rms) from the input, at most "
                f"{self.worst_deviation:.4f} nm",
                f"longest bond   {self.longest_bond:.4f} nm",
            ]
        )


def judge_frame(
    system: System,
    atoms: Frame,
    beads: Frame,
    *,
    expected: Handedness,
    inferred: Handedness | None = None,
) -> Report:
    """Judge one frame: whole atoms and the beads they were made for; hands as for :func:`count_stereo`."""
    apart = deviation(system, atoms.positions, beads.positions, atoms.box)
    return Report(
        contacts=(len(bad_contacts(system, atoms.positions, atoms.box)),),
        stereo=count_stereo(system, atoms.positions, expected, inferred=inferred),
        deviations=len(apart),
        square_deviation=float(apart @ apart),
        worst_deviation=float(apart.max(initial=0.0)),
        longest_bond=longest_bond(system, atoms.positions),
    )


class Tally:
    """Reports of the frames of a run, added up as they come.

    The first frame says what is expected of the stereocentres of which nothing is known.

    Parameters
    ----------
    system
        The system.
    expected
        See :func:`expected_handedness`.
    """

    def __init__(self, system: System, expected: Handedness):
        self.system, self.expected = system, expected
        self._inferred = expected
        self._sum = Report()

    def add(self, atoms: Frame, beads: Frame, refinement: Refinement | None = None) -> None:
        """Judge a frame of whole atoms made for ``beads``, and note how they were refined."""
        self._inferred = infer_handedness(self.system, atoms.positions, self._inferred)
        found = judge_frame(self.system, atoms, beads, expected=self.expected, inferred=self._inferred)
        self._sum += replace(found, refinement=refinement or Refinement())

    def report(self, *, seconds: float = 0.0) -> Report:
        """Return what was found so far, with the wall time it took."""
        return replace(self._sum, seconds=seconds)

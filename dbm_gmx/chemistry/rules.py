"""The rules that atoms are judged by at the end of a run: what no simulation mends, or should not be there.

Each rule has one value in a frame, and a threshold.  ``backmap``, ``relax`` and ``evaluate`` judge by the
same rules and thresholds, :class:`~dbm_gmx.options.Limits`.

The thresholds are such that correct frames hold them.  In ten frames each of molecular dynamics of
polystyrene, octane, cumene, poly(ethylene oxide), nylon, polypropylene and united atoms there was one bad
contact in a frame of 1,300 atoms at most (nylon, in one frame of ten), at .95 of its distance; no bond was
longer than 1.16 times its own length.  Mapped atoms put on beads of coarse-grained simulations were off by
7.4 widths of their restraints at most (one of 4,608 in a melt of polystyrene, the next 5.4; poly(ethylene
oxide) 5.0).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray, Positions
from dbm_gmx.chemistry.contacts import measured_contacts
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.interactions import is_convertible
from dbm_gmx.chemistry.periodic import arms_of, lattice_of
from dbm_gmx.chemistry.rings import pierced_rings
from dbm_gmx.chemistry.stereo import Chirality, Stereo, are_bonds, wrong_elements
from dbm_gmx.chemistry.system import System, deviation
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.options import ADJUSTABLE, NARROW, RULES, Limits

# --- the rules ---------------------------------------------------------------------------------------

IN_FRAMES = tuple(name for name in RULES if name not in ("undecided", "stationary", "converged"))
"""Rules that the atoms of a frame alone can break."""

LEAST = ("overlaps",)
"""Rules whose value should be large."""

SHOWN = 5
"""Times of frames that are named, at most."""


def threshold(rule: str, limits: Limits) -> float:
    """What the value of a rule may be."""
    return float(getattr(limits, rule)) if rule in ADJUSTABLE else 0.0


# --- how they were kept ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """How a rule was kept in the frames of a run.

    Attributes
    ----------
    worst, time
        Its worst value, and the time of that frame, ps.
    limit
        What it may be.
    broken
        Number of frames in which it is broken.
    times
        The first of these, ps.
    """

    worst: float
    time: float
    limit: float = 0.0
    broken: int = 0
    times: tuple[float, ...] = ()

    def text(self, rule: str, frames: int) -> str:
        """Say how it is broken."""
        times = ", ".join(f"{time:g}" for time in self.times)
        more = ", ..." if self.broken > len(self.times) else ""
        said = [f"in {self.broken} of {frames} frames (at {times}{more} ps)"] if times else []
        if value := RULES[rule].value:
            place = f" at {self.time:g} ps" if times else ""
            said.append(f"worst {value.format(self.worst)}{place}, limit {self.limit:g}")
        return f"{rule} {', '.join(said)}"


def kept_in(rule: str, value: float, time: float, limit: float) -> Kept:
    """How a rule was kept in one frame, where it has this value."""
    broken = not (value >= limit if rule in LEAST else value <= limit)  # what is no number is
    return Kept(value, time, limit, int(broken), (time,) if broken else ())


@dataclass(frozen=True)
class Judgement:
    """How the rules were kept; those of several frames add up.

    Attributes
    ----------
    frames
        How many.
    kept
        By rule; those that were not looked at are not in there.
    """

    frames: int = 0
    kept: Mapping[str, Kept] = field(default_factory=dict)

    def __add__(self, other: Judgement) -> Judgement:
        kept = dict(self.kept)
        for rule, theirs in other.kept.items():
            ours = kept.get(rule)
            kept[rule] = theirs if ours is None else _together(rule, ours, theirs)
        return Judgement(self.frames + other.frames, kept)

    def broken(self, allowed: Collection[str] = ()) -> tuple[str, ...]:
        """The rules that are broken and may not be."""
        found = (rule for rule in RULES if rule in self.kept and self.kept[rule].broken)
        return tuple(rule for rule in found if rule not in allowed)

    def worst(self, rule: str) -> str:
        """The worst value of a rule and its threshold, for the summary; nothing if it was not looked at."""
        kept = self.kept.get(rule)
        if kept is None:
            return ""
        return f"{RULES[rule].value.format(kept.worst)} (limit {kept.limit:g})"

    def line(self, allowed: Collection[str] = ()) -> str:
        """Which rules hold, for the summary."""
        parts = [
            f"{rule} in {self.kept[rule].broken} of {self.frames} frames" if self.kept[rule].times else rule
            for rule in self.broken()
        ]
        if not parts:
            return "all hold"
        if self.broken(allowed):
            return f"BROKEN: {', '.join(parts)}"
        return f"broken, which is allowed: {', '.join(parts)}"

    def words(self, allowed: Collection[str] = ()) -> str:
        """What is to be said at the end of a run; nothing where all rules hold that must."""
        rules = self.broken(allowed)
        if not rules:
            return ""
        return f"rules are broken: {'; '.join(self.kept[rule].text(rule, self.frames) for rule in rules)}"


def _together(rule: str, one: Kept, other: Kept) -> Kept:
    sign = -1.0 if rule in LEAST else 1.0
    # what is no number is the worst
    worse = not np.isnan(one.worst) and not sign * other.worst <= sign * one.worst
    last = other if worse else one
    times = (one.times + other.times)[:SHOWN]
    return Kept(last.worst, last.time, one.limit, one.broken + other.broken, times)


def judge(values: Mapping[str, float], time: float, limits: Limits) -> Judgement:
    """Judge the values that rules have in a frame.

    Parameters
    ----------
    values
        By rule.
    time
        Of the frame, ps.
    """
    kept = {rule: kept_in(rule, value, time, threshold(rule, limits)) for rule, value in values.items()}
    return Judgement(1, kept)


# --- in a frame --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Places:
    """Where atoms are not as they should be, and how the rest is.

    Attributes
    ----------
    contacts, distances, closeness
        (k, 2) atoms of bad contacts, (k,) their distances, nm, and these over the least that is none.
    bonds, stretch
        (b, 2) atoms of bonds that are too long or short, (b,) how many times longer or shorter than their own
        length.
    longest
        The largest such number of all bonds, broken or not; 0 without bonds.
    pierced
        Atoms of bonds and of the rings they go through.
    """

    contacts: IntArray
    distances: FloatArray
    closeness: FloatArray
    bonds: IntArray
    stretch: FloatArray
    longest: float
    pierced: tuple[tuple[int, ...], ...]

    def values(self, atoms: int) -> dict[str, float]:
        """Of the rules that these are about, in a frame of so many atoms."""
        return {
            "pierced": float(len(self.pierced)),
            "contacts": 1000.0 * len(self.contacts) / max(1, atoms),
            "overlaps": float(self.closeness.min(initial=1.0)),
            "bonds": self.longest,
        }


def find_places(system: System, frame: Frame, limits: Limits) -> Places:
    """Look for what is wrong with the geometry of a frame of whole molecules."""
    contacts, distances, closeness = measured_contacts(system, frame.positions, frame.box)
    lattice = lattice_of(frame)
    bonds, stretch, longest = _stretched(system, frame.positions, limits.bonds, lattice)
    pierced = tuple(pierced_rings(system, frame.positions, frame.box, lattice))
    return Places(contacts, distances, closeness, bonds, stretch, longest, pierced)


def stereo_values(centres: Stereo, bonds: Stereo) -> dict[str, float]:
    """Of the rules of stereo elements, from what was counted of stereocentres and of bonds."""
    return {
        "flipped": float(centres.wrong),
        "undefined": float(centres.undefined),
        "turned": float(bonds.wrong),
        "twisted": float(bonds.undefined),
        "undecided": float(centres.undecided + bonds.undecided),
    }


def _stretched(
    system: System, atoms: Positions, limit: float, lattice: Lattice | None
) -> tuple[IntArray, FloatArray, float]:
    """Bonds of whole molecules that are too long or short, how many times, and the most of all."""
    rows, times, longest = [np.zeros((0, 2), np.int64)], [np.zeros(0)], 0.0
    for match in system.matches:
        bonds, usual = _bonds_and_lengths(match.moltype)
        if not len(bonds):
            continue
        places = np.asarray(match.molecules(atoms), np.float64)
        stretch = np.linalg.norm(arms_of(places, bonds, lattice), axis=-1) / usual
        known = usual != UNKNOWN
        stretch[:, known] = np.maximum(stretch, 1 / np.maximum(stretch, SHORTEST))[:, known]
        copy, bond = np.nonzero(~(stretch <= limit))
        rows.append(match.first_atoms[copy][:, None] + bonds[bond])
        times.append(stretch[copy, bond])
        longest = float(np.max(np.append(stretch, longest)))  # keeps what is no number
    return np.concatenate(rows), np.concatenate(times), longest


SHORTEST = 1e-3
"""Of its own length: a bond that is shorter still counts as so short."""

UNKNOWN = 0.2
"""Length of a bond of which the force field says none, nm."""


@lru_cache(maxsize=64)
def bond_lengths(moltype: MoleculeType) -> dict[tuple[int, int], float]:
    """Lengths of the chemical bonds, nm: those of their terms or constraints."""
    lengths = {(min(b), max(b)): UNKNOWN for b in chemical_graph(moltype).edges}
    for terms in moltype.terms:
        pairs, values = terms.atoms, terms.parameters
        if terms.directive == "settles":
            pairs = np.concatenate([pairs[:, :2], pairs[:, ::2], pairs[:, 1:]])
            values = np.concatenate([values[:, :1], values[:, :1], values[:, 1:2]])
        elif terms.directive != "constraints" and not is_convertible(terms):
            continue
        for (i, j), found in zip(pairs.tolist(), values.tolist(), strict=True):
            if (min(i, j), max(i, j)) in lengths and found[0] > 0:
                lengths[min(i, j), max(i, j)] = found[0]
    return lengths


@lru_cache(maxsize=64)
def _bonds_and_lengths(moltype: MoleculeType) -> tuple[IntArray, FloatArray]:
    lengths = bond_lengths(moltype)
    return np.array(list(lengths), np.int64).reshape(-1, 2), np.array(list(lengths.values()))


# --- beads -------------------------------------------------------------------------------------------

QUARTILE = 1.101
"""A quarter of the mapped centres is nearer to its bead than so many widths (chi distribution of three)."""

LOOSEST = 0.1
"""nm: the widest restraint there is."""


def spread_widths(system: System, widths: Mapping[tuple[str, str], float], otherwise: float) -> FloatArray:
    """(m,) width of the restraint of each bead, nm, from those by molecule type and bead type."""
    parts = [np.zeros(0)]
    for match in system.matches:
        own = [widths.get((match.moltype.name, bead), otherwise) for bead in match.mapping.types]
        parts.append(np.tile(own, match.count))
    return np.concatenate(parts)


def seen_widths(system: System, distances: FloatArray) -> FloatArray:
    """(m,) widths that explain how far mapped atoms (m,) are off their beads, nm, for those nobody says.

    For each type of beads from the nearest quarter, so that some that are far off do not count; not less than
    the narrowest restraint, and not more than the widest.
    """
    types = np.concatenate(
        [np.tile([f"{m.moltype.name} {bead}" for bead in m.mapping.types], m.count) for m in system.matches]
    )
    widths = np.zeros(len(distances))
    for bead in np.unique(types):
        rows = types == bead
        widths[rows] = np.clip(np.quantile(distances[rows], 0.25) / QUARTILE, NARROW, LOOSEST)
    return widths


def atoms_of_bead(system: System, bead: int) -> tuple[int, ...]:
    """Rows of the atoms that a bead (row) is the centre of."""
    for match in system.matches:
        size = len(match.mapping.names)
        copy, place = divmod(bead - match.first_bead, size)
        if 0 <= copy < match.count:
            own = match.mapping.weights[[place]].nonzero()[1]
            return tuple(int(match.first_atoms[copy] + i) for i in own)
    raise IndexError(bead)


# --- faults ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """Something that is wrong in a frame.

    Attributes
    ----------
    rule
        One of :data:`RULES`.
    atoms
        Rows of the atoms it is about.
    size
        How bad it is: the smaller the worse for contacts (nm) and overlaps, the larger for bonds (times their
        length) and beads (widths).
    """

    rule: str
    atoms: tuple[int, ...]
    size: float = 0.0


@dataclass(frozen=True, eq=False)
class Judged:
    """A frame with all its faults.

    Attributes
    ----------
    faults
        One by one, also those that a threshold allows so many of.
    judgement
        By the rules.
    deviation
        (m,) distances of the mapped atoms from their beads, nm; none without beads.
    """

    faults: tuple[Fault, ...]
    judgement: Judgement
    deviation: FloatArray


def judge_atoms(
    system: System,
    frame: Frame,
    chirality: Chirality,
    *,
    beads: Frame | None = None,
    limits: Limits | None = None,
) -> Judged:
    """Judge whole molecules of which nothing is known but what they should be.

    Parameters
    ----------
    chirality
        Of the stereocentres and bonds, see :func:`~dbm_gmx.files.conformers.reference_chirality`.
    beads
        Those the atoms were made for.
    """
    limits = limits or Limits()
    wrong, flat = wrong_elements(system, frame.positions, chirality, lattice_of(frame))
    stereo = {
        "flipped": wrong[~are_bonds(wrong), :1],
        "undefined": flat[~are_bonds(flat), :1],
        "turned": wrong[are_bonds(wrong), 1:3],
        "twisted": flat[are_bonds(flat), 1:3],
    }
    places = find_places(system, frame, limits)
    off, widths = np.zeros(0), np.zeros(0)
    if beads is not None:
        off = deviation(system, frame.positions, beads.positions.astype(np.float64), frame.box)
        widths = off / seen_widths(system, off)
    values = {rule: float(len(rows)) for rule, rows in stereo.items()} | places.values(system.n_atoms)
    if beads is not None:
        values["beads"] = float(widths.max(initial=0.0))
    far = np.flatnonzero(~(widths <= limits.beads))
    found = [Fault(rule, tuple(row)) for rule, rows in stereo.items() for row in rows.tolist()]
    found += [Fault("pierced", rows) for rows in places.pierced]
    found += _contact_faults(places, limits)
    found += _sized("bonds", places.bonds, places.stretch)
    found += [Fault("beads", atoms_of_bead(system, int(bead)), float(widths[bead])) for bead in far]
    return Judged(tuple(found), judge(values, frame.time, limits), off)


def _contact_faults(places: Places, limits: Limits) -> list[Fault]:
    near = places.closeness < limits.overlaps
    return [
        *_sized("contacts", places.contacts, places.distances),
        *_sized("overlaps", places.contacts[near], places.closeness[near]),
    ]


def _sized(rule: str, rows: IntArray, sizes: FloatArray) -> list[Fault]:
    return [Fault(rule, tuple(row), size) for row, size in zip(rows.tolist(), sizes.tolist(), strict=True)]


def count_faults(faults: Collection[Fault]) -> dict[str, int]:
    """How many there are of each rule in :data:`IN_FRAMES`."""
    return {rule: sum(fault.rule == rule for fault in faults) for rule in IN_FRAMES}

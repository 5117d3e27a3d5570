"""The state of every stereo element, settled before the first frame is rebuilt, the same in all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from dbm_gmx.backmapping.rebuilder import Rebuilder, all_threads
from dbm_gmx.chemistry.array_types import BoolArray, IntArray, SignArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match, atoms_of_beads
from dbm_gmx.chemistry.stereo import (
    FLAT,
    Assignment,
    Chirality,
    Source,
    are_bonds,
    chirality_of_copies,
    known_states,
    nominal_elements,
    stereo_elements,
    triple_products,
    usual_states,
)
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.tacticity import continued, stretches
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import Conformer, reference_chirality
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import TACTICITIES
from dbm_gmx.sampling.chirality import DECIDED, Inferred
from dbm_gmx.sampling.random_numbers import Use, preparation_stream
from dbm_gmx.sampling.sampler import infer_unknown

log = logging.getLogger(__name__)

FRAMES = 5
"""Frames that states are inferred from, at most."""

AGREED = 0.6
"""Part of the frames in which beads must show a state, less that in which they show the other."""


def check_tacticity(system: System, tacticity: str | Conformer | None) -> Chirality | None:
    """Refuse a tacticity that says nothing of this system.

    Returns
    -------
    The states of the file, if it is one.

    Raises
    ------
    InputError
        If a file cannot be used, or no molecule has a chain of stereocentres.
    """
    if tacticity is None or tacticity == "atactic":
        return None
    if tacticity not in TACTICITIES:
        return reference_chirality(system, tacticity)
    moltypes = {match.moltype.name: match.moltype for match in system.matches}
    if not any(stretches(moltype) for moltype in moltypes.values()):
        raise InputError(
            f"{tacticity}: none of the molecules ({', '.join(moltypes)}) has neighbouring stereocentres of "
            "the same kind along a chain; possible are atactic, or a file with a conformer"
        )
    return None


def assign_states(
    mapper: Rebuilder, beads: Callable[[int], Sequence[Frame]], tacticity: str | Conformer | None = None
) -> tuple[Rebuilder, Assignment]:
    """Settle the states that nothing defines.

    Parameters
    ----------
    mapper
        What it expects is kept.
    beads
        Returns up to so many frames of beads; asked only where something is to be inferred.
    tacticity
        What becomes of what the beads do not decide: one of :data:`~dbm_gmx.options.TACTICITIES`, or a
        conformer.

    Returns
    -------
    A rebuilder that makes all frames with these states, and the states.

    Raises
    ------
    InputError
        If the tacticity cannot be used.
    """
    system = mapper.system
    asked = check_tacticity(system, tacticity)
    given = _by_type(system, chirality_of_copies(system, mapper.chirality))
    moltypes = {match.moltype.name: match.moltype for match in system.matches}
    nominal = {m.moltype.name: nominal_elements(m.moltype, m.mapping) for m in system.matches}
    unknown_of = {name: (states == 0) & ~nominal[name] for name, states in given.items()}
    sources = {
        name: np.where(unknown, Source.UNDECIDED, Source.GIVEN).astype(np.int64)
        for name, unknown in unknown_of.items()
    }
    confidence = {name: np.full(states.shape, np.inf) for name, states in given.items()}
    open_of = {
        name: (unknown_of[name] | _is_only_usual(moltypes[name], states)) & ~nominal[name]
        for name, states in given.items()
    }
    if any((open_of[m.moltype.name] & _are_shown(m)).any() for m in system.matches):
        frames = [with_whole_beads(system, frame) for frame in beads(FRAMES)]
        by_type = _by_type(system, [shown_states(match, frames) for match in system.matches])
        for name, shown in by_type.items():
            new = open_of[name] & (shown != 0) & (shown != given[name])
            sources[name][new] = Source.INFERRED
            given[name] = np.where(new, shown, given[name]).astype(np.int8)
            unknown_of[name] = unknown_of[name] & ~new
            if new.any():
                log.log(NOTICE, "%s: beads that are atoms show %d states of stereo elements", name, new.sum())
        mapper = _with_states(mapper, given)
    if not any(unknown.any() for unknown in unknown_of.values()):
        return mapper, Assignment(mapper.chirality, sources, confidence)
    if mapper.sampler is None:
        if tacticity is not None:
            raise InputError("a tacticity needs the force field: refine exactly, or start with growth")
        return mapper, Assignment(mapper.chirality, sources, confidence)
    frames = [with_whole_beads(system, frame) for frame in beads(FRAMES)]
    inferred = infer_unknown(all_threads(mapper, mapper.sampler), frames)
    states = {}
    for number, (name, found) in enumerate(inferred.items()):
        unknown = unknown_of[name]
        decided = unknown & ~found.undecided
        sources[name][decided] = Source.INFERRED
        confidence[name][unknown] = found.confidence[unknown]
        chosen = np.where(unknown, found.states, given[name])
        if tacticity is not None and (unknown & ~decided).any():
            known = np.where(unknown & ~decided, 0, chosen).astype(np.int8)
            rng = preparation_stream(mapper.settings.seed).of(Use.CHIRALITY, number).generator
            filled = (
                _of_tacticity(moltypes[name], str(tacticity), known, found, rng)
                if asked is None
                else np.where(known == 0, asked[name], known)
            )
            more = (known == 0) & (filled != 0) & unknown
            sources[name][more] = Source.ASSIGNED
            chosen = np.where(more, filled, chosen)
        states[name] = chosen.astype(np.int8)
    return _with_states(mapper, states), Assignment(states, sources, confidence)


def _with_states(mapper: Rebuilder, states: dict[str, SignArray]) -> Rebuilder:
    sampler = None if mapper.sampler is None else replace(mapper.sampler, chirality=states)
    return replace(mapper, chirality=states, sampler=sampler)


def _is_only_usual(moltype: MoleculeType, given: SignArray) -> BoolArray:
    """(copies, c) states that are usual, and that the force field does not hold."""
    usual = usual_states(moltype)
    return np.asarray((given == usual) & (usual != 0) & (known_states(moltype) == 0))


def _beads_of_elements(match: Match) -> IntArray:
    """(c, 5) beads that are where the atoms of stereo elements are, -1 where there is none."""
    elements, atoms = stereo_elements(match.moltype), atoms_of_beads(match.mapping, match.moltype)
    at = np.full(match.moltype.n_atoms, -1, np.int64)
    at[atoms[atoms >= 0]] = np.flatnonzero(atoms >= 0)
    return np.where(elements >= 0, at[np.maximum(elements, 0)], -1)


def _are_shown(match: Match) -> BoolArray:
    """(c,) stereo elements whose state follows from beads of one atom each."""
    there = _beads_of_elements(match) >= 0
    bonds = are_bonds(stereo_elements(match.moltype))
    three = np.where(bonds, there[:, 1:4].all(axis=1), there[:, 1:].sum(axis=1) >= 3)
    return np.asarray(there[:, 0] & three)


def shown_states(match: Match, frames: Sequence[Frame]) -> SignArray:
    """States (copies, c) that beads show which are atoms, as in a united-atom model.

    Hydrogens of that atom may be in the bead.  0 where the beads do not say it, or frames differ.

    Parameters
    ----------
    frames
        With whole molecules.
    """
    beads, shown = _beads_of_elements(match), _are_shown(match)
    bonds = are_bonds(stereo_elements(match.moltype))
    found = np.zeros((match.count, len(beads)), np.int64)
    for frame in frames if shown.any() and not any(frame.winds for frame in frames) else ():
        points = match.beads(frame.positions).astype(np.float64)[:, np.maximum(beads[shown], 0)]
        volumes = triple_products(points, beads[shown][:, 1:] >= 0, bonds[shown])
        found[:, shown] += np.where(np.abs(volumes) > FLAT, np.sign(volumes), 0).astype(np.int64)
    return np.where(np.abs(found) >= max(1.0, AGREED * len(frames)), np.sign(found), 0).astype(np.int8)


def _by_type(system: System, runs: Sequence[SignArray]) -> dict[str, SignArray]:
    """States (copies, c) of each molecule type, from those of each run."""
    parts: dict[str, list[SignArray]] = {}
    for match, states in zip(system.matches, runs, strict=True):
        parts.setdefault(match.moltype.name, []).append(states)
    return {name: np.concatenate(states) for name, states in parts.items()}


def _of_tacticity(
    moltype: MoleculeType, tacticity: str, known: SignArray, found: Inferred, rng: np.random.Generator
) -> SignArray:
    """Stereocentres (copies, c) that are not ``known`` as a tacticity says; 0 where it says nothing.

    Atactic: drawn, with the odds that the beads give.  Otherwise every dyad is meso, or racemo; of the two
    mirror images of a whole chain the one that the beads prefer by 3 kT, else one by chance.
    """
    if found.odds is None:
        return known
    if tacticity == "atactic":
        centres = ~are_bonds(stereo_elements(moltype))
        return np.where(centres, found.odds.pattern(known, rng), known)
    filled, racemo = known, tacticity == "syndiotactic"
    for stretch in stretches(moltype):
        one = np.ones(len(known), np.int8)
        ways = [continued(stretch, filled, racemo=racemo, first=sign * one) for sign in (1, -1)]
        weights = [found.odds.weight(np.where(way == 0, found.states, way)) for way in ways]
        better, coin = weights[0] - weights[1], rng.random(len(known)) < 0.5
        filled = np.where(np.where(np.abs(better) < DECIDED, coin, better > 0)[:, None], *ways)
    return filled

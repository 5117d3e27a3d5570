"""Atoms of a frame of beads, from the Boltzmann distribution of the force field.

Four stages, one after the other:

growth
    every molecule is put on its beads by itself (:mod:`~dbm_gmx.sampling.growth`), or taken from elsewhere:
    from a memory of other frames (:mod:`~dbm_gmx.sampling.memory`), which makes the next two short;
conformer exchange
    molecules that were grown choose their conformers among each other
    (:mod:`~dbm_gmx.sampling.conformer_exchange`);
packing
    a dynamics of all of them moves them apart and anneals them (:mod:`~dbm_gmx.sampling.packing`);
sweeps
    a Markov chain (:mod:`~dbm_gmx.sampling.chain`) samples the distribution until the energy is stationary.

At last bonds of fixed length get that length.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import (
    BoolArray,
    Float32Array,
    FloatArray,
    Floats,
    IntArray,
    SignArray,
)
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.periodic import arms_of, beside, lattice_of
from dbm_gmx.chemistry.stereo import (
    Chirality,
    chirality_of,
    chirality_of_copies,
    element_rows,
    nominal_elements,
    stereo_elements,
)
from dbm_gmx.chemistry.system import System, mapped_beads, place_virtual_sites
from dbm_gmx.chemistry.vectors import Lattice
from dbm_gmx.chemistry.virtual_sites import place_in_molecules
from dbm_gmx.clock import Clock
from dbm_gmx.forcefield.constraints import shake_all
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, make_hamiltonian, simplified
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.arrays import (
    Arrays,
    Configuration,
    bead_stiffness,
    bead_values,
    make_arrays,
)
from dbm_gmx.sampling.candidates import IN_A_ROUND, OFFERED, Candidates, as_candidates, find_candidates
from dbm_gmx.sampling.chain import (
    SHORTEST,
    Chain,
    Convergence,
    advance,
    convergence,
    is_settled,
    start_chain,
    sweep_windows,
)
from dbm_gmx.sampling.chirality import Inferred, infer_from_beads, infer_states
from dbm_gmx.sampling.conformer_exchange import exchange_conformers
from dbm_gmx.sampling.conformers import ConformerPools
from dbm_gmx.sampling.growth import CONFORMERS, Grower, Molecules, grow, make_grower, mend
from dbm_gmx.sampling.memory import BROAD, Memory, Recollection, Wanted, recall, remember_molecules
from dbm_gmx.sampling.neighbours import NeighbourList, make_neighbours
from dbm_gmx.sampling.packing import CARRIED, RECALLED, Chiral, Stretch, make_schedule, pack
from dbm_gmx.sampling.random_numbers import Stream, Use, frame_stream, preparation_stream
from dbm_gmx.sampling.recombination import GROWN, breed
from dbm_gmx.sampling.spheres import bond_lengths, reach_of_beads, widened
from dbm_gmx.sampling.surroundings import CUTOFF, MARGIN

log = logging.getLogger(__name__)

LIMIT = 300
"""Sweeps after which the sampler gives up waiting for a stationary energy."""

RECALLS, OFFERS = 3, 16
"""Times a molecule is recalled, if it does not come out well, before it is mended; and times a short one is
recalled, to choose from."""

MANY, ONE_OF = 12, 3
"""Of so many long molecules of a run, and more, one of three is grown; the others are recalled from these."""

NO_FRAME = -2
"""In place of the index of a frame: all that is remembered is asked."""

FEWER = 8
"""A frame that begins near where it should be takes one of so many sweeps with windows."""

ASKED = 4
"""Rounds of offers: in the first of so many all windows are asked, in the others those that had a choice.

Of 25 windows that gained more than 3 kT in a later round 20 had had a choice in the one before, and half of
all had."""

AS_THEY_ARE = 4, 0
"""Rounds in which short molecules that are recalled choose: what was sampled needs no way to a minimum."""

BREEDING = 8
"""Rounds of offers from which on conformers are bred; polypropylene needs fewer, and nothing bred."""

BRED_ROUNDS, AT_ONCE = (20, 3), 4_000_000
"""Rounds in which they choose among what was bred, and atoms of conformers that are bred at once."""

TORN = 0.5
"""Relative stretch of a bond from which on a molecule is torn."""


class Effort(NamedTuple):
    """What is done to a frame before the sweeps.

    Attributes
    ----------
    offers
        Rounds in which all molecules are offered conformers.
    annealing
        Steps in which the frame is annealed.
    windows
        First sweeps in which windows of it are.
    """

    offers: int = 0
    annealing: int = 0
    windows: int = 0

    @property
    def breeds(self) -> bool:
        """Whether there are so many rounds of offers that conformers are bred for them."""
        return self.offers >= BREEDING

    @property
    def schedule(self) -> tuple[Stretch, ...]:
        """The dynamics that follows the offers."""
        return make_schedule(self.annealing, offered=self.offers > 0)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Samples the atoms of frames of beads; made by :func:`make_sampler`.

    Attributes
    ----------
    system, settings
        The system; ``refine`` (anything but ``exact`` leaves the sweeps out), sweeps and seed.
    chirality
        By molecule type (copies or 1, c), see :func:`~dbm_gmx.files.conformers.reference_chirality`; where 0
        it is inferred from the beads.
    hamiltonian, arrays
        What is sampled.
    radius
        (m,) nm, how far from its bead an atom can be.
    effort
        What is done before the sweeps.
    growers
        By molecule type.
    team
        Threads that work on a frame together; the result does not depend on them.
    recollection
        How frames are made of others, where that is worth it.
    """

    system: System
    settings: Settings
    chirality: Chirality
    hamiltonian: Hamiltonian
    arrays: Arrays
    radius: FloatArray
    effort: Effort
    growers: Mapping[str, Grower]
    team: Team
    recollection: Recollection | None = None

    def __call__(
        self, beads: Frame, *, start: Float32Array | None = None, near: bool = False, sample: int = 0
    ) -> tuple[Float32Array, Convergence]:
        """Rebuild the atoms of one frame.

        Parameters
        ----------
        beads
            Whole beads.
        start
            (n, 3) nm whole molecules to begin with; molecules that cannot be used (of the wrong chirality,
            torn, far from their beads) are grown anew.  Without it all are.
        near
            ``start`` is right for beads hardly elsewhere: it is not annealed, and takes few windows.
        sample
            Number of the independent repeat.

        Returns
        -------
        (n, 3) nm whole molecules, and how the chain went.
        """
        stream, clock = frame_stream(self.settings.seed, beads.index, sample), Clock()
        if start is None and self.recollection is not None and not beads.winds:
            with clock.stage("recall"):
                found = recall_frame(self, self.recollection.memory, beads, stream)
            if found.misfit < self.recollection.misfit:
                return _from_memory(self, self.recollection, beads, found, stream, clock)
        if start is None:
            near = False
        elif near:
            with clock.stage("growth"):
                start, near = _brought_along(self, beads, start, stream)
        conf, regrown, refused = begin(self, beads, start, stream, clock)
        if self.effort.offers and not near:
            with clock.stage("offers"):
                offer(self, conf, beads, range(self.effort.offers), stream, bred=self.effort.breeds)
        schedule = CARRIED if near else self.effort.schedule
        with clock.stage("packing"):
            conf = pack_frame(self, conf, beads, stream, schedule)
        chain = start_chain(configure(self, conf.positions, beads, conf.neighbours))
        with clock.stage("windows"):
            if self.settings.refine == "exact":
                sweep_windows(chain, self.effort.windows // (FEWER if near else 1), stream, self.team)
        with clock.stage("sweeps"):
            limit = chain.sweeps + (LIMIT if self.settings.sweeps is None else self.settings.sweeps)
            while self.settings.refine == "exact" and chain.sweeps < limit:
                if self.settings.sweeps is None and is_settled(chain):
                    break
                advance(chain, stream, self.team)
        return _ended(self, chain), replace(
            convergence(chain), regrown=regrown, refused=refused, seconds=clock.wall, cpu=clock.cpu
        )


def _from_memory(
    sampler: Sampler,
    how: Recollection,
    beads: Frame,
    found: Recalled,
    stream: Stream,
    clock: Clock,
) -> tuple[Float32Array, Convergence]:
    """Rebuild a frame from what is recalled of it, in as many sweeps as that was found to take."""
    conf, regrown = place_recalled(sampler, beads, found, stream, clock)
    if how.offers:
        with clock.stage("offers"):
            offer(sampler, conf, beads, range(how.offers), stream)
    with clock.stage("packing"):
        chain = start_recalled(sampler, how.steps, conf, beads, stream, found.complete, how.offers)
    with clock.stage("windows"):
        sweep_windows(chain, how.windows, stream, sampler.team)
    with clock.stage("sweeps"):
        for _ in range(how.sweeps):
            advance(chain, stream, sampler.team)
        # few sweeps say nothing of whether the energy is stationary: that they are enough was tried
        tested = chain.sweeps >= SHORTEST
        while tested and chain.sweeps < LIMIT and not is_settled(chain):
            advance(chain, stream, sampler.team)
    known = convergence(chain)
    settled = known.converged or not tested
    return _ended(sampler, chain), replace(
        known, converged=settled, recalled=True, regrown=regrown, seconds=clock.wall, cpu=clock.cpu
    )


def place_recalled(
    sampler: Sampler, beads: Frame, found: Recalled, stream: Stream, clock: Clock
) -> tuple[Configuration, int]:
    """A frame that is recalled, and how many molecules were grown more than once."""
    conf, regrown, _ = begin(sampler, beads, found.positions, stream, clock)
    with clock.stage("choice"):
        for match, rows, candidates in found.offers:
            one = stream.of(Use.EXCHANGE, match.first_atom, 0)
            exchange_conformers(conf, candidates, match.first_atoms[rows], one, sampler.team, AS_THEY_ARE)
    return conf, regrown


def start_recalled(
    sampler: Sampler,
    steps: FloatArray,
    conf: Configuration,
    beads: Frame,
    stream: Stream,
    complete: bool,
    offers: int,
) -> Chain:
    """The chain of a frame that was recalled; ``conf`` changes.

    It is packed shortly where that is complete, and stayed as it was: without rounds of offers.
    """
    schedule = RECALLED if complete and not offers else Effort(offers).schedule
    conf = pack_frame(sampler, conf, beads, stream, schedule)
    return start_chain(configure(sampler, conf.positions, beads, conf.neighbours), steps)


def _ended(sampler: Sampler, chain: Chain) -> Float32Array:
    """The atoms at the end of a chain; bonds of fixed length get it."""
    positions = chain.conf.positions
    shake_all(positions, sampler.arrays.molecules, sampler.arrays.bonds, chain.conf.lattice)
    place_virtual_sites(sampler.system, positions)
    return np.asarray(positions, np.float32)


def make_sampler(
    system: System, conditions: Conditions, settings: Settings, chirality: Chirality, *, threads: int = 1
) -> Sampler:
    """Prepare a sampler that works on a frame with so many threads.

    Raises
    ------
    InputError
        If the force field has something the sampler cannot treat.
    """
    hamiltonian = simplified(make_hamiltonian(system, conditions))
    arrays, molecules = make_arrays(hamiltonian), hamiltonian.molecules
    pools, team = ConformerPools(hamiltonian.kt, CONFORMERS, settings.seed), Team(threads)
    return Sampler(
        system,
        settings,
        dict(chirality),
        hamiltonian,
        arrays,
        reach_of_all(hamiltonian),
        Effort(settings.offers or 0, settings.annealing or 0, settings.windows or 0),
        {name: make_grower(hamiltonian, molecule, pools, team) for name, molecule in molecules.items()},
        team,
    )


def with_team(sampler: Sampler, team: Team) -> Sampler:
    """The same with other threads, which changes no result."""
    growers = {name: replace(grower, team=team) for name, grower in sampler.growers.items()}
    return replace(sampler, team=team, growers=growers)


def with_widths(sampler: Sampler, widths: Mapping[str, FloatArray]) -> Sampler:
    """The same with bead restraints of other widths: (beads,) nm, by molecule type."""
    known = sampler.hamiltonian.molecules
    molecules = {name: replace(molecule, width=widths[name]) for name, molecule in known.items()}
    hamiltonian = replace(sampler.hamiltonian, molecules=molecules)
    growers = {
        name: replace(grower, hamiltonian=hamiltonian, molecule=molecules[name])
        for name, grower in sampler.growers.items()
    }
    return replace(
        sampler,
        hamiltonian=hamiltonian,
        arrays=sampler.arrays._replace(
            beads=sampler.arrays.beads._replace(stiffness=bead_stiffness(hamiltonian))
        ),
        radius=reach_of_all(hamiltonian),
        growers=growers,
    )


def reach_of_all(hamiltonian: Hamiltonian) -> FloatArray:
    """(m,) nm, how far from its bead an atom can be."""
    reach = {name: reach_of_beads(molecule) for name, molecule in hamiltonian.molecules.items()}
    return bead_values(hamiltonian.system, reach)


def configure(
    sampler: Sampler, positions: FloatArray, beads: Frame, known: NeighbourList | None = None
) -> Configuration:
    """The configuration of these positions; ``known`` neighbours hold as long as the spheres are the same.

    The positions are not copied.
    """
    places, lattice = beads.positions.astype(np.float64), lattice_of(beads)
    radius = widened(sampler.radius, sampler.arrays, positions, places)
    if known is None or not np.array_equal(radius, known.radius):
        reach = max(sampler.arrays.constants.reach, CUTOFF + MARGIN)
        known = make_neighbours(places, radius, beads.box.astype(np.float64), reach)
    offsets = mapped_beads(sampler.system, positions) - places
    return Configuration(positions, offsets, known, sampler.arrays, lattice)


# --- states of stereo elements -----------------------------------------------------------------------


def infer_unknown(sampler: Sampler, frames: Sequence[Frame]) -> dict[str, Inferred]:
    """Infer the states of stereo elements that the sampler is not given, the same for all frames.

    Parameters
    ----------
    sampler
        What it is given.
    frames
        Whole beads of one frame at least.

    Returns
    -------
    By molecule type, of all its copies.
    """
    log.info(
        "stereocentres and bonds that nothing defines are inferred from the beads of %d frames", len(frames)
    )
    found, stream = {}, preparation_stream(sampler.settings.seed)
    wanted = chirality_of_copies(sampler.system, sampler.chirality)
    for name, grower in sampler.growers.items():
        runs = [k for k, match in enumerate(sampler.system.matches) if match.moltype.name == name]
        matches = [sampler.system.matches[k] for k in runs]
        given = _named(matches[0], np.concatenate([wanted[k] for k in runs]))
        of_frames = [
            Molecules(
                np.concatenate([match.beads(beads.positions) for match in matches]).astype(np.float64),
                given,
                np.arange(len(given)),
                matches[0].first_atom,
                lattice_of(beads),
            )
            for beads in frames
        ]
        found[name] = infer_states(grower, of_frames, stream)
    return found


def _named(match: Match, wanted: SignArray) -> SignArray:
    """States (copies, c), with any one where both are the same molecule."""
    return np.where((wanted == 0) & nominal_elements(match.moltype, match.mapping), 1, wanted).astype(np.int8)


# --- growth ------------------------------------------------------------------------------------------


def begin(
    sampler: Sampler,
    beads: Frame,
    start: Float32Array | None,
    stream: Stream,
    clock: Clock,
) -> tuple[Configuration, int, int]:
    """Growth and conformer exchange.

    Returns
    -------
    A frame, how many molecules were grown more than once, and how many because the start was of no use.
    """
    with clock.stage("growth"):
        positions, regrown, refused, grown = _grow_all(sampler, beads, start, stream)
    with clock.stage("conformer exchange"):
        conf = configure(sampler, positions, beads)
        _exchange_all(sampler, conf, grown, stream)
    return conf, regrown, refused


def offer(
    sampler: Sampler, conf: Configuration, beads: Frame, rounds: range, stream: Stream, *, bred: bool = False
) -> None:
    """Offer long molecules many conformers of wide windows, round by round; the positions of ``conf`` change.

    What growth finds fits the beads; which of it fits the neighbours, too, they see when they choose.
    Windows that have no choice are left out of some rounds.  Where conformers of long stretches are ``bred``,
    molecules choose among these before rounds in which all windows are asked.
    """
    pools = Pools()
    runs = [(match, molecules) for match, grower, molecules in _runs(sampler, beads) if not grower.short]
    everyone, choosy = [(match, np.arange(match.count), molecules) for match, molecules in runs], Choosy()
    for number in rounds:
        if bred and number % ASKED == 0:
            _exchange_stretches(sampler, conf, runs, pools, stream.of(Use.STRETCHES, number))
        only = None if number % ASKED == 0 or not choosy else choosy
        one = stream.of(Use.OFFERS, number)
        found = _exchange_all(sampler, conf, everyone, one, wide=True, only=only)
        choosy = found if only is None else only


def _runs(sampler: Sampler, beads: Frame) -> Iterator[tuple[Match, Grower, Molecules]]:
    """Runs of molecules, what grows them, and them on their beads, in the states that are wanted."""
    states = chirality_of_copies(sampler.system, sampler.chirality)
    for match, wanted in zip(sampler.system.matches, states, strict=True):
        centres = match.beads(beads.positions).astype(np.float64)
        molecules = Molecules(centres, wanted, np.arange(match.count), match.first_atom, lattice_of(beads))
        yield match, sampler.growers[match.moltype.name], molecules


Grown = list[tuple[Match, IntArray, Molecules]]
"""Runs of molecules, which of them were grown, and these."""


def _grow_all(
    sampler: Sampler, beads: Frame, start: Float32Array | None, stream: Stream
) -> tuple[FloatArray, int, int, Grown]:
    """Atoms to begin with.

    Returns
    -------
    (n, 3) nm, how many molecules were grown more than once, and how many because the start was of no use; and
    what was grown.
    """
    positions = np.empty((sampler.system.n_atoms, 3))
    regrown, refused, grown = 0, 0, Grown()
    for match, grower, molecules in _runs(sampler, beads):
        atoms, chosen = match.molecules(positions), np.ones(match.count, bool)
        if start is not None:
            atoms[:] = _on_their_beads(molecules, match, match.molecules(start))
            place_in_molecules(match.moltype, atoms)
            chosen = ~_usable(grower, molecules, atoms)
        rows = np.flatnonzero(chosen)
        if len(rows):
            named = replace(molecules, chirality=_named(match, molecules.chirality))
            some = infer_from_beads(grower, named.some(rows), stream)
            atoms[rows], again, new = _grow_run(sampler, match, some, stream)
            regrown, refused = regrown + again, refused + (0 if start is None else len(rows))
            grown.append((match, rows[new], molecules.some(rows[new])))
    return positions, regrown, refused, grown


def _grow_run(
    sampler: Sampler, match: Match, molecules: Molecules, stream: Stream
) -> tuple[FloatArray, int, IntArray]:
    """Grow molecules of a run; of many, most are made of fragments of the others.

    Returns
    -------
    (copies, n, 3) nm, how many were grown more than once, and the rows of those that were grown.
    """
    grower, count = sampler.growers[match.moltype.name], len(molecules)
    if grower.short or count < MANY or not sampler.settings.memory or molecules.lattice is not None:
        found = grow(grower, molecules, stream)
        return found.positions, found.again, np.arange(count)
    atoms, first = np.empty((count, match.moltype.n_atoms, 3)), np.arange(0, count, ONE_OF)
    found, others = grow(grower, molecules.some(first), stream), np.setdiff1d(np.arange(count), first)
    atoms[first], again = found.positions, found.again
    one = stream.of(Use.MEMORY, match.first_atom, 1)
    memory = remember_molecules(match, (found.positions, molecules.beads[first], -1), {}, one)
    rest, made = molecules.some(others), np.empty((len(others), match.moltype.n_atoms, 3))
    asked = Wanted(match, rest.beads, rest.chirality, NO_FRAME)
    usable, _ = _recall_long(sampler, memory, asked, rest, one, made)
    atoms[others], left = made, np.setdiff1d(np.arange(len(others)), usable)
    if len(left):
        found = grow(grower, rest.some(left), stream)
        atoms[others[left]], again = found.positions, again + found.again
    return atoms, again, np.union1d(first, others[left])


def _brought_along(
    sampler: Sampler, beads: Frame, start: Float32Array, stream: Stream
) -> tuple[Float32Array, bool]:
    """Atoms of beads that were hardly elsewhere, and whether all molecules of them can be used.

    Neighbouring beads do not move alike: each molecule goes down to where its bonds are as they should be.
    """
    positions, complete = start.astype(np.float64), True
    for match, grower, molecules in _runs(sampler, beads):
        atoms = match.molecules(positions)
        atoms[:] = _on_their_beads(molecules, match, atoms)
        mend(grower, molecules, atoms, stream.of(Use.PLACEMENT, match.first_atom))
        complete &= bool(_usable(grower, molecules, atoms).all())
    return positions.astype(np.float32), complete


def _on_their_beads(molecules: Molecules, match: Match, atoms: Floats) -> Floats:
    """Atoms (copies, n, 3), of molecules bonded to images of their own each beside its bead."""
    if molecules.lattice is None:
        return atoms
    return beside(atoms, molecules.beads[:, match.mapping.owner], molecules.lattice)


def _usable(grower: Grower, molecules: Molecules, atoms: FloatArray) -> BoolArray:
    """(copies,) molecules in the right states, in one piece, with their atoms near their beads."""
    molecule = grower.molecule
    lattice, wanted = molecules.lattice, molecules.chirality
    found = chirality_of(atoms, stereo_elements(molecule.moltype), lattice)
    right = ((wanted == 0) & (found != 0) | (wanted == found)).all(axis=1)
    bonds, lengths = bond_lengths(molecule)
    stretch = np.linalg.norm(arms_of(atoms, bonds, lattice), axis=2) / lengths
    whole = (np.abs(stretch - 1) < TORN).all(axis=1)
    owner = molecule.mapping.owner
    near = np.linalg.norm(atoms - molecules.beads[:, owner], axis=2)
    reach = reach_of_beads(molecule)[owner]
    return np.asarray(right & whole & (near < reach).all(axis=1), np.bool_)


# --- memory ------------------------------------------------------------------------------------------


class Offer(NamedTuple):
    """Molecules of a run, by row, and what each may be."""

    match: Match
    rows: IntArray
    candidates: Candidates


class Recalled(NamedTuple):
    """A frame as it is recalled.

    Attributes
    ----------
    positions
        (n, 3) nm; molecules that came out wrong are anywhere, and will be grown.
    complete
        Whether there is none of these.
    misfit
        Mean of all beads, nm.
    offers
        What short molecules may choose from.
    """

    positions: Float32Array
    complete: bool
    misfit: float
    offers: Sequence[Offer]


def recall_frame(sampler: Sampler, memory: Memory, beads: Frame, stream: Stream) -> Recalled:
    """Recall all molecules of a frame."""
    positions, offers = np.zeros((sampler.system.n_atoms, 3)), list[Offer]()
    complete, misfits = True, list[FloatArray]()
    for match, grower, molecules in _runs(sampler, beads):
        atoms, one = match.molecules(positions), stream.of(Use.MEMORY, match.first_atom)
        asked = Wanted(match, molecules.beads, molecules.chirality, beads.index)
        if grower.short:
            usable, misfit, candidates = _recall_short(sampler, memory, asked, molecules, one, atoms)
            offers.append(Offer(match, usable, candidates.some(usable)))
        else:
            usable, misfit = _recall_long(sampler, memory, asked, molecules, one, atoms)
        complete &= len(usable) == len(atoms)
        misfits.append(misfit[np.isfinite(misfit)])
    known = np.concatenate(misfits)
    mean = float(known.mean()) if len(known) else np.inf
    return Recalled(positions.astype(np.float32), complete, mean, offers)


def _recall_long(
    sampler: Sampler, memory: Memory, asked: Wanted, molecules: Molecules, stream: Stream, atoms: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Recall molecules until they come out well (in place); which did, and the misfit of their beads."""
    grower, rows = sampler.growers[asked.match.moltype.name], np.arange(len(asked))
    for attempt in range(RECALLS):
        found, misfit = recall(memory, asked.some(rows), stream.of(attempt))
        atoms[rows] = found[0]
        if attempt == 0:
            first = misfit[0]
        rows = rows[~_usable(grower, molecules.some(rows), atoms[rows])]
        if not len(rows):
            break
    if len(rows):  # what is recalled of neighbours may not fit well enough for a stereocentre between them
        made = atoms[rows]
        mend(grower, molecules.some(rows), made, stream)
        atoms[rows] = made
        rows = rows[~_usable(grower, molecules.some(rows), made)]
    return np.setdiff1d(np.arange(len(asked)), rows), first


def _recall_short(
    sampler: Sampler, memory: Memory, asked: Wanted, molecules: Molecules, stream: Stream, atoms: FloatArray
) -> tuple[IntArray, FloatArray, Candidates]:
    """Recall molecules many times; the best are put in place.  As of those that are long, and all of them."""
    grower, rows = sampler.growers[asked.match.moltype.name], np.arange(len(asked))
    found, misfit = recall(memory, asked, stream, draws=OFFERS, breadth=BROAD)
    offered = as_candidates(grower, molecules, found, stream)
    atoms[:, grower.whole.free[0]] = offered.conformers[rows, offered.energy.argmin(axis=1)]
    return np.flatnonzero(_usable(grower, molecules, atoms)), misfit.min(axis=0), offered


# --- conformer exchange ------------------------------------------------------------------------------


Choosy = dict[tuple[int, int], IntArray]
"""Windows that have a choice: rows, by the first atom of a run of molecules and the number of the group."""


def _exchange_all(
    sampler: Sampler,
    conf: Configuration,
    grown: Grown,
    stream: Stream,
    *,
    wide: bool = False,
    only: Choosy | None = None,
) -> Choosy:
    """Let molecules that were grown alone choose their conformers; the positions of ``conf`` change.

    Few conformers of the windows they were grown in at first, or many of ``wide`` ones, of these ``only``
    some.  Molecules that are bonded to their own images keep theirs: packing and windows change these.

    Returns
    -------
    Windows that had a choice.
    """
    choosy = Choosy()
    if conf.lattice is not None:
        return choosy
    for match, rows, molecules in grown:
        grower, first_atoms = sampler.growers[match.moltype.name], match.first_atoms[rows]
        kept = _as_they_are(conf, match, rows, molecules)
        groups = grower.offered if wide else grower.groups
        count = IN_A_ROUND if wide else OFFERED[0 if grower.short else 1]
        for number, group in enumerate(groups):
            here = match.first_atom, number
            positions = match.molecules(conf.positions)
            some = positions if len(rows) == len(positions) else positions[rows]
            offered = stream.of(Use.CANDIDATES, match.first_atom, 1 + number)
            which = None if only is None else only[here]
            candidates = find_candidates(grower, group, count, kept, some, offered, which)
            one = stream.of(Use.EXCHANGE, match.first_atom, 1 + number)
            choosy[here] = exchange_conformers(conf, candidates, first_atoms, one, sampler.team)
    return choosy


def _as_they_are(conf: Configuration, match: Match, rows: IntArray, molecules: Molecules) -> Molecules:
    """Some molecules of a run; where nothing says which state a stereo element has, it keeps its own."""
    known = chirality_of(match.molecules(conf.positions)[rows], stereo_elements(match.moltype))
    return replace(molecules, chirality=np.where(molecules.chirality == 0, known, molecules.chirality))


Pools = dict[tuple[int, int, int], Candidates]
"""What was bred: by the first atom of a run of molecules, the number of the group, and the part of them."""


def _exchange_stretches(
    sampler: Sampler,
    conf: Configuration,
    runs: Sequence[tuple[Match, Molecules]],
    pools: Pools,
    stream: Stream,
) -> None:
    """Let long molecules choose among conformers bred for their longest windows; ``conf.positions`` change.

    Of many molecules some after the others, for the sake of memory.  What was bred goes into ``pools``, and
    what is there is bred on.
    """
    if conf.lattice is not None:
        return
    for match, molecules in runs:
        rows = np.arange(match.count)
        grower, first_atoms = sampler.growers[match.moltype.name], match.first_atoms
        kept = _as_they_are(conf, match, rows, molecules)
        for number, group in enumerate(grower.stretches):
            size = len(rows) * group.free.size * GROWN
            for part, some in enumerate(np.array_split(rows, min(len(rows), 1 + size // AT_ONCE))):
                here = match.first_atom, number, part
                one, atoms = stream.of(*here), match.molecules(conf.positions)[some]
                candidates = breed(grower, group, kept.some(some), atoms, one.of(0), pools.get(here))
                pools[here] = candidates.stored()
                exchange_conformers(conf, candidates, first_atoms[some], one.of(1), sampler.team, BRED_ROUNDS)


# --- packing -----------------------------------------------------------------------------------------


def pack_frame(
    sampler: Sampler, before: Configuration, beads: Frame, stream: Stream, schedule: Sequence[Stretch]
) -> Configuration:
    """Pack a frame; positions change and are returned."""
    positions = before.positions
    conf = configure(sampler, positions, beads, before.neighbours)
    held, one = _chiral(sampler, positions, conf.lattice), stream.of(Use.PACKING)
    pack(conf, held, schedule, one, sampler.team)
    shake_all(positions, sampler.arrays.molecules, sampler.arrays.bonds, conf.lattice)
    place_virtual_sites(sampler.system, positions)
    return conf


def _chiral(sampler: Sampler, positions: FloatArray, lattice: Lattice | None) -> Chiral:
    """Stereo elements, with the state they should have, or have where none is wanted."""
    signs: list[SignArray] = [np.zeros(0, np.int8)]
    rows: list[IntArray] = [np.zeros((0, 5), np.int64)]
    expected = chirality_of_copies(sampler.system, sampler.chirality)
    for match, wanted in zip(sampler.system.matches, expected, strict=True):
        found = chirality_of(match.molecules(positions), stereo_elements(match.moltype), lattice)
        signs.append(np.where(wanted == 0, found, wanted).reshape(-1))
        rows.append(element_rows(match).reshape(-1, 5))
    return Chiral(np.concatenate(rows), np.concatenate(signs))

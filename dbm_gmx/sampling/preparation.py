"""What a sampler finds out on one frame before all: widths of the restraints, offers, annealing, windows.

Beads of a coarse-grained simulation are seldom where the mapped atoms of any conformation could be: their
bonds and angles have other widths.  Atoms forced onto them are strained.  In the joint distribution of atoms
and beads the mapped centres are about the beads as the restraint alone would have it,
``<|M - R|^2> = 3 s^2``.  A mean square above that is strain.  The width at which both are equal has the
highest likelihood (fixed point of expectation maximisation: Dempster, Laird, Rubin, J. R. Stat. Soc. B 39,
1, 1977), and is the one used.

Molecules of one or two beads, as of water and alcohols, have another reason.  Where all are held in their
places, one network of hydrogen bonds alone has the energy of the liquid, and only a search through whole
networks finds it.  Free to move a little, they find others as low.  So they are held more loosely as long as
that lowers the energy.

Conformers that fit the beads of a molecule need not fit its neighbours.  Where these decide, rounds in which
all molecules choose among many of them lower the energy by more than any annealing, and sooner; where they do
not, by nothing.  There are enough rounds when twice as many lower it no more; where any gain, that many are
done.

Annealing that is too short leaves conformations that small moves do not change, and the energy stationary but
too high.  It is long enough when twice the steps lower the energy no more.  All energies here are those of
torsions and pairs: bonds and angles know little of what is caught, and scatter more than all the rest.

The energy falls slower and slower with the steps.  Windows that are annealed one by one, and taken or not,
find what is left.  There are enough sweeps with them when twice and four times as many lower the energy no
more.  They are tried also where annealing lowers it by nothing: in chains that turn easily it finds no more
than growth does, and windows do.  Where conformations are caught for certain, all frames have :data:`CAUGHT`
sweeps with windows, however little more of them gain on the one that was tried: frames differ, and few atoms
do not show it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.clock import Clock
from dbm_gmx.forcefield.equilibrium import SLOW_SCATTER, scatter_of
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.chain import Chain, advance, start_chain, sweep_windows
from dbm_gmx.sampling.droplet import cut_droplet
from dbm_gmx.sampling.moves import ANNEALING
from dbm_gmx.sampling.random_numbers import Stream, preparation_stream
from dbm_gmx.sampling.sampler import Effort, Sampler, begin, configure, offer, pack_frame, with_widths

log = logging.getLogger(__name__)

LADDER = (4000, 1000, 2000, 8000)
"""Steps of annealing that are tried after none, in this order: the first are enough to show a gain, and most
molecules have none."""

ROUNDS, CAUGHT_ROUNDS = (2, 4, 8, 16, 32), 8
"""Rounds of offers that are tried after none.

Where the first gain anything, there are twice as many as are enough for the frame that was tried, as long as
nothing is bred; where they gain so much that conformations are caught for certain, eight at least: one frame
does not show what others need.  After eight torsions and pairs were .007 +- .010 kT per atom too high in
polyisoprene, .024 +- .011 in poly(methyl methacrylate), .004 +- .008 in nylon-6 (four frames each), after
sixteen .017 +- .009 in the first, .015 +- .010 in the second; after four for which was bred as well
.041 +- .012 in the second.

One round is too few for a trial: two frames of polypropylene, grown twice each, gained .010, .043, .007 and
.013 kT per atom by one round, .028, .045, .018 and .018 by two."""

SWEPT = (32, 64, 128, 256)
"""Sweeps with windows that are tried after none."""

AHEAD, WINDOWS_AHEAD = (1, 2), (2, 2)
"""How many longer trials there must be of one that is enough, after none and after some: of annealing, of
windows."""

CAUGHT = SWEPT[-1]
"""Sweeps with windows, where conformations are caught.

Nylon-6 was left .055 +- .010 kT per atom too high by 32, which one frame of it had shown to be enough,
.042 +- .017 by 128 and .016 +- .009 by 256.  After eight rounds of offers with bred conformers, and no
windows, it is left .004 +- .008 too high."""

GAIN, WINDOWS_GAIN = 0.5, 0.25
"""Part of the tolerance that longer trials must gain to be worth it: of annealing, of windows."""

SWEEPS = 24
"""After which the energy is looked at, that of the last half of them."""

DOUBLINGS, PART_LEFT = 3, 0.5
"""Doublings of what was tried, whose gain says what is left where the most is not shown to be enough; and the
part of it that is: .4 of polyethers and united-atom chains, by the energies of GROMACS."""

ATOMS, REPEATS = 2600, 4
"""Atoms that the energy is averaged over at least, and repeats of a small frame for that at most."""

CERTAIN = 2.0
"""Times the scatter of energies, from which on what is left counts."""

BLURRED = 0.67
"""Part of the tolerance by which repeats of a trial may differ for it to say how many steps are enough.

A solution of zwitterions scatters by 1.1 kT per atom over the root of n, polymers by .4: of 1,050 atoms the
trial took 1,000 steps by chance, and frames ended .065 +- .024 too high; with 8,000 .010 +- .010."""

DOUBTFUL, AGAIN = 3.0, 2
"""Times this scatter, up to which a gain is tried once more, and repeats of that."""

STRAINED, NO_CHANCE = 1.3, 3.0
"""Times the mean square that the restraint alone would have: with more, beads are held more loosely.  And
errors by which it must exceed that: sixteen beads of a type scatter by .2, and there are many types."""

WIDEST = 0.1
"""nm: as loosely as beads are held at most."""

FREED, FREED_STEPS, FREED_BEADS = (0.025, 0.05, 0.1), 1000, 2
"""nm: how loosely molecules of one or two beads are held where they are caught otherwise; and the steps of
annealing with which that is tried.

SPC/E in its places ends .3 kT per atom above a chain that begins with the atoms, however long it is annealed
(16,000 sweeps of rotations, cooled from five times the temperature: .23), and .02 below it within 0.05 nm.
Propanol, of two beads, ends .103 +- .027 above the atoms in its places, .017 +- .016 freed (four frames)."""

Types = tuple[str, str]
"""A molecule type and a bead type."""


Known = Callable[[Sampler], tuple[Effort, str] | None]
"""Says what is known already of the case of a sampler whose widths are settled, and who says so."""


def nothing_known(sampler: Sampler) -> tuple[Effort, str] | None:
    """No case is known."""
    return None


@dataclass(frozen=True)
class Strain:
    """How the atoms of the beads of one type sit.

    Attributes
    ----------
    width
        Of the bead restraint, nm.
    deviation
        Root mean square distance of the mapped centres from their beads, nm.
    ratio
        Mean square distance over that of the restraint alone; above 1 atoms are strained.
    """

    width: float
    deviation: float
    ratio: float


@dataclass(frozen=True)
class Preparation:
    """What was found out.

    Attributes
    ----------
    strain
        By molecule type and bead type, with the widths that are used.
    narrow
        The same with the least width.
    effort
        Rounds of offers, steps, and sweeps with windows, that are used.
    energies, swept, offered
        Of torsions and pairs, kT per atom by number of steps, of sweeps with windows, and of rounds, that
        were tried; nothing where the number was given.
    part
        Atoms of the droplet that it was tried on, and of the frame; nothing if that is the whole.
    scatter
        Error of a difference between two energies, kT per atom.
    source
        Where the steps are from that were not tried, because they were known.
    freed
        What molecules of one or two beads gain where they are held more loosely than they are strained, in
        torsions and pairs of the frame, kT per atom, by molecule type and bead type.
    """

    strain: Mapping[Types, Strain]
    narrow: Mapping[Types, Strain]
    effort: Effort
    energies: Mapping[int, float] = field(default_factory=dict)
    swept: Mapping[int, float] = field(default_factory=dict)
    offered: Mapping[int, float] = field(default_factory=dict)
    part: tuple[int, int] | None = None
    scatter: float = 0.0
    source: str = ""
    freed: Mapping[Types, float] = field(default_factory=dict)

    def is_short(self, tolerance: float) -> bool:
        """Whether more than the tolerance is left, and more than chance makes of few atoms."""
        return self.left >= max(tolerance, CERTAIN * self.scatter)

    @property
    def left(self) -> float:
        """How far the energy may still be from where it would end, kT per atom."""
        return _left(*self._last)

    @property
    def exhausted(self) -> bool:
        """Whether the most that is tried was not shown to be enough."""
        energies, chosen = self._last
        return 0 < chosen >= max(energies, default=0)

    @property
    def _last(self) -> tuple[Mapping[int, float], int]:
        """What was tried of the last that is done to a frame, and what was chosen."""
        offers, annealing, windows = self.effort
        last = (self.swept, windows) if self.swept else (self.energies, annealing)
        # what is bred gains at once; that says nothing of what more rounds would
        alike = {n: e for n, e in self.offered.items() if Effort(n).breeds == self.effort.breeds}
        offered = alike, offers
        nothing_later = annealing == windows == 0 or not last[0]
        return offered if nothing_later and _left(*offered) > _left(*last) else last

    def widths(self, mappings: Mapping[str, BeadMapping]) -> dict[str, FloatArray]:
        """Widths that are used, (beads,) nm by molecule type; nothing where none were looked at."""
        return _widths(mappings, self.strain) if self.strain else {}

    def lines(self, tolerance: float) -> list[str]:
        """Say it in up to three lines."""
        said, (offers, annealing, windows) = list[str](), self.effort
        sweeps = f" and {windows} sweeps with windows" if windows else ""
        sweeps += f", after {offers} round{'s' if offers > 1 else ''} of offers" if offers else ""
        if self.source:
            said.append(f"annealing      {annealing} steps{sweeps}, as found for {self.source}")
        elif self.energies or self.swept or self.offered:
            gain = f"more lower the energy by {self.left:.3f} kT per atom"
            if self.exhausted:
                gain = f"by the gain of the last doublings {self.left:.3f} kT per atom are left"
            more = ": TOO FEW" if self.is_short(tolerance) else ""
            where = f" (tried on {self.part[0]} of {self.part[1]} atoms)" if self.part else ""
            said.append(f"annealing      {annealing} steps{sweeps}, {gain}{where}{more}")
        loose = [
            f"{types[1]} {strain.width:.4f} nm (strain {self.narrow[types].ratio:.1f})"
            for types, strain in self.strain.items()
            if strain.width > self.narrow[types].width and types not in self.freed
        ]
        narrow = min((strain.width for strain in self.narrow.values()), default=0.0)
        if self.freed:
            freed = [f"{types[1]} {self.strain[types].width:.4f} nm" for types in self.freed]
            said.append(
                f"beads freed    {', '.join(freed)}: held within {narrow:.4f} nm, their "
                f"molecules end {max(self.freed.values()):.2f} kT per atom higher"
            )
        if loose:
            said.append(
                f"beads held     {', '.join(loose)}: strain is the mean square distance over that of "
                f"unstrained atoms, held within {narrow:.4f} nm"
            )
        return said


def _left(energies: Mapping[int, float], chosen: int) -> float:
    """What more than what was chosen has gained, where that was tried, kT per atom.

    Else a part of what the last doublings have gained, since an energy that falls slowly falls by about as
    much from each doubling to the next.
    """
    if not energies:
        return 0.0
    known = energies[max(number for number in energies if number <= chosen)]
    if following := [energy for number, energy in energies.items() if number > chosen]:
        return max(0.0, known - min(following))
    doubled = [energy for number, energy in energies.items() if number > 0] or [known]
    return PART_LEFT * max(0.0, doubled[-DOUBLINGS - 1 :][0] - known)


def is_asked(conditions: Conditions, settings: Settings) -> bool:
    """Whether the user leaves anything open that a frame must say."""
    others = settings.windows is None or settings.offers is None
    return conditions.spread is None or settings.annealing is None or (others and settings.annealing != 0)


def prepare(sampler: Sampler, beads: Frame, known: Known = nothing_known) -> tuple[Sampler, Preparation]:
    """Fit widths, offers, annealing and windows to a frame, where the user has given none.

    Parameters
    ----------
    sampler
        With the least width of the bead restraints.
    beads
        Whole beads.
    known
        What need not be tried, once widths are settled.

    Returns
    -------
    The sampler to work with, and what was found out.
    """
    if not is_asked(sampler.hamiltonian.conditions, sampler.settings):
        return sampler, Preparation({}, {}, sampler.effort)
    part, some = cut_droplet(sampler, beads)
    chosen, found = _prepare(part, some, known)
    if part is sampler:
        return chosen, found
    widths = {name: molecule.width for name, molecule in chosen.hamiltonian.molecules.items()}
    wider = with_widths(sampler, widths)
    found = replace(found, part=(part.system.n_atoms, sampler.system.n_atoms))
    return replace(wider, effort=chosen.effort), found


def _prepare(sampler: Sampler, beads: Frame, known: Known) -> tuple[Sampler, Preparation]:
    settings, conditions = sampler.settings, sampler.hamiltonian.conditions
    stream = preparation_stream(sampler.settings.seed)
    freed, thorough = dict[Types, float](), settings.annealing != 0
    long = not beads.winds and not all(grower.short for grower in sampler.growers.values())
    offers = settings.offers is None and thorough and long
    starts = _grown(sampler, beads, stream, anew=offers)
    given = sampler.effort
    chosen = replace(sampler, effort=Effort())
    first = trial = _try(chosen, beads, starts, stream)
    if conditions.spread is None:
        chosen, trial = _loosened(chosen, beads, starts, stream, first)
    if conditions.spread is None and thorough:
        freed, chosen, trial = _freed(chosen, beads, starts, stream, trial)
    before = known(chosen)
    if before is not None:
        asked = settings.offers, settings.annealing, settings.windows
        effort = Effort(*(of if n is None else n for n, of in zip(asked, before[0], strict=True)))
        found = Preparation(trial.strain, first.strain, effort, source=before[1], freed=freed)
        return replace(chosen, effort=effort), found
    offered, energies, swept = dict[int, float](), dict[int, float](), dict[int, float]()
    at_once, error = trial.energy, 0.0
    if offers:
        offered, chosen, starts = _with_offers(chosen, beads, starts, stream, at_once)
        at_once = offered[chosen.effort.offers]
    elif given.offers:
        starts = _after_offers(chosen, beads, starts, range(given.offers), stream)
        chosen = _doing(chosen, offers=given.offers)
        at_once = _try(chosen, beads, starts, stream).energy
    if settings.annealing is None:
        energies, error = _climb(chosen, beads, starts, stream, at_once)
        energies, steps = _confirmed(chosen, beads, starts, stream, energies)
        steps = LADDER[-1] if steps and error > BLURRED * settings.tolerance else steps
        chosen = _doing(chosen, annealing=steps)
    else:
        chosen = _doing(chosen, annealing=given.annealing)
    if settings.windows is not None:
        chosen = _doing(chosen, windows=given.windows)
    elif thorough and ANNEALING in chosen.arrays.moves.move_type:
        swept = _with_windows(chosen, beads, starts, stream, energies.get(chosen.effort.annealing))
        windows = _windows(swept, settings.tolerance, chosen.effort, len(starts[0]))
        chosen = _doing(chosen, windows=windows)
    scatter = max(error, _scatter(len(starts[0])))
    return chosen, Preparation(
        trial.strain, first.strain, chosen.effort, energies, swept, offered, scatter=scatter, freed=freed
    )


def _doing(sampler: Sampler, **effort: int) -> Sampler:
    """The same with some of its effort."""
    return replace(sampler, effort=sampler.effort._replace(**effort))


@dataclass(frozen=True)
class _Trial:
    """A frame packed and swept: its torsions and pairs, kT per atom, and how atoms sit on their beads."""

    energy: float
    strain: dict[Types, Strain]
    variance: float = math.nan
    """Of its mean, as its repeats differ, (kT per atom)^2; unknown if there is one."""


_Starts = Sequence[FloatArray]
"""(n, 3) nm to begin with, of each repeat of a frame."""


def _try(sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream) -> _Trial:
    """Pack and sweep a frame; a small one several times, since the energy of few atoms is uncertain."""
    square, energies = np.zeros(sampler.system.n_beads), list[list[float]]()
    chains = _packed(sampler, beads, starts, stream)
    for chain, one in chains:
        energies.append([])
        for number in range(SWEEPS):
            advance(chain, one, sampler.team)
            if number >= SWEEPS // 2:
                square += (chain.conf.offsets**2).sum(axis=1)
                energies[-1].append(chain.slow_energy)
    means = np.mean(energies, axis=1)
    square /= np.size(energies)
    variance = float(means.var(ddof=1) / len(means)) if len(means) > 1 else math.nan
    return _Trial(float(means.mean()), _strain_of(sampler, square), variance)


_Chains = Sequence[tuple[Chain, Stream]]
"""Markov chains of one frame, and the random numbers of each."""


def _packed(sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream) -> _Chains:
    """Chains that begin with the frame packed, one from each start."""
    found = []
    for repeat, start in enumerate(starts):
        positions, one = start.copy(), stream.of(sampler.effort.annealing, repeat)
        conf = configure(sampler, positions, beads)
        conf = pack_frame(sampler, conf, beads, one, sampler.effort.schedule)
        chain = start_chain(configure(sampler, positions, beads, conf.neighbours))
        found.append((chain, one))
    return found


def _repeats(atoms: int) -> int:
    """Repeats that make :data:`ATOMS` atoms."""
    return int(np.clip(np.ceil(ATOMS / atoms), 1, REPEATS))


def _scatter(atoms: int) -> float:
    """Error of the difference of two trials of a frame, kT per atom."""
    return scatter_of(_repeats(atoms) * atoms, SLOW_SCATTER)


# --- widths ------------------------------------------------------------------------------------------


def _bead_types(sampler: Sampler) -> dict[Types, list[tuple[int, int, int]]]:
    """First bead, copies and beads a copy, and place in a copy, of all beads of each type."""
    found: dict[Types, list[tuple[int, int, int]]] = {}
    for match in sampler.system.matches:
        size = len(match.mapping.names)
        for place, bead_type in enumerate(match.mapping.types):
            rows = match.first_bead + place, match.first_bead + size * match.count, size
            found.setdefault((match.moltype.name, bead_type), []).append(rows)
    return found


def _strain_of(sampler: Sampler, square: FloatArray) -> dict[Types, Strain]:
    """From the mean square distance (m,) of each mapped centre from its bead, nm^2."""
    found, kt = {}, sampler.hamiltonian.kt
    for types, places in _bead_types(sampler).items():
        rows = np.concatenate([np.arange(first, end, step) for first, end, step in places])
        width = float(np.sqrt(kt / sampler.arrays.beads.stiffness[rows[0]]))
        mean = float(square[rows].mean())
        found[types] = Strain(width, mean**0.5, mean / (3.0 * width**2))
    return found


def _widths(mappings: Mapping[str, BeadMapping], strain: Mapping[Types, Strain]) -> dict[str, FloatArray]:
    """(beads,) nm by molecule type."""
    return {
        name: np.array([strain[name, bead_type].width for bead_type in mapping.types])
        for name, mapping in mappings.items()
    }


def _held(sampler: Sampler, strain: Mapping[Types, Strain]) -> Sampler:
    """The same with beads held by these widths."""
    molecules = sampler.hamiltonian.molecules
    return with_widths(sampler, _widths({name: one.mapping for name, one in molecules.items()}, strain))


def _loosened(
    sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream, narrow: _Trial
) -> tuple[Sampler, _Trial]:
    """Hold beads as loosely as their atoms ask for; the sampler, and the trial with it."""
    trial, before = narrow, dict(narrow.strain)
    counts = {t: len(starts) * sum(len(range(*rows)) for rows in p) for t, p in _bead_types(sampler).items()}
    most = {t: max(STRAINED, 1.0 + NO_CHANCE * math.sqrt(2.0 / (3 * n))) for t, n in counts.items()}
    while True:
        tight = {t for t, s in trial.strain.items() if s.ratio > most[t] and 2.0 * s.width <= WIDEST}
        if not tight:
            break
        before |= {t: trial.strain[t] for t in tight}
        wider = {t: replace(s, width=2.0 * s.width) if t in tight else s for t, s in trial.strain.items()}
        trial = _try(_held(sampler, wider), beads, starts, stream)
        said = ", ".join(f"{types[1]} {s.width:.4f} nm {s.ratio:.2f}" for types, s in trial.strain.items())
        log.info("bead restraints, and mean square over that of the restraint alone: %s", said)
    if trial is narrow:
        return sampler, narrow
    fitted = {t: replace(s, width=_where_equal(before[t], s)) for t, s in trial.strain.items()}
    sampler = _held(sampler, fitted)
    return sampler, _try(sampler, beads, starts, stream)


def _where_equal(narrow: Strain, wide: Strain) -> float:
    """The width between two at which the ratio is 1, by interpolation of logarithms, nm."""
    if wide.ratio >= 1.0 or narrow.width == wide.width:
        return wide.width
    done = np.log(narrow.ratio) / np.log(narrow.ratio / wide.ratio)
    return float(narrow.width * (wide.width / narrow.width) ** np.clip(done, 0.0, 1.0))


def _freed(
    sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream, held: _Trial
) -> tuple[dict[Types, float], Sampler, _Trial]:
    """Hold molecules of one or two beads more loosely while that lowers the energy.

    Returns
    -------
    What they gain, the sampler, and the trial with it.
    """
    molecules = sampler.hamiltonian.molecules
    single = {
        t
        for t in held.strain
        if len(molecules[t[0]].mapping.types) <= min(FREED_BEADS, molecules[t[0]].moltype.n_atoms - 1)
    }
    if not single:
        return {}, sampler, held

    def annealed(one: Sampler) -> float:
        return _try(_doing(one, annealing=FREED_STEPS), beads, starts, stream).energy

    found, worth = sampler, max(sampler.settings.tolerance, DOUBTFUL * _scatter(len(starts[0])))
    first = energy = annealed(sampler)
    log.info("molecules of one or two beads, held as they are: %.4f kT per atom", first)
    for width in FREED:
        wider = {
            t: replace(s, width=max(s.width, width if t in single else 0.0)) for t, s in held.strain.items()
        }
        freer = _held(sampler, wider)
        freed = annealed(freer)
        log.info("the same, held within %.3f nm: %.4f kT per atom", width, freed)
        if energy - freed < worth:
            break
        found, energy = freer, freed
    if found is sampler:
        return {}, sampler, held
    return dict.fromkeys(sorted(single), first - energy), found, _try(found, beads, starts, stream)


# --- offers ------------------------------------------------------------------------------------------


def _with_offers(
    sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream, at_once: float
) -> tuple[dict[int, float], Sampler, _Starts]:
    """Energies, kT per atom, of ever more rounds of offers; a sampler with enough, and what these lead to."""
    energies, after, worth = {0: at_once}, {0: starts}, GAIN * sampler.settings.tolerance
    log.info("without offers: %.4f kT per atom", at_once)
    doubtful = DOUBTFUL * _scatter(len(starts[0]))
    for done, rounds in pairwise((0, *ROUNDS)):
        # what is bred is bred from the first round on
        begun = done if Effort(done).breeds == Effort(rounds).breeds else 0
        after[rounds] = _after_offers(sampler, beads, after[begun], range(begun, rounds), stream)
        energies[rounds] = _try(_doing(sampler, offers=rounds), beads, after[rounds], stream).energy
        log.info("%d rounds of offers: %.4f kT per atom", rounds, energies[rounds])
        gained = energies[done] - energies[rounds]
        caught = at_once - energies[ROUNDS[0]] > doubtful
        if done == 0 and abs(gained - worth) < doubtful:
            gained = 0.5 * (gained + _gained_elsewhere(sampler, beads, rounds, stream.of(AGAIN)))
        if gained < worth and not (caught and rounds < CAUGHT_ROUNDS):
            break
    nothing_gained = gained < worth and (done == 0 or Effort(done).breeds)
    chosen = done if nothing_gained else rounds
    return energies, _doing(sampler, offers=chosen), after[chosen]


def _gained_elsewhere(sampler: Sampler, beads: Frame, rounds: int, stream: Stream) -> float:
    """What so many rounds of offers gain from other starts, kT per atom."""
    starts = _grown(sampler, beads, stream, anew=True)
    offered = _after_offers(sampler, beads, starts, range(rounds), stream)
    before = _try(sampler, beads, starts, stream).energy
    after = _try(_doing(sampler, offers=rounds), beads, offered, stream).energy
    log.info("%d rounds of offers, from other starts: %.4f in place of %.4f", rounds, after, before)
    return before - after


def _grown(sampler: Sampler, beads: Frame, stream: Stream, *, anew: bool) -> _Starts:
    """A frame as it is grown; if ``anew`` each repeat by itself: what one is spared may catch another."""
    repeats = range(_repeats(sampler.system.n_atoms))
    streams = [stream, *(stream.of(repeat) for repeat in repeats[1:])]
    found = [begin(sampler, beads, None, one, Clock())[0].positions for one in streams[: None if anew else 1]]
    return found if anew else found * len(streams)


def _after_offers(sampler: Sampler, beads: Frame, starts: _Starts, rounds: range, stream: Stream) -> _Starts:
    """Where these rounds of offers lead to."""
    found = []
    for repeat, start in enumerate(starts):
        conf = configure(sampler, start.copy(), beads)
        offer(sampler, conf, beads, rounds, stream.of(repeat), bred=Effort(rounds.stop).breeds)
        found.append(conf.positions)
    return found


# --- annealing ---------------------------------------------------------------------------------------


def _climb(
    sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream, at_once: float
) -> tuple[dict[int, float], float]:
    """Energies, kT per atom, of ever longer annealing until it gains nothing; ``at_once`` without any.

    Returns
    -------
    These, and the error of the difference of two of them as repeats differ, 0 where there are none.
    """
    energies, variances = {0: at_once}, list[float]()
    log.info("without annealing: %.4f kT per atom", at_once)
    for steps in LADDER:
        trial = _try(_doing(sampler, annealing=steps), beads, starts, stream)
        energies[steps] = trial.energy
        variances.append(trial.variance)
        energies = dict(sorted(energies.items()))
        log.info("annealing in %d steps: %.4f kT per atom", steps, energies[steps])
        if _enough(energies, sampler.settings.tolerance) < max(energies):
            break
    known = np.array(variances)[np.isfinite(variances)]
    error = math.sqrt(2.0 * known.mean()) if len(known) else 0.0
    log.info("error of a difference, as repeats differ: %.4f kT per atom", error)
    return energies, error


def _confirmed(
    sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream, energies: dict[int, float]
) -> tuple[dict[int, float], int]:
    """What was found of annealing, and the steps that are enough.

    Where it gains little more than scatter may be, what a second look says, if that contradicts.

    That has no choice among several trials, so that chance is not picked out.
    """
    steps = _enough(energies, sampler.settings.tolerance)
    if steps == 0 or energies[0] - energies[steps] > DOUBTFUL * _scatter(len(starts[0])):
        return energies, steps
    again = {}
    for n in (0, steps):
        trials = [_try(_doing(sampler, annealing=n), beads, starts, stream.of(k)) for k in range(AGAIN)]
        again[n] = float(np.mean([trial.energy for trial in trials]))
        log.info("annealing in %d steps, again: %.4f kT per atom", n, again[n])
    gains = again[0] - again[steps] > 0.5 * sampler.settings.tolerance
    return (energies, steps) if gains else (again, 0)


def _enough(
    energies: Mapping[int, float], tolerance: float, ahead: tuple[int, int] = AHEAD, gain: float = GAIN
) -> int:
    """The first number beyond which the energy falls by less than a part of the tolerance.

    The energy falls by about as much from each doubling to the next, until it no longer falls at all.
    ``ahead`` says how many more must have been tried, after none and after some: short annealing may lose as
    much of what growth has found as it gains, and none at all is compared with all that was tried.
    """
    numbers, values = list(energies), list(energies.values())
    for k, value in enumerate(values):
        count = ahead[min(k, 1)]
        following = values[k + 1 :] if k == 0 else values[k + 1 : k + 1 + count]
        if len(following) >= count and value - min(following) < gain * tolerance:
            return numbers[k]
    return numbers[-1]


# --- windows -----------------------------------------------------------------------------------------


def _windows(swept: Mapping[int, float], tolerance: float, effort: Effort, atoms: int) -> int:
    """Sweeps with windows that are enough, by the trials of a frame of so many atoms."""
    enough = _enough(swept, tolerance, WINDOWS_AHEAD, WINDOWS_GAIN)
    gained = swept[0] - min(swept.values())
    caught = effort.annealing > 0 or gained > DOUBTFUL * _scatter(atoms)
    # offers show the same; but where windows gain nothing after them they turn nothing, and where conformers
    # were bred little is left to turn
    caught |= effort.offers > 0 and not effort.breeds and enough > 0
    return CAUGHT if caught else enough


def _with_windows(
    sampler: Sampler, beads: Frame, starts: _Starts, stream: Stream, without: float | None
) -> dict[int, float]:
    """Energies, kT per atom, of ever more sweeps with windows until they gain nothing, and without."""
    energies = {0: _try(sampler, beads, starts, stream).energy if without is None else without}
    log.info("without windows: %.4f kT per atom", energies[0])
    chains = _packed(sampler, beads, starts, stream)
    for sweeps in SWEPT:
        energies[sweeps] = float(
            np.mean([_after_windows(chain, sweeps, one, sampler) for chain, one in chains])
        )
        log.info("%d sweeps with windows: %.4f kT per atom", sweeps, energies[sweeps])
        if _enough(energies, sampler.settings.tolerance, WINDOWS_AHEAD, WINDOWS_GAIN) < sweeps:
            break
    return energies


def _after_windows(chain: Chain, sweeps: int, stream: Stream, sampler: Sampler) -> float:
    """Go on until there were so many sweeps with windows: energy of the last half of all, kT per atom."""
    energies = []
    while chain.sweeps < sweeps:
        sweep_windows(chain, chain.sweeps + 1, stream, sampler.team)
        if chain.sweeps > sweeps // 2:
            energies.append(chain.slow_energy)
    return float(np.mean(energies))

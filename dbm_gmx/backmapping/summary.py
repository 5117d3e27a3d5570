"""The summary of a run: what was found in its frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from dbm_gmx.backmapping.cost import Cost, added
from dbm_gmx.backmapping.electrostatics import Electrostatics, measure_electrostatics
from dbm_gmx.backmapping.independent import Twin, compare_twins
from dbm_gmx.backmapping.switched import measure_switched
from dbm_gmx.chemistry.array_types import FloatArray, IntArray, SignArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import lattice_of
from dbm_gmx.chemistry.rules import (
    SHOWN,
    Judgement,
    Kept,
    find_places,
    judge,
    spread_widths,
    stereo_values,
)
from dbm_gmx.chemistry.stereo import Assignment, Chirality, Stereo, count_stereo, infer_chirality
from dbm_gmx.chemistry.system import System, deviation, longest_bond
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.equilibrium import SLOW, SUMS, TOTAL, EnergyDifference
from dbm_gmx.options import Conditions, Limits, Method, Settings
from dbm_gmx.plain import plain, restored
from dbm_gmx.sampling.preparation import Preparation
from dbm_gmx.sampling.recollection import Remembered

# --- all of it -------------------------------------------------------------------------------------

NOTHING = 0.0005
"""s: a stage that takes less has had nothing to do."""


@dataclass(frozen=True)
class Refinement:
    """What is to be said of how the atoms were made; the records of several frames add up.

    Attributes
    ----------
    thermostat
        The temperature and who says it; nothing where the force field was not used.
    frames, sweeps
        Frames refined, and the sweeps this took in all.
    unsettled
        Times of the frames that did not converge, ps.
    acceptance
        By type of move: the sum over frames of the fraction accepted, and how many frames these are.
    regrown
        Molecules that had to be grown more than once.
    refused
        Molecules of the network, or of the frame before, that were grown instead.
    seconds
        Wall time by stage, of all frames together.
    twins
        Frames beside independent starts.
    recalled
        Frames made of what was remembered of others.
    cost
        CPU time by stage.
    """

    thermostat: str = ""
    frames: int = 0
    sweeps: int = 0
    unsettled: tuple[float, ...] = ()
    acceptance: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    regrown: int = 0
    refused: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    twins: tuple[Twin, ...] = ()
    recalled: int = 0
    cost: Cost = field(default_factory=Cost)

    def __add__(self, other: Refinement) -> Refinement:
        acceptance = dict(self.acceptance)
        for move, (fraction, frames) in other.acceptance.items():
            before = acceptance.get(move, (0.0, 0))
            acceptance[move] = before[0] + fraction, before[1] + frames
        return Refinement(
            self.thermostat or other.thermostat,
            self.frames + other.frames,
            self.sweeps + other.sweeps,
            self.unsettled + other.unsettled,
            acceptance,
            self.regrown + other.regrown,
            self.refused + other.refused,
            added(self.seconds, other.seconds),
            self.twins + other.twins,
            self.recalled + other.recalled,
            self.cost + other.cost,
        )

    def lines(self) -> list[str]:
        """Say it in up to two lines."""
        if not self.thermostat:
            return []
        grown = [f"{self.regrown} molecules grown more than once"] if self.regrown else []
        grown += [f"{self.refused} molecules of the start of no use, and grown"] if self.refused else []
        if not self.frames:
            return ["growth         " + ", ".join([f"at {self.thermostat}", *grown])]
        parts = [f"exact at {self.thermostat}", f"{self.sweeps / self.frames:.3g} sweeps a frame"]
        recalled = [f"{self.recalled} recalled"] if self.recalled else []
        said = [f"refinement     {', '.join([*parts, *recalled, self.settled(), *grown])}"]
        moves = [f"{move} {100 * total / n:.0f} %" for move, (total, n) in self.acceptance.items()]
        return [*said, f"accepted       {', '.join(moves)}"] if moves else said

    def stages(self, frames: int, atoms: int) -> list[str]:
        """Say how long the stages took for each of so many frames of so many atoms."""
        means = {stage: total / frames for stage, total in self.seconds.items()}
        spent = [f"{stage} {_seconds(mean)}" for stage, mean in means.items() if mean >= NOTHING]
        said = [f"stages         {', '.join(spent)} a frame"] if spent else []
        return [*said, *self.cost.lines(frames - self.recalled, self.recalled, atoms)]

    def settled(self) -> str:
        """Which frames did not converge."""
        if not self.unsettled:
            return "all others stationary" if self.recalled else "all stationary"
        times = ", ".join(f"{time:g}" for time in self.unsettled[:SHOWN])
        more = ", ..." if len(self.unsettled) > SHOWN else ""
        return f"{len(self.unsettled)} of {self.frames} NOT STATIONARY (at {times}{more} ps)"


def _seconds(time: float) -> str:
    """A time with two or three digits."""
    return f"{time:.0f} s" if time >= 10 else f"{time:.1f} s" if time >= 0.1 else f"{time:.3f} s"


@dataclass(frozen=True, repr=False)
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
        What was done.
    bonds
        Bonds that do not turn, of all frames.
    notes
        What else there is to say, each once.
    weakest
        The least confidence of the stereocentres, and of the bonds, that were inferred, kT.
    electrostatics
        What PME would make of the last frame, where there is something to be said.
    prepared
        What was found out before the first frame.
    against
        Energies of frames less those of independent starts.
    remembered
        What was found out of a memory of frames.
    tolerance
        kT per atom: a difference that counts as none.
    atoms
        Of a frame.
    judged
        How the rules were kept that the atoms alone can break.
    limits
        Thresholds of the rules, and which of them may be broken.
    must_converge
        Whether frames that did not converge break a rule: not where the number of sweeps was given.
    """

    contacts: tuple[int, ...] = ()
    stereo: Stereo = field(default_factory=Stereo)
    deviations: int = 0
    square_deviation: float = 0.0
    worst_deviation: float = 0.0
    longest_bond: float = 0.0
    seconds: float = 0.0
    refinement: Refinement = field(default_factory=Refinement)
    bonds: Stereo = field(default_factory=Stereo)
    notes: tuple[str, ...] = ()
    weakest: tuple[float, float] = (math.inf, math.inf)
    electrostatics: Electrostatics | None = None
    prepared: Preparation | None = None
    against: EnergyDifference | None = None
    remembered: Remembered | None = None
    tolerance: float = Settings.tolerance
    atoms: int = 0
    judged: Judgement = field(default_factory=Judgement)
    limits: Limits = field(default_factory=Limits)
    must_converge: bool = True

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
            self.bonds + other.bonds,
            tuple(dict.fromkeys(self.notes + other.notes)),
            (min(self.weakest[0], other.weakest[0]), min(self.weakest[1], other.weakest[1])),
            other.electrostatics or self.electrostatics,
            other.prepared or self.prepared,
            other.against or self.against,
            other.remembered or self.remembered,
            other.tolerance,
            other.atoms or self.atoms,
            self.judged + other.judged,
            other.limits,
            other.must_converge,
        )

    @property
    def converged(self) -> bool:
        """Whether every energy was stationary, as that of an independent start, and annealing long enough."""
        return not self.refinement.unsettled and not self._is_off

    @property
    def _too_short(self) -> bool:
        return self.prepared is not None and self.prepared.is_short(self.tolerance)

    def convergence(self) -> str:
        """What independent starts and the trials of annealing say."""
        said = "not compared with an independent start"
        if self.against is not None:
            count, (total, slow) = len(self.refinement.twins), map(self.against.row, (TOTAL, SLOW))
            said = (
                f"{total[0]:+.3f} +- {total[1]:.3f} kT per atom, {slow[0]:+.3f} +- {slow[1]:.3f} in {SLOW}, "
                f"beside {count} independent start{'s'[: count > 1]}"
            )
            seen = self.against.shown
            if not seen <= self.tolerance:
                said += f", which cannot show less than {seen:.2f} in these"
        if self._too_short:
            said += ", annealing too short"
        return said if self.converged else f"NOT CONVERGED: {said}"

    @property
    def judgement(self) -> Judgement:
        """How all rules were kept, those of convergence among them."""
        kept, unsettled = dict(self.judged.kept), self.refinement.unsettled
        if self.must_converge and unsettled:
            kept["stationary"] = Kept(1.0, unsettled[0], 0.0, len(unsettled), unsettled[:SHOWN])
        if self.must_converge and self._is_off:
            kept["converged"] = Kept(self._off_by, 0.0, self.tolerance, 1)
        return Judgement(self.judged.frames, kept)

    @property
    def broken(self) -> tuple[str, ...]:
        """The rules that are broken and may not be."""
        return self.judgement.broken(self.limits.allowed)

    @property
    def _is_off(self) -> bool:
        """Whether energies are not those of an independent start, or annealing was too short."""
        off = () if self.against is None else self.against.sums_beyond(self.tolerance)
        return self._too_short or bool(off)

    @property
    def _off_by(self) -> float:
        """By how much, kT per atom."""
        off = 0.0 if self.against is None else max(abs(self.against.row(name)[0]) for name in SUMS)
        return max(off, self.prepared.left) if self.prepared is not None and self._too_short else off

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.contacts)

    @property
    def rms_deviation(self) -> float:
        """Root mean square distance of the mapped atoms from the input beads, nm."""
        return float((self.square_deviation / max(1, self.deviations)) ** 0.5)

    def __repr__(self) -> str:
        """The last line of the summary: all of it is :meth:`text`."""
        rules = self.judgement.line(self.limits.allowed)
        return f"<Report of {self.frames} frame{'' if self.frames == 1 else 's'}, rules: {rules}>"

    def text(self) -> str:
        """Say it in a few lines, for the end of a run."""
        if not self.frames:
            return "frames         none"
        speed = ""
        if self.seconds > 0:
            speed = f" in {self.seconds:.1f} s, {60 * self.frames / self.seconds:.3g} a minute"
        mean = sum(self.contacts) / self.frames
        electric, judged = self.electrostatics, self.judged
        contacts = _after(judged.worst("contacts"))
        return "\n".join(
            [
                f"frames         {self.frames}{speed}",
                *self.refinement.lines(),
                *([f"equilibrium    {self.convergence()}"] if self.refinement.frames else []),
                *([] if self.prepared is None else self.prepared.lines(self.tolerance)),
                *([] if self.remembered is None else [f"memory         {self.remembered.line()}"]),
                *self.refinement.stages(self.frames, self.atoms),
                *([] if electric is None else [f"electrostatics {electric.text()}"]),
                f"bad contacts   {mean:.3g} a frame, at most {max(self.contacts)}{contacts}{self._closest()}",
                f"stereocentres  {self.stereo.text(self.weakest[0])}",
                *([f"cis/trans      {self.bonds.text(self.weakest[1])}"] if self.bonds != Stereo() else []),
                *(f"note           {note}" for note in self.notes),
                f"beads          {self.rms_deviation:.4f} nm (rms) from the input, at most "
                f"{self.worst_deviation:.4f} nm{_after(judged.worst('beads'))}",
                f"longest bond   {self.longest_bond:.4f} nm{_after(judged.worst('bonds'))}",
                f"rules          {self.judgement.line(self.limits.allowed)}",
            ]
        )

    def _closest(self) -> str:
        """How close the closest of the bad contacts are."""
        return f"; closest at {self.judged.worst('overlaps')}" if any(self.contacts) else ""


def _after(said: str) -> str:
    return f", {said}" if said else ""


@dataclass(frozen=True, eq=False)
class Expected:
    """What frames are compared with.

    Attributes
    ----------
    chirality, inferred, sources
        As for :func:`~dbm_gmx.chemistry.stereo.count_stereo`.
    widths
        (m,) nm, how tightly mapped atoms were held to each bead.
    limits
        Thresholds of the rules.
    """

    chirality: Chirality
    inferred: Chirality | None = None
    sources: Mapping[str, IntArray] | None = None
    widths: FloatArray | None = None
    limits: Limits = field(default_factory=Limits)


def judge_frame(system: System, atoms: Frame, beads: Frame, expected: Expected) -> Report:
    """Count faults of whole atoms made for ``beads``, and how far off they are."""
    apart = deviation(system, atoms.positions, beads.positions, atoms.box)
    count = partial(
        count_stereo,
        system,
        atoms.positions,
        expected.chirality,
        inferred=expected.inferred,
        sources=expected.sources,
        lattice=lattice_of(atoms),
    )
    stereo, bonds, limits = count(), count(bonds=True), expected.limits
    places = find_places(system, atoms, limits)
    values = stereo_values(stereo, bonds) | places.values(system.n_atoms)
    if expected.widths is not None:
        values["beads"] = float(np.max(apart / expected.widths, initial=0.0))
    return Report(
        contacts=(len(places.contacts),),
        stereo=stereo,
        bonds=bonds,
        deviations=len(apart),
        square_deviation=float(apart @ apart),
        worst_deviation=float(apart.max(initial=0.0)),
        longest_bond=longest_bond(system, atoms.positions, lattice_of(atoms)),
        judged=judge(values, atoms.time, limits),
        limits=limits,
    )


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of a run before its first frame.

    Attributes
    ----------
    notes
        For the summary.
    assigned
        States that all frames are made with, see
        :func:`~dbm_gmx.backmapping.chirality.assign_states`; those expected if not given.
    method
        How the atoms are put back, and by which thresholds they are judged.
    prepared
        What was found out of widths and annealing.
    remembered
        What was found out of a memory of frames.
    once
        CPU time of what was done before the first frame, by its name, s.
    """

    notes: tuple[str, ...] = ()
    assigned: Assignment | None = None
    method: Method = field(default_factory=Method)
    prepared: Preparation | None = None
    remembered: Remembered | None = None
    once: Mapping[str, float] = field(default_factory=dict)

    @property
    def sampled(self) -> Conditions | None:
        """The ensemble, where the force field is sampled: its electrostatics are looked at."""
        return self.method.conditions if self.method.settings.uses_sampler else None

    def widths(self, system: System) -> FloatArray:
        """(m,) nm, how tightly the mapped atoms are held to each bead."""
        fitted = {} if self.prepared is None else self.prepared.strain
        widths = {types: strain.width for types, strain in fitted.items()}
        return spread_widths(system, widths, self.method.conditions.width)


@dataclass(frozen=True, eq=False)
class Noted:
    """What is noted of a frame.

    Attributes
    ----------
    report
        Of this frame alone.
    inferred
        States of stereo elements by molecule type, where the frame has said more of them.
    """

    report: Report
    inferred: Mapping[str, SignArray] = field(default_factory=dict)


def _is_same(one: Chirality, other: Chirality) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


class Tally:
    """Reports of the frames of a run, added up as they come.

    The first frame says what is expected of the stereo elements of which nothing at all is known.

    Parameters
    ----------
    system
        The system.
    expected
        See :func:`~dbm_gmx.files.conformers.reference_chirality`.
    said
        What is known before the first frame.
    """

    def __init__(self, system: System, expected: Chirality, said: Told | None = None):
        self._said = said = said or Told()
        self.system = system
        self._last: Frame | None = None
        self._told: dict[str, SignArray] = {}
        self._newest = Report()
        self._contacts, self._unsettled = list[int](), list[float]()
        self._sum = Report(
            notes=said.notes,
            refinement=Refinement(cost=Cost(once=said.once)),
            atoms=system.n_atoms,
        )
        widths, limits = said.widths(system), said.method.limits
        self._expected = Expected(expected, expected, widths=widths, limits=limits)
        if said.assigned is not None:
            states, sources = said.assigned.states, said.assigned.sources
            self._expected = replace(self._expected, inferred=states, sources=sources)
            moltypes = system.topology.molecule_types
            weakest = said.assigned.weakest(moltypes), said.assigned.weakest(moltypes, bonds=True)
            self._sum = replace(self._sum, weakest=weakest)

    def add(self, atoms: Frame, beads: Frame, refinement: Refinement | None = None) -> None:
        """Count what is in a frame of whole atoms made for ``beads``, and note how they were refined."""
        self._last = atoms
        before = self._expected.inferred or {}
        inferred = infer_chirality(self.system, atoms.positions, before, lattice_of(atoms))
        self._told = {} if _is_same(inferred, before) else inferred
        self._expected = replace(self._expected, inferred=inferred)
        found = judge_frame(self.system, atoms, beads, self._expected)
        self._add(replace(found, refinement=refinement or Refinement()))

    def _add(self, found: Report) -> None:
        self._newest = found
        self._contacts += found.contacts
        self._unsettled += found.refinement.unsettled
        # to add what there is one of for each frame takes longer from frame to frame
        self._sum += replace(found, contacts=(), refinement=replace(found.refinement, unsettled=()))

    @property
    def newest(self) -> Report:
        """What the last frame has added."""
        return self._newest

    def noted(self) -> Any:
        """What the last frame has added, in plain values, for :meth:`add_noted`."""
        return plain(Noted(self._newest, self._told))

    def add_noted(self, said: Any) -> None:
        """Count a frame that an ended run has made.

        Raises
        ------
        InputError
            If that is none.
        """
        try:
            found = restored(Noted, said)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("the record of the run is damaged: --restart to begin anew") from error
        self._expected = replace(self._expected, inferred=found.inferred or self._expected.inferred)
        self._add(found.report)

    def report(self, *, seconds: float = 0.0) -> Report:
        """Return what was found so far, with the wall time it took."""
        electric, switched, against, twins = None, None, None, self._sum.refinement.twins
        said, sampled = self._said, self._said.sampled
        if twins and sampled is not None:
            against = compare_twins(twins, atoms=self.system.n_atoms, kt=GAS * sampled.temperature)
        if self._last is not None and sampled is not None:
            electric = measure_electrostatics(self.system, self._last, sampled)
            switched = measure_switched(self.system, self._last, sampled)
        return replace(
            self._sum,
            contacts=tuple(self._contacts),
            refinement=replace(self._sum.refinement, unsettled=tuple(self._unsettled)),
            seconds=seconds,
            electrostatics=electric,
            notes=self._sum.notes if switched is None else (*self._sum.notes, switched.text()),
            prepared=said.prepared,
            remembered=said.remembered,
            against=against,
            tolerance=said.method.settings.tolerance,
            limits=said.method.limits,
            must_converge=said.method.settings.sweeps is None,
        )

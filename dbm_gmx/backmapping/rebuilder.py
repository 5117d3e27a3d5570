"""From frames of beads to frames of atoms: the network, the sampler, or both one after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

from dbm_gmx.backmapping.cost import Cost
from dbm_gmx.backmapping.independent import Twin, begin_until_clear, is_begun_anew
from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.backmapping.summary import Refinement
from dbm_gmx.chemistry.array_types import Float32Array
from dbm_gmx.chemistry.feasible import impossible, problems_of
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Chirality
from dbm_gmx.chemistry.system import System, as_in_files, carried_along
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.clock import Clock
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.constraints import h_bond_notes
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import ASSUMED, INFEASIBLE, REFINEMENTS, STARTS, Conditions, Method, Settings
from dbm_gmx.parallel import Job, Team, Workers, side_by_side, thread_count
from dbm_gmx.sampling.chain import Convergence
from dbm_gmx.sampling.memory_file import KeptMemory, memory_that_ships, open_memory
from dbm_gmx.sampling.recollection import Done
from dbm_gmx.sampling.sampler import Sampler, make_sampler, with_team

if TYPE_CHECKING:
    import torch

    from dbm_gmx.backmapping.network_stage import NetworkStage
    from dbm_gmx.network.model import Model
    from dbm_gmx.network.placement import Generate

log = logging.getLogger(__name__)


IN_HAND = 30_000
"""Atoms the network works on together: enough to keep large machines busy, few enough for small ones."""


SMALL = 20_000
"""Atoms below which several frames are sampled side by side rather than one on all threads."""


TOGETHER = 2000
"""Atoms of frames that are sent to another process together: smaller ones are done too soon to go alone."""


AHEAD = 3
"""Jobs for each of the other processes that are sent or wait."""


NETWORK, CHECK = "network", "independent starts"
"""Names of the network's part among the stages, and of the check."""


@dataclass(frozen=True, eq=False)
class Rebuilder:
    """A system and what is needed to rebuild its frames.

    Attributes
    ----------
    system
        Beads and atoms.
    settings
        What is done: start, refinement, samples, seed.
    model
        The generator and its representation, where the settings need it.
    sampler
        Grows and refines in the force field, where the settings need it.
    conditions
        Those of the sampler.
    chirality
        What is expected of the stereocentres; where nothing is, each frame decides for itself, unless
        :func:`~dbm_gmx.backmapping.chirality.assign_states` has settled it.
    workers
        Frames sampled side by side; no influence on the result.
    device
        Where the tensors of the network live; the CPU if nothing is said.
    done
        Frames whose first sample is there already.
    kept
        What another run has remembered, from a file; that which ships for the system, if there is one.
    crew
        Processes that frames are sent to; none where they are rebuilt here.
    source
        File of the beads.
    infeasible
        Whether frames are rebuilt on whose beads no atoms can be put.
    """

    system: System
    settings: Settings
    model: Model | None = None
    sampler: Sampler | None = None
    conditions: Conditions = field(default_factory=Conditions)
    chirality: Chirality = field(default_factory=dict)
    workers: int = 1
    device: torch.device | None = None
    done: Done = field(default_factory=dict)
    kept: KeptMemory | None = None
    crew: Workers | None = None
    source: Path | None = None
    infeasible: bool = True

    def __call__(
        self,
        frames: Iterable[Frame],
        *,
        begin: int = 0,
        after: Sequence[Rebuilt] = (),
        generate: Generate | None = None,
    ) -> Iterator[Rebuilt]:
        """Rebuild frames, several at a time.

        Parameters
        ----------
        frames
            Beads.
        begin
            Number of the first of them in the run: others have been rebuilt before.
        after
            All samples of the frame before the first, where frames follow each other.
        generate
            Used instead of the model's network.

        Yields
        ------
        Frame by frame in order, and of each frame all samples.

        Raises
        ------
        InputError
            At a frame on whose beads no atoms can be put, once those before it are there.
        """
        stage = self._network_stage(generate) if self.settings.uses_network else None
        begun = self._begin(frames, begin)
        if self.settings.follow:
            return self._followed(begun, after)
        return self._finished(begun, stage) if self.crew is None else self._sent(begun, stage, self.crew)

    def _finished(self, rebuilt: Iterator[Rebuilt], stage: NetworkStage | None) -> Iterator[Rebuilt]:
        """Place and refine the atoms of frames that are begun."""
        settings = self.settings
        if stage is not None and not settings.grows:
            rebuilt = self._generated(rebuilt, stage)
        if settings.uses_sampler:
            rebuilt = self._sampled(rebuilt)
        if stage is not None and settings.grows:
            rebuilt = self._generated(rebuilt, stage)
        return rebuilt

    def _sent(self, begun: Iterator[Rebuilt], stage: NetworkStage | None, crew: Workers) -> Iterator[Rebuilt]:
        """Have other processes, each with one thread, finish the frames that are begun."""
        sampler = None if self.sampler is None else with_team(self.sampler, Team(1))
        alone = replace(self, crew=None, workers=1, sampler=sampler, kept=None)
        size = self._in_hand if stage is not None else max(1, TOGETHER // self.system.n_atoms)
        work = side_by_side(Finish(alone, stage), _batches(begun, size), crew, ahead=AHEAD)
        with closing(work) as results:
            for batch in results:
                yield from batch

    def _begin(self, frames: Iterable[Frame], first: int) -> Iterator[Rebuilt]:
        """Yield whole beads, once for each sample."""
        for number, frame in enumerate(frames, first):
            beads = with_whole_beads(self.system, frame)
            if not self.infeasible and (error := self.refusal(beads)):
                raise error
            if beads.winds and self.settings.uses_network:
                raise InputError(
                    "molecules are bonded to their own periodic images; the network does not know such "
                    "(--refine exact or none with --start growth)",
                    path=self.source,
                )
            for sample in range(self.settings.samples):
                yield Rebuilt(beads, sample, checked=sample == 0 and self._is_checked(number))

    def refusal(self, beads: Frame) -> InputError | None:
        """Why no atoms can be put on whole beads; nothing where they can."""
        conditions = self.conditions
        problems = problems_of(self.system, beads, max(conditions.rvdw, conditions.rcoulomb))
        return impossible(beads, problems, self.source, f" (--allow {INFEASIBLE} if that may be)")

    def _is_checked(self, number: int) -> bool:
        """Whether a frame of the run is begun anew."""
        settings = self.settings
        wanted = settings.check and settings.refine == "exact" and settings.sweeps is None
        return wanted and is_begun_anew(number, self.system.n_atoms, settings.tolerance)

    def _generated(self, rebuilt: Iterable[Rebuilt], network: NetworkStage) -> Iterator[Rebuilt]:
        """Place the atoms by the network, or sweep those there are."""
        for batch in _batches(rebuilt, self._in_hand):
            begin = time.perf_counter()
            placed = network(batch)
            spent = Refinement(seconds={NETWORK: (time.perf_counter() - begin) / len(batch)})
            for one, positions in zip(batch, placed, strict=True):
                yield replace(one, positions=positions, refinement=one.refinement + spent)

    @property
    def _in_hand(self) -> int:
        """Reconstructions the network works on together."""
        return max(1, IN_HAND // self.system.n_atoms)

    @property
    def together(self) -> int:
        """Frames that are not made apart: to the last bit, one of the network depends on those beside it."""
        return self._in_hand // gcd(self._in_hand, self.settings.samples) if self.settings.uses_network else 1

    def _network_stage(self, generate: Generate | None) -> NetworkStage:
        """Set up the network; ``generate`` is used in its place."""
        from dbm_gmx.backmapping.network_stage import Task, make_network_stage

        if self.model is None:
            raise ValueError("the settings need a model")
        task = Task(self.system, self.settings, self.conditions, self.chirality, self.device)
        return make_network_stage(task, self.model, generate)

    def _sampled(self, rebuilt: Iterator[Rebuilt]) -> Iterator[Rebuilt]:
        """Grow atoms, or take those there are, and refine."""
        sampler = self.sampler
        if sampler is None:
            raise ValueError("the settings need a sampler")
        if self.workers == 1:
            yield from (self._sample(sampler, one) for one in rebuilt)
            return
        work = side_by_side(partial(self._sample, sampler), rebuilt, self.workers)
        with closing(work) as results:
            yield from results

    def _followed(self, begun: Iterator[Rebuilt], after: Sequence[Rebuilt]) -> Iterator[Rebuilt]:
        """Rebuild frames one after the other, each from the atoms of the one before."""
        if self.sampler is None:
            raise ValueError("the settings need a sampler")
        last = {one.sample: one for one in after}
        for one in begun:
            if (before := last.get(one.sample)) is not None:
                positions = carried_along(self.system, before.atoms, before.beads, one.beads)
                one = replace(one, positions=positions)
            made = self._sample(self.sampler, one)
            if made.positions is not None:  # a run that goes on has no more digits than the file
                made = replace(made, positions=as_in_files(made.positions))
            last[one.sample] = made
            yield made

    def _sample(self, sampler: Sampler, one: Rebuilt) -> Rebuilt:
        draw = partial(sampler, one.beads, start=one.positions, near=self.settings.follow)
        if one.sample == 0 and one.positions is None and one.beads.index in self.done:
            positions, convergence = self.done[one.beads.index]
            draw = partial(replace(sampler, recollection=None), one.beads)  # in full, as it was made
        else:
            positions, convergence = draw(sample=one.sample)
        said = self._said(convergence, one.beads.time)
        rebuilt = replace(one, positions=positions, refinement=one.refinement + said)
        if not one.checked:
            return rebuilt
        clock = Clock()
        with clock.stage(CHECK):
            twins = self._twins(sampler, rebuilt, lambda sample: draw(sample=sample)[0])
        checked = Refinement(twins=twins, seconds=clock.wall, cost=Cost(once=clock.cpu))
        return replace(rebuilt, refinement=rebuilt.refinement + checked)

    def _twins(
        self, sampler: Sampler, one: Rebuilt, again: Callable[[int], Float32Array]
    ) -> tuple[Twin, ...]:
        """The frame begun anew; nothing, with a warning, where energies cannot be compared."""
        try:
            return begin_until_clear(sampler, one.atoms, one.beads, again, self.settings.tolerance)
        except InputError as error:
            log.warning("not compared with an independent start: %s", error)
            return ()

    def _said(self, convergence: Convergence, time: float) -> Refinement:
        """What there is to report."""
        spent = convergence.cpu
        said = Refinement(
            self.conditions.thermostat,
            regrown=convergence.regrown,
            refused=convergence.refused,
            seconds=convergence.seconds,
            cost=Cost(recalled=spent) if convergence.recalled else Cost(full=spent),
        )
        if self.settings.refine != "exact":
            return said
        return replace(
            said,
            frames=1,
            sweeps=len(convergence.energies) - 1,
            recalled=int(convergence.recalled),
            unsettled=() if convergence.converged else (time,),
            acceptance={move: (fraction, 1) for move, fraction in convergence.acceptance.items()},
        )


@dataclass(frozen=True, eq=False)
class Finish:
    """What another process does with frames that are begun.

    Attributes
    ----------
    mapper, stage
        That of the run, and its network.
    """

    mapper: Rebuilder
    stage: NetworkStage | None

    def __call__(self, batch: list[Rebuilt]) -> list[Rebuilt]:
        """Place and refine their atoms."""
        return list(self.mapper._finished(iter(batch), self.stage))


def _batches(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Yield so many at a time; those before a damaged one come before the error it raises."""
    batch: list[Job] = []
    try:
        for job in jobs:
            batch.append(job)
            if len(batch) == size:
                yield batch
                batch = []
    except InputError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def all_threads(mapper: Rebuilder, sampler: Sampler) -> Sampler:
    """A sampler with the threads of all workers, for what is done before the first frame."""
    return with_team(sampler, Team(max(mapper.workers, sampler.team.size)))


def warn_if_assumed(conditions: Conditions) -> None:
    """Say that nobody has given a temperature."""
    if conditions.source == ASSUMED:
        log.warning("no temperature is given (-t, or ref-t in --mdp): %g K assumed", conditions.temperature)


def say_left_out(topology: Topology) -> None:
    """Say which interactions of the topology are not sampled, though mdrun has them."""
    if topology.left_out:
        names = ", ".join(f"[ {name} ]" for name in topology.left_out)
        log.log(NOTICE, "%s: %s: not sampled, but part of a run with this topology", topology.path, names)


def warn_of_names(system: System, conditions: Conditions) -> None:
    """Say where ``constraints = h-bonds`` fixes other bonds than those of hydrogens, as in GROMACS."""
    if conditions.constraints != "h-bonds":
        return
    for moltype in {match.moltype.name: match.moltype for match in system.matches}.values():
        for note in h_bond_notes(moltype):
            log.warning("%s", note)


def make_rebuilder(
    system: System,
    method: Method,
    *,
    chirality: Chirality | None = None,
    frames: int | None = None,
    source: Path | None = None,
) -> Rebuilder:
    """Set up what the method needs, and nothing else.

    Parameters
    ----------
    system
        The system.
    method
        What is done, for which ensemble, with which model.
    chirality
        What is expected of the stereocentres.
    frames
        How many will be rebuilt, where that is known.
    source
        File of the beads.

    Raises
    ------
    InputError
        Settings that contradict each other, a model that does not know the system, a force field that
        cannot be sampled, a memory that can be neither read nor written.
    """
    settings, conditions = method.settings, method.conditions
    check_settings(settings)
    warn_of_names(system, conditions)
    mapper = Rebuilder(
        system,
        settings,
        conditions=conditions,
        chirality=chirality or {},
        source=source,
        infeasible=INFEASIBLE in method.limits.allowed,
    )
    if settings.uses_network:
        from dbm_gmx.backmapping.network_stage import read_network

        model, device = read_network(system, method)
        mapper = replace(mapper, model=model, device=device)
    if settings.uses_sampler:
        warn_if_assumed(conditions)
        say_left_out(system.topology)
        threads = thread_count()
        few = frames is not None and frames * settings.samples < threads
        together = few or settings.follow or system.n_atoms >= SMALL
        of_frame, workers = (threads, 1) if together else (1, threads)
        sampler = make_sampler(system, conditions, settings, mapper.chirality, threads=of_frame)
        mapper = replace(mapper, sampler=sampler, workers=workers)
    if settings.memory_file is not None:
        mapper = replace(mapper, kept=open_memory(settings.memory_file, system))
    elif settings.remembers and mapper.sampler is not None:
        mapper = replace(mapper, kept=memory_that_ships(mapper.sampler))
    return mapper


def check_settings(settings: Settings) -> None:
    """Refuse settings that do not exist or would have no effect.

    Raises
    ------
    InputError
        Saying what is possible.
    """
    if settings.refine not in REFINEMENTS:
        raise InputError(f"no refinement {settings.refine!r}; there are {', '.join(REFINEMENTS)}")
    if settings.start not in (None, *STARTS):
        raise InputError(f"no start {settings.start!r}; there are {', '.join(STARTS)}")
    if settings.refine == "none" and settings.sweeps:
        raise InputError("sweeps need a refinement: gibbs or exact")
    if settings.orientations > 1 and not settings.uses_network:
        raise InputError(
            "orientations are those of the network: refine with gibbs, or start from the network"
        )
    if settings.follow and (settings.refine != "exact" or not settings.grows):
        raise InputError(
            "frames that follow each other (--follow) are refined exactly, from growth (no --start)"
        )
    if settings.follow and settings.memory_file is not None:
        raise InputError("frames that follow each other (--follow) are not made of a memory (--memory)")
    if settings.memory_file is not None and not settings.memory:
        raise InputError("a file of a memory (--memory) and no memory (--no-memory): give one of them")
    if settings.memory_file is not None and not settings.remembers:
        raise InputError(
            "a memory (--memory) is of use only where atoms are grown and refined exactly, without --sweeps"
        )

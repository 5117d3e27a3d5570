"""What is settled before the first frame is rebuilt, the same for all frames of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dbm_gmx.backmapping.chirality import assign_states
from dbm_gmx.backmapping.memory import Early, FoundMemory, Run, find_memory, keep_frames
from dbm_gmx.backmapping.rebuilder import Rebuilder, all_threads
from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Assignment
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.clock import Clock
from dbm_gmx.files.conformers import Conformer
from dbm_gmx.progress import under_way
from dbm_gmx.sampling.memory_file import effort_found
from dbm_gmx.sampling.preparation import Preparation, is_asked, nothing_known, prepare
from dbm_gmx.sampling.recollection import Remembered
from dbm_gmx.sampling.sampler import with_team

STEREO, TRIALS, MEMORY = "inference of stereo", "trials of annealing", "memory"
"""What is done once, as the summary calls it."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A rebuilder with all that was open settled.

    Attributes
    ----------
    assigned
        States of all stereo elements.
    prepared
        What was found out of widths, annealing and windows, if anything was asked.
    memory
        What is remembered, and by which mapper.
    run
        What it is made ready for.
    once
        CPU time this has taken, without that of frames that are kept, s.
    """

    assigned: Assignment
    prepared: Preparation | None
    memory: FoundMemory
    run: Run
    once: Mapping[str, float]

    @property
    def mapper(self) -> Rebuilder:
        """To work with."""
        return self.memory.mapper

    @property
    def remembered(self) -> Remembered | None:
        """What was found out of a memory, where one may pay."""
        return self.memory.remembered

    def __call__(
        self, frames: Iterable[Frame], *, begin: int = 0, after: Sequence[Rebuilt] = ()
    ) -> Iterator[Rebuilt]:
        """Rebuild the frames of the run, from number ``begin`` on; what is to be kept of them is kept."""
        return keep_frames(self.memory, self.mapper(frames, begin=begin, after=after), self.run.source)

    def can_begin(self, done: int) -> int:
        """Number of the frame the run can begin with, where so many are there already."""
        if self.memory.keep is not None:
            return 0  # what is remembered of the first frames is not in the files
        return done - done % self.mapper.together


def make_ready(
    mapper: Rebuilder,
    beads: Early,
    *,
    tacticity: str | Conformer | None = None,
    frames: int | None = None,
) -> Ready:
    """Settle what the settings and the input leave open: stereo, widths, annealing, windows, memory.

    Parameters
    ----------
    mapper
        As :func:`~dbm_gmx.backmapping.rebuilder.make_rebuilder` makes it.
    beads
        Frames that say something of all of them; those on which no atoms can be put do not.
    tacticity
        See :func:`~dbm_gmx.backmapping.chirality.assign_states`.
    frames
        How many will be rebuilt, where that is known.

    Raises
    ------
    InputError
        If the tacticity cannot be used, or no atoms can be put on any of the frames.
    """
    clock, run = Clock(), Run(frames, "" if mapper.source is None else mapper.source.name)
    beads = partial(_feasible, mapper, beads)
    with under_way(STEREO), clock.stage(STEREO):
        mapper, assigned = assign_states(mapper, beads, tacticity)
    with under_way(TRIALS), clock.stage(TRIALS):
        mapper, prepared = _prepared(mapper, beads)
    with under_way(MEMORY), clock.stage(MEMORY):
        memory = find_memory(mapper, beads, run)
    kept = sum(sum(convergence.cpu.values()) for _, convergence in memory.mapper.done.values())
    once = clock.cpu | {MEMORY: clock.cpu[MEMORY] - kept}
    return Ready(assigned, prepared, memory, run, once)


def _feasible(mapper: Rebuilder, beads: Early, count: int) -> list[Frame]:
    """Early frames on whose beads atoms can be put; all if there is none and that may be."""
    frames = list(beads(count))
    whole = (with_whole_beads(mapper.system, frame) for frame in frames)
    errors = [mapper.refusal(frame) for frame in whole]
    found = [frame for frame, error in zip(frames, errors, strict=True) if error is None]
    if not found and errors[0] is not None and not mapper.infeasible:
        raise errors[0]
    return found or frames


def _prepared(mapper: Rebuilder, beads: Early) -> tuple[Rebuilder, Preparation | None]:
    """Fit widths of the bead restraints, annealing and windows where the settings leave them open."""
    sampler, settings = mapper.sampler, mapper.settings
    if sampler is None or settings.refine != "exact" or settings.sweeps is not None:
        return mapper, None
    if not is_asked(mapper.conditions, settings):
        return mapper, None
    # a simulation often begins with beads that were mapped from atoms: those of its own motion are asked
    usual = beads(2)[-1]
    known = nothing_known if mapper.kept is None else partial(effort_found, mapper.kept)
    usual = with_whole_beads(mapper.system, usual)
    ready, found = prepare(all_threads(mapper, sampler), usual, known)
    return replace(mapper, sampler=with_team(ready, sampler.team)), found

"""What is settled before the first frame is rebuilt, the same for all frames of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dbm_gmx.backmapping.backmapper import Backmapper, all_threads
from dbm_gmx.backmapping.chirality import assign_states
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Assignment
from dbm_gmx.chemistry.system import whole_beads
from dbm_gmx.files.conformers import Conformer
from dbm_gmx.sampling.preparation import Preparation, is_asked, prepare
from dbm_gmx.sampling.recollection import FILLED, WORTH, Remembered, make_recollection
from dbm_gmx.sampling.sampler import with_team

Early = Callable[[int], Sequence[Frame]]
"""Returns up to so many frames of beads of the beginning."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A backmapper with all that was open settled.

    Attributes
    ----------
    mapper
        To work with.
    assigned
        States of all stereo elements.
    prepared
        What was found out of widths, annealing and windows, if anything was asked.
    remembered
        What was found out of a memory, where one may pay.
    """

    mapper: Backmapper
    assigned: Assignment
    prepared: Preparation | None
    remembered: Remembered | None


def make_ready(
    mapper: Backmapper,
    beads: Early,
    *,
    tacticity: str | Conformer | None = None,
    frames: int | None = None,
) -> Ready:
    """Settle what the settings and the input leave open: stereo, widths, annealing, windows, memory.

    Parameters
    ----------
    mapper
        As :func:`~dbm_gmx.backmapping.backmapper.make_backmapper` makes it.
    beads
        Frames that say something of all of them.
    tacticity
        See :func:`~dbm_gmx.backmapping.chirality.assign_states`.
    frames
        How many will be rebuilt, where that is known.

    Raises
    ------
    InputError
        If the tacticity cannot be used.
    """
    mapper, assigned = assign_states(mapper, beads, tacticity)
    mapper, prepared = _prepared(mapper, beads)
    mapper, remembered = _remembering(mapper, beads, frames)
    return Ready(mapper, assigned, prepared, remembered)


def _prepared(mapper: Backmapper, beads: Early) -> tuple[Backmapper, Preparation | None]:
    """Fit widths of the bead restraints, annealing and windows where the settings leave them open."""
    sampler, settings = mapper.sampler, mapper.settings
    if sampler is None or settings.refine != "exact" or settings.sweeps is not None:
        return mapper, None
    if not is_asked(mapper.conditions, settings):
        return mapper, None
    # a simulation often begins with beads that were mapped from atoms: those of its own motion are asked
    usual = beads(2)[-1]
    ready, found = prepare(
        all_threads(mapper, sampler), replace(usual, positions=whole_beads(mapper.system, usual))
    )
    return replace(mapper, sampler=with_team(ready, sampler.team)), found


def _remembering(
    mapper: Backmapper, beads: Early, frames: int | None
) -> tuple[Backmapper, Remembered | None]:
    """Find out whether frames can be made of others, where there are enough of them for that to pay."""
    sampler, settings = mapper.sampler, mapper.settings
    if sampler is None or settings.refine != "exact" or settings.sweeps is not None or not settings.memory:
        return mapper, None
    if not settings.grows or (frames or 0) * settings.samples < WORTH:
        return mapper, None
    some = [replace(one, positions=whole_beads(mapper.system, one)) for one in beads(FILLED)]
    if len(some) < 2:
        return mapper, None
    ready, found = make_recollection(all_threads(mapper, sampler), some)
    return replace(mapper, sampler=with_team(ready, sampler.team), done=found.done), found

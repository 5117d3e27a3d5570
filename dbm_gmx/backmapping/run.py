"""A run: beads are rebuilt and judged frame by frame, whether the atoms go to files or stay in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbm_gmx.backmapping.memory import Early
from dbm_gmx.backmapping.ready import Ready, make_ready
from dbm_gmx.backmapping.rebuilder import Rebuilder, make_rebuilder
from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.backmapping.summary import Tally, Told
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Chirality
from dbm_gmx.chemistry.system import System
from dbm_gmx.files.conformers import Conformer, stereo_notes, with_usual
from dbm_gmx.options import Method
from dbm_gmx.parallel import Workers


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be done.

    Attributes
    ----------
    system, method
        What is rebuilt, and how.
    known
        What the input says of the stereocentres, see :func:`~dbm_gmx.files.conformers.given_chirality`.
    tacticity
        What becomes of those of which it says nothing.
    source
        File of the beads.
    crew
        Processes that frames are sent to; none where they are rebuilt here.
    """

    system: System
    method: Method
    known: Chirality
    tacticity: str | Conformer | None = None
    source: Path | None = None
    crew: Workers | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """A rebuilder that is ready, and what was found in its frames so far."""

    ready: Ready
    tally: Tally

    def __call__(
        self, frames: Iterable[Frame], *, begin: int = 0, after: Sequence[Rebuilt] = ()
    ) -> Iterator[Rebuilt]:
        """Rebuild frames of beads, from number ``begin`` of the run on, and judge them.

        ``after`` is what was made of the one before that, where frames follow each other.
        """
        for one in self.ready(frames, begin=begin, after=after):
            self.tally.add(one.atoms, one.beads, one.refinement)
            yield one


def rebuilder_of(task: Task, frames: int | None) -> Rebuilder:
    """Set up what a task needs, for so many frames where that is known.

    Raises
    ------
    InputError
        As :func:`~dbm_gmx.backmapping.rebuilder.make_rebuilder`.
    """
    chirality = with_usual(task.system, task.known)
    made = make_rebuilder(task.system, task.method, chirality=chirality, frames=frames, source=task.source)
    return replace(made, crew=task.crew)


def make_run(task: Task, rebuilder: Rebuilder, early: Early, frames: int | None) -> Run:
    """Settle what is open, from frames of the beginning.

    Raises
    ------
    InputError
        As :func:`~dbm_gmx.backmapping.ready.make_ready`.
    """
    ready = make_ready(rebuilder, early, tacticity=task.tacticity, frames=frames)
    notes = (*stereo_notes(task.system, task.known), *ready.memory.notes)
    told = Told(notes, ready.assigned, task.method, ready.prepared, ready.remembered, ready.once)
    return Run(ready, Tally(task.system, rebuilder.chirality, told))

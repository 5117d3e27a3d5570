"""The memory of a run: of its own first frames, or from a file; and kept in a file for the next run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbm_gmx.backmapping.rebuilder import Rebuilder, all_threads
from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.sampling.memory import Memory, remember
from dbm_gmx.sampling.memory_file import (
    KeptMemory,
    findings_of,
    unknown_molecules,
    what_differs,
    write_memory,
)
from dbm_gmx.sampling.origin import origin_of
from dbm_gmx.sampling.random_numbers import Use, preparation_stream
from dbm_gmx.sampling.recollection import (
    FILLED,
    STARTED,
    WORTH,
    WORTH_STARTED,
    Remembered,
    make_recollection,
)
from dbm_gmx.sampling.sampler import Sampler, with_team

log = logging.getLogger(__name__)

Early = Callable[[int], Sequence[Frame]]
"""Returns up to so many frames of beads of the beginning."""


WINDING = "every frame is sampled in full: its molecules are bonded to their own periodic images"
"""Said where no memory is looked for."""


@dataclass(frozen=True)
class Run:
    """What a run is of.

    Attributes
    ----------
    frames
        How many will be rebuilt, where that is known.
    source
        Name of their file.
    """

    frames: int | None = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class FoundMemory:
    """What a run remembers.

    Attributes
    ----------
    mapper
        That recalls frames, if it does.
    remembered
        What was found out, if anything.
    notes
        What else there is to say.
    keep
        File for what is remembered of the frames of the run, which is still to be written.
    """

    mapper: Rebuilder
    remembered: Remembered | None = None
    notes: tuple[str, ...] = ()
    keep: Path | None = None


def find_memory(mapper: Rebuilder, beads: Early, run: Run) -> FoundMemory:
    """Find out whether frames can be made of others, where that may pay or a file says so.

    Parameters
    ----------
    mapper
        With all else settled.
    beads
        Frames that say something of all of them.
    run
        How many frames, and whose.
    """
    sampler, settings = mapper.sampler, mapper.settings
    if sampler is None or not settings.remembers:
        return FoundMemory(mapper)
    path, count = settings.memory_file, (run.frames or 0) * settings.samples
    asked = mapper.kept is not None or path is not None or count >= WORTH  # else no frame is read for it
    if asked and any(with_whole_beads(mapper.system, frame).winds for frame in beads(1)):
        return FoundMemory(mapper, notes=(WINDING,))
    if mapper.kept is not None:
        return _with_file(mapper, sampler, mapper.kept, beads, count)
    found = _tried(mapper, sampler, None, beads, count)
    if path is None or found.remembered is None:
        return replace(found, keep=path)
    trained, known = found.mapper.sampler or sampler, found.remembered
    origin = origin_of(trained.hamiltonian, frames=len(known.done), source=run.source)
    findings = findings_of(trained, known.excess, known.misfit)
    write_memory(KeptMemory(path, known.memory, origin, findings))
    return replace(found, notes=(f"{path.name} is written, for --memory in the next run",))


def _with_file(
    mapper: Rebuilder, sampler: Sampler, kept: KeptMemory, beads: Early, count: int
) -> FoundMemory:
    """The memory of a file: as it is, as a start, or not at all."""
    unknown = unknown_molecules(kept.memory, mapper.system)
    if unknown:
        note = f"{kept.path.name} is not used: it does not know all beads of {', '.join(unknown)}"
        return _noted(_tried(mapper, sampler, None, beads, count), note)
    differs = what_differs(kept, sampler)
    if not differs and kept.findings is not None:
        how = kept.recollection
        known = Remembered({}, kept.findings.excess, kept.findings.misfit, how, kept.memory, kept.text())
        return FoundMemory(replace(mapper, sampler=replace(sampler, recollection=how)), known)
    said = f"{kept.text()} is another case: {', '.join(differs)}"
    found = _tried(mapper, sampler, kept, beads, count)
    used = "tried on the first frames" if found.remembered else "not used in so few frames"
    return _noted(found, f"{said}; it is {used}")


def _noted(found: FoundMemory, note: str) -> FoundMemory:
    log.warning("%s", note)
    return replace(found, notes=(*found.notes, note))


def _tried(
    mapper: Rebuilder, sampler: Sampler, start: KeptMemory | None, beads: Early, count: int
) -> FoundMemory:
    """Sample a few frames in full and recall them, where there are enough of them for that to pay."""
    filled, worth = (FILLED, WORTH) if start is None else (STARTED, WORTH_STARTED)
    if count < worth:
        return FoundMemory(mapper)
    some = [with_whole_beads(mapper.system, one) for one in beads(filled)]
    if len(some) < 2:
        return FoundMemory(mapper)
    before = None if start is None else start.memory
    ready, found = make_recollection(all_threads(mapper, sampler), some, before)
    if start is not None:
        found = replace(found, file=start.text())
    return FoundMemory(replace(mapper, sampler=with_team(ready, sampler.team), done=found.done), found)


def keep_frames(found: FoundMemory, rebuilt: Iterable[Rebuilt], source: str) -> Iterator[Rebuilt]:
    """Pass frames on, and write what is remembered of the first ones to the file that waits for it.

    Nothing was found out about recalling: the next run tries it first.
    """
    sampler, path = found.mapper.sampler, found.keep
    if sampler is None or path is None:
        yield from rebuilt
        return
    stream = preparation_stream(sampler.settings.seed).of(Use.MEMORY)
    memory: Memory = {}
    frames = 0
    for one in rebuilt:
        if one.sample == 0 and frames < FILLED:
            system, atoms = sampler.system, one.atoms
            memory = remember(system, atoms.positions, one.beads, memory, stream.of(0, frames))
            frames += 1
        yield one
    if frames:
        origin = origin_of(sampler.hamiltonian, frames=frames, source=source)
        write_memory(KeptMemory(path, memory, origin))
        log.info("%s: written, %d frames", path, frames)

"""The main job, from file to file: beads in, atoms out."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path

from dbm_gmx.backmapping.chirality import check_tacticity
from dbm_gmx.backmapping.provenance import digest_of, provenance_of
from dbm_gmx.backmapping.ready import Ready
from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.backmapping.run import Run, Task, make_run, rebuilder_of
from dbm_gmx.backmapping.summary import Report
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import lattice_of
from dbm_gmx.chemistry.stereo import Chirality, wrong_elements
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import given_chirality
from dbm_gmx.files.input_files import files_of_beads
from dbm_gmx.files.output import atomic_write
from dbm_gmx.files.provenance import Started, write_provenance
from dbm_gmx.files.record import Job, Line, Record, open_record
from dbm_gmx.files.system import BeadFrames, read_inputs
from dbm_gmx.files.top_writer import flat_topology, topology_text
from dbm_gmx.files.trajectory import check_suffix, make_writer, read_frame_at
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import Inputs, Matching, Method, Outputs
from dbm_gmx.parallel import Workers
from dbm_gmx.plain import plain
from dbm_gmx.progress import Progress
from dbm_gmx.sampling.memory_file import shipped_memories

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Backmapped:
    """What a reconstruction leaves.

    Attributes
    ----------
    system
        Beads and atoms.
    beads
        The frames that were rebuilt.
    outputs
        The files of atoms, one for each sample.
    report
        What there is to say about them.
    """

    system: System
    beads: BeadFrames
    outputs: tuple[Path, ...]
    report: Report

    @property
    def frames(self) -> int:
        """Frames in each file."""
        return self.report.frames // len(self.outputs)


def backmap(
    inputs: Inputs,
    output: Path | Outputs,
    method: Method | None = None,
    *,
    crew: Workers | None = None,
    quiet: bool = True,
) -> Backmapped:
    """Rebuild the atoms of a coarse-grained trajectory.

    Frames are read, rebuilt and written a few at a time, to ``aa.part.xtc``.  That becomes ``aa.xtc`` in the
    end, and an older output is backed up.  Whatever ends the run before, finished frames stay in
    ``aa.part.xtc``.  The same call goes on with them, as the record ``aa.part.jsonl`` says.

    Parameters
    ----------
    inputs
        What is to be rebuilt.
    output
        The file of frames, or all that is written.
    method
        How: settings, ensemble, model.
    crew
        Processes that frames are sent to, see :mod:`dbm_gmx.cluster`; none where they are rebuilt here.
    quiet
        No progress bar; there is none either where standard error is no terminal.

    Raises
    ------
    InputError
        If any input cannot be used, or is not that of the run to go on with.
    """
    method = method or Method()
    outputs = output if isinstance(output, Outputs) else Outputs(output)
    samples = method.settings.samples
    started = Started()
    _check_part(inputs, method)
    if method.settings.follow and (inputs.part is not None or crew is not None):
        raise InputError(
            "frames that follow each other (--follow) are made in one process: no --part, no --dask"
        )
    paths, firsts = _check_outputs(outputs.frames, outputs.first, samples)
    _check_conformer(outputs.conformer, [*paths, *firsts])
    system, beads = read_inputs(inputs)
    beside = _topology_beside(system, inputs, outputs.frames)
    total = beads.count()
    if total == 0:
        next(iter(beads))  # an error that says which there are, before trials that may take hours
    known = given_chirality(system, inputs.references, conformers=system.conformers, reorder=inputs.reorder)
    check_tacticity(system, inputs.tacticity)
    source = inputs.trajectory or inputs.structure
    task = Task(system, method, known, inputs.tacticity, source, crew)
    conformer = [] if outputs.conformer is None else [outputs.conformer]
    job, files = _job(inputs, method, system), [*paths, *firsts, *conformer]
    begin = time.monotonic()
    with (
        Progress(quiet=quiet) as progress,
        open_record(outputs.frames, files, job, restart=outputs.restart) as record,
    ):
        record.stays = outputs.record_stays
        if inputs.part is None:
            _check_taken(record.kept, record.kept, total)
        rebuilder = rebuilder_of(task, total)
        if method.settings.memory_file in record.made:
            rebuilder = replace(rebuilder, kept=None)  # the run that was ended has begun without it, too
        beads = beads.share(total, rebuilder.together)
        run = make_run(task, rebuilder, beads.early, total)
        writing = Writing(record, run, Targets(record, system, paths, firsts))
        mine = total if beads.block is None else beads.block[1] - beads.block[0]
        progress.expect(None if mine is None else mine * samples)
        seconds = _write(writing, beads, progress, begin)
    report = run.tally.report(seconds=seconds)
    if beside is not None:
        _write_topology(system, inputs, beside)
    write_provenance(paths, provenance_of(inputs, record, run.ready, report, started))
    return Backmapped(system, beads, tuple(paths), report)


def _topology_beside(system: System, inputs: Inputs, output: Path) -> Path | None:
    """Where a topology is written, if the atoms are not the molecules of the one that was given.

    Raises
    ------
    InputError
        If one that is read is there.
    """
    if not system.written.relisted:
        return None
    path = output.with_suffix(".top")
    for given in (inputs.topology, inputs.cg_topology):
        if given is not None and path.exists() and path.samefile(given):
            raise InputError(
                "is read, and a topology of the atoms would be written here: give -o another name", path=path
            )
    return path


def _write_topology(system: System, inputs: Inputs, path: Path) -> None:
    """Write the topology of the atoms."""
    parts = flat_topology(system.written, defines=inputs.defines, include=inputs.include)
    with atomic_write(path) as part:
        part.write_text(topology_text(parts), errors="surrogateescape")
    log.log(
        NOTICE, "%s: the topology of the atoms that are written, other than %s", path, system.written.path
    )


def _check_part(inputs: Inputs, method: Method) -> None:
    """Refuse a part that would not be made as the others are."""
    memory = method.settings.memory_file
    if inputs.part is None or memory is None or str(memory) in shipped_memories() or memory.exists():
        return
    raise InputError("parts (--part) cannot make a memory: make it in a run of its own first", path=memory)


class Targets:
    """The files that frames are written to.

    Parameters
    ----------
    record
        Of the run, with the files in the making.
    system
        Beads and atoms.
    outputs, firsts
        Final files of all frames of each sample, and of the first; one may follow for a conformer.
    """

    def __init__(self, record: Record, system: System, outputs: Sequence[Path], firsts: Sequence[Path]):
        writers = [make_writer(part, system.written) for part in record.parts]
        one, two = len(outputs), len(outputs) + len(firsts)
        self.writers, self.firsts = writers[:one], writers[one:two]
        self.conformer = writers[two] if len(writers) > two else None
        self._system = system

    @property
    def lacks_conformer(self) -> bool:
        """Whether a conformer is wanted and none is written yet."""
        return self.conformer is not None and not self.conformer.frames

    def write(self, one: Rebuilt, states: Chirality) -> None:
        """Write atoms wherever they belong."""
        self.writers[one.sample].write(one.atoms)
        if self.firsts and not self.firsts[one.sample].frames:
            self.firsts[one.sample].write(one.atoms)
        if self.conformer is not None and self.lacks_conformer and _is_as(self._system, one.atoms, states):
            self.conformer.write(one.atoms)

    def end(self, last: Frame | None) -> None:
        """Write the last frame for a conformer if no other would do."""
        if self.conformer is not None and self.lacks_conformer and last is not None:
            path = self.conformer.part.path
            log.warning("%s: no frame has every stereocentre as it should be; this is the last one", path)
            self.conformer.write(last)


@dataclass(frozen=True, eq=False)
class Writing:
    """What a run that goes to files works with."""

    record: Record
    run: Run
    targets: Targets


def _write(writing: Writing, beads: BeadFrames, progress: Progress, begin: float) -> float:
    """Rebuild frames and write them, after those that an ended run has left; returns the wall time."""
    record, tally, ready = writing.record, writing.run.tally, writing.run.ready
    decided = digest_of(ready)
    last: Frame | None = None
    done, passed, frames = _pass_by(beads, record.kept, ready)
    before = 0.0
    ends = deque[Sequence[int]]([[0] * len(record.parts)], maxlen=record.job.samples + 1)

    def known(line: Line) -> None:
        nonlocal before
        if line.decided != decided:
            said = "was decided before the first frame, as for another number of frames (-e)"
            advice = "give the -e of before, another output (-o), or --restart to begin anew"
            raise InputError(f"an unfinished run in which something else {said}: {advice}", path=record.path)
        before = line.seconds
        ends.append(line.ends)
        tally.add_noted(line.said)
        progress.known()

    record.take_up(done, known)
    if done:
        log.info("%d frames are there already", done)
    after: list[Rebuilt] = []
    if passed is not None and ready.mapper.settings.follow:
        after = _made_before(writing, passed, list(ends))
    for one in writing.run(frames, begin=beads.offset + done, after=after):
        writing.targets.write(one, ready.assigned.states)
        last = one.atoms
        seconds = before + time.monotonic() - begin
        line = Line(one.beads.index, one.sample, one.beads.time, seconds, tally.noted(), decided=decided)
        record.add(line)
        progress.update()
    writing.targets.end(last)
    return before + time.monotonic() - begin


def _made_before(writing: Writing, beads: Frame, ends: Sequence[Sequence[int]]) -> list[Rebuilt]:
    """All samples of the last frame that is there already; nothing before it is read.

    Parameters
    ----------
    beads
        Of that frame.
    ends
        Bytes of each file before the frame, and with each sample of it.
    """
    system = writing.run.ready.mapper.system
    beads = with_whole_beads(system, beads)
    found = []
    for sample in range(writing.record.job.samples):
        path, start = writing.record.parts[sample].part, ends[sample][sample]
        atoms = read_frame_at(path, start, n_atoms=system.n_atoms)
        found.append(Rebuilt(beads, sample, atoms.positions))
    return found


def _pass_by(beads: BeadFrames, kept: int, ready: Ready) -> tuple[int, Frame | None, Iterator[Frame]]:
    """Leave out frames that are there already; some are always made, as the summary looks at the last one.

    Returns
    -------
    How many are left out, the last of these, and the others.
    """
    done, frames = ready.can_begin(kept), iter(beads)
    passed = deque(enumerate(islice(frames, done), 1), maxlen=ready.mapper.together + 1)
    _check_taken(kept, done, passed[-1][0] if passed else 0)
    following = list(islice(frames, 1))
    if done and not following:
        first = ready.can_begin(done - 1)
        following = [passed.pop()[1] for _ in range(done - first)][::-1]
        done = first
    return done, passed[-1][1] if passed else None, chain(following, frames)


def _check_taken(kept: int, needed: int, taken: int | None) -> None:
    """Refuse to go on with fewer frames than there are already: they would be lost."""
    if taken is not None and taken < needed:
        advice = "give a later -e, or none, another output (-o), or --restart to begin anew"
        raise InputError(f"{kept} frames are done, and only {taken} are taken: {advice}")


def _job(inputs: Inputs, method: Method, system: System) -> Job:
    """What the frames depend on."""
    settings = method.settings
    files = [*files_of_beads(inputs, system.written), *system.shipped]
    if settings.uses_network:
        from dbm_gmx.network.model import find_model  # tensors take a second to load

        files.append(find_model(method.model))
    if settings.uses_network and method.channels is not None:
        files.append(method.channels)
    memory = settings.memory_file
    makes = [] if memory is None or str(memory) in shipped_memories() else [memory]
    given = {key: value for key, value in plain(inputs).items() if key in ("begin", "end", "dt", "defines")}
    given |= {"part": None if inputs.part is None else "/".join(map(str, inputs.part))}
    given |= {"matching": plain(inputs.matching)} if inputs.matching != Matching() else {}
    given |= {"tacticity": None if inputs.tacticity is None else str(inputs.tacticity)}
    chosen = {"model": str(method.model) if settings.uses_network else None, "device": method.device}
    every = {**given, **asdict(settings), **asdict(method.conditions), **chosen}
    free = ("end",) if inputs.part is None else ()  # parts begin elsewhere where there are more frames
    return Job("backmap", files, plain(every), makes, settings.samples, free)


def _check_outputs(output: Path, first_frame: Path | None, samples: int) -> tuple[list[Path], list[Path]]:
    """Return the files of all samples and of their first frames, which must all be different."""
    check_suffix(output)
    outputs = sample_paths(output, samples)
    if first_frame is None:
        return outputs, []
    if first_frame.suffix != ".gro":
        raise InputError("the first frame (-c) is written as .gro only", path=first_frame)
    firsts = sample_paths(first_frame, samples)
    same = {path.resolve() for path in outputs} & {path.resolve() for path in firsts}
    if same:
        raise InputError("the same file for all frames (-o) and the first one (-c)", path=min(same))
    return outputs, firsts


def _check_conformer(path: Path | None, others: list[Path]) -> None:
    """Refuse a file for the conformer that is no ``.gro`` or has another use."""
    if path is None:
        return
    if path.suffix != ".gro":
        raise InputError("the conformer (-or) is written as .gro only", path=path)
    if path.resolve() in {other.resolve() for other in others}:
        raise InputError("the same file for the conformer (-or) and for frames (-o, -c)", path=path)


def _is_as(system: System, atoms: Frame, states: Chirality) -> bool:
    """Whether every stereo element of whole atoms is in its state."""
    return not any(len(rows) for rows in wrong_elements(system, atoms.positions, states, lattice_of(atoms)))


def sample_paths(path: Path, samples: int) -> list[Path]:
    """The path itself for a single sample, else ``name_1.xtc``, ``name_2.xtc`` and so on."""
    if samples == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{k}{path.suffix}") for k in range(1, samples + 1)]

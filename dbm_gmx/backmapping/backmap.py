"""The main job, from file to file: beads in, atoms out."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dbm_gmx.backmapping.backmapper import make_backmapper
from dbm_gmx.backmapping.chirality import check_tacticity
from dbm_gmx.backmapping.ready import make_ready
from dbm_gmx.backmapping.summary import Report, Tally, Told
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Chirality, wrong_elements
from dbm_gmx.chemistry.system import System
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import given_chirality, stereo_notes, with_usual
from dbm_gmx.files.system import BeadFrames, read_inputs
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.options import Inputs, Method

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
    output: Path,
    method: Method | None = None,
    *,
    first_frame: Path | None = None,
    conformer: Path | None = None,
    quiet: bool = True,
) -> Backmapped:
    """Rebuild the atoms of a coarse-grained trajectory.

    Frames are read, rebuilt and written a few at a time.  An existing output is backed up; if the
    input turns out to be damaged or the run is interrupted, the frames finished so far are kept.

    Parameters
    ----------
    inputs
        What is to be rebuilt.
    output
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``.  Of several samples each gets a file of its own:
        ``aa_1.xtc``, ``aa_2.xtc`` and so on for ``aa.xtc``.
    method
        How: settings, ensemble, model.
    first_frame
        A ``.gro`` of the first frame; of several samples as for ``output``.
    conformer
        A ``.gro`` of a frame in which every stereocentre is as in all others: a reference for the next run.
    quiet
        No progress bar; there is none either where standard error is no terminal.

    Raises
    ------
    InputError
        If any input cannot be used; nothing is written then.
    """
    method = method or Method()
    samples = method.settings.samples
    outputs, firsts = _check_outputs(output, first_frame, samples)
    _check_conformer(conformer, [*outputs, *firsts])
    system, beads = read_inputs(inputs)
    frames, total = iter(beads), beads.count()
    known = given_chirality(system, inputs.reference, conformers=system.conformers)
    chirality = with_usual(system, known)
    check_tacticity(system, inputs.tacticity)
    mapper = make_backmapper(system, method, chirality=chirality, frames=total)
    begin = time.monotonic()
    with ExitStack() as stack:
        writers = [stack.enter_context(open_writer(path, system.topology)) for path in outputs]
        singles = [stack.enter_context(open_writer(path, system.topology)) for path in firsts]
        kept = None if conformer is None else stack.enter_context(open_writer(conformer, system.topology))
        source = (inputs.trajectory or inputs.structure).name
        ready = make_ready(mapper, beads.early, tacticity=inputs.tacticity, frames=total, source=source)
        notes = (*stereo_notes(system, known), *ready.memory.notes)
        said = Told(notes, ready.assigned, method, ready.prepared, ready.remembered, ready.once)
        tally = Tally(system, chirality, said)
        last: Frame | None = None
        whole = None if total is None else total * samples
        bar = tqdm(total=whole, unit="frame", disable=True if quiet else None, bar_format=BAR)
        stack.enter_context(bar)
        for one in ready(frames):
            writers[one.sample].write(one.atoms)
            if singles and not singles[one.sample].frames:
                singles[one.sample].write(one.atoms)
            if kept is not None and not kept.frames and _is_as(system, one.atoms, ready.assigned.states):
                kept.write(one.atoms)
            last = one.atoms
            tally.add(one.atoms, one.beads, one.refinement)
            bar.update()
            done = sum(writer.frames for writer in writers)
            bar.set_postfix_str(f"{60 * done / (time.monotonic() - begin):.3g} frames/min")
        if kept is not None and not kept.frames and last is not None:
            log.warning(
                "%s: no frame has every stereocentre as it should be; this is the last one", conformer
            )
            kept.write(last)
    return Backmapped(system, beads, tuple(outputs), tally.report(seconds=time.monotonic() - begin))


def _check_outputs(output: Path, first_frame: Path | None, samples: int) -> tuple[list[Path], list[Path]]:
    """Return the files of all samples and of their first frames, which must all be different."""
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
    return not any(len(rows) for rows in wrong_elements(system, atoms.positions, states))


def sample_paths(path: Path, samples: int) -> list[Path]:
    """The path itself for a single sample, else ``name_1.xtc``, ``name_2.xtc`` and so on."""
    if samples == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{k}{path.suffix}") for k in range(1, samples + 1)]


BAR = "{n_fmt}/{total_fmt} frames |{bar}| {postfix} {elapsed}<{remaining}"

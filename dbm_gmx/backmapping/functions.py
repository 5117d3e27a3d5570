"""The jobs as functions: atoms of beads, and beads of atoms; of Universes or of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

import MDAnalysis as mda
import numpy as np
from MDAnalysis.analysis.results import Results

from dbm_gmx.backmapping.backmap import Backmapped
from dbm_gmx.backmapping.backmap import backmap as backmap_files
from dbm_gmx.backmapping.choices import Choices, MappingGiven, chosen
from dbm_gmx.backmapping.interface import (
    TRAJECTORIES,
    Backmapper,
    FramesMade,
    InMemory,
    OnDisk,
    warn_of,
)
from dbm_gmx.backmapping.quality import Qualities, energies_of, quality_of
from dbm_gmx.backmapping.summary import Noted
from dbm_gmx.backmapping.universe import (
    UNIVERSE,
    UniverseFrames,
    chosen_frames,
    files_of,
    group_of,
    topology_of,
    universe_of,
)
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import bead_topology, mapped_molecules
from dbm_gmx.chemistry.names import Named, check_names
from dbm_gmx.chemistry.system import map_frame
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.frame_times import count_taken
from dbm_gmx.files.output import check_not_read
from dbm_gmx.files.record import forget_run, read_lines
from dbm_gmx.files.system import mappings_to_beads, read_atoms
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.given import listed
from dbm_gmx.options import TACTICITIES, AtomInputs, Inputs, Method, Outputs
from dbm_gmx.parallel import using_threads
from dbm_gmx.plain import restored
from dbm_gmx.progress import Progress


def backmap(
    beads: mda.Universe | mda.AtomGroup | str | Path,
    trajectory: str | Path | None = None,
    *,
    topology: str | Path | None = None,
    mapping: MappingGiven = None,
    output: str | Path | None = None,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
    frames: Iterable[int] | None = None,
    begin: float | None = None,
    end: float | None = None,
    dt: float | None = None,
    verbose: bool = False,
    n_workers: int | None = None,
    **choices: Unpack[Choices],
) -> Results:
    """Put the atoms back, of a Universe or of files.

    Parameters
    ----------
    beads
        A coarse-grained Universe, or a group of it.  Or a structure file: ``.tpr``, or ``.gro`` or ``.pdb``
        with ``cg_topology``.  Then this is the command ``dbm-gmx backmap``, with the same bytes
        in its output, and the same call goes on with a run that was ended.
    trajectory
        File of the beads.
    topology, mapping, output, choices
        As for :class:`~dbm_gmx.backmapping.interface.Backmapper`.  Files need an output.
    start, stop, step, frames
        Frames of a Universe.
    begin, end, dt
        Frames of files, ps, as the options ``-b``, ``-e`` and ``-dt``.
    verbose, n_workers
        Show a bar; processors to use.

    Returns
    -------
    What :attr:`~dbm_gmx.backmapping.interface.Backmapper.results` holds.

    Raises
    ------
    InputError
        If any input cannot be used.
    """
    numbers, times = (start, stop, step, frames), (begin, end, dt)
    if not isinstance(beads, str | Path):
        if trajectory is not None or times != (None, None, None):
            raise InputError(
                "frames of a Universe are chosen by start, stop and step; files by begin, end, dt"
            )
        mapper = Backmapper(beads, topology, mapping, output=output, **choices)
        return mapper.run(*numbers, verbose=verbose, n_workers=n_workers).results
    if numbers != (None, None, None, None):
        raise InputError("frames of files are chosen by begin, end and dt; those of a Universe by numbers")
    made = chosen(topology, mapping, choices)
    files = made.molecules
    inputs = Inputs(
        Path(beads),
        None if trajectory is None else Path(trajectory),
        made.cg_topology,
        None if files.topology is None else Path(files.topology),
        _paths(files.mappings, "a mapping made in Python"),
        tuple(map(Path, files.owners)),
        _paths(listed(made.reference), "a reference that is a frame"),
        _tacticity(made.tacticity),
        *times,
        tuple(files.defines),
        tuple(map(Path, files.include)),
        aliases=files.matching.aliases,
        only=files.matching.only,
        leave_out=files.matching.leave_out,
    )
    if output is None or Path(output).suffix not in TRAJECTORIES:
        raise InputError(f"files need an output: {' or '.join(TRAJECTORIES)}; a Universe can do without")
    path = Path(output)
    check_not_read(path, files_of(inputs.structure, inputs.trajectory, *inputs.references))
    with using_threads(n_workers):
        done = backmap_files(inputs, Outputs(path, record_stays=True), made.method, quiet=not verbose)
    warn_of(done.report)
    return _results_of_files(done, made.method, path)


def _results_of_files(done: Backmapped, method: Method, path: Path) -> Results:
    """What is known of a run whose record stays, which is removed."""
    universe = universe_of(done.system.written)
    universe.load_new(str(path))
    lines, records = read_lines(path), []
    frames = FramesMade(universe, tuple(line.frame for line in lines))
    for line, atoms in zip(lines, frames, strict=True):
        found, energies = restored(Noted, line.said).report, energies_of(done.system, atoms, method)
        records.append(quality_of(atoms, found, energies, method))
    forget_run(path)
    return Results(
        universe=universe, quality=Qualities(records), frames=frames, report=done.report, output=path
    )


def _tacticity(given: Any) -> str | Path | None:
    """A name, or a file."""
    return given if given is None or given in TACTICITIES else _paths((given,), "a frame")[0]


def _paths(given: Sequence[Any], what: str) -> tuple[Path, ...]:
    """Names of files.

    Raises
    ------
    InputError
        Where there is something else.
    """
    if any(not isinstance(one, str | Path) or "{" in str(one) for one in given):
        raise InputError(f"{what} goes with a Universe: backmap(MDAnalysis.Universe(...), ...)")
    return tuple(map(Path, given))


def map_to_beads(
    atoms: mda.Universe | mda.AtomGroup | str | Path,
    trajectory: str | Path | None = None,
    *,
    mapping: MappingGiven = None,
    topology: str | Path | None = None,
    output: str | Path | None = None,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
    frames: Iterable[int] | None = None,
    verbose: bool = False,
) -> mda.Universe:
    """Map atoms to beads.

    Parameters
    ----------
    atoms
        An atomistic Universe, or a group of it that is of whole molecules; or a structure file.
    trajectory
        File of the atoms, where they are files.
    mapping
        As for :class:`~dbm_gmx.backmapping.interface.Backmapper`; of the molecules that ship if not given.
    topology
        Atomistic ``.top``; not needed where a ``.tpr`` says what the molecules are.
    output
        Write the beads here, ``.xtc`` or ``.trr``; in memory if not given.
    start, stop, step, frames
        Which frames, as in the analyses of MDAnalysis.
    verbose
        Show a bar.

    Returns
    -------
    The beads, molecules whole and each a residue, in the order of the topology.

    Raises
    ------
    InputError
        If any input cannot be used.
    """
    path = None if output is None else Path(output)
    if path is not None and path.suffix not in TRAJECTORIES:
        raise InputError(f"a Universe is read from {' or '.join(TRAJECTORIES)}", path=path)
    if path is not None:
        check_not_read(path, files_of(atoms, trajectory))
    what, source, total = _atoms(atoms, trajectory, topology, (start, stop, step, frames))
    matches = mapped_molecules(what, mappings_to_beads(what, listed(mapping)))
    beads = bead_topology(matches)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(total, quiet=not verbose, bar=True))
        kept: InMemory | OnDisk = InMemory(beads, np.empty((total, beads.n_atoms, 3), np.float32), [])
        if path is not None:
            kept = OnDisk(beads, path, stack.enter_context(open_writer(path, beads)))
        for frame in source:
            kept.add(map_frame(matches, frame))
            progress.update()
    return kept.universe()


def in_turn(frames: Iterable[Frame], numbers: Sequence[int]) -> Iterator[Frame]:
    """Frames by their numbers; only those are held that come again, or that come later than they are read."""
    last = {number: place for place, number in enumerate(numbers)}
    held: dict[int, Frame] = {}
    read = enumerate(frames)
    for place, number in enumerate(numbers):
        while number not in held:
            at, frame = next(read)
            if last.get(at, -1) >= place:
                held[at] = frame
        yield held[number]
        if last[number] == place:
            del held[number]


def _atoms(
    atoms: Any, trajectory: str | Path | None, topology: str | Path | None, numbers: tuple[Any, ...]
) -> tuple[Topology, Iterator[Frame], int]:
    """What the atoms are, their frames, and how many these are."""
    if isinstance(atoms, str | Path):
        file = None if trajectory is None else Path(trajectory)
        inputs = AtomInputs(Path(atoms), None if topology is None else Path(topology), file)
        what, read, total = read_atoms(inputs)
        if total is None and file is not None:
            total = count_taken(file, whatever_it_takes=True)
        wanted = chosen_frames(total or 0, *numbers)
        return what, in_turn(read, wanted), len(wanted)
    group = group_of(atoms)
    taken = chosen_frames(group.universe.trajectory.n_frames, *numbers)
    if topology is None:
        return topology_of(group), iter(UniverseFrames(group, taken)), len(taken)
    what = read_topology(Path(topology), counted=True)
    if what.n_atoms != len(group):
        raise InputError(f"{len(group)} atoms in the Universe, {what.n_atoms} in {topology}")
    if hasattr(group, "names"):
        check_names(what, Named([str(name) for name in group.names], UNIVERSE))
    return what, iter(UniverseFrames(group, taken)), len(taken)

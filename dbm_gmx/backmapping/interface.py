"""The interface in Python, in the manner of the analyses of MDAnalysis."""

from __future__ import annotations

import logging
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Unpack, overload

import MDAnalysis as mda
import numpy as np
from MDAnalysis.analysis.results import Results

from dbm_gmx.backmapping.choices import Choices, Chosen, MappingGiven, chosen
from dbm_gmx.backmapping.provenance import figures_of, findings_of
from dbm_gmx.backmapping.quality import Qualities, Quality, energies_of, quality_of
from dbm_gmx.backmapping.run import Run, Task, make_run, rebuilder_of
from dbm_gmx.backmapping.summary import Report
from dbm_gmx.backmapping.universe import (
    UniverseFrames,
    chosen_frames,
    files_of,
    group_of,
    in_memory,
    match_universe,
    source_of,
    universe_of,
)
from dbm_gmx.chemistry.array_types import Float32Array
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.chemistry.units import ANGSTROM
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import given_chirality
from dbm_gmx.files.output import check_not_read
from dbm_gmx.files.provenance import Provenance, Started, write_provenance
from dbm_gmx.files.trajectory import Writer, open_writer
from dbm_gmx.given import check_numbers, listed
from dbm_gmx.logs import NOTICE
from dbm_gmx.parallel import Workers, thread_count, using_threads
from dbm_gmx.plain import plain
from dbm_gmx.progress import Progress

log = logging.getLogger(__name__)

LARGE = 2**31
"""Bytes of positions above which frames go to a file and do not stay in memory."""

TRAJECTORIES = (".xtc", ".trr")
"""What a Universe is read from."""

THREADS, DASK = "threads", "dask"
"""Who rebuilds frames side by side."""


class Made(NamedTuple):
    """A frame that was rebuilt.

    Attributes
    ----------
    atoms
        Positions in nm, whole molecules.
    quality
        What is known of it.
    """

    atoms: Frame
    quality: Quality


class Backmapper:
    """Puts the atoms back into a coarse-grained Universe.

    Used as the analyses of MDAnalysis are: ``Backmapper(...).run(...).results``.

    Parameters
    ----------
    beads
        A Universe, or a group of it that is of whole molecules.
    topology
        Atomistic ``.top``.
    mapping
        Mapping file, folder, CGSmiles, or a dictionary (:mod:`~dbm_gmx.files.python_mapping`); several of
        these in a list.  Without topology and mapping the molecules are those that ship.
    output
        Write the atoms here, ``.xtc`` or ``.trr``; in memory if not given.
    choices
        All else, by name: see :class:`~dbm_gmx.backmapping.choices.Choices`.

    Attributes
    ----------
    results
        After :meth:`run`: ``universe``, the atoms with their frames; ``quality``, what is known of each frame
        (:class:`~dbm_gmx.backmapping.quality.Qualities`); ``frames``, which can be gone through again and
        again; ``report``, the summary (``print(results.report.text())``); ``output``, the file if there is
        one.
    """

    def __init__(
        self,
        beads: mda.Universe | mda.AtomGroup,
        topology: str | Path | None = None,
        mapping: MappingGiven = None,
        *,
        output: str | Path | None = None,
        **choices: Unpack[Choices],
    ):
        self.beads = group_of(beads)
        self.chosen: Chosen = chosen(topology, mapping, choices)
        self.output = None if output is None else Path(output)
        self.results = Results()
        if self.output is not None and self.output.suffix not in TRAJECTORIES:
            raise InputError(f"a Universe is read from {' or '.join(TRAJECTORIES)}", path=self.output)
        if self.output is not None and not self.output.parent.is_dir():
            raise InputError(f"there is no folder {self.output.parent}", path=self.output)
        if self.output is not None:
            check_not_read(self.output, files_of(self.beads, *listed(choices.get("reference"))))

    def __repr__(self) -> str:
        """What goes in, and how many frames there are."""
        done = len(self.results.frames) if "frames" in self.results else 0
        topology = self.chosen.molecules.topology or "the molecules that ship"
        return f"<Backmapper of {len(self.beads)} beads, {topology}; {done} frames in results>"

    @cached_property
    def system(self) -> System:
        """Beads and atoms, matched.

        Raises
        ------
        InputError
            If they do not go together.
        """
        return match_universe(self.beads, self.chosen.molecules, self.chosen.cg_topology)

    def run(
        self,
        start: int | None = None,
        stop: int | None = None,
        step: int | None = None,
        frames: Iterable[int] | Iterable[bool] | None = None,
        verbose: bool = False,
        n_workers: int | None = None,
        *,
        backend: str = THREADS,
    ) -> Backmapper:
        """Rebuild the atoms; the results do not depend on the number of workers.

        Parameters
        ----------
        start, stop, step
            A slice of the trajectory.
        frames
            Numbers of frames, or a truth value for each; in place of the slice.
        verbose
            Show a bar.
        n_workers
            Processors to use; all if not given.
        backend
            ``threads``; or ``dask``, processes of this machine, or the address of a scheduler, or its file;
            they need ``dbm-gmx[cluster]``.

        Raises
        ------
        InputError
            If any input cannot be used.
        """
        check_numbers({"n_workers": n_workers}, {"n_workers": 1})
        numbers = chosen_frames(self.beads.universe.trajectory.n_frames, start, stop, step, frames)
        begin, started, records = time.monotonic(), Started(), list[Quality]()
        with (
            using_threads(n_workers),
            _crew(backend, n_workers) as crew,
            Progress(quiet=not verbose, bar=True) as progress,
        ):
            run = self._begin(numbers, crew)
            progress.expect(len(numbers))
            with ExitStack() as stack:
                kept = self._place(len(numbers), stack)
                for made in self._made(run, numbers):
                    kept.add(made.atoms)
                    records.append(made.quality)
                    progress.update()
        report = run.tally.report(seconds=time.monotonic() - begin)
        warn_of(report)
        universe = kept.universe()
        self.results = Results(
            universe=universe,
            quality=Qualities(records),
            frames=FramesMade(universe, tuple(numbers)),
            report=report,
            output=self.output,
        )
        if self.output is not None:
            write_provenance([self.output], self._provenance(run, report, started))
        return self

    def iterate(
        self,
        start: int | None = None,
        stop: int | None = None,
        step: int | None = None,
        frames: Iterable[int] | Iterable[bool] | None = None,
        *,
        n_workers: int | None = None,
    ) -> Iterator[Made]:
        """Yield frames as they are made; none is kept.  Parameters are those of :meth:`run`."""
        check_numbers({"n_workers": n_workers}, {"n_workers": 1})
        numbers = chosen_frames(self.beads.universe.trajectory.n_frames, start, stop, step, frames)
        with using_threads(n_workers):
            run = self._begin(numbers, None)
        yield from self._made(run, numbers)
        warn_of(run.tally.report())

    def on_the_fly(self) -> mda.Universe:
        """A Universe of the atoms whose frames are made when they are looked at, each time anew.

        It has as many frames as the trajectory of beads.  They are those of :meth:`run` of all frames.
        Frames are neither checked for convergence nor judged.
        """
        from dbm_gmx.backmapping.on_the_fly import BlankReader

        universe = universe_of(self.system.written)
        total = self.beads.universe.trajectory.n_frames
        universe.load_new(
            np.zeros((1, 1, 3), np.float32), format=BlankReader, n_atoms=self.system.n_atoms, n_frames=total
        )
        universe.trajectory.add_transformations(self.transformation())
        return universe

    def transformation(self) -> Any:
        """A transformation for ``trajectory.add_transformations`` of a Universe of the atoms.

        It puts into each frame the atoms for the frame of beads of the same number.
        """
        from dbm_gmx.backmapping.on_the_fly import FromBeads

        numbers = range(self.beads.universe.trajectory.n_frames)
        run = self._begin(numbers, None, alone=True)
        return FromBeads(run.ready.mapper, UniverseFrames(self.beads, numbers, self.system.beads))

    def to_parmed(self, number: int = 0) -> Any:
        """A frame of the results, the first one is 0, as a ParmEd structure.

        See :func:`~dbm_gmx.files.parmed.to_parmed`.
        """
        from dbm_gmx.files.parmed import to_parmed

        return to_parmed(self.system.written, self._result(number))

    def to_ase(self, number: int = 0) -> Any:
        """A frame of the results as atoms of ASE, see :func:`~dbm_gmx.files.ase.to_ase`.

        Raises
        ------
        InputError
            If ASE is not installed.
        """
        with _extra("ase", "ase"):
            from dbm_gmx.files.ase import to_ase
        return to_ase(self.system.written, self._result(number))

    def to_openmm(self, number: int = 0, **options: Any) -> Any:
        """A simulation of OpenMM that begins with a frame of the results.

        Parameters
        ----------
        number
            Of the frame, the first one is 0.
        options
            ``step``, ``friction``, ``seed``, ``platform``: see :func:`~dbm_gmx.files.openmm.make_simulation`.

        Raises
        ------
        InputError
            If OpenMM is not installed, or has no like of an interaction.
        """
        with _extra("openmm", "openmm"):
            from dbm_gmx.files.openmm import make_simulation
        return make_simulation(
            self.system.written, self._result(number), self.chosen.method.conditions, **options
        )

    def _result(self, number: int) -> Frame:
        """A frame of the results.

        Raises
        ------
        InputError
            If there is none.
        """
        count = len(self.results.frames) if "frames" in self.results else 0
        if not -count <= number < count:
            said = f"they have {count}, counted from 0" if count else "run() comes first"
            raise InputError(f"there is no frame {number} in the results: {said}")
        frame: Frame = self.results.frames[number]
        return frame

    def _begin(self, numbers: Iterable[int], crew: Workers | None, *, alone: bool = False) -> Run:
        """Settle all that is open; ``alone`` where frames are then asked for one by one."""
        numbers = tuple(numbers)
        if not numbers:
            raise InputError("no frame is taken: see start, stop, step and frames")
        system, made = self.system, self.chosen
        if system.beads is None and system.n_beads != len(self.beads):
            raise InputError(f"{len(self.beads)} beads in the Universe, {system.n_beads} after the mappings")
        method = made.method
        if alone:
            method = replace(method, settings=replace(method.settings, check=False))
        known = given_chirality(system, made.reference, conformers=system.conformers)
        task = Task(system, method, known, made.tacticity, source_of(self.beads), crew)
        rebuilder = rebuilder_of(task, 1 if alone else len(numbers))
        frames = UniverseFrames(self.beads, numbers, system.beads)
        return make_run(task, rebuilder, frames.early, len(numbers))

    def _made(self, run: Run, numbers: Iterable[int]) -> Iterator[Made]:
        """Yield frames with what is known of them."""
        system, method = self.system, self.chosen.method
        for one in run(UniverseFrames(self.beads, tuple(numbers), system.beads)):
            energies = energies_of(system, one.atoms, method)
            yield Made(one.atoms, quality_of(one.atoms, run.tally.newest, energies, method))

    def _place(self, frames: int, stack: ExitStack) -> InMemory | OnDisk:
        """Where the atoms go: to a file if that is wanted, or if they are too many for memory."""
        topology, path, folder = self.system.written, self.output, None
        size = frames * topology.n_atoms * 12
        if path is None and size <= LARGE:
            return InMemory(topology, np.empty((frames, topology.n_atoms, 3), np.float32), [])
        if path is None:
            folder = tempfile.TemporaryDirectory(prefix="dbm-gmx-")
            path = Path(folder.name, "aa.trr")
            said = "%.1f GB of positions go to %s, as long as they are used (output= keeps them)"
            log.log(NOTICE, said, size / 1e9, path)
        writer = stack.enter_context(open_writer(path, topology))
        return OnDisk(topology, path, writer, folder)

    def _provenance(self, run: Run, report: Report, started: Started) -> Provenance:
        """How the output was made."""
        made, universe = self.chosen, self.beads.universe
        named = [universe.filename, source_of(self.beads), made.cg_topology, made.molecules.topology]
        named += [one for one in made.molecules.mappings if isinstance(one, str | Path)]
        files = [Path(one) for one in named if isinstance(one, str | Path)]
        settings = {"settings": plain(made.method.settings), "conditions": plain(made.method.conditions)}
        return Provenance(
            "Backmapper",
            [file for file in dict.fromkeys(files) if file.is_file()],
            settings,
            findings_of(run.ready),
            figures_of(report),
            report.text(),
            broken=report.broken,
            started=started,
        )


@contextmanager
def _extra(package: str, extra: str) -> Iterator[None]:
    """Say how a package is installed, if it is not."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"this needs {error.name or package}, which is not installed: pip install 'dbm-gmx[{extra}]'"
        ) from error


@contextmanager
def _crew(backend: str, n_workers: int | None) -> Iterator[Workers | None]:
    """Processes that frames are sent to; none for threads."""
    if backend == THREADS:
        yield None
        return
    if backend != DASK and "://" not in backend and not Path(backend).is_file():
        known = f"{THREADS}, {DASK}, tcp://HOST:PORT and files of schedulers"
        raise InputError(f"there is no backend {backend!r}; there are {known}")
    with _extra("dask", "cluster"):
        from dbm_gmx.cluster import open_crew
    with open_crew(None if backend == DASK else backend, n_workers or thread_count()) as crew:
        yield crew


def warn_of(report: Report) -> None:
    """Say what is not as it should be."""
    if words := report.judgement.words(report.limits.allowed):
        log.warning("%s", words)
    for note in report.notes:
        log.info("%s", note)
    if report.refinement.unsettled:
        log.warning("%s", report.refinement.settled())
    if not report.converged:
        log.warning("%s", report.convergence())
    if report.electrostatics is not None and report.electrostatics.is_large:
        log.warning("electrostatics: %s", report.electrostatics.text())


# --- where the atoms go ------------------------------------------------------------------------------


@dataclass(eq=False)
class InMemory:
    """Frames in memory.

    Attributes
    ----------
    topology
        What the atoms are.
    positions
        (frames, n, 3), angstrom.
    frames
        Those that are there, for their boxes and times.
    """

    topology: Topology
    positions: Float32Array
    frames: list[Frame]

    def add(self, atoms: Frame) -> None:
        """Keep a frame."""
        self.positions[len(self.frames)] = atoms.positions / ANGSTROM
        self.frames.append(replace(atoms, positions=atoms.positions[:0]))

    def universe(self) -> mda.Universe:
        """The atoms with their frames."""
        universe = universe_of(self.topology)
        in_memory(universe, self.positions, self.frames)
        return universe


@dataclass(eq=False)
class OnDisk:
    """Frames in a file.

    Attributes
    ----------
    topology
        What the atoms are.
    path
        The file.
    writer
        Open.
    folder
        Of the file, where it is to go with the Universe.
    """

    topology: Topology
    path: Path
    writer: Writer
    folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, atoms: Frame) -> None:
        """Write a frame."""
        self.writer.write(atoms)

    def universe(self) -> mda.Universe:
        """The atoms with their frames; the file must be complete."""
        universe = universe_of(self.topology)
        universe.load_new(str(self.path))
        if self.folder is not None:
            weakref.finalize(universe, self.folder.cleanup)
        return universe


@dataclass(frozen=True, eq=False)
class FramesMade:
    """The frames of a Universe of atoms: positions in nm, and the numbers they have among those of the beads.

    Attributes
    ----------
    universe
        The atoms.
    numbers
        In the trajectory of beads.
    """

    universe: mda.Universe
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, number: int) -> Frame: ...

    @overload
    def __getitem__(self, number: slice) -> list[Frame]: ...

    def __getitem__(self, number: int | slice) -> Frame | list[Frame]:
        """One of them, or several."""
        if isinstance(number, slice):
            return [self[k] for k in range(len(self))[number]]
        number = range(len(self))[number]
        (frame,) = UniverseFrames(self.universe.atoms, [number])
        return replace(frame, index=self.numbers[number])

    def __iter__(self) -> Iterator[Frame]:
        """Go through them from the first on."""
        frames = UniverseFrames(self.universe.atoms, range(len(self.numbers)))
        for number, frame in zip(self.numbers, frames, strict=True):
            yield replace(frame, index=number)

"""Systems from files: beads with their atoms and mappings, or atoms alone, and their frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.joined import join_topology
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import centre_mapping
from dbm_gmx.chemistry.solvate import Solvated, solvate
from dbm_gmx.chemistry.system import System, make_system
from dbm_gmx.chemistry.topology import Topology, has_elements
from dbm_gmx.chemistry.units_of_beads import parse_parts
from dbm_gmx.errors import InputError, OtherAtomsError, in_short
from dbm_gmx.files.beads import EARLY, Beads, read_beads, refuse_atoms
from dbm_gmx.files.frame_times import count_taken
from dbm_gmx.files.library import find_molecules, library_conformers, load_library
from dbm_gmx.files.mappings import Given, read_mappings
from dbm_gmx.files.shipped import with_shipped
from dbm_gmx.files.structure import compare_names, in_order, read_cg_system, read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import AtomInputs, Inputs, Matching, MoleculeFiles

log = logging.getLogger(__name__)


def read_system(
    structure: str | Path, molecules: MoleculeFiles | None = None, *, cg_topology: str | Path | None = None
) -> tuple[System, Frame]:
    """Read beads, atoms and mappings, and match them.

    Parameters
    ----------
    structure
        CG ``.tpr``, or ``.gro``/``.pdb`` with ``cg_topology``.
    molecules
        What says which atoms the beads stand for; the library of molecules if not given.

    Returns
    -------
    The system, and the beads' positions in ``structure``.

    Raises
    ------
    InputError
        If files cannot be read or do not go together.
    """
    files = molecules or MoleculeFiles()
    cg, frame = read_cg_system(
        structure,
        cg_topology,
        defines=files.defines,
        include=files.include,
        reorder=files.matching.reorder,
    )
    system = match_molecules(cg, files, frame)
    return system, with_beads_of(system, frame)


def match_molecules(cg: Topology, files: MoleculeFiles, frame: Frame | None = None) -> System:
    """Find the atoms and mappings of molecules of beads, in files or in the library, and match them.

    Parameters
    ----------
    cg, files
        Beads, and what says which atoms they stand for.
    frame
        Of the beads; needed to put solvent in.

    Raises
    ------
    InputError
        If files cannot be read or do not go together.
    """
    if files.matching.solvate and (files.topology is None or frame is None):
        raise InputError("--solvate needs a topology of the atoms (-p), with their water")
    if files.none_given and files.owners:
        raise InputError(
            "owners (--owners) are those of a mapping: give it (-m) and its topology (-p)",
            path=Path(files.owners[0]),
        )
    if files.none_given:
        atomistic, found = load_library(_wanted(cg, files.matching))
        system = make_system(atomistic, found, cg, files.matching)
        return replace(system, conformers=library_conformers(atomistic))
    atomistic, given = read_molecules(files)
    shipped = with_shipped(cg, atomistic, given, files.matching)
    mappings, matching = shipped.mappings, shipped.matching
    solvated = Solvated(cg, atomistic)
    if matching.solvate and frame is not None:
        solvated = solvate(cg, atomistic, mappings, matching, frame)
        matching = replace(matching, aliases=(*matching.aliases, *solvated.aliases))
    system = make_system(solvated.aa, mappings, solvated.cg, matching)
    return replace(system, shipped=shipped.paths, solvent=solvated.solvent)


def _wanted(cg: Topology, matching: Matching) -> Topology:
    """The molecules of beads that are looked up in the library, by the names of their atoms."""
    aliases = {name: parse_parts(text) for name, text in matching.aliases}
    kept = [
        (name, count)
        for name, count in cg.molecules
        if name not in matching.leave_out and (not matching.only or name in matching.only)
    ]
    parts = [(part, each * count) for name, count in kept for part, each in aliases.get(name, ((name, 1),))]
    return replace(cg, molecules=tuple(parts))


def read_molecules(files: MoleculeFiles) -> tuple[Topology, dict[str, BeadMapping]]:
    """Read the atomistic topology and the mappings by molecule type that are given.

    Raises
    ------
    InputError
        If there is no topology, or something cannot be read.
    """
    if files.topology is None:
        raise InputError(
            "a mapping without a topology (-p): give one, or neither to use the library of molecules"
        )
    atomistic = read_topology(files.topology, defines=files.defines, include=files.include, counted=True)
    try:
        return atomistic, read_mappings(files.mappings, atomistic, owners=files.owners)
    except InputError as error:
        if is_of_beads(atomistic):
            said = f"Give that of the atoms (-p); that of the beads is for -cp. As it is: {in_short(error)}"
            raise InputError(f"{OF_BEADS} {said}", path=files.topology) from error
        raise


OF_BEADS = "this is a topology of beads: none of its atoms is of an element."
"""Said where atoms are needed."""


def is_of_beads(topology: Topology) -> bool:
    """Whether none of the atoms is of an element."""
    return not any(has_elements(m) for m in topology.molecule_types.values())


@dataclass(frozen=True, eq=False)
class BeadFrames:
    """Frames of beads, read from the start each time they are gone through.

    Attributes
    ----------
    inputs
        The trajectory and the times that are taken of it.
    beads
        What the beads are; the frame of the structure is the only one where there is no trajectory.
    system
        What is rebuilt.
    first
        Beads of the system in the structure.
    block
        Numbers of the first frame and of the one after the last, where only some of those that are taken are
        gone through.
    """

    inputs: Inputs
    beads: Beads
    system: System
    first: Frame
    block: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Open the trajectory; a damaged start is an :class:`InputError` at once."""
        path, times = self.inputs.trajectory, self.inputs
        if path is None:
            return iter([self.first])
        frames = self._read(path, begin=times.begin, end=times.end, dt=times.dt)
        return frames if self.block is None else islice(frames, *self.block)

    def _read(self, path: Path, **times: float | None) -> Iterator[Frame]:
        """Frames of the trajectory, the beads of the system only."""
        cg = self.beads.topology
        try:
            opened = read_frames(path, n_atoms=cg.n_atoms, **times)
        except OtherAtomsError as error:
            if error.found == self.system.topology.n_atoms:
                said = f"{error.message}; these are the atoms, and -f is the trajectory of the beads"
                raise InputError(said, path=path) from error
            raise
        frames = self._as_periodic(opened, path)
        order = compare_names(cg, path, "beads", reorder=self.inputs.reorder)
        frames = in_order(in_order(frames, order), self.beads.rows)
        return (with_beads_of(self.system, frame) for frame in frames)

    def _as_periodic(self, frames: Iterator[Frame], path: Path) -> Iterator[Frame]:
        """The frames; refused if they have no box, and the structure has one."""
        for frame in frames:
            if frame.free and not self.first.free:
                raise InputError(
                    f"frame {frame.index} (t = {frame.time:g} ps): there is no box (all zero), but there is "
                    f"one in {self.inputs.structure}",
                    path=path,
                )
            if frame.free:
                _say_free(path)
            yield frame

    @property
    def offset(self) -> int:
        """Number of the first frame that is gone through."""
        return 0 if self.block is None else self.block[0]

    def early(self, count: int) -> list[Frame]:
        """Return some frames of the beginning, as far as it can be read, whatever times are taken.

        These are up to ``count`` frames evenly spaced among the first :data:`EARLY` of the trajectory.
        They are the same for all parts that a trajectory is converted in.

        Raises
        ------
        InputError
            If there is not a single one.
        """
        path = self.inputs.trajectory
        if path is None:
            return [self.first]
        total = min(EARLY, count_taken(path) or count)
        wanted = set(np.linspace(0, total - 1, count).round().astype(int).tolist())
        found: list[Frame] = []
        frames = islice(self._read(path), max(wanted) + 1)
        try:
            found.extend(frame for number, frame in enumerate(frames) if number in wanted)
        except InputError:
            if not found:
                raise
        return found

    def count(self) -> int | None:
        """Return how many are taken, of all parts, where that is known without reading them."""
        path, times = self.inputs.trajectory, self.inputs
        if path is None:
            return 1
        needed = times.part is not None
        return count_taken(path, begin=times.begin, end=times.end, dt=times.dt, whatever_it_takes=needed)

    def share(self, total: int | None, together: int) -> BeadFrames:
        """The frames of the part that the inputs ask for; all of them if they ask for none.

        Parameters
        ----------
        total
            How many there are in all parts.
        together
            Frames that belong to the same part.

        Raises
        ------
        InputError
            If there are more parts than frames.
        """
        if self.inputs.part is None:
            return self
        return replace(self, block=block_of(self.inputs.part, total or 0, together))


def block_of(part: tuple[int, int], total: int, together: int = 1) -> tuple[int, int]:
    """Numbers of the first frame of a part, and of the one after its last.

    Parts are blocks of frames, one after the other, as equal as can be.

    Parameters
    ----------
    part
        Its number, from 1, and how many there are.
    total
        Frames of all parts.
    together
        Frames that belong to the same part.

    Raises
    ------
    InputError
        If nothing is left for it.
    """
    number, count = part
    units = -(-total // together)
    first, last = ((k * units // count) * together for k in (number - 1, number))
    if units < count:
        among = f", of which {together} belong together" if together > 1 else ""
        raise InputError(f"{count} parts (--part) of {total} frames{among}: {units} parts at most")
    return first, min(last, total)


def read_inputs(inputs: Inputs) -> tuple[System, BeadFrames]:
    """Read the system; its trajectory is not opened yet."""
    beads = read_beads(inputs)
    try:
        system = match_molecules(beads.topology, inputs.molecules, beads.frame)
    except InputError as error:
        refuse_atoms(beads.topology, inputs, error)
        raise
    if inputs.trajectory is None and inputs.selects:
        raise InputError(NO_TRAJECTORY)
    if beads.frame.free and inputs.trajectory is None:
        _say_free(inputs.structure)
    return system, BeadFrames(inputs, beads, system, with_beads_of(system, beads.frame))


def with_beads_of(system: System, frame: Frame) -> Frame:
    """A frame of the whole coarse-grained system, with the beads of what is rebuilt only."""
    full = frame if system.solvent is None else system.solvent.added_to(frame)
    return full if system.beads is None else replace(full, positions=full.positions[system.beads])


@lru_cache(maxsize=8)
def _say_free(path: Path) -> None:
    """Say, once for a file that is read several times, that it has no box."""
    log.log(NOTICE, "%s: there is no box; nothing is periodic", path)


NO_TRAJECTORY = "times (-b, -e, -dt) select frames of a trajectory: give one (-f)"


def read_atoms(inputs: AtomInputs) -> tuple[Topology, Iterator[Frame], int | None]:
    """Read what the atoms are and open their trajectory.

    Returns
    -------
    The topology, the frames (of a part, if one is asked for), and how many there are where that is known.

    Raises
    ------
    InputError
        No topology or no frames, or files of different systems.
    """
    topology, first, order = _read_system(inputs)
    if inputs.trajectory is not None:
        times = {"begin": inputs.begin, "end": inputs.end, "dt": inputs.dt}
        frames = read_frames(inputs.trajectory, n_atoms=topology.n_atoms, **times)
        own = compare_names(topology, inputs.trajectory, reorder=inputs.reorder)
        named = inputs.trajectory.suffix in (".gro", ".pdb")
        frames = in_order(frames, own if named else order)
        total = count_taken(inputs.trajectory, **times, whatever_it_takes=inputs.part is not None)
        if inputs.part is None:
            return topology, frames, total
        block = block_of(inputs.part, total or 0)
        return topology, islice(frames, *block), block[1] - block[0]
    if first is None:
        raise InputError("no frames: give a trajectory (-f) or a structure (-s)")
    if inputs.selects:
        raise InputError(NO_TRAJECTORY)
    return topology, iter([first]), 1


def _read_system(inputs: AtomInputs) -> tuple[Topology, Frame | None, IntArray | None]:
    """Topology and, where there is a structure, its frame, and rows of its file in another order."""
    path, topology, first, order = inputs.structure, None, None, None
    if path is not None and path.suffix == ".tpr":
        topology, first = read_tpr(path)
    elif path is not None:
        first = read_structure(path)
    if inputs.topology is not None:
        topology = join_topology(
            read_topology(inputs.topology, defines=inputs.defines, include=inputs.include, counted=True)
        )
    if topology is None:
        raise InputError("nothing says what the atoms are: give a topology (-p) or a .tpr (-s)", path=path)
    if first is not None and len(first.positions) != topology.n_atoms:
        raise InputError(
            f"{len(first.positions)} atoms, but {topology.n_atoms} in {inputs.topology}", path=path
        )
    if path is not None and inputs.topology is not None:
        order = compare_names(topology, path, reorder=inputs.reorder)
    if first is not None and order is not None:
        first = replace(first, positions=first.positions[order])
    return topology, first, order


def mappings_to_beads(topology: Topology, given: Sequence[Given]) -> dict[str, BeadMapping]:
    """Mappings as :func:`mappings_of` has them; a molecule of one atom needs none and is its own bead.

    So beads made of atoms have the ions that atoms put back on these beads are to have.
    """
    found = mappings_of(topology, given)
    single = {n: m for n, m in topology.molecule_types.items() if m.n_atoms == 1 and n not in found}
    return (
        {**found, **{name: centre_mapping(moltype) for name, moltype in single.items()}} if found else found
    )


def mappings_of(topology: Topology, given: Sequence[Given]) -> dict[str, BeadMapping]:
    """Return the mappings by molecule type: those given, else those of the library of molecules."""
    if not given:
        given = tuple(find_molecules(name for name, _ in topology.molecules).values())
    return read_mappings(given, topology)

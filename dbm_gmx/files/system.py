"""Systems from files: beads with their atoms and mappings, or atoms alone, and their frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.joined import join_topology
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.system import System, make_system
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.library import find_molecules, library_conformers, load_library
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.structure import read_cg_system, read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.files.trajectory import count_frames, read_frames
from dbm_gmx.options import AtomInputs, Inputs, MoleculeFiles

EARLY = 100
"""Frames at the beginning of a trajectory that say something of all of it."""


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
    cg, frame = read_cg_system(structure, cg_topology)
    return match_molecules(cg, molecules or MoleculeFiles()), frame


def match_molecules(cg: Topology, files: MoleculeFiles) -> System:
    """Find the atoms and mappings of molecules of beads, in files or in the library, and match them.

    Raises
    ------
    InputError
        If files cannot be read or do not go together.
    """
    if files.none_given:
        atomistic, found = load_library(cg)
        return replace(make_system(atomistic, found, cg), conformers=library_conformers(atomistic))
    return make_system(*read_molecules(files), cg)


def read_molecules(files: MoleculeFiles) -> tuple[Topology, dict[str, BeadMapping]]:
    """Read the atomistic topology and the mappings by molecule type.

    Raises
    ------
    InputError
        If one of them is not given or cannot be read.
    """
    if files.topology is None or not files.mappings:
        missing, given = "topology (-p)", "mapping"
        if files.topology is not None:
            missing, given = "mapping (-m)", "topology"
        raise InputError(
            f"a {given} without a {missing}: give both, or neither to use the library of molecules"
        )
    atomistic = read_topology(files.topology, defines=files.defines, include=files.include)
    return atomistic, read_mappings(files.mappings, atomistic, owners=files.owners)


@dataclass(frozen=True, eq=False)
class BeadFrames:
    """Frames of beads, read from the start each time they are gone through.

    Attributes
    ----------
    inputs
        The trajectory and the times that are taken of it.
    n_beads
        The number of beads that is expected.
    first
        The frame of the structure: the only one where there is no trajectory.
    """

    inputs: Inputs
    n_beads: int
    first: Frame

    def __iter__(self) -> Iterator[Frame]:
        """Open the trajectory; a damaged start is an :class:`InputError` at once."""
        path, times = self.inputs.trajectory, self.inputs
        if path is None:
            return iter([self.first])
        return read_frames(path, n_atoms=self.n_beads, begin=times.begin, end=times.end, dt=times.dt)

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
        total = min(EARLY, count_frames(path) or count)
        wanted = set(np.linspace(0, total - 1, count).round().astype(int).tolist())
        found: list[Frame] = []
        frames = islice(read_frames(path, n_atoms=self.n_beads), max(wanted) + 1)
        try:
            found.extend(frame for number, frame in enumerate(frames) if number in wanted)
        except InputError:
            if not found:
                raise
        return found

    def count(self) -> int | None:
        """Return how many there are, where that is known without reading them."""
        if self.inputs.trajectory is None:
            return 1
        return None if self.inputs.selects else count_frames(self.inputs.trajectory)


def read_inputs(inputs: Inputs) -> tuple[System, BeadFrames]:
    """Read the system; its trajectory is not opened yet."""
    system, first = read_system(inputs.structure, inputs.molecules, cg_topology=inputs.cg_topology)
    if inputs.trajectory is None and inputs.selects:
        raise InputError(NO_TRAJECTORY)
    return system, BeadFrames(inputs, system.n_beads, first)


NO_TRAJECTORY = "times (-b, -e, -dt) select frames of a trajectory: give one (-f)"


def read_atoms(inputs: AtomInputs) -> tuple[Topology, Iterator[Frame], int | None]:
    """Read what the atoms are and open their trajectory.

    Returns
    -------
    The topology, the frames, and how many there are where that is known.

    Raises
    ------
    InputError
        No topology or no frames, or files of different systems.
    """
    topology, first = _read_system(inputs)
    if inputs.trajectory is not None:
        frames = read_frames(
            inputs.trajectory, n_atoms=topology.n_atoms, begin=inputs.begin, end=inputs.end, dt=inputs.dt
        )
        return topology, frames, None if inputs.selects else count_frames(inputs.trajectory)
    if first is None:
        raise InputError("no frames: give a trajectory (-f) or a structure (-s)")
    if inputs.selects:
        raise InputError(NO_TRAJECTORY)
    return topology, iter([first]), 1


def _read_system(inputs: AtomInputs) -> tuple[Topology, Frame | None]:
    """Topology and, where there is a structure, its frame."""
    path, topology, first = inputs.structure, None, None
    if path is not None and path.suffix == ".tpr":
        topology, first = read_tpr(path)
    elif path is not None:
        first = read_structure(path)
    if inputs.topology is not None:
        topology = join_topology(
            read_topology(inputs.topology, defines=inputs.defines, include=inputs.include)
        )
    if topology is None:
        raise InputError("nothing says what the atoms are: give a topology (-p) or a .tpr (-s)", path=path)
    if first is not None and len(first.positions) != topology.n_atoms:
        raise InputError(
            f"{len(first.positions)} atoms, but {topology.n_atoms} in {inputs.topology}", path=path
        )
    return topology, first


def mappings_of(topology: Topology, paths: tuple[Path, ...]) -> dict[str, BeadMapping]:
    """Return the mappings by molecule type: from files, else from the library of molecules."""
    if not paths:
        paths = tuple(find_molecules(name for name, _ in topology.molecules).values())
    return read_mappings(paths, topology)

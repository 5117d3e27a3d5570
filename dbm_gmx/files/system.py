"""Systems from files: beads with their atoms and mappings, or atoms alone, and their frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dbm_gmx.chemistry.frame import Frame
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
from dbm_gmx.options import AtomInputs, Inputs


def read_system(
    structure: str | Path,
    *,
    cg_topology: str | Path | None = None,
    topology: str | Path | None = None,
    mappings: Sequence[str | Path] = (),
    owners: Sequence[str | Path] = (),
    defines: Sequence[str] = (),
    include: Sequence[str | Path] = (),
) -> tuple[System, Frame]:
    """Read beads, atoms and mappings, and match them.

    Parameters
    ----------
    structure
        CG ``.tpr``, or ``.gro``/``.pdb`` with ``cg_topology``.
    topology, mappings
        Atomistic ``.top`` and mapping files; both from the library of molecules if neither is given.
    owners
        Owners files.
    defines, include
        For the preprocessor of the ``.top``, as in an ``.mdp`` (``-D`` names and folders).

    Returns
    -------
    The system, and the beads' positions in ``structure``.

    Raises
    ------
    InputError
        If files cannot be read or do not go together.
    """
    cg, frame = read_cg_system(structure, cg_topology)
    conformers: dict[str, Path] = {}
    if topology is None and not mappings:
        atomistic, found = load_library(cg)
        conformers = library_conformers(atomistic)
    elif topology is not None and mappings:
        atomistic = read_topology(topology, defines=defines, include=include)
        found = read_mappings(mappings, atomistic, owners=owners)
    else:
        missing, given = ("topology (-p)", "mapping") if topology is None else ("mapping (-m)", "topology")
        raise InputError(
            f"a {given} without a {missing}: give both, or neither to use the library of molecules"
        )
    return replace(make_system(atomistic, found, cg), conformers=conformers), frame


def read_inputs(inputs: Inputs) -> tuple[System, Iterator[Frame], int | None]:
    """Read the system and open its trajectory.

    Returns
    -------
    The system, its frames, and how many there are where that is known.
    """
    system, first = read_system(
        inputs.structure,
        cg_topology=inputs.cg_topology,
        topology=inputs.topology,
        mappings=inputs.mappings,
        owners=inputs.owners,
        defines=inputs.defines,
        include=inputs.include,
    )
    selected = (inputs.begin, inputs.end, inputs.dt) != (None, None, None)
    if inputs.trajectory is None:
        if selected:
            raise InputError("times (-b, -e, -dt) select frames of a trajectory: give one (-f)")
        return system, iter([first]), 1
    frames = read_frames(
        inputs.trajectory, n_atoms=system.n_beads, begin=inputs.begin, end=inputs.end, dt=inputs.dt
    )
    return system, frames, None if selected else count_frames(inputs.trajectory)


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
    selected = (inputs.begin, inputs.end, inputs.dt) != (None, None, None)
    if inputs.trajectory is not None:
        frames = read_frames(
            inputs.trajectory, n_atoms=topology.n_atoms, begin=inputs.begin, end=inputs.end, dt=inputs.dt
        )
        return topology, frames, None if selected else count_frames(inputs.trajectory)
    if first is None:
        raise InputError("no frames: give a trajectory (-f) or a structure (-s)")
    if selected:
        raise InputError("times (-b, -e, -dt) select frames of a trajectory: give one (-f)")
    return topology, iter([first]), 1


def _read_system(inputs: AtomInputs) -> tuple[Topology, Frame | None]:
    """Topology and, where there is a structure, its frame."""
    path, topology, first = inputs.structure, None, None
    if path is not None and path.suffix == ".tpr":
        topology, first = read_tpr(path)
    elif path is not None:
        first = read_structure(path)
    if inputs.topology is not None:
        topology = read_topology(inputs.topology, defines=inputs.defines, include=inputs.include)
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

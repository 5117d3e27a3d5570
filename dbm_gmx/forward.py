"""Forward mapping: atoms in, beads out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import networkx as nx
import numpy as np

from dbm_gmx.errors import InputError
from dbm_gmx.files.library import find_molecules
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.files.trajectory import count_frames, open_writer, read_frames
from dbm_gmx.frame import Float32Array, Frame, make_whole
from dbm_gmx.mapping import Mapping as BeadMapping
from dbm_gmx.mapping import Match, map_positions
from dbm_gmx.options import AtomInputs
from dbm_gmx.topology import MoleculeType, Topology, blocks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mapped:
    """What a forward mapping did.

    Attributes
    ----------
    frames, seconds
        How many, in which time.
    beads, atoms
        Of a frame.
    unmapped
        Molecule types without a mapping, left out.
    """

    frames: int
    seconds: float
    beads: int
    atoms: int
    unmapped: tuple[str, ...] = ()

    def text(self) -> str:
        """Say it to the user."""
        lines = [
            f"frames         {self.frames} in {self.seconds:.1f} s",
            f"beads          {self.beads} of {self.atoms} atoms",
        ]
        lines += [f"left out       {', '.join(self.unmapped)}: no mapping"] if self.unmapped else []
        return "\n".join(lines)


def map_trajectory(inputs: AtomInputs, output: Path, *, first_frame: Path | None = None) -> Mapped:
    """Map an atomistic trajectory to beads, with the weights of VOTCA.

    Parameters
    ----------
    inputs
        Atoms and mapping.
    output
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``: molecules in the order of the topology, whole, each a
        residue.
    first_frame
        A ``.gro`` of the first frame.

    Raises
    ------
    InputError
        If any input cannot be used.  Frames before a damaged one are kept.
    """
    if first_frame is not None and first_frame.suffix != ".gro":
        raise InputError("the first frame (-c) is written as .gro only", path=first_frame)
    if first_frame is not None and first_frame.resolve() == output.resolve():
        raise InputError("the same file for all frames (-o) and the first one (-c)", path=output)
    atoms, frames, _ = read_atoms(inputs)
    mappings = mappings_of(atoms, inputs.mappings)
    matches = mapped_molecules(atoms, mappings)
    beads = bead_topology(matches)
    begin = time.monotonic()
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(output, beads))
        single = stack.enter_context(open_writer(first_frame, beads)) if first_frame else None
        for frame in frames:
            mapped = replace(frame, positions=map_frame(matches, frame))
            writer.write(mapped)
            if single is not None and not single.frames:
                single.write(mapped)
    missing = tuple(name for name in dict.fromkeys(n for n, _ in atoms.molecules) if name not in mappings)
    return Mapped(writer.frames, time.monotonic() - begin, beads.n_atoms, atoms.n_atoms, missing)


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


def mapped_molecules(topology: Topology, mappings: Mapping[str, BeadMapping]) -> tuple[Match, ...]:
    """Return the runs of molecules that have a mapping, in the order of the topology.

    Raises
    ------
    InputError
        There is none.
    """
    found = []
    bead = 0
    for kind, atom, count in blocks(topology):
        if kind.name in mappings:
            found.append(Match(kind, mappings[kind.name], count, first_bead=bead, first_atom=atom))
            bead += count * len(mappings[kind.name].names)
    if not found:
        raise InputError("no molecule has a mapping", path=topology.path)
    return tuple(found)


def bead_topology(matches: tuple[Match, ...]) -> Topology:
    """Return the beads as a system: each molecule one residue, as VOTCA writes it."""
    kinds = {match.kind.name: _bead_molecule(match.mapping) for match in matches}
    molecules = tuple((kinds[match.kind.name].name, match.count) for match in matches)
    return Topology({kind.name: kind for kind in kinds.values()}, molecules)


def _bead_molecule(mapping: BeadMapping) -> MoleculeType:
    name = mapping.cg_molecule or mapping.molecule
    graph = nx.Graph()
    for i, (bead, kind) in enumerate(zip(mapping.names, mapping.types, strict=True)):
        graph.add_node(i, name=bead, type=kind, element="", mass=0.0, charge=0.0, resid=1, resname=name)
    return MoleculeType(name, 0, graph)


def map_frame(matches: tuple[Match, ...], frame: Frame) -> Float32Array:
    """Map a frame.

    Returns
    -------
    (m, 3) beads, nm, of molecules made whole about their first atom.
    """
    parts = []
    for match in matches:
        whole = make_whole(match.molecules(frame.positions), frame.box, match.kind.bonds)
        parts.append(map_positions(match.mapping, whole).reshape(-1, 3))
    return np.concatenate(parts).astype(np.float32)

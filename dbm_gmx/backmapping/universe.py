"""MDAnalysis Universes: their beads and atoms as the records of the package, and atoms as a Universe."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import MDAnalysis as mda
import networkx as nx
import numpy as np
from MDAnalysis.coordinates.memory import MemoryReader

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame, box_vectors, check_frame, dimensions, with_room
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.names import Named, check_names
from dbm_gmx.chemistry.system import System, make_system
from dbm_gmx.chemistry.topology import MoleculeType, Topology, each_molecule, molecule_counts, residue_numbers
from dbm_gmx.chemistry.units import ANGSTROM
from dbm_gmx.errors import InputError
from dbm_gmx.files.beads import EARLY
from dbm_gmx.files.shipped import with_shipped
from dbm_gmx.files.structure import read_cg_topology
from dbm_gmx.files.system import match_molecules, read_molecules
from dbm_gmx.given import listed
from dbm_gmx.options import MoleculeFiles

log = logging.getLogger(__name__)

UNIVERSE = "the Universe"
"""What it is called in messages."""

# --- frames of a Universe ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class UniverseFrames:
    """Frames of a group of atoms or beads, read anew each time they are gone through.

    Attributes
    ----------
    group
        Of a Universe.
    numbers
        The frames that are taken, in this order.
    rows
        (m,) of the group; all of them if ``None``.
    """

    group: mda.AtomGroup
    numbers: Sequence[int]
    rows: IntArray | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Go through the frames; the trajectory stands where it stood in the end."""
        return self._read(self.numbers)

    def _read(self, numbers: Sequence[int]) -> Iterator[Frame]:
        trajectory = self.group.universe.trajectory
        before = trajectory.frame
        try:
            for number in numbers:
                yield self.at(number)
        finally:
            trajectory[before]

    def only(self, number: int) -> list[Frame]:
        """One frame by its number in the trajectory."""
        return list(self._read([number]))

    def at(self, number: int) -> Frame:
        """A frame by its number in the trajectory.

        Raises
        ------
        InputError
            If its numbers cannot be used.
        """
        ts = self.group.universe.trajectory[number]
        sizes = np.zeros(6) if ts.dimensions is None else np.array(ts.dimensions, np.float64)
        sizes[:3] *= ANGSTROM
        positions = (self.group.positions * ANGSTROM).astype(np.float32)
        positions = positions if self.rows is None else positions[self.rows]
        # MDAnalysis warns of files of one frame, which have no steps of time
        time = ts.time if "time" in ts.data or self.group.universe.trajectory.n_frames > 1 else 0.0
        step = int(ts.data.get("step", 0))
        frame = with_room(Frame(positions, box_vectors(sizes), time=time, step=step, index=ts.frame))
        check_frame(frame)
        return frame

    def early(self, count: int) -> list[Frame]:
        """Up to so many frames, evenly spaced among the first :data:`~dbm_gmx.files.beads.EARLY`.

        These are of the whole trajectory, whichever frames are taken.
        """
        last = min(EARLY, self.group.universe.trajectory.n_frames) - 1
        return list(self._read(sorted(set(np.linspace(0, last, count).round().astype(int).tolist()))))


def chosen_frames(
    total: int,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
    frames: Any = None,
) -> list[int]:
    """Numbers of the frames that are taken, as in the analyses of MDAnalysis.

    Parameters
    ----------
    total
        How many there are.
    start, stop, step
        A slice of them.
    frames
        Numbers, or a truth value for each frame; in place of the slice.

    Raises
    ------
    InputError
        If both are given, or a number is none of a frame.
    """
    if frames is None:
        try:
            return list(range(total)[slice(start, stop, step)])
        except (TypeError, ValueError) as error:
            raise InputError(f"start, stop and step: {error}") from error
    if (start, stop, step) != (None, None, None):
        raise InputError("frames are given by start, stop and step, or by frames; not by both")
    asked = np.asarray(listed(frames))
    if asked.dtype == bool:
        if len(asked) != total:
            raise InputError(f"frames: {len(asked)} truth values for {total} frames")
        return [int(number) for number in np.flatnonzero(asked)]
    if asked.size and not np.issubdtype(asked.dtype, np.integer):
        raise InputError(f"frames: whole numbers are needed, found {asked.ravel()[0]!r}")
    wrong = [int(number) for number in asked if not -total <= number < total]
    if wrong:
        raise InputError(f"frames: there is no frame {wrong[0]}, only 0 to {total - 1}")
    return [int(number) % total for number in asked]


# --- what a Universe is of ---------------------------------------------------------------------------


def group_of(given: Any) -> mda.AtomGroup:
    """The atoms or beads of a Universe or a group of it, each once, in its order.

    Raises
    ------
    InputError
        It is something else, or has no positions.
    """
    if not isinstance(given, mda.Universe | mda.AtomGroup | mda.ResidueGroup | mda.SegmentGroup):
        files = "; from file to file: dbm_gmx.backmap(...)" if isinstance(given, str | Path) else ""
        raise InputError(f"a Universe or an AtomGroup of MDAnalysis is needed, found {given!r:.80}{files}")
    group = given.atoms.unique
    if not len(group):
        raise InputError("the group is empty")
    if not hasattr(group.universe, "trajectory") or not hasattr(group, "positions"):
        raise InputError("the Universe has no positions: load a trajectory")
    return group


def files_of(*given: Any) -> list[Path]:
    """Files that are given, or that Universes and their groups are read from."""
    found = list[Any]()
    for one in given:
        universe = getattr(one, "universe", None)
        found += [one] if universe is None else [universe.filename]
        read = getattr(universe, "trajectory", None)
        found += [getattr(read, "filename", None), *getattr(read, "filenames", ())]
    return [Path(one) for one in found if isinstance(one, str | Path)]


def source_of(group: mda.AtomGroup) -> Path | None:
    """File of the positions, where there is one."""
    name = group.universe.trajectory.filename
    return Path(name) if isinstance(name, str | Path) else None


def match_universe(
    beads: mda.AtomGroup, molecules: MoleculeFiles, cg_topology: str | Path | None = None
) -> System:
    """Match the beads of a Universe with their atoms.

    Parameters
    ----------
    beads
        Whole molecules.
    molecules
        Which atoms they stand for.
    cg_topology
        CG ``.top`` or ``.itp``, where the Universe does not know its molecules.

    Raises
    ------
    InputError
        If they do not go together.
    """
    if cg_topology is not None:
        cg = read_cg_topology(cg_topology, len(beads), defines=molecules.defines, include=molecules.include)
        _compare_names(cg, beads, Path(cg_topology).name)
        return match_molecules(cg, molecules)
    if molecules.none_given:
        return match_molecules(_topology_of_beads(beads, None, {}), molecules)
    atomistic, mappings = read_molecules(molecules)
    atomistic = _part_of(atomistic, beads)
    cg = _topology_of_beads(beads, atomistic, mappings)
    shipped = with_shipped(cg, atomistic, mappings, molecules.matching)
    return replace(make_system(atomistic, shipped.mappings, cg, shipped.matching), shipped=shipped.paths)


def _topology_of_beads(
    beads: mda.AtomGroup, atomistic: Topology | None, mappings: Mapping[str, BeadMapping]
) -> Topology:
    """Molecules of the beads: those of the Universe, else those of the atomistic topology in order."""
    if hasattr(beads, "moltypes"):
        return topology_of(beads, names_only=True)
    if atomistic is None:
        raise InputError(
            "the Universe knows no molecule types (read a .tpr, or give cg_topology): give topology and "
            "mapping"
        )
    moltypes = {name: _of_names(name, mapping.names) for name, mapping in mappings.items()}
    listed = tuple((name, count) for name, count in atomistic.molecules if name in moltypes)
    topology = Topology(moltypes, listed)
    if len(beads) != topology.n_atoms:
        raise InputError(
            f"{len(beads)} beads in the Universe, {topology.n_atoms} after the mappings and the molecules of "
            f"{atomistic.path}; give cg_topology, or read a .tpr, if the Universe has other molecules"
        )
    _compare_names(topology, beads, "the mapping")
    return topology


def _part_of(atomistic: Topology, beads: mda.AtomGroup) -> Topology:
    """The molecules of a group of beads, where the topology lists those of the whole Universe.

    Nothing is changed where names or numbers do not say which these are.
    """
    everything = beads.universe.atoms
    if len(beads) == len(everything) or not hasattr(everything, "moltypes") or atomistic.intermolecular:
        return atomistic
    numbers, first = np.unique(everything.molnums, return_index=True)
    names = [str(name) for name in np.asarray(everything.moltypes)[first]]
    if Counter(names) != Counter(molecule_counts(atomistic)):
        return atomistic
    taken: dict[str, list[bool]] = {name: [] for name in molecule_counts(atomistic)}
    for name, is_taken in zip(names, np.isin(numbers, beads.molnums).tolist(), strict=True):
        taken[name].append(is_taken)
    listed = []
    for name, count in atomistic.molecules:
        listed.append((name, sum(taken[name][:count])))
        del taken[name][:count]
    return replace(atomistic, molecules=tuple((n, c) for n, c in listed if c), relisted=True)


def _compare_names(topology: Topology, group: mda.AtomGroup, against: str) -> None:
    if hasattr(group, "names") and len(group) == topology.n_atoms:
        check_names(topology, Named([str(name) for name in group.names], UNIVERSE, what="beads"), against)


def _of_names(name: str, names: Sequence[str]) -> MoleculeType:
    graph = nx.Graph()
    graph.add_nodes_from((i, {"name": bead}) for i, bead in enumerate(names))
    return MoleculeType(name, 0, graph)


def topology_of(group: mda.AtomGroup, *, names_only: bool = False) -> Topology:
    """The molecules of a Universe that knows their types, as that of a ``.tpr``.

    Parameters
    ----------
    group
        Whole molecules.
    names_only
        No masses and bonds.

    Raises
    ------
    InputError
        If the Universe does not know them, or a molecule is not whole.
    """
    lacking = [key for key in ("moltypes", "molnums", "names") if not hasattr(group, key)]
    if lacking:
        raise InputError(f"the Universe has no {' and no '.join(lacking)}: read a .tpr, or give a topology")
    moltypes: dict[str, MoleculeType] = {}
    numbers, kinds = np.asarray(group.molnums), np.asarray(group.moltypes)
    sizes = np.bincount(group.universe.atoms.molnums)
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
    found = np.diff(starts, append=len(numbers))
    for cut in np.flatnonzero(found != sizes[numbers[starts]])[:1]:
        raise InputError(
            f"the group has {found[cut]} of the {sizes[numbers[starts[cut]]]} of a molecule "
            f"{kinds[starts[cut]]}: whole molecules are needed"
        )
    for start, count in zip(starts, found, strict=True):
        if (name := str(kinds[start])) not in moltypes:
            atoms = group[start : start + count]
            moltypes[name] = (
                _of_names(name, [str(n) for n in atoms.names]) if names_only else _of_atoms(name, atoms)
            )
    runs = groupby(kinds[starts].tolist())
    return Topology(moltypes, tuple((str(name), len(list(run))) for name, run in runs))


def _of_atoms(name: str, atoms: mda.AtomGroup) -> MoleculeType:
    """A molecule type with what a mapping asks for: names, residues, masses, elements, bonds."""
    graph = nx.Graph()
    elements = atoms.elements if hasattr(atoms, "elements") else [""] * len(atoms)
    masses = atoms.masses if hasattr(atoms, "masses") else np.ones(len(atoms))
    for i, atom in enumerate(atoms):
        node = {"name": str(atom.name), "resid": int(atom.resid), "resname": str(atom.resname)}
        node |= {"mass": float(masses[i]), "element": str(elements[i]), "type": str(atom.name), "charge": 0.0}
        graph.add_node(i, **node)
    if hasattr(atoms, "bonds"):
        place = {int(index): i for i, index in enumerate(atoms.indices)}
        pairs = atoms.bonds.atomgroup_intersection(atoms, strict=True).indices
        graph.add_edges_from(((place[int(i)], place[int(j)]) for i, j in pairs), kind="bond")
    return MoleculeType(name, 0, graph)


# --- atoms as a Universe -----------------------------------------------------------------------------


class TimedReader(MemoryReader):  # type: ignore[misc]
    """Frames in memory, each with its own time and step, which need not be evenly spaced.

    Parameters
    ----------
    positions
        (frames, n, 3), angstrom.
    times, steps
        (frames,) ps, and numbers of steps.
    """

    def __init__(
        self,
        positions: Float32Array,
        *,
        times: Sequence[float] = (),
        steps: Sequence[int] = (),
        **kwargs: Any,
    ):
        self._times, self._steps = tuple(times), tuple(steps)
        super().__init__(positions, **kwargs)
        self._kwargs |= {"times": times, "steps": steps}

    def _read_next_timestep(self, ts: Any = None) -> Any:
        ts = super()._read_next_timestep(ts)
        if self._times:
            ts.time, ts.data["step"] = self._times[ts.frame], self._steps[ts.frame]
        return ts


def in_memory(universe: mda.Universe, positions: Float32Array, frames: Sequence[Frame]) -> None:
    """Give a Universe its frames.

    Parameters
    ----------
    positions
        (frames, n, 3), angstrom.
    frames
        Whose boxes, times and steps are taken.
    """
    times = [frame.time for frame in frames]
    universe.load_new(
        positions,
        format=TimedReader,
        dimensions=np.stack([angstrom_dimensions(frame) for frame in frames]),
        dt=times[1] - times[0] if len(times) > 1 else 1.0,
        times=times,
        steps=[frame.step for frame in frames],
    )


def angstrom_dimensions(frame: Frame) -> FloatArray:
    """(6,) lengths in angstrom and angles in degrees; zeros where there is no box."""
    if frame.free:
        return np.zeros(6)
    sizes = dimensions(frame.box)
    sizes[:3] /= ANGSTROM
    return sizes


def universe_of(topology: Topology) -> mda.Universe:
    """A Universe without positions, with all that a topology says.

    Names, types, elements, masses, charges, residues with the numbers of GROMACS, molecules and bonds.
    """
    moltypes = [moltype for moltype, _ in each_molecule(topology)]
    owners = [number for number, moltype in enumerate(moltypes) for _ in range(moltype.n_atoms)]
    names = [name for moltype in moltypes for name in moltype.attribute("resname")]
    labels = zip(owners, residue_numbers(topology), names, strict=True)
    residues = [(label, len(list(atoms))) for label, atoms in groupby(labels)]
    molecules, resids, resnames = zip(*(label for label, _ in residues), strict=True)
    universe = mda.Universe.empty(
        topology.n_atoms,
        n_residues=len(residues),
        atom_resindex=np.repeat(range(len(residues)), [count for _, count in residues]),
        residue_segindex=[0] * len(residues),
    )
    for attribute, key in (("names", "name"), ("types", "type"), ("elements", "element"), ("masses", "mass")):
        universe.add_TopologyAttr(
            attribute, [value for moltype in moltypes for value in moltype.attribute(key)]
        )
    universe.add_TopologyAttr("charges", [value for moltype in moltypes for value in moltype.charges])
    universe.add_TopologyAttr("resids", resids)
    universe.add_TopologyAttr("resnames", resnames)
    universe.add_TopologyAttr("segids", ["SYSTEM"])
    universe.add_TopologyAttr("molnums", molecules)
    universe.add_TopologyAttr("moltypes", [moltypes[number].name for number in molecules])
    first = np.cumsum([0] + [moltype.n_atoms for moltype in moltypes])
    bonds = np.concatenate([moltype.bonds + start for moltype, start in zip(moltypes, first, strict=False)])
    universe.add_TopologyAttr("bonds", bonds)
    return universe

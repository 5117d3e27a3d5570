"""Frames of beads: what a trajectory holds of a coarse-grained system, and in which order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import Topology, blocks, has_elements
from dbm_gmx.errors import InputError, in_short
from dbm_gmx.files.index import read_index
from dbm_gmx.files.structure import compare_names, read_cg_system
from dbm_gmx.files.trajectory import count_atoms
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import Inputs

log = logging.getLogger(__name__)

EARLY = 100
"""Frames at the beginning of a trajectory that say something of all of it."""


@dataclass(frozen=True, eq=False)
class Beads:
    """Beads as the files give them.

    Attributes
    ----------
    topology, frame
        Those that are in every frame: of a trajectory with fewer beads than the structure only these.
    rows
        (n,) rows of the trajectory's frames, in the order of ``topology``; as they are if ``None``.
    """

    topology: Topology
    frame: Frame
    rows: IntArray | None = None


def read_beads(inputs: Inputs) -> Beads:
    """Read what the beads are, and which of them the trajectory holds.

    Raises
    ------
    InputError
        Files that cannot be read; a trajectory whose beads cannot be told; an index file that says nothing.
    """
    cg, frame = read_cg_system(
        inputs.structure,
        inputs.cg_topology,
        defines=inputs.defines,
        include=inputs.include,
        reorder=inputs.reorder,
    )
    path = inputs.trajectory
    if path is None:
        _refuse_index(inputs, "there is no trajectory (-f)")
        return Beads(cg, frame)
    order = None
    if inputs.cg_topology is not None and inputs.reorder and path.suffix not in (".gro", ".pdb"):
        order = compare_names(cg, inputs.structure, "beads", reorder=True)  # that of the structure
    found = count_atoms(path)
    if found >= cg.n_atoms:
        _refuse_index(inputs, f"{path} holds all beads of {inputs.structure}")
        return Beads(cg, frame, order)
    if order is not None:
        raise InputError(
            f"{found} beads of {cg.n_atoms} in {inputs.structure}, which has them in another order than its "
            "topology: give a structure in the order of the topology",
            path=path,
        )
    rows = _rows_of(inputs, cg, found)
    try:
        part, order = _part_of(cg, rows, path)
    except InputError as error:
        refuse_atoms(cg, inputs, error)
        raise
    return Beads(part, replace(frame, positions=frame.positions[rows[order]]), _or_none(order))


def refuse_atoms(cg: Topology, inputs: Inputs, error: InputError) -> None:
    """Say that beads are atoms, where this explains an error.

    Raises
    ------
    InputError
        If there are hydrogens among the beads.
    """
    if not any(has_elements(m, "H") for m in cg.molecule_types.values()):
        return
    option = "-s" if inputs.cg_topology is None else "-cp"
    raise InputError(
        f"this is a system of atoms, with hydrogens; {option} is that of the beads. Atoms to beads: "
        f"dbm-gmx map -s {inputs.structure} ... -o cg.gro. As it is: {in_short(error)}",
        path=inputs.cg_topology or inputs.structure,
    ) from error


def _refuse_index(inputs: Inputs, why: str) -> None:
    """Refuse an index file that says nothing."""
    if inputs.index is not None:
        raise InputError(
            f"{why}, and -n is for one with fewer beads; some molecules of all: --only, --leave-out",
            path=inputs.index,
        )


def _rows_of(inputs: Inputs, cg: Topology, found: int) -> IntArray:
    """(found,) beads of the system that a trajectory holds, in its order."""
    if inputs.index is None:
        log.log(
            NOTICE,
            "%s: %d of %d beads; these are taken to be the first (-n gives another group)",
            inputs.trajectory,
            found,
            cg.n_atoms,
        )
        return np.arange(found)
    groups = {name: rows for name, rows in read_index(inputs.index, cg.n_atoms).items() if len(rows) == found}
    different = {tuple(rows.tolist()): name for name, rows in reversed(groups.items())}
    if len(different) != 1:
        which = f"groups of {found} beads: {', '.join(groups)}" if groups else f"no group has {found} beads"
        raise InputError(f"{which}; {inputs.trajectory} holds {found} of each frame", path=inputs.index)
    ((_, name),) = different.items()
    log.log(NOTICE, "%s: the beads of group %s", inputs.trajectory, name)
    return groups[name]


def _part_of(cg: Topology, rows: IntArray, path: Path) -> tuple[Topology, IntArray]:
    """The system of some beads, which are whole molecules, and their order in it."""
    starts = np.concatenate([first + m.n_atoms * np.arange(count) for m, first, count in blocks(cg)])
    sizes = np.concatenate([np.full(count, m.n_atoms) for m, _, count in blocks(cg)])
    types = np.concatenate([np.full(count, k) for k, (_, _, count) in enumerate(blocks(cg))])
    names = [name for name, _ in cg.molecules]
    order = np.argsort(rows, kind="stable")
    inside = np.searchsorted(starts, rows[order], side="right") - 1
    molecules, found = np.unique(inside, return_counts=True)
    cut = np.flatnonzero(found != sizes[molecules])
    if cut.size or (np.diff(rows[order]) == 0).any():
        where = int(molecules[cut[0]]) if cut.size else int(molecules[0])
        raise InputError(
            f"holds a part of molecule {where + 1} ({names[types[where]]}): only whole molecules can be "
            "taken. Give the index file of its group (-n), or a .tpr of its beads (gmx convert-tpr -n)",
            path=path,
        )
    listed = tuple((names[types[k]], 1) for k in molecules.tolist())
    return replace(cg, molecules=listed), order


def _or_none(order: IntArray) -> IntArray | None:
    """Nothing where the order is that of the file."""
    return None if (order == np.arange(len(order))).all() else order

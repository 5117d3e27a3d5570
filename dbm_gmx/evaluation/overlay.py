"""Beads over the atoms that were made of them, as one scene: ``dbm-gmx view``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from dbm_gmx.chemistry.array_types import BoolArray, Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image, neighbour_pairs, whole_molecules
from dbm_gmx.chemistry.topology import Topology, blocks, chemical_bonds
from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.viewer import Beads, Scene
from dbm_gmx.files.residues import Residues, read_residues
from dbm_gmx.files.structure import compare_names, read_structure
from dbm_gmx.files.system import is_of_beads

MOST = 20_000
"""Atoms that are shown, at most: a page with more turns slowly."""

AROUND = 2.5
"""Of larger systems, what is within this distance of a place is shown, nm."""

REACH = 0.6
"""A bead belongs to atoms within this distance, nm."""

LONG = 1.0
"""A bond as long as this goes to another image, nm."""

LONGEST, LONGEST_OF_HYDROGEN = 0.19, 0.125
"""Bonds where there is no topology: atoms nearer than this, nm."""


@dataclass(frozen=True)
class ViewInputs:
    """What is shown.

    Attributes
    ----------
    atoms, beads
        Structures (.gro or .pdb); perhaps no beads.
    topology
        Of the atoms: bonds, elements and whole molecules; without it they follow from names and distances.
    around
        Number of an atom: only what is near it is shown.
    within
        How near, nm.
    """

    atoms: Path
    beads: Path | None = None
    topology: Topology | None = None
    around: int | None = None
    within: float = AROUND


def overlay(inputs: ViewInputs) -> tuple[Scene, list[str]]:
    """Lay the beads over the atoms, each at the periodic image that is next to its atoms.

    Returns
    -------
    The scene, and what the reader should know.

    Raises
    ------
    InputError
        If a file cannot be read, or they are not of the same system.
    """
    frame, residues = read_structure(inputs.atoms), read_residues(inputs.atoms)
    topology = inputs.topology
    if topology is not None:
        try:
            compare_names(topology, inputs.atoms)
        except InputError as error:
            hint = "; -p is a topology of beads, and takes that of the atoms" if is_of_beads(topology) else ""
            raise InputError(f"{error.message}{hint}", path=error.path) from error
        frame = whole_molecules(topology, frame)
    frame, shown, notes = _chosen(inputs, frame, residues)
    rows = np.flatnonzero(shown)
    elements = residues.elements if topology is None else _elements(topology)
    beads = None
    if inputs.beads is not None:
        beads, said = _placed(inputs, frame, residues, shown)
        notes += said
    points = frame.positions[rows]
    if topology is None:
        bonds = _near_bonds(points, [elements[i] for i in rows])
        notes.append("Bonds are drawn where atoms are near each other; with a topology (-p) they are its.")
    else:
        bonds = _rows_among(_bonds(topology), shown)
        if len(rows) < len(shown):  # those cut by the images that are shown
            bonds = bonds[np.linalg.norm(points[bonds[:, 0]] - points[bonds[:, 1]], axis=1) < LONG]
    labels = [f"{residues.label(i)} {i + 1}" for i in rows.tolist()]
    scene = Scene(inputs.atoms.name, [elements[i] for i in rows], labels, points, bonds, beads=beads)
    whole = len(rows) == len(shown) and frame.box.any()
    marked = () if inputs.around is None else (int(np.searchsorted(rows, inputs.around - 1)),)
    return replace(scene, box=frame.box if whole else None, focus=marked), notes


def _chosen(inputs: ViewInputs, frame: Frame, residues: Residues) -> tuple[Frame, BoolArray, list[str]]:
    """(n,) which atoms are shown: whole residues around a place, all next to it, or the frame as it is."""
    n, positions = len(frame.positions), frame.positions
    if inputs.around is None and n <= MOST:
        return frame, np.ones(n, np.bool_), []
    if inputs.around is not None and not 1 <= inputs.around <= n:
        raise InputError(f"has atoms 1 to {n}, no atom {inputs.around} (--around)", path=inputs.atoms)
    middle = frame.box.sum(axis=0) / 2 if frame.box.any() else positions.mean(axis=0)
    row = inputs.around - 1 if inputs.around is not None else _nearest(positions, middle)
    apart = (positions - positions[row]).astype(np.float64)
    apart = minimum_image(apart, frame.box) if frame.box.any() else apart
    near = (apart * apart).sum(axis=1) < inputs.within**2
    shown = np.isin(residues.rows, np.unique(residues.rows[near]))
    where = f"{inputs.within:g} nm of {residues.label(row)} {row + 1}"
    frame = replace(frame, positions=(positions[row] + apart).astype(np.float32))
    return frame, shown, [f"Shown are the {int(shown.sum())} of {n} atoms that are within {where}."]


def _nearest(positions: Float32Array, point: FloatArray) -> int:
    return int(np.argmin(((positions - point) ** 2).sum(axis=1)))


def _placed(
    inputs: ViewInputs, frame: Frame, residues: Residues, shown: BoolArray
) -> tuple[Beads, list[str]]:
    """Beads next to the atoms that are shown."""
    path = inputs.beads
    assert path is not None
    beads, of_beads = read_structure(path), read_residues(path)
    rows = np.flatnonzero(shown)
    pairs = neighbour_pairs(beads.positions, frame.positions[rows], frame.box, REACH)
    if of_beads.count == residues.count:  # a bead belongs to its own residue
        own = of_beads.rows[pairs.i] == residues.rows[rows][pairs.j]
        pairs = pairs.select(own) if own.any() else pairs
    if not len(pairs.i):
        raise InputError(
            f"no bead is within {REACH:g} nm of an atom of {inputs.atoms.name}: are they of the same frame?",
            path=path,
        )
    order = np.lexsort((pairs.distances, pairs.i))
    first = order[np.unique(pairs.i[order], return_index=True)[1]]
    found = pairs.select(first)
    points = beads.positions[found.i] - found.shift()
    kept = found.i.tolist()
    lost = len(beads.positions) - len(kept)
    farthest = int(np.argmax(found.distances))
    notes = [
        f"The bead farthest from its nearest atom is {of_beads.label(kept[farthest])} {kept[farthest] + 1}: "
        f"{found.distances[farthest]:.3f} nm."
    ]
    if lost and shown.all():
        total = len(beads.positions)
        doubt = " Perhaps atoms and beads are of different frames." if 3 * lost > total else ""
        notes.append(
            f"{lost} of {total} beads have no atom of theirs within {REACH:g} nm and are left out.{doubt}"
        )
    if len(beads.positions) > len(frame.positions):
        notes.append("There are more beads than atoms. The file of the atoms stands first, beads are --cg.")
    labels = [f"{of_beads.label(i)} {i + 1} (bead)" for i in kept]
    return Beads([of_beads.names[i] for i in kept], labels, points.astype(np.float32)), notes


def _near_bonds(points: Float32Array, elements: list[str]) -> IntArray:
    """(b, 2) atoms that are near each other."""
    pairs = cKDTree(points).query_pairs(LONGEST, output_type="ndarray")
    is_hydrogen = np.array([element == "H" for element in elements])
    hydrogens = is_hydrogen[pairs].sum(axis=1)
    apart = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    kept = (hydrogens == 0) | ((hydrogens == 1) & (apart < LONGEST_OF_HYDROGEN))
    return np.asarray(pairs[kept], np.int64)


def _bonds(topology: Topology) -> IntArray:
    """(b, 2) bonds of all molecules."""
    found = [np.zeros((0, 2), np.int64)]
    for moltype, first, count in blocks(topology):
        starts = first + moltype.n_atoms * np.arange(count)
        found.append((chemical_bonds(moltype)[None] + starts[:, None, None]).reshape(-1, 2))
    return np.concatenate(found)


def _rows_among(bonds: IntArray, shown: BoolArray) -> IntArray:
    """Bonds between atoms that are shown, as rows of these."""
    row = np.cumsum(shown) - 1
    return np.asarray(row[bonds[shown[bonds].all(axis=1)]], np.int64)


def _elements(topology: Topology) -> list[str]:
    return [e for moltype, _, count in blocks(topology) for e in moltype.elements * count]

"""Non-bonded pairs of a frame: their energies and distributions.

All of it comes from one list of pairs, with the exclusions of the topology (Fig 4 of the paper).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
import torch

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.atom_classes import class_names
from dbm_gmx.chemistry.frame import Frame, box_volume
from dbm_gmx.chemistry.periodic import close_pairs_in_parts, reduced_cell
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import (
    Topology,
    atom_charges,
    blocks,
    heavy_atoms,
    is_excluded,
)
from dbm_gmx.forcefield.energy import coulomb_energy, own_field_energy, pair_energies
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.options import Conditions

REACH = 1.0
"""Largest distance of pair distributions, nm."""

BINS = 100
"""Bins of pair distributions, from 0 to :data:`REACH`."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """What all atoms of a system are, as pairs need it.

    Attributes
    ----------
    molecule
        (n,) number of its molecule.
    heavy
        (n,) whether no hydrogen and no virtual site.
    classes, solid
        Names of the classes of atoms, and which of them are heavy.
    row
        (n,) row of each atom among them.
    name
        Of the heavy ones: ``carbon`` where there are no others, else ``heavy``.
    """

    molecule: IntArray
    heavy: np.ndarray
    classes: tuple[str, ...]
    solid: np.ndarray
    row: IntArray
    name: str


@lru_cache(maxsize=8)
def atoms_of(topology: Topology) -> Atoms:
    """What the atoms of a topology are."""
    molecule, heavy, names, elements, before = [], [], [], set(), 0
    for moltype, _, count in blocks(topology):
        solid = heavy_atoms(moltype)
        elements |= {e for e, is_solid in zip(moltype.elements, solid, strict=True) if is_solid}
        molecule.append(before + np.arange(count).repeat(moltype.n_atoms))
        heavy.append(np.tile(solid, count))
        names += class_names(moltype) * count
        before += count
    classes, first, row = np.unique(names, return_index=True, return_inverse=True)
    name = "carbon" if elements == {"C"} else "heavy"
    every = np.concatenate(heavy)
    return Atoms(np.concatenate(molecule), every, tuple(map(str, classes)), every[first], row, name)


@dataclass(frozen=True, eq=False)
class Pairs:
    """What there is to say about the pairs of a frame.

    Attributes
    ----------
    lennard_jones
        (molecules,) kJ/mol, half of each pair to either molecule: of ``all`` atoms and of the heavy ones.
    distributions
        (:data:`BINS`,) g(r) of the heavy atoms, and of each pair of classes that occurs.
    energies
        ``LJ (SR)`` and ``Coulomb (SR)`` of the frame, kJ/mol; cut off, not shifted.
    """

    lennard_jones: dict[str, FloatArray]
    distributions: dict[str, FloatArray]
    energies: dict[str, float]


def measure_pairs(system: System, frame: Frame, conditions: Conditions) -> Pairs:
    """Measure all pairs of a frame.

    Raises
    ------
    InputError
        If a cut-off exceeds half of the shortest lattice vector, or the topology has no parameters.
    """
    topology, atoms = system.topology, atoms_of(system.topology)
    half = float(np.linalg.norm(reduced_cell(frame.box), axis=1).min()) / 2
    reach = max(conditions.rvdw, conditions.rcoulomb, min(REACH, half * (1 - 1e-9)))
    parts = [_part(topology, conditions, *pairs) for pairs in close_pairs_in_parts(frame, reach)]
    molecular, counts, energy = (sum(arrays[1:], arrays[0]) for arrays in zip(*parts, strict=True))
    energies = {"LJ (SR)": float(energy[0])}
    if atom_charges(topology).any():
        energies["Coulomb (SR)"] = float(energy[1] + own_field_energy(topology, long_range(conditions)))
    names = ("all", atoms.name)
    return Pairs(
        dict(zip(names, molecular, strict=True)),
        _distributions(atoms, counts, box_volume(frame.box)),
        energies,
    )


def _part(
    topology: Topology, conditions: Conditions, close: IntArray, lengths: FloatArray
) -> tuple[FloatArray, IntArray, FloatArray]:
    """What some pairs add.

    Returns
    -------
    (2, molecules) Lennard-Jones energies of all and of heavy atoms, (classes, classes, bins + 1) distances
    counted, and the (2,) Lennard-Jones and Coulomb energy, kJ/mol.
    """
    atoms = atoms_of(topology)
    excluded = is_excluded(topology, close)
    pairs, distances = close[~excluded], lengths[~excluded]
    near = distances < conditions.rvdw
    energy = pair_energies(topology, pairs[near], torch.from_numpy(distances[near])).numpy()
    charged = coulomb_energy(topology, close, lengths, excluded, long_range(conditions))
    return (
        _per_molecule(atoms, pairs[near], energy),
        _counts(atoms, pairs, distances),
        np.array([energy.sum(), float(charged)]),
    )


def _per_molecule(atoms: Atoms, pairs: IntArray, energy: FloatArray) -> FloatArray:
    molecules = int(atoms.molecule.max()) + 1
    heavy = atoms.heavy[pairs].all(axis=1)
    halves = (np.where(some, energy, 0).repeat(2) / 2 for some in (True, heavy))
    owners = atoms.molecule[pairs].ravel()
    return np.array([np.bincount(owners, half, molecules) for half in halves])


def _counts(atoms: Atoms, pairs: IntArray, distances: FloatArray) -> IntArray:
    """(classes, classes, bins + 1) pairs of classes by distance; the last bin holds what is too far."""
    n = len(atoms.classes)
    bins = np.minimum((distances / REACH * BINS).astype(np.int64), BINS)
    rows = np.sort(atoms.row[pairs], axis=1) @ [n, 1]
    counts = np.bincount(rows * (BINS + 1) + bins, minlength=n * n * (BINS + 1))
    return np.asarray(counts.reshape(n, n, BINS + 1), np.int64)


def _distributions(atoms: Atoms, counts: IntArray, volume: float) -> dict[str, FloatArray]:
    """g(r) of the heavy atoms and of all pairs of classes."""
    grid = np.linspace(0, REACH, BINS + 1)
    shells = 4 / 3 * np.pi * np.diff(grid**3) / volume
    counts = counts[..., :BINS]
    heavy = counts[np.ix_(atoms.solid, atoms.solid)].sum(axis=(0, 1))
    found: dict[str, FloatArray] = {atoms.name: heavy / (shells * atoms.heavy.sum() ** 2 / 2)}
    members = np.bincount(atoms.row)
    for i, j in combinations_with_replacement(range(len(members)), 2):
        number = members[i] * members[j] / (1 + (i == j))
        found[f"{atoms.classes[i]}-{atoms.classes[j]}"] = counts[i, j] / (shells * number)
    return found


def centres() -> FloatArray:
    """(BINS,) distances that g(r) is given at, nm."""
    return (np.arange(BINS) + 0.5) * REACH / BINS


def pair_names(topology: Topology, most: int) -> Iterator[str]:
    """Names of g(r), the heavy atoms first, then pairs of the most frequent classes, at most so many."""
    atoms = atoms_of(topology)
    yield atoms.name
    members = np.bincount(atoms.row)
    pairs = list(combinations_with_replacement(range(len(members)), 2))
    pairs.sort(key=lambda p: -members[p[0]] * members[p[1]])
    for i, j in pairs[:most]:
        yield f"{atoms.classes[i]}-{atoms.classes[j]}"

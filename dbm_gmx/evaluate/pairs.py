"""What a frame's atoms that are not bonded have to do with each other: energies, pair distributions.

All of it comes from one list of pairs, with the exclusions of the topology (Fig 4 of the paper).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
import torch

from dbm_gmx.channels import atom_classes
from dbm_gmx.energy import atom_charges, close_pairs, coulomb_energy, is_excluded, pair_energies
from dbm_gmx.errors import InputError
from dbm_gmx.frame import Frame, box_volume, reduced_cell
from dbm_gmx.options import Conditions
from dbm_gmx.system import System
from dbm_gmx.topology import FloatArray, IntArray, MoleculeType, Topology, blocks

REACH = 1.0
"""Largest distance of pair distributions, nm."""

BINS = 100
"""Bins of pair distributions, from 0 to :data:`REACH`."""

CLOSEST = 0.02
"""Atoms nearer than this count as this far apart, nm, so that energies stay numbers."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """What all atoms of a system are, as pairs need it.

    Attributes
    ----------
    molecule
        (n,) number of its molecule.
    heavy
        (n,) whether no hydrogen and no virtual site.
    classes
        Names of the classes of atoms.
    row
        (n,) row of each atom among them.
    name
        Of the heavy ones: ``carbon`` where there are no others, else ``heavy``.
    """

    molecule: IntArray
    heavy: np.ndarray
    classes: tuple[str, ...]
    row: IntArray
    name: str


@lru_cache(maxsize=8)
def atoms_of(topology: Topology) -> Atoms:
    """What the atoms of a topology are."""
    molecule, heavy, names, elements, before = [], [], [], set(), 0
    for kind, _, count in blocks(topology):
        real = kind.masses > 0
        solid = np.array([e != "H" for e in kind.elements]) & real
        elements |= {e for e, is_solid in zip(kind.elements, solid, strict=True) if is_solid}
        molecule.append(before + np.arange(count).repeat(kind.n_atoms))
        heavy.append(np.tile(solid, count))
        names += class_names(kind) * count
        before += count
    classes, row = np.unique(names, return_inverse=True)
    name = "carbon" if elements == {"C"} else "heavy"
    return Atoms(np.concatenate(molecule), np.concatenate(heavy), tuple(map(str, classes)), row, name)


def class_names(kind: MoleculeType) -> list[str]:
    """Classes of the atoms from the molecular graph, or their types where elements are unknown."""
    try:
        return list(atom_classes(kind))
    except InputError:
        return [str(t) for t in kind.attribute("type")]


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
    close, lengths = close_pairs(frame, reach)
    excluded = is_excluded(topology, close)
    pairs, distances = close[~excluded], lengths[~excluded]
    within = distances < conditions.rvdw
    energy = pair_energies(topology, pairs[within], torch.from_numpy(distances[within].clip(CLOSEST))).numpy()
    charged = coulomb_energy(
        topology,
        close,
        lengths.clip(CLOSEST),
        excluded,
        cutoff=conditions.rcoulomb,
        epsilon_r=conditions.epsilon_r,
        epsilon_rf=conditions.epsilon_rf,
    )
    return Pairs(
        _per_molecule(atoms, pairs[within], energy),
        _distributions(atoms, pairs, distances, box_volume(frame.box)),
        {"LJ (SR)": float(energy.sum())}
        | ({"Coulomb (SR)": float(charged)} if atom_charges(topology).any() else {}),
    )


def _per_molecule(atoms: Atoms, pairs: IntArray, energy: FloatArray) -> dict[str, FloatArray]:
    molecules = int(atoms.molecule.max()) + 1
    heavy = atoms.heavy[pairs].all(axis=1)
    found = {}
    for name, rows in (("all", slice(None)), (atoms.name, heavy)):
        halves = np.repeat(energy[rows] / 2, 2)
        found[name] = np.asarray(
            np.bincount(atoms.molecule[pairs[rows]].ravel(), halves, molecules), np.float64
        )
    return found


def _distributions(
    atoms: Atoms, pairs: IntArray, distances: FloatArray, volume: float
) -> dict[str, FloatArray]:
    """g(r) of the heavy atoms and of all pairs of classes."""
    grid = np.linspace(0, REACH, BINS + 1)
    shells = 4 / 3 * np.pi * np.diff(grid**3)
    bins = np.minimum((distances / REACH * BINS).astype(np.int64), BINS)  # the last one is thrown away
    heavy = np.bincount(bins[atoms.heavy[pairs].all(axis=1)], minlength=BINS + 1)[:BINS]
    found: dict[str, FloatArray] = {atoms.name: heavy * volume / (shells * atoms.heavy.sum() ** 2 / 2)}
    n = len(atoms.classes)
    rows = np.sort(atoms.row[pairs], axis=1)
    counts = np.bincount((rows @ [n, 1]) * (BINS + 1) + bins, minlength=n * n * (BINS + 1))
    counts = counts.reshape(n, n, BINS + 1)[..., :BINS]
    members = np.bincount(atoms.row, minlength=n)
    for i, j in combinations_with_replacement(range(n), 2):
        number = members[i] * members[j] / (1 + (i == j))
        found[f"{atoms.classes[i]}-{atoms.classes[j]}"] = counts[i, j] * volume / (shells * number)
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

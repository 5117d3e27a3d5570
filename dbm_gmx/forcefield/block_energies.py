"""Energies of parts of a frame by term: samples that say how sure the energy of a few frames is."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.periodic import arms_of, close_pairs_in_parts, lattice_of
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import (
    Terms,
    Topology,
    atom_charges,
    atom_types,
    blocks,
    is_excluded,
    nonbonded_parameters,
)
from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.chemistry.vectors import Lattice, in_lattice
from dbm_gmx.compiled import compiled, plain
from dbm_gmx.forcefield import nonbonded
from dbm_gmx.forcefield.constraints import free_topology
from dbm_gmx.forcefield.nonbonded import LongRange, long_range
from dbm_gmx.forcefield.terms import (
    canonical,
    energy_name,
    energy_terms,
    term_energy,
    term_parameters,
    term_rows,
)
from dbm_gmx.options import Conditions

SIZE = 60
"""Atoms of a block, about: parts of this size know little of each other."""


@dataclass(frozen=True, eq=False)
class BlockEnergies:
    """Energies of the blocks of a frame.

    Attributes
    ----------
    names
        (k,) terms by their name in ``gmx energy``.
    values
        (blocks, k) kJ/mol.  Bonds of fixed length have no part in it.
    """

    names: tuple[str, ...]
    values: FloatArray


def block_energies(system: System, frame: Frame, conditions: Conditions) -> BlockEnergies:
    """Energies of a frame of whole molecules by block and term.

    A term belongs to the block of its first atom.  All pairs of atoms of two blocks belong to one of these,
    as often to the one as to the other.  Halves in both would make blocks that depend on each other.  The
    pairs of two polar molecules are large and of both signs: to share them out makes energies that scatter.

    Raises
    ------
    InputError
        If a cut-off exceeds half of the shortest lattice vector, or the force field is not supported.
    """
    block = atom_blocks(system)
    found = _bonded(free_topology(system.topology, conditions.constraints), frame, block, conditions)
    found |= _nonbonded(system.topology, frame, block, conditions)
    return BlockEnergies(tuple(found), np.stack(list(found.values()), axis=1))


def atom_blocks(system: System) -> IntArray:
    """(n,) block of each atom: small molecules, a molecule, or beads of a chain that follow each other."""
    parts, before = [np.zeros(0, np.int64)], 0
    for match in system.matches:
        part = _blocks_of(match)
        parts.append(part + before)
        before += int(part.max(initial=-1)) + 1
    return np.concatenate(parts)


def _blocks_of(match: Match) -> IntArray:
    """(count * n,) blocks of a run of molecules."""
    n, owner = match.moltype.n_atoms, np.asarray(match.mapping.owner, np.int64)
    beads = len(match.mapping.names)
    pieces = min(max(1, round(n / SIZE)), beads)
    each = owner * pieces // beads
    together = max(1, SIZE // n)
    return np.asarray(each + pieces * (np.arange(match.count) // together)[:, None], np.int64).ravel()


def _bonded(
    topology: Topology, frame: Frame, block: IntArray, conditions: Conditions
) -> dict[str, FloatArray]:
    """(blocks,) bonded energies by name."""
    positions, size = frame.positions.astype(np.float64), int(block.max()) + 1
    fudge_qq = 1.0 if topology.nonbonded is None else topology.nonbonded.fudge_qq
    found, lattice = dict[str, FloatArray](), lattice_of(frame)
    for moltype, first, count in blocks(topology):
        rows = slice(first, first + count * moltype.n_atoms)
        where = block[rows].reshape(count, -1)
        for terms in energy_terms(moltype, fudge_qq=fudge_qq, epsilon_r=conditions.epsilon_r):
            atoms, energies = _energies(terms, positions[rows].reshape(count, -1, 3), lattice)
            _add(found, energy_name(terms), where[:, atoms], energies, size)
    return found


def _energies(terms: Terms, molecules: FloatArray, lattice: Lattice | None) -> tuple[IntArray, FloatArray]:
    """(t,) first atoms of terms, and (count, t) their energies in molecules (count, n, 3)."""
    if terms.directive in ("pairs", "coulomb14"):
        i, distances = terms.atoms[:, 0], np.linalg.norm(arms_of(molecules, terms.atoms, lattice), axis=-1)
        if terms.directive == "pairs":
            return i, _lennard_jones(distances, *terms.parameters.T)
        return i, ELECTRIC * terms.parameters[:, 0] / np.maximum(distances, nonbonded.CLOSEST)
    written = canonical([terms])
    energies = np.empty((len(molecules), len(written.form)))
    terms_of_all = written.form, written.atoms, written.parameters, written.tables
    _fill_energies(energies, molecules, terms_of_all, lattice)
    return written.atoms[:, 0], energies


@compiled()
def _fill_energies(energies: Any, molecules: Any, terms: Any, lattice: Any) -> None:
    """Work out terms (t,) in molecules (count, n, 3), kJ/mol (count, t)."""
    form, atoms, parameters, tables = terms
    for m in range(len(molecules)):
        bonded = in_lattice(molecules[m], lattice)
        for t in range(len(form)):
            rows = term_rows(atoms, t, 0)
            energies[m, t] = term_energy(form[t], term_parameters(parameters, t), tables, bonded, rows)


def _lennard_jones(distances: FloatArray, c6: FloatArray, c12: FloatArray) -> FloatArray:
    """Energies of pairs at distances (nm), kJ/mol; neither shifted nor cut off."""
    inverse = plain(nonbonded.inverse_sixth)(np.maximum(distances, nonbonded.CLOSEST) ** 2, 0.0)
    return np.asarray(plain(nonbonded.lennard_jones)(inverse, c6, c12), np.float64)


def _add(found: dict[str, FloatArray], name: str, where: IntArray, energies: FloatArray, count: int) -> None:
    """Add energies to those of their blocks."""
    sums = np.asarray(np.bincount(where.ravel(), energies.ravel(), count), np.float64)
    found[name] = found[name] + sums if name in found else sums


def _nonbonded(
    topology: Topology, frame: Frame, block: IntArray, conditions: Conditions
) -> dict[str, FloatArray]:
    """(blocks,) energies of pairs by name; that of atoms with images of their own is left out."""
    field, types, size = long_range(conditions), atom_types(topology), int(block.max()) + 1
    charged, lj = bool(atom_charges(topology).any()), nonbonded_parameters(topology)
    found: dict[str, FloatArray] = {}
    for pairs, distances in close_pairs_in_parts(frame, max(conditions.rvdw, conditions.rcoulomb)):
        # whose it is depends on the numbers of the blocks alone, the same in all frames
        both = np.sort(block[pairs], axis=1)
        where = np.where(both.sum(axis=1) % 2 == 0, both[:, 0], both[:, 1])
        excluded = is_excluded(topology, pairs)
        near = ~excluded & (distances < conditions.rvdw)
        i, j = types[pairs[near].T]
        _add(found, "LJ (SR)", where[near], _lennard_jones(distances[near], lj.c6[i, j], lj.c12[i, j]), size)
        if charged:
            _add(found, "Coulomb (SR)", where, _coulomb(topology, pairs, distances, excluded, field), size)
    return found


def _coulomb(
    topology: Topology, pairs: IntArray, distances: FloatArray, excluded: BoolArray, field: LongRange
) -> FloatArray:
    """(k,) Coulomb energies of pairs within the cut-off, kJ/mol.

    On excluded pairs only what is beyond the cut-off acts.
    """
    qq = atom_charges(topology)[pairs].prod(1) / field.epsilon_r
    inverse = np.where(excluded, 0.0, 1.0 / np.maximum(distances, nonbonded.CLOSEST))
    energy = ELECTRIC * qq * plain(nonbonded.coulomb)(inverse, distances**2, field.beyond)
    return np.where(distances < field.cutoff, energy, 0.0)

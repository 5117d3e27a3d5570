"""Energies of parts of a frame by term: samples that say how sure the energy of a few frames is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.periodic import close_pairs_in_parts
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import Topology, atom_charges, blocks, is_excluded
from dbm_gmx.forcefield.constraints import free_topology
from dbm_gmx.forcefield.energy import coulomb_energies, form_of, pair_energies, term_energies
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.forcefield.terms import energy_terms
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
    positions = torch.from_numpy(frame.positions.astype(np.float64))
    fudge_qq = 1.0 if topology.nonbonded is None else topology.nonbonded.fudge_qq
    found: dict[str, FloatArray] = {}
    for moltype, first, count in blocks(topology):
        rows = slice(first, first + count * moltype.n_atoms)
        atoms = positions[rows].reshape(count, -1, 3)
        where = block[rows].reshape(count, -1)
        for terms in energy_terms(moltype, fudge_qq=fudge_qq, epsilon_r=conditions.epsilon_r):
            energies = term_energies(terms, atoms).numpy()
            _add(found, form_of(terms).energy, where[:, terms.atoms[:, 0]], energies, int(block.max()) + 1)
    return found


def _add(found: dict[str, FloatArray], name: str, where: IntArray, energies: FloatArray, count: int) -> None:
    """Add energies to those of their blocks."""
    sums = np.asarray(np.bincount(where.ravel(), energies.ravel(), count), np.float64)
    found[name] = found[name] + sums if name in found else sums


def _nonbonded(
    topology: Topology, frame: Frame, block: IntArray, conditions: Conditions
) -> dict[str, FloatArray]:
    """(blocks,) energies of pairs by name; that of atoms with images of their own is left out."""
    field = long_range(conditions)
    charged, found = bool(atom_charges(topology).any()), dict[str, FloatArray]()
    for pairs, distances in close_pairs_in_parts(frame, max(conditions.rvdw, conditions.rcoulomb)):
        # whose it is depends on the numbers of the blocks alone, the same in all frames
        both = np.sort(block[pairs], axis=1)
        where = np.where(both.sum(axis=1) % 2 == 0, both[:, 0], both[:, 1])
        excluded = is_excluded(topology, pairs)
        near = ~excluded & (distances < conditions.rvdw)
        energy = pair_energies(topology, pairs[near], torch.from_numpy(distances[near])).numpy()
        _add(found, "LJ (SR)", where[near], energy, int(block.max()) + 1)
        if charged:
            electric = coulomb_energies(topology, pairs, distances, excluded, field).numpy()
            _add(found, "Coulomb (SR)", where, electric, int(block.max()) + 1)
    return found

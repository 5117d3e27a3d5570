"""Mapped atoms are brought to their beads: the smallest move, by mass, that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.mapping import Mapping, Match
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType

SLIGHT = 1e-6
"""Part added to the diagonal: beads of the same atoms cannot be had in two places."""


@dataclass(frozen=True, eq=False)
class Centring:
    """How atoms of a molecule type move when its beads are not where they should be.

    Attributes
    ----------
    match
        The molecules.
    weights
        (beads, atoms) of the mapping, each bead's adding up to 1.
    follow
        (atoms, beads) how far an atom goes for a unit of its bead's push; atoms without weight go with the
        nearest one that has some.
    square
        (beads, beads) how far beads go for pushes of all of them.
    factors
        The latter, factorised.
    """

    match: Match
    weights: sp.csr_matrix
    follow: sp.csr_matrix
    square: sp.csc_matrix
    factors: SuperLU

    def __reduce__(self) -> tuple[Any, ...]:
        """Factors are made anew in another process."""
        return _factorised, (self.match, self.weights, self.follow, self.square)


def _factorised(
    match: Match, weights: sp.csr_matrix, follow: sp.csr_matrix, square: sp.csc_matrix
) -> Centring:
    return Centring(match, weights, follow, square, splu(square))


def make_centrings(system: System) -> tuple[Centring, ...]:
    """One for each run of molecules."""
    return tuple(_centring(match) for match in system.matches)


def _centring(match: Match) -> Centring:
    mapping, moltype = match.mapping, match.moltype
    weights = sp.csr_matrix(mapping.weights, dtype=np.float64)
    weights = sp.diags(1 / np.asarray(weights.sum(1))[:, 0]) @ weights
    masses = np.asarray(moltype.masses, np.float64)
    inverse = sp.diags(np.where(masses > 0, 1 / np.where(masses > 0, masses, 1.0), 0.0))
    follow = sp.csr_matrix(inverse @ weights.T)
    square = sp.csc_matrix(weights @ follow)
    square += SLIGHT * sp.diags(square.diagonal())
    return _factorised(match, weights, follow[_leaders(moltype, mapping)], sp.csc_matrix(square))


def _leaders(moltype: MoleculeType, mapping: Mapping) -> IntArray:
    """(atoms,) the nearest atom with weight along the bonds: itself if it has some."""
    weighted = np.flatnonzero(np.asarray(abs(mapping.weights).sum(0)).ravel() > 0)
    nearest = nx.multi_source_dijkstra_path(moltype.graph, {int(i) for i in weighted})
    return np.array([nearest[i][0] if i in nearest else i for i in range(moltype.n_atoms)], np.int64)


def centre(centrings: Sequence[Centring], positions: Tensor, beads: Tensor) -> Tensor:
    """Atoms moved so that their mapped centres are on the beads.

    Parameters
    ----------
    positions
        (frames, n, 3) nm, molecules whole and near their beads.
    beads
        (frames, m, 3) nm.

    Returns
    -------
    (frames, n, 3) nm.
    """
    moved = positions.double().cpu().numpy().copy()
    wanted = beads.double().cpu().numpy()
    for frame, target in zip(moved, wanted, strict=True):
        for one in centrings:
            atoms = one.match.molecules(frame)
            atoms += _shift(one, atoms, one.match.beads(target))
    return torch.from_numpy(moved).to(positions)


def _shift(one: Centring, atoms: FloatArray, beads: FloatArray) -> FloatArray:
    """(copies, atoms, 3) nm."""
    copies = len(atoms)
    columns = atoms.transpose(1, 0, 2).reshape(atoms.shape[1], -1)
    off = beads.transpose(1, 0, 2).reshape(beads.shape[1], -1) - one.weights @ columns
    shift: FloatArray = one.follow @ one.factors.solve(off)
    return shift.reshape(-1, copies, 3).transpose(1, 0, 2)

"""Lengths of bonds and angles of beads, mean and width over all molecules and frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match, bead_graph
from dbm_gmx.chemistry.periodic import arms_of, lattice_of


class Spread(NamedTuple):
    """Mean and standard deviation, nm or degrees."""

    mean: float
    width: float


@dataclass(frozen=True, eq=False)
class BeadGeometry:
    """Bonds and angles of the beads of each molecule type, gathered frame by frame.

    Attributes
    ----------
    matches
        Runs of molecules.
    bonds, angles
        By molecule type (k, 2) and (k, 3) beads.
    lengths, turns
        By molecule type (3, k) numbers, sums and sums of squares.
    """

    matches: tuple[Match, ...]
    bonds: Mapping[str, IntArray]
    angles: Mapping[str, IntArray]
    lengths: Mapping[str, FloatArray]
    turns: Mapping[str, FloatArray]

    def add(self, frame: Frame) -> None:
        """Add a frame of beads, molecules whole."""
        lattice = lattice_of(frame)
        for match in self.matches:
            x, name = np.asarray(match.beads(frame.positions), np.float64), match.moltype.name
            self.lengths[name][:] += _moments(np.linalg.norm(arms_of(x, self.bonds[name], lattice), axis=-1))
            ends = self.angles[name]
            a, b = arms_of(x, ends[:, 1::-1], lattice), arms_of(x, ends[:, 1:], lattice)
            norm = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
            cosine = (a * b).sum(axis=-1) / np.where(norm > 0, norm, 1.0)
            self.turns[name][:] += _moments(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def make_bead_geometry(matches: Sequence[Match]) -> BeadGeometry:
    """Find the bonds and angles; no frame is counted yet."""
    bonds: dict[str, IntArray] = {}
    angles: dict[str, IntArray] = {}
    for match in matches:
        graph = bead_graph(match.mapping, match.moltype)
        ends = [(i, j, k) for j in graph for i, k in combinations(sorted(graph[j]), 2)]
        bonds[match.moltype.name] = np.array(sorted(graph.edges), np.int64).reshape(-1, 2)
        angles[match.moltype.name] = np.array(ends, np.int64).reshape(-1, 3)
    sums = [{name: np.zeros((3, len(rows))) for name, rows in terms.items()} for terms in (bonds, angles)]
    return BeadGeometry(tuple(matches), bonds, angles, *sums)


def _moments(values: FloatArray) -> FloatArray:
    """(3, k) number, sum and sum of squares of values (n, k)."""
    return np.array([np.full(values.shape[1], len(values)), values.sum(axis=0), (values**2).sum(axis=0)])


def spreads(sums: FloatArray) -> list[Spread]:
    """Mean and width from (3, k) numbers, sums and sums of squares."""
    count, first, second = sums
    mean = first / np.maximum(count, 1)
    width = np.sqrt(np.maximum(second / np.maximum(count, 1) - mean**2, 0.0))
    return [Spread(*pair) for pair in zip(mean.tolist(), width.tolist(), strict=True)]

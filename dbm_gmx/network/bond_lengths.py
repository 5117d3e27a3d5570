"""Bonds of fixed length, kept while the network places one atom after the other, and made exact afterwards.

A network is some hundredths of an Angstrom off at best; the topology says how long a bond is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.system import System
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.network.environment import Scene, to_come

ROUNDS = 4  # of Newton's method
STIFF = 0.2  # of a bond along its own direction: where bonds say less together, an atom stays as it was drawn
TURNS = 500  # through all bonds
FITS = 1e-5  # relative error of a length that is none: that of a position in single precision
ALONE = 0.1  # three bonds that say at least so much in every direction leave an atom no place of its own


Group = tuple[Tensor, Tensor, Tensor]
"""Bonds that share no atom: (b, 2) atoms, (b, 1) nm, (b, 2, 1) parts of a stretch."""


@dataclass(frozen=True, eq=False)
class Bonds:
    """Where the atoms are to which each has a bond of fixed length.

    Attributes
    ----------
    step, length
        (rows, k) counted from the atom itself (0: none), and nm; rows as in
        :class:`~dbm_gmx.network.arrays.Layout`.
    apart
        All bonds of a frame in groups in which no atom has two; of a stretch each of the two atoms makes up
        for a part, by the mass of the other.
    """

    step: Tensor
    length: Tensor
    apart: tuple[Group, ...]


def find_bonds(system: System, constraints: str, *, device: torch.device | str = "cpu") -> Bonds:
    """Bonds that runs with such ``constraints`` (as in an ``.mdp``) hold fixed.

    Raises
    ------
    InputError
        If there are no such constraints.
    """
    moltypes = {match.moltype.name: match.moltype for match in system.matches}
    found = {name: fixed_bonds(moltype, constraints) for name, moltype in moltypes.items()}
    rows: list[list[tuple[int, float]]] = []
    for moltype in moltypes.values():
        own: list[list[tuple[int, float]]] = [[] for _ in range(moltype.n_atoms)]
        pairs, lengths = found[moltype.name]
        for (i, j), length in zip(pairs.tolist(), lengths.tolist(), strict=True):
            own[i].append((j - i, length))
            own[j].append((i - j, length))
        rows += own
    width = max(1, *map(len, rows))
    padded = torch.tensor([row + [(0, 0.0)] * (width - len(row)) for row in rows], dtype=torch.float64)
    return Bonds(
        step=padded[..., 0].long().to(device),
        length=padded[..., 1].float().to(device),
        apart=_apart([(match, *found[match.moltype.name]) for match in system.matches], device),
    )


def _apart(
    bonds: Sequence[tuple[Match, IntArray, FloatArray]], device: torch.device | str
) -> tuple[Group, ...]:
    """All bonds of the molecules, in groups."""
    columns: list[list[np.ndarray]] = [[], [], [], []]
    for match, pairs, lengths in bonds:
        mass = np.asarray(match.moltype.masses)[pairs][:, ::-1]
        share = mass / mass.sum(1, keepdims=True)
        columns[0].append((match.first_atoms[:, None, None] + pairs).reshape(-1, 2))
        for column, values in zip(columns[1:], (_colours(pairs), lengths, share), strict=True):
            column.append(np.concatenate([values] * match.count))
    atoms, colour, length, part = map(np.concatenate, columns)
    groups = [colour == c for c in range(colour.max(initial=-1) + 1)]
    return tuple(
        (
            torch.from_numpy(atoms[mine]).to(device),
            torch.from_numpy(length[mine]).float()[:, None].to(device),
            torch.from_numpy(part[mine]).float()[..., None].to(device),
        )
        for mine in groups
    )


def _colours(pairs: IntArray) -> IntArray:
    """(b,) numbers of the bonds of a molecule; no two at an atom have the same."""
    between = nx.line_graph(nx.Graph(pairs.tolist()))
    named = {frozenset(pair): colour for pair, colour in nx.greedy_color(between).items()}
    return np.array([named[frozenset(pair)] for pair in pairs.tolist()], int)


def straighten(bonds: Bonds, positions: Tensor) -> Tensor:
    """Give all bonds their length, moving atoms as little as their masses ask.

    Bonds are gone through in turn, those that share no atom together, until all fit (Ryckaert, Ciccotti,
    Berendsen, J. Comput. Phys. 23, 327, 1977).

    Parameters
    ----------
    positions
        (frames, n, 3) nm, molecules whole.

    Returns
    -------
    (frames, n, 3) nm.
    """
    positions = positions.clone()
    for _ in range(TURNS):
        worst = 0.0
        for atoms, length, share in bonds.apart:
            ends = positions[:, atoms]
            vector = ends[:, :, 1] - ends[:, :, 0]
            stretch = 1 - length / vector.norm(dim=2, keepdim=True).clamp(min=1e-3)
            worst = max(worst, float(stretch.abs().max()))
            way = (stretch * vector)[:, :, None] * share
            positions[:, atoms] = ends + torch.stack([way[:, :, 0], -way[:, :, 1]], 2)
        if worst < FITS:
            break
    return positions


def hold(
    bonds: Bonds, scene: Scene, atom: Tensor, place: Tensor, *, now: int, replica: int, anew: bool = False
) -> Tensor:
    """Move atoms towards where their bonds to those known have their lengths.

    A heavy atom does not heed its hydrogens, which are placed after it; one that three bonds pull in three
    directions stays where it was drawn, for else its neighbours alone would say where it is, and the errors
    of their places would become errors of its angles.

    Parameters
    ----------
    atom, place
        (b,), (b, 3) nm, where they were drawn.
    now
        Atoms of lower growth rank are known.
    replica
        Which of the scene's copies is looked at.
    anew
        Whether atoms of the bead that are to come are not known, either.

    Returns
    -------
    (b, 3) nm; where bonds contradict each other, about the best there is (least squares).
    """
    layout = scene.layout
    step, length = (values[layout.row[atom]] for values in (bonds.step, bonds.length))
    other = atom[:, None] + step
    held = (step != 0) & (layout.growth[other] < now)
    held &= ~layout.hydrogen[other] | layout.hydrogen[atom][:, None]
    if anew:
        held &= ~to_come(layout, other, atom[:, None])
    there, weight = scene.positions[replica, other], held.to(place.dtype)[..., None]
    drawn, own = place, STIFF * torch.eye(3, device=place.device)
    for k in range(ROUNDS):
        vector = place[:, None] - there
        distance = vector.norm(dim=2, keepdim=True).clamp(min=1e-3)
        along = weight * vector / distance
        missing = weight * (length[..., None] - distance)
        square = along.transpose(1, 2) @ along
        if not k:
            free = torch.linalg.eigvalsh(square)[:, :1] < ALONE
        place = place + torch.linalg.solve(square + own, (along.transpose(1, 2) @ missing)[..., 0])
    return torch.where(free, place, drawn)

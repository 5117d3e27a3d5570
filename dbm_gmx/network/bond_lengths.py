"""Bonds of fixed length: nearly kept while the network places atoms, and exact after a whole sweep.

The network is some hundredths of an Angstrom off at best; the topology says how long a bond is.
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
from dbm_gmx.network.environment import Scene, Targets, later_in_bead

ROUNDS = 4  # of Newton's method
STIFF = 0.2  # added stiffness, 1 is that of one bond: along directions that no bond fixes, an atom stays
TURNS = 500  # through all bonds
FITS = 1e-5  # relative error of a length that is none: that of a position in single precision
DETERMINED = 0.1  # lowest stiffness in any direction at which the bonds alone would say where an atom is


Group = tuple[Tensor, Tensor, Tensor]
"""Bonds that share no atom: (b, 2) atoms, (b, 1) nm, (b, 2, 1) parts of a stretch."""


@dataclass(frozen=True, eq=False)
class FixedBonds:
    """Bonds of fixed length of a system.

    Attributes
    ----------
    step, length
        (rows, k) bonded atoms, as offsets from the atom itself (0: none), and nm; rows as in
        :class:`~dbm_gmx.network.arrays.NetworkArrays`.
    apart
        All bonds of a frame in groups in which no atom has two; of a stretch each of the two atoms makes up
        for a part, by the mass of the other.
    """

    step: Tensor
    length: Tensor
    apart: tuple[Group, ...]


def find_fixed_bonds(system: System, constraints: str, *, device: torch.device | str = "cpu") -> FixedBonds:
    """Bonds that ``constraints``, as in an ``.mdp``, hold fixed.

    Raises
    ------
    InputError
        If ``constraints`` is something else.
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
    return FixedBonds(
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


def constrain(bonds: FixedBonds, positions: Tensor) -> Tensor:
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


def hold(bonds: FixedBonds, scene: Scene, targets: Targets, drawn: Tensor) -> Tensor:
    """Move atoms towards where their bonds to known atoms have their lengths (Newton's method).

    A heavy atom ignores its hydrogens, which are placed after it.  An atom whose bonds pull in three
    directions stays where it was drawn: else its neighbours alone would say where it is, and the errors of
    their positions would become errors of its angles.

    Parameters
    ----------
    targets
        (b,) atoms.
    drawn
        (b, 3) nm, where they were drawn.

    Returns
    -------
    (b, 3) nm; where bonds contradict each other, about the best there is (least squares).
    """
    arrays, atom = scene.arrays, targets.atom
    step, length = (values[arrays.row[atom]] for values in (bonds.step, bonds.length))
    other = atom[:, None] + step
    held = (step != 0) & (arrays.growth_rank[other] < targets.known_below[:, None])
    held &= ~arrays.hydrogen[other] | arrays.hydrogen[atom][:, None]
    if targets.redraw:
        held &= ~later_in_bead(arrays, other, atom[:, None])
    ends, weight = scene.positions[targets.replica[:, None], other], held.to(drawn.dtype)[..., None]
    position, own = drawn, STIFF * torch.eye(3, device=drawn.device)
    for k in range(ROUNDS):
        vector = position[:, None] - ends
        distance = vector.norm(dim=2, keepdim=True).clamp(min=1e-3)
        along = weight * vector / distance
        missing = weight * (length[..., None] - distance)
        square = along.transpose(1, 2) @ along
        if not k:
            free = torch.linalg.eigvalsh(square)[:, :1] < DETERMINED
        position = position + torch.linalg.solve(square + own, (along.transpose(1, 2) @ missing)[..., 0])
    return torch.where(free, position, drawn)

"""Bonds of fixed length, kept while the network places one atom after the other.

A network is some hundredths of an Angstrom off at best; the topology says how long a bond is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dbm_gmx.environment import Scene
from dbm_gmx.system import System
from dbm_gmx.target import fixed_bonds

ROUNDS = 4  # of Newton's method; each squares what is missing


@dataclass(frozen=True, eq=False)
class Bonds:
    """Where the atoms are to which each has a bond of fixed length.

    Attributes
    ----------
    step, length
        (rows, k) counted from the atom itself (0: none), and nm; rows as in
        :class:`~dbm_gmx.layout.Layout`.
    """

    step: Tensor
    length: Tensor


def find_bonds(system: System, constraints: str, *, device: torch.device | str = "cpu") -> Bonds:
    """Bonds that runs with such ``constraints`` (as in an ``.mdp``) hold fixed.

    Raises
    ------
    InputError
        If there are no such constraints.
    """
    rows: list[list[tuple[int, float]]] = []
    for kind in {match.kind.name: match.kind for match in system.matches}.values():
        own: list[list[tuple[int, float]]] = [[] for _ in range(kind.n_atoms)]
        pairs, lengths = fixed_bonds(kind, constraints)
        for (i, j), length in zip(pairs.tolist(), lengths.tolist(), strict=True):
            own[i].append((j - i, length))
            own[j].append((i - j, length))
        rows += own
    width = max(1, *map(len, rows))
    padded = torch.tensor([row + [(0, 0.0)] * (width - len(row)) for row in rows], dtype=torch.float64)
    return Bonds(padded[..., 0].long().to(device), padded[..., 1].float().to(device))


def hold(bonds: Bonds, scene: Scene, atom: Tensor, place: Tensor, *, now: int, replica: int) -> Tensor:
    """Move atoms the shortest way to where their bonds to those known have their lengths.

    A heavy atom does not heed its hydrogens, which are placed after it.

    Parameters
    ----------
    atom, place
        (b,), (b, 3) nm, where they were drawn.
    now
        Atoms of lower growth rank are known.
    replica
        Which of the scene's copies is looked at.

    Returns
    -------
    (b, 3) nm; where too many bonds contradict each other, the best there is (least squares).
    """
    layout = scene.layout
    step, length = (values[layout.row[atom]] for values in (bonds.step, bonds.length))
    other = atom[:, None] + step
    held = (step != 0) & (layout.growth[other] < now)
    held &= ~layout.hydrogen[other] | layout.hydrogen[atom][:, None]
    there, weight = scene.positions[replica, other], held.to(place.dtype)[..., None]
    small = 1e-4 * torch.eye(3, device=place.device)  # leaves directions no bond says anything about
    for _ in range(ROUNDS):
        vector = place[:, None] - there
        distance = vector.norm(dim=2, keepdim=True).clamp(min=1e-3)
        along = weight * vector / distance
        missing = weight * (length[..., None] - distance)
        square = along.transpose(1, 2) @ along + small
        place = place + torch.linalg.solve(square, (along.transpose(1, 2) @ missing)[..., 0])
    return place

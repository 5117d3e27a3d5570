"""Bonds of fixed length: nearly kept while the network places atoms, and exact after a whole sweep.

The network is some hundredths of an Angstrom off at best; the topology says how long a bond is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.system import System
from dbm_gmx.forcefield.constraints import fixed_bonds, shake
from dbm_gmx.network.environment import Scene, Targets, later_in_bead

ROUNDS = 4  # of Newton's method
STIFF = 0.2  # added stiffness, 1 is that of one bond: along directions that no bond fixes, an atom stays
DETERMINED = 0.1  # lowest stiffness in any direction at which the bonds alone would say where an atom is


@dataclass(frozen=True, eq=False)
class MoleculeBonds:
    """Bonds of fixed length of a run of molecules.

    Attributes
    ----------
    first_atoms
        (copies,) first atom of each molecule.
    bonds, length
        (c, 2) atoms of one molecule and (c,) nm.
    mass
        (atoms,) u.
    """

    first_atoms: IntArray
    bonds: IntArray
    length: FloatArray
    mass: FloatArray


@dataclass(frozen=True, eq=False)
class FixedBonds:
    """Bonds of fixed length of a system.

    Attributes
    ----------
    step, length
        (rows, k) bonded atoms, as offsets from the atom itself (0: none), and nm; rows as in
        :class:`~dbm_gmx.network.arrays.NetworkArrays`.
    molecules
        The same bonds, for SHAKE.
    """

    step: Tensor
    length: Tensor
    molecules: tuple[MoleculeBonds, ...]


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
        molecules=tuple(
            MoleculeBonds(
                match.first_atoms, *found[match.moltype.name], np.asarray(match.moltype.masses, np.float64)
            )
            for match in system.matches
        ),
    )


def constrain(bonds: FixedBonds, positions: Tensor) -> Tensor:
    """Give all bonds their length, moving atoms as little as their masses ask (SHAKE, on the processor).

    Parameters
    ----------
    positions
        (frames, n, 3) nm, molecules whole.

    Returns
    -------
    (frames, n, 3) nm.
    """
    moved = positions.double().cpu().numpy().copy()
    for frame in moved:
        for one in bonds.molecules:
            for first in one.first_atoms:
                shake(frame[first : first + len(one.mass)], one.bonds, one.length, one.mass)
    return torch.from_numpy(moved).to(positions)


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
            free = torch.linalg.eigvalsh(torch.nan_to_num(square))[:, :1] < DETERMINED
        position = position + torch.linalg.solve(square + own, (along.transpose(1, 2) @ missing)[..., 0])
    return torch.where(free, position, drawn)

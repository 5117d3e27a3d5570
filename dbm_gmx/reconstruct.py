"""From beads to atoms with the network: growth atom by atom, then Gibbs-like sweeps.

A step places one atom of every bead of a stage, in all molecules and frames in hand, as one batch.
All atoms of a step see the state before it, so the result does not depend on how a batch is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from math import pi

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.environment import EVERYTHING, Environment, Scene, surround
from dbm_gmx.grid import Grid, collapse
from dbm_gmx.layout import MOST_ATOMS
from dbm_gmx.options import Settings

Generate = Callable[[Environment, Tensor], Tensor]
"""Environments of b atoms and (b, noise) random numbers to (b, size, size, size) densities."""

Judge = Callable[[Scene, Tensor, Tensor, int], Tensor]
"""Scene, beads of a stage, atoms it has placed, growth rank to energies (replicas, beads), kJ/mol."""


class Dice:
    """Random numbers of each frame in hand, drawn in an order that does not depend on the others."""

    def __init__(self, frames: Sequence[int], samples: Sequence[int] | None = None, *, seed: int):
        names = zip(frames, samples or [0] * len(frames), strict=True)
        states = [np.random.SeedSequence([seed, *n]).generate_state(1, np.uint64)[0] for n in names]
        self.generators = [torch.Generator().manual_seed(int(s >> np.uint64(1))) for s in states]

    def normal(self, rows: int, columns: int) -> Tensor:
        """(rows, columns) standard normal, an equal share of the rows for each frame."""
        return self._each(torch.randn, rows, columns)

    def angle(self, rows: int) -> Tensor:
        """(rows,) uniform in 0 to 2 pi, an equal share for each frame."""
        return 2 * pi * self._each(torch.rand, rows, 1)[:, 0]

    def _each(self, draw: Callable[..., Tensor], rows: int, columns: int) -> Tensor:
        share = rows // len(self.generators)
        return torch.cat([draw(share, columns, generator=g) for g in self.generators])


def schedule(rank: Tensor) -> list[list[tuple[int, Tensor]]]:
    """Stages of steps: ``(rank, atoms)`` with the atoms of each step in ascending order."""
    order = torch.argsort(rank, stable=True)
    ranks, counts = torch.unique_consecutive(rank[order], return_counts=True)
    steps = zip(ranks.tolist(), torch.split(order, counts.tolist()), strict=True)
    return [list(stage) for _, stage in groupby(steps, key=lambda step: step[0] // MOST_ATOMS)]


def reconstruct(
    scene: Scene,
    frames: Sequence[int],
    *,
    generate: Generate,
    noise: int,
    grid: Grid,
    settings: Settings,
    judge: Judge | None = None,
    start: Tensor | None = None,
    samples: Sequence[int] | None = None,
) -> Tensor:
    """Place all atoms of a scene.

    Parameters
    ----------
    scene
        Of one or several frames, with as many replicas as there are orientations.
    frames
        Indices of the frames; with the seed they decide the random numbers.
    generate, noise
        The generator and the length of its random vector.
    judge
        Chooses between orientations; needed for more than one.
    start
        (n, 3) nm, whole molecules near their beads that are swept instead of growing others.
    samples
        Numbers of the independent repeats the frames are of; 0 if not given.

    Returns
    -------
    (n, 3) nm, near the beads.
    """
    dice = Dice(frames, samples, seed=settings.seed)

    def visit(stages: list[list[tuple[int, Tensor]]], *, growing: bool) -> None:
        for stage in stages:
            for step, atoms in stage:
                now = step if growing else EVERYTHING
                _place(
                    scene,
                    atoms,
                    now,
                    generate=generate,
                    noise=noise,
                    grid=grid,
                    dice=dice,
                    batch=settings.batch,
                )
            if judge is not None:
                beads = scene.layout.owner[stage[0][1]]
                placed = torch.cat([atoms for _, atoms in stage])
                last = stage[-1][0] + 1 if growing else EVERYTHING
                _keep_lowest(scene, beads, placed, judge(scene, beads, placed, last))

    with torch.inference_mode():
        if start is None:
            visit(schedule(scene.layout.growth), growing=True)
        else:
            scene.positions[:] = start
        again = schedule(scene.layout.sweep)
        for _ in range(settings.network_sweeps):
            visit(again, growing=False)
    return scene.positions[0]


def _place(
    scene: Scene,
    atoms: Tensor,
    now: int,
    *,
    generate: Generate,
    noise: int,
    grid: Grid,
    dice: Dice,
    batch: int,
) -> None:
    """Draw the positions of some atoms, in all replicas, and set them."""
    replicas, device = len(scene.positions), atoms.device
    turns = dice.angle(len(atoms)) + 2 * pi / replicas * torch.arange(replicas)[:, None]
    numbers = torch.stack([dice.normal(len(atoms), noise) for _ in range(replicas)])
    copies = torch.arange(replicas, device=device).repeat_interleave(len(atoms))
    columns = atoms.repeat(replicas), copies, turns.flatten().to(device), numbers.flatten(0, 1).to(device)
    jobs = zip(*(torch.split(column, batch) for column in columns), strict=True)
    drawn = []
    for atom, replica, azimuth, z in jobs:
        seen = surround(
            scene, atom, now=torch.full_like(atom, now), azimuth=azimuth, replica=replica, grid=grid
        )
        drawn.append(to_laboratory(seen, collapse(generate(seen, z).float(), grid)))
    scene.positions[:, atoms] = torch.cat(drawn).reshape(replicas, len(atoms), 3)


def to_laboratory(environment: Environment, local: Tensor) -> Tensor:
    """(b, 3) positions of the laboratory from (b, 3) of the local frames, nm."""
    return (local[:, None] @ environment.rotation)[:, 0] + environment.centre


def _keep_lowest(scene: Scene, beads: Tensor, placed: Tensor, energies: Tensor) -> None:
    """Give all replicas the placed atoms of the replica in which their bead has the lowest energy."""
    best = torch.zeros(scene.layout.n_beads, dtype=torch.long, device=beads.device)
    best[beads] = torch.nan_to_num(energies, nan=torch.inf).argmin(0)
    scene.positions[:, placed] = scene.positions[best[scene.layout.owner[placed]], placed]

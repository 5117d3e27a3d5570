"""From beads to atoms with the network: growth atom by atom, then Gibbs-like sweeps.

A step places one atom of every bead of a stage, in all molecules and frames in hand, as one batch.
All atoms of a step see the state before it, so the result does not depend on how a batch is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import pi

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.network.arrays import MOST_ATOMS
from dbm_gmx.network.bond_lengths import Bonds, hold, straighten
from dbm_gmx.network.environment import EVERYTHING, Environment, Scene, surround
from dbm_gmx.network.voxels import Grid, collapse
from dbm_gmx.options import Settings

Generate = Callable[[Environment, Tensor], Tensor]
"""Environments of b atoms and (b, noise) random numbers to (b, size, size, size) densities."""

Judge = Callable[[Scene, Tensor, Tensor, int, int], Tensor]
"""Scene, beads, atoms placed in them, growth rank and replica to energies (beads, parts), kJ/mol."""

TurnOver = Callable[[Scene, int], None]
"""Scene and growth rank from which it is seen."""


class Dice:
    """Random numbers of each frame in hand, drawn in an order that does not depend on the others."""

    def __init__(self, seeds: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    @classmethod
    def of(cls, frames: Sequence[int], samples: Sequence[int] | None = None, *, seed: int) -> Dice:
        """Return the dice of frames, and of independent repeats of one."""
        names = zip(frames, samples or [0] * len(frames), strict=True)
        states = [np.random.SeedSequence([seed, *n]).generate_state(1, np.uint64)[0] for n in names]
        return cls([int(s >> np.uint64(1)) for s in states])

    def children(self) -> Dice:
        """Return dice of their own for what one frame may need more often than another."""
        return Dice([int(torch.randint(2**62, (1,), generator=g)) for g in self.generators])

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


Stage = Sequence[tuple[int, Tensor]]
"""Steps: the growth rank and the atoms of each."""


def reconstruct(
    scene: Scene,
    frames: Sequence[int],
    *,
    generate: Generate,
    noise: int,
    grid: Grid,
    settings: Settings,
    amplitude: tuple[float, float] = (1.0, 1.0),
    judge: Judge | None = None,
    invert_wrong: TurnOver | None = None,
    bonds: Bonds | None = None,
    start: Tensor | None = None,
    samples: Sequence[int] | None = None,
) -> Tensor:
    """Place all atoms of a scene.

    Parameters
    ----------
    scene
        Of one or several frames; with two replicas if there is a judge.
    frames
        Indices of the frames; with the seed they decide the random numbers.
    generate, noise
        The generator and the length of its random vector.
    amplitude
        Standard deviation of that vector, for heavy atoms and for hydrogens.
    judge
        Says which beads are to be tried again, up to the number of orientations.
    turn_over
        Turns stereocentres that are wrong even so, after each stage of heavy atoms.
    bonds
        Of fixed length, kept by the atoms placed in the last sweeps.
    start
        (n, 3) nm, whole molecules near their beads that are swept instead of growing others.
    samples
        Numbers of the independent repeats the frames are of; 0 if not given.

    Returns
    -------
    (n, 3) nm, near the beads.
    """
    rng = Dice.of(frames, samples, seed=settings.seed)
    brush = Brush(scene, generate, noise, amplitude, grid, settings.batch)

    def visit(brush: Brush, stages: Sequence[Stage], *, growing: bool) -> None:
        for stage in stages:
            brush.draw(stage, growing=growing, rng=rng)
            if judge is not None:
                more = rng.children()
                try_again(brush, stage, judge, growing=growing, rng=more, tries=settings.orientations - 1)
            if invert_wrong is not None and not scene.layout.hydrogen[stage[0][1][0]]:
                invert_wrong(scene, stage[-1][0] + 1 if growing else EVERYTHING)

    with torch.inference_mode():
        if start is None:
            visit(brush, schedule(scene.layout.growth), growing=True)
        else:
            scene.positions[:] = start
        order = schedule(scene.layout.sweep)
        for sweep in range(settings.network_sweeps):
            if sweep >= settings.network_sweeps - HELD:
                brush = replace(brush, bonds=bonds)
            visit(brush, order, growing=False)
            if brush.bonds is not None:
                each = scene.positions[0].reshape(len(frames), -1, 3)
                scene.positions[0] = straighten(brush.bonds, each).reshape(-1, 3)
    return scene.positions[0]


HELD = 2  # last sweeps, in which bonds have their length; in more, errors of places become errors of angles


@dataclass(frozen=True, eq=False)
class Brush:
    """What draws atoms of a scene.

    Attributes
    ----------
    scene, grid
        Where.
    generate, noise, amplitude
        The generator, the length of its random vector and its standard deviation.
    batch
        Environments held in memory at once.
    bonds
        Of fixed length.
    """

    scene: Scene
    generate: Generate
    noise: int
    amplitude: tuple[float, float]
    grid: Grid
    batch: int
    bonds: Bonds | None = None

    def draw(
        self,
        stage: Stage,
        *,
        growing: bool,
        rng: Dice,
        replica: int = 0,
        beads: Tensor | None = None,
        anew: bool = False,
    ) -> None:
        """Draw the atoms of a stage in one of the copies; of all its beads, or only of some.

        ``anew``: each bead as if none of its atoms of this stage were there.

        Random numbers are drawn for all, so that those of a frame do not depend on the others.
        """
        for step, every in stage:
            width = self.amplitude[int(self.scene.layout.hydrogen[every[0]])]  # a step is of one kind
            columns = [every, rng.angle(len(every)), width * rng.normal(len(every), self.noise)]
            columns = [column.to(every.device) for column in columns]
            if beads is not None:
                chosen = torch.isin(self.scene.layout.owner[every], beads)
                columns = [column[chosen] for column in columns]
            now = step if growing else EVERYTHING
            jobs = zip(*(torch.split(column, self.batch) for column in columns), strict=True)
            drawn = [self._placed(*job, now=now, replica=replica, anew=anew) for job in jobs if len(job[0])]
            if drawn:
                self.scene.positions[replica, columns[0]] = torch.cat(drawn)

    def _placed(
        self, atom: Tensor, azimuth: Tensor, noise: Tensor, *, now: int, replica: int, anew: bool
    ) -> Tensor:
        """(b, 3) nm, where some atoms are drawn."""
        seen = surround(
            self.scene,
            atom,
            now=torch.full_like(atom, now),
            azimuth=azimuth,
            replica=torch.full_like(atom, replica),
            grid=self.grid,
            anew=anew,
        )
        place = to_laboratory(seen, collapse(self.generate(seen, noise).float(), self.grid))
        if self.bonds is None:
            return place
        return hold(self.bonds, self.scene, atom, place, now=now, replica=replica, anew=anew)


def try_again(brush: Brush, stage: Stage, judge: Judge, *, growing: bool, rng: Dice, tries: int) -> None:
    """Draw beads whose energies are out of line with those of the others anew, and keep what is better.

    All draws within the limits are as good: to take the lowest would give a structure too cold.
    """
    scene, owner = brush.scene, brush.scene.layout.owner
    now = stage[-1][0] + 1 if growing else EVERYTHING
    bead, placed = owner[stage[0][1]], torch.cat([atoms for _, atoms in stage])
    limits: Tensor | None = None
    for attempt in range(tries):
        # again after each try: neighbours were tried together, and one of them may have stayed
        energies = judge(scene, bead, placed, now, 0)
        if limits is None:
            limits = usual_limits(energies, kinds_of(scene, bead, frames=len(rng.generators)))
        excess = (energies - limits).clamp(min=0).sum(1)
        bad = ~(excess <= 0)  # what is no number is bad
        bead, limits, excess = bead[bad], limits[bad], excess[bad]
        if not len(bead):
            return
        placed = placed[torch.isin(owner[placed], bead)]
        scene.positions[1] = scene.positions[0]
        # every other time: neighbours of its own may hold an atom where it should not be
        anew = not growing and bool(attempt % 2)
        brush.draw(stage, growing=growing, rng=rng, replica=1, beads=bead, anew=anew)
        better = ~((judge(scene, bead, placed, now, 1) - limits).clamp(min=0).sum(1) >= excess)
        taken = placed[torch.isin(owner[placed], bead[better])]
        scene.positions[0, taken] = scene.positions[1, taken]


def kinds_of(scene: Scene, bead: Tensor, *, frames: int) -> Tensor:
    """(b,) the same number for beads of one type in one frame."""
    layout = scene.layout
    frame = bead // (layout.n_beads // frames)
    return frame * (int(layout.bead_row.max()) + 1) + layout.bead_row[bead]


LOW = 0.25  # part of the beads that is below the lower end of what is usual
ENOUGH = 10  # beads of a kind, to say what is usual
OVERLAP = 20.0  # kJ/mol, the limit where there are fewer


def usual_limits(energies: Tensor, kind: Tensor) -> Tensor:
    """Highest energies that are in line with those of the other beads of the kind.

    What the network draws is right but for some beads that overlap with others or are torn, so the lower
    half of the energies says how wide their distribution is: the limit is as far above the median as a
    quarter of all is below.

    Parameters
    ----------
    energies
        (b, e) kJ/mol, parts of the energy of each bead.
    kind
        (b,) beads of the same number are compared.
    """
    limits = torch.full_like(energies, OVERLAP)
    for k in set(kind.tolist()):
        mine = torch.nan_to_num(energies[kind == k], nan=torch.inf)
        if len(mine) >= ENOUGH:
            low, middle = (mine.quantile(q, 0, interpolation="lower") for q in (LOW, 0.5))
            limits[kind == k] = 2 * middle - low
    return limits


def to_laboratory(environment: Environment, local: Tensor) -> Tensor:
    """(b, 3) positions of the laboratory from (b, 3) of the local frames, nm."""
    return (local[:, None] @ environment.rotation)[:, 0] + environment.centre

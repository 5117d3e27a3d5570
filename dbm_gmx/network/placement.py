"""From beads to atoms with the network: growth atom by atom, then Gibbs-like sweeps.

A step places one atom of every bead of a stage, in all molecules and frames of the scene, as one batch.
All atoms of a step know the state before it, so the result does not depend on how a batch is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from dbm_gmx.network.arrays import MOST_ATOMS
from dbm_gmx.network.bond_lengths import FixedBonds, constrain, hold
from dbm_gmx.network.centring import Centring, centre
from dbm_gmx.network.environment import Environment, Scene, Targets, make_environment, make_targets
from dbm_gmx.network.guide import Guide, Guiding, growing, make_guiding, redrawing, staying
from dbm_gmx.network.guide_steps import ALL_KNOWN
from dbm_gmx.network.random_numbers import RandomNumbers
from dbm_gmx.network.scoring import Scorer
from dbm_gmx.network.voxels import Grid, collapse
from dbm_gmx.options import Settings

Generate = Callable[[Environment, Tensor], Tensor]
"""Environments of b atoms and (b, noise) random numbers to (b, size, size, size) densities."""

Stage = Sequence[tuple[int, Tensor]]
"""Steps: the rank and the atoms of each."""

HELD = (
    2  # last sweeps, in which bonds have their length; in more, errors of positions become errors of angles
)

SETTLING = (0.03,) * 3
"""nm, how far atoms may go in each of the passes in which they follow the guide alone, after a sweep."""
LAST_SETTLING = (0.015,) * 16
"""The same after the last sweep.  Steps are not exact: hydrogens go along with what they are on, and
distances are linear for short steps only, so that angles get the hotter the longer the steps are; the
shorter they are, the colder, since an atom is held where it is.  With this length both errors cancel in
polystyrene; alkanes stay somewhat too hot."""
SOFTEST = 3
"""Halvings: the guide is so much wider in early sweeps, so that atoms can pass each other."""


@dataclass(frozen=True, eq=False)
class Network:
    """A generator in use.

    Attributes
    ----------
    generate
        From environments to densities.
    grid
        Of the densities.
    noise
        Length of the random vector.
    amplitude
        Standard deviation of the random vector, for heavy atoms and for hydrogens.
    """

    generate: Generate
    grid: Grid
    noise: int
    amplitude: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Placer:
    """What places the atoms of a scene; the scene's positions and the random streams change.

    Attributes
    ----------
    scene
        One or several frames; two replicas where there is a scorer or a guide.
    network
        Draws the atoms.
    rng
        A stream for each frame.
    settings
        Sweeps, orientations, batch.
    scorer
        Says which beads are drawn again, up to the number of orientations, and inverts stereocentres that
        are wrong even so.
    bonds
        Of fixed length, kept in the last sweeps.
    guide
        What the force field and the beads say of the place of an atom; ``None`` for the network alone.
    centrings
        How mapped atoms are brought to their beads before each sweep; none without a guide.
    """

    scene: Scene
    network: Network
    rng: RandomNumbers
    settings: Settings
    scorer: Scorer | None = None
    bonds: FixedBonds | None = None
    guide: Guide | None = None
    centrings: Sequence[Centring] = ()


@dataclass(frozen=True, eq=False)
class Draw:
    """How the atoms of a stage are drawn.

    Attributes
    ----------
    growing
        Atoms know those of lower growth rank; in a sweep all others.
    hold
        Whether bonds of fixed length are kept.
    replica
        Copy of the atoms that is read and written.
    beads
        Only these are drawn; all of the stage if not given.
    redraw
        Whether each bead is drawn as if none of its atoms of this stage were there.
    width
        Factor of the widths of the guide.
    guiding
        What the draws follow.
    """

    growing: bool
    hold: bool = False
    replica: int = 0
    beads: Tensor | None = None
    redraw: bool = False
    width: float = 1.0
    guiding: Guiding | None = None

    def known_below(self, rank: int) -> int:
        """Growth rank below which atoms are known in the step of a rank."""
        return rank if self.growing else ALL_KNOWN


def reconstruct(placer: Placer, *, start: Tensor | None = None) -> Tensor:
    """Place all atoms of a scene: growth, then sweeps.

    Parameters
    ----------
    start
        (n, 3) nm, whole molecules near their beads that are swept instead of growing others.

    Returns
    -------
    (n, 3) nm, near the beads.
    """
    scene, sweeps = placer.scene, placer.settings.network_sweeps
    with torch.inference_mode():
        guiding = None if placer.guide is None else make_guiding(placer.guide, scene)
        if start is not None:
            scene.positions[:] = start
        elif guiding is None:
            _place_stages(placer, schedule(scene.arrays.growth_rank), Draw(growing=True))
        else:
            _grow(placer, guiding)
        order = schedule(scene.arrays.sweep_rank)
        for left in reversed(range(sweeps)):
            hold_bonds = placer.bonds is not None and left < HELD
            if guiding is None:
                _place_stages(placer, order, Draw(growing=False, hold=hold_bonds))
            else:
                _sweep(placer, guiding, order, left)
            if placer.bonds is not None and hold_bonds:
                frames = scene.positions[0].reshape(len(placer.rng.streams), -1, 3)
                scene.positions[0] = constrain(placer.bonds, frames).reshape(-1, 3)
    return scene.positions[0]


def _grow(placer: Placer, guiding: Guiding) -> None:
    """Place all atoms: heavy atoms by the network, then hydrogens by the guide."""
    scene, rng = placer.scene, placer.rng
    for stage in schedule(scene.arrays.growth_rank):
        if not scene.arrays.hydrogen[stage[0][1][0]]:
            draw_stage(placer, stage, Draw(growing=True, guiding=guiding), rng)
            continue
        for rank, atoms in stage:
            guiding.begin(scene.positions[0], atoms, rng.normal(len(atoms), guiding.noise), growing(rank))


def _sweep(placer: Placer, guiding: Guiding, order: Sequence[Stage], left: int) -> None:
    """Beads take what the network draws for them, or stay; then all atoms follow the guide.

    Parameters
    ----------
    left
        Sweeps that come after this one.
    """
    scene, rng, width = placer.scene, placer.rng, 2.0 ** min(left, SOFTEST)
    _centre(placer)
    for stage in order:
        if not scene.arrays.hydrogen[stage[0][1][0]]:
            for _ in range(placer.settings.orientations):
                _offer(placer, guiding, stage, width)
    for stay in SETTLING if left else LAST_SETTLING:
        for stage in order:
            for _, atoms in stage:
                noise = rng.normal(len(atoms), guiding.noise)
                guiding.settle(scene.positions[0], atoms, noise, staying(width, stay))


def _offer(placer: Placer, guiding: Guiding, stage: Stage, width: float) -> None:
    """Draw each bead of a stage as if its atoms were not there, and choose between the old and the new."""
    scene, rng = placer.scene, placer.rng
    scene.positions[1] = scene.positions[0]
    draw_stage(placer, stage, Draw(growing=False, replica=1, redraw=True, width=width, guiding=guiding), rng)
    beads = scene.arrays.owner[stage[0][1]]
    chance = rng.uniform(len(beads)), rng.normal(guiding.hydrogens(beads), guiding.noise)
    guiding.choose(scene.positions[0], scene.positions[1], beads, chance, staying(width))


def _centre(placer: Placer) -> None:
    scene, frames = placer.scene, len(placer.rng.streams)
    atoms, beads = (values.reshape(frames, -1, 3) for values in (scene.positions[0], scene.beads))
    scene.positions[0] = centre(placer.centrings, atoms, beads).reshape(-1, 3)


def schedule(rank: Tensor) -> list[list[tuple[int, Tensor]]]:
    """Stages of steps: ``(rank, atoms)`` with the atoms of each step in ascending order."""
    order = torch.argsort(rank, stable=True)
    ranks, counts = torch.unique_consecutive(rank[order], return_counts=True)
    steps = zip(ranks.tolist(), torch.split(order, counts.tolist()), strict=True)
    return [list(stage) for _, stage in groupby(steps, key=lambda step: step[0] // MOST_ATOMS)]


def _place_stages(placer: Placer, stages: Sequence[Stage], how: Draw) -> None:
    """Draw stage after stage; with a scorer, redraw beads with outlying energies before the next."""
    scene, scorer = placer.scene, placer.scorer
    for stage in stages:
        draw_stage(placer, stage, how, placer.rng)
        if scorer is None:
            continue
        draw_again(placer, stage, how, scorer)
        if not scene.arrays.hydrogen[stage[0][1][0]]:
            scorer.invert_wrong(scene, how.known_below(stage[-1][0] + 1))


def draw_stage(placer: Placer, stage: Stage, how: Draw, rng: RandomNumbers) -> None:
    """Draw the atoms of a stage.

    Random numbers are drawn for all beads, so that those of a frame do not depend on the others.
    """
    scene, network = placer.scene, placer.network
    for rank, every in stage:
        width = network.amplitude[int(scene.arrays.hydrogen[every[0]])]  # a step has heavy atoms or hydrogens
        columns = [every, rng.angle(len(every)), width * rng.normal(len(every), network.noise)]
        columns.append(rng.normal(len(every), how.guiding.noise if how.guiding else 0))
        columns = [column.to(every.device) for column in columns]
        if how.beads is not None:
            chosen = torch.isin(scene.arrays.owner[every], how.beads)
            columns = [column[chosen] for column in columns]
        batches = zip(*(torch.split(column, placer.settings.batch) for column in columns), strict=True)
        drawn = []
        for atom, *chance in batches:
            if len(atom):
                known_below = how.known_below(rank)
                targets = make_targets(atom, known_below, replica=how.replica, redraw=how.redraw)
                drawn.append(_drawn(placer, targets, Chance(*chance), how))
        if drawn:
            scene.positions[how.replica, columns[0]] = torch.cat(drawn)


class Chance(NamedTuple):
    """Random numbers of some atoms: (b,) radian, turn of the local frame; (b, ...) standard normal."""

    azimuth: Tensor
    noise: Tensor
    thermal: Tensor


def _drawn(placer: Placer, targets: Targets, chance: Chance, how: Draw) -> Tensor:
    """(b, 3) nm, positions drawn for some atoms."""
    scene, grid = placer.scene, placer.network.grid
    environment = make_environment(scene, targets, chance.azimuth, grid)
    density = placer.network.generate(environment, chance.noise).float()
    position = to_laboratory(environment, collapse(density, grid))
    if how.guiding is not None:
        follow = redrawing(how.width) if how.redraw else growing(int(targets.known_below[0]))
        atoms = scene.positions[how.replica]
        return how.guiding.follow(atoms, targets.atom, position, chance.thermal, follow)
    if placer.bonds is None or not how.hold:
        return position
    return hold(placer.bonds, scene, targets, position)


def draw_again(placer: Placer, stage: Stage, how: Draw, scorer: Scorer) -> None:
    """Redraw beads whose energy is an outlier for their type; keep what is better.

    All draws within the limits count the same: to take the lowest would give a structure that is too cold.
    """
    scene, owner, rng = placer.scene, placer.scene.arrays.owner, placer.rng.spawn()
    known_below = how.known_below(stage[-1][0] + 1)
    bead, placed = owner[stage[0][1]], torch.cat([atoms for _, atoms in stage])
    limits: Tensor | None = None
    for attempt in range(placer.settings.orientations - 1):
        # again after each try: neighbours were tried together, and one of them may have stayed
        energies = scorer.energies(scene, bead, placed, known_below)
        if limits is None:
            limits = usual_limits(energies, types_of(scene, bead, frames=len(rng.streams)))
        excess = (energies - limits).clamp(min=0).sum(1)
        bad = ~(excess <= 0)  # what is no number is bad
        bead, limits, excess = bead[bad], limits[bad], excess[bad]
        if not len(bead):
            return
        placed = placed[torch.isin(owner[placed], bead)]
        scene.positions[1] = scene.positions[0]
        # every other time: neighbours of its own may hold an atom where it should not be
        redraw = not how.growing and bool(attempt % 2)
        draw_stage(placer, stage, replace(how, replica=1, beads=bead, redraw=redraw), rng)
        found = scorer.energies(scene, bead, placed, known_below, replica=1)
        better = ~((found - limits).clamp(min=0).sum(1) >= excess)
        taken = placed[torch.isin(owner[placed], bead[better])]
        scene.positions[0, taken] = scene.positions[1, taken]


def types_of(scene: Scene, bead: Tensor, *, frames: int) -> Tensor:
    """(b,) the same number for beads of one type in one frame."""
    arrays = scene.arrays
    frame = bead // (arrays.n_beads // frames)
    return frame * (int(arrays.bead_row.max()) + 1) + arrays.bead_row[bead]


LOW = 0.25  # part of the beads that is below the lower end of what is usual
ENOUGH = 10  # beads of a type, to say what is usual
OVERLAP = 20.0  # kJ/mol, the limit where there are fewer


def usual_limits(energies: Tensor, bead_type: Tensor) -> Tensor:
    """Energies above which a bead is an outlier for its type.

    Most beads the network draws are right; some overlap with others or are torn.  So the lower half of
    the energies says how wide their distribution is: the limit is as far above the median as the lower
    quartile is below.

    Parameters
    ----------
    energies
        (b, e) kJ/mol, parts of the energy of each bead.
    bead_type
        (b,) beads of the same number are compared.
    """
    limits = torch.full_like(energies, OVERLAP)
    for k in set(bead_type.tolist()):
        mine = torch.nan_to_num(energies[bead_type == k], nan=torch.inf)
        if len(mine) >= ENOUGH:
            low, middle = (mine.quantile(q, 0, interpolation="lower") for q in (LOW, 0.5))
            limits[bead_type == k] = 2 * middle - low
    return limits


def to_laboratory(environment: Environment, local: Tensor) -> Tensor:
    """(b, 3) positions of the laboratory from (b, 3) of the local frames, nm."""
    return (local[:, None] @ environment.rotation)[:, 0] + environment.centre

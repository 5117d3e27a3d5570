"""What the user's force field and beads say of the place of an atom, imposed on the draws of the network.

The network draws a position.  Around it the force field is stiff in some directions: bonds, angles (as
distances between their ends), flat groups, stereocentres, atoms that would overlap, and the mapped centre of
the bead.  All of these are sums of squares, near their minimum.  With the draw itself as one more square
of width :data:`TRUST`, and every target moved by thermal noise of its own width, the minimum of the sum is a
draw from the product of both (randomise, then optimise: Bardsley et al., SIAM J. Sci. Comput. 36, A1895,
2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from dbm_gmx.network.environment import (
    ALL_KNOWN,
    Scene,
    Targets,
    later_in_bead,
    make_targets,
    neighbouring_atoms,
)
from dbm_gmx.network.voxels import Grid

TRUST = 0.03
"""nm, how far the network's draws are taken to be off."""
STAY = 0.03
"""nm, how far atoms may go in a step without the network."""
ROUNDS, FEWER_ROUNDS = 6, 3
"""Of Gauss and Newton's method."""
LONGEST_STEP = 0.05
"""nm, of one round."""
OVERLAP = 0.7
"""Of sigma: nearer atoms repel as if they were so far apart."""
HAND = 0.5
"""Part of the least volume, of the three bonds at a stereocentre, that it must have."""
RADIUS = 0.01
"""nm, width of the distance from the centre of a bead, in growth."""
LOOSE = 0.05
"""nm, how far atoms that are missing may be from where they are taken to be."""
STEEPEST = 0.5
"""Of the root of a torsion in one degree; more is the way to another basin."""
NEAR = 0.45
"""nm, atoms nearer than this may come to overlap in a few steps."""


class Squares(NamedTuple):
    """Squares that a position should make small: residuals (b, k) and their gradients (b, k, 3)."""

    residual: Tensor
    gradient: Tensor


class Centres(NamedTuple):
    """Beads that each atom has to do with; for hydrogens none.

    Attributes
    ----------
    bead
        (rows, m) counted from the first of the molecule; -1: none.
    share
        (rows, m) weight of the atom, with that of the hydrogens on it.
    radius
        (rows, m) nm, how far the atom is from the centre of the bead's atoms; -1: not known.
    members, weights
        (rows, m, a) atoms of the bead, as offsets, and their weights; 0: none.
    """

    bead: Tensor
    share: Tensor
    radius: Tensor
    members: Tensor
    weights: Tensor

    def of(self, row: Tensor) -> Centres:
        """Those of some atoms."""
        return Centres(*(values[row] for values in self))


@dataclass(frozen=True, eq=False)
class Guide:
    """What is known of every atom.  Rows are those of :class:`~dbm_gmx.network.arrays.NetworkArrays`.

    Attributes
    ----------
    step, distance, width
        (rows, k) atoms at a known distance, as offsets from the atom itself (0: none); nm; standard
        deviation, nm.
    flat, flat_width
        (rows, f, 3) atoms that lie in a plane with it, as offsets (0: none); standard deviation of
        the volume of the four, nm^3.
    turn, curve, curves
        (rows, t, 3) other atoms of torsions, as offsets (0: none); (rows, t, 2) row of the curve, and whether
        the atom is an inner one; (curves, 360) signed root of twice the energy over kT, from -180 degrees.
    hand, least
        (atoms of a frame, h, 3) atoms at a stereocentre with it, in an order that should give a positive
        volume, as offsets (0: none); (atoms of a frame, h) that volume if regular, nm^3.
    centres
        Of the beads that heavy atoms have to do with.
    first_bead
        (atoms of a frame,) first bead of its molecule.
    excluded
        (rows, x) atoms that it does not repel, as offsets; itself (0) among them.
    types, sigma, strength
        (atoms of a frame,) type; (types, types) nm, and square root of 8 epsilon / kT.
    spread
        nm, width of the restraints to the beads.
    grid
        Its cut-off is that of the neighbours.
    """

    step: Tensor
    distance: Tensor
    width: Tensor
    flat: Tensor
    flat_width: Tensor
    turn: Tensor
    curve: Tensor
    curves: Tensor
    hand: Tensor
    least: Tensor
    centres: Centres
    first_bead: Tensor
    excluded: Tensor
    types: Tensor
    sigma: Tensor
    strength: Tensor
    spread: float
    grid: Grid

    @property
    def noise(self) -> int:
        """Random numbers for each atom."""
        return self.step.shape[1] + self.flat.shape[1] + self.turn.shape[1] + 3 * self.centres.bead.shape[1]


def follow(
    guide: Guide,
    scene: Scene,
    targets: Targets,
    drawn: Tensor,
    noise: Tensor,
    *,
    width: float = 1.0,
    near: Near | None = None,
) -> Tensor:
    """Positions that the network draws, moved to where the force field and the beads allow them.

    Parameters
    ----------
    targets
        (b,) atoms.
    drawn
        (b, 3) nm, where the network drew them.
    noise
        (b, :attr:`Guide.noise`) standard normal.
    width
        Factor of all widths; atoms that overlap repel as ever.
    near
        Atoms near each other, all of which are there: then atoms follow the guide from where they are.

    Returns
    -------
    (b, 3) nm.
    """
    parts = [
        _distances(guide, scene, targets, noise),
        _flat_groups(guide, scene, targets, noise),
        _torsions(guide, scene, targets, noise),
        _hands(guide, scene, targets),
        _centres(guide, scene, targets, noise),
        _overlaps(guide, scene, targets, near),
    ]
    position = drawn
    trust, rounds = (TRUST, ROUNDS) if near is None else (STAY, FEWER_ROUNDS)
    own = torch.eye(3, device=drawn.device) / trust**2
    weights = (*[1 / width] * 5, 1.0)
    for _ in range(rounds):
        found = [part(position) for part in parts]
        residual = torch.cat([f.residual * w for f, w in zip(found, weights, strict=True)], 1)
        gradient = torch.cat([f.gradient * w for f, w in zip(found, weights, strict=True)], 1)
        slope = (gradient.transpose(1, 2) @ residual[..., None])[..., 0] + (position - drawn) / trust**2
        move = -torch.linalg.solve(gradient.transpose(1, 2) @ gradient + own, slope)
        length = move.norm(dim=1, keepdim=True)
        position = position + move * (LONGEST_STEP / length.clamp(min=LONGEST_STEP))
    return position


Part = Callable[[Tensor], Squares]
"""From positions (b, 3) to squares."""


def _known(scene: Scene, targets: Targets, other: Tensor, step: Tensor) -> Tensor:
    """Whether atoms ``other``, of the same molecule, are there and known to the targets; as ``step``."""
    arrays = scene.arrays
    atom = targets.atom.reshape(-1, *[1] * (other.ndim - 1))
    known = (step != 0) & (arrays.growth_rank[other] < targets.known_below.reshape(atom.shape))
    known &= ~arrays.hydrogen[other] | arrays.hydrogen[atom]
    if targets.redraw:
        known &= ~later_in_bead(arrays, other, atom)
    return known


def _others(scene: Scene, targets: Targets, step: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of atoms given by offsets (b, ...), and which of these are known."""
    shape = targets.atom.reshape(-1, *[1] * (step.ndim - 1))
    other = shape + step
    replica = targets.replica.reshape(shape.shape)
    return scene.positions[replica, other], _known(scene, targets, other, step)


def _distances(guide: Guide, scene: Scene, targets: Targets, noise: Tensor) -> Part:
    row = scene.arrays.row[targets.atom]
    ends, known = _others(scene, targets, guide.step[row])
    weight = known / guide.width[row]
    wanted = guide.distance[row] + guide.width[row] * noise[:, : guide.step.shape[1]]

    def part(position: Tensor) -> Squares:
        vector = position[:, None] - ends
        distance = vector.norm(dim=2).clamp(min=1e-3)
        return Squares(weight * (distance - wanted), (weight / distance)[..., None] * vector)

    return part


def _flat_groups(guide: Guide, scene: Scene, targets: Targets, noise: Tensor) -> Part:
    row = scene.arrays.row[targets.atom]
    points, known = _others(scene, targets, guide.flat[row])
    weight = known.all(2) / guide.flat_width[row]
    first = guide.step.shape[1]
    drawn = known.all(2) * noise[:, first : first + guide.flat.shape[1]]
    normal, corner = _plane(points)

    def part(position: Tensor) -> Squares:
        volume = ((corner - position[:, None]) * normal).sum(2)
        return Squares(weight * volume - drawn, -weight[..., None] * normal)

    return part


def _plane(points: Tensor) -> tuple[Tensor, Tensor]:
    """Normals, twice the area long, of triangles (b, k, 3, 3), and a corner of each."""
    a, b, c = points.unbind(2)
    return torch.linalg.cross(b - a, c - a), a


def _torsions(guide: Guide, scene: Scene, targets: Targets, noise: Tensor) -> Part:
    row = scene.arrays.row[targets.atom]
    points, known = _others(scene, targets, guide.turn[row])
    curve, inner = guide.curve[row].unbind(2)
    weight = known.all(2).float()
    first = guide.step.shape[1] + guide.flat.shape[1]
    drawn = weight * noise[:, first : first + curve.shape[1]]
    a, b, c = points.unbind(2)
    swap = (inner > 0)[..., None]

    def part(position: Tensor) -> Squares:
        here = position[:, None].expand_as(a)
        i, j = torch.where(swap, a, here), torch.where(swap, here, a)
        one, axis, two = j - i, b - j, c - b
        left, right = torch.linalg.cross(one, axis), torch.linalg.cross(axis, two)
        length = axis.norm(dim=2, keepdim=True).clamp(min=1e-3)
        angle = torch.atan2(length[..., 0] * (one * right).sum(2), (left * right).sum(2))
        of_i = -length / left.square().sum(2, keepdim=True).clamp(min=1e-8) * left
        of_m = length / right.square().sum(2, keepdim=True).clamp(min=1e-8) * right
        along = [(v * axis).sum(2, keepdim=True) / length**2 for v in (one, two)]
        gradient = torch.where(swap, -(1 + along[0]) * of_i + along[1] * of_m, of_i)
        value, slope = _look_up(guide.curves, curve, angle)
        return Squares(weight * value - drawn, (weight * slope)[..., None] * gradient)

    return part


def _look_up(curves: Tensor, row: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes (per radian) of curves at angles; all (b, t)."""
    bins = curves.shape[1]
    place = torch.remainder(angle * (bins / (2 * torch.pi)) + bins / 2, bins)
    low = place.floor().long().clamp(max=bins - 1)
    start, end = curves[row, low], curves[row, (low + 1) % bins]
    rise = torch.where((end - start).abs() < STEEPEST, end - start, 0.0)  # no slope from basin to basin
    return start + rise * (place - low), rise * (bins / (2 * torch.pi))


def _hands(guide: Guide, scene: Scene, targets: Targets) -> Part:
    one = targets.atom % len(guide.hand)
    points, known = _others(scene, targets, guide.hand[one])
    least = guide.least[one]
    there = known.all(2)
    normal, corner = _plane(points)

    def part(position: Tensor) -> Squares:
        volume = ((corner - position[:, None]) * normal).sum(2)
        weight = there * (volume < HAND * least) / (0.1 * least).clamp(min=1e-9)
        return Squares(weight * (volume - HAND * least), -weight[..., None] * normal)

    return part


def _centres(guide: Guide, scene: Scene, targets: Targets, noise: Tensor) -> Part:
    """The mapped centres of the beads that a heavy atom has weight in, and how far it is from centres.

    Where all atoms are there, a centre moves with the atom and the hydrogens on it.  In growth atoms that are
    missing are taken to be where this one is, and the centre is held as loosely as that is uncertain.
    """
    arrays, atom = scene.arrays, targets.atom
    table = guide.centres.of(arrays.row[atom])
    target = scene.beads[(_first_beads(guide, scene, atom)[:, None] + table.bead).clamp(min=0)]
    other = atom[:, None, None] + table.members
    here = table.members == 0
    missing = (arrays.growth_rank[other] >= targets.known_below[:, None, None]) & ~here
    if targets.redraw:
        missing |= later_in_bead(arrays, other, atom[:, None, None])
    points = scene.positions[targets.replica[:, None, None], other]
    known = ((table.weights * (~missing & ~here))[..., None] * points).sum(2)
    own, absent = (table.weights * here).sum(2), (table.weights * missing).sum(2)
    growing = (targets.known_below < ALL_KNOWN)[:, None] | (absent > 0)
    follows = (own - table.share)[..., None] * scene.positions[targets.replica, atom][:, None]
    constant = torch.where(growing[..., None], known, known + follows) - target
    total = torch.where(growing, own + absent, table.share)
    weighted = (table.share > 0) / torch.hypot(absent * LOOSE, torch.full_like(absent, guide.spread))
    first = guide.noise - 3 * table.bead.shape[1]
    drawn = noise[:, first:].reshape(len(atom), -1, 3) * (table.share > 0)[..., None]
    slope = (weighted * total)[..., None, None] * torch.eye(3, device=atom.device)
    away = (growing & (table.radius >= 0)) / RADIUS

    def part(position: Tensor) -> Squares:
        off = weighted[..., None] * (constant + total[..., None] * position[:, None]) - drawn
        vector = position[:, None] - target
        distance = vector.norm(dim=2).clamp(min=1e-3)
        residuals = off.flatten(1), away * (distance - table.radius)
        gradients = slope.flatten(1, 2), (away / distance)[..., None] * vector
        return Squares(torch.cat(residuals, 1), torch.cat(gradients, 1))

    return part


def _first_beads(guide: Guide, scene: Scene, atom: Tensor) -> Tensor:
    """(b,) rows of the first beads of the molecules of some atoms."""
    n = len(guide.first_bead)
    frames = scene.arrays.n_atoms // n
    frame = torch.div(atom, n, rounding_mode="floor")
    return guide.first_bead[atom % n] + frame * (scene.arrays.n_beads // frames)


@dataclass(frozen=True, eq=False)
class Near:
    """Atoms that are near each atom of a scene, all of which are there; for as long as none goes far.

    Attributes
    ----------
    other, shift
        (n, k) rows of the scene's atoms, and (n, k, 3) nm, the lattice vectors that bring them there.
    sigma, strength
        (n, k) of the pairs, see :class:`Guide`; 0 where they do not repel.
    """

    other: Tensor
    shift: Tensor
    sigma: Tensor
    strength: Tensor


def find_near(guide: Guide, scene: Scene, replica: int = 0, batch: int = 1024) -> Near:
    """The atoms that each atom may come to overlap with."""
    found = []
    for atom in torch.split(torch.arange(scene.arrays.n_atoms, device=scene.beads.device), batch):
        targets = make_targets(atom, ALL_KNOWN, replica=replica)
        found.append(_near(guide, scene, targets))
    width = max(part.other.shape[1] for part in found)
    return Near(*(torch.cat([_wider(getattr(part, f.name), width) for part in found]) for f in fields(Near)))


def _wider(values: Tensor, width: int) -> Tensor:
    more = values.new_zeros(values.shape[0], width - values.shape[1], *values.shape[2:])
    return torch.cat([values, more], 1)


def _near(guide: Guide, scene: Scene, targets: Targets) -> Near:
    """Of some atoms, the known atoms within :data:`NEAR`."""
    arrays, atom = scene.arrays, targets.atom
    vector, _, real, other = neighbouring_atoms(scene, targets, guide.grid)
    origin = scene.beads[arrays.owner[atom]][:, None]
    distance = (vector + origin - scene.positions[targets.replica, atom][:, None]).norm(dim=2)
    close = (real > 0) & (distance < NEAR)
    count = max(1, int(close.sum(1).max()))
    order = (
        torch.where(close, distance, torch.inf).topk(min(count, close.shape[1]), dim=1, largest=False).indices
    )
    other, close = other.gather(1, order).clamp(min=0), close.gather(1, order)
    vector = vector.gather(1, order[..., None].expand(-1, -1, 3))
    shift = vector + origin - scene.positions[targets.replica[:, None], other]
    return Near(other, shift, *_strengths(guide, scene, atom, other, close))


def _strengths(
    guide: Guide, scene: Scene, atom: Tensor, other: Tensor, there: Tensor
) -> tuple[Tensor, Tensor]:
    """(b, k) sigma of pairs, and their strengths: 0 where they are not there or do not repel."""
    apart = (other - atom[:, None])[:, :, None] != guide.excluded[scene.arrays.row[atom]][:, None]
    frame = len(guide.types)
    pair = guide.types[atom % frame][:, None], guide.types[other.clamp(min=0) % frame]
    return guide.sigma[pair], guide.strength[pair] * there * apart.all(2)


def _overlaps(guide: Guide, scene: Scene, targets: Targets, near: Near | None) -> Part:
    """The repulsion of Lennard-Jones: 4 epsilon ((sigma / r)^6 - 1/2)^2, a square as it is."""
    atom = targets.atom
    if near is None:
        vector, _, real, other = neighbouring_atoms(scene, targets, guide.grid)
        points = vector + scene.beads[scene.arrays.owner[atom]][:, None]
        sigma, strength = _strengths(guide, scene, atom, other, real)
    else:
        points = scene.positions[targets.replica[:, None], near.other[atom]] + near.shift[atom]
        sigma, strength = near.sigma[atom], near.strength[atom]

    def part(position: Tensor) -> Squares:
        vector = position[:, None] - points
        distance = vector.norm(dim=2).clamp(min=1e-3)
        ratio = sigma / torch.maximum(distance, OVERLAP * sigma).clamp(min=1e-3)
        sixth = (ratio * ratio * ratio).square()
        slope = -6 * sixth * ratio / sigma.clamp(min=1e-3)
        # nearer than OVERLAP: on in a straight line
        value = sixth - 0.5 + slope * (distance - OVERLAP * sigma).clamp(max=0)
        push = strength * (value > 0)
        return Squares(push * value, (push * slope / distance)[..., None] * vector)

    return part

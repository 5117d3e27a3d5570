"""What one atom sees: the beads and known atoms around it, in a local frame, as densities.

Nothing here loops over atoms; a batch holds the current atom of many molecules, frames and beads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.periodic import neighbour_pairs
from dbm_gmx.network.arrays import Layout, repeat
from dbm_gmx.network.voxels import Grid, gaussians

REACH = 0.4
"""nm an atom may be away from the bead that owns it and still be found as a neighbour of others."""

EVERYTHING = 2**40
"""A rank above all others: who looks from here sees every atom."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One or several frames in the making.

    Attributes
    ----------
    layout
        Of all frames, one after the other.
    beads
        (m, 3) nm, molecules whole.
    positions
        (replicas, n, 3) nm, near their beads; filled in as atoms are placed.
    link_start, link_bead, link_shift
        (m + 1,), (l,), (l, 3): beads near bead b (b itself among them) and the lattice vectors that
        bring them there.
    """

    layout: Layout
    beads: Tensor
    positions: Tensor
    link_start: Tensor
    link_bead: Tensor
    link_shift: Tensor


@dataclass(frozen=True, eq=False)
class Environment:
    """What a batch of atoms sees.

    Attributes
    ----------
    atom
        (b,) rows of the scene's atoms that are to be placed.
    atom_class
        (b,) their classes.
    centre
        (b, 3) nm, position of the current bead.
    rotation
        (b, 3, 3) from the laboratory to the local frame: ``local = rotation @ (r - centre)``.
    positions
        (b, k, 3) nm, local positions of everything seen, padded.
    rows
        (b, k) rows of the feature table.
    weights
        (b, k) 1, or 0 for padding.
    neighbour
        (b, k) rows of the scene's atoms, those of bonded second entries too; -1 for beads and padding.
    """

    atom: Tensor
    atom_class: Tensor
    centre: Tensor
    rotation: Tensor
    positions: Tensor
    rows: Tensor
    weights: Tensor
    neighbour: Tensor


def make_scene(
    layout: Layout,
    beads: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    *,
    grid: Grid,
    replicas: int = 1,
    device: torch.device | str = "cpu",
) -> Scene:
    """Set the scene of some frames, no atom placed yet.

    Parameters
    ----------
    layout
        Of a single frame.
    beads
        Per frame (m, 3) nm, molecules whole.
    boxes
        Per frame (3, 3) nm.
    replicas
        Copies of the atoms.
    """
    m, starts, near, shifts = layout.n_beads, [0], [], []
    for f, (points, box) in enumerate(zip(beads, boxes, strict=True)):
        pairs = neighbour_pairs(points, points, box, grid.cutoff + REACH)
        pairs = pairs.select(np.argsort(pairs.i, kind="stable"))
        near.append(pairs.j.astype(np.int64) + f * m)
        shifts.append(pairs.shift().astype(np.float32))
        starts.extend(starts[-1] + np.cumsum(np.bincount(pairs.i, minlength=m)))
    everything = repeat(layout, len(beads))
    moved = Layout(**{f.name: getattr(everything, f.name).to(device) for f in fields(Layout)})
    return Scene(
        layout=moved,
        beads=torch.from_numpy(np.concatenate(beads).astype(np.float32)).to(device),
        positions=torch.zeros(replicas, moved.n_atoms, 3, device=device),
        link_start=torch.tensor(np.array(starts), device=device),
        link_bead=torch.from_numpy(np.concatenate(near)).to(device),
        link_shift=torch.from_numpy(np.concatenate(shifts)).to(device),
    )


def expand(start: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Members of each group of a ragged list.

    Returns
    -------
    (e,) which element of ``group`` each member belongs to, and (e,) its place in the list.
    """
    count = start[group + 1] - start[group]
    which = torch.repeat_interleave(torch.arange(len(group), device=group.device), count)
    ends = torch.cumsum(count, 0)
    return which, torch.arange(len(which), device=group.device) + (start[group] + count - ends)[which]


def pad(which: Tensor, batch: int, *values: Tensor) -> list[Tensor]:
    """Ragged rows (sorted by ``which``) as (batch, longest, ...) arrays, and 1 where they are real.

    Differentiable by the values.
    """
    count = torch.bincount(which, minlength=batch)
    width = max(1, int(count.max()))
    slot = torch.arange(len(which), device=which.device) - (torch.cumsum(count, 0) - count)[which]
    place = which * width + slot
    real = torch.ones(len(which), device=which.device)
    return [
        v.new_zeros(batch * width, *v.shape[1:]).index_copy_(0, place, v).reshape(batch, width, *v.shape[1:])
        for v in (*values, real)
    ]


def local_frames(scene: Scene, bead: Tensor, azimuth: Tensor) -> Tensor:
    """Rotations that lay the local z axis along the alignment bead.

    The axis x is fixed by a second bead of the molecule, so that a rotated system gives rotated
    atoms, and then turned about z by ``azimuth``.

    Parameters
    ----------
    bead
        (b,) current beads.
    azimuth
        (b,) radian.

    Returns
    -------
    (b, 3, 3) rotation matrices, rows are the local axes.
    """
    here, align, second = scene.beads[bead], scene.layout.align[bead], scene.layout.second[bead]
    lab = torch.eye(3, device=bead.device).expand(len(bead), 3, 3)
    z = _unit(torch.where((align >= 0)[:, None], scene.beads[align] - here, lab[:, 2]), lab[:, 2])
    towards = torch.where((second >= 0)[:, None], scene.beads[second] - here, lab[:, 0])
    # the axis of the laboratory furthest from z serves where three beads lie on a line or are missing
    spare = torch.nn.functional.one_hot(z.abs().argmin(1), 3).to(z.dtype)
    spare = _unit(spare - (spare * z).sum(1, keepdim=True) * z, lab[:, 0])
    x = _unit(towards - (towards * z).sum(1, keepdim=True) * z, spare)
    y = torch.linalg.cross(z, x)
    cos, sin = torch.cos(azimuth)[:, None], torch.sin(azimuth)[:, None]
    return torch.stack([cos * x + sin * y, cos * y - sin * x, z], 1)


def _unit(v: Tensor, spare: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(v, dim=1, keepdim=True)
    return torch.where(length > 1e-3, v / length.clamp(min=1e-3), spare)


def surround(
    scene: Scene,
    atom: Tensor,
    *,
    now: Tensor,
    azimuth: Tensor,
    replica: Tensor,
    grid: Grid,
    anew: bool = False,
) -> Environment:
    """Gather what each atom of a batch sees.

    Heavy atoms see no hydrogen of their own molecule (paper, implementation details).

    Parameters
    ----------
    scene
        Beads and atoms.
    atom
        (b,) atoms to be placed.
    now
        (b,) atoms of lower growth rank are known; :data:`EVERYTHING` in sweeps.
    azimuth
        (b,) radian, turn of the local frame about its z axis.
    replica
        (b,) which of the scene's copies of the atoms is seen.
    anew
        Whether the beads of the atoms are drawn anew: those of their atoms that are to come are not seen.
    """
    layout = scene.layout
    bead = layout.owner[atom]
    centre, rotation = scene.beads[bead], local_frames(scene, bead, azimuth)
    shown = [
        neighbouring_atoms(scene, atom, now=now, replica=replica, grid=grid, anew=anew),
        _bonded_atoms(scene, atom, now=now, replica=replica, grid=grid, anew=anew),
        _neighbouring_beads(scene, bead, grid=grid),
    ]
    positions, rows, weights, neighbour = (torch.cat(parts, 1) for parts in zip(*shown, strict=True))
    return Environment(
        atom=atom,
        atom_class=layout.atom_class[atom],
        centre=centre,
        rotation=rotation,
        positions=positions @ rotation.transpose(1, 2),
        rows=rows,
        weights=weights,
        neighbour=neighbour,
    )


Shown = tuple[Tensor, Tensor, Tensor, Tensor]
"""Positions relative to the centre (b, k, 3), feature rows, weights and atoms (b, k)."""


def neighbouring_atoms(
    scene: Scene, atom: Tensor, *, now: Tensor, replica: Tensor, grid: Grid, anew: bool = False
) -> Shown:
    """All known atoms inside the cut-off, found through the beads that own them."""
    layout, bead = scene.layout, scene.layout.owner[atom]
    which, link = expand(scene.link_start, bead)
    member, place = expand(layout.own_start, scene.link_bead[link])
    sample, other, shift = which[member], layout.own[place], scene.link_shift[link][member]
    vector = scene.positions[replica[sample], other] + shift - scene.beads[bead][sample]
    keep = vector.square().sum(1) < grid.cutoff**2
    sample, other, shift, vector = sample[keep], other[keep], shift[keep], vector[keep]
    here = shift.square().sum(1) < SAME
    keep = _visible(layout, other, atom[sample], now[sample], here=here, anew=anew)
    sample, other, vector = sample[keep], other[keep], vector[keep]
    vector, rows, other, real = pad(sample, len(atom), vector, layout.atom_class[other], other)
    return vector, rows, real, torch.where(real > 0, other, -1)


def _bonded_atoms(
    scene: Scene, atom: Tensor, *, now: Tensor, replica: Tensor, grid: Grid, anew: bool
) -> Shown:
    """Bonded and excluded atoms once more, for the channels that say what they are to the current one."""
    layout = scene.layout
    step = layout.partners[layout.row[atom]]
    other = atom[:, None] + step
    vector = scene.positions[replica[:, None], other] - scene.beads[layout.owner[atom]][:, None]
    seen = (step != 0) & (vector.square().sum(2) < grid.cutoff**2)
    seen &= _visible(layout, other, atom[:, None], now[:, None], here=torch.ones_like(seen), anew=anew)
    return vector, layout.partner_row[layout.row[atom]], seen.to(vector.dtype), torch.where(seen, other, -1)


def _neighbouring_beads(scene: Scene, bead: Tensor, *, grid: Grid) -> Shown:
    which, link = expand(scene.link_start, bead)
    near, shift = scene.link_bead[link], scene.link_shift[link]
    vector = scene.beads[near] + shift - scene.beads[bead][which]
    current = (near == bead[which]) & (shift.square().sum(1) < SAME)
    rows = torch.where(current, scene.layout.current_row[near], scene.layout.bead_row[near])
    keep = vector.square().sum(1) < grid.cutoff**2
    vector, rows, real = pad(which[keep], len(bead), vector[keep], rows[keep])
    return vector, rows, real, torch.full_like(rows, -1)


SAME = 1e-6  # nm^2; a lattice vector shorter than this is none


def _visible(layout: Layout, other: Tensor, atom: Tensor, now: Tensor, *, here: Tensor, anew: bool) -> Tensor:
    """Whether an atom shows another: placed, not itself, no hydrogen of its own molecule if it is heavy.

    ``here`` tells the molecule itself from its periodic images.
    """
    own_molecule = here & (layout.molecule[other] == layout.molecule[atom])
    hidden = own_molecule & layout.hydrogen[other] & ~layout.hydrogen[atom]
    if anew:
        hidden |= here & to_come(layout, other, atom)
    return (layout.growth[other] < now) & ~(here & (other == atom)) & ~hidden


def to_come(layout: Layout, other: Tensor, atom: Tensor) -> Tensor:
    """Whether an atom is placed after another of the same bead and stage."""
    same = (layout.owner[other] == layout.owner[atom]) & (layout.hydrogen[other] == layout.hydrogen[atom])
    return same & (layout.growth[other] > layout.growth[atom])


def densities(environment: Environment, features: Tensor, grid: Grid) -> Tensor:
    """Smooth densities of everything seen, xi and Xi of the paper in one array.

    Parameters
    ----------
    features
        (rows, channels) the feature table; its floating point type is that of the densities.

    Returns
    -------
    (b, channels, size, size, size).
    """
    batch, channels, size = len(environment.atom), features.shape[1], grid.size
    x, y, z = gaussians(environment.positions, grid).to(features.dtype).unbind(2)
    shown = features[environment.rows] * environment.weights[..., None].to(features.dtype)
    left = (shown[..., None] * x[:, :, None]).reshape(batch, -1, channels * size)
    right = (y[..., :, None] * z[..., None, :]).reshape(batch, -1, size * size)
    return torch.bmm(left.transpose(1, 2), right).reshape(batch, channels, size, size, size)

"""The environment of an atom: beads and known atoms around it, in a local frame, as densities.

Nothing here loops over atoms; a batch holds one atom of many beads, molecules and frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.periodic import neighbour_pairs
from dbm_gmx.network.arrays import NetworkArrays, repeat_frames
from dbm_gmx.network.guide_steps import REACH
from dbm_gmx.network.voxels import Grid, gaussians


@dataclass(frozen=True, eq=False)
class Scene:
    """One or several frames whose atoms are being placed.

    Attributes
    ----------
    arrays
        Of all frames, one after the other.
    beads
        (m, 3) nm, molecules whole.
    positions
        (replicas, n, 3) nm, near their beads; filled in as atoms are placed.
    link_start, link_bead, link_shift
        (m + 1,), (l,), (l, 3) nm: beads near bead b (b itself among them) and the lattice vectors that
        bring them there.
    """

    arrays: NetworkArrays
    beads: Tensor
    positions: Tensor
    link_start: Tensor
    link_bead: Tensor
    link_shift: Tensor


@dataclass(frozen=True, eq=False)
class Targets:
    """Atoms that are to be placed, and which of the others are known to them.

    Attributes
    ----------
    atom
        (b,) rows of the scene's atoms.
    known_below
        (b,) atoms of lower growth rank are known; :data:`ALL_KNOWN` in sweeps.
    replica
        (b,) which of the scene's copies of the atoms is read.
    redraw
        Whether beads are drawn anew: atoms of the same bead and stage that come later are not known.
    """

    atom: Tensor
    known_below: Tensor
    replica: Tensor
    redraw: bool = False


def make_targets(atom: Tensor, known_below: int, *, replica: int = 0, redraw: bool = False) -> Targets:
    """Atoms (b,) to which the same others are known."""
    return Targets(atom, torch.full_like(atom, known_below), torch.full_like(atom, replica), redraw)


@dataclass(frozen=True, eq=False)
class Environment:
    """What surrounds a batch of atoms.

    Attributes
    ----------
    atom
        (b,) rows of the scene's atoms that are to be placed.
    atom_class
        (b,) their rows of the feature table.
    centre
        (b, 3) nm, position of the current bead.
    rotation
        (b, 3, 3) from the laboratory to the local frame: ``local = rotation @ (r - centre)``.
    positions
        (b, k, 3) nm, local positions of all entries, padded.
    rows
        (b, k) rows of the feature table.
    weights
        (b, k) 1, or 0 for padding.
    neighbour
        (b, k) rows of the scene's atoms, also for second entries of bonded atoms; -1 for beads and padding.
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
    arrays: NetworkArrays,
    beads: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    *,
    grid: Grid,
    replicas: int = 1,
    device: torch.device | str = "cpu",
) -> Scene:
    """The scene of some frames, no atom placed yet.

    Parameters
    ----------
    arrays
        Of a single frame.
    beads
        Per frame (m, 3) nm, molecules whole.
    boxes
        Per frame (3, 3) nm.
    replicas
        Copies of the atoms.
    """
    m, starts, near, shifts = arrays.n_beads, [0], [], []
    for f, (points, box) in enumerate(zip(beads, boxes, strict=True)):
        pairs = neighbour_pairs(points, points, box, grid.cutoff + REACH)
        pairs = pairs.select(np.argsort(pairs.i, kind="stable"))
        near.append(pairs.j.astype(np.int64) + f * m)
        shifts.append(pairs.shift().astype(np.float32))
        starts.extend(starts[-1] + np.cumsum(np.bincount(pairs.i, minlength=m)))
    repeated = repeat_frames(arrays, len(beads))
    moved = NetworkArrays(**{f.name: getattr(repeated, f.name).to(device) for f in fields(NetworkArrays)})
    return Scene(
        arrays=moved,
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
    (e,) which element of ``group`` each member belongs to, and (e,) its index in the list.
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
    index = which * width + slot
    real = torch.ones(len(which), device=which.device)
    return [
        v.new_zeros(batch * width, *v.shape[1:]).index_copy_(0, index, v).reshape(batch, width, *v.shape[1:])
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
    here, align, second = scene.beads[bead], scene.arrays.align[bead], scene.arrays.second[bead]
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


def make_environment(scene: Scene, targets: Targets, azimuth: Tensor, grid: Grid) -> Environment:
    """Gather what surrounds each atom of a batch.

    Heavy atoms do not know hydrogens of their own molecule (paper, implementation details).

    Parameters
    ----------
    targets
        (b,) atoms to be placed.
    azimuth
        (b,) radian, turn of the local frame about its z axis.
    grid
        Its cut-off is counted from the bead.
    """
    arrays = scene.arrays
    bead = arrays.owner[targets.atom]
    centre, rotation = scene.beads[bead], local_frames(scene, bead, azimuth)
    parts = [
        neighbouring_atoms(scene, targets, grid),
        _bonded_atoms(scene, targets, grid),
        _neighbouring_beads(scene, bead, grid),
    ]
    positions, rows, weights, neighbour = (torch.cat(columns, 1) for columns in zip(*parts, strict=True))
    return Environment(
        atom=targets.atom,
        atom_class=arrays.atom_class[targets.atom],
        centre=centre,
        rotation=rotation,
        positions=positions @ rotation.transpose(1, 2),
        rows=rows,
        weights=weights,
        neighbour=neighbour,
    )


Entries = tuple[Tensor, Tensor, Tensor, Tensor]
"""Positions relative to the bead (b, k, 3), feature rows, weights and atoms (b, k)."""


def neighbouring_atoms(scene: Scene, targets: Targets, grid: Grid) -> Entries:
    """All known atoms inside the cut-off, found through the beads that own them."""
    arrays, bead = scene.arrays, scene.arrays.owner[targets.atom]
    which, link = expand(scene.link_start, bead)
    member, index = expand(arrays.owned_start, scene.link_bead[link])
    sample, other, shift = which[member], arrays.owned[index], scene.link_shift[link][member]
    vector = scene.positions[targets.replica[sample], other] + shift - scene.beads[bead][sample]
    near = vector.square().sum(1) < grid.cutoff**2
    sample, other, shift, vector = sample[near], other[near], shift[near], vector[near]
    known = _known(arrays, targets, sample, other, same_image=shift.square().sum(1) < SAME)
    sample, other, vector = sample[known], other[known], vector[known]
    vector, rows, other, real = pad(sample, len(bead), vector, arrays.atom_class[other], other)
    return vector, rows, real, torch.where(real > 0, other, -1)


def _bonded_atoms(scene: Scene, targets: Targets, grid: Grid) -> Entries:
    """Bonded and excluded atoms once more, for the channels of their bonded role."""
    arrays, atom = scene.arrays, targets.atom
    step = arrays.partners[arrays.row[atom]]
    other = atom[:, None] + step
    vector = scene.positions[targets.replica[:, None], other] - scene.beads[arrays.owner[atom]][:, None]
    listed = (step != 0) & (vector.square().sum(2) < grid.cutoff**2)
    sample = torch.arange(len(atom), device=atom.device)[:, None]
    listed &= _known(arrays, targets, sample, other, same_image=torch.ones_like(listed))
    weight, neighbour = listed.to(vector.dtype), torch.where(listed, other, -1)
    return vector, arrays.partner_row[arrays.row[atom]], weight, neighbour


def _neighbouring_beads(scene: Scene, bead: Tensor, grid: Grid) -> Entries:
    """All beads inside the cut-off, the current one among them."""
    which, link = expand(scene.link_start, bead)
    near, shift = scene.link_bead[link], scene.link_shift[link]
    vector = scene.beads[near] + shift - scene.beads[bead][which]
    current = (near == bead[which]) & (shift.square().sum(1) < SAME)
    rows = torch.where(current, scene.arrays.current_row[near], scene.arrays.bead_row[near])
    keep = vector.square().sum(1) < grid.cutoff**2
    vector, rows, real = pad(which[keep], len(bead), vector[keep], rows[keep])
    return vector, rows, real, torch.full_like(rows, -1)


SAME = 1e-6  # nm^2; a lattice vector shorter than this is none


def _known(
    arrays: NetworkArrays, targets: Targets, sample: Tensor, other: Tensor, *, same_image: Tensor
) -> Tensor:
    """Whether an atom is known to the target ``sample``: placed, not itself, no hydrogen that comes later.

    Parameters
    ----------
    sample, other
        Rows of the targets, and of the scene's atoms.
    same_image
        Whether ``other`` is in the same periodic image; else it is not of the molecule itself.
    """
    atom = targets.atom[sample]
    own_molecule = same_image & (arrays.molecule[other] == arrays.molecule[atom])
    hidden = own_molecule & arrays.hydrogen[other] & ~arrays.hydrogen[atom]
    if targets.redraw:
        hidden |= same_image & later_in_bead(arrays, other, atom)
    placed = arrays.growth_rank[other] < targets.known_below[sample]
    return placed & ~(same_image & (other == atom)) & ~hidden


def later_in_bead(arrays: NetworkArrays, other: Tensor, atom: Tensor) -> Tensor:
    """Whether an atom is placed after another of the same bead and stage."""
    same = (arrays.owner[other] == arrays.owner[atom]) & (arrays.hydrogen[other] == arrays.hydrogen[atom])
    return same & (arrays.growth_rank[other] > arrays.growth_rank[atom])


def densities(environment: Environment, features: Tensor, grid: Grid) -> Tensor:
    """Smooth densities of all entries, xi and Xi of the paper in one array.

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
    weighted = features[environment.rows] * environment.weights[..., None].to(features.dtype)
    left = (weighted[..., None] * x[:, :, None]).reshape(batch, -1, channels * size)
    right = (y[..., :, None] * z[..., None, :]).reshape(batch, -1, size * size)
    return torch.bmm(left.transpose(1, 2), right).reshape(batch, channels, size, size, size)

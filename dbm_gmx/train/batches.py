"""Batches: how they are drawn from a dataset, and the environments of their atoms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import pi

import torch
from torch import Tensor

from dbm_gmx.network.channels import FeatureTable
from dbm_gmx.network.environment import Environment, expand, pad
from dbm_gmx.train.dataset import REDRAW, SWEEP, Dataset

Displace = Callable[[Tensor, Tensor], Tensor]
"""Samples (e,) and atoms (e,) of entries to their displacements (e, 3), nm, in the samples' local frames."""


@dataclass(frozen=True, eq=False)
class BatchEnvironment:
    """What surrounds a batch of atoms (b).

    Attributes
    ----------
    environment
        Local positions and feature rows of up to k entries, padded; rows of atoms are those of the dataset.
    pair
        (b, k) whether Lennard-Jones acts with the entry.
    """

    environment: Environment
    pair: Tensor


def look_up(
    dataset: Dataset, atom: Tensor, *, mode: Tensor, azimuth: Tensor, displace: Displace | None = None
) -> BatchEnvironment:
    """Environments of atoms, with some of the others displaced from where the data have them.

    Parameters
    ----------
    atom, mode
        (b,) atoms of the dataset; growth, sweep or redraw.
    azimuth
        (b,) radian, turn of the local frame about its z axis.
    displace
        How far the others are off; not at all if not given.
    """
    which, entry = expand(dataset.entry_start, mode.clamp(max=SWEEP) * dataset.n_atoms + atom)
    turn = turns(azimuth)
    source = dataset.source[entry].long()
    later = (source >= 0) & dataset.later_in_sequence(source.clamp(min=0), atom[which])
    kept = ~(later & (mode[which] == REDRAW))
    which, entry, source = which[kept], entry[kept], source[kept]
    position = (turn[which] @ dataset.position[entry][..., None])[..., 0]
    if displace is not None:
        position = position + displace(which, source) * (source >= 0)[:, None]
    batch = len(atom)
    position, row, source, pair, real = pad(
        which, batch, position, dataset.row[entry].long(), source, dataset.pair[entry]
    )
    environment = Environment(
        atom=atom,
        atom_class=dataset.atom_class[atom],
        centre=position.new_zeros(batch, 3),
        rotation=turn,
        positions=position,
        rows=row,
        weights=real,
        neighbour=torch.where(real > 0, source, -1),
    )
    return BatchEnvironment(environment, pair)


def turns(azimuth: Tensor) -> Tensor:
    """(b, 3, 3) rotations from the local frames at azimuth 0 to those at ``azimuth`` (b,), radian."""
    cos, sin = torch.cos(azimuth), torch.sin(azimuth)
    nought, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [cos, sin, nought, -sin, cos, nought, nought, nought, one]
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def local_position(dataset: Dataset, atom: Tensor, azimuth: Tensor) -> Tensor:
    """(b, 3) nm, where the data have the atoms, in their local frames."""
    return (turns(azimuth) @ dataset.local[atom][..., None])[..., 0]


LEVER = 0.25  # nm from a bead at which a tilt moves an atom as far as a shift does


def blur(
    environments: Sequence[Environment],
    truth: Tensor,
    table: FeatureTable,
    *,
    width: float,
    rng: torch.Generator,
) -> tuple[list[Environment], Tensor]:
    """Blur beads: all atoms are moved together against them.

    Each sample's atoms, the one to be placed among them, are shifted and turned about the current bead, and
    the other beads are moved each on its own, so that only the atoms know the distances between atoms.

    Parameters
    ----------
    environments, truth
        Of the same atoms, entry by entry the same; (b, 3) nm, where the atoms belong.
    width
        nm, the most that the standard deviation of a shift can be; that of a sample is drawn below it.
    """
    batch, device = len(truth), truth.device
    scale = width * torch.rand(batch, 1, 1, generator=rng).to(device)
    shift = scale * torch.randn(batch, 1, 3, generator=rng).to(device)
    axis = scale[:, 0] / LEVER * torch.randn(batch, 3, generator=rng).to(device)
    unit = torch.eye(3, device=device).expand(batch, 3, 3)
    turn = torch.linalg.matrix_exp(torch.linalg.cross(unit, axis[:, None].expand(batch, 3, 3)))
    alone = scale * torch.randn(environments[0].positions.shape, generator=rng).to(device)
    rows, atoms = environments[0].rows, (environments[0].neighbour >= 0)[..., None]
    others = ((rows >= table.bead_row) & (rows < table.current_row))[..., None]
    blurred = [
        replace(s, positions=torch.where(atoms, s.positions @ turn + shift, s.positions + others * alone))
        for s in environments
    ]
    return blurred, (truth[:, None] @ turn + shift)[:, 0]


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences to be placed, the longest first, so that no step needs padding.

    Attributes
    ----------
    sequence, mode, azimuth
        (b,).
    """

    sequence: Tensor
    mode: Tensor
    azimuth: Tensor


def draw_batch(dataset: Dataset, count: int, *, sweeps: float, rng: torch.Generator) -> Batch:
    """Draw sequences by their weights, modes and turns of the frames (augmentation).

    Parameters
    ----------
    sweeps
        Probability of sweep and redraw, half of it each.
    """
    device = dataset.truth.device
    sequence = torch.multinomial(dataset.weight.cpu(), count, replacement=True, generator=rng).to(device)
    chance = torch.rand(count, generator=rng).to(device)
    mode = (chance < sweeps).long() + (chance < sweeps / 2).long()
    azimuth = 2 * pi * torch.rand(count, generator=rng).to(device)
    length = dataset.sequences.start[sequence + 1] - dataset.sequences.start[sequence]
    order = torch.argsort(length, descending=True, stable=True)
    return Batch(sequence[order], mode[order], azimuth[order])


def draw_atoms(dataset: Dataset, count: int, *, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Single atoms (b,), one from each of so many sequences, modes and turns of the frames.

    Growth, sweep and redraw are as likely; with a guide there is no sweep, but redraw in its place.
    """
    batch = draw_batch(dataset, count, sweeps=2 / 3, rng=rng)
    mode = batch.mode
    if dataset.guided:
        mode = torch.where(mode == SWEEP, REDRAW, mode)
    start = dataset.sequences.start[batch.sequence]
    length = dataset.sequences.start[batch.sequence + 1] - start
    slot = (torch.rand(count, generator=rng).to(length.device) * length).long().clamp(max=length - 1)
    return dataset.sequences.items[start + slot], mode, batch.azimuth

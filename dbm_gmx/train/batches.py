"""What atoms of a corpus see in a batch, and how batches are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import pi

import torch
from torch import Tensor

from dbm_gmx.network.channels import FeatureTable
from dbm_gmx.network.environment import Environment, expand, pad
from dbm_gmx.train.dataset import ANEW, SWEEP, Corpus

Displace = Callable[[Tensor, Tensor], Tensor]
"""Samples (e,) and atoms (e,) of entries to their displacements (e, 3), nm, in the samples' local frames."""


@dataclass(frozen=True, eq=False)
class View:
    """What a batch of atoms (b) sees.

    Attributes
    ----------
    environment
        Local positions and feature rows of up to k entries, padded.
    pair, source
        (b, k) whether Lennard-Jones acts with the entry; the atom that is there, -1 for none.
    """

    environment: Environment
    pair: Tensor
    source: Tensor


def look(
    corpus: Corpus, atom: Tensor, *, mode: Tensor, azimuth: Tensor, displace: Displace | None = None
) -> View:
    """What atoms see when some of the others are not where the data have them.

    Parameters
    ----------
    atom, mode
        (b,) atoms of the corpus; growth, sweep or anew.
    azimuth
        (b,) radian, turn of the local frame about its z axis.
    displace
        How far the others are off; not at all if not given.
    """
    which, entry = expand(corpus.views, mode.clamp(max=SWEEP) * corpus.n_atoms + atom)
    turn = turns(azimuth)
    source = corpus.source[entry].long()
    to_come = (source >= 0) & corpus.to_come(source.clamp(min=0), atom[which])
    kept = ~(to_come & (mode[which] == ANEW))
    which, entry, source = which[kept], entry[kept], source[kept]
    position = (turn[which] @ corpus.position[entry][..., None])[..., 0]
    if displace is not None:
        position = position + displace(which, source) * (source >= 0)[:, None]
    batch = len(atom)
    position, row, source, pair, real = pad(
        which, batch, position, corpus.row[entry].long(), source, corpus.pair[entry]
    )
    environment = Environment(
        atom=atom,
        atom_class=corpus.atom_class[atom],
        centre=torch.zeros(batch, 3),
        rotation=turn,
        positions=position,
        rows=row,
        weights=real,
        neighbour=torch.where(real > 0, source, -1),
    )
    return View(environment, pair, environment.neighbour)


def turns(azimuth: Tensor) -> Tensor:
    """(b, 3, 3) rotations from the local frames at azimuth 0 to those at ``azimuth`` (b,), radian."""
    cos, sin = torch.cos(azimuth), torch.sin(azimuth)
    nought, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [cos, sin, nought, -sin, cos, nought, nought, nought, one]
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def local_place(corpus: Corpus, atom: Tensor, azimuth: Tensor) -> Tensor:
    """(b, 3) nm, where the data have the atoms, in their local frames."""
    return (turns(azimuth) @ corpus.place[atom][..., None])[..., 0]


LEVER = 0.25  # nm from a bead at which a tilt moves an atom as far as a shift does


def blur(
    seen: Sequence[Environment], truth: Tensor, table: FeatureTable, *, width: float, rng: torch.Generator
) -> tuple[list[Environment], Tensor]:
    """Let beads say less precisely where atoms are: all atoms are moved together against them.

    Each sample's atoms, the one to be placed among them, are shifted and turned about the current bead, and
    the other beads are moved each on its own, so that only the atoms know the distances between atoms.

    Parameters
    ----------
    seen, truth
        What the atoms see, entry by entry the same in each; (b, 3) nm, where they belong.
    width
        nm, the most that the standard deviation of a shift can be; that of a sample is drawn below it.
    """
    batch = len(truth)
    scale = width * torch.rand(batch, 1, 1, generator=rng)
    shift = scale * torch.randn(batch, 1, 3, generator=rng)
    axis = scale[:, 0] / LEVER * torch.randn(batch, 3, generator=rng)
    generators = torch.linalg.cross(torch.eye(3).expand(batch, 3, 3), axis[:, None].expand(batch, 3, 3))
    turn = torch.linalg.matrix_exp(generators)
    alone = scale * torch.randn(seen[0].positions.shape, generator=rng)
    rows, atoms = seen[0].rows, (seen[0].neighbour >= 0)[..., None]
    others = ((rows >= table.bead_row) & (rows < table.current_row))[..., None]
    blurred = [
        replace(s, positions=torch.where(atoms, s.positions @ turn + shift, s.positions + others * alone))
        for s in seen
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


def draw_batch(corpus: Corpus, count: int, *, sweeps: float, rng: torch.Generator) -> Batch:
    """Draw sequences by their weights, modes and turns of the frames (augmentation).

    Parameters
    ----------
    sweeps
        Probability of the modes of a sweep: half of these see all other atoms, half do not see those
        of their sequence that are to come.
    """
    sequence = torch.multinomial(corpus.weight, count, replacement=True, generator=rng)
    chance = torch.rand(count, generator=rng)
    mode = (chance < sweeps).long() + (chance < sweeps / 2).long()
    azimuth = 2 * pi * torch.rand(count, generator=rng)
    length = corpus.sequences.start[sequence + 1] - corpus.sequences.start[sequence]
    order = torch.argsort(length, descending=True, stable=True)
    return Batch(sequence[order], mode[order], azimuth[order])


def draw_atoms(corpus: Corpus, count: int, *, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Single atoms (b,), one from each of so many sequences, modes and turns of the frames."""
    batch = draw_batch(corpus, count, sweeps=2 / 3, rng=rng)
    start = corpus.sequences.start[batch.sequence]
    length = corpus.sequences.start[batch.sequence + 1] - start
    slot = (torch.rand(count, generator=rng) * length).long().clamp(max=length - 1)
    return corpus.sequences.items[start + slot], batch.mode, batch.azimuth

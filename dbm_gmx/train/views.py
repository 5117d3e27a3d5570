"""What atoms of a corpus see in a batch, and how batches are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from dbm_gmx.environment import Environment, expand, pad
from dbm_gmx.train.corpus import Corpus

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
        (b,) atoms of the corpus; growth or sweep.
    azimuth
        (b,) radian, turn of the local frame about its z axis.
    displace
        How far the others are off; not at all if not given.
    """
    which, entry = expand(corpus.views, mode * corpus.n_atoms + atom)
    turn = turns(azimuth)
    source = corpus.source[entry].long()
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


def draw_batch(corpus: Corpus, count: int, *, sweeps: float, dice: torch.Generator) -> Batch:
    """Draw sequences by their weights, modes and turns of the frames (augmentation).

    Parameters
    ----------
    sweeps
        Probability of the mode in which all other atoms are seen.
    """
    sequence = torch.multinomial(corpus.weight, count, replacement=True, generator=dice)
    mode = (torch.rand(count, generator=dice) < sweeps).long()
    azimuth = 2 * pi * torch.rand(count, generator=dice)
    length = corpus.sequences.start[sequence + 1] - corpus.sequences.start[sequence]
    order = torch.argsort(length, descending=True, stable=True)
    return Batch(sequence[order], mode[order], azimuth[order])


def draw_atoms(corpus: Corpus, count: int, *, dice: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Single atoms (b,), one from each of so many sequences, modes and turns of the frames."""
    batch = draw_batch(corpus, count, sweeps=0.5, dice=dice)
    start = corpus.sequences.start[batch.sequence]
    length = corpus.sequences.start[batch.sequence + 1] - start
    slot = (torch.rand(count, generator=dice) * length).long().clamp(max=length - 1)
    return corpus.sequences.items[start + slot], batch.mode, batch.azimuth

"""What atoms of a corpus see in a batch, and how batches are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from dbm_gmx.environment import Environment, expand, pad
from dbm_gmx.train.corpus import Corpus
from dbm_gmx.train.settings import AugmentSettings

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


@dataclass(frozen=True, eq=False)
class Turn:
    """How local frames are shown: augmentation, for the atoms do not care.

    Attributes
    ----------
    azimuth
        (b,) radian, about z.
    mirror
        (b,) -1 where y is turned over afterwards, else 1.
    hide
        (b,) whether all beads but the current one are left out.
    """

    azimuth: Tensor
    mirror: Tensor
    hide: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Turn:
        """Return the turns of some of the frames."""
        return Turn(self.azimuth[rows], self.mirror[rows], self.hide[rows])

    @property
    def matrix(self) -> Tensor:
        """(b, 3, 3) from the local frames at azimuth 0 to those shown."""
        cos, sin, one = torch.cos(self.azimuth), torch.sin(self.azimuth), torch.ones_like(self.azimuth)
        nought, y = 0 * one, self.mirror
        rows = [cos, sin, nought, -y * sin, y * cos, nought, nought, nought, one]
        return torch.stack(rows, -1).reshape(-1, 3, 3)


def draw_turns(count: int, augment: AugmentSettings, *, dice: torch.Generator) -> Turn:
    """Draw turns of so many frames."""
    azimuth = 2 * pi * torch.rand(count, generator=dice)
    flipped = torch.rand(count, generator=dice) < 0.5 * augment.mirror
    return Turn(azimuth, 1 - 2 * flipped.float(), torch.rand(count, generator=dice) < augment.hide)


def look(corpus: Corpus, atom: Tensor, *, mode: Tensor, turn: Turn, displace: Displace | None = None) -> View:
    """What atoms see when some of the others are not where the data have them.

    Parameters
    ----------
    atom, mode
        (b,) atoms of the corpus; growth or sweep.
    turn
        Of the frames (b).
    displace
        How far the others are off; not at all if not given.
    """
    which, entry = expand(corpus.views, mode * corpus.n_atoms + atom)
    rotation = turn.matrix
    source = corpus.source[entry].long()
    position = (rotation[which] @ corpus.position[entry][..., None])[..., 0]
    if displace is not None:
        position = position + displace(which, source) * (source >= 0)[:, None]
    batch = len(atom)
    other = (source < 0) & (corpus.row[entry] < corpus.table.current_row)
    shown = (~(turn.hide[which] & other)).to(position.dtype)
    position, row, source, pair, shown, real = pad(
        which, batch, position, corpus.row[entry].long(), source, corpus.pair[entry], shown
    )
    environment = Environment(
        atom=atom,
        atom_class=corpus.atom_class[atom],
        centre=torch.zeros(batch, 3),
        rotation=rotation,
        positions=position,
        rows=row,
        weights=shown,
        neighbour=torch.where(real > 0, source, -1),
    )
    return View(environment, pair, environment.neighbour)


def local_place(corpus: Corpus, atom: Tensor, turn: Turn) -> Tensor:
    """(b, 3) nm, where the data have the atoms, in their local frames."""
    return (turn.matrix @ corpus.place[atom][..., None])[..., 0]


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences to be placed, the longest first, so that no step needs padding.

    Attributes
    ----------
    sequence, mode
        (b,).
    turn
        Of the frames (b).
    """

    sequence: Tensor
    mode: Tensor
    turn: Turn


def draw_batch(
    corpus: Corpus, count: int, *, sweeps: float, augment: AugmentSettings, dice: torch.Generator
) -> Batch:
    """Draw sequences by their weights, modes and turns of the frames.

    Parameters
    ----------
    sweeps
        Probability of the mode in which all other atoms are seen.
    """
    sequence = torch.multinomial(corpus.weight, count, replacement=True, generator=dice)
    mode = (torch.rand(count, generator=dice) < sweeps).long()
    turn = draw_turns(count, augment, dice=dice)
    length = corpus.sequences.start[sequence + 1] - corpus.sequences.start[sequence]
    order = torch.argsort(length, descending=True, stable=True)
    return Batch(sequence[order], mode[order], turn[order])


def draw_atoms(
    corpus: Corpus, count: int, *, augment: AugmentSettings, dice: torch.Generator
) -> tuple[Tensor, Tensor, Turn]:
    """Single atoms (b,), one from each of so many sequences, modes and turns of the frames."""
    batch = draw_batch(corpus, count, sweeps=0.5, augment=augment, dice=dice)
    start = corpus.sequences.start[batch.sequence]
    length = corpus.sequences.start[batch.sequence + 1] - start
    slot = (torch.rand(count, generator=dice) * length).long().clamp(max=length - 1)
    return corpus.sequences.items[start + slot], batch.mode, batch.turn

"""The generator network: densities around a bead in, the density of the next atom out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Size of the network.

    Attributes
    ----------
    width
        Channels of the residual blocks.
    blocks
        Residual blocks.
    noise
        Length of the random vector z.
    """

    width: int = 64
    blocks: int = 3
    noise: int = 32


SLOPE = 0.1


class Block(nn.Module):
    """Two convolutions around a residual connection, steered by the condition."""

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.steer = nn.Linear(condition, 2 * channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        # a block starts as the identity: deep stacks need no normalisation, which is slow on small grids
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(b, channels, s, s, s) and (b, condition) to (b, channels, s, s, s)."""
        scale, shift = self.steer(condition)[..., None, None, None].chunk(2, 1)
        y = F.leaky_relu(torch.addcmul(shift, x, 1 + scale), SLOPE)
        return x + self.second(F.leaky_relu(self.first(y), SLOPE))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """G(u, z) of the paper: a 3D CNN with residual connections.

    Patches of 2 x 2 x 2 voxels are folded into channels at once and unfolded at the end: on the half
    grid every voxel depends on all others after two blocks, and large convolutions on few voxels are what
    processors do best.

    Parameters
    ----------
    channels
        Feature channels of the environment.
    shape
        Size of the network.
    """

    def __init__(self, channels: int, shape: Shape):
        super().__init__()
        self.shape = shape
        hidden = 2 * shape.width
        self.condition = nn.Sequential(
            nn.Linear(channels + shape.noise, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.fold = nn.Conv3d(channels, shape.width, 2, stride=2)
        self.blocks = nn.ModuleList(Block(shape.width, hidden) for _ in range(shape.blocks))
        self.unfold = nn.Conv3d(shape.width, 8, 1)

    def forward(self, environment: Tensor, label: Tensor, noise: Tensor) -> Tensor:
        """Density of the atom to be placed.

        Parameters
        ----------
        environment
            (b, channels, s, s, s) smooth densities.
        label
            (b, channels) features of the atom's own class, c_i of the paper.
        noise
            (b, noise) standard normal.

        Returns
        -------
        (b, s, s, s) float32, positive, sum 1.
        """
        condition = self.condition(torch.cat([label, noise], 1))
        x = self.fold(environment)
        for block in self.blocks:
            x = block(x, condition)
        logits = self.unfold(F.leaky_relu(x, SLOPE)).float()
        b, _, half, *_ = logits.shape
        # (b, 2 2 2, h h h): interleave the eight members of each patch along the three axes
        patches = logits.reshape(b, 2, 2, 2, half, half, half).permute(0, 4, 1, 5, 2, 6, 3)
        result: Tensor = patches.reshape(b, -1).softmax(1).reshape(b, 2 * half, 2 * half, 2 * half)
        return result


def operations(channels: int, shape: Shape, size: int) -> float:
    """Floating-point operations of the convolutions for one atom (multiply and add count as two)."""
    voxels = (size // 2) ** 3
    return 2.0 * voxels * shape.width * (8 * channels + 2 * 27 * shape.blocks * shape.width + 8)

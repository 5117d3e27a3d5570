"""The critic network: densities around a bead and of the atom placed in, a number out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from dbm_gmx.network.generator import SLOPE
from dbm_gmx.train.settings import CriticSettings


class Block(nn.Module):
    """Two convolutions around a residual connection."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, s, s, s) to the same."""
        y = self.second(F.leaky_relu(self.first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x + y  # type: ignore[no-any-return]


class Critic(nn.Module):
    """C(u, gamma) of the paper: a 3D CNN with residual connections; the larger, the more like the data.

    As in the generator, patches of 2 x 2 x 2 voxels are folded into channels at once.  There is no
    normalisation over batches: the gradient penalty is of each sample alone.

    Parameters
    ----------
    channels
        Feature channels of the environment; the density of the atom placed comes on top.
    settings
        Size, and whether the weights are normalised.
    """

    def __init__(self, channels: int, settings: CriticSettings):
        super().__init__()
        width = settings.width
        self.fold = nn.Conv3d(channels + 1, width, 2, stride=2)
        self.label = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(settings.blocks))
        self.out = nn.Linear(width, 1)
        if settings.spectral:
            for layer in [m for m in self.modules() if isinstance(m, nn.Conv3d | nn.Linear)]:
                spectral_norm(layer)

    def forward(self, environment: Tensor, label: Tensor, density: Tensor) -> Tensor:
        """How likely it is that an atom is of the data.

        Parameters
        ----------
        environment
            (b, channels, s, s, s) smooth densities.
        label
            (b, channels) features of the atom's own class.
        density
            (b, s, s, s) of the atom placed, peak about 1 as the others.

        Returns
        -------
        (b,) float32.
        """
        joined = torch.cat([density[:, None], environment], 1)
        joined = joined.contiguous(memory_format=torch.channels_last_3d)
        x = self.fold(joined) + self.label(label)[..., None, None, None]
        for block in self.blocks:
            x = block(x)
        pooled = F.leaky_relu(x, SLOPE).float().mean((2, 3, 4))
        with torch.autocast(
            x.device.type, enabled=False
        ):  # differences of near numbers: three digits are few
            result: Tensor = self.out(pooled)[:, 0]
        return result


def critic_operations(channels: int, settings: CriticSettings, size: int) -> float:
    """Floating-point operations of the convolutions for one sample (multiply and add count as two)."""
    voxels = (size // 2) ** 3
    return 2.0 * voxels * settings.width * (8 * (channels + 1) + 2 * 27 * settings.blocks * settings.width)

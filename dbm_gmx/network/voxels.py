"""Particles as smooth densities on a cubic grid, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The cubic grid around the current bead and the density of one particle on it.

    Attributes
    ----------
    size
        Voxels along an edge.
    edge
        nm, from wall to wall.
    sigma
        nm, standard deviation of the Gaussian density (2 sigma^2 = 0.02 nm^2 in the paper).
    cutoff
        nm, particles further from the bead's centre are left out.
    """

    size: int = 8
    edge: float = 1.2
    sigma: float = 0.1
    cutoff: float = 0.7

    def axis(self, device: torch.device | None = None) -> Tensor:
        """(size,) centres of the voxels along one axis, nm."""
        return (torch.arange(self.size, device=device) + 0.5) * (self.edge / self.size) - self.edge / 2


def gaussians(positions: Tensor, grid: Grid) -> Tensor:
    """(..., 3, size) the density's factor along each axis; their product is gamma(x) of the paper."""
    distance = positions[..., None] - grid.axis(positions.device).to(positions)
    return torch.exp(-distance.square() / (2 * grid.sigma**2))


def density_of(positions: Tensor, grid: Grid) -> Tensor:
    """(..., size, size, size) smooth density gamma(x) of single particles at (..., 3) nm."""
    x, y, z = gaussians(positions, grid).unbind(-2)
    return x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]


def collapse(density: Tensor, grid: Grid) -> Tensor:
    """First moment of densities (..., size, size, size): positions (..., 3) in nm, differentiable."""
    axis = grid.axis(density.device).to(density)
    total = density.sum((-3, -2, -1))
    moments = [(density.sum(dims) * axis).sum(-1) / total for dims in ((-2, -1), (-3, -1), (-3, -2))]
    return torch.stack(moments, -1)

"""A generator that knows the true atoms: with it the whole pipeline must reproduce the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.network.channels import bead_types_of, classes_of, default_channels
from dbm_gmx.network.environment import Environment
from dbm_gmx.network.generator import Generator, Shape
from dbm_gmx.network.model import Model
from dbm_gmx.network.voxels import Grid, density_of


class Oracle:
    """Says where each atom is in the reference frame whose beads it is given.

    Parameters
    ----------
    system
        The system.
    beads, atoms
        Frames that belong together, broken across the box or not.
    grid
        Of the densities.
    """

    def __init__(self, system: System, beads: Sequence[Frame], atoms: Sequence[Frame], *, grid: Grid):
        self.owner = np.concatenate(
            [
                m.first_bead + np.arange(m.count)[:, None] * len(m.mapping.names) + m.mapping.owner
                for m in system.matches
            ],
            axis=None,
        )
        self.whole = [with_whole_beads(system, frame).positions.astype(np.float64) for frame in beads]
        self.boxes = [frame.box for frame in beads]
        self.atoms = atoms
        self.grid = grid
        self.calls: list[int] = []

    def truth(self, frame: int) -> np.ndarray:
        """(n, 3) reference atoms next to the beads that own them."""
        near = self.whole[frame][self.owner]
        return near + minimum_image(self.atoms[frame].positions - near, self.boxes[frame])

    def __call__(self, environment: Environment, noise: Tensor) -> Tensor:
        self.calls.append(len(environment.atom))
        n = len(self.owner)
        slot, atom = np.divmod(environment.atom.numpy(), n)
        centre = environment.centre.numpy().astype(np.float64)
        local = np.zeros((len(atom), 3))
        for s in np.unique(slot):
            rows = slot == s
            beads = self.owner[atom[rows]]
            off = [np.abs(whole[beads] - centre[rows]).max() for whole in self.whole]
            frame = int(np.argmin(off))
            assert off[frame] < 1e-4, "beads of no reference frame"
            local[rows] = self.truth(frame)[atom[rows]] - centre[rows]
        turned = (environment.rotation @ torch.from_numpy(local).float()[..., None])[..., 0]
        return density_of(turned, self.grid)


def untrained(system: System, *, shape: Shape | None = None, grid: Grid | None = None) -> Model:
    """A model with random weights that fits a system."""
    classes = [c for names in classes_of(system).values() for c in names]
    channels = default_channels(classes, sorted(bead_types_of(system)))
    shape = shape or Shape(width=16, blocks=1, noise=4)
    torch.manual_seed(1)
    return Model(grid or Grid(), channels, shape, Generator(channels.width, shape).state_dict())


def example() -> Path:
    """Folder of the shipped octane example."""
    return Path(__file__).resolve().parent.parent / "share" / "examples" / "octane"

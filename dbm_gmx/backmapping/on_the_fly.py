"""Atoms that are made when a frame is looked at: a transformation of MDAnalysis, and frames to fill."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from MDAnalysis.coordinates.base import ProtoReader
from MDAnalysis.coordinates.timestep import Timestep

from dbm_gmx.backmapping.rebuilder import Rebuilder
from dbm_gmx.backmapping.universe import UniverseFrames, angstrom_dimensions
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.units import ANGSTROM
from dbm_gmx.errors import InputError

KEPT = 4
"""Frames that were made last and are not made again."""


class FromBeads:
    """A transformation that puts the atoms of a frame where its beads say.

    A frame of atoms is made for the frame of beads of the same number.  Whatever positions it had are lost.

    Parameters
    ----------
    rebuilder
        Ready, with all that was open settled.
    beads
        All frames of the trajectory of beads.
    """

    def __init__(self, rebuilder: Rebuilder, beads: UniverseFrames):
        self.rebuilder, self.beads = rebuilder, beads
        self._made: OrderedDict[int, Frame] = OrderedDict()

    def __call__(self, ts: Timestep) -> Timestep:
        """Fill a frame.

        Raises
        ------
        InputError
            If there is no such frame of beads, or the atoms are not as many.
        """
        frame = self.frame(ts.frame)
        if ts.n_atoms != len(frame.positions):
            raise InputError(
                f"the beads stand for {len(frame.positions)} atoms, and the Universe has {ts.n_atoms}"
            )
        ts.positions = frame.positions / ANGSTROM
        ts.dimensions = None if frame.free else angstrom_dimensions(frame)
        ts.time, ts.data["step"] = frame.time, frame.step
        return ts

    def frame(self, number: int) -> Frame:
        """The atoms of a frame, positions in nm.

        Raises
        ------
        InputError
            If there is no such frame of beads.
        """
        if number not in self._made:
            if not 0 <= number < len(self.beads.numbers):
                last = len(self.beads.numbers) - 1
                raise InputError(f"there is no frame {number} of beads, only 0 to {last}")
            (beads,) = self.beads.only(number)
            (one,) = self.rebuilder([beads])
            self._made[number] = one.atoms
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        return self._made[number]


class BlankReader(ProtoReader):  # type: ignore[misc]
    """So many frames of so many atoms without positions, for a transformation to fill.

    Parameters
    ----------
    filename
        Not used.
    n_atoms, n_frames
        How many.
    """

    units = {"time": "ps", "length": "Angstrom"}  # noqa: RUF012 (as the readers of MDAnalysis)

    def __init__(self, filename: Any = None, *, n_atoms: int, n_frames: int, **kwargs: Any):
        super().__init__()
        self.filename, self.n_atoms, self.n_frames = None, n_atoms, n_frames
        self._kwargs = {"n_atoms": n_atoms, "n_frames": n_frames}
        self.ts = Timestep(n_atoms, dt=1.0, reader=self)
        self._reopen()
        self._read_next_timestep()

    def _reopen(self) -> None:
        self.ts.frame = -1

    def _read_frame(self, frame: int) -> Timestep:
        self.ts.frame = frame - 1
        return self._read_next_timestep()

    def _read_next_timestep(self, ts: Any = None) -> Timestep:
        if self.ts.frame >= self.n_frames - 1:
            raise EOFError("there are no more frames")
        self.ts.frame += 1
        self.ts.positions = np.zeros((self.n_atoms, 3), np.float32)
        return self.ts

    def copy(self) -> BlankReader:
        """The same frames with the same transformations."""
        new = BlankReader(**self._kwargs)
        new.add_transformations(*self.transformations)
        new[self.ts.frame]
        return new

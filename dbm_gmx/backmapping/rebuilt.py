"""A frame on its way from beads to atoms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dbm_gmx.backmapping.summary import Refinement
from dbm_gmx.chemistry.array_types import Float32Array
from dbm_gmx.chemistry.frame import Frame


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A frame on its way from beads to atoms.

    Attributes
    ----------
    beads
        Whole.
    sample
        Number of the independent repeat, from 0.
    positions
        (n, 3) nm, whole; ``None`` as long as there are none.
    refinement
        What was done, for the summary.
    checked
        Whether it is begun anew as well.
    """

    beads: Frame
    sample: int = 0
    positions: Float32Array | None = None
    refinement: Refinement = field(default_factory=Refinement)
    checked: bool = False

    @property
    def atoms(self) -> Frame:
        """The frame of atoms."""
        if self.positions is None:
            raise ValueError("not rebuilt yet")
        return replace(self.beads, positions=self.positions)

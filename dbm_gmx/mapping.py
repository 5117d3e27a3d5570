"""Which atoms make a bead, and which bead each atom is rebuilt with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Mapping:
    """The mapping of one molecule type.

    Weights and owners are two different things: a bead's site may take weight from atoms that
    belong to another bead, and an atom may have no weight at all.

    Attributes
    ----------
    molecule
        Name of the molecule type.
    names, types
        Of the beads, in the order of the CG molecule.
    weights
        (beads, atoms) sparse matrix, rows add up to 1: a bead's position is ``weights @ positions``.
    owner
        (atoms,) the bead each atom is rebuilt with.
    align
        (beads,) the bead towards which the local z axis of each bead points; -1 where there is none.
    multiplicity
        (beads,) how often a bead's sample counts in training.
    classes
        Atom classes where the mapping file gives them (deepBackmap ``.map``), else ``None``.
    """

    molecule: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    weights: sp.csr_matrix
    owner: IntArray
    align: IntArray
    multiplicity: IntArray
    classes: tuple[str, ...] | None = None

"""What a user can choose, in plain records that cost nothing to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODEL = "provisional"
"""The model that is used if none is named."""


@dataclass(frozen=True)
class Inputs:
    """The files that say what is to be rebuilt.

    Attributes
    ----------
    structure
        CG ``.tpr``, or ``.gro``/``.pdb`` with ``cg_topology``.
    trajectory
        CG trajectory; without one the frame in ``structure`` is rebuilt.
    cg_topology
        CG ``.top`` or ``.itp``.
    topology, mappings, owners
        Atomistic ``.top``, mapping files and owners files; from the library of molecules if none is
        given.
    reference
        A conformer or system that defines the handedness of stereocentres.
    begin, end, dt
        ps, frames to take, as in ``gmx trjconv``.
    order
        Order of placing: ``depth-first``, ``breadth-first`` or ``random``.
    defines, include
        For the preprocessor of the ``.top``.
    """

    structure: Path
    trajectory: Path | None = None
    cg_topology: Path | None = None
    topology: Path | None = None
    mappings: tuple[Path, ...] = ()
    owners: tuple[Path, ...] = ()
    reference: Path | None = None
    begin: float | None = None
    end: float | None = None
    dt: float | None = None
    order: str = "depth-first"
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Settings:
    """How to reconstruct.

    Attributes
    ----------
    sweeps
        Refinement passes after growth (the paper's four).
    orientations
        Turns of the local frame tried for each bead; the one of lowest energy is kept.
    seed
        Of all random numbers, together with the index of the frame.
    batch
        Environments held in memory at once; the result does not depend on it.
    """

    sweeps: int = 4
    orientations: int = 1
    seed: int = 1
    batch: int = 1024

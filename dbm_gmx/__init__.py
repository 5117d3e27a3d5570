"""dbm_gmx: put the atoms back into coarse-grained GROMACS simulations.

Principles
----------
* The target is known.  Topology, temperature and beads define the distribution of the atoms;
  a trained network proposes, it never defines what is right.
* One plain immutable record per idea, free functions between them, data flowing one way.
* Graph order = array row = file order.  Rows are 0-based inside, 1-based only in files.
* Units are those of GROMACS: nm, ps, kJ/mol, amu, e, degrees in parameters.
* Every file ends in the same records; nothing downstream knows which file it came from.
* Bad input is an :class:`~dbm_gmx.errors.InputError` that says where, what was found and what
  would have been possible.  It is raised before anything is written.
* The answer depends on the seed and the frame, not on batch size, box origin or wrapping.

Flow
----
::

    files  -read->  Topology, Mapping  -match->  System
    files  -read->  Frame of beads
    Frame of beads  -growth, conformer exchange, packing, sweeps->  Frame of atoms   (Sampler)
    Frame of beads + known atoms  -environment->  Environment  -Generator->  next atom   (network)
    Frame of atoms  -write->  .gro/.xtc/.trr/.pdb
    Frame of atoms  -relax-> gmx grompp, gmx mdrun  -read->  Frame of atoms
    Frame of atoms  -map->   Frame of beads
    Frames of atoms, and of a reference  -evaluate->  Evaluation  -write->  a page, scores, data

===============  ====================================================================================
``chemistry``    what a system is: molecules, beads, mappings, frames, stereocentres
``files``        every reader and writer; the library of molecules
``forcefield``   what is sampled: terms, pairs, constraints, restraints, temperature
``sampling``     growth, conformer exchange, packing, sweeps
``network``      the network that places one atom after the other
``gromacs``      what runs GROMACS
``backmapping``  the jobs on trajectories: beads to atoms, atoms to beads, checks, summaries
``evaluation``   how good the atoms are, beside a reference
``train``        how a model is made
``commands``     a file for each command, with its options; ``cli`` parses and calls one
===============  ====================================================================================

Each folder imports from those above it only; ``sampling`` and ``network`` do not know each other.  A sentence
on every file, and how to add to the package, is in ``share/docs/developers.md``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbm_gmx.backmapping.functions import backmap, map_to_beads
    from dbm_gmx.backmapping.interface import Backmapper
    from dbm_gmx.errors import InputError
    from dbm_gmx.evaluation.interface import evaluate

__version__ = "0.1.0"
__all__ = ["Backmapper", "InputError", "__version__", "backmap", "evaluate", "map_to_beads"]

_PLACES = {
    "Backmapper": "dbm_gmx.backmapping.interface",
    "InputError": "dbm_gmx.errors",
    "backmap": "dbm_gmx.backmapping.functions",
    "evaluate": "dbm_gmx.evaluation.interface",
    "map_to_beads": "dbm_gmx.backmapping.functions",
}
"""Loaded when they are asked for: MDAnalysis and numba take seconds."""


def __getattr__(name: str) -> Any:
    """Load a name of the interface (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

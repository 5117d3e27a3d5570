"""The shape of whole molecules: radius of gyration, ends."""

from __future__ import annotations

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.tacticity import chain
from dbm_gmx.chemistry.topology import MoleculeType


def radius_of_gyration(moltype: MoleculeType, atoms: FloatArray) -> FloatArray:
    """(copies,) root mean square distance of the mass from its centre, nm, of molecules (copies, n, 3)."""
    weights = moltype.masses / moltype.masses.sum()
    centred = atoms - np.einsum("i,cix->cx", weights, atoms)[:, None]
    return np.asarray(np.sqrt(np.einsum("i,cix,cix->c", weights, centred, centred)))


def end_to_end(moltype: MoleculeType, atoms: FloatArray) -> FloatArray:
    """(copies,) distance of the ends of the chain, nm, of molecules (copies, n, 3)."""
    path = chain(moltype)
    return np.asarray(np.linalg.norm(atoms[:, path[-1]] - atoms[:, path[0]], axis=-1))

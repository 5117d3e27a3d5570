"""Tables of bonded interactions, as ``mdrun -tableb`` reads them.

Reference: GROMACS manual, "Tabulated bonded interaction functions".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.errors import InputError

KINDS = {("bonds", 8): "b", ("bonds", 9): "b", ("angles", 8): "a", ("dihedrals", 8): "d"}
"""Terms whose energies are in a file, and the letter of its name: ``table_b0.xvg``."""

NAME = re.compile(r"_([abd])(\d+)\.xvg$")
"""How the name of such a file ends."""

RANGES = {"b": (0.0, None), "a": (0.0, 180.0), "d": (-180.0, 180.0)}
"""Where a table begins and ends, nm or degrees; one of bonds where it wants."""

STEP = 1e-3
"""Part of a step by which points may be off their places."""


def find_table(folder: Path, kind: str, number: int) -> Path | None:
    """The file of a table: ``table_b0.xvg``, else the only one that ends in ``_b0.xvg``, else none."""
    usual = folder / f"table_{kind}{number}.xvg"
    found = [usual] if usual.is_file() else sorted(folder.glob(f"*_{kind}{number}.xvg"))
    return found[0] if len(found) == 1 else None


def tables_beside(topology: Topology) -> dict[str, str]:
    """Texts of the tables in the folder of a topology, by their names; none if it has no such terms.

    For ``mdrun -tableb``, which takes those it needs.
    """
    terms = [t for moltype in topology.molecule_types.values() for t in moltype.terms]
    if topology.path is None or not any((t.directive, t.function) in KINDS for t in terms):
        return {}
    folder = topology.path.parent
    known = {found.groups() for path in folder.glob("*.xvg") if (found := NAME.search(path.name))}
    tables = [find_table(folder, kind, int(number)) for kind, number in sorted(known)]
    return {path.name: path.read_text("utf-8", "surrogateescape") for path in tables if path is not None}


def tableb(names: Collection[str]) -> list[str]:
    """Options with which ``mdrun`` reads tables; none if there are none."""
    return ["-tableb", *names] if names else []


def read_table(path: Path, kind: str) -> tuple[float, ...]:
    """Read a table.

    Parameters
    ----------
    path
        Three columns: nm or degrees, energy (kJ/mol, or per unit of the force constant), minus its slope.
    kind
        ``b``, ``a`` or ``d``.

    Returns
    -------
    The step (nm or radians), the energies, and as many slopes (per nm or radian).  Where the third column
    is zero throughout, slopes follow from the energies, as in GROMACS.

    Raises
    ------
    InputError
        If it is no such file, its points are not evenly spaced, or it has another range.
    """
    return _read_table(path, kind, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read_table(path: Path, kind: str, _time: int) -> tuple[float, ...]:
    """Read it once, as long as it is not written anew."""
    x, energy, slope = _columns(path).T.copy()
    step = (x[-1] - x[0]) / (len(x) - 1)
    low, high = RANGES[kind]
    if not step > 0 or np.abs(x - x[0] - step * np.arange(len(x))).max() > STEP * step:
        raise InputError("points of a table must be evenly spaced and increase", path=path)
    if abs(x[0] - low) > STEP * step or (high is not None and abs(x[-1] - high) > STEP * step):
        ends = f"from {low:g} to {high:g} degrees" if high is not None else "from 0 nm on"
        raise InputError(f"it goes from {x[0]:g} to {x[-1]:g}; a table_{kind} goes {ends}", path=path)
    if not slope.any():
        slope[1:-1] = (energy[:-2] - energy[2:]) / (2 * step)
    unit = 1.0 if kind == "b" else np.pi / 180
    return (float(step * unit), *energy.tolist(), *(-slope / unit).tolist())


def _columns(path: Path) -> FloatArray:
    """(n, 3) numbers of a file, its comments left out."""
    try:
        found = np.loadtxt(path, comments=("#", "@"), ndmin=2, encoding="utf-8")
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"no table of numbers: {error}", path=path) from error
    if found.shape[1] < 3 or len(found) < 2 or not np.isfinite(found).all():
        raise InputError("a table has three columns of finite numbers: x, energy, minus its slope", path=path)
    return np.asarray(found[:, :3], np.float64)

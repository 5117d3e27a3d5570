"""``dbm-gmx --version -v``: what is installed, and what the program finds on this machine."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from dbm_gmx import __version__

NEEDED = ("numpy", "scipy", "numba", "networkx", "MDAnalysis", "parmed", "tqdm", "torch")
EXTRA = (
    *("matplotlib", "scikit-learn", "dscribe", "cgsmiles", "dask", "distributed", "dask-jobqueue"),
    *("pandas", "openmm", "ase", "shtab"),
)


def version_text(*, verbose: bool) -> str:
    """The version; with all that results and speed depend on if ``verbose``."""
    first = f"dbm-gmx {__version__}"
    if not verbose:
        return first
    from dbm_gmx.errors import InputError
    from dbm_gmx.gromacs.gmx import NAMES, find_gmx

    lines = [first, f"python         {platform.python_version()}, {platform.platform()}"]
    lines += [f"{name:14} {_version(name)}" for name in NEEDED]
    lines += [f"{name:14} {_version(name)} (extra)" for name in EXTRA]
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    said = f", OMP_NUM_THREADS={chosen}" if chosen else ""
    lines.append(f"threads        {len(os.sched_getaffinity(0))}{said}")
    try:
        found = find_gmx() if any(map(shutil.which, NAMES)) else None
        said = "not found" if found is None else f"{found.version}, {found.program}"
        lines.append(f"gmx            {said}")
    except InputError as error:
        lines.append(f"gmx            {error}")
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

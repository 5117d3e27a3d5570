"""The log of ``gmx mdrun``: its energies."""

from __future__ import annotations

from pathlib import Path

from dbm_gmx.errors import InputError

WIDTH = 15
"""Of a column, as mdrun prints them."""


def last_energies(path: str | Path) -> dict[str, float]:
    """Return the last energies of a run.

    Returns
    -------
    kJ/mol by name (``Potential``, ``Position Rest.``, ...).

    Raises
    ------
    InputError
        There is no such file, or no energies in it.
    """
    path = Path(path)
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    steps = text.partition("A V E R A G E S")[0].split("   Energies (kJ/mol)\n")
    if len(steps) < 2:
        raise InputError("holds no energies", path=path)
    lines = steps[-1].partition("\n\n")[0].splitlines()
    found: dict[str, float] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        for start in range(0, len(names.rstrip()), WIDTH):
            try:
                found[names[start : start + WIDTH].strip()] = float(values[start : start + WIDTH])
            except ValueError as error:
                raise InputError(f"energies that cannot be read: {values.strip()!r}", path=path) from error
    return found

"""Iterative Boltzmann inversion of bonds and angles of chains of beads.

Reith, Puetz, Mueller-Plathe, J. Comput. Chem. 24, 1624 (2003).

Potentials are those of a chain alone at first, and corrected by kT ln(P / P of the atoms) after a run of the
beads.  They become tables that GROMACS reads (function type 8); its recent versions take none for pairs that
are not bonded, so these keep their Lennard-Jones.  Dihedrals have no potential: angles come near 180 degrees,
where a table of dihedrals heats the chains.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from chain import Array
from scipy.interpolate import CubicSpline

BOLTZMANN = 0.0083144626  # kJ/mol/K
EDGES = {  # of the bins, nm and degrees
    "b": np.linspace(0.0, 1.0, 251),
    "a": np.linspace(0.0, 180.0, 91),
}
FINE = {"b": 1001, "a": 721}  # rows of a table
STIFF = {"b": 50000.0, "a": 0.05}  # kJ/mol by nm or degree squared, where nothing was seen
FEW = 10  # values in a bin, below which it counts as not seen
TABULATED = dict.fromkeys(("bond", "end_bond", "angle"), "8 0 1.0") | {"dihedral": ""}
"""What replaces the terms of a system of systems.toml."""


def lengths_and_angles(places: Array) -> tuple[Array, Array]:
    """Bonds in nm and angles in degrees of consecutive points."""
    steps = np.diff(places, axis=-2)
    lengths = np.linalg.norm(steps, axis=-1)
    cosines = -(steps[..., 1:, :] * steps[..., :-1, :]).sum(axis=-1) / (lengths[..., 1:] * lengths[..., :-1])
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


def free_energies(places: Array, kelvin: float) -> dict[str, Array]:
    """-kT ln(P / volume) in each bin, kJ/mol; nan where too little was seen."""
    lengths, angles = lengths_and_angles(places)
    found = {}
    for kind, values in (("b", lengths), ("a", angles)):
        edges = EDGES[kind]
        counts = np.histogram(values, edges)[0].astype(float)
        middle = (edges[1:] + edges[:-1]) / 2
        volume = {"b": middle**2, "a": np.sin(np.radians(middle))}[kind]
        with np.errstate(divide="ignore"):
            energy = -BOLTZMANN * kelvin * np.log(counts / values.size / volume)
        found[kind] = np.where(counts < FEW, np.nan, energy)
    return found


def corrected(potential: Array, target: Array, run: Array) -> Array:
    """A potential after a step, where both the atoms and the run have been."""
    change = target - run
    return np.asarray(potential + np.where(np.isnan(change), 0.0, change))


def smooth(kind: str, energy: Array) -> Array:
    """Gaps closed, what was not seen extrapolated, and a running mean over three bins."""
    edges = EDGES[kind]
    middle = (edges[1:] + edges[:-1]) / 2
    seen = np.flatnonzero(~np.isnan(energy))
    low, high = seen[0], seen[-1]
    full = np.interp(middle, middle[seen], energy[seen])
    inner = full.copy()
    inner[low + 1 : high] = (full[low : high - 1] + full[low + 1 : high] + full[low + 2 : high + 1]) / 3
    for end, inside, rows in ((low, low + 3, slice(0, low)), (high, high - 3, slice(high + 1, None))):
        slope = (inner[end] - inner[inside]) / (middle[end] - middle[inside])
        away = middle[rows] - middle[end]
        inner[rows] = inner[end] + slope * away + STIFF[kind] * away**2 / 2
    return np.asarray(inner - inner[low : high + 1].min())


def write_tables(name: str, potentials: dict[str, Array]) -> list[str]:
    """Files for ``mdrun -tableb``: position, energy and force."""
    files = []
    for kind, energy in potentials.items():
        edges = EDGES[kind]
        middle, values = (edges[1:] + edges[:-1]) / 2, smooth(kind, energy)
        if kind == "a":  # no slope at 180 degrees, where a force would have no direction
            middle, values = np.append(middle, 360.0 - middle[::-1]), np.append(values, values[::-1])
        curve = CubicSpline(middle, values, bc_type="natural")
        at = np.linspace(edges[0], edges[-1], FINE[kind])
        rows = np.column_stack([at, curve(at), -curve(at, 1)])
        files.append(f"{name}_{kind}0.xvg")
        np.savetxt(Path(files[-1]), rows, fmt="%15.8e")
    return files

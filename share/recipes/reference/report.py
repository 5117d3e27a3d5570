"""What a run was like: density, energies, end-to-end vectors, stereocentres."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import MDAnalysis as mda
import numpy as np
from frames import GAS, whole
from gromacs import System, gmx
from molecule import Array, Molecule, hands


def report(system: System, molecule: Molecule, times: list[float]) -> str:
    """Return a page of text about run.edr and run.xtc and the frames at some times."""
    temperature, pressure, _ = system["run"]
    lines = [f"{system['title']}: {system['molecules']} molecules, {temperature} K, {pressure} bar"]
    lines += energies(system, len(molecule.atoms))
    clock, places = trajectory(molecule, system["skip"])
    ends = places[:, :, molecule.groups[-1].carbon] - places[:, :, molecule.groups[0].carbon]
    squares = (ends**2).sum(axis=-1)
    error = squares.mean(axis=0).std(ddof=1) / np.sqrt(len(squares[0]))  # molecules are independent
    lines.append(f"mean square end-to-end distance: {squares.mean():.3f} +- {error:.3f} nm2")
    lines.append(f"by fifths: {fifths(squares, '.3f')}")
    lines += relaxation("end-to-end vector", clock, ends, times[1] - times[0])
    rings = [group for group in molecule.groups if group.ring]
    if rings:
        tips = places[:, :, [g.ring[3] for g in rings]] - places[:, :, [g.carbon for g in rings]]
        lines += relaxation("vectors along rings", clock, tips.reshape(len(tips), -1, 3), times[1] - times[0])
    if len(molecule.groups) > 3 and rings:
        start = mda.Universe("start.gro")
        built = [hands(molecule, x) for x in whole(molecule, start.atoms.positions, start.dimensions[:3])]
        wrong = sum(hands(molecule, x) != h for frame in places for x, h in zip(frame, built, strict=True))
        meso = [a == b for chain in built for a, b in pairwise(chain)]
        lines.append(f"stereocentres: {wrong} molecules not as built in {len(places)} frames")
        lines.append(f"meso dyads: {np.mean(meso):.2f} of {len(meso)}")
    return "\n".join(lines) + "\n"


def fifths(values: Array, form: str) -> str:
    """Return means of five parts, one after the other."""
    return "  ".join(f"{part.mean():{form}}" for part in np.array_split(values, 5))


def energies(system: System, n_atoms: int) -> list[str]:
    """Describe what gmx energy gives."""
    table = energy_table("run", "Density\nPotential\n\n", system["skip"])
    lines = ["of gmx energy: average, error estimate, rms, drift", *table[0]]
    _, potential, density = table[1]
    lines.append(f"density, kg/m3, by fifths: {fifths(density, '.1f')}; experiment {system['experiment']}")
    lines.append(f"potential, kJ/mol, by fifths: {fifths(potential, '.0f')}")
    if Path("volume.edr").exists():
        time, conserved = energy_table("volume", "Conserved-En.\n\n", 0)[1]
        unit = GAS * system["run"][0] * system["molecules"] * n_atoms
        slope = np.polyfit(time, conserved, 1)[0] * 1000 / unit
        lines.append(f"drift of the conserved energy at constant volume: {slope:.2g} kT per atom and ns")
    return lines


def energy_table(name: str, choice: str, begin: float) -> tuple[list[str], Array]:
    """Return the summary of gmx energy, and columns: time and the energies in the order of the file."""
    printed = gmx("energy", "-f", f"{name}.edr", "-b", begin, "-o", f"{name}.xvg", text=choice)
    shown = [line for line in printed.splitlines() if "(k" in line and line[0] != "E"]
    rows = [x.split() for x in Path(f"{name}.xvg").read_text().splitlines() if x[0] not in "#@"]
    return shown, np.array(rows, float).T


def trajectory(molecule: Molecule, skip: float) -> tuple[Array, Array]:
    """Return times (t,) and whole molecules (t, copies, n, 3), nm, of the run."""
    moving = mda.Universe("run.tpr", "run.xtc")
    found = [
        (frame.time, whole(molecule, frame.positions, frame.dimensions[:3]) / 10)
        for frame in moving.trajectory
        if frame.time >= skip
    ]
    return np.array([time for time, _ in found]), np.array([x for _, x in found])


def relaxation(name: str, clock: Array, vectors: Array, spacing: float) -> list[str]:
    """Describe the autocorrelation of vectors (t, copies, 3)."""
    n, apart = len(vectors), float(clock[1] - clock[0])
    products = np.array([(vectors[: n - k] * vectors[k:]).sum(axis=-1).mean() for k in range(n)])
    c = products / products[0]
    low = np.flatnonzero(c < np.exp(-1))
    how_long = f"in {low[0] * apart:.3g} ps" if len(low) else "not within the run"
    steps = [2**k for k in range(12) if 2**k < 0.5 * n]
    at_spacing = c[min(round(spacing / apart), n - 1)]
    return [
        f"{name}: correlation falls to 1/e {how_long}; {at_spacing:.2f} between frames, {spacing:g} ps apart",
        "  " + "  ".join(f"{k * apart:.3g} ps {c[k]:.2f}" for k in steps),
    ]

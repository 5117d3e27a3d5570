"""What a run was like: density, energies, end-to-end vectors, stereocentres."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import MDAnalysis as mda
import numpy as np
from frames import GAS, whole
from gromacs import System, gmx
from molecule import Array, Molecule, chirality

Vectors = Callable[[Molecule, Array], Array]


def report(system: System, molecule: Molecule, times: list[float]) -> str:
    """Return a page of text about a run, or about cycles, and the frames at some times."""
    temperature, pressure, _ = system["run"]
    lines = [f"{system['title']}: {system['molecules']} molecules, {temperature} K, {pressure} bar"]
    lines += (of_cycles if "hot" in system else of_run)(system, molecule, times)
    return "\n".join(lines) + "\n"


def of_run(system: System, molecule: Molecule, times: list[float]) -> list[str]:
    """Describe one run."""
    lines = energies(system) + drift(system, len(molecule.atoms))
    clock, places = trajectory(molecule, ["run"], system["skip"])
    found, squares = end_to_end_squares(molecule, places)
    lines += [found, f"by fifths: {row(np.array_split(squares, 5), '.3f')}"]
    for moltype, vectors in moltypes(molecule).items():
        lines += relaxation(moltype, clock, vectors(molecule, places), times[1] - times[0])
    return lines + stereocentres(molecule, places)


def of_cycles(system: System, molecule: Molecule, times: list[float]) -> list[str]:
    """Describe the rests of cycles, and how the hot parts make them forget each other."""
    hot, rest = ([f"{part}{k}" for k in range(1, len(times) + 1)] for part in ("hot", "rest"))
    lines = [schedule(system), *energies_of_rests(system, rest), *drift(system, len(molecule.atoms))]
    clock, places = trajectory(molecule, rest, system["cool"] + system["skip"])
    found, squares = end_to_end_squares(molecule, places)
    lines += [found, f"  by cycles: {row(np.split(squares, len(rest), axis=1), '.2f')}"]
    part = trans(molecule, places)
    error = standard_error(part.mean(axis=0))
    lines.append(f"trans torsions of the chain: {part.mean():.3f} +- {error:.3f}")
    lines.append(f"  by fifths of the rests: {row(np.array_split(part, 5), '.3f')}")
    hot_clock, hot_places = trajectory(molecule, hot, 0)
    for moltype, vectors in moltypes(molecule).items():
        lines += between(moltype, molecule, vectors, times)
        lines += relaxation(f"{moltype}, hot", hot_clock, vectors(molecule, hot_places))
        lines += relaxation(f"{moltype}, at rest", clock, vectors(molecule, places))
    return lines + stereocentres(molecule, places)


def row(parts: Iterable[Array], form: str) -> str:
    """Return the means of parts, one after the other."""
    return "  ".join(f"{np.mean(part):{form}}" for part in parts)


def standard_error(values: Array) -> float:
    """Return the error of a mean over the first axis of independent values."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


# --- energies --------------------------------------------------------------------------------------


def schedule(system: System) -> str:
    """Say what a cycle is."""
    (warm, pressure, length), (cold, _, rest), cool = system["hot"], system["run"], system["cool"]
    first = f"{length:g} ps at {warm} K and {pressure} bar, {cool:g} ps of cooling to {cold} K"
    return f"{system['frames']} cycles: {first}, {rest:g} ps of rest, less its first {system['skip']:g} ps:"


def energies_of_rests(system: System, names: list[str]) -> list[str]:
    """Describe density and potential energy of the rests."""
    skip = system["cool"] + system["skip"]
    tables = [energy_table(name, "Density\nPotential\n\n", skip)[1] for name in names]
    lines = []
    for what, unit, column, form in [("potential", "kJ/mol", 1, ".0f"), ("density", "kg/m3", 2, ".1f")]:
        each = np.array([table[column] for table in tables])
        means, half = each.mean(axis=1), each.shape[1] // 2
        change = each[:, half:].mean(axis=1) - each[:, :half].mean(axis=1)
        lines.append(f"{what}, {unit}: {means.mean():{form}} +- {standard_error(means):{form}}")
        lines.append(f"  by cycles: {row(each, form)}")
        lines.append(f"  by fifths of the rests: {row(np.array_split(each, 5, axis=1), form)}")
        later = f"{change.mean():{form}} +- {standard_error(change):{form}}"
        lines.append(f"  second half of a rest less the first: {later}")
    return [*lines, f"  experiment {system['experiment']}"]


def energies(system: System) -> list[str]:
    """Describe what gmx energy gives for the run."""
    table = energy_table("run", "Density\nPotential\n\n", system["skip"])
    _, potential, density = table[1]
    by_fifths = [row(np.array_split(x, 5), form) for x, form in [(density, ".1f"), (potential, ".0f")]]
    return [
        *("of gmx energy: average, error estimate, rms, drift", *table[0]),
        f"density, kg/m3, by fifths: {by_fifths[0]}; experiment {system['experiment']}",
        f"potential, kJ/mol, by fifths: {by_fifths[1]}",
    ]


def drift(system: System, n_atoms: int) -> list[str]:
    """Describe what the integrator loses."""
    if not Path("volume.edr").exists():
        return []
    time, conserved = energy_table("volume", "Conserved-En.\n\n", 0)[1]
    unit = GAS * system["run"][0] * system["molecules"] * n_atoms
    slope = np.polyfit(time, conserved, 1)[0] * 1000 / unit
    return [f"drift of the conserved energy at constant volume: {slope:.2g} kT per atom and ns"]


def energy_table(name: str, choice: str, begin: float) -> tuple[list[str], Array]:
    """Return the summary of gmx energy, and columns: time and the energies in the order of the file."""
    printed = gmx("energy", "-f", f"{name}.edr", "-b", begin, "-o", f"{name}.xvg", text=choice)
    shown = [line for line in printed.splitlines() if "(k" in line and line[0] != "E"]
    rows = [x.split() for x in Path(f"{name}.xvg").read_text().splitlines() if x[0] not in "#@"]
    return shown, np.array(rows, float).T


# --- places ----------------------------------------------------------------------------------------


def trajectory(molecule: Molecule, names: list[str], skip: float) -> tuple[Array, Array]:
    """Return times (t,) and whole molecules (t, copies, n, 3), nm; the copies of several runs in a row."""
    found = []
    for name in names:
        frames = [
            (frame.time, whole(molecule, frame.positions, frame.dimensions[:3]) / 10)
            for frame in mda.Universe(f"{name}.tpr", f"{name}.xtc").trajectory
            if frame.time >= skip
        ]
        found.append([x for _, x in frames])
    return np.array([time for time, _ in frames]), np.concatenate(found, axis=1)


def moltypes(molecule: Molecule) -> Mapping[str, Vectors]:
    """Return the vectors to look at."""
    rings = {"vectors along rings": along_rings} if any(g.ring for g in molecule.groups) else {}
    return {"end-to-end vector": end_to_end} | rings


def end_to_end_squares(molecule: Molecule, places: Array) -> tuple[str, Array]:
    """Describe the squares of the end-to-end distances, and return them: (t, copies)."""
    squares = (end_to_end(molecule, places)[:, :, 0] ** 2).sum(axis=-1)
    error = standard_error(squares.mean(axis=0))  # molecules are independent
    return f"mean square end-to-end distance: {squares.mean():.3f} +- {error:.3f} nm2", squares


def end_to_end(molecule: Molecule, places: Array) -> Array:
    """Return vectors (..., copies, 1, 3) from the first to the last carbon."""
    first, last = (molecule.groups[k].carbon for k in (0, -1))
    return places[..., [last], :] - places[..., [first], :]


def along_rings(molecule: Molecule, places: Array) -> Array:
    """Return vectors (..., copies, rings, 3) from the chain to the far end of rings."""
    rings = [group for group in molecule.groups if group.ring]
    return places[..., [g.ring[3] for g in rings], :] - places[..., [g.carbon for g in rings], :]


def trans(molecule: Molecule, places: Array) -> Array:
    """Return (..., copies): the part of the torsions along the chain that is beyond 120 degrees."""
    steps = np.diff(places[..., [g.carbon for g in molecule.groups], :], axis=-2)
    normals = np.cross(steps[..., :-1, :], steps[..., 1:, :])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return ((normals[..., :-1, :] * normals[..., 1:, :]).sum(axis=-1) < -0.5).mean(axis=-1)


def relaxation(moltype: str, clock: Array, vectors: Array, spacing: float | None = None) -> list[str]:
    """Describe the autocorrelation of vectors (t, ..., 3)."""
    n, apart = len(vectors), float(clock[1] - clock[0])
    products = np.array([(vectors[: n - k] * vectors[k:]).sum(axis=-1).mean() for k in range(n)])
    c = products / products[0]
    low = np.flatnonzero(c < np.exp(-1))
    how_long = f"in {low[0] * apart:.3g} ps" if len(low) else "not within the run"
    line = f"{moltype}: correlation falls to 1/e {how_long}"
    if spacing:
        line += f"; {c[min(round(spacing / apart), n - 1)]:.2f} between frames, {spacing:g} ps apart"
    steps = [2**k for k in range(12) if 2**k < 0.5 * n]
    return [line, "  " + "  ".join(f"{k * apart:.3g} ps {c[k]:.2f}" for k in steps)]


def between(moltype: str, molecule: Molecule, vectors: Vectors, times: list[float]) -> list[str]:
    """Describe the correlation between frames, with errors of independent chains."""
    frames = [mda.Universe(f"free{time:g}.gro") for time in times]
    places = [whole(molecule, frame.atoms.positions, frame.dimensions[:3]) / 10 for frame in frames]
    v = vectors(molecule, np.array(places))  # (frames, copies, vectors, 3)
    products = np.einsum("icrx,jcrx->ijc", v, v)
    scale = np.mean([products[i, i] for i in range(len(v))])
    lines = []
    for what, first, second in [
        ("neighbouring frames", np.arange(len(v) - 1), np.arange(1, len(v))),
        ("all pairs of frames", *np.triu_indices(len(v), 1)),
    ]:
        chains = products[first, second].mean(axis=0) / scale
        lines.append(f"{moltype}: correlation of {what} {chains.mean():.2f} +- {standard_error(chains):.2f}")
    return lines


def stereocentres(molecule: Molecule, places: Array) -> list[str]:
    """Compare the chirality in every frame with that of start.gro, if there are several in a chain."""
    if sum(bool(group.ring) for group in molecule.groups) < 2:
        return []
    start = mda.Universe("start.gro")
    built = [chirality(molecule, x) for x in whole(molecule, start.atoms.positions, start.dimensions[:3])]
    wanted = built * (places.shape[1] // len(built))
    wrong = sum(chirality(molecule, x) != h for frame in places for x, h in zip(frame, wanted, strict=True))
    meso = [a == b for chain in built for a, b in pairwise(chain)]
    found = len(places) * len(wanted) // len(built)
    return [
        f"stereocentres: {wrong} molecules not as built in {found} frames",
        f"meso dyads: {np.mean(meso):.2f} of {len(meso)}",
    ]

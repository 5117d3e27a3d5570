"""Frames as a user would have them: atoms, and the beads they map to."""

from __future__ import annotations

from pathlib import Path

import MDAnalysis as mda
import numpy as np
from gromacs import FREE, HERE, System, gmx, write_gro, write_mdp
from molecule import Array, Bead, Molecule

SYSTEM = Path("system")  # what is made for users
GAS = 0.00831446  # kJ/mol/K
SIZES = {"A": "27.0  0.0  A  0.43  1.5", "B": "77.0  0.0  A  0.50  3.0"}


def whole(molecule: Molecule, atoms: Array, edges: Array) -> Array:
    """Return molecules (copies, n, 3) in one piece; the box is rectangular."""
    found = np.asarray(atoms, float).reshape(-1, len(molecule.atoms), 3)
    for i in range(1, len(molecule.atoms)):
        before = min(molecule.graph[i])
        step = found[:, i] - found[:, before]
        found[:, i] = found[:, before] + step - edges * np.round(step / edges)
    return found


def weights(molecule: Molecule, mapped: list[Bead]) -> Array:
    """(beads, atoms), rows add up to 1."""
    matrix = np.zeros((len(mapped), len(molecule.atoms)))
    for row, bead in zip(matrix, mapped, strict=True):
        row[list(bead.weights)] = list(bead.weights.values())
    return matrix / matrix.sum(axis=1, keepdims=True)


def write_frames(system: System, molecule: Molecule, mapped: list[Bead], times: list[float]) -> None:
    """Write the folder system: aa.gro is the last frame of aa.xtc, cg.gro and cg.tpr the first of cg.xtc."""
    SYSTEM.mkdir(exist_ok=True)
    title, name = system["title"], molecule.name
    frames = [mda.Universe(f"free{time:g}.gro") for time in times]
    edges = [frame.dimensions[:3] / 10 for frame in frames]
    read = [whole(molecule, frame.atoms.positions / 10, e) for frame, e in zip(frames, edges, strict=True)]
    atoms = [np.round(places, 3) for places in read]  # as they will be in the file
    sites = [weights(molecule, mapped) @ places for places in atoms]
    wrapped = [np.mod(places, e) for places, e in zip(sites, edges, strict=True)]
    write_xtc(SYSTEM / "aa.xtc", atoms, edges, times)
    write_xtc(SYSTEM / "cg.xtc", wrapped, edges, times)
    write_gro(SYSTEM / "aa.gro", title, name, [a[0] for a in molecule.atoms], atoms[-1], edges[-1])
    write_gro(SYSTEM / "cg.gro", f"{title}, beads", name, [b.name for b in mapped], wrapped[0], edges[0])
    lengths = np.concatenate([np.linalg.norm(np.diff(places, axis=1), axis=-1) for places in sites])
    (SYSTEM / "cg.top").write_text(cg_topology(system, molecule, mapped, lengths))
    parts = ["-c", SYSTEM / "cg.gro", "-p", SYSTEM / "cg.top", "-o", SYSTEM / "cg.tpr"]
    gmx("grompp", "-f", HERE / "cg.mdp", *parts, "-po", "out.mdp")
    values = FREE | {"nsteps": 20000, "ref-t": system["run"][0], "gen-temp": system["run"][0]}
    write_mdp(SYSTEM / "run.mdp", f"{title}: a run from frames of aa.xtc, without constraints", values)
    for file in ("topol.top", "mapping.xml", "owners.txt"):
        (SYSTEM / file).write_text(Path(file).read_text())
    write_entry(system, molecule, atoms[-1][0])


def write_entry(system: System, molecule: Molecule, places: Array) -> None:
    """Write the folder of the molecule for the library, with a conformer where the chirality is one."""
    folder = Path(molecule.name)
    folder.mkdir(exist_ok=True)
    topology = Path("topol.top").read_text().split("[ system ]")[0]
    ending = f"[ system ]\n{system['title']}\n\n[ molecules ]\n{molecule.name}  1\n"
    (folder / "topol.top").write_text(topology + ending)
    for file in ("mapping.xml", "owners.txt"):
        (folder / file).write_text(Path(file).read_text())
    if set(system["backbone"]) == set("CUD"):
        low = places.min(axis=0) - 0.2
        edges, names = places.max(axis=0) + 0.2 - low, [a[0] for a in molecule.atoms]
        write_gro(folder / "conf.gro", system["title"], molecule.name, names, places - low, edges)


def write_xtc(path: Path, frames: list[Array], edges: list[Array], times: list[float]) -> None:
    """Write frames (..., 3) in rectangular boxes."""
    made = mda.Universe.empty(frames[0].size // 3, trajectory=True)
    with mda.Writer(str(path), len(made.atoms)) as out:
        for places, box, time in zip(frames, edges, times, strict=True):
            made.dimensions = [*(box * 10), 90, 90, 90]
            made.atoms.positions = places.reshape(-1, 3) * 10
            made.trajectory.ts.time = time
            out.write(made.atoms)


def cg_topology(system: System, molecule: Molecule, mapped: list[Bead], lengths: Array) -> str:
    """Return cg.top: beads in a row, bonds with mean and spread of lengths (copies, bonds) in nm."""
    title, name = system["title"], molecule.name
    lines = [
        f"; {title}: beads",
        "; bonds have the mean and the spread of the mapped frames, the rest is a sketch",
    ]
    lines += ["[ defaults ]", "; nbfunc  comb-rule", "  1       2", ""]
    lines += ["[ atomtypes ]", "; name  mass  charge  ptype  sigma  epsilon"]
    lines += [f"  {moltype}  {SIZES[moltype]}" for moltype in sorted({bead.type for bead in mapped})]
    lines += ["", "[ moleculetype ]", "; name  nrexcl", f"  {name}  2", "", "[ atoms ]"]
    lines += ["; nr  type  resnr  residue  atom  cgnr  charge  mass (of the atoms the bead is rebuilt with)"]
    for k, bead in enumerate(mapped, 1):
        mass = sum(molecule.mass(bead.owned))
        lines.append(f"{k:4}  {bead.type}  1  {name}  {bead.name:4} {k:4}  0.0  {mass:8.4f}")
    lines += ["", "[ bonds ]", "; i   j  func  b0     kb"]
    stiffness = GAS * system["run"][0] / lengths.var(axis=0)
    for k, (mean, force) in enumerate(zip(lengths.mean(axis=0), stiffness, strict=True), 1):
        lines.append(f"{k:4}{k + 1:4}  1  {mean:.3f}  {float(f'{force:.2g}'):.0f}")
    lines += ["", "[ system ]", f"{title}, beads", "", "[ molecules ]", f"{name}  {system['molecules']}"]
    return "\n".join(lines) + "\n"

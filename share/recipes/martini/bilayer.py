"""A Martini bilayer of POPC in salt water, and the topology of its atoms: ``bilayer.py FOLDER [--lipids N]``.

Beads and their interactions are those of Martini 2 (Marrink et al., J. Phys. Chem. B 111, 7812 (2007)), whose
whole table is in the paper.  Atoms are those of CHARMM27, which GROMACS has.  It writes ``cg.top``,
``start.gro``, ``em.mdp``, ``eq.mdp`` and ``cg.mdp`` for a coarse-grained run, ``topol.top`` and ``md.mdp`` of
the atoms.  Needs ``gmx`` for the topology of the atoms.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

LEVELS = dict(zip("OABCDEFGHI", (5.6, 5.0, 4.5, 4.0, 3.5, 3.1, 2.7, 2.3, 2.0, 2.0), strict=True))
"""Depths, kJ/mol: the levels O, I, II, ... IX of the paper; the last one is wider."""

TYPES = ("Qd", "Qa", "Q0", "P4", "Na", "C3", "C1")
TABLE = ("A", "OA", "BBD", "OOOA", "OCCCC", "GGGFFD", "IIIHFDD")
"""Levels of pairs, row by row below the diagonal."""

BEADS = (
    "NC3 Q0 1,PO4 Qa -1,GL1 Na 0,GL2 Na 0,"
    "C1A C1 0,D2A C3 0,C3A C1 0,C4A C1 0,C1B C1 0,C2B C1 0,C3B C1 0,C4B C1 0"
)
BONDS = "1-2 2-3 3-4 3-5 5-6 6-7 7-8 4-9 9-10 10-11 11-12"
ANGLES = (
    "2-3-4:120:25 2-3-5:180:25 3-5-6:180:25 5-6-7:120:45 6-7-8:180:25 "
    "4-9-10:180:25 9-10-11:180:25 10-11-12:180:25"
)
HEIGHTS = (2.0, 1.7, 1.4, 1.35, 1.0, 0.75, 0.45, 0.15, 1.0, 0.7, 0.4, 0.15)
"""nm above the middle of the bilayer, of each bead at the start."""

AREA, WATERS = 0.66, 8  # nm2 and beads of water for each lipid
EM = "integrator = steep\nnsteps = 500\nemtol = 100\ncutoff-scheme = Verlet\n"
CG = """integrator = md
dt = 0.02
nsteps = {steps}
nstxout-compressed = {every}
cutoff-scheme = Verlet
coulombtype = reaction-field
rcoulomb = 1.1
epsilon-r = 15
epsilon-rf = 0
vdw-modifier = potential-shift
rvdw = 1.1
tcoupl = v-rescale
tc-grps = System
tau-t = 1
ref-t = 310
pcoupl = {pcoupl}
pcoupltype = semiisotropic
tau-p = 4
ref-p = 1 1
compressibility = 3e-4 3e-4
gen-vel = yes
gen-temp = 310
gen-seed = 1
ld-seed = 1
"""
MD = """integrator = md
dt = 0.002
nsteps = 5000
nstenergy = 50
cutoff-scheme = Verlet
coulombtype = PME
rcoulomb = 1.0
rvdw = 1.0
vdw-modifier = force-switch
rvdw-switch = 0.8
constraints = h-bonds
tcoupl = v-rescale
tc-grps = System
tau-t = 0.5
ref-t = 310
gen-vel = yes
gen-temp = 310
gen-seed = 1
ld-seed = 1
"""


def nonbonded() -> str:
    """Bead types and their Lennard-Jones parameters (C6, C12)."""
    masses = "".join(f"{kind} 72.0 0.0 A 0.0 0.0\n" for kind in TYPES)
    pairs = ""
    for i, row in enumerate(TABLE):
        for j, level in enumerate(row):
            depth, size = LEVELS[level], 0.62 if level == "I" and TYPES[j][0] == "Q" else 0.47
            pairs += f"{TYPES[i]} {TYPES[j]} 1 {4 * depth * size**6:.6e} {4 * depth * size**12:.6e}\n"
    return f"[ defaults ]\n1 1\n\n[ atomtypes ]\n{masses}\n[ nonbond_params ]\n{pairs}\n"


def molecule(name: str, beads: str, bonds: str = "", angles: str = "") -> str:
    """A molecule type."""
    text = f"[ moleculetype ]\n{name} 1\n\n[ atoms ]\n"
    for k, bead in enumerate(beads.split(","), 1):
        label, kind, charge = bead.split()
        text += f"{k} {kind} 1 {name.strip('+-')} {label} {k} {charge}.0 72.0\n"
    if bonds:
        text += "\n[ bonds ]\n"
        for bond in bonds.split():
            i, j = bond.split("-")
            text += f"{i} {j} 1 {0.37 if bond == '3-4' else 0.47} 1250\n"
        text += "\n[ angles ]\n"
        for angle in angles.split():
            atoms, value, force = angle.split(":")
            text += f"{atoms.replace('-', ' ')} 2 {value} {force}\n"
    return text + "\n"


def cg_topology(counts: dict[str, int]) -> str:
    """The beads."""
    molecules = molecule("POPC", BEADS, BONDS, ANGLES) + molecule("W", "W P4 0")
    molecules += molecule("NA+", "NA+ Qd 1") + molecule("CL-", "CL- Qa -1")
    listed = "".join(f"{name} {count}\n" for name, count in counts.items())
    return f"{nonbonded()}{molecules}[ system ]\nPOPC\n\n[ molecules ]\n{listed}"


def start(counts: dict[str, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions and box, nm: lipids on a grid, water and ions above."""
    side = round((counts["POPC"] / 2) ** 0.5)
    width = (AREA * side**2) ** 0.5
    small = counts["W"] + counts["NA+"] + counts["CL-"]
    rows = int(width / 0.48)
    layers = -(-small // rows**2)
    box = np.array([width, width, 4.9 + 0.48 * layers])
    places = []
    for leaflet in (1, -1):
        for k in range(side**2):
            x = (np.array([k // side, k % side]) + 0.5) * width / side
            for bead, height in enumerate(HEIGHTS):
                shift = 0.12 if bead >= 8 or bead == 3 else -0.12
                places.append([x[0] + shift, x[1], box[2] / 2 + leaflet * (height + 0.15)])
    grid = np.array([[i, j, k] for k in range(layers) for i in range(rows) for j in range(rows)])[:small]
    water = (grid + 0.5) * [width / rows, width / rows, 0.48]
    water[:, 2] += box[2] / 2 + 2.45
    atoms = np.concatenate([places, rng.permutation(water)])
    return atoms + 0.02 * rng.standard_normal(atoms.shape), box


def write_gro(path: Path, names: list[tuple[int, str, str]], atoms: np.ndarray, box: np.ndarray) -> None:
    """A structure."""
    lines = [
        f"{number % 100000:5d}{residue:<5.5s}{name:>5.5s}{k % 100000:5d}{x:8.3f}{y:8.3f}{z:8.3f}"
        for k, ((number, residue, name), (x, y, z)) in enumerate(zip(names, atoms, strict=True), 1)
    ]
    path.write_text("\n".join(["POPC", str(len(atoms)), *lines, " ".join(f"{x:.5f}" for x in box), ""]))


def atoms_topology(folder: Path, counts: dict[str, int]) -> None:
    """The topology of the atoms: by ``gmx pdb2gmx``, of a residue of CHARMM27; its positions mean nothing."""
    gmx = shutil.which("gmx") or "gmx"
    data = Path(os.environ.get("GMXDATA", Path(gmx).resolve().parents[1] / "share" / "gromacs"))
    text = (data / "top" / "charmm27.ff" / "lipids.rtp").read_text()
    atoms = re.search(r"\[ POPC \]\s*\[ atoms \](.*?)\[ bonds \]", text, re.DOTALL)
    assert atoms is not None, "lipids.rtp has no POPC"
    names = [line.split()[0] for line in atoms[1].splitlines() if line.strip()]
    places = np.array([[i % 6, i // 6 % 6, i // 36] for i in range(len(names))]) * 0.15 + 0.5
    write_gro(folder / "one.gro", [(1, "POPC", name) for name in names], places, np.full(3, 5.0))
    command = "pdb2gmx -f one.gro -o one.gro -p one.top -i one_posre.itp -ff charmm27 -water tip3p"
    subprocess.run([gmx, "-quiet", *command.split()], cwd=folder, check=True, capture_output=True)
    top = (folder / "one.top").read_text()
    one = top[top.index("[ moleculetype ]") : top.index("; Include Position restraint file")]
    one = re.sub(r"(\[ moleculetype \]\n(?:;.*\n)*)\S+", r"\1POPC", one)
    listed = {"POPC": counts["POPC"], "SOL": 4 * counts["W"], "NA": counts["NA+"], "CL": counts["CL-"]}
    field, *more = (f'#include "charmm27.ff/{name}.itp"\n' for name in ("forcefield", "tip3p", "ions"))
    system = "[ system ]\nPOPC in salt water\n\n[ molecules ]\n"
    molecules = "".join(f"{name} {count}\n" for name, count in listed.items())
    (folder / "topol.top").write_text("\n".join([field, one, *more, system + molecules]))
    for name in ("one.gro", "#one.gro.1#", "one.top", "one_posre.itp"):
        (folder / name).unlink(missing_ok=True)


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lipids", type=int, default=32, help="twice a square number (default 32)")
    parser.add_argument("--steps", type=int, default=50_000, help="of the coarse-grained run, 20 fs each")
    options = parser.parse_args()
    folder, lipids = options.folder, options.lipids
    folder.mkdir(parents=True, exist_ok=True)
    ions = max(1, round(0.15 * lipids * WATERS * 4 / 55.5))  # 0.15 mol/l
    counts = {"POPC": lipids, "W": lipids * WATERS, "NA+": ions, "CL-": ions}
    atoms, box = start(counts, np.random.default_rng(1))
    labels = [bead.split()[0] for bead in BEADS.split(",")]
    names = [(n + 1, "POPC", label) for n in range(lipids) for label in labels]
    for name, count in list(counts.items())[1:]:
        names += [(names[-1][0] + 1 + n, name.strip("+-"), name) for n in range(count)]
    (folder / "cg.top").write_text(cg_topology(counts))
    write_gro(folder / "start.gro", names, atoms, box)
    every = max(1, options.steps // 10)
    (folder / "em.mdp").write_text(EM)
    (folder / "eq.mdp").write_text(CG.format(steps=options.steps, every=0, pcoupl="berendsen"))
    (folder / "cg.mdp").write_text(CG.format(steps=options.steps, every=every, pcoupl="c-rescale"))
    (folder / "md.mdp").write_text(MD)
    atoms_topology(folder, counts)


if __name__ == "__main__":
    main()

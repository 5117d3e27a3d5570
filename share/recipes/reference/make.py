"""Make a reference system from nothing: ``make.py NAME FOLDER`` for a system of systems.toml.

Topology and mapping are written, molecules put at random into a dilute box, compressed, equilibrated and run;
frames of the run are relaxed without constraints and mapped; report.txt says what the run was like.  What is
finished is not done again: start it once more after an interruption, or with a longer ``--run`` to go on.
Needs gmx (2022 or later) and a python with MDAnalysis and networkx; THREADS=n gives gmx n threads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from molecule import Array, Bead, Molecule, beads, conformation, make_molecule, owners, topology, votca
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

HERE = Path(__file__).resolve().parent
AMU = 1.66054  # kg/m3 of 1 amu/nm3
HEAVY = 3.0  # times their mass have hydrogens in the long runs
EVERY = 12.0  # ps between full coordinates, of which the frames are taken

# fills md.mdp where a run says nothing else
LONG = {
    "integrator": "md",
    "dt": 0.003,
    "often": 4000,  # steps between full coordinates, energies, compressed coordinates
    "energies": 100,
    "frames": 400,
    "constraints": "h-bonds",
    "tcoupl": "v-rescale",
    "tau": 0.5,
    "pcoupl": "C-rescale",
    "pressure": 1.0,
    "velocities": "no",
}
MINIMUM = {"integrator": "steep", "constraints": "none", "tcoupl": "no", "pcoupl": "no", "nsteps": 2000}
FREE = {
    **{"integrator": "sd", "dt": 0.0005, "constraints": "none", "tcoupl": "no", "pcoupl": "no", "tau": 0.1},
    **{"nsteps": 2000, "often": 2000, "energies": 200, "frames": 2000, "velocities": "yes"},
}
System = dict[str, Any]


def sides(system: System, rng: np.random.Generator) -> list[str]:
    """Return the backbone of every molecule, the sides of rings drawn where there is a choice."""
    letters = system["backbone"]
    return [
        "".join(rng.choice(["U", "D"]) if c == "T" else c for c in letters)
        for _ in range(system["molecules"])
    ]


def write_topologies(system: System, molecule: Molecule, mapped: list[Bead]) -> None:
    """Write topol.top, heavy.top (the same with heavy hydrogens), mapping.xml and owners.txt."""
    title, name, count = system["title"], molecule.name, system["molecules"]
    for file, heavy in [("topol.top", 1.0), ("heavy.top", HEAVY)]:
        parts = [f"; {title}", (HERE / "opls.top").read_text(), topology(molecule, heavy=heavy)]
        parts += ["[ system ]", title, "", "[ molecules ]", f"{name}  {count}"]
        Path(file).write_text("\n".join(parts) + "\n")
    Path("mapping.xml").write_text(votca(molecule, mapped))
    Path("owners.txt").write_text(owners(mapped))


def pack(system: System, molecule: Molecule, backbones: list[str], rng: np.random.Generator) -> None:
    """Write start.gro: molecules at random in a dilute cubic box."""
    n = len(molecule.atoms)
    mass = sum(molecule.mass(list(range(n)))) * len(backbones)
    edge = float((mass * AMU / system["start"]) ** (1 / 3))
    placed = np.zeros((0, 3))
    for backbone in backbones:
        for _ in range(10000):
            new = Rotation.random(random_state=rng).apply(conformation(molecule, backbone, rng))
            new = np.mod(new - new.mean(axis=0) + rng.uniform(0, edge, 3), edge)
            if not len(placed) or cKDTree(placed, boxsize=edge).query(new)[0].min() > 0.22:
                break
        else:
            raise RuntimeError("no room: lower start in systems.toml")
        placed = np.concatenate([placed, new])
    names = [name for name, _, _ in molecule.atoms]
    write_gro(Path("start.gro"), system["title"], molecule.name, names, placed, np.full(3, edge))


def write_gro(path: Path, title: str, residue: str, names: list[str], places: Array, edges: Array) -> None:
    """Write molecules, one residue each."""
    lines = [title, str(len(places))]
    for k, row in enumerate(places):
        label = f"{k // len(names) + 1:5}{residue:5}{names[k % len(names)]:>5}{k + 1:5}"
        lines.append(label + "".join(f"{v:8.3f}" for v in row))
    path.write_text("\n".join([*lines, "".join(f"{v:10.5f}" for v in edges)]) + "\n")


# --- GROMACS ---------------------------------------------------------------------------------------


def write_mdp(path: Path, system: System, **values: object) -> None:
    """Write run parameters: those of md.mdp with values filled in."""
    given = {"title": system["title"], "seed": system["seed"], "temperature": system["run"][0]}
    path.write_text(Template((HERE / "md.mdp").read_text()).substitute(LONG | given | values))


def gmx(*arguments: object, text: str = "") -> str:
    """Run GROMACS and return what it printed."""
    command = ["gmx", "-quiet", *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {Path.cwd()}:\n{done.stderr[-3000:]}")
    return done.stdout


def simulate(system: System, name: str, start: str, *options: object, top: str, **values: object) -> None:
    """Do a simulation, or what is left of it."""
    write_mdp(Path(f"{name}.mdp"), system, **values)
    files = ["-f", f"{name}.mdp", "-c", start, "-p", top, "-o", f"{name}.tpr", "-po", "out.mdp"]
    gmx("grompp", *files, *options)
    going = ["-cpi", f"{name}.cpt"] if Path(f"{name}.cpt").exists() else []
    threads = os.environ.get("THREADS", "1")
    gmx("mdrun", "-deffnm", name, "-ntmpi", 1, "-ntomp", threads, "-cpt", 2, *going)


def simulate_all(system: System) -> None:
    """Minimise, then stage after stage: em, stage1, stage2, ..., run."""
    if not Path("em.gro").exists():
        simulate(system, "em", "start.gro", top="topol.top", **MINIMUM)
    before = "em"
    stages = [*system["stages"], system["run"]]
    for number, (temperature, pressure, length) in enumerate(stages, 1):
        name = "run" if number == len(stages) else f"stage{number}"
        if name == "run" or not Path(f"{name}.gro").exists():
            print(f"{name}: {length:g} ps at {temperature} K and {pressure} bar", flush=True)
            values = {"temperature": temperature, "pressure": pressure, "nsteps": round(length / LONG["dt"])}
            follow = ("-t", f"{before}.cpt") if number > 1 else ()
            first = "yes" if number == 1 else "no"
            simulate(system, name, f"{before}.gro", *follow, top="heavy.top", velocities=first, **values)
        before = name


def free_frames(system: System) -> list[float]:
    """Run 1 ps without constraints from frames of the run, so that bonds get their spread.

    Returns
    -------
    The times of the frames; the files are free{time}.gro.
    """
    length, count = system["run"][2], system["frames"]
    spacing = (length - system["skip"]) / (count - 1) // EVERY * EVERY
    times = [length // EVERY * EVERY - spacing * k for k in reversed(range(count))]
    for time in times:
        if not Path(f"free{time:g}.gro").exists():
            options = ("-t", "run.trr", "-time", time)
            values = FREE | {"seed": 1 + round(time)}
            simulate(system, f"free{time:g}", "run.tpr", *options, top="topol.top", **values)
    return times


# --- all of it -------------------------------------------------------------------------------------


def main() -> None:
    """Make a system."""
    from frames import write_frames
    from report import report

    systems = tomllib.loads((HERE / "systems.toml").read_text())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=systems)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=float, metavar="PS", help="length of the last stage")
    parser.add_argument("--skip", type=float, metavar="PS", help="how much of it is left out")
    parser.add_argument("--whole-ends", action="store_true", help="end beads made like the others")
    parser.add_argument("--no-run", action="store_true", help="take the frames of what is there")
    options = parser.parse_args()
    system = systems[options.name]
    system["run"][2] = options.run or system["run"][2]
    system["skip"] = system["skip"] if options.skip is None else options.skip
    options.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(options.folder)

    rng = np.random.default_rng(system["seed"])
    molecule = make_molecule(system["name"], system["backbone"].replace("T", "U"))
    mapped, backbones = beads(molecule, whole_ends=options.whole_ends), sides(system, rng)
    write_topologies(system, molecule, mapped)
    if not Path("start.gro").exists():
        pack(system, molecule, backbones, rng)
    if not options.no_run:
        simulate_all(system)
    times = free_frames(system)
    write_frames(system, molecule, mapped, times)
    Path("report.txt").write_text(report(system, molecule, backbones, times))
    print(Path("report.txt").read_text())


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()

"""Make a reference system from nothing: ``make.py NAME FOLDER`` for a system of systems.toml.

Topology and mapping are written, molecules put at random into a dilute box, compressed, equilibrated and run;
frames of the run, or ends of cycles of heat, cooling and rest, are relaxed without constraints and mapped;
report.txt says what the run was like.  What is finished is not done again: start it once more after an
interruption, or with a longer ``--run`` (of a liquid) or more ``--frames`` (of a melt) to go on.
``--start aa.gro`` runs from an equilibrated system instead.  The folder system holds what ships in
share/reference, the folder named as the molecule what ships in share/molecules.

Needs gmx (2022 or later) and a python with MDAnalysis and networkx; THREADS=n gives gmx n threads.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
import warnings
from pathlib import Path

import MDAnalysis as mda
import numpy as np
from frames import write_frames
from gromacs import FREE, HERE, LONG, MINIMUM, STAGE, System, simulate, write_gro
from molecule import Bead, Molecule, beads, conformation, make_molecule, owners, topology, votca
from report import report
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

AMU = 1.66054  # kg/m3 of 1 amu/nm3
EVERY = 15.0  # ps between full coordinates, of which the frames of one run are taken


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
    for file, heavy in [("topol.top", 1.0), ("heavy.top", system["heavy"])]:
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


def simulate_all(system: System, *, only_run: bool) -> None:
    """Minimise, then stage after stage: em, stage1, stage2, ..., run; or the last of it."""
    title, seed, before = system["title"], system["seed"], "start.gro"
    if not only_run:
        if not Path("em.gro").exists():
            simulate("em", before, title=title, values=MINIMUM)
        before = "em.gro"
        for number, stage in enumerate(system["stages"], 1):
            if not Path(f"stage{number}.gro").exists():
                values = STAGE | state(*stage, dt=STAGE["dt"], seed=seed)
                simulate(f"stage{number}", before, title=title, values=values)
            before = f"stage{number}.gro"
    if "hot" in system:
        last = cycles(system, before)
    else:
        last, values = "run", LONG | state(*system["run"], dt=LONG["dt"], seed=seed)
        simulate(last, before, top="heavy.top", title=title, values=values)
    # what the integrator loses is seen at constant volume: with this barostat the conserved energy is not
    alone = {"pcoupl": "no", "nsteps": 5000, "nstxout": 0, "ld-seed": seed, "ref-t": system["run"][0]}
    values = {k: v for k, v in LONG.items() if k not in ("tau-p", "compressibility")} | alone
    simulate("volume", f"{last}.gro", "-t", f"{last}.cpt", top="heavy.top", title=title, values=values)


def cycles(system: System, before: str) -> str:
    """Heat, cool and rest once for every frame: hot1, rest1, hot2, ...; return the name of the last run."""
    hot, (cold, pressure, length), cool = system["hot"], system["run"], system["cool"]
    cooling = {
        **{"gen-temp": hot[0], "annealing": "single", "annealing-npoints": 2},
        **{"annealing-time": f"0 {cool}", "annealing-temp": f"{hot[0]} {cold}"},
    }
    for number in range(1, system["frames"] + 1):
        rest, seed = (cold, pressure, cool + length), 1000 * system["seed"] + number
        for name, wanted, more in [(f"hot{number}", hot, {}), (f"rest{number}", rest, cooling)]:
            if not Path(f"{name}.gro").exists():
                values = LONG | state(*wanted, dt=LONG["dt"], seed=seed) | more
                simulate(name, before, top="heavy.top", title=system["title"], values=values)
            before = f"{name}.gro"
    return name


def state(temperature: float, pressure: float, length: float, *, dt: float, seed: int) -> dict[str, object]:
    """Return the run parameters that say the state and start with new velocities."""
    print(f"{length:g} ps at {temperature} K and {pressure} bar", flush=True)
    wanted = {"ref-t": temperature, "ref-p": pressure, "nsteps": round(length / dt), "ld-seed": seed}
    return wanted | {"gen-vel": "yes", "gen-temp": temperature, "gen-seed": seed}


def frame_times(system: System) -> list[float]:
    """Return the times of the frames: ends of cycles, or equally spaced, the last at the end of the run."""
    length, count = system["run"][2], system["frames"]
    if "hot" in system:
        return [(system["hot"][2] + system["cool"] + length) * number for number in range(1, count + 1)]
    spacing = (length - system["skip"]) / (count - 1) // EVERY * EVERY
    if spacing <= 0:
        sys.exit(f"{count} frames need {(count - 1) * EVERY:g} ps of run after skip: see --run and --skip")
    return [length // EVERY * EVERY - spacing * k for k in reversed(range(count))]


def free_frames(system: System, times: list[float]) -> None:
    """Run 1 ps without constraints from every frame, so that bonds get their spread: free{time}.gro."""
    if "hot" in system:
        starts = [[f"rest{number}.gro"] for number in range(1, len(times) + 1)]
    else:
        done = mda.Universe("run.tpr", "run.trr").trajectory[-1].time
        if done < times[-1]:
            sys.exit(f"the run is at {done:g} ps, frames are wanted to {times[-1]:g} ps: see --run")
        starts = [["run.tpr", "-t", "run.trr", "-time", time] for time in times]
    temperature = system["run"][0]
    for time, start in zip(times, starts, strict=True):
        if not Path(f"free{time:g}.gro").exists():
            seed = 1 + round(time)
            values = FREE | {"ref-t": temperature, "gen-temp": temperature, "gen-seed": seed, "ld-seed": seed}
            simulate(f"free{time:g}", *start, title=system["title"], values=values)


def main() -> None:
    """Make a system."""
    systems = tomllib.loads((HERE / "systems.toml").read_text())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=systems)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=float, metavar="PS", help="length of the run, of a melt of each rest")
    parser.add_argument("--skip", type=float, metavar="PS", help="how much of it is left out")
    parser.add_argument("--frames", type=int, metavar="N", help="how many, of a melt so many cycles")
    parser.add_argument("--whole-ends", action="store_true", help="end beads made like the others")
    parser.add_argument("--no-run", action="store_true", help="take the frames of what is there")
    parser.add_argument("--start", type=Path, metavar="GRO", help="no stages: run from this frame")
    parser.add_argument("--seed", type=int, help="of all random numbers")
    options = parser.parse_args()
    system = systems[options.name]
    system["run"][2] = options.run or system["run"][2]
    system["skip"] = system["skip"] if options.skip is None else options.skip
    system["frames"] = options.frames or system["frames"]
    system["seed"] = options.seed or system["seed"]
    times = frame_times(system)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.start:
        (options.folder / "start.gro").write_text(options.start.read_text())
    os.chdir(options.folder)

    rng = np.random.default_rng(system["seed"])
    molecule = make_molecule(system["name"], system["backbone"].replace("T", "U"))
    mapped = beads(molecule, whole_ends=options.whole_ends)
    write_topologies(system, molecule, mapped)
    if not Path("start.gro").exists():
        pack(system, molecule, sides(system, rng), rng)
    if not options.no_run:
        simulate_all(system, only_run=options.start is not None)
    free_frames(system, times)
    write_frames(system, molecule, mapped, times)
    Path("report.txt").write_text(report(system, molecule, times))
    print(Path("report.txt").read_text())


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()

"""A genuine coarse-grained melt and its atoms: melt.py peo|pe FOLDER.

FOLDER is for what is made.  A melt of atoms is run (constant pressure, then constant volume) and its last
frame mapped to beads.  The beads are run with Martini 3 in the same box, until they have forgotten it.
dbm-gmx puts atoms on frames of that run, and on frames of the run of the atoms, mapped.  From these gmx mdrun
starts as they are, without minimisation, as it does from the frames of the run of the atoms.  What is printed
last is the table of share/docs/results.md.  Stages that are done are kept.

Needs gmx (2022 or later); THREADS=n gives it, and dbm-gmx, n threads.  Options after FOLDER go to
dbm-gmx backmap:

    python melt.py peo /tmp/peo --annealing 1000 --no-check
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from chain import Array, Chain, System, atoms_top, beads_top, conformation, gro, make_chain, mapping
from inversion import TABULATED, corrected, free_energies, lengths_and_angles, write_tables

from dbm_gmx.chemistry.periodic import whole_molecules
from dbm_gmx.files.structure import read_cg_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import read_frames

HERE = Path(__file__).resolve().parent
THREADS = os.environ.get("THREADS", "1")
BOLTZMANN = 0.0083144626  # kJ/mol/K
STEPS = 6  # of the inversion
SETTLED = 60  # ps: from then on the run of the atoms counts
TRANS = 120  # degrees
SOURCES = {  # trajectory that runs start from: first time, ps
    "atoms": ("aa.trr", 180),
    "mapped": ("mapped_back.trr", 180),
    "ibi": ("ibi_late_back.trr", 6000),
    "martini": ("cg_late_back.trr", 6000),
}

BEADS_OF = {"mapped": "mapped", "ibi": "ibi_late", "martini": "cg_late"}
COLUMNS = ["", "run of the atoms", "its beads, put back", "inversion, put back", "Martini 3, put back"]

Values = dict[str, object]

# run parameters; temperatures are those of the system
ATOMS: Values = {
    **{"cutoff-scheme": "Verlet", "coulombtype": "PME", "rcoulomb": 0.9, "rvdw": 0.9, "DispCorr": "EnerPres"},
    **{"constraints": "h-bonds", "nstlog": 5000, "nstcalcenergy": 10},
}
BEADS: Values = {
    **{"cutoff-scheme": "Verlet", "coulombtype": "Reaction-Field", "epsilon-r": 15, "epsilon-rf": 0},
    **{"rcoulomb": 1.1, "rvdw": 1.1, "vdw-modifier": "Potential-shift-verlet", "nstlog": 50000},
}
MINIMUM: Values = {
    "integrator": "steep",
    "nsteps": 2000,
    "emtol": 200,
    "emstep": 0.005,
    "constraints": "none",
}
RUN: Values = {"integrator": "md", "tcoupl": "v-rescale", "tc-grps": "System", "tau-t": 0.5}
BARE: Values = {"pcoupl": "C-rescale", "tau-p": 2.0, "compressibility": 1e-4}
STAGE = ATOMS | RUN | {"dt": 0.002, "nstenergy": 100}
SQUEEZE = STAGE | BARE | {"nsteps": 20000, "ref-p": 1000, "gen-vel": "yes"}
SETTLE = STAGE | BARE | {"nsteps": 40000, "ref-p": 1}
ATOMISTIC = STAGE | {"nsteps": 150000, "nstxout": 30000, "nstxout-compressed": 500}
TABLES: Values = {"dt": 0.005, "tau-t": 0.1}
COARSE = BEADS | RUN | {"dt": 0.02, "nsteps": 500000, "nstxout": 100000, "tau-t": 1.0, "gen-vel": "yes"}
SHORT = ATOMS | RUN | {"dt": 0.001, "nsteps": 1000, "nstenergy": 10, "tau-t": 0.1, "gen-vel": "yes"}
FREE = SHORT | {"tcoupl": "no"}


def called(*words: object, text: str = "") -> str:
    """Run a command; its output, or the end."""
    given = [str(word) for word in words]
    print("$", *given, flush=True)
    bare = os.environ | {"GMX_MAXBACKUP": "-1"}
    done = subprocess.run(given, input=text, capture_output=True, text=True, check=False, env=bare)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def simulate(
    name: str,
    start: str,
    *options: object,
    top: str = "topol.top",
    values: Values,
    more: Sequence[str] = (),
) -> None:
    """Do a simulation that is not done yet; ``name`` is that of its files."""
    if Path(f"{name}.gro").exists():
        return
    Path(f"{name}.mdp").write_text("".join(f"{key:23} = {value}\n" for key, value in values.items()))
    files = ["-f", f"{name}.mdp", "-c", start, "-p", top, "-o", f"{name}.tpr", "-po", "out.mdp"]
    called("gmx", "-quiet", "grompp", *files, *options)
    called("gmx", "-quiet", "mdrun", "-deffnm", name, "-ntmpi", 1, "-ntomp", THREADS, *more)


def at(values: Values, kelvin: float) -> Values:
    """Run parameters at a temperature."""
    return values | {"ref-t": kelvin} | ({"gen-temp": kelvin, "gen-seed": 7} if "gen-vel" in values else {})


def write_inputs(system: System) -> None:
    """Topologies, mapping and a molecule."""
    chain = make_chain(system)
    Path("topol.top").write_text(atoms_top(system, (HERE / "opls.top").read_text()))
    Path("cg.top").write_text(beads_top(system))
    Path("mapping.xml").write_text(mapping(system))
    Path("one.gro").write_text(gro(chain, system["molecule"], conformation(chain, np.random.default_rng(1))))


def run_both(system: System) -> None:
    """Atoms, then beads in the same box."""
    kelvin = system["temperature"]
    if not Path("start.gro").exists():
        given = ["-nmol", system["chains"], "-box", 5.0, "-seed", 1, "-try", 2000, "-o", "start.gro"]
        called("gmx", "-quiet", "insert-molecules", "-ci", "one.gro", *given)
    simulate("min", "start.gro", values=ATOMS | MINIMUM)
    simulate("squeeze", "min.gro", values=at(SQUEEZE, kelvin + 200))
    simulate("settle", "squeeze.gro", "-t", "squeeze.cpt", values=at(SETTLE, kelvin))
    simulate("aa", "settle.gro", "-t", "settle.cpt", values=at(ATOMISTIC, kelvin))
    dbm_gmx("map", "-s", "aa.tpr", "-f", "aa.gro", "-m", "mapping.xml", "-o", "cg_start.gro")
    simulate("cg_min", "cg_start.gro", top="cg.top", values=BEADS | MINIMUM)
    simulate("cg", "cg_min.gro", top="cg.top", values=at(COARSE, kelvin))
    dbm_gmx("map", "-s", "aa.tpr", "-f", "aa.trr", "-m", "mapping.xml", "-b", 180, "-o", "mapped.trr")


def dbm_gmx(*words: object) -> None:
    """Run dbm-gmx, unless its output is there; what it says is kept beside that, as .log."""
    output = Path(str(words[-1]))
    if output.exists():
        return
    begin = os.times()
    said = called(sys.executable, "-m", "dbm_gmx", *words)
    end = os.times()
    seconds = end.children_user + end.children_system - begin.children_user - begin.children_system
    output.with_suffix(".log").write_text(f"{said}CPU time       {seconds:.0f} s\n")
    print(said)


def late(run: str) -> None:
    """Cut a run of beads: its start, mapped atoms, says nothing of what it came to."""
    if not Path(f"{run}_late.trr").exists():
        words = ["-f", f"{run}.trr", "-s", f"{run}.tpr", "-b", 6000, "-o", f"{run}_late.trr"]
        called("gmx", "-quiet", "trjconv", *words, text="System\n")


def put_back(beads: str, options: Sequence[str]) -> None:
    """Make atoms of the beads, for the run that is to follow."""
    files = ["-s", "cg.tpr", "-f", f"{beads}.trr", "-p", "topol.top", "-m", "mapping.xml"]
    dbm_gmx(
        "backmap",
        *(*files, "--mdp", "short.mdp", "--threads", THREADS, "--allow", "all", *options),
        *("-o", f"{beads}_back.trr"),
    )


def term(name: str, what: str) -> Array:
    """Times and values of a term of a run: (values, 2)."""
    called("gmx", "-quiet", "energy", "-f", f"{name}.edr", "-o", "term.xvg", text=f"{what}\n\n")
    rows = [line.split() for line in Path("term.xvg").read_text().splitlines() if line[0] not in "#@"]
    return np.array(rows, dtype=float)


def molecules(trajectory: str, begin: float) -> Array:
    """Whole molecules: (frames, chains, atoms, 3), nm."""
    topology = read_topology("topol.top")
    frames = read_frames(trajectory, n_atoms=topology.n_atoms, begin=begin)
    places = np.array([whole_molecules(topology, frame) for frame in frames], dtype=float)
    return places.reshape(len(places), topology.molecules[0][1], -1, 3)


def dihedrals(places: Array) -> Array:
    """Dihedrals of consecutive points, degrees: (..., points, 3) to (..., points - 3)."""
    steps = np.diff(places, axis=-2)
    first, middle, last = steps[..., :-2, :], steps[..., 1:-1, :], steps[..., 2:, :]
    left, right = np.cross(first, middle), np.cross(middle, last)
    across = np.linalg.norm(middle, axis=-1) * (first * right).sum(axis=-1)
    return np.degrees(np.arctan2(across, (left * right).sum(axis=-1)))


def trans(chain: Chain, places: Array) -> dict[str, tuple[float, float]]:
    """Part of the torsions that is trans, by kind, with the standard error over chains."""
    angles = np.abs(dihedrals(places[:, :, chain.backbone()])) > TRANS
    kinds = np.array([min(w, w[::-1]) for w in (chain.heavy[k : k + 4] for k in range(len(chain.heavy) - 3))])
    parts = {kind: angles[..., kinds == kind].mean(axis=(0, 2)) for kind in sorted(set(kinds))}
    return {str(k): (float(p.mean()), float(p.std(ddof=1) / np.sqrt(len(p)))) for k, p in parts.items()}


def chains_of_beads(trajectory: str, begin: float) -> Array:
    """Whole chains: (frames, chains, beads, 3), nm."""
    topology, _ = read_cg_system("cg.tpr")
    frames = read_frames(trajectory, n_atoms=topology.n_atoms, begin=begin)
    places = np.array([whole_molecules(topology, frame) for frame in frames], dtype=float)
    return places.reshape(len(places), topology.molecules[0][1], -1, 3)


def shape(places: Array) -> str:
    """Bonds and angles of beads: mean and standard deviation."""
    lengths, angles = lengths_and_angles(places)
    return f"{lengths.mean():.3f} ({lengths.std():.3f}) nm, {angles.mean():.0f} ({angles.std():.0f}) degrees"


def invert(system: System) -> None:
    """Bonded potentials that give the distributions of the atoms, and a run of the beads with them."""
    kelvin = system["temperature"]
    dbm_gmx("map", "-s", "aa.tpr", "-f", "aa.xtc", "-m", "mapping.xml", "-b", SETTLED, "-o", "aa_beads.trr")
    Path("ibi.top").write_text(beads_top(system | TABULATED))
    target = free_energies(chains_of_beads("aa_beads.trr", SETTLED), kelvin)
    potentials = dict(target)
    for step in range(STEPS):
        name = f"ibi_step{step}"
        tables = ["-tableb", *write_tables(name, potentials)]
        values = at(COARSE | TABLES | {"nsteps": 160000, "nstxout": 400}, kelvin)
        simulate(name, "cg_start.gro", top="ibi.top", values=values, more=tables)
        run = free_energies(chains_of_beads(f"{name}.trr", 200), kelvin)
        potentials = {kind: corrected(potentials[kind], target[kind], run[kind]) for kind in potentials}
    tables = ["-tableb", *write_tables("ibi", potentials)]
    values = at(COARSE | TABLES | {"nsteps": 2000000, "nstxout": 400000}, kelvin)
    simulate("ibi", "cg_start.gro", top="ibi.top", values=values, more=tables)


def start_from(source: str, kelvin: float) -> list[str]:
    """Run from the frames of a source, with a thermostat and without; names of the runs."""
    trajectory, begin = SOURCES[source]
    times = [f.time for f in read_frames(trajectory, n_atoms=read_topology("topol.top").n_atoms, begin=begin)]
    names = [f"{source}_{time:.0f}" for time in times]
    for name, moment in zip(names, times, strict=True):
        frame = ["-t", trajectory, "-time", moment]
        simulate(f"nvt_{name}", "aa.gro", *frame, values=at(SHORT, kelvin))
        simulate(f"free_{name}", "aa.gro", *frame, values=at(FREE, kelvin))
    return names


def mean_and_error(values: Sequence[float]) -> str:
    """Mean and standard error."""
    return f"{np.mean(values):.3f} ({np.std(values, ddof=1) / np.sqrt(len(values)):.3f})"


def runs(source: str, system: System, reference: float, atoms: int) -> dict[str, str]:
    """What became of the runs from a source."""
    kelvin = system["temperature"]
    unit = BOLTZMANN * kelvin * atoms
    names = start_from(source, kelvin)
    potential = [(term(f"nvt_{name}", "Potential")[:, 1] - reference) / unit for name in names]
    warm = np.array([term(f"nvt_{name}", "Temperature")[1:, 1] for name in names])
    free = np.array([term(f"free_{name}", "Temperature")[1:, 1] for name in names])
    half = len(potential[0]) // 2
    tenths = warm.reshape(len(names), 10, -1).mean(axis=-1)
    return {
        "potential at the start less that of the run, kT per atom": mean_and_error([p[0] for p in potential]),
        "the same from 0.5 to 1 ps": mean_and_error([p[half:].mean() for p in potential]),
        "drift, kT per atom": mean_and_error([p[half:].mean() - p[0] for p in potential]),
        "temperature of 1 ps, K": ", ".join(f"{t.mean():.0f}" for t in warm),
        "its tenths of a ps, lowest and highest, K": f"{tenths.min():.0f}, {tenths.max():.0f}",
        "without thermostat, last 0.1 ps, K": ", ".join(f"{t[-10:].mean():.0f}" for t in free),
    }


def said(log: str) -> dict[str, str]:
    """Lines of a summary of dbm-gmx that tell of beads and convergence."""
    wanted = "refinement|annealing|equilibrium|electrostatics|beads held|beads|strain|bad contacts|CPU time"
    found = re.findall(rf"^({wanted})  +(.*)$", Path(log).read_text(), re.M)
    return {f"`{name.strip()}`": text for name, text in found}


def table(system: System) -> str:
    """All that was measured."""
    chain = make_chain(system)
    energies = term("aa", "Potential")
    reference = energies[energies[:, 0] >= SETTLED, 1].mean()
    atoms = len(chain.elements) * system["chains"]
    columns = {source: runs(source, system, reference, atoms) for source in SOURCES}
    for source, (trajectory, begin) in SOURCES.items():
        places = molecules("aa.xtc", SETTLED) if source == "atoms" else molecules(trajectory, begin)
        parts = trans(chain, places).items()
        columns[source] |= {f"trans {kind}": f"{part:.3f} ({error:.3f})" for kind, (part, error) in parts}
    for source, beads in BEADS_OF.items():
        places = chains_of_beads(f"{beads}.trr", SOURCES[source][1])
        columns[source] |= {"bonds, angles of beads": shape(places)} | said(f"{beads}_back.log")
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [f"| {row} | " + " | ".join(c.get(row, "") for c in columns.values()) + " |" for row in rows]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Do everything in FOLDER."""
    name, folder, *options = arguments
    system = tomllib.loads((HERE / "systems.toml").read_text())[name]
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    begin = time.monotonic()
    write_inputs(system)
    short = at(SHORT, system["temperature"])
    Path("short.mdp").write_text("".join(f"{key:23} = {value}\n" for key, value in short.items()))
    run_both(system)
    invert(system)
    late("ibi")
    late("cg")
    for beads in BEADS_OF.values():
        put_back(beads, options)
    text = table(system)
    Path("table.md").write_text(text + "\n")
    print(f"{text}\n{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])

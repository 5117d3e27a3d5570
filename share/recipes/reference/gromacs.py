"""GROMACS: its files and commands, and the parameters of the runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from molecule import Array

HERE = Path(__file__).resolve().parent
System = dict[str, Any]  # a table of systems.toml

# what runs have beside forces.mdp
MINIMUM = {"integrator": "steep", "nsteps": 2000, "emtol": 500, "emstep": 0.005}
STAGE = {
    **{"integrator": "md", "dt": 0.002, "constraints": "h-bonds"},
    **{"nstlog": 5000, "nstenergy": 100, "nstxout-compressed": 500},
    **{"tcoupl": "v-rescale", "tc-grps": "System", "tau-t": 0.5},
    **{"pcoupl": "C-rescale", "tau-p": 2.0, "compressibility": 1e-4},
}
LONG = STAGE | {  # with heavy.top; full coordinates every 15 ps; 4 fs are not stable at 1000 K
    **{"dt": 0.003, "constraints": "all-bonds", "lincs-iter": 2, "lincs-order": 8, "nstxout": 5000},
}
FREE = {
    **{"integrator": "sd", "dt": 0.0005, "nsteps": 2000, "constraints": "none"},
    **{"nstlog": 2000, "nstenergy": 2000, "nstxout-compressed": 2000},
    **{"tc-grps": "System", "tau-t": 0.1, "gen-vel": "yes"},
}


def write_gro(path: Path, title: str, residue: str, names: list[str], places: Array, edges: Array) -> None:
    """Write molecules, one residue each."""
    rows = np.reshape(places, (-1, 3))
    lines = [title, str(len(rows))]
    for k, row in enumerate(rows):
        label = f"{k // len(names) + 1:5}{residue:5}{names[k % len(names)]:>5}{k + 1:5}"
        lines.append(label + "".join(f"{v:8.3f}" for v in row))
    path.write_text("\n".join([*lines, "".join(f"{v:10.5f}" for v in edges)]) + "\n")


def write_mdp(path: Path, title: str, values: dict[str, object]) -> None:
    """Write run parameters: those of forces.mdp and some values."""
    lines = [f"{key:23} = {value}" for key, value in values.items()]
    path.write_text(f"; {title}\n" + "\n".join(lines) + "\n\n" + (HERE / "forces.mdp").read_text())


def gmx(*arguments: object, text: str = "") -> str:
    """Run GROMACS and return what it printed."""
    command = ["gmx", "-quiet", *map(str, arguments)]
    bare = os.environ | {"GMX_MAXBACKUP": "-1"}  # no copies of what is made again
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=bare)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {Path.cwd()}:\n{done.stderr[-3000:]}")
    return done.stdout


def simulate(
    name: str, start: str, *options: object, top: str = "topol.top", title: str, values: dict[str, object]
) -> None:
    """Do a simulation, or what is left of it."""
    write_mdp(Path(f"{name}.mdp"), title, values)
    files = ["-f", f"{name}.mdp", "-c", start, "-p", top, "-o", f"{name}.tpr", "-po", "out.mdp"]
    gmx("grompp", *files, *options)
    going = ["-cpi", f"{name}.cpt"] if Path(f"{name}.cpt").exists() else []
    threads = os.environ.get("THREADS", "1")
    gmx("mdrun", "-deffnm", name, "-ntmpi", 1, "-ntomp", threads, "-cpt", 2, *going)

"""There and back: atoms are run, mapped to beads, put back, relaxed and run on: loop.py SYSTEM FOLDER.

SYSTEM is a folder like those of share/reference, FOLDER one for what is made.  Energies and densities of the
first run and of what comes back are compared, also when both are run on; the exit code is 1 if they do not
agree.  Needs gmx (2022 or later); THREADS=n gives it n threads, and dbm-gmx as many.

    python loop.py share/reference/cumene /tmp/cumene
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dbm_gmx.cli import main as dbm_gmx
from dbm_gmx.files.mdp import mdp_entries
from dbm_gmx.gromacs.run_parameters import run_parameters

STEP = 0.0005  # ps, as in run.mdp of the systems
ALLOWED = 2.5  # standard errors that a difference may have
THREADS = os.environ.get("THREADS", "1")

Values = np.ndarray  # of one quantity, along a run or frame by frame


def command(*words: object) -> None:
    """Run dbm-gmx, as on the command line."""
    given = [str(word) for word in words]
    print("\n$ dbm-gmx", *given, flush=True)
    if dbm_gmx(given) == 1:
        sys.exit(1)


def gmx(*words: object, text: str = "") -> None:
    """Run GROMACS."""
    given = ["gmx", "-quiet", *map(str, words)]
    print("\n$", *given, flush=True)
    done = subprocess.run(given, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])


def simulate(name: str, *start: object, system: Path) -> None:
    """Run at constant pressure from a configuration, with new velocities."""
    gmx("grompp", "-f", "npt.mdp", *start, "-p", system / "topol.top", "-o", f"{name}.tpr", "-po", "out.mdp")
    gmx("mdrun", "-deffnm", name, "-ntmpi", 1, "-ntomp", THREADS, "-reprod")


def put_back(system: Path, refine: str, output: str) -> None:
    """Make atoms of the beads."""
    beads = ["-s", system / "cg.tpr", "-f", "cg.trr", "-r", system / "aa.gro"]
    atoms = ["-p", system / "topol.top", "-m", system / "mapping.xml", "--mdp", system / "run.mdp"]
    how = ["--refine", refine, "--start", "growth", "--threads", THREADS]
    command("backmap", *beads, *atoms, *how, "-o", output)


def energies(name: str, term: str, begin: float = -1.0) -> Values:
    """Values of a term in an energy file, after a time in ps."""
    gmx("energy", "-f", f"{name}.edr", "-o", "term.xvg", text=f"{term}\n\n")
    rows = [line.split() for line in Path("term.xvg").read_text().splitlines() if line[0] not in "#@"]
    return np.array([float(value) for time, value in rows if float(time) > begin])


def again(trajectory: str) -> Values:
    """Potential energies of frames, in the force field of the run."""
    name = f"again_{Path(trajectory).stem}"
    gmx("mdrun", "-s", "run.tpr", "-rerun", trajectory, "-deffnm", name, "-ntmpi", 1, "-ntomp", THREADS)
    return energies(name, "Potential")


def compared(title: str, first: Values, second: Values, *, frames: int) -> bool:
    """Say whether two means differ by more than the scatter of the first allows in so many frames."""
    mean, other = first.mean(), second.mean()
    error = first.std() / np.sqrt(frames)
    agree = abs(other - mean) < ALLOWED * np.sqrt(2) * error
    shown = "".join(f"{value:11.1f} +- {error:5.1f}" for value in (mean, other))
    print(f"{title:26}{shown}{100 * (other - mean) / abs(mean):+10.1f} %   {'yes' if agree else 'NO'}")
    return bool(agree)


def main(words: Sequence[str] | None = None) -> int:
    """Go round once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--apart", type=float, default=2.0, metavar="PS", help="time from frame to frame")
    parser.add_argument("--refine", default="exact", help="as of dbm-gmx backmap; none spoils it")
    given = parser.parse_args(words)
    system, parameters = given.system.resolve(), given.system.resolve() / "run.mdp"
    given.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(given.folder)

    # an atomistic run; its first part is left out
    steps = round(given.apart / STEP)
    wanted: dict[str, object] = {
        **{"dt": STEP, "nsteps": (given.frames + 1) * steps, "nstxout": steps, "nstxout-compressed": 0},
        **{"nstenergy": 20, "nstcalcenergy": 20, "continuation": "no", "gen-vel": "yes", "gen-seed": 1},
        **{"gen-temp": mdp_entries(parameters)["ref-t"].text},
        **{"tau-t": 0.1, "tau-p": 0.5, "compressibility": 1e-4},  # what is short must soon forget its start
    }
    changes = {key: str(value) for key, value in wanted.items()}
    Path("npt.mdp").write_text(run_parameters("npt", mdp=parameters, changes=changes).text)
    simulate("run", "-c", system / "aa.gro", system=system)

    # to beads and back; .trr files are not rounded
    molecules = ["-p", system / "topol.top", "-m", system / "mapping.xml"]
    command("map", "-f", "run.trr", "-b", 2 * given.apart, *molecules, "-o", "cg.trr")
    put_back(system, given.refine, "back.trr")
    held = ["--beads", "cg.trr", "--mdp", parameters, "--threads", THREADS]
    command("relax", "-f", "back.trr", *molecules, *held, "-o", "relaxed.trr")

    # and on from the last frame, and from that of the first run: densities wander slowly, so like with like
    simulate("on", "-c", system / "aa.gro", "-t", "relaxed.trr", system=system)
    simulate("control", "-c", system / "aa.gro", "-t", "run.trr", system=system)

    potential = energies("run", "Potential", given.apart)
    pairs = {
        "potential, put back": (potential, again("back.trr")),
        "potential, relaxed": (potential, again("relaxed.trr")),
    }
    for term in ("Potential", "Density"):
        both = (energies(name, term, given.apart) for name in ("control", "on"))
        pairs[f"{term.lower()}, run on"] = (*both,)
    print(f"\n{'kJ/mol, kg/m3':26}{'first run':>20}{'after the loop':>20}  difference  agree")
    verdicts = [compared(title, *pair, frames=given.frames) for title, pair in pairs.items()]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())

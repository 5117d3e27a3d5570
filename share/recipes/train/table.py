"""Compare models by free generation of frames they were not trained on.

    table.py FOLDER OUT MODEL... --held-out 3 --meter METER.py [--mdp NVT.mdp] [--column NAME=SCORES.json]

A ``MODEL`` is a path or a name, ``LABEL=MODEL``, or ``LABEL=MODEL,MODEL,...``: trainings with several seeds,
of which the column has the mean and the spread (standard deviation).

``FOLDER`` holds ``cg.tpr``, ``cg.xtc``, ``cg.gro``, ``aa.xtc``, ``aa.gro``, ``topol.top`` and
``mapping.xml``, as those in ``share/reference``. The last ``--held-out`` frames of the trajectories, and
with ``--single`` that of the two ``.gro``, are generated from their beads by each model (path or name) at
equal sweeps. ``METER`` is any script called as ``METER TOPOL.top AA.gro REFERENCE.xtc CANDIDATE.xtc
--json SCORES.json``; without it the scores are those of a training. The column *floor* is the mean
over as many frames of the training, as often as there are: what a perfect method would score. ``--mdp`` is
for the models; every frame is then started with it under ``gmx mdrun`` as it is, and the frames are counted
that come to the end (``nsteps`` of the file).

Everything is kept in ``OUT``; what is there is not made again.  Needs MDAnalysis; ``gmx`` for ``--mdp``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import MDAnalysis as mda

from dbm_gmx.train.frames import read_training_system
from dbm_gmx.train.scores import score_frames
from dbm_gmx.train.settings import SystemSettings

Scores = dict[str, float]
Value = float | tuple[float, float]
"""A score, or the mean and the spread of several."""


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description="Compare models by free generation of frames held out.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+", help="names or paths, LABEL=MODEL or LABEL=MODEL,MODEL")
    parser.add_argument("--held-out", type=int, default=3)
    parser.add_argument("--single", action="store_true", help="and the frame of aa.gro and cg.gro")
    parser.add_argument("--sweeps", type=int, default=4)
    parser.add_argument("--orientations", type=int, default=1)
    parser.add_argument("--unguided", action="store_true", help="the network alone, as in the paper")
    parser.add_argument("--meter", type=Path)
    parser.add_argument("--mdp", type=Path)
    parser.add_argument("--timeout", type=float, default=300.0, help="s, of mdrun, which may hang")
    parser.add_argument("--column", action="append", default=[], help="NAME=JSON of rows and numbers")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", module="MDAnalysis")
    given.out.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Mapping[str, Value]] = {}
    for text in given.column:
        name, path = text.split("=", 1)
        columns[name] = json.loads(Path(path).read_text())
    count = frames_of(given.folder, "aa")
    chosen = list(range(count - given.held_out, count))
    reference = cut(given.folder, "aa", chosen, given.single, given.out / "reference.xtc")
    cut(given.folder, "cg", chosen, given.single, given.out / "beads.xtc")
    size = len(chosen) + given.single
    groups = [list(range(k, k + size)) for k in range(0, chosen[0] - size + 1, size)]
    floors = []
    for k, group in enumerate(groups):
        other = cut(given.folder, "aa", group, False, given.out / f"others_{k}.xtc")
        floors.append(measure(given, reference, other))
    if floors:
        floor = {key: sum(f[key] for f in floors) / len(floors) for key in floors[0]}
        for key in ("flipped", "beads"):
            floor.pop(key, None)
        columns["floor"] = {**floor, **dynamics(given, reference)} if given.mdp else floor
    for text in given.models:
        label, _, models = text.rpartition("=")
        label = label or Path(models).stem
        seeds = {f"{label}-{k}" if k > 1 else label: m for k, m in enumerate(models.split(","), 1)}
        columns[label] = together([row_of(given, reference, *one) for one in seeds.items()])
        print(table(columns), flush=True)
    (given.out / "table.json").write_text(json.dumps(columns, indent=1))
    (given.out / "table.md").write_text(table(columns))


def together(found: Sequence[Scores]) -> dict[str, Value]:
    """The scores of one model, or mean and spread of those of several."""
    if len(found) == 1:
        return dict(found[0])
    common = [key for key in found[0] if all(key in one for one in found)]
    values = {key: [one[key] for one in found] for key in common}
    return {key: (statistics.mean(some), statistics.stdev(some)) for key, some in values.items()}


def row_of(given: argparse.Namespace, reference: Path, name: str, model: str) -> Scores:
    """All numbers of one model."""
    kind = "_unguided" if given.unguided else ""
    made = given.out / f"{name}_{given.sweeps}_{given.orientations}{kind}.xtc"
    speed = made.with_suffix(".seconds")
    if not speed.is_file():
        folder = given.folder
        files = ["-s", folder / "cg.tpr", "-f", given.out / "beads.xtc", "-p", folder / "topol.top"]
        files += ["-m", folder / "mapping.xml", "-r", folder / "aa.gro", "-o", made, "--model", model]
        options = ["--refine", "gibbs", "--sweeps", given.sweeps, "--orientations", given.orientations]
        options += ["--unguided"] if given.unguided else []
        options += ["--mdp", given.mdp] if given.mdp else []
        begin = sum(os.times()[2:4])
        command = [sys.executable, "-m", "dbm_gmx", "backmap", *files, *options, "--allow", "all", "-q"]
        subprocess.run([str(word) for word in command], check=True)
        speed.write_text(str(sum(os.times()[2:4]) - begin))
    scores = measure(given, reference, made)
    frames = frames_in(made, given.folder / "aa.gro")
    scores["CPU s/frame, with the start"] = float(speed.read_text()) / frames
    return {**scores, **dynamics(given, made)} if given.mdp else scores


# --- frames ------------------------------------------------------------------------------------------


def frames_of(folder: Path, moltype: str) -> int:
    """Frames of a trajectory of the folder."""
    return frames_in(folder / f"{moltype}.xtc", folder / f"{moltype}.gro")


def frames_in(trajectory: Path, structure: Path) -> int:
    """Frames of a trajectory."""
    return len(mda.Universe(structure, trajectory, to_guess=()).trajectory)


def cut(folder: Path, moltype: str, frames: Sequence[int], single: bool, out: Path) -> Path:
    """Write some frames of a trajectory, and then that of the single structure."""
    universe = mda.Universe(folder / f"{moltype}.gro", folder / f"{moltype}.xtc", to_guess=())
    alone = mda.Universe(folder / f"{moltype}.gro", to_guess=())
    with mda.Writer(str(out), universe.atoms.n_atoms) as writer:
        for index in frames:
            universe.trajectory[index]
            writer.write(universe.atoms)
        if single:
            alone.trajectory.ts.time = universe.trajectory.ts.time + 1
            writer.write(alone.atoms)
    return out


# --- scores ------------------------------------------------------------------------------------------


def measure(given: argparse.Namespace, reference: Path, made: Path) -> Scores:
    """Scores of generated frames, of the meter if there is one."""
    if given.meter is None:
        return own_scores(given.folder, reference, made)
    out = made.with_suffix(".scores.json")
    if out.is_file():
        return flat(json.loads(out.read_text()))
    files = [given.folder / "topol.top", given.folder / "aa.gro", reference, made]
    command = [sys.executable, given.meter, *files, "--json", out]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return flat(json.loads(out.read_text()))


def flat(found: Mapping[str, Mapping[str, Any]]) -> Scores:
    """One number for each row: divergence, distance in standard deviations, mean difference or count."""
    rows: Scores = {}
    for name, values in found.items():
        if name.startswith("LJ"):
            rows[name] = values["w1_over_sd"]
            rows[f"{name}, median off"] = (values["cand_median"] - values["ref_mean"]) / values["ref_sd"]
        elif "mean_abs" in values:
            rows[name] = values["mean_abs"]
        elif "jsd" in values:
            rows[name] = values["jsd"]
        elif "flipped" in values:
            rows["flipped"] = values["flipped"]
        else:
            rows[name] = values["cand"]
    return rows


def own_scores(folder: Path, reference: Path, made: Path) -> Scores:
    """What :mod:`dbm_gmx.train` scores held-out frames by."""
    settings = SystemSettings(folder / "topol.top", reference, (folder / "mapping.xml",), held_out=0)
    system = read_training_system(settings)
    others = read_training_system(
        SystemSettings(folder / "topol.top", made, (folder / "mapping.xml",), held_out=0)
    )
    return score_frames(system.system, [pair.atoms.numpy() for pair in others.train], system.train)


# --- dynamics ----------------------------------------------------------------------------------------


def dynamics(given: argparse.Namespace, made: Path) -> Scores:
    """Part of the frames that come to the end of a run started as they are, and how hot these are then."""
    kept = made.with_suffix(".mdrun.json")
    if not kept.is_file():
        universe = mda.Universe(given.folder / "aa.gro", made, to_guess=())
        work = made.with_suffix(".mdrun")
        work.mkdir(exist_ok=True)
        ends = []
        for index, _ in enumerate(universe.trajectory):
            universe.atoms.write(str(work / f"frame{index}.gro"))
            ends.append(run(work, f"frame{index}", given.mdp, given.folder / "topol.top", given.timeout))
        alive = [kelvin for kelvin in ends if kelvin is not None]
        found = {"mdrun survives": len(alive) / len(ends)}
        if alive:
            found["mdrun, K at the end"] = sum(alive) / len(alive)
        kept.write_text(json.dumps(found))
    scores: Scores = json.loads(kept.read_text())
    return scores


def run(work: Path, name: str, mdp: Path, topology: Path, timeout: float) -> float | None:
    """Temperature at the end of a run (K); ``None`` if it does not get there."""
    commands = [
        ["grompp", "-f", mdp.resolve(), "-c", f"{name}.gro", "-p", topology.resolve(), "-o", f"{name}.tpr"],
        ["mdrun", "-deffnm", name, "-ntmpi", "1", "-ntomp", "1", "-pin", "off"],
    ]  # fmt: skip
    for command in commands:
        try:
            done = subprocess.run(
                ["gmx", *map(str, command)],
                cwd=work,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode and command[0] == "grompp":
            raise SystemExit(done.stderr[-2000:])
        if done.returncode:
            return None
    lines = (work / f"{name}.log").read_text().partition("A V E R A G E S")[0].splitlines()
    for heads, values in zip(reversed(lines[:-1]), reversed(lines[1:]), strict=True):
        if "Temperature" in heads:
            kelvin = float(values[heads.index("Temperature") // 15 * 15 :][:15])
            return kelvin if math.isfinite(kelvin) else None
    return None


# --- table -------------------------------------------------------------------------------------------


def table(columns: Mapping[str, Mapping[str, Value]]) -> str:
    """Markdown."""
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [cell(column[row]) if row in column else "" for column in columns.values()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(value: Value) -> str:
    """A number, or mean and spread."""
    if isinstance(value, tuple):
        return f"{value[0]:.3g} ± {value[1]:.2g}"
    return f"{value:.3g}"


if __name__ == "__main__":
    main()

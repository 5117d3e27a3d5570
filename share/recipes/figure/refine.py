"""What the ways to put atoms back are worth: energy above that of the atoms, over the time of a frame.

    refine.py measure FOLDER NUMBERS.json NAME --model sps [--frames 3] [--ways WAY...] [--mdp run.mdp]
    refine.py draw NUMBERS.json OUT.svg

``measure`` runs ``dbm-gmx backmap`` in each way on the last frames of a folder as those in
``share/reference`` (or with ``cg.gro`` and ``cg.top``), and ``gmx mdrun -rerun`` on what comes out and on
``aa.xtc``.  It adds to the file what was found: for each way the processor time (s, user and system) of the
first frame and of a later one, and how far torsions and pairs, and the whole potential energy, are above
those of the atoms (kT per atom; mean, and the error of the mean over frames).  *exact* is measured on as many
frames before these, which leave a memory; *memory* recalls from it.  What has run before is compiled: of the
first way, measure again.  ``draw`` makes the figure, and needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dbm_gmx.files.trajectory import read_frames

BARE = ["--offers", "0", "--annealing", "0", "--windows", "0", "--no-check", "--no-memory"]
WAYS = {
    "network": ["--refine", "none", "--start", "network"],
    "network, 4 sweeps": ["--refine", "gibbs"],
    "network, 1 exact sweep": ["--refine", "exact", "--start", "network", "--sweeps", "1", *BARE],
    "network, 4 exact sweeps": ["--refine", "exact", "--start", "network", "--sweeps", "4", *BARE],
    "growth, 4 exact sweeps": ["--refine", "exact", "--start", "growth", "--sweeps", "4", *BARE],
    "exact": ["--refine", "exact", "--no-check", "--memory", "memory.npz"],
    "memory": ["--refine", "exact", "--no-check", "--memory", "memory.npz"],
}
GAS = 0.0083144626  # kJ/(mol K)
STIFF = ("Bond", "Angle", "U-B")
"""Terms that are neither torsions nor pairs."""
MARKS = ("o", "s", "<", ">", "v", "*", "D")


def main() -> None:
    """Measure, or draw."""
    parser = argparse.ArgumentParser(description="Energy over time of the ways to put atoms back.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("measure")
    one.add_argument("folder", type=Path)
    one.add_argument("numbers", type=Path)
    one.add_argument("name", help="of the system and the model in the figure")
    one.add_argument("--model", required=True)
    one.add_argument("--mdp", type=Path)
    one.add_argument("--frames", type=int, default=3)
    one.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    other = verbs.add_parser("draw")
    other.add_argument("numbers", type=Path)
    other.add_argument("out", type=Path)
    given = parser.parse_args()
    known = json.loads(given.numbers.read_text()) if given.numbers.is_file() else {}
    if given.verb == "draw":
        draw(known, given.out)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for way in given.ways:
            found = measure(given, way, Path(scratch))
            known.setdefault(given.name, {})[way] = found
            given.numbers.write_text(json.dumps(known, indent=1) + "\n")
            print(given.name, way, found, flush=True)


# --- measuring ---------------------------------------------------------------------------------------


def measure(given: argparse.Namespace, way: str, scratch: Path) -> dict[str, Any]:
    """Times and energies of one way."""
    folder, out = given.folder.resolve(), scratch / "out.xtc"
    count = int((folder / "cg.gro").read_text().splitlines()[1])
    times = [frame.time for frame in read_frames(folder / "cg.xtc", n_atoms=count)]
    last, before = times[-given.frames :], times[-2 * given.frames : -given.frames]
    options = [*WAYS[way], *(["--model", given.model] if "network" in way else [])]
    if way not in ("exact", "memory"):
        first = backmap(given, options, last[:1], out)
        later = (backmap(given, options, last, out) - first) / (len(last) - 1)
    else:  # trials are the larger part by far, and are noted apart
        every = backmap(given, options, before if way == "exact" else last, out)
        record = json.loads(out.with_name("out.xtc.json").read_text())["summary"]["refinement"]
        count = record["recalled"] if way == "memory" else record["frames"] - record["recalled"]
        later = sum(record["cost"]["recalled" if way == "memory" else "full"].values()) / max(1, count)
        first = every - later * (len(last) - 1)
    atoms, made = energies(given, folder / "aa.xtc", scratch), energies(given, out, scratch)
    off = np.array([made[time] - atoms[time] for time in sorted(made)]) / scale(given)
    error = off.std(axis=0, ddof=1) / np.sqrt(len(off))
    return {
        "first": round(first, 2),
        "later": round(later, 2),
        "frames": len(off),
        **{
            name: [round(float(mean), 4), round(float(spread), 4)]
            for name, mean, spread in zip(
                ("potential", "torsions and pairs"), off.mean(axis=0), error, strict=True
            )
        },
    }


def mdp_of(given: argparse.Namespace) -> Path:
    """Run parameters of the frames."""
    path: Path = given.mdp or given.folder / "run.mdp"
    return path.resolve()


def scale(given: argparse.Namespace) -> float:
    """KT (kJ/mol) at the temperature of the run, times the number of atoms."""
    kelvin = re.search(r"(?m)^\s*ref[-_]t\s*=\s*([\d.]+)", mdp_of(given).read_text())
    count = int((given.folder / "aa.gro").read_text().splitlines()[1])
    if kelvin is None:
        raise SystemExit(f"{mdp_of(given)}: no ref-t")
    return GAS * float(kelvin[1]) * count


def backmap(given: argparse.Namespace, options: Sequence[str], times: Sequence[float], out: Path) -> float:
    """Put the atoms back on frames in a row; processor time of the process, s."""
    folder = given.folder.resolve()
    beads = (
        [folder / "cg.tpr"]
        if (folder / "cg.tpr").is_file()
        else [folder / "cg.gro", "-cp", folder / "cg.top"]
    )
    files = ["-s", *beads, "-f", folder / "cg.xtc", "-b", times[0], "-e", times[-1]]
    files += ["-p", folder / "topol.top", "-m", *sorted(folder.glob("*.xml")), "--mdp", mdp_of(given)]
    files += ["-r", folder / "aa.gro", "-o", out, "--allow", "all", "--threads", "1", "-q"]
    begin = sum(os.times()[2:4])
    command = [sys.executable, "-m", "dbm_gmx", "backmap", *map(str, files), *options]
    subprocess.run(command, check=True, cwd=out.parent, stdout=subprocess.DEVNULL)
    return sum(os.times()[2:4]) - begin


def energies(given: argparse.Namespace, path: Path, scratch: Path) -> dict[float, np.ndarray]:
    """By the time of the frame: potential energy, and that of torsions and pairs, kJ/mol."""
    folder = given.folder.resolve()
    call = ["gmx", "grompp", "-f", mdp_of(given), "-c", folder / "aa.gro", "-p", folder / "topol.top"]
    gromacs([*call, "-o", "rerun.tpr", "-maxwarn", "9"], scratch)
    gromacs(
        ["gmx", "mdrun", "-s", "rerun.tpr", "-rerun", path, "-deffnm", "rerun", "-ntmpi", "1", "-ntomp", "1"],
        scratch,
    )
    wanted = "\n".join((*STIFF, "Potential", ""))
    gromacs(["gmx", "energy", "-f", "rerun.edr", "-o", "rerun.xvg"], scratch, wanted)
    rows, names = {}, []
    for line in (scratch / "rerun.xvg").read_text().splitlines():
        if legend := re.match(r'@ s\d+ legend "(.*)"', line):
            names.append(legend[1])
        elif line[0] not in "#@":
            time, *values = map(float, line.split())
            terms = dict(zip(names, values, strict=True))
            stiff = sum(terms.get(name, 0.0) for name in STIFF)
            rows[round(time, 3)] = np.array([terms["Potential"], terms["Potential"] - stiff])
    return rows


def gromacs(command: Sequence[object], folder: Path, words: str = "") -> None:
    """Run a program of GROMACS."""
    done = subprocess.run(
        list(map(str, command)), cwd=folder, input=words, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


# --- drawing -----------------------------------------------------------------------------------------


def draw(known: Mapping[str, Mapping[str, Mapping[str, Any]]], out: Path) -> None:
    """A panel for each system: torsions and pairs over the time of a later frame, and of the first."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "refine", "font.size": 9})
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    size = (3.2 * len(known), 4.0)
    fig, panels = plt.subplots(
        1, len(known), figsize=size, sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for panel, (name, ways) in zip(panels[0], known.items(), strict=True):
        panel.axhspan(-0.03, 0.03, color="0.9", lw=0)
        for k, way in enumerate(WAYS):
            if way not in ways:
                continue
            found = ways[way]
            later = found["later"]
            mean, error = found["torsions and pairs"]
            colour = f"C{k}"
            first = found.get("first", later)
            panel.plot([later, first], [mean, mean], color=colour, lw=0.8, zorder=1)
            panel.errorbar(later, mean, error, color=colour, marker=MARKS[k], label=way, lw=1, ms=6)
            if "first" in found:
                panel.plot(first, mean, color=colour, marker=MARKS[k], mfc="white", ms=6)
        panel.set(xscale="log", title=name, xlabel="processor time of a frame, s")
        panel.set_yscale("symlog", linthresh=0.1)
        for axis, ticks in (
            (panel.xaxis, (1, 3, 10, 30, 100, 300)),
            (panel.yaxis, (-0.1, 0, 0.1, 1, 10, 100)),
        ):
            axis.set_ticks(ticks, labels=map(str, ticks))
            axis.set_minor_locator(NullLocator())
    panels[0][0].set_ylabel("torsions and pairs, kT per atom")
    handles, labels = panels[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    fig.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


if __name__ == "__main__":
    main()

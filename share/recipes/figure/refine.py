"""What the ways to refine are worth: refine.py FOLDER OUT.png, with FOLDER one of share/reference.

Runs ``dbm-gmx backmap`` on the beads of a reference system with every choice of ``--refine`` and ``--start``,
and draws how far the mean energies of the frames are from those of the reference frames, over the time that
a frame takes.  The numbers are printed as they come.  Needs matplotlib; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from dbm_gmx.chemistry.system import System, whole_atoms
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.energy import bonded_energies, nonbonded_energies
from dbm_gmx.forcefield.nonbonded import reaction_field
from dbm_gmx.options import MoleculeFiles

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

CUTOFF = 0.9  # nm, of the energies that are compared
STIFF = ("Bond", "LJ-14", "Coulomb-14")  # left out of the energy of angles and torsions
LINES = {  # name in the figure: options, and sweeps from first to last
    "none, network": (["--refine", "none", "--start", "network"], [None]),
    "none, growth": (["--refine", "none", "--start", "growth"], [None]),
    "gibbs, network": (["--refine", "gibbs"], [1, 2, 4]),
    "exact, network": (["--refine", "exact", "--start", "network"], [4, 12, 24]),
    "exact, growth": (["--refine", "exact", "--start", "growth"], [2, 6, 12, 24, 48]),
}


def energies(system: System, path: Path, last: float) -> np.ndarray:
    """(frames, 2) Lennard-Jones energy, and that of angles and torsions, kJ/mol."""
    rows = []
    for frame in read_frames(path, n_atoms=system.n_atoms):
        if frame.time > last + 1e-3:
            break
        whole = whole_atoms(system, frame).astype(np.float64)
        bonded = bonded_energies(system.topology, torch.from_numpy(whole))
        pairs = nonbonded_energies(system.topology, frame, reaction_field(CUTOFF, epsilon_rf=None))["LJ (SR)"]
        rows.append([float(pairs), sum(float(e) for name, e in bonded.items() if name not in STIFF)])
    return np.array(rows)


def seconds(folder: Path, out: Path, options: list[str], last: float) -> float:
    """Run ``backmap``; how long a frame took."""
    files = ["-s", folder / "cg.tpr", "-f", folder / "cg.xtc", "-p", folder / "topol.top"]
    files += ["-m", folder / "mapping.xml", "--owners", folder / "owners.txt", "--mdp", folder / "run.mdp"]
    files += ["-r", folder / "aa.gro", "-o", out, "-e", last, "--allow", "all"]
    command = [sys.executable, "-m", "dbm_gmx", "backmap", *map(str, files), *options]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    frames, total = re.search(r"frames\s+(\d+) in ([\d.]+) s", said.stdout + said.stderr).groups()
    return float(total) / int(frames)


def main() -> None:
    """Run, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=4)
    options = parser.parse_args()
    folder = options.folder
    system, _ = read_system(
        folder / "cg.tpr",
        MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"], [folder / "owners.txt"]),
    )
    times = [f.time for f in read_frames(folder / "cg.xtc", n_atoms=system.n_beads)]
    last = times[options.frames - 1]
    wanted = energies(system, folder / "aa.xtc", last)
    molecules = sum(match.count for match in system.matches)
    error = wanted.std(axis=0, ddof=1) / np.sqrt(len(wanted)) / molecules
    results: dict[str, list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.xtc"
        seconds(folder, out, ["--sweeps", "1"], times[0])  # so that all is compiled
        for name, (choice, numbers) in LINES.items():
            for sweeps in numbers:
                more = [] if sweeps is None else ["--sweeps", str(sweeps)]
                time = seconds(folder, out, [*choice, *more], last)
                off = (energies(system, out, last) - wanted).mean(axis=0) / molecules
                print(
                    f"{name:16s} sweeps {sweeps!s:5s} {time:6.2f} s  {off[0]:+10.2f} {off[1]:+10.2f}",
                    flush=True,
                )
                results.setdefault(name, []).append((time, *off))
    draw(results, error, options.out)


def draw(results: dict[str, list[tuple[float, ...]]], error: np.ndarray, out: Path) -> None:
    """Plot rows of seconds and the two differences, kJ/mol, with the errors (2,) of the reference."""
    fig, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    titles = ("Lennard-Jones", "angles and torsions")
    for column, (panel, title, floor) in enumerate(zip(panels, titles, error, strict=True), start=1):
        for name, rows in results.items():
            time, *offs = np.array(rows).T
            panel.plot(time, np.abs(offs[column - 1]), "o-", label=name)
        panel.axhspan(1e-6, floor, color="0.85", label="error of the reference's mean")
        panel.set(xscale="log", yscale="log", xlabel="seconds a frame", title=title)
        panel.set(ylabel="off the reference, kJ/mol per molecule", ylim=(floor / 5, None))
        panel.set_xticks([1, 2, 3, 4, 6, 8], labels=["1", "2", "3", "4", "6", "8"])
        panel.xaxis.set_minor_locator(NullLocator())
    panels[1].legend(fontsize=7)
    fig.savefig(out, dpi=120)


if __name__ == "__main__":
    main()

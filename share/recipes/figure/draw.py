"""Draw beads and atoms side by side: draw.py CG.tpr CG.xtc AA_TOPOLOGY.top AA.gro OUT.png.

Needs matplotlib.  Shows a slab of the first frame; molecules are drawn where their first bead is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.frame import make_whole
from dbm_gmx.topology import Topology, blocks

mpl.use("Agg")
import matplotlib.pyplot as plt

COLOUR = {"C": "#4a4f57", "H": "#e8eaed", "O": "#c8443c", "N": "#3b62b5", "bead": "#2a7f9e"}
RADIUS = {"C": 0.07, "H": 0.045, "O": 0.065, "N": 0.065, "bead": 0.16}
SLAB = 0.45  # of the box's depth


def whole(topology: Topology, positions: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions with molecules whole and inside the box by their first atom, and the bonds."""
    parts, bonds = [], []
    for kind, first, count in blocks(topology):
        rows = positions[first : first + count * kind.n_atoms].reshape(count, -1, 3)
        rows = make_whole(rows, box, kind.bonds)
        cell = np.floor(rows[:, :1] @ np.linalg.inv(box))
        parts.append((rows - cell @ box).reshape(-1, 3))
        bonds.append((kind.bonds + first + kind.n_atoms * np.arange(count)[:, None, None]).reshape(-1, 2))
    return np.concatenate(parts), np.concatenate(bonds)


def draw(axes: plt.Axes, points: np.ndarray, bonds: np.ndarray, sorts: list[str], depth: float) -> None:
    """Draw the particles of the front slab, far ones first and paler."""
    near = points[:, 2] < depth * SLAB
    fade = np.clip(points[:, 2] / (depth * SLAB), 0, 1)
    for i, j in bonds[np.argsort(-points[bonds, 2].mean(1))]:
        if near[i] and near[j]:
            shade = 0.35 + 0.5 * fade[[i, j]].mean()
            axes.plot(*points[[i, j], :2].T, color=str(shade), lw=1.4, zorder=-points[[i, j], 2].mean())
    for i in np.flatnonzero(near):
        face = np.array(mpl.colors.to_rgb(COLOUR[sorts[i]])) * (1 - 0.55 * fade[i]) + 0.55 * fade[i]
        edge = (*(face * 0.6), 1.0)
        disc = plt.Circle(points[i, :2], RADIUS[sorts[i]], fc=face, ec=edge, lw=0.5, zorder=-points[i, 2])
        axes.add_patch(disc)


def main() -> None:
    """Draw the two panels."""
    tpr, xtc, top, gro, out = sys.argv[1:]
    cg, _ = read_tpr(tpr)
    beads = next(read_frames(Path(xtc), n_atoms=cg.n_atoms))
    aa, atoms = read_topology(top), read_structure(gro)
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
    elements = [e for kind, _, count in blocks(aa) for e in kind.elements * count]
    for axes, topology, frame, sorts, title in (
        (panels[0], cg, beads, ["bead"] * cg.n_atoms, f"{cg.n_atoms} beads"),
        (panels[1], aa, atoms, elements, f"{aa.n_atoms} atoms"),
    ):
        points, bonds = whole(topology, frame.positions.astype(np.float64), frame.box)
        draw(axes, points, bonds, sorts, frame.box[2, 2])
        axes.set(xlim=(-0.7, frame.box[0, 0] + 0.7), ylim=(-0.7, frame.box[1, 1] + 0.7), aspect="equal")
        axes.set_title(title, fontsize=11)
        axes.axis("off")
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main()

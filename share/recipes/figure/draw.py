"""Draw beads and atoms side by side: draw.py CG.tpr CG.xtc AA.gro OUT.png.

Needs matplotlib; the molecules are those of the library, or of ``-p`` and ``-m``.  Beads may be in a ``.gro``
with ``-cp``.  Shows the first frame, molecules whole, carbons in the colour of their bead, one molecule
(``--molecule``) brighter than the others.  Everything is a ball, a stick is a row of small ones: first comes
the depth of every pixel, from it light, shadows and haze.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.periodic import make_whole
from dbm_gmx.chemistry.topology import Topology, blocks
from dbm_gmx.files.structure import read_cg_system, read_structure
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.options import MoleculeFiles

mpl.use("Agg")
import matplotlib.pyplot as plt

BEADS = {"A": (0.17, "#2563b0"), "B": (0.23, "#f08c1e")}  # by type: radius in nm, colour
TAIL = "#f0b429"  # of lipids, whose beads are coloured by the first letter of their type
MARTINI = {"N": "#2f9e77", "P": "#c2410c", "G": "#f08c1e", "C": TAIL, "D": TAIL, "W": "#5aa9e6"}
ELEMENTS = {"H": (0.042, "#f7f7f7"), "O": (0.055, "#d0402f"), "N": (0.055, "#7048c0"), "P": (0.08, "#c2410c")}
CARBON = 0.062  # nm, radius; its colour is that of its bead
STICK = 0.028  # nm, radius
VIEW = Rotation.from_euler("yx", [48, -36], degrees=True)
UPRIGHT = Rotation.from_euler("zx", [25, -82], degrees=True)  # z upwards
LIGHT = np.array([-0.44, 0.53, 0.72])
PIXELS, FINER = 760, 3  # of a panel, along an edge; and how many times finer it is drawn
PALE = 0.55  # how white the other molecules are


@dataclass(frozen=True)
class Balls:
    """Points (n, 3) as seen, the third towards the eye; radii (n,), nm; colours (n, 3)."""

    points: np.ndarray
    radii: np.ndarray
    colours: np.ndarray

    def __add__(self, other: Balls) -> Balls:
        """Both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Balls(*(np.concatenate(pair) for pair in pairs))


def look(radius: float, colour: str) -> tuple[float, ...]:
    """Radius and colour in a row."""
    return radius, *mpl.colors.to_rgb(colour)


def bead(kind: str) -> tuple[float, str]:
    """Radius and colour of a type of beads."""
    return BEADS.get(kind, (0.21, MARTINI.get(kind[0], "#8a8f98")))


def bead_looks(match: Match) -> np.ndarray:
    """Radii and colours (4, n) of the beads of a molecule."""
    return np.array([look(*bead(kind)) for kind in match.mapping.types]).T


def atom_looks(match: Match) -> np.ndarray:
    """Radii and colours (4, n) of its atoms."""
    kinds = [match.mapping.types[owner] for owner in match.mapping.owner]
    pairs = zip(match.moltype.elements, kinds, strict=True)
    return np.array([look(*ELEMENTS.get(e, (CARBON, bead(kind)[1]))) for e, kind in pairs]).T


def balls(topology: Topology, frame: Frame, looks: list[np.ndarray], chosen: int, view: Rotation) -> Balls:
    """Particles and sticks turned by ``view``, molecules whole about their middle, which is in the box."""
    found = []
    number = 0
    for (moltype, first, count), (radii, *colours) in zip(blocks(topology), looks, strict=True):
        rows = frame.positions[first : first + count * moltype.n_atoms].reshape(count, -1, 3)
        rows = make_whole(rows.astype(np.float64), frame.box, moltype.bonds)
        cell = np.floor(rows.mean(axis=1, keepdims=True) @ np.linalg.inv(frame.box))
        rows = view.apply((rows - cell @ frame.box - frame.box.sum(0) / 2).reshape(-1, 3)).reshape(rows.shape)
        for points in rows:
            white = 0 if number == chosen else PALE
            shown = np.transpose(colours) * (1 - white) + white
            found += [Balls(points, radii, shown), sticks(points, shown, moltype.bonds, radii.min())]
            number += 1
    return sum(found[1:], found[0])


def sticks(points: np.ndarray, colours: np.ndarray, bonds: np.ndarray, radius: float) -> Balls:
    """Rows of small balls, half of them in the colour of either end."""
    share = np.linspace(0, 1, 24)[:, None]
    start, end = points[bonds[:, :1]], points[bonds[:, 1:]]
    rows = start * (1 - share) + end * share
    near = np.where(share < 0.5, bonds[:, None, :1], bonds[:, None, 1:])[..., 0]
    n = rows.shape[0] * rows.shape[1]
    return Balls(rows.reshape(n, 3), np.full(n, min(STICK, radius)), colours[near].reshape(n, 3))


def paint(
    seen: Balls, centre: np.ndarray, scale: float, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth (-inf where nothing is), normals and colours of every pixel."""
    depth = np.full((size, size), -np.inf)
    normals, colours = np.zeros((size, size, 3)), np.ones((size, size, 3))
    places, radii = (seen.points[:, :2] - centre) * scale + size / 2, seen.radii * scale
    for (x, y), r, z, colour in zip(places, radii, seen.points[:, 2] * scale, seen.colours, strict=True):
        left, low = max(int(x - r), 0), max(int(y - r), 0)
        columns, lines = np.arange(left, min(int(x + r) + 2, size)), np.arange(low, min(int(y + r) + 2, size))
        dx, dy = columns[None, :] - x, lines[:, None] - y
        square = r * r - dx * dx - dy * dy
        height = np.sqrt(np.maximum(square, 0))
        window = (slice(low, low + len(lines)), slice(left, left + len(columns)))
        front = (square > 0) & (z + height > depth[window])
        depth[window][front] = (z + height)[front]
        normal = np.stack(np.broadcast_arrays(dx, dy, height), axis=-1) / r
        normals[window][front] = normal[front]
        colours[window][front] = colour
    return depth, normals, colours


def shadow(seen: Balls, depth: np.ndarray, centre: np.ndarray, scale: float) -> np.ndarray:
    """How much of the light reaches every pixel."""
    size = len(depth)
    turn, _ = Rotation.align_vectors([[0, 0, 1]], [LIGHT])
    lit = Balls(turn.apply(seen.points - [*centre, 0]), seen.radii, seen.colours)
    first, _, _ = paint(lit, np.zeros(2), scale / 1.3, size)
    lines, columns = np.indices(depth.shape)
    full = np.isfinite(depth)
    points = np.stack([columns - size / 2, lines - size / 2, np.where(full, depth, 0)], axis=-1)
    x, y, z = np.moveaxis(turn.apply(points.reshape(-1, 3)).reshape(points.shape) / 1.3, -1, 0)
    first = np.where(np.isfinite(first), first, -1e9)
    reached = [
        map_coordinates(first, [y + size / 2 + a, x + size / 2 + b], order=0, cval=-1e9) < z + 0.02 * scale
        for a in (-3, 0, 3)
        for b in (-3, 0, 3)
    ]
    return np.mean(reached, axis=0)


def picture(seen: Balls, centre: np.ndarray, scale: float, size: int) -> np.ndarray:
    """Light the pixels: diffuse and glossy light, shadows, dark gaps, edges, haze."""
    depth, normals, colours = paint(seen, centre, scale, size)
    full = np.isfinite(depth)
    back, front = depth[full].min(), depth[full].max()
    filled = np.where(full, depth, back)
    light = 0.25 + 0.75 * shadow(seen, depth, centre, scale)
    diffuse = np.clip(normals @ LIGHT, 0, 1)
    half = LIGHT + np.array([0, 0, 1])
    gloss = 0.22 * np.clip(normals @ half / np.linalg.norm(half), 0, 1) ** 40
    gaps = sum(
        np.clip((gaussian_filter(filled, s * scale) - filled) / (s * scale), 0, 1.5)
        for s in (0.05, 0.15, 0.4)
    )
    shade = (0.56 + 0.50 * diffuse * light) * np.exp(-0.20 * gaps)
    image = np.clip(colours * shade[..., None] + (gloss * light)[..., None], 0, 1)
    haze = 0.70 * np.clip((front - filled) / (front - back), 0, 1)[..., None] ** 1.2
    image = image * (1 - haze) + haze
    image[~full] = 1
    step = size // FINER
    return image[::-1].reshape(step, FINER, step, FINER, 3).mean(axis=(1, 3))


def main() -> None:
    """Draw the two panels."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("tpr", "xtc", "gro", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument(
        "--molecule", type=int, default=19, help="in full colours, from 0; VIEW shows 19 of sps"
    )
    for option in ("-cp", "-p", "-m"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--upright", action="store_true", help="z upwards")
    parser.add_argument("--dpi", type=int, default=125)
    given = parser.parse_args()
    molecules = MoleculeFiles(given.p, mappings=[given.m] if given.m else [])
    system, _ = read_system(given.tpr, molecules, cg_topology=given.cp)
    cg, _ = read_cg_system(given.tpr, given.cp)
    beads, atoms = next(read_frames(given.xtc, n_atoms=cg.n_atoms)), read_structure(given.gro)
    coarse = [bead_looks(match) for match in system.matches]
    fine = [atom_looks(match) for match in system.matches]
    shown = given.molecule, UPRIGHT if given.upright else VIEW
    seen = [balls(cg, beads, coarse, *shown), balls(system.topology, atoms, fine, *shown)]
    both = (seen[0] + seen[1]).points[:, :2]
    low, high = both.min(axis=0), both.max(axis=0)
    scale = PIXELS * FINER / ((high - low).max() + 0.6)
    middle = (low + high) / 2
    pictures = np.array([picture(content, middle, scale, PIXELS * FINER) for content in seen])
    pictures = pictures[:, :, (pictures < 1).any(axis=(0, 1, 3))]  # no margins
    figure, panels = plt.subplots(1, 2, figsize=(10.5, 6.2), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)  # inches: titles stay on the page
    titles = [f"{cg.n_atoms} beads", f"{system.n_atoms} atoms"]
    for axes, pixels, title in zip(panels, pictures, titles, strict=True):
        axes.imshow(pixels, interpolation="antialiased")
        axes.set_title(title, fontsize=15)
        axes.axis("off")
    figure.savefig(given.out, dpi=given.dpi)
    with Image.open(given.out) as drawn:
        drawn.convert("RGB").quantize(256).save(given.out, optimize=True)


if __name__ == "__main__":
    main()

"""A picture of a molecule, its atoms coloured by bead (SVG)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import cycle, islice

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.heavy import heavy_graph
from dbm_gmx.chemistry.topology import MoleculeType

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#ee8866", "#44bb99")
"""Told apart by those who do not see all colours (Paul Tol)."""

BOND = 46.0
"""Length of a bond in the picture, pixels."""

EXACT = 150
"""Atoms up to which the layout heeds all distances along the bonds."""


def draw_mapping(moltype: MoleculeType, owner: IntArray, names: Sequence[str]) -> str:
    """Draw a molecule without its hydrogens.

    Parameters
    ----------
    moltype
        The molecule type.
    owner
        (atoms,) bead of each atom.
    names
        Of the beads.

    Returns
    -------
    SVG: each atom has a title with its name, number and bead.
    """
    heavy = heavy_graph(moltype)
    place = _layout(heavy)
    low = np.min(list(place.values()), axis=0) - BOND
    width, height = np.max(list(place.values()), axis=0) - low + BOND
    legend = 20 * len(names[:40]) + 20
    colour = list(islice(cycle(COLOURS), len(names)))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 130:.0f}" '
        f'height="{max(height, legend):.0f}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(moltype.name)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i, j in heavy.edges:
        (a, b), (c, d) = place[i] - low, place[j] - low
        stroke = colour[owner[i]] if owner[i] == owner[j] else "#999999"
        dash = "" if owner[i] == owner[j] else ' stroke-dasharray="4 3"'
        parts.append(
            f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" '
            f'stroke="{stroke}" stroke-width="3"{dash}/>'
        )
    for i in heavy:
        (a, b), bead = place[i] - low, names[owner[i]]
        title = escape(f"{moltype.names[i]} ({i + 1}): {bead}")
        parts.append(
            f'<g><title>{title}</title><circle cx="{a:.1f}" cy="{b:.1f}" r="11" fill="{colour[owner[i]]}"/>'
            f'<text x="{a:.1f}" y="{b + 4:.1f}" text-anchor="middle">'
            f"{escape(moltype.names[i][:4])}</text></g>"
        )
    for k, name in enumerate(names[:40]):
        parts.append(
            f'<circle cx="{width + 12:.0f}" cy="{20 * k + 16}" r="6" fill="{colour[k]}"/>'
            f'<text x="{width + 24:.0f}" y="{20 * k + 20}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _layout(heavy: nx.Graph) -> dict[int, FloatArray]:
    """Pixels of each atom; mean bonds have the length :data:`BOND`."""
    if len(heavy) <= EXACT:
        place = nx.kamada_kawai_layout(heavy)
    else:
        place = nx.spring_layout(heavy, seed=1, iterations=100)
    lengths = [float(np.linalg.norm(place[i] - place[j])) for i, j in heavy.edges]
    scale = BOND / np.mean(lengths) if lengths else 1.0
    return {i: np.asarray(xy, np.float64) * scale for i, xy in place.items()}

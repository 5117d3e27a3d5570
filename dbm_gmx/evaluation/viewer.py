"""Atoms and beads in three dimensions, as part of a page that opens without a network: 3Dmol.js.

3Dmol.js 2.5.5 (Rego, Koes, Bioinformatics 31, 1322, 2015; BSD-3-Clause) lies beside this file with its
licence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import numpy as np

from dbm_gmx import __version__
from dbm_gmx.chemistry.array_types import FloatArray, IntArray, Positions
from dbm_gmx.evaluation.template import filled

LIBRARY, LICENCE, OWN = "3Dmol-min.js", "3Dmol-LICENSE.txt", "viewer.js"

RADIUS = 0.12
"""Of a bead as it is drawn, nm; the page can change it."""


@dataclass(frozen=True, eq=False)
class Beads:
    """Beads of a scene.

    Attributes
    ----------
    names
        (k,) by which they are coloured.
    labels
        (k,) what the page says of each.
    positions
        (k, 3) nm.
    """

    names: Sequence[str]
    labels: Sequence[str]
    positions: Positions


@dataclass(frozen=True, eq=False)
class Scene:
    """What is seen at a time.

    Attributes
    ----------
    title
        Of it.
    elements, labels
        (n,) of the atoms, and what the page says of each.
    positions
        (n, 3) nm.
    bonds
        (b, 2) rows.
    focus
        Rows of the atoms that are marked.
    beads
        Drawn over the atoms.
    box
        (3, 3) nm, drawn where it is given.
    """

    title: str
    elements: Sequence[str]
    labels: Sequence[str]
    positions: Positions
    bonds: IntArray
    focus: Sequence[int] = ()
    beads: Beads | None = None
    box: FloatArray | None = None

    def plain(self) -> dict[str, object]:
        """What the page gets: lengths in Angstrom, as 3Dmol.js has them."""
        beads = self.beads
        return {
            "title": self.title,
            "elements": list(self.elements),
            "labels": list(self.labels),
            "xyz": _flat(self.positions),
            "bonds": np.asarray(self.bonds).ravel().tolist(),
            "focus": list(self.focus),
            "box": None if self.box is None else _flat(self.box),
            "beads": None
            if beads is None
            else {
                "names": list(beads.names),
                "labels": list(beads.labels),
                "xyz": _flat(beads.positions),
                "radius": 10 * RADIUS,
            },
        }


def _flat(points: Positions | FloatArray) -> list[float]:
    return np.round(10 * np.asarray(points, np.float64), 2).ravel().tolist()


def viewer(scenes: Sequence[Scene]) -> str:
    """A view with a button for each scene: HTML."""
    # nothing in there may end the script element
    data = json.dumps([scene.plain() for scene in scenes], separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<div class="viewer screen"><p class="choose"></p><div class="stage"></div>'
        '<p class="said">Drag: turn. Wheel: nearer. Hover over an atom or a bead: its name.</p>'
        f'<script type="application/json">{data}</script></div>'
    )


def scripts() -> str:
    """What draws all views of a page, with its licence: HTML, to stand after them."""
    folder = files("dbm_gmx.evaluation")
    licence = (folder / LICENCE).read_text().replace("--", "- -")  # which would end the comment
    return f"<!--\n{licence}\n-->" + "".join(
        f"<script>{(folder / name).read_text()}</script>" for name in (LIBRARY, OWN)
    )


def view_page(title: str, scenes: Sequence[Scene], notes: Sequence[str]) -> str:
    """A page with a view alone."""
    said = "".join(f"<li>{escape(note)}</li>" for note in [*notes, f"dbm-gmx {__version__}, 3Dmol.js"])
    notes_list = f"<ul>{said}</ul>"
    return filled("view", title=escape(title), viewer=viewer(scenes), notes=notes_list, scripts=scripts())

"""The plots: the panels of a figure as SVG, to be put into a page that sets them beside each other."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.evaluation.compare import REFERENCE
from dbm_gmx.evaluation.tables import TERM_ALONE, Panel
from dbm_gmx.evaluation.worst import Place

COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98", "#117a65", "#884ea0", "#5d6d7e")
STYLE = {
    **{"font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 8},
    **{"xtick.labelsize": 7, "ytick.labelsize": 7, "lines.linewidth": 1.1, "axes.linewidth": 0.6},
    **{"svg.fonttype": "none", "svg.hashsalt": "dbm-gmx", "font.family": "sans-serif"},
    **{"text.parse_math": False},  # names of types and candidates are no formulas
}
WIDTH, HEIGHT, ACROSS = 2.35, 1.75, 4
"""Size of a panel, inches, and how many stand beside each other at most."""

MOST_POINTS = 1200
"""Points of a trajectory that are drawn on the map; the data has all."""


def draw_figures(
    panels: Sequence[Panel], colours: Mapping[str, str], *, across: int = ACROSS, same: bool = False
) -> dict[str, str]:
    """Draw all figures.

    Parameters
    ----------
    panels
        Those of a figure one after the other.
    colours
        Of the candidates, see :func:`colours_of`.
    across
        Panels beside each other, at most; the page sets fewer where it is narrow.
    same
        Whether those in a row have the same axes.

    Returns
    -------
    HTML by figure.
    """
    colours = {**colours, REFERENCE: "#000000", TERM_ALONE: "#888888"}
    figures = groupby(panels, key=lambda panel: panel.figure)
    return {name: _figure(list(group), colours, across, same) for name, group in figures}


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Colours of candidates by their place."""
    return {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}


def _figure(panels: Sequence[Panel], colours: Mapping[str, str], across: int, same: bool) -> str:
    across = min(across, len(panels))
    scale = {1: 1.5, 2: 1.25}.get(across, 1.0)
    drawn: list[Axes] = []
    sheets: list[Figure] = []
    with mpl.rc_context(STYLE):
        for panel in panels:
            figure = Figure((WIDTH * scale, HEIGHT * scale), layout="constrained")
            axes = figure.add_subplot()
            DRAW[panel.form](axes, panel, colours)
            axes.set(xlabel=panel.x, ylabel=panel.y)
            axes.spines[["top", "right"]].set_visible(False)
            drawn.append(axes)
            sheets.append(figure)
        rows = [drawn[k : k + across] for k in range(0, len(drawn), across)] if same else []
        for row in [drawn] if panels[0].form == "scatter" else rows:
            _same_limits(row)
        pictures = [_svg(figure) for figure in sheets]
    named = {name for axes in drawn for name in axes.get_legend_handles_labels()[1]}
    titles = [panel.title for panel in panels]
    return _legend([n for n in colours if n in named], colours) + panel_grid(titles, pictures, across)


def panel_grid(titles: Sequence[str], pictures: Sequence[str], across: int) -> str:
    """Pictures beside each other, each under its title: HTML."""
    cells = [
        f'<div class="panel"><h3>{escape(title)}</h3>{picture}</div>'
        for title, picture in zip(titles, pictures, strict=True)
    ]
    return f'<div class="panels a{min(across, ACROSS)}">{"".join(cells)}</div>'


def _legend(names: Sequence[str], colours: Mapping[str, str]) -> str:
    """Which colour is what, the reference first: HTML."""
    first = [name for name in (REFERENCE, TERM_ALONE) if name in names]
    kinds = {REFERENCE: "band", TERM_ALONE: "dashed"}
    items = [
        f'<span><i class="{kinds.get(name, "")}" style="border-color:{colours[name]}"></i>'
        f"{escape(name)}</span>"
        for name in [*first, *(name for name in names if name not in first)]
    ]
    return f'<p class="legend">{"".join(items)}</p>' if items else ""


def _same_limits(panels: Sequence[Axes]) -> None:
    """Give panels the limits that show what is in any of them."""
    for axis in ("x", "y"):
        limits = np.array([getattr(panel, f"get_{axis}lim")() for panel in panels])
        for panel in panels:
            panel.set(**{f"{axis}lim": (limits[:, 0].min(), limits[:, 1].max())})


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    # names inside must not clash with those of other figures of the page
    unique = f"f{abs(hash(text)) % 10**8}"
    text = re.sub(r'id="([^"]+)"', rf'id="{unique}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{unique}-", text)
    # a hundredth of a point is as fine as anybody sees, and half of the size
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\d+\.\d{2})\d+", r"\1", path[0]), text)


def _curves_of(panel: Panel, colours: Mapping[str, str]) -> list[str]:
    """Columns that are curves, the reference first: what is drawn later lies over it."""
    return [name for name in panel.columns if name in colours]


UNDER: dict[str, Any] = {"lw": 3.6, "alpha": 0.35, "solid_capstyle": "butt"}
"""The reference is a wide grey band, which is seen on both sides of a curve that lies on it."""

PERIODIC = ("dihedral", "improper")
"""Figures whose axis is a whole turn."""

TURN = 360.0
CUTS = (-180.0, 0.0, -120.0, 120.0, -60.0, 60.0)
"""Where the axis of a dihedral may be cut, degrees; the first is taken where it is as good as any."""

NOTHING = 0.05
"""Part of its maximum that a curve may have where its axis is cut."""


def _line(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    x = np.asarray(next(iter(panel.columns.values())), float)
    curves = {name: np.asarray(panel.columns[name], float) for name in _curves_of(panel, colours)}
    curves = {name: y for name, y in curves.items() if y.any()}
    is_turn = panel.figure in PERIODIC
    fold = _mirrored if panel.figure == "improper" else np.asarray
    curves = {name: fold(y) for name, y in curves.items()}
    decides = [curves[name] for name in (REFERENCE, TERM_ALONE) if name in curves] or list(curves.values())
    x, order = _cut(x, decides) if is_turn and curves else (x, np.arange(len(x)))
    some = np.zeros(len(x), bool)
    for name, values in curves.items():
        y = values[order]
        style: dict[str, Any] = {"ls": "--", "zorder": 3} if name == TERM_ALONE else {}
        style |= UNDER if name == REFERENCE else {}
        error = panel.columns.get(f"{name} error")
        if error is not None:
            wide = fold(np.asarray(error, float))[order]
            axes.fill_between(x, y - wide, y + wide, color=colours[name], alpha=0.2, lw=0)
        axes.plot(x, y, color=colours[name], label=name, **style)
        some |= y > 0.002 * y.max()
    if is_turn:
        first = x[0] - (x[1] - x[0]) / 2
        axes.set_xlim(first, first + TURN)
        axes.set_xticks(np.arange(first, first + TURN + 1, 90 if first % 90 == 0 else 120))
    elif some.any():
        shown = x[some]
        margin = 2 * (x[1] - x[0])
        axes.set_xlim(shown[0] - margin, shown[-1] + margin)
        axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(bottom=0)


def _mirrored(y: FloatArray) -> FloatArray:
    """Half of a curve over the values without their sign to either sign."""
    return np.asarray((y + y[::-1]) / 2)


def _cut(x: FloatArray, curves: Sequence[FloatArray]) -> tuple[FloatArray, IntArray]:
    """Cut the axis of a dihedral where curves are low, so that no peak is in two.

    Returns
    -------
    The values (k,) of the axis from the cut on, and the rows (k,) they are of.
    """
    height = np.max([y / y.max() for y in curves], axis=0)

    def at(cut: float) -> float:
        """How high a curve is beside a cut."""
        row = round((cut + TURN / 2) / TURN * len(x))
        return float(max(height[row % len(x)], height[row - 1]))

    cut = next((c for c in CUTS if at(c) < NOTHING), min(CUTS, key=at))
    begin = cut if cut <= 0 else cut - TURN
    turned = (x - begin) % TURN + begin
    order = np.argsort(turned).astype(np.int64)
    return turned[order], order


def _points(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    high, usual = 0.0, np.inf
    x = np.asarray(next(iter(panel.columns.values())), float)
    for name in _curves_of(panel, colours):
        y = np.asarray(panel.columns[name], float)
        some = np.isfinite(y)
        style: dict[str, Any] = {"ms": 2.5, "lw": 0.7}
        if name == REFERENCE:
            style = {"ms": 6, "lw": 3, "alpha": 0.35, "mew": 0}
        axes.plot(x[some], y[some], "o-", color=colours[name], label=name, **style)
        high = max(high, float(np.abs(y[some]).max(initial=0)))
        usual = min(usual, float(np.median(np.abs(y[some]))))
    if high > 100 * usual:
        axes.set_yscale("symlog", linthresh=max(usual, 1e-6))
        axes.yaxis.set_major_formatter("{x:g}")  # powers would be written as formulas


def _scatter(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    x, y, cluster = (np.asarray(column) for column in panel.columns.values())
    some = slice(None, None, -(-len(x) // MOST_POINTS))
    points = axes.scatter(x[some], y[some], s=3, alpha=0.5, color=colours[panel.title], lw=0)
    points.set_rasterized(True)  # thousands of points are lighter as an image
    for k in np.unique(cluster):
        here = cluster == k
        axes.text(x[here].mean(), y[here].mean(), str(k), ha="center", va="center", weight="bold")
    axes.set(xticks=[], yticks=[])


def _matrix(axes: Axes, panel: Panel, _colours: Mapping[str, str]) -> None:
    cells = np.array([column for name, column in panel.columns.items() if name.isdigit()], float).T
    axes.imshow(cells, cmap="Greys", vmin=0, vmax=1, aspect="equal")
    for (i, j), value in np.ndenumerate(cells):
        colour = "white" if value > 0.6 else "black"
        axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", color=colour)
    ticks = range(len(cells))
    axes.set_xticks(list(ticks), labels=[str(k + 1) for k in ticks])
    axes.set_yticks(list(ticks), labels=[str(k + 1) for k in ticks])


def _bars(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    x = np.asarray(next(iter(panel.columns.values())), float)
    names = _curves_of(panel, colours)
    width = 0.8 / max(1, len(names))
    for place, name in enumerate(names):
        error = panel.columns.get(f"{name} error")
        axes.bar(
            x + (place - (len(names) - 1) / 2) * width,
            np.asarray(panel.columns[name], float),
            width,
            yerr=error,
            color=colours[name],
            label=name,
            error_kw={"lw": 0.7},
            alpha=UNDER["alpha"] if name == REFERENCE else 1.0,
        )
    axes.set_xticks(x)


# --- places ------------------------------------------------------------------------------------------

AROUND = 0.45
"""What is within this distance of a place is drawn, nm."""

ELEMENTS = {"H": "#cccccc", "C": "#555555", "N": "#2e5cb8", "O": "#cc2222", "S": "#c8a415"}
FOCUS = "#e67e22"


def draw_places(places: Sequence[Place]) -> str:
    """Draw still pictures of places, each seen so that as much as can be lies in the plane: HTML."""
    pictures = []
    with mpl.rc_context(STYLE):
        for place in places:
            figure = Figure((WIDTH, WIDTH), layout="constrained")
            axes = figure.add_subplot(aspect="equal")
            _place(axes, place)
            axes.set_axis_off()
            pictures.append(_svg(figure))
    titles = [f"{place.label}, {place.time:g} ps: {place.fault.rule}" for place in places]
    return panel_grid(titles, pictures, ACROSS)


def _place(axes: Axes, place: Place) -> None:
    focus = np.array(place.atoms) - 1
    points = place.positions - place.positions[focus].mean(axis=0)
    near = np.linalg.norm(points, axis=1) < AROUND
    near[focus] = True
    # the directions in which what is near extends most and second most are the page
    _, _, directions = np.linalg.svd(points[near] - points[near].mean(axis=0))
    seen = points @ directions.T
    bonds = [(i, j) for i, j in place.bonds.tolist() if near[i] and near[j]]
    for i, j in bonds:
        order = 2 * seen[[i, j], 2].mean()
        middle = seen[[i, j]].mean(axis=0)
        for k in (i, j):
            colour = ELEMENTS.get(place.elements[k], "#777777")
            half = np.array([seen[k], middle])
            axes.plot(half[:, 0], half[:, 1], color=colour, lw=2.5, zorder=order, solid_capstyle="round")
    axes.scatter(seen[focus, 0], seen[focus, 1], s=45, color=FOCUS, zorder=10, alpha=0.85, lw=0)
    if place.fault.rule in ("contacts", "overlaps"):
        axes.plot(seen[focus, 0], seen[focus, 1], color=FOCUS, lw=1, ls=":", zorder=9)


DRAW = {"line": _line, "points": _points, "scatter": _scatter, "matrix": _matrix, "bars": _bars}
"""How each kind of panel is drawn."""

"""The page: tables, figures and what they show, as one HTML text that opens without a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from dbm_gmx import __version__
from dbm_gmx.evaluation.compare import BEYOND, METRICS, REFERENCE, RESAMPLES, SPLITS, Score
from dbm_gmx.evaluation.evaluation import Evaluation, Trajectory
from dbm_gmx.evaluation.head import facts, floor_words, meaning, verdicts, with_contents
from dbm_gmx.evaluation.tables import (
    PARTS,
    SHIFTED,
    TERM_ALONE,
    Panel,
    deviations,
    is_off,
    is_strange,
    is_told_apart,
    racemo_dyads,
    root_mean_square,
    rule_rows,
    term_table,
    told_apart_by,
)
from dbm_gmx.evaluation.template import filled
from dbm_gmx.evaluation.viewer import scripts, viewer
from dbm_gmx.evaluation.worst import Place, scene_of
from dbm_gmx.forcefield.equilibrium import SUMS, EnergyDifference

TITLES = {
    "bond": "Bonds",
    "angle": "Angles",
    "dihedral": "Dihedrals",
    "improper": "Impropers",
    "Lennard-Jones": "Lennard-Jones energy of molecules",
    "energy": "Energies of frames",
    "g(r)": "Pair distributions",
    "shape": "Size of molecules",
    "deviation": "Distance from the beads",
    "classifier": "Told from the reference by a classifier",
    "map": "Conformational space",
    "confusion": "Clusters: reference and candidate",
    "populations": "Populations of the clusters",
}
"""Headings of the figures, in the order of the page."""

CAPTIONS = {
    "bond": "Lengths by the types of their atoms.",
    "angle": "Angles by the types of their atoms (Fig 2 of the paper).",
    "dihedral": "Proper dihedrals by the types of their atoms (Fig 3 of the paper).",
    "improper": "Improper dihedrals, without their sign: half of each curve is drawn at either sign "
    "(Fig 3 of the paper).",
    "Lennard-Jones": "Energy of every molecule with all atoms that the topology does not exclude, half of "
    "a pair to either molecule; cut off, not shifted. What is beyond the last bin is counted in it (Fig 4 "
    "a-d of the paper).",
    "energy": "Potential energy and its terms, frame by frame.",
    "g(r)": "Atoms that the topology does not exclude from each other: all heavy ones, then pairs of classes "
    "(element, neighbours, a: aromatic, @: sits on; Fig 4 e, f of the paper).",
    "shape": "Radius of gyration, and distance between the ends of the longest chain outside rings.",
    "deviation": "Mapped atoms of the candidates from the beads they were made for.",
    "classifier": "Part of the environments of heavy atoms that a classifier takes for the candidate's, in "
    "frames it has not seen: of the candidate against of the reference. The diagonal is guessing; grey: "
    "halves of the reference.",
    "map": "Monomers by the similarity of their conformations; numbers are clusters of the reference (Fig 5 "
    "of the paper).",
    "confusion": "Of the monomers in a cluster of the reference (rows), the part (%) in each cluster in the "
    "candidate, in frames of the same beads (Fig 6 of the paper). Many conformations belong to the same "
    "beads: the populations must agree, not each monomer.",
    "populations": "Part of the monomers in each cluster (Fig 6 of the paper).",
}


PAPER = (
    "The paper, whose figures some of these follow: Stieffenhofer, Wand, Bereau, Mach. Learn.: Sci. Technol. "
    "1, 045014 (2020)."
)
"""Said under the method."""

HOW = {
    "line": " Pale bands: standard errors over frames.",
    "scatter": " Points that are near each other are alike; the directions have no unit.",
}
"""How each kind of panel is read."""


def page(
    evaluation: Evaluation,
    plots: Sequence[Panel],
    figures: Mapping[str, str],
    worst: str = "",
    made: Mapping[str, Any] | None = None,
) -> str:
    """The page; ``worst`` is its last section, ``made`` how the scores were made."""
    names = ", ".join(c.label for c in evaluation.candidates)
    system = evaluation.system.topology
    moltypes = ", ".join(f"{count} {name}" for name, count in system.molecules)
    reference = evaluation.reference
    beside = f"beside {_frames(reference)} of {reference.path.name}" if reference else "without a reference"
    frames = ", ".join(f"{c.label}: {_frames(c)} of {c.path.name}" for c in evaluation.candidates)
    lead = f"{moltypes} ({system.n_atoms} atoms). {frames}; {beside}."
    parts = [meaning(), rule_table(evaluation), _summary(evaluation), _equilibrium(evaluation)]
    parts += [_expected(evaluation)]
    parts += [_figure(evaluation, name, drawn, plots) for name, drawn in figures.items()]
    parts.append(worst)
    body = "\n".join(part for part in parts if part)
    how = facts(evaluation, made or {})
    head = Head(escape(f"Evaluation of {names}"), escape(lead), verdicts(evaluation), how)
    return fill_page(head, body, method(evaluation))


class Head(NamedTuple):
    """The first lines of a page, which are HTML: title, what it is of, the verdict, and how it was made."""

    title: str
    lead: str
    verdict: str = ""
    facts: str = ""


def _frames(trajectory: Trajectory) -> str:
    count = len(trajectory.frames)
    return f"{count} frame{'' if count == 1 else 's'}"


def fill_page(head: Head, body: str, method: str) -> str:
    """A whole page from its parts, which are HTML; the contents are made of the headings."""
    body, contents = with_contents(f"{body}\n<h2>How it was measured</h2>\n{method}")
    return filled("report", **head._asdict(), body=body, contents=contents)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML; it scrolls in itself where it is wider than the page."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in row) + "</tr>" for row in rows
    )
    whole = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0">{whole}</div>'


def rule_table(evaluation: Evaluation) -> str:
    """The hard rules, and what else is counted."""
    broken = evaluation.broken
    if broken:
        said = "; ".join(f"{escape(label)}: {', '.join(rules)}" for label, rules in broken.items())
        verdict = f"<p><b class=off>Hard rules are broken.</b> {said}.</p>"
    else:
        verdict = "<p>No hard rule is broken. The rules look at atoms one by one, not at energies.</p>"
    shown = evaluation.everything
    rows = [[words, *(_counts(counts[t.label], t) for t in shown)] for words, counts in rule_rows(evaluation)]
    rows += _facts(shown)
    differing = [c for c in evaluation.candidates if c.verdict.differing]
    other = "".join(
        f"<p>{escape(c.label)} is not of this topology: {escape(c.verdict.differing)}.</p>" for c in differing
    )
    head = ["in all frames", *(escape(t.label) for t in shown)]
    return f"<h2>Hard rules</h2>{verdict}{other}{table(head, rows) if shown else ''}"


def _counts(counts: Sequence[int], trajectory: Trajectory) -> str:
    if not counts:
        return "<td>not compared</td>"
    total = sum(counts)
    bad = total and trajectory.label != REFERENCE
    most = max(range(len(counts)), key=lambda k: counts[k])
    where = f" <small>most at {trajectory.frames[most].time:g} ps: {counts[most]}</small>" if total else ""
    return f"<td{' class=off' if bad else ''}>{total}{where}</td>"


def _facts(shown: Sequence[Trajectory]) -> list[list[str]]:
    """Rows on what no rule is about: beads and tacticity."""
    rows = []
    if any(len(deviations(t)) for t in shown):
        rows.append(["mapped atoms from the beads, rms and largest, nm", *map(_deviation, shown)])
    if any(len(racemo_dyads(t)) for t in shown):
        rows.append(["racemo dyads", *map(_racemo, shown)])
    return rows


def _deviation(trajectory: Trajectory) -> str:
    values = deviations(trajectory)
    return f"{root_mean_square(values):.4f}, {values.max():.4f}" if len(values) else ""


def _racemo(trajectory: Trajectory) -> str:
    values = racemo_dyads(trajectory)
    return f"{100 * values.mean():.1f} % of {len(values)}" if len(values) else ""


MAIN = (
    *((part, "mean") for part in PARTS),
    ("Lennard-Jones", ""),
    ("energy", "Potential"),
    ("g(r)", "first"),
    ("shape", ""),
    ("racemo dyads", ""),
)
"""Groups of scores in the summary: a name in them, all (nothing) or the first."""


def _summary(evaluation: Evaluation) -> str:
    if not evaluation.scores:
        return ""
    chosen = main_scores(next(iter(evaluation.scores.values())))
    return (
        f"<h2>How far from the reference</h2>{floor_words(evaluation)}"
        "<p>Each cell: value &plusmn; standard error over frames (floor). Red: the value is above the floor "
        "by more than two errors.</p>"
        + score_table(
            evaluation, chosen, metric=True, more=[*_populations(evaluation), *_classifier(evaluation)]
        )
    )


def main_scores(scores: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the summary."""
    keys, chosen = list(scores), []
    for group, wanted in MAIN:
        names = [name for g, name in keys if g == group]
        names = names[:1] if wanted == "first" else [n for n in names if wanted in ("", n)]
        chosen += [(group, name) for name in names]
    return chosen


def _populations(evaluation: Evaluation) -> list[list[str]]:
    """The conformational space as a row of the summary."""
    space = evaluation.conformations
    if space is None:
        return []
    found = [(space.divergence[label], *space.floor[label]) for label in evaluation.scores]
    cells = [population_cell(*values) for values in found]
    return [["populations of conformations <small>Jensen-Shannon divergence</small>", *cells]]


def _classifier(evaluation: Evaluation) -> list[list[str]]:
    """The classifier's test as rows of the summary."""
    tested = evaluation.two_samples
    if tested is None or not tested.told:
        return []
    floor = tested.floor
    beside = "" if floor is None else f" <small>({floor.auc:.3f} &plusmn; {floor.error:.2g})</small>"
    cells, by = [], []
    for told in (tested.told.get(label) for label in evaluation.scores):
        if told is None:
            cells.append("too few frames")
            by.append("")
            continue
        off = " class=off" if is_told_apart(told, floor) else ""
        cells.append(f"<td{off}>{told.auc:.3f} &plusmn; {told.error:.2g}{beside}</td>")
        by.append(", ".join(f"{name} {value:.3f}" for name, value in told_apart_by(told)))
    return [
        ["classifier <small>AUC: 0.5 cannot tell, 1 tells each atom</small>", *cells],
        ["told apart by <small>AUC lost without</small>", *by],
    ]


def _equilibrium(evaluation: Evaluation) -> str:
    """Energies by term beside those of the reference."""
    found = evaluation.differences
    if not found:
        return ""
    first = next(iter(found.values()))
    rows = [[f"<b>{escape(name)}</b>" if name in SUMS else escape(name)] for name in first.names]
    head = ["kT per atom"]
    for label, energies in found.items():
        head += [escape(label), REFERENCE, "difference"]
        for row, one, other, cell in zip(
            rows, energies.first, energies.second, _difference_cells(energies), strict=True
        ):
            row += [f"{one:.4f}", f"{other:.4f}", cell]
    return (
        "<h2>Energies by term</h2><p>Candidate less reference, kT per atom &plusmn; standard error over "
        f"frames. At equilibrium all are 0 within their errors. Red: more than {BEYOND:g} and more than two "
        "errors (a little more where there are few frames). Bonds of fixed length are left out.</p>"
        + table(head, rows)
    )


def _difference_cells(energies: EnergyDifference) -> list[str]:
    cells = []
    for value, error, off in zip(energies.difference, energies.error, energies.beyond(BEYOND), strict=True):
        scatter = f" &plusmn; {error:.4f}" if math.isfinite(error) else ""
        cells.append(f"<td{' class=off' if off else ''}>{value:+.4f}{scatter}</td>")
    return cells


def population_cell(divergence: float, floor: float, most: float) -> str:
    """A divergence of populations as a cell: floor, and the most that is compatible with it."""
    off = " class=off" if divergence > most else ""
    return f"<td{off}>{divergence:.3g} <small>({floor:.2g})</small></td>"


def score_table(
    evaluation: Evaluation,
    keys: Sequence[tuple[str, str]],
    *,
    metric: bool,
    more: Sequence[Sequence[str]] = (),
) -> str:
    """Scores of all candidates: a row for each group and name, with ``metric`` what it is; then ``more``."""
    labels = list(evaluation.scores)
    rows = []
    for group, name in keys:
        first = f"{group}, {name}" if metric else name
        what = f" <small>{METRICS[group]}</small>" if metric else ""
        cells = [score_cell(evaluation.scores[label][group, name]) for label in labels]
        rows.append([escape(first) + what, *cells])
    return table(["", *map(escape, labels)], [*rows, *more])


def score_cell(score: Score) -> str:
    """A score as a cell of a table."""
    scatter = round(score.error, 9)  # what is below is rounding
    error = f" &plusmn; {scatter:.2g}" if math.isfinite(scatter) else ""
    floor = f" <small>({score.floor:.2g})</small>" if math.isfinite(score.floor) else ""
    return f"<td{' class=off' if is_off(score) else ''}>{score.value:.3g}{error}{floor}</td>"


def _expected(evaluation: Evaluation) -> str:
    """Without a reference: means and spreads beside those of the terms alone."""
    shown = evaluation.everything
    if evaluation.reference is not None or not shown:
        return ""
    tables = [term_table(evaluation, t) for t in shown]
    rows = [
        _expected_row(part, name, [found[part][name] for found in tables])
        for part, name in evaluation.expected
    ]
    return (
        "<h2>Beside what the force field's terms make</h2>"
        "<p>Mean and standard deviation, and the Jensen-Shannon divergence from the Boltzmann distribution "
        "of each term alone. Neighbouring terms, rings and surroundings shift and narrow that, and "
        "dihedrals depend on them most: this tells broken geometry from sound, not good from perfect. Red "
        f"where a mean is off by more than {SHIFTED['bond']:g} (bonds) or {SHIFTED['angle']:g} (angles) "
        "widths of its term, or a width more than half as large again. "
        f"Bonds: constraints = {evaluation.conditions.constraints}.</p>"
        + table(["", TERM_ALONE, *(escape(t.label) for t in shown)], rows)
    )


def _expected_row(part: str, name: str, found: Sequence[Mapping[str, float]]) -> list[str]:
    """A class: what its terms make, and each trajectory."""

    def text(mean: float, spread: float) -> str:
        digits = 4 if part == "bond" else 1
        return f"{mean:.{digits}f} &plusmn; {spread:.{digits}f}"

    cells = [f"<small>divergence {c['divergence']:.3g}</small>" for c in found]
    wanted = ""
    if part != "dihedral":
        off = [" class=off" if is_strange(c, part) else "" for c in found]
        values = [text(c["mean"], c["spread"]) for c in found]
        cells = [f"<td{o}>{v} {c}</td>" for o, v, c in zip(off, values, cells, strict=True)]
        wanted = text(found[0]["expected mean"], found[0]["expected spread"])
    return [f"{part} {escape(name)}", wanted, *cells]


def _figure(evaluation: Evaluation, name: str, drawn: str, plots: Sequence[Panel]) -> str:
    links = ", ".join(f'<a href="data/{p.name}.csv">{escape(p.title)}</a>' for p in plots if p.figure == name)
    own = [p for p in plots if p.figure == name]
    how = HOW.get(own[0].form, "")
    if own[0].form == "line" and REFERENCE in own[0].columns:
        how += " Wide and grey: the reference."
    scores = conformation_table(evaluation) if name == "populations" else ""
    keys = [key for key in next(iter(evaluation.scores.values()), {}) if key[0].split(",")[0] == name]
    if keys:
        inner = score_table(evaluation, keys, metric=len({g for g, _ in keys}) > 1)
        scores = f"<details><summary>scores: {METRICS[keys[0][0]]}</summary>{inner}</details>"
    caption = f"<figcaption>{CAPTIONS[name]}{how} Data: {links}.</figcaption>"
    return f"<h2>{TITLES[name]}</h2><figure>{drawn}{caption}</figure>{scores}"


def conformation_table(evaluation: Evaluation) -> str:
    """Divergence of the populations, also with other choices of the method."""
    space = evaluation.conformations
    if space is None:
        return ""

    labels = list(space.divergence)
    rows = [
        [
            "as shown",
            f"{len(space.centres)}",
            "1",
            *(population_cell(space.divergence[x], *space.floor[x]) for x in labels),
        ]
    ]
    rows += [
        [
            escape(c.name),
            f"{c.clusters}",
            f"{c.agreement:.2f}",
            *(population_cell(c.divergence[x], *c.floor) for x in labels),
        ]
        for c in space.robustness
    ]
    outside = [f"{100 * space.outside[x]:.1f} %" for x in labels]
    rows.append(["monomers unlike any of the reference <small>(reference 1 %)</small>", "", "", *outside])
    head = ["", "clusters", "<small>agreement of labels</small>", *map(escape, labels)]
    return (
        "<p>Jensen-Shannon divergence of the populations from those of the reference, in brackets the floor "
        "(red: above its 95th percentile), and whether it hangs on the map, the landmarks or the number of "
        "clusters:</p>" + table(head, rows)
    )


def worst_of_each(places: Sequence[Place]) -> list[Place]:
    """The first place of each rule of each candidate."""
    found: dict[tuple[str, str], Place] = {}
    for place in places:
        found.setdefault((place.label, place.fault.rule), place)
    return list(found.values())


def worst_places(places: Sequence[Place], pictures: str) -> str:
    """The section on the worst places: still pictures for paper, and a view to turn."""
    if not places:
        return ""
    shown = "; ".join(escape(f"{p.label}: {p.words}") for p in worst_of_each(places))
    rows = [
        [
            escape(p.label),
            f"{p.time:g}",
            f"<td class=text>{escape(p.words)}</td>",
            f'<a href="worst/{p.file}">{p.file}</a>',
        ]
        for p in places
    ]
    return (
        "<h2>The worst places</h2><p>Molecules as small files in <code>worst/</code>; "
        "<code>vmd -e look.tcl</code> or <code>pymol look.pml</code> there show them.</p>"
        f"{viewer([scene_of(place) for place in places])}{scripts()}"
        f"<figure>{pictures}<figcaption>The worst of each kind. {shown}.</figcaption></figure>"
        + table(["", "ps", "what", "file"], rows)
    )


def method(evaluation: Evaluation) -> str:
    """How it was measured, as a list."""
    conditions, (rest, part) = evaluation.conditions, evaluation.floor
    lines = [
        f"Lennard-Jones within {conditions.rvdw:g} nm, cut off, not shifted; electrostatics as a "
        f"{'zero-quadrupole form' if conditions.epsilon_rf is None else 'reaction field'} within "
        f"{conditions.rcoulomb:g} nm. Molecules are made whole first.",
        f"Errors are standard deviations when frames are drawn anew, {RESAMPLES} times; bands in the figures "
        "are standard errors over frames.",
    ]
    if part:
        lines.append(
            f"The floor is the mean over {SPLITS} ways to compare {rest} frames of the reference with "
            f"{part} others."
        )
    if evaluation.two_samples is not None and evaluation.two_samples.told:
        lines.append(
            "The classifier: gradient-boosted trees on environments of at most "
            f"{evaluation.two_samples.atoms} heavy atoms a frame; frames that it judges are not among those "
            "that it learns from. Its floor is the mean over halves of the reference, and the error of the "
            "floor is what single halves scatter by."
        )
    space = evaluation.conformations
    if space is not None:
        lines += list(space.notes)
    lines.append(PAPER)
    lines += [*evaluation.notes, f"dbm-gmx {__version__}; the numbers are in scores.json."]
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"

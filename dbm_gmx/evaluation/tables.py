"""The result as numbers: scores as plain types, and the data of every plot as columns."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbm_gmx import __version__
from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.rules import IN_FRAMES
from dbm_gmx.evaluation.compare import BEYOND, METRICS, REFERENCE, Score, energy_range
from dbm_gmx.evaluation.distributions import RANGES, UNITS, TermClass, edges, histogram, jensen_shannon
from dbm_gmx.evaluation.evaluation import Evaluation, Trajectory
from dbm_gmx.evaluation.pairs import centres, pair_names
from dbm_gmx.forcefield.equilibrium import EnergyDifference
from dbm_gmx.options import RULES

if TYPE_CHECKING:
    from dbm_gmx.evaluation.classifier import Told
    from dbm_gmx.evaluation.conformations import Conformations

PAIR_PANELS = 15
"""Pairs of classes of which g(r) is shown."""

MAP_AXES = ("first direction of the map", "second direction")
"""What the axes of the map are; distances on it have no unit."""

TERM_ALONE = "term alone"
"""Column with the Boltzmann distribution of a term."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A plot and its data.

    Attributes
    ----------
    figure
        The figure it is part of.
    name
        Of its CSV file.
    title, x, y
        Labels.
    form
        ``line`` (curves over the first column), ``points`` (the same, a mark for each row), ``bars``,
        ``scatter`` (x, y and cluster of each point) or ``matrix``.
    columns
        By name.  Besides the curves, ``LABEL error`` holds standard errors.
    """

    figure: str
    name: str
    title: str
    x: str
    y: str
    form: str
    columns: Mapping[str, Sequence[Any] | FloatArray]

    def csv(self) -> str:
        """The data as comma separated values."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(zip(*(map(_cell, column) for column in self.columns.values()), strict=True))
        return out.getvalue()


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


# --- plots -------------------------------------------------------------------------------------------


def panels(evaluation: Evaluation) -> list[Panel]:
    """All plots there are, in the order of the report."""
    found = [*_terms(evaluation), *_lennard_jones(evaluation), *_energies(evaluation), *_pairs(evaluation)]
    found += [*_shapes(evaluation), *_deviations(evaluation), *_classifier(evaluation)]
    found += _conformations(evaluation)
    taken: set[str] = set()
    return [replace(panel, name=_free(slug(panel.name), taken)) for panel in found]


def slug(text: str) -> str:
    """A text as part of a file name."""
    return re.sub(r"[^\w.+-]+", "_", text)


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken yet: atom types may differ by what no file name can hold."""
    free = next(n for n in chain([name], (f"{name}_{k}" for k in count(2))) if n not in taken)
    taken.add(free)
    return free


def _curves(trajectories: Sequence[Trajectory], frames: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Mean over the frames (frames, k) of each trajectory, with standard errors."""
    columns = {}
    for t in trajectories:
        rows = frames[t.label]
        columns[t.label] = rows.mean(axis=0)
        if len(rows) > 1:
            columns[f"{t.label} error"] = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
    return columns


def _density(counts: FloatArray, width: float) -> FloatArray:
    """(frames, bins) densities of histograms (frames, bins), weighed so that their mean is that of all."""
    return np.asarray(counts * len(counts) / (counts.sum() * width))


def _terms(evaluation: Evaluation) -> Iterator[Panel]:
    shown = evaluation.everything
    if not shown:
        return
    for key in shown[0].measured[0].terms:
        part, name = key
        grid = edges(part)
        width = float(grid[1] - grid[0])
        middle = (grid[1:] + grid[:-1]) / 2
        curves = _curves(
            shown, {t.label: _density(np.array([m.terms[key] for m in t.measured]), width) for t in shown}
        )
        if evaluation.reference is None:
            curves[TERM_ALONE] = evaluation.expected[key].weights / width
        unit = f"{part} ({UNITS[part]})"
        yield Panel(part, f"{part}_{name}", name, unit, "density", "line", {unit: middle} | curves)


def _lennard_jones(evaluation: Evaluation) -> Iterator[Panel]:
    shown = evaluation.everything
    if not shown:
        return
    for name in shown[0].measured[0].lennard_jones:
        values = {t.label: np.array([m.lennard_jones[name] for m in t.measured]) for t in shown}
        title = "all atoms" if name == "all" else f"pairs of {name} atoms"
        bins = energy_range(values[shown[0].label].ravel())
        yield _distribution(
            shown, values, bins, "Lennard-Jones", f"lj_{name}", title, "energy of a molecule (kJ/mol)"
        )


def _distribution(
    shown: Sequence[Trajectory],
    values: Mapping[str, FloatArray],
    bins: tuple[float, float, int],
    *names: str,
) -> Panel:
    """A panel of histograms of values (frames, k)."""
    figure, name, title, x = names
    low, high, count = bins
    grid = np.linspace(low, high, count + 1)
    counts = {label: np.array([histogram(row, *bins) for row in rows]) for label, rows in values.items()}
    width = float(grid[1] - grid[0])
    curves = _curves(shown, {label: _density(c, width) for label, c in counts.items()})
    return Panel(figure, name, title, x, "density", "line", {x: (grid[1:] + grid[:-1]) / 2} | curves)


def _energies(evaluation: Evaluation) -> Iterator[Panel]:
    shown = evaluation.everything
    if not shown:
        return
    for name in ("Potential", *(n for n in shown[0].measured[0].energies if n != "Potential")):
        times = sorted({m.time for t in shown for m in t.measured})
        columns: dict[str, Any] = {"time (ps)": np.array(times)}
        for t in shown:
            found = {m.time: m.energies[name] / len(m.radius) for m in t.measured}
            columns[t.label] = np.array([found.get(time, np.nan) for time in times])
        slug = "".join(c if c.isalnum() else "_" for c in name).strip("_")
        yield Panel("energy", f"energy_{slug}", name, "time (ps)", "kJ/mol per molecule", "points", columns)


def _pairs(evaluation: Evaluation) -> Iterator[Panel]:
    shown = evaluation.everything
    if not shown:
        return
    first = True
    for name in pair_names(evaluation.system.topology, PAIR_PANELS):
        curves = _curves(shown, {t.label: np.array([m.pairs[name] for m in t.measured]) for t in shown})
        title = f"{name} atoms" if first else name
        first = False
        yield Panel("g(r)", f"gr_{name}", title, "r (nm)", "g(r)", "line", {"r (nm)": centres()} | curves)


def _shapes(evaluation: Evaluation) -> Iterator[Panel]:
    shown = evaluation.everything
    for name, x in (("radius", "radius of gyration (nm)"), ("ends", "end-to-end distance (nm)")):
        values = {t.label: np.array([getattr(m, name) for m in t.measured]) for t in shown}
        if not values:
            return
        everything = np.concatenate([v.ravel() for v in values.values()])
        low, high = float(everything.min()), float(everything.max())
        margin = 0.05 * max(high - low, 0.01)
        bins = (low - margin, high + margin, 30)
        yield _distribution(shown, values, bins, "shape", f"shape_{name}", x, x)


def _deviations(evaluation: Evaluation) -> Iterator[Panel]:
    shown = [c for c in evaluation.candidates if c.measured and all(len(m.deviation) for m in c.measured)]
    if not shown:
        return
    values = {t.label: np.array([m.deviation for m in t.measured]) for t in shown}
    most = max(float(np.percentile(v, 99.9)) for v in values.values())
    x = "distance from the bead (nm)"
    yield _distribution(
        shown, values, (0.0, max(1.2 * most, 1e-3), 60), "deviation", "deviation", "mapped atoms", x
    )


def _classifier(evaluation: Evaluation) -> Iterator[Panel]:
    tested = evaluation.two_samples
    if tested is None or not tested.told:
        return
    curves = {label: told.curve for label, told in tested.told.items()}
    if tested.floor is not None:
        curves = {REFERENCE: tested.floor.curve} | curves
    x, y = "taken for the candidate, of the reference", "of the candidate"
    grid = np.linspace(0, 1, len(next(iter(curves.values()))))
    yield Panel("classifier", "classifier", "heavy atoms", x, y, "line", {x: grid} | curves)


def _conformations(evaluation: Evaluation) -> Iterator[Panel]:
    found = evaluation.conformations
    if found is None:
        return
    for label, points in found.places.items():
        columns: dict[str, Any] = {"x": points[:, 0], "y": points[:, 1], "cluster": found.labels[label] + 1}
        yield Panel("map", f"map_{label}", label, *MAP_AXES, "scatter", columns)
    for label, matrix in found.confusion.items():
        if matrix is None:
            continue
        k = len(matrix)
        columns = {"cluster of the reference": list(range(1, k + 1))}
        columns |= {str(j + 1): matrix[:, j] for j in range(k)}
        names = ("cluster of the candidate", "cluster of the reference")
        yield Panel("confusion", f"confusion_{label}", label, *names, "matrix", columns)
    k = len(found.centres)
    columns = {"cluster": list(range(1, k + 1))}
    for label, population in found.populations.items():
        columns |= {label: population, f"{label} error": found.errors[label]}
    yield Panel("populations", "populations", "clusters", "cluster", "population", "bars", columns)


# --- scores ------------------------------------------------------------------------------------------


def plain_scores(evaluation: Evaluation) -> dict[str, Any]:
    """All scores in plain types, as they go to ``scores.json``."""
    reference = evaluation.reference
    return {
        "dbm_gmx": __version__,
        "topology": Path(evaluation.system.topology.path or "").name,
        "temperature": evaluation.conditions.temperature,
        "reference": None
        if reference is None
        else {"file": reference.path.name, "frames": len(reference.frames)},
        "floor": {"frames": list(evaluation.floor)},
        "metrics": METRICS,
        "candidates": {c.label: _candidate(evaluation, c) for c in evaluation.candidates},
        "notes": list(evaluation.notes),
        "broken": {label: list(rules) for label, rules in evaluation.broken.items()},
    }


def _candidate(evaluation: Evaluation, candidate: Trajectory) -> dict[str, Any]:
    scores: dict[str, dict[str, Any]] = {}
    for (group, name), score in evaluation.scores.get(candidate.label, {}).items():
        values = {"value": score.value, "error": score.error, "floor": score.floor}
        scores.setdefault(group, {})[name] = {key: number(v) for key, v in values.items()}
    found: dict[str, Any] = {
        "file": candidate.path.name,
        "frames": len(candidate.frames),
        "scores": scores,
        "terms": term_table(evaluation, candidate),
        "rules": {rule: list(counts) for rule, counts in candidate.verdict.counts.items()},
        "worst": {
            rule: {"value": number(kept.worst), "limit": kept.limit, "frames broken": kept.broken}
            for rule, kept in candidate.verdict.judgement.kept.items()
        },
    }
    if candidate.verdict.differing:
        found["differing"] = candidate.verdict.differing
    apart, dyads = deviations(candidate), racemo_dyads(candidate)
    if len(apart):
        found["beads"] = {"rms": root_mean_square(apart), "largest": float(apart.max())}
    if len(dyads):
        found["racemo dyads"] = float(dyads.mean())
    if candidate.label in evaluation.differences:
        found["equilibrium"] = equilibrium_scores(evaluation.differences[candidate.label])
    if evaluation.two_samples is not None and candidate.label in evaluation.two_samples.told:
        found["classifier"] = classifier_scores(evaluation, candidate.label)
    space = evaluation.conformations
    if space is not None and candidate.label in space.divergence:
        found["conformations"] = _conformation_scores(space, candidate.label)
    return found


def deviations(trajectory: Trajectory) -> FloatArray:
    """(k,) nm, distances of all mapped atoms from their beads."""
    return np.concatenate([np.zeros(0), *(m.deviation for m in trajectory.measured)])


def root_mean_square(values: FloatArray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def racemo_dyads(trajectory: Trajectory) -> FloatArray:
    """(k,) 1 for every racemo dyad of all frames, 0 for every meso one."""
    return np.concatenate([np.zeros(0), *(m.racemo for m in trajectory.measured)])


def equilibrium_scores(energies: EnergyDifference) -> dict[str, dict[str, Any]]:
    """Energies by term, kT per atom, and whether each is off: by more than chance and :data:`BEYOND`."""
    columns = (energies.first, energies.second, energies.difference, energies.error)
    keys = ("candidate", "reference", "difference", "error")
    return {
        name: {key: number(float(column[k])) for key, column in zip(keys, columns, strict=True)}
        | {"off": bool(energies.beyond(BEYOND)[k])}
        for k, name in enumerate(energies.names)
    }


def classifier_scores(evaluation: Evaluation, label: str) -> dict[str, Any]:
    """How well a classifier tells a candidate from the reference, and by what."""
    tested = evaluation.two_samples
    assert tested is not None
    told, floor = tested.told[label], tested.floor
    found: dict[str, Any] = {"auc": number(told.auc), "error": number(told.error)}
    found["floor"] = None if floor is None else _told_numbers(floor)
    found["frames"] = {"reference": told.frames[0], "candidate": told.frames[1]}
    found["importance"] = {
        name: {"value": number(value), "error": number(told.importance_error[name])}
        for name, value in told.importance.items()
    }
    return found


def _told_numbers(floor: Told) -> dict[str, Any]:
    return {"auc": number(floor.auc), "error": number(floor.error), "frames": list(floor.frames)}


def told_apart_by(told: Told) -> list[tuple[str, float]]:
    """Groups of numbers that tell most, the first ones first; those that may be chance are left out."""
    by = [(name, value) for name, value in told.importance.items() if value > 2 * told.importance_error[name]]
    return sorted(by, key=lambda one: -one[1])


def is_told_apart(told: Told, floor: Told | None) -> bool:
    """Whether a candidate is told from the reference by more than chance."""
    return told.auc - max(0.5, 0.5 if floor is None else floor.auc) > 2 * told.error


def is_off(score: Score) -> bool:
    """Whether a score is above its floor by more than two errors."""
    scatter = round(score.error, 9)  # what is below is rounding
    # of a single frame nothing says the error: then the floor must be exceeded twice
    return abs(score.value) > score.floor + (2 * scatter if math.isfinite(scatter) else score.floor)


SLACK = {"bond": 0.002, "angle": 2.0, "improper": 2.0}
"""What a mean or a width may be off in any case, nm or degrees."""

SHIFTED = {"bond": 2.0, "angle": 3.0, "improper": 3.0}
"""Widths of its term that a mean may be off: neighbours shift sound bonds by up to 1.2, angles by up to 2.7
(dynamics of 22 systems; C-O-C of an aromatic carbonate)."""


def is_strange(found: Mapping[str, float], part: str) -> bool:
    """Whether a class (of :func:`term_table`) is not what its terms can explain."""
    slack, wanted = SLACK[part], found["expected spread"]
    off = abs(found["mean"] - found["expected mean"])
    return off > max(SHIFTED[part] * wanted, slack) or found["spread"] > 1.5 * wanted + slack


def strange_classes(evaluation: Evaluation, trajectory: Trajectory) -> list[str]:
    """Bonds and angles that the terms do not explain, by part and name; fixed bonds have no term."""
    table = term_table(evaluation, trajectory)
    return [
        f"{part} {name}"
        for part in ("bond", "angle")
        for name, found in table.get(part, {}).items()
        if found["expected spread"] and is_strange(found, part)
    ]


def _conformation_scores(space: Conformations, label: str) -> dict[str, Any]:
    """What there is to say about the conformational space of a candidate."""
    confusion = space.confusion[label]
    mean, most = space.floor[label]
    return {
        "divergence": number(space.divergence[label]),
        "floor": {"mean": number(mean), "95th percentile": number(most)},
        "outside": number(space.outside[label]),
        "populations": _numbers(space.populations[label]),
        "errors": _numbers(space.errors[label]),
        "reference": _numbers(space.populations[REFERENCE]),
        "shifts": _numbers(space.shifts[label]),
        "shift errors": _numbers(space.shift_errors[label]),
        "confusion": None if confusion is None else [_numbers(row) for row in confusion],
        "other choices": {
            choice.name: {
                "clusters": choice.clusters,
                "agreement": number(choice.agreement),
                "divergence": number(choice.divergence[label]),
                "floor": number(choice.floor[0]),
            }
            for choice in space.robustness
        },
    }


def _numbers(values: FloatArray) -> list[float | None]:
    return [number(float(v)) for v in values]


def number(value: float) -> float | None:
    """A number for JSON, which knows none that is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def term_table(evaluation: Evaluation, trajectory: Trajectory) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean and spread of each class beside what the terms alone would make, and the divergence from that."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for key, expected in evaluation.expected.items():
        if not trajectory.measured:
            continue
        counts = np.sum([m.terms[key] for m in trajectory.measured], axis=0)
        row = {"divergence": float(jensen_shannon(counts, expected.weights))}
        if key[0] != "dihedral":
            mean, spread = moments(trajectory, key)
            row |= {"mean": mean, "spread": spread}
            if key[0] == "improper":
                of_terms = expected.of_well("improper", mean, spread)
            else:
                of_terms = expected.mean, expected.spread
            row |= {"expected mean": of_terms[0], "expected spread": of_terms[1]}
        table.setdefault(key[0], {})[key[1]] = {name: number(v) for name, v in row.items()}
    return table


def moments(trajectory: Trajectory, key: TermClass) -> tuple[float, float]:
    """Mean and standard deviation of a class (nm, degrees)."""
    n, first, second = np.sum([m.moments[key] for m in trajectory.measured], axis=0)
    return first / n, float(np.sqrt(max(second / n - (first / n) ** 2, 0.0)))


def rule_rows(evaluation: Evaluation) -> list[tuple[str, dict[str, tuple[int, ...]]]]:
    """Each rule in words with the counts of all trajectories; none of one whose beads were not compared."""
    shown = evaluation.everything
    beads = [t.label for t in shown if len(deviations(t))]
    return [
        (
            RULES[rule].words,
            {t.label: t.verdict.counts[rule] if rule != "beads" or t.label in beads else () for t in shown},
        )
        for rule in IN_FRAMES
        if rule != "beads" or beads
    ]


PARTS = tuple(RANGES)
"""The parts of the force field that distributions are of."""

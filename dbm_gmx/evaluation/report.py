"""The report: a folder with the page, its numbers as JSON, the data of its plots as CSV, the worst places."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.advice import advice
from dbm_gmx.evaluation.compare import BEYOND
from dbm_gmx.evaluation.evaluation import Evaluation
from dbm_gmx.evaluation.page import main_scores, page, worst_of_each, worst_places
from dbm_gmx.evaluation.tables import panels, plain_scores, told_apart_by
from dbm_gmx.evaluation.worst import write_worst
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import MARK, backup, own_folder, part_name, remove_own
from dbm_gmx.options import ADJUSTABLE


def write_report(evaluation: Evaluation, folder: Path, made: Mapping[str, Any] | None = None) -> Path:
    """Write the page, ``scores.json``, ``data/`` and ``worst/``; an older report is backed up.

    Parameters
    ----------
    made
        How the scores were made, for ``scores.json`` and the head of the page.

    Returns
    -------
    The page.

    Raises
    ------
    InputError
        If matplotlib is missing, or the folder holds something that is no report.
    """
    check_folder(folder)
    folder = folder if folder.name else folder.resolve()
    with locked(folder):
        return _write(evaluation, folder, made)


def _write(evaluation: Evaluation, folder: Path, made: Mapping[str, Any] | None) -> Path:
    from dbm_gmx.evaluation.figures import colours_of, draw_figures, draw_places

    part = part_name(folder)
    remove_own(part)  # a process that was killed has left it
    own_folder(part)
    try:
        (part / "data").mkdir()
        plots = panels(evaluation)
        for panel in plots:
            _write_text(part / "data" / f"{panel.name}.csv", panel.csv())
        places = write_worst(evaluation, part / "worst")
        figures = draw_figures(plots, colours_of([c.label for c in evaluation.candidates]))
        (part / "scores.json").write_text(scores_text(evaluation, made))
        pictures = draw_places(chosen) if (chosen := worst_of_each(places)) else ""
        text = page(evaluation, plots, figures, worst_places(places, pictures), made)
        _write_text(part / "index.html", text)
        backup(folder)
        part.rename(folder)
        (folder / MARK).unlink()  # it is the user's now
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=folder) from error
    finally:
        remove_own(part)
    return folder / "index.html"


def _write_text(path: Path, text: str) -> None:
    """Write a text, in which names of files may be any bytes."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot become a report, before any work.

    Raises
    ------
    InputError
        See :func:`write_report`.
    """
    if find_spec("matplotlib") is None:
        raise InputError("a report needs matplotlib: pip install 'dbm-gmx[report]'; or --json alone")
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / "scores.json").exists()
    ):
        raise InputError("holds something else than a report; give another folder (-o)", path=folder)


def scores_text(evaluation: Evaluation, made: Mapping[str, Any] | None = None) -> str:
    """All scores as JSON, with how they were made where that is given."""
    found = plain_scores(evaluation) | ({} if made is None else {"provenance": made})
    for candidate in evaluation.candidates:
        said = advice(evaluation, candidate)
        found["candidates"][candidate.label] |= {"use": said.use, "why": list(said.why)}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def summary(evaluation: Evaluation, index: Path | None) -> str:
    """Say the main things in a few lines, for the end of a run."""
    lines, space = [], evaluation.conformations
    if evaluation.scores:
        lines.append("value +- error (floor: the same between parts of the reference, which chance makes)")
    for candidate in evaluation.candidates:
        counts = {rule: sum(c) for rule, c in candidate.verdict.counts.items()}
        said = ", ".join(f"{n} {rule}" for rule, n in counts.items() if n) or candidate.verdict.differing
        verdict, judged = candidate.verdict, candidate.verdict.judgement
        hold = "" if verdict.differing else f"; rules: {judged.line(verdict.limits.allowed)}"
        lines.append(f"{candidate.label:14} {len(candidate.frames)} frames, {said or 'no faults'}{hold}")
        found = advice(evaluation, candidate)
        lines.append(f"  {found.use.upper()}: {' '.join(found.why)}".rstrip())
        worst = [f"{rule} {judged.worst(rule)}" for rule in ADJUSTABLE if rule in judged.kept]
        lines += [f"  worst        {', '.join(worst)}"] if worst else []
        scores = evaluation.scores.get(candidate.label, {})
        for group, name in main_scores(scores):
            score = scores[group, name]
            lines.append(
                f"  {group + ' ' + name:28} {score.value:9.4f}{_error(score.error)} ({score.floor:.4f})"
            )
        if space is not None and candidate.label in space.divergence:
            value, (floor, _) = space.divergence[candidate.label], space.floor[candidate.label]
            lines.append(f"  {'populations of conformations':28} {value:9.4f} ({floor:.4f})")
        lines += _equilibrium_lines(evaluation, candidate.label)
        lines += _classifier_lines(evaluation, candidate.label)
    lines += [f"note: {note}" for note in evaluation.notes]
    return "\n".join([*lines, *([f"report         {index}"] if index else [])])


def _error(value: float) -> str:
    """An error; a single frame has none."""
    return "" if math.isnan(value) else f" +- {value:.4f}"


def _equilibrium_lines(evaluation: Evaluation, label: str) -> list[str]:
    """Energies by term, less those of the reference."""
    energies = evaluation.differences.get(label)
    if energies is None:
        return []
    rows = zip(energies.names, energies.difference, energies.error, energies.beyond(BEYOND), strict=True)
    return [
        "  energies less the reference's, kT per atom",
        *(
            f"    {name:26} {value:+9.4f}{_error(error)}{'  OFF' if off else ''}"
            for name, value, error, off in rows
        ),
    ]


def _classifier_lines(evaluation: Evaluation, label: str) -> list[str]:
    """How well a classifier tells a candidate from the reference, and by what."""
    tested = evaluation.two_samples
    if tested is None or label not in tested.told:
        return []
    told, floor = tested.told[label], tested.floor
    beside = "" if floor is None else f" ({floor.auc:.4f} +- {floor.error:.4f})"
    by = ", ".join(f"{name} {value:.3f}" for name, value in told_apart_by(told))
    return [
        f"  {'classifier, AUC':28} {told.auc:9.4f} +- {told.error:.4f}{beside}",
        *([f"    told apart by {by}"] if by else []),
    ]

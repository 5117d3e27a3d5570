"""The head of the page: what was compared, when and how, what the atoms are good for, and the contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from dbm_gmx.evaluation.advice import MEANING, RELAX, SAFE, WRONG, advice
from dbm_gmx.evaluation.compare import SPLITS
from dbm_gmx.evaluation.evaluation import Evaluation, Trajectory
from dbm_gmx.evaluation.tables import slug
from dbm_gmx.files.provenance import library_versions

CLASSES = {SAFE: "safe", RELAX: "relax", WRONG: "wrong"}
"""Classes of the style sheet."""


def facts(evaluation: Evaluation, made: Mapping[str, Any]) -> str:
    """When, how and of which files the page was made, ``made`` being its provenance: HTML."""
    run, settings = made.get("run", {}), made.get("settings", {})
    date = run.get("end") or datetime.now(UTC).isoformat(timespec="seconds")
    versions = made.get("versions") or library_versions()
    rows = [("Date", escape(date.replace("T", " ").replace("+00:00", " UTC")))]
    if "command_line" in made:
        rows += [("Command", f"<code>{escape(made['command_line'])}</code>")]
        rows += [("Folder", f"<code>{escape(made['folder'])}</code>")]
    rows += [("Topology", _path(Path(evaluation.system.topology.path or "")))]
    rows += [(escape(c.label), _file(c)) for c in evaluation.candidates]
    reference = evaluation.reference
    rows += [("Reference", _file(reference) if reference else "none: atoms are judged by themselves")]
    seed = f"; seed {settings['seed']}" if "seed" in settings else ""
    rows += [("Conditions", escape(f"{evaluation.conditions.thermostat}{seed}"))]
    rows += [("Versions", escape(", ".join(f"{name} {version}" for name, version in versions.items())))]
    return f'<dl class="facts">{"".join(f"<dt>{name}</dt><dd>{said}</dd>" for name, said in rows)}</dl>'


def _path(path: Path) -> str:
    return f"<code>{escape(str(path.resolve()))}</code>"


def _file(trajectory: Trajectory) -> str:
    frames = trajectory.frames
    if not frames:
        return f"{_path(trajectory.path)}, no frame was taken"
    first, last = frames[0].time, frames[-1].time
    times = f"{first:g} ps" if len(frames) == 1 else f"{first:g} to {last:g} ps"
    return f"{_path(trajectory.path)}, {len(frames)} frame{'s' if len(frames) > 1 else ''} ({times})"


def verdicts(evaluation: Evaluation) -> str:
    """What each candidate is good for: HTML."""
    boxes = []
    for candidate in evaluation.candidates:
        found = advice(evaluation, candidate)
        why = " ".join(map(escape, found.why))
        boxes.append(
            f'<p class="verdict {CLASSES[found.use]}"><b>{escape(candidate.label)}: {found.use}.</b> '
            f"{why}</p>"
        )
    return "".join(boxes)


def meaning() -> str:
    """What the words and colours mean: HTML."""
    words = "".join(
        f'<tr><td><span class="word {CLASSES[use]}">{use}</span></td><td>{escape(said)}</td></tr>'
        for use, said in MEANING.items()
    )
    return (
        "<h2>What the words and colours mean</h2>"
        f'<table class="words"><tbody>{words}</tbody></table>'
        "<p>In the tables below a <b class=off>red</b> number is off: a rule is broken, or a score is worse "
        "than its floor by more than two errors. A red score does not forbid a simulation. It says that "
        "these atoms are no sample of the reference: do not take averages from them.</p>"
    )


def floor_words(evaluation: Evaluation) -> str:
    """Say what the floor is, where it first appears: HTML."""
    rest, part = evaluation.floor
    if not part:
        return "<p>The reference is a single frame. So there is no floor: nothing says what chance makes.</p>"
    return (
        "<p><b>The floor</b> is the same score between two parts of the reference itself: here "
        f"{rest} of its frames beside {part} others, the mean of {SPLITS} such cuts. Both parts are right: "
        "only chance parts them. A score at its floor cannot be better. It stands in brackets.</p>"
    )


def with_contents(body: str) -> tuple[str, str]:
    """Give the headings (``h2``) of a page names to link to, and list them.

    Returns
    -------
    The page, and the contents: HTML both.
    """
    links, taken = [], set()

    def named(found: re.Match[str]) -> str:
        name = slug(re.sub(r"<[^>]*>|&\w+;", "", found[1])).lower()
        while name in taken:
            name += "_"
        taken.add(name)
        links.append(f'<li><a href="#{name}">{found[1]}</a></li>')
        return f'<h2 id="{name}">{found[1]}</h2>'

    body = re.sub(r"<h2>(.*?)</h2>", named, body)
    return body, f'<nav aria-label="Contents"><b>Contents</b><ol>{"".join(links)}</ol></nav>'

"""The layers of the package: who may import whom."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

import dbm_gmx

PACKAGE = Path(dbm_gmx.__file__).parent
FOLDERS = (
    "top",
    "chemistry",
    "forcefield",
    "files",
    "sampling",
    "network",
    "gromacs",
    "backmapping",
    "evaluation",
    "train",
    "commands",
    "cli",
)
"""Each imports from those before it only."""

STRANGERS = {
    ("network", "sampling"),
    ("evaluation", "network"),
    ("evaluation", "sampling"),
    ("evaluation", "backmapping"),
    ("train", "backmapping"),
}
"""Folders that could know each other by their order, and do not."""

WITHOUT_TENSORS = ("chemistry", "files", "sampling", "gromacs", "commands", "backmapping/forward.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def folder_of(name: str) -> str:
    first = name.split(".")[1:2]
    if first in (["cli"], ["__main__"]):
        return "cli"
    return first[0] if first and first[0] in FOLDERS else "top"


@cache
def imports(path: Path) -> set[str]:
    """Modules a file imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & set(FILES)
            found |= inside or {node.module}
    return found


def arrows() -> set[tuple[str, str]]:
    """Imports between files of the package; its top names what callers use, and loads it when asked."""
    inside = {name: path for name, path in FILES.items() if name != "dbm_gmx"}
    return {(name, other) for name, path in inside.items() for other in imports(path) & set(FILES)}


def test_every_folder_imports_from_those_before_it_only() -> None:
    wrong = []
    for name, other in sorted(arrows()):
        here, there = folder_of(name), folder_of(other)
        if FOLDERS.index(there) > FOLDERS.index(here) or (here, there) in STRANGERS:
            wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_circles() -> None:
    graph = nx.DiGraph((name, other) for name, other in arrows() if name != other)
    assert [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1] == []


@pytest.mark.parametrize("place", WITHOUT_TENSORS)
def test_tensors_are_for_the_network(place: str) -> None:
    within = PACKAGE / place
    paths = [within] if within.is_file() else within.rglob("*.py")
    assert [p.name for p in paths if {m.split(".")[0] for m in imports(p)} & {"torch"}] == []


def test_the_command_line_only_calls_commands() -> None:
    inside = imports(FILES["dbm_gmx.cli"]) & set(FILES)
    others = {name for name in inside if folder_of(name) != "commands"}
    assert others <= {"dbm_gmx", "dbm_gmx.errors", "dbm_gmx.interrupts", "dbm_gmx.logs", "dbm_gmx.options"}


def test_the_network_knows_no_chemistry() -> None:
    assert not {m for m in imports(PACKAGE / "network" / "generator.py") if m.startswith("dbm_gmx")}


def test_the_evaluation_needs_its_extra_for_pictures_conformations_and_the_classifier_only() -> None:
    extra = {"matplotlib", "dscribe", "sklearn", "ase"}
    users = {
        p.stem for p in (PACKAGE / "evaluation").glob("*.py") if extra & {m.split(".")[0] for m in imports(p)}
    }
    assert users == {"figures", "conformations", "classifier"}


def test_training_settings_cost_no_tensors_of_their_own() -> None:
    modules = imports(PACKAGE / "train" / "settings.py")
    assert not {m for m in modules if m.split(".")[0] == "torch"}


def test_every_file_has_its_sentence_in_the_guide() -> None:
    guide = (PACKAGE.parent / "share" / "docs" / "developers.md").read_text()
    missing = [
        path.relative_to(PACKAGE).as_posix()
        for path in FILES.values()
        if path.name != "__init__.py" and f"`{path.stem}`" not in guide
    ]
    assert missing == []

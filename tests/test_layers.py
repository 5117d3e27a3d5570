"""The layers of the package: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

import dbm_gmx
import dbm_gmx.evaluate
import dbm_gmx.train

PACKAGE = Path(dbm_gmx.__file__).parent
CHEMISTRY = ("topology", "mapping", "frame", "plan", "channels", "options", "errors")


def imported(path: Path) -> set[str]:
    """Modules a file imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("name", [*CHEMISTRY, *(f"files/{p.stem}" for p in (PACKAGE / "files").glob("*.py"))])
def test_chemistry_and_files_know_no_tensors(name: str) -> None:
    modules = imported(PACKAGE / f"{name}.py")
    assert not {m for m in modules if m.split(".")[0] == "torch"}
    allowed = {f"dbm_gmx.{m}" for m in CHEMISTRY} | {"dbm_gmx"}
    ours = {m for m in modules if m.startswith("dbm_gmx") and not m.startswith("dbm_gmx.files")}
    assert ours <= allowed


def test_the_network_knows_no_chemistry() -> None:
    assert not {m for m in imported(PACKAGE / "generator.py") if m.startswith("dbm_gmx")}


def test_only_training_knows_training() -> None:
    users = {
        p.relative_to(PACKAGE).as_posix()
        for p in PACKAGE.rglob("*.py")
        if any(m.startswith("dbm_gmx.train.") or m == "dbm_gmx.train" for m in imported(p))
    }
    outside = {name for name in users if not name.startswith("train/")}
    assert outside == {"cli.py"}


def test_only_training_and_the_command_line_know_the_evaluation() -> None:
    users = {
        p.relative_to(PACKAGE).parts[0]
        for p in PACKAGE.rglob("*.py")
        if any(m.startswith("dbm_gmx.evaluate") for m in imported(p))
    }
    assert users == {"cli.py", "evaluate", "train"}


def test_the_evaluation_needs_its_extra_for_pictures_and_conformations_only() -> None:
    extra = {"matplotlib", "dscribe", "sklearn", "ase"}
    users = {
        p.stem for p in (PACKAGE / "evaluate").glob("*.py") if extra & {m.split(".")[0] for m in imported(p)}
    }
    assert users == {"figures", "conformations"}


def test_training_settings_cost_no_tensors_of_their_own() -> None:
    modules = imported(PACKAGE / "train" / "settings.py")
    assert not {m for m in modules if m.split(".")[0] == "torch"}
    assert {m for m in modules if m.startswith("dbm_gmx")} == {
        "dbm_gmx.errors",
        "dbm_gmx.generator",
        "dbm_gmx.grid",
    }


@pytest.mark.parametrize("package", [dbm_gmx.train, dbm_gmx.evaluate])
def test_every_module_of_a_package_is_in_its_overview(package: ModuleType) -> None:
    overview = package.__doc__ or ""
    folder = PACKAGE / package.__name__.split(".")[-1]
    modules = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")}
    listed = {line.split("``")[1] for line in overview.splitlines() if line.startswith("``")}
    assert listed == modules


def test_every_module_is_in_the_overview() -> None:
    overview = dbm_gmx.__doc__ or ""
    modules = [p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("_")]
    missing = [
        m
        for m in modules
        if not any(
            m in line.split("``")[1].split(", ") for line in overview.splitlines() if line.startswith("``")
        )
    ]
    assert missing == ["errors"]

"""README.md and the pages of share/docs: what they show exists, and the paths of first-time users work."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_layers import FILES

import dbm_gmx
from dbm_gmx.cli import build_parser
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.top import read_topology

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "share" / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "share").rglob("*.md")), *sorted((ROOT / ".github").rglob("*.md"))]
SCRIPTS = [*sorted((ROOT / "share").rglob("*.sh"))]

OTHERS = {
    *("--dist", "--keep-going", "--nproc-per-node", "--index-url", "--hypothesis-profile", "--list"),
    *("--jobs", "--frames", "--run", "--seed", "--start", "--whole-ends", "--strict"),  # of recipes, mypy
    *("--held-out", "--single", "--meter", "--check", "--minutes"),  # of recipes/train
    *("--data", "--seeds", "--widen", "--steps"),  # of the same
}
"""Options that pages name, of other programs."""


def parsers(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser of every command, and of every command inside one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inside in action.choices.items():
                yield f"{name} {word}".strip(), inside
                yield from parsers(inside, f"{name} {word}".strip())


COMMANDS = dict(parsers(build_parser()))


def shown(path: Path) -> list[str]:
    """Lines of commands that a page shows in blocks, or that a script runs; continued ones in one."""
    text = path.read_text()
    if path.suffix == ".md":
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        blocks += re.findall(r"(?:^    \S.*\n)+", text, re.MULTILINE)
        text = "\n".join(blocks)
    return text.replace("\\\n", " ").splitlines()


def commands(line: str) -> Iterator[list[str]]:
    """What is given to ``dbm-gmx`` in a line."""
    if not re.search(r"\bdbm[-_]gmx ", line) or "import " in line:
        return
    line = line.replace("python share/recipes/cluster/slurm.py --jobs 16 --", "dbm-gmx").strip()
    words: list[str] | None = None
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if set(word) <= set("&|;<>"):
            if words:
                yield words
            words = None
        elif words is not None:
            words += shell_words(word, words)
        elif word.rpartition("/")[2] == "dbm-gmx" or word == "dbm_gmx":
            words = []


def shell_words(word: str, before: list[str]) -> list[str]:
    """A word with shell variables filled in; those that stand for more options are left out."""
    if word == "$@":
        return [] if "-o" in before else ["-s", "cg.tpr", "-o", "aa.xtc"]
    return [] if re.fullmatch(r"\$\{.*@.*\}", word) else [re.sub(r"\$(\w+|\{[^}]*\})", "1", word)]


SHOWN = [
    pytest.param(words, id=f"{path.relative_to(ROOT)}: {shlex.join(words)}")
    for path in (*PAGES, *SCRIPTS)
    for line in shown(path)
    for words in commands(line)
]


@pytest.mark.parametrize("words", SHOWN)
def test_every_command_can_be_given_so(words: list[str]) -> None:
    if not {"--version", "--completion"} & set(words):
        assert build_parser().parse_args(words).command


def inline(path: Path) -> list[str]:
    """Code within the sentences of a page."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def test_every_option_in_a_sentence_exists() -> None:
    known = {option for parser in COMMANDS.values() for option in parser._option_string_actions}
    unknown = {
        f"{path.relative_to(ROOT)}: {option}"
        for path in PAGES
        for code in inline(path)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)
        if option not in known | OTHERS | {"--version"}
    }
    assert unknown == set()


def test_a_command_in_a_sentence_has_the_options_it_is_named_with() -> None:
    wrong = []
    for path in PAGES:
        for code in inline(path):
            found = re.match(rf"(?:dbm-gmx )?({'|'.join(sorted(COMMANDS, reverse=True))}) (?=.*-)", code)
            if found is None:
                continue
            options = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", code[found.end() :])
            known = COMMANDS[found[1]]._option_string_actions
            wrong += [f"{path.name}: {code}: {option}" for option in options if option not in known]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_page_with_examples(name: str) -> None:
    page = DOCS / "commands" / f"{name.replace(' ', '-')}.md"
    assert f"```{{command}} {name}\n```" in page.read_text()
    examples = [words for line in shown(page) for words in commands(line)]
    assert any(words[: len(name.split())] == name.split() for words in examples)


def test_readme_is_read_in_three_minutes() -> None:
    text = re.sub(r"^```.*?^```", "", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(text.split()) < 600
    assert "(share/figures/" in text


def anchors(path: Path) -> set[str]:
    """What can be linked to within a page, as GitHub and MyST name it."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_is_said_of_the_memories_that_ship_is_in_them() -> None:
    said = (ROOT / "share" / "README.md").read_text()
    for path in sorted((ROOT / "share" / "memories").glob("*.npz")):
        with np.load(path) as file:
            found = json.loads(str(file["about"]))["findings"]
        side = "above" if found["excess"] > 0 else "below"
        excess = f"{abs(found['excess']):.3f}".lstrip("0")
        row = next(line for line in said.splitlines() if line.startswith(f"| `{path.stem}` |"))
        ends = f"their torsions and pairs end {excess} kT per atom {side} those"
        assert f"take {found['sweeps']} sweeps; {ends}" in row


def test_links_of_pages_outside_the_site_lead_somewhere() -> None:
    lost = []
    for path in (README, ROOT / "share" / "README.md", ROOT / ".github" / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            file, _, anchor = target.partition("#")
            if "://" in target:
                continue
            there = path.parent / file
            if not there.is_file() or (anchor and anchor not in anchors(there)):
                lost.append(target)
    assert lost == []


def test_the_mapping_in_the_readme_is_that_of_hexane(tmp_path: Path) -> None:
    block = re.compile(r"<!-- ci: mapping -->\n```xml\n(.*?)^```", re.DOTALL | re.MULTILINE)
    (tmp_path / "mapping.xml").write_text(block.findall(README.read_text())[0])
    topology = read_topology(ROOT / "share" / "examples" / "hexane" / "topol.top")
    molecule = topology.molecule_types["HEX"]
    mapping = read_mappings([tmp_path / "mapping.xml"], topology)["HEX"]
    beads = {name: mapping.names[bead] for name, bead in zip(molecule.names, mapping.owner, strict=True)}
    assert [beads[f"C{k}"] for k in range(1, 7)] == ["A1", "A1", "B1", "B1", "A2", "A2"]
    masses = np.array(molecule.attribute("mass"), float)
    for row, weights in enumerate(mapping.weights.toarray()):
        of_bead = np.where(mapping.owner == row, masses, 0.0)
        assert weights == pytest.approx(of_bead / of_bead.sum(), abs=2e-3)


def test_docstrings_refer_to_what_exists() -> None:
    lost = []
    for path in FILES.values():
        for role, target in re.findall(r":(mod|func|class|data|meth):`~?(dbm_gmx[\w.]*)`", path.read_text()):
            parts = target.split(".")
            ends = [k for k in range(1, len(parts) + 1) if ".".join(parts[:k]) in FILES]
            module, inside = ".".join(parts[: ends[-1]]), parts[ends[-1] :]
            if bool(inside) == (role == "mod") or (inside and inside[0] not in names(FILES[module])):
                lost.append(f"{path.name}: {target}")
    assert lost == []


def test_the_reference_is_of_modules_that_there_are() -> None:
    pages = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    modules = re.findall(r"automodule:: (\S+)", pages)
    assert len(modules) > 20
    assert set(modules) - set(FILES) == set()
    assert re.findall(r"^## `(\S+)`", pages, re.MULTILINE) == modules


def names(path: Path) -> set[str]:
    """Names at the top of a module."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "share" / "CITATION.cff").read_text()
    assert f"\nversion: {dbm_gmx.__version__}\n" in citation
    assert all(doi in citation for doi in ("10.1088/2632-2153/abb6d4", "10.1063/5.0039102"))


FIRST_STEPS = {"hexane": ["-e", "160"], "polystyrene": []}
"""Scripts of the tutorials, and what makes them quick: one frame is enough here."""


def test_every_script_of_a_tutorial_is_run_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    scripts = {path.stem for path in (DOCS / "scripts").glob("*.sh")}
    assert scripts >= set(FIRST_STEPS)
    assert [name for name in scripts - set(FIRST_STEPS) if f"{name}.sh" not in tests] == []


@pytest.mark.long
@pytest.mark.parametrize("name", FIRST_STEPS)
def test_first_steps_lead_to_good_atoms(name: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "dbm-gmx"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dbm_gmx "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join((str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])))
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": path}
    options = [*FIRST_STEPS[name], "--annealing", "0", "--no-check"]
    command = ["bash", str(DOCS / "scripts" / f"{name}.sh"), str(tmp_path / "out"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules          all hold" in done.stdout
    assert (tmp_path / "out" / "aa.gro").is_file()
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert not scores["broken"]
    assert scores["candidates"]["aa"]["rules"]["contacts"] == [0]

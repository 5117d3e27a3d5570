"""What is loaded for what: tensors for the network and the evaluation only, nothing heavy for the help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import MDAnalysis as mda
import pytest
from oracle import example

from dbm_gmx.cli import COMMANDS

HEAVY = ("torch", "numba", "MDAnalysis", "scipy", "numpy", "networkx", "parmed")


def loaded(code: str, *arguments: str) -> tuple[list[str], str]:
    """Heavy packages that a process has loaded in the end, and what it has said."""
    program = f"{code}\nprint('LOADED', *[name for name in {HEAVY} if name in sys.modules])"
    command = [sys.executable, "-c", f"import sys\n{program}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, _, names = done.stdout.rpartition("LOADED")
    return names.split(), said


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "from dbm_gmx.cli import main\n"
        "for words in (['--help'], ['--version'], *([one, '--help'] for one in sys.argv[1:])):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass"
    )
    names = [command.__name__.rpartition(".")[2] for command in COMMANDS]
    found, said = loaded(code, *names)
    assert found == []
    assert all(f"usage: dbm-gmx {name}" in said for name in names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two molecules."""
    for name in ("topol.top", "cg.top"):
        (tmp_path / name).write_text((example() / name).read_text().replace("OCT  80", "OCT  2"))
    for name in ("mapping.xml", "owners.txt"):
        (tmp_path / name).write_text((example() / name).read_text())
    beads = mda.Universe(str(example() / "cg.tpr"))
    beads.atoms[:8].write(str(tmp_path / "cg.gro"))
    return tmp_path


def test_a_check_a_default_run_and_forward_mapping_load_no_tensors(folder: Path) -> None:
    code = (
        "import os; os.chdir(sys.argv[1])\n"
        "from dbm_gmx.cli import main\n"
        "files = ['-p', 'topol.top', '-m', 'mapping.xml']\n"
        "beads = ['-s', 'cg.gro', '-cp', 'cg.top', '-t', '350', *files]\n"
        "assert main(['check', *beads]) == 0\n"
        "quick = ['--annealing', '0', '--windows', '0', '-q']\n"
        "assert main(['backmap', *beads, *quick, '-o', 'aa.gro']) in (0, 2)\n"
        "assert main(['map', '-s', 'aa.gro', *files, '-q', '-o', 'b.gro']) == 0\n"
        "from dbm_gmx import Backmapper, backmap, map_to_beads"
    )
    found, _ = loaded(code, str(folder))
    assert "numba" in found
    assert "torch" not in found
    assert (folder / "b.gro").is_file()

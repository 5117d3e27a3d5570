"""The tutorial of a Martini bilayer, from beads to a run of its atoms."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dbm_gmx.files.share import share_path

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.long
@pytest.mark.skipif(shutil.which("gmx") is None, reason="the tutorial needs GROMACS")
def test_the_tutorial_leads_to_a_run_of_the_atoms(tmp_path: Path) -> None:
    """``martini.sh`` in a small box, with little sampling."""
    program = tmp_path / "bin" / "dbm-gmx"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dbm_gmx "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join((str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")]))),
        "LIPIDS": "32",
        "STEPS": "2000",
    }
    options = ["--annealing", "0", "--windows", "0", "--sweeps", "8", "--no-check", "--spread", "0.05"]
    script = share_path("docs", "scripts", "martini.sh")
    command = ["bash", str(script), str(tmp_path / "out"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "beads of water: W = 4 SOL" in done.stderr
    assert "mapping of martini-lipids that ships" in done.stderr
    assert done.stdout.count("rules          all hold") == 2  # of backmap and of relax
    assert "stereocentres  32 of 32 right" in done.stdout
    temperature = next(line for line in done.stdout.splitlines() if line.startswith("Temperature"))
    assert float(temperature.split()[1]) == pytest.approx(310, abs=20)

"""There and back: what a run has in the mean, the atoms have that are put back on its beads."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest
from mixed import command

from dbm_gmx.files.share import share_path


def dbm_gmx(words: Sequence[str]) -> int:
    """The command in this process, which stays as it is."""
    return command(words[0], dict(zip(words[1::2], words[2::2], strict=True))).code


def test_energy_and_density_come_back(
    gmx: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of cumene, 2730 atoms; atoms that were not refined are told from those of the run."""
    spec = importlib.util.spec_from_file_location("loop", share_path("recipes", "loop") / "loop.py")
    loop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loop)
    monkeypatch.setattr(loop, "dbm_gmx", dbm_gmx)
    monkeypatch.chdir(tmp_path)
    system = share_path("reference", "cumene").resolve()
    code = loop.main([str(system), str(tmp_path), "--frames", "4", "--apart", "0.5"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert said.count("yes\n") == 4
    first = loop.energies("run", "Potential", 0.5)
    loop.put_back(system, "none", "spoiled.trr")
    assert not loop.compared("not refined", first, loop.again("spoiled.trr"), frames=4)

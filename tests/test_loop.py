"""There and back: what a run has in the mean, the atoms have that are put back on its beads."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from mixed import command

from dbm_gmx.files.share import share_path

KT = 2.91  # kJ/mol at 350 K
ATOMS = 2730
AGREE, SPOILED = 0.25 * KT * ATOMS, 0.05 * KT * ATOMS
"""How far a potential energy may be from that of the run, and how far that of spoiled atoms must be, kJ/mol.

The energy of one frame scatters by 0.026 kT an atom (the root of twice the number of atoms, in kT), the
difference of two by 0.037: the first limit is seven times that.  Atoms that were packed and not refined are
too high by 0.08 kT an atom.
"""


def dbm_gmx(words: Sequence[str]) -> int:
    """The command in this process, which stays as it is."""
    return command(words[0], dict(zip(words[1::2], words[2::2], strict=True))).code


@pytest.mark.long
def test_energy_and_density_come_back(
    gmx: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of cumene; atoms that were not refined are told from those of the run."""
    spec = importlib.util.spec_from_file_location("loop", share_path("recipes", "loop") / "loop.py")
    loop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loop)
    monkeypatch.setattr(loop, "dbm_gmx", dbm_gmx)
    monkeypatch.chdir(tmp_path)
    system = share_path("reference", "cumene").resolve()
    code = loop.main([str(system), str(tmp_path), "--frames", "1", "--apart", "0.2"])
    said = capsys.readouterr().out
    rows = re.findall(r"^(potential|density), .*? (-?[\d.]+) \+- .*? (-?[\d.]+) \+- .*(yes|NO)$", said, re.M)
    assert len(rows) == 4, said
    # one frame is no statistics: what is looked at is whether atoms are put where the force field has them
    for term, first, second, _ in rows:
        off = abs(float(second) - float(first))
        assert off < (0.05 * float(first) if term == "density" else AGREE), said
    assert code == any(verdict == "NO" for *_, verdict in rows)
    first = loop.energies("run", "Potential", 0.2)
    assert loop.compared("the same", first, first[::-1], frames=1)
    loop.put_back(system, "none", "spoiled.trr")
    spoiled = loop.again("spoiled.trr")
    assert not loop.compared("not refined", first, spoiled, frames=1)
    assert spoiled.mean() - first.mean() > SPOILED

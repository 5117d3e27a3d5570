"""What follows a reconstruction: it is told what is known already."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import mixed
import pytest
from fake import fake_gmx
from mixed import Mixture, Options, command, listing

import dbm_gmx.files.system
from dbm_gmx.files.trajectory import read_frames

READERS = ("read_beads", "read_topology", "read_mappings")


@pytest.fixture
def files(tmp_path: Path) -> Mixture:
    return mixed.mixture(tmp_path / "in")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the system is read, by function."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        read = getattr(dbm_gmx.files.system, name)

        def counting(*given: object, **named: object) -> object:
            counts[name] += 1
            return read(*given, **named)

        monkeypatch.setattr(dbm_gmx.files.system, name, counting)

    for name in READERS:
        counted(name)
    return counts


@pytest.mark.parametrize("trajectory", [True, False])
def test_the_system_is_read_once(
    trajectory: bool, *, files: Mixture, reads: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the atoms of two samples, the relaxed ones and the folder together."""
    mixed.fake_sampler(monkeypatch)
    options: Options = dict(files.inputs)
    if not trajectory:
        del options["-f"]
    out = tmp_path / "out"
    out.mkdir()
    program = fake_gmx(tmp_path / "bin" / "gmx")
    options |= {"-t": 300, "--samples": 2, "--gmx": program, "-o": out / "aa.trr", "--allow": "all"}
    result = command("backmap", {**options, "--relax": out / "r.trr", "--workdir": out / "run"})
    assert (result.code, result.err) == (0, "")
    assert reads == dict.fromkeys(READERS, 1)
    assert listing(out) == ["aa_1.trr", "aa_2.trr", "r_1.trr", "r_2.trr", "run"]
    times = [0, 10, 20] if trajectory else [0]
    for k in (1, 2):
        relaxed = read_frames(out / f"r_{k}.trr", n_atoms=156)
        assert [frame.time for frame in relaxed] == times
    assert result.out.count(f"relaxed        {len(times)} frames in ") == 2

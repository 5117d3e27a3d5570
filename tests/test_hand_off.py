"""What follows a reconstruction: it is told what is known already."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import mixed
import pytest
from fake import fake_gmx
from mixed import Mixture, Options, command, listing

import dbm_gmx.files.system
from dbm_gmx.errors import InputError
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.gromacs.relax import Atoms
from dbm_gmx.sampling.preparation import Preparation, Strain
from dbm_gmx.sampling.sampler import Effort

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


def test_beads_are_held_as_closely_as_they_were_found_to_ask_for(
    files: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.fake_sampler(monkeypatch)
    found, wide = {}, {}

    def relax(atoms: Atoms, *_: object, **__: object) -> None:
        found.update(atoms.widths)
        raise InputError("seen")

    def prepare(sampler: mixed.FakeSampler, *_: object) -> tuple[mixed.FakeSampler, Preparation]:
        kinds = [(m.moltype.name, bead) for m in sampler.system.matches for bead in m.mapping.types]
        wide.update({kind: Strain(0.01 * (1 + k), 0.0, 1.0) for k, kind in enumerate(dict.fromkeys(kinds))})
        return sampler, Preparation(wide, wide, Effort())

    monkeypatch.setattr("dbm_gmx.backmapping.ready.prepare", prepare)
    monkeypatch.setattr("dbm_gmx.backmapping.hand_off.relax_frames", relax)
    options = {**files.inputs, "-t": 300, "--gmx": fake_gmx(tmp_path / "bin" / "gmx"), "--allow": "all"}
    result = command("backmap", {**options, "-o": tmp_path / "aa.trr", "--relax": tmp_path / "r.trr"})
    assert "seen" in result.err
    assert set(found) == {name for name, _ in wide}
    for name, widths in found.items():
        assert {strain.width for kind, strain in wide.items() if kind[0] == name} == set(widths)

"""A memory from atomistic trajectories: ``[memory]`` of a training file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dbm_gmx.chemistry.system import System
from dbm_gmx.cli import main
from dbm_gmx.errors import ExitCode, InputError
from dbm_gmx.files.share import share_path
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.memory_file import open_memory, read_memory, unknown_molecules, what_differs
from dbm_gmx.sampling.sampler import make_sampler
from dbm_gmx.train.frames import read_training_system
from dbm_gmx.train.memory import make_memory
from dbm_gmx.train.settings import MemorySettings, SystemSettings, TrainSettings, read_settings

OCTANE, CUMENE = share_path("examples", "octane"), share_path("reference", "cumene")
AS_SAMPLED = Conditions(350.0, constraints="none", rvdw=0.9, rcoulomb=0.9)


def of(folder: Path, temperature: float = 350.0, **more: object) -> SystemSettings:
    return SystemSettings(
        folder / "topol.top",
        folder / "aa.xtc",
        (folder / "mapping.xml",),
        temperature=temperature,
        **more,  # type: ignore[arg-type]
    )


def settings(output: Path, *systems: SystemSettings, frames: int = 2) -> TrainSettings:
    return TrainSettings(output, systems, memory=MemorySettings("octane", frames))


def system() -> System:
    return read_training_system(of(OCTANE)).system


def test_frames_are_remembered_and_tried_before_they_are_believed(tmp_path: Path) -> None:
    made = make_memory(settings(tmp_path / "out", of(OCTANE, mdp=OCTANE / "nvt.mdp"), frames=3))
    assert made.path == tmp_path / "out" / "octane.npz"
    kept = open_memory(made.path, system())
    assert kept is not None
    assert unknown_molecules(kept.memory, system()) == []
    assert {len(fragments) for fragments in kept.memory.values()} == {3 * 80}
    assert (kept.origin.frames, kept.origin.source, kept.findings) == (3, "aa.xtc", None)
    known = read_training_system(of(OCTANE))
    for pair in (known.train[0], known.train[-1]):  # evenly spread, without the last one, which is held out
        first = pair.atoms.numpy().reshape(80, -1, 3)
        apart = np.linalg.norm(first[:, :7] - pair.beads.numpy().reshape(80, -1, 3)[:, :1], axis=2)
        found = [np.linalg.norm(f.atoms[:, :7], axis=2) for f in kept.memory.values()]
        assert any(np.abs(one - apart[0]).max(axis=1).min() < 1e-3 for one in found)
    sampler = make_sampler(system(), AS_SAMPLED, Settings(), {})
    assert what_differs(kept, sampler) == ["beads held with other widths", "not tried yet"]
    other = make_sampler(system(), replace(AS_SAMPLED, rvdw=1.0, temperature=300.0), Settings(), {})
    assert what_differs(kept, other)[:2] == ["350 K, not 300 K", "another force field of OCT"]


def test_without_run_parameters_the_force_field_is_not_known(tmp_path: Path) -> None:
    kept = read_memory(make_memory(settings(tmp_path, of(OCTANE))).path)
    assert what_differs(kept, make_sampler(system(), AS_SAMPLED, Settings(), {}))[0] == (
        "unknown force field of OCT"
    )


def test_systems_are_joined(tmp_path: Path) -> None:
    kept = read_memory(make_memory(settings(tmp_path / "both", of(OCTANE), of(CUMENE), frames=1)).path)
    assert {name: one.copies for name, one in kept.origin.molecules.items()} == {"OCT": 80, "CUM": 130}
    assert unknown_molecules(kept.memory, read_training_system(of(CUMENE)).system) == []
    with pytest.raises(InputError, match="350 and 300 K; a memory is of one"):
        make_memory(settings(tmp_path, of(OCTANE), of(CUMENE, temperature=300.0)))


TEXT = f"""output = "out"
[[system]]
topology = "{OCTANE}/topol.top"
trajectory = "{OCTANE}/aa.xtc"
mapping = "{OCTANE}/mapping.xml"
temperature = 350
[memory]
frames = 1
"""


def test_the_command_makes_a_memory_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "memory.toml"
    path.write_text(TEXT)
    assert main(["train", str(path)]) == ExitCode.DONE
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["memory.npz", "memory.npz.json"]
    assert "memory.npz: 1 frame" in capsys.readouterr().out
    before = (tmp_path / "out" / "memory.npz").read_bytes()
    assert main(["train", str(path)]) == ExitCode.DONE
    assert "is there already" in capsys.readouterr().out
    assert (tmp_path / "out" / "memory.npz").read_bytes() == before
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_memory_of_something_else_is_not_taken_for_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other frames, another trajectory, damage, unknown origin: refused. With --restart it is made."""
    path, made = tmp_path / "memory.toml", tmp_path / "out" / "memory.npz"
    path.write_text(TEXT)
    assert main(["train", str(path)]) == ExitCode.DONE
    first = made.read_bytes()

    def refused(said: str) -> None:
        before = made.read_bytes()
        assert main(["train", str(path)]) == ExitCode.FAILED
        text = capsys.readouterr().err
        assert said in text
        assert "--restart" in text
        assert made.read_bytes() == before

    path.write_text(TEXT.replace("frames = 1", "frames = 2"))
    refused("a memory of something else is there: memory.frames;")
    path.write_text(TEXT.replace("aa.xtc", "aa.gro").replace("[memory]", "held_out = 0\n[memory]"))
    refused("aa.gro was not given")
    path.write_text(TEXT)
    made.write_bytes(first[:-1])
    refused("is not as it was written")
    made.with_name("memory.npz.json").unlink()
    refused("of unknown origin")
    assert main(["train", str(path), "--restart"]) == ExitCode.DONE
    assert read_memory(made).origin.frames == 1
    assert (made.parent / "#memory.npz.1#").read_bytes() == first[:-1]


@pytest.mark.parametrize(
    ("make", "said"),
    [(os.mkfifo, "is a named pipe"), (lambda path: path.symlink_to(path.name), "cannot be read")],
    ids=["pipe", "loop"],
)
def test_a_topology_that_is_no_file_is_refused(
    make: Callable[[Path], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe would be waited for."""
    make(tmp_path / "topol.top")
    (tmp_path / "train.toml").write_text(TEXT.replace(f"{OCTANE}/topol.top", "topol.top"))
    assert main(["train", str(tmp_path / "train.toml")]) == ExitCode.FAILED
    assert said in capsys.readouterr().err


def test_no_memory_is_made_where_the_training_cannot_begin(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(f"{TEXT}[warm]\nsteps = 3\n")
    assert main(["train", str(path), "--from", str(path)]) == ExitCode.FAILED
    path.write_text(f'{TEXT}[warm]\nsteps = 3\n[run]\ndevice = "x"\n')
    assert main(["train", str(path)]) == ExitCode.FAILED
    assert not (tmp_path / "out").exists()


def test_steps_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "memory.toml"
    path.write_text(f"{TEXT}[warm]\nsteps = 3\n")
    assert read_settings(path).warm.steps == 3
    path.write_text(TEXT)
    assert read_settings(path).steps == 0
    path.write_text(TEXT.replace("frames = 1", "frames = -1"))
    with pytest.raises(InputError, match=r"memory\.frames = -1; it takes at least 0"):
        read_settings(path)

"""Whole trainings of tiny networks: seeds, resuming, stopping, fine-tuning, several processes."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cut import Cut, cut
from mixed import command
from systems import Example
from tiny import OCTANE, tiny_settings, train_and_keep

import dbm_gmx.train.loop as loop
import dbm_gmx.train.scores as scores
import dbm_gmx.train.state as state_module
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.cli import main
from dbm_gmx.errors import InputError
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import part_name
from dbm_gmx.files.share import share_path
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.network.channels import Channels, default_channels
from dbm_gmx.network.generator import Generator, Shape
from dbm_gmx.network.model import (
    Model,
    build_generator,
    describe_models,
    load_model,
    save_model,
    sealed,
    unsealed,
)
from dbm_gmx.network.voxels import Grid, collapse
from dbm_gmx.train.batches import draw_batch
from dbm_gmx.train.checkpoint import NAME as CHECKPOINT
from dbm_gmx.train.dataset import Dataset, make_dataset
from dbm_gmx.train.frames import make_pair, read_training_system
from dbm_gmx.train.loop import train
from dbm_gmx.train.monitor import EventLog, check_finite, make_event_log, score_warnings, warnings_of
from dbm_gmx.train.rollout import roll_out
from dbm_gmx.train.scores import AMPLITUDES, Generation, calibrated, overall, score_frames
from dbm_gmx.train.settings import (
    AdversarialSettings,
    RunSettings,
    SystemSettings,
    WarmSettings,
)
from dbm_gmx.train.start import merged, widen


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Eight molecules of octane, two frames: where atoms are generated, that takes longest."""
    return cut(OCTANE, tmp_path_factory.mktemp("few") / "octane", "OCT", 8, frames=2)


def log_of(folder: Path, *events: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] in events]


LOSSES = ("place", "bond", "critic", "penalty", "generator", "prior", "supervised", "spread")


def losses(folder: Path) -> list[dict[str, float]]:
    lines = log_of(folder, "warm", "adversarial")
    return [{key: line[key] for key in ("step", *LOSSES) if key in line} for line in lines]


def same(a: Any, b: Any) -> bool:
    """Whether nested states hold the same numbers."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def saved_in(folder: Path) -> dict[str, Any]:
    """A checkpoint as it is."""
    found: dict[str, Any] = torch.load(BytesIO(unsealed(folder / CHECKPOINT)), weights_only=True)
    return found


def state_of(folder: Path) -> dict[str, Any]:
    """All of a checkpoint that must not depend on how often it was interrupted."""
    state = saved_in(folder)
    state["learner"].pop("seconds")
    return {key: state[key] for key in ("learner", "dice", "progress")}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing stops."""
    folder = tmp_path_factory.mktemp("unbroken")
    train(tiny_settings(folder))
    return folder


def test_the_seed_decides_the_result(unbroken: Path, tmp_path: Path) -> None:
    for name, seed in (("again", 1), ("other", 2)):
        train(tiny_settings(tmp_path / name, seed=seed))
    states = [state_of(folder) for folder in (unbroken, tmp_path / "again", tmp_path / "other")]
    assert same(states[0], states[1])
    assert losses(unbroken) == losses(tmp_path / "again")
    assert not same(states[0]["learner"], states[2]["learner"])
    first, last = losses(unbroken)[0], losses(unbroken)[-1]
    assert {"place", "bond", "spread"} < set(first)
    assert {"critic", "penalty", "generator", "prior", "supervised", "spread"} < set(last)


def test_the_supervised_loss_goes_on_with_its_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of 3 + 4; left out without a weight."""
    parts = {"place": torch.tensor(3.0), "bond": torch.tensor(4.0)}
    monkeypatch.setattr(state_module, "supervise", lambda state, context: parts)
    for name, weight in (("with", 0.5), ("without", 0.0)):
        train(
            tiny_settings(
                tmp_path / name,
                warm=WarmSettings(steps=0),
                adversarial=AdversarialSettings(steps=2, batch=4, critic_steps=1, supervised=weight),
            )
        )
    assert [line["supervised"] for line in losses(tmp_path / "with")] == [3.5]
    assert "supervised" not in losses(tmp_path / "without")[0]


@pytest.mark.parametrize("after", [3, 6])
def test_a_resumed_run_equals_an_unbroken_one(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Stopped by a signal in either phase, in the middle of a line of the log."""
    before = signal.getsignal(signal.SIGTERM)
    broken = tiny_settings(tmp_path / "broken")

    def interrupted(state: Any, context: Any) -> dict[str, float]:
        parts = state_module.take_step(state, context)
        if state.step == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", interrupted)
        first = train(broken)
    assert (first.step, first.stopped) == (after, "SIGTERM")
    assert "the same command goes on" in first.text()
    assert load_model(first.path).provenance["steps"] == after
    second = train(broken)
    assert (second.step, second.stopped) == (8, "")
    assert same(state_of(unbroken), state_of(tmp_path / "broken"))
    assert losses(unbroken) == losses(tmp_path / "broken")
    assert signal.getsignal(signal.SIGTERM) == before
    assert [line["event"] for line in log_of(tmp_path / "broken", "stop", "done")] == ["stop", "done"]


@pytest.mark.parametrize("within", ["take_step", "evaluate"])
def test_long_steps_and_scores_are_given_up_for_a_signal(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: str
) -> None:
    """Half done they are as if they had not been begun, and the end is the same."""
    broken = tiny_settings(tmp_path / "broken")
    broken = replace(broken, run=replace(broken.run, evaluate=4))
    whole = replace(broken, output=tmp_path / "whole")
    train(whole)
    asked, usual, changed = [0], getattr(loop, within), list[int]()

    def half_done(*given: Any) -> Any:
        asked[0] += 1
        if asked[0] != (5 if within == "take_step" else 1):
            return usual(*given)
        if within == "take_step":
            usual(*given)  # all has changed by now, but nobody knows
            changed.append(given[0].step)
        else:
            given[2].scored = given[1].step
            changed.append(given[1].step)
        os.kill(os.getpid(), signal.SIGTERM)
        changed.append(-1)

    with monkeypatch.context() as patch:
        patch.setattr(loop, within, half_done)
        patch.setattr(loop, "PROMPT", 0.0)
        first = train(broken)
    assert changed == ([5] if within == "take_step" else [4])
    assert (first.step, first.stopped) == (4, "SIGTERM")
    second = train(broken)
    assert (second.step, second.stopped) == (8, "")
    assert same(state_of(tmp_path / "whole"), state_of(tmp_path / "broken"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")
    scored = [[line["step"] for line in log_of(tmp_path / name, "scores")] for name in ("whole", "broken")]
    assert scored[0] == scored[1] == [4, 8]


LONG_STEP = """
import hashlib, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
import dbm_gmx.cli as cli
import dbm_gmx.commands.train as command
import dbm_gmx.train.loop as loop
from tiny import tiny_settings

usual = loop.take_step

def take_step(state, context):
    parts = usual(state, context)  # all has changed by now
    if state.step == 3:
        print("ready", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2 * 10**9)  # heeds no signal
    return parts

loop.take_step, loop.PROMPT = take_step, 0.0
command.run = lambda options: loop.train(tiny_settings(Path({folder!r}))) and 0
sys.exit(cli.main())
"""


def test_a_step_that_heeds_no_signal_is_given_up(unbroken: Path, tmp_path: Path) -> None:
    """As a backward pass of many samples, which is one operation: what was before it is saved meanwhile."""
    script = LONG_STEP.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "out"))
    process = subprocess.Popen(
        [sys.executable, "-c", script, "train", "x.toml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert time.monotonic() - begin < 20  # 1 s; more on a busy machine
    said = ["dbm-gmx: saved as it was before this step; the same command goes on"]
    assert (process.returncode, err.splitlines()[-2:]) == (1, [*said, "dbm-gmx: interrupted (SIGTERM)"])
    assert saved_in(tmp_path / "out")["learner"]["step"] == 2
    assert train(tiny_settings(tmp_path / "out")).step == 8
    assert same(state_of(unbroken), state_of(tmp_path / "out"))


def test_a_training_that_is_killed_leaves_whole_files(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while checkpoint or model are written: those of before are there, and the end is the same."""
    broken = tiny_settings(tmp_path / "broken")
    train(broken, max_hours=1e-9)
    before = {name: (tmp_path / "broken" / name).read_bytes() for name in ("checkpoint.pt", "model.pt")}
    written_whole = Path.write_bytes
    for name in before:
        making = part_name(Path(name)).name

        def half_of_it(path: Path, data: bytes, making: str = making) -> int:
            written = written_whole(path, data[:100] if path.name == making else data)
            if path.name == making:
                raise KeyboardInterrupt
            return written

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", half_of_it)
            with pytest.raises(KeyboardInterrupt):
                train(broken)
        assert (tmp_path / "broken" / name).read_bytes() == before[name]
        load_model(tmp_path / "broken" / "model.pt")
    train(broken)
    assert same(state_of(unbroken), state_of(tmp_path / "broken"))
    assert not list((tmp_path / "broken").glob("*.lock"))


def test_a_training_on_other_files_is_refused_unless_begun_anew(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    copy = tmp_path / "copy.xtc"
    shutil.copy(settings.system[0].trajectory, copy)
    system = replace(settings.system[0], trajectory=copy)
    settings = replace(settings, system=(system, *settings.system[1:]))
    train(settings, max_hours=1e-9)
    with copy.open("ab") as stream:
        stream.write(b"0")
    with pytest.raises(InputError, match=r"a training on other files: .*copy\.xtc has changed.*--restart"):
        train(settings, max_hours=1e-9)
    assert train(settings, max_hours=1e-9, restart=True).step == 0
    assert (tmp_path / "#checkpoint.pt.1#").exists()


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "checkpoint.pt"), pytest.raises(InputError, match="another run writes it"):
        train(tiny_settings(tmp_path), max_hours=1e-9)


def test_the_time_limit_stops_a_run(tmp_path: Path) -> None:
    done = train(tiny_settings(tmp_path), max_hours=1e-9)
    assert (done.step, done.stopped) == (0, "the time is up")
    assert train(tiny_settings(tmp_path)).step == 8


def test_another_training_is_not_continued(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    train(settings, max_hours=1e-9)
    with pytest.raises(InputError, match=r"other settings: critic.spectral, seed; give another output"):
        train(replace(settings, seed=2, critic=replace(settings.critic, spectral=False)))
    train(
        replace(settings, run=replace(settings.run, log=1)), max_hours=1e-9
    )  # changes nothing that is learnt


def test_a_checkpoint_with_a_key_that_is_no_more_goes_on(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    train(settings, max_hours=1e-9)
    saved = saved_in(tmp_path)
    saved["settings"] |= {"order": "random"}
    saved["settings"]["critic"]["judges"] = "density"
    content = BytesIO()
    torch.save(saved, content)
    (tmp_path / CHECKPOINT).write_bytes(sealed(content.getvalue()))
    assert train(settings).step == 8
    assert len(log_of(tmp_path, "start")) == 2


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_checkpoint_with_a_flipped_bit_is_refused(unbroken: Path, tmp_path: Path, place: float) -> None:
    """Weights would be others, in silence: PyTorch does not look at the checks in its files."""
    settings = tiny_settings(tmp_path)
    data = bytearray((unbroken / CHECKPOINT).read_bytes())
    data[int(place * len(data))] ^= 4
    (tmp_path / CHECKPOINT).write_bytes(data)
    with pytest.raises(InputError, match=r"a damaged checkpoint: .*; remove it to begin anew"):
        train(settings)


@pytest.mark.parametrize("more", ['[current]\nall = ["*"]\n', "[neighbours]\n"])
def test_other_channels_in_the_same_file_are_another_training(tmp_path: Path, more: str) -> None:
    """Whether or not there are as many."""
    path, text = (
        tmp_path / "channels.toml",
        '[atoms]\nall = ["*"]\n[bonded]\nbond = ["bond"]\n[beads]\nall = ["*"]\n',
    )
    path.write_text(text)
    settings = tiny_settings(tmp_path / "out", channels=path)
    train(settings, max_hours=1e-9)
    path.write_text(text + more)
    with pytest.raises(InputError, match=r"a training on other files: .*channels\.toml has changed"):
        train(settings)


def test_another_model_to_begin_with_is_another_training(tmp_path: Path) -> None:
    start = tmp_path / "start.pt"
    save_model(small_model(), start)
    settings = tiny_settings(tmp_path / "out", start=str(start))
    train(settings, max_hours=1e-9)
    save_model(replace(small_model(), amplitude=(0.5, 0.5)), start, over=True)
    with pytest.raises(InputError, match=r"a training on other files: .*start\.pt has changed"):
        train(settings)


@pytest.mark.parametrize("name", ["model.pt", "model.pt.json", "model_best.pt", "log.jsonl"])
def test_files_of_others_in_the_folder_are_put_aside(tmp_path: Path, name: str) -> None:
    """They were replaced, or added to."""
    (tmp_path / name).write_text("mine\n")
    settings = tiny_settings(tmp_path)
    assert train(settings).step == 8
    assert (tmp_path / f"#{name}.1#").read_text() == "mine\n"
    train(settings)
    assert not (tmp_path / f"#{name}.2#").exists()  # the same training goes on with its own


def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    os.mkfifo(tmp_path / "log.jsonl")
    train(settings, max_hours=1e-9)  # another's: put aside
    (tmp_path / "log.jsonl").unlink()
    os.mkfifo(tmp_path / "log.jsonl")
    reader = os.open(tmp_path / "log.jsonl", os.O_RDONLY | os.O_NONBLOCK)  # else nothing would end the wait
    with pytest.raises(InputError, match="is a named pipe, not a file"):
        train(settings, max_hours=1e-9)
    os.close(reader)


@pytest.mark.parametrize("name", ["model.pt", "model_best.pt"])
def test_a_model_is_not_written_over_the_one_it_begins_with(tmp_path: Path, name: str) -> None:
    save_model(small_model(), tmp_path / name)
    with pytest.raises(InputError, match="the model that is made is a file that is read as well"):
        train(tiny_settings(tmp_path, start=str(tmp_path / name)))


def test_inputs_that_cannot_be_used_leave_nothing(tmp_path: Path) -> None:
    """Nor do they move what an earlier run has left."""
    settings = tiny_settings(tmp_path / "new" / "out")
    system = replace(settings.system[0], trajectory=tmp_path / "nowhere.xtc")
    with pytest.raises(InputError, match="no such file"):
        train(replace(settings, system=(system,)))
    assert not (tmp_path / "new" / "out").exists()
    train(settings, max_hours=1e-9)
    with pytest.raises(InputError, match="no such file"):
        train(replace(settings, system=(system,)), restart=True)
    assert (tmp_path / "new" / "out" / CHECKPOINT).exists()


@pytest.mark.parametrize(("stopped", "code"), [("SIGTERM", 1), ("the time is up", 0), ("", 0)])
def test_a_signal_makes_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: str, code: int
) -> None:
    """A script does not go on with a model that is half trained."""
    path = tmp_path / "train.toml"
    files = {key: getattr(tiny_settings(tmp_path).system[0], key) for key in ("topology", "trajectory")}
    lines = [f'{key} = "{value}"' for key, value in files.items()]
    path.write_text("\n".join(['output = "out"', "[[system]]", *lines, f'mapping = "{OCTANE}/mapping.xml"']))
    made = loop.Trained(tmp_path / "model.pt", 3, 8, 1.0, stopped, {})
    monkeypatch.setattr(loop, "train", lambda *_, **__: made)
    assert main(["train", str(path)]) == code


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tmp_path)
    train(settings, max_hours=1e-9)
    before = state_of(tmp_path)
    monkeypatch.setattr(loop, "take_step", lambda state, context: {"place": 1.0, "prior": math.nan})
    with pytest.raises(InputError, match=r"the loss \(prior\) is no number any more; the last checkpoint"):
        train(settings)
    assert same(before, state_of(tmp_path))


def test_a_model_that_puts_atoms_nowhere_is_not_scored(few: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a step at far too high a rate, whose loss was still a number."""
    files = {key: few.folder / name for key, name in (("topology", "topol.top"), ("trajectory", "aa.trr"))}
    system = read_training_system(SystemSettings(**files, mapping=(few.folder / "mapping.xml",)))  # type: ignore[arg-type]
    nowhere = torch.full((system.system.n_atoms, 3), torch.nan)
    monkeypatch.setattr(scores, "reconstruct", lambda placer: nowhere)
    with pytest.raises(
        InputError, match=r"the model puts atoms at places that are no numbers; train with lower"
    ):
        scores.score(small_model(), [system], Generation(0, 1))


def test_warnings() -> None:
    check_finite({"place": 1.0}, 1)
    assert warnings_of({"spread": 0.01, "critic": -1.0}, widest=0.02) == []
    assert warnings_of({"spread": 1e-5}, widest=2e-5) == []  # it has not begun to tell draws apart
    assert "collapsed" in warnings_of({"spread": 1e-5}, widest=0.01)[0]
    assert "ahead of the generator" in warnings_of({"spread": 0.01, "critic": -3000.0}, widest=0.01)[0]
    assert score_warnings(0.19, 0.1) == []
    assert score_warnings(0.3, math.inf) == []
    assert score_warnings(0.3, 0.1) == ["free generation scores 0.3, the best so far was 0.1"]


def test_the_event_log_has_lines_and_curves(tmp_path: Path) -> None:
    curves: list[tuple[str, float, int]] = []

    class Board:
        def add_scalar(self, *curve: Any) -> None:
            curves.append(curve)

    events = make_event_log(tmp_path)
    events.board = Board()
    events.write("scores", 5, {"octane": {"bond": 0.123456789}, "overall": 1.0, "warnings": []})
    assert log_of(tmp_path, "scores")[0]["octane"] == {"bond": 0.123457}
    assert curves == [("scores/octane/bond", 0.123456789, 5), ("scores/overall", 1.0, 5)]
    make_event_log(None).write("scores", 5, {})
    assert make_event_log(None) == EventLog(None, None)


# --- the model that comes out --------------------------------------------------------------------------


def test_a_model_for_guided_use_is_scored_with_the_guide_and_refused_without(
    few: Cut, tmp_path: Path
) -> None:
    """Two steps teach it nothing; bonds, contacts and hands are the guide's."""
    system = SystemSettings(
        topology=few.folder / "topol.top",
        trajectory=few.folder / "aa.trr",
        mapping=(few.folder / "mapping.xml",),
        temperature=350.0,
        frames=2,
    )
    settings = tiny_settings(
        tmp_path / "out",
        guided=True,
        system=(system,),
        warm=WarmSettings(steps=2, batch=8, draws=2),
        adversarial=AdversarialSettings(steps=0),
    )
    trained = train(replace(settings, run=replace(settings.run, sweeps=1)))
    found = trained.scores["octane"]
    assert found["contacts"] == 0
    assert found["bond"] < 0.2
    assert found["beads"] < 0.02
    inputs = few.inputs
    given = {"-s": inputs.structure, "-cp": inputs.cg_topology, "-p": inputs.topology}
    given |= {"-m": inputs.mappings[0], "--model": trained.path, "--refine": "gibbs", "--sweeps": 0}
    for more, code in (({}, 0), ({"--unguided": None}, 1)):
        done = command("backmap", given | more | {"-o": tmp_path / "aa.gro", "--allow": "all"})
        assert done.code == code, done.err
    assert "has learnt no hydrogens" in done.err


def test_the_model_tells_where_it_comes_from_and_rebuilds_atoms(few: Cut, tmp_path: Path) -> None:
    """Through the command line, from the training file to atoms."""
    (tmp_path / "train.toml").write_text(
        f"""
        output = "out"
        name = "mine"
        network = {{ width = 8, blocks = 1, noise = 4 }}
        critic = {{ width = 8, blocks = 1 }}
        warm = {{ steps = 2, batch = 8 }}
        adversarial = {{ steps = 2, batch = 4, critic_steps = 1 }}
        run = {{ log = 1, evaluate = 2, sweeps = 1 }}
        [[system]]
        topology = "{few.folder / "topol.top"}"
        trajectory = "{few.folder / "aa.trr"}"
        mapping = "{few.folder / "mapping.xml"}"
        temperature = 350
        frames = 2
        """
    )
    done = command("train", {str(tmp_path / "train.toml"): None, "--threads": 1, "--seed": 5})
    assert done.code == 0, done.err
    assert "steps          4 of 4" in done.out
    model = load_model(tmp_path / "out" / "mine.pt")
    origin = model.provenance
    assert origin["settings"]["seed"] == 5
    assert origin["steps"] == 4
    assert origin["systems"] == [{"name": "octane", "frames": 1, "held_out": 1, "temperature": 350.0}]
    assert set(origin["scores"]["octane"]) == {"bond", "angle", "dihedral", "contacts", "flipped", "beads"}
    assert (tmp_path / "out" / "mine_best.pt").is_file()
    speed = log_of(tmp_path / "out", "adversarial")[-1]
    assert speed["gflops"] > 0
    assert speed["hours_left"] == 0
    assert [line["step"] for line in log_of(tmp_path / "out", "scores")] == [2, 4]
    inputs = few.inputs
    rebuilt = command(
        "backmap",
        {"-s": inputs.structure, "-cp": inputs.cg_topology, "-p": inputs.topology, "-m": inputs.mappings[0]}
        | {"-o": tmp_path / "aa.gro", "--model": tmp_path / "out" / "mine.pt"}
        | {"--refine": "gibbs", "--sweeps": 0, "--allow": "all"},
    )
    assert rebuilt.code == 0, rebuilt.err
    assert (tmp_path / "aa.gro").is_file()
    assert describe_models(tmp_path) == ["none"]
    (tmp_path / "shelf").mkdir()
    (tmp_path / "out" / "mine.pt").rename(tmp_path / "shelf" / "mine.pt")
    said = "\n".join(describe_models(tmp_path / "shelf"))
    assert said.startswith("mine\n  atoms        C4, H@C4\n  beads        A\n")
    assert "trained on   octane: 1 frames at 350 K, 1 more held out" in said
    assert "held out     octane: bond " in said


def test_the_models_command_lists_what_ships() -> None:
    done = command("models")
    assert done.code == 0
    assert "transferred\n  atoms        C3a, C4, H@C3a, H@C4\n  beads        A, B\n" in done.out


def test_the_models_command_says_what_a_file_is(
    unbroken: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = load_model(unbroken / "model.pt")
    systems = [{**model.provenance["systems"][0], "name": "red\033[31m"}]
    save_model(replace(model, provenance={**model.provenance, "systems": systems}), tmp_path / "red.pt")
    assert main(["models", "sps", str(tmp_path / "red.pt")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("sps\n  atoms ")
    assert f"\n\n{tmp_path / 'red.pt'}\n  atoms        C4, H@C4\n" in said
    assert "trained on   red\\x1b[31m: 1 frames" in said
    assert main(["models", str(unbroken / CHECKPOINT)]) == 1
    assert "is the checkpoint of a training; its model lies beside it" in capsys.readouterr().err


# --- fine-tuning ---------------------------------------------------------------------------------------


def small_model() -> Model:
    channels = Channels(
        atoms={"C4": ["C4"], "H@C4": ["H@C4"]},
        bonded={"bond": ["bond"]},
        lennard_jones={"heavy": ["[!H]*"]},
        beads={"A": ["A"]},
    )
    torch.manual_seed(3)
    network = Generator(channels.width, Shape(width=8, blocks=1, noise=4))
    torch.nn.init.normal_(network.blocks[0].second.weight, std=0.1)
    return Model(Grid(), channels, network.shape, network.state_dict(), {"name": "small"})


def test_new_channels_are_silent_at_first() -> None:
    model = small_model()
    wanted = Channels(
        atoms={"C3a": ["C3a"], "C4": ["C4"]}, bonded={}, lennard_jones={}, beads={"A": ["A"], "B": ["B"]}
    )
    channels = merged(model.channels, wanted)
    assert channels.names == (
        "atom:C4", "atom:H@C4", "atom:C3a", "bonded:bond", "lj:heavy", "bead:A", "bead:B",
    )  # fmt: skip
    wide = widen(model, channels)
    old = [channels.names.index(name) for name in model.channels.names]
    seen, noise = torch.rand(3, 7, 8, 8, 8), torch.randn(3, 4)
    label = torch.rand(3, 7)
    before = build_generator(model)(seen[:, old], label[:, old], noise)
    network = build_generator(wide)
    after = network(seen, label, noise)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-4)
    # and they can learn
    after.square().sum().backward()
    assert float(network.fold.weight.grad[:, channels.names.index("bead:B")].abs().max()) > 0


def test_what_a_pattern_shows_already_gets_no_channel_of_its_own() -> None:
    known = Channels(
        atoms={"carbon": ["C*"]}, bonded={}, lennard_jones={"heavy": ["[!H]*"]}, beads={"A": ["A"]}
    )
    wanted = default_channels(["C4", "O2"], ["A", "B"])
    both = merged(known, wanted)
    assert list(both.atoms) == ["carbon", "O2"]
    assert list(both.lennard_jones) == ["heavy", "hydrogen"]
    assert list(both.beads) == ["A", "B"]


def test_fine_tuning_begins_with_the_model_and_says_so(tmp_path: Path) -> None:
    save_model(small_model(), tmp_path / "small.pt")
    settings = tiny_settings(tmp_path / "out", start=str(tmp_path / "small.pt"))
    done = train(settings, max_hours=1e-9)
    model = load_model(done.path)
    assert set(model.channels.names) > set(small_model().channels.names)
    assert model.shape == small_model().shape
    assert model.provenance["start"] == {"name": "small"}
    k = model.channels.names.index("bead:A")
    expected = small_model().state["fold.weight"][:, -1].bfloat16().float()
    assert torch.equal(model.state["fold.weight"][:, k], expected)
    assert train(settings).step == 8


# --- amplitude -----------------------------------------------------------------------------------------


def test_the_amplitude_is_that_of_the_best_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of heavy atoms first; that of hydrogens is best where it goes with the one of heavy atoms."""

    def off(model: Model, systems: Any, how: Generation) -> float:
        heavy, hydrogens = model.amplitude
        return 2 * abs(heavy - 0.5) + abs(hydrogens - heavy - 0.35)

    monkeypatch.setattr(scores, "amplitude_error", off)
    assert calibrated(small_model(), [], Generation(sweeps=0, seed=1)).amplitude == (0.5, 0.85)


def test_the_amplitude_is_found_in_the_end_and_kept(few: Cut, tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    system = replace(settings.system[0], topology=few.folder / "topol.top", trajectory=few.folder / "aa.trr")
    settings = replace(settings, system=(system,), run=replace(settings.run, calibrate=True, evaluate=8))
    assert train(settings, max_hours=1e-9).step == 0
    assert load_model(tmp_path / "model.pt").amplitude == (1.0, 1.0)
    done = train(settings)
    model, (line,) = load_model(done.path), log_of(tmp_path, "amplitude")
    assert model.amplitude == (line["heavy"], line["hydrogens"])
    assert set(model.amplitude) <= set(AMPLITUDES)
    train(settings)  # nothing left to do
    assert len(log_of(tmp_path, "amplitude")) == 1
    assert load_model(done.path).amplitude == model.amplitude


def test_the_amplitude_is_that_of_the_model_it_goes_on_from(tmp_path: Path) -> None:
    save_model(replace(small_model(), amplitude=(0.3, 0.6)), tmp_path / "small.pt")
    settings = tiny_settings(tmp_path / "out", start=str(tmp_path / "small.pt"))
    assert load_model(train(settings, max_hours=1e-9).path).amplitude == (0.3, 0.6)
    assert load_model(train(settings).path).amplitude == (0.3, 0.6)


# --- scores --------------------------------------------------------------------------------------------


def test_models_are_compared_by_one_number() -> None:
    assert overall({"a": {"bond": 0.1, "flipped": 0.3, "contacts": 80.0}}) == pytest.approx(0.2)


def test_frames_score_nothing_against_themselves(octane: Example) -> None:
    pair = make_pair(octane.system, Frame(octane.atoms.astype(np.float32), octane.box))
    perfect = score_frames(octane.system, [octane.atoms], [pair])
    assert perfect == pytest.approx(dict.fromkeys(perfect, 0.0), abs=1e-4)
    rng = np.random.default_rng(1)
    noisy = octane.atoms + 0.01 * rng.normal(size=octane.atoms.shape)
    found = score_frames(octane.system, [noisy], [pair])
    assert found["bond"] > 0.1
    assert 0.005 < found["beads"] < 0.02


# --- learning ------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_tiny_network_learns_one_molecule_by_heart(tmp_path: Path, octane: Example) -> None:
    """The atoms of each bead, placed one by one amid those of the others, come out where they were."""
    molecule = share_path("molecules", "OCT")
    one = read_topology(molecule / "topol.top")
    with open_writer(tmp_path / "one.gro", one) as writer:
        writer.write(Frame(octane.atoms[: one.n_atoms].astype(np.float32), octane.box))
    system = SystemSettings(
        topology=molecule / "topol.top",
        trajectory=tmp_path / "one.gro",
        mapping=(molecule / "mapping.xml",),
        held_out=0,
    )
    settings = tiny_settings(
        tmp_path,
        system=(system,),
        network=Shape(width=24, blocks=2, noise=2),
        warm=WarmSettings(steps=1000, batch=32, draws=1, rate=5e-3, jitter=0.0),
        adversarial=AdversarialSettings(steps=5, batch=4, critic_steps=2),
        run=RunSettings(log=500, evaluate=0, average=0.98, calibrate=False),
    )
    model = load_model(train(settings).path)
    data = read_training_system(system)
    dataset = make_dataset([data], model.channels, grid=model.grid)
    untrained = replace(model, state=Generator(model.channels.width, model.shape).state_dict())
    assert distance_off(dataset, untrained) > 0.1
    assert distance_off(dataset, model) < 0.025


@torch.no_grad()
def distance_off(dataset: Dataset, model: Model) -> float:
    """How far a model places atoms off the data, all others in place, nm (rms)."""
    network, rng = build_generator(model), torch.Generator().manual_seed(1)

    def place(
        density: torch.Tensor, label: torch.Tensor, truth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = network(density, label, torch.randn(len(label), model.shape.noise, generator=rng))
        return drawn, collapse(drawn, dataset.grid)

    batch = draw_batch(dataset, 64, sweeps=1.0, rng=rng)
    rolled = roll_out(dataset, batch, torch.from_numpy(dataset.table.features), place)
    off = rolled.moved.square().sum(-1)
    return float(off[off > 0].mean().sqrt())


# --- several processes ---------------------------------------------------------------------------------

SECOND = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny import train_and_keep
train_and_keep(Path({folder!r}))
"""


def test_two_processes_train_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of this test and another one, with what ``torchrun`` tells the processes it starts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    second = subprocess.Popen(
        [sys.executable, "-c", SECOND.format(tests=str(Path(__file__).parent), folder=str(tmp_path))],
        env=os.environ | told | {"RANK": "1", "LOCAL_RANK": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    join = partial(torch.distributed.init_process_group, timeout=timedelta(seconds=300))
    with monkeypatch.context() as patch:
        patch.setattr(torch.distributed, "init_process_group", join)
        for name, value in (told | {"RANK": "0", "LOCAL_RANK": "0"}).items():
            patch.setenv(name, value)
        train_and_keep(tmp_path)
    assert second.wait(timeout=300) == 0, second.communicate()
    one, other = (torch.load(tmp_path / f"rank{k}.pt", weights_only=True) for k in (0, 1))
    assert same(one["generator"], other["generator"])
    assert same(one["critic"], other["critic"])
    assert not torch.equal(one["rng"], other["rng"])  # each draws data of its own
    state = saved_in(tmp_path / "out")
    assert len(state["dice"]) == 2
    assert log_of(tmp_path / "out", "start")[0]["processes"] == 2
    assert len(log_of(tmp_path / "out", "done")) == 1  # one of them writes
    with pytest.raises(InputError, match="a checkpoint of 2 processes, these are 1"):
        train(tiny_settings(tmp_path / "out"))

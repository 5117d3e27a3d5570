"""Training on a graphics card, as far as it can be tested without one, and with one where there is one."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import OCTANE, tiny_settings
from torch.overrides import TorchFunctionMode

from dbm_gmx.errors import InputError
from dbm_gmx.files.share import share_path
from dbm_gmx.network.model import load_model
from dbm_gmx.train.dataset import make_dataset, moved_to
from dbm_gmx.train.distributed import Processes
from dbm_gmx.train.frames import channels_for, read_training_system
from dbm_gmx.train.settings import AdversarialSettings, RunSettings, WarmSettings
from dbm_gmx.train.start import first_model
from dbm_gmx.train.state import (
    Context,
    TrainingState,
    draw_spread,
    make_context,
    make_training_state,
    take_step,
)

FACTORIES = {
    *(
        torch.zeros,
        torch.ones,
        torch.full,
        torch.empty,
        torch.tensor,
        torch.arange,
        torch.linspace,
        torch.eye,
    ),
    *(torch.rand, torch.randn, torch.randint, torch.randperm),
}
NO_CARD = "no graphics card that CUDA can use"


def training(output: Path, device: str = "cpu") -> tuple[TrainingState, Context]:
    """One step of each phase, all losses switched on."""
    settings = tiny_settings(
        output,
        warm=WarmSettings(steps=1, batch=16, draws=2, blur=0.05),
        adversarial=AdversarialSettings(steps=1, batch=6, critic_steps=1, supervised=0.5),
        run=RunSettings(device=device, precision="float32"),
    )
    systems = [read_training_system(one) for one in settings.system]
    model = first_model(settings, channels_for([one.system for one in systems], None))
    dataset = make_dataset(systems, model.channels, grid=model.grid)
    return make_training_state(settings, model, Processes()), make_context(dataset, settings, Processes())


class Watch(TorchFunctionMode):
    """Notes where the package makes a tensor without saying on which device.

    Random numbers of a stream of the training are of the processor: they are moved afterwards.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, caller = kwargs or {}, sys._getframe(1)
        ours = "dbm_gmx" in caller.f_code.co_filename
        if func in FACTORIES and ours and given.get("device") is None and given.get("generator") is None:
            self.found.append(f"{caller.f_code.co_filename}:{caller.f_lineno}")
        return func(*args, **given)


def test_a_step_says_of_every_tensor_where_it_is_made(tmp_path: Path) -> None:
    state, context = training(tmp_path)
    with Watch() as watch:
        take_step(state, context)
        take_step(state, context)
        draw_spread(state, context, count=4)
    assert state.step == 2
    assert watch.found == []
    with Watch() as watch:
        namespace: dict[str, Any] = {"torch": torch}
        exec(compile("made = torch.zeros(3)", "dbm_gmx/made_up.py", "exec"), namespace)
    assert watch.found == ["dbm_gmx/made_up.py:1"]  # it would be noticed


def test_all_of_a_training_is_on_the_device(tmp_path: Path) -> None:
    """On a device without memory, so that whatever is left behind shows."""
    _, context = training(tmp_path)
    left = [
        path for path, where in tensors(moved_to(context.dataset, torch.device("meta"))) if where != "meta"
    ]
    assert left == []
    assert {where for _, where in tensors(context.dataset)} == {"cpu"}


def tensors(record: Any, path: str = "") -> list[tuple[str, str]]:
    """Names and devices of all tensors in a record."""
    if isinstance(record, torch.Tensor):
        return [(path, record.device.type)]
    if isinstance(record, tuple):
        return [found for k, one in enumerate(record) for found in tensors(one, f"{path}[{k}]")]
    fields = getattr(record, "__dataclass_fields__", {})
    return [found for name in fields for found in tensors(getattr(record, name), f"{path}.{name}")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics card")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no device 'cuda'"):
        training(tmp_path, "cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CARD)
def test_card_and_processor_agree(tmp_path: Path) -> None:
    """The same batches and noise, and the same losses but for rounding."""
    found = []
    for device in ("cpu", "cuda"):
        state, context = training(tmp_path, device)
        found.append([take_step(state, context) for _ in range(2)])
        assert all(value.device.type == device for value in state.average.values())
    for here, there in zip(*found, strict=True):
        assert here.keys() == there.keys()
        for key in here:
            assert there[key] == pytest.approx(here[key], rel=2e-3, abs=1e-4), key


@pytest.mark.long  # eight trainings, each in a process of its own
def test_the_recipe_trains_six_models(tmp_path: Path) -> None:
    options = ["--steps", "2", "1", "--width", "8", "--minutes", "20", "--frames", "2", "--held-out", "1"]
    made = six(tmp_path, *options)
    assert len(made["trainings"]) == 8
    for kind in ("sps", "transferred"):
        for prior in ("none", "p1", "p2"):
            model = load_model(tmp_path / "out" / f"{kind}-{prior}" / f"{kind}-{prior}.pt")
            assert model.provenance["steps"] == 1
            assert model.provenance["settings"]["prior"]["kind"] == prior
            assert "start" in model.provenance


def test_the_recipe_goes_on_from_models_with_seeds() -> None:
    """What it would train: the priors from two models, some with more seeds, on the data of a folder."""
    space = runpy.run_path(str(share_path("recipes", "train") / "six.py"))
    options = [
        "--from",
        "sps",
        "here.pt",
        "--data",
        "data",
        "--seeds",
        "transferred-p1=2",
        "--steps",
        "0",
        "7",
    ]
    given = space["arguments"](["out", *options])
    every = {one.name: one for one in space["wanted"](given)}
    assert list(every)[:4] == ["sps-none", "sps-p1", "sps-p2", "transferred-none"]
    assert list(every)[4:] == ["transferred-p1", "transferred-p1-2", "transferred-p2"]
    second = every["transferred-p1-2"]
    assert (second.seed, second.start, second.prior.kind, second.guided) == (2, "here.pt", "p1", True)
    assert [one.trajectory for one in second.system] == [
        Path("data") / name / "aa.xtc" for name in ("octane", "cumene")
    ]
    assert (second.steps, every["sps-none"].steps) == (2, 2)  # seven in batches four times as large
    with pytest.raises(SystemExit, match="no training sps-p3; there are sps-none, sps-p1"):
        space["wanted"](space["arguments"](["out", *options, "--only", "sps-p3"]))


def six(folder: Path, *options: str) -> dict[str, Any]:
    """Run the recipe in a folder with octane for each system; its report."""
    for name in ("sps", "octane", "cumene"):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / name).symlink_to(OCTANE)
    script, given = share_path("recipes", "train") / "six.py", ["--device", "cpu", "--widen", "1"]
    command = [sys.executable, script, folder / "out", "--data", folder / "data", *given, *options]
    subprocess.run(list(map(str, command)), check=True)
    report: dict[str, Any] = json.loads((folder / "out" / "six.json").read_text())
    return report

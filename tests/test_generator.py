"""The network and its file."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from systems import Example, alkane, mapping, molecule, system
from torch.utils.flop_counter import FlopCounterMode

from dbm_gmx.errors import InputError
from dbm_gmx.network import model as model_module
from dbm_gmx.network.arrays import make_network_arrays
from dbm_gmx.network.channels import Channels, default_channels, matching
from dbm_gmx.network.environment import Environment, densities, make_environment, make_targets
from dbm_gmx.network.generator import Generator, Shape, operations
from dbm_gmx.network.guide_steps import ALL_KNOWN
from dbm_gmx.network.model import (
    Model,
    best_device,
    best_dtype,
    build_generator,
    find_model,
    load_model,
    network_generator,
    read_model,
    save_model,
    sealed,
    unsealed,
)
from dbm_gmx.network.suitable import doubts, resolution
from dbm_gmx.network.voxels import Grid
from dbm_gmx.options import ASSUMED, Conditions
from dbm_gmx.train.start import merged

CHANNELS = 11
SMALL = Shape(width=16, blocks=2, noise=8)


def random_generator(channels: int = CHANNELS, shape: Shape = SMALL) -> Generator:
    """A network all of whose weights matter; at the start of training its blocks are the identity."""
    rng = torch.Generator().manual_seed(1)
    network = Generator(channels, shape)
    with torch.no_grad():
        for p in network.parameters():
            scale = 1 / p[0].numel() ** 0.5 if p.ndim > 1 else 0.1
            p.copy_(scale * torch.randn(p.shape, generator=rng))
    return network.eval()


def inputs(batch: int, *, channels: int = CHANNELS, size: int = 8) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(2)
    return (
        torch.rand(batch, channels, size, size, size, generator=rng),
        torch.nn.functional.one_hot(torch.arange(batch) % channels, channels).float(),
        torch.randn(batch, SMALL.noise, generator=rng),
    )


@torch.no_grad()
def test_output_is_a_density_on_the_grid():
    for size in (8, 6):
        density = random_generator()(*inputs(5, size=size))
        assert density.shape == (5, size, size, size)
        assert density.dtype == torch.float32
        assert float(density.min()) > 0
        assert torch.allclose(density.sum((1, 2, 3)), torch.ones(5), atol=1e-5)


@torch.no_grad()
def test_voxels_come_out_where_they_go_in():
    # weights that hand the first channel through: fold and unfold must be each other's inverse
    network = Generator(3, Shape(width=8, blocks=0, noise=1))
    for layer in (network.fold, network.unfold):
        layer.weight.zero_()
        layer.bias.zero_()
    for k in range(8):
        network.fold.weight[k, 0, k // 4, k // 2 % 2, k % 2] = 1
        network.unfold.weight[k, k] = 1
    seen, label, noise = inputs(2, channels=3)
    expected = seen[:, 0].flatten(1).softmax(1).reshape(2, 8, 8, 8)
    assert torch.allclose(network(seen, label, noise[:, :1]), expected, atol=1e-6)


@pytest.mark.parametrize(("blocks", "sees"), [(1, False), (2, True)])
def test_two_blocks_see_the_whole_grid(blocks, sees):
    network, (seen, label, noise) = random_generator(shape=replace(SMALL, blocks=blocks)), inputs(1)
    logs = network(seen.requires_grad_(), label, noise).log()
    # the ratio of two voxels of a patch, as the sum over all voxels sees everything
    (gradient,) = torch.autograd.grad(logs[0, 7, 7, 7] - logs[0, 7, 7, 6], seen)
    assert (float(gradient[0, :, 0, 0, 0].abs().max()) > 1e-6) == sees


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)], ids=str)
def test_a_sample_does_not_depend_on_its_batch(dtype, tolerance):
    network = random_generator().to(dtype)
    values = [v.to(dtype) for v in inputs(64)]
    together = network(*values)
    scale = float(together.max())
    for size in (2, 7):
        parts = [network(*part) for part in zip(*(v.split(size) for v in values), strict=True)]
        assert float((torch.cat(parts) - together).abs().max()) < tolerance * scale
    values[0][1:] = 3  # other company
    assert float((network(*values)[0] - together[0]).abs().max()) < tolerance * scale


@torch.no_grad()
def test_noise_and_class_steer_the_output():
    network = random_generator()
    seen, label, noise = inputs(2)
    before = network(seen, label, noise)
    assert float((network(seen, label, -noise) / before - 1).abs().max()) > 0.05
    assert float((network(seen, label.flip(0), noise) / before - 1).abs().max()) > 0.05


def test_every_weight_learns():
    network = random_generator()
    network(*inputs(3)).square().sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in network.parameters() if p is not network.unfold.bias)


@torch.no_grad()
@pytest.mark.parametrize("shape", [Shape(), Shape(width=48, blocks=5, noise=16)])
@pytest.mark.parametrize("channels", [12, 40])
def test_operations_are_those_torch_counts(channels, shape):
    network, (seen, label, _) = Generator(channels, shape), inputs(2, channels=channels)
    with FlopCounterMode(display=False) as counter:
        network(seen, label, torch.zeros(2, shape.noise))
    assert operations(channels, shape, 8) == pytest.approx(counter.get_total_flops() / 2, rel=0.02)


# the model file


@pytest.fixture
def model() -> Model:
    channels = default_channels(["C4", "C3a", "H@C4", "H@C3a"], ["A", "B"])
    network = random_generator(channels.width)
    provenance = {"data": ["octane", "cumene"], "steps": 100, "score": 0.5}
    return Model(Grid(cutoff=0.6), channels, SMALL, network.state_dict(), provenance)


def test_a_model_is_read_as_it_was_written(tmp_path, model):
    path = tmp_path / "small.pt"
    model = replace(model, amplitude=(0.5, 0.75))
    save_model(model, path)
    again = load_model(path)
    assert again.amplitude == (0.5, 0.75)
    assert again.grid == model.grid
    assert again.channels == model.channels
    assert isinstance(again.channels, Channels)
    assert again.channels.bond_counts
    assert again.shape == model.shape
    assert again.provenance == model.provenance
    assert again.state.keys() == model.state.keys()
    for key, value in model.state.items():
        assert again.state[key].dtype == torch.float32
        assert torch.equal(again.state[key], value.bfloat16().float())
    second = tmp_path / "again.pt"
    save_model(again, second)  # nothing is lost any more
    assert all(torch.equal(v, again.state[k]) for k, v in load_model(second).state.items())


def test_a_model_file_that_does_not_say_so_has_channels_by_exclusion(tmp_path, model):
    path, channels = tmp_path / "old.pt", tmp_path / "channels.toml"
    save_model(model, path)
    plain = plain_of(path)
    del plain["bond_counts"]
    write(plain, path)
    assert not load_model(path).channels.bond_counts
    # a channel file says which classes share a channel; how neighbours were shown in training stays
    sections = model.channels.plain()
    lines = [
        f"[{s}]\n" + "".join(f"{json.dumps(k)} = {v}\n" for k, v in g.items()) for s, g in sections.items()
    ]
    channels.write_text("".join(lines))
    assert read_model(path, channels).channels == load_model(path).channels
    assert merged(load_model(path).channels, model.channels) == load_model(path).channels


def test_a_model_file_holds_plain_types_only(tmp_path, model):
    path = tmp_path / "small.pt"
    save_model(model, path)
    plain = plain_of(path)
    assert set(plain) == {
        "format",
        "grid",
        "channels",
        "bond_counts",
        "shape",
        "provenance",
        "amplitude",
        "state",
    }
    assert path.stat().st_size < 2.5 * sum(v.numel() for v in model.state.values()) + 20_000


@torch.no_grad()
def test_a_loaded_model_generates_as_the_saved_one(tmp_path, model):
    save_model(model, tmp_path / "small.pt")
    values = inputs(3, channels=model.channels.width)
    before, after = (build_generator(m)(*values) for m in (model, load_model(tmp_path / "small.pt")))
    assert torch.allclose(after, before, atol=0.02 * float(before.max()))  # weights of three digits


def environment_of(example: Example, count: int) -> Environment:
    targets = make_targets(torch.arange(count), ALL_KNOWN)
    return make_environment(example.scene(), targets, torch.zeros(count), Grid())


@torch.no_grad()
def test_environments_go_through_the_network_with_their_class(tiny):
    network = random_generator(tiny.channels.width)
    environment, (*_, noise) = environment_of(tiny, 20), inputs(20)
    cpu = torch.device("cpu")
    generate = network_generator(network, tiny.table, Grid(), device=cpu, dtype=torch.float32)
    label = tiny.features[environment.atom_class]
    expected = network(densities(environment, tiny.features, Grid()), label, noise)
    assert torch.allclose(generate(environment, noise), expected, atol=1e-6)
    half = network_generator(network, tiny.table, Grid(), device=cpu, dtype=torch.bfloat16)
    result = half(environment, noise)
    assert result.dtype == torch.float32
    assert torch.allclose(result, expected, atol=0.1 * float(expected.max()))


@pytest.fixture
def shipped(tmp_path, monkeypatch, model) -> Path:
    """A folder of shipped models."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("one", "two"):
        save_model(replace(model, provenance={"name": name}), folder / f"{name}.pt")
    monkeypatch.setattr(model_module, "share_path", lambda *parts: tmp_path.joinpath(*parts))
    return folder


def test_models_are_found_by_name_and_by_path(shipped, monkeypatch):
    assert load_model("two").provenance == {"name": "two"}
    assert find_model("one") == shipped / "one.pt"
    assert find_model(shipped / "one.pt") == shipped / "one.pt"
    (shipped.parent / "one").write_text("mine")
    monkeypatch.chdir(shipped.parent)
    assert find_model("one") == Path("one")  # a file goes before a name


def test_unknown_names_list_the_models_there_are(shipped):
    with pytest.raises(InputError, match="no model three: not a file, and the models that ship are one, two"):
        load_model("three")
    for path in shipped.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="the models that ship are none"):
        load_model("three")


def write(plain: object, path: Path) -> None:
    """A file with a right hash, whatever is in it."""
    content = BytesIO()
    torch.save(plain, content)
    path.write_bytes(sealed(content.getvalue()))


def plain_of(path: Path) -> dict[str, Any]:
    plain: dict[str, Any] = torch.load(BytesIO(unsealed(path)), weights_only=True)
    return plain


def test_files_that_are_no_models_are_refused(tmp_path, model):
    path = tmp_path / "model.pt"
    save_model(model, path)
    whole = path.read_bytes()
    for content in (b"", b"[ moleculetype ]\n", b"PK\x03\x04 cut", whole[:-1], whole[:5000], whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a model file") as caught:
            load_model(path)
        assert caught.value.path == path
    path.write_bytes(sealed(b"not of torch"))
    with pytest.raises(InputError, match="not a model file"):
        load_model(path)
    write([1, 2], path)
    with pytest.raises(InputError, match="format 'list'"):
        load_model(path)
    path.write_bytes(whole)
    write(plain_of(path) | {"format": "dbm_gmx model 1"}, path)
    with pytest.raises(InputError, match="format 'dbm_gmx model 1'; this version reads 'dbm_gmx model 2'"):
        load_model(path)


def test_every_flipped_bit_is_refused(tmp_path, model):
    """Wherever in the file it is, also where torch does not look."""
    path = tmp_path / "model.pt"
    save_model(model, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    places = [*rng.integers(0, len(whole), 200).tolist(), 0, len(whole) - 1, len(whole) - 70]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(InputError, match="model file"):
            load_model(path)
    path.write_bytes(whole)
    assert load_model(path).grid == model.grid


def test_an_interrupted_writing_leaves_the_model_there_was(tmp_path, model, monkeypatch):
    path = tmp_path / "model.pt"
    save_model(model, path)
    before = path.read_bytes()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        save_model(replace(model, amplitude=(0.5, 0.5)), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("grid", {"size": 10**6}, "a grid of 1000000 voxels a side; possible are even numbers from 2 to 64"),
        ("grid", {"size": 7}, "a grid of 7 voxels"),
        ("grid", {"size": -8}, "a grid of -8 voxels"),
        ("grid", {"size": 8.0}, "a grid of 8.0 voxels"),
        ("grid", {"edge": float("nan")}, "edge of the grid is nan"),
        ("grid", {"sigma": 0.0}, "sigma of the grid is 0"),
        ("grid", {"size": 8, "colour": 3}, "colour"),
        ("shape", {"width": 10**9}, "width of the network is 1000000000"),
        ("shape", {"blocks": 10**12}, "blocks of the network"),
        ("shape", {"noise": True}, "noise of the network is True"),
        ("shape", {"width": 5}, "weights that are not those of the network"),
        ("state", {}, "weights that are not those of the network"),
        ("amplitude", [1.0, float("inf")], "amplitudes of the random vector"),
        ("amplitude", [1.0], "amplitudes of the random vector"),
        ("provenance", 5, "damaged model file"),
        ("provenance", {"scores": ["bond"]}, "what it says of scores"),
        ("provenance", {"scores": {"sps": {"bond": "x"}}}, "what it says of scores"),
        ("provenance", {"systems": {"name": "sps"}}, "what it says of systems"),
        ("provenance", {"systems": [{"name": "sps"}]}, "what it says of systems"),
        ("provenance", {"resolution": {"A": [1]}}, "what it says of resolution"),
        ("provenance", {"resolution": {"A": [1, "x"]}}, "what it says of resolution"),
        ("provenance", {"classes": [["C4"]]}, "what it says of classes"),
        ("provenance", {"settings": None}, "what it says of settings"),
        ("channels", {"atoms": {"C4": "C4"}}, "it takes a list of names"),
    ],
)
def test_damaged_models_are_refused_before_memory_is_taken(tmp_path, model, key, value, said):
    path = tmp_path / "model.pt"
    save_model(model, path)
    write(plain_of(path) | {key: value}, path)
    with pytest.raises(InputError, match=said):
        load_model(path)


def test_a_model_without_a_part_or_with_weights_that_are_no_numbers_is_refused(tmp_path, model):
    path = tmp_path / "model.pt"
    save_model(model, path)
    plain = plain_of(path)
    name = next(iter(plain["state"]))
    for bad in (float("nan"), float("-inf")):
        state = dict(plain["state"])
        state[name] = state[name].clone()
        state[name].view(-1)[0] = bad
        write(plain | {"state": state}, path)
        with pytest.raises(InputError, match=f"weights that are no numbers, in {name}"):
            load_model(path)
    del plain["channels"]
    write(plain, path)
    with pytest.raises(InputError, match="damaged model file"):
        load_model(path)


def channel_file(path: Path, channels: Channels) -> Path:
    lines = []
    for section, group in channels.plain().items():
        lines += [f"[{section}]", *(f'"{name}" = {list(members)}' for name, members in group.items())]
    path.write_text("\n".join(lines))
    return path


def test_channels_are_compared_by_name_and_meaning(tmp_path, model, caplog):
    """As many of other names are refused; in another order they are put in order."""
    path = tmp_path / "model.pt"
    save_model(model, path)
    known = model.channels
    wider = replace(known, beads={"B": ["B"], "A": ["A", "CH2"]})
    read = read_model(path, channel_file(tmp_path / "wider.toml", wider))
    assert read.channels.names == known.names
    assert read.channels.beads == {"A": ["A", "CH2"], "B": ["B"]}
    assert not caplog.records
    renamed = replace(known, beads={"A": ["A"], "C": ["B"]})
    with pytest.raises(InputError, match="without bead:B and with bead:C, which it does not have"):
        read_model(path, channel_file(tmp_path / "renamed.toml", renamed))
    turned = replace(known, bonded={"bond": ["angle"], "angle": ["bond"], "dihedral": ["dihedral"]})
    with pytest.raises(InputError, match="other roles: bond = angle instead of bond"):
        read_model(path, channel_file(tmp_path / "turned.toml", turned))
    swapped = replace(known, beads={"A": ["B"], "B": ["A"]})
    read_model(path, channel_file(tmp_path / "swapped.toml", swapped))
    assert "[beads] A = B instead of A, [beads] B = A instead of B" in caplog.text


def test_what_a_model_was_trained_for_is_compared_with_what_it_is_used_for(model):
    octane = alkane(8)
    made = system((octane, mapping(octane, [0, 0, 0, 0, 1, 1, 2, 2], "ABB"), 2))
    assert resolution(made) == {"A": (4, 4), "B": (2, 2)}
    trained = {"systems": [{"name": "sps", "temperature": 500.0}], "resolution": {"A": [3, 4], "B": [2, 6]}}
    good = replace(model, provenance=trained)
    for kelvin in (420.0, 500.0, 600.0):
        assert doubts(good, made, Conditions(kelvin)) == []
    assert doubts(good, made, Conditions(300.0)) == ["trained at 500 K, used at 300 K"]
    assert doubts(good, made, Conditions(300.0, source=ASSUMED)) == []
    coarse = replace(model, provenance=trained | {"resolution": {"A": [1, 2]}})
    assert doubts(coarse, made, Conditions(500.0)) == [
        "bead type A: trained with 1 to 2 heavy atoms, used with 4 to 4"
    ]
    other = replace(model, provenance={"classes": ["C3", "H@C4"]})
    assert doubts(other, made, Conditions(500.0)) == ["atom class C4: not in its training, drawn as C4"]
    alike = replace(coarse, channels=replace(model.channels, beads={"any": ["*"]}))
    assert doubts(alike, made, Conditions(500.0)) == [
        "bead type A: trained with 1 to 2 heavy atoms, used with 4 to 4"
    ]
    alike = replace(alike, provenance=trained | {"resolution": {"C2": [2, 2], "C4": [4, 5]}})
    assert doubts(alike, made, Conditions(500.0)) == []
    bad = replace(model, provenance={"scores": {"sps": {"flipped": 0.25, "angle": 0.02}}})
    assert doubts(bad, made, Conditions(500.0)) == [
        "scores of frames held out of its training are bad: sps: flipped 0.25 (limit 0.01)"
    ]
    assert doubts(model, made, Conditions(500.0)) == []


def test_the_model_of_many_molecules_knows_what_it_says_and_no_more() -> None:
    """Each of its channels has a class that it was trained with."""
    shipped = load_model("molecules")
    channels, trained = shipped.channels, shipped.provenance["classes"]
    for name in channels.atoms:
        assert any(name in matching(channels.atoms, c) for c in trained), name
    amide = molecule(["C", "C", "O", "N", "C"], [(0, 1), (1, 2), (1, 3), (3, 4)], [3, 0, 0, 1, 3])
    made = system((amide, mapping(amide, [0, 0, 0, 1, 1], "XY"), 2))
    _, table = make_network_arrays(made, channels)
    assert len(table.features)
    assert not doubts(shipped, made, Conditions(400.0))
    alcohol = molecule(["C", "O"], [(0, 1)], [3, 1])
    assert not doubts(shipped, system((alcohol, mapping(alcohol, [0, 0], "X"), 2)), Conditions(400.0))
    united = molecule(["C", "C"], [(0, 1)], [3, 3], united=True)
    made = system((united, mapping(united, [0, 0], "X"), 2))
    assert doubts(shipped, made, Conditions(400.0)) == ["atom class CH3_1: not in its training, drawn as C4"]
    sulphide = molecule(["C", "S", "C"], [(0, 1), (1, 2)], [3, 0, 3])
    with pytest.raises(InputError, match="no channel for atom class S2"):
        make_network_arrays(system((sulphide, mapping(sulphide, [0] * 3, "X"), 2)), channels)


class Trap:
    """What a malicious file would run."""

    def __reduce__(self):
        return (Path.touch, (Path("sprung"),))


def test_a_model_file_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write({"format": "dbm_gmx model 2", "trap": Trap()}, Path("trap.pt"))
    with pytest.raises(InputError, match="not a model file"):
        load_model("trap.pt")
    assert not Path("sprung").exists()


def test_unknown_devices_are_refused():
    for name in ("nonsense", "", "cuda:99", "meta"):
        with pytest.raises(InputError, match="no device"):
            best_device(name)
    assert best_device("cpu") == torch.device("cpu")
    assert best_dtype(best_device()) in (torch.float32, torch.bfloat16)

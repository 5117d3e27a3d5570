"""The trained model: network, channels, grid and where they come from, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dbm_gmx.errors import InputError
from dbm_gmx.files.share import share_path
from dbm_gmx.network.channels import Channels, FeatureTable, channels_from_plain, read_channels
from dbm_gmx.network.environment import Environment, densities
from dbm_gmx.network.generator import Generator, Shape
from dbm_gmx.network.placement import Generate, Network
from dbm_gmx.network.voxels import Grid
from dbm_gmx.options import MODEL

FORMAT = "dbm_gmx model 1"
SUFFIX = ".pt"


@dataclass(frozen=True, eq=False)
class Model:
    """A generator and everything needed to use it.

    Attributes
    ----------
    grid, channels, shape
        Representation and network.
    state
        Weights.
    provenance
        What data, settings and scores it has; plain types.
    amplitude
        Standard deviation of the random vector when heavy atoms and when hydrogens are placed.  Less than 1
        where the network draws too widely: in sweeps, the widths add up.
    """

    grid: Grid
    channels: Channels
    shape: Shape
    state: Mapping[str, Tensor]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    amplitude: tuple[float, float] = (1.0, 1.0)


def save_model(model: Model, path: str | Path) -> None:
    """Write a model; weights as bfloat16, the precision they are used in."""
    torch.save(
        {
            "format": FORMAT,
            "grid": asdict(model.grid),
            "channels": model.channels.plain(),
            "bond_counts": model.channels.bond_counts,
            "shape": asdict(model.shape),
            "provenance": dict(model.provenance),
            "amplitude": list(model.amplitude),
            "state": {key: value.to(torch.bfloat16) for key, value in model.state.items()},
        },
        path,
    )


def find_model(name: str | Path) -> Path:
    """Path of a model given by path or by its name in ``share/models``.

    Raises
    ------
    InputError
        Listing the models there are.
    """
    shipped = share_path("models")
    for path in (Path(name), shipped / f"{name}{SUFFIX}"):
        if path.is_file():
            return path
    known = ", ".join(sorted(p.stem for p in shipped.glob(f"*{SUFFIX}"))) or "none"
    raise InputError(f"no model {name}: not a file, and the models that ship are {known}")


def load_model(name: str | Path = MODEL) -> Model:
    """Read a model by path or name.

    Raises
    ------
    InputError
        If the file is no model or of another format.
    """
    path = find_model(name)
    try:
        plain = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is none of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"not a model file: {reason}", path=path) from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        found = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        raise InputError(f"a model of format {found!r}; this version reads {FORMAT!r}", path=path)
    try:
        model = Model(
            grid=Grid(**plain["grid"]),
            # files made before this was a choice do not have it
            channels=channels_from_plain(
                plain["channels"], bond_counts=bool(plain.get("bond_counts")), path=path
            ),
            shape=Shape(**plain["shape"]),
            state={key: value.float() for key, value in plain["state"].items()},
            provenance=plain["provenance"],
            amplitude=tuple(plain.get("amplitude", (1.0, 1.0))),
        )
        build_generator(model)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"a damaged model file: {str(error).splitlines()[0]}", path=path) from error
    return model


def read_model(name: str | Path = MODEL, channels: str | Path | None = None) -> Model:
    """Read a model by path or name, and a channel file in place of its channels where one is given.

    Raises
    ------
    InputError
        See :func:`load_model`; or if the channel file has another number of channels than the network.
    """
    model = load_model(name)
    if channels is None:
        return model
    override = read_channels(channels)
    if override.width != model.channels.width:
        raise InputError(
            f"{override.width} channels, but model {name} has {model.channels.width}: "
            + ", ".join(model.channels.names),
            path=channels,
        )
    return replace(model, channels=replace(override, bond_counts=model.channels.bond_counts))


def describe_models(folder: Path | None = None) -> list[str]:
    """Say what each model in a folder, by default those that ship, knows and how it scores."""
    paths = sorted((folder or share_path("models")).glob(f"*{SUFFIX}"))
    return [_describe(path.stem, load_model(path)) for path in paths] or ["none"]


def _describe(name: str, model: Model) -> str:
    """A few lines on one model."""
    channels, provenance = model.channels, model.provenance
    weights = sum(value.numel() for value in model.state.values())
    lines = [
        name,
        f"  atoms        {', '.join(channels.atoms)}",
        f"  beads        {', '.join(channels.beads)}",
        f"  network      {weights} weights, {channels.width} channels, grid of {model.grid.edge:g} nm",
    ]
    lines += [
        f"  trained on   {s['name']}: {s['frames']} frames at {s['temperature']:g} K, "
        f"{s['held_out']} more held out"
        for s in provenance.get("systems", [])
    ]
    lines += [
        f"  held out     {system}: " + ", ".join(f"{key} {value:.3g}" for key, value in scores.items())
        for system, scores in provenance.get("scores", {}).items()
    ]
    return "\n".join(lines)


def build_generator(model: Model) -> Generator:
    """The network with the model's weights."""
    network = Generator(model.channels.width, model.shape)
    network.load_state_dict(dict(model.state))
    return network.eval()


def network_generator(
    network: Generator, table: FeatureTable, grid: Grid, *, device: torch.device, dtype: torch.dtype
) -> Generate:
    """The network as a function of environments.

    Parameters
    ----------
    dtype
        Precision of densities and network.
    """
    network = network.to(device=device, dtype=dtype, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    features = torch.from_numpy(table.features).to(device, dtype)

    def generate(environment: Environment, noise: Tensor) -> Tensor:
        density = densities(environment, features, grid).contiguous(memory_format=torch.channels_last_3d)
        result: Tensor = network(density, features[environment.atom_class], noise.to(dtype))
        return result

    return generate


def make_network(
    model: Model, table: FeatureTable, *, device: torch.device, generate: Generate | None = None
) -> Network:
    """A model in use, in the precision that is fastest on the device.

    Parameters
    ----------
    table
        Features of what occurs in the system.
    generate
        Used instead of the model's own generator.
    """
    if generate is None:
        generator, dtype = build_generator(model), best_dtype(device)
        generate = network_generator(generator, table, model.grid, device=device, dtype=dtype)
    return Network(generate, model.grid, model.shape.noise, model.amplitude)


def best_device(name: str | None = None) -> torch.device:
    """The device asked for, else the fastest there is.

    Raises
    ------
    InputError
        If the device is unknown or not there.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        float(torch.zeros(1, device=device))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise InputError(f"no device {name!r}: {reason}") from error
    return device


def best_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster than single precision."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return torch.bfloat16 if fast else torch.float32

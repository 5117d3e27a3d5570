"""The trained model: network, channels, grid and where they come from, in one file."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dbm_gmx.errors import InputError
from dbm_gmx.files.output import atomic_write
from dbm_gmx.files.share import share_path
from dbm_gmx.network.channels import (
    Channels,
    FeatureTable,
    changed_meaning,
    changed_roles,
    channels_from_plain,
    in_order,
    read_channels,
)
from dbm_gmx.network.environment import Environment, densities
from dbm_gmx.network.generator import Generator, Shape
from dbm_gmx.network.placement import Generate, Network
from dbm_gmx.network.voxels import Grid
from dbm_gmx.options import MODEL

log = logging.getLogger(__name__)

FORMAT = "dbm_gmx model 2"
CHECKPOINT = "dbm_gmx checkpoint"
"""What the format of a checkpoint of a training begins with."""

SUFFIX = ".pt"

SEAL = b"\ndbm_gmx sha256 "
"""What stands before the hash of all that is before it, at the end of a model file."""

LARGEST_GRID, LARGEST_NETWORK, LARGEST_LENGTH = 64, 4096, 100.0
"""Voxels along an edge, channels, blocks or random numbers, and nm, that a file may ask for."""


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


def save_model(model: Model, path: str | Path, *, over: bool = False) -> None:
    """Write a model and its hash; weights as bfloat16, the precision they are used in.

    The file appears complete or not at all.  An older one is backed up, or with ``over`` replaced.
    """
    content = BytesIO()
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
        content,
    )
    with atomic_write(path, over=over) as part:
        part.write_bytes(sealed(content.getvalue()))


def sealed(content: bytes) -> bytes:
    """The content of a file with its hash at the end."""
    return content + SEAL + sha256(content).hexdigest().encode()


def unsealed(path: Path, what: str = "model file") -> bytes:
    """The content of a file before its hash; ``what`` it should be is for the message.

    Raises
    ------
    InputError
        If there is none, or it is another.
    """
    end = path.stat().st_size - len(sealed(b""))
    with path.open("rb") as file:
        file.seek(max(0, end))
        if end < 0 or file.read(len(SEAL)) != SEAL:
            raise InputError(
                f"not a {what}: there is no hash at its end (cut short, or of an earlier version)",
                path=path,
            )
        file.seek(0)
        content = file.read()
    if sealed(content[:end]) != content:
        raise InputError(f"a damaged {what}: it does not have the hash it was written with", path=path)
    return content[:end]


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
        content = BytesIO(unsealed(path))
        plain = torch.load(content, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch raises many types for a file that is none of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"not a model file: {reason}", path=path) from error
    if isinstance(plain, dict) and str(plain.get("format")).startswith(CHECKPOINT):
        raise InputError("is the checkpoint of a training; its model lies beside it (model.pt)", path=path)
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
            provenance=dict(plain["provenance"]),
            amplitude=tuple(plain["amplitude"]),
        )
        problem = _problem(model)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"a damaged model file: {str(error).splitlines()[0]}", path=path) from error
    if problem:
        raise InputError(f"a damaged model file: {problem}", path=path)
    return model


def _problem(model: Model) -> str:
    """Say what of a model cannot be, before any memory is taken for it; nothing if all is well."""
    grid, shape = model.grid, model.shape
    if not _is_whole(grid.size, 2, LARGEST_GRID) or grid.size % 2:
        return f"a grid of {grid.size!r} voxels a side; possible are even numbers from 2 to {LARGEST_GRID}"
    for name in ("edge", "sigma", "cutoff"):
        value = getattr(grid, name)
        if not (_is_number(value) and 0 < value <= LARGEST_LENGTH):
            return f"{name} of the grid is {value!r} nm"
    for name, least in (("width", 1), ("blocks", 0), ("noise", 1)):
        value = getattr(shape, name)
        if not _is_whole(value, least, LARGEST_NETWORK):
            return f"{name} of the network is {value!r}; possible is {least} to {LARGEST_NETWORK}"
    if len(model.amplitude) != 2 or not all(_is_number(a) and 0 <= a < 100 for a in model.amplitude):
        return f"amplitudes of the random vector are {model.amplitude!r}"
    if wrong := _wrong_provenance(model.provenance):
        return f"what it says of {wrong}"
    with torch.device("meta"):  # shapes alone, no memory
        state = Generator(model.channels.width, shape).state_dict()
    wanted = {key: value.shape for key, value in state.items()}
    found = {key: value.shape for key, value in model.state.items()}
    if wanted != found:
        other = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        return f"weights that are not those of the network: {', '.join(other[:5])}"
    if bad := [key for key, value in model.state.items() if not bool(torch.isfinite(value).all())]:
        return f"weights that are no numbers, in {', '.join(bad[:5])}"
    return ""


def _wrong_provenance(said: Mapping[str, Any]) -> str:
    """Key of what is said of a model and cannot be; what is not known is passed over."""

    def table(value: object, fits: Callable[[Any], bool]) -> bool:
        return isinstance(value, dict) and all(isinstance(k, str) and fits(v) for k, v in value.items())

    def row(value: object, fits: Callable[[Any], bool]) -> bool:
        return isinstance(value, list) and all(map(fits, value))

    def text(value: object) -> bool:
        return isinstance(value, str)

    def system(value: object) -> bool:
        numbers = ("frames", "held_out", "temperature")
        return (
            isinstance(value, dict)
            and text(value.get("name"))
            and all(_is_number(value.get(n)) for n in numbers)
        )

    wanted: dict[str, Callable[[Any], bool]] = {
        "settings": lambda value: table(value, lambda _: True),
        "systems": lambda value: row(value, system),
        "scores": lambda value: table(value, lambda v: table(v, lambda one: isinstance(one, int | float))),
        "resolution": lambda value: table(value, lambda v: row(v, _is_number) and len(v) == 2),
        "classes": lambda value: row(value, text),
    }
    return next((key for key, fits in wanted.items() if key in said and not fits(said[key])), "")


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_model(name: str | Path = MODEL, channels: str | Path | None = None) -> Model:
    """Read a model by path or name, and a channel file in place of its channels where one is given.

    Raises
    ------
    InputError
        See :func:`load_model`; or if the channels in the file are not those of the network.
    """
    model = load_model(name)
    if channels is None:
        return model
    override = read_channels(channels)
    ours, theirs = set(model.channels.names), set(override.names)
    if ours != theirs:
        missing, unknown = (", ".join(sorted(one)) for one in (ours - theirs, theirs - ours))
        parts = [f"without {missing}"] if missing else []
        parts += [f"with {unknown}, which it does not have"] if unknown else []
        raise InputError(
            f"not the channels of model {name}: {' and '.join(parts)}; it has "
            + ", ".join(model.channels.names),
            path=channels,
        )
    override = in_order(replace(override, bond_counts=model.channels.bond_counts), model.channels)
    if said := changed_roles(override, model.channels):
        raise InputError(f"model {name} was trained with other roles: {said}", path=channels)
    if said := changed_meaning(override, model.channels):
        log.warning("%s: model %s was trained with other channels: %s", channels, name, said)
    return replace(model, channels=override)


BAD = {"bond": 0.3, "angle": 0.3, "dihedral": 0.3, "improper": 0.3, "flipped": 0.01, "beads": 0.05}
"""Scores of frames held out above which a model is bad: divergences, parts of stereocentres, nm."""


def bad_scores(model: Model) -> list[str]:
    """Scores in the file that say that a model is bad, by system."""
    found = []
    for system, scores in model.provenance.get("scores", {}).items():
        bad = [
            f"{key} {scores[key]:.3g} (limit {limit:g})"
            for key, limit in BAD.items()
            if scores.get(key, 0.0) > limit
        ]
        found += [f"{system}: {', '.join(bad)}"] if bad else []
    return found


def describe_models(folder: Path | None = None, *, names: Sequence[str] = ()) -> list[str]:
    """Say what models know and how they score: those named, or all in a folder, that of those that ship."""
    if names:
        return [_describe(name, load_model(name)) for name in names]
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
    said = [f"{bead} {low} to {high}" for bead, (low, high) in provenance.get("resolution", {}).items()]
    lines += [f"  heavy atoms  {', '.join(said)}"] if said else []
    return "\n".join([*lines, *(f"  bad          {words}" for words in bad_scores(model))])


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

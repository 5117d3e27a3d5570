"""The training file: its sections and keys.

Every section of the TOML file is a record here and every key a field, with the same name; an unknown key is
refused.  Paths are relative to the file's folder.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from dbm_gmx.errors import InputError
from dbm_gmx.files.text import read_toml
from dbm_gmx.network.generator import Shape
from dbm_gmx.network.model import LARGEST_GRID, LARGEST_LENGTH, LARGEST_NETWORK
from dbm_gmx.network.voxels import Grid

LARGEST = 1e15
"""Numbers of a training file are less."""

PRIORS = ("none", "p1", "p2")


@dataclass(frozen=True)
class SystemSettings:
    """A ``[[system]]``: frames of atoms to learn from.

    Attributes
    ----------
    topology, trajectory
        Atoms: ``.top``, and ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``.
    mapping
        VOTCA ``.xml`` or deepBackmap ``.map`` files; all molecules need one.
    owners
        Owners files, where none lies beside the mapping.
    beads
        Trajectory of the beads, frame by frame those of ``trajectory``; mapped from the atoms if not given.
    temperature
        K, at which the frames were sampled; noted in the model.
    frames
        Frames of the trajectory to use, the first ones; 0: all.
    held_out
        Of these the last so many, never trained on: free generation is scored on them.
    share
        Weight of the system among the others.
    mdp
        Run parameters the frames were sampled with: cut-offs and constraints, for a memory; and what is
        defined for the topology.
    """

    topology: Path
    trajectory: Path
    mapping: tuple[Path, ...]
    owners: tuple[Path, ...] = ()
    beads: Path | None = None
    temperature: float = 300.0
    frames: int = 0
    held_out: int = 1
    share: float = 1.0
    mdp: Path | None = None


@dataclass(frozen=True)
class MemorySettings:
    """``[memory]``: what ``dbm-gmx backmap --memory`` begins with.

    A file with this section and neither ``[warm]`` nor ``[adversarial]`` trains no network.

    Attributes
    ----------
    name
        Of the file: ``output/name.npz``; one that is there already is kept.
    frames
        Of each system, evenly spread over those not held out; 0: all.
    """

    name: str = "memory"
    frames: int = 4


@dataclass(frozen=True)
class CriticSettings:
    """``[critic]``.

    Attributes
    ----------
    width, blocks
        Size of the network.
    penalty
        Weight of the gradient penalty, lambda_gp of the paper; 0 leaves it out.
    spectral
        Whether all weights are divided by their largest singular value.
    """

    width: int = 32
    blocks: int = 2
    penalty: float = 0.1
    spectral: bool = True


@dataclass(frozen=True)
class WarmSettings:
    """``[warm]``: supervised steps before the adversarial ones.

    The generator draws several positions for each atom.  The loss is an energy score: samples should match
    the data's distribution, of positions and of distances to atoms up to three bonds away, see
    :func:`~dbm_gmx.train.losses.energy_score`.

    Attributes
    ----------
    steps
        How many; 0 leaves the phase out.
    batch, draws
        Atoms per step and positions drawn for each; a single draw goes to the middle of the data.
    rate
        Largest learning rate (Adam); it rises in the first thirtieth of the steps and falls to zero.
    jitter
        nm, largest displacement (one sigma) of the neighbours, most steps have far less; the generator learns
        to tolerate its own errors.
    blur
        nm, how far (one sigma, at most) atoms are moved together against the beads, see
        :func:`~dbm_gmx.train.batches.blur`.  The model learns to follow atoms rather than beads: so it fits
        other molecules better.
    """

    steps: int = 10000
    batch: int = 64
    draws: int = 3
    rate: float = 1.5e-3
    jitter: float = 0.02
    blur: float = 0.0


@dataclass(frozen=True)
class AdversarialSettings:
    """``[adversarial]``: the paper's training.

    Attributes
    ----------
    steps
        Of the generator; 0 leaves the phase out.
    batch
        Atom sequences per step.
    critic_steps
        Of the critic for each of the generator.
    generator_rate, critic_rate
        Learning rates (Adam, betas 0 and 0.9).
    sweeps
        Share of the sequences in which the generator knows all other atoms, as in a sweep; the others
        are as in growth.
    supervised
        Weight of the loss of the warm start, on a batch of its own, in the generator's; the paper has none.
    """

    steps: int = 4000
    batch: int = 64
    critic_steps: int = 5
    generator_rate: float = 5e-5
    critic_rate: float = 1e-4
    sweeps: float = 0.5
    supervised: float = 0.0


@dataclass(frozen=True)
class PriorSettings:
    """``[prior]``: energies in the generator's loss.

    Attributes
    ----------
    kind
        ``none``, ``p1`` (energy minimising) or ``p2`` (energy matching).
    bonded, lennard_jones
        Weights in the end, mol/kJ; lambda_t of the paper.
    ramp
        The weights rise from 0 during this part of the adversarial steps.
    """

    kind: str = "none"
    bonded: float = 4e-3
    lennard_jones: float = 4e-2
    ramp: float = 0.5


@dataclass(frozen=True)
class RunSettings:
    """``[run]``: log, checkpoints and scores.

    Attributes
    ----------
    checkpoint
        Minutes between checkpoints.
    log
        Steps between lines of the log.
    evaluate
        Steps between free generations of held-out frames; 0: only at the end.
    sweeps
        Of the free generation, after the growth.
    calibrate
        Whether in the end the amplitude of the random vector is found that generates a frame of the training
        best, one of each system; it takes 14 generations.
    average
        Decay of the running average of the weights that is kept as the model.
    precision
        ``auto``, ``bf16`` or ``float32``.
    device
        ``auto`` (the fastest there is), ``cpu``, ``cuda``, ``mps``.  Random numbers come from the processor,
        so that the same seed draws the same batches and noise everywhere.
    """

    checkpoint: float = 5.0
    log: int = 50
    evaluate: int = 1000
    sweeps: int = 4
    calibrate: bool = True
    average: float = 0.999
    precision: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class TrainSettings:
    """The whole file.

    Attributes
    ----------
    output
        Folder of checkpoint, log and model.
    name
        Of the model: ``output/name.pt``.
    seed
        Of all random numbers.
    start
        Model to go on from, by path or name; empty: from nothing.  What it does not know gets channels
        of its own.
    channels
        Channel file; else a channel for each atom class, bonded role and bead type.
    guided
        The model is for guided use alone, where bonds, angles and hydrogens are the work of the guide: heavy
        atoms are learnt, as they are drawn there, and held-out frames are generated with the guide.
    system, grid, network, critic, warm, adversarial, prior, run
        The sections.  ``grid`` and ``network`` are those of ``start`` where it is given.
    memory
        A memory is made as well, if there is this section.
    """

    output: Path
    system: tuple[SystemSettings, ...]
    name: str = "model"
    seed: int = 1
    start: str = ""
    channels: Path | None = None
    guided: bool = False
    grid: Grid = field(default_factory=Grid)
    network: Shape = field(default_factory=Shape)
    critic: CriticSettings = field(default_factory=CriticSettings)
    warm: WarmSettings = field(default_factory=WarmSettings)
    adversarial: AdversarialSettings = field(default_factory=AdversarialSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)
    run: RunSettings = field(default_factory=RunSettings)
    memory: MemorySettings | None = None

    @property
    def steps(self) -> int:
        """Of both phases."""
        return self.warm.steps + self.adversarial.steps


def read_settings(path: str | Path) -> TrainSettings:
    """Read a training file.

    Raises
    ------
    InputError
        If it is no TOML, or a key is unknown, missing or of the wrong type.
    """
    path = Path(path)
    plain = read_toml(path, "training file")
    settings: TrainSettings = _record(TrainSettings, plain, where="", path=path)
    if settings.memory is not None and not {"warm", "adversarial"} & set(plain):
        warm, adversarial = replace(settings.warm, steps=0), replace(settings.adversarial, steps=0)
        settings = replace(settings, warm=warm, adversarial=adversarial)
    check_settings(settings, path)
    return settings


def _record(record: type[Any], plain: object, *, where: str, path: Path) -> Any:
    """A record from a table of the file, its fields from those within."""
    if not isinstance(plain, Mapping):
        raise InputError(f"{where} is a section, not {plain!r}", path=path)
    known, hints = {f.name: f for f in fields(record)}, get_type_hints(record)
    unknown = sorted(set(plain) - set(known))
    if unknown:
        section = f" in [{where}]" if where else ""
        raise InputError(
            f"unknown key {', '.join(unknown)}{section}; known are {', '.join(known)}", path=path
        )
    missing = [
        name
        for name, f in known.items()
        if name not in plain and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"no {', '.join(missing)}{f' in [{where}]' if where else ''}", path=path)
    values = {
        key: _value(hints[key], value, where=f"{where}.{key}" if where else key, path=path)
        for key, value in plain.items()
    }
    return record(**values)


def _value(field_type: Any, value: object, *, where: str, path: Path) -> Any:
    """A value of the type a field has."""
    if isinstance(field_type, types.UnionType):  # optional
        field_type = next(t for t in get_args(field_type) if t is not types.NoneType)
    if is_dataclass(field_type):
        return _record(field_type, value, where=where, path=path)  # type: ignore[arg-type]
    if get_origin(field_type) is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_value(get_args(field_type)[0], item, where=where, path=path) for item in items)
    if isinstance(value, str) and "\0" in value:
        raise InputError(f"{where} = {value!r}; a text has no zero bytes", path=path)
    if field_type is Path and isinstance(value, str):
        return path.parent / Path(value).expanduser()
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) < LARGEST:
        raise InputError(f"{where} = {value!r}; it takes a finite number below {LARGEST:g}", path=path)
    if field_type is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, field_type) and (field_type is bool or not isinstance(value, bool)):
        return value
    wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(field_type, "a text")
    raise InputError(f"{where} = {value!r}; it takes {wanted}", path=path)


class Range(NamedTuple):
    """Numbers that a key takes.

    Attributes
    ----------
    least, most
        Its ends.
    open
        Name of the end that is none of them.
    """

    least: float = 0.0
    most: float = math.inf
    open: str = ""

    def __contains__(self, value: object) -> bool:
        """Whether it is one of them."""
        if not isinstance(value, int | float):
            return False
        above = value > self.least if self.open == "least" else value >= self.least
        return above and (value < self.most if self.open == "most" else value <= self.most)

    def text(self) -> str:
        """Say which they are."""
        least = f"more than {self.least:g}" if self.open == "least" else f"at least {self.least:g}"
        most = f"less than {self.most:g}" if self.open == "most" else f"at most {self.most:g}"
        return least if self.most == math.inf else f"{least} and {most}"


POSITIVE, SOME, LENGTH = Range(open="least"), Range(1), Range(0, LARGEST_LENGTH, "least")

RANGES = {
    "seed": Range(),
    "system.temperature": POSITIVE,
    "system.frames": Range(),
    "system.held_out": Range(),
    "system.share": POSITIVE,
    "grid.size": Range(2, LARGEST_GRID),
    **dict.fromkeys(("grid.edge", "grid.sigma", "grid.cutoff"), LENGTH),
    **dict.fromkeys(("network.width", "network.noise", "critic.width"), Range(1, LARGEST_NETWORK)),
    **dict.fromkeys(("network.blocks", "critic.blocks"), Range(0, LARGEST_NETWORK)),
    "critic.penalty": Range(),
    "warm.steps": Range(),
    "warm.batch": SOME,
    "warm.draws": SOME,
    "warm.rate": POSITIVE,
    "warm.jitter": Range(0, LARGEST_LENGTH),
    "warm.blur": Range(0, LARGEST_LENGTH),
    "adversarial.steps": Range(),
    "adversarial.batch": SOME,
    "adversarial.critic_steps": SOME,
    "adversarial.generator_rate": POSITIVE,
    "adversarial.critic_rate": POSITIVE,
    "adversarial.sweeps": Range(0, 1),
    "adversarial.supervised": Range(),
    "prior.bonded": Range(),
    "prior.lennard_jones": Range(),
    "prior.ramp": Range(0, 1),
    "run.checkpoint": Range(),
    "run.log": SOME,
    "run.evaluate": Range(),
    "run.sweeps": Range(),
    "run.average": Range(0, 1, "most"),  # with 1 the model would stay what it was
    "memory.frames": Range(),
}
"""Numbers that keys take; every key that is a number is here."""

LONGEST_NAME = 200
"""Bytes; files of a longer one cannot be written."""


def check_settings(settings: TrainSettings, path: Path | None = None) -> None:
    """Refuse values that cannot be meant.

    Parameters
    ----------
    path
        Of the training file, if they come from one.

    Raises
    ------
    InputError
        Naming the key, and what it takes.
    """
    for name, value in _numbers(settings):
        if value not in RANGES[name]:
            raise InputError(f"{name} = {value!r}; it takes {RANGES[name].text()}", path=path)
    if settings.grid.size % 2:
        raise InputError(f"grid.size = {settings.grid.size}; it takes an even number", path=path)
    choices = (
        ("prior.kind", settings.prior.kind, PRIORS),
        ("run.precision", settings.run.precision, ("auto", "bf16", "float32")),
    )
    for name, choice, possible in choices:
        if choice not in possible:
            raise InputError(f"{name} = {choice!r}; possible are {', '.join(possible)}", path=path)
    _check_name("name", settings.name, path)
    if settings.memory is not None:
        _check_name("memory.name", settings.memory.name, path)
    if settings.name in TAKEN:
        raise InputError(
            f"name = {settings.name!r}; that is the name of another file in {settings.output}", path=path
        )
    if not settings.system:
        raise InputError("system = 0; it takes at least 1", path=path)
    if settings.memory is None and not settings.steps:
        raise InputError("warm.steps + adversarial.steps = 0; it takes at least 1", path=path)


def _check_name(key: str, name: str, path: Path | None) -> None:
    """Refuse what cannot be the name of a file."""
    length = len(name.encode(errors="surrogateescape"))
    if name != Path(name).name or name.startswith(".") or not 0 < length <= LONGEST_NAME:
        raise InputError(f"{key} = {name!r}; it takes the name of a file, without folder", path=path)


TAKEN = ("checkpoint",)
"""Names of files of a training, which a model cannot have."""


def _numbers(record: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the keys that are numbers, as ``warm.steps``, and their values."""
    for f in fields(record):
        value = getattr(record, f.name)
        for one in value if isinstance(value, tuple) else (value,):
            if is_dataclass(one):
                yield from _numbers(one, f"{f.name}.")
            elif isinstance(one, int | float) and not isinstance(one, bool):
                yield f"{prefix}{f.name}", one


def plain(record: Any) -> Any:
    """A record as plain types, for files that must not need this package to be read."""
    if is_dataclass(record):
        return {f.name: plain(getattr(record, f.name)) for f in fields(record)}
    if isinstance(record, tuple):
        return [plain(item) for item in record]
    return str(record) if isinstance(record, Path) else record

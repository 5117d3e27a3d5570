"""``[memory]``: what is remembered of the frames of a training, for ``dbm-gmx backmap --memory``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.errors import InputError
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.files.provenance import Provenance, Started, read_provenance, write_provenance
from dbm_gmx.files.record import FileFacts, changed_files, facts_of
from dbm_gmx.options import Conditions
from dbm_gmx.sampling.memory import Memory, remember
from dbm_gmx.sampling.memory_file import SUFFIX, KeptMemory, write_memory
from dbm_gmx.sampling.origin import Origin, origin_of_atoms
from dbm_gmx.sampling.random_numbers import Use, preparation_stream
from dbm_gmx.train.checkpoint import files_of_systems
from dbm_gmx.train.frames import Pair, TrainingSystem, read_training_system
from dbm_gmx.train.settings import MemorySettings, SystemSettings, TrainSettings, check_settings


@dataclass(frozen=True)
class MadeMemory:
    """A memory that was made, or was there.

    Attributes
    ----------
    path
        The file.
    frames
        How many frames are in it; 0 for a file that was there already.
    """

    path: Path
    frames: int

    def text(self) -> str:
        """The summary for the user."""
        what = (
            f"{self.frames} frame{'s'[: self.frames != 1]}"
            if self.frames
            else "is there already, and is kept"
        )
        return f"memory         {self.path}: {what}"


def make_memory(settings: TrainSettings, *, restart: bool = False) -> MadeMemory:
    """Remember frames of atoms, and write them to ``output/name.npz`` unless that exists.

    Nothing is known about recalling them: a run tries it before it believes it.

    Parameters
    ----------
    restart
        Make it anew; one that is there is backed up.

    Raises
    ------
    InputError
        If a file cannot be used, or the systems are not at one temperature; or the memory that is there was
        made of something else.
    """
    check_settings(settings)
    wanted = settings.memory or MemorySettings()
    path, started = settings.output / f"{wanted.name}{SUFFIX}", Started()
    facts = [facts_of(file) for file in files_of_systems(settings)]
    if path.exists() and not restart:
        _check_same(path, facts, _said(settings))
        return MadeMemory(path, 0)
    memory: Memory = {}
    origins: list[Origin] = []
    stream = preparation_stream(settings.seed).of(Use.MEMORY)
    for number, of in enumerate(settings.system):
        system = read_training_system(of)
        chosen = _chosen(system, wanted.frames)
        for pair in chosen:
            beads = Frame(pair.beads.numpy(), pair.box, index=pair.index)
            place = stream.of(2, number, pair.index)
            memory = remember(system.system, pair.atoms.numpy(), beads, memory, place)
        origins.append(_origin(system, of, len(chosen)))
    settings.output.mkdir(parents=True, exist_ok=True)
    kept = KeptMemory(path, memory, _joined(origins))
    write_memory(kept)
    write_provenance([path], Provenance("train", facts, _said(settings), started=started), over=True)
    return MadeMemory(path, kept.origin.frames)


def _said(settings: TrainSettings) -> dict[str, Any]:
    """What a memory depends on, beside files."""
    of_systems = [[s.temperature, s.frames, s.held_out] for s in settings.system]
    frames = (settings.memory or MemorySettings()).frames
    return {"memory.frames": frames, "seed": settings.seed, "frames and temperature of systems": of_systems}


def _check_same(path: Path, facts: Sequence[FileFacts], said: Mapping[str, Any]) -> None:
    """Refuse a memory that is there, if it is another one."""
    advice = "give it another name, or --restart to make it anew"
    try:
        made = read_provenance(path)
        before = [FileFacts(one["path"], one["size"], 0, one["sha256"]) for one in made["inputs"]]
        differ = [key for key, value in said.items() if made["settings"].get(key) != value]
        whole = made["output"]["sha256"] == facts_of(path).sha256
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"a memory of unknown origin is there; {advice}", path=path) from error
    if not whole:
        raise InputError(f"is not as it was written: damaged, or changed since; {advice}", path=path)
    if differ := [*differ, *changed_files(before, facts)]:
        raise InputError(f"a memory of something else is there: {'; '.join(differ)}; {advice}", path=path)


def _chosen(system: TrainingSystem, count: int) -> list[Pair]:
    """Frames that are not held out, evenly spread."""
    last = len(system.train) - 1
    rows = np.linspace(0, last, min(count or last + 1, last + 1)).round().astype(int)
    return [system.train[row] for row in rows.tolist()]


def _origin(system: TrainingSystem, settings: SystemSettings, frames: int) -> Origin:
    conditions = Conditions() if settings.mdp is None else read_mdp(settings.mdp)[0]
    conditions = replace(conditions, temperature=settings.temperature, source="given")
    known, source = settings.mdp is not None, settings.trajectory.name
    return origin_of_atoms(system.system, conditions, known=known, frames=frames, source=source)


def _joined(origins: Sequence[Origin]) -> Origin:
    """Of all systems."""
    first = origins[0]
    for other in origins[1:]:
        if other.temperature != first.temperature:
            raise InputError(
                f"systems at {first.temperature:g} and {other.temperature:g} K; a memory is of one"
            )
        common = [name for name in other.molecules if name in first.molecules]
        if any(other.molecules[n].force_field != first.molecules[n].force_field for n in common):
            raise InputError(f"{common[0]} in two systems with two force fields; a memory is of one")
    names = {name: origin.molecules for origin in origins for name in origin.molecules}
    copies = {name: sum(o.molecules[name].copies for o in origins if name in o.molecules) for name in names}
    return replace(
        first,
        molecules={name: of[name]._replace(copies=copies[name]) for name, of in names.items()},
        between=first.between if len(origins) == 1 else "",
        frames=sum(origin.frames for origin in origins),
        source=", ".join(dict.fromkeys(origin.source for origin in origins)),
    )

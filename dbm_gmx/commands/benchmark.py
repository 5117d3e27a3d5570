"""How fast it is here: time and memory of one system as it is, for several frames, and as a larger box."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.system import System
from dbm_gmx.commands.backmap import Backmapper, make_backmapper
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.system import read_inputs
from dbm_gmx.network.generator import operations
from dbm_gmx.network.model import best_device, best_dtype, read_model
from dbm_gmx.options import MODEL, Conditions, Inputs, Settings


@dataclass(frozen=True)
class Timing:
    """One measurement.

    Attributes
    ----------
    what
        The case.
    atoms
        Atoms placed, of all frames.
    seconds
        Wall time, best of the repeats.
    peak
        GB, largest memory of the process up to now.
    """

    what: str
    atoms: int
    seconds: float
    peak: float

    def __str__(self) -> str:
        rate = 1e6 * self.seconds / self.atoms
        return (
            f"{self.what:<22} {self.atoms:>9} atoms {self.seconds:>9.2f} s {rate:>8.1f} us/atom "
            f"{self.peak:>6.2f} GB"
        )


def benchmark(
    inputs: Inputs,
    *,
    model: str = MODEL,
    channels: Path | None = None,
    conditions: Conditions | None = None,
    sweeps: int | None = None,
    box: int = 2,
    frames: int = 10,
    repeats: int = 3,
    device: str | None = None,
) -> Iterator[str]:
    """Time one frame, several, and a larger box: one pass of the network, and the exact refinement.

    Parameters
    ----------
    inputs
        The system; the trajectory is read from its start again where it has too few frames.
    model, channels
        Model by name or path, and a channel file that overrides its channels.  One that does not know
        the system is left out.
    conditions, sweeps
        Of the exact refinement.
    box
        The larger box is the first frame this often along each vector; 1 leaves it out.
    frames
        How many frames are done at once; 1 leaves it out.
    repeats
        The best of so many is reported; the larger box is done once.

    Yields
    ------
    Lines of a table.
    """
    system, trajectory, _ = read_inputs(inputs)
    found = list(islice(trajectory, frames))
    many = [replace(found[k % len(found)], index=k) for k in range(frames)]
    chosen, where = read_model(model, channels), best_device(device)
    work = operations(chosen.channels.width, chosen.shape, chosen.grid.size) / 1e6
    yield f"{where}, {best_dtype(where)}, {torch.get_num_threads()} threads; {work:.0f} MFLOP per atom"
    network, exact = Settings(refine="none", start="network"), Settings(sweeps=sweeps)

    def mapper(system: System, settings: Settings, frames: int) -> Backmapper:
        chirality = reference_chirality(system, conformers=system.conformers)
        return make_backmapper(
            system,
            settings=settings,
            conditions=conditions,
            chirality=chirality,
            model=model,
            channels=channels,
            device=device,
            frames=frames,
        )

    for name, settings in (("network", network), ("exact", exact)):
        try:
            one = mapper(system, settings, 1)
        except InputError as error:
            yield f"{name}: {error}"
            continue
        _run(one, many[:1])  # what is done once (compiling, caches) is not counted
        yield str(_timed(f"{name}, 1 frame", one, many[:1], repeats))
        if frames > 1:
            yield str(_timed(f"{name}, {frames} frames", mapper(system, settings, frames), many, 1))
        if box > 1:
            large = mapper(repeat_system(system, box**3), settings, 1)
            yield str(_timed(f"{name}, box x {box**3}", large, [repeat_frame(system, found[0], box)], 1))


def _run(mapper: Backmapper, frames: list[Frame]) -> None:
    for _ in mapper(frames):
        pass


def _timed(what: str, mapper: Backmapper, frames: list[Frame], repeats: int) -> Timing:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        _run(mapper, frames)
        seconds.append(time.perf_counter() - start)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return Timing(what, mapper.system.n_atoms * len(frames), min(seconds), peak)


def repeat_system(system: System, copies: int) -> System:
    """The system with every run of molecules so many times as long."""
    molecules = tuple((name, count * copies) for name, count in system.topology.molecules)
    matches, bead, atom = [], 0, 0
    for match in system.matches:
        count = match.count * copies
        matches.append(Match(match.moltype, match.mapping, count, first_bead=bead, first_atom=atom))
        bead, atom = bead + count * len(match.mapping.names), atom + count * match.moltype.n_atoms
    return replace(system, topology=replace(system.topology, molecules=molecules), matches=tuple(matches))


def repeat_frame(system: System, frame: Frame, n: int) -> Frame:
    """Beads of a box n times as long along each vector, in the order of :func:`repeat_system`."""
    shifts = np.array(list(product(range(n), repeat=3))) @ frame.box
    parts = []
    for match in system.matches:
        rows = frame.positions[match.first_bead :][: match.count * len(match.mapping.names)]
        parts.append((rows + shifts[:, None]).reshape(-1, 3))
    return replace(frame, positions=np.concatenate(parts).astype(np.float32), box=frame.box * n)

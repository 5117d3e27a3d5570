"""How fast it is here: time and memory of one system as it is, for several frames, and as a larger box."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product

import numpy as np

from dbm_gmx.backmapping.backmapper import Backmapper, make_backmapper
from dbm_gmx.backmapping.ready import make_ready
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.system import System, whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.system import read_inputs
from dbm_gmx.network.generator import operations
from dbm_gmx.network.model import best_device, best_dtype, read_model
from dbm_gmx.options import Inputs, Method, Settings
from dbm_gmx.parallel import thread_count


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
    inputs: Inputs, method: Method, *, box: int = 2, frames: int = 10, repeats: int = 3
) -> Iterator[str]:
    """Time one frame, several, and a larger box: one pass of the network, and the exact refinement.

    Parameters
    ----------
    inputs
        The system; the trajectory is read from its start again where it has too few frames.
    method
        The ensemble and the number of sweeps of the exact refinement, and the model; one that does not know
        the system is left out.
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
    system, beads = read_inputs(inputs)
    found = list(islice(beads, frames))
    many = [replace(found[k % len(found)], index=k) for k in range(frames)]
    yield _hardware(method)
    network = replace(method, settings=Settings(refine="none", start="network"))
    exact = replace(method, settings=Settings(sweeps=method.settings.sweeps, check=False))
    for name, chosen in (("network", network), ("exact", exact)):
        try:
            one = _mapper(system, chosen, many[:1])
        except InputError as error:
            yield f"{name}: {error}"
            continue
        _run(one, many[:1])  # what is done once (compiling, caches) is not counted
        if one.sampler is not None:  # nor what is found out on the first frame
            steps, sweeps = one.sampler.annealing, one.sampler.windows
            chosen = replace(chosen, settings=replace(chosen.settings, annealing=steps, windows=sweeps))
        yield str(_timed(f"{name}, 1 frame", one, many[:1], repeats))
        if frames > 1:
            yield str(_timed(f"{name}, {frames} frames", _mapper(system, chosen, many), many, 1))
        if box > 1:
            boxes = [repeat_frame(system, found[0], box)]
            large = _mapper(repeat_system(system, box**3), chosen, boxes)
            yield str(_timed(f"{name}, box x {box**3}", large, boxes, 1))


def _hardware(method: Method) -> str:
    """Say where the network runs, and how much it has to do."""
    model, where = read_model(method.model, method.channels), best_device(method.device)
    work = operations(model.channels.width, model.shape, model.grid.size) / 1e6
    return f"{where}, {best_dtype(where)}, {thread_count()} threads; {work:.0f} MFLOP per atom"


def _mapper(system: System, method: Method, frames: list[Frame]) -> Backmapper:
    chirality = reference_chirality(system, conformers=system.conformers)
    mapper = make_backmapper(system, method, chirality=chirality, frames=len(frames))
    return make_ready(mapper, lambda _: frames[:1]).mapper


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
    """Whole beads of a box n times as long along each vector, in the order of :func:`repeat_system`.

    A molecule broken over a wall of the small box would be torn apart in the large one.
    """
    shifts, beads = np.array(list(product(range(n), repeat=3))) @ frame.box, whole_beads(system, frame)
    parts = []
    for match in system.matches:
        rows = beads[match.first_bead :][: match.count * len(match.mapping.names)]
        parts.append((rows + shifts[:, None]).reshape(-1, 3))
    return replace(frame, positions=np.concatenate(parts).astype(np.float32), box=frame.box * n)

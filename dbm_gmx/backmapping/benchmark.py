"""How fast it is here: time, memory and CPU time by stage of one frame, of several, and of a larger box."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from operator import itemgetter

import numpy as np

from dbm_gmx.backmapping.cost import Cost, brief, per_thousand
from dbm_gmx.backmapping.ready import make_ready
from dbm_gmx.backmapping.rebuilder import Rebuilder, make_rebuilder
from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System, with_counts
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.system import read_inputs
from dbm_gmx.gromacs.gmx import GmxError
from dbm_gmx.gromacs.md_step import MdStep, time_md_step
from dbm_gmx.network.generator import operations
from dbm_gmx.network.model import best_device, best_dtype, read_model
from dbm_gmx.options import Inputs, Method, RelaxSettings, Settings
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
    cpu
        CPU time by stage of the sampler, s.
    """

    what: str
    atoms: int
    seconds: float
    peak: float
    cpu: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        rate = 1e6 * self.seconds / self.atoms
        return (
            f"{self.what:<22} {self.atoms:>9} atoms {self.seconds:>9.2f} s {rate:>8.1f} us/atom "
            f"{self.peak:>6.2f} GB"
        )


def benchmark(
    inputs: Inputs,
    method: Method,
    *,
    box: int = 2,
    frames: int = 10,
    repeats: int = 3,
    gromacs: RelaxSettings | None = None,
) -> Iterator[str]:
    """Time one frame, several, and a larger box: one pass of the network, and the exact refinement.

    Every frame is sampled in full.  One is compared with molecular dynamics of its atoms.

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
    gromacs
        Where GROMACS is, and the run parameters of the dynamics (``mdp``).

    Yields
    ------
    Lines of a table, of one of CPU time by stage, and what a frame costs in steps of dynamics.
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
        last, _ = _run(one, many[:1])  # what is done once (compiling, caches) is not counted
        if one.sampler is not None:  # nor what is found out on the first frame
            offers, steps, sweeps = one.sampler.effort
            known = replace(chosen.settings, offers=offers, annealing=steps, windows=sweeps)
            chosen = replace(chosen, settings=known)
        timings = [_timed(f"{name}, 1 frame", one, many[:1], repeats)]
        yield str(timings[0])
        if frames > 1:
            timings.append(_timed(f"{name}, {frames} frames", _mapper(system, chosen, many), many, 1))
            yield str(timings[-1])
        if box > 1:
            boxes = [repeat_frame(system, found[0], box)]
            large = _mapper(repeat_system(system, box**3), chosen, boxes)
            timings.append(_timed(f"{name}, box x {box**3}", large, boxes, 1))
            yield str(timings[-1])
        if one.sampler is not None:
            yield from cpu_table(timings)
            threads = one.sampler.team.size
            settings = replace(gromacs or RelaxSettings(), threads=threads)
            yield _beside_dynamics(inputs, system, last, timings[0], settings)


def _hardware(method: Method) -> str:
    """Say where the network runs, and how much it has to do."""
    model, where = read_model(method.model, method.channels), best_device(method.device)
    work = operations(model.channels.width, model.shape, model.grid.size) / 1e6
    return f"{where}, {best_dtype(where)}, {thread_count()} threads; {work:.0f} MFLOP per atom"


def _mapper(system: System, method: Method, frames: list[Frame]) -> Rebuilder:
    chirality = reference_chirality(system, conformers=system.conformers)
    mapper = make_rebuilder(system, method, chirality=chirality, frames=len(frames))
    return make_ready(mapper, lambda _: frames[:1]).mapper


def _run(mapper: Rebuilder, frames: list[Frame]) -> tuple[Rebuilt, Cost]:
    """Rebuild frames; returns the last one, and what all have cost."""
    cost = Cost()
    for one in mapper(frames):
        cost += one.refinement.cost
    return one, cost


def _timed(what: str, mapper: Rebuilder, frames: list[Frame], repeats: int) -> Timing:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        _, cost = _run(mapper, frames)
        found.append((time.perf_counter() - start, cost.full))
    seconds, cpu = min(found, key=itemgetter(0))
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return Timing(what, mapper.system.n_atoms * len(frames), seconds, peak, cpu)


def cpu_table(timings: Sequence[Timing]) -> list[str]:
    """Lines of a table: CPU time by stage for 1,000 atoms."""
    rows = [per_thousand(timing.cpu, timing.atoms) for timing in timings]
    named = dict.fromkeys(stage for row in rows for stage in row if float(brief(row[stage])))
    stages = list(named)
    widths = [max(7, len(name)) for name in (*stages, "all")]
    heads = [f"{name:>{width}}" for name, width in zip((*stages, "all"), widths, strict=True)]
    lines = [" ".join([f"{'CPU s per 1,000 atoms':<22}", *heads])]
    for timing, row in zip(timings, rows, strict=True):
        values = [*(row.get(stage, 0.0) for stage in stages), sum(row.values())]
        cells = [f"{brief(value):>{width}}" for value, width in zip(values, widths, strict=True)]
        lines.append(" ".join([f"{timing.what:<22}", *cells]))
    return lines


def _beside_dynamics(
    inputs: Inputs, system: System, rebuilt: Rebuilt, timing: Timing, settings: RelaxSettings
) -> str:
    """Say what a frame costs in steps of dynamics, or why that is not known."""
    try:
        step = time_md_step(
            system.topology, rebuilt.atoms, settings, defines=inputs.defines, include=inputs.include
        )
    except InputError as error:
        said = error.message if isinstance(error, GmxError) else str(error)  # its folder is gone
        why = " ".join(line.strip(" |") for line in said.splitlines())
        return f"{'MD steps':<22} not compared with GROMACS: {why}"
    return steps_line(sum(timing.cpu.values()), step)


def steps_line(cpu: float, step: MdStep) -> str:
    """Say how many steps of dynamics take as much CPU time (s) as a frame."""
    threads = f"{step.threads} thread{'s'[: step.threads > 1]}"
    return (
        f"{'MD steps':<22} one frame costs as much as {cpu / step.seconds:.0f} MD steps "
        f"({brief(1000 * step.seconds)} ms of CPU time each on {threads}; {step.steps} steps of "
        f"GROMACS {step.gmx}, {step.mdp})"
    )


def repeat_system(system: System, copies: int) -> System:
    """The system with every run of molecules so many times as long."""
    return with_counts(system, [match.count * copies for match in system.matches])


def repeat_frame(system: System, frame: Frame, n: int) -> Frame:
    """Whole beads of a box n times as long along each vector, in the order of :func:`repeat_system`.

    A molecule broken over a wall of the small box would be torn apart in the large one.
    """
    whole = with_whole_beads(system, frame)
    if whole.winds:
        raise InputError("molecules are bonded to their own periodic images: a larger box has other ones")
    shifts, beads = np.array(list(product(range(n), repeat=3))) @ frame.box, whole.positions
    parts = []
    for match in system.matches:
        rows = beads[match.first_bead :][: match.count * len(match.mapping.names)]
        parts.append((rows + shifts[:, None]).reshape(-1, 3))
    return replace(frame, positions=np.concatenate(parts).astype(np.float32), box=frame.box * n)

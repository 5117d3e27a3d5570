"""Whether a trajectory of atoms is at equilibrium, given its beads.

That the energy of one chain no longer changes proves nothing: it may be caught.  Atoms rebuilt from scratch
on the same beads have the same energy, term by term, if both are at equilibrium.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dbm_gmx.backmapping.independent import begin_anew, compare_twins
from dbm_gmx.backmapping.rebuilder import warn_if_assumed
from dbm_gmx.chemistry.feasible import impossible, problems_of
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import lattice_of
from dbm_gmx.chemistry.stereo import infer_chirality
from dbm_gmx.chemistry.system import System, deviation, mapped_beads
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.chemistry.winding import with_whole_atoms, with_whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.structure import compare_names, in_order
from dbm_gmx.files.system import BeadFrames, read_inputs
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.equilibrium import SLOW, SUMS, TOTAL, EnergyDifference
from dbm_gmx.options import ConvergenceCheck, Inputs, Method
from dbm_gmx.sampling.preparation import prepare
from dbm_gmx.sampling.sampler import make_sampler


@dataclass(frozen=True, eq=False)
class Converged:
    """A trajectory beside an independent reconstruction of some of its frames.

    Attributes
    ----------
    path
        The trajectory.
    times
        Of the frames that were rebuilt, ps.
    energies
        Those of the trajectory less those of the reconstruction.
    tolerance
        kT per atom.
    settled
        Whether the chain of each reconstruction was stationary at the end.
    apart
        Root mean square distance of the mapped atoms from the beads, nm.
    """

    path: Path
    times: tuple[float, ...]
    energies: EnergyDifference
    tolerance: float
    settled: tuple[bool, ...]
    apart: float

    @property
    def off(self) -> tuple[str, ...]:
        """The sums, or terms, that differ by more than the tolerance and chance."""
        names, sums = self.energies.names, self.energies.sums_beyond(self.tolerance)
        beyond = self.energies.beyond(self.tolerance, looks=len(names) - len(SUMS))
        terms = (name for name, off in zip(names, beyond, strict=True) if off and name not in SUMS)
        return (*terms, *sums)

    @property
    def converged(self) -> bool:
        """Whether nothing differs by more than the tolerance and chance."""
        return not self.off

    def text(self) -> str:
        """The table and the verdict."""
        energies, off = self.energies, self.off
        times = ", ".join(f"{time:g}" for time in self.times)
        lines = [
            f"{self.path.name} at {times} ps, and an independent reconstruction of the same beads",
            f"mapped atoms {self.apart:.4f} nm (rms) from the beads",
            f"{'kT per atom':18}{'trajectory':>11}{'rebuilt':>11}{'difference':>12}",
        ]
        columns = (energies.names, energies.first, energies.second, energies.difference, energies.error)
        lines += [
            f"{name:18}{first:11.4f}{second:11.4f}{value:+12.4f} +- {error:.4f}{'  *' if name in off else ''}"
            for name, first, second, value, error in zip(*columns, strict=True)
        ]
        if not all(self.settled):
            lines.append(f"note: {self.settled.count(False)} reconstructions did not become stationary")
        return "\n".join([*lines, self.verdict()])

    def verdict(self) -> str:
        """What follows, in a sentence."""
        seen = self.energies.shown
        for name in self.energies.sums_beyond(self.tolerance)[:1]:
            value = self.energies.row(name)[0]
            side, where = "above" if value > 0 else "below", "" if name == TOTAL else f" in {SLOW}"
            doubt = "" if value > 0 else "; it is the reconstruction that is not, or the atoms are too cold"
            off = f"{abs(value):.2g} kT per atom{where}"
            return f"NOT CONVERGED: {off} {side} an independent reconstruction{doubt}"
        if self.off:
            return f"NOT CONVERGED: {', '.join(self.off)} not as in an independent reconstruction"
        said = f"no difference of more than {self.tolerance:g} kT per atom was found"
        if seen <= self.tolerance:
            return said
        frames = f"{len(self.times)} frames"
        return f"{said}; with {frames} none below {seen:.2g} in {SLOW} can be found (--frames)"


def check_converged(
    inputs: Inputs,
    method: Method,
    trajectory: Path,
    wanted: ConvergenceCheck | None = None,
    *,
    threads: int = 1,
) -> Converged:
    """Compare frames of atoms with an independent reconstruction of the same frames.

    Parameters
    ----------
    inputs
        Beads, atoms and mapping, as for a reconstruction.  Without a trajectory of beads these are mapped
        from the atoms.
    method
        Temperature, cut-offs, width of the restraints, seed; the sampler is used whatever the method is.
    trajectory
        The atoms, whoever has made them.
    wanted
        How many frames, and what counts as a difference.
    threads
        For each frame; the result does not depend on them.

    Raises
    ------
    InputError
        If an input cannot be used, or there are no beads of the time of a frame.
    """
    wanted = wanted or ConvergenceCheck()
    system, beads = read_inputs(inputs)
    chosen = _chosen(system, inputs, trajectory, wanted.frames)
    known = reference_chirality(
        system, inputs.references, conformers=system.conformers, reorder=inputs.reorder
    )
    chirality = infer_chirality(system, chosen[0].positions, known, lattice_of(chosen[0]))
    settings = replace(method.settings, refine="exact", start=None)
    warn_if_assumed(method.conditions)
    sampler = make_sampler(system, method.conditions, settings, chirality, threads=threads)
    under = _beads_of(system, beads, chosen)
    sampler, _ = prepare(sampler, under[0])
    twins = [begin_anew(sampler, *frames) for frames in zip(chosen, under, strict=True)]
    energies = compare_twins(twins, atoms=system.n_atoms, kt=GAS * method.conditions.temperature)
    apart = np.concatenate(
        [deviation(system, a.positions, b.positions, a.box) for a, b in zip(chosen, under, strict=True)]
    )
    return Converged(
        trajectory,
        tuple(frame.time for frame in chosen),
        energies,
        wanted.tolerance,
        tuple(twin.settled for twin in twins),
        float(np.sqrt(np.mean(apart**2))),
    )


def _chosen(system: System, inputs: Inputs, trajectory: Path, count: int) -> list[Frame]:
    """Frames of the atoms, evenly spread over the trajectory, molecules whole."""
    times = {"begin": inputs.begin, "end": inputs.end, "dt": inputs.dt}
    total = sum(1 for _ in read_frames(trajectory, n_atoms=system.n_atoms, **times))
    wanted = set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
    order = compare_names(system.written, trajectory, reorder=inputs.reorder)
    frames = enumerate(in_order(read_frames(trajectory, n_atoms=system.n_atoms, **times), order))
    return [with_whole_atoms(system, frame) for k, frame in frames if k in wanted]


def _beads_of(system: System, beads: BeadFrames, atoms: Sequence[Frame]) -> list[Frame]:
    """Whole beads of the times of the atoms, those of the atoms themselves where there is no trajectory.

    Raises
    ------
    InputError
        If there are no beads of a time, or no atoms can be put on them.
    """
    if beads.inputs.trajectory is None:
        return [replace(f, positions=mapped_beads(system, f.positions).astype(np.float32)) for f in atoms]
    wanted = {round(frame.time, 3) for frame in atoms}
    found = {round(f.time, 3): f for f in beads if round(f.time, 3) in wanted}
    if missing := sorted(wanted - set(found)):
        raise InputError(
            f"no beads at {missing[0]:g} ps, a time of the atoms; without a trajectory of beads (-f) they "
            "are mapped from the atoms",
            path=beads.inputs.trajectory,
        )
    under = [found[round(frame.time, 3)] for frame in atoms]
    whole = [with_whole_beads(system, frame) for frame in under]
    for frame in whole:
        if error := impossible(frame, problems_of(system, frame, cutoff=0.0), beads.inputs.trajectory):
            raise error
    return whole

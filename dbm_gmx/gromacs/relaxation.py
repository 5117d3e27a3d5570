"""The outcome of a relaxation: of each frame, and the report of all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.rules import Judgement, find_places, judge, stereo_values
from dbm_gmx.chemistry.stereo import count_stereo, infer_chirality
from dbm_gmx.chemistry.system import atomistic_system, map_frame
from dbm_gmx.gromacs.relax_frame import Protocol, Relaxed, Task
from dbm_gmx.options import ADJUSTABLE, Limits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Success:
    """A relaxed frame, and whether an earlier run had finished it."""

    relaxed: Relaxed
    known: bool


@dataclass(frozen=True)
class Failure:
    """A frame that could not be relaxed.

    Attributes
    ----------
    index, time
        Of the frame; ps.
    reason
        What failed, with the last lines of its output and the folder it is in.
    """

    index: int
    time: float
    reason: str

    def text(self) -> str:
        """Say it to the user."""
        return f"frame {self.index} (t = {self.time:g} ps): {self.reason}"


@dataclass(frozen=True)
class Relaxation:
    """Report of a relaxed trajectory.

    Attributes
    ----------
    gmx
        Version and place.
    frames, found
        Relaxed ones, and how many of these had been finished by an earlier run.
    failures
        The others.
    seconds
        Wall time.
    potential
        Mean over frames, kJ/mol, without restraints.
    before, after
        Distances of the mapped centres from their beads, nm: root mean square and largest; ``None`` without
        a mapping.
    judgement
        How the relaxed atoms keep the rules.  Their stereocentres should be those of the atoms before, and
        their centres on the beads if they are held there.
    limits
        Thresholds of the rules.
    """

    gmx: str
    frames: int
    found: int
    failures: tuple[Failure, ...]
    seconds: float
    potential: float
    before: tuple[float, float] | None = None
    after: tuple[float, float] | None = None
    judgement: Judgement = field(default_factory=Judgement)
    limits: Limits = field(default_factory=Limits)

    def missing(self) -> str:
        """Name the frames that failed."""
        return ", ".join(f"frame {f.index} (t = {f.time:g} ps)" for f in self.failures)

    def text(self) -> str:
        """Say it to the user."""
        known = f", {self.found} of them by an earlier run" if self.found else ""
        failed = f", {len(self.failures)} FAILED" if self.failures else ""
        lines = [
            f"gromacs        {self.gmx}",
            f"relaxed        {self.frames} frames in {self.seconds:.1f} s{known}{failed}",
            f"potential      {self.potential:.6g} kJ/mol (mean, without restraints)",
        ]
        if self.before is not None and self.after is not None:
            (b, b_most), (a, a_most) = self.before, self.after
            lines.append(
                f"beads          {b:.4f} nm (rms) from the mapped atoms before, {a:.4f} nm after; "
                f"at most {b_most:.4f} and {a_most:.4f}"
            )
        worst = [f"{rule} {said}" for rule in ADJUSTABLE if (said := self.judgement.worst(rule))]
        lines += [f"worst          {', '.join(worst)}"] if worst else []
        return "\n".join([*lines, f"rules          {self.judgement.line(self.limits.allowed)}"])


class RelaxTally:
    """Makes the report, frame by frame.

    Parameters
    ----------
    protocol
        What was done to the frames.
    matches
        Molecules whose centres are compared with the beads.
    """

    def __init__(self, protocol: Protocol, matches: tuple[Match, ...]):
        self.failures: list[Failure] = []
        self._protocol, self._matches = protocol, matches
        widths = [np.tile(protocol.widths[m.moltype.name], m.count) for m in matches if protocol.widths]
        self._widths = np.concatenate([np.zeros(0), *widths])
        self._known = 0
        self._potentials: list[float] = []
        self._off: list[tuple[FloatArray, FloatArray]] = []
        self._system = atomistic_system(protocol.topology, {})
        self._judged = Judgement()

    def add(self, task: Task, result: Success | Failure) -> None:
        """Note a frame."""
        if isinstance(result, Failure):
            self.failures.append(result)
            log.error("error: %s", result.text())
            return
        self._known += result.known
        self._potentials.append(result.relaxed.potential)
        after = replace(task.frame, positions=result.relaxed.positions)
        values = self._values(task.frame, after)
        if self._matches:
            off = self._distances(task.frame, task.beads), self._distances(after, task.beads)
            self._off.append(off)
            if self._widths.size:
                values["beads"] = float((off[1] / self._widths).max(initial=0.0))
        self._judged += judge(values, after.time, self._protocol.settings.limits)

    def _values(self, before: Frame, after: Frame) -> dict[str, float]:
        """Of the rules in the relaxed frame."""
        states = infer_chirality(self._system, before.positions, {})
        count = partial(count_stereo, self._system, after.positions, states)
        places = find_places(self._system, after, self._protocol.settings.limits)
        stereo = stereo_values(count(), count(bonds=True))
        return stereo | places.values(self._system.n_atoms)

    def _distances(self, frame: Frame, beads: Float32Array) -> FloatArray:
        """(m,) of the mapped centres from their beads, nm."""
        apart = minimum_image(map_frame(self._matches, frame).positions - beads, frame.box)
        return np.asarray(np.linalg.norm(apart, axis=1), np.float64)

    def report(self, seconds: float) -> Relaxation:
        """Add up."""
        before, after = (_rms_and_most([pair[k] for pair in self._off]) for k in (0, 1))
        return Relaxation(
            self._protocol.gmx.text(),
            len(self._potentials),
            self._known,
            tuple(self.failures),
            seconds,
            float(np.mean(self._potentials)),
            before,
            after,
            self._judged,
            self._protocol.settings.limits,
        )


def _rms_and_most(distances: list[FloatArray]) -> tuple[float, float] | None:
    if not distances:
        return None
    joined = np.concatenate(distances)
    return float(np.sqrt(np.mean(joined**2))), float(joined.max())

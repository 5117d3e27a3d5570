"""What frames cost: CPU time by stage, in all and per 1,000 atoms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SHORT = 0.1
"""CPU s: what is done once in less than that is not named."""


@dataclass(frozen=True)
class Cost:
    """CPU time by stage; those of several frames add up.

    Threads that share a frame are counted, the network is not: torch does not say what its threads do.

    Attributes
    ----------
    full, recalled
        Of frames sampled in full, and of those made of what was remembered, s.
    once
        Of what is done for the whole run, and of independent starts, s.
    """

    full: Mapping[str, float] = field(default_factory=dict)
    recalled: Mapping[str, float] = field(default_factory=dict)
    once: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            added(self.full, other.full),
            added(self.recalled, other.recalled),
            added(self.once, other.once),
        )

    def lines(self, full: int, recalled: int, atoms: int) -> list[str]:
        """Say it for so many frames of each kind, with so many atoms each."""
        known = "CPU in full" if self.recalled else "CPU"
        once = [f"{stage} {brief(spent)} s" for stage, spent in self.once.items() if spent >= SHORT]
        return [
            *_line(known, self.full, full, atoms),
            *_line("CPU recalled", self.recalled, recalled, atoms),
            *([f"{'CPU once':<14} {', '.join(once)}"] if once else []),
        ]


def _line(label: str, spent: Mapping[str, float], frames: int, atoms: int) -> list[str]:
    """One line for frames of a kind, if there are any."""
    if not (spent and frames and atoms):
        return []
    rates = per_thousand(spent, frames * atoms)
    stages = [f"{stage} {said}" for stage, rate in rates.items() if float(said := brief(rate))]
    whole = f"{brief(sum(spent.values()) / frames)} s a frame, {brief(sum(rates.values()))} s per 1,000 atoms"
    return [f"{label:<14} {whole}" + (f": {', '.join(stages)}" if stages else "")]


def per_thousand(spent: Mapping[str, float], atoms: int) -> dict[str, float]:
    """By stage, for 1,000 of so many atoms."""
    return {stage: 1000 * seconds / atoms for stage, seconds in spent.items()}


def added(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Sums by stage."""
    return {stage: one.get(stage, 0.0) + other.get(stage, 0.0) for stage in [*one, *other]}


def brief(seconds: float) -> str:
    """A time with two or three digits, without its unit."""
    digits = next((k for k, least in enumerate((9.95, 0.995, 0.0995)) if seconds >= least), 3)
    return f"{seconds:.{digits}f}"

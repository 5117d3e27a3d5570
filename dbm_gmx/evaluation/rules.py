"""The verdict of the rules on a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import MDAnalysis as mda

from dbm_gmx.chemistry.rules import Judgement, count_faults
from dbm_gmx.chemistry.topology import Topology, blocks
from dbm_gmx.evaluation.measure import Measured
from dbm_gmx.options import Limits


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate keeps the hard rules.

    Attributes
    ----------
    counts
        For each rule the number of faults in every frame.
    differing
        In words, where names or counts are not those of the topology.
    judgement
        Of all frames.
    limits
        Thresholds of the rules.
    """

    counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    differing: str = ""
    judgement: Judgement = field(default_factory=Judgement)
    limits: Limits = field(default_factory=Limits)

    @property
    def broken(self) -> tuple[str, ...]:
        """The rules that are broken."""
        names = self.judgement.broken(self.limits.allowed)
        return (*names, "names") if self.differing else names

    def words(self) -> str:
        """What is broken, and how."""
        said = [f"names: {self.differing}"] if self.differing else []
        return "; ".join([*said, self.judgement.words(self.limits.allowed)]).rstrip("; ")


def verdict(measured: Sequence[Measured], limits: Limits) -> Verdict:
    """Judge all frames together."""
    every = [count_faults(one.faults) for one in measured]
    counts = {rule: tuple(one[rule] for one in every) for rule in count_faults(())}
    return Verdict(counts, judgement=sum((one.judged for one in measured), Judgement()), limits=limits)


def differing_names(topology: Topology, path: Path) -> str:
    """Say where atoms are not named as in the topology; only ``.gro`` and ``.pdb`` hold names."""
    if path.suffix not in (".gro", ".pdb"):
        return ""
    found = [str(name) for name in mda.Universe(str(path), to_guess=()).atoms.names]
    width = 5 if path.suffix == ".gro" else 4
    wanted = [name[:width] for moltype, _, count in blocks(topology) for name in moltype.names * count]
    if len(found) != len(wanted):
        return f"{len(found)} atoms, {len(wanted)} in the topology"
    other = [k for k, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b]
    if not other:
        return ""
    k = other[0]
    return f"atom {k + 1} is {found[k]}, {wanted[k]} in the topology ({len(other)} differ)"

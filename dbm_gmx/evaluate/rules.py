"""Hard rules: what no simulation mends, in a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import MDAnalysis as mda
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.contacts import bad_contacts
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.stereo import Chirality, are_bonds, wrong_elements
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks, chemical_graph
from dbm_gmx.evaluate.rings import pierced_rings
from dbm_gmx.forcefield.constraints import WITH_LENGTH

RULES = {
    "flipped": "stereocentres of the wrong chirality",
    "undefined": "stereocentres without chirality",
    "turned": "double bonds, amides and the like turned over",
    "twisted": "double bonds, amides and the like neither cis nor trans",
    "pierced": "rings that a bond goes through",
    "contacts": "bad contacts",
    "broken": "broken bonds",
}
"""What is counted in every frame."""

STRETCHED = 1.5
"""A bond is broken if it is longer than so many times the length of its term."""

LONGEST = 0.3
"""Longest length, nm, of a bond whose length the force field does not say."""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong in a frame.

    Attributes
    ----------
    rule
        One of :data:`RULES`.
    atoms
        Rows of the atoms it is about.
    size
        How bad it is: the smaller the worse for contacts (nm), the larger for bonds (times their length).
    """

    rule: str
    atoms: tuple[int, ...]
    size: float = 0.0


def faults(system: System, frame: Frame, chirality: Chirality) -> tuple[Fault, ...]:
    """All faults of a frame with whole molecules.

    Parameters
    ----------
    chirality
        Of the stereocentres and bonds, see :func:`~dbm_gmx.files.conformers.reference_chirality`.
    """
    atoms, box = frame.positions, frame.box
    wrong, flat = wrong_elements(system, atoms, chirality)
    contacts = bad_contacts(system, atoms, box)
    between = minimum_image((atoms[contacts[:, 1]] - atoms[contacts[:, 0]]).astype(np.float64), box)
    lengths = np.linalg.norm(between, axis=1)
    return (
        *(Fault("flipped", (int(i),)) for i in wrong[~are_bonds(wrong), 0]),
        *(Fault("undefined", (int(i),)) for i in flat[~are_bonds(flat), 0]),
        *(Fault("turned", (int(i), int(j))) for i, j in wrong[are_bonds(wrong), 1:3]),
        *(Fault("twisted", (int(i), int(j))) for i, j in flat[are_bonds(flat), 1:3]),
        *(Fault("pierced", rows) for rows in pierced_rings(system, atoms, box)),
        *(Fault("contacts", (int(i), int(j)), float(r)) for (i, j), r in zip(contacts, lengths, strict=True)),
        *_broken(system, atoms.astype(np.float64)),
    )


def _broken(system: System, atoms: FloatArray) -> list[Fault]:
    """Bonds of whole molecules that are far too long."""
    found = []
    for match in system.matches:
        rows, first = match.molecules(atoms), match.first_atoms
        lengths = bond_lengths(match.moltype)
        bonds = np.array(list(lengths), np.int64).reshape(-1, 2)
        usual = np.array(list(lengths.values()))
        times = np.linalg.norm(rows[:, bonds[:, 1]] - rows[:, bonds[:, 0]], axis=-1) / usual
        for copy, bond in np.argwhere(times > STRETCHED):
            i, j = first[copy] + bonds[bond]
            found.append(Fault("broken", (int(i), int(j)), float(times[copy, bond])))
    return found


@lru_cache(maxsize=64)
def bond_lengths(moltype: MoleculeType) -> dict[tuple[int, int], float]:
    """Lengths of the chemical bonds, nm: those of their terms or constraints."""
    unknown = LONGEST / STRETCHED
    lengths = {(min(b), max(b)): unknown for b in chemical_graph(moltype).edges}
    for terms in moltype.terms:
        if terms.directive in ("bonds", "constraints") and terms.function in WITH_LENGTH:
            for (i, j), values in zip(terms.atoms.tolist(), terms.parameters.tolist(), strict=True):
                if (min(i, j), max(i, j)) in lengths and values[0] > 0:
                    lengths[min(i, j), max(i, j)] = values[0]
    return lengths


# --- files -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate keeps the hard rules.

    Attributes
    ----------
    counts
        For each of :data:`RULES` the number in every frame.
    differing
        In words, where names or counts are not those of the topology.
    """

    counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    differing: str = ""

    @property
    def broken(self) -> tuple[str, ...]:
        """The rules that are broken."""
        names = tuple(rule for rule, counts in self.counts.items() if any(counts))
        return (*names, "names") if self.differing else names


def verdict(found: Sequence[tuple[Fault, ...]], differing: str = "") -> Verdict:
    """Count the faults of all frames."""
    counts = {rule: tuple(sum(f.rule == rule for f in frame) for frame in found) for rule in RULES}
    return Verdict(counts, differing)


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

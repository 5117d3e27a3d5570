"""A topology of beads, written with the bonds and angles that mapped frames have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.bead_geometry import BeadGeometry, Spread, spreads
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.files.output import atomic_write

NARROW_BOND, NARROW_ANGLE = 1e-4, 0.1
"""nm and degrees: what is narrower (of a single frame) gets no force constant of its own."""

HEAD = """; Beads mapped from atoms. Bonds and angles are harmonic, with the mean and the width (standard
; deviation) of the mapped frames: k = kT / width^2. They are no force field: there are no non-bonded
; interactions, and terms that are fitted one by one do not add up to what each was fitted to.
[ defaults ]
1 1 no 1.0 1.0
"""


def write_bead_topology(path: Path, found: BeadGeometry, temperature: float) -> None:
    """Write a ``.top``; an older file is backed up.

    Parameters
    ----------
    path
        ``.top``.
    found
        Bonds and angles.
    temperature
        K.
    """
    with atomic_write(path) as part:
        part.write_text("\n".join([HEAD, *_lines(found, GAS * temperature)]) + "\n", encoding="utf-8")


def _lines(found: BeadGeometry, kt: float) -> Iterator[str]:
    matches = {match.moltype.name: match for match in found.matches}
    yield "[ atomtypes ]\n; name  mass  charge  ptype  c6  c12"
    types: dict[str, float] = {}
    for match in matches.values():
        for kind, mass in zip(match.mapping.types, _masses(match), strict=True):
            types.setdefault(kind, mass)
    for kind, mass in types.items():
        yield f"{kind:<8} {mass:9.3f}  0.0  A  0.0  0.0"
    for match in matches.values():
        yield from _molecule(match, found, kt)
    yield "\n[ system ]\nbeads\n\n[ molecules ]"
    counts = [(m.mapping.cg_molecule or m.moltype.name, m.count) for m in found.matches]
    for name, group in groupby(counts, key=lambda one: one[0]):
        yield f"{name} {sum(count for _, count in group)}"


def _molecule(match: Match, found: BeadGeometry, kt: float) -> Iterator[str]:
    name, mapping = match.moltype.name, match.mapping
    called = mapping.cg_molecule or name
    yield f"\n[ moleculetype ]\n{called} 1\n\n[ atoms ]\n; nr type resnr residue atom cgnr charge mass"
    charges = _charges(match)
    for k, (bead, kind, mass) in enumerate(zip(mapping.names, mapping.types, _masses(match), strict=True)):
        yield f"{k + 1:5d} {kind:<8} 1 {called} {bead:<6} {k + 1:5d} {charges[k]:8.4f} {mass:9.3f}"
    bonds = zip(found.bonds[name].tolist(), spreads(found.lengths[name]), strict=True)
    angles = zip(found.angles[name].tolist(), spreads(found.turns[name]), strict=True)
    yield "\n[ bonds ]\n; i j function length k ; mean and width, nm"
    for beads, spread in bonds:
        stiffness = kt / max(spread.width, NARROW_BOND) ** 2
        yield _term(beads, spread, f"{spread.mean:.5f} {stiffness:.6g}")
    yield "\n[ angles ]\n; i j k function angle k ; mean and width, degrees"
    for beads, spread in angles:
        stiffness = kt / math.radians(max(spread.width, NARROW_ANGLE)) ** 2
        yield _term(beads, spread, f"{spread.mean:.3f} {stiffness:.6g}")


def _term(beads: list[int], spread: Spread, parameters: str) -> str:
    numbers = " ".join(f"{bead + 1:5d}" for bead in beads)
    return f"{numbers} 1 {parameters} ; {spread.mean:.4f} +- {spread.width:.4f}"


def _masses(match: Match) -> list[float]:
    """Masses of the atoms that beads own, amu."""
    return _sums(match, match.moltype.masses)


def _charges(match: Match) -> list[float]:
    return _sums(match, np.array(match.moltype.attribute("charge"), np.float64))


def _sums(match: Match, values: FloatArray) -> list[float]:
    """Sums of values of atoms over those that each bead owns."""
    sums = np.bincount(match.mapping.owner, weights=values, minlength=len(match.mapping.names))
    return [float(value) for value in sums]

"""Barriers of bonds that may not turn and of united-atom CH, from angles, dihedrals and impropers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.stereo import is_united_ch
from dbm_gmx.chemistry.stereo_bonds import flat_bonds
from dbm_gmx.chemistry.topology import Barrier, MoleculeType, chemical_graph
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.terms import (
    CANONICAL,
    BondedTerms,
    canonical,
    term_energy,
    term_parameters,
    term_rows,
)

STEPS = 48
"""Angles at which the energy is worked out, evenly spaced."""

LENGTH = 0.14
"""Of the bonds of the model, nm: only their directions matter."""

OFF_PLANE = 4
"""Steps from a planar state up to which a minimum is that state's: 30 degrees."""

ONE_SIDED = 40.0
"""kJ/mol: a planar state that is so much higher than the other is none."""


TILT = 60.0
"""Degrees off the plane up to which the neighbours of a CH are tilted."""


def with_barriers(moltype: MoleculeType) -> MoleculeType:
    """Work out the barriers of the flat bonds and of the united-atom CH of a molecule type.

    All dihedrals and impropers among a bond's atoms and their neighbours are added up while one end is
    turned against the other in a flat model; all angles and impropers of a CH and its neighbours while these
    are tilted from one side to the other.  Terms that cannot be computed are left out.
    """
    rows = flat_bonds(moltype)
    united = [i for i, n in chemical_graph(moltype).degree if n == 3 and is_united_ch(moltype, i)]
    if not len(rows) and not united:
        return moltype
    terms, terms_of = _terms(moltype, ("dihedrals",))
    barriers: dict[tuple[int, int], Barrier] = {}
    for row in rows.tolist():
        found = _barrier(moltype, row, terms, terms_of)
        if found is not None:
            barriers[row[1], row[2]] = found
    terms, terms_of = _terms(moltype, ("angles", "dihedrals") if united else ())
    inversions = {i: _inversion(moltype, i, terms, terms_of) for i in united}
    known = {i: height for i, height in inversions.items() if height is not None}
    return replace(moltype, barriers=barriers, inversions=known)


def _terms(moltype: MoleculeType, directives: tuple[str, ...]) -> tuple[BondedTerms, list[set[int]]]:
    """Terms with parameters, and which of them each atom has."""
    terms = canonical(
        group
        for group in moltype.terms
        if group.directive in directives
        and (group.directive, group.function) in CANONICAL
        and group.parameters.size
    )
    of: list[set[int]] = [set() for _ in range(moltype.n_atoms)]
    for number, atoms in enumerate(terms.atoms[:, :4].tolist()):
        for i in atoms:
            of[i].add(number)
    return terms, of


def _barrier(
    moltype: MoleculeType, row: list[int], terms: BondedTerms, terms_of: list[set[int]]
) -> Barrier | None:
    """Barrier of one bond; ``None`` where no dihedral is about it or no planar state is its minimum."""
    i, j, k, m, _ = row
    graph = chemical_graph(moltype)
    ends = [[first, *(n for n in graph[a] if n not in (first, b))] for first, a, b in ((i, j, k), (m, k, j))]
    place = {atom: n for n, atom in enumerate([j, k, *ends[0], *ends[1]])}
    touching = set().union(*(terms_of[n] for n in ends[0])) & set().union(*(terms_of[n] for n in ends[1]))
    chosen = [t for t in sorted(touching) if all(n in place for n in terms.atoms[t, :4].tolist())]
    if not chosen:
        return None
    atoms = np.array([[*(place[n] for n in terms.atoms[t, :4].tolist()), -1] for t in chosen], np.int64)
    arrays = terms.form[chosen], atoms, terms.parameters[chosen], terms.tables
    return _barrier_of(_profile(*arrays, _turned(len(ends[0]), len(ends[1]))))


def _turned(first: int, second: int) -> FloatArray:
    """(STEPS, 2 + first + second, 3) a bond with so many neighbours at its ends, turned, cis first."""
    models = np.repeat(_model(first, second)[None], STEPS, axis=0)
    angle = 2.0 * math.pi * np.arange(STEPS)[:, None] / STEPS
    up = models[:, 2 + first :, 1].copy()
    models[:, 2 + first :, 1], models[:, 2 + first :, 2] = up * np.cos(angle), up * np.sin(angle)
    return models


def _model(first: int, second: int) -> FloatArray:
    """(2 + first + second, 3) a flat bond with so many neighbours at its ends, the first ones cis."""
    along, up = 0.5 * LENGTH, math.sqrt(0.75) * LENGTH
    left = [[-along, up, 0.0], [-along, -up, 0.0]][:first]
    right = [[LENGTH + along, up, 0.0], [LENGTH + along, -up, 0.0]][:second]
    return np.array([[0.0, 0.0, 0.0], [LENGTH, 0.0, 0.0], *left, *right])


@compiled(makes_arrays=True)
def _profile(form: Any, atoms: Any, parameters: Any, tables: Any, models: Any) -> Any:
    """(k,) energies of models (k, n, 3), kJ/mol."""
    energy = np.zeros(len(models))
    for step in range(len(models)):
        for t in range(len(form)):
            energy[step] += term_energy(
                form[t], term_parameters(parameters, t), tables, models[step], term_rows(atoms, t, 0)
            )
    return energy


def _inversion(
    moltype: MoleculeType, centre: int, terms: BondedTerms, terms_of: list[set[int]]
) -> float | None:
    """From the lower of the two minima of a CH over what is between them, kJ/mol; ``None`` if not known."""
    place = {atom: n for n, atom in enumerate([centre, *chemical_graph(moltype)[centre]])}
    near = [t for t in sorted(terms_of[centre]) if all(n in place for n in _atoms(terms, t))]
    chosen = [t for t in near if len(_atoms(terms, t)) > 2]
    angles = {frozenset(_atoms(terms, t)) for t in chosen if len(_atoms(terms, t)) == 3}
    if len(angles) < 3:
        return None
    atoms = np.full((len(chosen), terms.atoms.shape[1]), -1)
    for row, t in enumerate(chosen):
        atoms[row, : len(_atoms(terms, t))] = [place[n] for n in _atoms(terms, t)]
    energy = _profile(terms.form[chosen], atoms, terms.parameters[chosen], terms.tables, _tilted())
    half = STEPS // 2
    down, up = int(np.argmin(energy[: half + 1])), half + int(np.argmin(energy[half:]))
    return float(energy[down : up + 1].max() - min(energy[down], energy[up]))


def _atoms(terms: BondedTerms, t: int) -> list[int]:
    return [n for n in terms.atoms[t].tolist() if n >= 0]


def _tilted() -> FloatArray:
    """(STEPS + 1, 4, 3) an atom with three neighbours, tilted from one side to the other."""
    tilt = np.radians(np.linspace(-TILT, TILT, STEPS + 1))[:, None]
    around = 2.0 * math.pi * np.arange(3) / 3
    flat = np.cos(tilt)
    ends = np.stack([flat * np.cos(around), flat * np.sin(around), np.sin(tilt) + 0 * around], axis=-1)
    return LENGTH * np.concatenate([np.zeros((STEPS + 1, 1, 3)), ends], axis=1)


def _barrier_of(energy: FloatArray) -> Barrier | None:
    """What a profile (STEPS,) from cis to cis says; ``None`` where its minimum is not planar."""
    half = STEPS // 2
    low = int(np.argmin(np.round(energy, 6)))
    if OFF_PLANE < abs(low - half) < half - OFF_PLANE:
        return None
    cis, trans = float(energy[0]), float(energy[half])
    back = np.roll(energy, -half)[: half + 1]  # from trans on to cis
    height = min(float(energy[: half + 1].max()), float(back.max())) - min(cis, trans)
    state = 0 if abs(cis - trans) < ONE_SIDED else 1 if cis < trans else -1
    return Barrier(height, state)

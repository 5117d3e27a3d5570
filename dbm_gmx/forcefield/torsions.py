"""Barriers of bonds that may not turn, from the dihedrals and impropers of the force field."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
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


def with_barriers(moltype: MoleculeType) -> MoleculeType:
    """Work out the barriers of the flat bonds of a molecule type.

    All dihedrals and impropers among a bond's atoms and their neighbours are added up while one end is
    turned against the other in a flat model.  Terms that cannot be computed are left out.
    """
    rows = flat_bonds(moltype)
    if not len(rows):
        return moltype
    terms, terms_of = _dihedrals(moltype)
    barriers: dict[tuple[int, int], Barrier] = {}
    for row in rows.tolist():
        found = _barrier(moltype, row, terms, terms_of)
        if found is not None:
            barriers[row[1], row[2]] = found
    return replace(moltype, barriers=barriers)


def _dihedrals(moltype: MoleculeType) -> tuple[BondedTerms, list[set[int]]]:
    """Dihedrals and impropers with parameters, and which of them each atom has."""
    terms = canonical(
        group
        for group in moltype.terms
        if group.directive == "dihedrals"
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
    size = len(ends[0]), len(ends[1])
    arrays = terms.form[chosen], atoms, terms.parameters[chosen], terms.tables
    energy = _profile(*arrays, _model(*size), 2 + size[0])
    return _barrier_of(energy)


def _model(first: int, second: int) -> FloatArray:
    """(2 + first + second, 3) a flat bond with so many neighbours at its ends, the first ones cis."""
    along, up = 0.5 * LENGTH, math.sqrt(0.75) * LENGTH
    left = [[-along, up, 0.0], [-along, -up, 0.0]][:first]
    right = [[LENGTH + along, up, 0.0], [LENGTH + along, -up, 0.0]][:second]
    return np.array([[0.0, 0.0, 0.0], [LENGTH, 0.0, 0.0], *left, *right])


@compiled(makes_arrays=True)
def _profile(form: Any, atoms: Any, parameters: Any, tables: Any, model: Any, first: int) -> Any:
    """(STEPS,) energies, kJ/mol, with the atoms from ``first`` on turned about the bond, cis first."""
    energy, x = np.zeros(STEPS), model.copy()
    for step in range(STEPS):
        angle = 2.0 * math.pi * step / STEPS
        for i in range(first, len(x)):
            x[i, 1], x[i, 2] = model[i, 1] * math.cos(angle), model[i, 1] * math.sin(angle)
        for t in range(len(form)):
            energy[step] += term_energy(
                form[t], term_parameters(parameters, t), tables, x, term_rows(atoms, t, 0)
            )
    return energy


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

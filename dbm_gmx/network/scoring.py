"""Energies of single beads: they say which beads are to be drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.stereo import (
    FLAT,
    Chirality,
    are_bonds,
    chirality_of_copies,
    element_rows,
    invert,
    triple_products,
)
from dbm_gmx.chemistry.stereo_bonds import BOND
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import atom_types, excluded_pairs
from dbm_gmx.forcefield.energy import Form, form_of, lennard_jones
from dbm_gmx.forcefield.terms import energy_terms
from dbm_gmx.network.arrays import NetworkArrays
from dbm_gmx.network.environment import Scene, expand, make_targets, neighbouring_atoms
from dbm_gmx.network.voxels import Grid


@dataclass(frozen=True, eq=False)
class TermTable:
    """Terms of one functional form in all molecules, listed by the bead and phase they belong to.

    Attributes
    ----------
    name
        Directive and function type.
    form
        The functional form.
    atoms, parameters
        (t, k) rows of the atoms, (t, p).
    start, terms
        Ragged list: terms of bead b (of m) among heavy atoms at ``b``, those with hydrogens at ``b + m``.
    """

    name: str
    form: Form
    atoms: Tensor
    parameters: Tensor
    start: Tensor
    terms: Tensor


@dataclass(frozen=True, eq=False)
class Scorer:
    """Energies of the atoms of a stage: bonded terms, Lennard-Jones with what is around, stereo elements.

    Attributes
    ----------
    tables
        Bonded terms.
    excluded
        See :func:`excluded_atoms`.
    centres, signs
        (c, 5) stereo elements (-1: no neighbour) whose state is expected, (c,) that state.
    types, c6, c12
        (n,) rows of the Lennard-Jones parameters, and these by pairs of types.
    grid
        Its cut-off, counted from the bead, is that of the Lennard-Jones energy.
    batch
        Atoms held in memory at once.
    """

    tables: tuple[TermTable, ...]
    excluded: Tensor
    centres: Tensor
    signs: Tensor
    types: Tensor
    c6: Tensor
    c12: Tensor
    grid: Grid
    batch: int

    def energies(
        self, scene: Scene, beads: Tensor, atoms: Tensor, known_below: int, replica: int = 0
    ) -> Tensor:
        """Energies of the beads of a stage.

        Parameters
        ----------
        beads, atoms
            (b,) beads of the stage, (a,) atoms placed in them.
        known_below
            Atoms of lower growth rank are known.
        replica
            Which copy of the atoms.

        Returns
        -------
        (b, 3) bonded and Lennard-Jones energies, kJ/mol, and :data:`WRONG` for each stereo element with an
        atom in the bead that has the other state or none.
        """
        parts = (self._bonded, self._lennard_jones, self._chirality)
        return torch.stack([part(scene, beads, atoms, known_below, replica) for part in parts], 1)

    def _bonded(self, scene: Scene, beads: Tensor, atoms: Tensor, known_below: int, replica: int) -> Tensor:
        arrays, total = scene.arrays, scene.positions.new_zeros(len(beads))
        phase = int(arrays.hydrogen[atoms[0]])
        for table in self.tables:
            which, index = expand(table.start, beads + phase * arrays.n_beads)
            rows = table.terms[index]
            known = (arrays.growth_rank[table.atoms[rows]] < known_below).all(1)
            which, rows = which[known], rows[known]
            points = scene.positions[replica][table.atoms[rows]]
            energies = table.form.potential(*table.form.measure(points), *table.parameters[rows].unbind(-1))
            total.index_add_(0, which, energies)
        return total

    def _lennard_jones(
        self, scene: Scene, beads: Tensor, atoms: Tensor, known_below: int, replica: int
    ) -> Tensor:
        arrays, total = scene.arrays, scene.positions.new_zeros(len(beads))
        index = torch.zeros_like(arrays.align)
        index[beads] = torch.arange(len(beads), device=beads.device)
        for atom in torch.split(atoms, self.batch):
            targets = make_targets(atom, known_below, replica=replica)
            vector, _, real, other = neighbouring_atoms(scene, targets, self.grid)
            here = scene.positions[replica, atom] - scene.beads[arrays.owner[atom]]
            distance = (vector - here[:, None]).square().sum(2).sqrt()
            apart = (other - atom[:, None])[:, :, None] != self.excluded[arrays.row[atom]][:, None]
            weight = real * apart.all(2)
            # both atoms of a pair within the bead have been placed by this stage: half the pair each
            same = arrays.owner[other] == arrays.owner[atom][:, None]
            same &= arrays.hydrogen[other] == arrays.hydrogen[atom][:, None]
            pair = self.types[atom][:, None], self.types[other]
            energies = weight * lennard_jones(distance, self.c6[pair], self.c12[pair])
            total.index_add_(0, index[arrays.owner[atom]], torch.where(same, energies / 2, energies).sum(1))
        return total

    def _chirality(
        self, scene: Scene, beads: Tensor, atoms: Tensor, known_below: int, replica: int
    ) -> Tensor:
        arrays = scene.arrays
        # hydrogens are placed after the heavy atoms, and go with them
        heavy = not arrays.hydrogen[atoms[0]]
        members = self.centres[self._wrong(scene, known_below, replica, heavy=heavy)]
        bead = arrays.owner[members[members >= 0]]
        total = scene.positions.new_zeros(arrays.n_beads)
        total.index_add_(0, bead, total.new_full((len(bead),), WRONG))
        return total[beads]

    def _wrong(self, scene: Scene, known_below: int, replica: int, *, heavy: bool) -> Tensor:
        """(c,) which stereo elements have the other state or none, by their known (heavy) atoms."""
        arrays = scene.arrays
        known = (self.centres >= 0) & (arrays.growth_rank[self.centres] < known_below)
        if heavy:
            known &= ~arrays.hydrogen[self.centres]
        points = scene.positions[replica][self.centres].double().cpu().numpy()
        bonds = are_bonds(self.centres.cpu().numpy())
        volume = torch.from_numpy(triple_products(points, known[:, 1:].cpu().numpy(), bonds)).to(self.signs)
        # one product spreads more than the mean of four
        return known[:, 0] & ~volume.isnan() & ~(self.signs * volume > FLAT / 2)

    def invert_wrong(self, scene: Scene, known_below: int) -> None:
        """Invert the stereocentres that no draw has given the right chirality, in place.

        A centre with three heavy neighbours goes through the plane of the three, and its hydrogen with it;
        bonds to the three keep their lengths.  Angles are left to the sweeps that follow.
        """
        arrays, positions = scene.arrays, scene.positions[0]
        wrong = self._wrong(scene, known_below, 0, heavy=True)
        rows = self.centres[wrong & (self.centres[:, 4] != BOND)]
        heavy = (rows >= 0) & ~arrays.hydrogen[rows] & (arrays.growth_rank[rows] < known_below)
        rows, heavy = (values[heavy.sum(1) == 4] for values in (rows, heavy))  # the centre and three
        if not len(rows):
            return
        ends, staying = rows[:, 1:], heavy[:, 1:]
        rows = torch.cat([rows[:, :1], ends[staying].reshape(-1, 3), ends[~staying][:, None]], 1)
        points = positions[rows].double().cpu().numpy()
        index = np.where(rows.cpu().numpy() < 0, -1, np.arange(rows.numel()).reshape(-1, 5))
        invert(points.reshape(-1, 3), index)
        moved, there = rows[:, ::4], rows[:, ::4] >= 0  # the centres and their hydrogens
        positions[moved[there]] = torch.from_numpy(points[:, ::4]).to(positions)[there]


WRONG = 1000.0  # kJ/mol, far more than any error that more turns of the local frame could mend


def make_scorer(
    system: System, arrays: NetworkArrays, *, grid: Grid, batch: int, chirality: Chirality | None = None
) -> Scorer:
    """Set up the energies of a system.

    Parameters
    ----------
    arrays
        Of one or several frames of the system.
    grid, batch
        See :class:`Scorer`.
    chirality
        Expected, see :func:`~dbm_gmx.files.conformers.reference_chirality`.

    Raises
    ------
    ValueError
        If the topology has no non-bonded parameters.
    """
    nonbonded = system.topology.nonbonded
    if nonbonded is None:
        raise ValueError("a topology without non-bonded parameters has no energy")
    frames, device = arrays.n_atoms // system.n_atoms, arrays.owner.device
    centres, signs = _expected_centres(system, chirality or {}, frames)
    return Scorer(
        tables=tuple(term_tables(system, arrays, frames)),
        excluded=excluded_atoms(system).to(device),
        centres=centres.to(device),
        signs=signs.to(device),
        types=torch.from_numpy(atom_types(system.topology)).repeat(frames).to(device),
        c6=torch.from_numpy(nonbonded.c6).float().to(device),
        c12=torch.from_numpy(nonbonded.c12).float().to(device),
        grid=grid,
        batch=batch,
    )


def _expected_centres(system: System, chirality: Chirality, frames: int) -> tuple[Tensor, Tensor]:
    """Stereo elements whose state is expected, of all frames: see :class:`Scorer`."""
    rows, signs = [np.zeros((0, 5), np.int64)], [np.zeros(0, np.int8)]
    for match, expected in zip(system.matches, chirality_of_copies(system, chirality), strict=True):
        rows.append(element_rows(match)[expected != 0])
        signs.append(expected[expected != 0])
    one, step = np.concatenate(rows), np.arange(frames)[:, None, None] * system.n_atoms
    every = np.where(one < 0, one, one + step).reshape(-1, 5)
    return torch.from_numpy(every), torch.from_numpy(np.tile(np.concatenate(signs), frames)).float()


def term_tables(system: System, arrays: NetworkArrays, frames: int) -> list[TermTable]:
    """Bonded terms of so many frames, by functional form."""
    rows: dict[str, list[tuple[Form, np.ndarray, np.ndarray]]] = {}
    fudge = system.topology.nonbonded.fudge_qq if system.topology.nonbonded else 1.0
    for match in system.matches:
        first = (np.arange(frames)[:, None] * system.n_atoms + match.first_atoms).reshape(-1, 1, 1)
        for terms in energy_terms(match.moltype, fudge_qq=fudge):
            atoms = (terms.atoms + first).reshape(-1, terms.atoms.shape[1])
            parameters = np.tile(terms.parameters, (len(first), 1))
            key = f"{terms.directive} {terms.function}"
            rows.setdefault(key, []).append((form_of(terms), atoms, parameters))
    return [_term_table(name, parts, arrays) for name, parts in rows.items()]


def _term_table(
    name: str, parts: Sequence[tuple[Form, np.ndarray, np.ndarray]], arrays: NetworkArrays
) -> TermTable:
    device = arrays.owner.device
    atoms = torch.from_numpy(np.concatenate([a for _, a, _ in parts])).to(device)
    parameters = torch.from_numpy(np.concatenate([p for _, _, p in parts])).float().to(device)
    phase = arrays.hydrogen[atoms].any(1).long()
    keys = arrays.owner[atoms] + phase[:, None] * arrays.n_beads
    terms = torch.arange(len(atoms), device=device).repeat_interleave(atoms.shape[1])
    entries = torch.stack([keys.flatten(), terms])
    entries = torch.unique(entries, dim=1)  # sorted by key; a term counts once for a bead
    start = torch.searchsorted(entries[0].contiguous(), torch.arange(2 * arrays.n_beads + 1, device=device))
    return TermTable(name, parts[0][0], atoms, parameters, start, entries[1])


def excluded_atoms(system: System) -> Tensor:
    """(rows, x) atoms that each atom is excluded from, as offsets; itself (0) among them.

    Rows as in :class:`~dbm_gmx.network.arrays.NetworkArrays`.
    """
    lists: list[list[int]] = []
    for moltype in {match.moltype.name: match.moltype for match in system.matches}.values():
        own: list[list[int]] = [[0] for _ in range(moltype.n_atoms)]
        for i, j in excluded_pairs(moltype).tolist():
            own[i].append(j - i)
            own[j].append(i - j)
        lists += own
    width = max(map(len, lists))
    return torch.tensor([row + [0] * (width - len(row)) for row in lists])

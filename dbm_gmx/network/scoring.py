"""Local energies: which of several ways to place the atoms of a bead is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.stereo import FLAT, Chirality, centre_rows, chirality_of_copies, triple_products
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import atom_types, excluded_pairs
from dbm_gmx.forcefield.energy import Form, form_of, lennard_jones
from dbm_gmx.forcefield.terms import energy_terms
from dbm_gmx.network.arrays import Layout
from dbm_gmx.network.environment import Scene, expand, neighbouring_atoms
from dbm_gmx.network.voxels import Grid

CLOSEST = 0.05  # nm; nearer atoms count as this far apart, so that energies stay finite


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
        Ragged list: terms of bead b among heavy atoms at ``b``, those with hydrogens at ``b + m``.
    """

    name: str
    form: Form
    atoms: Tensor
    parameters: Tensor
    start: Tensor
    terms: Tensor


class Judge:
    """Energy of the atoms a stage has placed: bonded terms and Lennard-Jones with what is around.

    Parameters
    ----------
    system, layout
        The system and the arrays of the frames in hand.
    grid
        Its cut-off is that of the Lennard-Jones energy, counted from the bead.
    batch
        Atoms looked at together.
    chirality
        What is expected of the stereocentres, see :func:`~dbm_gmx.files.conformers.reference_chirality`.
    """

    def __init__(
        self,
        system: System,
        layout: Layout,
        *,
        grid: Grid,
        batch: int,
        chirality: Chirality | None = None,
    ):
        frames, device = layout.n_atoms // system.n_atoms, layout.owner.device
        self.grid, self.batch = grid, batch
        self.tables = term_tables(system, layout, frames)
        self.excluded = excluded_atoms(system).to(device)
        centres, signs = _expected_centres(system, chirality or {}, frames)
        self.centres, self.signs = centres.to(device), signs.to(device)
        nonbonded = system.topology.nonbonded
        if nonbonded is None:
            raise ValueError("a topology without non-bonded parameters has no energy")
        self.types = torch.from_numpy(atom_types(system.topology)).repeat(frames).to(device)
        self.c6, self.c12 = (torch.from_numpy(c).float().to(device) for c in (nonbonded.c6, nonbonded.c12))

    def __call__(self, scene: Scene, beads: Tensor, atoms: Tensor, now: int, replica: int) -> Tensor:
        """Energies of the beads of a stage.

        Parameters
        ----------
        scene
            The atoms.
        beads
            (b,) beads of the stage.
        atoms
            (a,) atoms the stage has placed in them.
        now
            Growth rank from which the scene is seen.
        replica
            Which copy of the atoms is judged.

        Returns
        -------
        (b, 3) bonded and Lennard-Jones energies, kJ/mol, and :data:`WRONG` for each stereocentre with an atom
        in the bead that has the other hand or none.
        """
        parts = (self._bonded, self._pairs, self._chirality)
        return torch.stack([part(scene, beads, atoms, now, replica) for part in parts], 1)

    def _bonded(self, scene: Scene, beads: Tensor, atoms: Tensor, now: int, replica: int) -> Tensor:
        layout, total = scene.layout, scene.positions.new_zeros(len(beads))
        phase = int(layout.hydrogen[atoms[0]])
        for table in self.tables:
            which, place = expand(table.start, beads + phase * layout.n_beads)
            rows = table.terms[place]
            known = (layout.growth[table.atoms[rows]] < now).all(1)
            which, rows = which[known], rows[known]
            points = scene.positions[replica][table.atoms[rows]]
            energies = table.form.potential(*table.form.measure(points), *table.parameters[rows].unbind(-1))
            total.index_add_(0, which, energies)
        return total

    def _pairs(self, scene: Scene, beads: Tensor, atoms: Tensor, now: int, replica: int) -> Tensor:
        layout, total = scene.layout, scene.positions.new_zeros(len(beads))
        place = torch.zeros_like(layout.align)
        place[beads] = torch.arange(len(beads), device=beads.device)
        for atom in torch.split(atoms, self.batch):
            copy = torch.full_like(atom, replica)
            vector, _, real, other = neighbouring_atoms(
                scene, atom, now=torch.full_like(atom, now), replica=copy, grid=self.grid
            )
            here = scene.positions[replica, atom] - scene.beads[layout.owner[atom]]
            distance = (vector - here[:, None]).square().sum(2).sqrt().clamp(min=CLOSEST)
            apart = (other - atom[:, None])[:, :, None] != self.excluded[layout.row[atom]][:, None]
            weight = real * apart.all(2)
            # both atoms of a pair within the bead have been placed by this stage: half the pair each
            same = layout.owner[other] == layout.owner[atom][:, None]
            same &= layout.hydrogen[other] == layout.hydrogen[atom][:, None]
            pair = self.types[atom][:, None], self.types[other]
            energies = weight * lennard_jones(distance, self.c6[pair], self.c12[pair])
            total.index_add_(0, place[layout.owner[atom]], torch.where(same, energies / 2, energies).sum(1))
        return total

    def _chirality(self, scene: Scene, beads: Tensor, atoms: Tensor, now: int, replica: int) -> Tensor:
        layout = scene.layout
        # hydrogens are placed after the heavy atoms, and go with them
        members = self.centres[self._wrong(scene, now, replica, heavy=not layout.hydrogen[atoms[0]])]
        bead = layout.owner[members[members >= 0]]
        total = scene.positions.new_zeros(layout.n_beads)
        total.index_add_(0, bead, total.new_full((len(bead),), WRONG))
        return total[beads]

    def _wrong(self, scene: Scene, now: int, replica: int, *, heavy: bool) -> Tensor:
        """(c,) which stereocentres have the other hand or none, by what is known, or by its heavy atoms."""
        layout = scene.layout
        known = (self.centres >= 0) & (layout.growth[self.centres] < now)
        if heavy:
            known &= ~layout.hydrogen[self.centres]
        points = scene.positions[replica][self.centres].double().cpu().numpy()
        volume = torch.from_numpy(triple_products(points, known[:, 1:].cpu().numpy())).to(self.signs)
        # one product spreads more than the mean of four
        return known[:, 0] & ~volume.isnan() & ~(self.signs * volume > FLAT / 2)

    def invert_wrong(self, scene: Scene, now: int) -> None:
        """Give stereocentres the right hand that no draw has given it, in place.

        One with three heavy neighbours and a hydrogen goes through the plane of the three, and the hydrogen
        with it; bonds keep their lengths, and the sweeps that follow see to the angles.

        Parameters
        ----------
        now
            Growth rank from which the scene is seen.
        """
        layout, positions = scene.layout, scene.positions[0]
        rows = self.centres[self._wrong(scene, now, 0, heavy=True)]
        heavy = (rows >= 0) & ~layout.hydrogen[rows] & (layout.growth[rows] < now)
        rows, heavy = (values[heavy.sum(1) == 4] for values in (rows, heavy))  # the centre and three
        if not len(rows):
            return
        first, second, third = positions[rows[:, 1:][heavy[:, 1:]].reshape(-1, 3)].unbind(1)
        normal = torch.nn.functional.normalize(torch.linalg.cross(second - first, third - first), dim=1)
        moved = torch.cat([rows[:, :1], rows[:, 1:][~heavy[:, 1:]].reshape(len(rows), -1)], 1)
        for atom in moved.unbind(1):
            real = atom >= 0
            height = ((positions[atom] - first) * normal).sum(1, keepdim=True)
            positions[atom[real]] = (positions[atom] - 2 * height * normal)[real]


WRONG = 1000.0  # kJ/mol, far more than any error that more turns of the frame could mend


def _expected_centres(system: System, chirality: Chirality, frames: int) -> tuple[Tensor, Tensor]:
    """(c, 5) stereocentres and their neighbours (-1: none) of which a hand is expected, (c,) that hand."""
    rows, signs = [np.zeros((0, 5), np.int64)], [np.zeros(0, np.int8)]
    for match, expected in zip(system.matches, chirality_of_copies(system, chirality), strict=True):
        rows.append(centre_rows(match)[expected != 0])
        signs.append(expected[expected != 0])
    one, step = np.concatenate(rows), np.arange(frames)[:, None, None] * system.n_atoms
    every = np.where(one < 0, -1, one + step).reshape(-1, 5)
    return torch.from_numpy(every), torch.from_numpy(np.tile(np.concatenate(signs), frames)).float()


def term_tables(system: System, layout: Layout, frames: int) -> list[TermTable]:
    """Terms of all frames in hand, by functional form."""
    rows: dict[str, list[tuple[Form, np.ndarray, np.ndarray]]] = {}
    fudge = system.topology.nonbonded.fudge_qq if system.topology.nonbonded else 1.0
    for match in system.matches:
        first = (np.arange(frames)[:, None] * system.n_atoms + match.first_atoms).reshape(-1, 1, 1)
        for terms in energy_terms(match.moltype, fudge_qq=fudge):
            atoms = (terms.atoms + first).reshape(-1, terms.atoms.shape[1])
            parameters = np.tile(terms.parameters, (len(first), 1))
            key = f"{terms.directive} {terms.function}"
            rows.setdefault(key, []).append((form_of(terms), atoms, parameters))
    return [_term_table(name, parts, layout) for name, parts in rows.items()]


def _term_table(name: str, parts: Sequence[tuple[Form, np.ndarray, np.ndarray]], layout: Layout) -> TermTable:
    device = layout.owner.device
    atoms = torch.from_numpy(np.concatenate([a for _, a, _ in parts])).to(device)
    parameters = torch.from_numpy(np.concatenate([p for _, _, p in parts])).float().to(device)
    phase = layout.hydrogen[atoms].any(1).long()
    keys = layout.owner[atoms] + phase[:, None] * layout.n_beads
    terms = torch.arange(len(atoms), device=device).repeat_interleave(atoms.shape[1])
    entries = torch.stack([keys.flatten(), terms])
    entries = torch.unique(entries, dim=1)  # sorted by key; a term counts once for a bead
    start = torch.searchsorted(entries[0].contiguous(), torch.arange(2 * layout.n_beads + 1, device=device))
    return TermTable(name, parts[0][0], atoms, parameters, start, entries[1])


def excluded_atoms(system: System) -> Tensor:
    """(rows, x) where the atoms are that each is excluded from, itself (0) among them.

    Counted from the atom itself; rows as in :class:`~dbm_gmx.network.arrays.Layout`.
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

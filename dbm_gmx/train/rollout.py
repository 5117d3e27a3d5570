"""Atoms of a bead placed one after the other, and their energies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dbm_gmx.forcefield.energy import lennard_jones
from dbm_gmx.forcefield.nonbonded import CLOSEST
from dbm_gmx.network.environment import densities, expand
from dbm_gmx.train.batches import Batch, BatchEnvironment, local_position, look_up, turns
from dbm_gmx.train.dataset import SWEEP, Dataset
from dbm_gmx.train.losses import CEILING, soften, unit_density

PlaceAtoms = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Environments (b, channels, s, s, s), labels (b, channels) and true positions (b, 3) to densities
(b, s, s, s) of sum 1 and positions (b, 3), nm."""


@dataclass(frozen=True, eq=False)
class Rollout:
    """Sequences of atoms as they were placed, step after step; m atoms in all.

    Attributes
    ----------
    sample
        (m,) row of the batch.
    atom
        (m,) atoms of the dataset.
    environment, label
        (m, channels, s, s, s), (m, channels): the conditions.
    density, position
        (m, s, s, s) sum 1, (m, 3) nm, local: what was placed.
    moved
        (b, l, 3) nm, local: how far each atom of a sequence is off the data; 0 beyond its end.
    steps
        Environments of each step.
    """

    sample: Tensor
    atom: Tensor
    environment: Tensor
    label: Tensor
    density: Tensor
    position: Tensor
    moved: Tensor
    steps: tuple[BatchEnvironment, ...]


def roll_out(dataset: Dataset, batch: Batch, features: Tensor, place: PlaceAtoms) -> Rollout:
    """Place the atoms of each sequence one after the other.

    Each knows those placed before where they were placed; everything else is where the data have it.
    Differentiable through the positions of earlier atoms.

    Parameters
    ----------
    features
        Of the dataset's table, a tensor.
    place
        Gives the density and the position of the next atoms.
    """
    start = dataset.sequences.start[batch.sequence]
    length = dataset.sequences.start[batch.sequence + 1] - start
    moved: list[Tensor] = []
    columns, steps = [], []
    for k in range(int(length.max())):
        active = int((length > k).sum())  # the longest sequences come first
        atom, azimuth = dataset.sequences.items[start[:active] + k], batch.azimuth[:active]
        step = look_up(
            dataset,
            atom,
            mode=batch.mode[:active],
            azimuth=azimuth,
            displace=_displacement(dataset, batch.sequence, moved) if moved else None,
        )
        environment = densities(step.environment, features, dataset.grid)
        label, truth = features[step.environment.atom_class], local_position(dataset, atom, azimuth)
        density, position = place(environment, label, truth)
        moved.append(torch.nn.functional.pad(position - truth, (0, 0, 0, len(length) - active)))
        columns.append(
            (torch.arange(active, device=atom.device), atom, environment, label, density, position)
        )
        steps.append(step)
    sample, atoms, found, labels, drawn, positions = (torch.cat(c) for c in zip(*columns, strict=True))
    return Rollout(sample, atoms, found, labels, drawn, positions, torch.stack(moved, 1), tuple(steps))


def _displacement(
    dataset: Dataset, sequence: Tensor, moved: list[Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """How far the entries of some samples are off the data, once some atoms of each sequence are placed."""
    off = torch.stack(moved, 1)

    def displace(which: Tensor, source: Tensor) -> Tensor:
        slot = dataset.slot[source]
        placed = (dataset.sequence[source] == sequence[which]) & (slot < off.shape[1])
        return off[which, torch.where(placed, slot, 0)] * placed[:, None]

    return displace


def true_positions(dataset: Dataset) -> PlaceAtoms:
    """Places every atom where the data have it."""
    return lambda environment, label, truth: (unit_density(truth, dataset.grid), truth)


# --- energies ----------------------------------------------------------------------------------------


def energies(
    dataset: Dataset, batch: Batch, rollout: Rollout, *, ceiling: float = CEILING
) -> dict[str, Tensor]:
    """Energies e_t of the atoms of each sequence, with one another and with their neighbours.

    Bonded terms are those between known atoms, one of them of the bead; Lennard-Jones acts with all known
    atoms within the cut-off of the grid.  In a sweep, pairs within a sequence count once.

    Parameters
    ----------
    ceiling
        kJ/mol, see :func:`~dbm_gmx.train.losses.soften`.

    Returns
    -------
    By interaction type (bond, angle, dihedral, lennard_jones), (b,) kJ/mol.
    """
    count = len(batch.sequence)
    total = {t: rollout.moved.new_zeros(count) for t in ("bond", "angle", "dihedral", "lennard_jones")}
    # displacements turned back from the local frames to the laboratory
    frames = turns(batch.azimuth) @ dataset.rotation[batch.sequence]
    moved = rollout.moved @ frames
    for group in dataset.terms:
        which, index = expand(group.of_sequence.start, 2 * batch.sequence + batch.mode.clamp(max=SWEEP))
        term = group.of_sequence.items[index]
        atoms = group.atoms[term]
        own = dataset.sequence[atoms] == batch.sequence[which][:, None]
        shift = moved[which[:, None], torch.where(own, dataset.slot[atoms], 0)] * own[..., None]
        points = dataset.truth[atoms] + shift
        measured = group.form.measure(points)
        energy = group.form.potential(*measured, *group.parameters[term].unbind(-1))
        total[group.part] = total[group.part].index_add(0, which, soften(energy, ceiling))
    begin = 0
    for step in rollout.steps:
        active = len(step.pair)
        here = rollout.position[begin : begin + active]
        pairs = _pair_energies(dataset, step, here, ceiling)
        total["lennard_jones"] = total["lennard_jones"].index_add(
            0, torch.arange(active, device=pairs.device), pairs
        )
        begin += active
    return total


def _pair_energies(dataset: Dataset, step: BatchEnvironment, here: Tensor, ceiling: float) -> Tensor:
    """(a,) Lennard-Jones energies of the atoms placed in a step with neighbours that are not placed later."""
    environment = step.environment
    source = environment.neighbour.clamp(min=0)
    later = dataset.later_in_sequence(source, environment.atom[:, None])
    counted = step.pair & (environment.weights > 0) & ~later
    distance = (environment.positions - here[:, None]).square().sum(2).clamp(min=CLOSEST**2).sqrt()
    types = dataset.lj_type[environment.atom][:, None], dataset.lj_type[source]
    energy = soften(lennard_jones(distance, dataset.c6[types], dataset.c12[types]), ceiling)
    return torch.where(counted, energy, 0.0).sum(1)

"""Recurrent placing of the atoms of a bead, and the energies of what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dbm_gmx.forcefield.energy import lennard_jones
from dbm_gmx.network.environment import densities, expand
from dbm_gmx.network.scoring import CLOSEST
from dbm_gmx.train.batches import Batch, View, local_place, look, turns
from dbm_gmx.train.dataset import SWEEP, Corpus
from dbm_gmx.train.losses import soften, unit_density

Place = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Environments (b, channels, s, s, s), labels (b, channels) and true places (b, 3) to densities
(b, s, s, s) of sum 1 and places (b, 3)."""


@dataclass(frozen=True, eq=False)
class Rollout:
    """Sequences of atoms as they were placed, step after step; m atoms in all.

    Attributes
    ----------
    sample
        (m,) row of the batch.
    atom
        (m,) atoms of the corpus.
    environment, label
        (m, channels, s, s, s), (m, channels): the conditions.
    density, position
        (m, s, s, s) sum 1, (m, 3) nm, local: what was placed.
    moved
        (b, l, 3) nm, local: how far each atom of a sequence is off the data; 0 beyond its end.
    views
        Of each step.
    """

    sample: Tensor
    atom: Tensor
    environment: Tensor
    label: Tensor
    density: Tensor
    position: Tensor
    moved: Tensor
    views: tuple[View, ...]


def roll_out(corpus: Corpus, batch: Batch, features: Tensor, place: Place) -> Rollout:
    """Place the atoms of each sequence one after the other; each sees those placed before where they are.

    Everything else is where the data have it.  Differentiable through the places of earlier atoms.

    Parameters
    ----------
    features
        Of the corpus' table, a tensor.
    place
        What gives the density and the place of the next atom.
    """
    start = corpus.sequences.start[batch.sequence]
    length = corpus.sequences.start[batch.sequence + 1] - start
    moved: list[Tensor] = []
    steps, views = [], []
    for k in range(int(length.max())):
        active = int((length > k).sum())  # the longest sequences come first
        atom, azimuth = corpus.sequences.items[start[:active] + k], batch.azimuth[:active]
        view = look(
            corpus,
            atom,
            mode=batch.mode[:active],
            azimuth=azimuth,
            displace=_displacement(corpus, batch.sequence, moved) if moved else None,
        )
        environment = densities(view.environment, features, corpus.grid)
        label, truth = features[view.environment.atom_class], local_place(corpus, atom, azimuth)
        density, position = place(environment, label, truth)
        moved.append(torch.nn.functional.pad(position - truth, (0, 0, 0, len(length) - active)))
        steps.append((torch.arange(active), atom, environment, label, density, position))
        views.append(view)
    sample, atoms, seen, labels, drawn, places = (torch.cat(column) for column in zip(*steps, strict=True))
    return Rollout(sample, atoms, seen, labels, drawn, places, torch.stack(moved, 1), tuple(views))


def _displacement(
    corpus: Corpus, sequence: Tensor, moved: list[Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """How far the entries of some samples are off the data, once some atoms of each sequence are placed."""
    off = torch.stack(moved, 1)

    def displace(which: Tensor, source: Tensor) -> Tensor:
        slot = corpus.slot[source]
        placed = (corpus.sequence[source] == sequence[which]) & (slot < off.shape[1])
        return off[which, torch.where(placed, slot, 0)] * placed[:, None]

    return displace


def true_place(corpus: Corpus) -> Place:
    """What places every atom where the data have it."""
    return lambda environment, label, truth: (unit_density(truth, corpus.grid), truth)


# --- energies ----------------------------------------------------------------------------------------


def energies(corpus: Corpus, batch: Batch, rollout: Rollout, *, ceiling: float) -> dict[str, Tensor]:
    """Energies e_t of the atoms of each sequence and with what is around them.

    Bonded terms between known atoms with one of the bead's in them, Lennard-Jones with all seen
    within the cut-off of the grid; in a sweep, pairs within a sequence count once.

    Parameters
    ----------
    ceiling
        kJ/mol, see :func:`~dbm_gmx.train.losses.soften`.

    Returns
    -------
    By interaction type (bond, angle, dihedral, lennard_jones), (b,) kJ/mol.
    """
    count = len(batch.sequence)
    total = {t: torch.zeros(count) for t in ("bond", "angle", "dihedral", "lennard_jones")}
    # displacements turned back from the local frames to the laboratory
    frames = turns(batch.azimuth) @ corpus.rotation[batch.sequence]
    moved = rollout.moved @ frames
    for group in corpus.terms:
        which, place = expand(group.listed.start, 2 * batch.sequence + batch.mode.clamp(max=SWEEP))
        term = group.listed.items[place]
        atoms = group.atoms[term]
        own = corpus.sequence[atoms] == batch.sequence[which][:, None]
        shift = moved[which[:, None], torch.where(own, corpus.slot[atoms], 0)] * own[..., None]
        points = corpus.truth[atoms] + shift
        measured = group.form.measure(points)
        if group.part == "lennard_jones":
            measured = tuple(distance.clamp(min=CLOSEST) for distance in measured)
        energy = group.form.potential(*measured, *group.parameters[term].unbind(-1))
        total[group.part] = total[group.part].index_add(0, which, soften(energy, ceiling))
    begin = 0
    for view in rollout.views:
        active = len(view.pair)
        here = rollout.position[begin : begin + active]
        pairs = _pair_energies(corpus, view, here, ceiling)
        total["lennard_jones"] = total["lennard_jones"].index_add(0, torch.arange(active), pairs)
        begin += active
    return total


def _pair_energies(corpus: Corpus, view: View, here: Tensor, ceiling: float) -> Tensor:
    """(a,) Lennard-Jones energies of the atoms placed in a step with what they see, later ones left out."""
    environment, source = view.environment, view.source.clamp(min=0)
    to_come = corpus.to_come(source, environment.atom[:, None])
    counted = view.pair & (environment.weights > 0) & ~to_come
    distance = (environment.positions - here[:, None]).square().sum(2).clamp(min=CLOSEST**2).sqrt()
    kinds = corpus.kind[environment.atom][:, None], corpus.kind[source]
    energy = soften(lennard_jones(distance, corpus.c6[kinds], corpus.c12[kinds]), ceiling)
    return torch.where(counted, energy, 0.0).sum(1)

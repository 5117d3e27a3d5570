"""Recombination: conformers of long stretches of molecules, bred from many that were grown.

Growth of a long stretch seldom has all of its torsions right; but each of them is right in some of many
conformers.  All these are on the same beads, so that a part of one fits in place of that of another.  The two
are brought to a minimum, and what is low in energy takes the place of the highest: a genetic algorithm
(Deaven and Ho, Phys. Rev. Lett. 75, 288, 1995).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations
from weakref import WeakKeyDictionary

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, Floats, IntArray
from dbm_gmx.chemistry.fragments import fragment_graph
from dbm_gmx.sampling.annealing import Copies
from dbm_gmx.sampling.candidates import Candidates, distinct, grow_many
from dbm_gmx.sampling.growth import GROWTH, Grower, Molecules, anneal_window, energy_of, take
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.windows import Group

GROWN, CROSSED, KEPT = 64, 256, 32
"""Conformers of each stretch, how often two of them are crossed, and how many are offered.

Of atactic hexamers of poly(methyl methacrylate) 128 that are grown alone are at best 1.7 kT above the true
conformers, on average of twelve; in the same time these end .4 kT above."""

ON = 64
"""How often what was bred before is crossed again.

Four frames of these hexamers end as low as where all is bred anew each time: torsions and pairs .015 +- .010
kT per atom too high after sixteen rounds (.016 +- .012), in two thirds of the time."""

GENTLY = GROWTH._replace(steps=240)
"""How they are grown: a long stretch takes longer."""

RANKS = 0.25
"""One of two parents is drawn from the lowest, with a probability that falls with its rank, by a factor of e
in so many of all."""

ALIKE = 0.1
"""kT by which energies of two conformers differ."""


def breed(
    grower: Grower,
    group: Group,
    molecules: Molecules,
    positions: FloatArray,
    stream: Stream,
    before: Candidates | None = None,
) -> Candidates:
    """Conformers that the stretches of a group might have, the present one first.

    Parameters
    ----------
    grower, molecules
        As for :func:`~dbm_gmx.sampling.growth.grow`.
    group
        The stretches.
    positions
        (copies, n, 3) nm.
    stream
        Random numbers of the group.
    before
        What was bred of them before, when molecules were elsewhere: that is bred on.
    """
    copies = take(group, molecules, positions)
    down = partial(_brought_down, grower, group, copies, stream)
    if before is None:
        grown = grow_many(grower, group, GROWN - 1, molecules, copies, stream.of(0), schedule=GENTLY)
        (conformers, energies), crossings = grown, CROSSED
    else:
        known = [down(conformer) for conformer in before.conformers[:, 1:].swapaxes(0, 1)]
        conformers = [copies.positions[:, group.arrays.free], *(found for found, _ in known)]
        energies = [energy_of(group, copies), *(energy for _, energy in known)]
        crossings = ON
    # what was lost on its way to a minimum is worse than all others
    pool = np.stack(conformers, axis=1)
    energy = np.nan_to_num(np.stack(energies, axis=1), nan=np.inf, posinf=np.inf)
    alike, each, rng = ALIKE * grower.hamiltonian.kt, np.arange(len(pool)), stream.of(1).generator
    parts = parts_of(grower, group)
    for _ in range(crossings if parts else 0):
        one, other = _parents(energy, rng)
        part = _drawn(parts, len(pool), rng)
        child, found = down(np.where(part[:, :, None], pool[each, other], pool[each, one]))
        worst = energy.argmax(axis=1)
        taken = (found < energy[each, worst]) & (np.abs(energy - found[:, None]).min(axis=1) > alike)
        pool[each[taken], worst[taken]] = child[taken]
        energy[each[taken], worst[taken]] = found[taken]
    lowest = np.argsort(energy, axis=1)[:, :KEPT].T
    kept = [conformers[0], *(pool[each, k] for k in lowest)]
    return distinct(grower, group, copies, kept, [energies[0], *(energy[each, k] for k in lowest)])


def _brought_down(
    grower: Grower, group: Group, copies: Copies, stream: Stream, conformers: Floats
) -> tuple[FloatArray, FloatArray]:
    """Conformers (copies, a, 3) at their minima, and their energies (copies,)."""
    trial = copies._replace(positions=copies.positions.copy())
    trial.positions[:, group.arrays.free] = conformers
    energy = anneal_window(grower, group, trial, stream, GROWTH._replace(steps=0))
    return trial.positions[:, group.arrays.free], energy


def _parents(energy: FloatArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Two conformers of each copy, by their energies (copies, k): one that is low, and any other."""
    copies, count = energy.shape
    rank = np.minimum(rng.exponential(RANKS * count, copies).astype(np.int64), count - 1)
    one = np.argsort(energy, axis=1)[np.arange(copies), rank]
    return one, (one + rng.integers(1, count, copies)) % count


def _drawn(parts: Sequence[BoolArray], copies: int, rng: np.random.Generator) -> BoolArray:
    """(copies, a) a part for each copy, of any kind with the same probability."""
    counts = np.array([len(some) for some in parts])
    kind = rng.integers(len(parts), size=copies)
    chosen = (np.cumsum(counts) - counts)[kind] + rng.integers(counts[kind])
    return np.asarray(np.concatenate(parts)[chosen], np.bool_)


_PARTS: WeakKeyDictionary[Group, tuple[BoolArray, ...]] = WeakKeyDictionary()


def parts_of(grower: Grower, group: Group) -> tuple[BoolArray, ...]:
    """Parts of a stretch that one conformer gives another; worked out once.

    Returns
    -------
    (parts, a) which of the atoms that move are parts that one bond between fragments joins to the rest; and
    of those that two bonds do, as in rings.  Nothing where no fragments are joined, as of several waters.
    """
    if group not in _PARTS:
        _PARTS[group] = _parts_of(grower, group)
    return _PARTS[group]


def _parts_of(grower: Grower, group: Group) -> tuple[BoolArray, ...]:
    home = np.full(group.atoms.shape[1], -1)
    for spots in group.spots:
        for number, own in zip(spots.number[0], spots.own, strict=True):
            home[own] = number
    inside = fragment_graph(grower.fragments).subgraph(np.unique(home[home >= 0]).tolist())
    one, two = (
        {part for bonds in combinations(inside.edges, count) for part in _cut(inside, bonds)}
        for count in (1, 2)
    )
    own = home[group.arrays.free]
    found = (sorted(map(sorted, parts)) for parts in (one, two - one))
    return tuple(np.array([np.isin(own, part) for part in parts]) for parts in found if parts)


def _cut(joined: nx.Graph, bonds: Iterable[tuple[int, int]]) -> set[frozenset[int]]:
    """What a graph falls into without these bonds, but for single fragments and what they leave."""
    pieces = list(nx.connected_components(nx.restricted_view(joined, [], list(bonds))))
    if len(pieces) == 1:
        return set()
    return {frozenset(piece) for piece in pieces if 2 <= len(piece) <= len(joined) - 2}

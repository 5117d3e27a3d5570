"""The dataset: every atom of every frame with its environment, worked out once.

A :class:`Dataset` numbers the atoms of all frames of all systems through.  Atoms of one bead are learnt as
a sequence, heavy atoms and hydrogens apart (paper, implementation details).  While a sequence is placed,
its environments differ from the data by the displacement of the atoms already placed and by nothing else.
So they are gathered once, and looked up by :func:`~dbm_gmx.train.batches.look_up`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar, cast

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor

from dbm_gmx.chemistry.topology import atom_types
from dbm_gmx.forcefield.energy import Form
from dbm_gmx.network.arrays import make_network_arrays
from dbm_gmx.network.channels import Channels, FeatureTable, bead_types_of, classes_of, feature_table
from dbm_gmx.network.environment import (
    Scene,
    Targets,
    expand,
    local_frames,
    make_environment,
    make_scene,
)
from dbm_gmx.network.guide_steps import ALL_KNOWN
from dbm_gmx.network.scoring import TermTable, excluded_atoms, term_tables
from dbm_gmx.network.voxels import Grid
from dbm_gmx.train.frames import Pair, TrainingSystem

GROWTH, SWEEP, REDRAW = 0, 1, 2
"""Modes, which others are known: those placed before, all, all but the later ones of the sequence."""

CHUNK = 2048  # environments worked out together

BONDED = {"bonds": "bond", "angles": "angle", "dihedrals": "dihedral", "pairs": "lennard_jones"}
"""Part of the energy (paper, e_t) of each directive; others have no part in the prior."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """Lists of different lengths, one after the other: list i is ``start[i]`` to ``start[i + 1]``."""

    start: Tensor
    items: Tensor


@dataclass(frozen=True, eq=False)
class TermGroup:
    """Terms of one functional form, those of each sequence and mode listed.

    Attributes
    ----------
    part
        Which e_t of the paper: bond, angle, dihedral or lennard_jones.
    form
        The functional form.
    atoms, parameters
        (t, k) atoms, (t, p).
    of_sequence
        Terms of sequence s in mode m at ``2 s + m``: in growth those whose atoms are all known.
    """

    part: str
    form: Form
    atoms: Tensor
    parameters: Tensor
    of_sequence: Ragged


@dataclass(frozen=True, eq=False)
class Dataset:
    """All atoms (n) of all training frames and their environments.

    Attributes
    ----------
    grid, channels, table
        Representation.
    truth
        (n, 3) nm, in the laboratory, molecules whole.
    local
        (n, 3) nm, in the local frame of the bead that owns the atom, at azimuth 0.
    atom_class, lj_type
        (n,) row of the feature table, row of the Lennard-Jones parameters.
    sequence, slot
        (n,) which sequence an atom belongs to and its index in it.
    sequences
        Atoms of each sequence (s).
    rotation
        (s, 3, 3) from the laboratory to the local frame at azimuth 0.
    weight
        (s,) how likely a sequence is drawn: multiplicity of its bead, share of its system.
    entry_start
        (2 n + 1,) entries (e) of atom a in mode m: ``entry_start[n m + a]`` to the next.
    position
        (e, 3) nm, local, azimuth 0.
    row, source
        (e,) row of the feature table; the atom of the entry, -1 for a bead.
    pair
        (e,) whether Lennard-Jones acts between the entry and the atom.
    terms
        Bonded terms by functional form.
    c6, c12
        Lennard-Jones parameters by the types of two atoms.
    guided
        Whether hydrogens are left out.
    """

    grid: Grid
    channels: Channels
    table: FeatureTable
    truth: Tensor
    local: Tensor
    atom_class: Tensor
    lj_type: Tensor
    sequence: Tensor
    slot: Tensor
    sequences: Ragged
    rotation: Tensor
    weight: Tensor
    entry_start: Tensor
    position: Tensor
    row: Tensor
    source: Tensor
    pair: Tensor
    terms: tuple[TermGroup, ...]
    c6: Tensor
    c12: Tensor
    guided: bool = False

    @property
    def n_atoms(self) -> int:
        """Atoms of all frames."""
        return len(self.truth)

    def later_in_sequence(self, other: Tensor, atom: Tensor) -> Tensor:
        """Whether an atom is placed after another of its sequence."""
        return (self.sequence[other] == self.sequence[atom]) & (self.slot[other] > self.slot[atom])


Record = TypeVar("Record")


def moved_to(record: Record, device: torch.device) -> Record:
    """A record with all tensors within it on a device."""
    if isinstance(record, Tensor):
        return cast(Record, record.to(device))
    if isinstance(record, tuple) and not hasattr(record, "_fields"):
        return cast(Record, tuple(moved_to(one, device) for one in record))
    if isinstance(record, Dataset | Ragged | TermGroup):
        values = {f.name: moved_to(getattr(record, f.name), device) for f in fields(record)}
        return cast(Record, replace(record, **values))
    return record


def make_dataset(
    systems: Sequence[TrainingSystem], channels: Channels, *, grid: Grid, guided: bool = False
) -> Dataset:
    """Work out all environments of all training frames.

    Parameters
    ----------
    guided
        Only those of heavy atoms; hydrogens are never drawn.
    """
    classes = {c for s in systems for names in classes_of(s.system, channels).values() for c in names}
    beads = {b for s in systems for b in bead_types_of(s.system)}
    table = feature_table(channels, sorted(classes), sorted(beads))
    made = [_frame_part(s, pair, channels, table, grid, guided) for s in systems for pair in s.train]
    parts = [part for part, _ in made]
    first = np.cumsum([0] + [len(part["truth"]) for part in parts])
    first_sequence = np.cumsum([0] + [len(part["rotation"]) for part in parts])
    types, c6, c12 = _lennard_jones(systems)
    lj_type = np.concatenate([t for s, t in zip(systems, types, strict=True) for _ in s.train])
    joined = {
        key: torch.cat([part[key] for part in parts])
        for key in ("truth", "local", "atom_class", "slot", "rotation")
    }
    weight = torch.cat([part["weight"] for part in parts])
    entry_start, order = _by_mode([part["count"] for part in parts])
    entries = {key: _pick([part[key] for part in parts], order) for key in ("position", "row", "pair")}
    numbered = zip(parts, first, first_sequence, strict=False)
    moved = [
        (
            torch.where(part["source"] < 0, -1, part["source"] + int(a)),
            part["sequence"] + int(s),
            part["sequence_atoms"] + int(a),
        )
        for part, a, s in numbered
    ]
    counts = torch.cat([part["sequence_length"] for part in parts])
    return Dataset(
        grid=grid,
        channels=channels,
        table=table,
        lj_type=torch.from_numpy(lj_type),
        sequence=torch.cat([sequence for _, sequence, _ in moved]),
        sequences=Ragged(_starts(counts), torch.cat([atoms for *_, atoms in moved])),
        weight=weight / weight.sum(),
        guided=guided,
        entry_start=entry_start,
        source=_pick([source.int() for source, *_ in moved], order),
        terms=_term_groups([terms for _, terms in made], first, first_sequence),
        c6=c6,
        c12=c12,
        **joined,
        **entries,
    )


Part = dict[str, Tensor]
"""What one frame adds to a dataset, by name; atoms and sequences counted from its first."""


def _frame_part(
    system: TrainingSystem, pair: Pair, channels: Channels, table: FeatureTable, grid: Grid, guided: bool
) -> tuple[Part, list[LocalTerms]]:
    """What one frame adds to a dataset, and its bonded terms."""
    what = system.system
    arrays, _ = make_network_arrays(what, channels, table=table)
    scene = make_scene(arrays, [pair.beads.numpy()], [pair.box], grid=grid)
    scene.positions[0] = pair.atoms
    excluded = excluded_atoms(what)
    skipped = arrays.hydrogen & guided
    chunks = [
        _entries(scene, atom, mode, grid=grid, table=table, excluded=excluded, skipped=skipped)
        for mode in (GROWTH, SWEEP)
        for atom in torch.split(torch.arange(arrays.n_atoms), CHUNK)
    ]
    entries = {key: torch.cat([part[key] for part in chunks]) for key in chunks[0]}
    key = 2 * arrays.owner + arrays.hydrogen
    order = torch.from_numpy(np.lexsort((arrays.growth_rank.numpy(), key.numpy())))
    keys, sequence, length = torch.unique(key, return_inverse=True, return_counts=True)
    start = _starts(length)
    slot = torch.empty_like(order)
    slot[order] = torch.arange(len(order)) - start[sequence[order]]
    bead = keys // 2
    rotation = local_frames(scene, bead, torch.zeros(len(bead)))
    away = pair.atoms - scene.beads[arrays.owner]
    multiplicity = torch.cat(
        [torch.from_numpy(np.tile(m.mapping.multiplicity, m.count)) for m in what.matches]
    )
    weight = multiplicity[bead].double() * ~(guided & (keys % 2 == 1))
    part = {
        "truth": pair.atoms,
        "local": (rotation[sequence] @ away[..., None])[..., 0],
        "atom_class": arrays.atom_class,
        "sequence": sequence,
        "slot": slot,
        "sequence_atoms": order,
        "sequence_length": length,
        "sequence_key": keys,
        "last": arrays.growth_rank[order[start[1:] - 1]],
        "growth_rank": arrays.growth_rank,
        "rotation": rotation,
        "weight": system.share * weight / weight.sum() / len(system.train),
        **entries,
    }
    return part, [_listed(part, terms) for terms in term_tables(what, arrays, 1)]


def _entries(
    scene: Scene,
    atom: Tensor,
    mode: int,
    *,
    grid: Grid,
    table: FeatureTable,
    excluded: Tensor,
    skipped: Tensor,
) -> Part:
    """Entries of the environments of some atoms, without padding; none of atoms that are skipped."""
    arrays = scene.arrays
    known_below = arrays.growth_rank[atom] if mode == GROWTH else torch.full_like(atom, ALL_KNOWN)
    targets = Targets(atom, known_below, torch.zeros_like(atom))
    found = make_environment(scene, targets, torch.zeros(len(atom)), grid)
    real = (found.weights > 0) & ~skipped[atom][:, None]
    step = (found.neighbour - atom[:, None])[..., None]
    apart = (step != excluded[arrays.row[atom]][:, None]).all(2)
    return {
        "count": real.sum(1),
        "position": found.positions[real],
        "row": found.rows[real].short(),
        "source": found.neighbour[real],
        "pair": (apart & (found.neighbour >= 0) & (found.rows < table.bonded_row))[real],
    }


def _starts(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _by_mode(counts: Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, slice]]]:
    """Starts of the entries of all atoms, growth before sweeps, and the pieces of the parts in that order."""
    pieces, lengths = [], []
    for mode in (GROWTH, SWEEP):
        for p, count in enumerate(counts):
            half = len(count) // 2
            growth, total = int(count[:half].sum()), int(count.sum())
            pieces.append((p, slice(0, growth) if mode == GROWTH else slice(growth, total)))
            lengths.append(count[:half] if mode == GROWTH else count[half:])
    return _starts(torch.cat(lengths)), pieces


def _pick(parts: Sequence[Tensor], pieces: Sequence[tuple[int, slice]]) -> Tensor:
    return torch.cat([parts[p][piece] for p, piece in pieces])


def _lennard_jones(systems: Sequence[TrainingSystem]) -> tuple[list[np.ndarray], Tensor, Tensor]:
    """Types of the atoms of each system, numbered through, and parameters of all pairs of types."""
    types, c6, c12, first = [], [], [], 0
    for s in systems:
        types.append(atom_types(s.system.topology) + first)
        nonbonded = s.system.topology.nonbonded
        assert nonbonded is not None  # or atom_types would have said so
        c6.append(nonbonded.c6)
        c12.append(nonbonded.c12)
        first += len(nonbonded.types)
    all6, all12 = (torch.from_numpy(block_diag(*matrices)).float() for matrices in (c6, c12))
    return types, all6, all12


def _listed(part: Part, table: TermTable) -> LocalTerms:
    """Terms of one form in one frame, and which of them belong to which sequence in which mode."""
    half = (len(table.start) - 1) // 2
    bead, phase = part["sequence_key"] // 2, part["sequence_key"] % 2
    which, index = expand(table.start, bead + phase * half)
    term = table.terms[index]
    known = (part["growth_rank"][table.atoms[term]] <= part["last"][which][:, None]).all(1)
    key = torch.cat([2 * which[known] + GROWTH, 2 * which + SWEEP])
    return LocalTerms(table, key, torch.cat([term[known], term]))


@dataclass(frozen=True, eq=False)
class LocalTerms:
    """Terms of one form in one frame: the list of terms, and (key, term) entries of sequences and modes."""

    table: TermTable
    key: Tensor
    term: Tensor


def _term_groups(
    terms: Sequence[Sequence[LocalTerms]],
    first: np.ndarray,
    first_sequence: np.ndarray,
) -> tuple[TermGroup, ...]:
    """Terms of all frames by functional form."""
    groups: dict[str, list[tuple[LocalTerms, int, int]]] = {}
    for local, atom, sequence in zip(terms, first.tolist(), first_sequence.tolist(), strict=False):
        for one in local:
            groups.setdefault(one.table.name, []).append((one, atom, sequence))
    total = 2 * int(first_sequence[-1])
    return tuple(
        _term_group(BONDED[name.split()[0]], members, total)
        for name, members in groups.items()
        if name.split()[0] in BONDED
    )


def _term_group(part: str, members: Sequence[tuple[LocalTerms, int, int]], total: int) -> TermGroup:
    tables = [one.table for one, *_ in members]
    counts = np.cumsum([0] + [len(table.atoms) for table in tables]).tolist()
    key = torch.cat([one.key + 2 * sequence for one, _, sequence in members])
    term = torch.cat([one.term + n for (one, *_), n in zip(members, counts, strict=False)])
    order = torch.argsort(key, stable=True)
    return TermGroup(
        part=part,
        form=tables[0].form,
        atoms=torch.cat([one.table.atoms + atom for one, atom, _ in members]),
        parameters=torch.cat([table.parameters for table in tables]),
        of_sequence=Ragged(_starts(torch.bincount(key, minlength=total)), term[order]),
    )

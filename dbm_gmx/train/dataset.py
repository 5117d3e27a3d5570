"""What is learnt from: every atom of every frame with all it sees, worked out once.

A :class:`Corpus` numbers the atoms of all frames of all systems through.  Atoms of one bead are learnt as
a sequence, heavy atoms and hydrogens apart (paper, implementation details).  While a sequence is placed, what
its atoms see differs from the data by the displacement of those already placed and by nothing else;
so environments need to be gathered once only, see :func:`~dbm_gmx.train.batches.look`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor

from dbm_gmx.chemistry.topology import atom_types
from dbm_gmx.forcefield.energy import Form
from dbm_gmx.network.arrays import make_network_arrays
from dbm_gmx.network.channels import Channels, FeatureTable, bead_types_of, classes_of, feature_table
from dbm_gmx.network.environment import ALL_KNOWN, Scene, expand, local_frames, make_scene, surround
from dbm_gmx.network.scoring import TermTable, excluded_atoms, term_tables
from dbm_gmx.network.voxels import Grid
from dbm_gmx.train.frames import Pair, TrainingSystem

GROWTH, SWEEP, ANEW = 0, 1, 2
"""How an atom sees the others: those placed before it, all, or all but those of its sequence yet to come."""

AT_ONCE = 2048  # environments worked out together

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
    listed
        Terms of sequence s in mode m at ``2 s + m``: in growth those whose atoms are all known.
    """

    part: str
    form: Form
    atoms: Tensor
    parameters: Tensor
    listed: Ragged


@dataclass(frozen=True, eq=False)
class Corpus:
    """All atoms (n) of all training frames and what they see.

    Attributes
    ----------
    grid, channels, table
        Representation.
    truth
        (n, 3) nm, in the laboratory, molecules whole.
    place
        (n, 3) nm, in the local frame of the bead that owns the atom, at azimuth 0.
    atom_class, kind
        (n,) row of the feature table, row of the Lennard-Jones parameters.
    sequence, slot
        (n,) which sequence an atom belongs to and its place in it.
    sequences
        Atoms of each sequence (s).
    rotation
        (s, 3, 3) from the laboratory to the local frame at azimuth 0.
    weight
        (s,) how likely a sequence is drawn: multiplicity of its bead, share of its system.
    views
        (2 n + 1,) entries (e) of atom a in mode m: ``views[n m + a]`` to the next.
    position
        (e, 3) nm, local, azimuth 0.
    row, source
        (e,) row of the feature table; the atom that is there, -1 for a bead.
    pair
        (e,) whether Lennard-Jones acts between the entry and the atom.
    terms
        Bonded terms by functional form.
    c6, c12
        Lennard-Jones parameters by the kinds of two atoms.
    """

    grid: Grid
    channels: Channels
    table: FeatureTable
    truth: Tensor
    place: Tensor
    atom_class: Tensor
    kind: Tensor
    sequence: Tensor
    slot: Tensor
    sequences: Ragged
    rotation: Tensor
    weight: Tensor
    views: Tensor
    position: Tensor
    row: Tensor
    source: Tensor
    pair: Tensor
    terms: tuple[TermGroup, ...]
    c6: Tensor
    c12: Tensor

    @property
    def n_atoms(self) -> int:
        """Atoms of all frames."""
        return len(self.truth)

    def to_come(self, other: Tensor, atom: Tensor) -> Tensor:
        """Whether an atom is placed after another of its sequence."""
        return (self.sequence[other] == self.sequence[atom]) & (self.slot[other] > self.slot[atom])


def make_corpus(systems: Sequence[TrainingSystem], channels: Channels, *, grid: Grid) -> Corpus:
    """Work out all environments of all training frames."""
    classes = {c for s in systems for names in classes_of(s.system, channels).values() for c in names}
    beads = {b for s in systems for b in bead_types_of(s.system)}
    table = feature_table(channels, sorted(classes), sorted(beads))
    made = [_frame_part(s, pair, channels, table, grid) for s in systems for pair in s.train]
    parts = [part for part, _ in made]
    first = np.cumsum([0] + [len(part["truth"]) for part in parts])
    first_sequence = np.cumsum([0] + [len(part["rotation"]) for part in parts])
    kinds, c6, c12 = _lennard_jones(systems)
    kind = np.concatenate([k for s, k in zip(systems, kinds, strict=True) for _ in s.train])
    joined = {
        key: torch.cat([part[key] for part in parts])
        for key in ("truth", "place", "atom_class", "slot", "rotation")
    }
    weight = torch.cat([part["weight"] for part in parts])
    views, order = _by_mode([part["views"] for part in parts])
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
    return Corpus(
        grid=grid,
        channels=channels,
        table=table,
        kind=torch.from_numpy(kind),
        sequence=torch.cat([sequence for _, sequence, _ in moved]),
        sequences=Ragged(_starts(counts), torch.cat([atoms for *_, atoms in moved])),
        weight=weight / weight.sum(),
        views=views,
        source=_pick([source.int() for source, *_ in moved], order),
        terms=_term_groups(parts, [terms for _, terms in made], first, first_sequence),
        c6=c6,
        c12=c12,
        **joined,
        **entries,
    )


Part = dict[str, Tensor]


def _frame_part(
    system: TrainingSystem, pair: Pair, channels: Channels, table: FeatureTable, grid: Grid
) -> tuple[Part, list[LocalTerms]]:
    """What one frame adds to a corpus, atoms and sequences counted from its first."""
    what = system.system
    arrays, _ = make_network_arrays(what, channels, table=table)
    scene = make_scene(arrays, [pair.beads.numpy()], [pair.box], grid=grid)
    scene.positions[0] = pair.atoms
    excluded = excluded_atoms(what)
    seen = [
        _entries(scene, atom, mode, grid=grid, table=table, excluded=excluded)
        for mode in (GROWTH, SWEEP)
        for atom in torch.split(torch.arange(arrays.n_atoms), AT_ONCE)
    ]
    entries = {key: torch.cat([part[key] for part in seen]) for key in seen[0]}
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
    weight = multiplicity[bead].double()
    part = {
        "truth": pair.atoms,
        "place": (rotation[sequence] @ away[..., None])[..., 0],
        "atom_class": arrays.atom_class,
        "sequence": sequence,
        "slot": slot,
        "sequence_atoms": order,
        "sequence_length": length,
        "sequence_key": keys,
        "last": arrays.growth_rank[order[start[1:] - 1]],
        "growth": arrays.growth_rank,
        "rotation": rotation,
        "weight": system.share * weight / weight.sum() / len(system.train),
        "views": entries.pop("count"),
        **entries,
    }
    return part, [_listed(part, terms) for terms in term_tables(what, arrays, 1)]


def _entries(
    scene: Scene, atom: Tensor, mode: int, *, grid: Grid, table: FeatureTable, excluded: Tensor
) -> Part:
    """All that some atoms see, without padding."""
    arrays = scene.arrays
    seen = surround(
        scene,
        atom,
        now=arrays.growth_rank[atom] if mode == GROWTH else torch.full_like(atom, ALL_KNOWN),
        azimuth=torch.zeros(len(atom)),
        replica=torch.zeros_like(atom),
        grid=grid,
    )
    real = seen.weights > 0
    step = (seen.neighbour - atom[:, None])[..., None]
    apart = (step != excluded[arrays.row[atom]][:, None]).all(2)
    return {
        "count": real.sum(1),
        "position": seen.positions[real],
        "row": seen.rows[real].short(),
        "source": seen.neighbour[real],
        "pair": (apart & (seen.neighbour >= 0) & (seen.rows < table.bonded_row))[real],
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
    """Kinds of the atoms of each system, numbered through, and parameters of all pairs of kinds."""
    kinds, c6, c12, first = [], [], [], 0
    for s in systems:
        kinds.append(atom_types(s.system.topology) + first)
        nonbonded = s.system.topology.nonbonded
        assert nonbonded is not None  # or atom_types would have said so
        c6.append(nonbonded.c6)
        c12.append(nonbonded.c12)
        first += len(nonbonded.types)
    all6, all12 = (torch.from_numpy(block_diag(*matrices)).float() for matrices in (c6, c12))
    return kinds, all6, all12


def _listed(part: Part, table: TermTable) -> LocalTerms:
    """Terms of one form in one frame, and which of them belong to which sequence in which mode."""
    half = (len(table.start) - 1) // 2
    bead, phase = part["sequence_key"] // 2, part["sequence_key"] % 2
    which, place = expand(table.start, bead + phase * half)
    term = table.terms[place]
    known = (part["growth"][table.atoms[term]] <= part["last"][which][:, None]).all(1)
    key = torch.cat([2 * which[known] + GROWTH, 2 * which + SWEEP])
    return LocalTerms(table, key, torch.cat([term[known], term]))


@dataclass(frozen=True, eq=False)
class LocalTerms:
    """Terms of one form in one frame: the list of terms, and (key, term) entries of sequences and modes."""

    table: TermTable
    key: Tensor
    term: Tensor


def _term_groups(
    parts: Sequence[Part],
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
        listed=Ragged(_starts(torch.bincount(key, minlength=total)), term[order]),
    )

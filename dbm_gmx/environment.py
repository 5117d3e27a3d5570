"""What one atom sees: the beads and known atoms around it, in a local frame, as densities.

Nothing here loops over atoms; a batch holds the current atom of many molecules, frames and beads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from dbm_gmx.channels import ROLES, FeatureTable
from dbm_gmx.frame import neighbour_pairs
from dbm_gmx.mapping import Match, bead_graph
from dbm_gmx.plan import Plan
from dbm_gmx.topology import MoleculeType, excluded_pairs

REACH = 0.4
"""nm an atom may be away from the bead that owns it and still be found as a neighbour of others."""

EVERYTHING = 2**40
"""A rank above all others: who looks from here sees every atom."""


@dataclass(frozen=True)
class Grid:
    """The cubic grid around the current bead and the density of one particle on it.

    Attributes
    ----------
    size
        Voxels along an edge.
    edge
        nm, from wall to wall.
    sigma
        nm, standard deviation of the Gaussian density (2 sigma^2 = 0.02 nm^2 in the paper).
    cutoff
        nm, particles further from the bead's centre are not seen.
    """

    size: int = 8
    edge: float = 1.2
    sigma: float = 0.1
    cutoff: float = 0.7

    def axis(self) -> Tensor:
        """(size,) centres of the voxels along one axis, nm."""
        return (torch.arange(self.size) + 0.5) * (self.edge / self.size) - self.edge / 2


@dataclass(frozen=True, eq=False)
class Layout:
    """All that stays the same from frame to frame, as arrays over atoms (n) and beads (m).

    Attributes
    ----------
    owner, molecule, atom_class, hydrogen
        (n,) owning bead, molecule, row of the feature table, whether it is a hydrogen.
    growth, sweep
        (n,) ranks: atoms of one rank are placed together.  In growth an atom sees those of lower
        rank; in a sweep it sees all others.
    partners, partner_row
        (n, p) atoms within three bonds or excluded (-1: none) and their rows of the feature table.
    align, second
        (m,) beads that fix the local frame: z points to ``align``, ``second`` lies in the xz plane;
        -1 where there is none.
    bead_row
        (m,) row of the feature table.
    own_start, own
        (m + 1,), (n,) atoms of bead b: ``own[own_start[b]:own_start[b + 1]]``.
    """

    owner: Tensor
    molecule: Tensor
    atom_class: Tensor
    hydrogen: Tensor
    growth: Tensor
    sweep: Tensor
    partners: Tensor
    partner_row: Tensor
    align: Tensor
    second: Tensor
    bead_row: Tensor
    own_start: Tensor
    own: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.owner)

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.align)


@dataclass(frozen=True, eq=False)
class Scene:
    """One or several frames in the making.

    Attributes
    ----------
    layout
        Of all frames, one after the other.
    beads
        (m, 3) nm, molecules whole.
    positions
        (replicas, n, 3) nm, near their beads; filled in as atoms are placed.
    link_start, link_bead, link_shift
        (m + 1,), (l,), (l, 3): beads near bead b (b itself among them) and the lattice vectors that
        bring them there.
    """

    layout: Layout
    beads: Tensor
    positions: Tensor
    link_start: Tensor
    link_bead: Tensor
    link_shift: Tensor


@dataclass(frozen=True, eq=False)
class Environment:
    """What a batch of atoms sees.

    Attributes
    ----------
    atom
        (b,) rows of the scene's atoms that are to be placed.
    atom_class
        (b,) their classes.
    centre
        (b, 3) nm, position of the current bead.
    rotation
        (b, 3, 3) from the laboratory to the local frame: ``local = rotation @ (r - centre)``.
    positions
        (b, k, 3) nm, local positions of everything seen, padded.
    rows
        (b, k) rows of the feature table.
    weights
        (b, k) 1, or 0 for padding.
    neighbour
        (b, k) rows of the scene's atoms; -1 for beads, bonded second entries and padding.
    """

    atom: Tensor
    atom_class: Tensor
    centre: Tensor
    rotation: Tensor
    positions: Tensor
    rows: Tensor
    weights: Tensor
    neighbour: Tensor


def make_layout(
    matches: Sequence[Match],
    plans: Mapping[str, Plan],
    classes: Mapping[str, Sequence[str]],
    *,
    table: FeatureTable,
) -> Layout:
    """Arrays of one frame of a system; plans and atom classes by molecule type."""
    used = [plans[match.kind.name] for match in matches]
    stages = max(len(plan.growth) for plan in used), max(len(plan.colours) for plan in used)
    kinds = {
        match.kind.name: _kind_arrays(
            match, plans[match.kind.name], classes[match.kind.name], table=table, stages=stages
        )
        for match in matches
    }
    width = max(arrays["partners"].shape[1] for arrays in kinds.values())
    parts = [_tile(kinds[match.kind.name], match, width=width) for match in matches]
    molecules = np.repeat(
        np.arange(sum(m.count for m in matches)), [m.kind.n_atoms for m in matches for _ in range(m.count)]
    )
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    joined["own_start"] = np.append(joined["own_start"], len(molecules))
    return Layout(molecule=torch.from_numpy(molecules), **{k: torch.from_numpy(v) for k, v in joined.items()})


def _tile(arrays: dict[str, np.ndarray], match: Match, *, width: int) -> dict[str, np.ndarray]:
    """Arrays of all copies of a molecule type from those of one, rows counted through the system."""
    atom = match.first_atom + match.kind.n_atoms * np.arange(match.count)
    bead = match.first_bead + len(match.mapping.names) * np.arange(match.count)
    step = {"owner": bead, "align": bead, "second": bead, "own": atom, "own_start": atom, "partners": atom}

    def tiled(key: str, values: np.ndarray) -> np.ndarray:
        copies = np.broadcast_to(values, (match.count, *values.shape))
        if key in step:
            shift = step[key].reshape(-1, *[1] * values.ndim)
            copies = np.where(copies < 0, -1, copies + shift)
        flat = copies.reshape(-1, *values.shape[1:])
        if values.ndim == 1:
            return flat
        fill = -1 if key == "partners" else 0
        return np.pad(flat, ((0, 0), (0, width - values.shape[1])), constant_values=fill)

    return {key: tiled(key, values) for key, values in arrays.items()}


def _kind_arrays(
    match: Match, plan: Plan, classes: Sequence[str], *, table: FeatureTable, stages: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Arrays of a single molecule, keyed as in :class:`Layout`."""
    kind, mapping = match.kind, match.mapping
    number = {name: k for k, name in enumerate(table.classes)}
    bead_number = {name: k for k, name in enumerate(table.bead_types)}
    atom_class = np.array([number[c] for c in classes])
    partners, partner_row = _partners(kind, atom_class, table)
    order = np.argsort(mapping.owner, kind="stable")
    hydrogen = np.zeros(kind.n_atoms, bool)
    hydrogen[np.concatenate([np.zeros(0, np.int64), *plan.hydrogen])] = True
    return {
        "owner": mapping.owner,
        "atom_class": atom_class,
        "hydrogen": hydrogen,
        "growth": _ranks(plan, plan.growth, stages[0]),
        "sweep": _ranks(plan, plan.colours, stages[1]),
        "partners": partners,
        "partner_row": partner_row,
        "align": mapping.align,
        "second": _second_beads(bead_graph(mapping, kind), mapping.align),
        "bead_row": np.array([table.bead_row + bead_number[b] for b in mapping.types]),
        "own_start": np.searchsorted(mapping.owner[order], np.arange(len(mapping.names))),
        "own": order,
    }


def _ranks(plan: Plan, heavy_stages: Sequence[np.ndarray], stages: int) -> np.ndarray:
    """(n,) rank of every atom: heavy atoms by the given stages, then hydrogens by colours.

    Ranks of different molecule types are comparable: stage s of one is stage s of all.
    """
    rank = np.zeros(sum(map(len, plan.heavy)) + sum(map(len, plan.hydrogen)), np.int64)
    for phase, groups in enumerate((heavy_stages, plan.colours)):
        atoms_of = plan.hydrogen if phase else plan.heavy
        for s, beads in enumerate(groups):
            for b in beads:
                rank[atoms_of[b]] = (phase * stages + s) * MOST_ATOMS + np.arange(len(atoms_of[b]))
    return rank


MOST_ATOMS = 2**20  # of one bead: ranks set aside for a stage


def _partners(
    kind: MoleculeType, atom_class: np.ndarray, table: FeatureTable
) -> tuple[np.ndarray, np.ndarray]:
    """Atoms within three bonds of each atom or excluded from it, and the rows of the feature table."""
    excluded = nx.Graph(excluded_pairs(kind).tolist())
    excluded.add_nodes_from(kind.graph)
    found: list[list[tuple[int, int]]] = []
    for i in range(kind.n_atoms):
        reach = dict.fromkeys(excluded[i], len(ROLES) + 1)
        reach |= nx.single_source_shortest_path_length(kind.graph, i, cutoff=len(ROLES))
        found.append(
            [
                (j, _bonded_row(table, bonds - 1, j in excluded[i], int(atom_class[j])))
                for j, bonds in sorted(reach.items())
                if bonds
            ]
        )
    width = max(1, *map(len, found))
    partners, rows = np.full((len(found), width), -1), np.zeros((len(found), width), np.int64)
    for i, entries in enumerate(found):
        if entries:
            partners[i, : len(entries)], rows[i, : len(entries)] = zip(*entries, strict=True)
    return partners, rows


def _bonded_row(table: FeatureTable, role: int, excluded: bool, atom_class: int) -> int:
    return table.bonded_row + (2 * role + excluded) * len(table.classes) + atom_class


def _second_beads(graph: nx.Graph, align: np.ndarray) -> np.ndarray:
    """(m,) a bead near each bead that is neither itself nor its alignment bead, -1 if there is none."""
    second = np.full(len(align), -1)
    for b, a in enumerate(align):
        if a >= 0:
            near = nx.single_source_shortest_path_length(graph, b, cutoff=3)
            others = sorted((bonds, j) for j, bonds in near.items() if j not in (b, a))
            second[b] = others[0][1] if others else -1
    return second


def repeat(layout: Layout, frames: int) -> Layout:
    """Return the layout of several frames, one after the other."""
    n, m = layout.n_atoms, layout.n_beads
    molecules = int(layout.molecule.max()) + 1
    step = {"owner": m, "align": m, "second": m, "molecule": molecules, "own": n, "partners": n}

    def tiled(key: str) -> Tensor:
        values: Tensor = getattr(layout, key)
        if key == "own_start":
            starts = [values[:-1] + f * n for f in range(frames)]
            return torch.cat([*starts, torch.tensor([frames * n])])
        shift = step.get(key, 0)
        return torch.cat(
            [torch.where(values < 0, -1, values + f * shift) if shift else values for f in range(frames)]
        )

    return layout if frames == 1 else Layout(**{f.name: tiled(f.name) for f in fields(Layout)})


def make_scene(
    layout: Layout,
    beads: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    *,
    grid: Grid,
    replicas: int = 1,
    device: torch.device | str = "cpu",
) -> Scene:
    """Set the scene of some frames, no atom placed yet.

    Parameters
    ----------
    layout
        Of a single frame.
    beads
        Per frame (m, 3) nm, molecules whole.
    boxes
        Per frame (3, 3) nm.
    replicas
        Copies of the atoms, one per orientation.
    """
    m, starts, near, shifts = layout.n_beads, [0], [], []
    for f, (points, box) in enumerate(zip(beads, boxes, strict=True)):
        i, j, shift = neighbour_pairs(points, points, box, grid.cutoff + REACH)
        order = np.argsort(i, kind="stable")
        near.append(j[order].astype(np.int64) + f * m)
        shifts.append(shift[order].astype(np.float32))
        starts.extend(starts[-1] + np.cumsum(np.bincount(i, minlength=m)))
    everything = repeat(layout, len(beads))
    moved = Layout(**{f.name: getattr(everything, f.name).to(device) for f in fields(Layout)})
    return Scene(
        layout=moved,
        beads=torch.from_numpy(np.concatenate(beads).astype(np.float32)).to(device),
        positions=torch.zeros(replicas, moved.n_atoms, 3, device=device),
        link_start=torch.tensor(np.array(starts), device=device),
        link_bead=torch.from_numpy(np.concatenate(near)).to(device),
        link_shift=torch.from_numpy(np.concatenate(shifts)).to(device),
    )


def expand(start: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Members of each group of a ragged list.

    Returns
    -------
    (e,) which element of ``group`` each member belongs to, and (e,) its place in the list.
    """
    count = start[group + 1] - start[group]
    which = torch.repeat_interleave(torch.arange(len(group), device=group.device), count)
    ends = torch.cumsum(count, 0)
    return which, torch.arange(len(which), device=group.device) + (start[group] + count - ends)[which]


def _pad(which: Tensor, batch: int, *values: Tensor) -> list[Tensor]:
    """Ragged rows (sorted by ``which``) as (batch, longest, ...) arrays, and 1 where they are real."""
    count = torch.bincount(which, minlength=batch)
    width = max(1, int(count.max()))
    slot = torch.arange(len(which), device=which.device) - (torch.cumsum(count, 0) - count)[which]
    place = which * width + slot
    real = torch.ones(len(which), device=which.device)
    return [
        v.new_zeros(batch * width, *v.shape[1:]).index_copy_(0, place, v).reshape(batch, width, *v.shape[1:])
        for v in (*values, real)
    ]


def local_frames(scene: Scene, bead: Tensor, azimuth: Tensor) -> Tensor:
    """Rotations that lay the local z axis along the alignment bead.

    The axis x is fixed by a second bead of the molecule, so that a rotated system gives rotated
    atoms, and then turned about z by ``azimuth``.

    Parameters
    ----------
    bead
        (b,) current beads.
    azimuth
        (b,) radian.

    Returns
    -------
    (b, 3, 3) rotation matrices, rows are the local axes.
    """
    here, align, second = scene.beads[bead], scene.layout.align[bead], scene.layout.second[bead]
    lab = torch.eye(3, device=bead.device).expand(len(bead), 3, 3)
    z = _unit(torch.where((align >= 0)[:, None], scene.beads[align] - here, lab[:, 2]), lab[:, 2])
    towards = torch.where((second >= 0)[:, None], scene.beads[second] - here, lab[:, 0])
    # the axis of the laboratory furthest from z serves where three beads lie on a line or are missing
    spare = torch.nn.functional.one_hot(z.abs().argmin(1), 3).to(z.dtype)
    spare = _unit(spare - (spare * z).sum(1, keepdim=True) * z, lab[:, 0])
    x = _unit(towards - (towards * z).sum(1, keepdim=True) * z, spare)
    y = torch.linalg.cross(z, x)
    cos, sin = torch.cos(azimuth)[:, None], torch.sin(azimuth)[:, None]
    return torch.stack([cos * x + sin * y, cos * y - sin * x, z], 1)


def _unit(v: Tensor, spare: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(v, dim=1, keepdim=True)
    return torch.where(length > 1e-3, v / length.clamp(min=1e-3), spare)


def surround(
    scene: Scene,
    atom: Tensor,
    *,
    now: Tensor,
    azimuth: Tensor,
    replica: Tensor,
    grid: Grid,
) -> Environment:
    """Gather what each atom of a batch sees.

    Heavy atoms see no hydrogen of their own molecule (paper, implementation details).

    Parameters
    ----------
    scene
        Beads and atoms.
    atom
        (b,) atoms to be placed.
    now
        (b,) atoms of lower growth rank are known; :data:`EVERYTHING` in sweeps.
    azimuth
        (b,) radian, turn of the local frame about its z axis.
    replica
        (b,) which of the scene's copies of the atoms is seen.
    """
    layout = scene.layout
    bead = layout.owner[atom]
    centre, rotation = scene.beads[bead], local_frames(scene, bead, azimuth)
    shown = [
        neighbouring_atoms(scene, atom, now=now, replica=replica, grid=grid),
        _bonded_atoms(scene, atom, now=now, replica=replica, grid=grid),
        _neighbouring_beads(scene, bead, grid=grid),
    ]
    positions, rows, weights, neighbour = (torch.cat(parts, 1) for parts in zip(*shown, strict=True))
    return Environment(
        atom=atom,
        atom_class=layout.atom_class[atom],
        centre=centre,
        rotation=rotation,
        positions=positions @ rotation.transpose(1, 2),
        rows=rows,
        weights=weights,
        neighbour=neighbour,
    )


Shown = tuple[Tensor, Tensor, Tensor, Tensor]
"""Positions relative to the centre (b, k, 3), feature rows, weights and atoms (b, k)."""


def neighbouring_atoms(scene: Scene, atom: Tensor, *, now: Tensor, replica: Tensor, grid: Grid) -> Shown:
    """All known atoms inside the cut-off, found through the beads that own them."""
    layout, bead = scene.layout, scene.layout.owner[atom]
    which, link = expand(scene.link_start, bead)
    member, place = expand(layout.own_start, scene.link_bead[link])
    sample, other, shift = which[member], layout.own[place], scene.link_shift[link][member]
    vector = scene.positions[replica[sample], other] + shift - scene.beads[bead][sample]
    keep = vector.square().sum(1) < grid.cutoff**2
    sample, other, shift, vector = sample[keep], other[keep], shift[keep], vector[keep]
    keep = _visible(layout, other, atom[sample], now[sample], here=shift.square().sum(1) < SAME)
    sample, other, vector = sample[keep], other[keep], vector[keep]
    vector, rows, other, real = _pad(sample, len(atom), vector, layout.atom_class[other], other)
    return vector, rows, real, torch.where(real > 0, other, -1)


def _bonded_atoms(scene: Scene, atom: Tensor, *, now: Tensor, replica: Tensor, grid: Grid) -> Shown:
    """Bonded and excluded atoms once more, for the channels that say what they are to the current one."""
    layout = scene.layout
    other = layout.partners[atom]
    vector = scene.positions[replica[:, None], other] - scene.beads[layout.owner[atom]][:, None]
    seen = (other >= 0) & (vector.square().sum(2) < grid.cutoff**2)
    seen &= _visible(layout, other, atom[:, None], now[:, None], here=torch.ones_like(seen))
    return vector, layout.partner_row[atom], seen.to(vector.dtype), torch.full_like(other, -1)


def _neighbouring_beads(scene: Scene, bead: Tensor, *, grid: Grid) -> Shown:
    which, link = expand(scene.link_start, bead)
    near = scene.link_bead[link]
    vector = scene.beads[near] + scene.link_shift[link] - scene.beads[bead][which]
    keep = vector.square().sum(1) < grid.cutoff**2
    vector, rows, real = _pad(which[keep], len(bead), vector[keep], scene.layout.bead_row[near[keep]])
    return vector, rows, real, torch.full_like(rows, -1)


SAME = 1e-6  # nm^2; a lattice vector shorter than this is none


def _visible(layout: Layout, other: Tensor, atom: Tensor, now: Tensor, *, here: Tensor) -> Tensor:
    """Whether an atom shows another: placed, not itself, no hydrogen of its own molecule if it is heavy.

    ``here`` tells the molecule itself from its periodic images.
    """
    own_molecule = here & (layout.molecule[other] == layout.molecule[atom])
    hidden = own_molecule & layout.hydrogen[other] & ~layout.hydrogen[atom]
    return (layout.growth[other] < now) & ~(here & (other == atom)) & ~hidden


def densities(environment: Environment, features: Tensor, grid: Grid) -> Tensor:
    """Smooth densities of everything seen, xi and Xi of the paper in one array.

    Parameters
    ----------
    features
        (rows, channels) the feature table.

    Returns
    -------
    (b, channels, size, size, size) float32.
    """
    batch, channels, size = len(environment.atom), features.shape[1], grid.size
    x, y, z = gaussians(environment.positions, grid).unbind(2)
    shown = features[environment.rows] * environment.weights[..., None]
    left = (shown[..., None] * x[:, :, None]).reshape(batch, -1, channels * size)
    right = (y[..., :, None] * z[..., None, :]).reshape(batch, -1, size * size)
    return torch.bmm(left.transpose(1, 2), right).reshape(batch, channels, size, size, size)


def gaussians(positions: Tensor, grid: Grid) -> Tensor:
    """(..., 3, size) the density's factor along each axis; their product is gamma(x) of the paper."""
    distance = positions[..., None] - grid.axis().to(positions)
    return torch.exp(-distance.square() / (2 * grid.sigma**2))


def density_of(positions: Tensor, grid: Grid) -> Tensor:
    """(..., size, size, size) smooth density gamma(x) of single particles at (..., 3) nm."""
    x, y, z = gaussians(positions, grid).unbind(-2)
    return x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]


def collapse(density: Tensor, grid: Grid) -> Tensor:
    """First moment of densities (..., size, size, size): positions (..., 3) in nm, differentiable."""
    axis = grid.axis().to(density)
    total = density.sum((-3, -2, -1))
    moments = [(density.sum(dims) * axis).sum(-1) / total for dims in ((-2, -1), (-3, -1), (-3, -2))]
    return torch.stack(moments, -1)

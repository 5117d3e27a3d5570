"""Small systems made by hand, for tests that need no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
import scipy.sparse as sp
import torch

from dbm_gmx.chemistry.mapping import Mapping, Match, default_alignment
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.network.arrays import NetworkArrays, make_network_arrays
from dbm_gmx.network.channels import Channels, FeatureTable, bead_types_of, classes_of, default_channels
from dbm_gmx.network.environment import Scene, make_scene
from dbm_gmx.network.voxels import Grid

MASS = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "S": 32.06}


def molecule(
    heavy: Sequence[str],
    bonds: Sequence[tuple[int, int]],
    hydrogens: Sequence[int] | None = None,
    *,
    name: str = "MOL",
    united: bool = False,
    nrexcl: int = 3,
    exclusions: Sequence[tuple[int, int]] = (),
) -> MoleculeType:
    """Heavy atoms, then the hydrogens of each of them: as atoms of their own or in its mass (united)."""
    graph = nx.Graph()
    hydrogens = hydrogens or [0] * len(heavy)
    masses = [MASS[e] + united * n * MASS["H"] for e, n in zip(heavy, hydrogens, strict=True)]
    sites = list(zip(heavy, masses, strict=True))
    edges = list(bonds)
    if not united:
        for i, n in enumerate(hydrogens):
            edges += [(i, len(sites) + k) for k in range(n)]
            sites += [("H", MASS["H"])] * n
    for i, (element, mass) in enumerate(sites):
        graph.add_node(i, name=f"{element}{i + 1}", type=f"{element}T", element=element, mass=mass)
        graph.nodes[i].update(charge=0.0, resid=1, resname=name)
    graph.add_edges_from(edges, kind="bond")
    return MoleculeType(name, nrexcl, graph, exclusions=np.array(exclusions, np.int64).reshape(-1, 2))


def chain(n: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(n - 1)]


def ring(n: int) -> list[tuple[int, int]]:
    return [*chain(n), (n - 1, 0)]


def alkane(n: int, *, name: str = "ALK") -> MoleculeType:
    hydrogens = [2 + (i == 0) + (i == n - 1) for i in range(n)]
    return molecule(["C"] * n, chain(n), hydrogens, name=name)


def mapping(moltype: MoleculeType, heavy_owner: Sequence[int], types: Sequence[str]) -> Mapping:
    """Beads at the centres of mass of the atoms they own; hydrogens go with what they sit on."""
    owner = np.zeros(moltype.n_atoms, np.int64)
    owner[: len(heavy_owner)] = heavy_owner
    for i in range(len(heavy_owner), moltype.n_atoms):
        owner[i] = owner[next(iter(moltype.graph[i]))]
    weights = np.where(owner == np.arange(len(types))[:, None], moltype.masses, 0)
    weights = sp.csr_matrix(weights / weights.sum(axis=1, keepdims=True))
    return Mapping(
        molecule=moltype.name,
        names=tuple(f"{t}{i + 1}" for i, t in enumerate(types)),
        types=tuple(types),
        weights=weights,
        owner=owner,
        align=default_alignment(weights, owner, moltype.graph),
        multiplicity=np.ones(len(types), np.int64),
    )


def system(*parts: tuple[MoleculeType, Mapping, int]) -> System:
    """Runs of molecules."""
    matches, bead, atom = [], 0, 0
    for moltype, beads, count in parts:
        matches.append(Match(moltype, beads, count, first_bead=bead, first_atom=atom))
        bead, atom = bead + count * len(beads.names), atom + count * moltype.n_atoms
    moltypes = {moltype.name: moltype for moltype, *_ in parts}
    topology = Topology(moltypes, tuple((moltype.name, count) for moltype, _, count in parts))
    mappings = {moltype.name: beads for moltype, beads, _ in parts}
    return System(topology, mappings, tuple(matches))


def scattered(system: System, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) whole molecules somewhere in the box, bonds of about the right length and any angle."""
    parts = []
    for match in system.matches:
        for _ in range(match.count):
            atoms = np.zeros((match.moltype.n_atoms, 3))
            atoms[0] = rng.random(3) @ box
            for parent, child in nx.bfs_edges(match.moltype.graph, 0):
                step = rng.normal(size=3)
                length = 0.11 if match.moltype.elements[child] == "H" else 0.15
                atoms[child] = atoms[parent] + length * step / np.linalg.norm(step)
            parts.append(atoms)
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Example:
    """A system and one frame of its atoms (n, 3) and beads (m, 3), molecules whole, nm."""

    system: System
    channels: Channels
    arrays: NetworkArrays
    table: FeatureTable
    atoms: np.ndarray
    beads: np.ndarray
    box: np.ndarray

    @property
    def features(self) -> torch.Tensor:
        return torch.from_numpy(self.table.features)

    def scene(
        self, *, atoms: np.ndarray | None = None, box: np.ndarray | None = None, grid: Grid | None = None
    ) -> Scene:
        """All atoms in place, where they are or at other places."""
        atoms = self.atoms if atoms is None else atoms
        scene = make_scene(
            self.arrays,
            [mapped_beads(self.system, atoms)],
            [self.box if box is None else box],
            grid=grid or Grid(),
        )
        scene.positions[0] = torch.from_numpy(atoms).float()
        return scene


def example(system: System, atoms: np.ndarray, box: np.ndarray, *, bond_counts: bool = True) -> Example:
    classes = [c for cs in classes_of(system).values() for c in cs]
    channels = default_channels(classes, sorted(bead_types_of(system)))
    channels = replace(channels, bond_counts=bond_counts)
    arrays, table = make_network_arrays(system, channels)
    return Example(system, channels, arrays, table, atoms, mapped_beads(system, atoms), box)


def tiny() -> Example:
    """Pentane, cumene and water in a skewed box much smaller than two cut-offs."""
    pentane = alkane(5, name="PEN")
    cumene = molecule(
        ["C"] * 9, [(0, 1), (1, 2), (1, 3), (3, 8), *chain(9)[3:]], [3, 1, 3, 0, 1, 1, 1, 1, 1], name="CUM"
    )
    water = molecule(["O"], [], [2], name="SOL")
    parts = system(
        (pentane, mapping(pentane, [0, 0, 1, 2, 2], "ABA"), 2),
        (water, mapping(water, [0], "W"), 3),
        (cumene, mapping(cumene, [0, 0, 1, 1, 1, 2, 2, 2, 1], "ACC"), 1),
    )
    box = np.array([[0.65, 0, 0], [1.1, 0.95, 0], [-0.9, 1.2, 1.1]])
    return example(parts, scattered(parts, box, np.random.default_rng(7)), box)

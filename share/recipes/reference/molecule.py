"""Chains of carbon with phenyl groups: their graph, topology, mapping, and places in space.

A chain is a string: C is a plain carbon, U and D are carbons with a phenyl group on the one and on the other
side of an all-trans chain; hydrogens fill the valences.  Octane, cumene and polystyrene are of this kind.
Atoms are numbered from 0 here and from 1 in files; lengths are nm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MASS = {"C": 12.011, "H": 1.008}
ALKANE = {3: -0.18, 2: -0.12, 1: -0.06}  # charge of a carbon by its hydrogens: opls_135 to 137
BENZYL = {3: -0.065, 2: -0.005, 1: 0.055}  # the same beside a ring: opls_148, 149, 515
RING = 0.115  # charge of an aromatic hydrogen, and minus that of each ring carbon: opls_146, 145


@dataclass(frozen=True)
class Group:
    """A carbon of the chain and what it carries: hydrogens, ring carbons in a row and their hydrogens."""

    carbon: int
    hydrogens: list[int]
    ring: list[int]
    ring_hydrogens: list[int]

    @property
    def phenyl(self) -> list[int]:
        """All atoms of the ring, in the order of the file."""
        return sorted(self.ring + self.ring_hydrogens)


@dataclass
class Molecule:
    """Atoms (name, type, charge) and bonds in the order of the file, and the groups of the chain."""

    name: str
    atoms: list[tuple[str, str, float]] = field(default_factory=list)
    graph: nx.Graph = field(default_factory=nx.Graph)
    groups: list[Group] = field(default_factory=list)

    def add(self, name: str, moltype: str, charge: float, *bonded: int) -> int:
        """Add an atom and return its number."""
        self.graph.add_edges_from((j, len(self.atoms)) for j in bonded)
        self.atoms.append((name, moltype, charge))
        return len(self.atoms) - 1

    def mass(self, atoms: list[int]) -> list[float]:
        """Masses of some atoms, amu."""
        return [MASS[self.atoms[i][0][0]] for i in atoms]


def make_molecule(name: str, backbone: str) -> Molecule:
    """Make the atoms and bonds of a chain: C1, H11, H12, H13, C2, H21, ... with rings after their carbon."""
    made, number = Molecule(name), 0
    for k, letter in enumerate(backbone):
        number += 1
        end = k in (0, len(backbone) - 1)
        valence = 2 + end - (letter != "C")
        before = [made.groups[-1].carbon] if made.groups else []
        charge = (ALKANE if letter == "C" else BENZYL)[valence]
        group = Group(made.add(f"C{number}", "CT", charge, *before), [], [], [])
        for h in range(1, valence + 1):
            group.hydrogens.append(made.add(f"H{number}{h}", "HC", 0.06, group.carbon))
        for r in range(6 if letter != "C" else 0):
            number += 1
            closing = [group.ring[0]] if r == 5 else []
            group.ring.append(
                made.add(f"C{number}", "CA", -RING, (group.ring or [group.carbon])[-1], *closing)
            )
            if r:
                group.ring_hydrogens.append(made.add(f"H{number}1", "HA", RING, group.ring[-1]))
        made.groups.append(group)
    return made


# --- topology --------------------------------------------------------------------------------------


def topology(molecule: Molecule, *, heavy: float = 1.0) -> str:
    """Return the [ moleculetype ], its parameters to be looked up by atom type.

    Hydrogens have ``heavy`` times their mass, taken from their carbon, which allows longer time steps and
    changes no distribution of places.
    """
    graph = molecule.graph
    angles = [(i, j, k) for j in sorted(graph) for i, k in combinations(sorted(graph[j]), 2)]
    dihedrals = [
        (i, j, k, m)
        for j, k in sorted(tuple(sorted(e)) for e in graph.edges)
        for i in sorted(set(graph[j]) - {k})
        for m in sorted(set(graph[k]) - {j})
    ]
    near = dict(nx.all_pairs_shortest_path_length(graph, cutoff=3))
    pairs = [(i, j) for i in sorted(near) for j in sorted(near[i]) if i < j and near[i][j] == 3]
    impropers = [
        (*sorted(set(g.ring) & set(graph[c])), c, *sorted(set(graph[c]) - set(g.ring)))
        for g in molecule.groups
        for c in g.ring
    ]
    lines = ["[ moleculetype ]", "; name  nrexcl", f"  {molecule.name:5} 3", "", "[ atoms ]"]
    lines.append("; nr  type  resnr  residue  atom  cgnr  charge  mass")
    for i, (name, moltype, charge) in enumerate(molecule.atoms):
        hydrogens = 1 if name[0] == "H" else -sum(molecule.atoms[j][0][0] == "H" for j in graph[i])
        mass = MASS[name[0]] + hydrogens * (heavy - 1) * MASS["H"]
        lines.append(
            f"{i + 1:4}  {moltype}    1     {molecule.name:5} {name:6} {i + 1:4}  {charge:7.3f}  {mass:8.4f}"
        )
    lines += _section("bonds", sorted(tuple(sorted(e)) for e in graph.edges), "1")
    lines += _section("pairs", pairs, "1")
    lines += _section("angles", angles, "1")
    lines += _section("dihedrals", dihedrals, "3")
    if impropers:
        lines += _section("dihedrals", impropers, "4  180.0  4.6024  2")  # improper_Z_CA_X_Y of oplsaa.ff
    return "\n".join(lines) + "\n"


def _section(name: str, rows: list[tuple[int, ...]], tail: str) -> list[str]:
    return ["", f"[ {name} ]", *("".join(f"{i + 1:5}" for i in row) + f"  {tail}" for row in rows)]


# --- mapping ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bead:
    """Weight by atom, and the atoms the bead is rebuilt with."""

    name: str
    type: str
    weights: dict[int, float]
    owned: list[int]


def beads(molecule: Molecule, *, whole_ends: bool = False) -> list[Bead]:
    """Map a chain as the paper does.

    Every second carbon, from the first on, is the middle of a bead A: the carbon, its hydrogens and half of
    the carbon on either side (of a CH3 two hydrogens count); a ring is a bead B.  At an end the published
    files have the bead at the carbon of the end group; with ``whole_ends`` it is made like the others.
    """
    found, last = [], len(molecule.groups) - 1
    for k, group in enumerate(molecule.groups):
        if k % 2 == 0:
            weights = {group.carbon: MASS["C"]}
            if whole_ends or k not in (0, last):
                weights |= dict.fromkeys(group.hydrogens, MASS["H"])
                for other in molecule.groups[max(k - 1, 0) : k] + molecule.groups[k + 1 : k + 2]:
                    half = [other.carbon, *other.hydrogens[:2]]
                    weights |= {i: m / 2 for i, m in zip(half, molecule.mass(half), strict=True)}
            owned = [i for g in molecule.groups[k : k + 2] for i in (g.carbon, *g.hydrogens)]
            found.append(Bead(f"A{k // 2 + 1}", "A", weights, owned))
        if group.ring:
            weights = dict(zip(group.phenyl, molecule.mass(group.phenyl), strict=True))
            found.append(Bead(f"B{k // 2 + 1}", "B", weights, group.phenyl))
    return found


def votca(molecule: Molecule, mapped: list[Bead]) -> str:
    """Return the mapping as VOTCA csg xml."""
    name, lines = molecule.name, []
    lines += ["<cg_molecule>", f"  <name>{name}</name>", f"  <ident>{name}</ident>", "  <topology>"]
    lines += ["    <cg_beads>"]
    for bead in mapped:
        atoms = " ".join(f"1:{name}:{molecule.atoms[i][0]}" for i in bead.weights)
        parts = {"name": bead.name, "type": bead.type, "mapping": bead.name, "beads": atoms}
        lines += [
            "      <cg_bead>",
            *(f"        <{k}>{v}</{k}>" for k, v in parts.items()),
            "      </cg_bead>",
        ]
    lines += ["    </cg_beads>", "  </topology>", "  <maps>"]
    for bead in mapped:
        weights = " ".join(f"{w:.4f}" for w in bead.weights.values())
        lines += [
            "    <map>",
            f"      <name>{bead.name}</name>",
            f"      <weights>{weights}</weights>",
            "    </map>",
        ]
    return "\n".join([*lines, "  </maps>", "</cg_molecule>", ""])


def owners(mapped: list[Bead]) -> str:
    """Return owners.txt."""
    lines = ["; which bead each atom is rebuilt with (shared atoms belong to one bead only)"]
    lines += ["; bead : atoms (1-based index in the molecule)"]
    lines += [f"{bead.name:3} : {' '.join(str(i + 1) for i in bead.owned)}" for bead in mapped]
    return "\n".join(lines) + "\n"


# --- in space --------------------------------------------------------------------------------------

TURNS = np.radians([180.0, 65.0, -65.0])
APART = 0.27  # carbons four and more bonds apart; closer ones are another try
HALF = np.radians(54.0)  # half of the angle between the two arms of a carbon that are not the chain


def conformation(molecule: Molecule, backbone: str, rng: np.random.Generator) -> Array:
    """Return (n, 3) places with random torsions and no carbons too close, rings on the sides given."""
    near = dict(nx.all_pairs_shortest_path_length(molecule.graph, cutoff=3))
    heavy = [i for i, atom in enumerate(molecule.atoms) if atom[0][0] == "C"]
    far = np.array([[j not in near[i] for j in heavy] for i in heavy])
    for _ in range(1000):
        places = _grow(molecule, backbone, rng, heavy, far)
        if places is not None:
            return places
    raise RuntimeError(f"{molecule.name}: no conformation without clashes")


def _grow(
    molecule: Molecule, backbone: str, rng: np.random.Generator, heavy: list[int], far: NDArray[np.bool_]
) -> Array | None:
    chain = [g.carbon for g in molecule.groups]
    x = np.full((len(molecule.atoms), 3), np.nan)
    x[chain[0]], x[chain[1]] = 0.0, (0.153, 0.0, 0.0)
    for k in range(2, len(chain) + 1):
        for _ in range(30):
            new = x.copy()
            if k < len(chain):
                new[chain[k]] = _next(new[chain[max(k - 3, 0) : k]], rng)
            for end in [0] * (k == 2) + [k - 1]:  # the arms of a carbon once both its neighbours are there
                _arms(new, molecule, end, backbone[end], rng)
            distances = np.linalg.norm(new[heavy][:, None] - new[heavy][None], axis=-1)
            if not (far & (distances < APART)).any():  # not a number where nothing is yet
                break
        else:
            return None
        x = new
    return x


def _next(before: Array, rng: np.random.Generator) -> Array:
    """Place the carbon after some: trans or gauche, at random."""
    axis = _unit(before[-1] - before[-2])
    plane = before[-3] - before[-2] if len(before) > 2 else rng.normal(size=3)
    side = _unit(plane - axis * (plane @ axis))
    turn, bend = rng.choice(TURNS) + rng.normal(scale=0.15), np.radians(113.0)
    around = np.cos(turn) * side + np.sin(turn) * np.cross(axis, side)
    return before[-1] + 0.153 * (-np.cos(bend) * axis + np.sin(bend) * around)


def _arms(x: Array, molecule: Molecule, k: int, letter: str, rng: np.random.Generator) -> None:
    """Place the ring and the hydrogens of the k-th carbon of the chain."""
    group, chain = molecule.groups[k], [g.carbon for g in molecule.groups]
    here = x[group.carbon]
    bonded = [_unit(x[chain[j]] - here) for j in (k - 1, k + 1) if 0 <= j < len(chain)]
    if len(bonded) == 1:  # an end: three arms, anyhow turned
        side = _unit(np.cross(bonded[0], rng.normal(size=3)))
        turns = [(side, np.cross(bonded[0], side), a) for a in np.radians([0, 120, 240])]
        arms = [-bonded[0] / 3 + 0.943 * (np.cos(a) * u + np.sin(a) * v) for u, v, a in turns]
    else:
        middle, normal = _unit(-bonded[0] - bonded[1]), _unit(np.cross(*bonded))
        arms = [
            np.cos(HALF) * middle + s * np.sin(HALF) * normal for s in ((1, -1) if letter != "D" else (-1, 1))
        ]
    if group.ring:
        _place_ring(x, group, here, arms.pop(0), rng)
    for hydrogen, arm in zip(group.hydrogens, arms, strict=True):
        x[hydrogen] = here + 0.109 * arm


def _place_ring(x: Array, group: Group, here: Array, arm: Array, rng: np.random.Generator) -> None:
    side = _unit(np.cross(arm, rng.normal(size=3)))
    angles = np.radians(60.0 * np.arange(6))
    spokes = -np.cos(angles)[:, None] * arm + np.sin(angles)[:, None] * side
    centre = here + (0.151 + 0.14) * arm
    x[group.ring] = centre + 0.14 * spokes
    x[group.ring_hydrogens] = centre + 0.248 * spokes[1:]


def chirality(molecule: Molecule, places: Array) -> str:
    """Return the letters of the carbons inside the chain that have a ring, as found; x for no tetrahedron."""
    found = ""
    for before, group, after in zip(molecule.groups, molecule.groups[1:], molecule.groups[2:], strict=False):
        if group.ring:
            neighbours = [before.carbon, after.carbon, group.ring[0], group.hydrogens[0]]
            arms = np.array([_unit(places[i] - places[group.carbon]) for i in neighbours])
            volume = float(np.linalg.det(arms[:3] - arms[3]))  # 3.1 if ideal
            found += "U" if volume > 1 else "D" if volume < -1 else "x"
    return found


def _unit(v: Array) -> Array:
    return v / np.linalg.norm(v)

"""Linear chains of CH3, CH2 and O, and their beads: topologies, mapping and a first conformation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

System = dict[str, Any]  # a table of systems.toml
Array = np.ndarray

MASSES = {"C": 12.011, "H": 1.008, "O": 15.9994}
TYPES = {"C": "CT", "H": "HC", "O": "OS"}
LENGTHS = {"CC": 0.1529, "CO": 0.141, "CH": 0.109}
ANGLE = np.radians(110.0)
CLOSE = 0.38  # nm: carbons and oxygens four bonds apart and more keep this distance in the first conformation


@dataclass(frozen=True)
class Chain:
    """A chain, its atoms in order: each carbon or oxygen is followed by its hydrogens.

    Attributes
    ----------
    heavy
        Elements along the chain, as ``COCCOC``.
    elements, names, owner
        Of each atom: element, name, and which of ``heavy`` it is or is bonded to.
    """

    heavy: str
    elements: list[str]
    names: list[str]
    owner: list[int]

    def rows(self, place: int) -> list[int]:
        """Atoms of one of ``heavy``: itself and its hydrogens."""
        return [row for row, owner in enumerate(self.owner) if owner == place]

    def backbone(self) -> list[int]:
        """Rows of ``heavy``."""
        return [row for row, element in enumerate(self.elements) if element != "H"]


def make_chain(system: System) -> Chain:
    """Put hydrogens on the carbons."""
    heavy = system["bead"] * system["beads"]
    elements, names, owner = [], [], []
    for place, element in enumerate(heavy):
        hydrogens = 0 if element == "O" else 3 if place in (0, len(heavy) - 1) else 2
        elements += [element] + ["H"] * hydrogens
        names += [f"{element}{place + 1}"] + [f"H{place + 1}{'ABC'[k]}" for k in range(hydrogens)]
        owner += [place] * (1 + hydrogens)
    return Chain(heavy, elements, names, owner)


def charges(chain: Chain) -> Array:
    """OPLS-AA: methyl and methylene of alkanes, and those next to the oxygen of an ether."""
    values = []
    for element, place in zip(chain.elements, chain.owner, strict=True):
        ether = "O" in chain.heavy[max(place - 1, 0) : place + 2]
        methyl = place in (0, len(chain.heavy) - 1)
        carbon = (0.11 if methyl else 0.14) if ether else (-0.18 if methyl else -0.12)
        values.append({"O": -0.40, "C": carbon, "H": 0.03 if ether else 0.06}[element])
    return np.array(values)


def bonds(chain: Chain) -> list[tuple[int, int]]:
    """All bonds, as rows of atoms."""
    backbone = chain.backbone()
    hydrogens = [(backbone[o], k) for k, o in enumerate(chain.owner) if chain.elements[k] == "H"]
    return sorted([*itertools.pairwise(backbone), *hydrogens])


def paths(edges: list[tuple[int, int]], length: int) -> list[tuple[int, ...]]:
    """Chains of so many bonded atoms, each once."""
    near: dict[int, list[int]] = {}
    for a, b in edges:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    found = [(atom,) for atom in sorted(near)]
    for _ in range(length - 1):
        found = [(*path, k) for path in found for k in near[path[-1]] if k not in path]
    return sorted(path for path in found if path[0] < path[-1])


def section(name: str, rows: list[str]) -> str:
    """A directive with its lines."""
    return "\n".join([f"[ {name} ]", *rows]) + "\n\n"


def terms(name: str, rows: list[tuple[int, ...]], words: str) -> str:
    """Terms that are all alike; none without words."""
    if not words:
        return ""
    return section(name, [" ".join(str(k + 1) for k in row) + f" {words}" for row in rows])


def ending(system: System) -> str:
    """What the box holds."""
    name = system["molecule"]
    return section("system", [f"melt of {name}"]) + section("molecules", [f"{name} {system['chains']}"])


def atoms_top(system: System, forcefield: str) -> str:
    """The topology of the atoms."""
    chain, name = make_chain(system), system["molecule"]
    edges = bonds(chain)
    values = zip(chain.elements, chain.names, charges(chain), strict=True)
    atoms = [
        f"{k} {TYPES[e]} 1 {name} {label} {k} {q:.3f} {MASSES[e]}"
        for k, (e, label, q) in enumerate(values, 1)
    ]
    torsions = paths(edges, 4)
    ends = sorted({(t[0], t[3]) for t in torsions})
    return (
        f"{forcefield}\n{section('moleculetype', [f'{name} 3'])}{section('atoms', atoms)}"
        + terms("bonds", edges, "1")
        + terms("pairs", ends, "1")
        + terms("angles", paths(edges, 3), "1")
        + terms("dihedrals", torsions, "3")
        + ending(system)
    )


def beads_top(system: System) -> str:
    """The topology of the beads."""
    name, kind, number = system["molecule"], system["type"], system["beads"]
    sigma, epsilon = system["sigma"], system["epsilon"]
    edges = list(itertools.pairwise(range(number)))
    ends = {edges[0], edges[-1]}
    stretch = [
        f"{a + 1} {b + 1} {system['end_bond'] if (a, b) in ends else system['bond']}" for a, b in edges
    ]
    return (
        section("defaults", ["1 2 no 1.0 1.0"])
        + section("atomtypes", [f"{kind} {system['mass']} 0.0 A {sigma} {epsilon}"])
        + section("moleculetype", [f"{name} 1"])
        + section(
            "atoms", [f"{k} {kind} 1 {name} A{k} {k} 0.0 {system['mass']}" for k in range(1, number + 1)]
        )
        + section("bonds", stretch)
        + terms("angles", paths(edges, 3), system["angle"])
        + terms("dihedrals", paths(edges, 4), system["dihedral"])
        + ending(system)
    )


def mapping(system: System) -> str:
    """The mapping, VOTCA csg: a bead is the centre of mass of its atoms."""
    chain, name, size = make_chain(system), system["molecule"], len(system["bead"])
    beads, maps = [], []
    for k in range(system["beads"]):
        rows = [row for place in range(k * size, (k + 1) * size) for row in chain.rows(place)]
        atoms = " ".join(f"1:{name}:{chain.names[row]}" for row in rows)
        weights = " ".join(f"{MASSES[chain.elements[row]]}" for row in rows)
        head = f"<name>A{k + 1}</name><type>{system['type']}</type><mapping>M{k + 1}</mapping>"
        beads.append(f"<cg_bead>{head}\n<beads>{atoms}</beads></cg_bead>")
        maps.append(f"<map><name>M{k + 1}</name>\n<weights>{weights}</weights></map>")
    topology = "\n".join(["<topology><cg_beads>", *beads, "</cg_beads></topology>"])
    table = "\n".join(["<maps>", *maps, "</maps>"])
    return f"<cg_molecule><name>{name}</name><ident>{name}</ident>\n{topology}\n{table}</cg_molecule>\n"


def placed(three: Array, length: float, torsion: float) -> Array:
    """The place of an atom from those of the three before it."""
    a, b, c = three
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, along)
    around = np.cos(torsion) * side + np.sin(torsion) * normal
    return c + length * (-np.cos(ANGLE) * along + np.sin(ANGLE) * around)


def coil(heavy: str, random: np.random.Generator) -> Array:
    """Carbons and oxygens with torsions at random, none too close."""
    start = np.array([[0.1, 0.0, 0.1], [0.1, 0.0, 0.0], [0.0, 0.0, 0.0]])
    while True:
        places = list(start)
        for a, b in itertools.pairwise(heavy):
            torsion = np.radians(random.choice([60.0, 180.0, 300.0]))
            places.append(placed(np.array(places[-3:]), LENGTHS["".join(sorted(a + b))], torsion))
            off = np.linalg.norm(np.array(places[2:-4]).reshape(-1, 3) - places[-1], axis=1)
            if (off < CLOSE).any():
                break
        else:
            return np.array(places[2:])


def conformation(chain: Chain, random: np.random.Generator) -> Array:
    """A first conformation: (atoms, 3), nm."""
    heavy, rows = coil(chain.heavy, random), []
    for place, centre in enumerate(heavy):
        rows.append(centre)
        number = len(chain.rows(place)) - 1
        if number == 3:
            inward = 1 if place == 0 else -1
            three = np.array([heavy[place + 2 * inward], heavy[place + inward], centre])
            rows += [placed(three, LENGTHS["CH"], np.radians(t)) for t in (60.0, 180.0, 300.0)]
        elif number == 2:
            before, after = heavy[place - 1] - centre, heavy[place + 1] - centre
            out = -(before / np.linalg.norm(before) + after / np.linalg.norm(after))
            across = np.cross(before, after)
            out, across = out / np.linalg.norm(out), across / np.linalg.norm(across)
            rows += [centre + LENGTHS["CH"] * (0.58 * out + sign * 0.81 * across) for sign in (1, -1)]
    return np.array(rows)


def gro(chain: Chain, name: str, places: Array) -> str:
    """One molecule as a .gro file."""
    low = places.min(axis=0)
    lines = [name, str(len(places))]
    for k, (label, row) in enumerate(zip(chain.names, places - low, strict=True), 1):
        lines.append(f"{1:5}{name:5}{label:>5}{k:5}" + "".join(f"{v:8.3f}" for v in row))
    return "\n".join([*lines, "".join(f"{v:10.5f}" for v in np.ptp(places, axis=0) + 1.0)]) + "\n"

"""CGSmiles: beads as fragments of a molecule, found in a molecule type by its graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.heavy import heavy_graph, is_united, signature
from dbm_gmx.chemistry.mapping import derive_owners, spread_owners
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph
from dbm_gmx.errors import InputError
from dbm_gmx.files.text import read_text

MOST = 2000
"""Ways to lay a molecule on itself that are looked at."""


@dataclass(frozen=True, eq=False)
class SmilesMapping:
    """A molecule and its beads, as a line of CGSmiles says.

    Attributes
    ----------
    path, line
        Where it stands.
    name
        Of the molecule, where a word stands before it.
    beads
        Names of the beads, in order.
    heavy
        Graph of the atoms but hydrogens, nodes with ``element``, ``hydrogens`` and ``beads``.
    bonds
        Pairs of beads.
    """

    path: Path
    line: int
    name: str
    beads: tuple[str, ...]
    heavy: nx.Graph
    bonds: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class FoundSmiles:
    """Where the beads of a line of CGSmiles are in a molecule type.

    Attributes
    ----------
    weights
        (beads, atoms), masses in them, rows add up to 1.
    owner
        (atoms,) beads.
    ways
        Number of different sets of beads that the symmetry of the molecule allows; the first one is taken.
    """

    weights: sp.csr_matrix
    owner: IntArray
    ways: int


def read_smiles(path: Path) -> list[SmilesMapping]:
    """Read lines of CGSmiles, each for one molecule; a word before it is a name.

    Raises
    ------
    InputError
        Where the package ``cgsmiles`` is not installed, or cannot read a line.
    """
    found = []
    for number, raw in enumerate(read_text(path).split("\n"), 1):
        text = raw.strip()
        if text and not text.startswith((";", "#")):
            name, brace, rest = text.partition("{")
            if not brace:
                raise InputError(f"no CGSmiles in {text[:60]!r}: {{...}}.{{...}}", path=path, line=number)
            found.append(parse_smiles(brace + rest.split()[0], path, number, name.strip(" :\t")))
    return found


def parse_smiles(text: str, path: Path, line: int, name: str = "") -> SmilesMapping:
    """Read one CGSmiles string.

    Raises
    ------
    InputError
        As :func:`read_smiles`.
    """
    try:
        from cgsmiles import MoleculeResolver
    except ModuleNotFoundError as error:
        raise InputError(
            f"CGSmiles need the package {error.name}, which is not installed: pip install 'dbm-gmx[martini]'",
            path=path,
            line=line,
        ) from error
    try:
        beads, atoms = MoleculeResolver.from_string(text, last_all_atom=True).resolve()
    except Exception as error:  # the package raises what its parts raise: KeyError, SyntaxError, ...
        raise InputError(
            f"cannot be read as CGSmiles, {{beads}}.{{#BEAD=atoms, ...}} with every bead in the second part: "
            f"the package cgsmiles ends with {error!r}",
            path=path,
            line=line,
        ) from error
    numbers = {node: k for k, node in enumerate(sorted(beads))}
    names = tuple(str(beads.nodes[node]["fragname"]) for node in numbers)
    bonds = tuple((numbers[i], numbers[j]) for i, j in beads.edges)
    return SmilesMapping(path, line, name, names, _heavy(atoms, numbers), bonds)


def _heavy(atoms: nx.Graph, numbers: dict[Any, int]) -> nx.Graph:
    """Atoms but hydrogens, with the number of these."""
    heavy = nx.Graph()
    for i, data in atoms.nodes(data=True):
        if data["element"] != "H":
            count = sum(atoms.nodes[j]["element"] == "H" for j in atoms[i])
            owners = Counter(numbers[bead] for bead in data["fragid"])
            heavy.add_node(i, element=data["element"], hydrogens=count, beads=tuple(owners))
    heavy.add_edges_from((i, j) for i, j in atoms.edges if i in heavy and j in heavy)
    return heavy


def lay_on(pattern: nx.Graph, moltype: MoleculeType) -> Iterator[dict[Any, int]]:
    """Yield the ways to lay a molecule of CGSmiles on a molecule type: rows of the latter by atom.

    Elements and bonds must be the same, and the number of hydrogens, unless it is of united atoms.
    """
    heavy = heavy_graph(moltype)
    if signature(heavy) != signature(pattern):
        return
    united = is_united(heavy) or not any(data["hydrogens"] for _, data in heavy.nodes(data=True))

    def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
        alike = bool(one["element"] == two["element"])
        return alike and (united or one["hydrogens"] == two["hydrogens"])

    for found in nx.isomorphism.GraphMatcher(heavy, pattern, node_match=same).isomorphisms_iter():
        yield {node: row for row, node in found.items()}


def composition(heavy: nx.Graph) -> str:
    """Elements of a graph of heavy atoms, and their hydrogens: ``C2H6O``."""
    elements = Counter(data["element"] for _, data in heavy.nodes(data=True))
    elements["H"] += sum(data["hydrogens"] for _, data in heavy.nodes(data=True))
    order = ["C", "H", *sorted(set(elements) - {"C", "H"})]
    return "".join(f"{e}{elements[e] if elements[e] > 1 else ''}" for e in order if elements[e])


def find_smiles(mapping: SmilesMapping, moltype: MoleculeType) -> FoundSmiles | None:
    """Find the beads in a molecule type; ``None`` if it is another molecule.

    Where its symmetry allows several ways, that is taken in which the beads are in the order of the atoms.
    """
    ways: dict[tuple[tuple[int, ...], ...], float] = {}
    for laid in islice(lay_on(mapping.heavy, moltype), MOST):
        rows = _rows(mapping, laid)
        ways.setdefault(rows, 0.0)
    if not ways:
        return None
    rows = min(ways, key=lambda way: [float(np.mean(part)) for part in way])
    return _found(rows, moltype, len({frozenset(way) for way in ways}))


def _rows(mapping: SmilesMapping, laid: dict[Any, int]) -> tuple[tuple[int, ...], ...]:
    """Sorted rows of the heavy atoms of each bead."""
    rows: list[list[int]] = [[] for _ in mapping.beads]
    for node, row in laid.items():
        for bead in mapping.heavy.nodes[node]["beads"]:
            rows[bead].append(row)
    return tuple(tuple(sorted(part)) for part in rows)


def _found(rows: Sequence[Sequence[int]], moltype: MoleculeType, ways: int) -> FoundSmiles:
    """Weights and owners: hydrogens go with their atoms, and count as these do."""
    shared = Counter(row for part in rows for row in part)
    graph, nodes = chemical_graph(moltype), moltype.graph.nodes
    weights = sp.lil_matrix((len(rows), moltype.n_atoms))
    for bead, part in enumerate(rows):
        for row in part:
            for j in [row, *(k for k in graph[row] if nodes[k]["element"] == "H")]:
                weights[bead, j] = moltype.masses[j] / shared[row]
    total = np.asarray(weights.sum(axis=1)).ravel()
    scaled = sp.csr_matrix(sp.diags(1 / np.where(total > 0, total, 1.0)) @ weights.tocsr())
    owner = derive_owners(scaled, moltype.graph)
    spread_owners(owner, moltype.graph)
    return FoundSmiles(scaled, owner, ways)

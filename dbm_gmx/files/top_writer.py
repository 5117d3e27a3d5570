"""Topologies as one text, with sites at the centres of the beads where they are wanted.

A site is a ``virtual_sitesn`` (function 3: weights in the line) of a molecule's atoms, without mass, charge
or Lennard-Jones.  Position restraints on it hold the mapped centre, and nothing else, to its bead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.forcefield import FIELD
from dbm_gmx.files.library import find_molecules
from dbm_gmx.files.preprocess import Line, active_lines
from dbm_gmx.files.top import BETWEEN, SYSTEM

SITE = "dbm_site"
"""Atom type of the sites."""


@dataclass(frozen=True)
class Part:
    """A directive and the lines below it, comments, macros and conditions resolved."""

    directive: str
    lines: tuple[str, ...]


def flat_topology(
    topology: Topology, *, defines: Sequence[str] = (), include: Sequence[Path] = ()
) -> list[Part]:
    """Return the topology a system was read from, without includes and conditions.

    Parameters
    ----------
    topology
        The system; where it was not read from one file its molecules are looked up in the library.
    defines, include
        For the preprocessor.
    """
    if topology.path is None:
        return _library(topology)
    parts = _parts(active_lines(topology.path, defines, include=include))
    if not topology.relisted:
        return parts
    listed = tuple(f"{name} {count}" for name, count in topology.molecules)
    return [*(part for part in parts if part.directive != "molecules"), Part("molecules", listed)]


def _parts(lines: Iterable[Line]) -> list[Part]:
    """Cut the file at its directives."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.text.startswith("["):
            found.append((line.text.strip("[] \t").lower(), []))
        elif found:  # what stands before the first directive are titles
            found[-1][1].append(line.text)
    return [Part(directive, tuple(texts)) for directive, texts in found]


def _library(topology: Topology) -> list[Part]:
    """Join entries of the library, which do agree where they say the same."""
    entries = {
        name: _parts(active_lines(folder / "topol.top"))
        for name, folder in find_molecules(name for name, _ in topology.molecules).items()
    }
    field: dict[tuple[str, str], None] = {}
    for parts in entries.values():
        field |= dict.fromkeys((p.directive, line) for p in parts if p.directive in FIELD for line in p.lines)
    order = dict.fromkeys(directive for directive, _ in field)
    head = [Part(d, tuple(line for directive, line in field if directive == d)) for d in order]
    head = [Part(p.directive, p.lines[:1]) if p.directive == "defaults" else p for p in head]
    moltypes = [part for name, parts in entries.items() for part in _molecule(parts, name)]
    listed = tuple(f"{name} {count}" for name, count in topology.molecules)
    return [*head, *moltypes, Part("system", ("dbm-gmx",)), Part("molecules", listed)]


def _molecule(parts: Sequence[Part], name: str) -> list[Part]:
    """Return the parts of one molecule type."""
    return next(group for group in _groups(parts) if _name(group) == name)


def _groups(parts: Sequence[Part]) -> list[list[Part]]:
    """Split into force field, molecule types and system."""
    groups: list[list[Part]] = [[]]
    for part in parts:
        last = groups[-1][-1].directive if groups[-1] else ""
        if part.directive == "moleculetype" or (part.directive in SYSTEM and last not in SYSTEM):
            groups.append([])
        groups[-1].append(part)
    return groups


def _name(group: Sequence[Part]) -> str:
    """Name of a molecule type, ``""`` where the parts are something else."""
    return group[0].lines[0].split()[0] if group and group[0].directive == "moleculetype" else ""


def add_sites(
    parts: Sequence[Part], mappings: Mapping[str, BeadMapping], stiffness: Mapping[str, FloatArray]
) -> list[Part]:
    """Add to each molecule type with a mapping a restrained site for each bead, after its atoms.

    Parameters
    ----------
    stiffness
        Force constant along each axis by molecule type, (beads,) kJ/mol/nm^2.
    """
    if any(part.directive == BETWEEN for part in parts):
        raise InputError(
            f"[ {BETWEEN} ] number the atoms of the system, which sites for the beads would change; "
            "relax without restraints to the beads"
        )
    groups = _groups(parts)
    moltype = Part("atomtypes", (f"{SITE} 0 0.0 0.0 V 0.0 0.0",))
    found = [group for group in groups if _name(group)]
    if not found or not groups[0]:
        raise InputError("a topology needs [ defaults ] and a [ moleculetype ]")
    groups[0][1:1] = [moltype]  # right after [ defaults ]
    for group in found:
        mapping = mappings.get(_name(group))
        if mapping is not None:
            group[:] = _with_sites(group, mapping, stiffness[_name(group)])
    return [part for group in groups for part in group]


def _with_sites(group: Sequence[Part], mapping: BeadMapping, stiffness: FloatArray) -> list[Part]:
    """Add sites to one molecule type."""
    beads, n = mapping.weights.shape
    last = max(i for i, part in enumerate(group) if part.directive == "atoms")
    _, _, resid, resname, *_ = group[last].lines[-1].split()
    sites = range(n + 1, n + 1 + beads)
    atoms = [f"{i} {SITE} {resid} {resname} {site_name(k)} {i} 0.0 0.0" for k, i in enumerate(sites)]
    made = [f"{i} 3 {_weights(mapping, k)}" for k, i in enumerate(sites)]
    held = [f"{i} 1 {k:.6g} {k:.6g} {k:.6g}" for i, k in zip(sites, stiffness, strict=True)]
    grown = [*group]
    grown[last] = Part("atoms", (*group[last].lines, *atoms))
    return [*grown, Part("virtual_sitesn", tuple(made)), Part("position_restraints", tuple(held))]


def _weights(mapping: BeadMapping, bead: int) -> str:
    """Constructing atoms and weights of a site."""
    row = mapping.weights[bead].tocoo()
    pairs = sorted((int(atom), float(weight)) for atom, weight in zip(row.col, row.data, strict=True))
    return " ".join(f"{atom + 1} {weight:.8g}" for atom, weight in pairs if weight)


def site_name(bead: int) -> str:
    """Atom name of the site of a bead."""
    return f"V{bead + 1}"


def sited_molecule(moltype: MoleculeType, mapping: BeadMapping) -> MoleculeType:
    """Return a molecule type with the sites of :func:`add_sites`, for writing structures."""
    graph = moltype.graph.copy()
    last = graph.nodes[moltype.n_atoms - 1]
    for bead in range(len(mapping.names)):
        node = {"name": site_name(bead), "type": SITE, "element": "", "mass": 0.0, "charge": 0.0}
        graph.add_node(moltype.n_atoms + bead, **{**last, **node})
    return MoleculeType(moltype.name, moltype.nrexcl, graph)


LONGEST_LINE = 2000
"""Characters; ``grompp`` reads 4095, and the lines of ``[ cmaptypes ]`` go on for longer."""


def topology_text(parts: Sequence[Part]) -> str:
    """Return the parts as a file, long lines over several."""
    lines = (line for part in parts for line in (f"[ {part.directive} ]", *part.lines, ""))
    return "\n".join("\\\n".join(_pieces(line)) for line in lines)


def _pieces(line: str) -> Iterator[str]:
    """Parts of a line that end between words."""
    while len(line) > LONGEST_LINE and (cut := line.rfind(" ", 0, LONGEST_LINE) + 1):
        yield line[:cut]
        line = line[cut:]
    yield line

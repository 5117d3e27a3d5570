"""Read ``.top`` and ``.itp`` into a :class:`~dbm_gmx.chemistry.topology.Topology`, of atoms or of beads.

The file is cut into sections, one per directive; the force field's sections become tables, then
each molecule type's sections become rows of atoms with parameters, taken from the line or from
those tables.  Reference: GROMACS manual, "Topology file", table of interaction types; choices the
manual leaves open follow grompp 2022.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import radians
from pathlib import Path
from string import ascii_letters

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.interactions import INTERACTIONS, atoms_of
from dbm_gmx.chemistry.topology import (
    LINKS,
    STRUT,
    MoleculeType,
    Terms,
    Topology,
)
from dbm_gmx.errors import InputError
from dbm_gmx.files.bonded_tables import KINDS, find_table, read_table
from dbm_gmx.files.elements import element_of, set_repartitioned
from dbm_gmx.files.forcefield import (
    FIELD,
    AtomType,
    ForceField,
    Parameters,
    check_particle,
    force_field,
    inline_parameters,
    interaction_of,
    known_type,
    looked_up_parameters,
)
from dbm_gmx.files.preprocess import Line, active_lines
from dbm_gmx.files.site_parameters import Geometry, site_parameters
from dbm_gmx.files.text import as_number, read_text
from dbm_gmx.forcefield.torsions import with_barriers

BETWEEN = "intermolecular_interactions"
SYSTEM = {"system", "molecules", BETWEEN}
PLACED = ("position_restraints", "angle_restraints_z")
"""To places or to an axis: no part of the force field of a molecule, though mdrun applies them."""

RESTRAINTS = {
    "position_restraints": 1,
    "angle_restraints_z": 2,
    "distance_restraints": 2,
    "orientation_restraints": 2,
}
"""Atoms in a line of what is switched on by an ``.mdp``, and left out here."""

PAIRS_NB = "pairs_nb"
"""Pairs with charges of their own: ``pairs`` 2 with a factor of 1 (acpype, where 1-4 factors differ)."""

MOLECULE = {"moleculetype", "atoms", "exclusions", PAIRS_NB, *INTERACTIONS, *RESTRAINTS}
IGNORED = {"implicit_genborn_params", "implicit_surface_params"}  # removed from GROMACS

BEFORE = {
    "atomtypes": "defaults",
    **dict.fromkeys(FIELD - {"defaults", "atomtypes"}, "atomtypes"),
    "moleculetype": "atomtypes",
    **dict.fromkeys([PAIRS_NB, *INTERACTIONS, *RESTRAINTS], "atoms"),
    "system": "moleculetype",
    "molecules": "system",
    BETWEEN: "molecules",
}
"""What must stand before a directive (``DS_Check_Order`` of grompp)."""

DIHRES = "DIHRES"
"""What CHARMM-GUI defines for a run whose lipids and sugars keep their chirality."""

MOST_ATOMS = 2**31 - 1
"""Of a system: GROMACS counts them with 32 bits."""

MOST_EXCLUDED = 1000
"""Bonds away that ``nrexcl`` may say."""

CANONICAL_BETWEEN = {"bonds", "angles", "dihedrals", "dihedral_restraints", "angle_restraints"}
"""What can be between molecules."""

_HEADER = re.compile(r"\[\s*([^\]]*?)\s*\]")
_EDGE_RANK = ("virtual", "settle", "constraint", "bond")


@dataclass(frozen=True, slots=True)
class Section:
    """One directive and the lines below it."""

    directive: str
    header: Line
    lines: list[Line]


@dataclass(frozen=True, slots=True)
class Row:
    """One interaction of a molecule type, 0-based.

    With a ``line`` it is a virtual site whose parameters are not in it (see :func:`_with_sites`).
    """

    directive: str
    function: int
    atoms: tuple[int, ...]
    parameters: Parameters
    edge: str = ""
    line: Line | None = None


def read_topology(
    path: str | Path,
    *,
    defines: Sequence[str] = (),
    include: Sequence[str | Path] = (),
    counted: bool = False,
) -> Topology:
    """Read a ``.top``, or an ``.itp`` of molecule types.

    Parameters
    ----------
    path
        The file.
    defines
        ``NAME`` or ``NAME=value`` for its ``#ifdef``.
    include
        More folders to look for ``#include``.
    counted
        Refuse a file that does not say how many molecules there are.

    Returns
    -------
    All molecule types with state A parameters, in the units of GROMACS.  Without ``[ molecules ]``
    and ``[ system ]`` ``molecules`` is empty; without ``[ defaults ]`` ``nonbonded`` is ``None``,
    and terms whose parameters are not in the line have none (shape (k, 0)), nor masses not given
    (nan).  Special rows: ``bonds`` 5 only make edges; ``settles`` hold O, H, H; dihedrals 5 are
    padded to five columns; ``cmap`` hold the energies on their grid, from -180 degrees on, those of
    one first dihedral side by side; ``pairs`` 2 hold ``fudgeQQ, qi, qj, c6, c12``; ``virtual_sitesn``
    hold the site, its constructing atoms and one normalised weight for each of these.  Terms of
    tables hold its step, k, its energies and slopes, or its number and k where there is no file.

    Raises
    ------
    InputError
        With file and line, for anything grompp would refuse or this program cannot use.
    """
    sections = _sections(active_lines(path, defines, include=include))
    _check_order(sections)
    left_out = tuple(dict.fromkeys(s.directive for s in sections if s.directive in PLACED and s.lines))
    tables = force_field({name: _lines(sections, name) for name in FIELD}, Path(path).parent)
    moltypes: dict[str, MoleculeType] = {}
    sections, between = _cut_at(sections, BETWEEN)
    said = _said(sections, path, defines, include=include)
    for group in _molecule_sections(sections):
        moltype = _molecule_type(group, tables)
        _check_restraints(group, moltype.n_atoms)
        if moltype.name in moltypes:
            raise group[0].lines[0].error(f"molecule type {moltype.name!r} is defined twice")
        moltypes[moltype.name] = replace(
            moltype, stated=_statements(said.get(moltype.name, []), moltype.graph)
        )
    system = [s for s in sections if s.directive in SYSTEM]
    molecules = tuple(_molecules(system, moltypes))
    if system and not molecules:
        raise system[-1].header.error("no molecules: [ molecules ] with a name and a count is needed")
    if not moltypes:
        raise InputError("defines no molecule: no [ moleculetype ] in it; is it cut off?", path=path)
    if counted and not molecules:
        raise InputError(
            "has no [ molecules ], which says how many there are of each: give the .top of the system, whole",
            path=path,
        )
    topology = Topology(moltypes, molecules, tables.nonbonded, Path(path), left_out=left_out)
    if not between:
        return topology
    return replace(topology, intermolecular=_between(between, topology.n_atoms, tables))


def _said(
    sections: list[Section], path: str | Path, defines: Sequence[str], *, include: Sequence[str | Path]
) -> dict[str, list[Line]]:
    """Restraints of dihedrals by molecule type, those too that are there with ``-DDIHRES`` only.

    CHARMM-GUI has the chirality and the double bonds of lipids and sugars in them.
    """
    files = {section.header.path for section in sections if section.directive in MOLECULE}
    if any(DIHRES in read_text(file) for file in files):
        with suppress(InputError):  # nothing in there is needed
            sections = _sections(active_lines(path, [*defines, DIHRES], include=include))
    groups = _molecule_sections([s for s in sections if s.directive in MOLECULE])
    return {
        group[0].lines[0].text.split()[0]: _lines(group, "dihedral_restraints")
        for group in groups
        if group[0].lines
    }


def _statements(lines: Iterable[Line], graph: nx.Graph) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """What restraints of dihedrals say of bonds (about 0 or 180 degrees) and of centres (about 120)."""
    found: list[tuple[str, tuple[int, ...]]] = []
    for line in lines:
        fields = line.text.split()
        try:
            (a, b, c, d), phi = (int(text) - 1 for text in fields[:4]), as_number(fields[5])
        except (ValueError, IndexError):
            continue
        off = abs((phi + 180.0) % 360.0 - 180.0)
        if off < 30.0 or off > 150.0:
            if all(graph.has_edge(*pair) for pair in ((a, b), (b, c), (c, d))):
                found.append(("cis" if off < 30.0 else "trans", (a, b, c, d)))
            continue
        for first, second, centre, last in ((a, b, c, d), (d, c, b, a)):
            around = set(graph.adj[centre]) if centre in graph else set()
            if off > 90.0 and {first, second, last} <= around and len(around) in (3, 4):
                (other,) = around - {first, second, last} or {-1}
                turning = (last, second) if (phi + 180.0) % 360.0 > 180.0 else (second, last)
                found.append(("chiral", (other, centre, first, *turning)))
    return tuple(found)


def _cut_at(sections: list[Section], directive: str) -> tuple[list[Section], list[Section]]:
    """Sections before the first of a directive, and those after it."""
    places = [k for k, section in enumerate(sections) if section.directive == directive]
    if not places:
        return sections, []
    first = places[0]
    if stray := [line for k in places for line in sections[k].lines]:
        raise stray[0].error(f"nothing can stand right below [ {directive} ]; its directives follow")
    return sections[:first], [s for s in sections[first:] if s.directive != directive]


def _between(sections: Sequence[Section], n_atoms: int, tables: ForceField) -> tuple[Terms, ...]:
    """Interactions between molecules: atoms of the system, parameters in the line (grompp)."""
    atoms = nx.empty_graph(n_atoms)
    rows: list[Row] = []
    for section in sections:
        if RESTRAINTS.get(section.directive, 1) > 1:
            continue
        if section.directive not in CANONICAL_BETWEEN:
            known = ", ".join(sorted(CANONICAL_BETWEEN))
            raise section.header.error(
                f"[ {section.directive} ] after [ {BETWEEN} ] is not supported; supported: {known}"
            )
        n = atoms_of(section.directive)
        for line in section.lines:
            if len(line.text.split()) <= n + 1:
                raise line.error(f"parameters of [ {BETWEEN} ] must stand in the line")
        rows += _rows(section, atoms, tables)
    return _terms(rows)


def _sections(lines: Iterable[Line]) -> list[Section]:
    """Cut the file at its directives."""
    sections: list[Section] = []
    for line in lines:
        if line.text.startswith("["):
            sections.append(Section(_directive(line), line, []))
        elif not sections:
            if line.text.startswith("*"):  # CHARMM's title lines; grompp skips all text up here
                continue
            raise line.error(f"{line.text!r} stands before the first [ directive ]")
        else:
            sections[-1].lines.append(line)
    return sections


def _directive(line: Line) -> str:
    match = _HEADER.match(line.text)
    if not match:
        raise line.error(f"{line.text!r} has no closing ]")
    name = match[1].lower()
    if name.startswith("dummies"):  # the name of virtual sites before GROMACS 4
        name = name.replace("dummies", "virtual_sites")
    known = FIELD | MOLECULE | SYSTEM | IGNORED
    if name not in known:
        raise line.error(f"[ {match[1]} ] is not supported; supported: {', '.join(sorted(known))}")
    return name


def _check_order(sections: Sequence[Section]) -> None:
    """Refuse directives in an order that grompp refuses; one that is missing is no matter of order."""
    seen, listed, early = set[str](), set[str](), dict[str, Section]()
    for section in sections:
        name = section.directive
        if name == "moleculetype":  # each has atoms of its own
            seen.discard("atoms")
            early.pop("atoms", None)
        if (other := early.get(name)) is not None:
            raise other.header.error(f"[ {other.directive} ] must stand after [ {name} ]")
        if name in FIELD and "moleculetype" in seen:
            raise section.header.error(f"[ {name} ] must stand before the first [ moleculetype ]")
        if (needed := BEFORE.get(name)) is not None and needed not in seen:
            early.setdefault(needed, section)
        if name == "molecules":
            listed |= {line.text.split()[0] for line in section.lines}
        elif name == "moleculetype":
            for line in section.lines:
                if (own := line.text.split()[0]) in listed:
                    raise line.error(f"{own!r} must be defined before [ molecules ]")
        seen.add(name)


def _lines(sections: Iterable[Section], directive: str) -> list[Line]:
    return [line for s in sections if s.directive == directive for line in s.lines]


def _molecule_sections(sections: list[Section]) -> list[list[Section]]:
    """Group the sections of molecule types, each group beginning with ``[ moleculetype ]``."""
    groups: list[list[Section]] = []
    for section in sections:
        if section.directive == "moleculetype":
            groups.append([section])
        elif section.directive in MOLECULE:
            if not groups:
                raise section.header.error(f"[ {section.directive} ] before any [ moleculetype ]")
            groups[-1].append(section)
    return groups


def _check_restraints(sections: Iterable[Section], n_atoms: int) -> None:
    """Refuse restraints of atoms that a molecule type does not have; no more is made of them."""
    for section in sections:
        if (n := RESTRAINTS.get(section.directive)) is None:
            continue
        for line in section.lines:
            for atom in line.integers(line.fields(n, f"{n} atoms")[:n]):
                if not 1 <= atom <= n_atoms:
                    raise line.error(f"atom {atom} in [ {section.directive} ]: there are 1 to {n_atoms}")


def _molecules(sections: list[Section], moltypes: dict[str, MoleculeType]) -> Iterator[tuple[str, int]]:
    """Yield name and count; like grompp, names may differ in case where that is unambiguous."""
    n_atoms = 0
    for line in _lines(sections, "molecules"):
        name, count = line.fields(2, "a molecule type and a count")[:2]
        alike = [name] if name in moltypes else [k for k in moltypes if k.lower() == name.lower()]
        if len(alike) != 1:
            raise line.error(f"unknown molecule type {name!r}; known: {', '.join(moltypes) or 'none'}")
        number = line.integers((count,))[0]
        if number < 0:
            raise line.error(f"negative number of molecules {name!r}")
        n_atoms += number * moltypes[alike[0]].n_atoms
        if n_atoms > MOST_ATOMS:
            raise line.error(f"{number} molecules {name!r}: more than {MOST_ATOMS} atoms in all")
        if number:
            yield alike[0], number


def _molecule_type(sections: list[Section], tables: ForceField) -> MoleculeType:
    if len(sections[0].lines) != 1:
        raise sections[0].header.error("[ moleculetype ] needs one line: name and nrexcl")
    line = sections[0].lines[0]
    name, nrexcl = line.fields(2, "name and nrexcl")[:2]
    graph = _atoms(_lines(sections, "atoms"), tables)
    if not graph:
        raise line.error(f"molecule type {name!r} has no [ atoms ]")
    found = [s for s in sections if s.directive in (PAIRS_NB, *INTERACTIONS)]
    rows = [row for section in found for row in _rows(section, graph, tables)]
    rows = _with_sites(rows, graph)
    for i, j, kind in sorted(_edges(rows), key=lambda edge: _EDGE_RANK.index(edge[2])):
        graph.add_edge(i, j, kind=kind)
    graph.add_edges_from(_struts(rows, graph), kind=STRUT)
    names = [_names(node["name"], node["type"], tables) for node in graph.nodes.values()]
    set_repartitioned(graph, names)
    excluded = _exclusions(_lines(sections, "exclusions"), graph)
    away = line.integers((nrexcl,))[0]
    if not 0 <= away <= MOST_EXCLUDED:
        raise line.error(f"nrexcl of {name!r} is {away}, not within 0 and {MOST_EXCLUDED}")
    return with_barriers(MoleculeType(name, away, graph, _terms(rows), excluded))


def _atoms(lines: list[Line], tables: ForceField) -> nx.Graph:
    """Return the graph's nodes; charge and mass default to those of the atom type."""
    graph = nx.Graph()
    for i, line in enumerate(lines):
        fields = line.fields(6, "nr type resnr residue atom cgnr [charge [mass]]")
        number, type_name, resid, resname, name = fields[:5]
        if number != str(i + 1):
            raise line.error(
                f"atom number {number}, expected {i + 1}: atoms are numbered from 1 without gaps"
            )
        given = line.floats(fields[6:8])
        atom_type = AtomType(type_name, 0, np.nan, np.nan, np.nan, np.nan)
        if tables.nonbonded is not None:
            atom_type = known_type(type_name, line, tables.atomtypes)
        mass = given[1] if len(given) > 1 else atom_type.mass
        charge = given[0] if given else atom_type.charge
        check_particle(mass, charge, line)
        graph.add_node(
            i,
            name=name,
            type=type_name,
            element=element_of(atom_type.number, mass, names=_names(name, type_name, tables)),
            mass=mass,
            charge=charge,
            resid=line.integers((resid.rstrip(ascii_letters),))[0],
            resname=resname,
        )
    return graph


def _names(name: str, type_name: str, tables: ForceField) -> tuple[str, ...]:
    """Return the names that tell the element of an atom: its own and those of its types."""
    known = tables.atomtypes.get(type_name)
    return (name, type_name, known.bonded) if known else (name, type_name)


def _rows(section: Section, graph: nx.Graph, tables: ForceField) -> Iterator[Row]:
    """Yield the interactions of one section, their parameters found."""
    directive = section.directive
    if directive == "virtual_sitesn":
        yield from (_virtual_n(line, graph) for line in section.lines)
        return
    if directive == PAIRS_NB:
        yield from (_pair_nb(line, graph, tables) for line in section.lines)
        return
    n = atoms_of(directive)
    for line in section.lines:
        fields = line.fields(n, f"{n} atoms, a function type and parameters")
        function = line.integers(fields[n : n + 1])[0] if len(fields) > n else 1
        texts = fields[n + 1 :]
        swapped = directive.startswith("virtual") and not texts and function < 0
        form = interaction_of(directive, -function if swapped else function, line)
        atoms = _atom_rows(fields[:n], graph, line)
        if form.edge == "virtual" and form.parameters and not texts:
            yield Row(directive, function, atoms, (), form.edge, line)
            continue
        if texts or form.edge in ("settle", "virtual"):
            found = [inline_parameters(directive, function, texts=texts, line=line, tables=tables)]
        else:
            found = looked_up_parameters(
                directive, function, atoms=atoms, graph=graph, line=line, tables=tables
            )
        if directive == "settles":
            atoms = _atom_rows([str(atoms[0] + k) for k in (1, 2, 3)], graph, line)
        for parameters in found:
            full = _with_table(parameters, (directive, function), line, tables)
            yield Row(directive, function, atoms, full, form.edge)


def _with_sites(rows: list[Row], graph: nx.Graph) -> list[Row]:
    """Work out the parameters of virtual sites that have none in their line."""
    if all(row.line is None for row in rows):
        return rows
    found = [row for row in rows if row.parameters]
    geometry = Geometry(
        {
            frozenset(row.atoms): row.parameters[0]
            for row in found
            if row.directive == "constraints" or INTERACTIONS[row.directive][row.function].convertible
        },
        {
            (row.atoms[1], frozenset((row.atoms[0], row.atoms[2]))): radians(row.parameters[0])
            for row in found
            if row.directive == "angles" and INTERACTIONS["angles"][row.function].angles
        },
        [graph.nodes[i]["type"] for i in graph],
    )
    return [row if row.line is None else _worked_out(row, row.line, geometry) for row in rows]


def _worked_out(row: Row, line: Line, geometry: Geometry) -> Row:
    kind = row.directive, abs(row.function)
    try:
        parameters = site_parameters(kind, row.atoms, geometry, swapped=row.function < 0)
    except (KeyError, ValueError, ZeroDivisionError):
        raise line.error(
            f"{line.text!r}: no parameters in the line, and none follow from the bonds, constraints and "
            "angles of these atoms"
        ) from None
    return replace(row, function=kind[1], parameters=parameters, line=None)


def _with_table(parameters: Parameters, key: tuple[str, int], line: Line, tables: ForceField) -> Parameters:
    """Replace the number of a table by the table, where its file is there: step, k, energies, slopes."""
    if key not in KINDS or len(parameters) != 2:
        return parameters
    path = find_table(tables.folder, KINDS[key], line.integers((f"{parameters[0]:g}",))[0])
    if path is None:
        return parameters
    step, *values = read_table(path, KINDS[key])
    return step, parameters[1], *values


def _atom_rows(texts: Iterable[str], graph: nx.Graph, line: Line) -> tuple[int, ...]:
    """Return 0-based rows of distinct atoms of the molecule."""
    numbers = line.integers(texts)
    n = graph.number_of_nodes()
    if not all(1 <= i <= n for i in numbers):
        raise line.error(f"{line.text!r}: an atom is outside 1-{n}, the atoms of this molecule type")
    if len(set(numbers)) < len(numbers):
        raise line.error(f"{line.text!r} names an atom twice")
    return tuple(i - 1 for i in numbers)


def _virtual_n(line: Line, graph: nx.Graph) -> Row:
    """Read a ``virtual_sitesn``: centre of geometry (1), of mass (2), or weights in the line (3)."""
    site, function_text, *rest = line.fields(3, "site, function type, constructing atoms")
    function = line.integers((function_text,))[0]
    form = interaction_of("virtual_sitesn", function, line)
    step = 2 if function == 3 else 1
    atoms = _atom_rows((site, *rest[::step]), graph, line)
    masses = [graph.nodes[i]["mass"] for i in atoms[1:]]
    weights = line.floats(rest[1::2]) if function == 3 else masses if function == 2 else [1.0] * len(masses)
    if len(weights) != len(masses) or not abs(sum(weights)) > 1e-9 * sum(map(abs, weights)):
        raise line.error(f"{line.text!r}: expected constructing atoms whose weights do not add up to zero")
    return Row("virtual_sitesn", function, atoms, tuple(w / sum(weights) for w in weights), form.edge)


def _pair_nb(line: Line, graph: nx.Graph, tables: ForceField) -> Row:
    """Read a line of ``[ pairs_nb ]`` as one of ``pairs`` 2, whose factor is 1."""
    i, j, function, *texts = line.fields(7, "two atoms, function type 1, two charges and two parameters")
    if function != "1":
        raise line.error(f"function type {function} of [ {PAIRS_NB} ] is not supported; supported: 1")
    parameters = inline_parameters("pairs", 2, texts=["1", *texts], line=line, tables=tables)
    return Row("pairs", 2, _atom_rows((i, j), graph, line), parameters)


def _edges(rows: Iterable[Row]) -> Iterator[tuple[int, int, str]]:
    for row in rows:
        if row.edge:
            yield row.atoms[0], row.atoms[1], row.edge
        if row.edge == "settle":
            yield row.atoms[0], row.atoms[2], row.edge


def _struts(rows: Sequence[Row], graph: nx.Graph) -> list[tuple[int, ...]]:
    """Constraints of function 2 that join what no bond joins: masses that virtual sites are made of."""
    sites = {row.atoms[0] for row in rows if row.edge == "virtual"}
    if not sites:
        return []
    real = nx.subgraph_view(
        graph,
        filter_node=lambda i: i not in sites,
        filter_edge=lambda i, j: graph.edges[i, j]["kind"] not in LINKS,
    )
    part = {i: number for number, atoms in enumerate(nx.connected_components(real)) for i in atoms}
    held = [row.atoms for row in rows if (row.directive, row.function) == ("constraints", 2)]
    return [(i, j) for i, j in held if part.get(i, -1) != part.get(j, -1)]


def _terms(rows: Iterable[Row]) -> tuple[Terms, ...]:
    """Group rows by directive, function and shape, in the order of the file."""
    groups: dict[tuple[str, int, int, int], list[Row]] = {}
    for row in rows:
        if (row.directive, row.function) != ("bonds", 5):
            key = row.directive, row.function, len(row.atoms), len(row.parameters)
            groups.setdefault(key, []).append(row)
    return tuple(_term(group) for group in groups.values())


def _term(rows: list[Row]) -> Terms:
    atoms = np.array([row.atoms for row in rows], np.int64)
    parameters = np.array([row.parameters for row in rows], np.float64).reshape(len(rows), -1)
    if (rows[0].directive, rows[0].function) == ("dihedrals", 5) and parameters.size:
        parameters = np.pad(parameters, ((0, 0), (0, 1)))
    return Terms(rows[0].directive, rows[0].function, atoms, parameters)


def _exclusions(lines: list[Line], graph: nx.Graph) -> IntArray:
    """Return the (k, 2) pairs, i < j, sorted, each once."""
    pairs: set[tuple[int, int]] = set()
    n = graph.number_of_nodes()
    for line in lines:
        numbers = line.integers(line.text.split())
        if not all(1 <= i <= n for i in numbers):
            raise line.error(f"{line.text!r}: an atom is outside 1-{n}, the atoms of this molecule type")
        first, *others = (i - 1 for i in numbers)
        pairs |= {(min(first, j), max(first, j)) for j in others if j != first}
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)

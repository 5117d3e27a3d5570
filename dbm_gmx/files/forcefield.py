"""The tables of a force field in a ``.top``, and how an interaction finds its parameters in them.

Reference: GROMACS manual, "Topology file", table of interaction types; choices the manual leaves
open follow grompp 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.interactions import INTERACTIONS, Interaction, atoms_of
from dbm_gmx.chemistry.topology import HEAVIEST, MOST_CHARGED, NonBonded
from dbm_gmx.errors import InputError
from dbm_gmx.files.preprocess import Line

Parameters = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BondedType:
    """An entry of a table: its place there, its parameters (multiple dihedrals have several), its line."""

    order: int
    parameters: list[Parameters]
    line: Line


BondedTable = dict[tuple[str, ...], BondedType]


TYPES = {"bondtypes": "bonds", "constrainttypes": "constraints", "angletypes": "angles"}
FIELD = {"defaults", "atomtypes", *TYPES, "dihedraltypes", "cmaptypes", "pairtypes", "nonbond_params"}


@dataclass(frozen=True, slots=True)
class AtomType:
    """One line of ``[ atomtypes ]``; ``v``, ``w`` are its two non-bonded parameters as written."""

    bonded: str
    number: int
    mass: float
    charge: float
    v: float
    w: float


@dataclass(frozen=True, slots=True)
class ForceField:
    """The tables of a force field.

    ``bonded`` is keyed by directive and function, its tables by bonded types in both directions;
    a value is its place in the file and its parameters, several only for multiple dihedrals.
    ``[ cmaptypes ]`` are among them, in one direction, with the energies on their grid.
    Without ``nonbonded`` the file has molecule types only and nothing can be looked up.  ``row``
    is the row of an atom type in ``nonbonded``, ``folder`` where tables are looked for.
    """

    atomtypes: dict[str, AtomType]
    bonded: dict[tuple[str, int], BondedTable]
    pairs: dict[tuple[str, str], Parameters] = field(default_factory=dict)
    nonbonded: NonBonded | None = None
    row: dict[str, int] = field(default_factory=dict)
    folder: Path = Path()


def force_field(lines: Mapping[str, list[Line]], folder: Path) -> ForceField:
    """Make the tables from the lines of each directive in :data:`FIELD`, and the folder of the file."""
    atomtypes = _atom_types(lines["atomtypes"])
    bonded: dict[tuple[str, int], BondedTable] = {}
    for name, directive in TYPES.items():
        for line in lines[name]:
            _add_bonded_type(line, directive, bonded)
    _add_dihedral_types(lines["dihedraltypes"], bonded)
    bonded["cmap", 1] = _maps(lines["cmaptypes"])
    if not lines["defaults"]:
        if lines["atomtypes"]:
            raise lines["atomtypes"][0].error("[ atomtypes ] without [ defaults ]")
        return ForceField(atomtypes, bonded, folder=folder)
    rule, generate, fudge_lj, fudge_qq = _defaults(lines["defaults"])
    for line in lines["atomtypes"]:
        _, one = _atom_type(line)
        _c6_c12(one.v, one.w, rule=rule, line=line)  # refuses what is out of range
    pairs: dict[tuple[str, str], Parameters] = {}
    for (first, second), values in _type_pairs(lines["pairtypes"], atomtypes, rule=rule).items():
        pairs[first, second] = pairs[second, first] = values
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused
        c6, c12 = _matrices(atomtypes, _type_pairs(lines["nonbond_params"], atomtypes, rule=rule), rule=rule)
    nonbonded = NonBonded(tuple(atomtypes), c6, c12, rule, generate, fudge_lj, fudge_qq)
    _check_matrices(nonbonded, lines["defaults"][0])
    row = {name: i for i, name in enumerate(atomtypes)}
    return ForceField(atomtypes, bonded, pairs, nonbonded, row, folder)


def _defaults(lines: list[Line]) -> tuple[int, bool, float, float]:
    """Return combination rule, whether pairs are generated, fudgeLJ, fudgeQQ."""
    line, *more = lines
    if more:
        raise more[0].error(f"second [ defaults ]; the first is {line.path}:{line.number}")
    nbfunc, rule, *rest = line.fields(2, "nbfunc comb-rule [gen-pairs fudgeLJ fudgeQQ]")
    if nbfunc == "2":
        raise line.error("nbfunc 2 (Buckingham) is not supported, nor by mdrun; supported: 1 (Lennard-Jones)")
    if nbfunc != "1":
        raise line.error(f"nbfunc {nbfunc} is not supported; supported: 1 (Lennard-Jones)")
    if rule not in ("1", "2", "3"):
        raise line.error(f"combination rule {rule} is unknown; known: 1, 2, 3")
    fudges = line.floats(rest[1:3])
    generate = bool(rest) and rest[0].lower().startswith("y")
    return int(rule), generate, fudges[0] if fudges else 1.0, fudges[1] if len(fudges) > 1 else 1.0


def _atom_types(lines: list[Line]) -> dict[str, AtomType]:
    found: dict[str, AtomType] = {}
    where: dict[str, Line] = {}
    for line in lines:
        name, atom_type = _atom_type(line)
        if found.setdefault(name, atom_type) != atom_type:
            raise _defined_twice(f"atom type {name}", line, where[name])
        where.setdefault(name, line)
    return found


def _defined_twice(what: str, line: Line, first: Line) -> InputError:
    """Return the error for a type that has other values than before; grompp stops there, too."""
    return line.error(
        f"{what} is defined again with other values, {line.text!r}; the first time is {first.path}:"
        f"{first.number}, {first.text!r}. Keep one of them"
    )


def _atom_type(line: Line) -> tuple[str, AtomType]:
    """Read one of the four layouts, told apart as grompp does: by where the particle type stands."""
    layout = "name [bonded-type] [atomic-number] mass charge ptype V W"
    fields = line.fields(6, layout)
    if len(fields[5]) == 1 and fields[5].isalpha():
        bonded, number, start = fields[1], fields[2], 3
    elif len(fields[3]) == 1 and fields[3].isalpha():
        bonded, number, start = fields[0], "0", 1
    elif fields[1][0].isalpha():
        bonded, number, start = fields[1], "0", 2
    else:
        bonded, number, start = fields[0], fields[1], 2
    values = (*fields[start : start + 2], *fields[start + 3 : start + 5])
    ptype = fields[start + 2].upper()
    if len(values) != 4 or ptype not in ("A", "V", "D"):
        raise line.error(f"{line.text!r}: expected {layout} with ptype A, V or D")
    mass, charge, v, w = line.floats(values)
    check_particle(mass, charge, line)
    return fields[0], AtomType(bonded, line.integers((number,))[0], mass, charge, v, w)


LARGEST_SIGMA = 1000.0
"""nm."""


def check_particle(mass: float, charge: float, line: Line) -> None:
    """Refuse a mass or a charge of no atom or bead; a mass that is not known is nan."""
    if mass < 0 or mass > HEAVIEST:
        raise line.error(f"{line.text!r}: a mass of {mass:g} amu, not within 0 and {HEAVIEST:g}")
    if abs(charge) > MOST_CHARGED:
        raise line.error(f"{line.text!r}: a charge of {charge:g} e, more than {MOST_CHARGED:g}")


def _add_bonded_type(line: Line, directive: str, bonded: dict[tuple[str, int], BondedTable]) -> None:
    """Add a bond, constraint or angle type."""
    n = atoms_of(directive)
    fields = line.fields(n + 1, f"{n} types, a function type and parameters")
    function = line.integers(fields[n : n + 1])[0]
    parameters = _state_a(fields[n + 1 :], interaction_of(directive, function, line), line)
    names = tuple(fields[:n])
    table = bonded.setdefault((directive, function), {})
    known = table.setdefault(names, BondedType(len(table), [parameters], line))
    if known.parameters != [parameters]:
        raise _defined_twice(f"{directive[:-1]} type {' '.join(names)}", line, known.line)
    table.setdefault(names[::-1], known)


def _add_dihedral_types(lines: list[Line], bonded: dict[tuple[str, int], BondedTable]) -> None:
    """Add dihedral types.

    Consecutive lines of function 9 for the same types add up; a second block of them with other values is
    refused, as grompp does, and so is a second line of another function.
    """
    previous: tuple[tuple[str, ...], int] | None = None
    for line in lines:
        names, function, texts = _dihedral_type(line)
        parameters = _state_a(texts, interaction_of("dihedrals", function, line), line)
        # functions 1 and 9 are the same interaction and share one table in grompp
        table = bonded.setdefault(("dihedrals", 1 if function == 9 else function), {})
        known = table.get(names)
        if known is None:
            table[names] = table[names[::-1]] = BondedType(len(table), [parameters], line)
        elif (function, previous) == (9, (names, 9)):
            known.parameters.append(parameters)
        elif known.parameters != [parameters]:
            hint = " (lines of dihedrals 9 stand together)" if function == 9 else ""
            raise _defined_twice(f"dihedral type {' '.join(names)}{hint}", line, known.line)
        else:  # the same again: what follows adds nothing to it
            previous = None
            continue
        previous = names, function


def _dihedral_type(line: Line) -> tuple[tuple[str, ...], int, list[str]]:
    """Read types, function and parameters; two types are the inner ones, or the outer of function 2."""
    fields = line.fields(3, "two or four types, a function type and parameters")
    n = 2 if fields[2].isdigit() else 4
    function = line.integers(line.fields(n + 1, "a function type after four types")[n : n + 1])[0]
    names = tuple(fields[:n])
    if n == 2:
        a, b = names
        names = (a, "X", "X", b) if function == 2 else ("X", a, b, "X")
    return names, function, fields[n + 1 :]


def _maps(lines: list[Line]) -> BondedTable:
    """Energies on the grids of ``[ cmaptypes ]``, whose types are read in one direction only (grompp)."""
    table: BondedTable = {}
    for line in lines:
        fields = line.fields(8, "five types, function type 1, two sizes of the grid and its energies")
        function, rows, columns = line.integers(fields[5:8])
        if function != 1 or rows != columns or rows < 2:
            raise line.error(
                f"function type {function}, grid of {rows} x {columns}; supported: 1, as many rows as columns"
            )
        values = line.floats(fields[8:])
        if len(values) != rows * columns:
            raise line.error(
                f"found {len(values)} energies, expected {rows} x {columns} (lines go on after a \\)"
            )
        # the first of several is taken
        table.setdefault(tuple(fields[:5]), BondedType(len(table), [values], line))
    return table


def _state_a(texts: list[str], form: Interaction, line: Line) -> Parameters:
    """Return the parameters of state A; those of state B may follow.

    Of a product, as in elastic networks of Martini 2 (``RUBBER_FC*0.8``), grompp takes the first number, and
    reads no further.
    """
    texts = " ".join(texts).partition("*")[0].split()
    n, values = form.parameters, line.floats(texts)
    if len(texts) not in (n, 2 * n):
        raise line.error(
            f"{line.text!r}: found {len(texts)} parameters, expected {n} (or {2 * n} with state B)"
        )
    numbers = values[:n]
    for column, (number, (least, most)) in enumerate(zip(numbers, form.ranges, strict=False), 1):
        if not least <= number <= most:
            raise line.error(
                f"{line.text!r}: parameter {column} is {number:g}, not within {least:g} and {most:g}"
            )
    return numbers


def _type_pairs(
    lines: list[Line], atomtypes: dict[str, AtomType], *, rule: int
) -> dict[tuple[str, str], Parameters]:
    """Return c6 and c12 of pairs of types, each pair in the one order in which it is given."""
    found: dict[tuple[str, str], tuple[Parameters, Line]] = {}
    for line in lines:
        first, second, values = _type_pair(line, atomtypes)
        key = (second, first) if (second, first) in found else (first, second)
        known, where = found.setdefault(key, (values, line))
        if known != values:
            raise _defined_twice(f"the pair of types {first} {second}", line, where)
    return {key: _c6_c12(*values, rule=rule, line=line) for key, (values, line) in found.items()}


def _type_pair(line: Line, atomtypes: dict[str, AtomType]) -> tuple[str, str, Parameters]:
    first, second, function, *texts = line.fields(5, "two types, function type 1 and two parameters")
    if function != "1":
        raise line.error(f"function type {function} is not supported; supported: 1 (Lennard-Jones)")
    for name in (first, second):
        known_type(name, line, atomtypes)
    return first, second, _state_a(texts, INTERACTIONS["pairs"][1], line)


def known_type(name: str, line: Line, atomtypes: dict[str, AtomType]) -> AtomType:
    """Return the atom type a line names."""
    atom_type = atomtypes.get(name)
    if atom_type is None:
        known = list(atomtypes)
        shown = ", ".join(known[:30]) + (f", ... ({len(known)} in all)" if len(known) > 30 else "")
        raise line.error(f"atom type {name!r} is not in [ atomtypes ]; known: {shown or 'none'}")
    return atom_type


def _c6_c12(v: float, w: float, *, rule: int, line: Line) -> Parameters:
    """Turn parameters as written into c6, c12; a negative sigma means no c6 (grompp)."""
    if rule == 1:
        return v, w
    if abs(v) > LARGEST_SIGMA:
        raise line.error(f"{line.text!r}: a sigma of {v:g} nm, more than {LARGEST_SIGMA:g}")
    return 4 * w * v**6 if v >= 0 else 0.0, 4 * w * v**12


def _matrices(
    atomtypes: dict[str, AtomType], overrides: dict[tuple[str, str], Parameters], *, rule: int
) -> tuple[FloatArray, FloatArray]:
    """Return (t, t) c6 and c12 (GROMACS manual, "Non-bonded interactions: combination rules")."""
    v = np.array([t.v for t in atomtypes.values()], np.float64)
    w = np.array([t.w for t in atomtypes.values()], np.float64)
    second = np.sqrt(np.outer(w, w))
    if rule == 1:
        c6, c12 = np.sqrt(np.outer(v, v)), second
    else:
        size = np.abs(v)
        sigma = np.add.outer(size, size) / 2 if rule == 2 else np.sqrt(np.outer(size, size))
        attractive = (v >= 0)[:, None] & (v >= 0)[None, :]
        c6, c12 = np.where(attractive, 4 * second * sigma**6, 0.0), 4 * second * sigma**12
    row = {name: i for i, name in enumerate(atomtypes)}
    for (first, other), values in overrides.items():
        i, j = row[first], row[other]
        c6[i, j], c12[i, j] = c6[j, i], c12[j, i] = values
    return c6, c12


def _check_matrices(nonbonded: NonBonded, line: Line) -> None:
    """Refuse parameters of two types that no energy comes of, as those of negative ones."""
    wrong = np.argwhere(~(np.isfinite(nonbonded.c6) & np.isfinite(nonbonded.c12)))
    if len(wrong):
        i, j = wrong[0]
        raise line.error(
            f"the parameters of atom types {nonbonded.types[i]} and {nonbonded.types[j]} make no finite C6 "
            "and C12"
        )


def interaction_of(directive: str, function: int, line: Line) -> Interaction:
    """Return how an interaction is written, or refuse its function type."""
    known_here = INTERACTIONS[directive]
    if function not in known_here:
        known = ", ".join(map(str, known_here))
        raise line.error(f"function type {function} of [ {directive} ] is not supported; supported: {known}")
    return known_here[function]


def inline_parameters(
    directive: str, function: int, *, texts: list[str], line: Line, tables: ForceField
) -> Parameters:
    """Return the parameters in the line; Lennard-Jones ones as c6, c12."""
    form = INTERACTIONS[directive][function]
    parameters = _state_a(texts, form, line)
    if directive != "pairs":
        return parameters
    if tables.nonbonded is None:  # the combination rule is not known
        return ()
    return *parameters[:-2], *_c6_c12(*parameters[-2:], rule=tables.nonbonded.rule, line=line)


def looked_up_parameters(
    directive: str,
    function: int,
    *,
    atoms: tuple[int, ...],
    graph: nx.Graph,
    line: Line,
    tables: ForceField,
) -> list[Parameters]:
    """Return the parameters of an interaction (several for multiple dihedrals) by the types of its atoms."""
    if tables.nonbonded is None or (
        INTERACTIONS[directive][function].parameters == 0 and directive != "cmap"
    ):
        return [()]
    types = tuple(graph.nodes[i]["type"] for i in atoms)
    if directive == "pairs":
        bonded, found = types, _pair(types, tables) if function == 1 else []
    else:
        bonded = tuple(tables.atomtypes[t].bonded for t in types)
        table = tables.bonded.get(
            (directive, 1 if (directive, function) == ("dihedrals", 9) else function), {}
        )
        known = _dihedral(bonded, table) if directive == "dihedrals" else table.get(bonded)
        found = [] if known is None else known.parameters
    if not found:
        names = ", ".join(f"{i + 1} ({graph.nodes[i]['name']})" for i in atoms)
        raise line.error(
            f"no parameters for [ {directive} ] function {function} between atoms {names} of types "
            f"{' '.join(bonded)}: neither in the line nor in [ {directive.removesuffix('s')}types ]"
        )
    return found


def _dihedral(types: tuple[str, ...], table: BondedTable) -> BondedType | None:
    """Return the best match: fewest wildcards, then first in the file (grompp 2022)."""
    for wildcards in range(5):
        patterns = (
            tuple("X" if i in hidden else name for i, name in enumerate(types))
            for hidden in combinations(range(4), wildcards)
        )
        if found := [table[pattern] for pattern in patterns if pattern in table]:
            return min(found, key=lambda entry: entry.order)
    return None


def _pair(types: tuple[str, ...], tables: ForceField) -> list[Parameters]:
    """Return c6, c12 of a 1-4 pair from ``[ pairtypes ]``, else generated if the defaults say so."""
    first, second = types
    if (first, second) in tables.pairs:
        return [tables.pairs[first, second]]
    lj = tables.nonbonded
    if lj is None or not lj.generate_pairs:
        return []
    i, j = tables.row[first], tables.row[second]
    return [(lj.fudge_lj * float(lj.c6[i, j]), lj.fudge_lj * float(lj.c12[i, j]))]

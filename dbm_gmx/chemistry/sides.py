"""What is matched: molecules of beads and of atoms in two lists, and what names say of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, IntArray
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import centre_mapping
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks
from dbm_gmx.chemistry.units_of_beads import Parts, name_of_parts, parse_parts, unite_parts
from dbm_gmx.errors import InputError
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import Matching

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Alike:
    """Molecules that are matched alike.

    Attributes
    ----------
    bead_types
        Molecule types of their beads: one, or several that are one molecule of atoms.
    moltype, mapping
        The atoms, and their mapping.
    beads
        (count, m) rows of the beads among those of the coarse-grained system.
    molecules
        (count, g) numbers of the molecules of atoms; several where they are one unit.
    whole
        Whether these are all beads of their molecules.
    """

    bead_types: tuple[str, ...]
    moltype: MoleculeType
    mapping: BeadMapping
    beads: IntArray
    molecules: IntArray
    whole: bool = True


@dataclass(frozen=True)
class Run:
    """Molecules of one type that follow each other, by their numbers in the system."""

    name: str
    molecules: IntArray


@dataclass(frozen=True)
class Sides:
    """What is left of both lists."""

    beads: list[Run]
    atoms: list[Run]


@dataclass(frozen=True, eq=False)
class Known:
    """Both systems and what is said of them.

    Attributes
    ----------
    cg, aa, matching
        As given.
    mappings
        By molecule type of atoms.
    units
        By molecule type of beads: the mappings of several molecules as one, and what these are.
    claims
        By molecule type of beads: the molecule types of atoms that names say it is.
    first_bead
        Of each molecule of beads.
    """

    cg: Topology
    aa: Topology
    matching: Matching
    mappings: Mapping[str, Sequence[BeadMapping]]
    units: Mapping[str, tuple[Parts, BeadMapping]]
    claims: Mapping[str, frozenset[str]]
    first_bead: IntArray


def make_known(cg: Topology, aa: Topology, mappings: Mapping[str, BeadMapping], matching: Matching) -> Known:
    """Sort mappings by what they are of, and gather what names say."""
    aliases = {name: parse_parts(text) for name, text in matching.aliases}
    present = {name for name, count in cg.molecules if count}, {name for name, count in aa.molecules if count}
    _check_aliases(aliases, *present)
    plain: dict[str, list[BeadMapping]] = defaultdict(list)
    units: dict[str, tuple[Parts, BeadMapping]] = {}
    for mapping in mappings.values():
        if not mapping.parts:
            plain[mapping.molecule].append(mapping)
        elif {name for name, _ in mapping.parts} <= present[1]:
            for name in {mapping.cg_molecule, *(n for n, parts in aliases.items() if parts == mapping.parts)}:
                units[name] = mapping.parts, mapping
    for name, parts in aliases.items():
        if sum(count for _, count in parts) > 1:
            units.setdefault(name, (parts, _unit_of_one_bead(cg.molecule_types[name], parts, aa)))
        elif not plain[parts[0][0]] and (bead := _only_bead(cg.molecule_types[name])):
            plain[parts[0][0]].append(centre_mapping(aa.molecule_types[parts[0][0]], name=bead))
    for name in present[1]:
        if not plain[name] and aa.molecule_types[name].n_atoms == 1:
            plain[name].append(centre_mapping(aa.molecule_types[name]))
    claims = {}
    for name in present[0]:
        said = {a for a in present[1] if a == name or name in {m.cg_molecule for m in plain[a]}}
        of = aliases.get(name) or (units[name][0] if name in units else ())
        claims[name] = frozenset(n for n, _ in of) if of else frozenset(said)
    starts = [first + moltype.n_atoms * np.arange(count) for moltype, first, count in blocks(cg)]
    return Known(cg, aa, matching, plain, units, claims, np.concatenate([np.zeros(0, np.int64), *starts]))


def _check_aliases(aliases: Mapping[str, Parts], beads: set[str], atoms: set[str]) -> None:
    for name, parts in aliases.items():
        for found, known, what in [(name, beads, "beads"), *((part, atoms, "atoms") for part, _ in parts)]:
            if found not in known:
                raise InputError(
                    f"--alias {name}='{name_of_parts(parts)}': no molecules of {what} are {found}; there are "
                    f"{', '.join(sorted(known))}"
                )


def _unit_of_one_bead(cg: MoleculeType, parts: Parts, aa: Topology) -> BeadMapping:
    """Several molecules with their centre of mass as the only bead."""
    bead = _only_bead(cg)
    if not bead:
        raise InputError(
            f"--alias {cg.name}='{name_of_parts(parts)}': {cg.name} has {int(real_beads(cg).sum())} beads; "
            f"several molecules on them need a mapping with <ident>{name_of_parts(parts)}</ident>"
        )
    mapping = centre_mapping(unite_parts(parts, aa.molecule_types), name=bead)
    return replace(mapping, parts=parts, cg_molecule=cg.name)


def _only_bead(cg: MoleculeType) -> str:
    """Name of the bead of molecules that have one; of several that without charge (polarizable water)."""
    real = np.flatnonzero(real_beads(cg))
    if len(real) > 1:
        real = np.array([i for i in real if not cg.graph.nodes[int(i)]["charge"]])
    return cg.names[int(real[0])] if len(real) == 1 else ""


@lru_cache(maxsize=256)
def real_beads(cg: MoleculeType) -> BoolArray:
    """(n,) which beads are no virtual sites."""
    sites = {
        int(row[0])
        for terms in cg.terms
        if terms.directive.startswith("virtual_sites")
        for row in terms.atoms
    }
    for i, j, how in cg.graph.edges(data="kind"):
        # a .tpr says which bonds are of sites, and these have no mass
        sites |= {k for k in (i, j) if how == "virtual" and not cg.graph.nodes[k].get("mass")}
    return np.array([i not in sites for i in range(cg.n_atoms)], bool)


def kept_sides(known: Known) -> tuple[list[Run], list[Run]]:
    """Both lists without what is left out."""
    beads, atoms = _runs(known.cg), _runs(known.aa)
    here, there = {run.name for run in beads}, {run.name for run in atoms}
    only, out = set(known.matching.only), set(known.matching.leave_out)
    for option, names in (("--only", only), ("--leave-out", out)):
        if strange := sorted(names - here - there):
            raise InputError(
                f"{option} {strange[0]}: no such molecule type; beads are {', '.join(sorted(here))}, atoms "
                f"{', '.join(sorted(there))}"
            )
    claims = known.claims
    if only:
        left = {n for n in here if n not in only and not claims[n] & only}
    else:
        left = {n for n in here if n in out or (claims[n] and claims[n] <= out)}
    used = frozenset[str]().union(*(claims[n] for n in here - left))
    gone = frozenset[str]().union(*(claims[n] for n in left)) - used
    gone = frozenset((there - used - only if only else gone) | (out & there))
    kept = [run for run in beads if run.name not in left], [run for run in atoms if run.name not in gone]
    for what, runs in zip(("beads", "atoms"), kept, strict=True):
        if not runs:
            raise InputError(f"no {what} are left: --only and --leave-out take names of beads and of atoms")
    _say_left(left, gone)
    return kept


def _say_left(beads: Iterable[str], atoms: Iterable[str]) -> None:
    said = [
        f"{what} of {', '.join(sorted(names))}"
        for what, names in (("beads", beads), ("atoms", atoms))
        if names
    ]
    if said:
        log.log(NOTICE, "left out: %s", "; ".join(said))


def _runs(topology: Topology) -> list[Run]:
    """Runs of molecules, those of none left out."""
    found: list[Run] = []
    first = 0
    for name, count in topology.molecules:
        numbers = np.arange(first, first + count)
        first += count
        if found and found[-1].name == name:
            numbers = np.concatenate([found.pop().molecules, numbers])
        if len(numbers):
            found.append(Run(name, numbers))
    return found


def rows_of(cg: MoleculeType, mapping: BeadMapping) -> IntArray | None:
    """Beads of a molecule that a mapping has, in order; it may lack virtual sites."""
    n, real = len(mapping.names), real_beads(cg)
    if cg.n_atoms == n:
        return np.arange(n)
    if real.sum() == n:
        return np.flatnonzero(real)
    taken = list[int]()
    for i, name in enumerate(cg.names):
        # polarizable water has beads of charges only, which several molecules together do not have
        needed = real[i] and not mapping.parts
        if needed or (len(taken) < n and name == mapping.names[len(taken)]):
            taken.append(i)
    return np.array(taken, np.int64) if len(taken) == n else None


def take(runs: list[Run], name: str, count: int) -> IntArray:
    """The first molecules of a type, which leave the list; as many as there are."""
    taken = np.zeros(0, np.int64)
    for k, run in enumerate(runs):
        if run.name == name:
            here = count - len(taken)
            taken = np.concatenate([taken, run.molecules[:here]])
            runs[k] = Run(name, run.molecules[here:])
    runs[:] = [run for run in runs if len(run.molecules)]
    return taken


def by_name(known: Known, beads: Sequence[Run], atoms: Sequence[Run]) -> list[Run]:
    """The beads in the order of the atoms that they are by name; what has no name stays at the end."""
    left, found = [*beads], list[Run]()
    for run in atoms:
        missing = len(run.molecules)
        for name in dict.fromkeys(r.name for r in beads if run.name in known.claims[r.name]):
            taken = take(left, name, missing)
            missing -= len(taken)
            found += [Run(name, taken)] if len(taken) else []
    return [*found, *left]

"""Molecules of beads matched with molecules of atoms, by what fits.

Names decide where they say something: equal ones, those in a mapping, aliases.  Where they say nothing,
molecules are taken in the order of both lists, if numbers and names of beads leave one way.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.mismatch import ambiguous, misfit, problems, refusal
from dbm_gmx.chemistry.names import Named, check_molecule_names, order_of
from dbm_gmx.chemistry.sides import (
    Alike,
    Known,
    Run,
    Sides,
    by_name,
    kept_sides,
    make_known,
    real_beads,
    rows_of,
    take,
)
from dbm_gmx.chemistry.topology import MoleculeType, Terms, Topology, blocks
from dbm_gmx.chemistry.units_of_beads import unite_parts
from dbm_gmx.errors import InputError
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import Matching

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pairing:
    """Beads and atoms side by side.

    Attributes
    ----------
    topology
        The atoms that are rebuilt; several molecules that have a bead in common are one molecule.
    written
        The same atoms, as the molecules that a topology lists.
    mappings
        By molecule type of ``topology``.
    matches
        Runs of equal molecules, in the order of the atoms and of ``beads``.
    beads
        (m,) rows of the beads among those of the coarse-grained system.
    alike
        What was matched with what.
    """

    topology: Topology
    written: Topology
    mappings: dict[str, BeadMapping]
    matches: tuple[Match, ...]
    beads: IntArray
    alike: tuple[Alike, ...]


def match_beads(
    cg: Topology, aa: Topology, mappings: Mapping[str, BeadMapping], matching: Matching | None = None
) -> Pairing:
    """Find the beads of each molecule of atoms.

    Names of beads that differ are warned of, once for each molecule type.

    Parameters
    ----------
    cg, aa
        The topologies.
    mappings
        All there are; several may be of one molecule type of atoms.
    matching
        What a user says of it.

    Raises
    ------
    InputError
        With both lists side by side, and everything that does not fit; or beads in another order.
    """
    known = make_known(cg, aa, mappings, matching or Matching())
    beads, atoms = kept_sides(known)
    listed = (
        [(run.name, len(run.molecules)) for run in beads],
        [(run.name, len(run.molecules)) for run in atoms],
    )
    found, short = _units(known, beads, atoms)
    if known.matching.reorder:
        beads = by_name(known, beads, atoms)
    rest = Sides([*beads], [*atoms])
    names = frozenset(run.name for run in beads), frozenset(run.name for run in atoms)
    while rest.beads and rest.atoms and (step := _step(known, rest, names)):
        found += step
    if short or rest.beads or rest.atoms:
        raise refusal(known, *listed, [*short, *problems(known, beads, atoms)])
    if doubts := ambiguous(known, found):
        raise refusal(known, *listed, doubts)
    _say(known, found)
    found = _in_order_of_names(known, found)
    return _pairing(known, sorted(found, key=lambda alike: int(alike.molecules.min())))


# --- several molecules that are one bead -----------------------------------------------------------------


def _units(known: Known, beads: list[Run], atoms: list[Run]) -> tuple[list[Alike], list[str]]:
    """Take molecules of atoms for those beads that stand for several; both lists get shorter.

    Returns
    -------
    What was matched, and what was missing.
    """
    found, short = list[Alike](), list[str]()
    for run in [run for run in beads if run.name in known.units]:
        parts, mapping = known.units[run.name]
        moltype = unite_parts(parts, known.aa.molecule_types)
        taken = []
        for name, each in parts:
            numbers = take(atoms, name, each * len(run.molecules))
            if len(numbers) < each * len(run.molecules):
                short.append(
                    f"{run.name} ({len(run.molecules)}): {each * len(run.molecules)} molecules {name} are "
                    f"needed, {each} a bead; {len(numbers)} are there"
                )
                break
            taken.append(numbers.reshape(-1, each))
        rows = rows_of(known.cg.molecule_types[run.name], mapping)
        if rows is None:
            short.append(misfit(known.cg.molecule_types[run.name], mapping))
        elif len(taken) == len(parts):
            where = known.first_bead[run.molecules][:, None] + rows
            found.append(Alike((run.name,), moltype, mapping, where, np.concatenate(taken, axis=1)))
        beads.remove(run)
    return found, short


# --- in the order of both lists --------------------------------------------------------------------------


def _step(known: Known, sides: Sides, names: tuple[frozenset[str], frozenset[str]]) -> list[Alike]:
    """Match the first molecules of both lists, which get shorter; nothing if these do not fit."""
    bead, atom = sides.beads[0], sides.atoms[0]
    cg = known.cg.molecule_types[bead.name]
    if _may_be(known, {bead.name}, {atom.name}, names):
        for mapping in _preferred(known.mappings[atom.name], bead.name):
            rows = rows_of(cg, mapping)
            if rows is not None:
                count = min(len(bead.molecules), len(atom.molecules))
                where = known.first_bead[_first(sides.beads, count)][:, None] + rows
                moltype = _type_of(known, mapping)
                return [Alike((bead.name,), moltype, mapping, where, _first(sides.atoms, count)[:, None])]
    return _divided(known, sides, names) or _merged(known, sides, names)


def _may_be(
    known: Known, beads: set[str], atoms: set[str], names: tuple[frozenset[str], frozenset[str]]
) -> bool:
    """Whether no name says that some beads or some atoms are something else."""
    of_beads = all(not known.claims[b] & names[1] or known.claims[b] & atoms for b in beads)
    claiming = [{b for b in names[0] if a in known.claims[b]} for a in atoms]
    return of_beads and all(not by or by & beads for by in claiming)


def _preferred(mappings: Iterable[BeadMapping], bead_type: str) -> list[BeadMapping]:
    """Mappings, those of a molecule type of beads first."""
    return sorted(mappings, key=lambda m: m.cg_molecule != bead_type)


def _type_of(known: Known, mapping: BeadMapping) -> MoleculeType:
    """The molecule type of a mapping; with a name of its own if it has several mappings."""
    moltype = known.aa.molecule_types[mapping.molecule]
    number = known.mappings[mapping.molecule].index(mapping)
    return moltype if number == 0 else replace(moltype, name=f"{moltype.name} ({mapping.cg_molecule})")


def _first(runs: list[Run], count: int) -> IntArray:
    """The first molecules of the first run, which leave the list."""
    run = runs.pop(0)
    if count < len(run.molecules):
        runs.insert(0, Run(run.name, run.molecules[count:]))
    return run.molecules[:count]


def _divided(known: Known, sides: Sides, names: tuple[frozenset[str], frozenset[str]]) -> list[Alike]:
    """One molecule of beads that is several of atoms."""
    cg = known.cg.molecule_types[sides.beads[0].name]
    for rows in (np.arange(cg.n_atoms), np.flatnonzero(real_beads(cg))):
        types = _head(sides.atoms, known, len(rows))
        if types is None or not _may_be(known, {cg.name}, set(types), names):
            continue
        where = known.first_bead[_first(sides.beads, 1)][0] + rows
        found, first = [], 0
        for name in types:
            mapping = known.mappings[name][0]
            here = where[None, first : first + len(mapping.names)]
            first += len(mapping.names)
            moltype, molecule = known.aa.molecule_types[name], _first(sides.atoms, 1)[:, None]
            found.append(Alike((cg.name,), moltype, mapping, here, molecule, whole=False))
        return found
    return []


def _head(runs: Sequence[Run], known: Known, beads: int) -> list[str] | None:
    """Types of the first molecules of atoms that have so many beads together, two or more of them."""
    types, total = list[str](), 0
    for run in runs:
        if len(known.mappings[run.name]) != 1:
            return None
        size = len(known.mappings[run.name][0].names)
        for _ in range(len(run.molecules)):
            types.append(run.name)
            total += size
            if total >= beads:
                return types if total == beads and len(types) > 1 else None
    return None


def _merged(known: Known, sides: Sides, names: tuple[frozenset[str], frozenset[str]]) -> list[Alike]:
    """One molecule of atoms that is several of beads."""
    atom = sides.atoms[0].name
    for mapping in known.mappings[atom]:
        types, total = list[str](), 0
        for name in (run.name for run in sides.beads for _ in run.molecules):
            if total >= len(mapping.names):
                break
            types.append(name)
            total += int(real_beads(known.cg.molecule_types[name]).sum())
        if total != len(mapping.names) or not _may_be(known, set(types), {atom}, names):
            continue
        kept = [np.flatnonzero(real_beads(known.cg.molecule_types[name])) for name in types]
        where = [known.first_bead[_first(sides.beads, 1)][0] + rows for rows in kept]
        molecule = _first(sides.atoms, 1)[:, None]
        moltype = _type_of(known, mapping)
        return [Alike(tuple(types), moltype, mapping, np.concatenate(where)[None], molecule, whole=False)]
    return []


# --- what is said of it ----------------------------------------------------------------------------------


def _say(known: Known, found: Sequence[Alike]) -> None:
    """Say which molecules are taken in the order of the lists, and which beads are left out."""
    pairs: Counter[tuple[tuple[str, ...], str]] = Counter()
    for alike in found:
        pairs[alike.bead_types, alike.mapping.molecule] += len(alike.beads)
    several = Counter(beads for beads, _ in pairs)
    said = [
        f"{' + '.join(beads)} = {atoms} ({count})"
        for (beads, atoms), count in pairs.items()
        if several[beads] > 1 or len(beads) > 1 or not _is_named(known, beads[0], atoms)
    ]
    if said:
        log.log(NOTICE, "molecules are taken in the order of [ molecules ]: %s", ", ".join(said))
    for alike in {alike.bead_types: alike for alike in found if alike.whole}.values():
        left = known.cg.molecule_types[alike.bead_types[0]].n_atoms - len(alike.mapping.names)
        if left:
            log.log(NOTICE, "%s: %d virtual sites carry no atoms and are left out", alike.bead_types[0], left)


def _is_named(known: Known, bead_type: str, atoms: str) -> bool:
    """Whether a name says that beads are these atoms."""
    return bead_type in known.units or atoms in known.claims[bead_type]


def _in_order_of_names(known: Known, found: Sequence[Alike]) -> list[Alike]:
    """Compare names of beads with those of the mappings; put them in their order where that is wanted.

    Raises
    ------
    InputError
        Another order, where that is not wanted.
    """
    orders: dict[tuple[int, tuple[str, ...], int], IntArray | None] = {}
    changed = []
    for alike in found:
        key = id(alike.mapping), alike.bead_types, -1 if alike.whole else int(alike.beads[0, 0])
        if key not in orders:
            orders[key] = _order_of_beads(known, alike)
        order = orders[key]
        changed.append(alike if order is None else replace(alike, beads=alike.beads[:, order]))
    return changed


def _order_of_beads(known: Known, alike: Alike) -> IntArray | None:
    names = _names_at(known, alike.beads[0])
    order = order_of(names, alike.mapping.names)
    if order is not None and known.matching.reorder:
        log.log(NOTICE, "beads of %s are taken in the order of the mapping", " + ".join(alike.bead_types))
        return order
    if len(names) == 1 and names[0].strip("+-") == alike.mapping.names[0].strip("+-"):
        return None  # an ion with its sign
    graph = nx.Graph()
    graph.add_nodes_from((i, {"name": name}) for i, name in enumerate(names))
    named = Named(alike.mapping.names, f"the mapping of {alike.mapping.molecule}", what="beads")
    check_molecule_names(MoleculeType(alike.bead_types[0], 0, graph), named, "the CG topology")
    return None


def _names_at(known: Known, rows: IntArray) -> list[str]:
    """Names of some beads of the system."""
    found = []
    for row in rows.tolist():
        molecule = int(np.searchsorted(known.first_bead, row, side="right")) - 1
        found.append((molecule, row - int(known.first_bead[molecule])))
    types = np.repeat([n for n, _ in known.cg.molecules], [count for _, count in known.cg.molecules])
    return [str(known.cg.molecule_types[str(types[k])].graph.nodes[i]["name"]) for k, i in found]


# --- the system that is rebuilt --------------------------------------------------------------------------


def _pairing(known: Known, found: Sequence[Alike]) -> Pairing:
    matches: list[Match] = []
    listed = list[tuple[str, int]]()
    bead = atom = 0
    mappings: dict[str, BeadMapping] = {}
    for alike in found:
        name, count = alike.moltype.name, len(alike.beads)
        mappings[name] = alike.mapping
        if matches and matches[-1].moltype.name == name and matches[-1].mapping is alike.mapping:
            matches[-1] = replace(matches[-1], count=matches[-1].count + count)
        else:
            matches.append(Match(alike.moltype, alike.mapping, count, first_bead=bead, first_atom=atom))
        bead, atom = bead + alike.beads.size, atom + count * alike.moltype.n_atoms
    molecules = np.concatenate([alike.molecules.ravel() for alike in found])
    names = np.repeat([n for n, _ in known.aa.molecules], [count for _, count in known.aa.molecules])[
        molecules
    ]
    cuts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    listed = [(str(names[i]), j - i) for i, j in pairwise(cuts)]
    written = _written(known.aa, tuple(listed), molecules)
    types = {**known.aa.molecule_types, **{match.moltype.name: match.moltype for match in matches}}
    runs = tuple((match.moltype.name, match.count) for match in matches)
    plain = runs == written.molecules
    topology = written if plain else replace(written, molecule_types=types, molecules=runs)
    beads = np.concatenate([alike.beads.ravel() for alike in found])
    return Pairing(topology, written, mappings, tuple(matches), beads, tuple(found))


def _written(aa: Topology, listed: tuple[tuple[str, int], ...], molecules: IntArray) -> Topology:
    """The topology with those molecules, in their order; the same record if these are all there are."""
    if np.array_equal(molecules, np.arange(sum(count for _, count in aa.molecules))):
        return aa
    changed = replace(aa, molecules=listed, intermolecular=(), relisted=True)
    if not aa.intermolecular:
        return changed
    starts = np.concatenate(
        [first + moltype.n_atoms * np.arange(count) for moltype, first, count in blocks(aa)]
    )
    sizes = np.concatenate([np.full(count, moltype.n_atoms) for moltype, _, count in blocks(aa)])
    rows = np.concatenate([np.arange(starts[k], starts[k] + sizes[k]) for k in molecules])
    new = np.full(aa.n_atoms, -1)
    new[rows] = np.arange(len(rows))
    return replace(changed, intermolecular=tuple(_renumbered(group, new, aa) for group in aa.intermolecular))


def _renumbered(group: Terms, new: IntArray, aa: Topology) -> Terms:
    """Terms among atoms that are left, with their new rows."""
    atoms = new[group.atoms]
    here = atoms >= 0
    if (here.any(axis=1) & ~here.all(axis=1)).any():
        raise InputError("[ intermolecular_interactions ] are with atoms that are left out", path=aa.path)
    keep = here.all(axis=1)
    return replace(group, atoms=atoms[keep], parameters=group.parameters[keep])

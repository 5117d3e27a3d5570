"""Why molecules of beads and of atoms do not go together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.sides import Alike, Known, Run, by_name, real_beads, rows_of
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.chemistry.two_lists import Listed, show_two_lists
from dbm_gmx.errors import InputError


def refusal(
    known: Known, beads: Sequence[tuple[str, int]], atoms: Sequence[tuple[str, int]], wrong: Sequence[str]
) -> InputError:
    """All that is wrong, below it both lists."""
    of_beads = [Listed(name, n, _beads(known.cg.molecule_types[name].n_atoms)) for name, n in beads]
    of_atoms = [Listed(name, n, _mapped(known, name)) for name, n in atoms]
    table = show_two_lists(of_beads, of_atoms)
    lines = ["the beads do not fit the atomistic topology:", *wrong, "both lists side by side:", *table]
    return InputError("\n  ".join(lines), path=known.aa.path)


def _beads(count: int) -> str:
    return f"{count} bead" if count == 1 else f"{count} beads"


def _mapped(known: Known, name: str) -> str:
    """Say how many beads a molecule of atoms has."""
    sizes = sorted({len(m.names) for m in known.mappings[name]})
    units = [unit for unit, (parts, _) in known.units.items() if name in {n for n, _ in parts}]
    if not sizes:
        return f"in {', '.join(units)}" if units else "no mapping"
    return f"{' or '.join(map(str, sizes))} mapped"


def problems(known: Known, beads: Sequence[Run], atoms: Sequence[Run]) -> list[str]:
    """Say why lists of molecules do not fit."""
    here, there = _totals(beads), _totals(atoms)
    wrong = [*_counts(known, here, there), *_strangers(known, here, there)] or _order(known, beads, atoms)
    for name in here:
        for other in sorted(known.claims[name] & set(there)):
            wrong += _misfits(known, name, other)
    return wrong or ["in the order of both lists numbers of beads do not fit, and no name says more"]


def _totals(runs: Iterable[Run]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for run in runs:
        found[run.name] += len(run.molecules)
    return dict(found)


def _strangers(known: Known, here: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    """Molecules on either side that no name on the other speaks of."""
    wrong = []
    listed = ", ".join(there)
    for name, count in here.items():
        if not known.claims[name] & set(there):
            wrong.append(
                f"{name} ({count}): this molecule type is not in the atomistic topology ({listed}); "
                f"--alias {_alias(known, name, here, there)} says what its atoms are, "
                f"--leave-out {name} leaves it out"
            )
    claimed = frozenset[str]().union(*(known.claims[name] for name in here))
    for name, count in there.items():
        if name not in claimed:
            which = "no beads" if known.mappings[name] else "neither beads nor a mapping"
            wrong.append(
                f"{name} ({count}): atoms with {which}; they cannot be rebuilt: --leave-out {name} leaves "
                "them out"
            )
    return wrong


MOST_TOGETHER = 20
"""Molecules of one type that a bead is guessed to be."""


def _alias(known: Known, name: str, here: Mapping[str, int], there: Mapping[str, int]) -> str:
    """An alias for beads that may be several molecules each, by how many there are; else any."""
    claimed = frozenset[str]().union(*(known.claims[other] for other in here))
    each = [
        (n // here[name], other) for other, n in there.items() if n % here[name] == 0 and other not in claimed
    ]
    several = [f"'{name}={count} {other}'" for count, other in each if 1 < count <= MOST_TOGETHER]
    one = real_beads(known.cg.molecule_types[name]).sum() == 1
    return several[0] if one and len(several) == 1 else f"{name}=TYPE"


def _counts(known: Known, here: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    """Other numbers of molecules of the same name."""
    wrong = []
    for name in here:
        types = [other for other in there if other in known.claims[name]]
        among = [other for other in here if known.claims[other] & set(types)]
        total, expected = sum(here[other] for other in among), sum(there[other] for other in types)
        if total != expected and name == among[0]:
            which = "" if types == [name] else f" ({', '.join(types)})"
            each, rest = divmod(expected, total)
            hint = (
                ""
                if rest or each < 2
                else f": if these are {each} a bead, --alias '{name}={each} {types[0]}'"
            )
            wrong.append(f"{', '.join(among)}: {total} molecules of beads, {expected} of atoms{which}{hint}")
    return wrong


def _order(known: Known, beads: Sequence[Run], atoms: Sequence[Run]) -> list[str]:
    """Another order of molecules with the same names."""
    if known.matching.reorder or [r.name for r in by_name(known, [*beads], atoms)] == [r.name for r in beads]:
        return []
    listed = [", ".join(f"{run.name} {len(run.molecules)}" for run in runs) for runs in (beads, atoms)]
    return [
        f"different order of molecules: beads {listed[0]}; atoms {listed[1]}; --reorder takes them by name"
    ]


def _misfits(known: Known, bead_type: str, name: str) -> list[str]:
    """What of a mapping is not as in the topologies."""
    cg, aa, mappings = known.cg.molecule_types[bead_type], known.aa.molecule_types[name], known.mappings[name]
    if not mappings:
        return [f"{name}: no mapping (give one with -m; 'dbm-gmx map init' proposes one)"]
    wrong = []
    if all(rows_of(cg, mapping) is None for mapping in mappings):
        wrong.append(misfit(cg, mappings[0]))
    if mappings[0].owner.size != aa.n_atoms:
        wrong.append(f"{name}: {aa.n_atoms} atoms in the topology, {mappings[0].owner.size} in the mapping")
    return wrong


def misfit(cg: MoleculeType, mapping: BeadMapping) -> str:
    """Say that numbers of beads differ."""
    return f"{mapping.molecule}: {cg.n_atoms} beads in the CG topology, {len(mapping.names)} in the mapping"


def ambiguous(known: Known, found: Sequence[Alike]) -> list[str]:
    """Pairs that nothing but the order of the lists speaks for, and that could be exchanged."""
    counts: Counter[tuple[str, str]] = Counter()
    mapping: dict[str, BeadMapping] = {}
    for alike in found:
        ((bead_type, *_), name) = alike.bead_types, alike.mapping.molecule
        if alike.whole and not alike.mapping.parts and name not in known.claims[bead_type]:
            counts[bead_type, name] += len(alike.beads)
            mapping[name] = alike.mapping
    wrong = []
    for ((c, a), n), ((d, b), m) in combinations(counts.items(), 2):
        if n != m or c == d or a == b:
            continue
        as_is = _agreeing(known, c, mapping[a]) + _agreeing(known, d, mapping[b])
        exchanged = _agreeing(known, c, mapping[b]) + _agreeing(known, d, mapping[a])
        if exchanged >= as_is >= 0:
            wrong.append(
                f"ambiguous: {c} may be {a} and {d} {b}, or the other way round; --alias {c}={a} {d}={b} "
                "says which"
            )
    return wrong


def _agreeing(known: Known, bead_type: str, mapping: BeadMapping) -> int:
    """How many beads have the names of the mapping; far below zero if their numbers differ."""
    cg = known.cg.molecule_types[bead_type]
    rows = rows_of(cg, mapping)
    if rows is None:
        return -(10**9)
    pairs = zip((cg.names[i] for i in rows), mapping.names, strict=True)
    return sum(bead.strip("+-") == name.strip("+-") for bead, name in pairs)  # an ion may have its sign

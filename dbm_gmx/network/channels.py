"""Feature channels: which atom classes, bonded roles and bead types share one density.

Atom classes come from the molecular graph, not from force-field names, so that a model trained on one
force field reads any other.  Classes and channels can be overridden by a TOML file, see
:func:`read_channels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbm_gmx.chemistry.atom_classes import atom_classes
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType, hydrogens
from dbm_gmx.errors import InputError
from dbm_gmx.files.text import read_toml

ROLES = ("bond", "angle", "dihedral")
"""Bonded roles of a neighbour: one, two or three chemical bonds away from the atom to be placed."""


@dataclass(frozen=True)
class Channels:
    """Which neighbours share which channel; a pattern may hold ``*``.

    Attributes
    ----------
    atoms
        Channel name -> atom classes of its known atoms.
    bonded
        Channel name -> bonded roles (:data:`ROLES`) of its neighbours.
    lennard_jones
        Channel name -> atom classes of its non-bonded atoms, see ``bond_counts``.
    beads
        Channel name -> bead types.
    current
        Channel name -> bead types of the current bead, the one that owns the atom, which has two entries.
    neighbours
        Channel name -> numbers of heavy neighbours of heavy atoms; none, where ends, chains and branches are
        alike.
    classes
        Force-field atom type -> atom class, where the graph's class is not wanted.
    bond_counts
        Whether atoms further than three bonds away are the non-bonded ones, which is the same for every force
        field.  Else, as in models made before, those which the topology does not exclude.
    """

    atoms: Mapping[str, Sequence[str]]
    bonded: Mapping[str, Sequence[str]]
    lennard_jones: Mapping[str, Sequence[str]]
    beads: Mapping[str, Sequence[str]]
    current: Mapping[str, Sequence[str]] = field(default_factory=dict)
    neighbours: Mapping[str, Sequence[str]] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    bond_counts: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """All channels in the order of the network's input."""
        groups = (
            ("atom", self.atoms),
            ("bonded", self.bonded),
            ("lj", self.lennard_jones),
            ("bead", self.beads),
            ("current", self.current),
            ("neighbours", self.neighbours),
        )
        return tuple(f"{group}:{name}" for group, members in groups for name in members)

    @property
    def width(self) -> int:
        """Number of channels."""
        return len(self.names)

    def plain(self) -> dict[str, Any]:
        """The sections of a channel file in plain types."""
        return {
            section: {k: v if isinstance(v, str) else list(v) for k, v in getattr(self, section).items()}
            for section in SECTIONS
        }


WITH_CHANNELS = ("atoms", "bonded", "lennard_jones", "beads", "current", "neighbours")
"""Sections with channels, in the order of the network's input."""

SECTIONS = (*WITH_CHANNELS, "classes")
"""Those of a channel file."""


def channels_from_plain(
    plain: Mapping[str, Any], *, bond_counts: bool = True, path: Path | None = None
) -> Channels:
    """Channels from nested dictionaries.

    Parameters
    ----------
    bond_counts
        See :class:`Channels`.

    Raises
    ------
    InputError
        Naming an unknown section or role, and the known ones; or what is no list of names.
    """
    unknown = sorted(set(plain) - set(SECTIONS))
    if unknown:
        raise InputError(
            f"unknown section {', '.join(unknown)}; possible are {', '.join(SECTIONS)}", path=path
        )
    for section in SECTIONS:
        _check_section(section, plain.get(section, {}), path=path)
    wrong = sorted({r for roles in plain.get("bonded", {}).values() for r in roles} - set(ROLES))
    if wrong:
        raise InputError(
            f"unknown bonded role {', '.join(wrong)}; possible are {', '.join(ROLES)}", path=path
        )
    return Channels(**{key: dict(plain.get(key, {})) for key in SECTIONS}, bond_counts=bond_counts)


def _check_section(section: str, group: object, *, path: Path | None) -> None:
    """Refuse what would be misread: a text is a sequence of one-letter patterns, too."""
    if not isinstance(group, Mapping):
        raise InputError(f"{section} is a section, [{section}], not {group!r}", path=path)
    for name, value in group.items():
        if section == "classes":
            fits, wanted = isinstance(value, str), "the name of a class"
        else:
            fits = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
            wanted = "a list of names"
        if not fits:
            raise InputError(f"[{section}] {name} = {value!r}; it takes {wanted}", path=path)


def read_channels(path: str | Path) -> Channels:
    """Read a channel file.

    The file is TOML with the sections ``[atoms]``, ``[bonded]``, ``[lennard_jones]``, ``[beads]``,
    ``[current]``, ``[neighbours]`` (``name = ["pattern", ...]``) and ``[classes]`` (``force-field type =
    "class"``).
    """
    return channels_from_plain(read_toml(path, "channel file"), path=Path(path))


def in_order(channels: Channels, known: Channels) -> Channels:
    """Channels of the same names in the order that the network knows them in."""
    parts: dict[str, Any] = {
        section: {name: getattr(channels, section)[name] for name in getattr(known, section)}
        for section in WITH_CHANNELS
    }
    return replace(channels, **parts)


def changed_roles(channels: Channels, known: Channels) -> str:
    """Say which bonded channels stand for other roles than those known."""
    return ", ".join(
        f"{name} = {' '.join(roles)} instead of {' '.join(known.bonded[name])}"
        for name, roles in channels.bonded.items()
        if set(roles) != set(known.bonded[name])
    )


def changed_meaning(channels: Channels, known: Channels) -> str:
    """Say which channels have nothing left of what they stand for in those known."""
    found = []
    for section in ("atoms", "lennard_jones", "beads", "current", "neighbours"):
        for name, patterns in getattr(channels, section).items():
            before = getattr(known, section)[name]
            if before and not set(patterns) & set(before):
                found.append(f"[{section}] {name} = {' '.join(patterns)} instead of {' '.join(before)}")
    return ", ".join(found)


def default_channels(classes: Sequence[str], bead_types: Sequence[str]) -> Channels:
    """A channel for every class, bonded role and bead type, and for the current bead (paper).

    Those of Lennard-Jones are two: for heavy atoms and for hydrogens.
    """
    return Channels(
        atoms={c: [escape(c)] for c in sorted(set(classes))},
        bonded={r: [r] for r in ROLES},
        lennard_jones={"heavy": ["[!H]*"], "hydrogen": ["H*"]},
        beads={b: [escape(b)] for b in sorted(set(bead_types))},
        current={"bead": ["*"]},
    )


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Feature vectors of all entries an environment can have.

    Attributes
    ----------
    classes, bead_types
        Known names; their order numbers them.
    features
        (rows, channels) float32: first a row per class, then per role (last: none, further than all
        roles), non-bonded (yes, no) and class, then per bead type, then per type of the current bead.
    bond_counts
        See :class:`Channels`.
    """

    classes: tuple[str, ...]
    bead_types: tuple[str, ...]
    features: NDArray[np.float32]
    bond_counts: bool

    @property
    def bonded_row(self) -> int:
        """First row of the bonded neighbours."""
        return len(self.classes)

    @property
    def bead_row(self) -> int:
        """First row of the beads."""
        return self.bonded_row + 2 * (len(ROLES) + 1) * len(self.classes)

    @property
    def current_row(self) -> int:
        """First row of the current bead."""
        return self.bead_row + len(self.bead_types)


def feature_table(channels: Channels, classes: Sequence[str], bead_types: Sequence[str]) -> FeatureTable:
    """Feature vectors of the given classes and bead types under the given channels.

    A bonded neighbour has two entries in an environment, as a neighbour and as a bonded one.  The second
    row has the bonded role and, where the neighbour is none of the non-bonded, takes the first row's
    Lennard-Jones channels away again.

    Raises
    ------
    InputError
        Listing all classes and bead types without a channel, and those the channels have.
    """
    classes, bead_types = tuple(sorted(set(classes))), tuple(sorted(set(bead_types)))
    names = dict.fromkeys(map(without_count, classes))
    missing = [f"atom class {c}" for c in names if not matching(channels.atoms, c)]
    missing += [f"bead type {b}" for b in bead_types if not matching(channels.beads, b)]
    if missing:
        raise InputError(
            f"the model has no channel for {', '.join(missing)}; it knows the atom classes "
            f"{_known(channels.atoms)} and the bead types {_known(channels.beads)}"
        )
    column = {name: k for k, name in enumerate(channels.names)}
    rows = [
        _row(
            column,
            atom=matching(channels.atoms, without_count(c)),
            lj=matching(channels.lennard_jones, without_count(c)),
            neighbours=matching(channels.neighbours, c.partition(COUNT)[2]),
        )
        for c in classes
    ]
    for role in (*ROLES, ""):
        for excluded in (0.0, -1.0):
            rows += [
                _row(column, bonded=matching(channels.bonded, role))
                + excluded * _row(column, lj=matching(channels.lennard_jones, without_count(c)))
                for c in classes
            ]
    beads = [matching(channels.beads, b) for b in bead_types]
    rows += [_row(column, bead=names) for names in beads]
    rows += [
        _row(column, bead=names, current=matching(channels.current, b))
        for b, names in zip(bead_types, beads, strict=True)
    ]
    return FeatureTable(classes, bead_types, np.array(rows, np.float32), channels.bond_counts)


def matching(group: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """Channels of a group that have a class, role or bead type."""
    return [channel for channel, patterns in group.items() if any(fnmatchcase(name, p) for p in patterns)]


COUNT = " bonded to "
"""What stands between a class and the number of heavy neighbours of an atom."""


def without_count(name: str) -> str:
    """A class without the number of heavy neighbours that may stand after it."""
    return name.partition(COUNT)[0]


def _known(group: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(sorted({p for patterns in group.values() for p in patterns}))


def _row(column: Mapping[str, int], **channels: Sequence[str]) -> NDArray[np.float32]:
    row = np.zeros(len(column), np.float32)
    row[[column[f"{group}:{name}"] for group, names in channels.items() for name in names]] = 1
    return row


def classes_of(system: System, channels: Channels | None = None) -> dict[str, tuple[str, ...]]:
    """Atom classes by molecule type: those of the mapping file, else of the molecular graph.

    Where channels tell heavy atoms by their heavy neighbours, the number of these comes after the class.
    """
    overrides = channels.classes if channels else {}
    found = {}
    for m in {m.moltype.name: m for m in system.matches}.values():
        classes = m.mapping.classes or atom_classes(m.moltype, overrides)
        counted = channels is not None and channels.neighbours
        found[m.moltype.name] = _counted(m.moltype, classes) if counted else classes
    return found


def _counted(moltype: MoleculeType, classes: Sequence[str]) -> tuple[str, ...]:
    """Classes with the number of heavy neighbours, but for hydrogens."""
    light, graph = hydrogens(moltype), moltype.graph
    count = [sum(not light[j] for j in graph[i]) for i in range(moltype.n_atoms)]
    return tuple(c if light[i] else f"{c}{COUNT}{count[i]}" for i, c in enumerate(classes))


def bead_types_of(system: System) -> set[str]:
    """Bead types of a system."""
    return {bead for match in system.matches for bead in match.mapping.types}

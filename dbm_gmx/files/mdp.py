"""The ensemble of a GROMACS run, from its ``.mdp``."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbm_gmx.errors import InputError
from dbm_gmx.files.text import read_text
from dbm_gmx.options import ASSUMED, Conditions

log = logging.getLogger(__name__)

LONG_RANGE = ("pme", "p3m", "ewald")
"""Begin of the Coulomb types with a sum over the lattice."""

SHIFTED = ("potentialshift", "potentialshiftverlet", "none")
"""Modifiers of Lennard-Jones; a potential that jumps at the cut-off has the same forces as a shifted one."""

CONSTRAINED = {
    "none": "none",
    "hbonds": "h-bonds",
    "allbonds": "all-bonds",
    "hangles": "all-bonds",
    "allangles": "all-bonds",
}


@dataclass(frozen=True)
class Entry:
    """One value of an ``.mdp`` and where it stands."""

    path: Path
    line: int
    key: str
    text: str

    def error(self, message: str) -> InputError:
        """Return an error that names this line."""
        return InputError(message, path=self.path, line=self.line)

    def numbers(self) -> list[float]:
        """Return its words as finite numbers, at least one."""
        try:
            values = [float(word) for word in self.text.split()]
        except ValueError:
            values = []
        if not values or not all(map(math.isfinite, values)):
            raise self.error(f"{self.key}: expected a number, found {self.text!r}")
        return values

    def number(self) -> float:
        """Return its only word as a finite number."""
        values = self.numbers()
        if len(values) > 1:
            raise self.error(f"{self.key}: expected one number, found {self.text!r}")
        return values[0]


def read_mdp(path: str | Path) -> tuple[Conditions, tuple[str, ...]]:
    """Read temperature, cut-offs and constraints.

    What the file leaves out is what GROMACS takes then, but for ``constraints``: bonds vibrate only where the
    file says so.  ``-`` and ``_`` and the case of keys and names
    make no difference.

    Parameters
    ----------
    path
        ``.mdp``.

    Returns
    -------
    The conditions, their source :data:`~dbm_gmx.options.ASSUMED` where there is no ``ref-t``, and the
    names it defines for the preprocessor of the ``.top`` (without ``-D``).

    Raises
    ------
    InputError
        With the line: values that cannot be read or stand for nothing that can be sampled, among them
        several different temperatures.

    Notes
    -----
    GROMACS user guide, "Molecular dynamics parameters (.mdp options)".
    """
    path = Path(path)
    entries = mdp_entries(path)
    conditions = Conditions(
        rvdw=_positive(entries, "rvdw", 1.0),
        rcoulomb=_positive(entries, "rcoulomb", 1.0),
        epsilon_r=_positive(entries, "epsilon-r", 1.0),
        constraints=_constraints(entries),
        source=ASSUMED,
    )
    conditions = replace(
        conditions,
        epsilon_rf=_reaction_field(entries, conditions.epsilon_r),
        rvdw_switch=_switch(entries, conditions.rvdw),
    )
    if "ref-t" in entries:
        conditions = replace(conditions, temperature=mdp_temperature(entries["ref-t"]), source=path.name)
    return conditions, mdp_defines(entries)


def mdp_key(line: str) -> str:
    """Return the key of a line in lower case with ``-``, ``""`` if it has none."""
    return line.partition(";")[0].partition("=")[0].strip().lower().replace("_", "-")


def mdp_entries(path: Path) -> dict[str, Entry]:
    """Return values by key in lower case with ``-``.

    Raises
    ------
    InputError
        No such file, or a line that is no ``name = value``.
    """
    lines = read_text(path).split("\n")
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition(";")[0].strip()
        if not text:
            continue
        _, equals, value = text.partition("=")
        key = mdp_key(text)
        entry = Entry(path, number, key, value.strip())
        if not equals or not key:
            raise entry.error(f"expected 'name = value', found {text!r}")
        if key in entries:
            raise entry.error(f"{key}: given before in line {entries[key].line}")
        entries[key] = entry
    # a name without a value stands for the default
    return {key: entry for key, entry in entries.items() if entry.text}


def _positive(entries: dict[str, Entry], key: str, default: float) -> float:
    if key not in entries:
        return default
    value = entries[key].number()
    if value <= 0:
        raise entries[key].error(f"{key}: expected a number above 0, found {entries[key].text!r}")
    return value


def mdp_temperature(entry: Entry) -> float:
    """Return the temperature of ``ref-t``, the same for all groups, K."""
    values = entry.numbers()
    if len(set(values)) > 1:
        found = ", ".join(f"{value:g}" for value in values)
        raise entry.error(f"{entry.key}: groups of different temperatures ({found} K); one is needed")
    if values[0] <= 0:
        raise entry.error(f"{entry.key}: expected a temperature above 0 K, found {entry.text!r}")
    return values[0]


def _constraints(entries: dict[str, Entry]) -> str:
    if "constraints" not in entries:
        return "all-bonds"
    entry = entries["constraints"]
    name = _plain(entry)
    if name not in CONSTRAINED:
        raise entry.error(
            f"constraints: no {entry.text!r}; there are none, h-bonds, all-bonds, h-angles, all-angles"
        )
    if name.endswith("angles"):
        log.info("%s:%d: constraints = %s: angles are not fixed", entry.path, entry.line, entry.text)
    return CONSTRAINED[name]


def _reaction_field(entries: dict[str, Entry], epsilon_r: float) -> float | None:
    """Permittivity beyond the cut-off, 0 for infinity; ``None`` with a sum over the lattice."""
    entry = entries.get("coulombtype")
    name = "cutoff" if entry is None else _plain(entry)
    if name.startswith(LONG_RANGE) and entry is not None:
        log.info(
            "%s:%d: coulombtype = %s: sampled as the zero-quadrupole form within rcoulomb",
            entry.path,
            entry.line,
            entry.text,
        )
        return None
    if name == "cutoff":  # a potential shifted to zero is the reaction field of the medium itself
        return epsilon_r
    if name != "reactionfield" and entry is not None:
        raise entry.error(
            f"coulombtype: {entry.text!r} is not supported; possible are Cut-off, Reaction-Field, PME"
        )
    if "epsilon-rf" not in entries:
        return 0.0
    entry = entries["epsilon-rf"]
    value = entry.number()
    if value < 0:
        raise entry.error(f"epsilon-rf: expected a number from 0, found {entry.text!r}")
    return value


def _switch(entries: dict[str, Entry], cutoff: float) -> float | None:
    """Where the force of Lennard-Jones begins to be switched, nm; ``None`` where it is not.

    Other potentials than the shifted one are treated as that, with a warning.
    """
    kind, modifier = entries.get("vdwtype", entries.get("vdw-type")), entries.get("vdw-modifier")
    plain = kind is None or _plain(kind) == "cutoff"
    if kind is not None and _plain(kind) == "shift":
        return _switch_start(entries, cutoff)
    if plain and modifier is not None and _plain(modifier) == "forceswitch":
        return _switch_start(entries, cutoff)
    other = None if plain else kind
    if other is None and modifier is not None and _plain(modifier) not in SHIFTED:
        other = modifier
    if other is not None:
        log.warning(
            "%s:%d: %s = %s: treated as a plain cut-off with the potential shifted to zero there",
            other.path,
            other.line,
            other.key,
            other.text,
        )
    return None


def _switch_start(entries: dict[str, Entry], cutoff: float) -> float:
    if "rvdw-switch" not in entries:
        return 0.0
    entry = entries["rvdw-switch"]
    value = entry.number()
    if not 0 <= value < cutoff:
        raise entry.error(f"rvdw-switch: expected a number from 0 to below rvdw, found {entry.text!r}")
    return value


def mdp_defines(entries: dict[str, Entry]) -> tuple[str, ...]:
    """Return what is defined for the preprocessor of the ``.top``, without ``-D``."""
    if "define" not in entries:
        return ()
    entry = entries["define"]
    words: Sequence[str] = entry.text.split()
    wrong = [word for word in words if not word.startswith("-D") or word == "-D"]
    if wrong:
        raise entry.error(f"define: expected -DNAME or -DNAME=value, found {wrong[0]!r}")
    return tuple(word.removeprefix("-D") for word in words)


def _plain(entry: Entry) -> str:
    """Return the value as a name: small letters, no hyphens."""
    return entry.text.lower().replace("-", "").replace("_", "")

"""The ensemble of a GROMACS run, from its ``.mdp``."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from dbm_gmx.errors import InputError
from dbm_gmx.files.mdp_keys import NAMES, is_known, same_name
from dbm_gmx.files.text import as_number, read_text
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import ASSUMED, CONSTRAINTS, LEAST, MOST, Conditions, Preprocessor

log = logging.getLogger(__name__)

LONG_RANGE = ("pme", "p3m", "ewald")
"""Begin of the Coulomb types with a sum over the lattice."""

SHIFTED = ("potentialshift", "potentialshiftverlet", "none")
"""Modifiers of Lennard-Jones; a potential that jumps at the cut-off has the same forces as a shifted one."""

CONSTRAINED = {name.replace("-", ""): name for name in CONSTRAINTS}


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
            values = [as_number(word) for word in self.text.split()]
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


def conditions_given(
    mdp: str | Path | None = None,
    temperature: float | None = None,
    cutoff: float | None = None,
    *,
    source: str = "given",
) -> tuple[Conditions, Preprocessor]:
    """The ensemble, and what the ``.mdp`` tells the preprocessor of a ``.top``.

    Parameters
    ----------
    mdp
        Run parameters.
    temperature, cutoff
        K and nm, before what the file says.
    source
        Who says the temperature.

    Raises
    ------
    InputError
        As :func:`read_mdp`.
    """
    conditions, told = Conditions(source=ASSUMED), Preprocessor()
    if mdp is not None:
        conditions, told = read_mdp(mdp)
    if temperature is not None:
        conditions = replace(conditions, temperature=temperature, source=source)
    if cutoff is not None:
        moved = cutoff - conditions.rvdw
        force, potential = (
            None if start is None else max(0.0, start + moved)
            for start in (conditions.rvdw_switch, conditions.potential_switch)
        )
        conditions = replace(
            conditions, rvdw=cutoff, rcoulomb=cutoff, rvdw_switch=force, potential_switch=potential
        )
    return conditions, told


def read_mdp(path: str | Path) -> tuple[Conditions, Preprocessor]:
    """Read temperature, cut-offs and constraints.

    What the file leaves out is what GROMACS takes then, but for ``constraints``: bonds vibrate only where the
    file says so.  That is warned of, and so is all else that the distribution of the atoms will not have of
    the run.  ``-`` and ``_`` and the case of keys and names make no difference; of keys that GROMACS
    does not know it is warned.

    Parameters
    ----------
    path
        ``.mdp``.

    Returns
    -------
    The conditions, their source :data:`~dbm_gmx.options.ASSUMED` where there is no ``ref-t``, and the
    names it defines and the folders it names for the preprocessor of the ``.top``.

    Raises
    ------
    InputError
        With the line: values that cannot be read or stand for nothing that can be sampled, among them
        several different temperatures, and bonds made anharmonic.

    Notes
    -----
    GROMACS user guide, "Molecular dynamics parameters (.mdp options)".
    """
    path = Path(path)
    entries = mdp_entries(path)
    _refuse_unsupported(entries)
    say_unknown(entries)
    _say_left_out(entries)
    conditions = Conditions(
        rvdw=_positive(entries, "rvdw", 1.0),
        rcoulomb=_positive(entries, "rcoulomb", 1.0),
        epsilon_r=_positive(entries, "epsilon-r", 1.0),
        constraints=_constraints(entries, path),
        source=ASSUMED,
    )
    conditions = replace(
        conditions,
        epsilon_rf=_reaction_field(entries, conditions.epsilon_r),
        rvdw_switch=_switch(entries, conditions.rvdw),
        potential_switch=_potential_switch(entries, conditions.rvdw),
    )
    _check_list(entries, max(conditions.rvdw, conditions.rcoulomb))
    if has_temperature(entries):
        conditions = replace(conditions, temperature=mdp_temperature(entries), source=path.name)
    return conditions, Preprocessor(mdp_defines(entries), mdp_include(entries))


def mdp_key(line: str) -> str:
    """Return the key of a line as GROMACS' guide has it, ``""`` if it has none."""
    return same_name(line.partition(";")[0].partition("=")[0].strip())


def mdp_entries(path: Path) -> dict[str, Entry]:
    """Return values by key, as GROMACS' guide has it (:mod:`~dbm_gmx.files.mdp_keys`).

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
    return _of_use(entries[key], value)


def _of_use(entry: Entry, value: float) -> float:
    """A number above 0, unless it is none that a run has."""
    if not LEAST <= value <= MOST:
        raise entry.error(f"{entry.key}: expected {LEAST:g} to {MOST:g}, found {entry.text!r}")
    return value


ABOVE_ZERO = ("dt", "rvdw", "rcoulomb")

FROM_ZERO = (
    *("rlist", "rvdw-switch", "rcoulomb-switch", "epsilon-r", "epsilon-rf", "fourierspacing"),
    *("ref-t", "gen-temp", "emtol", "emstep"),
)
"""Numbers of a run that grompp, or the run itself, does not always refuse where they are none."""


def check_numbers(entries: dict[str, Entry]) -> None:
    """Refuse numbers of a run that are not finite or out of range.

    Raises
    ------
    InputError
        With the line of the first of them.
    """
    for key in ABOVE_ZERO:
        _positive(entries, key, 1.0)
    for entry in (entries[key] for key in FROM_ZERO if key in entries):
        if min(entry.numbers()) < 0:
            raise entry.error(f"{entry.key}: expected a number from 0, found {entry.text!r}")


def has_temperature(entries: Mapping[str, Entry]) -> bool:
    """Whether a run has a temperature of its own."""
    coupled = "ref-t" in entries or any(first is not None for first in _annealing(entries))
    return coupled or _is_begun_warm(entries)


def _is_begun_warm(entries: Mapping[str, Entry]) -> bool:
    """Whether velocities are drawn at a temperature that is given."""
    return "gen-temp" in entries and "gen-vel" in entries and entries["gen-vel"].text.lower() not in OFF


def mdp_temperature(entries: Mapping[str, Entry]) -> float:
    """Return the temperature with which a run begins, the same for all groups, K.

    That is the first of a group that is annealed, else ``ref-t``, else that of the velocities.

    Raises
    ------
    InputError
        Temperatures of groups differ, or are none.
    """
    first = _annealing(entries)
    annealed = any(one is not None for one in first)
    entry = entries["ref-t" if "ref-t" in entries else "annealing-temp" if annealed else "gen-temp"]
    values = entry.numbers() if "ref-t" in entries or not annealed else [math.nan] * len(first)
    if first and len(values) != len(first):
        raise entries["annealing"].error(f"annealing: {len(first)} groups, but {len(values)} in ref-t")
    if annealed:
        entry = entries["annealing-temp"]
        values = [own if one is None else one for own, one in zip(values, first, strict=True)]
    if len(set(values)) > 1:
        found = ", ".join(f"{value:g}" for value in values)
        raise entry.error(f"{entry.key}: groups of different temperatures ({found} K); one is needed")
    if not values[0] > 0:
        raise entry.error(f"{entry.key}: expected a temperature above 0 K, found {entry.text!r}")
    return _of_use(entry, values[0])


ANNEALED = ("single", "periodic")
"""Kinds of annealing."""


def _annealing(entries: Mapping[str, Entry]) -> list[float | None]:
    """First temperature of each group that is annealed, K; ``None`` for one that is not."""
    entry = entries.get("annealing")
    kinds = [] if entry is None else entry.text.lower().split()
    if entry is None or set(kinds) <= OFF:
        return [None] * len(kinds)
    unknown = next((kind for kind in kinds if kind not in ANNEALED and kind not in OFF), None)
    if unknown is not None:
        raise entry.error(f"annealing: {unknown!r} is unknown; possible are no, single, periodic")
    points = entries.get("annealing-npoints")
    temperatures = entries.get("annealing-temp")
    if points is None or temperatures is None:
        raise entry.error(f"annealing = {entry.text}: annealing-npoints and annealing-temp are needed")
    counts, values = [int(n) for n in points.numbers()], temperatures.numbers()
    wanted = [n if kind in ANNEALED else 0 for n, kind in zip(counts, kinds, strict=False)]
    if len(counts) != len(kinds) or any(n < 0 for n in counts) or len(values) < sum(counts):
        raise points.error(f"{points.key}: {points.text!r} does not fit annealing and annealing-temp")
    starts = [sum(counts[:group]) for group in range(len(counts))]
    return [values[at] if n else None for at, n in zip(starts, wanted, strict=True)]


def _check_list(entries: Mapping[str, Entry], cutoff: float) -> None:
    """Refuse a list of neighbours that is shorter than the cut-off and stays so, as grompp does."""
    entry, tolerance = entries.get("rlist"), entries.get("verlet-buffer-tolerance")
    length = math.inf if entry is None else entry.number()
    if entry is not None and length < cutoff and tolerance is not None and tolerance.number() <= 0:
        raise entry.error(f"rlist = {entry.text}: is shorter than the cut-off of {cutoff:g} nm")


UNSUPPORTED = {
    "morse": "bonds cannot be made Morse potentials; write them as such ([ bonds ] of type 3)",
}
"""Switches that stand for another Hamiltonian; with ``yes`` a file is refused."""

OFF = frozenset({"no", "none", "off", "0", "0.0", "false"})
"""Values of a switch that is off, in lower case."""

LEFT_OUT = {
    "free-energy": "state A is sampled, without a lambda",
    "freezegrps": "no atom is frozen",
    "nwall": "there are no walls",
    "pull": "nothing is pulled",
    "awh": "there is no bias",
    "rotation": "there is no enforced rotation",
    "disre": "there are no distance restraints",
    "orire": "there are no orientation restraints",
    "electric-field-x": "there is no field",
    "electric-field-y": "there is no field",
    "electric-field-z": "there is no field",
    "qmmm": "all atoms are classical",
    "qmmm-cp2k-active": "all atoms are classical",
    "density-guided-simulation-active": "there is no density",
    "nnpot-active": "there is no potential of a network",
    "colvars-active": "there are no collective variables",
    "implicit-solvent": "there is no implicit solvent",
    "energygrp-excl": "no pairs of groups are excluded",
    "adress": "all atoms count in full",
    "simulated-tempering": "there is one temperature, that of ref-t",
    "accelerate": "nothing is accelerated",
    "cos-acceleration": "nothing is accelerated",
}
"""What of a run the distribution of the atoms does not have, and what it has in its place."""


def _refuse_unsupported(entries: dict[str, Entry]) -> None:
    for key, reason in UNSUPPORTED.items():
        entry = entries.get(key)
        if entry is not None and entry.text.lower() not in OFF:
            raise entry.error(f"{key} = {entry.text}: {reason}")


def say_unknown(entries: Mapping[str, Entry]) -> None:
    """Warn of names that GROMACS does not know, as a misspelt one, whose values are not taken."""
    for entry in entries.values():
        if not is_known(entry.key):
            near = get_close_matches(entry.key, NAMES, n=1)
            meant = f" (is it {near[0]}?)" if near else ""
            _say(entry, f"GROMACS knows no {entry.key}{meant}, it is not taken")


def _say_left_out(entries: dict[str, Entry]) -> None:
    """Warn of everything that is not sampled as the run has it."""
    for entry in (entries[key] for key in LEFT_OUT if key in entries):
        if not set(entry.text.lower().split()) <= OFF:
            _say(entry, LEFT_OUT[entry.key])
    pbc = entries.get("pbc")
    if pbc is not None and pbc.text.lower() != "xyz":
        which = "a box, where there is one," if pbc.text.lower() == "no" else "the box"
        _say(pbc, f"{which} is taken as periodic in all directions")


def _say(entry: Entry, what: str, level: int = logging.WARNING) -> None:
    log.log(level, "%s:%d: %s = %s: %s", entry.path, entry.line, entry.key, entry.text, what)


def _constraints(entries: dict[str, Entry], path: Path) -> str:
    if "constraints" not in entries:
        log.warning(
            "%s: says nothing of constraints: all bonds are taken as of fixed length, where GROMACS fixes "
            "none (constraints = none says so)",
            path,
        )
        return "all-bonds"
    entry = entries["constraints"]
    name = _plain(entry)
    if name not in CONSTRAINED:
        which = "not supported" if name in ("hangles", "allangles") else "unknown"
        raise entry.error(f"constraints: {entry.text!r} is {which}; possible are {', '.join(CONSTRAINTS)}")
    return CONSTRAINED[name]


def _reaction_field(entries: dict[str, Entry], epsilon_r: float) -> float | None:
    """Permittivity beyond the cut-off, 0 for infinity; ``None`` with a sum over the lattice."""
    entry = entries.get("coulombtype")
    name = "cutoff" if entry is None else _plain(entry)
    if name.startswith(LONG_RANGE) and entry is not None:
        _say(entry, "sampled as the zero-quadrupole form within rcoulomb", NOTICE)
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
    kind, modifier = entries.get("vdw-type"), entries.get("vdw-modifier")
    plain = kind is None or _plain(kind) == "cutoff"
    if kind is not None and _plain(kind) == "shift":
        return _switch_start(entries, cutoff)
    if plain and modifier is not None and _plain(modifier) == "forceswitch":
        return _switch_start(entries, cutoff)
    other = None if plain else kind
    if other is None and modifier is not None and _plain(modifier) not in SHIFTED:
        other = modifier
    if other is not None:
        _say(other, "treated as a plain cut-off with the potential shifted to zero there")
    return None


def _potential_switch(entries: dict[str, Entry], cutoff: float) -> float | None:
    """Where the potential of Lennard-Jones begins to be switched, nm; ``None`` where it is not."""
    kind, modifier = entries.get("vdw-type"), entries.get("vdw-modifier")
    if kind is None or _plain(kind) == "cutoff":
        switches = modifier is not None and _plain(modifier) == "potentialswitch"
    else:
        switches = _plain(kind) == "switch"
    return _switch_start(entries, cutoff) if switches else None


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


def mdp_include(entries: dict[str, Entry]) -> tuple[Path, ...]:
    """Return the folders to search for ``#include``; like grompp from the working directory on."""
    if "include" not in entries:
        return ()
    entry = entries["include"]
    words = entry.text.split()
    wrong = [word for word in words if not word.startswith("-I") or word == "-I"]
    if wrong:
        raise entry.error(f"include: expected -IFOLDER, found {wrong[0]!r}")
    return tuple(Path(word.removeprefix("-I")) for word in words)


def _plain(entry: Entry) -> str:
    """Return the value as a name: small letters, no hyphens."""
    return entry.text.lower().replace("-", "").replace("_", "")

"""Run parameters (``.mdp``): those that ship, with the user's force field and temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.files.mdp import (
    Entry,
    check_numbers,
    has_temperature,
    mdp_defines,
    mdp_entries,
    mdp_include,
    mdp_key,
    mdp_temperature,
)
from dbm_gmx.files.share import share_path
from dbm_gmx.files.text import read_text
from dbm_gmx.options import RelaxSettings

FORCE_FIELD = (
    *(
        "define",
        "pbc",
        "periodic-molecules",
        "constraints",
        "constraint-algorithm",
        "lincs-order",
        "lincs-iter",
        "shake-tol",
    ),
    *("cutoff-scheme", "nstlist", "rlist", "verlet-buffer-tolerance"),
    *("coulombtype", "coulomb-modifier", "rcoulomb", "rcoulomb-switch", "epsilon-r", "epsilon-rf"),
    *("vdw-type", "vdw-modifier", "rvdw", "rvdw-switch", "dispcorr", "lj-pme-comb-rule"),
    *("fourierspacing", "pme-order", "ewald-rtol", "ewald-rtol-lj", "ewald-geometry"),
)
"""What of a user's ``.mdp`` says how forces are computed, and holds for every run of the system."""

PERIODIC = "periodic-molecules"

TEMPERATURES = ("ref-t", "gen-temp")


@dataclass(frozen=True)
class Run:
    """Run parameters.

    Attributes
    ----------
    text
        Of the ``.mdp``.
    defines
        Names it defines for the preprocessor of the ``.top``.
    temperature
        K, ``None`` where it has no thermostat.
    include
        Folders for the preprocessor, from the working directory on.
    """

    text: str
    defines: tuple[str, ...]
    temperature: float | None
    include: tuple[Path, ...] = ()


def run_parameters(
    name: str,
    *,
    template: Path | None = None,
    mdp: Path | None = None,
    changes: Mapping[str, str] | None = None,
    temperature: float | None = None,
) -> Run:
    """Put an ``.mdp`` together.

    Parameters
    ----------
    name
        ``em``, ``nvt`` or ``npt``: one that ships (``share/mdp``).
    template
        A file to be used in its place, as it is but for ``changes`` and ``temperature``.
    mdp
        The user's run parameters: the force field in them goes before that of the file that ships, and so
        does the temperature.
    changes
        Values that go before all others.
    temperature
        K, for every group the run couples to a bath.

    Raises
    ------
    InputError
        A file that cannot be read, or numbers in it that are none.
    """
    path = template or share_path("mdp", f"{name}.mdp")
    own = mdp_entries(path)
    check_numbers(own)
    wanted, searched = dict[str, Entry](), mdp_include(own)
    if mdp is not None and template is None:
        theirs = mdp_entries(mdp)
        check_numbers(theirs)
        searched = mdp_include(theirs)
        wanted = {key: entry for key, entry in theirs.items() if key in FORCE_FIELD}
        if temperature is None and has_temperature(theirs):
            temperature = mdp_temperature(theirs)
    if temperature is not None:
        warm = [own[key] for key in TEMPERATURES if key in own]
        wanted |= {e.key: replace(e, text=_for_all(e.text, temperature)) for e in warm}
    wanted |= {key: Entry(path, 0, key, value) for key, value in (changes or {}).items()}
    merged = own | wanted
    return Run(
        _edited(path, wanted),
        mdp_defines(merged),
        mdp_temperature(merged) if has_temperature(merged) else None,
        searched,
    )


def wanted_runs(
    settings: RelaxSettings, names: Sequence[str], changes: Mapping[str, str] | None = None
) -> dict[str, Run]:
    """Return the runs of these names as a user wants them; ``changes`` go before the settings."""
    templates = {"em": settings.em_mdp, "nvt": settings.nvt_mdp}
    return {
        name: run_parameters(
            name,
            template=templates.get(name),
            mdp=settings.mdp,
            changes=_cutoffs(settings.cutoff) | dict(changes or {}),
            temperature=settings.temperature,
        )
        for name in names
    }


def _cutoffs(length: float | None) -> dict[str, str]:
    """Return the changes that set both cut-offs, nm; none if no length is given."""
    return {} if length is None else dict.fromkeys(("rvdw", "rcoulomb"), f"{length:g}")


def _for_all(found: str, value: float) -> str:
    """Repeat a temperature for every group that has one."""
    return " ".join([f"{value:g}"] * len(found.split()))


def bonded_through_the_box(text: str, frame: Frame) -> str:
    """Run parameters that heed bonds to periodic images, where a frame has some."""
    if not frame.winds:
        return text
    kept = [line for line in text.splitlines() if mdp_key(line) != PERIODIC]
    return "\n".join([*kept, f"{PERIODIC:<23} = yes", ""])


def _edited(path: Path, wanted: Mapping[str, Entry]) -> str:
    """Return the text of a file with some values changed, the others and all comments as they are."""
    left = dict(wanted)
    lines = []
    for line in read_text(path).removesuffix("\n").split("\n"):
        key = mdp_key(line)
        lines.append(_line(left.pop(key)) if key in left else line)
    return "\n".join([*lines, *map(_line, left.values()), ""])


def _line(entry: Entry) -> str:
    return f"{entry.key:<23} = {entry.text}"

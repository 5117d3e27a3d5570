"""What a caller in Python chooses by name, as the records that the command line makes of its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import Conformer, References
from dbm_gmx.files.mdp import conditions_given
from dbm_gmx.given import check_known, check_numbers, limits_of, listed
from dbm_gmx.options import (
    MODEL,
    REFINEMENTS,
    STARTS,
    Matching,
    Method,
    MoleculeFiles,
    Settings,
)

Paths = str | Path | Sequence[str | Path]
MappingGiven = str | Path | Mapping[str, Any] | Sequence[str | Path | Mapping[str, Any]] | None
"""A file, a folder, CGSmiles, a dictionary (:mod:`~dbm_gmx.files.python_mapping`), or several of these."""


class Choices(TypedDict, total=False):
    """What can be chosen by name; what each means is said of the option of ``dbm-gmx backmap``.

    Attributes
    ----------
    temperature, mdp, cutoff, spread
        The ensemble: K, a file, nm, nm.
    refine, start_from
        ``exact``, ``gibbs`` or ``none``; and ``growth`` or ``network``, the option ``--start``.
    sweeps, offers, annealing, windows, tolerance, check, memory, follow, memory_file, orientations, guided,
    seed, batch
        As the fields of :class:`~dbm_gmx.options.Settings`.
    model, channels, device
        The network's.
    cg_topology
        CG ``.top`` or ``.itp``, where a Universe does not know its molecules.
    owners, defines, include
        As the fields of :class:`~dbm_gmx.options.MoleculeFiles`.
    reference, tacticity
        Conformers that define the stereocentres, and what becomes of the others.
    alias, only, leave_out
        What molecules of beads are, ``{"W": "4 SOL"}``; which are taken; which are left out.
    allow, limits
        Rules that may be broken, and thresholds by rule.
    """

    temperature: float
    mdp: str | Path
    cutoff: float
    spread: float
    refine: str
    start_from: str
    sweeps: int
    offers: int
    annealing: int
    windows: int
    tolerance: float
    check: bool
    memory: bool
    follow: bool
    memory_file: str | Path
    orientations: int
    guided: bool
    seed: int
    batch: int
    model: str | Path
    channels: str | Path
    device: str
    cg_topology: str | Path
    owners: Paths
    defines: Sequence[str]
    include: Paths
    reference: References
    tacticity: str | Conformer
    alias: Mapping[str, str]
    only: Sequence[str]
    leave_out: Sequence[str]
    allow: Sequence[str]
    limits: Mapping[str, float]


NUMBERS = {
    **dict.fromkeys(("temperature", "cutoff", "spread", "tolerance"), 0.0),
    **dict.fromkeys(("sweeps", "offers", "annealing", "windows", "seed"), 0),
    **dict.fromkeys(("orientations", "batch"), 1),
}
"""Choices that are numbers, and their smallest values."""

WORDS = {"refine": REFINEMENTS, "start_from": STARTS}
"""Choices that are words, and those that there are."""

SWITCHES = ("check", "memory", "follow", "guided")
"""Choices that are true or false."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What was chosen, as records.

    Attributes
    ----------
    molecules
        Which atoms the beads stand for.
    method
        How they are put back.
    cg_topology, reference, tacticity
        See :class:`Choices`.
    """

    molecules: MoleculeFiles = field(default_factory=MoleculeFiles)
    method: Method = field(default_factory=Method)
    cg_topology: Path | None = None
    reference: References = None
    tacticity: str | Conformer | None = None


def chosen(topology: str | Path | None, mapping: MappingGiven, choices: Choices) -> Chosen:
    """Make records of what was chosen.

    Raises
    ------
    InputError
        A choice that does not exist, or a value that cannot be.
    """
    check_known(choices, Choices.__annotations__, "choice")
    check_numbers(choices, NUMBERS)
    given = dict(choices)
    for name in WORDS.keys() & given:
        check_known(listed(given[name]), WORDS[name], name)
    for name in SWITCHES:
        if not isinstance(given.get(name, True), bool | np.bool_):
            raise InputError(f"{name}: {given[name]!r} is neither True nor False")
    conditions, told = conditions_given(choices.get("mdp"), choices.get("temperature"), choices.get("cutoff"))
    if (spread := choices.get("spread")) is not None:
        conditions = replace(conditions, spread=spread)
    molecules = MoleculeFiles(
        None if topology is None else Path(topology),
        listed(mapping),
        tuple(map(Path, listed(choices.get("owners")))),
        (*told.defines, *choices.get("defines", ())),
        (*map(Path, listed(choices.get("include"))), *told.include),
        Matching(
            tuple(choices.get("alias", {}).items()),
            tuple(choices.get("only", ())),
            tuple(choices.get("leave_out", ())),
        ),
    )
    method = Method(
        _settings(choices),
        conditions,
        model=choices.get("model", MODEL),
        device=choices.get("device"),
        limits=limits_of(choices.get("limits"), choices.get("allow")),
        channels=None if "channels" not in choices else Path(choices["channels"]),
    )
    cg_topology = choices.get("cg_topology")
    return Chosen(
        molecules,
        method,
        None if cg_topology is None else Path(cg_topology),
        choices.get("reference"),
        choices.get("tacticity"),
    )


def _settings(choices: Choices) -> Settings:
    """Those that are chosen."""
    names = {one.name for one in fields(Settings)} - {"start", "samples"}
    found: dict[str, Any] = {name: value for name, value in choices.items() if name in names}
    if (file := choices.get("memory_file")) is not None:
        found["memory_file"] = Path(file)
    return Settings(start=choices.get("start_from"), **found)

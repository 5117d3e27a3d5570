"""Everything that can be found out without converting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import SignArray
from dbm_gmx.chemistry.stereo import Chirality, stereocentres
from dbm_gmx.chemistry.system import System
from dbm_gmx.commands.backmap import make_backmapper
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.system import read_inputs
from dbm_gmx.network.arrays import system_layout
from dbm_gmx.network.channels import classes_of
from dbm_gmx.network.model import read_model
from dbm_gmx.options import ASSUMED, MODEL, Conditions, Inputs, Settings
from dbm_gmx.sampling.sampler import make_sampler


def check(
    inputs: Inputs,
    *,
    model: str | Path = MODEL,
    channels: Path | None = None,
    settings: Settings | None = None,
    conditions: Conditions | None = None,
) -> list[str]:
    """Validate all inputs: names, counts, order, mapping, box and positions of every frame, method.

    Of the force field and the model, what the settings need must fit; what is said of the other is for
    information.

    Returns
    -------
    What was found, line by line.

    Raises
    ------
    InputError
        At the first thing that cannot be used.
    """
    settings, conditions = settings or Settings(), conditions or Conditions(source=ASSUMED)
    system, frames, _ = read_inputs(inputs)
    lines = [f"system: {system.n_beads} beads, {system.n_atoms} atoms"]
    lines += [
        line for name in {m.moltype.name: m for m in system.matches} for line in _molecule(system, name)
    ]
    chirality = reference_chirality(system, inputs.reference, conformers=system.conformers)
    unknown = sum(
        int((np.broadcast_to(h, (c, h.shape[1])) == 0).sum()) for h, c in _copies(system, chirality)
    )
    if unknown:
        lines.append(f"stereocentres: nothing says the hand of {unknown}, which the beads decide")
    make_backmapper(
        system, settings=settings, conditions=conditions, chirality=chirality, model=model, channels=channels
    )
    lines.append(_force_field(system, settings, conditions, chirality))
    lines.append(_model(system, model, channels))
    times = [frame.time for frame in frames]
    lines.append(
        f"trajectory: {len(times)} frames, {times[0]:g} to {times[-1]:g} ps, all with a box and finite"
    )
    return lines


def _copies(system: System, chirality: Chirality) -> Iterator[tuple[SignArray, int]]:
    """Yield the hands of each molecule type and how many copies there are."""
    for name, signs in chirality.items():
        yield signs, sum(match.count for match in system.matches if match.moltype.name == name)


def _force_field(system: System, settings: Settings, conditions: Conditions, chirality: Chirality) -> str:
    """Say whether the force field can be sampled."""
    try:
        if not settings.uses_sampler:
            make_sampler(system, conditions, settings, chirality)
    except InputError as error:
        return f"force field: {error} (not needed here)"
    return (
        f"force field: can be sampled; {conditions.thermostat}, cut-offs {conditions.rvdw:g} and "
        f"{conditions.rcoulomb:g} nm, constraints {conditions.constraints}"
    )


def _model(system: System, model: str | Path, channels: Path | None) -> str:
    """Say whether the model knows the system."""
    try:
        chosen = read_model(model, channels)
        system_layout(system, chosen.channels)
    except InputError as error:
        return f"model {model}: {error} (not needed here)"
    classes = sorted({c for names in classes_of(system, chosen.channels).values() for c in names})
    return f"model {model} knows all atom classes ({', '.join(classes)}) and bead types"


def _molecule(system: System, name: str) -> list[str]:
    match = next(m for m in system.matches if m.moltype.name == name)
    count = sum(m.count for m in system.matches if m.moltype.name == name)
    bare = match.moltype.n_atoms - len(set(match.mapping.weights.nonzero()[1].tolist()))
    beads = " ".join(f"{n}:{t}" for n, t in zip(match.mapping.names, match.mapping.types, strict=True))
    return [
        f"molecule {name}: {count} times, {match.moltype.n_atoms} atoms "
        f"({bare} without weight in the mapping), {len(stereocentres(match.moltype))} stereocentres",
        f"  beads {beads if len(beads) < 80 else beads[:76] + ' ...'}",
    ]

"""Everything that can be found out without converting."""

from __future__ import annotations

from pathlib import Path

from dbm_gmx.backmap import read_inputs, read_model
from dbm_gmx.options import MODEL, Inputs
from dbm_gmx.quality import stereocentres
from dbm_gmx.system import System, classes_of, system_layout


def check(inputs: Inputs, *, model: str | Path = MODEL, channels: Path | None = None) -> list[str]:
    """Validate all inputs: names, counts, order, mapping, box and positions of every frame, model.

    Returns
    -------
    What was found, line by line.

    Raises
    ------
    InputError
        At the first thing that cannot be used.
    """
    system, frames, _ = read_inputs(inputs)
    lines = [f"system: {system.n_beads} beads, {system.n_atoms} atoms"]
    lines += [line for name in system.plans for line in _molecule(system, name)]
    chosen = read_model(model, channels)
    system_layout(system, chosen.channels)
    classes = sorted({c for names in classes_of(system, chosen.channels).values() for c in names})
    lines.append(f"model {model} knows all atom classes ({', '.join(classes)}) and bead types")
    times = [frame.time for frame in frames]
    lines.append(
        f"trajectory: {len(times)} frames, {times[0]:g} to {times[-1]:g} ps, all with a box and finite"
    )
    return lines


def _molecule(system: System, name: str) -> list[str]:
    match = next(m for m in system.matches if m.kind.name == name)
    count = sum(m.count for m in system.matches if m.kind.name == name)
    bare = match.kind.n_atoms - len(set(match.mapping.weights.nonzero()[1].tolist()))
    beads = " ".join(f"{n}:{t}" for n, t in zip(match.mapping.names, match.mapping.types, strict=True))
    return [
        f"molecule {name}: {count} times, {match.kind.n_atoms} atoms ({bare} without weight in the mapping), "
        f"{len(stereocentres(match.kind))} stereocentres",
        f"  beads {beads if len(beads) < 80 else beads[:76] + ' ...'}",
    ]

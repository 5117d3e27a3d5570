"""Everything that can be found out without converting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dbm_gmx.backmapping.chirality import FRAMES, check_tacticity
from dbm_gmx.backmapping.electrostatics import measure_electrostatics
from dbm_gmx.backmapping.rebuilder import make_rebuilder
from dbm_gmx.chemistry.feasible import impossible, problems_of
from dbm_gmx.chemistry.frame import Frame, box_problem
from dbm_gmx.chemistry.stereo import (
    Chirality,
    are_bonds,
    nominal_elements,
    stereo_bonds,
    stereo_elements,
    stereocentres,
)
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import given_chirality, stereo_notes, with_usual
from dbm_gmx.files.structure import structure_frames
from dbm_gmx.files.system import read_inputs
from dbm_gmx.options import MODEL, TACTICITIES, Inputs, Method
from dbm_gmx.sampling.chirality import DECIDED
from dbm_gmx.sampling.sampler import make_sampler


def check(inputs: Inputs, method: Method) -> list[str]:
    """Validate all inputs: names, counts, order, mapping, box and positions of every frame, method.

    Of the force field and the model, what the settings need must fit.  Of a model that was named and is not
    needed, what is said is for information.

    Returns
    -------
    What was found, line by line.

    Raises
    ------
    InputError
        At the first thing that cannot be used.
    """
    system, beads = read_inputs(inputs)
    frames = iter(beads)
    lines = [f"system: {system.n_beads} beads, {system.n_atoms} atoms"]
    lines += [
        line for name in {m.moltype.name: m for m in system.matches} for line in _molecule(system, name)
    ]
    known = given_chirality(system, inputs.references, conformers=system.conformers, reorder=inputs.reorder)
    chirality = with_usual(system, known)
    check_tacticity(system, inputs.tacticity)
    lines += _undefined(system, method, chirality, inputs.tacticity)
    lines += [f"note: {note}" for note in stereo_notes(system, known)]
    make_rebuilder(system, method, chirality=chirality)
    lines += [_force_field(system, method, chirality), *_electrostatics(system, inputs, method)]
    if method.settings.uses_network or method.model != MODEL or method.channels is not None:
        lines += _model(system, method)
    times, found = _frames(system, frames, inputs, method)
    box = "none with a box, all" if beads.first.free else "all with a box and"
    lines.append(f"trajectory: {len(times)} frames, {times[0]:g} to {times[-1]:g} ps, {box} finite")
    return [*lines, *found]


def _frames(
    system: System, frames: Iterable[Frame], inputs: Inputs, method: Method
) -> tuple[list[float], list[str]]:
    """The times of all frames, and what speaks against putting atoms there, each kind with its first frame.

    Raises
    ------
    InputError
        At the first frame in which no atoms can be put on the beads.
    """
    times, first, counts = list[float](), dict[str, str](), Counter[str]()
    cutoff = max(method.conditions.rvdw, method.conditions.rcoulomb)
    for frame in frames:
        times.append(frame.time)
        where = f"frame {frame.index} (t = {frame.time:g} ps)"
        whole = with_whole_beads(system, frame)
        problems = problems_of(system, whole, cutoff)
        if error := impossible(frame, problems, inputs.trajectory or inputs.structure):
            raise error
        for problem in problems:
            first.setdefault(problem.kind, f"{where}: {problem.words}")
            counts[problem.kind] += 1
    return times, [
        f"warning: {words}" + (f" (and in {counts[kind] - 1} more frames)" if counts[kind] > 1 else "")
        for kind, words in first.items()
    ]


NAMED = 4
"""Stereocentres of a molecule type that are named, at most."""


def _undefined(
    system: System, method: Method, chirality: Chirality, tacticity: str | Path | None
) -> list[str]:
    """Name the stereocentres and bonds that nothing defines, and say what will become of them."""
    lines = []
    for bonds, what in ((False, "stereocentres"), (True, "cis/trans")):
        for name, signs in chirality.items():
            moltype = system.topology.molecule_types[name]
            elements = stereo_elements(moltype)
            nominal = nominal_elements(moltype, system.mappings.get(name))
            unknown = (signs == 0) & ~nominal & (are_bonds(elements) == bonds)
            each = np.flatnonzero(unknown.any(axis=0))
            if not len(each):
                continue
            copies = sum(m.count for m in system.matches if m.moltype.name == name)
            total = int(unknown.sum()) * (copies // len(signs))
            resids = moltype.attribute("resid")
            atoms = elements[each, 1:3] if bonds else elements[each, :1]
            some = [
                "-".join(moltype.names[i] for i in row) + f" of residue {resids[row[0]]}"
                for row in atoms[:NAMED].tolist()
            ]
            more = ", ..." if len(each) > NAMED else ""
            lines.append(f"{what}: nothing defines {total} of {name} ({', '.join(some)}{more})")
    if not lines:
        return []
    if not method.settings.uses_sampler:
        return [*lines, "  the network will draw them: undecided, exit code 2"]
    then = "undecided, exit code 2 (-r or --tacticity says more)"
    if tacticity is not None:
        then = tacticity if tacticity in TACTICITIES else f"as in {tacticity}"
    return [
        *lines,
        f"  inferred from the beads of up to {FRAMES} frames; what is not decided by {DECIDED:g} kT: {then}",
    ]


def _force_field(system: System, method: Method, chirality: Chirality) -> str:
    """Say whether the force field can be sampled."""
    try:
        if not method.settings.uses_sampler:
            make_sampler(system, method.conditions, method.settings, chirality)
    except InputError as error:
        return f"force field: {error} (not needed here)"
    conditions = method.conditions
    start = conditions.rvdw_switch
    switched = "" if start is None else f" (force switched from {start:g} nm)"
    return (
        f"force field: can be sampled; {conditions.thermostat}, cut-offs {conditions.rvdw:g}{switched} and "
        f"{conditions.rcoulomb:g} nm, constraints {conditions.constraints}"
    )


def _electrostatics(system: System, inputs: Inputs, method: Method) -> list[str]:
    """Say what electrostatics within the cut-off are worth in a reference of the whole system."""
    lines = []
    for path in inputs.references:
        frame = next(structure_frames(path))
        # a PDB file that is no crystal has a cell of 0.1 nm
        if len(frame.positions) != system.n_atoms or box_problem(frame.box):
            continue
        if frame.box.diagonal().min() >= method.conditions.rcoulomb:
            found = measure_electrostatics(system, frame, method.conditions)
            lines += [] if found is None else [f"electrostatics: {found.text()}, in {path.name}"]
    return lines


def _model(system: System, method: Method) -> list[str]:
    """Say whether the model knows the system; it alone needs tensors."""
    from dbm_gmx.network.arrays import make_network_arrays
    from dbm_gmx.network.model import read_model
    from dbm_gmx.network.suitable import atom_classes_of, doubts

    name = method.model
    try:
        model = read_model(name, method.channels)
        make_network_arrays(system, model.channels)
    except InputError as error:
        return [f"model {name}: {error} (not needed here)"]
    classes = sorted(atom_classes_of(system, model))
    found = [f"model {name} knows all atom classes ({', '.join(classes)}) and bead types"]
    if not model.provenance.get("scores"):
        found.append("  nothing in its file says how good it is")
    return [*found, *(f"  {doubt}" for doubt in doubts(model, system, method.conditions))]


def _molecule(system: System, name: str) -> list[str]:
    match = next(m for m in system.matches if m.moltype.name == name)
    count = sum(m.count for m in system.matches if m.moltype.name == name)
    bare = match.moltype.n_atoms - len(set(match.mapping.weights.nonzero()[1].tolist()))
    beads = " ".join(f"{n}:{t}" for n, t in zip(match.mapping.names, match.mapping.types, strict=True))
    bonds = len(stereo_bonds(match.moltype))
    return [
        f"molecule {name}: {count} times, {match.moltype.n_atoms} atoms "
        f"({bare} without weight in the mapping), {len(stereocentres(match.moltype))} stereocentres"
        + (f", {bonds} bonds that do not turn" if bonds else ""),
        f"  beads {beads if len(beads) < 80 else beads[:76] + ' ...'}",
    ]

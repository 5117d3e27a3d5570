"""What follows a reconstruction: its frames relaxed, a folder from which GROMACS goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dbm_gmx.backmapping.backmap import Backmapped, sample_paths
from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.system import System
from dbm_gmx.errors import InputError
from dbm_gmx.files.input_files import files_of_beads
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import make_folder
from dbm_gmx.files.trajectory import check_suffix, read_frames
from dbm_gmx.gromacs.relax import Atoms, Preparation, prepare, relax_frames
from dbm_gmx.gromacs.relaxation import Relaxation
from dbm_gmx.gromacs.workdir import write_workdir
from dbm_gmx.options import Inputs, RelaxSettings
from dbm_gmx.parallel import Workers


@dataclass(frozen=True)
class HandOff:
    """What is wanted of it.

    Attributes
    ----------
    relaxed
        Where relaxed frames go; ``None`` for none.
    workdir
        The folder; ``None`` for none.
    settings
        Run parameters, restraints, processes.
    prepared
        GROMACS and the runs, where frames are relaxed.
    crew
        Processes that frames are sent to.
    """

    relaxed: Path | None
    workdir: Path | None
    settings: RelaxSettings
    prepared: Preparation | None = None
    crew: Workers | None = None


def check_hand_off(wanted: HandOff, output: Path) -> HandOff:
    """Refuse what cannot be done before hours are spent on the atoms.

    Raises
    ------
    InputError
        No GROMACS, files that cannot be read or written.
    """
    if wanted.workdir is not None:
        make_folder(wanted.workdir)
    if wanted.relaxed is None:
        return wanted
    check_suffix(wanted.relaxed)
    if wanted.relaxed.resolve() == output.resolve():
        raise InputError("the same file for the atoms (-o) and the relaxed ones (--relax)", path=output)
    return replace(wanted, prepared=prepare(wanted.settings))


def hand_off(inputs: Inputs, done: Backmapped, wanted: HandOff, *, quiet: bool = True) -> list[Relaxation]:
    """Relax the atoms rebuilt from ``inputs``, with their centres on the beads; write the folder.

    Parameters
    ----------
    inputs
        Of the reconstruction.
    done
        What it has left.
    wanted
        As :func:`check_hand_off` has returned it.
    quiet
        No progress bar.

    Returns
    -------
    What there is to say, for each sample.
    """
    relaxations, final = [], done.outputs[0]
    if wanted.relaxed is not None:
        targets = sample_paths(wanted.relaxed, len(done.outputs))
        for source, target in zip(done.outputs, targets, strict=True):
            relaxations.append(_relax(_atoms(inputs, done, source), target, wanted, quiet=quiet))
        final = targets[0]
    if wanted.workdir is not None:
        with locked(wanted.workdir):
            write_workdir(
                wanted.workdir,
                next(read_frames(final, n_atoms=done.system.n_atoms)),
                done.system.written,
                settings=wanted.settings,
                defines=inputs.defines,
                include=inputs.include,
            )
    return relaxations


def _atoms(inputs: Inputs, done: Backmapped, source: Path) -> Atoms:
    """The atoms of a sample, with the beads they were made for."""
    mappings, rows = _restrainable(done.system)
    found = done.report.prepared
    return Atoms(
        done.system.written,
        read_frames(source, n_atoms=done.system.n_atoms),
        mappings,
        beads=(replace(frame, positions=frame.positions[rows]) for frame in done.beads),
        total=done.frames,
        defines=inputs.defines,
        include=inputs.include,
        files=(source, *files_of_beads(inputs, done.system.written), *done.system.shipped),
        times=(inputs.begin, inputs.end, inputs.dt),
        widths={} if found is None else found.widths(mappings),
    )


def _restrainable(system: System) -> tuple[dict[str, Mapping], IntArray]:
    """Mappings of molecule types that GROMACS can hold to their beads, and rows of these beads.

    A virtual site is made of atoms of one molecule: beads of several molecules are not held.
    """
    parts = {name for match in system.matches for name, _ in match.mapping.parts}
    types = system.written.molecule_types
    held = {m.moltype.name: m.mapping for m in system.matches if m.moltype is types.get(m.moltype.name)}
    mappings = {name: mapping for name, mapping in held.items() if name not in parts}
    rows = [
        m.first_bead + np.arange(m.count * len(m.mapping.names))
        for m in system.matches
        if m.moltype.name in mappings
    ]
    return mappings, np.concatenate([np.zeros(0, np.int64), *rows])


def _relax(atoms: Atoms, target: Path, wanted: HandOff, *, quiet: bool) -> Relaxation:
    if wanted.prepared is None:
        raise ValueError("check_hand_off comes first")
    prepared, settings, crew = wanted.prepared, wanted.settings, wanted.crew
    return relax_frames(atoms, target, prepared=prepared, settings=settings, crew=crew, quiet=quiet)

"""What follows a reconstruction: its frames relaxed, a folder from which GROMACS goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dbm_gmx.commands.backmap import sample_paths
from dbm_gmx.errors import InputError
from dbm_gmx.files.system import read_inputs
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.gromacs.relax import Atoms, Preparation, prepare, relax_frames
from dbm_gmx.gromacs.relaxation import Relaxation
from dbm_gmx.gromacs.workdir import make_workdir, write_workdir
from dbm_gmx.options import Inputs, RelaxSettings


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
    """

    relaxed: Path | None
    workdir: Path | None
    settings: RelaxSettings
    prepared: Preparation | None = None


def check_hand_off(wanted: HandOff, output: Path) -> HandOff:
    """Refuse what cannot be done before hours are spent on the atoms.

    Raises
    ------
    InputError
        No GROMACS, files that cannot be read or written.
    """
    if wanted.workdir is not None:
        make_workdir(wanted.workdir)
    if wanted.relaxed is None:
        return wanted
    if wanted.relaxed.resolve() == output.resolve():
        raise InputError("the same file for the atoms (-o) and the relaxed ones (--relax)", path=output)
    return replace(wanted, prepared=prepare(wanted.settings))


def hand_off(
    inputs: Inputs, output: Path, wanted: HandOff, *, samples: int = 1, quiet: bool = True
) -> list[Relaxation]:
    """Relax the atoms rebuilt from ``inputs``, with their centres on the beads; write the folder.

    Parameters
    ----------
    inputs
        Of the reconstruction.
    output
        The atoms, one file for each sample.
    wanted
        As :func:`check_hand_off` has returned it.

    Returns
    -------
    What there is to say, for each sample.
    """
    outputs = sample_paths(output, samples)
    system, _, total = read_inputs(inputs)
    done, final = [], outputs[0]
    if wanted.relaxed is not None and wanted.prepared is not None:
        for source, target in zip(outputs, sample_paths(wanted.relaxed, samples), strict=True):
            frames = read_frames(source, n_atoms=system.n_atoms)
            _, beads, _ = read_inputs(inputs)
            atoms = Atoms(
                system.topology,
                frames,
                system.mappings,
                beads=beads,
                total=total,
                defines=inputs.defines,
                include=inputs.include,
            )
            settings = wanted.settings
            done.append(relax_frames(atoms, target, prepared=wanted.prepared, settings=settings, quiet=quiet))
        final = sample_paths(wanted.relaxed, samples)[0]
    if wanted.workdir is not None:
        first = next(read_frames(final, n_atoms=system.n_atoms))
        write_workdir(
            wanted.workdir,
            first,
            system.topology,
            settings=wanted.settings,
            defines=inputs.defines,
            include=inputs.include,
        )
    return done

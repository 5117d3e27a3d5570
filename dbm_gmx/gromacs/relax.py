"""Atoms relaxed with GROMACS, frame by frame: minimised, then run for a moment, their centres held."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import Match, bead_topology, mapped_molecules
from dbm_gmx.chemistry.periodic import minimum_image, whole_molecules
from dbm_gmx.chemistry.system import map_frame
from dbm_gmx.chemistry.topology import Topology, blocks
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.errors import InputError
from dbm_gmx.files.bonded_tables import tables_beside
from dbm_gmx.files.frame_times import count_taken
from dbm_gmx.files.input_files import files_of_atoms
from dbm_gmx.files.mdp import has_temperature, mdp_entries, say_unknown
from dbm_gmx.files.provenance import Provenance, Started, described, write_provenance
from dbm_gmx.files.record import Job, Line, open_record
from dbm_gmx.files.structure import compare_names, in_order
from dbm_gmx.files.system import block_of, mappings_of, read_atoms
from dbm_gmx.files.top_writer import add_sites, flat_topology, sited_molecule, topology_text
from dbm_gmx.files.trajectory import check_suffix, make_writer, read_frames
from dbm_gmx.gromacs.finished import clear_folder, frame_folder, keep, recall, work_folder
from dbm_gmx.gromacs.gmx import Gmx, GmxError, find_gmx, stop_all
from dbm_gmx.gromacs.relax_frame import Protocol, Relaxed, Task, fingerprint, relax_frame
from dbm_gmx.gromacs.relaxation import Failure, Relaxation, RelaxTally, Success
from dbm_gmx.gromacs.run_parameters import Run, wanted_runs
from dbm_gmx.options import AtomInputs, RelaxSettings
from dbm_gmx.parallel import Workers, side_by_side
from dbm_gmx.progress import Progress

log = logging.getLogger(__name__)

RUNS = ("em", "nvt")
"""What is run of each frame: a minimisation and some dynamics."""

AHEAD = 4
"""Frames for each process that are started or wait, so that a slow one does not hold up the others."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """Frames to be relaxed, and of what.

    Attributes
    ----------
    topology
        Of the atoms.
    frames
        Their positions.
    mappings
        Of the molecules whose centres are compared with the beads, and restrained if the settings say so.
    beads
        Where the centres belong, frame by frame; at the mapped atoms if ``None``.
    total
        How many frames there are, where that is known.
    defines, include
        For the preprocessor of the ``.top``.
    files, times
        All that these were read from, and which times were taken (begin, end, step), ps.
    part
        Number of the part of them that these are, and how many parts there are.
    widths
        How closely their centres were held when they were made, (beads,) nm by molecule type.
    """

    topology: Topology
    frames: Iterable[Frame]
    mappings: Mapping[str, BeadMapping] = field(default_factory=dict)
    beads: Iterable[Frame] | None = None
    total: int | None = None
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    times: tuple[float | None, float | None, float | None] = (None, None, None)
    part: tuple[int, int] | None = None
    widths: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def matches(self) -> tuple[Match, ...]:
        """Runs of molecules with a mapping."""
        return mapped_molecules(self.topology, self.mappings) if self.mappings else ()


@dataclass(frozen=True)
class Preparation:
    """GROMACS, and the runs of each frame, one after the other."""

    gmx: Gmx
    runs: Mapping[str, Run]


def relax(
    inputs: AtomInputs,
    output: Path,
    *,
    beads: Path | None = None,
    settings: RelaxSettings | None = None,
    crew: Workers | None = None,
    quiet: bool = True,
) -> Relaxation:
    """Relax an atomistic trajectory with GROMACS.

    Parameters
    ----------
    inputs
        Atoms with their ``.top``, and a mapping if centres are to be restrained or compared.
    output
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``.
    beads
        Trajectory of beads to which the centres are held; the mapped atoms themselves if not given.
    settings
        Run parameters, restraints, processes.
    quiet
        No progress bar.

    Raises
    ------
    InputError
        If any input cannot be used or no frame could be relaxed.
    """
    check_suffix(output)
    settings = settings or RelaxSettings()
    if settings.mdp is not None:
        say_unknown(mdp_entries(settings.mdp))
    prepared = prepare(settings)
    if inputs.topology is None:
        raise InputError("grompp needs the topology of the atoms: give a .top (-p)")
    defines = (*(d for run in prepared.runs.values() for d in run.defines), *inputs.defines)
    include = dict.fromkeys(
        [*inputs.include, *(folder for run in prepared.runs.values() for folder in run.include)]
    )
    inputs = replace(inputs, include=tuple(include))
    topology, frames, total = read_atoms(replace(inputs, defines=defines))
    mappings = _wanted_mappings(topology, inputs, settings)
    atoms = Atoms(
        topology,
        frames,
        mappings,
        total=total,
        defines=inputs.defines,
        include=inputs.include,
        files=tuple(files_of_atoms(inputs, [beads])),
        times=(inputs.begin, inputs.end, inputs.dt),
        part=inputs.part,
    )
    if beads is not None:
        if not mappings:
            raise InputError("beads need a mapping (-m)", path=beads)
        cg = bead_topology(atoms.matches)
        times = {"begin": inputs.begin, "end": inputs.end, "dt": inputs.dt}
        references = read_frames(beads, n_atoms=cg.n_atoms, **times)
        order = compare_names(cg, beads, "beads", reorder=inputs.reorder)
        references = in_order(references, order)
        if inputs.part is not None and inputs.trajectory is not None:
            total = count_taken(inputs.trajectory, **times, whatever_it_takes=True)
            references = islice(references, *block_of(inputs.part, total or 0))
        atoms = replace(atoms, beads=references)
    return relax_frames(atoms, output, prepared=prepared, settings=settings, crew=crew, quiet=quiet)


def prepare(settings: RelaxSettings) -> Preparation:
    """Find GROMACS and read the run parameters; a temperature nobody gives is assumed, with a warning.

    Raises
    ------
    InputError
        There is no GROMACS, or a file cannot be read.
    """
    known = settings.temperature is not None or settings.nvt_mdp is not None
    if not known and (settings.mdp is None or not has_temperature(mdp_entries(settings.mdp))):
        log.warning("no temperature is given (-t, or ref-t in --mdp): GROMACS runs at that of share/mdp")
    runs = wanted_runs(settings, RUNS)
    return Preparation(find_gmx(settings.gmx), runs)


def _wanted_mappings(
    topology: Topology, inputs: AtomInputs, settings: RelaxSettings
) -> dict[str, BeadMapping]:
    if not settings.restrain and not inputs.mappings:
        return {}
    try:
        return mappings_of(topology, inputs.mappings)
    except InputError as error:
        if inputs.mappings:
            raise
        raise InputError(f"centres are held by a mapping (-m), or not (--no-restraints): {error}") from error


def relax_frames(
    atoms: Atoms,
    output: Path,
    *,
    prepared: Preparation,
    settings: RelaxSettings,
    crew: Workers | None = None,
    quiet: bool = True,
) -> Relaxation:
    """Relax frames of atoms, several at a time, and write them in order.

    Frames finished by an earlier run of the same job, which was ended or of which others failed, are
    taken from the folder ``output.work`` beside the output.  Processes that frames are sent to work in that
    folder as well.

    Raises
    ------
    InputError
        If no frame could be relaxed, the input is damaged or is not that of the run to go on with.
    """
    all_of_them = 1 if crew is not None else max(1, len(os.sched_getaffinity(0)) // settings.jobs)
    threads = settings.threads or all_of_them
    protocol = make_protocol(atoms, prepared, replace(settings, threads=threads))
    folder = output.with_name(f"{output.name}.work")
    tally = RelaxTally(protocol, atoms.matches)
    begin, started = time.monotonic(), Started()
    frame = partial(_relaxed, protocol, folder.absolute())
    free = ("end",) if atoms.part is None else ()
    job = Job("relax", atoms.files, _given(protocol, atoms), free=free)
    with open_record(output, [output], job, restart=settings.restart) as record:
        if settings.restart:
            clear_folder(folder)
        record.take_up(0, _pass)  # what is finished is in the folder
        writer = make_writer(record.parts[0], atoms.topology)
        work = side_by_side(frame, _tasks(atoms), crew or settings.jobs, ahead=AHEAD, abandon=stop_all)
        with work_folder(folder), closing(work) as done, Progress(atoms.total, quiet=quiet) as progress:
            last = 0
            for task, result in done:
                last = task.frame.index
                if not isinstance(result, Failure):
                    writer.write(replace(task.frame, positions=result.relaxed.positions))
                tally.add(task, result)
                progress.update()
        if not writer.frames:
            raise InputError(f"no frame could be relaxed: {len(tally.failures)} failed", path=folder)
        if not tally.failures:
            clear_folder(folder, last)
    report = tally.report(time.monotonic() - begin)
    said: dict[str, Any] = {
        "settings": {**job.settings, "threads": threads},
        "summary": described(report),
        "text": report.text(),
        "gmx": protocol.gmx.text(),
        "part": None if atoms.part is None else {"number": atoms.part[0], "of": atoms.part[1]},
        "broken": [f"not relaxed: {report.missing()}"] if report.failures else [],
    }
    write_provenance([output], Provenance("relax", record.inputs, **said, started=started))
    return report


def _given(protocol: Protocol, atoms: Atoms) -> dict[str, Any]:
    """What the relaxed frames depend on, beside the input files."""
    runs = {f"{name}.mdp": run.text for name, run in protocol.runs.items()}
    settings = protocol.settings
    return {
        "GROMACS": protocol.gmx.version,
        "run parameters": blake2b(json.dumps(runs).encode(), digest_size=8).hexdigest(),
        "defines": sorted(atoms.defines),
        "restraints": settings.restrain,
        "spread": settings.width if not atoms.widths else {n: w.tolist() for n, w in protocol.widths.items()},
        "seed": settings.seed,
        **dict(zip(("begin", "end", "dt"), atoms.times, strict=True)),
    }


def _pass(_: Line) -> None:
    pass


def make_protocol(atoms: Atoms, prepared: Preparation, settings: RelaxSettings) -> Protocol:
    """Prepare what all frames share: topologies, with sites if centres are held."""
    runs, topology = prepared.runs, atoms.topology
    mappings = atoms.mappings if settings.restrain else {}
    temperature = next((run.temperature for run in runs.values() if run.temperature), 300.0)
    widths = {name: _widths(atoms, name, settings) for name in mappings}
    stiffness = {name: GAS * temperature / width**2 for name, width in widths.items()}
    tops = {}
    for name, run in runs.items():
        parts = flat_topology(topology, defines=(*run.defines, *atoms.defines), include=atoms.include)
        tops[name] = topology_text(add_sites(parts, mappings, stiffness) if mappings else parts)
    moltypes = {
        name: sited_molecule(moltype, mappings[name]) if name in mappings else moltype
        for name, moltype in topology.molecule_types.items()
    }
    sited = replace(topology, molecule_types=moltypes)
    rows, sites = _rows(topology, sited)
    tables = tables_beside(topology)
    return Protocol(prepared.gmx, settings, runs, tops, topology, sited, rows, sites, tables, widths)


def _widths(atoms: Atoms, name: str, settings: RelaxSettings) -> FloatArray:
    """How closely to hold the centres of a molecule type: no more closely than they were made."""
    if settings.spread is None and name in atoms.widths:
        return atoms.widths[name]
    return np.full(len(atoms.mappings[name].names), settings.width)


def _rows(topology: Topology, sited: Topology) -> tuple[IntArray, IntArray]:
    """Rows of atoms and of sites: in each molecule the sites follow the atoms."""
    atoms, sites = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for (moltype, _, count), (full, first, _) in zip(blocks(topology), blocks(sited), strict=True):
        rows = first + np.arange(count * full.n_atoms).reshape(count, -1)
        atoms.append(rows[:, : moltype.n_atoms].ravel())
        sites.append(rows[:, moltype.n_atoms :].ravel())
    return np.concatenate(atoms), np.concatenate(sites)


def _tasks(atoms: Atoms) -> Iterator[Task]:
    """Yield whole molecules with the places of their centres."""
    matches = atoms.matches
    references = iter(atoms.beads) if atoms.beads is not None else None
    for frame in atoms.frames:
        whole = whole_molecules(atoms.topology, frame)
        mapped = map_frame(matches, whole).positions
        if references is None:
            yield Task(whole, mapped)
            continue
        beads = next(references, None)
        if beads is None or abs(beads.time - frame.time) > 1e-3:
            found = "none" if beads is None else f"those of {beads.time:g} ps"
            raise InputError(f"beads for the atoms of {frame.time:g} ps are needed, found {found}")
        # the image nearest to the atoms, whichever the file has
        yield Task(whole, mapped + minimum_image(beads.positions - mapped, frame.box))


def _relaxed(protocol: Protocol, folder: Path, task: Task) -> tuple[Task, Success | Failure]:
    """Relax a frame unless it is done already."""
    index, key = task.frame.index, fingerprint(protocol, task)
    kept = recall(folder, index, key, ("positions", "potential"))
    if kept is not None:
        return task, Success(
            Relaxed(kept["positions"].astype(np.float32), float(kept["potential"])), known=True
        )
    try:
        relaxed = relax_frame(protocol, task, frame_folder(folder, index))
    except GmxError as error:
        return task, Failure(index, task.frame.time, str(error))
    keep(folder, index, key, positions=relaxed.positions, potential=relaxed.potential)
    return task, Success(relaxed, known=False)

"""One frame relaxed by GROMACS: files written, minimised, run, read back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import make_whole, minimum_image
from dbm_gmx.chemistry.topology import Topology, blocks
from dbm_gmx.errors import InputError
from dbm_gmx.files.mdp import mdp_key
from dbm_gmx.files.output import own_folder, remove_own
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.gromacs.gmx import Gmx, GmxError, write_tables
from dbm_gmx.gromacs.log import last_energies
from dbm_gmx.gromacs.run_parameters import Run, bonded_through_the_box
from dbm_gmx.options import RelaxSettings


@dataclass(frozen=True, eq=False)
class Protocol:
    """What is done to every frame.

    Attributes
    ----------
    gmx, settings
        With what and how.
    runs
        Name and parameters, one after the other.
    tops
        Text of the topology for each run.
    topology
        The atoms.
    sited
        The same with a site for each restrained centre.
    atoms, sites
        (n,) and (m,) rows of the atoms and of the sites in ``sited``; no sites without restraints.
    tables
        Names and texts of tables of bonded interactions.
    widths
        Standard deviations to which the centres are held, (beads,) nm by molecule type.
    """

    gmx: Gmx
    settings: RelaxSettings
    runs: Mapping[str, Run]
    tops: Mapping[str, str]
    topology: Topology
    sited: Topology
    atoms: IntArray
    sites: IntArray
    tables: Mapping[str, str]
    widths: Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Task:
    """A frame to be relaxed.

    Attributes
    ----------
    frame
        Atoms, molecules whole.
    beads
        (m, 3) where the mapped centres belong, nm; (0, 3) without a mapping.
    """

    frame: Frame
    beads: Float32Array


@dataclass(frozen=True, eq=False)
class Relaxed:
    """What became of it.

    Attributes
    ----------
    positions
        (n, 3) nm, molecules whole and near where they were.
    potential
        kJ/mol, without that of the restraints.
    """

    positions: Float32Array
    potential: float


def fingerprint(protocol: Protocol, task: Task) -> str:
    """Return what tells whether a result is one of this frame, treated so."""
    digest = hashlib.sha256()
    texts = [protocol.gmx.version, *protocol.tops.values(), *(run.text for run in protocol.runs.values())]
    texts += [text for table in protocol.tables.items() for text in table]
    for text in [*texts, str(protocol.settings.seed + task.frame.index)]:
        digest.update(text.encode() + b"\0")
    for array in (task.frame.positions, task.frame.box, task.beads):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def relax_frame(protocol: Protocol, task: Task, folder: Path) -> Relaxed:
    """Relax one frame.

    Parameters
    ----------
    folder
        Emptied first, removed in the end; kept if anything fails.

    Raises
    ------
    GmxError
        A command failed or took too long, or the atoms are nowhere in the end.
    """
    own_folder(folder)  # refused if it is not
    remove_own(folder)  # a run left over from before loses its files, it cannot touch the new ones
    own_folder(folder)
    settings, box = protocol.settings, gromacs_box(task.frame.box)
    _write_start(protocol, task, folder / "start.gro", box)
    tables = write_tables(protocol.tables, folder)
    last = "start"
    for name, run in protocol.runs.items():
        _write_run(
            folder,
            name,
            text=bonded_through_the_box(_seeded(run, settings.seed + task.frame.index), task.frame),
            top=protocol.tops[name],
        )
        files = ["-f", f"{name}.mdp", "-c", f"{last}.gro", "-r", "start.gro", "-p", f"{name}.top"]
        options = [*files, "-o", f"{name}.tpr", "-maxwarn", str(settings.maxwarn)]
        protocol.gmx.run("grompp", options, folder=folder, timeout=settings.timeout)
        options = ["-deffnm", name, "-reprod", *tables, *protocol.gmx.threads(settings.threads or 1)]
        protocol.gmx.run("mdrun", options, folder=folder, timeout=settings.timeout)
        last = name
    result = _read_back(protocol, task, folder, last)
    remove_own(folder)
    return result


def _write_start(protocol: Protocol, task: Task, path: Path, box: FloatArray) -> None:
    """Write atoms and, as sites, the places where their centres belong: start and reference in one."""
    positions = np.zeros((protocol.sited.n_atoms, 3), np.float32)
    positions[protocol.atoms] = task.frame.positions
    if protocol.sites.size:
        positions[protocol.sites] = task.beads
    with open_writer(path, protocol.sited) as writer:
        writer.write(replace(task.frame, positions=positions, box=box, free=False))


def _write_run(folder: Path, name: str, *, text: str, top: str) -> None:
    (folder / f"{name}.mdp").write_text(text, encoding="utf-8")
    (folder / f"{name}.top").write_text(top, encoding="utf-8")


def _seeded(run: Run, seed: int) -> str:
    """Return the parameters with random numbers of this frame's own."""
    if run.temperature is None:
        return run.text
    kept = [line for line in run.text.splitlines() if mdp_key(line) not in ("gen-seed", "ld-seed")]
    return "\n".join([*kept, f"gen-seed = {seed}", f"ld-seed = {seed}", ""])


def _read_back(protocol: Protocol, task: Task, folder: Path, name: str) -> Relaxed:
    """Read the last configuration, with every molecule where it was."""
    try:
        end = read_structure(folder / f"{name}.gro")
        energies = last_energies(folder / f"{name}.log")
    except InputError as error:
        raise GmxError(f"gmx mdrun left no result that can be used: {error}", path=folder) from error
    if len(end.positions) != protocol.sited.n_atoms:
        raise GmxError(f"gmx mdrun left {len(end.positions)} atoms", path=folder)
    positions = end.positions[protocol.atoms]
    whole = [
        _in_place(rows, before, task.frame, bonds)
        for rows, before, bonds in _molecules(protocol.topology, positions, task.frame.positions)
    ]
    potential = energies.get("Potential", np.nan) - energies.get("Position Rest.", 0.0)
    if not np.isfinite(potential):
        raise GmxError(f"gmx mdrun left a potential energy of {potential}", path=folder)
    return Relaxed(np.concatenate(whole), potential)


def _molecules(
    topology: Topology, *positions: Float32Array
) -> Iterator[tuple[Float32Array, Float32Array, IntArray]]:
    """Yield (molecules, atoms, 3) of two configurations, and the bonds."""
    for moltype, first, count in blocks(topology):
        rows = [x[first : first + count * moltype.n_atoms].reshape(count, -1, 3) for x in positions]
        yield rows[0], rows[1], moltype.bonds


def _in_place(after: Float32Array, before: Float32Array, frame: Frame, bonds: IntArray) -> Float32Array:
    """Make molecules whole and move each to the image nearest to where its first atom was."""
    if frame.winds:
        return (before + minimum_image(after - before, frame.box)).reshape(-1, 3).astype(np.float32)
    whole, box = make_whole(after, frame.box, bonds), frame.box
    moved = whole[:, :1] - before[:, :1]
    return np.asarray((whole - moved + minimum_image(moved, box)).reshape(-1, 3), np.float32)


def gromacs_box(box: FloatArray) -> FloatArray:
    """Return the same lattice with the small off-diagonal elements that GROMACS wants.

    Parameters
    ----------
    box
        (3, 3) lower triangular, nm.
    """
    a, b, c = np.array(box, np.float64)
    c = c - np.round(c[1] / b[1]) * b
    c = c - np.round(c[0] / a[0]) * a
    b = b - np.round(b[0] / a[0]) * a
    return np.stack([a, b, c])

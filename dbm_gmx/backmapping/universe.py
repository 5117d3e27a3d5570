"""The main job on MDAnalysis Universes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import MDAnalysis as mda
import networkx as nx
import numpy as np

from dbm_gmx.backmapping.ready import make_ready
from dbm_gmx.backmapping.rebuilder import make_rebuilder
from dbm_gmx.backmapping.summary import Report, Tally, Told
from dbm_gmx.chemistry.frame import Frame, box_vectors, check_frame, dimensions, with_room
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.names import Named, check_names
from dbm_gmx.chemistry.system import System, make_system
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks
from dbm_gmx.chemistry.units import ANGSTROM
from dbm_gmx.errors import InputError
from dbm_gmx.files.beads import EARLY
from dbm_gmx.files.conformers import Conformer, References, given_chirality, stereo_notes, with_usual
from dbm_gmx.files.shipped import with_shipped
from dbm_gmx.files.system import match_molecules, read_molecules
from dbm_gmx.options import Method, MoleculeFiles

log = logging.getLogger(__name__)


def backmap_universe(
    beads: mda.Universe,
    molecules: MoleculeFiles | None = None,
    method: Method | None = None,
    *,
    reference: References = None,
    tacticity: str | Conformer | None = None,
    frames: slice = slice(None),
) -> mda.Universe:
    """Rebuild the atoms of a coarse-grained Universe, as ``dbm-gmx backmap`` does for files.

    Parameters
    ----------
    beads
        The coarse-grained system, with a box.
    molecules
        Atomistic ``.top``, mapping and owners files; the library of molecules if not given.
    method
        How: settings (a single sample), ensemble, model.
    reference
        A conformer or system that defines stereocentres and bonds that do not turn.
    tacticity
        What becomes of stereocentres that neither input nor beads decide: ``atactic``, ``isotactic``,
        ``syndiotactic``, or a conformer or system.
    frames
        Which frames.

    Returns
    -------
    A Universe with names, types, elements, masses, charges, residues, bonds and the trajectory in
    memory, molecules whole.  Wrong stereocentres or bonds, frames that did not converge and electrostatics
    far from those of PME are warned of.

    Raises
    ------
    InputError
        If any input cannot be used.
    """
    method = method or Method()
    if method.settings.samples > 1:
        raise InputError("a Universe holds one sample; ask for several one by one, with other seeds")
    system = _system(beads, molecules or MoleculeFiles())
    if system.n_beads != len(beads.atoms):
        raise InputError(f"{len(beads.atoms)} beads in the Universe, {system.n_beads} after the mappings")
    known = given_chirality(system, reference, conformers=system.conformers)
    chirality = with_usual(system, known)
    count = len(range(len(beads.trajectory))[frames])
    name = beads.trajectory.filename
    source = Path(name) if isinstance(name, str | Path) else None
    mapper = make_rebuilder(system, method, chirality=chirality, source=source)
    ready = make_ready(mapper, partial(_early, beads), tacticity=tacticity, frames=count)
    notes = (*stereo_notes(system, known), *ready.memory.notes)
    told = Told(notes, ready.assigned, method, ready.prepared, ready.remembered, ready.once)
    tally, rebuilt = Tally(system, chirality, told), list[Frame]()
    for one in ready(_frames(beads, frames)):
        tally.add(one.atoms, one.beads, one.refinement)
        rebuilt.append(one.atoms)
    _warn(tally.report())
    return _universe(system.written, rebuilt)


def _system(beads: mda.Universe, molecules: MoleculeFiles) -> System:
    """The beads of a Universe matched with their atoms."""
    if molecules.none_given:
        return match_molecules(_cg_topology(beads, None, {}), molecules)
    atomistic, mappings = read_molecules(molecules)
    cg = _cg_topology(beads, atomistic, mappings)
    shipped = with_shipped(cg, atomistic, mappings, molecules.matching)
    return replace(make_system(atomistic, shipped.mappings, cg, shipped.matching), shipped=shipped.paths)


def _warn(report: Report) -> None:
    """Say what is not as it should be."""
    if words := report.judgement.words(report.limits.allowed):
        log.warning("%s", words)
    for note in report.notes:
        log.info("%s", note)
    if report.refinement.unsettled:
        log.warning("%s", report.refinement.settled())
    if not report.converged:
        log.warning("%s", report.convergence())
    if report.electrostatics is not None and report.electrostatics.is_large:
        log.warning("electrostatics: %s", report.electrostatics.text())


def _cg_topology(beads: mda.Universe, atomistic: Topology | None, mappings: dict[str, Mapping]) -> Topology:
    """Molecules of a Universe: its own molecule types, else those of the atomistic topology in order."""
    if hasattr(beads.atoms, "moltypes"):
        found = [list(group) for _, group in groupby(beads.atoms, key=lambda a: (a.molnum, a.moltype))]
        moltypes = {str(g[0].moltype): _beads(str(g[0].moltype), [a.name for a in g]) for g in found}
        runs = groupby(str(g[0].moltype) for g in found)
        return Topology(moltypes, tuple((name, len(list(run))) for name, run in runs))
    if atomistic is None:
        raise InputError("the Universe knows no molecule types (read a .tpr): give a topology and mappings")
    moltypes = {name: _beads(name, mapping.names) for name, mapping in mappings.items()}
    topology = Topology(moltypes, atomistic.molecules)
    if hasattr(beads.atoms, "names") and len(beads.atoms) == topology.n_atoms:
        named = Named([str(name) for name in beads.atoms.names], "the Universe", what="beads")
        check_names(topology, named, "the mapping")
    return topology


def _beads(name: str, names: Sequence[str]) -> MoleculeType:
    graph = nx.Graph()
    graph.add_nodes_from((i, {"name": bead}) for i, bead in enumerate(names))
    return MoleculeType(name, 0, graph)


def _frames(universe: mda.Universe, chosen: slice) -> Iterator[Frame]:
    for ts in universe.trajectory[chosen]:
        sizes = np.zeros(6) if ts.dimensions is None else np.array(ts.dimensions, np.float64)
        sizes[:3] *= ANGSTROM
        positions = (ts.positions * ANGSTROM).astype(np.float32)
        step = int(ts.data.get("step", 0))
        frame = with_room(Frame(positions, box_vectors(sizes), time=ts.time, step=step, index=ts.frame))
        check_frame(frame)
        yield frame


def _early(universe: mda.Universe, count: int) -> list[Frame]:
    """Up to so many frames, evenly spaced among the first :data:`~dbm_gmx.files.system.EARLY`."""
    last = min(EARLY, len(universe.trajectory)) - 1
    numbers = sorted(set(np.linspace(0, last, count).round().astype(int).tolist()))
    return [frame for k in numbers for frame in _frames(universe, slice(k, k + 1))]


def _universe(topology: Topology, frames: Sequence[Frame]) -> mda.Universe:
    moltypes = [moltype for moltype, _, count in blocks(topology) for _ in range(count)]
    residues: list[tuple[Any, Any]] = []
    residue: list[int] = []
    for moltype in moltypes:
        numbered = zip(moltype.attribute("resid"), moltype.attribute("resname"), strict=True)
        for label, atoms in groupby(numbered):
            residue += [len(residues)] * len(list(atoms))
            residues.append(label)
    universe = mda.Universe.empty(
        topology.n_atoms,
        n_residues=len(residues),
        atom_resindex=residue,
        residue_segindex=[0] * len(residues),
    )
    for attribute, key in (("names", "name"), ("types", "type"), ("elements", "element"), ("masses", "mass")):
        universe.add_TopologyAttr(
            attribute, [value for moltype in moltypes for value in moltype.attribute(key)]
        )
    universe.add_TopologyAttr("charges", [value for moltype in moltypes for value in moltype.charges])
    universe.add_TopologyAttr("resids", [resid for resid, _ in residues])
    universe.add_TopologyAttr("resnames", [name for _, name in residues])
    first = np.cumsum([0] + [moltype.n_atoms for moltype in moltypes])
    bonds = np.concatenate([moltype.bonds + start for moltype, start in zip(moltypes, first, strict=False)])
    universe.add_TopologyAttr("bonds", bonds)
    if frames:
        sizes = np.array([dimensions(frame.box) for frame in frames])
        sizes[:, :3] /= ANGSTROM
        sizes[[frame.free for frame in frames]] = 0.0
        times = [frame.time for frame in frames]
        dt = times[1] - times[0] if len(times) > 1 else 1.0
        positions = np.stack([frame.positions for frame in frames]) / ANGSTROM
        universe.load_new(positions, dimensions=sizes, dt=dt, time_offset=times[0])
    return universe

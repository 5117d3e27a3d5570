"""The main job on MDAnalysis Universes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import MDAnalysis as mda
import networkx as nx
import numpy as np

from dbm_gmx.chemistry.frame import Frame, box_vectors, check_frame, dimensions
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.system import make_system
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks
from dbm_gmx.chemistry.units import ANGSTROM
from dbm_gmx.commands.backmap import make_backmapper
from dbm_gmx.commands.summary import Tally
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import Conformer, reference_chirality
from dbm_gmx.files.library import library_conformers, load_library
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.top import read_topology
from dbm_gmx.options import MODEL, Conditions, Settings

log = logging.getLogger(__name__)


def backmap_universe(
    beads: mda.Universe,
    *,
    topology: str | Path | None = None,
    mappings: Sequence[str | Path] = (),
    owners: Sequence[str | Path] = (),
    model: str | Path = MODEL,
    settings: Settings | None = None,
    conditions: Conditions | None = None,
    reference: Conformer | None = None,
    device: str | None = None,
    frames: slice = slice(None),
) -> mda.Universe:
    """Rebuild the atoms of a coarse-grained Universe, as ``dbm-gmx backmap`` does for files.

    Parameters
    ----------
    beads
        The coarse-grained system, with a box.
    topology, mappings, owners
        Atomistic ``.top``, mapping and owners files; from the library of molecules if none is given.
    model, settings, conditions, device
        As for :func:`~dbm_gmx.commands.backmap.backmap`; a single sample.
    reference
        A conformer or system that defines the chirality of stereocentres.
    frames
        Which frames.

    Returns
    -------
    A Universe with names, types, elements, masses, charges, residues, bonds and the trajectory in
    memory, molecules whole.  Stereocentres of the wrong hand and frames that did not converge are warned of.

    Raises
    ------
    InputError
        If any input cannot be used.
    """
    settings = settings or Settings()
    if settings.samples > 1:
        raise InputError("a Universe holds one sample; ask for several one by one, with other seeds")
    conformers: dict[str, Path] = {}
    if topology is None:
        cg = _cg_topology(beads, None, {})
        atomistic, found = load_library(cg)
        conformers = library_conformers(atomistic)
    else:
        atomistic = read_topology(topology)
        found = read_mappings(mappings, atomistic, owners=owners)
        cg = _cg_topology(beads, atomistic, found)
    system = make_system(atomistic, found, cg)
    if system.n_beads != len(beads.atoms):
        raise InputError(f"{len(beads.atoms)} beads in the Universe, {system.n_beads} after the mappings")
    chirality = reference_chirality(system, reference, conformers=conformers)
    mapper = make_backmapper(
        system, settings=settings, conditions=conditions, chirality=chirality, model=model, device=device
    )
    tally, rebuilt = Tally(system, chirality), []
    for one in mapper(_frames(beads, frames)):
        tally.add(one.atoms, one.beads, one.refinement)
        rebuilt.append(one.atoms)
    report = tally.report()
    if report.stereo.wrong or report.stereo.undefined:
        log.warning("stereocentres: %s", report.stereo.text())
    if report.refinement.unsettled:
        log.warning("%s", report.refinement.settled())
    return _universe(atomistic, rebuilt)


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
    return Topology(moltypes, atomistic.molecules)


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
        frame = Frame(positions, box_vectors(sizes), time=ts.time, step=step, index=ts.frame)
        check_frame(frame)
        yield frame


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
        times = [frame.time for frame in frames]
        dt = times[1] - times[0] if len(times) > 1 else 1.0
        positions = np.stack([frame.positions for frame in frames]) / ANGSTROM
        universe.load_new(positions, dimensions=sizes, dt=dt, time_offset=times[0])
    return universe

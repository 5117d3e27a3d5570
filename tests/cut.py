"""A few molecules of a system that ships, with their beads, in a box of their own: files for the command."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import bead_topology, mapped_molecules
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.stereo import chirality_of, stereo_elements
from dbm_gmx.chemistry.system import System, mapped_beads, whole_atoms
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.system import read_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.forcefield.energy import bonded_energies, nonbonded_energies
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.options import Conditions, Inputs, MoleculeFiles
from dbm_gmx.sampling import evidence, growth, recollection
from dbm_gmx.sampling.random_numbers import Use

BOX = np.eye(3) * 6.0


def search_less(patch: pytest.MonkeyPatch) -> None:
    """Grow molecules and infer states in few steps, where it is not asked how well: that takes a fifth."""
    few = growth.GROWTH._replace(steps=12, descent=30)
    for module in (growth, evidence):
        patch.setattr(module, "GROWTH", few)
    patch.setattr(growth, "MOST", 4)
    patch.setattr(evidence, "STARTS", 1)


@dataclass(frozen=True)
class Cut:
    """What was cut out.

    Attributes
    ----------
    folder
        Has ``topol.top``, ``cg.top``, ``cg.gro``, ``cg.trr``, ``aa.gro``, ``aa.trr``, the mapping and owners.
    system
        Of the cut molecules.
    atoms, beads
        Frames of equilibrated atoms and of the beads they map to, whole and in the middle of the box.
    """

    folder: Path
    system: System
    atoms: list[Frame]
    beads: list[Frame]

    @property
    def inputs(self) -> Inputs:
        """For :func:`dbm_gmx.commands.backmap.backmap`; nothing says the chirality."""
        folder = self.folder
        return Inputs(
            structure=folder / "cg.gro",
            trajectory=folder / "cg.trr",
            cg_topology=folder / "cg.top",
            topology=folder / "topol.top",
            mappings=(folder / "mapping.xml",),
            owners=(folder / "owners.txt",),
        )


def states_of(made: Cut) -> dict[str, np.ndarray]:
    """Chirality that the atoms of the first frame have."""
    match = made.system.matches[0]
    atoms = match.molecules(made.atoms[0].positions)
    return {match.moltype.name: chirality_of(atoms, stereo_elements(match.moltype))}


def let_full_frames_end_lower(patch: pytest.MonkeyPatch, by: float) -> None:
    """As if sampling in full found something better that recalling does not, kT per atom."""
    usual = recollection._follow

    def follow(*where: Any) -> Any:
        found = usual(*where)
        return found._replace(slow=found.slow - by) if where[-1].path[-1] == Use.SWEEPS else found

    patch.setattr(recollection, "_follow", follow)


def energies(made: Cut, atoms: np.ndarray, conditions: Conditions) -> np.ndarray:
    """(2,) bonds, angles and dihedrals; pairs of all kinds: kT an atom, mean of frames (frames, n, 3)."""
    topology, kt = made.system.topology, GAS * conditions.temperature
    field = long_range(conditions)
    found = []
    for x in atoms:
        terms = {k: float(v) for k, v in bonded_energies(topology, torch.as_tensor(x)).items()}
        close = sum(terms.pop(name, 0.0) for name in ("LJ-14", "Coulomb-14"))
        close += sum(float(v) for v in nonbonded_energies(topology, Frame(x, BOX), field).values())
        found.append((sum(terms.values()), close))
    return np.mean(found, axis=0) / (kt * made.system.n_atoms)


def equilibrated(made: Cut) -> np.ndarray:
    """(frames, n, 3) the atoms the beads come from."""
    return np.array([frame.positions for frame in made.atoms], np.float64)


def cut(source: Path, folder: Path, molecule: str, copies: int, *, frames: int = 1, centre: int = 0) -> Cut:
    """Cut a molecule and those around it out of a system that ships, the same ones of every frame.

    Parameters
    ----------
    source
        Folder of ``share/reference`` or ``share/examples``: molecules of one type.
    folder
        Where the files go.
    molecule, copies
        What the molecule type is called, and how many are cut.
    frames
        How many of the trajectory.
    centre
        Number of the molecule in the middle.
    """
    folder.mkdir(exist_ok=True)
    for name in ("topol.top", "cg.top"):
        (folder / name).write_text(
            re.sub(rf"^{molecule}\s+\d+\s*$", f"{molecule} {copies}", (source / name).read_text(), flags=re.M)
        )
    for name in ("mapping.xml", "owners.txt"):
        (folder / name).write_text((source / name).read_text())
    files = MoleculeFiles(source / "topol.top", [source / "mapping.xml"])
    whole, _ = read_system(source / "cg.tpr", files)
    topology = read_topology(folder / "topol.top")
    mappings = read_mappings([folder / "mapping.xml"], topology, owners=[folder / "owners.txt"])
    system = System(topology, mappings, mapped_molecules(topology, mappings))
    read = list(islice(read_frames(source / "aa.xtc", n_atoms=whole.n_atoms), frames))
    placed = [whole_atoms(whole, frame).reshape(whole.matches[0].count, -1, 3) for frame in read]
    chosen = _nearest(placed[0], read[0].box, copies, centre)
    atoms = [
        replace(frame, positions=_gathered(x[chosen], frame.box), box=BOX)
        for x, frame in zip(placed, read, strict=True)
    ]
    beads = [replace(frame, positions=_mapped(system, frame)) for frame in atoms]
    of_beads = bead_topology(system.matches)
    for name, topology, written in (
        ("aa.gro", system.topology, atoms[:1]),
        ("aa.trr", system.topology, atoms),
        ("cg.gro", of_beads, beads[:1]),
        ("cg.trr", of_beads, beads),
    ):
        with open_writer(folder / name, topology) as writer:
            for frame in written:
                writer.write(frame)
    return Cut(folder, system, atoms, beads)


def _nearest(molecules: np.ndarray, box: np.ndarray, copies: int, centre: int) -> np.ndarray:
    """Numbers of the molecules (copies, n, 3) nearest to one, itself first."""
    middles = molecules.mean(axis=1)
    apart = np.linalg.norm(minimum_image(middles - middles[centre], box), axis=1)
    return np.argsort(apart, kind="stable")[:copies]


def _gathered(molecules: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(n, 3) molecules next to the first one, which is in the middle of the new box."""
    middles = molecules.mean(axis=1, keepdims=True)
    off = minimum_image((middles - middles[:1]).reshape(-1, 3), box).reshape(-1, 1, 3)
    return (molecules - middles + off + BOX.diagonal() / 2).reshape(-1, 3).astype(np.float32)


def _mapped(system: System, frame: Frame) -> np.ndarray:
    return mapped_beads(system, frame.positions).astype(np.float32)

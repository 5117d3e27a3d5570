"""The reference systems that ship: consistent files, the right molecules, and the recipe behind them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from dbm_gmx.backmapping.check import check
from dbm_gmx.chemistry.contacts import bad_contacts
from dbm_gmx.chemistry.frame import Frame, box_volume
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.stereo import chirality_of, stereocentres
from dbm_gmx.chemistry.system import mapped_beads, whole_atoms
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.energy import bonded_energies, nonbonded_energies
from dbm_gmx.forcefield.nonbonded import reaction_field
from dbm_gmx.options import Inputs, Method, MoleculeFiles

GAS = 0.00831446  # kJ/mol/K
MOLECULES = share_path("molecules")


@dataclass(frozen=True)
class Shipped:
    """A folder of ``share/reference`` and what is in it; densities are kg/m3."""

    folder: str
    molecule: str
    copies: int
    temperature: float
    density: float
    beads: tuple[str, ...]

    @property
    def path(self) -> Path:
        return share_path("reference", self.folder)

    @cached_property
    def system(self):
        return read_system(
            self.path / "cg.tpr", MoleculeFiles(self.path / "topol.top", [self.path / "mapping.xml"])
        )[0]

    @cached_property
    def atoms(self) -> list[Frame]:
        return list(read_frames(self.path / "aa.xtc", n_atoms=self.system.n_atoms))

    @cached_property
    def whole(self) -> np.ndarray:
        """(frames, copies, n, 3)."""
        places = np.array([whole_atoms(self.system, frame) for frame in self.atoms])
        return places.reshape(len(places), self.copies, -1, 3)

    def __hash__(self) -> int:
        return hash(self.folder)


STYRENE = tuple(f"{moltype}{k}" for k in range(1, 11) for moltype in "AB")
SYSTEMS = [
    Shipped("octane", "OCT", 120, 350, 650, ("A1", "A2", "A3", "A4")),
    Shipped("cumene", "CUM", 130, 350, 815, ("A1", "B1", "A2")),
    Shipped("sps", "SPS", 20, 568, 880, STYRENE),
    Shipped("aps", "APS", 20, 568, 880, STYRENE),
]
every = pytest.mark.parametrize("shipped", SYSTEMS, ids=lambda s: s.folder)
polystyrene = pytest.mark.parametrize("shipped", SYSTEMS[2:], ids=lambda s: s.folder)


@every
def test_files_are_complete_and_small(shipped):
    names = {p.name for p in shipped.path.iterdir()}
    needed = {"topol.top", "aa.xtc", "aa.gro", "cg.tpr", "cg.top", "cg.xtc", "cg.gro"}
    assert names == needed | {"mapping.xml", "owners.txt", "run.mdp", "report.txt"}
    assert "#include" not in (shipped.path / "topol.top").read_text()
    assert sum(p.stat().st_size for p in shipped.path.iterdir()) < 1_000_000


@every
def test_molecule_in_the_library_is_that_of_the_system(shipped):
    library = MOLECULES / shipped.molecule
    here, there = (read_topology(f / "topol.top") for f in (shipped.path, library))
    one, other = (t.molecule_types[shipped.molecule] for t in (here, there))
    assert one.names == other.names
    places = torch.as_tensor(shipped.whole[0, 0], dtype=torch.float64)
    alone = read_topology(library / "topol.top")
    energies = bonded_energies(alone, places)
    whole = bonded_energies(here, torch.as_tensor(shipped.whole[0].reshape(-1, 3), dtype=torch.float64))
    assert set(energies) == set(whole)
    by_library = sum(
        bonded_energies(alone, torch.as_tensor(x, dtype=torch.float64))["Angle"] for x in shipped.whole[0]
    )
    assert float(by_library) == pytest.approx(float(whole["Angle"]), rel=1e-6)
    found, _ = read_system(shipped.path / "cg.tpr")
    weights = [s.mappings[shipped.molecule].weights.toarray() for s in (found, shipped.system)]
    assert np.abs(weights[0] - weights[1]).max() < 1e-6
    owners = [s.mappings[shipped.molecule].owner.tolist() for s in (found, shipped.system)]
    assert owners[0] == owners[1]


@every
def test_atoms_map_to_the_beads(shipped):
    system = shipped.system
    beads = list(read_frames(shipped.path / "cg.xtc", n_atoms=system.n_beads))
    assert system.mappings[shipped.molecule].names == shipped.beads
    assert len(beads) == len(shipped.atoms) == 10
    assert len({round(b.time - a.time, 3) for a, b in pairwise(beads)}) == 1
    for fine, coarse, places in zip(shipped.atoms, beads, shipped.whole, strict=True):
        off = minimum_image(mapped_beads(system, places.reshape(-1, 3)) - coarse.positions, coarse.box)
        assert np.abs(off).max() < 0.00051  # the rounding of the file
        assert fine.time == coarse.time
        assert np.abs(fine.box - coarse.box).max() < 1e-5


@every
def test_density_is_that_of_the_liquid(shipped):
    moltype = shipped.system.topology.molecule_types[shipped.molecule]
    mass = shipped.copies * sum(moltype.attribute("mass")) * 1.66054
    densities = [mass / box_volume(frame.box) for frame in shipped.atoms]
    assert np.mean(densities) == pytest.approx(shipped.density, rel=0.025)


@every
def test_energies_are_those_of_the_temperature(shipped):
    topology = shipped.system.topology
    moltype = topology.molecule_types[shipped.molecule]
    bonds = shipped.copies * moltype.graph.number_of_edges()
    stretch = []
    for places in shipped.whole:
        parts = bonded_energies(topology, torch.as_tensor(places.reshape(-1, 3), dtype=torch.float64))
        assert all(np.isfinite(float(e)) for e in parts.values())
        stretch.append(float(parts["Bond"]) / (bonds * 0.5 * GAS * shipped.temperature))
    # equipartition; a long run of polystyrene without constraints has 1.06 of it, for other forces strain
    # the bonds, and rounding in the file adds 0.01 (0.02 at 350 K)
    assert 0.98 < np.mean(stretch) < 1.09
    parts = nonbonded_energies(topology, shipped.atoms[0], reaction_field(1.0, epsilon_rf=0.0))
    assert -10 < float(parts["LJ (SR)"]) / topology.n_atoms < -0.5
    assert np.isfinite(float(parts["Coulomb (SR)"]))
    assert len(bad_contacts(shipped.system, shipped.atoms[0].positions, shipped.atoms[0].box)) < 3


@polystyrene
def test_stereocentres_never_change_and_are_those_of_the_tacticity(shipped):
    moltype = shipped.system.topology.molecule_types[shipped.molecule]
    centres = stereocentres(moltype)
    chirality = np.array([chirality_of(places, centres) for places in shipped.whole])
    assert centres.shape == (9, 5)
    assert (chirality == chirality[0]).all()
    letters = [[recipe("molecule").chirality(made(shipped), x) for x in frame] for frame in shipped.whole[:2]]
    assert letters[0] == letters[1]
    meso = np.mean([a == b for chain in letters[0] for a, b in pairwise(chain)])
    if shipped.folder == "sps":
        assert meso == 0
        assert (chirality == chirality[0, 0]).all()
    else:
        assert 0.35 < meso < 0.65
        assert len(set(letters[0])) == shipped.copies


@polystyrene
def test_every_frame_of_a_melt_has_other_chains(shipped):
    first, last = (made(shipped).groups[k].carbon for k in (0, -1))
    ends = shipped.whole[:, :, last] - shipped.whole[:, :, first]
    neighbours = (ends[1:] * ends[:-1]).sum(axis=-1).mean() / (ends**2).sum(axis=-1).mean()
    assert abs(neighbours) < 0.3
    values = tomllib.loads((share_path("recipes", "reference") / "systems.toml").read_text())[shipped.folder]
    cycle = values["hot"][2] + values["cool"] + values["run"][2]
    assert [frame.time for frame in shipped.atoms] == [cycle * k for k in range(1, 11)]


@polystyrene
def test_conformers_say_the_stereocentres(shipped):
    moltype = shipped.system.topology.molecule_types[shipped.molecule]
    found, _ = read_system(shipped.path / "cg.tpr")
    chirality = chirality_of(shipped.whole[0], stereocentres(moltype))
    wanted = reference_chirality(shipped.system, shipped.path / "aa.gro")[shipped.molecule]
    assert (wanted == chirality).all()
    if shipped.folder == "sps":
        known = reference_chirality(found, conformers=found.conformers)[shipped.molecule]
        assert (known == chirality).all()


@every
def test_check_accepts_the_system(shipped):
    conditions, _ = read_mdp(shipped.path / "run.mdp")
    lines = check(
        Inputs(
            structure=shipped.path / "cg.tpr",
            trajectory=shipped.path / "cg.xtc",
            topology=shipped.path / "topol.top",
            mappings=(shipped.path / "mapping.xml",),
            references=(shipped.path / "aa.gro",),
        ),
        Method(conditions=conditions),
    )
    assert any("force field: can be sampled" in line for line in lines)
    assert any("10 frames" in line for line in lines)
    assert not any("stereocentres: no reference" in line for line in lines)


@every
def test_gromacs_accepts_the_system(shipped, gmx, tmp_path):
    command = [gmx, "-quiet", "grompp", "-f", shipped.path / "run.mdp", "-c", shipped.path / "aa.gro"]
    command += ["-p", shipped.path / "topol.top", "-o", "out.tpr"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


# --- the recipe ------------------------------------------------------------------------------------


@lru_cache
def recipe(name: str) -> ModuleType:
    """Load a script of the recipe."""
    path = share_path("recipes", "reference") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BACKBONES = {"OCT": "C" * 8, "CUM": "CUC", "SPS": "CUCD" * 5, "APS": "CU" * 10}


def made(shipped: Shipped):
    return recipe("molecule").make_molecule(shipped.molecule, BACKBONES[shipped.molecule])


@every
def test_recipe_writes_what_ships(shipped):
    module, molecule = recipe("molecule"), made(shipped)
    mapped = module.beads(molecule)
    assert module.topology(molecule) in (shipped.path / "topol.top").read_text()
    assert module.votca(molecule, mapped) == (shipped.path / "mapping.xml").read_text()
    assert module.owners(mapped) == (shipped.path / "owners.txt").read_text()
    assert sum(charge for _, _, charge in molecule.atoms) == pytest.approx(0, abs=1e-9)


def test_recipe_builds_the_hands_it_is_asked_for():
    module, rng = recipe("molecule"), np.random.default_rng(5)
    for letters in ("UUUUUUUUUU", "UDUDUDUDUD", "UUDUDDDUUD"):
        backbone = "".join(f"C{letter}" for letter in letters)
        molecule = module.make_molecule("PS", backbone)
        places = module.conformation(molecule, backbone, rng)
        assert module.chirality(molecule, places) == letters[:9]
        assert module.chirality(molecule, places * [1, 1, -1]) == letters[:9].translate(
            str.maketrans("UD", "DU")
        )

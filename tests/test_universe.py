"""The Python interface on MDAnalysis Universes."""

from __future__ import annotations

import shutil
from pathlib import Path

import MDAnalysis as mda
import numpy as np
import pytest
from oracle import example, untrained

from dbm_gmx.backmapping.backmap import backmap
from dbm_gmx.backmapping.universe import backmap_universe
from dbm_gmx.errors import InputError
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.system import read_system
from dbm_gmx.network.model import save_model
from dbm_gmx.options import Inputs, Method, MoleculeFiles, Settings

FILES = MoleculeFiles(example() / "topol.top", [example() / "mapping.xml"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    system, _ = read_system(example() / "cg.tpr")
    path = tmp_path_factory.mktemp("model") / "tiny.pt"
    save_model(untrained(system), path)
    return path


@pytest.fixture(scope="module")
def beads(tmp_path_factory: pytest.TempPathFactory) -> mda.Universe:
    """The example's beads; MDAnalysis writes files beside a trajectory, so it gets a copy."""
    folder = tmp_path_factory.mktemp("beads")
    for name in ("cg.tpr", "cg.xtc"):
        shutil.copy(example() / name, folder)
    return mda.Universe(folder / "cg.tpr", folder / "cg.xtc")


def test_universe_in_universe_out_is_the_same_as_files(
    model: Path, beads: mda.Universe, tmp_path: Path
) -> None:
    method = Method(Settings(refine="gibbs", sweeps=0, guided=False), model=model)
    aa = backmap_universe(beads, method=method, frames=slice(0, 4, 3))
    inputs = Inputs(example() / "cg.tpr", example() / "cg.xtc")
    backmap(inputs, tmp_path / "aa.gro", method)
    assert len(aa.trajectory) == 2
    assert [ts.time for ts in aa.trajectory] == [beads.trajectory[k].time for k in (0, 3)]
    np.testing.assert_allclose(aa.trajectory[1].dimensions, beads.trajectory[3].dimensions, rtol=1e-5)
    aa.trajectory[0]
    np.testing.assert_allclose(
        aa.atoms.positions / 10, read_structure(tmp_path / "aa.gro").positions, atol=2e-3
    )
    assert len(aa.residues) == 80
    assert len(aa.bonds) == 80 * 25
    assert aa.atoms[0].element == "C"


def test_without_molecule_types_the_atomistic_topology_gives_the_order(
    model: Path, beads: mda.Universe
) -> None:
    beads.trajectory[0]
    bare = mda.Universe.empty(len(beads.atoms), trajectory=True)
    bare.atoms.positions = beads.atoms.positions
    bare.dimensions = beads.dimensions
    method = Method(Settings(refine="none"), model=model)
    a = backmap_universe(bare, FILES, method)
    b = backmap_universe(beads, method=method, frames=slice(0, 1))
    np.testing.assert_allclose(a.atoms.positions, b.atoms.positions, atol=0.02)
    with pytest.raises(InputError, match="no molecule types"):
        backmap_universe(bare, method=method)


def test_wrong_number_of_beads_and_beads_on_one_point_are_refused(model: Path) -> None:
    method = Method(model=model)
    few = mda.Universe.empty(12, trajectory=True)
    with pytest.raises(InputError, match="12 beads in the Universe, 320"):
        backmap_universe(few, FILES, method)
    point = mda.Universe.empty(320, trajectory=True)  # nor is there a box, which is no fault
    with pytest.raises(InputError, match=r"no atoms can be put there: .* are 0 nm apart"):
        backmap_universe(point, FILES, method)

"""What ships: everything in ``share/`` is installed, the example and its molecule are consistent."""

from __future__ import annotations

import configparser
import subprocess
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import MDAnalysis as mda
import numpy as np
import pytest

import dbm_gmx
from dbm_gmx.chemistry.mapping import map_positions
from dbm_gmx.chemistry.matching import match_beads
from dbm_gmx.chemistry.periodic import make_whole, minimum_image
from dbm_gmx.files.library import load_library
from dbm_gmx.files.share import share_path
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.files.trajectory import read_frames

ROOT = Path(__file__).resolve().parent.parent
SHARE = ROOT / "share"
OCTANE = SHARE / "examples" / "octane"
MOLECULES = 80


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters="=")
    parser.optionxform = str
    parser.read(ROOT / "setup.cfg")
    return parser


def visible(folder: Path) -> set[Path]:
    """Files that ship; hidden ones are caches (MDAnalysis keeps frame offsets in them)."""
    files = {p for p in folder.rglob("*") if p.is_file()}
    return {p for p in files if not any(q.startswith((".", "__")) for q in p.relative_to(folder).parts)}


def open_copy(tmp_path: Path, structure: Path, trajectory: Path) -> mda.Universe:
    """Read copies, so that no offset files appear beside what ships."""
    copies = [tmp_path / p.name for p in (structure, trajectory)]
    for source, copy in zip((structure, trajectory), copies, strict=True):
        copy.write_bytes(source.read_bytes())
    return mda.Universe(*copies)


def test_every_shared_file_is_installed_in_its_subfolder(setup):
    installed = {
        path: target
        for target, patterns in setup["options.data_files"].items()
        for pattern in patterns.split()
        for path in visible(SHARE) & set(ROOT.glob(pattern))
    }
    assert visible(SHARE) == set(installed)
    for path, target in installed.items():
        assert Path(target) == Path("share/dbm_gmx") / path.parent.relative_to(SHARE)


def test_version_has_one_source_and_the_licence_is_stated(setup):
    assert setup["metadata"]["version"] == "attr: dbm_gmx.__version__"
    assert dbm_gmx.__version__.count(".") == 2
    assert "project" not in tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert setup["metadata"]["license"] == "LGPL-3.0-or-later"
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text()[:100]


def test_what_is_imported_is_required(setup):
    wanted = setup["options"]["install_requires"].split()
    names = {w.split(">")[0].lower() for w in wanted}
    code = "\n".join(p.read_text() for p in (ROOT / "dbm_gmx").rglob("*.py"))
    third_party = (
        "torch",
        "numpy",
        "scipy",
        "networkx",
        "MDAnalysis",
        "parmed",
        "tqdm",
        "safetensors",
        "vermouth",
    )
    used = {m.lower() for m in third_party if f"import {m}" in code or f"from {m}" in code}
    assert used <= names


def test_the_recipe_of_conda_asks_for_what_setup_asks_for(setup):
    text = (SHARE / "conda" / "recipe.yaml").read_text()
    run = text.partition("  run:\n")[2].partition("\ntests:")[0]
    found = {line.strip(" -") for line in run.splitlines() if ">=" in line and "python >=" not in line}
    called = {"MDAnalysis": "mdanalysis", "torch": "pytorch"}
    wanted = [line.partition(">=") for line in setup["options"]["install_requires"].split()]
    assert found == {f"{called.get(name, name)} >={version}" for name, _, version in wanted}
    assert f'version: "{dbm_gmx.__version__}"' in text
    assert f'python_min: "{setup["options"]["python_requires"].removeprefix(">=")}"' in text
    assert setup["options.entry_points"]["console_scripts"].strip() in text


def test_the_recipe_of_conda_can_be_rendered():
    build = pytest.importorskip("rattler_build")
    recipe = build.Stage0Recipe.from_file(SHARE / "conda" / "recipe.yaml")
    (rendered,) = recipe.render(build.VariantConfig(), build.RenderConfig())
    assert (rendered.recipe() if callable(rendered.recipe) else rendered.recipe).to_dict()["build"]["noarch"]


def test_what_ships_is_small_and_catalogued():
    assert sum(p.stat().st_size for p in visible(SHARE / "examples")) < 1_000_000
    catalogue = (SHARE / "README.md").read_text()
    for folder in {p.parent for p in visible(SHARE)} - {SHARE, SHARE / "models"}:
        assert f"`{folder.relative_to(SHARE).as_posix()}/`" in catalogue


def test_library_and_example_hold_the_same_molecule():
    library = SHARE / "molecules" / "OCT"
    for name in ("mapping.xml", "owners.txt"):
        assert (library / name).read_text() == (OCTANE / name).read_text()
    moltype, system = [(f / "topol.top").read_text().split("[ system ]") for f in (library, OCTANE)]
    assert moltype[0] == system[0]
    assert moltype[1].split()[-2:] == ["OCT", "1"]
    assert system[1].split()[-2:] == ["OCT", str(MOLECULES)]


def test_example_trajectories_hold_the_same_frames(tmp_path):
    atoms = open_copy(tmp_path, OCTANE / "aa.gro", OCTANE / "aa.xtc")
    beads = open_copy(tmp_path, OCTANE / "cg.tpr", OCTANE / "cg.xtc")
    assert (len(atoms.atoms), len(beads.atoms)) == (MOLECULES * 26, MOLECULES * 4)
    times = [ts.time for ts in atoms.trajectory]
    assert times == [ts.time for ts in beads.trajectory] == list(np.arange(150.0, 601.0, 50.0))
    for one, other in zip(atoms.trajectory, beads.trajectory, strict=True):
        assert one.dimensions == pytest.approx(other.dimensions, abs=1e-3)
        assert min(one.dimensions[:3]) > 26.0


def test_example_is_liquid_octane(tmp_path):
    atoms = open_copy(tmp_path, OCTANE / "aa.gro", OCTANE / "aa.xtc")
    mass = MOLECULES * (8 * 12.011 + 18 * 1.008) * 1.66054  # in 1e-24 g
    density = np.mean([mass / ts.volume for ts in atoms.trajectory])
    assert density == pytest.approx(0.655, rel=0.03)  # g/cm3, experiment at 350 K


def test_example_atoms_map_to_its_beads(tmp_path):
    atoms = open_copy(tmp_path, OCTANE / "aa.gro", OCTANE / "aa.xtc")
    beads = open_copy(tmp_path, OCTANE / "cg.tpr", OCTANE / "cg.xtc")
    weights = octane_weights()
    for fine, coarse in zip(atoms.trajectory, beads.trajectory, strict=True):
        edges = fine.dimensions[:3]
        positions = fine.positions.reshape(MOLECULES, 26, 3).astype(float)
        whole = positions - edges * np.round((positions - positions[:, 11:12]) / edges)  # C4 is in the middle
        off = (weights @ whole).reshape(-1, 3) - coarse.positions
        assert np.abs(off - edges * np.round(off / edges)).max() < 0.01  # angstrom; the file is rounded


def test_example_tpr_holds_the_first_frame_and_the_bonds(tmp_path):
    beads = open_copy(tmp_path, OCTANE / "cg.tpr", OCTANE / "cg.xtc")
    first = mda.Universe(OCTANE / "cg.tpr")
    off = first.atoms.positions - beads.trajectory[0].positions
    assert np.abs(off).max() < 0.011
    assert list(first.atoms[:4].names) == ["A1", "A2", "A3", "A4"]
    assert sorted(map(tuple, first.bonds.indices[:3])) == [(0, 1), (1, 2), (2, 3)]
    assert len(first.bonds) == 3 * MOLECULES


def test_the_package_reads_its_example_and_maps_it_as_the_recipe_did():
    assert share_path("examples", "octane") == OCTANE
    cg, start = read_tpr(OCTANE / "cg.tpr")
    aa, mappings = load_library(cg)
    match_beads(cg, aa, mappings)
    mapping, moltype = mappings["OCT"], aa.molecule_types["OCT"]
    assert mapping.owner.tolist() == [0] * 7 + [1] * 6 + [2] * 6 + [3] * 7
    atoms = list(read_frames(OCTANE / "aa.xtc", n_atoms=aa.n_atoms))
    beads = list(read_frames(OCTANE / "cg.xtc", n_atoms=cg.n_atoms))
    assert np.abs(start.positions - beads[0].positions).max() < 0.0011
    assert len(atoms) == len(beads) == 10
    for fine, coarse in zip(atoms, beads, strict=True):
        whole = make_whole(fine.positions.reshape(MOLECULES, -1, 3), fine.box, moltype.bonds)
        off = map_positions(mapping, whole).reshape(-1, 3) - coarse.positions
        assert np.abs(minimum_image(off, fine.box)).max() < 0.001


def test_owners_cover_every_atom_once_and_keep_hydrogens_with_their_carbon():
    lines = [ln for ln in (OCTANE / "owners.txt").read_text().splitlines() if not ln.startswith(";")]
    owner = {int(a): name.strip() for name, atoms in (ln.split(":") for ln in lines) for a in atoms.split()}
    assert sorted(owner) == list(range(1, 27))
    names = octane_names()
    carbon = {n[1]: owner[i] for i, n in enumerate(names, 1) if n[0] == "C"}
    assert all(owner[i] == carbon[n[1]] for i, n in enumerate(names, 1))


def test_gromacs_accepts_the_example(gmx, tmp_path):
    command = [gmx, "-quiet", "grompp", "-f", OCTANE / "nvt.mdp", "-c", OCTANE / "aa.gro"]
    command += ["-p", OCTANE / "topol.top", "-o", "out.tpr"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def octane_names() -> list[str]:
    text = (OCTANE / "topol.top").read_text().split("[ atoms ]")[1].split("[ bonds ]")[0]
    return [ln.split()[4] for ln in text.splitlines() if ln and not ln.startswith(";")]


def octane_weights() -> np.ndarray:
    root = ET.parse(OCTANE / "mapping.xml").getroot()
    names = octane_names()
    factors = {m.findtext("name"): m.findtext("weights", "").split() for m in root.iter("map")}
    rows = []
    for bead in root.iter("cg_bead"):
        row = np.zeros(len(names))
        members = [names.index(a.split(":")[2]) for a in bead.findtext("beads", "").split()]
        row[members] = np.array(factors[bead.findtext("mapping")], float)
        rows.append(row / row.sum())
    return np.array(rows)

"""The recipe of coarse-grained melts: the package reads its molecules, and what it measures is right."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dbm_gmx.chemistry.system import System
from dbm_gmx.files.share import share_path
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.system import read_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield.energy import bonded_energies
from dbm_gmx.options import MoleculeFiles

RECIPE = share_path("recipes", "melt").resolve()
MELTS = tomllib.loads((RECIPE / "systems.toml").read_text())
SCRIPTS = ("chain", "inversion", "melt")
GAS = 0.0083144626  # kJ/mol/K


@contextmanager
def imported() -> Iterator[SimpleNamespace]:
    """The scripts, as one runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPE)
        for module in SCRIPTS:
            patch.delitem(sys.modules, module, raising=False)
        import chain
        import inversion
        import melt

        yield SimpleNamespace(chain=chain, inversion=inversion, melt=melt)
        for module in SCRIPTS:
            sys.modules.pop(module, None)


@pytest.fixture
def recipe() -> Iterator[SimpleNamespace]:
    """The scripts."""
    with imported() as scripts:
        yield scripts


def beads_in_a_row(name: str, number: int) -> str:
    """A .gro file of the beads of one chain."""
    rows = [f"{1:5}{name:5}{f'A{k}':>5}{k:5}{0.4 * k:8.3f}{1:8.3f}{1:8.3f}" for k in range(1, number + 1)]
    return "\n".join(["beads", str(number), *rows, "9.0 9.0 9.0"]) + "\n"


@pytest.fixture(scope="module", params=MELTS)
def chain_of_a_melt(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SimpleNamespace]:
    """One chain of a melt in a folder: what the recipe writes for it, as the package reads it."""
    table, folder = MELTS[request.param] | {"chains": 1}, tmp_path_factory.mktemp("chain")
    with chdir(folder), imported() as recipe:
        recipe.melt.write_inputs(table)
        Path("cg.gro").write_text(beads_in_a_row(table["molecule"], table["beads"]))
        molecules = MoleculeFiles("topol.top", ["mapping.xml"])
        system, _ = read_system("cg.gro", molecules, cg_topology="cg.top")
        made = recipe.chain.make_chain(table)
    return folder, SimpleNamespace(table=table, system=system, chain=made)


@pytest.fixture
def one(chain_of_a_melt: tuple[Path, SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """One chain of a melt, in its folder."""
    folder, made = chain_of_a_melt
    monkeypatch.chdir(folder)
    return made


def test_package_reads_what_the_recipe_writes(one: SimpleNamespace, recipe: SimpleNamespace) -> None:
    """A neutral, saturated chain, each of whose atoms belongs to one bead."""
    system: System = one.system
    moltype = system.topology.molecule_types[one.table["molecule"]]
    carbons, oxygens = one.chain.heavy.count("C"), one.chain.heavy.count("O")
    assert moltype.n_atoms == 3 * carbons + 2 + oxygens
    assert sum(moltype.attribute("charge")) == pytest.approx(0, abs=1e-9)
    valence = {"C": 4, "O": 2, "H": 1}
    degrees = [degree for _, degree in sorted(moltype.graph.degree)]
    assert degrees == [valence[element] for element in moltype.elements]
    weights = system.mappings[one.table["molecule"]].weights.toarray()
    assert ((weights > 0).sum(axis=0) == 1).all()
    heavy = [element != "H" for element in moltype.elements]
    assert ((weights[:, heavy] > 0).sum(axis=1) == len(one.table["bead"])).all()


def test_first_conformation_is_no_strained_one(one: SimpleNamespace) -> None:
    """Bonds and angles are near their minima: less than 10 kT a term, and no hydrogen elsewhere."""
    frame, topology = read_structure("one.gro"), read_topology("topol.top")
    energies = bonded_energies(topology, torch.as_tensor(frame.positions, dtype=torch.float64))
    moltype = topology.molecule_types[one.table["molecule"]]
    kt = GAS * one.table["temperature"]
    count = {terms.directive: len(terms.atoms) for terms in moltype.terms}
    assert float(energies["Bond"]) / count["bonds"] < kt
    assert float(energies["Angle"]) / count["angles"] < kt


def test_beads_have_the_bonds_of_their_force_field(one: SimpleNamespace) -> None:
    """All bonds, angles and dihedrals along the chain."""
    text = Path("cg.top").read_text()
    table = {
        part.partition(" ]")[0]: part.partition("\n")[2].split("\n\n")[0].splitlines()
        for part in text.split("[ ")
    }
    beads = one.table["beads"]
    assert [len(table[k]) for k in ("bonds", "angles", "dihedrals")] == [beads - 1, beads - 2, beads - 3]
    assert table["bonds"][0] == f"1 2 {one.table['end_bond']}"
    assert table["bonds"][1] == f"2 3 {one.table['bond']}"


def test_torsions_are_told_apart(recipe: SimpleNamespace) -> None:
    """Of a zigzag all are trans; turned about one C-C bond, those about the others still are."""
    chain = recipe.chain.make_chain(MELTS["peo"])
    rows = chain.backbone()
    across = np.arange(len(rows)) % 2
    zigzag = np.stack([0.12 * np.arange(len(rows)), 0.08 * across, 0 * across], axis=1)
    middle = 10  # heavy atom 10 is an oxygen, the torsion about 11 and 12 is O-C-C-O
    assert chain.heavy[middle : middle + 4] == "OCCO"
    turned = zigzag.copy()
    axis = (zigzag[middle + 2] - zigzag[middle + 1]) / np.linalg.norm(zigzag[middle + 2] - zigzag[middle + 1])
    arm = zigzag[middle + 2 :] - zigzag[middle + 2]
    angle = np.radians(110)
    turned[middle + 2 :] = (
        zigzag[middle + 2]
        + np.cos(angle) * arm
        + np.sin(angle) * np.cross(axis, arm)
        + (1 - np.cos(angle)) * (arm @ axis)[:, None] * axis
    )
    places = np.zeros((1, 2, len(chain.names), 3))
    places[0, 0, rows], places[0, 1, rows] = zigzag, turned
    parts = recipe.melt.trans(chain, places)
    assert set(parts) == {"CCOC", "OCCO"}
    assert parts["CCOC"] == (1, 0)
    glycols = sum(chain.heavy[k : k + 4] == "OCCO" for k in range(len(chain.heavy)))
    assert parts["OCCO"][0] == pytest.approx(1 - 0.5 / glycols)
    assert parts["OCCO"][1] == pytest.approx(0.5 / glycols)  # of two chains, one with one that is not


def test_inversion_finds_the_potential_that_was_sampled(recipe: SimpleNamespace) -> None:
    """Harmonic bonds in space, angles in a cosine: within .2 kT where it is low; what is right is kept."""
    rng, kt = np.random.default_rng(3), GAS * 400
    length, stiff, bend = 0.35, 5000.0, 8.0
    grid = np.linspace(0.2, 0.5, 3001)
    weight = grid**2 * np.exp(-stiff * (grid - length) ** 2 / 2 / kt)
    lengths = rng.choice(grid, (4000, 9), p=weight / weight.sum())
    cosines = np.linspace(-1, 1, 100001)
    weight = np.exp(-bend * cosines / kt)
    bends = np.arccos(rng.choice(cosines, (4000, 8), p=weight / weight.sum()))
    turns = np.cumsum(np.pi - bends, axis=1)  # in a plane: bonds and angles are all that is looked at
    ways = np.concatenate([np.zeros((4000, 1)), turns], axis=1)
    steps = lengths[..., None] * np.stack([np.cos(ways), np.sin(ways), 0 * ways], axis=-1)
    places = np.concatenate([np.zeros((4000, 1, 3)), np.cumsum(steps, axis=1)], axis=1)
    found = recipe.inversion.free_energies(places[None], 400)
    at = {kind: (edges[1:] + edges[:-1]) / 2 for kind, edges in recipe.inversion.EDGES.items()}
    expected = {"b": stiff * (at["b"] - length) ** 2 / 2, "a": bend * np.cos(np.radians(at["a"]))}
    for kind, energy in found.items():
        low = expected[kind] < expected[kind].min() + 2 * kt
        low &= at[kind] < 170  # few angles are nearly straight, whatever the potential
        off = (energy - expected[kind])[low]
        assert np.abs(off - off.mean()).max() < 0.2 * kt
        again = recipe.inversion.corrected(energy, energy, energy)
        assert np.array_equal(again, energy, equal_nan=True)


def test_tables_go_on_where_nothing_was_seen(
    recipe: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energies rise on both sides, forces are their slopes, and a straight angle has none."""
    monkeypatch.chdir(tmp_path)
    edges = recipe.inversion.EDGES
    middle = {kind: (e[1:] + e[:-1]) / 2 for kind, e in edges.items()}
    seen = {
        "b": np.where(np.abs(middle["b"] - 0.35) < 0.05, 4000 * (middle["b"] - 0.35) ** 2, np.nan),
        "a": np.where(middle["a"] > 80, 0.005 * (middle["a"] - 140) ** 2, np.nan),
    }
    for file, kind in zip(recipe.inversion.write_tables("t", seen), seen, strict=True):
        x, energy, force = np.loadtxt(file).T
        assert x[0] == edges[kind][0]
        assert x[-1] == edges[kind][-1]
        slopes = np.gradient(energy, x)[2:-2]
        assert np.abs(slopes + force[2:-2]).max() < 0.02 * np.abs(force).max()
        low = np.flatnonzero(x < {"b": 0.25, "a": 70}[kind])
        assert (np.diff(energy[low]) < 0).all()
        if kind == "b":
            assert (np.diff(energy[x > 0.45]) > 0).all()
        else:
            assert force[-1] == pytest.approx(0, abs=1e-6)


def test_gromacs_takes_atoms_and_beads(gmx: str, one: SimpleNamespace, recipe: SimpleNamespace) -> None:
    """No parameter is missing, and no warning is given."""
    table = one.table
    assert (
        subprocess.run(
            [gmx, "editconf", "-f", "one.gro", "-box", "6", "-o", "aa.gro"], check=False
        ).returncode
        == 0
    )
    Path("ibi.top").write_text(recipe.chain.beads_top(table | recipe.inversion.TABULATED))
    for structure, top, values in (
        ("aa.gro", "topol.top", recipe.melt.SHORT),
        ("cg.gro", "cg.top", recipe.melt.COARSE),
        ("cg.gro", "ibi.top", recipe.melt.COARSE | recipe.melt.TABLES),
    ):
        run = recipe.melt.at(values, table["temperature"])
        Path("run.mdp").write_text("".join(f"{key} = {value}\n" for key, value in run.items()))
        files = ["-f", "run.mdp", "-c", structure, "-p", top, "-o", "run.tpr"]
        done = subprocess.run([gmx, "grompp", *files], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr

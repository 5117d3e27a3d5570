"""The recipe for training data of small molecules: types, beads, places."""

from __future__ import annotations

import importlib.util
import tomllib
from types import ModuleType

import networkx as nx
import numpy as np
import pytest

from dbm_gmx.files.share import share_path

pytest.importorskip("pysmiles")
FOLDER = share_path("recipes", "train", "molecules")
TABLE = tomllib.loads((FOLDER / "molecules.toml").read_text())


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_molecules", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("smiles", "types"),
    [
        ("COC", [181, 180, 181]),
        ("CCO", [135, 157, 154]),
        ("CC(=O)NC", [135, 235, 236, 238, 242]),
        ("CC(=O)OC", [135, 465, 466, 467, 468]),
        ("CC=C(C)C", [135, 142, 141, 135, 135]),
        ("CCc1ccccc1", [135, 149, 145, 145, 145, 145, 145, 145]),
    ],
)
def test_types_are_those_of_opls(make: ModuleType, smiles: str, types: list[int]) -> None:
    graph = make.read(smiles)
    heavy = [a["type"] for _, a in sorted(graph.nodes(data=True)) if a["element"] != "H"]
    assert heavy == [f"opls_{number}" for number in types]


@pytest.mark.parametrize("name", TABLE)
def test_each_heavy_atom_is_in_one_bead_and_beads_hold_together(make: ModuleType, name: str) -> None:
    graph = make.read(TABLE[name]["smiles"])
    heavy = [i for i, a in graph.nodes(data=True) if a["element"] != "H"]
    for size in TABLE[name]["beads"]:
        beads = make.pieces(graph, size)
        assert sorted(i for bead in beads for i in bead) == sorted(heavy)
        assert all(nx.is_connected(graph.subgraph(bead)) for bead in beads)
        assert all(len(bead) > 1 for bead in beads)


def test_a_conformation_has_bonds_and_a_trans_amide(make: ModuleType) -> None:
    graph = make.read("CC(=O)NC")
    x = make.conformation(graph, np.random.default_rng(1))
    known = make.distances(graph, np.random.default_rng(1))
    found = {pair: float(np.linalg.norm(x[pair[0]] - x[pair[1]])) for pair in known}
    assert found == pytest.approx(known, abs=0.03)
    assert np.linalg.norm(x[0] - x[4]) > 0.35

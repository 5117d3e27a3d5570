"""Conformations of monomers: found where they are known, the same wherever the molecules are."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from MDAnalysis.lib.distances import calc_dihedrals
from scipy.spatial.transform import Rotation
from systems import alkane, chain, molecule, ring

pytest.importorskip("dscribe", reason="dscribe (extra report) is not installed")
pytest.importorskip("sklearn", reason="scikit-learn (extra report) is not installed")

from sklearn.metrics import adjusted_rand_score

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import whole_molecules
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.conformations import Conformations, conformations, find_monomers
from dbm_gmx.files.share import share_path
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import read_frames

BOX = np.array([[2.1, 0, 0], [1.0, 1.9, 0], [-0.9, 0.8, 1.7]])
FRAMES, COPIES = 8, 25
TRANS, GAUCHE = (180.0, 180.0, 180.0), (60.0, 60.0, 60.0)


def hexane(torsions: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """(6, 3) carbons of given torsions (degrees) with the noise of a liquid, nm."""
    atoms = [np.zeros(3), np.array([0.153, 0, 0]), np.array([0.204, 0.144, 0])]
    for torsion in torsions:
        a, b, c = atoms[-3:]
        axis = (c - b) / np.linalg.norm(c - b)
        normal = np.cross(b - a, axis)
        normal /= np.linalg.norm(normal)
        bend, turn = np.radians(rng.normal(112, 3)), np.radians(rng.normal(torsion, 8))
        step = -np.cos(bend) * axis + np.sin(bend) * (
            np.cos(turn) * np.cross(normal, axis) + np.sin(turn) * normal
        )
        atoms.append(c + 0.153 * step)
    return np.array(atoms) + rng.normal(0, 0.002, (6, 3))


def liquid(part: float, seed: int, other: tuple[float, ...] = GAUCHE) -> tuple[list[Frame], np.ndarray]:
    """Frames of hexane of which a part is of the other conformation, and (frames * copies,) which."""
    rng = np.random.default_rng(seed)
    is_other = rng.random((FRAMES, COPIES)) < part
    frames = []
    for f, row in enumerate(is_other):
        molecules = [hexane(other if o else TRANS, rng) + rng.random(3) @ BOX for o in row]
        frames.append(Frame(np.concatenate(molecules).astype(np.float32), BOX, time=10.0 * f, index=f))
    return frames, is_other.ravel()


def elsewhere(frames: list[Frame], seed: int) -> list[Frame]:
    """The same molecules turned about, moved, and broken over many cells."""
    rng = np.random.default_rng(seed)
    moved = []
    for frame in frames:
        molecules = frame.positions.reshape(COPIES, 6, 3).astype(float)
        centre = molecules.mean(axis=1, keepdims=True)
        turned = (
            np.array([Rotation.random(rng=rng).apply(m) for m in molecules - centre])
            + centre @ Rotation.random(rng=rng).as_matrix()
        )
        cells = rng.integers(-2, 3, (COPIES, 6, 3)) @ BOX
        moved.append(replace(frame, positions=(turned + cells).reshape(-1, 3).astype(np.float32)))
    return moved


@pytest.fixture(scope="module")
def topology() -> Topology:
    moltype = molecule(["C"] * 6, chain(6), name="HEX")
    return Topology({"HEX": moltype}, (("HEX", COPIES),))


@pytest.fixture(scope="module")
def compared(topology: Topology) -> Conformations:
    """A third of gauche helices against the same, moved, the same again, two thirds, and a stranger."""
    reference, _ = liquid(0.33, 1)
    candidates = {
        "same": reference,
        "moved": elsewhere(reference, 2),
        "again": [replace(f, time=f.time + 5) for f in liquid(0.33, 3)[0]],
        "more": [replace(f, time=f.time + 5) for f in liquid(0.67, 4)[0]],
        "stranger": liquid(0.5, 5, other=(0.0, 180.0, 0.0))[0],
        "single": liquid(0.33, 6)[0][:1],
    }
    return conformations(topology, reference, candidates, seed=1)


def test_known_conformations_are_found_in_their_populations(compared: Conformations) -> None:
    _, truth = liquid(0.33, 1)
    assert np.array_equal(compared.labels["reference"], truth)
    np.testing.assert_allclose(compared.populations["reference"], [1 - truth.mean(), truth.mean()])
    frames = truth.reshape(FRAMES, COPIES).mean(axis=1)
    expected = frames.std() / np.sqrt(FRAMES)
    np.testing.assert_allclose(compared.errors["reference"], expected, rtol=0.1)
    assert compared.silhouette > 0.7


def test_the_reference_itself_has_no_divergence(compared: Conformations) -> None:
    assert np.array_equal(compared.confusion["same"], np.eye(2))
    assert compared.divergence["same"] == 0
    assert np.array_equal(compared.places["same"], compared.places["reference"])
    assert not compared.shifts["same"].any()
    assert not compared.shift_errors["same"].any()
    assert compared.outside["same"] <= 0.01
    assert all(choice.divergence["same"] == 0 for choice in compared.robustness)


def test_place_orientation_and_periodic_image_do_not_matter(compared: Conformations) -> None:
    assert np.array_equal(compared.labels["moved"], compared.labels["reference"])
    np.testing.assert_allclose(compared.places["moved"], compared.places["reference"], atol=2e-3)


def test_another_sample_of_the_same_is_at_the_floor(compared: Conformations) -> None:
    _, high = compared.floor["again"]
    assert 0 < compared.divergence["again"] < 1.5 * high
    assert (abs(compared.shifts["again"]) < 3 * compared.shift_errors["again"]).all()
    assert compared.outside["again"] < 0.05


def test_a_changed_population_is_seen_beyond_its_error(compared: Conformations) -> None:
    mean, high = compared.floor["more"]
    assert mean < high < compared.divergence["more"] / 3
    assert (abs(compared.shifts["more"]) > 5 * compared.shift_errors["more"]).all()
    truth = liquid(0.67, 4)[1].mean() - liquid(0.33, 1)[1].mean()
    np.testing.assert_allclose(compared.shifts["more"], [-truth, truth])


def test_what_frames_owe_to_their_beads_is_not_in_the_error_of_a_shift(topology: Topology) -> None:
    rng, parts = np.random.default_rng(8), np.arange(FRAMES) + 3
    reference, candidate = [], []
    for f, part in enumerate(parts):
        for frames, gauche in ((reference, part), (candidate, part + 1)):
            molecules = [hexane(GAUCHE if i < gauche else TRANS, rng) for i in range(COPIES)]
            frames.append(Frame(np.concatenate(molecules).astype(np.float32), BOX, time=10.0 * f))
    found = conformations(topology, reference, {"c": candidate}, seed=1, clusters=2)
    np.testing.assert_allclose(found.shifts["c"], [-1 / COPIES, 1 / COPIES])
    np.testing.assert_allclose(found.shift_errors["c"], 0, atol=1e-12)
    assert found.errors["c"].min() > 0.02


def test_what_is_seen_does_not_hang_on_the_method(compared: Conformations) -> None:
    usual = compared.divergence["more"]
    assert len(compared.robustness) >= 4
    for choice in compared.robustness:
        assert choice.divergence["more"] > 3 * choice.floor[1]
        if choice.clusters == 2:
            assert choice.agreement == 1
            assert choice.divergence["more"] == pytest.approx(usual)


def test_a_conformation_the_reference_has_not_is_outside(compared: Conformations) -> None:
    _, truth = liquid(0.5, 5, other=(0.0, 180.0, 0.0))
    assert compared.outside["stranger"] == pytest.approx(truth.mean(), abs=0.05)


def test_only_frames_of_the_same_time_and_box_are_compared_one_by_one(compared: Conformations) -> None:
    assert compared.confusion["again"] is None
    off_diagonal = compared.confusion["stranger"]
    assert off_diagonal is not None
    np.testing.assert_allclose(off_diagonal.sum(axis=1), 1)


def test_a_single_frame_has_no_error_bar(compared: Conformations) -> None:
    assert np.isnan(compared.errors["single"]).all()
    assert np.isfinite(compared.populations["single"]).all()
    assert np.isfinite(compared.floor["single"]).all()
    assert compared.floor["single"][0] > compared.floor["again"][0]


def test_mirror_images_are_one_conformation(topology: Topology) -> None:
    reference, _ = liquid(0.33, 1)
    mirrored = [replace(f, positions=f.positions * np.float32([-1, 1, 1])) for f in reference]
    mirrored = [replace(f, box=BOX * [[1, 1, 1], [-1, 1, 1], [-1, 1, 1]]) for f in mirrored]
    found = conformations(topology, reference, {"mirror": mirrored}, seed=1)
    assert np.array_equal(found.labels["mirror"], found.labels["reference"])
    assert found.confusion["mirror"] is None  # another box


def test_either_end_of_a_symmetric_molecule_comes_first(topology: Topology) -> None:
    reference, truth = liquid(0.33, 1, other=(60.0, 180.0, 180.0))
    turned = [
        replace(f, positions=f.positions.reshape(COPIES, 6, 3)[:, ::-1].reshape(-1, 3)) for f in reference
    ]
    found = conformations(topology, reference, {"turned": turned}, seed=1, clusters=2)
    assert np.array_equal(found.labels["reference"], truth)
    assert np.array_equal(found.labels["turned"], truth)


def test_the_seed_decides_everything(topology: Topology) -> None:
    reference, _ = liquid(0.33, 1)
    one, two = (conformations(topology, reference, {"c": liquid(0.4, 7)[0]}, seed=3) for _ in range(2))
    assert np.array_equal(one.places["c"], two.places["c"])
    assert np.array_equal(one.errors["c"], two.errors["c"])
    assert one.floor == two.floor


def test_too_few_monomers_span_no_map(topology: Topology) -> None:
    with pytest.raises(InputError, match="25 monomers of HEX"):
        conformations(topology, liquid(0.33, 1)[0][:1], {}, seed=1)


# --- what a monomer is -----------------------------------------------------------------------------


def polystyrene(units: int, *, residues: bool = False) -> MoleculeType:
    """Heavy atoms of a chain, each unit CH2, CH and a ring; one residue, or each unit one."""
    bonds = [(8 * u + i, 8 * u + j) for u in range(units) for i, j in [(0, 1), (1, 2)]]
    bonds += [(8 * u + 2 + i, 8 * u + 2 + j) for u in range(units) for i, j in ring(6)]
    bonds += [(8 * u + 1, 8 * u + 8) for u in range(units - 1)]
    moltype = molecule(["C"] * 8 * units, bonds, name="PS")
    for i in moltype.graph:
        moltype.graph.nodes[i]["resid"] = 1 + residues * (i // 8)
    return moltype


@pytest.mark.parametrize(("residues", "inner"), [(False, [1, 2, 3, 4, 5]), (True, [2, 3, 4, 5])])
def test_inner_units_of_a_chain_are_monomers_of_one_sort(residues: bool, inner: list[int]) -> None:
    moltype = polystyrene(8, residues=residues)
    found = find_monomers(Topology({"PS": moltype}, (("PS", 2),)))[0]
    assert found.first.tolist() == [0] * len(inner) + [64] * len(inner)
    assert found.share == len(inner) / 8
    unit, atom = np.divmod(found.joints, 8)
    assert (np.sort(atom, axis=1) == [0, 1, 2]).all()
    assert (atom == atom[0]).all()
    assert (unit - unit[:, :1] == unit[0] - unit[0, 0]).all()
    assert unit[:, atom[0] == 1].ravel().tolist() == 2 * inner
    assert len(set(found.groups)) == 3


def test_the_order_of_atoms_in_a_unit_does_not_matter() -> None:
    moltype, rng = polystyrene(8), np.random.default_rng(0)
    order = np.concatenate([8 * unit + rng.permutation(8) for unit in range(8)])
    mixed = MoleculeType("PS", 3, nx.relabel_nodes(moltype.graph, dict(enumerate(order.tolist()))))
    usual, found = (find_monomers(Topology({"PS": k}, (("PS", 1),)))[0] for k in (moltype, mixed))
    assert {frozenset(order[row]) for row in usual.joints} == {frozenset(row) for row in found.joints}


def test_a_small_molecule_is_one_monomer_and_its_symmetry_is_known() -> None:
    octane = alkane(8)
    (found,) = find_monomers(Topology({"ALK": octane}, (("ALK", 3),)))
    assert found.first.tolist() == [0, octane.n_atoms, 2 * octane.n_atoms]
    counterpart = {(1, 6), (2, 5), (3, 4)}
    pairs = {tuple(sorted(found.joints[0][found.groups == g].tolist())) for g in set(found.groups)}
    assert pairs == counterpart


def test_rigid_molecules_have_no_conformations() -> None:
    benzene, water = molecule(["C"] * 6, ring(6), name="BEN"), molecule(["O"], [], [2], name="SOL")
    moltypes = {moltype.name: moltype for moltype in (benzene, water)}
    with pytest.raises(InputError, match="no molecule has a bond"):
        find_monomers(Topology(moltypes, (("BEN", 2), ("SOL", 4))))
    mixed = Topology(moltypes | {"ALK": alkane(5)}, (("SOL", 4), ("ALK", 2), ("BEN", 1)))
    assert [(m.moltype.name, len(m.first)) for m in find_monomers(mixed)] == [("ALK", 2)]


def test_clusters_of_a_melt_are_the_states_of_its_backbone() -> None:
    folder = share_path("reference", "sps")
    topology = read_topology(folder / "topol.top")
    frames = list(read_frames(folder / "aa.xtc", n_atoms=topology.n_atoms))[:4]
    found = conformations(topology, frames, {}, seed=1)
    inner, moltype = found.monomers, found.monomers.moltype
    rings = {i for block in nx.biconnected_components(moltype.graph) if len(block) > 2 for i in block}
    backbone = moltype.graph.subgraph(
        i for i in moltype.graph if moltype.elements[i] == "C" and i not in rings
    )
    (centre,) = [
        i for i in range(3) if backbone.has_node(c := inner.joints[0, i]) and rings & {*moltype.graph[c]}
    ]
    whole = [np.asarray(whole_molecules(topology, frame).positions, np.float64) for frame in frames]
    states = [
        trans(atoms, inner.first[m], backbone, int(inner.joints[m, centre]))
        for atoms in whole
        for m in found.chosen
    ]
    assert adjusted_rand_score(np.array(states) @ [1, 2], found.labels["reference"]) > 0.5


def trans(atoms: np.ndarray, first: int, backbone: nx.Graph, centre: int) -> list[bool]:
    """Whether the backbone bonds before and after an atom of a molecule are trans."""
    before, after = sorted(backbone[centre])
    (start,), (end,) = (set(backbone[i]) - {centre} for i in (before, after))
    places = [(start, before, centre, after), (before, centre, after, end)]
    return [bool(abs(calc_dihedrals(*(atoms[first + i] for i in four))) > 2 * np.pi / 3) for four in places]

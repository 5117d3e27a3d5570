"""The classifier's test: environments by hand, the same is not told apart, what differs is, and by what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import systems
from mixed import run_words

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System, whole_atoms
from dbm_gmx.chemistry.topology import Terms
from dbm_gmx.evaluation.environments import COLUMNS, HEAVY, environments, find_sites, groups
from dbm_gmx.files.share import share_path
from dbm_gmx.files.trajectory import open_writer, read_frames

pytest.importorskip("sklearn", reason="the extra 'report' is not installed")
from dbm_gmx.evaluation import classifier
from dbm_gmx.evaluation.classifier import FEWEST, Told, at_times_of, halvings, tell_apart, two_samples

OCTANE = share_path("examples", "octane")
COLUMN = groups()
WIDTH = sum(COLUMNS.values())


# --- environments --------------------------------------------------------------------------------------


def butane_and_a_friend() -> tuple[System, np.ndarray]:
    """Butane with a torsion of 60 degrees in united atoms, and a lone one across the boundary of a box."""
    butane = systems.molecule(["C"] * 4, systems.chain(4), [3, 2, 2, 3], united=True, name="BUT")
    lone = systems.molecule(["O"], [], name="ION")
    made = systems.system(
        (butane, systems.mapping(butane, [0] * 4, "A"), 1), (lone, systems.mapping(lone, [0], "B"), 1)
    )
    up = np.array([0.05, 0.14 * np.cos(np.pi / 3), 0.14 * np.sin(np.pi / 3)])
    atoms = np.array([[-0.05, 0.14, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], np.array([0.15, 0, 0]) + up])
    return made, np.concatenate([atoms, [[-0.2, 0.0, 1.9]]])


def test_environments_by_hand() -> None:
    made, atoms = butane_and_a_friend()
    sites = find_sites(made.topology, "none", 100, np.random.default_rng(1))
    assert sites.atoms.tolist() == [0, 1, 2, 3, 4]
    found = environments(sites, Frame(atoms.astype(np.float32), np.eye(3) * 2.0))
    assert found.shape == (5, WIDTH)
    assert found[:, 0].tolist() == [0, 0, 0, 0, 1]  # the more frequent type first
    torsions, bonds, angles, near = (found[:, COLUMN[name]] for name in COLUMNS if name != "kind")
    wanted = [np.sin(np.pi / 3), np.cos(np.pi / 3)]
    # the one torsion there is: about a bond of the inner atoms, about the next one from the ends
    for i in range(4):
        values = torsions[i][np.isfinite(torsions[i])]
        np.testing.assert_allclose(values, wanted, atol=1e-5)
    assert np.isnan(torsions[4]).all()
    long = np.hypot(0.05, 0.14)
    np.testing.assert_allclose(sorted(bonds[1, :2]), [long, 0.15], rtol=1e-5)
    np.testing.assert_allclose(angles[1, 0], np.pi / 2 + np.arctan(0.05 / 0.14), rtol=1e-5)
    assert np.isnan(angles[0]).all()
    # the lone atom is near across the boundary, the other atoms of the molecule are three bonds away
    for i in range(4):
        far = atoms[i] - atoms[4] - [0, 0, -2.0]
        np.testing.assert_allclose(near[i, 0], np.linalg.norm(far), rtol=1e-5)
        assert np.isnan(near[i, 1:HEAVY]).all()
    assert np.isfinite(near[4, :4]).all()
    assert (np.diff(near[4, :4]) >= 0).all()


def test_bonds_and_angles_that_are_fixed_are_not_looked_at() -> None:
    """They would tell a file of one precision from one of another, and nothing else."""
    moltype = systems.molecule(["O"], [], [2], name="SOL")
    water = replace(moltype, terms=(Terms("settles", 1, np.array([[0, 1, 2]]), np.array([[0.1, 0.16]])),))
    made = systems.system((water, systems.mapping(water, [0], "W"), 2))
    sites = find_sites(made.topology, "none", 10, np.random.default_rng(1))
    assert (sites.bonds == -1).all()
    assert (sites.angles == -1).all()
    free = systems.system((moltype, systems.mapping(moltype, [0], "W"), 2))
    sites = find_sites(free.topology, "none", 10, np.random.default_rng(1))
    assert sites.bonds[:, :2].tolist() == [[[0, 1], [0, 2]], [[3, 4], [3, 5]]]
    assert sites.angles[:, 0].tolist() == [[1, 0, 2], [4, 3, 5]]


def test_environments_of_a_liquid_are_those_of_mdanalysis(octane: systems.Example) -> None:
    from MDAnalysis.lib.distances import calc_dihedrals, distance_array

    sites = find_sites(octane.system.topology, "all-bonds", 50, np.random.default_rng(2))
    found = environments(sites, Frame(octane.atoms.astype(np.float32), octane.box))
    x, size = (10 * octane.atoms).astype(np.float32), np.array([*10 * np.diag(octane.box), 90, 90, 90])
    some = sites.torsions[:, 0, 0] >= 0
    phi = calc_dihedrals(*x[sites.torsions[some, 0]].transpose(1, 0, 2), box=size)
    np.testing.assert_allclose(found[some, 1:3], np.stack([np.sin(phi), np.cos(phi)], axis=1), atol=1e-4)
    carbon = np.array(octane.system.matches[0].moltype.elements * 80) == "C"
    place = np.cumsum(carbon) - 1
    apart = distance_array(x[sites.atoms], x[carbon], box=size) / 10
    for row, i, distances in zip(found[:, COLUMN["neighbours"]], sites.atoms, apart, strict=True):
        inside = np.flatnonzero(carbon[i // 26 * 26 : i // 26 * 26 + 26]) + i // 26 * 26
        here = place[i] - place[inside[0]]
        distances[[place[j] for k, j in enumerate(inside) if abs(k - here) <= 3]] = np.inf
        np.testing.assert_allclose(row[:HEAVY], np.sort(distances)[:HEAVY], atol=1e-4)


# --- the classifier ------------------------------------------------------------------------------------


def drawn(rng: np.random.Generator, frames: int, sites: int = 150, **shifted: float) -> list[np.ndarray]:
    """Frames of environments that are random numbers; those of some groups wider by a factor."""
    found = []
    for _ in range(frames):
        rows = rng.normal(0, 1, (sites, WIDTH)).astype(np.float32)
        rows[:, 0] = np.arange(sites) % 2
        for name, factor in shifted.items():
            rows[:, COLUMN[name]] *= factor
        found.append(rows)
    return found


def test_the_same_is_not_told_apart_and_what_differs_is_named() -> None:
    rng = np.random.default_rng(7)
    same = tell_apart(drawn(rng, 8), drawn(rng, 8), seed=1)
    assert abs(same.auc - 0.5) < 3 * same.error
    assert same.frames == (8, 8)
    for name in COLUMN:
        wide = tell_apart(drawn(rng, 6), drawn(rng, 6, **{name: 1.4}), seed=1)
        assert wide.auc > 0.5 + 5 * wide.error
        assert max(wide.importance, key=wide.importance.__getitem__) == name
        others = [wide.importance[other] for other in COLUMN if other != name]
        assert max(others) < 0.25 * wide.importance[name]
        assert wide.curve[0] < 0.2
        assert wide.curve[-1] == 1.0


def test_what_differs_from_frame_to_frame_is_nothing_to_learn_by() -> None:
    """Each frame has something of its own: with atoms of one frame on both sides all would be told apart."""
    rng = np.random.default_rng(8)

    def own(frames: int) -> list[np.ndarray]:
        found = drawn(rng, frames, 60)
        for rows in found:
            rows[:, COLUMN["bonds"]] += rng.normal(0, 30, COLUMNS["bonds"])
        return found

    told = [tell_apart(own(8), own(8), seed=1).auc for _ in range(4)]
    assert 0.3 < np.mean(told) < 0.7


def test_the_same_seed_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(9)
    one, other = drawn(rng, 4), drawn(rng, 4, angles=1.1)
    found = [tell_apart(one, other, seed=seed) for seed in (1, 1, 2)]
    assert found[0].auc == found[1].auc
    assert found[0].importance == found[1].importance
    assert found[0].importance != found[2].importance


def test_numbers_that_are_only_in_frames_left_out_are_left_out() -> None:
    """As distances to other molecules in a dilute system; trees were given columns without a number."""
    rng = np.random.default_rng(12)
    one, other = drawn(rng, 4, 30), drawn(rng, 4, 30)
    rare = COLUMN["bonds"].start
    for rows in (*one, *other):
        rows[:, rare] = np.nan
    one[1][3, rare] = 1.0
    assert 0.2 < tell_apart(one, other, seed=1).auc < 0.8


def test_errors_are_how_much_the_same_scatters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "FOLDS", 5)  # of few parts an error says little
    rng = np.random.default_rng(10)
    found = [tell_apart(drawn(rng, 5, 60), drawn(rng, 5, 60), seed=1) for _ in range(10)]
    scatter = np.std([one.auc for one in found])
    assert 0.5 < np.sqrt(np.mean([one.error**2 for one in found])) / scatter < 2.0


def test_halves_are_as_early_as_each_other() -> None:
    ways = halvings(9, np.random.default_rng(1))
    assert len({tuple(first) for first, _ in ways}) == len(ways) == classifier.HALVINGS
    for first, second in ways:
        assert sorted([*first, *second]) == list(range(8))
        assert np.abs(first - second).tolist() == [1] * 4


# --- systems -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames(octane: systems.Example) -> list[Frame]:
    """All frames of the liquid that ships, molecules whole."""
    read = read_frames(OCTANE / "aa.xtc", n_atoms=octane.system.n_atoms)
    return [replace(frame, positions=whole_atoms(octane.system, frame)) for frame in read]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "ROWS", 2000)
    monkeypatch.setattr(classifier, "HALVINGS", 3)
    monkeypatch.setattr(classifier, "FOLDS", 3)
    monkeypatch.setattr(classifier, "TREES", 15)


def turned(system: System, frames: Sequence[Frame], part: float) -> list[Frame]:
    """Frames in which some of the ends of molecules are turned to where the torsion has its barrier."""
    rng = np.random.default_rng(4)
    moltype = system.matches[0].moltype
    carbons = [i for i, e in enumerate(moltype.elements) if e == "C"]
    ends = [i for i in carbons if sum(moltype.elements[j] == "C" for j in moltype.graph[i]) == 1]
    (end, *_), found = ends, []
    (axis,) = (j for j in moltype.graph[end] if moltype.elements[j] == "C")
    (before,) = (j for j in moltype.graph[axis] if moltype.elements[j] == "C" and j != end)
    moved = [end, *(j for j in moltype.graph[end] if j != axis)]
    moved += [j for j in moltype.graph[axis] if moltype.elements[j] == "H"]
    for frame in frames:
        atoms = frame.positions.reshape(-1, moltype.n_atoms, 3).astype(np.float64).copy()
        for molecule in np.flatnonzero(rng.random(len(atoms)) < part):
            x = atoms[molecule]
            n = (x[axis] - x[before]) / np.linalg.norm(x[axis] - x[before])
            arm = x[moved] - x[before]
            along = (arm @ n)[:, None] * n
            c, s = np.cos(np.pi / 3), np.sin(np.pi / 3)
            x[moved] = x[before] + along + c * (arm - along) + s * np.cross(n, arm)
        found.append(replace(frame, positions=atoms.reshape(-1, 3).astype(np.float32)))
    return found


def test_a_liquid_is_not_told_from_itself_and_turned_ends_are(
    octane: systems.Example, frames: list[Frame]
) -> None:
    topology = octane.system.topology
    found = two_samples(topology, "none", frames, {"turned": turned(octane.system, frames, 0.5)}, seed=1)
    assert found.floor is not None
    floor, bad = found.floor, found.told["turned"]
    assert floor.frames == (5, 5)
    assert abs(floor.auc - 0.5) < 2 * floor.error + 0.02
    assert floor.error < 0.05
    assert bad.auc > 0.5 + 5 * bad.error
    assert max(bad.importance, key=bad.importance.__getitem__) == "torsions"
    assert bad.error >= 0.999 * floor.error * np.sqrt(10 / 20)
    assert found.notes == ()


def test_a_file_of_another_precision_is_the_same(octane: systems.Example, frames: list[Frame]) -> None:
    """Bonds are fixed here: one atom in a thousand nanometres would be all there is to tell."""
    some = frames[:FEWEST]
    rough = {"rough": [replace(f, positions=np.round(f.positions, 2)) for f in some]}
    found, free = (
        two_samples(octane.system.topology, constraints, some, rough, seed=1)
        for constraints in ("all-bonds", "none")
    )
    assert free.told["rough"].importance["bonds"] > 0.1
    assert abs(found.told["rough"].importance["bonds"]) < 1e-9


def test_too_few_frames_give_no_number(octane: systems.Example, frames: list[Frame]) -> None:
    few = two_samples(octane.system.topology, "none", frames, {"few": frames[: FEWEST - 1]}, seed=1)
    assert few.told == {}
    assert few.floor is None
    assert f"there are {FEWEST - 1} and {len(frames)}" in few.notes[0]
    short = two_samples(octane.system.topology, "none", frames[:FEWEST], {"a": frames[:FEWEST]}, seed=1)
    assert short.floor is None
    assert isinstance(short.told["a"], Told)
    assert "no floor" in short.notes[0]


def test_frames_of_the_same_times_stand_beside_each_other(frames: list[Frame]) -> None:
    assert at_times_of(frames, frames[2:6]) == frames[2:6]
    strange = [replace(frames[0], time=0.5)]
    assert at_times_of(frames, strange) == frames


# --- the command -----------------------------------------------------------------------------------------


def test_the_evaluation_says_which_energies_and_by_what_it_is_told(
    tmp_path: Path, octane: systems.Example, frames: list[Frame]
) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    rng = np.random.default_rng(5)
    hot = [
        replace(f, positions=(f.positions + rng.normal(0, 0.003, f.positions.shape)).astype(np.float32))
        for f in frames[:6]
    ]
    for name, some in (("turned.trr", turned(octane.system, frames[:6], 0.5)), ("hot.trr", hot)):
        with open_writer(tmp_path / name, octane.system.topology) as writer:
            for frame in some:
                writer.write(frame)
    (tmp_path / "run.mdp").write_text("ref-t = 350\nrvdw = 0.9\nrcoulomb = 0.9\nconstraints = none\n")
    result = run_words(
        "evaluate",
        *("-p", OCTANE / "topol.top", "-f", tmp_path / "hot.trr", tmp_path / "turned.trr"),
        *("-r", OCTANE / "aa.xtc", "--mdp", tmp_path / "run.mdp", "--no-conformations"),
        *("-o", tmp_path / "out", "-e", frames[5].time),
    )
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["candidates"]
    assert scores["hot"]["equilibrium"]["Bond"]["off"]
    assert scores["hot"]["equilibrium"]["Angle"]["off"]
    dihedral = next(name for name in scores["hot"]["equilibrium"] if "Dih" in name or "Ryck" in name)
    assert scores["turned"]["equilibrium"][dihedral]["off"]
    assert not scores["turned"]["equilibrium"]["Bond"]["off"]
    differences = {name: row["difference"] for name, row in scores["hot"]["equilibrium"].items()}
    total, slow = differences.pop("total"), differences.pop("torsions and pairs")
    assert total == pytest.approx(sum(differences.values()), abs=1e-4)
    assert slow == pytest.approx(total - differences["Bond"] - differences["Angle"], abs=1e-4)
    told = {name: scores[name]["classifier"] for name in scores}
    assert told["turned"]["auc"] > 0.5 + 3 * told["turned"]["error"]
    by = told["turned"]["importance"]
    assert max(by, key=lambda name: by[name]["value"]) == "torsions"
    assert told["hot"]["frames"] == {"reference": 6, "candidate": 6}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Energies by term" in page
    assert "told apart by" in page
    assert (tmp_path / "out" / "data" / "classifier.csv").is_file()
    assert "classifier, AUC" in result.out
    assert "OFF" in result.out


def test_the_classifier_can_be_left_out(tmp_path: Path) -> None:
    result = run_words(
        "evaluate",
        *("-p", OCTANE / "topol.top", "-f", OCTANE / "aa.gro", "-r", OCTANE / "aa.xtc", "-t", 350),
        *("--cutoff", 0.9, "--json", "--no-conformations", "--no-classifier", "-e", 200),
    )
    found = json.loads(result.out)
    assert "classifier" not in found["candidates"]["aa"]
    assert not any("classifier" in note for note in found["notes"])
    assert "equilibrium" in found["candidates"]["aa"]

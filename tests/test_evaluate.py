"""Evaluation of trajectories: numbers against independent ones, hard rules, files, the page in a browser."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import MDAnalysis as mda
import networkx as nx
import numpy as np
import pytest
import systems
import torch
from MDAnalysis.lib.distances import calc_angles, calc_bonds, calc_dihedrals, capped_distance
from mixed import Result, run_words
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

import dbm_gmx
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import close_pairs, close_pairs_in_parts
from dbm_gmx.chemistry.rings import pierced_rings
from dbm_gmx.chemistry.rules import Fault, Kept, judge_atoms
from dbm_gmx.chemistry.system import System, whole_atoms
from dbm_gmx.chemistry.tacticity import chain, dyad_centres, racemo
from dbm_gmx.chemistry.topology import Terms
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.advice import RELAX, SAFE, WRONG, advice
from dbm_gmx.evaluation.compare import Score, compare, floor_frames, scored
from dbm_gmx.evaluation.distributions import (
    RANGES,
    divergences,
    expected_distributions,
    jensen_shannon,
    term_histograms,
    term_values,
)
from dbm_gmx.evaluation.evaluation import Evaluation, atomistic_system, candidate_labels, evaluate
from dbm_gmx.evaluation.measure import Aims, Measured, measure
from dbm_gmx.evaluation.page import rule_table
from dbm_gmx.evaluation.pairs import measure_pairs
from dbm_gmx.evaluation.report import summary
from dbm_gmx.evaluation.shape import end_to_end, radius_of_gyration
from dbm_gmx.evaluation.tables import is_strange
from dbm_gmx.evaluation.worst import Place, file_names, pymol_script, vmd_script
from dbm_gmx.files.share import share_path
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.forcefield.energy import bonded_energies, nonbonded_energies
from dbm_gmx.forcefield.equilibrium import SLOW
from dbm_gmx.forcefield.nonbonded import zero_quadrupole
from dbm_gmx.options import Conditions, EvaluateInputs

OCTANE = share_path("examples", "octane")
SPS = share_path("reference", "sps")
WARM = Conditions(temperature=350.0, rvdw=0.9, rcoulomb=0.9)


def inputs(*trajectories: Path, **changes: Any) -> EvaluateInputs:
    """Frames of the shipped octane, beside its own."""
    given = EvaluateInputs(OCTANE / "topol.top", trajectories, reference=OCTANE / "aa.xtc")
    return replace(given, **changes)


@pytest.fixture(scope="module", autouse=True)
def measured_once() -> Iterator[None]:
    """Measure a frame once, however many evaluations it is in: most have the same reference."""
    known: dict[tuple[Any, ...], Measured] = {}

    def measured(
        system: System, frame: Frame, conditions: Conditions, aims: Aims, *, beads: Frame | None = None
    ) -> Measured:
        arrays = [frame.positions, frame.box, *aims.chirality.values()]
        arrays += [] if beads is None else [beads.positions]
        key = (*(array.tobytes() for array in arrays), frame.time, conditions, aims.limits, *aims.chirality)
        if key not in known:
            known[key] = measure(system, frame, conditions, aims, beads=beads)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbm_gmx.evaluation.evaluation.measure", measured)
        yield


@pytest.fixture(scope="module")
def later() -> Evaluation:
    """The last two frames of octane beside all ten."""
    return evaluate(inputs(OCTANE / "aa.xtc", begin=400.0), conditions=WARM, slow=())


@pytest.fixture(scope="module")
def one() -> Evaluation:
    """A single frame of octane beside all ten."""
    return evaluate(inputs(OCTANE / "aa.gro"), conditions=WARM, slow=())


def test_a_single_frame_has_no_error(later: Evaluation, one: Evaluation) -> None:
    assert "nan" not in summary(one, None)
    scores = summary(one, None).partition("energies less")[0]
    assert "+- 0." in summary(later, None).partition("energies less")[0]
    assert "+- 0." not in scores


def test_energies_of_a_single_frame_are_not_taken_for_good(tmp_path: Path, one: Evaluation) -> None:
    """They are held against the scatter of the reference's frames."""
    spoilt = rattled(tmp_path / "one.trr", OCTANE / "aa.xtc", one.system, width=0.005, frames=1)
    strained = evaluate(inputs(spoilt), conditions=WARM, slow=())
    uses = [advice(found, found.candidates[0]).use for found in (one, strained)]
    assert uses == [SAFE, RELAX]


def rattled(path: Path, source: Path, system: System, *, width: float, frames: int = 2) -> Path:
    """Frames with atoms moved at random."""
    rng = np.random.default_rng(3)
    with open_writer(path, system.topology) as writer:
        for frame in list(read_frames(source, n_atoms=system.n_atoms))[:frames]:
            moved = frame.positions + rng.normal(0, width, frame.positions.shape)
            writer.write(replace(frame, positions=moved.astype(np.float32)))
    return path


# --- distributions -----------------------------------------------------------------------------------


def test_divergences_by_hand() -> None:
    half = np.array([1.0, 1.0])
    assert jensen_shannon(np.array([2.0, 0.0]), np.array([0.0, 5.0])) == pytest.approx(1.0)
    assert jensen_shannon(half, 3 * half) == pytest.approx(0.0)
    least = np.nextafter(0.0, 1.0)  # half of it is nothing
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([1.0, least])) == pytest.approx(0.0)
    by_hand = 0.5 * math.log2(1 / 0.75) + 0.5 * (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25))
    assert jensen_shannon(np.array([1.0, 0.0]), half) == pytest.approx(by_hand)


def independent(topology: Path, trajectory: Path, frames: slice) -> dict[str, np.ndarray]:
    """Histograms of the classes of a topology with inline numbers of atoms, by MDAnalysis alone."""
    section, types, rows = "", [], defaultdict(list)
    lists = {"bonds": (2, "bond"), "angles": (3, "angle"), "dihedrals": (4, "dihedral")}
    for line in topology.read_text().splitlines():
        words = line.split(";")[0].split()
        if words[:1] == ["["]:
            section = words[1]
        elif section == "atoms" and words:
            types.append(words[1])
        elif section in lists and words:
            n, moltype = lists[section]
            atoms = [int(w) - 1 for w in words[:n]]
            names = [types[i] for i in atoms]
            moltype = "improper" if moltype == "dihedral" and words[4] in ("2", "4") else moltype
            rows[f"{moltype} {'-'.join(min(names, names[::-1]))}"].append(
                atoms if names <= names[::-1] else atoms[::-1]
            )
    universe = mda.coordinates.XTC.XTCReader(str(trajectory), refresh_offsets=False)
    copies = np.arange(universe.n_atoms // len(types)) * len(types)
    sums: dict[str, np.ndarray] = {}
    for ts in universe[frames]:
        for key, atoms in rows.items():
            x = ts.positions[(np.array(atoms) + copies[:, None, None]).reshape(-1, len(atoms[0]))]
            measure_ = {2: calc_bonds, 3: calc_angles, 4: calc_dihedrals}[x.shape[1]]
            values = measure_(*x.transpose(1, 0, 2).astype(np.float32), box=ts.dimensions)
            values = values / 10 if x.shape[1] == 2 else np.degrees(values)
            values = np.abs(values) if key.startswith("improper") else values
            low, high, bins = RANGES[key.split()[0]]
            counts = np.histogram(np.clip(values, low, high - 1e-6), np.linspace(low, high, bins + 1))[0]
            sums[key] = sums.get(key, 0) + counts
    return sums


def test_divergences_are_those_of_an_independent_computation(tmp_path: Path) -> None:
    for name in ("aa.xtc", "topol.top"):
        shutil.copy(SPS / name, tmp_path)
    system = atomistic_system(read_topology(SPS / "topol.top"), {})
    found = []
    for frame in islice(read_frames(SPS / "aa.xtc", n_atoms=system.n_atoms), 4):
        found.append(
            term_histograms(term_values(system, torch.from_numpy(whole_atoms(system, frame)).double()))
        )
    scores = divergences(found[:2], found[2:])
    one, other = (
        independent(tmp_path / "topol.top", tmp_path / "aa.xtc", some) for some in (slice(0, 2), slice(2, 4))
    )
    assert {" ".join(key) for key in scores} == set(one)
    for key, counts in one.items():
        # MDAnalysis works in single precision: a value at the edge of a bin may fall into its neighbour
        wanted = jensenshannon(counts, other[key], base=2) ** 2
        assert scores[*key.split(" ", 1),] == pytest.approx(wanted, rel=0.02, abs=2e-5)


@pytest.mark.parametrize(
    ("terms", "part", "mean", "spread"),
    [
        (Terms("bonds", 1, np.array([[0, 1]]), np.array([[0.15, 2e5]])), "bond", 0.15, None),
        (Terms("angles", 1, np.array([[0, 1, 2]]), np.array([[110.0, 500.0]])), "angle", 110.0, None),
        (Terms("angles", 2, np.array([[0, 1, 2]]), np.array([[110.0, 566.0]])), "angle", 110.0, None),
    ],
)
def test_stiff_terms_have_the_spread_of_equipartition(
    terms: Terms, part: str, mean: float, spread: float | None
) -> None:
    """The mean square of x is kT / k; a cosine angle of the same curvature is the same."""
    moltype = replace(systems.molecule(["C"] * 3, systems.chain(3)), terms=(terms,))
    system = systems.system((moltype, systems.mapping(moltype, [0, 0, 0], "A"), 1))
    (found,) = expected_distributions(system, Conditions(temperature=300, constraints="none")).values()
    k = terms.parameters[0, 1] * (np.sin(np.radians(110)) ** 2 if terms.function == 2 else 1)
    wanted = math.sqrt(GAS * 300 / k)
    wanted = wanted if part == "bond" else math.degrees(wanted)
    assert found.mean == pytest.approx(mean, rel=3e-3)
    assert found.spread == pytest.approx(wanted, rel=0.02)
    assert found.weights.sum() == pytest.approx(1.0)


def test_a_periodic_improper_is_compared_with_the_well_it_is_in() -> None:
    """Two wells, at 0 and 180 degrees: a flat group at 180 is as its term wants it, one at 120 is not."""
    terms = Terms("dihedrals", 4, np.array([[0, 1, 2, 3]]), np.array([[180.0, 43.9, 2.0]]))
    moltype = replace(systems.molecule(["C"] * 4, systems.chain(4)), terms=(terms,))
    system = systems.system((moltype, systems.mapping(moltype, [0] * 4, "A"), 1))
    (found,) = expected_distributions(system, Conditions(temperature=300, constraints="none")).values()
    well = math.degrees(math.sqrt(GAS * 300 / (4 * 43.9)))  # of either sign
    for value in (172.0, 120.0):
        mean, spread = found.of_well("improper", value, 5.0)
        assert mean == pytest.approx(180 - well * math.sqrt(2 / math.pi), abs=0.5)
        assert spread == pytest.approx(well * math.sqrt(1 - 2 / math.pi), abs=1.0)
        row = {"mean": value, "spread": 5.0, "expected mean": mean, "expected spread": spread}
        assert is_strange(row, "improper") is (value == 120.0)
    assert found.of_well("improper", 90.0, 80.0) == (found.mean, found.spread)
    assert found.of_well("improper", 89.0, 1.0)[0] < 20  # where there is next to nothing


@pytest.mark.parametrize(
    ("part", "mean", "spread", "sound"),
    [
        ("angle", 112.5, 6.1, True),  # C-O-C of an aromatic carbonate, in dynamics
        ("angle", 115.5, 6.1, False),
        ("angle", 95.2, 12.0, False),
        ("bond", 0.156, 0.004, True),  # C-C of poly(methyl methacrylate), in dynamics
        ("bond", 0.161, 0.004, False),
        ("bond", 0.151, 0.009, False),
    ],
)
def test_neighbours_shift_sound_bonds_and_angles(part: str, mean: float, spread: float, sound: bool) -> None:
    expected = {"angle": (95.2, 6.3), "bond": (0.151, 0.004)}[part]
    row = {"mean": mean, "spread": spread, "expected mean": expected[0], "expected spread": expected[1]}
    assert is_strange(row, part) is not sound


def test_bonds_that_are_constrained_have_no_width() -> None:
    terms = Terms("bonds", 1, np.array([[0, 1]]), np.array([[0.15, 1e4]]))
    moltype = replace(systems.molecule(["C"] * 2, [(0, 1)]), terms=(terms,))
    system = systems.system((moltype, systems.mapping(moltype, [0, 0], "A"), 1))
    for constraints, spread in (("all-bonds", 0.0), ("h-bonds", 0.0158), ("none", 0.0158)):
        (found,) = expected_distributions(
            system, Conditions(temperature=300, constraints=constraints)
        ).values()
        assert found.spread == pytest.approx(spread, rel=0.05, abs=1e-6)


# --- pairs, energies, shape --------------------------------------------------------------------------


def test_pairs_are_those_of_an_independent_computation(
    tiny: systems.Example, octane: systems.Example
) -> None:
    """g(r) and Lennard-Jones per molecule with the exclusions of the topology."""
    frame = Frame(octane.atoms.astype(np.float32), octane.box)
    found = measure(octane.system, frame, WARM, Aims({}))
    moltype = octane.system.matches[0].moltype
    size = [10 * octane.box[i, i] for i in range(3)]
    dimensions = np.array([*size, 90, 90, 90], np.float32)
    assert np.allclose(octane.box, np.diag(np.diag(octane.box)))
    x = (10 * octane.atoms).astype(np.float32)
    pairs, r = capped_distance(x, x, 10.0, box=dimensions)
    pairs, r = pairs[pairs[:, 0] < pairs[:, 1]], r[pairs[:, 0] < pairs[:, 1]] / 10
    near = dict(nx.all_pairs_shortest_path_length(moltype.graph, cutoff=moltype.nrexcl))
    n = moltype.n_atoms
    excluded = [a // n == b // n and b % n in near[a % n] for a, b in pairs.tolist()]
    pairs, r = pairs[~np.array(excluded)], r[~np.array(excluded)]
    carbon = np.array([e == "C" for e in moltype.elements] * 80)
    both = carbon[pairs].all(axis=1)
    counts, grid = np.histogram(r[both], np.linspace(0, 1, 101))
    volume = np.prod(np.diag(octane.box))
    gr = counts * volume / (4 / 3 * np.pi * np.diff(grid**3) * carbon.sum() ** 2 / 2)
    np.testing.assert_allclose(found.pairs["carbon"], gr, atol=0.02)
    types = [octane.system.topology.nonbonded.types.index(t) for t in moltype.attribute("type")] * 80
    lj = octane.system.topology.nonbonded
    i, j = np.array(types)[pairs.T]
    energy = np.where(r < WARM.rvdw, lj.c12[i, j] / r**12 - lj.c6[i, j] / r**6, 0)
    for name, some in (("all", np.ones(len(r), bool)), ("carbon", both)):
        half = np.repeat(energy[some] / 2, 2)
        wanted = np.bincount(pairs[some].ravel() // n, half, 80)
        np.testing.assert_allclose(found.lennard_jones[name], wanted, rtol=2e-3, atol=0.02)


def test_pairs_of_a_large_frame_are_not_all_held_at_once(
    octane: systems.Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Frame(octane.atoms.astype(np.float32), octane.box)
    whole = measure_pairs(octane.system, frame, WARM)
    monkeypatch.setattr("dbm_gmx.chemistry.periodic.AT_ONCE", 200_000)
    most = max(len(pairs) for pairs, _ in close_pairs_in_parts(frame, 1.0))
    assert most < 0.6 * len(close_pairs(frame, 1.0)[0])
    parts = measure_pairs(octane.system, frame, WARM)
    assert parts.energies == pytest.approx(whole.energies, rel=1e-5)
    for name in whole.lennard_jones:
        np.testing.assert_allclose(parts.lennard_jones[name], whole.lennard_jones[name], rtol=1e-4, atol=1e-3)
    for name in whole.distributions:
        np.testing.assert_allclose(parts.distributions[name], whole.distributions[name], atol=0.02)


def test_energies_are_those_of_the_package(octane: systems.Example) -> None:
    frame = Frame(octane.atoms.astype(np.float32), octane.box)
    found = measure(octane.system, frame, WARM, Aims({})).energies
    wanted = bonded_energies(octane.system.topology, torch.from_numpy(frame.positions.astype(np.float64)))
    wanted |= nonbonded_energies(octane.system.topology, frame, zero_quadrupole(0.9))
    assert set(found) == {*wanted, "Potential"}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(float(value), rel=1e-6)
    assert found["Potential"] == pytest.approx(sum(float(v) for v in wanted.values()), rel=1e-6)


def test_shapes_by_hand() -> None:
    moltype = systems.molecule(["C"] * 6, [*systems.ring(4), (0, 4), (4, 5)], [1, 2, 2, 2, 2, 3])
    assert chain(moltype) in ((4, 5), (5, 4))  # not through the ring
    butane = systems.molecule(["C"] * 4, systems.chain(4), united=True)
    line = np.arange(4)[None, :, None] * np.array([0.1, 0, 0])
    assert end_to_end(butane, line) == pytest.approx(0.3)
    assert radius_of_gyration(butane, line) == pytest.approx(0.1 * math.sqrt(1.25))


@pytest.mark.parametrize(("sides", "wanted"), [([1, 1], 0.0), ([1, -1], 1.0)])
def test_dyads_of_a_zigzag(sides: list[int], wanted: float) -> None:
    """Side groups on one side of a planar chain are meso, on different sides racemo."""
    heavy = ["C", "C", "C", "C", "C", "O", "O"]
    moltype = systems.molecule(heavy, [*systems.chain(5), (1, 5), (3, 6)], [3, 1, 2, 1, 3, 1, 1])
    centres = dyad_centres(moltype)
    assert centres[:, [0, 3]].tolist() == [[1, 5], [3, 6]]
    atoms = np.zeros((1, moltype.n_atoms, 3))
    atoms[0, :5] = [(0.12 * k, 0.08 * (k % 2), 0) for k in range(5)]
    for centre, side, sign in ((1, 5, sides[0]), (3, 6, sides[1])):
        atoms[0, side] = atoms[0, centre] + [0, 0.05, 0.1 * sign]
    assert racemo(moltype, atoms)[0] == wanted


def test_shipped_polystyrene_is_syndiotactic(later: Evaluation) -> None:
    found = evaluate(EvaluateInputs(SPS / "topol.top", (SPS / "aa.xtc",), end=1100.0), slow=()).candidates[0]
    dyads = np.concatenate([m.racemo for m in found.measured])
    assert len(dyads) >= 20 * 8
    assert dyads.all()
    assert not later.candidates[0].measured[0].racemo.size  # octane has none


# --- hard rules --------------------------------------------------------------------------------------


def benzene_and_rod() -> tuple[System, np.ndarray]:
    """A ring in the plane z = 0, and two carbons with their bond through its middle."""
    benzene = systems.molecule(["C"] * 6, systems.ring(6), name="BEN")
    rod = systems.molecule(["C"] * 2, [(0, 1)], name="ROD")
    system = systems.system(
        (benzene, systems.mapping(benzene, [0] * 6, "B"), 1), (rod, systems.mapping(rod, [0, 0], "A"), 1)
    )
    angles = np.radians(60 * np.arange(6))
    corners = 0.139 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    return system, np.concatenate([corners, [[0, 0, -0.07], [0, 0, 0.07]]])


@pytest.mark.parametrize(
    ("move", "pierced"),
    [((0, 0, 0), 1), ((0.1, 0, 0), 1), ((0.14, 0, 0), 0), ((0, 0, 0.08), 0), ((1.5, 3.0, -4.5), 1)],
)
def test_bonds_through_rings(move: tuple[float, ...], pierced: int) -> None:
    system, atoms = benzene_and_rod()
    box = np.array([[1.5, 0, 0], [0.0, 1.5, 0], [0.0, 0.0, 1.5]])
    atoms[6:] += move
    found = pierced_rings(system, atoms, box)
    assert len(found) == pierced
    if found:
        assert found[0][:2] == (6, 7)
        assert set(found[0][2:]) == set(range(6))


def test_faults_say_which_atoms(octane: systems.Example) -> None:
    atoms = octane.atoms.astype(np.float32)
    frame = Frame(atoms.copy(), octane.box)
    assert judge_atoms(octane.system, frame, {}).faults == ()
    frame.positions[26 + 7] = frame.positions[0] + np.float32([0.1, 0, 0])
    found = judge_atoms(octane.system, frame, {}).faults
    assert {f.rule for f in found} == {"bonds", "contacts", "overlaps"}
    assert (0, 33) in [f.atoms for f in found if f.rule == "contacts"]
    assert all(33 in f.atoms for f in found if f.rule == "bonds")


def test_a_mirrored_melt_breaks_the_rule_on_hands(tmp_path: Path) -> None:
    """Its distributions are nearly the same, no centre is right."""
    system = atomistic_system(read_topology(SPS / "topol.top"), {})
    frame = next(read_frames(SPS / "aa.xtc", n_atoms=system.n_atoms))
    mirrored = replace(frame, positions=whole_atoms(system, frame) * np.float32([-1, 1, 1]))
    with open_writer(tmp_path / "mirrored.xtc", system.topology) as writer:
        writer.write(mirrored)
    found = evaluate(
        EvaluateInputs(
            SPS / "topol.top", (tmp_path / "mirrored.xtc",), reference=SPS / "aa.xtc", end=frame.time
        ),
        slow=(),
    )
    assert found.broken == {"mirrored": ("flipped",)}
    assert found.candidates[0].verdict.counts["flipped"] == (20 * 9,)
    assert found.scores["mirrored"]["angle", "mean"].value < 1e-4


def test_atoms_of_another_topology_break_a_rule(tmp_path: Path) -> None:
    text = (OCTANE / "aa.gro").read_text().splitlines()
    text[2] = text[2][:10] + "   XX" + text[2][15:]
    (tmp_path / "named.gro").write_text("\n".join(text) + "\n")
    found = evaluate(
        inputs(OCTANE / "aa.gro", tmp_path / "named.gro", SPS / "aa.gro", labels=("a", "b", "c"), end=150.0),
        conditions=WARM,
        slow=(),
    )
    assert found.broken == {"b": ("names",), "c": ("names",)}
    assert "atom 1 is XX" in found.candidates[1].verdict.differing
    assert "atoms" in found.candidates[2].verdict.differing
    assert list(found.scores) == ["a"]


MIXTURE = """
[ defaults ]
1 2 yes 0.5 0.8333
[ atomtypes ]
CX 6 12.011 0.0 A 0.34 0.36
OW 8 15.999 0.0 A 0.316 0.65
HW 1 1.008 0.0 A 0.0 0.0
MW 0 0.0 0.0 D 0.0 0.0
NA 11 22.99 0.0 A 0.26 0.36
[ moleculetype ]
BUT 3
[ atoms ]
1 CX 1 BUT C1 1 0.1 15.035
2 CX 1 BUT C2 1 -0.1 14.027
3 CX 1 BUT C3 1 -0.1 14.027
4 CX 1 BUT C4 1 0.1 15.035
[ bonds ]
1 2 1 0.153 200000
2 3 1 0.153 200000
3 4 1 0.153 200000
[ angles ]
1 2 3 5 112 500 0.254 5000
2 3 4 5 112 500 0.254 5000
[ dihedrals ]
1 2 3 4 9 0 5.0 1
1 2 3 4 9 0 3.0 3
[ moleculetype ]
SOL 2
[ atoms ]
1 OW 1 SOL OW 1 0.0 15.999
2 HW 1 SOL HW1 1 0.52 1.008
3 HW 1 SOL HW2 1 0.52 1.008
4 MW 1 SOL MW 1 -1.04 0.0
[ settles ]
1 1 0.09572 0.15139
[ virtual_sites3 ]
4 1 2 3 1 0.128 0.128
[ exclusions ]
1 2 3 4
2 1 3 4
3 1 2 4
4 1 2 3
[ moleculetype ]
NA 1
[ atoms ]
1 NA 1 NA NA 1 0.0 22.99
[ system ]
mixture
[ molecules ]
BUT 8
SOL 20
NA 1
"""


def test_water_ions_and_torsions_of_several_terms(tmp_path: Path) -> None:
    """Whatever a topology holds; a torsion of two terms is one torsion, of the sum of their energies."""
    (tmp_path / "topol.top").write_text(MIXTURE)
    topology = read_topology(tmp_path / "topol.top")
    butane = np.array([[0, 0, 0], [0.153, 0, 0], [0.21, 0.142, 0], [0.363, 0.142, 0]])
    water = np.array([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0], [0.009, 0.012, 0]])
    places = 0.75 * np.array(list(np.ndindex(3, 3, 4)))[:29]
    parts = [*(p + butane for p in places[:8]), *(p + water for p in places[8:28]), places[28:]]
    frame = Frame(np.concatenate(parts).astype(np.float32), np.diag([2.25, 2.25, 3.0]))
    with open_writer(tmp_path / "aa.gro", topology) as writer:
        writer.write(frame)
    conditions = Conditions(temperature=300.0, rvdw=0.9, rcoulomb=0.9)
    files = EvaluateInputs(tmp_path / "topol.top", (tmp_path / "aa.gro",))
    found = evaluate(files, conditions=conditions, slow=())
    assert found.broken == {}
    (measured,) = found.candidates[0].measured
    key = ("dihedral", "CX-CX-CX-CX")
    assert measured.terms[key].sum() == 8
    phi = np.radians(np.linspace(-180, 180, 121)[:-1] + 1.5)
    boltzmann = np.exp(-(5 * (1 + np.cos(phi)) + 3 * (1 + np.cos(3 * phi))) / (GAS * 300))
    np.testing.assert_allclose(found.expected[key].weights, boltzmann / boltzmann.sum(), atol=3e-4)
    assert measured.energies["LJ (SR)"] < 0
    assert "Coulomb (SR)" in measured.energies


# --- comparison --------------------------------------------------------------------------------------


def test_the_same_frames_score_nothing_and_noise_scores(
    tmp_path: Path, octane: systems.Example, later: Evaluation
) -> None:
    same = later.scores["aa"]
    assert {key: s.value for key, s in same.items()} == pytest.approx(dict.fromkeys(same, 0.0), abs=1e-9)
    assert all(s.error > 0 and s.floor > 0 for (group, _), s in same.items() if group == "angle")
    noisy = rattled(tmp_path / "noisy.trr", OCTANE / "aa.xtc", octane.system, width=0.02)
    found = evaluate(inputs(noisy), conditions=WARM, slow=()).scores["noisy"]
    for key in (("bond", "mean"), ("angle", "mean"), ("Lennard-Jones", "all")):
        assert found[key].value > found[key].floor + 5 * found[key].error


def test_wasserstein_distance_is_that_of_scipy(later: Evaluation) -> None:
    frames = later.candidates[0].measured
    ours, theirs = (
        np.concatenate([f.lennard_jones["all"] for f in some]) for some in (frames[:2], frames[2:4])
    )
    wanted = wasserstein_distance(ours, theirs) / ours.std()
    assert compare(frames[:2], frames[2:4])["Lennard-Jones", "all"] == pytest.approx(wanted, rel=0.02)


def drawn(rng: np.random.Generator, n: int) -> Measured:
    """A frame of which all is a draw from one distribution."""
    none = np.zeros(0)
    counts = np.bincount(rng.binomial(99, 0.5, n), minlength=100).astype(float)
    values = rng.normal(size=n)
    return Measured(
        0.0, {("angle", "X")[:2]: counts}, {}, {"all": values}, {"Potential": 0.0}, {}, values, values, none
    )


def test_floor_and_errors_are_those_of_sampling() -> None:
    """Independent draws score what the floor says; errors are how much scores scatter."""
    rng = np.random.default_rng(5)
    reference = [drawn(rng, 200) for _ in range(24)]
    repeats = [compare(reference, [drawn(rng, 200) for _ in range(12)]) for _ in range(60)]
    key = ("Lennard-Jones", "all")
    found = scored(reference, [drawn(rng, 200) for _ in range(12)], seed=1)[key]
    values = [scores[key] for scores in repeats]
    # the floor has half of the frames of the reference on the other side
    assert 0.8 < found.floor / np.mean(values) < 2.0
    assert 0.4 < found.error / np.std(values) < 3.0


def test_frames_of_the_floor() -> None:
    assert floor_frames(20, 5) == (15, 5)
    assert floor_frames(13, 13) == (7, 6)
    assert floor_frames(1, 4) == (1, 0)


# --- command -----------------------------------------------------------------------------------------


def evaluated(*options: object) -> Result:
    """Run the command, with the conditions of the liquid of octane."""
    return run_words("evaluate", *options, "-t", 350, "--cutoff", 0.9)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, octane: systems.Example) -> Path:
    """A report with everything in it: two candidates, one of them spoilt."""
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    folder = tmp_path_factory.mktemp("report")
    spoilt = rattled(folder / "spoilt.trr", OCTANE / "aa.xtc", octane.system, width=0.03)
    cg = ["--cg", OCTANE / "cg.tpr", OCTANE / "cg.xtc", "-m", OCTANE / "mapping.xml"]
    files = ["-p", OCTANE / "topol.top", "-f", OCTANE / "aa.xtc", spoilt, "-r", OCTANE / "aa.xtc", *cg]
    assert evaluated(*files, "-e", 300, "-o", folder / "out", "-q").code == 2
    return folder / "out"


def test_beads_may_be_a_structure_with_a_topology(tmp_path: Path) -> None:
    beads = read_topology(OCTANE / "cg.top")
    frame = next(read_frames(OCTANE / "cg.xtc", n_atoms=beads.n_atoms))
    with open_writer(tmp_path / "cg.gro", beads) as writer:
        writer.write(frame)
    first = {"mappings": (OCTANE / "mapping.xml",), "reference": None, "end": frame.time}
    for cg in ((tmp_path / "cg.gro", OCTANE / "cg.xtc"), (tmp_path / "cg.gro",)):
        given = inputs(OCTANE / "aa.xtc", cg=cg, cg_topology=OCTANE / "cg.top", **first)
        found = evaluate(given, conditions=WARM, slow=())
        assert found.candidates[0].measured[0].deviation.max() < 0.002
    with pytest.raises(InputError, match=r"give a \.tpr, or its \.top"):
        evaluate(inputs(OCTANE / "aa.xtc", cg=(tmp_path / "cg.gro",), **first), slow=())
    with pytest.raises(InputError, match="-cp"):
        evaluate(inputs(OCTANE / "aa.xtc", cg=(tmp_path / "cg.gro", OCTANE / "cg.top"), **first), slow=())
    with pytest.raises(InputError, match="without beads"):
        evaluate(inputs(OCTANE / "aa.xtc", cg_topology=OCTANE / "cg.top", **first), slow=())


def test_a_report_is_complete(report: Path) -> None:
    scores = json.loads((report / "scores.json").read_text())
    assert list(scores["candidates"]) == ["aa", "spoilt"]
    assert list(scores["broken"]) == ["spoilt"]
    assert {"contacts", "bonds"} <= set(scores["broken"]["spoilt"])
    assert scores["candidates"]["aa"]["scores"]["angle"]["mean"]["value"] == 0
    assert scores["candidates"]["aa"]["beads"]["rms"] < 0.001
    assert scores["candidates"]["spoilt"]["beads"]["rms"] > 0.01
    page = (report / "index.html").read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)  # opens without a network
    links = set(re.findall(r'href="((?:data|worst)/[^"]+)"', page))
    assert {f"data/{p.name}" for p in (report / "data").iterdir()} <= links
    assert all((report / link).is_file() for link in links)
    table = np.genfromtxt(report / "data" / "gr_carbon.csv", delimiter=",", names=True)
    assert len(table) == 100
    assert {"aa", "reference", "spoilt"} <= set(table.dtype.names)


def test_structures_of_the_worst_places_show_them(report: Path) -> None:
    worst = report / "worst"
    universe = mda.Universe(str(worst / "spoilt_contacts_1.pdb"))
    script = (worst / "look.pml").read_text()
    atoms = re.search(r"show spheres, spoilt_contacts_1 and id (\d+)\+(\d+)", script)
    assert atoms
    a, b = (universe.atoms[int(k) - 1].position for k in atoms.groups())
    assert 0 < np.linalg.norm(a - b) < 2.5
    lengths = universe.bonds.values()
    assert len(lengths) == len(universe.atoms) // 26 * 25
    assert lengths.max() < 3.0
    assert (worst / "look.tcl").read_text().count("mol new") == script.count("load ")


@pytest.mark.parametrize(
    "label",
    ["a\nexec touch evil\n", "a\rb", "ends with \\", "[exec touch evil]", "a}{b", "$x; exec y", "\u2028z"],
)
def test_names_in_scripts_are_no_commands(label: str, tmp_path: Path) -> None:
    """A name stands in a comment of one line, which does not go on in the next one."""
    bonds, at = np.array([[0, 1]]), np.zeros((2, 3), np.float32)
    fault = Fault("contacts", (0, 1), 0.1)
    place = Place(label, 1.0, fault, "x.pdb", (1, 2), bonds, at, ("C", "C"), label)
    plain = replace(place, label="plain", words="plain")
    for script in (vmd_script, pymol_script):
        lines, wanted = script([place]).splitlines(), script([plain]).splitlines()
        assert [line for line in lines if line[0] != "#"] == [line for line in wanted if line[0] != "#"]
        assert not any(line.endswith("\\") for line in lines)
    tcl = shutil.which("tclsh")
    if tcl is None:
        return
    stubs = "proc mol args {}\nproc atomselect args {return all}\nproc all args {}\nproc display args {}\n"
    (tmp_path / "look.tcl").write_text(stubs + vmd_script([place]))
    done = subprocess.run([tcl, "look.tcl"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [p.name for p in tmp_path.iterdir()] == ["look.tcl"]


def test_candidates_are_labelled_by_what_tells_them_apart() -> None:
    assert candidate_labels(inputs(Path("a/one.xtc"), Path("a/two.xtc"))) == ("one", "two")
    assert candidate_labels(inputs(Path("a/one.xtc"), Path("a/one.gro"))) == ("one.xtc", "one.gro")
    assert candidate_labels(inputs(Path("a/one.xtc"), Path("b/one.xtc"))) == ("a/one", "b/one")


def test_labels_that_look_alike_have_files_of_their_own() -> None:
    assert file_names(["a b", "a/b", "a_b", "c"]) == ["a_b", "a_b_2", "a_b_3", "c"]


def test_beads_that_were_not_looked_at_are_not_said_to_be_right(one: Evaluation) -> None:
    """Of the reference; or of all, without --cg."""
    assert "far off their beads" not in rule_table(one)
    (candidate,) = one.candidates
    seen = tuple(replace(m, deviation=np.full(3, 0.001)) for m in candidate.measured)
    page = rule_table(replace(one, candidates=(replace(candidate, measured=seen),)))
    assert "far off their beads</td><td>not compared</td><td>0</td>" in page


def installed_browser() -> str:
    """The path of a browser."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no browser (chromium) is installed")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser."""
    path = installed_browser()
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        yield browser
        browser.close()


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """A page, and what it complains of or asks a network for."""
    page, said = browser.new_page(**options), []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else said.append(asked.url),
    )
    page.goto(path.as_uri())
    return page, said


def test_a_browser_draws_every_figure_without_an_error(report: Path, chromium: Any) -> None:
    page, said = opened(chromium, report / "index.html")
    sizes = page.evaluate(
        """[...document.querySelectorAll('.panel svg')].map(svg => {
            const box = svg.getBoundingClientRect();
            const drawn = [...svg.querySelectorAll('path, image, use')].filter(
                e => { const b = e.getBoundingClientRect(); return b.width + b.height > 0; });
            return [box.width, box.height, drawn.length];
        })"""
    )
    page.close()
    assert said == []
    assert len(sizes) >= 16
    assert all(width > 100 and height > 60 and drawn > 3 for width, height, drawn in sizes)


@pytest.mark.parametrize(("width", "across"), [(1280, 4), (768, 2), (390, 1)])
def test_no_page_is_wider_than_its_window(report: Path, chromium: Any, width: int, across: int) -> None:
    """Wide tables scroll in themselves, and fewer panels stand beside each other."""
    page, _ = opened(chromium, report / "index.html")
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.evaluate(
            "Math.max(...[...document.querySelectorAll('body *')]"
            ".filter(e => !e.closest('.wide, svg'))"
            ".map(e => e.getBoundingClientRect().right))"
        )
        <= width
    )
    tables = page.evaluate(
        "[...document.querySelectorAll('.wide')].map(e => [e.scrollWidth > e.clientWidth, "
        "getComputedStyle(e).overflowX])"
    )
    assert any(is_wide for is_wide, _ in tables) or width > 390
    assert {scrolls for _, scrolls in tables} == {"auto"}
    columns = page.evaluate("getComputedStyle(document.querySelector('.panels.a4')).gridTemplateColumns")
    page.close()
    assert len(columns.split()) == across


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_the_verdict_is_seen_at_once(report: Path, chromium: Any, width: int, height: int) -> None:
    page, _ = opened(chromium, report / "index.html", viewport={"width": width, "height": height})
    ends = page.evaluate(
        "[...document.querySelectorAll('.verdict')].slice(0, 2).map(e => e.getBoundingClientRect().bottom)"
    )
    words = page.evaluate("document.querySelector('.verdict').textContent")
    page.close()
    assert len(ends) == 2  # a candidate each
    assert max(ends) < height
    assert re.search("safe to simulate|relax first|wrong molecule", words)


def test_a_print_shows_what_is_folded_and_keeps_headings_with_what_they_head(
    report: Path, chromium: Any
) -> None:
    page, said = opened(chromium, report / "index.html")
    count_open = "document.querySelectorAll('details[open]').length"
    assert page.evaluate(count_open) == 0
    page.evaluate("addEventListener('beforeprint', () => { window.unfolded = " + count_open + " })")
    page.emulate_media(media="print")
    breaks = page.evaluate(
        "[...document.querySelectorAll('h2, h2 + p, summary')].map(e => getComputedStyle(e).breakAfter)"
    )
    pdf = page.pdf(format="A4")
    folded, unfolded = page.evaluate("[document.querySelectorAll('details').length, window.unfolded]")
    assert page.evaluate(count_open) == 0
    page.close()
    assert set(breaks) == {"avoid"}
    assert unfolded == folded > 4
    assert pdf.startswith(b"%PDF")
    assert said == []


def test_the_contents_lead_to_every_section(report: Path) -> None:
    page = (report / "index.html").read_text()
    nav = page[page.index("<nav") : page.index("</nav>")]
    links = re.findall(r'href="#([^"]+)"', nav)
    assert links == re.findall(r'<h2 id="([^"]+)"', page)
    assert len(set(links)) == len(links) > 10


def test_the_page_says_when_how_and_of_what_it_was_made(report: Path) -> None:
    page = (report / "index.html").read_text()
    head = page[page.index('<dl class="facts"') : page.index("</dl>")]
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", head)
    assert str(OCTANE / "aa.xtc") in head  # of the candidate and the reference
    assert str(report.parent / "spoilt.trr") in head
    assert str(OCTANE / "topol.top") in head
    assert "<dt>Command</dt>" in head
    assert f"dbm-gmx {dbm_gmx.__version__}" in head
    assert (
        page.index("<b>The floor</b> is")
        < page.index("(floor)")
        < page.index('class="wide"', page.index("(floor)"))
    )


def test_an_axis_of_a_dihedral_is_not_cut_through_a_peak() -> None:
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    from dbm_gmx.evaluation.figures import _cut

    x = np.linspace(-180, 180, 121)[:-1] + 1.5

    def peaks(*places: float) -> np.ndarray:
        apart = np.radians(x[:, None] - places)
        return np.exp((np.cos(apart) - 1) / 0.02).sum(axis=1)

    for places, begin in (((-60, 60), -180), ((180, 70), 0), ((0, 180), -120), ((170,), 0), ((0,), -180)):
        turned, rows = _cut(x, [peaks(*places)])
        assert turned[0] == pytest.approx(begin + 1.5), places
        assert np.allclose((turned - x[rows]) % 360, 0)
        assert peaks(*places)[rows][[0, -1]].max() < 0.05


def test_what_atoms_are_good_for(later: Evaluation, report: Path, tmp_path: Path) -> None:
    """A verdict is not green where the energy is off, nor silent where the potential is red."""
    (candidate,) = later.candidates
    assert advice(later, candidate).use == SAFE
    scores = json.loads((report / "scores.json").read_text())["candidates"]
    assert (scores["aa"]["use"], scores["spoilt"]["use"]) == (SAFE, RELAX)
    assert any("bonds far too long" in why for why in scores["spoilt"]["why"])
    red = {**later.scores["aa"], ("energy", "Potential"): Score(5.0, 1.0, 0.5)}
    found = advice(replace(later, scores={"aa": red}), candidate)
    assert found.use == SAFE
    assert any("potential is red" in why for why in found.why)
    energies = later.differences["aa"]
    strained = replace(energies, difference=energies.difference + 0.5, error=energies.error + 0.01)
    found = advice(replace(later, scores={"aa": red}, differences={"aa": strained}), candidate)
    assert found.use == RELAX
    assert any("in total +0.500" in why for why in found.why)
    slow = energies.names.index(SLOW)
    caught = replace(
        energies, difference=np.where(np.arange(len(energies.names)) == slow, 0.5, 0.0), error=strained.error
    )
    found = advice(replace(later, differences={"aa": caught}), candidate)
    assert found.use == RELAX
    assert any("in torsions and pairs +0.500" in why for why in found.why)
    kept = {**candidate.verdict.judgement.kept, "flipped": Kept(2, 0.0, 0.0, 1, (0.0,))}
    mirrored = replace(candidate.verdict, judgement=replace(candidate.verdict.judgement, kept=kept))
    assert advice(later, replace(candidate, verdict=mirrored)).use == WRONG
    allowed = replace(mirrored, limits=replace(mirrored.limits, allowed=("flipped",)))
    assert advice(later, replace(candidate, verdict=allowed)).use == SAFE
    other = replace(candidate.verdict, differing="8 atoms, 9 in the topology")
    assert advice(later, replace(candidate, verdict=other)).use == WRONG


def test_without_a_reference_strained_angles_are_relaxed_first(
    tmp_path: Path, octane: systems.Example
) -> None:
    noisy = rattled(tmp_path / "noisy.trr", OCTANE / "aa.xtc", octane.system, width=0.01, frames=1)
    found = evaluate(inputs(noisy, OCTANE / "aa.xtc", reference=None, end=150.0), conditions=WARM, slow=())
    said = [advice(found, candidate) for candidate in found.candidates]
    assert [one.use for one in said] == [RELAX, SAFE]
    assert all("no reference" in " ".join(one.why) for one in said)


def test_json_alone_needs_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = evaluated("-p", OCTANE / "topol.top", "-f", OCTANE / "aa.gro", "--json")
    assert result.code == 0
    scores = json.loads(result.out)
    assert scores["reference"] is None
    assert list(tmp_path.iterdir()) == []
    angle = scores["candidates"]["aa"]["terms"]["angle"]["CT-CT-CT"]
    assert abs(angle["mean"] - angle["expected mean"]) < 3
    assert 0.7 < angle["spread"] / angle["expected spread"] < 1.2


def test_an_older_report_is_kept_and_nothing_else_is_touched(report: Path, tmp_path: Path) -> None:
    shutil.copytree(report, tmp_path / "out")
    files = ["-p", OCTANE / "topol.top", "-f", OCTANE / "aa.gro", "-q", "-o"]
    assert evaluated(*files, tmp_path / "out").code == 0
    assert {p.name for p in tmp_path.iterdir()} == {"out", "#out.1#"}
    pages = [(tmp_path / name / "index.html").read_bytes() for name in ("#out.1#", "out")]
    assert pages[0] == (report / "index.html").read_bytes() != pages[1]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    assert evaluated(*files, tmp_path / "mine").code == 1
    assert (tmp_path / "mine" / "precious").exists()


def test_a_conformer_says_which_hand_is_right(tmp_path: Path) -> None:
    """Of the other hand, all is wrong without any frame of a reference."""
    text = (share_path("molecules", "SPS") / "conf.gro").read_text().splitlines()
    mirrored = [*text[:2], *(f"{x[:20]}{-float(x[20:28]):8.3f}{x[28:]}" for x in text[2:-1]), text[-1]]
    (tmp_path / "other.gro").write_text("\n".join(mirrored) + "\n")
    wanted = {"conf.gro": 0, "other.gro": 180}
    for path in (share_path("molecules", "SPS") / "conf.gro", tmp_path / "other.gro"):
        files = EvaluateInputs(SPS / "topol.top", (SPS / "aa.gro",), reference=path)
        found = evaluate(files, slow=())
        assert found.reference is None
        assert sum(found.candidates[0].verdict.counts["flipped"]) == wanted[path.name]


def test_the_page_on_the_paper_is_made_of_its_figures(tmp_path: Path, octane: systems.Example) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    path = share_path("recipes", "report") / "paper.py"
    spec = importlib.util.spec_from_file_location("paper", path)
    paper = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(paper)
    short = tmp_path / "short"
    shutil.copytree(OCTANE, short)
    (short / "run.mdp").write_text("ref-t = 350\nrvdw = 0.9\nrcoulomb = 0.9\n")
    rattled(short / "aa.xtc", OCTANE / "aa.xtc", octane.system, width=0.0)
    candidates = [f"{label}={short / 'aa.xtc'}" for label in ("sPS/none", "sPS/p1", "transferred/p1")]
    paper.main([*map(str, [short, tmp_path / "out", *candidates])])
    page = (tmp_path / "out" / "index.html").read_text()
    assert str(tmp_path) not in page
    assert str(OCTANE) not in page
    pytest.importorskip("dscribe", reason="the extra 'report' is not installed")
    headings = re.findall(r"<h2[^>]*>(Fig \d|Table S1)", page)
    assert headings == ["Fig 2", "Fig 3", "Fig 4", "Fig 4", "Fig 5", "Fig 6", "Fig 6", "Table S1"]
    assert page.count('<div class="panels') == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("a", "b")}, "2 labels"),
        ({"labels": ("reference",)}, "labels"),
        ({"labels": (" ",)}, "not empty"),
        ({"cg": (OCTANE / "cg.tpr", OCTANE / "cg.xtc")}, "mapping"),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(inputs(OCTANE / "aa.xtc", **changes), conditions=WARM, slow=())

"""The rules at the end of a run: one set for backmap, relax and evaluate; and what check knows beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import mixed
import networkx as nx
import numpy as np
import pytest
from fake import fake_gmx
from mixed import Mixture, Result, command
from systems import alkane, mapping, molecule, ring, system
from test_top import molecule as molecule_of

from dbm_gmx.backmapping.memory import Early
from dbm_gmx.backmapping.ready import make_ready
from dbm_gmx.backmapping.rebuilder import Rebuilder, make_rebuilder
from dbm_gmx.backmapping.summary import Refinement, Report
from dbm_gmx.chemistry.feasible import SLACK, STRETCH, problems_of, reaches
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.rings import rings_of
from dbm_gmx.chemistry.rules import Judgement, bond_lengths, judge, judge_atoms, seen_widths, stereo_values
from dbm_gmx.chemistry.stereo import Stereo
from dbm_gmx.chemistry.winding import with_whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.system import read_inputs
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.forcefield.equilibrium import SLOW, TOTAL
from dbm_gmx.options import RULES, Inputs, Limits, Method, Settings

ATOMS = mixed.ATOMS * sum(count for _, count in mixed.MOLECULES)
BOX = np.eye(3) * 4.0

Spoil = Callable[[np.ndarray], None]


def nothing(atoms: np.ndarray) -> None:
    """As it was simulated."""


def crowd(atoms: np.ndarray) -> None:
    """The second molecule upon the first."""
    atoms[26:52] = atoms[:26] + 0.05


def stretch(atoms: np.ndarray) -> None:
    """A hydrogen further from its carbon."""
    along = atoms[1] - atoms[0]
    atoms[1] = atoms[0] + 1.4 * along


def stretch_a_little(atoms: np.ndarray) -> None:
    """As bonds do that vibrate."""
    atoms[1] = atoms[0] + 1.2 * (atoms[1] - atoms[0])


def shift(nm: float, atoms: np.ndarray) -> None:
    """A molecule off its beads."""
    atoms[:26] += np.float32([nm, 0, 0])


def crush(atoms: np.ndarray) -> None:
    """A hydrogen almost on its carbon: no pair that is not bonded is any closer for that."""
    atoms[1] += 0.7 * (atoms[0] - atoms[1])


CASES = [
    (nothing, set()),
    (crush, {"bonds"}),
    (crowd, {"contacts", "overlaps", "beads"}),
    (stretch, {"bonds"}),
    (stretch_a_little, set()),
    (partial(shift, 0.04), {"beads"}),
    (partial(shift, 0.02), set()),
]
NAMES = ["right", "crush", "crowd", "stretch", "stretch a little", "far off", "a little off"]


@pytest.fixture
def files(tmp_path: Path) -> Mixture:
    made = mixed.mixture(tmp_path / "in")
    mixed.write_atoms(made)
    return made


@pytest.fixture
def truth(files: Mixture) -> list[np.ndarray]:
    """Atoms of the three frames."""
    return [f.positions.copy() for f in read_frames(files.folder / "aa.trr", n_atoms=ATOMS)]


def run(
    files: Mixture, truth: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, **options: object
) -> Result:
    """Backmap with the true atoms in place of sampled ones."""
    unsettled = options.pop("unsettled", ())
    mixed.fake_sampler(monkeypatch, unsettled=unsettled)
    call = mixed.FakeSampler.__call__

    def true(sampler, beads: Frame, **more):
        return truth[beads.index], call(sampler, beads, **more)[1]

    monkeypatch.setattr(mixed.FakeSampler, "__call__", true)
    named = {f"--{key}": value for key, value in options.items()}
    return command("backmap", {**files.inputs, "-t": 300, "-o": files.folder / "out.trr", **named})


@pytest.mark.parametrize(("spoil", "rules"), CASES, ids=NAMES)
def test_backmap_ends_with_the_rules_that_hold(
    spoil: Spoil, rules: set[str], files: Mixture, truth: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule, the frame and the worst value are said; the frames are written all the same."""
    spoil(truth[1])
    result = run(files, truth, monkeypatch)
    assert result.code == (2 if rules else 0), result.err
    assert {rule for rule in RULES if f"{rule} in 1 of 3 frames (at 10 ps), worst " in result.err} == rules
    last = result.out.splitlines()[-1]
    assert last.startswith("rules          BROKEN: " if rules else "rules          all hold")
    assert all(f"{rule} in 1 of 3 frames" in last for rule in rules)
    for said in (
        "per 1,000 atoms (limit 1)",
        "widths of the restraint (limit 10)",
        "its own length (limit 1.3)",
    ):
        assert said in result.out
    assert len(list(read_frames(files.folder / "out.trr", n_atoms=ATOMS))) == 3
    if rules:
        allowed = run(files, truth, monkeypatch, allow=sorted(rules))
        assert (allowed.code, allowed.err) == (0, "")
        assert "broken, which is allowed: " in allowed.out


@pytest.mark.parametrize(("spoil", "rules"), CASES, ids=NAMES)
def test_evaluate_and_relax_judge_by_the_same(
    spoil: Spoil, rules: set[str], files: Mixture, truth: list[np.ndarray], tmp_path: Path
) -> None:
    spoil(truth[1])
    source = list(read_frames(files.folder / "aa.trr", n_atoms=ATOMS))
    with open_writer(tmp_path / "spoilt.trr", mixed.atoms_topology(files)) as writer:
        for frame, atoms in zip(source, truth, strict=True):
            writer.write(replace(frame, positions=atoms))
    top = {
        "-p": files.folder / "topol.top",
        "-m": files.inputs["-m"],
        "-t": 300,
        "-f": tmp_path / "spoilt.trr",
    }
    program = fake_gmx(tmp_path / "bin" / "gmx")
    beads = {"--beads": files.folder / "cg.xtc", "--gmx": program, "-o": tmp_path / "out.trr"}
    relaxed = command("relax", {**top, **beads, "--spread": 0.003})
    assert relaxed.code == (2 if rules else 0), relaxed.err
    assert {rule for rule in RULES if f"{rule} in 1 of 3 frames (at 10 ps)" in relaxed.err} == rules
    assert "rules          " in relaxed.out
    # beads need a .tpr there; how tightly they were held is not known
    found = command("evaluate", {**top, "--json": None})
    seen = rules - {"beads"}
    assert found.code == (2 if seen else 0), found.err
    assert json.loads(found.out)["broken"] == ({"spoilt": [r for r in RULES if r in seen]} if seen else {})
    loose = ["overlaps=0", "contacts=1e6", "bonds=9"]
    assert command("evaluate", {**top, "--json": None, "--limit": loose}).code == 0
    assert command("relax", {**top, **beads, "--limit": [*loose, "beads=1e6"]}).code == 0
    assert command("relax", {**top, **beads, "--no-restraints": None}).code == (2 if seen else 0)


def test_thresholds_can_be_set(
    files: Mixture, truth: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    shift(0.04, truth[1])
    wide = run(files, truth, monkeypatch, limit="beads=20")
    assert (wide.code, "(limit 20)" in wide.out) == (0, True)
    assert run(files, truth, monkeypatch, limit=["beads=20", "contacts=0", "beads=12"]).code == 2
    for wrong in ("beads", "flipped=1", "bonds=long", "bonds=nan", "bonds=-1"):
        refused = run(files, truth, monkeypatch, limit=wrong)
        assert refused.code == 1
        assert wrong in refused.err
    assert "invalid choice: 'bead'" in run(files, truth, monkeypatch, allow="bead").err


def test_frames_that_are_not_stationary_break_a_rule_unless_sweeps_were_given(
    files: Mixture, truth: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(files, truth, monkeypatch, unsettled=(1, 2))
    assert result.code == 2
    assert "stationary in 2 of 3 frames (at 10, 20 ps)" in result.err
    given = run(files, truth, monkeypatch, unsettled=(1, 2), sweeps=9)
    assert (given.code, given.err) == (0, "")
    assert "2 of 3 NOT STATIONARY" in given.out
    assert run(files, truth, monkeypatch, unsettled=(1, 2), allow="stationary").code == 0


def test_an_energy_off_an_independent_start_breaks_a_rule() -> None:
    """Where the summary says NOT CONVERGED."""

    class Off:
        names = (SLOW, TOTAL)

        def __init__(self, value: float):
            self.value = value

        def row(self, _: str) -> tuple[float, float]:
            return self.value, 0.001

        shown = 0.001

        def sums_beyond(self, tolerance: float) -> tuple[str, ...]:
            return (TOTAL,) if abs(self.value) > tolerance else ()

    report = Report((0,), refinement=Refinement("300 K", 1, 16), judged=Judgement(1))
    for value in (0.21, -0.21, 0.01):
        found = replace(report, against=Off(value))
        assert found.broken == (("converged",) if abs(value) > 0.03 else ())
        assert ("NOT CONVERGED" in found.text()) == (abs(value) > 0.03)
    off = replace(report, against=Off(0.21))
    assert off.judgement.words() == "rules are broken: converged worst 0.21 kT per atom, limit 0.03"
    assert replace(off, limits=Limits(allowed=("converged",))).broken == ()
    given = replace(off, must_converge=False)
    assert given.broken == ()
    assert "NOT CONVERGED" in given.text()


def test_judgements_add_up_and_what_is_no_number_breaks_a_rule() -> None:
    limits = Limits()
    frames = [
        judge({"bonds": 1.1, "overlaps": 0.9}, 0.0, limits),
        judge({"bonds": 2.0, "overlaps": 0.5}, 10.0, limits),
        judge({"bonds": 1.5, "overlaps": 0.7, "beads": 3.0}, 20.0, limits),
    ]
    total = sum(frames, Judgement())
    assert total.frames == 3
    assert total.broken() == ("overlaps", "bonds")
    assert total.broken(["bonds"]) == ("overlaps",)
    bonds, overlaps = total.kept["bonds"], total.kept["overlaps"]
    assert (bonds.worst, bonds.time, bonds.broken, bonds.times) == (2.0, 10.0, 2, (10.0, 20.0))
    assert (overlaps.worst, overlaps.time) == (0.5, 10.0)
    assert (
        "bonds in 2 of 3 frames (at 10, 20 ps), worst 2 times longer or shorter than its own length "
        "at 10 ps, limit 1.3" in total.words()
    )
    for frame in (judge({"bonds": np.nan, "overlaps": np.nan}, 30.0, limits),):
        for both in (total + frame, frame + total):
            assert np.isnan(both.kept["bonds"].worst)
            assert both.kept["bonds"].broken == 3
    many = sum((judge({"bonds": 2.0}, float(k), limits) for k in range(9)), Judgement())
    assert "bonds in 9 of 9 frames (at 0, 1, 2, 3, 4, ... ps)" in many.words()
    assert judge(stereo_values(Stereo(right=3, inferred=2), Stereo(unknown=1)), 0.0, limits).broken() == ()


def test_a_few_contacts_that_are_not_too_near_are_allowed_in_large_frames() -> None:
    """One in 1,000 atoms; one that overlaps is too many in any frame."""
    methane = molecule(["C"], [], [0], name="MET", united=True)
    made = system((methane, mapping(methane, [0], "A"), 1000))
    grid = np.stack(np.meshgrid(*[np.arange(10) * 0.4] * 3), -1).reshape(-1, 3).astype(np.float32)
    for distance, count, broken in (
        (0.2, 1, ()),
        (0.2, 2, ("contacts",)),
        (0.15, 1, ("overlaps",)),
    ):
        atoms = grid.copy()
        for k in range(count):
            atoms[20 * k + 1] = atoms[20 * k] + np.float32([0, 0, distance])
        assert judge_atoms(made, Frame(atoms, BOX), {}).judgement.broken() == broken


def test_widths_that_nobody_says_come_from_the_nearest_beads() -> None:
    """So that some that are far off do not hide."""
    octane = alkane(8)
    made = system((octane, mapping(octane, [0, 0, 0, 0, 1, 1, 1, 1], "AB"), 200))
    rng = np.random.default_rng(3)
    off = np.linalg.norm(rng.normal(size=(400, 3)) * np.tile([0.01, 0.03], 200)[:, None], axis=1)
    widths = seen_widths(made, off)
    assert widths[0] == pytest.approx(0.01, rel=0.15)
    assert widths[1] == pytest.approx(0.03, rel=0.15)
    far = np.where(rng.random(400) < 0.5, 5.7, off)
    assert seen_widths(made, far).max() < 0.08
    assert seen_widths(made, np.full(400, 5.7)).max() <= 0.1


def test_rings_are_found_without_a_search_of_the_whole_molecule() -> None:
    """Those of fused, bridged and caged molecules, none larger than eight."""

    def sizes(moltype) -> list[int]:
        return [rows.shape[1] for rows in rings_of(moltype) for _ in rows]

    naphthalene = [*ring(6), (5, 6), (6, 7), (7, 8), (8, 9), (9, 4)]
    assert sizes(molecule(["C"] * 10, naphthalene)) == [6, 6]
    assert sizes(molecule(["C"] * 7, [*ring(6), (0, 6), (6, 3)])) == [5, 5]
    assert (
        sizes(molecule(["C"] * 8, [(a, b) for a in range(8) for b in range(a) if (a ^ b).bit_count() == 1]))
        == [4] * 6
    )
    assert sizes(molecule(["C"] * 9, ring(9))) == []
    assert sizes(alkane(5)) == []
    (rows,) = rings_of(molecule(["C"] * 6, ring(6)))
    assert nx.is_isomorphic(nx.cycle_graph(6), nx.Graph(list(zip(rows[0], np.roll(rows[0], 1), strict=True))))


# --- what is known beforehand ------------------------------------------------------------------------


def check(files: Mixture, frames: list[Frame]) -> Result:
    mixed.write_beads(files.folder / "cg.trr", files.cg, frames)
    return command("check", {**files.inputs, "-f": files.folder / "cg.trr", "-t": 300, "--cutoff": 0.9})


def test_check_refuses_beads_that_no_atoms_reach(files: Mixture) -> None:
    assert check(files, files.frames).code == 0
    frames = [replace(frame, positions=frame.positions.copy()) for frame in files.frames]
    frames[1].positions[1] += np.float32([1.2, 0, 0])
    result = check(files, frames)
    assert result.code == 1
    assert "cg.trr: frame 1 (t = 10 ps): no atoms can be put there: bead " in result.err
    assert "bead 2 (" in result.err
    assert "nm apart; the bonds between their atoms reach 0." in result.err


@pytest.mark.parametrize("spoil", ["apart", "at a point", "a small box"])
def test_backmap_refuses_what_check_refuses(
    spoil: str, files: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same words; frames before are kept, and who allows it goes on with them."""
    mixed.fake_sampler(monkeypatch)
    last = replace(files.frames[2], positions=files.frames[2].positions.copy())
    if spoil == "apart":
        last.positions[1] += np.float32([1.2, 0, 0])
    elif spoil == "at a point":
        last.positions[:] = 1.0
    else:
        last = replace(last, box=np.eye(3) * 0.8)
    refused = check(files, [*files.frames[:2], last])
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "aa.xtc"
    given = {**files.inputs, "-f": files.folder / "cg.trr", "-t": 300, "-o": out, "--allow": ["all"]}
    result = command("backmap", given)
    assert (result.code, refused.code) == (1, 1)
    words = refused.err.splitlines()[-1]
    assert "cg.trr: frame 2 (t = 20 ps): no atoms can be put there: " in words
    kept, said = result.err.splitlines()[-2:]
    assert f"{words} (--allow infeasible if that may be)" == said
    assert "aa.part.xtc: 2 frames kept; the same command goes on" in kept
    assert len(list(read_frames(tmp_path / "out" / "aa.part.xtc", n_atoms=ATOMS))) == 2
    assert command("backmap", {**given, "--allow": ["all", "infeasible"]}).code == 0
    assert [f.time for f in read_frames(out, n_atoms=ATOMS)] == [0, 10, 20]
    assert command("backmap", {**given, "-o": tmp_path / "o.xtc", "--allow": ["infeasible"]}).code == 2


def test_frames_that_are_refused_settle_nothing(files: Mixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found out on early frames is found out on others; where there are no others, it is refused."""
    far = [replace(frame, positions=frame.positions.copy()) for frame in files.frames]
    for frame in far:
        frame.positions[1] += np.float32([1.2, 0, 0])
    made, _ = read_inputs(record_of_files(files))
    mapper = make_rebuilder(made, Method(Settings(sweeps=0)), source=Path("cg.trr"))
    asked: list[list[float]] = []

    def settle(mapper: Rebuilder, beads: Early, tacticity: object) -> tuple[Rebuilder, None]:
        asked.append([frame.time for frame in beads(3)])
        return mapper, None

    monkeypatch.setattr("dbm_gmx.backmapping.ready.assign_states", settle)
    make_ready(mapper, lambda _: [files.frames[0], far[1], files.frames[2]])
    assert asked == [[0, 20]]
    with pytest.raises(InputError, match=r"cg.trr: frame 0 .*no atoms can be put there"):
        make_ready(mapper, lambda _: far)
    make_ready(replace(mapper, infeasible=True), lambda _: far)
    assert asked[1:] == [[0, 10, 20]]


def record_of_files(files: Mixture) -> Inputs:
    """The files of a mixture for Python."""
    given = files.inputs
    return Inputs(
        given["-s"],
        given["-f"],
        given["-cp"],
        topology=given["-p"],
        mappings=tuple(given["-m"]),
        owners=(given["--owners"],),
    )


def test_check_refuses_beads_at_one_point_and_boxes_too_small(files: Mixture) -> None:
    point = [replace(files.frames[0], positions=np.full_like(files.frames[0].positions, 1.0))]
    result = check(files, point)
    assert result.code == 1
    assert "frame 0 (t = 0 ps): no atoms can be put there: bead 1 (" in result.err
    assert "24 beads are within 0.1 nm" in result.err
    dense = [replace(files.frames[0], box=np.eye(3) * 0.8)]
    result = check(files, dense)
    assert (result.code, "atoms in 0.512 nm^3, " in result.err) == (1, True)


def test_check_warns_of_what_is_merely_bad(files: Mixture) -> None:
    frames = [replace(f, positions=_moved(f.positions, 8, f.positions[0] + 0.05)) for f in files.frames]
    small = [replace(f, box=np.eye(3) * 1.5) for f in frames]
    result = check(files, small)
    assert result.code == 0
    assert (
        "warning: frame 0 (t = 0 ps): a box vector of 1.5 nm is shorter than two cut-offs of 0.9"
        in result.out
    )
    assert "2 beads are within 0.1 nm" in result.out
    assert "(and in 2 more frames)" in result.out


def _moved(beads: np.ndarray, first: int, place: np.ndarray) -> np.ndarray:
    """The molecule of four beads from ``first``, so that this is at the place."""
    moved = beads.copy()
    moved[first : first + 4] += place - beads[first]
    return moved


def test_the_reach_of_bonded_beads_is_an_upper_bound() -> None:
    """Stretched out, a chain comes near it, and never beyond; beads that share atoms too."""
    octane = alkane(8)
    made = mapping(octane, [0, 0, 0, 0, 1, 1, 1, 1], "AB")
    (pair,), (reach,) = reaches(made, octane)
    assert pair.tolist() == [0, 1]
    heavy = np.zeros((octane.n_atoms, 3))
    heavy[:8, 0] = 0.2 * np.arange(8)  # straight, with bonds of unknown length
    for i in range(8, octane.n_atoms):
        heavy[i] = heavy[next(iter(octane.graph[i]))]
    apart = float(np.diff((made.weights @ heavy)[:, 0])[0])
    assert apart <= reach + 1e-9
    assert reach < 1.6 * apart
    two = system((octane, made, 1))
    for factor, problems in ((0.99, []), (1.05, [False]), (1.0, [])):
        beads = np.array([[0, 0, 0], [factor * reach, 0, 0]], np.float32)
        assert [p.fatal for p in problems_of(two, Frame(beads, BOX), 1.0)] == problems
    beads = np.array([[0, 0, 0], [STRETCH * reach + SLACK + 0.01, 0, 0]], np.float32)
    (problem,) = problems_of(two, Frame(beads, BOX), 1.0)
    assert problem.fatal
    assert "bead 1 (A1 of ALK 1) and bead 2 (B2 of ALK 1)" in problem.words


def test_a_periodic_chain_of_two_beads_is_no_ring() -> None:
    """Each bead between two images of the other; a ring of as many atoms has both on one side."""
    atoms = molecule(["C"] * 16, ring(16), [2] * 16, name="PE", united=True)
    two = system((atoms, mapping(atoms, [0] * 8 + [1] * 8, "AA"), 2))
    box = np.diag([2.0, 3.0, 3.0])
    closed, chain = np.array([[0, 0, 0], [0.45, 0, 0]]), np.array([[1.5, 1, 1], [2.5, 1, 1]])
    assert not with_whole_beads(two, Frame(np.concatenate([closed, closed + 1], dtype=np.float32), box)).winds
    assert with_whole_beads(two, Frame(np.concatenate([closed, chain], dtype=np.float32), box)).winds
    naphthalene = molecule(["C"] * 10, [*ring(10), (2, 7)], [1] * 10, name="NAP", united=True)
    two = system((naphthalene, mapping(naphthalene, [0, 0, 0, 1, 1, 1, 1, 1, 0, 0], "AB"), 1))
    frame = Frame(np.array([[0, 0, 0], [0.25, 0, 0]], np.float32), np.diag([1.0, 1.0, 1.0]))
    assert not with_whole_beads(two, frame).winds


@pytest.mark.parametrize(
    ("line", "length"), [("1 0.15 2e5", 0.15), ("3 0.16 400 20", 0.16), ("4 0.17 2e5 20", 0.17)]
)
def test_bonds_of_every_form_have_a_length_of_their_own(line: str, length: float, tmp_path: Path) -> None:
    assert bond_lengths(molecule_of(tmp_path, f"[ bonds ]\n1 2 {line}\n")) == {(0, 1): length}

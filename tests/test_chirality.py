"""States that nothing defines: inferred with a confidence, undecided, or as a tacticity says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import systems
from cut import Cut, cut, search_less
from mixed import Options, Result, command

import dbm_gmx.sampling.chirality as chirality
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Source, chirality_of, stereo_elements, stereocentres
from dbm_gmx.chemistry.tacticity import continued, dyad_centres, racemo, stretches
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import EARLY, read_inputs
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.options import Inputs
from dbm_gmx.sampling.chirality import DECIDED, SOME, Inferred, Odds
from dbm_gmx.sampling.evidence import PASSES, Clusters, Table, Tables
from dbm_gmx.sampling.growth import Grower, Molecules
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.sampler import Sampler, infer_unknown

# --- sums over patterns ------------------------------------------------------------------------------

GROUPS = ((4, 0, 2), (2, 5, 1), (1, 3))
"""Of six elements: not in their order."""


def random_odds(copies: int, *, given: np.ndarray | None = None, scale: float = 8.0, seed: int = 1) -> Odds:
    """Odds from energies by chance; all searches have found the same."""
    rng = np.random.default_rng(seed)

    def table(elements: int) -> Table:
        energy = scale * rng.random((copies, 2**elements))
        return Table(np.array([energy] * (PASSES + 1)), np.ones(copies, np.int64))

    tables = Tables(tuple(table(len(group)) for group in GROUPS), tuple(table(1) for _ in GROUPS[1:]))
    states = np.zeros((copies, 6), np.int8) if given is None else given
    return Odds(Clusters(GROUPS, None), tables, states)  # type: ignore[arg-type]


def by_hand(odds: Odds, copy: int) -> dict[tuple[int, ...], float]:
    """Logarithm of the weight of every pattern of six states of a copy."""
    found = {}
    for pattern in product((1, -1), repeat=6):
        total = 0.0
        for group, table in zip(GROUPS, odds.tables.groups, strict=True):
            number = sum(2**j for j, k in enumerate(group) if pattern[k] == -1)
            total -= chirality.WORTH * table.energy[-1, copy, number] / np.sqrt(table.frames[copy])
        for group, table in zip(GROUPS[1:], odds.tables.shared, strict=True):
            share = table.energy[-1, copy, int(pattern[group[0]] == -1)]
            total += chirality.WORTH * share / np.sqrt(table.frames[copy])
        if all(g in (0, p) for g, p in zip(odds.given[copy], pattern, strict=True)):
            found[pattern] = total
    return found


def log_odds(weights: dict[tuple[int, ...], float], element: int) -> float:
    sides = [[w for p, w in weights.items() if p[element] == sign] for sign in (1, -1)]
    plus, minus = (np.logaddexp.reduce(side) for side in sides)
    return float(plus - minus)


def test_confidence_is_the_sum_over_all_patterns() -> None:
    """Of one molecule; a state that is given restricts the patterns."""
    for given in (None, np.array([[0, 0, -1, 0, 0, 1]], np.int8)):
        odds = random_odds(1, given=given)
        states, confidence = odds.states()
        weights = by_hand(odds, 0)
        for k in range(6):
            if odds.given[0, k]:
                assert (states[0, k], confidence[0, k]) == (odds.given[0, k], np.inf)
            else:
                assert states[0, k] * confidence[0, k] == pytest.approx(log_odds(weights, k))


def test_patterns_are_drawn_with_their_odds() -> None:
    copies = 4000
    one = random_odds(1, scale=4.0)
    many = Tables(
        *(
            tuple(Table(t.energy.repeat(copies, axis=1), np.ones(copies, np.int64)) for t in part)
            for part in (one.tables.groups, one.tables.shared)
        )
    )
    odds = Odds(one.clusters, many, np.zeros((copies, 6), np.int8))
    fixed = np.zeros((copies, 6), np.int8)
    fixed[:, 3] = -1
    drawn = odds.pattern(fixed, np.random.default_rng(2))
    assert (drawn[:, 3] == -1).all()
    weights = {p: w for p, w in by_hand(one, 0).items() if p[3] == -1}
    total = np.logaddexp.reduce(list(weights.values()))
    for pattern, weight in weights.items():
        expected = np.exp(weight - total)
        got = (drawn == pattern).all(axis=1).mean()
        assert abs(got - expected) < 5 * np.sqrt(expected / copies)


def test_weights_of_whole_patterns() -> None:
    odds = random_odds(2)
    for pattern in ((1, 1, 1, 1, 1, 1), (-1, 1, -1, -1, 1, -1)):
        expected = [by_hand(odds, copy)[pattern] for copy in range(2)]
        np.testing.assert_allclose(odds.weight(np.array([pattern] * 2)), expected)


def repeated(odds: Odds, copies: int, *, mirrored: tuple[int, ...] = ()) -> Odds:
    """The same evidence for several copies; for some the other way round."""

    def many(table: Table) -> Table:
        energy = table.energy.repeat(copies, axis=1)
        energy[:, list(mirrored)] = energy[:, list(mirrored)][:, :, ::-1]
        return Table(energy, table.frames.repeat(copies))

    tables = Tables(*(tuple(map(many, part)) for part in (odds.tables.groups, odds.tables.shared)))
    return Odds(odds.clusters, tables, odds.given.repeat(copies, axis=0))


def test_copies_that_are_alike_count_together_and_others_do_not() -> None:
    one = random_odds(1, scale=20.0)
    alone = one.states()[1]
    alike = repeated(one, 16).states()
    assert (alike[1] > 1.5 * alone).all()
    # one half the other way: each for itself
    one = random_odds(1, scale=60.0)
    alone = one.states()[1]
    mixed = repeated(one, 16, mirrored=tuple(range(0, 16, 2))).states()
    np.testing.assert_allclose(mixed[1], alone.repeat(16, axis=0), rtol=0.05)
    assert (mixed[0][::2] == -mixed[0][1::2]).all()


def uniform_odds(copies: int, wrong: int) -> Odds:
    """All states 1 in all copies but some, whose states are all -1."""
    sign = np.where(np.arange(copies) < wrong, -1, 1)

    def table(elements: int) -> Table:
        number = np.arange(2**elements)
        minus = np.array([int(n).bit_count() for n in number])
        energy = 20.0 * np.where(sign[:, None] == 1, minus, elements - minus)
        return Table(np.array([energy] * (PASSES + 1)), np.ones(copies, np.int64))

    tables = Tables(tuple(table(len(group)) for group in GROUPS), tuple(table(1) for _ in GROUPS[1:]))
    return Odds(Clusters(GROUPS, None), tables, np.zeros((copies, 6), np.int8))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, 0.5])
def test_of_very_many_copies_some_stand_for_all_where_they_are_alike(
    wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for each copy costs more than all that follows."""
    asked = list[int]()

    def found(_: Grower, frames: list[Molecules], __: Stream) -> Inferred:
        copies = len(frames[0])
        asked.append(copies)
        odds = uniform_odds(copies, round(wrong * copies))
        return Inferred(*odds.states(), odds)

    monkeypatch.setattr(chirality, "_infer_all", found)
    copies = 5000
    molecules = Molecules(np.zeros((copies, 1, 3)), np.zeros((copies, 6), np.int8), np.arange(copies), 0)
    made = chirality.infer_states(None, [molecules], Stream((1,)))  # type: ignore[arg-type]
    assert asked == ([SOME] if wrong == 0 else [SOME, copies])
    assert made.states.shape == made.confidence.shape == (copies, 6)
    assert (made.states == 1).mean() == pytest.approx(1 - wrong)
    assert (made.confidence > DECIDED).all()
    # copies of which more is known are asked each for itself
    asked.clear()
    chirality.infer_states(
        None,  # type: ignore[arg-type]
        [replace(molecules, chirality=np.eye(copies, 6, dtype=np.int8))],
        Stream((1,)),
    )
    assert asked == [copies]


def test_some_that_are_alike_perhaps_do_not_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All states are the same and decided, but that may be chance."""
    asked = list[int]()

    def found(_: Grower, frames: list[Molecules], __: Stream) -> Inferred:
        asked.append(len(frames[0]))
        odds = uniform_odds(asked[-1], 0)
        return Inferred(*odds.states(), odds)

    monkeypatch.setattr(chirality, "_infer_all", found)
    monkeypatch.setattr(Odds, "alike", lambda _: 0.9 * chirality.CERTAIN)
    copies = 5000
    molecules = Molecules(np.zeros((copies, 1, 3)), np.zeros((copies, 6), np.int8), np.arange(copies), 0)
    made = chirality.infer_states(None, [molecules], Stream((1,)))  # type: ignore[arg-type]
    assert asked == [SOME, copies]
    assert (made.states == 1).all()


def test_what_two_searches_do_not_agree_on_is_no_evidence() -> None:
    odds = random_odds(1, scale=20.0)
    for table in odds.tables.groups + odds.tables.shared:
        table.energy[0] = table.energy[0][:, ::-1]
    assert (odds.states()[1] == 0).all()


def test_more_frames_count_by_the_square_root() -> None:
    one = random_odds(1)
    parts = (one.tables.groups, one.tables.shared)
    four = Tables(*(tuple(Table(4 * t.energy, 4 * t.frames) for t in part) for part in parts))
    twice = Tables(*(tuple(Table(2 * t.energy, t.frames) for t in part) for part in parts))
    np.testing.assert_allclose(replace(one, tables=four).states()[1], replace(one, tables=twice).states()[1])


# --- tacticity ---------------------------------------------------------------------------------------


def test_stretches_turn_as_the_atoms_do() -> None:
    """The chirality of all centres of a chain as dyads, and back."""
    moltype = read_topology(share_path("reference", "aps") / "topol.top").molecule_types["APS"]
    path = share_path("reference", "aps") / "aa.gro"
    atoms = next(read_frames(path, n_atoms=20 * moltype.n_atoms)).positions
    (stretch,) = stretches(moltype)
    states = chirality_of(atoms.reshape(20, -1, 3), stereo_elements(moltype))
    turns = states[:, stretch[:, 0]] * stretch[:, 1]
    wanted = racemo(moltype, atoms.reshape(20, -1, 3).astype(float))
    assert ((turns[:, 1:] != turns[:, :-1]) == wanted).all()
    assert 0.2 < wanted.mean() < 0.8
    assert (stereocentres(moltype)[stretch[:, 0], 0] == dyad_centres(moltype)[:, 0]).all()


@pytest.mark.parametrize("syndiotactic", [False, True])
def test_a_tacticity_goes_on_from_what_is_known(syndiotactic: bool) -> None:
    moltype = read_topology(share_path("reference", "aps") / "topol.top").molecule_types["APS"]
    (stretch,) = stretches(moltype)
    first = np.array([1, -1, 1], np.int8)
    known = np.zeros((3, 9), np.int8)
    known[2, 4] = -1
    filled = continued(stretch, known, racemo=syndiotactic, first=first)
    turns = filled[:, stretch[:, 0]] * stretch[:, 1]
    assert (np.abs(turns) == 1).all()
    assert ((turns[:, 1:] != turns[:, :-1]) == syndiotactic).all()
    assert turns[:2, 0].tolist() == [1, -1]
    assert filled[2, 4] == -1
    # what is known stays, also where it does not fit
    odd = filled.copy()
    odd[0, stretch[3, 0]] *= -1
    odd[0, stretch[4, 0]] = 0
    assert (
        continued(stretch, odd, racemo=syndiotactic, first=first)[0, stretch[3, 0]] == odd[0, stretch[3, 0]]
    )


SIDES = {
    "nitrile": ("CN", [(0, 1)], [0, 0]),
    "hydroxyl": ("O", [], [1]),
    "acetate": ("OCOC", [(0, 1), (1, 2), (1, 3)], [0, 0, 0, 3]),
}


@pytest.mark.parametrize("side", SIDES)
def test_side_groups_at_the_ends_are_no_part_of_the_chain(side: str) -> None:
    """Of CH3-(CHX-CH2)4-H, whose longest path may end in X: all dyads are told, the same way round."""
    group, within, hydrogens = SIDES[side]
    heavy, bonds, counts, last = ["C"], [], [3], 0
    for unit in range(4):
        centre = len(heavy)
        heavy += ["C", *group, "C"]
        after = len(heavy) - 1
        bonds += [(last, centre), (centre, centre + 1), (centre, after)]
        bonds += [(centre + 1 + i, centre + 1 + j) for i, j in within]
        counts += [1, *hydrogens, 3 if unit == 3 else 2]
        last = after
    moltype = systems.molecule(heavy, bonds, counts)
    centres = [1 + unit * (len(group) + 2) for unit in range(4)]
    assert dyad_centres(moltype)[:, 0].tolist() == centres
    assert dyad_centres(moltype)[:, 3].tolist() == [centre + 1 for centre in centres]
    (stretch,) = stretches(moltype)
    assert len(stretch) == 4
    assert len(set(stretch[:, 1])) == 1


def test_molecules_without_a_chain_have_no_stretch() -> None:
    assert stretches(systems.alkane(8)) == ()


# --- the command -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coarse:
    """A decamer of polystyrene with one bead a monomer: beads that decide little."""

    made: Cut
    folder: Path

    def run(self, output: Path, **more: object) -> Result:
        folder = self.folder
        given: Options = {"-s": folder / "one.gro", "-cp": folder / "one.top", "-f": folder / "one.trr"}
        given |= {"-p": folder / "topol.top", "-m": folder / "one.xml", "-t": 568, "--sweeps": 1}
        given |= {"--annealing": 0, "--spread": 0.003, "--no-check": None}  # nothing is tried or compared
        named = {("-" if len(k) <= 2 else "--") + k.replace("_", "-"): v for k, v in more.items()}
        result = command("backmap", {**given, **named, "-o": output})
        # on a busy machine it is said how far it is
        said = [line for line in result.err.splitlines(True) if not line.endswith(" GB\n")]
        return replace(result, err="".join(said))

    def states(self, path: Path) -> np.ndarray:
        """(frames, c) of the atoms in a file."""
        moltype = self.made.system.matches[0].moltype
        frames = read_frames(path, n_atoms=moltype.n_atoms)
        return chirality_of(np.array([frame.positions for frame in frames]), stereo_elements(moltype))

    def racemo(self, path: Path) -> np.ndarray:
        """(frames, dyads)."""
        moltype = self.made.system.matches[0].moltype
        frames = read_frames(path, n_atoms=moltype.n_atoms)
        return racemo(moltype, np.array([frame.positions for frame in frames], np.float64))


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Coarse:
    folder = tmp_path_factory.mktemp("coarse")
    made = cut(share_path("reference", "sps"), folder / "sps", "SPS", 1, frames=2)
    (folder / "one").mkdir()
    (folder / "one" / "topol.top").write_text((folder / "sps" / "topol.top").read_text())
    match = made.system.matches[0]
    moltype, old = match.moltype, match.mapping
    monomer = np.array([int(old.names[owner][1:]) for owner in old.owner])
    beads, maps, lines, points = "", "", "", []
    for k in sorted(set(monomer.tolist())):
        atoms = np.flatnonzero(monomer == k)
        names = " ".join(f"{moltype.attribute('resid')[i]}:SPS:{moltype.names[i]}" for i in atoms)
        beads += (
            f"<cg_bead><name>M{k}</name><type>M</type><mapping>M{k}</mapping><beads>{names}</beads></cg_bead>"
        )
        weights = moltype.masses[atoms]
        maps += f"<map><name>M{k}</name><weights>{' '.join(f'{w:.4f}' for w in weights)}</weights></map>"
        lines += f"{k} M 1 SPS M{k} {k} 0 {weights.sum():.3f}\n"
        points.append([np.average(frame.positions[atoms], axis=0, weights=weights) for frame in made.atoms])
    (folder / "one" / "one.xml").write_text(
        "<cg_molecule><name>SPS</name><ident>SPS</ident><topology><cg_beads>"
        f"{beads}</cg_beads></topology><maps>{maps}</maps></cg_molecule>"
    )
    (folder / "one" / "one.top").write_text(
        "[ defaults ]\n1 1 no 1 1\n[ atomtypes ]\nM 1 104 0 A 0 0\n[ moleculetype ]\nSPS 1\n[ atoms ]\n"
        + lines
        + "[ bonds ]\n"
        + "".join(f"{k} {k + 1} 1 0.5 100\n" for k in range(1, len(points)))
        + "[ system ]\nx\n[ molecules ]\nSPS 1\n"
    )
    topology = read_topology(folder / "one" / "one.top")
    for name, count in (("one.gro", 1), ("one.trr", 2)):
        with open_writer(folder / "one" / name, topology) as writer:
            for frame, places in zip(made.atoms[:count], np.swapaxes(points, 0, 1), strict=False):
                writer.write(replace(frame, positions=places.astype(np.float32)))
    return Coarse(made, folder / "one")


Known = dict[tuple[object, ...], dict[str, Inferred]]


@pytest.fixture(scope="module")
def known() -> Known:
    """What was inferred, by all that it was inferred from."""
    return {}


@pytest.fixture(autouse=True)
def inferred_once(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs that infer from the same beads with the same seed do so once."""

    def inferred(sampler: Sampler, frames: Sequence[Frame]) -> dict[str, Inferred]:
        beads = [frame.positions.tobytes() for frame in frames]
        given = [states.tobytes() for states in sampler.chirality.values()]
        key = (sampler.system.n_atoms, sampler.settings.seed, chirality.DECIDED, *given, *beads)
        if key not in known:
            known[key] = infer_unknown(sampler, frames)
        return known[key]

    monkeypatch.setattr("dbm_gmx.backmapping.chirality.infer_unknown", inferred)
    search_less(monkeypatch)  # of these beads nothing follows, however long it is searched


def test_what_beads_do_not_decide_is_undecided(coarse: Coarse, tmp_path: Path) -> None:
    """Counted, exit code 2, and the same in all frames and samples, also in a part of the trajectory."""
    result = coarse.run(tmp_path / "aa.trr", samples=2)
    assert result.code == 2
    assert "undecided in " in result.err
    said = re.search(r"stereocentres  (?:(\d+) of|0 of) 36 .*?(\d+) undecided", result.out)
    assert said is not None
    inferred, undecided = int(said[1] or 0), int(said[2])
    assert inferred + undecided == 36
    assert undecided > 18
    assert not (tmp_path / "aa_chirality.gro").exists()
    states = np.concatenate([coarse.states(tmp_path / f"aa_{k}.trr") for k in (1, 2)])
    assert (states == states[0]).all()
    part = coarse.run(tmp_path / "part.trr", b=coarse.made.beads[1].time, allow_flips=None)
    assert (part.code, part.err) == (0, "")
    assert (coarse.states(tmp_path / "part.trr") == states[0]).all()


def test_an_atactic_chain_is_drawn_and_kept(coarse: Coarse, tmp_path: Path) -> None:
    """By the seed; the file that is written says the same through -r."""
    result = coarse.run(tmp_path / "aa.trr", tacticity="atactic")
    assert (result.code, result.err) == (0, "")
    assert "as the tacticity says" in result.out
    states = coarse.states(tmp_path / "aa.trr")
    assert (states == states[0]).all()
    kept = tmp_path / "aa_chirality.gro"
    assert (coarse.states(kept) == states[0]).all()
    again = coarse.run(tmp_path / "again.trr", r=kept)
    assert "stereocentres  18 of 18 right" in again.out
    assert (coarse.states(tmp_path / "again.trr") == states[0]).all()
    assert not (tmp_path / "again_chirality.gro").exists()
    mine, end = tmp_path / "mine.gro", coarse.made.beads[0].time
    other = coarse.run(tmp_path / "other.trr", tacticity="atactic", seed=2, conformer=mine, e=end)
    assert other.code == 0
    assert (coarse.states(tmp_path / "other.trr")[0] != states[0]).any()
    assert (coarse.states(mine) == coarse.states(tmp_path / "other.trr")[0]).all()
    filled = coarse.run(tmp_path / "filled.trr", tacticity=kept, e=end)
    assert filled.code == 0
    assert (coarse.states(tmp_path / "filled.trr") == states[0]).mean() > 0.9


@pytest.mark.parametrize(("tacticity", "wanted"), [("isotactic", 0), ("syndiotactic", 1)])
def test_chains_get_the_dyads_that_are_asked_for(
    coarse: Coarse, tacticity: str, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of centres that the beads do not decide; here that is all of them."""
    monkeypatch.setattr(chirality, "DECIDED", 1e6)
    result = coarse.run(tmp_path / "aa.trr", tacticity=tacticity)
    assert "stereocentres  18 of 18 as the tacticity says" in result.out
    assert (result.code, result.err) == (0, "")
    assert (coarse.racemo(tmp_path / "aa.trr") == wanted).all()


def test_tacticities_that_say_nothing_are_refused(coarse: Coarse, tmp_path: Path) -> None:
    result = coarse.run(tmp_path / "aa.trr", tacticity="ataktisch")
    assert result.code != 0
    assert "is no file and none of atactic, isotactic, syndiotactic" in result.err
    result = coarse.run(tmp_path / "aa.trr", conformer=tmp_path / "aa.pdb")
    assert (result.code, "written as .gro only" in result.err) == (1, True)
    result = coarse.run(tmp_path / "aa.gro", conformer=tmp_path / "aa.gro")
    assert (result.code, "the same file for the conformer" in result.err) == (1, True)
    folder = share_path("examples", "octane")
    given: Options = {"-s": folder / "cg.tpr", "-f": folder / "cg.xtc", "-t": 350}
    result = command("backmap", {**given, "-o": tmp_path / "oct.xtc", "--tacticity": "isotactic"})
    assert (result.code, "none of the molecules (OCT) has neighbouring" in result.err) == (1, True)


def test_check_names_what_nothing_defines(coarse: Coarse) -> None:
    folder = coarse.folder
    given: Options = {"-s": folder / "one.gro", "-cp": folder / "one.top", "-p": folder / "topol.top"}
    given |= {"-m": folder / "one.xml", "-t": 568}
    result = command("check", given)
    assert re.search(
        r"stereocentres: nothing defines 9 of SPS \(\w+ of residue \d+, .*, \.\.\.\)", result.out
    )
    assert "decided by 3 kT: undecided, exit code 2" in result.out
    result = command("check", {**given, "--tacticity": "atactic"})
    assert "decided by 3 kT: atactic" in result.out


# --- frames that are asked ---------------------------------------------------------------------------


def test_frames_of_the_beginning_whatever_times_are_taken(coarse: Coarse) -> None:
    folder = coarse.folder
    inputs = Inputs(
        folder / "one.gro",
        folder / "one.trr",
        folder / "one.top",
        folder / "topol.top",
        (folder / "one.xml",),
        begin=coarse.made.beads[1].time,
    )
    _, beads = read_inputs(inputs)
    assert [frame.time for frame in beads.early(5)] == [frame.time for frame in coarse.made.beads]
    assert [frame.time for frame in beads] == [coarse.made.beads[1].time]
    assert len(replace(beads, inputs=replace(inputs, trajectory=None, begin=None)).early(5)) == 1
    assert EARLY >= 5


def test_sources_have_their_words() -> None:
    assert [source.name for source in Source] == ["GIVEN", "INFERRED", "ASSIGNED", "UNDECIDED"]
    assert DECIDED == 3.0

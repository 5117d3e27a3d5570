"""A memory in a file: what is kept, when it is believed, tried, or not used, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cut import Cut, cut, let_full_frames_end_lower

import dbm_gmx.sampling.memory as memory_module
from dbm_gmx.backmapping.backmap import Backmapped, backmap
from dbm_gmx.backmapping.ready import Ready, make_ready
from dbm_gmx.backmapping.rebuilder import make_rebuilder
from dbm_gmx.chemistry.stereo import chirality_of, stereo_elements
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import Terms
from dbm_gmx.cli import build_parser, main
from dbm_gmx.commands.arguments import record_of
from dbm_gmx.errors import ExitCode, InputError
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import TOLERANCE, Conditions, Method, MoleculeFiles, Settings
from dbm_gmx.sampling.energy import total_energy
from dbm_gmx.sampling.memory import Memory, Wanted, recall, remember
from dbm_gmx.sampling.memory_file import (
    UNIT,
    KeptMemory,
    effort_found,
    memory_that_ships,
    open_memory,
    read_memory,
    shipped_memories,
    unknown_molecules,
    what_differs,
    write_memory,
)
from dbm_gmx.sampling.origin import Origin, differences, origin_of
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.recollection import FILLED, STARTED
from dbm_gmx.sampling.sampler import Effort, Sampler, configure, make_sampler

pytestmark = pytest.mark.usefixtures("less_search")

WARM = Conditions(350.0, constraints="none", rvdw=0.9, rcoulomb=0.9, spread=0.003)
FRAMES, COPIES = 8, 8
# the energy of so few atoms is uncertain, and they remember little: more is allowed than usual
SETTINGS = Settings(annealing=0, check=False, tolerance=0.6)


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Frames of a few molecules of octane."""
    folder = tmp_path_factory.mktemp("liquid")
    return cut(share_path("examples", "octane"), folder / "octane", "OCT", COPIES, frames=FRAMES)


@pytest.fixture(scope="module")
def polymer(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Four decamers of polystyrene."""
    folder = tmp_path_factory.mktemp("polymer")
    return cut(share_path("reference", "sps"), folder / "sps", "SPS", 4)


@pytest.fixture(scope="module")
def run(liquid: Cut, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Backmapped]:
    """A run that keeps what it remembers."""
    folder = tmp_path_factory.mktemp("run")
    method = Method(replace(SETTINGS, memory_file=folder / "octane.npz"), WARM)
    return folder / "octane.npz", backmap(liquid.inputs, folder / "aa.trr", method)


@pytest.fixture
def kept(run: tuple[Path, Backmapped]) -> KeptMemory:
    return read_memory(run[0])


def remembered(made: Cut, *frames: int, as_of: int | None = None) -> Memory:
    """Of true atoms; as of another frame."""
    found: Memory = {}
    for k in frames:
        beads = made.beads[k] if as_of is None else replace(made.beads[k], index=as_of)
        found = remember(made.system, made.atoms[k].positions, beads, found, Stream((1, k)))
    return found


def ready_for(
    made: Cut, path: Path, settings: Settings = SETTINGS, conditions: Conditions = WARM, frames: int = FRAMES
) -> Ready:
    method = Method(replace(settings, memory_file=path), conditions)
    mapper = make_rebuilder(made.system, method, frames=frames, source=Path("cg.trr"))
    return make_ready(mapper, lambda n: made.beads[:n], frames=frames)


# --- itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["liquid", "polymer"])
def test_beads_do_not_recall_the_old_sample_of_themselves(what: str, request: pytest.FixtureRequest) -> None:
    """A run with the same trajectory, also with other digits: else its samples would be the old ones."""
    made: Cut = request.getfixturevalue(what)
    match, frames = made.system.matches[0], range(len(made.beads))
    known = remembered(made, *frames, as_of=-1)
    beads = np.round(made.beads[0].positions.astype(np.float64), 3)
    atoms = match.molecules(made.atoms[0].positions)
    states = chirality_of(atoms, stereo_elements(match.moltype))

    def asked() -> tuple[float, float]:
        one = Wanted(match, match.beads(beads), states, 0)
        found, misfit = recall(known, one, Stream((1,)), draws=4)
        apart = np.sqrt(((found - atoms) ** 2).sum(axis=3).mean(axis=2))
        return float(np.median(misfit)), float(apart.min())

    misfit, apart = asked()
    assert misfit > 2e-3
    assert apart > 0.01
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_module, "SAME", 0.0)
        misfit, apart = asked()
        assert misfit < 1e-3
        assert apart < 0.01


def test_nor_the_mirror_image_of_it(liquid: Cut) -> None:
    """Beads in a plane are their own mirror image."""
    match = liquid.system.matches[0]
    beads, atoms = (f[0].positions.astype(np.float64).copy() for f in (liquid.beads, liquid.atoms))
    beads[:, 2], molecules = 0.0, match.molecules(atoms)
    flat = replace(liquid.beads[0], positions=beads.astype(np.float32), index=-1)
    known = remember(liquid.system, atoms.astype(np.float32), flat, {}, Stream((1,)))
    none = np.zeros((COPIES, len(stereo_elements(match.moltype))), np.int8)
    found, _ = recall(known, Wanted(match, match.beads(beads), none, 0), Stream((2,)), draws=8)
    for sign in (1.0, -1.0):
        apart = np.sqrt(((found - molecules * [1.0, 1.0, sign]) ** 2).sum(axis=3).mean(axis=2))
        assert apart.min() > 0.01


# --- the file --------------------------------------------------------------------------------------


def test_what_is_written_is_read(run: tuple[Path, Backmapped], liquid: Cut, tmp_path: Path) -> None:
    path, done = run
    kept = read_memory(path)
    true = remembered(liquid, *range(FRAMES))
    assert set(kept.memory) == set(true)
    assert all(len(fragments) == FILLED * COPIES for fragments in kept.memory.values())
    assert {int(f) for fragments in kept.memory.values() for f in fragments.frame} == {-1}
    assert kept.origin.source == "cg.trr"
    assert str(path.parent) not in str(np.load(path)["about"])
    assert (kept.origin.frames, kept.origin.temperature) == (FILLED, 350.0)
    assert kept.origin.molecules["OCT"].widths == (0.003,) * 4
    assert kept.findings is not None
    assert done.report.remembered is not None
    assert kept.findings.excess == done.report.remembered.excess
    again = replace(kept, path=tmp_path / "again.npz", memory=true)
    write_memory(again)
    read = read_memory(again.path)
    for kind, fragments in true.items():
        for name in ("beads", "atoms"):
            apart = np.abs(getattr(read.memory[kind], name) - getattr(fragments, name)).max()
            assert apart <= 0.5 * UNIT + 1e-6
        np.testing.assert_array_equal(read.memory[kind].states, fragments.states)
    assert (read.origin, read.findings) == (kept.origin, kept.findings)
    first = again.path.read_bytes()
    again.path.unlink()
    write_memory(again)
    assert again.path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["again.npz"]


Change = Callable[[dict[str, Any], dict[str, Any]], object]


def rewritten(path: Path, change: Change) -> None:
    """Change arrays, and what the file says of itself."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays.pop("about")))
    change(arrays, about)
    with path.open("wb") as out:
        np.savez(out, about=np.array(json.dumps(about)), **arrays)


BROKEN: dict[str, tuple[Change, str]] = {
    "newer": (lambda a, b: b.update(format=99), "format 99 of a newer version; this version reads"),
    "other": (lambda a, b: b.update(name="model"), "'model' of format 1"),
    "no arrays": (lambda a, b: a.pop("atoms_1"), "no array atoms_1"),
    "shape": (lambda a, b: a.update(beads_0=a["beads_0"][:, :, :2]), "array beads_0 of shape"),
    "fewer": (lambda a, b: a.update(states_0=a["states_0"][:-1]), "array states_0 of shape"),
    "flat": (lambda a, b: a.update(atoms_0=a["atoms_0"].reshape(-1)), "array atoms_0 of shape"),
    "scalar": (lambda a, b: a.update(beads_0=np.array(3)), "array beads_0 of shape ()"),
    "nan": (
        lambda a, b: a.update(atoms_0=a["atoms_0"] * np.full(1, np.nan)),
        "atoms_0 of type float64",
    ),
    "states": (
        lambda a, b: a.update(states_0=np.full((len(a["states_0"]), 1), 7, np.int8)),
        "states other than",
    ),
    "origin": (lambda a, b: a.update(beads_0=a["beads_0"] + 1), "does not begin with the bead"),
    "none": (lambda a, b: b.update(kinds=[]), "kinds of beads that are none or the same"),
    "no temperature": (lambda a, b: b["origin"].pop("temperature"), "no 'temperature'"),
    "cold": (lambda a, b: b["origin"].update(temperature=-1), "-1 where a number from"),
    "not finite": (lambda a, b: b["findings"].update(excess=float("nan")), "nan where a number"),
    "sweeps": (lambda a, b: b["findings"].update(sweeps="many"), "'many' where a whole number from 1"),
    "findings": (lambda a, b: b.update(findings=3), "a damaged memory"),
    "molecules": (lambda a, b: b["origin"].update(molecules=[1]), "a damaged memory"),
    "fragments": (
        lambda a, b: a.update({f"{x}_0": a[f"{x}_0"].repeat(1000, 0) for x in ("beads", "atoms", "states")}),
        f"{1000 * FILLED * COPIES} fragments of one kind; it takes 1 to 20000",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_file_is_refused(what: str, run: tuple[Path, Backmapped], tmp_path: Path) -> None:
    path = Path(shutil.copy(run[0], tmp_path / "memory.npz"))
    change, said = BROKEN[what]
    rewritten(path, change)
    with pytest.raises(InputError) as error:
        read_memory(path)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{path}: ")


def test_what_is_no_memory_is_refused(run: tuple[Path, Backmapped], tmp_path: Path) -> None:
    path, whole = tmp_path / "memory.npz", run[0].read_bytes()

    def refused() -> str:
        with pytest.raises(InputError, match=r"memory\.npz: ") as error:
            read_memory(path)
        return error.value.message

    for text in (b"", b"no archive", whole[:2000], whole[:-30]):
        path.write_bytes(text)
        assert "plain arrays" in refused()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    assert "plain arrays" in refused()
    with path.open("wb") as file:
        np.savez(file, positions=np.zeros(3))
    assert "the file has arrays positions" in refused()
    with path.open("wb") as file:
        np.savez(file, about=np.array([{"name": 1}], object))
    assert "plain arrays" in refused()
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "plain arrays" in refused()
    path.unlink()
    path.mkdir()
    assert "is a folder" in refused()


def test_fragments_of_another_size_than_their_kind_are_refused(
    run: tuple[Path, Backmapped], liquid: Cut, tmp_path: Path
) -> None:
    path = Path(shutil.copy(run[0], tmp_path / "memory.npz"))
    rewritten(path, lambda arrays, _: arrays.update(atoms_0=arrays["atoms_0"][:, 1:]))
    with pytest.raises(InputError, match=r"fragments of .* beads, atoms and stereo elements; their kind has"):
        open_memory(path, liquid.system)


@pytest.mark.parametrize(
    ("name", "said"),
    [("memory.npy", "written as .npz only"), ("nowhere/memory.npz", "there is no such folder")],
)
def test_a_file_that_cannot_be_written_is_refused_at_once(
    name: str, said: str, liquid: Cut, tmp_path: Path
) -> None:
    method = Method(replace(SETTINGS, memory_file=tmp_path / name), WARM)
    with pytest.raises(InputError, match=said):
        backmap(liquid.inputs, tmp_path / "aa.trr", method)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"memory": False}, "--no-memory"),
        ({"sweeps": 4}, "without --sweeps"),
        ({"refine": "none"}, "--memory"),
    ],
)
def test_a_file_that_would_have_no_effect_is_refused(
    more: dict[str, Any], said: str, liquid: Cut, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, memory_file=tmp_path / "memory.npz", **more)
    with pytest.raises(InputError, match=said):
        make_rebuilder(liquid.system, Method(settings, WARM))


# --- the same case ---------------------------------------------------------------------------------


def energies_apart(made: Cut, sampler: Sampler, atoms: list[np.ndarray], others: list[np.ndarray]) -> float:
    kt = sampler.hamiltonian.kt * made.system.n_atoms
    first, second = (
        [
            total_energy(configure(sampler, x.astype(np.float64), b))
            for x, b in zip(xs, made.beads, strict=False)
        ]
        for xs in (atoms, others)
    )
    return float(np.mean(np.subtract(first, second))) / kt


@pytest.mark.parametrize("frames", [2, FRAMES])
def test_in_the_same_case_all_frames_are_recalled(
    frames: int, run: tuple[Path, Backmapped], liquid: Cut, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first one on, also in a run so short that a memory of its own would not pay."""
    before = run[0].read_bytes()
    ready = ready_for(liquid, run[0], frames=frames)
    assert ready.remembered is not None
    assert ready.memory.notes == ()
    assert not ready.mapper.done
    assert "of octane.npz (4 frames at 350 K) (misfit" in ready.remembered.line()
    made = list(ready(liquid.beads[:frames]))
    assert [one.refinement.recalled for one in made] == [1] * frames
    full = list(read_frames(run[0].with_name("aa.trr"), n_atoms=liquid.system.n_atoms))
    sampler = make_sampler(liquid.system, WARM, SETTINGS, {})
    atoms = [one.atoms.positions for one in made]
    assert energies_apart(liquid, sampler, atoms, [f.positions for f in full[:frames]]) < 0.2
    # and none of those in the file is as it was; the others were recalled from the same before
    known = run[1].report.remembered
    assert known is not None
    off = [
        np.sqrt(((x - f.positions) ** 2).sum(axis=1).mean())
        for x, f in zip(atoms, full, strict=False)
        if f.index in known.done
    ]
    assert min(off) > 0.01
    assert run[0].read_bytes() == before
    assert not caplog.records


def test_the_result_depends_on_seed_input_and_file_only(run: tuple[Path, Backmapped], liquid: Cut) -> None:
    ready = ready_for(liquid, run[0], frames=3)
    one, other = (list(replace(ready.mapper, workers=n)(liquid.beads[:3])) for n in (1, 2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    (alone,) = ready_for(liquid, run[0], frames=1)(liquid.beads[2:3])
    np.testing.assert_array_equal(alone.positions, one[2].positions)


# --- a start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (replace(WARM, temperature=320.0), "350 K, not 320 K"),
        (replace(WARM, rvdw=0.8), "another force field of OCT"),
    ],
)
def test_in_another_case_it_is_tried_first(
    conditions: Conditions, said: str, run: tuple[Path, Backmapped], liquid: Cut
) -> None:
    ready = ready_for(liquid, run[0], conditions=conditions)
    assert ready.remembered is not None
    assert len(ready.mapper.done) == STARTED
    assert "of octane.npz (4 frames at 350 K) and 2 frames" in ready.remembered.line()
    assert ready.memory.notes == (
        f"octane.npz (4 frames at 350 K) is another case: {said}; it is tried on the first frames",
    )
    made = list(ready(liquid.beads))
    assert [one.refinement.recalled for one in made] == [0] * STARTED + [1] * (FRAMES - STARTED)
    known = ready.remembered.memory
    assert all(len(fragments) == (FILLED + STARTED) * COPIES for fragments in known.values())


def test_another_case_is_not_used_in_few_frames(run: tuple[Path, Backmapped], liquid: Cut) -> None:
    ready = ready_for(liquid, run[0], conditions=replace(WARM, temperature=320.0), frames=3)
    assert ready.remembered is None
    assert ready.memory.notes[0].endswith("350 K, not 320 K; it is not used in so few frames")
    assert ready.mapper.sampler is not None
    assert ready.mapper.sampler.recollection is None


def test_a_start_that_ends_higher_is_not_used(
    run: tuple[Path, Backmapped], liquid: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_full_frames_end_lower(monkeypatch, 0.8)
    ready = ready_for(liquid, run[0], conditions=replace(WARM, temperature=320.0))
    assert ready.remembered is not None
    assert ready.remembered.how is None
    assert ready.remembered.line().startswith("not used: torsions and pairs of recalled frames end +0.")
    assert ready.mapper.sampler is not None
    assert ready.mapper.sampler.recollection is None


# --- of no use -------------------------------------------------------------------------------------


def test_what_does_not_know_the_molecules_is_not_used(
    polymer: Cut, liquid: Cut, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "sps.npz"
    origin = origin_of(make_hamiltonian(polymer.system, WARM), frames=1, source="aa.xtc")
    write_memory(KeptMemory(path, remembered(polymer, 0), origin))
    before = path.read_bytes()
    with_file = ready_for(liquid, path, frames=2)
    note = "sps.npz is not used: it does not know all beads of OCT"
    assert with_file.memory.notes == (note,)
    assert note in caplog.text
    assert with_file.remembered is None
    assert with_file.mapper.sampler is not None
    assert with_file.mapper.sampler.recollection is None
    assert path.read_bytes() == before


# --- a short run -----------------------------------------------------------------------------------


def test_a_short_run_keeps_what_there_is_and_the_next_one_tries_it(liquid: Cut, tmp_path: Path) -> None:
    path = tmp_path / "memory.npz"
    inputs = replace(liquid.inputs, end=liquid.beads[1].time)
    method = Method(replace(SETTINGS, memory_file=path), WARM)
    done = backmap(inputs, tmp_path / "aa.trr", method)
    assert done.report.frames == 2
    kept = read_memory(path)
    assert kept.findings is None
    assert kept.origin.frames == 2
    atoms = next(iter(read_frames(tmp_path / "aa.trr", n_atoms=liquid.system.n_atoms)))
    beads, match = liquid.beads[0], liquid.system.matches[0]
    mine = remember(liquid.system, atoms.positions, beads, {}, Stream((1,)))
    for kind, fragments in mine.items():
        apart = np.abs(kept.memory[kind].atoms[: len(fragments)] - fragments.atoms).max()
        assert apart < 2 * UNIT
    assert match.count == COPIES
    ready = ready_for(liquid, path)
    assert len(ready.mapper.done) == STARTED
    assert "not tried yet" in ready.memory.notes[0]


def test_nothing_is_kept_of_a_run_that_failed(liquid: Cut, tmp_path: Path) -> None:
    ready = ready_for(liquid, tmp_path / "memory.npz", frames=3)
    frames = ready(liquid.beads[:3])
    next(iter(frames))
    frames.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


# --- what counts as the same case ------------------------------------------------------------------


def case(system: System, conditions: Conditions = WARM) -> Origin:
    return origin_of(make_hamiltonian(system, conditions), frames=1, source="")


def changed(system: System, *, scale: float = 1.0, charge: float = 0.0, reverse: bool = False) -> System:
    """With other angles, another charge, or terms in another order."""
    moltype = system.matches[0].moltype
    terms = []
    for group in moltype.terms:
        factor = scale if group.directive == "angles" else 1.0
        rows = slice(None, None, -1) if reverse else slice(None)
        terms.append(
            Terms(group.directive, group.function, group.atoms[rows], group.parameters[rows] * factor)
        )
    graph = moltype.graph.copy()
    graph.nodes[0]["charge"] += charge
    other = replace(moltype, terms=tuple(terms[::-1] if reverse else terms), graph=graph)
    topology = replace(system.topology, molecule_types={other.name: other})
    return replace(system, topology=topology, matches=(replace(system.matches[0], moltype=other),))


def test_what_differs_is_said(liquid: Cut) -> None:
    system = liquid.system
    base = case(system)
    assert differences(base, case(system)) == []
    assert differences(base, case(changed(system, reverse=True))) == []
    assert differences(base, case(changed(system, scale=1 + 1e-13))) == []
    force = ["another force field of OCT"]
    assert differences(base, case(changed(system, scale=1.001))) == force
    assert differences(base, case(changed(system, charge=0.01))) == force
    for conditions in (
        replace(WARM, rvdw=1.0),
        replace(WARM, rcoulomb=1.0),
        replace(WARM, rvdw_switch=0.8),
        replace(WARM, epsilon_rf=78.0),
        replace(WARM, constraints="h-bonds"),
    ):
        assert differences(base, case(system, conditions)) == force
    assert differences(base, case(system, replace(WARM, temperature=351.0))) == ["350 K, not 351 K"]
    fixed = [replace(WARM, constraints="all-bonds", temperature=t) for t in (350.0, 351.0)]
    assert differences(*(case(system, one) for one in fixed)) == ["350 K, not 351 K"]
    assert differences(base, case(system, replace(WARM, spread=0.01))) == ["beads held with other widths"]
    assert differences(base, case(system, replace(WARM, spread=0.0032))) == []
    mapping = system.matches[0].mapping
    weights = mapping.weights.copy()
    weights.data = weights.data[::-1].copy()
    match = replace(system.matches[0], mapping=replace(mapping, weights=weights))
    assert differences(base, case(replace(system, matches=(match,)))) == ["another mapping of OCT"]


def test_the_size_of_the_box_does_not_matter_but_what_is_in_it(liquid: Cut, polymer: Cut) -> None:
    base = case(liquid.system)
    larger = replace(base, molecules={"OCT": base.molecules["OCT"]._replace(copies=5000)})
    assert differences(base, larger) == []
    other = case(polymer.system).molecules["SPS"]
    mixed = replace(base, molecules={**base.molecules, "SPS": other})
    assert differences(base, mixed) == [f"of {COPIES} OCT"]
    thinner = replace(mixed, molecules={**mixed.molecules, "SPS": other._replace(copies=40)})
    assert differences(mixed, thinner) == [f"of {COPIES} OCT, 4 SPS"]


def test_findings_hold_for_as_thorough_a_sampler_only(kept: KeptMemory, liquid: Cut) -> None:
    sampler = make_sampler(liquid.system, WARM, SETTINGS, {})
    assert unknown_molecules(kept.memory, liquid.system) == []
    assert what_differs(kept, sampler) == []
    assert what_differs(replace(kept, findings=None), sampler) == ["not tried yet"]
    assert effort_found(kept, sampler) == (Effort(), "octane.npz")
    other = make_sampler(liquid.system, replace(WARM, spread=0.006), SETTINGS, {})
    assert effort_found(kept, other) is None  # beads are held otherwise
    for more in (Effort(offers=1), Effort(annealing=2000), Effort(windows=32)):
        said = what_differs(kept, replace(sampler, effort=more))
        assert said == ["compared with 0 offers, 0 steps of annealing, 0 windows"]
    assert kept.findings is not None
    fewer = replace(kept, findings=kept.findings._replace(steps=kept.findings.steps[1:]))
    assert what_differs(fewer, sampler) == ["other moves"]
    higher = replace(kept, findings=kept.findings._replace(excess=0.301))
    assert what_differs(higher, sampler) == ["0.301 kT per atom above frames sampled in full"]


def test_states_that_no_fragment_has_are_said(polymer: Cut) -> None:
    """Mirror images count."""
    match = polymer.system.matches[0]
    true = chirality_of(match.molecules(polymer.atoms[0].positions), stereo_elements(match.moltype))
    origin = origin_of(make_hamiltonian(polymer.system, WARM), frames=1, source="")
    kept = KeptMemory(Path("sps.npz"), remembered(polymer, 0), origin)
    for states in (true, -true, np.zeros_like(true)):
        sampler = make_sampler(polymer.system, WARM, SETTINGS, {"SPS": states})
        assert what_differs(kept, sampler) == ["not tried yet"]
    centre = next(kind for kind, one in kept.memory.items() if np.any(one.states))
    flat = replace(kept.memory[centre], states=np.zeros_like(kept.memory[centre].states))
    lost, sampler = (
        replace(kept, memory={**kept.memory, centre: flat}),
        make_sampler(polymer.system, WARM, SETTINGS, {"SPS": true}),
    )
    assert what_differs(lost, sampler) == ["not all states of stereo elements of SPS", "not tried yet"]


# --- the command -----------------------------------------------------------------------------------


def test_the_command_takes_a_file_or_no_memory(
    liquid: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backmap", "-s", "cg.tpr", "-o", "aa.xtc"]
    options = build_parser().parse_args([*words, "--memory", "m.npz"])
    settings = record_of(options, Settings)
    assert (settings.memory, settings.memory_file) == (True, Path("m.npz"))
    settings = record_of(build_parser().parse_args([*words, "--no-memory"]), Settings)
    assert (settings.memory, settings.memory_file) == (False, None)
    files = {"-s": "cg.gro", "-cp": "cg.top", "-p": "topol.top", "-m": "mapping.xml"}
    given = [word for key, name in files.items() for word in (key, str(liquid.folder / name))]
    more = ["-o", str(tmp_path / "aa.trr"), "--no-memory", "--memory", str(tmp_path / "m.npz")]
    assert main(["backmap", *given, *more]) == ExitCode.FAILED
    assert "--no-memory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# --- what ships ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(shipped_memories()))
def test_memories_that_ship_are_of_their_systems(name: str) -> None:
    """Taken by name, and believed by a run with the run parameters that are beside the beads."""
    example = name == "octane-example"
    folder = share_path("examples", "octane") if example else share_path("reference", name)
    files = MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"])
    system, _ = read_system(folder / "cg.tpr", files)
    kept = open_memory(Path(name), system)
    assert kept is not None
    assert unknown_molecules(kept.memory, system) == []
    conditions, _ = read_mdp(folder / ("nvt.mdp" if example else "run.mdp"))
    now = origin_of(make_hamiltonian(system, conditions), frames=1, source="")
    assert kept.findings is not None
    assert kept.findings.excess < 0.5 * TOLERANCE
    assert differences(kept.origin, now) == []
    assert kept.path.stat().st_size < 300_000
    sampler = make_sampler(system, replace(conditions, spread=0.003), Settings(), {})
    found = memory_that_ships(sampler)  # without being asked for
    assert found is not None
    assert found.path == kept.path
    warmer = make_sampler(system, replace(conditions, temperature=600.0), Settings(), {})
    assert memory_that_ships(warmer) is None

"""The interface in Python: Universes, files, mappings made in Python, tables, frames on the fly."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import MDAnalysis as mda
import numpy as np
import pytest
from mixed import fake_sampler
from oracle import example, untrained

import dbm_gmx
from dbm_gmx import Backmapper, InputError, backmap, evaluate, map_to_beads
from dbm_gmx.backmapping import interface
from dbm_gmx.backmapping.functions import in_turn
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.cli import main
from dbm_gmx.evaluation.report import scores_text
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.system import read_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.network.model import save_model

pytestmark = pytest.mark.usefixtures("less_search")

COUNT, FRAMES = 3, 4
"""Molecules and frames of the small system."""

ATOMS = {
    "A1": "C1 H11 H12 H13 C2 H21 H22",
    "B1": "C3 H31 H32 C4 H41 H42",
    "B2": "C5 H51 H52 C6 H61 H62",
    "A2": "C7 H71 H72 C8 H81 H82 H83",
}
"""Beads of octane that share no atoms."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few molecules of the example; MDAnalysis writes files beside a trajectory."""
    folder = tmp_path_factory.mktemp("octane")
    top = (example() / "topol.top").read_text()
    (folder / "topol.top").write_text(top.replace("OCT  80", f"OCT  {COUNT}"))
    cg_top = (example() / "cg.top").read_text()
    (folder / "cg.top").write_text(cg_top.replace("OCT  80", f"OCT  {COUNT}"))
    for name in ("mapping.xml", "owners.txt", "cg.tpr", "cg.xtc", "aa.xtc"):
        (folder / name).write_bytes((example() / name).read_bytes())
    beads = mda.Universe(str(folder / "cg.tpr"), str(folder / "cg.xtc"))
    beads.atoms.write(str(folder / "few.xtc"), frames=beads.trajectory[:FRAMES])
    atoms = mda.Universe.empty(80 * 26, trajectory=True)
    atoms.load_new(str(folder / "aa.xtc"))
    atoms.atoms[: 26 * COUNT].write(str(folder / "few-aa.trr"), frames=atoms.trajectory[:FRAMES])
    return folder


@pytest.fixture
def beads(folder: Path) -> mda.AtomGroup:
    return mda.Universe(str(folder / "cg.tpr"), str(folder / "few.xtc")).atoms[: 4 * COUNT]


@pytest.fixture
def atoms(folder: Path) -> mda.Universe:
    universe = mda.Universe.empty(26 * COUNT, trajectory=True)
    universe.load_new(str(folder / "few-aa.trr"))
    return universe


def mapper(beads: mda.AtomGroup, folder: Path, **more: object) -> Backmapper:
    """A sweep of the exact sampler: every part of it runs, in little time."""
    chosen = {"temperature": 350.0, "sweeps": 1, "annealing": 0, "windows": 0, "check": False} | more
    return Backmapper(beads, folder / "topol.top", folder / "mapping.xml", **chosen)  # type: ignore[arg-type]


# --- import ------------------------------------------------------------------------------------------


def test_the_package_is_quick_to_import_and_has_its_interface_at_the_top() -> None:
    code = (
        "import sys, dbm_gmx; heavy = {'numpy', 'MDAnalysis', 'numba', 'torch', 'scipy', 'parmed'}; "
        "print(sorted(heavy & set(sys.modules)), [n for n in dbm_gmx.__all__ if n not in dir(dbm_gmx)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
    assert {"Backmapper", "backmap", "map_to_beads", "evaluate"} <= set(dbm_gmx.__all__)
    assert callable(dbm_gmx.evaluate)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dbm_gmx.nothing  # noqa: B018


# --- Backmapper --------------------------------------------------------------------------------------


def test_a_run_leaves_atoms_and_what_is_known_of_each_frame(beads: mda.AtomGroup, folder: Path) -> None:
    made = mapper(beads, folder).run(frames=[0, 3, 1], n_workers=1)
    assert isinstance(made, Backmapper)
    found = made.results
    times = [beads.universe.trajectory[k].time for k in (0, 3, 1)]
    assert [ts.time for ts in found.universe.trajectory] == times  # unevenly spaced
    assert [ts.time for ts in found.universe.copy().trajectory] == times
    assert [one.frame for one in found.quality] == [0, 3, 1]
    assert [one.time for one in found.quality] == times
    for _ in range(2):  # again and again
        assert [frame.index for frame in found.frames] == [0, 3, 1]
    assert [frame.index for frame in found.frames[1:]] == [3, 1]
    one = found.quality[0]
    assert one.energies["Potential"] == pytest.approx(sum(list(one.energies.values())[:-1]))
    assert {"Angle", "Ryckaert-Bell.", "LJ (SR)", "LJ-14", "Coulomb-14"} <= set(one.energies)
    assert 0 < one.deviation <= one.worst_deviation < 0.1
    assert one.sweeps == 1
    assert one.rules["contacts"] >= 0
    assert "3 frames" in repr(found.quality)
    assert repr(made.system) == f"<System of {COUNT} OCT: {26 * COUNT} atoms, {4 * COUNT} beads>"
    assert found.report.frames == 3
    assert repr(found.report) == "<Report of 3 frames, rules: all hold>"
    universe = found.universe
    assert universe.atoms.n_atoms == 26 * COUNT
    assert universe.atoms.fragments[0].n_atoms == 26
    assert universe.select_atoms("moltype OCT and molnum 1").n_atoms == 26
    assert universe.select_atoms("resid 2").n_atoms == 26  # as in files of GROMACS
    assert universe.atoms[0].element == "C"
    with pytest.raises(InputError, match="no frame 9 in the results: they have 3"):
        made.to_parmed(9)


def test_energies_are_those_of_the_whole_frame(beads: mda.AtomGroup, folder: Path) -> None:
    import torch

    from dbm_gmx.forcefield.energy import bonded_energies

    found = mapper(beads.residues, folder).run(frames=0).results  # a group of residues will do, and a number
    positions = torch.from_numpy(next(iter(found.frames)).positions.astype(np.float64))
    wanted = bonded_energies(read_topology(folder / "topol.top"), positions)
    for name in ("Angle", "Ryckaert-Bell.", "LJ-14", "Coulomb-14"):
        assert found.quality[0].energies[name] == pytest.approx(float(wanted[name]), rel=1e-4)


def test_a_table_has_a_row_for_each_frame(
    beads: mda.AtomGroup, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    fake_sampler(monkeypatch)
    found = mapper(beads, folder).run(stop=2).results
    table = found.quality.to_dataframe()
    assert table["frame"].tolist() == [0, 1]
    assert table["energy Potential"][1] == found.quality[1].energies["Potential"]
    assert table["stereocentres wrong"].sum() == 0


def test_without_pandas_the_error_says_so(
    beads: mda.AtomGroup, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    found = mapper(beads, folder).run(stop=1).results
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install 'dbm-gmx\[table\]'"):
        found.quality.to_dataframe()


def test_workers_do_not_change_a_byte(beads: mda.AtomGroup, folder: Path) -> None:
    one, two = (mapper(beads, folder).run(stop=3, n_workers=n).results for n in (1, 2))
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(one.frames, two.frames, strict=True))
    assert [q.energies for q in one.quality] == [q.energies for q in two.quality]


def test_frames_on_the_fly_are_those_of_a_run(beads: mda.AtomGroup, folder: Path) -> None:
    made = mapper(beads, folder)
    wanted = made.run().results.universe
    lazy = made.on_the_fly()
    assert lazy.trajectory.n_frames == wanted.trajectory.n_frames == beads.universe.trajectory.n_frames
    before = beads.universe.trajectory.frame
    for number in (2, 0):
        lazy.trajectory[number]
        np.testing.assert_array_equal(lazy.atoms.positions, wanted.trajectory[number].positions)
        np.testing.assert_allclose(lazy.dimensions, wanted.trajectory[number].dimensions)
        assert lazy.trajectory.ts.time == wanted.trajectory[number].time
    assert beads.universe.trajectory.frame == before
    assert [ts.frame for ts in lazy.copy().trajectory[:2]] == [0, 1]


def test_a_transformation_fills_another_universe(
    beads: mda.AtomGroup, folder: Path, atoms: mda.Universe
) -> None:
    made = mapper(beads, folder)
    wanted = made.run(frames=[1]).results.universe
    atoms.trajectory.add_transformations(made.transformation())
    np.testing.assert_array_equal(atoms.trajectory[1].positions, wanted.trajectory[0].positions)
    other = mda.Universe.empty(7, trajectory=True)
    with pytest.raises(InputError, match="stand for 78 atoms, and the Universe has 7"):
        made.transformation()(other.trajectory.ts)


def test_frames_can_be_had_one_by_one(beads: mda.AtomGroup, folder: Path) -> None:
    made = mapper(beads, folder)
    stream = made.iterate(stop=2)
    assert isinstance(stream, Iterator)
    first = next(stream)
    assert first.quality.frame == 0
    np.testing.assert_allclose(
        first.atoms.positions * 10, made.run(stop=1).results.universe.atoms.positions, atol=1e-5
    )


@pytest.mark.parametrize("suffix", [".xtc", ".trr"])
def test_atoms_go_to_a_file_where_that_is_wanted(
    suffix: str, beads: mda.AtomGroup, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    path = tmp_path / f"aa{suffix}"
    found = mapper(beads, folder, output=str(path)).run(stop=2).results
    assert found.output == path
    assert [ts.time for ts in found.universe.trajectory] == [
        beads.universe.trajectory[k].time for k in range(2)
    ]
    assert Path(f"{path}.json").is_file()
    mapper(beads, folder, output=path).run(stop=1)
    assert (tmp_path / f"#{path.name}.1#").is_file()


def test_what_is_large_goes_to_a_file_for_as_long_as_it_is_used(
    beads: mda.AtomGroup, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    in_memory = mapper(beads, folder).run(stop=2).results.universe
    monkeypatch.setattr(interface, "LARGE", 1000)
    found = mapper(beads, folder).run(stop=2).results
    place = Path(found.universe.trajectory.filename)
    assert place.is_file()
    for k in range(2):
        np.testing.assert_allclose(
            found.universe.trajectory[k].positions, in_memory.trajectory[k].positions, atol=1e-4
        )
    del found
    import gc

    gc.collect()
    assert not place.exists()


def test_wrong_input_is_refused(beads: mda.AtomGroup, folder: Path) -> None:
    with pytest.raises(InputError, match=r"no choice 'temprature' \(nearest: temperature\); there are"):
        mapper(beads, folder, temprature=300)
    with pytest.raises(InputError, match=r"AtomGroup of MDAnalysis is needed, found 'cg.tpr'"):
        Backmapper("cg.tpr")
    with pytest.raises(InputError, match="no frame 99, only 0 to 3"):
        mapper(beads, folder).run(frames=[99])
    with pytest.raises(InputError, match="not by both"):
        mapper(beads, folder).run(start=1, frames=[1])
    with pytest.raises(InputError, match="step cannot be zero"):
        mapper(beads, folder).run(step=0)
    with pytest.raises(InputError, match="no frame is taken"):
        mapper(beads, folder).run(start=5, stop=5)
    with pytest.raises(InputError, match="2 of the 4 of a molecule OCT: whole molecules"):
        mapper(beads[:-2], folder).run(stop=1)
    with pytest.raises(InputError, match=r"from file to file: dbm_gmx.backmap"):
        Backmapper("cg.tpr")
    for choice, value, said in (
        ("temperature", -3, "temperature: -3 is not above 0"),
        ("temperature", "350", "temperature: '350' is no number"),
        ("spread", 0.0, "spread: 0.0 is not above 0"),
        ("sweeps", 2.5, "sweeps: 2.5 is no whole number"),
        ("refine", "exakt", r"no refine 'exakt' \(nearest: exact\)"),
        ("start_from", "nowhere", "no start_from 'nowhere'; there are growth, network"),
        ("memory", "sps.npz", "memory: 'sps.npz' is neither True nor False"),
        ("output", folder / "none" / "aa.xtc", "there is no folder .*none"),
        ("cutoff", float("nan"), "cutoff: nan is no number"),
        ("orientations", 0, "orientations: 0 is not from 1"),
    ):
        with pytest.raises(InputError, match=said):
            mapper(beads, folder, **{choice: value})
    with pytest.raises(InputError, match="n_workers: 0 is not from 1"):
        mapper(beads, folder).run(stop=1, n_workers=0)
    with pytest.raises(InputError, match="no backend 'daks'; there are threads, dask"):
        mapper(beads, folder).run(stop=1, backend="daks")
    with pytest.raises(InputError, match="a mapping made in Python is"):
        Backmapper(beads, folder / "topol.top", 5).run(stop=1)
    with pytest.raises(InputError, match="no rule 'flips'"):
        mapper(beads, folder, allow=["flips"])
    with pytest.raises(InputError, match=r"\.xtc or \.trr"):
        mapper(beads, folder, output="aa.gro")
    with pytest.raises(InputError, match="OCT: no mapping"):
        Backmapper(beads, folder / "topol.top").run(stop=1)


def test_an_output_that_is_read_is_refused(folder: Path, tmp_path: Path) -> None:
    """It would be moved out of the way while it is read, as an older output is."""
    read = tmp_path / "read.xtc"
    read.write_bytes((folder / "few.xtc").read_bytes())
    (tmp_path / "link.xtc").symlink_to(read)
    several = mda.Universe(str(folder / "cg.tpr"), [str(folder / "cg.xtc"), str(read)])
    top, xml = folder / "topol.top", folder / "mapping.xml"
    for output in (read, tmp_path / "link.xtc"):
        with pytest.raises(InputError, match="read as well"):
            backmap(folder / "cg.tpr", read, topology=top, mapping=xml, output=output)
        with pytest.raises(InputError, match="read as well"):
            Backmapper(several, top, xml, output=output)
        with pytest.raises(InputError, match="read as well"):
            map_to_beads(folder / "few.gro", read, mapping=xml, topology=top, output=output)
    assert read.read_bytes() == (folder / "few.xtc").read_bytes()


def test_a_universe_without_molecules_takes_those_of_a_topology_of_beads(
    beads: mda.AtomGroup, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    bare = mda.Universe.empty(len(beads), trajectory=True)
    bare.atoms.positions, bare.dimensions = beads.positions, beads.dimensions
    for more in ({}, {"cg_topology": folder / "cg.top"}):
        found = mapper(bare, folder, **more).run().results
        assert found.universe.atoms.n_atoms == 26 * COUNT
    with pytest.raises(InputError, match="no molecule types"):
        Backmapper(bare).run()
    few = mda.Universe.empty(8, trajectory=True)
    with pytest.raises(InputError, match="8 beads in the Universe, 12 after the mappings"):
        mapper(few, folder).run()
    point = mda.Universe.empty(4 * COUNT, trajectory=True)  # nor is there a box, which is no fault
    with pytest.raises(InputError, match=r"no atoms can be put there: .* are 0 nm apart"):
        mapper(point, folder).run()


def test_some_molecules_are_left_out(
    beads: mda.AtomGroup, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of molecules in the middle, in any order of its rows."""
    fake_sampler(monkeypatch)
    top = (folder / "topol.top").read_text().replace(f"OCT  {COUNT}", "OCT  2")
    (folder / "two.top").write_text(top)
    group = beads.universe.atoms[4:12][::-1]
    found = Backmapper(group, folder / "two.top", folder / "mapping.xml", temperature=350).run(stop=1).results
    assert "8 beads" in repr(mapper(group, folder))
    whole = mapper(beads, folder).run(stop=1).results
    np.testing.assert_allclose(
        found.universe.atoms.center_of_geometry(),
        whole.universe.select_atoms("molnum 1 2").center_of_geometry(),
        atol=1.0,
    )


def test_a_group_takes_its_molecules_of_the_whole_topology(
    beads: mda.AtomGroup, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topology lists all molecules, in two runs; the group has the first and the last."""
    fake_sampler(monkeypatch)
    total = len(beads.universe.atoms) // 4
    text = (folder / "topol.top").read_text()
    for name, counts in (("all", (1, total - 1)), ("few", (1, total - 2))):
        both = "\n".join(f"OCT  {count}" for count in counts)
        (tmp_path / f"{name}.top").write_text(text.replace(f"OCT  {COUNT}", both))
    group = beads.universe.atoms[:4] + beads.universe.atoms[-4:]
    files = (tmp_path / "all.top", folder / "mapping.xml")
    found = Backmapper(group, *files, temperature=350).run(stop=1).results
    assert found.universe.atoms.n_atoms == 2 * 26
    with pytest.raises(InputError, match="the beads do not fit"):  # other numbers than the Universe has
        Backmapper(group, tmp_path / "few.top", folder / "mapping.xml", temperature=350).run(stop=1)


# --- the network, as before --------------------------------------------------------------------------


def test_universe_in_universe_out_is_the_same_as_files(folder: Path, tmp_path: Path) -> None:
    system, _ = read_system(example() / "cg.tpr")
    model = tmp_path / "tiny.pt"
    save_model(untrained(system), model)
    chosen = {"refine": "gibbs", "sweeps": 0, "guided": False, "model": model}
    cg = mda.Universe(str(folder / "cg.tpr"), str(folder / "cg.xtc"))
    made = Backmapper(cg, **chosen).run(frames=[0, 3]).results  # type: ignore[arg-type]
    assert made.quality[0].energies == {}
    arguments = ["-s", folder / "cg.tpr", "-f", folder / "cg.xtc", "-o", tmp_path / "aa.gro"]
    arguments += ["--refine", "gibbs", "--sweeps", "0", "--unguided", "--model", model, "-q"]
    assert main(["backmap", *map(str, arguments), "-e", str(cg.trajectory[0].time)]) in (0, 2)
    np.testing.assert_allclose(
        made.universe.trajectory[0].positions / 10,
        read_structure(tmp_path / "aa.gro").positions,
        atol=2e-3,
    )


# --- functions on files and Universes ----------------------------------------------------------------


def test_files_are_the_command_and_an_ended_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    cg, top, xml = folder / "cg.tpr", example() / "topol.top", folder / "mapping.xml"
    end = "300"
    common = ["-s", cg, "-f", folder / "cg.xtc", "-p", top, "-m", xml, "-t", "350", "-e", end]
    assert main(["backmap", *map(str, common), "-o", str(tmp_path / "command.xtc"), "-q"]) in (0, 2)
    made = backmap(
        str(cg),
        folder / "cg.xtc",
        topology=top,
        mapping=str(xml),
        temperature=350,
        end=float(end),
        output=tmp_path / "python.xtc",
    )
    assert made.output.read_bytes() == (tmp_path / "command.xtc").read_bytes()
    assert len(made.quality) == made.universe.trajectory.n_frames == made.report.frames
    assert made.quality[0].energies["Potential"]
    assert not list(tmp_path.glob("*.part.*"))
    with pytest.raises(InputError, match="by begin, end and dt"):
        backmap(cg, folder / "cg.xtc", topology=top, mapping=xml, output=tmp_path / "a.xtc", stop=2)
    with pytest.raises(InputError, match="need an output"):
        backmap(cg, topology=top, mapping=xml)
    with pytest.raises(InputError, match="goes with a Universe"):
        backmap(cg, topology=top, mapping={"A": "C1"}, output=tmp_path / "a.xtc")


def test_a_universe_goes_through_the_function_too(
    beads: mda.AtomGroup, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    chosen = {"topology": folder / "topol.top", "mapping": folder / "mapping.xml", "temperature": 350.0}
    found = backmap(beads, stop=1, **chosen)  # type: ignore[arg-type]
    assert len(found.quality) == 1
    with pytest.raises(InputError, match="by start, stop and step"):
        backmap(beads, begin=1.0, **chosen)  # type: ignore[arg-type]


def test_atoms_become_beads(folder: Path, beads: mda.AtomGroup, atoms: mda.Universe, tmp_path: Path) -> None:
    given = {"topology": folder / "topol.top", "mapping": folder / "mapping.xml"}
    found = map_to_beads(atoms, **given)  # type: ignore[arg-type]
    assert found.trajectory.n_frames == atoms.trajectory.n_frames
    assert found.atoms.names[:5].tolist() == ["A1", "A2", "A3", "A4", "A1"]
    assert found.residues.resids.tolist() == list(range(1, COUNT + 1))  # as in files of GROMACS
    for k in (0, 2):
        apart = found.trajectory[k].positions - beads.universe.trajectory[k].positions[: 4 * COUNT]
        box = found.dimensions[:3]
        assert np.abs(apart - box * np.round(apart / box)).max() < 0.02
    files = map_to_beads(
        example() / "aa.gro",
        folder / "aa.xtc",
        stop=1,
        topology=example() / "topol.top",
        mapping=str(folder / "mapping.xml"),
    )
    np.testing.assert_allclose(files.atoms.positions[: 4 * COUNT], found.trajectory[0].positions, atol=0.01)
    on_disk = map_to_beads(atoms, output=tmp_path / "cg.xtc", **given)  # type: ignore[arg-type]
    np.testing.assert_allclose(on_disk.trajectory[1].positions, found.trajectory[1].positions, atol=0.01)
    with pytest.raises(InputError, match="no moltypes"):
        map_to_beads(atoms, mapping=folder / "mapping.xml")


def test_there_and_back_with_a_mapping_made_in_python(
    atoms: mda.Universe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_sampler(monkeypatch)
    top = folder / "topol.top"
    cg = map_to_beads(atoms, topology=top, mapping={"OCT": ATOMS}, stop=1)
    assert cg.atoms.names[:4].tolist() == list(ATOMS)
    made = Backmapper(cg, top, ATOMS, temperature=350).run().results.universe
    again = map_to_beads(made, mapping=ATOMS, topology=top)
    assert np.abs(again.atoms.positions - cg.atoms.positions).max() < 3.0  # of a sampler that does nothing
    direct = map_to_beads(made, mapping=ATOMS)  # what was made knows its molecules
    np.testing.assert_allclose(direct.atoms.positions, again.atoms.positions, atol=1e-3)


def test_frames_of_files_are_not_all_held_at_once() -> None:
    alive = weakref.WeakSet[Frame]()
    most = 0

    def read() -> Iterator[Frame]:
        nonlocal most
        for number in range(50):
            frame = Frame(np.zeros((1, 3), np.float32), np.zeros((3, 3)), index=number)
            alive.add(frame)
            most = max(most, len(alive))
            yield frame

    assert [frame.index for frame in in_turn(read(), range(50))] == list(range(50))
    assert most <= 3
    assert [frame.index for frame in in_turn(read(), [7, 2, 2, 7, 40])] == [7, 2, 2, 7, 40]


def weights(given: object) -> np.ndarray:
    (made,) = read_mappings([given], read_topology(example() / "topol.top")).values()  # type: ignore[list-item]
    assert isinstance(made, Mapping)
    return made.weights.toarray()


def test_mappings_made_in_python_say_the_same_in_several_ways() -> None:
    by_name = weights(ATOMS)
    assert by_name.shape == (4, 26)
    masses = read_topology(example() / "topol.top").molecule_types["OCT"].masses
    inside = by_name[0] > 0
    np.testing.assert_allclose(by_name[0][inside], masses[inside] / masses[inside].sum())
    lists = {"OCT": {bead: names.split() for bead, names in ATOMS.items()}}
    pairs = {"OCT": list(ATOMS.items())}
    votca = {"OCT": {b: [f"1:OCT:{n}" for n in names.split()] for b, names in ATOMS.items()}}
    for other in (lists, pairs, votca):
        np.testing.assert_array_equal(weights(other), by_name)
    weighed = {bead: dict.fromkeys(names.split(), 1.0) for bead, names in ATOMS.items()}
    assert weights(weighed)[0].max() == pytest.approx(1 / 7)


def test_cgsmiles_as_a_string() -> None:
    pytest.importorskip("cgsmiles")
    text = "{[#A1][#B1][#B2][#A2]}.{#A1=CC[$],#B1=[$]CC[$],#B2=[$]CC[$],#A2=[$]CC}"
    np.testing.assert_allclose(weights(text), weights(ATOMS))
    np.testing.assert_allclose(weights({"OCT": text}), weights(ATOMS))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "is empty"),
        ({"OCT": 3}, "found 3; a mapping made in Python is"),
        ({"OCT": {"A1": [0, 1]}}, "a mapping made in Python is"),
        ({"A1": "C1 C1"}, "atom C1 is listed 2 times"),
        ({"A1": ""}, "bead A1 has no atoms"),
        ({"A1": "C1 C99"}, r"not \(or more than once\) in molecule type OCT: C99"),
        ({"A1": {"C1": -1.0}}, "weights that do not add up"),
        ({"XXX": {"A1": "C1 Z9"}}, "no mapping of OCT; found those of XXX"),
    ],
)
def test_a_mapping_that_is_none_is_refused(given: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        weights(given)


# --- evaluate ----------------------------------------------------------------------------------------


def test_an_evaluation_is_an_object_with_the_numbers_of_the_command(
    folder: Path, atoms: mda.Universe, capsys: pytest.CaptureFixture[str]
) -> None:
    top, path = folder / "topol.top", folder / "few-aa.trr"
    fast = {"temperature": 350.0, "conformations": False, "classifier": False}
    found = evaluate(path, top, reference=str(path), end=400.0, **fast)  # type: ignore[arg-type]
    arguments = ["-p", top, "-f", path, "-r", path, "-e", "400", "-t", "350", "--json"]
    code = main(["evaluate", *map(str, arguments), "--no-conformations", "--no-classifier"])
    assert found.passed == (code == 0)
    assert repr(found).startswith("<Evaluation of ")
    printed = capsys.readouterr().out
    assert scores_text(found).removesuffix("\n}\n") in printed
    assert found.to_dict()["candidates"]["few-aa"]["frames"] == len(found.candidates[0].frames)
    assert "few-aa" in found.summary()
    universe = evaluate(atoms, top, labels=["mine"], **fast)  # type: ignore[arg-type]
    (one,) = universe.candidates
    assert one.label == "mine"
    k = len(found.candidates[0].measured) - 1
    for name, energy in found.candidates[0].measured[k].energies.items():
        assert one.measured[k].energies[name] == pytest.approx(energy, rel=1e-3, abs=1e-2)
    with pytest.raises(InputError, match="2 labels for 1 trajectories"):
        evaluate(path, top, labels=["a", "b"])
    with pytest.raises(InputError, match="a Universe, an AtomGroup or a file is needed"):
        evaluate([3], top)


def test_an_evaluation_has_tables(folder: Path) -> None:
    pytest.importorskip("pandas")
    path = folder / "few-aa.trr"
    found = evaluate(
        path, folder / "topol.top", reference=path, temperature=350, conformations=False, classifier=False
    )
    table = found.to_dataframe()
    assert set(table["candidate"]) == {"few-aa"}
    assert (table["value"] < 1e-6).all()  # of itself
    assert set(found.energies()["trajectory"]) == {"reference", "few-aa"}


def test_what_is_not_right_is_warned_of(
    beads: mda.AtomGroup, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_sampler(monkeypatch, unsettled=(0,))
    with caplog.at_level(logging.WARNING):
        found = mapper(beads, folder, sweeps=None).run(stop=2).results
    assert "NOT STATIONARY" in caplog.text
    assert [one.stationary for one in found.quality] == [False, True]
    assert ["stationary" in one.broken for one in found.quality] == [True, False]
    assert not found.quality[0].is_good


# --- the page on Python ------------------------------------------------------------------------------


def test_every_line_of_python_in_the_docs_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one session from the top of the page to its end, with a sampler that stands in."""
    for package in ("pandas", "openmm", "ase"):
        pytest.importorskip(package)
    fake_sampler(monkeypatch)
    from openmm.app import Simulation

    for name in ("minimizeEnergy", "step"):  # of atoms that stand anywhere
        monkeypatch.setattr(Simulation, name, lambda *_: None)
    monkeypatch.chdir(tmp_path)
    for name in ("nvt.mdp", "cg.tpr", "topol.top", "mapping.xml", "owners.txt", "aa.xtc", "aa.gro"):
        (tmp_path / name).write_bytes((example() / name).read_bytes())
    (tmp_path / "cg.xtc").write_bytes((folder / "few.xtc").read_bytes())
    atoms = mda.Universe.empty(80 * 26, trajectory=True)
    atoms.load_new(str(folder / "aa.xtc"))
    atoms.atoms.write("reference.xtc", frames=atoms.trajectory[:2])
    page = Path(__file__).parent.parent / "share" / "docs" / "python.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert len(blocks) > 8
    assert "energy Potential" in capsys.readouterr().out

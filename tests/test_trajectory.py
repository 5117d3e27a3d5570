"""Frames in and out, and files that appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from MDAnalysis.lib.formats.libmdaxdr import XTCFile

from dbm_gmx.backmapping.universe import universe_of
from dbm_gmx.chemistry.frame import ROOM, Frame
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.frame_times import count_taken
from dbm_gmx.files.output import atomic_write, backup
from dbm_gmx.files.parmed import to_parmed
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.trajectory import SUFFIXES, open_writer, read_frame_at, read_frames

BOX = np.array([[3.0, 0, 0], [-1.2, 2.5, 0], [0.7, -1.1, 2.25]])


def molecule(name, atoms):
    """Molecule type from (atom, residue number, residue name)."""
    graph = nx.Graph()
    for i, (atom, resid, resname) in enumerate(atoms):
        element = atom[0]
        graph.add_node(
            i, name=atom, type="X", element=element, mass=1.0, charge=0.0, resid=resid, resname=resname
        )
    return MoleculeType(name, 3, graph)


@pytest.fixture
def system():
    """Two waters, a dimer of two residues, another water."""
    water = molecule("SOL", [("OW", 1, "SOL"), ("HW1", 1, "SOL"), ("HW2", 1, "SOL")])
    dimer = molecule("DIM", [("C1", 7, "ABC"), ("C%", 8, "ABCDE")])
    return Topology({"SOL": water, "DIM": dimer}, (("SOL", 2), ("DIM", 1), ("SOL", 1)))


@pytest.fixture
def frames(system):
    rng = np.random.default_rng(0)
    return [
        Frame(rng.uniform(-3, 3, (system.n_atoms, 3)).astype(np.float32), BOX, 0.3 * i, step=150 * i, index=i)
        for i in range(11)
    ]


def write(path, system, frames):
    with open_writer(path, system) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def write_and_fail(path, system, frames, error):
    """Write frames and stop with an error."""
    with open_writer(path, system) as writer:
        for frame in frames:
            writer.write(frame)
        raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_residues_have_the_same_numbers_everywhere(system, frames, tmp_path):
    """Of waters and dimer; in files, in a Universe and in ParmEd."""
    wanted = [9, 10, 7, 8, 11]
    universe = universe_of(system)
    assert universe.residues.resids.tolist() == wanted
    assert universe.residues.molnums.tolist() == [0, 1, 2, 2, 3]
    path = write(tmp_path / "a.gro", system, frames[:1])
    assert [int(line[:5]) for line in path.read_text().splitlines()[2:-1]] == universe.atoms.resids.tolist()
    assert [residue.number for residue in to_parmed(system).residues] == wanted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_roundtrip(tmp_path, system, frames, suffix):
    path = write(tmp_path / f"x{suffix}", system, frames)
    back = list(read_frames(path, n_atoms=11))
    assert [f.index for f in back] == list(range(11))
    assert [f.step for f in back] == [f.step for f in frames]
    np.testing.assert_allclose([f.time for f in back], [f.time for f in frames], atol=1e-9)
    for given, found in zip(frames, back, strict=True):
        tolerance = 0 if suffix == ".trr" else 0.000501
        np.testing.assert_allclose(found.positions, given.positions, atol=tolerance)
        np.testing.assert_allclose(found.box, given.box, atol=1e-3 if suffix == ".pdb" else 1e-5)
    assert names(tmp_path) == [path.name]
    assert count_taken(path) == (11 if suffix in (".xtc", ".trr") else None)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_of_earlier_frames_are_left_out(tmp_path, system, frames, suffix):
    with open_writer(tmp_path / f"x{suffix}", system) as writer:
        for frame in frames[:5]:
            writer.write(frame)
        start = writer.part.size
        writer.write(frames[5])
    whole = [*read_frames(tmp_path / f"x{suffix}", n_atoms=system.n_atoms)]
    found = read_frame_at(tmp_path / f"x{suffix}", start, n_atoms=system.n_atoms)
    np.testing.assert_array_equal(found.positions, whole[5].positions)
    np.testing.assert_array_equal(found.box, whole[5].box)
    assert found.time == whole[5].time


def test_labels_of_a_gro(tmp_path, system, frames):
    lines = write(tmp_path / "x.gro", system, frames[:2]).read_text().splitlines()
    assert lines[0].endswith("t=   0.00000 step= 0")
    assert lines[14].endswith("t=   0.30000 step= 150")
    assert [line[:20] for line in lines[2:13]] == [
        "    9SOL     OW    1",
        "    9SOL    HW1    2",
        "    9SOL    HW2    3",
        "   10SOL     OW    4",
        "   10SOL    HW1    5",
        "   10SOL    HW2    6",
        "    7ABC     C1    7",
        "    8ABCDE   C%    8",
        "   11SOL     OW    9",
        "   11SOL    HW1   10",
        "   11SOL    HW2   11",
    ]


def test_numbers_wrap(tmp_path):
    ion = molecule("NA", [("NA", 1, "NA")])
    system = Topology({"NA": ion}, (("NA", 100001),))
    frame = Frame(np.zeros((100001, 3), np.float32), BOX)
    lines = write(tmp_path / "x.gro", system, [frame]).read_text().splitlines()
    assert lines[100000][:20] == "99999NA      NA99999"
    assert lines[100001][:20] == "    0NA      NA    0"
    path = write(tmp_path / "x.pdb", system, [frame])
    assert len(read_structure(path).positions) == 100001


@pytest.mark.parametrize("name", ["sps/aa", "octane/aa"])
def test_same_gro_as_gromacs(reference, gmx, tmp_path, name):
    from dbm_gmx.files.tpr import read_tpr

    topology, frame = read_tpr(reference / f"{name}.tpr")
    ours = write(tmp_path / "ours.gro", topology, [frame]).read_text().splitlines()
    theirs = tmp_path / "theirs.gro"
    command = [gmx, "editconf", "-f", reference / f"{name}.tpr", "-o", theirs]
    subprocess.run(command, check=True, capture_output=True)
    expected = theirs.read_text().splitlines()
    assert ours[1:-1] == [line[:44] for line in expected[1:-1]]
    assert ours[-1] == expected[-1]


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({}, range(11)),
        ({"begin": 0.3, "end": 0.9}, [1, 2, 3]),
        ({"dt": 0.9}, [0, 3, 6, 9]),
        ({"begin": 0.3, "dt": 0.6}, [1, 3, 5, 7, 9]),
        ({"begin": 0.5, "end": 2.5, "dt": 0.6}, [2, 4, 6, 8]),
        ({"dt": 0.45}, [0, 3, 6, 9]),
        ({"end": 0.0}, [0]),
    ],
)
@pytest.mark.parametrize("suffix", [".xtc", ".gro"])
def test_times(tmp_path, system, frames, suffix, options, indices):
    path = write(tmp_path / f"x{suffix}", system, frames)
    assert [f.index for f in read_frames(path, n_atoms=11, **options)] == list(indices)


@pytest.mark.parametrize("options", [{"b": 0.3, "e": 2.1}, {"dt": 0.9}, {"b": 0.5, "dt": 0.6}, {"dt": 0.45}])
def test_times_as_trjconv(tmp_path, gmx, system, frames, options):
    path = write(tmp_path / "x.xtc", system, frames)
    flags = [word for key, value in options.items() for word in (f"-{key}", str(value))]
    subprocess.run(
        [gmx, "trjconv", "-f", path, "-o", tmp_path / "y.xtc", *flags], check=True, capture_output=True
    )
    begin, end, dt = (options.get(key) for key in ("b", "e", "dt"))
    ours = [f.time for f in read_frames(path, n_atoms=11, begin=begin, end=end, dt=dt)]
    assert ours == [f.time for f in read_frames(tmp_path / "y.xtc", n_atoms=11)]


def test_no_frame_at_these_times(tmp_path, system, frames):
    path = write(tmp_path / "x.xtc", system, frames)
    with pytest.raises(InputError, match="no frame from 99 ps; those read are at 0 to 3 ps"):
        list(read_frames(path, n_atoms=11, begin=99))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_wrong_number_of_atoms_is_said_at_once(tmp_path, system, frames, suffix):
    path = write(tmp_path / f"x{suffix}", system, frames)
    with pytest.raises(InputError, match="has 11 atoms, 12 are expected"):
        read_frames(path, n_atoms=12)


@pytest.mark.parametrize(
    ("suffix", "lost"),
    [(".xtc", 3), (".xtc", 40), (".xtc", 90), (".trr", 3), (".trr", 90), (".gro", 90), (".gro", 400)],
)
def test_cut_off(tmp_path, system, frames, suffix, lost):
    """Whole frames are used, then it is said which one is damaged."""
    path = write(tmp_path / f"x{suffix}", system, frames[:4])
    os.truncate(path, path.stat().st_size - lost)
    reader = read_frames(path, n_atoms=11)
    assert [next(reader).index for _ in range(3)] == [0, 1, 2]
    said = r"frame 3.*cut off|cut off.*frame 3; last good frame at 0.6 ps \(-e 0.6 ends there\)"
    with pytest.raises(InputError, match=said):
        next(reader)
    assert [frame.index for frame in read_frames(path, n_atoms=11, end=0.6)] == [0, 1, 2]
    with pytest.raises(InputError, match=said):
        list(read_frames(path, n_atoms=11, end=0.7))  # whether it is before that time is not known


@pytest.mark.parametrize("left", [2, 20])
def test_cut_in_the_header_of_a_frame(tmp_path, system, frames, left):
    path = write(tmp_path / "x.xtc", system, frames[:1])
    whole = path.stat().st_size
    write(path, system, frames[:2])
    os.truncate(path, whole + left)
    reader = read_frames(path, n_atoms=11)
    assert next(reader).index == 0
    with pytest.raises(InputError, match="frame 1; last good frame at 0 ps"):
        next(reader)


def test_useless_files(tmp_path):
    for suffix in SUFFIXES:
        path = tmp_path / f"x{suffix}"
        path.touch()
        with pytest.raises(InputError, match="empty"):
            read_frames(path, n_atoms=1)
        path.write_text("nonsense\n" * 99)
        with pytest.raises(InputError, match=f"x{suffix}: "):
            read_frames(path, n_atoms=1)
        with pytest.raises(InputError, match="no such file"):
            read_frames(tmp_path / f"none{suffix}", n_atoms=1)
    with pytest.raises(InputError, match=r"\.dcd is no known trajectory.*\.xtc, \.trr, \.gro, \.pdb"):
        read_frames(tmp_path / "x.dcd", n_atoms=1)


def test_frame_without_box(tmp_path):
    path = tmp_path / "x.xtc"
    with XTCFile(str(path), "w") as stream:
        stream.write(np.zeros((2, 3)), BOX, 0, 0.0)
        stream.write(np.zeros((2, 3)), np.zeros((3, 3)), 1, 1.0)
    reader = read_frames(path, n_atoms=2)
    next(reader)
    with pytest.raises(InputError, match=r"frame 1 \(t = 1 ps\): there is no box"):
        next(reader)


def test_pdb_without_cell(tmp_path):
    path = tmp_path / "x.pdb"
    path.write_text("ATOM      1  C   ABC     1       1.000   2.000   3.000  1.00  0.00\nEND\n")
    frame = read_structure(path)
    assert frame.free
    assert frame.box.diagonal().min() >= ROOM


def test_gro_of_high_precision(tmp_path):
    path = tmp_path / "x.gro"
    path.write_text(
        "x\n1\n    1ABC      C    1   1.23456   2.34567   -3.45678\n 4 4 4\n".replace("   -3", "  -3")
    )
    np.testing.assert_allclose(read_structure(path).positions, [[1.23456, 2.34567, -3.45678]])


def test_backup_as_gromacs_does(tmp_path):
    path = tmp_path / "aa.xtc"
    assert backup(path) is None
    for i in (1, 2, 3):
        path.write_text(str(i))
        assert backup(path) == tmp_path / f"#aa.xtc.{i}#"
    assert (tmp_path / "#aa.xtc.2#").read_text() == "2"


def test_an_older_file_is_kept(tmp_path, system, frames):
    path = write(tmp_path / "x.gro", system, frames[:1])
    write(path, system, frames[:3])
    assert len(list(read_frames(path, n_atoms=11))) == 3
    assert len(list(read_frames((tmp_path / "#x.gro.1#").rename(tmp_path / "y.gro"), n_atoms=11))) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, MemoryError, InputError("cut off")])
def test_finished_frames_stay_under_a_name_of_their_own(tmp_path, system, frames, suffix, error):
    older = tmp_path / f"x{suffix}"
    older.write_text("precious")
    with pytest.raises((Exception, KeyboardInterrupt)) as found:
        write_and_fail(older, system, frames[:2], error)
    assert isinstance(found.value, error if isinstance(error, type) else InputError)
    assert names(tmp_path) == sorted([f"x.part{suffix}", older.name])
    assert older.read_text() == "precious"
    assert len(list(read_frames(tmp_path / f"x.part{suffix}", n_atoms=11))) == 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_frame_is_in_the_file_at_once(tmp_path, system, frames, suffix):
    part = tmp_path / f"x.part{suffix}"
    with open_writer(tmp_path / f"x{suffix}", system) as writer:
        for count, frame in enumerate(frames[:3], 1):
            writer.write(frame)
            assert len(list(read_frames(part, n_atoms=11))) == count


def test_what_another_run_has_left_is_not_overwritten(tmp_path, system, frames):
    with pytest.raises(ZeroDivisionError):
        write_and_fail(tmp_path / "x.xtc", system, frames[:2], ZeroDivisionError)
    write(tmp_path / "x.xtc", system, frames[:3])
    assert names(tmp_path) == ["#x.part.xtc.1#", "x.xtc"]


def test_interrupted_before_the_first_frame(tmp_path, system):
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(tmp_path / "x.xtc", system, [], KeyboardInterrupt)
    assert names(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path, system):
    with (
        pytest.raises(InputError, match="cannot be written"),
        open_writer(tmp_path / "none" / "x.xtc", system),
    ):
        pass
    (tmp_path / "y.xtc").mkdir()
    with pytest.raises(InputError, match="is a folder"), open_writer(tmp_path / "y.xtc", system):
        pass
    with pytest.raises(InputError, match=r"\.dcd is no known"), open_writer(tmp_path / "x.dcd", system):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_folder_for_output(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match="cannot be written"), atomic_write(tmp_path / "x"):
        pass


def test_reading_leaves_no_files_behind(tmp_path, system, frames):
    path = write(tmp_path / "x.xtc", system, frames)
    list(read_frames(path, n_atoms=11))
    count_taken(path)
    assert names(tmp_path) == ["x.xtc"]


def test_steps_beyond_32_bits(tmp_path, system, frames):
    """The formats keep 32 bits; GROMACS wraps as well."""
    frame = Frame(frames[0].positions, BOX, 1.0, step=2**31 + 5)
    [back] = read_frames(write(tmp_path / "x.xtc", system, [frame]), n_atoms=11)
    assert back.step == -(2**31) + 5


def test_one_cell_for_all_models_of_a_pdb(tmp_path, system, frames):
    path = write(tmp_path / "x.pdb", system, [replace(frame, box=frames[0].box) for frame in frames[:4]])
    each = [frame.box for frame in read_frames(path, n_atoms=system.n_atoms)]
    lines = path.read_text().splitlines(keepends=True)
    cells = [line for line in lines if line.startswith("CRYST1")]
    path.write_text(cells[0] + "".join(line for line in lines if line not in cells))
    found = [frame.box for frame in read_frames(path, n_atoms=system.n_atoms)]
    np.testing.assert_array_equal(found, each)


def test_a_damaged_model_of_a_pdb_leaves_those_before_it(tmp_path, system, frames):
    path = write(tmp_path / "x.pdb", system, frames[:3])
    head, first, second, *rest = path.read_text().split("MODEL")
    second = second.replace(".", "x", 40)
    path.write_text("MODEL".join([head, first, second, *rest]))
    read = read_frames(path, n_atoms=system.n_atoms)
    next(read)
    with pytest.raises(InputError, match="frame 1 is damaged"):
        next(read)

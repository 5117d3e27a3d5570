"""Inputs that are damaged, absurd or no files: refused with where and what, and nothing worse."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

from dbm_gmx.chemistry.frame import Frame, check_frame
from dbm_gmx.cli import main
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import _open
from dbm_gmx.files.dbm_map import read_map
from dbm_gmx.files.frame_times import count_taken
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.files.owners import read_owners
from dbm_gmx.files.share import share_path
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.tpr import read_tpr
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.files.votca import read_votca
from dbm_gmx.files.xdr import xdr_frames
from dbm_gmx.files.xtc_bits import FIRST, LONG, SHORT, SOUND, decode_positions
from dbm_gmx.network.channels import read_channels
from dbm_gmx.sampling.memory_file import read_memory
from dbm_gmx.train.settings import read_settings

EXAMPLE = share_path("examples", "octane")
N_BEADS = 320

READERS = {
    "topol.top": read_topology,
    "cg.tpr": read_tpr,
    "aa.gro": read_structure,
    "aa.pdb": read_structure,
    "nvt.mdp": read_mdp,
    "mapping.xml": read_votca,
    "owners.txt": read_owners,
    "OCT.map": read_map,
    "channels.toml": read_channels,
    "train.toml": read_settings,
    "memory.npz": read_memory,
    "cg.xtc": lambda path: list(read_frames(path, n_atoms=N_BEADS)),
    "cg.trr": lambda path: list(read_frames(path, n_atoms=N_BEADS)),
}


# --- trajectories ----------------------------------------------------------------------------------


def written(path: Path, positions: list[np.ndarray], box: float = 3.0) -> Path:
    """Write frames with the library of MDAnalysis, at 0, 1, 2, ... ps."""
    cell = (np.eye(3) * box).astype(np.float32)
    if path.suffix == ".xtc":
        with XTCFile(str(path), "w") as stream:
            for k, x in enumerate(positions):
                stream.write(x, cell, k, float(k), 1000.0)
    else:
        with TRRFile(str(path), "w") as stream:
            for k, x in enumerate(positions):
                stream.write(x, None, None, cell, k, float(k), 0.0, len(x))
    return path


def chain(n_atoms: int, step: float, box: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.cumsum(rng.normal(0, step, (n_atoms, 3)), axis=0) % box).astype(np.float32)


def read_by_library(path: Path) -> list[np.ndarray]:
    with (XTCFile if path.suffix == ".xtc" else TRRFile)(str(path)) as stream:
        return [frame.x.copy() for frame in stream]


@pytest.mark.parametrize("n_atoms", [1, 2, 9, 10, 11, 33, 1000])
@pytest.mark.parametrize(("step", "box"), [(0.0, 3.0), (0.001, 3.0), (0.1, 5.0), (3.0, 3.0), (90.0, 9000.0)])
def test_positions_are_those_of_the_library_bit_by_bit(tmp_path, n_atoms, step, box):
    frames = [chain(n_atoms, step, box, seed) for seed in range(3)]
    for suffix in (".xtc", ".trr"):
        path = written(tmp_path / f"x{suffix}", frames, box)
        found = list(xdr_frames(path))
        assert [f.step for f in found] == [0, 1, 2]
        for ours, theirs in zip(found, read_by_library(path), strict=True):
            np.testing.assert_array_equal(ours.positions, theirs)


@pytest.mark.parametrize(("step", "box"), [(20.0, 16000.0), (300.0, 20000.0)])
def test_bounds_of_many_bits(tmp_path, step, box):
    path = written(tmp_path / "x.xtc", [chain(500, step, box)], box)
    np.testing.assert_array_equal(next(xdr_frames(path)).positions, read_by_library(path)[0])


@pytest.mark.parametrize("suffix", [".xtc", ".trr"])
@pytest.mark.parametrize("part", ["first", "middle"])
def test_no_flipped_bit_is_more_than_an_error(tmp_path, suffix, part):
    frames = [chain(24, 0.15, 3.0, seed) for seed in range(3)]
    path = written(tmp_path / f"x{suffix}", frames)
    content, good = path.read_bytes(), list(xdr_frames(path))
    size = len(written(tmp_path / f"one{suffix}", frames[:1]).read_bytes())
    start = 0 if part == "first" else size
    index, refused, said = int(part != "first"), 0, set()
    for bit in range(8 * start, 8 * (start + min(size, 140))):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        found: list[Frame] = []
        try:
            found.extend(xdr_frames(path, 24))
        except InputError as error:
            refused += 1
            said.add(str(error).partition(" (")[0].partition(": is ")[2])
            assert len(found) == index
        for ours, before in zip(found[:index], good, strict=False):
            np.testing.assert_array_equal(ours.positions, before.positions)
    assert refused > 300
    where = "in its first frame" if part == "first" else "in frame 1"
    assert all(where in words for words in said)


def test_flipped_bits_of_compressed_positions(tmp_path):
    frames = [chain(200, 0.15, 3.0)]
    path = written(tmp_path / "x.xtc", frames)
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(1500):
        damaged = bytearray(content)
        for bit in rng.integers(8 * 92, 8 * len(content), rng.integers(1, 4)):
            damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        try:
            assert np.isfinite(next(xdr_frames(path)).positions).all()
        except InputError:
            refused += 1
    assert refused > 250  # the others only moved atoms: the format has no checksum


@pytest.mark.parametrize(("atoms", "n_bits", "said"), [(2, 24, SOUND), (2, 16, SHORT), (1, 24, LONG)])
def test_compressed_positions_end_with_an_atom(atoms, n_bits, said):
    """Ten bits each: three numbers below eight, multiplied, and that nothing changes."""
    bounds = np.array([[0, 0, 0], [7, 7, 7], [8, 8, 8], [9, 0, 0]])
    stream, positions = np.frombuffer(bytes(8), np.uint8), np.full((atoms, 3), np.nan, np.float32)
    assert decode_positions(stream, n_bits, bounds, FIRST, np.float32(0.001), positions) == said


def test_frames_before_a_damaged_one_are_of_use(tmp_path):
    path = written(tmp_path / "x.xtc", [chain(24, 0.15, 3.0, seed) for seed in range(3)])
    content = bytearray(path.read_bytes())
    begin = content.rindex((1995).to_bytes(4, "big"))
    content[begin + 84] ^= 255  # of the third frame: how far neighbouring atoms are apart
    path.write_bytes(content)
    frames = read_frames(path, n_atoms=24)
    assert [next(frames).time, next(frames).time] == [0.0, 1.0]
    with pytest.raises(InputError, match=r"damaged in frame 2.*; last good frame at 1 ps"):
        next(frames)
    path.write_bytes(content[:-3])
    assert count_taken(path) == 2


def test_a_size_is_not_believed(tmp_path):
    path = written(tmp_path / "x.xtc", [chain(24, 0.15, 3.0)])
    content = bytearray(path.read_bytes())
    content[4:8] = content[52:56] = (2**31 - 1).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(InputError, match="bytes for 2147483647 atoms"):
        next(xdr_frames(path))


def test_bytes_that_no_atom_takes(tmp_path):
    path = written(tmp_path / "x.xtc", [chain(24, 0.15, 3.0)])
    content = path.read_bytes()
    n_bytes = int.from_bytes(content[88:92], "big") + 4
    path.write_bytes(content[:88] + n_bytes.to_bytes(4, "big") + content[92:] + bytes(4))
    with pytest.raises(InputError, match="its positions end before its bytes do"):
        next(xdr_frames(path))


def test_a_trr_of_double_precision(tmp_path):
    x = chain(5, 0.1, 3.0).astype(np.float64)
    sizes = [0, 0, 72, 0, 0, 0, 0, x.nbytes, 0, 0, 5, 7, 0]
    head = np.array([1993, 13, 12], ">i4").tobytes() + b"GMX_trn_file" + np.array(sizes, ">i4").tobytes()
    numbers = np.concatenate([[0.5, 0.0], 3.0 * np.eye(3).ravel(), x.ravel()])
    (tmp_path / "x.trr").write_bytes(head + numbers.astype(">f8").tobytes())
    frame = next(read_frames(tmp_path / "x.trr", n_atoms=5))
    assert (frame.time, frame.step) == (0.5, 7)
    np.testing.assert_array_equal(frame.positions, x.astype(np.float32))


def test_flipped_bits_of_a_tpr(tmp_path):
    content, rng = (EXAMPLE / "cg.tpr").read_bytes(), np.random.default_rng(0)
    path, refused = tmp_path / "cg.tpr", 0
    for bit in rng.integers(0, 8 * 2500, 60):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        try:
            read_tpr(path)
        except InputError:
            refused += 1
    assert refused > 10


# --- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (np.eye(3) * 30_000, "too large"),
        (np.eye(3) * 1e-5, "too small"),
        (np.array([[3.0, 0, 0], [20, 3, 0], [0, 0, 3]]), "too skewed"),
        (np.diag([3.0, 3.0, np.inf]), "not finite"),
    ],
)
def test_boxes_that_are_none(box, said):
    with pytest.raises(InputError, match=rf"x\.gro: frame 2 .*{said}"):
        check_frame(Frame(np.zeros((1, 3), np.float32), box, index=2), "x.gro")


def test_positions_and_times_out_of_range():
    far = Frame(np.full((2, 3), 2e4, np.float32), np.eye(3) * 3)
    with pytest.raises(InputError, match="position of atom 1 is 20000 20000 20000"):
        check_frame(far)
    for time in (np.inf, np.nan, -np.inf, 1e39, -1e300):  # what is written has single precision
        with pytest.raises(InputError, match="its time is "):
            check_frame(Frame(np.zeros((2, 3), np.float32), np.eye(3) * 3, time=time))


@pytest.mark.parametrize("dt", [1e-310, 1e-7, np.nan, np.inf, -1.0])
def test_times_between_frames_that_are_none(dt):
    with pytest.raises(InputError, match="1e-06 ps is needed"):
        read_frames(EXAMPLE / "cg.xtc", n_atoms=N_BEADS, dt=dt)


# --- numbers of a topology -------------------------------------------------------------------------

TOP = """[ defaults ]
1 2 yes 0.5 0.5
[ atomtypes ]
C 12.0 0.0 A 0.35 0.3
[ moleculetype ]
M 3
[ atoms ]
1 C 1 M C1 1 0.0 12.0
2 C 1 M C2 1 0.0 12.0
3 C 1 M C3 1 0.0 12.0
4 C 1 M C4 1 0.0 12.0
[ bonds ]
1 2 1 0.15 1000
2 3 1 0.15 1000
3 4 1 0.15 1000
[ angles ]
1 2 3 1 109.5 300
[ dihedrals ]
1 2 3 4 9 180.0 1.0 3
[ system ]
x
[ molecules ]
M 2
"""


def topology(folder: Path, text: str) -> Path:
    path = folder / "topol.top"
    path.write_text(text)
    return path


def test_the_sound_topology_is_read(tmp_path):
    assert read_topology(topology(tmp_path, TOP)).n_atoms == 8


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("180.0 1.0 3", "nan 1.0 3", "no finite number"),
        ("180.0 1.0 3", "180.0 inf 3", "no finite number"),
        ("180.0 1.0 3", "180.0 1.0 1e9", "parameter 3 is 1e"),
        ("180.0 1.0 3", "1e6 1.0 3", "parameter 1 is 1e"),
        ("C1 1 0.0 12.0", "C1 1 inf 12.0", "no finite number"),
        ("C1 1 0.0 12.0", "C1 1 1e6 12.0", "charge of 1e"),
        ("C1 1 0.0 12.0", "C1 1 0.0 -12.0", "mass of -12 amu"),
        ("C1 1 0.0 12.0", "C1 1 0.0 1e9", "mass of 1e"),
        ("C 12.0 0.0 A", "C -1.0 0.0 A", "mass of -1 amu"),
        ("C 12.0 0.0 A", "C 12.0 nan A", "no finite number"),
        ("A 0.35 0.3", "A 1e20 0.3", "sigma|C6 and C12"),
        ("A 0.35 0.3", "A 0.35 inf", "no finite number"),
        ("0.15 1000", "-0.15 1000", "parameter 1 is -0.15, not within 0 and 1000"),
        ("0.15 1000", "0.15 -1000", "parameter 2 is -1000"),
        ("0.15 1000", "0.15 1e400", "no finite number"),
        ("0.15 1000", "0.1_5 1000", "'0.1_5' is no number"),
        ("0.15 1000", "0.15 \u0661", "is no number"),
        ("M 2\n", "M 2_0\n", "whole numbers"),
        ("109.5 300", "-109.5 300", "parameter 1 is -109.5"),
        ("1 2 yes 0.5 0.5", "1 2 yes nan 0.5", "no finite number"),
        ("M 3\n", "M -3\n", "nrexcl"),
        ("M 3\n", "M 99999999999999999999\n", "larger than 2147483647"),
        ("M 2\n", "M 2000000000\n", "more than 2147483647 atoms"),
        ("M 2\n", "M " + "9" * 5000 + "\n", "whole numbers"),
    ],
)
def test_numbers_that_no_force_field_has(tmp_path, old, new, said):
    assert old in TOP
    with pytest.raises(InputError, match=said) as caught:
        read_topology(topology(tmp_path, TOP.replace(old, new, 1)))
    assert caught.value.line is not None
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize(
    ("old", "said"), [("1.234", "position of atom 2 is 1 nan 1"), ("3.00000", "box is not finite")]
)
def test_a_conformer_with_numbers_that_are_none(tmp_path, old, said):
    """It needs no box, but one that is there and all positions are numbers."""
    atoms = [f"    1AAA     C{k}    {k}   1.000   {y}   1.000\n" for k, y in ((1, "1.000"), (2, "1.234"))]
    path = tmp_path / "one.gro"
    path.write_text("one\n    2\n" + "".join(atoms) + "   3.00000   3.00000   3.00000\n")
    assert _open(path)[0].positions.shape == (2, 3)
    path.write_text(path.read_text().replace(old, "nan".rjust(len(old)), 1))
    with pytest.raises(InputError, match=said):
        _open(path)


@pytest.mark.parametrize(
    "words",
    [
        "evaluate -p topol.top -f aa.xtc --json",
        "view aa.gro -p topol.top",
        "relax -p topol.top -f aa.xtc --no-restraints -o x.xtc",
        "check -s cg.tpr -p topol.top -m mapping.xml",
        "map init -p topol.top -s cg.tpr",
    ],
)
def test_a_topology_that_is_cut_off_is_named(files, capsys, words):
    """Below the force field, and below the molecule types."""
    text = (files / "topol.top").read_text()
    for head, said in (("moleculetype", "no [ moleculetype ] in it"), ("system", "has no [ molecules ]")):
        if head == "system" and "init" in words:
            continue  # which needs no numbers
        (files / "topol.top").write_text(text[: text.index(f"[ {head} ]")])
        assert main(words.split()) == 1
        assert (
            f"topol.top: {'defines no molecule: ' if head != 'system' else ''}{said}"
            in capsys.readouterr().err
        )


def test_includes_within_includes(tmp_path):
    for k in range(1500):
        (tmp_path / f"{k}.itp").write_text(f'#include "{k + 1}.itp"\n')
    with pytest.raises(InputError, match="more than 50 files include one another"):
        read_topology(topology(tmp_path, '#include "0.itp"\n' + TOP))


def test_includes_that_double(tmp_path):
    for k in range(40):
        (tmp_path / f"{k}.itp").write_text(f'#include "{k + 1}.itp"\n' * 2)
    (tmp_path / "40.itp").write_text("")
    with pytest.raises(InputError, match="more than 2000 files are included"):
        read_topology(topology(tmp_path, '#include "0.itp"\n' + TOP))


@pytest.mark.parametrize("value", ["CT CT CT", "B B\n#define B CT CT", "x" * 60_000])
def test_macros_that_grow(tmp_path, value):
    with pytest.raises(InputError, match="make more than 100000 characters"):
        read_topology(topology(tmp_path, f"#define CT {value}\n{TOP}[ bonds ]\nCT CT 1 0.1 10\n"))


def test_numbers_of_beads_are_not_believed(tmp_path):
    path = tmp_path / "M.map"
    path.write_text("[map]\n1 C 2000000000 A\n[/map]\n")
    assert "beads without an atom: 1 2 3" in read_map(path).problems[0].text
    path.write_text("[map]\n1 C " + "9" * 5000 + " A\n[/map]\n")
    assert "is not a whole number" in read_map(path).problems[0].text
    path.write_text("A : " + "9" * 5000 + "\n")
    with pytest.raises(InputError, match="is not 'bead : atom numbers'"):
        read_owners(path)


# --- what is no file -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(READERS))
def test_pipes_folders_devices_and_links_to_nothing(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a named pipe, not a file"):
        READERS[name](path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="is a folder, not a file"):
        READERS[name](path)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a device, not a file"):
        READERS[name](path)
    path.unlink()
    path.symlink_to(tmp_path / "none")
    with pytest.raises(InputError, match="is a link to a file that is not there"):
        READERS[name](path)
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(InputError, match="cannot be read: Too many levels of symbolic links"):
        READERS[name](path)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        READERS[name](path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("name", list(READERS))
def test_files_that_may_not_be_read(tmp_path, name):
    path = tmp_path / name
    path.touch(mode=0o000)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        READERS[name](path)


@pytest.mark.parametrize(
    "name", [n for n in READERS if Path(n).suffix not in (".tpr", ".npz", ".xtc", ".trr")]
)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"x", mtime=0), "is a gzip file"),
        (b"\x7fELF\2\1\1\0", "is a program"),
        (b"PK\3\4\0\0", "is a zip archive"),
        ((EXAMPLE / "cg.xtc").read_bytes(), "is an .xtc trajectory"),
        ((EXAMPLE / "cg.tpr").read_bytes(), "is a .tpr"),
        (bytes(range(256)), "is a binary file"),
    ],
)
def test_binary_given_as_text_is_named(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        READERS[name](path)
    assert str(caught.value).isprintable()
    assert len(caught.value.message) < 100


def test_text_given_as_a_trajectory_is_named(tmp_path):
    shutil.copy(
        EXAMPLE / "cg.trr" if (EXAMPLE / "cg.trr").exists() else EXAMPLE / "cg.tpr", tmp_path / "x.xtc"
    )
    with pytest.raises(InputError, match=r"is no \.xtc file.*it is a \.t"):
        READERS["cg.xtc"](tmp_path / "x.xtc")


def test_names_are_written_out(tmp_path, capfd):
    path = tmp_path / "a\x1b[31m\nb.top"
    path.write_text("[ nonsense\x07")
    with pytest.raises(InputError, match="control character") as caught:
        read_topology(path)
    assert str(caught.value).isprintable()
    assert main(["check", "-s", "x.gro", "-cp", str(path), "-p", str(path), "-m", "x.xml"]) == 1
    assert "\x1b" not in capfd.readouterr().err


def test_a_link_to_nothing_in_a_folder_of_mappings(tmp_path):
    shutil.copy(EXAMPLE / "mapping.xml", tmp_path)
    (tmp_path / "b.xml").symlink_to(tmp_path / "none")
    with pytest.raises(InputError, match=r"b\.xml: is a link to a file that is not there"):
        read_mappings([tmp_path], read_topology(EXAMPLE / "topol.top"))


# --- outputs ---------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The example in a folder of its own, which is where one is."""
    for path in EXAMPLE.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "link.xtc").symlink_to("aa.xtc")
    os.link(tmp_path / "aa.xtc", tmp_path / "hard.xtc")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.xtc")
    (tmp_path / "loop.xtc").symlink_to("loop.xtc")
    monkeypatch.chdir(tmp_path)
    return tmp_path


MAP = ["map", "-p", "topol.top", "-m", "mapping.xml", "-f", "aa.xtc"]
BACKMAP = ["backmap", "-s", "cg.tpr", "-p", "topol.top", "-m", "mapping.xml", "-f", "cg.xtc"]
READ = "is a file that is read as well"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*MAP, "-o", "aa.xtc"], READ),
        ([*MAP, "-o", "folder/../aa.xtc"], READ),
        ([*MAP, "-o", "link.xtc"], READ),
        ([*MAP, "-o", "hard.xtc"], READ),
        ([*MAP, "-s", "aa.gro", "-o", "x.xtc", "-c", "aa.gro"], READ),
        ([*MAP, "-o", "x.gro", "-c", "./x.gro"], "the same file"),
        ([*MAP, "-o", "pipe.xtc"], "is a pipe or a device"),
        ([*MAP, "-o", "folder"], "is a folder"),
        ([*BACKMAP, "-o", "cg.xtc"], READ),
        ([*BACKMAP, "-o", "x.xtc", "-r", "aa.gro", "-or", "aa.gro"], READ),
        ([*BACKMAP, "-o", "x.xtc", "-r", "aa.gro", "-c", "aa.gro"], READ),
        ([*BACKMAP, "-o", "x.xtc", "--relax", "cg.xtc"], READ),
        ([*BACKMAP, "-o", "x.xtc", "--relax", "x.xtc"], "the same file"),
        (["relax", *MAP[1:], "--beads", "cg.xtc", "-o", "cg.xtc"], READ),
        (["relax", *MAP[1:], "-o", "."], "is a folder, the name of a file is needed"),
        (["relax", *MAP[1:], "-o", "x.pdf"], ".pdf is no known trajectory"),
        ([*BACKMAP, "-o", "x.xtc", "--relax", "x.pdf"], ".pdf is no known trajectory"),
        ([*MAP, "-o", "loop.xtc"], "is a link to itself"),
        ([*MAP, "-o", "x.xtc", "--log", "aa.xtc"], READ),
        ([*MAP, "-o", "x.xtc", "--log", "hard.xtc"], READ),
        ([*MAP, "-o", "x.xtc", "--log", "mapping.xml"], READ),
        ([*MAP, "-o", "x.xtc", "--log", "owners.txt"], "is no log of dbm-gmx"),  # which no option names
        ([*MAP, "-o", "x.xtc", "--log", "pipe.xtc"], "is a pipe or a device"),
        ([*MAP, "-o", "x.xtc", "--log", "folder"], "is a folder"),
        (["map", "init", *BACKMAP[1:5], "-o", "aa.xtc/x"], "cannot be made: Not a directory"),
        ([*MAP, "-o", "x.xtc", "-dt", "1e-310"], "no time between frames"),
        ([*MAP, "-o", "x.xtc", "-b", "nan"], "is not a time in ps"),
    ],
)
def test_outputs_that_are_inputs(files, capsys, arguments, said):
    before = {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()}
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 1
    assert said in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()} == before

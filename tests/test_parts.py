"""Parts of a run put together, how outputs were made, progress and logs."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import mixed
import numpy as np
import pytest
from MDAnalysis.lib.formats.libmdaxdr import TRRFile
from mixed import Mixture, Result, command, run_words

from dbm_gmx import progress as progress_module
from dbm_gmx.errors import InputError
from dbm_gmx.files.frame_times import count_taken
from dbm_gmx.files.join import part_path
from dbm_gmx.files.output import backup
from dbm_gmx.files.provenance import described
from dbm_gmx.files.system import block_of
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.logs import NOTICE
from dbm_gmx.progress import Progress, span, under_way

FRAMES = 7


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed.tiny_model(tmp_path_factory.mktemp("model") / "tiny.pt")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    return mixed.mixture(tmp_path_factory.mktemp("mixture"), n=FRAMES)


def run_into(folder: Path, files: Mixture, model: Path, *given: object, **options: object) -> Result:
    """Run the command on the mixture; must succeed."""
    output, *more = given
    named = {f"--{key}" if len(key) > 2 else f"-{key}": value for key, value in options.items()}
    choices = {**files.options, "--model": model, "-o": folder / str(output), "--allow": "all", **named}
    result = run_words("backmap", *mixed.words(choices), *more)
    assert result.code == 0, result.err
    return result


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    """The network works on each frame by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbm_gmx.backmapping.rebuilder.IN_HAND", 1)
        yield


@pytest.fixture
def backmap(model: Path, files: Mixture, tmp_path: Path):
    """Run the command into the folder of the test."""
    return partial(run_into, tmp_path, files, model)


def join(output: Path, *parts: Path) -> Result:
    return run_words("join", "-o", output, *parts)


# --- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("total", "count", "together"), [(7, 3, 1), (10, 10, 1), (100, 7, 8), (5, 1, 3)])
def test_every_frame_is_in_one_part(total: int, count: int, together: int) -> None:
    blocks = [block_of((k, count), total, together) for k in range(1, count + 1)]
    assert [k for first, last in blocks for k in range(first, last)] == list(range(total))
    assert all(first % together == 0 and first < last for first, last in blocks)
    sizes = [-(-(last - first) // together) for first, last in blocks]
    assert max(sizes) - min(sizes) <= 1


def test_more_parts_than_frames_are_refused() -> None:
    with pytest.raises(InputError, match=r"8 parts \(--part\) of 7 frames: 7 parts at most"):
        block_of((1, 8), 7)
    with pytest.raises(InputError, match="of which 5 belong together: 2 parts at most"):
        block_of((1, 3), 7, 5)


def test_names_of_parts_sort_in_their_order() -> None:
    names = [part_path(Path("x/aa.xtc"), (k, 10)).name for k in (1, 2, 10)]
    assert names == ["aa_part01.xtc", "aa_part02.xtc", "aa_part10.xtc"] == sorted(names)
    assert part_path(Path("aa.xtc"), None) == Path("aa.xtc")


@pytest.mark.parametrize("suffix", [".xtc", ".pdb"])
def test_parts_joined_are_the_bytes_of_one_run(backmap, tmp_path: Path, suffix: str) -> None:
    backmap(f"whole{suffix}", b=10)
    for k in (3, 1, 2):
        backmap(f"aa{suffix}", b=10, part=f"{k}/3")
    parts = [tmp_path / f"aa_part{k}{suffix}" for k in (1, 2, 3)]
    assert all(part.exists() for part in parts)
    joined = join(tmp_path / f"joined{suffix}", parts[1], parts[0], parts[2])
    assert joined.code == 0, joined.err
    assert "3 parts, 6 frames" in joined.out
    assert (tmp_path / f"joined{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    made = json.loads((tmp_path / f"joined{suffix}.json").read_text())
    assert made["command"] == "join of backmap"
    assert [part["output"]["name"] for part in made["summary"]["parts"]] == [part.name for part in parts]


def test_parts_of_the_network_are_those_it_works_on_together(
    backmap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbm_gmx.backmapping.rebuilder.IN_HAND", 2 * 156)
    backmap("whole.trr")
    for k in (1, 2):
        backmap("aa.trr", part=f"{k}/2")
    parts = [tmp_path / f"aa_part{k}.trr" for k in (1, 2)]
    assert [len(list(read_frames(part, n_atoms=156))) for part in parts] == [4, 3]
    assert join(tmp_path / "joined.trr", *parts).code == 0
    assert (tmp_path / "joined.trr").read_bytes() == (tmp_path / "whole.trr").read_bytes()


@pytest.fixture(scope="module")
def kept_parts(model: Path, files: Mixture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts of a run, which nobody changes."""
    folder = tmp_path_factory.mktemp("parts")
    for k in (1, 2):
        run_into(folder, files, model, "aa.xtc", part=f"{k}/2")
    return folder


@pytest.fixture
def parts(kept_parts: Path, tmp_path: Path) -> list[Path]:
    """A copy of them."""
    shutil.copytree(kept_parts, tmp_path, dirs_exist_ok=True)
    return [tmp_path / f"aa_part{k}.xtc" for k in (1, 2)]


def test_a_part_that_is_missing_or_there_twice(parts: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.xtc"
    copy.write_bytes(parts[0].read_bytes())
    (tmp_path / "copy.xtc.json").write_text((tmp_path / "aa_part1.xtc.json").read_text())
    for given, said in (
        (parts[1:], "parts 1 of 2 are missing"),
        ([*parts, copy], "part 1/2 is there twice"),
    ):
        result = join(tmp_path / "joined.xtc", *given)
        assert result.code == 1
        assert said in result.err
        assert not (tmp_path / "joined.xtc").exists()


def test_parts_of_other_runs_are_refused(parts: list[Path], backmap, files: Mixture, tmp_path: Path) -> None:
    first = parts[0]
    other = mixed.write_beads(tmp_path / "other.xtc", files.cg, files.frames[::-1])
    for name, said, more in (
        ("seed", "seed 5, not 1", {"seed": 5}),
        ("input", "other inputs", {"f": other}),
        ("count", "of 3 parts, not 2", {"part": "2/3"}),
        ("begin", "begin 10.0, not None", {"b": 10}),
    ):
        backmap(f"{name}.xtc", **{"part": "2/2", **more})
        result = join(tmp_path / "joined.xtc", first, tmp_path / f"{name}_part2.xtc")
        assert result.code == 1
        assert said in result.err
    assert not (tmp_path / "joined.xtc").exists()


def test_a_part_that_has_changed_or_is_of_unknown_origin(parts: list[Path], tmp_path: Path) -> None:
    data = bytearray(parts[1].read_bytes())
    data[-3] ^= 1
    parts[1].write_bytes(data)
    assert "is not as it was written" in join(tmp_path / "joined.xtc", *parts).err
    (tmp_path / "aa_part2.xtc.json").unlink()
    assert "of unknown origin" in join(tmp_path / "joined.xtc", *parts).err
    result = join(tmp_path / "joined.trr", *parts[:1])
    assert "into .xtc" in result.err


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("part", {"number": 3, "of": 2}, "there is no part 3 of 2"),
        ("part", {"number": 2, "of": 10**12}, "of 1000000000000 parts, not 2"),
        ("part", [1, 2], "is no part of a run"),
        ("broken", None, "does not say how aa_part2.xtc was made: broken is missing or damaged"),
        ("broken", [["bonds"]], "broken is missing or damaged"),
        ("inputs", [7], "inputs is missing or damaged"),
    ],
)
def test_a_description_that_is_damaged(
    parts: list[Path], tmp_path: Path, key: str, value: object, said: str
) -> None:
    path = tmp_path / "aa_part2.xtc.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    result = join(tmp_path / "joined.xtc", *parts[:2])
    assert result.code == 1
    assert said in result.err
    assert not (tmp_path / "joined.xtc").exists()


def test_parts_that_are_no_files(parts: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "aa_part2.xtc.json"
    path.unlink()
    os.mkfifo(path)
    assert "is a named pipe, not a file" in join(tmp_path / "joined.xtc", *parts[:2]).err
    parts[0].unlink()
    parts[0].symlink_to("/dev/zero")
    assert "is a device, not a file" in join(tmp_path / "joined.xtc", *parts[:2]).err


def test_a_part_is_not_relaxed_and_makes_no_memory(files: Mixture, model: Path, tmp_path: Path) -> None:
    options = {**files.inputs, "-t": 300, "-o": tmp_path / "aa.xtc", "--part": "1/2"}
    assert "join the parts" in command("backmap", {**options, "--relax": None}).err
    assert "in a run of its own" in command("backmap", {**options, "--memory": tmp_path / "m.npz"}).err
    assert mixed.listing(tmp_path) == []
    for text in ("0/2", "3/2", "1", "a/b", "1/0"):
        assert "is no part" in command("backmap", {**options, "--part": text}).err


def test_frames_of_a_part_have_the_numbers_of_the_run(
    files: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which frames are begun anew follows from their numbers in all of the run."""
    mixed.fake_sampler(monkeypatch)
    checked: list[float] = []
    monkeypatch.setattr("dbm_gmx.backmapping.independent.CHECKED", frozenset([0, 4]))
    monkeypatch.setattr("dbm_gmx.backmapping.independent.MOST", 0)
    monkeypatch.setattr(
        "dbm_gmx.backmapping.rebuilder.Rebuilder._twins",
        lambda _mapper, _sampler, one, _again: checked.append(one.beads.time) or (),
    )
    for k, expected in ((1, [0.0]), (2, [40.0])):
        checked.clear()
        options = {**files.inputs, "-t": 300, "-o": tmp_path / "aa.xtc", "--part": f"{k}/2"}
        assert command("backmap", options).code in (0, 2)
        assert checked == expected


# --- counting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".xtc", ".trr"])
@pytest.mark.parametrize("times", [{}, {"begin": 20}, {"end": 30.0}, {"begin": 5, "dt": 20}, {"begin": 99}])
def test_frames_are_counted_as_they_are_read(
    files: Mixture, tmp_path: Path, suffix: str, times: dict[str, float]
) -> None:
    path = mixed.write_beads(tmp_path / f"cg{suffix}", files.cg, files.frames)
    try:
        read = len(list(read_frames(path, n_atoms=files.cg.n_atoms, **times)))
    except InputError:
        read = 0
    assert count_taken(path, **times) == read
    assert count_taken(path, **times, whatever_it_takes=True) == read


def test_frames_without_positions_do_not_count(tmp_path: Path) -> None:
    x = np.ones((5, 3), np.float32)
    with TRRFile(str(tmp_path / "a.trr"), "w") as stream:
        for k in range(6):
            stream.write(x if k % 2 else None, x, None, np.eye(3), k, float(k), 0.0, 5)
    assert count_taken(tmp_path / "a.trr") == 3


def test_counting_ends_where_a_file_is_damaged_and_is_not_done_if_slow(
    files: Mixture, tmp_path: Path
) -> None:
    path = mixed.write_beads(tmp_path / "cg.gro", files.cg, files.frames)
    assert count_taken(path) is None
    assert count_taken(path, whatever_it_takes=True) == FRAMES
    (tmp_path / "bad.xtc").write_bytes(b"\0" * 200)
    assert count_taken(tmp_path / "bad.xtc") == 0


# --- how an output was made ------------------------------------------------------------------------


def test_beside_an_output_is_how_it_was_made(backmap, files: Mixture, model: Path, tmp_path: Path) -> None:
    backmap("aa.xtc", seed=3)
    made = json.loads((tmp_path / "aa.xtc.json").read_text())
    read = {Path(file["path"]).name: file for file in made["inputs"]}
    assert set(read) >= {*mixed.FILES.values(), "OCT.xml", "OCX.xml", "tiny.pt"}
    assert read["cg.xtc"]["size"] == (files.folder / "cg.xtc").stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", read["cg.xtc"]["sha256"])
    assert made["settings"]["seed"] == 3
    assert made["settings"]["refine"] == "gibbs"
    assert (made["settings"]["temperature"], made["settings"]["source"]) == (300.0, "assumed")
    assert {"dbm-gmx", "python", "numpy", "numba", "MDAnalysis", "torch"} <= set(made["versions"])
    assert made["summary"]["frames"] == FRAMES
    assert made["summary"]["contacts"]["most"] >= 0
    assert made["text"][0].startswith("frames         7")
    assert made["run"]["cpu_seconds"] > 0
    assert made["output"]["size"] == (tmp_path / "aa.xtc").stat().st_size


def test_each_sample_has_its_own_and_old_ones_go_with_their_output(backmap, tmp_path: Path) -> None:
    backmap("aa.xtc", samples=2, e=0)
    assert {"aa_1.xtc.json", "aa_2.xtc.json"} <= names(tmp_path)
    (tmp_path / "#aa_1.xtc.1#").write_text("an older one, without")
    before = (tmp_path / "aa_1.xtc.json").read_bytes()
    backmap("aa.xtc", samples=2, e=0, seed=2)
    assert (tmp_path / "#aa_1.xtc.json.2#").read_bytes() == before
    assert {"#aa_1.xtc.2#", "#aa_2.xtc.1#", "#aa_2.xtc.json.1#"} <= names(tmp_path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_backup_of_a_file_without_a_description(tmp_path: Path) -> None:
    (tmp_path / "a.xtc").write_text("1")
    assert backup(tmp_path / "a.xtc") == tmp_path / "#a.xtc.1#"
    (tmp_path / "a.xtc.json").write_text("{}")
    assert backup(tmp_path / "a.xtc") is None


def test_values_that_json_does_not_know() -> None:
    value = {("A", "b"): np.array([1.0, np.nan]), "x": float("inf"), "p": Path("a"), "n": np.int64(3)}
    assert described(value) == {"A b": [1.0, None], "x": None, "p": "a", "n": 3}
    json.dumps(described(value), allow_nan=False)


def test_mapping_says_how_too(files: Mixture, tmp_path: Path) -> None:
    folder = mixed.example()
    options = {"-f": folder / "aa.xtc", "-p": folder / "topol.top", "-m": folder / "mapping.xml"}
    result = command("map", {**options, "-o": tmp_path / "cg.xtc", "-b": 200})
    assert result.code == 0, result.err
    made = json.loads((tmp_path / "cg.xtc.json").read_text())
    assert made["command"] == "map"
    assert made["settings"]["begin"] == 200.0
    assert made["summary"]["frames"] == 9
    assert {"aa.xtc", "topol.top", "mapping.xml"} <= {Path(file["path"]).name for file in made["inputs"]}


# --- progress and log ------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_said_of_a_run_that_goes_on() -> None:
    clock = Clock()
    progress = Progress(100, clock=clock)
    with under_way("trials of annealing"):
        clock.now = 150.0
        assert progress.line().startswith("trials of annealing, 2 min, ")
    progress.known()  # of an earlier run
    for _ in range(11):
        clock.now += 6.0
        progress.update()
    assert progress.line().startswith("12 of 100 frames, 10 a minute, 8 min left, ")
    assert progress.line().endswith(" GB")
    fresh = Progress(None, clock=clock)
    fresh.expect(3)
    assert fresh.line().startswith("first frame, 0 s, ")
    assert Progress(None, clock=clock).line().startswith("set-up, 0 s, ")


def test_a_line_a_minute_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "TICK", 1e9)
    clock = Clock()
    said: list[tuple[int, str]] = []

    def note(level: int, text: str, *words: object) -> None:
        said.append((level, text % words))

    monkeypatch.setattr(progress_module.log, "log", note)
    with Progress(10, clock=clock) as progress:
        for k in range(0, 200, 20):
            clock.now = float(k)
            progress.update()
            progress.tick()
    assert [text.split(" GB")[0].split(",")[0] for _, text in said] == [
        "4 of 10 frames",
        "7 of 10 frames",
        "10 of 10 frames",
    ]
    assert {level for level, _ in said} == {NOTICE}


def test_nothing_is_said_of_a_quiet_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    with Progress(10, quiet=True) as progress:
        progress.update()
        assert threading.active_count() == before


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5 s"), (99, "99 s"), (100, "1 min"), (3600, "60 min"), (11100, "3 h 05 min"), (190000, "2 d 4 h")],
)
def test_times_in_words(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_the_log_keeps_all_that_was_said(backmap, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    out = backmap("aa.xtc", "-q", log=log)
    assert out.out == ""
    quiet = log.read_text()
    assert " INFO memory: " in quiet  # which only -v shows
    assert re.search(r"^dbm-gmx \d.*python 3", quiet, re.MULTILINE)
    said = backmap("aa.xtc", log=log)
    whole = log.read_text()
    assert whole.startswith(quiet)
    assert said.out.strip() in whole
    assert "\r" not in whole


def test_errors_are_in_the_log_and_a_bad_log_is_an_error(files: Mixture, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    options = {**files.inputs, "-s": tmp_path / "none.tpr", "-o": tmp_path / "aa.xtc"}
    result = command("backmap", {**options, "--log": log})
    assert result.code == 1
    assert result.err.strip() in log.read_text()
    result = command("backmap", {**options, "--log": tmp_path / "no" / "run.log"})
    assert result.code == 1
    assert "there is no folder" in result.err

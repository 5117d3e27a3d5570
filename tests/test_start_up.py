"""What is loaded for what: tensors for the network and the evaluation only, nothing heavy for the help."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import MDAnalysis as mda
import pytest
from oracle import example

from dbm_gmx.cli import COMMANDS, main
from dbm_gmx.errors import InputError
from dbm_gmx.logs import check_ours, speaking

PLAN = "plan -s cg.gro -cp cg.top -p topol.top -m mapping.xml"

HEAVY = ("torch", "numba", "MDAnalysis", "scipy", "numpy", "networkx", "parmed")


def loaded(code: str, *arguments: str) -> tuple[list[str], str]:
    """Heavy packages that a process has loaded in the end, and what it has said."""
    program = f"{code}\nprint('LOADED', *[name for name in {HEAVY} if name in sys.modules])"
    command = [sys.executable, "-c", f"import sys\n{program}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, _, names = done.stdout.rpartition("LOADED")
    return names.split(), said


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "from dbm_gmx.cli import main\n"
        "for words in (['--help'], ['--version'], *([one, '--help'] for one in sys.argv[1:])):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass"
    )
    names = [command.__name__.rpartition(".")[2] for command in COMMANDS]
    found, said = loaded(code, *names)
    assert found == []
    assert all(f"usage: dbm-gmx {name}" in said for name in names)


def test_streams_that_are_closed_are_not_taken_for_files() -> None:
    """``2>&-``: what is opened next would be stream 2, and what is said there would end up in it."""
    code = (
        "import os; from dbm_gmx import cli\n"
        "before = sys.stderr\n"
        "cli._stand_in()\n"
        "print(before is None, sys.stderr.fileno(), open(os.devnull).fileno() > 2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.close(2),
        check=True,
    )
    assert done.stdout == "True 2 True\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_terminal_that_takes_nothing_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dbm_gmx", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "dbm-gmx: error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("words", ["--version", "--completion bash", "--help", "map --help", PLAN])
def test_a_reader_that_has_seen_enough_ends_a_command_as_any_other(words: str, folder: Path) -> None:
    """``dbm-gmx ... | head -1``: ended by SIGPIPE, without a word."""
    if "completion" in words:
        pytest.importorskip("shtab")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "dbm_gmx", *words.split()],
        cwd=folder,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("2 TiB"), "not enough memory: 2 TiB"),
        (OSError(5, "broken"), "broken"),
        (
            RuntimeError("[x.cpp:1] y: can't allocate memory: you tried to allocate 8 bytes. Error"),
            "to allocate 8 bytes",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory: out of memory"),
    ],
)
def test_errors_of_the_machine_are_said(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> int:
        raise error

    monkeypatch.setattr("dbm_gmx.commands.models.run", fails)
    assert main(["models"]) == 1
    assert said in capsys.readouterr().err


def test_other_errors_are_not_taken_for_those_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> int:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("dbm_gmx.commands.models.run", fails)
    with pytest.raises(RuntimeError, match="a mistake"):
        main(["models"])


def test_names_of_any_bytes_are_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file name need not be UTF-8."""
    monkeypatch.setattr(sys, "argv", ["dbm-gmx", "map", os.fsdecode(b"\xff.xtc")])
    with speaking(quiet=False, verbose=False, log=tmp_path / "log"):
        logging.getLogger("dbm_gmx").warning("%s", os.fsdecode(b"\xfe.xtc"))
    said = (tmp_path / "log").read_text()
    assert "\\udcff.xtc" in said
    assert "\\udcfe.xtc" in said


def test_a_log_is_added_to(tmp_path: Path) -> None:
    """One of ours, or an empty file."""
    log = tmp_path / "log"
    log.touch()
    for _ in range(2):
        check_ours(log)
        with speaking(quiet=False, verbose=False, log=log):
            pass
    assert log.read_text().count(", python 3") == 2


def test_a_log_that_cannot_be_begun_is_said() -> None:
    with (
        pytest.raises(InputError, match="cannot be written: No space left"),
        speaking(quiet=False, verbose=False, log=Path("/dev/full")),
    ):
        pass


def test_a_log_on_a_full_disk_does_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    with speaking(quiet=False, verbose=False, log=log), Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr("dbm_gmx.logs._Log._add", lambda self, text: full.write(text.encode()))
        logging.getLogger("dbm_gmx").warning("one")
        print("two")
        print("three", file=sys.stderr)
    said = capsys.readouterr()
    assert said.err.count("log: is kept no further: No space left on device") == 1
    assert (said.out, "three" in said.err, "Traceback" in said.err) == ("two\n", True, False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two molecules."""
    for name in ("topol.top", "cg.top"):
        (tmp_path / name).write_text((example() / name).read_text().replace("OCT  80", "OCT  2"))
    for name in ("mapping.xml", "owners.txt"):
        (tmp_path / name).write_text((example() / name).read_text())
    beads = mda.Universe(str(example() / "cg.tpr"))
    beads.atoms[:8].write(str(tmp_path / "cg.gro"))
    return tmp_path


def test_a_check_a_default_run_and_forward_mapping_load_no_tensors(folder: Path) -> None:
    code = (
        "import os; os.chdir(sys.argv[1])\n"
        "from dbm_gmx.cli import main\n"
        "files = ['-p', 'topol.top', '-m', 'mapping.xml']\n"
        "beads = ['-s', 'cg.gro', '-cp', 'cg.top', '-t', '350', *files]\n"
        "assert main(['check', *beads]) == 0\n"
        "quick = ['--annealing', '0', '--windows', '0', '-q']\n"
        "assert main(['backmap', *beads, *quick, '-o', 'aa.gro']) in (0, 2)\n"
        "assert main(['map', '-s', 'aa.gro', *files, '-q', '-o', 'b.gro']) == 0\n"
        "from dbm_gmx import Backmapper, backmap, map_to_beads"
    )
    found, _ = loaded(code, str(folder))
    assert "numba" in found
    assert "torch" not in found
    assert (folder / "b.gro").is_file()

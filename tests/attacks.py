"""Odd inputs for the commands that are not fuzzed at length: by hand, as ``mutations.py``.

    python tests/attacks.py                  all, a quarter of an hour of one core
    python tests/attacks.py PATTERN          those whose "COMMAND: LABEL" matches

Files that are empty, cut off, of another kind, of another system, no files at all, or with numbers that are
none; names with quotes and line ends; outputs that are inputs, folders, links, devices; options out of range;
descriptions of parts that are damaged.  Each input is tried in a process of its own.  It may be refused with
a message and exit code 1, or be of use.  Faults are listed, and outcomes counted by command.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cut import cut, search_less

import dbm_gmx.backmapping.converged as converged
from dbm_gmx.cli import main as run_command
from dbm_gmx.files.share import share_path
from dbm_gmx.train.settings import RANGES

LONGEST = 60.0
"""s that an input may take, also on a busy machine."""

MOST = 8 * 2**30
"""Bytes of memory."""

NOBODY = 65534
"""User who may read little, where we are root."""

COMMANDS = {
    "map init": "map init -p topol.top -s cg.gro -cp cg.top -o new",
    "plan": "plan -s cg.gro -cp cg.top -f cg.trr -p topol.top -m mapping.xml --owners owners.txt",
    "view": "view aa.gro --cg cg.gro -p topol.top -o page.html",
    "evaluate": "evaluate -p topol.top -f aa.trr -r aa.gro --cg cg.gro cg.trr -cp cg.top -m mapping.xml "
    "--mdp md.mdp -o report --no-conformations --no-classifier --threads 1",
    "relax": "relax -p topol.top -f aa.gro -m mapping.xml --beads cg.gro --mdp md.mdp "
    "-o relaxed.gro --threads 1",
    "join": "join aa_part1.xtc aa_part2.xtc -o whole.xtc",
    "check --converged": "check -s cg.gro -cp cg.top -f cg.trr -p topol.top -m mapping.xml "
    "--owners owners.txt --mdp md.mdp --converged aa.trr --frames 1 --threads 1",
    "train": "train train.toml --from start.pt -q -o trained",
    "models": "models start.pt",
}
"""Honest ones."""

TRAINING = """output = "out"
[[system]]
topology = "topol.top"
trajectory = "aa.trr"
mapping = "mapping.xml"
owners = "owners.txt"
beads = "cg.trr"
mdp = "md.mdp"
temperature = 350
[critic]
width = 8
blocks = 1
[warm]
steps = 2
batch = 4
draws = 1
[adversarial]
steps = 1
batch = 2
critic_steps = 1
[run]
sweeps = 0
calibrate = false
[memory]
frames = 1
"""
"""The training file."""

SET = ("-1", "0", "1e14", "nan", "-0.5", "true", '"x"', "[]", '"../x"', '"\\u0000"')
"""Values of its keys."""

DESCRIPTION = "aa_part2.xtc.json"

MDP = """ref-t = 350
rvdw = 0.9
rcoulomb = 0.9
coulombtype = reaction-field
epsilon-rf = 0
constraints = none
"""

KINDS = (
    *("cg.gro", "aa.gro", "cg.trr", "aa.trr", "beads.xtc", "other.tpr", "cg.top", "topol.top", "sps.top"),
    *("mapping.xml", "sps.xml", "owners.txt", "md.mdp", "bad.mdp", "sps.npz", "picture.png"),
    *("aa_part1.xtc", "aa_part1.xtc.json"),
)
"""Files that are given where another one is wanted."""

NAMES = (
    *("quo'te\"", "new\nline", "$(touch pwned)", "ünïcödé \u202e", "-dash", "a b;c&d", "x" * 240, "\udcff"),
)
"""Of files, without suffix."""

OPTIONS = {
    "map init": "--choose OCT=0|--choose OCT=99|--choose OCT|--choose XXX=1|--smiles ''|--smiles {|"
    "--smiles {[#A]}.{#A=C}|--smiles 'X {[#A]}.{#A=C}'|-D ''|-I nowhere",
    "plan": "--alias OCT|--alias OCT=NO|--alias =OCT|--alias 'OCT=0 OCT'|--alias 'OCT=1000000000 OCT'|"
    "--only NO|--leave-out OCT|--tacticity odd|-b nan|-dt -1|--owners mapping.xml|-m|--only",
    "view": "--around 0|--around -1|--around 105|--around x|--within -1|--within nan|--within inf|--within 0|"
    "-p sps.top|extra.gro",
    "evaluate": "--labels a b|--labels ''|--labels reference|--labels <script>|--labels ../x|--cutoff nan|"
    "--cutoff 3.5|--cutoff 0|-t -1|-t nan|--limit contacts=nan|--limit x=1|--allow odd|--seed -1|-b 1e9|"
    "-dt 1e-310|-f aa.trr aa.trr|--only X|--leave-out OCT|--threads 0|--dask tcp://127.0.0.1:1|"
    "-f aa.trr beads.xtc",
    "relax": "--gmx /nonexistent|--gmx /bin/true|--gmx /bin/false|--gmx .|--timeout 0|--timeout nan|-j 0|"
    "--maxwarn -1|--em-mdp topol.top|--em-mdp nowhere.mdp|--nvt-mdp picture.png|-t nan|--spread 0|"
    "--spread x|--part 3/2|--part 1|-b 1e9|--cutoff nan|--limit beads=-1",
    "join": "aa_part1.xtc|md.mdp|beads.xtc|aa_part1.xtc.json",
    "check --converged": "--frames 0|--tolerance 0|--tolerance nan|--seed -1|--threads 0|-b 1e9|--cutoff nan|"
    "--spread -1|--tacticity odd|--only X",
    "train": "--seed -1|--max-time 0|--max-time nan|--threads 0|--restart|train.toml|aa_part1.xtc",
    "models": "sps|start.pt|nowhere|topol.top|aa_part1.xtc",
}
"""Added to the honest command."""

BOXES = ("0 0 0", "nan nan nan", "1e9 1e9 1e9", "-6 6 6", "6", "6 6 6 0 0 100 0 0 0", "x")
MOLECULES = ("OCT 0", "OCT -4", "OCT 4000000000", "OCT x", "OCT", "NO 4", "OCT 4\nOCT 4", "", "OCT 4.0")
VALUES = (None, [], {}, "x", 1e308, [[]], [None])
"""In place of what a description says."""


class NothingToDamageError(Exception):
    """The file has nothing that could be damaged so."""


@dataclass(frozen=True)
class Attack:
    """An input.

    Attributes
    ----------
    command, label
        What is attacked, and how.
    words
        Of the command line.
    prepare
        Damages the folder.
    nobody
        Tried as a user who may do little.
    """

    command: str
    label: str
    words: tuple[str, ...]
    prepare: Callable[[Path], object] | None = None
    nobody: bool = False


# --- damage ----------------------------------------------------------------------------------------


def edited(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a file."""
    before = path.read_bytes()
    if (after := change(before)) == before:
        raise NothingToDamageError
    path.write_bytes(after)


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of a file."""
    path.unlink()
    make(path)


def number(text: bytes) -> Callable[[bytes], bytes]:
    """Put something in the place of the first number with two digits behind its point."""

    def change(content: bytes) -> bytes:
        return re.sub(rb"(?<= )-?\d\.\d{2,}", lambda m: text.rjust(len(m[0]), text[:1]), content, count=1)

    return change


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: edited(path, lambda b: b[: len(b) // 2]),
    "few bytes": lambda path: edited(path, lambda b: b[:100]),
    "end missing": lambda path: edited(path, lambda b: b[:-20]),
    "random": lambda path: path.write_bytes(random.Random(1).randbytes(3000)),
    "text": lambda path: path.write_text("hello, this is no such file\n" * 3),
    "folder": lambda path: instead(path, Path.mkdir),
    "missing": Path.unlink,
    "pipe": lambda path: instead(path, os.mkfifo),
    "dangling": lambda path: instead(path, lambda p: p.symlink_to("nowhere")),
    "link to itself": lambda path: instead(path, lambda p: p.symlink_to(p.name)),
    "device": lambda path: instead(path, lambda p: p.symlink_to("/dev/zero")),
    "unreadable": lambda path: path.chmod(0),
    "ends of DOS": lambda path: edited(path, lambda b: b.replace(b"\n", b"\r\n")),
    "zeros": lambda path: edited(path, lambda b: b[: len(b) // 3] + bytes(50) + b[len(b) // 3 :]),
    "rubbish behind": lambda path: edited(path, lambda b: b + b"\nrubbish \xff\xfe\n"),
    "twice": lambda path: edited(path, lambda b: b * 2),
    "nan": lambda path: edited(path, number(b" nan")),
    "huge": lambda path: edited(path, number(b"9")),
    "other name": lambda path: edited(path, lambda b: b.replace(b"OCT", "Ö\u202e".encode()[:3], 2)),
}


def fewer(folder: Path, name: str, lost: int) -> None:
    """Take the first of the atoms out of a .gro; all of them if it has not so many."""
    head, count, *lines = (folder / name).read_text().split("\n")
    (folder / name).write_text("\n".join([head, str(int(count) - lost), *lines[lost:]]))


def boxed(folder: Path, name: str, box: str) -> None:
    """Put another box into a .gro."""
    lines = (folder / name).read_text().rstrip("\n").split("\n")
    (folder / name).write_text("\n".join([*lines[:-1], box, ""]))


def counted(folder: Path, name: str, said: str) -> None:
    """Put something else under [ molecules ]."""
    text = (folder / name).read_text()
    (folder / name).write_text(re.sub(r"^OCT\s+4\s*$", said, text, flags=re.MULTILINE))


def described(folder: Path, key: str, value: object) -> None:
    """Change what is said of a part; without a value (...) leave it out."""
    path = folder / DESCRIPTION
    whole = json.loads(path.read_text())
    whole.pop(key)
    path.write_text(json.dumps(whole if value is ... else {**whole, key: value}))


# --- attacks ---------------------------------------------------------------------------------------


def attacks(base: Path) -> Iterator[Attack]:
    """Yield all of them."""
    yield from on_training()
    for command, text in COMMANDS.items():
        words = text.split()
        yield Attack(command, "honest", tuple(words))
        files = [k for k, word in enumerate(words) if (base / word).is_file()]
        yield from on_inputs(command, words, files)
        if "-o" in words:
            yield from on_output(command, words, files)
        for more in filter(None, OPTIONS[command].split("|")):
            yield Attack(command, f"option {more}", (*words, *shlex.split(more)))
        if command not in ("join", "train", "models"):
            yield from on_numbers(command, words)
    yield from on_descriptions(tuple(COMMANDS["join"].split()))


def on_training() -> Iterator[Attack]:
    """Damage to the files that a training file names, and values of its keys that cannot be meant."""
    words = tuple(COMMANDS["train"].split())
    for name in ("topol.top", "aa.trr", "mapping.xml", "owners.txt", "cg.trr", "md.mdp"):
        for label, damage in DAMAGES.items():
            done = partial(lambda folder, n, d: d(folder / n), n=name, d=damage)
            yield Attack("train", f"{label} {name}", words, done, label == "unreadable")
        for kind in KINDS:
            done = partial(lambda folder, n, k: shutil.copy(folder / k, folder / n), n=name, k=kind)
            if kind != name:
                yield Attack("train", f"{kind} as {name}", words, done)
    for key in (*RANGES, "name", "output", "memory.name", "prior.kind", "run.device", "run.precision"):
        for value in SET:
            yield Attack("train", f"{key} = {value}", words, partial(put, key=key, value=value))


def put(folder: Path, key: str, value: str) -> None:
    """Give a key of the training file another value."""
    section, _, name = key.rpartition(".")
    head = f"[[{section}]]" if section == "system" else f"[{section}]"
    path = folder / "train.toml"
    lines = path.read_text().splitlines()
    if not section:
        lines = [f"{name} = {value}", *(line for line in lines if not line.startswith(f"{name} "))]
    elif head not in lines:
        lines += [head, f"{name} = {value}"]
    else:
        start = lines.index(head) + 1
        end = next((k for k in range(start, len(lines)) if lines[k].startswith("[")), len(lines))
        kept = [line for line in lines[start:end] if not line.startswith(f"{name} ")]
        lines[start:end] = [f"{name} = {value}", *kept]
    path.write_text("\n".join(lines) + "\n")


def on_inputs(command: str, words: list[str], files: list[int]) -> Iterator[Attack]:
    """Damaged files, files of other kinds, odd names."""
    for k in files:
        name, option = words[k], words[k - 1]
        for label, damage in DAMAGES.items():
            done = partial(lambda folder, n, d: d(folder / n), n=name, d=damage)
            yield Attack(command, f"{label} {option} {name}", tuple(words), done, label == "unreadable")
        for kind in KINDS:
            if kind != name:
                given = (*words[:k], kind, *words[k + 1 :])
                yield Attack(command, f"{kind} for {option} {name}", given)
        for odd in NAMES:
            new = odd + Path(name).suffix
            done = partial(lambda folder, n, m: shutil.copy(folder / n, folder / m), n=name, m=new)
            yield Attack(command, f"{option} {new!r}", (*words[:k], f"./{new}", *words[k + 1 :]), done)


def on_output(command: str, words: list[str], files: list[int]) -> Iterator[Attack]:
    """Outputs that cannot be written, or should not."""
    k = words.index("-o") + 1
    end = Path(words[k]).suffix

    def to(
        label: str, name: str, make: Callable[[Path], object] | None = None, nobody: bool = False
    ) -> Attack:
        return Attack(command, f"-o {label}", (*words[:k], name, *words[k + 1 :]), make, nobody)

    for other in files:
        yield to(f"is {words[other]}", words[other])
    for name in ("", ".", "/", "/dev/null", "/dev/full", f"no/such/x{end}", f"md.mdp/x{end}", "x.pdf", "x"):
        if not (command in ("map init", "train") and name == "/"):  # which root may write to
            yield to(repr(name), name)
    for odd in NAMES:
        yield to(repr(odd), f"./{odd}{end}")
    yield to("folder", f"d{end}", lambda folder: (folder / f"d{end}").mkdir())
    yield to("pipe", f"d{end}", lambda folder: os.mkfifo(folder / f"d{end}"))
    yield to("dangling", f"d{end}", lambda folder: (folder / f"d{end}").symlink_to("nowhere/x"))
    yield to("link to itself", f"d{end}", lambda folder: (folder / f"d{end}").symlink_to(f"d{end}"))
    yield to("in a read-only folder", f"r/x{end}", lambda folder: (folder / "r").mkdir(0o555), True)


def on_numbers(command: str, words: list[str]) -> Iterator[Attack]:
    """Other numbers of atoms, beads and molecules; other boxes."""
    for name, every in (("aa.gro", (1, 4, 26, 104)), ("cg.gro", (1, 3, 4, 16))):
        for lost in every:
            done = partial(fewer, name=name, lost=lost)
            yield Attack(command, f"{lost} fewer in {name}", tuple(words), done)
        for box in BOXES:
            yield Attack(command, f"box {box!r} in {name}", tuple(words), partial(boxed, name=name, box=box))
    for name in ("topol.top", "cg.top"):
        for said in MOLECULES:
            done = partial(counted, name=name, said=said)
            yield Attack(command, f"{said!r} in {name}", tuple(words), done)


def on_descriptions(words: tuple[str, ...]) -> Iterator[Attack]:
    """Damaged descriptions of a part, and parts that do not go together."""
    for given in ("aa_part1.xtc", "aa_part1.xtc aa_part1.xtc", "aa_part2.xtc aa_part1.xtc"):
        yield Attack("join", given, ("join", *given.split(), *words[-2:]))
    for label, damage in DAMAGES.items():
        done = partial(lambda folder, d: d(folder / DESCRIPTION), d=damage)
        yield Attack("join", f"{label} description", words, done, label == "unreadable")
    for key in ("output", "part", "command", "command_line", "versions", "inputs", "settings", "findings"):
        for value in (..., *VALUES):
            yield Attack("join", f"{key} is {value}", words, partial(described, key=key, value=value))
    for key in ("summary", "text", "broken", "run", "folder", "format"):
        for value in (..., *VALUES):
            yield Attack("join", f"{key} is {value}", words, partial(described, key=key, value=value))


# --- trials ----------------------------------------------------------------------------------------


def honest(folder: Path) -> None:
    """Make the files of a few molecules of octane, and what else is given in their place."""
    octane, sps = share_path("examples", "octane"), share_path("reference", "sps")
    cut(octane, folder, "OCT", 4, frames=2)
    (folder / "md.mdp").write_text(MDP)
    (folder / "bad.mdp").write_text("rvdw = nan\n")
    for path, name in (
        (octane / "cg.tpr", "other.tpr"),
        (sps / "topol.top", "sps.top"),
        (sps / "mapping.xml", "sps.xml"),
        (share_path("memories") / "sps.npz", "sps.npz"),
        (share_path("figures") / "evaluate.png", "picture.png"),
    ):
        shutil.copy(path, folder / name)
    inputs = COMMANDS["plan"].removeprefix("plan ")
    for part in ("1/2", "2/2"):
        grow = "--mdp md.mdp --refine none --start growth -o aa.xtc --allow all --threads 1"
        quietly(f"backmap {inputs} {grow} --part {part}")
    quietly("map -p topol.top -f aa.trr -m mapping.xml -o beads.xtc")
    (folder / "train.toml").write_text(TRAINING + "[network]\nwidth = 8\nblocks = 1\nnoise = 4\n")
    quietly("train train.toml -q")
    (folder / "out" / "model.pt").rename(folder / "start.pt")
    shutil.rmtree(folder / "out")
    (folder / "train.toml").write_text(TRAINING)


def quietly(words: str) -> None:
    """Run a command that must succeed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        assert run_command(words.split()) == 0, said.getvalue()


def child(attack: Attack, folder: Path, said: Path) -> None:
    """Do it, in a process of its own, and end."""
    os.setsid()
    stream = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
    for number_ in (1, 2):
        os.dup2(stream, number_)
    sys.stdout = os.fdopen(1, "w", errors="backslashreplace")
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace")
    if attack.nobody and os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
    try:
        code = run_command(list(attack.words))
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Kinds and bytes of all that is in a folder."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(path.relative_to(folder))] = stat.S_IFMT(mode), content
    return found


def tried(attack: Attack, base: Path, folder: Path) -> tuple[int | None, list[str], str]:
    """Exit code, what is wrong, and what was said."""
    shutil.copytree(base, folder)
    folder.chmod(0o777)
    if attack.prepare is not None:
        attack.prepare(folder)
    before, said = snapshot(folder), folder.with_name("said")
    said.unlink(missing_ok=True)
    if not (process := os.fork()):
        child(attack, folder, said)
    begin, ended, status = time.monotonic(), 0, 0
    while not ended and time.monotonic() - begin < LONGEST:
        ended, status = os.waitpid(process, os.WNOHANG)
        time.sleep(0.01)
    if not ended:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status) if ended else None
    return (
        code,
        list(faults(code, said.read_text(errors="replace"), before, snapshot(folder))),
        said.read_text(),
    )


def faults(
    code: int | None, said: str, before: dict[str, tuple[int, bytes]], after: dict[str, tuple[int, bytes]]
) -> Iterator[str]:
    """Yield what is wrong with an outcome."""
    if code is None:
        yield f"no end within {LONGEST:g} s"
    elif code not in (0, 1, 2):
        yield f"exit code {code}"
    if "Traceback" in said:
        yield "traceback"
    if code == 1 and "error:" not in said:
        yield "no message"
    if "pwned" in after:
        yield "a name was run"
    for name, what in before.items():
        kept = {after.get(name), *(what_ for name_, what_ in after.items() if name_.startswith("#"))}
        if what not in kept and not stat.S_ISDIR(what[0]):
            yield f"{name} is not as it was"
    # what the same command goes on with is kept, and said
    new = [name for name in after if name not in before and not re.search(r"\.part\.|\.work", name)]
    lost = "no number" in said  # of a training that was under way: what there was before is kept
    if code == 1 and new and not lost:
        yield f"left: {', '.join(new[:5])}"


OUTCOMES = {0: "of use", 2: "rule broken", 1: "refused"}


def main(pattern: str = "") -> int:
    """Try them, list the faults, count."""
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        search_less(patch)
        patch.setattr(converged, "prepare", lambda sampler, _: (sampler, None))
        top = Path(made)
        top.chmod(0o755)
        base, folder = top / "base", top / "folder"
        base.mkdir()
        os.chdir(base)
        honest(base)
        shutil.copytree(base, folder)
        os.chdir(folder)
        for command in COMMANDS.values():  # compiles, and loads what all processes need
            quietly(command)
        os.chdir(base)
        shutil.rmtree(folder)
        for attack in attacks(base):
            if not re.search(pattern, f"{attack.command}: {attack.label}"):
                continue
            try:
                code, wrong, said = tried(attack, base, folder)
            except NothingToDamageError:
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            counts[attack.command, "faults" if wrong else OUTCOMES[code or 0]] += 1
            if wrong:
                print(f"{attack.command}: {attack.label}: {'; '.join(wrong)}\n    {said[-300:]}", flush=True)
        os.chdir("/")
    names = (*OUTCOMES.values(), "faults")
    for command in COMMANDS:
        print(f"{command:20}", *(f"{counts[command, name]:5} {name}" for name in names))
    total = sum(counts[command, "faults"] for command in COMMANDS)
    print(f"{sum(counts.values())} inputs, {total} faults")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Damaged inputs of every format: an error or a result, never a crash, a hang or gigabytes.

Short and always the same here; ``pytest tests/test_fuzz.py --hypothesis-profile long`` tries other inputs, a
thousand of each format (``DBM_GMX_FUZZ`` sets another number).  Each input is an honest file with one to
three mutations, as flipped bits, lines that are missing or there twice, and numbers no file should have.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbm_gmx.chemistry.frame import check_frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.options import MoleculeFiles

LONGEST = 20.0
"""Seconds of CPU time that an input may take."""

PATIENCE = 100.0
"""Seconds that an answer is waited for, on a machine that has other work."""

COMPILING = 300.0
"""Seconds that the first use of a command may take."""

COPIES, FRAMES = 2, 2
"""Molecules and frames of the small system: growing them is what takes longest."""

# --- the worker ------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process that does jobs; begun anew where it died or did not answer."""

    folder: Path
    process: Any = None
    seen: Counter[str] = field(default_factory=Counter)

    def do(self, job: dict[str, Any], seconds: float = PATIENCE) -> dict[str, Any]:
        """Do a job; ``died`` says how where there is no answer."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("fuzz_worker.py"), self.folder / "said"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            self._answer({"arguments": ["--version"], "folder": str(self.folder)}, COMPILING)
        return self._answer(job, seconds)

    def _answer(self, job: dict[str, Any], seconds: float) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return dict(json.loads(line))
        died = f"signal {-self.process.wait()}" if ready else f"no answer in {seconds:g} s"
        self.close()
        return {"died": died}

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="module")
def worker(tmp_path_factory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"))
    yield made
    made.close()


# --- honest inputs ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(tmp_path_factory, worker) -> Path:
    """Files of a few molecules of octane that nothing is wrong with."""
    folder, example = tmp_path_factory.mktemp("honest"), share_path("examples", "octane")
    for name in ("mapping.xml", "owners.txt", "nvt.mdp"):
        shutil.copy(example / name, folder)
    for name in ("topol.top", "cg.top"):
        text = (example / name).read_text()
        (folder / name).write_text(re.sub(r"^OCT\s+\d+\s*$", f"OCT {COPIES}", text, flags=re.MULTILINE))
    (folder / "all").mkdir()
    for path in example.iterdir():
        shutil.copy(path, folder / "all")
    for kind in ("aa", "cg"):
        top = "topol.top" if kind == "aa" else "cg.top"
        few = read_topology(folder / top)
        n_all = read_topology(example / top).n_atoms
        frames = list(read_frames(example / f"{kind}.xtc", n_atoms=n_all))[:FRAMES]
        frames = [replace(f, positions=f.positions[: few.n_atoms]) for f in frames]
        for suffix in ("xtc", "trr", "gro", "pdb"):
            with open_writer(folder / f"{kind}.{suffix}", few) as writer:
                for frame in frames:
                    writer.write(frame)
    _write_others(folder)
    for part in range(FRAMES):
        grow = [*GROW, "-f", "cg.xtc", "--part", f"{part + 1}/{FRAMES}"]
        assert worker.do({"arguments": grow, "folder": str(folder)}, COMPILING)["code"] == 0
    return folder


def _write_others(folder: Path) -> None:
    """Files of formats that the example has none of."""
    owners = read_owners_of(folder)
    lines = ["[map]", *(f"{atom} C4 {bead} A" for atom, bead in owners), "[/map]"]
    lines += ["[align]", "1 2", "2 3", "3 4", "4 3", "[/align]", "[mult]", "1 1", "[/mult]"]
    (folder / "OCT.map").write_text("\n".join(lines) + "\n")
    (folder / "channels.toml").write_text(
        '[atoms]\nC = ["C*"]\nH = ["H*"]\n[bonded]\nbond = ["bond"]\nangle = ["angle"]\n'
        '[lennard_jones]\nall = ["*"]\n[beads]\nA = ["A"]\n[current]\nbead = ["*"]\n[classes]\nopls = "C4"\n'
    )
    (folder / "train.toml").write_text(
        'output = "out"\nseed = 3\n[[system]]\ntopology = "topol.top"\ntrajectory = "aa.xtc"\n'
        'mapping = "mapping.xml"\nowners = "owners.txt"\ntemperature = 350.0\nheld_out = 1\n'
        "[network]\nwidth = 8\n[warm]\nsteps = 5\nbatch = 4\nrate = 1e-3\n[adversarial]\nsteps = 2\n"
    )
    _write_mappings_of_residues(folder, owners)
    shutil.copy(share_path("memories") / "sps.npz", folder / "memory.npz")
    shutil.copy(share_path("models") / "transferred.pt", folder / "model.pt")


def _write_mappings_of_residues(folder: Path, owners: list[tuple[int, int]]) -> None:
    """The same mapping as three other programs write it."""
    names = list(map(str, read_topology(folder / "topol.top").molecule_types["OCT"].attribute("name")))
    beads = {bead: [names[atom - 1] for atom, of in owners if of == bead] for _, bead in owners}
    rows = [(atom, names[atom - 1], f"A{bead}") for atom, bead in owners]
    (folder / "backward.map").write_text(
        "[ molecule ]\nOCT\n[ martini ]\nA1 A2 A3 A4\n[ mapping ]\noplsaa\n[ atoms ]\n"
        + "".join(f"{atom} {name} {bead}\n" for atom, name, bead in rows)
        + "[ chiral ]\nC2 C1 C3 H21 H22\n[ out ]\nC3 C2 C4\n"
    )
    (folder / "vermouth.mapping").write_text(
        "[ molecule ]\nOCT\n[ from ]\noplsaa\n[ to ]\nmartini\n[ from blocks ]\nOCT\n[ to blocks ]\nOCT\n"
        + "[ mapping ]\n"
        + "".join(f"{name} {bead} 1\n" for _, name, bead in rows)
    )
    (folder / "pycgtool.map").write_text(
        "[OCT]\n" + "".join(f"A{bead} A {' '.join(atoms)}\n" for bead, atoms in beads.items())
    )


def read_owners_of(folder: Path) -> list[tuple[int, int]]:
    """Atoms and their beads, from 1."""
    owners = []
    lines = [line.partition(";")[0] for line in (folder / "owners.txt").read_text().splitlines()]
    beads = [line.partition(":")[2].split() for line in lines if ":" in line]
    for bead, atoms in enumerate(beads, 1):
        owners += [(int(atom), bead) for atom in atoms]
    return sorted(owners)


CHECK = ["check", "-s", "cg.gro", "-cp", "cg.top", "-p", "topol.top", "-m", "mapping.xml"]
MAP = ["map", "-p", "topol.top", "-m", "mapping.xml", "-o", "out.xtc"]
GROW = ["backmap", *CHECK[1:], "-o", "out.xtc", "--refine", "none", "--start", "growth", "--no-check"]


EVALUATE = ["evaluate", "-p", "topol.top", "-f", "aa.trr", "-o", "report", "--no-conformations"]
JOIN = ["join", "out_part1.xtc", "out_part2.xtc", "-o", "out.xtc"]


def from_tpr(folder: str) -> list[str]:
    return ["check", "-s", "all/cg.tpr", "-p", f"{folder}/topol.top", "-m", f"{folder}/mapping.xml"]


JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "top": ("topol.top", {"arguments": CHECK}),
    "top, map": ("topol.top", {"arguments": [*MAP, "-f", "aa.xtc"]}),
    "cg top": ("cg.top", {"arguments": CHECK}),
    "gro": ("cg.gro", {"arguments": [*CHECK, "-f", "cg.gro"]}),
    "gro, grown": ("cg.gro", {"arguments": GROW}),
    "pdb": ("cg.pdb", {"arguments": [*CHECK, "-f", "cg.pdb"]}),
    "xtc": ("aa.xtc", {"arguments": [*MAP, "-f", "aa.xtc"]}),
    "xtc, check": ("cg.xtc", {"arguments": [*CHECK, "-f", "cg.xtc"]}),
    "xtc, grown": ("cg.xtc", {"arguments": [*GROW, "-f", "cg.xtc"]}),
    "trr": ("aa.trr", {"arguments": [*MAP, "-f", "aa.trr"]}),
    "tpr": ("all/cg.tpr", {"arguments": from_tpr("all")}),
    "mdp": ("nvt.mdp", {"arguments": [*CHECK, "--mdp", "nvt.mdp"]}),
    "xml": ("mapping.xml", {"arguments": CHECK}),
    "owners": ("owners.txt", {"arguments": [*CHECK, "--owners", "owners.txt"]}),
    "map": ("OCT.map", {"arguments": [*CHECK, "OCT.map"]}),
    "backward": ("backward.map", {"arguments": [*CHECK[:-1], "backward.map"]}),
    "vermouth": ("vermouth.mapping", {"arguments": [*CHECK[:-1], "vermouth.mapping"]}),
    "pycgtool": ("pycgtool.map", {"arguments": [*CHECK[:-1], "pycgtool.map"]}),
    "reference": ("aa.gro", {"arguments": [*CHECK, "-r", "aa.gro"]}),
    "top, init": ("topol.top", {"arguments": ["map", "init", *CHECK[1:7], "-o", "new"]}),
    "gro, view": ("aa.gro", {"arguments": ["view", "aa.gro", "--cg", "cg.gro", "-p", "topol.top"]}),
    "trr, evaluate": ("aa.trr", {"arguments": EVALUATE}),
    "json, join": ("out_part2.xtc.json", {"arguments": JOIN}),
    "channels": ("channels.toml", {"read": ["channels", "channels.toml"]}),
    "settings": ("train.toml", {"read": ["settings", "train.toml"]}),
    "memory": ("memory.npz", {"read": ["memory", "memory.npz"]}),
    "model": ("model.pt", {"read": ["model", "model.pt"]}),
}
"""By format: the file that is damaged, and what is done with it."""

BINARY = {".xtc", ".trr", ".tpr", ".npz", ".pt"}

# --- damage ----------------------------------------------------------------------------------------

NUMBERS = [
    *("nan", "inf", "-inf", "-1", "0", "1e308", "1e-310", "-1e30", "1e400", "99999999999", "-2147483649"),
    *("2147483647", "1e15", "0x10", "1_0", "1d5", "\u0661", "9" * 5000, "1e5", "30000.0", "-0.1", "1e-5"),
]
WORDS = [
    "",
    "CT CT CT",
    "[",
    "]",
    "#",
    ";",
    "\\",
    ":",
    "%s%n",
    "../../x",
    "\x1b[31m",
    "\0",
    "\ufeff",
    "é",
    "'",
]
LINES = [
    '#include "topol.top"',
    "#define CT CT CT",
    "#define opls_135 opls_135 opls_135",
    "#ifdef X",
    "#endif",
    "#else",
    "[ molecules ]",
    "OCT 2000000000",
    "[ atoms ]",
    "[ defaults ]\n1 2 yes nan inf",
    "[ bonds ]\n1 2 1 -0.1 1000",
    "[ dihedrals ]\n1 2 3 4 9 nan 1 3",
    "x = [" + "[" * 3000,
    "<a>" * 3000,
    "ref-t = nan",
    "rvdw = 1e9",
    "tcoupl",
    "C1 A1 inf",
    "\x1b]0;title\x07",
]

Damage = tuple[int, int, int]


def damaged_text(text: str, damage: Damage) -> str:
    """Do one thing to a text."""
    kind, place, choice = damage
    lines = text.split("\n")
    row = place % len(lines)
    spans = [match.span() for match in re.finditer(r"[^\s\"<>=:,\[\]]+", text)] or [(0, 0)]
    numbers = [s for s in spans if re.match(r"[-+.\d]", text[s[0] : s[1]])] or spans
    if kind == 0:  # a number
        first, last = numbers[place % len(numbers)]
        return text[:first] + NUMBERS[choice % len(NUMBERS)] + text[last:]
    if kind == 1:  # a word
        first, last = spans[place % len(spans)]
        other = spans[choice % len(spans)]
        word = WORDS[choice % len(WORDS)] if choice % 2 else text[other[0] : other[1]]
        return text[:first] + word + text[last:]
    if kind == 2:
        return "\n".join(lines[:row] + lines[row + 1 :])
    if kind == 3:
        return "\n".join(lines[:row] + [lines[choice % len(lines)]] * (1 + choice % 3) + lines[row:])
    if kind == 4:
        return "\n".join([*lines[:row], LINES[choice % len(LINES)], *lines[row:]])
    if kind == 5:
        return text[: place % (len(text) + 1)]
    if kind == 6:  # a bit
        at = place % max(1, len(text))
        return text[:at] + chr(ord((text + " ")[at]) ^ (1 << choice % 8)) + text[at + 1 :]
    return text[: place % (len(text) + 1)] + text[choice % (len(text) + 1) :]


def damaged_bytes(content: bytes, damage: Damage) -> bytes:
    """Do one thing to a binary file; the beginning is where the sizes are."""
    kind, place, choice = damage
    n = min(len(content), 400) if place % 2 else len(content)
    at = (place // 2) % max(1, n)
    if kind <= 3:
        return content[:at] + bytes([content[at] ^ (1 << choice % 8)]) + content[at + 1 :] if content else b""
    if kind == 4:
        number = [0, -1, 1, 2**31 - 1, -(2**31), 9, 10, 2**24, 65536][choice % 9]
        at -= at % 4
        return content[:at] + number.to_bytes(4, "big", signed=True) + content[at + 4 :]
    if kind == 5:
        return content[:at]
    if kind == 6:
        return content[:at] + content[at + 1 + choice % 64 :]
    return content[:at] + content[choice % (len(content) + 1) :][:200] + content[at:]


def damage_file(path: Path, damages: list[Damage]) -> None:
    """Damage a file in place."""
    if path.suffix in BINARY:
        content = path.read_bytes()
        for damage in damages:
            content = damaged_bytes(content, damage)
        path.write_bytes(content)
        return
    text = path.read_text()
    for damage in damages:
        text = damaged_text(text, damage)
    path.write_bytes(text.encode("utf-8", "replace"))


BIG = st.integers(0, 2**31)
DAMAGES = st.lists(st.tuples(st.integers(0, 7), BIG, BIG), min_size=1, max_size=3)

# --- what must hold --------------------------------------------------------------------------------

RUNS = count()


def tried(
    worker: Worker, honest: Path, name: str, damages: list[Damage], seconds: float = PATIENCE
) -> tuple[Path, dict[str, Any]]:
    """Run a job on a damaged copy of the honest files."""
    file, job = JOBS[name]
    folder = worker.folder / f"run_{next(RUNS)}"
    folder.mkdir()
    for path in honest.iterdir():
        (folder / path.name).symlink_to(path)
    if "/" in file:  # a file of a folder gets a folder of its own
        (folder / "all").unlink()
        shutil.copytree(honest / "all", folder / "all")
    else:
        (folder / file).unlink()
        shutil.copy(honest / file, folder / file)
    damage_file(folder / file, damages)
    return folder, worker.do({**job, "folder": str(folder)}, seconds)


def judge(folder: Path, honest: Path, found: dict[str, Any]) -> None:
    """Fail where an input does more than be refused or be of use."""
    assert "died" not in found, found
    assert not found["traceback"], found["traceback"]
    assert found["seconds"] < LONGEST, found
    assert found["code"] in (0, 1, 2), found
    assert not re.search(r"[\0-\x08\x0b-\x1f\x7f]", found["output"].replace("\r", "")), found["output"]
    if found["code"] == 1:
        assert "error:" in found["output"], found
    left = {path.name for path in folder.iterdir()} - {path.name for path in honest.iterdir()}
    assert not [name for name in left if name.startswith(".")], left
    judge_output(folder / "out.xtc", honest, found["code"])


def judge_output(output: Path, honest: Path, code: int) -> None:
    """Fail where frames are written that cannot be read, or break a rule with exit code 0."""
    if not output.exists():
        return
    first = read_first_number(output)
    atoms = read_topology(honest / "topol.top")
    frames = list(read_frames(output, n_atoms=first))
    for frame in frames:
        check_frame(frame, output)
    if code == 0 and first == atoms.n_atoms:
        bonds = atoms.molecule_types["OCT"].bonds
        for frame in frames:
            places = frame.positions.reshape(-1, 26, 3)
            apart = minimum_image(places[:, bonds[:, 0]] - places[:, bonds[:, 1]], frame.box)
            assert np.linalg.norm(apart, axis=-1).max() < 0.25


def read_first_number(path: Path) -> int:
    """Atoms of an .xtc."""
    return int.from_bytes(path.read_bytes()[4:8], "big")


@pytest.mark.parametrize("name", list(JOBS))
def test_a_damaged_input_is_refused_or_of_use(worker, honest, name):
    """The honest one is of use."""
    codes: Counter[int] = Counter()
    folder, found = tried(worker, honest, name, [], COMPILING)
    judge(folder, honest, {**found, "seconds": 0.0})
    assert found["code"] == 0, found
    shutil.rmtree(folder)

    @given(DAMAGES)
    def one(damages: list[Damage]) -> None:
        folder, found = tried(worker, honest, name, damages)
        judge(folder, honest, found)
        codes[found["code"]] += 1
        shutil.rmtree(folder)

    one()
    print(f"{name}: {sum(codes.values())} inputs, exit codes {dict(sorted(codes.items()))}")


def test_honest_files_are_read(honest):
    system, _ = read_system(
        honest / "cg.gro",
        MoleculeFiles(honest / "topol.top", [honest / "mapping.xml"]),
        cg_topology=honest / "cg.top",
    )
    assert system.n_atoms == 26 * COPIES

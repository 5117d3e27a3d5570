"""A small system of two molecule types in files, made of the octane example, and the command on it."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from oracle import example, untrained

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import make_whole
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.cli import main
from dbm_gmx.errors import InputError
from dbm_gmx.files.share import share_path
from dbm_gmx.files.structure import read_cg_system
from dbm_gmx.files.system import read_system
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.network.model import save_model
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.chain import Convergence
from dbm_gmx.sampling.sampler import Effort

MOLECULES = (("OCT", 2), ("OCX", 3), ("OCT", 1))
BEADS, ATOMS = 4, 26
SHARP = 50.0  # else all random numbers give much the same positions
Options = dict[str, object]

WATER = """
[ moleculetype ]
SOL 2
[ atoms ]
1 CT 1 SOL OW  1 -0.8 16.0
2 HC 1 SOL HW1 1  0.4  1.0
3 HC 1 SOL HW2 1  0.4  1.0
[ bonds ]
1 2 1 0.1 345000
1 3 1 0.1 345000
[ angles ]
2 1 3 1 109.5 400
"""
"""A molecule type of water for a topology."""


def as_ocx(text: str) -> str:
    """What a file says of OCT, said of OCX, whose atoms have other names."""
    return re.sub(r"\bH(\d\d)\b", r"L\1", re.sub(r"\bC(\d)\b", r"K\1", text.replace("OCT", "OCX")))


def molecule_type(text: str) -> tuple[str, str]:
    """The force field and the molecule type of a topology."""
    head, begin, rest = text.partition("[ moleculetype ]")
    return head, begin + rest.partition("[ system ]")[0]


def labels(text: str) -> list[tuple[str, str]]:
    """Residue and atom names below ``[ atoms ]``."""
    table = text.partition("[ atoms ]")[2].partition("[")[0].splitlines()
    rows = [line.partition(";")[0].split() for line in table]
    return [(row[3], row[4]) for row in rows if row]


def entry(name: str, file: str) -> str:
    """Text of a file of the molecule library, for OCT or OCX."""
    text = (share_path("molecules", "OCT") / file).read_text()
    return as_ocx(text) if name == "OCX" else text


def write_topologies(folder: Path, molecules: Sequence[tuple[str, int]] = MOLECULES) -> None:
    """Write ``topol.top``, ``cg.top``, a mapping of each molecule type and one file of owners."""
    tail = "\n[ system ]\nmixture\n\n[ molecules ]\n" + "".join(f"{n} {k}\n" for n, k in molecules)
    cg = (example() / "cg.top").read_text()
    for name, text in (("topol.top", entry("OCT", "topol.top")), ("cg.top", cg)):
        head, moltype = molecule_type(text)
        (folder / name).write_text(head + moltype + as_ocx(moltype) + tail)
    for name in ("OCT", "OCX"):
        (folder / f"{name}.xml").write_text(entry(name, "mapping.xml"))
    owners = entry("OCT", "owners.txt")
    (folder / "owners.txt").write_text(f"[ OCT ]\n{owners}\n[ OCX ]\n{owners}")


def bead_frames(topology: Topology, n: int) -> list[Frame]:
    """Frames of the example as frames of the mixture, 10 ps and 5000 steps apart, the second box skewed."""
    frames = []
    source = read_frames(example() / "cg.xtc", n_atoms=80 * BEADS)
    bonds = np.array([[0, 1], [1, 2], [2, 3]])
    for k, frame in enumerate(islice(source, n)):
        whole = make_whole(frame.positions.reshape(-1, BEADS, 3), frame.box, bonds).reshape(-1, 3)
        box = frame.box.copy()
        box[1, 0] = 0.3 if k == 1 else 0.0
        frames.append(Frame(whole[: topology.n_atoms], box, time=10.0 * k, step=5000 * k, index=k))
    return frames


def write_beads(path: Path, topology: Topology, frames: Sequence[Frame]) -> Path:
    """Write a trajectory of beads."""
    with open_writer(path, topology) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@dataclass(frozen=True)
class Mixture:
    """A folder with ``cg.gro``, ``cg.xtc`` and the files of :func:`write_topologies`."""

    folder: Path
    cg: Topology
    frames: list[Frame]

    @property
    def inputs(self) -> Options:
        """The files."""
        mappings = [self.folder / "OCT.xml", self.folder / "OCX.xml"]
        files = {key: self.folder / name for key, name in FILES.items()}
        return {**files, "-m": mappings}

    @property
    def options(self) -> Options:
        """What the command line needs to place the atoms with the network; nothing of the output."""
        return {**self.inputs, "--refine": "gibbs", "--sweeps": 0}

    def edit(self, name: str, old: str, new: str) -> None:
        """Change the first place in a file."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def line_of(self, name: str, text: str) -> int:
        """1-based line of a file that holds a text."""
        lines = (self.folder / name).read_text().splitlines()
        return next(i for i, line in enumerate(lines, 1) if text in line)


FILES = {"-s": "cg.gro", "-cp": "cg.top", "-f": "cg.xtc", "-p": "topol.top", "--owners": "owners.txt"}


def mixture(folder: Path, *, n: int = 3, molecules: Sequence[tuple[str, int]] = MOLECULES) -> Mixture:
    """Write all files of a mixture with ``n`` frames."""
    folder.mkdir(exist_ok=True)
    write_topologies(folder, molecules)
    moltypes = {}
    for name in ("OCT", "OCX"):
        cg, _ = read_cg_system(example() / "cg.tpr", example() / "cg.top")
        moltypes[name] = cg.molecule_types["OCT"]
    topology = Topology(moltypes, tuple(molecules))
    frames = bead_frames(topology, n)
    write_beads(folder / "cg.gro", topology, frames[:1])
    write_beads(folder / "cg.xtc", topology, frames)
    return Mixture(folder, topology, frames)


class FakeSampler:
    """In place of the real one: every atom near its bead, by random numbers of frame, sample and start."""

    made: ClassVar[list[FakeSampler]] = []
    refused: ClassVar[str] = ""
    unsettled: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self,
        system: System,
        conditions: Conditions,
        settings: Settings,
        chirality: Mapping[str, np.ndarray],
        *,
        threads: int = 1,
    ):
        if self.refused:
            raise InputError(self.refused)
        self.system, self.conditions, self.settings = system, conditions, settings
        self.chirality, self.threads, self.team = chirality, threads, Team(threads)
        self.effort = Effort()
        self.calls: list[tuple[int, int, bool]] = []
        self.made.append(self)

    def __call__(
        self, beads: Frame, *, start: np.ndarray | None = None, near: bool = False, sample: int = 0
    ) -> tuple[np.ndarray, Convergence]:
        self.calls.append((beads.index, sample, start is not None))
        random = np.random.default_rng([self.settings.seed, beads.index, sample])
        owners = [
            m.first_bead + np.arange(m.count)[:, None] * len(m.mapping.names) + m.mapping.owner
            for m in self.system.matches
        ]
        atoms = beads.positions[np.concatenate(owners, axis=None)] if start is None else start
        moved = atoms + random.uniform(-0.1, 0.1, atoms.shape)
        return moved.astype(np.float32), Convergence(
            converged=beads.index not in self.unsettled,
            energies=np.zeros(11 + beads.index),
            acceptance={"turn": 0.25, "shift": 0.5},
            regrown=1,
        )


def fake_sampler(
    monkeypatch: pytest.MonkeyPatch, *, refused: str = "", unsettled: tuple[int, ...] = ()
) -> list[FakeSampler]:
    """Use :class:`FakeSampler`; returns the list those made will be in."""
    made: list[FakeSampler] = []
    moltype = type("FakeSampler", (FakeSampler,), {"made": made, "refused": refused, "unsettled": unsettled})
    for module in ("rebuilder", "check"):
        monkeypatch.setattr(f"dbm_gmx.backmapping.{module}.make_sampler", moltype)
    # nothing is found out from it, and what it makes is not compared
    for module in ("rebuilder", "ready"):
        monkeypatch.setattr(f"dbm_gmx.backmapping.{module}.with_team", lambda sampler, _: sampler)
    monkeypatch.setattr("dbm_gmx.backmapping.memory.WORTH", 10**6)
    monkeypatch.setattr("dbm_gmx.backmapping.rebuilder.memory_that_ships", lambda _: None)
    monkeypatch.setattr("dbm_gmx.backmapping.ready.prepare", lambda sampler, *_: (sampler, None))
    monkeypatch.setattr("dbm_gmx.backmapping.rebuilder.Rebuilder._twins", lambda *_: ())
    return made


def tiny_model(path: Path) -> Path:
    """Save a model of alkanes with random weights, large enough that its densities are not flat."""
    system, _ = read_system(example() / "cg.tpr")
    model = untrained(system)
    state = {name: SHARP * value if "unfold" in name else value for name, value in model.state.items()}
    save_model(replace(model, state=state), path)
    return path


@dataclass(frozen=True)
class Result:
    """What a command left on the screen."""

    code: int
    out: str
    err: str


def command(name: str, options: Mapping[str, object] | None = None) -> Result:
    """Run a command with options by name."""
    return run_words(name, *words(options or {}))


def run_words(*given: object) -> Result:
    """Run a command in this process, whose logging and signals stay as they are."""
    out, err = StringIO(), StringIO()
    ours = logging.getLogger("dbm_gmx")
    kept = ours.handlers, ours.propagate, ours.level
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*map(str, given)])
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        ours.handlers, ours.propagate, ours.level = kept
        signal.signal(signal.SIGTERM, on_term)
    return Result(code, out.getvalue(), err.getvalue())


def words(options: Mapping[str, object]) -> list[str]:
    """Options as words; a value of ``None`` is an option without one."""
    return list(chain.from_iterable(_words(key, value) for key, value in options.items()))


def _words(key: str, value: object) -> list[str]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [key, *map(str, values)]


def listing(folder: Path) -> list[str]:
    """All names in a folder, hidden ones too; not of what says how an output beside it was made."""
    return sorted(path.name for path in folder.iterdir() if ".json" not in path.suffixes)


def atoms_topology(files: Mixture) -> Topology:
    """The atoms of a mixture."""
    return read_topology(files.folder / "topol.top")


def write_atoms(files: Mixture) -> Path:
    """Write ``aa.trr``: of the example's atoms those that were mapped to the beads of the mixture, whole."""
    topology = atoms_topology(files)
    moltype = topology.molecule_types["OCT"]
    source = read_frames(example() / "aa.xtc", n_atoms=80 * ATOMS)
    path = files.folder / "aa.trr"
    with open_writer(path, topology) as writer:
        for frame, beads in zip(source, files.frames, strict=False):
            whole = make_whole(frame.positions.reshape(-1, ATOMS, 3), frame.box, moltype.bonds).reshape(-1, 3)
            writer.write(replace(beads, positions=whole[: topology.n_atoms]))
    return path


def make_tpr(gmx: str, folder: Path) -> Path:
    """Make ``aa.tpr`` of the example with GROMACS."""
    command = [gmx, "-quiet", "grompp", "-f", example() / "nvt.mdp", "-c", example() / "aa.gro"]
    command += ["-p", example() / "topol.top", "-o", "aa.tpr"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return folder / "aa.tpr"


def with_table(files: Mixture) -> None:
    """Give a molecule a weak spring from end to end that is in a table."""
    x = np.linspace(0.0, 3.0, 301)
    np.savetxt(files.folder / "table_b0.xvg", np.transpose([x, x**2 / 2, -x]), "%.6f")
    before, after = (files.folder / "topol.top").read_text().split("[ angles ]", 1)
    text = f"{before}[ bonds ]\n1 26 9 0 10.0\n[ angles ]{after}"
    (files.folder / "topol.top").write_text(text)

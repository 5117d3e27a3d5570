"""``check --converged``: atoms beside an independent reconstruction of their beads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cut import Cut, cut
from mixed import Options, Result, command

from dbm_gmx.backmapping.converged import Converged
from dbm_gmx.backmapping.independent import SAMPLE
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.errors import ExitCode
from dbm_gmx.files.share import share_path
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.forcefield.equilibrium import compare_energies
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.chain import Convergence
from dbm_gmx.sampling.preparation import Preparation, prepare
from dbm_gmx.sampling.sampler import Sampler, make_sampler

pytestmark = pytest.mark.usefixtures("less_search")

FRAMES = 3
WARM = Conditions(temperature=350.0, rvdw=0.9, rcoulomb=0.9)


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Twelve molecules of cumene."""
    folder = tmp_path_factory.mktemp("liquid")
    return cut(share_path("reference", "cumene"), folder / "cumene", "CUM", 12, frames=FRAMES)


@pytest.fixture(scope="module")
def sampled(liquid: Cut) -> list[Frame]:
    """What the sampler makes of the beads."""
    sampler = make_sampler(liquid.system, WARM, Settings(), {})
    return [replace(beads, positions=sampler(beads)[0]) for beads in liquid.beads]


@pytest.fixture(scope="module")
def found_out() -> list[tuple[Sampler, Preparation]]:
    """What the first command has found out before it rebuilt anything."""
    return []


@pytest.fixture
def prepared_once(found_out: list[tuple[Sampler, Preparation]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first command prepare for all: system, conditions, seed and beads are the same.

    A frame is tried once, annealed in 1000 steps and swept with few windows at most: enough for so small a
    molecule, whatever chance says of few atoms.
    """
    monkeypatch.setattr("dbm_gmx.sampling.preparation.LADDER", (1000,))
    monkeypatch.setattr("dbm_gmx.sampling.preparation.REPEATS", 1)
    monkeypatch.setattr("dbm_gmx.sampling.preparation.SWEPT", (4, 8, 16))
    monkeypatch.setattr("dbm_gmx.sampling.preparation.CAUGHT", 8)

    def once(sampler: Sampler, beads: Frame) -> tuple[Sampler, Preparation]:
        if not found_out:
            found_out.append(prepare(sampler, beads))
        return found_out[0]

    monkeypatch.setattr("dbm_gmx.backmapping.converged.prepare", once)


def turned(made: Cut, frames: list[Frame]) -> list[Frame]:
    """Frames with all methyl groups on the barrier of their torsion: no bead and no bond is another one."""
    moltype, found = made.system.matches[0].moltype, []
    elements = moltype.elements
    for frame in frames:
        atoms = frame.positions.astype(np.float64).reshape(-1, moltype.n_atoms, 3)
        for i, element in enumerate(elements):
            hydrogens = [j for j in moltype.graph[i] if elements[j] == "H"]
            if element != "C" or len(hydrogens) != 3:
                continue
            (axis,) = (j for j in moltype.graph[i] if elements[j] == "C")
            n = atoms[:, [i]] - atoms[:, [axis]]
            n /= np.linalg.norm(n, axis=2, keepdims=True)
            arm = atoms[:, hydrogens] - atoms[:, [i]]
            along = (arm * n).sum(axis=2, keepdims=True) * n
            c, s = np.cos(np.pi / 3), np.sin(np.pi / 3)
            atoms[:, hydrogens] = atoms[:, [i]] + along + c * (arm - along) + s * np.cross(n, arm)
        found.append(replace(frame, positions=atoms.reshape(-1, 3).astype(np.float32)))
    return found


def written(made: Cut, name: str, frames: list[Frame]) -> Path:
    path = made.folder / name
    with open_writer(path, made.system.topology) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def checked(made: Cut, path: Path, **more: object) -> Result:
    """Run the command."""
    inputs = made.inputs
    given: Options = {"-s": inputs.structure, "-cp": inputs.cg_topology, "-p": inputs.topology}
    given |= {"-m": inputs.mappings[0], "--owners": inputs.owners[0], "-t": 350, "--cutoff": 0.9}
    given |= {("-" if len(k) == 1 else "--") + k: v for k, v in more.items()}
    return command("check", {"--seed": 2, **given, "--converged": path, "--threads": 1})


@pytest.mark.usefixtures("prepared_once")
def test_what_the_sampler_made_is_found_converged(liquid: Cut, sampled: list[Frame]) -> None:
    """The tolerance is more than three times what chance makes of so few atoms, and half of what follows."""
    path = written(liquid, "sampled.trr", sampled)
    more = {"frames": FRAMES, "tolerance": 0.15}
    result = checked(liquid, path, f=liquid.folder / "cg.trr", **more)
    assert result.code == ExitCode.DONE
    assert "no difference of more than 0.15 kT per atom was found" in result.out


@pytest.mark.usefixtures("prepared_once")
def test_torsions_on_their_barriers_are_found(liquid: Cut, sampled: list[Frame]) -> None:
    """No beads are given: those of the atoms are the same."""
    frames = turned(liquid, sampled)
    for one, other in zip(frames, sampled, strict=True):
        apart = mapped_beads(liquid.system, one.positions) - mapped_beads(liquid.system, other.positions)
        assert np.abs(apart).max() < 0.002
    result = checked(liquid, written(liquid, "turned.trr", frames), frames=FRAMES, tolerance=0.15)
    assert result.code == ExitCode.FLAWED
    assert "NOT CONVERGED" in result.out
    assert "above an independent reconstruction" in result.out
    flagged = [line.split()[0] for line in result.out.splitlines() if line.endswith("*")]
    assert "total" in flagged
    assert any("Ryck" in name or "Proper" in name for name in flagged)
    assert "Angle" not in flagged


class Fake:
    """In place of the sampler: the equilibrated atoms, colder or warmer; says what it was asked for."""

    def __init__(self, made: Cut, settled: bool = True):
        self.made, self.settled = made, settled
        self.asked: list[tuple[float, int]] = []
        self.beads: list[Frame] = []

    def __call__(self, beads: Frame, *, sample: int = 0) -> tuple[np.ndarray, Convergence]:
        self.asked.append((beads.time, sample))
        self.beads.append(beads)
        atoms = next(f for f in self.made.atoms if f.time == beads.time)
        return atoms.positions, Convergence(self.settled, np.zeros(9))

    def make(
        self,
        system: System,
        conditions: Conditions,
        settings: Settings,
        chirality: Mapping[str, np.ndarray],
        *,
        threads: int = 1,
    ) -> Fake:
        self.system, self.hamiltonian = system, make_hamiltonian(system, conditions)
        self.settings, self.threads = settings, threads
        return self


@pytest.fixture
def fake(liquid: Cut, monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake(liquid)
    monkeypatch.setattr("dbm_gmx.backmapping.converged.make_sampler", made.make)
    monkeypatch.setattr("dbm_gmx.backmapping.converged.prepare", lambda sampler, _: (sampler, None))
    monkeypatch.setattr("dbm_gmx.backmapping.independent.annealed_longer", lambda sampler: sampler)
    return made


def test_frames_are_spread_and_drawn_independently(liquid: Cut, fake: Fake) -> None:
    path = written(liquid, "same.trr", liquid.atoms)
    result = checked(liquid, path, f=liquid.folder / "cg.trr", seed=7)
    times = [frame.time for frame in liquid.atoms]
    assert fake.asked == [(times[0], SAMPLE), (times[-1], SAMPLE)]
    assert SAMPLE > 10_000  # no number of a sample that a user asks for
    assert (fake.settings.refine, fake.settings.seed, fake.threads) == ("exact", 7, 1)
    assert result.code == ExitCode.DONE
    assert "total" in result.out
    assert "+0.0000 +- 0.0000" in result.out
    assert "K assumed" not in result.err


def test_a_temperature_that_nobody_gave_is_named(liquid: Cut, fake: Fake) -> None:
    path, inputs = written(liquid, "warm.trr", liquid.atoms), liquid.inputs
    given: Options = {"-s": inputs.structure, "-cp": inputs.cg_topology, "-p": inputs.topology}
    given |= {"-m": inputs.mappings[0], "--cutoff": 0.9, "--converged": path}
    assert "300 K assumed" in command("check", given).err


def test_beads_are_those_given_or_those_of_the_atoms(liquid: Cut, fake: Fake) -> None:
    path = written(liquid, "again.trr", liquid.atoms)
    moved = [replace(f, positions=f.positions + np.float32(0.01)) for f in liquid.beads]
    from dbm_gmx.chemistry.mapping import bead_topology

    with open_writer(liquid.folder / "moved.trr", bead_topology(liquid.system.matches)) as writer:
        for frame in moved:
            writer.write(frame)
    said = checked(liquid, path, f=liquid.folder / "moved.trr", frames=1)
    assert "0.0173 nm (rms) from the beads" in said.out
    np.testing.assert_allclose(fake.beads[0].positions, moved[0].positions, atol=1e-5)
    said = checked(liquid, path, frames=1)
    assert "0.0000 nm (rms) from the beads" in said.out
    np.testing.assert_allclose(fake.beads[1].positions, liquid.beads[0].positions, atol=1e-5)


def test_beads_of_other_times_are_an_error(liquid: Cut, fake: Fake) -> None:
    path = written(liquid, "late.trr", [replace(f, time=f.time + 3.0) for f in liquid.atoms])
    result = checked(liquid, path, f=liquid.folder / "cg.trr")
    assert result.code == ExitCode.FAILED
    assert "no beads at" in result.err
    assert fake.asked == []


def test_a_reconstruction_that_is_not_stationary_is_named(liquid: Cut, fake: Fake) -> None:
    fake.settled = False
    result = checked(liquid, written(liquid, "as_is.trr", liquid.atoms))
    assert "2 reconstructions did not become stationary" in result.out


@pytest.mark.parametrize(
    ("shift", "spread", "said", "fine"),
    [
        (0.0, 0.01, "no difference of more than 0.03 kT per atom was found", True),
        (0.02, 0.01, "no difference of more than 0.03 kT per atom was found", True),
        (0.21, 0.01, "NOT CONVERGED: 0.21 kT per atom above an independent reconstruction", False),
        (-0.21, 0.01, "NOT CONVERGED: 0.21 kT per atom below an independent reconstruction; it is", False),
        (0.1, 2.0, "with 2 frames none below 0.75 in torsions and pairs can be found (--frames)", True),
    ],
)
def test_verdicts(shift: float, spread: float, said: str, fine: bool) -> None:
    rng = np.random.default_rng(6)
    noise = rng.normal(0, spread, 40)
    first = np.stack([shift + noise - noise.mean(), np.zeros(40)], axis=1)
    energies = compare_energies(
        first, np.zeros((40, 2)), ("LJ (SR)", "Angle"), atoms=1000, kt=0.001, paired=True
    )
    found = Converged(Path("aa.xtc"), (0.0, 10.0), energies, 0.03, (True, True), 0.004)
    assert said in found.verdict()
    assert found.converged is fine


def test_what_is_caught_is_seen_under_the_scatter_of_angles() -> None:
    rng = np.random.default_rng(6)
    first = np.stack([rng.normal(0, 0.5, 40), 0.06 + rng.normal(0, 0.01, 40)], axis=1)
    names = ("Angle", "Ryckaert-Bell.")
    energies = compare_energies(first, np.zeros((40, 2)), names, atoms=1000, kt=0.001, paired=True)
    said = Converged(Path("aa.xtc"), (0.0,), energies, 0.03, (True,), 0.004).verdict()
    assert said == "NOT CONVERGED: 0.06 kT per atom in torsions and pairs above an independent reconstruction"


def test_terms_that_make_up_for_each_other_are_seen() -> None:
    """Too cold in one and too hot in another: the total says nothing."""
    rng = np.random.default_rng(6)
    first = np.stack([0.2 + rng.normal(0, 0.01, 40), -0.2 + rng.normal(0, 0.01, 40)], axis=1)
    energies = compare_energies(
        first, np.zeros((40, 2)), ("Fourier Dih.", "LJ (SR)"), atoms=1000, kt=0.001, paired=True
    )
    found = Converged(Path("aa.xtc"), (0.0,), energies, 0.03, (True,), 0.004)
    assert found.off == ("Fourier Dih.", "LJ (SR)")
    assert not found.converged
    assert found.verdict() == "NOT CONVERGED: Fourier Dih., LJ (SR) not as in an independent reconstruction"

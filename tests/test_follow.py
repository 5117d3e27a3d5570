"""Frames that follow each other: nothing jumps, energies stay, an ended run goes on to the same bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cut import Cut, cut, energies
from mixed import Options, command
from test_resume import KilledError, break_off

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import bead_topology
from dbm_gmx.chemistry.system import carried_along
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import BeadFrames
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.files.xdr import xdr_frames
from dbm_gmx.options import Conditions

FRAMES, STEP = 4, 0.004
"""Frames, and how far beads move from one to the next, nm."""


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Molecules of octane whose beads move a little."""
    made = cut(share_path("examples", "octane"), tmp_path_factory.mktemp("liquid") / "octane", "OCT", 12)
    rng, first, moving = np.random.default_rng(1), made.beads[0], []
    moved = np.zeros_like(first.positions)
    for k in range(FRAMES):
        moving.append(replace(first, positions=first.positions + moved, time=float(k), index=k))
        moved = moved + rng.normal(scale=STEP, size=moved.shape).astype(np.float32)
    with open_writer(made.folder / "cg.trr", bead_topology(made.system.matches)) as writer:
        for frame in moving:
            writer.write(frame)
    return replace(made, beads=moving)


def options(made: Cut, output: Path, **more: object) -> Options:
    given = made.inputs
    files: Options = {
        "-s": given.structure,
        "-cp": given.cg_topology,
        "-f": given.trajectory,
        "-p": given.topology,
    }
    files |= {"-m": given.mappings[0], "--owners": given.owners[0], "-t": 350, "--cutoff": 0.9, "-o": output}
    quick: Options = {"--annealing": 0, "--windows": 0, "--spread": 0.003, "--no-check": None}
    return {**files, **quick, "--allow": "all", "--threads": 1, **{f"--{k}": v for k, v in more.items()}}


def atoms_of(made: Cut, path: Path) -> np.ndarray:
    """(frames, n, 3) nm."""
    return np.array([f.positions for f in read_frames(path, n_atoms=made.system.n_atoms)], np.float64)


@pytest.fixture(scope="module")
def followed(liquid: Cut, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("followed") / "aa.xtc"
    assert command("backmap", options(liquid, path, follow=None)).code == 0
    return path


def test_atoms_do_not_jump_and_have_the_energy_of_frames_made_anew(
    liquid: Cut, followed: Path, tmp_path: Path
) -> None:
    assert command("backmap", options(liquid, tmp_path / "anew.xtc")).code == 0
    along, anew = atoms_of(liquid, followed), atoms_of(liquid, tmp_path / "anew.xtc")
    carbons = np.array(
        [mass > 3 for match in liquid.system.matches for mass in match.moltype.masses.tolist()]
    )
    carbons = np.tile(carbons, liquid.system.n_atoms // len(carbons))
    jumps = [np.median(np.linalg.norm(np.diff(x[:, carbons], axis=0), axis=2)) for x in (along, anew)]
    print(f"median step of a carbon: {jumps[0]:.4f} nm, made anew {jumps[1]:.4f} nm")
    assert jumps[0] < 0.7 * jumps[1]
    np.testing.assert_allclose(along[0], anew[0], atol=0.0011)  # the first frame follows none
    conditions = Conditions(350.0, rvdw=0.9, rcoulomb=0.9)
    last, usual = energies(liquid, along[1:], conditions).sum(), energies(liquid, anew[1:], conditions).sum()
    print(f"energy {last:.3f}, made anew {usual:.3f} kT an atom")
    assert last - usual == pytest.approx(0.0, abs=0.12)


def test_a_run_that_was_ended_goes_on_to_the_same_bytes(
    liquid: Cut, followed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the atoms that are there only the last frame is read, and the beads are gone through once."""
    given = options(liquid, tmp_path / "aa.xtc", follow=None)
    with monkeypatch.context() as patch:
        break_off(patch, 2)
        with pytest.raises(KilledError):
            command("backmap", given)
    assert not (tmp_path / "aa.xtc").exists()
    seen = Counter[str]()

    def counted(path: Path, *given: object, **more: object) -> Iterator[Frame]:
        for frame in xdr_frames(path, *given, **more):
            seen[path.name] += 1
            yield frame

    monkeypatch.setattr("dbm_gmx.files.trajectory.xdr_frames", counted)
    monkeypatch.setattr(BeadFrames, "early", lambda self, _: [self.first])
    assert command("backmap", given).code == 0
    assert (seen["aa.part.xtc"], seen["cg.trr"]) == (1, 1 + FRAMES)  # and the first, for the number of beads
    assert (tmp_path / "aa.xtc").read_bytes() == followed.read_bytes()


def test_atoms_move_as_their_beads(liquid: Cut) -> None:
    system, atoms = liquid.system, liquid.atoms[0]
    before, now = liquid.beads[0], liquid.beads[1]
    moved = carried_along(system, atoms, before, now) - atoms.positions
    (match,) = system.matches
    expected = match.beads(now.positions - before.positions)[:, match.mapping.owner].reshape(-1, 3)
    np.testing.assert_allclose(moved, expected, atol=0.0006)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"part": "1/2"}, "no --part, no --dask"),
        ({"refine": "none"}, "--follow"),
        ({"memory": Path("some.npz")}, "not made of a memory"),
    ],
)
def test_what_cannot_follow_is_refused(
    more: dict[str, object], words: str, liquid: Cut, tmp_path: Path
) -> None:
    given = options(liquid, tmp_path / "aa.xtc", follow=None, **more)
    if "refine" in more:  # what has no effect is refused before
        given = {k: v for k, v in given.items() if k not in ("--annealing", "--windows", "--no-check")}
    result = command("backmap", given)
    assert result.code == 1
    assert words in result.err
    assert not list(tmp_path.iterdir())

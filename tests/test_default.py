"""The command as it is without options: the real sampler on a chain and on a small liquid that ship.

What is asked for is physics: chirality, bad contacts, beads where they were, bonds, and energies like those
of the equilibrated atoms that the beads come from.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cut import Cut, cut, energies, equilibrated, search_less
from mixed import Options, Result, command

from dbm_gmx.chemistry.contacts import bad_contacts
from dbm_gmx.chemistry.stereo import chirality_of, stereocentres
from dbm_gmx.chemistry.system import mapped_beads
from dbm_gmx.files.share import share_path
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.options import NARROW, Conditions

SPREAD = NARROW * 3**0.5
"""Root mean square distance of a mapped centre from its bead, nm, where nothing but the beads pulls."""


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annealing is tried once: how sure the energy is that it is judged by is of no concern here."""
    monkeypatch.setattr("dbm_gmx.sampling.preparation.REPEATS", 1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """A decamer of syndiotactic polystyrene, two frames."""
    folder = tmp_path_factory.mktemp("chain")
    return cut(share_path("reference", "sps"), folder / "sps", "SPS", 1, frames=2)


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Twelve molecules of cumene, two frames."""
    folder = tmp_path_factory.mktemp("liquid")
    return cut(share_path("reference", "cumene"), folder / "cumene", "CUM", 12, frames=2)


def put_back(made: Cut, output: Path, **options: object) -> tuple[Result, np.ndarray]:
    """Run the command; what it said, and (frames, n, 3) atoms."""
    inputs = made.inputs
    given: Options = {"-s": inputs.structure, "-cp": inputs.cg_topology, "-f": inputs.trajectory}
    given |= {"-p": inputs.topology, "-m": inputs.mappings[0], "--owners": inputs.owners[0]}
    named = {("-" if len(k) == 1 else "--") + k: v for k, v in options.items()}
    result = command("backmap", {**given, **named, "-o": output})
    # whoever comes first compiles, and says so; where a minute goes by, it is said how far it is
    progress = re.compile(r"compiling|, [\d.]+ GB$")
    assert [line for line in result.err.splitlines() if not progress.search(line)] == []
    return result, np.array(
        [f.positions for f in read_frames(output, n_atoms=made.system.n_atoms)], np.float64
    )


def check_atoms(made: Cut, atoms: np.ndarray, *, fixed: bool) -> None:
    """No bad contacts; the beads where they were; bonds of the right length."""
    match = made.system.matches[0]
    apart = []
    for x, beads in zip(atoms, made.beads, strict=True):
        assert len(bad_contacts(made.system, x, beads.box)) == 0
        apart.append(np.linalg.norm(mapped_beads(made.system, x) - beads.positions, axis=1))
    rms = float(np.sqrt(np.mean(np.square(apart))))
    # 40 beads and more: the root mean square scatters by a tenth; forces on the atoms pull a little as well
    assert 0.6 * SPREAD < rms < 1.4 * SPREAD
    assert np.max(apart) < 6 * NARROW
    bonds, length = fixed_bonds(match.moltype, "all-bonds")
    x = atoms.reshape(len(atoms) * match.count, -1, 3)
    off = np.linalg.norm(x[:, bonds[:, 0]] - x[:, bonds[:, 1]], axis=-1) - length
    if fixed:
        assert np.abs(off).max() < 2e-6
    else:
        assert 0.001 < off.std() < 0.01  # kT / k of bonds of carbon and hydrogen: 3 to 5 pm
        assert np.abs(off).max() < 0.03


def check_energy(made: Cut, conditions: Conditions, atoms: np.ndarray) -> None:
    """Those of the atoms the beads come from, from a run with the same force field and flexible bonds.

    The terms of N atoms in two frames scatter by sqrt(0.75 / N) kT an atom, each of the two means: the limit
    is five times the error of their difference, 0.34 for 162 atoms.
    """
    found, expected = (energies(made, x, conditions) for x in (atoms, equilibrated(made)))
    print(f"terms and pairs, kT an atom: {found}, of the run {expected}")
    limit = 5 * np.sqrt(2 * 0.75 / made.system.n_atoms)
    assert (np.abs(found - expected) < limit).all()


def chiralities(made: Cut, atoms: np.ndarray) -> np.ndarray:
    """(frames, c) of the one molecule."""
    return chirality_of(atoms, stereocentres(made.system.matches[0].moltype))


def true_chirality(made: Cut) -> np.ndarray:
    """(c,) of the atoms the beads come from."""
    return chiralities(made, made.atoms[0].positions[None])[0]


@pytest.mark.parametrize(
    ("options", "said"),
    # another seed: an independent start of 162 atoms is now and then as far off as chance makes it
    [
        # a single chain needs none of what is tried by default; the liquid below is given nothing
        ({"no-memory": None, "seed": 2, "annealing": 0, "windows": 0}, r".* all stationary"),
        ({"seed": 4}, r".* 2 recalled, .*\n(.*\n)*memory +of sps.npz"),
    ],
)
def test_a_chain_whose_chirality_is_given(
    chain: Cut, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    """Sampled in full, and recalled from the memory that ships for it."""
    mdp = share_path("reference", "sps") / "run.mdp"
    reference = share_path("molecules", "SPS") / "conf.gro"
    result, atoms = put_back(chain, tmp_path / "aa.trr", r=reference, mdp=mdp, **options)
    assert result.code == 0
    assert "stereocentres  18 of 18 right" in result.out
    assert re.search(rf"refinement +exact at 568 K \(run.mdp\), {said}", result.out)
    assert (chiralities(chain, atoms) == true_chirality(chain)).all()
    check_atoms(chain, atoms, fixed=False)
    conditions = Conditions(568.0, constraints="none")
    check_energy(chain, conditions, atoms)


def test_a_chain_whose_chirality_is_asked_the_other_way(chain: Cut, tmp_path: Path) -> None:
    """What is given goes before what the beads would say: nothing else makes the mirror image."""
    lines = (share_path("molecules", "SPS") / "conf.gro").read_text().splitlines()
    mirrored = [f"{line[:36]}{-float(line[36:44]):8.3f}" for line in lines[2:-1]]
    (tmp_path / "mirror.gro").write_text("\n".join([*lines[:2], *mirrored, lines[-1], ""]))
    more = {"r": tmp_path / "mirror.gro", "e": chain.beads[0].time, "sweeps": 2}
    result, atoms = put_back(chain, tmp_path / "aa.trr", t=568, **more)
    assert "stereocentres  9 of 9 right" in result.out
    assert (chiralities(chain, atoms) == -true_chirality(chain)).all()


def test_a_chain_whose_chirality_the_beads_decide(chain: Cut, tmp_path: Path) -> None:
    """The same in both frames; the default holds all bonds at their length."""
    options = {
        "allow-flips": None,
        "annealing": 0,
        "spread": NARROW,
        "no-check": None,
    }  # what is tried and compared is not asked here
    result, atoms = put_back(chain, tmp_path / "aa.trr", t=568, **options)
    assert result.code == 0
    assert "not compared with an independent start" in result.out
    said = re.search(r"stereocentres  (\d+) of 18 inferred from the beads \(weakest by (.*) kT\)", result.out)
    assert said is not None
    assert int(said[1]) >= 10  # two frames of one chain leave some undecided
    assert float(said[2]) >= 3
    found = chiralities(chain, atoms)
    assert (found[1] == found[0]).all()
    # only what is said to be undecided may be wrong
    assert (found != true_chirality(chain)).sum() <= 18 - int(said[1])
    check_atoms(chain, atoms, fixed=True)


def test_a_liquid(liquid: Cut, tmp_path: Path) -> None:
    mdp = share_path("reference", "cumene") / "run.mdp"
    result, atoms = put_back(liquid, tmp_path / "aa.trr", mdp=mdp, allow="converged")
    assert result.code == 0
    assert "stereocentres  none" in result.out
    assert "all stationary" in result.out
    check_atoms(liquid, atoms, fixed=False)
    check_energy(liquid, Conditions(350.0, constraints="none"), atoms)


def test_threads_change_nothing(liquid: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame at a time on one thread; one on two threads; two side by side."""
    search_less(monkeypatch)
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one processor")
    before = torch.get_num_threads()
    found = []
    try:
        for threads, end in ((1, 1e6), (2, 0), (2, 1e6)):
            last = liquid.beads[0].time if end == 0 else end
            output = tmp_path / f"aa_{threads}_{end:.0f}.trr"
            how = {"t": 350, "sweeps": 3, "annealing": 100, "windows": 1, "threads": threads, "e": last}
            found.append(put_back(liquid, output, **how, **{"no-check": None})[1])
    finally:
        torch.set_num_threads(before)
    alone, together, beside = found
    np.testing.assert_array_equal(together[0], alone[0])
    np.testing.assert_array_equal(beside, alone)

"""Windows annealed as moves: they sample what is known, turn what small moves do not, and keep all states."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from cut import Cut, cut, equilibrated
from exact import agreement, beads_of, fractions, lattice, molecule, moves_of, only, sample, start, system
from scipy.stats import ortho_group
from test_sweep import CONTACT, KT, LEVEL, bend, butane, dihedral, ended, zigzag

from dbm_gmx.chemistry.stereo import chirality_of, stereocentres
from dbm_gmx.chemistry.system import mapped_beads
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.files.share import share_path
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.chain import Chain, advance, start_chain, sweep_windows
from dbm_gmx.sampling.energy import total_energy
from dbm_gmx.sampling.moves import ANNEALING, SELDOM
from dbm_gmx.sampling.random_numbers import frame_stream
from dbm_gmx.sampling.rattle import DEPENDENT, EXACT, factor_metric, squared_lengths, straighten, tie
from dbm_gmx.sampling.sampler import configure, make_sampler

LENGTH, BEND, SOFT = 0.15, 100.0, 4.0  # nm, degrees, kJ/mol rad^-2


# --- bonds that keep their length ------------------------------------------------------------------


def ring(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Six atoms of a ring, one on it, and one that stands still; bonds (b, 2)."""
    angle = np.arange(6) * np.pi / 3
    x = np.concatenate([np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1), [[2, 0.1, 0.3]]]) * 0.14
    x = np.concatenate([x, x[6:] + np.array([0.05, 0.1, 0.1])]) + 0.01 * rng.normal(size=(8, 3))
    return x, np.array([*((k, (k + 1) % 6) for k in range(6)), (0, 6), (6, 7)])


def test_bonds_come_to_their_lengths_along_the_directions_they_had() -> None:
    rng = np.random.default_rng(1)
    before, bonds = ring(rng)
    square = squared_lengths(before, bonds)
    x = before + 0.004 * rng.normal(size=before.shape)
    x[7] = before[7]
    free = x.copy()
    assert tie(x, before, bonds, square, 7)
    np.testing.assert_allclose(squared_lengths(x, bonds), square, rtol=2 * EXACT)
    np.testing.assert_array_equal(x[7], before[7])
    # what moved the atoms are forces along the bonds: nothing is left across them
    jacobian = gradients(before, bonds, 7)
    moved = (x - free)[:7].reshape(-1)
    pushes = np.linalg.lstsq(jacobian.T, moved, rcond=None)[0]
    np.testing.assert_allclose(jacobian.T @ pushes, moved, atol=1e-9)


def test_a_step_that_tears_bonds_is_given_up() -> None:
    before, bonds = ring(np.random.default_rng(1))
    x = before.copy()
    x[3] += 0.3
    assert not tie(x, before, bonds, squared_lengths(before, bonds), 7)
    assert np.isfinite(x).all()


def gradients(x: np.ndarray, bonds: np.ndarray, free: int) -> np.ndarray:
    """(b, 3 free) of the lengths of bonds."""
    found = np.zeros((len(bonds), free, 3))
    for b, (i, j) in enumerate(bonds):
        unit = (x[i] - x[j]) / np.linalg.norm(x[i] - x[j])
        for atom, sign in ((i, 1.0), (j, -1.0)):
            if atom < free:
                found[b, atom] += sign * unit
    return found.reshape(len(bonds), -1)


def test_velocities_leave_the_bonds_alone() -> None:
    rng = np.random.default_rng(2)
    x, bonds = ring(rng)
    units, factor = np.empty((len(bonds), 3)), np.zeros((len(bonds), len(bonds)))
    logarithm = factor_metric(x, bonds, 7, units, factor)
    jacobian = gradients(x, bonds, 7)
    assert logarithm == pytest.approx(np.linalg.slogdet(jacobian @ jacobian.T)[1])
    velocity = rng.normal(size=(7, 3))
    across = velocity.reshape(-1) - np.linalg.pinv(jacobian) @ jacobian @ velocity.reshape(-1)
    straighten(velocity, bonds, 7, units, factor)
    np.testing.assert_allclose(velocity.reshape(-1), across, atol=1e-12)


def test_bonds_that_depend_on_each_other_are_found() -> None:
    """Two bonds of one pair; a number, since compiled code knows no NaN."""
    x, bonds = ring(np.random.default_rng(3))
    twice = np.concatenate([bonds, bonds[:1]])
    space = np.empty((len(twice), 3)), np.zeros((len(twice), len(twice)))
    assert factor_metric(x, twice, 7, *space) == DEPENDENT
    assert factor_metric(x, bonds, 7, *space) < 100


# --- the distribution ------------------------------------------------------------------------------


def limp(*, site: bool) -> MoleculeType:
    """Four united atoms with soft angles.

    With a virtual site where the last atom is, made of both ends, all but its bond acts there.
    """
    last = 4 if site else 3
    made = molecule(
        "LMP",
        [*[("C", 15.0, 0.0)] * 4, *[("C", 0.0, 0.0)] * site],
        [
            *(("bonds", 1, (i, i + 1), (LENGTH, 2e5)) for i in range(3)),
            *(("angles", 1, (i, i + 1, k), (BEND, SOFT)) for i, k in ((0, 2), (1, last))),
            ("dihedrals", 3, (0, 1, 2, last), (3.0, 6.0, 0.0, -12.0, 0.0, 0.0)),
            *[("virtual_sites2", 1, (4, 0, 3), (1.0,))] * site,
        ],
        nrexcl=3,
        exclusions=[(i, 4) for i in range(4 * site)],
    )
    made.graph.add_edges_from([(0, 4)] * site, kind="virtual")
    return made


def test_windows_alone_sample_what_is_known() -> None:
    """No other moves: bonds keep their lengths, and the density of two angles and a torsion is known.

    As in ``test_butane_in_two_beads`` but for the bonds: p ~ sin t1 sin t2 exp(-U / kT) K(d).
    """
    conditions = Conditions(temperature=400.0, spread=0.05, rvdw=0.3, rcoulomb=0.3)
    copies, apart, kt = 64, 0.19, KT(conditions)
    moltype = limp(site=True)
    made = system([(moltype, beads_of(moltype, [0, 0, 1, 1, 1][: moltype.n_atoms]), copies)], CONTACT)
    t = (np.arange(60) + 0.5) / 60 * np.pi
    f = (np.arange(60) + 0.5) / 60 * np.pi  # the other half is its mirror image
    t1, t2, f = (a.reshape(-1) for a in np.meshgrid(t, t, f, indexing="ij"))
    x1, z1 = np.sin(t1), np.cos(t1)
    x3, y3, z3 = np.sin(t2) * np.cos(f), np.sin(t2) * np.sin(f), 1 - np.cos(t2)
    d = 0.5 * LENGTH * np.sqrt((x3 - x1) ** 2 + y3**2 + (z3 - z1 + 1) ** 2)
    kernel = np.exp(-(((d - apart) / 0.1) ** 2)) - np.exp(-(((d + apart) / 0.1) ** 2))
    bent = sum((angle - np.radians(BEND)) ** 2 for angle in (t1, t2))
    energy = 0.5 * SOFT * bent + 3.0 - 6.0 * np.cos(f) + 12.0 * np.cos(f) ** 3
    weight = np.sin(t1) * np.sin(t2) * np.exp(-energy / kt) * kernel / d
    weight /= weight.sum()

    points, box = lattice(copies, 1.7)
    one = zigzag(BEND, LENGTH)[[0, 1, 2, 3, 3][: moltype.n_atoms]]
    atoms = (points[:, None] + one).reshape(-1, 3)
    beads = np.stack([points, points + np.array([apart, 0, 0])], axis=1).reshape(-1, 3)
    middle = mapped_beads(made, atoms).reshape(-1, 2, 3).mean(1) - beads.reshape(-1, 2, 3).mean(1)
    chain = start(made, conditions, atoms - np.repeat(middle, moltype.n_atoms, axis=0), box, beads=beads)
    windows_alone(chain)

    def measure(x: np.ndarray) -> np.ndarray:
        x = x.reshape(-1, moltype.n_atoms, 3)[:, :4]
        return np.stack([bend(x[:, :3]), bend(x[:, 1:]), np.abs(dihedral(x))])

    found = sample(chain, measure, burn=8 * SELDOM, sweeps=24 * SELDOM, every=SELDOM)
    for number, values in enumerate((t1, t2, f)):
        edges = np.linspace(0, np.pi, 11)
        expected = np.histogram(values, edges, weights=weight)[0]
        seen = expected > 0.01
        assert seen.sum() > 3
        result = agreement(fractions(found[:, number], edges)[:, seen], expected[seen])
        print(f"{number}: p = {result[0]:.3g}, largest relative error {result[2]:.3f}")
        assert result[0] > LEVEL
    assert total_energy(chain.conf) == pytest.approx(chain.energy, abs=1e-6)


def windows_alone(chain: Chain) -> None:
    """Switch all other moves off."""
    windows = moves_of(chain, ANNEALING)
    chain.progress.steps[windows] = 1.0
    only(chain, windows)


RING = 8
"""Atoms of a ring without stiffness: the least that windows move freely."""


def rings(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8, 3) nm rings of bonds of one length, and the shares (n,) of each, as if nothing acted on them.

    All but two bonds point anywhere.  The last atom lies on a circle about the line between its neighbours:
    with d between these, both of its bonds have their length with a density of 1 / d.
    """
    ways = rng.normal(size=(RING - 1, count, 3))
    ways /= np.linalg.norm(ways, axis=2, keepdims=True)
    x = np.concatenate([np.zeros((1, count, 3)), np.cumsum(ways[:-1], axis=0)])
    d = np.linalg.norm(x[-1], axis=1)
    x, aside, d = x[:, d < 2], ways[-1, d < 2], d[d < 2]
    aside = np.cross(x[-1], aside)
    aside *= np.sqrt(1 - d**2 / 4)[:, None] / np.linalg.norm(aside, axis=1, keepdims=True)
    x = np.concatenate([x, (x[-1] / 2 + aside)[None]])
    return LENGTH * np.moveaxis(x, 0, 1), 1 / d / (1 / d).sum()


def log_root(x: np.ndarray) -> np.ndarray:
    """(n,) half the logarithm of the determinant of the metric of bonds, of rings (n, 8, 3)."""
    units = (np.roll(x, -1, axis=1) - x) / LENGTH
    metric = np.tile(2 * np.eye(RING), (len(x), 1, 1))
    for b in range(RING):
        c = (b + 1) % RING
        metric[:, b, c] = metric[:, c, b] = -(units[:, b] * units[:, c]).sum(axis=1)
    return 0.5 * np.linalg.slogdet(metric)[1]


def test_bonds_of_fixed_length_do_not_say_where_they_point() -> None:
    """Rings are as if nothing acted on them, whatever the metric of their bonds is.

    Dynamics alone favours a ring by the root g of the determinant of its metric.  So the mean of log g tells
    best whether that is taken off again.  Its standard error in 72 sweeps is 0.0029 (0.0034 in 4 runs of 54,
    0.0052 in 3 of 24).  Without the metric it is 0.022 too high, with an error of 0.0023 (3 runs of 54).  So
    correct code exceeds the limit by chance with a probability of 8e-7, and code without the metric stays
    below it with one of 5e-4.
    """
    copies, limit, rng = 64, 0.0145, np.random.default_rng(8)
    terms = [("bonds", 1, (k, (k + 1) % RING), (LENGTH, 2e5)) for k in range(RING)]
    moltype = molecule("RNG", [("C", 15.0, 0.0)] * RING, terms, nrexcl=RING // 2)
    made = system([(moltype, beads_of(moltype, [0] * RING), copies)], CONTACT)

    some, shares = rings(400_000, rng)
    known = float(shares @ log_root(some))  # to 0.0005
    points, box = lattice(copies, 1.9)
    chosen = some[rng.choice(len(some), copies, p=shares)]
    atoms = points[:, None] + chosen - chosen.mean(axis=1, keepdims=True)
    conditions = Conditions(temperature=400.0, spread=0.05, rvdw=0.3, rcoulomb=0.3)
    chain = start(made, conditions, atoms.reshape(-1, 3), box)
    windows_alone(chain)
    found = sample(
        chain, lambda x: log_root(x.reshape(-1, RING, 3)), burn=SELDOM, sweeps=72 * SELDOM, every=SELDOM
    )
    error = found.mean(axis=0).std(ddof=1) / np.sqrt(copies)
    print(f"log g: {found.mean() - known:+.4f} of {known:.4f}, error {error:.4f}")
    assert abs(found.mean() - known) < limit


# --- conformations and states ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Twelve molecules of octane."""
    return cut(share_path("examples", "octane"), tmp_path_factory.mktemp("liquid") / "octane", "OCT", 12)


def swept(made: Cut, *, windows: int, others: int, threads: int = 1) -> Chain:
    """A chain that begins with atoms at equilibrium."""
    conditions = Conditions(350.0, constraints="none", rvdw=0.9, rcoulomb=0.9)
    sampler = make_sampler(made.system, conditions, Settings(), {}, threads=threads)
    x, stream = equilibrated(made)[0].astype(np.float64), frame_stream(1, 0, 0)
    chain = start_chain(configure(sampler, x, made.beads[0]))
    sweep_windows(chain, windows, stream, sampler.team)
    for _ in range(others):
        advance(chain, stream, Team())
    return chain


def mirrored(*, windows: bool) -> float:
    """Share of molecules that become their mirror image, which beads and energy do not tell from it.

    Four united atoms on two beads that hold them gauche; all begin alike.  To turn the torsion the other way
    the ends must pass each other, or trans, while their beads stay where they are.
    """
    conditions = Conditions(temperature=400.0, spread=0.004, rvdw=0.3, rcoulomb=0.3)
    made = system([(butane(), beads_of(butane(), [0, 0, 1, 1]), 24)], CONTACT)
    points, box = lattice(24, 1.7)
    atoms = (points[:, None] + ended(np.array(1.15))).reshape(-1, 3)
    chain = start(made, conditions, atoms, box)
    chain.progress.steps[moves_of(chain, ANNEALING)] = float(windows)
    found = sample(
        chain, lambda x: dihedral(x.reshape(-1, 4, 3)) < 0, burn=16 * SELDOM, sweeps=12 * SELDOM, every=SELDOM
    )
    return float(found.mean())


def test_windows_take_conformations_that_small_moves_cannot() -> None:
    small, usual = mirrored(windows=False), mirrored(windows=True)
    print(f"{small:.0%} by small moves, {usual:.0%} with windows")
    assert small < 0.1
    assert 0.35 < usual < 0.65  # both are as likely


def test_energies_add_up(liquid: Cut) -> None:
    chain = swept(liquid, windows=16, others=0)
    assert total_energy(chain.conf) == pytest.approx(chain.energy, abs=0.01)


def test_windows_do_not_depend_on_threads(liquid: Cut) -> None:
    one, two = (swept(liquid, windows=9, others=0, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.conf.positions, two.conf.positions)


def test_windows_are_left_out_after_their_sweeps(liquid: Cut) -> None:
    chain = swept(liquid, windows=8, others=0)
    windows = chain.conf.arrays.moves.move_type == ANNEALING
    assert windows.any()
    assert not chain.progress.steps[windows].any()


def chiral() -> MoleculeType:
    """A centre with four neighbours, two of which go on, and angles too soft to keep it as it is."""
    types = [("A", 12.0, 0.0), ("A", 1.0, 0.0), ("A", 19.0, 0.0), ("A", 14.0, 0.0), ("A", 16.0, 0.0)]
    bonds = [(0, 1), (0, 2), (0, 3), (0, 4), (3, 5), (4, 6)]
    arms = [(i, 0, j) for i in range(1, 5) for j in range(i + 1, 5)]
    return molecule(
        "CHI",
        [*types, ("A", 15.0, 0.0), ("A", 17.0, 0.0)],
        [
            *(("bonds", 1, bond, (0.15, 2e5)) for bond in bonds),
            *(("angles", 1, arm, (109.5, 6.0)) for arm in arms),
            *(("angles", 1, angle, (112.0, 100.0)) for angle in ((0, 3, 5), (0, 4, 6))),
        ],
        nrexcl=4,
    )


def test_windows_keep_stereocentres() -> None:
    moltype, copies = chiral(), 40
    assert len(stereocentres(moltype)) == 1
    made = system([(moltype, beads_of(moltype, [0] * 7), copies)], CONTACT)
    one = 0.15 * np.array([[0, 0, 0], *([1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1])], float)
    one[1:] /= np.sqrt(3)
    one = np.concatenate([one, one[3:5] + 0.15 * np.eye(3)[1:]])
    points, box = lattice(copies, 2.0)
    turns = ortho_group.rvs(3, size=copies, random_state=1)
    turns[np.linalg.det(turns) < 0] *= -1
    atoms = (points[:, None] + one @ turns).reshape(-1, 3)
    conditions = Conditions(temperature=400.0, spread=0.02, rvdw=0.5, rcoulomb=0.5)
    chain = start(made, conditions, atoms, box)
    windows_alone(chain)

    def volumes(x: np.ndarray) -> np.ndarray:
        return chirality_of(x.reshape(copies, -1, 3), stereocentres(moltype))

    before = volumes(atoms)
    assert abs(before.sum()) == copies
    found = sample(chain, volumes, burn=0, sweeps=20 * SELDOM, every=SELDOM)
    accepted = chain.progress.tried[..., 1].sum() / chain.progress.tried[..., 0].sum()
    assert accepted > 0.1
    assert (found * before >= 0).all()


# --- which windows there are -----------------------------------------------------------------------


def test_a_window_is_annealed_as_a_whole() -> None:
    """All terms and pairs of its atoms change with it, and each pair once."""
    moltype = limp(site=False)
    made = system([(moltype, beads_of(moltype, [0, 0, 1, 1]), 1)], CONTACT)
    chain = start(made, Conditions(spread=0.05, rvdw=0.3, rcoulomb=0.3), zigzag(), np.eye(3) * 3)
    moves = chain.conf.arrays.moves
    (window,) = moves_of(chain, ANNEALING)
    assert np.diff(moves.changed_start)[window] == 6
    assert np.diff(moves.tied_start)[window] == 3
    pairs = moves.pair[moves.pair_start[window] : moves.pair_start[window + 1]].tolist()
    assert all(i < j for i, j in pairs)
    assert len({tuple(p) for p in pairs}) == len(pairs)
    assert list(pairwise(moves.tied_start.tolist()))

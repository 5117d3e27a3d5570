"""Conformers are drawn with the probability of their energies, alone and among neighbours."""

import numpy as np
import pytest
from exact import beads_of, molecule, system, window

from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import Conditions
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.annealing import Copies
from dbm_gmx.sampling.arrays import Configuration, make_arrays
from dbm_gmx.sampling.candidates import Candidates
from dbm_gmx.sampling.conformer_exchange import exchange_conformers
from dbm_gmx.sampling.neighbours import make_neighbours
from dbm_gmx.sampling.random_numbers import Stream
from dbm_gmx.sampling.surroundings import CUTOFF, MARGIN
from dbm_gmx.sampling.windows import Group

SIGMA, BOX = 0.3, 4.0 * np.eye(3)
TRIES, FEW = 1500, 200
"""How often it is chosen where a probability is asked, and where something is certain or just happens."""

CONTACT = 2 ** (1 / 6) * SIGMA
CONDITIONS = Conditions(temperature=300.0)

# A chain whose last atom, which weighs nothing, is above the plane of the others or below it.
ABOVE = np.array([[0.05, 0.14, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.15, 0.0, 0.15]])
BELOW = ABOVE * [1, 1, -1]
PLACE = np.array([0.3, 2.0, 3.8])  # so that the neighbour is seen through a wall of the box


class Case:
    """A chain and one atom; dihedral energies (kT) above and below, depth of the pair in kT.

    ``first`` is the first atom of the chain that moves; ``middle`` the depth of those that turn nothing.
    """

    def __init__(self, above: float, below: float, epsilon: float, *, first: int = 0, middle: float = 0.0):
        sites = [("C", 12.0, 0.0)] * 3 + [("H", 1e-6, 0.0)]
        lengths = np.linalg.norm(np.diff(ABOVE, axis=0), axis=1)
        bonds = [("bonds", 1, (i, i + 1), (float(lengths[i]), 2e5)) for i in range(3)]
        tight = [("angles", 1, (0, 1, 2), (70.346, 2000.0)), ("angles", 1, (1, 2, 3), (90.0, 2000.0))]
        atom = molecule("N", [("N", 40.0, 0.0)], [])
        self.kt = make_hamiltonian(
            system([(atom, beads_of(atom, [0]), 1)], {"N": (SIGMA, 1.0)}), CONDITIONS
        ).kt
        # two minima, at +90 and -90 degrees: cos 2 phi parts them, sin phi tells them apart
        turned = [
            ("dihedrals", 1, (0, 1, 2, 3), (0.0, 20 * self.kt, 2.0)),
            ("dihedrals", 1, (0, 1, 2, 3), (90.0, 0.5 * (above - below) * self.kt, 1.0)),
        ]
        chain = molecule("M", sites, [*bonds, *tight, *turned])
        pair = [(chain, beads_of(chain, [0, 0, 0, 0]), 1), (atom, beads_of(atom, [0]), 1)]
        depths = {"C": middle, "H": epsilon, "N": epsilon}
        self.depth = {name: (SIGMA, depth * self.kt) for name, depth in depths.items()}
        self.system = system(pair, self.depth)
        hamiltonian = make_hamiltonian(self.system, CONDITIONS)
        self.arrays, four = make_arrays(hamiltonian), np.arange(4)
        none = np.zeros((1, 0), np.int64)
        self.free = four[first:]
        arrays = window(hamiltonian, "M", self.free)
        self.group = Group(arrays, four[None], np.zeros((1, 1), np.int64), none, ())
        self.bead = PLACE + ABOVE[:3].mean(axis=0)

    def choose(
        self,
        neighbour: np.ndarray,
        attempt: int,
        cost: tuple[float, ...] = (0.0, 0.0),
        team: Team | None = None,
    ) -> np.ndarray:
        """Where the last atom is put, relative to the chain."""
        atoms = np.concatenate([PLACE + ABOVE, (PLACE + neighbour)[None]])
        atoms[4, 2] -= 4.0 * (atoms[4, 2] > 4.0)
        beads = np.array([self.bead, atoms[4]])
        neighbours = make_neighbours(beads, np.full(2, 0.4), BOX, CUTOFF + MARGIN)
        conf = Configuration(atoms, np.zeros((2, 3)), neighbours, self.arrays)
        conformers = PLACE + np.stack([ABOVE, BELOW])[None, : len(cost), self.free]
        zero = np.zeros(1, np.int64)
        copies = Copies(self.bead[None, None], np.zeros((1, 0)), atoms[None, :4], zero)
        candidates = Candidates(self.group, copies, conformers, self.kt * np.array([cost]))
        exchange_conformers(conf, candidates, zero, Stream((1, attempt)), team or Team())
        return conf.positions[3] - PLACE

    def above(
        self,
        neighbour: np.ndarray,
        cost: tuple[float, ...] = (0.0, 0.0),
        tries: int = TRIES,
    ) -> float:
        """How often it is put above."""
        return float(np.mean([self.choose(neighbour, n, cost)[2] > 0 for n in range(tries)]))


FAR = np.array([0.0, 1.5, 0.0])


def error(p: float) -> float:
    return 4 * float(np.sqrt(p * (1 - p) / TRIES))


def test_alone_the_energy_decides() -> None:
    expected = 1 / (1 + np.exp(-1.5))
    assert Case(0.0, 1.5, 0.0).above(FAR) == pytest.approx(expected, abs=error(expected) + 0.01)


def test_a_conformer_that_was_found_before_is_never_chosen() -> None:
    assert Case(1.0, 0.0, 0.0).above(FAR, (0.0, np.inf), FEW) == 1


def test_one_that_is_far_better_than_the_present_one_is_taken() -> None:
    """Also if it is the only one worth a try."""
    assert Case(30.0, 0.0, 0.0).above(FAR, (30.0, 0.0), FEW) == 0


def test_the_present_one_stays_for_what_it_has_around_it_however_strained_it_is_alone() -> None:
    case, neighbour = Case(10.0, 0.0, 20.0), ABOVE[3] + [0, 0, CONTACT]
    assert case.above(neighbour, (10.0, 0.0), FEW) == 1
    assert case.above(FAR, (10.0, 0.0), FEW) == 0


def test_a_good_contact_is_preferred() -> None:
    expected = 1 / (1 + np.exp(-1.0))
    found = Case(0.0, 0.0, 1.0).above(ABOVE[3] + [0, 0, CONTACT])
    # the other conformer feels a little of it too
    assert found == pytest.approx(expected, abs=error(expected) + 0.02)


def test_a_conformer_gets_out_of_an_overlap_and_counts_with_what_it_has_then() -> None:
    """Before it gives way it would cost hundreds of kT."""
    case, neighbour = Case(0.0, 0.0, 1.0), ABOVE[3] + [0.05, 0.19, 0.05]
    assert np.linalg.norm(ABOVE[3] - neighbour) < 0.7 * SIGMA
    moved = next(x for x in (case.choose(neighbour, n) for n in range(FEW)) if x[2] > 0)
    assert np.linalg.norm(moved - neighbour) > 0.9 * SIGMA
    assert np.linalg.norm(moved - ABOVE[3]) > 0.02
    assert case.above(neighbour, tries=FEW) > 0.3


def test_a_window_does_not_run_into_the_rest_of_its_molecule() -> None:
    """Those it is bonded to stand still, much nearer than a pair that is not bonded could be."""
    case = Case(0.0, 0.0, 1.0, first=3, middle=1.0)
    found = np.array([case.choose(FAR, n) for n in range(20)])
    np.testing.assert_allclose(np.linalg.norm(found - ABOVE[2], axis=1), 0.15, atol=0.001)
    assert 0 < (found[:, 2] > 0).sum() < len(found)


def test_who_has_no_choice_stays() -> None:
    left = Case(0.0, 0.0, 1.0).choose(ABOVE[3] + [0, 0, CONTACT], 0, (0.0,))
    assert np.abs(left - ABOVE[3]).max() < 1e-12


def test_threads_change_nothing() -> None:
    case, neighbour, two = Case(0.0, 0.3, 1.0), ABOVE[3] + [0, 0, CONTACT], Team(2)
    for attempt in range(5):
        alone = case.choose(neighbour, attempt)
        assert np.array_equal(case.choose(neighbour, attempt, team=two), alone)


def test_molecules_out_of_sight_choose_together_and_each_for_itself() -> None:
    """Many chains, each with a neighbour of its own, on one thread and on three, in one turn per colour."""
    case, count = Case(0.0, 0.0, 1.0), 60
    chain, atom = (match.moltype for match in case.system.matches)
    parts = [(chain, beads_of(chain, [0] * 4), count), (atom, beads_of(atom, [0]), count)]
    arrays = make_arrays(make_hamiltonian(system(parts, case.depth), CONDITIONS))
    # pairs of chains see each other, others do not
    places = np.array([[0.5 + 2.5 * (k // 2), 0.5 + 0.6 * (k % 2), 0.5] for k in range(count)])
    box = np.diag([2.5 * count, 4.0, 4.0])
    chains, above = places[:, None] + ABOVE, places + ABOVE[3] + [0, 0, CONTACT]
    atoms, centre = np.concatenate([chains.reshape(-1, 3), above]), ABOVE[:3].mean(axis=0)
    beads = np.concatenate([places + centre, above])
    neighbours = make_neighbours(beads, np.full(2 * count, 0.4), box, CUTOFF + MARGIN)
    conformers = places[:, None, None] + np.stack([ABOVE, BELOW])[None]
    none, first = np.zeros((count, 0)), 4 * np.arange(count)
    copies = Copies((places + centre)[:, None], none, chains, np.arange(count))
    candidates = Candidates(case.group, copies, conformers, np.zeros((count, 2)))

    def chosen(attempt: int, threads: int = 1) -> np.ndarray:
        conf = Configuration(atoms.copy(), np.zeros((2 * count, 3)), neighbours, arrays)
        exchange_conformers(conf, candidates, first, Stream((1, attempt)), Team(threads))
        return conf.positions

    assert np.array_equal(chosen(0), chosen(0, threads=3))
    heights = np.stack([chosen(n)[3 : 4 * count : 4, 2] for n in range(20)])
    expected, tries = 1 / (1 + np.exp(-1.0)), heights.size
    error = 4 * np.sqrt(expected * (1 - expected) / tries)
    assert (heights > 0.5).mean() == pytest.approx(expected, abs=error + 0.03)
    # no two of them do the same
    assert len({tuple(row) for row in (heights > 0.5).T.tolist()}) > 0.9 * count

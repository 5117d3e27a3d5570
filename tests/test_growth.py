"""Molecules grown on beads find the conformers that the beads allow."""

from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import pytest
from cut import Cut, cut
from exact import Row, beads_of, system
from exact import molecule as moltype_of
from scipy.spatial.transform import Rotation
from systems import Example

from dbm_gmx.chemistry.stereo import chirality_of, stereocentres
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.files.share import share_path
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import Conditions
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.annealing import Schedule, Task, anneal
from dbm_gmx.sampling.candidates import Candidates, find_candidates
from dbm_gmx.sampling.chirality import DECIDED, _possible, infer_from_beads, infer_states
from dbm_gmx.sampling.conformers import ConformerPools
from dbm_gmx.sampling.evidence import _Search, _search, make_clusters
from dbm_gmx.sampling.growth import (
    CONFORMERS,
    Grower,
    Molecules,
    energy_of,
    grow,
    make_grower,
    take,
)
from dbm_gmx.sampling.random_numbers import frame_stream

MOLECULES = 40


STREAM = frame_stream(1, 0, 0)


@dataclass
class Liquid:
    """Octane on beads that equilibrated molecules gave them, and what these cost at their minima (kT)."""

    grower: Grower
    molecules: Molecules
    cost: np.ndarray

    def candidates(self, count: int) -> Candidates:
        """What the one window of each molecule is offered besides what it was grown to."""
        start = grow(self.grower, self.molecules, STREAM).positions
        return find_candidates(self.grower, self.grower.groups[0], count, self.molecules, start, STREAM)


@pytest.fixture(scope="module")
def liquid(octane: Example) -> Liquid:
    match = octane.system.matches[0]
    hamiltonian = make_hamiltonian(octane.system, Conditions(temperature=350.0))
    kt, molecule = hamiltonian.kt, hamiltonian.molecules[match.moltype.name]
    grower = make_grower(hamiltonian, molecule, ConformerPools(kt, CONFORMERS, 1), Team())
    beads = mapped_beads(octane.system, octane.atoms).reshape(match.count, -1, 3)[:MOLECULES]
    molecules = Molecules(
        beads.astype(np.float64), np.zeros((MOLECULES, 0), np.int8), np.arange(MOLECULES), 0
    )
    atoms = octane.atoms.astype(float).reshape(match.count, -1, 3)[:MOLECULES]
    down, whole = Task(Schedule(0, 500, 1.0, 0.06, 0.1), STREAM.key), grower.whole
    cost = anneal(whole.arrays, down, take(whole, molecules, atoms), grower.team)
    return Liquid(grower, molecules, cost / kt)


def test_grown_molecules_are_on_their_beads_in_one_piece(liquid: Liquid) -> None:
    found = grow(liquid.grower, liquid.molecules, STREAM)
    molecule = liquid.grower.molecule
    centres = np.einsum("ba,cad->cbd", molecule.weights.toarray(), found.positions)
    assert np.sqrt(((centres - liquid.molecules.beads) ** 2).sum(-1).mean()) < 0.02
    i, j = molecule.fixed.T
    lengths = np.linalg.norm(found.positions[:, i] - found.positions[:, j], axis=-1)
    assert np.abs(lengths - molecule.length).max() < 0.03


def test_conformers_as_low_as_those_of_equilibrium_are_among_the_offered(liquid: Liquid) -> None:
    energy = liquid.candidates(24).energy
    excess = energy / liquid.grower.hamiltonian.kt - liquid.cost[:, None]
    assert (excess.min(axis=1) < 2).mean() > 0.8
    # where one trial alone often ends higher
    assert (excess[:, 0] < 2).mean() < 0.6


def test_what_was_found_before_is_not_offered_again(liquid: Liquid) -> None:
    found = liquid.candidates(12)
    inner = np.isin(found.group.free[0], liquid.grower.skeleton)
    for molecule, energies in zip(found.conformers[:, :, inner], found.energy, strict=True):
        offered = molecule[np.isfinite(energies)]
        apart = np.linalg.norm(offered[:, None] - offered[None], axis=-1).max(axis=-1)
        assert (apart[~np.eye(len(offered), dtype=bool)] >= 0.05).all()
    assert np.isinf(found.energy).any()
    assert np.isfinite(found.energy[:, 0]).all()


# --- cages -----------------------------------------------------------------------------------------

CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
"""Of a tetrahedron: in adamantane carbons that are bonded to three of the six between them."""


def adamantane() -> tuple[System, np.ndarray]:
    """Adamantane with four beads, and its atoms (26, 3), all bonds at rest."""
    ends = list(combinations(range(4), 2))
    carbons = 0.0883 * np.concatenate([CORNERS, [CORNERS[i] + CORNERS[j] for i, j in ends]])
    out = carbons / np.linalg.norm(carbons, axis=1, keepdims=True)
    across = np.array([np.cross(out[4 + k], CORNERS[i] - CORNERS[j]) for k, (i, j) in enumerate(ends)])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    x = [*carbons, *(carbons[:4] + 0.109 * out[:4])]
    for sign in (1, -1):
        x += [*(carbons[4:] + 0.109 * (0.577 * out[4:] + sign * 0.816 * across))]
    bonds = [(corner, 4 + k) for k, pair in enumerate(ends) for corner in pair]
    bonds += [(i, 10 + i) for i in range(4)] + [(4 + k % 6, 14 + k) for k in range(12)]
    rows: list[Row] = [("bonds", 1, (i, j), (0.109 if j > 9 else 0.153, 2e5)) for i, j in bonds]
    near = [[a + b - i for a, b in bonds if i in (a, b)] for i in range(10)]
    ends_of = [(i, j, k) for j in range(10) for i, k in combinations(near[j], 2)]
    rows += [("angles", 1, angle, (109.5, 400.0)) for angle in ends_of]
    moltype = moltype_of("ADA", [("C", 12.0, 0.0)] * 10 + [("H", 1.0, 0.0)] * 16, rows)
    # 01 and 02 with the first corner, 12 and 13 with the second, 23 and 03 with the others
    owner = [0, 1, 2, 3, 0, 0, 3, 1, 1, 2]
    owner += [owner[i] for i in (*range(4), *range(4, 10), *range(4, 10))]
    made = system([(moltype, beads_of(moltype, owner), 1)], {"C": (0.35, 0.3), "H": (0.25, 0.1)})
    return made, np.array(x)


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_cage_is_turned_onto_its_beads(mirror: int) -> None:
    """It has no stereocentres; but its mirror image has other atoms on the beads, and does not fit them."""
    made, x = adamantane()
    hamiltonian = make_hamiltonian(made, Conditions(temperature=300.0))
    pools = ConformerPools(hamiltonian.kt, CONFORMERS, 1)
    grower = make_grower(hamiltonian, hamiltonian.molecules["ADA"], pools, Team())
    turns = Rotation.random(10, rng=np.random.default_rng(1)).as_matrix() * [1, 1, mirror]
    beads = np.einsum("cij,bj->cbi", turns, grower.molecule.weights.toarray() @ x)
    found = grow(grower, Molecules(beads, np.zeros((10, 0), np.int8), np.arange(10), 0), STREAM)
    i, j = made.matches[0].moltype.bonds.T
    off = np.linalg.norm(found.positions[:, i] - found.positions[:, j], axis=-1)
    off = np.abs(off - np.linalg.norm(x[i] - x[j], axis=-1)).max(axis=1)
    assert (off < 0.002).mean() >= 0.3  # half of them, with chance; exchange takes the best of 49


def bicyclic(owner: list[int]) -> Grower:
    """Norborneol of united atoms on beads."""
    bonds = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (0, 6), (3, 6), (1, 7)]
    masses = [13.02, 13.02, 14.03, 13.02, 14.03, 14.03, 14.03]
    rows: list[Row] = [("bonds", 1, bond, (0.143 if 7 in bond else 0.154, 2e5)) for bond in bonds]
    near = [[a + b - i for a, b in bonds if i in (a, b)] for i in range(8)]
    for j in range(8):
        for i, k in combinations(near[j], 2):
            angle = 95.0 if j == 6 else 101.0 if 6 in (i, k) else 112.0 if 7 in (i, k) else 105.0
            rows.append(("angles", 1, (i, j, k), (angle, 500.0)))
    moltype = moltype_of("NOR", [*(("C", m, 0.0) for m in masses), ("O", 17.0, 0.0)], rows)
    made = system([(moltype, beads_of(moltype, owner), 1)], {"C": (0.39, 0.5), "O": (0.31, 0.7)})
    hamiltonian = make_hamiltonian(made, Conditions(temperature=300.0))
    pools = ConformerPools(hamiltonian.kt, CONFORMERS, 1)
    return make_grower(hamiltonian, hamiltonian.molecules["NOR"], pools, Team())


@pytest.fixture(scope="module")
def norborneol() -> Grower:
    return bicyclic([0] * 8)


@pytest.mark.parametrize("mirror", [1, -1])
def test_three_beads_do_not_tell_a_cage_from_its_mirror_image(mirror: int) -> None:
    """They lie in a plane, in which the molecule can be mirrored: nothing is sure."""
    grower = bicyclic([0, 0, 0, 1, 1, 2, 2, 0])
    (piece,) = grower.pieces
    there = next(p for p in product((1, -1), repeat=3) if grower.pools.has(piece, p))
    x = grower.pools(piece, tuple(mirror * k for k in there))[:2]
    beads = np.einsum("ba,cai->cbi", grower.molecule.weights.toarray(), x)
    unknown = Molecules(beads, np.zeros((2, 3), np.int8), np.arange(2), 0)
    found = infer_states(grower, [unknown], STREAM)
    assert found.undecided.any(axis=1).all()
    assert found.confidence.max() < 3.0


def test_of_bicyclic_molecules_mirror_images_are_found(norborneol: Grower) -> None:
    """Exo and endo, and strained ones; but not all states of bridgeheads go together."""
    (piece,) = norborneol.pieces
    assert len(piece.centres) == 3
    there = [p for p in product((1, -1), repeat=3) if norborneol.pools.has(piece, p)]
    assert 4 <= len(there) < 8
    assert sorted(tuple(-k for k in p) for p in there) == sorted(there)


def test_states_that_no_structure_has_together_are_undecided(norborneol: Grower) -> None:
    (piece,) = norborneol.pieces
    every = np.array(list(product((1, -1), repeat=3)), np.int8)
    there = np.array([norborneol.pools.has(piece, tuple(p.tolist())) for p in every])
    sure = np.tile([5.0, 4.0, 9.0], (8, 1))
    given = np.zeros_like(every)
    given[:, 2] = every[:, 2]
    sure[:, 2] = np.inf
    states, confidence = _possible(norborneol, given, every, sure)
    np.testing.assert_array_equal(states[there], every[there])
    np.testing.assert_array_equal(confidence[there], sure[there])
    assert all(norborneol.pools.has(piece, tuple(p.tolist())) for p in states)
    np.testing.assert_array_equal(states[:, 2], every[:, 2])  # what is given stays
    changed = states != every
    assert (changed.sum(axis=1) == ~there).all()  # no more than is needed
    assert (confidence[changed] == 0).all()
    assert (confidence[~changed] > 0).all()


@dataclass
class Decalins:
    """Decalins with two arms, whose four centres are known, on beads that they gave.

    Attributes
    ----------
    grower
        All atoms are one fragment.
    states
        (4,) of the centres of all.
    molecules
        Nothing of these is known but beads, which are as far off as heat takes them.
    atoms
        (copies, 12, 3) nm.
    """

    grower: Grower
    states: np.ndarray
    molecules: Molecules
    atoms: np.ndarray

    def least(self, what: _Search) -> np.ndarray:
        """(copies,) energies of the minima next to the atoms, kT."""
        window = what.window
        copies = take(window, self.molecules, self.atoms)
        copies.chirality[:] = self.states[window.centres[0]]
        down = Task(Schedule(0, 800, 1.0, 0.06, 0.1), STREAM.key)
        return anneal(window.arrays, down, copies, self.grower.team) / self.grower.hamiltonian.kt

    def searches(self) -> list[_Search]:
        clusters = make_clusters(self.grower, range(4))
        elements = (*clusters.groups, *((k,) for k in clusters.shared))
        return [_Search(*both) for both in zip(clusters.windows, elements, strict=True)]


def decalins(owner: list[int], states: tuple[int, ...], cis: float = 0.0) -> Decalins:
    """Of united atoms: carbons 4 and 5 are in both rings, 1 and 7 have an arm each.

    Those whose rings are joined *cis* cost 1.5 ``cis`` more, kJ/mol.
    """
    bonds = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (4, 6), (6, 7), (7, 8), (8, 9), (5, 9)]
    bonds += [(1, 10), (7, 11)]
    rows: list[Row] = [("bonds", 1, bond, (0.143 if 11 in bond else 0.153, 2e5)) for bond in bonds]
    near = [[a + b - i for a, b in bonds if i in (a, b)] for i in range(12)]
    for j in range(12):
        rows += [("angles", 1, (i, j, k), (111.0, 450.0)) for i, k in combinations(near[j], 2)]
    for a, b in bonds:
        ends = [(i, a, b, k) for i, k in product(near[a], near[b]) if b != i != k != a]
        rows += [("dihedrals", 1, end, (0.0, 3.0, 3)) for end in ends]
    rows += [("dihedrals", 9, end, (0.0, cis, 1)) for end in ((3, 4, 5, 9), (6, 4, 5, 0))]
    masses = [13.02 if i in (1, 4, 5, 7) else 14.03 for i in range(10)]
    atoms = [*(("C", mass, 0.0) for mass in masses), ("C", 15.03, 0.0), ("O", 17.0, 0.0)]
    moltype = moltype_of("DEC", atoms, rows)
    made = system([(moltype, beads_of(moltype, owner), 1)], {"C": (0.39, 0.5), "O": (0.31, 0.7)})
    hamiltonian = make_hamiltonian(made, Conditions(temperature=300.0))
    pools = ConformerPools(hamiltonian.kt, CONFORMERS, 1)
    grower = make_grower(hamiltonian, hamiltonian.molecules["DEC"], pools, Team())
    (piece,) = grower.pieces
    x = grower.pools(piece, states)[:8]
    beads = np.einsum("ba,cai->cbi", grower.molecule.weights.toarray(), x)
    beads += np.random.default_rng(0).normal(scale=0.008, size=beads.shape)
    unknown = Molecules(beads, np.zeros((8, 4), np.int8), np.arange(8), 0)
    return Decalins(grower, np.array(states), unknown, x)


@pytest.mark.parametrize(
    "owner", [[0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 0, 2], [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1]]
)
@pytest.mark.parametrize("states", [(1, 1, 1, 1), (1, 1, -1, 1)])
def test_searches_find_what_the_true_atoms_are_next_to(owner: list[int], states: tuple[int, ...]) -> None:
    """Else the true states seem strained, and others are decided."""
    made = decalins(owner, states)
    for what in made.searches():
        true = sum(1 << j for j, element in enumerate(what.group) if states[element] < 0)
        found = _search(made.grower, what, made.molecules, STREAM).energy[:, true]
        above = found - made.least(what)
        assert np.maximum(above, 0).mean() < 0.5


def test_what_a_molecule_costs_without_beads_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """*Cis* costs 14 kT: by a bead about which all atoms fit, any decalin would be taken for *trans*."""
    made = decalins([0] * 12, (1, 1, 1, 1), cis=24.0)
    known = replace(made.molecules, chirality=np.tile(np.array([0, 1, 0, 0], np.int8), (8, 1)))
    assert infer_states(made.grower, [known], STREAM).confidence[:, 2:].max() < 0.5
    monkeypatch.setattr("dbm_gmx.sampling.evidence.MADE", 0.0)
    assert infer_states(made.grower, [known], STREAM).confidence[:, 2].min() > DECIDED


# --- chirality -------------------------------------------------------------------------------------


@dataclass
class Chains:
    """Decamers of polystyrene on beads that equilibrated ones gave them, and their chirality."""

    grower: Grower
    molecules: Molecules
    true: np.ndarray

    def given(self, chirality: np.ndarray) -> Molecules:
        return replace(self.molecules, chirality=chirality)


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Chains:
    folder = tmp_path_factory.mktemp("chains")
    made: Cut = cut(share_path("reference", "sps"), folder / "sps", "SPS", 2)
    hamiltonian = make_hamiltonian(made.system, Conditions(temperature=568.0))
    match, kt = made.system.matches[0], hamiltonian.kt
    grower = make_grower(hamiltonian, hamiltonian.molecules["SPS"], ConformerPools(kt, CONFORMERS, 1), Team())
    true = chirality_of(match.molecules(made.atoms[0].positions), stereocentres(match.moltype))
    beads = made.beads[0].positions.astype(np.float64).reshape(match.count, -1, 3)
    molecules = Molecules(beads, np.zeros_like(true), np.arange(match.count), 0)
    assert true.shape == (2, 9)
    assert true.all()
    return Chains(grower, molecules, true)


def test_chirality_is_that_of_the_molecules_the_beads_come_from(chains: Chains) -> None:
    found = infer_from_beads(chains.grower, chains.molecules, STREAM)
    assert (found.chirality == chains.true).mean() > 0.85
    assert not chains.molecules.chirality.any()  # what was given is not changed
    # seen in a mirror, the other way
    mirrored = replace(chains.molecules, beads=chains.molecules.beads * [1.0, 1.0, -1.0])
    other = infer_from_beads(chains.grower, mirrored, STREAM)
    assert (other.chirality == -chains.true).mean() > 0.85


def test_chirality_that_is_given_is_kept(chains: Chains) -> None:
    """Where it is wrong too; and where all of it is given nothing is done at all."""
    some = np.zeros_like(chains.true)
    some[:, 2], some[0, 6] = -chains.true[:, 2], chains.true[0, 6]
    found = infer_from_beads(chains.grower, chains.given(some), STREAM).chirality
    assert (found[some != 0] == some[some != 0]).all()
    assert set(np.unique(found)) <= {-1, 1}
    whole = chains.given(chains.true)
    assert infer_from_beads(chains.grower, whole, STREAM) is whole


@pytest.mark.parametrize("mirror", [1, -1])
def test_grown_molecules_have_the_chirality_that_is_asked_for(chains: Chains, mirror: int) -> None:
    """Also where the beads would have it the other way."""
    asked = mirror * chains.true
    found = grow(chains.grower, chains.given(asked), STREAM)
    assert (chirality_of(found.positions, stereocentres(chains.grower.molecule.moltype)) == asked).all()
    assert (found.energy < 1e5).all()  # no penalty


def test_a_wrong_stereocentre_costs_more_than_any_strain(chains: Chains) -> None:
    """The force turns nearly all the right way; what it leaves must never be the best that was found."""
    positions = grow(chains.grower, chains.given(chains.true), STREAM).positions
    whole = chains.grower.whole
    right = energy_of(whole, take(whole, chains.given(chains.true), positions))
    for wrong in (1, 3, 9):
        asked = chains.true.copy()
        asked[:, :wrong] *= -1
        cost = energy_of(whole, take(whole, chains.given(asked), positions)) - right
        assert (cost > 1e5 * wrong).all()

"""Work on a molecule goes with its length: what is prepared, what each window sees, what is grown."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from exact import beads_of, molecule, system
from scaling import exponent

from dbm_gmx.chemistry.fragments import branch, branch_sizes, make_fragments
from dbm_gmx.chemistry.stereo import stereo_elements, stereocentres
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, make_hamiltonian
from dbm_gmx.options import Conditions
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.arrays import make_arrays
from dbm_gmx.sampling.conformers import ConformerPools, pair_parameters
from dbm_gmx.sampling.growth import (
    CONFORMERS,
    LONE,
    TIE,
    Grower,
    Molecules,
    _grow_wider,
    energy_of,
    grow,
    make_grower,
    middles_of,
    put,
    take,
)
from dbm_gmx.sampling.random_numbers import frame_stream
from dbm_gmx.sampling.surroundings import NOTHING
from dbm_gmx.sampling.windows import SCREENED, Group

SITE = 4  # carbons of a bead
BOND, ANGLE, TORSION = (0.154, 2e5), (114.0, 520.0), (5.9, -1.1, 13.2, 0.0)


def chain(n: int, charge: float = 0.0) -> MoleculeType:
    """United atoms in a row, every tenth with a methyl group: a stereocentre.  Their charges alternate."""
    united = {10 * k for k in range(1, n // 10)}
    sites = [("C", 13.019 if i in united else 14.027, (-1) ** i * charge) for i in range(n)]
    bonds = [(i, i + 1) for i in range(n - 1)]
    for i in sorted(united):
        bonds.append((i, len(sites)))
        sites.append(("C", 15.035, 0.0))
    graph = nx.Graph(bonds)
    rows = [("bonds", 1, bond, BOND) for bond in bonds]
    rows += [("angles", 1, (i, j, k), ANGLE) for j in graph for i in graph[j] for k in graph[j] if i < k]
    rows += [("dihedrals", 5, (i, i + 1, i + 2, i + 3), TORSION) for i in range(n - 3)]
    return molecule("P", sites, rows)


def made(n: int, charge: float = 0.0) -> Hamiltonian:
    moltype = chain(n, charge)
    owner = [i // SITE for i in range(n)]
    owner += [int(next(iter(moltype.graph[i]))) // SITE for i in range(n, moltype.n_atoms)]
    parts = [(moltype, beads_of(moltype, owner), 1)]
    return make_hamiltonian(system(parts, {"C": (0.39, 0.4)}), Conditions(temperature=450.0))


def prepared(n: int, charge: float = 0.0) -> Grower:
    hamiltonian = made(n, charge)
    pools = ConformerPools(hamiltonian.kt, CONFORMERS, 1)
    return make_grower(hamiltonian, hamiltonian.molecules["P"], pools, Team())


def entries(values: object) -> int:
    """Numbers in all arrays of a record, whatever is in it."""
    if isinstance(values, np.ndarray):
        return values.size
    if isinstance(values, tuple):
        return sum(map(entries, values))
    return 0


def size_of(grower: Grower) -> int:
    """Numbers in all that is prepared to grow a molecule."""
    total = grower.layout.wishes.nnz + grower.layout.factors.L.nnz + grower.layout.factors.U.nnz
    for group in (grower.whole, *grower.groups, *grower.wider, *grower.offered):
        of_all = group.atoms, group.beads, group.centres, group.spots
        total += entries((tuple(group.arrays), tuple(group.pairs), *of_all))
    return total


def test_what_is_prepared_grows_with_the_molecule() -> None:
    short, long = size_of(prepared(200)), size_of(prepared(400))
    assert long < 2.2 * short


def test_arrays_of_the_moves_grow_with_the_molecule() -> None:
    short, long = (sum(map(entries, make_arrays(made(n)))) for n in (200, 400))
    assert long < 2.2 * short


def test_no_window_sees_more_of_a_longer_molecule() -> None:
    for windows, most in (("groups", 40), ("wider", 60)):
        of_both = (getattr(prepared(n), windows) for n in (100, 400))
        seen = [max(group.atoms.shape[1] for group in groups) for groups in of_both]
        assert seen[0] == seen[1] < most


def test_windows_that_are_alike_are_few_groups() -> None:
    """No more of a chain four times as long, for its middle is no different."""
    few, more = prepared(200), prepared(800)
    assert len(more.groups) <= len(few.groups) < 30
    assert sum(map(len, more.groups)) > 3.5 * sum(map(len, few.groups))


def test_windows_of_a_group_do_not_see_each_other_and_cover_the_molecule() -> None:
    grower = prepared(200)
    moved = np.zeros(grower.molecule.moltype.n_atoms, bool)
    for group in (*grower.groups, *grower.wider):
        free = group.free
        assert len(np.unique(free)) == free.size
        for one in range(len(group)):
            others = np.delete(free, one, axis=0)
            assert not np.isin(group.atoms[one], others).any()
        moved[free] = True
    assert moved.all()


def test_a_window_has_all_that_its_atoms_change() -> None:
    """The energy of a window changes as that of the whole molecule does."""
    grower, rng = prepared(60), np.random.default_rng(1)
    n = grower.molecule.moltype.n_atoms
    beads = rng.normal(size=(2, grower.molecule.weights.shape[0], 3))
    centres = len(stereo_elements(grower.molecule.moltype))
    molecules = Molecules(beads, np.ones((2, centres), np.int8), np.arange(2), 0)
    x = rng.normal(size=(2, n, 3))
    whole = energy_of(grower.whole, take(grower.whole, molecules, x))
    for group in (*grower.groups, *grower.wider):
        copies, y = take(group, molecules, x), x.copy()
        before = energy_of(group, copies)
        copies.positions[:, group.arrays.free] += 0.01 * rng.normal(
            size=(len(copies.positions), len(group.arrays.free), 3)
        )
        put(group, copies, y)
        change = (energy_of(group, copies) - before).reshape(2, -1).sum(axis=1)
        after = energy_of(grower.whole, take(grower.whole, molecules, y))
        assert change == pytest.approx(after - whole, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("charge", [0.0, 0.3])
def test_a_window_has_the_pairs_of_its_own_atoms_of_which_one_moves(charge: float) -> None:
    """Added up one by one, charges as in a medium."""
    grower, rng = prepared(60, charge), np.random.default_rng(1)
    molecule = grower.molecule
    centres = len(stereo_elements(molecule.moltype))
    beads = np.zeros((1, molecule.weights.shape[0], 3))
    molecules = Molecules(beads, np.ones((1, centres), np.int8), np.arange(1), 0)
    x = rng.normal(size=(1, molecule.moltype.n_atoms, 3))
    for group in (grower.offered[0], grower.offered[3]):
        copies = take(group, molecules, x)
        found = energy_of(group, copies) - energy_of(replace(group, pairs=NOTHING), copies)
        for atoms, free, energy in zip(group.atoms.tolist(), group.free.tolist(), found, strict=True):
            pairs = [(i, j) for i in atoms for j in atoms if i < j and (i in free or j in free)]
            c6, c12, qq = pair_parameters(grower.hamiltonian, molecule, np.array(pairs)).T
            i, j = np.array(pairs).T
            r = np.linalg.norm(x[0, i] - x[0, j], axis=1)
            assert energy == pytest.approx((c12 / r**12 - c6 / r**6 + qq / SCREENED / r).sum(), rel=1e-5)
    # those that are grown first know none: that is quicker, and most molecules gain nothing by it
    assert all(len(group.pairs.own.column) == 0 for group in (grower.whole, *grower.groups, *grower.wider))


def test_fragments_are_put_where_least_squares_want_them() -> None:
    grower, rng = prepared(60), np.random.default_rng(2)
    molecule, fragments = grower.molecule, grower.fragments
    weights, one = molecule.weights.toarray(), np.eye(len(fragments))
    shares = np.stack([weights[:, f.own].sum(axis=1) for f in fragments], axis=1)
    ties = np.array([one[k] - one[f.parent] for k, f in enumerate(fragments) if f.parent >= 0])
    home = np.stack([np.bincount(molecule.mapping.owner[f.own], minlength=len(weights)) for f in fragments])
    home = home / home.sum(axis=1, keepdims=True)
    beads = rng.normal(size=(2, len(weights), 3))
    for copy, found in zip(beads, grower.layout(beads), strict=True):
        wanted = np.concatenate([copy, np.zeros((len(ties), 3)), LONE * home @ copy])
        rows = np.concatenate([shares, TIE * ties, LONE * one])
        assert found == pytest.approx(np.linalg.lstsq(rows, wanted, rcond=None)[0], abs=1e-8)


def test_every_bond_between_fragments_is_next_to_the_middle_of_a_window() -> None:
    tree = nx.random_labeled_tree(60, seed=3)
    middles = set(middles_of(tree))
    assert all(i in middles or j in middles for i, j in tree.edges)
    assert len(middles) < 40
    assert middles_of(nx.path_graph(7)) == [1, 3, 5]


def test_sizes_of_branches() -> None:
    fragments = make_fragments(chain(40))
    assert branch_sizes(fragments) == [len(branch(fragments, k)) for k in range(len(fragments))]


def test_stereocentres_are_found_in_linear_time() -> None:
    """Each monomer of a chain differs from the next by its distance from the ends."""
    assert len(stereocentres(chain(400))) == 39
    types = {n: chain(n) for n in (500, 4000)}
    assert exponent(lambda n: stereocentres.__wrapped__(types[n]), 500, 4000) < 1.5


def test_a_long_chain_is_grown_on_its_beads() -> None:
    """Of hundreds of carbons, in one piece, within seconds."""
    grower = prepared(400)
    rng, count = np.random.default_rng(4), grower.molecule.weights.shape[0]
    steps = rng.normal(size=(count, 3))
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    # a smooth path whose steps are those of four bonds that are not all trans
    path = np.cumsum(steps[:, :1] * 0.1 + np.array([0.42, 0.0, 0.0]), axis=0)
    centres = len(stereo_elements(grower.molecule.moltype))
    molecules = Molecules(path[None], np.ones((1, centres), np.int8), np.arange(1), 0)
    found = grow(grower, molecules, frame_stream(1, 0, 0)).positions[0]
    i, j = grower.molecule.moltype.bonds.T
    assert np.abs(np.linalg.norm(found[i] - found[j], axis=1) - 0.154).max() < 0.03
    assert np.linalg.norm(grower.molecule.weights @ found - path, axis=1).mean() < 0.03


# --- wider windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "asked"), [(0.0, [[0, 4, 8]]), (9.0, [[0, 4, 8], [1, 2, 3, 5, 6, 7, 9]])])
def test_wider_windows_are_grown_in_all_molecules_where_they_pay_in_some(
    monkeypatch: pytest.MonkeyPatch, gain: float, asked: list[list[int]]
) -> None:
    """Gains are of kT a window."""
    long = prepared(60)
    seen, windows = list[list[int]](), sum(map(len, long.wider))

    def grown(_: Grower, group: Group, molecules: Molecules, *rest: object) -> float:
        if group is not long.wider[0]:
            return 0.0
        seen.append(molecules.number.tolist())
        return gain * long.hamiltonian.kt * windows * len(molecules)

    monkeypatch.setattr("dbm_gmx.sampling.growth._grow_group", grown)
    molecule = long.molecule
    beads = np.zeros((10, molecule.weights.shape[0], 3))
    centres = len(stereo_elements(molecule.moltype))
    molecules = Molecules(beads, np.ones((10, centres), np.int8), np.arange(10), 0)
    _grow_wider(long, molecules, np.zeros((10, molecule.moltype.n_atoms, 3)), frame_stream(1, 0, 0))
    assert seen == asked


def test_wider_windows_move_more() -> None:
    long = prepared(60)
    narrow, wide = (max(len(group.arrays.free) for group in groups) for groups in (long.groups, long.wider))
    assert wide > 1.3 * narrow

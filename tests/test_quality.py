"""Judgements of a reconstructed frame: contacts, stereocentres, beads, bonds."""

from __future__ import annotations

from itertools import combinations, product

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from dbm_gmx.backmapping.summary import Refinement, Report, Tally
from dbm_gmx.chemistry.contacts import LIMITS, bad_contacts
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.stereo import (
    FLAT,
    Stereo,
    chirality_of,
    count_stereo,
    improper_chirality,
    infer_chirality,
    invert,
    stereo_volume,
    stereo_volumes,
    stereocentres,
    triple_products,
    wrong_elements,
)
from dbm_gmx.chemistry.system import deviation, longest_bond, make_system, whole_atoms
from dbm_gmx.chemistry.topology import MoleculeType, Terms, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.forcefield.energy import dihedral
from dbm_gmx.options import MoleculeFiles

MASS = {
    "C": 12.011,
    "Na": 22.99,
    "H": 1.008,
    "D": 2.014,
    "O": 15.999,
    "N": 14.007,
    "P": 30.974,
    "S": 32.06,
    "Se": 78.971,
    "F": 18.998,
    "Cl": 35.45,
    "Br": 79.9,
    "M": 0.0,
    "CH": 13.019,
}
X = np.array([1.0, 0, 0])
BOX = np.diag([3.0, 3.0, 3.0])
SKEWED = np.array([[1.6, 0, 0], [-0.7, 1.5, 0], [0.75, -0.7, 1.4]])
TETRAHEDRON = 0.06 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], float)


def molecule(name, atoms, bonds, *, terms=(), virtual=()):
    graph = nx.Graph()
    for i, atom in enumerate(atoms.split()):
        element = {"CH": "C", "M": ""}.get(atom, atom)
        graph.add_node(
            i,
            name=f"{atom}{i}",
            type=atom,
            element=element,
            mass=MASS[atom],
            charge=0.0,
            resid=1,
            resname=name,
        )
    graph.add_edges_from(bonds, kind="bond")
    graph.add_edges_from(virtual, kind="virtual")
    return MoleculeType(name, 3, graph, terms=tuple(terms))


def one_bead(moltype):
    weights = sp.csr_matrix(moltype.masses / moltype.masses.sum())
    nowhere = np.array([-1])
    return Mapping(
        moltype.name,
        ("B",),
        ("B",),
        weights,
        np.zeros(moltype.n_atoms, np.int64),
        nowhere,
        np.ones(1, np.int64),
    )


def system_of(*molecules):
    """Every molecule is one bead: its centre of mass."""
    moltypes = {moltype.name: moltype for moltype, _ in molecules}
    counts = tuple((moltype.name, count) for moltype, count in molecules)
    bead = nx.Graph()
    bead.add_node(0, name="B", type="B", element="", mass=1.0, charge=0.0, resid=1, resname="X")
    cg = Topology({name: MoleculeType(name, 1, bead) for name in moltypes}, counts)
    return make_system(Topology(moltypes, counts), {n: one_bead(k) for n, k in moltypes.items()}, cg)


def star(name="CHI", atoms="C H F Cl Br", **more):
    return molecule(name, atoms, [(0, i) for i in range(1, len(atoms.split()))], **more)


def polymer(monomers, *, symmetric):
    """CH3-CHF-(CH2-CHF)n-H, or with CH3 at the other end too."""
    graph = nx.Graph()
    last = -1

    def carbon(*others):
        nonlocal last
        new = graph.number_of_nodes()
        graph.add_nodes_from(range(new, new + 1 + len(others)))
        for i, element in enumerate(("C", *others)):
            graph.nodes[new + i]["e"] = element
        graph.add_edges_from((new, new + 1 + i) for i in range(len(others)))
        if last >= 0:
            graph.add_edge(last, new)
        last = new

    carbon("H", "H", "H")
    for _ in range(monomers - 1):
        carbon("H", "F")
        carbon("H", "H")
    carbon("H", "F", *([] if symmetric else ["H"]))
    if symmetric:
        carbon("H", "H", "H")
    return molecule("POL", " ".join(graph.nodes[i]["e"] for i in graph), list(graph.edges))


# --- contacts --------------------------------------------------------------------------------------

HEAVY_WATER = molecule("DOD", "O D D M", [(0, 1), (0, 2)], virtual=[(3, 0)])
PAIR = molecule("AB", "C H", [(0, 1)])
SODIUM = molecule("NA", "Na", [])
WATER = molecule("SOL", "O H H M", [(0, 1), (0, 2)], virtual=[(3, 0)])


@pytest.mark.parametrize(
    ("moltypes", "rows", "limit"),
    [
        ((PAIR, PAIR), (0, 0), 0.25),
        ((PAIR, PAIR), (0, 1), 0.18),
        ((PAIR, PAIR), (1, 1), 0.15),
        ((PAIR, WATER), (0, 0), 0.25),
        ((PAIR, WATER), (0, 1), 0.18),
        ((WATER, WATER), (0, 1), 0.14),
        ((WATER, WATER), (0, 0), 0.22),
        ((WATER, WATER), (1, 2), 0.11),
        ((PAIR, WATER), (1, 2), 0.13),
        ((WATER, PAIR), (1, 1), 0.13),
        ((SODIUM, WATER), (0, 0), 0.18),
        ((WATER, SODIUM), (0, 0), 0.18),
        ((SODIUM, WATER), (0, 1), 0.14),
        ((SODIUM, SODIUM), (0, 0), 0.22),
        ((SODIUM, PAIR), (0, 0), 0.25),
        ((PAIR, WATER), (0, 3), 0.0),
        ((PAIR, HEAVY_WATER), (0, 1), 0.18),
        ((WATER, HEAVY_WATER), (0, 1), 0.14),
    ],
)
def test_a_contact_is_bad_below_the_limit_of_its_atoms(moltypes, rows, limit):
    system = system_of((moltypes[0], 1), (moltypes[1], 1))
    i, j = rows[0], moltypes[0].n_atoms + rows[1]
    far = np.array([[x, y, 1.5] for x, y in product((0.5, 1, 2, 2.5), (0.5, 2.5))])[: system.n_atoms]
    for distance, bad in ((limit - 0.002, limit > 0), (limit + 0.002, False)):
        atoms = far.copy()
        atoms[i], atoms[j] = (0.0, 0.001, 0.2), (0.0, 0.001 - distance, 3.2)
        assert bad_contacts(system, atoms, BOX).tolist() == ([[i, j]] if bad else [])


def test_contacts_in_a_skewed_box_are_those_of_a_search_through_all_images():
    chain = molecule("CHN", "C C C C C H O H", [(i, i + 1) for i in range(7)])
    system = system_of((chain, 6), (PAIR, 5), (chain, 3))
    rng = np.random.default_rng(1)
    atoms = rng.uniform(size=(system.n_atoms, 3)) @ SKEWED
    sorts = [1, 1, 1, 1, 1, 2, 3, 2] * 6 + [1, 0] * 5 + [1, 1, 1, 1, 1, 2, 3, 2] * 3
    steps = nx.Graph()
    steps.add_nodes_from(range(system.n_atoms))
    for first, n in [(8 * m, 8) for m in range(6)] + [(58 + 8 * m, 8) for m in range(3)]:
        nx.add_path(steps, range(first, first + n))
    steps.add_edges_from((48 + 2 * m, 49 + 2 * m) for m in range(5))
    lattice = np.array(list(product(range(-3, 4), repeat=3))) @ SKEWED
    expected = []
    for i, j in combinations(range(system.n_atoms), 2):
        distance = np.linalg.norm(atoms[j] - atoms[i] + lattice, axis=1).min()
        apart = j not in nx.single_source_shortest_path_length(steps, i, cutoff=3)
        if apart and distance < LIMITS[sorts[i], sorts[j]]:
            expected.append([i, j])
    assert len(expected) > 20
    moved = atoms + rng.integers(-2, 3, size=atoms.shape) @ SKEWED
    assert bad_contacts(system, moved, SKEWED).tolist() == expected


def test_bonded_atoms_are_no_contacts_from_one_to_three_bonds():
    crumpled = molecule("CHN", "C C C C C C", [(i, i + 1) for i in range(5)])
    atoms = np.array([[0.01 * i, 0, 0] for i in range(6)] + [[0.01 * i, 1.5, 0] for i in range(6)])
    found = bad_contacts(system_of((crumpled, 2)), atoms, BOX)
    assert found.tolist() == [[0, 4], [0, 5], [1, 5], [6, 10], [6, 11], [7, 11]]


# --- stereocentres ---------------------------------------------------------------------------------


def test_stereocentre_and_its_neighbours_in_file_order():
    shuffled = molecule("CHI", "F H C Br Cl", [(2, i) for i in (4, 0, 3, 1)])
    assert stereocentres(shuffled).tolist() == [[2, 0, 1, 3, 4]]
    assert len(stereocentres(star(atoms="C H H Cl Br"))) == 0


def test_both_directions_of_a_long_chain_are_told_apart():
    assert len(stereocentres(polymer(10, symmetric=False))) == 9
    assert len(stereocentres(polymer(60, symmetric=False))) == 59
    # the one in the middle has two halves that differ in their chirality alone
    assert len(stereocentres(polymer(5, symmetric=True))) == 5
    assert len(stereocentres(polymer(6, symmetric=True))) == 6


def test_united_atom_centre_carries_its_hydrogen():
    united, bare = star(atoms="CH F Cl Br"), star(atoms="C F Cl Br")
    assert stereocentres(united).tolist() == [[0, 1, 2, 3, -1]]
    assert len(stereocentres(bare)) == 0
    explicit = star(atoms="C F Cl Br H")
    for sign in (1, -1):
        atoms = TETRAHEDRON * [sign, 1, 1]
        chirality = [
            chirality_of(a[None], stereocentres(k)) for a, k in ((atoms[:4], united), (atoms, explicit))
        ]
        assert chirality[0].tolist() == chirality[1].tolist() != [[0]]


@pytest.mark.parametrize("element", ["S", "P", "Se"])
def test_the_top_of_a_pyramid_is_a_stereocentre(element):
    """A sulphoxide, a phosphine: three neighbours that differ, and no fourth; nitrogen turns inside out."""
    top = star(atoms=f"{element} O C F")
    assert stereocentres(top).tolist() == [[0, 1, 2, 3, -1]]
    for others in ("O C C", "O C", "O O C F"):
        assert len(stereocentres(star(atoms=f"{element} {others}"))) == 0
    assert len(stereocentres(star(atoms="N O C F"))) == 0
    # two angles of 106 and one of 97 degrees, as in dimethyl sulphoxide
    across = np.array([[0, 0, 0.0], [0.0, 0.106, 0.105], [0.135, -0.095, 0.075], [-0.135, -0.095, 0.075]])
    volumes = stereo_volumes(np.stack([across, across * [-1, 1, 1]]), stereocentres(top))[:, 0]
    assert volumes[0] == -volumes[1]
    assert abs(volumes[0]) > 1.5 * FLAT


def test_sign_by_hand():
    atoms = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]], float)
    assert chirality_of(atoms[None], stereocentres(star())).tolist() == [[1]]
    assert chirality_of(-atoms[None], stereocentres(star())).tolist() == [[-1]]


def test_planar_united_atom_has_no_hand():
    centres = stereocentres(star(atoms="CH F Cl Br"))
    angles = np.radians([0, 120, 240])
    for height, sign in ((0.001, 0), (-0.001, 0), (0.033, 1), (-0.033, -1)):
        ends = np.stack([0.1 * np.cos(angles), 0.1 * np.sin(angles), np.full(3, height)], axis=1)
        atoms = np.concatenate([np.zeros((1, 3)), ends])
        assert chirality_of(atoms[None], centres).tolist() == [[sign]]


def test_no_tetrahedron_has_no_hand():
    centres = stereocentres(star())
    flat = TETRAHEDRON * [1, 1, 0.1]
    same_side = TETRAHEDRON.copy()
    same_side[1] *= -1
    collapsed = np.zeros((5, 3))
    unknown = np.full((5, 3), np.nan)
    assert not chirality_of(np.stack([flat, same_side, collapsed, unknown]), centres).any()
    hot = TETRAHEDRON + np.random.default_rng(2).normal(0, 0.008, (500, 5, 3))
    assert (chirality_of(hot, centres) == chirality_of(TETRAHEDRON[None], centres)).all()


def test_volume_is_the_mean_of_the_signed_triple_products():
    tips = np.random.default_rng(4).normal(size=(5, 3))
    arms = (tips[1:] - tips[0]) / np.linalg.norm(tips[1:] - tips[0], axis=1, keepdims=True)
    three = {k: (-1) ** (k + 1) * np.linalg.det(np.delete(arms, k, axis=0)) for k in range(4)}
    assert stereo_volume(tips, np.arange(5)) == pytest.approx(np.mean(list(three.values())), abs=1e-12)
    for k, expected in three.items():
        rows = np.where(np.arange(5) == k + 1, -1, np.arange(5))
        assert stereo_volume(tips, rows) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(stereo_volume(tips, np.array([0, 1, 2, -1, -1])))
    assert stereo_volume(TETRAHEDRON, np.arange(5)) == pytest.approx(-0.77, abs=0.001)


def test_volumes_of_float32_and_of_a_part_of_an_array():
    rows = np.array([[7, 1, 2, 3, 4], [0, 9, 8, 5, -1]])
    atoms = np.random.default_rng(5).normal(size=(3, 20, 3)).astype(np.float32)[:, ::2]
    expected = [[stereo_volume(one.astype(float), row) for row in rows] for one in atoms]
    np.testing.assert_array_equal(stereo_volumes(atoms, rows), expected)


def test_triple_products_without_what_is_not_known():
    points = np.random.default_rng(6).normal(size=(2, 3, 5, 3))
    known = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1]], bool)
    found = triple_products(points, known)
    for i, k in np.ndindex(2, 3):
        rows = np.where([True, *known[k]], np.arange(5), -1)
        np.testing.assert_equal(found[i, k], stereo_volume(points[i, k], rows))
    assert np.isnan(found[:, 2]).all()


def test_inverted_stereocentres_keep_three_neighbours_and_their_bonds():
    rows = np.array([[0, 2, 1, 3, 4], [5, 6, 7, 8, -1]])
    before = np.concatenate([TETRAHEDRON, TETRAHEDRON[:4] + 1.0, np.ones((1, 3))])
    before = before + np.random.default_rng(7).normal(0, 0.008, (2, *before.shape))
    after = before.copy()
    invert(after, rows)
    np.testing.assert_array_equal(chirality_of(after, rows), -chirality_of(before, rows))
    stay = [1, 2, 3, 6, 7, 8, 9]
    np.testing.assert_array_equal(after[:, stay], before[:, stay])
    for i, j in ((0, 1), (0, 2), (0, 3), (0, 4), (5, 6), (5, 7), (5, 8)):
        lengths = [np.linalg.norm(x[:, i] - x[:, j], axis=1) for x in (after, before)]
        np.testing.assert_allclose(*lengths)
    invert(after, rows[0])
    np.testing.assert_allclose(after[:, :5], before[:, :5])


@pytest.mark.parametrize("ends", [(1, 2, 3), (3, 1, 2), (2, 1, 3), (1, 4, 2), (4, 3, 1)])
def test_an_improper_holds_the_hand_whose_angle_it_has(ends):
    for sign in (1, -1):
        atoms = torch.tensor(TETRAHEDRON * [1, sign, 1])
        angle = np.degrees(float(dihedral(*atoms[[0, *ends]].diff(dim=0))))
        improper = Terms("dihedrals", 2, np.array([[0, *ends]]), np.array([[angle, 334.8]]))
        moltype = star(terms=[improper])
        assert abs(angle) == pytest.approx(35.26, abs=0.01)
        found = chirality_of(atoms.numpy()[None], stereocentres(moltype))
        assert improper_chirality(moltype).tolist() == found[0].tolist()


# --- expected hands --------------------------------------------------------------------------------


def several(signs, *, apart=0.7):
    """One star for each sign, in a row, for a box of 3 nm."""
    chirality = [TETRAHEDRON * [s, 1, 1] if s else TETRAHEDRON * [1, 1, 0] for s in signs]
    return np.concatenate([h + apart * i * X for i, h in enumerate(chirality)])


def test_counts_against_a_system_whose_molecules_come_in_two_runs():
    system = system_of((star(), 2), (star("TWO", "C H Cl"), 1), (star(), 2))
    plain = np.full((3, 3), 1.0)
    reference = np.concatenate([several([1, -1]), plain, several([1, 1])]).astype(np.float32)
    expected = reference_chirality(system, Frame(reference, BOX))
    assert expected["CHI"].shape == (4, 1)
    assert count_stereo(system, reference, expected) == Stereo(right=4)
    found = np.concatenate([several([1, 1]), plain, several([-1, 0])])
    assert count_stereo(system, found, expected) == Stereo(right=1, wrong=2, undefined=1)
    wrong, flat = wrong_elements(system, found, expected)
    assert (wrong[:, 0].tolist(), flat[:, 0].tolist()) == ([5, 13], [18])  # five atoms each, three between
    assert [len(rows) for rows in wrong_elements(system, found, {})] == [0, 0]


def test_one_conformer_stands_for_all_copies_and_may_be_broken(tmp_path):
    system = system_of((star(), 3), (star("TWO", "C H Cl"), 1))
    single = system_of((star(), 1))
    broken = (TETRAHEDRON - 0.001) % 3.0
    with open_writer(tmp_path / "conf.gro", single.topology) as writer:
        writer.write(Frame(broken.astype(np.float32), BOX))
    atoms = np.concatenate([several([1, -1, 1]), np.zeros((3, 3))])
    for how in (
        reference_chirality(system, tmp_path / "conf.gro"),
        reference_chirality(system, conformers={"CHI": tmp_path / "conf.gro", "ELSE": tmp_path / "none.gro"}),
        reference_chirality(system, Frame(TETRAHEDRON.astype(np.float32), np.zeros((3, 3)))),
    ):
        assert count_stereo(system, atoms, how) == Stereo(right=2, wrong=1)
    mirrored = Frame((TETRAHEDRON * [-1, 1, 1]).astype(np.float32), BOX)
    both = reference_chirality(system, mirrored, conformers={"CHI": tmp_path / "conf.gro"})
    assert count_stereo(system, atoms, both) == Stereo(right=1, wrong=2)


def test_without_a_conformer_only_impropers_know(tmp_path):
    improper = Terms("dihedrals", 2, np.array([[0, 1, 2, 3]]), np.array([[35.26, 334.8]]))
    system = system_of((star(), 2), (star("IMP", terms=[improper]), 2))
    atoms = np.concatenate([several([1, 1]), several([1, -1])])
    counted = count_stereo(system, atoms, reference_chirality(system))
    assert counted == Stereo(right=1, wrong=1, unknown=2)
    assert "2 not judged" in counted.text()


def test_a_conformer_that_fits_nothing_is_refused(tmp_path):
    system = system_of((star(), 3), (star("TWO", "C H Cl"), 1))
    four = system_of((molecule("FOUR", "C H H H", [(0, 1), (0, 2), (0, 3)]), 1))
    with open_writer(tmp_path / "conf.gro", four.topology) as writer:
        writer.write(Frame(np.zeros((4, 3), np.float32), BOX))
    with pytest.raises(InputError, match=r"conf.gro: 4 atoms.* CHI \(5\).* TWO \(3\).* whole system \(18\)"):
        reference_chirality(system, tmp_path / "conf.gro")
    with pytest.raises(InputError, match=r"4 atoms.* CHI \(5\)$"):
        reference_chirality(system, conformers={"CHI": tmp_path / "conf.gro"})
    twins = system_of((star("ONE"), 1), (star("TWO"), 1))
    with pytest.raises(InputError, match="any of ONE, TWO"):
        reference_chirality(twins, Frame(TETRAHEDRON.astype(np.float32), BOX))


def test_several_conformers_are_of_one_type_each(tmp_path):
    twins = system_of((star("ONE"), 2), (star("TWO"), 1))
    for name, sign in (("ONE", 1), ("TWO", -1), ("one", 1)):
        with open_writer(tmp_path / f"{name}.gro", system_of((star(), 1)).topology) as writer:
            writer.write(Frame((TETRAHEDRON * [sign, 1, 1]).astype(np.float32), BOX))
    files = [tmp_path / "ONE.gro", tmp_path / "TWO.gro"]
    both = reference_chirality(twins, files)
    assert both["ONE"].tolist() == [[-x for x in both["TWO"][0]]] != [[0]]
    assert reference_chirality(twins, files[1:])["ONE"].tolist() == [[0]]
    with pytest.raises(InputError, match=r"TWO has a conformer already, in .*TWO\.gro"):
        reference_chirality(twins, [*files, files[1]])
    with pytest.raises(InputError, match="any of ONE, TWO"):
        reference_chirality(twins, [tmp_path / "one.gro"])


def test_hands_of_which_nothing_is_known_are_those_of_the_first_frame():
    improper = Terms("dihedrals", 2, np.array([[0, 1, 2, 3]]), np.array([[35.26, 334.8]]))
    system = system_of((star(), 2), (star("IMP", terms=[improper]), 1), (star(), 1))
    expected = reference_chirality(system)
    first = several([1, 0, -1, -1])
    inferred = infer_chirality(system, first, expected)
    assert {name: chirality.tolist() for name, chirality in inferred.items()} == {
        "CHI": [[-1], [0], [1]],
        "IMP": [[1]],
    }
    centre = (system.mappings["CHI"].weights @ TETRAHEDRON)[0]
    beads = Frame(np.array([centre + 0.7 * i * X for i in range(4)], np.float32), BOX)
    tally = Tally(system, expected)
    for signs, stereo in (
        ([1, 0, -1, -1], Stereo(right=1, undefined=1, inferred=2)),
        ([1, 1, 1, 1], Stereo(wrong=2, inferred=2)),  # of the second nothing was known yet
        ([0, -1, 1, -1], Stereo(wrong=2, undefined=1, inferred=1)),
    ):
        before = tally.report().stereo
        tally.add(Frame(several(signs).astype(np.float32), BOX), beads)
        assert tally.report().stereo == before + stereo


# --- beads, bonds, all of it -----------------------------------------------------------------------


def test_deviation_is_that_to_the_nearest_image():
    system = system_of((PAIR, 2))
    atoms = np.array([[0.1, 0, 0], [0.2, 0, 0], [1, 1, 1], [1, 1, 1]])
    beads = np.array([[0.1 + 0.1 * 1.008 / 13.019, 0, 0], [1, 1.3, 1.4]])
    shifted = beads + np.array([[1, -2, 0], [0, 1, 3]]) @ SKEWED
    assert deviation(system, atoms, shifted, SKEWED) == pytest.approx([0, 0.5], abs=1e-6)


def test_longest_bond_is_chemical():
    atoms = np.zeros((8, 3))
    atoms[4:, 0] = 5.0
    atoms[1, 1], atoms[6, 2], atoms[3, 2] = 0.09, 0.12, 0.4
    assert longest_bond(system_of((WATER, 2)), atoms) == pytest.approx(0.12)
    assert longest_bond(system_of((molecule("ION", "Cl", []), 1)), np.zeros((1, 3))) == 0


def test_frames_add_up():
    system = system_of((star(), 3))
    centre = (system.mappings["CHI"].weights @ TETRAHEDRON)[0]
    beads = np.array([centre + 0.7 * i * X for i in range(3)], np.float32)
    tally = Tally(system, reference_chirality(system, Frame(TETRAHEDRON.astype(np.float32), BOX)))
    tally.add(Frame(several([1, 1, 1]).astype(np.float32), BOX), Frame(beads, BOX))
    good = tally.report()
    assert good.contacts == (0,)
    assert good.stereo == Stereo(right=3)
    assert good.rms_deviation < 1e-6
    assert good.longest_bond == pytest.approx(0.06 * 3**0.5, abs=1e-6)
    crowded = several([1, 1, 1])
    crowded[5:10] = crowded[:5] + 0.1 * X
    tally.add(Frame(crowded.astype(np.float32), BOX), Frame(beads, BOX))
    both = tally.report(seconds=30.0)
    assert both.frames == 2
    assert both.contacts[1] > 5
    assert both.stereo == Stereo(right=6)
    assert both.worst_deviation == pytest.approx(0.6, abs=1e-6)
    assert both.rms_deviation == pytest.approx((0.36 / 6) ** 0.5, abs=1e-6)
    lines = both.text().splitlines()
    assert lines[0].split() == ["frames", "2", "in", "30.0", "s,", "4", "a", "minute"]
    assert f"at most {both.contacts[1]}" in lines[1]
    assert "6 of 6 right" in lines[2]


def test_summary_of_no_frame_and_of_wrong_centres():
    assert "none" in Report().text()
    assert Stereo(right=5, wrong=2, undefined=1).text() == "5 of 8 right, 2 wrong, 1 undefined"
    assert Stereo().text() == "none"
    assert Stereo(inferred=4).text() == "4 of 4 inferred from the beads"
    assert (
        Stereo(right=1, wrong=2, inferred=4).text() == "1 of 7 right, 4 of 7 inferred from the beads, 2 wrong"
    )
    assert Stereo(wrong=2).text() == "0 of 2 right, 2 wrong"


def test_refinements_add_up():
    one = Refinement("300 K (-t)", 1, 40, (), {"turn": (0.1, 1), "shift": (0.5, 1)}, 1, 5)
    two = Refinement("300 K (-t)", 1, 60, (10.0,), {"turn": (0.3, 1)}, 2, 1)
    both = one + two
    assert both == Refinement("300 K (-t)", 2, 100, (10.0,), {"turn": (0.4, 2), "shift": (0.5, 1)}, 3, 6)
    assert (Report(refinement=one) + Report(refinement=two) + Report()).refinement == both
    assert both.lines() == [
        "refinement     exact at 300 K (-t), 50 sweeps a frame, 1 of 2 NOT STATIONARY (at 10 ps), "
        "3 molecules grown more than once, 6 molecules of the start of no use, and grown",
        "accepted       turn 20 %, shift 50 %",
    ]
    many = Refinement("300 K (-t)", 9, 90, tuple(range(7)))
    assert "7 of 9 NOT STATIONARY (at 0, 1, 2, 3, 4, ... ps)" in many.lines()[0]
    assert Refinement("300 K (-t)", 2, 90).lines() == [
        "refinement     exact at 300 K (-t), 45 sweeps a frame, all stationary"
    ]
    assert Refinement().lines() == []


def test_seconds_of_stages_are_those_of_a_frame():
    one = Refinement(seconds={"growth": 1.25, "windows": 0.0004, "sweeps": 20.0})
    two = Refinement(seconds={"growth": 1.5, "packing": 0.0125, "sweeps": 24.0})
    report = Report(contacts=(0,), refinement=one) + Report(contacts=(0,), refinement=two)
    assert report.refinement.seconds == {"growth": 2.75, "windows": 0.0004, "sweeps": 44.0, "packing": 0.0125}
    assert (
        report.text().splitlines()[1] == "stages         growth 1.4 s, sweeps 22 s, packing 0.006 s a frame"
    )
    assert "stages" not in Report(contacts=(0,)).text()


def test_reference_systems_are_flawless(reference):
    centres = {"sps": 9, "octane": 0, "cumene": 0}
    for name, expected_centres in centres.items():
        folder = reference / name
        system, _ = read_system(
            folder / "cg.tpr", MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"])
        )
        match = system.matches[0]
        assert len(stereocentres(match.moltype)) == expected_centres
        expected = reference_chirality(system, folder / "aa.gro")
        atoms = next(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms))
        beads = next(read_frames(folder / "cg.xtc", n_atoms=system.n_beads))
        whole = whole_atoms(system, atoms)
        tally = Tally(system, expected)
        tally.add(Frame(whole.astype(np.float32), atoms.box), beads)
        report = tally.report()
        assert report.contacts == (0,)
        assert report.stereo == Stereo(right=expected_centres * match.count)
        assert report.worst_deviation < 0.0015
        assert 0.15 < report.longest_bond < 0.16
        assert count_stereo(system, -whole, expected) == Stereo(wrong=expected_centres * match.count)

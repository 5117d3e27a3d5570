"""The exact refinement's force field: every form and every pair as the package's other code and by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from exact import CHARGED, beads_of, energy_of, lattice, mixture, molecule, own_energies, potential, system
from systems import Example

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import reduced_cell
from dbm_gmx.chemistry.topology import Terms
from dbm_gmx.chemistry.units import ELECTRIC, GAS
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.energy import term_energies
from dbm_gmx.forcefield.forms import ANGLE, DISTANCE, PERIODIC, POLYNOMIAL
from dbm_gmx.forcefield.hamiltonian import BOND_SPREAD, make_hamiltonian, simplified
from dbm_gmx.forcefield.terms import canonical, fewer_terms
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.sampler import make_sampler

FORMS = [
    ("bonds", 1, (0.15, 2e5)),
    ("bonds", 2, (0.15, 5e6)),
    ("bonds", 3, (0.15, 400.0, 12.0)),
    ("bonds", 4, (0.15, 2e5, -2.0)),
    ("bonds", 6, (0.4, 1e3)),
    ("bonds", 7, (0.9, 1e3)),
    ("bonds", 10, (0.1, 0.2, 0.3, 1e3)),
    ("angles", 1, (109.0, 400.0)),
    ("angles", 2, (109.0, 500.0)),
    ("angles", 3, (0.15, 0.14, 2e3)),
    ("angles", 4, (0.15, 0.14, 0.25, 2e3)),
    ("angles", 5, (109.0, 400.0, 0.25, 3e3)),
    ("angles", 6, (109.0, 1.0, 5.0, 400.0, -50.0, 20.0)),
    ("angles", 10, (109.0, 50.0)),
    ("dihedrals", 1, (35.0, 5.0, 3.0)),
    ("dihedrals", 2, (170.0, 80.0)),
    ("dihedrals", 2, (-35.0, 80.0)),
    ("dihedrals", 3, (9.28, 12.16, -13.12, -3.06, 26.24, -31.5)),
    ("dihedrals", 4, (180.0, 40.0, 2.0)),
    ("dihedrals", 5, (1.0, -2.0, 3.0, -4.0)),
    ("dihedrals", 5, (1.0, -2.0, 3.0, -4.0, 0.0)),
    ("dihedrals", 9, (-60.0, 3.0, 2.0)),
    ("dihedrals", 10, (120.0, 3.0)),
    ("dihedrals", 11, (3.0, 1.0, 2.0, -3.0, 4.0, -1.0)),
    ("dihedral_restraints", 1, (120.0, 20.0, 100.0)),
    ("angle_restraints", 1, (60.0, 100.0, 2.0)),
]


@pytest.mark.parametrize("form", FORMS, ids=[f"{d}{n}" for d, n, _ in FORMS])
def test_forms(form: tuple[str, int, tuple[float, ...]]) -> None:
    directive, function, parameters = form
    size = {"bonds": 2, "angles": 3}.get(directive, 4)
    rng = np.random.default_rng(1)
    rows = np.array([rng.permutation(6)[:size] for _ in range(300)])
    terms = Terms(directive, function, rows, np.tile(np.array(parameters), (300, 1)))
    positions = rng.normal(size=(6, 3)) * 0.15
    force = canonical([terms])
    found = np.zeros(300)
    parts = len(force.form) // 300
    for t in range(len(force.form)):
        found[t % 300] += energy_of(force, t, positions)
    assert parts == (2 if (directive, function) in (("angles", 4), ("angles", 5)) else 1)
    expected = term_energies(terms, torch.as_tensor(positions)).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_cosines_of_one_dihedral_are_one_polynomial() -> None:
    """Multiplicities 0 to 6, two phases and one between, with other dihedrals, from either end."""
    rng = np.random.default_rng(3)
    rows = np.array([(0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 3, 4), (5, 4, 3, 2)])
    many = [
        Terms("dihedrals", 9, rows, np.column_stack([np.full(4, phase), rng.normal(size=4), np.full(4, n)]))
        for phase in (0.0, 180.0, 60.0)
        for n in range(7)
    ]
    many += [Terms("dihedrals", 3, rows, rng.normal(size=(4, 6)))]
    long, positions = canonical(many), rng.normal(size=(6, 3)) * 0.15
    short = fewer_terms(long)
    names, counts = np.unique(short.form, return_counts=True)
    # of the phase between all 28, of the others those of multiplicity 6
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {PERIODIC: 28 + 8, POLYNOMIAL: 3}
    before, after = (sum(energy_of(t, k, positions) for k in range(len(t.form))) for t in (long, short))
    assert after == pytest.approx(before, rel=1e-12)


def test_types_of_atoms_that_are_alike_are_one() -> None:
    """The dynamics goes through all types: of a force field only those that are there, and differ, count."""
    made, _ = mixture(BOXES["cube"])
    known = made.topology.nonbonded
    assert known is not None
    n = len(known.types)
    rows = np.array([0, 0, *range(2, n), 1])  # the second is as the first, and the last is of no atom
    c6, c12 = (values[np.ix_(rows, rows)] for values in (known.c6, known.c12))
    given = replace(known, types=(*known.types, "UNUSED"), c6=c6, c12=c12)
    made = replace(made, topology=replace(made.topology, nonbonded=given))
    long = make_hamiltonian(made, Conditions(300.0, rvdw=0.5, rcoulomb=0.5))
    short = simplified(long)
    used = np.unique(np.concatenate([m.types for m in long.molecules.values()]))
    assert {0, 1} <= set(used.tolist())
    assert (len(long.c6), len(short.c6)) == (n + 1, len(used) - 1)
    for before, after in ((long.c6, short.c6), (long.c12, short.c12)):
        for name, one in long.molecules.items():
            old, new = one.types, short.molecules[name].types
            np.testing.assert_array_equal(after[np.ix_(new, new)], before[np.ix_(old, old)])


def test_terms_without_energy_are_left_out() -> None:
    """Urey-Bradley without a spring, a bond and a dihedral without a constant; two that cancel."""
    angles = Terms(
        "angles", 5, np.array([[0, 1, 2]] * 2), np.array([(110.0, 300, 0.2, 0), (110, 300, 0.2, 50)])
    )
    bond = Terms("bonds", 1, np.array([[0, 1]]), np.array([[0.15, 0.0]]))
    turns = np.array([(0.0, 0.0, 3.0), (0.0, 2.0, 2.0), (180.0, 2.0, 2.0)])
    dihedrals = Terms("dihedrals", 9, np.array([[0, 1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]]), turns)
    short = fewer_terms(canonical([angles, bond, dihedrals]))
    assert sorted(short.form.tolist()) == [DISTANCE, ANGLE, ANGLE, POLYNOMIAL]
    assert short.parameters[short.form == POLYNOMIAL][0].tolist() == pytest.approx(
        [4.0, 0, 0, 0, 0, 0], abs=1e-12
    )


def test_forms_that_cannot_be_sampled_are_refused() -> None:
    with pytest.raises(InputError, match=r"dihedrals.*7"):
        canonical([Terms("dihedrals", 7, np.array([[0, 1, 2, 3]]), np.array([[1.0, 2.0]]))])
    moltype = molecule("MOL", [("C", 12.0, 0.0)] * 2, [("bonds", 5, (0, 1), ())])
    made = system([(moltype, beads_of(moltype, [0, 0]), 1)], CHARGED)
    with pytest.raises(InputError, match="type 5"):
        make_hamiltonian(made, Conditions())
    with pytest.raises(InputError, match="angles"):
        fixed_bonds(moltype, "h-angles")


def test_bonds_of_fixed_length(octane: Example) -> None:
    moltype = octane.system.topology.molecule_types["OCT"]
    counts = {how: len(fixed_bonds(moltype, how)[0]) for how in ("none", "h-bonds", "all-bonds")}
    assert counts == {"none": 0, "h-bonds": 18, "all-bonds": 25}
    water = molecule(
        "SOL",
        [("O", 16.0, -0.8), ("H", 1.0, 0.4), ("H", 1.0, 0.4)],
        [("settles", 1, (0, 1, 2), (0.1, 0.163))],
    )
    pairs, lengths = fixed_bonds(water, "none")
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert lengths.tolist() == [0.1, 0.1, 0.163]


@pytest.mark.parametrize("constraints", ["none", "h-bonds", "all-bonds"])
def test_energy_of_octane(octane: Example, constraints: str) -> None:
    # OPLS with charges and 1-4 pairs, 80 molecules in their liquid
    conditions = Conditions(350.0, rvdw=0.9, rcoulomb=0.9, constraints=constraints)
    atoms = octane.atoms.astype(np.float64)
    found = own_energies(octane.system, conditions, atoms, octane.box)
    expected = potential(octane.system, conditions, atoms, octane.box)
    np.testing.assert_allclose(found, expected, rtol=2e-6)


BOXES = {
    "cube": np.eye(3) * 1.3,
    "flat": np.diag([4.0, 1.22, 1.25]),
    "skewed": np.array([[1.4, 0, 0], [0.65, 1.35, 0], [-0.6, 0.5, 1.3]]),
    "far from reduced": np.array([[1.4, 0, 0], [3.45, 1.35, 0], [-4.8, 4.55, 1.3]]),
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES.keys())
@pytest.mark.parametrize("cutoffs", [(0.6, 0.6), (0.45, 0.6), (0.6, 0.45)])
def test_energy_of_a_mixture(box: np.ndarray, cutoffs: tuple[float, float]) -> None:
    # three kinds of molecules, charges, exclusions of their own, in boxes little larger than two cut-offs
    made, atoms = mixture(box)
    for constraints, epsilon_rf in (("all-bonds", 0.0), ("none", 5.0)):
        conditions = Conditions(
            rvdw=cutoffs[0], rcoulomb=cutoffs[1], constraints=constraints, epsilon_rf=epsilon_rf
        )
        found, expected = own_energies(made, conditions, atoms, box), potential(made, conditions, atoms, box)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        # wherever the molecules are
        rng = np.random.default_rng(3)
        shifted = atoms.copy()
        for match in made.matches:
            n = match.moltype.n_atoms
            for copy in range(match.count):
                rows = slice(match.first_atom + copy * n, match.first_atom + (copy + 1) * n)
                shifted[rows] += rng.integers(-3, 4, 3) @ box
        shifted += [0.3, -0.7, 11.3]
        np.testing.assert_allclose(own_energies(made, conditions, shifted, box), found, rtol=1e-5)


def test_energy_of_a_mixture_whose_force_is_switched() -> None:
    made, atoms = mixture(BOXES["skewed"])
    shifted = Conditions(rvdw=0.6, rcoulomb=0.6, constraints="none")
    found = {}
    for start in (0.0, 0.35, 0.5):
        conditions = replace(shifted, rvdw_switch=start)
        found[start] = own_energies(made, conditions, atoms, BOXES["skewed"])
        expected = potential(made, conditions, atoms, BOXES["skewed"])
        np.testing.assert_allclose(found[start], expected, rtol=1e-5)
    usual = sum(own_energies(made, shifted, atoms, BOXES["skewed"]))
    apart = [abs(sum(energies) - usual) for energies in found.values()]
    assert apart[0] > apart[1] > apart[2] > 0.01


def test_pairs_by_hand() -> None:
    """Two charges within and beyond each cut-off, a pair with an interaction of its own, an exclusion."""
    moltype = molecule(
        "PAI",
        [("A", 10.0, 0.5), ("B", 10.0, -0.3)],
        [("pairs", 1, (0, 1), (1e-3, 2e-6))],
        nrexcl=0,
    )
    part = [(moltype, beads_of(moltype, [0, 1]), 1)]
    made = system(part, CHARGED, fudge_qq=0.5)
    excluded = molecule(
        "PAI",
        [("A", 10.0, 0.5), ("B", 10.0, -0.3)],
        [("pairs", 1, (0, 1), (1e-3, 2e-6))],
        nrexcl=0,
        exclusions=[(0, 1)],
    )
    apart = system([(excluded, beads_of(excluded, [0, 1]), 1)], CHARGED, fudge_qq=0.5)
    c = Conditions(rvdw=0.5, rcoulomb=0.7, epsilon_r=2.0, epsilon_rf=10.0)
    k = (10 - 2) / (2 * 10 + 2) / 0.7**3
    crf = 1 / 0.7 + k * 0.7**2
    (c6,), (c12,) = (
        table[0, 1:] for table in (made.topology.nonbonded.c6[:2, :2], made.topology.nonbonded.c12[:2, :2])
    )
    for r in (0.2, 0.4, 0.6, 0.8):
        own = 2e-6 / r**12 - 1e-3 / r**6 - ELECTRIC * 0.5 * 0.15 / 2 / r
        field = -ELECTRIC * 0.15 / 2 * (k * r**2 - crf) if r < 0.7 else 0.0
        usual = field - ELECTRIC * 0.15 / 2 / r if r < 0.7 else 0.0
        if r < 0.5:
            usual += c12 * (r**-12 - 0.5**-12) - c6 * (r**-6 - 0.5**-6)
        atoms = np.array([[1.0, 1, 1], [1, 1, 1 + r]])
        assert sum(own_energies(made, c, atoms, np.eye(3) * 4)) == pytest.approx(own + usual, rel=1e-6)
        assert sum(own_energies(apart, c, atoms, np.eye(3) * 4)) == pytest.approx(own + field, rel=1e-6)


def test_spring_of_a_fixed_bond() -> None:
    moltype = molecule("DUO", [("A", 10.0, 0.0), ("B", 10.0, 0.0)], [("bonds", 1, (0, 1), (0.2, 1e5))])
    made = system([(moltype, beads_of(moltype, [0, 0]), 1)], CHARGED)
    atoms = np.array([[1.0, 1, 1], [1, 1, 1.203]])
    for constraints, expected in (
        ("none", 0.5e5 * 0.003**2),
        ("all-bonds", GAS * 350 * 0.5 * (0.003 / BOND_SPREAD) ** 2),
    ):
        found = own_energies(made, Conditions(350.0, constraints=constraints), atoms, np.eye(3) * 4)
        assert sum(found) == pytest.approx(expected, rel=1e-6)


def test_a_box_smaller_than_two_cutoffs_counts_all_images() -> None:
    # of particles on a lattice each has the same neighbours, however large the box is called
    moltype = molecule("ION", [("A", 10.0, 0.0)], [])
    for n in (1, 2, 3):
        points, box = lattice(n**3, 0.5)
        made = system([(moltype, beads_of(moltype, [0]), n**3)], CHARGED)
        found = sum(own_energies(made, Conditions(rvdw=1.2, rcoulomb=1.2), points, box)) / n**3
        whole = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), axis=-1).reshape(-1, 3) * 0.5
        r = np.linalg.norm(whole, axis=1)
        r = r[(r > 0) & (r < 1.2)]
        c6, c12 = made.topology.nonbonded.c6[0, 0], made.topology.nonbonded.c12[0, 0]
        expected = 0.5 * (c12 * (r**-12 - 1.2**-12) - c6 * (r**-6 - 1.2**-6)).sum()
        assert found == pytest.approx(expected, rel=1e-5)
    assert np.allclose(reduced_cell(box), box)


def test_opposite_atoms_do_not_fall_into_one_place() -> None:
    """An octahedron that has angles of 90 degrees alone: with two atoms in one place they are right too."""
    opposite = [(1, 2), (3, 4), (5, 6)]
    right = [pair for pair in combinations(range(1, 7), 2) if pair not in opposite]
    terms = [("bonds", 1, (0, i), (0.16, 3e5)) for i in range(1, 7)]
    terms += [("angles", 1, (i, 0, j), (90.0, 1100.0)) for i, j in right]
    atoms = [("A", 30.0, 1.34), *[("B", 19.0, -0.39)] * 6]
    ion = molecule("PF6", atoms, terms)
    made = system([(ion, beads_of(ion, [0] * 7), 1)], CHARGED)
    arms = 0.16 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    conditions, box = Conditions(450.0, constraints="none"), np.eye(3) * 4
    well, fallen = (
        sum(own_energies(made, conditions, np.concatenate([np.zeros((1, 3)), x]) + 2, box))
        for x in (arms, np.abs(arms) + 1e-3)
    )
    assert fallen > well + 1000
    same = molecule("PF6", atoms, [*terms, *(("angles", 1, (i, 0, j), (180.0, 1100.0)) for i, j in opposite)])
    held = system([(same, beads_of(same, [0] * 7), 1)], CHARGED)
    x = np.concatenate([np.zeros((1, 3)), arms]) + 2
    assert well == pytest.approx(sum(own_energies(held, conditions, x, box)), abs=0.02)
    grow = make_sampler(made, conditions, Settings(sweeps=2), {})
    for index in range(6):
        grown, _ = grow(Frame(np.full((1, 3), 2.0, np.float32), box, index=index))
        for i, j in opposite:
            assert np.linalg.norm(grown[i] - grown[j]) > 0.25

"""The Markov chain of the exact refinement: every move, and all together, against numerical integration."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pytest
import torch
from exact import (
    CONTACT,
    agreement,
    beads_of,
    fractions,
    lattice,
    mixture,
    molecule,
    moves_of,
    only,
    pair,
    sample,
    start,
    system,
)
from scipy.spatial.transform import Rotation
from scipy.special import ndtri
from scipy.stats.qmc import Sobol

from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.chemistry.topology import MoleculeType, atom_charges, atom_types, is_excluded
from dbm_gmx.forcefield.energy import bonded_energies, coulomb, field_energy, lennard_jones
from dbm_gmx.forcefield.hamiltonian import BOND_SPREAD
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.options import Conditions
from dbm_gmx.sampling.moves import GIBBS_TORSION, PIVOT, RIGID_ROTATION, TORSION_STEP, TRANSLATION

LEVEL = 1e-5  # probability of a chance deviation below which a distribution counts as wrong; a chain that
# another processor rounds otherwise is another draw, and all tests together are to fail for one in thousands
COLD = Conditions(temperature=300.0, spread=0.03, rvdw=0.5, rcoulomb=0.5)


def KT(conditions: Conditions) -> float:  # noqa: N802
    """Thermal energy, kJ/mol."""
    return 0.00831446261815324 * conditions.temperature


LENGTH, BEND, STIFF = 0.153, 112.0, 250.0  # nm, degrees, kJ/mol rad^-2
TORSION = (9.28, 12.16, -13.12, -3.06, 26.24, -31.5)  # Ryckaert and Bellemans, kJ/mol


@cache
def butane(nrexcl: int = 3) -> MoleculeType:
    """Four united atoms; of the non-bonded interactions between them there are none."""
    return molecule(
        "BUT",
        [("C", 15.035, 0.0), ("C", 14.027, 0.0), ("C", 14.027, 0.0), ("C", 15.035, 0.0)],
        [
            *(("bonds", 1, (i, i + 1), (LENGTH, 2e5)) for i in range(3)),
            *(("angles", 1, (i, i + 1, i + 2), (BEND, STIFF)) for i in range(2)),
            ("dihedrals", 3, (0, 1, 2, 3), TORSION),
        ],
        nrexcl=nrexcl,
    )


def zigzag(bend: float = BEND, length: float = LENGTH, n: int = 4) -> np.ndarray:
    """(n, 3) a chain of atoms, all trans."""
    half = np.radians(bend) / 2
    return np.array([[i * np.sin(half), (i % 2) * np.cos(half), 0.0] for i in range(n)]) * length


def dihedral(x: np.ndarray) -> np.ndarray:
    """Dihedral angles of (..., 4, 3), radians, 0 is cis."""
    a, b, c = np.moveaxis(np.diff(x, axis=-2), -2, 0)
    m, n = np.cross(a, b), np.cross(b, c)
    return np.arctan2(np.linalg.norm(b, axis=-1) * (a * n).sum(-1), (m * n).sum(-1))


def bend(x: np.ndarray) -> np.ndarray:
    """Angles of (..., 3, 3), radians."""
    a, b = x[..., 0, :] - x[..., 1, :], x[..., 2, :] - x[..., 1, :]
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1))


def torsion_energy(phi: np.ndarray) -> np.ndarray:
    return sum(c * (-np.cos(phi)) ** n for n, c in enumerate(TORSION))


def report(name: str, found: tuple[float, float, float]) -> None:
    print(f"{name}: p = {found[0]:.3g}, T2/dof = {found[1]:.2f}, largest relative error {found[2]:.3f}")


def crowd(one: np.ndarray, count: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Copies (count, n, 3) too far from each other to interact, and the box."""
    points, box = lattice(count, spacing)
    return points[:, None] + one, box


# --- single moves ----------------------------------------------------------------------------------


def ended(phi: np.ndarray) -> np.ndarray:
    """(..., 4, 3) butane, its last atom turned to a dihedral."""
    atoms = zigzag()
    axis = (atoms[2] - atoms[1]) / LENGTH
    turns = Rotation.from_rotvec((np.ravel(phi) - np.pi)[:, None] * axis)
    found = np.tile(atoms, (np.size(phi), 1, 1))
    found[:, 3] = atoms[2] + turns.apply(atoms[3] - atoms[2])
    return found.reshape(*np.shape(phi), 4, 3)


@pytest.mark.parametrize("move_type", [GIBBS_TORSION, TORSION_STEP])
def test_rotation_about_a_bond(move_type: int) -> None:
    # one end turns, all else stands: terms, beads and a particle nearby give the density of the angle
    conditions, copies = Conditions(temperature=700.0, spread=0.08, rvdw=0.5, rcoulomb=0.5), 90
    guest, at = molecule("ION", [("A", 40.0, 0.0)], []), np.array([0.62, 0.05, 0.2])
    rng = np.random.default_rng(1)
    points, box = lattice(copies, 1.8)
    parts = [(butane(), beads_of(butane(), [0, 0, 1, 1]), copies), (guest, beads_of(guest, [0]), copies)]
    made = system(parts, CONTACT)
    shift = np.array([0.01, 0.02, 0.03])

    def energy(phi: np.ndarray) -> np.ndarray:
        x = ended(phi)
        mapped = (14.027 * x[..., 2, :] + 15.035 * x[..., 3, :]) / (14.027 + 15.035)
        c6, c12 = made.topology.nonbonded.c6[0, 1], made.topology.nonbonded.c12[0, 1]
        contact = pair(np.linalg.norm(x[..., 3, :] - at, axis=-1), c6, c12, 0.0, conditions)
        off = ((mapped - target) ** 2).sum(-1)
        return torsion_energy(phi) + contact + 0.5 * KT(conditions) / conditions.width**2 * off

    target = (14.027 * zigzag()[2] + 15.035 * zigzag()[3]) / (14.027 + 15.035) + shift
    grid = (np.arange(1440) + 0.5) / 1440 * 2 * np.pi - np.pi
    density = np.exp(-energy(grid) / KT(conditions))
    density /= density.sum()
    drawn = rng.choice(grid, copies, p=density)
    atoms = np.concatenate([(points[:, None] + ended(drawn)).reshape(-1, 3), points + at])
    beads = mapped_beads(made, atoms)
    beads[: 2 * copies : 2] = points + (15.035 * zigzag()[0] + 14.027 * zigzag()[1]) / (14.027 + 15.035)
    beads[1 : 2 * copies : 2] = points + target
    chain = start(made, conditions, atoms, box, beads=beads)
    only(chain, moves_of(chain, move_type, 3)[:1])
    found = sample(
        chain,
        lambda x: dihedral(x[: copies * 4].reshape(-1, 4, 3)),
        burn=12,
        sweeps=200 if move_type == GIBBS_TORSION else 600,
    )
    expected = density.reshape(24, 60).sum(axis=1)
    seen = expected > 0.01
    assert seen.sum() >= 8  # several wells
    result = agreement(fractions(found, np.linspace(-np.pi, np.pi, 25))[:, seen], expected[seen])
    report(f"rotation about a bond, {move_type}", result)
    assert result[0] > LEVEL


def rotor() -> MoleculeType:
    """Three sites that hold charges of their own and do not see each other."""
    return molecule(
        "ROT",
        [("A", 16.0, 0.35), ("B", 12.0, -0.45), ("H", 4.0, 0.1)],
        [
            ("constraints", 1, (0, 1), (0.14,)),
            ("constraints", 1, (1, 2), (0.11,)),
            ("angles", 1, (0, 1, 2), (110.0, 300.0)),
        ],
    )


ROTOR = np.array(
    [[0.14, 0, 0], [0, 0, 0], [0.11 * np.cos(np.radians(110)), 0.11 * np.sin(np.radians(110)), 0]]
)


def test_orientation_of_a_molecule() -> None:
    # a rigid molecule about its centre beside two charged particles, against weights of random rotations
    copies, rng = 90, np.random.default_rng(2)
    moltype, guest = rotor(), molecule("ION", [("A", 40.0, 0.4), ("B", 40.0, -0.4)], [])
    masses = moltype.masses
    body = ROTOR - masses @ ROTOR / masses.sum()
    sites = np.array([[0.38, 0.05, 0.0], [-0.1, 0.38, 0.12]])
    made = system(
        [(moltype, beads_of(moltype, [0, 0, 0]), copies), (guest, beads_of(guest, [0, 1]), copies)], CONTACT
    )

    def energy(x: np.ndarray) -> np.ndarray:
        rows, charges = [1, 2, 3], moltype.charges  # of the atom types A, B, H in CONTACT
        table = made.topology.nonbonded
        total = np.zeros(x.shape[:-2])
        for i, row in enumerate(rows):
            for site, other, q in zip(sites, (1, 2), (0.4, -0.4), strict=True):
                r = np.linalg.norm(x[..., i, :] - site, axis=-1)
                total += pair(r, table.c6[row, other], table.c12[row, other], charges[i] * q, COLD)
        return total

    def measures(x: np.ndarray) -> np.ndarray:
        e = energy(x) / KT(COLD)
        first = x[..., 0, :] / np.linalg.norm(body[0])
        third = x[..., 2, :] / np.linalg.norm(body[2])
        normal = np.cross(first, third)
        values = [*np.moveaxis(first, -1, 0), *np.moveaxis(third, -1, 0), *np.moveaxis(normal, -1, 0)]
        values += [first[..., 0] * first[..., 1], third[..., 0] * third[..., 2], first[..., 0] ** 2]
        values += [np.minimum(e, 5.0), np.minimum(e, 5.0) ** 2, e < -2.0, e < -1.0]
        return np.stack([np.asarray(v, np.float64) for v in values], axis=-1)

    turned = np.einsum("rij,aj->rai", Rotation.random(200_000, rng=rng).as_matrix(), body)
    weight = np.exp(-energy(turned) / KT(COLD))
    weight /= weight.sum()
    assert 1 / (weight**2).sum() > 10_000
    expected = weight @ measures(turned)
    points, box = lattice(copies, 1.8)
    chosen = turned[rng.choice(len(turned), copies, p=weight)]
    atoms = np.concatenate(
        [(points[:, None] + chosen).reshape(-1, 3), (points[:, None] + sites).reshape(-1, 3)]
    )
    chain = start(made, COLD, atoms, box)
    only(chain, moves_of(chain, RIGID_ROTATION, 0, 1, 2))
    found = sample(
        chain,
        lambda x: measures(x[: 3 * copies].reshape(-1, 3, 3) - points[:, None]),
        burn=5,
        sweeps=150,
    )
    assert np.std(measures(chosen)[:, -1]) > 0.1
    result = agreement(found.mean(axis=0), expected)
    report("orientation", result)
    assert result[0] > LEVEL
    assert np.abs(chain.conf.offsets).max() < 1e-12


def test_place_of_an_ion() -> None:
    # held to its bead and drawn by a neighbour
    copies, rng = 90, np.random.default_rng(3)
    ion, guest = molecule("ANI", [("A", 30.0, -0.5)], []), molecule("CAT", [("B", 40.0, 0.5)], [])
    made = system([(ion, beads_of(ion, [0]), copies), (guest, beads_of(guest, [0]), copies)], CONTACT)
    axis = np.arange(-75, 76) * 0.1 * COLD.width
    x = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    neighbour = np.array([0.30, 0.08, 0.0])
    table = made.topology.nonbonded
    r = np.linalg.norm(x - neighbour, axis=1)
    energy = pair(r, table.c6[1, 2], table.c12[1, 2], -0.25, COLD)
    energy += 0.5 * KT(COLD) / COLD.width**2 * (x**2).sum(1)
    weight = np.exp(-energy / KT(COLD))
    weight /= weight.sum()
    points, box = lattice(copies, 1.8)
    first = x[rng.choice(len(x), copies, p=weight)]
    atoms = np.concatenate([points + first, points + neighbour])
    chain = start(made, COLD, atoms, box, beads=np.concatenate([points, points + neighbour]))
    only(chain, moves_of(chain, TRANSLATION)[:1])
    found = sample(chain, lambda x: x[:copies] - points, burn=14, sweeps=600)
    for number in range(3):
        edges = (np.array([-30, -22, -14, -6, 2, 10, 18, 26, 34]) + 0.5) * 0.1 * COLD.width
        expected = np.histogram(x[:, number], edges, weights=weight)[0]
        seen = expected > 0.02
        result = agreement(fractions(found[:, :, number], edges)[:, seen], expected[seen])
        report(f"place along {number}", result)
        assert result[0] > LEVEL


def bent(name: str, k: float) -> MoleculeType:
    """Four atoms in a row, the first angle soft and the torsion nearly free."""
    return molecule(
        name,
        [("C", 14.0, 0.0)] * 4,
        [
            *(("constraints", 1, (i, i + 1), (LENGTH,)) for i in range(3)),
            ("angles", 1, (0, 1, 2), (BEND, k)),
            ("angles", 1, (1, 2, 3), (BEND, 400.0)),
            ("dihedrals", 9, (0, 1, 2, 3), (30.0, 2.0, 1.0)),
            ("dihedrals", 9, (0, 1, 2, 3), (0.0, 1.5, 3.0)),
        ],
    )


@pytest.mark.parametrize("what", [(0,), (2, 3)])
def test_angle_about_an_atom(what: tuple[int, ...]) -> None:
    # an atom, or a fragment, about the atom that holds it: p(angle) ~ sin(angle) exp(-U / kT)
    copies, moltype, rng = 90, bent("BNT", 20.0), np.random.default_rng(4)
    whole = beads_of(moltype, [0, 0, 0, 0])
    whole.weights.data[:] = [0, 1, 0, 0]
    made = system([(moltype, whole, copies)], CONTACT)
    theta, phi = (np.arange(600) + 0.5) / 600 * np.pi, (np.arange(720) + 0.5) / 360 * np.pi - np.pi
    p = np.sin(theta) * np.exp(-10.0 * (theta - np.radians(BEND)) ** 2 / KT(COLD))
    q = np.exp(-(2 * (1 + np.cos(phi - np.pi / 6)) + 1.5 * (1 + np.cos(3 * phi))) / KT(COLD))
    p, q = p / p.sum(), q / q.sum()
    points, box = lattice(copies, 1.8)
    atoms = (points[:, None] + ended(rng.choice(phi, copies, p=q))).reshape(-1, 3)
    angles = rng.choice(theta, copies, p=p)
    for copy in range(copies):
        rows = atoms[4 * copy : 4 * copy + 4]
        normal = np.cross(rows[0] - rows[1], rows[2] - rows[1])
        turn = Rotation.from_rotvec((bend(rows[:3]) - angles[copy]) * normal / np.linalg.norm(normal))
        rows[0] = rows[1] + turn.apply(rows[0] - rows[1])
    chain = start(made, COLD, atoms, box)
    only(chain, moves_of(chain, PIVOT, *what))
    assert chain.progress.steps.any()

    def measure(x: np.ndarray) -> np.ndarray:
        x = x.reshape(-1, 4, 3)
        return np.stack([bend(x[:, :3]), dihedral(x)])

    found = sample(chain, measure, burn=14, sweeps=600)
    for name, values, edges, expected in (
        ("angle", found[:, 0], np.linspace(0, np.pi, 13), p.reshape(12, 50).sum(1)),
        ("torsion", found[:, 1], np.linspace(-np.pi, np.pi, 13), q.reshape(12, 60).sum(1)),
    ):
        seen = expected > 0.01
        result = agreement(fractions(values, edges)[:, seen], expected[seen])
        report(f"{name}, {what}", result)
        assert result[0] > LEVEL


# --- all moves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.05, pytest.param(0.02, marks=pytest.mark.long)])
def test_butane_in_two_beads(spread: float) -> None:
    """All moves; the density of angles, torsion and bonds is known.  All molecules begin in the same well.

    That well, gauche on one side, has a third of them in the end, or fewer; ten sweeps (0.05 nm) or forty
    (0.02 nm) forget it.

    With bonds b, p ~ b1^2 b2^2 b3^2 sin t1 sin t2 exp(-U / kT) K(d): where the molecule is and how it is
    turned is integrated out.  With d the vector between the mapped centres and D that of the beads,
    |M1 - R1|^2 + |M2 - R2|^2 is 2 |middle|^2 + |d - D|^2 / 2; the mean of exp(-|d - D|^2 / (4 s^2)) over
    the directions of d is K(d), but for a constant.
    """
    conditions = Conditions(temperature=400.0, spread=spread, rvdw=0.3, rcoulomb=0.3)
    copies, apart, kt, burn = 64, 0.215, KT(conditions), 120 if spread == 0.05 else 600
    made = system([(butane(), beads_of(butane(), [0, 0, 1, 1]), copies)], CONTACT)
    # but for sines, squares of bonds, torsion and K(d) the density is normal: take its quantiles
    points = Sobol(6, rng=6).random_base2(16)
    b1, b2, b3 = LENGTH + BOND_SPREAD * ndtri(points[:, :3].T)
    t1, t2 = np.radians(BEND) + np.sqrt(kt / STIFF) * ndtri(points[:, 3:5].T)
    f = np.pi * points[:, 5]  # the other half is its mirror image
    part = 15.035 / (15.035 + 14.027)
    # in the frame of the middle bond: the outer atoms, then the centres
    x1, z1 = b1 * np.sin(t1), b1 * np.cos(t1)
    x3, y3, z3 = b3 * np.sin(t2) * np.cos(f), b3 * np.sin(t2) * np.sin(f), b2 - b3 * np.cos(t2)
    d = np.sqrt((part * (x3 - x1)) ** 2 + (part * y3) ** 2 + (part * (z3 - z1) + (1 - part) * b2) ** 2)
    kernel = (np.exp(-(((d - apart) / (2 * spread)) ** 2)) - np.exp(-(((d + apart) / (2 * spread)) ** 2))) / d
    weight = (b1 * b2 * b3) ** 2 * np.sin(t1) * np.sin(t2) * np.exp(-torsion_energy(f) / kt) * kernel
    weight /= weight.sum()
    bending = 0.5 * STIFF * ((t1 - np.radians(BEND)) ** 2 + (t2 - np.radians(BEND)) ** 2)
    integrated = np.stack([f, torsion_energy(f) + bending, t1, t2])

    points, box = lattice(copies, 1.7)
    gauche = weight[f < 2].sum()
    atoms = (points[:, None] + ended(np.full(copies, 1.1))).reshape(-1, 3)
    beads = np.stack([points, points + np.array([apart, 0, 0])], axis=1).reshape(-1, 3)
    middle = mapped_beads(made, atoms).reshape(-1, 2, 3).mean(1) - beads.reshape(-1, 2, 3).mean(1)
    atoms -= np.repeat(middle, 4, axis=0)
    chain = start(made, conditions, atoms, box, beads=beads)

    def measure(x: np.ndarray) -> np.ndarray:
        x = x.reshape(-1, 4, 3)
        turn, one, two = dihedral(x), bend(x[:, :3]), bend(x[:, 1:])
        bending = 0.5 * STIFF * ((one - np.radians(BEND)) ** 2 + (two - np.radians(BEND)) ** 2)
        return np.stack([np.abs(turn), torsion_energy(turn) + bending, one, two, turn])

    found = sample(chain, measure, burn=burn, sweeps=260, every=2)
    assert 0.03 < gauche < 0.97  # both wells count
    degrees = np.radians(BEND + np.array([-18, -12, -8, -5, -2.5, 0, 2.5, 5, 8, 12, 18]))
    for number, (name, edges) in enumerate(
        [
            ("torsion", np.linspace(0, np.pi, 13)),
            ("energy", np.array([0.0, 2, 4, 6, 8, 10, 12, 15, 20, 30])),
            ("first angle", degrees),
            ("second angle", degrees),
        ]
    ):
        expected = np.histogram(integrated[number], edges, weights=weight)[0]
        seen = expected > 0.01
        result = agreement(fractions(found[:, number], edges)[:, seen], expected[seen])
        report(f"butane {spread}: {name}", result)
        assert result[0] > LEVEL
    sides = (found[:, 4] > 0).mean(axis=0)[:, None]
    result = agreement(sides, np.array([0.5]))
    report(f"butane {spread}: sides of the torsion", result)
    assert result[0] > LEVEL


def forces(
    made: System, conditions: Conditions, atoms: np.ndarray, beads: np.ndarray, box: np.ndarray
) -> np.ndarray:
    """(n, 3) gradient of the energy, kJ/mol nm: by torch, from all pairs of nearest images."""
    x = torch.tensor(atoms, requires_grad=True)
    topology, n = made.topology, made.n_atoms
    inner = bonded_energies(topology, x)
    i, j = np.triu_indices(n, 1)
    apart = atoms[i] - atoms[j]
    image = torch.as_tensor(minimum_image(apart, box) - apart)
    r = torch.linalg.vector_norm(x[i] - x[j] + image, dim=1)
    pairs = np.stack([i, j], axis=1)
    excluded = torch.as_tensor(is_excluded(topology, pairs))
    types, q = atom_types(topology), atom_charges(topology)
    qq = torch.as_tensor(q[i] * q[j])
    c6, c12 = (
        torch.as_tensor(t[types[i], types[j]]) for t in (topology.nonbonded.c6, topology.nonbonded.c12)
    )
    field = long_range(conditions)
    near = r.detach() < conditions.rcoulomb
    electric = field_energy(r, qq, field.beyond)[near].sum() + coulomb(r, qq)[near & ~excluded].sum()
    close = (r.detach() < conditions.rvdw) & ~excluded
    off = torch.cat(
        [
            torch.as_tensor(m.mapping.weights.toarray())
            @ x[m.first_atom + k * m.moltype.n_atoms : m.first_atom + (k + 1) * m.moltype.n_atoms]
            for m in made.matches
            for k in range(m.count)
        ]
    ) - torch.as_tensor(beads)
    held = 0.5 * KT(conditions) / conditions.width**2 * (off**2).sum()
    total = sum(inner.values()) + lennard_jones(r, c6, c12)[close].sum() + electric + held
    return torch.autograd.grad(total, x)[0].numpy()


def virial(
    made: System, conditions: Conditions, beads: np.ndarray, box: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """(x - its bead) . dU/dx over 3 kT of each atom of a molecule, mean of the molecules, type by type."""
    gradient, parts = forces(made, conditions, x, beads, box), []
    for m in made.matches:
        rows = slice(m.first_atom, m.first_atom + m.count * m.moltype.n_atoms)
        centre = beads[m.first_bead : m.first_bead + m.count * len(m.mapping.names)].reshape(m.count, -1, 3)
        arm = x[rows].reshape(m.count, -1, 3) - centre[:, m.mapping.owner]
        work = (arm * gradient[rows].reshape(arm.shape)).sum(-1)
        parts.append(work.mean(0) / KT(conditions) / 3)
    return np.concatenate(parts)


@pytest.mark.long
def test_equipartition_in_a_charged_mixture() -> None:
    """All moves, all interactions, in a skewed box: <(x - c) . dU/dx> = 3 kT for every atom and any fixed c.

    The forces are those of other code; what a move forgets or counts twice shows as a wrong mean.
    """
    box = np.array([[1.5, 0, 0], [0.5, 1.45, 0], [-0.4, 0.3, 1.4]])
    conditions = Conditions(500.0, rvdw=0.6, rcoulomb=0.6, constraints="none", spread=0.03)
    copies, found = 20, []
    for copy in range(copies):
        made, atoms = mixture(box, stiff=4e3, seed=copy)
        chain = start(made, conditions, atoms, box)
        beads = chain.conf.neighbours.beads

        found.append(
            sample(
                chain, partial(virial, made, conditions, beads, box), burn=100, sweeps=200, every=5, copy=copy
            ).mean(0)
        )
    result = agreement(np.array(found), np.ones(9))
    print(np.mean(found, axis=0).round(3), (np.std(found, axis=0) / np.sqrt(copies)).round(3))
    report("equipartition", result)
    assert result[0] > LEVEL
    assert result[2] < 0.2

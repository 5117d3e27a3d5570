"""Energies: forms against numbers worked by hand, whole systems against GROMACS."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import close_pairs, lattice_of, whole_molecules
from dbm_gmx.chemistry.topology import MoleculeType, NonBonded, Terms, Topology, atom_types
from dbm_gmx.errors import InputError
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield import energy
from dbm_gmx.forcefield.nonbonded import reaction_field
from dbm_gmx.forcefield.terms import ENERGY_NAMES, energy_terms

T = torch.tensor


def t64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def terms(directive: str, function: int, *parameters: float) -> Terms:
    """One term on the first atoms of a molecule."""
    size = {"bonds": 2, "pairs": 2, "angles": 3}.get(directive, 4)
    return Terms(directive, function, np.arange(size)[None], np.array([parameters], np.float64))


def bond(length: float) -> torch.Tensor:
    return T([[0.0, 0, 0], [0, 0, length]], dtype=torch.float64)


def bend(degrees: float) -> torch.Tensor:
    """Arms of 0.1 and 0.2 nm."""
    a = math.radians(degrees)
    return T([[0.1, 0, 0], [0, 0, 0], [0.2 * math.cos(a), 0.2 * math.sin(a), 0]], dtype=torch.float64)


def twist(degrees: float) -> torch.Tensor:
    """Looking from j to k (along z), l is turned clockwise from i by the dihedral: IUPAC."""
    a = math.radians(degrees)
    return T(
        [[0.1, 0, 0], [0, 0, 0], [0, 0, 0.15], [0.1 * math.cos(a), 0.1 * math.sin(a), 0.15]],
        dtype=torch.float64,
    )


BY_HAND = [
    # 1/2 * 1000 * 0.01^2
    (terms("bonds", 1, 0.1, 1000), bond(0.11), 0.05),
    (terms("bonds", 6, 0.1, 1000), bond(0.11), 0.05),
    # 1/4 * 1e6 * (0.0121 - 0.01)^2 = 2.5e5 * 4.41e-6
    (terms("bonds", 2, 0.1, 1e6), bond(0.11), 1.1025),
    # 1/2 * 400 * (pi/18)^2
    (terms("angles", 1, 110, 400), bend(120), 200 * (math.pi / 18) ** 2),
    # 1/2 * 400 * (cos 120 - cos 90)^2 = 200 * 0.25
    (terms("angles", 2, 90, 400), bend(120), 50.0),
    # the ends are sqrt(0.01 + 0.04 + 2*0.1*0.2*0.5) = sqrt(0.07) apart
    (
        terms("angles", 5, 110, 400, 0.2, 1000),
        bend(120),
        200 * (math.pi / 18) ** 2 + 500 * (math.sqrt(0.07) - 0.2) ** 2,
    ),
    # 6 (1 + cos(3*80 - 30)) = 6 (1 + cos 210); at -80: cos(-270) = 0
    (terms("dihedrals", 1, 30, 6, 3), twist(80), 6 * (1 - math.sqrt(0.75))),
    (terms("dihedrals", 9, 30, 6, 3), twist(-80), 6.0),
    (terms("dihedrals", 4, 180, 40, 2), twist(30), 20.0),
    # from 170 to -170 it is 20 degrees the short way
    (terms("dihedrals", 2, 170, 100), twist(-170), 50 * (math.pi / 9) ** 2),
    (terms("dihedrals", 2, -170, 100), twist(170), 50 * (math.pi / 9) ** 2),
    # cos psi = cos(60 - 180) = -1/2: 1 - 2/2 + 3/4 - 4/8 + 5/16 - 6/32
    (terms("dihedrals", 3, 1, 2, 3, 4, 5, 6), twist(60), 0.375),
    # 1/2 [1 (1+1/2) + 2 (1+1/2) + 3 (1-1) + 4 (1+1/2)]
    (terms("dihedrals", 5, 1, 2, 3, 4), twist(60), 5.25),
    # r = 1/2: 2^12 * 0.001 - 2^6 * 0.01
    # exp(-20 * 0.01) = 0.81873
    (terms("bonds", 3, 0.1, 400, 20), bond(0.11), 400 * (1 - math.exp(-0.2)) ** 2),
    # 2e5 * 1e-4 (1 - 5 * 0.01)
    (terms("bonds", 4, 0.1, 2e5, -5), bond(0.11), 19.0),
    # -1/2 * 1000 * 0.25 * log(1 - 0.16)
    (terms("bonds", 7, 0.5, 1000), bond(0.2), -125 * math.log(0.84)),
    (terms("bonds", 10, 0.1, 0.2, 0.3, 1000), bond(0.15), 0.0),
    (terms("bonds", 10, 0.1, 0.2, 0.3, 1000), bond(0.08), 0.2),
    (terms("bonds", 10, 0.1, 0.2, 0.3, 1000), bond(0.26), 1.8),
    # k/2 (up2 - up1) (2 r - up2 - up1)
    (terms("bonds", 10, 0.1, 0.2, 0.3, 1000), bond(0.4), 15.0),
    # the arms are 0.1 and 0.2 nm, the ends sqrt(0.05 + 0.02) apart at 120 degrees
    (terms("angles", 3, 0.09, 0.22, 1e4), bend(120), -2.0),
    (terms("angles", 4, 0.09, 0.22, 0.25, 1e4), bend(120), 1e4 * (math.sqrt(0.07) - 0.25) * -0.01),
    # 1 + 2 x + 300 x^2 + 4 x^3 + 5 x^4 of x = 10 degrees
    (terms("angles", 6, 110, 1, 2, 300, 4, 5), bend(120), float(np.polyval([5, 4, 300, 2, 1], math.pi / 18))),
    # 1/2 * 60 * (1/2)^2 / (3/4), of a cosine that is to be 0
    (terms("angles", 10, 90, 60), bend(120), 10.0),
    (terms("dihedrals", 10, 90, 60), twist(-120), 10.0),
    # right angles: 2 (1 + 2/2 + 3/4 + 4/8 + 5/16)
    (terms("dihedrals", 11, 2, 1, 2, 3, 4, 5), twist(60), 7.125),
    # 10 degrees beyond 20, the short way round
    (terms("dihedral_restraints", 1, 170, 20, 100), twist(-160), 50 * (math.pi / 18) ** 2),
    (terms("dihedral_restraints", 1, 170, 20, 100), twist(-175), 0.0),
    # the first and the last arm are 120 degrees apart, as 2 (1 - cos(2 (120 - 90)))
    (terms("angle_restraints", 1, 90, 2, 2), twist(60), 1.0),
    (terms("pairs", 1, 0.01, 0.001), bond(0.5), 3.456),
    # and 138.935458 * 0.5 * 0.2 * -0.3 / 0.5
    (terms("pairs", 2, 0.5, 0.2, -0.3, 0.01, 0.001), bond(0.5), 3.456 - 8.33612748),
]


@pytest.mark.parametrize(
    ("term", "positions", "expected"), BY_HAND, ids=[f"{t.directive}{t.function}" for t, _, _ in BY_HAND]
)
def test_form_by_hand(term: Terms, positions: torch.Tensor, expected: float) -> None:
    assert energy.term_energies(term, positions).tolist() == pytest.approx([expected], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("term", "positions"), [b[:2] for b in BY_HAND], ids=[f"{t.directive}{t.function}" for t, _, _ in BY_HAND]
)
def test_gradient_is_that_of_the_energy(term: Terms, positions: torch.Tensor) -> None:
    moved = (
        positions + 0.01 * T([[0.3, -0.2, 0.5]]) * torch.arange(len(positions))[:, None]
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: energy.term_energies(term, x), moved)


def test_dihedral_follows_iupac() -> None:
    for degrees in (-179.0, -60, 0, 1, 90, 180):
        vectors = twist(degrees).diff(dim=0)
        assert math.degrees(energy.dihedral(*vectors)) == pytest.approx(degrees, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0])
def test_gradients_are_finite_where_geometry_degenerates(degrees: float, dtype: torch.dtype) -> None:
    straight = T([[0.0, 0, z] for z in (0.0, 0.1, 0.2, 0.3)])
    half = T([[0.1, 0, 0], [0, 0, 0], [0, 0, 0.15], [0, 0, 0.3]])
    same = torch.zeros(4, 3)
    for points in (twist(degrees), bend(degrees), straight, half, same):
        for term in (b[0] for b in BY_HAND):
            if term.directive in ("bonds", "pairs") or term.atoms.max() >= len(points):
                continue
            x = points.to(dtype).requires_grad_()
            total = energy.term_energies(term, x).sum()
            total.backward()
            assert total.isfinite()
            assert x.grad is not None
            assert x.grad.isfinite().all(), (term.directive, term.function, points)


@pytest.mark.parametrize("turned", [False, True])
def test_dihedral_of_three_atoms_on_a_line_has_no_gradient(turned: bool) -> None:
    # on a line but for rounding: without a guard the gradient is of the order of 1e8
    line = T([[0.1, 0, 0], [0, 0, 0], [0, 0, 0.15], [1e-9, 2e-9, 0.3]])
    x = (line.flip(0) if turned else line).requires_grad_()
    value = energy.dihedral(*x.diff(dim=0))
    value.backward()
    assert value == 0
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_gradient_of_a_nearly_straight_angle_is_accurate_in_single_precision() -> None:
    # d theta / d i has length 1 / |i - j| however straight the angle
    x = bend(179.9).float().requires_grad_()
    i, j, k = x
    energy.angle(i - j, k - j).backward()
    assert x.grad is not None
    assert x.grad[0].norm().item() == pytest.approx(10.0, rel=1e-3)


def test_ryckaert_bellemans_equals_periodic_sum_and_fourier() -> None:
    # manual, "Fourier dihedral function": the same potential in three ways
    f1, f2, f3, f4 = 2.0, -1.5, 0.8, 0.3
    rb = [f2 + (f1 + f3) / 2, (3 * f3 - f1) / 2, 4 * f4 - f2, -2 * f3, -4 * f4, 0]
    phi = torch.linspace(-math.pi, math.pi, 37, dtype=torch.float64)
    periodic = sum(
        energy.periodic(phi, t64(phase), t64(f / 2), t64(n))
        for n, f, phase in ((1, f1, 0), (2, f2, 180), (3, f3, 0), (4, f4, 180))
    )
    assert torch.allclose(energy.ryckaert_bellemans(phi, *t64(*rb)), periodic)
    assert torch.allclose(energy.fourier(phi, *t64(f1, f2, f3, f4)), periodic)


def test_leading_dimensions_and_translation_do_not_matter() -> None:
    torch.manual_seed(0)
    positions = torch.rand(3, 5, 4, 3, dtype=torch.float64)
    for term in (b[0] for b in BY_HAND):
        two = Terms(term.directive, term.function, term.atoms.repeat(2, 0), term.parameters.repeat(2, 0))
        batch = energy.term_energies(two, positions + 7)
        assert batch.shape == (3, 5, 2)
        single = energy.term_energies(term, positions[1, 2])
        assert torch.allclose(batch[1, 2], single, rtol=1e-6)


def test_unsupported_function_is_named_with_the_supported_ones() -> None:
    with pytest.raises(InputError, match=r"\[ bonds \] of function type 12 .*bonds 1, bonds 2.*dihedrals 9"):
        energy.form_of(terms("bonds", 12, 0, 1))
    with pytest.raises(InputError, match=r"bonds.*8 need table 3: the file table_b3.xvg"):
        energy_terms(MoleculeType("M", 3, nx.Graph(), (terms("bonds", 8, 3, 1),)))


# --- dihedral correction maps -------------------------------------------------------------------------


def chain_of_five(phi: float, psi: float) -> torch.Tensor:
    """Five atoms with these two dihedrals, degrees."""
    points = [torch.zeros(3).double(), t64(0.15, 0, 0), t64(0.2, 0.14, 0)]
    for degrees in (phi, psi):
        a, b, c = points[-3:]
        axis = (c - b) / torch.linalg.vector_norm(c - b)
        up = (a - b) - ((a - b) @ axis) * axis
        up = up / torch.linalg.vector_norm(up)
        x = math.radians(degrees)
        side = torch.linalg.cross(axis, up)
        points.append(c + 0.05 * axis + 0.14 * (math.cos(x) * up + math.sin(x) * side))
    return torch.stack(points)


def map_terms(grid: np.ndarray) -> Terms:
    return Terms("cmap", 1, np.arange(5)[None], grid.reshape(1, -1))


def test_a_correction_map_goes_through_its_grid_from_minus_180_on() -> None:
    grid = np.random.default_rng(1).normal(size=(24, 24))
    for i, j in ((0, 0), (3, 17), (23, 12)):
        found = energy.term_energies(map_terms(grid), chain_of_five(-180 + 15 * i, -180 + 15 * j))
        assert found.item() == pytest.approx(grid[i, j], abs=1e-9)


def test_a_correction_map_follows_a_smooth_energy_and_its_slopes() -> None:
    def smooth(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
        return np.asarray(np.cos(phi - 0.3) * (2 + np.sin(2 * psi)) + np.sin(psi + phi))

    angles = np.radians(-180 + 15 * np.arange(24))
    grid = smooth(angles[:, None], angles[None, :])
    rng = np.random.default_rng(2)
    for _ in range(20):
        phi, psi = rng.uniform(-180, 180, 2)
        here = np.radians([phi, psi])
        found = energy.term_energies(map_terms(grid), chain_of_five(phi, psi))
        assert found.item() == pytest.approx(float(smooth(*here)), abs=2e-3)


# --- systems built by hand ---------------------------------------------------------------------------


def dimers(count: int, *, nrexcl: int = 1) -> Topology:
    """Dimers of one type, charges +0.5 and -0.5, with one pair and a constraint."""
    graph = nx.Graph([(0, 1)], kind="bond")
    nx.set_node_attributes(graph, {0: 0.5, 1: -0.5}, "charge")
    nx.set_node_attributes(graph, "X", "type")
    found = (terms("bonds", 1, 0.1, 1000), terms("pairs", 1, 0.01, 0.001), terms("constraints", 1, 0.1))
    parameters = NonBonded(("X",), np.array([[0.01]]), np.array([[0.001]]), 1, True, 0.5, 0.25)
    return Topology({"D": MoleculeType("D", nrexcl, graph, found)}, (("D", count),), parameters)


def frame(positions: object, box: object = 3.0) -> Frame:
    rows = np.asarray(box, np.float64) * np.eye(3) if np.isscalar(box) else np.asarray(box, np.float64)
    return Frame(np.asarray(positions, np.float32), rows)


def test_bonded_energies_sum_over_copies_and_split_pairs() -> None:
    positions = torch.stack([bond(0.5), bond(0.5) + 1, bond(0.5) - 1]).reshape(-1, 3)
    found = energy.bonded_energies(dimers(3), positions, epsilon_r=2)
    # bond: 3/2 * 1000 * 0.4^2; pairs: 3 * 3.456; charges: 3 * 0.25 * 138.935458 * -0.25 / 0.5 / 2
    assert {name: e.item() for name, e in found.items()} == pytest.approx(
        {"Bond": 240.0, "LJ-14": 10.368, "Coulomb-14": -26.050398375}
    )
    frames = energy.bonded_energies(dimers(3), torch.stack([positions, positions]))
    assert frames["Bond"].tolist() == pytest.approx([240.0, 240.0])
    with pytest.raises(InputError, match="5 positions, where the topology has 6 atoms"):
        energy.bonded_energies(dimers(3), positions[:5])


def test_pairs_with_charges_of_their_own_ignore_those_of_the_atoms() -> None:
    moltype = MoleculeType("D", 1, dimers(1).molecule_types["D"].graph, (BY_HAND[-1][0],))
    found = energy.bonded_energies(Topology({"D": moltype}, (("D", 1),)), bond(0.5))
    assert {k: e.item() for k, e in found.items()} == pytest.approx(
        {"LJ-14": 3.456, "Coulomb-14": -8.33612748}
    )


def test_nonbonded_across_the_box_without_exclusions() -> None:
    # two dimers broken across the wall; only the 4 pairs between them count: 0.5 (2x) and sqrt(0.26) apart
    system, x = dimers(2), frame([[0, 0, 0.05], [0, 0, 2.95], [0.5, 0, 3.05], [-2.5, 0, -0.05]])
    found = energy.nonbonded_energies(system, x, PLAIN)
    far = 0.001 / 0.26**6 - 0.01 / 0.26**3
    assert found["LJ (SR)"].item() == pytest.approx(2 * 3.456 + 2 * far, rel=1e-4)
    coulomb = 138.935458 * 0.25 * 2 * (1 / 0.5 - 1 / math.sqrt(0.26))
    assert found["Coulomb (SR)"].item() == pytest.approx(coulomb, rel=1e-4)


def test_reaction_field_acts_on_excluded_pairs_and_on_the_atoms_themselves() -> None:
    # conducting surroundings, cut-off 1: k = 1/2, c = 3/2, for one excluded dimer 0.1 nm long:
    # -0.25 (0.005 - 1.5) - 1/2 * 2 * 0.25 * 1.5 = -0.00125, all times 138.935458
    x = frame([[0, 0, 0], [0, 0, 0.1]])
    found = energy.nonbonded_energies(dimers(1), x, reaction_field(1.0, epsilon_rf=0))
    assert found["Coulomb (SR)"].item() == pytest.approx(-0.00125 * 138.935458, rel=1e-5)
    assert found["LJ (SR)"] == 0
    assert reaction_field(1.0, epsilon_r=1, epsilon_rf=2.5).beyond == pytest.approx((-1.25, 0.25, 0.0))


PLAIN = reaction_field(1.0, epsilon_rf=None)
SKEWED = [[3.0, 0, 0], [-1.4, 2.6, 0], [1.3, 1.1, 2.5]]


def test_pairs_of_a_skewed_box_match_all_images() -> None:
    rng = np.random.default_rng(3)
    x = frame(rng.uniform(-2, 4, (40, 3)), SKEWED)
    shifts = np.array([(i, j, k) for i in range(-5, 6) for j in range(-4, 5) for k in range(-3, 4)]) @ x.box
    delta = x.positions[:, None].astype(np.float64) - x.positions
    nearest = np.linalg.norm(delta[:, :, None] + shifts, axis=-1).min(-1)
    i, j = np.nonzero(np.triu(nearest < 1.1, 1))
    pairs, r = close_pairs(x, 1.1)
    order = np.lexsort(pairs.T[::-1])
    assert pairs[order].tolist() == np.stack((i, j), 1).tolist()
    assert r[order] == pytest.approx(nearest[i, j], abs=1e-6)


def test_nonbonded_energy_does_not_depend_on_wrapping() -> None:
    rng = np.random.default_rng(4)
    inside = rng.uniform(0, 2.5, (40, 3))
    images = inside + rng.integers(-2, 3, (40, 3)) @ np.array(SKEWED)
    one, other = (
        energy.nonbonded_energies(dimers(20), frame(x, SKEWED), reaction_field(1.0, epsilon_rf=3))
        for x in (inside, images)
    )
    assert {k: e.item() for k, e in one.items()} == pytest.approx(
        {k: e.item() for k, e in other.items()}, rel=1e-4
    )


def test_no_box_means_no_images() -> None:
    x = frame([[0, 0, 0], [5, 5, 5], [0, 0, 0.3], [9, 9, 9]], 0.0)
    pairs, r = close_pairs(x, 1.0)
    assert pairs.tolist() == [[0, 2]]
    assert r == pytest.approx([0.3])
    found = energy.nonbonded_energies(dimers(2), x, PLAIN)["LJ (SR)"]
    assert found.item() == pytest.approx(0.001 / 0.3**12 - 0.01 / 0.3**6, rel=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    x = frame(np.zeros((4, 3)))
    with pytest.raises(InputError, match="half of the shortest box vector, 3 nm"):
        energy.nonbonded_energies(dimers(2), x, reaction_field(1.6, epsilon_rf=None))
    with pytest.raises(InputError, match="4 positions, where the topology has 2 atoms"):
        energy.nonbonded_energies(dimers(1), x, PLAIN)
    full = dimers(2)
    with pytest.raises(InputError, match="no non-bonded parameters"):
        atom_types(Topology(full.molecule_types, full.molecules))
    other = NonBonded(("Y",), np.ones((1, 1)), np.ones((1, 1)), 1, False, 1, 1)
    with pytest.raises(InputError, match="D has atoms of type X; there are Y"):
        atom_types(Topology(full.molecule_types, full.molecules, other))


# --- against GROMACS ---------------------------------------------------------------------------------

COULOMB = {"rf": ("Reaction-Field", 2.5), "plain": ("Cut-off", None)}


def run(*command: str | Path, folder: Path, answer: str = "") -> None:
    done = subprocess.run([*map(str, command)], cwd=folder, input=answer, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def clear_cutoff(x: Frame, longest: float = 1.0) -> float:
    """Return the middle of the widest gap between distances just below a length, nm.

    A single pair on the cut-off, where rounding to single precision decides, would change the plain
    Coulomb energy by some kJ/mol.
    """
    _, r = close_pairs(x, longest)
    r = np.sort(np.array([longest - 0.01, longest, *r[r > longest - 0.01]]))
    widest = np.diff(r).argmax()
    return float(r[widest : widest + 2].mean())


def rerun(
    gmx: str,
    folder: Path,
    *,
    top: Path,
    gro: Path,
    names: list[str],
    coulomb: str,
    more: Sequence[str] = (),
    rlist: float = 1.05,
) -> dict[str, float]:
    """Energies of ``gro`` by GROMACS; ``coulomb`` are the settings of it."""
    (folder / "run.mdp").write_text(
        f"cutoff-scheme = Verlet\nverlet-buffer-tolerance = -1\nrlist = {rlist}\n{coulomb}"
        "coulomb-modifier = None\nvdw-modifier = None\nDispCorr = no\nnsteps = 0\ncontinuation = yes\n"
    )
    run(gmx, "grompp", "-f", "run.mdp", "-c", gro, "-p", top, "-o", "run.tpr", "-maxwarn", 5, folder=folder)
    # virtual sites are put in place anew
    again = ("-rerun", gro, "-rerunvsite", *more)
    run(gmx, "mdrun", "-nt", 1, "-s", "run.tpr", *again, "-e", "run.edr", folder=folder)
    asked = "\n".join(name.replace(" ", "-") for name in names) + "\n\n"
    run(gmx, "energy", "-f", "run.edr", "-o", "e.xvg", "-dp", "-xvg", "xmgrace", folder=folder, answer=asked)
    text = (folder / "e.xvg").read_text()
    legends = re.findall(r'@ s\d+ legend "(.*)"', text)
    return dict(zip(legends, map(float, text.splitlines()[-1].split()[1:]), strict=True))


def read_gro(path: Path) -> Frame:
    lines = path.read_text().splitlines()
    positions = [[float(line[i : i + 8]) for i in (20, 28, 36)] for line in lines[2:-1]]
    v = [*map(float, lines[-1].split()), *[0.0] * 6][:9]
    box = [[v[0], v[3], v[4]], [v[5], v[1], v[6]], [v[7], v[8], v[2]]]
    return Frame(np.array(positions, np.float32), np.array(box))


def compare(
    gmx: str,
    folder: Path,
    *,
    top: Path,
    gro: Path,
    coulomb: str,
    more: Sequence[str] = (),
    longest: float = 1.0,
) -> dict[str, float]:
    """Compare all energies of a file with GROMACS, term by term, and that none is missing.

    Molecules in it are whole, or bonded to images of their own.
    """
    topology, x = read_topology(top), read_gro(gro)
    cutoff, (coulomb_type, epsilon_rf) = clear_cutoff(x, longest), COULOMB[coulomb]
    winds = whole_molecules(topology, x).winds
    lattice = lattice_of(replace(x, winds=winds))
    found = energy.bonded_energies(topology, torch.as_tensor(x.positions).double(), lattice=lattice)
    found |= energy.nonbonded_energies(topology, x, reaction_field(cutoff, epsilon_rf=epsilon_rf))
    ours = {name: e.item() for name, e in found.items()}
    settings = f"coulombtype = {coulomb_type}\nepsilon_rf = {epsilon_rf or 1}\n"
    settings += f"rcoulomb = {cutoff}\nrvdw = {cutoff}\nperiodic-molecules = {'yes' if winds else 'no'}\n"
    names, rlist = [*ours, "Potential"], 1.05 * longest
    theirs = rerun(gmx, folder, top=top, gro=gro, names=names, coulomb=settings, more=more, rlist=rlist)
    total = theirs.pop("Potential")
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert sum(ours.values()) == pytest.approx(total, rel=1e-4)
    return ours


@pytest.mark.parametrize("coulomb", COULOMB)
@pytest.mark.parametrize("system", ["octane", "cumene", "sps"])
def test_reference_systems_as_gromacs(
    gmx: str, reference: Path, tmp_path: Path, system: str, coulomb: str
) -> None:
    data = reference / system
    whole = ("trjconv", "-f", data / "aa.gro", "-s", data / "aa.tpr", "-pbc", "whole", "-o", "whole.gro")
    run(gmx, *whole, folder=tmp_path, answer="0\n")
    compare(gmx, tmp_path, top=data / "topol.top", gro=tmp_path / "whole.gro", coulomb=coulomb)


BUTANE = """
C1 opls_135 -0.18 0.512 0.603 0.497
C2 opls_136 -0.12 0.634 0.520 0.538
C3 opls_136 -0.12 0.758 0.611 0.526
C4 opls_135 -0.18 0.823 0.598 0.388
H1 opls_140  0.06 0.420 0.541 0.487
H2 opls_140  0.06 0.531 0.655 0.402
H3 opls_140  0.06 0.495 0.679 0.574
H4 opls_140  0.06 0.646 0.432 0.474
H5 opls_140  0.06 0.622 0.486 0.642
H6 opls_140  0.06 0.727 0.714 0.545
H7 opls_140  0.06 0.830 0.581 0.604
H8 opls_140  0.06 0.911 0.663 0.381
H9 opls_140  0.06 0.752 0.627 0.309
H0 opls_140  0.06 0.856 0.495 0.371
"""
BONDS = [
    (1, 2),
    (2, 3),
    (3, 4),
    (1, 5),
    (1, 6),
    (1, 7),
    (2, 8),
    (2, 9),
    (3, 10),
    (3, 11),
    (4, 12),
    (4, 13),
    (4, 14),
]


def butane() -> str:
    """Return ``[ moleculetype ]`` of butane, its parameters left to be looked up by type."""
    graph = nx.Graph(BONDS)
    angles = [(i, j, k) for j in graph for i in graph[j] for k in graph[j] if i < k]
    turns = [(i, j, k, m) for j, k in BONDS for i in graph[j] for m in graph[k] if i != k and m != j]
    lines = ["[ moleculetype ]", "BUT 3", "[ atoms ]"]
    for row, (name, atom_type, charge, *_) in enumerate(map(str.split, BUTANE.strip().splitlines()), 1):
        lines.append(f"{row} {atom_type} 1 BUT {name} 1 {charge}")
    for section, function, rows in (
        ("bonds", 1, BONDS),
        ("angles", 1, angles),
        ("dihedrals", 3, turns),
        ("pairs", 1, [(t[0], t[3]) for t in turns]),
    ):
        lines += [f"[ {section} ]", *(f"{' '.join(map(str, atoms))} {function}" for atoms in rows)]
    return "\n".join(lines)


OWN_TYPES = """
[ atomtypes ]
MC 6 12.011 0 A 0.35 0.276144
MH 1 1.008 0 A 0.25 0.12552
[ cmaptypes ]
MC MH MC MH MC 1 24 24\\
"""
"""grompp wants names in [ cmaptypes ] that are bonded types and atom types at once."""

EVERY_FORM = """
[ moleculetype ]
ALL 2
[ atoms ]
1 MC 1 ALL A1 1  0.3
2 MH 1 ALL A2 1 -0.4
3 MC 1 ALL A3 1  0.2
4 MH 1 ALL A4 1  0.1
5 MC 1 ALL A5 1 -0.2
[ bonds ]
1 2 1 0.14 2000
2 3 2 0.14 3e5
3 4 1 0.15 1000
4 5 5
1 5 6 0.4 100
1 2 3 0.14 300 20
2 3 4 0.14 3e4 -4
3 4 7 0.5 200
1 4 10 0.1 0.2 0.3 500
2 4 10 0.1 0.2 0.9 500
3 5 10 0.4 0.5 0.6 500
1 3 9 0 2.0
4 5 8 0 1.5
[ angles ]
1 2 3 1 100 300
2 3 4 2 110 400
3 4 5 5 105 200 0.25 3000
1 2 3 3 0.14 0.15 3000
2 3 4 4 0.14 0.15 0.25 3000
3 4 5 6 105 1 -2 30 -40 50
1 2 3 8 0 2.5
2 3 4 10 110 20
[ dihedrals ]
1 2 3 4 1 20 5 3
2 3 4 5 9 30 4 1
2 3 4 5 9 60 3 2
1 2 3 4 2 150 20
2 3 4 5 3 1 2 3 -4 5 -6
1 2 3 4 4 180 7 2
1 2 3 4 8 0 1.2
2 3 4 5 10 120 5
1 2 3 4 11 2 1 -2 3 -4 5
2 3 4 5 5 1 -2 3 4
[ dihedral_restraints ]
1 2 3 4 1 20 10 50
2 3 4 5 1 -170 30 50
[ angle_restraints ]
1 2 4 5 1 70 30 2
[ cmap ]
1 2 3 4 5 1
[ pairs ]
1 4 1 0.3 0.5
2 5 2 0.6 0.3 -0.4 0.28 0.7
"""
EVERY_ATOM = "0.9 1.5 1.9  1.03 1.53 1.96  1.1 1.64 1.87  1.24 1.6 1.81  1.33 1.72 1.79"


def gro_file(path: Path, positions: np.ndarray) -> Path:
    rows = [
        f"{1:5d}{'X':<5}{'X':>5}{i + 1:5d}" + "".join(f"{v:8.3f}" for v in x) for i, x in enumerate(positions)
    ]
    path.write_text("\n".join(["vacuum", str(len(positions)), *rows, "   3.0 3.0 3.0", ""]))
    return path


def lines_of(grid: np.ndarray) -> str:
    """Ten numbers a line, as grompp wants lines no longer than 4095."""
    parts = np.array_split(grid, len(grid) // 10)
    return "\\\n".join(" ".join(map(str, part)) for part in parts)


def write_table(folder: Path, kind: str) -> str:
    """A smooth table of bonds, angles or dihedrals; the name of its file."""
    low, high = {"b": (0.0, 1.0), "a": (0.0, 180.0), "d": (-180.0, 180.0)}[kind]
    x = np.linspace(low, high, 181)
    rate = 7.0 if kind == "b" else 2 * np.pi / 180
    energy, slope = 20 * np.cos(rate * x) + x / high, -20 * rate * np.sin(rate * x) + 1 / high
    name = f"table_{kind}0.xvg"
    rows = [f"{a:.10g} {b:.10g} {c:.10g}" for a, b, c in zip(x, energy, -slope, strict=True)]
    (folder / name).write_text("\n".join(["# x energy force", '@ title "table"', *rows, ""]))
    return name


def every_form(folder: Path) -> Path:
    """A topology of one molecule with every function type, with its tables beside it."""
    for kind in "bad":
        write_table(folder, kind)
    top = folder / "every.top"
    grid = np.random.default_rng(1).normal(size=576).round(4)
    top.write_text(
        f"[ defaults ]\n1 3 yes 0.5 0.5\n{OWN_TYPES}{lines_of(grid)}\n{EVERY_FORM}\n"
        "[ system ]\nvacuum\n[ molecules ]\nALL 1\n"
    )
    return top


NOTED = {
    "Bond": 0.0675079,
    "G96Bond": 2.26876,
    "Morse": 4.18874,
    "Cubic Bonds": 9.43859,
    "Harmonic Pot.": 0.454855,
    "FENE Bonds": 2.6118,
    "Tab. Bonds": 14.9117,
    "Tab. Bonds NC": -5.5242,
    "Restraint Pot.": 12.079,
    "Angle": 2.62514,
    "G96Angle": 1.65089,
    "Restr. Angles": 0.101578,
    "Bond-Cross": 0.159006,
    "BA-Cross": 1.35211,
    "U-B": 1.63411,
    "Quartic Angles": 1.15471,
    "Tab. Angles": -39.3835,
    "Proper Dih.": 15.5333,
    "Ryckaert-Bell.": 2.25927,
    "Restr. Dih.": 1.38207,
    "CBT Dih.": 4.86423,
    "Fourier Dih.": 4.01684,
    "Improper Dih.": 23.7779,
    "Per. Imp. Dih.": 10.1453,
    "Tab. Dih.": -11.5951,
    "CMAP Dih.": -1.20332,
    "LJ-14": -0.739415,
    "Coulomb-14": -19.709,
    "Angle Rest.": 6.72757,
    "Dih. Rest.": 131.988,
}
"""kJ/mol of every function type, by ``gmx mdrun -rerun`` 2022.5."""


def test_every_form_as_noted_from_gromacs(tmp_path: Path) -> None:
    x = torch.tensor([float(v) for v in EVERY_ATOM.split()]).double().reshape(-1, 3)
    found = energy.bonded_energies(read_topology(every_form(tmp_path)), x)
    assert {ENERGY_NAMES[key] for key in energy.FORMS} == {*found, "LJC-14 q"}
    assert {name: e.item() for name, e in found.items()} == pytest.approx(NOTED, rel=1e-4)


def test_forces_of_every_form_as_gromacs(gmx: str, tmp_path: Path) -> None:
    """Without charges and Lennard-Jones, whose forces would stand beside those of the terms."""
    text = every_form(tmp_path).read_text()
    text = text[: text.index("[ pairs ]")] + text[text.index("[ system ]") :]
    text = re.sub(r"^(M[CH] .* A \S+) \S+$", r"\1 0", text, flags=re.M)
    text = re.sub(r"^(\d+ M[CH] 1 ALL A\d 1) .*$", r"\1 0", text, flags=re.M)
    (tmp_path / "bare.top").write_text(text)
    x = torch.tensor([float(v) for v in EVERY_ATOM.split()]).double().reshape(-1, 3).requires_grad_()
    gro_file(tmp_path / "conf.gro", x.detach().numpy())
    (tmp_path / "run.mdp").write_text("cutoff-scheme = Verlet\nnsteps = 0\nnstfout = 1\n")
    files = ("-c", "conf.gro", "-p", "bare.top", "-o", "run.tpr", "-maxwarn", 5)
    run(gmx, "grompp", "-f", "run.mdp", *files, folder=tmp_path)
    tables = ("-tableb", *(f"table_{kind}0.xvg" for kind in "bad"))
    run(
        gmx, "mdrun", "-nt", 1, "-s", "run.tpr", "-rerun", "conf.gro", "-o", "f.trr", *tables, folder=tmp_path
    )
    asked = ("-f", "f.trr", "-s", "run.tpr", "-of", "f.xvg", "-fp")
    run(gmx, "traj", *asked, folder=tmp_path, answer="0\n")
    theirs = np.array((tmp_path / "f.xvg").read_text().splitlines()[-1].split()[1:], float).reshape(-1, 3)
    bare = energy.bonded_energies(read_topology(tmp_path / "bare.top"), x)
    assert not {"LJ-14", "Coulomb-14"} & set(bare)
    sum(bare.values(), torch.zeros(())).backward()
    assert x.grad is not None
    np.testing.assert_allclose(-x.grad.numpy(), theirs, atol=1e-4 * np.abs(theirs).max())


PAIRS_NB = """
[ defaults ]
1 2 no
[ atomtypes ]
CT CT 0 0 A 0.34 0.46
[ moleculetype ]
LIG 3
[ atoms ]
1 CT 1 LIG C1 1  0.25 12.01
2 CT 1 LIG C2 1 -0.25 12.01
3 CT 1 LIG C3 1 -0.30 12.01
4 CT 1 LIG C4 1  0.30 12.01
[ bonds ]
1 2 1 0.153 2e5
2 3 1 0.153 2e5
3 4 1 0.153 2e5
[ pairs_nb ]
; ai aj funct qi qj sigma epsilon
1 4 1 0.2 0.25 0.32 0.21
[ system ]
x
[ molecules ]
LIG 1
"""
"""As acpype writes 1-4 pairs where factors differ: with charges that hold the factor."""


def test_pairs_nb_are_pairs_with_charges_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.top").write_text(PAIRS_NB)
    (terms,) = (
        t for t in read_topology(tmp_path / "a.top").molecule_types["LIG"].terms if t.directive == "pairs"
    )
    wanted = [[1.0, 0.2, 0.25, 4 * 0.21 * 0.32**6, 4 * 0.21 * 0.32**12]]
    np.testing.assert_allclose(terms.parameters, wanted)
    assert (terms.function, terms.atoms.tolist()) == (2, [[0, 3]])
    for wrong in ("1 4 2 0.2 0.25 0.32 0.21", "1 4 1 0.2 0.25 0.32", "1 5 1 0.2 0.25 0.32 0.21"):
        (tmp_path / "b.top").write_text(PAIRS_NB.replace("1 4 1 0.2 0.25 0.32 0.21", wrong))
        with pytest.raises(InputError, match=r"b\.top:19"):
            read_topology(tmp_path / "b.top")


def test_pairs_nb_as_gromacs(gmx: str, tmp_path: Path) -> None:
    """Their energies are among the short-ranged ones there; the sum is the same."""
    (tmp_path / "a.top").write_text(PAIRS_NB)
    x = np.array([[0.5, 0.5, 0.5], [0.65, 0.5, 0.5], [0.7, 0.64, 0.5], [0.84, 0.66, 0.57]])
    gro = gro_file(tmp_path / "conf.gro", x)
    topology, frame = read_topology(tmp_path / "a.top"), read_gro(gro)
    found = energy.bonded_energies(topology, torch.as_tensor(frame.positions).double())
    found |= energy.nonbonded_energies(topology, frame, reaction_field(1.0, epsilon_rf=1))
    coulomb = "coulombtype = Cut-off\nrcoulomb = 1\nrvdw = 1\n"
    theirs = rerun(gmx, tmp_path, top=tmp_path / "a.top", gro=gro, names=["Potential"], coulomb=coulomb)
    assert sum(float(e) for e in found.values()) == pytest.approx(theirs["Potential"], rel=1e-4)


@pytest.mark.parametrize("coulomb", COULOMB)
def test_opls_and_every_form_as_gromacs(gmx: str, tmp_path: Path, coulomb: str) -> None:
    top = tmp_path / "topol.top"
    grid = np.random.default_rng(1).normal(size=576).round(4)
    top.write_text(
        f'#include "oplsaa.ff/forcefield.itp"\n{OWN_TYPES}'
        f"{lines_of(grid)}\n{butane()}\n{EVERY_FORM}\n"
        "[ system ]\nvacuum\n[ molecules ]\nBUT 1\nALL 2\n"
    )
    carbon = np.array([line.split()[3:] for line in BUTANE.strip().splitlines()], np.float64)
    every = np.array(EVERY_ATOM.split(), np.float64).reshape(-1, 3)
    gro = gro_file(
        tmp_path / "conf.gro", np.concatenate((carbon, every, every + np.array((0.31, -0.42, 0.25))))
    )
    tables = ["-tableb", *(write_table(tmp_path, kind) for kind in "bad")]
    found = compare(gmx, tmp_path, top=top, gro=gro, coulomb=coulomb, more=tables)
    made = {ENERGY_NAMES[key] for key in energy.FORMS} - {"LJC-14 q"}
    assert set(found) == made | {"LJ (SR)", "Coulomb (SR)"}

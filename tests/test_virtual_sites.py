"""Virtual sites: where they are, what forces on them do, and that all that moves atoms takes them along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import small
import torch
from exact import beads_of, lattice, molecule, moves_of, only, start, sweeps, system
from test_chain import check_books
from test_energy import clear_cutoff, rerun
from test_forces import PACKED, Slow, agree, inner, of_beads, packing_forces, slopes

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.chemistry.topology import MoleculeType, Terms
from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.chemistry.virtual_sites import (
    FORMS,
    VirtualSites,
    inner_sites,
    place_in_molecules,
    place_sites,
    spread_sites,
    touched_sites,
    virtual_sites,
)
from dbm_gmx.errors import InputError
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield import energy
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.nonbonded import reaction_field, zero_quadrupole
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.langevin import Motion
from dbm_gmx.sampling.moves import ANNEALING, GIBBS_TORSION, PIVOT, TORSION_STEP, TRANSLATION
from dbm_gmx.sampling.packing import Cores, PackingArrays, _driven, _spread_all
from dbm_gmx.sampling.sampler import make_sampler

SITES = {
    ("virtual_sites1", 1): ((0,), ()),
    ("virtual_sites2", 1): ((1, 0), (0.3,)),
    ("virtual_sites2", 2): ((3, 2), (0.08,)),
    ("virtual_sites3", 1): ((1, 0, 2), (0.3, -0.4)),
    ("virtual_sites3", 2): ((1, 0, 2), (0.4, -0.09)),
    ("virtual_sites3", 3): ((0, 1, 2), (109.5, 0.1)),
    ("virtual_sites3", 4): ((1, 0, 2), (0.3, -0.4, 3.5)),
    ("virtual_sites4", 2): ((1, 0, 2, 4), (1.1, 0.9, -0.1)),
    ("virtual_sitesn", 1): ((0, 1, 2, 3), (0.25, 0.25, 0.25, 0.25)),
    ("virtual_sitesn", 2): ((0, 4), (0.4, 0.6)),
    ("virtual_sitesn", 3): ((5, 1, 2), (0.5, 0.3, 0.2)),
}
"""Atoms that make a site, and parameters, by directive and function type."""

SIGMA_EPSILON = {"C": (0.34, 0.4), "O": (0.30, 0.6), "V": (0.05, 0.1)}


def branched(name: str, kinds: list[tuple[str, int]]) -> MoleculeType:
    """Six atoms, branched at the second one, and sites of some kinds with a charge and a small core."""
    atoms = [
        ("C", 12.0, 0.1),
        ("C", 12.0, 0.2),
        ("O", 16.0, -0.4),
        ("C", 12.0, 0.1),
        ("C", 12.0, 0.3),
        ("O", 16.0, -0.1),
    ]
    bonds = [(0, 1), (1, 2), (2, 3), (1, 4), (4, 5)]
    angles = [(0, 1, 2), (1, 2, 3), (0, 1, 4), (1, 4, 5), (2, 1, 4)]
    rows = [
        *(("bonds", 1, bond, (0.15, 2e5)) for bond in bonds),
        *(("angles", 1, angle, (111.0, 400.0)) for angle in angles),
        ("dihedrals", 3, (0, 1, 2, 3), (2.9, -1.4, 0.2, -1.6, 0.0, 0.0)),
        ("dihedrals", 9, (2, 1, 4, 5), (0.0, 2.0, 3.0)),
        *(
            ((directive, function, (6 + k, *SITES[directive, function][0]), SITES[directive, function][1]))
            for k, (directive, function) in enumerate(kinds)
        ),
    ]
    sites = [("V", 0.0, -0.2)] * len(kinds)
    excluded = [(i, 6 + k) for k in range(len(kinds)) for i in range(6 + k)]
    made = molecule(name, [*atoms, *sites], rows, nrexcl=2, exclusions=excluded)
    for k, kind in enumerate(kinds):
        made.graph.add_edge(6 + k, SITES[kind][0][0], kind="virtual")
    return made


def two_beads(moltype: MoleculeType) -> list[int]:
    """Beads that own the atoms: sites on either."""
    return [0, 0, 0, 0, 1, 1, *(k % 2 for k in range(moltype.n_atoms - 6))]


def of_sites(name: str) -> MoleculeType:
    """The branched molecule with three sites: the first is made of the last, that of the second."""
    kinds = [("virtual_sites2", 1), ("virtual_sites3", 4), ("virtual_sites2", 1)]
    made = branched(name, kinds)
    terms = [t for t in made.terms if t.directive != "virtual_sites2"]
    halves = Terms("virtual_sites2", 1, np.array([[6, 0, 8], [8, 3, 7]]), np.array([[0.5], [0.5]]))
    return replace(made, terms=(*terms, halves))


SHAPE = np.array(
    [[-0.06, 0.13, 0], [0, 0, 0], [0.15, 0, 0], [0.2, 0.1, 0.1], [-0.06, -0.08, 0.12], [-0.2, -0.1, 0.1]]
)


def box_of(moltype: MoleculeType, copies: int) -> tuple[System, np.ndarray, np.ndarray]:
    """A system of some copies with atoms (n, 3) and box."""
    beads = beads_of(moltype, two_beads(moltype))
    middles = sp.csr_matrix(beads.owner == np.arange(2)[:, None], dtype=np.float64)  # sites have weights, too
    beads = replace(beads, weights=sp.csr_matrix(middles / middles.sum(axis=1)))
    made = system([(moltype, beads, copies)], SIGMA_EPSILON)
    points, box = lattice(copies, 0.62)
    atoms = np.zeros((copies, moltype.n_atoms, 3))
    atoms[:, :6] = points[:, None] + SHAPE + 0.005 * np.random.default_rng(1).normal(size=(copies, 6, 3))
    place_in_molecules(moltype, atoms)
    return made, atoms.reshape(-1, 3), box


def one_site(kind: tuple[str, int]) -> VirtualSites:
    return virtual_sites(branched("MOL", [kind]))


# --- places and forces -----------------------------------------------------------------------------


def by_the_manual(kind: tuple[str, int], x: np.ndarray) -> np.ndarray:
    """Where a site is, by the equations of the GROMACS manual."""
    atoms, p = SITES[kind]
    i, j, k, m = (x[[*atoms, *atoms[-1:] * 3][q]] for q in range(4))
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    match kind:
        case "virtual_sites2", 1:
            return (1 - p[0]) * i + p[0] * j
        case "virtual_sites2", 2:
            return i + p[0] * unit(j - i)
        case "virtual_sites3", 1:
            return (1 - p[0] - p[1]) * i + p[0] * j + p[1] * k
        case "virtual_sites3", 2:
            return i + p[1] * unit(j - i + p[0] * (k - j))
        case "virtual_sites3", 3:
            theta, across = np.radians(p[0]), (k - j) - (k - j) @ unit(j - i) * unit(j - i)
            return i + p[1] * (np.cos(theta) * unit(j - i) + np.sin(theta) * unit(across))
        case "virtual_sites3", 4:
            return i + p[0] * (j - i) + p[1] * (k - i) + p[2] * np.cross(j - i, k - i)
        case "virtual_sites4", 2:
            return i + p[2] * unit(np.cross(p[0] * (k - i) - (j - i), p[1] * (m - i) - (j - i)))
        case "virtual_sites1", 1:
            return i
    return np.average(x[list(atoms)], axis=0, weights=p)


def test_every_kind_is_known() -> None:
    assert set(SITES) == set(FORMS)


@pytest.mark.parametrize("kind", SITES)
def test_sites_are_where_the_manual_says(kind: tuple[str, int]) -> None:
    x = np.random.default_rng(1).normal(size=(7, 3))
    place_sites(x, one_site(kind))
    np.testing.assert_allclose(x[6], by_the_manual(kind, x), atol=1e-12)


@pytest.mark.parametrize("kind", SITES)
def test_forces_on_sites_are_spread_by_the_transpose(kind: tuple[str, int]) -> None:
    rng, sites = np.random.default_rng(2), one_site(kind)
    x, force = rng.normal(size=(7, 3)), np.zeros((7, 3))
    push = force[6] = rng.normal(size=3)
    spread_sites(x, sites, force)
    slopes = np.zeros((7, 3))
    for i in range(6):
        for d in range(3):
            for sign in (1, -1):
                y = x.copy()
                y[i, d] += sign * 1e-6
                place_sites(y, sites)
                slopes[i, d] += sign * y[6] @ push / 2e-6
    np.testing.assert_allclose(force, slopes, atol=1e-8)
    # nothing is lost: neither force nor torque
    np.testing.assert_allclose(force.sum(axis=0), push, atol=1e-12)


def test_what_cannot_be_built_is_refused() -> None:
    made = branched("MOL", [("virtual_sites1", 1), ("virtual_sites2", 1)])
    first, second = (t for t in made.terms if t.directive.startswith("virtual"))
    chained = replace(second, atoms=np.array([[7, 6, 0]])), replace(first, atoms=np.array([[6, 7]]))
    with pytest.raises(InputError, match=r"V[78] is made of itself, by way of those"):
        virtual_sites(replace(made, terms=chained))
    with pytest.raises(InputError, match="V7 is defined twice"):
        virtual_sites(replace(made, terms=(first, replace(second, atoms=np.array([[6, 1, 0]])))))


def test_sites_of_sites_come_after_those() -> None:
    """The first is the middle of an atom and the last, which is the middle of the second and an atom."""
    sites = virtual_sites(of_sites("MOL"))
    assert sites.virtual.tolist() == [7, 8, 6]
    rng = np.random.default_rng(3)
    x, push = rng.normal(size=(9, 3)), rng.normal(size=3)
    place_sites(x, sites)
    np.testing.assert_allclose(x[7], by_the_manual(("virtual_sites3", 4), x), atol=1e-12)
    np.testing.assert_allclose(x[6], 0.5 * x[0] + 0.25 * (x[3] + x[7]), atol=1e-12)
    force = np.zeros((9, 3))
    force[6] = push
    spread_sites(x, sites, force)
    assert not force[6:].any()
    np.testing.assert_allclose(force.sum(axis=0), push, atol=1e-12)
    np.testing.assert_allclose(np.cross(x, force).sum(axis=0), np.cross(x[6], push), atol=1e-12)
    assert touched_sites(sites, np.array([2])).tolist() == [0, 1, 2]  # all, by way of the second
    assert inner_sites(sites, np.array([0, 1, 2])).tolist() == [0]
    assert inner_sites(sites, np.array([0, 1, 2, 3])).tolist() == [0, 1, 2]


def test_bonds_of_sites_are_not_held() -> None:
    made = branched("MOL", [("virtual_sites1", 1)])
    bond = next(t for t in made.terms if t.directive == "bonds")
    longer = replace(
        bond, atoms=np.concatenate([bond.atoms, [[0, 6]]]), parameters=bond.parameters[[0, 1, 2, 3, 4, 0]]
    )
    fixed, _ = fixed_bonds(replace(made, terms=(longer, made.terms[-1])), "all-bonds")
    assert fixed.tolist() == [[0, 1], [1, 2], [1, 4], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    "moltype", [branched("MOL", [k for k in SITES if k != ("virtual_sites1", 1)]), of_sites("MOL")]
)
def test_packing_forces_are_slopes_by_the_atoms(moltype: MoleculeType) -> None:
    """Sites are put in place anew when an atom is shifted; they themselves are not driven."""
    made, atoms, box = box_of(moltype, 4)
    conf = start(made, PACKED, atoms, box).conf
    slow = Slow(made, atoms, box, cutoff=0.55, soft=0.0, form=zero_quadrupole(PACKED.rcoulomb))

    def energy_by_atoms(x: np.ndarray) -> float:
        y = x.copy()
        place_in_molecules(made.matches[0].moltype, y.reshape(4, -1, 3))
        restraints = of_beads(made, PACKED, conf.neighbours.beads, y)
        return slow.others(y) + slow.special(y) + inner(made, PACKED, y, 1.0) + restraints

    force = packing_forces(conf, Cores(0.55, 0.0, 1.0), Team())
    arrays = conf.arrays.part(PackingArrays)
    _spread_all(Motion(conf.positions, force, force), arrays)
    real = _driven(arrays)
    assert len(real) == 24
    assert not np.delete(force, real, axis=0).any()
    agree(force[real], slopes(energy_by_atoms, atoms, 1e-6)[real], 1e-5)


# --- moves -----------------------------------------------------------------------------------------


MOVED = [GIBBS_TORSION, TORSION_STEP, PIVOT, TRANSLATION, ANNEALING]


@pytest.mark.parametrize(
    ("moltype", "move_type"),
    [
        *((branched("MOL", list(SITES)), move) for move in [None, *MOVED]),
        *((of_sites("MOL"), move) for move in [None, PIVOT, ANNEALING]),
    ],
)
def test_moves_take_sites_along(moltype: MoleculeType, move_type: int | None) -> None:
    """The energy adds up, in which sites have their share, and sites are where their atoms say."""
    conditions = Conditions(500.0, rvdw=0.55, rcoulomb=0.55, spread=0.03)
    made, atoms, box = box_of(moltype, 8)
    chain = start(made, conditions, atoms, box)
    if move_type == ANNEALING:
        chain.progress.steps[moves_of(chain, ANNEALING)] = 1.0
    if move_type is not None:
        only(chain, moves_of(chain, move_type))
    sweeps(chain, 40)
    x = chain.conf.positions
    assert (np.abs(x - atoms).reshape(8, -1, 3).max(axis=(0, 2)) > 1e-3).all()  # nobody is left behind
    placed = x.reshape(8, -1, 3).copy()
    place_in_molecules(moltype, placed)
    np.testing.assert_allclose(x, placed.reshape(-1, 3), atol=1e-10)
    check_books(chain, made, conditions, box)


# --- a whole frame ---------------------------------------------------------------------------------


@pytest.mark.parametrize("moltype", [branched("MOL", list(SITES)), of_sites("MOL")])
def test_sites_of_all_kinds_are_rebuilt(moltype: MoleculeType) -> None:
    """All stages, from beads alone: the atoms are bonded as they should be, and sites are where they say."""
    made, atoms, box = box_of(moltype, 4)
    beads = mapped_beads(made, atoms)
    conditions = Conditions(300.0, rvdw=0.55, rcoulomb=0.55)
    found, _ = make_sampler(made, conditions, Settings(sweeps=4), {})(Frame(beads, box))
    x = found.reshape(4, -1, 3).astype(np.float64)
    placed = x.copy()
    place_in_molecules(moltype, placed)
    np.testing.assert_allclose(x, placed, atol=2e-6)
    bonds, length = fixed_bonds(moltype, "all-bonds")
    apart = np.linalg.norm(x[:, bonds[:, 0]] - x[:, bonds[:, 1]], axis=-1)
    np.testing.assert_allclose(apart, np.broadcast_to(length, apart.shape), atol=2e-6)
    assert np.linalg.norm(mapped_beads(made, found) - beads, axis=1).max() < 0.02


TIP4P = f"""
[ defaults ]
1 3 yes 0.5 0.5
[ atomtypes ]
OW 8 15.9994 0.0 A 0.31589 0.77490
HW 1 1.008 0.0 A 0.0 0.0
MW 0 0.0 0.0 D 0.0 0.0
{small.TIP4P_WATER}[ system ]
water
[ molecules ]
SOL 27
"""


def test_water_of_four_sites_is_rebuilt(tmp_path: Path) -> None:
    """Growth, exchange, packing, sweeps; in the end bonds and sites are where they belong, charges too."""
    (tmp_path / "topol.top").write_text(TIP4P)
    moltype = read_topology(tmp_path / "topol.top").molecule_types["SOL"]
    made = system(
        [(moltype, beads_of(moltype, [0] * 4), 27)], {"OW": (0.316, 0.775), "HW": (0, 0), "MW": (0, 0)}
    )
    points, box = lattice(27, 0.31)
    conditions = Conditions(300.0, rvdw=0.45, rcoulomb=0.45)
    sampler = make_sampler(made, conditions, Settings(sweeps=8), {})
    atoms, _ = sampler(Frame(points, box))
    o, h, k, m = np.moveaxis(atoms.reshape(-1, 4, 3).astype(np.float64), 1, 0)
    np.testing.assert_allclose(m, o + 0.13193828 * (h - o) + 0.13193828 * (k - o), atol=2e-7)
    for a, b, length in ((o, h, 0.09572), (o, k, 0.09572), (h, k, 0.15139)):
        np.testing.assert_allclose(np.linalg.norm(a - b, axis=1), length, atol=2e-6)
    assert np.linalg.norm(mapped_beads(made, atoms) - points, axis=1).max() < 0.03
    # oxygen has no charge: only by their sites do hydrogens find their acceptors
    apart = atoms[:, None].astype(np.float64) - atoms[None]
    apart = np.linalg.norm(minimum_image(apart.reshape(-1, 3), box), axis=1).reshape(108, 108)
    others = np.repeat(np.arange(27), 4)[:, None] != np.repeat(np.arange(27), 4)
    charges = np.tile(moltype.charges, 27)
    electric = 0.5 * ELECTRIC * (np.outer(charges, charges) / np.where(others, apart, np.inf)).sum() / 27
    print(f"{electric:.1f} kJ/mol per molecule")
    assert electric < -15.0


# --- against GROMACS -------------------------------------------------------------------------------


def as_file(kind: tuple[str, int], copies: int) -> str:
    """A topology of the branched molecule with one site, as a file."""
    moltype, (atoms, parameters) = branched("MOL", [kind]), SITES[kind]
    lines = ["[ defaults ]", "1 2 yes 0.5 0.5", "[ atomtypes ]"]
    for name, (sigma, epsilon) in SIGMA_EPSILON.items():
        lines.append(f"{name} 0 12.0 0.0 {'V' if name == 'V' else 'A'} {sigma} {epsilon}")
    lines += ["[ moleculetype ]", "MOL 2", "[ atoms ]"]
    for i, node in moltype.graph.nodes.items():
        lines.append(f"{i + 1} {node['type']} 1 MOL {node['name']} {i + 1} {node['charge']} {node['mass']}")
    for terms in moltype.terms:
        if not terms.directive.startswith("virtual"):
            lines.append(f"[ {terms.directive} ]")
            for row, values in zip(terms.atoms + 1, terms.parameters, strict=True):
                lines.append(" ".join(map(str, [*row, terms.function, *(f"{v:g}" for v in values)])))
    numbers = [f"{i + 1}" for i in atoms]
    directive, function = kind
    if directive == "virtual_sitesn":
        made = (
            " ".join(f"{i} {w}" for i, w in zip(numbers, parameters, strict=True))
            if function == 3
            else " ".join(numbers)
        )
        line = f"7 {function} {made}"
    else:
        line = f"7 {' '.join(numbers)} {function} {' '.join(map(str, parameters))}"
    # not all pairs of a site: what is not listed, GROMACS does not exclude
    lines += [
        f"[ {directive} ]",
        line,
        "[ exclusions ]",
        "7 1 2 3",
        "[ system ]",
        "x",
        "[ molecules ]",
        f"MOL {copies}",
    ]
    return "\n".join(lines) + "\n"


def with_site_of_site(text: str) -> str:
    """The topology with one more site, which is made of the first one and two atoms."""
    text = text.replace("[ bonds ]", "8 V 1 MOL V8 8 -0.2 0\n[ bonds ]", 1)
    return text.replace("[ exclusions ]", "[ virtual_sites3 ]\n8 7 1 3 1 0.3 0.4\n[ exclusions ]\n8 1 2 3 7")


@pytest.mark.parametrize(
    ("kind", "more"), [*((kind, False) for kind in SITES), (("virtual_sites2", 1), True)]
)
def test_energies_as_gromacs(gmx: str, tmp_path: Path, kind: tuple[str, int], *, more: bool) -> None:
    """GROMACS puts sites in place anew: to see a site where it is not would change the energies."""
    copies = 64
    text = as_file(kind, copies)
    (tmp_path / "topol.top").write_text(with_site_of_site(text) if more else text)
    topology = read_topology(tmp_path / "topol.top")
    moltype = topology.molecule_types["MOL"]
    _, atoms, box = box_of(moltype, copies)
    atoms = np.round(atoms, 3)
    write_gro(tmp_path / "aa.gro", moltype, atoms, box)
    place_in_molecules(moltype, atoms.reshape(copies, -1, 3))
    x = Frame(atoms.astype(np.float32), box)
    cutoff = clear_cutoff(x)
    found = energy.bonded_energies(topology, torch.as_tensor(atoms))
    found |= energy.nonbonded_energies(topology, x, reaction_field(cutoff, epsilon_rf=2.5))
    ours = {name: value.item() for name, value in found.items()}
    coulomb = f"coulombtype = Reaction-Field\nepsilon_rf = 2.5\nrcoulomb = {cutoff}\nrvdw = {cutoff}\n"
    top, gro = tmp_path / "topol.top", tmp_path / "aa.gro"
    theirs = rerun(gmx, tmp_path, top=top, gro=gro, names=[*ours, "Potential"], coulomb=coulomb)
    assert sum(ours.values()) == pytest.approx(theirs.pop("Potential"), rel=1e-4)
    assert ours == pytest.approx(theirs, rel=1e-4)


def write_gro(path: Path, moltype: MoleculeType, atoms: np.ndarray, box: np.ndarray) -> None:
    lines, n = ["x", str(len(atoms))], moltype.n_atoms
    for i, place in enumerate(atoms):
        name = moltype.names[i % n]
        lines.append(f"{i // n + 1:5d}{'MOL':5s}{name:>5s}{i + 1:5d}" + "".join(f"{v:8.3f}" for v in place))
    path.write_text("\n".join([*lines, " ".join(f"{v:.5f}" for v in np.diag(box))]) + "\n")

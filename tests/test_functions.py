"""Every functional form in the sampler, and molecules that are held to each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from exact import MIXED, fork, mixture, own_energies, potential, start, sweeps
from test_chain import check_books

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.joined import MOST_ATOMS, join_matches, join_topology
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.system import System, whole_atoms
from dbm_gmx.chemistry.topology import MoleculeType, Terms, chemical_graph, excluded_pairs
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.energy import bonded_energies
from dbm_gmx.forcefield.terms import CANONICAL
from dbm_gmx.options import Conditions

CONDITIONS = Conditions(500.0, rvdw=0.6, rcoulomb=0.55, spread=0.03, constraints="none")
RNG = np.random.default_rng(5)
WAVE = (*np.cos(np.linspace(0, 4, 13)), *-np.sin(np.linspace(0, 4, 13)))

MORE = {
    ("bonds", 3): ((1, 4), (0.15, 40.0, 12.0)),
    ("bonds", 4): ((0, 1), (0.15, 2e3, -2.0)),
    ("bonds", 7): ((3, 5), (0.6, 1e3)),
    ("bonds", 8): ((2, 3), (0.03, 2.0, *WAVE)),
    ("bonds", 9): ((0, 5), (0.1, 2.0, *WAVE)),
    ("bonds", 10): ((0, 3), (0.2, 0.25, 0.3, 2e3)),
    ("angles", 3): ((0, 1, 2), (0.15, 0.14, 2e3)),
    ("angles", 4): ((1, 2, 3), (0.15, 0.14, 0.25, 2e3)),
    ("angles", 6): ((4, 1, 2), (112.0, 1.0, 5.0, 40.0, -5.0, 2.0)),
    ("angles", 8): ((0, 1, 4), (np.pi / 12, 2.0, *WAVE)),
    ("angles", 10): ((2, 3, 5), (112.0, 20.0)),
    ("dihedrals", 8): ((4, 1, 2, 3), (np.pi / 6, 2.0, *WAVE)),
    ("dihedrals", 10): ((4, 1, 2, 3), (100.0, 1.0)),
    ("dihedrals", 11): ((1, 2, 3, 5), (3.0, 1.0, 2.0, -3.0, 4.0, -1.0)),
    ("dihedral_restraints", 1): ((1, 2, 3, 5), (120.0, 20.0, 20.0)),
    ("angle_restraints", 1): ((0, 4, 3, 5), (60.0, 5.0, 2.0)),
    ("cmap", 1): ((0, 1, 2, 3, 5), tuple(RNG.normal(scale=3.0, size=144))),
}
"""Terms of a fork: atoms and parameters by directive and function."""


def with_terms(made: System, name: str, terms: list[Terms]) -> System:
    """The system with more terms in one of its molecule types."""
    moltypes = dict(made.topology.molecule_types)
    moltypes[name] = replace(moltypes[name], terms=(*moltypes[name].terms, *terms))
    topology = replace(made.topology, molecule_types=moltypes)
    matches = tuple(replace(m, moltype=moltypes[m.moltype.name]) for m in made.matches)
    return replace(made, topology=topology, matches=matches)


def more_terms() -> list[Terms]:
    return [Terms(*key, np.array([atoms]), np.array([values])) for key, (atoms, values) in MORE.items()]


def test_every_function_is_here_or_in_the_fork() -> None:
    usual = {(t.directive, t.function) for t in fork().terms}
    elsewhere = {("bonds", n) for n in (2, 6)} | {("angles", n) for n in (2, 5)}
    elsewhere |= {("dihedrals", n) for n in (1, 2, 4, 5)}
    assert usual | set(MORE) | elsewhere >= set(CANONICAL)


def test_energy_is_tracked_with_every_function() -> None:
    plain, atoms = mixture(MIXED)
    made = with_terms(plain, "FRK", more_terms())
    changed = potential(made, CONDITIONS, atoms, MIXED)[0] - potential(plain, CONDITIONS, atoms, MIXED)[0]
    assert abs(changed) > 10.0
    chain = start(made, CONDITIONS, atoms, MIXED)
    sweeps(chain, 40)
    assert (chain.conf.positions != atoms).all()
    check_books(chain, made, CONDITIONS, MIXED)


def test_tables_of_two_molecules_do_not_mix() -> None:
    plain, atoms = mixture(MIXED)
    wave = tuple(2.0 - np.array(WAVE))
    of_duo = Terms("bonds", 9, np.array([[0, 1]]), np.array([[0.05, 3.0, *wave]]))
    made = with_terms(with_terms(plain, "FRK", more_terms()), "DUO", [of_duo])
    found = sum(own_energies(made, CONDITIONS, atoms, MIXED))
    assert found == pytest.approx(potential(made, CONDITIONS, atoms, MIXED).sum(), rel=1e-5)
    other = sum(own_energies(with_terms(plain, "FRK", more_terms()), CONDITIONS, atoms, MIXED))
    assert abs(found - other) > 1.0


# --- molecules that are held to each other ---------------------------------------------------------------


def held(*rows: tuple[int, int], length: float = 0.5, k: float = 500.0) -> tuple[Terms, ...]:
    """Harmonic bonds (function 1) between atoms of the system."""
    return (Terms("bonds", 1, np.array(rows), np.array([(length, k)] * len(rows))),)


def joined_system(made: System, between: tuple[Terms, ...]) -> System:
    topology = replace(made.topology, intermolecular=between)
    joined = join_topology(topology)
    mappings, matches = join_matches(topology, joined, made.matches)
    return System(joined, {**made.mappings, **mappings}, matches)


def test_molecules_between_those_that_are_held_are_joined_too() -> None:
    made, _ = mixture(MIXED)
    (_, forks), (_, duos), (_, ions) = made.topology.molecules
    size = made.topology.molecule_types["FRK"].n_atoms
    assert min(forks, duos) >= 2
    first_duo, last_fork = forks * size, (forks - 1) * size
    one = joined_system(made, held((last_fork, first_duo)))
    assert one.topology.molecules == (
        ("FRK", forks - 1),
        ("FRK+DUO", 1),
        ("DUO", duos - 1),
        ("ION", ions),
    )
    # from the first fork to the first diatomic
    across = joined_system(made, held((0, first_duo)))
    name = "FRK+...+DUO" if forks > 1 else "FRK+DUO"
    assert across.topology.molecules == ((name, 1), ("DUO", duos - 1), ("ION", ions))
    for system in (one, across):
        assert system.n_atoms == made.n_atoms
        assert system.n_beads == made.n_beads
        assert [m.first_atom for m in system.matches] == np.cumsum(
            [0, *(m.count * m.moltype.n_atoms for m in system.matches)]
        )[:-1].tolist()


def test_what_is_joined_has_the_terms_and_exclusions_of_its_parts_and_no_bond_between() -> None:
    made, atoms = mixture(MIXED)
    size = made.topology.molecule_types["FRK"].n_atoms
    system = joined_system(made, held((1, size + 2)))
    moltype = system.topology.molecule_types["FRK+FRK"]
    one = excluded_pairs(made.topology.molecule_types["FRK"])
    assert excluded_pairs(moltype).tolist() == np.concatenate([one, one + size]).tolist()
    assert not chemical_graph(moltype).has_edge(1, size + 2)
    assert moltype.graph.edges[1, size + 2]["kind"] == "held"
    pairs, _ = fixed_bonds(moltype, "all-bonds")
    assert [1, size + 2] not in pairs.tolist()
    x = whole_atoms(system, Frame(atoms.astype(np.float32), MIXED)).astype(np.float64)
    apart = float(np.linalg.norm(minimum_image(x[size + 2] - x[1], MIXED)))
    assert np.linalg.norm(x[size + 2] - x[1]) == pytest.approx(apart, abs=1e-5)
    energy = sum(float(v) for v in bonded_energies(system.topology, torch.as_tensor(x)).values())
    before = sum(float(v) for v in bonded_energies(made.topology, torch.as_tensor(x)).values())
    assert energy - before == pytest.approx(250.0 * (apart - 0.5) ** 2, rel=1e-6)


def test_pairs_of_molecules_that_are_alike_are_one_molecule_type() -> None:
    made, _ = mixture(np.eye(3) * 2.0)
    size = made.topology.molecule_types["FRK"].n_atoms
    count = made.topology.molecules[0][1]
    assert count >= 6
    alike = joined_system(made, held((1, size + 2), (2 * size + 1, 3 * size + 2)))
    assert alike.topology.molecules[:2] == (("FRK+FRK", 1), ("FRK+FRK", 1))
    assert [(m.moltype.name, m.count) for m in alike.matches[:2]] == [("FRK+FRK", 2), ("FRK", count - 4)]
    other = joined_system(made, held((1, size + 2), (2 * size + 1, 3 * size + 3)))
    assert other.topology.molecules[:2] == (("FRK+FRK", 1), ("FRK+FRK#2", 1))


def test_molecules_too_far_apart_in_the_list_are_refused() -> None:
    made, _ = mixture(MIXED)
    (frk, _), *_ = made.topology.molecules
    many = MOST_ATOMS // made.topology.molecule_types[frk].n_atoms + 2
    topology = replace(made.topology, molecules=((frk, many),), intermolecular=held((0, many * 6 - 1)))
    with pytest.raises(InputError, match="list them next to each other"):
        join_topology(topology)


def test_nothing_changes_without_interactions_between_molecules() -> None:
    made, _ = mixture(MIXED)
    assert join_topology(made.topology) is made.topology
    assert isinstance(made.matches[0].moltype, MoleculeType)


def test_the_distance_of_molecules_that_are_held_is_sampled() -> None:
    made, atoms = mixture(MIXED)
    size = made.topology.molecule_types["FRK"].n_atoms
    soft = replace(CONDITIONS, spread=0.3)
    means = []
    for k in (0.0, 2000.0):
        system = joined_system(made, held((1, size + 2), length=0.45, k=k))
        x = whole_atoms(system, Frame(atoms.astype(np.float32), MIXED)).astype(np.float64)
        chain = start(system, soft, x, MIXED)
        sweeps(chain, 60)
        found = []
        for _ in range(60):
            sweeps(chain, 1)
            y = chain.conf.positions
            found.append(np.linalg.norm(y[size + 2] - y[1]))
        check_books(chain, system, soft, MIXED)
        means.append(abs(np.mean(found) - 0.45))
    # the beads pull, too, with 46 kJ/mol nm^-2 an axis
    assert means[1] < 0.5 * means[0]

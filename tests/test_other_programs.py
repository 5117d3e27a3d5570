"""Atoms handed over to ParmEd, OpenMM and ASE: what they have there is what the files say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import parmed
import pytest
import torch
from oracle import example
from test_top import DEFAULTS, FOUR, SYSTEM, TYPES, read

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import whole_molecules
from dbm_gmx.chemistry.topology import Topology, blocks, excluded_pairs
from dbm_gmx.errors import InputError
from dbm_gmx.files.parmed import to_parmed
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield.energy import bonded_energies, nonbonded_energies, own_field_energy
from dbm_gmx.forcefield.nonbonded import long_range
from dbm_gmx.options import Conditions

FEW = 8
"""Molecules, where all would take long."""


@pytest.fixture(scope="module")
def octane() -> tuple[Topology, Frame]:
    topology, frame = read_topology(example() / "topol.top"), read_structure(example() / "aa.gro")
    return topology, whole_molecules(topology, frame)


# --- ParmEd ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(
    octane: tuple[Topology, Frame], tmp_path_factory: pytest.TempPathFactory
) -> tuple[parmed.Structure, parmed.Structure]:
    """A few molecules, handed over by us and as ParmEd reads them."""
    path = tmp_path_factory.mktemp("few") / "topol.top"
    path.write_text((example() / "topol.top").read_text().replace("OCT  80", f"OCT  {FEW}"))
    frame = replace(octane[1], positions=octane[1].positions[: 26 * FEW])
    mine = to_parmed(read_topology(path), frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = parmed.gromacs.GromacsTopologyFile(str(path), xyz=frame.positions * 10)
    theirs.box = [*np.diag(frame.box) * 10, 90, 90, 90]
    return mine, theirs


def pairs(structure: parmed.Structure) -> set[tuple[float, ...]]:
    found = set()
    for pair in structure.adjusts:
        size = np.round([pair.type.rmin, pair.type.epsilon, pair.type.chgscale], 5)
        found.add((*sorted((pair.atom1.idx, pair.atom2.idx)), *size.tolist()))
    return found


def test_pairs_exclusions_box_and_coordinates_are_those_parmed_reads(
    both: tuple[parmed.Structure, parmed.Structure],
) -> None:
    mine, theirs = both
    assert len(mine.adjusts) == len(theirs.adjusts) == FEW * 63
    assert pairs(mine) == pairs(theirs)
    assert mine.nrexcl == theirs.nrexcl == 3
    np.testing.assert_allclose(mine.box, theirs.box, atol=1e-4)
    np.testing.assert_allclose(mine.coordinates, theirs.coordinates, atol=1e-4)
    assert not any(atom.exclusion_partners for atom in mine.atoms)  # all follow from bonds or are 1-4 pairs


def test_parmed_makes_the_same_energies_of_both(both: tuple[parmed.Structure, parmed.Structure]) -> None:
    app = pytest.importorskip("openmm.app")
    found = []
    for structure in both:
        system = structure.createSystem(
            nonbondedMethod=app.CutoffPeriodic, nonbondedCutoff=10 * parmed.unit.angstrom, rigidWater=False
        )
        found.append(dict(parmed.openmm.energy_decomposition_system(structure, system, platform="Reference")))
    assert found[0] == pytest.approx(found[1])
    assert found[0]["NonbondedForce"] != 0


def test_explicit_exclusions_and_own_pairs_of_types_get_there(tmp_path: Path) -> None:
    more = "[ nonbond_params ]\nCT HC 1 1e-3 1e-6\n"
    extra = "[ bonds ]\n1 2 1 0.15 2e5\n2 3 1 0.15 2e5\n3 4 1 0.15 2e5\n[ pairs ]\n1 4 1 1e-3 1e-6\n"
    text = (
        DEFAULTS + TYPES + more + FOUR.replace(" 3\n", " 1\n", 1) + extra + "[ exclusions ]\n1 3\n" + SYSTEM
    )
    topology = read(tmp_path, text)
    structure = to_parmed(topology)
    ((moltype, _, _),) = {(m.name): (m, f, c) for m, f, c in blocks(topology)}.values()
    explicit = {
        tuple(sorted((atom.idx, other.idx)))
        for atom in structure.residues[0].atoms
        for other in atom.exclusion_partners
    }
    bonded = {(0, 1), (1, 2), (2, 3)}
    wanted = set(map(tuple, excluded_pairs(moltype).tolist()))
    assert explicit | bonded == wanted
    assert (0, 2) in explicit
    assert structure.has_NBFIX()


def test_what_parmed_lacks_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    to_parmed(read(tmp_path, DEFAULTS + TYPES + FOUR + "[ bonds ]\n1 2 2 0.15 7e6\n" + SYSTEM))
    assert "ParmEd has no place for [ bonds ] of function type 2" in caplog.text


def test_positions_of_another_system_are_refused(octane: tuple[Topology, Frame]) -> None:
    topology, frame = octane
    with pytest.raises(InputError, match="7 positions for 2080 atoms"):
        to_parmed(topology, replace(frame, positions=frame.positions[:7]))


# --- OpenMM ------------------------------------------------------------------------------------------


def wanted(topology: Topology, frame: Frame, conditions: Conditions) -> dict[str, float]:
    """Energies of our own, with Lennard-Jones shifted as OpenMM gets it."""
    atoms = torch.from_numpy(frame.positions.astype(np.float64))
    found = {name: float(e) for name, e in bonded_energies(topology, atoms).items()}
    field = long_range(conditions)
    found["Coulomb (SR)"] = float(nonbonded_energies(topology, frame, field)["Coulomb (SR)"])
    found["Coulomb (SR)"] -= float(own_field_energy(topology, field))  # the same for all positions
    return found


def test_openmm_has_our_energies(octane: tuple[Topology, Frame]) -> None:
    pytest.importorskip("openmm")
    from dbm_gmx.files.openmm import energies, make_simulation

    topology, frame = octane
    conditions = Conditions(350, 0.9, 0.9, constraints="none", epsilon_rf=0.0)
    simulation = make_simulation(topology, frame, conditions, platform="Reference")
    assert [residue.id for residue in simulation.topology.residues()] == [str(k + 1) for k in range(80)]
    found, ours = energies(simulation), wanted(topology, frame, conditions)
    for name, energy in ours.items():
        assert found[name] == pytest.approx(energy, rel=1e-5), name
    # gmx mdrun -rerun of GROMACS 2022.5 with nvt.mdp of the example, whose potential is shifted
    assert found["LJ (SR)"] == pytest.approx(-2827.84, rel=1e-5)
    lattice = replace(conditions, epsilon_rf=None)
    pme = energies(make_simulation(topology, frame, lattice, platform="Reference"))
    assert pme["Coulomb"] == pytest.approx(1096.01 + 94.62, abs=2.0)


FORMS = """
[ bonds ]
1 2 2 0.15 7e6
1 3 3 0.15 300 20
1 4 4 0.11 2e5 20
2 3 7 0.9 500
[ angles ]
2 1 3 2 110 500
2 1 4 5 110 500 0.2 900
3 1 4 6 110 1 2 3 4 5
1 2 3 10 100 40
[ dihedrals ]
2 1 3 4 1 30 5 2
2 1 3 4 2 35 30
1 2 3 4 3 1 2 3 4 5 6
1 2 3 4 5 1 2 3 4
4 3 2 1 4 180 5 2
"""


def test_every_form_has_its_energy_in_openmm(tmp_path: Path) -> None:
    pytest.importorskip("openmm")
    from dbm_gmx.files.openmm import energies, make_simulation

    topology = read(tmp_path, DEFAULTS + TYPES + FOUR + FORMS + SYSTEM)
    rng = np.random.default_rng(1)
    one = np.array([[0, 0, 0], [0.15, 0, 0], [0, 0.16, 0.02], [0.05, 0.05, 0.12]])
    count = topology.n_atoms // 4
    positions = np.concatenate([one + np.array([k, 0, 0]) for k in range(count)])
    positions += rng.normal(0, 0.01, positions.shape)
    frame = Frame(positions.astype(np.float32), 6 * np.eye(3))
    conditions = Conditions(300, 0.9, 0.9, constraints="none", epsilon_rf=0.0)
    found = energies(make_simulation(topology, frame, conditions, platform="Reference"))
    ours = wanted(topology, frame, conditions)
    assert len(ours) > 12
    for name, energy in ours.items():
        if energy:
            assert found[name] == pytest.approx(energy, rel=1e-5), name


def test_openmm_begins_at_the_temperature_and_keeps_constraints(octane: tuple[Topology, Frame]) -> None:
    openmm = pytest.importorskip("openmm")
    from dbm_gmx.files.openmm import make_simulation

    topology, frame = octane
    some = replace(topology, molecules=(("OCT", 5),))
    frame = replace(frame, positions=frame.positions[: 26 * 5])
    simulation = make_simulation(some, frame, Conditions(350, 0.9, 0.9), platform="Reference")
    assert simulation.system.getNumConstraints() == 5 * 25
    kinetic = simulation.context.getState(getEnergy=True).getKineticEnergy()
    freedom = 3 * 26 * 5 - 25 * 5
    mean = kinetic.value_in_unit(openmm.unit.kilojoule_per_mole) / (0.5 * freedom * 0.00831446 * 350)
    assert 0.7 < mean < 1.3
    assert simulation.topology.getNumBonds() == 5 * 25
    wrapped = replace(frame, positions=(frame.positions % np.diag(frame.box)).astype(np.float32))
    assert np.abs(wrapped.positions - frame.positions).max() > 1
    again = make_simulation(some, wrapped, Conditions(350, 0.9, 0.9), platform="Reference")
    potentials = [
        one.context.getState(getEnergy=True).getPotentialEnergy()._value for one in (simulation, again)
    ]
    assert potentials[1] == pytest.approx(potentials[0], rel=1e-4)
    with pytest.raises(InputError, match=r"no platform 'GPU' here; there are .*Reference"):
        make_simulation(some, frame, Conditions(), platform="GPU")


def test_an_interaction_that_openmm_lacks_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("openmm")
    from dbm_gmx.files.openmm import to_openmm

    terms = "[ dihedrals ]\n1 2 3 4 11 10 1 2 3 4 5\n"
    topology = read(tmp_path, DEFAULTS + TYPES + FOUR + terms + SYSTEM)
    frame = Frame(np.zeros((topology.n_atoms, 3), np.float32), 6 * np.eye(3))
    with pytest.raises(InputError, match="bent-torsion are not passed on to OpenMM"):
        to_openmm(topology, frame, Conditions())


# --- ASE ---------------------------------------------------------------------------------------------


def test_atoms_of_ase(octane: tuple[Topology, Frame]) -> None:
    pytest.importorskip("ase")
    from dbm_gmx.files.ase import to_ase

    topology, frame = octane
    atoms = to_ase(topology, frame)
    assert atoms.get_chemical_formula() == "C640H1440"
    np.testing.assert_allclose(atoms.positions, frame.positions * 10, rtol=1e-6)
    np.testing.assert_allclose(atoms.cell.lengths(), np.diag(frame.box) * 10)
    assert atoms.pbc.all()
    assert atoms.get_initial_charges().sum() == pytest.approx(0, abs=1e-6)
    assert atoms.arrays["residuenames"][0] == "OCT"
    assert atoms.arrays["residuenumbers"][::26].tolist() == list(range(1, 81))
    free = to_ase(topology, replace(frame, free=True))
    assert not free.pbc.any()

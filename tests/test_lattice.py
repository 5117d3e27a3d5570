"""Electrostatics of the periodic lattice, against constants of crystals, sums over images and GROMACS."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exact import CHARGED, beads_of, molecule, system

from dbm_gmx.backmapping.electrostatics import measure_electrostatics
from dbm_gmx.backmapping.summary import Report
from dbm_gmx.backmapping.switched import measure_switched
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping
from dbm_gmx.chemistry.periodic import close_pairs
from dbm_gmx.chemistry.system import atomistic_system
from dbm_gmx.chemistry.topology import MoleculeType, atom_charges, atom_types, is_excluded
from dbm_gmx.chemistry.units import ELECTRIC, GAS
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.forcefield.energy import nonbonded_energies
from dbm_gmx.forcefield.lattice import is_empty, lattice_excess
from dbm_gmx.forcefield.nonbonded import (
    LongRange,
    lennard_jones_tail,
    reaction_field,
    switched_lennard_jones,
    zero_quadrupole,
)
from dbm_gmx.options import Conditions

FORMS = [zero_quadrupole(0.9), reaction_field(0.7, epsilon_rf=0.0), reaction_field(0.8, epsilon_rf=None)]


def by_form(charges: np.ndarray, frame: Frame, form: LongRange) -> float:
    """Energy of all pairs and images within the cut-off, and of charges with their own, kJ/mol."""
    c0, c2, c4 = form.beyond
    total = 0.5 * c0 * (charges**2).sum()
    cells = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3) @ frame.box
    x = frame.positions.astype(np.float64)
    for cell in cells:
        r = np.linalg.norm(x[None] + cell - x[:, None], axis=-1)
        near = (r < form.cutoff) & (r > 0)
        unit = np.where(near, 1 / np.where(near, r, 1) + c0 + c2 * r**2 + c4 * r**4, 0.0)
        total += 0.5 * charges @ unit @ charges
    return float(ELECTRIC / form.epsilon_r * total)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("crystal", "madelung"), [("NaCl", 1.747564595), ("CsCl", 1.762674773)])
def test_madelung_constants(crystal: str, madelung: float, form: LongRange) -> None:
    """By ions of unit charge; the box is a lattice of 3 x 3 x 3 or 4 x 4 x 4 cells, shifted off the mesh."""
    side = 0.56
    if crystal == "NaCl":
        places = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), -1).reshape(-1, 3) * side / 2
        charges, nearest, box = (-1.0) ** (places / side * 2).round().sum(1), side / 2, 3 * side
    else:
        cells = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * side
        places = np.concatenate([cells, cells + side / 2])
        charges, nearest, box = np.repeat([1.0, -1.0], len(cells)), side * np.sqrt(3) / 2, 4 * side
    frame = Frame((places + np.array([0.013, 0.027, 0.031])).astype(np.float32), np.eye(3) * box)
    found = by_form(charges, frame, form) - lattice_excess(charges, frame, form)
    assert found == pytest.approx(-ELECTRIC * madelung / nearest * len(charges) / 2, rel=2e-5)


def cloud(seed: int = 1) -> tuple[np.ndarray, Frame]:
    """Charges, none in all, anywhere in a skewed box and outside it."""
    rng = np.random.default_rng(seed)
    box = np.array([[2.1, 0, 0], [0.4, 1.9, 0], [-0.6, 0.7, 2.3]])
    charges = rng.normal(size=60)
    places = rng.uniform(-1, 2, size=(60, 3)) @ box
    return charges - charges.mean(), Frame(places.astype(np.float32), box)


def test_energy_does_not_depend_on_form_and_cutoff() -> None:
    """Of a skewed box narrower than two cut-offs, whole or moved."""
    charges, frame = cloud()
    moved = Frame((frame.positions + np.float32([0.3, 5.0, -0.2])).astype(np.float32), frame.box)
    forms = [*FORMS, zero_quadrupole(1.4)]
    found = [
        by_form(charges, f, form) - lattice_excess(charges, f, form) for form in forms for f in (frame, moved)
    ]
    assert np.ptp(found) < 1e-5 * ELECTRIC * (charges**2).sum() / 0.3


def test_permittivity_divides_and_a_net_charge_has_a_background() -> None:
    charges, frame = cloud()
    whole = lattice_excess(charges, frame, zero_quadrupole(0.9))
    assert lattice_excess(charges, frame, zero_quadrupole(0.9, epsilon_r=4.0)) == pytest.approx(whole / 4)
    # a charge on a cubic lattice: -2.837297 q^2 / 2 L
    one = Frame(np.full((1, 3), 0.1, np.float32), np.eye(3) * 2.0)
    form = zero_quadrupole(0.9)
    found = by_form(np.array([3.0]), one, form) - lattice_excess(np.array([3.0]), one, form)
    assert found == pytest.approx(-ELECTRIC * 9 * 2.837297 / (2 * 2.0), rel=1e-5)


def test_a_box_that_is_all_but_empty_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mesh for it would take all memory; a liquid of any size is compared."""
    charges = np.tile([1.0, -1.0], 30)
    made = system([(*ions(charges), 30)], CHARGED)
    few = Frame(np.random.default_rng(1).uniform(0, 1.5, (60, 3)).astype(np.float32), np.eye(3) * 1.5)
    assert measure_electrostatics(made, few, Conditions()) is not None
    assert measure_electrostatics(made, replace(few, box=np.eye(3) * 9000.0), Conditions()) is None
    monkeypatch.setattr("dbm_gmx.forcefield.lattice.POINTS", 0)
    assert not is_empty(few, 1.0)
    assert is_empty(replace(few, box=np.eye(3) * 20.0), 1.0)


def ions(charges: np.ndarray) -> tuple[MoleculeType, Mapping]:
    """Pairs of ions."""
    pair = molecule("ION", [("A", 20.0, float(charges[0])), ("A", 20.0, float(charges[1]))], [])
    return pair, beads_of(pair, [0, 0])


def test_summary_says_what_the_form_is_worth_where_there_is_something_to_say() -> None:
    """Ions on their lattice: no charges and reaction fields of the user's own have no line."""
    charges, frame = cloud()
    charges = np.tile([0.6, -0.6], 30)
    made = system([(*ions(charges), 30)], CHARGED)
    conditions = Conditions(500.0, rcoulomb=0.9)
    found = measure_electrostatics(made, frame, conditions)
    assert found is not None
    kt = GAS * 500 * len(charges)
    assert found.excess == pytest.approx(lattice_excess(charges, frame, zero_quadrupole(0.9)) / kt)
    report = replace(Report(contacts=(0,)), electrostatics=found)
    line = next(line for line in report.text().splitlines() if line.startswith("electrostatics "))
    assert f"within 0.9 nm for PME: {found.excess:+.3f} kT per atom" in line
    assert (Report() + report + Report()).electrostatics == found
    assert "LARGE" in replace(found, excess=-0.031).text()
    assert "LARGE" not in replace(found, excess=0.029).text()
    assert measure_electrostatics(made, frame, replace(conditions, epsilon_rf=0.0)) is None
    assert measure_electrostatics(system([(*ions(np.zeros(60)), 30)], CHARGED), frame, conditions) is None
    assert "electrostatics" not in Report(contacts=(0,)).text()


TOPOLOGY = """
[ defaults ]
1 2 no
[ atomtypes ]
A 8 20.0 0.0 A 0.30 0.5
B 1 5.0 0.0 A 0.12 0.1
[ moleculetype ]
BEN 2
[ atoms ]
1 A 1 BEN A 1 -0.9
2 B 1 BEN B1 2 0.5
3 B 1 BEN B2 3 0.5
[ bonds ]
1 2 1 0.1 1000
1 3 1 0.1 1000
[ moleculetype ]
ION 1
[ atoms ]
1 A 1 ION A 1 -0.1
[ system ]
all
[ molecules ]
BEN 64
ION 64
"""
RUN = """
nsteps = 0
cutoff-scheme = Verlet
verlet-buffer-tolerance = -1
rlist = 1.0
coulombtype = PME
rcoulomb = 0.9
fourierspacing = 0.06
pme-order = 8
ewald-rtol = 1e-6
rvdw = 0.9
vdw-modifier = force-switch
rvdw-switch = 0.6
continuation = yes
"""


def test_energies_as_gromacs(gmx: str, tmp_path: Path) -> None:
    """Charges by particle mesh Ewald, Lennard-Jones with a switched force; bent molecules and ions."""
    rng, box = np.random.default_rng(4), np.array([[2.4, 0, 0], [0.5, 2.3, 0], [-0.4, 0.6, 2.5]])
    cells = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3) / 5
    cells = np.concatenate([cells, cells[:3] + 0.1]) @ box
    arms = rng.normal(size=(64, 2, 3))
    arms *= 0.1 / np.linalg.norm(arms, axis=-1, keepdims=True)
    bent = np.concatenate([cells[:64, None], cells[:64, None] + arms], axis=1).reshape(-1, 3)
    frame = Frame(np.concatenate([bent, cells[64:]]).astype(np.float32).round(3), box)
    (tmp_path / "topol.top").write_text(TOPOLOGY)
    (tmp_path / "run.mdp").write_text(RUN)
    topology = read_topology(tmp_path / "topol.top")
    with open_writer(tmp_path / "aa.gro", topology) as writer:
        writer.write(frame)
    theirs = gromacs(gmx, tmp_path)
    charges = atom_charges(topology)
    form = zero_quadrupole(0.9)
    coulomb = float(nonbonded_energies(topology, frame, form)["Coulomb (SR)"])
    coulomb -= lattice_excess(charges, frame, form)
    assert coulomb == pytest.approx(theirs["Coulomb (SR)"] + theirs["Coul. recip."], rel=1e-4)
    conditions, _ = read_mdp(tmp_path / "run.mdp")
    close, r = close_pairs(frame, 0.9)
    near = ~is_excluded(topology, close)
    i, j = atom_types(topology)[close[near].T]
    table, tail = topology.nonbonded, lennard_jones_tail(0.9, conditions.rvdw_switch)
    assert table is not None
    pairs = zip(r[near] ** 2, table.c6[i, j], table.c12[i, j], strict=True)
    found = sum(switched_lennard_jones(r2, r2**-3, c6, c12, tail) for r2, c6, c12 in pairs)
    assert found == pytest.approx(theirs["LJ (SR)"], rel=1e-4)
    assert measure_switched(atomistic_system(topology, {}), frame, conditions) is None
    (tmp_path / "run.mdp").write_text(RUN.replace("force-switch", "potential-switch"))
    conditions, _ = read_mdp(tmp_path / "run.mdp")
    switched = measure_switched(atomistic_system(topology, {}), frame, conditions)
    assert switched is not None
    potential = gromacs(gmx, tmp_path)["LJ (SR)"] / topology.n_atoms
    assert switched.energy - switched.excess == pytest.approx(potential, rel=1e-4)
    assert abs(switched.excess) > 0.01 * abs(potential)
    assert f"switched from 0.6 nm: {switched.excess:+.3f} kJ/mol per mol of atoms, " in switched.text()


def gromacs(gmx: str, folder: Path) -> dict[str, float]:
    """Non-bonded energies of ``aa.gro`` by GROMACS."""
    names = "LJ-(SR)\nCoulomb-(SR)\nCoul.-recip.\n\n"
    for words, answer in (
        ("grompp -f run.mdp -c aa.gro -p topol.top -o run.tpr -maxwarn 5", ""),
        ("mdrun -nt 1 -s run.tpr -rerun aa.gro -e run.edr", ""),
        ("energy -f run.edr -o e.xvg -dp -xvg xmgrace", names),
    ):
        done = subprocess.run(
            [gmx, *words.split()], cwd=folder, input=answer, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    text = (folder / "e.xvg").read_text()
    legends = re.findall(r'@ s\d+ legend "(.*)"', text)
    return dict(zip(legends, map(float, text.splitlines()[-1].split()[1:]), strict=True))

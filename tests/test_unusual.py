"""Amides and esters that are not as nearly all are: few are no fault, many are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from systems import mapping, molecule, system

from dbm_gmx.chemistry.stereo import stereo_bonds
from dbm_gmx.chemistry.stereo_bonds import preference
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.evaluation.evaluation import Evaluation, evaluate
from dbm_gmx.evaluation.unusual import unusual_bonds
from dbm_gmx.options import Conditions, EvaluateInputs

AMIDE = molecule("CCONC", [(0, 1), (1, 2), (1, 3), (3, 4)], [3, 0, 0, 1, 3])
CARBAMATE = molecule("COCONC", [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)], [3, 0, 0, 0, 1, 3])
ESTER = molecule("CCOOC", [(0, 1), (1, 2), (1, 3), (3, 4)], [3, 0, 0, 0, 3])
FORMAMIDE = molecule("CONC", [(0, 1), (0, 2), (2, 3)], [1, 0, 1, 3])
CIS = np.array([[-0.05, 0.13, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.2, 0.13, 0.0]])
TRANS = CIS * [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, -1, 1]]


@pytest.mark.parametrize(
    ("moltype", "worth"), [(AMIDE, {20.0}), (CARBAMATE, {5.0, 20.0}), (ESTER, {20.0}), (FORMAMIDE, {5.0})]
)
def test_what_the_usual_state_is_better_by(moltype: MoleculeType, worth: set[float]) -> None:
    assert {preference(moltype, row) for row in stereo_bonds(moltype)} == worth


def many(moltype: MoleculeType, odd: int, count: int = 20) -> tuple[System, np.ndarray]:
    """Molecules of which the last bond that does not turn is as usual (trans) in all but some."""
    made = system((moltype, mapping(moltype, [0] * sum(e != "H" for e in moltype.elements), "A"), count))
    x = np.random.default_rng(1).normal(size=(count, moltype.n_atoms, 3))
    for row in stereo_bonds(moltype):
        x[:, row[:4]] = TRANS
    x[:odd, row[:4]] = CIS
    return made, x.reshape(-1, 3)


@pytest.mark.parametrize(
    ("moltype", "odd", "kelvin", "taken"),
    [
        (CARBAMATE, 1, 300.0, True),
        (CARBAMATE, 9, 300.0, False),
        (CARBAMATE, 9, 900.0, True),
        (AMIDE, 1, 300.0, False),
        (ESTER, 1, 300.0, False),
    ],
)
def test_as_many_as_chance_makes_are_taken_as_they_are(
    moltype: MoleculeType, odd: int, kelvin: float, taken: bool
) -> None:
    made, x = many(moltype, odd)
    nothing = np.zeros((1, len(stereo_bonds(moltype))), np.int8)
    states, notes = unusual_bonds(made, x, {"MOL": nothing}, kelvin)
    if not taken:
        assert (states, notes) == ({}, ())
        return
    assert states["MOL"][:, -1].tolist() == [1] * odd + [0] * (20 - odd)
    assert not states["MOL"][:, :-1].any()
    assert len(notes) == 1
    assert f"{odd} of 20" in notes[0]


def test_what_is_known_is_not_taken_for_chance() -> None:
    made, x = many(CARBAMATE, 1)
    known = np.full((1, len(stereo_bonds(CARBAMATE))), -1, np.int8)
    assert unusual_bonds(made, x, {"MOL": known}, 300.0) == ({}, ())


TOP = """
[ defaults ]
1 2 no 1 1
[ atomtypes ]
CH3 6 15.035 0 A 0.3 0.1
C   6 12.011 0 A 0.3 0.1
O   8 15.999 0 A 0.3 0.1
[ moleculetype ]
EST 3
[ atoms ]
1 CH3 1 EST C1 1 0
2 C   1 EST C2 1 0
3 O   1 EST O1 1 0
4 O   1 EST O2 1 0
5 CH3 1 EST C3 1 0
[ bonds ]
1 2 1 0.15 2e5
2 3 1 0.12 2e5
2 4 1 0.15 2e5
4 5 1 0.15 2e5
[ dihedrals ]
1 2 4 5 1 180 30 2
[ system ]
x
[ molecules ]
EST 8
"""


def judged(folder: Path, kelvin: float) -> Evaluation:
    """Of eight esters, the first of which is E."""
    names, x = ["C1", "C2", "O1", "O2", "C3"], []
    for k in range(8):
        place = TRANS if k else CIS
        with_oxygen = np.insert(place, 2, [-0.05, -0.11, 0.0], axis=0)
        x += [*(with_oxygen + np.array([1.0, 1.0, 0.5 + 0.5 * k]))]
    lines = [
        f"{1 + k // 5:5d}EST  {names[k % 5]:>5}{1 + k:5d}%8.3f%8.3f%8.3f" % tuple(p) for k, p in enumerate(x)
    ]
    (folder / "a.top").write_text(TOP)
    (folder / "a.gro").write_text("\n".join(["x", "40", *lines, "5 5 5", ""]))
    given = EvaluateInputs(topology=folder / "a.top", trajectories=(folder / "a.gro",))
    return evaluate(given, conditions=Conditions(temperature=kelvin), slow=())


def test_a_bond_that_chance_made_is_no_wrong_molecule(tmp_path: Path) -> None:
    hot = judged(tmp_path, 1500.0)
    assert "turned" not in hot.candidates[0].verdict.broken
    assert any("1 of 8 amide, ester or acid bonds" in note for note in hot.notes)
    assert "turned" in judged(tmp_path, 300.0).candidates[0].verdict.broken

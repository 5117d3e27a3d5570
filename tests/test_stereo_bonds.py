"""Bonds that do not turn: which they are, their state, and that no stage changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from exact import beads_of, lattice, sample, start
from exact import molecule as exact_molecule
from exact import system as exact_system
from systems import chain, mapping, molecule, ring, system

import dbm_gmx.sampling.sampler as samplers
from dbm_gmx.backmapping.check import _undefined
from dbm_gmx.backmapping.chirality import assign_states
from dbm_gmx.backmapping.rebuilder import Rebuilder
from dbm_gmx.backmapping.summary import Expected, Report, Tally, judge_frame
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.rules import judge_atoms
from dbm_gmx.chemistry.stereo import (
    Source,
    Stereo,
    _colours,
    are_bonds,
    chirality_of,
    count_stereo,
    infer_chirality,
    invert,
    known_states,
    nominal_elements,
    stereo_bonds,
    stereo_elements,
    stereo_volume,
    stereocentres,
    turning_ch,
    usual_states,
)
from dbm_gmx.chemistry.stereo_bonds import BOND, axial_bonds, flat_bonds, usual_state
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.compiled import plain
from dbm_gmx.files.conformers import given_chirality, reference_chirality, stereo_notes, with_usual
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield.forms import DIHEDRALS
from dbm_gmx.options import Conditions, Method, Settings
from dbm_gmx.sampling.candidates import find_candidates
from dbm_gmx.sampling.moves import ANNEALING, GIBBS_TORSION
from dbm_gmx.sampling.random_numbers import frame_stream
from dbm_gmx.sampling.sampler import _named, make_sampler
from dbm_gmx.sampling.updates import SweepArrays
from dbm_gmx.sampling.window_annealing import _is_about

TRANS = np.array([[-0.05, 0.13, 0], [0, 0, 0], [0.134, 0, 0], [0.184, -0.13, 0]])
CIS = TRANS * [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, -1, 1]]
ROW = np.array([0, 1, 2, 3, BOND])

# --- from the graph ----------------------------------------------------------------------------------

BENZENE = [*ring(6)]
BUTENE = molecule("CCCC", chain(4), [3, 1, 1, 3])
ACETAMIDE = [(0, 1), (1, 2), (1, 3), (3, 4)]  # CH3, C, O, N, C
HELD = {
    # molecule, bonds that are held, which of them are nominal, usual states
    "2-butene": (BUTENE, [(1, 2)], [0], [0]),
    "2-butene of united atoms": (molecule("CCCC", chain(4), [3, 1, 1, 3], united=True), [(1, 2)], [0], [0]),
    "butane of united atoms": (molecule("CCCC", chain(4), [3, 2, 2, 3], united=True), [], [], []),
    "isobutene": (molecule("CCCC", [(0, 1), (1, 2), (1, 3)], [3, 0, 3, 2]), [(1, 3)], [1], [0]),
    "butadiene": (molecule("CCCC", chain(4), [2, 1, 1, 2]), [(0, 1), (2, 3)], [1, 1], [0, 0]),
    "acrolein": (molecule("CCCO", chain(4), [2, 1, 1, 0]), [(0, 1)], [1], [0]),
    "cyclohexene": (molecule("C" * 6, ring(6), [1, 1, 2, 2, 2, 2]), [], [], []),
    "cyclooctene": (molecule("C" * 8, ring(8), [1, 1, *[2] * 6]), [(0, 1)], [0], [0]),
    "stilbene": (
        molecule(
            "C" * 14,
            [*ring(6), (0, 6), (6, 7), (7, 8), *((i + 8, j + 8) for i, j in ring(6))],
            [0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1],
        ),
        [(6, 7)],
        [0],
        [0],
    ),
    "N-methylacetamide": (molecule("CCONC", ACETAMIDE, [3, 0, 0, 1, 3]), [(1, 3)], [0], [-1]),
    "N-methylacetamide of united atoms": (
        molecule("CCONC", ACETAMIDE, [3, 0, 0, 1, 3], united=True),
        [(1, 3)],
        [0],
        [0],  # its hydrogen is no atom: what is on the nitrogen cannot be told from a proline
    ),
    "N-methylformamide": (molecule("CONC", [(0, 1), (0, 2), (2, 3)], [1, 0, 1, 3]), [(0, 2)], [0], [1]),
    "dimethylacetamide": (
        molecule("CCONCC", [*ACETAMIDE, (3, 5)], [3, 0, 0, 0, 3, 3]),
        [(1, 3)],
        [1],
        [0],
    ),
    "N-methyl-N-ethylacetamide": (
        molecule("CCONCCC", [*ACETAMIDE, (3, 5), (5, 6)], [3, 0, 0, 0, 3, 2, 3]),
        [(1, 3)],
        [0],
        [0],
    ),
    "acetamide": (molecule("CCON", ACETAMIDE[:3], [3, 0, 0, 2]), [(1, 3)], [1], [0]),
    "methyl acetate": (molecule("CCOOC", ACETAMIDE, [3, 0, 0, 0, 3]), [(1, 3)], [0], [-1]),
    "methyl acetate of united atoms": (
        molecule("CCOOC", ACETAMIDE, [3, 0, 0, 0, 3], united=True),
        [(1, 3)],
        [0],
        [-1],
    ),
    "N-methylthioacetamide": (molecule("CCSNC", ACETAMIDE, [3, 0, 0, 1, 3]), [(1, 3)], [0], [-1]),
    "a thiocarbamate": (
        molecule("COCSNC", [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)], [3, 0, 0, 0, 1, 3]),
        [(1, 2), (2, 4)],  # its ester is Z
        [0, 0],
        [-1, 0],
    ),
    "a carbamate": (
        molecule("COCONC", [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)], [3, 0, 0, 0, 1, 3]),
        [(1, 2), (2, 4)],
        [0, 0],
        [-1, -1],
    ),
    "dimethylthiourea": (
        molecule("CNCSNC", [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)], [3, 1, 0, 0, 1, 3]),
        [(1, 2), (2, 4)],
        [0, 0],
        [0, 0],
    ),
    "acetic acid": (molecule("CCOO", ACETAMIDE[:3], [3, 0, 0, 1]), [], [], []),
    "dimethyl carbonate": (
        molecule("COCOOC", [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)], [3, 0, 0, 0, 0, 3]),
        [],
        [],
        [],
    ),
    "an imine": (molecule("CCNC", chain(4), [3, 1, 0, 3]), [(1, 2)], [0], [0]),
    "methyl azide": (molecule("CNNN", chain(4), [3, 0, 0, 0]), [], [], []),
    "diazoethane": (molecule("CCNN", chain(4), [3, 1, 0, 0]), [], [], []),
    "azomethane": (molecule("CNNC", chain(4), [3, 0, 0, 3]), [(1, 2)], [0], [0]),
    "toluene": (molecule("C" * 7, [*BENZENE, (0, 6)], [0, 1, 1, 1, 1, 1, 3]), [], [], []),
}


@pytest.mark.parametrize("name", HELD)
def test_bonds_that_do_not_turn_follow_from_the_graph(name: str) -> None:
    moltype, held, nominal, usual = HELD[name]
    rows = stereo_bonds(moltype)
    assert [tuple(row[1:3]) for row in rows.tolist()] == held
    assert (rows[:, 4] == BOND).all()
    assert nominal_elements(moltype).tolist() == [*[False] * len(stereocentres(moltype)), *map(bool, nominal)]
    assert usual_states(moltype)[len(stereocentres(moltype)) :].tolist() == usual


@pytest.mark.parametrize(
    ("elements", "bonds", "hydrogens", "usual"),
    [("CCOO", ACETAMIDE[:3], [3, 0, 0, 1], -1), ("COO", [(0, 1), (0, 2)], [1, 0, 1], 1)],
)
def test_acids_are_usually_z(
    elements: str, bonds: list[tuple[int, int]], hydrogens: list[int], usual: int
) -> None:
    """Acetic and formic acid, where a force field holds them: hydrogen is on the side of the carbonyl."""
    acid = molecule(elements, bonds, hydrogens)
    assert [usual_state(acid, row) for row in flat_bonds(acid)] == [usual]


def test_a_peptide_bond_is_told_by_the_chain() -> None:
    # before a proline: of carbon CA (1), not oxygen; of nitrogen CA (5), not CD (8)
    bonds = [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 4), (5, 9)]
    proline = molecule("CCCONCCCCC", bonds, [3, 2, 0, 0, 0, 1, 2, 2, 2, 3])
    assert flat_bonds(molecule("CCONC", ACETAMIDE, [3, 0, 0, 1, 3]))[0].tolist() == [0, 1, 3, 4, BOND]
    assert stereo_bonds(proline).tolist() == [[1, 2, 4, 5, BOND]]


def test_elements_are_centres_then_bonds() -> None:
    # but-3-en-2-ol with a methyl on its double bond
    both = molecule("CCOCCC", [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5)], [3, 1, 1, 1, 1, 3])
    elements = stereo_elements(both)
    assert elements[:, 4].tolist()[-1] == BOND
    assert elements[0].tolist() == stereocentres(both)[0].tolist()
    assert len(elements) == 2


RINGS = {
    # ring, atoms on it by position, chiral positions, the arbitrary ones
    "1,4-dimethylcyclohexane": (6, (0, 3), [0, 3], [True, False]),
    "1,3-dimethylcyclobutane": (4, (0, 2), [0, 2], [True, False]),
    "1,3,5-trimethylcyclohexane": (6, (0, 2, 4), [0, 2, 4], [True, False, False]),
    "1,3-dimethylcyclohexane": (6, (0, 2), [0, 2], [False, False]),
    "methylcyclohexane": (6, (0,), [], []),
    "cyclohexane": (6, (), [], []),
}


BRANCHES = {
    # heavy atoms, their bonds and hydrogens, and the centres
    "pentane-2,3,4-triol": (
        "CCOCOCOC",
        [(0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (5, 6), (5, 7)],
        [3, 1, 1, 1, 1, 1, 1, 3],
        [1, 3, 5],
    ),
    "pentane-2,4-diol": (
        "CCOCCOC",
        [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (4, 6)],
        [3, 1, 1, 2, 1, 1, 3],
        [1, 4],
    ),
    "glycerol": ("COCOCO", [(0, 1), (0, 2), (2, 3), (2, 4), (4, 5)], [2, 1, 1, 1, 2, 1], []),
    "cyclohexane-1,2,3-triol": (
        "CCCCCCOOO",
        [*ring(6), (0, 6), (1, 7), (2, 8)],
        [1, 1, 1, 2, 2, 2, 1, 1, 1],
        [0, 1, 2],
    ),
    "two branches that have such middles": (
        "CO" + 2 * "CCOCCOC",
        [(0, 1)]
        + [
            (i if i == 0 else a + i - 1, a + j - 1)
            for a in (2, 9)
            for i, j in ((0, 1), (1, 2), (2, 3), (2, 4), (1, 5), (5, 6), (5, 7))
        ],
        [1, 1, *2 * [1, 1, 1, 3, 1, 1, 3]],
        [0, 2, 3, 6, 9, 10, 13],
    ),
}


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("name", list(BRANCHES))
def test_a_centre_between_branches_that_differ_in_chirality_alone(name: str, united: bool) -> None:
    """Both states are held where the branches can differ: in the middle of odd vinyl polymers."""
    elements, bonds, hydrogens, centres = BRANCHES[name]
    moltype = molecule(elements, bonds, hydrogens, united=united)
    assert stereocentres(moltype)[:, 0].tolist() == centres
    assert not nominal_elements(moltype).any()


GROUPS = {
    # two groups on the nitrogen of an amide: bonds, hydrogens, beads of the heavy atoms, the same molecule
    "diethylacetamide": ([(4, 5), (3, 6), (6, 7)], [2, 3, 2, 3], [0, 0, 0, 1, 1, 1, 1, 1], True),
    "with a bead for each ethyl": ([(4, 5), (3, 6), (6, 7)], [2, 3, 2, 3], [0, 0, 0, 0, 1, 1, 2, 2], False),
    "with unlike ethyls": ([(4, 5), (3, 6), (6, 7)], [2, 3, 2, 2], [0, 0, 0, 1, 1, 1, 1, 1], False),
    "dimethylacetamide, a bead for each methyl": ([(3, 5)], [3, 3], [0, 0, 0, 0, 1, 2], False),
    "acetylpyrrole": ([(4, 5), (5, 6), (6, 7), (7, 3)], [1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1], True),
    "acetylpiperidine": (
        [(4, 5), (5, 6), (6, 7), (7, 8), (8, 3)],
        [2, 2, 2, 2, 2],
        [0, 0, 0, 1, 1, 1, 1, 1, 1],
        True,
    ),
    "acetylmethylpiperidine": (  # the two states are mirror images
        [(4, 5), (5, 6), (6, 7), (7, 8), (8, 3), (6, 9)],
        [2, 2, 1, 2, 2, 3],
        [0, 0, 0, *[1] * 7],
        False,
    ),
    "di-sec-butylacetamide": (
        [(4, 5), (4, 6), (6, 7), (3, 8), (8, 9), (8, 10), (10, 11)],
        [1, 3, 2, 3, 1, 3, 2, 3],
        [0, 0, 0, *[1] * 9],
        False,
    ),
    "dipropenylacetamide": (  # each group has a double bond of its own
        [(4, 5), (5, 6), (3, 7), (7, 8), (8, 9)],
        [1, 1, 3, 1, 1, 3],
        [0, 0, 0, *[1] * 7],
        False,
    ),
}


def groups_of(name: str, *, united: bool = False) -> MoleculeType:
    bonds, hydrogens, *_ = GROUPS[name]
    return molecule(
        "CCON" + "C" * len(hydrogens), [*ACETAMIDE, *bonds], [3, 0, 0, 0, *hydrogens], united=united
    )


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("name", GROUPS)
def test_groups_that_beads_do_not_tell_apart_are_exchanged(name: str, united: bool) -> None:
    """Two states of a bond are one molecule where half a turn exchanges alike groups of the same bead."""
    moltype, (*_, owner, same) = groups_of(name, united=united), GROUPS[name]
    beads = mapping(moltype, owner, "ABC"[: max(owner) + 1])
    amide = are_bonds(stereo_elements(moltype)) & (stereo_elements(moltype)[:, 2] == 3)
    assert nominal_elements(moltype, beads)[amide].tolist() == [same]
    if same:
        beads.weights[1, 4] *= 1.1
        assert not nominal_elements(moltype, replace(beads))[amide].any()


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("name", RINGS)
def test_rings_with_alike_halves_are_cis_or_trans(name: str, united: bool) -> None:
    size, places, centres, arbitrary = RINGS[name]
    bonds = [*ring(size), *((i, size + n) for n, i in enumerate(places))]
    hydrogens = [*(1 if i in places else 2 for i in range(size)), *[3] * len(places)]
    moltype = molecule("C" * len(hydrogens), bonds, hydrogens, united=united)
    assert stereocentres(moltype)[:, 0].tolist() == centres
    assert nominal_elements(moltype).tolist() == arbitrary


def test_a_ring_keeps_the_isomer_it_is_given() -> None:
    """Cis and trans 1,3-dimethylcyclobutane of united atoms: the product of two chiralities."""
    made = exact_system([(cyclobutane(), beads_of(cyclobutane(), [0] * 6), 4)], {"C": (0.3, 0.3)})
    points, box = lattice(4, 2.0)
    frame = Frame(points.astype(np.float32), box)
    for states in (np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.int8), np.zeros((1, 2), np.int8)):
        sampler = make_sampler(made, CONDITIONS, Settings(sweeps=8, seed=1), {"CBU": states})
        atoms, _ = sampler(frame)
        found = isomers(made, atoms)
        assert (found == states)[:, states[0] != 0].all()
        assert (found[:, 0] == 1).all() or states.any()
        x = atoms.reshape(4, 6, 3)
        normal = np.cross(x[:, 2] - x[:, 0], x[:, 3] - x[:, 1])
        side = np.sign(np.einsum("ca,cma->cm", normal, x[:, 4:] - x[:, :4].mean(axis=1, keepdims=True)))
        product = found.prod(axis=1) * side.prod(axis=1)
        assert len(set(product.tolist())) == 1  # the same products are cis in all, the others trans


def cyclobutane() -> MoleculeType:
    masses = [13.019, 14.027, 13.019, 14.027, 15.035, 15.035]
    bonds = [*ring(4), (0, 4), (2, 5)]
    near = {i: [b for a, b in [*bonds, *((b, a) for a, b in bonds)] if a == i] for i in range(6)}
    angles = [(i, j, k) for j in near for i in near[j] for k in near[j] if i < k]
    return exact_molecule(
        "CBU",
        [("C", mass, 0.0) for mass in masses],
        [
            *(("bonds", 1, pair, (0.154, 2e5)) for pair in bonds),
            *(("angles", 1, a, (115.0 if max(a) > 3 else 88.0, 500.0)) for a in angles),
        ],
    )


def test_axes_that_may_be_chiral_are_named(tmp_path: Path) -> None:
    ortho = [(0, 6), *((i + 6, j + 6) for i, j in ring(6)), (1, 12), (5, 13), (7, 14)]
    biaryl = molecule("C" * 12 + "CCC", [*ring(6), *ortho])
    assert list(axial_bonds(biaryl)) == [("biaryl", 0, 6)]
    assert list(axial_bonds(molecule("C" * 12, [*ring(6), *ortho[:7]]))) == []
    allene = molecule("CCCCC", chain(5), [3, 1, 0, 1, 3])
    assert list(axial_bonds(allene)) == [("allene", 1, 3)]
    bare = molecule("C" * 6 + "CC", [*ring(6), (1, 6), (5, 7)])  # atom 0 of the ring has no hydrogen
    assert list(axial_bonds(bare)) == []
    made = system((biaryl, mapping(biaryl, [0] * 15, "A"), 2))
    assert any(
        "axes that may be chiral (C1-C7)" in note for note in stereo_notes(made, given_chirality(made))
    )


# --- from the force field ----------------------------------------------------------------------------

TOP = """[ defaults ]
1 3 yes 0.5 0.5
[ atomtypes ]
CX 6 15.035 0.0 A 0.39 0.5
NX 7 15.015 0.0 A 0.33 0.5
[ moleculetype ]
HYD 3
[ atoms ]
1 CX 1 HYD C1 1 0.0 15.035
2 NX 1 HYD N1 1 0.0 15.015
3 NX 1 HYD N2 1 0.0 15.015
4 CX 1 HYD C2 1 0.0 15.035
[ bonds ]
1 2 1 0.15 2e5
2 3 1 0.15 2e5
3 4 1 0.15 2e5
[ dihedrals ]
{}
[ system ]
x
[ molecules ]
HYD 1
"""
"""Two flat nitrogens, whose bond nothing but its dihedrals can hold."""

FUNCTIONS = {
    "periodic": ("1 2 3 4 1 180 {half} 2", 0),
    "improper, periodic": ("1 2 3 4 4 180 {half} 2", 0),
    "several": ("1 2 3 4 9 180 {half} 2\n1 2 3 4 9 0 0.0 3", 0),
    "Ryckaert-Bellemans": ("1 2 3 4 3 {full} 0 -{full} 0 0 0", 0),
    "Fourier": ("1 2 3 4 5 0 {full} 0 0", 0),
    "one minimum, cis": ("1 2 3 4 1 180 {half} 1", 1),
    "one minimum, trans": ("1 2 3 4 1 0 {half} 1", -1),
    "harmonic, cis": ("1 2 3 4 2 0 {harmonic}", 1),
    "harmonic, trans": ("1 2 3 4 2 180 {harmonic}", -1),
}


def hydrazine(folder: Path, dihedrals: str) -> MoleculeType:
    path = folder / "topol.top"
    path.write_text(TOP.format(dihedrals))
    return read_topology(path).molecule_types["HYD"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_barrier_is_that_of_all_function_types(name: str, tmp_path: Path) -> None:
    text, state = FUNCTIONS[name]
    for height in (59.0, 61.0):
        values = {"half": height / 2, "full": height, "harmonic": 2 * height / np.pi**2}
        moltype = hydrazine(tmp_path, text.format(**values))
        barrier = moltype.barriers[1, 2]
        assert barrier.height == pytest.approx(height, rel=1e-6)
        assert barrier.state == state
        assert len(stereo_bonds(moltype)) == (height > 60)
        assert known_states(moltype).tolist() == ([state] if height > 60 else [])


def test_a_bond_whose_minimum_is_not_flat_is_free(tmp_path: Path) -> None:
    assert len(stereo_bonds(hydrazine(tmp_path, "1 2 3 4 2 90 500"))) == 0
    assert len(stereo_bonds(hydrazine(tmp_path, "1 2 3 4 1 0 100 3"))) == 0


def all_atom_butene(folder: Path, barrier: float) -> MoleculeType:
    """2-butene whose four dihedrals about the double bond share a barrier, and an improper at one end."""
    masses = {"C": 12.011, "H": 1.008}
    atoms = ["C", "C", "C", "C", "H", "H"]  # the hydrogens of the double bond only: methyls are united
    lines = [f"{e}X {6 if e == 'C' else 1} {m} 0.0 A 0.3 0.3" for e, m in masses.items()]
    sites = [
        f"{i + 1} {e}X 1 BUT {e}{i + 1} 1 0.0 {15.035 if i in (0, 3) else masses[e]}"
        for i, e in enumerate(atoms)
    ]
    bonds = [f"{i} {j} 1 0.14 2e5" for i, j in ((1, 2), (2, 3), (3, 4), (2, 5), (3, 6))]
    ends = [(i, 2, 3, m) for i in (1, 5) for m in (4, 6)]
    dihedrals = [f"{' '.join(map(str, row))} 1 180 {barrier / 8} 2" for row in ends]
    parts = {
        "defaults": ["1 3 yes 0.5 0.5"],
        "atomtypes": lines,
        "moleculetype": ["BUT 3"],
        "atoms": sites,
        "bonds": bonds,
        "dihedrals": [*dihedrals, "2 1 3 5 2 0 200"],
        "system": ["x"],
        "molecules": ["BUT 1"],
    }
    path = folder / "butene.top"
    path.write_text("\n".join(f"[ {name} ]\n" + "\n".join(rows) for name, rows in parts.items()) + "\n")
    return read_topology(path).molecule_types["BUT"]


def test_dihedrals_about_a_bond_add_up(tmp_path: Path) -> None:
    moltype = all_atom_butene(tmp_path, 120.0)
    assert moltype.barriers[1, 2].height == pytest.approx(120.0)
    assert len(stereo_bonds(moltype)) == 1
    # what the graph calls a double bond is none where the force field lets it turn
    assert len(stereo_bonds(all_atom_butene(tmp_path, 20.0))) == 0
    assert len(stereo_bonds(all_atom_butene(tmp_path, 30.0))) == 1


# --- united-atom CH ------------------------------------------------------------------------------------


def united_atoms(
    folder: Path, names: str, bonds: str, extra: str, *, defines: Sequence[str] = ()
) -> MoleculeType:
    """A molecule of united atoms C, M (methyl, methylene), O and H from bonds like ``1-2``."""
    pairs = [pair.split("-") for pair in bonds.split()]
    mass, number = {"C": 13.019, "M": 15.035, "O": 17.007, "H": 1.008}, {"O": 8, "H": 1}
    atoms = "".join(f"{i} {n} 1 MOL {n}{i} 1 0 {mass[n]}\n" for i, n in enumerate(names, 1))
    joined = "".join(f"{i} {j} 1 0.15 2e5\n" for i, j in pairs)
    types = "".join(f"{n} {number.get(n, 6)} {m} 0.0 A 0.3 0.4\n" for n, m in mass.items())
    head = f"[ defaults ]\n1 2 yes 0.5 0.5\n[ atomtypes ]\n{types}[ moleculetype ]\nMOL 3\n[ atoms ]\n{atoms}"
    path = folder / "united.top"
    path.write_text(f"{head}[ bonds ]\n{joined}{extra}[ system ]\nx\n[ molecules ]\nMOL 2\n")
    return read_topology(path, defines=defines).molecule_types["MOL"]


ANGLES = "[ angles ]\n1 2 3 2 111 {k}\n1 2 4 2 111 {k}\n3 2 4 2 111 {k}\n"


@pytest.mark.parametrize(
    ("extra", "held", "states"),
    [
        ("", True, [0]),  # nothing is known
        (ANGLES.format(k=530), False, []),  # as in GROMOS: 16 kJ/mol
        (ANGLES.format(k=2000), True, [0]),
        (ANGLES.format(k=530).replace("3 2 4 2 111 530\n", ""), True, [0]),  # one angle is missing
        (ANGLES.format(k=530) + "[ dihedrals ]\n2 1 3 4 2 35.26 334.8\n", True, [1]),
        (ANGLES.format(k=530) + "[ dihedrals ]\n2 1 3 4 2 -35.26 334.8\n", True, [-1]),
    ],
)
def test_a_united_ch_is_a_centre_if_the_force_field_holds_it(
    tmp_path: Path, extra: str, held: bool, states: list[int]
) -> None:
    moltype = united_atoms(tmp_path, "MCOMM", "1-2 2-3 2-4 4-5", extra)
    assert stereocentres(moltype)[:, 0].tolist() == [1] * held
    assert np.abs(known_states(moltype)).tolist() == np.abs(states).tolist()
    assert turning_ch(moltype) == [1] * (not held)
    notes = stereo_notes(two(moltype), given_chirality(two(moltype)))
    assert [("turn inside out" in note) for note in notes] == [True] * (not held)


def test_what_turning_a_united_ch_inside_out_takes(tmp_path: Path) -> None:
    """Three angles of 120 degrees in place of 111, by hand."""
    moltype = united_atoms(tmp_path, "MCOMM", "1-2 2-3 2-4 4-5", ANGLES.format(k=530))
    by_hand = 3 * 0.5 * 530 * (np.cos(np.radians(120)) - np.cos(np.radians(111))) ** 2
    assert moltype.inversions[1] == pytest.approx(by_hand, abs=0.1)


@pytest.mark.parametrize(("sign", "equal"), [("", True), ("-", False)])
def test_a_centre_between_equal_branches_is_none(tmp_path: Path, sign: str, equal: bool) -> None:
    """As in cardiolipin; with branches that are mirror images it has two states."""
    impropers = f"[ dihedrals ]\n2 1 3 4 2 35.26 334.8\n6 8 7 4 2 {sign}35.26 334.8\n"
    moltype = united_atoms(tmp_path, "MCOCOCOM", "1-2 2-3 2-4 4-5 4-6 6-7 6-8", impropers)
    assert stereocentres(moltype)[:, 0].tolist() == [1, 3, 5]
    assert nominal_elements(moltype).tolist() == [False, equal, False]


# --- said by restraints of dihedrals -------------------------------------------------------------------


def dihedral_of(x: np.ndarray) -> float:
    """Degrees, of four points."""
    b = np.diff(x, axis=0)
    across = np.cross(b[0], b[1]), np.cross(b[1], b[2])
    sine = np.linalg.norm(b[1]) * (b[0] @ across[1])
    return float(np.degrees(np.arctan2(sine, across[0] @ across[1])))


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("defined", [False, True])
@pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_restraints_of_dihedrals_say_the_chirality(
    tmp_path: Path, order: tuple[int, ...], defined: bool, united: bool
) -> None:
    """As the topologies of CHARMM-GUI do: three neighbours about the centre, atom 2."""
    ends = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.087
    x = np.array([ends[0], [0, 0, 0], ends[1], ends[2], ends[3]])[: 4 + (not united)]
    row = " ".join(str(i + 1) for i in order)
    text = (
        f"#ifdef DIHRES\n[ dihedral_restraints ]\n{row} 1 {dihedral_of(x[list(order)]):.1f} 2.5 K\n#endif\n"
    )
    text = text.replace(" K", " 1000") if defined else text
    names, bonds = ("MCOMM", "1-2 2-3 2-4 4-5") if united else ("MCOMHM", "1-2 2-3 2-4 2-5 4-6")
    moltype = united_atoms(tmp_path, names, bonds, text, defines=["DIHRES"] if defined else [])
    (element,) = stereocentres(moltype)
    wanted = chirality_of(x[None], element[None])
    assert reference_chirality(two(moltype))["MOL"].tolist() == wanted.tolist()


@pytest.mark.parametrize(("angle", "state"), [(0.0, 1), (180.0, -1), (-170.0, -1), (90.0, 0)])
def test_restraints_of_dihedrals_say_cis_and_trans(tmp_path: Path, angle: float, state: int) -> None:
    text = f"#ifdef DIHRES\n[ dihedral_restraints ]\n1 2 3 4 1 {angle} 0 DIHRES_FC\n#endif\n"
    moltype = united_atoms(tmp_path, "MCCM", "1-2 2-3 3-4", "[ dihedrals ]\n1 2 3 4 1 180 60 2\n" + text)
    assert are_bonds(stereo_elements(moltype)).tolist() == [True]
    assert reference_chirality(two(moltype))["MOL"].tolist() == [[state]]
    other = united_atoms(tmp_path, "MCCM", "1-2 2-3 3-4", "[ dihedrals ]\n1 2 3 4 1 180 60 2\n")
    assert reference_chirality(two(other))["MOL"].tolist() == [[0]]


# --- states ------------------------------------------------------------------------------------------


def turned(angle: float) -> np.ndarray:
    """(4, 3) with a dihedral, degrees."""
    x, phi = CIS.copy(), np.radians(angle)
    x[3, 1:] = 0.13 * np.cos(phi), 0.13 * np.sin(phi)
    return x


@pytest.mark.parametrize(
    ("angle", "state"), [(0, 1), (70, 1), (-70, 1), (80, 0), (100, 0), (-100, 0), (110, -1), (180, -1)]
)
def test_a_bond_is_cis_or_trans_or_neither(angle: float, state: int) -> None:
    assert chirality_of(turned(angle)[None], ROW[None]).tolist() == [[state]]
    assert chirality_of(turned(angle)[None], ROW[None][:, [3, 2, 1, 0, 4]]).tolist() == [[state]]
    assert stereo_volume(turned(angle), ROW) == pytest.approx(
        0.4 / np.cos(np.radians(75)) * np.cos(np.radians(angle)), abs=1e-6
    )


def test_inverting_a_bond_turns_its_end() -> None:
    x = np.concatenate([turned(20), [[0.2, 0.2, 0.1]]])
    rows, stay = np.array([*ROW, 3]), [0, 1, 2, 4]
    for positions in (x.copy(), np.stack([x, x])):
        invert(positions, rows)
        assert (chirality_of(positions.reshape(-1, 5, 3), ROW[None]) == -1).all()
        lengths = np.linalg.norm(positions[..., 3, :] - positions[..., 2, :], axis=-1)
        np.testing.assert_allclose(lengths, np.linalg.norm(x[3] - x[2]))
        assert (positions[..., stay, :] == x[stay]).all()
        invert(positions, rows)
        np.testing.assert_allclose(positions, np.broadcast_to(x, positions.shape), atol=1e-12)


def two(moltype: MoleculeType, count: int = 2) -> System:
    return system((moltype, mapping(moltype, [0] * sum(e != "H" for e in moltype.elements), "A"), count))


UNITED = HELD["2-butene of united atoms"][0]
BOX = np.eye(3) * 3.0


def test_counts_rules_and_summary_tell_bonds_from_centres() -> None:
    made = two(UNITED, 4)
    atoms = np.concatenate([turned(a) + 0.5 * k for k, a in enumerate((0, 180, 90, 10))])
    expected = {"MOL": np.array([[1], [1], [1], [0]], np.int8)}
    found = count_stereo(made, atoms, expected, bonds=True)
    assert found == Stereo(right=1, wrong=1, undefined=1, unknown=1)
    assert count_stereo(made, atoms, expected) == Stereo()
    broken = judge_atoms(made, Frame(atoms.astype(np.float32), BOX), expected).faults
    assert {(f.rule, f.atoms) for f in broken if f.rule in ("turned", "twisted")} == {
        ("turned", (5, 6)),
        ("twisted", (9, 10)),
    }
    frame = Frame(atoms.astype(np.float32), BOX)
    report = judge_frame(made, frame, Frame(mapped_beads(made, atoms), BOX), Expected(expected))
    assert "cis/trans      1 of 4 right, 1 wrong, 1 undefined, 1 not judged" in report.text()
    assert {"turned", "twisted"} <= set(report.broken)
    assert not {"flipped", "undefined", "undecided"} & set(report.broken)
    assert (report + report).bonds == Stereo(right=2, wrong=2, undefined=2, unknown=2)
    assert "cis/trans" not in Report((0,)).text()


@pytest.mark.parametrize(
    "moltype", [molecule("CCCC", [(0, 1), (1, 2), (1, 3)], [3, 0, 3, 2]), groups_of("diethylacetamide")]
)
def test_a_nominal_bond_is_judged_only_if_its_state_is_given(moltype: MoleculeType) -> None:
    made, (i, j, k, m, _) = two(moltype, 1), stereo_bonds(moltype)[0]
    atoms = np.random.default_rng(3).normal(size=(made.n_atoms, 3))
    atoms[[i, j, k, m]] = CIS
    unknown, given = ({"MOL": np.array([[sign]], np.int8)} for sign in (0, -1))
    inferred = infer_chirality(made, atoms, unknown)
    assert inferred["MOL"].tolist() == [[0]]
    assert count_stereo(made, atoms, unknown, inferred=inferred, bonds=True) == Stereo()
    assert count_stereo(made, atoms, given, bonds=True) == Stereo(wrong=1)
    frame = Frame(atoms.astype(np.float32), BOX)
    rules = [[f.rule for f in judge_atoms(made, frame, states).faults] for states in (inferred, given)]
    assert ["turned" in found for found in rules] == [False, True]


def test_nothing_is_undecided_of_bonds_that_are_nominal() -> None:
    made = two(groups_of("diethylacetamide"))
    unknown = {"MOL": np.zeros((1, 1), np.int8)}
    mapper = SimpleNamespace(system=made, chirality=unknown, sampler=None)
    _, assignment = assign_states(cast(Rebuilder, mapper), lambda _: [])
    assert (assignment.sources["MOL"] == Source.GIVEN).all()
    assert _named(made.matches[0], np.zeros((2, 1), np.int8)).tolist() == [[1], [1]]
    assert _undefined(made, Method(), unknown, None) == []
    split = mapping(made.matches[0].moltype, [0, 0, 0, 0, 1, 1, 2, 2], "ABC")
    apart = system((made.matches[0].moltype, split, 1))
    assert "C2-N4" in _undefined(apart, Method(), unknown, None)[0]


def test_atoms_are_alike_however_far_one_must_look() -> None:
    """The halves of a chain with a methyl on its fourth atom, and with another on the fourth from its end."""
    for places, count in (((3,), 199), ((3, 196), 100)):
        bonds = [*chain(200), *((i, 200 + n) for n, i in enumerate(places))]
        moltype = molecule("C" * (200 + len(places)), bonds, united=True)
        colours = _colours(moltype)
        assert len(set(colours[:200].tolist())) == count + (len(places) == 1)
        assert (colours[:200] == colours[:200][::-1]).all() == (len(places) == 2)


def test_the_reference_goes_before_the_topology_and_that_before_the_usual(tmp_path: Path) -> None:
    ester = HELD["methyl acetate of united atoms"][0]
    made = two(ester)
    i, j, k, m, _ = stereo_bonds(ester)[0]
    known = given_chirality(made)
    assert known["MOL"].tolist() == [[0]]
    assert with_usual(made, known)["MOL"].tolist() == [[-1]]
    assert reference_chirality(made)["MOL"].tolist() == [[-1]]
    assert stereo_notes(made, known) == (
        "MOL: 2 amides, esters or acids taken as usual (trans, Z), as no -r says more",
    )
    one = np.full((5, 3), 1.0)
    one[[i, j, k, m]] += CIS
    other = one.copy()
    other[[i, j, k, m]] += TRANS - CIS
    whole = Frame(np.concatenate([one, other]).astype(np.float32), BOX)
    given = given_chirality(made, whole)
    assert given["MOL"].tolist() == [[1], [-1]]  # of each copy
    assert reference_chirality(made, whole)["MOL"].tolist() == [[1], [-1]]
    assert stereo_notes(made, given) == ()
    fixed = hydrazine(tmp_path, "1 2 3 4 2 0 50")
    assert reference_chirality(two(fixed))["HYD"].tolist() == [[1]]
    single = Frame((TRANS + 1.0).astype(np.float32), BOX)
    assert reference_chirality(two(fixed), single)["HYD"].tolist() == [[-1]]


# --- sampling ----------------------------------------------------------------------------------------


def test_sweeps_sample_the_distribution_of_the_isomer() -> None:
    """A double bond without any dihedral: all angles up to 90 degrees are alike, and no others are had."""
    butene = exact_butene()
    count = 8
    made = exact_system([(butene, beads_of(butene, [0] * 4), count)], {"C": (0.1, 0.0)})
    points, box = lattice(count, 2.0)
    states = np.array([1, -1] * (count // 2))
    atoms = np.concatenate([p + (CIS if s > 0 else TRANS) for p, s in zip(points, states, strict=True)])
    conditions = Conditions(temperature=300.0, spread=0.5, constraints="none", rvdw=0.9, rcoulomb=0.9)
    run = start(made, conditions, atoms, box)

    def cosine(x: np.ndarray) -> np.ndarray:
        rows = np.array([[0, 1, 2, 3, BOND]])
        limit = np.cos(np.radians(75.0)) / 0.4
        return np.array([limit * stereo_volume(one, rows[0]) for one in x.reshape(count, 4, 3)])

    found = sample(run, cosine, burn=10, sweeps=400) * states
    assert (found > 0).all()
    mean, error = found.mean(), found.mean(axis=0).std(ddof=1) / np.sqrt(count)
    assert abs(mean - 2 / np.pi) < 4 * max(error, 0.005)
    turns = run.conf.arrays.moves.move_type == GIBBS_TORSION
    assert turns.any()


def exact_butene() -> MoleculeType:
    sites = [("C", mass, 0.0) for mass in (15.035, 13.019, 13.019, 15.035)]
    return exact_molecule(
        "BUT",
        sites,
        [
            *(("bonds", 1, pair, (0.14, 2e5)) for pair in chain(4)),
            *(("angles", 1, (i, i + 1, i + 2), (111.0, 500.0)) for i in range(2)),
        ],
        nrexcl=3,
    )


MONOMERS, CHAINS = 5, 6


def polyisoprene(folder: Path, chains: int = CHAINS) -> System:
    """Chains of united atoms, a bead a monomer: CH2-C(CH3)=CH-CH2."""
    masses = {"CT": 14.027, "CM": 12.011, "C3": 15.035, "CH": 13.019}
    one = ["CT", "CM", "C3", "CH", "CT"]
    kinds = one * MONOMERS
    kinds[0] = kinds[-1] = "C3"
    first = [5 * n + 1 for n in range(MONOMERS)]
    bonds = [(i, j) for n in first for i, j in ((n, n + 1), (n + 1, n + 2), (n + 1, n + 3), (n + 3, n + 4))]
    bonds += [(n + 4, n + 5) for n in first[:-1]]
    near: dict[int, list[int]] = {}
    for i, j in bonds:
        near.setdefault(i, []).append(j)
        near.setdefault(j, []).append(i)
    flat = {n + 1 for n in first} | {n + 3 for n in first}
    angles = [
        f"{i} {j} {k} 1 {124 if j in flat else 111.5} 500"
        for j in near
        for i in near[j]
        for k in near[j]
        if i < k
    ]
    double = {(n + 1, n + 3) for n in first}
    dihedrals = []
    for j, k in sorted(bonds):
        for i in near[j]:
            for m in near[k]:
                if i != k and m != j:
                    form = "58.6 0 -58.6 0 0 0" if (j, k) in double else "3 9 0 -12 0 0"
                    dihedrals.append(f"{i} {j} {k} {m} 3 {form}")
    dihedrals += [f"{n + 1} {n} {n + 2} {n + 3} 2 0 167" for n in first]
    parts = {
        "defaults": ["1 3 yes 0.5 0.5"],
        "atomtypes": [f"{name} 6 {mass} 0.0 A 0.37 0.4" for name, mass in masses.items()],
        "moleculetype": ["PI 3"],
        "atoms": [f"{i + 1} {t} 1 PI C{i + 1} 1 0.0 {masses[t]}" for i, t in enumerate(kinds)],
        "bonds": [f"{i} {j} 1 {0.134 if (i, j) in double else 0.151} 2e5" for i, j in bonds],
        "angles": angles,
        "dihedrals": dihedrals,
        "system": ["x"],
        "molecules": [f"PI {chains}"],
    }
    path = folder / "pi.top"
    path.write_text("\n".join(f"[ {name} ]\n" + "\n".join(rows) for name, rows in parts.items()) + "\n")
    topology = read_topology(path)
    moltype = topology.molecule_types["PI"]
    made = system((moltype, beads_of(moltype, np.repeat(np.arange(MONOMERS), 5).tolist()), chains))
    return replace(made, topology=topology)


CONDITIONS = Conditions(temperature=400.0, rvdw=0.9, rcoulomb=0.9, constraints="none")


def isomers(made: System, atoms: np.ndarray) -> np.ndarray:
    """(copies, bonds) states."""
    match = made.matches[0]
    return chirality_of(match.molecules(atoms), stereo_elements(match.moltype))


def beads_along(rng: np.random.Generator, chains: int) -> tuple[np.ndarray, np.ndarray]:
    """Beads of chains that are not straight, each far from the others, and the box."""
    points, box = lattice(chains, 4.0)
    steps = rng.normal(size=(chains, MONOMERS, 3)) * 0.3 + [0.4, 0, 0]
    steps *= 0.45 / np.linalg.norm(steps, axis=2, keepdims=True)
    return (points[:, None] - [1.0, 0, 0] + np.cumsum(steps, axis=1)).reshape(-1, 3), box


@pytest.fixture(scope="module")
def rubber(tmp_path_factory: pytest.TempPathFactory) -> tuple[System, Frame, np.ndarray]:
    """Chains of random cis and trans, and beads of frames that have them."""
    made = polyisoprene(tmp_path_factory.mktemp("rubber"))
    rng = np.random.default_rng(5)
    states = rng.choice(np.array([-1, 1], np.int8), size=(CHAINS, MONOMERS))
    beads, box = beads_along(rng, CHAINS)
    settings = Settings(sweeps=4, seed=3)
    sampler = make_sampler(made, replace(CONDITIONS, spread=0.05), settings, {"PI": states})
    atoms, _ = sampler(Frame(beads.astype(np.float32), box))
    assert (isomers(made, atoms) == states).all()
    return made, Frame(mapped_beads(made, atoms).astype(np.float32), box), states


def test_polyisoprene_has_a_double_bond_in_each_monomer(rubber: tuple[System, Frame, np.ndarray]) -> None:
    moltype = rubber[0].matches[0].moltype
    assert [tuple(r[1:3]) for r in stereo_bonds(moltype).tolist()] == [
        (5 * n + 1, 5 * n + 3) for n in range(MONOMERS)
    ]
    assert nominal_elements(moltype).tolist() == [True, False, False, False, False]
    assert all(b.height == pytest.approx(117.2) for b in moltype.barriers.values())


def test_no_stage_turns_a_double_bond_over(
    rubber: tuple[System, Frame, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, beads, states = rubber
    seen: dict[str, np.ndarray] = {}
    pack, exchange = samplers.pack, samplers._exchange_all

    def packed(conf, *more):
        seen["before packing"] = isomers(made, conf.positions)
        pack(conf, *more)
        seen["packing"] = isomers(made, conf.positions)

    def exchanged(sampler, conf, *more):
        seen["growth"] = isomers(made, conf.positions)
        exchange(sampler, conf, *more)
        seen["exchange"] = isomers(made, conf.positions)

    monkeypatch.setattr(samplers, "pack", packed)
    monkeypatch.setattr(samplers, "_exchange_all", exchanged)
    for index, wanted in enumerate((states, -states)):
        sampler = make_sampler(made, CONDITIONS, Settings(sweeps=16, seed=1), {"PI": wanted})
        atoms, _ = sampler(replace(beads, index=index))
        seen["sweeps"] = isomers(made, atoms)
        for stage, found in seen.items():
            assert (found == wanted).all(), stage
        tally = Tally(made, {"PI": wanted})
        tally.add(replace(beads, positions=atoms), beads)
        assert tally.report().bonds == Stereo(right=CHAINS * MONOMERS)


def test_torsions_about_double_bonds_stay_on_the_way_of_a_window(
    rubber: tuple[System, Frame, np.ndarray],
) -> None:
    """Weakened, they would turn over, and the window be given up."""
    made, _, states = rubber
    arrays = make_sampler(made, CONDITIONS, Settings(), {"PI": states}).arrays
    moves, all_arrays = np.flatnonzero(arrays.moves.move_type == ANNEALING), arrays.part(SweepArrays)
    double = {tuple(row[1:3]) for row in stereo_bonds(made.matches[0].moltype).tolist()}
    found = list[bool]()
    for move in moves.tolist():
        start, end = all_arrays.changed_start[move : move + 2]
        for t in all_arrays.changed[start:end].tolist():
            middle = tuple(sorted(all_arrays.atoms[t, 1:3].tolist()))
            stays = all_arrays.form[t] >= DIHEDRALS and middle in double
            found.append(stays)
            assert plain(_is_about)(all_arrays, move, t) == stays
    assert 0 < sum(found) < len(found)


def test_atoms_with_a_bond_turned_over_are_not_begun_with(
    rubber: tuple[System, Frame, np.ndarray],
) -> None:
    made, beads, states = rubber
    sampler = make_sampler(made, CONDITIONS, Settings(sweeps=2, seed=1), {"PI": states})
    right, _ = sampler(beads)
    other = replace(sampler, chirality={"PI": -states})
    atoms, _ = other(beads, start=right)
    assert (isomers(made, atoms) == -states).all()


def test_candidates_of_the_other_isomer_cost_too_much(rubber: tuple[System, Frame, np.ndarray]) -> None:
    made, beads, states = rubber
    sampler = make_sampler(made, CONDITIONS, Settings(sweeps=0, seed=1), {"PI": states})
    atoms, _ = sampler(beads)
    match, grower = made.matches[0], sampler.growers["PI"]
    molecules = samplers.Molecules(
        match.beads(beads.positions).astype(np.float64), states, np.arange(CHAINS), 0
    )
    positions = match.molecules(atoms).astype(np.float64)
    found = find_candidates(grower, grower.groups[0], 1, molecules, positions, frame_stream(1, 0, 0))
    at, inside = found.copies.positions, found.group.arrays
    places = np.broadcast_to(at[:, None], (*found.energy.shape, *at.shape[1:])).copy()
    places[:, :, inside.free] = found.conformers
    for k in range(found.energy.shape[1]):
        right = (chirality_of(places[:, k], inside.centres) == found.copies.chirality).all(axis=1)
        assert (right | (found.energy[:, k] > 1e5)).all()


def test_what_nothing_defines_is_inferred(rubber: tuple[System, Frame, np.ndarray]) -> None:
    """Every bond gets a state, and what is given is left alone; a bead a monomer decides most of them not."""
    made, beads, states = rubber
    half = states.copy()
    half[:, ::2] = 0
    sampler = make_sampler(made, CONDITIONS, Settings(sweeps=2, seed=1), {"PI": half})
    atoms, _ = sampler(beads)
    found = isomers(made, atoms)
    assert (found != 0).all()
    assert (found[:, 1::2] == states[:, 1::2]).all()


def test_beads_that_hold_the_groups_apart_decide(tmp_path: Path) -> None:
    """2-butene with a bead on each atom."""
    butene = exact_butene()
    count = 6
    made = exact_system([(butene, beads_of(butene, [0, 1, 2, 3]), count)], {"C": (0.3, 0.3)})
    points, box = lattice(count, 2.0)
    states = np.array([1, -1, -1, 1, 1, -1])
    atoms = np.concatenate([p + (CIS if s > 0 else TRANS) for p, s in zip(points, states, strict=True)])
    beads = Frame(mapped_beads(made, atoms).astype(np.float32), box)
    sampler = make_sampler(made, CONDITIONS, Settings(sweeps=2, seed=1), {"BUT": np.zeros((1, 1), np.int8)})
    positions, _ = sampler(beads)
    assert isomers(made, positions)[:, 0].tolist() == states.tolist()

"""Rings that are not rigid: crown ethers and cyclic peptides, from their beads alone; and amino acids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from systems import chain, mapping, molecule, ring

from dbm_gmx.chemistry.amino_acids import usual_chirality
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.nucleotides import usual_sugars
from dbm_gmx.chemistry.stereo import (
    are_bonds,
    chirality_of,
    stereo_elements,
    stereocentres,
    usual_states,
)
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import given_chirality, stereo_notes, with_usual
from dbm_gmx.files.top import read_topology
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling import conformers, kept
from dbm_gmx.sampling.conformers import ConformerPools
from dbm_gmx.sampling.sampler import make_sampler

TYPES = {  # united atoms: mass, charge, sigma (nm), epsilon (kJ/mol)
    "N": (14.007, -0.28, 0.31, 0.7),
    "H": (1.008, 0.28, 0.05, 0.01),
    "CA": (13.019, 0.0, 0.38, 0.3),
    "CB": (15.035, 0.0, 0.38, 0.8),
    "C": (12.011, 0.38, 0.34, 0.4),
    "O": (15.999, -0.38, 0.30, 0.8),
    "CE": (14.027, 0.2, 0.38, 0.5),
    "OE": (15.999, -0.4, 0.28, 0.6),
}
LENGTHS = {"N H": 0.1, "N CA": 0.147, "CA CB": 0.153, "CA C": 0.153, "C O": 0.123, "C N": 0.133}
LENGTHS |= {"CE OE": 0.142, "CE CE": 0.153}
ANGLES = {"N": 120.0, "C": 120.0, "CA": 110.0, "OE": 112.0, "CE": 110.0}


def topology(path: Path, names: list[str], bonds: list[tuple[int, int]]) -> MoleculeType:
    """A molecule with bonds, angles, planar groups and stiff amides."""
    near: list[list[int]] = [[] for _ in names]
    for i, j in bonds:
        near[i].append(j)
        near[j].append(i)
    lines = ["[ defaults ]", "1 2 yes 0.5 0.5", "[ atomtypes ]"]
    lines += [f"{t} {m} 0.0 A {sigma} {eps}" for t, (m, _, sigma, eps) in TYPES.items()]
    lines += ["[ moleculetype ]", "RING 3", "[ atoms ]"]
    lines += [f"{i} {t} {i} RES {t} {i} {TYPES[t][1]} {TYPES[t][0]}" for i, t in enumerate(names, 1)]
    lines += ["[ bonds ]"]
    for i, j in bonds:
        length = LENGTHS.get(f"{names[i]} {names[j]}") or LENGTHS[f"{names[j]} {names[i]}"]
        lines.append(f"{i + 1} {j + 1} 1 {length} 200000")
    lines += ["[ angles ]"]
    for j, others in enumerate(near):
        ends = [(i, k) for i in others for k in others if i < k]
        stiff = 800 if names[j] == "CA" else 400  # without impropers softer ones turn inside out
        lines += [f"{i + 1} {j + 1} {k + 1} 1 {ANGLES[names[j]]} {stiff}" for i, k in ends]
    lines += ["[ dihedrals ]"]
    for j, others in enumerate(near):
        if names[j] in ("N", "C"):
            lines.append(" ".join(str(i + 1) for i in (j, *others)) + " 2 0 200")
    for j, k in bonds:
        if {names[j], names[k]} == {"C", "N"}:
            i = next(a for a in near[j] if names[a] == "CA")
            m = next(a for a in near[k] if names[a] == "CA")
            lines.append(f"{i + 1} {j + 1} {k + 1} {m + 1} 1 180 40 2")
        elif {names[j], names[k]} <= {"CE", "OE"}:
            i, m = next(a for a in near[j] if a != k), next(a for a in near[k] if a != j)
            lines.append(f"{i + 1} {j + 1} {k + 1} {m + 1} 1 0 6 3")
    lines += ["[ system ]", "x", "[ molecules ]", "RING 1"]
    path.write_text("\n".join(lines) + "\n")
    return read_topology(path)


def peptide(folder: Path, residues: int):  # type: ignore[no-untyped-def]
    """A ring of alanines of united atoms, a bead each."""
    names, bonds = ["N", "H", "CA", "CB", "C", "O"] * residues, []
    for k in range(residues):
        n, h, ca, cb, c, o = range(6 * k, 6 * k + 6)
        bonds += [(n, h), (n, ca), (ca, cb), (ca, c), (c, o), (c, 6 * ((k + 1) % residues))]
    return topology(folder / "peptide.top", names, bonds), np.repeat(np.arange(residues), 6)


def crown(folder: Path, units: int):  # type: ignore[no-untyped-def]
    """A crown ether of united atoms, a bead of C-O-C each."""
    return topology(folder / "crown.top", ["CE", "OE", "CE"] * units, ring(3 * units)), np.repeat(
        np.arange(units), 3
    )


def on_a_circle(made, owner: np.ndarray, apart: float) -> tuple[System, Frame]:  # type: ignore[no-untyped-def]
    """The molecule, and its beads on a circle that is not quite flat."""
    (moltype,) = made.molecule_types.values()
    beads = mapping(moltype, owner.tolist(), ["A"] * (owner.max() + 1))
    count = len(beads.names)
    angle = 2 * np.pi * np.arange(count) / count
    radius = apart / (2 * np.sin(np.pi / count))
    flat = np.stack(
        [radius * np.cos(angle), radius * np.sin(angle), 0.03 * (-1.0) ** np.arange(count)], axis=1
    )
    system = System(made, {"RING": beads}, (Match(moltype, beads, 1, 0, 0),))
    return system, Frame((flat + 2.0).astype(np.float32), np.diag([4.0] * 3).astype(np.float32))


CASES = [(peptide, 6, 0.38, 12), (crown, 6, 0.36, 0), (crown, 12, 0.34, 0)]


@pytest.mark.parametrize(("make", "units", "apart", "elements"), CASES)
def test_a_large_ring_is_closed_from_its_beads_alone(tmp_path, make, units, apart, elements):  # type: ignore[no-untyped-def]
    system, beads = on_a_circle(*make(tmp_path, units), apart)
    (moltype,) = system.topology.molecule_types.values()
    known = given_chirality(system)
    wanted = with_usual(system, known)
    sampler = make_sampler(system, Conditions(temperature=300.0), Settings(sweeps=3), wanted)
    positions, _ = sampler(beads)
    lengths = np.linalg.norm(positions[moltype.bonds[:, 0]] - positions[moltype.bonds[:, 1]], axis=1)
    assert lengths.min() > 0.09
    assert lengths.max() < 0.17  # closed as well
    assert np.count_nonzero(wanted["RING"]) == elements == len(stereo_elements(moltype))
    assert (chirality_of(positions[None], stereo_elements(moltype)) == wanted["RING"]).all()
    notes = " ".join(stereo_notes(system, known))
    assert ("6 stereocentres of amino acids taken as usual (L)" in notes) == (make is peptide)
    assert ("6 amides, esters or acids taken as usual (trans, Z)" in notes) == (make is peptide)


# --- amino acids -------------------------------------------------------------------------------------

SIDES = {  # the side chain: elements, bonds from the beta carbon (0), hydrogens
    "ALA": ("C", [], [3]),
    "ILE": ("CCCC", [(0, 1), (0, 2), (2, 3)], [1, 3, 2, 3]),
    "THR": ("COC", [(0, 1), (0, 2)], [1, 1, 3]),
    "VAL": ("CCC", [(0, 1), (0, 2)], [1, 3, 3]),
}


def residue(side: str, name: str, *, united: bool = False) -> MoleculeType:
    """Acetyl (0 to 2), an amino acid (3 to 6, side chain from 9 on) and N-methyl (7, 8)."""
    elements, bonds, hydrogens = SIDES[side]
    frame = [(0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (5, 6), (5, 7), (7, 8), (4, 9)]
    frame += [(9 + i, 9 + j) for i, j in bonds]
    count = [3, 0, 0, 1, 1, 0, 0, 1, 3, *hydrogens]
    made = molecule("CCONCCONC" + elements, frame, count, united=united)
    for i in made.graph:
        made.graph.nodes[i]["resname"] = name
    return made


def clockwise(made: MoleculeType, centre: int, order: tuple[int, int, int]) -> int:
    """State of a centre whose three neighbours are clockwise, seen from the hydrogen."""
    x = np.zeros((made.n_atoms, 3))
    for atom, degrees in zip(order, (90, -30, -150), strict=True):
        x[atom] = [np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), -0.35]
    for i in made.graph[centre]:
        if i not in order:
            x[i] = [0, 0, 1]
    rows = stereocentres(made)
    return int(chirality_of(x[None], rows[rows[:, 0] == centre])[0, 0])


@pytest.mark.parametrize("united", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_amino_acids_are_left_handed(side: str, united: bool) -> None:
    """Seen from the hydrogen CO, R and N are clockwise."""
    made = residue(side, "X", united=united)
    usual = usual_chirality(made, stereocentres(made))
    rows = stereocentres(made)[:, 0].tolist()
    assert usual[rows.index(4)] == clockwise(made, 4, (5, 9, 3))
    assert len(usual) == (2 if side in ("ILE", "THR") else 1)
    if side == "THR":  # (3R): oxygen, alpha, methyl are clockwise from the side away from hydrogen
        assert usual[rows.index(9)] == -clockwise(made, 9, (10, 4, 11))
    if side == "ILE":  # (3S): alpha, ethyl, methyl are not
        assert usual[rows.index(9)] == clockwise(made, 9, (4, 11, 10))


def test_right_handed_residues_are_known_by_name() -> None:
    left, right = (residue("THR", name) for name in ("THR", "DTH"))
    assert (usual_states(left)[:2] == -usual_states(right)[:2]).all()
    assert (usual_states(left)[2:] == usual_states(right)[2:]).all()  # amides are trans in both


@pytest.mark.parametrize(("element", "known"), [("C", 1), ("S", 0)])
def test_rings_of_side_chain_and_nitrogen_are_all_of_carbon(element: str, known: int) -> None:
    """Proline is L; what has sulphur in that ring need not be, as the valine of penicillins."""
    bonds = [
        (0, 1),
        (1, 2),
        (1, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (5, 7),
        (7, 8),
        (4, 9),
        (9, 10),
        (10, 11),
        (11, 3),
    ]
    hydrogens = [3, 0, 0, 0, 1, 0, 0, 1, 3, 2, 2 if element == "C" else 0, 2]
    made = molecule(f"CCONCCONCC{element}C", bonds, hydrogens)
    assert stereocentres(made)[:, 0].tolist() == [4]
    assert len(usual_chirality(made, stereocentres(made))) == known


def test_other_stereocentres_are_not_taken_for_amino_acids() -> None:
    # lactic acid, a beta-lactam (nitrogen and carbonyl bonded), an alpha amino ketone
    lactic = molecule("CCOCOO", [*chain(2), (1, 2), (1, 3), (3, 4), (3, 5)], [3, 1, 1, 0, 0, 1])
    lactam = molecule(
        "NCCOCCC", [(0, 1), (1, 2), (2, 3), (2, 4), (4, 0), (1, 5), (4, 6)], [1, 1, 0, 0, 1, 3, 3]
    )
    ketone = molecule("NCCOCC", [(0, 1), (1, 2), (2, 3), (2, 4), (1, 5)], [2, 1, 0, 0, 3, 3])
    free = molecule("NCCOOC", [(0, 1), (1, 2), (2, 3), (2, 4), (1, 5)], [3, 1, 0, 0, 0, 3])
    for made in (lactic, lactam, ketone, free):
        assert len(stereocentres(made)) >= 1
        assert not usual_chirality(made, stereocentres(made))
    for i in free.graph:
        free.graph.nodes[i]["resname"] = "ALA"
    assert len(usual_chirality(free, stereocentres(free))) == 1


@pytest.mark.parametrize("oxygen", [True, False])
def test_sugars_of_nucleotides_are_those_of_nature(oxygen: bool) -> None:
    """Adenosine is (1'R, 2'R, 3'S, 4'R): with hydrogen behind, falling ranks are clockwise in R."""
    # O4' C1' C2' C3' C4', C5' O5', O3', N of the base with its carbons, O2'
    bonds = [*ring(5), (4, 5), (5, 6), (3, 7), (1, 8), (8, 9), (8, 10)]
    count = [0, 1, 1 if oxygen else 2, 1, 1, 2, 1, 1, 0, 3, 3]
    elements = "OCCCCCOONCC"
    if oxygen:
        elements, bonds, count = elements + "O", [*bonds, (2, 11)], [*count, 1]
    made = molecule(elements, bonds, count)
    rows = stereocentres(made)
    usual = usual_sugars(made, rows)
    by_atom = {int(rows[k, 0]): state for k, state in usual.items()}
    # seen from the hydrogen, in front
    wanted = {1: (0, 2, 8), 3: (4, 2, 7), 4: (0, 5, 3)} | ({2: (3, 1, 11)} if oxygen else {})
    assert by_atom == {atom: clockwise(made, atom, order) for atom, order in wanted.items()}
    assert usual_states(made)[: len(rows)].tolist() == [usual[k] for k in range(len(rows))]


def test_other_rings_with_oxygen_are_not_taken_for_those_of_nucleotides() -> None:
    """Tetrahydrofuran with carbon in place of the base, and with nitrogen but no 5' carbon."""
    bonds = [*ring(5), (4, 5), (5, 6), (3, 7), (1, 8)]
    for elements, tail in (("OCCCCCOOC", 1), ("OCCCCCCON", 3)):
        made = molecule(elements, bonds, [0, 1, 2, 1, 1, 2, tail, 1, 3 if elements[-1] == "C" else 2])
        assert len(stereocentres(made)) == 3
        assert not usual_sugars(made, stereocentres(made))


def test_amides_in_rings_of_medium_size_are_not_taken_as_trans() -> None:
    for size, usual in ((8, 0), (10, 0), (11, -1), (16, -1)):
        lactam = molecule("C" * (size - 1) + "NO", [*ring(size), (0, size)], [0, *[2] * (size - 2), 1, 0])
        (state,) = usual_states(lactam)[are_bonds(stereo_elements(lactam))]
        assert state == usual


# --- conformers on disk ------------------------------------------------------------------------------


def test_conformers_of_large_pieces_are_kept(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    system, _ = on_a_circle(*crown(tmp_path, 6), 0.36)
    hamiltonian = make_hamiltonian(system, Conditions())
    (large,) = hamiltonian.molecules.values()
    piece = conformers.make_piece(hamiltonian, large, np.arange(6))
    monkeypatch.setattr(kept, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(conformers, "KEPT", 6)
    first = ConformerPools(2.5, 4, 1)(piece, ())
    (path,) = tmp_path.glob("conformers-*.npy")

    def forbidden(*_: object) -> None:
        raise InputError("drawn")

    drawn = conformers.draw_conformers
    monkeypatch.setattr(conformers, "draw_conformers", forbidden)
    np.testing.assert_array_equal(ConformerPools(2.5, 4, 1)(piece, ()), first)
    for other in ((2.5, 4, 2), (2.6, 4, 1), (2.5, 3, 1)):  # seed, temperature, number
        with pytest.raises(InputError, match="drawn"):
            ConformerPools(*other)(piece, ())
    path.write_bytes(path.read_bytes()[:200])  # damaged: drawn again
    monkeypatch.setattr(conformers, "draw_conformers", drawn)
    np.testing.assert_array_equal(ConformerPools(2.5, 4, 1)(piece, ()), first)
    monkeypatch.setattr(kept, "cache_folder", lambda: None)  # nowhere to keep anything
    np.testing.assert_array_equal(ConformerPools(2.5, 4, 1)(piece, ()), first)

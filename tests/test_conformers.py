"""Conformers have the energies, angles and chirality that statistical mechanics and the topology ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import systems

from dbm_gmx.chemistry.fragments import make_fragments
from dbm_gmx.chemistry.stereo import chirality_of
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.forms import ANGLE, DISTANCE, HARMONIC
from dbm_gmx.forcefield.hamiltonian import make_hamiltonian
from dbm_gmx.forcefield.terms import BondedTerms
from dbm_gmx.options import Conditions
from dbm_gmx.sampling.conformers import Piece, draw_conformers, make_piece
from dbm_gmx.sampling.random_numbers import Stream

KT = 2.5
NOTHING = np.zeros((0, 2), np.int64)
STREAM = Stream((3,))


def star(ends: int = 4, *, centres: int = 1) -> Piece:
    """A centre with neighbours at tetrahedral angles."""
    bonds = [(0, k) for k in range(1, ends + 1)]
    angles = [(i, 0, j) for i in range(1, ends + 1) for j in range(i + 1, ends + 1)]
    form = [DISTANCE] * len(bonds) + [ANGLE] * len(angles)
    atoms = [(*b, -1, -1, -1) for b in bonds] + [(*a, -1, -1) for a in angles]
    values = [(0.15, KT / 0.002**2)] * len(bonds) + [(np.radians(109.47), 400.0)] * len(angles)
    hidden = [4] if ends == 4 else [-1]
    return Piece(
        tuple(f"A{k}" for k in range(ends + 1)),
        BondedTerms(
            np.array(form), np.array(atoms), np.array([(*v, 0, 0, 0, 0) for v in values], np.float64)
        ),
        NOTHING,
        np.zeros((0, 3)),
        np.array(bonds),
        np.array([[0, 1, 2, 3, *hidden]] * centres, np.int64).reshape(-1, 5),
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("ends", [3, 4])
def test_a_prescribed_chirality_is_that_of_every_conformer(sign: int, ends: int) -> None:
    piece = star(ends)
    shapes = draw_conformers(piece, (sign,), KT, 512, STREAM)
    assert shapes.shape == (512, ends + 1, 3)
    assert np.all(chirality_of(shapes, piece.centres) == sign)


def test_without_a_chirality_both_occur() -> None:
    piece = star()
    chirality = chirality_of(draw_conformers(piece, (0,), KT, 512, STREAM), piece.centres)
    assert 0.25 < (chirality == 1).mean() < 0.75


def test_an_improper_that_holds_the_chirality_is_not_mirrored() -> None:
    piece = star(3)
    # the dihedral 0-1-2-3 of the centre and its neighbours, as united atoms have it
    improper = np.array([[np.radians(35.26), 334.8, 0, 0, 0, 0]])
    held = replace(
        piece,
        terms=BondedTerms(
            np.append(piece.terms.form, HARMONIC),
            np.concatenate([piece.terms.atoms, [[0, 1, 2, 3, -1]]]),
            np.concatenate([piece.terms.parameters, improper]),
        ),
    )
    free = chirality_of(draw_conformers(held, (0,), KT, 256, STREAM), piece.centres)
    assert len(set(free[:, 0].tolist())) == 1


def test_angles_and_bonds_are_spread_as_the_temperature_has_it() -> None:
    piece = star(2, centres=0)
    piece = replace(piece, centres=np.zeros((0, 5), np.int64))
    shapes = draw_conformers(piece, (), KT, 4096, STREAM)
    arms = shapes[:, 1:] - shapes[:, :1]
    lengths = np.linalg.norm(arms, axis=-1)
    cosine = (arms[:, 0] * arms[:, 1]).sum(-1) / lengths.prod(axis=1)
    theta = np.arccos(cosine)
    grid = np.linspace(0, np.pi, 20001)
    odds = np.sin(grid) * np.exp(-200.0 * (grid - np.radians(109.47)) ** 2 / KT)
    mean = (grid * odds).sum() / odds.sum()
    deviation = np.sqrt(((grid - mean) ** 2 * odds).sum() / odds.sum())
    assert theta.mean() == pytest.approx(mean, abs=0.01)
    assert theta.std() == pytest.approx(deviation, rel=0.1)
    assert lengths.std() == pytest.approx(0.002, rel=0.1)


def test_two_centres_that_contradict_each_other_are_refused() -> None:
    piece = star(centres=2)
    with pytest.raises(InputError, match="chirality"):
        draw_conformers(piece, (1, -1), KT, 8, STREAM)


def test_equal_fragments_have_equal_keys(octane: systems.Example) -> None:
    hamiltonian = make_hamiltonian(octane.system, Conditions())
    (molecule,) = hamiltonian.molecules.values()
    fragments = make_fragments(molecule.moltype)
    keys = [make_piece(hamiltonian, molecule, f.atoms).key for f in fragments]
    assert len(set(keys)) < len(keys)
    assert keys[0] != keys[1]


def test_a_single_atom_has_one_conformer() -> None:
    empty = np.zeros((0, 6))
    piece = Piece(
        ("A",),
        BondedTerms(NOTHING[:, 0], np.zeros((0, 5), np.int64), empty),
        NOTHING,
        np.zeros((0, 3)),
        NOTHING,
        np.zeros((0, 5), np.int64),
    )
    assert not draw_conformers(piece, (), KT, 3, STREAM).any()

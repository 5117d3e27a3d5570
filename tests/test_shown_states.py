"""States of stereo elements where beads are atoms, as in united-atom models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
from systems import chain, mapping, molecule, system

from dbm_gmx.backmapping.chirality import assign_states, shown_states
from dbm_gmx.backmapping.rebuilder import Rebuilder
from dbm_gmx.chemistry.feasible import STRETCH, problems_of, reaches
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import atoms_of_beads
from dbm_gmx.chemistry.stereo import Source, chirality_of, stereo_elements, usual_states
from dbm_gmx.chemistry.system import System, mapped_beads

BOX = np.eye(3) * 10
CENTRE = molecule("CCNO", [(0, 1), (1, 2), (1, 3)], [3, 1, 2, 1])
"""A carbon with another, nitrogen, oxygen and one hydrogen."""
CORNERS = 0.14 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) / np.sqrt(3)


@dataclass(frozen=True)
class Mapper:
    """What :func:`assign_states` asks of a rebuilder."""

    system: System
    chirality: dict[str, np.ndarray]
    sampler: None = None


def settle(made: System, frames: list[Frame], given: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
    """States of all copies after :func:`assign_states`, and where they are from."""
    mapper = cast(Rebuilder, Mapper(made, {"MOL": given}))
    settled, assignment = assign_states(mapper, lambda count: frames[:count])
    states = np.broadcast_to(settled.chirality["MOL"], assignment.sources["MOL"].shape)
    return states.tolist(), assignment.sources["MOL"].tolist()


def two_centres() -> tuple[np.ndarray, list[list[int]]]:
    """Atoms of two copies that are mirror images, and their states."""
    atoms = np.zeros((2, CENTRE.n_atoms, 3))
    for i, j in ((0, 0), (2, 1), (3, 2)):
        atoms[:, i] = CORNERS[j]
    for h in range(4, CENTRE.n_atoms):
        (heavy,) = CENTRE.graph[h]
        atoms[:, h] = atoms[:, heavy] * 1.5 + (CORNERS[3] * 0.7 if heavy == 1 else 0)
    atoms[1, :, 0] *= -1
    return atoms + 3, chirality_of(atoms, stereo_elements(CENTRE)).tolist()


def frames_of(made: System, atoms: np.ndarray) -> list[Frame]:
    beads = mapped_beads(made, atoms.reshape(-1, 3)).astype(np.float32)
    return [Frame(beads, BOX)] * 3


def test_beads_that_are_atoms_show_centres() -> None:
    made = system((CENTRE, mapping(CENTRE, [0, 1, 2, 3], "ABCD"), 2))
    atoms, states = two_centres()
    assert sorted(states) == [[-1], [1]]
    unknown = np.zeros((1, 1), np.int8)
    assert settle(made, frames_of(made, atoms), unknown) == (states, [[Source.INFERRED]] * 2)
    given = -np.array(states, np.int8)  # by a reference, which goes first
    assert settle(made, frames_of(made, atoms), given) == (given.tolist(), [[Source.GIVEN]] * 2)


@pytest.mark.parametrize("owner", [[0, 0, 1, 2], [0, 1, 1, 2]])
def test_beads_of_two_atoms_show_nothing(owner: list[int]) -> None:
    made = system((CENTRE, mapping(CENTRE, owner, "ABC"), 2))
    unknown = np.zeros((1, 1), np.int8)

    def none(count: int) -> list[Frame]:
        raise AssertionError("no beads are looked at")

    _, assignment = assign_states(cast(Rebuilder, Mapper(made, {"MOL": unknown})), none)
    assert assignment.sources["MOL"].tolist() == [[Source.UNDECIDED]] * 2


def test_frames_that_differ_show_nothing() -> None:
    made = system((CENTRE, mapping(CENTRE, [0, 1, 2, 3], "ABCD"), 2))
    atoms, states = two_centres()
    (frame, *_), (mirrored, *_) = frames_of(made, atoms), frames_of(made, atoms[::-1])
    assert shown_states(made.matches[0], [frame, mirrored]).tolist() == [[0], [0]]
    assert shown_states(made.matches[0], [frame] * 4 + [mirrored]).tolist() == states


@pytest.mark.parametrize("state", [1, -1])
def test_beads_that_are_atoms_show_amides_that_are_not_as_usual(state: int) -> None:
    amide = molecule("CCNCO", [*chain(4), (1, 4)], [3, 0, 1, 3, 0])
    (row,) = stereo_elements(amide)
    assert usual_states(amide).tolist() == [-1]
    made = system((amide, mapping(amide, range(5), "ABCDE"), 1))
    beads = np.zeros((5, 3), np.float32) + 3
    beads[row[:4]] = [[0.1, 0.1, 0], [0, 0, 0], [0, 0, 0], [0.1, 0, 0.1]]
    i, j, k, m = row[:4]
    beads[i], beads[j], beads[k] = [3, 3.1, 3], [3.1, 3, 3], [3.2, 3, 3]
    beads[m] = [3.3, 3 + 0.1 * state, 3]
    frames = [Frame(beads, BOX)] * 2
    source = Source.INFERRED if state == 1 else Source.GIVEN
    assert settle(made, frames, np.array([[-1]], np.int8)) == ([[state]], [[source]])


def test_bonds_of_beads_that_are_atoms_vibrate() -> None:
    for owner, said in (([0, 1, 2, 3], []), ([0, 0, 1, 2], ["bonded beads"])):
        made = mapping(CENTRE, owner, "ABCD"[: max(owner) + 1])
        two, (pairs, reach) = system((CENTRE, made, 1)), reaches(made, CENTRE)
        assert (atoms_of_beads(made, CENTRE) >= 0).tolist() == [len(owner) == len(set(owner))] + [True] * max(
            owner
        )
        beads = np.zeros((len(made.names), 3), np.float32) + 5
        beads[pairs[0, 1], 0] += 0.5 * (1 + STRETCH) * reach[0]
        beads[[k for k in range(len(beads)) if k not in pairs[0]]] = beads[pairs[0]].mean(axis=0)
        assert [p.kind for p in problems_of(two, Frame(beads, BOX), 1.0) if p.kind == "bonded beads"] == said

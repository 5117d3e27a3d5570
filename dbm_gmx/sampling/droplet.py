"""A droplet: the molecules around the middle of a large frame, in vacuum.

What is tried on a frame before all others costs many times what the frame does, and does not depend on its
size: of a large frame it is tried on a part.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dbm_gmx.chemistry.array_types import BoolArray, FloatArray, SignArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.stereo import chirality_of_copies
from dbm_gmx.chemistry.system import System, with_counts
from dbm_gmx.sampling.sampler import Sampler, make_sampler, with_team

ATOMS = 20_000
"""Of a droplet: a quarter of its molecules are at the surface."""

LARGE = 1.5
"""Times as many atoms a frame has, at least, of which a droplet is made."""

VACUUM = 3.0
"""nm between a droplet and its images."""


def cut_droplet(sampler: Sampler, beads: Frame, atoms: int = ATOMS) -> tuple[Sampler, Frame]:
    """Take molecules out of a frame.

    Parameters
    ----------
    sampler
        Of the whole system.
    beads
        Whole beads.
    atoms
        How many are wanted.  At least one molecule of each type is taken.

    Returns
    -------
    A sampler and whole beads of the molecules nearest to the middle of the box; those given if the frame is
    not much larger.
    """
    system = sampler.system
    if system.n_atoms < LARGE * atoms:
        return sampler, beads
    places = [
        _nearest_images(match.beads(beads.positions).astype(np.float64), beads) for match in system.matches
    ]
    chosen = _nearest(system, places, atoms)
    whole = np.concatenate([place[rows].reshape(-1, 3) for place, rows in zip(places, chosen, strict=True)])
    box = np.diag(np.ptp(whole, axis=0) + VACUUM + 2.0 * float(sampler.radius.max()))
    states: dict[str, list[SignArray]] = {}
    known = chirality_of_copies(system, sampler.chirality)
    for match, rows, signs in zip(system.matches, chosen, known, strict=True):
        states.setdefault(match.moltype.name, []).append(signs[rows])
    part = make_sampler(
        with_counts(system, [int(rows.sum()) for rows in chosen]),
        sampler.hamiltonian.conditions,
        sampler.settings,
        {name: np.concatenate(signs) for name, signs in states.items()},
    )
    part = replace(with_team(part, sampler.team), effort=sampler.effort)
    return part, replace(beads, positions=(whole - whole.min(axis=0)).astype(np.float32), box=box)


def _nearest_images(molecules: FloatArray, frame: Frame) -> FloatArray:
    """Molecules (copies, beads, 3), each in its image nearest to the middle of the box, which is at 0."""
    off = molecules.mean(axis=1) - 0.5 * frame.box.sum(axis=0)
    near = minimum_image(off, frame.box)
    return np.asarray(molecules - molecules.mean(axis=1)[:, None] + near[:, None], np.float64)


def _nearest(system: System, places: list[FloatArray], atoms: int) -> list[BoolArray]:
    """Which molecules of each run are nearest to 0, until there are so many atoms, and one of each type."""
    far = [np.linalg.norm(place.mean(axis=1), axis=1) for place in places]
    sizes = np.concatenate([np.full(match.count, match.moltype.n_atoms) for match in system.matches])
    order = np.argsort(np.concatenate(far), kind="stable")
    taken = np.zeros(len(sizes), np.bool_)
    before = np.cumsum(sizes[order]) - sizes[order]
    taken[order[before < atoms]] = True
    chosen = np.split(taken, np.cumsum([match.count for match in system.matches])[:-1])
    first: dict[str, tuple[float, int, int]] = {}
    for run, (match, distances) in enumerate(zip(system.matches, far, strict=True)):
        row = int(distances.argmin())
        nearest = (float(distances[row]), run, row)
        first[match.moltype.name] = min(first.get(match.moltype.name, nearest), nearest)
    for _, run, row in first.values():
        chosen[run][row] = True
    return chosen

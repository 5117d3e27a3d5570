"""Chirality inferred from the beads where no input defines it: that with which a molecule fits them best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.stereo import invert
from dbm_gmx.sampling.annealing import Copies
from dbm_gmx.sampling.growth import Grower, Molecules, anneal_window, energy_of, grow_once, take
from dbm_gmx.sampling.random_numbers import Stream, Use
from dbm_gmx.sampling.windows import Group

ROUNDS = 5
"""Times all stereocentres are gone through, at most."""

DOUBTFUL = 6.0
"""kT: what is surer than this is not asked again."""

SEARCHES = 2
"""Times a window is annealed for its lowest energy."""


def infer_from_beads(grower: Grower, molecules: Molecules, stream: Stream) -> Molecules:
    """Give every stereocentre a chirality: that with which its molecule fits its beads best.

    Windows about one stereocentre after the other, and about two neighbours, are annealed as they are and
    inverted; what lowers the energy is accepted, until nothing does.  The chirality of most copies of a
    molecule is the prior of the others: copies rarely differ.

    Parameters
    ----------
    grower
        Of the molecule type.
    molecules
        Their chirality is 0 where it is not given.
    stream
        Random numbers of the frame.

    Returns
    -------
    The molecules, their chirality 1 or -1.
    """
    given = molecules.chirality
    if np.all(given != 0):
        return molecules
    rng = stream.of(Use.CHIRALITY, molecules.run).generator
    guessed = rng.choice(np.array([-1, 1], np.int8), size=given.shape)
    best = replace(molecules, chirality=np.where(given == 0, guessed, given))
    inference = stream.of(Use.INFERENCE, molecules.run)
    positions, _ = grow_once(grower, best, inference.of(0))
    doubtful = np.ones((len(molecules), len(grower.inversions)), bool)
    lowest, highest = (np.array([end(centres) for centres, _ in grower.inversions]) for end in (min, max))
    for attempt in range(1, 1 + ROUNDS):
        for k, (centres, window) in enumerate(grower.inversions):
            rows = np.flatnonzero((given[:, list(centres)] == 0).all(axis=1) & doubtful[:, k])
            if not len(rows):
                continue
            place = centres, window
            gain = _try_inversion(grower, place, best, positions, rows, inference.of(attempt, k))
            doubtful[rows, k] = np.abs(gain) < DOUBTFUL * grower.hamiltonian.kt
            # what was inverted changes the case of all that share atoms with it
            if (gain > 0).any():
                near = (lowest <= highest[k] + 1) & (highest >= lowest[k] - 1)
                near[k] = False
                doubtful[rows[gain > 0]] |= near
        if not doubtful.any():
            break
    return best


def _try_inversion(
    grower: Grower,
    place: tuple[tuple[int, ...], Group],
    molecules: Molecules,
    positions: FloatArray,
    rows: IntArray,
    stream: Stream,
) -> FloatArray:
    """Invert stereocentres of some molecules where that lowers the energy (in place).

    Parameters
    ----------
    place
        Stereocentres that are inverted together, and the window to do it in.
    rows
        Which molecules.

    Returns
    -------
    (rows,) by how much it did or would, kJ/mol.
    """
    (centres, window), chirality = place, molecules.chirality
    kept = take(window, molecules, positions, rows)
    inverted = kept._replace(positions=kept.positions.copy(), chirality=kept.chirality.copy())
    inverted.chirality[:, np.searchsorted(window.centres[0], centres)] *= -1
    for k in centres:
        invert(inverted.positions, np.searchsorted(window.atoms[0], grower.arms[k]))
    gain = _lowest(grower, window, kept, stream.of(0)) - _lowest(grower, window, inverted, stream.of(1))
    for k in centres:
        same = (chirality[:, k] == chirality[rows, k][:, None]).sum(axis=1)
        gain += grower.hamiltonian.kt * np.log((len(chirality) - same + 1.0) / same)
    flipped = gain > 0
    found = np.where(flipped[:, None, None], inverted.positions, kept.positions)
    positions[rows[:, None], window.atoms[0]] = found
    chirality[rows[flipped, None], np.array(centres)] *= -1
    return np.asarray(gain, np.float64)


def _lowest(grower: Grower, window: Group, copies: Copies, stream: Stream) -> FloatArray:
    """Anneal a window several times; the lowest energies (copies,), whose positions stay."""
    energy, first = energy_of(window, copies), copies.positions.copy()
    for attempt in range(SEARCHES):
        trial = copies._replace(positions=first.copy())
        found = anneal_window(grower, window, trial, stream.of(attempt))
        better = found < energy
        energy[better], copies.positions[better] = found[better], trial.positions[better]
    return energy

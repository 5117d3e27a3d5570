"""Free generation of held-out frames: all atoms from beads alone, as a user would get them.

Losses are of atoms whose environments are those of the data; here errors add up as for a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from dbm_gmx.chemistry.contacts import bad_contacts
from dbm_gmx.chemistry.stereo import count_stereo, infer_chirality
from dbm_gmx.chemistry.system import System, deviation
from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.distributions import (
    RANGES,
    TermClass,
    divergences,
    mean_divergences,
    term_histograms,
    term_values,
)
from dbm_gmx.network.arrays import make_network_arrays
from dbm_gmx.network.bond_lengths import FixedBonds, find_fixed_bonds
from dbm_gmx.network.centring import make_centrings
from dbm_gmx.network.environment import make_scene
from dbm_gmx.network.guide_tables import make_guide
from dbm_gmx.network.model import Model, make_network
from dbm_gmx.network.placement import Placer, reconstruct
from dbm_gmx.network.random_numbers import make_random_numbers
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.train.frames import Pair, TrainingSystem


class Generation(NamedTuple):
    """How frames are generated: sweeps, seed, where the network runs, whether atoms follow a guide."""

    sweeps: int
    seed: int
    device: torch.device = torch.device("cpu")
    guided: bool = False


def generate_frames(
    model: Model,
    what: TrainingSystem,
    pairs: Sequence[Pair],
    how: Generation,
    bonds: FixedBonds | None = None,
) -> list[np.ndarray]:
    """Atoms (n, 3) of some frames, one by one; without ``bonds`` their lengths are those of the network."""
    system = what.system
    arrays, table = make_network_arrays(system, model.channels)
    network = make_network(model, table, device=how.device)
    settings = Settings(refine="gibbs", sweeps=how.sweeps, seed=how.seed)
    frames = []
    for pair in pairs:
        where = [pair.beads.numpy()], [pair.box]
        replicas = 2 if how.guided else 1
        scene = make_scene(arrays, *where, grid=model.grid, replicas=replicas, device=how.device)
        rng = make_random_numbers([pair.index], seed=how.seed)
        placer = Placer(scene, network, rng, settings, bonds=bonds)
        if how.guided:
            chirality = infer_chirality(system, pair.atoms.numpy(), {})
            guide = make_guide(system, Conditions(temperature=what.temperature), chirality)
            placer = replace(placer, guide=guide, centrings=make_centrings(system))
        made = reconstruct(placer).cpu().numpy()
        if not np.isfinite(made).all():
            said = f"frame {pair.index} of {what.name}: the model puts atoms at places that are no numbers"
            raise InputError(f"{said}; train with lower rates or prior weights, or precision = 'float32'")
        frames.append(made)
    return frames


AMPLITUDES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)


def calibrated(model: Model, systems: Sequence[TrainingSystem], how: Generation) -> Model:
    """Find the amplitude with which angles and impropers are distributed as in a frame of the training.

    That of heavy atoms is found first, with 1 for hydrogens, which depend on them; then that of hydrogens.
    """
    for atoms in (0, 1):  # heavy, hydrogens
        found = {}
        for width in AMPLITUDES:
            amplitude = (width, 1.0) if atoms == 0 else (model.amplitude[0], width)
            found[amplitude] = amplitude_error(replace(model, amplitude=amplitude), systems, how)
        model = replace(model, amplitude=min(found, key=found.__getitem__))
    return model


def amplitude_error(model: Model, systems: Sequence[TrainingSystem], how: Generation) -> float:
    """Mean divergence of angles and impropers in the first frame that each system is trained on."""
    parts: list[float] = []
    for system in systems:
        pair, *_ = system.train
        bonds = find_fixed_bonds(system.system, Conditions().constraints, device=how.device)
        made = generate_frames(model, system, [pair], how, bonds)
        scores = mean_divergences(frame_divergences(system.system, made, [pair]))
        parts += [scores[part] for part in ("angle", "improper") if part in scores]
    return float(np.mean(parts or [0.0]))


def score_frames(system: System, made: Sequence[np.ndarray], data: Sequence[Pair]) -> dict[str, float]:
    """Compare generated frames (n, 3) with those of the data.

    Returns
    -------
    ``bond``, ``angle``, ``dihedral``, ``improper``: Jensen-Shannon divergence (base 2) of the
    distributions, mean over the classes of terms; ``contacts``: bad ones in a frame; ``flipped``: part of
    the stereocentres and bonds that do not turn; ``beads``: nm (rms), mapped atoms to their beads.
    """
    scores = mean_divergences(frame_divergences(system, made, data))
    contacts, flipped, square = [], [], []
    for atoms, pair in zip(made, data, strict=False):
        contacts.append(len(bad_contacts(system, atoms, pair.box)))
        chirality = infer_chirality(system, pair.atoms.numpy(), {})
        stereo = count_stereo(system, atoms, chirality) + count_stereo(system, atoms, chirality, bonds=True)
        centres = stereo.right + stereo.wrong + stereo.undefined
        flipped.append((stereo.wrong + stereo.undefined) / max(1, centres))
        square.append(np.square(deviation(system, atoms, pair.beads.numpy(), pair.box)).mean())
    return scores | {
        "contacts": float(np.mean(contacts)),
        "flipped": float(np.mean(flipped)),
        "beads": float(np.sqrt(np.mean(square))),
    }


def frame_divergences(
    system: System, made: Sequence[np.ndarray], data: Sequence[Pair]
) -> dict[TermClass, float]:
    """Divergence of each class of bonded terms between generated frames and those of the data."""
    frames = [pair.atoms for pair in data[: len(made)]]
    ours, theirs = (
        [term_histograms(term_values(system, torch.as_tensor(atoms).double())) for atoms in some]
        for some in (frames, made)
    )
    return divergences(ours, theirs)


def score(model: Model, systems: Sequence[TrainingSystem], how: Generation) -> dict[str, dict[str, float]]:
    """Scores of free generation of the first held-out frame of each system that has one."""
    result = {}
    for system in systems:
        if system.held_out:
            pairs = system.held_out[:1]
            made = generate_frames(model, system, pairs, how)
            result[system.name] = score_frames(system.system, made, pairs)
    return result


def overall(scores: dict[str, dict[str, float]]) -> float:
    """One number to compare models of one training by: mean divergence, and the part of flipped centres."""
    parts = [values[part] for values in scores.values() for part in (*RANGES, "flipped") if part in values]
    return float(np.mean(parts)) if parts else float("inf")

"""Free generation of held-out frames: all atoms from beads alone, as a user would get them.

Losses look at atoms whose surroundings are those of the data; what errors add up to shows here only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dbm_gmx.environment import make_scene
from dbm_gmx.evaluate.distributions import (
    RANGES,
    divergences,
    mean_divergences,
    term_histograms,
    term_values,
)
from dbm_gmx.model import Model, best_dtype, build_generator, network_generator
from dbm_gmx.options import Settings
from dbm_gmx.quality import bad_contacts, count_stereo, deviation, infer_handedness
from dbm_gmx.reconstruct import reconstruct
from dbm_gmx.system import System, system_layout
from dbm_gmx.train.frames import Pair, TrainingSystem


def generate_frames(
    model: Model, system: TrainingSystem, *, frames: int, sweeps: int, seed: int
) -> list[np.ndarray]:
    """Atoms (n, 3) of the first held-out frames, each generated on its own."""
    layout, table = system_layout(system.system, model.channels)
    cpu = torch.device("cpu")
    generate = network_generator(build_generator(model), table, model.grid, device=cpu, dtype=best_dtype(cpu))
    return [
        reconstruct(
            make_scene(layout, [pair.beads.numpy()], [pair.box], grid=model.grid),
            [pair.index],
            generate=generate,
            noise=model.shape.noise,
            grid=model.grid,
            settings=Settings(refine="gibbs", sweeps=sweeps, seed=seed),
        ).numpy()
        for pair in system.held_out[:frames]
    ]


def score_frames(system: System, made: Sequence[np.ndarray], data: Sequence[Pair]) -> dict[str, float]:
    """Compare generated frames (n, 3) with those of the data.

    Returns
    -------
    ``bond``, ``angle``, ``dihedral``, ``improper``: Jensen-Shannon divergence (base 2) of the
    distributions, mean over the kinds of terms; ``contacts``: bad ones in a frame; ``flipped``: part of
    the stereocentres; ``beads``: nm (rms), mapped atoms to their beads.
    """
    frames = [pair.atoms for pair in data[: len(made)]]
    ours, theirs = (
        [term_histograms(term_values(system, torch.as_tensor(atoms).double())) for atoms in some]
        for some in (frames, made)
    )
    scores = mean_divergences(divergences(ours, theirs))
    contacts, flipped, square = [], [], []
    for atoms, pair in zip(made, data, strict=False):
        contacts.append(len(bad_contacts(system, atoms, pair.box)))
        hands = infer_handedness(system, pair.atoms.numpy(), {})
        stereo = count_stereo(system, atoms, hands)
        centres = stereo.right + stereo.wrong + stereo.undefined
        flipped.append((stereo.wrong + stereo.undefined) / max(1, centres))
        square.append(np.square(deviation(system, atoms, pair.beads.numpy(), pair.box)).mean())
    return scores | {
        "contacts": float(np.mean(contacts)),
        "flipped": float(np.mean(flipped)),
        "beads": float(np.sqrt(np.mean(square))),
    }


def score(
    model: Model, systems: Sequence[TrainingSystem], *, frames: int, sweeps: int, seed: int
) -> dict[str, dict[str, float]]:
    """Scores of free generation on the held-out frames of each system that has some."""
    result = {}
    for system in systems:
        if system.held_out:
            made = generate_frames(model, system, frames=frames, sweeps=sweeps, seed=seed)
            result[system.name] = score_frames(system.system, made, system.held_out)
    return result


def overall(scores: dict[str, dict[str, float]]) -> float:
    """One number to compare models of one training by: mean divergence, and the part of flipped centres."""
    parts = [values[part] for values in scores.values() for part in (*RANGES, "flipped") if part in values]
    return float(np.mean(parts)) if parts else float("inf")

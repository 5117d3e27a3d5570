"""The network's part of a reconstruction; loaded only where it is used: tensors take a second."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from dbm_gmx.backmapping.rebuilt import Rebuilt
from dbm_gmx.chemistry.array_types import Float32Array
from dbm_gmx.chemistry.stereo import Chirality
from dbm_gmx.chemistry.system import System, place_virtual_sites
from dbm_gmx.errors import InputError
from dbm_gmx.network.arrays import NetworkArrays, make_network_arrays
from dbm_gmx.network.bond_lengths import FixedBonds, find_fixed_bonds
from dbm_gmx.network.centring import Centring, make_centrings
from dbm_gmx.network.environment import Scene, make_scene
from dbm_gmx.network.guide import Guide
from dbm_gmx.network.guide_tables import make_guide
from dbm_gmx.network.model import Model, best_device, make_network, read_model
from dbm_gmx.network.placement import Generate, Network, Placer, reconstruct
from dbm_gmx.network.random_numbers import make_random_numbers
from dbm_gmx.network.scoring import Scorer, make_scorer
from dbm_gmx.network.suitable import doubts, guided_only
from dbm_gmx.options import Conditions, Method, Settings
from dbm_gmx.parallel import pass_on_threads

log = logging.getLogger(__name__)


class Task(NamedTuple):
    """What the network is to place, and how.

    Attributes
    ----------
    system, settings, conditions, chirality
        Those of the reconstruction.
    device
        Where the tensors live; the CPU if nothing is said.
    """

    system: System
    settings: Settings
    conditions: Conditions
    chirality: Chirality
    device: torch.device | None = None


@dataclass(frozen=True, eq=False)
class NetworkStage:
    """Places the atoms of frames by the network; made by :func:`make_network_stage`.

    Attributes
    ----------
    task
        What is to be placed.
    device
        Where the tensors live.
    arrays
        What stays the same from frame to frame.
    network
        Draws the atoms.
    bonds
        Those of fixed length.
    guide, centrings
        What the force field and the beads say of the place of an atom; none if not asked for.
    """

    task: Task
    device: torch.device
    arrays: NetworkArrays
    network: Network
    bonds: FixedBonds
    guide: Guide | None = None
    centrings: tuple[Centring, ...] = ()

    def __call__(self, batch: Sequence[Rebuilt]) -> Float32Array:
        """Return (frames, n, 3) nm; frames that have positions are swept, others grown."""
        settings, scene = self.task.settings, self._scene(batch)
        frames, samples = [one.beads.index for one in batch], [one.sample for one in batch]
        rng = make_random_numbers(frames, samples, seed=settings.seed)
        placer = Placer(
            scene,
            self.network,
            rng,
            settings,
            scorer=self._scorer(scene),
            bonds=self.bonds,
            guide=self.guide,
            centrings=self.centrings,
        )
        start = [one.positions for one in batch if one.positions is not None]
        given = torch.from_numpy(np.concatenate(start)).to(self.device) if start else None
        atoms = reconstruct(placer, start=given)
        placed = atoms.cpu().numpy().reshape(len(batch), -1, 3).astype(np.float64)
        for one, positions in zip(batch, placed, strict=True):
            if not np.isfinite(positions).all():
                where = f"frame {one.beads.index} (t = {one.beads.time:g} ps)"
                raise InputError(f"{where}: the model has put atoms at places that are no numbers")
            place_virtual_sites(self.task.system, positions)
        return np.asarray(placed, np.float32)

    def _scene(self, batch: Sequence[Rebuilt]) -> Scene:
        return make_scene(
            self.arrays,
            [one.beads.positions for one in batch],
            [one.beads.box for one in batch],
            grid=self.network.grid,
            replicas=2 if self.guide is not None else min(2, self.task.settings.orientations),
            device=self.device,
        )

    def _scorer(self, scene: Scene) -> Scorer | None:
        """What says which beads are drawn again, if there is more than one draw and no guide."""
        settings = self.task.settings
        if settings.orientations == 1 or self.guide is not None:
            return None
        return make_scorer(
            self.task.system,
            scene.arrays,
            grid=self.network.grid,
            batch=settings.batch,
            chirality=self.task.chirality,
        )


def make_network_stage(task: Task, model: Model, generate: Generate | None = None) -> NetworkStage:
    """Set up the network; ``generate`` is used in its place."""
    pass_on_threads()
    device = task.device or torch.device("cpu")
    arrays, table = make_network_arrays(task.system, model.channels)
    network = make_network(model, table, device=device, generate=generate)
    bonds = find_fixed_bonds(task.system, task.conditions.constraints, device=device)
    if not task.settings.guided:
        return NetworkStage(task, device, arrays, network, bonds)
    guide = make_guide(task.system, task.conditions, task.chirality)
    return NetworkStage(task, device, arrays, network, bonds, guide, make_centrings(task.system))


def read_network(system: System, method: Method) -> tuple[Model, torch.device]:
    """The model of a method, and where it runs.

    Raises
    ------
    InputError
        If there is no such model or device, or the model does not know the system, or hydrogens that it is
        to draw.
    """
    model = read_model(method.model, method.channels)
    if guided_only(model) and not method.settings.guided:
        raise InputError(f"model {method.model} was trained for guided use: it has learnt no hydrogens")
    make_network_arrays(system, model.channels)
    for doubt in doubts(model, system, method.conditions):
        log.warning("model %s: %s", method.model, doubt)
    return model, best_device(method.device)

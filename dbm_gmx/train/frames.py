"""Frames of atoms with their beads, read from the user's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import bead_topology, check_owners, mapped_molecules
from dbm_gmx.chemistry.periodic import minimum_image, whole_molecules
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.files.structure import compare_names
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.network.channels import Channels, bead_types_of, classes_of, default_channels
from dbm_gmx.options import Preprocessor
from dbm_gmx.train.settings import SystemSettings


@dataclass(frozen=True, eq=False)
class Pair:
    """A frame of atoms and its beads, molecules whole, nm."""

    atoms: Tensor
    beads: Tensor
    box: np.ndarray
    index: int = 0


@dataclass(frozen=True, eq=False)
class TrainingSystem:
    """A system and its frames.

    Attributes
    ----------
    system
        Topology and mapping.
    train, held_out
        Frames.
    share
        Weight among the systems.
    name
        For reports.
    temperature
        K.
    """

    system: System
    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    share: float = 1.0
    name: str = ""
    temperature: float = 300.0


def read_training_system(settings: SystemSettings) -> TrainingSystem:
    """Read the frames of one ``[[system]]``; beads are mapped from the atoms where none are given.

    Raises
    ------
    InputError
        If files cannot be read or do not go together, or nothing is left to train on.
    """
    told = Preprocessor() if settings.mdp is None else read_mdp(settings.mdp)[1]
    topology = read_topology(settings.topology, defines=told.defines, include=told.include, counted=True)
    mappings = read_mappings(settings.mapping, topology, owners=settings.owners)
    matches = mapped_molecules(topology, mappings)
    lost = sorted({name for name, _ in topology.molecules} - set(mappings))
    if lost:
        raise InputError(f"no mapping for {', '.join(lost)}", path=settings.topology)
    check_owners(matches)
    system = System(topology, mappings, matches)
    frames = read_frames(settings.trajectory, n_atoms=system.n_atoms)
    compare_names(topology, settings.trajectory)
    taken = list(islice(frames, settings.frames or None))
    beads: Iterator[Frame | None] = iter([None] * len(taken))
    if settings.beads is not None:
        given = read_frames(settings.beads, n_atoms=system.n_beads)
        compare_names(bead_topology(matches), settings.beads, "beads")
        beads = iter(list(islice(given, len(taken))))
    pairs = [make_pair(system, frame, next(beads, None), index=i) for i, frame in enumerate(taken)]
    count = len(pairs) - settings.held_out
    if count < 1:
        raise InputError(
            f"{len(pairs)} frames, of which {settings.held_out} are held out: none to train on",
            path=settings.trajectory,
        )
    name = settings.topology.resolve().parent.name
    parts = tuple(pairs[:count]), tuple(pairs[count:])
    return TrainingSystem(system, *parts, settings.share, name, settings.temperature)


def make_pair(system: System, frame: Frame, beads: Frame | None = None, *, index: int = 0) -> Pair:
    """Atoms made whole and their beads: mapped from them, or those given, brought to their molecules."""
    whole = whole_molecules(system.topology, frame)
    if whole.winds:
        raise InputError("molecules are bonded to their own periodic images; the network does not know such")
    atoms = whole.positions
    mapped = mapped_beads(system, atoms)
    if beads is not None:
        mapped = mapped + minimum_image(beads.positions - mapped, frame.box)
    return Pair(torch.from_numpy(atoms).float(), torch.from_numpy(mapped).float(), frame.box, index)


def channels_for(systems: Sequence[System], given: Channels | None = None) -> Channels:
    """The channels given, or one for everything that occurs."""
    if given is not None:
        return given
    classes = {c for s in systems for names in classes_of(s).values() for c in names}
    return default_channels(sorted(classes), sorted({b for s in systems for b in bead_types_of(s)}))

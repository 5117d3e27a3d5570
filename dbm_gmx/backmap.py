"""The main job: beads in, atoms out.

A :class:`Backmapper` turns frames of beads into frames of atoms; :func:`backmap` does so from file to
file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from dbm_gmx.channels import read_channels
from dbm_gmx.environment import make_scene
from dbm_gmx.errors import InputError
from dbm_gmx.files.trajectory import count_frames, open_writer, read_frames
from dbm_gmx.frame import Frame
from dbm_gmx.judge import Judge
from dbm_gmx.model import (
    Model,
    best_device,
    best_dtype,
    build_generator,
    load_model,
    network_generator,
)
from dbm_gmx.options import MODEL, Inputs, Settings
from dbm_gmx.quality import Report, Tally, expected_handedness
from dbm_gmx.reconstruct import Generate, reconstruct
from dbm_gmx.system import System, read_system, system_layout, whole_beads

IN_HAND = 30_000
"""Atoms worked on together: enough to keep large machines busy, few enough for small ones."""


@dataclass(frozen=True, eq=False)
class Backmapper:
    """A system and a generator, ready to rebuild frames.

    Attributes
    ----------
    system
        Beads, atoms and plans.
    model
        The generator and its representation.
    settings
        Sweeps, orientations, seed.
    device
        Where the tensors live.
    """

    system: System
    model: Model
    settings: Settings
    device: torch.device

    def __call__(
        self, frames: Iterable[Frame], *, generate: Generate | None = None
    ) -> Iterator[tuple[Frame, Frame]]:
        """Rebuild frames, several at a time.

        Parameters
        ----------
        frames
            Beads.
        generate
            Used instead of the model's network.

        Yields
        ------
        Whole beads and whole atoms of each frame, in order.
        """
        grid, settings = self.model.grid, self.settings
        layout, table = system_layout(self.system, self.model.channels)
        if generate is None:
            network = build_generator(self.model)
            dtype = best_dtype(self.device)
            generate = network_generator(network, table, grid, device=self.device, dtype=dtype)
        for batch in _batches(frames, max(1, IN_HAND // self.system.n_atoms)):
            beads = [whole_beads(self.system, frame) for frame in batch]
            boxes = [frame.box for frame in batch]
            scene = make_scene(
                layout, beads, boxes, grid=grid, replicas=settings.orientations, device=self.device
            )
            judge = None
            if settings.orientations > 1:
                judge = Judge(self.system, scene.layout, grid=grid, batch=settings.batch)
            atoms = reconstruct(
                scene,
                [frame.index for frame in batch],
                generate=generate,
                noise=self.model.shape.noise,
                grid=grid,
                settings=settings,
                judge=judge,
            )
            split = atoms.cpu().numpy().reshape(len(batch), -1, 3)
            for frame, bead, atom in zip(batch, beads, split, strict=True):
                yield replace(frame, positions=bead), replace(frame, positions=atom)


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Yield so many frames at a time; those before a damaged one come before the error it raises."""
    batch: list[Frame] = []
    try:
        for frame in frames:
            batch.append(frame)
            if len(batch) == size:
                yield batch
                batch = []
    except InputError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def read_inputs(inputs: Inputs) -> tuple[System, Iterator[Frame], int | None]:
    """Read the system and open its trajectory.

    Returns
    -------
    The system, its frames, and how many there are where that is known.
    """
    system, first = read_system(
        inputs.structure,
        cg_topology=inputs.cg_topology,
        topology=inputs.topology,
        mappings=inputs.mappings,
        owners=inputs.owners,
        order=inputs.order,
        defines=inputs.defines,
        include=inputs.include,
    )
    selected = (inputs.begin, inputs.end, inputs.dt) != (None, None, None)
    if inputs.trajectory is None:
        if selected:
            raise InputError("times (-b, -e, -dt) select frames of a trajectory: give one (-f)")
        return system, iter([first]), 1
    frames = read_frames(
        inputs.trajectory, n_atoms=system.n_beads, begin=inputs.begin, end=inputs.end, dt=inputs.dt
    )
    return system, frames, None if selected else count_frames(inputs.trajectory)


def read_model(name: str | Path = MODEL, channels: str | Path | None = None) -> Model:
    """The model, with a channel file in place of its own channels where one is given.

    Raises
    ------
    InputError
        If the channel file has another number of channels than the network.
    """
    model = load_model(name)
    if channels is None:
        return model
    override = read_channels(channels)
    if override.width != model.channels.width:
        raise InputError(
            f"{override.width} channels, but model {name} has {model.channels.width}: "
            + ", ".join(model.channels.names),
            path=channels,
        )
    return replace(model, channels=override)


def backmap(
    inputs: Inputs,
    output: Path,
    *,
    first_frame: Path | None = None,
    model: str | Path = MODEL,
    channels: Path | None = None,
    settings: Settings | None = None,
    device: str | None = None,
    quiet: bool = True,
    generate: Generate | None = None,
) -> Report:
    """Rebuild the atoms of a coarse-grained trajectory.

    Frames are read, rebuilt and written a few at a time.  An existing output is backed up; if the
    input turns out to be damaged or the run is interrupted, the frames finished so far are kept.

    Parameters
    ----------
    inputs
        What is to be rebuilt.
    output
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``.
    first_frame
        A ``.gro`` of the first frame.
    model, channels
        Model by name or path, and a channel file that overrides its channels.
    settings
        Sweeps, orientations, seed.
    device
        As torch names them; the fastest there is if not given.
    quiet
        No progress bar; there is none either where nobody looks (standard error is no terminal).
    generate
        Used instead of the model's network.

    Returns
    -------
    What there is to say about the frames written.

    Raises
    ------
    InputError
        If any input cannot be used; nothing is written then.
    """
    _check_outputs(output, first_frame)
    system, frames, total = read_inputs(inputs)
    mapper = Backmapper(system, read_model(model, channels), settings or Settings(), best_device(device))
    system_layout(system, mapper.model.channels)
    tally = Tally(system, expected_handedness(system, inputs.reference, conformers=system.conformers))
    begin = time.monotonic()
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(output, system.topology))
        single = stack.enter_context(open_writer(first_frame, system.topology)) if first_frame else None
        bar = tqdm(total=total, unit="frame", disable=True if quiet else None, bar_format=BAR)
        stack.enter_context(bar)
        for beads, atoms in mapper(frames, generate=generate):
            writer.write(atoms)
            if single is not None and not single.frames:
                single.write(atoms)
            tally.add(atoms, beads)
            bar.update()
            bar.set_postfix_str(f"{60 * writer.frames / (time.monotonic() - begin):.3g} frames/min")
    return tally.report(seconds=time.monotonic() - begin)


def _check_outputs(output: Path, first_frame: Path | None) -> None:
    """Refuse a first frame that is no ``.gro`` or would be the output itself."""
    if first_frame is None:
        return
    if first_frame.suffix != ".gro":
        raise InputError("the first frame (-c) is written as .gro only", path=first_frame)
    if first_frame.resolve() == output.resolve():
        raise InputError("the same file for all frames (-o) and the first one (-c)", path=output)


BAR = "{n_fmt}/{total_fmt} frames |{bar}| {postfix} {elapsed}<{remaining}"

"""The main job: beads in, atoms out.

A :class:`Backmapper` turns frames of beads into frames of atoms; :func:`backmap` does so from file to
file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dbm_gmx.chemistry.array_types import Float32Array
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Chirality, infer_chirality
from dbm_gmx.chemistry.system import System, whole_beads
from dbm_gmx.commands.summary import Refinement, Report, Tally
from dbm_gmx.errors import InputError
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.system import read_inputs
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.network.arrays import system_layout
from dbm_gmx.network.bond_lengths import find_bonds
from dbm_gmx.network.environment import make_scene
from dbm_gmx.network.model import (
    Model,
    best_device,
    best_dtype,
    build_generator,
    network_generator,
    read_model,
)
from dbm_gmx.network.placement import Generate, reconstruct
from dbm_gmx.network.scoring import Judge
from dbm_gmx.options import ASSUMED, BONDS, MODEL, REFINEMENTS, STARTS, Conditions, Inputs, Settings
from dbm_gmx.parallel import Job, side_by_side
from dbm_gmx.sampling.chain import Convergence
from dbm_gmx.sampling.sampler import Sampler, make_sampler

log = logging.getLogger(__name__)


IN_HAND = 30_000
"""Atoms the network works on together: enough to keep large machines busy, few enough for small ones."""


SMALL = 20_000
"""Atoms below which several frames are sampled side by side rather than one on all threads."""


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A frame on its way from beads to atoms.

    Attributes
    ----------
    beads
        Whole.
    sample
        Number of the independent repeat, from 0.
    positions
        (n, 3) nm, whole; ``None`` as long as there are none.
    refinement
        What the sampler did.
    """

    beads: Frame
    sample: int = 0
    positions: Float32Array | None = None
    refinement: Refinement = field(default_factory=Refinement)

    @property
    def atoms(self) -> Frame:
        """The frame of atoms."""
        if self.positions is None:
            raise ValueError("not rebuilt yet")
        return replace(self.beads, positions=self.positions)


@dataclass(frozen=True, eq=False)
class Backmapper:
    """A system and what is needed to rebuild its frames.

    Attributes
    ----------
    system
        Beads and atoms.
    settings
        What is done: start, refinement, samples, seed.
    model
        The generator and its representation, where the settings need it.
    sampler
        Grows and refines in the force field, where the settings need it.
    conditions
        Those of the sampler.
    chirality
        What is expected of the stereocentres; where nothing is, the first frame decides for the others.
    workers
        Frames sampled side by side; no influence on the result.
    device
        Where the tensors of the network live.
    """

    system: System
    settings: Settings
    model: Model | None = None
    sampler: Sampler | None = None
    conditions: Conditions = field(default_factory=Conditions)
    chirality: Chirality = field(default_factory=dict)
    workers: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __call__(self, frames: Iterable[Frame], *, generate: Generate | None = None) -> Iterator[Rebuilt]:
        """Rebuild frames, several at a time.

        Parameters
        ----------
        frames
            Beads.
        generate
            Used instead of the model's network.

        Yields
        ------
        Frame by frame in order, and of each frame all samples.
        """
        settings = self.settings
        rebuilt = self._begin(frames)
        if not settings.grows:
            rebuilt = self._generated(rebuilt, generate)
        if settings.uses_sampler:
            rebuilt = self._sampled(rebuilt)
        if settings.grows and settings.uses_network:
            rebuilt = self._generated(rebuilt, generate)
        return rebuilt

    def _begin(self, frames: Iterable[Frame]) -> Iterator[Rebuilt]:
        """Yield whole beads, once for each sample."""
        for frame in frames:
            beads = replace(frame, positions=whole_beads(self.system, frame))
            for sample in range(self.settings.samples):
                yield Rebuilt(beads, sample)

    def _generated(self, rebuilt: Iterable[Rebuilt], generate: Generate | None) -> Iterator[Rebuilt]:
        """Place the atoms by the network, or sweep those there are."""
        if self.model is None:
            raise ValueError("the settings need a model")
        grid, settings = self.model.grid, self.settings
        layout, table = system_layout(self.system, self.model.channels)
        if generate is None:
            network = build_generator(self.model)
            dtype = best_dtype(self.device)
            generate = network_generator(network, table, grid, device=self.device, dtype=dtype)
        bonds = None
        if settings.bonds == "fixed":
            bonds = find_bonds(self.system, self.conditions.constraints, device=self.device)
        for batch in _batches(rebuilt, max(1, IN_HAND // self.system.n_atoms)):
            scene = make_scene(
                layout,
                [one.beads.positions for one in batch],
                [one.beads.box for one in batch],
                grid=grid,
                replicas=min(2, settings.orientations),
                device=self.device,
            )
            judge = None
            if settings.orientations > 1:
                judge = Judge(
                    self.system, scene.layout, grid=grid, batch=settings.batch, chirality=self.chirality
                )
            start = [one.positions for one in batch if one.positions is not None]
            atoms = reconstruct(
                scene,
                [one.beads.index for one in batch],
                samples=[one.sample for one in batch],
                start=torch.from_numpy(np.concatenate(start)).to(self.device) if start else None,
                generate=generate,
                noise=self.model.shape.noise,
                amplitude=self.model.amplitude,
                grid=grid,
                settings=settings,
                judge=judge,
                invert_wrong=judge.invert_wrong if judge is not None else None,
                bonds=bonds,
            )
            split = atoms.cpu().numpy().reshape(len(batch), -1, 3)
            for one, positions in zip(batch, split, strict=True):
                yield replace(one, positions=positions)

    def _sampled(self, rebuilt: Iterator[Rebuilt]) -> Iterator[Rebuilt]:
        """Grow atoms, or take those there are, and refine."""
        sampler = self.sampler
        if sampler is None:
            raise ValueError("the settings need a sampler")
        if any((chirality == 0).any() for chirality in self.chirality.values()):
            for one in rebuilt:
                first = self._sample(sampler, one)
                yield first
                inferred = infer_chirality(self.system, first.atoms.positions, self.chirality)
                sampler = replace(sampler, chirality=inferred)
                break
        chosen = sampler
        if self.workers == 1:
            yield from (self._sample(chosen, one) for one in rebuilt)
            return
        work = side_by_side(partial(self._sample, chosen), rebuilt, self.workers)
        with closing(work) as results:
            yield from results

    def _sample(self, sampler: Sampler, one: Rebuilt) -> Rebuilt:
        positions, convergence = sampler(one.beads, start=one.positions, sample=one.sample)
        return replace(one, positions=positions, refinement=self._said(convergence, one.beads.time))

    def _said(self, convergence: Convergence, time: float) -> Refinement:
        """What there is to report."""
        said = Refinement(self.conditions.thermostat, regrown=convergence.regrown)
        if self.settings.refine != "exact":
            return said
        return replace(
            said,
            frames=1,
            sweeps=len(convergence.energies) - 1,
            unsettled=() if convergence.converged else (time,),
            acceptance={kind: (fraction, 1) for kind, fraction in convergence.acceptance.items()},
        )


def _batches(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Yield so many at a time; those before a damaged one come before the error it raises."""
    batch: list[Job] = []
    try:
        for job in jobs:
            batch.append(job)
            if len(batch) == size:
                yield batch
                batch = []
    except InputError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def make_backmapper(
    system: System,
    *,
    settings: Settings,
    conditions: Conditions | None = None,
    chirality: Chirality | None = None,
    model: str | Path = MODEL,
    channels: Path | None = None,
    device: str | None = None,
    frames: int | None = None,
) -> Backmapper:
    """Set up what the settings need, and nothing else.

    Parameters
    ----------
    system
        The system.
    settings, conditions
        Without conditions 300 K are assumed, which a warning says.
    chirality
        What is expected of the stereocentres.
    model, channels, device
        As for :func:`backmap`.
    frames
        How many will be rebuilt, where that is known.

    Raises
    ------
    InputError
        Settings that contradict each other, a model that does not know the system, a force field that
        cannot be sampled.
    """
    _check_settings(settings)
    conditions = conditions or Conditions(source=ASSUMED)
    mapper = Backmapper(system, settings, conditions=conditions, chirality=chirality or {})
    if settings.uses_network:
        chosen = read_model(model, channels)
        system_layout(system, chosen.channels)
        mapper = replace(mapper, model=chosen, device=best_device(device))
    if settings.uses_sampler:
        if conditions.source == ASSUMED:
            log.warning(
                "no temperature is given (-t, or ref-t in --mdp): %g K assumed", conditions.temperature
            )
        threads = torch.get_num_threads()
        few = frames is not None and frames * settings.samples < threads
        together = few or system.n_atoms >= SMALL
        sampler = make_sampler(
            system, conditions, settings, mapper.chirality, threads=threads if together else 1
        )
        mapper = replace(mapper, sampler=sampler, workers=1 if together else threads)
    return mapper


def _check_settings(settings: Settings) -> None:
    """Refuse what does not exist or would have no effect."""
    if settings.refine not in REFINEMENTS:
        raise InputError(f"no refinement {settings.refine!r}; there are {', '.join(REFINEMENTS)}")
    if settings.start not in (None, *STARTS):
        raise InputError(f"no start {settings.start!r}; there are {', '.join(STARTS)}")
    if settings.bonds not in BONDS:
        raise InputError(f"no bonds {settings.bonds!r}; there are {', '.join(BONDS)}")
    if settings.refine == "none" and settings.sweeps:
        raise InputError("sweeps need a refinement: gibbs or exact")
    if settings.orientations > 1 and not settings.uses_network:
        raise InputError(
            "orientations are those of the network: refine with gibbs, or start from the network"
        )


def backmap(
    inputs: Inputs,
    output: Path,
    *,
    first_frame: Path | None = None,
    model: str | Path = MODEL,
    channels: Path | None = None,
    settings: Settings | None = None,
    conditions: Conditions | None = None,
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
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``.  Of several samples each gets a file of its own:
        ``aa_1.xtc``, ``aa_2.xtc`` and so on for ``aa.xtc``.
    first_frame
        A ``.gro`` of the first frame; of several samples as for ``output``.
    model, channels
        Model by name or path, and a channel file that overrides its channels.  Not read where the
        settings need no network.
    settings
        Start, refinement, samples, seed.
    conditions
        The ensemble the atoms are to belong to.
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
    settings = settings or Settings()
    outputs, firsts = _check_outputs(output, first_frame, settings.samples)
    system, frames, total = read_inputs(inputs)
    chirality = reference_chirality(system, inputs.reference, conformers=system.conformers)
    mapper = make_backmapper(
        system,
        settings=settings,
        conditions=conditions,
        chirality=chirality,
        model=model,
        channels=channels,
        device=device,
        frames=total,
    )
    tally = Tally(system, chirality)
    begin = time.monotonic()
    with ExitStack() as stack:
        writers = [stack.enter_context(open_writer(path, system.topology)) for path in outputs]
        singles = [stack.enter_context(open_writer(path, system.topology)) for path in firsts]
        whole = None if total is None else total * settings.samples
        bar = tqdm(total=whole, unit="frame", disable=True if quiet else None, bar_format=BAR)
        stack.enter_context(bar)
        for one in mapper(frames, generate=generate):
            writers[one.sample].write(one.atoms)
            if singles and not singles[one.sample].frames:
                singles[one.sample].write(one.atoms)
            tally.add(one.atoms, one.beads, one.refinement)
            bar.update()
            done = sum(writer.frames for writer in writers)
            bar.set_postfix_str(f"{60 * done / (time.monotonic() - begin):.3g} frames/min")
    return tally.report(seconds=time.monotonic() - begin)


def _check_outputs(output: Path, first_frame: Path | None, samples: int) -> tuple[list[Path], list[Path]]:
    """Return the files of all samples and of their first frames, which must all be different."""
    outputs = sample_paths(output, samples)
    if first_frame is None:
        return outputs, []
    if first_frame.suffix != ".gro":
        raise InputError("the first frame (-c) is written as .gro only", path=first_frame)
    firsts = sample_paths(first_frame, samples)
    same = {path.resolve() for path in outputs} & {path.resolve() for path in firsts}
    if same:
        raise InputError("the same file for all frames (-o) and the first one (-c)", path=min(same))
    return outputs, firsts


def sample_paths(path: Path, samples: int) -> list[Path]:
    """The path itself for a single sample, else ``name_1.xtc``, ``name_2.xtc`` and so on."""
    if samples == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{k}{path.suffix}") for k in range(1, samples + 1)]


BAR = "{n_fmt}/{total_fmt} frames |{bar}| {postfix} {elapsed}<{remaining}"

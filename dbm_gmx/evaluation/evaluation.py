"""The whole evaluation: files in, everything that is known about the candidates out."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import lattice_of
from dbm_gmx.chemistry.stereo import Chirality, infer_chirality
from dbm_gmx.chemistry.system import System, atomistic_system
from dbm_gmx.chemistry.topology import Topology, blocks
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.chemistry.winding import with_whole_atoms
from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.compare import REFERENCE, Score, energy_difference, floor_frames, scored
from dbm_gmx.evaluation.distributions import Expected, TermClass, expected_distributions
from dbm_gmx.evaluation.measure import Aims, Measured, measure
from dbm_gmx.evaluation.rules import Verdict, differing_names, verdict
from dbm_gmx.evaluation.unusual import unusual_bonds
from dbm_gmx.files.conformers import given_chirality, with_usual
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.structure import compare_names, in_order, structure_frames
from dbm_gmx.files.system import OF_BEADS, BeadFrames, is_of_beads, read_inputs
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.equilibrium import EnergyDifference
from dbm_gmx.options import Conditions, EvaluateInputs, Inputs
from dbm_gmx.parallel import Workers, side_by_side
from dbm_gmx.progress import Progress

if TYPE_CHECKING:
    from dbm_gmx.evaluation.classifier import TwoSamples
    from dbm_gmx.evaluation.conformations import Conformations

log = logging.getLogger(__name__)

CONFORMATIONS, CLASSIFIER = "conformations", "classifier"

SLOW = {CONFORMATIONS: ("dscribe", "sklearn"), CLASSIFIER: ("sklearn",)}
"""Parts that take longest, and what each needs of the extra ``report``."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Frames of one file and what was measured in them.

    Attributes
    ----------
    label
        What it is called.
    path
        Its file.
    frames
        Molecules whole.
    measured
        Of each frame.
    verdict
        On the hard rules.
    notes
        What is to be said of it.
    """

    label: str
    path: Path
    frames: tuple[Frame, ...]
    measured: tuple[Measured, ...]
    verdict: Verdict
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that is known.

    Attributes
    ----------
    system, conditions
        What was evaluated, at which temperature and cut-offs.
    reference
        ``None`` where there is none.
    candidates
        In the order given; those whose atoms are not of the topology have no frames.
    scores
        By candidate, then by group and name, see :data:`~dbm_gmx.evaluation.compare.METRICS`.
    floor
        Frames of the two parts of the reference that the floor was measured between.
    expected
        What the terms alone would make of the distributions.
    conformations
        The conformational space; ``None`` where it was left out.
    differences
        Energies of each candidate less those of the reference, by its label.
    two_samples
        Whether a classifier tells candidates from the reference; ``None`` where that was left out.
    notes
        What the reader should know.
    """

    system: System
    conditions: Conditions
    reference: Trajectory | None
    candidates: tuple[Trajectory, ...]
    scores: Mapping[str, Mapping[tuple[str, str], Score]]
    floor: tuple[int, int]
    expected: Mapping[TermClass, Expected]
    conformations: Conformations | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)
    differences: Mapping[str, EnergyDifference] = field(default_factory=dict)
    two_samples: TwoSamples | None = None

    @property
    def everything(self) -> tuple[Trajectory, ...]:
        """All trajectories with frames, the reference first."""
        first = (self.reference,) if self.reference else ()
        return (*first, *(c for c in self.candidates if c.frames))

    @property
    def broken(self) -> dict[str, tuple[str, ...]]:
        """Hard rules that candidates break, by their labels."""
        return {c.label: c.verdict.broken for c in self.candidates if c.verdict.broken}

    @property
    def words(self) -> tuple[str, ...]:
        """How these are broken, by candidate."""
        return tuple(f"{c.label}: {c.verdict.words()}" for c in self.candidates if c.verdict.broken)


@dataclass(frozen=True, eq=False)
class Setup:
    """How every trajectory is read and measured.

    Attributes
    ----------
    inputs, system, conditions
        The files, what they are of, and temperature and cut-offs.
    beads
        Of the candidates, frame by frame; ``None`` without beads.
    workers, quiet
        Who measures frames; no progress shown.
    """

    inputs: EvaluateInputs
    system: System
    conditions: Conditions
    beads: Sequence[Frame] | None
    workers: int | Workers
    quiet: bool


def evaluate(
    inputs: EvaluateInputs,
    *,
    conditions: Conditions | None = None,
    slow: Collection[str] = tuple(SLOW),
    seed: int = 1,
    workers: int | Workers = 1,
    quiet: bool = True,
) -> Evaluation:
    """Evaluate candidates, against a reference if there is one.

    Parameters
    ----------
    inputs
        The files.
    conditions
        Temperature and cut-offs.
    slow
        Those of :data:`SLOW` that are done; they need the extra ``report``.
    seed
        Of the error bars, the floor, the conformational space and the classifier.
    workers
        Who measures frames; a number is one of threads.
    quiet
        Show no progress.

    Raises
    ------
    InputError
        If files cannot be read.
    """
    conditions, labels = conditions or Conditions(), candidate_labels(inputs)
    system, beads = evaluated_system(inputs)
    setup = Setup(inputs, system, conditions, None if beads is None else list(beads), workers, quiet)
    reference, known, notes = _reference(setup)
    candidates = tuple(
        _candidate(setup, label, path, known, usual=reference is None)
        for label, path in zip(labels, inputs.trajectories, strict=True)
    )
    kept = [c for c in candidates if c.frames]
    notes += [f"{c.label}: {note}" for c in kept for note in c.notes]
    expected = known if reference is not None else with_usual(system, known)
    if any((signs == 0).any() for signs in expected.values()):
        notes.append(
            "where the state of a stereocentre or of a bond that does not turn is unknown, each candidate's "
            "first frame decides"
        )
    if setup.beads is not None:
        notes += [_bead_note(c) for c in kept if any(not len(m.deviation) for m in c.measured)]
    if reference is not None:
        notes += _floor_notes(reference, kept)
    evaluation = Evaluation(
        system,
        conditions,
        reference,
        candidates,
        {c.label: scored(reference.measured, c.measured, seed=seed) for c in kept} if reference else {},
        floor_frames(len(reference.frames), _most(kept)) if reference else (0, 0),
        expected_distributions(system, conditions),
        notes=tuple(notes),
        differences={c.label: _difference(setup, reference, c) for c in kept} if reference else {},
    )
    evaluation = _with_conformations(evaluation, seed) if CONFORMATIONS in slow else evaluation
    return _with_two_samples(evaluation, seed) if CLASSIFIER in slow else evaluation


def _difference(setup: Setup, reference: Trajectory, candidate: Trajectory) -> EnergyDifference:
    """Energies of a candidate less those of the reference, kT per atom; sites without mass are none."""
    atoms = sum(
        count * int((moltype.masses > 0).sum()) for moltype, _, count in blocks(setup.system.topology)
    )
    kt = GAS * setup.conditions.temperature
    return energy_difference(reference.measured, candidate.measured, atoms=atoms, kt=kt)


def _most(trajectories: Sequence[Trajectory]) -> int:
    """Largest number of frames."""
    return max((len(t.frames) for t in trajectories), default=0)


def _reference(setup: Setup) -> tuple[Trajectory | None, Chirality, list[str]]:
    """Read the reference, if there is one, and what is known of the states of stereo elements."""
    path, system = setup.inputs.reference, setup.system
    if path is None:
        return None, given_chirality(system), []
    if _is_conformer(path, system):
        note = f"{path.name} says which chirality the stereocentres should have, nothing else"
        return None, given_chirality(system, path, reorder=setup.inputs.reorder), [note]
    compare_names(system.written, path, reorder=setup.inputs.reorder)
    reference = _measured(setup, REFERENCE, path, {}, usual=False)
    return (
        reference,
        infer_chirality(system, reference.frames[0].positions, {}, lattice_of(reference.frames[0])),
        [],
    )


def _candidate(setup: Setup, label: str, path: Path, known: Chirality, *, usual: bool) -> Trajectory:
    """Read a candidate, unless its atoms are not those of the topology."""
    differing = "" if setup.inputs.reorder else _differing(setup.system.written, path)
    if differing:
        return Trajectory(label, path, (), (), Verdict(differing=differing, limits=setup.inputs.limits))
    return _measured(setup, label, path, known, usual=usual)


def candidate_labels(inputs: EvaluateInputs) -> tuple[str, ...]:
    """Labels of the candidates: those given, else the names of their files.

    Raises
    ------
    InputError
        Another number than that of the trajectories, the same twice, that of the reference, or an empty one.
    """
    paths = inputs.trajectories
    labels = inputs.labels or tuple(path.stem for path in paths)
    if not inputs.labels and len(set(labels)) < len(labels):
        labels = tuple(path.name for path in paths)
    if not inputs.labels and len(set(labels)) < len(labels):
        labels = tuple(f"{path.resolve().parent.name}/{path.stem}" for path in paths)
    if len(labels) != len(paths):
        raise InputError(f"{len(labels)} labels (--labels) for {len(paths)} trajectories (-f)")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice or REFERENCE in labels or not all(label.strip() for label in labels):
        raise InputError(
            f"candidates need labels (--labels) of their own, not empty and other than {REFERENCE!r}; "
            f"found {', '.join(labels)}"
        )
    return labels


def evaluated_system(inputs: EvaluateInputs) -> tuple[System, BeadFrames | None]:
    """Read the system, and the beads if there are some; without mapping files a molecule is a single bead."""
    if not inputs.cg:
        if inputs.cg_topology is not None:
            text = "a topology of beads (-cp) without beads: give them (--cg)"
            raise InputError(text, path=inputs.cg_topology)
        topology = read_topology(
            inputs.topology, defines=inputs.defines, include=inputs.include, counted=True
        )
        mappings = read_mappings(inputs.mappings, topology) if inputs.mappings else {}
        return atomistic_system(topology, mappings), None
    if not inputs.mappings:
        raise InputError("beads (--cg) without a mapping: give it (-m)", path=inputs.cg[0])
    structure, trajectory = _structure_and_frames(inputs)
    return read_inputs(
        Inputs(
            structure=structure,
            trajectory=trajectory,
            cg_topology=inputs.cg_topology,
            topology=inputs.topology,
            mappings=inputs.mappings,
            begin=inputs.begin if trajectory else None,
            end=inputs.end if trajectory else None,
            defines=inputs.defines,
            include=inputs.include,
            aliases=inputs.aliases,
            only=inputs.only,
            leave_out=inputs.leave_out,
            reorder=inputs.reorder,
            index=inputs.index,
        )
    )


def _is_conformer(path: Path, system: System) -> bool:
    """Whether a structure is of fewer atoms than the system: one molecule that stands for its type."""
    if path.suffix not in (".gro", ".pdb"):
        return False
    return len(next(structure_frames(path)).positions) != system.n_atoms


def _differing(topology: Topology, path: Path) -> str:
    """Say what of a candidate is not as in the topology."""
    try:
        read_frames(path, n_atoms=topology.n_atoms).close()  # type: ignore[attr-defined]
    except InputError as error:
        if "are expected" in error.message and is_of_beads(topology):
            said = f"{OF_BEADS} evaluate judges atoms: give their topology (-p)"
            raise InputError(said, path=topology.path) from error
        if "are expected" in error.message:
            return error.message
        raise
    return differing_names(topology, path)


def _structure_and_frames(inputs: EvaluateInputs) -> tuple[Path, Path | None]:
    """The structure of the beads and their trajectory, if there is one; a ``.top`` is neither.

    Raises
    ------
    InputError
        If there are more files.
    """
    structure, *more = inputs.cg
    if any(path.suffix in (".top", ".itp") for path in inputs.cg):
        raise InputError("a topology of beads is given with -cp", path=inputs.cg[0])
    if len(more) > 1:
        raise InputError(f"beads (--cg) are a structure and a trajectory, found {len(inputs.cg)} files")
    return structure, more[0] if more else None


def _measured(setup: Setup, label: str, path: Path, known: Chirality, *, usual: bool) -> Trajectory:
    """Read a trajectory and measure its frames.

    The first frame says the chirality of stereocentres of which none is expected, and which of the bonds that
    nothing defines are not as usual (:func:`~dbm_gmx.evaluation.unusual.unusual_bonds`).

    Parameters
    ----------
    known
        States that something defines.
    usual
        Whether bonds that nothing defines are expected in their usual state.
    """
    system, inputs = setup.system, setup.inputs
    order = compare_names(system.written, path, reorder=True) if inputs.reorder else None
    times = {"begin": inputs.begin, "end": inputs.end, "dt": inputs.dt}
    frames = tuple(
        with_whole_atoms(system, frame)
        for frame in in_order(read_frames(path, n_atoms=system.n_atoms, **times), order)
    )
    notes: tuple[str, ...] = ()
    if usual:
        known, notes = _with_usual(setup, frames[0], known)
    chirality = infer_chirality(system, frames[0].positions, known, lattice_of(frames[0]))
    one = MeasureOne(system, setup.conditions, Aims(chirality, inputs.limits))
    pairs = ((frame, _at(setup.beads, frame.time)) for frame in frames)
    measured = []
    with Progress(len(frames), quiet=setup.quiet, label=label) as progress:
        for found in side_by_side(one, pairs, setup.workers):
            measured.append(found)
            progress.update()
    return Trajectory(label, path, frames, tuple(measured), verdict(measured, inputs.limits), notes)


def _with_usual(setup: Setup, first: Frame, known: Chirality) -> tuple[Chirality, tuple[str, ...]]:
    """What is known, then usual states, or those of the first frame where few of them are not usual."""
    system, kelvin = setup.system, setup.conditions.temperature
    unusual, notes = unusual_bonds(system, first.positions, known, kelvin, lattice_of(first))
    found = {name: np.where(signs != 0, signs, known[name]) for name, signs in unusual.items()}
    return with_usual(system, {**known, **found}), notes


@dataclass(frozen=True, eq=False)
class MeasureOne:
    """What is done with each frame of a trajectory.

    Attributes
    ----------
    system, conditions, aims
        As for :func:`~dbm_gmx.evaluation.measure.measure`.
    """

    system: System
    conditions: Conditions
    aims: Aims

    def __call__(self, pair: tuple[Frame, Frame | None]) -> Measured:
        """Measure a frame, beside its beads if there are any."""
        frame, beads = pair
        return measure(self.system, frame, self.conditions, self.aims, beads=beads)


def _at(beads: Sequence[Frame] | None, time: float) -> Frame | None:
    """The beads of a time."""
    return next((b for b in beads or () if abs(b.time - time) <= 1e-5 * max(1.0, abs(time))), None)


def _floor_notes(reference: Trajectory, candidates: Sequence[Trajectory]) -> list[str]:
    """Say where the floor is measured with fewer frames than there are."""
    n, most = len(reference.frames), _most(candidates)
    if n < 2:
        return ["the reference is a single frame: there is no floor"]
    if most <= n // 2:
        return []
    rest, part = floor_frames(n, most)
    return [
        f"the floor compares {rest} frames of the reference with {part} others, as there are no more: "
        f"with {most} others it would be lower, and candidates can be below it"
    ]


def _bead_note(candidate: Trajectory) -> str:
    lost = sum(not len(m.deviation) for m in candidate.measured)
    return f"{candidate.label}: {lost} frames are at times of which there are no beads (--cg)"


def _with_conformations(evaluation: Evaluation, seed: int) -> Evaluation:
    """Add the conformational space, or say why not."""
    reference, notes = evaluation.reference, list(evaluation.notes)
    if reference is None:
        return evaluation
    if said := _missing(CONFORMATIONS, "the conformational space"):
        return replace(evaluation, notes=(*notes, said))
    from dbm_gmx.evaluation.conformations import conformations

    candidates = {c.label: c.frames for c in evaluation.candidates if c.frames}
    try:
        found = conformations(evaluation.system.topology, reference.frames, candidates, seed=seed)
    except InputError as error:
        notes.append(f"without the conformational space: {error}")
        return replace(evaluation, notes=tuple(notes))
    return replace(evaluation, conformations=found, notes=tuple(notes))


def _missing(part: str, called: str) -> str:
    """Say that a part is left out as something is not installed; nothing where all is."""
    missing = [name for name in SLOW[part] if importlib.util.find_spec(name) is None]
    if not missing:
        return ""
    return f"without {called}, as {' and '.join(missing)} is not installed: pip install 'dbm-gmx[report]'"


def _with_two_samples(evaluation: Evaluation, seed: int) -> Evaluation:
    """Add the classifier's test, or say why not."""
    reference = evaluation.reference
    if reference is None:
        return evaluation
    if said := _missing(CLASSIFIER, "the classifier"):
        return replace(evaluation, notes=(*evaluation.notes, said))
    from dbm_gmx.evaluation.classifier import two_samples

    candidates = {c.label: c.frames for c in evaluation.candidates if c.frames}
    topology, constraints = evaluation.system.topology, evaluation.conditions.constraints
    found = two_samples(topology, constraints, reference.frames, candidates, seed=seed)
    return replace(evaluation, two_samples=found, notes=(*evaluation.notes, *found.notes))

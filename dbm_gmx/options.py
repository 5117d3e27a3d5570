"""What a user can choose, in plain records that cost nothing to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODEL = "transferred"
"""The model that is used if none is named."""

REFINEMENTS = ("none", "gibbs", "exact")
STARTS = ("growth", "network")
TACTICITIES = ("atactic", "isotactic", "syndiotactic")
CONSTRAINTS = ("none", "h-bonds", "all-bonds")

NARROW = 0.003
"""Width of the bead restraints if nothing asks for more, nm."""

TOLERANCE = 0.03
"""Difference in energy that counts as none, kT per atom."""

ASSUMED = "assumed"
"""Source of a temperature nobody has given."""


@dataclass(frozen=True)
class MoleculeFiles:
    """The files that say which atoms the beads stand for.

    Attributes
    ----------
    topology, mappings
        Atomistic ``.top`` and mapping files; both from the library of molecules if neither is given.
    owners
        Owners files.
    defines, include
        For the preprocessor of the ``.top``, as in an ``.mdp`` (``-D`` names and folders).
    """

    topology: str | Path | None = None
    mappings: Sequence[str | Path] = ()
    owners: Sequence[str | Path] = ()
    defines: Sequence[str] = ()
    include: Sequence[str | Path] = ()

    @property
    def none_given(self) -> bool:
        """Whether the molecules are those of the library."""
        return self.topology is None and not self.mappings


@dataclass(frozen=True)
class Inputs:
    """The files that say what is to be rebuilt.

    Attributes
    ----------
    structure
        CG ``.tpr``, or ``.gro``/``.pdb`` with ``cg_topology``.
    trajectory
        CG trajectory; without one the frame in ``structure`` is rebuilt.
    cg_topology
        CG ``.top`` or ``.itp``.
    topology, mappings, owners
        Atomistic ``.top``, mapping files and owners files; from the library of molecules if none is
        given.
    reference
        A conformer or system that defines the chirality of stereocentres.
    tacticity
        What becomes of stereocentres that neither input nor beads decide: one of :data:`TACTICITIES`, or a
        file like ``reference``.
    begin, end, dt
        ps, frames to take, as in ``gmx trjconv``.
    defines, include
        For the preprocessor of the ``.top``.
    """

    structure: Path
    trajectory: Path | None = None
    cg_topology: Path | None = None
    topology: Path | None = None
    mappings: tuple[Path, ...] = ()
    owners: tuple[Path, ...] = ()
    reference: Path | None = None
    tacticity: str | Path | None = None
    begin: float | None = None
    end: float | None = None
    dt: float | None = None
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()

    @property
    def molecules(self) -> MoleculeFiles:
        """Those that say which atoms the beads stand for."""
        return MoleculeFiles(self.topology, self.mappings, self.owners, self.defines, self.include)

    @property
    def selects(self) -> bool:
        """Whether frames are selected by their times."""
        return (self.begin, self.end, self.dt) != (None, None, None)


@dataclass(frozen=True)
class AtomInputs:
    """The files that say what the atoms are and where.

    Attributes
    ----------
    structure
        Atomistic ``.tpr``, or ``.gro``/``.pdb`` together with ``topology``.
    topology
        Atomistic ``.top``; goes before the molecules of a ``.tpr``.
    trajectory
        Atomistic trajectory; without one the frame in ``structure`` is used.
    mappings
        Mapping files; from the library of molecules if none is given.
    begin, end, dt
        ps, frames to take, as in ``gmx trjconv``.
    defines, include
        For the preprocessor of the ``.top``.
    """

    structure: Path | None = None
    topology: Path | None = None
    trajectory: Path | None = None
    mappings: tuple[Path, ...] = ()
    begin: float | None = None
    end: float | None = None
    dt: float | None = None
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether frames are selected by their times."""
        return (self.begin, self.end, self.dt) != (None, None, None)


@dataclass(frozen=True)
class EvaluateInputs:
    """The files of an evaluation.

    Attributes
    ----------
    topology
        Atomistic ``.top``.
    trajectories, labels
        Candidates, and what they are called; their file names if not given.
    reference
        Atomistic trajectory to compare with, or a conformer that only says the chirality of stereocentres.
    cg
        Structure and trajectory of the beads the candidates were made for.
    mappings
        Mapping files.
    begin, end, dt
        ps, frames to take of all trajectories, as in ``gmx trjconv``.
    defines, include
        For the preprocessor of the ``.top``.
    """

    topology: Path
    trajectories: tuple[Path, ...]
    labels: tuple[str, ...] = ()
    reference: Path | None = None
    cg: tuple[Path, Path] | None = None
    mappings: tuple[Path, ...] = ()
    begin: float | None = None
    end: float | None = None
    dt: float | None = None
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """The ensemble the atoms are to belong to: temperature and cut-offs of the user's own runs.

    Attributes
    ----------
    temperature
        K.
    rvdw, rcoulomb
        Cut-offs of Lennard-Jones and of electrostatics, nm.
    rvdw_switch
        Distance from which the force of Lennard-Jones is switched, nm; with ``None`` its potential is
        shifted.
    epsilon_r, epsilon_rf
        Relative permittivity within the cut-off, and beyond it with a reaction field (0 is infinity, as in
        GROMACS).  ``None`` is the sum over the periodic lattice (PME), for which the zero-quadrupole form of
        :func:`~dbm_gmx.forcefield.nonbonded.zero_quadrupole` stands.
    constraints
        Bonds of fixed length, as in an ``.mdp``: ``none``, ``h-bonds`` or ``all-bonds``.
    spread
        Standard deviation along each axis of the mapped centres about their beads, nm; ``None`` for the
        width at which atoms are not strained, :data:`NARROW` or more.
    source
        Who says the temperature: an option, a file, or :data:`ASSUMED`.
    """

    temperature: float = 300.0
    rvdw: float = 1.0
    rcoulomb: float = 1.0
    rvdw_switch: float | None = None
    epsilon_r: float = 1.0
    epsilon_rf: float | None = None
    constraints: str = "all-bonds"
    spread: float | None = None
    source: str = "given"

    @property
    def width(self) -> float:
        """The spread, nm; the least where none is given."""
        return NARROW if self.spread is None else self.spread

    @property
    def thermostat(self) -> str:
        """The temperature and who says it."""
        return f"{self.temperature:g} K ({self.source})"


@dataclass(frozen=True)
class Settings:
    """How to reconstruct.

    Attributes
    ----------
    refine
        ``none``; ``gibbs``, the paper's sweeps of the network; ``exact``, the sampler of the force
        field's distribution.
    start
        Where the atoms come from first: ``growth`` from the force field, or the ``network``.  ``None`` is
        growth for ``exact`` and the network otherwise.
    sweeps
        Refinement passes after the start: exactly so many (``gibbs``), at most so many (``exact``).
        ``None`` is the paper's four, and what the sampler needs up to its limit.
    annealing
        Steps in which a frame is annealed; ``None`` for as many as its energy asks for.
    windows
        Sweeps in which windows of molecules are annealed one by one, before all others; ``None`` for as many
        as the energy asks for.
    tolerance
        kT per atom: what the energy may still change by, of a frame that counts as converged.
    check
        Whether the first frame, and later ones now and then, are begun anew, to see that both ways end alike.
    memory
        Whether frames may be made of what is remembered of others, where that ends no higher.
    memory_file
        What is remembered of another run: read if it exists, or ships under that name, else written.
    samples
        Independent reconstructions of each frame.
    orientations
        Orientations of the local frame the network tries at most for each bead: more than one where the
        energy is an outlier for beads of its type.
    guided
        Whether what the force field and the beads say of the place of an atom guides the network's draws;
        else they are as they come, as in the paper.
    seed
        Of all random numbers, together with the index of the frame and of the sample.
    batch
        Environments held in memory at once; the result does not depend on it.
    """

    refine: str = "exact"
    start: str | None = None
    sweeps: int | None = None
    annealing: int | None = None
    windows: int | None = None
    tolerance: float = TOLERANCE
    check: bool = True
    memory: bool = True
    memory_file: Path | None = None
    samples: int = 1
    orientations: int = 1
    guided: bool = True
    seed: int = 1
    batch: int = 1024

    @property
    def grows(self) -> bool:
        """Whether the atoms come from growth in the force field first."""
        return self.start == "growth" or (self.start is None and self.refine == "exact")

    @property
    def uses_network(self) -> bool:
        """Whether a trained model is needed."""
        return not self.grows or self.refine == "gibbs"

    @property
    def uses_sampler(self) -> bool:
        """Whether the force field and its temperature are needed."""
        return self.grows or self.refine == "exact"

    @property
    def remembers(self) -> bool:
        """Whether frames may be made of what is remembered of others."""
        return self.memory and self.grows and self.refine == "exact" and self.sweeps is None

    @property
    def network_sweeps(self) -> int:
        """Sweeps of the network: the paper's four if not said otherwise."""
        if self.refine != "gibbs":
            return 0
        return 4 if self.sweeps is None else self.sweeps


@dataclass(frozen=True)
class Method:
    """How atoms are put back: what is done, for which ensemble, with which model.

    Attributes
    ----------
    settings
        Start, refinement, samples, seed.
    conditions
        The ensemble the atoms are to belong to; 300 K are assumed, with a warning, if none is given.
    model, channels
        Model by name or path, and a channel file that overrides its channels.  Not read where the settings
        need no network.
    device
        Where the network runs, as torch names it; the fastest there is if not given.
    """

    settings: Settings = Settings()
    conditions: Conditions = Conditions(source=ASSUMED)
    model: str | Path = MODEL
    channels: Path | None = None
    device: str | None = None


@dataclass(frozen=True)
class ConvergenceCheck:
    """How a trajectory of atoms is compared with an independent reconstruction.

    Attributes
    ----------
    frames
        How many are rebuilt, evenly spread.
    tolerance
        Difference that counts as none, kT per atom.
    """

    frames: int = 2
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class RelaxSettings:
    """How atoms are relaxed with GROMACS.

    Attributes
    ----------
    mdp
        Run parameters of the user's own simulations; the force field and the temperature are taken from it.
    em_mdp, nvt_mdp
        Files in place of those that ship.
    temperature, cutoff
        K and nm, before what the files say.
    restrain, spread
        Whether the mapped centres are held to their beads, and their standard deviation along each axis, nm;
        ``None`` for that they were made with, else :data:`NARROW`.
    gmx
        Name or path of GROMACS; looked for if not given.
    jobs, threads
        Frames at a time, and threads for each of them; all processors if not given.
    timeout
        Seconds for each command.
    maxwarn
        Warnings of ``gmx grompp`` that are let pass.
    seed
        Of the velocities and the friction, together with the index of the frame.
    """

    mdp: Path | None = None
    em_mdp: Path | None = None
    nvt_mdp: Path | None = None
    temperature: float | None = None
    cutoff: float | None = None
    restrain: bool = True
    spread: float | None = None
    gmx: str | None = None
    jobs: int = 1
    threads: int | None = None
    timeout: float = 3600.0
    maxwarn: int = 0
    seed: int = 1

    @property
    def width(self) -> float:
        """The spread, nm; the least where none is given."""
        return NARROW if self.spread is None else self.spread

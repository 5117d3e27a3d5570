"""What a user can choose, in plain records that cost nothing to import."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

SHORTEST_STEP = 1e-6
"""Least time between frames that are taken, ps; no simulation has steps as short."""

LEAST, MOST = 1e-6, 1e6
"""Range of temperatures, lengths and times that users give, K, nm, ps: no simulation has others."""

ASSUMED = "assumed"
"""Source of a temperature nobody has given."""


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes
    ----------
    words
        What breaks it.
    value
        How its value in a frame is said.
    """

    words: str
    value: str = "{:.0f}"


RULES = {
    "flipped": Rule("stereocentres of the wrong chirality"),
    "undefined": Rule("stereocentres without chirality"),
    "turned": Rule("double bonds, amides and the like turned over"),
    "twisted": Rule("double bonds, amides and the like neither cis nor trans"),
    "undecided": Rule("stereocentres or bonds whose state neither the input, as -r, nor the beads define"),
    "pierced": Rule("rings that a bond goes through"),
    "contacts": Rule("bad contacts", "{:.3g} per 1,000 atoms"),
    "overlaps": Rule("atoms that overlap", "{:.3g} of the distance of a bad contact"),
    "bonds": Rule("bonds far too long or short", "{:.3g} times longer or shorter than its own length"),
    "beads": Rule("mapped atoms far off their beads", "{:.3g} widths of the restraint"),
    "stationary": Rule("frames whose energy is not stationary", ""),
    "converged": Rule("energies that are not those of an independent start", "{:.3g} kT per atom"),
}
"""In the order in which they are said."""

STEREO = ("flipped", "undefined", "turned", "twisted", "undecided")
"""Rules of stereo elements."""

INFEASIBLE = "infeasible"
"""No rule, but may be allowed: frames on whose beads no atoms can be put are rebuilt all the same."""

ADJUSTABLE = ("contacts", "overlaps", "bonds", "beads")
"""Rules whose threshold can be set."""


RULE_GROUPS = {"stereo": STEREO, "all": tuple(RULES)}
"""Names that stand for several rules."""


@dataclass(frozen=True)
class Limits:
    """The thresholds of the rules that atoms are judged by, the same in all commands.

    The defaults are such that no frame of molecular dynamics at equilibrium breaks them: see
    :mod:`dbm_gmx.chemistry.rules`.  What has no threshold here may not occur at all.

    Attributes
    ----------
    contacts
        Bad contacts in 1,000 atoms.
    overlaps
        Least distance of two atoms, over that of a bad contact between their kinds.
    bonds
        Length of a bond, over that of its term in the force field.
    beads
        Distance of mapped atoms from their bead, over the width of its restraint.
    allowed
        Rules that may be broken: this is said, and changes no exit code.  And :data:`INFEASIBLE`.
    """

    contacts: float = 1.0
    overlaps: float = 0.75
    bonds: float = 1.3
    beads: float = 10.0
    allowed: tuple[str, ...] = ()


def make_limits(thresholds: Mapping[str, float], allowed: Collection[str]) -> Limits:
    """Limits from what a user gives.

    Parameters
    ----------
    thresholds
        By rule, of :data:`ADJUSTABLE`.
    allowed
        Rules, names of :data:`RULE_GROUPS`, and :data:`INFEASIBLE`.
    """
    every = {rule for name in allowed for rule in RULE_GROUPS.get(name, (name,))}
    return Limits(**thresholds, allowed=tuple(name for name in (*RULES, INFEASIBLE) if name in every))


@dataclass(frozen=True)
class Matching:
    """What is said of how molecules of beads and of atoms go together, beside their names.

    Attributes
    ----------
    aliases
        Molecule types of beads, and what they are: a molecule type of atoms, or several molecules as
        ``4 SOL`` or ``NA 4 SOL``.
    only, leave_out
        Molecule types, of beads or atoms, that alone are taken, or that are not.
    reorder
        Whether names that are in another order than in the topology, or in the mapping, are put in order.
    solvate
        Whether water and ions that have no beads are put in.
    """

    aliases: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    reorder: bool = False
    solvate: bool = False


@dataclass(frozen=True)
class MoleculeFiles:
    """The files that say which atoms the beads stand for.

    Attributes
    ----------
    topology, mappings
        Atomistic ``.top`` and mapping files; both from the library of molecules if neither is given.
        A mapping may be one made in Python, see :mod:`dbm_gmx.files.python_mapping`.
    owners
        Owners files.
    defines, include
        For the preprocessor of the ``.top``, as in an ``.mdp`` (``-D`` names and folders).
    matching
        What goes with what, where names do not say it.
    """

    topology: str | Path | None = None
    mappings: Sequence[str | Path | Mapping[str, Any]] = ()
    owners: Sequence[str | Path] = ()
    defines: Sequence[str] = ()
    include: Sequence[str | Path] = ()
    matching: Matching = Matching()

    @property
    def none_given(self) -> bool:
        """Whether the molecules are those of the library."""
        return self.topology is None and not self.mappings


@dataclass(frozen=True)
class Preprocessor:
    """What the preprocessor of a ``.top`` is told, by an ``.mdp`` or by options.

    Attributes
    ----------
    defines
        ``NAME`` or ``NAME=value``.
    include
        Folders, searched in this order.
    """

    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()


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
    references
        Conformers, or the system, that define the chirality of stereocentres: one of each molecule type.
    tacticity
        What becomes of stereocentres that neither input nor beads decide: one of :data:`TACTICITIES`, or a
        file like ``reference``.
    begin, end, dt
        ps, frames to take, as in ``gmx trjconv``.
    defines, include
        For the preprocessor of the ``.top``.
    part
        Number of a part of the frames, and how many parts there are; all frames if not given.
    aliases, only, leave_out, reorder, solvate
        See :class:`Matching`.
    index
        Index file with the group of beads that the trajectory holds, where it holds fewer than the structure.
    """

    structure: Path
    trajectory: Path | None = None
    cg_topology: Path | None = None
    topology: Path | None = None
    mappings: tuple[Path, ...] = ()
    owners: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()
    tacticity: str | Path | None = None
    begin: float | None = None
    end: float | None = None
    dt: float | None = None
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()
    part: tuple[int, int] | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    reorder: bool = False
    solvate: bool = False
    index: Path | None = None

    @property
    def molecules(self) -> MoleculeFiles:
        """Those that say which atoms the beads stand for."""
        files = self.topology, self.mappings, self.owners, self.defines, self.include
        return MoleculeFiles(*files, self.matching)

    @property
    def matching(self) -> Matching:
        """What is said of how molecules go together."""
        return Matching(self.aliases, self.only, self.leave_out, self.reorder, self.solvate)

    @property
    def selects(self) -> bool:
        """Whether frames are selected by their times."""
        return (self.begin, self.end, self.dt) != (None, None, None)


@dataclass(frozen=True)
class Outputs:
    """What is written of a reconstruction.

    Attributes
    ----------
    frames
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``.  Of several samples each gets a file of its own:
        ``aa_1.xtc``, ``aa_2.xtc`` and so on for ``aa.xtc``.
    first
        A ``.gro`` of the first frame; of several samples as for ``frames``.
    conformer
        A ``.gro`` of a frame in which every stereocentre is as in all others: a reference for the next run.
    restart
        Whether frames that an ended run has left are made anew.
    record_stays
        Whether the record of the run stays when all is written: more is to be made of it.
    """

    frames: Path
    first: Path | None = None
    conformer: Path | None = None
    restart: bool = False
    record_stays: bool = False


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
    part
        Number of a part of the frames, and how many parts there are; all frames if not given.
    reorder
        Whether atoms that are in another order than in ``topology`` are put in its order.
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
    part: tuple[int, int] | None = None
    reorder: bool = False

    @property
    def selects(self) -> bool:
        """Whether frames are selected by their times."""
        return (self.begin, self.end, self.dt) != (None, None, None)


@dataclass(frozen=True)
class EvaluateInputs:
    """The files of an evaluation, and what they are judged by.

    Attributes
    ----------
    topology
        Atomistic ``.top``.
    trajectories, labels
        Candidates, and what they are called; their file names if not given.
    reference
        Atomistic trajectory to compare with, or a conformer that only says the chirality of stereocentres.
    cg
        Structure and trajectory of the beads the candidates were made for; without a trajectory the frame in
        the structure.
    cg_topology
        CG ``.top`` or ``.itp``, where the structure is no ``.tpr``.
    mappings
        Mapping files.
    begin, end, dt
        ps, frames to take of all trajectories, as in ``gmx trjconv``.
    defines, include
        For the preprocessor of the ``.top``.
    limits
        Thresholds of the rules.
    aliases, only, leave_out, reorder
        See :class:`Matching`.
    index
        Index file with the group of beads that the trajectory of ``cg`` holds.
    """

    topology: Path
    trajectories: tuple[Path, ...]
    labels: tuple[str, ...] = ()
    reference: Path | None = None
    cg: tuple[Path, ...] = ()
    cg_topology: Path | None = None
    mappings: tuple[Path, ...] = ()
    begin: float | None = None
    end: float | None = None
    dt: float | None = None
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()
    limits: Limits = Limits()
    aliases: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    reorder: bool = False
    index: Path | None = None


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
    potential_switch
        Distance from which the simulation switches the potential of Lennard-Jones, nm.  It is not sampled;
        the summary says what that is worth.
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
    potential_switch: float | None = None
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
    offers
        Rounds in which stretches of molecules choose among many conformers, before all are annealed; ``None``
        for as many as the energy asks for.
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
    follow
        Whether a frame begins with the atoms of the one before it, so that what its beads leave open does not
        jump between frames a few ps apart.  Frames are then made one after the other.
    memory_file
        What is remembered of another run: read if it exists, or ships under that name, else written.
    samples
        Independent reconstructions of each frame.
    orientations
        New states that a bead is offered by the network in a guided sweep; else orientations of the local
        frame that it tries at most: more than one where the energy is an outlier for beads of its type.
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
    offers: int | None = None
    annealing: int | None = None
    windows: int | None = None
    tolerance: float = TOLERANCE
    check: bool = True
    memory: bool = True
    follow: bool = False
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
        alone = self.grows and self.refine == "exact" and self.sweeps is None
        return self.memory and alone and not self.follow

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
    limits
        Thresholds of the rules the atoms are judged by.
    """

    settings: Settings = Settings()
    conditions: Conditions = Conditions(source=ASSUMED)
    model: str | Path = MODEL
    channels: Path | None = None
    device: str | None = None
    limits: Limits = Limits()


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
        ``None`` for that which they were made with, bead by bead, else :data:`NARROW`.
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
    restart
        Whether frames that an ended run has left are relaxed anew.
    limits
        Thresholds of the rules the relaxed atoms are judged by.
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
    restart: bool = False
    limits: Limits = Limits()

    @property
    def width(self) -> float:
        """The spread, nm; the least where none is given."""
        return NARROW if self.spread is None else self.spread

"""Atoms of a frame of beads, from the Boltzmann distribution of the force field.

Molecules are folded onto their beads (:mod:`~dbm_gmx.sampling.growth`) and choose their shapes among each
other (:mod:`~dbm_gmx.sampling.conformer_exchange`), or are taken from elsewhere; they are packed
(:mod:`~dbm_gmx.sampling.packing`) and swept (:mod:`~dbm_gmx.sampling.sweep`) until the energy is stationary;
at last bonds of fixed length get that length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import centre_rows, chirality_of, chirality_of_copies, stereocentres
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.chemistry.topology import chemical_graph
from dbm_gmx.forcefield.constraints import shake_all
from dbm_gmx.forcefield.hamiltonian import MoleculeTarget, make_target
from dbm_gmx.forcefield.terms import DISTANCE, QUARTIC
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.arrays import make_numbers, make_tables
from dbm_gmx.sampling.colouring import blocks_of_beads, colour_blocks, colour_order
from dbm_gmx.sampling.conformer_exchange import choose
from dbm_gmx.sampling.growth import Folder, fold, make_folder, offer
from dbm_gmx.sampling.moves import KINDS, SHIFT, SPIN, SWING, TURN, TWIST
from dbm_gmx.sampling.neighbours import Place, make_place
from dbm_gmx.sampling.packing import settle
from dbm_gmx.sampling.surroundings import REACH, SKIN
from dbm_gmx.sampling.sweep import full_energy, sweep_alone, sweep_together

LIMIT = 300
"""Sweeps after which the sampler gives up waiting for a stationary energy."""

DRIFT = 0.001
"""Change of the energy, kT per atom, that counts as none: so little is seen in very large systems only."""

LEARNING = 8
"""Sweeps in which the sizes of the small moves are learned; what comes after has them fixed."""

OFFERS, FEW = 48, 1
"""Shapes offered to a molecule that is folded as a whole, and to each window of one that is not."""

CANDIDATES = 24
"""Rotations a ``TURN`` chooses from, at least."""

FIRST_STEP = {TURN: 1.0, SPIN: 1.0, TWIST: 0.1, SWING: 0.06, SHIFT: 0.0025}
"""Sizes of moves to begin with, radians or nm; those of ``TURN`` and ``SPIN`` have no meaning."""

OVERLAP = 1e5
"""Change of the energy in one sweep, kJ/mol, after which it is worked out anew."""

ACCEPTED = 0.4
"""Acceptance the sizes are learned for."""


@dataclass(frozen=True, eq=False)
class Convergence:
    """What the Markov chain of one frame did.

    Attributes
    ----------
    converged
        Whether the energy was stationary at the end.
    energies
        (sweeps + 1,) energy of atoms and beads after each sweep, the start first, kJ/mol.
    acceptance
        Fraction of accepted moves by kind of move.
    effective
        Mean effective number of candidates by kind of move, where it has several.
    regrown
        Molecules that had to be grown more than once.
    seconds
        Wall time by stage.
    """

    converged: bool
    energies: FloatArray
    acceptance: Mapping[str, float] = field(default_factory=dict)
    effective: Mapping[str, float] = field(default_factory=dict)
    regrown: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


class Sampler:
    """Samples the atoms of frames of beads.

    Parameters
    ----------
    system
        The system.
    conditions
        Temperature and cut-offs.
    settings
        ``refine`` (anything but ``exact`` leaves the sweeps out), sweeps and seed.
    chirality
        By molecule type (copies or 1, c), see :func:`~dbm_gmx.files.conformers.reference_chirality`; where 0
        the growth decides by the beads.
    together
        Sweep a frame on all threads; else on the one that calls, and frames can be sampled side by side.

    Raises
    ------
    InputError
        If the force field has something the sampler cannot treat.
    """

    def __init__(
        self,
        system: System,
        conditions: Conditions,
        settings: Settings,
        chirality: Mapping[str, NDArray[np.int8]],
        *,
        together: bool = True,
    ):
        self.system, self.settings, self.chirality = system, settings, dict(chirality)
        self.target = make_target(system, conditions)
        self.tables, self.numbers = make_tables(self.target), make_numbers(self.target)
        self.together = together
        self.sweep = sweep_together if together else sweep_alone
        self.radius = np.concatenate(
            [
                np.tile(reach_of_beads(self.target.molecules[m.moltype.name], conditions.spread), m.count)
                for m in system.matches
            ]
        )
        self.blocks_of_beads = blocks_of_beads(self.tables, system.n_beads)
        self._folders: dict[str, Folder] = {}

    def __call__(
        self, beads: Frame, *, start: Float32Array | None = None, sample: int = 0
    ) -> tuple[Float32Array, Convergence]:
        """Rebuild the atoms of one frame.

        Parameters
        ----------
        beads
            Whole beads.
        start
            (n, 3) nm whole molecules to begin with; molecules that cannot be used (stereocentres of
            the wrong hand, broken) are grown anew.  Without it all are.
        sample
            Number of the independent repeat.

        Returns
        -------
        (n, 3) nm whole molecules, and how the chain went.
        """
        places = beads.positions.astype(np.float64)
        positions, regrown = self._start(places, start, beads.box.astype(np.float64), beads.index, sample)
        name = (self.settings.seed, beads.index * 65536 + sample)
        chain = Chain(self, positions, places, beads.box, settled=name)
        if self.settings.refine == "exact":
            limit = LIMIT if self.settings.sweeps is None else self.settings.sweeps
            while chain.sweeps < limit and not chain.stationary():
                chain.advance(name)
        shake_all(positions, self.tables)
        return positions.astype(np.float32), chain.summary(regrown)

    def _start(
        self, beads: FloatArray, start: Float32Array | None, box: FloatArray, frame: int, sample: int
    ) -> tuple[FloatArray, int]:
        """Atoms to begin with, and how many molecules were grown more than once."""
        positions = np.empty((self.system.n_atoms, 3))
        regrown = 0
        grown = []
        expected = self.expected
        for number, match in enumerate(self.system.matches):
            n, m = match.moltype.n_atoms, len(match.mapping.names)
            atoms = slice(match.first_atom, match.first_atom + match.count * n)
            rows = beads[match.first_bead : match.first_bead + match.count * m].reshape(-1, m, 3)
            chirality = expected[number]
            wanted = np.ones(match.count, bool)
            if start is not None:
                given = start[atoms].reshape(-1, n, 3).astype(np.float64)
                positions[atoms] = given.reshape(-1, 3)
                wanted = ~self._usable(given, rows, chirality, match.moltype.name)
            if wanted.any():
                folded = fold(
                    self._folder(match.moltype.name),
                    rows[wanted],
                    chirality[wanted],
                    seed=self.settings.seed,
                    frame=frame,
                    sample=sample,
                )
                positions[atoms].reshape(-1, n, 3)[wanted] = folded.positions
                regrown += folded.again
                grown.append((number, np.flatnonzero(wanted)))
        place = self.place(positions, np.zeros_like(beads), beads, box)
        for number, copies in grown:
            self._choose(place, number, copies, frame, sample)
        return positions, regrown

    def _choose(self, place: Place, number: int, copies: IntArray, frame: int, sample: int) -> None:
        """Let molecules of a match that were folded alone choose their shapes among the others."""
        match = self.system.matches[number]
        n, m, folder = match.moltype.n_atoms, len(match.mapping.names), self._folder(match.moltype.name)
        first_atoms, first_beads = match.first_atom + n * copies, match.first_bead + m * copies
        beads = place.beads[first_beads[:, None] + np.arange(m)]
        chirality = self.expected[number][copies]
        for window in range(1, 1 + folder.windows):
            positions = place.positions[first_atoms[:, None] + np.arange(n)]
            known = chirality_of(positions, stereocentres(match.moltype))
            offered = offer(
                folder,
                window,
                beads,
                np.where(chirality == 0, known, chirality),
                positions,
                seed=self.settings.seed,
                frame=frame,
                sample=sample,
                count=OFFERS if folder.short else FEW,
            )
            owners = first_beads[:, None] + np.unique(match.mapping.owner[offered.free])
            name = (self.settings.seed, frame * 65536 + sample, CHOOSING, window, number)
            choose(
                place,
                self.tables,
                self.numbers,
                first_atoms,
                owners,
                offered,
                name,
                together=self.together,
            )

    def _folder(self, name: str) -> Folder:
        if name not in self._folders:
            self._folders[name] = make_folder(
                self.target, self.target.molecules[name], seed=self.settings.seed
            )
        return self._folders[name]

    @property
    def expected(self) -> list[NDArray[np.int8]]:
        """Hands (copies, c) of the molecules of each match."""
        return chirality_of_copies(self.system, self.chirality)

    def place(self, positions: FloatArray, off: FloatArray, beads: FloatArray, box: FloatArray) -> Place:
        """The frame, with all neighbours that growth, packing and sweeps look for."""
        reach = max(self.numbers.reach, REACH + SKIN)
        return make_place(positions, off, beads, self.widened(positions, beads), box, reach)

    def widened(self, positions: FloatArray, beads: FloatArray) -> FloatArray:
        """Radii of the beads' spheres, widened where the start has an atom further away."""
        radius = self.radius.copy()
        owner = np.repeat(np.arange(len(beads)), np.diff(self.tables.holder_start))
        far = np.linalg.norm(positions[self.tables.holder] - beads[owner], axis=1)
        np.maximum.at(radius, owner, far * 1.05)
        return radius

    def held(self, positions: FloatArray) -> tuple[NDArray[np.int8], IntArray]:
        """Hands that stereocentres have or should have: (k,) and (k, 5) atoms of the system."""
        chirality, rows = [np.zeros(0, np.int8)], [np.zeros((0, 5), np.int64)]
        for match, wanted in zip(self.system.matches, self.expected, strict=True):
            found = chirality_of(match.molecules(positions), stereocentres(match.moltype))
            chirality.append(np.where(wanted == 0, found, wanted).reshape(-1))
            rows.append(centre_rows(match).reshape(-1, 5))
        return np.concatenate(chirality), np.concatenate(rows)

    def _usable(
        self, atoms: FloatArray, beads: FloatArray, chirality: NDArray[np.int8], name: str
    ) -> NDArray[np.bool_]:
        """(copies,) molecules whose hands are right, bonds in one piece, and atoms near their beads."""
        molecule = self.target.molecules[name]
        found = chirality_of(atoms, stereocentres(molecule.moltype))
        right = ((chirality == 0) & (found != 0) | (chirality == found)).all(axis=1)
        i, j = molecule.fixed.T
        stretch = np.linalg.norm(atoms[:, j] - atoms[:, i], axis=2) / molecule.length
        whole = (np.abs(stretch - 1) < 0.5).all(axis=1)
        owner = molecule.mapping.owner
        near = np.linalg.norm(atoms - beads[:, owner], axis=2)
        reach = reach_of_beads(molecule, self.target.conditions.spread)[owner]
        return np.asarray(right & whole & (near < reach).all(axis=1), np.bool_)


class Chain:
    """The Markov chain of one frame.

    Parameters
    ----------
    sampler
        What it samples.
    positions
        (n, 3) nm, changed in place.
    beads
        (m, 3) nm.
    box
        (3, 3) nm.
    settled
        Pack the molecules first (:func:`~dbm_gmx.sampling.packing.settle`), with random numbers of this name.
    """

    def __init__(
        self,
        sampler: Sampler,
        positions: FloatArray,
        beads: FloatArray,
        box: FloatArray,
        *,
        settled: tuple[int, int] | None = None,
    ):
        self.sampler = sampler
        tables, numbers = sampler.tables, sampler.numbers
        if settled is not None:
            self.place = self._place(positions, beads, box)
            settle(self.place, tables, numbers, *sampler.held(positions), settled, together=sampler.together)
        shake_all(positions, tables)  # hydrogens turn in the sweeps, their bonds do not stretch
        self.place = self._place(positions, beads, box)
        colour = colour_blocks(self.place, tables, *sampler.blocks_of_beads)
        self.colours = colour_order(colour)
        self.energies = [self._energy()]
        self.steps = np.array([FIRST_STEP[kind] for kind in tables.move_type.tolist()])
        moves = np.diff(tables.move_start)[tables.instance]
        widest = int(moves.max(initial=1))
        self.tried = np.zeros((len(tables.instance), widest, 3))
        self.gained = np.zeros((len(tables.instance), 2))
        inside = np.arange(widest) < moves[:, None]
        self.move = (tables.move_start[tables.instance][:, None] + np.arange(widest))[inside]
        self.inside = inside

    @property
    def sweeps(self) -> int:
        """Sweeps done."""
        return len(self.energies) - 1

    def _energy(self) -> float:
        """Energy of atoms and beads, kJ/mol."""
        numbers = self.sampler.numbers
        pull = 0.5 * numbers.stiffness * float((self.place.off**2).sum())
        return float(full_energy(self.place, self.sampler.tables, numbers).sum()) + pull

    def _place(self, positions: FloatArray, beads: FloatArray, box: FloatArray) -> Place:
        off = mapped_beads(self.sampler.system, positions) - beads
        return self.sampler.place(positions, off, beads, box)

    def advance(self, name: tuple[int, int]) -> None:
        """One sweep; ``name`` tells the random numbers of this chain from those of others."""
        stream = np.array([*name, self.sweeps + 1], np.int64)
        self.gained[:] = 0.0
        self.sampler.sweep(
            self.place,
            self.sampler.tables,
            self.sampler.numbers,
            *self.colours,
            self.steps,
            CANDIDATES,
            stream,
            self.gained,
            self.tried,
        )
        gain = float(self.gained.sum())
        # overlaps of the start are too large for their differences to add up
        self.energies.append(self._energy() if abs(gain) > OVERLAP else self.energies[-1] + gain)
        if self.sweeps <= LEARNING and self.sweeps % 2 == 0:
            self._learn()

    def _counts(self) -> FloatArray:
        """(moves, 3) tries, acceptances and effective candidates so far."""
        counts = np.zeros((len(self.steps), 3))
        np.add.at(counts, self.move, self.tried[self.inside])
        return counts

    def _learn(self) -> None:
        """Fit the sizes of the small moves to the acceptance so far, and count anew."""
        counts, kind = self._counts(), self.sampler.tables.move_type
        fit = (kind != TURN) & (kind != SPIN) & (counts[:, 0] > 0)
        rate = counts[fit, 1] / counts[fit, 0]
        self.steps[fit] *= np.clip(np.sqrt((rate + 0.02) / ACCEPTED), 0.5, 1.5)
        # a rotation by more than this is no small one
        self.steps[fit & (kind != SHIFT)] = np.minimum(self.steps[fit & (kind != SHIFT)], 1.0)
        self.tried[:] = 0.0

    def stationary(self) -> bool:
        """Whether the energy no longer drifts; looked at every eighth sweep.

        The second half of the chain so far is cut in two; their means must agree within twice the
        error that the autocorrelation of the energy allows for, or within :data:`DRIFT`.
        """
        if self.sampler.settings.sweeps is not None or self.sweeps < 2 * LEARNING or self.sweeps % 8:
            return False
        return is_stationary(np.array(self.energies), self._drift())

    def summary(self, regrown: int) -> Convergence:
        """What is to be said of it."""
        counts, kind = self._counts(), self.sampler.tables.move_type
        acceptance, effective = {}, {}
        for number, name in enumerate(KINDS):
            tries, accepted, candidates = counts[kind == number].sum(axis=0)
            if tries:
                acceptance[name] = float(accepted / tries)
                if number in (TURN, SPIN):
                    effective[name] = float(candidates / tries)
        energies = np.array(self.energies)
        converged = is_stationary(energies, self._drift())
        return Convergence(converged, energies, acceptance, effective, regrown)

    def _drift(self) -> float:
        """Change of the energy that does not matter, kJ/mol."""
        return DRIFT * float(self.sampler.numbers.kt) * len(self.place.positions)


def is_stationary(energies: FloatArray, drift: float = 0.0) -> bool:
    """Whether the halves of the second half of a series have the same mean, within errors or ``drift``."""
    series = energies[len(energies) // 2 :]
    if len(series) < LEARNING:
        return False
    first, second = np.array_split(series, 2)
    error = np.hypot(_error_of_mean(first), _error_of_mean(second))
    return bool(abs(second.mean() - first.mean()) < max(2 * error, drift))


def _error_of_mean(series: FloatArray) -> float:
    """Standard error of a correlated series: that of uncorrelated blocks of growing length, the largest."""
    errors = []
    length = 1
    while len(series) // length >= 4:
        blocks = series[: len(series) // length * length].reshape(-1, length).mean(axis=1)
        errors.append(blocks.std(ddof=1) / np.sqrt(len(blocks)))
        length *= 2
    return float(max(errors))


def reach_of_beads(molecule: MoleculeTarget, spread: float) -> FloatArray:
    """How far from each bead the atoms it owns can be.

    The mean distance to the atoms that make the mapped centre, along the bonds between them at full length,
    is never less than the distance to the centre itself.

    Returns
    -------
    (beads,) nm.
    """
    graph = chemical_graph(molecule.moltype)
    form, atoms, parameters = molecule.force.form, molecule.force.atoms, molecule.force.parameters
    lengths = {
        (int(i), int(j)): float(p[0])
        for f, (i, j, *_), p in zip(form, atoms, parameters, strict=True)
        if f in (DISTANCE, QUARTIC)
    }
    lengths |= {(j, i): length for (i, j), length in lengths.items()}
    for i, j in graph.edges:
        graph.edges[i, j]["length"] = lengths.get((i, j), UNKNOWN_BOND)
    weights, owner = molecule.weights.toarray(), molecule.mapping.owner
    reach = np.full(len(weights), 5 * spread + 0.03)
    for atom in range(molecule.moltype.n_atoms):
        share = weights[owner[atom]]
        paths = nx.single_source_dijkstra_path_length(graph, atom, cutoff=None, weight="length")
        mean = sum(share[i] * paths.get(int(i), DISJOINT) for i in np.flatnonzero(share))
        reach[owner[atom]] = max(reach[owner[atom]], mean + 5 * spread + 0.03)
    return reach


CHOOSING = 1 << 22  # sets these random numbers apart
UNKNOWN_BOND = 0.2  # nm, where the topology gives a bond no length
DISJOINT = 1.0  # nm, between parts of a molecule that no bond joins

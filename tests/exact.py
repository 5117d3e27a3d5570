"""Small systems with a force field, chains on them, and statistics, for the tests of the exact sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import networkx as nx
import numpy as np
import scipy.sparse as sp
import torch
from scipy.stats import f as fisher

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.periodic import close_pairs, minimum_image
from dbm_gmx.chemistry.stereo import stereocentres
from dbm_gmx.chemistry.system import System, mapped_beads
from dbm_gmx.chemistry.topology import (
    MoleculeType,
    NonBonded,
    Terms,
    Topology,
    atom_types,
    blocks,
    is_excluded,
)
from dbm_gmx.chemistry.units import ELECTRIC, GAS
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.forcefield.energy import bonded_energies, field_energy, nonbonded_energies
from dbm_gmx.forcefield.hamiltonian import BOND_SPREAD, Hamiltonian, make_hamiltonian, simplified
from dbm_gmx.forcefield.nonbonded import long_range, reaction_field
from dbm_gmx.forcefield.terms import BondedTerms, term_energy, term_rows
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.annealing import Contents, WindowArrays, make_window_arrays
from dbm_gmx.sampling.arrays import Configuration, make_arrays
from dbm_gmx.sampling.chain import Chain, advance, start_chain
from dbm_gmx.sampling.energy import full_energy
from dbm_gmx.sampling.neighbours import make_neighbours
from dbm_gmx.sampling.random_numbers import frame_stream
from dbm_gmx.sampling.sampler import configure, make_sampler

SEED = 1

CONTACT = {"C": (0.39, 0.5), "A": (0.30, 0.9), "B": (0.28, 0.4), "H": (0.22, 0.1)}

Site = tuple[str, float, float]  # atom type, mass (amu), charge (e)
Row = tuple[str, int, tuple[int, ...], tuple[float, ...]]  # directive, function, atoms, parameters


def molecule(
    name: str,
    sites: Sequence[Site],
    rows: Iterable[Row],
    *,
    nrexcl: int = 3,
    exclusions: Sequence[tuple[int, int]] = (),
) -> MoleculeType:
    """A molecule type; its bonds are its ``bonds`` and ``constraints``."""
    graph = nx.Graph()
    for i, (element, mass, charge) in enumerate(sites):
        graph.add_node(
            i, name=f"{element}{i + 1}", type=element, element=element[0], mass=mass, charge=charge
        )
        graph.nodes[i].update(resid=1, resname=name)
    found: dict[tuple[str, int], list[tuple[tuple[int, ...], tuple[float, ...]]]] = {}
    for directive, function, atoms, parameters in rows:
        found.setdefault((directive, function), []).append((atoms, parameters))
        if directive in ("bonds", "constraints"):
            graph.add_edge(*atoms, kind=directive[:-1])
    terms = [
        Terms(*key, np.array([a for a, _ in group]), np.array([p for _, p in group], np.float64))
        for key, group in found.items()
    ]
    return MoleculeType(
        name, nrexcl, graph, tuple(terms), exclusions=np.array(exclusions, np.int64).reshape(-1, 2)
    )


def beads_of(moltype: MoleculeType, owner: Sequence[int]) -> BeadMapping:
    """Beads at the centres of mass of the atoms they own."""
    owned = np.array(owner, np.int64)
    names = tuple(f"B{i + 1}" for i in range(owned.max() + 1))
    weights = np.where(owned == np.arange(len(names))[:, None], moltype.masses, 0)
    return BeadMapping(
        moltype.name,
        names,
        names,
        sp.csr_matrix(weights / weights.sum(axis=1, keepdims=True)),
        owned,
        np.full(len(names), -1),
        np.ones(len(names), np.int64),
    )


def system(
    parts: Sequence[tuple[MoleculeType, BeadMapping, int]],
    sigma_epsilon: Mapping[str, tuple[float, float]],
    *,
    fudge_qq: float = 1.0,
) -> System:
    """Runs of molecules with Lennard-Jones parameters by type, combined by their geometric means."""
    matches, bead, atom = [], 0, 0
    for moltype, beads, count in parts:
        matches.append(Match(moltype, beads, count, first_bead=bead, first_atom=atom))
        bead, atom = bead + count * len(beads.names), atom + count * moltype.n_atoms
    sigma, epsilon = np.array(list(sigma_epsilon.values()), np.float64).T
    c6, c12 = (2 * np.sqrt(epsilon) * sigma**n for n in (3, 6))
    nonbonded = NonBonded(tuple(sigma_epsilon), np.outer(c6, c6), np.outer(c12, c12), 3, False, 1.0, fudge_qq)
    moltypes = {moltype.name: moltype for moltype, *_ in parts}
    topology = Topology(moltypes, tuple((moltype.name, count) for moltype, _, count in parts), nonbonded)
    return System(topology, {b.molecule: b for _, b, _ in parts}, tuple(matches))


def lattice(count: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """(count, 3) points of a cubic lattice, and its box, nm."""
    n = int(np.ceil(count ** (1 / 3) - 1e-9))
    points = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return (points[:count] + 0.5) * spacing, np.eye(3) * n * spacing


def start(
    system: System,
    conditions: Conditions,
    atoms: np.ndarray,
    box: np.ndarray,
    *,
    beads: np.ndarray | None = None,
) -> Chain:
    """The chain of one frame; beads are where the atoms put them, or given."""
    beads = mapped_beads(system, atoms) if beads is None else beads
    sampler = make_sampler(system, conditions, Settings(), {})
    return start_chain(configure(sampler, np.array(atoms, np.float64), Frame(beads, box)))


def sweeps(chain: Chain, count: int, *, copy: int = 0, team: Team | None = None) -> None:
    """Sweep so many times; ``copy`` as for :func:`sample`."""
    team = team or Team()
    for _ in range(count):
        advance(chain, frame_stream(SEED, copy, 0), team)


def own_energies(
    made: System, conditions: Conditions, atoms: np.ndarray, box: np.ndarray
) -> tuple[float, float]:
    """Energies by the sampler's own code, as :func:`potential` gives them; atoms stay where they are."""
    terms, special, others = full_energy(around(made, conditions, atoms, box))
    return terms, special + others


def around(made: System, conditions: Conditions, atoms: np.ndarray, box: np.ndarray) -> Configuration:
    """Atoms where they are, in spheres that just hold them, about the beads they map to."""
    arrays, beads = make_arrays(simplified(make_hamiltonian(made, conditions))), mapped_beads(made, atoms)
    owner, radius = arrays.atoms.bead, np.full(len(beads), 0.05)
    np.maximum.at(radius, owner, np.linalg.norm(atoms - beads[owner], axis=1) + 0.01)
    neighbours = make_neighbours(beads, radius, box, arrays.constants.reach)
    return Configuration(np.array(atoms, np.float64), np.zeros_like(beads), neighbours, arrays)


def energy_of(terms: BondedTerms, t: int, x: np.ndarray, first: int = 0) -> float:
    """Energy of a term of the molecule that begins at row ``first``, kJ/mol, by the compiled function."""
    rows = term_rows(terms.atoms, t, first)
    return float(term_energy(int(terms.form[t]), terms.parameters[t], terms.tables, x, rows))


def only(chain: Chain, moves: Sequence[int]) -> None:
    """Switch all other moves off; moves count through all molecule types."""
    steps = chain.progress.steps
    off = np.ones(len(steps), bool)
    off[np.array(moves, np.int64)] = False
    steps[off] = 0.0


def moves_of(chain: Chain, move_type: int, *atoms: int) -> list[int]:
    """Moves of a type, those that move just these atoms if any are named."""
    moves = chain.conf.arrays.moves
    moved = np.split(moves.moved, moves.moved_start[1:-1])
    found = np.flatnonzero(moves.move_type == move_type)
    return [move for move in found.tolist() if not atoms or moved[move].tolist() == [*atoms]]


def sample(
    chain: Chain,
    measure: Callable[[np.ndarray], np.ndarray],
    *,
    burn: int,
    sweeps: int,
    every: int = 1,
    copy: int = 0,
) -> np.ndarray:
    """Sweep, and measure positions (n, 3) every so often: (sweeps / every, ...).

    ``copy`` tells chains apart that are to be independent: else they draw the same random numbers.
    """
    stream, team = frame_stream(SEED, copy, 0), Team()
    for _ in range(burn):
        advance(chain, stream, team)
    found = []
    for k in range(sweeps):
        advance(chain, stream, team)
        if k % every == 0:
            found.append(measure(chain.conf.positions))
    return np.array(found)


# --- energies by the package's other code ----------------------------------------------------------


def potential(system: System, conditions: Conditions, atoms: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(2,) kJ/mol of whole molecules: bonded terms and springs of fixed bonds; pairs of all kinds.

    The shift of Lennard-Jones is that of the cut-off; the reaction field of each atom with itself is
    left out.
    """
    frame = Frame(atoms, box)
    bonded = {k: float(v) for k, v in bonded_energies(system.topology, torch.as_tensor(atoms)).items()}
    pairs = sum(bonded.pop(name, 0.0) for name in ("LJ-14", "Coulomb-14"))
    inner = sum(bonded.values())
    for moltype, first, count in blocks(system.topology):
        held, length = fixed_bonds(moltype, conditions.constraints)
        x = atoms[first : first + count * moltype.n_atoms].reshape(count, -1, 3)
        r = np.linalg.norm(x[:, held[:, 0]] - x[:, held[:, 1]], axis=-1)
        inner += 0.5 * GAS * conditions.temperature / BOND_SPREAD**2 * float(((r - length) ** 2).sum())
        inner -= _replaced(moltype, held, x)
    lj = nonbonded_energies(system.topology, frame, reaction_field(conditions.rvdw, epsilon_rf=None))[
        "LJ (SR)"
    ]
    close, r = close_pairs(frame, conditions.rvdw)
    near = ~is_excluded(system.topology, close)
    nonbonded = system.topology.nonbonded
    i, j = atom_types(system.topology)[close[near].T]
    off6, off12 = (taken_off(r[near], p, conditions) for p in (6, 12))
    shift = nonbonded.c12[i, j] * off12 - nonbonded.c6[i, j] * off6
    field = long_range(conditions)
    electric = nonbonded_energies(system.topology, frame, field)["Coulomb (SR)"]
    charges = np.concatenate([np.tile(k.charges, n) for k, _, n in blocks(system.topology)])
    qq = torch.as_tensor(charges @ charges / conditions.epsilon_r)
    own = 0.5 * field_energy(torch.zeros(1).double(), qq, field.beyond).sum()
    return np.array([inner, pairs + float(lj) - shift.sum() + float(electric) - float(own)])


def taken_off(r: np.ndarray, p: int, conditions: Conditions) -> np.ndarray:
    """What is taken off r^-p so that it ends at the cut-off, from the conditions that define it."""
    cutoff, start = conditions.rvdw, conditions.rvdw_switch
    if start is None:
        return np.full(len(r), cutoff**-p)
    # force p r^-(p+1) + a t^2 + b t^3, zero with its slope at the cut-off; its integral from there
    width = cutoff - start
    a, b = np.linalg.solve(
        [[width**2, width**3], [2 * width, 3 * width**2]],
        [-p * cutoff ** -(p + 1), p * (p + 1) * cutoff ** -(p + 2)],
    )
    t = np.maximum(r - start, 0)
    return cutoff**-p - a / 3 * (width**3 - t**3) - b / 4 * (width**4 - t**4)


def _replaced(moltype: MoleculeType, held: np.ndarray, x: np.ndarray) -> float:
    """Energy of the bonds that springs of fixed length replace."""
    pairs = {tuple(p) for p in held.tolist()}
    total = 0.0
    for terms in moltype.terms:
        if terms.directive == "bonds":
            inside = [(min(a), max(a)) in pairs for a in terms.atoms.tolist()]
            chosen = replace(terms, atoms=terms.atoms[inside], parameters=terms.parameters[inside])
            part = replace(moltype, terms=(chosen,))
            if any(inside):
                both = Topology({moltype.name: part}, ((moltype.name, len(x)),))
                total += float(sum(bonded_energies(both, torch.as_tensor(x.reshape(-1, 3))).values()))
    return total


def pull(system: System, conditions: Conditions, atoms: np.ndarray, beads: np.ndarray) -> float:
    """Energy of the mapped centres about their beads, kJ/mol."""
    off = mapped_beads(system, atoms) - beads
    return float(0.5 * GAS * conditions.temperature / conditions.width**2 * (off**2).sum())


def pair(r: np.ndarray, c6: float, c12: float, qq: float, conditions: Conditions) -> np.ndarray:
    """Energy of two atoms, written out: shifted Lennard-Jones and zero quadrupole, kJ/mol."""
    rv, rc = conditions.rvdw, conditions.rcoulomb
    x2 = (r / rc) ** 2
    lj = c12 * (r**-12 - rv**-12) - c6 * (r**-6 - rv**-6)
    electric = ELECTRIC * qq * (1 / r - (15 - 10 * x2 + 3 * x2**2) / (8 * rc))
    return np.where(r < rv, lj, 0) + np.where(r < rc, electric, 0)


# --- statistics ------------------------------------------------------------------------------------


def fractions(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(copies, bins) of values (times, copies): where each copy has been, a fraction of its time."""
    inside = np.searchsorted(edges, values, side="right") - 1
    counts = np.zeros((values.shape[1], len(edges) - 1))
    for copy, row in enumerate(inside.T):
        counts[copy] = np.bincount(row[(row >= 0) & (row < counts.shape[1])], minlength=counts.shape[1])
    return counts / len(values)


def agreement(found: np.ndarray, expected: np.ndarray) -> tuple[float, float, float]:
    """Compare the means of independent copies (copies, quantities) with what they should be.

    Hotelling's T^2: the copies know nothing of each other, so that their scatter is the error of the
    mean, however slowly each of them moves and however the quantities hang together.

    Returns
    -------
    Probability of a larger deviation; T^2 per degree of freedom; largest error of a quantity
    relative to its expected value (how much the comparison can see).
    """
    copies = len(found)
    off = found.mean(axis=0) - expected
    covariance = np.atleast_2d(np.cov(found.T)) / copies
    # fractions add up to one: leave out directions without scatter
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-10 * values.max()
    size = int(kept.sum())
    t2 = float(((off @ vectors[:, kept]) ** 2 / values[kept]).sum())
    p = float(fisher.sf(t2 * (copies - size) / (size * (copies - 1)), size, copies - size))
    errors = np.sqrt(np.diag(covariance)) / np.maximum(np.abs(expected), 1e-12)
    return p, t2 / size, float(errors.max())


# --- a mixture -------------------------------------------------------------------------------------

CHARGED = {"A": (0.31, 0.9), "B": (0.27, 0.5), "C": (0.34, 0.3), "H": (0.2, 0.1), "O": (0.3, 0.6)}


MIXED = np.array([[1.5, 0, 0], [0.5, 1.45, 0], [-0.4, 0.3, 1.4]])


def fork(stiff: float = 2e4) -> MoleculeType:
    """Six atoms, branched and charged, with 1-4 pairs, an exclusion of their own, several beads."""
    charges = [0.3, -0.2, 0.1, -0.4, 0.15, 0.05]
    return molecule(
        "FRK",
        [(t, 12.0 + i, q) for i, (t, q) in enumerate(zip("CABOHC", charges, strict=True))],
        [
            *(("bonds", 1, bond, (0.15, stiff)) for bond in ((0, 1), (1, 2), (2, 3), (1, 4), (3, 5))),
            *(
                ("angles", 1, angle, (112.0, 200.0))
                for angle in ((0, 1, 2), (1, 2, 3), (0, 1, 4), (2, 1, 4), (2, 3, 5))
            ),
            ("dihedrals", 9, (0, 1, 2, 3), (0.0, 2.0, 3.0)),
            ("dihedrals", 3, (1, 2, 3, 5), (2.0, 1.0, -2.0, 0.5, 0.0, 0.0)),
            ("pairs", 1, (0, 3), (1e-3, 1e-6)),
            ("pairs", 1, (1, 5), (2e-3, 2e-6)),
        ],
        nrexcl=2,
        exclusions=[(4, 5)],
    )


def mixture(box: np.ndarray, *, stiff: float = 2e4, seed: int = 1) -> tuple[System, np.ndarray]:
    """Forks, diatomics and ions at places that do not overlap, molecules whole."""
    duo = molecule(
        "DUO",
        [("O", 16.0, -0.3), ("H", 2.0, 0.3)],
        [("bonds", 1, (0, 1), (0.1, stiff))],
    )
    ion = molecule("ION", [("A", 23.0, 0.4)], [])
    one = fork(stiff)
    rng = np.random.default_rng(seed)
    volume = abs(np.linalg.det(box))
    counts = [max(2, int(n * volume)) for n in (1.6, 1.6, 1.2)]
    parts = [(one, beads_of(one, [0, 0, 1, 2, 0, 2]), counts[0])]
    parts += [(duo, beads_of(duo, [0, 0]), counts[1]), (ion, beads_of(ion, [0]), counts[2])]
    made = system(parts, CHARGED, fudge_qq=0.5)
    placed = np.zeros((0, 3))
    for moltype, _, count in parts:
        for _ in range(count):
            placed = np.concatenate([placed, _fit(moltype, placed, box, rng)])
    return made, placed


def _fit(moltype: MoleculeType, placed: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One molecule, grown bond by bond, as far from all others as some tries allow."""
    n, bonds, length = (
        moltype.n_atoms,
        [*nx.bfs_edges(moltype.graph, 0)],
        0.15 if moltype.n_atoms > 2 else 0.1,
    )
    tries = np.zeros((200, n, 3))
    for atoms in tries:
        atoms[0] = rng.random(3) @ box
        for parent, child in bonds:
            step = rng.normal(size=3)
            atoms[child] = atoms[parent] + length * step / np.linalg.norm(step)
    near = 2 * (np.linalg.norm(tries[:, :, None] - tries[:, None], axis=-1) + np.eye(n)).min(axis=(1, 2))
    if len(placed):
        apart = minimum_image((tries[:, :, None] - placed).reshape(-1, 3), box)
        near = np.minimum(near, np.linalg.norm(apart, axis=1).reshape(len(tries), -1).min(axis=1))
    return tries[near.argmax()]


def window(hamiltonian: Hamiltonian, name: str, free: np.ndarray) -> WindowArrays:
    """All of a molecule as a window, of which some atoms move."""
    one = hamiltonian.molecules[name]
    moving = np.isin(one.special, free).any(axis=1)
    pairs = one.special[moving], one.special_parameters[moving]
    inside = Contents(one.terms, stereocentres(one.moltype), one.weights.tocsr(), *pairs)
    return make_window_arrays(inside, free, hamiltonian.kt)

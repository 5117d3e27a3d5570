"""Packing: the whole frame moved by Langevin dynamics, all molecules there, compiled.

Cores are soft at first, so that molecules get out of each other, and become those of the force field.  Then
the frame is annealed: angles and dihedrals are weakened and the temperature is raised, so that stretches of
chains whose ends the beads hold can take other conformations, and both are brought back slowly
(:func:`make_schedule`).  The beads stay where they are throughout, and hold more tightly: atoms that follow
loosened beads are strained when these are brought back.  At last the system moves at its temperature, in the
end with bonds as stiff as they are.  What packing leaves is near the Boltzmann distribution, not exact: that
is for the sweeps.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.array_types import IntArray, SignArray
from dbm_gmx.chemistry.vectors import arm, in_lattice, nearest
from dbm_gmx.chemistry.virtual_sites import place_site, spread_site
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.nonbonded import (
    acts_at_all,
    charged_pair_force,
    clamped,
    inverse_sixth,
    lennard_jones_force,
    pair_energy_and_force,
    pair_parameters,
    single,
    special_pair,
    usual_pair,
    zero_quadrupole,
)
from dbm_gmx.forcefield.restraints import add_bead_restraint, add_chirality_restraint, bead_offset
from dbm_gmx.forcefield.terms import add_force, add_terms
from dbm_gmx.parallel import Team
from dbm_gmx.sampling.arrays import Arrays, Configuration, Place
from dbm_gmx.sampling.langevin import Integrator, Motion, langevin_step
from dbm_gmx.sampling.neighbours import at_home, image, within
from dbm_gmx.sampling.random_numbers import Stream, seeded
from dbm_gmx.sampling.surroundings import CUTOFF, MARGIN

INTEGRATOR = Integrator(time_step=0.006, friction=2.0, longest=0.02)
"""All forces act in every step: with those of other atoms in every second one, water came out .3 kT per atom
too high, and polyethers needed four times the steps of annealing."""

FINE = Integrator(time_step=0.002, friction=80.0, longest=0.02)
"""With the springs of the force field: what softer ones leave takes tens of sweeps to mend."""

SETTLED = 24
"""Steps with them, at last."""

TIGHT = 0.6
"""Times the width of the bead restraints, while annealing."""

SOFT, HARD = 0.5, 0.003
"""Soft cores, parts of sigma^6: in the beginning and when they are dropped."""

APART, MELTED, LAST = 150, 200, 250
"""Steps in which cores are soft, in which everything is weak and hot, and at the temperature in the end."""

LONGER = 1000
"""Steps at the temperature in the end, where molecules have chosen among conformers: each did so among
neighbours that stood still.

With the same conformers torsions and pairs of poly(ethylene oxide), monoolein and polyisoprene end
.007 +- .002 kT per atom lower than with :data:`LAST`, .004 +- .002 with 2,500 steps (twelve frames, mean of
sweeps 15 to 40 after it)."""

HOT, WEAK = 2.0, 0.3
"""Times the temperature, and share of angles and dihedrals, from which a frame is annealed."""

WARM = 1.6
"""Times the temperature in the beginning, where nothing is annealed."""

PARTS = 10
"""Of the cooling, slow at first."""

RENEWED = 20
"""Steps between two lists of neighbours."""

AWAY = np.float32(1e4)
"""nm: where an atom does not act."""

EDGE, WALL = 0.05, 5e4
"""nm, kJ/mol nm^-2: so far inside the sphere about its bead an atom is pulled back, and how stiffly.

Neighbours are looked for in these spheres: the waters of one bead, which nothing else holds together, would
leave them and run into others unseen."""


class PackingArrays(NamedTuple):
    """What the forces are worked out from, see :class:`~dbm_gmx.sampling.arrays.Arrays`."""

    constants: Any
    type: Any
    charge: Any
    molecule: Any
    c6: Any
    c12: Any
    owned_start: Any
    owned: Any
    stiffness: Any
    moltype: Any
    first_atom: Any
    first_bead: Any
    term_start: Any
    form: Any
    atoms: Any
    parameters: Any
    tables: Any
    special_start: Any
    special: Any
    special_parameters: Any
    atom_start: Any
    partner_start: Any
    partner: Any
    site_start: Any
    weighed_start: Any
    weighed: Any
    weight: Any
    virtual_start: Any
    virtual: Any
    virtual_form: Any
    virtual_parameters: Any
    made_start: Any
    made_of: Any
    made_weight: Any


class Chiral(NamedTuple):
    """Stereo elements whose state is held: (k, 5) atoms of the system, (k,) 1 or -1."""

    centres: IntArray
    signs: SignArray


class AtomLists(NamedTuple):
    """Neighbours of the atoms of each bead, sorted by type.

    Attributes
    ----------
    size
        (m,) of each bead, also where there is no space for all.
    other, row
        (m, space) atoms, and the rows of ``place.near`` that tell their images.
    begin
        (m, types + 1) where each type begins.
    skipped, hidden
        (n,) and (n, most) rows of ``other`` that do not act on an atom as others do.
    """

    size: Any
    other: Any
    row: Any
    begin: Any
    skipped: Any
    hidden: Any


class Cores(NamedTuple):
    """How forces act in a step.

    Attributes
    ----------
    cutoff
        nm.
    soft
        Part of sigma^6 added to r^6; while there is any, charges do not act.
    weak
        Share of angles and dihedrals.
    """

    cutoff: float
    soft: float
    weak: float


class Stretch(NamedTuple):
    """A part of the dynamics.  Pairs are values at its beginning and its end, between them geometric.

    Attributes
    ----------
    steps
        How many.
    heat
        Times the temperature.
    weak
        Share of angles and dihedrals.
    soft
        Soft cores, parts of sigma^6; 0 for those of the force field.
    width
        Times the width of the bead restraints.
    fine
        Whether bonds have the springs of the force field, and steps are short, see :data:`FINE`.
    """

    steps: int
    heat: tuple[float, float] = (1.0, 1.0)
    weak: tuple[float, float] = (1.0, 1.0)
    soft: tuple[float, float] = (0.0, 0.0)
    width: float = 1.0
    fine: bool = False


LASTLY = Stretch(SETTLED, fine=True)
"""The end of all packing."""

CARRIED = (Stretch(20, soft=(0.1, HARD)), Stretch(10), LASTLY)
"""The dynamics of a frame whose atoms come from one in which the beads were hardly elsewhere."""

RECALLED = (CARRIED[0], Stretch(210), LASTLY)
"""The dynamics of a frame whose molecules are as they should be, but do not know of each other.

How neighbours lie together is mended by dynamics sooner than by sweeps.  Polystyrene of 5,832 atoms ended
.012 kT per atom above a long chain with 40 sweeps after the steps of :data:`CARRIED` (3.8 s of CPU time),
.009 with four sweeps after these (1.5 s), and .00 with eight."""


def make_schedule(annealing: int, *, offered: bool = False) -> tuple[Stretch, ...]:
    """The dynamics of a frame.

    Parameters
    ----------
    annealing
        Steps in which it is annealed, or none.
    offered
        Whether its molecules were offered conformers before.
    """
    at_last = LONGER if offered else LAST
    if annealing == 0:
        middle = math.sqrt(WARM)
        return (
            Stretch(APART, (WARM, middle), soft=(SOFT, HARD)),
            Stretch(APART, (middle, 1.0)),
            Stretch(at_last - APART // 2),
            LASTLY,
        )
    schedule = [
        Stretch(APART, (1.0, HOT), (1.0, WEAK), (SOFT, HARD)),
        Stretch(MELTED, (HOT, HOT), (WEAK, WEAK), width=TIGHT),
    ]
    done = np.linspace(0.0, 1.0, PARTS + 1) ** 2
    for part, (first, last) in enumerate(pairwise(done.tolist())):
        steps = annealing * (part + 1) // PARTS - annealing * part // PARTS
        heat, weak = ((_between((one, 1.0), first), _between((one, 1.0), last)) for one in (HOT, WEAK))
        schedule.append(Stretch(steps, heat, weak, width=TIGHT))
    return (*schedule, Stretch(at_last), LASTLY)


def _between(ends: tuple[float, float], done: float) -> float:
    """Geometric between two values; 0 where the first one is."""
    return float(ends[0] * (ends[1] / ends[0]) ** done) if ends[0] else 0.0


def pack(
    conf: Configuration, chiral: Chiral, schedule: Sequence[Stretch], stream: Stream, team: Team
) -> None:
    """Move the atoms of a frame by Langevin dynamics; ``conf`` changes.

    Parameters
    ----------
    conf
        The frame and the system.
    chiral
        Stereo elements that keep their state.
    schedule
        See :func:`make_schedule`.
    stream
        Random numbers.
    team
        Threads; the result does not depend on them.
    """
    place, softer, stiff = conf.place, *(_packing_arrays(conf.arrays, soft=soft) for soft in (True, False))
    n, key, rng, constants = len(conf.positions), stream.key, np.empty(1, np.uint64), stiff.constants
    motion, atoms = Motion(conf.positions, np.zeros((n, 3)), np.zeros((n, 3))), _driven(stiff)
    centres, signs = np.array(chiral.centres, np.int64), np.asarray(chiral.signs, np.float64)
    cutoff = min(constants.reach, CUTOFF)
    lists, step = make_lists(stiff, 0), 0
    for stretch in schedule:
        arrays, integrator = (stiff, FINE) if stretch.fine else (softer, INTEGRATOR)
        now = arrays._replace(stiffness=arrays.stiffness / stretch.width**2)
        for number in range(stretch.steps):
            if step % RENEWED == 0:
                lists = _renewed(place, arrays, lists, cutoff + MARGIN, team)
            soft, heat, weak = (
                _between(ends, number / stretch.steps) for ends in (stretch.soft, stretch.heat, stretch.weak)
            )
            cores = Cores(cutoff, soft, weak)
            work = partial(_some_forces, place, now, (cores, lists), motion.force)
            team.share(work, len(arrays.first_atom))
            _add_chirality(conf.positions, conf.lattice, centres, signs, motion.force)
            _spread_all(motion, now)
            _seed(rng, key, step)
            langevin_step(motion, atoms, constants.kt * heat, integrator, rng)
            _place_all(motion, now)
            step += 1


def _packing_arrays(arrays: Arrays, *, soft: bool) -> PackingArrays:
    """With charges that end at the cut-off of packing, see :data:`~dbm_gmx.sampling.surroundings.BEYOND`."""
    found = arrays.part(PackingArrays, soft=soft)
    if found.constants.coulomb2 <= CUTOFF**2:
        return found
    return found._replace(constants=found.constants._replace(beyond=zero_quadrupole(CUTOFF).beyond))


# --- virtual sites -----------------------------------------------------------------------------------


def _driven(arrays: PackingArrays) -> IntArray:
    """Atoms of the system that are no virtual sites."""
    sites = np.zeros(len(arrays.type), np.bool_)
    for kind in range(len(arrays.virtual_start) - 1):
        own = arrays.virtual[arrays.virtual_start[kind] : arrays.virtual_start[kind + 1]]
        sites[(arrays.first_atom[arrays.moltype == kind][:, None] + own).reshape(-1)] = True
    return np.flatnonzero(~sites)


@compiled()
def _spread_all(motion: Any, arrays: Any) -> None:
    """Let the forces on virtual sites act on their atoms."""
    if len(arrays.virtual):
        for molecule in range(len(arrays.first_atom)):
            moltype, first = arrays.moltype[molecule], arrays.first_atom[molecule]
            for v in range(arrays.virtual_start[moltype + 1] - 1, arrays.virtual_start[moltype] - 1, -1):
                spread_site(motion.positions, arrays, v, first, motion.force)


@compiled()
def _place_all(motion: Any, arrays: Any) -> None:
    """Put virtual sites where their atoms are."""
    if len(arrays.virtual):
        for molecule in range(len(arrays.first_atom)):
            moltype, first = arrays.moltype[molecule], arrays.first_atom[molecule]
            for v in range(arrays.virtual_start[moltype], arrays.virtual_start[moltype + 1]):
                place_site(motion.positions, arrays, v, first)


@compiled()
def _seed(rng: Any, key: Any, step: int) -> None:
    seeded(rng, key, step)


# --- lists of neighbours -----------------------------------------------------------------------------


def make_lists(arrays: PackingArrays, space: int) -> AtomLists:
    """Empty lists with so much space for each bead."""
    beads, most = len(arrays.owned_start) - 1, int(np.diff(arrays.partner_start).max(initial=1))
    n = len(arrays.type)
    return AtomLists(
        np.zeros(beads, np.int64),
        np.empty((beads, space), np.int32),
        np.empty((beads, space), np.int32),
        np.zeros((beads, len(arrays.c6) + 1), np.int64),
        np.zeros(n, np.int64),
        np.empty((n, most), np.int32),
    )


def _renewed(place: Place, arrays: PackingArrays, lists: AtomLists, reach: float, team: Team) -> AtomLists:
    """Lists of all atoms within ``reach``, nm: the same ones, or larger ones where they do not fit."""
    beads = len(place.beads)
    team.share(partial(_list_some, place, arrays, reach, lists), beads)
    if lists.size.max() > lists.other.shape[1]:
        lists = make_lists(arrays, int(1.2 * lists.size.max()) + 16)
        team.share(partial(_list_some, place, arrays, reach, lists), beads)
    return lists


@compiled()
def _list_some(place: Any, arrays: Any, reach: float, lists: Any, first: int, step: int) -> None:
    """List the atoms within reach of those of every ``step``-th bead, its own among them."""
    for bead in range(first, len(place.beads), step):
        _list(place, arrays, bead, reach, lists)


@compiled(makes_arrays=True)
def _list(place: Any, arrays: Any, bead: int, reach: float, lists: Any) -> None:
    begin, end = arrays.owned_start[bead], arrays.owned_start[bead + 1]
    if begin == end:
        return
    positions, counts = place.positions, lists.begin[bead]
    counts[:] = 0
    size, space = 0, lists.other.shape[1]
    atom, row = np.empty(space, np.int32), np.empty(space, np.int32)
    for q in range(place.near_start[bead], place.near_start[bead + 1]):
        other = place.near[q]
        moved = image(place, place.shift[q])
        if not within(place, bead, other, moved, reach):
            continue
        sx, sy, sz = moved
        for t in range(arrays.owned_start[other], arrays.owned_start[other + 1]):
            j, near = arrays.owned[t], False
            x, y, z = positions[j, 0] + sx, positions[j, 1] + sy, positions[j, 2] + sz
            for r in range(begin, end):
                i = arrays.owned[r]
                dx, dy, dz = x - positions[i, 0], y - positions[i, 1], z - positions[i, 2]
                if dx * dx + dy * dy + dz * dz < reach * reach:
                    near = True
                    break
            if near:
                if size < space:
                    atom[size], row[size] = j, q
                counts[arrays.type[j] + 1] += 1
                size += 1
    lists.size[bead] = size
    if size > space:
        return
    for k in range(1, len(counts)):
        counts[k] += counts[k - 1]
    free = counts[:-1].copy()
    for q in range(size):
        slot = free[arrays.type[atom[q]]]
        lists.other[bead, slot], lists.row[bead, slot] = atom[q], row[q]
        free[arrays.type[atom[q]]] += 1
    _hide(place, arrays, bead, lists)


@compiled(forceinline=True)
def _is_nearest(place: Any, i: int, j: int, row: int, lattice: Any) -> bool:
    """Whether an image of atom j is the one nearest to atom i; without a lattice only one is asked for."""
    if lattice is None:
        return True
    x, y, z = image(place, place.shift[row])
    a, b = place.positions[i], place.positions[j]
    u, v, w = nearest(lattice, b[0] - a[0], b[1] - a[1], b[2] - a[2])
    return abs(b[0] + x - a[0] - u) + abs(b[1] + y - a[1] - v) + abs(b[2] + z - a[2] - w) < 1e-3


@compiled(forceinline=True)
def _hide(place: Any, arrays: Any, bead: int, lists: Any) -> None:
    """Note which of a bead's list are special partners of its atoms, or themselves."""
    begin, end = arrays.owned_start[bead], arrays.owned_start[bead + 1]
    molecule = arrays.molecule[arrays.owned[begin]]
    first = arrays.first_atom[molecule]
    before = arrays.atom_start[arrays.moltype[molecule]] - first
    for r in range(begin, end):
        lists.skipped[arrays.owned[r]] = 0
    for q in range(lists.size[bead]):
        j = lists.other[bead, q]
        row = lists.row[bead, q]
        near_home = at_home(place.shift[row]) or place.lattice is not None
        if arrays.molecule[j] != molecule or not near_home:
            continue
        for r in range(begin, end):
            i = arrays.owned[r]
            for s in range(arrays.partner_start[before + i], arrays.partner_start[before + i + 1]):
                if arrays.partner[s] == j - first and _is_nearest(place, i, j, row, place.lattice):
                    lists.hidden[i, lists.skipped[i]] = q
                    lists.skipped[i] += 1
                    break


# --- forces ------------------------------------------------------------------------------------------


@compiled()
def _dispersion_force(x: Any, y: Any, z: Any, around: Any, of: Any, limit: Any) -> Any:
    """Lennard-Jones force on one place by all in a list, by their c6, c12 and soft cores."""
    fx = fy = fz = np.float32(0.0)
    ax, ay, az = around[0], around[1], around[2]
    c6, c12, core = of[0], of[1], of[2]
    for j in range(len(c6)):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        near = clamped(r2)
        push = lennard_jones_force(near, inverse_sixth(near, core[j]), c6[j], c12[j])
        push = push if r2 < limit else np.float32(0.0)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz


@compiled()
def _charged_force(x: Any, y: Any, z: Any, around: Any, of: Any, limit: Any, charge: Any, beyond: Any) -> Any:
    """The same with charges, and what is beyond the cut-off; soft cores have none."""
    fx = fy = fz = np.float32(0.0)
    ax, ay, az, charges = around[0], around[1], around[2], around[3]
    c6, c12 = of[0], of[1]
    for j in range(len(c6)):
        dx, dy, dz = x - ax[j], y - ay[j], z - az[j]
        r2 = dx * dx + dy * dy + dz * dz
        push = charged_pair_force(clamped(r2), c6[j], c12[j], charge * charges[j], beyond)
        push = push if r2 < limit else np.float32(0.0)
        fx += push * dx
        fy += push * dy
        fz += push * dz
    return fx, fy, fz


@compiled(forceinline=True)
def _wall_force(x: Any, y: Any, z: Any, radius: float) -> Any:
    """Force over distance that keeps an atom in the sphere about its bead, see :data:`WALL`."""
    r2, edge = x * x + y * y + z * z, max(radius - EDGE, 0.0)
    return np.float32(WALL * (edge / math.sqrt(r2) - 1.0) if r2 > edge * edge else 0.0)


@compiled()
def _look_around(place: Any, arrays: Any, bead: int, lists: Any, around: Any) -> None:
    """Set x, y, z relative to a bead, and charge (4, k) of the atoms in its list."""
    positions, centre = place.positions, place.beads[bead]
    other, row, shift, charge = lists.other, lists.row, place.shift, arrays.charge
    for q in range(around.shape[1]):
        j = other[bead, q]
        sx, sy, sz = image(place, shift[row[bead, q]])
        around[0, q] = positions[j, 0] + sx - centre[0]
        around[1, q] = positions[j, 1] + sy - centre[1]
        around[2, q] = positions[j, 2] + sz - centre[2]
        around[3, q] = charge[j]


@compiled(forceinline=True)
def _coefficients(arrays: Any, one: int, begin: Any, soft: float, found: Any) -> None:
    """c6, c12 and soft core (3, k) of an atom of type ``one`` with those of a list, which is sorted by type.

    What has no core does not act where cores are soft.
    """
    for other in range(len(arrays.c6)):
        c6, c12, core = arrays.c6[one, other], arrays.c12[one, other], 0.0
        if soft > 0.0:
            core = soft * c12 / c6 if c6 > 0.0 and c12 > 0.0 else 0.0
            c6, c12 = (c6, c12) if core > 0.0 else (0.0, 0.0)
        for j in range(begin[other], begin[other + 1]):
            found[0, j], found[1, j], found[2, j] = c6, c12, core


class _Around(NamedTuple):
    """What is around a bead, and room to work.

    Attributes
    ----------
    places
        (4, k) see :func:`_look_around`.
    of, row
        (rows, 3, k) see :func:`_coefficients`, and (types,) which row is of which type; -1 if none yet.
    kept
        Places of what does not act on an atom.
    """

    places: Any
    of: Any
    row: Any
    kept: Any


@compiled(makes_arrays=True)
def _bead_forces(place: Any, arrays: Any, cores: Any, lists: Any, force: Any, bead: int) -> None:
    """Forces on the atoms of a bead by all but their special partners."""
    size, types = lists.size[bead], len(arrays.c6)
    around = _Around(
        np.empty((4, size), np.float32),
        np.empty((min(types, arrays.owned_start[bead + 1] - arrays.owned_start[bead]), 3, size), np.float32),
        np.full(types, -1, np.int64),
        np.empty(lists.hidden.shape[1], np.float32),
    )
    _look_around(place, arrays, bead, lists, around.places)
    _push_all(place, arrays, cores, lists, around, force, bead)


@compiled()
def _push_all(place: Any, arrays: Any, cores: Any, lists: Any, around: Any, force: Any, bead: int) -> None:
    """Forces on the atoms of a bead by those in its list."""
    positions, centre, places, rows = place.positions, place.beads[bead], around.places, 0
    limit, beyond = np.float32(cores.cutoff * cores.cutoff), single(arrays.constants.beyond)
    acts = arrays.constants.charged and cores.soft == 0.0
    for r in range(arrays.owned_start[bead], arrays.owned_start[bead + 1]):
        i = arrays.owned[r]
        x = np.float32(positions[i, 0] - centre[0])
        y = np.float32(positions[i, 1] - centre[1])
        z = np.float32(positions[i, 2] - centre[2])
        for q in range(lists.skipped[i]):
            around.kept[q] = places[0, lists.hidden[i, q]]
            places[0, lists.hidden[i, q]] = AWAY
        one, charge = arrays.type[i], np.float32(arrays.charge[i])
        if around.row[one] < 0:
            around.row[one] = rows
            _coefficients(arrays, one, lists.begin[bead], cores.soft, around.of[rows])
            rows += 1
        of = around.of[around.row[one]]
        if acts and charge != 0.0:
            fx, fy, fz = _charged_force(x, y, z, places, of, limit, charge, beyond)
        else:
            fx, fy, fz = _dispersion_force(x, y, z, places, of, limit)
        for q in range(lists.skipped[i]):
            places[0, lists.hidden[i, q]] = around.kept[q]
        pull = _wall_force(x, y, z, place.radius[bead])
        force[i, 0], force[i, 1], force[i, 2] = fx + pull * x, fy + pull * y, fz + pull * z


@compiled()
def _some_forces(place: Any, arrays: Any, pairs: Any, force: Any, first: int, step: int) -> None:
    """Forces on the atoms (n, 3) of every ``step``-th molecule; offsets become those of the positions."""
    cores, lists = pairs
    for molecule in range(first, len(arrays.first_atom), step):
        moltype = arrays.moltype[molecule]
        for bead in range(arrays.site_start[moltype + 1] - arrays.site_start[moltype]):
            _bead_forces(place, arrays, cores, lists, force, arrays.first_bead[molecule] + bead)
        _molecule_forces(place, arrays, molecule, cores, force)


@compiled()
def _molecule_forces(place: Any, arrays: Any, molecule: int, cores: Any, force: Any) -> None:
    """Add the forces of terms, special pairs and beads of a molecule."""
    x, bonded = place.positions, in_lattice(place.positions, place.lattice)
    moltype, first = arrays.moltype[molecule], arrays.first_atom[molecule]
    terms = arrays.term_start[moltype], arrays.term_start[moltype + 1], first
    add_terms(arrays, terms, bonded, cores.weak, force)
    special, parameters = arrays.special, arrays.special_parameters
    types, charge, c6s, c12s = arrays.type, arrays.charge, arrays.c6, arrays.c12
    for s in range(arrays.special_start[moltype], arrays.special_start[moltype + 1]):
        p = pair_parameters(parameters, s)
        if not acts_at_all(p):
            continue
        i, j = first + special[s, 0], first + special[s, 1]
        dx, dy, dz = arm(bonded, j, i)
        c6, c12, qq = special_pair(p, usual_pair(types, charge, c6s, c12s, i, j))
        _, push = pair_energy_and_force(c6, c12, qq, dx * dx + dy * dy + dz * dz, cores.soft)
        add_force(force, i, push * dx, push * dy, push * dz)
        add_force(force, j, -push * dx, -push * dy, -push * dz)
    bead = arrays.first_bead[molecule] - arrays.site_start[moltype]
    for b in range(arrays.site_start[moltype], arrays.site_start[moltype + 1]):
        offset = bead_offset(arrays, b, x, first, place.beads[bead + b])
        add_bead_restraint(arrays, b, first, offset, arrays.stiffness[bead + b], force)
        for d in range(3):
            place.offsets[bead + b, d] = offset[d]


@compiled()
def _add_chirality(positions: Any, lattice: Any, centres: Any, signs: Any, force: Any) -> None:
    """Add the forces that hold the state of stereo elements."""
    x = in_lattice(positions, lattice)
    for c in range(len(signs)):
        if signs[c] != 0.0:
            add_chirality_restraint(x, centres[c], signs[c], force)

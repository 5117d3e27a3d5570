"""A window annealed in the field of its neighbours, as one move that is accepted or not; compiled.

A window is a stretch of a molecule.  Small moves cannot take it from one conformation that its beads allow to
another.  Here its torsions and its neighbours are weakened and brought back while it moves by Langevin
dynamics.  Where it comes to is accepted with the probability that the work done on it asks for, which leaves
the distribution unchanged (nonequilibrium candidate Monte Carlo: Nilmeier, Crooks, Minh, Chodera, Proc. Natl.
Acad. Sci. 108, E1009, 2011).  The schedule is the same from either end, as it must be.

Work is the change of all energy, kinetic energy with it, less the heat.  So neither the time step nor the
forces on the way make an error, as long as these depend on positions alone: neighbours are seen at a short
distance only.

Bonds keep the lengths they have, which other moves change.  Virtual sites follow their atoms.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dbm_gmx.chemistry.stereo import stereo_volume
from dbm_gmx.chemistry.vectors import in_lattice
from dbm_gmx.chemistry.virtual_sites import VirtualSites, place_sites, spread_sites
from dbm_gmx.compiled import compiled
from dbm_gmx.forcefield.forms import ANGLES, DIHEDRALS, HARMONIC
from dbm_gmx.forcefield.nonbonded import (
    ONE,
    acts_at_all,
    special_pair,
    usual_pair,
)
from dbm_gmx.forcefield.terms import add_force, add_terms
from dbm_gmx.sampling.langevin import MASS
from dbm_gmx.sampling.random_numbers import gaussian, uniform
from dbm_gmx.sampling.rattle import DEPENDENT, factor_metric, squared_lengths, straighten, tie
from dbm_gmx.sampling.surroundings import BEYOND, CUTOFF, LIMIT, NOTHING_BEYOND, pair_push
from dbm_gmx.sampling.updates import (
    bead_energy,
    displace,
    inner_energy,
    inside,
    outer_energy,
    put_moved,
    states_of,
)

STEPS = 250
"""Of an annealing."""

TIME_STEP = 0.008
"""ps: all atoms are heavy, and bonds do not swing."""

FRICTION = 5.0
"""ps^-1."""

REFRESHED = 10
"""Steps between two exchanges of heat."""

WEAK, THIN = 0.15, 0.7
"""Shares of torsions, with angles along the chain, and of neighbours, half way.

Beads that are held more loosely half way cost more work than they save (polyethers: 2 % accepted in place of
30).  Torsions about bonds that must not turn over stay: that gives a third more turns in nylon-6."""

WIDE = 0.2
"""nm: how far from its bead an atom is on the way, as a rule: those around are listed for that."""

HELD, TORSION, NEIGHBOUR = range(3)
"""Forces that do not change on the way, and those that get weaker."""


class Window(NamedTuple):
    """A window cut out; rows are those of its atoms, the ones that move first.

    Attributes
    ----------
    free, driven
        How many atoms move, and how many of these, the first ones, are no virtual sites.
    virtual
        The virtual sites.
    x, places, velocity, force
        (n, 3) nm from the centre of the view; (3, n) the same for neighbours; (free, 3) nm/ps; (3, n, 3)
        kJ/mol nm^-1: held, by torsions, by neighbours.
    bonds, square
        (b, 2), (b,) bonds that keep their length, and its square, nm^2.
    form, atoms, parameters, tables, held
        Terms, see :class:`~dbm_gmx.forcefield.terms.BondedTerms`, and how many are held, the first ones;
        others get weaker.
    own
        (3, free, n) c6, c12, qq of pairs within the window.
    around, c6, c12
        (4, k) x, y, z and charge of atoms around, (types, k) coefficients with each.
    slot, charge
        (free,) rows of ``c6``, and charges.
    share, offset, stiffness
        (beads, free) weights of the atoms, (beads, 3) nm of the beads in the beginning less those weights
        times ``x``, and (beads,) kJ/mol nm^-2.
    units, factor
        Space for the metric of the bonds.
    """

    free: int
    driven: int
    virtual: Any
    x: Any
    places: Any
    velocity: Any
    force: Any
    bonds: Any
    square: Any
    form: Any
    atoms: Any
    parameters: Any
    tables: Any
    held: Any
    own: Any
    around: Any
    c6: Any
    c12: Any
    slot: Any
    charge: Any
    share: Any
    offset: Any
    stiffness: Any
    units: Any
    factor: Any


# --- the move ----------------------------------------------------------------------------------------


@compiled(makes_arrays=True)
def anneal_window(place: Any, arrays: Any, at: Any, move: int, view: Any, workspace: Any) -> None:
    """Anneal a window, and take what comes out or leave it."""
    positions, kt = place.positions, arrays.constants.kt
    tried = workspace.tried[move - workspace.first_move]
    inner = _inner(place, arrays, at.first_atom, move)
    bead = bead_energy(place, arrays, at, move, workspace)
    outer = outer_energy(positions, arrays, at.first_atom, move, view)
    states = _all_states(place, arrays, at.first_atom, move)
    window = _cut_out(place, arrays, at, move, view)
    before = factor_metric(window.x, window.bonds, window.driven, window.units, window.factor)
    arrived, work = False, 0.0
    if before != DEPENDENT:
        arrived, work = _go(kt, window, workspace.rng)
    after = factor_metric(window.x, window.bonds, window.driven, window.units, window.factor)
    drawn, accepted = uniform(workspace.rng), False
    for q in range(window.free):
        for d in range(3):
            window.x[q, d] += view.centre[d]
    put_moved(positions, arrays, at.first_atom, move, window.x)
    right = _all_states(place, arrays, at.first_atom, move) == states
    if arrived and right and inside(place, arrays, at, move):
        trial_bead = bead_energy(place, arrays, at, move, workspace)
        trial_inner = _inner(place, arrays, at.first_atom, move)
        trial_outer = outer_energy(positions, arrays, at.first_atom, move, view)
        work += trial_inner + trial_outer + trial_bead - inner - outer - bead
        accepted = drawn < math.exp(min(0.0, -work / kt - 0.5 * (after - before)))
    tried[0] += 1.0
    if accepted:
        tried[1] += 1.0
        workspace.gained[0] += trial_inner + trial_outer - inner - outer
        workspace.gained[1] += trial_bead - bead
        displace(place.offsets, arrays, at.first_bead, move, workspace.offsets)
    else:
        put_moved(positions, arrays, at.first_atom, move, workspace.old)


@compiled(forceinline=True)
def _inner(place: Any, arrays: Any, first: int, move: int) -> float:
    """Energy of terms and special pairs of a window."""
    return inner_energy(in_lattice(place.positions, place.lattice), arrays, first, move)


@compiled()
def _all_states(place: Any, arrays: Any, first: int, move: int) -> int:
    """States of the bonds that do not turn and of the stereocentres of a window, a bit for each."""
    bonded = in_lattice(place.positions, place.lattice)
    states = states_of(bonded, arrays, first, move)
    for q in range(arrays.centre_start[move], arrays.centre_start[move + 1]):
        rows = arrays.centre[q]
        c, i, j, k, m = rows[0], rows[1], rows[2], rows[3], rows[4]
        centre: Any = first + c, first + i, first + j, first + k, first + m if m >= 0 else m
        states = 2 * states + (1 if stereo_volume(bonded, centre) > 0.0 else 0)
    return states


# --- a window cut out --------------------------------------------------------------------------------


@compiled(forceinline=True)
def _row_of(atoms: Any, count: int, atom: int) -> int:
    """Row of an atom, which is added where it is not there; the count may grow by that."""
    for k in range(count):
        if atoms[k] == atom:
            return k
    atoms[count] = atom
    return count


@compiled(makes_arrays=True)
def _cut_out(place: Any, arrays: Any, at: Any, move: int, view: Any) -> Window:
    """Cut out the window of a move."""
    begin, end, first = arrays.moved_start[move], arrays.moved_start[move + 1], at.first_atom
    free, ties = end - begin, arrays.tied_start[move + 1] - arrays.tied_start[move]
    terms = arrays.changed_start[move + 1] - arrays.changed_start[move]
    pairs = arrays.pair_start[move + 1] - arrays.pair_start[move]
    sites, made = _size_of_sites(arrays, move)
    atoms = np.empty(free + 2 * ties + 5 * terms + pairs + made, np.int64)
    atoms[:free] = arrays.moved[begin:end]
    count, bonds, degree = free, np.empty((ties, 2), np.int64), np.zeros(len(atoms), np.int64)
    for b in range(ties):
        for s in range(2):
            row = _row_of(atoms, count, arrays.tied[arrays.tied_start[move] + b, s])
            count = max(count, row + 1)
            bonds[b, s] = row
            degree[row] += 1 if row < free else 2  # whatever hangs on those that stand still
    term, rows = np.empty(terms, np.int64), np.zeros((terms, 5), np.int64)
    stays, kept = np.zeros(terms, np.bool_), 0
    for q in range(terms):
        t = arrays.changed[arrays.changed_start[move] + q]
        for k in range(5):
            if arrays.atoms[t, k] >= 0:
                rows[kept, k] = _row_of(atoms, count, arrays.atoms[t, k])
                count = max(count, rows[kept, k] + 1)
        if not _is_tied(bonds, arrays.form[t], rows[kept]):
            term[kept] = t
            stays[kept] = _is_held(arrays.form[t], rows[kept], degree) or _is_about(arrays, move, t)
            kept += 1
    held = _held_first(stays[:kept], term[:kept], rows[:kept])
    for q in range(pairs):
        count = max(count, _row_of(atoms, count, arrays.pair[arrays.pair_start[move] + q, 1]) + 1)
    virtual, count = _virtual_of(arrays, move, free - sites, atoms, count)
    x = np.empty((count, 3))
    for k in range(count):
        for d in range(3):
            x[k, d] = place.positions[first + atoms[k], d] - view.centre[d]
    charge = np.empty(free, np.float32)
    for k in range(free):
        charge[k] = arrays.charge[first + atoms[k]]
    around, c6, c12 = _near(place, arrays, at, view)
    share, offset, stiffness = _restraints(place, arrays, at, move, x)
    return Window(
        free,
        free - sites,
        virtual,
        x,
        np.empty((3, count), np.float32),
        np.empty((free, 3)),
        np.zeros((3, count, 3)),
        bonds,
        squared_lengths(x, bonds),
        arrays.form[term[:kept]],
        rows[:kept],
        arrays.parameters[term[:kept]],
        arrays.tables,
        held,
        _own_pairs(arrays, at, move, atoms[:count]),
        around,
        c6,
        c12,
        arrays.slot[begin:end],
        charge,
        share,
        offset,
        stiffness,
        np.empty((ties, 3)),
        np.empty((ties, ties)),
    )


@compiled(forceinline=True)
def _size_of_sites(arrays: Any, move: int) -> Any:
    """How many virtual sites move in a window, and how many atoms make them, counted for each."""
    made = 0
    for q in range(arrays.built_start[move], arrays.built_start[move + 1]):
        made += arrays.made_start[arrays.built[q] + 1] - arrays.made_start[arrays.built[q]]
    return arrays.built_start[move + 1] - arrays.built_start[move], made


@compiled(forceinline=True, makes_arrays=True)
def _virtual_of(arrays: Any, move: int, first: int, atoms: Any, count: int) -> Any:
    """The virtual sites of a window, in rows from ``first`` on, and how many atoms there are with theirs."""
    sites, made = _size_of_sites(arrays, move)
    form, parameters = np.empty(sites, np.int64), np.empty((sites, 3))
    start, of, weight, k = np.zeros(sites + 1, np.int64), np.empty(made, np.int64), np.empty(made), 0
    for s in range(sites):
        v = arrays.built[arrays.built_start[move] + s]
        form[s] = arrays.virtual_form[v]
        for d in range(3):
            parameters[s, d] = arrays.virtual_parameters[v, d]
        for q in range(arrays.made_start[v], arrays.made_start[v + 1]):
            of[k], weight[k] = _row_of(atoms, count, arrays.made_of[q]), arrays.made_weight[q]
            count = max(count, of[k] + 1)
            k += 1
        start[s + 1] = k
    return VirtualSites(np.arange(first, first + sites), form, parameters, start, of, weight), count


@compiled(forceinline=True)
def _is_tied(bonds: Any, form: int, rows: Any) -> bool:
    """Whether a term is of a bond whose length is kept."""
    if form >= ANGLES:
        return False
    for b in range(len(bonds)):
        if (bonds[b, 0] == rows[0] and bonds[b, 1] == rows[1]) or (
            bonds[b, 1] == rows[0] and bonds[b, 0] == rows[1]
        ):
            return True
    return False


@compiled(forceinline=True)
def _held_first(stays: Any, term: Any, rows: Any) -> int:
    """Put the terms that are held before those that get weaker; how many they are."""
    held = 0
    for q in range(len(term)):
        if stays[q]:
            term[q], term[held] = term[held], term[q]
            stays[q], stays[held] = stays[held], stays[q]
            for k in range(5):
                rows[q, k], rows[held, k] = rows[held, k], rows[q, k]
            held += 1
    return held


@compiled(forceinline=True)
def _is_about(arrays: Any, move: int, t: int) -> bool:
    """Whether a term is a torsion about a bond that must not turn over."""
    if arrays.form[t] < DIHEDRALS:
        return False
    i, j = arrays.atoms[t, 1], arrays.atoms[t, 2]
    for q in range(arrays.held_start[move], arrays.held_start[move + 1]):
        k, m = arrays.held[q, 1], arrays.held[q, 2]
        if (i == k and j == m) or (i == m and j == k):
            return True
    return False


@compiled(forceinline=True)
def _is_held(form: int, rows: Any, degree: Any) -> bool:
    """Whether a term is held: angles of single atoms do not stand in the way of torsions.

    What need not be weakened makes no work.
    """
    if form < ANGLES or form == HARMONIC:
        return True
    return form < DIHEDRALS and (degree[rows[0]] < 2 or degree[rows[2]] < 2)


@compiled(makes_arrays=True)
def _own_pairs(arrays: Any, at: Any, move: int, atoms: Any) -> Any:
    """(3, free, n) c6, c12, qq of pairs within a window."""
    free, first = arrays.moved_start[move + 1] - arrays.moved_start[move], at.first_atom
    own = np.zeros((3, free, len(atoms)), np.float32)
    for q in range(arrays.pair_start[move], arrays.pair_start[move + 1]):
        if not acts_at_all(arrays.pair_parameters[q]):
            continue
        i, j = arrays.pair[q, 0], arrays.pair[q, 1]
        usual = usual_pair(arrays.type, arrays.charge, arrays.c6, arrays.c12, first + i, first + j)
        of = special_pair(arrays.pair_parameters[q], usual)
        row, other = _row_of(atoms, len(atoms), i), _row_of(atoms, len(atoms), j)
        own[0, row, other], own[1, row, other], own[2, row, other] = of
        if other < free:
            own[0, other, row], own[1, other, row], own[2, other, row] = of
    return own


@compiled(makes_arrays=True)
def _near(place: Any, arrays: Any, at: Any, view: Any) -> Any:
    """Those of the view that a window may meet: (4, k), and (types, k) c6 and c12."""
    count, centre = view.around.shape[1], view.centre
    begin, end = arrays.cluster_bead_start[at.cluster], arrays.cluster_bead_start[at.cluster + 1]
    found, k = np.empty(count, np.int64), 0
    for j in range(count):
        for q in range(begin, end):
            bead, r2 = at.first_bead + arrays.cluster_bead[q], 0.0
            for d in range(3):
                r2 += (place.beads[bead, d] - centre[d] - view.around[d, j]) ** 2
            if r2 < (WIDE + CUTOFF) ** 2:
                found[k] = j
                k += 1
                break
    around, types = np.empty((4, k), np.float32), len(view.c6)
    c6, c12 = np.empty((types, k), np.float32), np.empty((types, k), np.float32)
    for q in range(k):
        for d in range(3):
            around[d, q] = view.around[d, found[q]]
        around[3, q] = view.charge[found[q]]
        for s in range(types):
            c6[s, q], c12[s, q] = view.c6[s, found[q]], view.c12[s, found[q]]
    return around, c6, c12


@compiled(makes_arrays=True)
def _restraints(place: Any, arrays: Any, at: Any, move: int, x: Any) -> Any:
    """Weights, offsets and stiffness of the beads that a window shifts."""
    free = arrays.moved_start[move + 1] - arrays.moved_start[move]
    begin, beads = arrays.shifted_start[move], arrays.shifted_start[move + 1] - arrays.shifted_start[move]
    share, offset, stiffness = np.empty((beads, free)), np.empty((beads, 3)), np.empty(beads)
    for b in range(beads):
        bead = at.first_bead + arrays.shifted[begin + b]
        stiffness[b] = arrays.stiffness[bead]
        for r in range(free):
            share[b, r] = arrays.share[arrays.share_start[move] + b * free + r]
        for d in range(3):
            offset[b, d] = place.offsets[bead, d]
            for r in range(free):
                offset[b, d] -= share[b, r] * x[r, d]
    return share, offset, stiffness


# --- the way -----------------------------------------------------------------------------------------


@compiled(makes_arrays=True)
def _go(kt: float, window: Any, rng: Any) -> tuple[bool, float]:
    """Move a window along its schedule.

    Returns
    -------
    Whether its bonds could be kept all the way, and the change of its kinetic energy less the heat, kJ/mol.
    """
    x, velocity, driven = window.x, window.velocity, window.driven
    kept, before = math.exp(-FRICTION * TIME_STEP * REFRESHED), window.x.copy()
    _thermalise(window, 0.0, kt, rng)
    work = -_kinetic(window)
    _forces(window)
    for step in range(STEPS):
        done = 1.0 - abs(2.0 * (step + 0.5) / STEPS - 1.0)
        done *= 2.0 - done  # slow in the middle
        weak, thin = WEAK**done, THIN**done
        _kick(window, weak, thin)
        for q in range(driven):
            for d in range(3):
                before[q, d] = x[q, d]
                x[q, d] += TIME_STEP * velocity[q, d]
        if not tie(x, before, window.bonds, window.square, driven):
            return False, 0.0
        for q in range(driven):
            for d in range(3):
                velocity[q, d] = (x[q, d] - before[q, d]) / TIME_STEP
        place_sites(x, window.virtual)
        _forces(window)
        _kick(window, weak, thin)
        if (step + 1) % REFRESHED == 0:
            if factor_metric(x, window.bonds, driven, window.units, window.factor) == DEPENDENT:
                return False, 0.0
            straighten(velocity, window.bonds, driven, window.units, window.factor)
            work += _kinetic(window)
            if step + 1 < STEPS:
                _thermalise(window, kept, kt, rng)
                work -= _kinetic(window)
    return True, work


@compiled(forceinline=True)
def _kinetic(window: Any) -> float:
    """kJ/mol."""
    total = 0.0
    for q in range(window.driven):
        for d in range(3):
            total += window.velocity[q, d] ** 2
    return 0.5 * MASS * total


@compiled(forceinline=True)
def _thermalise(window: Any, kept: float, kt: float, rng: Any) -> None:
    """Keep a share of the velocities and draw the rest; the metric must be that of the positions."""
    width = math.sqrt((1.0 - kept * kept) * kt / MASS)
    for q in range(window.driven):
        for d in range(3):
            velocity = kept * window.velocity[q, d] if kept > 0.0 else 0.0
            window.velocity[q, d] = velocity + width * gaussian(rng)
    straighten(window.velocity, window.bonds, window.driven, window.units, window.factor)


@compiled(forceinline=True)
def _kick(window: Any, weak: float, thin: float) -> None:
    """Half a step of the velocities, with these shares of torsions and neighbours."""
    force, half = window.force, 0.5 * TIME_STEP / MASS
    for q in range(window.driven):
        for d in range(3):
            total = force[HELD, q, d] + weak * force[TORSION, q, d] + thin * force[NEIGHBOUR, q, d]
            window.velocity[q, d] += half * total


# --- forces ------------------------------------------------------------------------------------------


@compiled()
def _forces(window: Any) -> None:
    """Work out the forces on the atoms of a window; those on atoms that stand still mean nothing."""
    x, force, free = window.x, window.force, window.free
    for k in range(len(force)):
        for q in range(free):
            for d in range(3):
                force[k, q, d] = 0.0
    add_terms(window, (0, window.held, 0), x, 1.0, force[HELD])
    add_terms(window, (window.held, len(window.form), 0), x, 1.0, force[TORSION])
    _add_neighbours(window, force[NEIGHBOUR])
    for b in range(len(window.stiffness)):
        share = window.share[b]
        for d in range(3):
            offset = window.offset[b, d]
            for r in range(free):
                offset += share[r] * x[r, d]
            for r in range(free):
                force[HELD, r, d] -= window.stiffness[b] * share[r] * offset
    for k in range(len(force)):
        spread_sites(x, window.virtual, force[k])


@compiled()
def _add_neighbours(window: Any, force: Any) -> None:
    """Add the forces of pairs, within the window and with atoms around."""
    places = window.places
    for q in range(len(window.x)):
        for d in range(3):
            places[d, q] = window.x[q, d]
    for q in range(window.free):
        at, slot = (places[0, q], places[1, q], places[2, q]), window.slot[q]
        of = window.own[0, q], window.own[1, q], window.own[2, q]
        fx, fy, fz = pair_push(at, places, of, ONE, LIMIT, NOTHING_BEYOND)
        of = window.c6[slot], window.c12[slot], window.around[3]
        gx, gy, gz = pair_push(at, window.around, of, window.charge[q], LIMIT, BEYOND)
        add_force(force, q, fx + gx, fy + gy, fz + gz)

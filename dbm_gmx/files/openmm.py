"""A topology as an OpenMM system, with the cut-offs and constraints of a GROMACS run, and its simulation.

Loaded only where it is asked for: OpenMM is an extra, ``dbm-gmx[openmm]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import whole_molecules
from dbm_gmx.chemistry.topology import (
    MoleculeType,
    Terms,
    Topology,
    atom_charges,
    atom_types,
    blocks,
    chemical_bonds,
    excluded_pairs,
    nonbonded_parameters,
    residue_numbers,
)
from dbm_gmx.chemistry.units import ELECTRIC
from dbm_gmx.chemistry.virtual_sites import LINEAR, THREE_OUT, virtual_sites
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield import forms
from dbm_gmx.forcefield.constraints import fixed_bonds, without_bonds
from dbm_gmx.forcefield.nonbonded import lennard_jones_tail, long_range
from dbm_gmx.forcefield.terms import canonical, energy_name, energy_terms
from dbm_gmx.options import Conditions

HARMONIC_WAY = "min(d, 2*pi-d)^2; d = abs(theta-p0); pi = 3.141592653589793"

CUSTOM: Mapping[int, tuple[str, str]] = {
    forms.QUARTIC: ("bond", "0.25*p1*(r^2-p0^2)^2"),
    forms.MORSE: ("bond", "p1*(1-exp(-p2*(r-p0)))^2"),
    forms.CUBIC: ("bond", "p1*(r-p0)^2*(1+p2*(r-p0))"),
    forms.FENE: ("bond", "-0.5*p1*p0^2*log(1-(r/p0)^2)"),
    forms.COSINE: ("angle", "0.5*p1*(cos(theta)-p0)^2"),
    forms.ANGLE_POLYNOMIAL: ("angle", "p1+d*(p2+d*(p3+d*(p4+d*p5))); d = theta-p0"),
    forms.RESTRICTED_ANGLE: ("angle", "0.5*p1*((cos(theta)-p0)/sin(theta))^2"),
    forms.HARMONIC: ("torsion", f"0.5*p1*{HARMONIC_WAY}"),
    forms.RESTRICTED_DIHEDRAL: ("torsion", "0.5*p1*((cos(theta)-p0)/sin(theta))^2"),
}
"""Forms of :class:`~dbm_gmx.forcefield.terms.BondedTerms` that OpenMM has no force of its own for."""

PAIRS = {"pairs": "p1/r^12-p0/r^6", "coulomb14": f"{ELECTRIC!r}*p0/r"}
"""Energies of 1-4 pairs."""

MOST_GROUPS = 32

FORCES = {
    "bond": openmm.CustomBondForce,
    "angle": openmm.CustomAngleForce,
    "torsion": openmm.CustomTorsionForce,
}
ADDERS = {"bond": "addBond", "angle": "addAngle", "torsion": "addTorsion"}
ATOMS = {"bond": 2, "angle": 3, "torsion": 4}


def to_openmm(topology: Topology, frame: Frame, conditions: Conditions) -> openmm.System:
    """Return the whole system, with the interactions that a GROMACS run of these conditions has.

    Parameters
    ----------
    topology
        Any topology; the order of atoms is kept.
    frame
        Its box is that of the system.
    conditions
        Cut-offs, constraints, and what is beyond the cut-off: the sum over the lattice (PME), or a reaction
        field.  Lennard-Jones ends at its cut-off as there: shifted, or with its force switched.

    Returns
    -------
    Its forces have the names of the energies in ``gmx energy``: ``Bond``, ``Angle``, ``LJ-14``, ``LJ (SR)``
    and so on; ``Coulomb`` is that of PME as a whole, else ``Coulomb (SR)``.

    Raises
    ------
    InputError
        An interaction or a virtual site that OpenMM has no like of here.
    """
    made = openmm.System()
    for mass in np.concatenate([np.zeros(0), *_tiled(topology, lambda m: m.masses)]):
        made.addParticle(float(mass))
    if not frame.free:
        made.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*map(float, row)) for row in frame.box))
    bonded = _Bonded(made)
    for moltype, first, count in blocks(topology):
        fixed, lengths = fixed_bonds(moltype, conditions.constraints)
        starts = first + moltype.n_atoms * np.arange(count)
        for start in starts.tolist():
            for (i, j), length in zip(fixed.tolist(), lengths.tolist(), strict=True):
                made.addConstraint(start + i, start + j, length)
            _add_sites(made, moltype, start)
        for terms in energy_terms(moltype, fudge_qq=_fudge(topology), epsilon_r=conditions.epsilon_r):
            bonded.add(without_bonds(terms, fixed), starts)
    made.addForce(_lennard_jones(topology, frame, conditions))
    for force in _coulomb(topology, frame, conditions):
        made.addForce(force)
    return made


def _fudge(topology: Topology) -> float:
    return 1.0 if topology.nonbonded is None else topology.nonbonded.fudge_qq


def _tiled(topology: Topology, of: Callable[[MoleculeType], FloatArray]) -> list[FloatArray]:
    return [np.tile(of(moltype), count) for moltype, _, count in blocks(topology)]


# --- bonded ------------------------------------------------------------------------------------------


class _Bonded:
    """Forces of bonded terms and 1-4 pairs, made when they are needed first."""

    def __init__(self, system: openmm.System):
        self.system = system
        self.forces: dict[tuple[str, int], Any] = {}

    def force(self, name: str, form: int, make: Callable[[], Any]) -> Any:
        """The force of a name and a form."""
        if (name, form) not in self.forces:
            self.forces[name, form] = force = make()
            force.setName(name)
            self.system.addForce(force)
        return self.forces[name, form]

    def add(self, terms: Terms, starts: IntArray) -> None:
        """Add terms of molecules that begin at ``starts``."""
        name = energy_name(terms)
        if terms.directive in PAIRS:
            force = self.force(name, -1, lambda: _custom("bond", PAIRS[terms.directive]))
            for rows, p in zip(terms.atoms.tolist(), terms.parameters.tolist(), strict=True):
                for start in starts.tolist():
                    force.addBond(start + rows[0], start + rows[1], [*p, *[0.0] * (6 - len(p))])
            return
        made = canonical([terms])
        every = zip(made.form.tolist(), made.atoms.tolist(), made.parameters.tolist(), strict=True)
        for form, rows, p in every:
            adder = self._adder(name, form, p)
            for start in starts.tolist():
                adder([start + row for row in rows if row >= 0])

    def _adder(self, name: str, form: int, p: list[float]) -> Callable[[list[int]], Any]:
        """What adds a term of some atoms."""
        if form == forms.DISTANCE:
            force = self.force(name, form, openmm.HarmonicBondForce)
            return lambda atoms: force.addBond(*atoms[:2], p[0], p[1])
        if form == forms.ANGLE:
            force = self.force(name, form, openmm.HarmonicAngleForce)
            return lambda atoms: force.addAngle(*atoms[:3], p[0], p[1])
        if form == forms.PERIODIC and p[2] > 0:
            force = self.force(name, form, openmm.PeriodicTorsionForce)
            return lambda atoms: force.addTorsion(*atoms[:4], round(p[2]), p[0], p[1])
        if form == forms.POLYNOMIAL:
            force = self.force(name, form, openmm.RBTorsionForce)
            return lambda atoms: force.addTorsion(*atoms[:4], *p[:6])
        if form not in CUSTOM:
            raise InputError(f"{name}: terms of the form {forms.FORMS[form]} are not passed on to OpenMM")
        kind, energy = CUSTOM[form]
        force = self.force(name, form, lambda: _custom(kind, energy))
        size, add = ATOMS[kind], getattr(force, ADDERS[kind])
        return lambda atoms: add(*atoms[:size], p)


def _custom(kind: str, energy: str) -> Any:
    force = FORCES[kind](energy)
    for k in range(6):
        getattr(force, f"addPer{kind.capitalize()}Parameter")(f"p{k}")
    return force


def _add_sites(system: openmm.System, moltype: MoleculeType, start: int) -> None:
    """Add the virtual sites of a molecule."""
    sites = virtual_sites(moltype)
    for k, row in enumerate(sites.virtual.tolist()):
        part = slice(sites.made_start[k], sites.made_start[k + 1])
        atoms, weights = (start + sites.made_of[part]).tolist(), sites.made_weight[part].tolist()
        form = sites.virtual_form[k]
        if form == LINEAR and len(atoms) in (2, 3):
            kind = openmm.TwoParticleAverageSite if len(atoms) == 2 else openmm.ThreeParticleAverageSite
            system.setVirtualSite(start + row, kind(*atoms, *weights))
        elif form == THREE_OUT:
            system.setVirtualSite(
                start + row, openmm.OutOfPlaneSite(*atoms[:3], *map(float, sites.virtual_parameters[k]))
            )
        else:
            raise InputError(
                f"molecule type {moltype.name}: virtual site {moltype.names[row]} is made in a way that is "
                "not passed on to OpenMM"
            )


# --- pairs -------------------------------------------------------------------------------------------


def _lennard_jones(topology: Topology, frame: Frame, conditions: Conditions) -> openmm.CustomNonbondedForce:
    """Lennard-Jones of all pairs but excluded ones, which ends at its cut-off as in GROMACS."""
    parameters = nonbonded_parameters(topology)
    tail = lennard_jones_tail(conditions.rvdw, conditions.rvdw_switch)
    kinds, types = np.unique(atom_types(topology), return_inverse=True)
    force = openmm.CustomNonbondedForce(
        f"c12(a1,a2)*(1/r^12-{tail.shift12!r}-t^3*({tail.a12!r}+t*{tail.b12!r}))"
        f"-c6(a1,a2)*(1/r^6-{tail.shift6!r}-t^3*({tail.a6!r}+t*{tail.b6!r})); t=max(r-{tail.start!r},0)"
    )
    force.setName("LJ (SR)")
    n = len(kinds)
    for name, values in (("c6", parameters.c6), ("c12", parameters.c12)):
        some = values[np.ix_(kinds, kinds)].ravel().tolist()
        force.addTabulatedFunction(name, openmm.Discrete2DFunction(n, n, some))
    force.addPerParticleParameter("a")
    for one in types.tolist():
        force.addParticle([float(one)])
    _cut(force, frame, conditions.rvdw)
    for i, j in _excluded(topology):
        force.addExclusion(i, j)
    return force


def _cut(force: openmm.CustomNonbondedForce, frame: Frame, cutoff: float) -> None:
    """Let a force end at a cut-off, nm."""
    force.setNonbondedMethod(force.CutoffNonPeriodic if frame.free else force.CutoffPeriodic)
    force.setCutoffDistance(cutoff)


def _coulomb(topology: Topology, frame: Frame, conditions: Conditions) -> list[openmm.Force]:
    """Coulomb of all pairs but excluded ones, on which only what is beyond the cut-off acts."""
    charges = atom_charges(topology) * conditions.epsilon_r**-0.5
    if not charges.any():
        return []
    if conditions.epsilon_rf is None and not frame.free:
        force = openmm.NonbondedForce()
        force.setName("Coulomb")
        force.setNonbondedMethod(force.PME)
        force.setCutoffDistance(conditions.rcoulomb)
        for charge in charges.tolist():
            force.addParticle(charge, 1.0, 0.0)
        for i, j in _excluded(topology):
            force.addException(i, j, 0.0, 1.0, 0.0)
        return [force]
    c0, c2, c4 = long_range(conditions).beyond
    beyond = f"{ELECTRIC!r}*%s*(%s{float(c0)!r}+r^2*({float(c2)!r}+r^2*{float(c4)!r}))"
    force = openmm.CustomNonbondedForce(beyond % ("q1*q2", "1/r+"))
    force.addPerParticleParameter("q")
    for charge in charges.tolist():
        force.addParticle([charge])
    _cut(force, frame, conditions.rcoulomb)
    near = openmm.CustomBondForce(f"step({conditions.rcoulomb!r}-r)*" + beyond % ("qq", ""))
    near.addPerBondParameter("qq")
    for i, j in _excluded(topology):
        force.addExclusion(i, j)
        near.addBond(i, j, [charges[i] * charges[j]])
    for one in (force, near):
        one.setName("Coulomb (SR)")
    return [force, near]


def _excluded(topology: Topology) -> Iterator[tuple[int, int]]:
    """Yield excluded pairs of the system."""
    for moltype, first, count in blocks(topology):
        pairs = excluded_pairs(moltype).tolist()
        for start in (first + moltype.n_atoms * np.arange(count)).tolist():
            yield from ((start + i, start + j) for i, j in pairs)


# --- a simulation ------------------------------------------------------------------------------------


def app_topology(topology: Topology, frame: Frame) -> app.Topology:
    """Atoms, residues, bonds and box as OpenMM's applications know them: a chain for each molecule."""
    made, numbers = app.Topology(), residue_numbers(topology)
    for moltype, _, count in blocks(topology):
        nodes = [moltype.graph.nodes[i] for i in range(moltype.n_atoms)]
        for _ in range(count):
            chain, before, atoms = made.addChain(), None, []
            for node, number in zip(nodes, islice(numbers, moltype.n_atoms), strict=True):
                if before != (number, node["resname"]):
                    before = number, node["resname"]
                    residue = made.addResidue(str(node["resname"]), chain, str(number))
                element = app.Element.getBySymbol(node["element"]) if node["element"] else None
                atoms.append(made.addAtom(str(node["name"]), element, residue))
            for i, j in chemical_bonds(moltype).tolist():
                made.addBond(atoms[i], atoms[j])
    if not frame.free:
        made.setPeriodicBoxVectors([openmm.Vec3(*map(float, row)) for row in frame.box] * unit.nanometer)
    return made


def make_simulation(
    topology: Topology,
    frame: Frame,
    conditions: Conditions,
    *,
    step: float = 0.001,
    friction: float = 1.0,
    seed: int = 1,
    platform: str | None = None,
) -> app.Simulation:
    """Return a simulation at the temperature of the conditions, with its positions and box set.

    Parameters
    ----------
    frame
        Atoms.  Molecules are made whole, for OpenMM takes bonds as they stand.
    step, friction
        Of the Langevin integrator, ps and 1/ps.
    seed
        Of the velocities, which are drawn at the temperature, and of the friction.
    platform
        ``CPU``, ``CUDA``, ``OpenCL`` or ``Reference``; the fastest if not given.

    Raises
    ------
    InputError
        As :func:`to_openmm`; or there is no such platform.
    """
    if frame.box.any():
        frame = whole_molecules(topology, frame)
        if frame.winds:
            raise InputError("molecules are bonded to their own periodic images, which OpenMM is not told of")
    system = to_openmm(topology, frame, conditions)
    integrator = openmm.LangevinMiddleIntegrator(conditions.temperature, friction, step)
    integrator.setRandomNumberSeed(seed)
    chosen = () if platform is None else (_platform(platform),)
    simulation = app.Simulation(app_topology(topology, frame), system, integrator, *chosen)
    simulation.context.setPositions(frame.positions.astype(np.float64))
    simulation.context.computeVirtualSites()
    simulation.context.setVelocitiesToTemperature(conditions.temperature, seed)
    return simulation


def _platform(name: str) -> Any:
    known = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
    if name not in known:
        raise InputError(f"OpenMM has no platform {name!r} here; there are {', '.join(known)}")
    return openmm.Platform.getPlatformByName(name)


def energies(simulation: app.Simulation) -> dict[str, float]:
    """Potential energies of a simulation by name, kJ/mol."""
    found: dict[str, float] = {}
    forces = simulation.system.getForces()
    if len(forces) > MOST_GROUPS:
        raise InputError(f"{len(forces)} forces: the energies of at most {MOST_GROUPS} can be told apart")
    for group, force in enumerate(forces):
        force.setForceGroup(group)
    simulation.context.reinitialize(preserveState=True)
    for group, force in enumerate(forces):
        state = simulation.context.getState(getEnergy=True, groups={group})
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        found[force.getName()] = found.get(force.getName(), 0.0) + float(energy)
    return found

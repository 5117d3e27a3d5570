"""A topology as a ParmEd structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import parmed

from dbm_gmx.chemistry.topology import MoleculeType, NonBonded, Terms, Topology, blocks, chemical_graph
from dbm_gmx.chemistry.units import ANGSTROM, KCAL

_IN_KCAL = 1 / KCAL  # ParmEd works in kcal/mol, angstrom and degrees
_IN_ANGSTROM = 1 / ANGSTROM
_LISTS = ("angles", "dihedrals")


def to_parmed(topology: Topology) -> parmed.Structure:
    """Return the whole system as a ParmEd structure.

    Parameters
    ----------
    topology
        Any topology; the order of atoms is kept.

    Returns
    -------
    Atoms with names, types, masses, charges, residues and Lennard-Jones parameters of their own
    type; chemical bonds, angles, dihedrals, impropers.  A force constant of GROMACS (1/2 k x^2) is
    halved for ParmEd (k x^2).  Terms in a form ParmEd lacks (GROMOS, tabulated, ...) are there
    without type.  1-4 pairs and ``[ nonbond_params ]`` are not passed on.
    """
    structure = parmed.Structure()
    if topology.nonbonded is not None:
        structure.combining_rule = "lorentz" if topology.nonbonded.rule == 2 else "geometric"
    own = _own_sizes(topology.nonbonded)
    scale = _scales(topology.nonbonded)
    for moltype, _, count in blocks(topology):
        bonds = _bond_types(structure, moltype)
        chemical = sorted((min(bond), max(bond)) for bond in chemical_graph(moltype).edges)
        terms = [(term, _types(structure, term, scale)) for term in moltype.terms if term.directive in _LISTS]
        for _ in range(count):
            atoms = _add_atoms(structure, moltype, own)
            for i, j in chemical:
                structure.bonds.append(parmed.Bond(atoms[i], atoms[j], type=bonds.get((i, j))))
            for term, types in terms:
                _add_term(structure, term, atoms=atoms, types=types)
    return structure


def _add_atoms(
    structure: parmed.Structure, moltype: MoleculeType, own: dict[str, tuple[float, float]]
) -> list[Any]:
    """Add one molecule's atoms; a change of residue number or name begins a residue."""
    atoms = []
    residue = None
    for _, node in sorted(moltype.graph.nodes(data=True)):
        number = parmed.periodic_table.AtomicNum.get(node["element"], 0)
        atom = parmed.Atom(
            atomic_number=number,
            name=node["name"],
            type=node["type"],
            charge=node["charge"],
            mass=node["mass"],
        )
        atom.sigma, atom.epsilon = own.get(node["type"], (0.0, 0.0))
        if residue is None or (residue.number, residue.name) != (node["resid"], node["resname"]):
            residue = parmed.Residue(node["resname"], number=node["resid"], list=structure.residues)
            structure.residues.append(residue)
        structure.atoms.append(atom)
        residue.add_atom(atom)
        atoms.append(atom)
    return atoms


def _own_sizes(lj: NonBonded | None) -> dict[str, tuple[float, float]]:
    """Return sigma (angstrom) and epsilon (kcal/mol) of each type with itself."""
    if lj is None:
        return {}
    c6, c12 = np.diag(lj.c6), np.diag(lj.c12)
    both = (c6 > 0) & (c12 > 0)
    sigma = np.where(both, (c12 / np.where(both, c6, 1.0)) ** (1 / 6), 0.0) * _IN_ANGSTROM
    epsilon = np.where(both, c6**2 / (4 * np.where(both, c12, 1.0)), 0.0) * _IN_KCAL
    return {name: (float(s), float(e)) for name, s, e in zip(lj.types, sigma, epsilon, strict=True)}


def _scales(lj: NonBonded | None) -> dict[str, float]:
    """Return the divisors of 1-4 interactions, which ParmEd keeps with each dihedral."""
    if lj is None or not lj.generate_pairs:
        return {}
    return {"scee": 1 / (lj.fudge_qq or 1.0), "scnb": 1 / (lj.fudge_lj or 1.0)}


def _bond_types(structure: parmed.Structure, moltype: MoleculeType) -> dict[tuple[int, int], Any]:
    """Return the type of each harmonic bond by its two rows, the lower one first."""
    found: dict[tuple[int, int], Any] = {}
    for term in (t for t in moltype.terms if (t.directive, t.function) == ("bonds", 1) and t.parameters.size):
        for (i, j), (length, k) in zip(term.atoms.tolist(), term.parameters.tolist(), strict=True):
            bond = parmed.BondType(k / 2 * _IN_KCAL / _IN_ANGSTROM**2, length * _IN_ANGSTROM)
            found[min(i, j), max(i, j)] = _listed(bond, structure.bond_types)
    return found


def _listed(parameters: Any, types: Any) -> Any:
    """Put a parameter type into the structure's list of them."""
    types.append(parameters)
    parameters.list = types
    return parameters


def _types(structure: parmed.Structure, term: Terms, scale: dict[str, float]) -> list[Any]:
    """Return one ParmEd type for each row of angles or dihedrals, ``None`` where it has none.

    A row that repeats one before shares its type.
    """
    made: dict[tuple[float, ...], Any] = {}
    for row in map(tuple, term.parameters.tolist()):
        if row not in made:
            made[row] = _type(structure, term, row, scale=scale)
    return [made[tuple(row)] for row in term.parameters.tolist()]


def _type(structure: parmed.Structure, term: Terms, p: tuple[float, ...], *, scale: dict[str, float]) -> Any:
    """Return the ParmEd type of one row: of angles with Urey-Bradley a pair of them."""
    if not p:
        return None
    match term.directive, term.function:
        case "angles", 1:
            return _listed(parmed.AngleType(p[1] / 2 * _IN_KCAL, p[0]), structure.angle_types)
        case "angles", 5:
            angle = parmed.AngleType(p[1] / 2 * _IN_KCAL, p[0])
            ends = parmed.BondType(p[3] / 2 * _IN_KCAL / _IN_ANGSTROM**2, p[2] * _IN_ANGSTROM)
            return _listed(angle, structure.angle_types), _listed(ends, structure.urey_bradley_types)
        case "dihedrals", 1 | 4 | 9:
            return _listed(
                parmed.DihedralType(p[1] * _IN_KCAL, int(p[2]), p[0], **scale), structure.dihedral_types
            )
        case "dihedrals", 2:
            return _listed(parmed.ImproperType(p[1] / 2 * _IN_KCAL, p[0]), structure.improper_types)
        case "dihedrals", 3:
            return _listed(
                parmed.RBTorsionType(*(c * _IN_KCAL for c in p), **scale), structure.rb_torsion_types
            )
    return None


def _add_term(structure: parmed.Structure, term: Terms, *, atoms: list[Any], types: list[Any]) -> None:
    """Add the angles or dihedrals of one molecule."""
    for row, parameters in zip(term.atoms.tolist(), types, strict=True):
        members = [atoms[i] for i in row]
        if term.directive == "angles" and term.function == 5 and parameters is not None:
            structure.angles.append(parmed.Angle(*members, type=parameters[0]))
            structure.urey_bradleys.append(parmed.UreyBradley(members[0], members[2], type=parameters[1]))
        elif term.directive == "angles":
            structure.angles.append(parmed.Angle(*members, type=parameters))
        elif term.function == 2:
            structure.impropers.append(parmed.Improper(*members, type=parameters))
        elif term.function == 3:
            structure.rb_torsions.append(parmed.Dihedral(*members, type=parameters))
        else:
            improper = term.function == 4
            structure.dihedrals.append(parmed.Dihedral(*members, improper=improper, type=parameters))

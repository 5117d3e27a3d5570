"""A topology as a ParmEd structure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import combinations, islice
from typing import Any

import numpy as np
import parmed

from dbm_gmx.chemistry.frame import Frame, dimensions
from dbm_gmx.chemistry.topology import (
    MoleculeType,
    NonBonded,
    Terms,
    Topology,
    blocks,
    chemical_graph,
    excluded_pairs,
    residue_numbers,
)
from dbm_gmx.chemistry.units import ANGSTROM, KCAL
from dbm_gmx.errors import InputError

log = logging.getLogger(__name__)

_IN_KCAL = 1 / KCAL  # ParmEd works in kcal/mol, angstrom and degrees
_IN_ANGSTROM = 1 / ANGSTROM
_LISTS = ("angles", "dihedrals")


def to_parmed(topology: Topology, frame: Frame | None = None) -> parmed.Structure:
    """Return the whole system as a ParmEd structure.

    Parameters
    ----------
    topology
        Any topology; the order of atoms is kept.
    frame
        Positions and box, if there are any.

    Returns
    -------
    Atoms with names, types, masses, charges, residues and Lennard-Jones parameters of their own type, pairs
    of types with others among them (``[ nonbond_params ]``) as NBFIX; chemical bonds, angles, dihedrals,
    impropers; 1-4 pairs, and all exclusions; coordinates and box.  A force constant of GROMACS (1/2 k x^2) is
    halved for ParmEd (k x^2).  Terms in a form ParmEd lacks (GROMOS, tabulated, ...) are there without type.
    That, and virtual sites, which are passed on as atoms without mass, are warned of.

    Raises
    ------
    InputError
        If the frame is of another number of atoms.
    """
    structure = parmed.Structure()
    if topology.nonbonded is not None:
        structure.combining_rule = "lorentz" if topology.nonbonded.rule == 2 else "geometric"
    types = _atom_types(topology)
    scale, lost = _scales(topology.nonbonded), set[str]()
    fudge_qq = 1.0 if topology.nonbonded is None else topology.nonbonded.fudge_qq
    structure.nrexcl = min((moltype.nrexcl for moltype, _, _ in blocks(topology)), default=3)
    numbers = residue_numbers(topology)
    for moltype, _, count in blocks(topology):
        bonds = _bond_types(structure, moltype)
        chemical = sorted((min(bond), max(bond)) for bond in chemical_graph(moltype).edges)
        terms = [(term, _types(structure, term, scale)) for term in moltype.terms if term.directive in _LISTS]
        pairs = _pairs(structure, moltype, fudge_qq, lost)
        apart = [pair for pair in map(tuple, excluded_pairs(moltype).tolist()) if pair not in pairs]
        lost |= _lost(moltype, terms)
        for _ in range(count):
            atoms = _add_atoms(structure, moltype, types, islice(numbers, moltype.n_atoms))
            for i, j in chemical:
                structure.bonds.append(parmed.Bond(atoms[i], atoms[j], type=bonds.get((i, j))))
            for term, made in terms:
                _add_term(structure, term, atoms=atoms, types=made)
            for (i, j), pair in pairs.items():
                structure.adjusts.append(parmed.NonbondedException(atoms[i], atoms[j], type=pair))
            for i, j in apart:
                if atoms[j] not in atoms[i].bond_partners:
                    atoms[i].exclude(atoms[j])
    _say_which_ends(structure)
    if lost:
        said = ", ".join(sorted(lost))
        log.warning("ParmEd has no place for %s: these are passed on without parameters", said)
    if frame is not None:
        _place(structure, frame)
    return structure


def _place(structure: parmed.Structure, frame: Frame) -> None:
    """Give positions and box."""
    if len(frame.positions) != len(structure.atoms):
        raise InputError(f"{len(frame.positions)} positions for {len(structure.atoms)} atoms")
    structure.coordinates = frame.positions.astype(np.float64) * _IN_ANGSTROM
    if not frame.free:
        sizes = dimensions(frame.box)
        structure.box = [*(sizes[:3] * _IN_ANGSTROM), *sizes[3:]]


def _pairs(
    structure: parmed.Structure, moltype: MoleculeType, fudge_qq: float, lost: set[str]
) -> dict[tuple[int, int], Any]:
    """Types of the 1-4 pairs of a molecule by their rows, the lower one first."""
    found: dict[tuple[int, int], Any] = {}
    made: dict[tuple[float, ...], Any] = {}
    for term in (t for t in moltype.terms if t.directive == "pairs"):
        charges = moltype.charges[term.atoms].prod(axis=1)
        for (i, j), p, product in zip(term.atoms.tolist(), term.parameters.tolist(), charges, strict=True):
            scale = fudge_qq
            if term.function == 2:  # a factor and charges of its own
                own = p[0] * p[1] * p[2]
                scale = own / product if product else 0.0
                lost |= {"1-4 pairs with charges where the atoms have none"} if own and not product else set()
            c6, c12 = p[-2:]
            if (c6 > 0) != (c12 > 0):
                lost.add("1-4 pairs that repel or attract only")
            sigma, epsilon = _size(c6, c12)
            key = (sigma, epsilon, float(scale))
            if key not in made:
                pair = parmed.NonbondedExceptionType(sigma * 2 ** (1 / 6), epsilon, float(scale))
                made[key] = _listed(pair, structure.adjust_types)
            found[min(i, j), max(i, j)] = made[key]
    return found


def _size(c6: float, c12: float) -> tuple[float, float]:
    """Sigma (angstrom) and epsilon (kcal/mol); an epsilon of 0 where there is no minimum."""
    if not (c6 > 0 and c12 > 0):
        return 1.0, 0.0
    return (c12 / c6) ** (1 / 6) * _IN_ANGSTROM, c6**2 / (4 * c12) * _IN_KCAL


def _lost(moltype: MoleculeType, terms: list[tuple[Terms, list[Any]]]) -> set[str]:
    """What of a molecule ParmEd has no place for."""
    found = {
        f"[ {term.directive} ] of function type {term.function}"
        for term, types in terms
        if any(one is None for one in types)
    }
    for term in moltype.terms:
        if term.directive == "bonds" and term.function not in (1, 5):
            found.add(f"[ bonds ] of function type {term.function}")
        elif term.directive.startswith(("virtual_sites", "constraints", "settles", "cmap")):
            found.add(f"[ {term.directive} ]")
    return found


def _say_which_ends(structure: parmed.Structure) -> None:
    """Mark one dihedral of each 1-4 pair as the one that it is counted with."""
    pairs = {(pair.atom1.idx, pair.atom2.idx) for pair in structure.adjusts}
    for dihedral in (*structure.dihedrals, *structure.rb_torsions):
        i, j = sorted((dihedral.atom1.idx, dihedral.atom4.idx))
        dihedral.ignore_end = (i, j) not in pairs or dihedral.improper
        pairs.discard((i, j))


def _atom_types(topology: Topology) -> dict[str, Any]:
    """ParmEd's types of atoms, those that occur, with what pairs of them have of their own."""
    lj = topology.nonbonded
    found: dict[str, Any] = {}
    for moltype, _, _ in blocks(topology):
        for node in moltype.graph.nodes.values():
            name = str(node["type"])
            if name not in found:
                number = parmed.periodic_table.AtomicNum.get(node["element"], 0)
                found[name] = parmed.AtomType(name, len(found) + 1, node["mass"], number)
    if lj is None:
        return found
    rows = {name: row for row, name in enumerate(lj.types) if name in found}
    for name, row in rows.items():
        sigma, epsilon = _size(lj.c6[row, row], lj.c12[row, row])
        found[name].set_lj_params(epsilon, sigma * 2 ** (1 / 6) / 2)
    for one, other in combinations(rows, 2):
        i, j = rows[one], rows[other]
        sigma, epsilon = _size(lj.c6[i, j], lj.c12[i, j])
        usual = _combined(lj, i, j)
        if not np.allclose([sigma if epsilon else 1.0, epsilon], usual, rtol=1e-5, atol=1e-9):
            found[one].add_nbfix(other, sigma * 2 ** (1 / 6), epsilon)
            found[other].add_nbfix(one, sigma * 2 ** (1 / 6), epsilon)
    return found


def _combined(lj: NonBonded, i: int, j: int) -> tuple[float, float]:
    """Sigma and epsilon of two types by the combination rule; a sigma of 1 where there is no epsilon."""
    (one, first), (two, second) = (_size(lj.c6[k, k], lj.c12[k, k]) for k in (i, j))
    epsilon = float(np.sqrt(first * second))
    sigma = (one + two) / 2 if lj.rule == 2 else float(np.sqrt(one * two))
    return (sigma if epsilon else 1.0), epsilon


def _add_atoms(
    structure: parmed.Structure, moltype: MoleculeType, types: dict[str, Any], numbers: Iterator[int]
) -> list[Any]:
    """Add one molecule's atoms; a change of residue number or name begins a residue."""
    atoms = []
    residue = None
    for (_, node), resid in zip(sorted(moltype.graph.nodes(data=True)), numbers, strict=True):
        number = parmed.periodic_table.AtomicNum.get(node["element"], 0)
        atom = parmed.Atom(
            atomic_number=number,
            name=node["name"],
            type=node["type"],
            charge=node["charge"],
            mass=node["mass"],
        )
        atom.atom_type = types[node["type"]]
        if residue is None or (residue.number, residue.name) != (resid, node["resname"]):
            residue = parmed.Residue(node["resname"], number=resid, list=structure.residues)
            structure.residues.append(residue)
        structure.atoms.append(atom)
        residue.add_atom(atom)
        atoms.append(atom)
    return atoms


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

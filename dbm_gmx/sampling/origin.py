"""What a memory was made of, so that another run knows whether it is its own case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

import numpy as np

import dbm_gmx
from dbm_gmx.chemistry.array_types import FloatArray
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.virtual_sites import VirtualSites, virtual_sites
from dbm_gmx.forcefield.forms import FORMS, PERIODIC
from dbm_gmx.forcefield.hamiltonian import Hamiltonian, MoleculeHamiltonian, make_hamiltonian
from dbm_gmx.forcefield.terms import BondedTerms
from dbm_gmx.options import Conditions

WIDER = 1.25
"""Ratio of two widths of bead restraints from which on they are different."""

SHARE = 0.1
"""Difference in the share of a molecule type among all molecules from which on two systems are different."""

AT = 300.0
"""K: springs in place of fixed bonds depend on the temperature, the digest of a force field must not."""


class MoleculeOrigin(NamedTuple):
    """A molecule type.

    Attributes
    ----------
    copies
        Molecules of it.
    force_field, mapping
        Digests; of a force field nothing where it is not known.
    widths
        (beads,) nm, of the bead restraints; nothing where atoms were not held.
    """

    copies: int
    force_field: str
    mapping: str
    widths: tuple[float, ...]


@dataclass(frozen=True)
class Origin:
    """What a memory was made of.

    Attributes
    ----------
    temperature, thermostat
        K, and with who says it.
    molecules
        By molecule type, in the order of the system.
    between
        Digest of Lennard-Jones between all types of atoms; nothing where it is not known.
    frames, source
        How many, and the name of their file.
    version, day
        Of this program, and when.
    """

    temperature: float
    thermostat: str
    molecules: Mapping[str, MoleculeOrigin]
    between: str
    frames: int
    source: str
    version: str = dbm_gmx.__version__
    day: str = ""

    def text(self) -> str:
        """Say it in brackets."""
        return f"{self.frames} frame{'s'[: self.frames != 1]} at {self.temperature:g} K"


def origin_of(hamiltonian: Hamiltonian, *, frames: int, source: str) -> Origin:
    """What a memory is made of that is made now, of so many frames of a system."""
    system, conditions = hamiltonian.system, hamiltonian.conditions
    widths = {name: molecule.width for name, molecule in hamiltonian.molecules.items()}
    return _origin_now(conditions, _digests(system, conditions, widths), frames, source)


def origin_of_atoms(
    system: System, conditions: Conditions, *, known: bool, frames: int, source: str
) -> Origin:
    """The same of atoms that somebody else has sampled, with bead restraints nowhere.

    ``known`` says whether their cut-offs and constraints are those of the conditions.
    """
    digests = _digests(system, conditions, {}) if known else (_unknown(system), "")
    return _origin_now(conditions, digests, frames, source)


def _origin_now(
    conditions: Conditions, digests: tuple[dict[str, MoleculeOrigin], str], frames: int, source: str
) -> Origin:
    """What a memory of this version and day is made of."""
    day = date.today().isoformat()
    return Origin(conditions.temperature, conditions.thermostat, *digests, frames, source, day=day)


def _counts(system: System) -> dict[str, int]:
    found: dict[str, int] = {}
    for match in system.matches:
        found[match.moltype.name] = found.get(match.moltype.name, 0) + match.count
    return found


def _unknown(system: System) -> dict[str, MoleculeOrigin]:
    mappings = {match.moltype.name: match.mapping for match in system.matches}
    return {
        name: MoleculeOrigin(count, "", _digest(_of_mapping(mappings[name])), ())
        for name, count in _counts(system).items()
    }


def _digests(
    system: System, conditions: Conditions, widths: Mapping[str, FloatArray]
) -> tuple[dict[str, MoleculeOrigin], str]:
    hamiltonian = make_hamiltonian(system, replace(conditions, temperature=AT))
    counts, cut = _counts(system), _of_conditions(conditions)
    molecules = {
        name: MoleculeOrigin(
            counts[name],
            _digest([*cut, *_of_molecule(hamiltonian, molecule)]),
            _digest(_of_mapping(molecule.mapping)),
            tuple(float(f"{width:.4g}") for width in widths.get(name, ())),
        )
        for name, molecule in hamiltonian.molecules.items()
    }
    used = np.unique(np.concatenate([molecule.types for molecule in hamiltonian.molecules.values()]))
    pairs = np.stack([parameters[np.ix_(used, used)] for parameters in (hamiltonian.c6, hamiltonian.c12)])
    return molecules, _digest(sorted(_lines(pairs.reshape(2, -1).T)))


# --- digests -----------------------------------------------------------------------------------------


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _lines(numbers: FloatArray) -> list[str]:
    """Rows of numbers with nine digits: the last ones depend on the machine."""
    return [" ".join(f"{x + 0.0:.9g}" for x in row) for row in np.asarray(numbers, np.float64).tolist()]


def _of_conditions(conditions: Conditions) -> list[str]:
    c = conditions
    return [repr((c.rvdw, c.rcoulomb, c.rvdw_switch, c.epsilon_r, c.epsilon_rf, c.constraints))]


def _of_molecule(hamiltonian: Hamiltonian, molecule: MoleculeHamiltonian) -> list[str]:
    """Terms in any order; types of atoms by what they do, since names and numbers may be others."""
    terms, (used, rows) = molecule.terms, np.unique(molecule.types, return_inverse=True)
    first = np.unique(rows, return_index=True)[1]
    used, rows = used[np.argsort(first)], np.argsort(np.argsort(first))[rows]
    pairs = np.stack([parameters[np.ix_(used, used)] for parameters in (hamiltonian.c6, hamiltonian.c12)])
    return [
        *sorted(_of_terms(terms)),
        "atoms",
        *_lines(np.column_stack([rows, molecule.charges])),
        "types",
        *_lines(pairs.reshape(-1, 1)),
        "pairs",
        *sorted(_lines(np.column_stack([molecule.special, molecule.special_parameters]))),
        *_of_sites(virtual_sites(molecule.moltype)),
    ]


def _of_terms(terms: BondedTerms) -> Iterator[str]:
    """By the names of their forms, whose numbers may be others in another version."""
    given = terms.parameters.copy()
    given[terms.form == PERIODIC, 3:] = 0.0  # what follows from the others
    numbers = zip(_lines(given), terms.atoms.tolist(), terms.form.tolist(), strict=True)
    for parameters, atoms, form in numbers:
        yield " ".join([FORMS[form], *(str(i) for i in atoms if i >= 0), parameters])
    if len(terms.tables):
        yield " ".join(_lines(terms.tables.reshape(1, -1)))


def _of_sites(sites: VirtualSites) -> list[str]:
    """Nothing where there are none."""
    of = np.repeat(sites.virtual, np.diff(sites.made_start))
    return [
        *_lines(np.column_stack([sites.virtual, sites.virtual_form, sites.virtual_parameters])),
        *_lines(np.column_stack([of, sites.made_of, sites.made_weight])),
    ]


def _of_mapping(mapping: BeadMapping) -> list[str]:
    weights = mapping.weights.tocoo()
    return [
        repr((list(mapping.types), mapping.owner.tolist())),
        *sorted(_lines(np.column_stack([weights.row, weights.col, weights.data]))),
    ]


# --- what differs ------------------------------------------------------------------------------------


def differences(then: Origin, now: Origin) -> list[str]:
    """In words in what the case of a memory differs from that of a run, if it does.

    Parameters
    ----------
    then, now
        Of the memory; of a memory that the run would make.
    """
    said = []
    if abs(then.temperature - now.temperature) > 0.01:
        said.append(f"{then.temperature:g} K, not {now.temperature:g} K")
    common = [name for name in now.molecules if name in then.molecules]
    fields = {name: _different_field(then.molecules[name], now.molecules[name]) for name in common}
    said += [f"{what} of {name}" for name, what in fields.items() if what]
    if not any(fields.values()) and _composition(then) == _composition(now) and then.between != now.between:
        said.append("other Lennard-Jones parameters between molecules")
    mapped = [n for n in common if then.molecules[n].mapping != now.molecules[n].mapping]
    said += [f"another mapping of {name}" for name in mapped]
    if _is_mixed_otherwise(then, now):
        said.append(f"of {_composition_text(then)}")
    elif any(_are_held_otherwise(then.molecules[n].widths, now.molecules[n].widths) for n in common):
        said.append("beads held with other widths")
    return said


def _different_field(then: MoleculeOrigin, now: MoleculeOrigin) -> str:
    if not then.force_field:
        return "unknown force field"
    return "" if then.force_field == now.force_field else "another force field"


def _composition(origin: Origin) -> list[str]:
    return list(origin.molecules)


def _composition_text(origin: Origin) -> str:
    return ", ".join(f"{molecule.copies} {name}" for name, molecule in origin.molecules.items())


def _is_mixed_otherwise(then: Origin, now: Origin) -> bool:
    if _composition(then) != _composition(now):
        return True
    shares = [
        np.array([m.copies for m in one.molecules.values()]) / sum(m.copies for m in one.molecules.values())
        for one in (then, now)
    ]
    return bool((np.abs(shares[0] - shares[1]) > SHARE).any())


def _are_held_otherwise(then: tuple[float, ...], now: tuple[float, ...]) -> bool:
    if len(then) != len(now):
        return True
    ratio = np.array(then) / np.array(now)
    return bool((np.maximum(ratio, 1.0 / ratio) > WIDER).any())

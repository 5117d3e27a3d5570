"""Mappings made in Python: beads and their atoms as a dictionary, or CGSmiles as a string."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from dbm_gmx.errors import InputError
from dbm_gmx.files.input_errors import Problem
from dbm_gmx.files.smiles import SmilesMapping, parse_smiles
from dbm_gmx.files.votca import VotcaBead, VotcaMolecule

SOURCE = Path("<mapping in Python>")
"""Stands in messages for the file that there is none of."""

FORMS = (
    "a mapping made in Python is {'OCT': {'A1': ['C1', 'H11', ...], 'B1': [...]}}: by molecule type, then by "
    "bead, the names of its atoms, or {'C1': 12.0, 'H11': 0.5} with weights; or {'OCT': '{[#A][#B]}.{...}'}, "
    "CGSmiles"
)


def is_smiles(given: object) -> bool:
    """Whether this is CGSmiles and not the name of a file."""
    return isinstance(given, str) and "{" in given


def mappings_of_python(given: str | Mapping[str, Any]) -> list[VotcaMolecule | SmilesMapping]:
    """Read a mapping made in Python.

    Parameters
    ----------
    given
        By molecule type its beads, and by bead the names of its atoms, or weights by name.  An atom name that
        occurs more than once in the molecule is written as in VOTCA, ``resid:resname:atomname``.  Beads whose
        names occur more than once are a list of pairs of name and atoms.  The level of molecule types is left
        out where there is one only.  Or CGSmiles, for all or for a molecule type.

    Returns
    -------
    As read from files.  Beads are at the centre of mass of their atoms, unless weights are given.

    Raises
    ------
    InputError
        It is something else.
    """
    if isinstance(given, str):
        return [_smiles(given)]
    if not given:
        raise InputError(f"it is empty; {FORMS}", path=SOURCE)
    if all(_is_atoms(atoms) for atoms in given.values()):
        return [_molecule("", given)]
    found: list[VotcaMolecule | SmilesMapping] = []
    for name, beads in given.items():
        found.append(_smiles(beads, str(name)) if is_smiles(beads) else _molecule(str(name), beads))
    return found


def _smiles(text: str, name: str = "") -> SmilesMapping:
    before, brace, rest = text.partition("{")
    return parse_smiles(brace + rest.strip(), SOURCE / (name or "CGSmiles"), 1, name or before.strip(" :\t"))


def _is_atoms(value: object) -> bool:
    """Whether these are names of atoms, in a list or in a string, or with weights."""
    if isinstance(value, str):
        return not is_smiles(value)
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(weight, int | float) for weight in value.values())
    return isinstance(value, Sequence) and all(isinstance(atom, str) for atom in value)


def _molecule(name: str, beads: object) -> VotcaMolecule:
    """The beads of one molecule type."""
    path = SOURCE / (name or "molecule")
    pairs = list(beads.items()) if isinstance(beads, Mapping) else beads
    if (
        not isinstance(pairs, Sequence)
        or isinstance(pairs, str)
        or not pairs
        or not all(map(_is_pair, pairs))
    ):
        raise InputError(f"found {str(beads)[:60]}; {FORMS}", path=path)
    made, problems = [], []
    for number, (bead, atoms) in enumerate(pairs, 1):
        words = tuple(atoms.split() if isinstance(atoms, str) else atoms)
        texts = [f"bead {bead}: atom {a} is listed {n} times" for a, n in Counter(words).items() if n > 1]
        texts += [] if words else [f"bead {bead} has no atoms"]
        problems += [Problem(text, path) for text in texts]
        weights = tuple(map(float, atoms.values())) if isinstance(atoms, Mapping) else ()
        if weights and not (all(map(isfinite, weights)) and sum(weights) > 0):
            problems.append(Problem(f"bead {bead}: weights that do not add up to a number above 0", path))
        made.append(VotcaBead(str(bead), str(bead), words, weights, number))
    return VotcaMolecule(path, name, name, tuple(made), tuple(problems))


def _is_pair(one: object) -> bool:
    """Whether this is the name of a bead with its atoms."""
    return isinstance(one, tuple | list) and len(one) == 2 and isinstance(one[0], str) and _is_atoms(one[1])

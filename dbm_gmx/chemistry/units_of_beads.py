"""Several molecules for which beads stand together: ``4 SOL`` of a bead of water, ``NA 4 SOL`` of an ion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dbm_gmx.chemistry.joined import unite
from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.errors import InputError

Parts = tuple[tuple[str, int], ...]
"""Molecule types, and how many of each."""

MOST_MOLECULES = 1000
"""Of one type in a unit."""


def parse_parts(text: str) -> Parts:
    """Read ``SOL``, ``4 SOL`` or ``NA 4 SOL``: names, before each how many there are if it is not one.

    Raises
    ------
    InputError
        If it is none of these.
    """
    found: list[tuple[str, int]] = []
    count = 0
    for word in text.split():
        if not count and word.isdecimal() and len(word) < 6 and 0 < int(word) <= MOST_MOLECULES:
            count = int(word)
        else:
            found.append((word, count or 1))
            count = 0
    if count or not found:
        raise InputError(f"{text!r} is no molecule type, and not several as '4 SOL' or 'NA 4 SOL'")
    return tuple(found)


def name_of_parts(parts: Parts) -> str:
    """Return what :func:`parse_parts` reads."""
    return " ".join(name if count == 1 else f"{count} {name}" for name, count in parts)


def unite_parts(parts: Parts, moltypes: Mapping[str, MoleculeType]) -> MoleculeType:
    """Several molecules as one molecule type, their residues counted through from 1."""
    copies, number = list[MoleculeType](), 0
    for name, count in parts:
        for _ in range(count):
            graph, last = moltypes[name].graph.copy(), None
            for i in range(moltypes[name].n_atoms):
                resid = graph.nodes[i]["resid"]
                number += resid != last
                graph.nodes[i]["resid"], last = number, resid
            copies.append(replace(moltypes[name], graph=graph))
    return unite(copies, name_of_parts(parts))

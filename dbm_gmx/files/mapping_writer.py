"""Mappings written as VOTCA csg files, with owners where they do not follow from the weights."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from dbm_gmx.chemistry.mapping import Mapping, derive_owners
from dbm_gmx.chemistry.topology import MoleculeType


def votca_text(mapping: Mapping, moltype: MoleculeType) -> str:
    """Return the ``cg_molecule`` of a mapping; beads of equal names are numbered."""
    names = unique_names(mapping.names)
    keys = _keys(moltype)
    beads, maps = [], []
    for bead, (name, kind) in enumerate(zip(names, mapping.types, strict=True)):
        row = mapping.weights[[bead]].tocoo()
        order = np.argsort(row.col)
        atoms = " ".join(keys[i] for i in row.col[order])
        weights = " ".join(f"{w:.6g}" for w in row.data[order])
        beads.append(
            f"      <cg_bead>\n        <name>{escape(name)}</name>\n        <type>{escape(kind)}</type>\n"
            f"        <mapping>M{bead + 1}</mapping>\n        <beads>{escape(atoms)}</beads>\n"
            "      </cg_bead>"
        )
        maps.append(
            f"    <map>\n      <name>M{bead + 1}</name>\n      <weights>{weights}</weights>\n    </map>"
        )
    body = ["  <topology>", "    <cg_beads>", *beads, "    </cg_beads>", "  </topology>"]
    head = [
        "<cg_molecule>",
        f"  <name>{escape(mapping.cg_molecule or mapping.molecule)}</name>",
        f"  <ident>{escape(mapping.molecule)}</ident>",
    ]
    return "\n".join([*head, *body, "  <maps>", *maps, "  </maps>", "</cg_molecule>"]) + "\n"


def owners_text(mapping: Mapping, moltype: MoleculeType) -> str:
    """Return the section of an owners file; ``""`` where owners follow from the weights."""
    if np.array_equal(derive_owners(mapping.weights, moltype.graph), mapping.owner):
        return ""
    lines = [f"[ {mapping.molecule} ]"]
    for bead, name in enumerate(unique_names(mapping.names)):
        atoms = " ".join(str(i + 1) for i in np.flatnonzero(mapping.owner == bead))
        lines.append(f"{name} : {atoms}")
    return "\n".join(lines) + "\n"


def unique_names(names: Sequence[str]) -> list[str]:
    """Names of beads, those that occur more than once with a number."""
    count: dict[str, int] = {}
    found: list[str] = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        found.append(name if list(names).count(name) == 1 else f"{name}_{count[name]}")
    return found


def _keys(moltype: MoleculeType) -> list[str]:
    """``number:residue:atom`` of each atom, residues counted from 1; numbers where atoms share a name."""
    keys, count, last = [], 0, None
    for i in range(moltype.n_atoms):
        node = moltype.graph.nodes[i]
        residue = (node["resid"], node["resname"])
        count, last = count + (residue != last), residue
        keys.append(f"{count}:{node['resname']}:{node['name']}")
    return keys if len(set(keys)) == len(keys) else [str(i + 1) for i in range(moltype.n_atoms)]

"""Mappings proposed where there are none: ``map init``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.mapping import default_alignment, spread_owners
from dbm_gmx.chemistry.proposal import Cut, Proposal, in_order, propose
from dbm_gmx.chemistry.topology import MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.dbm_map import mass_weights
from dbm_gmx.files.drawing import draw_mapping
from dbm_gmx.files.mapping_writer import owners_text, unique_names, votca_text
from dbm_gmx.files.mappings import OWNERS
from dbm_gmx.files.output import atomic_write, make_folder
from dbm_gmx.files.smiles import SmilesMapping, find_smiles, parse_smiles, read_smiles
from dbm_gmx.files.structure import read_cg_system
from dbm_gmx.files.system import OF_BEADS, is_of_beads
from dbm_gmx.files.top import read_topology

_LISTED = 6  # ways that are listed, at most


@dataclass(frozen=True)
class ProposalInputs:
    """What mappings are proposed from.

    Attributes
    ----------
    topology
        Of the atoms.
    structure, cg_topology
        Of the beads, as for :class:`~dbm_gmx.options.Inputs`; none if CGSmiles say all.
    smiles
        CGSmiles, each perhaps with the name of a molecule type in front, or files of them.
    choose
        Number of the way that is taken, from 1, by molecule type, where several are equally good.
    defines, include
        For the preprocessor.
    """

    topology: Path
    structure: Path | None = None
    cg_topology: Path | None = None
    smiles: tuple[str, ...] = ()
    choose: Mapping[str, int] = field(default_factory=dict)
    defines: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Proposed:
    """What came of it.

    Attributes
    ----------
    mappings
        Those found, by molecule type, and their molecule types.
    lines
        What is said of each molecule type.
    open
        Molecule types of which no single mapping follows, and what is said of them.
    """

    mappings: Mapping[str, tuple[BeadMapping, MoleculeType]]
    lines: tuple[str, ...]
    open: tuple[str, ...]


def propose_mappings(inputs: ProposalInputs) -> Proposed:
    """Propose a mapping of each molecule type that has beads, or is one of the CGSmiles.

    Raises
    ------
    InputError
        If files cannot be read, or nothing says what the beads are.
    """
    atoms = read_topology(inputs.topology, defines=inputs.defines, include=inputs.include)
    if unknown := sorted(inputs.choose.keys() - atoms.molecule_types.keys()):
        known = ", ".join(atoms.molecule_types)
        raise InputError(f"--choose: no molecule type {unknown[0]}; known: {known}", path=inputs.topology)
    if inputs.structure is None and not inputs.smiles:
        raise InputError("nothing says what the beads are: give them (-s), or CGSmiles (--smiles)")
    found: dict[str, tuple[BeadMapping, MoleculeType]] = {}
    lines: list[str] = []
    for mapping, moltype, said in _by_smiles(inputs, atoms):
        found[moltype.name] = mapping, moltype
        lines.append(said)
    unclear: list[str] = []
    if inputs.structure is not None:
        cg = read_cg_system(
            inputs.structure, inputs.cg_topology, defines=inputs.defines, include=inputs.include
        )[0]
        for moltype, beads in _pairs(cg, atoms, set(found)):
            proposal = propose(moltype, beads)
            cut = _chosen(proposal, inputs.choose)
            if cut is None:
                unclear.append(_undecided(proposal))
                continue
            found[moltype.name] = _mapping(proposal, cut), moltype
            lines.append(_decided(proposal, cut))
        lines += _left_out(cg, atoms, set(found) | {text.partition(":")[0] for text in unclear})
    if is_of_beads(atoms) and all(len(m.names) == len(moltype.names) for m, moltype in found.values()):
        raise InputError(
            f"{OF_BEADS} Give that of the atoms (-p); that of the beads is for -cp", path=inputs.topology
        )
    if not found and not unclear:
        raise InputError(
            "\n".join(lines) or "no molecule of atoms goes with one of beads", path=inputs.topology
        )
    return Proposed(found, tuple(lines), tuple(unclear))


def write_proposals(proposed: Proposed, folder: Path) -> list[Path]:
    """Write ``NAME.xml`` and ``NAME.svg`` of each molecule type, and ``owners.txt`` if one needs it.

    Older files of these names are backed up.

    Raises
    ------
    InputError
        They cannot be written.
    """
    make_folder(folder, "cannot be made")
    texts = {}
    for name, (mapping, moltype) in proposed.mappings.items():
        texts[f"{name}.xml"] = votca_text(mapping, moltype)
        texts[f"{name}.svg"] = draw_mapping(moltype, mapping.owner, unique_names(mapping.names))
    owners = "\n".join(filter(None, (owners_text(*pair) for pair in proposed.mappings.values())))
    texts |= {OWNERS: owners} if owners else {}
    for file, text in texts.items():
        with atomic_write(folder / file) as part:
            part.write_text(text, encoding="utf-8")
    return [folder / file for file in texts]


def _by_smiles(inputs: ProposalInputs, atoms: Topology) -> Iterator[tuple[BeadMapping, MoleculeType, str]]:
    """Find the molecules of the CGSmiles.

    Raises
    ------
    InputError
        If there is none of one of them.
    """
    for raw in _read_smiles(inputs.smiles):
        wanted = [m for n, m in atoms.molecule_types.items() if raw.name in ("", n)]
        laid = [(moltype, there) for moltype in wanted if (there := find_smiles(raw, moltype)) is not None]
        if not laid:
            names = ", ".join(moltype.name for moltype in wanted) or f"no {raw.name}"
            raise InputError(
                f"CGSmiles {raw.line} of {raw.path}: a molecule of other atoms or bonds than {names}",
                path=inputs.topology,
            )
        for moltype, there in laid:
            align = default_alignment(there.weights, there.owner, moltype.graph)
            ones = np.ones(len(raw.beads), np.int64)
            mapping = BeadMapping(moltype.name, raw.beads, raw.beads, there.weights, there.owner, align, ones)
            said = f"{moltype.name}: {_count(raw.beads)} of its CGSmiles{_symmetry(there.ways)}"
            yield mapping, moltype, said


def _read_smiles(given: Sequence[str]) -> Iterator[SmilesMapping]:
    """Read CGSmiles, and files of these.

    Raises
    ------
    InputError
        If something is neither, or cannot be read.
    """
    for number, text in enumerate(given, 1):
        name, brace, rest = text.partition("{")
        if brace:
            yield parse_smiles(brace + rest, Path("--smiles"), number, name.strip(" :="))
        elif Path(text).is_file():
            yield from read_smiles(Path(text))
        else:
            raise InputError(
                f"--smiles {text[:60]!r}: neither CGSmiles, {{...}}.{{...}}, nor a file of these"
            )


def _symmetry(ways: int) -> str:
    return f"; {ways} ways are alike by symmetry, that in the order of the atoms is taken" if ways > 1 else ""


def _count(beads: Sequence[str]) -> str:
    return f"{len(beads)} bead{'s' * (len(beads) > 1)}"


def _pairs(cg: Topology, atoms: Topology, done: set[str]) -> Iterator[tuple[MoleculeType, MoleculeType]]:
    """Molecule types of atoms and of beads that belong together: of one name, or what is left, in order."""
    listed = list(dict.fromkeys(name for name, count in cg.molecules if count))
    there = list(dict.fromkeys(name for name, count in atoms.molecules if count)) or list(
        atoms.molecule_types
    )
    rest = [name for name in there if name not in listed]
    others = [name for name in listed if name not in there]
    partner = dict(zip(others, rest, strict=True)) if len(rest) == len(others) else {}
    for name in listed:
        mate = name if name in there else partner.get(name)
        if mate is not None and mate not in done:
            yield atoms.molecule_types[mate], cg.molecule_types[name]


def _left_out(cg: Topology, atoms: Topology, done: set[str]) -> list[str]:
    here = [name for name in dict.fromkeys(name for name, _ in cg.molecules) if name not in done]
    there = [name for name in dict.fromkeys(name for name, _ in atoms.molecules) if name not in done]
    if not there:
        return []
    return [f"left out: atoms {', '.join(there)}; beads {', '.join(here) or 'none'}: no pairs of one name"]


def _chosen(proposal: Proposal, choose: Mapping[str, int]) -> Cut | None:
    name, cuts = proposal.moltype.name, proposal.cuts
    number = choose.get(name, 1 if len(cuts) == 1 else None)
    if number is None or not cuts:
        return None
    if number > len(cuts):
        ways = "is one way" if len(cuts) == 1 else f"are {len(cuts)} ways"
        raise InputError(f"{name}: there {ways}, not {number} (--choose)")
    return cuts[number - 1]


def _decided(proposal: Proposal, cut: Cut) -> str:
    beads = proposal.beads
    said = "; ".join(proposal.reasons)
    text = f"{proposal.moltype.name}: {_count(beads.names)}; {said}{_symmetry(proposal.alike)}"
    return "\n".join([text, *(f"  {line}" for line in _listing(proposal, cut))])


def _listing(proposal: Proposal, cut: Cut, most: int = 12) -> list[str]:
    moltype = proposal.moltype
    resids = moltype.attribute("resid")
    alone = len(set(resids)) == 1
    names = [name if alone else f"{resid}:{name}" for resid, name in zip(resids, moltype.names, strict=True)]
    lines = [
        f"{bead}: {' '.join(names[row] for row in sorted(rows))}"
        for bead, rows in zip(proposal.beads.names, cut, strict=True)
    ]
    return lines[:most] + ([f"... {len(lines) - most} more"] if len(lines) > most else [])


def _undecided(proposal: Proposal) -> str:
    name = proposal.moltype.name
    if not proposal.cuts:
        return f"{name}: no mapping: {'; '.join(proposal.reasons)}"
    lines = [f"{name}: {len(proposal.cuts)} ways are equally good ({'; '.join(proposal.reasons)})"]
    for number, cut in enumerate(proposal.cuts[:_LISTED], 1):
        order = " (in the order of the atoms)" if sorted(means := in_order(cut)) == means else ""
        lines.append(f"  {number}{order}: " + ", ".join(_listing(proposal, cut)))
    if len(proposal.cuts) > _LISTED:
        lines.append(f"  ... {len(proposal.cuts) - _LISTED} more")
    return "\n".join([*lines, f"  take one with --choose {name}=1, or say it with --smiles"])


def _mapping(proposal: Proposal, cut: Cut) -> BeadMapping:
    """Centres of mass; hydrogens go with the atoms they are on."""
    moltype, beads = proposal.moltype, proposal.beads
    owner: IntArray = np.full(moltype.n_atoms, -1, np.int64)
    for bead, rows in enumerate(cut):
        owner[list(rows)] = bead
    spread_owners(owner, moltype.graph)
    weights: sp.csr_matrix = mass_weights(owner, moltype.masses, n_beads=beads.n_atoms)
    align = default_alignment(weights, owner, moltype.graph)
    types = tuple(str(kind) for kind in beads.attribute("type"))
    names, other = tuple(beads.names), beads.name if beads.name != moltype.name else ""
    ones = np.ones(beads.n_atoms, np.int64)
    return BeadMapping(moltype.name, names, types, weights, owner, align, ones, cg_molecule=other)

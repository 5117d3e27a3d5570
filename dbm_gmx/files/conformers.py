"""Reference states of stereocentres and bonds: of a structure, of the topology, or what is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, Positions, SignArray
from dbm_gmx.chemistry.contacts import LIMITS
from dbm_gmx.chemistry.frame import Frame, check_positions
from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.names import check_molecule_names
from dbm_gmx.chemistry.nucleotides import usual_sugars
from dbm_gmx.chemistry.periodic import make_whole
from dbm_gmx.chemistry.stereo import (
    Chirality,
    are_bonds,
    chirality_of,
    known_states,
    stated_states,
    stereo_elements,
    stereocentres,
    turning_ch,
    usual_states,
)
from dbm_gmx.chemistry.stereo_bonds import axial_bonds
from dbm_gmx.chemistry.system import System, runs_of_molecules
from dbm_gmx.chemistry.topology import MoleculeType, blocks
from dbm_gmx.errors import InputError
from dbm_gmx.files.residues import Residues, read_residues
from dbm_gmx.files.structure import compare_names, names_of, structure_frames

Conformer = Frame | str | Path
References = Conformer | Sequence[Conformer] | None
"""One, or one of each molecule type."""


def reference_chirality(
    system: System,
    reference: References = None,
    *,
    conformers: Mapping[str, Conformer] | None = None,
    reorder: bool = False,
) -> dict[str, SignArray]:
    """States that stereocentres and bonds should have.

    Parameters
    ----------
    system
        The system.
    reference
        Frame, or ``.gro`` or ``.pdb``: the whole system, or one molecule that stands for all of its type; or
        several of these, of different molecule types.
    conformers
        One molecule each, by molecule type; what ``reference`` says goes before.
    reorder
        Whether atoms of ``reference`` that are in another order are put in that of the topology.

    Returns
    -------
    By molecule type (copies, c), or (1, c) where all copies are alike; 0 where it is unknown: no
    structure is given, the force field does not hold it (:func:`~dbm_gmx.chemistry.stereo.known_states`), and
    none is usual (:func:`with_usual`).

    Raises
    ------
    InputError
        If a structure cannot be read or has a number of atoms that fits nothing.
    """
    return with_usual(system, given_chirality(system, reference, conformers=conformers, reorder=reorder))


def with_usual(system: System, known: Chirality) -> dict[str, SignArray]:
    """The states ``known``, and where there is none (0) the usual one."""
    return {
        name: np.where(signs == 0, usual_states(system.topology.molecule_types[name]), signs)
        for name, signs in known.items()
    }


def stereo_notes(system: System, known: Chirality) -> tuple[str, ...]:
    """What is to be said of the states in :func:`with_usual`: which are assumed, and what is not held."""
    notes = []
    for name, signs in known.items():
        moltype = system.topology.molecule_types[name]
        count = sum(match.count for match in system.matches if match.moltype.name == name)
        usual = usual_states(moltype) != 0
        unknown = (np.broadcast_to(signs, (count, signs.shape[1])) == 0) & usual
        bonds = are_bonds(stereo_elements(moltype))
        sugars = np.zeros(len(usual), bool)
        sugars[list(usual_sugars(moltype, stereocentres(moltype)))] = True
        for of, what, hand in ((~sugars, "amino acids", "L"), (sugars, "nucleotides", "D")):
            if assumed := int(unknown[:, ~bonds & of].sum()):
                notes.append(
                    f"{name}: {assumed} stereocentres of {what} taken as usual ({hand}), as no -r says more"
                )
        if assumed := int(unknown[:, bonds].sum()):
            notes.append(
                f"{name}: {assumed} amides, esters or acids taken as usual (trans, Z), as no -r says more"
            )
        axial = [f"{moltype.names[i]}-{moltype.names[j]}" for _, i, j in axial_bonds(moltype)]
        if axial:
            some = ", ".join(axial[:3]) + (", ..." if len(axial) > 3 else "")
            notes.append(f"{name}: {len(axial)} axes that may be chiral ({some}) are neither held nor judged")
        if turning := [moltype.names[i] for i in turning_ch(moltype)]:
            some = ", ".join(turning[:3]) + (", ..." if len(turning) > 3 else "")
            notes.append(
                f"{name}: {len(turning)} united-atom CH ({some}) turn inside out, as no improper holds them: "
                "sampled in both states, neither held nor judged"
            )
    return tuple(notes)


def given_chirality(
    system: System,
    reference: References = None,
    *,
    conformers: Mapping[str, Conformer] | None = None,
    reorder: bool = False,
) -> dict[str, SignArray]:
    """As :func:`reference_chirality`, without what is only usual."""
    moltypes = {match.moltype.name: match.moltype for match in system.matches}
    expected = {match.moltype.name: _held_or_stated(match)[None] for match in system.matches}
    found: dict[str, SignArray] = {}
    for name, conformer in (conformers or {}).items():
        if name in moltypes:
            frame, path = _open(conformer)
            found |= _chirality_of_molecule(frame, [moltypes[name]], path)
    given: dict[str, Path | None] = {}
    for conformer in _listed(reference):
        frame, path = _open(conformer)
        said = _chirality_of_reference(system, frame, path, reorder=reorder)
        for name in said.keys() & given.keys():
            raise InputError(f"{name} has a conformer already, in {given[name]}", path=path)
        given |= dict.fromkeys(said, path)
        found |= said
    return expected | {
        name: np.where(chirality == 0, expected[name], chirality) for name, chirality in found.items()
    }


def _reordered(system: System, frame: Frame, path: Path) -> Frame:
    """The frame of a system or of one molecule, with its atoms in the order of the topology."""
    topology = system.written
    if len(frame.positions) != system.n_atoms:
        types = {
            m.moltype.name: m.moltype for m in system.matches if m.moltype.n_atoms == len(frame.positions)
        }
        if len(types) != 1:
            return frame
        ((name, _),) = types.items()
        topology = replace(topology, molecule_types=types, molecules=((name, 1),))
    order = compare_names(topology, path, reorder=True)
    return frame if order is None else replace(frame, positions=frame.positions[order])


def _held_or_stated(match: Match) -> SignArray:
    """(c,) states that the force field holds, else those of restraints, else those of the mapping file."""
    found = known_states(match.moltype)
    for statements in (match.moltype.stated, match.mapping.stereo):
        found = np.where(found == 0, stated_states(match.moltype, statements), found)
    return found.astype(np.int8)


def _listed(reference: References) -> Sequence[Conformer]:
    if reference is None:
        return ()
    return (reference,) if isinstance(reference, Frame | str | Path) else reference


def _chirality_of_reference(
    system: System, frame: Frame, path: Path | None, *, reorder: bool
) -> dict[str, SignArray]:
    """States in a structure of the whole system, or of one molecule."""
    if path is not None and reorder:
        frame, path = _reordered(system, frame, path), None
    if len(frame.positions) != system.n_atoms:
        return _chirality_of_one(system, frame, path)
    if path is not None:
        compare_names(system.written, path)
    return _chirality_of_system(system, frame)


def _open(conformer: Conformer) -> tuple[Frame, Path | None]:
    """Return the frame, unchecked as a single molecule needs no box, and where it is from."""
    if isinstance(conformer, Frame):
        return conformer, None
    frame = next(structure_frames(conformer))
    check_positions(frame, conformer)
    return frame, Path(conformer)


def _chirality_of_system(system: System, frame: Frame) -> dict[str, SignArray]:
    parts: dict[str, list[SignArray]] = {}
    for moltype, _, rows in runs_of_molecules(system, frame.positions):
        parts.setdefault(moltype.name, []).append(_chirality(moltype, rows, frame.box))
    return {name: np.concatenate(chirality) for name, chirality in parts.items()}


def _chirality_of_one(system: System, frame: Frame, path: Path | None) -> dict[str, SignArray]:
    """Take the frame for one molecule; its type must be clear."""
    moltypes = list({match.moltype.name: match.moltype for match in system.matches}.values())
    fits = [moltype for moltype in moltypes if moltype.n_atoms == len(frame.positions)]
    chiral = [moltype for moltype in fits if len(stereo_elements(moltype))]
    if path is not None and len(chiral) > 1:  # of several types names tell: that of the file, or of atoms
        named = set(names_of(path).names)
        chiral = [moltype for moltype in chiral if set(moltype.names) == named] or chiral
        chiral = [moltype for moltype in chiral if moltype.name == path.stem] or chiral
    if len(chiral) > 1:
        names = ", ".join(moltype.name for moltype in chiral)
        raise InputError(
            f"{len(frame.positions)} atoms are a molecule of any of {names}; call the file as the type, or "
            f"give a structure of the whole system ({system.n_atoms} atoms)",
            path=path,
        )
    if not fits:
        some = _chirality_of_some(system, frame, path) if path is not None else {}
        if not some:
            raise InputError(_no_fit(frame, moltypes, whole=system.n_atoms), path=path)
        return some
    return _chirality_of_molecule(frame, chiral, path)


def _chirality_of_some(system: System, frame: Frame, path: Path) -> dict[str, SignArray]:
    """States in a structure that has all molecules of some types, perhaps among others that are left out.

    They are found by the names of their atoms.  Nothing is found where no such molecule is there.
    """
    wanted: dict[tuple[str, ...], list[MoleculeType]] = {}
    for moltype, _, count in blocks(system.topology):
        if len(stereo_elements(moltype)):
            wanted.setdefault(tuple(moltype.names), []).extend([moltype] * count)
    found: dict[str, list[Positions]] = {}
    for names, first in _find_molecules(read_residues(path), sorted(wanted, key=len, reverse=True)).items():
        moltypes = wanted[names]
        if len(first) != len(moltypes):
            raise InputError(
                f"{len(frame.positions)} atoms, {len(first)} molecules {moltypes[0].name} among them; needed "
                f"are all {len(moltypes)} of the system or one in a file of its own",
                path=path,
            )
        for moltype, row in zip(moltypes, first, strict=True):
            found.setdefault(moltype.name, []).append(frame.positions[row : row + len(names)])
    types = system.topology.molecule_types
    return {
        name: _chirality(types[name], np.array(rows, np.float64), frame.box) for name, rows in found.items()
    }


def _find_molecules(
    residues: Residues, wanted: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], list[int]]:
    """First rows of the molecules with some names of atoms; they begin and end where residues do."""
    starts = np.flatnonzero(np.diff(residues.rows, prepend=-1)).tolist()
    edges = {*starts, len(residues.names)}
    found: dict[tuple[str, ...], list[int]] = {}
    end = 0
    for start in starts:
        for names in wanted if start >= end else ():
            row = start + len(names)
            if row in edges and tuple(residues.names[start:row]) == names:
                found.setdefault(names, []).append(start)
                end = row
                break
    return found


def _chirality_of_molecule(
    frame: Frame, moltypes: list[MoleculeType], path: Path | None
) -> dict[str, SignArray]:
    wrong = [moltype for moltype in moltypes if moltype.n_atoms != len(frame.positions)]
    if wrong:
        raise InputError(_no_fit(frame, wrong), path=path)
    if path is not None:
        for moltype in moltypes:
            check_molecule_names(moltype, names_of(path))
    return {moltype.name: _chirality(moltype, frame.positions[None], frame.box) for moltype in moltypes}


def _no_fit(frame: Frame, moltypes: list[MoleculeType], *, whole: int | None = None) -> str:
    possible = [f"one {moltype.name} ({moltype.n_atoms})" for moltype in moltypes]
    possible += [] if whole is None else [f"the whole system ({whole})"]
    return f"{len(frame.positions)} atoms, needed are those of {' or '.join(possible)}"


def _chirality(moltype: MoleculeType, rows: Positions, box: FloatArray) -> SignArray:
    """States in molecules (copies, n, 3), which are made whole if there is a box.

    A PDB file that is no crystal has a cell of 0.1 nm: that is no box.
    """
    if np.diag(box).min() > 2 * LIMITS.max():
        rows = make_whole(np.asarray(rows, np.float64), box, moltype.bonds)
    return chirality_of(rows, stereo_elements(moltype))

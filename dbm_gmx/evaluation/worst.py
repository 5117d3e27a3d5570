"""Structures of the worst places as small files, with scripts that show them in VMD and PyMOL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from itertools import count as numbers
from pathlib import Path

import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.rules import IN_FRAMES, Fault
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks, chemical_bonds
from dbm_gmx.evaluation.evaluation import Evaluation, Trajectory
from dbm_gmx.evaluation.tables import slug
from dbm_gmx.evaluation.viewer import Scene
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.options import RULES

MOST = 3
"""Places of each rule that are shown of a trajectory."""


@dataclass(frozen=True, eq=False)
class Place:
    """A place to look at.

    Attributes
    ----------
    label, time
        Of the trajectory and the frame (ps).
    fault
        What is wrong there.
    file
        Name of its structure.
    atoms
        Numbers of the atoms in that file, from 1.
    bonds
        (b, 2) rows of that file, from 0.
    positions
        (n, 3) nm, the first of these atoms in the origin.
    elements
        Of its atoms.
    words
        What is wrong, for people.
    """

    label: str
    time: float
    fault: Fault
    file: str
    atoms: tuple[int, ...]
    bonds: IntArray
    positions: Float32Array
    elements: tuple[str, ...]
    words: str


def write_worst(evaluation: Evaluation, folder: Path) -> list[Place]:
    """Write the structures of the worst places of all candidates, and the scripts.

    Each file has the whole molecules a fault is about, next to each other.
    """
    places = []
    names = file_names([candidate.label for candidate in evaluation.candidates])
    for candidate, start in zip(evaluation.candidates, names, strict=True):
        for rule in IN_FRAMES:
            for number, (frame, fault) in enumerate(_worst(candidate, rule), 1):
                folder.mkdir(exist_ok=True)
                name = f"{start}_{rule}_{number}.pdb"
                places.append(_write(evaluation.system.topology, candidate, frame, fault, folder / name))
    if places:
        (folder / "look.pml").write_text(pymol_script(places))
        (folder / "look.tcl").write_text(vmd_script(places))
    return places


def file_names(labels: Sequence[str]) -> list[str]:
    """Return the begin of a file name for each label, no two alike."""
    taken: list[str] = []
    for label in labels:
        wanted = slug(label)
        others = (f"{wanted}_{k}" for k in numbers(2))
        taken.append(next(name for name in chain([wanted], others) if name not in taken))
    return taken


def _worst(candidate: Trajectory, rule: str) -> list[tuple[Frame, Fault]]:
    """The worst faults of a rule, no two of them in the same frame if that can be had."""
    found = [
        (f"{place}", frame, fault)
        for frame, m in zip(candidate.frames, candidate.measured, strict=True)
        for place, fault in enumerate(sorted((f for f in m.faults if f.rule == rule), key=badness))
    ]
    found.sort(key=lambda item: (int(item[0]), badness(item[2])))
    return [(frame, fault) for _, frame, fault in found[:MOST]]


def badness(fault: Fault) -> float:
    """Number that is the smaller the worse a fault is among those of its rule."""
    return -fault.size if fault.rule in ("bonds", "beads") else fault.size


def _write(topology: Topology, candidate: Trajectory, frame: Frame, fault: Fault, path: Path) -> Place:
    molecules = dict.fromkeys(molecule_of(topology, i) for i in fault.atoms)
    anchor, rows, moltypes, bonds = frame.positions[fault.atoms[0]], [], [], []
    positions, offset = [], 0
    for first, name in molecules:
        moltype = topology.molecule_types[name]
        own = np.arange(first, first + moltype.n_atoms)
        nearest = next(i for i in fault.atoms if i in own)
        apart = (frame.positions[nearest] - anchor).astype(np.float64)
        positions.append(frame.positions[own] + minimum_image(apart, frame.box) - apart)
        bonds.append(chemical_bonds(moltype) + offset)
        rows.append(own)
        moltypes.append(moltype)
        offset += moltype.n_atoms
    part = Topology(
        {moltype.name: moltype for moltype in moltypes}, tuple((moltype.name, 1) for moltype in moltypes)
    )
    atoms = (np.concatenate(positions) - anchor).astype(np.float32)
    with open_writer(path, part, title=f"{candidate.label}: {RULES[fault.rule].words}") as writer:
        writer.write(Frame(atoms, frame.box, time=frame.time, step=frame.step, free=frame.free))
    with path.open("a") as stream:  # programs would guess bonds where atoms are too close
        stream.writelines(f"CONECT{i + 1:5d}{j + 1:5d}\n" for i, j in np.concatenate(bonds).tolist())
    every = np.concatenate(rows).tolist()
    shown = tuple(every.index(i) + 1 for i in fault.atoms)
    words = _words(topology, fault)
    elements = tuple(element for moltype in moltypes for element in moltype.elements)
    return Place(
        candidate.label,
        frame.time,
        fault,
        path.name,
        shown,
        np.concatenate(bonds),
        atoms,
        elements,
        words,
    )


def molecule_of(topology: Topology, atom: int) -> tuple[int, str]:
    """First atom and type of the molecule an atom (row) belongs to."""
    for moltype, first, count in blocks(topology):
        if atom < first + count * moltype.n_atoms:
            return first + (atom - first) // moltype.n_atoms * moltype.n_atoms, moltype.name
    raise IndexError(atom)


def _words(topology: Topology, fault: Fault) -> str:
    """A fault in words, with the numbers of its atoms in the whole system."""

    def named(i: int) -> str:
        first, name = molecule_of(topology, i)
        moltype: MoleculeType = topology.molecule_types[name]
        return f"{moltype.names[i - first]} {i + 1}"

    texts: dict[str, Callable[..., str]] = {
        "contacts": lambda a, b: f"{named(a)} and {named(b)}, {fault.size:.3f} nm apart",
        "overlaps": lambda a, b: (
            f"{named(a)} and {named(b)}, at {fault.size:.2f} of a bad contact's distance"
        ),
        "bonds": lambda a, b: (
            f"{named(a)}-{named(b)}, {fault.size:.1f} times longer or shorter than its own length"
        ),
        "beads": lambda *own: f"{named(own[0])} and its bead's other atoms are {fault.size:.1f} widths off",
        "pierced": lambda a, b, *ring: f"{named(a)}-{named(b)} through the ring of {named(ring[0])}",
        "flipped": lambda a: f"{named(a)} has the wrong chirality",
        "undefined": lambda a: f"the neighbours of {named(a)} make no tetrahedron",
        "turned": lambda a, b: f"{named(a)}-{named(b)} is turned over",
        "twisted": lambda a, b: f"{named(a)}-{named(b)} is neither cis nor trans",
    }
    return texts[fault.rule](*fault.atoms)


def scene_of(place: Place) -> Scene:
    """A place in three dimensions."""
    labels = [f"{element} {i}" for i, element in enumerate(place.elements, 1)]
    focus = [i - 1 for i in place.atoms]
    title = Path(place.file).stem
    return Scene(title, place.elements, labels, place.positions, place.bonds, focus)


# --- scripts -----------------------------------------------------------------------------------------


def pymol_script(places: Sequence[Place]) -> str:
    """Return the script for PyMOL."""
    lines = ["# pymol look.pml (in this folder)", "set connect_mode, 1", "bg_color white"]
    for place in places:
        name = Path(place.file).stem
        chosen = f"{name} and id {'+'.join(map(str, place.atoms))}"
        lines += [comment(f"{place.label}, {place.time:g} ps: {place.words}"), f"load {place.file}, {name}"]
        lines += [f"show sticks, {name}", f"show spheres, {chosen}"]
        lines += [f"set sphere_scale, 0.35, {name}", f"color red, {chosen} and elem C", f"disable {name}"]
    first = Path(places[0].file).stem
    return "\n".join([*lines, f"enable {first}", f"zoom {first} and id {places[0].atoms[0]}, 8", ""])


def comment(text: str) -> str:
    """A text as one line of a script that no program takes for more, in Tcl, Python and PyMOL.

    What cannot be printed (line breaks) becomes a blank.  A backslash at the end of a line would join the
    next one to it.
    """
    return "# " + "".join(c if c.isprintable() else " " for c in text).replace("\\", "/")


def vmd_script(places: Sequence[Place]) -> str:
    """Return the script for VMD, in Tcl."""
    return "\n".join(["# vmd -e look.tcl (in this folder)", *_vmd_lines(places), "display resetview", ""])


def _vmd_lines(places: Sequence[Place]) -> Iterator[str]:
    for number, place in enumerate(places):
        yield comment(f"{place.label}, {place.time:g} ps: {place.words}")
        yield f"set m [mol new {place.file} type pdb waitfor all autobonds off]"
        yield "set all [atomselect $m all]"
        yield f"$all setbonds {{{' '.join(f'{{{row}}}' for row in _neighbours(place))}}}"
        yield "mol delrep 0 $m"
        for how, what in (("Licorice 0.12", "all"), ("VDW 0.35", _serials(place))):
            yield f"mol representation {how}"
            yield f"mol selection {{{what}}}"
            yield f"mol color {'Name' if what == 'all' else 'ColorID 1'}"
            yield "mol addrep $m"
        if number:
            yield "mol off $m"


def _serials(place: Place) -> str:
    return f"serial {' '.join(map(str, place.atoms))}"


def _neighbours(place: Place) -> list[str]:
    """Bonded rows of each atom, as VMD has them."""
    found: dict[int, list[str]] = {i: [] for i in range(int(place.bonds.max(initial=0)) + 1)}
    for i, j in place.bonds.tolist():
        found[i].append(str(j))
        found[j].append(str(i))
    return [" ".join(rows) for rows in found.values()]

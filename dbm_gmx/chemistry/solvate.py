"""Places for molecules of solvent that have no beads: water in fours, as Martini has it, and ions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import Float32Array, FloatArray, Int32Array
from dbm_gmx.chemistry.frame import Frame, box_volume
from dbm_gmx.chemistry.mapping import Mapping as BeadMapping
from dbm_gmx.chemistry.periodic import neighbour_pairs
from dbm_gmx.chemistry.residues import ION_FAMILIES, WATER
from dbm_gmx.chemistry.topology import MoleculeType, Topology, heavy_atoms, molecule_counts
from dbm_gmx.chemistry.units_of_beads import parse_parts
from dbm_gmx.errors import InputError
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import Matching

log = logging.getLogger(__name__)

DENSITY = 33.3
"""Molecules in a nm^3 of water."""

HEAVY = 0.021
"""nm^3 of an atom with its hydrogens, where it is no water: 0.017 in proteins, 0.027 in tails of lipids."""

TOGETHER = 4
"""Molecules of water in a place."""

FULL = 1.1
"""Water that is listed may be so many times what there is room for."""

APART, FROM_BEADS = 0.5, 0.42
"""Distances of places from each other and from beads, nm.

Spheres of the first one at the density of water fill 0.54 of it; at random they fill up to 0.64.
"""

STEPS = 120
"""In which places are pushed apart."""

BEAD = "solvent"


@dataclass(frozen=True)
class Solvent:
    """What is put in.

    Attributes
    ----------
    places
        Number of places, one for each bead behind those of the coarse-grained system.
    """

    places: int

    def added_to(self, frame: Frame) -> Frame:
        """The frame with the places behind its beads."""
        found = find_places(frame.positions, frame.box, self.places, seed=frame.index)
        return replace(frame, positions=np.concatenate([frame.positions, found]))


@dataclass(frozen=True, eq=False)
class Solvated:
    """Both systems with the solvent.

    Attributes
    ----------
    cg, aa
        Beads, one more for each place; atoms, with the molecules that are put in.
    aliases
        What the new beads are.
    solvent
        What is put in; ``None`` if there is nothing.
    """

    cg: Topology
    aa: Topology
    aliases: tuple[tuple[str, str], ...] = ()
    solvent: Solvent | None = None


def solvate(
    cg: Topology, aa: Topology, mappings: Mapping[str, BeadMapping], matching: Matching, frame: Frame
) -> Solvated:
    """Say which molecules of water and ions have no beads, and give them some.

    Water that is listed is put in as often as that, less what beads stand for.  If none is listed, and no
    bead stands for any, as much is put in as there is room for.  Ions of one atom that are listed and have no
    beads are put in, too.

    Parameters
    ----------
    cg, aa
        Beads and atoms.
    mappings, matching
        All that is known of them.
    frame
        Beads (m, 3): its box says how much room there is.

    Raises
    ------
    InputError
        No box, no water in the topology or two kinds of it, or more water than there is room for.
    """
    if frame.free:
        raise InputError("--solvate needs a box, and the beads have none")
    used, before = _used(cg, aa, mappings, matching), molecule_counts(aa)
    # water and ions that have beads need not be listed
    more = [(n, c) for n, c in used.items() if not before.get(n) and (_is_water(aa, n) or _is_ion(aa, n))]
    aa = replace(aa, molecules=(*aa.molecules, *more), relisted=True) if more else aa
    listed = molecule_counts(aa)
    ions = [(n, c) for n, c in listed.items() if _is_ion(aa, n) and c and n not in used]
    name = _water(aa, matching)
    count = listed.get(name, 0) - used.get(name, 0)
    room = _room(aa, used, frame) - sum(places for _, places in ions)
    if count < 0:
        raise InputError(
            f"--solvate: beads stand for {used[name]} molecules {name}, and {listed[name]} are listed",
            path=aa.path,
        )
    if count > FULL * room + TOGETHER:
        raise InputError(
            f"--solvate: {count} molecules {name} are to be put in, and there is room for about {int(room)}",
            path=aa.path,
        )
    if not listed.get(name):
        count = max(0, int(room))
        aa = replace(aa, molecules=(*aa.molecules, (name, count)), relisted=True)
    parts = [(f"{TOGETHER} {name}", count // TOGETHER), (name, count % TOGETHER), *ions]
    parts = [(text, places) for text, places in parts if places]
    if not parts:
        return Solvated(cg, aa)
    log.log(NOTICE, "put in: %s", ", ".join(f"{n} {what}" for what, n in [(name, count), *ions] if n))
    types = {f"{BEAD} {text}": _bead(f"{BEAD} {text}") for text, _ in parts}
    molecules = (*cg.molecules, *((f"{BEAD} {text}", places) for text, places in parts))
    beads = replace(cg, molecule_types={**cg.molecule_types, **types}, molecules=molecules)
    aliases = tuple((f"{BEAD} {text}", text) for text, _ in parts)
    return Solvated(beads, aa, aliases, Solvent(sum(places for _, places in parts)))


def _used(
    cg: Topology, aa: Topology, mappings: Mapping[str, BeadMapping], matching: Matching
) -> dict[str, int]:
    """Molecules of atoms that beads stand for by name, by an alias or by a mapping; not those left out."""
    said = {name: parse_parts(text) for name, text in matching.aliases}
    for mapping in mappings.values():
        parts = mapping.parts or ((mapping.molecule, 1),)
        said.setdefault(mapping.cg_molecule or mapping.molecule, parts)
    found: dict[str, int] = {}
    for name, count in molecule_counts(cg).items():
        parts = said.get(name, ((name, 1),) if name in aa.molecule_types else ())
        for part, each in parts if name not in matching.leave_out else ():
            found[part] = found.get(part, 0) + each * count
    return found


def _is_water(aa: Topology, name: str) -> bool:
    return name.upper() in WATER and aa.molecule_types[name].n_atoms > 1


def _is_ion(aa: Topology, name: str) -> bool:
    return aa.molecule_types[name].n_atoms == 1 and any(name.upper() in family for family in ION_FAMILIES)


def _water(aa: Topology, matching: Matching) -> str:
    """The molecule type of water: that which is listed, or the only one."""
    known = [n for n in aa.molecule_types if _is_water(aa, n) and n not in matching.leave_out]
    listed = [n for n in known if molecule_counts(aa).get(n)]
    if len(listed or known) == 1:
        return (listed or known)[0]
    found = ", ".join(listed or known) or "none"
    raise InputError(
        f"--solvate needs one molecule type of water, as SOL or TIP3; found {found}", path=aa.path
    )


def _room(aa: Topology, used: Mapping[str, int], frame: Frame) -> float:
    """Molecules of water that the box has room for beside what has beads."""
    taken = 0.0
    for name, count in molecule_counts(aa).items():
        moltype = aa.molecule_types[name]
        if _is_water(aa, name) or _is_ion(aa, name):
            taken += used.get(name, 0) / DENSITY
        else:
            taken += count * HEAVY * float(heavy_atoms(moltype).sum())
    return DENSITY * (box_volume(frame.box) - taken)


def _bead(name: str) -> MoleculeType:
    graph = nx.Graph()
    data = {"name": BEAD, "type": BEAD, "element": "", "mass": 72.0, "charge": 0.0}
    graph.add_node(0, **data, resid=1, resname=BEAD)
    return MoleculeType(name, 1, graph)


# --- where -----------------------------------------------------------------------------------------------


def find_places(beads: Float32Array, box: FloatArray, count: int, *, seed: int) -> Float32Array:
    """Find places in the room that beads leave.

    Points are put at random and pushed apart, and away from the beads, until none is too near.

    Parameters
    ----------
    beads
        (m, 3) nm, wherever in space.
    box
        (3, 3) nm, however skewed.
    count
        How many places.
    seed
        Of the random numbers.

    Returns
    -------
    (count, 3) nm.
    """
    rng = np.random.default_rng([seed, count])
    places = rng.random((count, 3)) @ box
    for _ in range(STEPS):
        push = np.zeros_like(places)
        for others, distance, part in ((places, APART, 0.5), (beads, FROM_BEADS, 1.0)):
            rows, vectors = _too_near(places, np.asarray(others, np.float64), box, distance)
            np.add.at(push, rows, part * vectors)
        if not push.any():
            break
        longest = np.linalg.norm(push, axis=1, keepdims=True)
        places += push * np.minimum(1.0, 0.1 / np.maximum(longest, 1e-9))
    return places.astype(np.float32)


def _too_near(
    points: FloatArray, others: FloatArray, box: FloatArray, distance: float
) -> tuple[Int32Array, FloatArray]:
    """Rows of points that are nearer than a distance to others, and where they must go."""
    pairs = neighbour_pairs(points, others, box, distance)
    pairs = pairs.select(pairs.distances > 1e-9)
    apart = points[pairs.i] - others[pairs.j] - pairs.shift()
    return pairs.i, apart * (distance / pairs.distances - 1.0)[:, None]

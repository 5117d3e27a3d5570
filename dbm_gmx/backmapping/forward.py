"""Forward mapping: atoms in, beads out."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dbm_gmx.chemistry.bead_geometry import make_bead_geometry
from dbm_gmx.chemistry.mapping import bead_topology as topology_of_beads
from dbm_gmx.chemistry.mapping import mapped_molecules
from dbm_gmx.chemistry.system import map_frame
from dbm_gmx.errors import InputError, in_short
from dbm_gmx.files.bead_topology import write_bead_topology
from dbm_gmx.files.input_files import files_of_atoms
from dbm_gmx.files.provenance import Provenance, Started, write_provenance
from dbm_gmx.files.system import OF_BEADS, is_of_beads, mappings_to_beads, read_atoms
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.options import AtomInputs
from dbm_gmx.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mapped:
    """What a forward mapping did.

    Attributes
    ----------
    frames, seconds
        How many, in which time.
    beads, atoms
        Of a frame.
    unmapped
        Molecule types without a mapping, left out.
    """

    frames: int
    seconds: float
    beads: int
    atoms: int
    unmapped: tuple[str, ...] = ()

    def text(self) -> str:
        """Say it to the user."""
        lines = [
            f"frames         {self.frames} in {self.seconds:.1f} s",
            f"beads          {self.beads} of {self.atoms} atoms",
        ]
        lines += [f"left out       {', '.join(self.unmapped)}: no mapping"] if self.unmapped else []
        return "\n".join(lines)


@dataclass(frozen=True)
class BeadTopology:
    """A topology of the beads to be written.

    Attributes
    ----------
    path
        ``.top``.
    temperature
        Of the atoms, K; force constants follow from it and the widths.
    """

    path: Path
    temperature: float = 300.0


def map_trajectory(
    inputs: AtomInputs,
    output: Path,
    *,
    first_frame: Path | None = None,
    bead_topology: BeadTopology | None = None,
    quiet: bool = True,
) -> Mapped:
    """Map an atomistic trajectory to beads, with the weights of VOTCA.

    Parameters
    ----------
    inputs
        Atoms and mapping.
    output
        ``.xtc``, ``.trr``, ``.gro`` or ``.pdb``: molecules in the order of the topology, whole, each a
        residue.
    first_frame
        A ``.gro`` of the first frame.
    bead_topology
        A ``.top`` of the beads, its bonds and angles those of the frames.
    quiet
        No progress shown.

    Raises
    ------
    InputError
        If any input cannot be used.  Frames before a damaged one are kept.
    """
    if first_frame is not None and first_frame.suffix != ".gro":
        raise InputError("the first frame (-c) is written as .gro only", path=first_frame)
    if first_frame is not None and first_frame.resolve() == output.resolve():
        raise InputError("the same file for all frames (-o) and the first one (-c)", path=output)
    atoms, frames, total = read_atoms(inputs)
    try:
        mappings = mappings_to_beads(atoms, inputs.mappings)
    except InputError as error:
        if is_of_beads(atoms):
            said = f"{OF_BEADS} map makes beads of atoms: give those (-s, -p). As it is: {in_short(error)}"
            raise InputError(said, path=inputs.topology or inputs.structure) from error
        raise
    matches = mapped_molecules(atoms, mappings)
    beads = topology_of_beads(matches)
    widths = make_bead_geometry(matches) if bead_topology is not None else None
    begin, started = time.monotonic(), Started()
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(total, quiet=quiet))
        writer = stack.enter_context(open_writer(output, beads))
        single = stack.enter_context(open_writer(first_frame, beads)) if first_frame else None
        for frame in frames:
            mapped = map_frame(matches, frame)
            writer.write(mapped)
            if widths is not None:
                widths.add(mapped)
            progress.update()
            if single is not None and not single.frames:
                single.write(mapped)
    if widths is not None and bead_topology is not None:
        write_bead_topology(bead_topology.path, widths, bead_topology.temperature)
    missing = tuple(name for name in dict.fromkeys(n for n, _ in atoms.molecules) if name not in mappings)
    found = Mapped(writer.frames, time.monotonic() - begin, beads.n_atoms, atoms.n_atoms, missing)
    settings = {key: getattr(inputs, key) for key in ("begin", "end", "dt", "defines")}
    files = files_of_atoms(inputs, ())
    made = Provenance("map", files, settings, summary=found, text=found.text(), started=started)
    write_provenance([output], made)
    return found

"""``dbm-gmx view``: atoms and the beads over them as a page in three dimensions."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from dbm_gmx.commands.arguments import Commands, add_preprocessor, add_quiet, count, group, positive
from dbm_gmx.errors import ExitCode


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "view",
        help="show atoms, and the beads over them, in three dimensions",
        description="Write one page that shows atoms, and the beads over them, in three dimensions. It opens "
        "in a browser without a network. Beads lie at the periodic image next to their atoms.",
    )
    add = group(command, "input").add_argument
    add(
        "atoms",
        type=Path,
        metavar="FILE",
        help="Structure of the atoms: .gro or .pdb. Its first frame is shown.",
    )
    add(
        "--cg",
        type=Path,
        dest="beads",
        metavar="FILE",
        help="Structure of the beads of the same frame: .gro or .pdb.",
    )
    add(
        "-p",
        "--topology",
        type=Path,
        metavar="FILE",
        help="Topology of the atoms (.top), for the bonds. Default: bonds where atoms are near each other.",
    )
    add_preprocessor(command)
    add = group(command, "output").add_argument
    add("--around", type=count(1), metavar="N", help="Show only what is near atom N. The atom is marked.")
    add(
        "--within",
        type=positive("a length in nm"),
        default=2.5,
        metavar="NM",
        help="Distance that counts as near, also where a system is too large to show all of it. Default: "
        "%(default)g.",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("view.html"),
        metavar="FILE",
        help="Page that is written. Default: %(default)s.",
    )
    add_quiet(command)
    command.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Write the page and say what is on it; returns the exit code."""
    from dbm_gmx.evaluation.overlay import ViewInputs, overlay
    from dbm_gmx.evaluation.viewer import view_page
    from dbm_gmx.files.output import atomic_write
    from dbm_gmx.files.top import read_topology

    topology = None
    if options.topology is not None:
        topology = read_topology(
            options.topology, defines=options.defines, include=options.include, counted=True
        )
    inputs = ViewInputs(options.atoms, options.beads, topology, options.around, options.within)
    scene, notes = overlay(inputs)
    beads = f" and {options.beads.name}" if options.beads else ""
    with atomic_write(options.output) as part:
        page = view_page(f"{options.atoms.name}{beads}", [scene], notes)
        part.write_text(page, encoding="utf-8", errors="backslashreplace")  # names may be any bytes
    if not options.quiet:
        number = "" if scene.beads is None else f", {len(scene.beads.names)} beads"
        print("\n".join([f"{len(scene.elements)} atoms{number}", *notes, f"page           {options.output}"]))
    return ExitCode.DONE

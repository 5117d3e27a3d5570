"""``dbm-gmx map``: turn atoms into beads; ``dbm-gmx map init``: propose a mapping."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from dbm_gmx.commands.arguments import (
    Commands,
    add_atoms,
    add_preprocessor,
    add_quiet,
    group,
    positive,
    record_of,
)
from dbm_gmx.errors import ExitCode, InputError
from dbm_gmx.options import AtomInputs


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "map",
        help="turn an atomistic trajectory into a coarse-grained one",
        description="Turn an atomistic trajectory into a coarse-grained one, molecules whole. "
        "'dbm-gmx map init' proposes a mapping where there is none.",
    )
    add_atoms(command)
    add = group(command, "output").add_argument
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="Trajectory of the beads that is written: .xtc, .trr, .gro or .pdb. It is needed.",
    )
    add("-c", "--first", type=Path, metavar="FILE", help="Write the first frame as a .gro, too.")
    add(
        "-op",
        "--bead-topology",
        type=Path,
        metavar="FILE",
        help="Write a topology of the beads (.top), too, with bonds and angles as they are in the frames.",
    )
    add(
        "-t",
        "--temperature",
        type=positive("a temperature in K"),
        default=300.0,
        metavar="K",
        help="Temperature of the atoms, for the force constants of -op. Default: %(default)g.",
    )
    add_quiet(command)
    command.set_defaults(run=run)
    _add_init(command)


def _add_init(command: ArgumentParser) -> None:
    """Add ``map init``."""
    inside = command.add_subparsers(title="no mapping yet", metavar="init", required=False)
    init = inside.add_parser(
        "init",
        help="propose a mapping where there is none",
        description="Propose a mapping of molecules to beads: from residues, bonds and masses of both, or "
        "from CGSmiles. Nothing is guessed: where several are equally good they are listed.",
    )
    add = init.add_argument
    add("-p", "--topology", type=Path, required=True, metavar="FILE", help="Topology of the atoms (.top).")
    add(
        "-s",
        "--structure",
        type=Path,
        metavar="FILE",
        help="Structure of the beads: a .tpr; or a .gro or .pdb, together with -cp.",
    )
    add(
        "-cp",
        "--cg-topology",
        type=Path,
        metavar="FILE",
        help="Topology of the beads (.top or .itp), needed where -s is no .tpr.",
    )
    add(
        "--smiles",
        nargs="+",
        default=[],
        metavar="CGSMILES",
        help="Molecules with their beads as CGSmiles, or files of these. The name of the molecule type may "
        "stand in front: 'NAME {...}.{...}'.",
    )
    add(
        "--choose",
        nargs="+",
        type=_choice,
        default=[],
        metavar="NAME=N",
        help="Take the N-th of the mappings that are listed for a molecule type as equally good.",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("mapping"),
        metavar="FOLDER",
        help="Folder for NAME.xml, NAME.svg and owners.txt. Default: %(default)s.",
    )
    add_preprocessor(init)
    add_quiet(init)
    init.set_defaults(run=run_init, command="map init")


def _choice(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdigit() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N, N from 1")
    return name, int(number)


def run_init(options: Namespace) -> int:
    """Propose mappings, write them and say what they follow from; returns the exit code."""
    from dbm_gmx.backmapping.proposals import ProposalInputs, propose_mappings, write_proposals

    inputs = ProposalInputs(
        options.topology,
        options.structure,
        options.cg_topology,
        tuple(options.smiles),
        dict(options.choose),
        tuple(options.defines),
        tuple(options.include),
    )
    proposed = propose_mappings(inputs)
    files = write_proposals(proposed, options.output) if proposed.mappings else []
    if not options.quiet:
        print("\n".join([*proposed.lines, *(f"written: {path}" for path in files)]))
    for text in proposed.open:
        print(f"dbm-gmx: error: {text}", file=sys.stderr)
    return ExitCode.FAILED if proposed.open else ExitCode.DONE


def run(options: Namespace) -> int:
    """Map the trajectory and print the summary; returns the exit code."""
    from dbm_gmx.backmapping.forward import BeadTopology, map_trajectory

    if options.output is None:
        raise InputError(
            "no output: give a file for the beads (-o), or propose a mapping with 'dbm-gmx map init'"
        )
    inputs, quiet = record_of(options, AtomInputs), options.quiet
    topology = None
    if options.bead_topology is not None:
        topology = BeadTopology(options.bead_topology, options.temperature)
    mapped = map_trajectory(
        inputs, options.output, first_frame=options.first, bead_topology=topology, quiet=quiet
    )
    if not options.quiet:
        print(mapped.text())
    return ExitCode.DONE

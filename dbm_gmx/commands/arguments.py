"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import argparse
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dbm_gmx.errors import ExitCode, InputError
from dbm_gmx.files.text import as_number
from dbm_gmx.options import (
    ADJUSTABLE,
    ASSUMED,
    INFEASIBLE,
    LEAST,
    MODEL,
    MOST,
    NARROW,
    REFINEMENTS,
    RULE_GROUPS,
    RULES,
    SHORTEST_STEP,
    STARTS,
    STEREO,
    TACTICITIES,
    TOLERANCE,
    AtomInputs,
    Conditions,
    ConvergenceCheck,
    EvaluateInputs,
    Inputs,
    Limits,
    Method,
    Preprocessor,
    RelaxSettings,
    Settings,
    make_limits,
)

if TYPE_CHECKING:
    from dbm_gmx.parallel import Workers


class Commands(Protocol):
    """What a command adds its parser to."""

    def add_parser(self, name: str, *, help: str, description: str) -> ArgumentParser:
        """Return the parser of a new command."""


# --- values ----------------------------------------------------------------------------------------


def count(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``least``."""

    def count(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return count


def positive(what: str) -> Callable[[str], float]:
    """Return a parser of numbers above 0 that are of use; ``what`` is, with its article, what they are."""

    def positive(text: str) -> float:
        value = _number(text)
        if not (math.isfinite(value) and value > 0):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} above 0")
        if not LEAST <= value <= MOST:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {LEAST:g} to {MOST:g}")
        return value

    return positive


Value = TypeVar("Value")


def auto(parse: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """Return a parser that takes ``auto`` as well, which is ``None``."""

    def auto(text: str) -> Value | None:
        return None if text == "auto" else parse(text)

    return auto


def limit(text: str) -> tuple[str, float]:
    """Parse a rule and its threshold."""
    rule, _, number = text.partition("=")
    value = _number(number)
    if rule not in ADJUSTABLE:
        raise argparse.ArgumentTypeError(f"{text!r}: RULE=VALUE is for {', '.join(ADJUSTABLE)}")
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r}: {number!r} is not a number from 0")
    return rule, value


def picoseconds(text: str) -> float:
    """Parse a time."""
    time = _number(text)
    if not math.isfinite(time):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in ps")
    return time


def step(text: str) -> float:
    """Parse a time between frames."""
    time = picoseconds(text)
    if time < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is negative; frames are taken forward in time")
    if 0 < time < SHORTEST_STEP:
        raise argparse.ArgumentTypeError(
            f"{text!r} ps is no time between frames; {SHORTEST_STEP:g} ps is the least"
        )
    return time


def part(text: str) -> tuple[int, int]:
    """Parse ``3/10``."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part, as 3/10 is the third of ten")
    return int(number), int(of)


def alias(text: str) -> tuple[str, str]:
    """Parse a molecule type of beads and what it is; the name of beads may hold a ``=``."""
    name, _, of = text.rpartition("=")
    if not name.strip() or not of.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not CG=AA, as NA+=NA or 'W=4 SOL'")
    return name.strip(), of.strip()


def mapping_file(text: str) -> Path:
    """Parse a file or folder of mappings, or the name of one that ships."""
    path = Path(text)
    if path.exists():
        return path
    from dbm_gmx.files.shipped import find_set

    return find_set(path)


def tacticity(text: str) -> str | Path:
    """Parse the name of a tacticity, or a file."""
    if text in TACTICITIES:
        return text
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file and none of {', '.join(TACTICITIES)}")
    return Path(text)


def _number(text: str) -> float:
    try:
        return as_number(text)
    except ValueError:
        return math.nan


def group(command: ArgumentParser, title: str) -> Any:
    """The options of a command that go together in its help, under a title."""
    found = [one for one in command._action_groups if one.title == title]
    return found[0] if found else command.add_argument_group(title)


# --- groups of options -----------------------------------------------------------------------------


def add_inputs(command: ArgumentParser) -> None:
    """Add the files that say what is to be rebuilt."""
    add = group(command, "input").add_argument
    add(
        "-s",
        "--structure",
        type=Path,
        required=True,
        metavar="FILE",
        help="Structure of the beads: a .tpr; or a .gro or .pdb, together with -cp.",
    )
    add(
        "-f",
        "--trajectory",
        type=Path,
        metavar="FILE",
        help="Trajectory of the beads: .xtc, .trr, .gro or .pdb. Default: the one frame in -s.",
    )
    add(
        "-cp",
        "--cg-topology",
        type=Path,
        metavar="FILE",
        help="Topology of the beads, needed where -s is no .tpr: a .top; or an .itp, if there is one "
        "molecule type only.",
    )
    add(
        "-p",
        "--topology",
        type=Path,
        metavar="FILE",
        help="Topology of the atoms (.top). Default: the molecules that ship.",
    )
    add_mapping(command)
    add(
        "--owners",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="Files that say which bead each atom is rebuilt with. Default: owners.txt beside the mapping; "
        "without it the weights of the mapping decide.",
    )
    add_matching(command)
    add(
        "--solvate",
        action="store_true",
        help="Put in the water and ions of -p that have no beads: as many as it lists. If it lists no water, "
        "the box is filled. The molecules that there are then are written to aa.top, for -o aa.xtc.",
    )
    add_preprocessor(command)


def add_chirality(command: ArgumentParser) -> None:
    """Add what says the chirality of stereocentres."""
    add = group(command, "input").add_argument
    add(
        "-r",
        "--reference",
        type=Path,
        nargs="+",
        default=[],
        dest="references",
        metavar="FILE",
        help="Structures (.gro or .pdb) that show the right chirality: one molecule of each type, or the "
        "whole system.",
    )
    add(
        "--tacticity",
        type=tacticity,
        metavar="|".join([*TACTICITIES, "FILE"]),
        help="Tacticity of stereocentres that neither -r nor the beads decide. FILE is a structure as for "
        "-r.",
    )


def add_matching(command: ArgumentParser) -> None:
    """Add what is said of how beads and atoms go together."""
    add = group(command, "matching").add_argument
    add(
        "--alias",
        type=alias,
        nargs="+",
        default=[],
        dest="aliases",
        metavar="CG=AA",
        help="The molecule type CG of the beads is the molecule type AA of the atoms, where the names "
        "differ: NA+=NA. A bead may hold several molecules: 'W=4 SOL', 'NA+=NA 4 SOL'.",
    )
    for option, words in (
        ("--only", "Rebuild these molecule types and no others."),
        ("--leave-out", "Do not rebuild these molecule types."),
    ):
        add(
            option,
            nargs="+",
            default=[],
            metavar="TYPE",
            help=f"{words} Give their names in the topology of the beads or of the atoms.",
        )
    add_reorder(command)
    add(
        "-n",
        "--index",
        type=Path,
        metavar="FILE",
        help="Index file with the group of the beads that are in -f, if these are fewer than in -s. "
        "Default: the first ones.",
    )


def add_reorder(command: ArgumentParser) -> None:
    """Add whether another order is put right."""
    group(command, "matching").add_argument(
        "--reorder",
        action="store_true",
        help="Put atoms and molecules into the order of the topology. Without it another order is an error.",
    )


def add_atoms(command: ArgumentParser) -> None:
    """Add the files that say what the atoms are and where."""
    add = group(command, "input").add_argument
    add(
        "-s",
        "--structure",
        type=Path,
        metavar="FILE",
        help="Structure of the atoms: a .tpr; or a .gro or .pdb, together with -p.",
    )
    add(
        "-f",
        "--trajectory",
        type=Path,
        metavar="FILE",
        help="Trajectory of the atoms: .xtc, .trr, .gro or .pdb. Default: the one frame in -s.",
    )
    add(
        "-p",
        "--topology",
        type=Path,
        metavar="FILE",
        help="Topology of the atoms (.top). Default: the molecules in -s.",
    )
    add_mapping(command)
    add_reorder(command)
    add_times(command)
    add_preprocessor(command)


def add_mapping(command: ArgumentParser) -> None:
    """Add the mapping files."""
    group(command, "input").add_argument(
        "-m",
        "--mapping",
        type=mapping_file,
        nargs="+",
        default=[],
        dest="mappings",
        metavar="FILE",
        help="Mapping files, or folders of them. They are of molecules (VOTCA, deepBackmap, CGSmiles, .ndx) "
        "or of residues (Backward, martinize2, vermouth, PyCGTOOL, CG2AT, MemBack). The name of a mapping "
        "that ships, as martini3, will do. Default: the one that ships and fits.",
    )


def add_times(command: ArgumentParser) -> None:
    """Add the times of the frames that are taken."""
    add = group(command, "frames").add_argument
    add("-b", "--begin", type=picoseconds, metavar="PS", help="Time of the first frame that is taken.")
    add("-e", "--end", type=picoseconds, metavar="PS", help="Time of the last frame that is taken.")
    add("-dt", type=step, metavar="PS", help="Take only frames at multiples of this time.")


def add_preprocessor(command: ArgumentParser) -> None:
    """Add what the preprocessor of a ``.top`` is told."""
    add = group(command, "preprocessor of topologies").add_argument
    add(
        "-D",
        "--define",
        action="append",
        default=[],
        dest="defines",
        metavar="NAME",
        help="Define a name, as -DNAME does in an .mdp.",
    )
    add(
        "-I",
        "--include",
        action="append",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="Look for files of #include in this folder, too.",
    )


def add_conditions(command: ArgumentParser) -> None:
    """Add the ensemble, and how tightly mapped atoms are held to the beads."""
    add_ensemble(command)
    group(command, "ensemble").add_argument(
        "--spread",
        type=auto(positive("a length in nm")),
        metavar="NM",
        help="Width of the bead restraints: the standard deviation of the mapped centres about the beads. "
        f"'auto' is {NARROW} nm, or more for bead types whose atoms would be strained. Default: auto.",
    )


def add_ensemble(command: ArgumentParser) -> None:
    """Add temperature and cut-offs."""
    add = group(command, "ensemble").add_argument
    add(
        "-t",
        "--temperature",
        type=positive("a temperature in K"),
        metavar="K",
        help="Temperature. Default: that of --mdp; without it 300.",
    )
    add(
        "--mdp",
        type=Path,
        metavar="FILE",
        help="Run parameters (.mdp) of the atoms. Temperature, cut-offs, constraints and 'define' are read.",
    )
    add(
        "--cutoff",
        type=positive("a length in nm"),
        metavar="NM",
        help="Cut-off of Lennard-Jones and electrostatics. Default: those of --mdp; without it 1.",
    )


def add_method(command: ArgumentParser) -> None:
    """Add where the atoms come from, and what becomes of them."""
    group(command, "method").add_argument(
        "--refine",
        choices=REFINEMENTS,
        default=Settings.refine,
        help="What becomes of the atoms once they are placed. 'exact' samples the distribution of the force "
        "field, 'gibbs' makes sweeps of the network, 'none' leaves them as they are. Default: %(default)s.",
    )
    group(command, "method").add_argument(
        "--start",
        choices=STARTS,
        help="How the atoms are placed first: by growth in the force field, or by the network. Default: "
        "growth for --refine exact, else the network.",
    )


def add_model(command: ArgumentParser) -> None:
    """Add the trained model."""
    group(command, "network").add_argument(
        "--model", default=MODEL, help="Name or file of the model. Default: %(default)s."
    )
    group(command, "network").add_argument(
        "--channels",
        type=Path,
        metavar="FILE",
        help="File (.toml) that says which atoms go into which channel of the model.",
    )


def add_relaxing(command: ArgumentParser) -> None:
    """Add how GROMACS is run."""
    add = group(command, "GROMACS").add_argument
    add(
        "--em-mdp",
        type=Path,
        metavar="FILE",
        help="Run parameters of the minimisation. Default: 200 steps of steepest descent.",
    )
    add(
        "--nvt-mdp",
        type=Path,
        metavar="FILE",
        help="Run parameters of the dynamics. Default: 1 ps in steps of 1 fs.",
    )
    add(
        "--no-restraints",
        action="store_false",
        dest="restrain",
        help="Do not restrain the mapped centres in GROMACS.",
    )
    add("--gmx", metavar="PATH", help="Program of GROMACS. Default: the first of gmx, gmx_mpi and gmx_d.")
    add(
        "-j",
        "--jobs",
        type=count(1),
        default=RelaxSettings.jobs,
        help="Number of frames that GROMACS works on at a time. Default: %(default)s.",
    )
    add(
        "--timeout",
        type=positive("a time in s"),
        default=RelaxSettings.timeout,
        metavar="S",
        help="End a command of GROMACS that takes longer than this time. Default: %(default)g.",
    )
    add(
        "--maxwarn",
        type=count(0),
        default=RelaxSettings.maxwarn,
        help="Number of warnings of gmx grompp that are accepted. Default: %(default)s.",
    )


def add_tolerance(command: ArgumentParser) -> None:
    """Add what counts as converged."""
    group(command, "method").add_argument(
        "--tolerance",
        type=positive("an energy in kT per atom"),
        default=TOLERANCE,
        metavar="KT",
        help="Largest difference in energy from an independent start that counts as converged, in kT per "
        "atom. Default: %(default)s.",
    )


def add_restart(command: ArgumentParser) -> None:
    """Add whether an unfinished run is taken up."""
    group(command, "output").add_argument(
        "--restart",
        action="store_true",
        help="Begin anew. Without it the same command goes on with an interrupted run.",
    )


def add_rules(command: ArgumentParser, *, of_beads: bool = False) -> None:
    """Add the thresholds of rules, and which of them may be broken; or what beads may be, too."""
    add = group(command, "rules").add_argument
    known = (*RULES, *RULE_GROUPS)
    add(
        "--limit",
        type=limit,
        nargs="+",
        default=[],
        dest="thresholds",
        metavar="RULE=VALUE",
        help="Change thresholds of rules. Defaults: "
        + ", ".join(f"{rule}={getattr(Limits, rule):g}" for rule in ADJUSTABLE)
        + ". What they count is in end-of-run.md of the documentation.",
    )
    add(
        "--allow",
        nargs="+",
        default=[],
        choices=(*known, INFEASIBLE) if of_beads else known,
        metavar="RULE",
        help=f"Rules that may be broken, so that the exit code is 0 all the same: {', '.join(known)}."
        + (f" With {INFEASIBLE}, frames whose beads fit no atoms are rebuilt, too." if of_beads else ""),
    )


def add_process(command: ArgumentParser) -> None:
    """Add threads, and how much is said."""
    group(command, "process").add_argument(
        "--threads", type=count(1), help="Number of CPU threads. Default: all cores."
    )
    add_quiet(command)


def add_cluster(command: ArgumentParser) -> None:
    """Add processes that frames are sent to."""
    group(command, "process").add_argument(
        "--dask",
        nargs="?",
        const=LOCAL,
        metavar="WHERE",
        help="Send frames to several processes. Without WHERE they are on this machine, as many as --threads "
        "says. WHERE is a Dask cluster: tcp://HOST:PORT or a scheduler file.",
    )


def add_part(command: ArgumentParser) -> None:
    """Add which part of the frames is taken."""
    group(command, "frames").add_argument(
        "--part",
        type=part,
        metavar="K/N",
        help="Take only the K-th of N blocks of frames. The output is FILE_partK; see dbm-gmx join.",
    )


LOCAL = "local"
"""In place of the address of a cluster: processes of this machine."""


@contextmanager
def crew_of(options: Namespace) -> Iterator[Workers | None]:
    """Processes that frames are sent to, while the block lasts; ``None`` where they are not.

    Raises
    ------
    InputError
        If Dask is not installed, or no scheduler answers.
    """
    if options.dask is None:
        yield None
        return
    try:
        from dbm_gmx.cluster import open_crew
    except ModuleNotFoundError as error:
        raise InputError(
            f"--dask needs {error.name}, which is not installed: pip install 'dbm-gmx[cluster]'; without it "
            "a run can be cut into parts (--part)"
        ) from error
    from dbm_gmx.parallel import thread_count

    where = None if options.dask == LOCAL else options.dask
    with open_crew(where, options.threads or thread_count()) as crew:
        yield crew


def add_quiet(command: ArgumentParser) -> None:
    """Add how much is said."""
    add = group(command, "process").add_argument
    add("-q", "--quiet", action="store_true", help="Print errors only.")
    add_verbose(command)
    group(command, "process").add_argument(
        "--log", type=Path, metavar="FILE", help="Add all that is said to this file."
    )


def add_verbose(command: ArgumentParser) -> None:
    """Add whether more is said."""
    group(command, "process").add_argument("-v", "--verbose", action="store_true", help="Print more details.")


# --- the end of a run -------------------------------------------------------------------------------


def exit_code(*broken: str) -> ExitCode:
    """Say which rules are broken, if any are; returns the exit code."""
    said = [words for words in dict.fromkeys(broken) if words]
    for words in said:
        print(
            f"dbm-gmx: error: all frames are written, but {words} (--allow RULE if that may be)",
            file=sys.stderr,
        )
    return ExitCode.FLAWED if said else ExitCode.DONE


# --- records of what was given ---------------------------------------------------------------------


Record = TypeVar("Record", Inputs, AtomInputs, EvaluateInputs, Settings, RelaxSettings, ConvergenceCheck)


def record_of(options: Namespace, record: type[Record]) -> Record:
    """A record of those options that it has fields for; a command need not have all."""
    chosen: dict[str, Any] = {}
    for key in record.__dataclass_fields__:
        if hasattr(options, key):
            value = getattr(options, key)
            chosen[key] = tuple(value) if isinstance(value, list) else value
    return record(**chosen)


def inputs_and_method(options: Namespace) -> tuple[Inputs, Method]:
    """The input files and how the atoms are put back.

    What the ``.mdp`` tells the preprocessor holds for the topology too.
    """
    conditions, told = conditions_of(options)
    inputs = record_of(options, Inputs)
    method = Method(
        settings=record_of(options, Settings),
        conditions=replace(conditions, spread=options.spread),
        model=options.model,
        channels=options.channels,
        limits=limits_of(options) if hasattr(options, "allow") else Limits(),
    )
    return told_as_well(inputs, told), method


def limits_of(options: Namespace) -> Limits:
    """The thresholds of the rules, and which may be broken."""
    flips = STEREO if getattr(options, "allow_flips", False) else ()
    return make_limits(dict(options.thresholds), [*options.allow, *flips])


Preprocessed = TypeVar("Preprocessed", Inputs, EvaluateInputs, AtomInputs)


def told_as_well(inputs: Preprocessed, told: Preprocessor) -> Preprocessed:
    """The inputs with what an ``.mdp`` tells the preprocessor beside the options, which go first."""
    return replace(inputs, defines=(*told.defines, *inputs.defines), include=(*inputs.include, *told.include))


def conditions_of(options: Namespace) -> tuple[Conditions, Preprocessor]:
    """The ensemble, and what the ``.mdp`` tells the preprocessor; options go before the ``.mdp``."""
    if options.mdp is None and options.temperature is None and options.cutoff is None:
        return Conditions(source=ASSUMED), Preprocessor()
    from dbm_gmx.files.mdp import conditions_given

    return conditions_given(options.mdp, options.temperature, options.cutoff, source="-t")

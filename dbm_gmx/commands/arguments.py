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
        return float(text)
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
        help="beads: .tpr, or .gro/.pdb with -cp",
    )
    add(
        "-f",
        "--trajectory",
        type=Path,
        metavar="FILE",
        help="beads: .xtc, .trr, .gro, .pdb (the frame in -s)",
    )
    add(
        "-cp",
        "--cg-topology",
        type=Path,
        metavar="FILE",
        help="beads: .top, or .itp of the only molecule, where -s is no .tpr",
    )
    add("-p", "--topology", type=Path, metavar="FILE", help="atoms: .top (that of the library of molecules)")
    add_mapping(command)
    add(
        "--owners",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="which bead each atom is rebuilt with (owners.txt beside the mapping; else from the weights)",
    )
    add_matching(command)
    add(
        "--solvate",
        action="store_true",
        help="put in water and ions of -p that have no beads: as many as it lists; if it lists no water, as "
        "much as there is room for. aa.top has the molecules",
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
        action="extend",
        default=[],
        dest="references",
        metavar="FILE",
        help="conformers that define the stereocentres, one of each molecule type: .gro, .pdb",
    )
    add(
        "--tacticity",
        type=tacticity,
        metavar="|".join([*TACTICITIES, "FILE"]),
        help="chirality of stereocentres that neither -r nor the beads decide; FILE as for -r",
    )


def add_matching(command: ArgumentParser) -> None:
    """Add what is said of how beads and atoms go together."""
    add = group(command, "matching").add_argument
    add(
        "--alias",
        type=alias,
        nargs="+",
        action="extend",
        default=[],
        dest="aliases",
        metavar="CG=AA",
        help="which atomistic molecule type CG stands for, where names do not say so: NA+=NA; or several "
        "molecules in one bead: 'W=4 SOL', 'NA+=NA 4 SOL'",
    )
    for option, words in (
        ("--only", "rebuild these molecule types and no others"),
        ("--leave-out", "do not rebuild these molecule types"),
    ):
        add(
            option,
            nargs="+",
            action="extend",
            default=[],
            metavar="TYPE",
            help=f"{words} (their names in the topology of beads or of atoms)",
        )
    add_reorder(command)
    add(
        "-n",
        "--index",
        type=Path,
        metavar="FILE",
        help="index file with the group of beads in -f, where these are fewer than in -s (the first ones)",
    )


def add_reorder(command: ArgumentParser) -> None:
    """Add whether another order is put right."""
    group(command, "matching").add_argument(
        "--reorder",
        action="store_true",
        help="put names and molecules into the order of the topology; without it another order is an error",
    )


def add_atoms(command: ArgumentParser) -> None:
    """Add the files that say what the atoms are and where."""
    add = group(command, "input").add_argument
    add("-s", "--structure", type=Path, metavar="FILE", help="atoms: .tpr, or .gro/.pdb with -p")
    add(
        "-f",
        "--trajectory",
        type=Path,
        metavar="FILE",
        help="atoms: .xtc, .trr, .gro, .pdb (the frame in -s)",
    )
    add("-p", "--topology", type=Path, metavar="FILE", help="atoms: .top (the molecules in -s)")
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
        help="mappings of molecules (VOTCA, deepBackmap, CGSmiles) or of residues (Backward, martinize2, "
        "vermouth, PyCGTOOL, CG2AT, MemBack), folders of them, or names of those that ship, as martini3 "
        "(what fits of these, or of the library of molecules)",
    )


def add_times(command: ArgumentParser) -> None:
    """Add the times of the frames that are taken."""
    add = group(command, "frames").add_argument
    add("-b", "--begin", type=picoseconds, metavar="PS", help="first time")
    add("-e", "--end", type=picoseconds, metavar="PS", help="last time")
    add("-dt", type=step, metavar="PS", help="only frames at multiples of this time")


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
        help="define a name, as -DNAME in an .mdp",
    )
    add(
        "-I",
        "--include",
        action="append",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="where #include looks, too",
    )


def add_conditions(command: ArgumentParser) -> None:
    """Add the ensemble, and how tightly mapped atoms are held to the beads."""
    add_ensemble(command)
    group(command, "ensemble").add_argument(
        "--spread",
        type=auto(positive("a length in nm")),
        metavar="NM",
        help="width of the bead restraints, which is the standard deviation of the mapped centres about the "
        f"beads; auto: {NARROW}, or wider by bead type where that would strain the atoms (auto)",
    )


def add_ensemble(command: ArgumentParser) -> None:
    """Add temperature and cut-offs."""
    add = group(command, "ensemble").add_argument
    add(
        "-t",
        "--temperature",
        type=positive("a temperature in K"),
        metavar="K",
        help="temperature (that of --mdp, else 300)",
    )
    add("--mdp", type=Path, metavar="FILE", help="run parameters: temperature, cut-offs, constraints, define")
    add(
        "--cutoff",
        type=positive("a length in nm"),
        metavar="NM",
        help="cut-off of Lennard-Jones and electrostatics (those of --mdp, else 1)",
    )


def add_method(command: ArgumentParser) -> None:
    """Add where the atoms come from, and what becomes of them."""
    group(command, "method").add_argument(
        "--refine",
        choices=REFINEMENTS,
        default=Settings.refine,
        help="exact: sample the force field's distribution; gibbs: sweeps of the network (%(default)s)",
    )
    group(command, "method").add_argument(
        "--start",
        choices=STARTS,
        help="how the atoms are placed first (growth in the force field for exact, else the network)",
    )


def add_model(command: ArgumentParser) -> None:
    """Add the trained model."""
    group(command, "network").add_argument(
        "--model", default=MODEL, help="name or path of a model (%(default)s)"
    )
    group(command, "network").add_argument(
        "--channels", type=Path, metavar="FILE", help="channel file (.toml) for the model"
    )


def add_relaxing(command: ArgumentParser) -> None:
    """Add how GROMACS is run."""
    add = group(command, "GROMACS").add_argument
    add("--em-mdp", type=Path, metavar="FILE", help="minimisation (200 steps of steepest descent)")
    add("--nvt-mdp", type=Path, metavar="FILE", help="dynamics (1 ps of 1 fs steps)")
    add(
        "--no-restraints",
        action="store_false",
        dest="restrain",
        help="do not restrain the mapped centres in GROMACS",
    )
    add("--gmx", metavar="PATH", help="GROMACS (gmx, gmx_mpi or gmx_d, the first there is)")
    add(
        "-j",
        "--jobs",
        type=count(1),
        default=RelaxSettings.jobs,
        help="frames GROMACS works on at a time (%(default)s)",
    )
    add(
        "--timeout",
        type=positive("a time in s"),
        default=RelaxSettings.timeout,
        metavar="S",
        help="longest time of each command of GROMACS (%(default)g)",
    )
    add(
        "--maxwarn",
        type=count(0),
        default=RelaxSettings.maxwarn,
        help="warnings of gmx grompp that are accepted (%(default)s)",
    )


def add_tolerance(command: ArgumentParser) -> None:
    """Add what counts as converged."""
    group(command, "method").add_argument(
        "--tolerance",
        type=positive("an energy in kT per atom"),
        default=TOLERANCE,
        metavar="KT",
        help="largest difference in energy from an independent start that counts as converged, kT per atom "
        "(%(default)s)",
    )


def add_restart(command: ArgumentParser) -> None:
    """Add whether an unfinished run is taken up."""
    group(command, "output").add_argument(
        "--restart",
        action="store_true",
        help="begin anew; without it the same command goes on with an interrupted run",
    )


def add_rules(command: ArgumentParser, *, of_beads: bool = False) -> None:
    """Add the thresholds of rules, and which of them may be broken; or what beads may be, too."""
    add = group(command, "rules").add_argument
    known = (*RULES, *RULE_GROUPS)
    add(
        "--limit",
        type=limit,
        nargs="+",
        action="extend",
        default=[],
        dest="thresholds",
        metavar="RULE=VALUE",
        help="thresholds of rules: "
        + ", ".join(f"{rule} ({getattr(Limits, rule):g})" for rule in ADJUSTABLE)
        + "; what they count: share/docs/end-of-run.md",
    )
    add(
        "--allow",
        nargs="+",
        action="extend",
        default=[],
        choices=(*known, INFEASIBLE) if of_beads else known,
        metavar="RULE",
        help=f"exit code 0 even if these rules are broken: {', '.join(known)}"
        + (f"; or, for {INFEASIBLE}, rebuild frames on whose beads no atoms can be put" if of_beads else ""),
    )


def add_process(command: ArgumentParser) -> None:
    """Add threads, and how much is said."""
    group(command, "process").add_argument("--threads", type=count(1), help="CPU threads (all cores)")
    add_quiet(command)


def add_cluster(command: ArgumentParser) -> None:
    """Add processes that frames are sent to."""
    group(command, "process").add_argument(
        "--dask",
        nargs="?",
        const=LOCAL,
        metavar="WHERE",
        help="send frames to processes: of this machine (--threads of them), or of a Dask cluster at "
        "tcp://HOST:PORT or in a scheduler file",
    )


def add_part(command: ArgumentParser) -> None:
    """Add which part of the frames is taken."""
    group(command, "frames").add_argument(
        "--part",
        type=part,
        metavar="K/N",
        help="take only the K-th of N blocks of frames, into FILE_partK; see dbm-gmx join",
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
    add("-q", "--quiet", action="store_true", help="print errors only")
    add_verbose(command)
    group(command, "process").add_argument(
        "--log", type=Path, metavar="FILE", help="keep all that is said (added to FILE)"
    )


def add_verbose(command: ArgumentParser) -> None:
    """Add whether more is said."""
    group(command, "process").add_argument("-v", "--verbose", action="store_true", help="say more")


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

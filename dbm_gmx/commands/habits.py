"""Options that users of GROMACS know and that are not here: what is to be done instead."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

TRJCONV = (
    "the atoms are written whole, in the box of the beads. Use it on the output: gmx trjconv {} -f aa.xtc ..."
)
THREADS = "the number of threads is --threads"

INSTEAD = {
    "-pbc": TRJCONV.format("-pbc mol"),
    "-ur": TRJCONV.format("-ur compact -pbc mol"),
    "-center": TRJCONV.format("-center"),
    "-boxcenter": TRJCONV.format("-boxcenter"),
    "-fit": TRJCONV.format("-fit rot+trans"),
    "-trans": TRJCONV.format("-trans"),
    "-box": TRJCONV.format("-box"),
    "-sep": "frames go to one file; a file for each is made of it: gmx trjconv -sep -f aa.xtc ...",
    "-split": "take a part of the frames with --part 1/4, or with -b and -e",
    "-skip": "take every n-th frame by its time: -dt 100",
    "-dump": "take one frame by its time: -b 500 -e 500",
    "-tu": "times are in ps",
    "-timestep": "times are those of the beads",
    "-ndec": "an .xtc has 0.001 nm; write .trr for more",
    "-vel": "there are no velocities: grompp makes them (gen-vel = yes)",
    "-novel": "there are no velocities",
    "-nt": THREADS,
    "-ntmpi": THREADS,
    "-ntomp": THREADS,
    "-nice": "put nice in front: nice dbm-gmx ...",
    "-deffnm": "each file is named: -s, -f, -o",
    "-maxwarn": "the option is --maxwarn",
    "-cpi": "the same command goes on with a run that was ended",
    "-maxh": "end the run as you like: the same command goes on with it",
    "-backup": "an older output is always backed up",
    "-nobackup": "an older output is always backed up",
    "-quiet": "the option is -q",
    "-version": "the option is --version",
    "-select": "take molecules with --only or --leave-out, or with an index group (-n)",
}
"""By option; some would be taken for others, as -pbc mol for -p bc."""


def answer(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """Say what is to be done instead of an option that is not there; nothing where all are.

    A single dash and letters are one option, as in GROMACS: ``-pbc`` is never ``-p bc``.
    """
    known = parser._option_string_actions
    inside = {w for a in parser._actions if isinstance(a, argparse._SubParsersAction) for w in a.choices}
    flags = {name[1] for name, action in known.items() if len(name) == 2 and action.nargs == 0}
    for word in words:
        if word == "--" or word in inside:
            return ""
        if word in known or not re.fullmatch(r"-[A-Za-z][A-Za-z_]+", word) or word[1] in "DI":
            continue
        if word in INSTEAD:
            return f"there is no option {word}: {INSTEAD[word]}"
        if not set(word[1:]) <= flags:
            meant = next((name for name in known if name.startswith(f"-{word}")), None)
            return f"there is no option {word}" + (
                f": the option is {meant}" if meant else f"; see {parser.prog} --help"
            )
    return ""


NAMED = "files are named in the training file (trajectory, topology, mapping, mdp of [[system]])"

ELSEWHERE = {
    ("evaluate", "-s"): "the topology of the atoms is -p, beads are --cg",
    ("evaluate", "-c"): "frames of atoms are -f, also a .gro",
    ("view", "-f"): "the atoms stand alone: dbm-gmx view aa.gro",
    ("view", "-s"): "the atoms stand alone: dbm-gmx view aa.gro",
    ("view", "-m"): "beads are given as they are, --cg: no mapping is needed",
    ("train", "-f"): NAMED,
    ("train", "-s"): NAMED,
    ("train", "-p"): NAMED,
    ("train", "-m"): NAMED,
    ("train", "--mdp"): NAMED,
    ("train", "--model"): "the model to begin with is --from",
    ("join", "-f"): "the parts stand alone: dbm-gmx join aa_part*.xtc -o aa.xtc",
    ("join", "-s"): "the parts stand alone: dbm-gmx join aa_part*.xtc -o aa.xtc",
    ("models", "--model"): "models stand alone: dbm-gmx models out/model.pt",
    ("check", "-o"): "check writes nothing",
    ("check", "-q"): "check does nothing but print",
    ("relax", "-c"): "atoms are -s or -f, beads are --beads",
}
"""By command and an option that other commands have."""


def elsewhere(command: str, option: str) -> str:
    """Say what there is in place of an option that a command has not."""
    name = command.rpartition(" ")[2]
    said = ELSEWHERE.get((name, option))
    if name == "view" and option.endswith((".gro", ".pdb")):
        said = f"beads are given with --cg {option}"
    return f": {said}" if said else f"; see {command} --help"

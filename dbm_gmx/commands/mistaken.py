"""Files in the place of others: what was meant, and the command that would be right."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

from dbm_gmx.errors import InputError

OF_BEADS = {"backmap", "check", "plan", "benchmark"}
"""Commands whose ``-s`` and ``-f`` are those of beads."""

TRAJECTORIES, TOPOLOGIES, MAPPINGS = {".xtc", ".trr"}, {".top", ".itp"}, {".xml", ".map", ".mapping", ".cgs"}

STRUCTURES = {".tpr", ".gro", ".pdb"}


def check_inputs(options: Namespace) -> None:
    """Refuse a file that has the name of another kind than its option takes, before anything is read.

    Raises
    ------
    InputError
        With the option that it is for.
    """
    beads = options.command in OF_BEADS
    for option, path in _given(options):
        said = _mistaken(option, path, options, beads=beads)
        if said:
            raise InputError(said, path=path)
    if options.command in OF_COMMANDS:
        for path, said in OF_COMMANDS[options.command](options):
            raise InputError(said, path=path)
    structure, top = getattr(options, "structure", None), getattr(options, "cg_topology", None)
    if beads and structure is not None and structure.suffix in (".gro", ".pdb") and top is None:
        raise InputError(_without_topology(structure), path=structure)
    if top is not None and top == getattr(options, "topology", None):
        raise InputError("is given for the beads (-cp) and for the atoms (-p): these are two files", path=top)


def _given(options: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield options that name a file, and the file."""
    names = {"structure": "-s", "trajectory": "-f", "topology": "-p", "cg_topology": "-cp", "mdp": "--mdp"}
    for key, option in names.items():
        if isinstance(path := getattr(options, key, None), Path):
            yield option, path
    for path in getattr(options, "mappings", ()):
        yield "-m", path


def _mistaken(option: str, path: Path, options: Namespace, *, beads: bool) -> str:
    """Say which option a file is for; nothing where it may be right."""
    suffix, what = path.suffix, "beads" if beads else "atoms"
    right = {
        "-s": STRUCTURES,
        "-f": TRAJECTORIES | {".gro", ".pdb"},
        "-p": TOPOLOGIES,
        "-cp": TOPOLOGIES,
        "--mdp": {".mdp"},
        "-m": MAPPINGS,
    }
    if suffix in right[option]:
        return ""
    if suffix in TRAJECTORIES and option == "-s":
        beside = path.with_suffix(".tpr")
        guess = beside if beside.is_file() else Path("cg.tpr" if beads else "aa.tpr")
        return f"is a trajectory, and -s takes a structure: -s {guess} -f {path}"
    if suffix in TRAJECTORIES:
        return f"is a trajectory: -f {path}"
    if suffix in TOPOLOGIES and option != "-m":
        where = "-cp" if beads and option == "-s" else "-p"
        of = "atoms" if option == "--mdp" else what
        return f"is a topology: {where} {path}. {option} takes {_kinds(right[option])} of the {of}"
    if suffix in TOPOLOGIES:
        return f"is a topology: -p {path}. -m takes a mapping"
    takes = "a mapping" if option == "-m" else _kinds(right[option])
    if suffix in STRUCTURES - {".pdb"}:
        where = f": -s {path}" if hasattr(options, "structure") else ""
        return f"is a structure{where}. {option} takes {takes}"
    if suffix == ".mdp":
        where = f": --mdp {path}" if hasattr(options, "mdp") else ""
        return f"holds run parameters{where}. {option} takes {takes}"
    if suffix == ".xml":
        where = f": -m {path}" if hasattr(options, "mappings") else ""
        return f"is a mapping{where}. {option} takes {_kinds(right[option])}"
    return ""


def _viewed(options: Namespace) -> Iterator[tuple[Path, str]]:
    """Say what is wrong with the files of ``view``."""
    for path in (options.atoms, options.beads):
        if path is None:
            continue
        needed = "a structure, .gro or .pdb, is needed"
        if path.suffix in TRAJECTORIES:
            yield path, f"is a trajectory, {needed}: gmx trjconv -f {path} -s TPR -dump 0 -o frame.gro"
        if path.suffix == ".tpr":
            yield path, f"is a run input file, {needed}: gmx editconf -f {path} -o frame.gro"
        if path.suffix in TOPOLOGIES:
            yield path, f"is a topology: -p {path}. A structure, .gro or .pdb, stands first"
    if options.beads is not None and options.beads == options.atoms:
        yield options.beads, "is given for the atoms and for the beads (--cg): these are two files"
    if options.output.suffix not in PAGES:
        yield options.output, f"a page is written, with a name in {' or '.join(PAGES)}"


PAGES = (".html", ".htm")


def _trained(options: Namespace) -> Iterator[tuple[Path, str]]:
    """Say what is wrong with the training file."""
    path = options.settings
    keys = {
        **dict.fromkeys(TOPOLOGIES, "topology"),
        **dict.fromkeys((*TRAJECTORIES, ".gro", ".pdb"), "trajectory"),
        **dict.fromkeys(MAPPINGS, "mapping"),
        ".mdp": "mdp",
    }
    if path.suffix in keys:
        yield (
            path,
            f'is named in a training file (.toml), which is given here: {keys[path.suffix]} = "{path}"',
        )
    if path.suffix == ".pt":
        yield (
            path,
            f"is a model or a checkpoint. A training file (.toml) is given here, a model with --from {path}",
        )
    if path.suffix == ".npz":
        yield path, "is a memory. A training file (.toml) is given here; its section [memory] makes one"


def _joined(options: Namespace) -> Iterator[tuple[Path, str]]:
    """Say what is wrong with parts."""
    for path in options.parts:
        if path.suffix == ".json":
            yield path, f"says how a part was made; give the part, {path.with_suffix('')}"


OF_COMMANDS: dict[str, Callable[[Namespace], Iterator[tuple[Path, str]]]] = {
    "view": _viewed,
    "train": _trained,
    "join": _joined,
}
"""Files that stand alone, by command."""


def _kinds(suffixes: set[str]) -> str:
    return " or ".join(sorted(suffixes))


def _without_topology(structure: Path) -> str:
    """Say what is missing, with the files that lie beside."""
    said, folder = "a structure does not say which beads are bonded", structure.parent
    if (run := structure.with_suffix(".tpr")).is_file():
        return f"{said}. Its .tpr does: -s {run}"
    beside = (structure.with_suffix(".top"), folder / "cg.top", folder / "cg.itp")
    top = next((path for path in beside if path.is_file()), Path("cg.top"))
    return f"{said}. Give its topology as well: -s {structure} -cp {top}"

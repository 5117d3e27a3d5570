"""What is written must not be what is read, and must be a file."""

from __future__ import annotations

import errno
import stat
from argparse import Namespace
from collections.abc import Collection, Iterator
from pathlib import Path

from dbm_gmx.errors import InputError
from dbm_gmx.files.output import check_not_read
from dbm_gmx.logs import check_ours

OUTPUTS = {
    "output": "-o",
    "first": "-c",
    "bead_topology": "-op",
    "conformer": "-or",
    "relax": "--relax",
    "workdir": "--workdir",
    "log": "--log",
    "memory_file": "--memory",
}
"""Options that name what is written."""

FOLDERS = {"train", "evaluate", "map init"}
"""Commands whose ``-o`` is a folder."""


def check_log(options: Namespace) -> None:
    """Refuse a log that is an input or a file of somebody else, before anything is added to it.

    Raises
    ------
    InputError
        As :func:`check_outputs`; or it is no log of ours.
    """
    path = getattr(options, "log", None)
    if path is not None:
        _check(options, ["--log"])
        check_ours(path)


def check_outputs(options: Namespace) -> None:
    """Refuse an output that is an input, however it is spelt or linked.

    Raises
    ------
    InputError
        Naming both; or an output that is there and neither file nor folder.
    """
    _check(options, OUTPUTS.values())


def _check(options: Namespace, names: Collection[str]) -> None:
    inputs = [path for key, value in vars(options).items() for path in _paths(key, value)]
    for name, path in _outputs(options):
        if name not in names:
            continue
        folder = name == "--workdir" or (name == "-o" and options.command in FOLDERS)
        _check_kind(name, path, folder=folder)
        if not folder and not path.parent.exists():
            raise InputError(f"there is no folder {path.parent} ({name}): mkdir -p {path.parent}", path=path)
        check_not_read(path, inputs, name)


def _outputs(options: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield what is written: the option's name and the path."""
    for key, name in OUTPUTS.items():
        path = getattr(options, key, None)
        if not isinstance(path, Path) or (key == "relax" and not path.name):  # --relax alone has no name yet
            continue
        if not (key == "memory_file" and path.exists()):
            yield name, path
    output, samples = getattr(options, "output", None), getattr(options, "samples", 1)
    if output is not None and samples > 1:
        yield from (("-o", output.with_stem(f"{output.stem}_{k}")) for k in range(1, samples + 1))


def _paths(key: str, value: object) -> Iterator[Path]:
    """Yield what an option says is read."""
    if key in OUTPUTS and not (key == "memory_file" and isinstance(value, Path) and value.exists()):
        return
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Path):
            yield one


def _check_kind(name: str, path: Path, *, folder: bool) -> None:
    """Refuse what is there and cannot be replaced."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if path.is_symlink() and getattr(error, "errno", None) == errno.ELOOP:
            raise InputError(f"{name} is a link to itself; give another name", path=path) from error
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(
            f"{name} is a pipe or a device; a {'folder' if folder else 'file'} is needed", path=path
        )
    if stat.S_ISDIR(mode) != folder:
        found, wanted = ("a folder", "file") if stat.S_ISDIR(mode) else ("a file", "folder")
        raise InputError(f"is {found}, the name of a {wanted} is needed", path=path)

"""Text files, and what a file is that is none: a pipe, a folder, a compressed or binary file."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from dbm_gmx.errors import InputError

_SIGNATURES = (
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"PK\x03\x04", "a zip archive (or a .npz or .pt)"),
    (b"\x7fELF", "a program (ELF)"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"CDF", "a NetCDF file"),
    (b"\x93NUMPY", "a .npy file"),
    (b"\x80\x02", "a pickle"),
    (b"\0\0\x07\xcb", "an .xtc trajectory"),
    (b"\0\0\x07\xe7", "an .xtc trajectory"),
    (b"\0\0\x07\xc9", "a .trr trajectory"),
    (b"\xff\xfe", "a text in UTF-16, not in UTF-8"),
    (b"\xfe\xff", "a text in UTF-16, not in UTF-8"),
)
"""What files of a kind begin with."""

HIGHEST = 1e30
"""No parameter of a force field and no weight comes near, and single precision holds it."""

_SAMPLE = 4096
"""Bytes that are looked at to tell text from something else."""

_CONTROL = re.compile(rb"[\0-\x08\x0e-\x19\x1b-\x1f\x7f]")
"""What is in no text; form feeds and the end of a file of DOS are."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_file(path: str | Path) -> None:
    """Refuse what is no file that can be read from front to back, and more than once.

    Opening a pipe would wait for somebody to write to it.

    Raises
    ------
    InputError
        No such file, a link to nothing, a folder, pipe or device, or one that may not be read.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        found = next((kind for test, kind in _KINDS if test(mode)), "")
        if found:
            raise InputError(f"is {found}, not a file", path=path)
        path.open("rb").close()
    except FileNotFoundError as error:
        message = "is a link to a file that is not there" if path.is_symlink() else "no such file"
        raise InputError(message, path=path) from error
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be read: {reason}", path=path) from error


def read_text(path: str | Path) -> str:
    """Read a text; bytes that are no UTF-8 are replaced, as comments are often in other encodings.

    Raises
    ------
    InputError
        As :func:`check_file`; or it is no text.
    """
    check_text(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    if match := _CONTROL.search(content):
        line = content.count(b"\n", 0, match.start()) + 1
        raise InputError(
            f"is no text: there is a control character (byte {match[0][0]})", path=path, line=line
        )
    return content.decode("utf-8", "replace").replace("\r\n", "\n").removeprefix("\ufeff")


def as_number(word: str) -> float:
    """Read a number as programs in C do: Python alone takes ``1_0``, and digits of other scripts.

    Raises
    ------
    ValueError
        It is none.
    """
    return float(_plain(word))


def as_whole(word: str) -> int:
    """Read a whole number; see :func:`as_number`.

    Raises
    ------
    ValueError
        It is none.
    """
    return int(_plain(word))


def _plain(word: str) -> str:
    """The word, if nothing in it is a number to Python alone."""
    if "_" in word or not word.isascii():
        raise ValueError(f"could not convert string to a number: {word!r}")
    return word


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """Read a TOML file; ``what`` it should be is for the message.

    Raises
    ------
    InputError
        As :func:`read_text`; or it is no TOML.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"not a {what}: {error}", path=path) from error


def check_text(path: str | Path) -> None:
    """Refuse what :func:`check_file` does, and what does not begin as a text.

    Raises
    ------
    InputError
        With what it is, where that is known; its bytes are not in the message.
    """
    check_file(path)
    found = what_it_is(path)
    if found:
        raise InputError(f"is {found}; a text file is needed", path=path)


def what_it_is(path: str | Path) -> str:
    """Say what a file is that is no text, by its first bytes; ``""`` for a text."""
    with Path(path).open("rb") as stream:
        start = stream.read(_SAMPLE)
    named = next((name for signature, name in _SIGNATURES if start.startswith(signature)), "")
    if start[8:15] == b"VERSION":
        named = "a .tpr"
    return named or ("a binary file" if b"\0" in start else "")

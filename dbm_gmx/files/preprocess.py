"""The lines of a topology that count: includes, macros and conditions resolved, origins kept."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbm_gmx.errors import InputError
from dbm_gmx.files.text import HIGHEST, as_number, as_whole, check_file, read_text

_COMMAND = re.compile(r"#\s*(\w*)\s*(.*)")
_INCLUDE = re.compile(r'"([^"]+)"|<([^>]+)>')
_WORD = re.compile(r"\w+")
_DEEPEST = 50  # rounds of substitution after which a macro is taken to contain itself
_NESTED = 50  # files that include one another
_LONGEST = 100_000  # characters of a line after substitution
_LARGEST = 2**31 - 1  # whole numbers of GROMACS have 32 bits
_FILES = 2000  # that are included, all in all: files that include others twice double with each level


@dataclass(frozen=True, slots=True)
class Line:
    """One line of input without its comment, and where it stands (the first of continued lines)."""

    path: Path
    number: int
    text: str

    def error(self, message: str) -> InputError:
        """Return an error that names this line."""
        return InputError(message, path=self.path, line=self.number)

    def fields(self, least: int, expected: str) -> list[str]:
        """Return the words of the line, at least so many."""
        fields = self.text.split()
        if len(fields) < least:
            raise self.error(f"{self.text!r}: expected {expected}")
        return fields

    def integers(self, texts: Iterable[str]) -> tuple[int, ...]:
        """Return some of its words as whole numbers."""
        texts = tuple(texts)
        try:
            numbers = tuple(map(as_whole, texts))
        except ValueError:
            found = " ".join(texts)
            raise self.error(f"expected whole numbers, found {found!r} in {self.text!r}") from None
        if any(abs(number) > _LARGEST for number in numbers):
            raise self.error(f"a number in {self.text!r} is larger than {_LARGEST}")
        return numbers

    def floats(self, texts: Iterable[str]) -> tuple[float, ...]:
        """Return some of its words as numbers, all finite."""
        return tuple(map(self._float, texts))

    def _float(self, text: str) -> float:
        try:
            value = as_number(text)
        except ValueError:
            hint = " (a macro without its #define?)" if text[:1].isalpha() or text[:1] == "_" else ""
            raise self.error(f"{text!r} is no number{hint}, in {self.text!r}") from None
        if not abs(value) <= HIGHEST:
            raise self.error(f"{text!r} in {self.text!r} is no finite number up to {HIGHEST:g}")
        return value


@dataclass(slots=True)
class _Branch:
    """An open ``#ifdef``: where it began, and whether its lines count now."""

    start: Line
    active: bool
    outer: bool
    seen_else: bool = False


@dataclass(slots=True)
class _Reading:
    """What all files of a topology share: macros, which change, folders, and how many files were included."""

    macros: dict[str, str]
    folders: tuple[Path, ...]
    files: int = 0


def active_lines(
    path: str | Path, defines: Sequence[str] = (), *, include: Sequence[str | Path] = ()
) -> Iterator[Line]:
    """Yield the lines GROMACS would see, after its C-like preprocessing.

    Parameters
    ----------
    path
        A ``.top`` or ``.itp``.
    defines
        ``NAME`` or ``NAME=value``, as ``-DNAME`` in the mdp option ``define``.
    include
        Folders searched for ``#include`` after those of the including file and of ``path``, and
        before ``$GMXLIB`` and the force fields GROMACS comes with.

    Raises
    ------
    InputError
        Files not found, include cycles, unbalanced conditions, unknown commands.

    Notes
    -----
    GROMACS reference manual, "File formats: top".  Text is never cut inside a word: a macro
    replaces whole words (letters, digits, ``_``) only.
    """
    top = Path(path)
    macros = dict(_macro(text) for text in defines)
    return _lines_of(top, _Reading(macros, include_folders(top, include)), parents=())


def include_folders(top: Path, include: Sequence[str | Path] = ()) -> tuple[Path, ...]:
    """Folders searched for an ``#include``, after that of the including file."""
    return (top.parent, *map(Path, include), *_library_folders())


def _library_folders() -> list[Path]:
    """Folders of force fields, in the order GROMACS looks at them."""
    folders = [Path(f) for f in os.environ.get("GMXLIB", "").split(os.pathsep) if f]
    if data := os.environ.get("GMXDATA"):
        folders.append(Path(data) / "top")
    if gmx := shutil.which("gmx"):
        folders.append(Path(gmx).resolve().parent.parent / "share/gromacs/top")
    folders.append(Path("/usr/share/gromacs/top"))
    return list(dict.fromkeys(folders))


def _macro(text: str) -> tuple[str, str]:
    name, _, value = text.removeprefix("-D").partition("=")
    return name.strip(), value.strip()


def _joined_lines(path: Path) -> Iterator[Line]:
    """Yield lines that hold something, continued ones joined, comments removed."""
    parts: list[str] = []
    first = 1
    for number, raw in enumerate(read_text(path).split("\n"), 1):
        if not parts:
            first = number
        text = raw.rstrip()
        if text.endswith("\\"):
            parts.append(text[:-1])
            continue
        text = " ".join((*parts, text)).partition(";")[0].strip()
        parts.clear()
        if text:
            yield Line(path, first, text)
    if parts and (text := " ".join(parts).partition(";")[0].strip()):
        yield Line(path, first, text)


def _lines_of(path: Path, reading: _Reading, *, parents: tuple[Path, ...]) -> Iterator[Line]:
    """Yield the active lines of one file and what it includes."""
    check_file(path)
    branches: list[_Branch] = []
    macros = reading.macros
    parents = (*parents, path.resolve())
    for line in _joined_lines(path):
        active = not branches or branches[-1].active
        if not line.text.startswith("#"):
            if active:
                yield _substituted(line, macros)
            continue
        command, rest = _command(line)
        if _condition(command, rest, line=line, branches=branches, macros=macros) or not active:
            continue
        if command == "include":
            found = _found(rest, line, folders=reading.folders, parents=parents)
            reading.files += 1
            if reading.files > _FILES:
                raise line.error(f"more than {_FILES} files are included")
            yield from _lines_of(found, reading, parents=parents)
        else:
            _define(command, rest, line=line, macros=macros)
    if branches:
        raise branches[-1].start.error(f"{branches[-1].start.text!r} without an #endif in this file")


def _command(line: Line) -> tuple[str, str]:
    match = _COMMAND.match(line.text)
    return (match[1], match[2].strip()) if match else ("", "")


def _substituted(line: Line, macros: dict[str, str]) -> Line:
    """Replace macros that have a value, and those their values contain."""
    text = line.text
    for _ in range(_DEEPEST):
        found = [value for word in _WORD.findall(text) if (value := macros.get(word))]
        if len(text) + sum(map(len, found)) > _LONGEST and found:
            raise line.error(f"the macros in {line.text!r} make more than {_LONGEST} characters of it")
        new = _WORD.sub(lambda word: macros.get(word[0]) or word[0], text) if found else text
        if new == text:
            return line if text == line.text else Line(line.path, line.number, text)
        text = new
    raise line.error(f"a #define used in {line.text!r} contains itself")


def _condition(
    command: str, rest: str, *, line: Line, branches: list[_Branch], macros: dict[str, str]
) -> bool:
    """Handle ``#ifdef`` and its kin; return whether it was one of them."""
    if command in ("ifdef", "ifndef"):
        if not rest:
            raise line.error(f"#{command} needs a name")
        outer = not branches or branches[-1].active
        active = outer and (rest.split()[0] in macros) == (command == "ifdef")
        branches.append(_Branch(line, active, outer))
    elif command in ("else", "endif"):
        if not branches:
            raise line.error(f"#{command} without #ifdef or #ifndef")
        if command == "endif":
            branches.pop()
        elif branches[-1].seen_else:
            raise line.error(f"second #else of the #ifdef in line {branches[-1].start.number}")
        else:
            branch = branches[-1]
            branch.seen_else, branch.active = True, branch.outer and not branch.active
    elif command in ("if", "elif"):
        raise line.error(f"#{command} is not known to GROMACS; use #ifdef, #ifndef, #else, #endif")
    else:
        return False
    return True


def _define(command: str, rest: str, *, line: Line, macros: dict[str, str]) -> None:
    """Handle ``#define`` and ``#undef``."""
    if command not in ("define", "undef"):
        known = "#include, #define, #undef, #ifdef, #ifndef, #else, #endif"
        raise line.error(f"unknown preprocessor command {line.text!r}; known: {known}")
    if not rest:
        raise line.error(f"#{command} needs a name")
    name, *value = rest.split(maxsplit=1)
    if command == "define":
        macros[name] = value[0] if value else ""
    else:
        macros.pop(name, None)


def _found(rest: str, line: Line, *, folders: tuple[Path, ...], parents: tuple[Path, ...]) -> Path:
    """Return the file an ``#include`` means."""
    match = _INCLUDE.match(rest)
    if not match:
        raise line.error(f'{line.text!r}: expected #include "file" or #include <file>')
    name = match[1] or match[2]
    searched = tuple(dict.fromkeys((line.path.parent, *folders)))
    for folder in searched:
        file = folder / name
        if file.is_file():
            if file.resolve() in parents:
                raise line.error(f"{name!r} includes itself, through {' > '.join(p.name for p in parents)}")
            if len(parents) > _NESTED:
                raise line.error(f"{name!r}: more than {_NESTED} files include one another")
            return file
    places = ", ".join(str(folder) for folder in searched)
    raise line.error(f"included file {name!r} not found; looked in {places} (set GMXLIB to add a folder)")

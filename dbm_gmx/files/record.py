"""The record of a run beside its output, with which the same command goes on where it was ended.

``aa.part.jsonl`` for ``aa.xtc``: a line that says what the run is made of, then a line for each frame of each
sample.  Frames are believed only where the bytes in the file are those that the record has seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b, file_digest
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dbm_gmx import __version__
from dbm_gmx.errors import InputError
from dbm_gmx.files.locks import locked
from dbm_gmx.files.output import Extent, PartFile, atomic_write, backup, open_part, part_name

FORMAT = "dbm_gmx run 1"

LARGE = 2**30
"""Bytes from which a file is not read once more where its size and time are those the record has."""


@dataclass(frozen=True)
class FileFacts:
    """What tells whether a file has changed.

    Attributes
    ----------
    path
        Absolute.
    size, mtime_ns
        Bytes, and when it was changed.
    sha256
        Of all of it.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str


def facts_of(path: Path, known: Sequence[FileFacts] = ()) -> FileFacts:
    """Read a file for what tells whether it has changed.

    Parameters
    ----------
    known
        From before: a :data:`LARGE` file of the same size and time is taken to be the same.
    """
    try:
        status, name = path.stat(), str(path.absolute())
        found = next((f for f in known if f.path == name), None)
        seen = None if found is None else (found.size, found.mtime_ns)
        if found is not None and status.st_size > LARGE and seen == (status.st_size, status.st_mtime_ns):
            return found
        with path.open("rb") as stream:
            digest = file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    return FileFacts(name, status.st_size, status.st_mtime_ns, digest)


@dataclass(frozen=True)
class Job:
    """What a run is made of.

    Attributes
    ----------
    command
        Of the command line.
    inputs
        All files that it reads.
    settings
        Everything else that its result depends on, in plain values.
    makes
        Files that it reads where they are there, and makes where they are not.
    samples
        Lines of the record for each frame.
    free
        Settings that may be others when the run goes on: frames that are there do not depend on them.
    """

    command: str
    inputs: Sequence[Path]
    settings: Mapping[str, Any]
    makes: Sequence[Path] = ()
    samples: int = 1
    free: Collection[str] = ()


class Line(NamedTuple):
    """What is recorded of a frame of a sample.

    Attributes
    ----------
    frame, sample, time
        Number of the frame in its file, number of the sample, ps.
    seconds
        Wall time of all runs until then.
    said
        What else is known of it, in plain values.
    ends, digests
        Of each file: its bytes until then, and a digest of those that this frame has added.
    decided
        Digest of what was decided before the first frame.
    """

    frame: int
    sample: int
    time: float
    seconds: float
    said: Any = None
    ends: Sequence[int] = ()
    digests: Sequence[str] = ()
    decided: str = ""


@dataclass(eq=False)
class Record:
    """The record of a run, and the files in the making that it is of.

    Attributes
    ----------
    path
        Of the record.
    job
        What the run is made of.
    parts
        The files.
    kept
        Whole frames of an earlier run that can be taken up.
    lines
        The record itself, to which lines are added.
    made
        Files that the run makes: they were not there when it began.
    inputs
        What is known of the files that it reads.
    stays
        Whether it stays when the files are complete: more is to be made of them.
    """

    path: Path
    job: Job
    parts: Sequence[PartFile]
    kept: int
    lines: PartFile
    made: frozenset[Path] = frozenset()
    inputs: Sequence[FileFacts] = ()
    stays: bool = False

    def take_up(self, frames: int, use: Callable[[Line], None]) -> None:
        """Go on after so many whole frames, and take off all that comes after them.

        Parameters
        ----------
        use
            Gets what is recorded of these frames.
        """
        counts = [Extent() for _ in self.parts]
        with self.path.open("rb") as stream:
            end = len(stream.readline())
            for text in islice(stream, frames * self.job.samples):
                line, end = _line(text), end + len(text)
                counts = _with(counts, line)
                use(line)
        try:
            for part, kept in zip(self.parts, counts, strict=True):
                part.keep(kept)
            self.lines.keep(Extent(frames, end))
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path=self.path) from error

    def add(self, line: Line) -> None:
        """Note that a frame of a sample is written; what is in the files is filled in.

        Raises
        ------
        InputError
            This cannot be written.
        """
        ends, digests = [part.size for part in self.parts], [part.digest() for part in self.parts]
        self.lines.append(_text(line._replace(ends=ends, digests=digests)._asdict()))


def forget_run(output: Path) -> None:
    """Remove the record of a run: nothing more is to be made of it."""
    record_name(output).unlink(missing_ok=True)


def read_lines(output: Path) -> list[Line]:
    """What is recorded of the frames of a run that is complete, and whose record stays."""
    with record_name(output).open("rb") as stream:
        stream.readline()
        return [_line(text) for text in stream]


def record_name(output: Path) -> Path:
    """Name of the record of a run: ``aa.part.jsonl`` for ``aa.xtc``."""
    return part_name(output).with_suffix(".jsonl")


@contextmanager
def open_record(output: Path, files: Sequence[Path], job: Job, *, restart: bool = False) -> Iterator[Record]:
    """Begin a run, or go on with one: its record and its files in the making.

    All is locked until the block ends.  Then files get their names and the record is removed; if it ends in
    an error, all stays as it is.

    Parameters
    ----------
    output
        Which the record is named after.
    files
        That are written.
    job
        What the run is made of.
    restart
        Begin anew; what an earlier run has left is backed up.

    Raises
    ------
    InputError
        The earlier run was made of something else; another run writes; nothing can be written.
    """
    path = record_name(output)
    making = {part_name(one).resolve() for one in files}
    if taken := [one for one in job.inputs if one.resolve() in making]:
        raise InputError("is the name of the output in the making: give it another name", path=taken[0])
    with ExitStack() as stack:
        for one in dict.fromkeys([output, *files, path]):  # that of aa.trr has the same record
            stack.enter_context(locked(one))
        if restart:
            for name in [path, *map(part_name, files)]:
                backup(name)
        before = _read_head(path)
        head = make_head(job, files, before)
        if before is None:
            with atomic_write(path) as new:
                new.write_bytes(_text(head))
        else:
            refuse_other(path, before, head, job.free)
        with _opened(path, files, job, resumed=before is not None) as record:
            record.made = frozenset(map(Path, head["made"]))
            record.inputs = _known(head)
            yield record
            for part in record.parts:
                part.check()
        if not record.stays:
            path.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, files: Sequence[Path], job: Job, *, resumed: bool) -> Iterator[Record]:
    """Open a record and its files in the making; where no frame is in them in the end, nothing stays."""
    parts: list[PartFile] = []
    done = False
    try:
        with ExitStack() as stack:
            lines = stack.enter_context(_opened_record(path))
            counts, kept = _recover(path, files, job.samples) if resumed else ([Extent()] * len(files), 0)
            for k, one in enumerate(files):
                spoken = True if k < job.samples else None
                parts.append(stack.enter_context(open_part(one, ours=resumed, resumes=spoken)))
                parts[k].frames, parts[k].size = counts[k]
            yield Record(path, job, parts, kept, lines)
        done = True
    finally:
        if not done and not any(part.frames for part in parts):
            path.unlink(missing_ok=True)


@contextmanager
def _opened_record(path: Path) -> Iterator[PartFile]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from error
    try:
        yield PartFile(path, path, descriptor, None)
    finally:
        os.close(descriptor)


def make_head(job: Job, files: Sequence[Path], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """First line of a record; ``before`` is that of the run to go on with."""
    absent = [str(path) for path in job.makes if not path.exists()]
    made = absent if before is None else before.get("made", [])
    inputs = [*job.inputs, *(path for path in job.makes if str(path) not in made)]
    return {
        "format": FORMAT,
        "command": job.command,
        "version": __version__,
        "inputs": [asdict(facts_of(path, _known(before))) for path in dict.fromkeys(inputs)],
        "settings": json.loads(json.dumps(job.settings)),
        "files": [path.name for path in files],
        "made": made,
    }


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _read_head(path: Path) -> dict[str, Any] | None:
    """First line of the record of an earlier run, if there is one."""
    try:
        with path.open("rb") as stream:
            head = json.loads(stream.readline())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise InputError(f"is no record of a run ({FORMAT}); move it away, or --restart", path=path)
    return head


def _known(head: Mapping[str, Any] | None) -> list[FileFacts]:
    try:
        return [] if head is None else [FileFacts(**found) for found in head["inputs"]]
    except (KeyError, TypeError):
        return []


def refuse_other(
    path: Path, before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str] = ()
) -> None:
    """Refuse to go on with what was made of something else.

    Parameters
    ----------
    free
        See :class:`Job`.

    Raises
    ------
    InputError
        Naming what differs.
    """
    differ = list(_differences(before, now, free))
    if differ:
        raise InputError(
            f"an unfinished run of something else: {'; '.join(differ)}. Give what was given before, another "
            "output (-o), or --restart to begin anew",
            path=path,
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]) -> Iterator[str]:
    """Say in what two runs differ."""
    for key, words in (("command", "command"), ("version", "version of dbm-gmx"), ("files", "output files")):
        if before.get(key) != now[key]:
            yield f"{words} {_brief(before.get(key))}, now {_brief(now[key])}"
    yield from changed_files(_known(before), _known(now))
    old, new = before.get("settings", {}), now["settings"]
    for key in dict.fromkeys([*old, *new]):
        if key not in free and old.get(key) != new.get(key):
            yield f"{key} {_brief(old.get(key))}, now {_brief(new.get(key))}"


def changed_files(before: Sequence[FileFacts], now: Sequence[FileFacts]) -> Iterator[str]:
    """Say which files are not what they were; a file that was moved is still the same."""
    was, given = {f.path: f.sha256 for f in before}, {f.path: f.sha256 for f in now}
    for name, digest in given.items():
        if name in was and digest != was[name]:
            yield f"{name} has changed"
        elif digest not in was.values():
            yield f"{name} was not given"
    for name, digest in was.items():
        if name not in given and digest not in given.values():
            yield f"{name} is not given"


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_brief, value)) or "none"
    return "none" if value is None else str(value)


def _line(text: bytes) -> Line:
    """Read a line of the record; a :class:`ValueError` if it is none, as the last one may be after a kill."""
    try:
        return Line(**json.loads(text))
    except TypeError as error:
        raise ValueError("no line of a record") from error


def _with(counts: Sequence[Extent], line: Line) -> list[Extent]:
    """Count one line more of a record: each file that grows has a frame more."""
    pairs = zip(counts, line.ends, strict=True)
    return [Extent(before.frames + (size > before.size), size) for before, size in pairs]


def _recover(path: Path, files: Sequence[Path], samples: int) -> tuple[list[Extent], int]:
    """Find the frames of an earlier run whose bytes are all there.

    Files that have got their names already, before that run was ended, are files in the making again.

    Returns
    -------
    What is kept of each file, and the number of whole frames.
    """
    places = [part if (part := part_name(one)).exists() else one for one in files]
    with ExitStack() as stack:
        opened = [stack.enter_context(place.open("rb")) if place.is_file() else None for place in places]
        stream = stack.enter_context(path.open("rb"))
        counts, whole, frames = [Extent() for _ in files], [Extent() for _ in files], 0
        stream.readline()
        for number, text in enumerate(stream, 1):
            try:
                line = _line(text)
                starts = [before.size for before in counts]
                frame = zip(opened, starts, line.ends, line.digests, strict=True)
                if not all(_is_there(*one) for one in frame):
                    break
            except ValueError:
                break
            counts = _with(counts, line)
            if number % samples == 0:
                whole, frames = counts, number // samples
    for one, place, kept in zip(files, places, whole, strict=True):
        if place == one and kept.frames and one.stat().st_size == kept.size:
            one.rename(part_name(one))
    return whole, frames


def _is_there(file: BinaryIO | None, start: int, end: int, digest: str) -> bool:
    """Whether the bytes of a frame are those that were written."""
    if file is None:
        return end == start
    data = os.pread(file.fileno(), end - start, start)
    return len(data) == end - start and blake2b(data, digest_size=16).hexdigest() == digest

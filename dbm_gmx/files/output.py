"""Nothing is lost and nothing is overwritten: files in the making, backups, folders of our own."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from dbm_gmx.errors import InputError
from dbm_gmx.files.locks import is_same, lock_open
from dbm_gmx.interrupts import do_last

log = logging.getLogger(__name__)

_PIECE = 2**24
"""Bytes that are read at once."""

SYNC = 1.0
"""s between two times that what is written is sent to the disk itself."""

PATIENCE = 10.0
"""s that another process has to finish a small file of the same name."""


def check_not_read(output: Path, read: Iterable[Path], name: str = "the output") -> None:
    """Refuse an output that is an input, however it is spelt or linked.

    Raises
    ------
    InputError
        With the name of what is written.
    """
    if any(_same_file(output, other) for other in read):
        raise InputError(f"{name} is a file that is read as well; give another name", path=output)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there
        return os.path.realpath(one) == os.path.realpath(other)


def backup(path: str | Path) -> Path | None:
    """Move an existing file out of the way, as GROMACS does, and what says how it was made with it.

    Returns
    -------
    Where it went, ``#name.1#`` or the next free number; ``None`` if there was no such file.
    """
    path = Path(path)
    if not os.path.lexists(path):
        return None
    whole = [one for one in (path, description_of(path)) if os.path.lexists(one)]
    number = next(i for i in count(1) if not any(os.path.lexists(backup_name(one, i)) for one in whole))
    for one in whole:
        one.rename(backup_name(one, number))
    return backup_name(path, number)


def backup_name(path: Path, number: int) -> Path:
    """``#aa.xtc.1#`` for ``aa.xtc``."""
    return path.with_name(f"#{path.name}.{number}#")


def description_of(path: Path) -> Path:
    """Name of the file that says how an output was made: ``aa.xtc.json`` for ``aa.xtc``."""
    return path.with_name(f"{path.name}.json")


# --- small files: whole or not at all --------------------------------------------------------------


@contextmanager
def atomic_write(path: str | Path, *, over: bool = False) -> Iterator[Path]:
    """Write a file that gets its name only when it is complete, and on the disk.

    It is written as ``aa.part.top`` for ``aa.top``.  On an exception nothing is left; a process that is
    killed leaves it under that name.

    Parameters
    ----------
    path
        An older file of that name is backed up, as is one of the name of the file in the making.
    over
        They are replaced instead: they are ours.

    Yields
    ------
    The file that is to be written.

    Raises
    ------
    InputError
        It cannot be written: at once, before any work, where that is known.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError("is a folder, the name of a file is needed", path=path)
    part = part_name(path)
    try:
        with _alone(part, over=over):
            yield part
            sync(part)
            if not over:
                backup(path)
            part.replace(path)
        sync(path.parent)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from error


@contextmanager
def _alone(part: Path, *, over: bool) -> Iterator[None]:
    """Have an empty file to oneself; it is removed unless it gets another name meanwhile."""
    descriptor = _take(part, over=over)
    _making.add(part)
    try:
        yield
    finally:
        if is_same(part, descriptor):
            part.unlink()
        _making.discard(part)
        os.close(descriptor)


def _take(part: Path, *, over: bool) -> int:
    """Open an empty file that no other process writes; what an ended one has left is moved or emptied."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            if lock_open(descriptor) is False or not is_same(part, descriptor):
                time.sleep(0.01)  # another process writes the same: it is soon done
            elif os.fstat(descriptor).st_size and not over:
                backup(part)
            else:
                os.ftruncate(descriptor, 0)
                return os.dup(descriptor)
        finally:
            os.close(descriptor)
    raise InputError("another run writes it", path=part)


_making: set[Path] = set()


def sync(path: Path) -> None:
    """Send a file, or the names in a folder, to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- files that grow frame by frame ----------------------------------------------------------------


def part_name(path: Path) -> Path:
    """Name of a file in the making: ``aa.part.xtc`` for ``aa.xtc``."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


class Extent(NamedTuple):
    """What of a file in the making is there from an earlier run: frames, and bytes."""

    frames: int = 0
    size: int = 0


@dataclass(eq=False)
class PartFile:
    """A file in the making.

    Everything up to :attr:`size` has been written, read back and found the same.

    Attributes
    ----------
    path, part
        The final file, and the one that is written.
    descriptor
        Of the open file.
    frames, size
        In the file, and its bytes.
    fresh, whole
        Digests of what was written since somebody has last asked, and of all.
    synced
        s, when the file was last sent to the disk.
    resumes
        Whether the same command goes on with it; ``None`` for a file that is not spoken of.
    """

    path: Path
    part: Path
    descriptor: int
    resumes: bool | None = False
    frames: int = 0
    size: int = 0
    fresh: Any = field(default_factory=lambda: blake2b(digest_size=16))
    whole: Any = field(default_factory=blake2b)
    synced: float = field(default_factory=time.monotonic)

    def append(self, data: bytes) -> None:
        """Add a frame.

        Raises
        ------
        InputError
            It is not in the file: the disk is full, the file has gone.  It ends with the frame before then.
        """
        try:
            with _writing:
                self._append(data)
            if time.monotonic() - self.synced > SYNC:
                self.sync()
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror or error}", path=self.part) from error
        self.fresh.update(data)
        self.whole.update(data)

    def _append(self, data: bytes) -> None:
        if not self._is_there():
            raise OSError(0, "it has been moved or removed by somebody else")
        try:
            done, view = 0, memoryview(data)
            while done < len(data):
                done += os.pwrite(self.descriptor, view[done:], self.size + done)
            if os.pread(self.descriptor, len(data), self.size) != data:
                raise OSError(0, "what was written is not what is read back")
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(data)
        self.frames += 1

    def _is_there(self) -> bool:
        """Whether the open file is still the one of that name."""
        with suppress(OSError):
            return os.path.samestat(self.part.stat(), os.fstat(self.descriptor))
        return False

    def keep(self, kept: Extent) -> None:
        """Take off all but what is kept."""
        os.ftruncate(self.descriptor, kept.size)
        self.frames, self.size = kept
        self.whole = self._read()

    def _read(self) -> Any:
        """Digest of what is in the file now."""
        found = blake2b()
        for start in range(0, os.fstat(self.descriptor).st_size, _PIECE):
            found.update(os.pread(self.descriptor, _PIECE, start))
        return found

    def check(self) -> None:
        """Refuse to finish a file that is not as it was written: disks fail, and others may write.

        Raises
        ------
        InputError
            It is not, or cannot be read.
        """
        try:
            same = self._read().digest() == self.whole.digest()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=self.part) from error
        if not same:
            said = "it is not as it was written: somebody else has changed it, or the disk has"
            raise InputError(f"cannot be finished: {said}", path=self.part)

    def sync(self) -> None:
        """Send it to the disk."""
        os.fsync(self.descriptor)
        self.synced = time.monotonic()

    def digest(self) -> str:
        """Digest of what was written since the last time."""
        found: str = self.fresh.hexdigest()
        self.fresh = blake2b(digest_size=16)
        return found

    def text(self) -> list[str]:
        """What is there, if the file is left as it is."""
        if self.resumes is None or not self.frames:
            return []
        frames = f"{self.frames} frame{'s'[: self.frames != 1]}"
        if not self._is_there():
            return [f"{self.part}: has been moved or removed by somebody else, with {frames}"]
        said = f"{self.part}: {frames} kept"
        return [said + ("; the same command goes on" if self.resumes else "")]


_writing = Lock()
"""Held while a frame is half in its file."""

_open: list[PartFile] = []


@contextmanager
def open_part(path: str | Path, *, ours: bool = False, resumes: bool | None = False) -> Iterator[PartFile]:
    """Write a file under the name ``aa.part.xtc``; it becomes ``aa.xtc`` when it is complete.

    An older ``aa.xtc`` is backed up then.  If the block ends in an error, what is written stays under its
    name of a file in the making.

    Parameters
    ----------
    path
        The final file; the caller has locked it.
    ours
        An older ``aa.part.xtc`` is one of this command, which says what is kept of it; else it is backed up.
    resumes
        See :class:`PartFile`.

    Raises
    ------
    InputError
        Nothing can be written there; at once.  The file cannot be finished.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError("is a folder, the name of a file is needed", path=path)
    part = part_name(path)
    try:
        if not ours:
            backup(part)
        opened = PartFile(path, part, os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), resumes)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from error
    _open.append(opened)
    done = False
    try:
        yield opened
        done = True
    finally:
        try:
            _close(opened, done=done)
        finally:
            _open.remove(opened)  # not before it is spoken of: the process may be ended in between


def _close(opened: PartFile, *, done: bool) -> None:
    """Give a complete file its name; keep what there is of another."""
    try:
        if done:
            opened.sync()
            backup(opened.path)
            opened.part.rename(opened.path)
            opened.resumes = None
            sync(opened.path.parent)
        elif os.fstat(opened.descriptor).st_size == 0 and opened._is_there():
            opened.part.unlink()
        else:
            for line in opened.text():
                log.error("%s", line)
            opened.resumes = None
            with suppress(OSError):
                os.fsync(opened.descriptor)
    except OSError as error:
        raise InputError(f"cannot be finished: {error.strerror or error}", path=opened.part) from error
    finally:
        os.close(opened.descriptor)


def left_parts() -> list[str]:
    """Take off a frame that is half written, and say what is there: before the process is ended."""
    whole = _writing.acquire(timeout=0.3)
    said: list[str] = []
    for opened in _open:
        if not whole:
            with suppress(OSError):
                os.ftruncate(opened.descriptor, opened.size)
        said += opened.text()
    for part in list(_making):
        with suppress(OSError):
            part.unlink()
    return said


do_last(left_parts)


# --- folders ---------------------------------------------------------------------------------------

MARK = ".dbm-gmx"
"""File that says that a folder is ours."""

MARKED = "A work folder of dbm-gmx: its files are replaced and removed.\n"


def make_folder(folder: Path, wrong: str = "cannot be made a folder") -> None:
    """Make a folder, and those it is in, where they are not there yet.

    Raises
    ------
    InputError
        Saying what is ``wrong``: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{wrong}: {error.strerror}", path=folder) from error


def own_folder(folder: Path) -> Path:
    """Make a folder in which files may be replaced and removed.

    Raises
    ------
    InputError
        There is one with something in it that dbm-gmx has not made, or it cannot be made.
    """
    mark = folder / MARK
    try:
        if folder.is_dir() and any(folder.iterdir()) and not is_own(folder):
            raise InputError("holds files of somebody else; move it, or give another output", path=folder)
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(MARKED)
    except OSError as error:
        with suppress(OSError):
            if not mark.stat().st_size:  # the disk is full: nothing stays
                mark.unlink()
                folder.rmdir()
        raise InputError(f"cannot be made a work folder: {error.strerror}", path=folder) from error
    return folder


def is_own(folder: Path) -> bool:
    """Whether a folder is one of ours."""
    with suppress(OSError):
        return (folder / MARK).read_text() == MARKED
    return False


def remove_own(folder: Path) -> None:
    """Remove a folder of ours with all that is in it; another one stays."""
    if is_own(folder):
        shutil.rmtree(folder, ignore_errors=True)

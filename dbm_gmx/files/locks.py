"""Locks: one run at a time writes a file or works in a folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dbm_gmx.errors import InputError
from dbm_gmx.interrupts import do_last

NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system answers that knows no locks."""

_held: dict[Path, int] = {}


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold a file or folder that this process alone is to write.

    The lock is a file beside it, ``name.lock``, that says who holds it.  The system frees it when a process
    ends, however that happens; the file that is left then is taken over.  Only where the system cannot tell,
    as on another machine, the user has to.

    Raises
    ------
    InputError
        Another process holds it, or nothing can be written there.
    """
    path = Path(path) if Path(path).name else Path(path).resolve()
    lock = path.with_name(f"{path.name}.lock")
    descriptor = _take(path, lock)
    _held[lock] = descriptor
    try:
        yield
    finally:
        _release(lock)


def _take(path: Path, lock: Path) -> int:
    """Open the lock and be the only one who has it."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path=path) from error
        try:
            _check_holder(path, lock, descriptor)
            if is_same(lock, descriptor):  # else another one has just ended and removed it
                mine = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%F %T")}
                _write(lock, descriptor, json.dumps(mine).encode() + b"\n")
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise InputError(f"cannot be written: {error.strerror}", path=path) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _write(lock: Path, descriptor: int, text: bytes) -> None:
    """Write who holds a lock; where the disk is full it does not stay."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)
    except OSError:
        lock.unlink()
        raise


def _check_holder(path: Path, lock: Path, descriptor: int) -> None:
    """Refuse if another process holds an open lock, or may hold it."""
    known = lock_open(descriptor)
    if known is False:
        raise InputError(f"another run writes it: {_holder(descriptor)[2]}", path=path)
    host, process, who = _holder(descriptor)
    if host and (host != socket.gethostname() or (not known and _runs(process))):
        raise InputError(f"another run may be writing it: {who}; if it has ended, remove {lock}", path=path)


def lock_open(descriptor: int) -> bool | None:
    """Lock an open file: whether no other process has; ``None`` where the file system cannot tell."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in NO_FLOCK:
            raise
        return None
    return True


def _holder(descriptor: int) -> tuple[str, int, str]:
    """Host and process that a lock names, and in words; no host where it names none."""
    try:
        found = json.loads(os.pread(descriptor, 1000, 0))
        host, process, since = str(found["host"]), int(found["process"]), str(found["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0, "a process that has not said its name"
    return host, process, f"process {process} on {host}, since {since}"


def _runs(process: int) -> bool:
    """Whether there is such a process on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def is_same(lock: Path, descriptor: int) -> bool:
    """Whether the open file is the one of that name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    return False


def _release(lock: Path) -> None:
    descriptor = _held.get(lock)
    if descriptor is None:
        return
    with suppress(OSError):
        if is_same(lock, descriptor):
            lock.unlink()
    # not before it is gone: the process may be ended in between
    if _held.pop(lock, None) is not None:
        os.close(descriptor)


def _release_all() -> list[str]:
    """Free everything, before the process is ended."""
    for lock in list(_held):
        _release(lock)
    return []


do_last(_release_all)

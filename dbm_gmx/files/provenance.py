"""How an output was made, in a file beside it: ``aa.xtc.json`` for ``aa.xtc``."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import platform
import resource
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from dbm_gmx import __version__
from dbm_gmx.errors import InputError
from dbm_gmx.files.output import atomic_write, description_of
from dbm_gmx.files.record import FileFacts, facts_of
from dbm_gmx.files.text import read_text

log = logging.getLogger(__name__)

FORMAT = "dbm_gmx provenance 1"

LIBRARIES = ("numpy", "scipy", "numba", "MDAnalysis", "networkx", "parmed")
"""Whose versions are named; others, as torch, where they are loaded."""

WHERE_LOADED = ("torch", "distributed", "sklearn", "dscribe")


@dataclass(frozen=True)
class Started:
    """When a run has begun.

    Attributes
    ----------
    at
        s since 1970.
    cpu
        CPU time of this process and of those it has waited for until then, s.
    """

    at: float = field(default_factory=time.time)
    cpu: float = field(default_factory=lambda: cpu_of_all())


def cpu_of_all() -> float:
    """CPU time of this process and of those it has waited for, s."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


@dataclass(frozen=True)
class Provenance:
    """What is to be said of how outputs were made.

    Attributes
    ----------
    command
        Of the command line.
    inputs
        Files that were read; their facts where they are known.
    settings
        All that the result depends on besides.
    findings
        What was found out before the first frame.
    summary
        What was found in the frames.
    text
        The same as it is printed.
    part
        Which part of a run it is; nothing for all of it.
    broken
        Rules that are broken and may not be.
    started
        When.
    gmx
        Version and place of GROMACS, where it was used.
    """

    command: str
    inputs: Sequence[FileFacts | Path] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[str, Any] = field(default_factory=dict)
    summary: Any = None
    text: str = ""
    part: Mapping[str, Any] | None = None
    broken: Sequence[str] = ()
    started: Started = field(default_factory=Started)
    gmx: str | None = None


def write_provenance(outputs: Iterable[Path], made: Provenance, *, over: bool = False) -> None:
    """Write how they were made beside outputs that are complete.

    Parameters
    ----------
    outputs
        The files.
    made
        How.
    over
        An older description is replaced, not backed up: the output was, too.

    Raises
    ------
    InputError
        This cannot be written; the outputs stay.
    """
    what = plain_provenance(made)
    for output in outputs:
        facts = facts_of(output)
        file = {"name": output.name, "size": facts.size, "sha256": facts.sha256}
        with atomic_write(description_of(output), over=over) as part:
            whole = {"format": FORMAT, "output": file, **what}
            part.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n")


def read_provenance(output: Path) -> dict[str, Any]:
    """Read how an output was made.

    Raises
    ------
    InputError
        There is no such file, or it is another one.
    """
    path = description_of(output)
    if not path.exists():
        raise InputError(f"{output.name} is of unknown origin without it", path=path)
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"is not how an output was made ({FORMAT})", path=path)
    return found


def command_line() -> str:
    """The command line of this process, as a shell takes it."""
    program = Path(sys.argv[0]).name
    name = "dbm-gmx" if program in ("__main__.py", "dbm-gmx") else program or "python"
    return shlex.join([name, *sys.argv[1:]])


def library_versions() -> dict[str, str]:
    """Versions of what results depend on."""
    found = {"dbm-gmx": __version__, "python": platform.python_version()}
    for name in (*LIBRARIES, *(name for name in WHERE_LOADED if name in sys.modules)):
        try:
            found[name] = _version({"sklearn": "scikit-learn"}.get(name, name))
        except PackageNotFoundError:
            continue
    return found


_version = cache(version)


def described(value: Any) -> Any:
    """Turn records, arrays and what is in them into what JSON knows; ``None`` for no finite number."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: described(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: described(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {_key(key): described(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return described(value.tolist())
    if isinstance(value, np.generic):
        return described(value.item())
    if isinstance(value, list | tuple | set | frozenset):
        return [described(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    return str(value)


def _key(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def plain_provenance(made: Provenance) -> dict[str, Any]:
    """All that is known of how something was made, and of the machine, in plain values."""
    versions = library_versions() | ({} if made.gmx is None else {"gromacs": made.gmx})
    now = time.time()
    inputs = [one if isinstance(one, FileFacts) else facts_of(one) for one in made.inputs]
    return {
        "command": made.command,
        "command_line": command_line(),
        "folder": str(Path.cwd()),
        "versions": versions,
        "inputs": [_file(facts) for facts in inputs],
        "settings": described(made.settings),
        "part": described(made.part),
        "findings": described(made.findings),
        "summary": described(made.summary),
        "text": made.text.splitlines(),
        "broken": list(made.broken),
        "run": {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "processors": len(os.sched_getaffinity(0)),
            "begin": _date(made.started.at),
            "end": _date(now),
            "seconds": round(now - made.started.at, 3),
            "cpu_seconds": round(cpu_of_all() - made.started.cpu, 3),
        },
    }


def _file(facts: FileFacts) -> dict[str, Any]:
    changed = _date(facts.mtime_ns / 1e9)
    return {"path": facts.path, "size": facts.size, "changed": changed, "sha256": facts.sha256}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

"""GROMACS' own program: found, asked for its version, run.

Whatever runs ``gmx`` does so through :meth:`Gmx.run`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from dbm_gmx.errors import InputError
from dbm_gmx.files.bonded_tables import tableb
from dbm_gmx.interrupts import do_last

NAMES = ("gmx", "gmx_mpi", "gmx_d", "gmx_mpi_d")
"""What the program is called, depending on how it was built."""

SHOWN = 12
"""Lines of output that are shown of a command that fails."""

#: A warning or error of grompp, or the paragraph after the head of a fatal one.
_REPORT = re.compile(
    r"^((?:WARNING|ERROR) \d+ \[.*?)\n\n|^Program: .*?\n\n(.*?)\n\n", re.MULTILINE | re.DOTALL
)

_running: set[subprocess.Popen[bytes]] = set()
_lock = Lock()


class GmxError(InputError):
    """A command of GROMACS failed or took too long."""


@dataclass(frozen=True)
class Gmx:
    """An installed GROMACS.

    Attributes
    ----------
    program
        Path of ``gmx``.
    version
        As it says.
    thread_mpi, openmp
        What it was built with: an MPI build refuses ``-ntmpi``, one without OpenMP ``-ntomp``.
    """

    program: str
    version: str
    thread_mpi: bool
    openmp: bool

    def text(self) -> str:
        """Version and place."""
        return f"{self.version} ({self.program})"

    def threads(self, count: int) -> list[str]:
        """Options of ``mdrun`` for one rank of so many threads, as far as this build takes them."""
        ranks = ["-ntmpi", "1"] if self.thread_mpi else []
        return [*ranks, "-ntomp", str(count)] if self.openmp else ranks

    def run(
        self, command: str, options: Sequence[str | Path], *, folder: Path, timeout: float | None = None
    ) -> str:
        """Run a command.

        Parameters
        ----------
        command, options
            ``grompp``, and its options.
        folder
            Where; the output is kept there in ``command.out``, one after the other.
        timeout
            Seconds after which it is ended.

        Returns
        -------
        What it printed.

        Raises
        ------
        GmxError
            With the last lines, if it fails or does not end in time.
        """
        arguments = [self.program, "-quiet", command, *map(str, options)]
        code, output = _run(arguments, folder=folder, timeout=timeout)
        with (folder / f"{command}.out").open("a") as stream:
            stream.write(f"$ {' '.join(arguments)}\n{output}\n")
        if code is None:
            problem = f"did not end within {timeout:g} s (--timeout)"
        elif code:
            problem = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        else:
            return output
        raise GmxError("\n  | ".join([f"gmx {command} {problem}:", *_last(output)]), path=folder)


def find_gmx(program: str | Path | None = None) -> Gmx:
    """Find GROMACS and ask for its version.

    Parameters
    ----------
    program
        Name or path; the first of :data:`NAMES` on the ``PATH`` if not given.

    Raises
    ------
    InputError
        It is not there, or is another program.
    """
    names = NAMES if program is None else (str(program),)
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise InputError(f"GROMACS is not found: no {', '.join(names)} on the PATH; name it with --gmx PATH")
    found = str(Path(found).absolute())  # it is started in other folders
    code, text = _run([found, "--version"], folder=Path.cwd(), timeout=60)
    version = re.search(r"GROMACS version:\s*(\S+)", text)
    if code or version is None:
        raise InputError("\n  | ".join(["is no GROMACS that runs:", *_last(text)]), path=found)
    mpi = re.search(r"MPI library:\s*(\S+)", text)
    openmp = re.search(r"OpenMP support:\s*enabled", text)
    return Gmx(found, version[1], mpi is not None and mpi[1].startswith("thread"), openmp is not None)


def write_tables(tables: Mapping[str, str], folder: Path) -> list[str]:
    """Write tables of bonded interactions, texts by their names; options with which ``mdrun`` reads them."""
    for name, text in tables.items():
        (folder / name).write_text(text, "utf-8", "surrogateescape")
    return tableb(tables)


def stop_all() -> None:
    """End every command that runs now, those of other threads too."""
    with _lock:
        for process in _running:
            _kill(process)


def _end_all() -> list[str]:
    """End every command, and let none begin any more: our own process ends next."""
    _lock.acquire(timeout=0.3)
    for process in list(_running):
        _kill(process)
    return []


do_last(_end_all)


def _run(arguments: list[str], *, folder: Path, timeout: float | None) -> tuple[int | None, str]:
    """Return exit code (``None`` if it took too long) and all output."""
    # mdrun refuses to start where this differs from -ntomp
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    with _lock:
        try:
            process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise InputError(f"cannot be run: {error.strerror}", path=arguments[0]) from error
        _running.add(process)
    try:
        output, _ = process.communicate(timeout=timeout)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        _kill(process)
        output, _ = process.communicate()
        code = None
    finally:
        if process.poll() is None:
            _kill(process)
            process.wait()
        with _lock:
            _running.discard(process)
    return code, output.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command and whatever it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _last(output: str) -> list[str]:
    """Return the lines that say why: warnings and the error where there are any, else the last ones."""
    text = output.replace("\r", "\n")
    blocks = [found[0] or found[1] for found in _REPORT.findall(text)]
    lines = [line.rstrip() for line in "\n".join(blocks or [text]).splitlines() if line.strip()]
    return lines[-SHOWN:] or ["(no output)"]

"""A stand-in for ``gmx``: quick, and able to misbehave."""

from __future__ import annotations

from pathlib import Path

SCRIPT = """#!/bin/sh
# $1 is -quiet, or --version
here=${{PWD##*/}}
echo "$here $*" >> {calls}
case "$1" in --version)
    echo "GROMACS version:    {version}"
    echo "MPI library:        {mpi}"
    echo "OpenMP support:     {openmp}"
    exit 0;;
esac
command=$2; shift 2
case "$command" in
grompp)
    while [ $# -gt 0 ]; do case "$1" in -o) touch "$2";; esac; shift; done
    {grompp}
    echo prepared;;
mdrun)
    {refused}
    {mdrun}
    cp start.gro "$2.gro"
    printf '   Energies (kJ/mol)\\n%15s%15s\\n%15s%15s\\n\\n' Potential 'Position Rest.' -90.0 10.0 > "$2.log"
    echo done;;
esac
"""

REFUSES = """case "$*" in *-nt*) case "$*" in *-ntmpi*|*"-nt "*)
    printf 'Fatal error:\\nSetting the number of thread-MPI ranks is only supported with thread-MPI\\n'
    exit 1;; esac;; esac"""


def fake_gmx(
    path: Path,
    *,
    version: str = "2030.1",
    mpi: str = "thread_mpi",
    openmp: str = "enabled (GMX_OPENMP_MAX_THREADS = 128)",
    grompp: str = "",
    mdrun: str = "",
) -> Path:
    """Write a program that knows ``--version``, ``grompp`` and ``mdrun``, which moves nothing.

    Parameters
    ----------
    mpi, openmp
        What it says it was built with; an MPI build refuses the options of thread-MPI.
    grompp, mdrun
        Lines of shell that come first; ``$here`` is the name of the folder it runs in.
    """
    path.parent.mkdir(exist_ok=True)
    refused = "" if mpi.startswith("thread") else REFUSES
    calls = path.with_suffix(".calls")
    text = SCRIPT.format(
        calls=calls, version=version, mpi=mpi, openmp=openmp, grompp=grompp, mdrun=mdrun, refused=refused
    )
    path.write_text(text)
    path.chmod(0o755)
    return path


def calls_of(path: Path) -> list[str]:
    """What it was asked, a line per call: folder and options."""
    record = path.with_suffix(".calls")
    return record.read_text().splitlines() if record.exists() else []


def runs_of(path: Path) -> list[str]:
    """Folders in which ``mdrun`` was called, each time."""
    return [line.split()[0] for line in calls_of(path) if " mdrun " in line]

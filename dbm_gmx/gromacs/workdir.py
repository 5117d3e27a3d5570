"""A folder from which GROMACS can go on: structure, topology, run parameters, index, script."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import whole_molecules
from dbm_gmx.chemistry.topology import Topology, blocks
from dbm_gmx.errors import InputError
from dbm_gmx.files.bonded_tables import tableb, tables_beside
from dbm_gmx.files.includes import copy_topology
from dbm_gmx.files.output import atomic_write, make_folder
from dbm_gmx.files.top_writer import flat_topology, topology_text
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.gromacs.gmx import NAMES
from dbm_gmx.gromacs.run_parameters import bonded_through_the_box, wanted_runs
from dbm_gmx.options import RelaxSettings

RUNS = ("em", "nvt", "npt")

SCRIPT = """#!/usr/bin/env bash
set -euo pipefail; case $0 in */*) cd -- "${{0%/*}}/";; esac; own={gmx}; gmx=${{GMX:-$own}}; conf=conf.gro
for run in {runs}; do "$gmx" grompp -f $run.mdp -c $conf -p topol.top -n index.ndx -o $run.tpr; """
SCRIPT += """"$gmx" mdrun -deffnm $run{tables}; conf=$run.gro; done
"""

INDEX_WIDTH = 15
"""Numbers on a line of an index file."""


def write_workdir(
    folder: Path,
    frame: Frame,
    topology: Topology,
    *,
    settings: RelaxSettings,
    defines: tuple[str, ...] = (),
    include: tuple[Path, ...] = (),
) -> None:
    """Write ``conf.gro``, ``topol.top`` with its includes, ``em.mdp`` and so on, ``index.ndx``, ``run.sh``.

    Files that exist are backed up.  Tables of bonded interactions are copied.  Includes have a folder of
    their own (:data:`~dbm_gmx.files.includes.INCLUDED`), so that none of them takes the name of another file.

    Parameters
    ----------
    folder
        Made if it is not there.
    frame, topology
        The atoms.
    settings
        Run parameters.
    defines, include
        For the preprocessor of the topology.
    """
    make_folder(folder)
    texts, frame = _parameters(settings, defines), whole_molecules(topology, frame)
    with open_writer(folder / "conf.gro", topology) as writer:
        writer.write(replace(frame, free=False))  # GROMACS runs in the box that is large enough
    if topology.path is not None and not topology.relisted:
        copy_topology(topology.path, folder, include=include)
    else:  # from the library of molecules, or of other molecules than in the file
        text = topology_text(flat_topology(topology, defines=defines, include=include))
        _write(folder / "topol.top", text)
    for name, text in texts.items():
        _write(folder / f"{name}.mdp", bonded_through_the_box(text, frame))
    _write(folder / "index.ndx", "".join(_index(topology)))
    tables = tables_beside(topology)
    for name, text in tables.items():
        _write(folder / name, text)
    read = "".join(f" {shlex.quote(word)}" for word in tableb(tables))
    script, program = folder / "run.sh", shlex.quote(_program(settings.gmx))
    _write(script, SCRIPT.format(gmx=program, runs=" ".join(RUNS), tables=read))
    script.chmod(0o755)


def _program(given: str | None) -> str:
    """What ``run.sh`` calls, wherever it stands: a name on the ``PATH``, or a whole path."""
    if given is None:
        return next((name for name in NAMES if shutil.which(name)), NAMES[0])
    return str(Path(given).absolute()) if os.sep in given else given


def _parameters(settings: RelaxSettings, defines: Sequence[str]) -> dict[str, str]:
    """Texts of the run parameters."""
    broken = next((name for name in defines if len(name.split()) != 1), None)
    if broken is not None:
        raise InputError(f"-D {broken!r}: an .mdp cannot hold a definition with blanks")
    changes = {"define": " ".join(f"-D{name}" for name in dict.fromkeys(defines))} if defines else {}
    return {name: run.text for name, run in wanted_runs(settings, RUNS, changes).items()}


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", errors="surrogateescape")


def _index(topology: Topology) -> Iterator[str]:
    """Yield the groups: the system, and each molecule type."""
    yield from _group("System", range(1, topology.n_atoms + 1))
    for name in dict.fromkeys(name for name, _ in topology.molecules):
        rows = [
            range(first + 1, first + 1 + count * moltype.n_atoms)
            for moltype, first, count in blocks(topology)
            if moltype.name == name
        ]
        yield from _group(name, [i for run in rows for i in run])


def _group(name: str, numbers: Sequence[int]) -> Iterator[str]:
    yield f"[ {name} ]\n"
    for start in range(0, len(numbers), INDEX_WIDTH):
        yield " ".join(f"{i:5d}" for i in numbers[start : start + INDEX_WIDTH]) + "\n"

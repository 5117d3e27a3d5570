"""What a step of molecular dynamics costs: some steps of a frame run with GROMACS."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.bonded_tables import tables_beside
from dbm_gmx.files.mdp import mdp_entries
from dbm_gmx.files.top_writer import flat_topology, topology_text
from dbm_gmx.files.trajectory import open_writer
from dbm_gmx.gromacs.gmx import Gmx, find_gmx, write_tables
from dbm_gmx.gromacs.relax_frame import gromacs_box
from dbm_gmx.gromacs.run_parameters import Run, wanted_runs
from dbm_gmx.options import RelaxSettings

DYNAMICS = ("md", "md-vv", "md-vv-avek", "sd", "bd")
"""Integrators whose steps are those of a simulation."""

WARM, FEWEST, SECONDS = 100, 200, 4.0
"""Steps that are not counted; of those that are, the least, and CPU s they should take."""

EVERY = 100
"""Steps are counted in multiples of this: every so many have a new pair list and energies."""

WARNINGS = 1000
"""Warnings of ``gmx grompp`` that are let pass: of a run that nobody will use."""

QUIET = dict.fromkeys(("nstxout", "nstvout", "nstfout", "nstxout-compressed", "nstlog", "nstenergy"), "0") | {
    "continuation": "no",
    "gen-vel": "yes",
}
"""What is changed in the user's run parameters: nothing is written, and velocities are drawn."""


@dataclass(frozen=True)
class MdStep:
    """What a step of molecular dynamics costs.

    Attributes
    ----------
    seconds
        CPU time of a step, s, of all threads.
    steps, threads
        Steps that were counted, on so many threads.
    gmx
        Version of GROMACS.
    mdp
        Name of the run parameters.
    """

    seconds: float
    steps: int
    threads: int
    gmx: str
    mdp: str


def time_md_step(
    topology: Topology,
    frame: Frame,
    settings: RelaxSettings,
    *,
    defines: Sequence[str] = (),
    include: Sequence[Path] = (),
) -> MdStep:
    """Run a frame with GROMACS, on the CPU, and take its time.

    Two runs are made, a short and a long one.  Their difference has neither the start nor the end of a run.

    Parameters
    ----------
    topology, frame
        Whole atoms.
    settings
        Where GROMACS is, run parameters (all of ``mdp`` holds, else those that ship), threads (1).
    defines, include
        For the preprocessor of the ``.top``.

    Raises
    ------
    InputError
        There is no GROMACS, the run parameters are none of dynamics, or a command fails.
    """
    gmx, run = find_gmx(settings.gmx), _parameters(settings)
    threads = settings.threads or 1
    with TemporaryDirectory() as name:
        folder = Path(name)
        with open_writer(folder / "conf.gro", topology) as writer:
            writer.write(replace(frame, box=gromacs_box(frame.box)))
        parts = flat_topology(topology, defines=(*run.defines, *defines), include=include)
        (folder / "topol.top").write_text(topology_text(parts), encoding="utf-8")
        (folder / "run.mdp").write_text(run.text, encoding="utf-8")
        tables = write_tables(tables_beside(topology), folder)
        options = ["-f", "run.mdp", "-c", "conf.gro", "-r", "conf.gro", "-p", "topol.top", "-o", "run.tpr"]
        options += ["-maxwarn", str(WARNINGS)]
        gmx.run("grompp", options, folder=folder, timeout=settings.timeout)
        known = replace(settings, threads=threads)
        first = _run(gmx, [*tables, "-nsteps", str(WARM)], folder, known)
        steps = EVERY * ceil(max(FEWEST, SECONDS * WARM / max(first, 1e-3)) / EVERY)
        spent = _run(gmx, [*tables, "-nsteps", str(WARM + steps)], folder, known) - first
    return MdStep(
        max(spent, 0.0) / steps,
        steps,
        threads if gmx.openmp else 1,
        gmx.version,
        "share/mdp/nvt.mdp" if settings.mdp is None else settings.mdp.name,
    )


def _parameters(settings: RelaxSettings) -> Run:
    """Those of the user, and all of them; else those that ship."""
    if settings.mdp is not None:
        integrator = mdp_entries(settings.mdp).get("integrator")
        if integrator is not None and integrator.text.lower() not in DYNAMICS:
            raise InputError(
                f"integrator {integrator.text} is none of dynamics ({', '.join(DYNAMICS)})", path=settings.mdp
            )
    return wanted_runs(replace(settings, nvt_mdp=settings.mdp), ("nvt",), QUIET)["nvt"]


def _run(gmx: Gmx, how: Sequence[str], folder: Path, settings: RelaxSettings) -> float:
    """CPU time of a run with more options, s."""
    # a graphics card would take over most of the work, and its time is none of a CPU
    options = ["-s", "run.tpr", "-deffnm", "run", "-noconfout", "-nb", "cpu", *how]
    begin = _cpu_of_children()
    options += gmx.threads(settings.threads or 1)
    gmx.run("mdrun", options, folder=folder, timeout=settings.timeout)
    return _cpu_of_children() - begin


def _cpu_of_children() -> float:
    """CPU time of commands that have ended, s."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime

"""What a frame costs: CPU time by stage, and in steps of molecular dynamics."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mixed
import numpy as np
import pytest
from mixed import command
from oracle import example
from systems import Example

from dbm_gmx.backmapping.benchmark import Timing, cpu_table, steps_line
from dbm_gmx.backmapping.cost import Cost, brief
from dbm_gmx.backmapping.summary import Refinement, Report, Tally, Told
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.clock import Clock
from dbm_gmx.gromacs import md_step
from dbm_gmx.gromacs.md_step import MdStep, time_md_step
from dbm_gmx.options import RelaxSettings
from dbm_gmx.parallel import Team

BURNT = 0.1
"""CPU s."""


def burn(*_: int) -> None:
    """Work for a while, by the clock of this thread."""
    end = time.thread_time() + BURNT
    while time.thread_time() < end:
        pass


# --- the clock -------------------------------------------------------------------------------------


def test_other_threads_of_a_team_count() -> None:
    clock = Clock()
    for name, members in (("one", 1), ("three", 3)):
        team = Team(members)
        with clock.stage(name):
            team.share(burn, members)
            team.share(burn, members)
    assert clock.cpu["one"] == pytest.approx(2 * BURNT, rel=0.2)
    assert clock.cpu["three"] == pytest.approx(6 * BURNT, rel=0.2)


def test_a_team_within_a_team_counts_once() -> None:
    """As a frame whose thread was lent by others."""
    clock, inner = Clock(), Team(2)
    with clock.stage("both"):
        Team(2).share(lambda first, _: inner.share(burn, 2) if first else None, 2)
    assert clock.cpu["both"] == pytest.approx(2 * BURNT, rel=0.2)


def test_frames_side_by_side_are_told_apart() -> None:
    clock, other = Clock(), threading.Thread(target=burn)
    with clock.stage("waits"):
        other.start()
        other.join()
    with clock.stage("works"):
        burn()
    with clock.stage("works"):
        burn()
    assert clock.cpu["waits"] < 0.3 * BURNT < clock.wall["waits"]
    assert clock.cpu["works"] == pytest.approx(2 * BURNT, rel=0.2)


# --- what is said ----------------------------------------------------------------------------------


def test_costs_add_up() -> None:
    one = Cost({"growth": 1.0, "sweeps": 2.0}, {}, {"trials": 3.0})
    two = Cost({"sweeps": 4.0}, {"recall": 0.5}, {"trials": 1.0, "starts": 2.0})
    assert one + two == Cost({"growth": 1.0, "sweeps": 6.0}, {"recall": 0.5}, {"trials": 4.0, "starts": 2.0})
    both = Refinement(cost=one) + Refinement(cost=two)
    assert both.cost == one + two


def test_numbers_have_two_digits_or_more() -> None:
    assert [brief(x) for x in (123.4, 9.96, 9.94, 0.996, 0.41, 0.0996, 0.012, 0.0)] == [
        *("123", "10", "9.9", "1.0", "0.41", "0.10", "0.012", "0.000")
    ]


def test_the_summary_says_what_frames_cost() -> None:
    """Each kind of frame by itself; 500 atoms."""
    full = {"growth": 1.0, "windows": 0.0001, "sweeps": 3.0}
    parts = [Refinement(cost=Cost(full=full))] * 2 + [
        Refinement(cost=Cost(recalled={"sweeps": 0.25}), recalled=1)
    ]
    alone = sum((Report(contacts=(0,), refinement=part, atoms=500) for part in parts[:2]), Report())
    whole = sum((Report(contacts=(0,), refinement=part, atoms=500) for part in parts), Report())
    rates = "4.0 s a frame, 8.0 s per 1,000 atoms: growth 2.0, sweeps 6.0"
    assert [line for line in alone.text().splitlines() if line.startswith("CPU")] == [
        f"CPU            {rates}"
    ]
    assert [line for line in whole.text().splitlines() if line.startswith("CPU")] == [
        f"CPU in full    {rates}",
        "CPU recalled   0.25 s a frame, 0.50 s per 1,000 atoms: sweeps 0.50",
    ]
    assert "CPU" not in Report(contacts=(0,), atoms=500).text()


def test_what_is_done_once_has_its_own_line(octane: Example) -> None:
    system, beads = octane.system, Frame(octane.beads.astype(np.float32), octane.box)
    tally = Tally(system, {}, Told(once={"inference of stereo": 0.01, "trials of annealing": 63.2}))
    spent = Refinement(cost=Cost(full={"sweeps": 2.08}, once={"independent starts": 12.0}))
    for refinement in (spent, replace(spent, cost=replace(spent.cost, once={}))):
        tally.add(Frame(octane.atoms.astype(np.float32), octane.box), beads, refinement)
    assert [line for line in tally.report().text().splitlines() if line.startswith("CPU")] == [
        "CPU            2.1 s a frame, 1.0 s per 1,000 atoms: sweeps 1.0",
        "CPU once       trials of annealing 63 s, independent starts 12 s",
    ]


def test_table_of_the_benchmark() -> None:
    timings = [
        Timing("exact, 1 frame", 500, 9.0, 1.0, {"growth": 1.0, "windows": 0.0001, "sweeps": 3.0}),
        Timing("exact, box x 8", 4000, 9.0, 1.0, {"growth": 8.0, "packing": 4.0, "sweeps": 24.0}),
    ]
    assert [" ".join(line.split()) for line in cpu_table(timings)] == [
        "CPU s per 1,000 atoms growth sweeps packing all",
        "exact, 1 frame 2.0 6.0 0.000 8.0",
        "exact, box x 8 2.0 6.0 1.0 9.0",
    ]
    assert len({len(line) for line in cpu_table(timings)}) == 1


# --- beside molecular dynamics ---------------------------------------------------------------------


START, STEP = 0.3, 0.0005
"""CPU s that :data:`PROGRAM` takes for a run, and for each step of it."""

PROGRAM = f"""#!/usr/bin/env python3
import sys, time
if "--version" in sys.argv:
    print("GROMACS version:    2030.1\\nMPI library:        thread_mpi\\nOpenMP support:     enabled")
if "mdrun" in sys.argv:
    steps = int(sys.argv[sys.argv.index("-nsteps") + 1])
    while time.process_time() < {START} + {STEP} * steps:
        pass
"""


def test_start_and_end_of_a_run_are_no_steps(
    octane: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(md_step, "SECONDS", 1.0)
    program = tmp_path / "gmx"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    step = time_md_step(octane.system.topology, atoms_of(octane), RelaxSettings(gmx=str(program), threads=3))
    assert step.seconds == pytest.approx(STEP, rel=0.3)  # three times as much with the start
    assert (step.threads, step.gmx, step.mdp) == (3, "2030.1", "share/mdp/nvt.mdp")
    assert step.steps == 300  # of 1 s, 100 at START + 100 STEP each


def atoms_of(liquid: Example) -> Frame:
    return Frame(liquid.atoms.astype(np.float32), liquid.box)


def test_frames_in_steps() -> None:
    one, two = MdStep(0.002, 1400, 1, "2030.1", "run.mdp"), MdStep(0.0101, 300, 2, "2030.1", "run.mdp")
    assert steps_line(8.0, one) == (
        "MD steps               one frame costs as much as 4000 MD steps "
        "(2.0 ms of CPU time each on 1 thread; 1400 steps of GROMACS 2030.1, run.mdp)"
    )
    assert "as much as 792 MD steps (10 ms of CPU time each on 2 threads; " in steps_line(8.0, two)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed.tiny_model(tmp_path_factory.mktemp("model") / "tiny.pt")


@pytest.fixture
def octane_options(octane: Example, model: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, object]:
    """For the command, with a sampler that gives the true atoms, for 2.08 CPU s."""
    mixed.fake_sampler(monkeypatch)
    call = mixed.FakeSampler.__call__

    def true(sampler: mixed.FakeSampler, beads: Frame, **more: Any) -> Any:
        _, convergence = call(sampler, beads, **more)
        return atoms_of(octane).positions, replace(convergence, cpu={"growth": 0.52, "sweeps": 1.56})

    monkeypatch.setattr(mixed.FakeSampler, "__call__", true)
    monkeypatch.setattr(md_step, "SECONDS", 0.3)
    folder = example()
    files = {"-s": folder / "cg.tpr", "-f": folder / "cg.xtc", "-p": folder / "topol.top"}
    return {
        **files,
        **{"-m": folder / "mapping.xml", "--mdp": folder / "nvt.mdp", "--model": model},
        **{"--frames": 1, "--box": 1, "--threads": 1},
    }


def test_a_frame_beside_gromacs(gmx: str, octane_options: Mapping[str, object]) -> None:
    result = command("benchmark", {**octane_options, "--gmx": gmx})
    assert result.code == 0
    assert "zero-quadrupole form" in result.err
    head, row, line = result.out.splitlines()[-3:]
    assert head.split()[-3:] == ["growth", "sweeps", "all"]
    assert " ".join(row.split()) == "exact, 1 frame 0.25 0.75 1.0"
    found = re.fullmatch(
        r"MD steps +one frame costs as much as (\d+) MD steps \(([\d.]+) ms of CPU time each on 1 thread; "
        r"(\d+) steps of GROMACS \S+, nvt.mdp\)",
        line,
    )
    assert found is not None, line
    steps, each, counted = map(float, found.groups())
    assert 0.05 < each < 100  # of 2,080 atoms: .1 to 50 us for each
    assert steps == pytest.approx(2080 / each, rel=0.05)
    assert counted >= 200


def test_without_gromacs(octane_options: Mapping[str, object]) -> None:
    result = command("benchmark", {**octane_options, "--gmx": "no-gmx"})
    assert result.code == 0
    assert "zero-quadrupole form" in result.err
    *_, row, line = result.out.splitlines()
    assert row.startswith("exact, 1 frame ")
    assert line == (
        "MD steps               not compared with GROMACS: "
        "GROMACS is not found: no no-gmx on the PATH; name it with --gmx PATH"
    )


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ("tc-grps = Nobody\ntau-t = 1\nref-t = 300\n", "gmx grompp ended with exit code 1: .*Nobody"),
        ("integrator = steep\n", r"\S+run.mdp: integrator steep is none of dynamics \(md, .*\)"),
    ],
)
def test_what_gromacs_refuses_is_said_in_a_line(
    parameters: str, why: str, gmx: str, octane_options: Mapping[str, object], tmp_path: Path
) -> None:
    (tmp_path / "run.mdp").write_text(parameters)
    given = {**octane_options, "--mdp": tmp_path / "run.mdp", "-t": 300, "--gmx": gmx}
    result = command("benchmark", given)
    assert result.code == 0
    line = result.out.splitlines()[-1]
    assert re.fullmatch(f"MD steps +not compared with GROMACS: {why}.*", line), line

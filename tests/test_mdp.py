"""What is taken from an ``.mdp``, and what is refused."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from dbm_gmx.errors import InputError
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.logs import NOTICE
from dbm_gmx.options import ASSUMED, Conditions, Preprocessor


@pytest.fixture
def conditions(tmp_path: Path):
    """Read a text; returns conditions and defines."""

    def read(text: str) -> tuple[Conditions, Preprocessor]:
        (tmp_path / "run.mdp").write_text(text)
        return read_mdp(tmp_path / "run.mdp")

    return read


def test_all_that_is_read_however_it_is_written(conditions) -> None:
    found, told = conditions(
        "; a comment = 3\n\nREF_T = 453 453.0   ; two groups\n  Rvdw=1.2\nrcoulomb = 0.9\n"
        "epsilon-r = 2 ; = 3\nepsilon_rf = 78\nCoulombType = reaction_field\nconstraints = H-Bonds\n"
        "define = -DPOSRES -DK=1000\nfreezegrps =\nwhat-ever = yes\n"
    )
    assert found == Conditions(
        temperature=453.0,
        rvdw=1.2,
        rcoulomb=0.9,
        epsilon_r=2.0,
        epsilon_rf=78.0,
        constraints="h-bonds",
        source="run.mdp",
    )
    assert told.defines == ("POSRES", "K=1000")


def test_what_is_left_out_is_as_gromacs_takes_it(conditions) -> None:
    found, told = conditions("nsteps = 10\nref-t =\n")
    assert found == Conditions(
        temperature=300.0,
        rvdw=1.0,
        rcoulomb=1.0,
        epsilon_r=1.0,
        epsilon_rf=1.0,  # a plain cut-off is the reaction field of the medium itself
        constraints="all-bonds",
        source=ASSUMED,
    )
    assert told.defines == ()


@pytest.mark.parametrize(
    ("text", "epsilon_rf"),
    [
        ("coulombtype = Cut-off\nepsilon-r = 4\nepsilon-rf = 9\n", 4.0),
        ("coulombtype = Reaction-Field\n", 0.0),
        ("coulombtype = Reaction-Field\nepsilon-rf = 0\n", 0.0),
        ("coulombtype = PME\nepsilon-rf = 9\n", None),
        ("coulombtype = pme-user\n", None),
        ("coulombtype = P3M-AD\n", None),
    ],
)
def test_reaction_field(conditions, text: str, epsilon_rf: float | None) -> None:
    assert conditions(text)[0].epsilon_rf == epsilon_rf


@pytest.mark.parametrize(
    ("text", "constraints"),
    [("none", "none"), ("all_bonds", "all-bonds"), ("H-Bonds", "h-bonds")],
)
def test_constraints(conditions, text: str, constraints: str) -> None:
    assert conditions(f"constraints = {text}")[0].constraints == constraints


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("vdw-modifier = Force-switch\nrvdw-switch = 1.0\n", 1.0),
        ("vdwtype = Cut-off\nvdw_modifier = force_switch\n", 0.0),
        ("vdw-type = Shift\nrvdw-switch = 0.9\n", 0.9),
        ("rvdw-switch = 1.0\n", None),
        ("vdwtype = PME\nvdw-modifier = Force-switch\nrvdw-switch = 1.0\n", None),
    ],
)
def test_switched_force(conditions, text: str, start: float | None) -> None:
    assert conditions(f"rvdw = 1.2\n{text}")[0].rvdw_switch == start


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("vdw-modifier = Potential-switch\nrvdw-switch = 1.0\n", 1.0),
        ("vdwtype = Switch\nrvdw-switch = 0.9\n", 0.9),
        ("vdw-modifier = Force-switch\nrvdw-switch = 1.0\n", None),
        ("vdwtype = PME\nvdw-modifier = Potential-switch\nrvdw-switch = 1.0\n", None),
    ],
)
def test_switched_potential(conditions, text: str, start: float | None) -> None:
    """It is not sampled, but known to the summary."""
    found = conditions(f"rvdw = 1.2\n{text}")[0]
    assert found.potential_switch == start


def test_what_is_treated_otherwise_is_said(conditions, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(NOTICE, "dbm_gmx"):  # what a command shows as it is
        conditions("coulombtype = PME\nvdw-modifier = Potential-switch\nconstraints = none\n")
        said = [record.getMessage().partition("run.mdp:")[2] for record in caplog.records]
        caplog.clear()
        quiet = (
            "coulombtype = Cut-off\nvdwtype = Cut-off\nvdw-modifier = Potential-shift\nconstraints = none\n"
        )
        conditions(quiet)
        assert caplog.records == []
    assert sorted(said) == [
        "1: coulombtype = PME: sampled as the zero-quadrupole form within rcoulomb",
        "2: vdw-modifier = Potential-switch: treated as a plain cut-off with the potential shifted to zero "
        "there",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ref-t = 300 310", r"run.mdp:2: ref-t: groups of different temperatures \(300, 310 K\)"),
        ("ref_t = warm", r"run.mdp:2: ref-t: expected a number, found 'warm'"),
        ("ref-t = 300 nan", r"run.mdp:2: ref-t: expected a number, found '300 nan'"),
        ("ref-t = 0", r"run.mdp:2: ref-t: expected a temperature above 0 K, found '0'"),
        ("rvdw = 1,0", r"run.mdp:2: rvdw: expected a number, found '1,0'"),
        ("rvdw = 1.0 1.2", r"run.mdp:2: rvdw: expected one number, found '1.0 1.2'"),
        ("rcoulomb = 0", r"run.mdp:2: rcoulomb: expected a number above 0"),
        ("rcoulomb = 1e-310", r"run.mdp:2: rcoulomb: expected 1e-06 to 1e\+06, found '1e-310'"),
        ("ref-t = 1e300", r"run.mdp:2: ref-t: expected 1e-06 to 1e\+06, found '1e300'"),
        ("epsilon-r = -1", r"run.mdp:2: epsilon-r: expected a number above 0"),
        ("coulombtype = RF\n", r"run.mdp:2: coulombtype: 'RF' is not supported; possible are Cut-off"),
        ("coulombtype = Reaction-Field\nepsilon-rf = -1", r"run.mdp:3: epsilon-rf: expected a number from 0"),
        (
            "vdw-modifier = Force-switch\nrvdw-switch = 1.0",
            r"run.mdp:3: rvdw-switch: expected a number from 0",
        ),
        ("constraints = some", r"run.mdp:2: constraints: 'some' is unknown; possible are none, h-bonds"),
        ("define = POSRES", r"run.mdp:2: define: expected -DNAME or -DNAME=value, found 'POSRES'"),
        ("rvdw 1.0", r"run.mdp:2: expected 'name = value', found 'rvdw 1.0'"),
        ("rvdw = 1\nR_V-dw = 1", r"run.mdp:3: rvdw: given before in line 2"),
        ("rvdw = 1_0", r"run.mdp:2: rvdw: expected a number, found '1_0'"),
        ("rvdw = \u0661", r"run.mdp:2: rvdw: expected a number, found"),
    ],
)
def test_what_is_refused(conditions, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        conditions(f"; run\n{text}\n")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.mdp: no such file"):
        read_mdp(tmp_path / "no.mdp")


# --- nothing decided otherwise than by GROMACS in silence --------------------------------------------


def said_of(conditions, text: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said at the usual level."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dbm_gmx"):
        conditions(text)
    return [record.getMessage().partition("run.mdp:")[2].strip() for record in caplog.records]


def test_bonds_that_are_fixed_without_being_asked_for_are_said(conditions, caplog) -> None:
    (said,) = said_of(conditions, "rvdw = 1\n", caplog)
    assert said.startswith(
        "says nothing of constraints: all bonds are taken as of fixed length, where GROMACS"
    )
    for value in ("none", "h-bonds", "all-bonds"):
        assert said_of(conditions, f"constraints = {value}\n", caplog) == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("free_energy = yes", "state A"),
        ("freezegrps = Wall", "no atom is frozen"),
        ("nwall = 2", "no walls"),
        ("pull = yes", "nothing is pulled"),
        ("electric-field-z = 0.5 0 0 0", "no field"),
        ("disre = simple", "no distance restraints"),
        ("colvars-active = yes", "no collective variables"),
        ("nnpot-active = true", "no potential of a network"),
        ("implicit_solvent = GBSA", "no implicit solvent"),
        ("energygrp_excl = Wall Wall", "no pairs of groups are excluded"),
        ("adress = yes", "all atoms count in full"),
        ("simulated-tempering = yes", "one temperature"),
        ("accelerate = 0.1 0 0", "nothing is accelerated"),
        ("cos_acceleration = 0.1", "nothing is accelerated"),
        ("pbc = xy", "periodic in all directions"),
        ("vdw-modifier = Potential-switch", "treated as a plain cut-off"),
        ("vdw_type = PME", "treated as a plain cut-off"),
    ],
)
def test_what_is_left_out_of_a_run_is_said(conditions, caplog, line: str, what: str) -> None:
    (said,) = said_of(conditions, f"constraints = none\n{line}\n", caplog)
    assert said.startswith(f"2: {line.replace('_', '-')}: ")
    assert what in said


def test_signs_in_a_name_make_no_difference(conditions, caplog) -> None:
    text = "reft = 320\ncoulomb-type = reaction-field\nepsilonrf = 61\nvdwtype = Shift\nrvdwswitch = 0.8\n"
    found, _ = conditions(f"constraints = none\n{text}r-vdw = 1.1\nuser_int1 = 3\nawh1-dim1-end = 3\n")
    assert (found.temperature, found.epsilon_rf, found.rvdw, found.rvdw_switch) == (320, 61, 1.1, 0.8)
    assert caplog.records == []


def test_names_that_gromacs_does_not_know_are_said(conditions, caplog) -> None:
    said = said_of(conditions, "constraints = none\ncoulomtype = PME\nso_and-so = 3\n", caplog)
    assert said == [
        "2: coulomtype = PME: GROMACS knows no coulomtype (is it coulombtype?), it is not taken",
        "3: so-and-so = 3: GROMACS knows no so-and-so, it is not taken",
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("mass-repartition-factor = 3", "deform-init-flow = yes"),  # GROMACS 2024
        *("verlet-buffer-pressure-tolerance = 0.5", "ensemble-temperature = 300", "colvars-active = no"),
    ],
)
def test_names_of_newer_versions_are_known(conditions, caplog, line: str) -> None:
    assert said_of(conditions, f"constraints = none\n{line}\n", caplog) == []


def test_what_is_switched_off_is_not_mentioned(conditions, caplog) -> None:
    off = (
        "free-energy = no",
        "nwall = 0",
        "pull = No",
        "pbc = XYZ",
        "disre = no",
        "freezegrps =",
        "morse = no",
    )
    lines = ("constraints = none", "periodic_molecules = no", "electric-field-x = 0 0 0 0", *off)
    assert said_of(conditions, "\n".join(lines), caplog) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("morse = yes", "2: morse = yes: bonds cannot be made Morse potentials"),
        ("constraints = h-angles", "2: constraints: 'h-angles' is not supported; possible are none, h-bonds"),
        ("constraints = All_Angles", "2: constraints: 'All_Angles' is not supported"),
        ("include = ff", "2: include: expected -IFOLDER, found 'ff'"),
        ("include = -I ff", "2: include: expected -IFOLDER, found '-I'"),
    ],
)
def test_another_hamiltonian_is_refused(conditions, line: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"run.mdp:{said}")):
        conditions(f"; run\n{line}\n")


def test_folders_of_includes(conditions) -> None:
    _, told = conditions("include = -Iff -I/else/where\n")
    assert told.include == (Path("ff"), Path("/else/where"))


ANNEALED = (
    "ref-t = 300 300\nannealing = {}\nannealing-npoints = {}\nannealing-time = 0 100\nannealing-temp = {}\n"
)


def test_without_a_thermostat_the_temperature_is_that_of_the_velocities(conditions) -> None:
    found, _ = conditions("tcoupl = no\ngen-vel = yes\ngen_temp = 330\n")
    assert (found.temperature, found.source) == (330, "run.mdp")
    assert conditions("gen-vel = yes\ngen_temp = 330\nref-t = 300\n")[0].temperature == 300
    assert conditions("gen-vel = no\ngen_temp = 330\n")[0].source == ASSUMED


def test_annealing_begins_with_its_first_temperature(conditions) -> None:
    assert conditions(ANNEALED.format("single single", "2 2", "450 300 450 300"))[0].temperature == 450
    assert conditions(ANNEALED.format("no no", "0 0", "450 300"))[0].temperature == 300
    assert (
        conditions("annealing = periodic\nannealing_npoints = 2\nannealing_temp = 350 300\n")[0].source
        == "run.mdp"
    )
    with pytest.raises(
        InputError, match=r":5: annealing-temp: groups of different temperatures \(450, 300 K\)"
    ):
        conditions(ANNEALED.format("single no", "2 0", "450 300"))
    assert conditions(ANNEALED.format("single no", "2 0", "300 400"))[0].temperature == 300
    for kinds, counts, temperatures in (
        ("single", "2", "450 300"),
        ("single single", "2", "450 300"),
        ("single single", "2 2", "450 300"),
        ("always no", "2 0", "1 2"),
    ):
        with pytest.raises(InputError, match="annealing"):
            conditions(ANNEALED.format(kinds, counts, temperatures))


def test_a_list_shorter_than_the_cutoff_is_refused_as_grompp_does(conditions) -> None:
    assert conditions("rlist = 0.9\nrvdw = 1.2\n")[0].rvdw == 1.2  # it is made longer
    assert conditions("rlist = 1.3\nrvdw = 1.2\nverlet-buffer-tolerance = -1\n")[0].rvdw == 1.2
    with pytest.raises(InputError, match=r":1: rlist = 0.9: is shorter than the cut-off of 1.2 nm"):
        conditions("rlist = 0.9\nrvdw = 1.2\nverlet-buffer-tolerance = -1\n")

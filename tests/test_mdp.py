"""What is taken from an ``.mdp``, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dbm_gmx.errors import InputError
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.options import ASSUMED, Conditions


@pytest.fixture
def conditions(tmp_path: Path):
    """Read a text; returns conditions and defines."""

    def read(text: str) -> tuple[Conditions, tuple[str, ...]]:
        (tmp_path / "run.mdp").write_text(text)
        return read_mdp(tmp_path / "run.mdp")

    return read


def test_all_that_is_read_however_it_is_written(conditions) -> None:
    found, defines = conditions(
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
    assert defines == ("POSRES", "K=1000")


def test_what_is_left_out_is_as_gromacs_takes_it(conditions) -> None:
    found, defines = conditions("nsteps = 10\nref-t =\n")
    assert found == Conditions(
        temperature=300.0,
        rvdw=1.0,
        rcoulomb=1.0,
        epsilon_r=1.0,
        epsilon_rf=1.0,  # a plain cut-off is the reaction field of the medium itself
        constraints="all-bonds",
        source=ASSUMED,
    )
    assert defines == ()


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
    [("none", "none"), ("all_bonds", "all-bonds"), ("all-angles", "all-bonds"), ("h-angles", "all-bonds")],
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


def test_what_is_treated_otherwise_is_said(conditions, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dbm_gmx"):
        conditions("coulombtype = PME\nvdw-modifier = Potential-switch\nconstraints = all-angles\n")
        said = [record.getMessage().partition("run.mdp:")[2] for record in caplog.records]
        caplog.clear()
        conditions("coulombtype = Cut-off\nvdwtype = Cut-off\nvdw-modifier = Potential-shift\n")
        assert caplog.records == []
    assert sorted(said) == [
        "1: coulombtype = PME: sampled as the zero-quadrupole form within rcoulomb",
        "2: vdw-modifier = Potential-switch: treated as a plain cut-off with the potential shifted to zero "
        "there",
        "3: constraints = all-angles: angles are not fixed",
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
        ("epsilon-r = -1", r"run.mdp:2: epsilon-r: expected a number above 0"),
        ("coulombtype = RF\n", r"run.mdp:2: coulombtype: 'RF' is not supported; possible are Cut-off"),
        ("coulombtype = Reaction-Field\nepsilon-rf = -1", r"run.mdp:3: epsilon-rf: expected a number from 0"),
        (
            "vdw-modifier = Force-switch\nrvdw-switch = 1.0",
            r"run.mdp:3: rvdw-switch: expected a number from 0",
        ),
        ("constraints = some", r"run.mdp:2: constraints: no 'some'; there are none, h-bonds"),
        ("define = POSRES", r"run.mdp:2: define: expected -DNAME or -DNAME=value, found 'POSRES'"),
        ("rvdw 1.0", r"run.mdp:2: expected 'name = value', found 'rvdw 1.0'"),
        ("rvdw = 1\nr-vdw = 1\nRVDW = 1", r"run.mdp:4: rvdw: given before in line 2"),
    ],
)
def test_what_is_refused(conditions, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        conditions(f"; run\n{text}\n")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.mdp: no such file"):
        read_mdp(tmp_path / "no.mdp")

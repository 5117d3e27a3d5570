"""Options that would do nothing beside the others are refused, in one line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle import example

from dbm_gmx.cli import build_parser, every_parser, main
from dbm_gmx.commands.idle import IDLE

BEADS = "-s cg.gro -cp cg.top -p topol.top -m mapping.xml"
RUN = "-s cg.tpr -p topol.top -m mapping.xml"
BACKMAP = f"backmap {BEADS} -o aa.gro"

CASES = [
    *(
        (f"{BACKMAP} {option}", f"{option.split()[0]} has no effect {why}")
        for option, why in (
            ("--jobs 2", "without --relax"),
            ("--maxwarn 1", "without --relax"),
            ("--no-restraints --workdir new", "without --relax"),
            ("--timeout 10", "without --relax"),
            ("--em-mdp em.mdp", "without --relax or --workdir"),
            ("--nvt-mdp nvt.mdp", "without --relax or --workdir"),
            ("--gmx gmx_mpi", "without --relax or --workdir"),
            ("--model sps", "without the network: --refine gibbs or --start network"),
            ("--channels channels.toml", "without the network"),
            ("--unguided", "without the network"),
            ("--annealing 10 --refine gibbs --start network", "without the force field"),
            ("--offers 2 --refine gibbs --start network", "without the force field"),
            ("--windows 10 --refine none --start growth", "without --refine exact"),
            ("--tolerance 0.1 --sweeps 8", "where convergence is not tested"),
            ("--tolerance 0.1 --refine gibbs", "where convergence is not tested"),
        )
    ),
    *(
        (f"check {BEADS} --converged aa.gro {option}", f"{option.split()[0]} has no effect with --converged")
        for option in (
            "--refine gibbs",
            "--start network",
            "--model sps",
            "--channels x.toml",
            "--tacticity atactic",
        )
    ),
    *(
        (f"check {BEADS} {option}", f"{option.split()[0]} has no effect without --converged")
        for option in ("--frames 3", "--tolerance 0.1", "--seed 2")
    ),
    (
        "relax -p topol.top -f aa.gro -m mapping.xml --mdp md.mdp --em-mdp em.mdp --nvt-mdp nvt.mdp -o x.gro",
        "--mdp has no effect where both --em-mdp and --nvt-mdp are given",
    ),
    *(
        (f"evaluate -p topol.top -f aa.gro {option}", f"{option.split()[0]} has no effect without beads")
        for option in ("--only OCT", "--leave-out OCT", "--alias A=OCT", "--index i.ndx")
    ),
    ("map -s aa.gro -p topol.top -m mapping.xml -o x.gro -t 350", "--temperature has no effect without"),
    (
        "map init -p topol.top -cp cg.top --smiles {[#A]}.{#A=C}",
        "--cg-topology has no effect without a structure",
    ),
    ("plan -s cg.tpr -D X", "--define has no effect without a .top (-p or -cp)"),
    ("map -s aa.tpr -m mapping.xml -o x.gro -I .", "--include has no effect without a .top (-p)"),
    ("view aa.gro -D X", "--define has no effect without a .top (-p)"),
    # those that know more of the files
    (f"check {RUN} -n i.ndx", "i.ndx: there is no trajectory (-f), and -n is for one with fewer beads"),
    (f"check {RUN} -f cg.xtc -n i.ndx", "i.ndx: cg.xtc holds all beads of cg.tpr, and -n is for one with"),
    (
        "check -s cg.tpr --owners owners.txt",
        "owners.txt: owners (--owners) are those of a mapping",
    ),
    # those that a command does not have
    (f"plan {BEADS} -f cg.xtc -r aa.gro", "unrecognized arguments: -r aa.gro"),
    (f"plan {BEADS} -f cg.xtc -b 10", "unrecognized arguments: -b 10"),
    (f"plan {BEADS} -f cg.xtc -dt 10", "there is no option -dt"),
    (f"plan {BEADS} --tacticity atactic", "unrecognized arguments: --tacticity"),
    (f"benchmark {BEADS} -r aa.gro", "unrecognized arguments: -r aa.gro"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of octane."""
    made = tmp_path_factory.mktemp("idle")
    for name in ("topol.top", "cg.top", "aa.gro", "cg.tpr", "mapping.xml", "owners.txt", "cg.xtc"):
        (made / name).write_bytes((example() / name).read_bytes())
    return made


@pytest.mark.parametrize(("line", "said"), CASES)
def test_what_would_do_nothing_is_refused(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    said: str,
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    try:
        code = main(line.split())
    except SystemExit as error:
        code = int(error.code or 0)
    err = capsys.readouterr().err
    assert (code, said in err, sorted(folder.iterdir()) == before) == (1, True, True), err


def test_every_option_of_the_list_is_one_of_its_commands() -> None:
    parsers = dict(every_parser(build_parser()))
    for idle in IDLE:
        for name in idle.commands:
            assert set(idle.keys) <= {action.dest for action in parsers[name]._actions}


def test_a_memory_alone_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    octane = example()
    (tmp_path / "train.toml").write_text(
        f'output = "out"\n[warm]\nsteps = 0\n[adversarial]\nsteps = 0\n[memory]\n[[system]]\n'
        f'topology = "{octane / "topol.top"}"\ntrajectory = "{octane / "aa.xtc"}"\n'
        f'mapping = "{octane / "mapping.xml"}"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert main(["train", "train.toml", "--max-time", "1"]) == 1
    assert "train.toml: no steps of training: --from and --max-time have no effect" in capsys.readouterr().err

"""Files in the place of others, habits of GROMACS, help with examples: a user is told what to type."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import MDAnalysis as mda
import pytest
from oracle import example

from dbm_gmx.cli import build_parser, every_parser, main
from dbm_gmx.commands.examples import EXAMPLES
from dbm_gmx.commands.habits import INSTEAD
from dbm_gmx.commands.version import NEEDED

COUNT = 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("topol.top", "cg.top"):
        (tmp_path / name).write_text((example() / name).read_text().replace("OCT  80", f"OCT  {COUNT}"))
    for name in ("mapping.xml", "owners.txt", "nvt.mdp", "cg.xtc"):
        (tmp_path / name).write_bytes((example() / name).read_bytes())
    mda.Universe(str(example() / "cg.tpr")).atoms[: 4 * COUNT].write(str(tmp_path / "cg.gro"))
    mda.Universe(str(example() / "aa.gro")).atoms[: 26 * COUNT].write(str(tmp_path / "aa.gro"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


BEADS = "-s cg.gro -cp cg.top"
ATOMS = "-p topol.top -m mapping.xml"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            f"backmap -s cg.xtc {ATOMS} -o x.gro",
            "is a trajectory, and -s takes a structure: -s cg.tpr -f cg.xtc",
        ),
        (f"backmap -s cg.gro {ATOMS} -o x.gro", "Give its topology as well: -s cg.gro -cp cg.top"),
        (f"check -s cg.top {ATOMS}", "is a topology: -cp cg.top"),
        (f"backmap {BEADS} -f cg.top {ATOMS} -o x.gro", "is a topology: -p cg.top"),
        (f"backmap {BEADS} -f nvt.mdp {ATOMS} -o x.gro", "holds run parameters: --mdp nvt.mdp"),
        (f"backmap {BEADS} -p mapping.xml -m topol.top -o x.gro", "is a mapping: -m mapping.xml"),
        (
            f"backmap {BEADS} -p cg.gro -m mapping.xml -o x.gro",
            "is a structure: -s cg.gro. -p takes .itp or .top",
        ),
        ("evaluate -p cg.gro -f aa.gro -o x", "is a structure. -p takes .itp or .top"),
        (f"map -s aa.gro {ATOMS} -f nvt.mdp -o x.gro", "holds run parameters. -f takes"),
        (
            f"backmap {BEADS} -p topol.top -m topol.top -o x.gro",
            "is a topology: -p topol.top. -m takes a mapping",
        ),
        (
            f"backmap {BEADS} -p cg.top -m mapping.xml -o x.gro",
            "is given for the beads (-cp) and for the atoms",
        ),
        (f"backmap {BEADS} -p other.top -m mapping.xml -o x.gro", "this is a topology of beads"),
        (
            f"backmap -s aa.gro -cp topol.top {ATOMS} -o x.gro",
            "this is a system of atoms, with hydrogens; -cp is",
        ),
        (
            f"backmap -s aa.gro -cp atoms.top -f cg.gro {ATOMS} -o x.gro",
            "this is a system of atoms, with hydrogens; -cp is",
        ),
        (
            f"backmap -s cg.gro -cp atoms.top {ATOMS} -o x.gro",
            "is a topology of atoms (-p), not of beads (-cp)",
        ),
        (f"backmap {BEADS} {ATOMS} -o new/x.gro", "there is no folder new (-o): mkdir -p new"),
        (f"map -s aa.gro -f topol.top {ATOMS} -o x.gro", "is a topology: -p topol.top. -f takes"),
        ("map -s cg.gro -p other.top -m mapping.xml -o x.gro", "map makes beads of atoms: give those"),
        (f"map init {BEADS} -p other.top -o x.gro", "this is a topology of beads"),
        (f"backmap {BEADS} -f aa.gro {ATOMS} -o x.gro", "these are the atoms, and -f is"),
        (f"backmap {BEADS} {ATOMS} --mdp topol.top -o x.gro", "--mdp takes .mdp of the atoms"),
        ("evaluate -p other.top -f aa.gro -o x.gro", "evaluate judges atoms: give their topology (-p)"),
        (
            "view cg.xtc -o x.gro",
            "a structure, .gro or .pdb, is needed: gmx trjconv -f cg.xtc",
        ),
        ("view aa.gro --cg cg.tpr", "is needed: gmx editconf -f cg.tpr"),
        ("view topol.top", "is a topology: -p topol.top"),
        ("view aa.gro --cg aa.gro", "is given for the atoms and for the beads (--cg)"),
        ("view aa.gro -p mapping.xml", "is a mapping. -p takes .itp or .top"),
        ("view aa.gro -p other.top", "-p is a topology of beads, and takes that of the atoms"),
        ("view aa.gro -o x.gro", "a page is written, with a name in .html or .htm"),
        (
            "train topol.top",
            'is named in a training file (.toml), which is given here: topology = "topol.top"',
        ),
        ("train cg.xtc", 'trajectory = "cg.xtc"'),
        ("train model.pt", "a model with --from model.pt"),
        ("train sps.npz", "is a memory. A training file (.toml) is given here"),
        ("join aa_part1.xtc.json -o x.xtc", "says how a part was made; give the part, aa_part1.xtc"),
    ],
)
def test_a_file_in_the_wrong_place(
    line: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other.top").write_text((folder / "cg.top").read_text())
    (folder / "atoms.top").write_text((folder / "topol.top").read_text())
    if "-cp topol.top -p topol.top" in line:
        line = line.replace("-cp topol.top", "-cp atoms.top")
    assert main(shlex.split(line)) == 1
    text = capsys.readouterr().err
    assert said in text
    assert text.count("\n") <= 5  # where the cause is known, its effects are not listed
    assert not (folder / "x.gro").exists()


@pytest.mark.parametrize("option", sorted(INSTEAD))
def test_options_of_gromacs_are_answered(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backmap", *shlex.split(BEADS), "-o", "x.gro", option, "mol"])
    assert ended.value.code == 1
    assert f"there is no option {option}: {INSTEAD[option]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "bakmap -s cg.tpr",
            "there is no command 'bakmap' (nearest: backmap); there are backmap, map, relax",
        ),
        ("xyz", "there is no command 'xyz'; there are backmap"),
        ("evaluate -p topol.top -f aa.xtc -s aa.gro", "the topology of the atoms is -p"),
        ("backmap", "usage: dbm-gmx backmap -s cg.tpr -f cg.xtc -p topol.top"),
        ("view aa.gro cg.gro", "unrecognized arguments: cg.gro: beads are given with --cg cg.gro"),
        ("train -f aa.xtc -p topol.top", "files are named in the training file"),
        ("train train.toml --model sps", "the model to begin with is --from"),
        ("join -f aa_part1.xtc -o aa.xtc", "the parts stand alone: dbm-gmx join"),
        ("models --model out.pt", "models stand alone: dbm-gmx models out/model.pt"),
        ("backmap -s cg.tpr -mdp run.mdp -o aa.gro", "there is no option -mdp: the option is --mdp"),
        (
            "backmap -s cg.tpr --output-file aa.gro",
            "unrecognized arguments: --output-file (nearest: --output)",
        ),
    ],
)
def test_a_slip_is_answered_in_few_lines(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    assert ended.value.code == 1
    text = capsys.readouterr().err
    assert said in text
    assert text.count("\n") == 3


@pytest.mark.parametrize("words", [["help"], ["help", "backmap"], ["help", "map", "init"]])
def test_help_can_be_asked_for_as_a_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {' '.join(['dbm-gmx', *words[1:]])} [-h]")


def test_help_is_in_sentences() -> None:
    """A capital letter, and a full stop."""
    for name, parser in [("", build_parser()), *every_parser(build_parser())]:
        for action in parser._actions:
            if action.help and action.option_strings and "--help" not in action.option_strings:
                assert re.match(r"[A-Z#]", action.help), (name, action.help)
                assert action.help.endswith("."), (name, action.help)


@pytest.mark.parametrize("words", [["-pcb", "mol"], ["-nosuch"], ["-save"]])
def test_a_single_dash_and_letters_are_one_option(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["backmap", *shlex.split(BEADS), "-o", "x.gro", *words])
    assert f"there is no option {words[0]}; see dbm-gmx backmap --help" in capsys.readouterr().err


def test_values_and_flags_may_still_stand_at_their_option() -> None:
    parser = build_parser()
    words = [
        "backmap",
        "-s",
        "cg.gro",
        "-cp",
        "cg.top",
        "-o",
        "x.gro",
        "-DPOSRES",
        "-Ifolder",
        "-vq",
        "-t350",
        "-j2",
    ]
    found = parser.parse_args(words)
    assert (found.defines, found.include, found.temperature) == (["POSRES"], [Path("folder")], 350.0)
    assert found.verbose
    assert found.quiet
    assert parser.parse_args(["map", "init", "-p", "topol.top", "-s", "cg.gro", "-cp", "cg.top"]).cg_topology


@pytest.mark.parametrize("name", sorted(dict(every_parser(build_parser()))))
def test_help_has_groups_and_two_examples_that_can_be_given(name: str) -> None:
    parser = dict(every_parser(build_parser()))[name]
    text = parser.format_help()
    assert len(EXAMPLES[name]) >= 2
    assert all(f"  {line}\n" in f"{text}\n" for line in EXAMPLES[name])
    (pages,) = re.findall("documentation is in (.*);", text)
    assert Path(pages, "glossary.md").is_file()
    for line in EXAMPLES[name]:
        words = shlex.split(line)
        if words[0] == "dbm-gmx":
            assert build_parser().parse_args(words[1:]).command
    if name in ("backmap", "relax", "evaluate", "check"):
        titles = [one.title for one in parser._action_groups if one._group_actions]
        assert len(titles) > 4
        loose = next(one for one in parser._action_groups if one.title == "options")
        assert len(loose._group_actions) < 14


def test_version_says_all_there_is_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert main(["--version", "-v"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in (*NEEDED, "threads", "gmx", "python"))


def test_completion_of_a_shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("shtab")
    assert main(["--completion", "bash"]) == 0
    said = capsys.readouterr().out
    assert "--tacticity" in said
    assert "dbm-gmx" in said
    found = {line.partition("=")[0].removeprefix("_shtab_dbm_gmx_"): line for line in said.splitlines()}
    assert "_shtab_compgen_files" in found["backmap__s_COMPGEN"]
    assert "_shtab_compgen_dirs" in found["backmap___workdir_COMPGEN"]
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--completion", "zsh"]) == 1
    assert "pip install 'dbm-gmx[completion]'" in capsys.readouterr().err

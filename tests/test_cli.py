"""The command line: what is refused and what is said then, and the commands that write nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import MDAnalysis
import mixed
import numpy as np
import pytest
from mixed import Mixture, Options, command, listing, run_words
from oracle import example
from systems import Example

import dbm_gmx.backmapping.rebuilder as job
import dbm_gmx.commands
from dbm_gmx import __version__
from dbm_gmx.backmapping.benchmark import repeat_frame, repeat_system
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.system import mapped_beads
from dbm_gmx.cli import build_parser
from dbm_gmx.commands.check import verdict
from dbm_gmx.files.trajectory import Writer, read_frames

N_ATOMS = mixed.ATOMS * sum(count for _, count in mixed.MOLECULES)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed.tiny_model(tmp_path_factory.mktemp("model") / "tiny.pt")


@pytest.fixture
def files(tmp_path: Path) -> Mixture:
    return mixed.mixture(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


# --- wrong input: nothing is written ---------------------------------------------------------------

Spoil = Callable[[Mixture, Options], int | None]
WRONG: list[object] = []


def wrong(*said: str) -> Callable[[Spoil], Spoil]:
    """Register a way to spoil the input and what must be said.

    ``{folder}`` is where the files are, ``{line}`` the number the function returns.
    """

    def register(spoil: Spoil) -> Spoil:
        WRONG.append(pytest.param(spoil, said, id=spoil.__name__))
        return spoil

    return register


def tpr_of(files: Mixture, options: Options, content: bytes) -> None:
    for key in ("-cp", "-p", "-m", "--owners", "-f"):
        del options[key]
    options["-s"] = files.folder / "cg.tpr"
    (files.folder / "cg.tpr").write_bytes(content)


@wrong("{folder}/cg.tpr: file is truncated or not a run input file: ", "bytes are missing at its end")
def truncated_tpr(files: Mixture, options: Options) -> None:
    tpr_of(files, options, (example() / "cg.tpr").read_bytes()[:-1000])


@wrong("{folder}/cg.tpr: file is truncated or not a run input file: ")
def tpr_cut_in_its_header(files: Mixture, options: Options) -> None:
    tpr_of(files, options, (example() / "cg.tpr").read_bytes()[:30])


@wrong("{folder}/cg.tpr: file is truncated or not a run input file: ")
def garbage_tpr(files: Mixture, options: Options) -> None:
    tpr_of(files, options, np.random.default_rng(0).bytes(5000))


@wrong("{folder}/no.tpr: no such file")
def no_tpr(files: Mixture, options: Options) -> None:
    options["-s"] = files.folder / "no.tpr"


@wrong("cg.gro: a structure does not say which beads are bonded. Give its topology as well")
def structure_alone(files: Mixture, options: Options) -> None:
    del options["-cp"]


@wrong("{folder}/cg.gro: 24 beads, but 28 in {folder}/cg.top")
def other_number_of_beads(files: Mixture, options: Options) -> None:
    files.edit("cg.top", "OCX 3", "OCX 4")


@wrong("topol.top:{line}: [ anglez ] is not supported; supported: ", ", angles, ", ", dihedrals, ")
def unsupported_directive(files: Mixture, options: Options) -> int:
    files.edit("topol.top", "[ angles ]", "[ anglez ]")
    return files.line_of("topol.top", "anglez")


@wrong("topol.top:1: included file 'nowhere.ff/a.itp' not found; looked in {folder}, ", "set GMXLIB")
def missing_include(files: Mixture, options: Options) -> None:
    top = files.folder / "topol.top"
    top.write_text('#include "nowhere.ff/a.itp"\n' + top.read_text())


@wrong("OCT.xml:{line}: bead A2: not (or more than once) in molecule type OCT: 1:OCT:C33 (nearest: 1:OCT:C3)")
def mapping_with_an_atom_that_is_not_there(files: Mixture, options: Options) -> int:
    files.edit("OCT.xml", "1:OCT:C3", "1:OCT:C33")
    return files.line_of("OCT.xml", "<name>A2") - 1  # its <cg_bead>


@wrong("owners.txt: atoms without a bead: 26")
def owners_leave_an_atom_out(files: Mixture, options: Options) -> None:
    files.edit("owners.txt", " 25 26", " 25")


@wrong("OCT.map: ", "2 (H11)")
def map_leaves_an_atom_out(files: Mixture, options: Options) -> None:
    rows = [f"{i} C {min(4, 1 + i // 7)} A" for i in range(1, 27) if i != 2]
    (files.folder / "OCT.map").write_text("\n".join(["[map]", *rows, "[/map]"]))
    options["-m"] = [files.folder / "OCT.map", files.folder / "OCX.xml"]
    del options["--owners"]


@wrong(
    "{folder}/topol.top: the beads do not fit the atomistic topology:\n",
    "  OCX: 3 molecules of beads, 5 of atoms\n",
    "  OCT: 4 beads in the CG topology, 3 in the mapping\n",
    "  OCX: 4 beads in the CG topology, 3 in the mapping\n",
)
def beads_and_counts_that_do_not_fit(files: Mixture, options: Options) -> None:
    for name in ("OCT", "OCX"):
        path = files.folder / f"{name}.xml"
        last = re.compile(r"<cg_bead>\s*<name>A4.*?</cg_bead>", re.DOTALL)
        path.write_text(last.sub("", path.read_text()))
    files.edit("topol.top", "OCX 3", "OCX 5")
    (files.folder / "owners.txt").unlink()  # it would be found beside the mapping
    del options["--owners"]


@wrong("different order of molecules: beads OCT 2, OCX 3, OCT 1; atoms OCT 3, OCX 3")
def another_order(files: Mixture, options: Options) -> None:
    files.edit("topol.top", "OCT 2\nOCX 3\nOCT 1", "OCT 3\nOCX 3")


@wrong("cg.xtc: frame 0 (t = 0 ps): there is no box (all zero), but there is one in")
def zero_box_in_the_trajectory(files: Mixture, options: Options) -> None:
    without = [replace(frame, box=np.zeros((3, 3))) for frame in files.frames]
    mixed.write_beads(files.folder / "cg.xtc", files.cg, without)


@wrong("cg.gro: frame 0 (t = 0 ps): the position of atom 7 is nan ", "(1 such atoms in all)")
def structure_with_nan(files: Mixture, options: Options) -> None:
    path = files.folder / "cg.gro"
    lines = path.read_text().splitlines()
    lines[8] = f"{lines[8][:20]}{'nan':>8}{lines[8][28:]}"
    path.write_text("\n".join(lines) + "\n")


@wrong("nan.trr: frame 0 (t = 0 ps): the position of atom 3 is 1 nan 1 (2 such atoms in all)")
def trajectory_with_nan(files: Mixture, options: Options) -> None:
    options["-f"] = with_nan(files.folder / "nan.trr", n_atoms=24)


@wrong("nan.xtc: frame 0 (t = 0 ps): the position of atom 3 is 1 nan 1 (2 such atoms in all)")
def small_xtc_with_nan(files: Mixture, options: Options) -> None:
    """Up to nine atoms are not compressed, so that an .xtc can hold what is no number."""
    mixed.mixture(files.folder, molecules=[("OCT", 1), ("OCX", 1)])
    options["-f"] = with_nan(files.folder / "nan.xtc", n_atoms=8)


def with_nan(path: Path, *, n_atoms: int) -> Path:
    universe = MDAnalysis.Universe.empty(n_atoms, trajectory=True)
    positions = np.full((n_atoms, 3), 10.0)
    positions[[2, 5], 1] = np.nan
    universe.atoms.positions, universe.dimensions = positions, [30, 30, 30, 90, 90, 90]
    universe.atoms.write(str(path))
    return path


@wrong("no.gro: frame 0 is damaged or cut off: its second line should be the number of atoms, found 'of'")
def structure_that_is_none(files: Mixture, options: Options) -> None:
    options["-s"] = files.folder / "no.gro"
    (files.folder / "no.gro").write_text("a letter\nof\nwords\n")


@wrong("topol.top: defines no molecule: no [ moleculetype ] in it; is it cut off?")
def empty_topology(files: Mixture, options: Options) -> None:
    (files.folder / "topol.top").write_text("; nothing yet\n")


@wrong("cg.xtc: frame 0 has 320 atoms, 24 are expected")
def trajectory_of_another_system(files: Mixture, options: Options) -> None:
    options["-f"] = example() / "cg.xtc"


@wrong("cg.xtc: is empty")
def empty_trajectory(files: Mixture, options: Options) -> None:
    (files.folder / "cg.xtc").write_bytes(b"")


@wrong("cg.xtc: is no .xtc file, or damaged in its first frame")
def garbage_trajectory(files: Mixture, options: Options) -> None:
    (files.folder / "cg.xtc").write_bytes(np.random.default_rng(0).bytes(5000))


@wrong("cg.xtc: has no frame from 100 ps; those read are at 0 to 20 ps")
def begin_after_the_end(files: Mixture, options: Options) -> None:
    options["-b"] = 100


@wrong("cg.xtc: has no frame from 12 ps to 18 ps; those read are at 0 to 20 ps")
def between_two_frames(files: Mixture, options: Options) -> None:
    options |= {"-b": 12, "-e": 18}


@wrong(
    "not in the library of molecules: ALPHA, BETA. Looked for folders with topol.top and mapping.xml",
    "share/molecules/ALPHA",
    "Set DBM_GMX_LIB",
    "dbm-gmx backmap ... -p topol.top -m mapping.xml",
)
def unknown_molecules(files: Mixture, options: Options) -> None:
    path = files.folder / "cg.top"
    path.write_text(path.read_text().replace("OCT", "ALPHA").replace("OCX", "BETA"))
    for key in ("-p", "-m", "--owners"):
        del options[key]


@wrong("OCT: no mapping (give one with -m; 'dbm-gmx map init' proposes one)")
def topology_without_mapping(files: Mixture, options: Options) -> None:
    del options["-m"], options["--owners"]


@wrong("a mapping without a topology (-p): give one, or neither to use the library of molecules")
def mapping_without_topology(files: Mixture, options: Options) -> None:
    del options["-p"]


@wrong("no model wizard: not a file, and the models that ship are ")
def unknown_model(files: Mixture, options: Options) -> None:
    options["--model"] = "wizard"


@wrong("times (-b, -e, -dt) select frames of a trajectory: give one (-f)")
def times_without_a_trajectory(files: Mixture, options: Options) -> None:
    del options["-f"]
    options["-b"] = 0


@wrong("first.pdb: the first frame (-c) is written as .gro only")
def first_frame_of_another_kind(files: Mixture, options: Options) -> None:
    options["-c"] = files.folder / "first.pdb"


@wrong("the same file for all frames (-o) and the first one (-c)")
def one_file_for_two_outputs(files: Mixture, options: Options) -> None:
    options["-o"] = options["-c"] = files.folder / "aa.gro"


@wrong("{folder}/topol.top: not a model file: ")
def model_that_is_none(files: Mixture, options: Options) -> None:
    options["--model"] = files.folder / "topol.top"


@wrong(
    "the model has no channel for atom class C3a, atom class H@C3a, bead type B; ",
    "it knows the atom classes C4, H@C4 and the bead types A",
)
def model_without_the_atom_classes(files: Mixture, options: Options) -> None:
    write_benzene(files.folder)
    options["-m"] = files.folder / "BEN.xml"
    del options["--owners"], options["-f"]


def write_benzene(folder: Path) -> None:
    """Write a molecule of benzene, three beads of two CH, over the files of the mixture."""
    head = "[ defaults ]\n1 3 yes 0.5 0.5\n[ atomtypes ]\n"
    tail = "[ system ]\nbenzene\n[ molecules ]\nBEN 1\n"
    moltype = "[ moleculetype ]\nBEN 3\n[ atoms ]\n"
    carbons = [f"{i} CA 1 BEN C{i} {i} -0.115 12.011\n" for i in range(1, 7)]
    hydrogens = [f"{i + 6} HA 1 BEN H{i} {i} 0.115 1.008\n" for i in range(1, 7)]
    ring = [f"{i} {i % 6 + 1} 1 0.14 392459.2\n{i} {i + 6} 1 0.108 307105.6\n" for i in range(1, 7)]
    types = "CA 6 12.011 0 A 0.355 0.29288\nHA 1 1.008 0 A 0.242 0.12552\n"
    atoms = "".join([head, types, moltype, *carbons, *hydrogens, "[ bonds ]\n", *ring, tail])
    (folder / "topol.top").write_text(atoms)
    beads = "".join(f"{i} B 1 BEN B{i} {i} 0 26.0\n" for i in (1, 2, 3))
    bonds = "[ bonds ]\n1 2 1 0.2 1000\n2 3 1 0.2 1000\n1 3 1 0.2 1000\n"
    (folder / "cg.top").write_text(f"{head}B 26.0 0 A 0.4 1\n{moltype}{beads}{bonds}{tail}")
    rows = [f"    1BEN     B{i}    {i}{0.2 * i:8.3f}   1.000   1.000\n" for i in (1, 2, 3)]
    (folder / "cg.gro").write_text("".join(["one\n3\n", *rows, "3 3 3\n"]))
    parts = [[f"1:BEN:{e}{k}" for k in (2 * i - 1, 2 * i) for e in "CH"] for i in (1, 2, 3)]
    cg_beads = "".join(
        f"<cg_bead><name>B{i}</name><type>B</type><mapping>B</mapping>"
        f"<beads>{' '.join(part)}</beads></cg_bead>"
        for i, part in enumerate(parts, 1)
    )
    (folder / "BEN.xml").write_text(
        f"<cg_molecule><name>BEN</name><ident>BEN</ident><topology><cg_beads>{cg_beads}</cg_beads></topology>"
        "<maps><map><name>B</name><weights>12 1 12 1</weights></map></maps></cg_molecule>"
    )


@wrong(
    "channels.toml: not the channels of model ",
    ": without atom:C4, ",
    " and with atom:all, bead:all, which it does not have; it has atom:C4, atom:H@C4, bonded:bond, ",
    ", bead:A, current:bead",
)
def channel_file_of_another_width(files: Mixture, options: Options) -> None:
    options["--channels"] = files.folder / "channels.toml"
    (files.folder / "channels.toml").write_text('[atoms]\nall = ["*"]\n[beads]\nall = ["*"]\n')


@wrong("{folder}/run.mdp:{line}: rvdw: expected a number, found '1,2'")
def unreadable_mdp(files: Mixture, options: Options) -> int:
    options["--mdp"] = files.folder / "run.mdp"
    (files.folder / "run.mdp").write_text("; mine\nrvdw = 1,2\n")
    return 2


@wrong("{folder}/no.mdp: no such file")
def no_mdp(files: Mixture, options: Options) -> None:
    options["--mdp"] = files.folder / "no.mdp"


@wrong("{folder}/topol.top:{line}: ")
def define_of_the_mdp_reaches_the_topology(files: Mixture, options: Options) -> int:
    options["--mdp"] = files.folder / "run.mdp"
    (files.folder / "run.mdp").write_text("define = -DSPOIL\n")
    files.edit("topol.top", "[ system ]", "#ifdef SPOIL\n[ nonsense ]\n#endif\n[ system ]")
    return files.line_of("topol.top", "nonsense")


@wrong("usage: dbm-gmx backmap", "--refine: invalid choice: 'best'")
def unknown_refinement(files: Mixture, options: Options) -> None:
    options["--refine"] = "best"


@wrong("usage: dbm-gmx backmap", "-t/--temperature: '-3' is not a temperature in K above 0")
def below_absolute_zero(files: Mixture, options: Options) -> None:
    options["-t"] = -3


@wrong("--cutoff: '1e-310' is not a length in nm from 1e-06 to 1e+06")
def a_cut_off_of_nothing(files: Mixture, options: Options) -> None:
    options["--cutoff"] = 1e-310


@wrong("sweeps need a refinement: gibbs or exact")
def sweeps_of_nothing(files: Mixture, options: Options) -> None:
    options |= {"--refine": "none", "--sweeps": 2}


@wrong("orientations are those of the network: refine with gibbs, or start from the network")
def orientations_without_the_network(files: Mixture, options: Options) -> None:
    del options["--model"]
    options |= {"--refine": "exact", "--orientations": 2}


@wrong("aa_1.gro: the same file for all frames (-o) and the first one (-c)")
def samples_that_would_be_one_file(files: Mixture, options: Options) -> None:
    options["-o"] = options["-c"] = files.folder / "aa.gro"
    options["--samples"] = 2


@wrong("aa.dcd: .dcd is no known trajectory, possible are .xtc, .trr, .gro, .pdb")
def unknown_suffix(files: Mixture, options: Options) -> None:
    options["-o"] = Path(str(options["-o"])).with_suffix(".dcd")


@wrong("{folder}/nowhere/aa.xtc: there is no folder {folder}/nowhere (-o): mkdir -p {folder}/nowhere")
def folder_that_is_not_there(files: Mixture, options: Options) -> None:
    options["-o"] = files.folder / "nowhere" / "aa.xtc"


@wrong("{folder}/cg.gro/aa.xtc: cannot be written: Not a directory")
def folder_that_is_a_file(files: Mixture, options: Options) -> None:
    options["-o"] = files.folder / "cg.gro" / "aa.xtc"


@wrong("{folder}/x.xtc: is a folder, the name of a file is needed")
def output_that_is_a_folder(files: Mixture, options: Options) -> None:
    options["-o"] = files.folder / "x.xtc"
    (files.folder / "x.xtc").mkdir()


@wrong("{folder}/nowhere/one.gro: there is no folder {folder}/nowhere (-c): mkdir -p")
def place_of_the_first_frame_that_is_not_there(files: Mixture, options: Options) -> None:
    options["-c"] = files.folder / "nowhere" / "one.gro"


@wrong("no device 'abacus'")
def unknown_device(files: Mixture, options: Options) -> None:
    options["--device"] = "abacus"


@wrong("one.gro: 24 atoms, needed are those of one OCT (26) or one OCX (26) or the whole system (156)")
def reference_of_something_else(files: Mixture, options: Options) -> None:
    options["-r"] = mixed.write_beads(files.folder / "one.gro", files.cg, files.frames[:1])


@wrong("usage: dbm-gmx backmap", "error: unrecognized arguments: --frobnicate; see dbm-gmx backmap --help")
def unknown_option(files: Mixture, options: Options) -> None:
    options["--frobnicate"] = None


@wrong("usage: dbm-gmx backmap", "--sweeps: '-1' is not a whole number from 0")
def too_few_sweeps(files: Mixture, options: Options) -> None:
    options["--sweeps"] = -1


@wrong("usage: dbm-gmx backmap", "-b/--begin: 'nan' is not a time in ps")
def time_that_is_none(files: Mixture, options: Options) -> None:
    options["-b"] = "nan"


@wrong("usage: dbm-gmx backmap", "-dt: '-5' is negative; frames are taken forward in time")
def backwards(files: Mixture, options: Options) -> None:
    options["-dt"] = -5


@wrong("usage: dbm-gmx backmap", "the following arguments are required: -o/--output")
def no_output(files: Mixture, options: Options) -> None:
    del options["-o"]


@pytest.mark.parametrize(("spoil", "said"), WRONG)
def test_wrong_input_is_refused_and_nothing_is_written(
    spoil: Spoil, said: tuple[str, ...], files: Mixture, model: Path, out: Path
) -> None:
    options: Options = {**files.options, "--model": model, "-o": out / "aa.xtc", "-c": out / "one.gro"}
    line = spoil(files, options)
    before = listing(files.folder)
    result = command("backmap", options)
    assert result.code == 1
    for text in said:
        assert text.format(folder=files.folder, line=line) in result.err
    assert "dbm-gmx: error: " in result.err or result.err.startswith("usage: ")
    assert "Traceback" not in result.err
    assert result.out == ""
    assert listing(out) == []
    assert listing(files.folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(files: Mixture, model: Path, out: Path) -> None:
    out.chmod(0o555)
    result = command("backmap", {**files.options, "--model": model, "-o": out / "aa.xtc", "--allow": "all"})
    out.chmod(0o755)
    assert (result.code, listing(out)) == (1, [])
    assert "aa.xtc: cannot be written: Permission denied" in result.err


def test_wrong_input_is_refused_by_the_other_commands(files: Mixture, model: Path) -> None:
    files.edit("owners.txt", " 25 26", " 25")
    for name, more in (("check", {"--model": model}), ("plan", {}), ("benchmark", {"--model": model})):
        result = command(name, {**files.inputs, **more})
        assert (result.code, result.out) == (1, "")
        assert "owners.txt: atoms without a bead: 26" in result.err


# --- input damaged further on, interrupts: finished frames are kept --------------------------------


def positions(path: Path) -> list[np.ndarray]:
    return [frame.positions for frame in read_frames(path, n_atoms=N_ATOMS)]


@pytest.fixture
def whole(files: Mixture, model: Path, tmp_path: Path) -> list[np.ndarray]:
    """Atoms of the undamaged trajectory."""
    assert (
        command(
            "backmap", {**files.options, "--model": model, "-o": tmp_path / "whole.trr", "--allow": "all"}
        ).code
        == 0
    )
    return positions(tmp_path / "whole.trr")


def cut(files: Mixture) -> str:
    path = files.folder / "cg.xtc"
    path.write_bytes(path.read_bytes()[:-10])
    return "cg.xtc: is cut off or damaged in frame 2; last good frame at 10 ps"


def lost_box(files: Mixture) -> str:
    last = replace(files.frames[2], box=np.zeros((3, 3)))
    mixed.write_beads(files.folder / "cg.xtc", files.cg, [*files.frames[:2], last])
    return "cg.xtc: frame 2 (t = 20 ps): there is no box (all zero)"


@pytest.mark.parametrize("in_hand", [1, N_ATOMS * 100])
@pytest.mark.parametrize("damage", [cut, lost_box])
def test_frames_before_the_damage_are_kept(
    damage: Callable[[Mixture], str],
    in_hand: int,
    *,
    files: Mixture,
    model: Path,
    out: Path,
    whole: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job, "IN_HAND", in_hand)
    said = damage(files)
    options = {**files.options, "--model": model, "-o": out / "aa.trr", "-c": out / "one.gro"}
    result = command("backmap", options)
    assert result.code == 1
    assert said in result.err
    assert "Traceback" not in result.err
    assert listing(out) == ["aa.part.jsonl", "aa.part.trr", "one.part.gro"]
    assert f"dbm-gmx: {out}/aa.part.trr: 2 frames kept; the same command goes on\n" in result.err
    found = positions(out / "aa.part.trr")
    assert len(found) == 2
    np.testing.assert_allclose(found, whole[:2], atol=1e-4)
    assert len(positions(out / "one.part.gro")) == 1


def test_sigterm_keeps_the_finished_frames(
    files: Mixture, model: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch system ends a job so; here while the third frame is worked on."""
    write = Writer.write

    def ended(writer: Writer, frame: object) -> None:
        if writer.frames == 2:
            signal.raise_signal(signal.SIGTERM)
        write(writer, frame)

    monkeypatch.setattr(Writer, "write", ended)
    result = command("backmap", {**files.options, "--model": model, "-o": out / "aa.xtc", "--allow": "all"})
    assert (result.code, result.out) == (1, "")
    kept = f"dbm-gmx: {out}/aa.part.xtc: 2 frames kept; the same command goes on\n"
    assert result.err == f"{kept}dbm-gmx: interrupted (SIGTERM)\n"
    assert listing(out) == ["aa.part.jsonl", "aa.part.xtc"]
    assert len(positions(out / "aa.part.xtc")) == 2


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    listens = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell starts with & does not
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=pipe, stderr=pipe, text=True, env=environment, preexec_fn=listens
    )


# --- help ------------------------------------------------------------------------------------------


COMMANDS = (
    "backmap",
    "map",
    "relax",
    "join",
    "evaluate",
    "view",
    "train",
    "models",
    "check",
    "plan",
    "benchmark",
)


SHARED = {"arguments", "paths", "examples", "habits", "idle", "mistaken", "version"}


def test_every_command_is_a_file_that_holds_its_options() -> None:
    folder = Path(dbm_gmx.commands.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", *SHARED}
    listed = re.findall(r"^    (\w+)(?:$| +\w)", command("--help").out, re.MULTILINE)
    assert tuple(listed) == COMMANDS
    assert files == set(COMMANDS)


def test_version_and_help_in_process() -> None:
    version = command("--version")
    assert (version.code, version.out) == (0, f"dbm-gmx {__version__}\n")
    general = command("--help")
    assert general.code == 0
    assert all(name in general.out for name in ("backmap", "check", "plan", "benchmark"))
    backmap = command("backmap", {"--help": None})
    said = (
        "--structure",
        "--sweeps SWEEPS",
        "{none,gibbs,exact}",
        "{growth,network}",
        "Default: exact.",
        "Default: transferred.",
    )
    assert all(option in backmap.out for option in said)


def test_no_or_another_command() -> None:
    bare = run_words()
    assert (bare.code, bare.out, bare.err) == (0, command("--help").out, "")
    result = command("backmapp")
    assert result.code == 1
    assert "there is no command 'backmapp' (nearest: backmap)" in result.err


def test_an_option_that_is_given_again_adds_up_or_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """As in GROMACS; the first one was dropped without a word."""
    parser = build_parser()
    some = ["evaluate", "-p", "topol.top", "-f", "a.xtc", "b.xtc", "-f", "c.xtc"]
    found = parser.parse_args([*some, "--allow", "beads", "--allow", "stereo", "bonds"])
    assert [path.name for path in found.trajectories] == ["a.xtc", "b.xtc", "c.xtc"]
    assert found.allow == ["beads", "stereo", "bonds"]
    assert parser.parse_args(some).allow == []
    for words, said in (
        (["-p", "other.top"], "-p is given twice"),
        (["--seed", "2"] * 2, "--seed is given twice"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args([*some, *words])
        assert said in capsys.readouterr().err


LARGE = (
    "import atexit, sys\n"
    "large = {'torch', 'numba', 'numpy', 'scipy', 'networkx', 'MDAnalysis', 'parmed', 'tqdm'}\n"
    "atexit.register(lambda: print(sorted(large & set(sys.modules))))\n"
)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS)])
def test_help_comes_at_once(arguments: list[str]) -> None:
    """Nothing large is imported."""
    script = LARGE + "from dbm_gmx.cli import main\nmain()"
    out, err = start(["-c", script, *arguments]).communicate(timeout=300)
    *text, found = out.splitlines()
    assert err == ""
    assert text[0].startswith(("usage: dbm-gmx", "dbm-gmx "))
    assert found == "[]"


@pytest.mark.parametrize(
    "arguments", [["backmapp"], ["backmap"], ["map", "-dt", "-1"], ["relax", "--jobs", "0"], ["check", "--x"]]
)
def test_wrong_options_are_refused_at_once(arguments: list[str]) -> None:
    script = LARGE + "from dbm_gmx.cli import main\nmain()"
    process = start(["-c", script, *arguments])
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "dbm-gmx: error: " in err
    assert out.strip().endswith("[]")


def test_threads_of_jobs_without_the_network_load_no_tensors() -> None:
    out, err = start(["-c", LARGE + "import dbm_gmx.parallel"]).communicate(timeout=300)
    assert err == ""
    assert out.strip().endswith("[]")


def test_a_reconstruction_without_the_network_loads_no_tensors() -> None:
    """Threads that are chosen before are those of the network, should it be loaded later."""
    script = (
        "import sys; import dbm_gmx.backmapping.backmap; from dbm_gmx import parallel\n"
        "usual = parallel.thread_count(); parallel.set_threads(3)\n"
        "print(usual, parallel.thread_count(), 'torch' in sys.modules)\n"
        "import torch; parallel.pass_on_threads(); print(torch.get_num_threads(), parallel.thread_count())\n"
        "parallel.set_threads(2); print(torch.get_num_threads(), parallel.thread_count())\n"
    )
    out, err = start(["-c", script]).communicate(timeout=300)
    assert err == ""
    assert out.splitlines() == ["1 3 False", "3 3", "2 2"]


def test_as_a_module() -> None:
    process = start(["-m", "dbm_gmx", "--version"])
    assert process.communicate(timeout=300) == (f"dbm-gmx {__version__}\n", "")
    assert process.returncode == 0


# --- check, plan, benchmark ------------------------------------------------------------------------


SYSTEM = [
    "system: 24 beads, 156 atoms",
    "molecule OCT: 3 times, 26 atoms (4 without weight in the mapping), 0 stereocentres",
    "  beads A1:A A2:A A3:A A4:A",
    "molecule OCX: 3 times, 26 atoms (4 without weight in the mapping), 0 stereocentres",
    "  beads A1:A A2:A A3:A A4:A",
]
FRAMES = "trajectory: 3 frames, 0 to 20 ps, all with a box and finite"


def test_check(files: Mixture, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixed.fake_sampler(monkeypatch)
    result = command("check", {**files.inputs, "--model": model, "-t": 313, "--cutoff": 1.2})
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        *SYSTEM,
        "force field: can be sampled; 313 K (-t), cut-offs 1.2 and 1.2 nm, constraints all-bonds",
        f"model {model} knows all atom classes (C4, H@C4) and bead types",
        "  nothing in its file says how good it is",
        FRAMES,
        "verdict: ready for backmap",
    ]
    assert verdict(["system", "warning: a", "warning: b"]).endswith("but read the 2 warnings")
    assert made[0].conditions.rvdw == 1.2


def test_check_says_nothing_of_a_model_that_is_not_used(
    files: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.fake_sampler(monkeypatch)
    exact = command("check", {**files.inputs, "-t": 313})
    network = command("check", {**files.inputs, "-t": 313, "--refine": "gibbs"})
    assert exact.code == 0
    assert "model" not in exact.out + exact.err
    assert "model" in network.out + network.err


def test_check_says_what_electrostatics_are_worth_in_a_reference(
    files: Mixture, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the whole system, where PME is wanted."""
    mixed.fake_sampler(monkeypatch)
    options = {**files.inputs, "--model": model, "-t": 313, "--cutoff": 0.8}
    made = {"-o": tmp_path / "aa.gro", "-e": 0, "--refine": "gibbs", "--sweeps": 0, "--start": "network"}
    assert command("backmap", {**options, **made, "--allow": "all"}).code == 0
    run = tmp_path / "run.mdp"
    found = {}
    for kind in ("PME", "Reaction-Field"):
        run.write_text(f"coulombtype = {kind}\n")
        lines = command("check", {**options, "-r": tmp_path / "aa.gro", "--mdp": run}).out.splitlines()
        found[kind] = [line for line in lines if line.startswith("electrostatics:")]
    assert len(found["PME"]) == 1
    assert found["PME"][0].startswith("electrostatics: zero-quadrupole form within 0.8 nm for PME: ")
    assert found["PME"][0].endswith(", in aa.gro")
    assert found["Reaction-Field"] == []


def test_check_does_not_mind_what_is_not_needed(
    files: Mixture, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.fake_sampler(monkeypatch, refused="no way")
    options = {**files.inputs, "-t": 300}
    network = command("check", {**options, "--model": model, "--refine": "gibbs"})
    assert network.code == 0
    assert "force field: no way (not needed here)" in network.out.splitlines()
    exact = command("check", {**options, "--model": model})
    assert (exact.code, exact.out) == (1, "")
    assert exact.err == "dbm-gmx: error: no way\n"
    mixed.fake_sampler(monkeypatch)
    nameless = command("check", {**options, "--model": "wizard"})
    assert nameless.code == 0
    assert "model wizard: no model wizard: " in nameless.out
    assert command("check", {**options, "--model": "wizard", "--start": "network"}).code == 1


def test_check_reads_every_frame(files: Mixture, model: Path) -> None:
    said = lost_box(files)
    result = command("check", {**files.inputs, "--model": model, "--refine": "gibbs"})
    assert (result.code, result.out) == (1, "")
    assert said in result.err


def test_plan() -> None:
    result = command("plan", {"-s": example() / "cg.tpr"})
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "OCT: 4 beads, 8 heavy atoms in 4 stages, then 18 hydrogens in 3"
    placed = [int(number) for number in re.findall(r"\b(\d+):[CH]\d", result.out)]
    assert sorted(placed) == list(range(1, 27))


NO_GMX = "GROMACS is not found: no no-gmx on the PATH; name it with --gmx PATH"


def test_benchmark(files: Mixture, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixed.fake_sampler(monkeypatch)
    options = {**files.inputs, "--model": model, "-t": 313, "--sweeps": 7, "--frames": 2, "--box": 2}
    result = command("benchmark", {**options, "--gmx": "no-gmx"})
    assert (result.code, result.err) == (0, "")
    head, *rows = result.out.splitlines()
    assert rows.pop() == f"{'MD steps':<22} not compared with GROMACS: {NO_GMX}"
    table = [rows.pop() for _ in range(4)][::-1]
    assert [line[:22].strip() for line in table] == [
        *("CPU s per 1,000 atoms", "exact, 1 frame", "exact, 2 frames", "exact, box x 8")
    ]
    assert "MFLOP per atom" in head
    expected = {"1 frame": 156, "2 frames": 312, "box x 8": 8 * 156}
    names = [(f"{method}, {what}", n) for method in ("network", "exact") for what, n in expected.items()]
    for row, (name, atoms) in zip(rows, names, strict=True):
        assert row.startswith(f"{name} ")
        number, _, seconds, _, rate = row.removeprefix(name).split()[:5]
        assert int(number) == atoms
        assert float(rate) * atoms / 1e6 == pytest.approx(float(seconds), abs=0.006)
    assert {(m.conditions.temperature, m.settings.sweeps) for m in made} == {(313.0, 7)}


def test_molecules_of_a_repeated_box_are_whole(octane: Example) -> None:
    """However they were broken over the walls of the small one."""
    system, box = octane.system, octane.box
    beads = mapped_beads(system, octane.atoms)
    broken = beads - np.floor(beads @ np.linalg.inv(box)) @ box
    large = repeat_frame(system, Frame(broken.astype(np.float32), box), 2)
    (match,) = repeat_system(system, 8).matches
    molecules = match.beads(large.positions)
    assert large.box == pytest.approx(2 * box)
    first, second = molecules[:, :-1], molecules[:, 1:]
    lengths = np.linalg.norm(second - first, axis=-1)
    assert lengths.max() < 0.6 < np.linalg.norm(box, axis=1).min() / 2
    # and the same as in the small one, in all eight places
    small = np.sort(lengths.reshape(8, -1), axis=1)
    assert small == pytest.approx(np.tile(small[0], (8, 1)), abs=1e-5)


def test_benchmark_leaves_out_what_cannot_be_done(
    files: Mixture, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed.fake_sampler(monkeypatch, refused="no way")
    options = {**files.inputs, "--model": model, "-t": 313, "--frames": 1, "--box": 1}
    _, network, exact = command("benchmark", options).out.splitlines()
    assert network.startswith("network, 1 frame ")
    assert exact == "exact: no way"


def test_benchmark_uses_the_channel_file(files: Mixture, model: Path) -> None:
    channel_file_of_another_width(files, options := dict(files.inputs))
    result = command("benchmark", {**options, "--model": model})
    assert result.code == 1
    assert "channels.toml: not the channels of model " in result.err

"""A folder from which GROMACS goes on, and topologies that need nothing outside of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import mixed
import numpy as np
import pytest
from fake import fake_gmx
from mixed import Mixture, command, listing

from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.includes import copy_topology
from dbm_gmx.files.library import load_library
from dbm_gmx.files.preprocess import active_lines
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.system import mappings_of
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.top_writer import Part, add_sites, flat_topology, topology_text
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.gromacs.workdir import write_workdir
from dbm_gmx.options import RelaxSettings

FILES = ["conf.gro", "em.mdp", "index.ndx", "npt.mdp", "nvt.mdp", "run.sh", "topol.top"]


@pytest.fixture
def files(tmp_path: Path) -> Mixture:
    files = mixed.mixture(tmp_path / "in", n=1)
    mixed.write_atoms(files)
    return files


def same_system(one: Topology, other: Topology) -> None:
    """Molecules, atoms, terms and parameters are equal."""
    assert one.molecules == other.molecules
    for name, moltype in one.molecule_types.items():
        twin = other.molecule_types[name]
        assert (moltype.graph.nodes(data=True), moltype.nrexcl) == (twin.graph.nodes(data=True), twin.nrexcl)
        assert len(moltype.terms) == len(twin.terms) > 3
        for a, b in zip(moltype.terms, twin.terms, strict=True):
            assert (a.directive, a.function) == (b.directive, b.function)
            np.testing.assert_array_equal(a.atoms, b.atoms)
            np.testing.assert_array_equal(a.parameters, b.parameters)
    assert one.nonbonded is not None
    assert other.nonbonded is not None
    np.testing.assert_array_equal(one.nonbonded.c6, other.nonbonded.c6)


def shorter(folder: Path) -> None:
    """Take fewer steps."""
    for name in ("em", "nvt", "npt"):
        path = folder / f"{name}.mdp"
        path.write_text(re.sub(r"^nsteps *= .*$", "nsteps = 20", path.read_text(), flags=re.MULTILINE))


def run(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": f"{Path(shutil.which('gmx') or 'gmx').parent}:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(script)], cwd="/", env=path | environment, capture_output=True, text=True, check=False
    )


def test_the_folder_of_a_backmapping_runs(gmx: str, files: Mixture, tmp_path: Path) -> None:
    """Moved elsewhere, with the conditions of the topology still there, in three lines of shell."""
    folder, top = tmp_path / "run", files.folder / "topol.top"
    head, moltypes = top.read_text().split("[ moleculetype ]", 1)
    (files.folder / "ff").mkdir()
    (files.folder / "ff" / "types.itp").write_text(head)
    top.write_text(
        f'#include "ff/types.itp"\n#ifdef POSRES\n#include "posre.itp"\n#endif\n[ moleculetype ]{moltypes}'
    )
    (files.folder / "md.mdp").write_text(
        "coulombtype = Reaction-Field\nrvdw = 0.9\nrcoulomb = 0.9\nref-t = 320\n"
    )
    options = {**files.inputs, "--mdp": files.folder / "md.mdp", "--sweeps": 1, "--threads": 1}
    result = command("backmap", {**options, "-o": tmp_path / "aa.xtc", "--workdir": folder, "-q": None})
    assert (result.code, result.err) == (0, "")
    shutil.rmtree(files.folder)
    folder = folder.rename(tmp_path / "moved")
    assert listing(folder) == sorted([*FILES, "include"])
    assert len((folder / "run.sh").read_text().splitlines()) == 3
    assert "#ifdef POSRES" in (folder / "topol.top").read_text()
    first = next(read_frames(tmp_path / "aa.xtc", n_atoms=156))
    assert np.abs(read_structure(folder / "conf.gro").positions - first.positions).max() < 1e-6
    for name in ("nvt", "npt"):
        values = dict(re.findall(r"^([\w-]+) *= *(.*)$", (folder / f"{name}.mdp").read_text(), re.MULTILINE))
        assert (values["ref-t"], values["rvdw"]) == ("320", "0.9")
    shorter(folder)
    done = run(folder / "run.sh")
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"em.gro", "nvt.gro", "npt.gro", "npt.xtc"} <= set(listing(folder))
    assert "Group     0 (         System) has   156 elements" in groups(folder / "index.ndx")


def test_tables_of_bonds_are_there_and_read(files: Mixture, tmp_path: Path) -> None:
    mixed.with_table(files)
    options = {**files.inputs, "-t": 320, "--sweeps": 1, "--threads": 1, "--workdir": tmp_path / "run"}
    result = command("backmap", {**options, "-o": tmp_path / "aa.xtc"})
    assert result.code == 0, result.err
    copied = (tmp_path / "run" / "table_b0.xvg").read_text()
    assert copied == (files.folder / "table_b0.xvg").read_text()
    assert "mdrun -deffnm $run -tableb table_b0.xvg;" in (tmp_path / "run" / "run.sh").read_text()


def groups(path: Path) -> str:
    """What an index file holds, as gmx lists it."""
    text = path.read_text()
    found = []
    for number, part in enumerate(text.split("[ ")[1:]):
        name, numbers = part.split(" ]")
        rows = [int(i) for i in numbers.split()]
        assert rows == sorted(set(rows))
        found.append(f"Group {number:5d} ({name:>15}) has {len(rows):5d} elements")
    return "\n".join(found)


def test_an_index_of_molecule_types_and_other_names_of_gmx(files: Mixture, tmp_path: Path) -> None:
    topology = mixed.atoms_topology(files)
    frame = next(read_frames(files.folder / "aa.trr", n_atoms=156))
    folder = tmp_path / "run"
    program = fake_gmx(tmp_path / "bin" / "gmx_mpi", mpi="MPI")
    settings = RelaxSettings(temperature=300, gmx=str(program))
    write_workdir(folder, frame, topology, settings=settings, defines=("STIFF", "K=3"))
    assert groups(folder / "index.ndx").splitlines() == [
        "Group     0 (         System) has   156 elements",
        "Group     1 (            OCT) has    78 elements",
        "Group     2 (            OCX) has    78 elements",
    ]
    octane = (folder / "index.ndx").read_text().split("[ OCT ]")[1].split("[")[0].split()
    assert octane[51:53] == ["52", "131"]
    assert all(re.search(r"^define +=  *-DSTIFF -DK=3$", text, re.M) for text in mdps(folder))
    write_workdir(folder, frame, topology, settings=settings)
    assert "#conf.gro.1#" in listing(folder)
    assert f"own={program}; gmx=${{GMX:-$own}}" in (folder / "run.sh").read_text()
    assert run(folder / "run.sh", GMX="false").returncode == 1


def mdps(folder: Path) -> list[str]:
    return [(folder / f"{name}.mdp").read_text() for name in ("em", "nvt", "npt")]


def test_a_system_from_the_library_and_its_folder(gmx: str, files: Mixture, tmp_path: Path) -> None:
    """Two entries of the library become one topology, which says the same as they do."""
    library = tmp_path / "library"
    for name in ("OCT", "OCX"):
        (library / name).mkdir(parents=True)
        for file in ("topol.top", "mapping.xml"):
            (library / name / file).write_text(mixed.entry(name, file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBM_GMX_LIB", str(library))
        topology, _ = load_library(files.cg)
        frame = next(read_frames(files.folder / "aa.trr", n_atoms=156))
        write_workdir(tmp_path / "run", frame, topology, settings=RelaxSettings(temperature=300))
    assert listing(tmp_path / "run") == FILES
    same_system(read_topology(tmp_path / "run" / "topol.top"), topology)
    shorter(tmp_path / "run")
    done = run(tmp_path / "run" / "run.sh")
    assert done.returncode == 0, done.stderr[-2000:]


def test_includes_are_copied_wherever_they_lie(tmp_path: Path) -> None:
    """Beside, below and above the topology, in another folder, twice, of one name, in no file at all."""
    there, other, folder = tmp_path / "a" / "b", tmp_path / "other", tmp_path / "copy"
    texts = {
        there / "topol.top": '#include "x.itp"\n  #include  <sub/x.itp> ; mine\n#include "../up.itp"\n'
        '#include "far.itp"\n#ifdef NO\n#include "missing.itp"\n#endif\n',
        there / "x.itp": "; x\n",
        there / "sub" / "x.itp": '#include "y.itp"\n#include "x.itp"\n#include "far.itp"\n',
        there / "sub" / "y.itp": "; y\n",
        tmp_path / "a" / "up.itp": '#include "x.itp"\n',
        tmp_path / "a" / "x.itp": "; the upper x\n",
        other / "far.itp": "; far\n",
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    copies = copy_topology(there / "topol.top", folder, include=[other])
    assert copies[0] == folder / "topol.top"
    names = ("far.itp", "sub/x.itp", "sub/y.itp", "up.itp", "x.itp", "x_2.itp")
    assert sorted(p.relative_to(folder).as_posix() for p in copies) == [
        *(f"include/{name}" for name in names),
        "topol.top",
    ]
    assert (folder / "topol.top").read_text() == (
        '#include "include/x.itp"\n  #include  "include/sub/x.itp" ; mine\n#include "include/up.itp"\n'
        '#include "include/far.itp"\n#ifdef NO\n#include "missing.itp"\n#endif\n'
    )
    copied = folder / "include"
    assert (copied / "sub" / "x.itp").read_text() == (
        '#include "y.itp"\n#include "x.itp"\n#include "../far.itp"\n'
    )
    assert (copied / "up.itp").read_text() == '#include "x_2.itp"\n'
    assert (copied / "x_2.itp").read_text() == "; the upper x\n"


def test_copies_are_the_same_byte_by_byte(tmp_path: Path) -> None:
    """Whatever the encoding, of names too; only the names of included files change."""
    latin, utf = (
        "; by J. Müller, 1 Å\r\n".encode("latin-1"),
        "; by J. Müller, 1 Å #include <x.itp>\n".encode(),
    )
    (tmp_path / "ff").mkdir()
    (tmp_path / "ff" / "mü.itp").write_bytes(latin + utf + b"; no line end")
    (tmp_path / "x.itp").write_text("; x\n")
    (tmp_path / "topol.top").write_bytes(latin + '#include "ff/mü.itp"\n'.encode())
    copies = copy_topology(tmp_path / "topol.top", tmp_path / "run")
    assert [p.name for p in copies] == ["topol.top", "mü.itp"]
    assert copies[0].read_bytes() == latin + '#include "include/ff/mü.itp"\n'.encode()
    assert copies[1].read_bytes() == latin + utf + b"; no line end"


def test_included_files_take_no_name_of_ours(gmx: str, files: Mixture, tmp_path: Path) -> None:
    """Nor one of GROMACS: ``em.gro`` is what its first run writes."""
    head, moltypes = (files.folder / "topol.top").read_text().split("[ moleculetype ]", 1)
    (files.folder / "conf.gro").write_text(head)
    ours = ("topol.top", "em.mdp", "run.sh", "index.ndx", "em.gro", "nvt.tpr")
    for name in ours:
        (files.folder / "more").mkdir(exist_ok=True)
        (files.folder / "more" / name).write_text("; nothing\n")
    included = "".join(f'#include "{name}"\n' for name in ours[1:])
    (files.folder / "system.top").write_text(
        f'#include "conf.gro"\n{included}#include "more/topol.top"\n[ moleculetype ]{moltypes}'
    )
    topology = read_topology(files.folder / "system.top", include=[files.folder / "more"])
    frame = next(read_frames(files.folder / "aa.trr", n_atoms=156))
    folder = tmp_path / "run"
    settings = RelaxSettings(temperature=300)
    write_workdir(folder, frame, topology, settings=settings, include=(files.folder / "more",))
    assert listing(folder) == sorted([*FILES, "include"])
    assert sorted(p.name for p in (folder / "include").iterdir()) == sorted(["conf.gro", "more", *ours[1:]])
    assert len(read_structure(folder / "conf.gro").positions) == 156
    shorter(folder)
    done = run(folder / "run.sh")
    assert done.returncode == 0, done.stderr[-2000:]


ODD = [
    "with blank",
    "it's",
    'a"b',
    "$(touch x)",
    "a;b",
    "[exit]",
    "{",
    "line\nbreak",
    "-n",
    "back\\slash",
    "`x`",
]


@pytest.mark.parametrize("name", ODD)
def test_the_script_runs_whatever_folders_are_called(files: Mixture, tmp_path: Path, name: str) -> None:
    """Both its own and that of GROMACS; nothing in a name is run."""
    program = fake_gmx(tmp_path / name / "gmx_mpi", mpi="MPI")
    topology = mixed.atoms_topology(files)
    frame = next(read_frames(files.folder / "aa.trr", n_atoms=156))
    folder = tmp_path / name / name
    write_workdir(folder, frame, topology, settings=RelaxSettings(temperature=300, gmx=str(program)))
    program.write_text('#!/bin/bash\necho "$PWD $*" >> "$LOG"\n')
    called = tmp_path / "called"
    done = run(folder / "run.sh", LOG=str(called))
    assert done.returncode == 0, done.stderr
    words = called.read_text().removesuffix("\n").split(f"\n{folder} ")
    assert words[0] == f"{folder} grompp -f em.mdp -c conf.gro -p topol.top -n index.ndx -o em.tpr"
    assert words[-1] == "mdrun -deffnm npt"
    assert sorted(p.name for p in tmp_path.iterdir() if p != files.folder) == sorted(["called", name])


def test_a_path_of_gromacs_holds_in_the_folder(
    files: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--gmx bin/gmx`` is meant from where the command runs, not from where the script stands."""
    fake_gmx(tmp_path / "bin" / "gmx")
    monkeypatch.chdir(tmp_path)
    frame = next(read_frames(files.folder / "aa.trr", n_atoms=156))
    settings = RelaxSettings(temperature=300, gmx="bin/gmx")
    write_workdir(tmp_path / "run", frame, mixed.atoms_topology(files), settings=settings)
    assert f"own={tmp_path}/bin/gmx;" in (tmp_path / "run" / "run.sh").read_text()


@pytest.mark.parametrize("define", ["A=1\nref-t = 9", "A -DB", ""])
def test_a_definition_adds_no_lines_to_run_parameters(files: Mixture, tmp_path: Path, define: str) -> None:
    frame = next(read_frames(files.folder / "aa.trr", n_atoms=156))
    settings = RelaxSettings(temperature=300)
    with pytest.raises(InputError, match="a definition with blanks"):
        write_workdir(
            tmp_path / "run", frame, mixed.atoms_topology(files), settings=settings, defines=("X", define)
        )


def test_a_copied_force_field_of_gromacs_is_the_same(gmx: str, tmp_path: Path) -> None:
    top = tmp_path / "topol.top"
    top.write_text(
        '#include "oplsaa.ff/forcefield.itp"\n#include "oplsaa.ff/tip3p.itp"\n[ system ]\nwater\n'
        "[ molecules ]\nSOL 2\n"
    )
    copy_topology(top, tmp_path / "run")
    assert (tmp_path / "run" / "include" / "oplsaa.ff" / "ffnonbonded.itp").is_file()
    one, other = read_topology(top), read_topology(tmp_path / "run" / "topol.top")
    assert one.nonbonded is not None
    assert other.nonbonded is not None
    np.testing.assert_array_equal(one.nonbonded.c12, other.nonbonded.c12)


def test_a_flat_topology_says_the_same(files: Mixture) -> None:
    """Conditions and macros are resolved; sites add nothing but themselves."""
    path = files.folder / "topol.top"
    files.edit("topol.top", "[ system ]", "#ifdef MORE\n[ exclusions ]\n1 20\n#endif\n[ system ]")
    topology = read_topology(path, defines=("MORE",))
    parts = flat_topology(topology, defines=("MORE",))
    flat = files.folder / "flat.top"
    flat.write_text(topology_text(parts))
    same_system(read_topology(flat), topology)
    assert len(read_topology(flat).molecule_types["OCX"].exclusions) == 1
    mappings = mappings_of(topology, (files.folder / "OCT.xml",))
    flat.write_text(topology_text(add_sites(parts, mappings, {"OCT": np.full(4, 1e5)})))
    sited = read_topology(flat)
    assert [sited.molecule_types[n].n_atoms for n in ("OCT", "OCX")] == [30, 26]
    moltype, twin = topology.molecule_types["OCT"], sited.molecule_types["OCT"]
    assert [t.atoms.tolist() for t in moltype.terms] == [t.atoms.tolist() for t in twin.terms][
        : len(moltype.terms)
    ]
    sites = twin.terms[len(moltype.terms) :]
    assert {term.directive for term in sites} == {"virtual_sitesn"}
    weights = np.zeros((4, 26))
    for term in sites:
        weights[term.atoms[:, :1] - 26, term.atoms[:, 1:]] = term.parameters
    np.testing.assert_allclose(weights, mappings["OCT"].weights.toarray(), atol=1e-6)


def test_a_folder_that_cannot_be_made(files: Mixture, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = {**files.options, "-o": tmp_path / "aa.xtc", "--workdir": tmp_path / "file" / "run"}
    result = command("backmap", options)
    assert result.code == 1
    assert "file/run: cannot be made a folder: Not a directory" in result.err
    assert not (tmp_path / "aa.xtc").exists()


def test_the_force_field_of_a_topology_without_molecules_is_refused() -> None:
    with pytest.raises(InputError, match="needs"):
        add_sites([], {}, {})


def test_lines_are_no_longer_than_grompp_reads(tmp_path):
    """Those of ``[ cmaptypes ]`` have hundreds of numbers."""
    line = "C NH1 CT1 C NH1 1 24 24 " + " ".join(f"{k:.6f}" for k in range(576))
    path = tmp_path / "topol.top"
    path.write_text(topology_text([Part("cmaptypes", (line, "short")), Part("system", ("x",))]))
    assert max(map(len, path.read_text().splitlines())) < 4095
    parts = [line.text for line in active_lines(path)]
    assert parts[0] == "[ cmaptypes ]"
    assert parts[1].split() == line.split()
    assert parts[2] == "short"

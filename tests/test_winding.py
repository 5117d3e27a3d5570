"""Molecules that are bonded to images of their own, through the box: chains without ends, and networks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from mixed import command
from test_energy import compare

from dbm_gmx.chemistry.feasible import problems_of
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import beside, lattice_of, minimum_image, reduced_cell
from dbm_gmx.chemistry.stereo import chirality_of
from dbm_gmx.chemistry.system import System, atomistic_system, longest_bond, map_frame, mapped_beads
from dbm_gmx.chemistry.vectors import Wound, arm, make_lattice
from dbm_gmx.chemistry.winding import with_whole_atoms, with_whole_beads
from dbm_gmx.errors import InputError
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.mdp import read_mdp
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames
from dbm_gmx.forcefield.block_energies import block_energies
from dbm_gmx.gromacs.workdir import write_workdir
from dbm_gmx.options import Conditions, RelaxSettings, Settings
from dbm_gmx.sampling.chain import Chain, advance, start_chain, sweep_windows
from dbm_gmx.sampling.energy import full_energy, stiff_energy, total_energy
from dbm_gmx.sampling.growth import Molecules, fragment_middles
from dbm_gmx.sampling.random_numbers import frame_stream
from dbm_gmx.sampling.sampler import Sampler, configure, make_sampler

CONDITIONS = Conditions(400.0, rvdw=0.7, rcoulomb=0.7, constraints="none", spread=0.01)
BOX = np.array([[1.5, 0.0, 0.0], [0.4, 1.5, 0.0], [-0.3, 0.35, 1.5]])
LONG, HALF = 14, 7
"""Atoms of a chain once through the box, and half of them."""

MDP = "rvdw = 0.7\nrcoulomb = 0.7\nconstraints = none\nref-t = 400\nperiodic-molecules = yes\n"
"""Of runs, with the least box that GROMACS takes for them."""


@dataclass(frozen=True)
class Kind:
    """A molecule type of methylene groups.

    Attributes
    ----------
    name, count
        And how many molecules of it there are.
    bonds
        Between its atoms.
    owner
        The bead of each atom.
    places
        (count, n, 3) nm, where atoms are, bonds whole but for those through the box.
    """

    name: str
    count: int
    bonds: Sequence[tuple[int, int]]
    owner: Sequence[int]
    places: np.ndarray


def line(along: np.ndarray, start: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """(n, 3) nm a zigzag along a box vector, and back to an image of its first atom."""
    side = np.cross(along, [0.3, 0.5, 0.8])
    side = 0.04 * side / np.linalg.norm(side) * (-1.0) ** np.arange(LONG)[:, None]
    places: np.ndarray = start + np.arange(LONG)[:, None] / LONG * along + side
    return places + 0.01 * rng.normal(size=places.shape)


def ring(atoms: int, first: int = 0) -> list[tuple[int, int]]:
    """Bonds of a chain whose last atom is bonded to the first."""
    return [(first + i, first + (i + 1) % atoms) for i in range(atoms)]


def chains() -> Kind:
    """Two chains along the last box vector, one the other way round."""
    rng = np.random.default_rng(1)
    places = [line(BOX[2], [1.05, 0.95, 0.1], rng), line(-BOX[2], [0.8, 0.52, 0.4], rng)]
    return Kind("PE", 2, ring(LONG), [n // HALF for n in range(LONG)], np.stack(places))


def network() -> Kind:
    """Two chains along the other box vectors, with a bridge of two atoms between them."""
    rng = np.random.default_rng(2)
    one, other = line(BOX[0], [0.1, 0.1, 0.3], rng), line(BOX[1], [0.1, 0.1, 0.66], rng)
    bridge = one[0] + np.outer([0.33, 0.67], other[0] - one[0])
    bonds = [*ring(LONG), *ring(LONG, LONG), (0, 2 * LONG), (2 * LONG, 2 * LONG + 1), (2 * LONG + 1, LONG)]
    owner = [*(4 * n // LONG for n in range(2 * LONG)), 8, 8]
    return Kind("NET", 1, bonds, owner, np.concatenate([one, other, bridge])[None])


def molecule_type(kind: Kind) -> str:
    """Its part of a topology: all terms of its graph, and charges."""
    graph = nx.Graph(kind.bonds)
    angles = [(i, j, k) for j in graph for i in graph[j] for k in graph[j] if i < k]
    turns = [(i, j, k, m) for j, k in graph.edges for i in graph[j] for m in graph[k] if k != i != m != j]
    text = f"[ moleculetype ]\n{kind.name} 3\n[ atoms ]\n"
    for i in range(len(kind.owner)):
        text += f"{i + 1} CH2 {kind.owner[i] + 1} {kind.name} C{i + 1} {i + 1} {0.2 * (-1) ** i} 14.027\n"
    for name, rows, values in (
        ("bonds", kind.bonds, "1 0.154 200000"),
        ("angles", angles, "1 114 520"),
        ("dihedrals", turns, "3 8.4 16.8 1.1 -26.3 0 0"),
    ):
        text += f"[ {name} ]\n" + "".join(" ".join(str(i + 1) for i in row) + f" {values}\n" for row in rows)
    return text


def mapping_of(kind: Kind) -> str:
    """Its mapping."""
    beads = maps = ""
    for bead in range(max(kind.owner) + 1):
        atoms = [i for i, owner in enumerate(kind.owner) if owner == bead]
        names = " ".join(f"{bead + 1}:{kind.name}:C{i + 1}" for i in atoms)
        beads += f"<cg_bead><name>B{bead + 1}</name><type>B</type><mapping>M{bead}</mapping>"
        beads += f"<beads>{names}</beads></cg_bead>"
        maps += f"<map><name>M{bead}</name><weights>{' '.join('1' for _ in atoms)}</weights></map>"
    head = f"<cg_molecule><name>{kind.name}</name><ident>{kind.name}</ident>"
    return f"{head}<topology><cg_beads>{beads}</cg_beads></topology><maps>{maps}</maps></cg_molecule>"


@dataclass(frozen=True)
class Wrapped:
    """A system in files, and a frame of atoms, each of them in the box.

    Attributes
    ----------
    system
        The molecules.
    frame
        The atoms.
    files
        Options of commands with its files.
    """

    system: System
    frame: Frame
    files: dict[str, object]


def write_system(folder: Path, kinds: Sequence[Kind], box: np.ndarray = BOX) -> Wrapped:
    """Write the files of a system."""
    folder.mkdir(exist_ok=True)
    top = "[ defaults ]\n1 2 no 1 1\n[ atomtypes ]\nCH2 6 14.027 0 A 0.36 0.3\n"
    top += "".join(map(molecule_type, kinds)) + "[ system ]\nwound\n[ molecules ]\n"
    (folder / "topol.top").write_text(top + "".join(f"{kind.name} {kind.count}\n" for kind in kinds))
    (folder / "run.mdp").write_text(MDP)
    mappings = []
    for kind in kinds:
        mappings.append(folder / f"{kind.name}.xml")
        mappings[-1].write_text(mapping_of(kind))
    cell = np.concatenate([kind.places.reshape(-1, 3) for kind in kinds]) @ np.linalg.inv(box)
    frame = Frame(((cell - np.floor(cell)) @ box).astype(np.float32), box)
    topology = read_topology(folder / "topol.top")
    system = atomistic_system(topology, read_mappings(mappings, topology))
    with open_writer(folder / "aa.gro", topology) as writer:
        writer.write(frame)
    return Wrapped(system, frame, {"-p": folder / "topol.top", "-m": mappings})


def on_beads(wrapped: Wrapped) -> tuple[Frame, np.ndarray]:
    """The beads of a frame, and the atoms beside them."""
    system, whole = wrapped.system, with_whole_atoms(wrapped.system, wrapped.frame)
    beads = with_whole_beads(system, map_frame(system.matches, whole))
    lattice = lattice_of(beads)
    assert lattice is not None
    owners = [m.beads(beads.positions)[:, m.mapping.owner].reshape(-1, 3) for m in system.matches]
    return beads, beside(whole.positions.astype(np.float64), np.concatenate(owners), lattice)


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Wrapped:
    """Chains of two beads along one box vector, and a network along the others."""
    return write_system(tmp_path_factory.mktemp("wound"), [chains(), network()])


def begun(sampler: Sampler, wrapped: Wrapped) -> Chain:
    beads, positions = on_beads(wrapped)
    return start_chain(configure(sampler, positions, beads))


# --- nearest images ----------------------------------------------------------------------------------


def test_an_arm_is_that_to_the_nearest_image() -> None:
    box = np.array([[2.0, 0, 0], [0.9, 1.8, 0], [-0.8, 0.7, 1.9]])
    places = np.random.default_rng(2).uniform(-6, 6, (200, 3))
    wound = Wound(places, make_lattice(reduced_cell(box)))
    arms = np.array([arm(wound, i, i + 1) for i in range(199)])
    np.testing.assert_allclose(arms, minimum_image(np.diff(places, axis=0), box), atol=1e-9)


def test_beads_are_of_atoms_that_are_together(wrapped: Wrapped) -> None:
    beads = map_frame(wrapped.system.matches, wrapped.frame)
    assert beads.winds
    for match in wrapped.system.matches:
        atoms = match.molecules(wrapped.frame.positions.astype(np.float64))
        for bead in range(len(match.mapping.names)):
            rows = atoms[:, match.mapping.owner == bead]
            middle = (rows[:, :1] + minimum_image(rows - rows[:, :1], BOX)).mean(axis=1)
            assert np.abs(minimum_image(match.beads(beads.positions)[:, bead] - middle, BOX)).max() < 1e-5


def test_atoms_are_beside_their_beads(wrapped: Wrapped) -> None:
    system, whole = wrapped.system, with_whole_atoms(wrapped.system, wrapped.frame)
    assert whole.winds
    beads = with_whole_beads(system, map_frame(system.matches, whole))
    assert beads.winds
    off = minimum_image(mapped_beads(system, whole.positions) - beads.positions, BOX)
    assert np.abs(off).max() < 1e-5
    assert longest_bond(system, whole.positions, lattice_of(whole)) < 0.25
    assert longest_bond(system, whole.positions) > 1.0


def test_without_beads_such_molecules_are_whole_and_judged_through_the_box(wrapped: Wrapped) -> None:
    """As ``evaluate`` takes them, which needs no mapping: each molecule is one bead."""
    system = atomistic_system(wrapped.system.topology, {})
    whole = with_whole_atoms(system, wrapped.frame)
    assert whole.winds
    assert longest_bond(system, whole.positions, lattice_of(whole)) < 0.25
    assert longest_bond(system, whole.positions) > 1.0


def test_chirality_through_the_box() -> None:
    centre = np.array([[0.0, 0, 0], [0.1, 0.1, 0.1], [0.1, -0.1, -0.1], [-0.1, 0.1, -0.1], [-0.1, -0.1, 0.1]])
    rows, cells = np.arange(5)[None], np.array([[0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, 2], [0, 0, 0]])
    moved = centre + [0.02, 0.03, 0.01] + cells @ BOX
    (expected,) = chirality_of(centre[None], rows)
    assert chirality_of(moved[None], rows, make_lattice(reduced_cell(BOX)))[0] == expected
    assert expected != 0


# --- energies ----------------------------------------------------------------------------------------


def test_energies_through_the_box_are_those_in_a_box_of_twice_the_length(tmp_path: Path) -> None:
    """There all but the bonds at both ends of the chain lie within it, and others are excluded."""
    one, longer = chains(), BOX * [[1], [1], [2]]
    again = one.places + np.array([1, -1])[:, None, None] * BOX[2]
    owner = [n // HALF for n in range(2 * LONG)]
    two = Kind("PE", 2, ring(2 * LONG), owner, np.concatenate([one.places, again], axis=1))
    found = []
    for kind, box in ((one, BOX), (two, longer)):
        made = write_system(tmp_path / str(len(kind.owner)), [kind], box)
        beads, positions = on_beads(made)
        conf = configure(make_sampler(made.system, CONDITIONS, Settings(), {}), positions, beads)
        blocks = block_energies(made.system, with_whole_atoms(made.system, made.frame), CONDITIONS)
        found.append([*full_energy(conf), stiff_energy(conf), *blocks.values.sum(axis=0)])
    assert min(np.abs(found[0])) > 1e-3
    np.testing.assert_allclose(found[1], 2 * np.array(found[0]), rtol=1e-4)


def swept(sampler: Sampler, wrapped: Wrapped, windows: int, sweeps: int) -> np.ndarray:
    """(n, 3) nm after sweeps of a chain; what they add up must be the energy, and where beads are."""
    chain, stream = begun(sampler, wrapped), frame_stream(1, 0, 0)
    sweep_windows(chain, windows, stream, sampler.team)
    for _ in range(sweeps):
        advance(chain, stream, sampler.team)
    conf = chain.conf
    scale = np.abs(np.diff(chain.energies)).sum()
    assert abs(total_energy(conf) - chain.energy) < 2e-6 * scale + 1e-3
    beads = conf.neighbours.beads
    np.testing.assert_allclose(conf.offsets, mapped_beads(sampler.system, conf.positions) - beads, atol=1e-9)
    assert np.linalg.norm(conf.positions - beads[conf.arrays.atoms.bead], axis=1).max() < 0.8
    return conf.positions


def test_what_sweeps_add_up_is_the_energy(tmp_path: Path) -> None:
    """In Python, which takes less time than to compile sweeps for such molecules: see the longer test."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_winding as tests; "
    code += f"from pathlib import Path; tests.sweep_in_python(Path({str(tmp_path)!r}))"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def sweep_in_python(folder: Path) -> None:
    wrapped = write_system(folder, [chains(), network()])
    swept(make_sampler(wrapped.system, CONDITIONS, Settings(), {}), wrapped, windows=0, sweeps=2)


@pytest.mark.long
def test_windows_add_up_too_with_any_number_of_threads(wrapped: Wrapped) -> None:
    """A move sees its neighbours, and its own molecule, in the images that count."""
    found = []
    for threads in (1, 2):
        sampler = make_sampler(wrapped.system, CONDITIONS, Settings(), {}, threads=threads)
        found.append(swept(sampler, wrapped, windows=8, sweeps=24))
    np.testing.assert_array_equal(*found)


# --- commands ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(wrapped: Wrapped) -> Path:
    """Where its files are, with the beads of its atoms by the command."""
    folder = Path(str(wrapped.files["-p"])).parent
    cg = {"-o": folder / "cg.gro", "-op": folder / "cg.top"}
    result = command("map", {"-s": folder / "aa.gro", **wrapped.files, **cg})
    assert result.code == 0, result.err
    return folder


def given(wrapped: Wrapped, folder: Path) -> dict[str, object]:
    """What commands on the beads need."""
    beads = {"-s": folder / "cg.gro", "-cp": folder / "cg.top", "--mdp": folder / "run.mdp"}
    return {**beads, **wrapped.files}


def test_beads_are_bonded_through_the_box(wrapped: Wrapped, folder: Path) -> None:
    """Bonds of beads are as long as they are in the box, and nothing is against atoms there."""
    bonds = (folder / "cg.top").read_text().split("[ bonds ]")[1:]
    rows = [row for part in bonds for row in part.partition("\n[")[0].splitlines()]
    lengths = [float(row.split()[3]) for row in rows if row.strip()[:1].isdigit()]
    assert len(lengths) == 1 + 10
    assert max(lengths) < 0.9
    checked = command("check", given(wrapped, folder))
    assert checked.code == 0, checked.err


def ways_round(atoms: Frame) -> list[list[int]]:
    """How often each of the chains goes along each box vector."""
    places = atoms.positions[: 4 * LONG].reshape(4, LONG, 3).astype(np.float64)
    arms = minimum_image(np.roll(places, -1, axis=1) - places, BOX)
    ways: list[list[int]] = np.rint(np.abs(arms.sum(axis=1) @ np.linalg.inv(BOX))).astype(int).tolist()
    return ways


def test_fragments_are_put_all_the_way_round(wrapped: Wrapped) -> None:
    """Of two beads too, between which bonds go both ways."""
    system, beads = wrapped.system, on_beads(wrapped)[0]
    sampler = make_sampler(system, CONDITIONS, Settings(), {})
    for match, along in zip(system.matches, (2, 0), strict=True):
        grower = sampler.growers[match.moltype.name]
        centres = match.beads(beads.positions).astype(np.float64)
        some = Molecules(centres, np.zeros((match.count, 0)), np.arange(match.count), 0, lattice_of(beads))
        middles = fragment_middles(grower, some)
        order = np.argsort([part.centre[0] for part in grower.fragments])[:LONG]
        arms = minimum_image(middles[:, np.roll(order, -1)] - middles[:, order], BOX)
        assert np.linalg.norm(arms, axis=-1).max() < 0.2
        ways = np.abs(arms.sum(axis=1) @ np.linalg.inv(BOX))
        np.testing.assert_allclose(ways, np.eye(3)[[along] * match.count], atol=1e-6)


ATOMS = ["aa.gro", pytest.param("made.gro", marks=pytest.mark.long)]
"""Those that beads were made of; and those that were made on the beads, once all for that is compiled."""


@pytest.fixture
def atoms(folder: Path, request: pytest.FixtureRequest) -> Path:
    """One of :data:`ATOMS`."""
    path = folder / request.param
    if request.param == "made.gro":
        request.getfixturevalue("made")
    return path


@pytest.mark.parametrize("atoms", ATOMS, indirect=True)
def test_energies_are_those_of_gromacs(folder: Path, atoms: Path, gmx: str, tmp_path: Path) -> None:
    """All terms through the box."""
    ours = compare(gmx, tmp_path, top=folder / "topol.top", gro=atoms, coulomb="rf", longest=0.7)
    assert min(map(abs, ours.values())) > 1e-3


@pytest.mark.parametrize("atoms", ATOMS, indirect=True)
def test_gromacs_goes_on_from_there(wrapped: Wrapped, atoms: Path, gmx: str, tmp_path: Path) -> None:
    """Minimised, and dynamics with the centres held."""
    files = {
        **wrapped.files,
        "--mdp": atoms.parent / "run.mdp",
        "--spread": 0.01,
        "-o": tmp_path / "relaxed.gro",
    }
    result = command("relax", {"-f": atoms, **files, "--gmx": gmx})
    assert result.code == 0, result.err
    (after,) = read_frames(tmp_path / "relaxed.gro", n_atoms=wrapped.system.n_atoms)
    assert longest_bond(wrapped.system, after.positions, make_lattice(reduced_cell(BOX))) < 0.18
    assert ways_round(after) == [[0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_what_is_left_for_gromacs_says_so(wrapped: Wrapped, tmp_path: Path) -> None:
    write_workdir(tmp_path / "go", wrapped.frame, wrapped.system.topology, settings=RelaxSettings())
    for name in ("em", "nvt", "npt"):
        lines = (tmp_path / "go" / f"{name}.mdp").read_text().splitlines()
        said = [line.split() for line in lines if "periodic" in line]
        assert said == [["periodic-molecules", "=", "yes"]]


@pytest.mark.parametrize("atoms", ATOMS, indirect=True)
def test_they_are_evaluated(wrapped: Wrapped, folder: Path, atoms: Path) -> None:
    """No bond of them is as long as the box."""
    cg = {"--cg": folder / "cg.gro", "-cp": folder / "cg.top", "--mdp": folder / "run.mdp"}
    reference = {"-f": atoms, "-r": folder / "aa.gro", "--json": None}
    result = command("evaluate", {**reference, **cg, **wrapped.files})
    assert result.code in (0, 2), result.err


@pytest.fixture(scope="module")
def made(wrapped: Wrapped, folder: Path) -> Path:
    """Atoms on the beads, by the command: most is compiled once more for such molecules."""
    options = {"--annealing": 1000, "--no-check": None, "--workdir": folder / "go", "-o": folder / "made.gro"}
    result = command("backmap", {**given(wrapped, folder), **options})
    assert result.code in (0, 2), result.err
    return folder / "made.gro"


@pytest.mark.long
def test_molecules_without_ends_are_put_on_their_beads(wrapped: Wrapped, folder: Path, made: Path) -> None:
    system = wrapped.system
    (atoms,) = read_frames(made, n_atoms=system.n_atoms)
    whole = with_whole_atoms(system, atoms)
    assert whole.winds
    assert longest_bond(system, whole.positions, lattice_of(whole)) < 0.18
    assert ways_round(atoms) == [[0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    (beads,) = read_frames(folder / "cg.gro", n_atoms=13)
    off = minimum_image(map_frame(system.matches, whole).positions - beads.positions, BOX)
    assert np.abs(off).max() < 0.1
    before = with_whole_atoms(system, wrapped.frame)
    energies = [block_energies(system, one, CONDITIONS).values.sum() for one in (whole, before)]
    assert energies[0] < energies[1]
    assert "periodic-molecules" in (folder / "go" / "nvt.mdp").read_text()


# --- what is refused ---------------------------------------------------------------------------------


def test_a_box_below_two_cutoffs_is_refused(wrapped: Wrapped) -> None:
    beads, _ = on_beads(wrapped)
    assert not [p for p in problems_of(wrapped.system, beads, 0.7) if p.fatal]
    (problem,) = (p for p in problems_of(wrapped.system, beads, 0.8) if p.fatal)
    assert "shorter than two cut-offs of 0.8 nm" in problem.words


def test_shared_atoms_are_refused(wrapped: Wrapped) -> None:
    beads, _ = on_beads(wrapped)
    match, *others = wrapped.system.matches
    weights = match.mapping.weights.tolil()
    weights[1, 2] = 0.5
    shared = replace(match, mapping=replace(match.mapping, weights=weights.tocsr()))
    with pytest.raises(InputError, match="atom 3 \\(C3\\) is part of several beads"):
        with_whole_beads(replace(wrapped.system, matches=(shared, *others)), beads)


def test_a_chain_of_a_single_bead_has_no_centre(tmp_path: Path) -> None:
    """Its beads do not tell it from a ring, which is said."""
    one = write_system(tmp_path, [replace(chains(), owner=[0] * LONG)])
    with pytest.raises(InputError, match="the atoms of bead B1 are bonded to their own periodic images"):
        map_frame(one.system.matches, one.frame)
    beads = with_whole_beads(one.system, Frame(np.zeros((2, 3), np.float32), BOX))
    said = [p for p in problems_of(one.system, beads, 0.7) if p.kind == "ring"]
    assert [p.fatal for p in said] == [False]
    assert "PE has one bead and a ring of 14 atoms, as long as the box" in said[0].words
    large = Frame(np.zeros((2, 3), np.float32), 2 * BOX)
    assert not [p for p in problems_of(one.system, large, 0.7) if p.kind == "ring"]


def test_run_parameters_may_say_so(wrapped: Wrapped) -> None:
    assert read_mdp(Path(str(wrapped.files["-p"])).parent / "run.mdp")[0].rvdw == 0.7

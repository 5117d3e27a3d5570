"""Molecules that are bonded to images of their own, through the box: chains without ends, and networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mixed import command

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
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.chain import Chain, advance, start_chain, sweep_windows
from dbm_gmx.sampling.energy import full_energy, total_energy
from dbm_gmx.sampling.random_numbers import frame_stream
from dbm_gmx.sampling.sampler import Sampler, configure, make_sampler

CONDITIONS = Conditions(400.0, rvdw=0.7, rcoulomb=0.7, constraints="none", spread=0.01)
BOX = np.diag([1.5, 1.5, 1.45])
ATOMS, CHAINS, PER_BEAD = 12, 4, 3

MDP = "rvdw = 0.7\nrcoulomb = 0.7\nconstraints = none\nref-t = 400\nperiodic-molecules = yes\n"


def write_chain(folder: Path, atoms: int = ATOMS, count: int = CHAINS) -> System:
    """Chains of methylene groups, the last one bonded to the first, with a charge on every third."""

    def row(i: int, k: int) -> str:
        return " ".join(str((i + n) % atoms + 1) for n in range(k))

    charge = [0.2, -0.1, -0.1]
    numbers = range(atoms)
    top = "[ defaults ]\n1 2 no 1 1\n[ atomtypes ]\nCH2 6 14.027 0 A 0.36 0.3\n"
    top += "[ moleculetype ]\nPE 3\n[ atoms ]\n"
    top += "".join(
        f"{i + 1} CH2 {i // PER_BEAD + 1} PE C{i + 1} {i + 1} {charge[i % 3]} 14.027\n" for i in numbers
    )
    top += "[ bonds ]\n" + "".join(f"{row(i, 2)} 1 0.154 200000\n" for i in numbers)
    top += "[ angles ]\n" + "".join(f"{row(i, 3)} 1 114 520\n" for i in numbers)
    top += "[ dihedrals ]\n" + "".join(f"{row(i, 4)} 3 8.4 16.8 1.1 -26.3 0 0\n" for i in numbers)
    top += f"[ system ]\nPE\n[ molecules ]\nPE {count}\n"
    (folder / "topol.top").write_text(top)
    beads = "".join(
        f"<cg_bead><name>B{b + 1}</name><type>B</type><mapping>M</mapping><beads>"
        + " ".join(f"{b + 1}:PE:C{PER_BEAD * b + k + 1}" for k in range(PER_BEAD))
        + "</beads></cg_bead>"
        for b in range(atoms // PER_BEAD)
    )
    weights = " ".join(["1"] * PER_BEAD)
    (folder / "pe.xml").write_text(
        f"<cg_molecule><name>PE</name><ident>PE</ident><topology><cg_beads>{beads}</cg_beads></topology>"
        f"<maps><map><name>M</name><weights>{weights}</weights></map></maps></cg_molecule>"
    )
    (folder / "run.mdp").write_text(MDP)
    topology = read_topology(folder / "topol.top")
    return atomistic_system(topology, read_mappings([folder / "pe.xml"], topology))


def zigzag(atoms: int = ATOMS, box: np.ndarray = BOX, *, broken: bool = True) -> Frame:
    """Chains along the last box vector, every second one the other way round."""
    rng, chains = np.random.default_rng(1), []
    for k in range(CHAINS):
        place = np.array([0.375 + 0.75 * (k % 2), 0.375 + 0.75 * (k // 2), rng.random()])
        way = (1 if k % 2 else -1) * box[2, 2] / atoms
        side = 0.04 * (-1.0) ** np.arange(atoms)
        chains.append(place + np.stack([side, 0 * side, way * np.arange(atoms)], axis=1))
    positions = np.concatenate(chains) + 0.01 * rng.normal(size=(CHAINS * atoms, 3))
    if broken:
        cell = positions @ np.linalg.inv(box)
        positions = (cell - np.floor(cell)) @ box
    return Frame(positions.astype(np.float32), box)


def on_beads(system: System, atoms: Frame) -> tuple[Frame, np.ndarray]:
    """The beads of a frame, and the atoms beside them."""
    whole = with_whole_atoms(system, atoms)
    beads = with_whole_beads(system, map_frame(system.matches, whole))
    lattice = lattice_of(beads)
    assert lattice is not None
    owners = [m.beads(beads.positions)[:, m.mapping.owner].reshape(-1, 3) for m in system.matches]
    return beads, beside(whole.positions.astype(np.float64), np.concatenate(owners), lattice)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return write_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def sampler(system: System) -> Sampler:
    return make_sampler(system, CONDITIONS, Settings(), {})


def begun(sampler: Sampler, frame: Frame) -> Chain:
    beads, positions = on_beads(sampler.system, frame)
    return start_chain(configure(sampler, positions, beads))


# --- nearest images ----------------------------------------------------------------------------------


def test_an_arm_is_that_to_the_nearest_image() -> None:
    box = np.array([[2.0, 0, 0], [0.9, 1.8, 0], [-0.8, 0.7, 1.9]])
    places = np.random.default_rng(2).uniform(-6, 6, (200, 3))
    wound = Wound(places, make_lattice(reduced_cell(box)))
    arms = np.array([arm(wound, i, i + 1) for i in range(199)])
    np.testing.assert_allclose(arms, minimum_image(np.diff(places, axis=0), box), atol=1e-9)


def test_beads_are_of_atoms_that_are_together(system: System) -> None:
    frame = zigzag()
    beads = map_frame(system.matches, frame)
    assert beads.winds
    for copy in range(CHAINS):
        for bead in range(ATOMS // PER_BEAD):
            first = copy * ATOMS + bead * PER_BEAD
            rows = frame.positions[first : first + PER_BEAD].astype(np.float64)
            mean = (rows[:1] + minimum_image(rows - rows[:1], BOX)).mean(axis=0)
            off = minimum_image(beads.positions[copy * 4 + bead] - mean, BOX)
            assert np.abs(off).max() < 1e-5


def test_atoms_are_beside_their_beads(system: System) -> None:
    whole = with_whole_atoms(system, zigzag())
    assert whole.winds
    beads = with_whole_beads(system, map_frame(system.matches, whole))
    off = minimum_image(mapped_beads(system, whole.positions) - beads.positions, BOX)
    assert np.abs(off).max() < 1e-5
    assert longest_bond(system, whole.positions, lattice_of(whole)) < 0.25
    assert longest_bond(system, whole.positions) > 1.0


# --- energies ----------------------------------------------------------------------------------------


def test_energies_through_the_box_are_those_in_a_box_of_twice_the_length(tmp_path: Path) -> None:
    """There all but the bonds at both ends of the chain lie within it, and others are excluded."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = write_chain(tmp_path / "one"), write_chain(tmp_path / "two", 2 * ATOMS)
    single, longer = zigzag(broken=False), BOX * [[1], [1], [2]]
    rows = single.positions.reshape(CHAINS, ATOMS, 3)
    again = rows + np.float32([0, 0, BOX[2, 2]])
    doubled = Frame(np.concatenate([rows, again], axis=1).reshape(-1, 3), longer)
    found = []
    for made, frame in ((one, single), (two, doubled)):
        beads, positions = on_beads(made, frame)
        conf = configure(make_sampler(made, CONDITIONS, Settings(), {}), positions, beads)
        blocks = block_energies(made, with_whole_atoms(made, frame), CONDITIONS)
        found.append([*full_energy(conf), *blocks.values.sum(axis=0)])
    assert min(np.abs(found[0])) > 1e-3
    np.testing.assert_allclose(found[1], 2 * np.array(found[0]), rtol=1e-4)


def test_what_sweeps_add_up_is_the_energy(sampler: Sampler) -> None:
    """Windows among them: a move sees its neighbours, and its own molecule, in the images that count."""
    chain, stream = begun(sampler, zigzag()), frame_stream(1, 0, 0)
    sweep_windows(chain, 8, stream, sampler.team)
    for _ in range(24):
        advance(chain, stream, sampler.team)
    conf = chain.conf
    scale = np.abs(np.diff(chain.energies)).sum()
    assert abs(total_energy(conf) - chain.energy) < 2e-6 * scale + 1e-3
    beads = conf.neighbours.beads
    np.testing.assert_allclose(conf.offsets, mapped_beads(sampler.system, conf.positions) - beads, atol=1e-9)
    assert np.linalg.norm(conf.positions - beads[conf.arrays.atoms.bead], axis=1).max() < 0.5


def test_threads_change_nothing(system: System, sampler: Sampler) -> None:
    found = []
    for threads in (1, 2):
        other = make_sampler(system, CONDITIONS, Settings(), {}, threads=threads)
        chain = begun(other, zigzag())
        for number in range(4):
            advance(chain, frame_stream(1, number, 0), other.team)
        found.append(chain.conf.positions.copy())
    np.testing.assert_array_equal(*found)


# --- growth and all the rest ------------------------------------------------------------------------


def test_chains_without_ends_are_put_on_their_beads(tmp_path: Path) -> None:
    """The command without the files of GROMACS: beads of the atoms, and atoms on the beads."""
    system = write_chain(tmp_path)
    frame = zigzag()
    with open_writer(tmp_path / "aa.gro", system.topology) as writer:
        writer.write(frame)
    files = {"-p": tmp_path / "topol.top", "-m": tmp_path / "pe.xml"}
    cg = {"-o": tmp_path / "cg.gro", "-op": tmp_path / "cg.top"}
    assert command("map", {"-s": tmp_path / "aa.gro", **files, **cg}).code == 0
    bonds = (tmp_path / "cg.top").read_text().partition("[ bonds ]")[2].partition("[ angles ]")[0]
    lengths = [float(line.split()[3]) for line in bonds.splitlines() if line.strip()[:1].isdigit()]
    assert len(lengths) == ATOMS // PER_BEAD
    assert max(lengths) < 0.5
    made = tmp_path / "made.gro"
    given = {"-s": tmp_path / "cg.gro", "-cp": tmp_path / "cg.top", **files, "--mdp": tmp_path / "run.mdp"}
    checked = command("check", given)
    assert checked.code == 0, checked.err
    options = {"--annealing": 200, "--windows": 4, "--sweeps": 16, "--no-check": None, "-o": made}
    result = command("backmap", {**given, **options})
    assert result.code in (0, 2), result.err
    (atoms,) = read_frames(made, n_atoms=system.n_atoms)
    whole = with_whole_atoms(system, atoms)
    assert whole.winds
    assert longest_bond(system, whole.positions, lattice_of(whole)) < 0.18
    (beads,) = read_frames(tmp_path / "cg.gro", n_atoms=CHAINS * ATOMS // PER_BEAD)
    off = minimum_image(map_frame(system.matches, whole).positions - beads.positions, BOX)
    assert np.abs(off).max() < 0.05
    energy = block_energies(system, whole, CONDITIONS).values.sum()
    assert energy < block_energies(system, with_whole_atoms(system, frame), CONDITIONS).values.sum()


def test_chirality_through_the_box() -> None:
    centre = np.array([[0.0, 0, 0], [0.1, 0.1, 0.1], [0.1, -0.1, -0.1], [-0.1, 0.1, -0.1], [-0.1, -0.1, 0.1]])
    rows, box = np.arange(5)[None], np.diag([1.5, 1.5, 1.5])
    (expected,) = chirality_of(centre[None], rows)
    moved = (
        centre + [0.02, 0.03, 0.01] + 1.5 * np.array([[0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, 2], [0, 0, 0]])
    )
    assert chirality_of(moved[None], rows, make_lattice(box))[0] == expected
    assert expected != 0


# --- what is refused ---------------------------------------------------------------------------------


def test_a_box_below_two_cutoffs_is_refused(system: System) -> None:
    beads, _ = on_beads(system, zigzag())
    assert not [p for p in problems_of(system, beads, 0.7) if p.fatal]
    (problem,) = (p for p in problems_of(system, beads, 0.8) if p.fatal)
    assert "shorter than two cut-offs of 0.8 nm" in problem.words


def test_shared_atoms_are_refused(system: System) -> None:
    beads, _ = on_beads(system, zigzag())
    (match,) = system.matches
    weights = match.mapping.weights.tolil()
    weights[1, 2] = 0.5
    shared = replace(match, mapping=replace(match.mapping, weights=weights.tocsr()))
    with pytest.raises(InputError, match="atom 3 \\(C3\\) is part of several beads"):
        with_whole_beads(replace(system, matches=(shared,)), beads)


def test_run_parameters_may_say_so(tmp_path: Path) -> None:
    (tmp_path / "run.mdp").write_text(MDP)
    assert read_mdp(tmp_path / "run.mdp")[0].rvdw == 0.7

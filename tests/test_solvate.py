"""Water and ions that have no beads: how many, where, and what is written of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mixed
import numpy as np
import pytest
from mixed import WATER, Mixture, command
from small import beads, ion, moltype, topology, water

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import neighbour_pairs
from dbm_gmx.chemistry.solvate import DENSITY, HEAVY, Solvated, find_places, solvate
from dbm_gmx.errors import InputError
from dbm_gmx.files.shipped import with_shipped
from dbm_gmx.files.top import read_topology
from dbm_gmx.options import Matching

SIDE = 4.0
LIGAND = moltype("LIG", [("LIG", ["C1", "C2", "C3", "C4"])])


def frame(n: int, *, free: bool = False) -> Frame:
    positions = np.random.default_rng(0).random((n, 3)) * SIDE
    return Frame(positions.astype(np.float32), np.eye(3) * SIDE, free=free)


def solvated(cg: object, aa: object, **given: object) -> Solvated:
    """With the aliases that are usual."""
    matching = Matching(solvate=True)
    found = with_shipped(cg, aa, {}, matching)  # type: ignore[arg-type]
    return solvate(cg, aa, found.mappings, found.matching, frame(cg.n_atoms, **given))  # type: ignore


def test_places_are_apart_from_each_other_and_from_beads() -> None:
    box = np.array([[SIDE, 0, 0], [SIDE / 3, SIDE, 0], [-SIDE / 4, SIDE / 3, SIDE]])
    others = frame(40).positions
    count = int(DENSITY / 4 * (SIDE**3 - 40 * 4 * HEAVY))
    places = find_places(others, box, count, seed=3)
    assert places.shape == (count, 3)
    among = neighbour_pairs(places, places, box, 0.6)
    assert among.distances[among.distances > 1e-6].min() > 0.45
    assert neighbour_pairs(places, others, box, 0.6).distances.min() > 0.38
    np.testing.assert_array_equal(places, find_places(others, box, count, seed=3))
    assert (places != find_places(others, box, count, seed=4)).any()


def test_as_much_water_as_is_listed() -> None:
    cg, aa = topology((beads("LIG", ["B"]), 3)), topology((LIGAND, 3), (water("SOL"), 803), (ion("NA"), 2))
    found = solvated(cg, aa)
    assert found.aa is aa
    assert found.cg.molecules[1:] == (("solvent 4 SOL", 200), ("solvent SOL", 3), ("solvent NA", 2))
    assert dict(found.aliases)["solvent 4 SOL"] == "4 SOL"
    assert found.solvent is not None
    assert found.solvent.places == 205
    whole = found.solvent.added_to(frame(3))
    assert whole.positions.shape == (208, 3)
    np.testing.assert_array_equal(whole.positions[:3], frame(3).positions)


def test_as_much_as_there_is_room_for_where_none_is_listed() -> None:
    aa = replace(topology((LIGAND, 30), (water("TIP3"), 1)), molecules=(("LIG", 30),))
    found = solvated(topology((beads("LIG", ["B"]), 30)), aa)
    count = dict(found.aa.molecules)["TIP3"]
    assert count == pytest.approx(DENSITY * (SIDE**3 - 30 * 4 * HEAVY), abs=2)
    assert found.aa.relisted


def test_water_that_has_beads_need_not_be_listed() -> None:
    aa = replace(topology((LIGAND, 1), (water("SOL"), 1), (ion("NA"), 1)), molecules=(("LIG", 1),))
    cg = topology((beads("LIG", ["B"]), 1), (beads("W", ["W"]), 5), (ion("NA+"), 2))
    found = solvated(cg, aa)
    assert dict(found.aa.molecules) == {"LIG": 1, "SOL": 20, "NA": 2}
    assert found.solvent is None
    listed = solvated(cg, replace(aa, molecules=(("LIG", 1), ("SOL", 30))))
    assert dict(listed.cg.molecules)["solvent 4 SOL"] == 2
    with pytest.raises(InputError, match="beads stand for 20 molecules SOL, and 12 are listed"):
        solvated(cg, replace(aa, molecules=(("LIG", 1), ("SOL", 12))))


@pytest.mark.parametrize(
    ("molecules", "free", "said"),
    [
        ((water("SOL"), 4000), False, "4000 molecules SOL .* room for about 21"),
        ((ion("NA"), 1), False, "needs one molecule type of water, as SOL or TIP3; found none"),
        ((water("SOL"), 40), True, "needs a box"),
    ],
)
def test_what_cannot_be_is_refused(molecules: tuple[object, int], free: bool, said: str) -> None:
    aa = topology((LIGAND, 1), molecules)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        solvated(topology((beads("LIG", ["B"]), 1)), aa, free=free)


def test_a_run_puts_water_in_and_writes_its_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed.fake_sampler(monkeypatch)
    files: Mixture = mixed.mixture(tmp_path / "in", n=2)
    files.edit("topol.top", "\n[ system ]", WATER + "\n[ system ]")
    options = {**files.inputs, "-t": 300, "--allow": "all", "-o": tmp_path / "aa.xtc", "--solvate": []}
    result = command("backmap", options)
    assert result.code == 0, result.err
    written = read_topology(tmp_path / "aa.top")
    assert written.molecules[:-1] == mixed.MOLECULES
    name, count = written.molecules[-1]
    assert name == "SOL"
    assert f"put in: {count} SOL" in result.err
    volume = float(np.linalg.det(files.frames[0].box))
    assert 0.3 < count / (DENSITY * volume) < 1.0
    options = {**options, "-o": tmp_path / "none.xtc"}
    del options["-p"], options["-m"], options["--owners"]
    assert "--solvate needs a topology of the atoms (-p)" in command("backmap", options).err

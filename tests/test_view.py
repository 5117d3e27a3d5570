"""Atoms and beads in three dimensions: where beads are laid, what the page holds, what a browser draws."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mixed import run_words
from test_evaluate import chromium, opened  # noqa: F401

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.topology import chemical_bonds
from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.overlay import ViewInputs, overlay
from dbm_gmx.evaluation.viewer import Scene, view_page, viewer
from dbm_gmx.files.residues import element_in, read_residues
from dbm_gmx.files.share import share_path
from dbm_gmx.files.structure import read_structure
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import open_writer, read_frames

OCTANE = share_path("examples", "octane")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with atoms and beads of the same frame; each wrapped into the box by itself."""
    folder = tmp_path_factory.mktemp("view")
    for name in ("aa", "cg"):
        topology = read_topology(OCTANE / {"aa": "topol.top", "cg": "cg.top"}[name])
        frame = next(read_frames(OCTANE / f"{name}.xtc", n_atoms=topology.n_atoms))
        box = np.diag(frame.box)
        with open_writer(folder / f"{name}.gro", topology) as writer:
            writer.write(Frame((frame.positions % box).astype(np.float32), frame.box))
    return folder


def test_beads_lie_at_the_image_of_their_atoms(files: Path) -> None:
    topology = read_topology(OCTANE / "topol.top")
    scene, notes = overlay(ViewInputs(files / "aa.gro", files / "cg.gro", topology))
    assert scene.beads is not None
    assert (len(scene.elements), len(scene.beads.names)) == (2080, 320)
    molecule = scene.positions.reshape(80, 26, 3)
    beads = scene.beads.positions.reshape(80, 4, 3)
    apart = np.linalg.norm(molecule[:, None] - beads[:, :, None], axis=-1).min(axis=2)
    assert apart.max() < 0.06  # next to an atom of their own molecule, without periodic images
    bonds = np.linalg.norm(scene.positions[scene.bonds[:, 0]] - scene.positions[scene.bonds[:, 1]], axis=1)
    assert len(bonds) == 80 * 25
    assert bonds.max() < 0.2
    as_in_file = read_structure(files / "cg.gro").positions
    assert np.abs(scene.beads.positions - as_in_file).max() > 1  # some were moved
    assert f"{apart.max():.3f} nm" in notes[0]


def test_without_a_topology_bonds_and_elements_are_those_of_the_molecule(files: Path) -> None:
    topology = read_topology(OCTANE / "topol.top")
    (moltype,) = topology.molecule_types.values()
    frame, residues = read_structure(files / "aa.gro"), read_residues(files / "aa.gro")
    scene, notes = overlay(ViewInputs(files / "aa.gro", around=27, within=0.01))
    assert residues.count == 80
    assert scene.elements == moltype.elements  # the whole molecule of atom 27
    assert {frozenset(b) for b in scene.bonds.tolist()} == {
        frozenset(b) for b in chemical_bonds(moltype).tolist()
    }
    assert scene.focus == (0,)
    assert len(frame.positions) == 2080
    assert "26 of 2080" in notes[0]


@pytest.mark.parametrize(
    ("name", "residue", "element"),
    [
        *(("CA", "ALA", "C"), ("CA", "CA", "Ca"), ("CL", "CL", "Cl"), ("NA", "NA+", "Na")),
        *(("NA", "HIS", "N"), ("1HB2", "ALA", "H"), ("OW", "SOL", "O"), ("", "X", "X")),
    ],
)
def test_elements_of_names(name: str, residue: str, element: str) -> None:
    assert element_in(name, residue) == element


def test_files_that_do_not_belong_together(files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="atoms 1 to 2080"):
        overlay(ViewInputs(files / "aa.gro", around=2081))
    text = (files / "cg.gro").read_text().splitlines()
    far = [f"{line[:20]}{900.0:8.3f}{line[28:]}" for line in text[2:-1]]
    (tmp_path / "far.gro").write_text("\n".join([*text[:2], *far, "999 999 999"]) + "\n")
    lines = (files / "aa.gro").read_text().splitlines()
    (tmp_path / "aa.gro").write_text("\n".join([*lines[:-1], "999 999 999"]) + "\n")
    with pytest.raises(InputError, match="same frame"):
        overlay(ViewInputs(tmp_path / "aa.gro", tmp_path / "far.gro"))
    result = run_words("view", OCTANE / "aa.xtc", "-o", tmp_path / "x.html")
    assert result.code == 1
    assert ".gro or .pdb" in result.err
    assert not (tmp_path / "x.html").exists()


def test_files_in_each_others_place_are_seen(files: Path) -> None:
    _, notes = overlay(ViewInputs(files / "cg.gro", files / "aa.gro"))
    assert any("The file of the atoms stands first" in note for note in notes)
    _, notes = overlay(ViewInputs(files / "aa.gro", files / "cg.gro"))
    assert not any("stands first" in note or "different frames" in note for note in notes)


def test_beads_of_another_frame_are_noticed(files: Path, tmp_path: Path) -> None:
    topology = read_topology(OCTANE / "cg.top")
    *_, last = read_frames(OCTANE / "cg.xtc", n_atoms=topology.n_atoms)
    with open_writer(tmp_path / "late.gro", topology) as writer:
        writer.write(last)
    _, notes = overlay(ViewInputs(files / "aa.gro", tmp_path / "late.gro"))
    assert any("of different frames" in note for note in notes)


def test_names_in_a_scene_are_no_html() -> None:
    evil = "</script><script>alert(1)</script>"
    scene = Scene(evil, ["C"], [evil], np.zeros((1, 3), np.float32), np.zeros((0, 2), np.int64))
    assert evil not in viewer([scene])
    page = view_page(evil, [scene], [evil])
    assert evil not in page
    assert "University of Pittsburgh" in page  # the licence of what draws it
    data = re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data
    assert json.loads(data[1])[0]["title"] == evil


def drawn(page: Any) -> tuple[int, int]:
    """Pixels of the view that are not white, and orange ones (what is marked)."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    page.wait_for_timeout(300)
    pixels = np.asarray(image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB"), int)
    inside = pixels[4:-4, 4:-4]
    red, green, blue = np.moveaxis(inside, 2, 0)
    orange = (red > 150) & (green < 0.75 * red) & (blue < 0.5 * green)
    return int((inside.min(axis=2) < 230).sum()), int(orange.sum())


def test_a_browser_draws_atoms_and_beads(files: Path, tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    output = tmp_path / "view.html"
    options = ["--cg", files / "cg.gro", "--around", 30, "--within", 0.3, "-o", output]
    result = run_words("view", files / "aa.gro", *options)
    assert result.code == 0
    assert "beads" in result.out
    page, said = opened(chromium, output, viewport={"width": 400, "height": 400})
    assert page.get_by_label("size of beads").count() == 1
    both, marked = drawn(page)
    if "cannot draw" in page.locator(".said").inner_text():
        pytest.skip("the browser has no WebGL")
    assert both > 1000
    assert marked > 10
    for name in ("beads", "hydrogens", "atoms"):
        page.get_by_role("button", name=name).click()
    nothing, _ = drawn(page)
    assert nothing < 0.02 * both
    page.get_by_role("button", name="beads").click()
    assert 0.1 * both < drawn(page)[0]
    for width in (1280, 768, 390):
        page.set_viewport_size({"width": width, "height": 400})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    assert said == []  # no error, and nothing asked of a network

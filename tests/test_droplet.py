"""What is tried before all frames is tried on a droplet of a large one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from exact import MIXED, mixture

from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import minimum_image
from dbm_gmx.chemistry.stereo import chirality_of, stereo_elements
from dbm_gmx.chemistry.system import mapped_beads, whole_atoms
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.options import Conditions, MoleculeFiles, Settings
from dbm_gmx.sampling.droplet import ATOMS, LARGE, VACUUM, cut_droplet
from dbm_gmx.sampling.preparation import prepare
from dbm_gmx.sampling.sampler import Effort, Sampler, make_sampler

pytestmark = pytest.mark.usefixtures("less_search")

WARM = Conditions(568.0, constraints="none", rvdw=0.9, rcoulomb=0.9)
FEW = 800


@pytest.fixture(scope="module")
def melt() -> tuple[Sampler, Frame]:
    """Twenty decamers of polystyrene, half of them in the state of the mirror image."""
    folder = share_path("reference", "sps")
    files = MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"])
    system, _ = read_system(folder / "cg.tpr", files)
    frame = next(iter(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms)))
    atoms = whole_atoms(system, frame)
    match = system.matches[0]
    states = chirality_of(match.molecules(atoms), stereo_elements(match.moltype))
    states[::2] *= -1
    beads = Frame(mapped_beads(system, atoms).astype(np.float32), frame.box, index=3)
    return make_sampler(system, WARM, Settings(), {match.moltype.name: states}), beads


def test_the_molecules_around_the_middle_are_taken_as_they_are(melt: tuple[Sampler, Frame]) -> None:
    sampler, beads = melt
    part, some = cut_droplet(sampler, beads, FEW)
    (match,), (of_part,) = sampler.system.matches, part.system.matches
    assert FEW <= part.system.n_atoms < FEW + match.moltype.n_atoms
    assert part.system.n_atoms == part.system.topology.n_atoms
    whole, cut = match.beads(beads.positions), of_part.beads(some.positions)
    middle = minimum_image(whole.mean(axis=1) - 0.5 * beads.box.sum(axis=0), beads.box)
    nearest = np.sort(np.argsort(np.linalg.norm(middle, axis=1))[: of_part.count])
    # each as it was, and as far from the others as its nearest image was from the middle
    for k, row in enumerate(nearest):
        off = cut[k] - whole[row]
        np.testing.assert_allclose(off, np.broadcast_to(off[0], off.shape), atol=1e-4)
    apart = cut.mean(axis=1) - cut.mean(axis=1)[0]
    np.testing.assert_allclose(apart, middle[nearest] - middle[nearest][0], atol=1e-4)
    name = match.moltype.name
    np.testing.assert_array_equal(part.chirality[name], np.asarray(sampler.chirality[name])[nearest])
    # nothing sees an image
    assert (np.diag(some.box) - np.ptp(some.positions, axis=0) > VACUUM).all()


def test_one_of_each_type_is_taken() -> None:
    made, atoms = mixture(MIXED * 1.25)
    beads = Frame(mapped_beads(made, atoms).astype(np.float32), MIXED * 1.25)
    part, _ = cut_droplet(make_sampler(made, Conditions(rvdw=0.5, rcoulomb=0.4), Settings(), {}), beads, 1)
    assert [match.moltype.name for match in part.system.matches] == [
        match.moltype.name for match in made.matches
    ]
    assert part.system.n_atoms < 20


def test_a_frame_not_much_larger_is_taken_as_a_whole(melt: tuple[Sampler, Frame]) -> None:
    sampler, beads = melt
    assert sampler.system.n_atoms < LARGE * ATOMS
    part, some = cut_droplet(sampler, beads)
    assert part is sampler
    assert some is beads


def test_what_a_droplet_asks_for_is_done_to_the_whole(
    melt: tuple[Sampler, Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler, beads = melt
    tried = list[int]()
    gains = {0: 0.5, 32: 0.4, 64: 0.4, 128: 0.4}

    def trial(some: Sampler, *_: object) -> SimpleNamespace:
        tried.append(some.system.n_atoms)
        return SimpleNamespace(energy=1.0 if some.effort.annealing < 2000 else 0.5, strain={}, variance=0.0)

    def offered(some: Sampler, _: Frame, starts: object, *__: object) -> object:
        return {0: 1.1, 2: 1.0}, replace(some, effort=Effort(offers=2)), starts

    monkeypatch.setattr("dbm_gmx.sampling.preparation._try", trial)
    monkeypatch.setattr("dbm_gmx.sampling.preparation._with_windows", lambda *_: gains)
    monkeypatch.setattr("dbm_gmx.sampling.preparation._with_offers", offered)
    monkeypatch.setattr("dbm_gmx.sampling.preparation._loosened", lambda some, *_: (some, trial(some)))
    monkeypatch.setattr("dbm_gmx.sampling.preparation.cut_droplet", partial(cut_droplet, atoms=FEW))
    ready, found = prepare(sampler, beads)
    assert ready.system is sampler.system
    assert ready.effort == found.effort == (2, 2000, 256)
    assert max(tried) < FEW + sampler.system.matches[0].moltype.n_atoms
    assert f"(tried on {tried[0]} of {sampler.system.n_atoms} atoms)" in found.lines(0.03)[0]

"""The stages of the sampler: what each is for, and that leaving it out is seen.

Growth, conformer exchange, packing, sweeps and the last projection of the bonds stand in a row in
:mod:`dbm_gmx.sampling.sampler`.  Each has a test of what it must bring about on molecules that ship; the same
question is asked again with the stage left out, and must be answered otherwise.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cut import Cut, cut, energies, equilibrated, search_less

import dbm_gmx.sampling.chain as chains
import dbm_gmx.sampling.growth as growth
import dbm_gmx.sampling.sampler as sampler
from dbm_gmx.chemistry.stereo import chirality_of, stereocentres
from dbm_gmx.chemistry.system import mapped_beads
from dbm_gmx.files.conformers import reference_chirality
from dbm_gmx.files.share import share_path
from dbm_gmx.forcefield.constraints import fixed_bonds
from dbm_gmx.options import Conditions, Settings
from dbm_gmx.sampling.growth import Grower

# where the stages are called from, and what they are called there
GROWTH = ((sampler, "grow"),)
EXCHANGE = ((sampler, "exchange_conformers"),)
PACKING = ((sampler, "pack"),)
SWEEPS = ((chains, "sweep"),)  # what moves atoms; that there was one is still counted
PROJECTION = ((sampler, "shake_all"),)

HOT, WARM = 568.0, 350.0  # K, of polystyrene and of octane


def nothing(*_: object, **__: object) -> None:
    """A stage that is left out: all of them but growth change positions in place."""


def left_where_the_beads_are(stage: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """Growth that grows nothing: every atom on the bead that owns it, a little off."""
    grown = stage(*given, **more)
    grower, molecules = given[:2]
    rng = np.random.default_rng(1)
    on_beads = molecules.beads[:, grower.molecule.mapping.owner]
    return replace(grown, positions=on_beads + 0.02 * rng.normal(size=on_beads.shape))


@contextmanager
def without(*stages: tuple[ModuleType, str]) -> Iterator[None]:
    """Leave stages out."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in stages:
            spoiled = partial(left_where_the_beads_are, getattr(module, name))
            patch.setattr(module, name, spoiled if (module, name) in GROWTH else nothing)
        yield


@pytest.fixture(scope="module")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Twelve molecules of octane, two frames."""
    folder = tmp_path_factory.mktemp("liquid")
    return cut(share_path("examples", "octane"), folder / "octane", "OCT", 12, frames=2)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """A decamer of polystyrene."""
    folder = tmp_path_factory.mktemp("chain")
    return cut(share_path("reference", "sps"), folder / "sps", "SPS", 1)


@pytest.fixture(scope="module", autouse=True)
def grown_once() -> Iterator[None]:
    """What grows from the same beads with the same random numbers does so once for all tests."""
    known: dict[bytes, Any] = {}

    def once(stage: Callable[..., Any]) -> Callable[..., Any]:
        def remembered(grower: Grower, *given: Any) -> Any:
            key = pickle.dumps((stage.__name__, growth.GROWTH, grower.hamiltonian.conditions, given))
            if key not in known:
                known[key] = stage(grower, *given)
            return known[key]

        return remembered

    with pytest.MonkeyPatch.context() as patch:
        for name in ("grow", "find_candidates"):
            patch.setattr(sampler, name, once(getattr(sampler, name)))
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth in few steps, where what comes after it is asked."""
    search_less(monkeypatch)


def sampled(made: Cut, conditions: Conditions, **more: Any) -> np.ndarray:
    """(frames, n, 3) atoms put back, nm."""
    reference = share_path("molecules", "SPS") / "conf.gro" if made.system.n_atoms == 162 else None
    chirality = reference_chirality(made.system, reference)
    rebuild = sampler.make_sampler(made.system, conditions, Settings(**more), chirality)
    return np.array([rebuild(frame)[0] for frame in made.beads], np.float64)


FLEXIBLE = Conditions(WARM, constraints="none")  # as in the run of the shipped atoms
FIXED = Conditions(WARM)


# --- growth ----------------------------------------------------------------------------------------


def well_grown(made: Cut) -> bool:
    """Whether what growth leaves is a molecule: of the right chirality, on its beads, at a minimum.

    Its energy is then below that of equilibrium, by about half a kT for each of three coordinates an atom.
    Exchange and packing are left out, as both mend what growth did wrong.
    """
    conditions = Conditions(HOT, constraints="none")
    with without(*EXCHANGE, *PACKING):
        atoms = sampled(made, conditions, refine="none")
    centres = stereocentres(made.system.topology.molecule_types["SPS"])
    right = chirality_of(atoms, centres) == chirality_of(equilibrated(made), centres)
    off = np.linalg.norm(mapped_beads(made.system, atoms[0]) - made.beads[0].positions, axis=1)
    found, usual = (energies(made, x, conditions)[0] for x in (atoms, equilibrated(made)))
    print(f"{right.mean():.0%} right, {off.max():.4f} nm off, {found:.2f} kT an atom, usual are {usual:.2f}")
    return bool(right.all() and off.max() < 0.03 and found < usual)


def test_growth_makes_molecules_of_the_right_chirality(chain: Cut) -> None:
    assert well_grown(chain)
    with without(*GROWTH):
        assert not well_grown(chain)


# --- conformer exchange ----------------------------------------------------------------------------


def energy_of_shapes(made: Cut) -> float:
    """Of molecules as they come out of growth and exchange, at their minima: kT a molecule."""
    with without(*PACKING):
        atoms = sampled(made, FLEXIBLE, refine="none")
    return energies(made, atoms, FLEXIBLE)[0] * made.system.topology.molecule_types["OCT"].n_atoms


def test_exchange_finds_the_shapes_that_the_beads_allow(liquid: Cut) -> None:
    """One shape that grew lies several kT above the best of the beads: those chosen must be lower."""
    chosen = energy_of_shapes(liquid)
    with without(*EXCHANGE):
        first = energy_of_shapes(liquid)
    print(f"energy of shapes: {chosen:.2f} kT a molecule, {first:.2f} without exchange")
    assert first - chosen > 1.0


# --- packing ---------------------------------------------------------------------------------------


def is_packed(made: Cut) -> bool:
    """Whether molecules move as they do at their temperature when sweeps begin.

    Their energy is then between three quarters of that of equilibrium and twice of it; those that are
    not packed lie at minima of their own.
    """
    atoms = sampled(made, FLEXIBLE, refine="none")
    found = energies(made, atoms, FLEXIBLE)[0] / energies(made, equilibrated(made), FLEXIBLE)[0]
    print(f"energy before sweeps over that of equilibrium: {found:.2f}")
    return 0.75 < found < 2.0


def test_packing_brings_molecules_to_their_temperature(liquid: Cut) -> None:
    assert is_packed(liquid)
    with without(*PACKING):
        assert not is_packed(liquid)


# --- sweeps ----------------------------------------------------------------------------------------


def is_thermal(made: Cut) -> bool:
    """Whether the energy of the terms is that of equilibrium.

    Half a kT for each of three coordinates of N atoms scatters by the root of 1.5 N, in kT: here the
    difference of two means of two frames by 0.07 kT an atom.
    """
    found = energies(made, sampled(made, FLEXIBLE), FLEXIBLE)[0]
    expected = energies(made, equilibrated(made), FLEXIBLE)[0]
    print(f"energy of terms: {found:.3f} kT an atom, at equilibrium {expected:.3f}")
    return abs(found - expected) < 0.3


def test_sweeps_make_energies_those_of_the_temperature(liquid: Cut) -> None:
    # packing comes near to that by itself: what was grown lies in a minimum
    with without(*PACKING):
        assert is_thermal(liquid)
    with without(*PACKING, *SWEEPS):
        assert not is_thermal(liquid)


# --- projection ------------------------------------------------------------------------------------


def off_their_length(made: Cut) -> float:
    """Largest deviation of a bond of fixed length, nm."""
    atoms = sampled(made, FIXED, sweeps=2)
    match = made.system.matches[0]
    bonds, length = fixed_bonds(match.moltype, FIXED.constraints)
    x = atoms.reshape(len(atoms) * match.count, -1, 3)
    return float(np.abs(np.linalg.norm(x[:, bonds[:, 0]] - x[:, bonds[:, 1]], axis=-1) - length).max())


@pytest.mark.usefixtures("quick")
def test_bonds_of_fixed_length_have_it_in_the_end(liquid: Cut) -> None:
    """To the rounding of single precision; without the last projection they are off by picometres."""
    assert off_their_length(liquid) < 2e-6
    with without(*PROJECTION):
        assert off_their_length(liquid) > 1e-3

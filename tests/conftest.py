"""What tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# tests run side by side, one on each core: threads of their own would be in each other's way
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import systems
from cut import Cut, cut, search_less
from hypothesis import HealthCheck, settings

from dbm_gmx.chemistry.system import whole_atoms
from dbm_gmx.files.share import share_path
from dbm_gmx.files.system import read_system
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.options import MoleculeFiles

QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("short", max_examples=4, derandomize=True, **QUIET)
settings.register_profile("long", max_examples=int(os.environ.get("DBM_GMX_FUZZ", "1000")), **QUIET)
settings.load_profile("short")  # another one is asked for by --hypothesis-profile

HERE = Path(__file__).resolve().parent

LONGEST = (
    "test_martini",
    "test_winding",
    "test_loop",
    "test_docs",
    "test_cluster",
    "test_train",
    "test_evaluate",
    "test_default",
    "test_two_samples",
    "test_cli",
    "test_resume",
    "test_compiled",
    "test_fuzz",
    "test_memory_file",
    "test_memory",
    "test_python",
    "test_chirality",
    "test_backmap",
    "test_sampler",
    "test_growth",
    "test_conformer_exchange",
    "test_interrupts",
    "test_preparation",
    "test_converged",
    "test_chain",
    "test_cost",
    "test_stages",
)
"""Files that take longest: begun first, so that no worker is left alone with one of them in the end."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the order of the files; pytest-xdist would begin with those of many tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """What is sent to the disk itself can be told from what is not by a cut of power alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which fails in the same way
        yield


@pytest.fixture(scope="session")
def reference() -> Path:
    """Return the folder with the published reference systems, which are not part of the project."""
    folder = Path(os.environ.get("DBM_GMX_REFERENCE", HERE.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder} (set DBM_GMX_REFERENCE)")
    return folder


@pytest.fixture(scope="session")
def gmx() -> str:
    """Return the path of GROMACS' ``gmx``."""
    path = shutil.which("gmx")
    if path is None:
        pytest.skip("GROMACS (gmx) is not installed")
    return path


@pytest.fixture(scope="session")
def reference_or_none() -> Path | None:
    """Return the folder with the reference systems, or ``None``."""
    folder = Path(os.environ.get("DBM_GMX_REFERENCE", HERE.parent.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="module")
def less_search() -> Iterator[None]:
    """Grow molecules in few steps in all tests of a file, none of which asks how well."""
    with pytest.MonkeyPatch.context() as patch:
        search_less(patch)
        yield


@pytest.fixture(scope="session")
def octane() -> systems.Example:
    """Return the shipped liquid: 80 molecules of octane, the first frame of its atoms."""
    folder = share_path("examples", "octane")
    system, _ = read_system(
        folder / "cg.tpr",
        MoleculeFiles(folder / "topol.top", [folder / "mapping.xml"], [folder / "owners.txt"]),
    )
    frame = next(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms))
    return systems.example(system, whole_atoms(system, frame), frame.box)


@pytest.fixture(scope="session")
def polymer(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Return two decamers of polystyrene."""
    return cut(share_path("reference", "sps"), tmp_path_factory.mktemp("polymer") / "sps", "SPS", 2)


@pytest.fixture(scope="session")
def tiny() -> systems.Example:
    """Return a few molecules in a skewed box much smaller than two cut-offs."""
    return systems.tiny()

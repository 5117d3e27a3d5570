"""What tests share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


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

"""Where the files that ship with the package are."""

from __future__ import annotations

import site
import sys
import sysconfig
from pathlib import Path

import dbm_gmx


def share_path(*parts: str) -> Path:
    """Return the path of a shipped file or folder, which need not exist.

    A checkout's ``share`` beside the package comes first (source and editable runs), then
    ``share/dbm_gmx`` of the installation (wheel, ``--user``).
    """
    prefixes = (sys.prefix, sysconfig.get_path("data"), site.getuserbase())
    folders = [Path(dbm_gmx.__file__).resolve().parent.parent / "share"]
    folders += [Path(prefix) / "share" / "dbm_gmx" for prefix in prefixes if prefix]
    return next((f for f in folders if f.is_dir()), folders[0]).joinpath(*parts)

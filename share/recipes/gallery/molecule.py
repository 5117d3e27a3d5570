"""A molecule of the library coloured by bead: molecule.py NAME OUT.svg."""

from __future__ import annotations

import sys
from pathlib import Path

from dbm_gmx.files.drawing import draw_mapping
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.share import share_path
from dbm_gmx.files.top import read_topology

name, out = sys.argv[1:]
folder = share_path("molecules", name)
topology = read_topology(folder / "topol.top")
mapping = read_mappings([folder / "mapping.xml"], topology)[name]
Path(out).write_text(draw_mapping(topology.molecule_types[name], mapping.owner, mapping.names))

"""A molecule coloured by bead, of the library or of files: molecule.py NAME OUT.svg [TOPOLOGY MAPPING]."""

from __future__ import annotations

import sys
from pathlib import Path

from dbm_gmx.files.drawing import draw_mapping
from dbm_gmx.files.mappings import read_mappings
from dbm_gmx.files.share import share_path
from dbm_gmx.files.top import read_topology

name, out, *files = sys.argv[1:]
folder = share_path("molecules", name)
top, given = map(Path, files) if files else (folder / "topol.top", folder / "mapping.xml")
topology = read_topology(top)
mapping = read_mappings([given], topology)[name]
Path(out).write_text(draw_mapping(topology.molecule_types[name], mapping.owner, mapping.names))

"""Train the provisional model: train.py OUT.pt HOURS FOLDER:HELD_OUT [FOLDER:HELD_OUT ...].

A FOLDER holds ``cg.tpr``, ``topol.top``, ``mapping.xml`` and ``aa.xtc``; the last HELD_OUT frames of
``aa.xtc`` are not used.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dbm_gmx.channels import default_channels, feature_table
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.grid import Grid
from dbm_gmx.layout import make_layout
from dbm_gmx.system import bead_types_of, classes_of, read_system
from dbm_gmx.training import Recipe, make_sample, train


def main() -> None:
    """Read the systems, train, write the model."""
    output, hours, *rest = sys.argv[1:]
    folders = {Path(name): int(held) for name, held in (text.rsplit(":", 1) for text in rest)}
    systems = {
        f: read_system(f / "cg.tpr", topology=f / "topol.top", mappings=[f / "mapping.xml"])[0]
        for f in folders
    }
    classes = sorted({c for s in systems.values() for names in classes_of(s).values() for c in names})
    types = sorted({bead for s in systems.values() for bead in bead_types_of(s)})
    channels = default_channels(classes, types)
    table = feature_table(channels, classes, types)
    samples = []
    for folder, system in systems.items():
        layout = make_layout(system.matches, system.plans, classes_of(system), table=table)
        frames = list(read_frames(folder / "aa.xtc", n_atoms=system.n_atoms))
        used = frames[: len(frames) - folders[folder]]
        samples.append([make_sample(system, layout, frame, grid=Grid()) for frame in used])
    recipe = Recipe(hours=float(hours))
    train(samples, table=table, channels=channels, output=Path(output), recipe=recipe)


if __name__ == "__main__":
    main()

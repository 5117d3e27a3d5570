"""Map the octane frames to beads: ``beads.py mapping.xml aa.gro aa.xtc`` writes cg.gro and cg.xtc."""

import sys
import warnings
import xml.etree.ElementTree as ET

import MDAnalysis as mda
import numpy as np


def read_weights(path, names):
    """Return the beads' names and their (beads, atoms) weights, each row adding up to 1."""
    root = ET.parse(path).getroot()
    maps = {m.findtext("name"): m.findtext("weights").split() for m in root.iter("map")}
    beads = list(root.iter("cg_bead"))
    weights = np.zeros((len(beads), len(names)))
    for row, bead in zip(weights, beads, strict=True):
        atoms = [names.index(a.split(":")[2]) for a in bead.findtext("beads").split()]
        row[atoms] = [float(w) for w in maps[bead.findtext("mapping")]]
    return [b.findtext("name") for b in beads], weights / weights.sum(axis=1, keepdims=True)


def map_frame(positions, edges, weights):
    """Return wrapped beads; atoms next to each other in the file are close, the box is rectangular."""
    atoms = positions.reshape(-1, weights.shape[1], 3).astype(float)
    steps = np.diff(atoms, axis=1)
    steps -= edges * np.round(steps / edges)
    atoms[:, 1:] = atoms[:, :1] + np.cumsum(steps, axis=1)
    return np.mod(weights @ atoms, edges).reshape(-1, 3)


def main(mapping, structure, trajectory):
    """Write cg.gro (first frame) and cg.xtc, and print what the CG bonds look like."""
    atoms = mda.Universe(structure, trajectory)
    n = len(atoms.residues)
    names, weights = read_weights(mapping, list(atoms.residues[0].atoms.names))
    k = len(names)
    cg = mda.Universe.empty(n * k, n_residues=n, atom_resindex=np.repeat(np.arange(n), k), trajectory=True)
    for key, values in [("names", names * n), ("resnames", ["OCT"] * n), ("resids", range(1, n + 1))]:
        cg.add_TopologyAttr(key, list(values))
    lengths = []
    with mda.Writer("cg.xtc", n * k) as out:
        for frame in atoms.trajectory:
            beads = map_frame(frame.positions, frame.dimensions[:3], weights)
            cg.atoms.positions, cg.dimensions = beads, frame.dimensions
            cg.trajectory.ts.time = frame.time
            out.write(cg.atoms)
            if frame.frame == 0:
                cg.atoms.write("cg.gro")
            steps = np.diff(beads.reshape(n, k, 3), axis=1)
            steps -= frame.dimensions[:3] * np.round(steps / frame.dimensions[:3])
            lengths.append(np.linalg.norm(steps, axis=-1) / 10)
    stretch = np.concatenate(lengths)
    print("bonds, nm:", stretch.mean(axis=0), "kT/variance:", 0.0083145 * 350 / stretch.var(axis=0))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(*sys.argv[1:])

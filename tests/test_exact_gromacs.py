"""The exact refinement's chain against stochastic dynamics of GROMACS: a molecule in vacuum."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from exact import beads_of, lattice, sample, start

from dbm_gmx.chemistry.mapping import Match
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.topology import Topology
from dbm_gmx.files.top import read_topology
from dbm_gmx.files.trajectory import read_frames
from dbm_gmx.forcefield.energy import bonded_energies, dihedral
from dbm_gmx.options import Conditions

TEMPERATURE, COPIES = 400.0, 40
STEPS = int(os.environ.get("DBM_GMX_SD_STEPS", "400000"))  # more for a closer look
SWEEPS = int(os.environ.get("DBM_GMX_SD_SWEEPS", "500"))

# ethylbenzene, OPLS-AA: ring, methylene and methyl; types and charges
ATOMS = [
    *[("opls_145", -0.115)] * 6,
    *[("opls_146", 0.115)] * 5,
    ("opls_149", -0.005),
    *[("opls_140", 0.06)] * 2,
    ("opls_135", -0.18),
    *[("opls_140", 0.06)] * 3,
]
BONDS = [
    *[(i, (i + 1) % 6) for i in range(6)],
    *[(i, i + 5) for i in range(1, 6)],
    *[(0, 11), (11, 12), (11, 13), (11, 14), (14, 15), (14, 16), (14, 17)],
]
RINGS = [
    (i, (i - 1) % 6, (i + 1) % 6, 11 if i == 0 else i + 5) for i in range(6)
]  # flat at each of its atoms


def topology_file(path: Path) -> Path:
    """Write ethylbenzene in OPLS-AA, everything looked up by type but the impropers."""
    near: list[set[int]] = [set() for _ in ATOMS]
    for i, j in BONDS:
        near[i].add(j)
        near[j].add(i)
    angles = [(i, j, k) for j in range(18) for i in near[j] for k in near[j] if i < k]
    turns = [(i, j, k, m) for j, k in BONDS for i in near[j] - {k} for m in near[k] - {j}]
    close = {frozenset((a[0], a[2])) for a in angles} | {frozenset(b) for b in BONDS}
    pairs = {tuple(sorted((t[0], t[3]))) for t in turns if frozenset((t[0], t[3])) not in close}
    lines = ['#include "oplsaa.ff/forcefield.itp"', "[ moleculetype ]", "ETB 3", "[ atoms ]"]
    lines += [f"{i} {t} 1 ETB X{i} {i} {q}" for i, (t, q) in enumerate(ATOMS, 1)]
    for section, function, rows in (
        ("bonds", "1", BONDS),
        ("angles", "1", angles),
        ("dihedrals", "3", turns),
        ("dihedrals", "4 180.0 4.6024 2", [(a, b, i, d) for i, a, b, d in RINGS]),
        ("pairs", "1", sorted(pairs)),
    ):
        lines += [f"[ {section} ]", *(" ".join(str(i + 1) for i in row) + f" {function}" for row in rows)]
    path.write_text("\n".join([*lines, "[ system ]", "vacuum", "[ molecules ]", "ETB 1", ""]))
    return path


def built() -> np.ndarray:
    """(18, 3) about the right geometry, to be relaxed."""
    angle = np.arange(6) * np.pi / 3
    out = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    x = np.zeros((18, 3))
    x[:6], x[6:11] = 0.14 * out, np.nan
    x[6:11] = 0.249 * out[1:]
    x[11] = [0.29, 0, 0]
    x[14] = [0.341, 0, 0.144]
    x[12], x[13] = [0.325, 0.088, -0.055], [0.325, -0.088, -0.055]
    x[15], x[16], x[17] = [0.45, 0, 0.14], [0.308, 0.088, 0.2], [0.308, -0.088, 0.2]
    return x


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


MDP = """
cutoff-scheme = Verlet
nstlist = 50
verlet-buffer-tolerance = -1
rlist = 1.25
coulombtype = reaction-field
epsilon-rf = 0
rcoulomb = 1.2
rvdw = 1.2
vdw-modifier = Potential-shift
coulomb-modifier = None
DispCorr = no
comm-mode = Linear
nstcomm = 100
"""


def dynamics(gmx: str, folder: Path, top: Path) -> np.ndarray:
    """(frames, 18, 3) of a relaxed molecule in stochastic dynamics with flexible bonds, whole."""
    x = built() + 2.0
    rows = [f"{1:5d}{'ETB':<5}{'X':>5}{i + 1:5d}" + "".join(f"{v:8.3f}" for v in r) for i, r in enumerate(x)]
    (folder / "conf.gro").write_text("\n".join(["vacuum", "18", *rows, "   4.0 4.0 4.0", ""]))
    (folder / "min.mdp").write_text(f"integrator = steep\nnsteps = 2000\n{MDP}")
    (folder / "sd.mdp").write_text(
        f"integrator = sd\ndt = 0.001\nnsteps = {STEPS}\nconstraints = none\ntc-grps = System\ntau-t = 0.2\n"
        f"ref-t = {TEMPERATURE}\ngen-vel = yes\ngen-temp = {TEMPERATURE}\ngen-seed = 3\nld-seed = 5\n"
        f"nstxout-compressed = 100\ncompressed-x-precision = 100000\nnstcalcenergy = 1000\nnstlog = 0\n{MDP}"
    )
    for name, before in (("min", "conf.gro"), ("sd", "min.gro")):
        grompp = ("-f", f"{name}.mdp", "-c", before, "-p", top, "-o", f"{name}.tpr", "-maxwarn", 5)
        run(gmx, "grompp", *grompp, folder=folder)
        run(gmx, "mdrun", "-nt", 1, "-deffnm", name, folder=folder)
    return np.stack([f.positions.astype(np.float64) for f in read_frames(folder / "sd.xtc", n_atoms=18)])


def per_term(topology: Topology, x: np.ndarray) -> dict[str, np.ndarray]:
    """Energies of (frames, 18, 3), by name, and the angle of the ring to the ethyl group, degrees."""
    one = Topology(topology.molecule_types, (("ETB", 1),), topology.nonbonded)
    found = {k: v.numpy() for k, v in bonded_energies(one, torch.as_tensor(x)).items()}
    phi = dihedral(*torch.as_tensor(x[:, [1, 0, 11, 14]]).diff(dim=1).unbind(1)).numpy()
    spun = dihedral(*torch.as_tensor(x[:, [0, 11, 14, 15]]).diff(dim=1).unbind(1)).numpy()
    twisted = np.cos(2 * phi), np.cos(4 * phi), np.cos(3 * spun)
    return found | dict(zip(("cos 2 phi", "cos 4 phi", "cos 3 methyl"), twisted, strict=True))


@pytest.mark.long
def test_ethylbenzene_as_stochastic_dynamics(gmx: str, tmp_path: Path) -> None:
    # bonds flexible in both: the distribution is that of Boltzmann, without corrections for constraints
    top = topology_file(tmp_path / "topol.top")
    topology = read_topology(top)
    frames = dynamics(gmx, tmp_path, top)[50:]
    frames += 4.0 * np.round((frames[:, :1] - frames) / 4.0)
    theirs = per_term(topology, frames)
    moltype = topology.molecule_types["ETB"]
    one = beads_of(moltype, [0] * 18)  # a single bead holds the molecule where it is and nothing else
    many = Topology(topology.molecule_types, (("ETB", COPIES),), topology.nonbonded)
    made = System(many, {"ETB": one}, (Match(moltype, one, COPIES, first_bead=0, first_atom=0),))
    points, box = lattice(COPIES, 3.5)
    # all from one frame: what the moves cannot reach would stay as it is there
    atoms = (points[:, None] + frames[0] - frames[0].mean(0)).reshape(-1, 3)
    conditions = Conditions(TEMPERATURE, rvdw=1.2, rcoulomb=1.2, constraints="none", spread=0.03)
    chain = start(made, conditions, atoms, box)
    ours = sample(chain, lambda x: x.reshape(COPIES, 18, 3).copy(), burn=SWEEPS // 3, sweeps=SWEEPS, every=5)
    measured = [per_term(topology, ours[:, copy]) for copy in range(COPIES)]
    for name, values in theirs.items():
        mine = np.array([m[name].mean() for m in measured])
        blocks = np.array([b.mean() for b in np.array_split(values, 20)])
        error = np.hypot(mine.std(ddof=1) / np.sqrt(COPIES), blocks.std(ddof=1) / np.sqrt(20))
        z = (mine.mean() - values.mean()) / error
        print(f"{name:16} chain {mine.mean():9.4f}  gmx {values.mean():9.4f}  error {error:.4f}  z {z:.2f}")
        assert abs(z) < 6, name  # errors from twenty blocks have wide tails

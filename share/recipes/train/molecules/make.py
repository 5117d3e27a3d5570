"""Training data of small molecules: liquids made with GROMACS and its oplsaa.ff, mapped in several ways.

    python make.py FOLDER [NAME ...]        # those of molecules.toml, all if none is named
    dbm-gmx train FOLDER/train.toml

Needs gmx and pysmiles (comes with ``pip install 'dbm-gmx[martini]'``).  What is there already stays.
Each molecule takes one to two minutes of a core.  Lengths are nm.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tomllib
import warnings
from itertools import combinations
from pathlib import Path

import MDAnalysis as mda
import networkx as nx
import numpy as np
from pysmiles import read_smiles
from scipy.optimize import minimize

HERE = Path(__file__).resolve().parent
MASS = {"C": 12.011, "H": 1.008, "O": 15.9994, "N": 14.0067}
DILUTE = 250.0  # kg/m3, of the box in which molecules are put
SKIP, EVERY = 16.0, 2.0  # ps of the run that are left out, and from frame to frame
FORCES = {
    "cutoff-scheme": "Verlet",
    "coulombtype": "Reaction-Field",
    "epsilon-rf": 0,
    "rcoulomb": 0.9,
    "rvdw": 0.9,
    "DispCorr": "EnerPres",
}
MINIMUM = FORCES | {"integrator": "steep", "nsteps": 1000, "emtol": 500, "emstep": 0.005}
RUN = FORCES | {
    "integrator": "md",
    "dt": 0.002,
    "constraints": "h-bonds",
    "nstxout-compressed": round(EVERY / 0.002),
    "tcoupl": "v-rescale",
    "tc-grps": "System",
    "tau-t": 0.5,
    "pcoupl": "C-rescale",
    "tau-p": 1.0,
    "compressibility": 1e-4,
    "gen-vel": "yes",
}
STAGES = [("dense", 1000, 14.0), ("run", 100, 41.0)]  # bar, ps


# --- what a molecule is ------------------------------------------------------------------------------


def read(smiles: str) -> nx.Graph:
    """Atoms with ``element`` and OPLS ``type``, bonds with ``order``, hydrogens after the heavy atoms."""
    graph = read_smiles(smiles, explicit_hydrogen=True)
    for heavy in (True, False):  # a hydrogen is named by what its heavy atom is
        for i, atom in graph.nodes(data=True):
            if (atom["element"] != "H") is heavy:
                atom["type"] = f"opls_{opls(graph, i)}"
    return graph


def opls(graph: nx.Graph, i: int) -> int:
    """Number of the OPLS-AA type."""
    near = [graph.nodes[j] for j in graph[i]]
    element, hydrogens = graph.nodes[i]["element"], sum(a["element"] == "H" for a in near)
    orders = {graph.edges[i, j]["order"] for j in graph[i]}
    if element == "H":
        on = int(near[0]["type"].removeprefix("opls_"))
        return {238: 241, 154: 155, 142: 144, 143: 144, 145: 146}.get(
            on, 469 if on in ESTER else 185 if on in ETHER else 140
        )
    if element == "N":
        return 238
    if element == "O":
        if 2 in orders:
            return 236 if is_amide(graph, next(iter(graph[i]))) else 466
        return 154 if hydrogens else 467 if carbonyls(graph, i) else 180
    if 1.5 in orders:
        return 145
    if carbonyls(graph, i, itself=True):
        return 235 if is_amide(graph, i) else 465
    if 2 in orders:
        return 141 + hydrogens
    return aliphatic(graph, i, hydrogens)


ETHER, ESTER, AMIDE = (181, 182, 183), (468, 490, 491), (242, 244)  # carbons, by what they are bonded to


def aliphatic(graph: nx.Graph, i: int, hydrogens: int) -> int:
    """Number of the type of a carbon with four neighbours."""
    less = 3 - hydrogens
    for j in graph[i]:
        element = graph.nodes[j]["element"]
        if element == "N":
            return AMIDE[less]
        if element == "O":
            if any(graph.nodes[k]["element"] == "H" for k in graph[j]):
                return 157 if hydrogens > 1 else 158
            return (ESTER if carbonyls(graph, j) else ETHER)[less]
        if element == "C" and any(graph.edges[j, k]["order"] == 1.5 for k in graph[j]):
            return (148, 149, 515)[less]
    return (135, 136, 137, 139)[less]


def carbonyls(graph: nx.Graph, i: int, *, itself: bool = False) -> list[int]:
    """Carbons with a double bond to oxygen beside an atom, or the atom itself."""
    return [
        j
        for j in ([i] if itself else graph[i])
        if any(graph.edges[j, k]["order"] == 2 and graph.nodes[k]["element"] == "O" for k in graph[j])
        and graph.nodes[j]["element"] == "C"
    ]


def is_amide(graph: nx.Graph, carbon: int) -> bool:
    """Whether a carbon has a nitrogen."""
    return any(graph.nodes[j]["element"] == "N" for j in graph[carbon])


def planar_bonds(graph: nx.Graph) -> list[tuple[int, int, str]]:
    """Bonds that do not turn, with what they are: ``ring``, ``double``, ``ester`` or ``amide``."""
    found = []
    for j, k, bond in graph.edges(data=True):
        ends = {graph.nodes[j]["element"], graph.nodes[k]["element"]}
        carbon = next((c for c in (j, k) if carbonyls(graph, c, itself=True)), None)
        if bond["order"] == 1.5:
            found.append((j, k, "ring"))
        elif bond["order"] == 2 and ends == {"C"}:
            found.append((j, k, "double"))
        elif carbon is not None and bond["order"] == 1 and ends != {"C"}:
            found.append((carbon, k if carbon == j else j, "amide" if "N" in ends else "ester"))
    return found


# --- topology ----------------------------------------------------------------------------------------

IMPROPER = {
    "CA": "improper_Z_CA_X_Y",
    "C": "improper_O_C_X_Y",
    "CM": "improper_Z_CM_X_Y",
    "N": "improper_Z_N_X_Y",
}

MISSING = ("", "[ dihedraltypes ]", "HC CM CT CT 3 0.76567 2.29701 0 -3.06269 0 0", "")  # as HC CT CT CM


def topology(name: str, graph: nx.Graph, molecules: int) -> str:
    """A .top file; parameters are looked up by type in oplsaa.ff."""
    types = {145: "CA", 235: "C", 465: "C", 141: "CM", 142: "CM", 238: "N"}
    flat = {i: types[t] for i, a in graph.nodes(data=True) if (t := int(a["type"][5:])) in types}
    angles = [(i, j, k) for j in sorted(graph) for i, k in combinations(sorted(graph[j]), 2)]
    dihedrals = [
        (i, j, k, m)
        for j, k in sorted(tuple(sorted(e)) for e in graph.edges)
        for i in sorted(set(graph[j]) - {k})
        for m in sorted(set(graph[k]) - {j})
    ]
    near = dict(nx.all_pairs_shortest_path_length(graph, cutoff=3))
    pairs = [(i, j) for i in sorted(near) for j in sorted(near[i]) if i < j and near[i][j] == 3]
    lines = ['#include "oplsaa.ff/forcefield.itp"', *MISSING, "[ moleculetype ]", f"{name[:5].upper()} 3", ""]
    lines.append("[ atoms ]")
    for i, atom in sorted(graph.nodes(data=True)):
        lines.append(f"{i + 1} {atom['type']} 1 {name[:3].upper()} {atom['element']}{i + 1} {i + 1}")
    bonds = sorted(tuple(sorted(e)) for e in graph.edges)
    for section, rows, tail in (
        ("bonds", bonds, "1"),
        ("pairs", pairs, "1"),
        ("angles", angles, "1"),
        ("dihedrals", dihedrals, "3"),
    ):
        lines += ["", f"[ {section} ]", *(f"{' '.join(str(i + 1) for i in row)} {tail}" for row in rows)]
    lines += ["", "[ dihedrals ]"]
    for i, kind in flat.items():
        first, second, last = sorted(graph[i], key=lambda j: (len(graph[j]) == 1, j))
        lines.append(f"{first + 1} {second + 1} {i + 1} {last + 1} 4 {IMPROPER[kind]}")
    lines += ["", "[ system ]", name, "", "[ molecules ]", f"{name[:5].upper()} {molecules}", ""]
    return "\n".join(lines)


# --- beads -------------------------------------------------------------------------------------------


def pieces(graph: nx.Graph, size: int) -> list[list[int]]:
    """Heavy atoms in connected pieces of at least so many, but for the last; a ring stays whole.

    Pieces are cut off from the ends towards the first atom, or for an even size towards the last.
    """
    heavy = graph.subgraph(i for i, a in graph.nodes(data=True) if a["element"] != "H")
    rings = [set(block) for block in nx.biconnected_components(heavy) if len(block) > 2]
    unit = {i: next((min(r) for r in rings if i in r), i) for i in heavy}
    tree = nx.Graph((unit[i], unit[j]) for i, j in heavy.edges if unit[i] != unit[j])
    members = {u: [i for i in heavy if unit[i] == u] for u in tree}
    found: list[list[int]] = []
    root = min(tree) if size % 2 else max(tree)
    parent = dict(nx.bfs_predecessors(tree, root))
    open_pieces = {u: list(members[u]) for u in tree}
    piece_of: dict[int, int] = {}
    for u in nx.dfs_postorder_nodes(tree, root):
        mine = open_pieces[u]
        if len(mine) >= size or (u == root and len(mine) > 1):
            found.append(mine)
            piece_of |= dict.fromkeys(mine, len(found) - 1)
        elif u != root:
            open_pieces[parent[u]] += mine
        else:  # a single atom is left: to the smallest piece beside it
            k = min((piece_of[j] for i in mine for j in heavy[i]), key=lambda p: len(found[p]))
            found[k] += mine
    return [sorted(piece) for piece in sorted(found, key=min)]


def votca(name: str, graph: nx.Graph, beads: list[list[int]]) -> str:
    """The mapping as VOTCA csg xml, by the centres of mass; a bead is named by its heavy atoms."""
    title, residue = name[:5].upper(), name[:3].upper()
    parts, maps = [], []
    for k, heavy in enumerate(beads, 1):
        atoms = sorted([*heavy, *(j for i in heavy for j in graph[i] if graph.nodes[j]["element"] == "H")])
        elements = [graph.nodes[i]["element"] for i in heavy]
        kind = "".join(f"{e}{elements.count(e)}" for e in sorted(set(elements)))
        listed = " ".join(f"1:{residue}:{graph.nodes[i]['element']}{i + 1}" for i in atoms)
        parts.append(
            f"<cg_bead><name>B{k}</name><type>{kind}</type><mapping>M{k}</mapping><beads>{listed}</beads></cg_bead>"
        )
        weights = " ".join(str(MASS[graph.nodes[i]["element"]]) for i in atoms)
        maps.append(f"<map><name>M{k}</name><weights>{weights}</weights></map>")
    body = "\n".join(["<topology><cg_beads>", *parts, "</cg_beads></topology>", "<maps>", *maps, "</maps>"])
    return f"<cg_molecule>\n<name>{title}</name>\n<ident>{title}</ident>\n{body}\n</cg_molecule>\n"


# --- in space ----------------------------------------------------------------------------------------

LENGTH = {"C": 0.077, "H": 0.032, "O": 0.066, "N": 0.070}  # half of a single bond
SHORTER = {1: 0.0, 1.5: 0.014, 2: 0.020}  # by the order


def distances(graph: nx.Graph, rng: np.random.Generator) -> dict[tuple[int, int], float]:
    """Distances of atoms one and two bonds apart, and three at bonds that do not turn."""
    bond = {
        frozenset((i, j)): LENGTH[graph.nodes[i]["element"]]
        + LENGTH[graph.nodes[j]["element"]]
        - SHORTER[d["order"]]
        for i, j, d in graph.edges(data=True)
    }
    found = {(min(pair), max(pair)): length for pair, length in bond.items()}
    for j in graph:
        bend = np.radians(120.0 if len(graph[j]) == 3 else 110.0)
        for i, k in combinations(sorted(graph[j]), 2):
            a, b = bond[frozenset((i, j))], bond[frozenset((j, k))]
            found[i, k] = float(np.sqrt(a * a + b * b - 2 * a * b * np.cos(bend)))
    for j, k, kind in planar_bonds(graph):
        left, right = (sorted(set(graph[x]) - {y}) for x, y in ((j, k), (k, j)))
        if kind == "ring":  # members of the ring are cis
            left, right = (
                sorted(s, key=lambda x: graph.nodes[x].get("aromatic") is not True) for s in (left, right)
            )
        elif kind in ("ester", "amide"):  # the oxygen is cis to the carbon
            left.sort(key=lambda x: graph.edges[x, j]["order"] != 2)
            right.sort(key=lambda x: graph.nodes[x]["element"] != "C")
        elif rng.random() < 0.5:
            left.reverse()
        for a, i in enumerate(left):
            for b, m in enumerate(right):
                reach = [bond[frozenset(pair)] for pair in ((i, j), (j, k), (k, m))]
                along = reach[1] + (reach[0] + reach[2]) / 2
                across = np.sin(np.radians(60)) * (reach[0] + (reach[2] if a != b else -reach[2]))
                found.setdefault((min(i, m), max(i, m)), float(np.hypot(along, across)))
    return found


def conformation(graph: nx.Graph, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) random places that have the distances, all others at least .26 nm apart (.2 with hydrogens)."""
    n, known = len(graph), distances(graph, rng)
    light = np.array([graph.nodes[i]["element"] == "H" for i in range(n)])
    i, j = np.triu_indices(n, 1)
    wanted = np.array([known.get(pair, np.nan) for pair in zip(i.tolist(), j.tolist(), strict=True)])
    least = np.where(light[i] | light[j], 0.2, 0.26)

    def misfit(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = flat.reshape(n, 3)
        step = x[i] - x[j]
        length = np.sqrt((step**2).sum(1)) + 1e-9
        off = np.where(np.isnan(wanted), np.minimum(length - least, 0), length - np.nan_to_num(wanted))
        force = (2 * off / length)[:, None] * step
        slope = np.zeros_like(x)
        np.add.at(slope, i, force)
        np.add.at(slope, j, -force)
        return float((off**2).sum()), slope.ravel()

    best, lowest = None, np.inf
    for _ in range(12):
        tried = minimize(misfit, rng.normal(scale=0.3, size=3 * n), jac=True, method="L-BFGS-B")
        if tried.fun < lowest:
            best, lowest = tried.x, tried.fun
        if lowest < 2e-3:
            break
    return np.asarray(best).reshape(n, 3)


def pack(name: str, graph: nx.Graph, molecules: int, rng: np.random.Generator) -> None:
    """Write start.gro: molecules on a lattice, anyhow turned."""
    shapes = [conformation(graph, rng) for _ in range(12)]
    mass = sum(MASS[a["element"]] for _, a in graph.nodes(data=True))
    across = int(np.ceil(molecules ** (1 / 3)))
    edge = max((molecules * mass * 1.66054 / DILUTE) ** (1 / 3), 2.2)
    lines = []
    for copy in range(molecules):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))  # no mirror image: those are among the shapes
        cell = np.array(np.unravel_index(copy, (across,) * 3))
        shape = shapes[int(rng.integers(len(shapes)))]
        places = (shape - shape.mean(0)) @ turn.T + (cell + 0.5) * edge / across
        for i, place in enumerate(places):
            number = copy * len(graph) + i + 1
            label = f"{copy + 1:5}{name[:3].upper():5}{graph.nodes[i]['element'] + str(i + 1):>5}{number:5}"
            lines.append(label + "".join(f"{v:8.3f}" for v in place))
    text = [name, str(len(lines)), *lines, f"{edge:.4f} {edge:.4f} {edge:.4f}"]
    Path("start.gro").write_text("\n".join(text) + "\n")


# --- runs --------------------------------------------------------------------------------------------


def gmx(*arguments: object) -> None:
    """Run GROMACS."""
    bare = os.environ | {"GMX_MAXBACKUP": "-1"}
    command = ["gmx", "-quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=bare)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {Path.cwd()}:\n{done.stderr[-3000:]}")


def stage(name: str, start: str, values: dict[str, object]) -> None:
    """Do a run, if it is not there."""
    if Path(f"{name}.gro").exists():
        return
    Path(f"{name}.mdp").write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
    gmx("grompp", "-f", f"{name}.mdp", "-c", start, "-p", "topol.top", "-o", f"{name}.tpr", "-po", "out.mdp")
    gmx("mdrun", "-deffnm", name, "-ntmpi", 1, "-ntomp", os.environ.get("THREADS", "1"))


def make(name: str, what: dict[str, object], rng: np.random.Generator) -> None:
    """Make one molecule in its folder: topology, mappings, and frames for each mapping."""
    graph, temperature = read(str(what["smiles"])), what["temperature"]
    Path(name).mkdir(exist_ok=True)
    os.chdir(name)
    Path("topol.top").write_text(topology(name, graph, int(what["molecules"])))
    for size in what["beads"]:
        Path(f"map{size}.xml").write_text(votca(name, graph, pieces(graph, size)))
    if not Path("start.gro").exists():
        pack(name, graph, int(what["molecules"]), rng)
    stage("min", "start.gro", MINIMUM)
    start = "min.gro"
    for title, pressure, length in STAGES:
        state = {
            "ref-t": temperature,
            "gen-temp": temperature,
            "ref-p": pressure,
            "gen-seed": 1,
            "ld-seed": 1,
        }
        stage(title, start, RUN | state | {"nsteps": round(length / 0.002)})
        start = f"{title}.gro"
    frames = mda.Universe("run.gro", "run.xtc", to_guess=())
    print(
        f"{name}: {len(graph)} atoms, {sum(ts.volume for ts in frames.trajectory[-5:]) / 5e3:.2f} nm3",
        flush=True,
    )
    taken = [ts.frame for ts in frames.trajectory if ts.time > SKIP]
    for k, size in enumerate(what["beads"]):  # each mapping has frames of its own
        with mda.Writer(f"aa{size}.xtc", len(frames.atoms)) as out:
            for frame in taken[k :: len(what["beads"])]:
                frames.trajectory[frame]
                out.write(frames.atoms)
    os.chdir("..")


def training_file(table: dict[str, dict[str, object]]) -> str:
    """The training file: that of this recipe, and a ``[[system]]`` for each mapping of each molecule.

    With them go octane and cumene of the reference systems, mapped as in the paper: their beads share atoms.
    """
    lines = [(HERE / "train.toml").read_text()]
    for name in ("octane", "cumene"):
        folder = HERE.parents[2] / "reference" / name
        lines += [
            "\n[[system]]",
            f'topology = "{folder}/topol.top"',
            f'trajectory = "{folder}/aa.xtc"',
            f'mapping = "{folder}/mapping.xml"',
            "temperature = 350",
            "frames = 4",
        ]
    for name, what in table.items():
        for size in what["beads"]:
            lines += [
                "\n[[system]]",
                f'topology = "{name}/topol.top"',
                f'trajectory = "{name}/aa{size}.xtc"',
                f'mapping = "{name}/map{size}.xml"',
                f"temperature = {what['temperature']}",
                "held_out = 0",
            ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the data."""
    table = tomllib.loads((HERE / "molecules.toml").read_text())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", choices=[*table, []], metavar="NAME")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(options.folder)
    chosen = {name: table[name] for name in options.names or table}
    for name, what in chosen.items():
        make(name, what, np.random.default_rng(1 + list(table).index(name)))
    (Path("channels.toml")).write_text((HERE / "channels.toml").read_text())
    Path("train.toml").write_text(training_file(chosen))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("pysmiles").setLevel(logging.ERROR)
    main()

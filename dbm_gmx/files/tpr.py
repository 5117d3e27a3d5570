"""Run input files: molecules, bonds, positions and box of a .tpr.

MDAnalysis has the low-level unpacking; its ``bonds`` do not do here, since they hold tabulated
and harmonic interactions that are no chemical bond and leave virtual sites out.  The layout is
that of ``do_mtop`` and ``do_moltype`` in GROMACS' ``src/gromacs/fileio/tpxio.cpp``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from MDAnalysis.coordinates.TPR import TPRReader
from MDAnalysis.topology.tpr import setting, utils

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame, check_frame, with_room
from dbm_gmx.chemistry.topology import HEAVIEST, MOST_CHARGED, MoleculeType, Topology
from dbm_gmx.errors import InputError
from dbm_gmx.files.elements import element_of, set_repartitioned
from dbm_gmx.files.text import check_file

#: What the interactions that are chemical bonds are called in a .tpr (GROMACS manual, table of
#: interaction types, column "bonds" of the exclusions).  Function types 6, 9 and 10 of [ bonds ] and
#: 2 of [ constraints ] are none.
_BONDS = ("BONDS", "G96BONDS", "MORSE", "CUBICBONDS", "CONNBONDS", "FENEBONDS", "TABBONDS")


@dataclass(frozen=True)
class _System:
    """What the first half of a .tpr holds; ``n_atoms`` is what it says of itself."""

    n_atoms: int
    moltypes: list[MoleculeType]
    molecules: tuple[tuple[str, int], ...]
    box: FloatArray


def read_tpr(path: str | Path) -> tuple[Topology, Frame]:
    """Read the system and its configuration from a run input file, coarse-grained or atomistic.

    The exclusions are complete as they stand in the file, so ``nrexcl`` is 0; terms and
    non-bonded parameters are not read.

    Raises
    ------
    InputError
        No such file, no run input file, a truncated one, one from a GROMACS that MDAnalysis does
        not know, or one without a usable box and positions.
    """
    path = Path(path)
    check_file(path)
    try:
        content = path.read_bytes()
        system = _read_system(content)
        _check_count(system, len(content))
        positions = _positions(path)
    except NotImplementedError as error:
        known = f"{setting.SUPPORTED_VERSIONS[0]} to {setting.SUPPORTED_VERSIONS[-1]}"
        message = f"{error} (known: {known}); give a .gro and its .top instead"
        raise InputError(message, path=path) from error
    except Exception as error:  # unpacking a damaged file can end in anything
        what = str(error) or "it ends too early"
        raise InputError(f"file is truncated or not a run input file: {what}", path=path) from error
    frame = with_room(Frame(positions, system.box))
    check_frame(frame, path)
    return Topology(
        {moltype.name: moltype for moltype in system.moltypes}, system.molecules, path=path
    ), frame


def _positions(path: Path) -> Any:
    """(n, 3) nm, float32."""
    with TPRReader(str(path), convert_units=False) as reader:
        return np.array(reader.ts.positions, np.float32)


def _read_system(content: bytes) -> _System:
    """Unpack header, box and molecules."""
    data = utils.TPXUnpacker(content)
    header = utils.read_tpxheader(data)
    if not (header.bTop and header.bX and header.bBox):
        raise ValueError("it holds no topology, positions and box")
    if header.fver >= setting.tpxv_AddSizeField and header.fgen >= 27:
        missing = header.sizeOfTprBody - (len(content) - data.get_position())
        if missing > 0:
            raise EOFError(f"{missing} bytes are missing at its end")
        data = utils.TPXUnpacker2020.from_unpacker(data)
    box = np.array(utils.extract_box_info(data, header.fver).size, np.float64)
    # Berendsen scaling factors, twice in files of GROMACS 4 and older.
    utils.ndo_real(data, header.ngtc * (2 if header.fver < 69 else 1))
    symbols = utils.do_symtab(data)
    utils.do_symstr(data, symbols)
    utils.do_ffparams(data, header.fver)
    moltypes = [_molecule(data, symbols, header.fver) for _ in range(data.unpack_int())]
    blocks = [utils.do_molblock(data) for _ in range(data.unpack_int())]
    if any(block.molb_nmol < 0 or not 0 <= block.molb_type < len(moltypes) for block in blocks):
        raise ValueError("it has molecules of no type, or less than none of one")
    blocks = [block for block in blocks if block.molb_nmol]  # GROMACS 4 kept a line of 0 molecules
    return _System(header.natoms, moltypes, _molecules(moltypes, blocks), box)


def _check_count(system: _System, size: int) -> None:
    """Compare counts of atoms before memory is taken for them."""
    of = {moltype.name: moltype.n_atoms for moltype in system.moltypes}
    if len(of) < len(system.moltypes):
        raise ValueError("two molecule types have the same name")
    n_atoms = sum(of[name] * copies for name, copies in system.molecules)
    if n_atoms != system.n_atoms or 12 * n_atoms > size:
        raise ValueError(f"it says that there are {system.n_atoms} atoms, and its molecules have {n_atoms}")


def _molecules(moltypes: list[MoleculeType], blocks: list[Any]) -> tuple[tuple[str, int], ...]:
    """Count molecules, joining neighbouring blocks of one type."""
    joined = groupby(blocks, key=lambda block: moltypes[block.molb_type].name)
    return tuple((name, sum(block.molb_nmol for block in run)) for name, run in joined)


def _molecule(data: Any, symbols: list[bytes], version: int) -> MoleculeType:
    """Unpack one molecule type."""
    name = utils.do_symstr(data, symbols).decode()
    graph = nx.Graph()
    graph.add_nodes_from(enumerate(_atoms(data, symbols, version)))
    n_atoms = graph.number_of_nodes()
    graph.add_edges_from(_edges(utils.do_ilists(data, version)))
    if graph.number_of_nodes() == n_atoms:
        set_repartitioned(graph, [(node["name"], node["type"]) for node in graph.nodes.values()])
    utils.do_block(data)
    excluded = _exclusions(data)
    if graph.number_of_nodes() > n_atoms or not ((excluded >= 0) & (excluded < n_atoms)).all():
        raise ValueError(f"a bond or an exclusion of {name!r} is of an atom that it does not have")
    return MoleculeType(name, 0, graph, exclusions=excluded)


def _atoms(data: Any, symbols: list[bytes], version: int) -> Iterator[dict[str, object]]:
    """Unpack the atoms of a molecule type as node attributes."""
    n_atoms, n_residues = data.unpack_int(), data.unpack_int()
    atoms = [utils.do_atom(data, version) for _ in range(n_atoms)]
    names, types, _ = ([symbols[i].decode() for i in utils.ndo_int(data, n_atoms)] for _ in range(3))
    residues = [_residue(data, symbols, version, number) for number in range(1, n_residues + 1)]
    for atom, name, type_name in zip(atoms, names, types, strict=True):
        resid, resname = residues[atom.resind]
        if not (0 <= atom.m <= HEAVIEST and abs(atom.q) <= MOST_CHARGED):
            raise ValueError(f"atom {name} has a mass of {atom.m:g} amu and a charge of {atom.q:g} e")
        mass = _decimal(atom.m)
        yield {
            "name": name,
            "type": type_name,
            "element": element_of(atom.atomnumber, mass, names=(name, type_name)),
            "mass": mass,
            "charge": _decimal(atom.q),
            "resid": resid,
            "resname": resname,
        }


def _decimal(value: float) -> float:
    """Undo what single precision did to a number of up to seven digits."""
    return float(f"{value:.7g}")


def _residue(data: Any, symbols: list[bytes], version: int, number: int) -> tuple[int, str]:
    """Unpack number and name of a residue; files older than version 63 have no number."""
    name = symbols[data.unpack_int()].decode()
    if version >= 63:
        number = data.unpack_int()
        data.unpack_uchar()
    return number, name


def _edges(lists: list[Any]) -> Iterator[tuple[int, int, dict[str, str]]]:
    """Yield chemical bonds with their kind; what comes later wins where two join the same atoms."""
    rows = {item.ik[0]: _rows(item) for item in lists if item.nr > 0}
    sites: dict[int, int] = {}
    for name in (name for name in rows if name.startswith("VSITE")):
        for site, first, *_ in rows[name]:
            sites.setdefault(site, first)
    found = [("virtual", *pair) for pair in sites.items()]
    found += [("settle", o, h) for o, *hydrogens in rows.get("SETTLE", []) for h in hydrogens]
    found += [("constraint", i, j) for i, j in rows.get("CONSTR", [])]
    found += [("bond", i, j) for name in _BONDS for i, j in rows.get(name, [])]
    yield from ((i, j, {"kind": how}) for how, i, j in found)


def _rows(item: Any) -> list[list[int]]:
    """Split a list of interactions, each a type and its atoms, into rows of atoms."""
    name, _, n_atoms = item.ik
    if name == "SETTLE" and item.nr == 2:  # old files give the oxygen only, the hydrogens follow it
        return [[item.iatoms[1] + k for k in range(3)]]
    return [item.iatoms[k + 1 : k + 1 + n_atoms] for k in range(0, item.nr, n_atoms + 1)]


def _exclusions(data: Any) -> IntArray:
    """Unpack the excluded pairs, (k, 2) with i < j."""
    n_atoms, n_excluded = data.unpack_int(), data.unpack_int()
    starts = np.array(utils.ndo_int(data, n_atoms + 1))
    j = np.array(utils.ndo_int(data, n_excluded), np.int64)
    i = np.repeat(np.arange(n_atoms), np.diff(starts))
    return np.stack([i, j], axis=1)[i < j]

"""Amino acids in a molecular graph, and the chirality that nature gives them.

A centre is known by its bonds, whatever its atoms and residues are called: nitrogen, the carbon of a carbonyl
with oxygen or nitrogen on it, the first carbon of a side chain, and hydrogen (which may be hidden in a united
atom).  At least one of the two sides goes on as a peptide bond, or the residue has the name of an amino acid.
Where nitrogen and side chain make a small ring that is not all of carbon, only the name counts: the valine of
penicillins is D.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import IntArray
from dbm_gmx.chemistry.stereo_bonds import SMALL_RING
from dbm_gmx.chemistry.topology import MoleculeType, chemical_graph, hydrogens

RIGHT_HANDED = {
    *("DAL", "DAR", "DSG", "DAS", "DCY", "DGN", "DGL", "DHI", "DIL", "DLE", "DLY", "MED", "DPN", "DPR"),
    *("DSN", "DTH", "DTR", "DTY", "DVA"),
    *(f"D{name}" for name in ("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "HIS", "HSD", "HSE", "HSP")),
    *(f"D{name}" for name in ("ILE", "LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL")),
}
"""Residue names of D amino acids: those of the Protein Data Bank, and of CHARMM."""

RESIDUES = {
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "HIS", "ILE", "LEU", "LYS", "MET", "PHE", "PRO"),
    *("SER", "THR", "TRP", "TYR", "VAL"),
}
"""Names of the amino acids with a stereocentre; those of protonation states resemble them."""

Order = tuple[int, int, int]
"""Three neighbours of a centre."""


def usual_chirality(moltype: MoleculeType, centres: IntArray) -> dict[int, int]:
    """The chirality that centres of amino acids usually have: L, and in the side chains that of nature.

    Parameters
    ----------
    centres
        (c, 5) see :func:`~dbm_gmx.chemistry.stereo.stereocentres`.

    Returns
    -------
    1 or -1 by row of ``centres``; rows of other centres are left out.
    """
    return states_in_order(centres, _right_handed(moltype, centres[:, 0].tolist()))


def _right_handed(moltype: MoleculeType, centres: Sequence[int]) -> Iterator[tuple[int, Order]]:
    """Each centre of an amino acid with three neighbours in right-handed order, seen from it."""
    for alpha, order in _alphas(moltype, centres):
        mirrored = _residue(moltype, alpha) in RIGHT_HANDED
        for centre, found in ((alpha, order), (order[2], _side_chain(moltype, order[2], alpha))):
            if found is not None:
                yield centre, found[::-1] if mirrored else found


def _alphas(moltype: MoleculeType, centres: Sequence[int]) -> Iterator[tuple[int, Order]]:
    """Each alpha carbon, with its nitrogen, carbonyl carbon and side chain."""
    graph, elements, light = chemical_graph(moltype), moltype.elements, hydrogens(moltype)
    for alpha in centres:
        heavy = [i for i in graph[alpha] if not light[i]]
        carbonyls = [i for i in heavy if elements[i] == "C" and _is_carbonyl(moltype, i)]
        nitrogens = [i for i in heavy if elements[i] == "N"]
        if elements[alpha] != "C" or len(heavy) != 3 or len(nitrogens) != 1 or len(carbonyls) != 1:
            continue
        (nitrogen,), (carbonyl,) = nitrogens, carbonyls
        (beta,) = set(heavy) - {nitrogen, carbonyl}
        if elements[beta] != "C":
            continue
        bonded = any(elements[i] == "N" for i in graph[carbonyl]) or any(
            i != alpha and elements[i] == "C" and _is_carbonyl(moltype, i) for i in graph[nitrogen]
        )
        odd = _strained(graph, alpha, nitrogen, carbonyl) or _in_mixed_ring(moltype, alpha, nitrogen, beta)
        if (bonded and not odd) or _is_named(moltype, alpha):
            yield alpha, (nitrogen, carbonyl, beta)


def _strained(graph: nx.Graph, alpha: int, nitrogen: int, carbonyl: int) -> bool:
    """Whether nitrogen and carbonyl are bonded as well, as in no peptide."""
    return bool(graph.has_edge(nitrogen, carbonyl)) or bool(
        set(graph[nitrogen]) & set(graph[carbonyl]) - {alpha}
    )


def _in_mixed_ring(moltype: MoleculeType, alpha: int, nitrogen: int, beta: int) -> bool:
    """Whether nitrogen and side chain are in a small ring with other elements than carbon, unlike proline."""
    rest = nx.restricted_view(chemical_graph(moltype), [alpha], [])
    ways = nx.single_source_shortest_path(rest, nitrogen, cutoff=SMALL_RING - 2)
    return any(moltype.elements[i] != "C" for i in ways.get(beta, [])[1:])


def _is_carbonyl(moltype: MoleculeType, carbon: int) -> bool:
    """Whether a carbon has oxygen on it that has nothing else, and nitrogen or more oxygen."""
    graph, elements = chemical_graph(moltype), moltype.elements
    ends = [i for i in graph[carbon] if elements[i] == "O" and graph.degree(i) == 1]
    others = [i for i in graph[carbon] if elements[i] in ("N", "O")]
    return bool(ends) and len(others) == 2 and graph.degree(carbon) == 3


def _residue(moltype: MoleculeType, atom: int) -> str:
    return str(moltype.graph.nodes[atom]["resname"]).upper()


def _is_named(moltype: MoleculeType, alpha: int) -> bool:
    name = _residue(moltype, alpha)
    return name[-3:] in RESIDUES or name in RIGHT_HANDED


def _side_chain(moltype: MoleculeType, beta: int, alpha: int) -> Order | None:
    """Three neighbours of the beta carbon of isoleucine or threonine, right-handed in the L amino acid."""
    graph, elements, light = chemical_graph(moltype), moltype.elements, hydrogens(moltype)
    heavy = [i for i in graph[beta] if not light[i] and i != alpha]
    size = {i: sum(not light[j] for j in graph[i]) for i in heavy}
    methyls = [i for i in heavy if elements[i] == "C" and size[i] == 1]
    others = [i for i in heavy if i not in methyls]
    if len(methyls) != 1 or len(others) != 1:
        return None
    (methyl,), (other,) = methyls, others
    if elements[other] == "O" and size[other] == 1:  # threonine
        return alpha, other, methyl
    ends = [i for i in graph[other] if not light[i] and i != beta]
    ethyl = len(ends) == 1 and elements[ends[0]] == "C" and sum(not light[j] for j in graph[ends[0]]) == 1
    return (alpha, other, methyl) if elements[other] == "C" and ethyl else None  # isoleucine


def states_in_order(centres: IntArray, orders: Iterable[tuple[int, Order]]) -> dict[int, int]:
    """States, by row of ``centres`` (c, 5), of those with three neighbours in right-handed order."""
    rows = {int(centre): k for k, centre in enumerate(centres[:, 0])}
    return {rows[i]: _sign(centres[rows[i]], order) for i, order in orders if i in rows}


def _sign(row: IntArray, order: Order) -> int:
    """State of a centre (5,) whose three neighbours ``order`` are right-handed, seen from it."""
    neighbours = row[1:].tolist()
    places = [neighbours.index(i) for i in order]
    return 1 if np.linalg.det(np.eye(4)[[*places, 6 - sum(places)]]) > 0 else -1

"""Virtual sites: points without mass that follow some atoms of their molecule, as GROMACS constructs them.

A site is a function of the atoms it is made of.  What moves these moves the site; forces on it act on them,
by the transpose of the derivative of that function (GROMACS manual, "Virtual interaction sites").  Compiled,
and the one place where these functions are written.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.interactions import in_radians
from dbm_gmx.chemistry.topology import STRUT, MoleculeType, Terms, chemical_graph
from dbm_gmx.chemistry.vectors import arm, cross, dot
from dbm_gmx.compiled import compiled
from dbm_gmx.errors import InputError

LINEAR, TWO_FD, THREE_FD, THREE_FAD, THREE_OUT, FOUR_FDN = range(6)
"""How a site is made, see :class:`VirtualSites`."""

FORMS = {
    ("virtual_sites1", 1): LINEAR,
    ("virtual_sites2", 1): LINEAR,
    ("virtual_sites2", 2): TWO_FD,
    ("virtual_sites3", 1): LINEAR,
    ("virtual_sites3", 2): THREE_FD,
    ("virtual_sites3", 3): THREE_FAD,
    ("virtual_sites3", 4): THREE_OUT,
    ("virtual_sites4", 2): FOUR_FDN,
    ("virtual_sitesn", 1): LINEAR,
    ("virtual_sitesn", 2): LINEAR,
    ("virtual_sitesn", 3): LINEAR,
}
"""By directive and function type."""

TINY = 1e-18
"""nm^2: atoms in one place have no direction; numbers stay numbers."""


class VirtualSites(NamedTuple):
    """Sites of a molecule type, or of a part of one.

    Attributes
    ----------
    virtual
        (v,) their rows.
    virtual_form, virtual_parameters
        (v,) and (v, 3); i, j, k, l are the atoms, r_ij goes from i to j, u is a unit vector:

        =============  ===========  ==================================================
        LINEAR                      sum of ``made_weight`` times the atoms
        TWO_FD         a            i + a u(r_ij)
        THREE_FD       a, b         i + b u(r_ij + a r_jk)
        THREE_FAD      a, b         i + a u(r_ij) + b u(part of r_jk across r_ij)
        THREE_OUT      a, b, c      i + a r_ij + b r_ik + c r_ij x r_ik
        FOUR_FDN       a, b, c      i + c u((a r_ik - r_ij) x (b r_il - r_ij))
        =============  ===========  ==================================================
    made_start, made_of, made_weight
        Rows of the atoms of each: ``made_of[made_start[v]:made_start[v + 1]]``, and their weights.
    """

    virtual: Any
    virtual_form: Any
    virtual_parameters: Any
    made_start: Any
    made_of: Any
    made_weight: Any


NO_SITES = VirtualSites(
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros((0, 3)),
    np.zeros(1, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0),
)


@lru_cache(maxsize=64)
def virtual_sites(moltype: MoleculeType) -> VirtualSites:
    """The virtual sites of a molecule type, in the order of its atoms, but after those that they are made of.

    Raises
    ------
    InputError
        If a site is defined twice, or is made of itself.
    """
    rows: list[tuple[int, int, FloatArray, IntArray, FloatArray]] = []
    for terms in moltype.terms:
        if (terms.directive, terms.function) in FORMS:
            rows += _sites_of(terms)
    rows.sort(key=lambda row: row[0])
    sites = [row[0] for row in rows]
    names = moltype.names
    for before, site in pairwise(sites):
        if before == site:
            raise InputError(f"molecule type {moltype.name}: virtual site {names[site]} is defined twice")
    number = {site: k for k, site in enumerate(sites)}
    needs = nx.DiGraph()
    needs.add_nodes_from(range(len(rows)))
    needs.add_edges_from((number[i], k) for k, row in enumerate(rows) for i in row[3].tolist() if i in number)
    try:
        rows = [rows[k] for k in nx.lexicographical_topological_sort(needs)]
    except nx.NetworkXUnfeasible:
        site = sites[nx.find_cycle(needs)[0][0]]
        raise InputError(
            f"molecule type {moltype.name}: virtual site {names[site]} is made of itself, by way of those "
            "that it is made of"
        ) from None
    return VirtualSites(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 3),
        np.cumsum([0, *(len(row[3]) for row in rows)]),
        np.concatenate([np.zeros(0, np.int64), *(row[3] for row in rows)]),
        np.concatenate([np.zeros(0), *(row[4] for row in rows)]),
    )


def _sites_of(terms: Terms) -> list[tuple[int, int, FloatArray, IntArray, FloatArray]]:
    """Site, form, parameters, atoms and weights of the lines of one directive and function type."""
    form, found = FORMS[terms.directive, terms.function], []
    for row, p in zip(terms.atoms, in_radians(terms), strict=True):
        weights, values = np.zeros(len(row) - 1), np.zeros(3)
        if terms.directive == "virtual_sitesn":
            weights[:] = p
        elif form == LINEAR:
            weights[0], weights[1:] = 1.0 - p.sum(), p
        elif form == THREE_FAD:  # an angle and a distance
            values[:2] = p[1] * np.cos(p[0]), p[1] * np.sin(p[0])
        else:
            values[: len(p)] = p
        found.append((int(row[0]), form, values, row[1:], weights))
    return found


def made_of(sites: VirtualSites, number: int) -> IntArray:
    """Rows of the atoms that a site is made of."""
    return np.asarray(sites.made_of[sites.made_start[number] : sites.made_start[number + 1]], np.int64)


def touched_sites(sites: VirtualSites, atoms: IntArray) -> IntArray:
    """Numbers of the sites that any of some atoms makes, also by way of other sites, in order."""
    return _sites_with(sites, atoms, 1)


def inner_sites(sites: VirtualSites, atoms: IntArray) -> IntArray:
    """Numbers of the sites that some atoms make by themselves, also by way of other sites, in order."""
    return _sites_with(sites, atoms, np.diff(sites.made_start))


def _sites_with(sites: VirtualSites, atoms: IntArray, needed: IntArray | int) -> IntArray:
    """Numbers of the sites for which so many of what they are made of are among some atoms and such sites."""
    if not len(sites.virtual):
        return np.zeros(0, np.int64)
    of = np.repeat(np.arange(len(sites.virtual)), np.diff(sites.made_start))
    inside, more = atoms[:0], np.unique(atoms)
    while len(more) > len(inside):
        inside = more
        there = np.bincount(of[np.isin(sites.made_of, inside)], minlength=len(sites.virtual))
        found: IntArray = np.flatnonzero(there >= needed)
        more = np.union1d(atoms, sites.virtual[found])
    return found


def some_sites(sites: VirtualSites, numbers: IntArray, atoms: IntArray) -> VirtualSites:
    """Some sites, with rows among ``atoms``, which are sorted and hold all they need."""
    parts = [np.arange(sites.made_start[v], sites.made_start[v + 1]) for v in numbers]
    which = np.concatenate([np.zeros(0, np.int64), *parts])
    return VirtualSites(
        np.searchsorted(atoms, sites.virtual[numbers]),
        sites.virtual_form[numbers],
        sites.virtual_parameters[numbers],
        np.cumsum([0, *map(len, parts)]),
        np.searchsorted(atoms, sites.made_of[which]),
        sites.made_weight[which],
    )


def reach_of_site(sites: VirtualSites, number: int, apart: FloatArray) -> float:
    """How far from its first atom a site can be, nm, if its atoms are no further from that than ``apart``."""
    form, (a, b, c) = sites.virtual_form[number], sites.virtual_parameters[number]
    if form == LINEAR:
        weights = sites.made_weight[sites.made_start[number] : sites.made_start[number + 1]]
        return float(np.abs(weights) @ apart)
    if form == THREE_OUT:
        return float(abs(a) * apart[1] + abs(b) * apart[2] + abs(c) * apart[1] * apart[2])
    return float({TWO_FD: abs(a), THREE_FD: abs(b), THREE_FAD: np.hypot(a, b), FOUR_FDN: abs(c)}[form])


@lru_cache(maxsize=64)
def real_graph(moltype: MoleculeType) -> nx.Graph:
    """The chemical graph without virtual sites, with what holds the others together; frozen.

    Nodes are in the order of the file.
    """
    sites, graph = set(virtual_sites(moltype).virtual.tolist()), chemical_graph(moltype)
    if not sites:
        return graph
    real = nx.Graph()
    real.add_nodes_from(i for i in graph if i not in sites)
    real.add_edges_from((i, j) for i, j in graph.edges if i not in sites and j not in sites)
    real.add_edges_from((i, j) for i, j, how in moltype.graph.edges(data="kind") if how == STRUT)
    return nx.freeze(real)


def place_in_molecules(moltype: MoleculeType, atoms: FloatArray) -> None:
    """Put the sites of molecules (copies, n, 3) where their atoms say (in place)."""
    sites = virtual_sites(moltype)
    if len(sites.virtual):
        _place_in_copies(atoms, sites)


@compiled()
def _place_in_copies(atoms: Any, sites: Any) -> None:
    for copy in range(len(atoms)):
        place_sites(atoms[copy], sites)


@compiled()
def place_sites(x: Any, sites: Any) -> None:
    """Put all sites where their atoms (n, 3) say, in place; the rows are those of ``x``."""
    for v in range(len(sites.virtual)):
        place_site(x, sites, v, 0)


@compiled()
def spread_sites(x: Any, sites: Any, force: Any) -> None:
    """Let all forces (n, 3) on sites act on their atoms; the rows are those of ``x``."""
    for v in range(len(sites.virtual) - 1, -1, -1):  # a site comes after those that it is made of
        spread_site(x, sites, v, 0, force)


# --- one site ----------------------------------------------------------------------------------------


@compiled(forceinline=True)
def _plus(a: Any, s: float, b: Any) -> Any:
    """Return a + s b."""
    return a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]


@compiled(forceinline=True)
def _times(s: float, a: Any) -> Any:
    return s * a[0], s * a[1], s * a[2]


@compiled(forceinline=True)
def _unit(a: Any) -> Any:
    """Unit vector and length."""
    length = math.sqrt(max(dot(a, a), TINY))
    return _times(1.0 / length, a), length


@compiled(forceinline=True)
def _across(f: Any, u: Any) -> Any:
    """The part of f across the unit vector u."""
    return _plus(f, -dot(f, u), u)


@compiled(forceinline=True)
def _add(force: Any, i: int, f: Any) -> None:
    force[i, 0] += f[0]
    force[i, 1] += f[1]
    force[i, 2] += f[2]


@compiled(forceinline=True)
def place_site(x: Any, sites: Any, v: int, first: int) -> None:
    """Put a site where its atoms say.

    Parameters
    ----------
    x
        (n, 3) nm; the row of the site changes.
    sites
        Record with the fields of :class:`VirtualSites`.
    v
        Number of the site among these.
    first
        Row of the first atom of the molecule.
    """
    site, begin, end = first + sites.virtual[v], sites.made_start[v], sites.made_start[v + 1]
    form = sites.virtual_form[v]
    if form == LINEAR:
        for d in range(3):
            value = 0.0
            for q in range(begin, end):
                value += sites.made_weight[q] * x[first + sites.made_of[q], d]
            x[site, d] = value
        return
    a, b, c = sites.virtual_parameters[v, 0], sites.virtual_parameters[v, 1], sites.virtual_parameters[v, 2]
    i, j = first + sites.made_of[begin], first + sites.made_of[begin + 1]
    k, m = first + sites.made_of[min(begin + 2, end - 1)], first + sites.made_of[end - 1]
    ij = arm(x, i, j)
    if form == TWO_FD:
        step = _times(a, _unit(ij)[0])
    elif form == THREE_FD:
        step = _times(b, _unit(_plus(ij, a, arm(x, j, k)))[0])
    elif form == THREE_FAD:
        along, _ = _unit(ij)
        step = _plus(_times(a, along), b, _unit(_across(arm(x, j, k), along))[0])
    elif form == THREE_OUT:
        ik = arm(x, i, k)
        step = _plus(_plus(_times(a, ij), b, ik), c, cross(ij, ik))
    else:
        left, right = (
            _plus(_times(-1.0, ij), a, arm(x, i, k)),
            _plus(_times(-1.0, ij), b, arm(x, i, m)),
        )
        step = _times(c, _unit(cross(left, right))[0])
    for d in range(3):
        x[site, d] = x[i, d] + step[d]


@compiled(forceinline=True)
def spread_site(x: Any, sites: Any, v: int, first: int, force: Any) -> None:
    """Let the force (n, 3) on a site act on what it is made of; it is zero then.  Arguments as above."""
    site, begin, end = first + sites.virtual[v], sites.made_start[v], sites.made_start[v + 1]
    form, f = sites.virtual_form[v], (force[site, 0], force[site, 1], force[site, 2])
    for d in range(3):
        force[site, d] = 0.0
    if form == LINEAR:
        for q in range(begin, end):
            _add(force, first + sites.made_of[q], _times(sites.made_weight[q], f))
        return
    a, b, c = sites.virtual_parameters[v, 0], sites.virtual_parameters[v, 1], sites.virtual_parameters[v, 2]
    i, j = first + sites.made_of[begin], first + sites.made_of[begin + 1]
    k, m = first + sites.made_of[min(begin + 2, end - 1)], first + sites.made_of[end - 1]
    ij = arm(x, i, j)
    if form == TWO_FD:
        along, length = _unit(ij)
        g = _times(a / length, _across(f, along))
        _add(force, j, g)
        _add(force, i, _plus(f, -1.0, g))
    elif form == THREE_FD:
        along, length = _unit(_plus(ij, a, arm(x, j, k)))
        g = _times(b / length, _across(f, along))
        _add(force, j, _times(1.0 - a, g))
        _add(force, k, _times(a, g))
        _add(force, i, _plus(f, -1.0, g))
    elif form == THREE_FAD:
        jk = arm(x, j, k)
        along, length = _unit(ij)
        up, height = _unit(_across(jk, along))
        g = _times(b / height, _across(f, up))
        on_jk = _across(g, along)
        turned = _plus(_plus(_times(a, f), -dot(along, jk), g), -dot(g, along), jk)
        on_ij = _times(1.0 / length, _across(turned, along))
        _add(force, k, on_jk)
        _add(force, j, _plus(on_ij, -1.0, on_jk))
        _add(force, i, _plus(f, -1.0, on_ij))
    elif form == THREE_OUT:
        ik = arm(x, i, k)
        on_j = _plus(_times(a, f), c, cross(ik, f))
        on_k = _plus(_times(b, f), c, cross(f, ij))
        _add(force, j, on_j)
        _add(force, k, on_k)
        _add(force, i, _plus(_plus(f, -1.0, on_j), -1.0, on_k))
    else:
        left, right = (
            _plus(_times(-1.0, ij), a, arm(x, i, k)),
            _plus(_times(-1.0, ij), b, arm(x, i, m)),
        )
        up, height = _unit(cross(left, right))
        g = _times(c / height, _across(f, up))
        by_left, by_right = cross(right, g), cross(g, left)
        on_j = _times(-1.0, _plus(by_left, 1.0, by_right))
        on_k, on_m = _times(a, by_left), _times(b, by_right)
        _add(force, j, on_j)
        _add(force, k, on_k)
        _add(force, m, on_m)
        _add(force, i, _plus(_plus(_plus(f, -1.0, on_j), -1.0, on_k), -1.0, on_m))

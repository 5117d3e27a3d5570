"""The space of conformations: which ones the monomers take, and how often.

The environment of a monomer is described by the smooth overlap of atomic positions (SOAP; Bartok,
Kondor and Csanyi, Phys. Rev. B 87, 184115, 2013) around those of its heavy atoms that end a bond it
can turn about, with the heavy atoms of its own molecule as the neighbours: what a conformation is made
of.  Only monomers of the same molecular graph are compared, so each atom has its counterpart and
elements need not be told apart; two monomers are as similar as these atoms are on average.  Landmarks
among the reference's monomers span a map onto which all others are put; clusters in the map are the
conformations.

Needs the extra ``report`` (dscribe, scikit-learn).
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP
from scipy.sparse import SparseEfficiencyWarning
from sklearn.cluster import KMeans
from sklearn.decomposition import KernelPCA
from sklearn.manifold import Isomap
from sklearn.metrics import adjusted_rand_score, silhouette_score

from dbm_gmx.chemistry.array_types import FloatArray, IntArray
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.periodic import whole_molecules
from dbm_gmx.chemistry.topology import MoleculeType, Topology, blocks, heavy_atoms
from dbm_gmx.errors import InputError
from dbm_gmx.evaluation.compare import REFERENCE
from dbm_gmx.evaluation.distributions import jensen_shannon

CUTOFF, WIDTH = 0.4, 0.03
"""Reach of an environment and width of an atom in it, nm.

With these, the clusters of the monomers of a polystyrene melt tell most of the trans and gauche states of
the backbone bonds next to them; a longer reach or a wider atom blurs them.
"""
RADIAL, ANGULAR = 8, 6
"""Basis of SOAP: radial functions, highest degree of the spherical harmonics."""

LANDMARKS = 720
"""Monomers of the reference that span the map, as many as in the paper."""
MOST = 5000
"""Monomers looked at of a trajectory; of a larger one a random choice, the same in all frames."""
NEAREST = 15
"""Neighbours along which distances in the map add up."""
CLUSTERS = range(2, 9)
"""Numbers of clusters tried."""
RESAMPLED = 500
"""Resamplings of the frames for error bars and floors."""
DIMENSIONS = 32
"""Kernel principal components that stand for the whole space of the kernel."""
SURROUNDINGS = 2
"""Bonds around a turning atom up to which the graphs of two monomers must agree to be compared."""
SMALL = 8
"""Bonds across a molecule up to which it is one monomer."""
STARTS = 5
"""Starts of k-means, the best of which counts."""
FEWEST = 50
"""Monomers that span a map."""
STRANGE = 0.01
"""Part of the reference's monomers that count as unlike the landmarks."""
BOX = 2e-3
"""Difference of box vectors that written ones of one frame may have, nm."""
REPEATING = 2 / 3
"""Part of a molecule's heavy atoms that must be in units alike if it is to be a row of repeating ones."""


# --- monomers --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Monomers:
    """Monomers of a system around which the molecular graph is the same.

    Attributes
    ----------
    moltype
        Their molecule type.
    first
        (m,) first atom of the molecule of each, as row of the system.
    joints
        (m, j) rows of the molecule: heavy atoms at bonds that can turn, counterparts in one column.
    groups
        (j,) columns of equal number are alike by the symmetry of the graph and not told apart.
    share
        Part of all monomers of the system with a bond that can turn.
    """

    moltype: MoleculeType
    first: IntArray
    joints: IntArray
    groups: IntArray
    share: float


def find_monomers(topology: Topology) -> list[Monomers]:
    """All monomers that have conformations, sorted by the graph around them, most numerous first.

    A monomer is a residue of a molecule that has several; else a small molecule as a whole; else a
    repeating unit of the molecular graph, or the molecule where nothing repeats.  Ends of a chain are of
    another sort than its inner monomers.

    Raises
    ------
    InputError
        No molecule has a bond between heavy atoms that can turn.
    """
    found: dict[tuple[str, tuple[str, ...]], list[tuple[int, list[int]]]] = defaultdict(list)
    moltypes = {moltype.name: (moltype, list(_sorted_joints(moltype))) for moltype, *_ in blocks(topology)}
    for moltype, first, copies in blocks(topology):
        for copy in range(copies):
            for colours, joints in moltypes[moltype.name][1]:
                found[moltype.name, colours].append((first + copy * moltype.n_atoms, joints))
    if not found:
        raise InputError(
            "no molecule has a bond between heavy atoms that can turn, or its elements are unknown: there "
            "are no conformations to compare",
            path=topology.path,
        )
    total = sum(map(len, found.values()))
    sorts = [
        Monomers(
            moltype=moltypes[name][0],
            first=np.array([first for first, _ in members], np.int64),
            joints=np.array([joints for _, joints in members], np.int64),
            groups=np.unique(colours, return_inverse=True)[1],
            share=len(members) / total,
        )
        for (name, colours), members in found.items()
    ]
    return sorted(sorts, key=lambda sort: -len(sort.first))


def _sorted_joints(moltype: MoleculeType) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Yield the joints of each monomer in the order of their colours, and these."""
    heavy = _heavy(moltype)
    if any(sort.startswith(" ") for _, sort in heavy.nodes(data="sort")):
        return
    colours = nx.weisfeiler_lehman_subgraph_hashes(heavy, node_attr="sort", iterations=SURROUNDINGS)
    turning = {i for bond in nx.bridges(heavy) if all(heavy.degree(j) > 1 for j in bond) for i in bond}
    for atoms in _split(moltype, heavy):
        pairs = sorted((colours[i][-1], i) for i in atoms if i in turning)
        if pairs:
            yield tuple(colour for colour, _ in pairs), [i for _, i in pairs]


def _heavy(moltype: MoleculeType) -> nx.Graph:
    """Return the graph without hydrogens and virtual sites; ``sort`` is element, neighbours, ring or not."""
    atoms = np.flatnonzero(heavy_atoms(moltype)).tolist()
    heavy = nx.Graph(moltype.graph.subgraph(atoms).edges)
    heavy.add_nodes_from(atoms)
    ring = {i for block in nx.biconnected_components(heavy) if len(block) > 2 for i in block}
    for i in heavy:
        element = moltype.graph.nodes[i]["element"] or " "
        heavy.nodes[i].update(element=element, ring=i in ring)
        heavy.nodes[i]["sort"] = f"{element} {heavy.degree(i)} {'ring' if i in ring else 'chain'}"
    return heavy


def _split(moltype: MoleculeType, heavy: nx.Graph) -> list[list[int]]:
    """Cut the heavy atoms of a molecule into monomers."""
    residues = defaultdict(list)
    for i in sorted(heavy):
        residues[moltype.graph.nodes[i]["resid"]].append(i)
    if len(residues) > 1 or not len(heavy):
        return list(residues.values())
    parts = (heavy.subgraph(part) for part in nx.connected_components(heavy))
    if max(nx.approximation.diameter(part, seed=0) for part in parts) <= SMALL:
        return [sorted(heavy)]
    return _repeating_units(heavy)


def _repeating_units(heavy: nx.Graph) -> list[list[int]]:
    """Cut a molecule where it repeats.

    Atoms with the same neighbours are seeds, each with all that is nearest to it along the bonds; the
    first seeds that make most of the molecule into parts of the same composition are taken.  An atom
    halfway between two seeds goes to the first of them.
    """
    nodes = heavy.nodes
    seeds = defaultdict(list)
    for i in sorted(heavy):
        around = sorted((nodes[j]["element"], nodes[j]["ring"]) for j in heavy[i])
        seeds[nodes[i]["sort"], tuple(around)].append(i)
    best, units = REPEATING, [sorted(heavy)]
    for chosen in seeds.values():
        cells = [sorted(cell) for cell in nx.voronoi_cells(heavy, chosen).values() if cell]
        made_of = Counter(tuple(sorted(nodes[i]["sort"] for i in cell)) for cell in cells)
        composition, alike = made_of.most_common(1)[0]
        quality = alike * len(composition) / len(heavy)
        if len(chosen) > 2 and quality > best:
            best, units = quality, cells
    return units


# --- environments and their kernel -----------------------------------------------------------------


def environments(topology: Topology, monomers: Monomers, frame: Frame, chosen: IntArray) -> FloatArray:
    """Environments of some monomers; the scalar product of two is their similarity, 1 for equal ones.

    Parameters
    ----------
    topology, monomers
        The system and monomers of one sort.
    frame
        Atoms, wherever in space.
    chosen
        (c,) which monomers.

    Returns
    -------
    (c, d) of unit length.
    """
    atoms = 10.0 * np.asarray(whole_molecules(topology, frame).positions, np.float64)  # Angstrom
    heavy = np.array(sorted(_heavy(monomers.moltype)), np.int64)
    soap = SOAP(
        r_cut=10 * CUTOFF,
        n_max=RADIAL,
        l_max=ANGULAR,
        sigma=10 * WIDTH,
        species=["C"],
        periodic=False,
    )
    columns = [np.flatnonzero(monomers.groups == g) for g in np.unique(monomers.groups)]
    found: list[FloatArray] = [np.empty(0)] * len(chosen)
    for first in np.unique(monomers.first[chosen]):
        members = np.flatnonzero(monomers.first[chosen] == first)
        centres = np.searchsorted(heavy, monomers.joints[chosen[members]])
        powers = _unit(
            soap.create(Atoms(f"C{len(heavy)}", atoms[first + heavy]), centers=centres.ravel().tolist())
        )
        powers = powers.reshape(*centres.shape, -1)
        for member, power in zip(members, powers, strict=True):
            # equal weight for each atom of a group's mean
            found[member] = np.concatenate([power[c].mean(axis=0) * np.sqrt(len(c)) for c in columns])
    return _unit(np.array(found))


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


# --- the map ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """The same comparison with one choice made differently.

    Attributes
    ----------
    name
        What is different.
    clusters
        How many.
    agreement
        Adjusted Rand index of the reference's labels with those of the report: 1 the same, 0 by chance.
    divergence, floor
        As in :class:`Conformations`; the floor is that of as many frames as the reference has.
    """

    name: str
    clusters: int
    agreement: float
    divergence: Mapping[str, float]
    floor: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Conformations:
    """Conformations of the monomers of a reference and of candidates, by label.

    Attributes
    ----------
    monomers
        The sort of monomers looked at.
    chosen
        (m,) which of them.
    places
        (frames * m, 2) in the map, frame by frame.  Only distances between places mean anything.
    landmarks
        (l,) rows of the reference's places.
    labels
        (frames * m,) cluster of each; 0 is the most frequent one of the reference.
    centres
        (k, 2) of the clusters in the map.
    silhouette
        How far apart the clusters of the landmarks are: 1 well, 0 not at all.
    populations, errors
        (k,) part of the monomers in each cluster, and its standard error from resampled frames, which is
        not a number for a single frame.
    shifts, shift_errors
        Of candidates: (k,) populations less the reference's, and its standard error.  Frames of the time
        and the box of one of the reference are compared with that one, which takes out what both owe to
        the same beads.
    confusion
        Of candidates: (k, k) part of the reference's monomers of cluster i that are of cluster j in the
        candidate, ``None`` where no frame has the time and the box of one of the reference.
    divergence
        Of candidates: Jensen-Shannon divergence (base 2) of the populations from the reference's.
    floor
        Of candidates: mean and 95th percentile of the divergence between as many frames as the reference
        and as the candidate has, all drawn from the reference's.  Not a number for a single frame.
    outside
        Of candidates: part of the monomers less similar to every landmark than 99 of 100 of the
        reference's are: conformations that it lacks, or distorted ones, which the populations do
        not show because every monomer counts to its nearest cluster.
    robustness
        The same with other choices.
    notes
        What the report says of the method.
    """

    monomers: Monomers
    chosen: IntArray
    places: Mapping[str, FloatArray]
    landmarks: IntArray
    labels: Mapping[str, IntArray]
    centres: FloatArray
    silhouette: float
    populations: Mapping[str, FloatArray]
    errors: Mapping[str, FloatArray]
    shifts: Mapping[str, FloatArray]
    shift_errors: Mapping[str, FloatArray]
    confusion: Mapping[str, FloatArray | None]
    divergence: Mapping[str, float]
    floor: Mapping[str, tuple[float, float]]
    outside: Mapping[str, float]
    robustness: tuple[Choice, ...]
    notes: tuple[str, ...]


def conformations(
    topology: Topology,
    reference: Sequence[Frame],
    candidates: Mapping[str, Sequence[Frame]],
    *,
    seed: int,
    monomers: Monomers | None = None,
    clusters: int | None = None,
) -> Conformations:
    """Compare the conformations of candidates with those of a reference.

    Parameters
    ----------
    topology
        Of all of them.
    reference, candidates
        Frames of atoms, by label.
    seed
        Of the choice of landmarks, the clusters and the resampling.
    monomers
        From :func:`find_monomers`; the most numerous ones if not given.
    clusters
        How many; the number of the highest silhouette if not given.

    Raises
    ------
    InputError
        Nothing in the system has a conformation, or the reference shows too few monomers.
    """
    monomers = monomers or find_monomers(topology)[0]
    rng = np.random.default_rng(seed)
    frames = {REFERENCE: reference, **candidates}
    chosen = np.sort(rng.permutation(len(monomers.first))[: max(1, MOST // max(map(len, frames.values())))])
    n = len(reference) * len(chosen)
    if n < FEWEST:
        raise InputError(f"{n} monomers of {monomers.moltype.name} in the reference, {FEWEST} span a map")
    marks = np.sort(rng.permutation(n)[:LANDMARKS])
    kernels = _kernels(topology, monomers, frames, chosen, marks)
    places = _geodesic_map(kernels, marks)
    k = clusters or _best_number(places[REFERENCE][marks], seed)
    labels, centres = _clusters(places, k, seed)
    silhouette = float(silhouette_score(places[REFERENCE][marks], labels[REFERENCE][marks]))
    counted = _count(labels, k, len(chosen))
    errors = {label: _resampled(parts, len(parts), rng).std(axis=0) for label, parts in counted.items()}
    pairs = {label: _same_frames(reference, some) for label, some in candidates.items()}
    shifts = {label: _shift(counted, errors, label, pairs[label], rng) for label in candidates}
    others = _other_choices(kernels, places, marks, k)
    return Conformations(
        monomers=monomers,
        chosen=chosen,
        places=places,
        landmarks=marks,
        labels=labels,
        centres=centres,
        silhouette=silhouette,
        populations={label: parts.mean(axis=0) for label, parts in counted.items()},
        errors=errors,
        shifts={label: shift for label, (shift, _) in shifts.items()},
        shift_errors={label: error for label, (_, error) in shifts.items()},
        confusion={label: _confusion(labels, label, pairs[label], len(chosen), k) for label in candidates},
        divergence=_divergences(counted),
        floor={label: _floor(counted[REFERENCE], len(some), rng) for label, some in candidates.items()},
        outside=_outside(kernels, marks),
        robustness=tuple(
            _choice(name, *other, labels[REFERENCE], len(chosen), seed) for name, other in others.items()
        ),
        notes=_notes(monomers, len(chosen), len(marks), k, silhouette),
    )


def _kernels(
    topology: Topology,
    monomers: Monomers,
    frames: Mapping[str, Sequence[Frame]],
    chosen: IntArray,
    marks: IntArray,
) -> dict[str, FloatArray]:
    """(frames * m, l) similarity of all to the landmarks, by label."""
    frame, which = np.divmod(marks, len(chosen))
    landmarks = np.concatenate(
        [
            environments(topology, monomers, frames[REFERENCE][f], chosen[which[frame == f]])
            for f in np.unique(frame)
        ]
    )
    return {
        label: np.concatenate([environments(topology, monomers, f, chosen) @ landmarks.T for f in some])
        for label, some in frames.items()
    }


def _geodesic_map(kernels: Mapping[str, FloatArray], marks: IntArray) -> dict[str, FloatArray]:
    """Put everything onto the plane in which the landmarks keep their distances along near neighbours."""
    distances = {label: np.sqrt(np.clip(2 - 2 * kernel, 0, None)) for label, kernel in kernels.items()}
    between = distances[REFERENCE][marks]
    between = (between + between.T) / 2
    np.fill_diagonal(between, 0)
    isomap = Isomap(n_neighbors=min(NEAREST, len(marks) - 1), metric="precomputed", eigen_solver="dense")
    with warnings.catch_warnings():
        # landmarks that fall into separate groups are joined by the shortest link, as they should be
        warnings.filterwarnings("ignore", message="The number of connected components")
        warnings.simplefilter("ignore", SparseEfficiencyWarning)
        isomap.fit(between)
    return {label: np.asarray(isomap.transform(d), np.float64) for label, d in distances.items()}


def _principal_map(
    kernels: Mapping[str, FloatArray], marks: IntArray, dimensions: int
) -> dict[str, FloatArray]:
    """Put everything into the first principal components of the kernel between landmarks."""
    pca = KernelPCA(min(dimensions, len(marks) - 1), kernel="precomputed", eigen_solver="dense")
    pca.fit(kernels[REFERENCE][marks])
    return {label: np.asarray(pca.transform(kernel), np.float64) for label, kernel in kernels.items()}


# --- clusters --------------------------------------------------------------------------------------


def _best_number(points: FloatArray, seed: int) -> int:
    """Return the number of clusters that are best apart."""

    def apart(k: int) -> float:
        return float(
            silhouette_score(points, KMeans(k, n_init=STARTS, random_state=seed).fit_predict(points))
        )

    return max(CLUSTERS, key=apart)


def _clusters(places: Mapping[str, FloatArray], k: int, seed: int) -> tuple[dict[str, IntArray], FloatArray]:
    """Clusters of the reference, the largest first, and which of them each place is nearest to."""
    means = KMeans(k, n_init=STARTS, random_state=seed).fit(places[REFERENCE])
    order = np.argsort(-np.bincount(means.predict(places[REFERENCE]), minlength=k), kind="stable")
    rank = np.argsort(order)
    return {label: rank[means.predict(points)] for label, points in places.items()}, means.cluster_centers_[
        order
    ]


def _count(labels: Mapping[str, IntArray], k: int, m: int) -> dict[str, FloatArray]:
    """(frames, k) part of the monomers of each frame that are in each cluster, by label."""
    return {
        label: np.array([np.bincount(frame, minlength=k) / m for frame in values.reshape(-1, m)])
        for label, values in labels.items()
    }


def _resampled(parts: FloatArray, frames: int, rng: np.random.Generator) -> FloatArray:
    """(resamplings, k) mean of as many frames drawn from those there are; a single one says nothing."""
    if len(parts) < 2:
        return np.full((RESAMPLED, parts.shape[1]), np.nan)
    return np.asarray(parts[rng.integers(len(parts), size=(RESAMPLED, frames))].mean(axis=1))


def _floor(parts: FloatArray, frames: int, rng: np.random.Generator) -> tuple[float, float]:
    """Mean and 95th percentile of the divergence between two samples of the reference."""
    found = jensen_shannon(_resampled(parts, len(parts), rng), _resampled(parts, frames, rng))
    return float(np.mean(found)), float(np.quantile(found, 0.95))


def _divergences(counted: Mapping[str, FloatArray]) -> dict[str, float]:
    """Divergence of the candidates' populations from the reference's."""
    reference = counted[REFERENCE].mean(axis=0)
    return {
        label: float(jensen_shannon(reference, parts.mean(axis=0)))
        for label, parts in counted.items()
        if label != REFERENCE
    }


def _shift(
    counted: Mapping[str, FloatArray],
    errors: Mapping[str, FloatArray],
    label: str,
    pairs: list[tuple[int, int]],
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """(k,) a candidate's populations less the reference's, and the standard error of that."""
    if not pairs:
        means = counted[label].mean(axis=0), counted[REFERENCE].mean(axis=0)
        return means[0] - means[1], np.hypot(errors[label], errors[REFERENCE])
    i, j = np.array(pairs).T
    parts = counted[label][j] - counted[REFERENCE][i]
    return parts.mean(axis=0), _resampled(parts, len(parts), rng).std(axis=0)


def _same_frames(reference: Sequence[Frame], candidate: Sequence[Frame]) -> list[tuple[int, int]]:
    """Pairs of frames of the same time and box, so that one may have been made from the other."""
    return [
        (i, j)
        for j, other in enumerate(candidate)
        for i, frame in enumerate(reference)
        if np.isclose(frame.time, other.time, rtol=1e-6, atol=1e-3)
        and np.allclose(frame.box, other.box, rtol=0, atol=BOX)
    ]


def _confusion(
    labels: Mapping[str, IntArray], label: str, pairs: list[tuple[int, int]], m: int, k: int
) -> FloatArray | None:
    """(k, k) where the monomers of each cluster of the reference are in a candidate."""
    if not pairs:
        return None
    i, j = np.array(pairs).T
    counts = np.zeros((k, k))
    np.add.at(counts, (labels[REFERENCE].reshape(-1, m)[i], labels[label].reshape(-1, m)[j]), 1)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _outside(kernels: Mapping[str, FloatArray], marks: IntArray) -> dict[str, float]:
    """Part of each candidate's monomers that are like no landmark."""
    others = kernels[REFERENCE].copy()
    others[marks, np.arange(len(marks))] = -np.inf  # a landmark is like itself
    least = np.quantile(others.max(axis=1), STRANGE)
    return {
        label: float((kernel.max(axis=1) < least).mean())
        for label, kernel in kernels.items()
        if label != REFERENCE
    }


# --- what hangs on the method ----------------------------------------------------------------------


def _other_choices(
    kernels: Mapping[str, FloatArray], places: Mapping[str, FloatArray], marks: IntArray, k: int
) -> dict[str, tuple[dict[str, FloatArray], int]]:
    """Other places of all monomers and other numbers of clusters, by what is different."""
    half = {label: kernel[:, ::2] for label, kernel in kernels.items()}
    choices = {
        "no map: clusters in the space of the kernel": (_principal_map(kernels, marks, DIMENSIONS), k),
        "map of the kernel's principal components": (_principal_map(kernels, marks, 2), k),
        "half of the landmarks": (_geodesic_map(half, marks[::2]), k),
        "one cluster more": (dict(places), k + 1),
    }
    return choices | ({"one cluster less": (dict(places), k - 1)} if k > 2 else {})


def _choice(
    name: str, places: Mapping[str, FloatArray], k: int, usual: IntArray, m: int, seed: int
) -> Choice:
    """Compare the populations with one choice made differently."""
    labels, _ = _clusters(places, k, seed)
    counted = _count(labels, k, m)
    reference = counted[REFERENCE]
    return Choice(
        name=name,
        clusters=k,
        agreement=float(adjusted_rand_score(usual, labels[REFERENCE])),
        divergence=_divergences(counted),
        floor=_floor(reference, len(reference), np.random.default_rng(seed)),
    )


def _notes(monomers: Monomers, chosen: int, marks: int, k: int, silhouette: float) -> tuple[str, ...]:
    """Say what was done."""
    moltype, n, joints = monomers.moltype, len(monomers.first), monomers.joints[0]
    atoms = ", ".join(moltype.names[i] for i in joints)
    return (
        f"Looked at are the {n} monomers of {moltype.name} around which the molecular graph is the same "
        f"({100 * monomers.share:.0f} % of the monomers that have conformations)"
        + (f", of which {chosen} were drawn." if chosen < n else "."),
        f"The environment of a monomer is SOAP (reach {CUTOFF:g} nm, Gaussians of {WIDTH:g} nm, "
        f"n_max = {RADIAL}, l_max = {ANGULAR}; DScribe) of the heavy atoms of its molecule around those at "
        f"bonds that turn (in the first one {atoms}); two monomers are as similar as these are on average, "
        "each with its counterpart. Mirror images and elements are not told apart.",
        f"The map keeps the distances along near neighbours of {marks} monomers of the reference, onto which "
        "all others are put (Isomap; scikit-learn). It takes the place of Sketch-map, of which there is no "
        "maintained package.",
        f"{k} clusters by k-means on the reference in the map (mean silhouette {silhouette:.2f}; 1 is well "
        f"apart, 0 not at all); errors from {RESAMPLED} resamplings of the "
        "frames. The floor is the divergence of two samples of the reference.",
        f"Every monomer counts to its nearest cluster; outside are those less similar to all landmarks than "
        f"{1 - STRANGE:.0%} of the reference's: conformations it has not, or distorted ones.",
        "Many conformations belong to the same beads: the confusion matrix need not be diagonal, the "
        "populations should be the same.",
    )

"""VOTCA csg mapping files (``cg_molecule`` XML; VOTCA manual, "Mapping files")."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import scipy.sparse as sp

from dbm_gmx.chemistry.topology import MoleculeType
from dbm_gmx.errors import InputError
from dbm_gmx.files.input_errors import Problem
from dbm_gmx.files.text import HIGHEST, as_number, check_text


@dataclass(frozen=True)
class VotcaBead:
    """One ``cg_bead`` with the weights of its map.

    Attributes
    ----------
    name, type
        Of the bead.
    atoms
        ``resid:resname:atomname`` as written, ``atomname`` alone, or numbers of atoms.
    weights
        As written, one for each atom; those of their masses where there are none.
    line
        1-based line of the ``cg_bead``.
    """

    name: str
    type: str
    atoms: tuple[str, ...]
    weights: tuple[float, ...]
    line: int


@dataclass(frozen=True)
class VotcaMolecule:
    """One ``cg_molecule`` as written, not yet compared with a topology.

    Attributes
    ----------
    path
        The file.
    name, ident
        Of the coarse-grained and of the atomistic molecule; ``ident`` may be empty.
    beads
        In file order.
    problems
        What is wrong with the file by itself; kept to be raised together with what is wrong
        about its atoms.
    """

    path: Path
    name: str
    ident: str
    beads: tuple[VotcaBead, ...]
    problems: tuple[Problem, ...]


def read_votca(path: str | Path) -> list[VotcaMolecule]:
    """Read every ``cg_molecule`` of a VOTCA mapping file.

    Read are ``name``, ``ident``, ``cg_bead`` (``name``, ``type``, ``mapping``, ``beads``) and ``map``
    (``name``, ``weights``); ``d`` (force) coefficients and bonded terms are not needed.

    Raises
    ------
    InputError
        If the file is no XML or has no ``cg_molecule``.  What is wrong inside one is in its
        ``problems``.
    """
    path = Path(path)
    root = _parse(path)
    found = list(root.iter("cg_molecule"))
    if not found:
        raise InputError(f"no <cg_molecule> in <{root.tag}>: not a VOTCA mapping", path=path)
    return [_molecule(element, path) for element in found]


def _parse(path: Path) -> ElementTree.Element:
    """Parse XML, keeping line numbers, which ElementTree's own parser does not pass on."""
    builder = ElementTree.TreeBuilder()
    check_text(path)
    parser = expat.ParserCreate(_encoding(path))
    parser.StartElementHandler = lambda tag, attributes: builder.start(
        tag, {**attributes, "line": str(parser.CurrentLineNumber)}
    )
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise InputError(f"not valid XML: {error}", path=path) from error
    except expat.ExpatError as error:
        raise InputError(f"not valid XML: {error}", path=path, line=error.lineno) from error
    return builder.close()


def _encoding(path: Path) -> str | None:
    """Encoding of a file that says none and is no UTF-8: any of eight bits; else ``None``, what XML says."""
    try:
        content = path.read_bytes()
        content.decode()
    except UnicodeDecodeError:
        return None if re.match(rb"\s*<\?xml[^>]*encoding", content) else "iso-8859-1"
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    return None


def _text(element: ElementTree.Element, key: str) -> str:
    return (element.findtext(key) or "").strip()


def _line(element: ElementTree.Element) -> int:
    return int(element.attrib["line"])


def _molecule(element: ElementTree.Element, path: Path) -> VotcaMolecule:
    problems: list[Problem] = []
    maps = {_text(m, "name"): m for m in element.iterfind("maps/map")}
    beads = tuple(
        _bead(b, maps, path=path, problems=problems) for b in element.iterfind("topology/cg_beads/cg_bead")
    )
    if not beads:
        problems.append(Problem("no <cg_bead> in <topology><cg_beads>", path, _line(element)))
    first: dict[str, int] = {}
    for bead in beads:
        if bead.name in first:
            text = f"bead {bead.name} is there already, line {first[bead.name]}; names must differ"
            problems.append(Problem(text, path, bead.line))
        first.setdefault(bead.name, bead.line)
    return VotcaMolecule(path, _text(element, "name"), _text(element, "ident"), beads, tuple(problems))


def _bead(
    element: ElementTree.Element,
    maps: dict[str, ElementTree.Element],
    *,
    path: Path,
    problems: list[Problem],
) -> VotcaBead:
    name, line = _text(element, "name"), _line(element)
    atoms = tuple(_text(element, "beads").split())
    use = _text(element, "mapping")
    wrong = []
    if not name or not atoms:
        wrong.append(
            f"a <cg_bead> needs <name> and <beads>; this one has {name or 'no name'}, {len(atoms)} atoms"
        )
    wrong += [f"bead {name}: atom {a} is listed {n} times" for a, n in Counter(atoms).items() if n > 1]
    weights: tuple[float, ...] = ()
    if use not in maps:
        wrong.append(f"bead {name}: no map {use!r}; there are {', '.join(maps) or 'none'}")
    else:
        weights, fault = _weights(_text(maps[use], "weights"), n_atoms=len(atoms))
        if fault:
            wrong.append(f"bead {name}: map {use} (line {_line(maps[use])}) {fault}")
    problems += [Problem(text, path, line) for text in wrong]
    return VotcaBead(name, _text(element, "type") or name, atoms, weights, line)


def _weights(text: str, *, n_atoms: int) -> tuple[tuple[float, ...], str]:
    try:
        weights = tuple(as_number(word) for word in text.split())
    except ValueError as error:
        return (), f"has a weight that is no number: {error}"
    if len(weights) != n_atoms:
        return (), f"has {len(weights)} weights for {n_atoms} atoms"
    if not all(abs(weight) <= HIGHEST for weight in weights) or abs(sum(weights)) <= 1e-9 * sum(
        map(abs, weights)
    ):
        return (), "has weights that do not add up to a finite number other than 0"
    return weights, ""


def votca_weights(raw: VotcaMolecule, moltype: MoleculeType) -> tuple[sp.csr_matrix, list[Problem]]:
    """Find a mapping's atoms in a molecule type.

    The number in ``resid:resname:atomname`` counts residues from 1 within the molecule (VOTCA).
    If that does not find every atom, it is taken as the topology's residue number; if that does not
    either, it is left out where residue and atom name are unambiguous.  Names of atoms alone must be
    unambiguous, too.  Numbers, from 1 within the molecule, serve where atoms share names.  One reading
    holds for all atoms of a mapping.

    Returns
    -------
    (beads, atoms) weights with rows adding up to 1, and one problem for each bead with atoms
    which were not found.
    """
    found = _locate([atom for bead in raw.beads for atom in bead.atoms], moltype)
    weights = sp.lil_matrix((len(raw.beads), moltype.n_atoms))
    problems = []
    known = (
        _keys(moltype)[0] if any(":" in atom for bead in raw.beads for atom in bead.atoms) else moltype.names
    )
    for row, bead in enumerate(raw.beads):
        missing = [_suggest(atom, known) for atom in bead.atoms if atom not in found]
        if missing:
            listed = ", ".join(missing)
            text = f"bead {bead.name}: not (or more than once) in molecule type {moltype.name}: {listed}"
            problems.append(Problem(text, raw.path, bead.line))
        given = bead.weights or [moltype.masses[found[atom]] for atom in bead.atoms if atom in found]
        for atom, weight in zip(bead.atoms, given, strict=False):
            if atom in found:
                weights[row, found[atom]] = weight / sum(given)
    return weights.tocsr(), problems


def residue_names(raw: VotcaMolecule) -> list[str]:
    """Names of the residues that the atoms of a mapping are in, in the order of their numbers."""
    found: dict[int, str] = {}
    for bead in raw.beads:
        for atom in bead.atoms:
            number, _, rest = atom.partition(":")
            if rest and number.isdecimal() and len(number) < 8:
                found.setdefault(int(number), rest.partition(":")[0])
    return [found[number] for number in sorted(found)]


def residues_in(moltype: MoleculeType) -> int:
    """How many residues a molecule has."""
    return len({tuple(key.split(":")[:2]) for key in _keys(moltype)[0]})


def _suggest(atom: str, known: Sequence[str]) -> str:
    if (n := known.count(atom)) > 1:
        return f"{atom} ({n} atoms; give numbers of atoms, 1 to {len(known)}, in place of all names)"
    near = difflib.get_close_matches(atom, known, n=1)
    return f"{atom} (nearest: {near[0]})" if near else atom


def _keys(moltype: MoleculeType) -> tuple[list[str], list[str], list[str]]:
    """Names of all atoms with VOTCA's residue count, with the topology's number, and without."""
    votca, numbered, bare = [], [], []
    count, last = 0, None
    for i in range(moltype.n_atoms):
        node = moltype.graph.nodes[i]
        residue = (node["resid"], node["resname"])
        count, last = count + (residue != last), residue
        bare.append(f"{node['resname']}:{node['name']}")
        votca.append(f"{count}:{bare[-1]}")
        numbered.append(f"{node['resid']}:{bare[-1]}")
    return votca, numbered, bare


def _locate(atoms: Sequence[str], moltype: MoleculeType) -> dict[str, int]:
    """Return the row of each atom under the reading that finds most of them, the strictest first."""
    votca, numbered, bare = _keys(moltype)
    readings = [
        _matches({atom: atom for atom in atoms}, votca),
        _matches({atom: atom for atom in atoms}, numbered),
        _matches({atom: atom.partition(":")[2] for atom in atoms}, bare),
        _matches({atom: atom for atom in atoms}, moltype.names),
        _matches({atom: atom for atom in atoms}, [str(i + 1) for i in range(moltype.n_atoms)]),
    ]
    return max(readings, key=len)


def _matches(wanted: dict[str, str], keys: Sequence[str]) -> dict[str, int]:
    """Match atoms with keys that both occur once: two atoms of a mapping are never the same row."""
    occur, asked = Counter(keys), Counter(wanted.values())
    row = {key: i for i, key in enumerate(keys) if occur[key] == 1}
    return {atom: row[key] for atom, key in wanted.items() if key in row and asked[key] == 1}

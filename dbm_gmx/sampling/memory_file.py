"""A memory in a file: fragments, what they were made of, and what was found out about recalling them.

The file is a ``.npz`` of plain arrays.  ``about`` is a text, JSON: format, :class:`Origin`, findings, and the
kinds of sites.  Of the kind in row k there are ``beads_k`` and ``atoms_k``, whole numbers of :data:`UNIT`,
and ``states_k``.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbm_gmx.chemistry.array_types import Float32Array, IntArray, SignArray
from dbm_gmx.chemistry.stereo import are_bonds, chirality_of_copies, stereo_elements
from dbm_gmx.chemistry.system import System
from dbm_gmx.errors import InputError
from dbm_gmx.files.output import atomic_write
from dbm_gmx.files.share import share_path
from dbm_gmx.files.text import check_file
from dbm_gmx.sampling import memory as limits
from dbm_gmx.sampling.memory import Fragments, Memory, Recollection, Site, make_sites
from dbm_gmx.sampling.origin import MoleculeOrigin, Origin, differences, origin_of
from dbm_gmx.sampling.sampler import Effort, Sampler

NAME, FORMAT = "dbm_gmx memory", 1
"""Of the file; the number rises where arrays or findings come to mean something else."""

SUFFIX = ".npz"

UNIT = 1e-4
"""nm, of the coordinates in the file."""


class Findings(NamedTuple):
    """What was found out about recalling.

    Attributes
    ----------
    excess
        Energy of recalled frames above that of the same ones sampled in full, kT per atom.
    misfit, most
        nm, of the beads of the frames tried, and of frames that are recalled at most.
    windows, sweeps
        Sweeps with windows, and after them without, that a recalled frame takes.
    steps
        (moves,) sizes of the moves.
    annealing, full_windows, offers
        Steps of annealing, sweeps with windows, and rounds of offers, of the frames sampled in full.
    recalled_offers
        Rounds of offers of a recalled frame.
    """

    excess: float
    misfit: float
    most: float
    windows: int
    sweeps: int
    steps: tuple[float, ...]
    annealing: int
    full_windows: int
    offers: int = 0
    recalled_offers: int = 0

    @property
    def effort(self) -> Effort:
        """What was done to the frames sampled in full."""
        return Effort(self.offers, self.annealing, self.full_windows)


@dataclass(frozen=True, eq=False)
class KeptMemory:
    """A memory with all that is known of it.

    Attributes
    ----------
    path
        Of the file.
    memory
        The fragments.
    origin
        What they were made of.
    findings
        What was found out about recalling them, if anything.
    """

    path: Path
    memory: Memory
    origin: Origin
    findings: Findings | None = None

    def text(self) -> str:
        """The file and what it was made of."""
        return f"{self.path.name} ({self.origin.text()})"

    @property
    def recollection(self) -> Recollection:
        """How frames are made of it, where that was found out."""
        if self.findings is None:
            raise ValueError("not tried yet")
        known = self.findings
        effort = known.recalled_offers, known.windows, known.sweeps
        return Recollection(self.memory, *effort, known.most, np.array(known.steps))


def findings_of(sampler: Sampler, excess: float, misfit: float) -> Findings | None:
    """What was found out, of a sampler that recalls."""
    how = sampler.recollection
    if how is None:
        return None
    steps = tuple(float(step) for step in how.steps)
    windows, sweeps, most = how.windows, how.sweeps, how.misfit
    offers, annealing, full_windows = sampler.effort
    return Findings(excess, misfit, most, windows, sweeps, steps, annealing, full_windows, offers, how.offers)


# --- whether it is of use ----------------------------------------------------------------------------


def unknown_molecules(memory: Memory, system: System) -> list[str]:
    """Molecule types of a system of which a memory does not know all beads."""
    sites = {m.moltype.name: make_sites(m.moltype, m.mapping) for m in system.matches}
    return [name for name, of in sites.items() if any(site.kind not in memory for site in of)]


def effort_found(kept: KeptMemory, sampler: Sampler) -> tuple[Effort, str] | None:
    """What was found to be enough and where, if the memory is of the case of a sampler."""
    known, now = kept.findings, origin_of(sampler.hamiltonian, frames=0, source="")
    if known is None or differences(kept.origin, now):
        return None
    return known.effort, kept.path.name


def memory_that_ships(sampler: Sampler) -> KeptMemory | None:
    """The memory that ships for the molecules, the force field and the temperature of a sampler, if any.

    Widths of the bead restraints are not compared: they may still have to be fitted.
    """
    names = list(sampler.hamiltonian.molecules)
    for path in shipped_memories().values():
        kept = read_memory(path)
        then = kept.origin.molecules
        if kept.findings is None or list(then) != names or unknown_molecules(kept.memory, sampler.system):
            continue
        now = origin_of(sampler.hamiltonian, frames=0, source="")  # takes a while: for namesakes only
        here = {name: one._replace(widths=then[name].widths) for name, one in now.molecules.items()}
        if not differences(kept.origin, replace(now, molecules=here)):
            return kept
    return None


def what_differs(kept: KeptMemory, sampler: Sampler) -> list[str]:
    """In words in what the case of a memory differs from that of a sampler; nothing if findings hold."""
    said = differences(kept.origin, origin_of(sampler.hamiltonian, frames=0, source=""))
    states = _missing_states(kept.memory, sampler)
    said += [f"not all states of stereo elements of {name}" for name in states]
    known = kept.findings
    if known is None:
        return [*said, "not tried yet"]
    offers, annealing, windows = known.effort
    if any(n < wanted for n, wanted in zip(known.effort, sampler.effort, strict=True)):
        said.append(f"compared with {offers} offers, {annealing} steps of annealing, {windows} windows")
    if known.excess >= 0.5 * sampler.settings.tolerance:
        said.append(f"{known.excess:.3f} kT per atom above frames sampled in full")
    if len(known.steps) != len(sampler.arrays.moves.move_type):
        said.append("other moves")
    return said


def _missing_states(memory: Memory, sampler: Sampler) -> list[str]:
    """Molecule types of which some bead should be in states that no fragment has, nor its mirror image."""
    missing = []
    states = chirality_of_copies(sampler.system, sampler.chirality)
    for match, wanted in zip(sampler.system.matches, states, strict=True):
        bonds = are_bonds(stereo_elements(match.moltype))
        for site in make_sites(match.moltype, match.mapping):
            known = memory[site.kind].states
            both = np.concatenate([known, np.where(bonds[site.elements], known, -known)])
            asked = np.unique(wanted[:, site.elements], axis=0)
            fits = ((asked[:, None] == 0) | (asked[:, None] == np.unique(both, axis=0))).all(axis=2)
            if not fits.any(axis=1).all() and match.moltype.name not in missing:
                missing.append(match.moltype.name)
    return missing


# --- writing -----------------------------------------------------------------------------------------


def check_place(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is worked out.

    Raises
    ------
    InputError
        Saying why.
    """
    if path.suffix != SUFFIX:
        names = ", ".join(shipped_memories())
        raise InputError(f"a memory is written as {SUFFIX} only; those that ship are {names}", path=path)
    if not path.parent.is_dir():
        raise InputError("cannot be written: there is no such folder", path=path)
    if not os.access(path.parent, os.W_OK):
        raise InputError("cannot be written: no permission", path=path)


def write_memory(kept: KeptMemory) -> None:
    """Write a memory; the file appears complete or not at all."""
    arrays: dict[str, NDArray[Any]] = {"about": _said_of(kept)}
    for row, fragments in enumerate(kept.memory.values()):
        arrays[f"beads_{row}"] = _in_units(fragments.beads)
        arrays[f"atoms_{row}"] = _in_units(fragments.atoms)
        arrays[f"states_{row}"] = fragments.states.astype(np.int8)
    with atomic_write(kept.path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _said_of(kept: KeptMemory) -> NDArray[Any]:
    origin = asdict(kept.origin)
    origin["molecules"] = {name: one._asdict() for name, one in kept.origin.molecules.items()}
    findings = None if kept.findings is None else kept.findings._asdict()
    said = {"origin": origin, "findings": findings, "kinds": list(kept.memory)}
    return np.array(json.dumps({"name": NAME, "format": FORMAT, **said}))


def _in_units(positions: Float32Array) -> NDArray[Any]:
    numbers = np.rint(positions.astype(np.float64) / UNIT)
    narrow = np.iinfo(np.int16)
    return numbers.astype(np.int16 if np.abs(numbers).max(initial=0) < narrow.max else np.int32)


# --- reading -----------------------------------------------------------------------------------------


def shipped_memories() -> dict[str, Path]:
    """The memories that ship, by name."""
    return {path.stem: path for path in sorted(share_path("memories").glob(f"*{SUFFIX}"))}


def open_memory(path: Path, system: System) -> KeptMemory | None:
    """Read a memory for a system; nothing where there is no such file yet, and it can be written.

    Parameters
    ----------
    path
        Of a file, or the name of a memory that ships.
    system
        The system.

    Raises
    ------
    InputError
        If it can be neither read nor written.
    """
    if not path.is_file():
        path = shipped_memories().get(str(path), path)
    if not path.exists() and not path.is_symlink():
        check_place(path)
        return None
    kept = read_memory(path)
    for match in system.matches:
        for site in make_sites(match.moltype, match.mapping):
            if site.kind in kept.memory:
                _check_size(kept.memory[site.kind], site, path)
    return kept


def _check_size(known: Fragments, site: Site, path: Path) -> None:
    found = known.beads.shape[1], known.atoms.shape[1], known.states.shape[1]
    wanted = len(site.beads), len(site.atoms), len(site.elements)
    if found != wanted:
        raise InputError(
            f"{DAMAGED}: fragments of {found} beads, atoms and stereo elements; their kind has {wanted}",
            path=path,
        )


DAMAGED = "a damaged memory"

LARGEST = 2**30
"""Bytes of all arrays of a memory."""

SOME = 1e-9
"""Least number where 0 would mean nothing."""


def read_memory(path: Path) -> KeptMemory:
    """Read a memory.

    Raises
    ------
    InputError
        If the file cannot be read, is none of a memory, of a newer format, or damaged.
    """
    check_file(path)
    arrays = _arrays_of(path)
    about = _about(arrays, path)
    try:
        origin, findings = _origin(about["origin"]), _findings(about["findings"])
        kinds = [_text(kind) for kind in about["kinds"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{DAMAGED}: {reason}", path=path) from error
    if len(set(kinds)) != len(kinds) or not kinds:
        raise InputError(f"{DAMAGED}: kinds of beads that are none or the same", path=path)
    memory = {kind: _fragments(arrays, row, path) for row, kind in enumerate(kinds)}
    return KeptMemory(path, memory, origin, findings)


def _arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file; nothing in it is run."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path) from error
    except Exception as error:  # numpy and zipfile raise many types for a damaged archive
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"not a memory ({SUFFIX} of plain arrays), or damaged: {reason}", path=path
        ) from error


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Refuse arrays that are larger than their bytes, or that take more memory than memories do."""
    total = sum(one.file_size for one in archive.infolist())
    if total > LARGEST:
        raise ValueError(f"its arrays take {total} bytes, at most {LARGEST} may be")
    for name in archive.namelist():
        with archive.open(name) as file:
            version = np.lib.format.read_magic(file)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in header:
                raise ValueError(f"array {name} is of version {version}")
            shape, _, dtype = header[version](file)
            if dtype.itemsize * math.prod(shape) > archive.getinfo(name).file_size:
                raise ValueError(f"array {name} of shape {shape} has too few bytes")


def _about(arrays: Mapping[str, NDArray[Any]], path: Path) -> dict[str, Any]:
    """What the file says of itself."""
    text = arrays.get("about")
    try:
        if text is None or text.dtype.kind != "U" or text.shape:
            raise ValueError
        about = json.loads(str(text))
        name, number = about["name"], about["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        found = ", ".join(list(arrays)[:3]) or "nothing"
        raise InputError(
            f"not a memory: no text that says so; the file has arrays {found}", path=path
        ) from error
    if name != NAME or number != FORMAT:
        newer = " of a newer version" if isinstance(number, int) and number > FORMAT else ""
        raise InputError(
            f"{name!r} of format {number!r}{newer}; this version reads {NAME!r} of format {FORMAT}", path=path
        )
    return dict(about)


def _fragments(arrays: Mapping[str, NDArray[Any]], row: int, path: Path) -> Fragments:
    """Those of one kind; as of another run."""
    names = [f"{what}_{row}" for what in ("beads", "atoms", "states")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{DAMAGED}: no array {missing[0]}", path=path)
    beads, atoms, states = (arrays[name] for name in names)
    count = len(beads) if beads.ndim else 0
    for name, array, width in zip(names, (beads, atoms, states), (3, 3, None), strict=True):
        right = array.ndim == (2 if width is None else 3) and len(array) == count
        if not right or (width is not None and array.shape[2] != width):
            raise InputError(f"{DAMAGED}: array {name} of shape {array.shape}", path=path)
        if array.dtype.kind != "i":
            raise InputError(
                f"{DAMAGED}: array {name} of type {array.dtype}, not of whole numbers", path=path
            )
    if not 1 <= count <= limits.MOST:
        raise InputError(f"{DAMAGED}: {count} fragments of one kind; it takes 1 to {limits.MOST}", path=path)
    if np.abs(states).max(initial=0) > 1:
        raise InputError(f"{DAMAGED}: array {names[2]} has states other than -1, 0 and 1", path=path)
    if np.abs(beads[:, :1]).max(initial=0):
        raise InputError(f"{DAMAGED}: array {names[0]} does not begin with the bead itself", path=path)
    places = [np.asarray(array * UNIT, np.float32) for array in (beads, atoms)]
    signs: SignArray = states.astype(np.int8)
    frame: IntArray = np.full(count, -1)
    return Fragments(places[0], places[1], signs, frame)


def _origin(plain: Mapping[str, Any]) -> Origin:
    molecules = {
        _text(name): MoleculeOrigin(
            _whole(one["copies"], 1),
            _text(one["force_field"]),
            _text(one["mapping"]),
            _row(one["widths"], SOME),
        )
        for name, one in plain["molecules"].items()
    }
    words = ("thermostat", "between", "source", "version", "day")
    texts = {key: _text(plain[key]) for key in words}
    temperature, frames = _number(plain["temperature"], SOME), _whole(plain["frames"], 1)
    return Origin(temperature=temperature, molecules=molecules, frames=frames, **texts)


def _findings(plain: Mapping[str, Any] | None) -> Findings | None:
    if plain is None:
        return None
    return Findings(
        excess=_number(plain["excess"]),
        misfit=_number(plain["misfit"], 0.0),
        most=_number(plain["most"], 0.0),
        windows=_whole(plain["windows"]),
        sweeps=_whole(plain["sweeps"], 1),
        steps=_row(plain["steps"], 0.0),
        annealing=_whole(plain["annealing"]),
        full_windows=_whole(plain["full_windows"]),
        offers=_whole(plain.get("offers", 0)),
        recalled_offers=_whole(plain.get("recalled_offers", 0)),
    )


def _wrong(value: object, wanted: str) -> ValueError:
    return ValueError(f"{value!r} where {wanted} should be")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a text")
    return value


def _number(value: object, least: float = -math.inf) -> float:
    wanted = "a number" if least == -math.inf else f"a number from {least:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(value, wanted)
    if not (math.isfinite(value) and value >= least):
        raise _wrong(value, wanted)
    return float(value)


def _whole(value: object, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(value, f"a whole number from {least}")
    return value


def _row(values: object, least: float) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise _wrong(values, "a row of numbers")
    return tuple(_number(value, least) for value in values)

"""What is known of each frame that was rebuilt: a record for each, and all as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

from dbm_gmx.backmapping.independent import compare_twins
from dbm_gmx.backmapping.summary import Report
from dbm_gmx.chemistry.frame import Frame
from dbm_gmx.chemistry.stereo import Stereo
from dbm_gmx.chemistry.system import System
from dbm_gmx.chemistry.units import GAS
from dbm_gmx.errors import InputError
from dbm_gmx.forcefield.block_energies import block_energies
from dbm_gmx.forcefield.equilibrium import TOTAL
from dbm_gmx.options import Method

if TYPE_CHECKING:
    import pandas as pd

POTENTIAL = "Potential"
"""Name of the sum of all terms, as in ``gmx energy``."""


@dataclass(frozen=True)
class Quality:
    """What is known of a frame of atoms.

    Attributes
    ----------
    frame, time
        Its number in the trajectory of beads, from 0, and ps.
    energies
        kJ/mol by the names of ``gmx energy``, with their sum ``Potential``.  Bonds of fixed length have no
        part in it.  Lennard-Jones is neither shifted nor switched.  Nothing where no force field was used.
    contacts
        Bad contacts.
    stereocentres, bonds
        How many stereocentres, and bonds that do not turn, are as they should be.
    deviation, worst_deviation
        Of the mapped atoms from the beads, nm: root mean square, and largest.
    longest_bond
        nm.
    rules
        The value of each rule (:data:`~dbm_gmx.options.RULES`).
    broken
        The rules that are broken and may not be.
    sweeps
        Of the exact sampler.
    stationary
        Whether the energy no longer changed in the end.
    recalled
        Whether the frame was made of what is remembered of others.
    excess
        Energy less that of an independent start of the same frame, kT per atom; not a number where there is
        no such start.
    """

    frame: int
    time: float
    energies: Mapping[str, float] = field(default_factory=dict)
    contacts: int = 0
    stereocentres: Stereo = field(default_factory=Stereo)
    bonds: Stereo = field(default_factory=Stereo)
    deviation: float = 0.0
    worst_deviation: float = 0.0
    longest_bond: float = 0.0
    rules: Mapping[str, float] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    sweeps: int = 0
    stationary: bool = True
    recalled: bool = False
    excess: float = math.nan

    @property
    def is_good(self) -> bool:
        """Whether all rules hold that must."""
        return not self.broken

    def row(self) -> dict[str, Any]:
        """A row of a table: energies, counts of stereo and rules each in a column of its own."""
        row: dict[str, Any] = {"frame": self.frame, "time": self.time}
        row |= {f"energy {name}": value for name, value in self.energies.items()}
        row |= {"contacts": self.contacts}
        for what, stereo in (("stereocentres", self.stereocentres), ("bonds", self.bonds)):
            row |= {f"{what} wrong": stereo.wrong + stereo.undefined, f"{what} undecided": stereo.undecided}
        row |= {"deviation": self.deviation, "worst deviation": self.worst_deviation}
        row |= {"longest bond": self.longest_bond}
        row |= {f"rule {name}": value for name, value in self.rules.items()}
        row |= {"sweeps": self.sweeps, "stationary": self.stationary, "recalled": self.recalled}
        return row | {"excess": self.excess, "broken": " ".join(self.broken)}


class Qualities(Sequence[Quality]):
    """What is known of each frame of a run, in order."""

    def __init__(self, records: Sequence[Quality] = ()):
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, key: int) -> Quality: ...
    @overload
    def __getitem__(self, key: slice) -> Qualities: ...
    def __getitem__(self, key: int | slice) -> Quality | Qualities:
        return Qualities(self._records[key]) if isinstance(key, slice) else self._records[key]

    def __repr__(self) -> str:
        bad = [one for one in self if not one.is_good]
        said = f"rules are broken in {len(bad)}" if bad else "all rules hold"
        return f"<{len(self)} frame{'' if len(self) == 1 else 's'}: {said}>"

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each frame, see :meth:`Quality.row`.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise InputError(
                "a table of the frames needs pandas, which is not installed: pip install 'dbm-gmx[table]'. "
                "The records themselves are there without it"
            ) from error
        return pd.DataFrame([one.row() for one in self])


def quality_of(frame: Frame, found: Report, energies: Mapping[str, float], method: Method) -> Quality:
    """What is known of a frame.

    Parameters
    ----------
    frame
        Of atoms: its number, its time and its size.
    found
        Of this frame alone.
    energies
        kJ/mol, see :func:`energies_of`.
    method
        How it was made.
    """
    found = replace(found, must_converge=method.settings.sweeps is None)
    twins, refinement, excess = found.refinement.twins, found.refinement, math.nan
    if twins:
        kt = GAS * method.conditions.temperature
        excess = compare_twins(twins, atoms=len(frame.positions), kt=kt).row(TOTAL)[0]
    return Quality(
        frame.index,
        frame.time,
        dict(energies),
        found.contacts[0],
        found.stereo,
        found.bonds,
        found.rms_deviation,
        found.worst_deviation,
        found.longest_bond,
        {rule: kept.worst for rule, kept in found.judgement.kept.items()},
        found.broken,
        refinement.sweeps,
        not refinement.unsettled,
        bool(refinement.recalled),
        excess,
    )


def energies_of(system: System, atoms: Frame, method: Method) -> dict[str, float]:
    """Energies of a frame by term, with their sum, kJ/mol; nothing where the force field was not used."""
    if not method.settings.uses_sampler:
        return {}
    found = block_energies(system, atoms, method.conditions)
    energies = {name: float(e) for name, e in zip(found.names, found.values.sum(axis=0), strict=True)}
    return energies | {POTENTIAL: sum(energies.values())}

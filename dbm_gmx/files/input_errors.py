"""Everything wrong with some input, said at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dbm_gmx.errors import InputError


@dataclass(frozen=True)
class Problem:
    """One thing wrong, and where.

    Attributes
    ----------
    text
        What was found and what would have been possible.
    path, line
        The file and its 1-based line, where there is one.
    """

    text: str
    path: Path
    line: int | None = None


MANY = 20
"""Problems that are listed; of more it is said how many there are."""


def refuse(problems: Sequence[Problem]) -> None:
    """Raise one :class:`InputError` listing the problems; do nothing if there are none."""
    if not problems:
        return
    if len(problems) == 1:
        raise InputError(problems[0].text, path=problems[0].path, line=problems[0].line)
    where = {p.path for p in problems}
    lines = [str(InputError(p.text, path=p.path, line=p.line)) for p in problems[:MANY]]
    lines += [f"and {len(problems) - MANY} more"] * (len(problems) > MANY)
    path = where.pop() if len(where) == 1 else None
    raise InputError("\n  ".join([f"{len(problems)} problems:", *lines]), path=path)

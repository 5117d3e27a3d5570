"""Two lists of molecules, one beside the other, for messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

MOST = 20
"""Lines of a list that are shown."""


@dataclass(frozen=True)
class Listed:
    """A line of a list of molecules: name, how many, and what is to be said of one."""

    name: str
    count: int
    what: str


def show_two_lists(beads: Sequence[Listed], atoms: Sequence[Listed]) -> list[str]:
    """Return lines of a table, aligned; of long lists the beginning."""
    left, right = _column("beads", beads), _column("atoms", atoms)
    width = max(map(len, left))
    return [f"  {a or '':<{width}}   {b or ''}".rstrip() for a, b in zip_longest(left, right)]


def _column(title: str, lines: Sequence[Listed]) -> list[str]:
    shown = lines[:MOST]
    name = max((len(line.name) for line in shown), default=0)
    count = max((len(str(line.count)) for line in shown), default=0)
    more = [f"... and {len(lines) - MOST} more lines"] if len(lines) > MOST else []
    return [title, *(f"{line.name:<{name}} {line.count:>{count}}  {line.what}" for line in shown), *more]

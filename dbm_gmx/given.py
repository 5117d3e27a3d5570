"""What callers in Python give: one or several, names that exist, rules and their thresholds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dbm_gmx.errors import InputError
from dbm_gmx.options import ADJUSTABLE, INFEASIBLE, RULE_GROUPS, RULES, Limits, make_limits


def listed(given: Any) -> tuple[Any, ...]:
    """One or several as a tuple; nothing for ``None``."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str | Path | Mapping) else tuple(given)


def check_known(names: Collection[str], known: Collection[str], what: str) -> None:
    """Refuse a name that does not exist.

    Raises
    ------
    InputError
        With those that do.
    """
    for name in names:
        if name not in known:
            raise InputError(f"there is no {what} {name!r}; there are {', '.join(sorted(known))}")


def limits_of(thresholds: Mapping[str, float] | None, allow: Any) -> Limits:
    """The thresholds of the rules, and which may be broken.

    Raises
    ------
    InputError
        A rule that does not exist.
    """
    check_known(thresholds or {}, ADJUSTABLE, "rule with a threshold")
    check_known(listed(allow), (*RULES, *RULE_GROUPS, INFEASIBLE), "rule")
    return make_limits(thresholds or {}, listed(allow))

"""What callers in Python give: one or several, names that exist, rules and their thresholds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from dbm_gmx.errors import InputError
from dbm_gmx.options import ADJUSTABLE, INFEASIBLE, RULE_GROUPS, RULES, Limits, make_limits


def listed(given: Any) -> tuple[Any, ...]:
    """One or several as a tuple; nothing for ``None``."""
    if given is None:
        return ()
    return (
        (given,)
        if isinstance(given, str | Path | Mapping) or not isinstance(given, Iterable)
        else tuple(given)
    )


def check_numbers(given: Mapping[str, Any], least: Mapping[str, float]) -> None:
    """Refuse what is no number, or too small.

    Parameters
    ----------
    given
        By name; those that ``least`` does not know, and ``None``, are left alone.
    least
        By name the smallest value: whole numbers are needed from a whole number, 0.0 stands for above 0.

    Raises
    ------
    InputError
        Naming the first.
    """
    for name in least.keys() & given.keys():
        value, limit = given[name], least[name]
        if value is None:
            continue
        whole = isinstance(limit, int)
        right = Integral if whole else Real
        if isinstance(value, bool) or not isinstance(value, right) or not isfinite(value):
            raise InputError(f"{name}: {value!r} is no {'whole ' * whole}number")
        if value < limit or (not whole and value == limit):
            raise InputError(f"{name}: {value!r} is not {'from' if whole else 'above'} {limit:g}")


def check_known(names: Collection[str], known: Collection[str], what: str) -> None:
    """Refuse a name that does not exist.

    Raises
    ------
    InputError
        With those that do, and the one that is most alike.
    """
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f" (nearest: {near[0]})" if near else ""
            raise InputError(f"there is no {what} {name!r}{hint}; there are {', '.join(sorted(known))}")


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

"""Compiled code: how functions are compiled."""

# numba knows the types in here
# mypy: disable-error-code="no-any-return"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba as nb

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Compile a function, once for this machine; threads of other work go on while it runs."""
    defaults = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": True}
    return cast(Callable[[Function], Function], nb.njit(**{**defaults, **options}))


def inner(**options: Any) -> Callable[[Function], Function]:
    """Compile a function that only other compiled functions call: no way in from Python is made for it."""
    return compiled(no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)


def plain(function: Function) -> Function:
    """The Python function that was compiled: for tensors and arrays of any library."""
    return cast(Function, cast(Any, function).py_func)

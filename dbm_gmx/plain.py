"""Records as plain values, which JSON holds, and back: exactly the same numbers."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

Record = TypeVar("Record")


def plain(value: Any) -> Any:
    """Turn records, arrays and what is in them into dictionaries, lists, numbers and texts.

    A field of a record that has its default is left out.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(x) for f in dataclasses.fields(value) if not _is_default(f, x := _of(value, f))}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "values": value.tolist(), "shape": list(value.shape)}
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def _of(value: Any, field: dataclasses.Field[Any]) -> Any:
    return getattr(value, field.name)


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return isinstance(value, bool | int | float | str | tuple | None) and bool(value == field.default)


def restored(kind: type[Record], value: Any) -> Record:
    """Make a record, or what it holds, of plain values.

    Parameters
    ----------
    kind
        As in the annotations of records: a record, ``tuple[X, ...]``, ``tuple[X, Y]``, ``Mapping[str, X]``,
        an array, ``X | None``, a number or a text.

    Raises
    ------
    ValueError, TypeError, KeyError
        The values are none of such a record.
    """
    made: Record = _restored(kind, value)
    return made


def _restored(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        known = [one for one in inner if one is not types.NoneType]
        return None if value is None else _restored(known[0], value)
    if hasattr(origin, "__value__"):  # an alias, as NDArray is from NumPy 2.5 on
        return _restored(origin.__value__, value)
    if origin is np.ndarray or kind is np.ndarray:
        return np.array(value["values"], np.dtype(value["dtype"])).reshape(value["shape"])
    if origin is tuple:
        kinds = [inner[0]] * len(value) if inner[1:] == (Ellipsis,) else inner
        return tuple(_restored(one, x) for one, x in zip(kinds, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _restored(inner[1], one) for key, one in value.items()}
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        hints = _hints(kind)
        return kind(**{name: _restored(hints[name], one) for name, one in value.items()})
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
